//! The OpenAI door itself, rule by rule (conformance sections 1, 2, 4, 5), with a provider behind it.

use std::io::Write as _;

use serde_json::json;

use crate::support::{Hive, KEY, Reply, question, simulator};

/// The generation that reports no usage of its own and has the names of models that are asked for here.
const DIALOG: (&str, &str) = ("QWEN_PROTOCOL", "dialog");

pub(crate) async fn hive() -> (hive2api_simulators::Running, Hive) {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG]);
    (qwen, hive)
}

#[actix_web::test]
async fn h1_answers_under_v1_doubled_and_bare() {
    let (_qwen, hive) = hive().await;
    for base in ["", "/v1", "/v1/v1", "/v1/", "//v1"] {
        let body = question("qwen-plus", "echo:hi").to_string();
        let reply = Reply::read(
            hive.request("POST", &format!("{base}/chat/completions"))
                .send_body(body)
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(reply.content(), "hi");
        assert_eq!(hive.get(&format!("{base}/models")).await.status, 200);
    }
}

#[actix_web::test]
async fn h3_a_missing_or_wrong_key_is_a_401_with_a_body() {
    let (_qwen, hive) = hive().await;
    for value in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic abc"] {
        let request = awc::Client::default()
            .post(format!("{}/v1/chat/completions", hive.url))
            .insert_header(("authorization", value));
        let reply = Reply::read(request.send_body("not even json").await.unwrap()).await;
        assert_eq!(
            reply.error(),
            (
                401,
                "authentication_error".to_owned(),
                "invalid_api_key".to_owned()
            )
        );
    }
    let reply = Reply::read(
        awc::Client::default()
            .get(format!("{}/v1/models", hive.url))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(reply.status, 401);
}

/// What nginx asks before it reads a large body.
#[actix_web::test]
async fn a_key_alone_can_be_checked() {
    let (_qwen, hive) = hive().await;
    for (name, value, status) in [
        ("authorization", format!("Bearer {KEY}"), 204),
        ("x-api-key", KEY.to_owned(), 204),
        ("authorization", "Bearer wrong".to_owned(), 401),
        ("x-other", KEY.to_owned(), 401),
    ] {
        let request = awc::Client::default()
            .get(format!("{}/admin/key", hive.url))
            .insert_header((name, value));
        assert_eq!(request.send().await.unwrap().status(), status, "{name}");
    }
}

#[actix_web::test]
async fn h4_preflight_needs_no_key_and_reflects_what_was_asked() {
    let (_qwen, hive) = hive().await;
    for path in ["/v1/chat/completions", "/v1/models", "/nowhere"] {
        let request = awc::Client::default()
            .request(awc::http::Method::OPTIONS, format!("{}{path}", hive.url))
            .insert_header(("origin", "https://app.example"))
            .insert_header(("access-control-request-method", "POST"))
            .insert_header((
                "access-control-request-headers",
                "authorization, x-stainless-os, bad(name)",
            ));
        let reply = Reply::read(request.send().await.unwrap()).await;
        assert!((200..300).contains(&reply.status));
        assert!(
            reply
                .header("access-control-allow-headers")
                .contains("x-stainless-os")
        );
        assert!(!reply.header("access-control-allow-headers").contains('('));
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("access-control-allow-credentials"), "");
    }
    for reply in [
        hive.ask("nobody", "x").await,
        hive.stream("qwen-plus", "x").await,
    ] {
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert!(
            reply
                .header("access-control-expose-headers")
                .contains("x-request-id")
        );
    }
}

#[actix_web::test]
async fn h5_every_response_has_a_request_id_and_names_the_worker() {
    let (_qwen, hive) = hive().await;
    for (sent, echoed) in [
        ("abc-123", true),
        ("", false),
        ("has space", false),
        (&"x".repeat(200), false),
    ] {
        let request = hive
            .request("GET", "/v1/models")
            .insert_header(("x-request-id", sent));
        let reply = Reply::read(request.send().await.unwrap()).await;
        assert_eq!(reply.header("x-request-id") == sent, echoed, "{sent:?}");
        assert!(!reply.header("x-request-id").is_empty());
    }
    for reply in [
        hive.stream("qwen-plus", "x").await,
        hive.ask("nobody", "x").await,
        hive.get("/nowhere").await,
        hive.get("/health").await,
    ] {
        assert!(!reply.header("x-request-id").is_empty());
        assert_eq!(reply.header("x-hive-worker"), "test-worker");
        assert!(reply.header("openai-processing-ms").parse::<u64>().is_ok());
    }
}

