//! Reading the body of `POST /v1/messages`, as strictly as the reference has it. Source: Anthropic's public API reference,
//! Messages.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::refusal::{self, Refusal};
use crate::{Call, Turn};

pub(super) const CHAT: &str = "asim-chat";
pub(super) const REASONER: &str = "asim-reasoner";
pub(super) const MODELS: [&str; 2] = [CHAT, REASONER];

/// The parameters that the reference lists; anything else is refused.
const PARAMETERS: &str = "model messages max_tokens system stream stop_sequences temperature top_p top_k tools tool_choice \
    thinking metadata service_tier output_config container mcp_servers context_management";
/// Those that are known only with a name in `anthropic-beta`.
const BETA: &[(&str, &str)] = &[
    ("context_management", "context-management-"),
    ("mcp_servers", "mcp-client-"),
];

/// A request that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) turns: Vec<Turn>,
    pub(super) stream: bool,
    pub(super) thinks: bool,
    /// Whether the words of thinking are told, or only its seal.
    pub(super) shows_thinking: bool,
    pub(super) stops: Vec<String>,
    /// Most tokens of the answer; each piece counts as one.
    pub(super) most_tokens: usize,
    /// Which of the tools a model would call, and with what.
    pub(super) calls: Option<(String, Value)>,
}

/// Reads the request, or refuses it in words that begin with the parameter.
pub(super) fn read(body: &Value, betas: &str, call: &mut Call) -> Result<Ask, Refusal> {
    check(body, betas).map_err(|message| {
        call.violate(message.clone());
        refusal::bad_request(&message)
    })
}

fn check(body: &Value, betas: &str) -> Result<Ask, String> {
    let fields = body.as_object().ok_or("the body is no JSON object")?;
    for name in fields.keys() {
        if !PARAMETERS.split_whitespace().any(|known| known == name) {
            return Err(format!("{name}: Extra inputs are not permitted"));
        }
        let beta = BETA.iter().find(|(known, _)| known == name);
        if beta.is_some_and(|(_, beta)| !betas.contains(beta)) {
            return Err(format!("{name}: Extra inputs are not permitted"));
        }
    }
    let model = body["model"].as_str().ok_or("model: Field required")?;
    let most = body["max_tokens"].as_u64().filter(|most| *most > 0);
    let most = most.ok_or("max_tokens: Field required")?;
    let mut turns = Vec::new();
    match &body["system"] {
        Value::Null => {}
        system => turns.push(turn("system", &texts(system, "system")?)),
    }
    let messages = body["messages"].as_array().filter(|list| !list.is_empty());
    let messages = messages.ok_or("messages: at least one message is required")?;
    conversation(messages, &mut turns)?;
    if body["thinking"]["type"] == "enabled" {
        goes_on(messages)?;
    }
    let stops = stops(&body["stop_sequences"])?;
    let thinks = thinking(body, most, model)?;
    let calls = tools(body, &turns)?;
    Ok(Ask {
        model: model.to_owned(),
        turns,
        stream: match &body["stream"] {
            Value::Null => false,
            Value::Bool(stream) => *stream,
            other => return Err(format!("stream: {other} is no boolean")),
        },
        thinks,
        shows_thinking: body["thinking"]["display"] != "omitted",
        stops,
        most_tokens: usize::try_from(most).unwrap_or(usize::MAX),
        calls,
    })
}

fn turn(role: &str, text: &str) -> Turn {
    Turn {
        role: role.to_owned(),
        text: text.to_owned(),
    }
}

fn stops(stops: &Value) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for stop in stops.as_array().into_iter().flatten() {
        let stop = stop.as_str().ok_or("stop_sequences: no string")?;
        if stop.trim().is_empty() {
            return Err(
                "stop_sequences: each stop sequence must contain non-whitespace".to_owned(),
            );
        }
        all.push(stop.to_owned());
    }
    Ok(all)
}

fn thinking(body: &Value, most: u64, model: &str) -> Result<bool, String> {
    let kind = match &body["thinking"] {
        Value::Null => None,
        thinking => Some(
            thinking["type"]
                .as_str()
                .ok_or("thinking.type: Field required")?,
        ),
    };
    let temperature = body["temperature"].as_f64();
    if temperature.is_some_and(|it| !(0.0..=1.0).contains(&it)) {
        return Err("temperature: range: 0..1".to_owned());
    }
    match kind {
        Some("enabled") => {
            let budget = body["thinking"]["budget_tokens"]
                .as_u64()
                .unwrap_or_default();
            if budget < 1024 {
                return Err(
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
                        .to_owned(),
                );
            }
            if budget >= most {
                return Err("max_tokens: must be greater than thinking.budget_tokens".to_owned());
            }
            if temperature.is_some_and(|it| it < 1.0) || !body["top_k"].is_null() {
                return Err("temperature: may only be set to 1 when thinking is enabled".to_owned());
            }
            if matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool")) {
                return Err(
                    "tool_choice: Thinking may not be enabled when tool_choice forces tool use."
                        .to_owned(),
                );
            }
            Ok(true)
        }
        Some("adaptive") => Ok(true),
        Some("disabled") => Ok(false),
        None => Ok(model == REASONER),
        Some(kind) => Err(format!("thinking.type: {kind} is none")),
    }
}

