//! LangFast, wire/langfast.md. The simulator's sockets are somebody else's Socket.IO library.

use std::time::Duration;

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::support::{Hive, Reply, SOON, assert_no_violations, question, settled, simulator};

/// Everything that looks like framing here, and everything outside the BMP.
const NASTY: &str = "42[\"execution:chunk\",{}]\n\ndata: [DONE]\r\n\tq\"\\ \u{2028}\u{2029}\u{200B}\u{FEFF}👩‍👩‍👧‍👦👋🏽 ```js\n</think> 中文 \u{1F469}\u{0301} é\u{0301} \u{FFFD}x \\u4f60 41";

fn steps(langfast: &Running, step: &str) -> usize {
    langfast.control().calls(step).len()
}

fn last_meta(langfast: &Running) -> Value {
    langfast.control().calls("ask").last().unwrap().params["prompt_meta"].clone()
}

/// Everything has ended, and nothing was done that the page forbids.
async fn clean(langfast: &Running) {
    settled(&langfast.control(), SOON).await;
    assert_no_violations(&langfast.control());
}

#[actix_web::test]
async fn answers_in_one_piece_and_streamed() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(&[&langfast], &[]);
    for text in [
        NASTY,
        "你好",
        "line\n\n\nline",
        " leading and trailing ",
        "x",
        "{}",
        "42",
    ] {
        let ask = format!("echo:{text}");
        let whole = hive.ask("gpt-4o-mini", &ask).await;
        assert_eq!(
            (whole.content().as_str(), whole.finish().as_str()),
            (text, "stop")
        );
        let streamed = hive.stream("gpt-5", &ask).await;
        assert_eq!(streamed.streamed("content"), text);
        assert!(streamed.is_done());
    }
    clean(&langfast).await;
}

#[actix_web::test]
async fn every_model_gets_its_roles_and_parameters() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(&[&langfast], &[]);
    let models = hive.get("/v1/models").await.json();
    let models: Vec<&str> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(models.len(), 17, "{models:?}");
    for model in models {
        let body = json!({"model": model, "temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.2,
            "reasoning_effort": "low", "verbosity": "low", "max_tokens": 1_000_000, "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "three"},
            {"role": "user", "content": "echo:fine"},
        ]});
        let reply = hive.post(&body).await;
        assert_eq!(reply.content(), "fine", "{model}");
        let meta = last_meta(&langfast);
        assert_eq!(meta["model"], model);
        let is_chat = meta.get("temperature").is_some();
        assert_eq!(
            reply.header("x-hive-ignored").contains("temperature"),
            !is_chat,
            "{model}: {meta}"
        );
        assert_eq!(
            reply.header("x-hive-ignored").contains("reasoning_effort"),
            meta.get("reasoning_effort").is_none(),
            "{model}"
        );
        let roles: Vec<&str> = meta["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["role"].as_str().unwrap())
            .collect();
        if model == "o1-mini" {
            assert_eq!(roles, ["user", "assistant", "user"]);
            assert_eq!(meta["messages"][0]["content"], "Be brief.\n\none\ntwo");
        } else {
            let first = if is_chat { "system" } else { "developer" };
            assert_eq!(roles, [first, "user", "assistant", "user"], "{model}");
        }
    }
    clean(&langfast).await;
}

