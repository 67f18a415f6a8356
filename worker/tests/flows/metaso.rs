//! Metaso, wire/metaso.md, in both generations of its site's calls.

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::support::{
    Hive, PIXEL, assert_no_violations, fifty_streams_do_not_mix, question, settled, simulator,
};

/// The variable's value alone, as the service has each generation.
const GENERATIONS: [&str; 2] = ["chat", "searchv2"];

const NASTY: &str = "data: [DONE]\n\ndata:{\"type\":\"error\"}\r\n\tq\"\\ \u{2028}\u{2029}\u{200B}\u{FEFF}👩‍👩‍👧‍👦👋🏽 ```js\n</think> 中文 é\u{0301} \u{FFFD}[0] [[a]] [x](y) <span>x";

fn calls(metaso: &Running, step: &str) -> usize {
    metaso.control().calls(step).len()
}

/// The service of one generation, and a worker that finds it out by itself.
fn only(generation: &str) -> (Running, Hive) {
    let metaso = simulator("metaso", 1);
    metaso.control().set_generation(generation).unwrap();
    let hive = Hive::start(&[&metaso], &[]);
    (metaso, hive)
}

#[actix_web::test]
async fn answers_in_one_piece_and_streamed() {
    for generation in GENERATIONS {
        let (metaso, hive) = only(generation);
        let long = "长🙂x ".repeat(2_000);
        for text in [NASTY, "你好", " l\n\n\ni ", "x", long.trim_end()] {
            let ask = format!("echo:{text}");
            let whole = hive.ask("metaso", &ask).await;
            assert_eq!(
                (whole.content().as_str(), whole.finish().as_str()),
                (text, "stop"),
                "{generation}"
            );
            let streamed = hive.stream("metaso-concise", &ask).await;
            assert_eq!(streamed.streamed("content"), text, "{generation}");
            assert!(streamed.is_done());
        }
        // One token and one look at whose cookies these are serve them all.
        assert_eq!((calls(&metaso, "home"), calls(&metaso, "my_info")), (1, 1));
        assert_no_violations(&metaso.control());
    }
}

