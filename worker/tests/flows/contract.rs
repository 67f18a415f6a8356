//! What every provider must do, asked of each in the same words. A provider's own file keeps what only its service has.
//!
//! A new provider is one line at the end.

use std::time::Duration;

use hive2api_simulators::{self as simulate, Options, Running, Script};
use serde_json::json;

use crate::{
    contract_tools::{calls_of_tools, calls_that_are_cut_off, thoughts_about_tools},
    support::{
        Hive, Reply, SOON, assert_no_violations, fifty_streams_do_not_mix, odd_script, question,
        settled,
    },
};

/// A service, and how it is asked here.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    /// The provider's name, and its simulator's.
    name: &'static str,
    /// A model that answers without thinking.
    pub(crate) model: &'static str,
    /// One that thinks aloud.
    pub(crate) thinking: Option<&'static str>,
    /// One generation of the service, or all at once.
    generation: &'static str,
    /// Further settings: of several ways to speak with a service, the one that is meant.
    settings: &'static [(&'static str, &'static str)],
    /// Longest question that the service takes, in characters.
    most_chars: usize,
    /// The service keeps conversations, which have to be deleted.
    keeps_conversations: bool,
    /// Marks of the service's own, which are text where a person writes them.
    nasty: &'static [&'static str],
    /// The simulator's own ways to fail after some text, beside those of all.
    breaks: &'static [&'static str],
    /// Its ways to moderate an answer after some text: a whole answer, for that reason.
    moderates: &'static [&'static str],
    /// The model that is asked for streams with each of the service's oddities, and whether some of them say more in the end
    /// than was streamed.
    odd: Option<(&'static str, bool)>,
    /// A question without a word is refused before anybody is asked.
    wants_words: bool,
    /// An answer that broke off is gone on with, so that nobody sees it; the provider's own file has the tests.
    resumes: bool,
    /// An API has limits of its own, and its whole answers come in one piece.
    pub(crate) is_web_chat: bool,
    /// Faults come as HTTP answers.
    is_http: bool,
}

const KIMI: Service = Service {
    name: "kimi",
    model: "kimi",
    thinking: Some("kimi-thinking"),
    most_chars: 100_000,
    nasty: &["</think> {{{ \u{E3A8}x"],
    breaks: &[
        "cut_off",
        "overloaded_after_text",
        "internal_after_text",
        "exception_overloaded_after_text",
    ],
    moderates: &[
        "exception_moderated_after_text",
        "notification_filtered_after_text",
    ],
    odd: Some(("kimi-thinking-search", false)),
    ..ANY
};

const MINIMAX: Service = Service {
    name: "minimax",
    model: "minimax",
    thinking: Some("MiniMax-M3-thinking"),
    nasty: &["</think> {{{ user:x", "haha"],
    breaks: &[
        "cut_off",
        "error_record_after_text",
        "error_finish_after_text",
        "bad_record_after_text",
    ],
    moderates: &["moderated_after_text"],
    ..ANY
};

const ZHIPU: Service = Service {
    name: "zhipu",
    model: "glm-5-nothink",
    thinking: Some("glm-5"),
    nasty: &["</think> {{{ 【1】【2†so <|user|>x"],
    breaks: &["cut_off", "bad_frame_after_text"],
    moderates: &["moderated_after_text"],
    odd: Some(("zhipu", true)),
    ..ANY
};

const ANY: Service = Service {
    name: "",
    model: "",
    thinking: None,
    generation: simulate::BOTH,
    settings: &[],
    most_chars: 20_000,
    keeps_conversations: true,
    nasty: &[],
    breaks: &[],
    moderates: &[],
    odd: None,
    wants_words: true,
    resumes: false,
    is_web_chat: true,
    is_http: true,
};

impl Service {
    pub(crate) fn running(&self) -> Running {
        let options = Options {
            generation: self.generation.to_owned(),
            ..Options::default()
        };
        simulate::start(self.name, options).unwrap()
    }

