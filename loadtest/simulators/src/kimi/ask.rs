//! Reading the question of Chat, field by field. Source: wire/kimi.md §4.2 to §4.5.

use serde_json::{Value, json};

use crate::{Call, Turn};

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) scenario: String,
    /// Chat, and the id of its last answer.
    pub(super) goes_on: Option<(String, String)>,
    pub(super) prompt: String,
    pub(super) files: Vec<String>,
    pub(super) thinking: bool,
    pub(super) tools: Value,
    pub(super) search: bool,
    /// The context of a million tokens.
    pub(super) is_long: bool,
    pub(super) is_swarm: bool,
    /// As they were sent.
    pub(super) options: Option<Value>,
}

const SCENARIOS: [&str; 13] = [
    "SCENARIO_K2D5",
    "SCENARIO_K2D5_TURBO",
    "SCENARIO_K2D6",
    "SCENARIO_K2",
    "SCENARIO_K1D5",
    "SCENARIO_K1",
    "SCENARIO_SEARCH",
    "SCENARIO_RESEARCH",
    "SCENARIO_CHAT",
    "SCENARIO_OK_COMPUTER",
    "SCENARIO_OK_COMPUTER_SWARM",
    "SCENARIO_K3",
    "SCENARIO_K3_THINKING",
];
/// What `options.model` may name (form "by key").
const KEYS: [&str; 4] = ["k2d6", "k2d6-chat", "k3", "k3-agent-ultra"];
const TOOLS: [&str; 13] = [
    "SEARCH",
    "IMAGE_GENERATION",
    "SEMANTIC_MEMORY",
    "AUDIO_GENERATION",
    "DEVICE_LBS",
    "DEVICE_TOOL",
    "PARALLEL_AGENT",
    "PARALLEL_AGENT_V2",
    "ASK_USER",
    "CRON_JOB",
    "GOAL",
    "BANANA",
    "SLIDES_OUTLINE",
];
const FIELDS: [&str; 8] = [
    "scenario",
    "chat_id",
    "tools",
    "message",
    "options",
    "kimiplus_id",
    "kimiplusId",
    "project_id",
];
const OPTIONS: [&str; 8] = [
    "thinking",
    "enable_plugin",
    "enablePlugin",
    "reasoning_effort",
    "reasoningEffort",
    "context_length",
    "contextLength",
    "model",
];

/// Reads the question; `Err` says in a sentence what is an invalid argument. `today`: what the page of 2026-09 always
/// sends is missed.
pub(super) fn read(payload: &[u8], call: &mut Call, today: bool) -> Result<Ask, String> {
    let body: Value = serde_json::from_slice(payload)
        .map_err(|error| format!("the envelope's payload is not JSON: {error}"))?;
    let fields = body.as_object().ok_or("the payload is no JSON object")?;
    for extra in fields.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
        call.violate(format!("the unknown field {extra:?} is ignored"));
    }
    let scenario = text(&body, "scenario")?;
    if !SCENARIOS.contains(&scenario.as_str()) {
        return Err(format!("there is no scenario {scenario:?}"));
    }
    let message = body
        .get("message")
        .filter(|message| message.is_object())
        .ok_or("message is missing")?;
    if text(message, "role")? != "user" {
        return Err("message.role is not user".to_owned());
    }
    if message.get("scenario") != Some(&json!(scenario)) {
        return Err("message.scenario is not the scenario again".to_owned());
    }
    let (prompt, files) = blocks(message, call)?;
    let (tools, search) = tools(&body)?;
    let is_swarm = scenario.ends_with("_SWARM")
        || tools[0].get("type") == Some(&json!("TOOL_TYPE_PARALLEL_AGENT_V2"));
    let options = body.get("options").cloned();
    let (thinking, context) = switches(&body, &scenario, call, today)?;
    Ok(Ask {
        goes_on: goes_on(&body, message, call)?,
        scenario,
        prompt,
        files,
        thinking,
        tools,
        search,
        is_long: context.as_deref() == Some("CONTEXT_LENGTH_XL"),
        is_swarm,
        options,
    })
}

/// A member by its name, in either spelling.
fn either<'a>(object: &'a Value, snake: &str, camel: &str) -> Option<&'a Value> {
    object.get(snake).or_else(|| object.get(camel))
}

