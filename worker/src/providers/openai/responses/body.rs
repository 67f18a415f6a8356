//! The question. A caller of the Responses door has written it already: it goes on as it came, but for the model and
//! whether it is streamed. Everybody else's request is put into this dialect's words.
//!
//! What this dialect has no word for stays behind: a seed, penalties, the bias of tokens; texts that end the answer are
//! watched for by the gateway itself. Source: OpenAI's public API reference, Responses.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    chat::{
        ChatRequest, Content, Detail, Dialect, Effort, Format, Json, Message, Part, Role, Tool,
        ToolChoice, message::ToolCall, tools::ToolKind, verbatim::Anew,
    },
    impossible::OrImpossible as _,
};

/// The question for `model`, in pieces that belong one after the other.
pub(in crate::providers::openai) fn body(chat: &ChatRequest, model: &str) -> Vec<Bytes> {
    let own = chat.verbatim.as_ref();
    if let Some(own) = own.filter(|own| own.dialect == Dialect::Responses) {
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
    let mut it = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            it.insert(name.to_owned(), value);
        }
    };
    put("model", Some(model.into()));
    // Messages and results in one list: the dialect knows no turns.
    put("input", Some(input(&chat.messages)));
    put("stream", Some(chat.stream.into()));
    // The gateway keeps nothing, and leaves nothing with others either.
    put("store", Some(chat.extras.store.unwrap_or(false).into()));
    let tools = tools(chat);
    if !tools.is_empty() {
        put("tools", Some(tools.into()));
        put("tool_choice", choice(chat));
        put(
            // Only with tools: alone it would be refused.
            "parallel_tool_calls",
            chat.parallel_tool_calls.map(Value::from),
        );
    }
    put("text", text(chat));
    put("reasoning", reasoning(chat));
    put("max_output_tokens", chat.max_tokens.map(Value::from));
    let sampling = &chat.sampling;
    put("temperature", sampling.temperature.map(Value::from));
    put("top_p", sampling.top_p.map(Value::from));
    put("user", chat.user.clone().map(Value::from));
    let extras = &chat.extras;
    put("metadata", extras.metadata.as_ref().map(value));
    put(
        "prompt_cache_key",
        extras.prompt_cache_key.as_deref().map(Value::from),
    );
    put(
        "safety_identifier",
        extras.safety_identifier.as_deref().map(Value::from),
    );
    put(
        "service_tier",
        extras.service_tier.as_deref().map(Value::from),
    );
    Value::Object(it)
}

/// JSON of the request's, read when it is sent on: it was read as JSON before.
fn value(json: &Json) -> Value {
    serde_json::from_str(json.get()).or_impossible("it was read as JSON before")
}

fn text(chat: &ChatRequest) -> Option<Value> {
    let format = match &chat.format {
        // What an answer is by itself, and a form that nobody else knows.
        Format::Text | Format::Other { .. } => None,
        Format::JsonObject => Some(json!({"type": "json_object"})),
        Format::JsonSchema(schema) => {
            let mut it =
                json!({"type": "json_schema", "name": &*schema.name, "strict": schema.is_strict});
            for (name, json) in [
                ("description", &schema.description),
                ("schema", &schema.schema),
            ] {
                if let Some(json) = json {
                    it[name] = value(json);
                }
            }
            // Both are wanted, and callers of other dialects may leave the name out.
            if schema.name.is_empty() {
                // Both are wanted by some servers, so one of them is made up.
                it["name"] = "answer".into();
            }
            Some(it)
        }
    };
    let verbosity = chat.extras.verbosity.as_deref();
    match (format, verbosity) {
        (None, None) => None,
        (format, verbosity) => {
            let mut it = Map::new();
            it.extend(format.map(|format| ("format".to_owned(), format)));
            it.extend(verbosity.map(|word| ("verbosity".to_owned(), word.into())));
            Some(Value::Object(it))
        }
    }
}

/// Models that do not think refuse the member, so it is sent where thinking was asked for, or asked not to be.
fn reasoning(chat: &ChatRequest) -> Option<Value> {
    let effort = chat.effort.and_then(Effort::word);
    match (effort, chat.thinking) {
        (None, None) => None,
        (None, Some(false)) => Some(json!({"effort": "none"})),
        // A summary is what this dialect has instead of a level.
        (None, Some(true)) => Some(json!({"summary": "auto"})),
        (Some(effort), Some(false)) => Some(json!({"effort": effort})),
        (Some(effort), _) => Some(json!({"effort": effort, "summary": "auto"})),
    }
}

