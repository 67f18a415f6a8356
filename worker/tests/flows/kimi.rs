//! Kimi, wire/kimi.md, over both of its transports.

use std::time::Duration;

use hive2api_simulators::{Running, control::Control};
use serde_json::{Value, json};

use crate::support::{Hive, PIXEL, SOON, assert_no_violations, question, settled, simulator};

pub(crate) const TRANSPORTS: [&str; 2] = ["connect", "websocket"];

/// A worker that has only the numbered ones of the simulator's accounts: 1 an access token, 2 a refresh token.
pub(crate) fn hive(kimi: &Running, account: usize, more: &[(&str, &str)]) -> Hive {
    let own = if account == 1 {
        "KIMI_TOKEN".to_owned()
    } else {
        format!("KIMI_TOKEN_{account}")
    };
    let env = kimi.env();
    let token = &env.iter().find(|(name, _)| *name == own).unwrap().1;
    let mut vars = vec![
        ("KIMI_TOKEN", token.as_str()),
        ("KIMI_TOKEN_2", ""),
        ("KIMI_TOKEN_3", ""),
    ];
    vars.extend(more);
    Hive::start(&[kimi], &vars)
}

/// Forgets everything, once the deletions that are still under way have arrived.
pub(crate) async fn reset(kimi: &Running) {
    settled(&kimi.control(), SOON).await;
    kimi.reset();
}

pub(crate) fn count(control: &Control, step: &str) -> usize {
    control.calls(step).len()
}

#[actix_web::test]
async fn thinks_and_searches_when_asked() {
    let kimi = simulator("kimi", 1);
    for transport in TRANSPORTS {
        reset(&kimi).await;
        let hive = Hive::start(&[&kimi], &[("KIMI_TRANSPORT", transport)]);
        let answer = hive.ask("kimi-k2-thinking", "think:先想想 echo:42").await;
        let message = answer.message();
        assert_eq!(
            (
                message["reasoning_content"].as_str(),
                message["content"].as_str()
            ),
            (Some("先想想"), Some("42")),
            "{}",
            answer.text
        );
        let mut body = question("kimi", "cite:2 echo:found");
        body["web_search_options"] = json!({});
        let answer = hive.post(&body).await;
        let found = answer.message();
        let content = found["content"].as_str().unwrap();
        assert!(
            !content.contains(['\u{E3A0}', '\u{E3A3}', '\u{E3A8}']),
            "{content:?}"
        );
        let annotations = found["annotations"].as_array().unwrap();
        assert_eq!(annotations.len(), 2, "{}", answer.text);
        for annotation in annotations {
            let citation = &annotation["url_citation"];
            assert!(citation["url"].as_str().unwrap().starts_with("http"));
            assert_eq!(citation["start_index"], citation["end_index"]);
            assert!(citation["start_index"].as_u64().unwrap() <= content.chars().count() as u64);
        }
        let streamed = hive.stream("kimi-search", "cite:2 echo:found").await;
        assert_eq!(streamed.streamed("content"), content);
        assert!(
            streamed.text.contains(r#""annotations""#),
            "{}",
            streamed.text
        );
        let asked: Vec<(Option<String>, Value, Value)> = kimi
            .control()
            .calls("ask")
            .into_iter()
            .map(|call| {
                (
                    call.model,
                    call.params["thinking"].clone(),
                    call.params["search"].clone(),
                )
            })
            .collect();
        let row = |model: &str, thinking: bool, search: bool| {
            (Some(model.to_owned()), json!(thinking), json!(search))
        };
        assert_eq!(
            asked,
            [
                row("SCENARIO_K2", true, false),
                row("SCENARIO_K2D5", false, true),
                row("SCENARIO_K2D5", false, true)
            ]
        );
        assert_no_violations(&kimi.control());
    }
}

#[actix_web::test]
async fn every_model_is_one_that_the_service_knows() {
    let kimi = simulator("kimi", 1);
    let hive = Hive::start(&[&kimi], &[]);
    for id in [
        "kimi",
        "kimi-vision",
        "kimi-k2.6",
        "kimi-k2.5",
        "kimi-k2",
        "kimi-k1.5",
        "kimi-k1",
        "moonshot-v1-32k",
        "kimi-thinking",
        "kimi-search",
        "kimi-research",
        "kimi-k3",
        "kimi/kimi-k2-search",
    ] {
        let reply = hive.ask(id, "echo:fine").await;
        assert_eq!(reply.status, 200, "{id}: {}", reply.text);
    }
    assert_eq!(hive.ask("kimi-k9", "x").await.error().2, "model_not_found");
    assert_no_violations(&kimi.control());
}

#[actix_web::test]
async fn the_whole_history_and_the_system_prompt_arrive() {
    let kimi = simulator("kimi", 1);
    let hive = Hive::start(&[&kimi], &[]);
    let body = json!({"model": "kimi", "messages": [
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "last"},
    ]});
    assert_eq!(hive.post(&body).await.status, 200);
    assert_eq!(
        kimi.control().calls("ask")[0].prompt.as_deref(),
        Some(
            "system:Be brief.\nuser:one\ntwo\nassistant:<calls-d3h8>\n<call-d3h8 name=\"f\">\n</call-d3h8>\n</calls-d3h8>\nuser:<results-d3h8>\n<result-d3h8 call=\"1\" tool=\"f\">\n42\n</result-d3h8>\n</results-d3h8>\nuser:last\n"
        )
    );
    assert_eq!(count(&kimi.control(), "ask"), 1);
    assert_no_violations(&kimi.control());
}