#[actix_web::test]
async fn h7_unknown_fields_pass_and_wrong_types_are_named() {
    let (_qwen, hive) = hive().await;
    let mut body = question("qwen-plus", "echo:ok");
    body["zzz"] = json!({"a": [1, null]});
    body["temperature"] = json!(0.5);
    body["seed"] = json!(7);
    let reply = hive.post(&body).await;
    assert_eq!(
        (reply.content().as_str(), reply.header("x-hive-ignored")),
        ("ok", "seed, temperature")
    );
    for (field, value) in [
        ("temperature", json!("hot")),
        ("stream", json!("yes")),
        ("n", json!(1.5)),
        ("stop", json!({})),
        ("max_tokens", json!(-1)),
        ("user", json!(5)),
        ("tools", json!("x")),
        ("stream_options", json!(true)),
    ] {
        let mut body = question("qwen-plus", "x");
        body[field] = value;
        let reply = hive.post(&body).await;
        assert_eq!(
            (
                reply.error().0,
                reply.error().1.as_str(),
                reply.json()["error"]["param"].as_str()
            ),
            (400, "invalid_request_error", Some(field)),
            "{}",
            reply.text
        );
    }
    for body in [
        "",
        "{",
        "[]",
        "5",
        "{\"model\":\"qwen-plus\"}",
        "\u{0}",
        "{\"messages\":[]} x",
    ] {
        assert_eq!(hive.post_raw(body).await.error().0, 400, "{body:?}");
    }
}

#[actix_web::test]
async fn tools_and_formats_are_refused_where_they_are_switched_off() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[("TOOLS", "off")]);
    for (field, value) in [
        (
            "tools",
            json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ),
        ("functions", json!([{"name": "f"}])),
        ("response_format", json!({"type": "json_object"})),
        ("tool_choice", json!("required")),
        ("modalities", json!(["text", "audio"])),
    ] {
        let mut body = question("qwen-plus", "x");
        body[field] = value;
        let reply = hive.post(&body).await;
        assert_eq!(
            (
                reply.error().2.as_str(),
                reply.json()["error"]["param"].as_str()
            ),
            ("unsupported_parameter", Some(field)),
            "{}",
            reply.text
        );
        assert_eq!(reply.status, 400);
    }
    let mut body = question("qwen-plus", "echo:ok");
    body["tools"] = json!([]);
    body["tool_choice"] = json!("none");
    body["response_format"] = json!({"type": "text"});
    assert_eq!(hive.post(&body).await.content(), "ok");
}

#[actix_web::test]
async fn h8_contents_and_roles_in_all_shapes() {
    let (qwen, hive) = hive().await;
    let body = json!({"model": "qwen-plus", "messages": [
        {"role": "system", "content": ""},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "result"},
        {"role": "function", "name": "f", "content": "old"},
        {"role": "user", "content": [{"type": "text", "text": "echo:done"}]},
    ]});
    let request = hive
        .request("POST", "/v1/chat/completions")
        .insert_header(("content-type", "application/json; charset=utf-8"));
    assert_eq!(
        Reply::read(request.send_body(body.to_string()).await.unwrap())
            .await
            .content(),
        "The first tool says: result"
    );
    let turns = &qwen.control().calls("ask")[0].turns;
    assert!(
        turns
            .iter()
            .any(|turn| turn.text.contains("call=\"1\" tool=\"f\">\nresult\n")),
        "{turns:?}"
    );
    assert_eq!(hive.ask("qwen-plus", "").await.error().0, 400);
}

#[actix_web::test]
async fn h9_and_h10_bodies_are_limited_and_may_be_compressed() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[("MAX_BODY_BYTES", "20000")]);
    let big = question("qwen-plus", &"x".repeat(30_000)).to_string();
    assert_eq!(
        hive.post_raw(big.clone()).await.error(),
        (
            413,
            "invalid_request_error".to_owned(),
            "request_too_large".to_owned()
        )
    );
    for (body, status) in [
        (question("qwen-plus", "echo:zip").to_string(), 200),
        (big, 413),
    ] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(body.as_bytes()).unwrap();
        let request = hive
            .request("POST", "/v1/chat/completions")
            .insert_header(("content-encoding", "gzip"));
        let reply = Reply::read(request.send_body(gzip.finish().unwrap()).await.unwrap()).await;
        assert_eq!(reply.status, status, "{}", reply.text);
    }
    assert_eq!(
        hive.get("/v1/nowhere").await.error(),
        (
            404,
            "invalid_request_error".to_owned(),
            "not_found".to_owned()
        )
    );
    assert_eq!(hive.get("/v1/chat/completions").await.error().0, 405);
    assert_eq!(hive.get("/v1/dashboard/billing/usage").await.error().0, 404);
}

#[actix_web::test]
async fn h11_probes_answer() {
    let (_qwen, hive) = hive().await;
    for path in [
        "/",
        "/api/hello",
        "/health",
        "/ready",
        "/docs",
        "/docs/swagger-ui-bundle.js",
        "/openapi.json",
        "/metrics",
    ] {
        assert_eq!(hive.get(path).await.status, 200, "{path}");
    }
    assert_eq!(
        hive.request("HEAD", "/").send().await.unwrap().status(),
        200
    );
    let description = hive.get("/openapi.json").await.json();
    assert!(description["paths"]["/v1/chat/completions"]["post"].is_object());
    assert!(description["paths"]["/v1/responses/{id}"]["delete"].is_object());
    let words = description["info"]["description"].as_str().unwrap();
    let line = words.lines().find(|line| line.starts_with("| qwen |"));
    assert!(
        line.is_some_and(|line| line.ends_with("| emulated | emulated |")),
        "{words}"
    );
    let nobody = Hive::start(&[], &[]);
    assert_eq!(nobody.get("/health").await.status, 200);
    assert_eq!(nobody.get("/ready").await.error().0, 503);
    assert_eq!(
        nobody.ask("qwen-plus", "x").await.error(),
        (
            503,
            "service_unavailable".to_owned(),
            "provider_not_configured".to_owned()
        )
    );
}

