//! Pictures: the two doors, over every service that draws within a chat.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hive2api_simulators::{Running, script::Script};
use serde_json::{Value, json};

use super::support::{Hive, PIXEL, Reply, SOON, assert_no_violations, settled, simulator};

/// Who draws, and with which model.
const PAINTERS: [(&str, &str); 3] = [
    ("zhipu", "cogview-3-plus"),
    ("doubao", "doubao-seedream"),
    ("xinghuo", "spark-pro"),
];

async fn draw(hive: &Hive, body: Value) -> Reply {
    post(hive, "/v1/images/generations", &body).await
}

async fn post(hive: &Hive, path: &str, body: &Value) -> Reply {
    let request = hive
        .request("POST", path)
        .insert_header(("content-type", "application/json"));
    Reply::read(request.send_body(body.to_string()).await.unwrap()).await
}

/// A form of fields and files.
async fn edit(hive: &Hive, parts: &[(&str, Option<&str>, &[u8])]) -> Reply {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        let file = file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: image/png"));
        let head = format!(
            "--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"{}\r\n\r\n",
            file.unwrap_or_default()
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XyZ--\r\n");
    let request = hive
        .request("POST", "/v1/images/edits")
        .insert_header(("content-type", "multipart/form-data; boundary=XyZ"));
    Reply::read(request.send_body(body).await.unwrap()).await
}

fn pixel() -> Vec<u8> {
    let (_, data) = PIXEL.split_once(',').unwrap();
    BASE64.decode(data).unwrap()
}

fn data(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let json = reply.json();
    assert!(
        json["created"]
            .as_u64()
            .is_some_and(|it| it > 1_700_000_000)
    );
    json["data"].as_array().unwrap().clone()
}

fn png(picture: &Value) -> Vec<u8> {
    let data = picture["b64_json"].as_str().unwrap();
    let bytes = BASE64.decode(data).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    bytes
}

async fn fetch(url: &str) -> Vec<u8> {
    let mut answer = awc::Client::new().get(url).send().await.unwrap();
    answer.body().await.unwrap().to_vec()
}

async fn done(simulator: &Running) {
    settled(&simulator.control(), SOON).await;
    assert_no_violations(&simulator.control());
}

/// Both forms hold the same picture: the link of the service, and its bytes.
#[actix_web::test]
async fn a_picture_comes_as_a_link_and_as_its_bytes() {
    for (name, model) in PAINTERS {
        let simulator = simulator(name, 1);
        let hive = Hive::start(&[&simulator], &[]);
        let linked = draw(&hive, json!({"model": model, "prompt": "a cat"})).await;
        let linked = data(&linked);
        assert_eq!(linked.len(), 1, "{name}: {linked:?}");
        let url = linked[0]["url"].as_str().unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        let body = json!({"model": model, "prompt": "a cat", "response_format": "b64_json"});
        let reply = draw(&hive, body).await;
        let here = data(&reply);
        assert_eq!(reply.json()["output_format"], "png");
        assert_eq!(png(&here[0]), fetch(url).await, "{name}");
        let revised = here[0].get("revised_prompt").is_some();
        assert_eq!(revised, name == "zhipu", "only Zhipu tells it");
        done(&simulator).await;
    }
}

/// Several turns at a time where a service draws one picture; one turn where it draws four.
#[actix_web::test]
async fn n_pictures_are_drawn_by_as_many_turns_as_it_takes() {
    for (name, model) in PAINTERS {
        let simulator = simulator(name, 1);
        let hive = Hive::start(&[&simulator], &[]);
        let reply = draw(&hive, json!({"model": model, "prompt": "a cat", "n": 3})).await;
        assert_eq!(data(&reply).len(), 3, "{name}");
        let turns = simulator.control().calls("ask").len();
        assert_eq!(turns, if name == "zhipu" { 1 } else { 3 }, "{name}");
        assert_eq!(reply.header("x-hive-missing"), "");
        done(&simulator).await;
    }
}

#[actix_web::test]
async fn what_came_is_given_and_the_rest_is_said() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[("XINGHUO_MAX_CONCURRENCY", "1")]);
    let without = |times| Script {
        images: Some(Vec::new()),
        times: Some(times),
        text: Some("nothing today".to_owned()),
        ..Script::default()
    };
    xinghuo.control().script(without(1)).unwrap();
    let body = |n: u32| json!({"model": "spark-pro", "prompt": "a cat", "n": n});
    let reply = draw(&hive, body(3)).await;
    assert_eq!(data(&reply).len(), 2);
    assert_eq!(reply.header("x-hive-missing"), "1 (unavailable)");
    xinghuo.control().script(without(2)).unwrap();
    let reply = draw(&hive, body(2)).await;
    assert_eq!(
        (reply.error().0, reply.error().2.as_str()),
        (502, "image_generation_failed")
    );
    assert!(reply.text.contains("nothing today"), "{}", reply.text);
    // The account has answered: it is as good as before.
    assert_eq!(data(&draw(&hive, body(1)).await).len(), 1);
    done(&xinghuo).await;
}

