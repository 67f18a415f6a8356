//! The question. A caller of the Messages door has written it already: it goes on as it came, but for the model and whether
//! it is streamed. Everybody else's request is put into this dialect's words.
//!
//! What this dialect has no word for stays behind: seeds, penalties, the bias of tokens. Source: Anthropic's public API
//! reference, Messages.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    chat::{
        ChatRequest, Content, Dialect, Effort, File, Format, Json, Message, Part, Role, Tool,
        ToolChoice,
        message::{Reasoning, ToolCall},
        tools::ToolKind,
        verbatim::Anew,
    },
    impossible::OrImpossible as _,
};

/// The dialect wants a limit; where the caller names none, what all of its models have.
const USUAL_MAX_TOKENS: u64 = 8192;
/// The fewest tokens of thinking that can be asked for.
const LEAST_BUDGET: u64 = 1024;

/// The question for `model`, in pieces that belong one after the other.
pub(in crate::providers::openai) fn body(chat: &ChatRequest, model: &str) -> Vec<Bytes> {
    let own = chat.verbatim.as_ref();
    if let Some(own) = own.filter(|own| own.dialect == Dialect::Messages) {
        let model = Value::from(model).to_string();
        let stream = if chat.stream { "true" } else { "false" };
        return own.splice(&[("model", Anew::Set(&model)), ("stream", Anew::Set(stream))]);
    }
    let body = serde_json::to_vec(&question(chat, model));
    vec![
        body.or_impossible("a JSON value has texts for names")
            .into(),
    ]
}

fn question(chat: &ChatRequest, model: &str) -> Value {
    let max_tokens = chat.max_tokens.unwrap_or(USUAL_MAX_TOKENS);
    let budget = budget(chat, max_tokens);
    let (mut system, messages) = conversation(&chat.messages, budget.is_some());
    if chat.format == Format::JsonObject {
        // The dialect knows only schemas.
        system.push(text("Answer with one JSON object and nothing else."));
    }
    let mut it = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            it.insert(name.to_owned(), value);
        }
    };
    put("model", Some(model.into()));
    put("max_tokens", Some(max_tokens.into()));
    put(
        "system",
        Some(system).filter(|it| !it.is_empty()).map(Value::from),
    );
    put("messages", Some(messages.into()));
    put("stream", Some(chat.stream.into()));
    // Blanks alone are refused; the gateway watches for all of them itself.
    let stops = chat.stop.iter().filter(|stop| !stop.trim().is_empty());
    let stops: Vec<&String> = stops.collect();
    put(
        "stop_sequences",
        Some(json!(stops)).filter(|_| !stops.is_empty()),
    );
    let tools = tools(chat);
    if !tools.is_empty() {
        // The choice is left out with the tools: alone it would be refused.
        put("tool_choice", choice(chat));
        put("tools", Some(tools.into()));
    }
    if let Some(budget) = budget {
        put(
            "thinking",
            Some(json!({"type": "enabled", "budget_tokens": budget})),
        );
    } else {
        if chat.thinking == Some(false) {
            put("thinking", Some(json!({"type": "disabled"})));
        }
        // Whoever thinks samples as it likes.
        let sampling = &chat.sampling;
        put(
            "temperature",
            sampling.temperature.map(|it| it.min(1.0).into()),
        );
        put("top_p", sampling.top_p.map(Value::from));
        put("top_k", sampling.top_k.map(Value::from));
    }
    if let Format::JsonSchema(form) = &chat.format
        && let Some(schema) = &form.schema
    {
        // Only the schema: the dialect has no name for the form.
        let format = json!({"type": "json_schema", "schema": value(schema)});
        put("output_config", Some(json!({"format": format})));
    }
    put(
        "metadata",
        chat.user.as_ref().map(|user| json!({"user_id": user})),
    );
    Value::Object(it)
}

/// JSON of the request's, read when it is sent on.
fn value(json: &Json) -> Value {
    serde_json::from_str(json.get()).or_impossible("it was read as JSON before")
}

