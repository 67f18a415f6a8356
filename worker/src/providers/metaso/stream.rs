//! The answer, of both generations: events that each hold a piece of text, and lists of sources. Source:
//! `wire/metaso.md` sections 6 and 10.2.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    marks::Marks,
    refusal::{self, Asker},
    sources::{Item, Sources},
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, Unknowns},
    upstream::{
        json::{self, Halves},
        sse::Sse,
    },
};

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    sse: Sse,
    answer: Transcript,
}

#[derive(Debug)]
struct Transcript {
    variable: String,
    may_lack_cookies: bool,
    marks: Marks,
    sources: Sources,
    halves: Waiting,
    conversation: String,
    message: String,
    has_text: bool,
    /// A payload was no JSON.
    has_unreadable: bool,
    is_finished: bool,
    unknown: Unknowns,
}

/// One event of either generation. Everything may be missing or null.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(default)]
    list: Option<Vec<Item>>,
    #[serde(default)]
    data: Option<Value>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(default)]
    citations: Option<Vec<Item>>,
}

#[derive(Clone, Copy)]
enum Channel {
    Text,
    Reasoning,
}

/// Halves of characters that wait for the next piece.
#[derive(Debug, Default)]
struct Waiting {
    text: Halves,
    thoughts: Halves,
}

impl Decoder {
    /// A decoder for one answer to the account whose credential is in `variable`. `may_lack_cookies`: it is in the short form
    /// and nothing was ever answered with it. `strips_single`: `[1]` is a mark as well as `[[1]]`.
    pub fn new(variable: &str, may_lack_cookies: bool, strips_single: bool) -> Self {
        Self {
            sse: Sse::default(),
            answer: Transcript {
                variable: variable.to_owned(),
                may_lack_cookies,
                marks: Marks::new(strips_single),
                sources: Sources::default(),
                halves: Waiting::default(),
                conversation: String::new(),
                message: String::new(),
                has_text: false,
                has_unreadable: false,
                is_finished: false,
                unknown: Unknowns::default(),
            },
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// An error that the stream itself reports (section 7), or an end without an answer.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let mut came = self.sse.read(bytes)?;
        while let Some(event) = came.next() {
            self.answer.data(event.data, events)?;
        }
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// A stream without its end mark was cut.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(event) = self.sse.finish() {
            self.answer.data(event.data, events)?;
        }
        match &self.answer {
            answer if answer.is_finished => Ok(()),
            answer if answer.has_unreadable => Err(ProviderError::malformed("stream")),
            _ => Err(ProviderError::broken_stream()),
        }
    }

    /// Whether the service has said that its answer is complete.
    pub fn is_finished(&self) -> bool {
        self.answer.is_finished
    }

    /// The upstream conversation, as soon as an event has named it.
    pub fn conversation_id(&self) -> Option<&str> {
        Some(self.answer.conversation.as_str()).filter(|id| !id.is_empty())
    }

    /// The upstream id of the answer, as soon as an event has named it.
    pub fn message_id(&self) -> Option<&str> {
        Some(self.answer.message.as_str()).filter(|id| !id.is_empty())
    }
}