#[actix_web::test]
async fn every_fault_is_an_honest_status() {
    let kimi = simulator("kimi", 1);
    let auth = (502, "upstream_error", "upstream_auth_expired");
    let forbidden = (502, "upstream_error", "upstream_forbidden");
    let limited = (429, "rate_limit_error", "upstream_rate_limited");
    let unavailable = (502, "upstream_error", "upstream_unavailable");
    let invalid = (400, "invalid_request_error", "upstream_invalid_argument");
    let not_found = (502, "upstream_error", "upstream_not_found");
    let moderated = (400, "invalid_request_error", "content_filter");
    let protocol = (502, "upstream_error", "upstream_protocol_error");
    let late = (504, "upstream_error", "upstream_timeout");
    for (fault, expected) in [
        ("unauthenticated", auth),
        ("trailer_unauthenticated", auth),
        ("http_401", auth),
        ("permission_denied", forbidden),
        ("trailer_permission_denied", forbidden),
        ("http_403", forbidden),
        ("not_found", not_found),
        ("trailer_not_found", not_found),
        ("http_404", not_found),
        ("rate_limited", limited),
        ("rate_limited_retry_after", limited),
        ("trailer_overloaded", limited),
        ("trailer_model_rate_limit", limited),
        ("trailer_rate_limited", limited),
        ("http_429", limited),
        ("http_429_retry_after", limited),
        ("invalid_argument", invalid),
        ("trailer_invalid_argument", invalid),
        ("trailer_failed_precondition", invalid),
        ("internal", unavailable),
        ("unavailable", unavailable),
        ("trailer_unavailable", unavailable),
        ("trailer_internal", unavailable),
        ("trailer_unknown", unavailable),
        ("trailer_strange", unavailable),
        ("exception_overloaded", unavailable),
        ("exception_other", unavailable),
        ("http_500", unavailable),
        ("http_502", unavailable),
        ("http_503", unavailable),
        ("http_504", unavailable),
        ("disconnect_before_headers", unavailable),
        ("disconnect_before_text", unavailable),
        ("exception_moderated", moderated),
        ("notification_filtered", moderated),
        ("empty", (502, "upstream_error", "upstream_empty")),
        ("bad_json", protocol),
        ("bad_flags", protocol),
        ("compressed", protocol),
        ("absurd_length", protocol),
        ("garbage", protocol),
        ("html_200", protocol),
        ("hang_before_headers", late),
        ("hang_before_text", late),
    ] {
        for stream in [false, true] {
            // A worker each: a refused credential stays refused.
            let hive = Hive::start(&[&kimi], &[("STALL_TIMEOUT", "0.4")]);
            kimi.reset();
            kimi.control().fault(fault, 0).unwrap();
            let mut body = question("kimi", "hello");
            body["stream"] = json!(stream);
            let reply = hive.post(&body).await;
            let (status, kind, code) = expected;
            // Some faults strike after the first words: then the status is out already.
            let is_late = stream && reply.status == 200;
            let error = if is_late {
                assert!(!reply.is_done(), "{fault}: {}", reply.text);
                let error = reply.stream_error().unwrap();
                let word = |name: &str| error[name].as_str().unwrap().to_owned();
                (status, word("type"), word("code"))
            } else {
                reply.error()
            };
            assert_eq!(
                error,
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
            // Of a chat whose name never came nobody can ask for the deletion.
            if fault != "garbage" {
                settled(&kimi.control(), SOON).await;
            }
            assert_no_violations(&kimi.control());
        }
    }
}

#[actix_web::test]
async fn the_same_faults_over_a_websocket() {
    let kimi = simulator("kimi", 1);
    for (fault, status, code) in [
        ("handshake_refused", 502, "upstream_auth_expired"),
        ("trailer_unauthenticated", 502, "upstream_auth_expired"),
        ("trailer_overloaded", 429, "upstream_rate_limited"),
        ("exception_overloaded", 502, "upstream_unavailable"),
        ("exception_moderated", 400, "content_filter"),
        ("trailer_invalid_argument", 400, "upstream_invalid_argument"),
        ("empty", 502, "upstream_empty"),
        ("bad_json", 502, "upstream_protocol_error"),
        ("bad_flags", 502, "upstream_protocol_error"),
        ("hang_before_text", 504, "upstream_timeout"),
        ("disconnect_before_text", 502, "upstream_unavailable"),
    ] {
        // The simulator needs a second to cut a WebSocket.
        let stall = if status == 504 { "0.4" } else { "3" };
        let hive = Hive::start(
            &[&kimi],
            &[("STALL_TIMEOUT", stall), ("KIMI_TRANSPORT", "websocket")],
        );
        reset(&kimi).await;
        kimi.control().fault(fault, 0).unwrap();
        let reply = hive.ask("kimi", "hello").await;
        let error = reply.error();
        assert_eq!(
            (error.0, error.2.as_str()),
            (status, code),
            "{fault}: {}",
            reply.text
        );
        settled(&kimi.control(), SOON).await;
        assert_no_violations(&kimi.control());
    }
}

#[actix_web::test]
async fn passing_faults_are_tried_again_and_the_client_sees_none_of_it() {
    let kimi = simulator("kimi", 1);
    let hive = Hive::start(&[&kimi], &[]);
    for fault in [
        "internal",
        "unavailable",
        "exception_overloaded",
        "trailer_unavailable",
        "disconnect_before_headers",
        "disconnect_before_text",
    ] {
        kimi.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.ask("kimi", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
    }
    // A rate limit is another account's turn, or the client's to wait for.
    reset(&kimi).await;
    kimi.control().fault("rate_limited", 1).unwrap();
    assert_eq!(hive.ask("kimi", "echo:fine").await.status, 429);
    assert_eq!(count(&kimi.control(), "ask"), 1);
    let kimi = simulator("kimi", 2);
    for fault in ["rate_limited", "trailer_overloaded", "permission_denied"] {
        reset(&kimi).await;
        let hive = Hive::start(&[&kimi], &[]);
        kimi.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.ask("kimi", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
        settled(&kimi.control(), SOON).await;
        assert_no_violations(&kimi.control());
    }
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_upstream_call_and_its_chat_is_deleted() {
    let kimi = simulator("kimi", 1);
    for transport in TRANSPORTS {
        reset(&kimi).await;
        let hive = Hive::start(
            &[&kimi],
            &[("STALL_TIMEOUT", "60"), ("KIMI_TRANSPORT", transport)],
        );
        hive.stream_and_leave("kimi", "pace:20 count:10000").await;
        settled(&kimi.control(), SOON).await;
        assert!(kimi.control().calls("ask")[0].aborted);
        assert_eq!(kimi.control().state().deleted, 1);
        // Also while the service is silent.
        kimi.control().fault("hang_after_text", 1).unwrap();
        hive.stream_and_leave("kimi", "pace:20 count:10000").await;
        settled(&kimi.control(), SOON).await;
        assert_no_violations(&kimi.control());
    }
}

#[actix_web::test]
async fn chats_are_kept_when_told_so_and_a_failed_deletion_is_nobodys_business() {
    let kimi = simulator("kimi", 1);
    for keep in [("KIMI_KEEP_CHATS", "1"), ("CONVERSATIONS", "keep")] {
        kimi.reset();
        let hive = Hive::start(&[&kimi], &[keep]);
        hive.ask("kimi", "hello").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let state = kimi.control().state();
        assert_eq!((state.conversations, state.deleted), (1, 0), "{keep:?}");
    }
    let hive = Hive::start(&[&kimi], &[]);
    for fault in ["delete_refused", "delete_not_found"] {
        kimi.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.ask("kimi", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
    }
}

#[actix_web::test]
async fn pictures_and_documents_go_along() {
    let kimi = simulator("kimi", 2);
    let ask = |hive: &Hive| {
        let message = json!([
            {"type": "text", "text": "echo:seen"},
            {"type": "image_url", "image_url": {"url": PIXEL}},
            {"type": "file", "file": {"filename": "notes.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}},
            {"type": "file", "file_url": {"url": "data:text/plain;base64,aGk="}},
        ]);
        let body =
            json!({"model": "kimi-vision", "messages": [{"role": "user", "content": message}]});
        let request = hive.request("POST", "/v1/chat/completions");
        async move {
            crate::support::Reply::read(request.send_body(body.to_string()).await.unwrap()).await
        }
    };
    for (account, transport) in [(1, "connect"), (2, "websocket")] {
        reset(&kimi).await;
        let hive = hive(&kimi, account, &[("KIMI_TRANSPORT", transport)]);
        let reply = ask(&hive).await;
        assert_eq!(reply.content(), "seen", "{}", reply.text);
        assert_eq!(kimi.control().calls("ask")[0].params["files"], 3);
        kimi.control().fault("parse_pending", 1).unwrap();
        assert_eq!(ask(&hive).await.content(), "seen");
        for (fault, status, code) in [
            ("parse_failed", 400, "file_unparsable"),
            ("upload_refused", 0, ""),
        ] {
            kimi.control().fault(fault, 0).unwrap();
            let reply = ask(&hive).await;
            println!("{fault}: {} {}", reply.status, reply.text);
            assert!(reply.status != 200, "{fault}");
            assert!(
                status == 0 || (reply.status, reply.error().2.as_str()) == (status, code),
                "{fault}: {}",
                reply.text
            );
            kimi.control().clear_faults();
        }
        // A picture alone is a question, too.
        let alone = json!({"model": "kimi-vision", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]});
        assert_eq!(hive.post(&alone).await.status, 200);
        settled(&kimi.control(), SOON).await;
        assert_no_violations(&kimi.control());
    }
}

/// The newest generation, each alone and one after the other under a running worker (section 4.5).
#[actix_web::test]
async fn k3_is_asked_for_as_the_service_knows_it() {
    let kimi = simulator("kimi", 2);
    for transport in TRANSPORTS {
        reset(&kimi).await;
        let hive = Hive::start(&[&kimi], &[("KIMI_TRANSPORT", transport)]);
        for generation in ["k3", "k3_scenario", "k3", "both"] {
            kimi.control().set_generation(generation).unwrap();
            for _ in 0..2 {
                let reply = hive.ask("kimi-k3", "echo:fine").await;
                assert_eq!(
                    reply.content(),
                    "fine",
                    "{transport} {generation}: {}",
                    reply.text
                );
            }
            // One refusal a change, not one a request: what was answered is remembered.
            let reply = hive.ask("kimi-k3-thinking", "echo:again").await;
            assert_eq!(reply.content(), "again");
        }
        let asked = kimi.control().calls("ask");
        let refused = asked.iter().filter(|call| !call.ok).count();
        assert_eq!((asked.len(), refused), (14, 2), "{transport}");
        settled(&kimi.control(), SOON).await;
    }
    // Nobody has K3: the verdict on what was asked for, and the account goes on.
    reset(&kimi).await;
    kimi.control().set_generation("k2").unwrap();
    let hive = Hive::start(&[&kimi], &[]);
    let reply = hive.ask("kimi-k3", "echo:x").await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    assert_eq!(hive.ask("kimi", "echo:fine").await.content(), "fine");
}

#[actix_web::test]
async fn memberships_and_credits_are_told_apart() {
    let kimi = simulator("kimi", 1);
    let hive = Hive::start(&[&kimi], &[]);
    // Account 1 is no member.
    for (model, fault) in [("kimi-k3-long", None), ("kimi", Some("trailer_membership"))] {
        if let Some(fault) = fault {
            kimi.control().fault(fault, 1).unwrap();
        }
        let reply = hive.ask(model, "echo:x").await;
        assert_eq!(
            (reply.status, reply.error().2.as_str()),
            (403, "upstream_membership_required"),
            "{fault:?}"
        );
        // It says nothing about the credential.
        assert_eq!(hive.ask("kimi", "echo:fine").await.content(), "fine");
    }
    kimi.control().fault("trailer_overloaded_words", 1).unwrap();
    let busy = hive.ask("kimi", "echo:x").await;
    assert_eq!(busy.error().2, "upstream_rate_limited", "{}", busy.text);
    tokio::time::sleep(Duration::from_millis(50)).await;
    for fault in ["trailer_credits", "trailer_credits_words"] {
        let hive = Hive::start(&[&kimi], &[]);
        kimi.control().fault(fault, 1).unwrap();
        let spent = hive.ask("kimi", "echo:x").await;
        assert_eq!(
            (spent.status, spent.error().2.as_str()),
            (429, "upstream_quota_exceeded"),
            "{fault}"
        );
        // Ten minutes, not seconds.
        let wait: u64 = spent.header("retry-after").parse().unwrap();
        assert!((500..=720).contains(&wait), "{wait}");
        let asks = count(&kimi.control(), "ask");
        assert_eq!(hive.ask("kimi", "echo:x").await.status, 429);
        assert_eq!(count(&kimi.control(), "ask"), asks, "left alone");
    }
    let hive = Hive::start(&[&kimi], &[("KIMI_FREE_FALLBACK", "kimi-k3")]);
    kimi.control().fault("trailer_overloaded", 1).unwrap();
    let reply = hive.ask("kimi", "echo:other").await;
    assert_eq!(reply.content(), "other", "{}", reply.text);
    kimi.control().fault("trailer_overloaded", 1).unwrap();
    assert_eq!(hive.ask("kimi-k2.6", "echo:x").await.status, 429);
}

#[actix_web::test]
async fn the_services_own_list_is_read_apart_from_turns() {
    let kimi = simulator("kimi", 2);
    let hive = hive(&kimi, 2, &[]);
    let messenger = hive_worker_messenger("kimi");
    let provider = hive.app.registry.providers();
    let provider = provider.iter().find(|it| it.name() == "kimi").unwrap();
    assert!(provider.discovered().is_empty());
    kimi.control().fault("models_refused", 1).unwrap();
    provider.upkeep(messenger.clone(), 1_000).await;
    assert!(
        provider.discovered().is_empty(),
        "a failure leaves the table"
    );
    provider.upkeep(messenger.clone(), 1_100).await;
    assert_eq!(count(&kimi.control(), "models"), 1, "once in ten minutes");
    provider.upkeep(messenger, 2_000).await;
    let found: Vec<String> = provider.discovered().into_iter().map(|it| it.id).collect();
    assert_eq!(found, ["kimi-k3-long", "kimi-k3-swarm"]);
    let listed = hive.get("/v1/models").await.text;
    assert!(listed.contains("kimi-k3-swarm"), "{listed}");
    assert_eq!(
        hive.ask("kimi-k3-swarm", "echo:fine").await.content(),
        "fine"
    );
    settled(&kimi.control(), SOON).await;
    assert_no_violations(&kimi.control());
}

fn hive_worker_messenger(provider: &str) -> hive2api_worker::providers::Messenger {
    use hive2api_worker::upstream::{Client, Proxies, Timeouts};
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        stall: Duration::from_secs(5),
    };
    let client = Client::with_proxies(timeouts, std::sync::Arc::new(Proxies::default()));
    hive2api_worker::providers::Messenger::new(provider, client)
}
