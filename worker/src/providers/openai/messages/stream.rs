//! The answer: a message's events, one by one. Source: Anthropic's public API reference, streaming of Messages.
//!
//! ```text
//!   answering ── message_delta with a stop_reason ──► finished ── message_stop ──► done
//!       └─────── error ──► Err
//! ```

use std::{borrow::Cow, collections::HashMap};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, ToolCallDelta, Unknowns, Usage},
    providers::{openai::refusal, said::Said},
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
    /// The texts that the caller has named, to tell which of them was met.
    stops: Vec<String>,
    /// By the upstream's index.
    blocks: HashMap<u64, Block>,
    calls: u32,
    sources: u32,
    usage: Usage,
    has_output: bool,
    /// Told when the counts are known, which come with it or behind it.
    reason: Option<FinishReason>,
    is_done: bool,
    unknown: Unknowns,
}

/// A block so far.
#[derive(Debug)]
enum Block {
    /// Our number of the call, its input where that came with its beginning, and whether deltas have come.
    Call(u32, Option<String>, bool),
    /// Text and thinking: their deltas say what they are.
    Other,
}

/// The members of all events, as far as they matter. Texts are lent from the event where they have no escapes.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    content_block: Option<Value>,
    message: Option<Value>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partial_json: Option<Cow<'a, str>>,
    citation: Option<Value>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

