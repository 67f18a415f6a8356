//! A call whose arguments come as JSON: it ends where the JSON does, and nothing inside a string ends it.

use super::{Decoder, Flow, MOST_CALL, Raw, State};
use crate::chat::emulate::{
    dialects::json::calls,
    fact::Fact,
    found::Dialect,
    json::{Scan, read},
    ladder::{Body, RawCall},
    tree::Tree,
};

/// JSON that is a call of an offered tool, while it comes. Places are in the buffer.
#[derive(Debug)]
pub(super) struct OpenJson {
    dialect: Dialect,
    name: String,
    /// The JSON is the arguments alone.
    is_arguments: bool,
    from: usize,
    looked: usize,
    scan: Scan,
}

impl OpenJson {
    pub(super) fn new(dialect: Dialect, name: String, is_arguments: bool, from: usize) -> Self {
        Self {
            dialect,
            name,
            is_arguments,
            from,
            looked: from,
            scan: Scan::default(),
        }
    }

    pub(super) fn moved(&mut self, by: usize) {
        self.from -= by;
        self.looked -= by;
    }

    pub(super) fn from(&self) -> usize {
        self.from
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_in_string(&self) -> bool {
        self.scan.is_in_string()
    }

    /// Reads all of it at once; it does not end in this.
    pub(super) fn rescan(&mut self, bytes: &[u8]) {
        self.scan = Scan::default();
        self.scan.advance(bytes);
    }

    /// Whether its text can be read, and each call in it has come as far as its arguments: of one that ended before them
    /// nobody knows what it would have had.
    pub(super) fn has_arguments(&self, text: &str) -> bool {
        let Ok(reading) = read(text) else {
            return false;
        };
        self.is_arguments
            || calls(reading.tree)
                .is_some_and(|calls| calls.iter().all(|(_, arguments)| *arguments != Tree::Null))
    }

    /// Tells the calls that its text is.
    pub(super) fn tell(self, text: &str, out: &mut Vec<Raw>) {
        let call = |name, body| {
            Raw::Call(RawCall {
                dialect: self.dialect,
                name,
                body,
            })
        };
        if self.is_arguments {
            out.push(call(self.name, Body::Json(text.to_owned())));
            return;
        }
        match read(text).map(|reading| calls(reading.tree)) {
            Ok(Some(calls)) => {
                let calls = calls.into_iter();
                out.extend(calls.map(|(name, arguments)| call(name, Body::Tree(arguments))));
            }
            Ok(None) => out.push(Raw::Void(Fact::unreadable(
                &self.name,
                None,
                &"they are no object",
            ))),
            Err(error) => out.push(Raw::Void(Fact::unreadable(&self.name, None, &error))),
        }
    }
}

impl Decoder {
    pub(super) fn json(&mut self, mut json: OpenJson, out: &mut Vec<Raw>) -> Flow {
        let new = self
            .buffer
            .as_bytes()
            .get(json.looked..)
            .unwrap_or_default();
        let end = json.scan.advance(new).map(|end| json.looked + end);
        json.looked = self.buffer.len();
        if end.unwrap_or(json.looked) - json.from > MOST_CALL {
            out.push(Raw::TooLarge);
            return self.wait(State::Done);
        }
        let Some(end) = end else {
            return self.wait(State::Json(json));
        };
        let text = self.buffer.get(json.from..end).unwrap_or_default();
        self.at = end;
        json.tell(text, out);
        self.go(State::After { in_json: true })
    }
}