/// Whether the answer thinks, and the context that is asked for (§4.2, §4.5).
fn switches(
    body: &Value,
    scenario: &str,
    call: &mut Call,
    today: bool,
) -> Result<(bool, Option<String>), String> {
    let options = body.get("options").unwrap_or(&Value::Null);
    let unknown = options
        .as_object()
        .and_then(|options| options.keys().find(|key| !OPTIONS.contains(&key.as_str())));
    if let Some(unknown) = unknown {
        call.violate(format!("the unknown option {unknown:?} is ignored"));
    }
    let thinking = options
        .get("thinking")
        .and_then(Value::as_bool)
        .ok_or("options.thinking is missing or no boolean")?;
    let plugin = either(options, "enable_plugin", "enablePlugin");
    if plugin.is_some_and(|plugin| !plugin.is_boolean()) {
        return Err("options.enable_plugin is no boolean".to_owned());
    }
    let page = matches!(scenario, "SCENARIO_K2D5" | "SCENARIO_OK_COMPUTER");
    if today && page && plugin != Some(&json!(false)) {
        call.violate("without enable_plugin false the site's own tools get into the answer");
    }
    let effort = match either(options, "reasoning_effort", "reasoningEffort") {
        None => None,
        Some(effort) => {
            let name = effort
                .as_str()
                .and_then(|name| name.strip_prefix("REASONING_EFFORT_"));
            let known = ["NONE", "LOW", "MEDIUM", "HIGH", "MAX"];
            match name.filter(|name| known.contains(name)) {
                Some(name) => Some(name),
                None => return Err(format!("there is no effort {effort}")),
            }
        }
    };
    let context = either(options, "context_length", "contextLength");
    let context = match context.map(|context| context.as_str()) {
        None => None,
        Some(Some(name @ ("CONTEXT_LENGTH_L" | "CONTEXT_LENGTH_XL"))) => Some(name.to_owned()),
        Some(other) => return Err(format!("there is no context {other:?}")),
    };
    let model = options.get("model");
    if let Some(model) = model {
        let known = model.as_str().is_some_and(|model| KEYS.contains(&model));
        if !known || scenario != "SCENARIO_CHAT" {
            return Err(format!("there is no model {model} in {scenario}"));
        }
    }
    let plus = either(body, "kimiplus_id", "kimiplusId").and_then(Value::as_str);
    match scenario {
        "SCENARIO_OK_COMPUTER" => {
            if plus != Some("ok-computer") {
                return Err("SCENARIO_OK_COMPUTER without kimiplus_id ok-computer".to_owned());
            }
            if !thinking || matches!(effort, Some("NONE" | "MEDIUM")) {
                return Err(format!("K3 with thinking {thinking} and effort {effort:?}"));
            }
            if today && (effort.is_none() || context.is_none()) {
                call.violate("the page sends an effort and a context with K3");
            }
        }
        _ if plus.is_some() => return Err(format!("kimiplus_id is {plus:?} in {scenario}")),
        _ => {}
    }
    let thinks = match effort {
        Some("NONE") => false,
        // The page of 2026-09 always says that it thinks, and lets the effort decide.
        Some(_) | None => thinking,
    };
    Ok((thinks, context))
}

fn text(object: &Value, key: &str) -> Result<String, String> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{key} is {other}, not a string")),
        None => Err(format!("{key} is missing")),
    }
}

/// `chat_id` and `parent_id`: both or none. Sent empty they are forgiven, and the page says to leave them out (§1).
fn goes_on(
    body: &Value,
    message: &Value,
    call: &mut Call,
) -> Result<Option<(String, String)>, String> {
    let mut id = |object: &Value, key: &str| match object.get(key) {
        None => Ok(None),
        Some(Value::String(id)) if id.is_empty() => {
            call.violate(format!("{key} is empty instead of left out"));
            Ok(None)
        }
        Some(_) => text(object, key).map(Some),
    };
    match (id(body, "chat_id")?, id(message, "parent_id")?) {
        (None, None) => Ok(None),
        (Some(chat), Some(parent)) => Ok(Some((chat, parent))),
        (Some(_), None) => Err("chat_id without parent_id".to_owned()),
        (None, Some(_)) => Err("parent_id without chat_id".to_owned()),
    }
}