/// Who thinks begins with a thought, also in the turn whose calls are answered now.
fn goes_on(messages: &[Value]) -> Result<(), String> {
    let Some((last, before)) = messages.split_last() else {
        return Ok(());
    };
    let has_results = last["content"]
        .as_array()
        .is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"));
    let called = before
        .iter()
        .rposition(|message| message["role"] == "assistant");
    let Some(at) = called.filter(|_| has_results) else {
        return Ok(());
    };
    let first = before
        .get(at)
        .map_or(&Value::Null, |it| &it["content"][0]["type"]);
    if first == "thinking" || first == "redacted_thinking" {
        return Ok(());
    }
    Err(format!(
        "messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{}`",
        first.as_str().unwrap_or("text")
    ))
}

/// Each call has its result at the beginning of the message that follows it, and each result its call.
fn conversation(messages: &[Value], turns: &mut Vec<Turn>) -> Result<(), String> {
    let mut open: HashSet<String> = HashSet::new();
    for (at, message) in messages.iter().enumerate() {
        let place = format!("messages.{at}");
        let role = message["role"].as_str().unwrap_or_default();
        if !matches!(role, "user" | "assistant" | "system") {
            return Err(format!("{place}.role: {role:?} is none"));
        }
        if at == 0 && role != "user" {
            return Err("messages: first message must use the \"user\" role".to_owned());
        }
        let blocks = match &message["content"] {
            Value::String(text) => vec![json!({"type": "text", "text": text})],
            Value::Array(blocks) => blocks.clone(),
            _ => return Err(format!("{place}.content: Field required")),
        };
        if blocks.is_empty() {
            return Err(format!("{place}: all messages must have non-empty content"));
        }
        let mut is_past_results = false;
        let mut text = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            let place = format!("{place}.content.{at}");
            match block["type"].as_str().unwrap_or_default() {
                "text" => {
                    let said = block["text"].as_str().unwrap_or_default();
                    if said.trim().is_empty() {
                        return Err(format!(
                            "{place}: text content blocks must contain non-whitespace text"
                        ));
                    }
                    text.push(said.to_owned());
                    is_past_results = true;
                }
                "image" | "document" if role == "user" => {
                    source(block, &place)?;
                    is_past_results = true;
                }
                "tool_use" if role == "assistant" => {
                    if !block["input"].is_object() {
                        return Err(format!("{place}.input: Input should be a valid dictionary"));
                    }
                    open.insert(id(&block["id"], &place)?);
                }
                "thinking" if role == "assistant" => {
                    // Only what this upstream has sealed itself.
                    let seal = block["signature"].as_str().unwrap_or_default();
                    if !seal.starts_with("sim-seal-") {
                        return Err(format!("{place}: Invalid `signature` in `thinking` block"));
                    }
                }
                "redacted_thinking" if role == "assistant" => {
                    let thought = block["data"].as_str().unwrap_or_default();
                    if !thought.starts_with("sim-opaque-") {
                        return Err(format!(
                            "{place}: Invalid `data` in `redacted_thinking` block"
                        ));
                    }
                }
                "tool_result" if role == "user" && !is_past_results => {
                    if !open.remove(&id(&block["tool_use_id"], &place)?) {
                        return Err(format!(
                            "{place}: unexpected `tool_use_id` found in `tool_result` blocks"
                        ));
                    }
                    text.push(texts(&block["content"], &place)?);
                }
                kind => return Err(format!("{place}: {role} has no {kind:?} here")),
            }
        }
        if role == "user" && !open.is_empty() {
            return Err(format!(
                "{place}: `tool_use` ids were found without `tool_result` blocks immediately after"
            ));
        }
        let results = blocks.iter().any(|block| block["type"] == "tool_result");
        let speaker = if results { "tool" } else { role };
        turns.push(turn(speaker, &text.join("\n")));
    }
    if messages
        .last()
        .is_some_and(|last| last["role"] == "assistant")
    {
        return Err("messages: This model does not support assistant message prefill".to_owned());
    }
    Ok(())
}

fn id(id: &Value, place: &str) -> Result<String, String> {
    let id = id.as_str().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.is_empty() || !id.chars().all(is_plain) {
        return Err(format!(
            "{place}: String should match pattern '^[a-zA-Z0-9_-]+$'"
        ));
    }
    Ok(id.to_owned())
}

