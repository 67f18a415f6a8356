//! What is common to streamed and gathered answers: events in, OpenAI's pieces out. Thinking takes the form of the
//! settings, pictures become Markdown, sources are kept for the end.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    chat::{
        ChatEvent, FinishReason, ToolCallDelta, Usage,
        reasoning::{INLINE, THINK_TAGS, Weaver},
        tokens::Tally,
    },
    settings::ReasoningFormat,
};

/// A piece of an answer in OpenAI's terms.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// `content`.
    Content(String),
    /// `reasoning_content`.
    Reasoning(String),
    /// One entry of `tool_calls`.
    ToolCall(ToolCallDelta),
    /// Other members of the delta.
    Members(Map<String, Value>),
    /// `logprobs` of the choice.
    Logprobs(Value),
    /// The whole text, corrected; for gathering doors only.
    Corrected(String),
    /// `finish_reason`.
    Finish(FinishReason),
}

impl Piece {
    /// Bytes of its text; of other values about as many as they have when written.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::Content(text) | Self::Reasoning(text) => text.len(),
            Self::ToolCall(call) => {
                let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                call.arguments.len() + length(&call.id) + length(&call.name)
            }
            Self::Members(members) => members.values().map(size).sum(),
            Self::Logprobs(value) => size(value),
            // In the place of what was said, so it adds nothing.
            Self::Corrected(_) | Self::Finish(_) => 0,
        }
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    const EACH: usize = 32;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => EACH,
        Value::String(text) => EACH + text.len(),
        Value::Array(list) => EACH + list.iter().map(size).sum::<usize>(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| EACH + name.len() + size(value);
            EACH + members.iter().map(member).sum::<usize>()
        }
    }
}

/// Follows one choice from event to piece, and counts its tokens.
#[derive(Debug)]
pub(super) struct Answer {
    weaver: Option<Weaver>,
    hides_reasoning: bool,
    sources: Sources,
    content: Tally,
    reasoning: Tally,
    reported: Option<Usage>,
    has_tool_call: bool,
    is_finished: bool,
}

impl Answer {
    /// `is_counted`: whether tokens are counted with the vocabulary, or only estimated.
    pub(super) fn new(format: ReasoningFormat, is_counted: bool) -> Self {
        Self {
            weaver: match format {
                ReasoningFormat::ThinkTags => Some(Weaver::new(THINK_TAGS)),
                ReasoningFormat::Inline => Some(Weaver::new(INLINE)),
                ReasoningFormat::Field | ReasoningFormat::Hidden => None,
            },
            hides_reasoning: format == ReasoningFormat::Hidden,
            sources: Sources::default(),
            content: Tally::new(is_counted),
            reasoning: Tally::new(is_counted),
            reported: None,
            has_tool_call: false,
            is_finished: false,
        }
    }

    /// The pieces of one event, in order.
    pub(super) fn take(&mut self, event: ChatEvent, mut out: impl FnMut(Piece)) {
        let mut chars = 0;
        self.pieces(event, |piece| {
            if let Piece::Content(text) = &piece {
                chars += text.chars().count();
            }
            out(piece);
        });
        self.sources.chars += chars;
    }

    fn pieces(&mut self, event: ChatEvent, mut out: impl FnMut(Piece)) {
        match event {
            ChatEvent::Reasoning(text) => {
                self.reasoning.add(&text);
                if self.hides_reasoning {
                    return;
                }
                match &mut self.weaver {
                    Some(weaver) => out(Piece::Content(weaver.reasoning(&text))),
                    None => out(Piece::Reasoning(text)),
                }
            }
            ChatEvent::Text(text) => {
                self.content.add(&text);
                let close = self.close();
                out(Piece::Content(if close.is_empty() {
                    text
                } else {
                    format!("{close}{text}")
                }));
            }
            ChatEvent::Image { url } => {
                out(Piece::Content(format!("{}![图像]({url})", self.close())))
            }
            ChatEvent::Video { url } => {
                out(Piece::Content(format!("{}[视频]({url})", self.close())))
            }
            ChatEvent::Cited { index } => self.sources.places.push((index, self.sources.chars)),
            ChatEvent::Citation { index, url, title } => {
                self.sources.known.push((index, url, title));
            }
            ChatEvent::ToolCall(mut call) => {
                self.has_tool_call = true;
                // Clients answer a call by its id, so one that comes without is given one.
                if call.name.is_some() && call.id.is_none() {
                    call.id = Some(format!("call_{}", Uuid::new_v4().simple()));
                }
                let close = self.close();
                if !close.is_empty() {
                    out(Piece::Content(close.to_owned()));
                }
                self.content.add(call.name.as_deref().unwrap_or_default());
                self.content.add(&call.arguments);
                out(Piece::ToolCall(call));
            }
            ChatEvent::Usage(usage) => self.reported = Some(usage),
            ChatEvent::Unknown(_) => {}
            // With woven thinking the content is more than the text, so the correction has no place.
            ChatEvent::Rewritten(text) => {
                if self.weaver.is_none() {
                    out(Piece::Corrected(text));
                }
            }
            ChatEvent::Extra(members) => out(Piece::Members(members)),
            ChatEvent::Logprobs(logprobs) => out(Piece::Logprobs(logprobs)),
            ChatEvent::Finish(reason) => self.finish(reason, out),
        }
    }

