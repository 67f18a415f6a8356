//! What an API has beside chat, passed on: each path with its real body, errors as chat's, and nothing kept.

use serde_json::{Value, json};

use crate::support::{Hive, KEY, Reply, assert_no_violations, simulator};

/// A form as openai-python (`model` first) and openai-node (in the order given) write it.
pub(crate) fn form(fields: &[(&str, Option<&str>, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, file, content) in fields {
        let file_name =
            file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: audio/wav"));
        let file_name = file_name.unwrap_or_default();
        let head = format!(
            "--BOUND\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--BOUND--\r\n");
    ("multipart/form-data; boundary=BOUND".to_owned(), body)
}

pub(crate) async fn post_json(hive: &Hive, path: &str, body: &Value) -> Reply {
    let request = hive
        .request("POST", path)
        .insert_header(("content-type", "application/json"));
    Reply::read(request.send_body(body.to_string()).await.unwrap()).await
}

pub(crate) async fn post_form(
    hive: &Hive,
    path: &str,
    fields: &[(&str, Option<&str>, &[u8])],
) -> Reply {
    let (content_type, body) = form(fields);
    let request = hive
        .request("POST", path)
        .insert_header(("content-type", content_type));
    Reply::read(request.send_body(body).await.unwrap()).await
}

#[actix_web::test]
async fn every_path_is_passed_on() {
    let upstream = simulator("openai", 1);
    let routes = ("MODEL_ROUTES", r#"{"ears": ["sim/sim-whisper"]}"#);
    let hive = Hive::start(&[&upstream], &[routes]);
    for model in ["sim-embedding", "sim/sim-embedding"] {
        let body = json!({"input": ["a", "bcd"], "model": model, "dimensions": 3});
        let reply = post_json(&hive, "/v1/embeddings", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.json()["data"][1]["embedding"][1], 0.5);
        // Nothing of what is between the API and us.
        assert_eq!(reply.header("set-cookie"), "");
        // What the API has left is between it and us; this is the worker's own room.
        assert_eq!(reply.header("x-ratelimit-remaining-requests"), "1999");
        assert_eq!(reply.header("x-hive-worker"), "test-worker");
    }
    for body in [
        json!({"input": "violence"}),
        json!({"input": "violence", "model": "sim-moderation"}),
        json!({"input": "violence", "model": null}),
    ] {
        let reply = post_json(&hive, "/v1/moderations", &body).await;
        assert_eq!(reply.json()["results"][0]["flagged"], true, "{body}");
    }
    let file: &[u8] = b"RIFF\r\n--BOUN\r\n\0WAVE";
    for (path, said) in [
        (
            "/v1/audio/transcriptions",
            "transcriptions of a.wav with 19 bytes",
        ),
        ("/audio/translations", "translations of a.wav with 19 bytes"),
    ] {
        for model in ["sim-whisper", "sim/sim-whisper", "ears"] {
            let (name, file) = (
                ("model", None, model.as_bytes()),
                ("file", Some("a.wav"), file),
            );
            for fields in [[name, file], [file, name]] {
                let reply = post_form(&hive, path, &fields).await;
                assert_eq!(reply.json()["text"], said, "{}", reply.text);
            }
        }
    }
    let stream = [
        ("file", Some("a.wav"), file),
        ("stream", None, b"true".as_slice()),
        ("model", None, b"ears"),
    ];
    let reply = post_form(&hive, "/v1/audio/transcriptions", &stream).await;
    assert!(
        reply
            .header("content-type")
            .starts_with("text/event-stream")
    );
    assert!(
        reply.text.contains("transcript.text.done"),
        "{}",
        reply.text
    );
    let body = json!({"model": "sim-tts", "input": "hi", "voice": "alloy"});
    let request = hive.request("POST", "/v1/audio/speech");
    let mut reply = request.send_json(&body).await.unwrap();
    assert_eq!(reply.headers().get("content-type").unwrap(), "audio/mpeg");
    assert_eq!(reply.body().await.unwrap().len(), 792);
    let body = json!({"model": "sim-image", "prompt": "a cat", "n": 2});
    let reply = post_json(&hive, "/v1/images/generations", &body).await;
    assert_eq!(
        reply.json()["data"].as_array().unwrap().len(),
        2,
        "{}",
        reply.text
    );
    let edit = [
        ("image", Some("a.png"), b"x".as_slice()),
        ("prompt", None, b"a hat"),
        ("model", None, b"sim-image"),
    ];
    let reply = post_form(&hive, "/v1/images/edits", &edit).await;
    assert!(
        reply.json()["data"][0]["b64_json"].is_string(),
        "{}",
        reply.text
    );
    assert_no_violations(&upstream.control());
}

#[actix_web::test]
async fn errors_are_judged_as_a_chats() {
    let upstream = simulator("openai", 1);
    let body = json!({"input": "a", "model": "sim-embedding"});
    for (fault, status, code) in [
        ("unauthorized", 502, "upstream_auth_expired"),
        ("forbidden", 403, "upstream_forbidden"),
        ("rate_limited", 429, "upstream_rate_limited"),
        ("insufficient_quota", 429, "upstream_rate_limited"),
        ("content_filter", 400, "content_filter"),
        ("server_error", 502, "upstream_unavailable"),
        ("not_json", 502, "upstream_protocol_error"),
        ("hang_before_headers", 504, "upstream_timeout"),
        ("disconnect_before_headers", 502, "upstream_unavailable"),
    ] {
        let hive = Hive::start(&[&upstream], &[("STALL_TIMEOUT", "0.4")]);
        upstream.reset();
        let order = hive2api_simulators::control::Order {
            name: fault.to_owned(),
            times: Some(0),
            step: Some("embeddings".to_owned()),
            ..Default::default()
        };
        upstream.control().order(order).unwrap();
        let reply = post_json(&hive, "/v1/embeddings", &body).await;
        let error = reply.error();
        assert_eq!(
            (error.0, &*error.2),
            (status, code),
            "{fault}: {}",
            reply.text
        );
        assert!(!reply.text.contains("sk-sim"), "{}", reply.text);
    }
}

#[actix_web::test]
async fn another_account_is_tried_as_long_as_the_request_is_at_hand() {
    let upstream = simulator("openai", 2);
    let hive = Hive::start(&[&upstream], &[]);
    let order = |step: &str| hive2api_simulators::control::Order {
        name: "rate_limited".to_owned(),
        times: Some(1),
        step: Some(step.to_owned()),
        ..Default::default()
    };
    upstream.control().order(order("embeddings")).unwrap();
    let body = json!({"input": "a", "model": "sim-embedding"});
    assert_eq!(post_json(&hive, "/v1/embeddings", &body).await.status, 200);
    // Short forms are at hand; of a long one most has gone out, and is not there to be sent again.
    for (length, expected) in [(1 << 20, 200), (6 << 20, 429)] {
        // One whose accounts have not failed yet.
        let hive = Hive::start(&[&upstream], &[]);
        upstream.control().order(order("transcriptions")).unwrap();
        let file = vec![b'x'; length];
        let fields = [
            ("model", None, b"sim-whisper".as_slice()),
            ("file", Some("a.wav"), &*file),
        ];
        let reply = post_form(&hive, "/v1/audio/transcriptions", &fields).await;
        assert_eq!(reply.status, expected, "{}", reply.text);
        let reply = post_form(&hive, "/v1/audio/transcriptions", &fields).await;
        assert_eq!(
            reply.json()["text"],
            format!("transcriptions of a.wav with {length} bytes")
        );
    }
}

#[actix_web::test]
async fn what_has_no_lane_or_no_form_is_told() {
    let (upstream, zhipu) = (simulator("openai", 1), simulator("zhipu", 1));
    let hive = Hive::start(&[&upstream, &zhipu], &[]);
    for (path, body, status, code, param) in [
        (
            "/v1/embeddings",
            json!({"input": "a", "model": "nobodys"}),
            404,
            "model_not_found",
            "model",
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "model": "glm-5"}),
            400,
            "model_not_supported",
            "model",
        ),
        (
            "/v1/embeddings",
            json!({"input": "a"}),
            400,
            "missing_required_parameter",
            "model",
        ),
        (
            "/v1/embeddings",
            json!({"input": "a", "model": 7}),
            400,
            "",
            "model",
        ),
        (
            "/v1/audio/speech",
            json!({"input": "a", "model": "glm-5"}),
            400,
            "model_not_supported",
            "model",
        ),
        ("/v1/embeddings", json!([]), 400, "", ""),
    ] {
        let reply = post_json(&hive, path, &body).await;
        let error = reply.json()["error"].clone();
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (reply.status, &*word("code"), &*word("param")),
            (status, code, param),
            "{body}: {}",
            reply.text
        );
    }
    let reply = post_form(
        &hive,
        "/v1/audio/transcriptions",
        &[("file", Some("a"), b"x")],
    )
    .await;
    assert_eq!(reply.error().2, "missing_required_parameter");
    let request = hive
        .request("POST", "/v1/audio/transcriptions")
        .insert_header(("content-type", "multipart/form-data; boundary=B"));
    let reply = Reply::read(request.send_body("no form").await.unwrap()).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    let reply = hive.get("/v1/embeddings").await;
    assert_eq!(reply.status, 405);
    // Nobody without a key.
    let client = awc::Client::new();
    let url = format!("{}/v1/embeddings", hive.url);
    let reply = client.post(url).send_body("{}").await.unwrap();
    assert_eq!(reply.status(), 401);
    assert!(!KEY.is_empty());
    assert!(upstream.control().log().is_empty());
}
