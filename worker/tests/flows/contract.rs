//! What every provider must do, asked of each in the same words. A provider's own file keeps what only its service has.
//!
//! A new provider is one line at the end.

use std::time::Duration;

use hive2api_simulators::{self as simulate, Options, Running, Script};
use serde_json::json;

use crate::{
    support::{
        Hive, Reply, SOON, assert_no_violations, fifty_streams_do_not_mix, question, settled,
    },
    tools::{says, with_tools},
};

/// A service, and how it is asked here.
#[derive(Clone, Copy)]
struct Service {
    /// The provider's name, and its simulator's.
    name: &'static str,
    /// A model that answers without thinking.
    model: &'static str,
    /// One that thinks aloud.
    thinking: Option<&'static str>,
    /// One generation of the service, or all at once.
    generation: &'static str,
    /// Further settings: of several ways to speak with a service, the one that is meant.
    settings: &'static [(&'static str, &'static str)],
    /// Longest question that the service takes, in characters.
    most_chars: usize,
    /// The service keeps conversations, which have to be deleted.
    keeps_conversations: bool,
    /// An answer that broke off is gone on with, so that nobody sees it; the provider's own file has the tests.
    resumes: bool,
    /// An API has limits of its own, and its whole answers come in one piece.
    is_web_chat: bool,
    /// Faults come as HTTP answers.
    is_http: bool,
}

const ANY: Service = Service {
    name: "",
    model: "",
    thinking: None,
    generation: simulate::BOTH,
    settings: &[],
    most_chars: 20_000,
    keeps_conversations: true,
    resumes: false,
    is_web_chat: true,
    is_http: true,
};

impl Service {
    fn running(&self) -> Running {
        let options = Options {
            generation: self.generation.to_owned(),
            ..Options::default()
        };
        simulate::start(self.name, options).unwrap()
    }

    fn hive(&self, service: &Running, more: &[(&str, &str)]) -> Hive {
        Hive::start(&[service], &[self.settings, more].concat())
    }
}

