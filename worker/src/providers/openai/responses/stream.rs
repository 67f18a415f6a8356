//! The answer: a response's events, one by one. What the deltas have not said, the items that are done say, and the last
//! event says what neither of them has; so servers that send less than the whole set are understood as well.
//! Source: OpenAI's public API reference, streaming events of Responses.
//!
//! ```text
//!   answering ── response.completed | .incomplete ──► finished
//!       └─────── response.failed | error ──► Err
//! ```

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    chat::{
        ChatEvent, FinishReason, Kind, ProviderError, ToolCallDelta, Unknowns, responses,
        tools::qualified,
    },
    providers::{
        openai::{refusal, usage},
        said::Said,
    },
    upstream::{json, sse::Sse},
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
    /// By `output_index`.
    items: HashMap<u64, Item>,
    calls: u32,
    sources: u32,
    /// Which kind of thinking is told: a summary, or all of it. Some servers send both.
    thinking: Option<Thinking>,
    has_output: bool,
    is_finished: bool,
    unknown: Unknowns,
}

/// An item so far.
#[derive(Debug, Default)]
struct Item {
    /// Our number of the call that it is.
    call: Option<u32>,
    /// Bytes of it that were said.
    said: usize,
    /// Parts of thinking that were begun.
    parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thinking {
    Summary,
    Text,
}

/// The members of all events, as far as they matter. Texts are lent from the event where they have no escapes.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    output_index: u64,
    #[serde(borrow)]
    delta: Option<Cow<'a, str>>,
    item: Option<Value>,
    annotation: Option<Value>,
    response: Option<Value>,
}

impl Decoder {
    /// A decoder for one answer to the key in `variable`.
    pub fn new(variable: &str) -> Self {
        Self {
            sse: Sse::default(),
            answer: Transcript::new(variable),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the upstream says has failed, or a stream that is none; never once the answer is finished.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if self.answer.is_finished {
            return Ok(());
        }
        let mut came = self.sse.read(bytes)?;
        // What follows the end is of nobody's answer.
        while let Some(event) = came.next() {
            self.answer.event(event.data, events)?;
            if self.answer.is_finished {
                break;
            }
        }
        Ok(())
    }

    /// The body has ended, regularly or not.
    ///
    /// # Errors
    /// An answer that broke off.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if !self.answer.is_finished
            && let Some(event) = self.sse.finish()
            && let Err(error) = self.answer.event(event.data, events)
        {
            // An event that was torn is the end of a stream that broke.
            return Err(match error.kind {
                Kind::Protocol => ProviderError::broken_stream(),
                _ => error,
            });
        }
        match (self.answer.is_finished, self.answer.has_output) {
            (true, _) => Ok(()),
            (false, true) => Err(ProviderError::broken_stream()),
            (false, false) => Err(ProviderError::empty_answer()),
        }
    }

    /// Nothing that follows is part of the answer.
    pub fn is_finished(&self) -> bool {
        self.answer.is_finished
    }
}

/// A response that came in one piece.
///
/// # Errors
/// What the upstream says has failed, or a body that is no response.
pub(in crate::providers::openai) fn whole(
    body: &[u8],
    variable: &str,
    events: &mut Vec<ChatEvent>,
) -> Result<(), ProviderError> {
    let mut answer = Transcript::new(variable);
    let Some((response, _)) = json::value(body) else {
        return Err(ProviderError::malformed("answer"));
    };
    // An error with 200, and no response beside it.
    if response["status"].is_null() && !response["error"].is_null() {
        return Err(refusal::in_stream(&Said::value(&response), variable));
    }
    answer.end(&response, events)?;
    // A response whose status is neither is none.
    if answer.is_finished {
        Ok(())
    } else {
        Err(ProviderError::malformed("answer"))
    }
}

impl Transcript {
    fn new(variable: &str) -> Self {
        Self {
            variable: variable.to_owned(),
            ..Self::default()
        }
    }

