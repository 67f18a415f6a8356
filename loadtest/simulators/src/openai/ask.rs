//! Reading the body of `POST /v1/chat/completions`. Source: OpenAI's public API reference, Chat Completions.

use serde_json::{Map, Value, json};

use super::refusal::{self, Refusal};
use crate::{Call, Turn};

pub(super) const CHAT: &str = "sim-chat";
pub(super) const REASONER: &str = "sim-reasoner";
pub(super) const MODELS: [&str; 2] = [CHAT, REASONER];

/// The parameters that the reference lists; anything else is refused as OpenAI refuses it.
const PARAMETERS: &str = "model messages stream stream_options temperature top_p n stop max_tokens max_completion_tokens \
    presence_penalty frequency_penalty logit_bias logprobs top_logprobs user seed tools tool_choice parallel_tool_calls \
    response_format reasoning_effort modalities audio prediction service_tier store metadata web_search_options \
    safety_identifier prompt_cache_key verbosity";

/// A request that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) turns: Vec<Turn>,
    pub(super) stream: bool,
    pub(super) usage: bool,
    pub(super) tool: Option<Tool>,
}

/// The tool that the answer calls, and how.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) arguments: String,
}

/// Reads the request, or refuses it naming the parameter.
pub(super) fn read(body: &Value, call: &mut Call) -> Result<Ask, Refusal> {
    let mut bad = |param: &str, message: String| {
        call.violate(message.clone());
        refusal::bad_request(&message, Some(param), None)
    };
    let fields = body
        .as_object()
        .ok_or_else(|| bad("body", "the body is no JSON object".to_owned()))?;
    if let Some(extra) = fields
        .keys()
        .find(|key| !PARAMETERS.split_whitespace().any(|known| known == *key))
    {
        return Err(bad(
            extra,
            format!("Unrecognized request argument supplied: {extra}"),
        ));
    }
    let model = body.get("model").and_then(Value::as_str);
    let model =
        model.ok_or_else(|| bad("model", "you must provide a model parameter".to_owned()))?;
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| {
        bad(
            "messages",
            "'messages' must be a non-empty array".to_owned(),
        )
    })?;
    let turns: Result<Vec<_>, _> = messages.iter().map(turn).collect();
    let turns = turns.map_err(|what| bad("messages", what))?;
    let stream = optional_flag(body, "stream").map_err(|what| bad("stream", what))?;
    let options = body
        .get("stream_options")
        .filter(|options| !options.is_null());
    if options.is_some() && !stream {
        let what = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(bad("stream_options", what.to_owned()));
    }
    let usage = optional_flag(options.unwrap_or(&Value::Null), "include_usage")
        .map_err(|what| bad("stream_options", what))?;
    let tool = tool(body, &turns).map_err(|what| bad("tools", what))?;
    Ok(Ask {
        model: model.to_owned(),
        turns,
        stream,
        usage,
        tool,
    })
}

fn optional_flag(object: &Value, name: &str) -> Result<bool, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(format!("'{name}' is {other}, not a boolean")),
    }
}

fn turn(message: &Value) -> Result<Turn, String> {
    let role = message
        .get("role")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !matches!(role, "system" | "developer" | "user" | "assistant" | "tool") {
        return Err(format!("a message has the role {role:?}"));
    }
    if role == "tool"
        && message
            .get("tool_call_id")
            .and_then(Value::as_str)
            .is_none()
    {
        return Err("a tool message has no tool_call_id".to_owned());
    }
    let text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts
                .iter()
                .filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        None | Some(Value::Null) if message.get("tool_calls").is_some() => String::new(),
        other => return Err(format!("a {role} message has the content {other:?}")),
    };
    Ok(Turn {
        role: role.to_owned(),
        text,
    })
}

/// The call that a model would make: of the tool that `tool_choice` names, else of the first one; none when its result
/// has just come, or when the user asked for an exact text.
fn tool(body: &Value, turns: &[Turn]) -> Result<Option<Tool>, String> {
    let tools = match body.get("tools") {
        None | Some(Value::Null) => return Ok(None),
        Some(tools) => tools
            .as_array()
            .filter(|tools| !tools.is_empty())
            .ok_or("'tools' is an empty array or none")?,
    };
    let name = |tool: &Value| {
        tool.pointer("/function/name")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    if tools
        .iter()
        .any(|tool| tool.get("type") != Some(&json!("function")) || name(tool).is_none())
    {
        return Err("a tool has not the type \"function\" or no function.name".to_owned());
    }
    let choice = body.get("tool_choice").unwrap_or(&Value::Null);
    let forced = name(choice);
    let exact = turns
        .last()
        .is_some_and(|turn| turn.text.contains("echo:") || turn.text.contains("count:"));
    let answered = turns.last().is_some_and(|turn| turn.role == "tool");
    if choice == "none" || (forced.is_none() && choice != "required" && (exact || answered)) {
        return Ok(None);
    }
    let wanted = |tool: &&Value| forced.is_none() || name(tool) == forced;
    let tool = tools
        .iter()
        .find(wanted)
        .ok_or("tool_choice names a function that is not in 'tools'")?;
    let arguments = arguments(tool.pointer("/function/parameters").unwrap_or(&Value::Null));
    Ok(name(tool).map(|name| Tool {
        name,
        arguments: arguments.to_string(),
    }))
}

/// Arguments that satisfy a simple schema, always the same.
fn arguments(schema: &Value) -> Value {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return json!({});
    };
    let fill = |(name, schema): (&String, &Value)| (name.clone(), example(name, schema));
    Value::Object(properties.iter().map(fill).collect::<Map<_, _>>())
}

fn example(name: &str, schema: &Value) -> Value {
    if let Some(first) = schema.pointer("/enum/0") {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => json!(7),
        Some("number") => json!(1.5),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => arguments(schema),
        _ => json!(format!("sim 值 {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(extra: &Value) -> Value {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        for (key, value) in extra.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    }

    fn refused(extra: &Value) -> String {
        let mut call = Call::default();
        assert!(read(&request(extra), &mut call).is_err(), "{extra}");
        call.violation.unwrap()
    }

    #[test]
    fn refuses_wrong_shapes() {
        refused(&json!({"messages": []}));
        refused(&json!({"model": null}));
        refused(&json!({"stream": "yes"}));
        refused(&json!({"stream_options": {"include_usage": true}}));
        refused(&json!({"messages": [{"role": "robot", "content": "x"}]}));
        refused(&json!({"messages": [{"role": "tool", "content": "x"}]}));
        refused(&json!({"tools": []}));
        assert!(refused(&json!({"conversation_id": "none"})).contains("conversation_id"));
    }

    #[test]
    fn calls_the_first_tool_or_the_forced_one() {
        let function = |name: &str| {
            let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
            json!({"type": "function", "function": {"name": name, "parameters": parameters}})
        };
        let tools = json!([function("a"), function("b")]);
        let tool = |extra: Value| read(&request(&extra), &mut Call::default()).unwrap().tool;
        let first = tool(json!({"tools": tools})).unwrap();
        assert_eq!(
            (first.name.as_str(), first.arguments.as_str()),
            ("a", r#"{"city":"sim 值 city","days":7}"#)
        );
        let forced = json!({"type": "function", "function": {"name": "b"}});
        assert_eq!(
            tool(json!({"tools": tools, "tool_choice": forced}))
                .unwrap()
                .name,
            "b"
        );
        assert_eq!(tool(json!({"tools": tools, "tool_choice": "none"})), None);
    }
}
