//! A streamed answer: pieces go into the door's voice as they come, and what it writes goes out at once.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, Sleep, timeout};

use super::{
    follow::{Follower, total_usage},
    record::Record,
    voice::Voice,
};
use crate::{
    chat::{ChatEvent, ChatRequest, FinishReason, tokens},
    http::error::{ApiError, Overflow},
    providers::{Run, Served, run::Progress},
};

/// One choice being streamed.
struct Choice {
    run: Run,
    follower: Follower,
    /// Events that came and are not yet said: while the status line is held back they gather here.
    waiting: Vec<ChatEvent>,
    is_over: bool,
}

impl Choice {
    fn has_ended(&self) -> bool {
        self.is_over && self.waiting.is_empty()
    }

    /// The run is over. Providers end their answers themselves, and this is for those that do not: a second end is none.
    fn end(&mut self) {
        self.is_over = true;
        self.waiting.push(ChatEvent::Finish(FinishReason::Stop));
    }

    /// Takes the next events, if any, and lets the voice say them.
    fn step<V: Voice>(
        &mut self,
        index: usize,
        voice: &mut V,
        record: &mut Record,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Poll<Result<(), ApiError>> {
        // What gathered while the status line was held is said before anybody is asked for more.
        if self.waiting.is_empty() {
            match ready!(self.run.poll_events(cx, &mut self.waiting)) {
                Progress::Events => {}
                Progress::Over(Ok(())) => self.end(),
                Progress::Over(Err(error)) => {
                    record.served = self.run.served();
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        // The first output is the time to first token; the end that the engine adds is none.
        if !self.is_over && self.waiting.iter().any(ChatEvent::is_output) {
            record.piece(|| self.run.served());
        }
        // At once for all of them: a piece at a time would grow the buffer as often.
        out.reserve(self.waiting.len() * voice.piece_bytes());
        for event in self.waiting.drain(..) {
            self.follower
                .take(event, |piece| voice.piece(out, index, piece));
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the next events until one of them is output; `Ready` then, and at the end.
    fn wait_for_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        loop {
            let before = self.waiting.len();
            match ready!(self.run.poll_events(cx, &mut self.waiting)) {
                Progress::Events => {
                    // Only the new ones: those before were looked at when they came.
                    if self.waiting.iter().skip(before).any(ChatEvent::is_output) {
                        return Poll::Ready(Ok(()));
                    }
                }
                Progress::Over(Ok(())) => {
                    self.end();
                    return Poll::Ready(Ok(()));
                }
                Progress::Over(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// The choices of a stream whose status line may go out now.
pub(super) struct Held {
    choices: Vec<Choice>,
    /// The time for the first output is over, and there is none.
    is_late: bool,
}

impl Held {
    /// Who answers, as far as it is known.
    pub(super) fn served(&self) -> Served {
        let first = self.choices.first();
        first.map(|choice| choice.run.served()).unwrap_or_default()
    }
}

/// Holds the status line back until some choice has output, for as long as `patience` at most; all events are kept for the
/// stream.
///
/// # Errors
/// That of the first choice that fails before there is output.
pub(super) async fn hold(
    runs: impl Iterator<Item = (Run, Follower)>,
    patience: Duration,
    record: &mut Record,
) -> Result<Held, ApiError> {
    let mut choices: Vec<Choice> = runs
        .map(|(run, follower)| Choice {
            run,
            follower,
            waiting: Vec::new(),
            is_over: false,
        })
        .collect();
    let first_output = poll_fn(|cx| {
        // In order, but whichever has something first lets the head go for all.
        for choice in choices.iter_mut().filter(|choice| !choice.is_over) {
            if let Poll::Ready(result) = choice.wait_for_output(cx) {
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    });
    let first = timeout(patience, first_output).await;
    if let Ok(Err(error)) = first {
        // Whoever failed, all choices have the same route.
        record.served = choices
            .first()
            .map(|choice| choice.run.served())
            .unwrap_or_default();
        return Err(error);
    }
    Ok(Held {
        choices,
        is_late: first.is_err(),
    })
}

/// The body of a streamed answer. Dropped when the client goes away, and with it the upstream calls.
pub(super) struct StreamBody<V> {
    choices: Vec<Choice>,
    request: Arc<ChatRequest>,
    /// How many tokens the model takes, where somebody knows.
    window: Option<u64>,
    voice: V,
    ping: Pin<Box<Sleep>>,
    ping_interval: Duration,
    last_output: Instant,
    has_begun: bool,
    /// The head goes out without an event: something goes with it, as some clients and what stands between take a head
    /// alone for no answer.
    is_late: bool,
    is_done: bool,
    /// After the choices, so that their clean-up has begun when the request counts as over.
    record: Record,
}

impl<V: Voice> StreamBody<V> {
    pub(super) fn new(
        held: Held,
        request: Arc<ChatRequest>,
        window: Option<u64>,
        voice: V,
        record: Record,
        ping_interval: Duration,
    ) -> Self {
        Self {
            choices: held.choices,
            request,
            window,
            voice,
            ping: Box::pin(tokio::time::sleep(ping_interval)),
            ping_interval,
            last_output: Instant::now(),
            has_begun: false,
            is_late: held.is_late,
            is_done: false,
            record,
        }
    }

    fn begin(&mut self, out: &mut BytesMut) {
        self.has_begun = true;
        self.voice.begin(out);
        // Only where nothing was said by `begin`: one sign of life is enough.
        if self.is_late && out.is_empty() {
            self.voice.ping(out);
        }
    }

    /// Says what is there; `Err` when a choice failed. Each choice is polled until it has given something to
    /// send or is pending: events that nothing is said of must not be mistaken for "no news", because a provider
    /// that waits for its events to be taken has left no waker behind.
    fn advance(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> Result<(), ApiError> {
        for (index, choice) in self.choices.iter_mut().enumerate() {
            let before = out.len();
            while out.len() == before && !choice.has_ended() {
                match choice.step(index, &mut self.voice, &mut self.record, cx, out) {
                    Poll::Pending => break,
                    // Out at once: no other choice may say anything behind an error.
                    Poll::Ready(result) => result?,
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut BytesMut) {
        self.is_done = true;
        let request = &self.request;
        let followers = self.choices.iter().map(|choice| &choice.follower);
        let usage = total_usage(followers, || {
            // Clients who do not ask for usage get no count; logs and limits are content with an estimate.
            if request.wants_usage() {
                request.prompt_tokens()
            } else {
                tokens::estimate_request(request)
            }
        });
        self.voice.finish(out, usage);
        self.record.complete(usage);
    }

    fn fail(&mut self, error: ApiError, out: &mut BytesMut) {
        self.is_done = true;
        // The error of a question too long says by how much, which only whoever has the question knows.
        let error = error.measured(|| Overflow::of(self.request.prompt_tokens(), self.window));
        self.voice.fail(out, &error);
        self.record.fail(&error);
        // Stop the other choices now rather than when the connection has been closed.
        self.choices.clear();
    }
}

impl<V: Voice> MessageBody for StreamBody<V> {
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
        let mut out = BytesMut::new();
        // The head of a late answer goes out with what begins it, before anybody is asked for more.
        let mut is_to_go = false;
        // Waits in its own piece: a client that has waited so long is to hear something before the next wait.
        if !this.has_begun {
            this.begin(&mut out);
            is_to_go = this.is_late && !out.is_empty();
        }
        loop {
            if !is_to_go {
                match this.advance(cx, &mut out) {
                    Err(error) => this.fail(error, &mut out),
                    // In the same piece as the last words: no client waits for the end longer than for these.
                    Ok(()) if this.choices.iter().all(Choice::has_ended) => this.finish(&mut out),
                    Ok(()) => {}
                }
            }
            if !out.is_empty() {
                this.last_output = Instant::now();
                this.record.bytes += out.len();
                return Poll::Ready(Some(Ok(out.freeze())));
            }
            if this.is_done {
                // The voice had nothing to say of the end, and an empty piece would be none.
                return Poll::Ready(None);
            }
            // The timer is only looked at, not reset, for every piece: one that fires early is set anew.
            if this.ping.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let due = this.last_output + this.ping_interval;
            if due <= Instant::now() {
                this.voice.ping(&mut out);
                this.ping
                    .as_mut()
                    .reset(Instant::now() + this.ping_interval);
            } else {
                this.ping.as_mut().reset(due);
            }
        }
    }
}
