//! FlowGPT, wire/flowgpt.md.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::support::{Hive, PIXEL, assert_no_violations, question, simulator};

fn started(settings: &[(&str, &str)]) -> (Running, Hive) {
    let flowgpt = simulator("flowgpt", 1);
    let hive = Hive::start(&[&flowgpt], settings);
    (flowgpt, hive)
}

fn calls(flowgpt: &Running, step: &str) -> usize {
    flowgpt.control().calls(step).len()
}

#[actix_web::test]
async fn the_whole_conversation_goes_along_and_its_last_question_is_asked() {
    let (flowgpt, hive) = started(&[]);
    let body = json!({"model": "gpt-4-free", "messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "一"},
        {"role": "assistant", "content": "二"},
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "echo:三"}]},
    ]});
    assert_eq!(hive.post(&body).await.content(), "三");
    let asked = flowgpt.control().calls("ask").pop().unwrap();
    assert_eq!(asked.prompt.as_deref(), Some("x\necho:三"));
    let turns: Vec<_> = asked
        .turns
        .iter()
        .map(|it| (it.role.as_str(), it.text.as_str()))
        .collect();
    assert_eq!(
        turns,
        [
            ("system", "be brief"),
            ("user", "一"),
            ("assistant", "二"),
            ("user", "x\necho:三")
        ]
    );
    // The last message need not be a user's.
    let body = json!({"model": "gpt-4-free", "messages": [
        {"role": "user", "content": "echo:asked"}, {"role": "assistant", "content": "so"},
    ]});
    assert_eq!(hive.post(&body).await.content(), "asked");
    // One conversation a question, and none is gone on with.
    assert_eq!((calls(&flowgpt, "create"), calls(&flowgpt, "ask")), (2, 2));
    assert_no_violations(&flowgpt.control());
}

#[actix_web::test]
async fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let (flowgpt, hive) = started(&[]);
    for content in [
        json!([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": PIXEL}}]),
        json!(" "),
    ] {
        let body =
            json!({"model": "gpt-4-free", "messages": [{"role": "user", "content": content}]});
        assert_eq!(hive.post(&body).await.status, 400, "{body}");
    }
    let body = json!({"model": "gpt-4-free", "messages": [{"role": "system", "content": "x"}]});
    assert_eq!(hive.post(&body).await.status, 400);
    let unknown = hive.ask("flowgpt/gpt-5-free", "x").await.error();
    assert_eq!(
        unknown,
        (
            404,
            "invalid_request_error".into(),
            "model_not_found".into()
        )
    );
    assert_eq!(flowgpt.control().log().len(), 0);
}

#[actix_web::test]
async fn every_model_asks_its_prompt() {
    let map =
        r#"{"mine":"sim-prompt-1","mag":{"promptId":"sim-prompt-2","model":"magnum-12b-v2"}}"#;
    let (flowgpt, hive) = started(&[("FLOWGPT_MODEL_MAP", map)]);
    let rows = [
        ("gpt-4-free", "uzNcMUGo4sOwl4GFvRpm8", "FlowGPT-Ares"),
        ("chatgpt-5-pro", "vlaOLDN9qTxzIlvzfL_Ty", "FlowGPT-Ares"),
        ("claude-instant", "model-claude-instant", "claude-instant"),
        ("aisuperior", "lKm5yPE9x-Naf0_0_KI5M", "FlowGPT-Ares"),
        ("mine", "sim-prompt-1", "FlowGPT-Ares"),
        ("mag", "sim-prompt-2", "magnum-12b-v2"),
    ];
    for (model, prompt, upstream) in rows {
        assert_eq!(hive.ask(model, "echo:x").await.content(), "x", "{model}");
        let asked = flowgpt.control().calls("ask").pop().unwrap();
        assert_eq!(asked.params["prompt_id"], prompt, "{model}");
        assert_eq!(asked.model.as_deref(), Some(upstream), "{model}");
    }
    let listed = hive.get("/v1/models").await.json();
    for (model, ..) in rows {
        let mut listed = listed["data"].as_array().unwrap().iter();
        let own = listed.find(|it| it["id"] == model).unwrap();
        assert_eq!(own["owned_by"], "flowgpt", "{own}");
    }
    assert_no_violations(&flowgpt.control());
}

#[actix_web::test]
async fn the_temperature_is_the_clients() {
    let (flowgpt, hive) = started(&[]);
    for (given, sent) in [(None, 0.7), (Some(1.3), 1.3), (Some(0.0), 0.0)] {
        let mut body = question("gpt-4-free", "echo:x");
        if let Some(given) = given {
            body["temperature"] = json!(given);
        }
        let reply = hive.post(&body).await;
        assert_eq!(reply.content(), "x");
        let asked = flowgpt.control().calls("ask").pop().unwrap();
        assert_eq!(asked.params["temperature"], json!(sent));
    }
    assert_no_violations(&flowgpt.control());
}

#[actix_web::test]
async fn a_person_chooses_the_signature() {
    for (mode, fault) in [
        ("device-concat", "wants_device_concat"),
        ("auth-dash", "wants_auth_dash"),
    ] {
        let (flowgpt, hive) = started(&[("FLOWGPT_SIGNATURE_MODE", mode)]);
        flowgpt.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.ask("gpt-4-free", "echo:x").await.content(),
            "x",
            "{mode}"
        );
        // The next one wants the usual one again, and is not asked in another way.
        let reply = hive.ask("gpt-4-free", "echo:x").await;
        assert_eq!(reply.status, 502, "{mode}: {}", reply.text);
        assert!(
            reply.text.contains("FLOWGPT_SIGNATURE_MODE"),
            "{}",
            reply.text
        );
        assert_eq!(calls(&flowgpt, "ask"), 2, "{mode}");
        assert_no_violations(&flowgpt.control());
    }
}

