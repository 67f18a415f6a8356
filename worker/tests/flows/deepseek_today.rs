//! DeepSeek as it is since 2026-11: what the site sends today, and answers that go on after their connection broke,
//! wire/deepseek.md sections 2, 4 and 8.

use std::time::{Duration, Instant};

use hive2api_simulators::{Running, control::Order};

use crate::support::{Hive, PIXEL, SOON, assert_no_violations, settled, simulator};
use serde_json::json;

const WORDS: &str = "1 2 3 4 5 6 7 8 9 10 11 12";
const ASK: &str = "think:先想想 count:12";

/// The service of today and nothing older.
fn today() -> Running {
    let deepseek = simulator("deepseek", 1);
    deepseek.control().set_generation("v2.5").unwrap();
    deepseek
}

fn order(name: &str, step: &str) -> Order {
    Order {
        name: name.to_owned(),
        times: Some(1),
        step: Some(step.to_owned()),
        delay_ms: None,
        retry_after: None,
    }
}

#[actix_web::test]
async fn a_broken_answer_goes_on_where_it_stopped() {
    let deepseek = today();
    let hive = Hive::start(&[&deepseek], &[("STALL_TIMEOUT", "0.4")]);
    for (fault, meanwhile) in [
        ("disconnect_after_text", None),
        ("hang_after_text", None),
        ("no_status", None),
        ("disconnect_after_text", Some("resume_finished")),
    ] {
        for stream in [false, true] {
            deepseek.control().fault(fault, 1).unwrap();
            if let Some(meanwhile) = meanwhile {
                deepseek.control().fault(meanwhile, 1).unwrap();
            }
            let (text, thoughts) = if stream {
                let reply = hive.stream("deepseek-chat", ASK).await;
                assert!(reply.is_done(), "{fault}: {}", reply.text);
                (
                    reply.streamed("content"),
                    reply.streamed("reasoning_content"),
                )
            } else {
                let reply = hive.ask("deepseek-chat", ASK).await;
                assert_eq!(reply.finish(), "stop", "{fault}");
                let thoughts = reply.message()["reasoning_content"].clone();
                (reply.content(), thoughts.as_str().unwrap().to_owned())
            };
            assert_eq!(
                (text.as_str(), thoughts.as_str()),
                (WORDS, "先想想"),
                "{fault}"
            );
            let calls = (
                deepseek.control().calls("ask").len(),
                deepseek.control().calls("resume").len(),
            );
            assert_eq!(calls, (1, 1), "{fault}");
            settled(&deepseek.control(), SOON).await;
            assert_no_violations(&deepseek.control());
            deepseek.reset();
        }
    }
}

#[actix_web::test]
async fn an_answer_is_resumed_once_and_then_stays_broken() {
    let deepseek = today();
    for again in ["resume_refused", "disconnect_after_text"] {
        let hive = Hive::start(&[&deepseek], &[("STALL_TIMEOUT", "0.4")]);
        deepseek
            .control()
            .fault("disconnect_after_text", 1)
            .unwrap();
        deepseek.control().order(order(again, "resume")).unwrap();
        let reply = hive.stream("deepseek-chat", ASK).await;
        assert!(
            WORDS.starts_with(&reply.streamed("content")),
            "{}",
            reply.text
        );
        assert!(
            reply.stream_error().is_some() && !reply.is_done(),
            "{again}: {}",
            reply.text
        );
        assert_eq!(deepseek.control().calls("resume").len(), 1, "{again}");
        settled(&deepseek.control(), SOON).await;
        deepseek.reset();
    }
    // Before any text there is nothing to resume: the question is asked anew.
    let hive = Hive::start(&[&deepseek], &[]);
    deepseek
        .control()
        .fault("disconnect_before_text", 1)
        .unwrap();
    assert_eq!(
        hive.ask("deepseek-chat", "echo:fine").await.content(),
        "fine"
    );
    assert!(deepseek.control().calls("resume").is_empty());
    settled(&deepseek.control(), SOON).await;
    assert_no_violations(&deepseek.control());
}

/// Waits until a question carries both values of the side channels.
async fn carries_both(hive: &Hive, deepseek: &Running) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        hive.ask("deepseek-chat", "echo:x").await;
        let calls = deepseek.control().calls("ask");
        let params = &calls.last().unwrap().params;
        if params.contains_key("x-hif-leim") && params.contains_key("x-hif-dliq") {
            return true;
        }
    }
    false
}

