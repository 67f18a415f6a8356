//! The answer of `POST …/conversation/v2`: named events that each hold a piece. Source: `wire/ernie.md` section 6.
//!
//! ```text
//!   major ──► thought* ──► (step) ──► message* ──► message, is_end 1
//!                │ is_end 1: of the thinking alone        │
//!                └────────────────────────────────────────┴──► over
//! ```

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    refusal::{self, Refusal},
    tags::{Piece, Tags},
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, Unknowns},
    upstream::{
        json::{self, Halves},
        sse::Sse,
    },
};

/// An id that is longer is none.
const MOST_ID_BYTES: usize = 128;

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    sse: Sse,
    answer: Transcript,
}

#[derive(Debug, Default)]
struct Transcript {
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    session_id: String,
    message_id: String,
    text: Voice,
    thoughts: Voice,
    has_text: bool,
    has_readable: bool,
    has_unreadable: bool,
    is_over: bool,
    unknown: Unknowns,
}

/// A text that comes in pieces.
#[derive(Debug, Default)]
struct Voice {
    halves: Halves,
    tags: Tags,
}

/// An event's data. What of it is looked at, its name and its members say; everything may be missing or of another type.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    thoughts: Option<&'a RawValue>,
    #[serde(borrow)]
    task_id: Option<&'a RawValue>,
}

/// `data` of a message.
#[derive(Default, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    is_end: Option<&'a RawValue>,
    #[serde(borrow)]
    tokens_all: Option<&'a RawValue>,
}

impl Decoder {
    /// A decoder for one answer to the account whose cookie is in `variable`.
    pub fn new(variable: &str) -> Self {
        Self {
            sse: Sse::default(),
            answer: Transcript {
                variable: variable.to_owned(),
                ..Transcript::default()
            },
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the stream itself reports (section 7), or a stream that is none.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        let mut came = self.sse.read(bytes)?;
        while let Some(event) = came.next() {
            self.answer.take(event.name, event.data, events)?;
        }
        Ok(())
    }

    /// The body has ended regularly.
    ///
    /// # Errors
    /// An answer that was not finished: the service says when it is.
    pub(super) fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        if let Some(event) = self.sse.finish() {
            self.answer.take(event.name, event.data, events)?;
        }
        match &self.answer {
            answer if answer.is_over => Ok(()),
            answer if answer.has_unreadable && !answer.has_readable => {
                Err(ProviderError::malformed("stream").into())
            }
            _ => Err(ProviderError::broken_stream().into()),
        }
    }

    /// Whether the service has said that its answer is complete.
    pub fn is_over(&self) -> bool {
        self.answer.is_over
    }

    /// The session, as soon as the service has named it.
    pub fn session_id(&self) -> Option<&str> {
        Some(self.answer.session_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The upstream id of the answer, likewise.
    pub fn message_id(&self) -> Option<&str> {
        Some(self.answer.message_id.as_str()).filter(|id| !id.is_empty())
    }

    /// As `read`, without what may be done about an error.
    ///
    /// # Errors
    /// As there.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.read(bytes, events).map_err(|refusal| refusal.error)
    }

    /// As `end`, without what may be done about an error.
    ///
    /// # Errors
    /// As there.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.end(events).map_err(|refusal| refusal.error)
    }
}

impl Transcript {
    fn take(
        &mut self,
        name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        let data = data.trim_ascii();
        // The end has been said: the connection may stay open behind it.
        if self.is_over || data.is_empty() {
            return Ok(());
        }
        // By name first: events that are to be ignored need not even be JSON.
        match name {
            b"" | b"major" | b"thought" | b"message" | b"error" => {}
            // Heard, so that a stream of these alone is one without text and not garbage.
            b"state" | b"renameSession" | b"step" => {
                self.has_readable = true;
                return Ok(());
            }
            _ => {
                self.has_readable = true;
                self.unknown.tell("event", events);
                return Ok(());
            }
        }
        // The fast way, for all but a handful: what borrows from the bytes must be found whole in them.
        if data.starts_with(b"{")
            && !json::may_have_half(data)
            && let Ok(frame) = serde_json::from_slice(data)
        {
            return self.frame(&frame, false, data, events);
        }
        // Half a character, a member twice, or no JSON at all.
        let normal = json::normal(data).filter(|(normal, _)| normal.starts_with(b"{"));
        let frame = normal.as_ref().and_then(|(normal, is_mended)| {
            Some((serde_json::from_slice(normal).ok()?, *is_mended, normal))
        });
        match frame {
            Some((frame, is_mended, normal)) => self.frame(&frame, is_mended, normal, events),
            None => {
                self.has_unreadable = true;
                self.unknown.tell("payload", events);
                Ok(())
            }
        }
    }