#[actix_web::test]
async fn a_preamble_never_reaches_the_client() {
    let (flowgpt, hive) = started(&[]);
    for text in [
        "Paris.",
        "one two three four five ".repeat(20).trim_end(),
        "a**Response:** b",
    ] {
        for streamed in [false, true] {
            let ask = format!("echo:{text}");
            let reply = match streamed {
                true => hive.stream("aisuperior", &ask).await.streamed("content"),
                false => hive.ask("aisuperior", &ask).await.content(),
            };
            assert_eq!(reply, text, "{streamed}");
        }
    }
    // What follows it comes at once, however little it is.
    flowgpt.control().fault("hang_after_text", 1).unwrap();
    hive.stream_and_leave("aisuperior", "pace:10 count:20")
        .await;
    // A line of an answer that has none is not held for longer than a preamble could be.
    flowgpt.control().fault("hang_after_text", 1).unwrap();
    hive.stream_and_leave("gpt-4-free", "pace:2 count:200")
        .await;
    assert_no_violations(&flowgpt.control());
}

#[actix_web::test]
async fn concurrent_answers_do_not_share_a_preamble() {
    let (flowgpt, hive) = started(&[]);
    let ask = |at: usize| {
        let model = if at.is_multiple_of(2) {
            "aisuperior"
        } else {
            "gpt-4-free"
        };
        let hive = &hive;
        async move {
            hive.stream(model, &format!("pace:3 tag:T{at} count:30"))
                .await
        }
    };
    let replies = futures_util::future::join_all((0..12).map(ask)).await;
    for (at, reply) in replies.iter().enumerate() {
        let expected: Vec<String> = (1..=30).map(|n| format!("T{at}-{n}")).collect();
        assert_eq!(reply.streamed("content"), expected.join(" "));
    }
    assert_no_violations(&flowgpt.control());
}

#[actix_web::test]
async fn oddities_of_the_lines_are_not_seen() {
    let (flowgpt, hive) = started(&[]);
    for quirk in [
        "crlf",
        "no_end",
        "no_event",
        "unknown",
        "unreadable",
        "preamble",
    ] {
        for write_bytes in [None, Some(3)] {
            let script = Script {
                quirks: vec![quirk.to_owned()],
                write_bytes,
                ..Script::default()
            };
            flowgpt.control().script(script).unwrap();
            let reply = hive
                .stream("gpt-4-free", "echo:Hello, мир 👋 {\"event\":1}")
                .await;
            assert_eq!(
                reply.streamed("content"),
                "Hello, мир 👋 {\"event\":1}",
                "{quirk}"
            );
            assert!(reply.is_done(), "{quirk}");
        }
    }
    assert_no_violations(&flowgpt.control());
}

