//! Qwen's international site, wire/qwen_intl.md.

use std::time::{Duration, Instant};

use hive2api_simulators::{Running, Script, control::Control};
use hive2api_worker::{
    providers::Messenger,
    upstream::{Client, Timeouts},
};
use serde_json::{Value, json};

use crate::support::{Hive, PIXEL, SOON, assert_no_violations, question, settled, simulator};

const MODEL: &str = "qwen3.7-plus";
pub(crate) fn count(control: &Control, step: &str) -> usize {
    control.calls(step).len()
}

/// Everything upstream is over, and nobody has complained.
pub(crate) async fn calm(intl: &Running) {
    settled(&intl.control(), SOON).await;
    assert_no_violations(&intl.control());
}

/// A worker that has one of the simulator's accounts.
fn with_account(intl: &Running, number: usize, more: &[(&str, &str)]) -> Hive {
    let ends_with = |name: &str| {
        let end = name.rsplit('_').next().unwrap();
        end.parse::<usize>().unwrap_or(1) == number
    };
    let env = intl.env();
    let own = env
        .iter()
        .filter(|(name, _)| ends_with(name) || name.ends_with("_URL"))
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> = own.chain(more.iter().copied()).collect();
    Hive::start(&[], &all)
}

pub(crate) fn with_picture(model: &str, text: &str, url: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": [
        {"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]}]})
}

#[actix_web::test]
async fn thinks_and_searches_when_asked() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    for quirks in [&[][..], &["summary"]] {
        let script = Script {
            reasoning: Some("先想想".to_owned()),
            piece_chars: Some(9),
            quirks: quirks.iter().map(|it| (*it).to_owned()).collect(),
            ..Script::default()
        };
        intl.control().script(script).unwrap();
        let answer = hive.ask("qwen3.7-plus-thinking", "echo:42").await;
        let message = answer.message();
        assert_eq!(message["reasoning_content"], "先想想", "{}", answer.text);
        assert_eq!(message["content"], "42");
    }
    let mut body = question(MODEL, "cite:2 echo:found");
    body["web_search_options"] = json!({});
    for quirks in [&[][..], &["older_search"]] {
        let script = Script {
            quirks: quirks.iter().map(|it| (*it).to_owned()).collect(),
            ..Script::default()
        };
        intl.control().script(script).unwrap();
        let found = hive.post(&body).await;
        let annotations = found.message()["annotations"].clone();
        assert_eq!(
            annotations.as_array().map(Vec::len),
            Some(2),
            "{}",
            found.text
        );
    }
    let mut body = question("qwen3-vl-plus-thinking-search", "echo:x");
    body["thinking_budget"] = json!(4096);
    let both = hive.post(&body).await;
    assert!(both.message()["reasoning_content"].is_string());
    let asked = intl.control().calls("ask");
    let kinds: Vec<&Value> = asked.iter().map(|call| &call.params["kind"]).collect();
    assert_eq!(kinds, ["t2t", "t2t", "search", "search", "search"]);
    assert_eq!(asked[4].params["thinking"], true);
    assert_eq!(asked[4].params["thinking_budget"], 4096);
    calm(&intl).await;
}

#[actix_web::test]
async fn the_stream_may_be_odd() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    for quirk in intl.control().known_quirks() {
        // That would be another question's answer.
        if *quirk == "snapshots" {
            continue;
        }
        let script = Script {
            quirks: vec![(*quirk).to_owned()],
            times: Some(2),
            ..Script::default()
        };
        intl.control().script(script).unwrap();
        let text = "哈哈哈哈 one two three 👋🏽";
        let ask = format!("echo:{text}");
        let whole = hive.ask("qwen3.7-plus-thinking", &ask).await;
        assert_eq!(whole.content(), text, "{quirk}");
        assert!(whole.json()["usage"]["completion_tokens"].as_u64() > Some(1));
        let streamed = hive.stream("qwen3.7-plus-thinking", &ask).await;
        assert_eq!(streamed.streamed("content"), text, "{quirk}");
        assert!(streamed.is_done(), "{quirk}");
    }
    // A clean end of the body is the end of the answer, except within an event.
    intl.control().fault("cut_off", 1).unwrap();
    let cut = hive.stream(MODEL, "echo:one two three").await;
    assert!(cut.is_done() && !cut.streamed("content").is_empty());
    intl.control().fault("cut_in_frame", 1).unwrap();
    let cut = hive.stream(MODEL, "echo:one two three").await;
    assert!(cut.stream_error().is_some(), "{}", cut.text);
    calm(&intl).await;
}

