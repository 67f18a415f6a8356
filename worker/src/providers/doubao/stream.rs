//! The answer of `POST /chat/completion`: named events that hold pieces of text, blocks, and patches of blocks; and that of
//! the older route, which `samantha` reads. Source: `wire/doubao.md` section 6.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::{
    answer::{Answer, Change, creations},
    loose::{id, number, text, unpacked},
    refusal, samantha,
};
use crate::{
    chat::{ChatEvent, Kind, ProviderError, Unknowns},
    upstream::{
        json,
        sse::{Event, Sse},
    },
};

pub use super::answer::Shows;

/// Which of the two routes is spoken: `DOUBAO_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `/chat/completion`.
    Chat,
    /// `/samantha/chat/completion`, the older one.
    Samantha,
}

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    sse: Sse,
    protocol: Protocol,
    state: State,
}

/// What an answer has said of itself and in all.
#[derive(Debug)]
pub(super) struct State {
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    pub(super) answer: Answer,
    pub(super) ids: Ids,
    /// The service's own limits for the first piece and for a silence.
    limits: Option<(Duration, Duration)>,
    has_begun: bool,
    pub(super) end: End,
    pub(super) unknown: Unknowns,
}

/// What the answer and its conversation are called; empty where that is not known.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) conversation: String,
    pub(super) message: String,
    pub(super) section: String,
    /// The highest index of a message that was seen.
    pub(super) index: Option<i64>,
}

/// How far the service is with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Open,
    /// The text is complete; more may be said about it.
    Text,
    All,
}

/// The only event that comes for every piece.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

impl Decoder {
    /// A decoder for one answer to the account whose credential is in `variable`.
    pub fn new(variable: &str, protocol: Protocol, shows: Shows) -> Self {
        Self {
            sse: Sse::default(),
            protocol,
            state: State {
                variable: variable.to_owned(),
                answer: Answer::new(shows),
                ids: Ids::default(),
                limits: None,
                has_begun: false,
                end: End::Open,
                unknown: Unknowns::default(),
            },
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// An error that the stream itself reports (section 7), or a stream that is none.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let mut came = self.sse.read(bytes)?;
        while let Some(event) = came.next() {
            self.state.event(self.protocol, event, events)?;
        }
        Ok(())
    }

    /// The body has ended, be it by breaking off.
    ///
    /// # Errors
    /// A stream that was cut.
    pub fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(event) = self.sse.finish() {
            self.state.event(self.protocol, event, events)?;
        }
        if self.state.end == End::Open {
            return Err(ProviderError::broken_stream());
        }
        Ok(())
    }

    /// Nothing more is waited for, after [`Decoder::end`] or once [`Decoder::is_finished`].
    ///
    /// # Errors
    /// An answer without any content.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.state.answer.finish(events)
    }

    /// Whether the service has said that all is said.
    pub fn is_finished(&self) -> bool {
        self.state.end == End::All
    }

    /// Whether the text is complete, so that a connection that breaks now has lost nothing.
    pub fn is_complete(&self) -> bool {
        self.state.end >= End::Text
    }

    /// The upstream conversation, as soon as an event has named it.
    pub fn conversation_id(&self) -> Option<&str> {
        Some(self.state.ids.conversation.as_str()).filter(|id| !id.is_empty())
    }

    /// The section of the conversation and the highest index in it that were seen: what a question names that goes on from
    /// here (section 8).
    pub fn place(&self) -> Option<(&str, i64)> {
        let ids = &self.state.ids;
        Some((ids.section.as_str(), ids.index?)).filter(|(section, _)| !section.is_empty())
    }

    /// The upstream id of the answer, as soon as an event has named it.
    pub fn message_id(&self) -> Option<&str> {
        Some(self.state.ids.message.as_str()).filter(|id| !id.is_empty())
    }

    /// How long the service lets one wait now, where it has said so: for the first piece, then for the next.
    pub fn patience(&self) -> Option<Duration> {
        let (first, next) = self.state.limits?;
        Some(if self.state.has_begun { next } else { first })
    }

    /// Whether the first piece of the answer has come.
    pub fn has_begun(&self) -> bool {
        self.state.has_begun
    }

    /// Whether pictures are still to come, which are asked for elsewhere (section 6.5).
    pub fn wants_pictures(&self) -> bool {
        self.state.answer.wants_pictures()
    }

    /// Whether the service took back what it had said.
    pub fn has_rewrites(&self) -> bool {
        self.state.answer.has_rewrites()
    }

    /// Takes the conversation's messages as they are read again (section 6.5); whether all pictures are there.
    pub(super) fn take_messages(&mut self, messages: &[Value]) -> bool {
        for message in messages {
            if number(message.get("user_type")) == Some(2) {
                for block in creations(message) {
                    self.state.answer.pictures.add(&block);
                }
            }
        }
        !self.wants_pictures()
    }
}

impl State {
    fn event(
        &mut self,
        protocol: Protocol,
        event: Event<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // What follows the end is neither awaited nor wanted.
        if self.end == End::All {
            return Ok(());
        }
        // Before anything is parsed as a whole: nearly all events of an answer are these.
        if event.name == b"CHUNK_DELTA"
            && let Ok(delta) = serde_json::from_slice::<Delta<'_>>(event.data)
        {
            self.piece(&delta.text.unwrap_or_default(), events);
            return Ok(());
        }
        let data = match event.data.trim_ascii() {
            [] | b"[DONE]" | b"null" | b"{}" => return Ok(()),
            data => data,
        };
        // Unknown events may be anything; a known one that cannot be read has lost text.
        let is_read = protocol == Protocol::Samantha || is_known(event.name);
        let value = match json::value(data) {
            Some((value, _)) => value,
            None if is_read => return Err(ProviderError::malformed("stream")),
            None => {
                self.unknown.tell("event", events);
                return Ok(());
            }
        };
        // Its events have no names; errors of the gateway have one in either route.
        if protocol == Protocol::Samantha && event.name.is_empty() {
            return samantha::frame(self, &value, events);
        }
        self.named(event.name, &value, events)
    }