#[actix_web::test]
async fn a_size_becomes_the_nearest_that_the_service_has() {
    for (name, model, size, said, ignored) in [
        ("doubao", "doubao-seedream", "1536x1024", "4:3", ""),
        ("doubao", "doubao-seedream", "1024x1792", "9:16", ""),
        ("zhipu", "cogview-3-plus", "1024x1536", "2:3", ""),
        ("xinghuo", "spark-pro", "1024x1024", "", "size"),
    ] {
        let simulator = simulator(name, 1);
        let hive = Hive::start(&[&simulator], &[]);
        let reply = draw(
            &hive,
            json!({"model": model, "prompt": "a cat", "size": size}),
        )
        .await;
        data(&reply);
        assert_eq!(reply.header("x-hive-size"), said, "{name} {size}");
        assert_eq!(reply.header("x-hive-ignored"), ignored, "{name} {size}");
        done(&simulator).await;
    }
}

#[actix_web::test]
async fn what_has_no_effect_is_named() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let body = json!({"model": "cogview-3-plus", "prompt": "a cat", "quality": "hd", "style": "vivid", "background": "opaque",
        "output_format": "webp", "response_format": "b64_json", "user": "u", "moderation": "low", "lora": {"a": 1}});
    let reply = draw(&hive, body).await;
    data(&reply);
    assert_eq!(
        reply.header("x-hive-ignored"),
        "quality, style, output_format, background, lora, moderation"
    );
    assert_eq!(reply.header("x-hive-output-format"), "png");
    done(&zhipu).await;
}

#[actix_web::test]
async fn a_default_model_draws_for_names_that_nobody_has() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[("IMAGE_MODEL", "zhipu/cogview-3-plus")]);
    for model in [json!(null), json!("dall-e-3"), json!("gpt-image-1")] {
        let reply = draw(&hive, json!({"model": model, "prompt": "a cat"})).await;
        let pictures = data(&reply);
        // Who asks for these expects their one form.
        let is_here = model == "gpt-image-1";
        assert_eq!(pictures[0].get("b64_json").is_some(), is_here, "{model}");
    }
    let reply = draw(&hive, json!({"model": "nobodys", "prompt": "a cat"})).await;
    assert_eq!(
        (reply.error().0, reply.error().2.as_str()),
        (404, "model_not_found")
    );
    // A rotated token is known to who rotated it only.
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    for model in [json!(null), json!("dall-e-3")] {
        let reply = draw(&hive, json!({"model": model, "prompt": "a cat"})).await;
        assert_eq!(
            (reply.error().0, reply.error().2.as_str()),
            (404, "model_not_found")
        );
        assert!(reply.text.contains("IMAGE_MODEL"), "{}", reply.text);
    }
    let zhipu = simulator("zhipu", 1);
    let routes = r#"{"dall-e-3":["zhipu/cogview-3-plus"]}"#;
    let hive = Hive::start(&[&zhipu], &[("MODEL_ROUTES", routes)]);
    data(&draw(&hive, json!({"model": "dall-e-3", "prompt": "a cat"})).await);
    done(&zhipu).await;
}

/// The default may be an API's model: said in the request where it says none, in whichever form.
#[actix_web::test]
async fn the_default_model_may_be_a_lanes() {
    let upstream = simulator("openai", 1);
    for named in ["sim-image", "sim/sim-image"] {
        let hive = Hive::start(&[&upstream], &[("IMAGE_MODEL", named)]);
        upstream.reset();
        for model in [
            json!(null),
            json!(""),
            json!("dall-e-3"),
            json!("gpt-image-1"),
        ] {
            data(&draw(&hive, json!({"model": model, "prompt": "a cat"})).await);
        }
        data(&draw(&hive, json!({"prompt": "a cat"})).await);
        let pixel = pixel();
        let picture = ("image", Some("a.png"), pixel.as_slice());
        let prompt = ("prompt", None, b"blue".as_slice());
        let model = |name: &'static str| ("model", None, name.as_bytes());
        for parts in [
            vec![picture, prompt],
            vec![model(""), picture, prompt],
            vec![model("gpt-image-1"), picture, prompt],
            vec![picture, prompt, model("dall-e-2")],
        ] {
            data(&edit(&hive, &parts).await);
        }
        for (step, times) in [("images", 5), ("image_edits", 4)] {
            let calls = upstream.control().calls(step);
            let models: Vec<_> = calls.iter().map(|it| it.model.as_deref()).collect();
            assert_eq!(models, vec![Some("sim-image"); times], "{named} {step}");
        }
        assert_no_violations(&upstream.control());
    }
}

