//! The other paths of Anthropic's door: counting, models, and all spellings of its addresses.

use serde_json::json;

use crate::{
    messages::{ask, post, send},
    support::{Hive, KEY, Reply, simulator},
};

#[actix_web::test]
async fn tokens_are_counted_as_they_are_used() {
    let qwen = simulator("qwen", 1);
    // The generation that reports no usage of its own.
    let hive = Hive::start(&[&qwen], &[("QWEN_PROTOCOL", "dialog")]);
    let bodies = [
        ask("qwen3-max", "echo:hi", json!({})),
        ask(
            "qwen3-max",
            "echo:hi",
            json!({"system": "be brief. ".repeat(50)}),
        ),
        ask(
            "qwen3-max",
            "echo:hi",
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "echo:hi"}]}),
        ),
    ];
    for body in bodies {
        let used = send(&hive, &body).await.json()["usage"]["input_tokens"].clone();
        let asked = qwen.control().calls("ask").len();
        let mut question = body;
        question.as_object_mut().unwrap().remove("max_tokens");
        let counted = post(&hive, "/v1/messages/count_tokens?beta=true", &question).await;
        assert_eq!(
            counted.json(),
            json!({"input_tokens": used}),
            "{}",
            counted.text
        );
        assert_eq!(qwen.control().calls("ask").len(), asked);
    }
    let unknown = post(
        &hive,
        "/v1/messages/count_tokens",
        &ask("nobody", "hi", json!({})),
    )
    .await;
    assert_eq!(
        (unknown.status, &unknown.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
}

#[actix_web::test]
async fn every_path_of_the_door_answers() {
    let lane = simulator("openai", 1);
    let routes = r#"{"claude-sonnet-4-5": ["sim/sim-chat"]}"#;
    let hive = Hive::start(&[&lane], &[("MODEL_ROUTES", routes)]);
    for path in [
        "/v1/messages",
        "/messages",
        "/v1/v1/messages",
        "/anthropic/v1/messages",
        "/anthropic/messages",
        "//v1//messages/",
    ] {
        let reply = post(
            &hive,
            path,
            &ask("claude-sonnet-4-5", "echo:here", json!({})),
        )
        .await;
        assert_eq!(
            reply.json()["content"][0]["text"],
            "here",
            "{path}: {}",
            reply.text
        );
        // The name is the owner's, and who answers stays visible.
        assert_eq!(reply.json()["model"], "claude-sonnet-4-5");
        assert_eq!(reply.header("x-hive-model"), "sim/sim-chat");
    }
    for path in [
        "/v1/messages/batches",
        "/v1/messages/x/y",
        "/anthropic/v1/files",
    ] {
        let missing = hive.get(path).await;
        assert_eq!(
            (missing.status, &missing.json()["error"]["type"]),
            (404, &json!("not_found_error")),
            "{path}"
        );
    }
    let files = hive
        .request("GET", "/v1/files")
        .insert_header(("anthropic-version", "2026-10-21"));
    let files = Reply::read(files.send().await.unwrap()).await;
    assert_eq!(files.json()["error"]["type"], "not_found_error");
    let get = hive.get("/v1/messages").await;
    assert_eq!((get.status, &get.json()["type"]), (405, &json!("error")));
    for (method, path) in [
        ("HEAD", "/api/hello"),
        ("GET", "/api/hello"),
        ("HEAD", "/"),
        ("HEAD", "/anthropic/api/hello"),
    ] {
        let hello = Reply::read(hive.request(method, path).send().await.unwrap()).await;
        assert_eq!(hello.status, 200, "{method} {path}");
    }
    let no_key = awc::Client::default()
        .post(format!("{}/v1/messages", hive.url))
        .insert_header(("x-api-key", "wrong"));
    let no_key = Reply::read(no_key.send_body("{}").await.unwrap()).await;
    assert_eq!(
        (no_key.status, &no_key.json()["error"]["type"]),
        (401, &json!("authentication_error"))
    );
    assert_eq!(no_key.header("x-should-retry"), "false");
    let with_key = awc::Client::default()
        .post(format!("{}/v1/messages", hive.url))
        .insert_header(("x-api-key", KEY));
    let body = ask("sim-chat", "echo:in", json!({})).to_string();
    assert_eq!(
        Reply::read(with_key.send_body(body).await.unwrap())
            .await
            .status,
        200
    );
}

#[actix_web::test]
async fn models_have_pages_in_both_directions() {
    let lane = simulator("openai", 1);
    let routes = r#"{"claude-a": ["sim/sim-chat"], "claude-b": ["sim/sim-reasoner"]}"#;
    let hive = Hive::start(&[&lane], &[("MODEL_ROUTES", routes)]);
    let page = async |query: &str| {
        let page = hive
            .get(&format!("/anthropic/v1/models{query}"))
            .await
            .json();
        let ids: Vec<String> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            (page["first_id"].as_str(), page["last_id"].as_str()),
            (
                ids.first().map(String::as_str),
                ids.last().map(String::as_str)
            )
        );
        (ids.join(" "), page["has_more"].as_bool().unwrap())
    };
    let first = "claude-a claude-b sim-chat sim-reasoner";
    for query in ["", "?limit=1000"] {
        let (all, has_more) = page(query).await;
        assert!(all.starts_with(first) && !has_more, "{all}");
    }
    assert_eq!(
        page("?limit=2").await,
        ("claude-a claude-b".to_owned(), true)
    );
    let (second, _) = page("?limit=2&after_id=claude-b").await;
    assert_eq!(second, "sim-chat sim-reasoner");
    assert_eq!(
        page("?limit=1&before_id=sim-chat").await,
        ("claude-b".to_owned(), true)
    );
    let one = hive.get("/anthropic/v1/models/claude-a").await.json();
    assert_eq!(
        (&one["type"], &one["lifecycle"], &one["description"]),
        (&json!("model"), &json!("active"), &json!("sim/sim-chat"))
    );
    // The same path in the other dialect.
    assert_eq!(hive.get("/v1/models").await.json()["object"], "list");
}