/// The whole conversation is one message.
#[actix_web::test]
async fn the_history_is_a_transcript() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    let body = json!({"model": MODEL, "messages": [
        {"role": "system", "content": "be brief"}, {"role": "user", "content": "a\n\nb"},
        {"role": "assistant", "content": "c"}, {"role": "user", "content": "echo:d"}]});
    assert_eq!(hive.post(&body).await.content(), "d");
    let call = intl.control().calls("ask").remove(0);
    assert_eq!(
        call.prompt.as_deref(),
        Some("system:be brief\n\nuser:a\n\nb\n\nassistant:c\n\nuser:echo:d")
    );
    calm(&intl).await;
}

/// Section 8: what is told of each refusal.
#[actix_web::test]
async fn every_refusal_has_its_error() {
    for (fault, status, code) in [
        ("unauthorized", 502, "upstream_auth_expired"),
        ("unauthorized_401", 502, "upstream_auth_expired"),
        ("rate_limited", 429, "upstream_rate_limited"),
        ("rate_limited_retry_after", 429, "upstream_rate_limited"),
        ("quota_spent", 429, "upstream_rate_limited"),
        ("quota_spent_flat", 429, "upstream_rate_limited"),
        ("quota_spent_frame", 429, "upstream_rate_limited"),
        ("too_many_frame", 429, "upstream_rate_limited"),
        ("allocated_frame", 429, "upstream_rate_limited"),
        ("internal", 502, "upstream_protocol_error"),
        ("model_not_found", 404, "model_not_found"),
        ("model_unavailable", 404, "model_not_found"),
        ("verification", 502, "upstream_verification_required"),
        ("verification_frame", 502, "upstream_verification_required"),
        ("firewall", 502, "upstream_verification_required"),
        ("inspected_before_text", 400, "content_filter"),
        ("chat_not_found", 502, "upstream_unavailable"),
        ("not_exist", 502, "upstream_unavailable"),
        ("overloaded", 502, "upstream_unavailable"),
        ("strange", 502, "upstream_unavailable"),
        ("empty", 502, "upstream_unavailable"),
        ("empty_body", 502, "upstream_unavailable"),
        ("garbage", 502, "upstream_protocol_error"),
    ] {
        let intl = simulator("qwen_intl", 1);
        let hive = Hive::start(&[&intl], &[("STALL_TIMEOUT", "5")]);
        for streamed in [false, true] {
            intl.control().fault(fault, 0).unwrap();
            let reply = if streamed {
                hive.stream(MODEL, "hello").await
            } else {
                hive.ask(MODEL, "hello").await
            };
            let (was, _, said) = reply.error();
            assert_eq!(
                (was, said.as_str()),
                (status, code),
                "{fault}: {}",
                reply.text
            );
            if fault.starts_with("quota_spent") && !streamed {
                assert_eq!(reply.header("retry-after"), "25200", "{fault}");
            }
            intl.control().clear_faults();
            // With a void token, nothing can be deleted.
            if !fault.starts_with("unauthorized") {
                settled(&intl.control(), SOON).await;
                assert_no_violations(&intl.control());
            }
        }
    }
}

#[actix_web::test]
async fn what_goes_wrong_after_text_is_told_in_the_stream() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    intl.control().fault("inspected_after_text", 1).unwrap();
    let filtered = hive.stream(MODEL, "echo:one two three four").await;
    assert!(
        filtered
            .text
            .contains(r#""finish_reason":"content_filter""#)
            && filtered.is_done(),
        "{}",
        filtered.text
    );
    intl.control().fault("error_after_text", 1).unwrap();
    let broken = hive.stream(MODEL, "echo:one two three four").await;
    let error = broken.stream_error().unwrap();
    assert!(error["message"].as_str().unwrap().contains("Something_New"));
    calm(&intl).await;
}

