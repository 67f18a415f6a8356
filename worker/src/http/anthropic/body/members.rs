//! The members of the body: their types, and what they mean. Source: Anthropic's public API reference (Messages).

use std::{borrow::Cow, collections::HashSet};

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    Asks,
    block::Blocks,
    conversation::Conversation,
    tools::{Choice, Tools},
};
use crate::{
    chat::{
        Asked, ChatRequest, Dialect, Effort, Field, Format, Invalid, Json, Role, Text, Tool,
        ToolChoice, Verbatim,
        request::{MOST_MODEL_BYTES, Sampling},
        text,
        tools::JsonSchema,
    },
    http::reading::{Member, Word},
};

/// Anthropic's API sets no limit to their number; a piece of an answer is compared with each.
const MAX_STOPS: usize = 1000;
/// Longest stop sequence: each piece of an answer is compared with it.
const MOST_STOP_BYTES: usize = 4096;

/// Anthropic's body, field by field, so that a wrong type is found and named. What has no effect here and stands in every
/// request (`cache_control`, `context_management`, `service_tier`, …) is not even read.
#[derive(Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, default)]
    model: Member<'a, String>,
    #[serde(default, deserialize_with = "counted")]
    messages: Vec<Said>,
    #[serde(default)]
    system: Blocks,
    max_tokens: Option<u64>,
    #[serde(borrow, default)]
    stream: Member<'a, bool>,
    stop_sequences: Option<Vec<String>>,
    thinking: Option<Thinking>,
    output_config: Option<OutputConfig>,
    /// What `output_config.format` was called at first.
    output_format: Option<OutputFormat>,
    #[serde(default)]
    tools: Option<Tools>,
    tool_choice: Option<Choice>,
    metadata: Option<Metadata>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u32>,
    container: Option<IgnoredAny>,
    mcp_servers: Option<Vec<IgnoredAny>>,
}

/// A message.
#[derive(Deserialize)]
struct Said {
    #[serde(with = "Speaker")]
    role: Role,
    #[serde(default)]
    content: Blocks,
}

#[derive(Deserialize)]
#[serde(remote = "Role", rename_all = "lowercase")]
enum Speaker {
    #[serde(skip)]
    Developer,
    System,
    User,
    Assistant,
    #[serde(skip)]
    Tool,
    #[serde(skip)]
    Function,
}

/// `messages`, each of which counts among the pieces of the conversation ([`text::reading`]).
fn counted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Said>, D::Error> {
    struct Counted(Said);

    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text::count_piece()?;
            Said::deserialize(deserializer).map(Self)
        }
    }

    let counted = Vec::<Counted>::deserialize(deserializer)?;
    Ok(counted.into_iter().map(|Counted(said)| said).collect())
}

#[derive(Deserialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: Text,
    #[serde(default)]
    budget_tokens: Option<i64>,
    #[serde(default)]
    display: Word,
}

#[derive(Deserialize)]
struct OutputConfig {
    #[serde(default)]
    effort: Word,
    #[serde(default)]
    format: Option<OutputFormat>,
}

#[derive(Deserialize)]
struct OutputFormat {
    #[serde(rename = "type")]
    kind: Text,
    #[serde(default)]
    schema: Option<Json>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    user_id: Word,
}

