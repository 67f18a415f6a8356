//! What a lane's upstream speaks (`OPENAI_COMPAT_n_KIND`), and the answer in whichever dialect that is.

use super::{FIELDS, responses, stream};
use crate::{
    chat::{ChatEvent, Dialect, Field, ProviderError, Support},
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

impl Kind {
    /// Reads `variable`; unset: chat completions.
    pub(super) fn read(vars: &Vars, variable: &str, problems: &mut Problems) -> Self {
        match vars.get(variable) {
            None | Some("openai") => Self::Chat,
            Some("responses") => Self::Responses,
            Some(_) => {
                problems.push(format!("{variable} must be openai or responses"));
                Self::Chat
            }
        }
    }

    /// Whose callers' bodies go on as they came.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Chat => Dialect::ChatCompletions,
            Self::Responses => Dialect::Responses,
        }
    }

    /// What becomes of a request's fields.
    pub(super) fn fields(self) -> &'static [&'static [(Field, Support)]] {
        match self {
            Self::Chat => &[FIELDS],
            Self::Responses => &[NOT_IN_RESPONSES, FIELDS],
        }
    }

    /// A decoder for one streamed answer.
    pub(super) fn decoder(self, variable: &str, takes_functions: bool) -> Decoder {
        match self {
            Self::Chat => {
                let decoder = stream::Decoder::new(variable).with_functions(takes_functions);
                Decoder::Chat(Box::new(decoder))
            }
            Self::Responses => {
                Decoder::Responses(Box::new(responses::stream::Decoder::new(variable)))
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
        takes_functions: bool,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        match self {
            Self::Chat => stream::whole(body, variable, takes_functions, events),
            Self::Responses => responses::stream::whole(body, variable, events),
        }
    }
}

/// Bytes in, events out, in whichever dialect.
#[derive(Debug)]
pub(super) enum Decoder {
    Chat(Box<stream::Decoder>),
    Responses(Box<responses::stream::Decoder>),
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
        }
    }

    pub(super) fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        match self {
            Self::Chat(decoder) => decoder.finish(events),
            Self::Responses(decoder) => decoder.finish(events),
        }
    }

    /// The answer is whole; usage may follow.
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Chat(decoder) => decoder.is_finished(),
            Self::Responses(decoder) => decoder.is_finished(),
        }
    }

    /// Nothing may follow.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Chat(decoder) => decoder.is_done(),
            // Usage is in the same event as the end.
            Self::Responses(decoder) => decoder.is_finished(),
        }
    }
}
