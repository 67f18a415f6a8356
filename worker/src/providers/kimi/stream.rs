//! The answer of `ChatService/Chat`, whichever transport brought it: envelopes whose events change chat, message and
//! blocks. Source: `wire/kimi.md` section 6.
//!
//! ```text
//!   open ──assistant's message COMPLETED──► completed ──done──► done
//!     └───────────────┴── trailer without an error ──────────────┴──► over
//! ```
//! A stream that ends while open is broken; one that ends later is whole, as the trailer is sometimes missing.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{
    event::{BlockChange, Content, Event, Mask, Message, Op, Role, Status},
    marks::{Marks, Piece},
    refusal::{self, Refusal},
    sections::Sections,
    sources::Sources,
};
use crate::{
    chat::{ChatEvent, FinishReason, ProviderError, emulate::schema::Offered},
    upstream::{
        connect::Envelopes,
        json::{self, Halves},
    },
};

/// An id longer than this is none.
const MOST_ID_BYTES: usize = 256;
/// Blocks that are remembered for the case that the service sets one anew.
const MOST_BLOCKS: usize = 1024;

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    envelopes: Envelopes,
    answer: Transcript,
}

#[derive(Debug, Default)]
struct Transcript {
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    chat_id: String,
    message_id: String,
    /// The echo of our prompt.
    question_id: String,
    blocks: Vec<Block>,
    /// Hashes of the ids of text blocks that are flagged as thinking.
    flagged: Vec<u64>,
    sections: Sections,
    marks: Marks,
    sources: Sources,
    has_output: bool,
    stage: Stage,
    /// Half characters at the end of text and of thinking.
    has_halves: bool,
    text_halves: Halves,
    thought_halves: Halves,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
enum Stage {
    #[default]
    Open,
    Completed,
    Done,
    Over,
}

/// A block's key, and length and hash of what was said of it: the text itself would grow without bound.
#[derive(Debug)]
struct Block {
    key: u64,
    bytes: usize,
    hash: u64,
}

#[derive(Clone, Copy)]
enum Voice {
    Text,
    Think,
}

impl Decoder {
    /// A decoder for one answer to the account whose credential is in `variable`.
    pub fn new(variable: &str) -> Self {
        Self {
            envelopes: Envelopes::default(),
            answer: Transcript {
                variable: variable.to_owned(),
                ..Transcript::default()
            },
        }
    }

    /// Calls of these tools stay in the text, whoever takes them out of it.
    pub fn keeping_calls(mut self, offered: Option<Arc<Offered>>) -> Self {
        self.answer.sections = Sections::keeping(offered);
        self
    }

    /// Takes the next bytes. What follows the trailer is ignored.
    ///
    /// # Errors
    /// An error that the stream itself reports (section 7), or bytes that are none of its envelopes.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // What follows the trailer is of nobody's answer.
        if self.is_over() {
            return Ok(());
        }
        self.envelopes.push(bytes);
        while let Some(envelope) = self.envelopes.next()? {
            if envelope.is_end {
                self.answer.trailer(envelope.payload, events)?;
            } else {
                self.answer.event(envelope.payload, events)?;
            }
            // Even with envelopes left: nothing may be said behind the end.
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// The bytes have ended, in order or not.
    ///
    /// # Errors
    /// An answer that was not complete, or complete without a word.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        match self.answer.stage {
            Stage::Over => Ok(()),
            Stage::Done | Stage::Completed => self.answer.complete(events),
            Stage::Open => Err(ProviderError::broken_stream()),
        }
    }

