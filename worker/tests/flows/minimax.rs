//! MiniMax, wire/minimax.md, in each of its generations.

use std::time::Duration;

use hive2api_simulators::{Running, control::Control};
use serde_json::json;

use crate::support::{
    Hive, PIXEL, SOON, assert_no_violations, fifty_streams_do_not_mix, odd_script, question,
    settled, simulator,
};

pub(crate) const GENERATIONS: [&str; 3] = ["cloud", "archon", "matrix"];
/// Polls follow each other sooner than the page's half second, so that tests do not take theirs.
pub(crate) const FAST: (&str, &str) = ("MINIMAX_POLL_INTERVAL_MS", "20");

/// What has broken other gateways: framing, everything outside the BMP, lone marks.
const NASTY: &str = "data: [DONE]\n\ndata: {\"x\":1}\r\n\tq\"\\ \u{2028}\u{2029}\u{200B}\u{FEFF}👩‍👩‍👧‍👦👋🏽 ```js\n</think> 中文 é\u{0301} \u{FFFD}{{{ user:x";

/// Forgets everything, once the deletions that are still under way have arrived.
pub(crate) async fn reset(minimax: &Running) {
    settled(&minimax.control(), SOON).await;
    minimax.reset();
}

pub(crate) fn count(control: &Control, step: &str) -> usize {
    control.calls(step).len()
}

/// A worker that has only the numbered one of the simulator's accounts.
pub(crate) fn hive(minimax: &Running, account: usize, more: &[(&str, &str)]) -> Hive {
    let own = if account == 1 {
        "MINIMAX_TOKEN".to_owned()
    } else {
        format!("MINIMAX_TOKEN_{account}")
    };
    let env = minimax.env();
    let token = &env.iter().find(|(name, _)| *name == own).unwrap().1;
    let mut vars = vec![
        FAST,
        ("MINIMAX_TOKEN", token.as_str()),
        ("MINIMAX_TOKEN_2", ""),
        ("MINIMAX_TOKEN_3", ""),
    ];
    vars.extend(more);
    Hive::start(&[minimax], &vars)
}

/// What is polled for does not stop and fail as streams do, so the contract's own rules do not ask for it.
#[actix_web::test]
async fn the_polled_generation_answers_in_one_piece_and_streamed() {
    let minimax = simulator("minimax", 1);
    minimax.control().set_generation("matrix").unwrap();
    let hive = Hive::start(&[&minimax], &[FAST]);
    let long = "长🙂x ".repeat(2_000);
    for text in [NASTY, "你好", " l\n\n\ni ", "x", "haha", long.trim_end()] {
        let ask = format!("echo:{text}");
        let whole = hive.ask("minimax", &ask).await;
        assert_eq!(
            (whole.content().as_str(), whole.finish().as_str()),
            (text, "stop"),
            "{text}"
        );
        if text.len() < 1000 {
            let streamed = hive.stream("MINIMAX-Auto", &ask).await;
            assert_eq!(streamed.streamed("content"), text, "{text}");
            assert!(streamed.is_done());
        }
    }
    settled(&minimax.control(), SOON).await;
    assert_no_violations(&minimax.control());
}

#[actix_web::test]
async fn many_polled_streams_do_not_mix() {
    let minimax = simulator("minimax", 2);
    minimax.control().set_generation("matrix").unwrap();
    let hive = Hive::start(&[&minimax], &[FAST, ("STALL_TIMEOUT", "20")]);
    fifty_streams_do_not_mix(&hive, "minimax", "").await;
    settled(&minimax.control(), SOON).await;
    assert_no_violations(&minimax.control());
}

