//! A request in the words of chat completions, for callers who speak another dialect. Source: OpenAI's public API
//! reference, Chat Completions.
//!
//! Only members of the reference are written, since servers refuse what they do not know. So these stay behind:
//! `top_k`, a wish to think without a level or to search without being asked to (the model does as it does by itself),
//! a tool's word that it failed (its text says so), and parts of another dialect.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::json;

use super::body::Manner;
use crate::chat::{
    ChatRequest, Content, Detail, Effort, Format, Message, Part, Role, Tool, ToolChoice,
    message::ToolCall,
    request::{Extras, Sampling},
    tools::{JsonSchema, ToolKind},
};

/// The body, for `model`.
pub(super) fn body(chat: &ChatRequest, model: &str, manner: Manner) -> Vec<u8> {
    let mut out = Vec::with_capacity(chat.bytes + 1024);
    let written = serde_json::to_writer(
        &mut out,
        &Question {
            chat,
            model,
            manner,
        },
    );
    debug_assert!(
        written.is_ok(),
        "what was read as JSON is no JSON: {written:?}"
    );
    out
}

/// A map's members, left out where there is nothing to say.
struct Members<S: Serializer>(S::SerializeMap);

impl<S: Serializer> Members<S> {
    fn of(serializer: S) -> Result<Self, S::Error> {
        serializer.serialize_map(None).map(Self)
    }

    fn put(&mut self, name: &str, value: impl Serialize) -> Result<(), S::Error> {
        self.0.serialize_entry(name, &value)
    }

    fn maybe(&mut self, name: &str, value: Option<impl Serialize>) -> Result<(), S::Error> {
        value.map_or(Ok(()), |value| self.put(name, value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// Something of the request, in this dialect's words.
struct Spelled<'a, T: ?Sized>(&'a T);

impl<T> Serialize for Spelled<'_, [T]>
where
    for<'a> Spelled<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Spelled))
    }
}

struct Question<'a> {
    chat: &'a ChatRequest,
    model: &'a str,
    manner: Manner,
}

impl Serialize for Question<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            chat,
            model,
            manner,
        } = *self;
        let mut it = Members::of(serializer)?;
        it.put("model", model)?;
        it.put("messages", Spelled(&*chat.messages))?;
        it.put("stream", chat.stream)?;
        if chat.stream && manner.has_options {
            it.put("stream_options", json!({"include_usage": true}))?;
        }
        tools(&mut it, chat)?;
        match &chat.format {
            // What an answer is by itself, and a form that nobody else knows.
            Format::Text | Format::Other { .. } => {}
            Format::JsonObject => it.put("response_format", json!({"type": "json_object"}))?,
            Format::JsonSchema(schema) => it.put("response_format", Spelled(&**schema))?,
        }
        sampling(&mut it, &chat.sampling)?;
        // What the caller has switched off is said in this word, where the model knows it.
        let is_switched_off = chat.thinking == Some(false) && !manner.is_thoughtless;
        let effort = chat.effort.and_then(Effort::word);
        it.maybe(
            "reasoning_effort",
            effort.or_else(|| is_switched_off.then_some("none")),
        )?;
        let stop = Some(&chat.stop).filter(|stop| !stop.is_empty());
        it.maybe("stop", stop)?;
        let limit = if manner.says_completion_tokens {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        it.maybe(limit, chat.max_tokens)?;
        it.maybe("user", chat.user.as_ref())?;
        extras(&mut it, &chat.extras, chat.search)?;
        it.end()
    }
}

/// Tools, or functions where the caller knows only those. The choice among none would be refused.
fn tools<S: Serializer>(it: &mut Members<S>, chat: &ChatRequest) -> Result<(), S::Error> {
    if chat.tools.is_empty() {
        return Ok(());
    }
    if chat.calls_as_functions {
        let functions: Vec<_> = chat.tools.iter().map(Definition).collect();
        it.put("functions", functions)?;
        return match &chat.tool_choice {
            ToolChoice::None => it.put("function_call", "none"),
            ToolChoice::Named(name) => it.put("function_call", json!({"name": &**name})),
            ToolChoice::Auto | ToolChoice::Required | ToolChoice::Allowed { .. } => Ok(()),
        };
    }
    it.put("tools", Spelled(&*chat.tools))?;
    // As an object: the string form names no function here.
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    match &chat.tool_choice {
        ToolChoice::Auto => {}
        ToolChoice::None => it.put("tool_choice", "none")?,
        ToolChoice::Required => it.put("tool_choice", "required")?,
        ToolChoice::Named(name) => it.put("tool_choice", named(name))?,
        ToolChoice::Allowed { names, is_required } => {
            let mode = if *is_required { "required" } else { "auto" };
            let tools: Vec<_> = names.iter().map(|name| named(name)).collect();
            let choice =
                json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}});
            it.put("tool_choice", choice)?;
        }
    }
    it.maybe("parallel_tool_calls", chat.parallel_tool_calls)
}

