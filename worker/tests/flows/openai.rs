//! The OpenAI-compatible lane.

use std::{future::poll_fn, sync::Arc, time::Duration};

use hive2api_worker::{
    chat::ChatEvent,
    http::openai::body,
    providers::{Job, Run, run::Progress},
    upstream::Client,
};
use serde_json::{Value, json};

use crate::support::{Hive, Reply, assert_no_violations, question, settled, simulator};

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])
}

/// Events that render to nothing (here: usage) once left a stream waiting for its next keep-alive.
#[actix_web::test]
async fn nothing_waits_for_the_keep_alive_timer() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(
        &[&upstream],
        &[("PING_INTERVAL", "30"), ("REASONING_FORMAT", "hidden")],
    );
    for model in ["sim-chat", "sim-reasoner"] {
        let started = std::time::Instant::now();
        assert!(hive.stream(model, "think:a b c echo:x y z").await.is_done());
        assert!(started.elapsed() < Duration::from_secs(5), "{model}");
    }
}

#[actix_web::test]
async fn passes_answers_through() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    for model in ["sim-chat", "sim/sim-chat"] {
        let ask = "echo:data: [DONE]\n\n👋🏽 \u{2028}";
        let text = "data: [DONE]\n\n👋🏽 \u{2028}";
        assert_eq!(hive.ask(model, ask).await.content(), text);
        let streamed = hive.stream(model, ask).await;
        assert_eq!(
            (streamed.streamed("content").as_str(), streamed.is_done()),
            (text, true)
        );
        assert_eq!(streamed.chunks()[0]["model"], model);
    }
    let reply = hive.ask("sim-reasoner", "think:hm echo:yes").await;
    assert_eq!(
        (
            reply.message()["reasoning_content"].as_str(),
            reply.content().as_str()
        ),
        (Some("hm"), "yes")
    );
    assert!(reply.json()["usage"]["total_tokens"].as_u64().unwrap() > 0);
    assert_no_violations(&upstream.control());
}

#[actix_web::test]
async fn tool_calls_and_formats_go_through() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let mut body = question("sim-chat", "what is the weather?");
    body["tools"] = tools();
    let whole = hive.post(&body).await;
    assert_eq!(whole.finish(), "tool_calls", "{}", whole.text);
    let call = whole.message()["tool_calls"][0].clone();
    assert_eq!(
        (&call["type"], &call["function"]["name"]),
        (&json!("function"), &json!("weather"))
    );
    assert!(
        serde_json::from_str::<Value>(call["function"]["arguments"].as_str().unwrap())
            .unwrap()
            .is_object()
    );
    body["stream"] = json!(true);
    let streamed = hive.post(&body).await;
    let calls: Vec<Value> = streamed
        .chunks()
        .iter()
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]
                .get("tool_calls")
                .map(|calls| calls[0].clone())
        })
        .collect();
    assert!(
        calls[0]["id"].is_string()
            && calls[0]["type"] == "function"
            && calls[0]["function"]["name"] == "weather",
        "{}",
        streamed.text
    );
    assert!(
        calls[1..]
            .iter()
            .all(|call| call.get("id").is_none() && call["index"] == 0)
    );
    assert_eq!(
        streamed.chunks()[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": null})
    );
    body = question("sim-chat", "echo:{}");
    body["response_format"] = json!({"type": "json_object"});
    body["temperature"] = json!(0.1);
    let reply = hive.post(&body).await;
    assert_eq!((reply.status, reply.header("x-hive-ignored")), (200, ""));
    assert_no_violations(&upstream.control());
}

#[actix_web::test]
async fn upstream_errors_are_mapped() {
    let upstream = simulator("openai", 1);
    for (fault, status, code) in [
        ("unauthorized", 502, "upstream_auth_expired"),
        ("forbidden", 403, "upstream_forbidden"),
        ("rate_limited", 429, "upstream_rate_limited"),
        ("rate_limited_retry_after", 429, "upstream_rate_limited"),
        ("insufficient_quota", 429, "upstream_rate_limited"),
        ("context_length_exceeded", 400, "context_length_exceeded"),
        ("content_filter", 400, "content_filter"),
        ("not_found", 404, "model_not_found"),
        ("server_error", 502, "upstream_unavailable"),
        ("overloaded", 502, "upstream_unavailable"),
        ("not_json", 502, "upstream_protocol_error"),
        ("error_before_text", 502, "upstream_unavailable"),
        ("disconnect_before_text", 502, "upstream_unavailable"),
        ("hang_before_text", 504, "upstream_timeout"),
    ] {
        let hive = Hive::start(&[&upstream], &[("STALL_TIMEOUT", "0.4")]);
        upstream.reset();
        upstream.control().fault(fault, 0).unwrap();
        for reply in [
            hive.ask("sim-chat", "hello").await,
            hive.stream("sim-chat", "hello").await,
        ] {
            let error = reply.error();
            assert_eq!(
                (error.0, error.2.as_str()),
                (status, code),
                "{fault}: {}",
                reply.text
            );
        }
    }
    let hive = Hive::start(&[&upstream], &[]);
    upstream.reset();
    upstream.control().fault("bad_request", 1).unwrap();
    let reply = hive.ask("sim-chat", "hello").await;
    assert!(
        reply.status == 400 && reply.json()["error"]["param"].is_string(),
        "{}",
        reply.text
    );
    for (fault, finish) in [
        ("finish_length", "length"),
        ("finish_content_filter", "content_filter"),
    ] {
        upstream.control().fault(fault, 1).unwrap();
        assert_eq!(hive.ask("sim-chat", "echo:a b c").await.finish(), finish);
    }
    for fault in ["error_after_text", "disconnect_after_text"] {
        upstream.control().fault(fault, 1).unwrap();
        let reply = hive
            .stream("sim-chat", "echo:one two three four five")
            .await;
        assert!(
            reply.stream_error().is_some() && !reply.is_done(),
            "{fault}: {}",
            reply.text
        );
    }
}