    fn frame(
        &mut self,
        frame: &Frame<'_>,
        is_mended: bool,
        bytes: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        self.has_readable = true;
        if frame.task_id.is_some() {
            return Ok(());
        }
        // Zero in any spelling; a code that is missing is none.
        if !matches!(frame.code.map(RawValue::get), None | Some("0" | "\"0\"")) {
            return self.failed(bytes, events);
        }
        // Told by the member and not by the event's name, which may be missing (section 6).
        if let Some(thoughts) = word(frame.thoughts) {
            // Its `is_end` ends the thinking, and is no end of anything else (section 9).
            self.think(&thoughts, is_mended, events);
            return Ok(());
        }
        let data = frame.data.map_or("null", RawValue::get);
        // `data` of other events has other shapes: what is missing is simply not said.
        let message: Message<'_> = serde_json::from_str(data).unwrap_or_default();
        if let Some(content) = word(message.content) {
            // Before the end is looked at: the last frame may bring text of its own (section 6).
            self.say(&content, is_mended, events);
        }
        // Either of the two makes it a message; what has neither may be `major`.
        if message.content.is_some() || message.is_end.is_some() {
            return match message.is_end.map(RawValue::get) {
                // All the spellings that services of this house have for a one.
                Some("1" | "true" | "\"1\"") => {
                    let whole = word(message.tokens_all).unwrap_or_default();
                    self.finish(&whole, is_mended, events)
                }
                _ => Ok(()),
            };
        }
        self.learn_ids(data);
        Ok(())
    }

    /// The ids of a `major` event, in either of the places where they were seen.
    fn learn_ids(&mut self, data: &str) {
        // Any shape, and mostly another one than this: a default finds nothing in it.
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let id = |path: &[&str]| {
            let found = path.iter().try_fold(&data, |value, name| value.get(name));
            let id = match found? {
                Value::String(id) => id.clone(),
                // Ids were numbers in 2024, and texts since (section 1, sources).
                Value::Number(id) => id.to_string(),
                _ => return None,
            };
            Some(id).filter(|id| !id.is_empty() && id.len() <= MOST_ID_BYTES)
        };
        let session = id(&["createSessionResponseVoCommonResult", "data", "sessionId"]);
        // Section 6: one client of 2026 finds it directly in `data`.
        if let Some(session) = session.or_else(|| id(&["sessionId"])) {
            self.session_id = session;
        }
        if let Some(message) = id(&["createChatResponseVoCommonResult", "data", "botChat", "id"]) {
            self.message_id = message;
        }
    }

    /// Moderation after some text ends the answer; anything else fails it (section 7).
    fn failed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        let members = match json::value(bytes) {
            Some((Value::Object(members), _)) => members,
            _ => Map::new(),
        };
        let refusal = refusal::in_envelope(&members, &self.variable)
            .unwrap_or_else(|| ProviderError::malformed("code").into());
        // With text before it the words stand, and the end says why there are no more (section 7).
        if refusal.error.kind == Kind::Moderated && self.has_text {
            self.hush(events);
            self.is_over = true;
            events.push(ChatEvent::Finish(FinishReason::ContentFilter));
            return Ok(());
        }
        Err(refusal)
    }

    fn think(&mut self, piece: &str, is_mended: bool, events: &mut Vec<ChatEvent>) {
        let pieces = self.thoughts.feed(piece, is_mended);
        thought(pieces, events);
    }

    fn say(&mut self, piece: &str, is_mended: bool, events: &mut Vec<ChatEvent>) {
        // What was held of the thoughts stays before the text.
        // A tag that was torn at the end of the thinking is decided now.
        thought(self.thoughts.finish(), events);
        let pieces = self.text.feed(piece, is_mended);
        self.spoken(pieces, events);
    }

    fn spoken(&mut self, pieces: Vec<Piece>, events: &mut Vec<ChatEvent>) {
        for piece in pieces {
            self.has_text = true;
            events.push(match piece {
                Piece::Text(text) => ChatEvent::Text(text),
                Piece::Picture(url) => ChatEvent::Image { url },
            });
        }
    }

    /// What is held comes out.
    fn hush(&mut self, events: &mut Vec<ChatEvent>) {
        thought(self.thoughts.finish(), events);
        let held = self.text.finish();
        self.spoken(held, events);
    }

    /// `whole`: the text as the service has it, which counts only where none of it has come in pieces.
    fn finish(
        &mut self,
        whole: &str,
        is_mended: bool,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        // Set before the text is looked at: an empty answer is over, too.
        self.is_over = true;
        self.hush(events);
        // `tokens_all` repeats everything that was said: as an increment it would double the answer (section 9).
        if !self.has_text {
            self.say(whole, is_mended, events);
            self.hush(events);
        }
        if !self.has_text {
            return Err(ProviderError::empty_answer().into());
        }
        events.push(ChatEvent::Finish(FinishReason::Stop));
        Ok(())
    }
}

impl Voice {
    fn feed(&mut self, piece: &str, is_mended: bool) -> Vec<Piece> {
        // The half that waits belongs before this piece, though the piece itself is whole.
        if is_mended || self.halves.is_waiting() {
            let joined = self.halves.join(piece);
            return self.tags.feed(joined);
        }
        self.tags.feed(piece.to_owned())
    }

    fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = match self.halves.finish() {
            Some(half) => self.tags.feed(half.to_string()),
            None => Vec::new(),
        };
        pieces.extend(self.tags.finish());
        pieces
    }
}

/// Thinking has no pictures of its own: one in it is written as the text would have it.
fn thought(pieces: Vec<Piece>, events: &mut Vec<ChatEvent>) {
    events.extend(pieces.into_iter().map(|piece| {
        ChatEvent::Reasoning(match piece {
            Piece::Text(text) => text,
            Piece::Picture(url) => format!("![图像]({url})"),
        })
    }));
}

/// A JSON string, borrowed where it is written without escapes; `None` for whatever else.
fn word(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Word<'a>(#[serde(borrow)] Cow<'a, str>);
    let word: Word<'_> = serde_json::from_str(raw?.get()).ok()?;
    Some(word.0)
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