fn sampling<S: Serializer>(it: &mut Members<S>, sampling: &Sampling) -> Result<(), S::Error> {
    it.maybe("temperature", sampling.temperature)?;
    it.maybe("top_p", sampling.top_p)?;
    it.maybe("frequency_penalty", sampling.frequency_penalty)?;
    it.maybe("presence_penalty", sampling.presence_penalty)?;
    it.maybe("seed", sampling.seed)?;
    it.maybe("logit_bias", sampling.logit_bias.as_ref())?;
    it.maybe("logprobs", sampling.logprobs.then_some(true))?;
    it.maybe("top_logprobs", sampling.top_logprobs)
}

fn extras<S: Serializer>(
    it: &mut Members<S>,
    extras: &Extras,
    search: Option<bool>,
) -> Result<(), S::Error> {
    it.maybe("verbosity", extras.verbosity.as_deref())?;
    if !extras.modalities.is_empty() {
        let words: Vec<&str> = extras.modalities.iter().map(|word| &**word).collect();
        it.put("modalities", words)?;
    }
    it.maybe("audio", extras.audio.as_ref())?;
    it.maybe("prediction", extras.prediction.as_ref())?;
    match &extras.search_options {
        Some(options) => it.put("web_search_options", options)?,
        None if search == Some(true) => it.put("web_search_options", json!({}))?,
        None => {}
    }
    it.maybe("metadata", extras.metadata.as_ref())?;
    it.maybe("prompt_cache_key", extras.prompt_cache_key.as_deref())?;
    it.maybe("safety_identifier", extras.safety_identifier.as_deref())?;
    it.maybe("service_tier", extras.service_tier.as_deref())?;
    it.maybe("store", extras.store)
}

impl Serialize for Spelled<'_, JsonSchema> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Inside<'a>(&'a JsonSchema);

        impl Serialize for Inside<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut it = Members::of(serializer)?;
                it.put("name", &*self.0.name)?;
                it.maybe("description", self.0.description.as_ref())?;
                it.maybe("schema", self.0.schema.as_ref())?;
                it.maybe("strict", self.0.is_strict.then_some(true))?;
                it.end()
            }
        }

        let mut it = Members::of(serializer)?;
        it.put("type", "json_schema")?;
        it.put("json_schema", Inside(self.0))?;
        it.end()
    }
}

impl Serialize for Spelled<'_, Tool> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut it = Members::of(serializer)?;
        match &self.0.kind {
            ToolKind::Function { .. } => {
                it.put("type", "function")?;
                it.put("function", Definition(self.0))?;
            }
            // Hardly any server but OpenAI's own knows free texts: to the others a tool of one text parameter means the same.
            ToolKind::Custom { .. } => {
                it.put("type", "function")?;
                it.put("function", Definition(self.0))?;
            }
            ToolKind::Hosted => it.put("type", &*self.0.name)?,
        }
        it.end()
    }
}

/// What is inside a tool; in the older form it stands alone.
struct Definition<'a>(&'a Tool);

impl Serialize for Definition<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tool = self.0;
        let mut it = Members::of(serializer)?;
        it.put("name", &*tool.name)?;
        match described(tool) {
            Some(words) => it.put("description", words)?,
            None => it.maybe("description", tool.description.as_ref())?,
        }
        match &tool.kind {
            ToolKind::Function { parameters } => it.maybe("parameters", parameters.as_ref())?,
            ToolKind::Custom { .. } => it.put("parameters", free_text())?,
            ToolKind::Hosted => {}
        }
        it.maybe("strict", tool.is_strict.then_some(true))?;
        it.end()
    }
}

/// The parameters of a tool that takes a text (doors.md section 5).
fn free_text() -> serde_json::Value {
    json!({
        "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": false,
    })
}

