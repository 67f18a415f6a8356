//! The door of Responses, to lanes of both kinds and to a web chat. Streams are read by a checker that was written from the
//! page alone.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use hive2api_simulators::{Running, Script, script::Called};
use serde_json::{Value, json};

use crate::support::{Hive, Reply, assert_no_violations, simulator};

#[path = "../checkers/responses.rs"]
pub(crate) mod checker;

/// The lane of chat completions, and the one of Responses: simulator and model.
pub(crate) const LANES: [(&str, &str); 2] = [("openai", "sim-chat"), ("responses", "rsim-chat")];

pub(crate) async fn send(hive: &Hive, body: &Value) -> Reply {
    let request = hive
        .request("POST", "/v1/responses")
        .insert_header(("content-type", "application/json"));
    Reply::read(request.send_body(body.to_string()).await.unwrap()).await
}

pub(crate) fn ask(model: &str, input: Value, more: Value) -> Value {
    let mut body = json!({"model": model, "input": input});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

pub(crate) async fn stream(hive: &Hive, body: &Value) -> checker::Told {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let reply = send(hive, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(
        reply.header("content-type"),
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(reply.header("x-accel-buffering"), "no");
    let told =
        checker::read(&reply.text).unwrap_or_else(|broken| panic!("{broken}\n{}", reply.text));
    let last = format!("response.{}", told.response["status"].as_str().unwrap());
    assert_eq!(told.names.last(), Some(&last));
    told
}

pub(crate) fn called(name: &str, arguments: &str) -> Called {
    Called {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

pub(crate) fn calling(upstream: &Running, text: Option<&str>, calls: Vec<Called>) {
    let script = Script {
        text: text.map(str::to_owned),
        calls: Some(calls),
        times: Some(1),
        ..Script::default()
    };
    upstream.control().script(script).unwrap();
}

pub(crate) fn tools() -> Value {
    let object = json!({"type": "object", "properties": {"cmd": {"type": "string"}}});
    json!([
        {"type": "function", "name": "exec_command", "description": "Runs.", "strict": false, "parameters": object},
        {"type": "namespace", "name": "agents", "description": "Agents.", "tools": [{"type": "function", "name": "spawn", "parameters": object}]},
        {"type": "custom", "name": "apply_patch", "description": "Patches.", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
        {"type": "web_search", "external_web_access": false},
        {"type": "image_generation"},
    ])
}

#[actix_web::test]
async fn a_text_is_the_same_streamed_and_whole() {
    for (name, model) in LANES {
        let upstream = simulator(name, 1);
        let hive = Hive::start(&[&upstream], &[]);
        let nasty = "event: error\ndata: [DONE]\n\n👋🏽 \u{2028}\"\\";
        let body = ask(
            model,
            json!(format!("echo:{nasty}")),
            json!({"metadata": {"a": "b"}}),
        );
        let told = stream(&hive, &body).await;
        assert_eq!(told.text(), nasty, "{name}");
        let whole = send(&hive, &body).await.json();
        assert_eq!(
            checker::without_ids(told.output()),
            checker::without_ids(whole["output"].as_array().unwrap())
        );
        assert_eq!(whole["model"], model);
        assert_eq!(whole["metadata"], json!({"a": "b"}));
        assert_eq!(whole["usage"], told.response["usage"]);
        assert!(whole["usage"]["input_tokens"].as_u64() > Some(0));
        assert_no_violations(&upstream.control());
    }
}

#[actix_web::test]
async fn thinking_is_told_where_a_summary_is_asked_for() {
    for (name, model) in [("openai", "sim-reasoner"), ("responses", "rsim-reasoner")] {
        let upstream = simulator(name, 1);
        let hive = Hive::start(&[&upstream], &[]);
        for (reasoning, expected) in [
            (json!({"summary": "auto"}), &["reasoning", "message"][..]),
            (json!({"summary": null, "effort": "low"}), &["message"]),
            (Value::Null, &["message"]),
        ] {
            let body = ask(
                model,
                json!("think:hm echo:yes"),
                json!({"reasoning": reasoning}),
            );
            let told = stream(&hive, &body).await;
            let kinds: Vec<&str> = told
                .output()
                .iter()
                .map(|it| it["type"].as_str().unwrap())
                .collect();
            assert_eq!(kinds, expected, "{name} {reasoning}");
        }
    }
}

/// Two turns as Codex has them: the calls of the first one come back as they were said, with what came of them.
#[actix_web::test]
async fn tools_go_there_and_back() {
    for (name, model) in LANES {
        let upstream = simulator(name, 1);
        let hive = Hive::start(&[&upstream], &[]);
        let patch = "*** Begin Patch\n+ä\n*** End Patch";
        let said = match name {
            "openai" => json!({"input": patch}).to_string(),
            _ => patch.to_owned(),
        };
        calling(
            &upstream,
            Some("I look."),
            vec![
                called("exec_command", r#"{"cmd":"ls"}"#),
                called("agents__spawn", "{\"half"),
                called("apply_patch", &said),
            ],
        );
        let input = json!([{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be quick."}]}, {"role": "user", "content": "go"}]);
        let body = ask(
            model,
            input.clone(),
            json!({"tools": tools(), "tool_choice": "auto", "parallel_tool_calls": true, "store": false}),
        );
        let told = stream(&hive, &body).await;
        let mut items = checker::without_ids(told.output());
        for item in &mut items {
            item.as_object_mut().unwrap().remove("call_id");
        }
        assert_eq!(
            items[1..],
            [
                json!({"type": "function_call", "name": "exec_command", "arguments": "{\"cmd\":\"ls\"}", "status": "completed"}),
                json!({"type": "function_call", "namespace": "agents", "name": "spawn", "arguments": "{\"half", "status": "completed"}),
                json!({"type": "custom_tool_call", "name": "apply_patch", "input": patch}),
            ],
            "{name}"
        );
        // All of it comes back, ids and all, and the results in another order.
        let mut input = input.as_array().unwrap().clone();
        input.extend(told.output().iter().cloned());
        for (item, kind, output) in [
            (
                3,
                "custom_tool_call_output",
                json!([{"type": "input_text", "text": "patched"}]),
            ),
            (1, "function_call_output", json!("a.txt")),
            (2, "function_call_output", json!("no such agent")),
        ] {
            let id = &told.output()[item]["call_id"];
            input.push(json!({"type": kind, "id": "o_1", "call_id": id, "output": output}));
        }
        let mut body = ask(model, json!(input), json!({"tools": tools()}));
        body["input"]
            .as_array_mut()
            .unwrap()
            .push(json!({"role": "user", "content": "echo:done"}));
        assert_eq!(stream(&hive, &body).await.text(), "done");
        let control = upstream.control();
        let last = control.calls("ask").pop().unwrap();
        let turns: Vec<&str> = last.turns.iter().map(|turn| turn.text.as_str()).collect();
        for text in ["Be quick.", "I look.", "patched", "a.txt", "no such agent"] {
            assert!(turns.contains(&text), "{name}: {turns:?}");
        }
        let prompt = last.prompt.unwrap();
        assert!(prompt.contains("*** Begin Patch"), "{prompt}");
        assert_no_violations(&control);
    }
}

#[actix_web::test]
async fn what_has_no_effect_is_named() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let input = json!([{"type": "hologram"}, {"role": "user", "content": "echo:x"}]);
    let reply = send(
        &hive,
        &ask(
            "sim-chat",
            input,
            json!({"tools": tools(), "include": ["reasoning.encrypted_content"]}),
        ),
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let named: Vec<&str> = reply.header("x-hive-ignored").split(", ").collect();
    for name in [
        "tools.image_generation",
        "tools.web_search",
        "input.hologram",
        "include",
    ] {
        assert!(named.contains(&name), "{named:?}");
    }
}

#[actix_web::test]
async fn a_silence_is_kept_alive_by_events_with_a_number() {
    for (name, model) in LANES {
        let upstream = simulator(name, 1);
        let hive = Hive::start(
            &[&upstream],
            &[
                ("HEAD_TIMEOUT", "0.2"),
                ("PING_INTERVAL", "0.1"),
                ("STALL_TIMEOUT", "5"),
            ],
        );
        let script = Script {
            text: Some("a b".to_owned()),
            piece_chars: Some(2),
            pace_ms: Some(700),
            ..Script::default()
        };
        upstream.control().script(script).unwrap();
        let told = stream(&hive, &ask(model, json!("x"), json!({}))).await;
        assert!(told.keepalives >= 4, "{name}: {}", told.keepalives);
        assert_eq!(told.text(), "a b");
    }
}

#[actix_web::test]
async fn either_door_reads_the_others_body() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let chat = json!({"model": "sim-chat", "messages": [{"role": "user", "content": "echo:a"}]});
    let reply = send(&hive, &chat).await.json();
    assert_eq!(
        (&reply["object"], &reply["output"][0]["content"][0]["text"]),
        (&json!("response"), &json!("a"))
    );
    assert_eq!(stream(&hive, &chat).await.text(), "a");
    let reply = hive
        .post(&ask("sim-chat", json!("echo:b"), json!({"tools": tools()})))
        .await;
    assert_eq!(reply.content(), "b");
    let streamed = hive
        .post(&ask("sim-chat", json!("echo:b"), json!({"stream": true})))
        .await;
    assert_eq!(streamed.streamed("content"), "b");
    assert!(
        streamed
            .chunks()
            .iter()
            .all(|chunk| chunk["choices"] != json!([]))
    );
    let reply = hive.post(&json!({"model": "sim-chat"})).await;
    assert_eq!(reply.json()["error"]["param"], "messages");
}

/// A lane of Responses takes its callers' bodies to the byte, and everybody else's in its own words.
#[actix_web::test]
async fn any_door_leads_to_a_lane_of_responses() {
    let upstream = simulator("responses", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let own = json!({"model": "rsim/rsim-chat", "input": "echo:x", "reasoning": {"effort": "low", "summary": "auto"}, "client_metadata": {"a": 1}, "tools": tools()});
    assert_eq!(stream(&hive, &own).await.text(), "x");
    let call = upstream.control().calls("ask").pop().unwrap();
    for name in ["reasoning", "client_metadata", "tools"] {
        assert_eq!(call.params[name], own[name]);
    }
    assert_eq!(call.params["model"], "rsim-chat");
    let chat = json!({
        "model": "rsim-chat",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "4"},
            {"role": "user", "content": "echo:y"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "max_tokens": 9, "reasoning_effort": "low", "seed": 5, "stop": ["z"],
    });
    let reply = hive.post(&chat).await;
    assert_eq!(reply.content(), "y");
    assert_eq!(reply.header("x-hive-ignored"), "seed");
    let mut body = chat.clone();
    body["stream"] = json!(true);
    assert_eq!(hive.post(&body).await.streamed("content"), "y");
    let call = upstream.control().calls("ask").pop().unwrap();
    assert_eq!(call.params["text"]["format"]["name"], "n");
    assert_eq!(call.params["max_output_tokens"], 9);
    assert_eq!(call.params["store"], false);
    calling(&upstream, None, vec![called("f", "{\"a\":1}")]);
    let mut body = chat;
    body["stream"] = json!(true);
    let reply = hive.post(&body).await;
    let calls: String = reply
        .chunks()
        .iter()
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(calls, "{\"a\":1}");
    for quirk in ["crlf", "done", "keepalive", "nameless"] {
        let script = Script {
            quirks: vec![quirk.to_owned()],
            ..Script::default()
        };
        upstream.control().script(script).unwrap();
        assert_eq!(
            hive.stream("rsim-chat", "echo:z z")
                .await
                .streamed("content"),
            "z z",
            "{quirk}"
        );
    }
    upstream.control().fault("only_completed", 1).unwrap();
    assert_eq!(
        hive.stream("rsim-chat", "echo:z z")
            .await
            .streamed("content"),
        "z z"
    );
    assert_no_violations(&upstream.control());
}

#[actix_web::test]
async fn a_web_chat_answers_at_this_door() {
    let upstream = simulator("qwen", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let body = ask(
        "qwen-plus",
        json!("echo:你好"),
        json!({"instructions": "be kind", "reasoning": {"summary": "auto"}}),
    );
    assert_eq!(stream(&hive, &body).await.text(), "你好");
    let whole = send(&hive, &body).await.json();
    assert_eq!(whole["output"][0]["content"][0]["text"], "你好");
    assert_eq!(whole["instructions"], "be kind");
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_upstream() {
    for (name, model) in LANES {
        let upstream = simulator(name, 1);
        let hive = Hive::start(&[&upstream], &[]);
        let body = ask(model, json!("pace:50 count:400"), json!({"stream": true}));
        let mut response = hive
            .request("POST", "/v1/responses")
            .send_body(body.to_string())
            .await
            .unwrap();
        let mut seen = String::new();
        while !seen.contains("output_text.delta") {
            seen.push_str(&String::from_utf8_lossy(
                &response.next().await.unwrap().unwrap(),
            ));
        }
        let left = Instant::now();
        drop(response);
        crate::support::settled(&upstream.control(), crate::support::SOON).await;
        assert!(left.elapsed() < Duration::from_secs(2));
    }
}

#[actix_web::test]
async fn the_listing_is_one_for_codex_too() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let listing = hive.get("/v1/models?client_version=0.171.0").await.json();
    let ids: Vec<&Value> = listing["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["id"])
        .collect();
    let slugs: Vec<&Value> = listing["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["slug"])
        .collect();
    assert!(!ids.is_empty());
    assert_eq!(ids, slugs);
}
