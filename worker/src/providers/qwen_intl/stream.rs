//! The answer of `POST /api/v2/chat/completions`: OpenAI-like chunks that each belong to a phase. Source:
//! `wire/qwen_intl.md` section 7.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    count,
    refusal::{self, Refusal},
    sources::Sources,
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, Unknowns, Usage, delta::Cumulative},
    upstream::{
        json::{self, Halves},
        sse::Sse,
    },
};

/// An id that is longer is none.
const MOST_ID_BYTES: usize = 128;
/// More pictures in one answer are none of the service's.
const MOST_PICTURES: usize = 16;

/// What a piece of text is: new, or all of the text so far. Known by what was asked, never told by looking: a new piece may
/// well repeat the text so far (section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// `incremental_output: true`.
    Increments,
    /// `incremental_output: false`.
    Snapshots,
}

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    sse: Sse,
    answer: Answer,
}

#[derive(Debug)]
struct Answer {
    /// Which variable to renew when the service says that the login has ended.
    variable: String,
    output: Output,
    /// The answer is one picture: words beside it are not said, and its own phase ends it.
    is_drawing: bool,
    response_id: String,
    text: Voice,
    thoughts: Voice,
    /// How many items of the summary have been said.
    summary: usize,
    sources: Sources,
    pictures: Vec<String>,
    usage: Option<Usage>,
    is_over: bool,
    unknown: Unknowns,
}

/// One of the two texts of an answer.
#[derive(Debug, Default)]
struct Voice {
    has_spoken: bool,
    /// Half a character that waits for the next piece.
    halves: Halves,
    /// Of snapshots: what has been said.
    said: Cumulative,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "response.created", borrow, default)]
    created: Option<Created<'a>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    response_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Created<'a> {
    #[serde(borrow, default)]
    response_id: Option<Cow<'a, str>>,
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
    phase: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    extra: Option<&'a RawValue>,
}

impl Decoder {
    /// A decoder for one answer to the account whose credential is in `variable`.
    pub fn new(variable: &str, output: Output) -> Self {
        Self {
            sse: Sse::default(),
            answer: Answer {
                variable: variable.to_owned(),
                output,
                is_drawing: false,
                response_id: String::new(),
                text: Voice::default(),
                thoughts: Voice::default(),
                summary: 0,
                sources: Sources::default(),
                pictures: Vec::new(),
                usage: None,
                is_over: false,
                unknown: Unknowns::default(),
            },
        }
    }

    /// For an answer that is to be a picture: it is had from `Decoder::pictures`, and nothing is said of it.
    #[must_use]
    pub fn drawing(mut self) -> Self {
        self.answer.is_drawing = true;
        self
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the stream itself reports (section 8), or a stream that is none.
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

    /// The body has ended regularly, which ends the answer as well (section 7.1).
    ///
    /// # Errors
    /// An answer that never began, or that broke off within an event.
    pub(super) fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        if let Some(event) = self.sse.finish() {
            // Without a blank line behind it the last event may be whole all the same.
            let is_cut = serde_json::from_slice::<&RawValue>(event.data).is_err();
            // What is no object says nothing, cut or not.
            if is_cut && !self.answer.is_over && event.data.trim_ascii_start().starts_with(b"{") {
                return Err(ProviderError::broken_stream().into());
            }
            self.answer.data(event.data, events)?;
        }
        if self.answer.is_over {
            return Ok(());
        }
        self.answer.complete(events)
    }

    /// Whether the service has said that its answer is complete.
    pub fn is_over(&self) -> bool {
        self.answer.is_over
    }

    /// The upstream id of this answer, as soon as a frame has named it.
    pub(super) fn response_id(&self) -> Option<&str> {
        Some(self.answer.response_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The pictures so far.
    pub(super) fn pictures(&self) -> &[String] {
        &self.answer.pictures
    }

    /// The service's count of tokens so far.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.answer.usage
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
        if self.is_over {
            return Ok(());
        }
        let data = data.trim_ascii();
        // `true`, `[DONE]`: no objects, and so nothing (section 7.1).
        if !data.starts_with(b"{") {
            return Ok(());
        }
        // The usual frame is read borrowed, without a copy; what may hold a half takes the slower way.
        if !json::may_have_half(data)
            && let Ok(frame) = serde_json::from_slice::<Frame<'_>>(data)
        {
            return self.frame(frame, data, events);
        }
        // Half a character, a member of another type or twice, or no JSON at all.
        let normal = match self.output {
            Output::Increments => json::normal(data).map(|(normal, _)| normal),
            // The next one has all of it.
            Output::Snapshots => json::visible(data),
        };
        let normal = normal.ok_or_else(|| ProviderError::malformed("stream"))?;
        match serde_json::from_slice::<Frame<'_>>(&normal) {
            Ok(frame) => self.frame(frame, &normal, events),
            Err(_) => {
                // As an error first: those have members of other types.
                self.other(&normal, events)?;
                self.unknown.tell("frame", events);
                Ok(())
            }
        }
    }