    fn named(
        &mut self,
        name: &[u8],
        data: &Value,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        match name {
            b"CHUNK_DELTA" => self.piece(text(data.get("text")), events),
            b"STREAM_CHUNK" => {
                self.message(data.get("message_id"));
                let patches = unpacked(data.get("patch_op"));
                for patch in patches.as_array().into_iter().flatten() {
                    self.patch(patch, events);
                }
            }
            b"STREAM_MSG_NOTIFY" => {
                let meta = unpacked(data.get("meta"));
                self.conversation(meta.get("conversation_id"));
                self.message(meta.get("message_id"));
                self.section(meta.get("section_id"), meta.get("index_in_conv"));
                let content = unpacked(data.get("content"));
                // Appended: the first sight of a block is its beginning.
                self.blocks(&content, Change::Append, events);
            }
            b"FULL_MSG_NOTIFY" => {
                let message = unpacked(data.get("message"));
                // Mostly the echo of the user's own message.
                if number(message.get("user_type")) == Some(2) {
                    self.blocks(&message, Change::Replace, events);
                }
            }
            b"ASYNC_CHUNK_SNAPSHOT" => {
                let snapshots = unpacked(data.get("message_snapshots"));
                for snapshot in snapshots.as_array().into_iter().flatten() {
                    let content = unpacked(snapshot.get("content"));
                    self.blocks(&content, Change::Replace, events);
                }
            }
            b"SSE_ACK" => self.ack(data),
            b"SSE_REPLY_END" => self.reply_end(data),
            b"STREAM_ERROR" | b"gateway-error" => {
                return self.fail(refusal::event(data, &self.variable));
            }
            b"STREAM_MSG_ERROR" => return self.fail(refusal::moderation(data, &self.variable)),
            // The rest of a long task would have to be asked for elsewhere, which nobody has shown how to do for a chat: if it
            // ends without text, it is an empty answer.
            b"FETCH_STREAM" => self.unknown.tell("fetch_stream", events),
            b"" => {
                // A refusal in the stream's place.
                if let Some(error) = refusal::refused(data, &self.variable) {
                    return self.fail(error);
                }
                self.unknown.tell("event", events);
            }
            b"SSE_HEARTBEAT" | b"STREAM_TIMEOUT_CONTROL" | b"DOWNLINK_CMD" => {}
            _ => self.unknown.tell("event", events),
        }
        Ok(())
    }

    /// A piece of text for the block that was seen last.
    pub(super) fn piece(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        self.has_begun = true;
        self.answer.go_on(text, events);
    }

    fn ack(&mut self, data: &Value) {
        let meta = unpacked(data.get("ack_client_meta"));
        self.conversation(meta.get("conversation_id"));
        self.section(
            meta.get("section_id"),
            data.pointer("/query_list/0/message_index"),
        );
        let limit = |name: &str| {
            let ms = number(data.get("timeout_conf")?.get(name))?;
            u64::try_from(ms)
                .ok()
                .filter(|ms| *ms > 0)
                .map(Duration::from_millis)
        };
        // Both or neither: one alone would leave the other at a default that belongs to another time.
        if let (Some(first), Some(next)) = (
            limit("answer_first_pending_time"),
            limit("packet_interval_time"),
        ) {
            self.limits = Some((first, next));
        }
    }

    fn reply_end(&mut self, data: &Value) {
        match number(data.get("end_type")) {
            Some(1) => {
                let brief = data.get("msg_finish_attr").and_then(|it| it.get("brief"));
                text(brief).clone_into(&mut self.answer.brief);
                // A 3 that came before stays (section 6.4).
                self.end = self.end.max(End::Text);
            }
            Some(3) => self.end = End::All,
            _ => {}
        }
    }

    /// Moderation after some text ends the answer; anything else fails it.
    pub(super) fn fail(&mut self, error: ProviderError) -> Result<(), ProviderError> {
        if error.kind == Kind::Moderated && self.answer.has_said() {
            self.answer.is_moderated = true;
            self.end = End::All;
            return Ok(());
        }
        Err(error)
    }

    /// Which variable to renew.
    pub(super) fn variable(&self) -> &str {
        &self.variable
    }

    /// A first piece has come.
    pub(super) fn begin(&mut self) {
        self.has_begun = true;
    }

    pub(super) fn conversation(&mut self, value: Option<&Value>) {
        let id = id(value);
        // 0 means none.
        if !id.is_empty() && id != "0" {
            self.ids.conversation = id;
        }
    }

    fn section(&mut self, section: Option<&Value>, index: Option<&Value>) {
        let id = id(section);
        if !id.is_empty() && id != "0" {
            self.ids.section = id;
        }
        self.ids.index = self.ids.index.max(number(index));
    }

    pub(super) fn message(&mut self, value: Option<&Value>) {
        let id = id(value);
        if !id.is_empty() && id != "0" {
            self.ids.message = id;
        }
    }
}

/// Whether an event of this name must be JSON.
fn is_known(name: &[u8]) -> bool {
    matches!(
        name,
        b"CHUNK_DELTA"
            | b"STREAM_CHUNK"
            | b"STREAM_MSG_NOTIFY"
            | b"FULL_MSG_NOTIFY"
            | b"ASYNC_CHUNK_SNAPSHOT"
            | b"SSE_ACK"
            | b"SSE_REPLY_END"
            | b"STREAM_ERROR"
            | b"STREAM_MSG_ERROR"
            | b"gateway-error"
    )
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
