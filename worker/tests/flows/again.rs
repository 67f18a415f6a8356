//! Answers that are given again, through every door, and when they are not.

use serde_json::{Value, json};

use crate::support::{Hive, PIXEL, Reply, question, simulator};

/// The generation that has the names of models that are asked for here.
const DIALOG: (&str, &str) = ("QWEN_PROTOCOL", "dialog");
const KEPT: (&str, &str) = ("CACHE_TTL", "60");
const MODEL: &str = "qwen-plus";

/// Asks at a door, with these further headers.
async fn ask_at(hive: &Hive, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    let mut request = hive
        .request("POST", path)
        .insert_header(("content-type", "application/json"));
    for &header in headers {
        request = request.insert_header(header);
    }
    Reply::read(request.send_body(body.to_string()).await.unwrap()).await
}

async fn ask(hive: &Hive, headers: &[(&str, &str)], body: &Value) -> Reply {
    ask_at(hive, "/v1/chat/completions", headers, body).await
}

fn streamed(mut body: Value) -> Value {
    body["stream"] = json!(true);
    body
}

#[actix_web::test]
async fn one_answer_serves_all_doors_whole_and_streamed() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG, KEPT]);
    let words = "tag:T count:12";
    let body = question(MODEL, words);
    let first = ask(&hive, &[], &body).await;
    assert_eq!(first.header("x-hive-cache"), "miss");
    let said = first.content();
    let asked = || qwen.control().calls("ask").len();
    assert_eq!(asked(), 1);

    let whole = ask(&hive, &[], &body).await;
    assert_eq!(
        (whole.header("x-hive-cache"), whole.content()),
        ("hit", said.clone())
    );
    assert_eq!(whole.header("x-hive-model"), first.header("x-hive-model"));
    assert_eq!(whole.json()["usage"], first.json()["usage"]);
    assert_ne!(whole.json()["id"], first.json()["id"]);

    let stream = ask(&hive, &[], &streamed(body)).await;
    assert_eq!(stream.header("x-hive-cache"), "hit");
    assert!(stream.is_done());
    assert_eq!(stream.streamed("content"), said);
    let pieces = stream
        .chunks()
        .iter()
        .filter(|it| it["choices"][0]["delta"]["content"].is_string())
        .count();
    assert!(pieces > 3, "in pieces, as it came: {}", stream.text);

    let messages = json!({"model": MODEL, "max_tokens": 4000, "messages": [{"role": "user", "content": [{"type": "text", "text": words}]}]});
    let first = ask_at(&hive, "/v1/messages", &[], &messages).await;
    assert_eq!(
        (first.status, first.header("x-hive-cache")),
        (200, "miss"),
        "it wants at most 4000 tokens"
    );
    let again = ask_at(&hive, "/v1/messages", &[], &streamed(messages)).await;
    assert_eq!(again.header("x-hive-cache"), "hit");
    assert!(again.text.contains("event: message_stop"), "{}", again.text);
    let responses = json!({"model": MODEL, "input": words});
    let again = ask_at(&hive, "/v1/responses", &[], &responses).await;
    assert_eq!(
        again.header("x-hive-cache"),
        "hit",
        "as chat completions have asked it"
    );
    assert!(again.text.contains("T-12"), "{}", again.text);
    assert_eq!(asked(), 2);
}

#[actix_web::test]
async fn callers_may_want_a_new_answer_and_none_gets_anothers() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(
        &[&qwen],
        &[DIALOG, KEPT, ("API_KEYS", "eve:sk-eve-0123456789")],
    );
    let body = question(MODEL, "echo:hello");
    let result = async |headers: &[(&str, &str)], body: &Value| {
        let reply = ask(&hive, headers, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.header("x-hive-cache").to_owned()
    };
    assert_eq!(
        result(&[("cache-control", "no-store")], &body).await,
        "miss"
    );
    assert_eq!(result(&[], &body).await, "miss", "nothing was kept");
    assert_eq!(
        result(&[("cache-control", "no-cache")], &body).await,
        "miss"
    );
    assert_eq!(result(&[], &body).await, "hit");
    assert_eq!(
        result(&[("authorization", "Bearer sk-eve-0123456789")], &body).await,
        "miss"
    );
    let mut warmer = body.clone();
    warmer["temperature"] = json!(0.9);
    assert_eq!(result(&[], &warmer).await, "miss");
    let mut two = body.clone();
    two["n"] = json!(2);
    for _ in 0..2 {
        assert_eq!(result(&[], &two).await, "", "two answers are to differ");
    }
    let seen = |path: &str| {
        json!({"model": MODEL, "messages": [{"role": "user", "content": [
        {"type": "text", "text": "count:3"}, {"type": "image_url", "image_url": {"url": path}}]}]})
    };
    assert_eq!(result(&[], &seen(PIXEL)).await, "miss");
    assert_eq!(result(&[], &seen(PIXEL)).await, "hit", "the same picture");
    let tools = json!({"model": MODEL, "messages": [
        {"role": "user", "content": "echo:done"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"}]});
    for _ in 0..2 {
        assert_eq!(
            result(&[], &tools).await,
            "",
            "a tool's result goes on in the world"
        );
    }
}

#[actix_web::test]
async fn what_went_wrong_is_asked_anew() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG, KEPT, ("RETRY_DELAYS_MS", "none")]);
    for (fault, text) in [
        ("disconnect_after_text", "count:9"),
        ("moderated_after_text", "count:8"),
        ("rate_limited", "count:7"),
    ] {
        qwen.control().fault(fault, 1).unwrap();
        let body = streamed(question(MODEL, text));
        let first = ask(&hive, &[], &body).await;
        let is_good = first.status == 200 && first.text.contains(r#""finish_reason":"stop""#);
        assert!(!is_good, "{fault}: {}", first.text);
        let mut second = ask(&hive, &[], &body).await;
        while second.status == 429 {
            // The account rests for a moment.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            second = ask(&hive, &[], &body).await;
        }
        assert_eq!(second.header("x-hive-cache"), "miss", "{fault}");
        assert!(second.is_done(), "{fault}");
        let third = ask(&hive, &[], &body).await;
        assert_eq!(third.header("x-hive-cache"), "hit", "{fault}");
    }
    // Left in its midst.
    hive.stream_and_leave(MODEL, "pace:20 count:50").await;
    let again = ask(&hive, &[], &streamed(question(MODEL, "pace:20 count:50"))).await;
    assert_eq!(again.header("x-hive-cache"), "miss");
}

#[actix_web::test]
async fn a_hit_costs_no_tokens_and_nothing_is_said_where_nothing_is_kept() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG, KEPT]);
    let body = question(MODEL, "count:20");
    for _ in 0..3 {
        assert_eq!(ask(&hive, &[], &body).await.status, 200);
    }
    let usage = hive.get("/v1/usage?group_by=provider").await.json();
    let rows: Vec<(String, u64, u64)> = usage["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let number = |name: &str| row[name].as_u64().unwrap();
            let provider = row["provider"].as_str().unwrap().to_owned();
            (provider, number("requests"), number("total_tokens"))
        })
        .collect();
    assert_eq!(rows[0], ("cache".to_owned(), 2, 0), "{usage}");
    assert!(
        rows[1].0 == "qwen" && rows[1].1 == 1 && rows[1].2 > 20,
        "{usage}"
    );

    let hive = Hive::start(&[&qwen], &[DIALOG]);
    for _ in 0..2 {
        assert_eq!(ask(&hive, &[], &body).await.header("x-hive-cache"), "");
    }
}
