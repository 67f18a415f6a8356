//! Qwen's chat2 generation, wire/qwen.md section 11, alone and in turn with the older one.

use std::time::Duration;

use hive2api_simulators::{Running, Script};
use serde_json::json;

use crate::support::{
    Hive, PIXEL, SOON, assert_no_violations, fifty_streams_do_not_mix, odd_script, question,
    settled, simulator,
};

const NASTY: &str = "data: [DONE]\n\ndata: {\"x\":1}\r\n\tq\"\\ \u{2028}\u{2029}\u{200B}\u{FEFF}👩‍👩‍👧‍👦👋🏽 ```js\n</think> 中文 \u{1F469}\u{0301} é\u{0301} \u{FFFD}x";

/// The service as it is today, and nothing else.
fn today(accounts: usize) -> Running {
    let qwen = simulator("qwen", accounts);
    qwen.control().set_generation("chat2").unwrap();
    qwen
}

fn calls(qwen: &Running, step: &str) -> usize {
    qwen.control().calls(step).len()
}

#[actix_web::test]
async fn answers_in_one_piece_and_streamed_with_one_registration() {
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[]);
    for text in [
        NASTY,
        "你好",
        "line\n\n\nline",
        " leading and trailing ",
        "x",
    ] {
        let ask = format!("echo:{text}");
        let whole = hive.ask("qwen3.8-max", &ask).await;
        assert_eq!(
            (whole.content().as_str(), whole.finish().as_str()),
            (text, "stop")
        );
        let streamed = hive.stream("qwen3.8-max", &ask).await;
        assert_eq!(streamed.streamed("content"), text);
        assert!(streamed.is_done());
    }
    let asked = qwen.control().calls("ask");
    assert!(
        asked
            .iter()
            .all(|call| call.model.as_deref() == Some("Qwen3.8-Max"))
    );
    assert_eq!(
        (
            asked.len(),
            calls(&qwen, "register"),
            calls(&qwen, "refresh")
        ),
        (10, 1, 0)
    );
    settled(&qwen.control(), SOON).await;
    assert_no_violations(&qwen.control());
}

#[actix_web::test]
async fn thinks_and_searches_with_one_switch() {
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[]);
    let answer = hive
        .ask("qwen3.8-max-thinking", "think:先想想 echo:42")
        .await;
    assert_eq!(
        (
            answer.message()["reasoning_content"].as_str(),
            answer.content().as_str()
        ),
        (Some("先想想"), "42"),
        "{}",
        answer.text
    );
    let mut body = question("qwen3-max", "cite:2 echo:found");
    body["web_search_options"] = json!({});
    let answer = hive.post(&body).await;
    let annotations = answer.message()["annotations"].as_array().unwrap().clone();
    assert_eq!(annotations.len(), 2, "{}", answer.text);
    hive.ask("qwen-max", "plain").await;
    let models: Vec<_> = qwen
        .control()
        .calls("ask")
        .iter()
        .map(|call| call.model.clone().unwrap())
        .collect();
    assert_eq!(models, ["Qwen3.8-Max", "Qwen3-Max", "Qwen"]);
    assert_no_violations(&qwen.control());
}

#[actix_web::test]
async fn salts_are_refreshed_before_they_run_out_and_one_registration_serves_all() {
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[("QWEN_MAX_CONCURRENCY", "50")]);
    fifty_streams_do_not_mix(&hive, "qwen-plus", "").await;
    fifty_streams_do_not_mix(&hive, "qwen-plus", "").await;
    assert_eq!(calls(&qwen, "register"), 1);
    assert!(calls(&qwen, "refresh") >= 1);
    assert_no_violations(&qwen.control());
    // Few at once, or not for long: refreshed at the next question.
    for fault in ["few_salts", "short_deadline"] {
        let qwen = today(1);
        qwen.control().fault(fault, 1).unwrap();
        let hive = Hive::start(&[&qwen], &[]);
        for text in ["one", "two", "three"] {
            assert_eq!(
                hive.ask("qwen-plus", &format!("echo:{text}"))
                    .await
                    .content(),
                text
            );
        }
        assert_eq!(
            (calls(&qwen, "register"), calls(&qwen, "refresh")),
            (1, 1),
            "{fault}"
        );
        assert_no_violations(&qwen.control());
    }
    // A refused refresh leaves the salts that there are.
    let qwen = today(1);
    qwen.control().fault("few_salts", 1).unwrap();
    qwen.control().fault("refresh_refused", 0).unwrap();
    let hive = Hive::start(&[&qwen], &[]);
    for text in ["one", "two", "three"] {
        assert_eq!(
            hive.ask("qwen-plus", &format!("echo:{text}"))
                .await
                .content(),
            text
        );
    }
    assert_eq!((calls(&qwen, "register"), calls(&qwen, "refresh")), (1, 1));
}

