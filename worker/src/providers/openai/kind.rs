//! What a lane's upstream speaks (`OPENAI_COMPAT_n_KIND`), and the answer in whichever dialect that is.

use super::{FIELDS, messages, responses, stream};
use crate::{
    chat::{ChatEvent, ChatRequest, Dialect, Field, ProviderError, Support},
    settings::{Problems, Vars},
};

/// A dialect of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// Chat completions, which nearly all of them speak.
    #[default]
    Chat,
    /// Responses.
    Responses,
    /// Anthropic's messages.
    Messages,
}

/// What upstreams of Responses have no word for; what else there is they obey.
const NOT_IN_RESPONSES: &[(Field, Support)] = &[
    (Field::FrequencyPenalty, Support::Ignored),
    (Field::LogitBias, Support::Ignored),
    (Field::Logprobs, Support::Ignored),
    (Field::Prediction, Support::Ignored),
    (Field::PresencePenalty, Support::Ignored),
    (Field::Seed, Support::Ignored),
];

/// The same of messages.
const NOT_IN_MESSAGES: &[(Field, Support)] = &[
    (Field::FrequencyPenalty, Support::Ignored),
    (Field::LogitBias, Support::Ignored),
    (Field::Logprobs, Support::Ignored),
    (Field::Metadata, Support::Ignored),
    (Field::Prediction, Support::Ignored),
    (Field::PresencePenalty, Support::Ignored),
    (Field::PromptCacheKey, Support::Ignored),
    (Field::SafetyIdentifier, Support::Ignored),
    (Field::Seed, Support::Ignored),
    (Field::ServiceTier, Support::Ignored),
    (Field::Store, Support::Ignored),
    (Field::TopLogprobs, Support::Ignored),
    (Field::Verbosity, Support::Ignored),
];

impl Kind {
    /// Reads `variable`; unset: chat completions.
    pub(super) fn read(vars: &Vars, variable: &str, problems: &mut Problems) -> Self {
        match vars.get(variable) {
            None | Some("openai") => Self::Chat,
            Some("responses") => Self::Responses,
            Some("anthropic") => Self::Messages,
            Some(_) => {
                problems.push(format!("{variable} must be openai, responses or anthropic"));
                Self::Chat
            }
        }
    }

    /// Whose callers' bodies go on as they came.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Chat => Dialect::ChatCompletions,
            Self::Responses => Dialect::Responses,
            Self::Messages => Dialect::Messages,
        }
    }

    /// What becomes of a request's fields.
    pub(super) fn fields(self) -> &'static [&'static [(Field, Support)]] {
        match self {
            Self::Chat => &[FIELDS],
            Self::Responses => &[NOT_IN_RESPONSES, FIELDS],
            Self::Messages => &[NOT_IN_MESSAGES, FIELDS],
        }
    }

    /// A decoder for one streamed answer to `ask`.
    pub(super) fn decoder(self, variable: &str, ask: &ChatRequest) -> Decoder {
        match self {
            Self::Chat => {
                let decoder = stream::Decoder::new(variable).with_functions(ask.calls_as_functions);
                Decoder::Chat(Box::new(decoder))
            }
            Self::Responses => {
                Decoder::Responses(Box::new(responses::stream::Decoder::new(variable)))
            }
            Self::Messages => {
                let decoder = messages::stream::Decoder::new(variable, &ask.stop);
                Decoder::Messages(Box::new(decoder))
            }
        }
    }

    /// An answer in one piece.
    ///
    /// # Errors
    /// What the upstream says is wrong, or what is no answer.
    pub(super) fn whole(
        self,
        body: &[u8],
        variable: &str,
        ask: &ChatRequest,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        match self {
            Self::Chat => stream::whole(body, variable, ask.calls_as_functions, events),
            Self::Responses => responses::stream::whole(body, variable, events),
            Self::Messages => messages::stream::whole(body, variable, &ask.stop, events),
        }
    }
}

/// Bytes in, events out, in whichever dialect.
#[derive(Debug)]
pub(super) enum Decoder {
    Chat(Box<stream::Decoder>),
    Responses(Box<responses::stream::Decoder>),
    Messages(Box<messages::stream::Decoder>),
}

impl Decoder {
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        match self {
            Self::Chat(decoder) => decoder.feed(bytes, events),
            Self::Responses(decoder) => decoder.feed(bytes, events),
            Self::Messages(decoder) => decoder.feed(bytes, events),
        }
    }

    pub(super) fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        match self {
            Self::Chat(decoder) => decoder.finish(events),
            Self::Responses(decoder) => decoder.finish(events),
            Self::Messages(decoder) => decoder.finish(events),
        }
    }

    /// The answer is whole; usage may follow.
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Chat(decoder) => decoder.is_finished(),
            Self::Responses(decoder) => decoder.is_finished(),
            Self::Messages(decoder) => decoder.is_finished(),
        }
    }

    /// Nothing may follow.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Chat(decoder) => decoder.is_done(),
            // Usage is in the same event as the end.
            Self::Responses(decoder) => decoder.is_finished(),
            Self::Messages(decoder) => decoder.is_done(),
        }
    }
}