#[actix_web::test]
async fn what_cannot_be_asked_is_refused_before_anybody_is_troubled() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(&[&langfast], &[]);
    let picture = json!([{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]);
    let schema = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {}}});
    for (model, member, value, param) in [
        (
            "gpt-4o",
            "messages",
            json!([{"role": "user", "content": picture}]),
            "messages[0].content",
        ),
        (
            "gpt-4",
            "response_format",
            json!({"type": "grammar"}),
            "response_format",
        ),
        (
            "o3",
            "reasoning_effort",
            json!("banana"),
            "reasoning_effort",
        ),
    ] {
        let mut body = question(model, "x");
        body[member] = value;
        let reply = hive.post(&body).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["param"].as_str()),
            (400, Some(param)),
            "{}",
            reply.text
        );
    }
    assert_eq!(langfast.control().state().calls, 0);
    let mut body = question("gpt-5", "echo:{}");
    body["response_format"] = schema.clone();
    assert_eq!(hive.post(&body).await.content(), "{}");
    assert_eq!(last_meta(&langfast)["response_format"], schema);
    // What the model does not know the gateway has for it.
    body["model"] = "gpt-4".into();
    let reply = hive.post(&body).await;
    assert_eq!(
        (reply.content().as_str(), reply.header("x-hive-emulated")),
        ("{}", "response_format"),
        "{}",
        reply.text
    );
    assert_eq!(last_meta(&langfast)["response_format"], "text");
    clean(&langfast).await;
}

#[actix_web::test]
async fn every_fault_before_the_text_is_an_honest_status() {
    const UPSTREAM: &str = "upstream_error";
    const INVALID: &str = "invalid_request_error";
    const RATE: &str = "rate_limit_error";
    let langfast = simulator("langfast", 1);
    for (fault, status, kind, code) in [
        ("jwt_invalid", 502, UPSTREAM, "upstream_auth_expired"),
        ("jwt_missing", 502, UPSTREAM, "upstream_auth_expired"),
        ("api_key_invalid", 502, UPSTREAM, "upstream_auth_expired"),
        ("quota_spent", 429, RATE, "upstream_rate_limited"),
        ("rate_limited", 429, RATE, "upstream_rate_limited"),
        (
            "rate_limited_retry_after",
            429,
            RATE,
            "upstream_rate_limited",
        ),
        ("bad_field", 502, UPSTREAM, "upstream_protocol_error"),
        ("unknown_model", 404, INVALID, "model_not_found"),
        ("unknown_prompt", 502, UPSTREAM, "upstream_protocol_error"),
        ("run_seen", 502, UPSTREAM, "upstream_unavailable"),
        ("edge_error", 502, UPSTREAM, "upstream_unavailable"),
        ("edge_503", 502, UPSTREAM, "upstream_unavailable"),
        ("failed_parameter", 400, INVALID, ""),
        ("failed_policy", 400, INVALID, "content_filter"),
        ("filtered_before_text", 400, INVALID, "content_filter"),
        ("failed_other", 502, UPSTREAM, "upstream_unavailable"),
        ("failed_string", 502, UPSTREAM, "upstream_unavailable"),
        ("failed_status", 502, UPSTREAM, "upstream_unavailable"),
        ("empty", 502, UPSTREAM, "empty_response"),
        ("signup_rate_limited", 429, RATE, "upstream_rate_limited"),
        ("signup_disabled", 502, UPSTREAM, "upstream_signup_closed"),
        (
            "signup_captcha",
            502,
            UPSTREAM,
            "upstream_verification_required",
        ),
        ("socket_refused", 502, UPSTREAM, "upstream_auth_expired"),
        ("socket_silent", 504, UPSTREAM, "upstream_timeout"),
        ("http_401", 502, UPSTREAM, "upstream_auth_expired"),
        ("http_500", 502, UPSTREAM, "upstream_unavailable"),
        ("http_429_retry_after", 429, RATE, "upstream_rate_limited"),
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
    ] {
        for stream in [false, true] {
            // A worker each: what the pool has learnt stays learnt.
            langfast.reset();
            let hive = Hive::start(&[&langfast], &[("STALL_TIMEOUT", "0.4")]);
            langfast.control().fault(fault, 0).unwrap();
            let mut body = question("gpt-4o", "hello");
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
                assert!(
                    !fault.ends_with("retry_after") || (5..=7).contains(&wait),
                    "{fault}: {wait}"
                );
            }
            assert!(steps(&langfast, "ask") <= 3, "{fault}");
            clean(&langfast).await;
        }
    }
}