#[actix_web::test]
async fn the_side_channels_go_along_while_they_are_fresh() {
    let deepseek = today();
    deepseek.control().fault("hif_short_ttl", 2).unwrap();
    let hive = Hive::start(&[&deepseek], &[]);
    assert!(carries_both(&hive, &deepseek).await);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(carries_both(&hive, &deepseek).await, "renewed");
    settled(&deepseek.control(), SOON).await;
    assert_no_violations(&deepseek.control());
    // One that cannot be had is left out, and asked for ever less often.
    deepseek.reset();
    deepseek.control().fault("http_500", 0).unwrap();
    let off = [("DEEPSEEK_HIF_DLIQ_BASE_URL", "off")];
    deepseek.control().clear_faults();
    deepseek
        .control()
        .order(Order {
            times: Some(0),
            ..order("http_500", "hif")
        })
        .unwrap();
    let hive = Hive::start(&[&deepseek], &off);
    for _ in 0..5 {
        assert_eq!(
            hive.ask("deepseek-chat", "echo:fine").await.content(),
            "fine"
        );
    }
    assert!(deepseek.control().calls("hif").len() <= 2);
    assert!(deepseek.control().calls("hif_dliq").is_empty());
    settled(&deepseek.control(), SOON).await;
}

#[actix_web::test]
async fn a_picture_waits_for_the_first_values() {
    let deepseek = today();
    let hive = Hive::start(&[&deepseek], &[]);
    let content = json!([{"type": "text", "text": "echo:seen"}, {"type": "image_url", "image_url": {"url": PIXEL}}]);
    let body =
        json!({"model": "deepseek-chat", "messages": [{"role": "user", "content": content}]});
    assert_eq!(hive.post(&body).await.content(), "seen");
    let params = &deepseek.control().calls("ask")[0].params;
    assert!(
        params.contains_key("x-hif-leim") && params.contains_key("x-hif-dliq"),
        "{params:?}"
    );
    settled(&deepseek.control(), SOON).await;
    assert_no_violations(&deepseek.control());
}

#[actix_web::test]
async fn the_device_is_checked_once_where_that_is_wanted() {
    for fault in ["", "rotate_text", "rotate_object", "check_device_refused"] {
        let deepseek = today();
        if !fault.is_empty() {
            deepseek.control().fault(fault, 1).unwrap();
        }
        let hive = Hive::start(&[&deepseek], &[("DEEPSEEK_CHECK_DEVICE", "on")]);
        let asks = (0..3).map(|_| hive.ask("deepseek-chat", "echo:fine"));
        for reply in futures_util::future::join_all(asks).await {
            assert_eq!(reply.content(), "fine", "{fault}");
        }
        assert_eq!(deepseek.control().calls("check_device").len(), 1, "{fault}");
        settled(&deepseek.control(), SOON).await;
        assert_no_violations(&deepseek.control());
    }
    let deepseek = today();
    let hive = Hive::start(&[&deepseek], &[]);
    hive.ask("deepseek-chat", "echo:fine").await;
    assert!(deepseek.control().calls("check_device").is_empty());
}

#[actix_web::test]
async fn questions_of_one_account_keep_their_pace() {
    let deepseek = today();
    let hive = Hive::start(&[&deepseek], &[("DEEPSEEK_PAUSE_SECONDS", "0.3")]);
    let started = Instant::now();
    let asks = (0..3).map(|_| hive.ask("deepseek-chat", "echo:fine"));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.content(), "fine");
    }
    assert!(started.elapsed() >= Duration::from_millis(600));
}

#[actix_web::test]
async fn a_service_that_changes_its_generation_is_answered_in_each() {
    let deepseek = simulator("deepseek", 1);
    let hive = Hive::start(&[&deepseek], &[]);
    for generation in ["v2.0", "v2.5", "v2.0"] {
        deepseek.control().set_generation(generation).unwrap();
        for model in [
            "deepseek-v4-flash",
            "deepseek-v4-pro",
            "deepseek-v4-pro-search",
            "deepseek-expert",
        ] {
            let reply = hive.ask(model, "echo:fine").await;
            assert_eq!(reply.content(), "fine", "{generation} {model}");
        }
        settled(&deepseek.control(), SOON).await;
    }
}
