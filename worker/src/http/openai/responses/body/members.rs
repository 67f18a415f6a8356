//! The members of the body: their types, and what they mean. Source: doors.md section 4.

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Asked, choice,
    forms::{Input, Tools},
    kit::{Kit, Source},
    said::Said,
};
use crate::{
    chat::{
        Asked as AskedFor, ChatRequest, Dialect, Effort, Field, Format, Invalid, Json, Message,
        Role, Text, Verbatim,
        request::{Extras, MOST_MODEL_BYTES, Sampling},
        tools::JsonSchema,
    },
    http::{
        openai::responses::echo::Echo,
        reading::{Form, Member, Passed, Word, quoted},
    },
};

/// The body, member by member, so that a wrong type is found and named.
#[derive(Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, default)]
    model: Member<'a, String>,
    input: Option<Input>,
    /// What a chat completion has instead.
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    instructions: Option<Text>,
    #[serde(borrow, default)]
    stream: Member<'a, bool>,
    max_output_tokens: Option<u64>,
    max_tool_calls: Option<u64>,
    #[serde(borrow)]
    tools: Option<Tools<'a>>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    parallel_tool_calls: Option<bool>,
    #[serde(borrow)]
    text: Option<TextForm<'a>>,
    reasoning: Option<Reasoning>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_logprobs: Option<u32>,
    metadata: Option<Passed>,
    user: Option<Text>,
    safety_identifier: Option<Text>,
    prompt_cache_key: Option<Text>,
    service_tier: Option<Text>,
    store: Option<bool>,
    include: Option<Vec<Word>>,
    truncation: Option<Text>,
    #[serde(borrow)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow)]
    conversation: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    background: Option<bool>,
}

#[derive(Deserialize)]
struct TextForm<'a> {
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    verbosity: Option<Text>,
}

#[derive(Deserialize)]
struct Reasoning {
    effort: Option<Text>,
    summary: Option<Text>,
    /// What `summary` was called first.
    generate_summary: Option<Text>,
}

/// `text.format`.
#[derive(Deserialize)]
struct AnswerForm {
    #[serde(default, rename = "type")]
    kind: Word,
    #[serde(default)]
    name: Word,
    description: Option<Json>,
    schema: Option<Json>,
    strict: Option<bool>,
}

impl Form for Body<'_> {
    type Body<'a> = Body<'a>;
    /// `None`: it is a chat completion's.
    type Read = Option<Asked>;

    fn check(body: Body<'_>, text: &ByteString) -> Result<Option<Asked>, Invalid> {
        // Both may be sent; then it is this dialect's, as its door says.
        if body.input.is_none() && body.messages.is_some() {
            return Ok(None);
        }
        body.check(text).map(Some)
    }
}

