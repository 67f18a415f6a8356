//! The answer: Socket.IO events whose text repeats everything said so far. Source: `wire/langfast.md` section 6.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::wire;
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, delta::Cumulative},
    upstream::{json, socketio::codec::Event},
};

/// Most bytes of events that are kept before the run's answer has come.
const MOST_EARLY_BYTES: usize = 16 << 20;

/// Events in, chat events out.
#[derive(Debug, Default)]
pub struct Decoder {
    stage: Stage,
    text: Cumulative,
    /// The text as the service has it, once it differs from what was passed on.
    rewritten: Option<String>,
    /// The finish reason of the last chunk, should the end come as `completion_finished`.
    reason: Option<String>,
    heard: u64,
}

#[derive(Debug)]
enum Stage {
    /// The run's answer has not come yet, so nobody knows which events are ours.
    Early(Vec<Note>),
    /// The run's answer has come; `None`: it listed no jobs, so all events are ours.
    Running(Option<String>),
    Over,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Early(Vec::new())
    }
}

/// What an event says.
#[derive(Debug)]
enum Note {
    Chunk(Chunk<'static>),
    /// `completion_finished`, and whose.
    Finished(Option<String>),
}

/// `execution:chunk`. Everything may be missing or null.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow)]
    execution_id: Option<Cow<'a, str>>,
    status: Option<Status>,
    #[serde(borrow, rename = "finish_reason")]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    error: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    #[serde(alias = "done")]
    Completed,
    #[serde(alias = "error")]
    Failed,
    #[serde(other)]
    Ongoing,
}

impl Chunk<'_> {
    fn is_last(&self) -> bool {
        matches!(self.status, Some(Status::Completed | Status::Failed)) || self.error.is_some()
    }

    fn into_owned(self) -> Chunk<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Chunk {
            execution_id: own(self.execution_id),
            status: self.status,
            finish_reason: own(self.finish_reason),
            content: own(self.content),
            error: self.error,
        }
    }
}

impl Decoder {
    /// Takes an event of the socket.
    ///
    /// # Errors
    /// A run that failed, one that ended without a word, an event that cannot be read.
    pub fn feed(
        &mut self,
        event: &Event<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        match &*event.name {
            "execution:chunk" => {
                // The payload may be a JSON string that holds the object, or plain text.
                let inner = string(event.payload);
                // Read before the stage is known: which run it is stands in the payload.
                let chunk = chunk(event.payload, inner.as_deref())?;
                if let Stage::Early(notes) = &mut self.stage {
                    // Kept, not decoded: it may be another run's.
                    return keep(notes, chunk.into_owned());
                }
                self.chunk(chunk, events)
            }
            "completion_finished" => {
                let inner = string(event.payload);
                let whose = whose(inner.as_deref().or(event.payload));
                if let Stage::Early(notes) = &mut self.stage {
                    notes.push(Note::Finished(whose));
                    return check_size(notes);
                }
                self.finished(whose.as_deref(), events)
            }
            _ => {
                events.push(ChatEvent::Unknown("event"));
                Ok(())
            }
        }
    }

    /// The run's answer has come: which execution is ours; `None`: it does not say. What came early is decoded now.
    ///
    /// # Errors
    /// As [`Decoder::feed`].
    pub fn begin(
        &mut self,
        job: Option<String>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Once: the run's answer comes once, and what came early is decoded now.
        let Stage::Early(notes) = std::mem::replace(&mut self.stage, Stage::Running(job)) else {
            return Ok(());
        };
        for note in notes {
            match note {
                Note::Chunk(chunk) => self.chunk(chunk, events)?,
                Note::Finished(whose) => self.finished(whose.as_deref(), events)?,
            }
        }
        Ok(())
    }

    /// Whether the answer is complete.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// No more events will come.
    ///
    /// # Errors
    /// An answer that is not complete.
    pub fn finish(&mut self) -> Result<(), ProviderError> {
        if self.is_over() {
            Ok(())
        } else {
            Err(ProviderError::broken_stream())
        }
    }

    /// How many events of our own have come.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// How often the service took back what it had said.
    pub fn rewrites(&self) -> u32 {
        self.text.rewrites()
    }

    /// An event that names no execution counts as ours.
    fn is_ours(&self, whose: Option<&str>) -> bool {
        match (&self.stage, whose) {
            (Stage::Running(Some(job)), Some(whose)) => job == whose,
            (Stage::Running(_), _) => true,
            (Stage::Early(_) | Stage::Over, _) => false,
        }
    }

    fn chunk(
        &mut self,
        chunk: Chunk<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Another run of the same guest, on the same socket.
        if !self.is_ours(chunk.execution_id.as_deref()) {
            return Ok(());
        }
        // Counted before it is read: also a piece that says nothing is a sign of life.
        self.heard += 1;
        if chunk.error.is_some() || chunk.status == Some(Status::Failed) {
            return self.failed(&chunk, events);
        }
        // Missing content is an empty one (section 6).
        let content = chunk.content.as_deref().unwrap_or_default();
        events.extend(
            self.text
                .advance(content)
                .map(|new| ChatEvent::Text(new.to_owned())),
        );
        // An event without text only tells of progress, and takes nothing back.
        // Only where the service took something back; else the deltas are the text.
        if self.text.rewrites() > 0 && !content.is_empty() {
            self.rewritten = Some(content.to_owned());
        }
        if chunk.status == Some(Status::Completed) {
            return self.end(chunk.finish_reason.as_deref(), events);
        }
        // Kept for `completion_finished`, which may end the answer instead and names none (section 6).
        // The end may come without one (section 6).
        self.reason = chunk.finish_reason.map(Cow::into_owned);
        Ok(())
    }

