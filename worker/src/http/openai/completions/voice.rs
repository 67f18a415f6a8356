//! The voice of completions. Source: OpenAI's public API reference, Completions.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, BytesMut};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{super::usage::UsageMember, body::Asks, fence::Unfence};
use crate::{
    chat::{FinishReason, Text, Usage},
    http::{
        answering::{Item, Piece, Voice, Whole},
        dialect::Dialect,
        error::ApiError,
    },
    impossible::OrImpossible as _,
};

/// About how long a chunk is without its text.
const USUAL_PIECE_BYTES: usize = 220;

/// Says an answer as a completion.
#[derive(Debug)]
pub(super) struct CompletionVoice {
    id: String,
    created: u64,
    model: String,
    include_usage: bool,
    /// What stands before each text; `None` once it has been said.
    choices: Vec<Choice>,
}

#[derive(Debug)]
struct Choice {
    echo: Option<Text>,
    unfence: Option<Unfence>,
}

impl Choice {
    /// The text that may be said after a piece of the answer.
    fn say(&mut self, piece: &str, is_end: bool) -> String {
        let mut text = self
            .echo
            .take()
            .map(|echo| echo.to_string())
            // Empty after the first piece: `take` has given it out, so that it stands before the text once.
            .unwrap_or_default();
        match &mut self.unfence {
            None => text.push_str(piece),
            Some(unfence) => {
                text.push_str(&unfence.feed(piece));
                if is_end {
                    text.push_str(&unfence.finish());
                }
            }
        }
        text
    }
}

impl CompletionVoice {
    pub(super) fn new(asks: &Asks) -> Self {
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .or_impossible("the clock is past 1970");
        let first = asks.requests.first();
        let choices = asks.requests.iter().enumerate().flat_map(|(at, request)| {
            // Choices are numbered prompt by prompt, as the reference has it: all texts for the first, then for the
            // second.
            (0..request.n).map(move |_| Choice {
                echo: asks.echoes.get(at).cloned(),
                unfence: asks.fills_in.then(Unfence::default),
            })
        });
        Self {
            id: format!("cmpl-{}", Uuid::new_v4().simple()),
            created: created.as_secs(),
            model: first
                // Empty only for a body without prompts, which never comes here.
                .map(|request| request.model.clone())
                .unwrap_or_default(),
            include_usage: first.is_some_and(|request| request.include_usage),
            choices: choices.collect(),
        }
    }

    fn say(&mut self, choice: usize, piece: &str, is_end: bool) -> String {
        let choice = self.choices.get_mut(choice);
        choice
            .map(|choice| choice.say(piece, is_end))
            // A choice beyond those asked for says nothing, rather than to be a panic in the middle of a stream.
            .unwrap_or_default()
    }

    fn object(&self, choices: Value) -> Value {
        json!({"id": self.id, "object": "text_completion", "created": self.created, "model": self.model, "choices": choices})
    }

    fn chunk(&self, out: &mut BytesMut, index: usize, text: &str, finish: Option<&str>) {
        put(out, &self.object(json!([choice(index, text, finish)])));
    }
}

fn choice(index: usize, text: &str, finish: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish})
}

/// The dialect knows no calls, and nobody has offered any.
fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::ToolCalls => "stop",
        reason => reason.as_str(),
    }
}

fn put(out: &mut BytesMut, event: &Value) {
    out.put_slice(b"data: ");
    out.put_slice(event.to_string().as_bytes());
    out.put_slice(b"\n\n");
}

impl Voice for CompletionVoice {
    const NAME: &'static str = "completion";

    fn piece_bytes(&self) -> usize {
        USUAL_PIECE_BYTES
    }

    fn begin(&mut self, _: &mut BytesMut) {}

    fn piece(&mut self, out: &mut BytesMut, index: usize, piece: Piece) {
        match piece {
            Piece::Text(text) => {
                let text = self.say(index, &text, false);
                if !text.is_empty() {
                    self.chunk(out, index, &text, None);
                }
            }
            Piece::Finish(reason) => {
                let rest = self.say(index, "", true);
                if !rest.is_empty() {
                    self.chunk(out, index, &rest, None);
                }
                self.chunk(out, index, "", Some(word(reason)));
            }
            // It has no words for them.
            Piece::Reasoning(_)
            | Piece::Signature(_)
            | Piece::Sealed(_)
            | Piece::ToolCall(_)
            | Piece::Sources(_)
            | Piece::Extra(_)
            | Piece::Logprobs(_) => {}
        }
    }

    fn finish(&mut self, out: &mut BytesMut, usage: Usage) {
        if self.include_usage {
            let mut last = self.object(json!([]));
            last["usage"] = json!(UsageMember::from(usage));
            put(out, &last);
        }
        out.put_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, out: &mut BytesMut, error: &ApiError) {
        put(out, &Dialect::OpenAi.error_in_stream(error, ""));
    }

    fn ping(&mut self, out: &mut BytesMut) {
        out.put_slice(b": keep-alive\n\n");
    }

    fn whole(mut self, choices: Vec<Whole>, usage: Usage) -> Vec<u8> {
        let mut said = Vec::with_capacity(choices.len());
        for (index, whole) in choices.into_iter().enumerate() {
            let mut text = String::new();
            for item in whole.items {
                if let Item::Text(more) = item {
                    text.push_str(&more);
                }
            }
            let text = self.say(index, &text, true);
            // An answer that ends without a reason has ended by itself, as every provider that has no word for it means
            // it.
            let reason = whole.finish.unwrap_or(FinishReason::Stop);
            said.push(choice(index, &text, Some(word(reason))));
        }
        let mut body = self.object(said.into());
        body["usage"] = json!(UsageMember::from(usage));
        body.to_string().into_bytes()
    }
}
