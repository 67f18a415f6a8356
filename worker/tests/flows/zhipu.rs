//! Zhipu, wire/zhipu.md, in both eras of its stream.

use std::time::Duration;

use hive2api_simulators::{Running, Script, control::Control};
use serde_json::{Value, json};

use crate::support::{Hive, SOON, assert_no_violations, question, settled, simulator};

pub(crate) const ERAS: [&str; 2] = ["increments", "cumulative"];

/// Forgets everything, once the deletions that are still under way have arrived.
pub(crate) async fn reset(zhipu: &Running) {
    settled(&zhipu.control(), SOON).await;
    zhipu.reset();
}

pub(crate) fn count(control: &Control, step: &str) -> usize {
    control.calls(step).len()
}

#[actix_web::test]
async fn thinks_searches_and_draws_when_asked() {
    let zhipu = simulator("zhipu", 1);
    for era in ERAS {
        reset(&zhipu).await;
        zhipu.control().set_generation(era).unwrap();
        let hive = Hive::start(&[&zhipu], &[]);
        let answer = hive.ask("glm-5", "think:先想想 echo:42").await;
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
        let silent = hive.ask("glm-5-nothink", "echo:42").await;
        assert_eq!(silent.content(), "42");
        assert_eq!(zhipu.control().calls("ask")[1].params["mode"], "");
        assert!(silent.message()["reasoning_content"].is_null());
        let mut body = question("glm-4", "cite:2 echo:found");
        body["web_search_options"] = json!({});
        let found = hive.post(&body).await;
        let message = found.message();
        let content = message["content"].as_str().unwrap();
        assert!(
            content.contains("found") && !content.contains('†'),
            "{content:?}"
        );
        let annotations = message["annotations"].as_array();
        assert_eq!(annotations.map(Vec::len), Some(2), "{}", found.text);
        let streamed = hive.stream("glm-4-search", "cite:2 echo:found").await;
        assert!(streamed.streamed("content").contains("found"));
        assert!(
            streamed.text.contains("\"annotations\""),
            "{}",
            streamed.text
        );
        let drawn = hive.ask("cogview-3-plus", "draw:3 a cat").await;
        let content = drawn.content();
        assert_eq!(content.matches("](http").count(), 3, "{content}");
        settled(&zhipu.control(), SOON).await;
        assert_no_violations(&zhipu.control());
    }
}

