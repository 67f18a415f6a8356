//! Reading the body of `POST …/assistant/stream`, field by field. Source: wire/zhipu.md §4.2, §4.3.

use serde_json::Value;

use crate::{Call, Turn};

pub(super) const MAIN: &str = "65940acff94777010aa6b796";
pub(super) const DRAWING: &str = "65a232c082ff90a2ad2f15e2";
/// Refused with 10025.
pub(super) const REFUSED: &str = "68f0b8c110eea3e78b0e0e5e";

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) assistant: String,
    pub(super) conversation: String,
    pub(super) prompt: String,
    pub(super) mode: String,
    pub(super) networking: bool,
    pub(super) selected_model: Option<String>,
    /// `if_increase_push` was sent as true.
    pub(super) increments: bool,
    pub(super) files: Vec<Attached>,
}

impl Ask {
    /// §6.3: only these modes think.
    pub(super) fn thinks(&self) -> bool {
        matches!(
            self.mode.as_str(),
            "zero" | "deep_thinking" | "deep_research"
        )
    }

    /// The tag of the model that answers, as measured.
    pub(super) fn tag(&self) -> &'static str {
        match self.selected_model.as_deref() {
            Some("glm-5.3") => "moe_53",
            Some("glm-5" | "glm-4.7") => "moe_52",
            _ => "moe_53f",
        }
    }
}

/// An upload in the question, as it was given.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) is_image: bool,
    pub(super) item: Value,
}

const FIELDS: [&str; 7] = [
    "assistant_id",
    "conversation_id",
    "project_id",
    "chat_type",
    "messages",
    "meta_data",
    "if_plus_model",
];

const META: [&str; 12] = [
    "cogview",
    "is_test",
    "input_question_type",
    "channel",
    "draft_id",
    "chat_mode",
    "is_networking",
    "quote_log_id",
    "platform",
    "if_increase_push",
    "selected_model",
    "reasoning_effort",
];

const MODES: [&str; 7] = [
    "zero",
    "",
    "deep_research",
    "normal",
    "deep_thinking",
    "video",
    "ppt",
];

/// Reads the question; `Err` says in a sentence what is wrong with it.
pub(super) fn read(body: &Value, call: &mut Call) -> Result<Ask, String> {
    only(body, &FIELDS, "the body", call)?;
    constant(body, "project_id", "")?;
    constant(body, "chat_type", "user_chat")?;
    if body.get("if_plus_model").is_some() {
        flag(body, "if_plus_model")?;
    }
    let assistant = text(body, "assistant_id")?;
    let meta = body.get("meta_data").ok_or("meta_data is missing")?;
    only(meta, &META, "meta_data", call)?;
    constant(meta, "input_question_type", "xxxx")?;
    for name in ["channel", "draft_id", "quote_log_id"] {
        constant(meta, name, "")?;
    }
    constant(meta, "platform", "pc")?;
    if flag(meta, "is_test")? {
        return Err("meta_data.is_test is true".to_owned());
    }
    let increments = meta.get("if_increase_push").is_some() && flag(meta, "if_increase_push")?;
    let selected_model = meta
        .get("selected_model")
        .map(|_| text(meta, "selected_model"))
        .transpose()?;
    if let Some(model) = &selected_model {
        let number = model.strip_prefix("glm-");
        if !number.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            call.violate(format!("meta_data.selected_model is {model:?}"));
        }
    }
    let mode = mode(meta, call)?;
    let (prompt, files) = message(body, call)?;
    cogview(meta, &assistant, &prompt, call)?;
    Ok(Ask {
        assistant,
        conversation: text(body, "conversation_id")?,
        prompt,
        mode,
        networking: flag(meta, "is_networking")?,
        selected_model,
        increments,
        files,
    })
}

fn mode(meta: &Value, call: &mut Call) -> Result<String, String> {
    let mode = text(meta, "chat_mode")?;
    if !MODES.contains(&mode.as_str()) {
        return Err(format!("meta_data.chat_mode is {mode:?}"));
    }
    let effort = meta.get("reasoning_effort");
    let deep = mode == "deep_thinking";
    if effort.is_some_and(|effort| effort != "max") || deep != effort.is_some() {
        call.violate("deep_thinking and reasoning_effort \"max\" are only effective together");
    }
    Ok(mode)
}

/// §4.2, §4.3: what a picture should look like.
fn cogview(meta: &Value, assistant: &str, prompt: &str, call: &mut Call) -> Result<(), String> {
    let cogview = meta.get("cogview").ok_or("meta_data.cogview is missing")?;
    if flag(cogview, "rm_label_watermark")? {
        call.violate("meta_data.cogview.rm_label_watermark is true");
    }
    if assistant != DRAWING {
        return only(cogview, &["rm_label_watermark"], "meta_data.cogview", call);
    }
    let ratio = text(cogview, "aspect_ratio")?;
    let sides = ratio.split_once(':');
    let number = |side: &str| side.parse::<u32>().is_ok_and(|side| side > 0);
    if !sides.is_some_and(|(width, height)| number(width) && number(height)) {
        return Err(format!("meta_data.cogview.aspect_ratio is {ratio:?}"));
    }
    for (name, value) in [("style", "none"), ("scene", "none"), ("chat_model", "")] {
        constant(cogview, name, value)?;
    }
    if !prompt.contains('画') {
        call.violate("a drawing's text does not say 画");
    }
    Ok(())
}

