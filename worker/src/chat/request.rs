//! The chat request, in the form that providers work with: what a caller means, in nobody's dialect.
//!
//! How the doors' words become its fields (a dash: nothing of the kind):
//!
//! | field | chat completions | Responses | Messages |
//! | --- | --- | --- | --- |
//! | `messages` | `messages` | `instructions` (a system message in front), `input` | `system`, `messages` |
//! | `Message::reasoning` | `reasoning_content`, `reasoning` | `reasoning` items, where a provider takes its own back | `thinking` blocks, likewise |
//! | `Message::tool_calls` | `tool_calls` | `function_call`, `custom_tool_call` items | `tool_use` |
//! | `Message::is_error` | – | – | `is_error` |
//! | `tools` | `tools`, `functions` | `tools`, `additional_tools`; a namespace's as `ns__tool` | `tools` |
//! | `tool_choice` | `tool_choice`, `function_call` | `tool_choice` | `tool_choice`: `any` is `Required`, `tool` is `Named` |
//! | `parallel_tool_calls` | the same | the same | `tool_choice.disable_parallel_tool_use`, turned round |
//! | `format` | `response_format` | `text.format` | `output_config.format` |
//! | `sampling` | its members | `temperature`, `top_p`, `top_logprobs` | `temperature`, `top_p`, `top_k` |
//! | `thinking`, `effort` | `reasoning_effort`, `enable_thinking`, `thinking` | `reasoning.effort` | `thinking.type`, `output_config.effort` |
//! | `thinking_budget` | `thinking_budget`, `thinking.budget_tokens` | | `thinking.budget_tokens` |
//! | `search` | `web_search_options`, `enable_search`, `use_search`, `search_type` | a `web_search` tool | a `web_search_…` tool |
//! | `stop` | `stop` | – | `stop_sequences` |
//! | `max_tokens` | `max_completion_tokens`, `max_tokens` | `max_output_tokens` | `max_tokens` |
//! | `user` | `user` | `user`, `safety_identifier`, `prompt_cache_key` | `metadata.user_id` |
//! | `n` | `n` | 1 | 1 |
//! | `stream`, `include_usage` | `stream`, `stream_options` | `stream`; usage always | `stream`; usage always |
//! | `extras` | its members | `metadata`, `store`, `service_tier`, `text.verbosity` … | – |
//! | `asked` | each field that is set | likewise, and `tools.TYPE`, `input.TYPE` as [`Field::Foreign`] | likewise |
//!
//! What only the answer's form depends on (`reasoning.summary`, `thinking.display`, what is echoed) stays with the door.

use std::sync::OnceLock;

use super::{
    fields::{Asked, Field},
    json::Json,
    message::Message,
    text::Text,
    tokens,
    tools::{Format, Tool, ToolChoice},
    verbatim::Verbatim,
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
    /// The field to blame, in the caller's dialect (`messages[0].content`).
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

/// How hard to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Not at all.
    None,
    /// Hardly.
    Minimal,
    /// A little.
    Low,
    /// As most do.
    Medium,
    /// Hard.
    High,
    /// Harder.
    XHigh,
    /// As hard as the model can.
    Max,
    /// A word that nobody knows: thinking is wanted, and how hard is the model's to say.
    Unknown,
}

impl Effort {
    /// Reads the word, which is the same in all dialects.
    pub fn read(word: &str) -> Self {
        match word {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::XHigh,
            "max" => Self::Max,
            _ => Self::Unknown,
        }
    }

    /// The word; `None` for [`Effort::Unknown`].
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::None => Some("none"),
            Self::Minimal => Some("minimal"),
            Self::Low => Some("low"),
            Self::Medium => Some("medium"),
            Self::High => Some("high"),
            Self::XHigh => Some("xhigh"),
            Self::Max => Some("max"),
            Self::Unknown => None,
        }
    }

    /// Whether it asks for thinking at all.
    pub fn is_thinking(self) -> bool {
        // `minimal` is what clients send that want an answer at once; web chats only know thinking or none.
        !matches!(self, Self::None | Self::Minimal)
    }
}

/// How the next token is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 to 2: how daring.
    pub temperature: Option<f64>,
    /// 0 to 1: only among the likeliest that have so much of the probability together.
    pub top_p: Option<f64>,
    /// Only among the so many likeliest.
    pub top_k: Option<u32>,
    /// -2 to 2: less of what was said often.
    pub frequency_penalty: Option<f64>,
    /// -2 to 2: less of what was said at all.
    pub presence_penalty: Option<f64>,
    /// The same seed, the same answer, as far as may be.
    pub seed: Option<i64>,
    /// What is added to single tokens: an object.
    pub logit_bias: Option<Json>,
    /// Whether the answer says how likely each token was.
    pub logprobs: bool,
    /// Of how many rivals it says so.
    pub top_logprobs: Option<u32>,
}

