//! Reading the body of `POST /v1/responses`, as strictly as the reference has it. Source: OpenAI's public API reference,
//! Responses.

use std::collections::HashSet;

use serde_json::Value;

use crate::{
    Call, Turn,
    openai::refusal::{self, Refusal},
};

pub(super) const CHAT: &str = "rsim-chat";
pub(super) const REASONER: &str = "rsim-reasoner";
pub(super) const MODELS: [&str; 2] = [CHAT, REASONER];

/// The parameters that the reference lists; anything else is refused as OpenAI refuses it.
const PARAMETERS: &str = "model input instructions stream stream_options max_output_tokens max_tool_calls tools tool_choice \
    parallel_tool_calls text reasoning temperature top_p top_logprobs metadata user safety_identifier prompt_cache_key \
    prompt_cache_retention service_tier store include truncation previous_response_id conversation prompt background \
    client_metadata";

/// A request that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) turns: Vec<Turn>,
    pub(super) stream: bool,
    pub(super) summary: bool,
    pub(super) tools: Vec<Tool>,
    /// The tool that must be called, or that a model would call.
    pub(super) calls: Option<Tool>,
}

/// A tool that an answer may call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) is_custom: bool,
}

/// Reads the request, or refuses it naming the parameter.
pub(super) fn read(body: &Value, call: &mut Call) -> Result<Ask, Refusal> {
    let checked = check(body);
    checked.map_err(|(param, message)| {
        call.violate(message.clone());
        refusal::bad_request(&message, Some(&param), None)
    })
}

type Wrong = (String, String);

fn wrong(param: impl Into<String>, message: impl Into<String>) -> Wrong {
    (param.into(), message.into())
}

fn check(body: &Value) -> Result<Ask, Wrong> {
    let fields = body
        .as_object()
        .ok_or_else(|| wrong("body", "the body is no JSON object"))?;
    if let Some(extra) = fields
        .keys()
        .find(|key| !PARAMETERS.split_whitespace().any(|known| known == *key))
    {
        return Err(wrong(extra, format!("Unknown parameter: '{extra}'.")));
    }
    let model = body["model"]
        .as_str()
        .ok_or_else(|| wrong("model", "Missing required parameter: 'model'."))?;
    let mut turns = Vec::new();
    if let Some(text) = body["instructions"].as_str() {
        turns.push(turn("system", text));
    }
    match &body["input"] {
        Value::String(text) if !text.is_empty() => turns.push(turn("user", text)),
        Value::Array(items) if !items.is_empty() => input(items, &mut turns)?,
        _ => return Err(wrong("input", "Missing required parameter: 'input'.")),
    }
    let stream = match &body["stream"] {
        Value::Null => false,
        Value::Bool(stream) => *stream,
        other => return Err(wrong("stream", format!("'stream' is {other}"))),
    };
    let tools = tools(&body["tools"])?;
    let calls = choice(body, &tools, &turns)?;
    format(&body["text"]["format"])?;
    Ok(Ask {
        model: model.to_owned(),
        turns,
        stream,
        summary: !body["reasoning"]["summary"].is_null(),
        tools,
        calls,
    })
}

fn turn(role: &str, text: &str) -> Turn {
    Turn {
        role: role.to_owned(),
        text: text.to_owned(),
    }
}

fn input(items: &[Value], turns: &mut Vec<Turn>) -> Result<(), Wrong> {
    let mut calls = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        let place = format!("input[{at}]");
        let text = |name: &str| {
            item[name].as_str().ok_or_else(|| {
                wrong(
                    format!("{place}.{name}"),
                    format!("{place}.{name} is no string"),
                )
            })
        };
        match item["type"].as_str().unwrap_or("message") {
            "message" => {
                let role = text("role")?;
                if !matches!(role, "system" | "developer" | "user" | "assistant") {
                    return Err(wrong(place, format!("a message has the role {role:?}")));
                }
                turns.push(turn(role, &content(&item["content"], role, &place)?));
            }
            kind @ ("function_call" | "custom_tool_call") => {
                text("name")?;
                text(if kind == "function_call" {
                    "arguments"
                } else {
                    "input"
                })?;
                calls.insert((kind.to_owned(), text("call_id")?.to_owned()));
            }
            kind @ ("function_call_output" | "custom_tool_call_output") => {
                let call = kind.trim_end_matches("_output");
                if !calls.contains(&(call.to_owned(), text("call_id")?.to_owned())) {
                    let message = format!(
                        "No tool call found for {kind} with call_id {}.",
                        text("call_id")?
                    );
                    return Err(wrong(place, message));
                }
                turns.push(turn("tool", &content(&item["output"], "tool", &place)?));
            }
            "reasoning" => {
                text("id")?;
            }
            "local_shell_call"
            | "shell_call"
            | "apply_patch_call"
            | "tool_search_call"
            | "local_shell_call_output"
            | "shell_call_output"
            | "apply_patch_call_output"
            | "tool_search_output"
            | "web_search_call"
            | "additional_tools" => {}
            kind => return Err(wrong(place, format!("an item has the type {kind:?}"))),
        }
    }
    Ok(())
}

