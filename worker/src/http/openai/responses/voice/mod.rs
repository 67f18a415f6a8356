//! The voice of Responses: which item a piece of an answer belongs to, and what is said around the items. Each item is a
//! type of its own, which begins and ends itself, and one of them is open at a time; so an order that clients throw at
//! cannot be written. Source: doors.md sections 7 to 9.
//!
//! ```text
//!             ┌─────────── piece of another kind: close, open ───────────┐
//! begin ──▶ nothing open ── piece ──▶ Thought | Message | Call ── piece ─┘──▶ Finish: close ──▶ finish | fail
//!                                                  │
//!                          a call whose arguments are not whole: what follows waits behind it
//! ```
//!
//! An answer in one piece goes the same way, in silence, and then tells the items that were kept. So it cannot differ from
//! a streamed one.

mod call;
mod events;
mod message;
mod outputs;
mod thought;

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::BytesMut;
use serde_json::Value;
use uuid::Uuid;

use self::{
    call::{Begun, Call},
    events::{Events, Members},
    message::{Message, Words},
    outputs::{Outputs, Status},
    thought::Thought,
};
use super::{echo::Echo, kept::Keeper, state::Plan, toolbox::Toolbox};
use crate::{
    chat::{FinishReason, Kind, ToolCallDelta, Usage},
    http::{
        answering::{Item, Piece, Source, Voice, Whole},
        dialect::failed_code,
        error::ApiError,
    },
    impossible::OrImpossible as _,
};

/// About how long a delta is without its text.
const USUAL_PIECE_BYTES: usize = 300;
/// Longest answer: the last event tells all of it again, so all of it is kept. As for an answer in one piece.
const MOST_BYTES: usize = 64 << 20;
/// What is counted for a piece beside its text.
const PIECE_BYTES: usize = 16;

/// Says an answer as a response.
#[derive(Debug)]
pub(in crate::http) struct ResponsesVoice {
    echo: Echo,
    toolbox: Toolbox,
    id: String,
    created: u64,
    events: Events,
    outputs: Outputs,
    open: Option<Open>,
    /// What cannot be said yet: the open call is not whole, or the first of these has no name yet.
    waiting: VecDeque<Stretch>,
    /// The calls that have begun, by the engine's numbers.
    known_calls: HashSet<u32>,
    /// Characters of text so far, for the places of sources.
    chars: usize,
    bytes: usize,
    end: Option<FinishReason>,
    /// Keeps the response when it is told.
    keeper: Option<Keeper>,
}

/// The item that is being said.
#[derive(Debug)]
enum Open {
    Thought(Thought),
    Message(Message),
    Call(Call),
}

/// A stretch of an answer that is all of one kind.
#[derive(Debug)]
enum Stretch {
    Thought(String),
    Words(Words, String),
    Call(Begun),
}

impl ResponsesVoice {
    pub(super) fn new(echo: Echo, toolbox: Toolbox) -> Self {
        Self {
            echo,
            toolbox,
            id: format!("resp_{}", Uuid::new_v4().simple()),
            created: now(),
            events: Events::default(),
            outputs: Outputs::default(),
            open: None,
            waiting: VecDeque::new(),
            known_calls: HashSet::new(),
            chars: 0,
            bytes: 0,
            end: None,
            keeper: None,
        }
    }

    /// What it goes on from, and what becomes of it when it is told.
    #[must_use]
    pub(super) fn planned(mut self, plan: Plan) -> Self {
        self.echo.previous = plan.previous;
        self.echo.is_kept = plan.keeper.is_some();
        self.keeper = plan.keeper;
        self
    }

    /// The response as it ends is kept, with all that a stream does not repeat, where it is to be and not too long.
    fn keep(&mut self, state: &State<'_>) {
        let Some(keeper) = self.keeper.take() else {
            return;
        };
        self.echo.is_kept = keeper.takes(self.outputs.json().len());
        if self.echo.is_kept {
            let (echo, outputs) = (&self.echo, self.outputs.json());
            let response = echo.response(&self.id, self.created, outputs, state, true);
            keeper.keep(&self.id, response);
        }
    }