#[actix_web::test]
async fn faults_after_the_text_are_told_in_the_stream() {
    let langfast = simulator("langfast", 1);
    let text = "echo:one two three four five six seven";
    for fault in [
        "disconnect_after_text",
        "hang_after_text",
        "socket_disconnect",
        "failed_other_after_text",
        "garbage",
    ] {
        let hive = Hive::start(&[&langfast], &[("STALL_TIMEOUT", "0.4")]);
        langfast.control().fault(fault, 1).unwrap();
        let reply = hive.stream("gpt-4o", text).await;
        let error = if reply.status == 200 {
            reply.stream_error().unwrap()
        } else {
            reply.json()["error"].clone()
        };
        assert_eq!(error["type"], "upstream_error", "{fault}: {}", reply.text);
        assert!(
            !reply.text.contains("[DONE]") && !reply.text.contains(r#""finish_reason":"stop""#),
            "{fault}: {}",
            reply.text
        );
    }
    for fault in ["failed_policy_after_text", "filtered_after_text"] {
        let hive = Hive::start(&[&langfast], &[]);
        langfast.control().fault(fault, 2).unwrap();
        let reply = hive.stream("gpt-4o", text).await;
        assert!(
            reply.is_done() && reply.text.contains(r#""finish_reason":"content_filter""#),
            "{fault}: {}",
            reply.text
        );
        assert_eq!(
            hive.ask("gpt-4o", text).await.finish(),
            "content_filter",
            "{fault}"
        );
    }
    clean(&langfast).await;
}

#[actix_web::test]
async fn one_fault_is_not_the_clients_business() {
    let langfast = simulator("langfast", 1);
    for fault in [
        "jwt_invalid",
        "jwt_missing",
        "quota_spent",
        "socket_refused",
        "http_401",
        "unknown_prompt",
        "run_seen",
        "edge_error",
        "edge_503",
        "http_500",
        "empty",
        "failed_other",
        "disconnect_before_headers",
        "disconnect_before_text",
    ] {
        langfast.reset();
        let hive = Hive::start(&[&langfast], &[]);
        langfast.control().fault(fault, 1).unwrap();
        let reply = hive.ask("gpt-4o", "echo:fine").await;
        assert_eq!(reply.content(), "fine", "{fault}");
        assert_eq!(
            steps(&langfast, "create_prompt"),
            usize::from(fault == "unknown_prompt"),
            "{fault}"
        );
        clean(&langfast).await;
    }
    // The guest ends between the run and the prompt that it needed.
    langfast.reset();
    let hive = Hive::start(&[&langfast], &[]);
    langfast.control().fault("unknown_prompt", 1).unwrap();
    langfast.control().fault("rpc_jwt_expired", 1).unwrap();
    assert_eq!(hive.ask("gpt-4o", "echo:fine").await.content(), "fine");
}

#[actix_web::test]
async fn odd_streams_decode_to_the_same_text() {
    let langfast = simulator("langfast", 1);
    let text = "一二三四五六七八九十 👋🏽 done";
    for quirk in langfast.control().known_quirks() {
        let hive = Hive::start(&[&langfast], &[]);
        let script = Script {
            text: Some(text.to_owned()),
            quirks: vec![(*quirk).to_owned()],
            times: Some(2),
            ..Script::default()
        };
        langfast.control().script(script).unwrap();
        let whole = hive.ask("gpt-4o", "x").await;
        assert_eq!(whole.content(), text, "{quirk}");
        let expected = if *quirk == "length" { "length" } else { "stop" };
        assert_eq!(whole.finish(), expected, "{quirk}");
        let streamed = hive.stream("gpt-4o", "x").await;
        assert!(streamed.is_done(), "{quirk}");
        assert!(
            *quirk == "rewrite" || streamed.streamed("content") == text,
            "{quirk}: {}",
            streamed.text
        );
    }
    clean(&langfast).await;
}

#[actix_web::test]
async fn pings_are_answered_all_the_time() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(&[&langfast], &[]);
    langfast.control().fault("fast_pings", 1).unwrap();
    let reply = hive.stream("gpt-4o", "pace:20 count:60").await;
    assert_eq!(reply.streamed("content").split_whitespace().count(), 60);
    assert!(reply.is_done());
    clean(&langfast).await;
}

#[actix_web::test]
async fn twenty_requests_need_three_guests() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(
        &[&langfast],
        &[("MIN_CREDENTIALS", "3"), ("MAX_CREDENTIALS", "5")],
    );
    for at in 0..20 {
        assert_eq!(
            hive.ask("gpt-4o", &format!("echo:{at}")).await.content(),
            at.to_string()
        );
    }
    assert_eq!(steps(&langfast, "signup"), 3);
    let accounts: std::collections::BTreeSet<_> = langfast
        .control()
        .calls("ask")
        .iter()
        .map(|call| call.account)
        .collect();
    assert_eq!(accounts.len(), 3);
    clean(&langfast).await;
}

