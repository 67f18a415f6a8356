//! The answer of `POST /api/v2/chat`: events that repeat the whole of what changed, thoughts and answer apart.
//! Source: `wire/qwen.md` section 11.8.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    alike::Alike,
    marker,
    panels::{self, Panel},
    refusal::{self, Said},
};
use crate::{
    chat::{
        ChatEvent, FinishReason, Kind, ProviderError, Unknowns, Usage, delta::Cumulative,
        refusals::Refusals,
    },
    upstream::{
        json,
        sse::{Event, Sse},
    },
};

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    sse: Sse,
    answer: Transcript,
    refusals: Refusals,
}

#[derive(Debug, Default)]
struct Transcript {
    /// What to do when the service says that the login has ended.
    remedy: String,
    text: Spoken,
    thoughts: Vec<Slot>,
    /// The slot that has thought last.
    thinking: Option<usize>,
    links: Vec<(String, String)>,
    request_id: String,
    /// The highest order number so far.
    order: u64,
    usage: Option<Usage>,
    is_over: bool,
    /// What the next event looks like if it only says more of the answer.
    alike: Alike,
    unknown: Unknowns,
}

/// The answer's text.
#[derive(Debug, Default)]
struct Spoken {
    /// As the service has it, markers included.
    content: String,
    /// The same as it was written, where the next event may say the same and more; else empty.
    raw: String,
    sent: Cumulative,
}

/// One line of thought.
#[derive(Debug)]
struct Slot {
    name: Cow<'static, str>,
    value: String,
    sent: Cumulative,
}

/// One event. Everything may be missing, null, or of another type than one would think.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    communication: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    error_code: Option<Value>,
    code: Option<Value>,
    success: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Communication {
    reqid: Option<String>,
    resid: Option<u64>,
}

#[derive(Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    messages: Option<Vec<Item<'a>>>,
    #[serde(borrow)]
    extra_info: Option<&'a RawValue>,
    audit_info: Option<Value>,
    sse_end: Option<Value>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    mime_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    meta_data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct ExtraInfo {
    sse_end: Option<Value>,
    chat_odps: Option<Odps>,
}

#[derive(Deserialize)]
struct Odps {
    total_usage: Option<TotalUsage>,
}

#[derive(Deserialize)]
struct TotalUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

impl Decoder {
    /// A decoder for one answer; `remedy` says what to do about a login that has ended.
    pub fn new(remedy: &str) -> Self {
        Self {
            sse: Sse::default(),
            answer: Transcript {
                remedy: remedy.to_owned(),
                ..Transcript::default()
            },
            refusals: Refusals::new(refusal::sentences("")),
        }
    }

    /// The same, for the answer to this question, with a sentence that is suspected of being no answer.
    #[must_use]
    pub fn answering(mut self, question: &str, suspect: Option<Arc<str>>) -> Self {
        self.refusals =
            Refusals::new(refusal::sentences(question)).suspecting(suspect, refusal::repeated);
        self
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// An error that the stream itself reports (section 11.9), or a stream that is none.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // Of these events alone: what was passed on before is not looked at again.
        let before = events.len();
        let read = self.read(bytes, events);
        // Also of what came before an error.
        self.refusals.feed(events, before)?;
        read
    }