#[actix_web::test]
async fn models_that_draw_nothing_say_so_and_the_listing_says_who_draws() {
    let (zhipu, doubao) = (simulator("zhipu", 1), simulator("doubao", 1));
    let hive = Hive::start(&[&zhipu, &doubao], &[]);
    let reply = draw(&hive, json!({"model": "glm-4", "prompt": "a cat"})).await;
    assert_eq!(
        (reply.error().0, reply.error().2.as_str()),
        (400, "model_not_supported")
    );
    let listed = hive.get("/v1/models").await.json();
    let endpoints = |id: &str| {
        let all = listed["data"].as_array().unwrap();
        let model = all.iter().find(|model| model["id"] == id).unwrap();
        (
            model["hive"]["makes"].clone(),
            model["hive"]["endpoints"].to_string(),
        )
    };
    let (makes, at) = endpoints("cogview-3-plus");
    assert!(makes == "image" && at.contains("images/generations") && !at.contains("edits"));
    let (makes, at) = endpoints("doubao-seedream");
    assert!(makes == "image" && at.contains("images/edits"));
    let (makes, at) = endpoints("glm-4");
    assert!(makes == "text" && !at.contains("images"));
}

#[actix_web::test]
async fn a_given_picture_is_drawn_after_where_the_service_can() {
    let doubao = simulator("doubao", 1);
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&doubao, &zhipu], &[]);
    let pixel = pixel();
    let (prompt, model) = (
        ("prompt", None, b"make it blue".as_slice()),
        ("model", None, b"doubao-seedream".as_slice()),
    );
    let one = ("image", Some("a.png"), pixel.as_slice());
    let two = [
        ("image[]", Some("a.png"), pixel.as_slice()),
        ("image[]", Some("b.png"), pixel.as_slice()),
    ];
    // `model` before the files and behind them, as both SDKs send it.
    data(&edit(&hive, &[one, prompt, model]).await);
    data(&edit(&hive, &[model, prompt, two[0], two[1]]).await);
    let link = json!({"model": "doubao-seedream", "prompt": "make it blue", "images": [{"image_url": PIXEL}]});
    data(&post(&hive, "/v1/images/edits", &link).await);
    done(&doubao).await;
    assert_eq!(doubao.control().calls("commit").len(), 4);
    let mask = ("mask", Some("m.png"), pixel.as_slice());
    let refused = edit(&hive, &[one, mask, prompt, model]).await;
    assert_eq!(
        refused.error(),
        (
            400,
            "invalid_request_error".into(),
            "unsupported_parameter".into()
        )
    );
    assert_eq!(refused.json()["error"]["param"], "mask");
    let refused = edit(&hive, &[one, prompt, ("model", None, b"cogview-3-plus")]).await;
    assert_eq!(
        (refused.error().0, refused.json()["error"]["param"].clone()),
        (400, json!("image"))
    );
    let refused = edit(
        &hive,
        &[("image", Some("a.txt"), b"no picture"), prompt, model],
    )
    .await;
    assert_eq!(refused.error().0, 400, "{}", refused.text);
    let refused = edit(&hive, &[prompt, model]).await;
    assert_eq!(
        (refused.error().0, refused.json()["error"]["param"].clone()),
        (400, json!("image"))
    );
}

#[actix_web::test]
async fn a_stream_is_answered_with_events() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let body = json!({"model": "cogview-3-plus", "prompt": "a cat", "n": 2, "stream": true});
    let reply = draw(&hive, body).await;
    assert!(
        reply
            .header("content-type")
            .starts_with("text/event-stream")
    );
    let events: Vec<&str> = reply.text.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 2, "{}", reply.text);
    for event in events {
        let data = event
            .strip_prefix("event: image_generation.completed\ndata: ")
            .unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], "image_generation.completed");
        png(&data);
    }
}

