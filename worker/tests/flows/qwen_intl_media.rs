//! Qwen's international site by the door for videos, wire/qwen_intl.md sections 4.6 and 7.5.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hive2api_simulators::Running;
use serde_json::{Value, json};

use crate::{
    relay::post_json,
    support::{Hive, PIXEL, Reply, SOON, assert_no_violations, settled, simulator},
};

async fn over(hive: &Hive, id: &str) -> Value {
    for _ in 0..30 {
        let video = hive.get(&format!("/v1/videos/{id}")).await.json();
        if video["status"] == "completed" || video["status"] == "failed" {
            return video;
        }
        assert_eq!(video["status"], "in_progress", "{video}");
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    panic!("it is never there");
}

/// Made by one worker, looked at and fetched from another; its chat is deleted when it is told to be.
#[actix_web::test]
async fn videos_are_made_looked_at_fetched_and_deleted() {
    for generation in ["v1", "v2"] {
        let intl = simulator("qwen_intl", 1);
        intl.control().set_generation(generation).unwrap();
        let [one, other] = [(); 2].map(|()| Hive::start(&[&intl], &[]));
        let body = json!({"model": "animate-v1", "prompt": "it runs", "size": "720x1280", "input_reference": {"image_url": PIXEL}});
        let made = post_json(&one, "/v1/videos", &body).await;
        assert_eq!(made.status, 200, "{}", made.text);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        let asked = intl.control().calls("ask").remove(0);
        assert_eq!(
            (&asked.params["kind"], &asked.params["size"]),
            (&json!("i2v"), &json!("9:16"))
        );
        let video = over(&other, &id).await;
        assert_eq!(
            (&video["status"], &video["progress"]),
            (&json!("completed"), &json!(100))
        );
        let path = format!("/v1/videos/{id}/content");
        let mut response = other
            .request("GET", &path)
            .insert_header(("range", "bytes=4-7"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), 206);
        assert_eq!(&response.body().await.unwrap()[..], b"ftyp");
        assert_eq!(intl.control().state().deleted, 0);
        let gone = Reply::read(
            one.request("DELETE", &format!("/v1/videos/{id}"))
                .send()
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(gone.json()["deleted"], true, "{}", gone.text);
        settled(&intl.control(), SOON).await;
        assert_no_violations(&intl.control());
    }
}

#[actix_web::test]
async fn a_video_that_fails_says_why_and_the_fourth_of_a_day_waits() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    for (fault, code) in [("task_failed", ""), ("task_moderated", "content")] {
        let made = post_json(
            &hive,
            "/v1/videos",
            &json!({"model": "animate-v1", "prompt": "looks:0"}),
        )
        .await;
        let id = made.json()["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", made.text))
            .to_owned();
        intl.control().fault(fault, 1).unwrap();
        let video = over(&hive, &id).await;
        assert_eq!(video["status"], "failed", "{video}");
        assert!(
            video["error"]["code"].as_str().unwrap().contains(code),
            "{video}"
        );
    }
    let body = json!({"model": "qwen3.7-plus-video", "prompt": "x"});
    assert_eq!(post_json(&hive, "/v1/videos", &body).await.status, 200);
    let spent = post_json(&hive, "/v1/videos", &body).await;
    assert_eq!(
        (spent.status, spent.header("retry-after")),
        (429, "18000"),
        "{}",
        spent.text
    );
    // The chat that nothing came of is gone.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(intl.control().state().deleted, 1);
    assert_no_violations(&intl.control());
}

/// The door's bytes of a link: from the simulator, which stands for the site's own host.
async fn bytes_behind(intl: &Running, url: &str) -> Vec<u8> {
    let path = url.strip_prefix("https://cdn.qwenlm.ai").unwrap();
    let mut answer = awc::Client::new()
        .get(format!("{}{path}", intl.url))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.body().await.unwrap().to_vec()
}

/// Width and height of a whole PNG.
fn size_of(png: &[u8]) -> (usize, usize) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.ends_with(b"IEND\xae\x42\x60\x82"));
    let size = imagesize::blob_size(png).unwrap();
    (size.width, size.height)
}

fn pictures(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["data"].as_array().unwrap().clone()
}

/// A picture is the same as a link and as its bytes; sizes become the site's shapes, and the answer says so.
#[actix_web::test]
async fn pictures_are_drawn_by_their_door() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    for model in ["qwen3.7-plus-image", "wanx-v1", "qwen-intl/qwen3-max-image"] {
        let body = json!({"model": model, "prompt": "a cat", "size": "1024x1536", "quality": "hd"});
        let linked = post_json(&hive, "/v1/images/generations", &body).await;
        assert_eq!(
            (
                linked.header("x-hive-size"),
                linked.header("x-hive-ignored")
            ),
            ("3:4", "quality")
        );
        let url = pictures(&linked)[0]["url"].as_str().unwrap().to_owned();
        let file = bytes_behind(&intl, &url).await;
        assert!(size_of(&file).0 > 0);
        let mut body = body;
        body["response_format"] = json!("b64_json");
        let here = post_json(&hive, "/v1/images/generations", &body).await;
        let data = pictures(&here)[0]["b64_json"].as_str().unwrap().to_owned();
        assert_eq!(BASE64.decode(data).unwrap(), file, "{model}");
        assert_eq!(here.json()["output_format"], "png");
        for asked in intl.control().calls("ask") {
            assert_eq!(
                (&asked.params["kind"], &asked.params["size"]),
                (&json!("t2i"), &json!("3:4"))
            );
        }
    }
    let before = intl.control().calls("ask").len();
    let body = json!({"model": "wanx-v1", "prompt": "a cat", "n": 3});
    let several = post_json(&hive, "/v1/images/generations", &body).await;
    assert_eq!(pictures(&several).len(), 3);
    assert_eq!(intl.control().calls("ask").len() - before, 3);
    assert_eq!(several.header("x-hive-size"), "");
    settled(&intl.control(), SOON).await;
    assert_no_violations(&intl.control());
}