#[actix_web::test]
async fn cites_where_the_marks_stood() {
    for generation in GENERATIONS {
        let (metaso, hive) = only(generation);
        let answer = hive.ask("metaso-detail", "cite:2 echo:found").await;
        let message = answer.message();
        let content = message["content"].as_str().unwrap();
        assert!(!content.contains("[["), "{content:?}");
        let annotations = message["annotations"].as_array().unwrap();
        assert_eq!(annotations.len(), 2, "{generation}: {}", answer.text);
        for annotation in annotations {
            let citation = &annotation["url_citation"];
            assert!(citation["url"].as_str().unwrap().starts_with("http"));
            assert_eq!(citation["start_index"], citation["end_index"]);
            assert!(citation["start_index"].as_u64().unwrap() <= content.chars().count() as u64);
        }
        let listed = answer.json()["citations"].clone();
        assert_eq!(listed.as_array().map(Vec::len), Some(2), "{}", answer.text);
        let streamed = hive.stream("metaso-detail", "cite:2 echo:found").await;
        assert_eq!(streamed.streamed("content"), content);
        let given = streamed.chunks();
        let told = given.iter().filter_map(|chunk| chunk.get("citations"));
        assert_eq!(told.collect::<Vec<_>>(), [&listed]);
        assert!(
            streamed.text.contains(r#""annotations""#),
            "{}",
            streamed.text
        );
        assert_no_violations(&metaso.control());
    }
    let (metaso, hive) = only("chat");
    let answer = hive.ask("metaso", "think:先想想 echo:42").await;
    assert_eq!(answer.message()["reasoning_content"], "先想想");
    assert_eq!(answer.content(), "42");
    assert_no_violations(&metaso.control());
}

#[actix_web::test]
async fn every_model_asks_for_its_mode_and_engine() {
    for generation in GENERATIONS {
        let (metaso, hive) = only(generation);
        let is_chat = generation == "chat";
        let rows = [
            ("metaso", "detail", ""),
            ("metaso-concise", "concise", ""),
            ("metaso-detail", "detail", ""),
            ("metaso-research", "research", ""),
            ("metaso-concise-scholar", "concise", "scholar"),
            ("metaso-research-scholar", "research", "scholar"),
            ("metaso-scholar", "detail", "scholar"),
            ("metaso-fast", if is_chat { "concise" } else { "fast" }, ""),
            (
                "metaso-strong-research",
                if is_chat {
                    "strong-research"
                } else {
                    "research"
                },
                "",
            ),
            ("metaso-research-podcast", "research", "podcast"),
        ];
        for (model, ..) in rows {
            assert_eq!(hive.ask(model, "echo:x").await.content(), "x", "{model}");
        }
        let mut body = question("metaso", "echo:x");
        body["temperature"] = json!(1.0);
        assert_eq!(hive.post(&body).await.content(), "x");
        assert_eq!(
            hive.ask("metaso", "学术简洁搜索：echo:x").await.content(),
            "x"
        );
        let asked = metaso.control().calls("ask");
        let asked = asked.iter().filter(|call| call.ok);
        let asked: Vec<(String, Value)> = asked
            .map(|call| (call.model.clone().unwrap(), call.params["engine"].clone()))
            .collect();
        let mut expected: Vec<(String, Value)> = rows
            .iter()
            .map(|(_, mode, engine)| ((*mode).to_owned(), json!(engine)))
            .collect();
        expected.push(("research".to_owned(), json!("")));
        expected.push(("concise".to_owned(), json!("scholar")));
        assert_eq!(asked, expected, "{generation}");
        assert_eq!(
            hive.ask("metaso-nonsense", "x").await.error(),
            (
                404,
                "invalid_request_error".into(),
                "model_not_found".into()
            )
        );
        assert_no_violations(&metaso.control());
    }
}

#[actix_web::test]
async fn carries_the_whole_conversation_and_refuses_pictures() {
    for generation in GENERATIONS {
        let (metaso, hive) = only(generation);
        let body = json!({"model": "metaso", "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "一"},
            {"role": "assistant", "content": "二"},
            {"role": "user", "content": [{"type": "text", "text": "echo:三"}]},
        ]});
        hive.post(&body).await.content();
        let asked = metaso.control().calls("ask").pop().unwrap();
        assert_eq!(
            asked.prompt.as_deref(),
            Some("system:be brief\nuser:一\nassistant:二\nuser:echo:三\n")
        );
        // Far beyond what a request's target may hold.
        let long = format!("{} echo:long", "长".repeat(30_000));
        assert_eq!(hive.ask("metaso", &long).await.content(), "long");
        let count = calls(&metaso, "ask");
        let body = json!({"model": "metaso", "messages": [{"role": "user", "content": [
            {"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": PIXEL}},
        ]}]});
        let refused = hive.post(&body).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        assert_eq!(calls(&metaso, "ask"), count);
        assert_no_violations(&metaso.control());
    }
}

#[actix_web::test]
async fn finds_out_which_generation_is_there_and_remembers() {
    for fault in [
        "chat_gone_405",
        "chat_gone_html",
        "chat_gone_json",
        "http_404",
    ] {
        let metaso = simulator("metaso", 1);
        metaso.control().fault(fault, 1).unwrap();
        let hive = Hive::start(&[&metaso], &[]);
        for text in ["one", "two"] {
            let answer = hive.ask("metaso", &format!("echo:{text}")).await;
            assert_eq!(answer.content(), text, "{fault}");
        }
        // The second question goes where the first was answered.
        assert_eq!((calls(&metaso, "ask"), calls(&metaso, "session")), (3, 2));
        assert_no_violations(&metaso.control());
    }
    for (protocol, other) in [("chat", "searchv2"), ("searchv2", "chat")] {
        let (metaso, _) = only(other);
        let hive = Hive::start(&[&metaso], &[("METASO_PROTOCOL", protocol)]);
        assert_eq!(hive.ask("metaso", "echo:x").await.status, 502, "{protocol}");
    }
}

