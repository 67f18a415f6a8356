//! Doubao, wire/doubao.md, over both of its routes.

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::support::{Hive, PIXEL, SOON, assert_no_violations, question, settled, simulator};

const PROTOCOLS: [&str; 2] = ["chat", "samantha"];

const NASTY: &str = "data: [DONE]\n\nevent: STREAM_ERROR\ndata: {\"x\":1}\r\n\tq\"\\ \u{2028}\u{2029}\u{200B}\u{FEFF}👩‍👩‍👧‍👦👋🏽 ```js\n</think> 中文 é\u{0301} \u{FFFD}{{{x";

fn calls(doubao: &Running, step: &str) -> usize {
    doubao.control().calls(step).len()
}

fn hive(doubao: &Running, protocol: &str) -> Hive {
    Hive::start(&[doubao], &[("DOUBAO_PROTOCOL", protocol)])
}

#[actix_web::test]
async fn answers_in_one_piece_and_streamed() {
    let doubao = simulator("doubao", 1);
    for protocol in PROTOCOLS {
        let hive = hive(&doubao, protocol);
        let long = "长🙂x ".repeat(20_000);
        for text in [NASTY, "你好", " l\n\n\ni ", "x", long.trim_end()] {
            let ask = format!("echo:{text}");
            let whole = hive.ask("doubao", &ask).await;
            assert_eq!(
                (whole.content().as_str(), whole.finish().as_str()),
                (text, "stop"),
                "{protocol}"
            );
            if text.len() < 1000 {
                let streamed = hive.stream("doubao-1.5-pro", &ask).await;
                assert_eq!(streamed.streamed("content"), text, "{protocol}");
                assert!(streamed.is_done());
            }
        }
        settled(&doubao.control(), SOON).await;
        assert_no_violations(&doubao.control());
    }
}

#[actix_web::test]
async fn thinks_and_cites() {
    let doubao = simulator("doubao", 1);
    for protocol in PROTOCOLS {
        let hive = hive(&doubao, protocol);
        let answer = hive.ask("doubao-thinking", "think:先想想 echo:42").await;
        assert_eq!(
            answer.message()["reasoning_content"],
            "先想想",
            "{protocol}"
        );
        assert_eq!(answer.content(), "42");
        let mut body = question("doubao", "think:hm echo:43");
        body["reasoning_effort"] = json!("high");
        let answer = hive.post(&body).await;
        assert_eq!(answer.message()["reasoning_content"], "hm", "{protocol}");
        let answer = hive.ask("doubao", "cite:2 echo:found").await;
        let annotations = answer.message()["annotations"].as_array().unwrap().clone();
        assert_eq!(annotations.len(), 2, "{protocol}: {}", answer.text);
        settled(&doubao.control(), SOON).await;
        assert_no_violations(&doubao.control());
    }
}

#[actix_web::test]
async fn every_model_is_taken_and_no_other() {
    let doubao = simulator("doubao", 1);
    let hive = hive(&doubao, "chat");
    for model in [
        "doubao",
        "doubao-pro",
        "doubao-lite",
        "doubao-1.5-pro",
        "doubao-1.5-lite",
        "doubao-lite-32k",
        "doubao-auto",
        "doubao-expert",
        "doubao-1.5-pro-thinking",
        "doubao/7234781073513644036",
        "7234781073513644036",
    ] {
        assert_eq!(hive.ask(model, "echo:x").await.content(), "x", "{model}");
    }
    let bots: Vec<_> = doubao
        .control()
        .calls("ask")
        .into_iter()
        .filter_map(|call| call.model)
        .collect();
    assert_eq!(
        bots.iter()
            .filter(|bot| *bot == "7234781073513644036")
            .count(),
        2
    );
    for model in ["doubao-9", "doubao/123"] {
        assert_eq!(
            hive.ask(model, "x").await.error().2,
            "model_not_found",
            "{model}"
        );
    }
    settled(&doubao.control(), SOON).await;
    assert_no_violations(&doubao.control());
}