#[actix_web::test]
async fn thinks_when_asked() {
    let minimax = simulator("minimax", 1);
    for (generation, model) in [
        ("cloud", "MiniMax-M3-thinking"),
        ("archon", "MiniMax-M3-thinking"),
        ("cloud", "MiniMax-M2.5"),
        ("matrix", "MiniMax-M2.5"),
    ] {
        reset(&minimax).await;
        minimax.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&minimax], &[FAST]);
        let ask = "think:先想想 echo:42";
        let message = hive.ask(model, ask).await.message();
        assert_eq!(
            (
                message["reasoning_content"].as_str(),
                message["content"].as_str()
            ),
            (Some("先想想"), Some("42")),
            "{generation} {model}"
        );
        let streamed = hive.stream(model, ask).await;
        assert_eq!(streamed.streamed("reasoning_content"), "先想想");
        assert_eq!(streamed.streamed("content"), "42");
        settled(&minimax.control(), SOON).await;
        assert_no_violations(&minimax.control());
    }
    minimax.control().set_generation("cloud").unwrap();
    let hive = Hive::start(&[&minimax], &[]);
    let mut body = question("minimax-m3", "echo:x");
    body["reasoning_effort"] = json!("high");
    assert_eq!(hive.post(&body).await.status, 200);
    let asked = minimax.control().calls("ask").pop().unwrap();
    println!("{:?} {:?}", asked.model, asked.params);
    assert_no_violations(&minimax.control());
}

#[actix_web::test]
async fn every_model_is_one_that_the_service_knows() {
    let minimax = simulator("minimax", 1);
    let hive = Hive::start(&[&minimax], &[FAST]);
    let listed = hive.get("/v1/models").await.json();
    let listed: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|model| model["id"].as_str())
        .collect();
    for id in [
        "minimax",
        "minimax-auto",
        "MiniMax-M3",
        "MiniMax-M3-thinking",
        "MiniMax-M2.7",
        "MiniMax-M2.7-highspeed",
        "MiniMax-M2.5",
    ] {
        assert!(listed.contains(&id), "{id} in {listed:?}");
        let reply = hive.ask(id, "echo:fine").await;
        assert_eq!(reply.status, 200, "{id}: {}", reply.text);
    }
    assert_eq!(
        hive.ask("MiniMax-M9", "x").await.error().2,
        "model_not_found"
    );
    settled(&minimax.control(), SOON).await;
    assert_no_violations(&minimax.control());
    // What the list does not have may be had of the matrix generation, if that has it.
    reset(&minimax).await;
    minimax.control().fault("config_short", 0).unwrap();
    let hive = Hive::start(&[&minimax], &[FAST]);
    assert_eq!(hive.ask("MiniMax-M3", "echo:fine").await.content(), "fine");
    let old = hive.ask("MiniMax-M2.5", "echo:fine").await;
    assert_eq!(old.content(), "fine", "{}", old.text);
    let gone = hive.ask("MiniMax-M2.7-highspeed", "x").await;
    assert_eq!(
        (gone.status, gone.error().2.as_str()),
        (404, "model_not_found")
    );
    let only = Hive::start(&[&minimax], &[("MINIMAX_PROTOCOL", "cloud")]);
    assert_eq!(
        only.ask("MiniMax-M2.5", "x").await.error().2,
        "model_not_found"
    );
    // And what only the cloud generation has is not to be had of matrix.
    let only = Hive::start(&[&minimax], &[FAST, ("MINIMAX_PROTOCOL", "matrix")]);
    assert_eq!(
        only.ask("MiniMax-M3", "x").await.error().2,
        "model_not_found"
    );
    settled(&minimax.control(), SOON).await;
    assert_no_violations(&minimax.control());
}

#[actix_web::test]
async fn the_generation_that_answers_is_found_and_remembered() {
    let minimax = simulator("minimax", 1);
    let hive = Hive::start(&[&minimax], &[FAST]);
    for generation in ["cloud", "archon", "matrix", "cloud", "matrix", "both"] {
        reset(&minimax).await;
        minimax.control().set_generation(generation).unwrap();
        for _ in 0..2 {
            let reply = hive.ask("minimax", "echo:fine").await;
            assert_eq!(reply.content(), "fine", "{generation}: {}", reply.text);
        }
        settled(&minimax.control(), SOON).await;
        // What is not there is met once, not once a question.
        let violations = minimax.control().state().violations;
        assert!(violations.len() <= 2, "{generation}: {violations:#?}");
    }
    for protocol in GENERATIONS {
        reset(&minimax).await;
        let hive = Hive::start(&[&minimax], &[FAST, ("MINIMAX_PROTOCOL", protocol)]);
        assert_eq!(hive.ask("minimax", "echo:fine").await.content(), "fine");
        let other = if protocol == "matrix" {
            "cloud"
        } else {
            "matrix"
        };
        settled(&minimax.control(), SOON).await;
        minimax.control().set_generation(other).unwrap();
        let reply = hive.ask("minimax", "echo:fine").await;
        assert_eq!(reply.error().0, 502, "{protocol}: {}", reply.text);
        settled(&minimax.control(), SOON).await;
    }
}