#[actix_web::test]
async fn odd_streams_are_understood() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    for quirk in upstream.control().known_quirks() {
        let script = hive2api_simulators::Script {
            quirks: vec![(*quirk).to_owned()],
            write_bytes: Some(3),
            ..Default::default()
        };
        upstream.control().script(script).unwrap();
        assert_eq!(
            hive.ask("sim-chat", "echo:fine 好").await.content(),
            "fine 好",
            "{quirk}"
        );
    }
}

#[actix_web::test]
async fn a_lane_is_a_fall_back_for_a_web_chat() {
    let (upstream, qwen) = (simulator("openai", 1), simulator("qwen", 1));
    let routes = (
        "MODEL_ROUTES",
        r#"{"best": ["qwen/qwen-max", "sim/sim-chat"]}"#,
    );
    let hive = Hive::start(&[&upstream, &qwen], &[routes]);
    assert_eq!(hive.ask("best", "echo:hi").await.content(), "hi");
    assert_eq!(
        (
            qwen.control().calls("ask").len(),
            upstream.control().calls("ask").len()
        ),
        (1, 0)
    );
    qwen.control().fault("not_login", 1).unwrap();
    assert_eq!(hive.ask("best", "echo:hi").await.content(), "hi");
    assert_eq!(upstream.control().calls("ask").len(), 1);
    // What the first candidate cannot do, the second one may.
    let mut body = question("best", "what is the weather?");
    body["tools"] = tools();
    assert_eq!(hive.post(&body).await.finish(), "tool_calls");
    // Moderation is the caller's matter: nobody else is asked.
    let hive = Hive::start(&[&upstream, &qwen], &[routes]);
    qwen.control().fault("moderated_before_text", 1).unwrap();
    assert_eq!(
        hive.ask("best", "echo:hi").await.error().2,
        "content_filter"
    );
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_upstream_call() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    hive.stream_and_leave("sim-chat", "pace:20 count:10000")
        .await;
    settled(&upstream.control(), Duration::from_secs(2)).await;
    assert!(upstream.control().calls("ask")[0].aborted);
}

#[actix_web::test]
async fn unlisted_models_need_the_lanes_name() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    assert_eq!(
        hive.ask("sim-unlisted", "x").await.error().2,
        "model_not_found"
    );
    let reply: Reply = hive.get("/v1/models/sim%2Fsim-unlisted").await;
    assert_eq!(reply.status, 200);
}

/// A request as the doors of other dialects bring it: without a body that the lane could pass on.
#[actix_web::test]
async fn who_speaks_another_dialect_is_heard_whole() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let history = json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "weather?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]);
    for (model, last, more) in [
        (
            "sim-chat",
            "and now?",
            json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "weather"}}}),
        ),
        (
            "sim-chat",
            "echo:as it is 你好",
            json!({"tools": tools(), "stream": true, "max_tokens": 99, "temperature": 0.5,
            "stop": ["never"], "response_format": {"type": "json_object"}, "reasoning_effort": "low", "user": "u"}),
        ),
        (
            "sim-reasoner",
            "think:hm echo:yes",
            json!({"stream": true, "stream_options": {"include_usage": true}, "enable_thinking": true}),
        ),
    ] {
        let mut messages = history.as_array().unwrap().clone();
        messages.push(json!({"role": "user", "content": last}));
        let mut body = json!({"model": model, "messages": messages});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let mut request = body::read(body.to_string().into()).unwrap();
        request.verbatim = None;
        let job = Job {
            client: Client::new(hive.app.settings.upstream.timeouts),
            settings: Arc::clone(&hive.app.settings),
            memory: hive.app.memory.clone(),
            janitor: hive.app.janitor,
            cut: hive.app.cut.subscribe(),
            caller: 1,
            client_name: "tests".into(),
            client_id: "tests".into(),
            conversations: None,
            marks: hive.app.marks.clone(),
            lasting: Default::default(),
        };
        let route = hive.app.registry.route_for(&request).unwrap();
        let mut run = Run::new(job, route, Arc::new(request));
        let mut events = Vec::new();
        let over = loop {
            match poll_fn(|cx| run.poll_events(cx, &mut events)).await {
                Progress::Events => {}
                Progress::Over(result) => break result,
            }
        };
        over.unwrap();
        let (mut text, mut thought, mut called) = (String::new(), String::new(), String::new());
        for event in events {
            match event {
                ChatEvent::Text(more) => text.push_str(&more),
                ChatEvent::Reasoning(more) => thought.push_str(&more),
                ChatEvent::ToolCall(call) => called.push_str(&call.name.unwrap_or_default()),
                _ => {}
            }
        }
        let expected = match last {
            "and now?" => ("", "", "weather"),
            "think:hm echo:yes" => ("yes", "hm", ""),
            _ => ("as it is 你好", "", ""),
        };
        assert_eq!((text.as_str(), thought.as_str(), called.as_str()), expected);
    }
    assert_no_violations(&upstream.control());
    assert_eq!(upstream.control().calls("ask").len(), 3);
}