async fn at_once(hive: &Hive, count: usize) -> Vec<Reply> {
    let asks = (0..count)
        .map(|at| async move { hive.stream("gpt-4o", &format!("tag:T{at} count:20")).await });
    futures_util::future::join_all(asks).await
}

#[actix_web::test]
async fn many_streams_need_few_guests_and_do_not_mix() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(
        &[&langfast],
        &[("MIN_CREDENTIALS", "2"), ("MAX_CREDENTIALS", "4")],
    );
    for (at, reply) in at_once(&hive, 40).await.into_iter().enumerate() {
        let expected: Vec<String> = (1..=20).map(|word| format!("T{at}-{word}")).collect();
        assert_eq!(
            reply
                .streamed("content")
                .split_whitespace()
                .collect::<Vec<_>>(),
            expected
        );
    }
    assert!(steps(&langfast, "signup") <= 4);
    clean(&langfast).await;
}

#[actix_web::test]
async fn a_busy_guest_is_shared_when_no_other_can_be_had() {
    let langfast = simulator("langfast", 1);
    let only_one = [("MIN_CREDENTIALS", "1"), ("MAX_CREDENTIALS", "1")];
    let hive = Hive::start(&[&langfast], &only_one);
    hive.ask("gpt-4o", "echo:first").await;
    let long = hive.stream("gpt-4o", "pace:50 tag:long count:100");
    let short = hive.ask("gpt-4o", "echo:short");
    let first = futures_util::future::select(Box::pin(long), Box::pin(short)).await;
    let futures_util::future::Either::Right((short, long)) = first else {
        panic!("the short answer had to wait for the long one");
    };
    drop(long);
    assert_eq!(short.content(), "short");
    let accounts = langfast.control().state().max_concurrent_per_account;
    assert_eq!(accounts.values().max(), Some(&2), "{accounts:?}");
    clean(&langfast).await;
}

#[actix_web::test]
async fn answers_without_a_name_never_share_a_guest() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(&[&langfast], &[("MAX_CREDENTIALS", "3")]);
    let script = Script {
        quirks: vec!["no_jobs".to_owned()],
        times: Some(0),
        ..Script::default()
    };
    langfast.control().script(script).unwrap();
    for (at, reply) in at_once(&hive, 12).await.into_iter().enumerate() {
        let expected: Vec<String> = (1..=20).map(|word| format!("T{at}-{word}")).collect();
        assert_eq!(
            reply
                .streamed("content")
                .split_whitespace()
                .collect::<Vec<_>>(),
            expected
        );
    }
    let most = langfast.control().state().max_concurrent_per_account;
    assert!(most.values().all(|&most| most <= 1), "{most:?}");
    clean(&langfast).await;
}

#[actix_web::test]
async fn a_failing_sign_up_hinders_nobody_who_can_use_another_guest() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(
        &[&langfast],
        &[("MIN_CREDENTIALS", "1"), ("MAX_CREDENTIALS", "5")],
    );
    hive.ask("gpt-4o", "echo:first").await;
    langfast.control().fault("signup_rate_limited", 0).unwrap();
    for reply in at_once(&hive, 10).await {
        assert!(reply.is_done());
    }
    // One guest, and a few sign-ups that failed at the same moment: then the pool waits.
    assert!((2..=4).contains(&steps(&langfast, "signup")));
    clean(&langfast).await;
}

