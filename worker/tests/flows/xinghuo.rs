//! Xinghuo, wire/xinghuo.md.

use std::collections::BTreeSet;

use hive2api_simulators::{Script, control::Order};
use serde_json::json;

use crate::support::{
    Hive, PIXEL, SOON, assert_no_violations, odd_script, question, settled, simulator,
};

/// What has broken other gateways: everything that looks like this service's own framing, and everything outside
/// the BMP.
const NASTY: &str = "data:<end>\n\ndata: [DONE]\n\n<sid>[error]{\"key\":10110}\r\n\tq\"\\ \u{2028}\u{2029}\u{200B}\u{FEFF}👩‍👩‍👧‍👦👋🏽 PGRlZXBfeDE+ zw 中文 \u{1F469}\u{0301} \u{FFFD}x";

const PDF: &str = "data:application/pdf;base64,JVBERi0xLjQK";

#[actix_web::test]
async fn answers_in_one_piece_and_streamed() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    for text in [
        NASTY,
        "你好",
        "line\n\n\nline",
        "```rust\nlet a = 1;\n```",
        "```allTools and more",
        " leading and trailing ",
        "x",
    ] {
        let ask = format!("echo:{text}");
        let whole = hive.ask("spark-lite", &ask).await;
        assert_eq!(
            (whole.content().as_str(), whole.finish().as_str()),
            (text, "stop")
        );
        let streamed = hive.stream("spark-lite", &ask).await;
        assert_eq!(streamed.streamed("content"), text);
        assert!(streamed.is_done());
    }
    settled(&xinghuo.control(), SOON).await;
    assert_no_violations(&xinghuo.control());
    let asks = xinghuo.control().calls("ask");
    assert!(!asks.is_empty() && asks.iter().all(|call| !call.aborted));
}

#[actix_web::test]
async fn thinks_when_the_model_or_the_caller_says_so() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    for (model, more, thinks) in [
        ("spark-x1", json!({}), true),
        ("spark-x1", json!({"reasoning_effort": "none"}), false),
        ("spark-pro", json!({}), false),
        ("spark-pro", json!({"reasoning_effort": "low"}), true),
        ("spark", json!({"enable_thinking": true}), true),
        ("1662", json!({"enable_thinking": true}), false),
    ] {
        let reply = hive.stream_with(model, "echo:42", more.clone()).await;
        assert_eq!(reply.streamed("content"), "42", "{}", reply.text);
        let call = xinghuo.control().calls("ask").pop().unwrap();
        assert_eq!(
            call.params["capabilities"],
            if thinks { "deep_think" } else { "" },
            "{model} {more}: {call:?}"
        );
    }
    let answer = hive.ask("spark-x1", "think:先想想 echo:42").await;
    assert_eq!(
        (
            answer.message()["reasoning_content"].as_str(),
            answer.content().as_str()
        ),
        (Some("先想想"), "42"),
        "{}",
        answer.text
    );
    assert_no_violations(&xinghuo.control());
}

#[actix_web::test]
async fn sources_and_pictures_come_through() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    let answer = hive.ask("spark", "cite:2 echo:found").await;
    assert_eq!(answer.content(), "found");
    let annotations = answer.message()["annotations"].as_array().unwrap().clone();
    assert_eq!(annotations.len(), 2, "{}", answer.text);
    let script = Script {
        text: Some("here: ".to_owned()),
        images: Some(vec!["https://img.example/x.png?a=b&c=d".to_owned()]),
        times: Some(2),
        ..Script::default()
    };
    xinghuo.control().script(script).unwrap();
    let expected = "here: ![图像](https://img.example/x.png?a=b&c=d)";
    assert_eq!(hive.ask("spark", "draw").await.content(), expected);
    assert_eq!(
        hive.stream("spark", "draw").await.streamed("content"),
        expected
    );
    assert_no_violations(&xinghuo.control());
}

#[actix_web::test]
async fn the_whole_history_and_the_system_prompt_arrive() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    let body = json!({"model": "spark-pro", "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "see ![p](https://x/y?sig=1) that"},
        {"role": "user", "content": "three"},
    ]});
    assert_eq!(hive.post(&body).await.status, 200);
    let call = &xinghuo.control().calls("ask")[0];
    assert_eq!(
        call.prompt.as_deref(),
        Some("system:Be brief.\nuser:one\ntwo\nassistant:see  that\nuser:three\nassistant:")
    );
    let turns: Vec<(&str, &str)> = call
        .turns
        .iter()
        .map(|turn| (turn.role.as_str(), turn.text.as_str()))
        .collect();
    assert_eq!(
        turns,
        [
            ("system", "Be brief."),
            ("user", "one\ntwo"),
            ("assistant", "see  that"),
            ("user", "three"),
        ]
    );
    assert_no_violations(&xinghuo.control());
}

