//! The answer of `POST /chat/completion` and `/chat/continue`: events with patches to the upstream message, in three
//! generations. Source: `wire/deepseek.md` sections 6, 7 and 8.
//!
//! ```text
//!          FINISHED, CONTENT_FILTER, finish_reason
//!   WIP ─────────────────────────────────────────────► over
//!    ▲ │
//!    │ └─ INCOMPLETE, AUTO_CONTINUE, auto_continue ──► incomplete ── not continued ──► over, length
//!    │                                                     │
//!    └──────────────────── resume ◄────────────────────────┘
//! ```

use serde_json::value::RawValue;

use super::{
    frame::{Root, Status},
    patch::Cursor,
    reader::Reader,
};
use crate::{
    chat::{ChatEvent, Kind, ProviderError},
    upstream::sse::Sse,
};

/// Bytes in, events out.
#[derive(Debug, Default)]
pub struct Decoder {
    sse: Sse,
    reader: Reader,
    /// What a reader of one chunk says, before the markers are looked for.
    said: Vec<ChatEvent>,
}

impl Decoder {
    /// A decoder for one answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// A refusal that the stream itself reports (section 7).
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let mut came = self.sse.read(bytes)?;
        // The reader keeps the events of this chunk apart until the markers are looked for.
        while let Some(event) = came.next() {
            let read = self.reader.event(event.name, event.data, &mut self.said);
            self.reader.pass(&mut self.said, events);
            // After what came before it was passed on.
            read?;
        }
        Ok(())
    }

    /// The last body has ended, and is not going to be continued.
    ///
    /// # Errors
    /// An answer that broke off or is empty.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.drain(events)?;
        self.reader.finish(events)
    }

    /// A body has ended: reads an event whose closing blank line is missing.
    ///
    /// # Errors
    /// As [`Decoder::feed`].
    pub fn drain(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // The rest of the buffer may be the last event, whose blank line is missing.
        let Some(event) = self.sse.finish() else {
            return Ok(());
        };
        let read = self.reader.event(event.name, event.data, &mut self.said);
        self.reader.pass(&mut self.said, events);
        match read {
            // An event that was torn: whether the answer is whole, its status says.
            Err(error) if error.kind == Kind::Protocol => Ok(()),
            read => read,
        }
    }

    /// A continuation follows: its stream starts afresh, what was said is remembered (section 8).
    pub fn resume(&mut self) {
        // p and o start afresh (section 8); what was said does not.
        self.sse = Sse::default();
        let reader = &mut self.reader;
        reader.cursor = Cursor::default();
        reader.status = Status::Wip;
        reader.auto_continue = false;
        reader.failure = None;
        reader.is_closed = false;
    }

    /// The upstream id of this answer, as soon as an event has named it.
    pub fn response_id(&self) -> Option<i64> {
        self.reader.response_id
    }

    /// The upstream id of an answer that can be taken up again once its connection has broken: some of it has come, its
    /// end has not (section 8).
    pub fn resumable(&self) -> Option<i64> {
        let reader = &self.reader;
        // A choices answer cannot be taken up: it has no message of its own.
        let is_under_way = reader.status == Status::Wip && !reader.is_choices && !reader.is_closed;
        reader
            .response_id
            .filter(|_| is_under_way && reader.has_output && !self.is_cut())
    }

    /// The whole message as the service holds it, in place of the rest of a broken stream: what is missing is said.
    ///
    /// # Errors
    /// As [`Decoder::feed`].
    pub fn complete(
        &mut self,
        message: &RawValue,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        self.resume();
        let root = serde_json::from_str::<Root<'_>>(message.get());
        let message = root.ok().and_then(|root| root.response).unwrap_or(message);
        let read = self.reader.snapshot(message, &mut self.said);
        self.reader.pass(&mut self.said, events);
        // 22 means finished: a snapshot without a status is of a finished answer.
        if self.reader.status == Status::Wip {
            self.reader.status = Status::Finished;
        }
        read
    }

    /// The service stopped before the answer was complete, and can go on.
    pub fn is_incomplete(&self) -> bool {
        let reader = &self.reader;
        !self.is_cut()
            && !reader.is_choices
            && (reader.status == Status::Incomplete
                // `auto_continue` says so of a final status as well (section 6).
                || (reader.status == Status::Finished && reader.auto_continue))
    }

    /// The generator broke: a continuation is worth one try (section 7).
    pub fn has_failed(&self) -> bool {
        self.reader.failure.is_some()
    }

    /// A final status has come: whatever happens to the connection now does not matter.
    pub fn has_final_status(&self) -> bool {
        self.reader.status != Status::Wip
    }

    /// The service has said that nothing follows.
    pub fn is_closed(&self) -> bool {
        self.reader.is_closed
    }

    /// The model went on into the next turn: the rest is not wanted (section 9).
    pub fn is_cut(&self) -> bool {
        self.reader.watch.is_cut()
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
