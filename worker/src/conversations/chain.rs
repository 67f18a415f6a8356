//! Where a request stands in a conversation: a SHA3 chain over what was said up to an answer, in the normal form that
//! survives what clients change between turns ([`normal`]), and over whatever else made the upstream conversation what it
//! is. Pure. Edited history is another chain by construction.
//!
//! ```text
//!   asker: caller, end user, provider, model as asked and upstream, what was told of tools
//!     └─ steps before the answer ─ the answer ──► point
//! ```

use std::fmt;

use sha3::{Digest as _, Sha3_256};

use crate::chat::{
    ChatRequest, Content, Message, Role,
    normal::{self, Step},
    reasoning::{INLINE, THINK_TAGS},
};

/// Who asks whom, and how.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The id of the caller's key.
    pub caller: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// The model on the provider's side.
    pub upstream: &'a str,
    /// What the model was told of tools and forms, in front of the first question: once, and where any of it changes it must be
    /// told anew.
    pub told: &'a str,
}

/// A point in a conversation: right behind an answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Point(String);

impl Point {
    /// Its key in the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The point that `request` goes on from, and how many of its messages stand before it; `None` where nobody has answered
    /// yet, or nothing has been said since.
    pub fn before(asker: Asker<'_>, request: &ChatRequest) -> Option<(Self, usize)> {
        let messages = &request.messages;
        let last = last_answer(messages)?;
        let (said, rest) = messages.split_at(last);
        let (answer, new) = rest.split_first()?;
        if new.is_empty() {
            return None;
        }
        Some((Self::behind(asker, request, said, answer), last + 1))
    }

    /// The point behind `answer`, where that is the answer to `request`.
    pub fn after(asker: Asker<'_>, request: &ChatRequest, answer: &Message) -> Self {
        Self::behind(asker, request, &request.messages, answer)
    }

    fn behind(asker: Asker<'_>, request: &ChatRequest, said: &[Message], answer: &Message) -> Self {
        let mut hash = Sha3_256::new();
        let mut piece = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        piece("hive2api conversation 1");
        piece(asker.caller);
        piece(asker.provider);
        piece(asker.upstream);
        // The name as the caller wrote it may stand for an account (`MODEL_TO_ACCOUNT_MAP`).
        piece(&request.model);
        piece(request.user.as_deref().unwrap_or_default());
        piece(asker.told);
        // On both sides of an answer apart: results of calls belong to the turn behind it.
        feed(said, &mut hash);
        feed(std::slice::from_ref(answer), &mut hash);
        let mut text = String::with_capacity(64);
        for byte in hash.finalize() {
            text.push(hex(byte >> 4));
            text.push(hex(byte & 15));
        }
        Self(text)
    }
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Point({})", self.0.get(..8).unwrap_or_default())
    }
}

/// Where the last answer stands.
pub fn last_answer(messages: &[Message]) -> Option<usize> {
    messages
        .iter()
        .rposition(|message| message.role == Role::Assistant)
}

fn hex(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0')
}

fn feed(messages: &[Message], hash: &mut Sha3_256) {
    let plain: Vec<Message>;
    let is_woven = |message: &Message| message.role == Role::Assistant && woven(message).is_some();
    let messages = if messages.iter().any(is_woven) {
        plain = messages.iter().map(unwoven).collect();
        &plain
    } else {
        messages
    };
    let steps: Vec<Step<'_>> = normal::steps(messages);
    normal::feed(&steps, |piece| hash.update(piece));
}

/// Where thinking is woven into the text (`REASONING_FORMAT`), the text without it: clients send it back as they got it, or
/// take it out.
fn woven(message: &Message) -> Option<String> {
    let text = message.text();
    let tags = [THINK_TAGS, INLINE];
    let tags = tags.iter().find(|tags| text.contains(tags.open))?;
    // Trimmed, as clients may have trimmed the whole where it ends with a tag.
    let close = tags.close.trim_end();
    let (mut said, mut rest) = (String::new(), &*text);
    // Whoever searches between thoughts has several rounds of them.
    while let Some((before, thoughts)) = rest.split_once(tags.open)
        && let Some((_, behind)) = thoughts.split_once(close)
    {
        said.push_str(before);
        let gap = tags.close.get(close.len()..).unwrap_or_default();
        rest = behind.strip_prefix(gap).unwrap_or(behind);
    }
    Some(said + rest)
}

