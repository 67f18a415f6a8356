//! The decoder as a whole: answers in, events out, at every split.

mod broken;
mod format;
mod model;
mod vectors;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    fact::FactKind,
    found::{End, Found},
    nonce::Nonce,
    schema::Offered,
    turn::{Round, Settings, Taken, Turn},
};
use crate::chat::{ChatRequest, Json, Message, Role, Tool, ToolChoice};

pub(super) const NONCE: &str = "k7q2";

/// Of the answer: words, or thoughts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Words(&'a str),
    Thoughts(&'a str),
}

pub(super) fn tool(name: &str, schema: Value) -> Tool {
    Tool::function(name, "d", Some(Json::new(schema.to_string()).unwrap()))
}

pub(super) fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// The tools of the vectors. Source: tools.md section 14.
pub(super) fn tools() -> Vec<Tool> {
    let (text, integer) = (json!({"type": "string"}), json!({"type": "integer"}));
    let edit = object(json!({"old": text, "new": text}), &["old", "new"]);
    let mut pick = object(
        json!({"color": {"enum": ["red", "green", "blue"]}, "tags": {"type": "array", "items": text},
            "note": {"type": ["string", "null"]}}),
        &["color"],
    );
    pick["additionalProperties"] = json!(false);
    vec![
        tool(
            "read",
            object(
                json!({"path": text, "offset": integer, "limit": integer}),
                &["path"],
            ),
        ),
        tool(
            "write",
            object(json!({"path": text, "content": text}), &["path", "content"]),
        ),
        tool(
            "run",
            object(
                json!({"command": text, "timeout": integer, "env": {"type": "object"}}),
                &["command"],
            ),
        ),
        tool(
            "edit",
            object(
                json!({"path": text, "edits": {"type": "array", "items": edit}}),
                &["path", "edits"],
            ),
        ),
        tool("ping", object(json!({}), &[])),
        tool(
            "set",
            object(
                json!({"key": text, "value": {"type": ["string", "number", "boolean", "null"]}}),
                &["key", "value"],
            ),
        ),
        tool("pick", pick),
        Tool::function("free", "d", None),
    ]
}

/// What a vector asks for beyond the default.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) choice: ToolChoice,
    pub(super) is_strict: bool,
    pub(super) is_serial: bool,
    pub(super) round: Round,
    pub(super) taken: Option<Taken>,
    pub(super) tools: Option<Vec<Tool>>,
}

pub(super) fn settings(asked: &Asked) -> Settings {
    let mut tools = asked.tools.clone().unwrap_or_else(tools);
    for tool in &mut tools {
        tool.is_strict = asked.is_strict;
    }
    let request = ChatRequest {
        tools,
        tool_choice: asked.choice.clone(),
        parallel_tool_calls: asked.is_serial.then_some(false),
        ..ChatRequest::new("m", vec![Message::new(Role::User, "x")])
    };
    Settings {
        nonce: Nonce::new(NONCE).unwrap(),
        offered: Arc::new(Offered::new(&request).unwrap()),
        bare_json: true,
        turn_marks: &["<|im_start|>"],
        taken: asked.taken,
        round: asked.round,
    }
}

pub(super) fn decode(settings: &Settings, pieces: &[Said<'_>], end: End) -> Vec<Found> {
    let (mut turn, mut found) = (Turn::new(settings.clone()), Vec::new());
    for piece in pieces {
        match piece {
            Said::Words(text) => turn.text((*text).to_owned(), &mut found),
            Said::Thoughts(text) => turn.reasoning((*text).to_owned(), &mut found),
        }
    }
    turn.finish(end, &mut found);
    found
}

/// Events as one line: words in quotes, calls as `name{arguments}`, what else there is by its name.
pub(super) fn line(found: &[Found]) -> String {
    let (mut line, mut text, mut thoughts) = (Vec::new(), String::new(), String::new());
    for found in found {
        if !matches!(found, Found::Text(_) | Found::Left(_) | Found::Reasoning(_))
            && !text.is_empty()
        {
            line.push(Value::from(std::mem::take(&mut text)).to_string());
        }
        match found {
            Found::Text(more) => text.push_str(more),
            Found::Reasoning(more) => thoughts.push_str(more),
            Found::Call(call) => line.push(format!("{}{}", &*call.name, call.arguments)),
            Found::Over => line.push("stop".to_owned()),
            Found::Again(fact) => {
                assert!(fact.to_string().chars().count() <= 200, "{fact}");
                line.push(format!("again: {}", fact.kind.label()));
            }
            Found::Failed(failure) => line.push(failure.code().to_owned()),
            Found::Left(_) => {}
        }
    }
    if !text.is_empty() {
        line.push(Value::from(text).to_string());
    }
    if !thoughts.is_empty() {
        line.insert(0, format!("({thoughts})"));
    }
    line.join(" ")
}

fn words<'a>(said: Said<'a>, text: &'a str) -> Said<'a> {
    match said {
        Said::Words(_) => Said::Words(text),
        Said::Thoughts(_) => Said::Thoughts(text),
    }
}

/// Decodes whole, byte by byte and at every split in two.
#[track_caller]
pub(super) fn at_every_split(settings: &Settings, said: &[Said<'_>], end: End) -> String {
    let whole = line(&decode(settings, said, end));
    let mut single = Vec::new();
    for &part in said {
        let (Said::Words(text) | Said::Thoughts(text)) = part;
        single.extend(text.split_inclusive(|_| true).map(|c| words(part, c)));
    }
    assert_eq!(
        line(&decode(settings, &single, end)),
        whole,
        "byte by byte: {said:?}"
    );
    for (place, &part) in said.iter().enumerate() {
        let (Said::Words(text) | Said::Thoughts(text)) = part;
        for (at, _) in text.char_indices() {
            let (head, tail) = text.split_at(at);
            let mut split = said.to_vec();
            split[place] = words(part, head);
            split.insert(place + 1, words(part, tail));
            assert_eq!(
                line(&decode(settings, &split, end)),
                whole,
                "split at {at} of {said:?}"
            );
        }
    }
    whole
}

pub(super) fn second(because: FactKind) -> Round {
    Round::Second { because }
}
