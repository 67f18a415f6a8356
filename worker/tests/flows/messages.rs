//! Anthropic's door over a lane and over a web chat: what clients of that dialect send and see.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Hive, Reply, SOON, assert_no_violations, settled, simulator};

/// A question with room for an answer, and these members.
pub(crate) fn ask(model: &str, text: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": text}]});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

pub(crate) async fn post(hive: &Hive, path: &str, body: &Value) -> Reply {
    let request = hive
        .request("POST", path)
        .insert_header(("anthropic-version", "2023-06-01"));
    Reply::read(request.send_body(body.to_string()).await.unwrap()).await
}

pub(crate) async fn send(hive: &Hive, body: &Value) -> Reply {
    post(hive, "/v1/messages?beta=true", body).await
}

/// The events of a stream, whose names are their types.
pub(crate) fn events(reply: &Reply) -> Vec<Value> {
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(format!("event: {}", data["type"].as_str().unwrap()), name);
        data
    };
    reply.text.split_terminator("\n\n").map(event).collect()
}

/// All deltas of one kind, joined.
pub(crate) fn joined(events: &[Value], member: &str) -> String {
    events
        .iter()
        .filter_map(|event| event["delta"][member].as_str())
        .collect()
}

pub(crate) fn last_usage(events: &[Value]) -> Value {
    let delta = events.iter().find(|event| event["type"] == "message_delta");
    delta.unwrap()["usage"].clone()
}

#[actix_web::test]
async fn a_message_says_the_same_streamed_and_whole() {
    let (lane, qwen) = (simulator("openai", 1), simulator("qwen", 1));
    let hive = Hive::start(&[&lane, &qwen], &[]);
    for model in ["sim-reasoner", "qwen3-max"] {
        let mut body = ask(
            model,
            "think:so be it echo:one\n\"two\" 👋",
            json!({"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        );
        let whole = send(&hive, &body).await;
        assert_eq!(whole.status, 200, "{}", whole.text);
        let message = whole.json();
        assert_eq!(
            (&message["type"], &message["role"], &message["model"]),
            (&json!("message"), &json!("assistant"), &json!(model))
        );
        assert_eq!(
            (&message["stop_reason"], &message["stop_sequence"]),
            (&json!("end_turn"), &Value::Null)
        );
        let blocks = message["content"].as_array().unwrap();
        assert_eq!(
            blocks[0],
            json!({"type": "thinking", "thinking": "so be it", "signature": ""})
        );
        assert_eq!(
            blocks[1],
            json!({"type": "text", "text": "one\n\"two\" 👋"})
        );
        assert!(
            whole.header("x-hive-model").ends_with(model),
            "{}",
            whole.header("x-hive-model")
        );
        assert_eq!(whole.header("request-id"), whole.header("x-request-id"));

        body["stream"] = json!(true);
        let streamed = send(&hive, &body).await;
        assert!(
            streamed
                .header("content-type")
                .starts_with("text/event-stream")
        );
        assert_eq!(
            streamed.header("x-hive-model"),
            whole.header("x-hive-model")
        );
        let events = events(&streamed);
        assert_eq!(joined(&events, "thinking"), "so be it");
        assert_eq!(joined(&events, "text"), "one\n\"two\" 👋");
        assert!(
            events[0]["message"]["usage"]["input_tokens"]
                .as_u64()
                .unwrap()
                > 0
        );
        assert_eq!(events.last().unwrap()["type"], "message_stop");
        assert_eq!(last_usage(&events), message["usage"]);
        // Thinking that the client does not want to see is not sent.
        for thinking in [
            json!({"type": "adaptive", "display": "omitted"}),
            json!({"type": "disabled"}),
        ] {
            body["thinking"] = thinking;
            let hidden = send(&hive, &body).await;
            assert!(!hidden.text.contains("thinking_delta"), "{}", hidden.text);
        }
    }
    assert_no_violations(&lane.control());
}

#[actix_web::test]
async fn a_stop_text_is_told() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    for is_streamed in [false, true] {
        let more = json!({"stop_sequences": ["never", "thr"], "stream": is_streamed});
        let reply = send(&hive, &ask("qwen3-max", "echo:one two three four", more)).await;
        let (text, end) = if is_streamed {
            let events = events(&reply);
            let end = events.iter().find(|event| event["type"] == "message_delta");
            (joined(&events, "text"), end.unwrap()["delta"].clone())
        } else {
            let message = reply.json();
            (
                message["content"][0]["text"].as_str().unwrap().to_owned(),
                message,
            )
        };
        assert_eq!(text, "one two ");
        assert_eq!(
            (&end["stop_reason"], &end["stop_sequence"]),
            (&json!("stop_sequence"), &json!("thr"))
        );
    }
    let short = send(
        &hive,
        &ask("qwen3-max", "count:400", json!({"max_tokens": 5})),
    )
    .await;
    assert_eq!(short.json()["stop_reason"], "max_tokens");
}

#[actix_web::test]
async fn a_tool_is_called_and_its_result_taken() {
    let lane = simulator("openai", 1);
    let hive = Hive::start(&[&lane], &[]);
    let tools = json!({
        "tools": [{"name": "Bash", "description": "runs", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}, "n": {"type": "integer"}}}}],
    });
    let mut body = ask("sim-chat", "list the files", tools);
    let whole = send(&hive, &body).await.json();
    let call = whole["content"][0].clone();
    assert_eq!(
        (&call["type"], &call["name"], &whole["stop_reason"]),
        (&json!("tool_use"), &json!("Bash"), &json!("tool_use"))
    );
    assert_eq!(call["input"], json!({"command": "sim 值 command", "n": 7}));
    assert!(call["id"].as_str().unwrap().starts_with("toolu_"));
    body["stream"] = json!(true);
    let streamed = events(&send(&hive, &body).await);
    let arguments: Value = serde_json::from_str(&joined(&streamed, "partial_json")).unwrap();
    assert_eq!(arguments, call["input"]);

    body["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": [{"type": "text", "text": "I look."}, call]}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "is_error": true, "content": [{"type": "text", "text": "echo:no such file"}]}]}),
    ]);
    let after = send(&hive, &body).await;
    assert!(
        !joined(&events(&after), "text").is_empty(),
        "{}",
        after.text
    );
    let prompt = lane
        .control()
        .calls("ask")
        .last()
        .unwrap()
        .prompt
        .clone()
        .unwrap();
    let sent: Value = serde_json::from_str(&prompt).unwrap();
    assert_eq!(sent[1]["tool_calls"][0]["id"], call["id"]);
    assert_eq!(
        (&sent[2]["role"], &sent[2]["tool_call_id"]),
        (&json!("tool"), &call["id"])
    );
    assert_no_violations(&lane.control());
}

