//! `content` that is more than a text: parts of text, thinking, pictures, tool use. Source: the public API references of
//! Mistral (`thinking`), OpenAI (`output_text`, `refusal`) and Anthropic (`tool_use`).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::delta::Delta;
use crate::upstream::json;

/// Thinking within thinking: as deep as anybody has seen, and more.
const MOST_DEPTH: usize = 4;

/// Reads any value of `content` into the delta.
pub(super) fn read(content: Value, delta: &mut Delta<'_>) {
    match content {
        Value::String(text) => add(&mut delta.content, &text),
        Value::Array(parts) => parts.into_iter().for_each(|part| self::part(part, delta)),
        part @ Value::Object(_) => self::part(part, delta),
        Value::Null => {}
        scalar @ (Value::Bool(_) | Value::Number(_)) => {
            add(&mut delta.content, &scalar.to_string())
        }
    }
}

fn part(part: Value, delta: &mut Delta<'_>) {
    // Parts may hold what they like; what is none of the known forms is passed on.
    let Value::Object(members) = part else {
        return match part {
            Value::String(text) => add(&mut delta.content, &text),
            Value::Null => {}
            other => unknown(other, delta),
        };
    };
    let text = |names: &[&str]| names.iter().find_map(|name| members.get(*name)).map(said);
    let kind = members.get("type").and_then(Value::as_str);
    // Gemini's way to tell a thought.
    let is_thought = members.get("thought") == Some(&Value::Bool(true));
    // Without a type it is text: that is what a content is.
    match kind.unwrap_or(if is_thought { "thought" } else { "text" }) {
        "thinking" | "reasoning" | "reasoning_text" | "thought" => {
            let words = text(&["thinking", "reasoning", "text", "summary", "content"]);
            add(&mut delta.reasoning_content, &words.unwrap_or_default());
        }
        "tool_use" | "tool_call" | "function" => push_call(members, delta),
        "refusal" => {
            let words = text(&["refusal", "text"]).unwrap_or_default();
            delta
                .others
                .insert("refusal".to_owned(), json!(json::whole(&words)));
        }
        // A picture without an address is nothing a client could show.
        "image_url" | "output_image" | "image" => match picture(&members) {
            Some(url) => delta.pictures.push(url),
            None => unknown(Value::Object(members), delta),
        },
        // The last resort, and the usual one: a part with words is text.
        _ => match text(&["text", "content", "output_text"]) {
            Some(words) => add(&mut delta.content, &words),
            None => unknown(Value::Object(members), delta),
        },
    }
}

/// All text in a value: a text, an object that holds one, or a list of such.
fn said(value: &Value) -> String {
    let mut words = String::new();
    collect(value, &mut words, 0);
    words
}

fn collect(value: &Value, words: &mut String, depth: usize) {
    match value {
        Value::String(text) => words.push_str(text),
        Value::Array(list) if depth < MOST_DEPTH => {
            list.iter().for_each(|item| collect(item, words, depth + 1));
        }
        Value::Object(members) if depth < MOST_DEPTH => {
            let names = [
                "text",
                "value",
                "thinking",
                "content",
                "summary",
                "reasoning",
            ];
            if let Some(inner) = names.iter().find_map(|name| members.get(*name)) {
                collect(inner, words, depth + 1);
            }
        }
        Value::Bool(_) | Value::Number(_) => words.push_str(&value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {}
    }
}

/// The text of `reasoning_content` and the like, whatever its form.
pub(super) fn plain(value: &Value) -> Option<Cow<'static, str>> {
    Some(said(value))
        .filter(|text| !text.is_empty())
        // Empty thinking is none: an event of it would say that there is some.
        .map(Cow::Owned)
}

fn picture(members: &Map<String, Value>) -> Option<String> {
    let inner = members.get("image_url").or_else(|| members.get("url"))?;
    inner
        .as_str()
        .or_else(|| inner.get("url")?.as_str())
        .map(str::to_owned)
}

fn push_call(call: Map<String, Value>, delta: &mut Delta<'_>) {
    match &mut delta.tool_calls {
        Some(Value::Array(calls)) => calls.push(Value::Object(call)),
        Some(_) => {}
        None => delta.tool_calls = Some(Value::Array(vec![Value::Object(call)])),
    }
}

/// What cannot be understood is passed on.
fn unknown(mut part: Value, delta: &mut Delta<'_>) {
    json::make_whole(&mut part);
    // Passed on under a name of our own: what it means the client must know.
    let parts = delta
        .others
        .entry("content_parts")
        .or_insert_with(|| json!([]));
    if let Value::Array(parts) = parts {
        parts.push(part);
    }
}

fn add(text: &mut Option<Cow<'_, str>>, more: &str) {
    text.get_or_insert_default().to_mut().push_str(more);
}