/// How many tokens of thinking are asked for; `None` where it is not asked for, or would be refused.
fn budget(chat: &ChatRequest, max_tokens: u64) -> Option<u64> {
    if chat.thinking != Some(true) {
        return None;
    }
    // A forced call leaves no room for thinking, and a turn that goes on must show what was thought in it, under its seal.
    let is_forced = matches!(
        chat.tool_choice,
        ToolChoice::Required
            | ToolChoice::Named(_)
            | ToolChoice::Allowed {
                is_required: true,
                ..
            }
    ) && !chat.tools.is_empty();
    let goes_on = chat
        .messages
        .last()
        .is_some_and(|last| matches!(last.role, Role::Tool | Role::Function));
    let answers = chat.messages.iter().rev();
    let called = answers
        .into_iter()
        .find(|message| message.role == Role::Assistant);
    let is_sealed = |message: &Message| {
        message
            .reasoning
            .as_ref()
            .is_some_and(|it| it.signature.is_some())
    };
    if is_forced || (goes_on && !called.is_some_and(is_sealed)) {
        return None;
    }
    let wanted = chat.thinking_budget.unwrap_or(match chat.effort {
        Some(Effort::Low | Effort::Minimal) => 2048,
        Some(Effort::Medium) | None => 8192,
        Some(_) => 24_576,
    });
    // Half of what may be said at most, and never less than the dialect takes.
    Some(wanted.min(max_tokens / 2)).filter(|budget| *budget >= LEAST_BUDGET)
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// The system's blocks, and the messages: two roles in turn, results in front of what else the user says.
fn conversation(messages: &[Message], is_thinking: bool) -> (Vec<Value>, Vec<Value>) {
    let (mut system, mut turns) = (Vec::new(), Turns::default());
    for message in messages {
        match message.role {
            // The system's own words stand apart here, and only at the front.
            Role::System | Role::Developer if turns.is_empty() => {
                system.extend(blocks(&message.content));
            }
            // Later words of the system's are the user's: not every upstream knows them anywhere else.
            Role::System | Role::Developer | Role::User => {
                turns.add("user", blocks(&message.content));
            }
            Role::Assistant => {
                let mut said = Vec::new();
                if is_thinking {
                    said.extend(message.reasoning.as_deref().and_then(thought));
                }
                said.extend(blocks(&message.content));
                said.extend(message.tool_calls.iter().flatten().filter_map(call));
                turns.add("assistant", said);
            }
            Role::Tool | Role::Function => turns.add("user", vec![result(message)]),
        }
    }
    (system, turns.finish())
}

#[derive(Default)]
struct Turns {
    turns: Vec<(&'static str, Vec<Value>)>,
}

impl Turns {
    fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn add(&mut self, role: &'static str, mut blocks: Vec<Value>) {
        match self.turns.last_mut() {
            // Two turns of one role are one: the dialect wants them in turn.
            Some((speaker, known)) if *speaker == role => known.append(&mut blocks),
            Some(_) | None if blocks.is_empty() => {}
            Some(_) | None => self.turns.push((role, blocks)),
        }
    }

    fn finish(self) -> Vec<Value> {
        let turn = |(role, mut blocks): (&str, Vec<Value>)| {
            blocks.sort_by_key(|block| block["type"] != "tool_result");
            if role == "assistant" {
                // Calls stand last: what follows one would come between it and its result.
                blocks.sort_by_key(|block| block["type"] == "tool_use");
            }
            json!({"role": role, "content": blocks})
        };
        self.turns.into_iter().map(turn).collect()
    }
}

/// Thinking without a seal is nobody's: it would be refused.
fn thought(thought: &Reasoning) -> Option<Value> {
    let signature = thought.signature.as_deref()?;
    Some(json!({"type": "thinking", "thinking": &*thought.text, "signature": signature}))
}

fn blocks(content: &Content) -> Vec<Value> {
    match content {
        Content::Empty => Vec::new(),
        // Texts of blanks alone are refused.
        Content::Text(it) if it.trim().is_empty() => Vec::new(),
        Content::Text(it) => vec![text(it)],
        Content::Parts(parts) => parts.iter().filter_map(block).collect(),
    }
}

fn block(part: &Part) -> Option<Value> {
    match part {
        Part::Text { text: it } | Part::Refusal { refusal: it } => {
            (!it.trim().is_empty()).then(|| text(it))
        }
        Part::ImageUrl { image_url, .. } => {
            Some(json!({"type": "image", "source": source(image_url.url())}))
        }
        Part::File { file } => document(file),
        Part::FileUrl { file_url } => {
            Some(json!({"type": "document", "source": source(file_url.url())}))
        }
        Part::Other { .. } => None,
    }
}

/// A data URL taken apart, or an address.
fn source(url: &str) -> Value {
    let data = url
        .strip_prefix("data:")
        .and_then(|data| data.split_once(','));
    match data {
        Some((head, data)) => {
            let kind = head.split(';').next().filter(|kind| !kind.is_empty());
            json!({"type": "base64", "media_type": kind.unwrap_or("image/png"), "data": data})
        }
        None => json!({"type": "url", "url": url}),
    }
}

fn document(file: &File) -> Option<Value> {
    let source = match (&file.file_data, &file.url) {
        (Some(data), _) if data.starts_with("data:") => source(data),
        (Some(data), _) => {
            // Without a type it is the document that everybody means.
            json!({"type": "base64", "media_type": "application/pdf", "data": &**data})
        }
        (None, Some(url)) => source(url),
        (None, None) => return None,
    };
    let mut it = json!({"type": "document", "source": source});
    if let Some(name) = &file.filename {
        it["title"] = (**name).into();
    }
    Some(it)
}

fn call(call: &ToolCall) -> Option<Value> {
    let called = call.function.as_ref()?;
    let input = if call.is_custom {
        json!({"input": &*called.arguments})
    } else {
        // Only objects are taken; a model that has made something else is told so by the result.
        let read = serde_json::from_str(&called.arguments).ok();
        read.filter(Value::is_object).unwrap_or_else(|| json!({}))
    };
    Some(json!({"type": "tool_use", "id": id(&call.id), "name": called.name, "input": input}))
}

fn result(message: &Message) -> Value {
    let called = message.tool_call_id.as_ref().or(message.name.as_ref());
    let mut it = json!({
        "type": "tool_result", "tool_use_id": id(called.map_or("", String::as_str)), "content": blocks(&message.content),
    });
    if message.is_error {
        it["is_error"] = true.into();
    }
    it
}

/// Ids are letters, digits, `_` and `-`, here.
fn id(id: &str) -> String {
    let plain = |c: char| {
        // Anything else becomes a letter: the call and its result get the same one.
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    if id.is_empty() {
        "call".to_owned()
    } else {
        id.chars().map(plain).collect()
    }
}

fn tools(chat: &ChatRequest) -> Vec<Value> {
    let is_allowed = |tool: &&Tool| match &chat.tool_choice {
        // The dialect has no word for a choice among some, so the others are not offered.
        ToolChoice::Allowed { names, .. } => names.contains(&tool.name),
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required | ToolChoice::Named(_) => true,
    };
    let mut tools: Vec<Value> = chat
        .tools
        .iter()
        .filter(is_allowed)
        .filter_map(tool)
        .collect();
    if chat.search == Some(true) {
        tools.push(json!({"type": "web_search_20250305", "name": "web_search"}));
    }
    tools
}

fn tool(tool: &Tool) -> Option<Value> {
    let schema = match &tool.kind {
        ToolKind::Function {
            parameters: Some(schema),
        } => value(schema),
        ToolKind::Function { parameters: None } => json!({"type": "object", "properties": {}}),
        ToolKind::Custom { .. } => {
            json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]})
        }
        // A tool of another service is not offered to this one.
        ToolKind::Hosted => return None,
    };
    let mut it = json!({"name": &*tool.name, "input_schema": schema});
    if let Some(description) = tool.description() {
        it["description"] = description.into();
    }
    Some(it)
}

fn choice(chat: &ChatRequest) -> Option<Value> {
    let is_single = chat.parallel_tool_calls == Some(false);
    let mut it = match &chat.tool_choice {
        ToolChoice::Auto
        | ToolChoice::Allowed {
            is_required: false, ..
        } if is_single => {
            json!({"type": "auto"})
        }
        ToolChoice::Auto
        | ToolChoice::Allowed {
            is_required: false, ..
        } => return None,
        ToolChoice::None => return Some(json!({"type": "none"})),
        ToolChoice::Required
        | ToolChoice::Allowed {
            is_required: true, ..
        } => {
            json!({"type": "any"})
        }
        ToolChoice::Named(name) => json!({"type": "tool", "name": &**name}),
    };
    // A choice of none has no such word.
    if is_single {
        it["disable_parallel_tool_use"] = true.into();
    }
    Some(it)
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