#[actix_web::test]
async fn faults_have_the_dialects_words() {
    for (fault, status, kind, is_final) in [
        ("unauthorized", 502, "api_error", true),
        ("rate_limited", 429, "rate_limit_error", false),
        ("insufficient_quota", 429, "rate_limit_error", true),
        (
            "context_length_exceeded",
            400,
            "invalid_request_error",
            false,
        ),
        ("content_filter", 400, "invalid_request_error", false),
        ("not_found", 404, "not_found_error", false),
        ("server_error", 502, "api_error", false),
    ] {
        for is_streamed in [false, true] {
            // A worker of its own: an account that has failed is remembered.
            let lane = simulator("openai", 1);
            let hive = Hive::start(&[&lane], &[]);
            lane.control().fault(fault, 9).unwrap();
            let reply = send(
                &hive,
                &ask("sim-chat", "hi", json!({"stream": is_streamed})),
            )
            .await;
            let error = reply.json();
            assert_eq!(
                (reply.status, &error["error"]["type"]),
                (status, &json!(kind)),
                "{fault}: {}",
                reply.text
            );
            assert_eq!(
                (&error["type"], error["request_id"].as_str()),
                (&json!("error"), Some(reply.header("request-id")))
            );
            assert_eq!(
                reply.header("x-should-retry") == "false",
                is_final,
                "{fault}"
            );
            if fault == "context_length_exceeded" {
                let words = error["error"]["message"].as_str().unwrap();
                let numbers = words.strip_prefix("prompt is too long: ").unwrap();
                let (tokens, most) = numbers
                    .strip_suffix(" maximum")
                    .unwrap()
                    .split_once(" tokens > ")
                    .unwrap();
                assert!(
                    tokens.parse::<u64>().unwrap() > most.parse::<u64>().unwrap(),
                    "{words}"
                );
            }
        }
    }
    let lane = simulator("openai", 1);
    let hive = Hive::start(&[&lane], &[]);
    lane.control().fault("error_after_text", 1).unwrap();
    let broken = send(&hive, &ask("sim-chat", "count:9", json!({"stream": true}))).await;
    let broken = events(&broken);
    assert_eq!(broken.last().unwrap()["error"]["type"], "overloaded_error");
    assert!(!joined(&broken, "text").is_empty());
}