fn blocks(message: &Value, call: &mut Call) -> Result<(String, Vec<String>), String> {
    let blocks = message
        .get("blocks")
        .and_then(Value::as_array)
        .ok_or("message.blocks is missing or no array")?;
    let mut prompt = None;
    let mut files = Vec::new();
    for block in blocks {
        if block.get("message_id") != Some(&json!("")) {
            call.violate("a block's message_id is not \"\"");
        }
        match (block.get("text"), block.get("file")) {
            (Some(text_block), None) if prompt.is_none() && files.is_empty() => {
                prompt = Some(text(text_block, "content")?);
            }
            (Some(_), None) => return Err("a text block is not the first block".to_owned()),
            (None, Some(file)) => {
                if file.get("status") != Some(&json!(3)) {
                    return Err("a file block's status is not the number 3".to_owned());
                }
                if file.get("fail_reason") != Some(&json!("")) {
                    call.violate("a file block's fail_reason is not \"\"");
                }
                files.push(text(file, "id")?);
            }
            _ => return Err("a block is neither text nor file".to_owned()),
        }
    }
    let prompt = prompt.unwrap_or_default();
    if prompt.is_empty() && files.is_empty() {
        return Err("the message has neither text nor files".to_owned());
    }
    Ok((prompt, files))
}

fn tools(body: &Value) -> Result<(Value, bool), String> {
    let tools = body.get("tools").cloned().unwrap_or_else(|| json!([]));
    let list = tools.as_array().ok_or("tools is no array")?;
    for tool in list {
        let name = text(tool, "type")?;
        let known = name
            .strip_prefix("TOOL_TYPE_")
            .is_some_and(|name| TOOLS.contains(&name));
        if !known {
            return Err(format!("there is no tool {name:?}"));
        }
        if name == "TOOL_TYPE_SEARCH" && !tool.get("search").is_some_and(Value::is_object) {
            return Err("the search tool has no search".to_owned());
        }
    }
    let search = list.iter().any(|tool| tool["type"] == "TOOL_TYPE_SEARCH");
    Ok((tools, search))
}

const ROLES: [&str; 3] = ["system:", "user:", "assistant:"];

/// Takes the flattened history apart again (§4.3). `Err` says what is wrong with it.
pub(super) fn turns(prompt: &str) -> Result<Vec<Turn>, String> {
    let role_of = |line: &str| ROLES.into_iter().find(|role| line.starts_with(role));
    let history = prompt
        .strip_suffix('\n')
        .filter(|history| role_of(history).is_some());
    let Some(history) = history else {
        return Ok(vec![Turn {
            role: "user".to_owned(),
            text: prompt.to_owned(),
        }]);
    };
    let mut turns: Vec<Turn> = Vec::new();
    for line in history.split('\n') {
        match (role_of(line), turns.last_mut()) {
            (Some(role), _) => turns.push(Turn {
                role: role.trim_end_matches(':').to_owned(),
                text: line.strip_prefix(role).unwrap_or_default().to_owned(),
            }),
            (None, Some(turn)) => {
                turn.text.push('\n');
                turn.text.push_str(line);
            }
            (None, None) => return Err("the history does not start with a role".to_owned()),
        }
    }
    let first_other = turns.iter().position(|turn| turn.role != "system");
    let late = turns
        .iter()
        .skip(first_other.unwrap_or_default())
        .any(|turn| turn.role == "system");
    if late {
        return Err("a system message does not stand first".to_owned());
    }
    if turns.last().is_none_or(|turn| turn.role != "user") {
        return Err("the last turn is not the user's".to_owned());
    }
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_history_apart() {
        let turns = turns("system:S\nuser:a\nb\n\nassistant:c\nuser:[TOOL_RESULT for t] d\n");
        let turns = turns.unwrap();
        let shown: Vec<_> = turns
            .iter()
            .map(|turn| (turn.role.as_str(), turn.text.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("system", "S"),
                ("user", "a\nb\n"),
                ("assistant", "c"),
                ("user", "[TOOL_RESULT for t] d")
            ]
        );
        assert_eq!(super::turns("user:a").unwrap()[0].text, "user:a");
    }

    #[test]
    fn refuses_a_broken_history() {
        assert!(turns("user:a\nsystem:S\nuser:b\n").is_err());
        assert!(turns("user:a\nassistant:b\n").is_err());
    }
}
