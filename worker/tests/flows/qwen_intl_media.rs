//! Qwen's international site by the door for videos, wire/qwen_intl.md sections 4.6 and 7.5.

use std::time::Duration;

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