    /// The body has ended regularly; the last event need not have come.
    ///
    /// # Errors
    /// An answer without any text.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let before = events.len();
        // What is left over in the buffer may hold the last words.
        let read = self.read_rest(events);
        self.refusals.feed(events, before)?;
        read
    }

    /// Whether the service has said that its answer is complete.
    pub fn is_over(&self) -> bool {
        self.answer.is_over
    }

    /// How often the service took back what it had said.
    pub fn rewrites(&self) -> u32 {
        self.answer.text.sent.rewrites()
    }

    /// The upstream id of the answer, as soon as an event has named it.
    pub fn message_id(&self) -> Option<&str> {
        Some(self.answer.request_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The whole answer, as the service has it.
    pub fn text(&self) -> &str {
        self.answer.text.sent.sent()
    }

    fn read(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let mut came = self.sse.read(bytes)?;
        while let Some(event) = came.next() {
            self.answer.event(event, events)?;
        }
        Ok(())
    }

    fn read_rest(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(event) = self.sse.finish() {
            self.answer.event(event, events)?;
        }
        // Only the last answer is complete: what the body ends with counts (section 11.8).
        self.answer.finish(FinishReason::Stop, events)
    }
}

impl Transcript {
    fn event(
        &mut self,
        event: Event<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Section 11.8: after the end everything is ignored.
        if self.is_over {
            return Ok(());
        }
        let is_last = match event.data.trim_ascii() {
            b"true" | b"[DONE]" | b"\"[DONE]\"" => true,
            // What keeps the connection alive.
            b"" | b"null" => false,
            // Nearly every event only adds to the answer, and is read without being parsed.
            data if event.name != b"complete" && self.grow(data, events) => false,
            data => {
                if !matches!(event.name, b"" | b"message" | b"complete") {
                    self.unknown.tell("event", events);
                }
                // Its frame is read first, then it is the end (section 11.8).
                self.frame(data, events)? || event.name == b"complete"
            }
        };
        if is_last {
            self.finish(FinishReason::Stop, events)?;
        }
        Ok(())
    }

    /// Reads one frame; whether it says that it is the last one.
    fn frame(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<bool, ProviderError> {
        match serde_json::from_slice(data) {
            Ok(frame) if !json::may_have_half(data) => self.read(frame, data, events),
            _ => {
                // A half is mended before it is read; anything else is no JSON and is an error.
                let normal = json::visible(data).ok_or_else(malformed)?;
                let frame = serde_json::from_slice(&normal).map_err(|_| malformed())?;
                self.read(frame, &normal, events)
            }
        }
    }

    fn read(
        &mut self,
        frame: Frame<'_>,
        bytes: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<bool, ProviderError> {
        // Whatever comes next is told apart by this event, if at all.
        self.alike.forget();
        let communication: Communication = inside(frame.communication);
        // Stale, and repeated by what was read before (section 11.8).
        if communication.resid.is_some_and(|order| order < self.order) {
            return Ok(false);
        }
        // Events without a number keep the order.
        self.order = communication.resid.unwrap_or(self.order);
        if let Some(id) = communication.reqid.filter(|id| !id.is_empty()) {
            self.request_id = id;
        }
        let is_refused = [&frame.error_code, &frame.code]
            .iter()
            .any(|code| code.as_ref().is_some_and(is_code))
            || frame.success == Some(Value::Bool(false));
        if is_refused
            && let Some(said) = serde_json::from_slice(bytes).map_or(None, |it| Said::read(&it))
        {
            return Err(refusal::coded(&said.code, &said.message, &self.remedy));
        }
        let data: Data<'_> = inside(frame.data);
        // Before the items: after it nothing of this answer may be said.
        if data.audit_info.as_ref().is_some_and(is_stopped) {
            return match self.text.sent.sent() {
                "" => Err(ProviderError::new(
                    Kind::Moderated,
                    "the service's moderation stopped the answer",
                )),
                _ => self
                    .finish(FinishReason::ContentFilter, events)
                    .map(|()| true),
            };
        }
        let mut said = None;
        for item in data.messages.into_iter().flatten() {
            self.item(&item, events);
            // Only a plain answer, and only the last item's: the next event is like this one.
            said = item.content.filter(|_| !self.text.raw.is_empty());
        }
        let extra: ExtraInfo = inside(data.extra_info);
        if let Some(usage) = extra.chat_odps.and_then(|odps| odps.total_usage)
            && let (Some(prompt_tokens), Some(completion_tokens)) =
                (usage.prompt_tokens, usage.completion_tokens)
        {
            self.usage = Some(Usage {
                prompt_tokens,
                completion_tokens,
                ..Usage::default()
            });
        }
        // The raw text as it stands is what the next event repeats, quote and all.
        if let Some(raw) = said.filter(|said| said.get().strip_suffix('"') == Some(&self.text.raw))
        {
            self.alike.learn(bytes, raw.get().as_bytes());
        }
        // Either place: the page puts it beside `data` or within `extra_info` (section 11.8).
        Ok([data.sse_end, extra.sse_end].iter().flatten().any(is_set))
    }

    /// An event that repeats the one before but for its order and some more text; `false` for any other.
    fn grow(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> bool {
        let Some((order, inside)) = self
            .alike
            .recognise(data)
            .filter(|(order, _)| *order >= self.order)
        else {
            return false;
        };
        let Some(new) = self.text.grow_by(inside) else {
            return false;
        };
        // Only now: an event that could not be read goes the long way, number and all.
        self.order = order;
        self.alike.grow(inside);
        if !new.is_empty() {
            events.push(ChatEvent::Text(new));
        }
        true
    }

    fn item(&mut self, item: &Item<'_>, events: &mut Vec<ChatEvent>) {
        let kind = item.mime_type.as_deref().unwrap_or_default();
        match kind {
            "text/plain" => self.say(item.content, events),
            "plan_cot/post" => {
                if let Some(content) = panels::text(item.content) {
                    self.think(Cow::Borrowed("plan"), panels::stacked(&content), events);
                }
            }
            "multi_load/iframe" | "bar/workflow" | "bar/progress" | "bar/iframe" => {
                // Remembered, not said: the answer itself may come in the same item.
                let mut instead = None;
                panels::read(kind, item.meta_data, |panel| match panel {
                    Panel::Thought(slot, text) => self.think(slot, text, events),
                    Panel::Link(url, title) => self.link(url, title),
                    Panel::Text(raw) => instead = Some(raw),
                    Panel::Unknown => self.unknown.tell("panel", events),
                });
                // Only there: other panels hold no answer.
                if kind == "multi_load/iframe" {
                    // An empty content is no answer: the text may stand in the panel (section 11.8).
                    let is_empty = item.content.is_none_or(|raw| raw.get() == "\"\"");
                    self.say(item.content.filter(|_| !is_empty).or(instead), events);
                }
            }
            "signal/post" | "paa/iframe" => {}
            _ => self.unknown.tell("mime_type", events),
        }
    }

    fn link(&mut self, url: String, title: String) {
        // The same link is in several panels of one search.
        if !url.is_empty() && !self.links.iter().any(|(known, _)| *known == url) {
            self.links.push((url, title));
        }
    }

    /// Thoughts of one slot, cumulative; another slot's are set off by a blank line.
    fn think(&mut self, name: Cow<'static, str>, value: String, events: &mut Vec<ChatEvent>) {
        // From the front: a handful of slots, and the new one stands at the end.
        let known = self.thoughts.iter().position(|slot| slot.name == name);
        let at = known.unwrap_or_else(|| {
            self.thoughts.push(Slot {
                name,
                value: String::new(),
                sent: Cumulative::default(),
            });
            self.thoughts.len() - 1
        });
        if let Some(slot) = self.thoughts.get_mut(at) {
            // Whole: slots are cumulative, as the answer is.
            slot.value = value;
        }
        self.emit_thoughts(at, false, events);
    }

    fn emit_thoughts(&mut self, at: usize, is_last: bool, events: &mut Vec<ChatEvent>) {
        let Some(slot) = self.thoughts.get_mut(at) else {
            return;
        };
        let visible = if is_last {
            slot.value.as_str()
        } else {
            slot.value.trim_end_matches('\u{FFFD}')
        };
        if let Some(new) = slot.sent.advance(visible) {
            // A blank line only where another slot spoke before.
            let is_other = self.thinking.is_some_and(|last| last != at);
            let gap = if is_other { "\n\n" } else { "" };
            events.push(ChatEvent::Reasoning(format!("{gap}{new}")));
            self.thinking = Some(at);
        }
    }

    /// The answer as it is written in an event.
    fn say(&mut self, raw: Option<&RawValue>, events: &mut Vec<ChatEvent>) {
        let Some(raw) = raw else {
            return;
        };
        if let Some(new) = self.text.grow(raw.get()) {
            if !new.is_empty() {
                events.push(ChatEvent::Text(new));
            }
        } else if let Some(content) = panels::text(Some(raw)) {
            // What was parsed is not what was recognised: the raw of the event before no longer stands.
            self.text.raw.clear();
            self.text.content = content.into_owned();
            if let Some(new) = self.text.advance(false) {
                events.push(ChatEvent::Text(new));
            }
            self.text.learn(raw.get());
        }
    }

    fn finish(
        &mut self,
        reason: FinishReason,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), ProviderError> {
        // Once: `[DONE]`, `complete` and the end of the body may all come.
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        // Half a character that nothing has repaired, the beginning of a marker that none was.
        for at in 0..self.thoughts.len() {
            self.emit_thoughts(at, true, events);
        }
        events.extend(self.text.advance(true).map(ChatEvent::Text));
        // Section 11.9: tried once more, as it may be chance.
        if self.text.sent.sent().is_empty() {
            return Err(refusal::empty());
        }
        for (at, (url, title)) in self.links.drain(..).enumerate() {
            let index = u32::try_from(at + 1).unwrap_or(u32::MAX);
            events.push(ChatEvent::Citation { index, url, title });
        }
        let text = marker::without(&self.text.content);
        // Both: what was not sent makes the text another one, even where nothing was taken back.
        if self.text.sent.rewrites() > 0 || self.text.sent.sent() != text {
            events.push(ChatEvent::Rewritten(text.into_owned()));
        }
        events.extend(self.usage.map(ChatEvent::Usage));
        events.push(ChatEvent::Finish(reason));
        Ok(())
    }
}

impl Spoken {
    /// What is new in the content, which is kept whole.
    fn advance(&mut self, is_last: bool) -> Option<String> {
        // Markers are taken out of the whole, as one may stand across two events.
        let text = marker::without(&self.content);
        let visible = if is_last {
            &text
        } else {
            marker::before_begun(&text).trim_end_matches('\u{FFFD}')
        };
        self.sent.advance(visible).map(str::to_owned)
    }

    /// An event that repeats the one before and adds to it, which most do: only what is new is read. `None` for any
    /// other.
    fn grow(&mut self, raw: &str) -> Option<String> {
        if self.raw.is_empty() {
            return None;
        }
        let tail = raw.strip_prefix(self.raw.as_str())?;
        self.grow_by(tail.strip_suffix('"')?)
    }

    /// The same, of what is new as it is written.
    fn grow_by(&mut self, inside: &str) -> Option<String> {
        // What may be a marker, or half a character, is for the other way.
        // A bracket may begin a marker: then the whole must be looked at again.
        if inside.contains('[') || inside.contains('\u{FFFD}') || inside.contains("\\u") {
            return None;
        }
        let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
        let new: String = if !inside.bytes().all(is_plain) {
            // Read as JSON: an escape may stand within what is new.
            serde_json::from_str(&format!("\"{inside}\"")).ok()?
        } else {
            inside.to_owned()
        };
        self.raw.push_str(inside);
        self.content.push_str(&new);
        self.sent.grow(&new);
        Some(new)
    }

    /// Whether the next event may be read by [`Spoken::grow`]: all that this one said was passed on, and what follows
    /// is no line feed behind a marker.
    fn learn(&mut self, raw: &str) {
        let is_plain = self.sent.rewrites() == 0
            && !self.content.ends_with(']')
            // An answer with a marker in it is never recognised: the marker is not in what was sent.
            && !self.content.contains("[(")
            && self.content == self.sent.sent();
        if let Some(inside) = raw.strip_suffix('"').filter(|_| is_plain) {
            self.raw.push_str(inside);
        }
    }
}

/// What an object holds; nothing where it is none.
fn inside<'a, T: Default + Deserialize<'a>>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// `"1"`, 1 or true.
fn is_set(value: &Value) -> bool {
    value.as_str() == Some("1") || value.as_i64() == Some(1) || value.as_bool() == Some(true)
}

/// Whether the inspection has stopped the answer.
fn is_stopped(audit: &Value) -> bool {
    audit.get("error_code").is_some_and(is_code)
}

/// An error's code: neither 0 nor empty.
fn is_code(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(code) => !code.is_empty() && code != "0",
        Value::Number(code) => code.as_f64() != Some(0.0),
        _ => true,
    }
}

fn malformed() -> ProviderError {
    ProviderError::malformed("stream").with_code("upstream_bad_stream")
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