/// Files, links and data URLs, whatever their labels say: what the bytes are counts.
#[actix_web::test]
async fn given_pictures_are_changed() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    let pixel = BASE64.decode(PIXEL.split_once(',').unwrap().1).unwrap();
    for labels in [
        "filename=\"a.png\"\r\nContent-Type: image/png",
        "filename=\"a.wav\"\r\nContent-Type: audio/wav",
        "filename=\"a\"\r\nContent-Type: application/json",
        "filename=\"blob\"",
    ] {
        let mut body = Vec::new();
        for (name, value) in [
            ("model", "qwen3.7-plus-image-edit"),
            ("prompt", "make it blue"),
            ("response_format", "b64_json"),
            ("size", "1024x1024"),
        ] {
            let field = format!(
                "--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend_from_slice(field.as_bytes());
        }
        let head =
            format!("--B\r\nContent-Disposition: form-data; name=\"image\"; {labels}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&pixel);
        body.extend_from_slice(b"\r\n--B--\r\n");
        let request = hive
            .request("POST", "/v1/images/edits")
            .insert_header(("content-type", "multipart/form-data; boundary=B"));
        let edited = Reply::read(request.send_body(body).await.unwrap()).await;
        let data = pictures(&edited)[0]["b64_json"]
            .as_str()
            .unwrap()
            .to_owned();
        size_of(&BASE64.decode(data).unwrap());
        // An edit keeps the shape of its picture.
        assert_eq!(
            (
                edited.header("x-hive-ignored"),
                edited.header("x-hive-size")
            ),
            ("size", ""),
            "{labels}"
        );
    }
    assert_eq!(intl.control().calls("store").len(), 4);
    let link = "https://example.com/cat.png";
    for images in [
        json!([link]),
        json!([{"image_url": link}, {"image_url": {"url": PIXEL}}]),
        json!([
            PIXEL.replace("image/png", "audio/wav"),
            PIXEL.replace("image/png", "")
        ]),
    ] {
        let body = json!({"model": "wanx-v1", "prompt": "both", "images": images});
        let edited = post_json(&hive, "/v1/images/edits", &body).await;
        let url = pictures(&edited)[0]["url"].as_str().unwrap().to_owned();
        size_of(&bytes_behind(&intl, &url).await);
    }
    assert_eq!(
        intl.control().calls("store").len(),
        7,
        "links are passed on"
    );
    for asked in intl.control().calls("ask") {
        assert_eq!(asked.params["kind"], "image_edit");
    }
    let body = json!({"model": "wanx-v1", "prompt": "x", "images": [PIXEL], "mask": PIXEL});
    let masked = post_json(&hive, "/v1/images/edits", &body).await;
    assert_eq!(
        (masked.error().0, &masked.json()["error"]["param"]),
        (400, &json!("mask"))
    );
    let body =
        json!({"model": "wanx-v1", "prompt": "x", "images": ["data:image/png;base64,aGVsbG8="]});
    let words = post_json(&hive, "/v1/images/edits", &body).await;
    assert_eq!(words.error().0, 400, "{}", words.text);
    settled(&intl.control(), SOON).await;
    assert_no_violations(&intl.control());
}

/// The day's pictures are gone: 429 with its time, nobody is asked meanwhile, and the account chats as ever.
#[actix_web::test]
async fn a_spent_allowance_of_pictures_leaves_chats_alone() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    let draw = json!({"model": "qwen3.7-plus-image", "prompt": "a cat"});
    intl.control().fault("quota_spent", 1).unwrap();
    let spent = post_json(&hive, "/v1/images/generations", &draw).await;
    assert_eq!(
        (spent.status, spent.header("retry-after")),
        (429, "25200"),
        "{}",
        spent.text
    );
    let before = intl.control().calls("ask").len();
    for (path, body) in [
        ("/v1/images/generations", draw.clone()),
        // By the other door as well.
        (
            "/v1/chat/completions",
            json!({"model": "wanx-v1", "messages": [{"role": "user", "content": "a cat"}]}),
        ),
    ] {
        let again = post_json(&hive, path, &body).await;
        let wait: u64 = again.header("retry-after").parse().unwrap();
        assert_eq!(again.status, 429, "{}", again.text);
        assert!((25_000..=25_200).contains(&wait), "{wait}");
    }
    assert_eq!(intl.control().calls("ask").len(), before);
    assert_eq!(hive.ask("qwen3.7-plus", "echo:hi").await.content(), "hi");
    let body = json!({"model": "animate-v1", "prompt": "looks:0"});
    let video = post_json(&hive, "/v1/videos", &body).await;
    assert_eq!(video.status, 200, "{}", video.text);
    // A chat's own quota is another matter.
    intl.control().fault("quota_spent", 1).unwrap();
    assert_eq!(hive.ask("qwen3.7-plus", "echo:hi").await.status, 429);
    assert_eq!(hive.ask("qwen3.7-plus", "echo:hi").await.status, 429);
    assert_no_violations(&intl.control());
}

#[actix_web::test]
async fn moderation_refuses_a_picture() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    intl.control().fault("inspected_before_text", 1).unwrap();
    let body = json!({"model": "wanx-v1", "prompt": "a cat"});
    let refused = post_json(&hive, "/v1/images/generations", &body).await;
    assert_eq!(
        refused.error(),
        (
            400,
            "invalid_request_error".into(),
            "content_policy_violation".into()
        ),
        "{}",
        refused.text
    );
    settled(&intl.control(), SOON).await;
    assert_no_violations(&intl.control());
}
