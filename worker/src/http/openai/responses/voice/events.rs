//! Numbers events and writes them: the one place from which anything reaches the stream, so that no number is left out
//! or told twice. Source: doors.md section 8.

use bytes::{BufMut as _, BytesMut};
use serde::Serialize;

use crate::http::openai::voice::put_json;

/// Writes the events of one stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The number of the next one.
    next: u64,
    /// An answer in one piece goes the way of a stream, and nobody hears it.
    pub(super) is_silent: bool,
}

impl Events {
    /// Writes an event: its name, its number, and whatever `members` adds.
    pub(super) fn put(
        &mut self,
        out: &mut BytesMut,
        kind: &str,
        members: impl FnOnce(&mut Members<'_>),
    ) {
        if self.is_silent {
            return;
        }
        out.put_slice(Beginning::of(kind).0.as_bytes());
        self.number(out);
        members(&mut Members(out));
        out.put_slice(b"}\n\n");
    }

    /// Writes an event that many others are like.
    pub(super) fn put_delta(&mut self, out: &mut BytesMut, like: &Delta, text: &str) {
        if self.is_silent {
            return;
        }
        out.put_slice(like.beginning.0.as_bytes());
        self.number(out);
        out.put_slice(like.place.as_bytes());
        put_json(out, text);
        out.put_slice(like.end.as_bytes());
    }

    fn number(&mut self, out: &mut BytesMut) {
        put_json(out, &self.next);
        self.next += 1;
    }
}

/// All that stands before an event's number.
#[derive(Debug)]
struct Beginning(String);

impl Beginning {
    fn of(kind: &str) -> Self {
        Self(format!(
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":"
        ))
    }
}

/// The deltas of one item, rendered but for their number and their text.
#[derive(Debug)]
pub(super) struct Delta {
    beginning: Beginning,
    place: String,
    end: &'static str,
}

impl Delta {
    /// `place`: the members that say whose delta it is, as JSON without braces. `end`: those that follow the text.
    pub(super) fn new(kind: &str, place: &str, end: &'static str) -> Self {
        Self {
            beginning: Beginning::of(kind),
            place: format!(",{place},\"delta\":"),
            end,
        }
    }
}

/// Members being written, each with a comma before it.
pub(super) struct Members<'a>(&'a mut BytesMut);

impl Members<'_> {
    /// Writes a member.
    pub(super) fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> &mut Self {
        self.name(name);
        put_json(self.0, value);
        self
    }

    /// Writes a member whose value is JSON already.
    pub(super) fn put_raw(&mut self, name: &str, json: &[&str]) -> &mut Self {
        self.name(name);
        for piece in json {
            self.0.put_slice(piece.as_bytes());
        }
        self
    }

    /// Writes members that are JSON already, without braces.
    pub(super) fn put_all(&mut self, members: &str) -> &mut Self {
        self.0.put_u8(b',');
        self.0.put_slice(members.as_bytes());
        self
    }

    fn name(&mut self, name: &str) {
        self.0.put_slice(b",\"");
        self.0.put_slice(name.as_bytes());
        self.0.put_slice(b"\":");
    }
}
