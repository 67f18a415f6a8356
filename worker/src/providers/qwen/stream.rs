//! The answer of `POST /dialog/conversation`: events that repeat the whole answer so far, part by part.
//! Source: `wire/qwen.md` section 7.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;

use super::refusal::{self, SENTENCES};
use crate::{
    chat::{
        ChatEvent, FinishReason, Kind, ProviderError, Unknowns,
        delta::Cumulative,
        refusals::Refusals,
        template::{Repeats, Template},
    },
    impossible::OrImpossible as _,
    providers::said,
    upstream::{json, sse::Sse},
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
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    parts: Vec<Part>,
    links: Vec<(String, String)>,
    session_id: String,
    message_id: String,
    has_output: bool,
    is_moderated: bool,
    is_finished: bool,
    /// Some text had half a character.
    has_halves: bool,
    /// A later part has already spoken when an earlier one grew, so the deltas are not the answer in order.
    is_interleaved: bool,
    /// The part that grew last, and what such an event looks like: the next one repeats it all and adds a little.
    growing: usize,
    alike: Template,
    unknown: Unknowns,
}

#[derive(Debug)]
struct Part {
    key: String,
    kind: PartKind,
    value: String,
    text: Cumulative,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PartKind {
    #[default]
    Text,
    Text2image,
    Think,
    Plugin,
    #[serde(rename = "referenceLink")]
    ReferenceLink,
    /// To be passed over.
    #[serde(alias = "card")]
    Component,
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    #[serde(alias = "finish")]
    Finished,
    Interrupted,
    #[serde(alias = "generating", alias = "processing", alias = "")]
    Ongoing,
    #[serde(other)]
    Unknown,
}

/// One event (section 7.2). Everything may be missing or null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a> {
    #[serde(borrow)]
    session_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    msg_id: Option<Cow<'a, str>>,
    msg_status: Option<Status>,
    #[serde(borrow)]
    contents: Option<Vec<FramePart<'a>>>,
    incremental: Option<bool>,
    can_share: Option<bool>,
    error_code: Option<Value>,
    error_msg: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FramePart<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    content_type: Option<PartKind>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    incremental: Option<bool>,
}

