//! The voice of messages: the events of a stream, and the message of an answer in one piece ([`super::voice_whole`]).
//! Source: doors.md section 14, conformance section 6.
//!
//! ```text
//!   New ──begin──► Between ──open──► Open ──close──► Between ──finish──► Over
//!                     ▲               │ ▲              │
//!                     └─── (ping) ────┘ └── delta ─────┘        fail: from anywhere but New to Over
//! ```
//! Only `open`, `close` and `delta` write of blocks, and each asks for its state, so that no order of pieces makes an
//! illegal stream.

use std::{fmt::Write as _, sync::Arc};

use bytes::{BufMut as _, BytesMut};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{usage::UsageMember, voice_whole};
use crate::{
    chat::{ChatRequest, FinishReason, ToolCallDelta, Usage},
    http::{
        answering::{Piece, Voice, Whole},
        dialect::Dialect,
        error::ApiError,
    },
};

/// About how long a delta is without its text.
const USUAL_PIECE_BYTES: usize = 160;

/// Says an answer as a message.
#[derive(Debug)]
pub(in crate::http) struct MessagesVoice {
    request: Arc<ChatRequest>,
    request_id: String,
    id: String,
    state: State,
    /// Of the next block.
    index: u32,
    /// The beginning of each delta of the open block; rendered when it is opened.
    head: String,
    finish: Option<FinishReason>,
    /// The upstream has refused in words of its own.
    has_refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Between,
    Open(Kind),
    Over,
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Thinking,
    Text,
    /// The call with this index, and whether something was said of its arguments.
    Call(u32, bool),
}

impl Kind {
    /// The type of its deltas, and the member that has the text.
    fn delta(self) -> (&'static str, &'static str) {
        match self {
            Self::Thinking => ("thinking_delta", "thinking"),
            Self::Text => ("text_delta", "text"),
            Self::Call(..) => ("input_json_delta", "partial_json"),
        }
    }
}

impl MessagesVoice {
    pub(in crate::http) fn new(request: Arc<ChatRequest>, request_id: String) -> Self {
        Self {
            request,
            request_id,
            id: format!("msg_{}", Uuid::new_v4().simple()),
            state: State::New,
            index: 0,
            head: String::new(),
            finish: None,
            has_refused: false,
        }
    }

    /// A piece of a block of this kind, which is opened where another one is, or none.
    fn inside(&mut self, out: &mut BytesMut, kind: Kind, text: &str) {
        // An empty block would be none, and clients show it all the same.
        if text.is_empty() {
            return;
        }
        // Another kind, another call, or none: each has a block of its own.
        if self.state != State::Open(kind) {
            self.close(out);
            let block = match kind {
                Kind::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
                Kind::Text | Kind::Call(..) => json!({"type": "text", "text": ""}),
            };
            self.open(out, kind, &block);
        }
        self.delta(out, text);
    }

    /// The seal of the thinking that is open, which ends with it. Nobody's thoughts are given one here: the block's own
    /// stays empty then.
    fn seal(&mut self, out: &mut BytesMut, seal: &str) {
        if self.state != State::Open(Kind::Thinking) {
            self.close(out);
            // Thinking that was not shown may be sealed all the same, and comes back by its seal alone.
            let block = json!({"type": "thinking", "thinking": "", "signature": ""});
            self.open(out, Kind::Thinking, &block);
        }
        let index = self.index;
        event(out, "content_block_delta", |out| {
            let delta = json!({"type": "signature_delta", "signature": seal});
            put_json(
                out,
                &json!({"type": "content_block_delta", "index": index, "delta": delta}),
            );
        });
        // Thinking ends with its seal: nothing may follow it in the block.
        self.close(out);
    }

    /// A block that comes whole, as its service tells it: there is nothing in it to read piece by piece.
    fn sealed(&mut self, out: &mut BytesMut, thought: &str) {
        self.close(out);
        self.open(out, Kind::Thinking, &voice_whole::sealed(thought));
        self.close(out);
    }

    fn call(&mut self, out: &mut BytesMut, call: &ToolCallDelta) {
        let is_open =
            matches!(self.state, State::Open(Kind::Call(index, _)) if index == call.index);
        if !is_open {
            self.close(out);
            let block = voice_whole::tool_use(call, Value::Object(serde_json::Map::new()));
            self.open(out, Kind::Call(call.index, false), &block);
        }
        if !call.arguments.is_empty() {
            self.delta(out, &call.arguments);
            // Arguments have come: only an empty call is closed with `{}`.
            self.state = State::Open(Kind::Call(call.index, true));
        }
    }

    fn open(&mut self, out: &mut BytesMut, kind: Kind, block: &Value) {
        debug_assert_eq!(self.state, State::Between, "a block within a block");
        let (index, (delta, member)) = (self.index, kind.delta());
        event(out, "content_block_start", |out| {
            put_json(
                out,
                &json!({"type": "content_block_start", "index": index, "content_block": block}),
            );
        });
        // Rendered once for a block: every delta of it begins with this.
        self.head.clear();
        // Memory cannot fail to be written.
        let _ = write!(
            self.head,
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"{delta}\",\"{member}\":"
        );
        self.state = State::Open(kind);
    }

