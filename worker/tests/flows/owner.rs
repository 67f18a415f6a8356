//! Keys with limits and what was used, through the doors, and on two workers that share a store.

use actix_web::http::header::HeaderMap;
use hive2api_simulators::script::Script;
use serde_json::{Value, json};

use crate::support::{Hive, KEY, Shared, question, simulator};

/// The generation that has the names of models that are asked for here.
const DIALOG: (&str, &str) = ("QWEN_PROTOCOL", "dialog");

/// Asks with a key; status, headers and body.
pub(crate) async fn call(
    hive: &Hive,
    key: &str,
    method: &str,
    path: &str,
    body: Value,
) -> (u16, HeaderMap, Value) {
    let request = awc::Client::builder()
        .disable_timeout()
        .finish()
        .request(method.parse().unwrap(), format!("{}{path}", hive.url))
        .insert_header(("authorization", format!("Bearer {key}")))
        .insert_header(("content-type", "application/json"));
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut answer = request.send_body(body).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.body().limit(10 << 20).await.unwrap();
    let body = serde_json::from_slice(&body)
        .unwrap_or_else(|_| String::from_utf8(body.to_vec()).unwrap().into());
    (status, headers, body)
}

/// A key with these settings: its id and its secret.
async fn key(hive: &Hive, settings: Value) -> (String, String) {
    let (status, _, made) = call(hive, KEY, "POST", "/v1/keys", settings).await;
    assert_eq!(status, 201, "{made}");
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

async fn ask(hive: &Hive, key: &str, text: &str) -> (u16, HeaderMap, Value) {
    call(
        hive,
        key,
        "POST",
        "/v1/chat/completions",
        question("qwen-plus", text),
    )
    .await
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

#[actix_web::test]
async fn a_key_is_made_used_changed_and_taken_back() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG]);
    let (id, secret) = key(&hive, json!({"name": "bob", "note": "a friend"})).await;
    assert!(secret.starts_with("sk-hive-"));
    assert_eq!(ask(&hive, &secret, "echo:hi").await.0, 200);

    let (status, _, list) = call(&hive, KEY, "GET", "/v1/keys", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(list["data"][0]["name"], "bob");
    assert!(
        !list.to_string().contains(&secret),
        "a secret is shown once"
    );

    let path = format!("/v1/keys/{id}");
    let (status, _, changed) = call(&hive, KEY, "PATCH", &path, json!({"enabled": false})).await;
    assert_eq!((status, &changed["enabled"]), (200, &json!(false)));
    let (status, _, body) = ask(&hive, &secret, "echo:hi").await;
    assert_eq!((status, code(&body)), (401, "invalid_api_key"));
    call(&hive, KEY, "PATCH", &path, json!({"enabled": true})).await;
    assert_eq!(ask(&hive, &secret, "echo:hi").await.0, 200);

    assert_eq!(call(&hive, KEY, "DELETE", &path, Value::Null).await.0, 200);
    assert_eq!(ask(&hive, &secret, "echo:hi").await.0, 401);
    let (status, _, body) = call(&hive, KEY, "GET", &path, Value::Null).await;
    assert_eq!((status, code(&body)), (404, "not_found"));
}

#[actix_web::test]
async fn only_the_master_key_makes_keys() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG, ("API_KEYS", "eve:sk-eve")]);
    let (_, secret) = key(&hive, json!({})).await;
    for key in ["sk-eve", &secret] {
        for (method, path) in [
            ("GET", "/v1/keys"),
            ("POST", "/v1/keys"),
            ("DELETE", "/v1/keys/key_1"),
            ("PATCH", "/v1/keys/key_1"),
        ] {
            let (status, _, body) = call(&hive, key, method, path, json!({})).await;
            assert_eq!(
                (status, code(&body)),
                (403, "master_key_required"),
                "{method} {path}"
            );
        }
    }
    for wrong in [
        json!({"nmae": 1}),
        json!({"limits": {"streams": "two"}}),
        json!([]),
        json!({"name": ""}),
    ] {
        let (status, _, body) = call(&hive, KEY, "POST", "/v1/keys", wrong.clone()).await;
        assert_eq!(status, 400, "{wrong} {body}");
    }
}

#[actix_web::test]
async fn a_key_uses_the_models_that_it_may() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG]);
    let (_, secret) = key(&hive, json!({"models": ["qwen-max*"]})).await;
    let (status, _, body) = ask(&hive, &secret, "echo:hi").await;
    assert_eq!((status, code(&body)), (403, "model_not_allowed"));
    let (_, _, list) = call(&hive, &secret, "GET", "/v1/models", Value::Null).await;
    let listed: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert!(
        !listed.is_empty()
            && listed
                .iter()
                .all(|id| id.to_lowercase().starts_with("qwen-max")),
        "{listed:?}"
    );
    let (status, ..) = call(&hive, &secret, "GET", "/v1/models/qwen-plus", Value::Null).await;
    assert_eq!(status, 403);
}

