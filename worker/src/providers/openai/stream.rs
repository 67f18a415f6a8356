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
        if let Err(error) = self.sse.push(bytes) {
            return self.answer.unless_finished(error.into());
        }
        // Up to the end: what follows `[DONE]` is of nobody's answer.
        while let Some(event) = self.sse.next() {
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

/// Data that is no JSON object.
enum Control {
    /// `[DONE]`, quoted or not.
    Done,
    /// What keeps a connection alive.
    Beat,
}

/// Events that only keep the connection alive, whatever they hold.
fn is_heartbeat(name: &[u8]) -> bool {
    [
        &b"ping"[..],
        b"heartbeat",
        b"keepalive",
        b"keep-alive",
        b"keep_alive",
    ]
    .iter()
    .any(|known| name.eq_ignore_ascii_case(known))
}

fn control(data: &[u8]) -> Option<Control> {
    let word = data.trim_ascii();
    match word {
        [b'{', ..] => None,
        b"" | b"null" => Some(Control::Beat),
        _ => {
            // Quoted by some, and in another case by others.
            let word = word.strip_prefix(b"\"").unwrap_or(word);
            let word = word.strip_suffix(b"\"").unwrap_or(word).trim_ascii();
            let is = |known: &[u8]| word.eq_ignore_ascii_case(known);
            if is(b"[DONE]") || is(b"DONE") {
                Some(Control::Done)
            } else if is(b"") || is(b"ping") || is(b"keep-alive") || is(b"heartbeat") {
                Some(Control::Beat)
            } else {
                None
            }
        }
    }
}

/// What a finish reason means.
enum Reason {
    Finished(FinishReason),
    /// The answer is not whole.
    Broken,
    /// A word that nobody knows: it ends the answer like any other.
    Unknown,
}

/// In whichever words.
fn reason(word: &str) -> Option<Reason> {
    match word {
        // Nearly all of them.
        "stop" => return Some(Reason::Finished(FinishReason::Stop)),
        "" => return None,
        _ => {}
    }
    let word = word.trim().to_ascii_lowercase();
    Some(match word.as_str() {
        "" | "null" | "none" | "in_progress" | "finish_reason_unspecified" => return None,
        "length"
        | "max_tokens"
        | "max_output_tokens"
        | "max_length"
        | "model_length"
        | "token_limit"
        | "model_context_window_exceeded" => Reason::Finished(FinishReason::Length),
        "content_filter" | "content_filtered" | "safety" | "recitation" | "sensitive"
        | "prohibited_content" | "blocklist" | "refusal" => {
            Reason::Finished(FinishReason::ContentFilter)
        }
        "tool_calls" | "tool_call" | "function_call" | "tool_use" => {
            Reason::Finished(FinishReason::ToolCalls)
        }
        "error"
        | "failed"
        | "abort"
        | "aborted"
        | "cancelled"
        | "canceled"
        // Words of an answer that is not whole.
        | "network_error"
        | "insufficient_system_resource"
        | "malformed_function_call" => Reason::Broken,
        "stop" | "stop_sequence" | "stop_token" | "end_turn" | "eos" | "eos_token"
        | "eos_found" | "end" | "ended" | "complete" | "completed" | "finish" | "finished"
        | "done" | "normal" | "success" => Reason::Finished(FinishReason::Stop),
        _ => Reason::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{ToolCallDelta, Usage};
    use crate::providers::testing::decodes_however_it_is_torn;

    const SAMPLE: &str = concat!(
        ": comment\n\n",
        "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"想\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a👋\",\"refusal\":null},\"logprobs\":{\"content\":[]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n",
        "data: [DONE]\n\n",
    );

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<ChatEvent>, Option<Kind>) {
        let (mut decoder, mut events) = (Decoder::new("K"), Vec::new());
        let fed = pieces
            .into_iter()
            .try_for_each(|piece| decoder.feed(piece, &mut events));
        let error = fed
            .and_then(|()| decoder.finish(&mut events))
            .err()
            .map(|error| error.kind);
        (events, error)
    }

    #[test]
    fn passes_on_everything_that_a_chunk_may_hold() {
        let (events, error) = decode([SAMPLE.as_bytes()]);
        let call = |id: Option<&str>, arguments: &str| {
            ChatEvent::ToolCall(ToolCallDelta {
                index: 0,
                id: id.map(str::to_owned),
                name: id.map(|_| "f".to_owned()),
                arguments: arguments.to_owned(),
            })
        };
        let expected = [
            ChatEvent::Reasoning("想".into()),
            ChatEvent::Text("a👋".into()),
            ChatEvent::Logprobs(serde_json::json!({"content": []})),
            call(Some("c"), ""),
            call(None, "{}"),
            ChatEvent::Finish(FinishReason::ToolCalls),
            ChatEvent::Usage(Usage {
                prompt_tokens: 3,
                completion_tokens: 4,
                reasoning_tokens: 0,
                cached_tokens: 0,
            }),
        ];
        assert_eq!((events.as_slice(), error), (expected.as_slice(), None));
    }

    #[test]
    fn it_may_be_torn_anywhere() {
        decodes_however_it_is_torn(
            SAMPLE.as_bytes(),
            |pieces| decode(pieces.iter().copied()),
            |(events, error)| {
                let is_answer = events
                    .iter()
                    .any(|event| matches!(event, ChatEvent::Finish(_)));
                is_answer || error.is_some()
            },
        );
    }

    #[test]
    fn a_piece_like_the_one_before_is_not_parsed() {
        let (mut decoder, mut events) = (Decoder::new("K"), Vec::new());
        let piece =
            |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
        let first = format!("data: {}\n\n", piece("a"));
        decoder.feed(first.as_bytes(), &mut events).unwrap();
        let next = piece("b");
        let new = decoder.answer.alike.recognise(next.as_bytes());
        assert_eq!(new.map(|new| new.text.into_owned()).as_deref(), Some("b"));
    }

    #[test]
    fn errors_in_the_stream_are_errors() {
        for (error, kind) in [
            (
                r#"{"message":"slow","type":"rate_limit_error","code":"rate_limit_exceeded"}"#,
                Kind::RateLimited,
            ),
            (r#"{"message":"x","code":401}"#, Kind::AuthExpired),
            (
                r#"{"message":"x","type":"server_error","code":null}"#,
                Kind::Unavailable,
            ),
            (r#""just text""#, Kind::Unavailable),
        ] {
            assert_eq!(
                decode([format!("data: {{\"error\":{error}}}\n\n").as_bytes()]).1,
                Some(kind),
                "{error}"
            );
        }
    }

    proptest::proptest! {
        /// Skipping what is known gives the very events of the parser that reads everything.
        #[test]
        fn skipping_changes_nothing(
            pieces in proptest::collection::vec((0_u8..6, "[ab\n\"\\\\你👋]{0,3}"), 1..12),
        ) {
            let mut frames: Vec<String> = pieces
                .iter()
                .map(|(kind, text)| {
                    let delta = match kind {
                        0 => serde_json::json!({"role": "assistant", "content": text}),
                        1 => serde_json::json!({"reasoning_content": text}),
                        2 => serde_json::json!({"content": text, "refusal": "no"}),
                        3 => serde_json::json!({"content": text, "refusal": null}),
                        _ => serde_json::json!({"content": text}),
                    };
                    format!("data: {}\n\n", serde_json::json!({"choices": [{"index": 0, "delta": delta}]}))
                })
                .collect();
            frames.push("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned());
            let run = |skips: bool| {
                let (mut decoder, mut events) = (Decoder::new("K"), Vec::new());
                for frame in &frames {
                    if !skips {
                        decoder.answer.alike.forget();
                    }
                    decoder.feed(frame.as_bytes(), &mut events).unwrap();
                }
                decoder.finish(&mut events).unwrap();
                events
            };
            proptest::prop_assert_eq!(run(true), run(false));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            decode([bytes.as_slice()]);
        }
    }

    /// What servers are known to say is no news; anything else is told of once.
    #[test]
    fn tells_of_what_nobody_knows() {
        let unknown = |stream: &str| -> Vec<ChatEvent> {
            let is_unknown = |event: &ChatEvent| matches!(event, ChatEvent::Unknown(_));
            let (events, error) = decode([stream.as_bytes()]);
            assert_eq!(error, None, "{stream}");
            events.into_iter().filter(is_unknown).collect()
        };
        assert_eq!(unknown(SAMPLE), []);
        let answer = |event: &str, reason: &str| {
            let text = r#"{"choices":[{"delta":{"content":"x"}}]}"#;
            let end = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
            format!(
                "data: {event}\n\ndata: {event}\n\ndata: {text}\n\ndata: {end}\n\ndata: [DONE]\n\n"
            )
        };
        for event in [
            r#"{"choices":[],"prompt_filter_results":[]}"#,
            r#"{"type":"ping"}"#,
            "{}",
            "null",
        ] {
            assert_eq!(unknown(&answer(event, "end_turn")), [], "{event}");
        }
        let new = answer(r#"{"dance":true}"#, "STOP");
        assert_eq!(unknown(&new), [ChatEvent::Unknown("event")]);
        let new = answer("null", "danced");
        assert_eq!(unknown(&new), [ChatEvent::Unknown("finish_reason")]);
    }
}