#[actix_web::test]
async fn every_model_is_one_that_the_service_knows() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let listed = hive.get("/v1/models").await.json();
    let listed: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|model| model["id"].as_str())
        .collect();
    for id in [
        "zhipu",
        "glm-5",
        "glm-5.1",
        "glm-5-plus",
        "glm-4",
        "glm-4-plus",
        "glm-4-air",
        "glm-4-flash",
        "glm-4-long",
        "glm-4v-plus",
        "glm-5-nothink",
        "glm-deepresearch",
        "cogview-3-plus",
        "cogvideox",
    ] {
        assert!(listed.contains(&id), "{id} in {listed:?}");
    }
    for id in [
        "zhipu",
        "chatglm",
        "glm-5",
        "glm-4-airx",
        "glm-4v",
        "glm-5.1-plus",
        "glm-9.9-unheard",
        "glm-zero",
        "glm-5-nothink",
        "glm-deepresearch",
        "676411c38945bbc58a905d31",
        "zhipu/my-zero",
    ] {
        let reply = hive.ask(id, "echo:fine").await;
        assert_eq!(reply.status, 200, "{id}: {}", reply.text);
    }
    assert_eq!(hive.ask("glm-x", "x").await.error().2, "model_not_found");
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn the_whole_history_and_the_system_prompt_arrive() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let body = json!({"model": "zhipu", "messages": [
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "yes ![p](https://e/p.png)"},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "last"},
    ]});
    assert_eq!(hive.post(&body).await.status, 200);
    assert_eq!(
        zhipu.control().calls("ask")[0].prompt.as_deref(),
        Some(
            "<|user|>\none\ntwo\n<|assistant|>\nyes ![p](https://e/p.png)\n<|user|>\n<results-d3h8>\n<result-d3h8>\n42\n</result-d3h8>\n</results-d3h8>\n<|system|>\nBe brief.\n<|user|>\nlast\n<|assistant|>\n"
        )
    );
    assert_eq!(count(&zhipu.control(), "ask"), 1);
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn every_fault_is_an_honest_status() {
    let zhipu = simulator("zhipu", 1);
    let auth = (502, "upstream_error", "upstream_auth_expired");
    let limited = (429, "rate_limit_error", "upstream_rate_limited");
    let spent = (429, "rate_limit_error", "upstream_rate_limited");
    let unavailable = (502, "upstream_error", "upstream_unavailable");
    let human = (502, "upstream_error", "upstream_verification_required");
    let unknown = (404, "invalid_request_error", "model_not_found");
    let protocol = (502, "upstream_error", "upstream_protocol_error");
    let moderated = (400, "invalid_request_error", "content_filter");
    let late = (504, "upstream_error", "upstream_timeout");
    for (fault, expected) in [
        ("access_expired", auth),
        ("http_401", auth),
        ("guest", auth),
        ("refresh_expired", auth),
        ("refresh_malformed", auth),
        ("sign_missing", protocol),
        ("sign_wrong", protocol),
        ("identity_missing", protocol),
        ("agent_missing", protocol),
        ("rate_limited", limited),
        ("rate_limited_retry_after", limited),
        ("http_429", limited),
        ("http_429_retry_after", limited),
        ("quota_spent", spent),
        ("verification", human),
        ("unknown_assistant", unknown),
        ("assistant_refused", unknown),
        ("no_permission", unknown),
        ("empty_body", unavailable),
        ("overloaded", unavailable),
        ("overloaded_200", unavailable),
        ("overload_frame", unavailable),
        ("strange", protocol),
        ("html_200", protocol),
        ("garbage", protocol),
        ("empty", unavailable),
        ("http_500", unavailable),
        ("http_502", unavailable),
        ("http_503", unavailable),
        ("http_504", unavailable),
        ("disconnect_before_headers", unavailable),
        ("disconnect_before_text", unavailable),
        ("moderated_before_text", moderated),
        ("hang_before_headers", late),
        ("hang_before_text", late),
    ] {
        for stream in [false, true] {
            // A worker each: a refused credential stays refused.
            let hive = Hive::start(&[&zhipu], &[("STALL_TIMEOUT", "0.4")]);
            zhipu.reset();
            zhipu.control().fault(fault, 0).unwrap();
            let mut body = question("zhipu", "hello");
            body["stream"] = json!(stream);
            let reply = hive.post(&body).await;
            if stream && fault == "moderated_before_text" {
                // Section 7: streamed, the service's words are the answer.
                assert!(reply.is_done(), "{}", reply.text);
                assert!(reply.text.contains(r#""finish_reason":"content_filter""#));
                settled(&zhipu.control(), SOON).await;
                continue;
            }
            let (status, kind, code) = expected;
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
            if code == "upstream_auth_expired" {
                assert!(reply.text.contains("ZHIPU_TOKEN"), "{}", reply.text);
            }
            settled(&zhipu.control(), SOON).await;
            let violations = zhipu.control().state().violations;
            assert!(violations.is_empty(), "{fault}: {violations:#?}");
        }
    }
}

#[actix_web::test]
async fn what_another_signature_or_a_moment_mends_is_mended() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    for fault in [
        "sign_wrong",
        "sign_missing",
        "overloaded",
        "overload_frame",
        "http_502",
        "empty",
        "empty_body",
        "disconnect_before_headers",
        "disconnect_before_text",
        "access_expired",
        "http_401",
    ] {
        zhipu.control().fault(fault, 1).unwrap();
        let reply = hive.ask("zhipu", "echo:fine").await;
        assert_eq!(reply.content(), "fine", "{fault}");
    }
    // Each with a signature of its own; a used one would be a violation.
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn a_busy_account_is_waited_for_or_passed_over() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    for fault in ["busy", "busy_code", "busy_frame"] {
        reset(&zhipu).await;
        zhipu.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.ask("zhipu", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
        assert_eq!(count(&zhipu.control(), "ask"), 2);
    }
    // Another account is sooner.
    let zhipu = simulator("zhipu", 2);
    let hive = Hive::start(&[&zhipu], &[]);
    zhipu.control().fault("busy", 1).unwrap();
    let started = std::time::Instant::now();
    assert_eq!(hive.ask("zhipu", "echo:fine").await.content(), "fine");
    assert!(started.elapsed() < Duration::from_secs(2));
    let accounts: Vec<_> = zhipu
        .control()
        .calls("ask")
        .iter()
        .map(|call| call.account)
        .collect();
    assert!(
        accounts.len() == 2 && accounts[0] != accounts[1],
        "{accounts:?}"
    );
    for fault in ["rate_limited", "quota_spent", "guest", "verification"] {
        reset(&zhipu).await;
        let hive = Hive::start(&[&zhipu], &[]);
        zhipu.control().fault(fault, 1).unwrap();
        assert_eq!(
            hive.ask("zhipu", "echo:fine").await.content(),
            "fine",
            "{fault}"
        );
    }
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn an_account_answers_one_at_a_time() {
    let zhipu = simulator("zhipu", 2);
    let hive = Hive::start(&[&zhipu], &[]);
    let asks = (0..6).map(|at| {
        let hive = &hive;
        async move {
            hive.ask("zhipu", &format!("pace:5 tag:T{at} count:10"))
                .await
        }
    });
    let replies = futures_util::future::join_all(asks).await;
    for (at, reply) in replies.iter().enumerate() {
        assert!(
            reply.content().starts_with(&format!("T{at}-1 ")),
            "{}",
            reply.text
        );
    }
    let state = zhipu.control().state();
    assert!(
        state
            .max_concurrent_per_account
            .values()
            .all(|most| *most == 1),
        "{state:?}"
    );
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn a_client_that_leaves_stops_the_upstream_call_and_its_conversation_is_deleted() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[("STALL_TIMEOUT", "60")]);
    hive.stream_and_leave("zhipu", "pace:20 count:10000").await;
    settled(&zhipu.control(), SOON).await;
    assert!(zhipu.control().calls("ask")[0].aborted);
    assert_eq!(zhipu.control().state().deleted, 1);
    // Also while the service is silent.
    zhipu.control().fault("hang_after_text", 1).unwrap();
    hive.stream_and_leave("zhipu", "pace:20 count:10000").await;
    settled(&zhipu.control(), SOON).await;
    // The slot may be taken for a moment; the next turn waits for it.
    zhipu.control().fault("lingers", 1).unwrap();
    hive.stream_and_leave("zhipu", "pace:20 count:10000").await;
    assert_eq!(hive.ask("zhipu", "echo:fine").await.content(), "fine");
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}

#[actix_web::test]
async fn conversations_are_kept_when_told_so_and_a_failed_deletion_is_nobodys_business() {
    let zhipu = simulator("zhipu", 1);
    for keep in [
        ("ZHIPU_DELETE_CONVERSATIONS", "false"),
        ("CONVERSATIONS", "keep"),
    ] {
        zhipu.reset();
        let hive = Hive::start(&[&zhipu], &[keep]);
        hive.ask("zhipu", "hello").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let state = zhipu.control().state();
        assert_eq!((state.conversations, state.deleted), (1, 0), "{keep:?}");
    }
    zhipu.reset();
    let hive = Hive::start(&[&zhipu], &[]);
    zhipu.control().fault("delete_refused", 1).unwrap();
    assert_eq!(hive.ask("zhipu", "echo:fine").await.content(), "fine");
    // An agent's and a drawing's conversation is deleted with its own id.
    reset_after_refused(&zhipu).await;
    for model in ["676411c38945bbc58a905d31", "cogview-3-plus"] {
        assert_eq!(hive.ask(model, "draw:1 x").await.status, 200);
        settled(&zhipu.control(), SOON).await;
    }
    assert_eq!(zhipu.control().state().deleted, 2);
    assert_no_violations(&zhipu.control());
}

/// A conversation whose deletion was refused stays; the refusal has arrived by then.
async fn reset_after_refused(zhipu: &Running) {
    while count(&zhipu.control(), "delete") == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    zhipu.reset();
}

#[actix_web::test]
async fn the_sites_own_list_is_read_apart_from_turns() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let provider = hive.app.registry.providers();
    let provider = provider.iter().find(|it| it.name() == "zhipu").unwrap();
    zhipu.control().fault("models_refused", 1).unwrap();
    provider.upkeep(messenger(), 0).await;
    assert!(
        provider.discovered().is_empty(),
        "a failure leaves the table"
    );
    provider.upkeep(messenger(), 0).await;
    let found: Vec<String> = provider.discovered().into_iter().map(|it| it.id).collect();
    assert!(!found.is_empty(), "{:?}", zhipu.control().calls("models"));
    let listed = hive.get("/v1/models").await.text;
    for id in &found {
        assert!(listed.contains(id.as_str()), "{id} in {listed}");
        assert_eq!(hive.ask(id, "echo:fine").await.content(), "fine", "{id}");
    }
    // A list that cannot be had any more stays what it was.
    zhipu.control().fault("models_refused", 1).unwrap();
    provider.upkeep(messenger(), 0).await;
    assert_eq!(provider.discovered().len(), found.len());
    settled(&zhipu.control(), SOON).await;
    assert_no_violations(&zhipu.control());
}

fn messenger() -> hive2api_worker::providers::Messenger {
    use hive2api_worker::upstream::{Client, Proxies, Timeouts};
    let timeouts = Timeouts {
        connect: Duration::from_secs(2),
        stall: Duration::from_secs(5),
    };
    let client = Client::with_proxies(timeouts, std::sync::Arc::new(Proxies::default()));
    hive2api_worker::providers::Messenger::new("zhipu", client)
}

/// The samples of section 6.4, played to the byte.
#[actix_web::test]
async fn the_pages_samples_are_answers() {
    let zhipu = simulator("zhipu", 1);
    let hive = Hive::start(&[&zhipu], &[]);
    let samples: [(&str, Value, &str); 3] = [
        (
            include_str!("../fixtures/zhipu/increments.sse"),
            json!("想一想"),
            "1, 12👋",
        ),
        (
            include_str!("../fixtures/zhipu/cumulative.sse"),
            json!("想一想"),
            "1, 12👋",
        ),
        (
            include_str!("../fixtures/zhipu/intervened.sse"),
            Value::Null,
            "我可以\n\n这个话题我们换一个吧。",
        ),
    ];
    for (sample, thinking, text) in samples {
        let script = Script {
            raw: Some(sample.to_owned()),
            times: Some(2),
            ..Script::default()
        };
        zhipu.control().script(script).unwrap();
        let whole = hive.ask("zhipu", "x").await.message();
        assert_eq!(whole["content"], text);
        assert_eq!(whole["reasoning_content"], thinking);
        assert_eq!(hive.stream("zhipu", "x").await.streamed("content"), text);
    }
}
