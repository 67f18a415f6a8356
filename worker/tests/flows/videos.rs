//! Videos: made by a provider or an API, looked at, fetched in parts, deleted; by ids that any worker reads and nobody else.

use std::time::Duration;

use hive2api_simulators::control::Order;
use serde_json::{Value, json};

use crate::{
    relay::{post_form, post_json},
    support::{Hive, KEY, PIXEL, Reply, Shared, assert_no_violations, simulator},
};

/// Two callers of the same gateway.
const BOB: &str = "sk-bob-0123456789";
const KEYS: (&str, &str) = ("API_KEYS", "bob:sk-bob-0123456789");

async fn about(hive: &Hive, method: &str, path: &str, key: &str) -> Reply {
    let request = hive
        .request(method, path)
        .insert_header(("authorization", format!("Bearer {key}")));
    Reply::read(request.send().await.unwrap()).await
}

/// Looks until it is over, no more often than the gateway says.
async fn over(hive: &Hive, id: &str) -> Value {
    for _ in 0..50 {
        let reply = hive.get(&format!("/v1/videos/{id}")).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let video = reply.json();
        assert_eq!(
            (&video["id"], &video["object"]),
            (&json!(id), &json!("video"))
        );
        if ["completed", "failed"]
            .iter()
            .any(|end| video["status"] == *end)
        {
            return video;
        }
        assert!(
            ["queued", "in_progress"]
                .iter()
                .any(|it| video["status"] == *it),
            "{video}"
        );
        assert!(video["progress"].as_u64().unwrap() < 100, "{video}");
        let wait = reply.header("openai-poll-after-ms").parse().unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    panic!("it is never there");
}

async fn bytes(hive: &Hive, path: &str, range: Option<&str>) -> (u16, Vec<u8>, String) {
    let mut request = hive.request("GET", path);
    if let Some(range) = range {
        request = request.insert_header(("range", range));
    }
    let mut response = request.send().await.unwrap();
    let body = response.body().limit(64 << 20).await.unwrap().to_vec();
    let place = response.headers().get("content-range");
    let place = place.map_or("", |place| place.to_str().unwrap()).to_owned();
    (response.status().as_u16(), body, place)
}

/// As `client.videos` does, with a form, of an API and of a web chat; on two workers that share nothing but their settings.
#[actix_web::test]
async fn made_on_one_worker_and_fetched_from_another() {
    let (upstream, zhipu) = (simulator("openai", 2), simulator("zhipu", 2));
    // Workers of a cluster share their rotated tokens; these two share nothing.
    zhipu.control().set_generation("cumulative").unwrap();
    let workers = [(); 2].map(|()| Hive::start(&[&upstream, &zhipu], &[KEYS]));
    let [one, other] = &workers;
    for model in ["sim-video", "sim/sim-video", "cogvideox", "zhipu/cogvideox"] {
        let fields = [
            ("prompt", None, b"a cat bytes:200000".as_slice()),
            ("model", None, model.as_bytes()),
            ("seconds", None, b"8"),
            ("size", None, b"1280x720"),
        ];
        let made = post_form(one, "/v1/videos", &fields).await;
        assert_eq!(made.status, 200, "{model}: {}", made.text);
        let video = made.json();
        let id = video["id"].as_str().unwrap();
        assert!(id.starts_with("video_"), "{id}");
        assert_eq!(
            (&video["status"], &video["model"], &video["progress"]),
            (&json!("queued"), &json!(model), &json!(0))
        );
        // What the service has its own way with is said.
        let is_zhipu = model.contains("cog");
        assert_eq!(
            made.header("x-hive-ignored"),
            if is_zhipu { "seconds, size" } else { "" }
        );
        let early = other.get(&format!("/v1/videos/{id}/content")).await;
        assert_eq!(early.error().0, 400, "{}", early.text);
        let video = over(other, id).await;
        if is_zhipu {
            let metrics = other.get("/metrics").await.text;
            let line = r#"hive_media_total{kind="video",outcome="ok",provider="zhipu"}"#;
            assert!(metrics.contains(line), "{line}");
        }
        assert_eq!(
            (&video["status"], &video["progress"], &video["model"]),
            (&json!("completed"), &json!(100), &json!(model))
        );
        let content = format!("/v1/videos/{id}/content");
        let (status, whole, _) = bytes(other, &content, None).await;
        assert_eq!((status, whole.len()), (200, 200_000));
        assert_eq!(&whole[4..8], b"ftyp");
        for (range, expected) in [
            ("bytes=0-99", &whole[..100]),
            ("bytes=150000-", &whole[150_000..]),
            ("bytes=-7", &whole[199_993..]),
        ] {
            let (status, part, place) = bytes(one, &content, Some(range)).await;
            assert_eq!((status, &*part), (206, expected), "{range}");
            assert!(place.ends_with("/200000"), "{place}");
        }
        let (status, _, place) = bytes(one, &content, Some("bytes=200000-")).await;
        assert_eq!((status, &*place), (416, "bytes */200000"));
        // Whoever has another key, and whoever changes a letter of it.
        let mut forged = id.to_owned();
        let last = forged.pop().unwrap();
        forged.push(if last == 'A' { 'B' } else { 'A' });
        for (method, tail) in [("GET", ""), ("GET", "/content"), ("DELETE", "")] {
            let foreign = about(one, method, &format!("/v1/videos/{id}{tail}"), BOB).await;
            assert_eq!(foreign.error().0, 404, "{}", foreign.text);
            let unknown = about(one, method, &format!("/v1/videos/{forged}{tail}"), KEY).await;
            assert_eq!(unknown.text, foreign.text);
        }
        let gone = about(one, "DELETE", &format!("/v1/videos/{id}"), KEY).await;
        assert_eq!(
            gone.json(),
            json!({"id": id, "object": "video.deleted", "deleted": true})
        );
        if !is_zhipu {
            let left = other.get(&format!("/v1/videos/{id}")).await;
            assert_eq!(left.error().2, "video_not_found");
        }
    }
    let list = one.get("/v1/videos?limit=3").await.json();
    assert_eq!(
        (&list["data"], &list["has_more"]),
        (&json!([]), &json!(false))
    );
    for control in [upstream.control(), zhipu.control()] {
        assert_no_violations(&control);
    }
}

#[actix_web::test]
async fn json_pictures_and_defaults() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    // Nobody named: whoever makes videos here.
    let body =
        json!({"prompt": "let it run", "input_reference": {"image_url": PIXEL}, "style": "x"});
    let made = post_json(&hive, "/v1/videos", &body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(made.header("x-hive-ignored"), "style");
    assert_eq!(made.json()["model"], "cogvideox");
    let uploads = zhipu.control().calls("static_upload");
    assert_eq!(uploads.len(), 1);
    // A second look within a second is answered from the first.
    let id = made.json()["id"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert_eq!(hive.get(&format!("/v1/videos/{id}")).await.status, 200);
    }
    assert_eq!(zhipu.control().calls("video_status").len(), 1);
    for (body, param) in [
        (json!({"model": "cogvideox"}), "prompt"),
        (
            json!({"model": "cogvideox", "prompt": "x", "seconds": "ever"}),
            "seconds",
        ),
        (
            json!({"model": "cogvideox", "prompt": "x", "input_reference": "http://127.0.0.1:1/x.png"}),
            "input_reference",
        ),
        (json!({"model": "glm-5", "prompt": "x"}), "model"),
        (json!({"model": "nobodys", "prompt": "x"}), "model"),
    ] {
        let reply = post_json(&hive, "/v1/videos", &body).await;
        let status = if body["model"] == "nobodys" { 404 } else { 400 };
        assert_eq!(
            (reply.status, &reply.json()["error"]["param"]),
            (status, &json!(param)),
            "{body}: {}",
            reply.text
        );
    }
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn what_fails_says_why() {
    let (upstream, zhipu) = (simulator("openai", 1), simulator("zhipu", 1));
    let hive = Hive::start(&[&upstream, &zhipu], &[]);
    for (simulator, model) in [(&upstream, "sim-video"), (&zhipu, "cogvideox")] {
        simulator.control().fault("video_failed", 1).unwrap();
        let made = post_json(&hive, "/v1/videos", &json!({"model": model, "prompt": "x"})).await;
        let id = made.json()["id"].as_str().unwrap_or_default().to_owned();
        let video = over(&hive, &id).await;
        assert_eq!(video["status"], "failed", "{video}");
        let message = video["error"]["message"].as_str().unwrap();
        assert!(
            !message.is_empty() && video["error"]["code"].is_string(),
            "{video}"
        );
        let content = hive.get(&format!("/v1/videos/{id}/content")).await;
        assert!(content.status >= 400, "{}", content.text);
    }
    zhipu.control().fault("video_refused", 0).unwrap();
    let refused = post_json(
        &hive,
        "/v1/videos",
        &json!({"model": "cogvideox", "prompt": "x"}),
    )
    .await;
    assert_ne!(refused.status, 200, "{}", refused.text);
}

/// Another secret is another cluster; and what a worker is told by `SEAL_SECRET` outlives its key.
#[actix_web::test]
async fn the_secret_decides_which_workers_belong_together() {
    let zhipu = simulator("zhipu", 1);
    zhipu.control().set_generation("cumulative").unwrap();
    let secret = ("SEAL_SECRET", "0123456789abcdef0123456789abcdef");
    let hive = Hive::start(&[&zhipu], &[secret]);
    let body = json!({"model": "cogvideox", "prompt": "x"});
    let id = post_json(&hive, "/v1/videos", &body).await.json()["id"].clone();
    let path = format!("/v1/videos/{}", id.as_str().unwrap());
    let stranger = Hive::start(&[&zhipu], &[]);
    assert_eq!(stranger.get(&path).await.status, 404);
    let renewed = "sk-test-9876543210";
    let sister = Hive::start(&[&zhipu], &[secret, ("API_MASTER_KEY", renewed)]);
    let reply = about(&sister, "GET", &path, renewed).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

/// Ids of a page, and whether there are more.
async fn page(hive: &Hive, query: &str, key: &str) -> (Vec<String>, bool) {
    let reply = about(hive, "GET", &format!("/v1/videos{query}"), key).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let page = reply.json();
    assert_eq!(page["object"], "list");
    let videos = page["data"].as_array().unwrap();
    let ids: Vec<String> = videos
        .iter()
        .map(|video| {
            assert_eq!(video["object"], "video");
            assert!(
                video["status"].is_string() && video["progress"].is_u64(),
                "{video}"
            );
            video["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(page["first_id"].as_str(), ids.first().map(String::as_str));
    assert_eq!(page["last_id"].as_str(), ids.last().map(String::as_str));
    (ids, page["has_more"].as_bool().unwrap())
}

/// As `client.videos.list` does, on another worker than those that made them.
#[actix_web::test]
async fn each_caller_has_a_list() {
    let (upstream, zhipu) = (simulator("openai", 1), simulator("zhipu", 1));
    zhipu.control().set_generation("cumulative").unwrap();
    let shared = Shared::new();
    let url = shared.url();
    let settings = [KEYS, ("STORE_URL", url.as_str())];
    let workers = [(); 2].map(|()| Hive::start(&[&upstream, &zhipu], &settings));
    let [one, other] = &workers;
    assert_eq!(page(one, "", KEY).await, (vec![], false));
    let mut ids = Vec::new();
    for (at, model) in [
        "sim-video",
        "cogvideox",
        "sim/sim-video",
        "zhipu/cogvideox",
        "sim-video",
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"model": model, "prompt": "a secret cat"});
        let made = post_json(&workers[at % 2], "/v1/videos", &body).await;
        assert_eq!(made.status, 200, "{}", made.text);
        ids.insert(0, made.json()["id"].as_str().unwrap().to_owned());
        // The order is that of milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let request = one.request("POST", "/v1/videos");
    let request = request
        .insert_header(("authorization", format!("Bearer {BOB}")))
        .insert_header(("content-type", "application/json"));
    let body = json!({"model": "sim-video", "prompt": "a dog"}).to_string();
    let bobs = Reply::read(request.send_body(body).await.unwrap()).await;
    let bobs = bobs.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(page(other, "", BOB).await, (vec![bobs.clone()], false));

    assert_eq!(page(one, "", KEY).await, (ids.clone(), false));
    // Through all pages, in both orders.
    let oldest_first: Vec<String> = ids.iter().rev().cloned().collect();
    for (order, expected) in [
        ("", &ids),
        ("&order=desc", &ids),
        ("&order=asc", &oldest_first),
    ] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let (found, has_more) = page(one, &format!("?limit=2{order}{after}"), KEY).await;
            seen.extend(found);
            assert_eq!(has_more, seen.len() < expected.len());
            if !has_more {
                break;
            }
            after = format!("&after={}", seen.last().unwrap());
        }
        assert_eq!(seen, *expected, "{order}");
    }
    for (query, status, param) in [
        ("limit=0", 400, "limit"),
        ("limit=101", 400, "limit"),
        ("limit=x", 400, "limit"),
        ("order=up", 400, "order"),
        ("after=video_x", 404, "after"),
        (&format!("after={bobs}"), 404, "after"),
    ] {
        let reply = one.get(&format!("/v1/videos?{query}")).await;
        let error = reply.json()["error"].clone();
        assert_eq!(
            (reply.status, &error["param"]),
            (status, &json!(param)),
            "{query}"
        );
    }
    let unknown = about(one, "GET", "/v1/videos", "sk-nobody").await;
    assert_eq!(unknown.status, 401);

    // Workers do not know when another one looked; services want to be left in peace for a second.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    // What is over is told from the list; when it ended does not depend on who looks, or when.
    let mut ends = Vec::new();
    for id in &ids {
        ends.push(over(other, id).await["completed_at"].clone());
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let looks = || {
        let of = |simulator: &hive2api_simulators::Running| {
            simulator.control().calls("video_status").len()
        };
        of(&upstream) + of(&zhipu)
    };
    let before = looks();
    let listed = one.get("/v1/videos").await.json();
    for ((video, id), end) in listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .zip(&ids)
        .zip(&ends)
    {
        assert_eq!(
            (&video["id"], &video["status"], &video["progress"]),
            (&json!(id), &json!("completed"), &json!(100))
        );
        assert_eq!(
            (&video["completed_at"], &video["prompt"]),
            (end, &Value::Null)
        );
    }
    assert_eq!(looks(), before, "nobody is asked for what is known");
    let again = one.get(&format!("/v1/videos/{}", ids[1])).await.json();
    assert_eq!(again["completed_at"], ends[1], "{again}");
    assert!(
        !std::fs::read(shared.path())
            .unwrap()
            .windows(10)
            .any(|it| it == b"secret cat")
    );

    // Deleted here, or gone at the service.
    let gone = about(other, "DELETE", &format!("/v1/videos/{}", ids[1]), KEY).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    let left: Vec<String> = ids.iter().filter(|id| **id != ids[1]).cloned().collect();
    assert_eq!(page(one, "", KEY).await, (left.clone(), false));
    // After one that is not there any more, the list goes on all the same.
    let (after, _) = page(one, &format!("?after={}", ids[1]), KEY).await;
    assert_eq!(after, ids[2..]);
    for control in [upstream.control(), zhipu.control()] {
        assert_no_violations(&control);
    }
}

/// What the service does not know any more is in no list; a page of such leads on to the next.
#[actix_web::test]
async fn what_is_gone_at_the_service_leaves_the_list() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let body = json!({"model": "sim-video", "prompt": "x"});
        let made = post_json(&hive, "/v1/videos", &body).await.json();
        ids.insert(0, made["id"].as_str().unwrap().to_owned());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gone = Order {
        name: "not_found".to_owned(),
        times: Some(2),
        step: Some("video_status".to_owned()),
        ..Order::default()
    };
    upstream.control().order(gone).unwrap();
    assert_eq!(
        page(&hive, "?limit=1", KEY).await,
        (vec![ids[2].clone()], false)
    );
    assert_eq!(page(&hive, "", KEY).await, (vec![ids[2].clone()], false));
}

#[actix_web::test]
async fn without_the_store_there_is_no_list_and_all_else_goes_on() {
    let upstream = simulator("openai", 1);
    let hive = Hive::start(&[&upstream], &[("STORE_URL", "redis://127.0.0.1:1")]);
    let body = json!({"model": "sim-video", "prompt": "x"});
    let made = post_json(&hive, "/v1/videos", &body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(over(&hive, &id).await["status"], "completed");
    let list = hive.get("/v1/videos").await;
    assert_eq!(list.error().0, 503, "{}", list.text);
    assert!(list.text.contains("store") && !list.header("retry-after").is_empty());
    let gone = about(&hive, "DELETE", &format!("/v1/videos/{id}"), KEY).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
}
