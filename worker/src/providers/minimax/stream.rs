//! The answer of the cloud generation's message call: records of whole messages and of pieces of them. Source:
//! `wire/minimax.md` section 12.5.

use serde_json::value::RawValue;

use super::{
    messages::{Part, Said, Voice},
    record::{Chunk, Message, Record, word},
    refusal::{self, Refusal},
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, Unknowns, Usage},
    upstream::{json, sse::Sse},
};

/// More messages than this are no answer.
const MOST_MESSAGES: usize = 1000;

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    sse: Sse,
    answer: Answer,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// A message has ended with `stop`: the turn may be over, and what may still come is its cost.
    Answered,
    Over,
}

#[derive(Debug, Default)]
struct Answer {
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    stage: Stage,
    messages: Vec<Said>,
    /// The message whose text was passed on last.
    last: Option<usize>,
    has_output: bool,
    has_halves: bool,
    reason: Option<FinishReason>,
    output_tokens: Option<u64>,
    /// The last message of an answer.
    message_id: String,
    unreadable: u32,
    unknown: Unknowns,
}

impl Decoder {
    /// A decoder for one answer to the account whose credential is in `variable`.
    pub fn new(variable: &str) -> Self {
        Self {
            sse: Sse::default(),
            answer: Answer {
                variable: variable.to_owned(),
                ..Answer::default()
            },
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the stream itself reports.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        // The decoder's own bound: a line without an end is refused there.
        let mut came = self.sse.read(bytes)?;
        while let Some(event) = came.next() {
            self.answer.data(event.data, events)?;
        }
        Ok(())
    }

    /// The body has ended, or nothing has come for a while after an answer.
    ///
    /// # Errors
    /// An answer without content, or one that broke off.
    pub(super) fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        // A last record without the empty line behind it.
        if let Some(event) = self.sse.finish() {
            self.answer.data(event.data, events)?;
        }
        match self.answer.stage {
            Stage::Over => Ok(()),
            // Section 12.5: after `stop` the closing of the connection is an end as well.
            Stage::Answered => self.answer.complete(events),
            // Records that nobody could read are the likelier reason than a break.
            Stage::Open if !self.answer.has_output && self.answer.unreadable > 0 => {
                Err(ProviderError::malformed("stream").into())
            }
            Stage::Open => Err(ProviderError::broken_stream().into()),
        }
    }

    /// Whether the turn is over.
    pub fn is_over(&self) -> bool {
        self.answer.stage == Stage::Over
    }

    /// Whether an answer is complete, though the service has not said that the turn is over.
    pub(super) fn is_answered(&self) -> bool {
        self.answer.stage == Stage::Answered
    }