fn source(block: &Value, place: &str) -> Result<(), String> {
    let source = &block["source"];
    let has = |name: &str| source[name].as_str().is_some_and(|it| !it.is_empty());
    let is_right = match source["type"].as_str() {
        Some("base64") => has("media_type") && has("data"),
        Some("url") => has("url"),
        Some("text") => has("data"),
        _ => false,
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("{place}.source: {source} is none"))
    }
}

/// The text of a content that holds nothing else that counts.
fn texts(content: &Value, place: &str) -> Result<String, String> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(blocks) => {
            let texts = blocks.iter().filter_map(|block| block["text"].as_str());
            Ok(texts.collect::<Vec<_>>().join("\n"))
        }
        other => Err(format!("{place}: {other} is no content")),
    }
}

/// The call that a model would make: of the tool that is named, else of the first one; none when its result has just come,
/// or when the user asked for an exact text.
fn tools(body: &Value, turns: &[Turn]) -> Result<Option<(String, Value)>, String> {
    let tools = match &body["tools"] {
        Value::Null => {
            if !body["tool_choice"].is_null() {
                return Err("tool_choice: may only be specified while providing tools".to_owned());
            }
            return Ok(None);
        }
        Value::Array(tools) => tools,
        _ => return Err("tools: Input should be a valid list".to_owned()),
    };
    let mut functions = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        let name = tool["name"].as_str().unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 128 || !name.chars().all(is_plain) {
            return Err(format!("tools.{at}.name: {name:?} is none"));
        }
        let is_own = tool["type"].as_str().is_some_and(|kind| kind != "custom");
        if !is_own && tool["input_schema"]["type"] != "object" {
            return Err(format!("tools.{at}.input_schema.type: Field required"));
        }
        if !is_own {
            functions.push((name.to_owned(), arguments(&tool["input_schema"])));
        }
    }
    let choice = &body["tool_choice"];
    let wanted = match choice["type"].as_str() {
        None | Some("auto") => None,
        Some("none") => return Ok(None),
        Some("any") => functions.first().cloned(),
        Some("tool") => {
            let named = functions
                .iter()
                .find(|(name, _)| choice["name"] == name.as_str());
            Some(
                named
                    .ok_or("tool_choice.name: Tool not found in provided tools")?
                    .clone(),
            )
        }
        Some(kind) => return Err(format!("tool_choice.type: {kind} is none")),
    };
    let last = turns.last();
    let is_exact =
        last.is_some_and(|turn| turn.text.contains("echo:") || turn.text.contains("count:"));
    let is_answered = last.is_some_and(|turn| turn.role == "tool");
    Ok(match wanted {
        Some(wanted) => Some(wanted),
        None if is_exact || is_answered => None,
        None => functions.into_iter().next(),
    })
}

/// Arguments that satisfy a simple schema, always the same.
fn arguments(schema: &Value) -> Value {
    let example = |name: &String, schema: &Value| match schema["type"].as_str() {
        Some("integer" | "number") => json!(7),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!(format!("sim 值 {name}")),
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, schema)| (name.clone(), example(name, schema)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(extra: &Value) -> String {
        let mut body = json!({"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "hi"}]});
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        check(&body, "").unwrap_err()
    }

    #[test]
    fn refuses_wrong_shapes() {
        let user = json!({"role": "user", "content": "hi"});
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]});
        for extra in [
            json!({"max_tokens": null}),
            json!({"n": 1}),
            json!({"context_management": {}}),
            json!({"messages": []}),
            json!({"messages": [{"role": "assistant", "content": "hi"}]}),
            json!({"messages": [user, {"role": "assistant", "content": "prefill"}]}),
            json!({"messages": [{"role": "user", "content": " "}]}),
            json!({"messages": [user, call, user]}),
            json!({"messages": [user, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}, {"type": "text", "text": "a"}]}, user]}),
            json!({"messages": [user, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]}),
            json!({"temperature": 1.5}),
            json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}),
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "temperature": 0.5}),
            json!({"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024}, "messages": [
                user, call, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
            ], "tools": [{"name": "f", "input_schema": {"type": "object"}}]}),
            json!({"messages": [user, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}]}, user]}),
            json!({"stop_sequences": ["\n"]}),
            json!({"tool_choice": {"type": "any"}}),
            json!({"tools": [{"name": "a.b", "input_schema": {"type": "object"}}]}),
            json!({"tools": [{"name": "a"}]}),
        ] {
            refused(&extra);
        }
    }

    #[test]
    fn a_call_with_its_result_is_taken() {
        let body = json!({"model": "m", "max_tokens": 9, "tools": [{"name": "f", "input_schema": {"type": "object"}}], "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}, {"type": "text", "text": "go"}]},
        ]});
        let ask = check(&body, "").unwrap();
        assert_eq!(ask.calls, None);
        assert_eq!(ask.turns.last().unwrap().role, "tool");
    }
}