#[actix_web::test]
async fn the_whole_history_and_the_system_prompt_arrive() {
    let minimax = simulator("minimax", 1);
    for generation in GENERATIONS {
        reset(&minimax).await;
        minimax.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&minimax], &[FAST]);
        let body = json!({"model": "minimax", "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "Hello"},
            {"role": "tool", "tool_call_id": "c", "content": "42"},
            {"role": "user", "content": "Why?"},
        ]});
        assert_eq!(hive.post(&body).await.status, 200);
        assert_eq!(
            minimax.control().calls("ask")[0].prompt.as_deref(),
            Some(
                "system:Be brief.\nuser:one\ntwo\nassistant:Hello\nuser:<results-d3h8>\n<result-d3h8>\n42\n</result-d3h8>\n</results-d3h8>\n\nWhy?\nassistant:"
            ),
            "{generation}"
        );
        settled(&minimax.control(), SOON).await;
        assert_no_violations(&minimax.control());
    }
}

#[actix_web::test]
async fn every_fault_is_an_honest_status() {
    let minimax = simulator("minimax", 1);
    let auth = (502, "upstream_error", "upstream_auth_expired");
    let limited = (429, "rate_limit_error", "upstream_rate_limited");
    let unavailable = (502, "upstream_error", "upstream_unavailable");
    let human = (502, "upstream_error", "upstream_verification_required");
    let protocol = (502, "upstream_error", "upstream_protocol_error");
    let moderated = (400, "invalid_request_error", "content_filter");
    let late = (504, "upstream_error", "upstream_timeout");
    let any = ["cloud", "matrix"].as_slice();
    let stream = ["cloud", "archon"].as_slice();
    for (fault, expected, generations) in [
        ("unauthorized", auth, any),
        ("odd_user", auth, any),
        ("login_needed", auth, any),
        ("session_invalid", auth, any),
        ("auth_1004", auth, any),
        ("auth_2049", auth, any),
        ("http_401", auth, any),
        ("invalid_signature", protocol, any),
        ("device_refused", protocol, any),
        ("malformed", protocol, any),
        ("verification", human, any),
        ("busy", limited, any),
        ("chat_running", limited, any),
        ("rate_1002", limited, any),
        ("rate_1039", limited, any),
        ("rate_1041", limited, any),
        ("rate_limited", limited, any),
        ("rate_limited_retry_after", limited, any),
        ("http_429", limited, any),
        ("quota_text", limited, any),
        ("quota_2056", limited, any),
        ("no_resources", limited, any),
        ("payment", limited, any),
        ("quota_1008", limited, any),
        ("moderated_1026", moderated, any),
        ("moderated_1027", moderated, any),
        ("moderated_text", moderated, any),
        ("sandbox", unavailable, any),
        ("rpc_timeout", unavailable, any),
        ("not_prepared", unavailable, any),
        ("unavailable_1000", unavailable, any),
        ("unavailable_1013", unavailable, any),
        ("strange", unavailable, any),
        ("http_500", unavailable, any),
        ("http_502", unavailable, any),
        ("http_503", unavailable, any),
        ("http_504", unavailable, any),
        ("disconnect_before_headers", unavailable, any),
        ("disconnect_before_text", unavailable, stream),
        ("empty", unavailable, any),
        ("garbage", protocol, stream),
        ("error_record", unavailable, stream),
        ("error_finish", unavailable, stream),
        ("quota_record", limited, stream),
        ("sandbox_record", unavailable, stream),
        ("hang_before_headers", late, any),
        // Of a chat whose id never came nobody can ask for the deletion: matrix has no other kind of it.
        ("hang_before_text", late, stream),
        ("poll_502", protocol, &["matrix"]),
        ("poll_refused", protocol, &["matrix"]),
        ("poll_garbage", protocol, &["matrix"]),
        ("session_refused", unavailable, stream),
        ("no_session_id", protocol, stream),
    ] {
        for generation in generations {
            for stream in [false, true] {
                // A worker each: a refused credential stays refused.
                let hive = Hive::start(&[&minimax], &[FAST, ("STALL_TIMEOUT", "0.4")]);
                minimax.reset();
                minimax.control().set_generation(generation).unwrap();
                minimax.control().fault(fault, 0).unwrap();
                let mut body = question("minimax", "hello");
                body["stream"] = json!(stream);
                let reply = hive.post(&body).await;
                let (status, kind, code) = expected;
                let place = format!("{generation} {fault}: {}", reply.text);
                assert_ne!(reply.status, 200, "{place}");
                let error = reply.error();
                assert_eq!(error, (status, kind.to_owned(), code.to_owned()), "{place}");
                if fault.ends_with("retry_after") {
                    let wait: u64 = reply.header("retry-after").parse().unwrap();
                    assert!((5..=7).contains(&wait), "{fault}: {wait}");
                }
                if code == "upstream_auth_expired" {
                    assert!(reply.text.contains("MINIMAX_TOKEN"), "{place}");
                }
                settled(&minimax.control(), Duration::from_secs(8)).await;
                let violations = minimax.control().state().violations;
                assert!(violations.is_empty(), "{place} {violations:#?}");
            }
        }
    }
}

