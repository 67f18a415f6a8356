//! What a response repeats of its request, and the response itself. Source: doors.md section 7.

use serde::Serialize;
use serde_json::{Value, json};

use super::voice::State;
use crate::{
    chat::{Json, Text, Usage},
    impossible::OrImpossible as _,
};

/// What is told again of the request.
#[derive(Debug, Default)]
pub(super) struct Echo {
    pub(super) model: String,
    pub(super) instructions: Option<Json>,
    pub(super) metadata: Option<Json>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) tool_choice: Option<Json>,
    pub(super) tools: Option<Json>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) max_tool_calls: Option<u64>,
    pub(super) effort: Option<Text>,
    /// How thinking is told; absent: it is not.
    pub(super) summary: Option<Text>,
    pub(super) format: Option<Json>,
    pub(super) verbosity: Option<Text>,
    pub(super) user: Option<Text>,
    pub(super) safety_identifier: Option<Text>,
    pub(super) prompt_cache_key: Option<Text>,
    /// The response that it goes on from.
    pub(super) previous: Option<String>,
    /// It is kept for a while.
    pub(super) is_kept: bool,
}

impl Echo {
    /// The response as JSON. `outputs`: its items, with a comma between them. `tells_all`: also what is long and what
    /// nobody reads in a stream.
    pub(super) fn response(
        &self,
        id: &str,
        created_at: u64,
        outputs: &str,
        state: &State<'_>,
        tells_all: bool,
    ) -> String {
        let long = |json: &'_ Option<Json>| json.clone().filter(|_| tells_all);
        let error = state.error;
        let response = Response {
            id,
            object: "response",
            created_at,
            completed_at: state.completed_at,
            status: state.status,
            background: false,
            error: error.map(|(code, message)| Error { code, message }),
            incomplete_details: state.cause.map(|reason| Details { reason }),
            instructions: long(&self.instructions),
            max_output_tokens: self.max_output_tokens,
            max_tool_calls: self.max_tool_calls,
            model: &self.model,
            parallel_tool_calls: self.parallel_tool_calls.unwrap_or(true),
            previous_response_id: self.previous.as_deref(),
            prompt_cache_key: self.prompt_cache_key.as_ref(),
            reasoning: Reasoning {
                effort: self.effort.as_ref(),
                summary: self.summary.as_ref(),
            },
            safety_identifier: self.safety_identifier.as_ref(),
            service_tier: "default",
            store: self.is_kept,
            temperature: (),
            text: Form {
                format: Said::or(self.format.as_ref(), json!({"type": "text"})),
                verbosity: self.verbosity.as_ref(),
            },
            tool_choice: Said::or(self.tool_choice.as_ref(), json!("auto")),
            tools: Said::or(long(&self.tools).as_ref(), json!([])),
            top_p: (),
            truncation: "disabled",
            usage: state.usage.map(UsageMember::from),
            user: self.user.as_ref(),
            metadata: Said::or(self.metadata.as_ref(), json!({})),
        };
        let written = serde_json::to_string(&response);
        let mut written = written.or_impossible("texts, numbers and JSON that was read before");
        // The items are JSON already, and may be long: they are not read a second time to be written.
        // The closing brace.
        written.pop();
        written.push_str(",\"output\":[");
        written.push_str(outputs);
        written.push_str("]}");
        written
    }
}

/// A response but for its items. Source: doors.md section 7; what that does not name as OpenAI's public API reference has it.
#[derive(Serialize)]
struct Response<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    completed_at: Option<u64>,
    status: &'static str,
    background: bool,
    error: Option<Error<'a>>,
    incomplete_details: Option<Details>,
    instructions: Option<Json>,
    max_output_tokens: Option<u64>,
    max_tool_calls: Option<u64>,
    model: &'a str,
    parallel_tool_calls: bool,
    previous_response_id: Option<&'a str>,
    prompt_cache_key: Option<&'a Text>,
    reasoning: Reasoning<'a>,
    safety_identifier: Option<&'a Text>,
    service_tier: &'static str,
    store: bool,
    temperature: (),
    text: Form<'a>,
    tool_choice: Said,
    tools: Said,
    top_p: (),
    truncation: &'static str,
    usage: Option<UsageMember>,
    user: Option<&'a Text>,
    metadata: Said,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct Details {
    reason: &'static str,
}

#[derive(Serialize)]
struct Reasoning<'a> {
    effort: Option<&'a Text>,
    summary: Option<&'a Text>,
}

#[derive(Serialize)]
struct Form<'a> {
    format: Said,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a Text>,
}

/// A value as the caller wrote it, or the default.
#[derive(Serialize)]
#[serde(untagged)]
enum Said {
    Caller(Json),
    Default(Value),
}

impl Said {
    fn or(said: Option<&Json>, default: Value) -> Self {
        said.map_or(Self::Default(default), |said| Self::Caller(said.clone()))
    }
}

/// The `usage` member.
#[derive(Serialize)]
struct UsageMember {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for UsageMember {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputDetails {
                cached_tokens: usage.cached_tokens,
                cache_write_tokens: 0,
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputDetails {
                reasoning_tokens: usage.reasoning_tokens,
            },
            // Bounded where they are read (`Usage::bounded`), so the sum fits.
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
        }
    }
}
