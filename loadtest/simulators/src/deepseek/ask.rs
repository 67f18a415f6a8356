//! Reading the body of `POST /api/v0/chat/completion`, field by field. Source: wire/deepseek.md §4.

use serde_json::Value;

use super::refusal::{self, Refusal};
use crate::{Call, Turn};

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) session: String,
    pub(super) parent: Option<u64>,
    pub(super) prompt: String,
    pub(super) files: Vec<String>,
    pub(super) thinking: bool,
    pub(super) search: bool,
    pub(super) model: &'static str,
}

impl Ask {
    /// The characters that the model takes.
    pub(super) fn limit(&self) -> usize {
        if self.model == "expert" {
            163_840
        } else {
            2_621_440
        }
    }
}

const FIELDS: [&str; 11] = [
    "chat_session_id",
    "parent_message_id",
    "prompt",
    "ref_file_ids",
    "thinking_enabled",
    "search_enabled",
    "model_type",
    "preempt",
    "action",
    "source",
    "client_stream_id",
];

/// Reads the question. A field that is missing or of another type is HTTP 422.
/// `today`: what the site of 2026-11 always sends is missed.
pub(super) fn read(body: &Value, call: &mut Call, today: bool) -> Result<Ask, Refusal> {
    let missing = |call: &mut Call, name: &str| {
        call.violate(format!("{name} is missing or has another type"));
        refusal::missing(name)
    };
    let Some(fields) = body.as_object() else {
        return Err(missing(call, "chat_session_id"));
    };
    if let Some(extra) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        call.violate(format!("the body has the unknown field {extra:?}"));
    }
    let text = |call: &mut Call, name: &str| {
        let text = body.get(name).and_then(Value::as_str);
        text.map(ToOwned::to_owned)
            .ok_or_else(|| missing(call, name))
    };
    let flag = |call: &mut Call, name: &str| {
        let flag = body.get(name).and_then(Value::as_bool);
        flag.ok_or_else(|| missing(call, name))
    };
    let parent = match body.get("parent_message_id") {
        Some(Value::Null) => None,
        Some(id) if id.is_u64() => id.as_u64(),
        _ => return Err(missing(call, "parent_message_id")),
    };
    let files = body.get("ref_file_ids").and_then(Value::as_array);
    let files: Option<Vec<_>> =
        files.and_then(|ids| ids.iter().map(|id| id.as_str().map(Into::into)).collect());
    let Some(files) = files else {
        return Err(missing(call, "ref_file_ids"));
    };
    optional(body, call)?;
    for name in ["source", "action", "preempt", "model_type"] {
        if today && body.get(name).is_none() {
            call.violate(format!("the site sends {name} always"));
        }
    }
    let model = match body.get("model_type") {
        None | Some(Value::Null) => "default",
        Some(model) => ["default", "expert", "vision"]
            .into_iter()
            .find(|known| model == known)
            .ok_or_else(|| {
                call.violate(format!("there is no model_type {model}"));
                refusal::biz(2, "INVALID_PARAM")
            })?,
    };
    let ask = Ask {
        session: text(call, "chat_session_id")?,
        parent,
        prompt: text(call, "prompt")?,
        files,
        thinking: flag(call, "thinking_enabled")?,
        search: flag(call, "search_enabled")?,
        model,
    };
    if ask.model == "vision" && ask.search {
        call.violate("vision cannot search");
    }
    if ask.model == "expert" && !ask.files.is_empty() {
        call.violate("expert silently ignores files");
    }
    if ask.prompt.is_empty() && ask.files.is_empty() {
        call.violate("the prompt is empty");
        return Err(refusal::biz(2, "INVALID_PARAM"));
    }
    Ok(ask)
}

/// The fields that only some clients send.
fn optional(body: &Value, call: &mut Call) -> Result<(), Refusal> {
    let refused = |call: &mut Call, name: &str| {
        call.violate(format!("{name} has another type"));
        Err(refusal::missing(name))
    };
    if body
        .get("preempt")
        .is_some_and(|preempt| !preempt.is_boolean())
    {
        return refused(call, "preempt");
    }
    if body.get("action").is_some_and(|action| !action.is_null()) {
        return refused(call, "action");
    }
    if body.get("source").is_some_and(|source| !source.is_string()) {
        return refused(call, "source");
    }
    let Some(stream) = body.get("client_stream_id") else {
        return Ok(());
    };
    let well_formed = |id: &str| {
        id.split_once('-').is_some_and(|(day, rest)| {
            day.len() == 8
                && day.chars().all(|c| c.is_ascii_digit())
                && rest.len() == 16
                && rest.chars().all(|c| c.is_ascii_hexdigit())
        })
    };
    match stream.as_str() {
        Some(id) if well_formed(id) => Ok(()),
        _ => refused(call, "client_stream_id"),
    }
}