    /// The upstream conversation, as soon as an event has named it.
    pub fn chat_id(&self) -> Option<&str> {
        Some(self.answer.chat_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The upstream id of the answer, as soon as an event has named it.
    pub fn message_id(&self) -> Option<&str> {
        Some(self.answer.message_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The answer is whole: a connection that breaks now has lost nothing.
    pub fn is_complete(&self) -> bool {
        self.answer.stage >= Stage::Completed
    }

    /// Nothing but a trailer can follow.
    pub fn is_done(&self) -> bool {
        self.answer.stage >= Stage::Done
    }

    /// Nothing follows.
    pub fn is_over(&self) -> bool {
        self.answer.stage == Stage::Over
    }
}

impl Transcript {
    fn event(&mut self, payload: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // Owned and not borrowed: an event is small, and its texts go on anyway.
        let event: Event = match serde_json::from_slice(payload) {
            Ok(event) => event,
            Err(_) => {
                let normal = json::normal(payload);
                let (normal, is_mended) =
                    normal.ok_or_else(|| ProviderError::malformed("stream"))?;
                self.has_halves |= is_mended;
                match serde_json::from_slice(&normal) {
                    Ok(event) => event,
                    // JSON of a form that we do not know is one of the events that are to be ignored.
                    Err(_) => {
                        // Told once, as the shape is new and not the content.
                        events.push(ChatEvent::Unknown("event"));
                        return Ok(());
                    }
                }
            }
        };
        if event.mask.is_some_and(|mask| mask.is_new) {
            events.push(ChatEvent::Unknown("mask"));
        }
        // Before anything is said: an error may come with the last words of an answer.
        if let Some(error) = event.error {
            return Err(Refusal::object(&error).into_error(&self.variable));
        }
        if let Some(chat) = event.chat {
            keep(&mut self.chat_id, chat.id);
        }
        if let Some(message) = event.message {
            self.message(message);
        }
        if let Some(notification) = event.notification {
            let kind = notification.kind.unwrap_or_default().to_ascii_uppercase();
            if kind.contains("CONTENT") && kind.contains("FILTER") {
                return self.moderated(events);
            }
        }
        if let Some(block) = event.block {
            self.block(event.op, event.mask, block, events)?;
        }
        // `done` alone: `completed` has come before it (the diagram above).
        if event.done.is_some() && self.stage < Stage::Done {
            self.stage = Stage::Done;
        }
        Ok(())
    }

    /// The flags of the envelope say that this is the end; the payload says which (section 6.1).
    fn trailer(
        &mut self,
        payload: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        #[derive(Deserialize)]
        struct Trailer {
            error: Option<Value>,
        }
        let trailer: Trailer =
            serde_json::from_slice(payload).map_err(|_| ProviderError::malformed("trailer"))?;
        match trailer.error {
            // Over already: a moderated answer ends before its trailer.
            _ if self.stage == Stage::Over => Ok(()),
            Some(error) => Err(Refusal::object(&error).into_error(&self.variable)),
            None => self.complete(events),
        }
    }

    fn message(&mut self, message: Message) {
        // The echo of our own prompt is COMPLETED from the start: never the end of the answer (section 9).
        if message.role == Some(Role::User) {
            keep(&mut self.question_id, message.id);
            return;
        }
        let chunks = message.refs.and_then(|refs| refs.search_chunks);
        self.sources.add(chunks.unwrap_or_default());
        let is_echo = message.role.is_none()
            && message.id.is_some()
            && message.id.as_deref() == Some(self.question_id.as_str());
        if is_echo || message.role == Some(Role::Other) {
            return;
        }
        // Of an answer, not of the prompt's echo: it names what the next turn continues.
        keep(&mut self.message_id, message.id);
        if message.status == Some(Status::Completed) && self.stage < Stage::Completed {
            self.stage = Stage::Completed;
        }
    }

    fn block(
        &mut self,
        op: Option<Op>,
        mask: Option<Mask>,
        block: BlockChange,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // The stream goes on to an end that looks normal (E3), so this is the moment to notice.
        if let Some(exception) = block.exception {
            let refusal = Refusal::object(&exception.error);
            return if refusal.is_moderation() {
                self.moderated(events)
            } else {
                Err(refusal.into_error(&self.variable))
            };
        }
        if let Some(found) = block.tool.and_then(|tool| tool.contents) {
            self.sources.add(found);
        }
        if let Some(pages) = block.search.and_then(|search| search.web_pages) {
            self.sources.add_pages(pages);
        }
        // Old streams have no mask (section 6.2).
        // Without a mask everything that is there is of the block: an old stream says nothing of fields.
        let mask = mask.unwrap_or_else(|| Mask {
            text: block.text.is_some(),
            think: block.text.is_none(),
            is_new: false,
        });
        let id = block.id.unwrap_or_default();
        let thought = block.think.filter(|_| mask.think);
        let text = block.text.map(|text| (self.voice(&id, &text), text));
        let said = [
            thought.map(|content| (Voice::Think, content)),
            text.filter(|_| mask.text),
        ];
        for (voice, content) in said.into_iter().flatten() {
            // Empty content says nothing, and need not be looked up.
            if let Some(content) = content.content
                && let Some(new) = self.news(op, voice, &id, content)
            {
                self.say(voice, new, events);
            }
        }
        Ok(())
    }

    /// Whether a text block is text or thinking: what its flags say, now or when it was set (section 6.2).
    fn voice(&mut self, id: &str, text: &Content) -> Voice {
        let id = fnv(FNV_START, id.as_bytes());
        match text.is_thinking() {
            // Bounded: an answer of endless blocks would keep growing.
            Some(true) if !self.flagged.contains(&id) && self.flagged.len() < MOST_BLOCKS => {
                self.flagged.push(id);
            }
            Some(true) | None => {}
            Some(false) => self.flagged.retain(|known| *known != id),
        }
        if self.flagged.contains(&id) {
            Voice::Think
        } else {
            Voice::Text
        }
    }

    /// What of a block's content has not been said yet.
    fn news(&mut self, op: Option<Op>, voice: Voice, id: &str, content: String) -> Option<String> {
        let key = fnv(fnv(FNV_START, &[voice as u8]), id.as_bytes());
        // From the back: the block that grows is the newest.
        let at = self.blocks.iter().rposition(|known| known.key == key);
        let at = at.unwrap_or_else(|| {
            if self.blocks.len() == MOST_BLOCKS {
                // The oldest is the least likely to be set anew.
                self.blocks.remove(0);
            }
            self.blocks.push(Block {
                key,
                bytes: 0,
                hash: FNV_START,
            });
            self.blocks.len() - 1
        });
        let block = self.blocks.get_mut(at)?;
        // Neither set nor append, and not said: what the block is now is not known.
        let new = match op? {
            Op::Append => content,
            // A block that is set again is replaced: what was sent stands, what extends it is new.
            Op::Set => match content.split_at_checked(block.bytes) {
                Some((_, new)) if block.bytes == 0 => new.to_owned(),
                // By its hash and length: the text itself is not kept.
                Some((said, new)) if fnv(FNV_START, said.as_bytes()) == block.hash => {
                    new.to_owned()
                }
                Some(_) | None => return None,
            },
            Op::Other => return None,
        };
        block.bytes += new.len();
        block.hash = fnv(block.hash, new.as_bytes());
        Some(new)
    }

    fn say(&mut self, voice: Voice, new: String, events: &mut Vec<ChatEvent>) {
        let mut pieces = Vec::new();
        let halves = match voice {
            Voice::Text => &mut self.text_halves,
            Voice::Think => &mut self.thought_halves,
        };
        let new = if self.has_halves && (halves.is_waiting() || json::has_half(&new)) {
            halves.join(&new)
        } else {
            new
        };
        match voice {
            // Before it is counted as output: an empty thought is a keep-alive.
            Voice::Think if new.is_empty() => return,
            Voice::Think => {
                self.has_output = true;
                return events.push(ChatEvent::Reasoning(new));
            }
            Voice::Text => {
                let clean = self.sections.feed(new);
                self.marks.feed(clean, &mut pieces);
            }
        }
        self.pass_on(pieces, events);
    }

    fn pass_on(&mut self, pieces: Vec<Piece>, events: &mut Vec<ChatEvent>) {
        for piece in pieces {
            self.has_output = true;
            match piece {
                Piece::Text(text) => events.push(ChatEvent::Text(text)),
                Piece::Reference(reference) => {
                    // Numbered when it is first cited, whether its source has come or will.
                    if let Some(index) = self.sources.cite(reference) {
                        events.push(ChatEvent::Cited { index });
                    }
                }
            }
        }
    }

    fn moderated(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.release(events);
        if !self.has_output {
            return Err(refusal::moderated());
        }
        self.end(FinishReason::ContentFilter, events);
        Ok(())
    }

    fn complete(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.release(events);
        if !self.has_output {
            return Err(ProviderError::empty_answer().with_code("upstream_empty"));
        }
        self.end(FinishReason::Stop, events);
        Ok(())
    }

    /// What was held back as the possible beginning of a section is text after all.
    fn release(&mut self, events: &mut Vec<ChatEvent>) {
        for (voice, half) in [
            (Voice::Think, self.thought_halves.finish()),
            (Voice::Text, self.text_halves.finish()),
        ] {
            if let Some(half) = half {
                self.say(voice, half.to_string(), events);
            }
        }
        let mut pieces = Vec::new();
        let held = self.sections.finish();
        self.marks.feed(held, &mut pieces);
        self.pass_on(pieces, events);
    }

    fn end(&mut self, reason: FinishReason, events: &mut Vec<ChatEvent>) {
        // First, so that nothing below is said twice.
        self.stage = Stage::Over;
        // What was held as a mark is dropped with it (section 5.3).
        self.marks.finish();
        events.extend(std::mem::take(&mut self.sources).into_citations());
        events.push(ChatEvent::Finish(reason));
    }
}

fn keep(known: &mut String, id: Option<String>) {
    if let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= MOST_ID_BYTES) {
        *known = id;
    }
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, going on from `hash`: small, and the same however a text is cut.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