#[actix_web::test]
async fn carries_the_whole_conversation() {
    let doubao = simulator("doubao", 1);
    for protocol in PROTOCOLS {
        let hive = hive(&doubao, protocol);
        let body = json!({"model": "doubao", "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "一"},
            {"role": "assistant", "content": "二"},
            {"role": "user", "content": "echo:三"},
        ]});
        hive.post(&body).await.content();
        let asked = doubao.control().calls("ask").pop().unwrap();
        let prompt = asked.prompt.unwrap();
        for part in [
            "<|im_start|>system\nbe brief\n<|im_end|>\n",
            "<|im_start|>assistant\n二\n<|im_end|>\n",
            "<|im_start|>user\necho:三\n<|im_end|>\n",
        ] {
            assert!(prompt.contains(part), "{prompt}");
        }
    }
    settled(&doubao.control(), SOON).await;
    assert_no_violations(&doubao.control());
}

#[actix_web::test]
async fn pictures_and_documents_go_along() {
    let doubao = simulator("doubao", 1);
    for protocol in PROTOCOLS {
        let hive = hive(&doubao, protocol);
        let mut parts = vec![
            json!({"type": "text", "text": "echo:seen"}),
            json!({"type": "image_url", "image_url": {"url": PIXEL}}),
        ];
        let file = json!({"filename": "a.txt", "file_data": "data:text/plain;base64,5L2g5aW9"});
        let file = json!({"type": "file", "file": file});
        if protocol == "chat" {
            parts.push(file.clone());
        }
        let ask = |parts: &[Value]| json!({"model": "doubao", "messages": [{"role": "user", "content": parts}]});
        let answer = hive.post(&ask(&parts)).await;
        assert_eq!(answer.content(), "seen", "{protocol}: {}", answer.text);
        if protocol == "samantha" {
            // Nobody has shown how a document goes along there.
            assert_eq!(hive.post(&ask(&[file])).await.status, 400);
        }
        settled(&doubao.control(), SOON).await;
        assert_no_violations(&doubao.control());
    }
}