const USER: &str = "<｜User｜>";
const ASSISTANT: &str = "<｜Assistant｜>";
const END: &str = "<｜end▁of▁sentence｜>";
const OUTPUTS: &str = "<｜tool▁outputs▁begin｜>";
const OUTPUTS_END: &str = "<｜tool▁outputs▁end｜>";
const OUTPUT: &str = "<｜tool▁output▁begin｜>";
const OUTPUT_END: &str = "<｜tool▁output▁end｜>";
const TURNS: [&str; 3] = [USER, ASSISTANT, OUTPUTS];

/// Takes the flattened history apart again (§4). `Err` says what is wrong with it.
pub(super) fn turns(prompt: &str) -> Result<Vec<Turn>, String> {
    let turn = |role: &str, text: &str| Turn {
        role: role.to_owned(),
        text: text.to_owned(),
    };
    let (system, mut rest) = upto_turn(prompt);
    if rest.is_empty() {
        return Ok(vec![turn("user", prompt)]);
    }
    let mut turns = Vec::new();
    if !system.is_empty() {
        turns.push(turn("system", system));
    }
    while !rest.is_empty() {
        if let Some(said) = rest.strip_prefix(USER) {
            let (text, after) = upto_turn(said);
            turns.push(turn("user", text));
            rest = after;
        } else if let Some(said) = rest.strip_prefix(ASSISTANT) {
            let (text, after) = said
                .split_once(END)
                .ok_or("an assistant's turn is not closed by its end marker")?;
            turns.push(turn("assistant", text));
            rest = after;
        } else if let Some(said) = rest.strip_prefix(OUTPUTS) {
            let (outputs, after) = said
                .split_once(OUTPUTS_END)
                .ok_or("tool outputs are not closed by their end marker")?;
            turns.extend(tool_outputs(outputs)?.map(|text| turn("tool", text)));
            rest = after;
        } else {
            return Err("text between two turns".to_owned());
        }
    }
    if turns.iter().any(|turn| holds_marker(&turn.text)) {
        return Err("the text of a turn holds a literal marker".to_owned());
    }
    if turns.last().is_some_and(|turn| turn.role == "assistant") {
        return Err("the last turn is an assistant's".to_owned());
    }
    let same = |pair: &[Turn]| matches!(pair, [a, b] if a.role == b.role && a.role != "tool");
    if turns.windows(2).any(same) {
        return Err("neighbours of the same role are not merged".to_owned());
    }
    Ok(turns)
}

/// What stands before the next turn, and the rest.
fn upto_turn(text: &str) -> (&str, &str) {
    let at = TURNS.iter().filter_map(|marker| text.find(marker)).min();
    at.and_then(|at| text.split_at_checked(at))
        .unwrap_or((text, ""))
}

fn tool_outputs(text: &str) -> Result<impl Iterator<Item = &str>, String> {
    let mut outputs = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (output, after) = rest
            .strip_prefix(OUTPUT)
            .and_then(|rest| rest.split_once(OUTPUT_END))
            .ok_or("a tool output is not between its markers")?;
        outputs.push(output);
        rest = after;
    }
    Ok(outputs.into_iter())
}

fn holds_marker(text: &str) -> bool {
    let markers = [
        USER,
        ASSISTANT,
        END,
        OUTPUTS,
        OUTPUTS_END,
        OUTPUT,
        OUTPUT_END,
    ];
    markers.iter().any(|marker| text.contains(marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(prompt: &str) -> Vec<(String, String)> {
        let turns = turns(prompt).unwrap();
        turns
            .into_iter()
            .map(|turn| (turn.role, turn.text))
            .collect()
    }

    #[test]
    fn takes_the_history_apart() {
        let prompt = "S\n\nT<｜User｜>a\n<｜Assistant｜>b<｜end▁of▁sentence｜><｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>x\
                      <｜tool▁output▁end｜><｜tool▁outputs▁end｜><｜User｜>echo:c";
        let expected = [
            ("system", "S\n\nT"),
            ("user", "a\n"),
            ("assistant", "b"),
            ("tool", "x"),
            ("user", "echo:c"),
        ]
        .map(|(role, text)| (role.to_owned(), text.to_owned()));
        assert_eq!(shown(prompt), expected);
        assert_eq!(shown("plain [User]: a")[0].1, "plain [User]: a");
    }

    #[test]
    fn refuses_a_broken_history() {
        for prompt in [
            "S<｜User｜>a<｜Assistant｜>",
            "<｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜>",
            "<｜User｜>a<｜User｜>b",
            "<｜User｜>a<｜end▁of▁sentence｜>",
            "<｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜>c<｜User｜>d",
            "<｜User｜>a<｜tool▁outputs▁begin｜>b<｜tool▁outputs▁end｜>",
        ] {
            assert!(turns(prompt).is_err(), "{prompt:?}");
        }
    }
}
