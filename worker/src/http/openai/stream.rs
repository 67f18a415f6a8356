//! A streamed answer: server-sent events in OpenAI's shape, rendered as they come. Source: conformance section 2.
//! The parts of a chunk that never change are rendered once a stream; text is escaped straight into the buffer.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, Sleep};

use super::{
    answer::{Answer, Piece, UsageMember, total_usage},
    trace::Trace,
};
use crate::{
    chat::{ChatEvent, ChatRequest, FinishReason, ToolCallDelta, tokens},
    http::{dialect::Dialect, error::ApiError},
    providers::{Run, dispatch::Progress},
};

/// Ends in a blank line, which is safe because no event of ours has an id (conformance S9).
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// About how long a chunk is without its constant head.
const USUAL_PIECE_BYTES: usize = 128;

/// One choice being streamed.
pub(super) struct Choice {
    pub(super) run: Run,
    pub(super) answer: Answer,
    /// Events that came while the status line was held back.
    pub(super) waiting: Vec<ChatEvent>,
    pub(super) is_over: bool,
    has_role: bool,
}

impl Choice {
    pub(super) fn new(run: Run, answer: Answer) -> Self {
        Self {
            run,
            answer,
            waiting: Vec::new(),
            is_over: false,
            has_role: false,
        }
    }

    fn has_ended(&self) -> bool {
        self.is_over && self.waiting.is_empty()
    }

