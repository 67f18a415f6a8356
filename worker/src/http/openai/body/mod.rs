//! The body of a chat completion, read and checked. Unknown fields never hurt; a wrong type is a 400 that names the field
//! (conformance H7).

mod loose;
mod member;
mod tidy;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::{
    loose::{Modalities, Object, Objects, Stop, Thinking},
    member::Member,
};
use crate::chat::{
    Asked, ChatRequest, Content, Effort, Field, Invalid, Message, Part, Role,
    message::counted,
    request::{MAX_CHOICES, MOST_MODEL_BYTES, MOST_PIECES},
    splice::Places,
    text,
};

/// Most stop sequences, as in OpenAI's API.
pub(super) const MAX_STOPS: usize = 4;
/// Longest stop sequence: each piece of an answer is compared with it.
const MOST_STOP_BYTES: usize = 4096;
/// Most characters of the caller's that an error repeats.
const MOST_QUOTED: usize = 100;

/// OpenAI's body, field by field, so that a wrong type is found and named. Fields without effect in this
/// gateway are listed for their types alone.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Member<'a, String>,
    #[serde(default, deserialize_with = "counted")]
    messages: Option<Vec<Message>>,
    #[serde(borrow, default)]
    stream: Member<'a, bool>,
    #[serde(borrow, default)]
    stream_options: Member<'a, StreamOptions>,
    #[serde(borrow, default)]
    n: Member<'a, u32>,
    stop: Option<Stop>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    reasoning_effort: Option<String>,
    enable_thinking: Option<bool>,
    thinking: Option<Thinking>,
    web_search_options: Option<Object>,
    enable_search: Option<bool>,
    use_search: Option<bool>,
    search_type: Option<String>,
    tools: Option<Objects>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    functions: Option<Objects>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    parallel_tool_calls: Option<bool>,
    response_format: Option<ResponseFormat>,
    modalities: Option<Modalities>,
    audio: Option<Object>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    logit_bias: Option<Object>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
    metadata: Option<Object>,
    prediction: Option<Object>,
    prompt_cache_key: Option<String>,
    safety_identifier: Option<String>,
    seed: Option<i64>,
    service_tier: Option<String>,
    store: Option<bool>,
    user: Option<String>,
    verbosity: Option<String>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads and checks a body.
///
/// # Errors
/// [`Invalid`] for text that is no JSON object in UTF-8, a wrong type, or a value out of range.
pub fn read(body: Bytes) -> Result<ChatRequest, Invalid> {
    read_within(body, MOST_PIECES)
}

/// As [`read`], with `most_pieces` as the number of messages, parts and tool calls in all.
///
/// # Errors
/// As [`read`].
pub fn read_within(body: Bytes, most_pieces: usize) -> Result<ChatRequest, Invalid> {
    let mut body = ByteString::try_from(body).map_err(|error| Invalid {
        message: format!("The body is not UTF-8: {error}."),
        param: None,
        code: None,
    })?;
    if let Some(rest) = body.strip_prefix('\u{FEFF}') {
        body = body.slice_ref(rest);
    }
    if tidy::has_half(&body)
        && let Some(tidied) = tidy::tidied(&body)
    {
        body = tidied.into();
    }
    // Only a body that is wrong is read a second time: put right where that is all it needs, else to say what is wrong.
    match parse(&body, most_pieces) {
        Ok(request) => return Ok(request),
        Err(Refused::Value(invalid)) => return Err(invalid),
        Err(Refused::Form) => {}
    }
    match tidy::tidied(&body).map(ByteString::from) {
        None => Err(complaint(&body, most_pieces)),
        Some(body) => match parse(&body, most_pieces) {
            Ok(request) => Ok(request),
            Err(Refused::Value(invalid)) => Err(invalid),
            Err(Refused::Form) => Err(complaint(&body, most_pieces)),
        },
    }
}