#[actix_web::test]
async fn the_budget_of_sign_ups_is_kept() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(
        &[&langfast],
        &[
            ("LANGFAST_SIGNUPS_PER_HOUR", "2"),
            ("RETRY_DELAYS_MS", "none"),
        ],
    );
    langfast.control().fault("jwt_invalid", 0).unwrap();
    for _ in 0..4 {
        let status = hive.ask("gpt-4o", "x").await.status;
        assert!(matches!(status, 429 | 502), "{status}");
    }
    assert_eq!(steps(&langfast, "signup"), 2);
    clean(&langfast).await;
}

#[actix_web::test]
async fn a_guest_that_ends_is_refreshed_and_a_lost_one_replaced() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(
        &[&langfast],
        &[("MIN_CREDENTIALS", "1"), ("MAX_CREDENTIALS", "1")],
    );
    langfast.control().fault("short_lived", 1).unwrap();
    hive.ask("gpt-4o", "echo:first").await.content();
    // Past the moment for which a newcomer is used whatever its lifetime is.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(hive.ask("gpt-4o", "echo:second").await.content(), "second");
    assert_eq!(
        (steps(&langfast, "signup"), steps(&langfast, "refresh")),
        (1, 1),
        "{:#?}",
        langfast.control().log()
    );
    clean(&langfast).await;

    langfast.reset();
    let hive = Hive::start(
        &[&langfast],
        &[("MIN_CREDENTIALS", "1"), ("MAX_CREDENTIALS", "1")],
    );
    langfast.control().fault("short_lived", 1).unwrap();
    hive.ask("gpt-4o", "echo:first").await.content();
    langfast.control().fault("refresh_refused", 1).unwrap();
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(hive.ask("gpt-4o", "echo:second").await.content(), "second");
    assert_eq!(
        (steps(&langfast, "signup"), steps(&langfast, "refresh")),
        (2, 1)
    );
    clean(&langfast).await;
}

#[actix_web::test]
async fn a_refused_key_costs_no_guest() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(
        &[&langfast],
        &[("MIN_CREDENTIALS", "1"), ("MAX_CREDENTIALS", "2")],
    );
    hive.ask("gpt-4o", "echo:first").await;
    langfast.control().fault("api_key_invalid", 3).unwrap();
    for _ in 0..3 {
        let reply = hive.ask("gpt-4o", "x").await;
        assert!(
            reply.error().0 == 502 && reply.text.contains("LANGFAST_ANON_KEY"),
            "{}",
            reply.text
        );
    }
    assert_eq!(hive.ask("gpt-4o", "echo:last").await.content(), "last");
    assert_eq!(steps(&langfast, "signup"), 1);
    clean(&langfast).await;
}

#[actix_web::test]
async fn a_client_that_leaves_closes_the_socket() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(&[&langfast], &[("STALL_TIMEOUT", "60")]);
    hive.stream_and_leave("gpt-4o", "pace:20 count:10000").await;
    settled(&langfast.control(), SOON).await;
    assert_eq!(steps(&langfast, "disconnect"), 1);
    // Also while the runner is silent.
    langfast.control().fault("hang_after_text", 1).unwrap();
    hive.stream_and_leave("gpt-4o", "pace:20 count:10000").await;
    clean(&langfast).await;
    assert_eq!(steps(&langfast, "disconnect"), 2);
    // And when the gateway itself ends the answer.
    let mut body = question("gpt-4o", "pace:20 count:10000");
    body["stop"] = json!("3");
    assert_eq!(hive.post(&body).await.content().trim(), "1 2");
    clean(&langfast).await;
    assert_eq!(
        hive.app
            .registry
            .providers()
            .iter()
            .map(|provider| provider.accounts().census().in_flight)
            .sum::<usize>(),
        0
    );
}