    fn frame(
        &mut self,
        frame: Frame<'_>,
        data: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        let created = frame.created.and_then(|created| created.response_id);
        // The frames name it as well: an answer without `response.created` is no worse.
        if let Some(id) = created.or(frame.response_id)
            && self.response_id != id
            && id.len() <= MOST_ID_BYTES
        {
            self.response_id = id.into_owned();
        }
        // Cumulative, the last one counts.
        self.usage = frame.usage.and_then(count::usage).or(self.usage);
        // `"error": null` comes with ordinary frames.
        let is_error = frame.error.is_some_and(|error| error.get() != "null");
        let Some(choices) = frame.choices.filter(|_| !is_error) else {
            // Not only errors: `response.info` has no choices either.
            return self.other(data, events);
        };
        for delta in choices.into_iter().filter_map(|choice| choice.delta) {
            self.delta(delta, events)?;
            // `complete` has told its end; more after it would follow `Finish`.
            if self.is_over {
                break;
            }
        }
        Ok(())
    }

    /// An object without a piece of the answer: an error, or one that says nothing.
    fn other(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        let Ok(value) = serde_json::from_slice::<Value>(data) else {
            return Ok(());
        };
        // `response.info`, `response.stopped`, `done`: nothing of the answer (section 7.1).
        let Some(refusal) = refusal::in_stream(&value, &self.variable) else {
            return Ok(());
        };
        // What was said stands (section 8).
        if refusal.error.kind == Kind::Moderated && self.text.has_spoken {
            self.close(FinishReason::ContentFilter, events);
            return Ok(());
        }
        Err(refusal)
    }

