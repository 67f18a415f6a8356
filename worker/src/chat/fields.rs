//! What a request may ask for, whatever a dialect calls it, and what becomes of it: a provider names only where it
//! differs ([`support`]). A door spells the fields: what a caller wrote stands in [`Asked`].

use std::borrow::Cow;

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

/// Something that a request can ask for. One meaning is one field, however many spellings a dialect has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// How an answer in sound is made.
    Audio,
    /// How many answers ([`super::ChatRequest::n`]).
    Choices,
    /// How hard to think ([`super::ChatRequest::effort`]).
    Effort,
    /// The form of the answer ([`super::ChatRequest::format`]).
    Format,
    /// [`super::request::Sampling::frequency_penalty`].
    FrequencyPenalty,
    /// [`super::request::Sampling::logit_bias`].
    LogitBias,
    /// How likely each token was.
    Logprobs,
    /// The longest answer ([`super::ChatRequest::max_tokens`]).
    MaxTokens,
    /// The conversation.
    Messages,
    /// Labels for the caller's own books.
    Metadata,
    /// Kinds of answers other than text.
    Modalities,
    /// The model.
    Model,
    /// Whether one turn may hold several tool calls.
    ParallelToolCalls,
    /// A text that the answer is likely to repeat.
    Prediction,
    /// [`super::request::Sampling::presence_penalty`].
    PresencePenalty,
    /// Which requests may share a cache.
    PromptCacheKey,
    /// An id of the end user for the provider's own checks.
    SafetyIdentifier,
    /// Web search ([`super::ChatRequest::search`]).
    Search,
    /// [`super::request::Sampling::seed`].
    Seed,
    /// How fast, and at what price.
    ServiceTier,
    /// Texts that end the answer ([`super::ChatRequest::stop`]).
    Stop,
    /// Whether the provider keeps the answer.
    Store,
    /// Whether the answer comes in pieces.
    Stream,
    /// What a stream brings besides the answer.
    StreamOptions,
    /// [`super::request::Sampling::temperature`].
    Temperature,
    /// Thinking on or off ([`super::ChatRequest::thinking`]).
    Thinking,
    /// Which tool to call ([`super::ChatRequest::tool_choice`]).
    ToolChoice,
    /// What the model may call ([`super::ChatRequest::tools`]).
    Tools,
    /// How many rivals of each token.
    TopLogprobs,
    /// [`super::request::Sampling::top_p`].
    TopP,
    /// Who asks ([`super::ChatRequest::user`]).
    User,
    /// How wordy the answer is.
    Verbosity,
    /// Whatever has no effect anywhere, such as a tool that only the caller's own service runs.
    Foreign,
}

impl Field {
    /// What happens to it where a provider says nothing else.
    pub fn usual(self) -> Support {
        match self {
            // The gateway honours `user` itself: it keeps one user on one account.
            Self::Messages | Self::Model | Self::User => Support::Honoured,
            Self::Choices
            | Self::Format
            | Self::MaxTokens
            | Self::ParallelToolCalls
            | Self::Stop
            | Self::Stream
            | Self::StreamOptions
            | Self::ToolChoice
            | Self::Tools => Support::Emulated,
            // Refused and not ignored: who asks for sound and gets words has no use for them.
            Self::Audio | Self::Modalities => Support::Refused,
            Self::Effort
            | Self::FrequencyPenalty
            | Self::LogitBias
            | Self::Logprobs
            | Self::Metadata
            | Self::Prediction
            | Self::PresencePenalty
            | Self::PromptCacheKey
            | Self::SafetyIdentifier
            | Self::Search
            | Self::Seed
            | Self::ServiceTier
            | Self::Store
            | Self::Temperature
            | Self::Thinking
            | Self::TopLogprobs
            | Self::TopP
            | Self::Verbosity
            | Self::Foreign => Support::Ignored,
        }
    }
}

/// A field that a caller set and that asks for something beyond the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it asks for.
    pub field: Field,
    /// As the caller's dialect spells it, for errors and `X-Hive-Ignored`.
    pub name: Cow<'static, str>,
}

/// What a provider that thinks on demand honours in addition.
pub const THINKING: &[(Field, Support)] = &[
    (Field::Effort, Support::Honoured),
    (Field::Thinking, Support::Honoured),
];

/// What a provider that searches on demand honours in addition.
pub const SEARCH: &[(Field, Support)] = &[(Field::Search, Support::Honoured)];

/// What becomes of `field` when the provider's own lists are `own`: the first list that names it decides.
pub fn support(own: &[&[(Field, Support)]], field: Field) -> Support {
    // In the order of the lists, so a provider's own exception stands in front of what it shares with others.
    own.iter()
        .copied()
        .flatten()
        .find(|(known, _)| *known == field)
        .map_or_else(|| field.usual(), |(_, support)| *support)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_own_list_comes_first() {
        assert_eq!(support(&[], Field::Effort), Support::Ignored);
        assert_eq!(
            support(&[SEARCH, THINKING], Field::Effort),
            Support::Honoured
        );
        assert_eq!(support(&[SEARCH], Field::Foreign), Support::Ignored);
    }
}