fn unwoven(message: &Message) -> Message {
    let woven = woven(message).filter(|_| message.role == Role::Assistant);
    let content = woven.map(|text| Content::Text(text.into()));
    Message {
        content: content.unwrap_or_else(|| message.content.clone()),
        ..message.clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ASKER: Asker<'static> = Asker {
        caller: "alice",
        provider: "p",
        upstream: "up",
        told: "",
    };

    fn request(body: Value) -> ChatRequest {
        let mut whole = json!({"model": "m"});
        for (name, value) in body.as_object().unwrap() {
            whole[name] = value.clone();
        }
        crate::http::openai::body::read(whole.to_string().into()).unwrap()
    }

    fn said(messages: Value) -> ChatRequest {
        request(json!({"messages": messages}))
    }

    fn answer(text: &str) -> Message {
        Message::new(Role::Assistant, text)
    }

    #[test]
    fn the_next_turn_finds_the_point_behind_the_answer() {
        let first =
            said(json!([{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]));
        assert_eq!(Point::before(ASKER, &first), None, "nobody has answered");
        let point = Point::after(ASKER, &first, &answer("a "));
        let next = said(json!([
            {"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "q"}]},
            {"role": "assistant", "content": "a", "reasoning_content": "hm"}, {"role": "user", "content": "and?"},
        ]));
        assert_eq!(Point::before(ASKER, &next), Some((point.clone(), 3)));
        // Thinking that was woven into the text.
        let woven = said(json!([
            {"role": "system", "content": "S"}, {"role": "user", "content": "q"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\na"}, {"role": "user", "content": "and?"},
        ]));
        assert_eq!(Point::before(ASKER, &woven), Some((point, 3)));
        // In rounds, between which something was said; and at the end, where a client has trimmed it.
        let rounds = |text: &str| {
            let next = said(json!([
                {"role": "user", "content": "q"}, {"role": "assistant", "content": text}, {"role": "user", "content": "and?"},
            ]));
            Point::before(ASKER, &next).unwrap().0
        };
        let plain = rounds("I look. Found.");
        for text in [
            "<think>\nhm\n</think>\n\nI look. <think>\nso\n</think>\n\nFound.",
            "I look. Found.<think>\nso\n</think>",
            "<think:hm>I look. <think:so>Found.",
        ] {
            assert_eq!(rounds(text), plain, "{text}");
        }
        for text in [
            "<think>\nI look. Found.",
            "I look. <think>\nFound.",
            "I look. Lost.<think:>",
        ] {
            assert_ne!(rounds(text), plain, "{text}");
        }
        let over =
            said(json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]));
        assert_eq!(Point::before(ASKER, &over), None, "nothing new was said");
    }

    #[test]
    fn calls_and_their_results_are_found_again() {
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
        let asked =
            request(json!({"tools": tools, "messages": [{"role": "user", "content": "q"}]}));
        let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
        let said = |calls: Value, rest: Value| {
            let mut messages = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": null, "tool_calls": calls}]);
            messages
                .as_array_mut()
                .unwrap()
                .extend(rest.as_array().unwrap().iter().cloned());
            request(json!({"tools": tools, "messages": messages}))
        };
        let result = json!([{"role": "tool", "tool_call_id": "z", "content": "r"}]);
        let next = said(json!([call("z", "{ \"x\" : 1 }")]), result.clone());
        let heard = said(json!([call("a", "{\"x\":1}")]), json!([]))
            .messages
            .remove(1);
        let point = Point::after(ASKER, &asked, &heard);
        assert_eq!(Point::before(ASKER, &next), Some((point, 2)));
        // And the turn behind it, whose point is told from another split.
        let second = Point::after(ASKER, &next, &answer("done"));
        let mut third = result;
        third.as_array_mut().unwrap().extend([
            json!({"role": "assistant", "content": "done"}),
            json!({"role": "user", "content": "more"}),
        ]);
        let third = said(json!([call("z", "{\"x\":1}")]), third);
        assert_eq!(Point::before(ASKER, &third), Some((second, 4)));
    }

    #[test]
    fn whatever_made_the_conversation_another_makes_another_point() {
        let base = json!({"messages": [
            {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "n"},
        ]});
        let of = |asker: Asker<'_>, change: Value| {
            let mut body = base.clone();
            for (name, value) in change.as_object().unwrap() {
                body[name] = value.clone();
            }
            Point::before(asker, &request(body)).unwrap().0
        };
        let points = [
            of(ASKER, json!({})),
            of(
                Asker {
                    caller: "bob",
                    ..ASKER
                },
                json!({}),
            ),
            of(
                Asker {
                    provider: "o",
                    ..ASKER
                },
                json!({}),
            ),
            of(
                Asker {
                    upstream: "down",
                    ..ASKER
                },
                json!({}),
            ),
            of(ASKER, json!({"model": "n"})),
            of(ASKER, json!({"user": "u"})),
            of(
                Asker {
                    told: "# Tools f",
                    ..ASKER
                },
                json!({}),
            ),
            of(
                Asker {
                    told: "# Tools g",
                    ..ASKER
                },
                json!({}),
            ),
            of(
                ASKER,
                json!({"messages": [
                    {"role": "user", "content": "Q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "n"},
                ]}),
            ),
            of(
                ASKER,
                json!({"messages": [
                    {"role": "user", "content": "q"}, {"role": "assistant", "content": "A"}, {"role": "user", "content": "n"},
                ]}),
            ),
            of(
                ASKER,
                json!({"messages": [
                    {"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
                    {"role": "user", "content": "n"},
                ]}),
            ),
        ];
        for (at, point) in points.iter().enumerate() {
            assert!(!points[..at].contains(point), "{at}");
        }
        // What is new is no part of it, nor how the answer is made.
        let other = json!({"temperature": 0.5, "stream": true, "messages": [
            {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "other"},
        ]});
        assert_eq!(of(ASKER, other), points[0]);
    }
}