/// The only message that is read.
fn message(body: &Value, call: &mut Call) -> Result<(String, Vec<Attached>), String> {
    let messages = body.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or("messages is missing or no array")?;
    if messages.len() > 1 {
        call.violate("only the first of the messages is read");
    }
    let message = messages.first().ok_or("messages is empty")?;
    constant(message, "role", "user")?;
    let items = message.get("content").and_then(Value::as_array);
    let mut prompt = None;
    let mut files = Vec::new();
    for item in items.ok_or("content is missing or no array")? {
        match text(item, "type")?.as_str() {
            "text" if prompt.is_none() => prompt = Some(text(item, "text")?),
            "text" => return Err("content has a second text".to_owned()),
            kind @ ("image" | "file") => {
                let list = item.get(kind).and_then(Value::as_array);
                let list = list.ok_or_else(|| format!("{kind} is missing or no array"))?;
                files.extend(list.iter().map(|one| Attached {
                    is_image: kind == "image",
                    item: one.clone(),
                }));
            }
            // §4.2: silently ignored.
            other => call.violate(format!("content has the unknown type {other:?}")),
        }
    }
    let prompt = prompt
        .filter(|prompt| !prompt.is_empty())
        .ok_or("content has no text")?;
    Ok((prompt, files))
}

fn only(object: &Value, known: &[&str], what: &str, call: &mut Call) -> Result<(), String> {
    let fields = object
        .as_object()
        .ok_or_else(|| format!("{what} is no JSON object"))?;
    if let Some(extra) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        call.violate(format!("{what} has the unknown field {extra:?}"));
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

fn constant(object: &Value, key: &str, value: &str) -> Result<(), String> {
    let sent = text(object, key)?;
    if sent == value {
        Ok(())
    } else {
        Err(format!("{key} is {sent:?}, not {value:?}"))
    }
}

fn flag(object: &Value, key: &str) -> Result<bool, String> {
    object
        .get(key)
        .and_then(Value::as_bool)
        .ok_or_else(|| format!("{key} is missing or no boolean"))
}

const ROLES: [(&str, &str); 3] = [
    ("<|system|>\n", "system"),
    ("<|user|>\n", "user"),
    ("<|assistant|>\n", "assistant"),
];

/// Takes the flattened history apart again (§4.2). A tool's result is part of a user's turn.
pub(super) fn turns(prompt: &str) -> Result<Vec<Turn>, String> {
    let at_start = |text: &str| {
        ROLES
            .iter()
            .find(|(marker, _)| text.starts_with(marker))
            .copied()
    };
    if at_start(prompt).is_none() {
        return Ok(vec![Turn {
            role: "user".to_owned(),
            text: prompt.to_owned(),
        }]);
    }
    let Some(history) = prompt.strip_suffix("<|assistant|>\n") else {
        return Err("the history does not end with <|assistant|>".to_owned());
    };
    let mut turns: Vec<Turn> = Vec::new();
    for line in history.split_inclusive('\n') {
        match (at_start(line), turns.last_mut()) {
            (Some((marker, role)), _) => turns.push(Turn {
                role: role.to_owned(),
                text: line.strip_prefix(marker).unwrap_or_default().to_owned(),
            }),
            (None, Some(turn)) => turn.text.push_str(line),
            (None, None) => {}
        }
    }
    for turn in &mut turns {
        // The line feed that closes the turn.
        let text = turn
            .text
            .strip_suffix('\n')
            .ok_or("a turn does not end in a line feed")?;
        turn.text = text.to_owned();
    }
    if turns.is_empty() {
        return Err("the history is empty".to_owned());
    }
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_history_apart() {
        let prompt = "<|system|>\nS\n\nT\n<|user|>\na\n\n<|assistant|>\nb\n<|user|>\nTool x: 1\n<|assistant|>\n";
        let turns = turns(prompt).unwrap();
        let seen: Vec<_> = turns
            .iter()
            .map(|turn| (turn.role.as_str(), turn.text.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("system", "S\n\nT"),
                ("user", "a\n"),
                ("assistant", "b"),
                ("user", "Tool x: 1")
            ]
        );
        assert_eq!(
            super::turns("plain <|user|>").unwrap()[0].text,
            "plain <|user|>"
        );
    }

    #[test]
    fn refuses_a_broken_history() {
        for prompt in [
            "<|user|>\na\n",
            "<|system|>\na",
            "<|assistant|>\n",
            "<|user|>\na<|assistant|>\n",
        ] {
            assert!(turns(prompt).is_err(), "{prompt:?}");
        }
    }
}
