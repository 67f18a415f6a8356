//! What callers send that others than we thought of: parts of other dialects, members twice, halves of emoji, packed bodies,
//! old versions of HTTP, HEAD, odd paging.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write};
use serde_json::{Value, json};

use crate::{
    raw::{Api, connect, exchange, head, read},
    support::{Hive, Reply, question, simulator},
};

const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

fn lab(api: &Api) -> Hive {
    Hive::start(&[], &api.settings())
}

#[actix_web::test]
async fn an_assistants_thinking_is_left_out_and_goes_to_lanes_as_it_is() {
    let (api, qwen) = (Api::whole(), simulator("qwen", 1));
    let hive = Hive::start(&[&qwen], &api.settings());
    let messages = json!([
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "The user greets me.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": "Hello."},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}},
            {"type": "something_new", "x": null},
        ]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "More."}, {"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "echo:ok"},
    ]);
    let body = |model: &str| json!({"model": model, "messages": messages});
    assert_eq!(hive.post(&body("m")).await.content(), "Hello");
    let sent: Value = serde_json::from_str(&api.last()).unwrap();
    assert_eq!(sent["messages"], messages);
    assert_eq!(hive.post(&body("qwen-plus")).await.content(), "ok");
    let turns = &qwen.control().calls("ask")[0].turns;
    let texts: Vec<&str> = turns.iter().map(|turn| turn.text.as_str()).collect();
    assert_eq!(texts, ["Hi", "Hello.", "More.\nNo.", "echo:ok"]);
}

#[actix_web::test]
async fn parts_of_the_question_go_to_lanes_and_are_refused_by_name_elsewhere() {
    let (api, qwen) = (Api::whole(), simulator("qwen", 1));
    let hive = Hive::start(&[&qwen], &api.settings());
    for (kind, part) in [
        (
            "video_url",
            json!({"type": "video_url", "video_url": {"url": "https://files.example/clip.mp4"}}),
        ),
        (
            "input_audio",
            json!({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
        ),
        (
            "tool_result",
            json!({"type": "tool_result", "tool_use_id": "t", "content": "4"}),
        ),
        (
            "file_data",
            json!({"type": "file", "file": {"file_id": "file-1"}}),
        ),
    ] {
        let content = json!([part, {"type": "text", "text": "What is this?"}]);
        let body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": content}]});
        assert_eq!(hive.post(&body("m")).await.content(), "Hello", "{kind}");
        let sent: Value = serde_json::from_str(&api.last()).unwrap();
        assert_eq!(sent["messages"][0]["content"], content);
        let refused = hive.post(&body("qwen-plus")).await;
        assert_eq!(
            refused.error(),
            (
                400,
                "invalid_request_error".to_owned(),
                "unsupported_content".to_owned()
            )
        );
        let error = refused.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains(kind), "{error}");
        assert_eq!(error["param"], "messages[0].content");
        // Once it is history, it is left out.
        let mut history = body("qwen-plus");
        for more in [
            json!({"role": "assistant", "content": "A film."}),
            json!({"role": "user", "content": "echo:ok"}),
        ] {
            history["messages"].as_array_mut().unwrap().push(more);
        }
        assert_eq!(hive.post(&history).await.content(), "ok", "{kind}");
    }
    // Where a route leads to both, the one that takes it answers.
    let mut settings = api.settings().to_vec();
    settings.push(("MODEL_ROUTES", r#"{"best":["qwen/qwen-plus","lab/m"]}"#));
    let hive = Hive::start(&[&qwen], &settings);
    let body = json!({"model": "best", "messages": [{"role": "user", "content": [{"type": "video_url", "video_url": "u"}]}]});
    assert_eq!(hive.post(&body).await.content(), "Hello");
}

#[actix_web::test]
async fn of_a_member_that_stands_twice_the_last_one_counts_for_all() {
    let api = Api::whole();
    let hive = lab(&api);
    let body = r#"{"stream":false,"stream":false,"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(hive.post_raw(body).await.content(), "Hello");
    let body = r#"{"model":"nobody","max_tokens":1,"messages":[],"n":5,"stream":true,"model":"m","max_tokens":9,"messages":[{"role":"system","role":"user","content":"a","content":"b"}],"stre\u0061m":false,"n":1}"#;
    assert_eq!(hive.post_raw(body).await.content(), "Hello");
    let sent = api.last();
    for member in ["model", "max_tokens", "messages", "role", "content", "n"] {
        let name = format!("\"{member}\"");
        assert_eq!(sent.matches(&name).count(), 1, "{sent}");
    }
    let sent: Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(
        (&sent["model"], &sent["max_tokens"], &sent["messages"]),
        (
            &json!("m"),
            &json!(9),
            &json!([{"role": "user", "content": "b"}])
        )
    );
    assert_eq!(sent["stream"], false);
}

#[actix_web::test]
async fn half_of_an_emoji_becomes_a_replacement_character_for_all() {
    let (api, qwen) = (Api::whole(), simulator("qwen", 1));
    let hive = Hive::start(&[&qwen], &api.settings());
    let body = |model: &str| {
        format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"a file, cut here: \ud83d"}},{{"role":"assistant","content":"ok","reasoning_content":"\uDE00"}},{{"role":"user","content":"echo:\ud83d\ude00\udE00"}}]}}"#
        )
    };
    assert_eq!(hive.post_raw(body("m")).await.content(), "Hello");
    let sent: Value = serde_json::from_str(&api.last()).unwrap();
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "user", "content": "a file, cut here: \u{FFFD}"},
            {"role": "assistant", "content": "ok", "reasoning_content": "\u{FFFD}"},
            {"role": "user", "content": "echo:😀\u{FFFD}"},
        ])
    );
    assert_eq!(
        hive.post_raw(body("qwen-plus")).await.content(),
        "😀\u{FFFD}"
    );
}