/// Why a body was not taken.
enum Refused {
    /// It has the right form.
    Value(Invalid),
    /// JSON or types; a second reading says where.
    Form,
}

fn parse(body: &ByteString, most_pieces: usize) -> Result<ChatRequest, Refused> {
    match text::reading(body, most_pieces, serde_json::from_str::<Body<'_>>) {
        // serde would also take the fields' values as an array.
        Ok(fields) if body.trim_start().starts_with('{') => {
            fields.check(body).map_err(Refused::Value)
        }
        Ok(_) => Err(Refused::Value(not_an_object("line 1 column 1"))),
        Err(_) => Err(Refused::Form),
    }
}

fn complaint(body: &ByteString, most_pieces: usize) -> Invalid {
    text::reading(body, most_pieces, |body| {
        let mut json = serde_json::Deserializer::from_str(body);
        match serde_path_to_error::deserialize::<_, Body<'_>>(&mut json) {
            Err(error) => explain(&error),
            Ok(_) => Invalid {
                message: "The body holds something after the JSON object.".to_owned(),
                param: None,
                code: None,
            },
        }
    })
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> Invalid {
    let path = quoted(&error.path().to_string());
    let inner = error.inner();
    let words = inner.to_string();
    if inner.is_data() && path != "." {
        // serde's own words ("invalid type: integer `5`, expected a string at line 1 column 20"), less the place.
        let words = words
            .rsplit_once(" at line ")
            .map_or(&*words, |(words, _)| words);
        return Invalid::field(
            &path,
            format!("Invalid value for '{path}': {}.", quoted(words)),
        );
    }
    let place = format!("line {} column {}", inner.line(), inner.column());
    if words.starts_with("recursion limit") {
        return Invalid {
            message: format!("The body is nested too deeply ({place})."),
            param: None,
            code: None,
        };
    }
    not_an_object(&place)
}

/// What may be as long as the caller likes, shortened in its middle, as the end is ours.
fn quoted(text: &str) -> String {
    let count = text.chars().count();
    if count <= MOST_QUOTED {
        return text.to_owned();
    }
    let half = MOST_QUOTED / 2;
    let (head, tail) = (text.chars().take(half), text.chars().skip(count - half));
    head.chain(['…']).chain(tail).collect()
}

fn not_an_object(place: &str) -> Invalid {
    Invalid {
        message: format!("The body is not a valid JSON object ({place})."),
        param: None,
        code: None,
    }
}