    fn event(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let word = data.trim_ascii();
        // Beats, and the end that chat completions have.
        if !word.starts_with(b"{") {
            return Ok(());
        }
        let mended;
        let event: Event<'_> = match serde_json::from_slice(word) {
            Ok(event) => event,
            Err(_) => {
                mended = json::mended(word);
                serde_json::from_slice(&mended).map_err(|_| ProviderError::malformed("stream"))?
            }
        };
        let at = event.output_index;
        match &*event.kind {
            "response.output_text.delta" => self.text(at, event.delta, events),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.arguments(at, event.delta.unwrap_or_default().into_owned(), events);
            }
            "response.reasoning_summary_text.delta" => {
                self.think(at, Thinking::Summary, event.delta, events);
            }
            "response.reasoning_text.delta" => {
                self.think(at, Thinking::Text, event.delta, events);
            }
            "response.reasoning_summary_part.added" => self.thought(at, events),
            "response.refusal.delta" => {
                if let Some(delta) = event.delta.filter(|delta| !delta.is_empty()) {
                    self.items.entry(at).or_default().said += delta.len();
                    self.refuse(&delta, events);
                }
            }
            "response.output_item.added" => {
                if let Some(item) = &event.item {
                    self.begin(at, item, events);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = &event.item {
                    self.item(at, item, events);
                }
            }
            "response.output_text.annotation.added" => {
                if let Some(annotation) = &event.annotation {
                    self.cite(annotation, events);
                }
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled" => {
                return self.end(&event.response.unwrap_or_default(), events);
            }
            "error" => return Err(refusal::in_stream(&Said::body(word), &self.variable)),
            // What stands around the items, what only says again what was said, what other services' tools do meanwhile.
            kind if kind.starts_with("response.") || kind == "keepalive" || kind == "ping" => {}
            "" if memchr::memmem::find(word, b"\"error\"").is_some() => {
                return Err(refusal::in_stream(&Said::body(word), &self.variable));
            }
            _ => self.unknown.tell("event", events),
        }
        Ok(())
    }

    fn text(&mut self, at: u64, delta: Option<Cow<'_, str>>, events: &mut Vec<ChatEvent>) {
        if let Some(delta) = delta.filter(|delta| !delta.is_empty()) {
            self.has_output = true;
            self.items.entry(at).or_default().said += delta.len();
            events.push(ChatEvent::Text(delta.into_owned()));
        }
    }

    fn refuse(&mut self, words: &str, events: &mut Vec<ChatEvent>) {
        self.has_output = true;
        let members = [("refusal".to_owned(), Value::from(words))];
        events.push(ChatEvent::Extra(members.into_iter().collect()));
    }

    fn think(
        &mut self,
        at: u64,
        kind: Thinking,
        delta: Option<Cow<'_, str>>,
        events: &mut Vec<ChatEvent>,
    ) {
        // Two kinds of thinking: the first that came is the one that is told.
        if *self.thinking.get_or_insert(kind) != kind {
            return;
        }
        if let Some(delta) = delta.filter(|delta| !delta.is_empty()) {
            self.has_output = true;
            self.items.entry(at).or_default().said += delta.len();
            events.push(ChatEvent::Reasoning(delta.into_owned()));
        }
    }

    /// A part of a summary begins: a paragraph of its own.
    fn thought(&mut self, at: u64, events: &mut Vec<ChatEvent>) {
        let item = self.items.entry(at).or_default();
        item.parts += 1;
        // The first part is not set off: there is nothing before it.
        if item.parts > 1 && item.said > 0 && self.thinking != Some(Thinking::Text) {
            events.push(ChatEvent::Reasoning("\n\n".to_owned()));
        }
    }

    /// An item begins: of a call its name is known.
    fn begin(&mut self, at: u64, item: &Value, events: &mut Vec<ChatEvent>) {
        if matches!(
            item["type"].as_str(),
            Some("function_call" | "custom_tool_call")
        ) {
            self.call(at, item, events);
        }
    }

    /// Our number of a call; tells its name, the first time.
    fn call(&mut self, at: u64, item: &Value, events: &mut Vec<ChatEvent>) -> u32 {
        let known = self.items.entry(at).or_default();
        // Once: later items of the same call only say more.
        if let Some(index) = known.call {
            return index;
        }
        let index = self.calls;
        self.calls += 1;
        known.call = Some(index);
        self.has_output = true;
        let word = |name: &str| item[name].as_str().filter(|word| !word.is_empty());
        // Tools of its own have no name in the item, but in their type.
        let name = word("name").or_else(|| responses::name(item["type"].as_str()?));
        let name = name.unwrap_or_default();
        events.push(ChatEvent::ToolCall(ToolCallDelta {
            index,
            id: word("call_id").or_else(|| word("id")).map(str::to_owned),
            // A tool of another server is named with it, so that two servers' tools do not meet.
            name: Some(match word("namespace") {
                Some(namespace) => qualified(namespace, name),
                None => name.to_owned(),
            }),
            arguments: String::new(),
        }));
        index
    }

    fn arguments(&mut self, at: u64, arguments: String, events: &mut Vec<ChatEvent>) {
        let item = self.items.entry(at).or_default();
        // Without an item there is no name yet: the item that is done will have all of it.
        let Some(index) = item.call.filter(|_| !arguments.is_empty()) else {
            return;
        };
        item.said += arguments.len();
        events.push(ChatEvent::ToolCall(ToolCallDelta {
            index,
            id: None,
            name: None,
            arguments,
        }));
    }

    /// An item is whole: says what its deltas have not.
    fn item(&mut self, at: u64, item: &Value, events: &mut Vec<ChatEvent>) {
        let said = self.items.get(&at).map_or(0, |item| item.said);
        match item["type"].as_str().unwrap_or_default() {
            // Only where no delta has said it: a done item repeats everything.
            "message" if said == 0 => {
                for part in item["content"].as_array().into_iter().flatten() {
                    match (part["text"].as_str(), part["refusal"].as_str()) {
                        (Some(text), _) => self.text(at, Some(text.into()), events),
                        (None, Some(words)) => self.refuse(words, events),
                        (None, None) => {}
                    }
                    for annotation in part["annotations"].as_array().into_iter().flatten() {
                        self.cite(annotation, events);
                    }
                }
            }
            "reasoning" if said == 0 => {
                for (list, kind) in [("summary", Thinking::Summary), ("content", Thinking::Text)] {
                    for part in item[list].as_array().into_iter().flatten() {
                        // Its parts are the paragraphs of a summary.
                        if kind == Thinking::Summary {
                            self.thought(at, events);
                        }
                        let text = part["text"].as_str().map(Cow::Borrowed);
                        self.think(at, kind, text, events);
                    }
                }
            }
            "message" | "reasoning" => {}
            "function_call" | "custom_tool_call" => {
                self.call(at, item, events);
                let text = item["arguments"]
                    .as_str()
                    .or_else(|| item["input"].as_str());
                // What the deltas have not said: the rest of the text.
                let rest = text.and_then(|text| text.get(said..));
                self.arguments(at, rest.unwrap_or_default().to_owned(), events);
            }
            kind
            @ ("local_shell_call" | "shell_call" | "apply_patch_call" | "tool_search_call")
                if said == 0 && item["execution"].as_str() != Some("server") =>
            {
                self.call(at, item, events);
                let inside = ["action", "operation", "arguments"];
                let inside = inside.iter().find_map(|name| item.get(*name));
                // An item of a tool that it has run itself has no arguments for anybody.
                let arguments = responses::arguments(kind, inside.unwrap_or(&Value::Null));
                self.arguments(at, arguments.to_string(), events);
            }
            // Of a tool that the upstream runs itself: what comes of it stands in the text.
            _ => {}
        }
    }

    fn cite(&mut self, annotation: &Value, events: &mut Vec<ChatEvent>) {
        if let Some(url) = annotation["url"].as_str() {
            self.sources += 1;
            events.push(ChatEvent::Citation {
                index: self.sources,
                url: url.to_owned(),
                title: annotation["title"].as_str().unwrap_or_default().to_owned(),
            });
        }
    }

    /// The whole response, as the last event has it, or an answer in one piece.
    fn end(&mut self, response: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let status = response["status"].as_str().unwrap_or_default();
        // A status that fails says why, under a response that came with 200.
        if matches!(status, "failed" | "cancelled") {
            let said = Said::value(&response["error"]);
            return Err(refusal::in_stream(&said, &self.variable));
        }
        if !matches!(status, "completed" | "incomplete") {
            return Ok(());
        }
        let items = response["output"].as_array().into_iter().flatten();
        for (at, item) in (0..).zip(items) {
            // What stands in the last event alone.
            if self.items.get(&at).is_none_or(|item| item.said == 0) {
                self.item(at, item, events);
            }
        }
        if let Some(usage) = usage::read(&response["usage"]) {
            events.push(ChatEvent::Usage(usage));
        }
        let reason = match response["incomplete_details"]["reason"].as_str() {
            Some("content_filter") => FinishReason::ContentFilter,
            Some(_) => FinishReason::Length,
            None if status == "incomplete" => FinishReason::Length,
            None => FinishReason::Stop,
        };
        // A filtered answer may hold nothing; a completed one may not.
        if !self.has_output && reason == FinishReason::Stop {
            return Err(ProviderError::empty_answer());
        }
        self.is_finished = true;
        events.push(ChatEvent::Finish(reason));
        Ok(())
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
