//! What a door brings to the engine: how it says an answer.

use bytes::BytesMut;
use serde_json::{Map, Value};

use crate::{
    chat::{FinishReason, ToolCallDelta, Usage},
    http::error::ApiError,
};

/// How a door says an answer, streamed or whole: one value a request, with whatever it must remember on the way. The
/// engine is generic over it, so that a piece goes from the provider into the buffer without a box or a copy of its own.
///
/// A stream is `begin`, any number of `piece` and `ping`, and then either `finish` or `fail`. All of them write whole events
/// of the door's dialect to `out`; writing nothing is always allowed. A whole answer is one call of [`Voice::whole`].
pub trait Voice: Unpin + 'static {
    /// What log lines call a request of this door.
    const NAME: &'static str;

    /// About how many bytes a piece takes in a stream beside its text.
    fn piece_bytes(&self) -> usize;

    /// Before anything else of a stream: when the first output is here, or, if the status line must go out before, with it.
    /// What must be said before any piece is said here, and what never changes is rendered once.
    fn begin(&mut self, out: &mut BytesMut);

    /// A piece of choice `choice` (from 0). All pieces of a call follow one another, so whatever else comes, or a call with
    /// another index, says that it is whole. The last piece of each choice is [`Piece::Finish`]; only pieces of the API lane
    /// ([`Piece::Extra`], [`Piece::Logprobs`]) may follow it.
    fn piece(&mut self, out: &mut BytesMut, choice: usize, piece: Piece);

    /// All choices have ended, and the answer with them.
    fn finish(&mut self, out: &mut BytesMut, usage: Usage);

    /// The answer has failed after the status line went out: the error instead of the rest.
    fn fail(&mut self, out: &mut BytesMut, error: &ApiError);

    /// Nothing has been said for a while: something that keeps clients waiting and is no part of the answer.
    fn ping(&mut self, out: &mut BytesMut);

    /// The body of an answer that is not streamed.
    fn whole(self, choices: Vec<Whole>, usage: Usage) -> Vec<u8>;
}

/// A piece of an answer, in nobody's dialect: events with thinking in the form that the door asked for, sources gathered, and
/// every call with an id.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Text of the answer.
    Text(String),
    /// Thinking that is not woven into the text.
    Reasoning(String),
    /// The seal of the thinking before it, for whoever gives it back ([`crate::chat::ChatEvent::Signature`]).
    Signature(String),
    /// Thinking that only its service can read ([`crate::chat::ChatEvent::Sealed`]).
    Sealed(String),
    /// A piece of a tool call.
    ToolCall(ToolCallDelta),
    /// All sources of the choice, once, before its end.
    Sources(Vec<Source>),
    /// Members of a delta in OpenAI's dialect, as the API lane passes them on.
    Extra(Map<String, Value>),
    /// `logprobs` in OpenAI's dialect, as the API lane passes them on.
    Logprobs(Value),
    /// The choice has ended.
    Finish(FinishReason),
}

impl Piece {
    /// Bytes of its text; of other values about as many as they have when written.
    pub(in crate::http) fn text_bytes(&self) -> usize {
        match self {
            Self::Text(text)
            | Self::Reasoning(text)
            | Self::Signature(text)
            | Self::Sealed(text) => text.len(),
            Self::ToolCall(call) => {
                let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                call.arguments.len() + length(&call.id) + length(&call.name)
            }
            Self::Sources(sources) => sources.iter().map(Source::bytes).sum(),
            Self::Extra(members) => members.values().map(size).sum(),
            Self::Logprobs(value) => size(value),
            Self::Finish(_) => 0,
        }
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    const EACH: usize = 32;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => EACH,
        Value::String(text) => EACH + text.len(),
        Value::Array(list) => EACH + list.iter().map(size).sum::<usize>(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| EACH + name.len() + size(value);
            EACH + members.iter().map(member).sum::<usize>()
        }
    }
}

/// A place of the text and the source that it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The provider's number of it, from 1.
    pub number: u32,
    /// Where the source is.
    pub url: String,
    /// What it is called.
    pub title: String,
    /// Characters of text before the place; 0 for a source that is cited nowhere in particular.
    pub at: usize,
}

impl Source {
    /// About how many bytes it takes in a body: what a dialect writes around it, and itself.
    fn bytes(&self) -> usize {
        const AROUND: usize = 256;
        AROUND + self.url.len() + self.title.len()
    }
}

/// One choice of an answer that is not streamed.
#[derive(Debug, Default, PartialEq)]
pub struct Whole {
    /// What was said, in order.
    pub items: Vec<Item>,
    /// The sources of the text.
    pub sources: Vec<Source>,
    /// Members of the message in OpenAI's dialect, as the API lane has them.
    pub extra: Map<String, Value>,
    /// `logprobs` in OpenAI's dialect, as the API lane has them.
    pub logprobs: Value,
    /// Why it ended.
    pub finish: Option<FinishReason>,
}

/// A stretch of a choice that is all of one kind.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// Text.
    Text(String),
    /// Thinking.
    Reasoning(String),
    /// The seal of the thinking before it.
    Signature(String),
    /// Thinking that only its service can read.
    Sealed(String),
    /// A tool call with all of its arguments.
    Call(ToolCallDelta),
}