/// What the service refuses for a moment is asked again in the same chat (section 8).
#[actix_web::test]
async fn a_moments_refusal_is_met_in_the_same_chat() {
    for (fault, at_least) in [
        ("internal", 700),
        ("in_progress", 1900),
        ("in_progress_code", 1900),
        ("in_progress_frame", 1900),
    ] {
        let intl = simulator("qwen_intl", 1);
        let hive = Hive::start(&[&intl], &[]);
        intl.control().fault(fault, 1).unwrap();
        let since = Instant::now();
        assert_eq!(
            hive.ask(MODEL, "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
        assert!(
            since.elapsed() >= Duration::from_millis(at_least),
            "{fault}"
        );
        let control = intl.control();
        assert_eq!((count(&control, "create"), count(&control, "ask")), (1, 2));
        calm(&intl).await;
    }
}

#[actix_web::test]
async fn a_chat_that_stays_at_work_is_given_up() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    intl.control().fault("in_progress", 0).unwrap();
    let (status, _, code) = hive.ask(MODEL, "x").await.error();
    assert_eq!((status, code.as_str()), (502, "upstream_unavailable"));
    assert_eq!(count(&intl.control(), "ask"), 3);
    calm(&intl).await;
}

#[actix_web::test]
async fn a_lost_chat_is_replaced_once() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    for fault in ["chat_not_found", "not_exist"] {
        intl.control().fault(fault, 1).unwrap();
        assert_eq!(hive.ask(MODEL, "echo:fine").await.content(), "fine");
    }
    let control = intl.control();
    assert_eq!((count(&control, "create"), count(&control, "ask")), (4, 4));
    calm(&intl).await;
    // What is not there is not deleted.
    assert_eq!(count(&control, "delete"), 2);
}

#[actix_web::test]
async fn either_header_is_enough_and_a_login_makes_both() {
    for (number, logins) in [(1, 0), (2, 0), (3, 1)] {
        let intl = simulator("qwen_intl", 3);
        let hive = with_account(&intl, number, &[]);
        for _ in 0..2 {
            assert_eq!(hive.ask(MODEL, "echo:x").await.content(), "x", "{number}");
        }
        let control = intl.control();
        assert_eq!(count(&control, "signin"), logins);
        assert!(
            control
                .calls("ask")
                .iter()
                .all(|call| call.account == Some(number))
        );
        calm(&intl).await;
    }
}

#[actix_web::test]
async fn a_refused_token_is_replaced_by_a_login() {
    for generation in ["v1", "v2"] {
        let intl = simulator("qwen_intl", 3);
        intl.control().set_generation(generation).unwrap();
        let hive = with_account(&intl, 3, &[]);
        assert_eq!(hive.ask(MODEL, "echo:x").await.content(), "x");
        intl.control().fault("unauthorized", 1).unwrap();
        assert_eq!(hive.ask(MODEL, "echo:y").await.content(), "y");
        let logins = intl.control().calls("signin");
        assert_eq!(
            logins.iter().filter(|call| call.ok).count(),
            2,
            "{generation}"
        );
        calm(&intl).await;
    }
}

#[actix_web::test]
async fn a_login_that_is_refused_is_not_tried_again() {
    for (fault, code) in [
        ("login_refused", "upstream_auth_expired"),
        ("login_firewall", "upstream_verification_required"),
    ] {
        let intl = simulator("qwen_intl", 3);
        let hive = with_account(&intl, 3, &[]);
        intl.control().fault(fault, 0).unwrap();
        for _ in 0..2 {
            let (status, _, said) = hive.ask(MODEL, "x").await.error();
            assert_eq!((status, said.as_str()), (502, code));
        }
        assert_eq!(count(&intl.control(), "signin"), 1, "{fault}");
        assert_no_violations(&intl.control());
    }
}

/// Section 2.1: a token that has ended is not sent.
#[actix_web::test]
async fn a_token_that_has_ended_is_told_without_a_call() {
    let intl = simulator("qwen_intl", 1);
    // {"id":"u","exp":1000}
    let ended = "Bearer eyJhbGciOiJIUzI1NiJ9.eyJpZCI6InUiLCJleHAiOjEwMDB9.c2ln";
    let hive = Hive::start(
        &[],
        &[
            ("QWEN_INTL_BASE_URL", &intl.url),
            ("INTL_AUTHORIZATION", ended),
        ],
    );
    let (status, _, code) = hive.ask(MODEL, "x").await.error();
    assert_eq!((status, code.as_str()), (502, "upstream_auth_expired"));
    assert_eq!(count(&intl.control(), "create"), 0);
}

