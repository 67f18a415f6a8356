//! The events of an answer as they are on the wire, as far as they matter. Source: `wire/kimi.md` section 6.2.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::sources::{Found, Page};

/// One event (section 6.2). Everything may be missing or null.
#[derive(Deserialize)]
pub(super) struct Event {
    pub(super) op: Option<Op>,
    pub(super) mask: Option<Mask>,
    pub(super) chat: Option<Named>,
    pub(super) message: Option<Message>,
    pub(super) block: Option<BlockChange>,
    pub(super) notification: Option<Notification>,
    pub(super) done: Option<IgnoredAny>,
    pub(super) error: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Op {
    Set,
    Append,
    #[serde(other)]
    Other,
}

/// Which fields an event changes; several are joined by commas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(super) struct Mask {
    pub(super) text: bool,
    pub(super) think: bool,
    /// Some field is none that the page names, whatever becomes of it.
    pub(super) is_new: bool,
}

/// The fields that the page names (section 6.2), and the ones below them.
const FIELDS: &[&str] = &[
    "chat",
    "message",
    "notification",
    "block.id",
    "block.parentId",
    "block.messageId",
    "block.createTime",
    "block.multiStage",
    "block.stage",
    "block.think",
    "block.text",
    "block.tool",
    "block.search",
    "block.exception",
];

impl From<String> for Mask {
    fn from(fields: String) -> Self {
        // Section 6.2: a mask may name several fields.
        let has = |names: &[&str]| fields.split(',').any(|field| names.contains(&field.trim()));
        Self {
            text: has(&["block.text", "block.text.content"]),
            think: has(&["block.think", "block.think.content"]),
            is_new: !fields.split(',').all(|field| {
                FIELDS.iter().any(|known| {
                    // At a dot: `block.textual` would be another field.
                    let rest = field.trim().strip_prefix(known);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            }),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    pub(super) role: Option<Role>,
    pub(super) status: Option<Status>,
    pub(super) refs: Option<Refs>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    User,
    Assistant,
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Status {
    #[serde(rename = "MESSAGE_STATUS_COMPLETED")]
    Completed,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refs {
    pub(super) search_chunks: Option<Vec<Found>>,
}

#[derive(Deserialize)]
pub(super) struct BlockChange {
    pub(super) id: Option<String>,
    pub(super) text: Option<Content>,
    pub(super) think: Option<Content>,
    pub(super) tool: Option<Tool>,
    pub(super) search: Option<Search>,
    pub(super) exception: Option<Exception>,
}

#[derive(Deserialize)]
pub(super) struct Content {
    pub(super) content: Option<String>,
    /// `thinking` or `answer`.
    #[serde(default)]
    flags: Value,
}

impl Content {
    /// Whether the flags call it thinking; `None` where they say nothing.
    pub(super) fn is_thinking(&self) -> Option<bool> {
        let says = |word: &str| match &self.flags {
            Value::String(flag) => flag.eq_ignore_ascii_case(word),
            Value::Array(flags) => flags.iter().any(|flag| {
                flag.as_str()
                    .is_some_and(|flag| flag.eq_ignore_ascii_case(word))
            }),
            _ => false,
        };
        // Thinking first: a block may be flagged as both while it grows.
        says("thinking")
            .then_some(true)
            .or_else(|| says("answer").then_some(false))
    }
}

#[derive(Deserialize)]
pub(super) struct Tool {
    pub(super) contents: Option<Vec<Found>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Search {
    pub(super) web_pages: Option<Vec<Page>>,
}

#[derive(Deserialize)]
pub(super) struct Exception {
    #[serde(default)]
    pub(super) error: Value,
}

#[derive(Deserialize)]
pub(super) struct Notification {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}
