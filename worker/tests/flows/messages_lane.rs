//! Lanes whose upstream speaks Anthropic's dialect.

use serde_json::{Value, json};

use crate::{
    messages::{ask, events, joined, last_usage},
    support::{Hive, Reply, assert_no_violations, simulator},
};

/// A lane whose upstream speaks the dialect gets its callers' bodies as they came, and what it has sealed comes back to it.
#[actix_web::test]
async fn a_lane_of_the_dialect_is_asked_in_the_callers_own_words() {
    let lane = simulator("anthropic", 1);
    let hive = Hive::start(&[&lane], &[]);
    let more = json!({
        "thinking": {"type": "enabled", "budget_tokens": 2048}, "temperature": 1, "context_management": {"edits": []},
        "tools": [{"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}],
    });
    let mut body = ask("asim-chat", "think:so be it, and then?", more);
    let post = async |body: &Value| {
        let request = hive
            .request("POST", "/v1/messages?beta=true")
            .insert_header(("anthropic-version", "2026-10-21"))
            .insert_header(("anthropic-beta", "context-management-2025-06-27,other-1"));
        Reply::read(request.send_body(body.to_string()).await.unwrap()).await
    };
    let whole = post(&body).await.json();
    let seal = whole["content"][0]["signature"].as_str().unwrap();
    assert!(seal.starts_with("sim-seal-"), "{whole}");
    assert_eq!(
        (&whole["content"][1]["name"], &whole["stop_reason"]),
        (&json!("Bash"), &json!("tool_use"))
    );
    body["stream"] = json!(true);
    let streamed = events(&post(&body).await);
    assert!(joined(&streamed, "signature").starts_with("sim-seal-"));
    assert_eq!(
        joined(&streamed, "thinking"),
        whole["content"][0]["thinking"]
    );
    // The upstream's own counts.
    assert_eq!(
        last_usage(&streamed)["output_tokens"],
        whole["usage"]["output_tokens"]
    );

    body["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": whole["content"]}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": whole["content"][1]["id"], "content": "done"}]}),
    ]);
    let after = post(&body).await;
    assert!(
        !joined(&events(&after), "text").is_empty(),
        "{}",
        after.text
    );
    for call in lane.control().calls("ask") {
        assert_eq!(
            call.params["context_management"],
            json!({"edits": []}),
            "{call:?}"
        );
    }
    assert_no_violations(&lane.control());
}

#[actix_web::test]
async fn any_door_leads_to_a_lane_of_the_dialect() {
    let lane = simulator("anthropic", 1);
    let hive = Hive::start(&[&lane], &[]);
    for stream in [false, true] {
        let mut body = json!({
            "model": "asim-reasoner", "stream": stream, "stop": ["thr"], "reasoning_effort": "low", "temperature": 0.3,
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "think:hm echo:one two three"}],
        });
        let reply = hive.post(&body).await;
        let (text, thought) = if stream {
            (
                reply.streamed("content"),
                reply.streamed("reasoning_content"),
            )
        } else {
            (
                reply.content(),
                reply.message()["reasoning_content"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            )
        };
        assert_eq!(
            (text.as_str(), thought.as_str()),
            ("one two ", "hm"),
            "{}",
            reply.text
        );
        body["messages"] = json!([{"role": "user", "content": "weather?"}]);
        body["tools"] = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]);
        body["tool_choice"] = json!("required");
        let reply = hive.post(&body).await;
        assert!(
            reply.text.contains("tool_calls") && reply.text.contains("weather"),
            "{}",
            reply.text
        );
    }
    for (fault, status, code) in [
        ("unauthorized", 502, "upstream_auth_expired"),
        ("forbidden", 403, "upstream_forbidden"),
        ("rate_limited", 429, "upstream_rate_limited"),
        ("credit_spent", 429, "upstream_rate_limited"),
        ("bad_request", 400, ""),
        ("too_long", 400, "context_length_exceeded"),
        ("not_found", 404, "model_not_found"),
        ("server_error", 502, "upstream_unavailable"),
        ("overloaded", 502, "upstream_unavailable"),
        ("error_before_text", 502, "upstream_unavailable"),
        ("empty", 502, "upstream_unavailable"),
    ] {
        for stream in [false, true] {
            let lane = simulator("anthropic", 1);
            let hive = Hive::start(&[&lane], &[]);
            lane.control().fault(fault, 9).unwrap();
            let mut body = crate::support::question("asim-chat", "hi");
            body["stream"] = json!(stream);
            let refused = hive.post(&body).await.error();
            assert_eq!(
                (refused.0, refused.2.as_str()),
                (status, code),
                "{fault} {stream}"
            );
        }
    }
    for (quirk, times) in [
        ("crlf", 1),
        ("nameless", 1),
        ("pings", 1),
        ("whole_input", 1),
    ] {
        let script = hive2api_simulators::Script {
            quirks: vec![quirk.to_owned()],
            times: Some(times),
            ..hive2api_simulators::Script::default()
        };
        lane.control().script(script).unwrap();
        let reply = hive.stream("asim-chat", "echo:fine 👋").await;
        assert_eq!(
            (reply.streamed("content").as_str(), reply.is_done()),
            ("fine 👋", true),
            "{quirk}"
        );
    }
    let body = json!({"model": "asim-chat", "input": "echo:by the third door", "stream": false})
        .to_string();
    let request = hive.request("POST", "/v1/responses").send_body(body);
    let reply = Reply::read(request.await.unwrap()).await;
    assert_eq!(
        reply.json()["output"][0]["content"][0]["text"],
        "by the third door",
        "{}",
        reply.text
    );
    let broken = {
        lane.control().fault("error_after_text", 1).unwrap();
        hive.stream("asim-chat", "count:9").await
    };
    assert!(
        broken.stream_error().is_some() && !broken.is_done(),
        "{}",
        broken.text
    );
    assert_no_violations(&lane.control());
}
