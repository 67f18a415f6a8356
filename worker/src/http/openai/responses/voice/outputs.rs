//! The items of an answer that are finished, as the last event tells them again. Source: doors.md section 7.

use serde_json::Value;
use uuid::Uuid;

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It is whole.
    Completed,
    /// The answer ended before it was.
    Incomplete,
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// Where an item stands, given out once and in order, so that no two have the same place and none is left out.
#[derive(Debug)]
pub(super) struct Seat {
    /// `output_index`.
    pub(super) index: usize,
    /// The item's id, from its first event to the last of the stream.
    pub(super) id: String,
}

impl Seat {
    /// The members by which events say whose they are.
    pub(super) fn members(&self) -> String {
        format!(
            "\"item_id\":\"{}\",\"output_index\":{}",
            self.id, self.index
        )
    }
}

/// The items so far.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    taken: usize,
    /// The finished ones with a comma between them.
    json: String,
}

impl Outputs {
    /// A place for a new item; `kind` begins its id.
    pub(super) fn seat(&mut self, kind: &str) -> Seat {
        let index = self.taken;
        self.taken += 1;
        Seat {
            index,
            id: format!("{kind}_{}", Uuid::new_v4().simple()),
        }
    }

    /// Keeps an item that has ended. Items end in the order of their seats, since one is open at a time.
    pub(super) fn keep(&mut self, item: &str) {
        if !self.json.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(item);
    }

    /// All of them, without the brackets around.
    pub(super) fn json(&self) -> &str {
        &self.json
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