    /// Says a stretch, or lets it wait.
    fn take(&mut self, out: &mut BytesMut, stretch: Stretch) {
        // A call without its name cannot be opened: its item's type depends on the tool.
        if self.is_blocked() || matches!(&stretch, Stretch::Call(Begun { name: None, .. })) {
            self.wait(stretch);
        } else {
            self.say(out, stretch);
        }
    }

    /// Whether nothing but the open call may be said: another item would end it, and more of it may come.
    fn is_blocked(&self) -> bool {
        let is_half = matches!(&self.open, Some(Open::Call(call)) if !call.is_whole());
        // What waits goes first, or an answer would be told in another order than the model said it.
        is_half || !self.waiting.is_empty()
    }

    fn wait(&mut self, stretch: Stretch) {
        match (self.waiting.back_mut(), stretch) {
            // Joined, so that a thousand small pieces behind a call are one delta and not a thousand entries.
            (Some(Stretch::Thought(known)), Stretch::Thought(more)) => known.push_str(&more),
            (Some(Stretch::Words(words, known)), Stretch::Words(same, more)) if *words == same => {
                known.push_str(&more);
            }
            (_, stretch) => self.waiting.push_back(stretch),
        }
    }

    /// Says a stretch in the open item, or in one of its own.
    fn say(&mut self, out: &mut BytesMut, stretch: Stretch) {
        let events = &mut self.events;
        match (&mut self.open, stretch) {
            (Some(Open::Thought(thought)), Stretch::Thought(text)) => {
                thought.say(events, out, &text);
            }
            (_, Stretch::Thought(text)) => {
                self.close(out, Status::Completed);
                let mut thought = Thought::open(&mut self.outputs, &mut self.events, out);
                thought.say(&mut self.events, out, &text);
                self.open = Some(Open::Thought(thought));
            }
            (open, Stretch::Words(words, text)) => {
                // Before the text is counted: it is where the text begins.
                let start = self.chars;
                if words == Words::Text {
                    self.chars += text.chars().count();
                }
                if let Some(Open::Message(message)) = open {
                    message.say(events, out, words, &text, start);
                    return;
                }
                self.close(out, Status::Completed);
                let (outputs, events) = (&mut self.outputs, &mut self.events);
                let mut message = Message::open(outputs, events, out, words, start);
                message.say(events, out, words, &text, start);
                self.open = Some(Open::Message(message));
            }
            (_, Stretch::Call(begun)) => {
                self.close(out, Status::Completed);
                let (outputs, events) = (&mut self.outputs, &mut self.events);
                let call = Call::open(begun, &self.toolbox, outputs, events, out);
                self.open = Some(Open::Call(call));
            }
        }
    }

    /// A piece of a call: of the open one, of one that waits, or of a new one.
    fn call(&mut self, out: &mut BytesMut, piece: ToolCallDelta) {
        if let Some(Open::Call(call)) = &mut self.open
            && call.index == piece.index
        {
            if !piece.arguments.is_empty() {
                call.say(&mut self.events, out, &piece.arguments);
                self.go_on(out);
            }
            return;
        }
        let waiting = self.waiting.iter_mut().find_map(|stretch| match stretch {
            Stretch::Call(begun) if begun.index == piece.index => Some(begun),
            _ => None,
        });
        if let Some(begun) = waiting {
            begun.id = begun.id.take().or(piece.id);
            begun.name = begun.name.take().or(piece.name);
            begun.text.push_str(&piece.arguments);
            return self.go_on(out);
        }
        // A call that has ended had all of its arguments: whatever comes after them is no part of it.
        if self.known_calls.insert(piece.index) {
            let begun = Begun {
                index: piece.index,
                id: piece.id,
                name: piece.name,
                text: piece.arguments,
            };
            self.take(out, Stretch::Call(begun));
        }
    }

    /// Says what has waited, as far as it need not wait any longer.
    fn go_on(&mut self, out: &mut BytesMut) {
        loop {
            match (&self.open, self.waiting.front()) {
                (Some(Open::Call(call)), _) if !call.is_whole() => return,
                (_, None | Some(Stretch::Call(Begun { name: None, .. }))) => return,
                (_, Some(_)) => {}
            }
            if let Some(stretch) = self.waiting.pop_front() {
                self.say(out, stretch);
            }
        }
    }