#[actix_web::test]
async fn polls_that_fail_after_the_text_are_told_in_the_stream() {
    let minimax = simulator("minimax", 1);
    for fault in ["cut_off", "poll_stalls"] {
        reset(&minimax).await;
        minimax.control().set_generation("matrix").unwrap();
        let hive = Hive::start(&[&minimax], &[FAST, ("STALL_TIMEOUT", "0.4")]);
        if fault == "cut_off" {
            minimax.control().fault(fault, 1).unwrap();
        }
        let ask = hive.stream(
            "minimax",
            "pace:60 echo:one two three four five six seven eight",
        );
        let stall = async {
            if fault == "poll_stalls" {
                tokio::time::sleep(Duration::from_millis(200)).await;
                minimax.control().fault(fault, 0).unwrap();
            }
        };
        let (reply, ()) = futures_util::future::join(ask, stall).await;
        assert!(
            !reply.streamed("content").is_empty(),
            "{fault}: {}",
            reply.text
        );
        assert!(
            reply.stream_error().is_some() && !reply.is_done(),
            "{fault}: {}",
            reply.text
        );
        minimax.control().clear_faults();
        settled(&minimax.control(), Duration::from_secs(8)).await;
    }
    assert_no_violations(&minimax.control());
}

#[actix_web::test]
async fn what_can_be_mended_is_mended_and_the_client_sees_none_of_it() {
    let minimax = simulator("minimax", 1);
    for generation in ["cloud", "archon"] {
        minimax.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&minimax], &[FAST]);
        for (fault, asked_again) in [
            ("unauthorized", "user_info"),
            ("session_invalid", "session"),
            ("sandbox", "session"),
            ("rpc_timeout", "session"),
            ("sandbox_record", "session"),
            ("not_prepared", "config"),
            ("session_unprepared", "config"),
            ("no_session_id", "agent"),
            ("empty", "session"),
            ("http_502", "session"),
            ("disconnect_before_text", "session"),
            ("archive_refused", "session"),
        ] {
            reset(&minimax).await;
            minimax.control().set_generation(generation).unwrap();
            assert_eq!(hive.ask("minimax", "echo:fine").await.content(), "fine");
            let before = count(&minimax.control(), asked_again);
            minimax.control().fault(fault, 1).unwrap();
            let reply = hive.ask("minimax", "echo:fine").await;
            assert_eq!(reply.content(), "fine", "{generation} {fault}");
            assert!(
                count(&minimax.control(), asked_again) > before,
                "{fault} asks for {asked_again}"
            );
            let within = if fault == "archive_refused" { 8 } else { 2 };
            let _ = within;
            tokio::time::sleep(Duration::from_millis(50)).await;
            minimax.control().clear_faults();
            if fault == "archive_refused" {
                minimax.reset();
            }
        }
        assert_no_violations(&minimax.control());
    }
    // A poll that fails is made again.
    reset(&minimax).await;
    minimax.control().set_generation("matrix").unwrap();
    let hive = Hive::start(&[&minimax], &[FAST]);
    for fault in ["poll_502", "poll_refused", "poll_garbage"] {
        minimax.control().fault(fault, 4).unwrap();
        assert_eq!(
            hive.ask("minimax", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
    }
    settled(&minimax.control(), SOON).await;
    assert_no_violations(&minimax.control());
}

#[actix_web::test]
async fn odd_streams_decode_to_the_same_text() {
    let minimax = simulator("minimax", 1);
    for generation in ["cloud", "matrix"] {
        reset(&minimax).await;
        minimax.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&minimax], &[FAST, ("STALL_TIMEOUT", "10")]);
        for quirk in minimax.control().known_quirks() {
            for write_bytes in [None, Some(1)] {
                let script = odd_script("一二三四五六七八九十 👋🏽 {done}", quirk, write_bytes);
                minimax.control().script(script).unwrap();
                let whole = hive.ask("MiniMax-M2.5", "x").await;
                let streamed = hive.stream("MiniMax-M2.5", "x").await;
                assert!(streamed.is_done(), "{generation} {quirk}");
                // What was said is not taken back; a whole answer is what the service has in the end.
                assert!(
                    *quirk == "rewritten" || whole.content() == streamed.streamed("content"),
                    "{generation} {quirk}: {}",
                    streamed.text
                );
                // Two messages of one answer stand apart.
                let text = whole.content().replace("\n\n", "");
                assert!(
                    text.ends_with("一二三四五六七八九十 👋🏽 {done}"),
                    "{generation} {quirk}: {}",
                    whole.text
                );
                assert!(
                    streamed.streamed("reasoning_content").contains("想一想"),
                    "{generation} {quirk}: {}",
                    streamed.text
                );
            }
        }
        settled(&minimax.control(), SOON).await;
        assert_no_violations(&minimax.control());
    }
}

