//! Conversations that continue (`CONVERSATIONS=reuse`), asked of every provider that can go on with one in the same words:
//! what is sent upstream, in which conversation, and what becomes of it in the end.

use std::time::Duration;

use futures_util::future::join;
use hive2api_simulators::{self as simulate, Options, Running};
use serde_json::{Value, json};

use crate::{
    support::{Hive, KEY, Reply, assert_no_violations, settled},
    tools::{says, with_tools},
};

/// A service, and how it is asked here.
#[derive(Clone, Copy)]
struct Service {
    /// The provider's name, and its simulator's.
    name: &'static str,
    /// A model that answers without thinking.
    model: &'static str,
    generation: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

const ANY: Service = Service {
    name: "",
    model: "",
    generation: simulate::BOTH,
    settings: &[],
};

const REUSE: (&str, &str) = ("CONVERSATIONS", "reuse");
/// In time for what a test waits for, though the service works on for seconds where nobody listens.
const DELETED: Duration = Duration::from_secs(10);

impl Service {
    fn running(&self, accounts: usize) -> Running {
        let options = Options {
            generation: self.generation.to_owned(),
            accounts,
            ..Options::default()
        };
        simulate::start(self.name, options).unwrap()
    }

    fn hive(&self, service: &Running, more: &[(&str, &str)]) -> Hive {
        Hive::start(&[service], &[self.settings, &[REUSE], more].concat())
    }

    /// A chat that begins with these messages.
    fn chat(&self, messages: &[Value]) -> Chat {
        Chat {
            model: self.model,
            messages: messages.to_vec(),
            key: KEY,
        }
    }
}

/// A chat as its client has it.
#[derive(Clone)]
struct Chat {
    model: &'static str,
    messages: Vec<Value>,
    key: &'static str,
}

impl Chat {
    fn say(&mut self, text: &str) {
        self.messages.push(json!({"role": "user", "content": text}));
    }

    async fn ask(&self, hive: &Hive, is_streamed: bool) -> Reply {
        let body = json!({"model": self.model, "messages": self.messages, "stream": is_streamed});
        let request = hive
            .request("POST", "/v1/chat/completions")
            .insert_header(("authorization", format!("Bearer {}", self.key)));
        Reply::read(request.send_body(body.to_string()).await.unwrap()).await
    }

