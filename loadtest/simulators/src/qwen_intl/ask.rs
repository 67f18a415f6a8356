//! Reading the body of `POST /api/v2/chat/completions`, member by member. Source: wire/qwen_intl.md §4.3 to §4.6.

use serde_json::{Map, Value, json};

use crate::{
    Call, Turn,
    fields::{exactly, text},
    request::is_uuid,
};

/// The kinds that are asked here.
pub(super) const KINDS: [&str; 6] = ["t2t", "search", "t2i", "image_edit", "t2v", "i2v"];
const RATIOS: [&str; 5] = ["1:1", "4:3", "3:4", "16:9", "9:16"];

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) chat: String,
    /// The answer that it follows; none in a new chat.
    pub(super) parent: Option<String>,
    pub(super) model: String,
    pub(super) kind: String,
    pub(super) prompt: String,
    pub(super) thinking: bool,
    pub(super) search: bool,
    pub(super) size: Option<String>,
    pub(super) increments: bool,
    pub(super) files: Vec<Value>,
}

impl Ask {
    pub(super) fn is_video(&self) -> bool {
        matches!(self.kind.as_str(), "t2v" | "i2v")
    }

    pub(super) fn is_picture(&self) -> bool {
        matches!(self.kind.as_str(), "t2i" | "image_edit")
    }
}

/// Reads the question; `Err` says in a sentence what is wrong with it.
pub(super) fn read(body: &Value, now: u64, call: &mut Call) -> Result<Ask, String> {
    let body = body.as_object().ok_or("the body is no JSON object")?;
    let messages = body.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or("messages is missing or no array")?;
    let [message] = messages.as_slice() else {
        return Err("there is not exactly one message".to_owned());
    };
    let message = message.as_object().ok_or("the message is no object")?;
    let kind = text(message, "chat_type")?;
    if !KINDS.contains(&kind.as_str()) {
        return Err(format!("chat_type is {kind:?}"));
    }
    let is_video = matches!(kind.as_str(), "t2v" | "i2v");
    let (model, chat) = (text(body, "model")?, text(body, "chat_id")?);
    let increments = body.get("incremental_output").and_then(Value::as_bool);
    let increments = increments.ok_or("incremental_output is missing or no boolean")?;
    let parent = match body.get("parent_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
        Some(other) => return Err(format!("parent_id is {other}")),
    };
    let mut rest = body.clone();
    rest.remove("messages");
    let size = size(&mut rest, &kind, call)?;
    exactly(
        &rest,
        "the body",
        json!({"stream": !is_video, "version": "2.1", "incremental_output": increments, "chat_id": chat,
            "chat_mode": "normal", "model": model, "parent_id": parent, "timestamp": seconds(body, now)?}),
        call,
    )?;
    let mut plain = message.clone();
    let feature = plain.remove("feature_config").unwrap_or_default();
    let files = plain.remove("files").unwrap_or_default();
    let extra = plain.remove("extra").unwrap_or_default();
    let (prompt, fid) = (text(message, "content")?, text(message, "fid")?);
    if !is_uuid(&fid) {
        return Err(format!("fid {fid:?} is no UUID"));
    }
    exactly(
        &plain,
        "the message",
        json!({"fid": fid, "parentId": parent, "childrenIds": [], "role": "user", "content": prompt, "user_action": "chat",
            "timestamp": seconds(message, now)?, "models": [model], "chat_type": kind, "sub_chat_type": kind}),
        call,
    )?;
    let mut meta = json!({"subChatType": kind});
    if kind == "i2v"
        && let Some(size) = &size
    {
        meta["size"] = json!(size);
    }
    if extra != json!({"meta": meta}) {
        return Err(format!("extra of the message is {extra}"));
    }
    let thinking = features(&feature, call)?;
    let files = files.as_array().ok_or("files is missing or no array")?;
    let wants_files = matches!(kind.as_str(), "image_edit" | "i2v");
    if wants_files && files.is_empty() {
        return Err(format!("{kind} has no picture"));
    }
    if matches!(kind.as_str(), "t2i" | "t2v") && !files.is_empty() {
        return Err(format!("{kind} has a picture"));
    }
    if prompt.is_empty() && files.is_empty() {
        return Err("the question is empty".to_owned());
    }
    Ok(Ask {
        chat,
        parent,
        model,
        search: kind == "search",
        kind,
        prompt,
        thinking,
        size,
        increments,
        files: files.clone(),
    })
}

