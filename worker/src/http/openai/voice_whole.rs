//! An answer in one piece: `chat.completion`. Source: conformance S13.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    usage::UsageMember,
    voice::{annotations, citations},
    voice_calls::Calls,
};
use crate::{
    chat::{FinishReason, Usage},
    http::answering::{Item, Source, Whole},
    impossible::OrImpossible as _,
};

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice>,
    usage: UsageMember,
    system_fingerprint: (),
    #[serde(skip_serializing_if = "Vec::is_empty")]
    citations: Vec<&'a str>,
}

#[derive(Serialize)]
struct Choice {
    index: usize,
    message: Message,
    logprobs: Value,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Option<String>,
    refusal: Value,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Value>,
    #[serde(flatten)]
    members: Map<String, Value>,
}

/// The body.
pub(super) fn render(
    id: &str,
    created: u64,
    model: &str,
    calls: &Calls,
    choices: Vec<Whole>,
    usage: Usage,
) -> Vec<u8> {
    let mut sources: Vec<Source> = Vec::new();
    let choices = choices
        .into_iter()
        .enumerate()
        .map(|(index, mut whole)| {
            let own = std::mem::take(&mut whole.sources);
            let choice = choice(index, whole, &own, calls);
            // Each choice names its own beside its text; the body lists those of all.
            sources.extend(own);
            choice
        })
        .collect();
    let completion = Completion {
        id,
        object: "chat.completion",
        created,
        model,
        choices,
        usage: usage.into(),
        system_fingerprint: (),
        citations: citations(sources.iter()),
    };
    serde_json::to_vec(&completion).or_impossible("our own types with string keys serialise")
}

fn choice(index: usize, mut whole: Whole, sources: &[Source], calls: &Calls) -> Choice {
    let (mut content, mut reasoning_content) = (String::new(), String::new());
    let mut tool_calls = Vec::new();
    for item in whole.items {
        match item {
            Item::Text(text) => join(&mut content, text),
            Item::Reasoning(text) => join(&mut reasoning_content, text),
            Item::Signature(_) | Item::Sealed(_) => {}
            Item::Call(call) => tool_calls.push(calls.whole(&call)),
        }
    }
    let refusal = whole.extra.remove("refusal").unwrap_or_default();
    let has_said_else = !tool_calls.is_empty() || refusal.as_str().is_some_and(|it| !it.is_empty());
    let is_null = content.is_empty() && has_said_else;
    let mut function_call = None;
    if calls.is_older_form() {
        // It has a place for one; the others of the round are lost to such a caller, as at OpenAI.
        function_call = tool_calls.drain(..).next();
    }
    let mut members = whole.extra;
    if !sources.is_empty() {
        let mut annotations = annotations(sources);
        match members.get_mut("annotations") {
            // What the upstream itself cites stays in front, as its numbers are in the text.
            Some(Value::Array(known)) => known.append(&mut annotations),
            _ => {
                members.insert("annotations".to_owned(), annotations.into());
            }
        }
    }
    Choice {
        index,
        message: Message {
            role: "assistant",
            // Null beside calls or a refusal alone, as the API has it; an answer of nothing at all is an empty text.
            content: (!is_null).then_some(content),
            refusal,
            reasoning_content,
            tool_calls,
            function_call,
            members,
        },
        logprobs: whole.logprobs,
        finish_reason: calls.finish(whole.finish.unwrap_or(FinishReason::Stop)),
    }
}

/// Nearly always there is one stretch, which is taken as it is.
fn join(whole: &mut String, text: String) {
    if whole.is_empty() {
        *whole = text;
    } else {
        whole.push_str(&text);
    }
}
