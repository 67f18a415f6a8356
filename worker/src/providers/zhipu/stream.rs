//! The answer of `POST …/assistant/stream`: frames of parts of items. Source: `wire/zhipu.md` section 6.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    frame::{Frame, Item, Part, is_finished, word},
    pictures::Pictures,
    refusal::{self, Refusal},
    sources::Sources,
    voices::Voices,
};
use crate::impossible::OrImpossible as _;
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, Unknowns},
    upstream::{json, sse::Sse},
};

/// A part with more items is none of the service's.
const MOST_ITEMS: usize = 256;
/// An id that is longer is none.
const MOST_ID_BYTES: usize = 128;

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    sse: Sse,
    answer: Answer,
}

#[derive(Debug, Default)]
struct Answer {
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    conversation_id: String,
    message_id: String,
    voices: Voices,
    sources: Sources,
    pictures: Pictures,
    /// What the painter made of the prompt (section 6.2, `code`).
    prompt: Option<String>,
    is_streamed: bool,
    /// Of a drawing: all its events, until it is known whether there are pictures.
    held: Option<Vec<ChatEvent>>,
    is_over: bool,
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

    /// Whether the client gets the answer as it comes: then moderation before any text is told in the answer (section 7).
    #[must_use]
    pub(super) fn streamed(mut self, is_streamed: bool) -> Self {
        self.answer.is_streamed = is_streamed;
        self
    }

    /// For a drawing: one without pictures is no answer, whatever it says (section 6.5).
    #[must_use]
    pub(super) fn drawing(mut self, is_drawing: bool) -> Self {
        self.answer.held = is_drawing.then(Vec::new);
        self
    }

