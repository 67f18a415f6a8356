//! The `usage` member.

use serde::Serialize;

use crate::chat::Usage;

/// The `usage` member of a message.
#[derive(Debug, Default, Serialize)]
pub(super) struct UsageMember {
    /// Without those that came from a cache, unlike OpenAI's.
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Debug, Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

impl UsageMember {
    /// Before the answer: what the question has, and the one token of an answer that has begun.
    pub(super) fn before(prompt_tokens: u64) -> Self {
        Self {
            // Never none: clients divide by it.
            input_tokens: prompt_tokens.max(1),
            output_tokens: 1,
            ..Self::default()
        }
    }
}

impl From<Usage> for UsageMember {
    fn from(usage: Usage) -> Self {
        // A cache of more than there is would make the rest negative.
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        Self {
            input_tokens: usage.prompt_tokens - cached,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: cached,
            output_tokens: usage.completion_tokens,
            output_tokens_details: Some(OutputDetails {
                thinking_tokens: usage.reasoning_tokens,
            }),
        }
    }
}
