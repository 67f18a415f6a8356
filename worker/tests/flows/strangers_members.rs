//! What other servers' chunks and bodies hold.

use serde_json::{Value, json};

use crate::strangers::{
    DONE, End, Stranger, asked, end, event, hello, refusal, said, stream, streamed, whole,
};

#[actix_web::test]
async fn members_as_servers_fill_them() {
    let parts = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"Hello"}]"#;
    let both = r#"{"index":0,"message":{"content":"Hello"},"delta":{"content":""},"finish_reason":"stop"}"#;
    for (name, delta, reasoning) in [
        ("parts", format!(r#"{{"content":{parts}}}"#), "hm"),
        (
            "one part",
            r#"{"content":{"type":"text","text":"Hello"}}"#.to_owned(),
            "",
        ),
        (
            "Ollama's name",
            r#"{"thinking":"hm","content":"Hello"}"#.to_owned(),
            "hm",
        ),
        (
            "Copilot's name beside others that are null",
            r#"{"reasoning_text":"hm","reasoning":null,"content":"Hello","thinking":null}"#
                .to_owned(),
            "hm",
        ),
        (
            "Gemini's parts",
            r#"{"content":[{"thought":true,"text":"hm"},{"text":"Hello"}]}"#.to_owned(),
            "hm",
        ),
        (
            "a text within a part",
            r#"{"content":[{"type":"text","text":{"value":"Hello"}}]}"#.to_owned(),
            "",
        ),
        (
            "other names",
            r#"{"reasoning":"hm","content":"Hello"}"#.to_owned(),
            "hm",
        ),
        (
            "twice",
            r#"{"content":"lost","content":"Hello"}"#.to_owned(),
            "",
        ),
    ] {
        let body = [&*event(&delta, "null"), &end(), DONE].concat();
        let reply = streamed(stream(&body), End::Open).await;
        assert_eq!(said(&reply, name).0, "Hello", "{name}");
        assert_eq!(reply.streamed("reasoning_content"), reasoning, "{name}");
        for finish in ["\"stop\"", "null", "\"\"", "\"null\""] {
            let answer = format!(
                r#"{{"choices":[{{"index":0,"message":{delta},"finish_reason":{finish}}}]}}"#
            );
            let reply = asked(refusal("200 OK", &answer)).await;
            assert_eq!(
                (reply.content(), reply.finish()),
                ("Hello".into(), "stop".into()),
                "{name}"
            );
        }
    }
    let reply = asked(refusal("200 OK", &format!(r#"{{"choices":[{both}]}}"#))).await;
    assert_eq!(reply.content(), "Hello");
    let chunks = [
        r#"data: {"choices":[{"index":0,"message":{"content":"Hel"},"delta":{"content":"Hel"}}]}"#,
        r#"data: {"choices":[{"index":0,"message":{"content":"Hello"},"delta":{"content":"lo"}}]}"#,
        r#"data: {"choices":[{"index":0,"message":{"content":"Hello"},"delta":{"content":""},"finish_reason":"length"}]}"#,
        "data: [DONE]\n\n",
    ];
    let reply = streamed(stream(&chunks.join("\n\n")), End::Open).await;
    assert_eq!(
        said(&reply, "delta and message"),
        ("Hello".into(), "length".into())
    );
}

#[actix_web::test]
async fn half_a_character_costs_no_text() {
    for (pieces, expected) in [
        (&[r"Hi \ud83d", r"\udc4b!"][..], "Hi 👋!"),
        (&[r"Hi \ud83d", "!"], "Hi \u{FFFD}!"),
        (&[r"\udc4b!"], "\u{FFFD}!"),
        (&["plain", r"Hi \ud83d"], "plainHi \u{FFFD}"),
    ] {
        let events: String = pieces
            .iter()
            .map(|piece| event(&format!(r#"{{"content":"{piece}"}}"#), "null"))
            .collect();
        let reply = streamed(stream(&[&*events, &end(), DONE].concat()), End::Open).await;
        assert_eq!(said(&reply, expected).0, expected);
    }
    let answer = r#"{"choices":[{"message":{"content":"Hi \ud83d"},"finish_reason":"length"}]}"#;
    let reply = asked(refusal("200 OK", answer)).await;
    assert_eq!(
        (reply.content(), reply.finish()),
        ("Hi \u{FFFD}".into(), "length".into())
    );
}

#[actix_web::test]
async fn usage_and_sources_reach_the_caller() {
    let answer = |usage: Value| json!({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": usage});
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 896}});
    let told = asked(whole(&answer(usage))).await.json()["usage"].clone();
    assert_eq!(
        (
            &told["prompt_tokens"],
            &told["prompt_tokens_details"]["cached_tokens"]
        ),
        (&json!(1000), &json!(896))
    );
    let usage =
        json!({"prompt_tokens": 1000, "completion_tokens": 2, "cache_read_input_tokens": 896});
    for (name, body) in [
        (
            "in Anthropic's word",
            hello() + &end().replace("]}", &format!("],\"usage\":{usage}}}")),
        ),
        (
            "in the choice",
            hello() + &end().replace("}]}", &format!(",\"usage\":{usage}}}]}}")),
        ),
        (
            "in a member of its own",
            hello() + &end().replace("]}", &format!("],\"x_groq\":{{\"usage\":{usage}}}}}")),
        ),
    ] {
        let reply = asked(stream(&(body + DONE))).await;
        let told = reply.json()["usage"].clone();
        assert_eq!(
            (
                &told["prompt_tokens"],
                &told["prompt_tokens_details"]["cached_tokens"]
            ),
            (&json!(1000), &json!(896)),
            "{name}"
        );
    }
    for usage in [
        json!({"prompt_tokens": null, "completion_tokens": null, "total_tokens": null}),
        json!({"prompt_tokens": -1, "completion_tokens": 1.5}),
        json!({"input_tokens": "5", "output_tokens": []}),
        json!("none"),
        json!([]),
    ] {
        let reply = asked(whole(&answer(usage.clone()))).await;
        assert_eq!(reply.content(), "Hello", "{usage}");
        let told = reply.json()["usage"].clone();
        assert!(
            told["prompt_tokens"].as_u64() > Some(0)
                && told["completion_tokens"].as_u64() > Some(0),
            "{told}"
        );
        let chunk = hello().replace("]}", &format!("],\"usage\":{usage}}}"));
        let reply = streamed(stream(&[&*chunk, &end(), DONE].concat()), End::Open).await;
        assert_eq!(said(&reply, "usage").0, "Hello", "{usage}");
    }
    let mut cited = answer(json!(null));
    cited["citations"] = json!(["https://news.example/1"]);
    cited["search_results"] = json!([{"title": "News", "url": "https://news.example/1"}]);
    let annotations = asked(whole(&cited)).await.message()["annotations"].clone();
    assert_eq!(annotations.as_array().unwrap().len(), 1, "{annotations}");
    assert_eq!(annotations[0]["url_citation"]["title"], "News");
    let chunk = hello().replace("]}", "],\"citations\":[\"https://news.example/1\"]}");
    let alone = "data: {\"choices\":[],\"citations\":[\"https://news.example/1\"]}\n\n";
    for (name, body) in [
        ("beside a choice", [&*chunk, &end(), DONE].concat()),
        ("before all", [alone, &hello(), &end(), DONE].concat()),
        (
            "behind the finish",
            [&*hello(), &end(), alone, DONE].concat(),
        ),
    ] {
        let reply = streamed(stream(&body), End::Open).await;
        let given = reply.chunks();
        let of = |pointer: &str| -> Vec<Value> {
            let lists = given.iter().filter_map(|chunk| chunk.pointer(pointer));
            lists
                .filter_map(Value::as_array)
                .flatten()
                .cloned()
                .collect()
        };
        let annotations = of("/choices/0/delta/annotations");
        assert_eq!(annotations.len(), 1, "{name}: {}", reply.text);
        // What comes after the end is passed on as it is.
        if name != "behind the finish" {
            assert_eq!(of("/citations"), ["https://news.example/1"], "{name}");
        }
    }
}

#[actix_web::test]
async fn tool_calls_as_servers_write_them() {
    let call = |id: &str, city: &str, index: &str| {
        event(
            &format!(
                r#"{{"tool_calls":[{{{index}{id}"type":"function","function":{{"name":"weather","arguments":{city}}}}}]}}"#
            ),
            "null",
        )
    };
    let text = r#""{\"city\":\"Oslo\"}""#;
    for (name, calls) in [
        (
            "one index",
            [
                call(r#""id":"a","#, text, r#""index":0,"#),
                call(r#""id":"b","#, text, r#""index":0,"#),
            ],
        ),
        (
            "no ids",
            [
                call("", text, r#""index":0,"#),
                call("", text, r#""index":0,"#),
            ],
        ),
        (
            "no index",
            [
                call(r#""id":"a","#, text, ""),
                call(r#""id":"b","#, text, ""),
            ],
        ),
        (
            "objects",
            [
                call(r#""id":"a","#, r#"{"city":"Oslo"}"#, r#""index":0,"#),
                call(r#""id":"b","#, r#"{"city":"Oslo"}"#, r#""index":1,"#),
            ],
        ),
    ] {
        let body = [&*calls.concat(), &event("{}", r#""tool_calls""#), DONE].concat();
        let upstream = Stranger::start(vec![("", stream(&body), End::Open)]);
        let hive = upstream.hive(&[]);
        let reply = hive.ask("m", "hi").await;
        assert_eq!(reply.finish(), "tool_calls", "{name}");
        let calls = reply.message()["tool_calls"].clone();
        assert_eq!(calls.as_array().unwrap().len(), 2, "{name}: {calls}");
        assert_ne!(calls[0]["id"], calls[1]["id"], "{name}: {calls}");
        for call in calls.as_array().unwrap() {
            assert!(call["id"].is_string(), "{name}: {call}");
            assert_eq!(
                call["function"]["arguments"], r#"{"city":"Oslo"}"#,
                "{name}"
            );
        }
        let reply = hive.stream("m", "hi").await;
        let indexes: Vec<Value> = reply
            .chunks()
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].get(0).cloned())
            .map(|call| call["index"].clone())
            .collect();
        assert_eq!(indexes, [0, 1], "{name}: {}", reply.text);
    }
    let legacy = r#"{"choices":[{"message":{"function_call":{"name":"weather","arguments":{"city":"Oslo"}}},"finish_reason":"function_call"}]}"#;
    let reply = asked(refusal("200 OK", legacy)).await;
    assert_eq!(reply.finish(), "tool_calls");
    assert_eq!(
        reply.message()["tool_calls"][0]["function"]["name"],
        "weather"
    );
}