    /// Says all that has waited: nothing more of any call will come.
    fn let_all_through(&mut self, out: &mut BytesMut) {
        while let Some(stretch) = self.waiting.pop_front() {
            // Also a call that never got its name: it is told under an empty one, and its client answers that there is
            // no such tool.
            self.say(out, stretch);
        }
    }

    fn close(&mut self, out: &mut BytesMut, status: Status) {
        let (outputs, events) = (&mut self.outputs, &mut self.events);
        match self.open.take() {
            Some(Open::Thought(thought)) => thought.close(outputs, events, out),
            Some(Open::Message(message)) => message.close(outputs, events, out, status),
            Some(Open::Call(call)) => call.close(outputs, events, out, status),
            None => {}
        }
    }

    /// The sources of all that was said. The ones of a message that has ended can be told no more.
    fn cite(&mut self, out: &mut BytesMut, sources: &[Source]) {
        // What waits was said before the sources, and stands before them.
        self.let_all_through(out);
        if let Some(Open::Message(message)) = &mut self.open {
            message.cite(&mut self.events, out, sources);
        }
    }

    /// No more items: the answer is over, for this reason.
    fn end(&mut self, out: &mut BytesMut, reason: FinishReason) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(reason);
        // Before the status is set: what waited is whole, and only the open item was cut.
        self.let_all_through(out);
        let status = if cause(reason).is_some() {
            Status::Incomplete
        } else {
            Status::Completed
        };
        self.close(out, status);
    }

    /// An event that tells the whole response.
    fn tell(&mut self, out: &mut BytesMut, kind: &str, state: &State<'_>) {
        let (echo, outputs) = (&self.echo, &self.outputs);
        let (id, created) = (&self.id, self.created);
        self.events.put(out, kind, |it| {
            // Nobody reads the echo of a stream, and 20 KB of tools would be told three times.
            let response = echo.response(id, created, outputs.json(), state, false);
            it.put_raw("response", &[&response]);
        });
    }
}

/// What changes of a response while it is made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State<'a> {
    pub(super) status: &'static str,
    pub(super) completed_at: Option<u64>,
    pub(super) cause: Option<&'static str>,
    pub(super) error: Option<(&'static str, &'a str)>,
    pub(super) usage: Option<Usage>,
}

impl State<'_> {
    const IN_PROGRESS: Self = State {
        status: "in_progress",
        completed_at: None,
        cause: None,
        error: None,
        usage: None,
    };

    fn of(end: FinishReason, usage: Usage) -> Self {
        let cause = cause(end);
        Self {
            status: if cause.is_some() {
                "incomplete"
            } else {
                "completed"
            },
            completed_at: cause.is_none().then(now),
            cause,
            usage: Some(usage),
            ..Self::IN_PROGRESS
        }
    }
}

/// `incomplete_details.reason` of an answer that is not whole.
fn cause(end: FinishReason) -> Option<&'static str> {
    match end {
        FinishReason::Length => Some("max_output_tokens"),
        FinishReason::ContentFilter => Some("content_filter"),
        _ => None,
    }
}