impl Body<'_> {
    fn check(self, body: &ByteString) -> Result<ChatRequest, Invalid> {
        let asked = self.asked();
        let places = Places {
            model: self.model.place(body),
            stream: self.stream.place(body),
            stream_options: self.stream_options.place(body),
            n: self.n.place(body),
        };
        let Some(model) = self.model.value.filter(|model| !model.trim().is_empty()) else {
            return Err(Invalid::field(
                "model",
                "You must name a model; GET /v1/models lists them.",
            ));
        };
        if model.len() > MOST_MODEL_BYTES {
            return Err(Invalid::too_long_a_model());
        }
        let messages = self.messages.unwrap_or_default();
        if messages.is_empty() {
            return Err(Invalid::field(
                "messages",
                "'messages' must hold at least one message.",
            ));
        }
        let odd_part = odd_part(&messages);
        range("temperature", self.temperature, 0.0, 2.0)?;
        range("top_p", self.top_p, 0.0, 1.0)?;
        range("frequency_penalty", self.frequency_penalty, -2.0, 2.0)?;
        range("presence_penalty", self.presence_penalty, -2.0, 2.0)?;
        let n = self.n.value.unwrap_or(1);
        if !(1..=MAX_CHOICES).contains(&n) {
            return Err(Invalid::field(
                "n",
                format!("'n' must be between 1 and {MAX_CHOICES}."),
            ));
        }
        for (param, limit) in [
            ("max_completion_tokens", self.max_completion_tokens),
            ("max_tokens", self.max_tokens),
        ] {
            if limit == Some(0) {
                return Err(Invalid::field(
                    param,
                    format!("'{param}' must be at least 1."),
                ));
            }
        }
        let stop = self.stop.map(|Stop(stops)| stops).unwrap_or_default();
        if stop.len() > MAX_STOPS {
            return Err(Invalid::field(
                "stop",
                format!("'stop' may hold at most {MAX_STOPS} sequences."),
            ));
        }
        if stop.iter().any(|stop| stop.len() > MOST_STOP_BYTES) {
            return Err(Invalid::field(
                "stop",
                format!("A stop sequence has at most {MOST_STOP_BYTES} bytes."),
            ));
        }
        if stop.iter().any(String::is_empty) && stop.len() > 1 {
            return Err(Invalid::field(
                "stop",
                "'stop' must not hold an empty sequence.",
            ));
        }
        let effort = self.reasoning_effort.as_deref().and_then(Effort::read);
        let thinking = self
            .reasoning_effort
            .map(|effort| !matches!(effort.as_str(), "none" | "minimal"))
            .or(self.enable_thinking)
            .or_else(|| self.thinking.map(|thinking| thinking.is_on));
        let search = (self.web_search_options.is_some()
            || self.search_type.is_some_and(|kind| !kind.is_empty()))
        .then_some(true)
        .or(self.enable_search)
        .or(self.use_search);
        Ok(ChatRequest {
            model,
            messages,
            stream: self.stream.value.unwrap_or(false),
            include_usage: self
                .stream_options
                .value
                .and_then(|options| options.include_usage)
                .unwrap_or(false),
            n,
            // One empty stop sequence is what some clients send for "none".
            stop: stop.into_iter().filter(|stop| !stop.is_empty()).collect(),
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
            thinking,
            effort,
            search,
            user: self.user.filter(|user| !user.is_empty()),
            asked,
            odd_part,
            body: body.clone(),
            places,
        })
    }

    /// The documented fields that ask for something. A value that only spells out the default (`tools: []`,
    /// `response_format: text`, `tool_choice: none`) asks for nothing.
    fn asked(&self) -> Vec<Asked> {
        let asks_for_tool = |choice: Option<&RawValue>| {
            choice.is_some_and(|choice| !matches!(choice.get(), r#""none""# | r#""auto""#))
        };
        [
            ("audio", Field::Audio, self.audio.is_some()),
            (
                "frequency_penalty",
                Field::FrequencyPenalty,
                self.frequency_penalty.is_some(),
            ),
            (
                "function_call",
                Field::ToolChoice,
                asks_for_tool(self.function_call),
            ),
            (
                "functions",
                Field::Tools,
                self.functions
                    .as_ref()
                    .is_some_and(|functions| !functions.is_empty),
            ),
            (
                "logit_bias",
                Field::LogitBias,
                self.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty),
            ),
            ("logprobs", Field::Logprobs, self.logprobs == Some(true)),
            (
                "max_completion_tokens",
                Field::MaxTokens,
                self.max_completion_tokens.is_some(),
            ),
            ("max_tokens", Field::MaxTokens, self.max_tokens.is_some()),
            ("metadata", Field::Metadata, self.metadata.is_some()),
            (
                "modalities",
                Field::Modalities,
                self.modalities
                    .as_ref()
                    .is_some_and(|kinds| !kinds.is_text_only),
            ),
            ("n", Field::Choices, self.n.value.is_some()),
            (
                "parallel_tool_calls",
                Field::ParallelToolCalls,
                self.parallel_tool_calls.is_some(),
            ),
            ("prediction", Field::Prediction, self.prediction.is_some()),
            (
                "presence_penalty",
                Field::PresencePenalty,
                self.presence_penalty.is_some(),
            ),
            (
                "prompt_cache_key",
                Field::PromptCacheKey,
                self.prompt_cache_key.is_some(),
            ),
            (
                "reasoning_effort",
                Field::Effort,
                self.reasoning_effort.is_some(),
            ),
            (
                "response_format",
                Field::Format,
                self.response_format
                    .as_ref()
                    .is_some_and(|format| format.kind != "text"),
            ),
            (
                "safety_identifier",
                Field::SafetyIdentifier,
                self.safety_identifier.is_some(),
            ),
            ("seed", Field::Seed, self.seed.is_some()),
            (
                "service_tier",
                Field::ServiceTier,
                self.service_tier.is_some(),
            ),
            ("stop", Field::Stop, self.stop.is_some()),
            ("store", Field::Store, self.store.is_some()),
            (
                "stream_options",
                Field::StreamOptions,
                self.stream_options.value.is_some(),
            ),
            (
                "temperature",
                Field::Temperature,
                self.temperature.is_some(),
            ),
            (
                "tool_choice",
                Field::ToolChoice,
                asks_for_tool(self.tool_choice),
            ),
            (
                "tools",
                Field::Tools,
                self.tools.is_some_and(|tools| !tools.is_empty),
            ),
            (
                "top_logprobs",
                Field::TopLogprobs,
                self.top_logprobs.is_some(),
            ),
            ("top_p", Field::TopP, self.top_p.is_some()),
            ("user", Field::User, self.user.is_some()),
            ("verbosity", Field::Verbosity, self.verbosity.is_some()),
            (
                "web_search_options",
                Field::Search,
                self.web_search_options.is_some(),
            ),
            ("enable_search", Field::Search, self.enable_search.is_some()),
            ("use_search", Field::Search, self.use_search.is_some()),
            (
                "enable_thinking",
                Field::Thinking,
                self.enable_thinking.is_some(),
            ),
            ("search_type", Field::Search, self.search_type.is_some()),
            ("thinking", Field::Thinking, self.thinking.is_some()),
        ]
        .into_iter()
        .filter(|(.., is_set)| *is_set)
        .map(|(name, field, _)| Asked {
            field,
            name: name.into(),
        })
        .collect()
    }
}

