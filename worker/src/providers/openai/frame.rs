//! A chunk, or a whole completion: the same but for `delta` and `message`. Read in one pass where it is written as OpenAI
//! writes it, else member by member. Source: OpenAI's public API reference.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{delta::Delta, sources, usage};
use crate::{
    chat::Usage,
    providers::said::{self, Said},
    upstream::json,
};

/// What an event says.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// A chunk, or an answer.
    Chunk(Chunk<'a>),
    /// Something went wrong.
    Error(Said),
    /// Nothing of interest.
    Nothing,
    /// Neither a chunk nor an error, nor what keeps a connection alive.
    Unknown,
}

/// The content of a chunk or an answer.
#[derive(Debug, Default)]
pub(super) struct Chunk<'a> {
    pub(super) choices: Vec<Choice<'a>>,
    pub(super) usage: Option<Usage>,
    /// What stands beside the choices, if any of it may be of interest.
    pub(super) members: Map<String, Value>,
    /// Its texts may hold halves of characters.
    pub(super) is_mended: bool,
}

/// One choice.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub(super) index: u64,
    pub(super) delta: Option<Delta<'a>>,
    /// It stood in `message`: in a stream, that may be all that was said so far.
    pub(super) is_message: bool,
    /// There is a `delta` and no `message` beside it: a piece of an answer.
    pub(super) is_piece: bool,
    /// As it is written; empty for none.
    pub(super) finish_reason: Cow<'a, str>,
    pub(super) logprobs: Option<Value>,
    pub(super) error: Option<Said>,
}

/// A frame in OpenAI's own form. Everything odd makes it one for [`tolerant`]: a member of these names, one that comes
/// twice, one of another type.
#[derive(Deserialize)]
struct Plain<'a> {
    #[serde(default, borrow)]
    choices: Option<Vec<PlainChoice<'a>>>,
    #[serde(default)]
    usage: Option<usage::Plain>,
    #[serde(
        default,
        rename = "error",
        alias = "errors",
        alias = "detail",
        alias = "message",
        alias = "msg",
        alias = "error_msg",
        alias = "error_message",
        alias = "error_code",
        alias = "citations",
        alias = "search_results",
        alias = "search_info",
        alias = "web_search",
        alias = "references",
        alias = "sources",
        alias = "x_groq"
    )]
    odd: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct PlainChoice<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default, borrow)]
    delta: Option<Delta<'a>>,
    #[serde(default, borrow)]
    message: Option<Delta<'a>>,
    #[serde(default, borrow)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(default, rename = "error", alias = "text", alias = "usage")]
    odd: Option<IgnoredAny>,
}

/// An event that is written as OpenAI writes it; `None`: [`tolerant`] reads it.
pub(super) fn plain(data: &[u8]) -> Option<Chunk<'_>> {
    let frame: Plain<'_> = serde_json::from_slice(data).ok()?;
    let choices = frame.choices.unwrap_or_default();
    let is_odd = |choice: &PlainChoice<'_>| {
        // Both in one choice is odd: which of them repeats the other is for the slow way.
        let is_odd = |delta: &Option<Delta<'_>>| delta.as_ref().is_some_and(|delta| delta.is_odd);
        choice.odd.is_some()
            || (choice.delta.is_some() && choice.message.is_some())
            || is_odd(&choice.delta)
            || is_odd(&choice.message)
    };
    // A frame without both says nothing, or says it in another shape.
    let says_nothing = choices.is_empty() && frame.usage.is_none();
    let is_counted_oddly = frame.usage.as_ref().is_some_and(|usage| !usage.is_plain());
    if frame.odd.is_some() || says_nothing || is_counted_oddly || choices.iter().any(is_odd) {
        return None;
    }
    Some(Chunk {
        choices: choices
            .into_iter()
            .map(|choice| Choice {
                index: choice.index.unwrap_or_default(),
                is_message: choice.delta.is_none(),
                is_piece: choice.delta.is_some(),
                delta: choice.delta.or(choice.message),
                finish_reason: choice.finish_reason.unwrap_or_default(),
                logprobs: choice.logprobs,
                error: None,
            })
            .collect(),
        usage: frame.usage.and_then(usage::Plain::into_usage),
        members: Map::new(),
        is_mended: false,
    })
}

