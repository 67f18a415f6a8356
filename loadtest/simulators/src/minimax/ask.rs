//! Reading the bodies of questions, field by field. Source: wire/minimax.md §4, §12.4.

use serde_json::{Value, json};

use crate::{Call, Turn, request::is_uuid};

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) prompt: String,
    pub(super) model: String,
    pub(super) variant: String,
    /// Matrix: the chat that goes on.
    pub(super) chat: Option<u64>,
    /// Cloud: the id of this turn.
    pub(super) turn: String,
    pub(super) attachments: Vec<Value>,
}

const MATRIX_MODELS: [(&str, u64); 3] = [("Auto", 0), ("MiniMax-M2.5", 501), ("MiniMax-M2.7", 502)];

/// The body of `send_msg`.
pub(super) fn matrix(body: &Value, bytes: &[u8], call: &mut Call) -> Result<Ask, String> {
    only(
        body,
        &[
            "msg_type",
            "text",
            "chat_type",
            "attachments",
            "selected_mcp_tools",
            "sub_agent_ids",
            "model_option",
            "chat_id",
        ],
        call,
    )?;
    for (name, value) in [
        ("msg_type", json!(1)),
        ("chat_type", json!(2)),
        ("selected_mcp_tools", json!([])),
        ("sub_agent_ids", json!([])),
    ] {
        if body.get(name) != Some(&value) {
            return Err(format!("{name} is not {value}"));
        }
    }
    let option = body.get("model_option").unwrap_or(&Value::Null);
    let model = text(option, "display_name")?;
    let number = option.get("model_type").and_then(Value::as_u64);
    if !MATRIX_MODELS
        .iter()
        .any(|(name, own)| *name == model && Some(*own) == number)
    {
        return Err(format!("model_option is {option}"));
    }
    let chat = match body.get("chat_id") {
        None => None,
        Some(id) => Some(id.as_u64().ok_or("chat_id is no number")?),
    };
    let prompt = prompt(body, "text")?;
    let attachments = attachments(body.get("attachments").ok_or("attachments is missing")?)?;
    if attachments.is_empty() {
        // Added, says the page: to the end.
        let more = chat.map_or_else(String::new, |id| format!(r#","chat_id":{id}"#));
        let written = format!(
            r#"{{"msg_type":1,"text":{},"chat_type":2,"attachments":[],"selected_mcp_tools":[],"sub_agent_ids":[],"model_option":{{"display_name":"{model}","model_type":{}}}{more}}}"#,
            json!(prompt),
            number.unwrap_or_default()
        );
        as_written(bytes, &written, call);
    }
    Ok(Ask {
        prompt,
        model,
        variant: String::new(),
        chat,
        turn: String::new(),
        attachments,
    })
}

/// The body of a message; `archon` has one member more.
pub(super) fn cloud(
    body: &Value,
    bytes: &[u8],
    archon: bool,
    call: &mut Call,
) -> Result<Ask, String> {
    only(
        body,
        &[
            "content",
            "model",
            "turn_id",
            "worktreeMode",
            "enable_team",
            "attachments",
            "client_intent",
        ],
        call,
    )?;
    let model = body.get("model").ok_or("model is missing")?;
    if text(model, "provider_id")? != "minimax" {
        return Err("model.provider_id is not \"minimax\"".to_owned());
    }
    let (model, variant) = (text(model, "model_id")?, text(model, "variant")?);
    let turn = text(body, "turn_id")?;
    if turn.len() != 36 || !is_uuid(&turn) {
        return Err(format!("turn_id {turn:?} is no UUID with hyphens"));
    }
    if body.get("worktreeMode") != Some(&json!(false)) {
        return Err("worktreeMode is not false".to_owned());
    }
    let team = body.get("enable_team");
    if team != archon.then_some(&json!(false)) {
        call.violate("enable_team is archon's, and false there");
    }
    let prompt = prompt(body, "content")?;
    let attachments = match body.get("attachments") {
        Some(list) => attachments(list)?,
        None => Vec::new(),
    };
    if attachments.is_empty() && body.get("client_intent").is_none() {
        let team = if archon {
            r#""enable_team":false,"#
        } else {
            ""
        };
        let written = format!(
            r#"{{"content":{},"model":{{"provider_id":"minimax","model_id":"{model}","variant":"{variant}"}},"turn_id":"{turn}",{team}"worktreeMode":false}}"#,
            json!(prompt)
        );
        as_written(bytes, &written, call);
    }
    Ok(Ask {
        prompt,
        model,
        variant,
        chat: None,
        turn,
        attachments,
    })
}

/// The model that a session's body names. `None`: only the message does. `archon` may name it in one word.
pub(super) fn session(
    body: &Value,
    agent: &str,
    archon: bool,
    call: &mut Call,
) -> Result<Option<String>, String> {
    only(
        body,
        &["model", "team_mode_off", "agent_id", "worktreeMode"],
        call,
    )?;
    let Some(model) = body.get("model") else {
        let right = body.get("agent_id").and_then(Value::as_str) == Some(agent)
            && body.get("worktreeMode") == Some(&json!(false));
        return match right {
            true => Ok(None),
            false => Err("there is neither a model, nor agent_id and worktreeMode".to_owned()),
        };
    };
    if let (true, Some(word)) = (archon, model.as_str()) {
        let model = word.strip_prefix("minimax/").map(str::to_owned);
        return model.map(Some).ok_or_else(|| format!("model is {word:?}"));
    }
    if text(model, "provider_id")? != "minimax" {
        return Err("model.provider_id is not \"minimax\"".to_owned());
    }
    let team_off = body.get("team_mode_off") == Some(&json!(true));
    if !team_off && model.get("reasoning").and_then(Value::as_bool).is_none() {
        return Err("model.reasoning is missing or no boolean".to_owned());
    }
    text(model, "model_id").map(Some)
}

/// §4, §5: compact, in the page's order.
fn as_written(bytes: &[u8], written: &str, call: &mut Call) {
    if bytes != written.as_bytes() {
        call.violate("the body is not compact, or in another order than the page's");
    }
}

fn only(body: &Value, known: &[&str], call: &mut Call) -> Result<(), String> {
    let fields = body.as_object().ok_or("the body is no JSON object")?;
    if let Some(extra) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        call.violate(format!("the body has the unknown field {extra:?}"));
    }
    Ok(())
}

fn text(object: &Value, key: &str) -> Result<String, String> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{key} is {other}, not a string")),
        None => Err(format!("{key} is missing")),
    }
}