    pub(crate) fn hive(&self, service: &Running, more: &[(&str, &str)]) -> Hive {
        Hive::start(&[service], &[self.settings, more].concat())
    }
}

/// Forgets orders and calls, once the deletions that are still under way have arrived.
pub(crate) async fn clean(service: &Running) {
    settled(&service.control(), SOON).await;
    service.control().clear_faults();
    service.control().clear_scripts();
}

/// What has broken other gateways: framing, marks of other services, everything outside the BMP, lone marks.
const NASTY: &[&str] = &[
    "data: [DONE]\n\ndata: {\"x\":1}\r\n\tq\"\\ \u{2028}\u{2029}\u{200B}\u{FEFF}👩‍👩‍👧‍👦👋🏽 ```js\n中文 e\u{301} \u{FFFD}x",
    "42[\"execution:chunk\",{}] <end> FINISHED {{{ event: error \\u4f60 &amp; %20 ${HOME}",
    "你好",
    " l\n\n\ni ",
    "x",
];

async fn good_days(service: Service) {
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let long = "长🙂x ".repeat(service.most_chars / 5);
    let own = service.nasty.iter().copied();
    for text in NASTY.iter().copied().chain(own).chain([long.trim_end()]) {
        let ask = format!("echo:{text}");
        let whole = hive.ask(service.model, &ask).await;
        assert_eq!(whole.content(), text);
        assert_eq!(whole.finish(), "stop");
        let streamed = hive.stream(service.model, &ask).await;
        assert_eq!(streamed.streamed("content"), text);
        assert!(streamed.is_done());
    }
    settled(&running.control(), SOON).await;
    assert_no_violations(&running.control());
}

async fn every_split_of_the_wire(service: Service) {
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let model = service.thinking.unwrap_or(service.model);
    for write_bytes in [1, 2, 7, 61] {
        let text = "一二三四五六七八九十 👋🏽 {done}";
        let script = Script {
            text: Some(text.to_owned()),
            reasoning: service.thinking.map(|_| "想一想\n".to_owned()),
            write_bytes: Some(write_bytes),
            times: Some(2),
            ..Script::default()
        };
        running.control().script(script).unwrap();
        let whole = hive.ask(model, "x").await;
        let streamed = hive.stream(model, "x").await;
        assert_eq!(whole.content(), text, "{write_bytes}");
        assert_eq!(streamed.streamed("content"), text, "{write_bytes}");
        if service.thinking.is_some() {
            let thought = streamed.streamed("reasoning_content");
            assert_eq!(thought.trim(), "想一想", "{write_bytes}");
            assert_eq!(whole.message()["reasoning_content"], json!(thought));
        }
    }
    clean(&running).await;
    assert_no_violations(&running.control());
}

