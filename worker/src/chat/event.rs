//! The events that an answer is made of. Source: design.md section 3.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// One step of an answer. Texts are deltas: each holds only what is new.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatEvent {
    /// New answer text.
    Text(String),
    /// New thinking text.
    Reasoning(String),
    /// The seal of the thinking that was just told: what its service tells its own thoughts by when they come back. The
    /// API lane's own.
    Signature(String),
    /// Thinking that only its service can read, in a block of its own (`redacted_thinking`): said as it is where the dialect
    /// has a word for it, since whoever leaves it out of the next question is refused. The API lane's own.
    Sealed(String),
    /// A piece of a tool call.
    ToolCall(ToolCallDelta),
    /// The text cites a source at this very place. The [`ChatEvent::Citation`] with the same index says what the
    /// source is; it may come later, or never.
    Cited {
        /// The provider's number of the source, from 1.
        index: u32,
    },
    /// A source that the answer rests on. `index` as the provider numbers it.
    Citation {
        /// The provider's number of the source, from 1.
        index: u32,
        /// Where it is.
        url: String,
        /// What it is called.
        title: String,
    },
    /// A picture that the provider made.
    Image {
        /// Where it is.
        url: String,
    },
    /// A video that the provider made.
    Video {
        /// Where it is.
        url: String,
    },
    /// The provider's own count; replaces our estimate.
    Usage(Usage),
    /// The answer is complete.
    Finish(FinishReason),
    /// The whole answer text as the provider finally has it, sent before `Finish` by cumulative providers that
    /// rewrote what they had said. A gathering door uses it in place of the deltas; a streaming door cannot take
    /// words back and skips it (wire/qwen.md section 7.3).
    Rewritten(String),
    /// The API lane's own: members of a delta that only an OpenAI-compatible upstream has (`refusal`, `annotations`, …).
    /// The door of its dialect passes them on as they are; another door passes over what it has no word for.
    Extra(Map<String, Value>),
    /// Something in the answer that the decoder does not know and passes over; which part of it, never its content. Counted by
    /// the turn (`hive_unknown_shapes_total`), so that a service that has changed is seen the day it does.
    Unknown(&'static str),
    /// The API lane's own, as [`ChatEvent::Extra`]: the `logprobs` member of a choice.
    Logprobs(Value),
}

impl ChatEvent {
    /// Whether a client sees something of this event, so that from here on nothing can be retried.
    pub fn is_output(&self) -> bool {
        match self {
            Self::Text(text) | Self::Reasoning(text) => !text.is_empty(),
            Self::ToolCall(_)
            | Self::Citation { .. }
            | Self::Image { .. }
            | Self::Video { .. }
            | Self::Finish(_) => true,
            Self::Extra(_) | Self::Logprobs(_) | Self::Signature(_) | Self::Sealed(_) => true,
            Self::Cited { .. } | Self::Usage(_) | Self::Unknown(_) | Self::Rewritten(_) => false,
        }
    }
}

/// What a decoder has not known in one answer: each place is told of once, since cumulative services repeat everything.
#[derive(Debug, Default)]
pub struct Unknowns(Vec<&'static str>);

impl Unknowns {
    /// Tells of a place with [`ChatEvent::Unknown`], the first time.
    pub fn tell(&mut self, place: &'static str, events: &mut Vec<ChatEvent>) {
        if !self.0.contains(&place) {
            self.0.push(place);
            events.push(ChatEvent::Unknown(place));
        }
    }
}

/// A piece of a tool call, as OpenAI streams it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCallDelta {
    /// Which call of the turn, from 0, without gaps.
    pub index: u32,
    /// Only in the first piece of a call.
    pub id: Option<String>,
    /// Only in the first piece of a call.
    pub name: Option<String>,
    /// A piece of the JSON text of the arguments.
    pub arguments: String,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The provider was done.
    Stop,
    /// A text was met that the client had named for this: its place in [`super::ChatRequest::stop`]. A place and no text,
    /// so that a reason stays a word that costs nothing to pass on; only doors that tell the text look it up.
    StopText(usize),
    /// `max_tokens` was reached.
    Length,
    /// Moderation cut the answer off.
    ContentFilter,
    /// The turn holds tool calls.
    ToolCalls,
}

impl FinishReason {
    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop | Self::StopText(_) => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::ToolCalls => "tool_calls",
        }
    }
}

impl Serialize for FinishReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Token counts of one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the conversation that was sent.
    pub prompt_tokens: u64,
    /// Tokens of the answer, thinking included.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub reasoning_tokens: u64,
    /// Those of the conversation that the provider had in its cache.
    pub cached_tokens: u64,
}

impl Usage {
    /// More than any turn has: counts are a stranger's numbers, and are added up.
    const MOST_TOKENS: u64 = 1_000_000_000_000;

    /// The same without counts that cannot be.
    #[must_use]
    pub fn bounded(self) -> Self {
        let bounded = |count: u64| count.min(Self::MOST_TOKENS);
        Self {
            prompt_tokens: bounded(self.prompt_tokens),
            completion_tokens: bounded(self.completion_tokens),
            reasoning_tokens: bounded(self.reasoning_tokens),
            cached_tokens: bounded(self.cached_tokens),
        }
    }
}