#[actix_web::test]
async fn pictures_and_documents_go_along() {
    let minimax = simulator("minimax", 1);
    for generation in GENERATIONS {
        reset(&minimax).await;
        minimax.control().set_generation(generation).unwrap();
        let hive = Hive::start(&[&minimax], &[FAST]);
        let message = json!([
            {"type": "text", "text": "echo:seen"},
            {"type": "image_url", "image_url": {"url": PIXEL}},
            {"type": "file", "file": {"filename": "notes.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}},
        ]);
        let body = json!({"model": "minimax", "messages": [{"role": "user", "content": message}]});
        let reply = hive.post(&body).await;
        let violations = minimax.control().state().violations;
        assert_eq!(
            reply.status, 200,
            "{generation} {} {violations:#?}",
            reply.text
        );
        assert_eq!(reply.content(), "seen");
        for step in ["policy", "oss", "callback"] {
            assert_eq!(count(&minimax.control(), step), 2, "{generation} {step}");
        }
        for (fault, status) in [
            ("oss_refused", 400),
            ("policy_refused", 502),
            ("callback_refused", 502),
        ] {
            minimax.control().fault(fault, 0).unwrap();
            let reply = hive.post(&body).await;
            assert_eq!(reply.status, status, "{generation} {fault}: {}", reply.text);
            minimax.control().clear_faults();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // A picture alone is a question, too.
        let alone = json!({"model": "minimax", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]});
        let reply = hive.post(&alone).await;
        assert_eq!(reply.status, 200, "{generation} {}", reply.text);
        settled(&minimax.control(), SOON).await;
        assert_no_violations(&minimax.control());
    }
}