/// The first part of the question that only APIs of the same dialect take. The question is what stands behind the last
/// answer; thinking and tools of an answer are history wherever they stand.
fn odd_part(messages: &[Message]) -> Option<Invalid> {
    let is_said_by_model = |message: &Message| message.role == Role::Assistant;
    let asked = messages
        .iter()
        .rposition(is_said_by_model)
        .map_or(0, |at| at + 1);
    for (at, message) in messages.iter().enumerate().skip(asked) {
        let Content::Parts(parts) = &message.content else {
            continue;
        };
        let odd = parts.iter().find_map(|part| match part {
            Part::Other { kind } => Some(&**kind),
            _ => None,
        });
        let Some(kind) = odd else { continue };
        let told = match kind {
            "file" | "input_file" | "input_image" => {
                "This gateway keeps no files: send the document itself in 'file_data', or its URL in 'file_url'."
                    .to_owned()
            }
            _ => format!(
                "Parts of type '{}' are not supported by this model's provider.",
                quoted(kind)
            ),
        };
        return Some(Invalid {
            code: Some("unsupported_content"),
            ..Invalid::field(&format!("messages[{at}].content"), told)
        });
    }
    None
}

fn range(param: &str, value: Option<f64>, least: f64, most: f64) -> Result<(), Invalid> {
    match value {
        Some(value) if !(least..=most).contains(&value) => Err(Invalid::field(
            param,
            format!("'{param}' must be between {least} and {most}."),
        )),
        Some(_) | None => Ok(()),
    }
}

/// What fuzz/ looks into.
#[cfg(fuzzing)]
pub mod fuzz {
    /// The body put right; `None` when there is nothing to put right, or the body is no JSON.
    pub fn tidied(body: &str) -> Option<String> {
        super::tidy::tidied(body)
    }
}

#[cfg(test)]
mod tests;