fn tools(chat: &ChatRequest) -> Vec<Value> {
    let mut tools: Vec<Value> = chat.tools.iter().map(tool).collect();
    if chat.search == Some(true) {
        tools.push(json!({"type": "web_search"}));
    }
    tools
}

fn tool(tool: &Tool) -> Value {
    let mut it = match &tool.kind {
        ToolKind::Function { parameters } => {
            let parameters = parameters.as_ref().map(value);
            json!({"type": "function", "name": &*tool.name, "parameters": parameters, "strict": tool.is_strict})
        }
        ToolKind::Custom { format } => {
            let mut it = json!({"type": "custom", "name": &*tool.name});
            // The grammar stands one level deeper in the other dialect.
            if let Some(format) = format {
                it["format"] = flat(value(format));
            }
            it
        }
        ToolKind::Hosted => return json!({"type": &*tool.name}),
    };
    if let Some(description) = &tool.description {
        it["description"] = value(description);
    }
    it
}

/// Chat completions have the grammar one level deeper.
fn flat(mut format: Value) -> Value {
    match format.get_mut("grammar").map(Value::take) {
        Some(Value::Object(grammar)) => {
            // `type` first, as the reference writes it.
            let mut it = json!({"type": "grammar"});
            if let Value::Object(members) = &mut it {
                members.extend(grammar);
            }
            it
        }
        _ => format,
    }
}

fn choice(chat: &ChatRequest) -> Option<Value> {
    let named = |name: &str| {
        let is_custom =
            |tool: &&Tool| &*tool.name == name && matches!(tool.kind, ToolKind::Custom { .. });
        // By the tool that was offered: this dialect has another word for the two.
        let kind = if chat.tools.iter().any(|tool| is_custom(&tool)) {
            "custom"
        } else {
            "function"
        };
        json!({"type": kind, "name": name})
    };
    match &chat.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some("none".into()),
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Named(name) => Some(named(name)),
        ToolChoice::Allowed { names, is_required } => {
            let mode = if *is_required { "required" } else { "auto" };
            let tools: Vec<Value> = names.iter().map(|name| named(name)).collect();
            Some(json!({"type": "allowed_tools", "mode": mode, "tools": tools}))
        }
    }
}

fn input(messages: &[Message]) -> Value {
    let mut items = Vec::with_capacity(messages.len());
    // What came of a call is an item of the call's own type.
    let mut texts = HashSet::new();
    for message in messages {
        match message.role {
            Role::Tool => {
                let id = message.tool_call_id.as_deref().unwrap_or_default();
                // Noted when the call was read, so that its result is of the same kind.
                let kind = if texts.contains(id) {
                    "custom_tool_call_output"
                } else {
                    "function_call_output"
                };
                let output = content(&message.content, false);
                items.push(json!({"type": kind, "call_id": id, "output": output}));
            }
            // The older form of a result names no call, and is told as what it is: something that the caller says.
            Role::User | Role::Function => said("user", message, &mut items),
            Role::System => said("system", message, &mut items),
            Role::Developer => said("developer", message, &mut items),
            Role::Assistant => {
                // An answer without content is its calls alone.
                if !matches!(message.content, Content::Empty) {
                    items.push(
                        json!({"role": "assistant", "content": content(&message.content, true)}),
                    );
                }
                for call in message.tool_calls.iter().flatten() {
                    if call.is_custom {
                        texts.insert(call.id.as_str());
                    }
                    items.extend(self::call(call));
                }
            }
        }
    }
    items.into()
}

fn said(role: &str, message: &Message, items: &mut Vec<Value>) {
    items.push(json!({"role": role, "content": content(&message.content, false)}));
}

fn call(call: &ToolCall) -> Option<Value> {
    let called = call.function.as_ref()?;
    let (kind, text) = if call.is_custom {
        ("custom_tool_call", "input")
    } else {
        ("function_call", "arguments")
    };
    Some(json!({"type": kind, "call_id": call.id, "name": called.name, text: &*called.arguments}))
}

/// A text, or parts: an answer's are called otherwise than a question's.
fn content(content: &Content, is_answer: bool) -> Value {
    match content {
        Content::Empty => "".into(),
        Content::Text(text) => (&**text).into(),
        Content::Parts(parts) => {
            let parts: Vec<Value> = parts.iter().filter_map(|it| part(it, is_answer)).collect();
            // An empty list is refused where an empty text is not.
            if parts.is_empty() {
                "".into()
            } else {
                parts.into()
            }
        }
    }
}

