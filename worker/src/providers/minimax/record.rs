//! A record of the cloud generation's stream as it comes: typed where it is looked at, unread where it is not. Source:
//! `wire/minimax.md` section 12.5.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A JSON string, borrowed where it is written without escapes.
#[derive(Deserialize)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

/// One record. Everything may be missing or null.
#[derive(Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) agent_message: Option<Message<'a>>,
    #[serde(borrow)]
    pub(super) agent_message_chunk: Option<Chunk<'a>>,
    #[serde(borrow)]
    pub(super) session_status: Option<SessionStatus<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) base_resp: Option<&'a RawValue>,
}

/// A whole message (type 2).
#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) role: Option<&'a RawValue>,
    pub(super) msg_type: Option<i64>,
    #[serde(borrow)]
    pub(super) msg_content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) thinking_content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<&'a RawValue>,
    pub(super) usage: Option<Usage>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<&'a RawValue>,
}

/// What is new of a message (type 6).
#[derive(Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) msg_content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) thinking_content: Option<&'a RawValue>,
    pub(super) finish: Option<bool>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct SessionStatus<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<&'a RawValue>,
}

/// What an answer has cost. Its input counts the agent's own long prompt.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Usage {
    pub(super) output_tokens: Option<u64>,
}

impl Message<'_> {
    /// A step of the agent, and no answer.
    pub(super) fn is_step(&self) -> bool {
        let calls = self.tool_calls.map_or("", RawValue::get).trim();
        let has_calls = !matches!(calls, "" | "null" | "[]" | "{}" | "\"\"" | "false");
        // Section 12.5: 2 and 3 are steps (section 12.6 has what is in them).
        has_calls || matches!(self.msg_type, Some(2 | 3))
    }
}

/// A JSON string; `None` for whatever else.
pub(super) fn word(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    // `None` also for numbers: a text that is none must not become one.
    let word: Word<'_> = serde_json::from_str(raw?.get()).ok()?;
    Some(word.0)
}