/// 30 calls by an agent that does not give up reach the provider once.
#[actix_web::test]
async fn a_lasting_fault_is_answered_from_memory() {
    for fault in ["unauthorized", "insufficient_quota"] {
        let lane = simulator("openai", 1);
        let hive = Hive::start(&[&lane], &[("COOLDOWN_BASE_SECONDS", "60")]);
        lane.control().fault(fault, 1).unwrap();
        let mut statuses = Vec::new();
        for at in 0..30 {
            let reply = match at % 2 {
                0 => send(&hive, &ask("sim-chat", "hi", json!({"stream": true}))).await,
                _ => hive.ask("sim-chat", "hi").await,
            };
            assert_eq!(
                reply.header("x-should-retry"),
                "false",
                "{fault} {at}: {}",
                reply.text
            );
            statuses.push(reply.status);
        }
        assert_eq!(lane.control().calls("ask").len(), 1, "{fault}");
        statuses.dedup();
        assert_eq!(statuses.len(), 1, "{fault}: {statuses:?}");
    }
}

#[actix_web::test]
async fn what_cannot_be_done_is_refused_and_the_rest_is_not() {
    let lane = simulator("openai", 1);
    let hive = Hive::start(&[&lane], &[]);
    let prefill = json!({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"}]});
    let refused = send(&hive, &ask("sim-chat", "hi", prefill)).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
    let wrong = send(&hive, &ask("sim-chat", "hi", json!({"max_tokens": "many"}))).await;
    assert!(
        wrong.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("'max_tokens'"),
        "{}",
        wrong.text
    );

    let odd = json!({
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, "container": "c", "service_tier": "auto",
        "tools": [{"type": "code_execution_20250825", "name": "code_execution"}],
        "messages": [
            {"role": "user", "content": [{"type": "container_upload", "file_id": "f"}, {"type": "text", "text": "echo:fine"}]},
            {"role": "system", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        ],
    });
    let request = hive
        .request("POST", "/v1/messages")
        .insert_header(("anthropic-beta", "a-2099-01-01,b"));
    let reply = Reply::read(
        request
            .send_body(ask("sim-chat", "", odd).to_string())
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(reply.json()["content"][0]["text"], "fine", "{}", reply.text);
    let ignored = reply.header("x-hive-ignored");
    for name in [
        "container",
        "content.container_upload",
        "tools.code_execution_20250825",
    ] {
        assert!(ignored.contains(name), "{ignored}");
    }
    assert!(!ignored.contains("context_management") && !ignored.contains("service_tier"));
    assert_no_violations(&lane.control());
}

#[actix_web::test]
async fn silence_is_filled_by_pings_and_whoever_leaves_leaves_nothing() {
    let lane = simulator("openai", 1);
    let hive = Hive::start(
        &[&lane],
        &[
            ("PING_INTERVAL", "0.2"),
            ("HEAD_TIMEOUT", "0.2"),
            ("STALL_TIMEOUT", "5"),
        ],
    );
    let reply = send(
        &hive,
        &ask("sim-chat", "pace:700 count:2", json!({"stream": true})),
    )
    .await;
    let events = events(&reply);
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["message_start", "ping"], "{kinds:?}");
    assert!(
        kinds.iter().filter(|kind| **kind == "ping").count() >= 3,
        "{kinds:?}"
    );
    assert_eq!(joined(&events, "text"), "1 2");

    let mut response = hive
        .request("POST", "/v1/messages")
        .send_body(ask("sim-chat", "pace:100 count:200", json!({"stream": true})).to_string())
        .await
        .unwrap();
    let first = futures_util::StreamExt::next(&mut response)
        .await
        .unwrap()
        .unwrap();
    assert!(first.starts_with(b"event: message_start"));
    drop(response);
    settled(&lane.control(), SOON.max(Duration::from_secs(1))).await;
}
