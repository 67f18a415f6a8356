//! From event to piece: what becomes of an answer before any door says it. Thinking takes the form that was asked for,
//! pictures become Markdown, sources are kept for the end, calls get ids, tokens are counted.

use super::{calls::Queue, sources::Sources, voice::Piece};
use crate::{
    chat::{
        ChatEvent, FinishReason, Usage,
        reasoning::{INLINE, THINK_TAGS, Weaver},
        tokens::Tally,
        tools,
    },
    settings::ReasoningFormat,
};

/// Follows one choice from event to piece, and counts its tokens.
#[derive(Debug)]
pub(super) struct Follower {
    weaver: Option<Weaver>,
    hides_reasoning: bool,
    sources: Sources,
    content: Tally,
    reasoning: Tally,
    reported: Option<Usage>,
    has_tool_call: bool,
    /// Used from the first call on.
    queue: Queue,
    is_finished: bool,
}

impl Follower {
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
            queue: Queue::default(),
            is_finished: false,
        }
    }

    /// Whether [`ChatEvent::Rewritten`] can stand in the place of the text: with woven thinking the text is more than what
    /// the provider corrects.
    pub(super) fn takes_corrections(&self) -> bool {
        self.weaver.is_none()
    }

    /// The pieces of one event, in order.
    pub(super) fn take(&mut self, event: ChatEvent, mut out: impl FnMut(Piece)) {
        let mut chars = 0;
        let mut counted = |piece| {
            // Counted behind the weaver: the places of sources are characters of what the client gets.
            if let Piece::Text(text) = &piece {
                chars += text.chars().count();
            }
            out(piece);
        };
        // From the first call on, and for good. Answers without calls, nearly all, never pay for the queue.
        self.has_tool_call |= matches!(event, ChatEvent::ToolCall(_));
        if self.has_tool_call {
            // Taken out for the moment: the closure below borrows it while `pieces` borrows `self`.
            let mut queue = std::mem::take(&mut self.queue);
            // Before the end itself goes through, so that whatever waits is said before it.
            if matches!(event, ChatEvent::Finish(_)) {
                queue.finish(&mut counted);
            }
            self.pieces(event, |piece| queue.take(piece, &mut counted));
            self.queue = queue;
        } else {
            self.pieces(event, counted);
        }
        self.sources.text(chars);
    }

    fn pieces(&mut self, event: ChatEvent, mut out: impl FnMut(Piece)) {
        match event {
            ChatEvent::Reasoning(text) => {
                // Counted all the same: it was thought and is paid for.
                self.reasoning.add(&text);
                if self.hides_reasoning {
                    return;
                }
                match &mut self.weaver {
                    Some(weaver) => out(Piece::Text(weaver.reasoning(&text))),
                    None => out(Piece::Reasoning(text)),
                }
            }
            // Woven into a text there is no place for them. Where thinking is not shown they are told all the same: nobody can
            // read them, and a turn that goes on without them is refused by the service that made them.
            ChatEvent::Signature(seal) => {
                if self.weaver.is_none() {
                    out(Piece::Signature(seal));
                }
            }
            ChatEvent::Sealed(thought) => {
                if self.weaver.is_none() {
                    out(Piece::Sealed(thought));
                }
            }
            ChatEvent::Text(text) => {
                self.content.add(&text);
                let close = self.close();
                out(Piece::Text(if close.is_empty() {
                    text
                } else {
                    format!("{close}{text}")
                }));
            }
            ChatEvent::Image { url } => out(Piece::Text(format!("{}![图像]({url})", self.close()))),
            ChatEvent::Video { url } => out(Piece::Text(format!("{}[视频]({url})", self.close()))),
            ChatEvent::Cited { index } => self.sources.cite(index),
            ChatEvent::Citation { index, url, title } => self.sources.name(index, url, title),
            ChatEvent::ToolCall(mut call) => {
                // Clients answer a call by its id, so one that comes without is given one.
                if call.name.is_some() && call.id.is_none() {
                    call.id = Some(tools::new_id());
                }
                let close = self.close();
                if !close.is_empty() {
                    // The thinking has to be closed before a call opens, or it would stay open to the end of the text.
                    out(Piece::Text(close.to_owned()));
                }
                self.content.add(call.name.as_deref().unwrap_or_default());
                self.content.add(&call.arguments);
                out(Piece::ToolCall(call));
            }
            ChatEvent::Usage(usage) => self.reported = Some(usage.bounded()),
            // A stream cannot take words back; who gathers asks for the corrected text itself.
            ChatEvent::Rewritten(_) | ChatEvent::Unknown(_) => {}
            ChatEvent::Extra(members) => out(Piece::Extra(members)),
            ChatEvent::Logprobs(logprobs) => out(Piece::Logprobs(logprobs)),
            ChatEvent::Finish(reason) => self.finish(reason, out),
        }
    }

    /// A second end is none: providers end their answers themselves, and the engine ends those of the others.
    fn finish(&mut self, reason: FinishReason, mut out: impl FnMut(Piece)) {
        // Taken at the first end, whoever said it; the engine's own comes behind every answer.
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        let close = self.close();
        if !close.is_empty() {
            out(Piece::Text(close.to_owned()));
        }
        // Taken, so that they are said once.
        let sources = std::mem::take(&mut self.sources).in_order();
        if !sources.is_empty() {
            out(Piece::Sources(sources));
        }
        out(Piece::Finish(match reason {
            // Whoever has asked for calls answers them, whatever else ended the turn (conformance T5).
            FinishReason::Stop | FinishReason::StopText(_) if self.has_tool_call => {
                FinishReason::ToolCalls
            }
            reason => reason,
        }));
    }

    fn close(&mut self) -> &'static str {
        self.weaver.as_mut().map_or("", Weaver::close)
    }

    /// The provider's own count, else our estimate of the answer; the prompt is the caller's to count. A provider
    /// that counts its answer alone leaves the prompt at 0, and that part is estimated; so is an answer left at 0.
    fn usage(&self, prompt_tokens: impl FnOnce() -> u64) -> Usage {
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

/// Usage of all choices together: the prompt counts once.
pub(super) fn total_usage<'a>(
    followers: impl Iterator<Item = &'a Follower>,
    prompt_tokens: impl Fn() -> u64,
) -> Usage {
    let mut total = Usage::default();
    for follower in followers {
        let usage = follower.usage(|| {
            // The prompt is the same for all choices, and counting it is the dearest part.
            if total.prompt_tokens == 0 {
                prompt_tokens()
            } else {
                total.prompt_tokens
            }
        });
        total.prompt_tokens = total.prompt_tokens.max(usage.prompt_tokens);
        total.completion_tokens += usage.completion_tokens;
        total.reasoning_tokens += usage.reasoning_tokens;
        // The largest, as with the prompt: it is the one prompt that was cached.
        total.cached_tokens = total.cached_tokens.max(usage.cached_tokens);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ToolCallDelta;

    #[test]
    fn counts_that_cannot_be_are_added_up_all_the_same() {
        let event = || {
            ChatEvent::Usage(Usage {
                prompt_tokens: u64::MAX,
                completion_tokens: u64::MAX,
                reasoning_tokens: u64::MAX,
                cached_tokens: u64::MAX,
            })
        };
        let followers: Vec<Follower> = (0..3)
            .map(|_| {
                let mut follower = Follower::new(ReasoningFormat::Field, true);
                follower.take(event(), |_| {});
                follower
            })
            .collect();
        let total = total_usage(followers.iter(), || 0);
        assert!(total.prompt_tokens + total.completion_tokens < u64::MAX);
    }

    fn pieces(format: ReasoningFormat, events: Vec<ChatEvent>) -> Vec<Piece> {
        let (mut follower, mut pieces) = (Follower::new(format, true), Vec::new());
        for event in events {
            follower.take(event, |piece| pieces.push(piece));
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
    fn thinking_takes_the_form_that_was_asked_for() {
        let texts = |format| {
            let text = |piece: &Piece| {
                if let Piece::Text(text) = piece {
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
        assert_eq!(texts(ReasoningFormat::Field), "b");
        assert_eq!(texts(ReasoningFormat::Hidden), "b");
        assert_eq!(texts(ReasoningFormat::Inline), "<think:a>b");
        assert_eq!(
            texts(ReasoningFormat::ThinkTags),
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
                    Piece::Text(_),
                    Piece::Sources(_),
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
        let Some(Piece::Sources(sources)) = pieces.iter().rev().nth(1) else {
            panic!("{pieces:?}")
        };
        let places: Vec<(&str, usize)> = sources
            .iter()
            .map(|source| (source.url.as_str(), source.at))
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
            let mut follower = Follower::new(ReasoningFormat::Field, true);
            for event in events(usage) {
                follower.take(event, |_| {});
            }
            follower.usage(|| 7)
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