    /// The upstream id of this answer.
    pub(super) fn message_id(&self) -> Option<&str> {
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

impl Answer {
    fn data(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        // A moderated answer is over for us while the stream may still go on.
        if self.stage == Stage::Over {
            return Ok(());
        }
        match data.trim_ascii() {
            // Also as a JSON string: both are an end and no record.
            b"[DONE]" | b"\"[DONE]\"" => return self.complete(events),
            b"" | b"null" => return Ok(()),
            _ => {}
        }
        // A record with an escaped half does not parse: it is mended first, and only then.
        if !json::may_have_half(data)
            && let Ok(record) = serde_json::from_slice(data)
        {
            return self.record(&record, data, events);
        }
        let Some((normal, is_mended)) = json::normal(data) else {
            self.unreadable += 1;
            self.unknown.tell("record", events);
            return Ok(());
        };
        self.has_halves |= is_mended;
        match serde_json::from_slice(&normal) {
            Ok(record) => self.record(&record, &normal, events),
            Err(_) => {
                // It is JSON, only not a record: no sign of a broken stream.
                self.unknown.tell("record", events);
                Ok(())
            }
        }
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        // The whole record is read again, which only those with an envelope are worth.
        if record.base_resp.is_some()
            && let Some(refusal) = refusal::refusal(200, data, &self.variable)
        {
            return self.fail(refusal, events);
        }
        // By what it holds, not by the type beside it, which says the same.
        if let Some(chunk) = &record.agent_message_chunk {
            return self.chunk(chunk, events);
        }
        if let Some(message) = &record.agent_message {
            return self.message(message, events);
        }
        match record.kind.map_or("", RawValue::get) {
            "\"session_status\"" => {
                let status = record.session_status.as_ref();
                let status = status.and_then(|status| word(status.kind));
                if status.as_deref() == Some("finished") {
                    return self.complete(events);
                }
                Ok(())
            }
            "\"error\"" => {
                let words = word(record.message).unwrap_or_default();
                self.fail(refusal::told(&words, &self.variable), events)
            }
            // Signs of life, the only records of a sandbox that starts (section 9).
            "10" => Ok(()),
            _ => {
                self.unknown.tell("record", events);
                Ok(())
            }
        }
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        let Some(at) = self.find(chunk.msg_id) else {
            return Ok(());
        };
        // The question comes back in pieces too, and may hold the whole prompt.
        if self.messages.get(at).is_none_or(|said| said.is_echo) {
            return Ok(());
        }
        let is_last = chunk.finish == Some(true);
        // The agent goes on after a `stop`: what looked like the end was that of one message.
        self.stage = Stage::Open;
        // Thoughts come first where one piece brings both.
        for (kind, content) in [
            (Part::Thinking, word(chunk.thinking_content)),
            (Part::Text, word(chunk.msg_content)),
        ] {
            let content = content.filter(|content| !content.is_empty());
            let Some((voice, content)) = self.voice(at, kind).zip(content) else {
                continue;
            };
            // One source sees a last piece that repeats everything; the message that follows decides.
            if is_last && voice.said == content {
                continue;
            }
            self.append(at, kind, &content, events);
        }
        if is_last {
            match word(chunk.finish_reason).as_deref() {
                // `toolUse` is not the end either: the agent goes on (section 12.5).
                // What is wrong stands in the message that follows.
                Some("toolUse" | "tool_use" | "tool_calls" | "error") => {}
                reason => {
                    self.reason = Some(finish_reason(reason));
                    self.stage = Stage::Answered;
                }
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: &Message<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        let Some(at) = self.find(message.msg_id) else {
            return Ok(());
        };
        // Before its finish: the echo has one too.
        if let Some("user" | "system") = word(message.role).as_deref() {
            if let Some(said) = self.messages.get_mut(at) {
                said.is_echo = true;
            }
            return Ok(());
        }
        let reason = word(message.finish_reason);
        // Before the steps: a tool that fails ends the turn with this.
        if reason.as_deref() == Some("error") {
            let words = word(message.msg_content).unwrap_or_default();
            return self.fail(refusal::told(&words, &self.variable), events);
        }
        if message.is_step() {
            return Ok(());
        }
        self.output_tokens = message
            .usage
            .and_then(|usage| usage.output_tokens)
            // A later message without a cost does not take the earlier one's away.
            .or(self.output_tokens);
        for (kind, content) in [
            (Part::Thinking, word(message.thinking_content)),
            (Part::Text, word(message.msg_content)),
        ] {
            if let Some(content) = content.filter(|content| !content.is_empty()) {
                self.settle(at, kind, &content, events);
            }
        }
        if let Some(said) = self.messages.get(at) {
            // The last answer's, not the last record's: steps have ids of their own.
            self.message_id.clone_from(&said.id);
        }
        if reason.is_some() {
            self.reason = Some(finish_reason(reason.as_deref()));
            self.stage = Stage::Answered;
        }
        Ok(())
    }

    /// A message by its id; one without an id is the one that spoke last.
    fn find(&mut self, id: Option<&RawValue>) -> Option<usize> {
        let id = match id {
            // An id that is a number is compared as it is written.
            Some(id) => word(Some(id)).unwrap_or_else(|| id.get().into()),
            None if self.messages.is_empty() => "".into(),
            None => return Some(self.messages.len() - 1),
        };
        // From the back: records nearly always speak of the newest.
        let known = self.messages.iter().rposition(|said| said.id == id);
        // Full: what is known goes on, what is new is left out.
        if known.is_some() || self.messages.len() == MOST_MESSAGES {
            return known;
        }
        self.messages.push(Said::new(id.into_owned()));
        Some(self.messages.len() - 1)
    }

    fn voice(&mut self, at: usize, part: Part) -> Option<&mut Voice> {
        Some(self.messages.get_mut(at)?.voice(part))
    }

    fn append(&mut self, at: usize, part: Part, content: &str, events: &mut Vec<ChatEvent>) {
        let has_halves = self.has_halves;
        if let Some(voice) = self.voice(at, part) {
            let new = voice.append(content, has_halves);
            self.say(at, part, new, events);
        }
    }

    /// All that a message says: what goes on from what was said is passed on.
    fn settle(&mut self, at: usize, part: Part, content: &str, events: &mut Vec<ChatEvent>) {
        let has_halves = self.has_halves;
        let new = self
            .voice(at, part)
            .and_then(|voice| voice.settle(content, has_halves));
        if let Some(new) = new {
            self.say(at, part, new, events);
        }
    }

    fn say(&mut self, at: usize, part: Part, new: String, events: &mut Vec<ChatEvent>) {
        if new.is_empty() {
            return;
        }
        self.has_output = true;
        match part {
            Part::Thinking => events.push(ChatEvent::Reasoning(new)),
            Part::Text => {
                // The agent goes on after a step.
                if self.last.replace(at).is_some_and(|last| last != at) {
                    events.push(ChatEvent::Text(GAP.to_owned()));
                }
                events.push(ChatEvent::Text(new));
            }
        }
    }

    /// Moderation after some text ends the answer; all else fails it.
    fn fail(&mut self, refusal: Refusal, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        // What was said stands; the client is told why it stops instead of getting an error after half a text.
        if refusal.error.kind != Kind::Moderated || !self.has_output {
            return Err(refusal);
        }
        self.reason = Some(FinishReason::ContentFilter);
        self.complete(events)
    }

    fn complete(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        // First, so that nothing below is done twice.
        self.stage = Stage::Over;
        // A half whose other half never came is said as U+FFFD, where the service shows it too.
        for at in 0..self.messages.len() {
            for part in [Part::Thinking, Part::Text] {
                let half = self.voice(at, part).and_then(|it| it.halves.finish());
                if let Some(half) = half {
                    self.say(at, part, half.to_string(), events);
                }
            }
        }
        if !self.has_output {
            // Records that nobody could read may have been the answer.
            return Err(if self.unreadable > 0 {
                ProviderError::malformed("stream")
            } else {
                ProviderError::empty_answer()
            }
            .into());
        }
        if self
            .messages
            .iter()
            .any(|said| said.text.otherwise.is_some())
        {
            events.push(ChatEvent::Rewritten(self.whole()));
        }
        // Of the question the service counts its own prompt as well, so that number is left out.
        events.extend(self.output_tokens.map(|completion_tokens| {
            ChatEvent::Usage(Usage {
                completion_tokens,
                ..Usage::default()
            })
        }));
        events.push(ChatEvent::Finish(self.reason.unwrap_or(FinishReason::Stop)));
        Ok(())
    }

    fn whole(&self) -> String {
        let texts = self.messages.iter().filter(|said| !said.is_echo);
        let texts = texts.map(|said| said.text.otherwise.as_ref().unwrap_or(&said.text.said));
        let texts: Vec<&str> = texts
            .map(String::as_str)
            .filter(|it| !it.is_empty())
            .collect();
        texts.join(GAP)
    }
}

/// Between two messages of one answer.
pub(super) const GAP: &str = "\n\n";

fn finish_reason(word: Option<&str>) -> FinishReason {
    match word {
        Some("length" | "max_tokens") => FinishReason::Length,
        Some("content_filter" | "sensitive") => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