    /// The prompt as the painter understood it, once a drawing is over.
    pub(super) fn prompt(&mut self) -> Option<String> {
        self.answer.prompt.take()
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
            self.answer.take(event.data, events)?;
        }
        Ok(())
    }

    /// The body has ended regularly.
    ///
    /// # Errors
    /// An answer that was not finished: the service says when it is.
    pub(super) fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        if let Some(event) = self.sse.finish() {
            self.answer.take(event.data, events)?;
        }
        let answer = &self.answer;
        if answer.is_over {
            return Ok(());
        }
        // It had begun, so its connection is at fault.
        if answer.has_output() || !answer.conversation_id.is_empty() {
            return Err(ProviderError::broken_stream().into());
        }
        // No bytes at all: an unknown conversation, or a token that has died (section 7).
        Err(ProviderError::empty_answer().into())
    }

    /// An answer that came as one JSON document (section 6.1). `false` when it is none; nothing was taken then.
    ///
    /// # Errors
    /// As [`Decoder::read`], and an answer without content.
    pub(super) fn whole(
        &mut self,
        body: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<bool, Refusal> {
        let has_parts = |frame: &Frame<'_>| frame.parts.as_ref().is_some_and(|it| !it.is_empty());
        let frame = serde_json::from_slice::<Frame<'_>>(body).ok();
        let inner = frame.as_ref().and_then(|frame| frame.result);
        let inner = inner.and_then(|result| serde_json::from_str::<Frame<'_>>(result.get()).ok());
        let Some(frame) = [frame, inner].into_iter().flatten().find(has_parts) else {
            return Ok(false);
        };
        // All of it is there: a value is whole.
        self.answer.voices.told(Some(false));
        self.answer.frame(frame, events)?;
        if !self.answer.is_over {
            self.answer.complete(events)?;
        }
        Ok(true)
    }

    /// Whether the service has said that its answer is complete.
    pub fn is_over(&self) -> bool {
        self.answer.is_over
    }

    /// The upstream conversation, as soon as a frame has named it.
    pub fn conversation_id(&self) -> Option<&str> {
        Some(self.answer.conversation_id.as_str()).filter(|id| !id.is_empty())
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
    fn has_output(&self) -> bool {
        self.voices.has_output() || !self.pictures.is_empty()
    }

    /// As [`Answer::data`]; the events of a drawing come with its end.
    fn take(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        let Some(mut held) = self.held.take() else {
            return self.data(data, events);
        };
        let is_drawing = !self.is_over;
        // Remembered before, as the last frame may come twice and the second changes nothing.
        let result = self.data(data, &mut held);
        if is_drawing && self.is_over && result.is_ok() {
            self.drawn(&held)?;
            events.append(&mut held);
        }
        self.held = Some(held);
        result
    }

    /// Whether a drawing holds a picture: some hold its address in the text alone.
    fn drawn(&self, events: &[ChatEvent]) -> Result<(), Refusal> {
        let has_picture = |event: &ChatEvent| matches!(event, ChatEvent::Image { .. });
        let texts = events.iter().filter_map(|event| match event {
            ChatEvent::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let text: String = texts.collect();
        let was_moderated = events.contains(&ChatEvent::Finish(FinishReason::ContentFilter));
        // Moderation has its own end; Markdown in the text is a picture for whoever asked (section 6.5).
        if was_moderated || events.iter().any(has_picture) || text.contains("(https://") {
            return Ok(());
        }
        let kind = if refusal::speaks_of_quota(&text) {
            Kind::QuotaSpent
        } else {
            Kind::Unavailable
        };
        let error = ProviderError::new(kind, "the service made no picture");
        Err(error.saying(&text).into())
    }

    fn data(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        // The last frame may come twice.
        if self.is_over || is_control(data) {
            return Ok(());
        }
        if !json::may_have_half(data)
            && let Ok(frame) = serde_json::from_slice(data)
        {
            return self.judged(frame, data, events);
        }
        // Bytes that are no JSON at all are a broken stream: every frame of this service is JSON.
        let malformed = || ProviderError::malformed("stream");
        let (normal, is_mended) = json::normal(data).ok_or_else(malformed)?;
        if is_mended {
            // From here on for the whole answer: the other half comes with a later frame.
            self.voices.has_met_halves();
        }
        match serde_json::from_slice(&normal) {
            Ok(frame) => self.judged(frame, &normal, events),
            Err(_) => match refusal::in_stream(&normal, &self.variable) {
                Some(refusal) => Err(refusal),
                None => {
                    self.unknown.tell("frame", events);
                    Ok(())
                }
            },
        }
    }

    /// A frame, unless it is an error in a frame's place.
    fn judged(
        &mut self,
        frame: Frame<'_>,
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        // Errors have no parts; frames without any are the first one and errors.
        if frame.parts.is_none() {
            if let Some(refusal) = refusal::in_stream(data, &self.variable) {
                return Err(refusal);
            }
            if let Some(inner) = frame.result
                && let Ok(inner) = serde_json::from_str(inner.get())
            {
                return self.frame(inner, events);
            }
        }
        self.frame(frame, events)
    }

    fn frame(&mut self, frame: Frame<'_>, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        #[derive(Default, Deserialize)]
        struct Meta {
            if_increase_push: Option<bool>,
        }
        // Each frame says them; kept when they change, as the first frame of some answers names none.
        keep(&mut self.conversation_id, frame.conversation_id);
        keep(&mut self.message_id, frame.id);
        // Absent in most errors and of any shape: nothing is said then.
        let meta = frame.meta_data.map(RawValue::get).unwrap_or_default();
        let meta: Meta = serde_json::from_str(meta).unwrap_or_default();
        self.voices.told(meta.if_increase_push);
        let is_final = is_finished(frame.status);
        for (at, part) in frame.parts.into_iter().flatten().enumerate() {
            self.part(at, &part, is_final, events);
        }
        match word(frame.status).as_deref() {
            Some("finish") => self.complete(events),
            Some("intervene") => self.moderated(frame.last_error, events),
            None | Some("init" | "") => Ok(()),
            Some(_) => {
                self.unknown.tell("status", events);
                Ok(())
            }
        }
    }

    fn part(&mut self, at: usize, part: &Part<'_>, is_final: bool, events: &mut Vec<ChatEvent>) {
        // Our own question, repeated.
        if word(part.role).as_deref() == Some("user") {
            return;
        }
        let place;
        // Section 6.3: by `logic_id`, else `id`, else position.
        let key = match part.logic_id.or(part.id) {
            Some(id) => id.get(),
            None => {
                place = at.to_string();
                &place
            }
        };
        // The frame's, the part's or the item's: each of them says that the text is whole.
        let is_final = is_final || is_finished(part.status);
        let items = part.content.as_deref().unwrap_or_default();
        // The first of them: what is beyond is not the service's.
        let items = items.get(..MOST_ITEMS).unwrap_or(items);
        for (at, item) in items.iter().enumerate() {
            let is_final = is_final || is_finished(item.status);
            let Some((kind, raw)) = item.said() else {
                self.other(item, part, is_final, events);
                continue;
            };
            // An item of a known type whose value is no text.
            let Some(said) = word(Some(raw)) else {
                self.unknown.tell("item", events);
                continue;
            };
            let Some(voice) = self.voices.find(key, kind) else {
                continue;
            };
            // Items of one kind in one part are one text.
            let before = items.get(..at).or_impossible("an item is one of the list");
            let before = before.iter().filter_map(Item::said);
            let mut before = before.filter(|(known, _)| *known == kind).peekable();
            // Cumulative values are of the whole part, so the earlier items of the kind belong before this one.
            if before.peek().is_some() && self.voices.wants_whole(is_final) {
                let mut whole: String = before.filter_map(|(_, raw)| word(Some(raw))).collect();
                whole.push_str(&said);
                self.voices.advance(voice, &whole, is_final, events);
            } else {
                self.voices.advance(voice, &said, is_final, events);
            }
        }
    }

    /// Items that say nothing themselves.
    fn other(
        &mut self,
        item: &Item<'_>,
        part: &Part<'_>,
        is_final: bool,
        events: &mut Vec<ChatEvent>,
    ) {
        match word(item.kind).as_deref() {
            Some("image") if is_final => {
                self.pictures.add(item.image.map_or("", RawValue::get));
                let prompt = item
                    .code
                    .and_then(|code| serde_json::from_str(code.get()).ok());
                let prompt = prompt.filter(|prompt: &String| !prompt.is_empty());
                // The last picture's counts; a frame without one takes nothing back.
                self.prompt = prompt.or_else(|| self.prompt.take());
            }
            Some("quote_result") if is_final => {
                self.sources.add(part.meta_data.map_or("", RawValue::get));
            }
            Some(
                "image" | "quote_result" | "text" | "think" | "code" | "execution_output"
                | "tool_calls" | "one_to_more_finish" | "system_error",
            )
            | None => {}
            Some(_) => self.unknown.tell("item", events),
        }
    }

    fn complete(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        self.is_over = true;
        self.voices.finish(events);
        if !self.has_output() {
            return Err(ProviderError::empty_answer().into());
        }
        self.close(FinishReason::Stop, None, events);
        Ok(())
    }

    /// Section 6.3: what was said stands, and the service's words on it follow.
    fn moderated(
        &mut self,
        last_error: Option<&RawValue>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        #[derive(Default, Deserialize)]
        struct LastError {
            intervene_text: Option<String>,
        }
        self.is_over = true;
        self.voices.finish(events);
        let error = last_error.map(RawValue::get).unwrap_or_default();
        let error: LastError = serde_json::from_str(error).unwrap_or_default();
        let words = json::whole(&error.intervene_text.unwrap_or_default());
        // In a stream the service's words are an answer; whole, an error says them better (section 7).
        let is_told = self.has_output() || (self.is_streamed && !words.is_empty());
        if !is_told {
            let error = ProviderError::new(
                Kind::Moderated,
                "the service's moderation stopped the answer",
            );
            return Err(error.saying(&words).into());
        }
        let words = Some(format!("\n\n{words}")).filter(|_| !words.is_empty());
        self.close(FinishReason::ContentFilter, words, events);
        Ok(())
    }

    fn close(&mut self, reason: FinishReason, words: Option<String>, events: &mut Vec<ChatEvent>) {
        // Before pictures and sources: they belong to what was said.
        events.extend(words.clone().map(ChatEvent::Text));
        self.pictures.tell(events);
        self.sources.tell(events);
        if let Some(mut whole) = self.voices.rewritten() {
            whole.push_str(&words.unwrap_or_default());
            events.push(ChatEvent::Rewritten(whole));
        }
        events.push(ChatEvent::Finish(reason));
    }
}

fn keep(known: &mut String, id: Option<&RawValue>) {
    if let Some(id) = word(id).filter(|id| !id.is_empty() && id.len() <= MOST_ID_BYTES)
        && *known != id
    {
        *known = id.into_owned();
    }
}

/// What is no frame: `[DONE]`, and what keeps a connection alive.
fn is_control(data: &[u8]) -> bool {
    match data.trim_ascii() {
        [b'{', ..] => false,
        word => matches!(word, b"[DONE]" | b"\"[DONE]\"" | b"null" | b""),
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