/// The text of a content. Parts have other names in answers than in questions.
fn content(content: &Value, role: &str, place: &str) -> Result<String, Wrong> {
    let parts = match content {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        other => return Err(wrong(place, format!("a content is {other}"))),
    };
    let mut texts = Vec::new();
    for part in parts {
        let kind = part["type"].as_str().unwrap_or_default();
        match (role, kind) {
            ("assistant", "output_text")
            | ("system" | "developer" | "user" | "tool", "input_text") => {
                let text = part["text"].as_str();
                texts.push(text.ok_or_else(|| wrong(place, "a part has no text"))?);
            }
            ("assistant", "refusal") => {}
            ("user" | "tool" | "developer" | "system", "input_image") => {
                if part["image_url"].as_str().is_none() && part["file_id"].as_str().is_none() {
                    return Err(wrong(place, "an input_image has no image_url"));
                }
            }
            ("user" | "tool" | "developer" | "system", "input_file") => {}
            _ => {
                return Err(wrong(
                    place,
                    format!("a part of {role} has the type {kind:?}"),
                ));
            }
        }
    }
    Ok(texts.join("\n"))
}

fn tools(tools: &Value) -> Result<Vec<Tool>, Wrong> {
    let list = match tools {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err(wrong("tools", "'tools' is no array")),
    };
    let mut found = Vec::new();
    for tool in list {
        let named = |tool: &Value, namespace: Option<&str>, is_custom| {
            let name = tool["name"].as_str();
            let name = name.ok_or_else(|| {
                wrong(
                    "tools[0].name",
                    "Missing required parameter: 'tools[0].name'.",
                )
            })?;
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.len() > 64 || !name.chars().all(is_name) {
                return Err(wrong("tools", format!("Invalid 'tools[0].name': {name:?}")));
            }
            Ok(Tool {
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
                is_custom,
            })
        };
        match tool["type"].as_str().unwrap_or_default() {
            "function" => {
                if !(tool["parameters"].is_object() || tool["parameters"].is_null()) {
                    return Err(wrong("tools", "'parameters' is no object"));
                }
                found.push(named(tool, None, false)?);
            }
            "custom" => {
                let format = &tool["format"];
                if format["type"] == "grammar"
                    && !(format["syntax"].is_string() && format["definition"].is_string())
                {
                    return Err(wrong(
                        "tools",
                        "a grammar has no 'syntax' or no 'definition'",
                    ));
                }
                found.push(named(tool, None, true)?);
            }
            "namespace" => {
                let namespace = tool["name"].as_str().unwrap_or_default();
                for inner in tool["tools"].as_array().into_iter().flatten() {
                    found.push(named(inner, Some(namespace), inner["type"] == "custom")?);
                }
            }
            "web_search" | "web_search_preview" | "local_shell" | "shell" | "apply_patch"
            | "tool_search" | "image_generation" | "code_interpreter" | "file_search" | "mcp"
            | "computer" => {}
            kind => return Err(wrong("tools", format!("Invalid value: {kind:?}."))),
        }
    }
    Ok(found)
}

/// The call that a model would make: of the tool that `tool_choice` names, else of the first one; none when its result has
/// just come, or when the user asked for an exact text.
fn choice(body: &Value, tools: &[Tool], turns: &[Turn]) -> Result<Option<Tool>, Wrong> {
    let choice = &body["tool_choice"];
    let is_word = choice
        .as_str()
        .is_none_or(|word| matches!(word, "auto" | "none" | "required"));
    if !is_word || !(choice.is_null() || choice.is_string() || choice["type"].is_string()) {
        return Err(wrong("tool_choice", format!("Invalid value: {choice}.")));
    }
    let forced = match choice["type"].as_str() {
        Some("function" | "custom") => Some(
            choice["name"]
                .as_str()
                .ok_or_else(|| wrong("tool_choice", "no name"))?,
        ),
        _ => None,
    };
    let exact = turns
        .last()
        .is_some_and(|turn| turn.text.contains("echo:") || turn.text.contains("count:"));
    let answered = turns.last().is_some_and(|turn| turn.role == "tool");
    if choice == "none" || (forced.is_none() && choice != "required" && (exact || answered)) {
        return Ok(None);
    }
    let found = tools
        .iter()
        .find(|tool| forced.is_none_or(|name| tool.name == name));
    if forced.is_some() && found.is_none() {
        return Err(wrong(
            "tool_choice",
            "Tool choice not found in 'tools' parameter.",
        ));
    }
    Ok(found.cloned())
}

fn format(format: &Value) -> Result<(), Wrong> {
    match format["type"].as_str() {
        None if format.is_null() => Ok(()),
        Some("text" | "json_object") => Ok(()),
        Some("json_schema") if format["name"].is_string() && format["schema"].is_object() => Ok(()),
        _ => Err(wrong("text.format", format!("Invalid value: {format}."))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(extra: &Value) -> String {
        let mut body = json!({"model": "m", "input": "hi"});
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        let mut call = Call::default();
        assert!(read(&body, &mut call).is_err(), "{extra}");
        call.violation.unwrap()
    }

    #[test]
    fn refuses_wrong_shapes() {
        refused(&json!({"input": []}));
        refused(&json!({"model": null}));
        refused(&json!({"stream": "yes"}));
        refused(&json!({"messages": []}));
        refused(&json!({"input": [{"role": "robot", "content": "x"}]}));
        refused(&json!({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}));
        refused(
            &json!({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]}),
        );
        refused(
            &json!({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}),
        );
        refused(&json!({"tools": [{"type": "function", "function": {"name": "f"}}]}));
        refused(
            &json!({"tools": [{"type": "custom", "name": "f", "format": {"type": "grammar", "grammar": {}}}]}),
        );
        refused(&json!({"text": {"format": {"type": "json_schema", "json_schema": {}}}}));
        refused(&json!({"tool_choice": {"type": "function", "name": "gone"}}));
    }
}