    fn delta(&mut self, delta: Delta<'_>, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        let phase = match (delta.phase.as_deref(), delta.name.as_deref()) {
            // Older frames name a tool where newer ones have a phase (section 7.1).
            (None | Some(""), Some(name)) => name,
            (phase, _) => phase.unwrap_or_default(),
        };
        let content = delta.content.unwrap_or_default();
        // Of any phase: nothing follows it.
        if delta.status.as_deref() == Some("error") {
            let error = ProviderError::new(Kind::Unavailable, "the service failed at its answer");
            return Err(error.into());
        }
        let is_finished = delta.status.as_deref() == Some("finished");
        let mut ends = false;
        match phase {
            "answer" | "" => {
                // The words of a picture's answer describe it, which nobody asked for.
                if !self.is_drawing {
                    say(
                        self.output,
                        &mut self.text,
                        content,
                        ChatEvent::Text,
                        events,
                    );
                }
                ends = is_finished;
            }
            "think" => say(
                self.output,
                &mut self.thoughts,
                content,
                ChatEvent::Reasoning,
                events,
            ),
            "thinking_summary" => self.summarised(delta.extra, events),
            "image_gen" | "image" | "image_gen_tool" => {
                // Beside words the picture is one of several parts, and `answer` ends them.
                self.drawn(&content, events);
                ends = is_finished && self.is_drawing;
            }
            "web_search" => self.sources.add(delta.extra),
            // Known, and no answer text (section 7.1).
            "tool_call" | "code_interpreter" | "slides" | "video_gen" => {}
            _ => self.unknown.tell("phase", events),
        }
        // Whatever phase: ordinary chats show pictures beside the text (section 7.1).
        if let Some(extra) = delta.extra.filter(|extra| may_show(extra.get())) {
            self.shown(extra, is_image(phase), events);
        }
        // Last: the frame that ends the answer may carry a picture.
        if ends {
            self.complete(events)?;
        }
        Ok(())
    }

    /// Lists of all items so far, of which those are said that are new.
    fn summarised(&mut self, extra: Option<&RawValue>, events: &mut Vec<ChatEvent>) {
        #[derive(Default, Deserialize)]
        struct Extra {
            summary_thought: Option<Summary>,
        }
        #[derive(Deserialize)]
        struct Summary {
            content: Option<Vec<String>>,
        }
        let extra = extra.map(RawValue::get).unwrap_or_default();
        let extra: Extra = serde_json::from_str(extra).unwrap_or_default();
        let items = extra.summary_thought.and_then(|summary| summary.content);
        // By number and not by text: the same thought may come twice, and what was said never changes.
        for item in items.into_iter().flatten().skip(self.summary) {
            let gap = if self.thoughts.has_spoken { "\n\n" } else { "" };
            self.thoughts.has_spoken = true;
            self.summary += 1;
            events.push(ChatEvent::Reasoning(format!("{gap}{}", json::whole(&item))));
        }
    }

    /// Links to pictures beside the content.
    fn shown(&mut self, extra: &RawValue, is_image: bool, events: &mut Vec<ChatEvent>) {
        let Ok(extra) = serde_json::from_str::<Value>(extra.get()) else {
            return;
        };
        let list = extra.get("image_list").and_then(Value::as_array);
        for entry in list.into_iter().flatten() {
            if let Some(Value::String(url)) = entry.get("image") {
                self.drawn(url, events);
            }
        }
        // Only where the content had none: `url` in `extra` is also that of a source.
        if is_image && self.pictures.is_empty() {
            for name in ["image", "url"] {
                if let Some(url) = anywhere(&extra, name) {
                    self.drawn(url, events);
                }
            }
        }
    }

    /// A picture, told once.
    fn drawn(&mut self, url: &str, events: &mut Vec<ChatEvent>) {
        let url = url.trim();
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        // The same picture is in the content and in the list.
        let is_known = self.pictures.iter().any(|known| known == url);
        if !is_web || is_known || self.pictures.len() >= MOST_PICTURES {
            return;
        }
        self.pictures.push(url.to_owned());
        if self.is_drawing {
            return;
        }
        // Markdown shows a picture only apart from the text before it.
        let gap = if self.text.has_spoken { "\n\n" } else { "" };
        self.text.has_spoken = true;
        events.push(ChatEvent::Text(format!("{gap}{}", picture(url))));
    }

    fn complete(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), Refusal> {
        if self.is_drawing {
            // Where its picture is, if there is none here, is the flow's to find out.
            self.is_over = true;
            return Ok(());
        }
        let before = events.len();
        for (voice, event) in [
            (&mut self.thoughts, ChatEvent::Reasoning as fn(String) -> _),
            (&mut self.text, ChatEvent::Text),
        ] {
            // A half whose other half never came is said as U+FFFD.
            events.extend(voice.halves.finish().map(|half| event(half.to_string())));
        }
        let has_half = events
            // A half is text too: an answer of one broken emoji is an answer.
            .get(before..)
            .is_some_and(|new| new.iter().any(|it| matches!(it, ChatEvent::Text(_))));
        if !self.text.has_spoken && !has_half {
            let error = if self.thoughts.has_spoken {
                // It has thought and never spoken: no end of an answer, whatever the connection says.
                ProviderError::broken_stream()
            } else {
                ProviderError::empty_answer()
            };
            return Err(error.into());
        }
        self.close(FinishReason::Stop, events);
        Ok(())
    }

    fn close(&mut self, reason: FinishReason, events: &mut Vec<ChatEvent>) {
        self.is_over = true;
        // Sources after the text: their numbers are those of the marks in it.
        self.sources.tell(events);
        events.extend(self.usage.map(ChatEvent::Usage));
        events.push(ChatEvent::Finish(reason));
    }
}

/// A picture as the answer's text shows it (section 5).
pub(super) fn picture(url: &str) -> String {
    format!("![image]({url})")
}

fn is_image(phase: &str) -> bool {
    matches!(phase, "image_gen" | "image" | "image_gen_tool")
}

/// Whether it is worth reading for pictures: nearly none is.
fn may_show(extra: &str) -> bool {
    // `url` with its quotes: without them nearly every search result would be read twice.
    extra.contains("image") || extra.contains("\"url\"")
}

/// The first text of that name, however deep.
fn anywhere<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    match value {
        Value::Object(members) => match members.get(name) {
            Some(Value::String(text)) => Some(text),
            _ => members.values().find_map(|inner| anywhere(inner, name)),
        },
        Value::Array(list) => list.iter().find_map(|inner| anywhere(inner, name)),
        _ => None,
    }
}

fn say(
    output: Output,
    voice: &mut Voice,
    content: Cow<'_, str>,
    event: fn(String) -> ChatEvent,
    events: &mut Vec<ChatEvent>,
) {
    let new = match output {
        // A snapshot that goes back says nothing: what was sent stands.
        Output::Snapshots => voice.said.advance(&content).map(str::to_owned),
        // Halves only where text is new: a snapshot's half is whole in the next one.
        Output::Increments if json::has_half(&content) || voice.halves.is_waiting() => {
            Some(voice.halves.join(&content))
        }
        Output::Increments => Some(content.into_owned()),
    };
    if let Some(new) = new.filter(|new| !new.is_empty()) {
        voice.has_spoken = true;
        events.push(event(new));
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