    fn failed(
        &mut self,
        chunk: &Chunk<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Before anything else: a chunk after a failure is of no answer.
        self.stage = Stage::Over;
        let error = wire::failure(chunk.error.as_ref().unwrap_or(&Value::Null));
        let is_moderated = error.kind == Kind::Moderated
            || chunk.finish_reason.as_deref() == Some("content_filter");
        if !is_moderated {
            return Err(error);
        }
        if self.text.sent().is_empty() {
            return Err(moderated());
        }
        events.push(ChatEvent::Finish(FinishReason::ContentFilter));
        Ok(())
    }

    fn finished(
        &mut self,
        whose: Option<&str>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // `completion_finished` of another run must not end ours.
        if !self.is_ours(whose) {
            return Ok(());
        }
        self.heard += 1;
        let reason = self.reason.take();
        self.end(reason.as_deref(), events)
    }

    fn end(
        &mut self,
        reason: Option<&str>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        self.stage = Stage::Over;
        let reason = match reason {
            Some("length") => FinishReason::Length,
            Some("content_filter") => FinishReason::ContentFilter,
            Some("tool_calls") => FinishReason::ToolCalls,
            Some(_) | None => FinishReason::Stop,
        };
        // In this order: a moderated answer is empty as well.
        if self.text.sent().is_empty() {
            return Err(if reason == FinishReason::ContentFilter {
                moderated()
            } else {
                ProviderError::empty_answer().with_code("empty_response")
            });
        }
        events.extend(self.rewritten.take().map(ChatEvent::Rewritten));
        events.push(ChatEvent::Finish(reason));
        Ok(())
    }
}

fn moderated() -> ProviderError {
    ProviderError::new(
        Kind::Moderated,
        "the service's moderation stopped the answer",
    )
}

/// A payload that is a JSON string.
fn string(payload: Option<&str>) -> Option<String> {
    let payload = payload?;
    let text = serde_json::from_str(payload);
    // Half a character is no reason to lose the text.
    text.or_else(|_| {
        // A half at the end waits for the next event, which repeats everything (section 6).
        let mended: Result<String, _> = serde_json::from_slice(&json::mended(payload.as_bytes()));
        mended.map(|text| visible(&text))
    })
    .ok()
}

/// A text that grows and may hold halves of characters: one at its end waits for the next event, which has all of it.
fn visible(text: &str) -> String {
    json::whole(text.trim_end_matches(json::is_half))
}

/// Reads a chunk: an object, or a string that holds one, or a string that is the text itself.
fn chunk<'a>(payload: Option<&'a str>, inner: Option<&'a str>) -> Result<Chunk<'a>, ProviderError> {
    let malformed = || ProviderError::malformed("event");
    let text = inner.or(payload).ok_or_else(malformed)?;
    match serde_json::from_str(text) {
        // The object is inside: it counts before the string it came in.
        Ok(chunk) if text.trim_start().starts_with('{') => Ok(chunk),
        // Members that come twice, halves of characters.
        Err(_) if text.trim_start().starts_with('{') && json::normal(text.as_bytes()).is_some() => {
            let (normal, is_mended) = json::normal(text.as_bytes()).ok_or_else(malformed)?;
            let mut chunk: Chunk<'_> = serde_json::from_slice(&normal).map_err(|_| malformed())?;
            if is_mended {
                chunk.content = chunk.content.map(|content| visible(&content).into());
            }
            Ok(chunk.into_owned())
        }
        // An object that cannot be read is no text for anybody.
        Err(_) if serde_json::from_str::<Map<String, Value>>(text).is_ok() => Err(malformed()),
        // Not an object at all: the payload is the text itself.
        _ => {
            let content = inner.ok_or_else(malformed)?;
            Ok(Chunk {
                content: Some(Cow::Borrowed(content)),
                ..Chunk::default()
            })
        }
    }
}

/// The execution that `completion_finished` names, if any. Its payload is of no other use (section 6).
fn whose(payload: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    struct Finished {
        #[serde(rename = "executionId")]
        execution_id: String,
    }
    let finished: Finished = serde_json::from_str(payload?).ok()?;
    Some(finished.execution_id)
}

/// Keeps an early chunk. As the text is repeated in each, one that only adds to the last of its execution takes its
/// place: what is decoded later is the same, and the memory stays bounded by the texts.
fn keep(notes: &mut Vec<Note>, new: Chunk<'static>) -> Result<(), ProviderError> {
    let last = notes.iter_mut().rev().find_map(|note| match note {
        Note::Chunk(chunk) if chunk.execution_id == new.execution_id => Some(chunk),
        Note::Chunk(_) | Note::Finished(_) => None,
    });
    let text = new.content.as_deref().unwrap_or_default();
    match last {
        Some(last)
            if !last.is_last() && text.starts_with(last.content.as_deref().unwrap_or_default()) =>
        // Everything that it had is in the new one, so only the new one is kept.
        {
            *last = new
        }
        Some(_) | None => notes.push(Note::Chunk(new)),
    }
    check_size(notes)
}

fn check_size(notes: &[Note]) -> Result<(), ProviderError> {
    let size = |note: &Note| match note {
        Note::Chunk(chunk) => {
            chunk.content.as_ref().map_or(0, |text| text.len()) + size_of::<Note>()
        }
        Note::Finished(_) => size_of::<Note>(),
    };
    if notes.iter().map(size).sum::<usize>() > MOST_EARLY_BYTES {
        return Err(ProviderError::malformed("flood of events"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