/// A JSON string, borrowed where it is written without escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Decoder {
    /// A decoder for one answer to the account whose credential is in `variable`.
    pub fn new(variable: &str) -> Self {
        Self {
            sse: Sse::default(),
            answer: Transcript {
                variable: variable.to_owned(),
                ..Transcript::default()
            },
            refusals: Refusals::new(SENTENCES),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// An error that the stream itself reports (section 8), or a stream that is none.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let before = events.len();
        let read = self.read(bytes, events);
        // Also of what came before an error.
        self.refusals.feed(events, before)?;
        read
    }

    /// The body has ended regularly. `[DONE]` and the finished event may be missing (section 7.4).
    ///
    /// # Errors
    /// An answer without a single part.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let before = events.len();
        let read = self.read_rest(events);
        self.refusals.feed(events, before)?;
        read
    }

    /// Whether the service has said that its answer is complete.
    pub fn is_finished(&self) -> bool {
        self.answer.is_finished
    }

    fn read(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let mut came = self.sse.read(bytes)?;
        while let Some(event) = came.next() {
            self.answer.data(event.data, events)?;
        }
        Ok(())
    }

    fn read_rest(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(event) = self.sse.finish() {
            self.answer.data(event.data, events)?;
        }
        if !self.answer.is_finished {
            self.answer.finish(events)?;
        }
        Ok(())
    }

    /// The upstream conversation, as soon as an event has named it.
    pub fn session_id(&self) -> Option<&str> {
        Some(self.answer.session_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The upstream id of the answer, as soon as an event has named it.
    pub fn message_id(&self) -> Option<&str> {
        Some(self.answer.message_id.as_str()).filter(|id| !id.is_empty())
    }

    /// How often the service took back what it had said.
    pub fn rewrites(&self) -> u32 {
        self.answer
            .parts
            .iter()
            .map(|part| part.text.rewrites())
            .sum()
    }
}

impl Transcript {
    fn data(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // `[DONE]` is sometimes missing, so nothing hangs on it.
        if self.is_finished || is_control(data) {
            return Ok(());
        }
        // Nearly every event only adds to the last part.
        if self.grow(data, events) {
            return Ok(());
        }
        // Whatever is read next is told apart by this event.
        self.alike.forget();
        let normal;
        let frame: Frame<'_> = match serde_json::from_slice(data) {
            Ok(frame) => frame,
            Err(_) => {
                let (bytes, is_mended) = json::normal(data).ok_or_else(malformed)?;
                self.has_halves |= is_mended;
                normal = bytes;
                serde_json::from_slice(&normal).map_err(|_| malformed())?
            }
        };
        // Only where the members are missing: the usual event is not read twice.
        if frame.contents.is_none() && frame.error_code.is_none() && frame.error_msg.is_none() {
            failed(data)?;
        }
        if let Some(id) = frame.session_id.filter(|id| !id.is_empty()) {
            self.session_id = id.into_owned();
        }
        if let Some(id) = frame.msg_id.filter(|id| !id.is_empty()) {
            self.message_id = id.into_owned();
        }
        let word = |value: Option<Value>| {
            value
                .as_ref()
                .and_then(Value::as_str)
                .map(str::to_owned)
                // `"null"` as text is how the service says "going on" (section 7.2).
                .filter(|word| !word.is_empty() && word != "null")
        };
        let (code, message) = (word(frame.error_code), word(frame.error_msg));
        if code.is_some() || message.is_some() {
            return Err(refusal::coded(
                &code.unwrap_or_default(),
                &message.unwrap_or_default(),
                &self.variable,
            ));
        }
        // Only an explicit `false` means moderated.
        self.is_moderated |= frame.can_share == Some(false);
        if frame.msg_status == Some(Status::Unknown) {
            self.unknown.tell("status", events);
        }
        let is_last = matches!(
            frame.msg_status,
            Some(Status::Finished | Status::Interrupted)
        );
        let grown = self.parts(
            frame.contents.unwrap_or_default(),
            frame.incremental,
            is_last,
            events,
        )?;
        if is_last {
            return self.finish(events);
        }
        // Learnt last: the next event repeats this one's bytes, not another's.
        if let Some((at, raw)) = grown {
            self.growing = at;
            self.alike.learn(data, raw.as_bytes(), Repeats::Everything);
        }
        Ok(())
    }

    /// An event that repeats the one before but for some more text, which most do; `false` for any other.
    fn grow(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> bool {
        let (Some(new), Some(part)) =
            (self.alike.recognise(data), self.parts.get_mut(self.growing))
        else {
            return false;
        };
        // Half a character is held back, and by the parser below.
        if new.text.ends_with('\u{FFFD}') {
            return false;
        }
        if !new.text.is_empty() {
            part.value.push_str(&new.text);
            part.text.grow(&new.text);
            self.alike.grow(&new);
            self.is_interleaved |= has_spoken_after(&self.parts, self.growing);
            events.push(ChatEvent::Text(new.text.into_owned()));
        }
        true
    }

    /// The text part that grew and its content as written, if the next event may look the same but for more of it.
    fn parts<'a>(
        &mut self,
        parts: Vec<FramePart<'a>>,
        incremental: Option<bool>,
        is_last: bool,
        events: &mut Vec<ChatEvent>,
    ) -> Result<Option<(usize, &'a str)>, ProviderError> {
        // One list for all kinds: what is counted is the place within a frame.
        let mut ordinals: Vec<PartKind> = Vec::new();
        let (mut grown, mut has_additions) = (None, false);
        for part in parts {
            let kind = part.content_type.unwrap_or_default();
            // Counted before any part is passed over: its place among its kind is all that tells a part without an id.
            let ordinal = ordinals.iter().filter(|known| **known == kind).count();
            ordinals.push(kind);
            if part.role.as_deref().is_some_and(|role| role != "assistant") {
                continue;
            }
            // A part without content is an empty one, not a missing one (section 7.2).
            let raw = part.content.map_or("\"\"", RawValue::get);
            let (content, is_mended) = text(raw)?;
            self.has_halves |= is_mended;
            let content = match kind {
                PartKind::Text | PartKind::Text2image => content,
                PartKind::Think => thoughts(&content).into_owned().into(),
                PartKind::Plugin => {
                    self.plugin(&content);
                    continue;
                }
                PartKind::ReferenceLink => {
                    self.reference_links(&content);
                    continue;
                }
                PartKind::Component => continue,
                PartKind::Unknown => {
                    self.unknown.tell("part", events);
                    continue;
                }
            };
            let key = part
                .id
                .map_or_else(|| format!("{kind:?} {ordinal}"), Cow::into_owned);
            // In order of first appearance, which is the answer's order (section 7.3).
            let at = self
                .parts
                .iter()
                .position(|known| known.key == key)
                .unwrap_or_else(|| {
                    self.parts.push(Part {
                        key,
                        kind,
                        value: String::new(),
                        text: Cumulative::default(),
                    });
                    self.parts.len() - 1
                });
            // The part's own word counts, and the frame's where it has none (section 7.3).
            let is_addition = part.incremental.or(incremental) == Some(true);
            has_additions |= is_addition;
            let before = events.len();
            self.advance(at, &content, is_addition, is_last, events);
            // Only a part whose whole text was sent may be recognised: the next event is it, and more.
            let is_all_sent = |part: &Part| part.text.sent() == part.value;
            if events.len() > before
                && kind == PartKind::Text
                && self.parts.get(at).is_some_and(is_all_sent)
            {
                let inside = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
                grown = inside.map(|raw| (at, raw));
            }
        }
        if is_last {
            // A half character of an earlier event that is not repeated in the last one is final now.
            for at in 0..self.parts.len() {
                self.advance(at, "", true, true, events);
            }
        }
        // What is added to must not be taken for a repetition.
        Ok(grown.filter(|_| !has_additions))
    }

    /// Section 7.3: what of a part's new state is passed on.
    fn advance(
        &mut self,
        at: usize,
        content: &str,
        is_addition: bool,
        is_last: bool,
        events: &mut Vec<ChatEvent>,
    ) {
        let Some(part) = self.parts.get_mut(at) else {
            return;
        };
        if !is_addition {
            part.value.clear();
        }
        part.value.push_str(content);
        let has_halves = self.has_halves;
        // Only where halves have been seen: nearly no answer has one.
        if has_halves && json::has_half(&part.value) {
            json::settle(&mut part.value);
            if is_last {
                part.value = json::whole(&part.value);
            }
        }
        // The service cuts between the bytes of a character and shows the half as U+FFFD; the next event repairs it.
        let visible = if is_last {
            part.value.as_str()
        } else {
            part.value
                .trim_end_matches(|c| c == '\u{FFFD}' || (has_halves && json::is_half(c)))
        };
        let Some(new) = part.text.advance(visible) else {
            return;
        };
        events.push(if part.kind == PartKind::Think {
            ChatEvent::Reasoning(new.to_owned())
        } else {
            ChatEvent::Text(new.to_owned())
        });
        let is_text = part.kind != PartKind::Think;
        self.has_output = true;
        self.is_interleaved |= is_text && has_spoken_after(&self.parts, at);
    }

    fn plugin(&mut self, content: &str) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Plugin {
            plugin_result: String,
        }
        let results = serde_json::from_str::<Plugin>(content)
            .ok()
            .and_then(|plugin| serde_json::from_str::<Vec<Link>>(&plugin.plugin_result).ok());
        // Reference links, when they come, are the better list.
        if let Some(results) = results {
            self.links = results
                .into_iter()
                .map(|link| (link.url, link.title))
                .filter(|(url, _)| url != "expired_url")
                .collect();
        }
    }

    fn reference_links(&mut self, content: &str) {
        #[derive(Deserialize)]
        struct Links {
            links: Vec<Link>,
        }
        if let Ok(links) = serde_json::from_str::<Links>(content) {
            self.links = links
                .links
                .into_iter()
                .map(|link| (link.url, link.title))
                .collect();
        }
    }

    fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.is_finished = true;
        if !self.has_output {
            // In this order: a moderated answer has no text either, and says why.
            return Err(if self.is_moderated {
                ProviderError::new(
                    Kind::Moderated,
                    "the service's moderation stopped the answer",
                )
            } else {
                ProviderError::empty_answer().with_code("upstream_empty_response")
            });
        }
        for (at, (url, title)) in self.links.drain(..).enumerate() {
            events.push(ChatEvent::Citation {
                index: u32::try_from(at + 1).unwrap_or(u32::MAX),
                url,
                title,
            });
        }
        // Not the thoughts: they are passed on as they come, and are no part of the answer.
        let texts = || {
            self.parts
                .iter()
                .filter(|part| part.kind != PartKind::Think)
        };
        if self.is_interleaved
            || texts().any(|part| part.text.rewrites() > 0 || part.text.sent() != part.value)
        {
            events.push(ChatEvent::Rewritten(
                texts().map(|part| part.value.as_str()).collect(),
            ));
        }
        events.push(ChatEvent::Finish(if self.is_moderated {
            FinishReason::ContentFilter
        } else {
            FinishReason::Stop
        }));
        Ok(())
    }
}