impl Body<'_> {
    fn check(self, body: &ByteString) -> Result<Asked, Invalid> {
        // Places are found in the text while the members still borrow from it.
        let places = [
            ("model", self.model.place(body)),
            ("stream", self.stream.place(body)),
        ];
        let mut asked = self.asked();
        self.needs_no_memory()?;
        let Some(model) = self.model.value.filter(|model| !model.trim().is_empty()) else {
            return Err(Invalid::field(
                "model",
                "You must name a model; GET /v1/models lists them.",
            ));
        };
        if model.len() > MOST_MODEL_BYTES {
            return Err(Invalid::too_long_a_model());
        }
        if self.max_output_tokens == Some(0) {
            return Err(Invalid::field(
                "max_output_tokens",
                "'max_output_tokens' must be at least 1.",
            ));
        }
        // Taken before the tools are moved: the echo tells them as they were written.
        let raw_tools = self.tools.as_ref().map(|tools| Json::of(tools.raw));
        let mut kit = Kit::default();
        kit.take(
            self.tools.map(|tools| tools.given).unwrap_or_default(),
            Source::Request,
        )?;
        let mut said = Said::default();
        if let Some(instructions) = self.instructions.as_ref().filter(|text| !text.is_empty()) {
            said.messages
                .push((None, Message::new(Role::System, instructions.clone())));
        }
        match self.input {
            Some(Input::Text(text)) if !text.is_empty() => {
                said.messages.push((None, Message::new(Role::User, text)));
            }
            Some(Input::Items(items)) if !items.is_empty() => said.take(items, &mut kit)?,
            _ => {
                return Err(Invalid::field(
                    "input",
                    "'input' must be a text or hold at least one item.",
                ));
            }
        }
        // After all items, as a call may stand before the item that brings its tool.
        kit.describe(&said.called);
        // Before the messages lose the places of their items, which the complaint names.
        let odd_part = said.odd_part()?;
        let messages: Vec<Message> = said.messages.into_iter().map(|(_, said)| said).collect();
        if messages.is_empty() {
            return Err(Invalid::field(
                "input",
                "'input' must hold at least one message.",
            ));
        }
        let mut also = |field, name: &str| {
            asked.push(AskedFor {
                field,
                name: name.to_owned().into(),
            });
        };
        // Asked of the kit, and not of the member: the history may bring tools where the body has none.
        if !kit.is_empty() {
            also(Field::Tools, "tools");
        }
        let tool_choice = choice::read(self.tool_choice, &kit);
        if !matches!(
            tool_choice,
            crate::chat::ToolChoice::Auto | crate::chat::ToolChoice::None
        ) {
            also(Field::ToolChoice, "tool_choice");
        }
        let search = kit.search.take();
        if let Some(kind) = &search {
            also(Field::Search, &format!("tools.{}", super::plain(kind)));
        }
        let (effort, summary) = match self.reasoning {
            Some(it) => (it.effort, it.summary.or(it.generate_summary)),
            None => (None, None),
        };
        let level = effort.as_deref().map(Effort::read);
        let (form, verbosity) = match self.text {
            Some(it) => (it.format, it.verbosity),
            None => (None, None),
        };
        let format = form.map_or(Ok(Format::Text), answer_form)?;
        if format != Format::Text {
            also(Field::Format, "text.format");
        }
        let (tools, toolbox, ignored) = kit.done();
        asked.extend(ignored);
        let is_stream = self.stream.value.unwrap_or(false);
        // The first that is set: `safety_identifier` and `prompt_cache_key` are what the API has split `user` into.
        let user = [&self.user, &self.safety_identifier, &self.prompt_cache_key];
        let user = user.into_iter().flatten().find(|user| !user.is_empty());
        let user = user.map(Text::to_string);
        let echo = Echo {
            model: model.clone(),
            instructions: self.instructions.as_deref().map(Json::string),
            metadata: self.metadata.as_ref().map(|metadata| metadata.json.clone()),
            parallel_tool_calls: self.parallel_tool_calls,
            tool_choice: self.tool_choice.map(Json::of),
            tools: raw_tools,
            max_output_tokens: self.max_output_tokens,
            max_tool_calls: self.max_tool_calls,
            effort,
            summary,
            format: form.map(Json::of),
            verbosity: verbosity.clone(),
            user: self.user,
            safety_identifier: self.safety_identifier.clone(),
            prompt_cache_key: self.prompt_cache_key.clone(),
            previous: None,
            is_kept: false,
        };
        let request = ChatRequest {
            tools,
            tool_choice,
            parallel_tool_calls: self.parallel_tool_calls,
            format,
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                top_logprobs: self.top_logprobs,
                ..Sampling::default()
            },
            thinking: level.map(Effort::is_thinking),
            effort: level,
            search: search.map(|_| true),
            max_tokens: self.max_output_tokens,
            user,
            stream: is_stream,
            // The last event always has it.
            include_usage: true,
            extras: Extras {
                verbosity,
                metadata: self.metadata.map(|metadata| metadata.json),
                prompt_cache_key: self.prompt_cache_key,
                safety_identifier: self.safety_identifier,
                service_tier: self.service_tier,
                ..Extras::default()
            },
            asked,
            odd_part,
            bytes: body.len(),
            verbatim: Some(Verbatim::new(Dialect::Responses, body.clone(), places)),
            ..ChatRequest::new(model, messages)
        };
        Ok(Asked {
            request,
            echo,
            toolbox,
        })
    }

    /// What asks for a memory that is not there is told so, in the code that clients fall back on the whole history after. A
    /// response that is kept has been put in the place of its id before (`state`); at the doors of other dialects, or with
    /// `RESPONSES_TTL=0`, there is none.
    fn needs_no_memory(&self) -> Result<(), Invalid> {
        let is_set = |raw: Option<&RawValue>| raw.is_some();
        for (param, is_asked_for, why) in [
            (
                "previous_response_id",
                is_set(self.previous_response_id),
                "There is no response here to go on from: send the whole conversation in 'input'.",
            ),
            (
                "conversation",
                is_set(self.conversation),
                "This gateway keeps no conversations: send the whole conversation in 'input'.",
            ),
            (
                "prompt",
                is_set(self.prompt),
                "This gateway keeps no prompts: send the text in 'instructions' and 'input'.",
            ),
            (
                "background",
                self.background == Some(true),
                "This gateway answers at once and keeps nothing to ask for later: leave 'background' out.",
            ),
        ] {
            if is_asked_for {
                return Err(Invalid {
                    code: Some("unsupported_parameter"),
                    ..Invalid::field(param, why)
                });
            }
        }
        Ok(())
    }

    /// The members that ask for something; those that only spell out the default ask for nothing.
    fn asked(&self) -> Vec<AskedFor> {
        let is_text = |text: &Option<Text>, default: &[&str]| {
            text.as_deref().is_some_and(|text| !default.contains(&text))
        };
        let reasoning = self.reasoning.as_ref();
        let text = self.text.as_ref();
        [
            (
                "include",
                Field::Foreign,
                self.include.as_ref().is_some_and(|it| !it.is_empty()),
            ),
            (
                "max_output_tokens",
                Field::MaxTokens,
                self.max_output_tokens.is_some(),
            ),
            (
                "max_tool_calls",
                Field::Foreign,
                self.max_tool_calls.is_some(),
            ),
            (
                "metadata",
                Field::Metadata,
                self.metadata.as_ref().is_some_and(|it| !it.is_empty),
            ),
            (
                // True is what the API does unasked.
                "parallel_tool_calls",
                Field::ParallelToolCalls,
                self.parallel_tool_calls == Some(false),
            ),
            (
                "prompt_cache_key",
                Field::PromptCacheKey,
                self.prompt_cache_key.is_some(),
            ),
            (
                "reasoning.effort",
                Field::Effort,
                reasoning.is_some_and(|it| it.effort.is_some()),
            ),
            (
                "safety_identifier",
                Field::SafetyIdentifier,
                self.safety_identifier.is_some(),
            ),
            (
                "service_tier",
                Field::ServiceTier,
                is_text(&self.service_tier, &["auto", "default"]),
            ),
            // `false` is what this gateway does anyway.
            ("store", Field::Store, self.store == Some(true)),
            (
                "temperature",
                Field::Temperature,
                self.temperature.is_some(),
            ),
            (
                "text.verbosity",
                Field::Verbosity,
                text.is_some_and(|it| it.verbosity.is_some()),
            ),
            (
                "top_logprobs",
                Field::TopLogprobs,
                self.top_logprobs.is_some_and(|many| many > 0),
            ),
            ("top_p", Field::TopP, self.top_p.is_some()),
            (
                "truncation",
                Field::Foreign,
                is_text(&self.truncation, &["disabled"]),
            ),
            ("user", Field::User, self.user.is_some()),
        ]
        .into_iter()
        .filter(|(.., is_set)| *is_set)
        .map(|(name, field, _)| AskedFor {
            field,
            name: name.into(),
        })
        .collect()
    }
}

fn answer_form(raw: &RawValue) -> Result<Format, Invalid> {
    let form: AnswerForm = serde_json::from_str(raw.get()).map_err(|error| {
        let words = quoted(&error.to_string());
        Invalid::field(
            "text.format",
            format!("Invalid value for 'text.format': {words}."),
        )
    })?;
    Ok(match form.kind.0.as_deref() {
        None | Some("text") => Format::Text,
        Some("json_object") => Format::JsonObject,
        Some("json_schema") => Format::JsonSchema(Box::new(JsonSchema {
            // The API wants a name; a schema without one is still one.
            name: form.name.0.unwrap_or_default(),
            description: form.description,
            schema: form.schema,
            is_strict: form.strict == Some(true),
        })),
        Some(kind) => Format::Other { kind: kind.into() },
    })
}