/// The rows of section 7 that are no answer: the kind and how often is asked.
#[actix_web::test]
async fn every_refusal_is_told_as_what_it_is() {
    let row = |status: u16, kind: &str, code: &str| (status, kind.to_owned(), code.to_owned());
    let expired = row(502, "upstream_error", "upstream_auth_expired");
    let limited = row(429, "rate_limit_error", "upstream_rate_limited");
    let unavailable = row(502, "upstream_error", "upstream_unavailable");
    let check = row(502, "upstream_error", "upstream_verification_required");
    for generation in GENERATIONS {
        for (fault, expected) in [
            ("unauthorized", &expired),
            ("forbidden", &expired),
            ("login_needed", &expired),
            ("login_words", &expired),
            ("no_meta_token", &expired),
            ("empty_meta_token", &expired),
            ("my_info_stranger", &expired),
            ("too_many", &limited),
            ("too_many_text", &limited),
            ("error_429", &limited),
            ("rate_limited", &limited),
            ("token_expired", &limited),
            ("captcha", &check),
            ("slider", &check),
            ("overloaded", &unavailable),
            ("error_500", &unavailable),
            ("strange", &unavailable),
            ("empty", &unavailable),
            ("cut_off", &unavailable),
            ("http_502", &unavailable),
            ("http_503", &unavailable),
        ] {
            let (metaso, hive) = only(generation);
            if generation == "searchv2" {
                // Learnt before, so that the fault strikes the call that answers.
                hive.ask("metaso", "echo:x").await.content();
            }
            let is_first = [
                "no_meta_token",
                "empty_meta_token",
                "my_info_stranger",
                "slider",
            ];
            if generation == "searchv2" && is_first.contains(&fault) {
                continue;
            }
            let before = calls(&metaso, "ask");
            metaso.control().fault(fault, 9).unwrap();
            let answer = hive.ask("metaso", "echo:x").await;
            if fault == "cut_off" {
                // In one piece it is no answer; that it was cut is told.
                assert_ne!(answer.status, 200, "{fault}: {}", answer.text);
                continue;
            }
            assert_eq!(
                &answer.error(),
                expected,
                "{generation} {fault}: {}",
                answer.text
            );
            let times = calls(&metaso, "ask") - before;
            match expected.2.as_str() {
                "upstream_unavailable" => assert!(times > 1, "{fault}"),
                _ => assert!(times <= 1, "{generation} {fault}: asked {times} times"),
            }
            if *expected == expired {
                assert!(answer.text.contains("METASO_TOKEN"), "{}", answer.text);
            }
            assert_no_violations(&metaso.control());
        }
    }
}

#[actix_web::test]
async fn quota_and_mistakes_of_ours_are_told_apart() {
    for generation in GENERATIONS {
        let (metaso, hive) = only(generation);
        hive.ask("metaso", "echo:x").await.content();
        metaso.control().fault("quota_spent", 1).unwrap();
        assert_eq!(hive.ask("metaso", "echo:x").await.status, 429);
        for fault in ["parameters", "entity"] {
            let (metaso, hive) = only(generation);
            hive.ask("metaso", "echo:x").await.content();
            metaso.control().fault(fault, 9).unwrap();
            let before = calls(&metaso, "ask");
            let answer = hive.ask("metaso", "echo:x").await;
            assert_eq!(answer.status, 502, "{fault}: {}", answer.text);
            assert_eq!(calls(&metaso, "ask") - before, 1, "{fault}");
        }
    }
}

#[actix_web::test]
async fn too_many_requests_names_a_time_and_the_missing_cookies() {
    let (metaso, hive) = only("chat");
    metaso.control().fault("cookie_gate", 9).unwrap();
    let answer = hive.ask("metaso", "echo:x").await;
    assert_eq!(answer.status, 429);
    assert!(
        answer.text.contains("whole Cookie header"),
        "{}",
        answer.text
    );
    let (metaso, hive) = only("chat");
    hive.ask("metaso", "echo:x").await.content();
    metaso.control().fault("too_many", 1).unwrap();
    let answer = hive.ask("metaso", "echo:x").await;
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((50..=75).contains(&seconds), "{seconds}");
    assert!(!answer.text.contains("Cookie header"), "{}", answer.text);
}

#[actix_web::test]
async fn another_account_answers_where_the_first_may_not() {
    for fault in [
        "too_many",
        "unauthorized",
        "quota_spent",
        "captcha",
        "empty",
        "strange",
    ] {
        let metaso = simulator("metaso", 3);
        let hive = Hive::start(&[&metaso], &[("METASO_PROTOCOL", "chat")]);
        metaso.control().fault(fault, 1).unwrap();
        let answer = hive.ask("metaso", "echo:x").await;
        assert_eq!(answer.content(), "x", "{fault}");
        assert_eq!(calls(&metaso, "ask"), 2, "{fault}");
        assert_no_violations(&metaso.control());
    }
}

#[actix_web::test]
async fn a_session_is_opened_again_with_a_new_token_once() {
    for (fault, answers) in [
        ("session_token", true),
        ("session_refused", true),
        ("session_login", false),
    ] {
        let (metaso, hive) = only("searchv2");
        hive.ask("metaso", "echo:x").await.content();
        let before = (calls(&metaso, "home"), calls(&metaso, "session"));
        metaso.control().fault(fault, 1).unwrap();
        let answer = hive.ask("metaso", "echo:y").await;
        let tries = calls(&metaso, "session") - before.1;
        if answers {
            assert_eq!(answer.content(), "y", "{fault}");
            assert_eq!(
                (calls(&metaso, "home") - before.0, tries),
                (1, 2),
                "{fault}"
            );
        } else {
            assert_eq!((answer.status, tries), (502, 1), "{}", answer.text);
        }
        assert_no_violations(&metaso.control());
    }
}