/// The description of a tool that takes a text of some grammar: the grammar is shown, as no parameter has room for it.
fn described(tool: &Tool) -> Option<String> {
    let ToolKind::Custom {
        format: Some(format),
    } = &tool.kind
    else {
        return None;
    };
    let format: serde_json::Value = serde_json::from_str(format.get()).ok()?;
    // One dialect has it one level deeper.
    let grammar = format.get("grammar").unwrap_or(&format);
    let definition = grammar.get("definition")?.as_str()?;
    let words = tool.description().unwrap_or_default();
    Some(format!(
        "{words}\n\nThe text follows this grammar:\n{definition}"
    ))
}

impl Serialize for Spelled<'_, Message> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let mut it = Members::of(serializer)?;
        it.put("role", role(message.role))?;
        match &message.content {
            // An answer may be without, all others may not.
            Content::Empty if message.role == Role::Assistant => it.put("content", ())?,
            Content::Empty => it.put("content", "")?,
            Content::Text(text) => it.put("content", &**text)?,
            // A part that cannot be said would leave the message empty, which is refused.
            Content::Parts(parts) if parts.iter().any(is_sayable) => {
                it.put("content", Parts(parts))?;
            }
            Content::Parts(_) => it.put("content", "")?,
        }
        it.maybe("name", message.name.as_ref())?;
        if let Some(calls) = &message.tool_calls
            && calls.iter().any(|call| call.function.is_some())
        {
            it.put("tool_calls", Calls(calls))?;
        }
        it.maybe("tool_call_id", message.tool_call_id.as_ref())?;
        let thought = message.reasoning.as_ref().map(|thought| &*thought.text);
        // Empty thinking would be a member that the server asks about.
        let thought = thought.filter(|text| !text.is_empty());
        it.maybe("reasoning_content", thought)?;
        it.end()
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Developer => "developer",
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        Role::Function => "function",
    }
}

/// The calls of which we know what they are.
struct Calls<'a>(&'a [ToolCall]);

impl Serialize for Calls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let calls = self.0.iter().filter_map(|call| {
            let called = call.function.as_ref()?;
            // As the tool was offered.
            let arguments = if call.is_custom {
                // As the tool was offered: a text in an object of one member.
                json!({"input": &*called.arguments}).to_string()
            } else {
                called.arguments.to_string()
            };
            Some(json!({
                "id": call.id, "type": "function", "function": {"name": called.name, "arguments": arguments},
            }))
        });
        serializer.collect_seq(calls)
    }
}

fn is_sayable(part: &Part) -> bool {
    !matches!(part, Part::Other { .. })
}

struct Parts<'a>(&'a [Part]);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sayable = self.0.iter().filter(|part| is_sayable(part));
        serializer.collect_seq(sayable.map(Spelled))
    }
}

impl Serialize for Spelled<'_, Part> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut it = Members::of(serializer)?;
        match self.0 {
            Part::Text { text } => {
                it.put("type", "text")?;
                it.put("text", &**text)?;
            }
            Part::Refusal { refusal } => {
                it.put("type", "refusal")?;
                it.put("refusal", &**refusal)?;
            }
            Part::ImageUrl { image_url, detail } => {
                it.put("type", "image_url")?;
                it.put(
                    "image_url",
                    Texts(&[("url", Some(image_url.url())), ("detail", detail.map(word))]),
                )?;
            }
            Part::File { file } => {
                it.put("type", "file")?;
                it.put(
                    "file",
                    Texts(&[
                        ("file_data", file.file_data.as_deref()),
                        ("filename", file.filename.as_deref()),
                        // No word of the reference, which knows no documents by URL; servers that take them say it so.
                        ("url", file.url.as_deref()),
                    ]),
                )?;
            }
            Part::FileUrl { file_url } => {
                it.put("type", "file_url")?;
                it.put("file_url", Texts(&[("url", Some(file_url.url()))]))?;
            }
            // Passed over by whoever lists the parts.
            Part::Other { kind } => it.put("type", &**kind)?,
        }
        it.end()
    }
}

/// Texts in an object, as far as they are there.
struct Texts<'a>(&'a [(&'a str, Option<&'a str>)]);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut it = Members::of(serializer)?;
        for (name, text) in self.0 {
            it.maybe(name, *text)?;
        }
        it.end()
    }
}

fn word(detail: Detail) -> &'static str {
    match detail {
        Detail::Auto => "auto",
        Detail::Low => "low",
        Detail::High => "high",
    }
}