#[actix_web::test]
async fn a_pattern_names_a_provider_or_what_an_alias_leads_to() {
    let (qwen, lane) = (simulator("qwen", 1), simulator("openai", 1));
    let routes = r#"{"cheap":["qwen/qwen-plus"],"either":["qwen/qwen-plus","sim/sim-chat"]}"#;
    let hive = Hive::start(&[&qwen, &lane], &[DIALOG, ("MODEL_ROUTES", routes)]);
    let status = async |secret: &str, path: &str, body: Value| {
        call(&hive, secret, "POST", path, body).await.0
    };
    for (patterns, allowed, refused) in [
        (
            json!(["qwen/*"]),
            ["qwen-plus", "qwen/qwen-plus", "cheap"],
            ["sim-chat", "either", "no-such"],
        ),
        (
            json!(["qwen-plus"]),
            ["qwen-plus", "qwen/qwen-plus", "cheap"],
            ["qwen-max", "sim-chat", "either"],
        ),
        (
            json!(["either", "sim/*"]),
            ["either", "sim-chat", "sim/sim-chat"],
            ["qwen-plus", "cheap", "no-such"],
        ),
    ] {
        let (_, secret) = key(&hive, json!({"models": patterns})).await;
        let (_, _, list) = call(&hive, &secret, "GET", "/v1/models", Value::Null).await;
        let list = list["data"].to_string();
        for (models, expected) in [(allowed, 200), (refused, 403)] {
            for model in models {
                let said = json!([{"role": "user", "content": "echo:hi"}]);
                let asked = json!({"model": model, "messages": said});
                let got = status(&secret, "/v1/chat/completions", asked).await;
                assert_eq!(got, expected, "{patterns} {model}");
                let is_listed = list.contains(&format!(r#""id":"{model}""#));
                assert!(expected == 200 || !is_listed, "{patterns} {model}");
            }
        }
    }
    // Who names no model gets what there is, which may be what the key is kept from.
    for (patterns, expected) in [
        (json!(["qwen*"]), 403),
        (json!(["sim/*"]), 200),
        (json!([]), 200),
    ] {
        let (_, secret) = key(&hive, json!({"models": patterns})).await;
        assert_eq!(
            status(&secret, "/v1/moderations", json!({"input": "hi"})).await,
            expected,
            "{patterns}"
        );
    }
}

#[actix_web::test]
async fn requests_a_minute_are_counted_over_all_workers() {
    let (qwen, shared) = (simulator("qwen", 1), Shared::new());
    let url = shared.url();
    let settings = [DIALOG, ("STORE_URL", url.as_str())];
    let hives = [
        Hive::start(&[&qwen], &settings),
        Hive::start(&[&qwen], &settings),
    ];
    let (_, secret) = key(&hives[0], json!({"limits": {"requests_per_minute": 5}})).await;
    // A minute that ends amid the test would make a sixth right.
    let second = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        % 60;
    if second > 45 {
        tokio::time::sleep(std::time::Duration::from_secs(61 - second)).await;
    }
    for turn in 0..5_u64 {
        let (status, headers, body) =
            ask(&hives[usize::from(turn % 2 == 1)], &secret, "echo:hi").await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(headers.get("x-ratelimit-limit-requests").unwrap(), "5");
        assert_eq!(
            headers.get("x-ratelimit-remaining-requests").unwrap(),
            (4 - turn).to_string().as_str()
        );
    }
    for hive in &hives {
        let (status, headers, body) = ask(hive, &secret, "echo:hi").await;
        assert_eq!((status, code(&body)), (429, "rate_limit_exceeded"));
        let wait: u64 = headers
            .get("retry-after")
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // The master key has no limits but the worker's own room.
    let (status, headers, _) = ask(&hives[0], KEY, "echo:hi").await;
    assert_eq!(status, 200);
    assert!(headers.contains_key("x-ratelimit-remaining-requests"));
}

#[actix_web::test]
async fn tokens_are_settled_by_what_was_really_used() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG]);
    let (_, secret) = key(&hive, json!({"limits": {"tokens_per_day": 2000}})).await;
    let (status, _, body) = ask(&hive, &secret, "echo:hi").await;
    assert_eq!(status, 200);
    let used = body["usage"]["total_tokens"].as_u64().unwrap();
    let mut left = 2000 - used;
    // Settling follows the answer.
    for _ in 0..100 {
        let (_, headers, _) = call(&hive, &secret, "GET", "/v1/usage", Value::Null).await;
        assert_eq!(
            headers.get("x-ratelimit-limit-tokens"),
            None,
            "looking costs nothing"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (status, headers, _) = ask(&hive, &secret, &format!("echo:{}", "word ".repeat(300))).await;
    assert_eq!(status, 200);
    let remaining: u64 = headers
        .get("x-ratelimit-remaining-tokens")
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(remaining < left, "{remaining} of {left}");
    left = 0;
    let mut last = (0, Value::Null);
    for _ in 0..200 {
        let (status, headers, body) = ask(&hive, &secret, "echo:hi").await;
        last = (status, body);
        if status == 429 {
            assert_eq!(headers.get("x-should-retry").unwrap(), "false");
            break;
        }
        left += 1;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(
        (last.0, code(&last.1)),
        (429, "insufficient_quota"),
        "after {left}"
    );
}

#[actix_web::test]
async fn streams_at_once_are_counted_over_all_workers() {
    let (qwen, shared) = (simulator("qwen", 1), Shared::new());
    let url = shared.url();
    let settings = [DIALOG, ("STORE_URL", url.as_str())];
    let hives = [
        Hive::start(&[&qwen], &settings),
        Hive::start(&[&qwen], &settings),
    ];
    let (_, secret) = key(&hives[0], json!({"limits": {"streams": 1}})).await;
    let mut slow = question("qwen-plus", "slow");
    slow["stream"] = json!(true);
    let script = Script {
        pieces: Some(vec!["a".to_owned(); 100]),
        pace_ms: Some(100),
        ..Script::default()
    };
    qwen.control().script(script).unwrap();
    let open = awc::Client::builder()
        .disable_timeout()
        .finish()
        .post(format!("{}/v1/chat/completions", hives[0].url))
        .insert_header(("authorization", format!("Bearer {secret}")))
        .send_json(&slow)
        .await
        .unwrap();
    assert_eq!(open.status(), 200);
    let (status, _, body) = ask(&hives[1], &secret, "echo:hi").await;
    assert_eq!((status, code(&body)), (429, "rate_limit_exceeded"));
    drop(open);
    let mut status = 429;
    for _ in 0..200 {
        status = ask(&hives[1], &secret, "echo:hi").await.0;
        if status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(
        status, 200,
        "the place is free as soon as its client has left"
    );
}

#[actix_web::test]
async fn everybody_sees_its_own_usage_and_the_master_all() {
    let qwen = simulator("qwen", 1);
    let hive = Hive::start(&[&qwen], &[DIALOG]);
    let (bob, secret) = key(&hive, json!({"name": "bob"})).await;
    for (key, times) in [(secret.as_str(), 2), (KEY, 1)] {
        for _ in 0..times {
            assert_eq!(ask(&hive, key, "echo:hi").await.0, 200);
        }
    }
    assert_eq!(
        call(
            &hive,
            &secret,
            "POST",
            "/v1/chat/completions",
            question("no-such-model", "x")
        )
        .await
        .0,
        404
    );
    let (_, _, own) = call(
        &hive,
        &secret,
        "GET",
        "/v1/usage?group_by=key,outcome",
        Value::Null,
    )
    .await;
    let rows: Vec<(&str, &str, u64)> = own["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["key"].as_str().unwrap(),
                row["outcome"].as_str().unwrap(),
                row["requests"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(rows, [(&*bob, "model_not_found", 1), (&*bob, "ok", 2)]);
    let (_, _, all) = call(
        &hive,
        KEY,
        "GET",
        "/v1/usage?group_by=key&format=csv",
        Value::Null,
    )
    .await;
    let all = all.as_str().unwrap();
    assert!(
        all.contains(&format!("\"{bob}\",3,")) && all.contains("\"master\",1,"),
        "{all}"
    );
    let (status, ..) = call(&hive, &secret, "GET", "/v1/usage?key=master", Value::Null).await;
    assert_eq!(status, 403);
    let (_, _, lines) = call(&hive, &secret, "GET", "/v1/usage/requests", Value::Null).await;
    let lines = lines["data"].as_array().unwrap();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["key"] == *bob));
    assert!(!json!(lines).to_string().contains("echo"), "never content");
}

/// The rule of the store: it is missed by nobody.
#[actix_web::test]
async fn without_the_store_known_keys_still_open_and_limits_are_the_workers_own() {
    let (qwen, shared) = (simulator("qwen", 1), Shared::new());
    let url = shared.url();
    let hive = Hive::start(&[&qwen], &[DIALOG, ("STORE_URL", url.as_str())]);
    let (_, open) = key(&hive, json!({"limits": {"requests_per_minute": 1000}})).await;
    let (_, closed) = key(
        &hive,
        json!({"fail_closed": true, "limits": {"requests_per_minute": 1000}}),
    )
    .await;
    for key in [&open, &closed] {
        assert_eq!(ask(&hive, key, "echo:hi").await.0, 200);
    }
    // A folder in the place of the file cannot be opened, however often it is tried.
    std::fs::remove_file(shared.path()).unwrap();
    std::fs::create_dir(shared.path()).unwrap();
    let mut is_closed = false;
    for _ in 0..10 {
        assert_eq!(ask(&hive, &open, "echo:hi").await.0, 200);
        is_closed |= ask(&hive, &closed, "echo:hi").await.0 == 503;
    }
    assert!(is_closed, "who wants to be refused is");
    let (status, _, body) = call(&hive, KEY, "GET", "/v1/keys", Value::Null).await;
    assert_eq!((status, code(&body)), (503, "store_unavailable"));
    std::fs::remove_dir(shared.path()).unwrap();
}