/// §4.3: for what is drawn and filmed, one of five; a pixel size is refused.
fn size(
    body: &mut Map<String, Value>,
    kind: &str,
    call: &mut Call,
) -> Result<Option<String>, String> {
    let size = body.remove("size");
    let wants = matches!(kind, "t2i" | "t2v" | "i2v");
    match size {
        None if wants => {
            call.violate(format!("{kind} has no size"));
            Ok(None)
        }
        None => Ok(None),
        Some(_) if !wants => Err(format!("{kind} has a size")),
        Some(Value::String(size)) if RATIOS.contains(&size.as_str()) => Ok(Some(size)),
        Some(size) => Err(format!("size is {size}")),
    }
}

/// Unix seconds of this minute.
fn seconds(object: &Map<String, Value>, now: u64) -> Result<Value, String> {
    let sent = object.get("timestamp").and_then(Value::as_u64);
    let sent = sent.ok_or("timestamp is missing or no number")?;
    if sent.abs_diff(now) > 60 {
        return Err(format!("timestamp {sent} is not now, in seconds"));
    }
    Ok(json!(sent))
}

fn features(feature: &Value, call: &mut Call) -> Result<bool, String> {
    let feature = feature.as_object().ok_or("feature_config is missing")?;
    let thinking = feature.get("thinking_enabled").and_then(Value::as_bool);
    let thinking = thinking.ok_or("thinking_enabled is missing or no boolean")?;
    let mode = if thinking { "Thinking" } else { "Fast" };
    let mut feature = feature.clone();
    // §4.3: may be sent along with thinking.
    if let Some(budget) = feature.remove("thinking_budget") {
        let budget = budget.as_u64().filter(|tokens| thinking && *tokens > 0);
        call.note(
            "thinking_budget",
            budget.ok_or("thinking_budget is no number, or nobody thinks")?,
        );
    }
    exactly(
        &feature,
        "feature_config",
        json!({"thinking_enabled": thinking, "output_schema": "phase", "research_mode": "normal", "auto_thinking": false,
            "thinking_mode": mode, "auto_search": false}),
        call,
    )?;
    Ok(thinking)
}

const ROLES: [&str; 3] = ["system", "user", "assistant"];

/// Takes the transcript apart again (§4.3).
pub(super) fn turns(prompt: &str) -> Vec<Turn> {
    let head = |block: &str| {
        ROLES.iter().find_map(|role| {
            let text = block.strip_prefix(role)?.strip_prefix(':')?;
            Some(((*role).to_owned(), text.to_owned()))
        })
    };
    if head(prompt).is_none() || !prompt.contains("\n\n") {
        return vec![Turn {
            role: "user".to_owned(),
            text: prompt.to_owned(),
        }];
    }
    let mut turns: Vec<Turn> = Vec::new();
    for block in prompt.split("\n\n") {
        match (head(block), turns.last_mut()) {
            (Some((role, text)), _) => turns.push(Turn { role, text }),
            (None, Some(turn)) => {
                turn.text.push_str("\n\n");
                turn.text.push_str(block);
            }
            (None, None) => {}
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_transcript_apart() {
        let seen = |prompt: &str| {
            let turns = turns(prompt).into_iter();
            turns.map(|turn| (turn.role, turn.text)).collect::<Vec<_>>()
        };
        let pair = |role: &str, text: &str| (role.to_owned(), text.to_owned());
        assert_eq!(
            seen("system:S\n\nT\n\nuser:a\n\nassistant:b\n\nuser:c"),
            [
                pair("system", "S\n\nT"),
                pair("user", "a"),
                pair("assistant", "b"),
                pair("user", "c")
            ]
        );
        assert_eq!(seen("plain\n\nuser:x"), [pair("user", "plain\n\nuser:x")]);
    }
}
