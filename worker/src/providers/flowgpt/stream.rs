//! The answer of `POST /v3/chat`: lines of JSON that each hold a piece of text. Source: `wire/flowgpt.md` section 6.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{preamble::Preamble, refusal};
use crate::{
    chat::{ChatEvent, FinishReason, ProviderError, Unknowns},
    impossible::OrImpossible as _,
    providers::said,
    upstream::json::{self, Halves},
};

/// Most bytes of one line; more is no answer but an attack or a fault.
const MOST_LINE_BYTES: usize = 16 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    /// The beginning of a line whose end has not come: characters are torn as well, so bytes are kept.
    line: Vec<u8>,
    answer: Transcript,
}

#[derive(Debug, Default)]
struct Transcript {
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    preamble: Preamble,
    halves: Halves,
    has_text: bool,
    /// A line was an object, whatever it said.
    has_readable: bool,
    has_unreadable: bool,
    unknown: Unknowns,
}

/// A line. Whatever else it holds is not looked at.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Decoder {
    /// A decoder for one answer to the account whose credential is in `variable`.
    pub fn new(variable: &str) -> Self {
        Self {
            line: Vec::new(),
            answer: Transcript {
                variable: variable.to_owned(),
                ..Transcript::default()
            },
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// A failure that the stream itself reports (section 7), or a stream that is none.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Whole lines from the piece itself: only a torn one is copied.
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(at);
            bytes = rest.get(1..).or_impossible("the line's end stands there");
            if self.line.is_empty() {
                self.answer.line(line, events)?;
            } else {
                self.line.extend_from_slice(line);
                let result = self.answer.line(&self.line, events);
                // Cleared before the result is looked at, so that an error does not leave half a line for the next
                // call.
                self.line.clear();
                result?;
            }
        }
        // What is torn counts with what has come, or a line without end would fill the memory.
        if self.line.len() + bytes.len() > MOST_LINE_BYTES {
            return Err(ProviderError::malformed("stream"));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// The body has ended regularly, which is the only end that an answer has.
    ///
    /// # Errors
    /// An answer without any text.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // The last line may lack its end.
        let line = std::mem::take(&mut self.line);
        self.answer.line(&line, events)?;
        self.answer.end(events)
    }
}

impl Transcript {
    fn line(&mut self, line: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        // CR of a line that ends in CRLF, too.
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        // A list would be read as the members in their order.
        if !line.starts_with(b"{") {
            return self.unreadable(events);
        }
        // A half would only be found where the member is looked at.
        if !json::may_have_half(line)
            && let Ok(known) = serde_json::from_slice(line)
        // Borrowed from the line: nearly every one is read without a copy.
        {
            return self.object(&known, false, line, events);
        }
        // A member twice, or half a character: read loosely and written anew.
        let Some((normal, is_mended)) = json::normal(line) else {
            return self.unreadable(events);
        };
        match serde_json::from_slice(&normal) {
            Ok(known) => self.object(&known, is_mended, &normal, events),
            Err(_) => self.unreadable(events),
        }
    }

    /// Skipped, but not forgotten: an answer of nothing else is none.
    fn unreadable(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.has_unreadable = true;
        self.unknown.tell("line", events);
        Ok(())
    }

    fn object(
        &mut self,
        line: &Line<'_>,
        is_mended: bool,
        bytes: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        self.has_readable = true;
        let data = word(line.data);
        match (line.event.map(RawValue::get), data) {
            // Section 6: text by name, or a nameless line whose `data` is a text.
            (None | Some("\"text\""), Some(text)) => {
                self.text(text, is_mended, events);
                Ok(())
            }
            (None, None) => self.nameless(bytes, events),
            (Some("\"error\""), _) => {
                // A missing reason is null, which has no words; so is one that is no JSON.
                let reason = line.data.map_or("null", RawValue::get);
                Err(refusal::told(
                    &serde_json::from_str(reason).unwrap_or_default(),
                ))
            }
            // Other events' data is not for the client, whatever its type.
            (Some(_), _) => {
                self.unknown.tell("event", events);
                Ok(())
            }
        }
    }

    /// Neither an event nor text: passed over, unless it is an error.
    fn nameless(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some((Value::Object(members), _)) = json::value(bytes)
            && let Some(said) = said::error_in(&members)
        {
            return Err(refusal::in_stream(&said, &members, &self.variable));
        }
        self.unknown.tell("event", events);
        Ok(())
    }

    fn text(&mut self, piece: Cow<'_, str>, is_mended: bool, events: &mut Vec<ChatEvent>) {
        // The half that waits stands before this piece.
        let piece = if is_mended || self.halves.is_waiting() {
            Cow::Owned(self.halves.join(&piece))
        } else {
            piece
        };
        let text = self.preamble.pass(piece);
        self.say(text, events);
    }

    fn say(&mut self, text: Cow<'_, str>, events: &mut Vec<ChatEvent>) {
        if !text.is_empty() {
            self.has_text = true;
            events.push(ChatEvent::Text(text.into_owned()));
        }
    }

    fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // A half that stays alone is U+FFFD, and may end what the preamble holds.
        if let Some(half) = self.halves.finish() {
            let text = self.preamble.pass(Cow::Owned(half.to_string()));
            self.say(text, events);
        }
        // What was held was no preamble (section 6, rule 3).
        let held = self.preamble.release();
        self.say(held.into(), events);
        if self.has_text {
            events.push(ChatEvent::Finish(FinishReason::Stop));
            return Ok(());
        }
        Err(if self.has_unreadable && !self.has_readable {
            ProviderError::malformed("stream")
        } else {
            ProviderError::empty_answer()
        })
    }
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