/// A drawing that takes its time is kept alive; what is known by then is in the head, what comes later in the stream.
#[actix_web::test]
async fn a_slow_stream_is_kept_alive() {
    let (doubao, xinghuo) = (simulator("doubao", 1), simulator("xinghuo", 1));
    let patience = [("HEAD_TIMEOUT", "0.2"), ("PING_INTERVAL", "0.1")];
    let hive = Hive::start(&[&doubao, &xinghuo], &patience);
    let ask = |model: &str, prompt: &str| json!({"model": model, "prompt": prompt, "stream": true, "partial_images": 2});
    let drawn = draw(&hive, ask("doubao-seedream", "pace:300 a cat")).await;
    assert_eq!(
        (drawn.status, drawn.header("x-hive-ignored")),
        (200, "partial_images")
    );
    let (pings, last) = drawn.text.rsplit_once(": keep-alive\n\n").unwrap();
    assert!(
        pings
            .split_terminator("\n\n")
            .all(|it| it == ": keep-alive")
    );
    let event = last
        .strip_prefix("event: image_generation.completed\ndata: ")
        .unwrap();
    let event: Value = serde_json::from_str(event).unwrap();
    png(&event);
    assert_eq!(
        (&event["type"], &event["size"], &event["output_format"]),
        (
            &json!("image_generation.completed"),
            &json!("8x8"),
            &json!("png")
        )
    );
    // Too late for a status.
    let none = Script {
        images: Some(Vec::new()),
        text: Some("nothing today".to_owned()),
        pace_ms: Some(300),
        ..Script::default()
    };
    xinghuo.control().script(none.clone()).unwrap();
    let failed = draw(&hive, ask("spark-pro", "a cat")).await;
    assert_eq!(failed.status, 200, "{}", failed.text);
    let (_, error) = failed
        .text
        .rsplit_once("event: error\ndata: ")
        .unwrap_or_else(|| panic!("{}", failed.text));
    let error: Value = serde_json::from_str(error).unwrap();
    assert_eq!(error["error"]["type"], "upstream_error", "{error}");
    // Early enough.
    let quick = Script {
        pace_ms: None,
        ..none
    };
    xinghuo.control().script(quick).unwrap();
    let failed = draw(&hive, ask("spark-pro", "a cat")).await;
    assert_eq!(failed.error().0, 502, "{}", failed.text);
    // An edit's events have a name of their own.
    let edit =
        json!({"model": "doubao-seedream", "prompt": "blue", "images": [PIXEL], "stream": true});
    let edited = post(&hive, "/v1/images/edits", &edit).await;
    assert!(
        edited.text.contains("event: image_edit.completed\ndata: {"),
        "{}",
        edited.text
    );
    done(&doubao).await;
    done(&xinghuo).await;
}

/// Refusals keep their kind: moderation, a spent quota with its time, a day without pictures.
#[actix_web::test]
async fn failures_say_whose_they_are() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let ask = || json!({"model": "cogview-3-plus", "prompt": "a cat"});
    zhipu.control().fault("moderated_before_text", 1).unwrap();
    let reply = draw(&hive, ask()).await;
    assert_eq!(
        reply.error(),
        (
            400,
            "invalid_request_error".into(),
            "content_policy_violation".into()
        ),
        "{}",
        reply.text
    );
    for (body, param) in [
        (json!({"model": "cogview-3-plus"}), "prompt"),
        (
            json!({"model": "cogview-3-plus", "prompt": "a", "n": 11}),
            "n",
        ),
        (
            json!({"model": "cogview-3-plus", "prompt": "a", "size": "large"}),
            "size",
        ),
    ] {
        let reply = draw(&hive, body).await;
        assert_eq!(
            (reply.error().0, reply.json()["error"]["param"].as_str()),
            (400, Some(param))
        );
    }
    zhipu.control().fault("quota_spent", 9).unwrap();
    let reply = draw(&hive, ask()).await;
    assert_eq!(reply.error().0, 429, "{}", reply.text);
    zhipu.control().clear_faults();
    let metrics = hive.request("GET", "/metrics").send().await.unwrap();
    let metrics = Reply::read(metrics).await.text;
    for line in [
        r#"hive_media_total{kind="image",outcome="moderated",provider="zhipu"}"#,
        r#"hive_media_total{kind="image",outcome="quota_spent",provider="zhipu"}"#,
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    done(&zhipu).await;
}

/// A service that draws one picture after the other draws four at most.
#[actix_web::test]
async fn more_than_a_model_draws_is_refused_before_anybody_is_asked() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    let body = |n: u32| json!({"model": "wanx-v1", "prompt": "a cat", "n": n});
    let reply = draw(&hive, body(5)).await;
    assert_eq!(
        (reply.error().0, reply.json()["error"]["param"].as_str()),
        (400, Some("n"))
    );
    assert!(reply.text.contains("draws 4 pictures at most"));
    assert!(intl.control().calls("ask").is_empty());
    assert_eq!(data(&draw(&hive, body(4)).await).len(), 4);
    done(&intl).await;
}

/// The client has gone: nothing is left at the service.
#[actix_web::test]
async fn a_client_that_leaves_takes_its_drawing_along() {
    let doubao = simulator("doubao", 1);
    let hive = Hive::start(&[&doubao], &[]);
    let body = json!({"model": "doubao-seedream", "prompt": "pace:300 a cat", "n": 2}).to_string();
    let request = hive
        .request("POST", "/v1/images/generations")
        .insert_header(("content-type", "application/json"))
        .send_body(body);
    let left = tokio::time::timeout(std::time::Duration::from_millis(400), request).await;
    assert!(left.is_err(), "it was quicker than the client");
    done(&doubao).await;
}