/// Forgets orders and calls, once the deletions that are still under way have arrived.
async fn clean(service: &Running) {
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
    for text in NASTY.iter().copied().chain([long.trim_end()]) {
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
    let running = service.running();
    let hive = service.hive(&running, &[("STALL_TIMEOUT", "0.5")]);
    for fault in ["disconnect_after_text", "hang_after_text"] {
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
    }
    assert_no_violations(&running.control());
}

/// What clients rely on in a call, whatever its model's service knows of tools (conformance T1 to T7).
async fn calls_of_tools(service: Service) {
    if !service.is_web_chat {
        return;
    }
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let body = |stream: bool| with_tools(service.model, "look", &json!({"stream": stream}));
    let text = "Sure.⏎⏎[B]⏎[C read]⏎[A path]⏎a \"b\".rs⏎[/A]⏎[A limit]5[/A]⏎[/C]⏎[C ping][/C]⏎[/B]";
    for write_bytes in [None, Some(1), Some(7)] {
        let script = Script {
            text: Some(text.to_owned()),
            notation: true,
            piece_chars: Some(3),
            write_bytes,
            times: Some(2),
            ..Script::default()
        };
        running.control().script(script).unwrap();
        let whole = hive.post(&body(false)).await;
        let message = whole.message();
        assert_eq!(
            (whole.content().as_str(), whole.finish().as_str()),
            ("Sure.", "tool_calls"),
            "{}",
            whole.text
        );
        assert_eq!(
            message["tool_calls"][0]["function"],
            json!({"name": "read", "arguments": "{\"path\":\"a \\\"b\\\".rs\",\"limit\":5}"})
        );
        assert_eq!(
            message["tool_calls"][1]["function"],
            json!({"name": "ping", "arguments": "{}"})
        );
        assert_eq!(whole.header("x-hive-emulated"), "tools");
        let streamed = hive.post(&body(true)).await;
        assert_eq!(streamed.streamed("content"), "Sure.", "{}", streamed.text);
        assert!(streamed.is_done() && streamed.text.contains(r#""finish_reason":"tool_calls""#));
        let (mut begun, mut ids) = (Vec::new(), Vec::new());
        for chunk in streamed.chunks() {
            let Some(calls) = chunk["choices"][0]["delta"]["tool_calls"].as_array() else {
                continue;
            };
            assert_eq!(calls.len(), 1, "one call a chunk");
            let index = calls[0]["index"].as_u64().unwrap();
            match calls[0]["id"].as_str() {
                Some(id) => {
                    assert_eq!(index, begun.len() as u64);
                    assert_eq!(
                        (
                            calls[0]["type"].as_str(),
                            calls[0]["function"]["arguments"].as_str()
                        ),
                        (Some("function"), Some(""))
                    );
                    assert!(
                        id.len() <= 40
                            && id
                                .bytes()
                                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
                        "{id}"
                    );
                    ids.push(id.to_owned());
                    begun.push(String::new());
                }
                None => {
                    assert_eq!(
                        index + 1,
                        begun.len() as u64,
                        "calls are not woven into each other"
                    );
                    assert!(
                        calls[0].get("type").is_none()
                            && calls[0]["function"].get("name").is_none()
                    );
                }
            }
            begun[index as usize].push_str(calls[0]["function"]["arguments"].as_str().unwrap());
        }
        assert_eq!(begun, ["{\"path\":\"a \\\"b\\\".rs\",\"limit\":5}", "{}"]);
        assert_ne!(ids[0], ids[1]);
        assert!(
            !streamed.text.contains("call-") && !whole.text.contains("call-"),
            "no markup leaves"
        );
        clean(&running).await;
        // The second turn, with the results as clients have them: in the order of completion.
        let mut second = with_tools(service.model, "look", &json!({}));
        let first = second["messages"][0].clone();
        let calls = message["tool_calls"].clone();
        second["messages"] = json!([
            first, {"role": "assistant", "content": "Sure.", "tool_calls": calls},
            {"role": "tool", "tool_call_id": calls[1]["id"], "content": "pong"},
            {"role": "tool", "tool_call_id": calls[0]["id"], "content": "fn main() {}"},
        ]);
        let answer = hive.post(&second).await;
        assert_eq!(
            answer.content(),
            "The first tool says: fn main() {}",
            "{}",
            answer.text
        );
    }
    settled(&running.control(), SOON).await;
    assert_no_violations(&running.control());
}

/// A call that is cut off is neither completed nor shown (conformance T7).
async fn calls_that_are_cut_off(service: Service) {
    if !service.is_web_chat {
        return;
    }
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let cut = "On it.⏎[B][C write][A path]a[/A][A content]⏎fn main() {⏎  pri";
    says(
        &running,
        &[
            cut,
            "[B][C write][A path]a[/A][A content]⏎whole⏎[/A][/C][/B]",
            cut,
            cut,
        ],
    );
    let mended = hive
        .post(&with_tools(
            service.model,
            "write",
            &json!({"stream": true}),
        ))
        .await;
    assert_eq!(mended.streamed("content"), "On it.", "{}", mended.text);
    assert!(
        mended.text.contains(r#"\"content\":\"whole\""#)
            && mended.text.contains(r#""finish_reason":"tool_calls""#),
        "{}",
        mended.text
    );
    settled(&running.control(), SOON).await;
    let failed = hive
        .post(&with_tools(
            service.model,
            "write",
            &json!({"stream": true}),
        ))
        .await;
    assert_eq!(failed.streamed("content"), "On it.", "{}", failed.text);
    assert!(
        failed.stream_error().is_some() && !failed.text.contains("fn main"),
        "{}",
        failed.text
    );
    settled(&running.control(), SOON).await;
    assert_no_violations(&running.control());
}

/// Calls in the thoughts are none if the answer says something, and are promoted if it says nothing.
async fn thoughts_about_tools(service: Service) {
    let Some(model) = service.thinking.filter(|_| service.is_web_chat) else {
        return;
    };
    let running = service.running();
    let hive = service.hive(&running, &[]);
    let script = Script {
        text: Some("It is 5.".to_owned()),
        reasoning: Some("Should I? [B][C ping][/C][/B]".to_owned()),
        notation: true,
        ..Script::default()
    };
    running.control().script(script).unwrap();
    let reply = hive
        .post(&with_tools(model, "look", &json!({"stream": true})))
        .await;
    assert_eq!(reply.streamed("content"), "It is 5.", "{}", reply.text);
    assert!(
        reply.streamed("reasoning_content").starts_with("Should I?"),
        "{}",
        reply.text
    );
    assert!(
        !reply.text.contains("call") || !reply.text.contains("call-"),
        "{}",
        reply.text
    );
    clean(&running).await;
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
                passing_faults_are_not_seen faults_after_the_text calls_of_tools calls_that_are_cut_off
                thoughts_about_tools);
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
    qwen: Service { name: "qwen", model: "qwen3-max", thinking: Some("qwen3-max-thinking"), generation: "newest", ..ANY };
    qwen_dialog: Service { name: "qwen", model: "qwen-plus", thinking: Some("qwen3-max-thinking"), generation: "oldest", settings: &[("QWEN_PROTOCOL", "dialog")], ..ANY };
    qwen_intl: Service { name: "qwen_intl", model: "qwen3.7-plus", thinking: Some("qwen3.7-plus-thinking"), ..ANY };
    xinghuo: Service { name: "xinghuo", model: "spark-lite", thinking: Some("spark-x1"), most_chars: 6000, ..ANY };
    deepseek: Service { name: "deepseek", model: "deepseek-chat", thinking: Some("deepseek-reasoner"), resumes: true, ..ANY };
    kimi: Service { name: "kimi", model: "kimi", thinking: Some("kimi-thinking"), ..ANY };
    kimi_websocket: Service { name: "kimi", model: "kimi", thinking: Some("kimi-thinking"), settings: &[("KIMI_TRANSPORT", "websocket")], is_http: false, ..ANY };
    langfast: Service { name: "langfast", model: "gpt-4o-mini", keeps_conversations: false, ..ANY };
    doubao: Service { name: "doubao", model: "doubao", thinking: Some("doubao-thinking"), ..ANY };
    doubao_samantha: Service { name: "doubao", model: "doubao", thinking: Some("doubao-thinking"), generation: "samantha", settings: &[("DOUBAO_PROTOCOL", "samantha")], ..ANY };
    metaso: Service { name: "metaso", model: "metaso", thinking: Some("metaso-research"), generation: "chat", keeps_conversations: false, ..ANY };
    metaso_searchv2: Service { name: "metaso", model: "metaso", generation: "searchv2", keeps_conversations: false, ..ANY };
    minimax: Service { name: "minimax", model: "minimax", thinking: Some("MiniMax-M3-thinking"), generation: "cloud", ..ANY };
    minimax_archon: Service { name: "minimax", model: "minimax", thinking: Some("MiniMax-M3-thinking"), generation: "archon", settings: &[("MINIMAX_PROTOCOL", "archon")], ..ANY };
    zhipu: Service { name: "zhipu", model: "glm-5-nothink", thinking: Some("glm-5"), generation: "increments", ..ANY };
    zhipu_cumulative: Service { name: "zhipu", model: "glm-5-nothink", thinking: Some("glm-5"), generation: "cumulative", ..ANY };
    ernie: Service { name: "ernie", model: "ernie-4.5-turbo", thinking: Some("ernie-x1"), ..ANY };
    flowgpt: Service { name: "flowgpt", model: "gpt-4-free", keeps_conversations: false, ..ANY };
    openai: Service { name: "openai", model: "sim-chat", thinking: Some("sim-reasoner"), is_web_chat: false, keeps_conversations: false, ..ANY };
}