    fn finish(&mut self, reason: FinishReason, mut out: impl FnMut(Piece)) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        let close = self.close();
        if !close.is_empty() {
            out(Piece::Content(close.to_owned()));
        }
        let annotations = std::mem::take(&mut self.sources).annotations();
        if !annotations.is_empty() {
            out(Piece::Members(Map::from_iter([(
                "annotations".to_owned(),
                Value::Array(annotations),
            )])));
        }
        let is_tool_turn = self.has_tool_call && reason == FinishReason::Stop;
        out(Piece::Finish(if is_tool_turn {
            FinishReason::ToolCalls
        } else {
            reason
        }));
    }

    fn close(&mut self) -> &'static str {
        self.weaver.as_mut().map_or("", Weaver::close)
    }

    /// The provider's own count, else our estimate of the answer; the prompt is the caller's to count. A provider
    /// that counts its answer alone leaves the prompt at 0, and that part is estimated; so is an answer left at 0.
    pub(super) fn usage(&self, prompt_tokens: impl FnOnce() -> u64) -> Usage {
        match self.reported {
            Some(usage) if usage.prompt_tokens > 0 && usage.completion_tokens > 0 => usage,
            reported => {
                let known = reported.unwrap_or_default();
                let reasoning_tokens = self.reasoning.total();
                let completion_tokens = match known.completion_tokens {
                    0 => self.content.total() + reasoning_tokens,
                    reported => reported,
                };
                Usage {
                    prompt_tokens: match known.prompt_tokens {
                        0 => prompt_tokens(),
                        reported => reported,
                    },
                    completion_tokens,
                    reasoning_tokens: match known.reasoning_tokens {
                        0 => reasoning_tokens.min(completion_tokens),
                        reported => reported,
                    },
                    ..known
                }
            }
        }
    }
}

/// The sources of an answer and the places that cite them.
#[derive(Debug, Default)]
struct Sources {
    /// Characters of content so far.
    chars: usize,
    /// (number of the source, characters before the place)
    places: Vec<(u32, usize)>,
    /// (number, URL, title)
    known: Vec<(u32, String, String)>,
}

impl Sources {
    /// OpenAI's annotations: one for each place, in order; a source that is cited nowhere in particular stands at 0.
    fn annotations(self) -> Vec<Value> {
        let annotation = |(_, url, title): &(u32, String, String), at: usize| json!({"type": "url_citation", "url_citation": {"url": url, "title": title, "start_index": at, "end_index": at}});
        // By number: to look through the lists for each place would cost the square of a hostile answer.
        let mut by_number = HashMap::new();
        for source in &self.known {
            by_number.entry(source.0).or_insert(source);
        }
        let placed_numbers: HashSet<u32> = self.places.iter().map(|place| place.0).collect();
        let placed = self
            .places
            .iter()
            .filter_map(|&(index, at)| Some(annotation(by_number.get(&index)?, at)));
        let unplaced = self
            .known
            .iter()
            .filter(|known| !placed_numbers.contains(&known.0))
            .map(|known| annotation(known, 0));
        placed.chain(unplaced).collect()
    }
}

/// Usage of all choices together: the prompt counts once.
pub(super) fn total_usage(answers: &[&Answer], prompt_tokens: impl Fn() -> u64) -> Usage {
    let mut total = Usage::default();
    for answer in answers {
        let usage = answer.usage(|| {
            if total.prompt_tokens == 0 {
                prompt_tokens()
            } else {
                total.prompt_tokens
            }
        });
        total.prompt_tokens = total.prompt_tokens.max(usage.prompt_tokens);
        total.completion_tokens += usage.completion_tokens;
        total.reasoning_tokens += usage.reasoning_tokens;
        total.cached_tokens = total.cached_tokens.max(usage.cached_tokens);
    }
    total
}

/// The `usage` member.
#[derive(Serialize)]
pub(super) struct UsageMember {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Default, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Default, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl From<Usage> for UsageMember {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_tokens,
                ..PromptDetails::default()
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens,
                ..CompletionDetails::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(format: ReasoningFormat, events: Vec<ChatEvent>) -> Vec<Piece> {
        let (mut answer, mut pieces) = (Answer::new(format, true), Vec::new());
        for event in events {
            answer.take(event, |piece| pieces.push(piece));
        }
        pieces
    }