    fn delta(&self, out: &mut BytesMut, text: &str) {
        debug_assert!(matches!(self.state, State::Open(_)), "a piece of no block");
        out.put_slice(self.head.as_bytes());
        put_json(out, text);
        out.put_slice(b"}}\n\n");
    }

    /// Closes the block that is open, if one is.
    fn close(&mut self, out: &mut BytesMut) {
        let State::Open(kind) = self.state else {
            return;
        };
        if matches!(kind, Kind::Call(_, false)) {
            // Clients parse what they have gathered, and nothing is no JSON (conformance T4).
            self.delta(out, "{}");
        }
        let index = self.index;
        event(out, "content_block_stop", |out| {
            put_json(out, &json!({"type": "content_block_stop", "index": index}));
        });
        // The next block's number: they are counted from 0 and never given back.
        self.index += 1;
        self.state = State::Between;
    }
}

impl Voice for MessagesVoice {
    const NAME: &'static str = "message";

    fn piece_bytes(&self) -> usize {
        USUAL_PIECE_BYTES
    }

    fn begin(&mut self, out: &mut BytesMut) {
        debug_assert_eq!(self.state, State::New, "a stream begins once");
        self.state = State::Between;
        let message = voice_whole::Message {
            id: &self.id,
            kind: "message",
            role: "assistant",
            model: &self.request.model,
            content: Vec::new(),
            stop: voice_whole::Stop::default(),
            usage: UsageMember::before(self.request.prompt_tokens()),
        };
        event(out, "message_start", |out| {
            put_json(
                out,
                &MessageStart {
                    kind: "message_start",
                    message,
                },
            );
        });
    }

    fn piece(&mut self, out: &mut BytesMut, _: usize, piece: Piece) {
        debug_assert!(
            !matches!(self.state, State::New | State::Over),
            "a piece outside of the stream"
        );
        match piece {
            Piece::Text(text) => self.inside(out, Kind::Text, &text),
            Piece::Reasoning(text) => self.inside(out, Kind::Thinking, &text),
            Piece::Signature(seal) => self.seal(out, &seal),
            Piece::Sealed(thought) => self.sealed(out, &thought),
            Piece::ToolCall(call) => self.call(out, &call),
            Piece::Extra(members) => {
                if let Some(Value::String(refusal)) = members.get("refusal") {
                    self.has_refused = true;
                    self.inside(out, Kind::Text, refusal);
                }
            }
            Piece::Finish(reason) => self.finish = self.finish.or(Some(reason)),
            // A citation whose place was made up would be refused when it comes back.
            Piece::Sources(_) | Piece::Logprobs(_) => {}
        }
    }

    fn finish(&mut self, out: &mut BytesMut, usage: Usage) {
        debug_assert!(
            !matches!(self.state, State::New | State::Over),
            "an end of no stream"
        );
        // An open block is closed before the end, or it would stay open.
        self.close(out);
        self.state = State::Over;
        // Only now: the reason comes last, and the refusal may be in the answer.
        let stop = voice_whole::Stop::new(self.finish, self.has_refused, &self.request.stop);
        event(out, "message_delta", |out| {
            let usage = UsageMember::from(usage);
            put_json(
                out,
                &MessageDelta {
                    kind: "message_delta",
                    delta: stop,
                    usage,
                },
            );
        });
        event(out, "message_stop", |out| {
            out.put_slice(b"{\"type\":\"message_stop\"}");
        });
    }

    /// Nothing follows it, and what is open stays open: clients keep what they have.
    fn fail(&mut self, out: &mut BytesMut, error: &ApiError) {
        debug_assert!(
            !matches!(self.state, State::New | State::Over),
            "an error of no stream"
        );
        self.state = State::Over;
        event(out, "error", |out| {
            put_json(
                out,
                &Dialect::Anthropic.error_in_stream(error, &self.request_id),
            );
        });
    }

    fn ping(&mut self, out: &mut BytesMut) {
        debug_assert!(
            !matches!(self.state, State::New | State::Over),
            "a ping outside of the stream"
        );
        event(out, "ping", |out| out.put_slice(b"{\"type\":\"ping\"}"));
    }

    fn whole(self, choices: Vec<Whole>, usage: Usage) -> Vec<u8> {
        voice_whole::render(&self.id, &self.request, choices, usage)
    }
}

#[derive(Serialize)]
struct MessageStart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: voice_whole::Message<'a>,
}

#[derive(Serialize)]
struct MessageDelta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    delta: voice_whole::Stop<'a>,
    usage: UsageMember,
}

/// One event: SDKs pass over those without a name.
fn event(out: &mut BytesMut, name: &str, data: impl FnOnce(&mut BytesMut)) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\ndata: ");
    data(out);
    out.put_slice(b"\n\n");
}

fn put_json<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    let written = serde_json::to_writer(out.writer(), value);
    // Strings, numbers and our own types cannot fail to serialise, and memory cannot fail to be written.
    debug_assert!(written.is_ok(), "{written:?}");
}

#[cfg(test)]
#[path = "voice_tests.rs"]
mod tests;
