//! The answer: OpenAI's chunks, one by one. What has an event of its own becomes one; other members of a delta
//! are passed on as they are. Source: OpenAI's public API reference.
//!
//! ```text
//!                 finish reason                 [DONE]
//!   answering ──────────────────► finished ──────────────► done
//!       │  │                                                ▲
//!       │  └────────── [DONE], with something said ─────────┘
//!       └─ an error in any shape ──► Err
//! ```
//!
//! Once it is finished nothing that follows can make it fail.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::{
    calls::Calls,
    delta::Delta,
    frame::{self, Choice, Chunk, Frame},
    refusal,
    sources::Sources,
    words::{Control, Reason, control, is_heartbeat, reason},
};
use crate::{
    chat::{
        ChatEvent, FinishReason, Kind, ProviderError, Unknowns,
        template::{Repeats, Template},
    },
    providers::said::Said,
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

#[derive(Debug, Default)]
struct Transcript {
    variable: String,
    has_output: bool,
    is_finished: bool,
    is_done: bool,
    /// The caller asked with `functions`, the older way, and is answered in it.
    takes_functions: bool,
    /// A whole answer, not a stream of chunks.
    is_whole: bool,
    /// Pieces of text that look like the one before need no parser.
    alike: Template,
    /// What such a piece is.
    is_reasoning: bool,
    /// Pieces came as `delta`: a `message` repeats them.
    has_deltas: bool,
    /// The last choice was a piece of an answer, which says itself when it is the last one.
    is_piece: bool,
    /// Which choice is ours: the first one that is named.
    index: Option<u64>,
    /// The texts of the event being read may hold halves of characters.
    is_mended: bool,
    /// Half characters at the end of text and of thinking.
    text: Halves,
    reasoning: Halves,
    calls: Calls,
    sources: Sources,
    unknown: Unknowns,
}

impl Decoder {
    /// A decoder for one answer to the key in `variable`.
    pub fn new(variable: &str) -> Self {
        Self {
            sse: Sse::default(),
            answer: Transcript::new(variable),
        }
    }

    /// The caller asked with `functions`: a `function_call` is passed on as it is.
    pub fn with_functions(mut self, takes_functions: bool) -> Self {
        self.answer.takes_functions = takes_functions;
        self
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// An error object in the stream, or a stream that is none; never once the answer is finished.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if self.answer.is_done {
            return Ok(());
        }
        // Behind the end a stream may break as it likes.
        let mut came = match self.sse.read(bytes) {
            Ok(came) => came,
            Err(error) => return self.answer.unless_finished(error.into()),
        };
        // Up to the end: what follows `[DONE]` is of nobody's answer.
        while let Some(event) = came.next() {
            self.answer.event(event.name, event.data, events)?;
            if self.answer.is_done {
                break;
            }
        }
        Ok(())
    }

    /// The body has ended, regularly or not.
    ///
    /// # Errors
    /// An answer that broke off: neither a finish reason nor `[DONE]`.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if !self.answer.is_done
            && let Some(event) = self.sse.finish()
            && let Err(error) = self.answer.event(event.name, event.data, events)
        {
            // An event that was torn is the end of a stream that broke.
            return Err(match error.kind {
                Kind::Protocol => ProviderError::broken_stream(),
                _ => error,
            });
        }
        let answer = &mut self.answer;
        match (answer.is_finished, answer.has_output, answer.is_done) {
            (true, _, _) => Ok(()),
            // Something was said and then `[DONE]`: the reason is the usual one.
            (false, true, true) => {
                answer.end(FinishReason::Stop, events);
                Ok(())
            }
            (false, true, false) => Err(ProviderError::broken_stream()),
            (false, false, _) => Err(ProviderError::empty_answer()),
        }
    }

    /// The upstream has given its reason for the end: only usage may follow.
    pub fn is_finished(&self) -> bool {
        self.answer.is_finished
    }

    /// The upstream has said `[DONE]`: nothing may follow.
    pub fn is_done(&self) -> bool {
        self.answer.is_done
    }
}