#[actix_web::test]
async fn what_breaks_after_some_text_is_told_in_the_stream() {
    for generation in GENERATIONS {
        for fault in [
            "cut_off",
            "bad_frame_after_text",
            "error_after_text",
            "too_many_after_text",
            "disconnect_after_text",
            "hang_after_text",
        ] {
            let (metaso, hive) = only(generation);
            hive.ask("metaso", "echo:x").await.content();
            metaso.control().fault(fault, 1).unwrap();
            let before = calls(&metaso, "ask");
            let answer = hive.stream("metaso", "count:40").await;
            assert!(answer.stream_error().is_some(), "{fault}: {}", answer.text);
            assert!(!answer.is_done(), "{fault}");
            assert_eq!(calls(&metaso, "ask") - before, 1, "{fault}");
        }
        let (metaso, hive) = only(generation);
        hive.ask("metaso", "echo:x").await.content();
        metaso.control().fault("moderated_after_text", 1).unwrap();
        let answer = hive.ask("metaso", "count:40").await;
        assert_eq!(answer.finish(), "content_filter");
        metaso.control().fault("moderated_before_text", 1).unwrap();
        let answer = hive.ask("metaso", "count:40").await;
        assert_eq!(answer.error().2, "content_filter");
    }
}

#[actix_web::test]
async fn odd_streams_mean_the_same() {
    for generation in GENERATIONS {
        let (metaso, hive) = only(generation);
        hive.ask("metaso", "echo:x").await.content();
        for quirk in metaso.control().known_quirks() {
            if matches!(*quirk, "single_marks" | "marks" | "no_citations") {
                continue;
            }
            let script = Script {
                quirks: vec![(*quirk).to_owned()],
                write_bytes: Some(3),
                ..Script::default()
            };
            metaso.control().script(script).unwrap();
            let answer = hive.ask("metaso", "cite:2 echo:found 👋🏽").await;
            assert!(
                answer.content().contains("found 👋🏽"),
                "{quirk}: {}",
                answer.text
            );
            assert!(
                !answer.content().contains("AI生成"),
                "{quirk}: {}",
                answer.text
            );
            let annotations = &answer.message()["annotations"];
            assert_eq!(
                annotations.as_array().map(Vec::len),
                Some(2),
                "{quirk}: {}",
                answer.text
            );
        }
        assert_no_violations(&metaso.control());
    }
}

#[actix_web::test]
async fn single_marks_are_taken_out_where_it_is_wanted() {
    for generation in GENERATIONS {
        let (metaso, _) = only(generation);
        let hive = Hive::start(&[&metaso], &[("METASO_STRIP_SINGLE", "1")]);
        let script = || Script {
            quirks: vec!["single_marks".to_owned()],
            ..Script::default()
        };
        hive.ask("metaso", "echo:x").await.content();
        metaso.control().script(script()).unwrap();
        let answer = hive.ask("metaso", "cite:2 echo:found").await;
        assert!(!answer.content().contains('['), "{}", answer.text);
        let annotations = &answer.message()["annotations"];
        assert_eq!(
            annotations.as_array().map(Vec::len),
            Some(2),
            "{}",
            answer.text
        );
    }
}

#[actix_web::test]
async fn the_login_cannot_be_changed_by_the_site() {
    let metaso = simulator("metaso", 1);
    metaso.control().fault("cookie_trap", 1).unwrap();
    let hive = Hive::start(&[&metaso], &[]);
    for _ in 0..2 {
        assert_eq!(hive.ask("metaso", "echo:x").await.content(), "x");
    }
    assert_no_violations(&metaso.control());
}

#[actix_web::test]
async fn fifty_streams_share_one_token() {
    for generation in GENERATIONS {
        let (metaso, hive) = only(generation);
        fifty_streams_do_not_mix(&hive, "metaso-research", "").await;
        assert_eq!(calls(&metaso, "home"), 1, "{generation}");
        assert_no_violations(&metaso.control());
    }
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_stream() {
    for generation in GENERATIONS {
        let (metaso, hive) = only(generation);
        hive.stream_and_leave("metaso", "pace:30 count:400").await;
        settled(&metaso.control(), crate::support::SOON).await;
        assert_no_violations(&metaso.control());
    }
}