impl Decoder {
    /// A decoder for one answer to the key in `variable`, to a question that named `stops`.
    pub fn new(variable: &str, stops: &[String]) -> Self {
        Self {
            sse: Sse::default(),
            answer: Transcript::new(variable, stops),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the upstream says has failed, or a stream that is none; never once the answer is finished.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // What follows `message_stop` is of nobody's answer.
        if self.answer.is_done {
            return Ok(());
        }
        let mut came = match self.sse.read(bytes) {
            Ok(came) => came,
            // A stream that breaks behind its end is over, not broken (see [`Transcript::unless_finished`]).
            Err(error) => return self.answer.unless_finished(error.into()),
        };
        while let Some(event) = came.next() {
            if let Err(error) = self.answer.event(event.data, events) {
                return self.answer.unless_finished(error);
            }
            if self.answer.is_done {
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
        if !self.answer.is_done
            && let Some(event) = self.sse.finish()
            && let Err(error) = self.answer.event(event.data, events)
            // Once it is finished, what is torn behind it does not matter.
            && self.answer.reason.is_none()
        {
            // An event that was torn is the end of a stream that broke.
            return Err(match error.kind {
                Kind::Protocol => ProviderError::broken_stream(),
                _ => error,
            });
        }
        self.answer.end(events)
    }

    /// The upstream has given its reason for the end.
    pub fn is_finished(&self) -> bool {
        self.answer.reason.is_some()
    }

    /// Nothing may follow.
    pub fn is_done(&self) -> bool {
        self.answer.is_done
    }
}

/// A message that came in one piece.
///
/// # Errors
/// What the upstream says has failed, or a body that is no message.
pub(in crate::providers::openai) fn whole(
    body: &[u8],
    variable: &str,
    stops: &[String],
    events: &mut Vec<ChatEvent>,
) -> Result<(), ProviderError> {
    let mut answer = Transcript::new(variable, stops);
    let Some((message, _)) = json::value(body) else {
        return Err(ProviderError::malformed("answer"));
    };
    // An error instead of a message: some send it with 200.
    if message["type"] == "error" || message.get("error").is_some() {
        return Err(refusal::in_stream(&Said::value(&message), variable));
    }
    let Some(content) = message["content"].as_array() else {
        return Err(ProviderError::malformed("answer"));
    };
    // Its own number, as a whole answer has no index.
    for (index, block) in (0..).zip(content) {
        answer.begin(index, block, events);
        answer.stop(index, events);
    }
    answer.count(&message["usage"]);
    let word = |name: &str| message[name].as_str().map(str::to_owned);
    answer.finish(
        // An empty reason is one: a whole answer is complete.
        word("stop_reason").or(Some(String::new())),
        word("stop_sequence"),
    );
    answer.end(events)
}

impl Transcript {
    fn new(variable: &str, stops: &[String]) -> Self {
        Self {
            variable: variable.to_owned(),
            stops: stops.to_vec(),
            ..Self::default()
        }
    }

    /// What goes wrong behind the end is of no interest.
    fn unless_finished(&self, error: ProviderError) -> Result<(), ProviderError> {
        // After the end the answer stands: what goes wrong then is the connection's.
        if self.reason.is_some() {
            Ok(())
        } else {
            Err(error)
        }
    }

    fn event(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let word = data.trim_ascii();
        // Beats, and the end that other dialects have.
        if !word.starts_with(b"{") {
            return Ok(());
        }
        let mended;
        let event: Event<'_> = match serde_json::from_slice(word) {
            Ok(event) => event,
            Err(_) => {
                // Half a character is mended once; what is still no JSON is none.
                mended = json::mended(word);
                serde_json::from_slice(&mended).map_err(|_| ProviderError::malformed("stream"))?
            }
        };
        match &*event.kind {
            "content_block_delta" => {
                if let Some(delta) = event.delta {
                    self.delta(event.index, delta, events);
                }
            }
            "message_start" => {
                if let Some(message) = &event.message {
                    self.count(&message["usage"]);
                }
            }
            "content_block_start" => {
                if let Some(block) = &event.content_block {
                    self.begin(event.index, block, events);
                }
            }
            "content_block_stop" => self.stop(event.index, events),
            "message_delta" => {
                if let Some(usage) = &event.usage {
                    self.count(usage);
                }
                if let Some(delta) = event.delta {
                    self.finish(delta.stop_reason, delta.stop_sequence);
                }
            }
            "message_stop" => return self.end(events),
            "ping" => {}
            // Both of the dialect's own forms of an error.
            "error" => return Err(refusal::in_stream(&Said::body(word), &self.variable)),
            "" if memchr::memmem::find(word, b"\"error\"").is_some() => {
                return Err(refusal::in_stream(&Said::body(word), &self.variable));
            }
            _ => self.unknown.tell("event", events),
        }
        Ok(())
    }

    /// A block begins. Whole answers, and some servers, have all of it here.
    fn begin(&mut self, index: u64, block: &Value, events: &mut Vec<ChatEvent>) {
        let text = |name: &str| block[name].as_str().unwrap_or_default().to_owned();
        let mut known = Block::Other;
        match block["type"].as_str().unwrap_or_default() {
            "text" => {
                self.text(text("text"), events);
                for citation in block["citations"].as_array().into_iter().flatten() {
                    self.cite(citation, events);
                }
            }
            "thinking" => {
                self.think(text("thinking"), events);
                self.seal(text("signature"), events);
            }
            "tool_use" => {
                let number = self.calls;
                self.calls += 1;
                self.has_output = true;
                // An empty object is what a call begins with; only a whole answer has its input here.
                let input = block["input"].as_object().filter(|input| !input.is_empty());
                known = Block::Call(number, input.map(|_| block["input"].to_string()), false);
                events.push(ChatEvent::ToolCall(ToolCallDelta {
                    index: number,
                    id: block["id"].as_str().map(str::to_owned),
                    name: Some(text("name")),
                    arguments: String::new(),
                }));
            }
            "web_search_tool_result" => {
                for result in block["content"].as_array().into_iter().flatten() {
                    self.name(result, events);
                }
            }
            "redacted_thinking" => {
                let thought = text("data");
                if !thought.is_empty() {
                    events.push(ChatEvent::Sealed(thought));
                }
            }
            // Tools that the service runs itself, and their results: what comes of them stands in the text.
            "server_tool_use" => {}
            kind if kind.ends_with("_tool_result") => {}
            _ => self.unknown.tell("block", events),
        }
        // Also of text and thinking: their deltas name the block.
        self.blocks.insert(index, known);
    }

    fn delta(&mut self, index: u64, delta: Delta<'_>, events: &mut Vec<ChatEvent>) {
        if let Some(text) = delta.text {
            self.text(text.into_owned(), events);
        }
        if let Some(text) = delta.thinking {
            self.think(text.into_owned(), events);
        }
        if let Some(signature) = delta.signature {
            self.seal(signature.into_owned(), events);
        }
        if let Some(citation) = delta.citation {
            self.cite(&citation, events);
        }
        if let Some(arguments) = delta.partial_json.filter(|json| !json.is_empty())
            // A delta of arguments for a block that never began has no name, and no client could use it.
            && let Some(Block::Call(number, _, has_deltas)) = self.blocks.get_mut(&index)
        {
            *has_deltas = true;
            events.push(more(*number, arguments.into_owned()));
        }
    }

    /// A block has ended: of a call whose input came with its beginning that is told now.
    fn stop(&mut self, index: u64, events: &mut Vec<ChatEvent>) {
        // Without a delta the input of the beginning is what there is.
        if let Some(Block::Call(number, Some(input), false)) = self.blocks.remove(&index) {
            events.push(more(number, input));
        }
    }

    fn text(&mut self, text: String, events: &mut Vec<ChatEvent>) {
        if !text.is_empty() {
            self.has_output = true;
            events.push(ChatEvent::Text(text));
        }
    }

    fn think(&mut self, text: String, events: &mut Vec<ChatEvent>) {
        if !text.is_empty() {
            self.has_output = true;
            events.push(ChatEvent::Reasoning(text));
        }
    }

    fn seal(&mut self, signature: String, events: &mut Vec<ChatEvent>) {
        if !signature.is_empty() {
            events.push(ChatEvent::Signature(signature));
        }
    }

    fn name(&mut self, source: &Value, events: &mut Vec<ChatEvent>) -> bool {
        let Some(url) = source["url"].as_str() else {
            return false;
        };
        self.sources += 1;
        events.push(ChatEvent::Citation {
            index: self.sources,
            url: url.to_owned(),
            title: source["title"].as_str().unwrap_or_default().to_owned(),
        });
        true
    }

    /// The text rests on a source here.
    fn cite(&mut self, citation: &Value, events: &mut Vec<ChatEvent>) {
        if self.name(citation, events) {
            events.push(ChatEvent::Cited {
                index: self.sources,
            });
        }
    }

    /// Counts are cumulative; what a later event does not say stays.
    fn count(&mut self, usage: &Value) {
        let count = |name: &str| usage[name].as_u64();
        if let Some(fresh) = count("input_tokens") {
            let read = count("cache_read_input_tokens").unwrap_or_default();
            let written = count("cache_creation_input_tokens").unwrap_or_default();
            // Some servers say 0 at the end where they have counted at the beginning.
            let whole = fresh.saturating_add(read).saturating_add(written);
            if whole > 0 {
                self.usage.prompt_tokens = whole;
                self.usage.cached_tokens = read;
            }
        }
        if let Some(output) = count("output_tokens") {
            self.usage.completion_tokens = output;
        }
        let thinking = usage["output_tokens_details"]["thinking_tokens"].as_u64();
        self.usage.reasoning_tokens = thinking.unwrap_or(self.usage.reasoning_tokens);
    }

    fn finish(&mut self, reason: Option<String>, stop: Option<String>) {
        let Some(reason) = reason else {
            return;
        };
        // Which of the caller's own texts was met: a client that named several wants to know.
        let met = stop.and_then(|text| self.stops.iter().position(|stop| *stop == text));
        self.reason = Some(match (&*reason, met) {
            ("stop_sequence", Some(place)) => FinishReason::StopText(place),
            ("max_tokens" | "model_context_window_exceeded", _) => FinishReason::Length,
            ("tool_use", _) => FinishReason::ToolCalls,
            ("refusal", _) => FinishReason::ContentFilter,
            // `end_turn`, `pause_turn`, and whatever comes next.
            _ => FinishReason::Stop,
        });
    }

    fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if self.is_done {
            return Ok(());
        }
        // In this order: an answer that was stopped by a filter may hold nothing.
        match (self.reason, self.has_output) {
            (Some(FinishReason::Stop) | None, false) => Err(ProviderError::empty_answer()),
            (None, true) => Err(ProviderError::broken_stream()),
            (Some(reason), _) => {
                self.is_done = true;
                // Zero is not counted, not an answer without tokens.
                if self.usage.prompt_tokens > 0 || self.usage.completion_tokens > 0 {
                    events.push(ChatEvent::Usage(self.usage));
                }
                events.push(ChatEvent::Finish(reason));
                Ok(())
            }
        }
    }
}

fn more(index: u32, arguments: String) -> ChatEvent {
    ChatEvent::ToolCall(ToolCallDelta {
        index,
        id: None,
        name: None,
        arguments,
    })
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
