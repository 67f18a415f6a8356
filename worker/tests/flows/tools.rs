//! Tools and formats, from the request to the provider's prompt and back: what every model has, whether its service knows
//! of tools or not (conformance T1 to T8). What is asked of each provider in the same words stands in `contract.rs`.

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::support::{Hive, Reply, SOON, assert_no_violations, question, settled, simulator};

pub(crate) const MODEL: &str = "qwen-plus";

pub(crate) fn tools() -> Value {
    let tool = |name: &str, properties: Value, required: &[&str]| {
        json!({"type": "function", "function": {"name": name, "description": format!("Does {name}."),
            "parameters": {"type": "object", "properties": properties, "required": required}}})
    };
    json!([
        tool(
            "read",
            json!({"path": {"type": "string"}, "limit": {"type": "integer"}}),
            &["path"]
        ),
        tool(
            "write",
            json!({"path": {"type": "string"}, "content": {"type": "string"}}),
            &["path", "content"]
        ),
        tool("ping", json!({}), &[]),
    ])
}

/// The next answers, in the notation of the simulators.
pub(crate) fn says(running: &Running, texts: &[&str]) {
    for text in texts {
        let script = Script {
            text: Some((*text).to_owned()),
            notation: true,
            ..Script::default()
        };
        running.control().script(script).unwrap();
    }
}

pub(crate) fn with_tools(model: &str, text: &str, more: &Value) -> Value {
    let mut body = question(model, text);
    body["tools"] = tools();
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// What was asked upstream, question by question.
pub(crate) fn prompts(running: &Running) -> Vec<String> {
    let calls = running.control().calls("ask");
    calls.into_iter().filter_map(|call| call.prompt).collect()
}

pub(crate) fn hive(more: &[(&str, &str)]) -> (Running, Hive) {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], more);
    (qwen, hive)
}

pub(crate) fn calls(reply: &Reply) -> Vec<(String, Value)> {
    let calls = reply.message()["tool_calls"].clone();
    let calls = calls.as_array().cloned().unwrap_or_default();
    calls
        .iter()
        .map(|call| {
            assert_eq!(call["type"], "function");
            let arguments = call["function"]["arguments"].as_str().unwrap();
            (
                call["function"]["name"].as_str().unwrap().to_owned(),
                serde_json::from_str(arguments).unwrap(),
            )
        })
        .collect()
}

#[actix_web::test]
async fn a_bad_call_is_asked_for_once_more_on_the_same_account() {
    let qwen = simulator("qwen", 2);
    let hive = Hive::start(&[&qwen], &[]);
    says(
        &qwen,
        &[
            "On it.⏎[B][C write][A path]a[/A][A content]⏎fn main() {⏎  pri",
            "Sorry! [B][C write][A path]a[/A][A content]⏎x⏎[/A][/C][/B]",
        ],
    );
    let reply = hive.post(&with_tools(MODEL, "write it", &json!({}))).await;
    assert_eq!(
        calls(&reply),
        [("write".to_owned(), json!({"path": "a", "content": "x"}))],
        "{}",
        reply.text
    );
    assert_eq!(
        (reply.content().as_str(), reply.finish().as_str()),
        ("On it.", "tool_calls")
    );
    let prompts = prompts(&qwen);
    assert_eq!(prompts.len(), 2);
    for part in [
        "fn main() {\n  pri",
        "contained a tool call that could not be carried out: the call of write ended inside its argument content. Nothing was run.",
    ] {
        assert!(prompts[1].contains(part), "{part} in {}", prompts[1]);
    }
    let accounts: Vec<_> = qwen
        .control()
        .calls("ask")
        .iter()
        .map(|call| call.account)
        .collect();
    assert_eq!(accounts[0], accounts[1]);
    // Both ways of both rounds are counted.
    let once = prompts[0].len() as u64 / 5;
    let usage = reply.json()["usage"].clone();
    assert!(
        usage["prompt_tokens"].as_u64().unwrap() > 2 * once,
        "{usage} for {once}"
    );
    settled(&qwen.control(), SOON).await;
    assert_no_violations(&qwen.control());
    assert_eq!(
        qwen.control().state().conversations,
        0,
        "both conversations are deleted"
    );
}

