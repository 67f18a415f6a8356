//! What the door of Responses says when something is wrong, before an answer and amid it.

use hive2api_simulators::Script;
use serde_json::json;

use crate::{
    responses::{LANES, ask, called, calling, send, stream, tools},
    support::{Hive, KEY, Reply, simulator},
};

#[actix_web::test]
async fn errors_before_the_answer_have_their_status_and_code() {
    for (name, model) in LANES {
        let upstream = simulator(name, 1);
        for (fault, status, code) in [
            ("unauthorized", 502, "upstream_auth_expired"),
            ("rate_limited", 429, "rate_limit_exceeded"),
            ("insufficient_quota", 429, "insufficient_quota"),
            ("context_length_exceeded", 400, "context_length_exceeded"),
            ("content_filter", 400, "content_filter"),
            ("overloaded", 502, "upstream_unavailable"),
        ] {
            let hive = Hive::start(&[&upstream], &[]);
            upstream.control().fault(fault, 9).unwrap();
            for is_stream in [false, true] {
                let reply = send(
                    &hive,
                    &ask(model, json!("hi"), json!({"stream": is_stream})),
                )
                .await;
                let (said, _, said_code) = reply.error();
                assert_eq!(
                    (said, &*said_code),
                    (status, code),
                    "{name} {fault} {}",
                    reply.text
                );
            }
            upstream.control().clear_faults();
        }
    }
}

#[actix_web::test]
async fn errors_amid_the_answer_end_it_by_the_rules() {
    for (name, model, fault, status, reason) in [
        (
            "openai",
            "sim-chat",
            "error_after_text",
            "failed",
            "server_error",
        ),
        (
            "openai",
            "sim-chat",
            "disconnect_after_text",
            "failed",
            "server_error",
        ),
        (
            "openai",
            "sim-chat",
            "finish_length",
            "incomplete",
            "max_output_tokens",
        ),
        (
            "openai",
            "sim-chat",
            "finish_content_filter",
            "incomplete",
            "content_filter",
        ),
        (
            "responses",
            "rsim-chat",
            "failed_after_text",
            "failed",
            "server_error",
        ),
        (
            "responses",
            "rsim-chat",
            "error_after_text",
            "failed",
            "server_error",
        ),
        (
            "responses",
            "rsim-chat",
            "disconnect_after_text",
            "failed",
            "server_error",
        ),
        (
            "responses",
            "rsim-chat",
            "finish_length",
            "incomplete",
            "max_output_tokens",
        ),
        (
            "responses",
            "rsim-chat",
            "finish_content_filter",
            "incomplete",
            "content_filter",
        ),
    ] {
        let upstream = simulator(name, 1);
        let hive = Hive::start(&[&upstream], &[]);
        upstream.control().fault(fault, 9).unwrap();
        let told = stream(&hive, &ask(model, json!("count:5"), json!({}))).await;
        assert_eq!(told.response["status"], status, "{name} {fault}");
        let said = match status {
            "failed" => &told.response["error"]["code"],
            _ => &told.response["incomplete_details"]["reason"],
        };
        assert_eq!(said, reason, "{name} {fault}");
        assert_eq!(told.output()[0]["status"], "incomplete", "{name} {fault}");
    }
}

/// Inside of a call as well: nothing of it may look whole.
#[actix_web::test]
async fn a_call_that_breaks_off_is_not_whole() {
    for (name, model) in LANES {
        let upstream = simulator(name, 1);
        let hive = Hive::start(&[&upstream], &[]);
        calling(
            &upstream,
            Some(""),
            vec![called("exec_command", r#"{"cmd":"a long command line"}"#)],
        );
        upstream.control().fault("error_after_text", 9).unwrap();
        let told = stream(&hive, &ask(model, json!("go"), json!({"tools": tools()}))).await;
        assert_eq!(told.response["status"], "failed");
        let item = &told.output()[0];
        assert_eq!(
            (&item["type"], &item["status"]),
            (&json!("function_call"), &json!("incomplete")),
            "{name}"
        );
    }
}

/// A rate limit that is told once the status line is out names the time to wait in words that Codex reads.
#[actix_web::test]
async fn a_late_rate_limit_says_when_to_come_back() {
    let upstream = simulator("responses", 1);
    let hive = Hive::start(
        &[&upstream],
        &[("HEAD_TIMEOUT", "0.05"), ("PING_INTERVAL", "0.1")],
    );
    upstream.control().fault("failed_rate_limit", 9).unwrap();
    let script = Script {
        pace_ms: Some(150),
        times: Some(9),
        ..Script::default()
    };
    upstream.control().script(script).unwrap();
    let told = stream(&hive, &ask("rsim-chat", json!("count:3"), json!({}))).await;
    assert_eq!(told.response["error"]["code"], "rate_limit_exceeded");
    let message = told.response["error"]["message"].as_str().unwrap();
    // As long as the account rests.
    assert!(message.ends_with(". Please try again in 1s."), "{message}");
}

#[actix_web::test]
async fn what_needs_a_memory_is_refused_with_its_code() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    for (more, param) in [
        (
            json!({"previous_response_id": "resp_1"}),
            "previous_response_id",
        ),
        (json!({"background": true}), "background"),
        (json!({"conversation": "conv_1"}), "conversation"),
        (json!({"prompt": {"id": "p"}}), "prompt"),
        (
            json!({"input": [{"type": "item_reference", "id": "msg_1"}]}),
            "input[0]",
        ),
    ] {
        let reply = send(&hive, &ask("sim-chat", json!("hi"), more)).await;
        let (status, _, code) = reply.error();
        assert_eq!(
            (status, &*code),
            (400, "unsupported_parameter"),
            "{}",
            reply.text
        );
        assert_eq!(reply.json()["error"]["param"], param);
    }
    for (method, path, status, code) in [
        ("GET", "/v1/responses/resp_1", 404, "response_not_found"),
        ("DELETE", "/responses/resp_1", 404, "response_not_found"),
        (
            "POST",
            "/v1/responses/resp_1/cancel",
            404,
            "response_not_found",
        ),
        (
            "GET",
            "/v1/responses/resp_1/input_items?limit=5",
            404,
            "response_not_found",
        ),
        ("POST", "/v1/responses/compact", 404, "not_found"),
        ("GET", "/v1/responses", 405, "method_not_allowed"),
    ] {
        let reply = Reply::read(hive.request(method, path).send().await.unwrap()).await;
        let (said, _, said_code) = reply.error();
        assert_eq!((said, &*said_code), (status, code), "{path}");
    }
    let upgrade = hive
        .request("GET", "/v1/responses")
        .insert_header(("connection", "upgrade"))
        .insert_header(("upgrade", "websocket"));
    let reply = Reply::read(upgrade.send().await.unwrap()).await;
    assert_eq!(reply.error().0, 426);
    assert!(
        upstream.control().log().is_empty(),
        "the upstream was asked"
    );
}

#[actix_web::test]
async fn a_wrong_key_is_said_in_openais_form() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let wrong = format!("Bearer {KEY}x");
    let request = hive
        .request("POST", "/v1/responses")
        .insert_header(("authorization", wrong));
    let reply = Reply::read(
        request
            .send_body(ask("sim-chat", json!("hi"), json!({})).to_string())
            .await
            .unwrap(),
    )
    .await;
    let (status, _, code) = reply.error();
    assert_eq!((status, &*code), (401, "invalid_api_key"));
}