impl Transcript {
    fn data(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if self.is_finished {
            return Ok(());
        }
        match data.trim_ascii() {
            [] | b"null" => return Ok(()),
            b"[DONE]" | b"\"[DONE]\"" => return self.end(FinishReason::Stop, events),
            _ => {}
        }
        if let Ok(frame) = serde_json::from_slice::<Frame<'_>>(data) {
            return self.frame(frame, false, data, events);
        }
        // Half a character, a member of another type or twice, or no JSON at all.
        let Some((normal, is_mended)) = json::normal(data) else {
            // Words in place of JSON: too many requests (section 6).
            if let Some(error) = refusal::plain(data, self.asker()) {
                return Err(error);
            }
            self.has_unreadable = true;
            self.unknown.tell("payload", events);
            return Ok(());
        };
        match serde_json::from_slice::<Frame<'_>>(&normal) {
            Ok(frame) => self.frame(frame, is_mended, &normal, events),
            Err(_) => self.odd(&normal, events),
        }
    }

    fn frame(
        &mut self,
        frame: Frame<'_>,
        is_mended: bool,
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // `choices` is the chat generation's; what else such a frame holds is not looked at.
        if let Some(choices) = frame.choices {
            for delta in choices.into_iter().filter_map(|choice| choice.delta) {
                for (channel, piece) in [
                    // In this order, where one frame brings both: thinking precedes what it led to.
                    (Channel::Reasoning, delta.reasoning_content),
                    (Channel::Text, delta.content),
                ] {
                    self.say(channel, piece.unwrap_or_default(), is_mended, events);
                }
                // Once, near the end; an empty list takes nothing back.
                if let Some(items) = delta.citations.filter(|items| !items.is_empty()) {
                    self.sources.set(items);
                }
            }
            return Ok(());
        }
        // Only of the two events that name one.
        let id = || {
            let id = frame.data.as_ref().and_then(|data| data.get("id"));
            match id {
                Some(Value::String(id)) => id.clone(),
                Some(Value::Number(id)) => id.to_string(),
                _ => String::new(),
            }
        };
        match frame.kind.as_deref().unwrap_or_default() {
            "append-text" => {
                let text = frame.text.unwrap_or_default();
                self.say(Channel::Text, text, is_mended, events);
            }
            "set-reference" => self.sources.set(frame.list.unwrap_or_default()),
            "update-reference" => self.sources.extend(frame.list.unwrap_or_default()),
            "conversation_init" | "session-created" => self.conversation = id(),
            "response_message_init" => self.message = id(),
            "heartbeat"
            | "query"
            | "user_message_init"
            | "recommended-question"
            | "answer-link-num-highlights" => {}
            "error" => return self.failed(data, events),
            "" => return self.odd(data, events),
            _ => self.unknown.tell("event", events),
        }
        Ok(())
    }

    /// JSON without a known form: passed over, unless it is an error.
    fn odd(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let Some((Value::Object(members), _)) = json::value(data) else {
            self.unknown.tell("payload", events);
            return Ok(());
        };
        let is_error = members.get("type").and_then(Value::as_str) == Some("error");
        if is_error
            || refusal::is_failure(&members)
            || crate::providers::said::error_in(&members).is_some()
        {
            return self.failed(data, events);
        }
        self.unknown.tell("event", events);
        Ok(())
    }

    /// Moderation after some text ends the answer; anything else fails it (section 7).
    fn failed(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let members = match json::value(data) {
            Some((Value::Object(members), _)) => members,
            _ => Map::new(),
        };
        let error = refusal::told(&members, self.asker());
        // Text that is still held back as a possible mark counts: it will be said.
        if error.kind == Kind::Moderated && (self.has_text || self.marks.is_holding()) {
            return self.end(FinishReason::ContentFilter, events);
        }
        Err(error)
    }

    fn say(
        &mut self,
        channel: Channel,
        piece: Cow<'_, str>,
        is_mended: bool,
        events: &mut Vec<ChatEvent>,
    ) {
        if piece.is_empty() {
            return;
        }
        let halves = match channel {
            Channel::Text => &mut self.halves.text,
            Channel::Reasoning => &mut self.halves.thoughts,
        };
        let piece = if is_mended || halves.is_waiting() {
            Cow::Owned(halves.join(&piece))
        } else {
            piece
        };
        match channel {
            Channel::Reasoning if piece.is_empty() => {}
            Channel::Reasoning => events.push(ChatEvent::Reasoning(piece.into_owned())),
            Channel::Text => {
                // From here on: earlier events of this feed have been heeded already.
                let before = events.len();
                self.marks.feed(&piece, events);
                self.heed(before, events);
            }
        }
    }

    /// Notes what the new events say.
    fn heed(&mut self, before: usize, events: &[ChatEvent]) {
        for event in events.iter().skip(before) {
            match event {
                ChatEvent::Cited { index } => self.sources.cite(*index),
                _ => self.has_text = true,
            }
        }
    }

    fn end(
        &mut self,
        reason: FinishReason,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        self.is_finished = true;
        let before = events.len();
        if let Some(half) = self.halves.text.finish() {
            self.marks.feed(half.encode_utf8(&mut [0; 4]), events);
        }
        self.marks.finish(events);
        self.heed(before, events);
        if let Some(half) = self.halves.thoughts.finish() {
            events.push(ChatEvent::Reasoning(half.to_string()));
        }
        // An answer of thinking alone is none (section 7, `[DONE]` with no text).
        if !self.has_text {
            return Err(ProviderError::empty_answer());
        }
        events.extend(self.sources.citations());
        events.push(ChatEvent::Finish(reason));
        Ok(())
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            variable: &self.variable,
            // Whoever gets text has all the cookies that it takes.
            may_lack_cookies: self.may_lack_cookies && !self.has_text,
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