#[actix_web::test]
async fn a_second_bad_call_is_an_error_that_blames_nobody() {
    let (qwen, hive) = hive(&[]);
    for stream in [false, true] {
        says(&qwen, &["[B][C write][A path]a", "[B][C write][A path]b"]);
        let reply = hive
            .post(&with_tools(MODEL, "x", &json!({"stream": stream})))
            .await;
        assert_eq!(
            (reply.status, reply.error().2.as_str()),
            (502, "upstream_tool_call_invalid"),
            "{}",
            reply.text
        );
        assert_eq!(reply.header("x-should-retry"), "");
        says(
            &qwen,
            &["Hm. [B][C write][A path]a", "[B][C write][A path]b"],
        );
        let reply = hive
            .post(&with_tools(MODEL, "x", &json!({"stream": stream})))
            .await;
        if stream {
            assert_eq!(reply.streamed("content"), "Hm.");
            let error = reply.stream_error().unwrap();
            assert_eq!(error["code"], "upstream_tool_call_invalid", "{error}");
            assert!(!reply.text.contains("[DONE]"));
        } else {
            assert_eq!(reply.status, 502);
        }
        assert!(
            !reply.text.contains("calls-") && !reply.text.contains("call-"),
            "{}",
            reply.text
        );
    }
    // The account is as good as before.
    assert_eq!(hive.ask(MODEL, "echo:fine").await.content(), "fine");
    let metrics = hive.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"hive_reasks_total{provider="qwen",reason="void",result="failed"}"#),
        "{metrics}"
    );
}

#[actix_web::test]
async fn what_cannot_be_offered_is_refused_with_its_place() {
    let (qwen, hive) = hive(&[]);
    let deep = "[".repeat(70) + &"]".repeat(70);
    for (tool, param) in [
        (
            json!({"type": "function", "function": {"name": "not a name"}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "ping"}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "f", "parameters": {"$ref": "https://e/x"}}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "f", "strict": true, "parameters": {"type": "object", "properties": {"a": {"type": "nothing"}}}}}),
            "tools[1]",
        ),
        (
            json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x": serde_json::from_str::<Value>(&deep).unwrap()}}}),
            "tools[1]",
        ),
    ] {
        let mut body = question(MODEL, "x");
        body["tools"] = json!([{"type": "function", "function": {"name": "ping"}}, tool]);
        let reply = hive.post(&body).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["param"].as_str()),
            (400, Some(param)),
            "{tool} {}",
            reply.text
        );
    }
    // As the caller counts, who may have sent what is no tool at all.
    let bad = json!({"type": "function", "function": {"name": "not a name"}});
    let mut body = question(MODEL, "x");
    body["tools"] = json!([{"type": "web_search"}, {"type": "function", "function": {}}, bad]);
    let reply = hive.post(&body).await;
    assert_eq!(reply.json()["error"]["param"], "tools[2]", "{}", reply.text);
    let mut older = question(MODEL, "x");
    older["functions"] = json!([{"name": "f"}, {"name": "f"}]);
    let reply = hive.post(&older).await;
    assert_eq!(
        reply.json()["error"]["param"],
        "functions[1]",
        "{}",
        reply.text
    );
    assert!(prompts(&qwen).is_empty(), "nobody was asked");
}

#[actix_web::test]
async fn what_the_model_cannot_be_given_is_named() {
    let deepseek = simulator("deepseek", 1);
    let hive = Hive::start(&[&deepseek], &[]);
    let mut body = with_tools("deepseek-chat", "x", &json!({}));
    let tools = body["tools"].as_array_mut().unwrap();
    tools.push(json!({"type": "code_interpreter", "container": {"type": "auto"}}));
    tools.push(json!({"type": "mcp"}));
    let call =
        json!({"id": "c1", "type": "function", "function": {"name": "ping", "arguments": "{}"}});
    let pixel = json!({"type": "image_url", "image_url": {"url": crate::support::PIXEL}});
    body["messages"] = json!([
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "a screenshot"}, pixel]},
    ]);
    let reply = hive.post(&body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(
        reply.header("x-hive-ignored"),
        "tools.code_interpreter, tools.mcp, tool_result.image"
    );
    let told = prompts(&deepseek).pop().unwrap();
    assert!(
        told.contains("a screenshot\n(picture: image/png, 1 KB; not shown)"),
        "{told}"
    );
}

/// What Kimi's own site leaks is dropped, and a call of the client's in the same dress is one.
#[actix_web::test]
async fn kimis_marks_call_the_clients_tools() {
    let kimi = simulator("kimi", 1);
    let hive = Hive::start(&[&kimi], &[]);
    let section = |name: &str, arguments: &str| {
        format!(
            "<¦tool_calls_section_begin¦><¦tool_call_begin¦>functions.{name}:0<¦tool_call_argument_begin¦>{arguments}<¦tool_call_end¦><¦tool_calls_section_end¦>"
        )
    };
    let read = section("read", "{\"path\":\"a\"}");
    let theirs = section("ipython", "{}");
    for (text, expected, words) in [
        (format!("I look. {read}"), vec!["read"], Some("I look.")),
        (format!("{theirs}{read}"), vec!["read"], None),
        (format!("It is 5.{theirs}"), vec![], Some("It is 5.")),
    ] {
        says(&kimi, &[&text]);
        let reply = hive.post(&with_tools("kimi", "x", &json!({}))).await;
        let called: Vec<String> = calls(&reply).into_iter().map(|(name, _)| name).collect();
        assert_eq!(called, expected, "{text} {}", reply.text);
        assert_eq!(reply.message()["content"].as_str(), words, "{}", reply.text);
        settled(&kimi.control(), SOON).await;
    }
}

