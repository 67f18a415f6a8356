//! The events of an answer in the form in which they are kept. Short names, as there are many of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::{ChatEvent, FinishReason, ToolCallDelta, Usage};

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Said {
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "r")]
    Reasoning(String),
    #[serde(rename = "s")]
    Signature(String),
    #[serde(rename = "z")]
    Sealed(String),
    /// Index, id, name, arguments.
    #[serde(rename = "c")]
    ToolCall(u32, Option<String>, Option<String>, String),
    #[serde(rename = "x")]
    Cited(u32),
    /// Index, URL, title.
    #[serde(rename = "q")]
    Citation(u32, String, String),
    /// Prompt, completion, reasoning, cached.
    #[serde(rename = "u")]
    Usage(u64, u64, u64, u64),
    #[serde(rename = "w")]
    Rewritten(String),
    #[serde(rename = "e")]
    Extra(Map<String, Value>),
    #[serde(rename = "l")]
    Logprobs(Value),
    /// The provider was done.
    #[serde(rename = "f")]
    Stop,
    /// A text of the caller's was met.
    #[serde(rename = "p")]
    StopText(usize),
    /// The caller is to answer calls.
    #[serde(rename = "g")]
    ToolCalls,
}

impl Said {
    /// An event, if an answer that has it may be given again.
    pub(super) fn of(event: &ChatEvent) -> Option<Self> {
        Some(match event {
            ChatEvent::Text(text) => Self::Text(text.clone()),
            ChatEvent::Reasoning(text) => Self::Reasoning(text.clone()),
            ChatEvent::Signature(seal) => Self::Signature(seal.clone()),
            ChatEvent::Sealed(thinking) => Self::Sealed(thinking.clone()),
            ChatEvent::ToolCall(call) => Self::ToolCall(
                call.index,
                call.id.clone(),
                call.name.clone(),
                call.arguments.clone(),
            ),
            ChatEvent::Cited { index } => Self::Cited(*index),
            ChatEvent::Citation { index, url, title } => {
                Self::Citation(*index, url.clone(), title.clone())
            }
            ChatEvent::Usage(it) => Self::Usage(
                it.prompt_tokens,
                it.completion_tokens,
                it.reasoning_tokens,
                it.cached_tokens,
            ),
            ChatEvent::Rewritten(text) => Self::Rewritten(text.clone()),
            ChatEvent::Extra(members) => Self::Extra(members.clone()),
            ChatEvent::Logprobs(logprobs) => Self::Logprobs(logprobs.clone()),
            ChatEvent::Finish(FinishReason::Stop) => Self::Stop,
            ChatEvent::Finish(FinishReason::StopText(place)) => Self::StopText(*place),
            ChatEvent::Finish(FinishReason::ToolCalls) => Self::ToolCalls,
            // Cut off; addresses that end; and what might be half of an answer.
            ChatEvent::Finish(FinishReason::Length | FinishReason::ContentFilter)
            | ChatEvent::Image { .. }
            | ChatEvent::Video { .. }
            | ChatEvent::Unknown(_) => return None,
        })
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        const EACH: usize = 64;
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        EACH + match self {
            Self::Text(text)
            | Self::Reasoning(text)
            | Self::Signature(text)
            | Self::Sealed(text)
            | Self::Rewritten(text) => text.len(),
            Self::ToolCall(_, id, name, arguments) => length(id) + length(name) + arguments.len(),
            Self::Citation(_, url, title) => url.len() + title.len(),
            Self::Extra(members) => serde_json::to_string(members).map_or(0, |text| text.len()),
            Self::Logprobs(value) => value.to_string().len(),
            Self::Cited(_) | Self::Usage(..) | Self::Stop | Self::StopText(_) | Self::ToolCalls => {
                0
            }
        }
    }

    /// Whether it says that the answer is complete.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::Stop | Self::StopText(_) | Self::ToolCalls)
    }

    /// Whether it is a part of what was asked for.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::Text(text) | Self::Rewritten(text) => !text.trim().is_empty(),
            Self::ToolCall(..) => true,
            _ => false,
        }
    }
}

impl From<Said> for ChatEvent {
    fn from(said: Said) -> Self {
        match said {
            Said::Text(text) => Self::Text(text),
            Said::Reasoning(text) => Self::Reasoning(text),
            Said::Signature(seal) => Self::Signature(seal),
            Said::Sealed(thinking) => Self::Sealed(thinking),
            Said::ToolCall(index, id, name, arguments) => Self::ToolCall(ToolCallDelta {
                index,
                id,
                name,
                arguments,
            }),
            Said::Cited(index) => Self::Cited { index },
            Said::Citation(index, url, title) => Self::Citation { index, url, title },
            Said::Usage(prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens) => {
                Self::Usage(Usage {
                    prompt_tokens,
                    completion_tokens,
                    reasoning_tokens,
                    cached_tokens,
                })
            }
            Said::Rewritten(text) => Self::Rewritten(text),
            Said::Extra(members) => Self::Extra(members),
            Said::Logprobs(logprobs) => Self::Logprobs(logprobs),
            Said::Stop => Self::Finish(FinishReason::Stop),
            Said::StopText(place) => Self::Finish(FinishReason::StopText(place)),
            Said::ToolCalls => Self::Finish(FinishReason::ToolCalls),
        }
    }
}