#[actix_web::test]
async fn m1_to_m3_models_in_both_dialects() {
    let (_qwen, hive) = hive().await;
    let list = hive.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let data = list["data"].as_array().unwrap();
    assert!(data.iter().all(|model| model["object"] == "model"
        && model["created"].is_i64()
        && model["owned_by"].is_string()));
    assert_eq!(hive.get("/v1/models").await.json(), list);
    assert_eq!(data[0]["hive"]["fields"]["temperature"], "ignored");
    assert_eq!(
        hive.get("/v1/models/qwen-plus").await.json()["id"],
        "qwen-plus"
    );
    for path in ["/v1/models/qwen%2Fqwen-plus", "/v1/models/qwen/qwen-plus"] {
        assert_eq!(hive.get(path).await.json()["id"], "qwen/qwen-plus");
    }
    assert_eq!(
        hive.get("/v1/models/nobody").await.error(),
        (
            404,
            "invalid_request_error".to_owned(),
            "model_not_found".to_owned()
        )
    );
    assert_eq!(hive.ask("nobody", "x").await.error().2, "model_not_found");
    let request = hive
        .request("GET", "/v1/models?limit=2")
        .insert_header(("anthropic-version", "2023-06-01"));
    let page = Reply::read(request.send().await.unwrap()).await.json();
    assert_eq!(
        (
            page["data"].as_array().unwrap().len(),
            page["has_more"].as_bool()
        ),
        (2, Some(true))
    );
    assert_eq!(
        (&page["data"][0]["type"], &page["first_id"]),
        (&json!("model"), &page["data"][0]["id"])
    );
    assert!(
        page["data"][0]["created_at"]
            .as_str()
            .unwrap()
            .ends_with('Z')
            && page["data"][0]["display_name"].is_string()
    );
    let request = awc::Client::default()
        .get(format!("{}/v1/models", hive.url))
        .insert_header(("anthropic-version", "2023-06-01"));
    let refused = Reply::read(request.send().await.unwrap()).await;
    assert_eq!(
        (&refused.json()["type"], &refused.json()["error"]["type"]),
        (&json!("error"), &json!("authentication_error"))
    );
    assert_eq!(refused.json()["request_id"], refused.header("request-id"));
}

#[actix_web::test]
async fn routes_lead_to_candidates_in_order() {
    let qwen = simulator("qwen", 2);
    let hive = Hive::start(
        &[&qwen],
        &[
            DIALOG,
            (
                "MODEL_ROUTES",
                r#"{"gpt-4o": ["qwen/qwen-max", "qwen/qwen3-flash"]}"#,
            ),
            ("MODEL_TO_ACCOUNT_MAP", "{}"),
        ],
    );
    let answer = hive.ask("gpt-4o", "echo:hi").await;
    assert_eq!(
        (answer.content().as_str(), &answer.json()["model"]),
        ("hi", &json!("gpt-4o"))
    );
    assert_eq!(
        qwen.control().calls("ask")[0].model.as_deref(),
        Some("qwen-max")
    );
    assert_eq!(
        hive.get("/v1/models").await.json()["data"][0]["id"],
        "gpt-4o"
    );
    qwen.control().fault("model_not_support", 1).unwrap();
    assert_eq!(hive.ask("gpt-4o", "echo:second").await.content(), "second");
    assert_eq!(
        qwen.control().calls("ask").last().unwrap().model.as_deref(),
        Some("Qwen3-Flash")
    );
}

#[actix_web::test]
async fn secrets_stay_inside() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[]);
    let secrets: Vec<String> = qwen
        .env()
        .into_iter()
        .filter(|(name, _)| !name.ends_with("_URL"))
        .map(|(_, value)| value)
        .chain([KEY.to_owned()])
        .collect();
    let mut seen = String::new();
    for fault in qwen.control().known_faults() {
        if fault.starts_with("hang") || fault.starts_with("slow") {
            continue;
        }
        qwen.control().fault(fault, 1).unwrap();
        let reply = hive.ask("qwen-plus", "hello").await;
        seen.push_str(&reply.text);
        seen.push_str(&format!("{:?}", reply.headers));
        qwen.control().clear_faults();
    }
    for path in ["/metrics", "/health", "/v1/models", "/openapi.json"] {
        seen.push_str(&hive.get(path).await.text);
    }
    seen.push_str(&format!("{:?}", hive.app));
    for secret in secrets {
        assert!(
            !seen.contains(&secret),
            "a secret of {} characters shows",
            secret.len()
        );
    }
}