#[actix_web::test]
async fn a_refused_registration_is_told_and_paused() {
    let qwen = today(1);
    for fault in ["register_refused", "no_salts"] {
        qwen.reset();
        qwen.control().set_generation("chat2").unwrap();
        qwen.control().fault(fault, 0).unwrap();
        let hive = Hive::start(&[&qwen], &[]);
        let reply = hive.ask("qwen-plus", "hello").await;
        assert_eq!(
            reply.error(),
            (
                502,
                "upstream_error".to_owned(),
                "upstream_signing_unavailable".to_owned()
            ),
            "{fault}: {}",
            reply.text
        );
        hive.ask("qwen-plus", "hello").await;
        assert!(
            calls(&qwen, "register") <= 2,
            "{fault}: no pause between registrations"
        );
        assert_eq!(calls(&qwen, "ask"), 0);
        qwen.control().clear_faults();
        tokio::time::sleep(Duration::from_millis(2200)).await;
        assert_eq!(
            hive.ask("qwen-plus", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
    }
}

#[actix_web::test]
async fn every_fault_before_the_text_is_an_honest_status() {
    let qwen = today(1);
    for (fault, status, kind, code) in [
        ("not_login", 502, "upstream_error", "upstream_auth_expired"),
        (
            "login_ticket_invalid",
            502,
            "upstream_error",
            "upstream_auth_expired",
        ),
        ("ex015", 502, "upstream_error", "upstream_auth_expired"),
        ("csrf", 502, "upstream_error", "upstream_auth_expired"),
        (
            "captcha",
            502,
            "upstream_error",
            "upstream_verification_required",
        ),
        (
            "captcha_page",
            502,
            "upstream_error",
            "upstream_verification_required",
        ),
        (
            "refusal_sentence",
            502,
            "upstream_error",
            "upstream_refused_in_words",
        ),
        (
            "rate_limited",
            429,
            "rate_limit_error",
            "upstream_rate_limited",
        ),
        (
            "too_many_requests",
            429,
            "rate_limit_error",
            "upstream_rate_limited",
        ),
        ("system_busy", 502, "upstream_error", "upstream_unavailable"),
        (
            "system_busy_text",
            502,
            "upstream_error",
            "upstream_unavailable",
        ),
        (
            "moderated_before_text",
            400,
            "invalid_request_error",
            "content_filter",
        ),
        ("empty", 502, "upstream_error", "upstream_empty_response"),
        (
            "empty_body",
            502,
            "upstream_error",
            "upstream_empty_response",
        ),
        (
            "no_content",
            502,
            "upstream_error",
            "upstream_empty_response",
        ),
        ("garbage", 502, "upstream_error", "upstream_bad_stream"),
        (
            "unknown_error_code",
            502,
            "upstream_error",
            "upstream_protocol_error",
        ),
        ("param_error", 502, "upstream_error", "upstream_bad_request"),
        ("http_401", 502, "upstream_error", "upstream_auth_expired"),
        ("http_500", 502, "upstream_error", "upstream_unavailable"),
        ("http_502", 502, "upstream_error", "upstream_unavailable"),
        (
            "disconnect_before_headers",
            502,
            "upstream_error",
            "upstream_unavailable",
        ),
        (
            "disconnect_before_text",
            502,
            "upstream_error",
            "upstream_unavailable",
        ),
        (
            "hang_before_headers",
            504,
            "upstream_error",
            "upstream_timeout",
        ),
        (
            "hang_before_text",
            504,
            "upstream_error",
            "upstream_timeout",
        ),
    ] {
        for stream in [false, true] {
            // A worker each: a refused credential stays refused.
            let hive = Hive::start(&[&qwen], &[("STALL_TIMEOUT", "0.4")]);
            qwen.reset();
            qwen.control().set_generation("chat2").unwrap();
            qwen.control().fault(fault, 0).unwrap();
            let mut body = question("qwen-plus", "hello");
            body["stream"] = json!(stream);
            let reply = hive.post(&body).await;
            assert_eq!(
                reply.error(),
                (status, kind.to_owned(), code.to_owned()),
                "{fault}: {}",
                reply.text
            );
            assert!(!reply.text.contains("稍后"), "{fault}: {}", reply.text);
            let asked = calls(&qwen, "ask");
            match code {
                "upstream_empty_response" => assert_eq!(asked, 2, "{fault}"),
                "upstream_verification_required" => {
                    assert_eq!(asked, 1, "{fault}");
                    assert!(reply.header("retry-after").parse::<u64>().unwrap() > 290);
                }
                _ => {}
            }
            settled(&qwen.control(), SOON).await;
            assert_no_violations(&qwen.control());
        }
    }
}

#[actix_web::test]
async fn faults_after_the_text_are_told_in_the_stream() {
    let qwen = today(1);
    for fault in ["disconnect_after_text", "hang_after_text"] {
        let hive = Hive::start(&[&qwen], &[("STALL_TIMEOUT", "0.4")]);
        qwen.control().fault(fault, 1).unwrap();
        let reply = hive
            .stream("qwen-plus", "echo:one two three four five six seven")
            .await;
        assert!(!reply.streamed("content").is_empty());
        assert_eq!(
            reply.stream_error().unwrap()["type"],
            "upstream_error",
            "{}",
            reply.text
        );
        settled(&qwen.control(), SOON).await;
    }
    let hive = Hive::start(&[&qwen], &[]);
    qwen.control().fault("moderated_after_text", 1).unwrap();
    let answer = hive.ask("qwen-plus", "echo:one two three").await;
    assert_eq!(answer.finish(), "content_filter");
}

#[actix_web::test]
async fn passing_faults_are_tried_again_and_the_client_sees_none_of_it() {
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[]);
    for fault in [
        "http_500",
        "system_busy",
        "system_busy_text",
        "refusal_sentence",
        "no_content",
        "disconnect_before_text",
    ] {
        qwen.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.stream("qwen-plus", "echo:fine")
                .await
                .streamed("content"),
            "fine",
            "{fault}"
        );
    }
    // What looked like a wrong signature was a reason to register anew, once.
    assert_eq!(calls(&qwen, "register"), 2);
    assert_no_violations(&qwen.control());
}

