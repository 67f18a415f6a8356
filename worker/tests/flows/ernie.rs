//! ERNIE, wire/ernie.md.

use hive2api_simulators::{Running, Script};
use serde_json::json;

use crate::support::{Hive, PIXEL, SOON, assert_no_violations, question, settled, simulator};

const MODEL: &str = "ernie-4.5-turbo";

fn started(settings: &[(&str, &str)]) -> (Running, Hive) {
    let ernie = simulator("ernie", 1);
    let hive = Hive::start(&[&ernie], settings);
    (ernie, hive)
}

fn calls(ernie: &Running, step: &str) -> usize {
    ernie.control().calls(step).len()
}

#[actix_web::test]
async fn the_conversation_is_one_text() {
    let (ernie, hive) = started(&[]);
    let body = json!({"model": MODEL, "messages": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "一"},
        {"role": "assistant", "content": "二 ![图像](https://x/a.png)"},
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "echo:三"}]},
    ]});
    assert_eq!(hive.post(&body).await.content(), "三");
    let asked = ernie.control().calls("ask").pop().unwrap();
    assert_eq!(
        asked.prompt.as_deref(),
        Some("system:be brief\nuser:一\nassistant:二 \nuser:x\necho:三\nassistant:")
    );
    assert_eq!(
        hive.ask(MODEL, "user: echo:as it is").await.content(),
        "as it is"
    );
    let asked = ernie.control().calls("ask").pop().unwrap();
    assert_eq!(asked.prompt.as_deref(), Some("user: echo:as it is"));
    settled(&ernie.control(), SOON).await;
    assert_eq!(ernie.control().state().deleted, 2);
    assert_no_violations(&ernie.control());
}

