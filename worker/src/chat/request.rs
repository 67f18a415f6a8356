//! The chat request, in the form that providers work with.

use bytestring::ByteString;

use super::{
    fields::{Asked, Field},
    message::Message,
    splice::Places,
};

/// Most choices that one request may ask for: each one is a turn of its own upstream.
pub const MAX_CHOICES: u32 = 8;
/// Longest model name in bytes. It is said again in each chunk of an answer.
pub const MOST_MODEL_BYTES: usize = 256;
/// How many messages, parts and tool calls a conversation may have in all, where nothing else is said (`MAX_MESSAGES`).
pub const MOST_PIECES: usize = 100_000;

/// A body that cannot be served: becomes 400 with this `message`, `param` and `code`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// For the caller: what is wrong.
    pub message: String,
    /// The field to blame, in OpenAI's path notation (`messages[0].content`).
    pub param: Option<String>,
    /// `error.code`, where one is customary.
    pub code: Option<&'static str>,
}

impl Invalid {
    /// A model's name of more than [`MOST_MODEL_BYTES`].
    pub fn too_long_a_model() -> Self {
        let message = format!(
            "A model's name has at most {MOST_MODEL_BYTES} bytes; GET /v1/models lists the models."
        );
        Self::field("model", message)
    }

    /// A complaint about one field.
    pub fn field(param: &str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: Some(param.to_owned()),
            code: None,
        }
    }
}

/// The levels of `reasoning_effort` that ask for thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// `low`.
    Low,
    /// `medium`.
    Medium,
    /// `high`.
    High,
    /// `xhigh` or `max`: as hard as the model can.
    Max,
}

impl Effort {
    /// Reads the word; `None` for `none`, `minimal` and words that nobody knows.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "low" => Some(Self::Low),
            "medium" => Some(Self::Medium),
            "high" => Some(Self::High),
            "xhigh" | "max" => Some(Self::Max),
            _ => None,
        }
    }
}

/// What a client asks for, checked. The fields that a provider can honour stand here in plain form.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The model exactly as the client wrote it.
    pub model: String,
    /// The conversation; never empty.
    pub messages: Vec<Message>,
    /// Whether the answer is wanted as server-sent events.
    pub stream: bool,
    /// Whether a stream ends with a usage chunk.
    pub include_usage: bool,
    /// How many choices, 1 to [`MAX_CHOICES`].
    pub n: u32,
    /// Texts at which the answer ends (they are not part of it); at most four, none empty.
    pub stop: Vec<String>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u64>,
    /// Thinking switched on or off; `None`: as the model does by itself.
    pub thinking: Option<bool>,
    /// How hard to think, where the client named a level; whether at all is in `thinking`.
    pub effort: Option<Effort>,
    /// Web search switched on or off; `None`: as the model does by itself.
    pub search: Option<bool>,
    /// The end user's id, if the client sent one: keeps one user on one account.
    pub user: Option<String>,
    /// What the client set that asks for something beyond the default.
    pub asked: Vec<Asked>,
    /// Why web chats cannot take the question: a part of it that only APIs of the same dialect understand. In the history
    /// such parts are left out.
    pub odd_part: Option<Invalid>,
    /// The body as it came (each member of an object once), for the providers that speak OpenAI's own protocol ([`ChatRequest::body_for`]).
    pub body: ByteString,
    /// Where that says what such providers say anew.
    pub places: Places,
}

impl ChatRequest {
    /// Whether the client asks for `field`.
    pub fn asks_for(&self, field: Field) -> bool {
        self.asked.iter().any(|asked| asked.field == field)
    }

    /// Whether token counts are part of the answer.
    pub fn wants_usage(&self) -> bool {
        !self.stream || self.include_usage
    }
}