#[actix_web::test]
async fn without_the_key_nothing_is_called() {
    let langfast = simulator("langfast", 1);
    let hive = Hive::start(&[&langfast], &[("LANGFAST_ANON_KEY", "")]);
    let reply = hive.ask("gpt-4o", "x").await;
    assert_eq!(reply.error().2, "provider_not_configured");
    assert!(reply.text.contains("LANGFAST_ANON_KEY"), "{}", reply.text);
    assert!(!hive.get("/v1/models").await.text.contains("gpt-4o"));
    assert_eq!(hive.get("/ready").await.status, 503);
    assert_eq!(langfast.control().state().calls, 0);
    // With it, the provider is usable before the first guest is there.
    let hive = Hive::start(&[&langfast], &[]);
    assert_eq!(hive.get("/ready").await.status, 200);
    assert_eq!(langfast.control().state().calls, 0);
}

/// wire/langfast.md section 2, own session: the service lets guests in no more.
#[actix_web::test]
async fn a_users_own_session_answers_where_guests_are_not_let_in() {
    let options = hive2api_simulators::Options {
        generation: "session".to_owned(),
        ..Default::default()
    };
    let langfast = hive2api_simulators::start("langfast", options).unwrap();
    let folder = std::env::temp_dir().join(format!("hive2api-langfast-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tokens").to_string_lossy().into_owned();
    let hive = Hive::start(&[&langfast], &[("TOKENS_FILE", &file)]);
    for _ in 0..3 {
        assert_eq!(hive.ask("gpt-4o-mini", "echo:fine").await.content(), "fine");
    }
    assert_eq!(steps(&langfast, "signup"), 0, "no guests beside it");
    assert_eq!(
        steps(&langfast, "refresh"),
        0,
        "the pasted token still holds"
    );
    // Refused before its time: renewed once, within the same request.
    langfast.control().fault("jwt_invalid", 1).unwrap();
    let reply = hive.ask("gpt-4o-mini", "echo:again").await;
    assert_eq!(reply.content(), "again", "{}", reply.text);
    assert_eq!(steps(&langfast, "refresh"), 1);
    // After a restart the rotated token is used, as the pasted one is void.
    let again = Hive::start(&[&langfast], &[("TOKENS_FILE", &file)]);
    let reply = again.ask("gpt-4o-mini", "echo:later").await;
    assert_eq!(reply.content(), "later", "{}", reply.text);
    assert_eq!(steps(&langfast, "refresh"), 2);
    // A limit of the day rests until midnight.
    langfast.control().fault("daily_limit", 1).unwrap();
    let spent = again.ask("gpt-4o-mini", "echo:x").await;
    assert_eq!(spent.status, 429, "{}", spent.text);
    assert_eq!(again.ask("gpt-4o-mini", "echo:x").await.status, 429);
    std::fs::remove_dir_all(&folder).unwrap();
    clean(&langfast).await;
}

#[actix_web::test]
async fn a_door_that_is_closed_is_not_knocked_at_again() {
    let langfast = simulator("langfast", 1);
    for fault in ["signup_disabled", "signup_closed", "signup_captcha"] {
        langfast.reset();
        let hive = Hive::start(&[&langfast], &[]);
        langfast.control().fault(fault, 0).unwrap();
        for _ in 0..3 {
            let reply = hive.ask("gpt-4o-mini", "echo:x").await;
            assert_eq!(reply.status, 502, "{fault}: {}", reply.text);
        }
        assert_eq!(steps(&langfast, "signup"), 1, "{fault}");
    }
    langfast.reset();
    let hive = Hive::start(&[&langfast], &[]);
    langfast.control().fault("log_in_401", 1).unwrap();
    let reply = hive.ask("gpt-4o-mini", "echo:x").await;
    assert_eq!(reply.error().2, "upstream_signup_closed", "{}", reply.text);
    assert_eq!(steps(&langfast, "ask"), 1, "no rotation through the pool");
}