    fn thought() -> Vec<ChatEvent> {
        vec![
            ChatEvent::Reasoning("a".into()),
            ChatEvent::Citation {
                index: 1,
                url: "u".into(),
                title: "t".into(),
            },
            ChatEvent::Text("b".into()),
            ChatEvent::Finish(FinishReason::Stop),
        ]
    }

    #[test]
    fn thinking_takes_the_form_of_the_settings() {
        let contents = |format| {
            let text = |piece: &Piece| {
                if let Piece::Content(text) = piece {
                    Some(text.clone())
                } else {
                    None
                }
            };
            pieces(format, thought())
                .iter()
                .filter_map(text)
                .collect::<String>()
        };
        assert_eq!(contents(ReasoningFormat::Field), "b");
        assert_eq!(contents(ReasoningFormat::Hidden), "b");
        assert_eq!(contents(ReasoningFormat::Inline), "<think:a>b");
        assert_eq!(
            contents(ReasoningFormat::ThinkTags),
            "<think>\na\n</think>\n\nb"
        );
    }

    #[test]
    fn sources_come_before_the_end() {
        let pieces = pieces(ReasoningFormat::Field, thought());
        assert!(
            matches!(
                pieces.as_slice(),
                [
                    Piece::Reasoning(_),
                    Piece::Content(_),
                    Piece::Members(_),
                    Piece::Finish(FinishReason::Stop)
                ]
            ),
            "{pieces:?}"
        );
    }

    #[test]
    fn a_cited_source_stands_where_the_text_cites_it() {
        let source = |index: u32| ChatEvent::Citation {
            index,
            url: format!("u{index}"),
            title: String::new(),
        };
        let events = vec![
            ChatEvent::Text("é👋".into()),
            ChatEvent::Cited { index: 2 },
            ChatEvent::Cited { index: 9 },
            ChatEvent::Text("x".into()),
            ChatEvent::Cited { index: 2 },
            source(1),
            source(2),
            ChatEvent::Finish(FinishReason::Stop),
        ];
        let pieces = pieces(ReasoningFormat::Field, events);
        let Some(Piece::Members(members)) = pieces.iter().rev().nth(1) else {
            panic!("{pieces:?}")
        };
        let places: Vec<(&str, u64)> = members["annotations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["url_citation"])
            .map(|it| {
                (
                    it["url"].as_str().unwrap(),
                    it["start_index"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(places, [("u2", 2), ("u2", 3), ("u1", 0)]);
    }

    #[test]
    fn what_a_provider_did_not_count_is_estimated() {
        let events = |usage| {
            vec![
                ChatEvent::Text("one two three".into()),
                ChatEvent::Usage(usage),
            ]
        };
        let total = |usage| {
            let mut answer = Answer::new(ReasoningFormat::Field, true);
            for event in events(usage) {
                answer.take(event, |_| {});
            }
            answer.usage(|| 7)
        };
        let own = Usage {
            prompt_tokens: 5,
            completion_tokens: 9,
            reasoning_tokens: 0,
            cached_tokens: 4,
        };
        assert_eq!(total(own), own);
        let half = total(Usage {
            prompt_tokens: 0,
            ..own
        });
        assert_eq!(half.prompt_tokens, 7);
        let half = total(Usage {
            completion_tokens: 0,
            ..own
        });
        assert_eq!((half.prompt_tokens, half.completion_tokens), (5, 3));
    }

    #[test]
    fn a_call_without_an_id_is_given_one() {
        let call = |name: Option<&str>| {
            ChatEvent::ToolCall(ToolCallDelta {
                index: 0,
                id: None,
                name: name.map(str::to_owned),
                arguments: "{}".into(),
            })
        };
        let pieces = pieces(ReasoningFormat::Field, vec![call(Some("f")), call(None)]);
        let ids: Vec<bool> = pieces
            .iter()
            .map(|piece| matches!(piece, Piece::ToolCall(call) if call.id.is_some()))
            .collect();
        assert_eq!(ids, [true, false]);
    }

    /// Two hundred thousand of each take no longer than a moment.
    #[test]
    fn sources_cost_no_more_than_they_are_many() {
        let many = 200_000;
        let mut sources = Sources::default();
        for index in 0..many {
            sources.known.push((index, String::new(), String::new()));
            sources.places.push((many - index, 0));
        }
        let started = std::time::Instant::now();
        assert_eq!(sources.annotations().len(), many as usize);
        assert!(started.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn a_turn_with_a_tool_call_finishes_as_one() {
        let call = ToolCallDelta {
            index: 0,
            id: Some("c".into()),
            name: Some("f".into()),
            arguments: "{}".into(),
        };
        let pieces = pieces(
            ReasoningFormat::Field,
            vec![
                ChatEvent::ToolCall(call),
                ChatEvent::Finish(FinishReason::Stop),
                ChatEvent::Finish(FinishReason::Stop),
            ],
        );
        assert_eq!(pieces.last(), Some(&Piece::Finish(FinishReason::ToolCalls)));
        assert_eq!(pieces.len(), 2);
    }
}
