//! OpenAI's request body, read and checked. Unknown fields never hurt; a wrong type is a 400 that names the field
//! (conformance H7).

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    message::{Message, Part},
    request::{ChatRequest, Effort, Invalid, MAX_CHOICES},
    splice::{Member, Places},
    text,
};

/// Most stop sequences, as in OpenAI's API.
const MAX_STOPS: usize = 4;

/// OpenAI's body, field by field, so that a wrong type is found and named. Fields without effect in this
/// gateway are listed for their types alone.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Member<'a, String>,
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
    web_search_options: Option<Map<String, Value>>,
    enable_search: Option<bool>,
    use_search: Option<bool>,
    search_type: Option<String>,
    tools: Option<Vec<Map<String, Value>>>,
    tool_choice: Option<Value>,
    functions: Option<Vec<Map<String, Value>>>,
    function_call: Option<Value>,
    parallel_tool_calls: Option<bool>,
    response_format: Option<ResponseFormat>,
    modalities: Option<Vec<String>>,
    audio: Option<Map<String, Value>>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    logit_bias: Option<Map<String, Value>>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
    metadata: Option<Map<String, Value>>,
    prediction: Option<Map<String, Value>>,
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
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an object with `type`, or a boolean")]
enum Thinking {
    Object {
        #[serde(rename = "type")]
        kind: String,
    },
    Switch(bool),
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

/// See [`ChatRequest::parse`].
pub(super) fn read(body: Bytes) -> Result<ChatRequest, Invalid> {
    let body = ByteString::try_from(body).map_err(|error| Invalid {
        message: format!("The body is not UTF-8: {error}."),
        param: None,
        code: None,
    })?;
    // Only a body that is wrong is read a second time, to say where.
    match text::reading(&body, serde_json::from_str::<Body<'_>>) {
        // serde would also take the fields' values as an array.
        Ok(fields) if body.trim_start().starts_with('{') => fields.check(&body),
        Ok(_) => Err(not_an_object("line 1 column 1")),
        Err(_) => Err(complaint(&body)),
    }
}

fn complaint(body: &str) -> Invalid {
    let mut json = serde_json::Deserializer::from_str(body);
    match serde_path_to_error::deserialize::<_, Body<'_>>(&mut json) {
        Err(error) => explain(&error),
        Ok(_) => Invalid {
            message: "The body holds something after the JSON object.".to_owned(),
            param: None,
            code: None,
        },
    }
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> Invalid {
    let path = error.path().to_string();
    let inner = error.inner();
    if inner.is_data() && path != "." {
        // serde's own words ("invalid type: integer `5`, expected a string at line 1 column 20"), less the place.
        let words = inner.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        return Invalid::field(&path, format!("Invalid value for '{path}': {words}."));
    }
    not_an_object(&format!("line {} column {}", inner.line(), inner.column()))
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
        let present = self.present();
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
        let messages = self.messages.unwrap_or_default();
        if messages.is_empty() {
            return Err(Invalid::field(
                "messages",
                "'messages' must hold at least one message.",
            ));
        }
        check_parts(&messages)?;
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
        let stop = match self.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Many(stops)) => stops,
        };
        if stop.len() > MAX_STOPS {
            return Err(Invalid::field(
                "stop",
                format!("'stop' may hold at most {MAX_STOPS} sequences."),
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
            .or_else(|| {
                self.thinking.map(|thinking| match thinking {
                    Thinking::Object { kind } => kind != "disabled",
                    Thinking::Switch(on) => on,
                })
            });
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
            present,
            body: body.clone(),
            places,
        })
    }

    /// The documented fields that ask for something. A value that only spells out the default (`tools: []`,
    /// `response_format: text`, `tool_choice: none`) asks for nothing.
    fn present(&self) -> Vec<&'static str> {
        let asks_for_tool = |choice: &Option<Value>| {
            choice
                .as_ref()
                .is_some_and(|choice| choice != "none" && choice != "auto")
        };
        [
            ("audio", self.audio.is_some()),
            ("frequency_penalty", self.frequency_penalty.is_some()),
            ("function_call", asks_for_tool(&self.function_call)),
            (
                "functions",
                self.functions
                    .as_ref()
                    .is_some_and(|functions| !functions.is_empty()),
            ),
            (
                "logit_bias",
                self.logit_bias
                    .as_ref()
                    .is_some_and(|bias| !bias.is_empty()),
            ),
            ("logprobs", self.logprobs == Some(true)),
            (
                "max_completion_tokens",
                self.max_completion_tokens.is_some(),
            ),
            ("max_tokens", self.max_tokens.is_some()),
            ("metadata", self.metadata.is_some()),
            (
                "modalities",
                self.modalities
                    .as_ref()
                    .is_some_and(|kinds| kinds.iter().any(|kind| kind != "text")),
            ),
            ("n", self.n.value.is_some()),
            ("parallel_tool_calls", self.parallel_tool_calls.is_some()),
            ("prediction", self.prediction.is_some()),
            ("presence_penalty", self.presence_penalty.is_some()),
            ("prompt_cache_key", self.prompt_cache_key.is_some()),
            ("reasoning_effort", self.reasoning_effort.is_some()),
            (
                "response_format",
                self.response_format
                    .as_ref()
                    .is_some_and(|format| format.kind != "text"),
            ),
            ("safety_identifier", self.safety_identifier.is_some()),
            ("seed", self.seed.is_some()),
            ("service_tier", self.service_tier.is_some()),
            ("stop", self.stop.is_some()),
            ("store", self.store.is_some()),
            ("stream_options", self.stream_options.value.is_some()),
            ("temperature", self.temperature.is_some()),
            ("tool_choice", asks_for_tool(&self.tool_choice)),
            (
                "tools",
                self.tools.as_ref().is_some_and(|tools| !tools.is_empty()),
            ),
            ("top_logprobs", self.top_logprobs.is_some()),
            ("top_p", self.top_p.is_some()),
            ("user", self.user.is_some()),
            ("verbosity", self.verbosity.is_some()),
            ("web_search_options", self.web_search_options.is_some()),
            ("enable_search", self.enable_search.is_some()),
            ("use_search", self.use_search.is_some()),
            ("enable_thinking", self.enable_thinking.is_some()),
            ("search_type", self.search_type.is_some()),
            ("thinking", self.thinking.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect()
    }
}

/// Parts that no provider behind this gateway can take.
fn check_parts(messages: &[Message]) -> Result<(), Invalid> {
    for (at, message) in messages.iter().enumerate() {
        for part in message.attachments() {
            let param = format!("messages[{at}].content");
            match part {
                Part::InputAudio { .. } => {
                    let message =
                        "Sound as input is not supported by any provider of this gateway.";
                    return Err(Invalid {
                        code: Some("unsupported_content"),
                        ..Invalid::field(&param, message)
                    });
                }
                Part::File { file } if file.file_data.is_none() && file.url.is_none() => {
                    let message = "This gateway keeps no files: send the document itself in 'file_data', or its URL in 'file_url'.";
                    return Err(Invalid {
                        code: Some("unsupported_content"),
                        ..Invalid::field(&param, message)
                    });
                }
                Part::File { .. }
                | Part::FileUrl { .. }
                | Part::ImageUrl { .. }
                | Part::Text { .. }
                | Part::Refusal { .. } => {}
            }
        }
    }
    Ok(())
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