fn part(part: &Part, is_answer: bool) -> Option<Value> {
    let texts = |kind: &str, members: &[(&str, Option<&str>)]| {
        let mut it = json!({"type": kind});
        for (name, text) in members {
            if let Some(text) = text {
                it[*name] = (*text).into();
            }
        }
        it
    };
    Some(match part {
        Part::Text { text } if is_answer => {
            json!({"type": "output_text", "text": &**text, "annotations": []})
        }
        Part::Text { text } => texts("input_text", &[("text", Some(text))]),
        Part::Refusal { refusal } if is_answer => texts("refusal", &[("refusal", Some(refusal))]),
        Part::Refusal { refusal } => texts("input_text", &[("text", Some(refusal))]),
        // An answer has no pictures in this dialect.
        Part::ImageUrl { .. } | Part::File { .. } | Part::FileUrl { .. } if is_answer => {
            return None;
        }
        Part::ImageUrl { image_url, detail } => {
            let detail = match detail {
                Some(Detail::Low) => "low",
                Some(Detail::High) => "high",
                Some(Detail::Auto) | None => "auto",
            };
            texts(
                "input_image",
                &[
                    ("image_url", Some(image_url.url())),
                    ("detail", Some(detail)),
                ],
            )
        }
        Part::File { file } => texts(
            "input_file",
            &[
                ("file_data", file.file_data.as_deref()),
                ("filename", file.filename.as_deref()),
                ("file_url", file.url.as_deref()),
            ],
        ),
        Part::FileUrl { file_url } => texts("input_file", &[("file_url", Some(file_url.url()))]),
        Part::Other { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Text, message::FunctionCall};

    fn asked(chat: &ChatRequest) -> Value {
        serde_json::from_slice(&body(chat, "up").concat()).unwrap()
    }

    fn chat(messages: Vec<Message>) -> ChatRequest {
        ChatRequest::new("m", messages)
    }

    #[test]
    fn a_conversation_becomes_items() {
        let call = |id: &str, is_custom, text: &str| ToolCall {
            id: id.to_owned(),
            is_custom,
            function: Some(FunctionCall {
                name: format!("f{id}"),
                arguments: text.into(),
            }),
        };
        let result = |id: &str, text: &str| Message {
            tool_call_id: Some(id.to_owned()),
            ..Message::new(Role::Tool, text)
        };
        let chat = chat(vec![
            Message::new(Role::System, "s"),
            Message::new(Role::User, "u"),
            Message {
                tool_calls: Some(vec![call("1", false, "{}"), call("2", true, "x")]),
                ..Message::new(Role::Assistant, "a")
            },
            result("2", "two"),
            result("1", "one"),
        ]);
        assert_eq!(
            asked(&chat),
            json!({"model": "up", "stream": false, "store": false, "input": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": "a"},
                {"type": "function_call", "call_id": "1", "name": "f1", "arguments": "{}"},
                {"type": "custom_tool_call", "call_id": "2", "name": "f2", "input": "x"},
                {"type": "custom_tool_call_output", "call_id": "2", "output": "two"},
                {"type": "function_call_output", "call_id": "1", "output": "one"},
            ]})
        );
    }

    #[test]
    fn wishes_have_their_own_words() {
        let grammar = json!({"type": "grammar", "grammar": {"syntax": "lark", "definition": "d"}});
        let asked = asked(&ChatRequest {
            stream: true,
            tools: vec![
                Tool::function(
                    "f",
                    "what",
                    Some(Json::new(r#"{"type":"object"}"#).unwrap()),
                ),
                Tool {
                    kind: ToolKind::Custom {
                        format: Some(Json::new(grammar.to_string()).unwrap()),
                    },
                    description: None,
                    ..Tool::function("c", "", None)
                },
            ],
            tool_choice: ToolChoice::Named("c".into()),
            parallel_tool_calls: Some(false),
            format: Format::JsonSchema(Box::default()),
            effort: Some(Effort::High),
            thinking: Some(true),
            max_tokens: Some(5),
            search: Some(true),
            user: Some("x".into()),
            extras: crate::chat::request::Extras {
                verbosity: Some(Text::from("low")),
                ..Default::default()
            },
            ..chat(vec![Message::new(Role::User, "u")])
        });
        assert_eq!(
            asked,
            json!({
                "model": "up", "stream": true, "store": false, "input": [{"role": "user", "content": "u"}],
                "tools": [
                    {"type": "function", "name": "f", "description": "what", "parameters": {"type": "object"}, "strict": false},
                    {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "d"}},
                    {"type": "web_search"},
                ],
                "tool_choice": {"type": "custom", "name": "c"}, "parallel_tool_calls": false,
                "text": {"format": {"type": "json_schema", "name": "answer", "strict": false}, "verbosity": "low"},
                "reasoning": {"effort": "high", "summary": "auto"}, "max_output_tokens": 5, "user": "x",
            })
        );
    }
}
