//! An answer in one piece: `chat.completion`. Source: conformance S13.

use std::{
    collections::HashMap,
    future::poll_fn,
    task::{Context, Poll},
};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Piece, UsageMember, total_usage},
    trace::Trace,
};
use crate::{
    chat::{
        ChatEvent, ChatRequest, FinishReason, Kind, ProviderError, ToolCallDelta, fields,
        limits::{self, Limits},
        tokens,
    },
    http::error::ApiError,
    providers::{Run, dispatch::Progress},
};

/// Most bytes of one choice. An answer that goes on for ever would fill the memory.
const MOST_BYTES: usize = 64 << 20;
/// What a piece costs beside its text.
const PIECE_BYTES: usize = 64;

/// One choice being gathered.
struct Choice {
    run: Run,
    answer: Answer,
    message: Message,
    is_over: bool,
}

#[derive(Default)]
struct Message {
    content: String,
    reasoning: String,
    tool_calls: Vec<ToolCallDelta>,
    /// Where in `tool_calls` the call with an index is.
    calls: HashMap<u32, usize>,
    members: Map<String, Value>,
    logprobs: Value,
    finish: Option<FinishReason>,
    /// About how much of the memory it takes.
    bytes: usize,
}

/// Waits for all choices and renders the body.
///
/// # Errors
/// That of the first choice that fails.
pub(super) async fn gather(
    choices: Vec<(Run, Answer)>,
    request: &ChatRequest,
    id: &str,
    created: u64,
    trace: &mut Trace,
) -> Result<Vec<u8>, ApiError> {
    let mut choices: Vec<Choice> = choices
        .into_iter()
        .map(|(run, answer)| Choice {
            run,
            answer,
            message: Message::default(),
            is_over: false,
        })
        .collect();
    poll_fn(|cx| poll_all(&mut choices, request, trace, cx)).await?;
    let answers: Vec<&Answer> = choices.iter().map(|choice| &choice.answer).collect();
    let usage = total_usage(&answers, || tokens::count_messages(&request.messages));
    trace.usage = Some(usage);
    let choices = choices
        .into_iter()
        .enumerate()
        .map(|(index, choice)| choice.message.into_choice(index));
    let completion = Completion {
        id,
        object: "chat.completion",
        created,
        model: &request.model,
        choices: choices.collect(),
        usage: usage.into(),
        system_fingerprint: (),
    };
    // Our own types with string keys cannot fail to serialise.
    Ok(serde_json::to_vec(&completion).unwrap_or_default())
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<WholeChoice>,
    usage: UsageMember,
    system_fingerprint: (),
}

#[derive(Serialize)]
struct WholeChoice {
    index: usize,
    message: WholeMessage,
    logprobs: Value,
    finish_reason: FinishReason,
}

#[derive(Serialize)]
struct WholeMessage {
    role: &'static str,
    content: Option<String>,
    refusal: Value,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(flatten)]
    members: Map<String, Value>,
}