impl Body<'_> {
    pub(super) fn check(self, body: &ByteString) -> Result<Asks, Invalid> {
        // Before the members are taken: where they stand in the body.
        let places = [
            ("model", self.model.place(body)),
            ("stream", self.stream.place(body)),
        ];
        let mut asked = self.asked();
        let Some(model) = self.model.value.filter(|model| !model.trim().is_empty()) else {
            return Err(Invalid::field(
                "model",
                "'model' must name a model; GET /v1/models lists them.",
            ));
        };
        if model.len() > MOST_MODEL_BYTES {
            return Err(Invalid::too_long_a_model());
        }
        // The reference wants at least 1, and 0 would be an answer of nothing.
        if self.max_tokens == Some(0) {
            return Err(Invalid::field(
                "max_tokens",
                "'max_tokens' must be at least 1.",
            ));
        }
        let stop = self.stop_sequences.unwrap_or_default();
        check_stops(&stop)?;

        let mut conversation = Conversation::default();
        conversation.system(self.system.0);
        // Asked of the body and not of the conversation: an empty last message is a prefill as well.
        let has_prefill = self
            .messages
            .last()
            .is_some_and(|last| last.role == Role::Assistant);
        for said in self.messages {
            conversation.add(said.role, said.content.0);
        }
        conversation.end();
        // System alone is a question of nobody's.
        if conversation
            .messages
            .iter()
            .all(|message| message.role == Role::System)
        {
            return Err(Invalid::field(
                "messages",
                "'messages' must hold at least one message of the user.",
            ));
        }
        if has_prefill {
            return Err(Invalid::field(
                "messages",
                "'messages' must not end with the assistant: this gateway cannot make a model go on from words that are put into its mouth.",
            ));
        }

        let mut tools = self.tools.unwrap_or_default();
        for kind in std::mem::take(&mut tools.foreign) {
            conversation.pass_over("tools", &kind);
        }
        // After the conversation, which has named what is deferred.
        describe(&mut tools.offered, &conversation.named);
        asked.extend(conversation.foreign.into_iter().map(|name| Asked {
            field: Field::Foreign,
            name: name.into(),
        }));
        let (effort, format) = match self.output_config {
            // The newer place counts, and the older one where that has none.
            Some(config) => (config.effort.0, config.format.or(self.output_format)),
            None => (None, self.output_format),
        };
        let effort = effort.as_deref().map(Effort::read);
        // Thinking before effort: it is the member that was meant for it.
        let (thinking, is_shown) = match &self.thinking {
            None => (effort.map(Effort::is_thinking), true),
            Some(Thinking { kind, display, .. }) => {
                let is_shown = display.0.as_deref() != Some("omitted");
                match &**kind {
                    "enabled" => (Some(true), is_shown),
                    "disabled" => (Some(false), false),
                    // `adaptive`: as the model does by itself.
                    _ => (None, is_shown),
                }
            }
        };
        let request = ChatRequest {
            tools: tools.offered,
            tool_choice: self
                .tool_choice
                .as_ref()
                .map(Choice::choice)
                .unwrap_or_default(),
            parallel_tool_calls: self
                .tool_choice
                .and_then(|choice| Some(!choice.disable_parallel_tool_use?)),
            format: format.map(OutputFormat::into_format).unwrap_or_default(),
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                ..Sampling::default()
            },
            thinking,
            effort,
            thinking_budget: self
                .thinking
                .and_then(|it| u64::try_from(it.budget_tokens?).ok().filter(|it| *it > 0)),
            search: tools.has_search.then_some(true),
            stop,
            max_tokens: self.max_tokens,
            user: self
                .metadata
                .and_then(|metadata| metadata.user_id.0)
                .filter(|user| !user.is_empty())
                .map(|user| user.to_string()),
            stream: self.stream.value.unwrap_or(false),
            // Part of every answer in this dialect.
            include_usage: true,
            asked,
            bytes: body.len(),
            verbatim: Some(Verbatim::new(Dialect::Messages, body.clone(), places)),
            ..ChatRequest::new(model, conversation.messages)
        };
        Ok(Asks {
            request,
            shows_thinking: is_shown,
        })
    }

    /// What is asked for beyond an answer. Sampling is left out: every request has some, and a caller of this dialect
    /// expects no word about it.
    fn asked(&self) -> Vec<Asked> {
        let has_tools = self
            .tools
            .as_ref()
            .is_some_and(|tools| !tools.offered.is_empty());
        let has_search = self.tools.as_ref().is_some_and(|tools| tools.has_search);
        let choice = self.tool_choice.as_ref();
        let chooses = choice.map(Choice::choice);
        let config = self.output_config.as_ref();
        let has_format = config.is_some_and(|config| config.format.is_some());
        [
            ("container", Field::Foreign, self.container.is_some()),
            (
                "mcp_servers",
                Field::Foreign,
                self.mcp_servers
                    .as_ref()
                    .is_some_and(|list| !list.is_empty()),
            ),
            ("max_tokens", Field::MaxTokens, self.max_tokens.is_some()),
            (
                "output_config.effort",
                Field::Effort,
                config.is_some_and(|config| config.effort.0.is_some()),
            ),
            ("output_config.format", Field::Format, has_format),
            ("output_format", Field::Format, self.output_format.is_some()),
            ("stop_sequences", Field::Stop, self.stop_sequences.is_some()),
            ("thinking", Field::Thinking, self.thinking.is_some()),
            ("tools", Field::Tools, has_tools),
            ("tools.web_search", Field::Search, has_search),
            (
                "tool_choice",
                Field::ToolChoice,
                // Without tools there is nothing to choose, and to choose none or any is the default.
                has_tools && !matches!(chooses, None | Some(ToolChoice::Auto | ToolChoice::None)),
            ),
            (
                "tool_choice.disable_parallel_tool_use",
                Field::ParallelToolCalls,
                choice.is_some_and(|choice| choice.disable_parallel_tool_use == Some(true)),
            ),
        ]
        .into_iter()
        .filter(|(.., is_set)| *is_set)
        .map(|(name, field, _)| Asked {
            field,
            name: Cow::Borrowed(name),
        })
        .collect()
    }
}

impl OutputFormat {
    fn into_format(self) -> Format {
        match &*self.kind {
            "json_schema" => Format::JsonSchema(Box::new(JsonSchema {
                schema: self.schema,
                is_strict: true,
                ..JsonSchema::default()
            })),
            // Anything else is passed on by its word: what it means the provider may know.
            "text" => Format::Text,
            _ => Format::Other { kind: self.kind },
        }
    }
}

fn check_stops(stops: &[String]) -> Result<(), Invalid> {
    let param = "stop_sequences";
    let complaint = if stops.len() > MAX_STOPS {
        format!("'{param}' may hold at most {MAX_STOPS} sequences.")
    } else if stops.iter().any(String::is_empty) {
        format!("'{param}' must not hold an empty sequence.")
    } else if stops.iter().any(|stop| stop.len() > MOST_STOP_BYTES) {
        format!("'{param}': a sequence has at most {MOST_STOP_BYTES} bytes.")
    } else {
        return Ok(());
    };
    Err(Invalid::field(param, complaint))
}

/// A deferred tool is described as soon as the history has named it.
fn describe(tools: &mut [Tool], named: &HashSet<String>) {
    for tool in tools {
        tool.is_deferred &= !named.contains(&*tool.name);
    }
}
