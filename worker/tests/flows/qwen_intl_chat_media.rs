//! Qwen's international site draws and films within a chat, wire/qwen_intl.md sections 4.5, 4.6 and 7.5.

use std::time::Duration;

use serde_json::{Value, json};

/// Looks at a video follow each other quickly.
const QUICK: &[(&str, &str)] = &[
    ("QWEN_INTL_POLL_INTERVAL_MS", "20"),
    ("STALL_TIMEOUT", "10"),
];

use crate::{
    qwen_intl::{calm, count, with_picture},
    support::{Hive, PIXEL, Reply, assert_no_violations, question, simulator},
};

fn link<'a>(reply: &'a str, start: &str) -> &'a str {
    let (_, rest) = reply.split_once(start).unwrap_or_else(|| panic!("{reply}"));
    rest.split_once(')').unwrap().0
}

fn is_video(reply: &Reply, content: &str) {
    let url = link(content, "[Download Video](");
    assert!(url.starts_with("https://cdn.qwenlm.ai/"), "{}", reply.text);
    assert!(content.lines().any(|line| line == url), "{content}");
}

#[actix_web::test]
async fn draws_and_edits_within_a_chat() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    let mut first = String::new();
    for model in ["qwen3.7-plus-image", "wanx-v1", "qwen-max-image"] {
        let drawn = hive.ask(model, "a cat").await;
        first = link(&drawn.content(), "![image](").to_owned();
        assert!(first.starts_with("https://cdn.qwenlm.ai/") && first.contains("?key="));
        let streamed = hive.stream(model, "a cat").await;
        assert!(
            streamed
                .streamed("content")
                .starts_with("![image](https://")
        );
        assert!(streamed.is_done());
    }
    let edited = json!({"model": "qwen3.7-plus-image-edit", "messages": [
        {"role": "user", "content": "a cat"}, {"role": "assistant", "content": format!("![image]({first})")},
        {"role": "user", "content": "make it blue"}]});
    hive.post(&edited).await.content();
    hive.post(&with_picture("wanx-v1", "blue", PIXEL))
        .await
        .content();
    hive.ask("qwen3.7-plus-image-edit", "nothing to edit")
        .await
        .content();
    let asked = intl.control().calls("ask");
    let kinds: Vec<&Value> = asked.iter().skip(6).map(|it| &it.params["kind"]).collect();
    assert_eq!(kinds, ["image_edit", "image_edit", "t2i"]);
    assert_eq!(asked[0].params["size"], "1:1");
    assert_eq!(asked[0].model.as_deref(), Some("qwen3.7-plus"));
    assert_eq!(asked[4].model.as_deref(), Some("qwen-max"));
    calm(&intl).await;
}

#[actix_web::test]
async fn a_picture_that_the_stream_does_not_show_is_in_the_chat() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[("STALL_TIMEOUT", "10")]);
    intl.control().fault("no_picture", 1).unwrap();
    let drawn = hive.ask("wanx-v1", "a cat").await;
    assert!(drawn.content().contains("https://cdn.qwenlm.ai/"));
    assert_eq!(count(&intl.control(), "detail"), 1);
    intl.control().fault("no_picture_at_all", 0).unwrap();
    let (status, _, code) = hive.ask("wanx-v1", "a cat").await.error();
    assert_eq!((status, code.as_str()), (502, "upstream_unavailable"));
    calm(&intl).await;
}

#[actix_web::test]
async fn films_within_a_chat() {
    for generation in ["v1", "v2"] {
        let intl = simulator("qwen_intl", 1);
        intl.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&intl], QUICK);
        let whole = hive.ask("qwen3.7-plus-video", "a cat runs").await;
        is_video(&whole, &whole.content());
        assert!(whole.message().get("reasoning_content").is_none());
        let streamed = hive.stream("animate-v1", "a cat runs").await;
        is_video(&streamed, &streamed.streamed("content"));
        let progress = streamed.streamed("reasoning_content");
        assert!(
            progress.contains("60 s") && progress.contains("30 s"),
            "{progress}"
        );
        let of_picture = hive
            .post(&with_picture("animate-v1", "it runs", PIXEL))
            .await;
        is_video(&of_picture, &of_picture.content());
        let asked = intl.control().calls("ask");
        let kinds: Vec<&Value> = asked.iter().map(|it| &it.params["kind"]).collect();
        assert_eq!(kinds, ["t2v", "t2v", "i2v"]);
        assert_eq!(asked[2].params["size"], "16:9");
        // Three a day.
        let spent = hive.ask("animate-v1", "one more").await;
        assert_eq!(spent.error().2, "upstream_rate_limited");
        assert_eq!(spent.header("retry-after"), "18000");
        assert_no_violations(&intl.control());
    }
}

#[actix_web::test]
async fn a_video_that_fails_is_not_begun_again() {
    for (fault, status, code) in [
        ("task_failed", 502, "upstream_unavailable"),
        ("task_moderated", 400, "content_filter"),
    ] {
        let intl = simulator("qwen_intl", 1);
        let hive = Hive::start(&[&intl], QUICK);
        intl.control().fault(fault, 1).unwrap();
        let (was, _, said) = hive.ask("animate-v1", "a cat runs").await.error();
        assert_eq!((was, said.as_str()), (status, code), "{fault}");
        assert_eq!(count(&intl.control(), "ask"), 1, "{fault}");
        calm(&intl).await;
    }
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], QUICK);
    // Five looks in a row may fail.
    intl.control().fault("task_refused", 5).unwrap();
    intl.control().fault("no_task", 1).unwrap();
    let whole = hive.ask("animate-v1", "a cat runs").await;
    is_video(&whole, &whole.content());
    calm(&intl).await;
}

/// The chat of a video is not deleted before it is over, and nothing stops it.
#[actix_web::test]
async fn a_video_that_nobody_waits_for_stays_until_it_is_over() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], QUICK);
    let mut body = question("animate-v1", "looks:1000");
    body["stream"] = json!(true);
    let mut response = hive
        .request("POST", "/v1/chat/completions")
        .send_body(body.to_string())
        .await
        .unwrap();
    while count(&intl.control(), "task") < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(futures_util::StreamExt::next(&mut response).await);
    drop(response);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let looks = count(&intl.control(), "task");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(
        count(&intl.control(), "task"),
        looks,
        "nobody looks any more"
    );
    assert_eq!(
        count(&intl.control(), "delete") + count(&intl.control(), "stop"),
        0
    );
    assert_no_violations(&intl.control());
}