/// Three equal answers to different questions are what a wrong signature gets; a model may say so as well.
#[actix_web::test]
async fn a_sentence_that_answers_everything_is_a_reason_to_register_anew() {
    let script = |text: &str| Script {
        text: Some(text.to_owned()),
        times: Some(0),
        ..Script::default()
    };
    // A label is no sentence; a sentence is shown in the end.
    for (text, registered, asked) in [("positive", 1, 5), ("这个问题我现在回答不了。", 2, 5)]
    {
        let qwen = today(1);
        let hive = Hive::start(&[&qwen], &[]);
        qwen.control().script(script(text)).unwrap();
        for at in 0..5 {
            let answer = hive.ask("qwen-plus", &format!("question {at}")).await;
            assert_eq!(answer.content(), text);
        }
        assert_eq!(
            (calls(&qwen, "register"), calls(&qwen, "ask")),
            (registered, asked),
            "{text}"
        );
    }
    // One that reads like an apology stays one.
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[]);
    qwen.control().script(script("非常抱歉，服务异常")).unwrap();
    for at in 0..2 {
        hive.ask("qwen-plus", &format!("question {at}")).await;
    }
    let reply = hive.ask("qwen-plus", "question 3").await;
    assert_eq!(reply.error().2, "upstream_refused_in_words");
}