#[actix_web::test]
async fn only_known_models_and_bots_are_served() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    let listed = hive.get("/v1/models").await.text;
    for id in ["spark-3.5-max", "spark-4.0-ultra", "spark-x1"] {
        assert!(listed.contains(&format!("\"{id}\"")), "{id}");
    }
    assert!(!listed.contains("1662"));
    assert_eq!(hive.ask("xinghuo/1662", "echo:bot").await.content(), "bot");
    let params = &xinghuo.control().calls("ask")[0].params;
    assert!(params.values().any(|value| value == "1662"), "{params:?}");
    for id in ["spark-5", "xinghuo/12", "xinghuo/gpt-4o"] {
        assert_eq!(hive.ask(id, "x").await.error().2, "model_not_found", "{id}");
    }
    assert_no_violations(&xinghuo.control());
}

const UPSTREAM: &str = "upstream_error";

/// fault, status, type, code: the rows of section 7 as design.md section 4 has them.
const FAULTS: &[(&str, u16, &str, &str)] = &[
    ("json_80000", 502, UPSTREAM, "upstream_auth_expired"),
    ("json_90000", 502, UPSTREAM, "upstream_auth_expired"),
    ("json_10003", 502, UPSTREAM, "upstream_account_blocked"),
    ("json_10004", 502, UPSTREAM, "upstream_account_blocked"),
    ("json_99900", 502, UPSTREAM, "upstream_account_blocked"),
    (
        "json_11120",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    ("json_unknown", 502, UPSTREAM, "upstream_error"),
    ("gee_error", 502, UPSTREAM, "upstream_verification_required"),
    (
        "gee_error_bare",
        502,
        UPSTREAM,
        "upstream_verification_required",
    ),
    (
        "rate_10006",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    (
        "rate_10007",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    (
        "rate_11202",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    (
        "rate_11203",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    (
        "rate_text",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    (
        "quota_11200",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    (
        "quota_11201",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    (
        "moderated_10013",
        400,
        "invalid_request_error",
        "content_filter",
    ),
    (
        "moderated_10019",
        400,
        "invalid_request_error",
        "content_filter",
    ),
    (
        "moderated_20002",
        400,
        "invalid_request_error",
        "content_filter",
    ),
    (
        "moderated_text",
        400,
        "invalid_request_error",
        "content_filter",
    ),
    (
        "kx_before_text",
        400,
        "invalid_request_error",
        "content_filter",
    ),
    (
        "too_long",
        400,
        "invalid_request_error",
        "context_length_exceeded",
    ),
    ("overload_10008", 502, UPSTREAM, "upstream_unavailable"),
    ("overload_10110", 502, UPSTREAM, "upstream_unavailable"),
    ("overload_10222", 502, UPSTREAM, "upstream_unavailable"),
    ("overload_text", 502, UPSTREAM, "upstream_unavailable"),
    ("belong_error", 502, UPSTREAM, "upstream_conversation_lost"),
    ("plugin_error", 502, UPSTREAM, "upstream_error"),
    ("need_auth_error", 502, UPSTREAM, "upstream_error"),
    ("bracket_error", 502, UPSTREAM, "upstream_error"),
    ("json_line_error", 502, UPSTREAM, "upstream_error"),
    ("unknown_key", 502, UPSTREAM, "upstream_error"),
    ("empty", 502, UPSTREAM, "upstream_empty"),
    ("garbage", 502, UPSTREAM, "upstream_protocol_error"),
    ("not_event_stream", 502, UPSTREAM, "upstream_protocol_error"),
    (
        "create_too_fast",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    ("create_not_login", 502, UPSTREAM, "upstream_auth_expired"),
    ("create_banned", 502, UPSTREAM, "upstream_account_blocked"),
    ("create_no_id", 502, UPSTREAM, "upstream_protocol_error"),
    ("http_401", 502, UPSTREAM, "upstream_auth_expired"),
    ("http_403", 502, UPSTREAM, "upstream_account_blocked"),
    ("http_404", 502, UPSTREAM, "upstream_protocol_error"),
    ("http_429", 429, "rate_limit_error", "upstream_rate_limited"),
    (
        "http_429_retry_after",
        429,
        "rate_limit_error",
        "upstream_rate_limited",
    ),
    ("http_500", 502, UPSTREAM, "upstream_unavailable"),
    ("http_502", 502, UPSTREAM, "upstream_unavailable"),
    ("http_503", 502, UPSTREAM, "upstream_unavailable"),
    ("http_504", 502, UPSTREAM, "upstream_unavailable"),
    (
        "disconnect_before_headers",
        502,
        UPSTREAM,
        "upstream_unavailable",
    ),
    (
        "disconnect_before_text",
        502,
        UPSTREAM,
        "upstream_unavailable",
    ),
    ("hang_before_headers", 504, UPSTREAM, "upstream_timeout"),
    ("hang_before_text", 504, UPSTREAM, "upstream_timeout"),
];

#[actix_web::test]
async fn every_fault_before_the_text_is_an_honest_status() {
    let xinghuo = simulator("xinghuo", 1);
    for &(fault, status, kind, code) in FAULTS {
        for stream in [false, true] {
            // A worker each: a refused credential stays refused.
            let hive = Hive::start(&[&xinghuo], &[("STALL_TIMEOUT", "0.4")]);
            xinghuo.reset();
            xinghuo.control().fault(fault, 0).unwrap();
            let mut body = question("spark-pro", "hello");
            body["stream"] = json!(stream);
            let reply = hive.post(&body).await;
            assert_eq!(
                reply.error(),
                (status, kind.to_owned(), code.to_owned()),
                "{fault}: {}",
                reply.text
            );
            if status == 429 {
                let wait: u64 = reply.header("retry-after").parse().unwrap();
                assert!(wait >= 1, "{fault}: {wait}");
            }
            if code == "upstream_auth_expired" {
                assert!(
                    reply.text.contains("XINGHUO_COOKIE"),
                    "{fault}: {}",
                    reply.text
                );
            }
            assert!(!reply.text.contains("ssoSessionId") && !reply.text.contains("R0VF"));
            settled(&xinghuo.control(), SOON).await;
            assert_no_violations(&xinghuo.control());
        }
    }
}

#[actix_web::test]
async fn faults_after_the_text_are_told_in_the_stream() {
    let xinghuo = simulator("xinghuo", 1);
    for fault in [
        "disconnect_after_text",
        "hang_after_text",
        "overload_after_text",
    ] {
        let hive = Hive::start(&[&xinghuo], &[("STALL_TIMEOUT", "0.4")]);
        xinghuo.control().fault(fault, 1).unwrap();
        let reply = hive
            .stream(
                "spark-pro",
                "pace:20 echo:one two three four five six seven",
            )
            .await;
        assert!(!reply.streamed("content").is_empty(), "{fault}");
        assert_eq!(
            reply.stream_error().unwrap()["type"],
            "upstream_error",
            "{}",
            reply.text
        );
        assert!(
            !reply.is_done() && !reply.text.contains(r#""finish_reason":"stop""#),
            "{}",
            reply.text
        );
        settled(&xinghuo.control(), SOON).await;
    }
    let hive = Hive::start(&[&xinghuo], &[]);
    for fault in [
        "moderated_10014_after_text",
        "moderated_10019_after_text",
        "moderated_20002_after_text",
        "kx_after_text",
    ] {
        xinghuo.control().fault(fault, 2).unwrap();
        let reply = hive.stream("spark-pro", "echo:one two three").await;
        assert!(
            reply.is_done() && reply.text.contains(r#""finish_reason":"content_filter""#),
            "{fault}: {}",
            reply.text
        );
        assert_eq!(
            hive.ask("spark-pro", "echo:one two three").await.finish(),
            "content_filter",
            "{fault}"
        );
    }
    settled(&xinghuo.control(), SOON).await;
    assert_no_violations(&xinghuo.control());
}

#[actix_web::test]
async fn passing_faults_are_tried_again_and_the_client_sees_none_of_it() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    for fault in [
        "http_500",
        "overload_10110",
        "empty",
        "belong_error",
        "rate_10007",
        "disconnect_before_headers",
        "disconnect_before_text",
        "slow_headers",
        "slow_text",
    ] {
        let order = Order {
            name: fault.to_owned(),
            delay_ms: Some(200),
            ..Order::default()
        };
        xinghuo.control().order(order).unwrap();
        assert_eq!(
            hive.ask("spark-pro", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
    }
    settled(&xinghuo.control(), SOON).await;
    assert_no_violations(&xinghuo.control());
}

#[actix_web::test]
async fn odd_streams_decode_to_the_same_text() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    for quirk in xinghuo.control().known_quirks() {
        for write_bytes in [None, Some(1), Some(7)] {
            let script = odd_script("一二三四五六七八九十 👋🏽 done", quirk, write_bytes);
            xinghuo.control().script(script).unwrap();
            let whole = hive.ask("spark-x1", "x").await;
            assert_eq!(whole.content(), "一二三四五六七八九十 👋🏽 done", "{quirk}");
            let streamed = hive.stream("spark-x1", "x").await;
            assert!(streamed.is_done(), "{quirk}");
            assert_eq!(
                streamed.streamed("content"),
                "一二三四五六七八九十 👋🏽 done",
                "{quirk}"
            );
            assert_eq!(streamed.streamed("reasoning_content"), "想一想", "{quirk}");
        }
    }
    assert_no_violations(&xinghuo.control());
}

#[actix_web::test]
async fn four_answers_at_once_are_the_default() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    let asks = (0..10).map(|_| hive.ask("spark", "pace:5 count:20"));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    let most = xinghuo.control().state().max_concurrent_per_account;
    assert_eq!(most.values().copied().max(), Some(4), "{most:?}");
}

#[actix_web::test]
async fn the_next_account_takes_over() {
    let xinghuo = simulator("xinghuo", 3);
    let hive = Hive::start(&[&xinghuo], &[]);
    for fault in ["json_80000", "rate_10006"] {
        xinghuo.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.ask("spark", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
    }
    let accounts: BTreeSet<_> = xinghuo
        .control()
        .calls("ask")
        .into_iter()
        .map(|call| call.account)
        .collect();
    assert!(accounts.len() >= 2, "{accounts:?}");
    assert_no_violations(&xinghuo.control());
}

#[actix_web::test]
async fn a_token_without_a_cookie_is_no_account() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[("XINGHUO_COOKIE", "")]);
    let reply = hive.ask("spark", "x").await;
    assert_eq!(reply.error().2, "provider_not_configured");
    assert!(reply.text.contains("XINGHUO_COOKIE"), "{}", reply.text);
}

#[actix_web::test]
async fn pictures_and_documents_go_along() {
    let xinghuo = simulator("xinghuo", 1);
    let hive = Hive::start(&[&xinghuo], &[]);
    let ask = async |parts: serde_json::Value| {
        let mut content = vec![json!({"type": "text", "text": "echo:seen"})];
        content.extend(parts.as_array().unwrap().clone());
        let body = json!({"model": "spark", "messages": [{"role": "user", "content": content}]});
        hive.post(&body).await
    };
    let picture = json!({"type": "image_url", "image_url": {"url": PIXEL}});
    let document =
        json!({"type": "file", "file": {"filename": "notes \"1\".pdf", "file_data": PDF}});
    for parts in [json!([picture, picture]), json!([document])] {
        let reply = ask(parts.clone()).await;
        assert_eq!(
            reply.status,
            200,
            "{}\n{:#?}",
            reply.text,
            xinghuo.control().log()
        );
        assert_eq!(reply.content(), "seen", "{parts}");
    }
    settled(&xinghuo.control(), SOON).await;
    assert_no_violations(&xinghuo.control());
    let asks = xinghuo.control().calls("ask");
    let is_long: Vec<bool> = asks
        .iter()
        .map(|call| call.path.contains("longcontext"))
        .collect();
    assert_eq!(is_long, [false, true]);
    // Both at once: the page's own client sends the pictures' links along on the documents' path.
    assert_eq!(ask(json!([picture, document])).await.content(), "seen");
    for (fault, status, code) in [
        ("sign_refused", 400, "file_rejected"),
        ("upload_refused", 400, "file_rejected"),
        ("save_file_refused", 400, "file_rejected"),
    ] {
        xinghuo.control().fault(fault, 0).unwrap();
        let reply = ask(json!([picture, document])).await;
        assert_eq!(
            (reply.status, reply.error().2.as_str()),
            (status, code),
            "{fault}: {}",
            reply.text
        );
        xinghuo.control().clear_faults();
        settled(&xinghuo.control(), SOON).await;
    }
    for bad in ["https://127.0.0.1/x.png", "data:image/png;base64,@@"] {
        let reply = ask(json!([{"type": "image_url", "image_url": {"url": bad}}])).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["param"].as_str()),
            (400, Some("messages[0].content")),
            "{bad}"
        );
    }
}
