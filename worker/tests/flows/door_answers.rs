//! What the OpenAI door answers, rule by rule (conformance section 2).

use serde_json::{Value, json};

use crate::{
    door::hive,
    support::{Hive, question, simulator},
};

#[actix_web::test]
async fn s1_to_s7_the_shape_of_a_stream() {
    let (_qwen, hive) = hive().await;
    let reply = hive
        .stream_with(
            "qwen3-max-thinking",
            "think:hm echo:one two three",
            json!({"stream_options": {"include_usage": true}, "n": 2}),
        )
        .await;
    assert_eq!(
        reply.header("content-type"),
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(
        (
            reply.header("cache-control"),
            reply.header("x-accel-buffering")
        ),
        ("no-cache, no-transform", "no")
    );
    assert!(reply.is_done());
    let chunks = reply.chunks();
    let (first, last) = (chunks.first().unwrap(), chunks.last().unwrap());
    assert!(first["id"].as_str().unwrap().starts_with("chatcmpl-"));
    for chunk in &chunks {
        for member in ["id", "created", "model", "object"] {
            assert_eq!(chunk[member], first[member]);
        }
        assert!(chunk["choices"].is_array() && chunk["created"].is_i64());
        assert_eq!(chunk["usage"].is_null(), chunk != last, "{chunk}");
    }
    assert_eq!(
        (&first["model"], &first["object"]),
        (
            &json!("qwen3-max-thinking"),
            &json!("chat.completion.chunk")
        )
    );
    assert_eq!(last["choices"], json!([]));
    let usage = &last["usage"];
    assert_eq!(
        usage["total_tokens"].as_u64().unwrap(),
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );
    assert!(
        usage["completion_tokens_details"]["reasoning_tokens"]
            .as_u64()
            .unwrap()
            > 0
    );
    for index in 0..2 {
        let of_choice: Vec<&Value> = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"].get(0))
            .filter(|choice| choice["index"] == index)
            .collect();
        assert_eq!(
            of_choice[0]["delta"],
            json!({"role": "assistant", "content": ""})
        );
        assert!(
            of_choice[1..]
                .iter()
                .all(|choice| choice["delta"].get("role").is_none())
        );
        let ends: Vec<_> = of_choice
            .iter()
            .filter(|choice| !choice["finish_reason"].is_null())
            .collect();
        assert_eq!(
            (ends.len(), &ends[0]["delta"], &ends[0]["finish_reason"]),
            (1, &json!({}), &json!("stop"))
        );
        assert!(
            of_choice
                .iter()
                .all(|choice| !(choice["delta"]["content"].is_string()
                    && choice["delta"]["reasoning_content"].is_string()))
        );
        let text: String = of_choice
            .iter()
            .filter_map(|choice| choice["delta"]["content"].as_str())
            .collect();
        assert_eq!(text, "one two three");
    }
    let plain = hive.stream("qwen-plus", "echo:x").await;
    assert!(!plain.text.contains("usage"));
}

#[actix_web::test]
async fn s9_silence_is_filled_with_comments() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(
        &[&qwen],
        &[
            ("HEAD_TIMEOUT", "0.2"),
            ("PING_INTERVAL", "0.1"),
            ("STALL_TIMEOUT", "5"),
        ],
    );
    qwen.control()
        .order(hive2api_simulators::control::Order {
            name: "slow_text".into(),
            delay_ms: Some(700),
            ..Default::default()
        })
        .unwrap();
    let reply = hive.stream("qwen-plus", "echo:late").await;
    assert!(
        reply.text.matches(": keep-alive\n\n").count() >= 3,
        "{}",
        reply.text
    );
    assert_eq!(reply.streamed("content"), "late");
    // After the status line has gone, a failure is told in the stream.
    qwen.control().fault("hang_before_text", 1).unwrap();
    let hive = Hive::start(
        &[&qwen],
        &[("HEAD_TIMEOUT", "0.1"), ("STALL_TIMEOUT", "0.5")],
    );
    let reply = hive.stream("qwen-plus", "echo:never").await;
    assert_eq!(
        (reply.status, reply.stream_error().unwrap()["code"].as_str()),
        (200, Some("upstream_timeout"))
    );
    assert!(!reply.is_done());
}

#[actix_web::test]
async fn s13_the_shape_of_an_answer_in_one_piece() {
    let (_qwen, hive) = hive().await;
    for stream in [json!(null), json!(false)] {
        let mut body = question("qwen-plus", "echo:one two");
        body["stream"] = stream;
        body["n"] = json!(3);
        let answer = hive.post(&body).await.json();
        assert_eq!(answer["object"], "chat.completion");
        assert_eq!(answer["choices"].as_array().unwrap().len(), 3);
        for (index, choice) in answer["choices"].as_array().unwrap().iter().enumerate() {
            assert_eq!(
                (
                    &choice["index"],
                    &choice["logprobs"],
                    &choice["finish_reason"]
                ),
                (&json!(index), &Value::Null, &json!("stop"))
            );
            assert_eq!(
                (&choice["message"]["role"], &choice["message"]["content"]),
                (&json!("assistant"), &json!("one two"))
            );
        }
        assert_eq!(answer["usage"]["completion_tokens"], 6);
    }
}

#[actix_web::test]
async fn stop_and_max_tokens_end_the_answer_and_the_upstream_call() {
    let (qwen, hive) = hive().await;
    for (field, value, text, finish) in [
        ("stop", json!("6"), "1 2 3 4 5 ", "stop"),
        ("stop", json!(["nothing", "5 6"]), "1 2 3 4 ", "stop"),
        ("max_tokens", json!(3), "1 2", "length"),
        ("max_completion_tokens", json!(3), "1 2", "length"),
    ] {
        let mut body = question("qwen-plus", "pace:5 count:10000");
        body[field] = value;
        let whole = hive.post(&body).await;
        assert_eq!(
            (whole.content().trim_end(), whole.finish().as_str()),
            (text.trim_end(), finish),
            "{field}"
        );
        body["stream"] = json!(true);
        let streamed = hive.post(&body).await;
        assert_eq!(
            streamed.streamed("content").trim_end(),
            text.trim_end(),
            "{field}"
        );
        assert!(
            streamed.is_done()
                && streamed
                    .text
                    .contains(&format!(r#""finish_reason":"{finish}""#))
        );
    }
    crate::support::settled(&qwen.control(), std::time::Duration::from_secs(2)).await;
    assert!(qwen.control().calls("ask").iter().all(|call| call.aborted));
}

#[actix_web::test]
async fn reasoning_takes_the_configured_form() {
    let qwen = simulator("qwen", 1);
    for (format, content) in [
        ("think_tags", "<think>\nhm\n</think>\n\nyes"),
        ("inline", "<think:hm>yes"),
        ("hidden", "yes"),
    ] {
        let hive = Hive::start(&[&qwen], &[("REASONING_FORMAT", format)]);
        let whole = hive.ask("qwen3-max-thinking", "think:hm echo:yes").await;
        assert_eq!(
            (
                whole.content().as_str(),
                whole.message().get("reasoning_content")
            ),
            (content, None),
            "{format}"
        );
        assert_eq!(
            hive.stream("qwen3-max-thinking", "think:hm echo:yes")
                .await
                .streamed("content"),
            content,
            "{format}"
        );
    }
}