/// `error.message`: Codex reads from it how long to wait.
fn message(error: &ApiError) -> String {
    let message = error.message.as_str();
    match error.retry_after {
        Some(wait) if error.fault == Some(Kind::RateLimited) => {
            // At least a second: a client that is told "0s" asks in a loop.
            let wait = wait.max(Duration::from_secs(1)).as_secs_f64().ceil();
            let message = message.trim_end_matches('.');
            format!("{message}. Please try again in {wait}s.")
        }
        Some(_) | None => message.to_owned(),
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .or_impossible("the clock is past 1970")
        .as_secs()
}

impl Voice for ResponsesVoice {
    const NAME: &'static str = "response";

    fn piece_bytes(&self) -> usize {
        USUAL_PIECE_BYTES
    }

    fn begin(&mut self, out: &mut BytesMut) {
        self.tell(out, "response.created", &State::IN_PROGRESS);
        self.tell(out, "response.in_progress", &State::IN_PROGRESS);
    }

    fn piece(&mut self, out: &mut BytesMut, choice: usize, piece: Piece) {
        // This dialect has one choice; behind the end only pieces follow that it has no word for.
        if choice > 0 || self.end.is_some() {
            return;
        }
        // Each piece also costs an event's frame; without that an answer of empty pieces would be free.
        self.bytes += PIECE_BYTES + piece.text_bytes();
        if self.bytes > MOST_BYTES {
            // As if the model had reached its limit: what was said until then is whole and told.
            return self.end(out, FinishReason::Length);
        }
        match piece {
            // Empty pieces would open items, which clients show as empty bubbles.
            Piece::Text(text) | Piece::Reasoning(text) if text.is_empty() => {}
            Piece::Text(text) => self.take(out, Stretch::Words(Words::Text, text)),
            Piece::Reasoning(text) => self.take(out, Stretch::Thought(text)),
            Piece::ToolCall(piece) => self.call(out, piece),
            Piece::Sources(sources) => self.cite(out, &sources),
            Piece::Extra(mut members) => {
                // Any other member is of another dialect, and no event here has a place for it.
                if let Some(Value::String(refusal)) = members.remove("refusal")
                    && !refusal.is_empty()
                {
                    self.take(out, Stretch::Words(Words::Refusal, refusal));
                }
            }
            Piece::Signature(_) | Piece::Sealed(_) | Piece::Logprobs(_) => {}
            Piece::Finish(reason) => self.end(out, reason),
        }
    }

    fn finish(&mut self, out: &mut BytesMut, usage: Usage) {
        self.end(out, FinishReason::Stop);
        let end = self.end.unwrap_or(FinishReason::Stop);
        let state = State::of(end, usage);
        let kind = match state.cause {
            Some(_) => "response.incomplete",
            None => "response.completed",
        };
        self.keep(&state);
        self.tell(out, kind, &state);
    }

    fn fail(&mut self, out: &mut BytesMut, error: &ApiError) {
        let is_moderated = error.fault == Some(Kind::Moderated);
        // As one that is incomplete: a call that is half there must not be run by its client.
        self.end(out, FinishReason::ContentFilter);
        if is_moderated {
            let state = State {
                status: "incomplete",
                cause: Some("content_filter"),
                ..State::IN_PROGRESS
            };
            // Moderation ends an answer; as a failure, clients would ask the same again.
            return self.tell(out, "response.incomplete", &state);
        }
        let message = message(error);
        let state = State {
            status: "failed",
            error: Some((failed_code(error), &message)),
            ..State::IN_PROGRESS
        };
        self.tell(out, "response.failed", &state);
    }

    fn ping(&mut self, out: &mut BytesMut) {
        // With a number, as everything in the stream: clients complain about a gap.
        self.events.put(out, "keepalive", |_: &mut Members<'_>| {});
    }

    fn whole(mut self, choices: Vec<Whole>, usage: Usage) -> Vec<u8> {
        self.events.is_silent = true;
        let mut nowhere = BytesMut::new();
        let out = &mut nowhere;
        // A choice is always there; an empty answer is a response without items.
        let whole = choices.into_iter().next().unwrap_or_default();
        for item in whole.items {
            let piece = match item {
                Item::Text(text) => Piece::Text(text),
                Item::Reasoning(text) => Piece::Reasoning(text),
                Item::Signature(seal) => Piece::Signature(seal),
                Item::Sealed(thought) => Piece::Sealed(thought),
                Item::Call(call) => Piece::ToolCall(call),
            };
            self.piece(out, 0, piece);
        }
        self.piece(out, 0, Piece::Extra(whole.extra));
        self.piece(out, 0, Piece::Sources(whole.sources));
        self.end(out, whole.finish.unwrap_or(FinishReason::Stop));
        debug_assert!(nowhere.is_empty(), "an answer in one piece has events");
        let state = State::of(self.end.unwrap_or(FinishReason::Stop), usage);
        self.keep(&state);
        let (echo, outputs) = (&self.echo, self.outputs.json());
        echo.response(&self.id, self.created, outputs, &state, true)
            .into_bytes()
    }
}

#[cfg(test)]
mod tests;
