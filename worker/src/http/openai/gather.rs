//! An answer in one piece: `chat.completion`. Source: conformance S13.

use std::{
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
        ChatEvent, ChatRequest, FinishReason, ToolCallDelta, fields,
        limits::{self, Limits},
        tokens,
    },
    http::error::ApiError,
    providers::{Run, dispatch::Progress},
};

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
    members: Map<String, Value>,
    logprobs: Value,
    finish: Option<FinishReason>,
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
        match piece {
            Piece::Content(text) => self.content.push_str(&text),
            Piece::Reasoning(text) => self.reasoning.push_str(&text),
            Piece::ToolCall(call) => match self
                .tool_calls
                .iter_mut()
                .find(|known| known.index == call.index)
            {
                Some(known) => known.arguments.push_str(&call.arguments),
                None => self.tool_calls.push(call),
            },
            Piece::Members(mut members) => self.members.append(&mut members),
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