#[actix_web::test]
async fn stop_texts_and_limits_act_on_what_is_seen() {
    let (qwen, hive) = hive(&[]);
    says(
        &qwen,
        &[
            "One. [B][C ping][/C][/B]",
            "One STOP two [B][C ping][/C][/B]",
            "One. [B][C write][A path]a[/A][A content]one two three four five six seven[/A][/C][/B]",
        ],
    );
    let reply = hive
        .post(&with_tools(
            MODEL,
            "x",
            &json!({"stop": "calls-", "max_tokens": 20}),
        ))
        .await;
    assert_eq!(
        (calls(&reply).len(), reply.finish().as_str()),
        (1, "tool_calls"),
        "{}",
        reply.text
    );
    let reply = hive
        .post(&with_tools(MODEL, "x", &json!({"stop": "STOP"})))
        .await;
    assert_eq!(
        (reply.content().as_str(), reply.finish().as_str()),
        ("One ", "stop")
    );
    assert!(calls(&reply).is_empty());
    // A call counts, and half of one is none.
    let reply = hive
        .post(&with_tools(MODEL, "x", &json!({"max_tokens": 6})))
        .await;
    assert_eq!(
        (reply.content().as_str(), reply.finish().as_str()),
        ("One.", "length"),
        "{}",
        reply.text
    );
    assert!(calls(&reply).is_empty());
    settled(&qwen.control(), SOON).await;
}

#[actix_web::test]
async fn free_texts_come_as_they_are() {
    let (qwen, hive) = hive(&[]);
    let mut body = question(MODEL, "x");
    body["tools"] = json!([{"type": "custom", "custom": {"name": "exec", "description": "Runs code.", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}}}]);
    says(
        &qwen,
        &["[B][C exec][A input]⏎print(\"[x]\")⏎\\n⏎[/A][/C][/B]"],
    );
    let reply = hive.post(&body).await;
    let call = reply.message()["tool_calls"][0].clone();
    assert_eq!(
        (call["type"].as_str(), call["custom"]["input"].as_str()),
        (Some("custom"), Some("print(\"[x]\")\n\\n")),
        "{}",
        reply.text
    );
    let told = prompts(&qwen).pop().unwrap();
    assert!(
        told.contains("## exec(input: text)\nRuns code.\ninput has this form:\nstart: /x/"),
        "{told}"
    );
}

#[actix_web::test]
async fn a_service_that_takes_a_tool_for_its_own_is_told_another_name() {
    let (qwen, hive) = hive(&[]);
    says(
        &qwen,
        &[
            "Tool read does not exists.",
            "[B][C x_read][A path]a[/A][/C][/B]",
        ],
    );
    let reply = hive.post(&with_tools(MODEL, "x", &json!({}))).await;
    assert_eq!(
        calls(&reply),
        [("read".to_owned(), json!({"path": "a"}))],
        "{}",
        reply.text
    );
    let told = prompts(&qwen).pop().unwrap();
    assert!(
        told.contains("## x_read(") && !told.contains("## read("),
        "{told}"
    );
}

#[actix_web::test]
async fn models_say_where_their_tools_come_from() {
    let qwen = simulator("qwen", 1);
    let openai = simulator("openai", 1);
    for (setting, words) in [
        ("emulate", ["emulated", "native"]),
        ("native", ["off", "native"]),
        ("off", ["off", "off"]),
    ] {
        let hive = Hive::start(
            &[&qwen, &openai],
            &[
                ("TOOLS", setting),
                (
                    "MODEL_ROUTES",
                    r#"{"none":[{"model":"qwen/qwen-plus","tools":"off"}]}"#,
                ),
            ],
        );
        for (model, word) in [
            ("qwen-plus", words[0]),
            ("sim-chat", words[1]),
            ("none", "off"),
        ] {
            let model = hive.get(&format!("/v1/models/{model}")).await.json();
            assert_eq!(model["hive"]["tools"], word, "{setting} {model}");
        }
    }
}
