//! The record of the calls that a simulator has seen.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{super::calls, Control, Drawn, KEPT, Kind};

/// One turn of the conversation that a provider flattened into its prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said, byte for byte.
    pub text: String,
}

/// One call that the simulator has seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Call {
    /// What the call is for, in the simulator's words: `ask`, `delete`, …; "" for a path that does not exist.
    pub step: String,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The service did what it was asked.
    pub ok: bool,
    /// What the client did that the wire page forbids, in plain words. Such a call may still be `ok`: the real service
    /// forgives some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub violation: Option<String>,
    /// The fault that struck this call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// Which fake account it came from, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<usize>,
    /// The upstream model it asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The prompt as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The prompt taken apart again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
    /// The upstream conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// The other fields that a test may want to see.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// When it arrived, in milliseconds since the simulator started.
    pub at_ms: u64,
    /// When its answer ended, one way or another. `None`: not yet.
    pub ended_ms: Option<u64>,
    /// The client went away before the end of the answer, at `ended_ms`.
    pub aborted: bool,
    /// How many bytes of the answer's body were handed to the connection.
    pub sent_bytes: u64,
    #[serde(skip)]
    pub(crate) drawn: Option<Drawn>,
}

impl Call {
    /// Notes something that the wire page forbids.
    pub(crate) fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        match &mut self.violation {
            Some(said) => {
                said.push_str("; ");
                said.push_str(&what);
            }
            None => self.violation = Some(what),
        }
    }

    pub(crate) fn note(&mut self, key: &str, value: impl Into<Value>) {
        self.params.insert(key.to_owned(), value.into());
    }
}

/// The figures of one moment.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Answers that are under way.
    pub open_streams: usize,
    /// Upstream conversations that were created and not deleted.
    pub conversations: usize,
    /// Upstream conversations created since the start or the last reset.
    pub created: usize,
    /// Upstream conversations deleted since then.
    pub deleted: usize,
    /// Calls seen since then.
    pub calls: usize,
    /// Those of them that asked a model something: second questions of one turn count, too.
    pub questions: usize,
    /// Faults that were ordered and have not struck yet.
    pub faults_pending: Vec<String>,
    /// Scripts that have not been played yet.
    pub scripts_pending: usize,
    /// The generation of the service that is spoken alone, or `both`.
    pub generation: &'static str,
    /// Everything that the client did and the wire page forbids.
    pub violations: Vec<String>,
    /// Most answers at once, for each account number ("?": no known account).
    pub max_concurrent_per_account: BTreeMap<String, usize>,
}

impl Control {
    /// Writes a call down. The returned value follows its answer to the end.
    pub(crate) fn record(self: &Arc<Self>, mut call: Call, kind: Kind) -> Answering {
        call.at_ms = self.now_ms();
        let mut inner = self.inner();
        inner.next_id += 1;
        let id = inner.next_id;
        let told_before = |mark: &str| {
            // Questions alone: what a conversation was opened with is told again with the first of them in the log.
            let is_earlier = |known: &&Call| {
                known.ok
                    && known.prompt.is_some()
                    && known.conversation.is_some()
                    && known.conversation == call.conversation
            };
            let known = inner.calls.iter().map(|(_, known)| known);
            let earlier = known.filter(is_earlier);
            earlier
                .map(|known| calls::times_told(&known.turns, mark))
                .sum()
        };
        if let Some(what) = calls::broken_rule(&call.turns, told_before) {
            call.violate(what);
        }
        if let Some(what) = &call.violation {
            let place = if call.step.is_empty() {
                &call.path
            } else {
                &call.step
            };
            let line = format!("{place}: {what}");
            if inner.violations.len() < KEPT {
                inner.violations.push(line);
            }
        }
        if kind == Kind::Stream {
            inner.open.insert(id, call.account);
            let at_once = inner
                .open
                .values()
                .filter(|account| **account == call.account)
                .count();
            let name = call
                .account
                .map_or_else(|| "?".to_owned(), |account| account.to_string());
            let most = inner.max_concurrent.entry(name).or_default();
            *most = at_once.max(*most);
        }
        inner.seen += 1;
        inner.questions += usize::from(call.prompt.is_some());
        inner.calls.push_back((id, call));
        if inner.calls.len() > KEPT {
            inner.calls.pop_front();
        }
        drop(inner);
        Answering {
            control: Arc::clone(self),
            id,
            sent_bytes: 0,
            over: false,
        }
    }
}

/// An answer under way. Dropped before [`Answering::over`], the client has gone away.
#[derive(Debug)]
pub(crate) struct Answering {
    control: Arc<Control>,
    id: u64,
    sent_bytes: u64,
    over: bool,
}

impl Answering {
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// The answer has been given, or broken off by the service itself.
    pub(crate) fn over(&mut self) {
        self.end(false);
    }

    fn end(&mut self, aborted: bool) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let now = self.control.now_ms();
        let mut inner = self.control.inner();
        inner.open.remove(&self.id);
        // Gone after a reset, or after many more calls.
        let first = inner.calls.front().map_or(u64::MAX, |(id, _)| *id);
        let at = self
            .id
            .checked_sub(first)
            .and_then(|at| usize::try_from(at).ok());
        if let Some((_, call)) = at.and_then(|at| inner.calls.get_mut(at)) {
            call.ended_ms = Some(now);
            call.aborted = aborted;
            call.sent_bytes = self.sent_bytes;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.end(true);
    }
}