fn poll_all(
    choices: &mut [Choice],
    request: &ChatRequest,
    trace: &mut Trace,
    cx: &mut Context<'_>,
) -> Poll<Result<(), ApiError>> {
    let mut events = Vec::new();
    for choice in choices.iter_mut().filter(|choice| !choice.is_over) {
        loop {
            let progress = match choice.run.poll_events(cx, &mut events) {
                Poll::Pending => break,
                Poll::Ready(progress) => progress,
            };
            if events.iter().any(ChatEvent::is_output) {
                trace.piece(|| choice.run.served());
            }
            for event in events.drain(..) {
                let message = &mut choice.message;
                choice
                    .answer
                    .take(event, |piece| message.add(piece, request));
            }
            if choice.message.bytes > MOST_BYTES {
                trace.served = choice.run.served();
                let error =
                    ProviderError::new(Kind::Protocol, "the provider's answer is too large");
                return Poll::Ready(Err(error.into()));
            }
            match progress {
                Progress::Events => {}
                Progress::Over(Ok(())) => {
                    choice.is_over = true;
                    break;
                }
                Progress::Over(Err(error)) => {
                    trace.served = choice.run.served();
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }
    if choices.iter().all(|choice| choice.is_over) {
        Poll::Ready(Ok(()))
    } else {
        Poll::Pending
    }
}

impl Message {
    fn add(&mut self, piece: Piece, request: &ChatRequest) {
        self.bytes += PIECE_BYTES + piece.text_bytes();
        match piece {
            Piece::Content(text) => self.content.push_str(&text),
            Piece::Reasoning(text) => self.reasoning.push_str(&text),
            Piece::ToolCall(call) => {
                let at = *self
                    .calls
                    .entry(call.index)
                    .or_insert(self.tool_calls.len());
                match self.tool_calls.get_mut(at) {
                    Some(known) => known.arguments.push_str(&call.arguments),
                    None => self.tool_calls.push(call),
                }
            }
            Piece::Members(members) => self.add_members(members),
            Piece::Logprobs(logprobs) => self.add_logprobs(logprobs),
            // Only providers whose limits the gateway watches correct themselves.
            Piece::Corrected(text) => {
                let (text, met) = limits::cut(
                    Limits::new(request, |field| fields::support(&[], field)),
                    text,
                );
                self.content = text;
                self.finish = met;
            }
            Piece::Finish(reason) => self.finish = self.finish.or(Some(reason)),
        }
    }

    /// A refusal comes in pieces of text, and lists (`annotations`, …) in pieces as well; of others the last counts.
    fn add_members(&mut self, members: Map<String, Value>) {
        for (name, value) in members {
            match (self.members.get_mut(&name), value) {
                (Some(Value::Array(list)), Value::Array(mut more)) => list.append(&mut more),
                (Some(Value::String(text)), Value::String(more)) if name == "refusal" => {
                    text.push_str(&more);
                }
                (_, value) => {
                    self.members.insert(name, value);
                }
            }
        }
    }

    /// Token lists of several chunks become one.
    fn add_logprobs(&mut self, new: Value) {
        match (&mut self.logprobs, new) {
            (Value::Object(known), Value::Object(new)) => {
                for (name, value) in new {
                    match (known.get_mut(&name), value) {
                        (Some(Value::Array(list)), Value::Array(mut more)) => {
                            list.append(&mut more)
                        }
                        (_, value) => {
                            known.insert(name, value);
                        }
                    }
                }
            }
            (logprobs, new) => *logprobs = new,
        }
    }

    fn into_choice(mut self, index: usize) -> WholeChoice {
        let is_only_calls = self.content.is_empty() && !self.tool_calls.is_empty();
        let call = |call: ToolCallDelta| {
            let arguments = if call.arguments.is_empty() {
                "{}"
            } else {
                call.arguments.as_str()
            };
            json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
        };
        WholeChoice {
            index,
            message: WholeMessage {
                role: "assistant",
                content: (!is_only_calls).then_some(self.content),
                refusal: self.members.remove("refusal").unwrap_or_default(),
                reasoning_content: self.reasoning,
                tool_calls: self.tool_calls.into_iter().map(call).collect(),
                members: self.members,
            },
            logprobs: self.logprobs,
            finish_reason: self.finish.unwrap_or(FinishReason::Stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(pieces: impl IntoIterator<Item = Piece>) -> Message {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
        let request = super::super::body::read(body.into()).unwrap();
        let mut message = Message::default();
        for piece in pieces {
            message.add(piece, &request);
        }
        message
    }

    /// 160,000 calls blocked an event loop for 44 s.
    #[test]
    fn calls_cost_no_more_than_they_are_many() {
        let call = |index: u32| {
            Piece::ToolCall(ToolCallDelta {
                index,
                id: None,
                name: None,
                arguments: "1".into(),
            })
        };
        let many = 160_000;
        let started = std::time::Instant::now();
        let message = message((0..many).chain(0..many).map(call));
        assert_eq!(message.tool_calls.len(), many as usize);
        assert_eq!(message.tool_calls[7].arguments, "11");
        assert!(started.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn members_in_pieces_are_put_together() {
        let piece = |members: Value| {
            let Value::Object(members) = members else {
                panic!()
            };
            Piece::Members(members)
        };
        let message = message([
            piece(json!({"refusal": "I ", "annotations": [1], "x": "a"})),
            piece(json!({"refusal": "can't.", "annotations": [2], "x": "b"})),
        ]);
        assert_eq!(
            Value::Object(message.members),
            json!({"refusal": "I can't.", "annotations": [1, 2], "x": "b"})
        );
    }
}