#[actix_web::test]
async fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let (ernie, hive) = started(&[]);
    for content in [
        json!([{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": PIXEL}}]),
        json!(" "),
    ] {
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": content}]});
        assert_eq!(hive.post(&body).await.status, 400, "{body}");
    }
    let unknown = hive.ask("ernie/ernie-9", "x").await.error();
    assert_eq!(
        unknown,
        (
            404,
            "invalid_request_error".into(),
            "model_not_found".into()
        )
    );
    assert_eq!(ernie.control().log().len(), 0);
}

#[actix_web::test]
async fn every_model_thinks_as_the_table_says() {
    let (ernie, hive) = started(&[]);
    for (model, upstream, deep) in [
        ("ernie-4.5-turbo", "EB45T", 0),
        ("ernie-x1", "X1_1", 2),
        ("ernie-5.0", "EB50", 2),
        ("ernie-3.5", "EB35", 0),
        ("ernie-5.0-low", "EB50-ARENA-LOW-260110", 0),
        ("ernie-5.0-high", "EB50-ARENA-HIGH-1220", 0),
    ] {
        for off in [false, true] {
            let mut body = question(model, "echo:x");
            if off {
                body["thinking"] = json!({"type": "disabled"});
            }
            let reply = hive.post(&body).await;
            assert_eq!(reply.content(), "x", "{model}");
            let asked = ernie.control().calls("ask").pop().unwrap();
            let deep = if off { 0 } else { deep };
            assert_eq!(asked.model.as_deref(), Some(upstream));
            assert_eq!(asked.params["deep"], deep, "{model} {off}");
            let thought = reply.message()["reasoning_content"].is_string();
            assert_eq!(thought, deep == 2, "{model} {off}");
        }
    }
    let listed = hive.get("/v1/models").await.json();
    let own = listed["data"].as_array().unwrap().iter();
    let own = own
        .filter(|it| it["owned_by"] == "ernie")
        .map(|it| it["id"].clone());
    let own: Vec<_> = own.collect();
    assert_eq!(own, ["ernie-4.5-turbo", "ernie-x1", "ernie-5.0"]);
    assert_no_violations(&ernie.control());
}

#[actix_web::test]
async fn it_searches_when_asked_to() {
    let (ernie, hive) = started(&[]);
    for search in [false, true] {
        let mut body = question(MODEL, "echo:x");
        if search {
            body["web_search_options"] = json!({});
        }
        assert_eq!(hive.post(&body).await.content(), "x");
        let asked = ernie.control().calls("ask").pop().unwrap();
        assert_eq!(asked.params["search"], search);
    }
    assert_no_violations(&ernie.control());
}

#[actix_web::test]
async fn pictures_in_the_text_are_shown_without_their_watermark() {
    let (ernie, hive) = started(&[]);
    for streamed in [false, true] {
        let reply = match streamed {
            true => hive
                .stream(MODEL, "draw:2 echo:好")
                .await
                .streamed("content"),
            false => hive.ask(MODEL, "draw:2 echo:好").await.content(),
        };
        let picture = |n: usize| {
            format!(
                "![图像]({}/__sim/picture.png?authorization=a=&x_location=b&n={n})",
                ernie.url
            )
        };
        assert_eq!(
            reply,
            format!("{}\n{}\n好", picture(1), picture(2)),
            "{streamed}"
        );
    }
    assert_no_violations(&ernie.control());
}

#[actix_web::test]
async fn oddities_of_the_stream_are_not_seen() {
    let (ernie, hive) = started(&[]);
    let text = "Hello, <b>мир</b> 👋\n{\"event\":1} <end>\n";
    for quirk in ernie.control().known_quirks() {
        for write_bytes in [None, Some(3)] {
            let script = Script {
                quirks: vec![(*quirk).to_owned()],
                text: Some(text.to_owned()),
                reasoning: Some("想".to_owned()),
                write_bytes,
                ..Script::default()
            };
            ernie.control().script(script).unwrap();
            let reply = hive.stream("ernie-x1", "x").await;
            assert_eq!(reply.streamed("content"), text, "{quirk}: {}", reply.text);
            assert_eq!(reply.streamed("reasoning_content"), "想", "{quirk}");
            assert!(reply.is_done(), "{quirk}");
        }
    }
    settled(&ernie.control(), SOON).await;
    assert_eq!(ernie.control().state().conversations, 0);
    assert_no_violations(&ernie.control());
}

#[actix_web::test]
async fn a_service_of_2025_gets_the_short_form_once() {
    let (ernie, hive) = started(&[]);
    ernie.control().fault("short_form_alone", 0).unwrap();
    let mut body = question("ernie-x1", "echo:x");
    body["thinking"] = json!({"type": "disabled"});
    assert_eq!(hive.post(&body).await.content(), "x");
    let forms: Vec<_> = ernie
        .control()
        .calls("ask")
        .iter()
        .map(|it| it.params["form"].clone())
        .collect();
    assert_eq!(forms, ["full", "short"]);
    // What neither form can say is the request's own fault.
    ernie.control().clear_faults();
    ernie.control().fault("bad_body", 0).unwrap();
    let reply = hive.ask(MODEL, "x").await;
    assert_eq!(reply.error().2, "upstream_bad_request", "{}", reply.text);
    assert_eq!(calls(&ernie, "ask"), 4);
    assert_no_violations(&ernie.control());
}

#[actix_web::test]
async fn a_lost_session_is_replaced_once() {
    let (ernie, hive) = started(&[]);
    ernie.control().fault("session_lost", 1).unwrap();
    assert_eq!(hive.ask(MODEL, "echo:x").await.content(), "x");
    assert_eq!(calls(&ernie, "ask"), 2);
    ernie.control().fault("session_lost", 0).unwrap();
    assert_eq!(hive.ask(MODEL, "x").await.error().2, "upstream_unavailable");
    assert_eq!(calls(&ernie, "ask"), 4);
    assert_no_violations(&ernie.control());
}

/// Section 7, before any text.
#[actix_web::test]
async fn every_refusal_is_told_with_its_status() {
    for (fault, status, code, words) in [
        (
            "not_logged_in",
            502,
            "upstream_auth_expired",
            "BAIDU_ACCOUNT_1_COOKIE",
        ),
        (
            "login_words",
            502,
            "upstream_auth_expired",
            "BAIDU_ACCOUNT_1_COOKIE",
        ),
        (
            "login_page",
            502,
            "upstream_auth_expired",
            "BAIDU_ACCOUNT_1_COOKIE",
        ),
        (
            "http_401",
            502,
            "upstream_auth_expired",
            "BAIDU_ACCOUNT_1_COOKIE",
        ),
        (
            "restricted",
            502,
            "upstream_auth_expired",
            "BAIDU_ACCOUNT_1_ACS_TOKEN and BAIDU_ACCOUNT_1_SIGN",
        ),
        (
            "restricted_in_stream",
            502,
            "upstream_auth_expired",
            "hours",
        ),
        (
            "restricted_check",
            502,
            "upstream_verification_required",
            "ernie.baidu.com",
        ),
        (
            "check_page",
            502,
            "upstream_verification_required",
            "ernie.baidu.com",
        ),
        ("rate_limited", 429, "upstream_rate_limited", ""),
        ("too_frequent", 429, "upstream_rate_limited", "频繁"),
        ("rate_limited_retry_after", 429, "upstream_rate_limited", ""),
        ("sensitive", 400, "content_filter", ""),
        ("moderated", 400, "content_filter", "违规"),
        ("moderated_before_text", 400, "content_filter", ""),
        ("overloaded", 502, "upstream_unavailable", "繁忙"),
        ("strange", 502, "upstream_unavailable", ""),
        ("empty", 502, "upstream_unavailable", ""),
        ("no_stream", 502, "upstream_protocol_error", ""),
        ("garbage", 502, "upstream_protocol_error", ""),
    ] {
        for streamed in [false, true] {
            let (ernie, hive) = started(&[]);
            ernie.control().fault(fault, 0).unwrap();
            let reply = match streamed {
                true => hive.stream(MODEL, "echo:hello").await,
                false => hive.ask(MODEL, "echo:hello").await,
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
            settled(&ernie.control(), SOON).await;
            assert_no_violations(&ernie.control());
        }
    }
}

#[actix_web::test]
async fn what_happens_after_the_text() {
    let (ernie, hive) = started(&[]);
    let text = "echo:one two three four five six";
    ernie.control().fault("moderated_after_text", 2).unwrap();
    let streamed = hive.stream(MODEL, text).await;
    assert!(
        streamed.is_done()
            && streamed
                .text
                .contains(r#""finish_reason":"content_filter""#)
    );
    assert_eq!(hive.ask(MODEL, text).await.finish(), "content_filter");
    for fault in ["error_after_text", "cut_off", "no_end"] {
        ernie.control().fault(fault, 0).unwrap();
        let streamed = hive.stream(MODEL, text).await;
        assert!(
            streamed.stream_error().is_some() && !streamed.is_done(),
            "{fault}: {}",
            streamed.text
        );
        assert_ne!(hive.ask(MODEL, text).await.status, 200, "{fault}");
        settled(&ernie.control(), SOON).await;
        ernie.control().clear_faults();
    }
    // Every session has been deleted, whatever became of it.
    let state = ernie.control().state();
    assert_eq!(state.conversations, 0, "{state:?}");
    assert_no_violations(&ernie.control());
}

#[actix_web::test]
async fn accounts_send_what_was_captured_and_nothing_else() {
    let ernie = simulator("ernie", 3);
    let hive = Hive::start(&[&ernie], &[]);
    ernie.control().fault("restricted", 2).unwrap();
    assert_eq!(hive.ask(MODEL, "echo:x").await.content(), "x");
    let asked = ernie.control().calls("ask");
    let mut accounts: Vec<_> = asked.iter().filter_map(|call| call.account).collect();
    accounts.sort_unstable();
    assert_eq!(accounts, [1, 2, 3]);
    settled(&ernie.control(), SOON).await;
    assert_no_violations(&ernie.control());
}
