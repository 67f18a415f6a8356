//! The members of the body: their types, and what they mean.

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    loose::{Modalities, Stop, Thinking},
    message::{Message as Said, counted},
    tools::{self, ResponseFormat, Tools},
};
use crate::{
    chat::{
        Asked, ChatRequest, Content, Dialect, Effort, Field, Invalid, Message, Part, Role, Text,
        Verbatim,
        request::{Extras, MAX_CHOICES, MOST_MODEL_BYTES, Sampling},
    },
    http::reading::{Member, Passed, quoted},
};

/// Most stop sequences, as in OpenAI's API.
pub(super) const MAX_STOPS: usize = 4;
/// Longest stop sequence: each piece of an answer is compared with it.
const MOST_STOP_BYTES: usize = 4096;

/// OpenAI's body, field by field, so that a wrong type is found and named.
#[derive(Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, default)]
    model: Member<'a, String>,
    #[serde(default, deserialize_with = "counted::<_, Said, _>")]
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
    /// As Qwen's own API has it.
    thinking_budget: Option<i64>,
    web_search_options: Option<Passed>,
    enable_search: Option<bool>,
    use_search: Option<bool>,
    search_type: Option<String>,
    tools: Option<Tools>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    functions: Option<Tools>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    parallel_tool_calls: Option<bool>,
    response_format: Option<ResponseFormat>,
    modalities: Option<Modalities>,
    audio: Option<Passed>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    logit_bias: Option<Passed>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
    metadata: Option<Passed>,
    prediction: Option<Passed>,
    prompt_cache_key: Option<Text>,
    safety_identifier: Option<Text>,
    seed: Option<i64>,
    service_tier: Option<Text>,
    store: Option<bool>,
    user: Option<String>,
    verbosity: Option<Text>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Body<'_> {
    pub(super) fn check(self, body: &ByteString) -> Result<ChatRequest, Invalid> {
        let asked = self.asked();
        let places = [
            ("model", self.model.place(body)),
            ("stream", self.stream.place(body)),
            ("stream_options", self.stream_options.place(body)),
            ("n", self.n.place(body)),
        ];
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
        // Whoever says how hard to think has said whether to; the other two spellings are extensions of some services.
        let effort = self.reasoning_effort.as_deref().map(Effort::read);
        let thinking = effort
            .map(Effort::is_thinking)
            .or(self.enable_thinking)
            .or_else(|| self.thinking.map(|thinking| thinking.is_on));
        let budget = self.thinking_budget;
        let budget = budget.or_else(|| self.thinking.and_then(|thinking| thinking.budget));
        let search = (self.web_search_options.is_some()
            || self.search_type.is_some_and(|kind| !kind.is_empty()))
        .then_some(true)
        .or(self.enable_search)
        .or(self.use_search);
        let calls_as_functions = self.functions.as_ref().is_some_and(|tools| !tools.is_empty);
        let functions = self.functions.map(|tools| tools.known).unwrap_or_default();
        let tools = self.tools.map(|tools| tools.known).unwrap_or_default();
        let json = |passed: Option<Passed>| passed.map(|passed| passed.json);
        Ok(ChatRequest {
            calls_as_functions,
            // Who gives both gets both: none of them is lost.
            tools: if tools.is_empty() {
                functions
            } else {
                tools.into_iter().chain(functions).collect()
            },
            tool_choice: tools::tool_choice(self.tool_choice.or(self.function_call)),
            parallel_tool_calls: self.parallel_tool_calls,
            format: self
                .response_format
                .map(ResponseFormat::into_format)
                .unwrap_or_default(),
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: None,
                frequency_penalty: self.frequency_penalty,
                presence_penalty: self.presence_penalty,
                seed: self.seed,
                logit_bias: json(self.logit_bias),
                logprobs: self.logprobs.unwrap_or(false),
                top_logprobs: self.top_logprobs,
            },
            thinking,
            effort,
            // 0 and less are words for "none" or "any", which the switch says.
            thinking_budget: budget
                .and_then(|tokens| u64::try_from(tokens).ok().filter(|it| *it > 0)),
            search,
            // One empty stop sequence is what some clients send for "none".
            stop: stop.into_iter().filter(|stop| !stop.is_empty()).collect(),
            // The newer name wins: who sends both means the older for gateways that do not know the newer.
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
            user: self.user.filter(|user| !user.is_empty()),
            n,
            stream: self.stream.value.unwrap_or(false),
            include_usage: self
                .stream_options
                .value
                .and_then(|options| options.include_usage)
                .unwrap_or(false),
            extras: Extras {
                verbosity: self.verbosity,
                modalities: self.modalities.map(|kinds| kinds.words).unwrap_or_default(),
                audio: json(self.audio),
                prediction: json(self.prediction),
                search_options: json(self.web_search_options),
                metadata: json(self.metadata),
                prompt_cache_key: self.prompt_cache_key,
                safety_identifier: self.safety_identifier,
                service_tier: self.service_tier,
                store: self.store,
            },
            asked,
            odd_part,
            bytes: body.len(),
            verbatim: Some(Verbatim::new(
                Dialect::ChatCompletions,
                body.clone(),
                places,
            )),
            ..ChatRequest::new(model, messages)
        })
    }

    /// The documented fields that ask for something. A value that only spells out the default (`tools: []`,
    /// `response_format: text`, `tool_choice: none`) asks for nothing.
    fn asked(&self) -> Vec<Asked> {
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
                tools::asks_for_tool(self.function_call),
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
                    .is_some_and(|format| &*format.kind != "text"),
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
                tools::asks_for_tool(self.tool_choice),
            ),
            (
                "tools",
                Field::Tools,
                self.tools.as_ref().is_some_and(|tools| !tools.is_empty),
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
            (
                "thinking_budget",
                Field::Thinking,
                self.thinking_budget.is_some(),
            ),
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