    /// Says it, and keeps the answer; what the header says of the conversation.
    async fn turn(&mut self, hive: &Hive, text: &str, is_streamed: bool) -> String {
        self.say(&format!("echo:{text}"));
        let reply = self.ask(hive, is_streamed).await;
        let heard = if is_streamed {
            assert!(reply.is_done(), "{}", reply.text);
            reply.streamed("content")
        } else {
            reply.content()
        };
        assert_eq!(heard, text, "{}", reply.text);
        self.messages
            .push(json!({"role": "assistant", "content": heard}));
        reply.header("x-hive-conversation").to_owned()
    }
}

fn system() -> Value {
    json!({"role": "system", "content": "Be brief."})
}

/// Conversation and prompt of each question upstream.
fn asked(running: &Running) -> Vec<(String, String)> {
    let calls = running.control().calls("ask").into_iter();
    calls
        .map(|call| {
            (
                call.conversation.unwrap_or_default(),
                call.prompt.unwrap_or_default(),
            )
        })
        .collect()
}

/// The test is over: what was kept is deleted when it has been idle.
async fn over(running: &Running) {
    settled(&running.control(), DELETED).await;
    assert_no_violations(&running.control());
    let state = running.control().state();
    assert_eq!(state.deleted, state.created, "none twice");
}

const SHORT: (&str, &str) = ("CONVERSATION_TTL", "2");

async fn a_chat_goes_on(service: Service) {
    let running = service.running(2);
    let hive = service.hive(&running, &[SHORT]);
    for is_streamed in [false, true] {
        let from = asked(&running).len();
        let mut chat = service.chat(&[system()]);
        let tag = if is_streamed { "s" } else { "w" };
        for (turn, expected) in ["new", "continued", "continued"].into_iter().enumerate() {
            let text = format!("{tag}{turn} 你好");
            assert_eq!(
                chat.turn(&hive, &text, is_streamed).await,
                expected,
                "{turn}"
            );
        }
        let asked = asked(&running).split_off(from);
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert!(asked[0].1.contains("Be brief."), "{asked:?}");
        for (at, (conversation, prompt)) in asked.iter().enumerate().skip(1) {
            assert_eq!(conversation, &asked[0].0, "one conversation");
            assert_eq!(prompt, &format!("echo:{tag}{at} 你好"), "only what is new");
        }
    }
    assert_eq!(running.control().state().created, 2);
    over(&running).await;
}

async fn edited_history_begins_anew(service: Service) {
    let running = service.running(1);
    let hive = service.hive(&running, &[SHORT]);
    let mut chat = service.chat(&[]);
    chat.turn(&hive, "one", false).await;
    let mut edited = chat.clone();
    edited.messages[0]["content"] = json!("echo:uno");
    assert_eq!(edited.turn(&hive, "two", false).await, "new");
    edited.messages[1]["content"] = json!("One!");
    assert_eq!(edited.turn(&hive, "three", false).await, "new");
    assert_eq!(chat.turn(&hive, "four", false).await, "continued");
    let asked = asked(&running);
    assert!(
        asked[1].1.contains("uno") && !asked[1].1.contains("echo:one"),
        "{asked:?}"
    );
    assert_ne!(asked[1].0, asked[0].0);
    assert_eq!(
        (&asked[3].0, asked[3].1.as_str()),
        (&asked[0].0, "echo:four")
    );
    over(&running).await;
}

/// Two ways on from one point, one after the other and at once, and the same question asked again.
async fn branches_do_not_mix(service: Service) {
    let running = service.running(1);
    let hive = service.hive(&running, &[SHORT]);
    let mut trunk = service.chat(&[]);
    trunk.turn(&hive, "trunk", false).await;
    let (mut left, mut right, mut again) = (trunk.clone(), trunk.clone(), trunk.clone());
    let (one, other) = join(
        left.turn(&hive, "left", false),
        right.turn(&hive, "right", false),
    )
    .await;
    assert!(
        [&one, &other].iter().any(|it| *it == "new"),
        "{one} {other}"
    );
    again.turn(&hive, "left", false).await;
    for chat in [&mut left, &mut right] {
        chat.turn(&hive, "leaf", false).await;
    }
    // Nobody has heard a word of the other branch.
    let asked = asked(&running);
    let heard = |conversation: &str| -> String {
        let parts = asked.iter().filter(|(id, _)| id == conversation);
        parts.map(|(_, prompt)| prompt.as_str()).collect()
    };
    for (conversation, _) in &asked {
        let heard = heard(conversation);
        assert!(
            !(heard.contains("left") && heard.contains("right")),
            "{heard}"
        );
    }
    over(&running).await;
}

async fn callers_do_not_share(service: Service) {
    const KEYS: (&str, &str) = (
        "API_KEYS",
        "alice:sk-alice-0123456789,bob:sk-bob-0123456789ab",
    );
    let running = service.running(1);
    let hive = service.hive(&running, &[SHORT, KEYS]);
    let mut alice = service.chat(&[]);
    alice.key = "sk-alice-0123456789";
    alice.turn(&hive, "same", false).await;
    let mut bob = alice.clone();
    bob.key = "sk-bob-0123456789ab";
    assert_eq!(bob.turn(&hive, "next", false).await, "new");
    assert_eq!(alice.turn(&hive, "next", false).await, "continued");
    let asked = asked(&running);
    assert_ne!(asked[1].0, asked[0].0);
    assert_eq!(asked[2].0, asked[0].0);
    over(&running).await;
}

/// What fails upstream is over; before any output the whole conversation is told anew, and nobody sees it.
async fn a_turn_that_fails_ends_the_conversation(service: Service) {
    let running = service.running(1);
    let hive = service.hive(&running, &[SHORT, ("STALL_TIMEOUT", "5")]);
    let mut chat = service.chat(&[]);
    chat.turn(&hive, "one", false).await;
    running
        .control()
        .fault("disconnect_before_text", 1)
        .unwrap();
    assert_eq!(chat.turn(&hive, "two", false).await, "new");
    assert_eq!(chat.turn(&hive, "three", false).await, "continued");
    let asked = asked(&running);
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert_eq!(asked[1], (asked[0].0.clone(), "echo:two".to_owned()));
    assert!(asked[2].1.contains("echo:one") && asked[2].1.contains("echo:two"));
    assert_ne!(asked[2].0, asked[0].0);
    assert_eq!(
        (&asked[3].0, asked[3].1.as_str()),
        (&asked[2].0, "echo:three")
    );
    over(&running).await;
}

/// The service has lost it, as services do.
async fn a_conversation_that_is_gone_is_told_anew(service: Service) {
    let running = service.running(1);
    let hive = service.hive(&running, &[SHORT]);
    let mut chat = service.chat(&[]);
    chat.turn(&hive, "one", false).await;
    running.reset();
    chat.turn(&hive, "two", false).await;
    let asked = asked(&running);
    let (_, last) = asked.last().unwrap();
    assert!(
        last.contains("echo:one") && last.contains("echo:two"),
        "{asked:?}"
    );
}

async fn a_client_that_leaves_leaves_nothing(service: Service) {
    let running = service.running(1);
    // Longer than this test: only what a turn deletes itself is deleted.
    let hive = service.hive(&running, &[]);
    let long = format!("pace:50 echo:{}", "word ".repeat(200));
    hive.stream_and_leave(service.model, &long).await;
    settled(&running.control(), DELETED).await;
    let mut chat = service.chat(&[]);
    chat.turn(&hive, "one", false).await;
    assert_eq!(running.control().state().conversations, 1, "kept");
    assert_no_violations(&running.control());
}

/// Two workers on one store: any goes on with what any other began, and what a dead one has left is deleted.
async fn any_worker_goes_on(service: Service) {
    let folder = std::env::temp_dir().join(format!("hive2api-reuse-{}", uuid()));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite:{}", folder.join("store.sqlite").display());
    let running = service.running(1);
    let more = [SHORT, ("STORE_URL", &*url)];
    let one = service.hive(&running, &[&more[..], &[("WORKER_NAME", "one")]].concat());
    let two = service.hive(&running, &[&more[..], &[("WORKER_NAME", "two")]].concat());
    let mut chat = service.chat(&[]);
    assert_eq!(chat.turn(&one, "one", false).await, "new");
    assert_eq!(chat.turn(&two, "two", false).await, "continued");
    assert_eq!(chat.turn(&one, "three", false).await, "continued");
    // Both at once from one point.
    let (mut left, mut right) = (chat.clone(), chat.clone());
    let (first, second) = join(
        left.turn(&one, "left", false),
        right.turn(&two, "right", false),
    )
    .await;
    assert!(
        [&first, &second].iter().any(|it| *it == "new"),
        "{first} {second}"
    );
    drop(one);
    assert_ne!(left.turn(&two, "more", false).await, "");
    settled(&running.control(), DELETED).await;
    assert_no_violations(&running.control());
    drop(two);
    let _ = std::fs::remove_dir_all(folder);
}

/// With tools only the results and what was said since are sent; the contract stands in the conversation already.
async fn tools_go_on(service: Service) {
    let running = service.running(1);
    let hive = service.hive(&running, &[SHORT]);
    says(&running, &["[B][C ping][/C][/B]"]);
    let mut body = with_tools(service.model, "look", &json!({}));
    let first = hive.post(&body).await;
    let message = first.message();
    let calls = message["tool_calls"].clone();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(message);
    messages.push(json!({"role": "tool", "tool_call_id": calls[0]["id"], "content": "pong"}));
    let second = hive.post(&body).await;
    assert_eq!(
        second.content(),
        "The first tool says: pong",
        "{}",
        second.text
    );
    assert_eq!(second.header("x-hive-conversation"), "continued");
    let asked = asked(&running);
    assert_eq!(asked[1].0, asked[0].0);
    assert!(
        asked[0].1.contains("# Tools") && asked[1].1.starts_with("<results-"),
        "{asked:?}"
    );
    assert!(
        !asked[1].1.contains("# Tools") && !asked[1].1.contains("look"),
        "{asked:?}"
    );
    over(&running).await;
}

/// Thinking and search are of each turn: a later one is asked with them as a first one is, in the same conversation where the
/// service lets it.
async fn options_are_of_each_turn(service: Service) {
    let running = service.running(1);
    let hive = service.hive(&running, &[SHORT]);
    let mut chat = service.chat(&[]);
    chat.turn(&hive, "one", false).await;
    chat.say("echo:asked");
    for (member, value) in [
        ("reasoning_effort", json!("high")),
        ("web_search_options", json!({})),
    ] {
        let turn = async |messages: &[Value]| {
            let mut body = json!({"model": service.model, "messages": messages});
            body[member] = value.clone();
            let reply = hive.post(&body).await;
            let message = reply.message();
            assert_eq!(reply.content(), "asked", "{}", reply.text);
            let sources = message["annotations"].as_array().map_or(0, Vec::len);
            let thinks = !message["reasoning_content"].is_null();
            let conversation = reply.header("x-hive-conversation").to_owned();
            (conversation, (thinks, sources))
        };
        let (first, fresh) = turn(&[json!({"role": "user", "content": "echo:asked"})]).await;
        let (later, continued) = turn(&chat.messages).await;
        assert_eq!(first, "new");
        // Some chats search from their beginning or not at all.
        let may_be_new = service.name == "qwen_intl" && member == "web_search_options";
        assert_eq!(later, if may_be_new { "new" } else { "continued" });
        assert_eq!(continued, fresh, "{member}");
        chat.messages
            .push(json!({"role": "assistant", "content": "asked"}));
        chat.say("echo:asked");
    }
    over(&running).await;
}

/// Whoever changes to `CONVERSATIONS=delete` does not leave those that continued behind; whoever keeps all keeps them.
#[actix_web::test]
async fn what_continued_is_deleted_where_nothing_continues_any_more() {
    for (setting, left) in [("keep", 2), ("delete", 0)] {
        let folder = std::env::temp_dir().join(format!("hive2api-changed-{}", uuid()));
        std::fs::create_dir_all(&folder).unwrap();
        let url = format!("sqlite:{}", folder.join("store.sqlite").display());
        let kimi = Service {
            name: "kimi",
            model: "kimi",
            ..ANY
        };
        let running = kimi.running(1);
        let store = ("STORE_URL", &*url);
        let mut chat = kimi.chat(&[]);
        chat.turn(&kimi.hive(&running, &[SHORT, store]), "one", false)
            .await;
        let hive = kimi.hive(&running, &[SHORT, store, ("CONVERSATIONS", setting)]);
        assert_eq!(chat.turn(&hive, "two", false).await, "", "{setting}");
        // Longer than it may be idle, and than it is until somebody looks.
        actix_web::rt::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(running.control().state().conversations, left, "{setting}");
        assert_no_violations(&running.control());
        drop(hive);
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn uuid() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{}-{}", std::process::id(), since.unwrap().as_nanos())
}

/// A line a service.
macro_rules! conversations {
    ($($name:ident: $service:expr;)*) => {$(
        mod $name {
            use super::*;

            const SERVICE: Service = $service;

            conversations!(@ a_chat_goes_on edited_history_begins_anew branches_do_not_mix callers_do_not_share
                a_turn_that_fails_ends_the_conversation a_conversation_that_is_gone_is_told_anew
                a_client_that_leaves_leaves_nothing any_worker_goes_on tools_go_on options_are_of_each_turn);
        }
    )*};
    (@ $($rule:ident)*) => {$(
        #[actix_web::test]
        async fn $rule() {
            super::$rule(SERVICE).await;
        }
    )*};
}

conversations! {
    qwen: Service { name: "qwen", model: "qwen3-max", generation: "newest", ..ANY };
    qwen_dialog: Service { name: "qwen", model: "qwen-plus", generation: "oldest", settings: &[("QWEN_PROTOCOL", "dialog")] };
    deepseek: Service { name: "deepseek", model: "deepseek-chat", ..ANY };
    kimi: Service { name: "kimi", model: "kimi", ..ANY };
    zhipu: Service { name: "zhipu", model: "glm-5-nothink", generation: "increments", ..ANY };
    doubao: Service { name: "doubao", model: "doubao", ..ANY };
    xinghuo: Service { name: "xinghuo", model: "spark-lite", ..ANY };
    qwen_intl: Service { name: "qwen_intl", model: "qwen3.7-plus", ..ANY };
    ernie: Service { name: "ernie", model: "ernie-4.5-turbo", ..ANY };
    minimax: Service { name: "minimax", model: "minimax", generation: "cloud", ..ANY };
    minimax_matrix: Service { name: "minimax", model: "minimax", generation: "matrix", settings: &[("MINIMAX_POLL_INTERVAL_MS", "20")] };
}