async fn packed(hive: &Hive, encoding: &str, body: Vec<u8>) -> Reply {
    let request = hive
        .request("POST", "/v1/chat/completions")
        .insert_header(("content-encoding", encoding));
    Reply::read(request.send_body(body).await.unwrap()).await
}

#[actix_web::test]
async fn bodies_are_unpacked_whatever_they_are_packed_in() {
    const ZSTD: &[u8] = include_bytes!("../fixtures/bodies/request.zst");
    const BROTLI: &[u8] = include_bytes!("../fixtures/bodies/request.br");
    let api = Api::whole();
    let hive = lab(&api);
    let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(PLAIN.as_bytes()).unwrap();
    let mut gzip = write::GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(BROTLI).unwrap();
    for (encoding, body) in [
        ("zstd", ZSTD.to_vec()),
        ("br", BROTLI.to_vec()),
        ("deflate", zlib.finish().unwrap()),
        ("br, gzip", gzip.finish().unwrap()),
        ("identity", PLAIN.into()),
    ] {
        let reply = packed(&hive, encoding, body).await;
        assert_eq!(reply.content(), "Hello", "{encoding}");
    }
    for encoding in ["compress", "gzip, aes128gcm", "\u{7F}"] {
        let Ok(encoding) = actix_web::http::header::HeaderValue::from_bytes(encoding.as_bytes())
        else {
            continue;
        };
        let reply = packed(&hive, encoding.to_str().unwrap(), PLAIN.into()).await;
        assert_eq!(reply.error().0, 415, "{}", reply.text);
        assert!(reply.text.contains("content encoding"), "{}", reply.text);
    }
    assert_eq!(packed(&hive, "zstd", PLAIN.into()).await.error().0, 400);
    // Without a key nobody is told what would be understood.
    let reply = exchange(
        &hive,
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Encoding: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert!(reply.starts_with("HTTP/1.1 401"), "{reply}");
}

#[actix_web::test]
async fn head_is_wherever_get_is() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    for path in [
        "/",
        "/api/hello",
        "/health",
        "/ready",
        "/metrics",
        "/docs",
        "/docs/swagger-ui-bundle.js",
        "/openapi.json",
        "/v1/models",
        "/models",
        "/v1/models/qwen-plus",
        "/v1/models/nobody",
        "/v1/nowhere",
    ] {
        let ask = |method: &str| {
            let key = crate::support::KEY;
            exchange(
                &hive,
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )
        };
        let (got, head) = (ask("GET"), ask("HEAD"));
        let (got_head, got_body) = got.split_once("\r\n\r\n").unwrap();
        let (head, body) = head.split_once("\r\n\r\n").unwrap();
        assert!(body.is_empty() && !got_body.is_empty(), "{path}: {body}");
        assert_eq!(head.lines().next(), got_head.lines().next(), "{path}");
        let names = |head: &str| {
            let mut names: Vec<String> = head
                .lines()
                .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
                .collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names(head), names(got_head), "{path}");
    }
    let qwen_only = exchange(
        &hive,
        b"HEAD /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(qwen_only.starts_with("HTTP/1.1 405"), "{qwen_only}");
}

#[actix_web::test]
async fn callers_of_http_1_0_get_no_chunks() {
    let (api, qwen) = (Api::whole(), simulator("qwen", 1));
    let hive = Hive::start(&[&qwen], &api.settings());
    let streamed = r#"{"model":"qwen-plus","stream":true,"messages":[{"role":"user","content":"echo:Hello"}]}"#;
    for more in ["", "Connection: keep-alive\r\n"] {
        let reply = exchange(
            &hive,
            format!("{}{streamed}", head("HTTP/1.0", more, streamed.len())).as_bytes(),
        );
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        assert!(
            !head.to_ascii_lowercase().contains("transfer-encoding"),
            "{head}"
        );
        assert!(
            body.starts_with("data: {") && body.ends_with("data: [DONE]\n\n"),
            "{body}"
        );
        assert!(
            body.lines()
                .all(|line| line.is_empty() || line.starts_with("data: ")),
            "{body}"
        );
    }
    let reply = exchange(
        &hive,
        format!("{}{PLAIN}", head("HTTP/1.0", "", PLAIN.len())).as_bytes(),
    );
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(
        head.to_ascii_lowercase()
            .contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    assert!(body.contains("Hello"), "{body}");
}

#[actix_web::test]
async fn an_address_that_is_not_understood_is_answered_in_the_dialect() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    for query in [
        "limit=all",
        "limit=",
        "limit=-1",
        "limit=1e9",
        "limit=99999999999999999999999",
        "after_id=",
        "%zz=%",
    ] {
        let reply = hive.get(&format!("/v1/models?{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text);
        assert!(
            reply.json()["data"].as_array().unwrap().len() > 5,
            "{query}"
        );
    }
    let page = hive.get("/v1/models?limit=2").await.json();
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    for (path, status) in [
        ("/v1/models?limit=1&limit=2".to_owned(), 400),
        ("/v1/models/%ff".to_owned(), 404),
        (format!("/v1/models/{}", "a".repeat(257)), 400),
        (format!("/v1/models/{}", "a".repeat(256)), 404),
    ] {
        let reply = hive.get(&path).await;
        assert_eq!(reply.error().0, status, "{path}: {}", reply.text);
        assert!(reply.text.len() < 600, "{}", reply.text);
    }
}

#[actix_web::test]
async fn a_head_that_goes_out_alone_takes_a_comment_along() {
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let event = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let api = Api::saying("text/event-stream", event.into(), Duration::from_secs(3));
    let mut settings = api.settings().to_vec();
    settings.extend([
        ("HEAD_TIMEOUT", "0.2"),
        ("PING_INTERVAL", "60"),
        ("STALL_TIMEOUT", "20"),
    ]);
    let hive = Hive::start(&[], &settings);
    let started = std::time::Instant::now();
    let mut connection = connect(&hive);
    connection
        .write_all(
            format!(
                "{}{body}",
                head("HTTP/1.1", "Connection: close\r\n", body.len())
            )
            .as_bytes(),
        )
        .unwrap();
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while !seen.contains(": keep-alive\n\n") {
        let read = std::io::Read::read(&mut connection, &mut piece).unwrap();
        assert_ne!(read, 0, "{seen}");
        seen.push_str(str::from_utf8(&piece[..read]).unwrap());
    }
    assert!(
        started.elapsed() < Duration::from_millis(2500),
        "{:?}",
        started.elapsed()
    );
    let rest = read(&mut connection);
    assert!(
        rest.contains("Hello") && rest.contains("data: [DONE]"),
        "{rest}"
    );
    // One that has an event at once needs none.
    let quick = Hive::start(&[&simulator("qwen", 1)], &[]);
    let reply = quick.stream("qwen-plus", "echo:a b").await;
    assert!(!reply.text.contains(": keep-alive"), "{}", reply.text);
}

#[actix_web::test]
async fn long_names_are_refused_and_long_values_not_repeated() {
    let api = Api::whole();
    let hive = lab(&api);
    let long = "A".repeat(1_000_000);
    for name in [
        format!("lab/{long}"),
        long.clone(),
        format!("lab/{}", &long[..253]),
    ] {
        let reply = hive.ask(&name, "hi").await;
        assert_eq!(reply.error().0, 400, "{}", name.len());
        assert!(reply.text.len() < 500 && reply.json()["error"]["param"] == "model");
    }
    assert_eq!(api.count(), 0);
    let name = format!("lab/{}", &long[..252]);
    assert_eq!(hive.ask(&name, "hi").await.content(), "Hello");
    for (field, value) in [
        ("stream", json!(long)),
        ("temperature", json!(long)),
        ("messages", json!([{"role": long}])),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "text", "text": 5, long.as_str(): 1}]}]),
        ),
        ("stop", json!({long.as_str(): long})),
        ("modalities", json!([{long.as_str(): long}])),
        ("tools", json!([long])),
    ] {
        let mut body = question("m", "hi");
        body[field] = value;
        let reply = hive.post(&body).await;
        assert_eq!(reply.error().0, 400, "{field}: {}", &reply.text[..100]);
        assert!(
            reply.text.len() < 1000,
            "{field}: {} bytes",
            reply.text.len()
        );
    }
}

#[actix_web::test]
async fn a_conversation_longer_than_any_web_chat_reads_is_refused_at_once() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    let reply = hive.ask("qwen-plus", &"x".repeat((8 << 20) + 1)).await;
    assert_eq!(
        reply.error(),
        (
            400,
            "invalid_request_error".to_owned(),
            "context_length_exceeded".to_owned()
        )
    );
    assert!(qwen.control().calls("ask").is_empty());
}

#[actix_web::test]
async fn attachments_are_bounded_in_number_and_in_sum() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[("FETCH_MAX_BYTES", "4000")]);
    let ask = async |count: usize, bytes: usize| {
        let data = "AAAA".repeat(bytes / 3);
        let part = json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}});
        let content = vec![part; count];
        let body =
            json!({"model": "qwen-plus", "messages": [{"role": "user", "content": content}]});
        hive.post(&body).await
    };
    let too_large = ask(2, 3000).await;
    assert_eq!(too_large.error().0, 400, "{}", too_large.text);
    assert!(too_large.text.contains("too large"), "{}", too_large.text);
    let too_many = ask(101, 3).await;
    assert_eq!(too_many.error().0, 400, "{}", too_many.text);
    assert!(too_many.text.contains("at most 100"), "{}", too_many.text);
}
