//! The answer: OpenAI's chunks, one by one. What has an event of its own becomes one; other members of a delta
//! are passed on as they are. Source: OpenAI's public API reference.

use serde::Deserialize;
use serde_json::Value;

use super::{delta::Delta, wire};
use crate::{
    chat::{
        ChatEvent, FinishReason, ProviderError, Usage,
        template::{Repeats, Template},
    },
    upstream::sse::Sse,
};

/// Bytes in, events out.
#[derive(Debug)]
pub struct Decoder {
    sse: Sse,
    answer: Answer,
}

#[derive(Debug, Default)]
struct Answer {
    variable: String,
    has_output: bool,
    is_finished: bool,
    is_done: bool,
    /// Pieces of text that look like the one before need no parser.
    alike: Template,
    /// What such a piece is.
    is_reasoning: bool,
}

/// A chunk, or a whole completion: the same but for `delta` and `message`.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(default, borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<UsageFrame>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(default, alias = "message", borrow)]
    delta: Option<Delta<'a>>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Value>,
}

#[derive(Deserialize)]
struct UsageFrame {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    completion_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

impl Decoder {
    /// A decoder for one answer to the key in `variable`.
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
    /// An error object in the stream, or a stream that is none.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.sse.push(bytes)?;
        while let Some(event) = self.sse.next() {
            self.answer.data(event.data, events)?;
        }
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// An answer that broke off: neither a finish reason nor `[DONE]`.
    pub fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(event) = self.sse.finish() {
            self.answer.data(event.data, events)?;
        }
        let answer = &self.answer;
        match (answer.is_finished, answer.has_output, answer.is_done) {
            (true, _, _) => Ok(()),
            (false, true, true) => {
                events.push(ChatEvent::Finish(FinishReason::Stop));
                Ok(())
            }
            (false, true, false) => Err(ProviderError::broken_stream()),
            (false, false, _) => Err(ProviderError::empty_answer()),
        }
    }
}

/// A completion that came in one piece.
///
/// # Errors
/// An error object, or a body that is no completion.
pub(super) fn whole(
    body: &[u8],
    variable: &str,
    events: &mut Vec<ChatEvent>,
) -> Result<(), ProviderError> {
    let mut answer = Answer {
        variable: variable.to_owned(),
        ..Answer::default()
    };
    answer.data(body, events)?;
    if answer.is_finished {
        Ok(())
    } else {
        Err(ProviderError::malformed("answer"))
    }
}

impl Answer {
    fn data(&mut self, data: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(new) = self.alike.recognise(data) {
            let text = new.text.into_owned();
            if !text.is_empty() {
                events.push(if self.is_reasoning {
                    ChatEvent::Reasoning(text)
                } else {
                    ChatEvent::Text(text)
                });
            }
            return Ok(());
        }
        if data.trim_ascii() == b"[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        let frame: Frame<'_> =
            serde_json::from_slice(data).map_err(|_| ProviderError::malformed("stream"))?;
        if let Some(error) = frame.error.filter(|error| !error.is_null()) {
            return Err(wire::in_stream(&error, &self.variable));
        }
        let choices = frame.choices.unwrap_or_default();
        if let ([choice], None) = (choices.as_slice(), &frame.usage) {
            self.learn(data, choice);
        }
        for choice in choices.into_iter().filter(|choice| choice.index == 0) {
            self.choice(choice, events);
        }
        if let Some(usage) = frame.usage {
            let reasoning_tokens = usage
                .completion_tokens_details
                .and_then(|details| details.reasoning_tokens)
                .unwrap_or(0);
            events.push(ChatEvent::Usage(Usage {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                reasoning_tokens,
                cached_tokens: 0,
            }));
        }
        Ok(())
    }

    /// A piece of text and nothing else is what most events are, and all of them look the same.
    fn learn(&mut self, data: &[u8], choice: &Choice<'_>) {
        let Some(delta) = &choice.delta else { return };
        if choice.index != 0 || choice.finish_reason.is_some() || choice.logprobs.is_some() {
            return;
        }
        if let Some((text, is_reasoning)) = delta.only_text() {
            self.alike.learn(data, text.as_bytes(), Repeats::Nothing);
            self.is_reasoning = is_reasoning;
        }
    }

    fn choice(&mut self, choice: Choice<'_>, events: &mut Vec<ChatEvent>) {
        let before = events.len();
        if let Some(delta) = choice.delta {
            delta.events(events);
        }
        if let Some(logprobs) = choice.logprobs.filter(|logprobs| !logprobs.is_null()) {
            events.push(ChatEvent::Logprobs(logprobs));
        }
        self.has_output |= events.len() > before;
        if let Some(reason) = choice.finish_reason.filter(|_| !self.is_finished) {
            self.is_finished = true;
            events.push(ChatEvent::Finish(match reason.as_str() {
                "length" => FinishReason::Length,
                "content_filter" => FinishReason::ContentFilter,
                "tool_calls" | "function_call" => FinishReason::ToolCalls,
                _ => FinishReason::Stop,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Kind, ToolCallDelta};

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
    fn every_split_gives_the_same_events_and_every_prefix_an_end() {
        let whole = decode([SAMPLE.as_bytes()]);
        for at in 0..=SAMPLE.len() {
            let (head, tail) = SAMPLE.as_bytes().split_at(at);
            assert_eq!(decode([head, tail]), whole, "split at byte {at}");
            let (events, error) = decode([head]);
            let is_answer = events
                .iter()
                .any(|event| matches!(event, ChatEvent::Finish(_)));
            assert!(is_answer || error.is_some(), "cut at byte {at}");
        }
        assert_eq!(decode(SAMPLE.as_bytes().chunks(1)), whole);
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
}