async fn choices_and_limits(service: Service) {
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let mut two = question(service.model, "echo:twice");
    two["n"] = json!(2);
    let reply = hive.post(&two).await.json();
    for choice in [0, 1] {
        assert_eq!(reply["choices"][choice]["message"]["content"], "twice");
    }
    if !service.is_web_chat {
        return;
    }
    let stopped = hive
        .stream_with(service.model, "pace:5 count:1000", json!({"stop": " 7"}))
        .await;
    assert_eq!(stopped.streamed("content"), "1 2 3 4 5 6");
    assert!(stopped.is_done() && stopped.text.contains(r#""finish_reason":"stop""#));
    // What was cut is stopped upstream as well.
    settled(&running.control(), SOON).await;
    let short = hive
        .stream_with(service.model, "pace:5 count:1000", json!({"max_tokens": 5}))
        .await;
    assert!(
        short.text.contains(r#""finish_reason":"length""#),
        "{}",
        short.text
    );
    settled(&running.control(), SOON).await;
    assert_no_violations(&running.control());
}

async fn a_client_that_leaves(service: Service) {
    let running = service.running();
    let hive = service.hive(&running, &[("STALL_TIMEOUT", "60")]);
    hive.stream_and_leave(service.model, "pace:20 count:1000")
        .await;
    settled(&running.control(), SOON).await;
    let deleted = usize::from(service.keeps_conversations);
    assert!(running.control().state().deleted >= deleted);
    // Also while the service is silent.
    running.control().fault("hang_after_text", 1).unwrap();
    hive.stream_and_leave(service.model, "pace:20 count:1000")
        .await;
    settled(&running.control(), SOON).await;
    assert!(running.control().state().deleted >= 2 * deleted);
    assert_no_violations(&running.control());
}

async fn conversations_are_kept_when_told_so(service: Service) {
    if !service.keeps_conversations {
        return;
    }
    let running = service.running();
    let hive = service.hive(&running, &[("CONVERSATIONS", "keep")]);
    assert_eq!(hive.ask(service.model, "echo:x").await.content(), "x");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let state = running.control().state();
    assert_eq!((state.conversations, state.deleted), (1, 0));
}

async fn fifty_streams(service: Service) {
    let running = service.running();
    let hive = service.hive(
        &running,
        &[("STALL_TIMEOUT", "30"), ("REQUEST_TIMEOUT", "60")],
    );
    fifty_streams_do_not_mix(&hive, service.model, "").await;
    settled(&running.control(), SOON).await;
    assert_no_violations(&running.control());
}

/// (status, code) of what may happen to any service before it says something (design.md section 4).
const BEFORE: &[(&str, u16, &str)] = &[
    ("http_429", 429, "upstream_rate_limited"),
    ("http_429_retry_after", 429, "upstream_rate_limited"),
    ("http_500", 502, "upstream_unavailable"),
    ("http_502", 502, "upstream_unavailable"),
    ("http_503", 502, "upstream_unavailable"),
    ("disconnect_before_headers", 502, "upstream_unavailable"),
    ("disconnect_before_text", 502, "upstream_unavailable"),
    ("hang_before_headers", 504, "upstream_timeout"),
    ("hang_before_text", 504, "upstream_timeout"),
];

/// Whether an answer gives anything away that only the operator may see.
fn assert_discreet(running: &Running, reply: &Reply, fault: &str) {
    for (name, value) in running.env() {
        let is_public = ["_URL", "_NAME", "_MODELS"]
            .iter()
            .any(|end| name.ends_with(end));
        assert!(
            is_public || value.len() < 8 || !reply.text.contains(&value),
            "{fault}: {name}"
        );
    }
    assert!(!reply.text.contains("<html"), "{fault}: {}", reply.text);
}

async fn faults_before_the_text(service: Service) {
    for streamed in [false, true] {
        for (fault, status, code) in BEFORE {
            if fault.starts_with("http_") && !service.is_http {
                continue;
            }
            let running = service.running();
            let stall = if *status == 504 { "0.4" } else { "5" };
            let hive = service.hive(&running, &[("STALL_TIMEOUT", stall)]);
            running.control().fault(fault, 0).unwrap();
            let reply = if streamed {
                hive.stream(service.model, "hello").await
            } else {
                hive.ask(service.model, "hello").await
            };
            let (was, _, said) = reply.error();
            assert_eq!(
                (was, said.as_str()),
                (*status, *code),
                "{fault}: {}",
                reply.text
            );
            if fault.ends_with("_retry_after") {
                assert_eq!(reply.header("retry-after"), "7", "{fault}");
            }
            assert_discreet(&running, &reply, fault);
            settled(&running.control(), SOON).await;
            assert_no_violations(&running.control());
        }
    }
}

async fn passing_faults_are_not_seen(service: Service) {
    let running = service.running();
    let hive = service.hive(&running, &[("STALL_TIMEOUT", "5")]);
    for fault in [
        "http_500",
        "http_503",
        "disconnect_before_headers",
        "disconnect_before_text",
    ] {
        running.control().fault(fault, 1).unwrap();
        let reply = hive.ask(service.model, "echo:fine").await;
        assert_eq!(reply.status, 200, "{fault}: {}", reply.text);
        assert_eq!(reply.content(), "fine", "{fault}");
        clean(&running).await;
    }
    assert_no_violations(&running.control());
}

async fn faults_after_the_text(service: Service) {
    if service.resumes {
        return;
    }
    let any = ["disconnect_after_text", "hang_after_text"];
    for fault in any.iter().chain(service.breaks) {
        // Both anew: some faults let an account rest, and a token that was renewed for one gateway is void for the next.
        let running = service.running();
        let hive = service.hive(&running, &[("STALL_TIMEOUT", "0.5")]);
        running.control().fault(fault, 0).unwrap();
        // Long enough for a service whose first sentences are held, as they may be no part of the answer (wire/flowgpt.md 6).
        let text = format!(
            "pace:10 echo:{}",
            "one two three four five six seven ".repeat(7)
        );
        let text = text.trim_end();
        let reply = hive.stream(service.model, text).await;
        assert!(
            !reply.streamed("content").is_empty(),
            "{fault}: {}",
            reply.text
        );
        assert!(reply.stream_error().is_some(), "{fault}: {}", reply.text);
        assert!(
            !reply.is_done() && !reply.text.contains(r#""finish_reason":"stop""#),
            "{fault}"
        );
        assert_discreet(&running, &reply, fault);
        if service.is_web_chat {
            // A whole answer must not be half of one.
            let whole = hive.ask(service.model, text).await;
            assert_ne!(whole.status, 200, "{fault}: {}", whole.text);
        }
        clean(&running).await;
        assert_no_violations(&running.control());
    }
}

async fn moderation_after_the_text(service: Service) {
    let running = service.running();
    let hive = service.hive(&running, &[]);
    for fault in service.moderates {
        running.control().fault(fault, 2).unwrap();
        let ask = "echo:one two three four five";
        let streamed = hive.stream(service.model, ask).await;
        assert!(
            streamed.is_done()
                && streamed
                    .text
                    .contains(r#""finish_reason":"content_filter""#),
            "{fault}: {}",
            streamed.text
        );
        let whole = hive.ask(service.model, ask).await;
        assert_eq!(whole.finish(), "content_filter", "{fault}");
        assert_eq!(whole.content(), streamed.streamed("content"), "{fault}");
        clean(&running).await;
    }
    assert_no_violations(&running.control());
}

/// However the service writes its stream, it says the same.
async fn odd_streams(service: Service) {
    let Some((model, is_rewritten)) = service.odd else {
        return;
    };
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let text = "一二三四五六七八九十 👋🏽 {done}";
    for quirk in running.control().known_quirks() {
        for write_bytes in [None, Some(1), Some(7)] {
            let script = odd_script(text, quirk, write_bytes);
            running.control().script(script).unwrap();
            let whole = hive.ask(model, "x").await.content();
            let streamed = hive.stream(model, "x").await;
            assert!(streamed.is_done(), "{quirk}: {}", streamed.text);
            assert!(whole.contains(text), "{quirk}: {whole}");
            // What was said is not taken back; a whole answer is what the service has in the end.
            let said = streamed.streamed("content");
            assert!(
                whole == said || (is_rewritten && whole.contains(&said)),
                "{quirk}: {whole} {said}"
            );
            let thought = streamed.streamed("reasoning_content");
            assert!(thought.starts_with("想一想"), "{quirk}: {thought}");
            // Marks of the services' own are in a range for private use.
            assert!(!whole.contains('\u{E3A0}'), "{quirk}: {whole}");
        }
    }
    settled(&running.control(), SOON).await;
    assert_no_violations(&running.control());
}

async fn a_question_without_words_is_not_asked(service: Service) {
    if !service.wants_words {
        return;
    }
    let running = service.running();
    let hive = service.hive(&running, &[]);
    for empty in [json!(""), json!(" \n"), json!([]), json!(null)] {
        let messages =
            json!([{"role": "system", "content": ""}, {"role": "user", "content": empty}]);
        let reply = hive
            .post(&json!({"model": service.model, "messages": messages}))
            .await;
        assert_eq!(
            (reply.status, reply.error().1.as_str()),
            (400, "invalid_request_error"),
            "{messages}"
        );
    }
    assert_eq!(running.control().state().conversations, 0);
    assert_no_violations(&running.control());
}

/// A line a service.
macro_rules! contract {
    ($($name:ident: $service:expr;)*) => {$(
        mod $name {
            use super::*;

            const SERVICE: Service = $service;

            contract!(@ good_days every_split_of_the_wire choices_and_limits a_client_that_leaves
                conversations_are_kept_when_told_so fifty_streams faults_before_the_text
                passing_faults_are_not_seen faults_after_the_text moderation_after_the_text odd_streams
                a_question_without_words_is_not_asked calls_of_tools calls_that_are_cut_off thoughts_about_tools);
        }
    )*};
    (@ $($rule:ident)*) => {$(
        #[actix_web::test]
        async fn $rule() {
            super::$rule(SERVICE).await;
        }
    )*};
}

contract! {
    qwen: Service { name: "qwen", model: "qwen3-max", thinking: Some("qwen3-max-thinking"), generation: "newest", wants_words: false, ..ANY };
    qwen_dialog: Service { name: "qwen", model: "qwen-plus", thinking: Some("qwen3-max-thinking"), generation: "oldest", settings: &[("QWEN_PROTOCOL", "dialog")], wants_words: false, ..ANY };
    qwen_intl: Service { name: "qwen_intl", model: "qwen3.7-plus", thinking: Some("qwen3.7-plus-thinking"), wants_words: false, ..ANY };
    xinghuo: Service { name: "xinghuo", model: "spark-lite", thinking: Some("spark-x1"), most_chars: 6000, wants_words: false, ..ANY };
    deepseek: Service { name: "deepseek", model: "deepseek-chat", thinking: Some("deepseek-reasoner"), resumes: true, wants_words: false, ..ANY };
    kimi: KIMI;
    kimi_websocket: Service { settings: &[("KIMI_TRANSPORT", "websocket")], is_http: false, ..KIMI };
    langfast: Service { name: "langfast", model: "gpt-4o-mini", keeps_conversations: false, wants_words: false, ..ANY };
    doubao: Service { name: "doubao", model: "doubao", thinking: Some("doubao-thinking"), ..ANY };
    doubao_samantha: Service { name: "doubao", model: "doubao", thinking: Some("doubao-thinking"), generation: "samantha", settings: &[("DOUBAO_PROTOCOL", "samantha")], ..ANY };
    metaso: Service { name: "metaso", model: "metaso", thinking: Some("metaso-research"), generation: "chat", keeps_conversations: false, ..ANY };
    metaso_searchv2: Service { name: "metaso", model: "metaso", generation: "searchv2", keeps_conversations: false, ..ANY };
    minimax: Service { generation: "cloud", ..MINIMAX };
    minimax_archon: Service { generation: "archon", settings: &[("MINIMAX_PROTOCOL", "archon")], ..MINIMAX };
    zhipu: Service { generation: "increments", ..ZHIPU };
    zhipu_cumulative: Service { generation: "cumulative", ..ZHIPU };
    ernie: Service { name: "ernie", model: "ernie-4.5-turbo", thinking: Some("ernie-x1"), ..ANY };
    flowgpt: Service { name: "flowgpt", model: "gpt-4-free", keeps_conversations: false, ..ANY };
    openai: Service { name: "openai", model: "sim-chat", thinking: Some("sim-reasoner"), is_web_chat: false, keeps_conversations: false, wants_words: false, ..ANY };
}