    /// Takes the next events, if any, and renders them.
    fn step(
        &mut self,
        index: usize,
        frame: &Frame,
        trace: &mut Trace,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Poll<Result<(), ApiError>> {
        let mut events = std::mem::take(&mut self.waiting);
        if events.is_empty() {
            match ready!(self.run.poll_events(cx, &mut events)) {
                Progress::Events => {}
                Progress::Over(Ok(())) => {
                    self.is_over = true;
                    events.push(ChatEvent::Finish(FinishReason::Stop));
                }
                Progress::Over(Err(error)) => {
                    trace.served = self.run.served();
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        if !self.is_over && events.iter().any(ChatEvent::is_output) {
            trace.piece(|| self.run.served());
        }
        out.reserve(events.len() * (frame.head.len() + USUAL_PIECE_BYTES));
        for event in events {
            let has_role = &mut self.has_role;
            // A second `Finish` is none: providers end their answers themselves, the one above is for the others.
            self.answer
                .take(event, |piece| frame.piece(out, index, has_role, piece));
        }
        Poll::Ready(Ok(()))
    }
}

/// The constant parts of a chunk.
struct Frame {
    head: String,
    tail: &'static str,
}

/// The body of a streamed answer. Dropped when the client goes away, and with it the upstream calls.
pub(super) struct StreamBody {
    choices: Vec<Choice>,
    request: Arc<ChatRequest>,
    frame: Frame,
    trace: Trace,
    ping: Pin<Box<Sleep>>,
    ping_interval: Duration,
    last_output: Instant,
    is_done: bool,
    /// The head goes out without an event: a comment goes with it, as some clients and what stands between take a head
    /// alone for no answer.
    starts_with_comment: bool,
}

impl StreamBody {
    pub(super) fn new(
        choices: Vec<Choice>,
        request: Arc<ChatRequest>,
        id: &str,
        created: u64,
        trace: Trace,
        ping_interval: Duration,
        starts_with_comment: bool,
    ) -> Self {
        let model = serde_json::Value::from(request.model.as_str());
        let head = format!(
            r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":{model},"choices":["#
        );
        let tail = if request.include_usage {
            "],\"usage\":null}\n\n"
        } else {
            "]}\n\n"
        };
        Self {
            choices,
            request,
            frame: Frame { head, tail },
            trace,
            ping: Box::pin(tokio::time::sleep(ping_interval)),
            ping_interval,
            last_output: Instant::now(),
            is_done: false,
            starts_with_comment,
        }
    }

    /// Renders what is there; `Err` when a choice failed. Each choice is polled until it has given something to
    /// send or is pending: events that render to nothing must not be mistaken for "no news", because a provider
    /// that waits for its events to be taken has left no waker behind.
    fn advance(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Result<(), ApiError> {
        for (index, choice) in self.choices.iter_mut().enumerate() {
            let before = out.len();
            while out.len() == before && !choice.has_ended() {
                match choice.step(index, &self.frame, &mut self.trace, cx, out) {
                    Poll::Pending => break,
                    Poll::Ready(result) => result?,
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut BytesMut) {
        self.is_done = true;
        let answers: Vec<&Answer> = self.choices.iter().map(|choice| &choice.answer).collect();
        let messages = &self.request.messages;
        let usage = total_usage(&answers, || {
            if self.request.wants_usage() {
                tokens::count_messages(messages)
            } else {
                tokens::estimate_messages(messages)
            }
        });
        if self.request.include_usage {
            out.put_slice(self.frame.head.as_bytes());
            out.put_slice(b"],\"usage\":");
            put_json(out, &UsageMember::from(usage));
            out.put_slice(b"}\n\n");
        }
        out.put_slice(b"data: [DONE]\n\n");
        self.trace.usage = Some(usage);
        self.trace.end(200, None);
    }

    fn fail(&mut self, error: &ApiError, out: &mut BytesMut) {
        self.is_done = true;
        out.put_slice(b"data: ");
        put_json(out, &Dialect::OpenAi.error_body(error, ""));
        out.put_slice(b"\n\n");
        self.trace.end(error.status.as_u16(), error.code.clone());
        // Stop the other choices now rather than when the connection has been closed.
        self.choices.clear();
    }
}

impl MessageBody for StreamBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if this.is_done {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut this.starts_with_comment) {
            this.last_output = Instant::now();
            this.trace.bytes += KEEP_ALIVE.len();
            return Poll::Ready(Some(Ok(Bytes::from_static(KEEP_ALIVE))));
        }
        let mut out = BytesMut::new();
        loop {
            match this.advance(cx, &mut out) {
                Err(error) => this.fail(&error, &mut out),
                Ok(()) if this.choices.iter().all(Choice::has_ended) => this.finish(&mut out),
                Ok(()) => {}
            }
            if !out.is_empty() {
                this.last_output = Instant::now();
                this.trace.bytes += out.len();
                return Poll::Ready(Some(Ok(out.freeze())));
            }
            // The timer is only looked at, not reset, for every piece: one that fires early is set anew.
            if this.ping.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let due = this.last_output + this.ping_interval;
            if due <= Instant::now() {
                out.put_slice(KEEP_ALIVE);
                this.ping
                    .as_mut()
                    .reset(Instant::now() + this.ping_interval);
            } else {
                this.ping.as_mut().reset(due);
            }
        }
    }
}

impl Frame {
    /// One piece as one chunk, or two when it is the first of its choice.
    fn piece(&self, out: &mut BytesMut, index: usize, has_role: &mut bool, piece: Piece) {
        if !std::mem::replace(has_role, true) {
            let content = if matches!(piece, Piece::ToolCall(_)) {
                json!(null)
            } else {
                json!("")
            };
            self.chunk(out, index, None, |out| {
                put_json(out, &json!({"role": "assistant", "content": content}))
            });
        }
        match piece {
            Piece::Content(text) => {
                self.chunk(out, index, None, |out| put_member(out, "content", &text))
            }
            Piece::Reasoning(text) => self.chunk(out, index, None, |out| {
                put_member(out, "reasoning_content", &text)
            }),
            Piece::ToolCall(call) => self.chunk(out, index, None, |out| {
                put_json(out, &json!({"tool_calls": [tool_call(&call)]}))
            }),
            Piece::Members(members) => self.chunk(out, index, None, |out| put_json(out, &members)),
            Piece::Logprobs(logprobs) => {
                self.chunk_with(out, index, None, &logprobs, |out| out.put_slice(b"{}"))
            }
            Piece::Finish(reason) => {
                self.chunk(out, index, Some(reason), |out| out.put_slice(b"{}"))
            }
            Piece::Corrected(_) => {}
        }
    }

    fn chunk(
        &self,
        out: &mut BytesMut,
        index: usize,
        finish: Option<FinishReason>,
        delta: impl FnOnce(&mut BytesMut),
    ) {
        self.chunk_with(out, index, finish, &serde_json::Value::Null, delta);
    }

    fn chunk_with(
        &self,
        out: &mut BytesMut,
        index: usize,
        finish: Option<FinishReason>,
        logprobs: &serde_json::Value,
        delta: impl FnOnce(&mut BytesMut),
    ) {
        out.put_slice(self.head.as_bytes());
        out.put_slice(b"{\"index\":");
        put_json(out, &index);
        out.put_slice(b",\"delta\":");
        delta(out);
        match (finish, logprobs) {
            // Nearly all of them.
            (None, serde_json::Value::Null) => {
                out.put_slice(b",\"logprobs\":null,\"finish_reason\":null}");
            }
            (finish, logprobs) => {
                out.put_slice(b",\"logprobs\":");
                put_json(out, logprobs);
                out.put_slice(b",\"finish_reason\":");
                put_json(out, &finish);
                out.put_u8(b'}');
            }
        }
        out.put_slice(self.tail.as_bytes());
    }
}

/// One entry of `tool_calls`: all members in a call's first piece, index and arguments in the later ones (T2).
pub(super) fn tool_call(call: &ToolCallDelta) -> serde_json::Value {
    match (&call.id, &call.name) {
        (None, None) => json!({"index": call.index, "function": {"arguments": call.arguments}}),
        (id, name) => {
            json!({"index": call.index, "id": id, "type": "function", "function": {"name": name, "arguments": call.arguments}})
        }
    }
}

fn put_member(out: &mut BytesMut, name: &str, text: &str) {
    out.put_slice(b"{\"");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\":");
    put_json(out, text);
    out.put_u8(b'}');
}

fn put_json<T: Serialize + ?Sized>(out: &mut BytesMut, value: &T) {
    // Strings, numbers and our own types cannot fail to serialise, and memory cannot fail to be written.
    let _ = serde_json::to_writer(out.writer(), value);
}
