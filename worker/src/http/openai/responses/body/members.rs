//! The members of the body: their types, and what they mean. Source: doors.md section 4.

use std::collections::HashSet;

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{
    Asked, choice,
    item::{Call, Item},
    kit::{Kit, Source, flat},
    tool::Given,
};
use crate::{
    chat::{
        Asked as AskedFor, ChatRequest, Content, Dialect, Effort, Field, Format, Invalid, Json,
        Message, Part, Role, Text, Verbatim,
        message::{FunctionCall, ToolCall},
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

/// `input`: a text, or items.
enum Input {
    Text(Text),
    Items(Vec<Item>),
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;

        impl<'de> de::Visitor<'de> for InputVisitor {
            type Value = Input;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or an array of items")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Input, E> {
                Ok(Input::Text(Text::borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Input, E> {
                Ok(Input::Text(text.into()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Input, E> {
                Ok(Input::Text(text.into()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Input, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Input::Items(items))
            }
        }

        deserializer.deserialize_any(InputVisitor)
    }
}

/// `tools`, read, and as they are written.
struct Tools<'a> {
    given: Vec<Given>,
    raw: &'a RawValue,
}

impl<'de: 'a, 'a> Deserialize<'de> for Tools<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        // Read from what it is written as, which is kept for the echo: written anew it would differ in order and
        // numbers.
        let given = serde_json::from_str(raw.get()).map_err(de::Error::custom)?;
        Ok(Self { given, raw })
    }
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

    /// The gateway keeps nothing that was said: what continues an earlier response is told so, in the code that clients
    /// fall back on the whole history after.
    fn needs_no_memory(&self) -> Result<(), Invalid> {
        let is_set = |raw: Option<&RawValue>| raw.is_some();
        for (param, is_asked_for, why) in [
            (
                "previous_response_id",
                is_set(self.previous_response_id),
                "This gateway keeps no responses: send the whole conversation in 'input'.",
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

/// The conversation so far.
#[derive(Default)]
struct Said {
    /// Each with the place of its item, where it is one.
    messages: Vec<(Option<usize>, Message)>,
    /// The names that the history has called, as the model knows them.
    called: HashSet<Text>,
}

impl Said {
    fn take(&mut self, items: Vec<Item>, kit: &mut Kit) -> Result<(), Invalid> {
        for (at, item) in items.into_iter().enumerate() {
            match item {
                Item::Message(message) => self.messages.push((Some(at), message)),
                Item::Call(call) => self.call(at, call),
                Item::Result(mut message, tools) => {
                    // The tools before the result is cut: what it brings is known to the kit then.
                    kit.take(tools, Source::Found)?;
                    leave_out_unknown(&mut message, kit);
                    self.messages.push((Some(at), message));
                }
                Item::Tools(tools) => kit.take(tools, Source::History)?,
                Item::Thought => {}
                Item::Dropped(kind) => kit.ignore("input", &kind),
                Item::Refused(kind) => {
                    let message = format!(
                        "This gateway keeps no responses, and takes no item of type '{kind}': send what it stands for."
                    );
                    return Err(Invalid {
                        code: Some("unsupported_parameter"),
                        ..Invalid::field(&format!("input[{at}]"), message)
                    });
                }
            }
        }
        Ok(())
    }

    /// Consecutive calls, and the text before them, are one message.
    fn call(&mut self, at: usize, call: Call) {
        let name = flat(call.namespace.as_ref(), &call.name);
        self.called.insert(name.clone());
        let call = ToolCall {
            id: call.id.to_string(),
            is_custom: call.is_custom,
            function: Some(FunctionCall {
                name: name.to_string(),
                arguments: call.text,
            }),
        };
        match self.messages.last_mut() {
            // In Responses each call is an item; in chats those of one round are one message, and services refuse a
            // call whose answer does not follow it.
            Some((_, message)) if message.role == Role::Assistant => {
                message.tool_calls.get_or_insert_default().push(call);
            }
            _ => {
                let message = Message {
                    content: Content::Empty,
                    tool_calls: Some(vec![call]),
                    ..Message::new(Role::Assistant, "")
                };
                self.messages.push((Some(at), message));
            }
        }
    }

    /// The first part that web chats cannot take. Files of the service's own are never known here; of others only those
    /// that ask for something matter, which stand behind the last answer.
    fn odd_part(&self) -> Result<Option<Invalid>, Invalid> {
        let mut behind = self
            .messages
            .iter()
            .rposition(|(_, message)| message.role == Role::Assistant)
            .map_or(0, |at| at + 1);
        for (at, message) in &self.messages {
            let is_history = behind > 0;
            // Counts down to nothing at the last answer, so the position need not be compared with that of an item.
            behind = behind.saturating_sub(1);
            let Content::Parts(parts) = &message.content else {
                continue;
            };
            let kind = parts.iter().find_map(|part| match part {
                Part::Other { kind } => Some(&**kind),
                _ => None,
            });
            let Some(kind) = kind else { continue };
            let param = format!("input[{}].content", at.unwrap_or_default());
            // Also in the history: a picture that only the service has would leave the model blind to what was talked
            // about.
            if matches!(kind, "input_image" | "input_file" | "file") {
                return Err(Invalid {
                    code: Some("file_rejected"),
                    ..Invalid::field(
                        &param,
                        "This gateway keeps no files: send the picture in 'image_url', the document in 'file_data' or its URL in 'file_url'.",
                    )
                });
            }
            if !is_history && message.role != Role::Tool {
                return Ok(Some(Invalid {
                    code: Some("unsupported_content"),
                    ..Invalid::field(
                        &param,
                        format!(
                            "Parts of type '{}' are not supported by this model's provider.",
                            quoted(kind)
                        ),
                    )
                }));
            }
        }
        Ok(None)
    }
}

/// What a tool has brought and nobody understands must not end a session.
fn leave_out_unknown(message: &mut Message, kit: &mut Kit) {
    if let Content::Parts(parts) = &mut message.content {
        parts.retain(|part| {
            let Part::Other { kind } = part else {
                return true;
            };
            let is_file = matches!(&**kind, "input_image" | "input_file" | "file");
            if !is_file {
                kit.ignore("input", kind);
            }
            // Those of files stay: `odd_part` complains about them by the item's place.
            is_file
        });
    }
}