fn prompt(body: &Value, key: &str) -> Result<String, String> {
    text(body, key).and_then(|prompt| match prompt.is_empty() {
        true => Err(format!("{key} is empty")),
        false => Ok(prompt),
    })
}

fn attachments(list: &Value) -> Result<Vec<Value>, String> {
    let list = list.as_array().ok_or("attachments is no array")?;
    Ok(list.clone())
}

const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// Takes the flattened history apart again (§4).
pub(super) fn turns(prompt: &str) -> Result<Vec<Turn>, String> {
    let role = |line: &str| {
        ROLES
            .iter()
            .find(|role| {
                line.strip_prefix(**role)
                    .is_some_and(|rest| rest.starts_with(':'))
            })
            .copied()
    };
    let bare = || {
        vec![Turn {
            role: "user".to_owned(),
            text: prompt.to_owned(),
        }]
    };
    let Some(history) = prompt.strip_suffix("\nassistant:") else {
        let looks_like_one = role(prompt).is_some() && prompt.contains("\nuser:");
        return match looks_like_one {
            true => Err("the history does not end with assistant:".to_owned()),
            false => Ok(bare()),
        };
    };
    if role(prompt).is_none() {
        return Ok(bare());
    }
    let mut turns: Vec<Turn> = Vec::new();
    for line in history.split('\n') {
        match (role(line), turns.last_mut()) {
            (Some(role), _) => {
                let text = line.split_once(':').map(|(_, text)| text);
                turns.push(Turn {
                    role: role.to_owned(),
                    text: text.unwrap_or_default().to_owned(),
                });
            }
            (None, Some(turn)) => {
                turn.text.push('\n');
                turn.text.push_str(line);
            }
            (None, None) => {}
        }
    }
    Ok(turns)
}

/// Whether a prompt tells the service what it has answered itself.
pub(super) fn tells_a_history(turns: &[Turn]) -> bool {
    turns.iter().any(|turn| turn.role == "assistant")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_history_apart() {
        let turns = turns("system:Be brief.\nuser:Hi\nassistant:Hello\nuser:Why?\n\nx\nassistant:")
            .unwrap();
        let seen: Vec<_> = turns
            .iter()
            .map(|turn| (turn.role.as_str(), turn.text.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("system", "Be brief."),
                ("user", "Hi"),
                ("assistant", "Hello"),
                ("user", "Why?\n\nx")
            ]
        );
        assert_eq!(
            super::turns("user: one line").unwrap()[0].text,
            "user: one line"
        );
        assert!(super::turns("system:S\nuser:Hi").is_err());
    }
}
