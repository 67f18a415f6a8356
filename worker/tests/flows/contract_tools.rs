//! What every provider must do with the tools of a client: part of the contract (`contract.rs`).

use hive2api_simulators::Script;
use serde_json::json;

use crate::{
    contract::{Service, clean},
    support::{SOON, assert_no_violations, settled},
    tools::{says, with_tools},
};

/// What clients rely on in a call, whatever its model's service knows of tools (conformance T1 to T7).
pub(crate) async fn calls_of_tools(service: Service) {
    if !service.is_web_chat {
        return;
    }
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let body = |stream: bool| with_tools(service.model, "look", &json!({"stream": stream}));
    let text = "Sure.⏎⏎[B]⏎[C read]⏎[A path]⏎a \"b\".rs⏎[/A]⏎[A limit]5[/A]⏎[/C]⏎[C ping][/C]⏎[/B]";
    for write_bytes in [None, Some(1), Some(7)] {
        let script = Script {
            text: Some(text.to_owned()),
            notation: true,
            piece_chars: Some(3),
            write_bytes,
            times: Some(2),
            ..Script::default()
        };
        running.control().script(script).unwrap();
        let whole = hive.post(&body(false)).await;
        let message = whole.message();
        assert_eq!(
            (whole.content().as_str(), whole.finish().as_str()),
            ("Sure.", "tool_calls"),
            "{}",
            whole.text
        );
        assert_eq!(
            message["tool_calls"][0]["function"],
            json!({"name": "read", "arguments": "{\"path\":\"a \\\"b\\\".rs\",\"limit\":5}"})
        );
        assert_eq!(
            message["tool_calls"][1]["function"],
            json!({"name": "ping", "arguments": "{}"})
        );
        assert_eq!(whole.header("x-hive-emulated"), "tools");
        let streamed = hive.post(&body(true)).await;
        assert_eq!(streamed.streamed("content"), "Sure.", "{}", streamed.text);
        assert!(streamed.is_done() && streamed.text.contains(r#""finish_reason":"tool_calls""#));
        let (mut begun, mut ids) = (Vec::new(), Vec::new());
        for chunk in streamed.chunks() {
            let Some(calls) = chunk["choices"][0]["delta"]["tool_calls"].as_array() else {
                continue;
            };
            assert_eq!(calls.len(), 1, "one call a chunk");
            let index = calls[0]["index"].as_u64().unwrap();
            match calls[0]["id"].as_str() {
                Some(id) => {
                    assert_eq!(index, begun.len() as u64);
                    assert_eq!(
                        (
                            calls[0]["type"].as_str(),
                            calls[0]["function"]["arguments"].as_str()
                        ),
                        (Some("function"), Some(""))
                    );
                    assert!(
                        id.len() <= 40
                            && id
                                .bytes()
                                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
                        "{id}"
                    );
                    ids.push(id.to_owned());
                    begun.push(String::new());
                }
                None => {
                    assert_eq!(
                        index + 1,
                        begun.len() as u64,
                        "calls are not woven into each other"
                    );
                    assert!(
                        calls[0].get("type").is_none()
                            && calls[0]["function"].get("name").is_none()
                    );
                }
            }
            begun[index as usize].push_str(calls[0]["function"]["arguments"].as_str().unwrap());
        }
        assert_eq!(begun, ["{\"path\":\"a \\\"b\\\".rs\",\"limit\":5}", "{}"]);
        assert_ne!(ids[0], ids[1]);
        assert!(
            !streamed.text.contains("call-") && !whole.text.contains("call-"),
            "no markup leaves"
        );
        clean(&running).await;
        // The second turn, with the results as clients have them: in the order of completion.
        let mut second = with_tools(service.model, "look", &json!({}));
        let first = second["messages"][0].clone();
        let calls = message["tool_calls"].clone();
        second["messages"] = json!([
            first, {"role": "assistant", "content": "Sure.", "tool_calls": calls},
            {"role": "tool", "tool_call_id": calls[1]["id"], "content": "pong"},
            {"role": "tool", "tool_call_id": calls[0]["id"], "content": "fn main() {}"},
        ]);
        let answer = hive.post(&second).await;
        assert_eq!(
            answer.content(),
            "The first tool says: fn main() {}",
            "{}",
            answer.text
        );
    }
    settled(&running.control(), SOON).await;
    assert_no_violations(&running.control());
}

/// A call that is cut off is neither completed nor shown (conformance T7).
pub(crate) async fn calls_that_are_cut_off(service: Service) {
    if !service.is_web_chat {
        return;
    }
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let cut = "On it.⏎[B][C write][A path]a[/A][A content]⏎fn main() {⏎  pri";
    says(
        &running,
        &[
            cut,
            "[B][C write][A path]a[/A][A content]⏎whole⏎[/A][/C][/B]",
            cut,
            cut,
        ],
    );
    let mended = hive
        .post(&with_tools(
            service.model,
            "write",
            &json!({"stream": true}),
        ))
        .await;
    assert_eq!(mended.streamed("content"), "On it.", "{}", mended.text);
    assert!(
        mended.text.contains(r#"\"content\":\"whole\""#)
            && mended.text.contains(r#""finish_reason":"tool_calls""#),
        "{}",
        mended.text
    );
    settled(&running.control(), SOON).await;
    let failed = hive
        .post(&with_tools(
            service.model,
            "write",
            &json!({"stream": true}),
        ))
        .await;
    assert_eq!(failed.streamed("content"), "On it.", "{}", failed.text);
    assert!(
        failed.stream_error().is_some() && !failed.text.contains("fn main"),
        "{}",
        failed.text
    );
    settled(&running.control(), SOON).await;
    assert_no_violations(&running.control());
}

/// Calls in the thoughts are none if the answer says something, and are promoted if it says nothing.
pub(crate) async fn thoughts_about_tools(service: Service) {
    let Some(model) = service.thinking.filter(|_| service.is_web_chat) else {
        return;
    };
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let script = Script {
        text: Some("It is 5.".to_owned()),
        reasoning: Some("Should I? [B][C ping][/C][/B]".to_owned()),
        notation: true,
        ..Script::default()
    };
    running.control().script(script).unwrap();
    let reply = hive
        .post(&with_tools(model, "look", &json!({"stream": true})))
        .await;
    assert_eq!(reply.streamed("content"), "It is 5.", "{}", reply.text);
    assert!(
        reply.streamed("reasoning_content").starts_with("Should I?"),
        "{}",
        reply.text
    );
    assert!(
        !reply.text.contains("call") || !reply.text.contains("call-"),
        "{}",
        reply.text
    );
    clean(&running).await;
    assert_no_violations(&running.control());
}