/// An event however it is filled; `None` when it is no JSON. `is_whole`: a whole answer, in which `message` counts where
/// `delta` is there as well.
pub(super) fn tolerant(data: &[u8], is_whole: bool) -> Option<Frame<'static>> {
    // Mended first: what a half would make unreadable is one character.
    let (value, is_mended) = json::value(data)?;
    let object = |members| object(members, is_whole, is_mended);
    match value {
        Value::Object(members) => Some(object(members)),
        Value::Array(list) => Some(
            list.into_iter()
                .filter_map(|item| match item {
                    Value::Object(members) => Some(object(members)),
                    _ => None,
                })
                .find(|frame| !matches!(frame, Frame::Nothing | Frame::Unknown))
                .unwrap_or(Frame::Nothing),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(Frame::Nothing),
        Value::String(_) => None,
    }
}

fn object(mut members: Map<String, Value>, is_whole: bool, is_mended: bool) -> Frame<'static> {
    // Before it is taken out: an error has no choices.
    let has_choices = members.contains_key("choices");
    let is_beat = members.is_empty() || members.get("type").is_some_and(|kind| kind == "ping");
    let mut choices = match members.remove("choices") {
        // Some write the one choice without a list.
        Some(Value::Array(choices)) => choices,
        Some(one @ Value::Object(_)) => vec![one],
        _ => Vec::new(),
    };
    let usage = members.remove("usage").filter(|usage| !usage.is_null());
    let usage = usage.or_else(|| misplaced_usage(&mut choices, &members));
    // Before the choices are read: it stands in one of them.
    let choices: Vec<Choice<'static>> = choices
        .into_iter()
        .filter_map(|choice| match choice {
            Value::Object(choice) => Some(self::choice(choice, is_whole)),
            _ => None,
        })
        .collect();
    let has_error = |name: &str| members.get(name).is_some_and(|value| !is_blank(value));
    // Beside choices only a member that says nothing else but this is an error.
    if choices.is_empty() || has_error("error") {
        if let Some(said) = said::error_in(&members) {
            return Frame::Error(said);
        }
        // A chunk of sources alone is one: search services send them so (section of [`sources`]).
        if choices.is_empty() && usage.is_none() && !sources::are_in(&members) {
            // Some begin with an empty list of choices, and what they found out about the question.
            return if has_choices || is_beat {
                Frame::Nothing
            } else {
                Frame::Unknown
            };
        }
    }
    Frame::Chunk(Chunk {
        choices,
        usage: usage.as_ref().and_then(usage::read),
        members,
        is_mended,
    })
}

/// Usage where Moonshot (in the choice) and Groq (in a member of its own) put it.
fn misplaced_usage(choices: &mut [Value], members: &Map<String, Value>) -> Option<Value> {
    let within = choices
        .iter_mut()
        .find_map(|choice| choice.as_object_mut()?.remove("usage"));
    within
        .or_else(|| members.get("x_groq")?.get("usage").cloned())
        .filter(Value::is_object)
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn choice(mut members: Map<String, Value>, is_whole: bool) -> Choice<'static> {
    let mut part = |name: &str| match members.remove(name) {
        Some(Value::Object(delta)) => Some(Delta::from_value(delta)),
        // A choice that is a text is of the older completions.
        Some(Value::String(text)) => Some(Delta {
            content: Some(Cow::Owned(text)),
            ..Delta::default()
        }),
        _ => None,
    };
    let (delta, message) = (part("delta"), part("message"));
    let text = part("text");
    let is_piece = delta.is_some() && message.is_none();
    // Of a whole answer the message counts, of a stream the delta.
    let (first, second) = if is_whole {
        (message, delta)
    } else {
        (delta, message)
    };
    let finish_reason = finish_reason(members.get("finish_reason"));
    let is_message = is_whole || first.is_none();
    // What repeats all that was said is in the way of what is new, unless that is the last and says all at once.
    // An empty message beside a delta is a placeholder.
    let delta = match (first, second) {
        (Some(first), Some(second)) if is_whole && first.is_empty() => Some(second),
        (first, second) => first.or(second),
    };
    Choice {
        index: members.get("index").map_or(0, index),
        // A text beside them is the older form, and is a piece.
        is_message: is_message && text.is_none(),
        is_piece,
        delta: delta.or(text),
        finish_reason,
        logprobs: members.remove("logprobs"),
        error: members
            .get("error")
            .filter(|error| !is_blank(error))
            .map(Said::value),
    }
}

fn index(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .unwrap_or_default()
}

fn finish_reason(value: Option<&Value>) -> Cow<'static, str> {
    // Missing or unreadable is the first one.
    let word = match value {
        Some(Value::Object(reason)) => reason.get("type").or_else(|| reason.get("reason")),
        other => other,
    };
    word.and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
        .into()
}