/// Section 7, before any text.
#[actix_web::test]
async fn every_refusal_is_told_with_its_status() {
    for (fault, status, code, words) in [
        (
            "unauthorized",
            502,
            "upstream_auth_expired",
            "FLOWGPT_BEARER_TOKEN",
        ),
        (
            "create_unauthorized",
            502,
            "upstream_auth_expired",
            "FLOWGPT_BEARER_TOKEN",
        ),
        (
            "forbidden",
            502,
            "upstream_auth_expired",
            "FLOWGPT_BEARER_TOKEN",
        ),
        (
            "forbidden_page",
            502,
            "upstream_auth_expired",
            "FLOWGPT_BEARER_TOKEN",
        ),
        (
            "signature_refused",
            502,
            "upstream_protocol_error",
            "FLOWGPT_SIGNATURE_MODE",
        ),
        (
            "nonce_refused",
            502,
            "upstream_protocol_error",
            "FLOWGPT_DEVICE_ID",
        ),
        (
            "device_refused",
            502,
            "upstream_protocol_error",
            "FLOWGPT_DEVICE_ID",
        ),
        ("limit_reached", 429, "upstream_rate_limited", "limit"),
        ("daily_limit", 429, "upstream_rate_limited", "limit"),
        (
            "waf_challenge",
            502,
            "upstream_verification_required",
            "FLOWGPT_WAF_TOKEN",
        ),
        (
            "waf_captcha",
            502,
            "upstream_verification_required",
            "FLOWGPT_WAF_TOKEN",
        ),
        (
            "create_challenge",
            502,
            "upstream_verification_required",
            "FLOWGPT_WAF_TOKEN",
        ),
        ("prompt_gone", 404, "model_not_found", "prompt"),
        (
            "bad_request",
            502,
            "upstream_protocol_error",
            "promptId must be a string",
        ),
        ("no_id", 502, "upstream_protocol_error", ""),
        ("rate_limited", 429, "upstream_rate_limited", ""),
        ("rate_limited_retry_after", 429, "upstream_rate_limited", ""),
        ("create_unavailable", 502, "upstream_unavailable", ""),
        ("unavailable_page", 502, "upstream_unavailable", ""),
        ("empty", 502, "upstream_unavailable", ""),
        ("garbage", 502, "upstream_protocol_error", ""),
        ("error_before_text", 502, "upstream_unavailable", ""),
        ("moderated_before_text", 400, "content_filter", ""),
    ] {
        for streamed in [false, true] {
            let (flowgpt, hive) = started(&[]);
            flowgpt.control().fault(fault, 0).unwrap();
            let reply = match streamed {
                true => hive.stream("gpt-4-free", "echo:hello").await,
                false => hive.ask("gpt-4-free", "echo:hello").await,
            };
            let (was, _, said) = reply.error();
            assert_eq!(
                (was, said.as_str()),
                (status, code),
                "{fault}: {}",
                reply.text
            );
            assert!(reply.text.contains(words), "{fault}: {}", reply.text);
            if fault.ends_with("retry_after") {
                assert_eq!(reply.header("retry-after"), "7", "{fault}");
            }
            assert_no_violations(&flowgpt.control());
        }
    }
}

#[actix_web::test]
async fn a_failure_after_the_text_ends_the_stream_without_a_done() {
    for fault in ["error_after_text", "moderated_after_text"] {
        let (flowgpt, hive) = started(&[]);
        flowgpt.control().fault(fault, 0).unwrap();
        let reply = hive.stream("aisuperior", "echo:one two three").await;
        assert_eq!(reply.streamed("content"), "one two three", "{fault}");
        assert!(
            reply.stream_error().is_some() && !reply.is_done(),
            "{fault}: {}",
            reply.text
        );
        assert_ne!(
            hive.ask("aisuperior", "echo:one two").await.status,
            200,
            "{fault}"
        );
    }
}

#[actix_web::test]
async fn another_account_takes_over_with_its_own_device_and_token() {
    let flowgpt = simulator("flowgpt", 3);
    let hive = Hive::start(&[&flowgpt], &[]);
    flowgpt.control().fault("unauthorized", 2).unwrap();
    assert_eq!(hive.ask("gpt-4-free", "echo:x").await.content(), "x");
    let asked = flowgpt.control().calls("ask");
    let mut accounts: Vec<_> = asked.iter().filter_map(|call| call.account).collect();
    accounts.sort_unstable();
    assert_eq!(accounts, [1, 2, 3]);
    assert_no_violations(&flowgpt.control());
}

#[actix_web::test]
async fn silence_is_measured_by_its_own_setting() {
    let (flowgpt, hive) = started(&[("STALL_TIMEOUT", "60"), ("FLOWGPT_STALL_TIMEOUT_S", "0.3")]);
    flowgpt.control().fault("hang_before_text", 0).unwrap();
    let began = std::time::Instant::now();
    let (status, _, code) = hive.ask("gpt-4-free", "echo:x").await.error();
    assert_eq!((status, code.as_str()), (504, "upstream_timeout"));
    assert!(began.elapsed() < Duration::from_secs(20));
    // An answer that flows is not cut, however long it takes.
    flowgpt.control().clear_faults();
    let reply = hive.stream("gpt-4-free", "pace:50 count:20").await;
    assert!(reply.is_done(), "{}", reply.text);
}

/// `exp` of a token is told before it has come.
#[actix_web::test]
async fn a_token_that_says_when_it_ends_is_watched() {
    let flowgpt = simulator("flowgpt", 2);
    let hive = Hive::start(&[&flowgpt], &[]);
    let providers = hive.app.registry.providers();
    let own = providers.iter().find(|it| it.name() == "flowgpt").unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let ends = own.expiries();
    assert!(
        matches!(ends.as_slice(), [(2, end)] if *end > now),
        "{ends:?}"
    );
    let _: Value = hive.get("/v1/models").await.json();
}
