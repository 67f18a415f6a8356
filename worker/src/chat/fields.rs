//! What becomes of every documented field of a chat request: one table, which also feeds `/v1/models`, the
//! `X-Hive-Ignored` header and the docs. A provider names only where it differs ([`support`]).

use serde::Serialize;

/// What happens to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// The provider itself obeys it.
    Honoured,
    /// The gateway does it for the provider.
    Emulated,
    /// It has no effect; the answer says so in `X-Hive-Ignored`.
    Ignored,
    /// A request that depends on it is refused with 400 `unsupported_parameter`.
    Refused,
}

/// The documented fields in OpenAI's spelling (and the common extensions at the end), with what happens to each
/// where a provider says nothing else.
pub const FIELDS: &[(&str, Support)] = &[
    ("audio", Support::Refused),
    ("frequency_penalty", Support::Ignored),
    ("function_call", Support::Refused),
    ("functions", Support::Refused),
    ("logit_bias", Support::Ignored),
    ("logprobs", Support::Ignored),
    ("max_completion_tokens", Support::Emulated),
    ("max_tokens", Support::Emulated),
    ("messages", Support::Honoured),
    ("metadata", Support::Ignored),
    ("modalities", Support::Refused),
    ("model", Support::Honoured),
    ("n", Support::Emulated),
    ("parallel_tool_calls", Support::Ignored),
    ("prediction", Support::Ignored),
    ("presence_penalty", Support::Ignored),
    ("prompt_cache_key", Support::Ignored),
    ("reasoning_effort", Support::Ignored),
    ("response_format", Support::Refused),
    ("safety_identifier", Support::Ignored),
    ("seed", Support::Ignored),
    ("service_tier", Support::Ignored),
    ("stop", Support::Emulated),
    ("store", Support::Ignored),
    ("stream", Support::Emulated),
    ("stream_options", Support::Emulated),
    ("temperature", Support::Ignored),
    ("tool_choice", Support::Refused),
    ("tools", Support::Refused),
    ("top_logprobs", Support::Ignored),
    ("top_p", Support::Ignored),
    ("user", Support::Honoured),
    ("verbosity", Support::Ignored),
    ("web_search_options", Support::Ignored),
    ("enable_search", Support::Ignored),
    ("enable_thinking", Support::Ignored),
    ("search_type", Support::Ignored),
    ("thinking", Support::Ignored),
    ("use_search", Support::Ignored),
];

/// What a provider that thinks on demand honours in addition.
pub const THINKING: &[(&str, Support)] = &[
    ("reasoning_effort", Support::Honoured),
    ("enable_thinking", Support::Honoured),
    ("thinking", Support::Honoured),
];

/// What a provider that searches on demand honours in addition.
pub const SEARCH: &[(&str, Support)] = &[
    ("web_search_options", Support::Honoured),
    ("enable_search", Support::Honoured),
    ("search_type", Support::Honoured),
    ("use_search", Support::Honoured),
];

/// What becomes of `field` when the provider's own lists are `own`: the first list that names it decides.
/// Fields that nobody documents are ignored.
pub fn support(own: &[&[(&str, Support)]], field: &str) -> Support {
    own.iter()
        .copied()
        .chain([FIELDS])
        .flatten()
        .find(|(name, _)| *name == field)
        .map_or(Support::Ignored, |(_, support)| *support)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_own_list_comes_first() {
        assert_eq!(support(&[], "reasoning_effort"), Support::Ignored);
        assert_eq!(
            support(&[SEARCH, THINKING], "reasoning_effort"),
            Support::Honoured
        );
        assert_eq!(support(&[], "nobody_knows"), Support::Ignored);
    }
}