/// A JSON string, and whether it may hold halves of characters; null is an empty one.
fn text(raw: &str) -> Result<(Cow<'_, str>, bool), ProviderError> {
    // Borrowed where it is written without escapes, which nearly every text is.
    if let Ok(Text(text)) = serde_json::from_str(raw) {
        return Ok((text, false));
    }
    let text: Option<String> =
        serde_json::from_slice(&json::mended(raw.as_bytes())).map_err(|_| malformed())?;
    Ok((text.unwrap_or_default().into(), true))
}

/// What is no event: `[DONE]`, quoted or not, and what keeps a connection alive.
fn is_control(data: &[u8]) -> bool {
    match data.trim_ascii() {
        [b'{', ..] => false,
        word => matches!(word, b"[DONE]" | b"\"[DONE]\"" | b"null" | b""),
    }
}

/// An error of whoever stands between, which has none of the service's members: without it, half an answer would look
/// like a whole one.
fn failed(event: &[u8]) -> Result<(), ProviderError> {
    let Some((Value::Object(members), _)) = json::value(event) else {
        return Ok(());
    };
    match said::error_in(&members) {
        Some(said) => {
            Err(ProviderError::new(Kind::Unavailable, "the service failed").saying(&said.message))
        }
        None => Ok(()),
    }
}

fn malformed() -> ProviderError {
    ProviderError::malformed("stream").with_code("upstream_bad_stream")
}

fn has_spoken_after(parts: &[Part], at: usize) -> bool {
    let later = parts
        .get(at + 1..)
        .or_impossible("the part that grew is one of these");
    later
        .iter()
        .any(|part| part.kind != PartKind::Think && !part.text.sent().is_empty())
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    url: String,
    #[serde(default)]
    title: String,
}

/// Thoughts are wrapped in JSON; what is not counts as it is (section 7.2).
fn thoughts(content: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Thoughts {
        content: String,
    }
    serde_json::from_str::<Thoughts>(content).map_or(Cow::Borrowed(content), |thoughts| {
        Cow::Owned(thoughts.content)
    })
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
