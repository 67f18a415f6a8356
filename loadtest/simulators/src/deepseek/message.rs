//! One question and its answer, as the service keeps it while it is told, stopped and continued.
//! Source: wire/deepseek.md §6 (fragments), §8.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{ask::Ask, stream};
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// How often a long pause looks whether the answer was stopped.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Think,
    Search,
    Open,
    Tip,
    /// A type that no page lists.
    Strange,
    Response,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Think => "THINK",
            Self::Search => "TOOL_SEARCH",
            Self::Open => "TOOL_OPEN",
            Self::Tip => "TIP",
            Self::Strange => "SIM_STRANGE",
            Self::Response => "RESPONSE",
        }
    }
}

/// A part of an answer; only thoughts and the response have pieces.
#[derive(Clone, Debug)]
pub(super) struct Fragment {
    pub(super) id: usize,
    pub(super) kind: Kind,
    pub(super) pieces: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) request_id: u64,
    pub(super) response_id: u64,
    pub(super) ask: Ask,
    pub(super) answer: Answer,
    pub(super) fragments: Vec<Fragment>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// How many pieces have been told.
    said: usize,
    running: bool,
    stopped: bool,
    resumed: bool,
    status: &'static str,
}

impl Message {
    pub(super) fn new(request_id: u64, ask: Ask, mut answer: Answer) -> Self {
        if !answer.exact {
            let marks = 0..answer.citations.len();
            answer
                .text
                .extend(marks.map(|at| format!("[reference:{at}]")));
        }
        if answer.quirk("runs_on") {
            let more = "<｜end▁of▁sentence｜><｜User｜>And what else?";
            answer.text.push(more.to_owned());
        }
        Self {
            request_id,
            response_id: request_id + 1,
            ask,
            fragments: fragments(&answer),
            answer,
            progress: Mutex::new(Progress {
                said: 0,
                running: true,
                stopped: false,
                resumed: false,
                status: "WIP",
            }),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn said(&self) -> usize {
        self.progress().said
    }

    pub(super) fn status(&self) -> &'static str {
        self.progress().status
    }

    pub(super) fn is_running(&self) -> bool {
        self.progress().running
    }

    /// `POST /api/v0/chat/stop_stream`.
    pub(super) fn stop(&self) {
        let mut progress = self.progress();
        progress.stopped = progress.running;
    }

    /// `POST /api/v0/chat/continue`: the same answer goes on.
    pub(super) fn go_on(&self) {
        let mut progress = self.progress();
        (progress.running, progress.stopped) = (true, false);
    }

    /// `POST /api/v0/chat/resume_stream`: whether it is the first one for this answer.
    pub(super) fn resume(&self) -> bool {
        !std::mem::replace(&mut self.progress().resumed, true)
    }

    /// The generator went on to the end while nobody listened.
    pub(super) fn finish(&self) {
        let pieces = self.pieces();
        let mut progress = self.progress();
        (progress.said, progress.status) = (pieces, "FINISHED");
    }

    /// Nobody listens any more.
    pub(super) fn over(&self) {
        self.progress().running = false;
    }

    /// The first `pieces` pieces of all, of one kind.
    pub(super) fn text(&self, kind: Kind, pieces: usize) -> String {
        let told = self
            .fragments
            .iter()
            .flat_map(|fragment| fragment.pieces.iter().map(|piece| (fragment.kind, piece)));
        told.take(pieces)
            .filter(|(of, _)| *of == kind)
            .map(|(_, piece)| piece.as_str())
            .collect()
    }

    /// Tokens so far; characters stand for them.
    pub(super) fn usage(&self, pieces: usize) -> usize {
        let count = |kind| self.text(kind, pieces).chars().count();
        count(Kind::Think) + count(Kind::Response)
    }

    pub(super) fn pieces(&self) -> usize {
        let pieces = self.fragments.iter().map(|fragment| fragment.pieces.len());
        pieces.sum()
    }

    pub(super) fn reference(&self) -> Value {
        let search = self.fragments.iter().find(|f| f.kind == Kind::Search);
        search.map_or_else(
            || json!([]),
            |search| json!([{"id": search.id, "type": "TOOL_SEARCH"}]),
        )
    }
}

/// The parts of an answer, numbered as in the captures: the first one is 2.
fn fragments(answer: &Answer) -> Vec<Fragment> {
    let mut parts: Vec<(Kind, Vec<String>)> = Vec::new();
    let odd = answer.quirk("odd_fragments");
    if odd {
        parts.push((Kind::Tip, Vec::new()));
    }
    let rounds = usize::from(answer.quirk("think_rounds"));
    let (first, second) = answer
        .reasoning
        .split_at(answer.reasoning.len() / (rounds + 1));
    if !first.is_empty() {
        parts.push((Kind::Think, first.to_vec()));
    }
    if !answer.citations.is_empty() {
        parts.push((Kind::Search, Vec::new()));
    }
    if rounds == 1 && !second.is_empty() {
        parts.push((Kind::Think, second.to_vec()));
    }
    if odd {
        parts.extend([(Kind::Open, Vec::new()), (Kind::Strange, Vec::new())]);
    }
    if !answer.text.is_empty() {
        parts.push((Kind::Response, answer.text.clone()));
    }
    let numbered = (2..).zip(parts);
    let fragment = |(id, (kind, pieces))| Fragment { id, kind, pieces };
    numbered.map(fragment).collect()
}

/// An answer while it is told: counts the pieces, and ends early when it is stopped.
pub(super) struct Telling {
    acts: Acts,
    message: Arc<Message>,
    /// What is left of a long pause.
    pause: Duration,
    status: &'static str,
    ending: bool,
}

impl Telling {
    pub(super) fn new(acts: Acts, message: Arc<Message>, status: &'static str) -> Self {
        Self {
            acts,
            message,
            pause: Duration::ZERO,
            status,
            ending: false,
        }
    }

    fn stop(&mut self) {
        self.ending = true;
        self.pause = Duration::ZERO;
        self.acts = stream::stopped(&self.message);
        self.message.progress().status = "INCOMPLETE";
    }
}

impl Iterator for Telling {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        if !self.ending && self.message.progress().stopped {
            self.stop();
        }
        if self.pause > Duration::ZERO {
            let now = self.pause.min(LOOK);
            self.pause -= now;
            return Some(Act::Pause(now));
        }
        let act = self.acts.next()?;
        match act {
            Act::Pause(time) if !self.ending => {
                self.pause = time;
                return self.next();
            }
            Act::Say(_) => self.message.progress().said += 1,
            Act::Done if !self.ending => {
                self.ending = true;
                self.message.progress().status = self.status;
            }
            Act::Send(_) | Act::Pause(_) | Act::Done | Act::Hang | Act::Break => {}
        }
        Some(act)
    }
}