/// A question about an earlier picture needs it.
#[actix_web::test]
async fn attachments_of_the_whole_conversation_go_along() {
    let doubao = simulator("doubao", 1);
    let hive = hive(&doubao, "chat");
    let body = json!({"model": "doubao", "messages": [
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
        {"role": "assistant", "content": "seen"},
        {"role": "user", "content": "echo:again"},
    ]});
    assert_eq!(hive.post(&body).await.content(), "again");
    let asked = doubao.control().calls("ask").pop().unwrap();
    assert_eq!(asked.params["attachments"], 1);
    settled(&doubao.control(), SOON).await;
    assert_no_violations(&doubao.control());
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_stream_and_the_conversation_is_deleted() {
    let doubao = simulator("doubao", 1);
    for protocol in PROTOCOLS {
        let hive = hive(&doubao, protocol);
        hive.stream_and_leave("doubao", "pace:30 count:400").await;
        settled(&doubao.control(), SOON).await;
        assert_no_violations(&doubao.control());
    }
    let hive = Hive::start(&[&doubao], &[("DOUBAO_DELETE_CONVERSATIONS", "false")]);
    hive.ask("doubao", "echo:x").await.content();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(doubao.control().state().conversations, 1);
}

#[actix_web::test]
async fn every_refusal_is_told_as_what_it_is() {
    let row = |status: u16, kind: &str, code: &str| (status, kind.to_owned(), code.to_owned());
    let expired = row(502, "upstream_error", "upstream_auth_expired");
    let limited = row(429, "rate_limit_error", "upstream_rate_limited");
    let unavailable = row(502, "upstream_error", "upstream_unavailable");
    let check = row(502, "upstream_error", "upstream_verification_required");
    let country = row(502, "upstream_error", "upstream_country_refused");
    let moderated = row(400, "invalid_request_error", "content_filter");
    for protocol in PROTOCOLS {
        for (fault, expected, is_repeated) in [
            ("login_expired", &expired, false),
            ("user_invalid", &expired, false),
            ("tourist_limit", &expired, false),
            ("tourist_punished", &expired, false),
            ("verification", &check, false),
            ("rate_event", &limited, false),
            ("rate_limited", &limited, false),
            ("shark", &limited, false),
            ("shark_json", &limited, false),
            ("country", &country, false),
            ("country_absent", &country, false),
            ("overloaded", &unavailable, true),
            ("overload_event", &unavailable, true),
            ("strange", &unavailable, true),
            ("empty", &unavailable, true),
            ("fetch_only", &unavailable, true),
            ("moderated_before_text", &moderated, false),
            ("moderated_words", &moderated, false),
        ] {
            if protocol == "samantha" && fault == "fetch_only" {
                continue; // No such event there.
            }
            let doubao = simulator("doubao", 1);
            doubao.control().fault(fault, 0).unwrap();
            let hive = hive(&doubao, protocol);
            let answer = hive.ask("doubao", "echo:x").await;
            assert_eq!(
                &answer.error(),
                expected,
                "{protocol} {fault}: {}",
                answer.text
            );
            assert_eq!(calls(&doubao, "ask") > 1, is_repeated, "{protocol} {fault}");
            if *expected == expired {
                assert!(answer.text.contains("DOUBAO_TOKEN"), "{}", answer.text);
            }
            if fault.starts_with("shark") {
                let seconds: u64 = answer.header("retry-after").parse().unwrap();
                assert!((500..=720).contains(&seconds), "{seconds}");
            }
            settled(&doubao.control(), SOON).await;
            assert_no_violations(&doubao.control());
        }
        for fault in ["parameters", "html_200", "garbage"] {
            let doubao = simulator("doubao", 1);
            doubao.control().fault(fault, 0).unwrap();
            let hive = hive(&doubao, protocol);
            let answer = hive.ask("doubao", "echo:x").await;
            assert_eq!(answer.status, 502, "{protocol} {fault}: {}", answer.text);
            assert_eq!(calls(&doubao, "ask"), 1, "{protocol} {fault}");
        }
    }
}

#[actix_web::test]
async fn another_account_answers_where_the_first_may_not() {
    for fault in [
        "login_expired",
        "verification",
        "shark",
        "empty",
        "overloaded",
    ] {
        let doubao = simulator("doubao", 3);
        let hive = hive(&doubao, "chat");
        doubao.control().fault(fault, 1).unwrap();
        assert_eq!(hive.ask("doubao", "echo:x").await.content(), "x", "{fault}");
        let used: Vec<_> = doubao
            .control()
            .calls("ask")
            .iter()
            .map(|call| call.account)
            .collect();
        assert!(used.len() == 2 && used[0] != used[1], "{fault}: {used:?}");
        settled(&doubao.control(), SOON).await;
        assert_no_violations(&doubao.control());
    }
}

#[actix_web::test]
async fn what_breaks_after_some_text_is_told_in_the_stream() {
    let doubao = simulator("doubao", 1);
    for protocol in PROTOCOLS {
        let hive = hive(&doubao, protocol);
        for fault in [
            "error_after_text",
            "rate_after_text",
            "bad_frame_after_text",
            "cut_off",
        ] {
            doubao.control().fault(fault, 1).unwrap();
            let answer = hive.stream("doubao", "count:40").await;
            assert!(
                answer.stream_error().is_some(),
                "{protocol} {fault}: {}",
                answer.text
            );
            assert!(!answer.is_done(), "{fault}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        doubao.control().fault("moderated_after_text", 1).unwrap();
        let hive = Hive::start(&[&doubao], &[("DOUBAO_PROTOCOL", protocol)]);
        let answer = hive.ask("doubao", "count:40").await;
        assert_eq!(
            answer.finish(),
            "content_filter",
            "{protocol}: {}",
            answer.text
        );
        settled(&doubao.control(), SOON).await;
        assert_no_violations(&doubao.control());
    }
}

#[actix_web::test]
async fn odd_streams_mean_the_same() {
    let doubao = simulator("doubao", 1);
    for protocol in PROTOCOLS {
        let hive = hive(&doubao, protocol);
        for quirk in doubao.control().known_quirks() {
            let script = || Script {
                quirks: vec![(*quirk).to_owned()],
                write_bytes: Some(3),
                ..Script::default()
            };
            doubao.control().script(script()).unwrap();
            let answer = hive
                .ask("doubao-thinking", "think:先想想 cite:2 echo:found 👋🏽 it")
                .await;
            // A whole answer is what the service has in the end.
            let is_rewritten = *quirk == "rewritten" && protocol == "chat";
            let start = if is_rewritten { "改写：" } else { "" };
            assert_eq!(
                answer.content(),
                format!("{start}found 👋🏽 it"),
                "{protocol} {quirk}: {}",
                answer.text
            );
            assert_eq!(
                answer.message()["reasoning_content"],
                "先想想",
                "{protocol} {quirk}"
            );
            if *quirk == "rewritten" {
                continue; // What was streamed cannot be taken back.
            }
            doubao.control().script(script()).unwrap();
            let answer = hive
                .stream("doubao-thinking", "think:先想想 echo:found 👋🏽 it")
                .await;
            assert_eq!(
                answer.streamed("content"),
                "found 👋🏽 it",
                "{protocol} {quirk}: {}",
                answer.text
            );
        }
        settled(&doubao.control(), SOON).await;
        assert_no_violations(&doubao.control());
    }
}

#[actix_web::test]
async fn draws_pictures_and_looks_for_those_that_come_later() {
    let doubao = simulator("doubao", 1);
    for protocol in PROTOCOLS {
        let hive = hive(&doubao, protocol);
        let answer = hive.ask("doubao-seedream", "a cat").await;
        let content = answer.content();
        assert!(
            content.starts_with("![") && content.contains("](http"),
            "{protocol}: {content}"
        );
    }
    let hive = hive(&doubao, "chat");
    doubao.control().fault("pictures_later", 1).unwrap();
    let answer = hive.ask("doubao-seedream", "a cat").await;
    assert!(answer.content().contains("](http"), "{}", answer.text);
    assert!(calls(&doubao, "chain") >= 1, "nobody looked");
    settled(&doubao.control(), SOON).await;
    assert_no_violations(&doubao.control());
}

#[actix_web::test]
async fn attachments_that_are_refused_say_so() {
    for fault in [
        "prepare_refused",
        "apply_refused",
        "upload_refused",
        "commit_refused",
        "pre_handle_refused",
    ] {
        let doubao = simulator("doubao", 1);
        doubao.control().fault(fault, 0).unwrap();
        let hive = hive(&doubao, "chat");
        let body = json!({"model": "doubao", "messages": [{"role": "user", "content": [
            {"type": "text", "text": "echo:x"}, {"type": "image_url", "image_url": {"url": PIXEL}},
        ]}]});
        let answer = hive.post(&body).await;
        assert_ne!(answer.status, 200, "{fault}: {}", answer.text);
        assert_eq!(calls(&doubao, "ask"), 0, "{fault}");
        assert_no_violations(&doubao.control());
    }
}

#[actix_web::test]
async fn deletions_have_a_second_form() {
    for fault in ["delete_refused", "delete_false"] {
        let doubao = simulator("doubao", 1);
        doubao.control().fault(fault, 1).unwrap();
        let hive = hive(&doubao, "chat");
        assert_eq!(hive.ask("doubao", "echo:x").await.content(), "x");
        settled(&doubao.control(), SOON).await;
        assert_eq!(calls(&doubao, "delete_thread"), 1, "{fault}");
        assert_no_violations(&doubao.control());
    }
}