/// Wishes that only an API understands: no web chat has anything like them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// How wordy the answer is: `low`, `medium` or `high`; not checked.
    pub verbosity: Option<Text>,
    /// The kinds of answer that are wanted; empty: text.
    pub modalities: Vec<Text>,
    /// How an answer in sound is made: an object.
    pub audio: Option<Json>,
    /// A text that the answer is likely to repeat: an object.
    pub prediction: Option<Json>,
    /// How to search: an object. Whether at all is in [`ChatRequest::search`].
    pub search_options: Option<Json>,
    /// Labels for the caller's own books: an object.
    pub metadata: Option<Json>,
    /// Which requests may share a cache.
    pub prompt_cache_key: Option<Text>,
    /// An id of the end user for the upstream's own checks.
    pub safety_identifier: Option<Text>,
    /// How fast, and at what price.
    pub service_tier: Option<Text>,
    /// Whether the upstream keeps the answer.
    pub store: Option<bool>,
}

/// What a client asks for, checked. The fields that a provider can honour stand here in plain form.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The model exactly as the client wrote it.
    pub model: String,
    /// The conversation; never empty.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Which of them it calls.
    pub tool_choice: ToolChoice,
    /// Whether one turn may hold several calls; `None`: as the model does by itself.
    pub parallel_tool_calls: Option<bool>,
    /// The tools were given as functions, OpenAI's older form: calls are answered in that form.
    pub calls_as_functions: bool,
    /// The form of the answer.
    pub format: Format,
    /// How the next token is drawn.
    pub sampling: Sampling,
    /// Thinking switched on or off; `None`: as the model does by itself.
    pub thinking: Option<bool>,
    /// How hard to think, where the client named a level; whether at all is in `thinking`.
    pub effort: Option<Effort>,
    /// Most tokens of thinking, where the client named a number.
    pub thinking_budget: Option<u64>,
    /// Web search switched on or off; `None`: as the model does by itself.
    pub search: Option<bool>,
    /// Texts at which the answer ends (they are not part of it); none is empty.
    pub stop: Vec<String>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u64>,
    /// The end user's id, if the client sent one: keeps one user on one account.
    pub user: Option<String>,
    /// How many choices, 1 to [`MAX_CHOICES`].
    pub n: u32,
    /// Whether the answer is wanted as server-sent events.
    pub stream: bool,
    /// Whether a stream ends with token counts.
    pub include_usage: bool,
    /// What only an API understands.
    pub extras: Extras,
    /// What the client set that asks for something beyond the default.
    pub asked: Vec<Asked>,
    /// Why web chats cannot take the question: a part of it that only an upstream understands which gets the caller's own
    /// body. In the history such parts are left out.
    pub odd_part: Option<Invalid>,
    /// How long the request is as its caller wrote it: what work on it takes grows with that.
    pub bytes: usize,
    /// The body as it came, for an upstream of the same dialect. Everybody else has all that it says in the fields above.
    pub verbatim: Option<Verbatim>,
    /// What [`ChatRequest::prompt_tokens`] has counted.
    pub counted: OnceLock<u64>,
}

impl ChatRequest {
    /// A conversation, and nothing asked for beyond an answer in one piece.
    pub fn new(model: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            model: model.into(),
            messages,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            parallel_tool_calls: None,
            calls_as_functions: false,
            format: Format::Text,
            sampling: Sampling::default(),
            thinking: None,
            effort: None,
            thinking_budget: None,
            search: None,
            stop: Vec::new(),
            max_tokens: None,
            user: None,
            n: 1,
            stream: false,
            include_usage: false,
            extras: Extras::default(),
            asked: Vec::new(),
            odd_part: None,
            bytes: 0,
            verbatim: None,
            counted: OnceLock::new(),
        }
    }

    /// About how many tokens the request has: counted once, as some doors tell it before the answer and after it.
    pub fn prompt_tokens(&self) -> u64 {
        *self.counted.get_or_init(|| tokens::count_request(self))
    }

    /// Whether the client asks for `field`.
    pub fn asks_for(&self, field: Field) -> bool {
        self.asked.iter().any(|asked| asked.field == field)
    }

    /// Whether token counts are part of the answer.
    pub fn wants_usage(&self) -> bool {
        // An answer in one piece always has its usage.
        !self.stream || self.include_usage
    }
}