/// A completion that came in one piece. One without a finish reason is complete all the same, but not a chunk of a stream:
/// the last chunk has one.
///
/// # Errors
/// An error object, a body that is no completion, or one that broke off.
pub(super) fn whole(
    body: &[u8],
    variable: &str,
    takes_functions: bool,
    events: &mut Vec<ChatEvent>,
) -> Result<(), ProviderError> {
    let mut answer = Transcript::new(variable);
    answer.takes_functions = takes_functions;
    answer.is_whole = true;
    let is_answer = answer.json(body, events)?;
    if !answer.is_finished {
        if !is_answer {
            // Nothing that a client could use, and no reason: it is no completion.
            return Err(ProviderError::malformed("answer"));
        }
        // A chunk in one piece is the beginning of an answer, not one.
        if answer.is_piece {
            return Err(ProviderError::broken_stream());
        }
        answer.end(FinishReason::Stop, events);
    }
    Ok(())
}

impl Transcript {
    fn new(variable: &str) -> Self {
        Self {
            variable: variable.to_owned(),
            ..Self::default()
        }
    }

    fn unless_finished(&self, error: ProviderError) -> Result<(), ProviderError> {
        if self.is_finished { Ok(()) } else { Err(error) }
    }

    fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Nearly every event: it differs from the last one by its text alone.
        if let Some(new) = self.alike.recognise(data) {
            let (text, is_reasoning) = (new.text.into_owned(), self.is_reasoning);
            self.is_mended = false;
            self.say(text, is_reasoning, events);
            return Ok(());
        }
        match control(data) {
            Some(Control::Done) => {
                self.is_done = true;
                return Ok(());
            }
            Some(Control::Beat) => return Ok(()),
            None => {}
        }
        if is_heartbeat(name) {
            return Ok(());
        }
        if name == b"error" {
            return self.unless_finished(refusal::in_stream(&Said::body(data), &self.variable));
        }
        // Several events in one: the blank line between them is missing.
        if data.contains(&b'\n') && serde_json::from_slice::<IgnoredAny>(data).is_err() {
            return self.lines(data, events);
        }
        match self.json(data, events) {
            Ok(_) => Ok(()),
            Err(error) => self.unless_finished(error),
        }
    }

    /// Several events in one: the server leaves out the blank line between them.
    fn lines(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        for line in data.split(|&byte| byte == b'\n') {
            if self.is_done {
                break;
            }
            self.event(b"", line, events)?;
        }
        Ok(())
    }

    /// Reads a chunk or a whole answer; whether it had a choice.
    fn json(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<bool, ProviderError> {
        if let Some(chunk) = frame::plain(data) {
            // Only one choice, and no usage beside it: the pattern is of text alone.
            if let ([choice], None) = (chunk.choices.as_slice(), &chunk.usage) {
                self.learn(data, choice);
            }
            return self.chunk(chunk, events);
        }
        match frame::tolerant(data, self.is_whole) {
            Some(Frame::Chunk(chunk)) => self.chunk(chunk, events),
            Some(Frame::Error(said)) => Err(refusal::in_stream(&said, &self.variable)),
            Some(Frame::Nothing) => Ok(false),
            Some(Frame::Unknown) => {
                self.unknown.tell("event", events);
                Ok(false)
            }
            None => Err(ProviderError::malformed("stream")),
        }
    }

    fn chunk(
        &mut self,
        mut chunk: Chunk<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<bool, ProviderError> {
        // Of this event: what another one had is said already.
        self.is_mended = chunk.is_mended;
        self.calls.is_mended = chunk.is_mended;
        if !chunk.members.is_empty() {
            self.sources.take(&mut chunk.members);
        }
        let mut is_answer = false;
        for choice in chunk.choices {
            // One choice was asked for; some servers number it from 1.
            if choice.index == *self.index.get_or_insert(choice.index) {
                is_answer = true;
                self.choice(choice, events)?;
            }
        }
        // What came with the usage is told as annotations of its own.
        if self.is_finished {
            self.sources.late_events(events);
        }
        events.extend(chunk.usage.map(ChatEvent::Usage));
        Ok(is_answer)
    }

    /// A piece of text and nothing else is what most events are, and all of them look the same.
    fn learn(&mut self, data: &[u8], choice: &Choice<'_>) {
        let Some(delta) = &choice.delta else { return };
        // Another choice's text would be recognised as ours.
        let is_ours = self.index.is_none_or(|index| index == choice.index);
        if !is_ours
            || choice.is_message
            || !choice.finish_reason.is_empty()
            || choice.logprobs.is_some()
        {
            return;
        }
        if let Some((text, is_reasoning)) = delta.only_text() {
            self.alike.learn(data, text.as_bytes(), Repeats::Nothing);
            self.is_reasoning = is_reasoning;
        }
    }

    fn choice(
        &mut self,
        choice: Choice<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        let before = events.len();
        self.is_piece = choice.is_piece;
        // A message repeats what the deltas have said.
        let repeats = choice.is_message && self.has_deltas;
        if let Some(delta) = choice.delta.filter(|_| !repeats && !self.is_finished) {
            self.has_deltas |= !choice.is_message && !delta.is_empty();
            self.delta(delta, events);
        }
        if let Some(logprobs) = choice.logprobs.filter(|logprobs| !logprobs.is_null()) {
            events.push(ChatEvent::Logprobs(logprobs));
        }
        self.has_output |= events.len() > before;
        if let Some(said) = choice.error.filter(|_| !self.is_finished) {
            return Err(refusal::in_stream(&said, &self.variable));
        }
        // After what it said: the last chunk has both.
        match reason(&choice.finish_reason) {
            Some(Reason::Finished(reason)) if !self.is_finished => self.end(reason, events),
            Some(Reason::Unknown) if !self.is_finished => {
                self.unknown.tell("finish_reason", events);
                self.end(FinishReason::Stop, events);
            }
            // A reason that says the answer broke is not an end (see [`reason`]).
            Some(Reason::Broken) if !self.is_finished => return Err(ProviderError::broken_stream()),
            _ => {}
        }
        Ok(())
    }

    /// What a delta says, in order.
    fn delta(&mut self, delta: Delta<'_>, events: &mut Vec<ChatEvent>) {
        fn text(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
            text.filter(|text| !text.is_empty())
        }
        // Before the text: thinking comes first where one chunk brings both.
        if let Some(reasoning) = text(delta.reasoning_content).or_else(|| text(delta.reasoning)) {
            self.say(reasoning.into_owned(), true, events);
        }
        if let Some(text) = text(delta.content) {
            self.say(text.into_owned(), false, events);
        }
        events.extend(
            delta
                .pictures
                .into_iter()
                .map(|url| ChatEvent::Image { url }),
        );
        let mut others = delta.others;
        let has_calls = delta.tool_calls.is_some();
        if let Some(calls) = delta.tool_calls {
            self.calls.take(calls, self.is_whole, events);
        }
        match delta.function_call {
            Some(call) if self.takes_functions => {
                others.insert("function_call".to_owned(), call);
            }
            // Servers that send both say the same in both.
            Some(call) if !has_calls => self.calls.take_function(call, events),
            _ => {}
        }
        if !others.is_empty() {
            events.push(ChatEvent::Extra(others));
        }
    }

    fn say(&mut self, text: String, is_reasoning: bool, events: &mut Vec<ChatEvent>) {
        let halves = if is_reasoning {
            &mut self.reasoning
        } else {
            &mut self.text
        };
        // Halves are rare: until one comes, nothing is looked for.
        let text = if halves.is_waiting() || (self.is_mended && json::has_half(&text)) {
            halves.join(&text)
        } else {
            text
        };
        if !text.is_empty() {
            self.has_output = true;
            events.push(if is_reasoning {
                ChatEvent::Reasoning(text)
            } else {
                ChatEvent::Text(text)
            });
        }
    }

    fn end(&mut self, reason: FinishReason, events: &mut Vec<ChatEvent>) {
        // What was held back is text after all.
        let half = |half: Option<char>| half.map(String::from);
        events.extend(half(self.reasoning.finish()).map(ChatEvent::Reasoning));
        events.extend(half(self.text.finish()).map(ChatEvent::Text));
        self.calls.flush(events);
        self.sources.events(events);
        self.is_finished = true;
        events.push(ChatEvent::Finish(reason));
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
