//! Answers in a form that was asked for: JSON, checked and mended (tools.md section 13).

use serde_json::{Value, json};

use crate::{
    support::{Reply, SOON, assert_no_violations, question, settled},
    tools::{MODEL, calls, hive, prompts, says, with_tools},
};

/// OpenAI's SDKs raise on `refusal`, Anthropic's clients read the stop reason.
#[actix_web::test]
async fn who_does_not_want_to_answer_in_a_form_refuses_in_every_dialect() {
    // Each in other words: one sentence for different questions would be the service's refusal, and asked again.
    let sorry = |at: u8| format!("I'm sorry, but I can't assist with request {at}.");
    let (qwen, hive) = hive(&[]);
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}});
    for (at, stream) in [(1, false), (3, true)] {
        let last = sorry(at + 1);
        says(&qwen, &[&sorry(at), &last]);
        let mut body = question(MODEL, "x");
        body["response_format"] = format.clone();
        body["stream"] = stream.into();
        let reply = hive.post(&body).await;
        if stream {
            assert_eq!(reply.streamed("refusal"), last, "{}", reply.text);
            assert_eq!(reply.streamed("content"), "");
            assert!(reply.is_done());
        } else {
            let message = reply.message();
            assert_eq!(
                (message["refusal"].as_str(), message["content"].is_null()),
                (Some(last.as_str()), true),
                "{}",
                reply.text
            );
            assert_eq!(reply.finish(), "stop");
        }
    }
    says(&qwen, &[&sorry(5), &sorry(6)]);
    let body = json!({"model": MODEL, "input": "x", "text": {"format": {"type": "json_schema", "name": "n", "strict": true, "schema": schema}}});
    let sent = hive.request("POST", "/v1/responses").send_json(&body).await;
    let reply = Reply::read(sent.unwrap()).await;
    let item = reply.json()["output"][0].clone();
    assert_eq!(
        item["content"],
        json!([{"type": "refusal", "refusal": sorry(6)}]),
        "{}",
        reply.text
    );
    says(&qwen, &[&sorry(7), &sorry(8)]);
    let body = json!({"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "x"}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let sent = hive.request("POST", "/v1/messages").send_json(&body).await;
    let reply = Reply::read(sent.unwrap()).await;
    let answer = reply.json();
    assert_eq!(
        (
            answer["stop_reason"].as_str(),
            answer["content"][0]["text"].as_str()
        ),
        (Some("refusal"), Some(sorry(8).as_str())),
        "{}",
        reply.text
    );
    settled(&qwen.control(), SOON).await;
}

#[actix_web::test]
async fn json_is_checked_mended_or_asked_for_again() {
    let (qwen, hive) = hive(&[]);
    let schema = |strict: bool| json!({"type": "json_schema", "json_schema": {"name": "n", "strict": strict, "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}});
    let object = json!({"type": "json_object"});
    for (format, answers, expected) in [
        (object.clone(), vec!["{\"a\": 1}"], Ok("{\"a\": 1}")),
        (
            object.clone(),
            vec!["Here you are:⏎```json⏎{\"a\":1}⏎```⏎Enjoy!"],
            Ok("{\"a\":1}"),
        ),
        (
            object.clone(),
            vec!["{'a': True, b: 1,}"],
            Ok("{\"a\":true,\"b\":1}"),
        ),
        (schema(true), vec!["{\"a\":\"1\"}"], Ok("{\"a\":1}")),
        (
            schema(true),
            vec!["{\"a\":\"x\"}", "{\"a\":2}"],
            Ok("{\"a\":2}"),
        ),
        (
            schema(true),
            vec!["{\"a\":\"x\"}", "{\"a\":\"x\"}"],
            Err("structured_output_invalid"),
        ),
        (
            schema(false),
            vec!["{\"a\":\"x\"}", "{\"a\":\"x\"}"],
            Ok("{\"a\":\"x\"}"),
        ),
        (
            object.clone(),
            vec!["I cannot do that.", "No."],
            Err("structured_output_invalid"),
        ),
        (object.clone(), vec!["[1,2]", "{}"], Ok("{}")),
    ] {
        for stream in [false, true] {
            let answers: Vec<String> = answers
                .iter()
                .map(|answer| answer.replace('⏎', "\n"))
                .collect();
            let texts: Vec<&str> = answers.iter().map(String::as_str).collect();
            says(&qwen, &texts);
            let mut body = question(MODEL, "x");
            body["response_format"] = format.clone();
            body["stream"] = stream.into();
            let reply = hive.post(&body).await;
            match expected {
                Ok(text) => {
                    let said = if stream {
                        reply.streamed("content")
                    } else {
                        reply.content()
                    };
                    assert_eq!(said, text, "{answers:?} {}", reply.text);
                    assert_eq!(reply.header("x-hive-emulated"), "response_format");
                }
                Err(code) => assert_eq!(
                    (reply.status, reply.error().2.as_str()),
                    (502, code),
                    "{answers:?} {}",
                    reply.text
                ),
            }
            settled(&qwen.control(), SOON).await;
            qwen.control().clear_scripts();
        }
    }
    let told = prompts(&qwen);
    assert!(
        told[0].ends_with(
            "Answer with one JSON object and nothing else: no words around it, no fence."
        ),
        "{}",
        told[0]
    );
    assert_no_violations(&qwen.control());
}

#[actix_web::test]
async fn tools_and_a_form_at_once() {
    let (qwen, hive) = hive(&[]);
    let format = json!({"response_format": {"type": "json_object"}});
    says(&qwen, &["I look. [B][C ping][/C][/B]", "{\"a\":1}"]);
    let called = hive.post(&with_tools(MODEL, "x", &format)).await;
    assert_eq!(
        (calls(&called).len(), called.message()["content"].clone()),
        (1, Value::Null),
        "{}",
        called.text
    );
    let answered = hive.post(&with_tools(MODEL, "x", &format)).await;
    assert_eq!(
        (answered.content().as_str(), answered.finish().as_str()),
        ("{\"a\":1}", "stop")
    );
    assert_eq!(answered.header("x-hive-emulated"), "response_format, tools");
}