#[actix_web::test]
async fn odd_streams_decode_to_the_same_text() {
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[]);
    for quirk in qwen.control().known_quirks() {
        for write_bytes in [None, Some(1), Some(7)] {
            let text = "一二三四五六七八九十 👋🏽 done";
            let script = odd_script(text, quirk, write_bytes);
            qwen.control().script(script).unwrap();
            let whole = hive.ask("qwen3.8-max-thinking", "x").await;
            assert_eq!(whole.content(), text, "{quirk}");
            let streamed = hive.stream("qwen3.8-max-thinking", "x").await;
            assert!(streamed.is_done(), "{quirk}");
            if !quirk.contains("rewrite") {
                assert_eq!(streamed.streamed("content"), text, "{quirk}");
                assert_eq!(
                    streamed.streamed("reasoning_content").replace("\n\n", ""),
                    "想一想",
                    "{quirk}"
                );
            }
        }
    }
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_upstream_call_and_its_conversation_is_deleted() {
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[]);
    hive.stream_and_leave("qwen-plus", "pace:20 count:10000")
        .await;
    settled(&qwen.control(), SOON).await;
    assert!(qwen.control().calls("ask")[0].aborted);
    assert_eq!(qwen.control().state().deleted, 1);
    let hive = Hive::start(&[&qwen], &[("QWEN_DELETE_SESSION", "false")]);
    hive.ask("qwen-plus", "hello").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(qwen.control().state().conversations, 1);
    assert_no_violations(&qwen.control());
}

#[actix_web::test]
async fn pictures_go_along_and_documents_do_not() {
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[]);
    let ask = |part: serde_json::Value| {
        let message = json!([{"type": "text", "text": "echo:seen"}, part]);
        json!({"model": "qwen3.8-max", "messages": [{"role": "user", "content": message}]})
    };
    let picture = || ask(json!({"type": "image_url", "image_url": {"url": PIXEL}}));
    for fault in [None, Some("no_cdn_url")] {
        if let Some(fault) = fault {
            qwen.control().fault(fault, 1).unwrap();
        }
        let reply = hive.post(&picture()).await;
        assert_eq!(reply.content(), "seen", "{:#?}", qwen.control().log());
    }
    assert_eq!(calls(&qwen, "register"), 1);
    assert_no_violations(&qwen.control());
    for (fault, code) in [
        ("put_refused", "file_rejected"),
        ("callback_refused", "file_rejected"),
        ("oss_token_refused", "upstream_protocol_error"),
    ] {
        qwen.control().fault(fault, 0).unwrap();
        assert_eq!(hive.post(&picture()).await.error().2, code, "{fault}");
        qwen.control().clear_faults();
    }
    let document = json!({"type": "file", "file": {"filename": "notes.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}});
    let reply = hive.post(&ask(document)).await;
    assert_eq!(
        (reply.status, reply.error().2.as_str()),
        (400, "file_rejected")
    );
}

/// A service that changes its generation while the worker runs, there and back.
#[actix_web::test]
async fn follows_a_service_that_changes_its_generation() {
    let qwen = today(1);
    let hive = Hive::start(&[&qwen], &[]);
    for (generation, steps) in [
        ("chat2", 0),
        ("dialog", 1),
        ("dialog", 0),
        ("chat2", 1),
        ("both", 0),
        ("dialog", 1),
    ] {
        qwen.control().set_generation(generation).unwrap();
        let before = qwen.control().log().len();
        for stream in [false, true] {
            let mut body = question("qwen3.8-max", "echo:fine");
            body["model"] = json!("qwen3-max");
            body["stream"] = json!(stream);
            let reply = hive.post(&body).await;
            let text = if stream {
                reply.streamed("content")
            } else {
                reply.content()
            };
            assert_eq!(text, "fine", "{generation}");
        }
        settled(&qwen.control(), SOON).await;
        // The one that is gone is asked once, not with every question.
        let log = qwen.control().log();
        let gone = log[before..].iter().filter(|call| !call.ok).count();
        assert_eq!(gone, steps, "{generation}: {:#?}", &log[before..]);
    }
    // Told to speak one of them, it does not try the other.
    for (protocol, other) in [("chat2", "dialog"), ("dialog", "chat2")] {
        qwen.control().set_generation(other).unwrap();
        let hive = Hive::start(&[&qwen], &[("QWEN_PROTOCOL", protocol)]);
        assert_eq!(
            hive.ask("qwen3-max", "hello").await.status,
            502,
            "{protocol}"
        );
        qwen.control().set_generation(protocol).unwrap();
        assert_eq!(hive.ask("qwen3-max", "echo:fine").await.content(), "fine");
    }
}
