//! An answer in one piece, and what it has in common with a stream. Source: doors.md section 14.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::usage::UsageMember;
use crate::{
    chat::{ChatRequest, FinishReason, ToolCallDelta, Usage},
    http::answering::{Item, Whole},
    impossible::OrImpossible as _,
};

/// A message of the assistant.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) id: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) role: &'static str,
    pub(super) model: &'a str,
    pub(super) content: Vec<Value>,
    #[serde(flatten)]
    pub(super) stop: Stop<'a>,
    pub(super) usage: UsageMember,
}

/// How a message has ended; nothing of it is set while it goes on.
#[derive(Debug, Default, Serialize)]
pub(super) struct Stop<'a> {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_details: Option<Value>,
}

impl<'a> Stop<'a> {
    /// `stops`: the texts that the client had named.
    pub(super) fn new(
        finish: Option<FinishReason>,
        has_refused: bool,
        stops: &'a [String],
    ) -> Self {
        let reason = match finish.unwrap_or(FinishReason::Stop) {
            // A refusal in words is one, whatever the reason says.
            FinishReason::Stop if has_refused => "refusal",
            FinishReason::Stop => "end_turn",
            FinishReason::StopText(place) => {
                let text = stops.get(place).map(String::as_str);
                return Self {
                    stop_reason: Some("stop_sequence"),
                    stop_sequence: Some(text.or_impossible("the place is one of this request")),
                    stop_details: None,
                };
            }
            FinishReason::Length => "max_tokens",
            FinishReason::ContentFilter => "refusal",
            FinishReason::ToolCalls => "tool_use",
        };
        Self {
            stop_reason: Some(reason),
            stop_sequence: None,
            // Nobody here knows why; the reference wants the members there.
            stop_details: (reason == "refusal")
                .then(|| json!({"type": "refusal", "category": null, "explanation": null})),
        }
    }
}

/// The block of thinking that only its service can read.
pub(super) fn sealed(thought: &str) -> Value {
    json!({"type": "redacted_thinking", "data": thought})
}

/// The block of a call.
pub(super) fn tool_use(call: &ToolCallDelta, input: Value) -> Value {
    json!({"type": "tool_use", "id": id(call.id.as_deref()), "name": call.name.as_deref().unwrap_or_default(), "input": input})
}

/// An id as this dialect has them. It comes back with the result, and nobody looks it up: so that it is the same for the
/// call and the result is enough.
fn id(id: Option<&str>) -> String {
    const MOST_CHARS: usize = 58;
    let id = id.unwrap_or_default();
    // Another dialect's prefix is taken off: an id has one.
    let bare = id
        .strip_prefix("toolu_")
        .or_else(|| id.strip_prefix("call_"));
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || *c == '-';
    let bare: String = bare
        .unwrap_or(id)
        .chars()
        .filter(is_plain)
        .take(MOST_CHARS)
        .collect();
    format!("toolu_{bare}")
}

/// The body.
pub(super) fn render(
    id: &str,
    request: &ChatRequest,
    choices: Vec<Whole>,
    usage: Usage,
) -> Vec<u8> {
    // There is one: the dialect has no word for more.
    let mut whole = choices
        .into_iter()
        .next()
        .or_impossible("a run has a choice");
    let mut content: Vec<Value> = Vec::with_capacity(whole.items.len());
    for item in whole.items {
        match (item, content.last_mut()) {
            // The seal of the thinking before it, which had none yet.
            (Item::Signature(seal), Some(thought)) if thought["signature"] == "" => {
                thought["signature"] = seal.into();
            }
            (item, _) => content.extend(block(item)),
        }
    }
    let refusal = whole.extra.remove("refusal");
    let has_refused = refusal.as_ref().is_some_and(Value::is_string);
    // Last, as the refusal is the answer's end.
    if let Some(Value::String(refusal)) = refusal {
        content.push(json!({"type": "text", "text": refusal}));
    }
    let message = Message {
        id,
        kind: "message",
        role: "assistant",
        model: &request.model,
        content,
        stop: Stop::new(whole.finish, has_refused, &request.stop),
        usage: usage.into(),
    };
    let body = serde_json::to_vec(&message);
    body.or_impossible("our own types with string keys cannot fail to serialise")
}

fn block(item: Item) -> Option<Value> {
    match item {
        Item::Text(text) if text.is_empty() => None,
        Item::Reasoning(text) if text.is_empty() => None,
        Item::Text(text) => Some(json!({"type": "text", "text": text})),
        Item::Reasoning(text) => {
            Some(json!({"type": "thinking", "thinking": text, "signature": ""}))
        }
        Item::Signature(seal) => {
            Some(json!({"type": "thinking", "thinking": "", "signature": seal}))
        }
        Item::Sealed(thought) => Some(sealed(&thought)),
        Item::Call(call) => {
            // Arguments that are no object cannot be said here: a client answers an unknown member to the model.
            let input = match serde_json::from_str(&call.arguments) {
                Ok(Value::Object(input)) => input,
                Ok(other) => Map::from_iter([("arguments".to_owned(), other)]),
                Err(_) if call.arguments.trim().is_empty() => Map::new(),
                Err(_) => {
                    Map::from_iter([("arguments".to_owned(), call.arguments.as_str().into())])
                }
            };
            Some(tool_use(&call, Value::Object(input)))
        }
    }
}