#[actix_web::test]
async fn files_go_to_the_store_and_links_as_they_are() {
    let text = "data:text/plain;base64,aGVsbG8=";
    for (generation, version) in [("v2", "v4"), ("v1", "v1")] {
        let intl = simulator("qwen_intl", 1);
        intl.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&intl], &[("QWEN_INTL_OSS_SIGNATURE", version)]);
        let body = json!({"model": MODEL, "messages": [
            {"role": "user", "content": [
                {"type": "file", "file": {"filename": "日 记.txt", "file_data": text}},
                {"type": "image_url", "image_url": {"url": PIXEL}}]},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": [{"type": "text", "text": "echo:seen"},
                {"type": "image_url", "image_url": {"url": PIXEL}},
                {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}]}]});
        assert_eq!(hive.post(&body).await.content(), "seen");
        let control = intl.control();
        // The picture of the history is left out (section 4.3).
        assert_eq!(control.calls("ask")[0].params["files"], 3);
        let stored = control.calls("store");
        assert_eq!(stored.len(), 2);
        assert!(
            stored
                .iter()
                .all(|call| call.params["signature"] == version)
        );
        calm(&intl).await;
    }
}

#[actix_web::test]
async fn a_refusal_of_the_store_is_met_once_with_new_keys() {
    for fault in ["store_signature", "store_skewed"] {
        let intl = simulator("qwen_intl", 1);
        let hive = Hive::start(&[&intl], &[]);
        let body = with_picture(MODEL, "echo:seen", PIXEL);
        intl.control().fault(fault, 1).unwrap();
        assert_eq!(hive.post(&body).await.content(), "seen", "{fault}");
        assert_eq!(count(&intl.control(), "grant"), 2);
        intl.control().fault(fault, 0).unwrap();
        let (status, _, code) = hive.post(&body).await.error();
        assert_eq!((status, code.as_str()), (502, "upstream_unavailable"));
        assert_eq!(count(&intl.control(), "grant"), 4);
        calm(&intl).await;
    }
}

/// A client that leaves: the answer is stopped by its id, and then the chat is deleted (section 9).
#[actix_web::test]
async fn a_client_that_leaves_stops_the_answer() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    hive.stream_and_leave(MODEL, "pace:20 count:1000").await;
    settled(&intl.control(), SOON).await;
    let steps: Vec<String> = intl
        .control()
        .log()
        .into_iter()
        .map(|call| call.step)
        .filter(|step| matches!(step.as_str(), "ask" | "stop" | "delete"))
        .collect();
    assert_eq!(steps, ["ask", "stop", "delete"]);
    assert_no_violations(&intl.control());
}

#[actix_web::test]
async fn the_sites_own_list_is_offered() {
    let intl = simulator("qwen_intl", 1);
    let hive = Hive::start(&[&intl], &[]);
    let providers = hive.app.registry.providers();
    let provider = providers
        .iter()
        .find(|it| it.name() == "qwen_intl")
        .unwrap();
    for (fault, is_found) in [(Some("models_refused"), false), (None, true)] {
        if let Some(fault) = fault {
            intl.control().fault(fault, 0).unwrap();
        }
        let messenger = Messenger::new("qwen_intl", Client::new(Timeouts::default()));
        provider.upkeep(messenger, 0).await;
        intl.control().clear_faults();
        let listed = hive.get("/v1/models").await.text;
        assert_eq!(listed.contains("\"qwen9-sim-new\""), is_found);
        assert!(listed.contains("\"qwen3.7-plus\"") && listed.contains("\"wanx-v1\""));
    }
    let answer = hive.ask("qwen9-sim-new-thinking", "echo:x").await;
    assert_eq!(answer.content(), "x");
    let asked = intl.control().calls("ask").remove(0);
    assert_eq!(asked.model.as_deref(), Some("qwen9-sim-new"));
    calm(&intl).await;
}
