//! An answer in one piece: everything is gathered before the door says any of it.

use std::{
    collections::HashMap,
    future::poll_fn,
    task::{Context, Poll},
};

use serde_json::{Map, Value};

use super::{
    follow::{Follower, total_usage},
    record::Record,
    voice::{Item, Piece, Voice, Whole},
};
use crate::{
    chat::{ChatEvent, ChatRequest, FinishReason, Kind, ProviderError},
    http::error::ApiError,
    providers::{Run, run::Progress},
};

/// Most bytes of one choice. An answer that goes on for ever would fill the memory.
const MOST_BYTES: usize = 64 << 20;
/// What a piece costs beside its text.
const PIECE_BYTES: usize = 64;

/// One choice being gathered.
struct Choice {
    run: Run,
    follower: Follower,
    gathered: Gathered,
    is_over: bool,
}

/// Waits for all choices and lets the voice say them.
///
/// # Errors
/// That of the first choice that fails.
pub(super) async fn gather<V: Voice>(
    runs: impl Iterator<Item = (Run, Follower)>,
    request: &ChatRequest,
    voice: V,
    record: &mut Record,
) -> Result<Vec<u8>, ApiError> {
    let mut choices: Vec<Choice> = runs
        // Every choice has its own run and follower: `n` answers are `n` turns, as no web chat gives several.
        .map(|(run, follower)| Choice {
            run,
            follower,
            gathered: Gathered::default(),
            is_over: false,
        })
        .collect();
    // No time-out here: REQUEST_TIMEOUT is the dispatcher's, and says which provider was at work.
    poll_fn(|cx| poll_all(&mut choices, record, cx)).await?;
    let followers = choices.iter().map(|choice| &choice.follower);
    let usage = total_usage(followers, || request.prompt_tokens());
    let choices = choices.into_iter().map(|choice| choice.gathered.done());
    let body = voice.whole(choices.collect(), usage);
    record.bytes = body.len();
    record.complete(usage);
    Ok(body)
}

fn poll_all(
    choices: &mut [Choice],
    record: &mut Record,
    cx: &mut Context<'_>,
) -> Poll<Result<(), ApiError>> {
    let mut events = Vec::new();
    for choice in choices.iter_mut().filter(|choice| !choice.is_over) {
        while let Poll::Ready(progress) = choice.run.poll_events(cx, &mut events) {
            if events.iter().any(ChatEvent::is_output) {
                record.piece(|| choice.run.served());
            }
            for event in events.drain(..) {
                choice.take(event);
            }
            // Counted with what each piece costs beside its text: a flood of empty pieces fills the memory as well.
            if choice.gathered.bytes > MOST_BYTES {
                record.served = choice.run.served();
                let error =
                    ProviderError::new(Kind::Protocol, "the provider's answer is too large");
                return Poll::Ready(Err(error.into()));
            }
            match progress {
                Progress::Events => {}
                Progress::Over(Ok(())) => {
                    choice.is_over = true;
                    // For providers that do not end their answers themselves: a second end is none.
                    choice.take(ChatEvent::Finish(FinishReason::Stop));
                    break;
                }
                Progress::Over(Err(error)) => {
                    record.served = choice.run.served();
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }
    // Every run that was pending has left its waker.
    if choices.iter().all(|choice| choice.is_over) {
        Poll::Ready(Ok(()))
    } else {
        Poll::Pending
    }
}

impl Choice {
    fn take(&mut self, event: ChatEvent) {
        match event {
            // Only here: a stream has said the words already.
            ChatEvent::Rewritten(text) if self.follower.takes_corrections() => {
                self.gathered.correct(text);
            }
            event => self.follower.take(event, |piece| self.gathered.add(piece)),
        }
    }
}

#[derive(Default)]
struct Gathered {
    whole: Whole,
    /// Where in the items the call with an index is.
    calls: HashMap<u32, usize>,
    /// About how much of the memory it takes.
    bytes: usize,
}

impl Gathered {
    fn add(&mut self, piece: Piece) {
        self.bytes += PIECE_BYTES + piece.text_bytes();
        let whole = &mut self.whole;
        match piece {
            Piece::Text(text) => match whole.items.last_mut() {
                Some(Item::Text(known)) => known.push_str(&text),
                _ => whole.items.push(Item::Text(text)),
            },
            Piece::Reasoning(text) => match whole.items.last_mut() {
                Some(Item::Reasoning(known)) => known.push_str(&text),
                _ => whole.items.push(Item::Reasoning(text)),
            },
            Piece::Signature(seal) => whole.items.push(Item::Signature(seal)),
            Piece::Sealed(thought) => whole.items.push(Item::Sealed(thought)),
            Piece::ToolCall(call) => {
                // By index: pieces of several calls may come in turns, though a `Queue` stands before this.
                let at = *self.calls.entry(call.index).or_insert(whole.items.len());
                match whole.items.get_mut(at) {
                    Some(Item::Call(known)) => known.arguments.push_str(&call.arguments),
                    _ => whole.items.push(Item::Call(call)),
                }
            }
            Piece::Sources(mut sources) => whole.sources.append(&mut sources),
            Piece::Extra(members) => add_members(&mut whole.extra, members),
            Piece::Logprobs(logprobs) => add_logprobs(&mut whole.logprobs, logprobs),
            // The first reason is the provider's, the engine's own comes behind it.
            Piece::Finish(reason) => whole.finish = whole.finish.or(Some(reason)),
        }
    }

    /// The whole text, corrected, in the place of what was said.
    fn correct(&mut self, text: String) {
        let items = &mut self.whole.items;
        let mut corrected = Some(text);
        for item in &mut *items {
            if let Item::Text(known) = item {
                // Where it had several stretches the first one holds it all now, and the others nothing. They stay until
                // the end, since `calls` counts them.
                *known = corrected.take().unwrap_or_default();
            }
        }
        items.extend(corrected.map(Item::Text));
    }

    fn done(mut self) -> Whole {
        let is_something = |item: &Item| !matches!(item, Item::Text(text) if text.is_empty());
        self.whole.items.retain(is_something);
        self.whole
    }
}

/// A refusal comes in pieces of text, and lists (`annotations`, …) in pieces as well; of others the last counts.
fn add_members(known: &mut Map<String, Value>, members: Map<String, Value>) {
    for (name, value) in members {
        match (known.get_mut(&name), value) {
            (Some(Value::Array(list)), Value::Array(mut more)) => list.append(&mut more),
            (Some(Value::String(text)), Value::String(more)) if name == "refusal" => {
                text.push_str(&more);
            }
            (_, value) => {
                known.insert(name, value);
            }
        }
    }
}

/// Token lists of several chunks become one.
fn add_logprobs(known: &mut Value, new: Value) {
    match (known, new) {
        (Value::Object(known), Value::Object(new)) => {
            for (name, value) in new {
                match (known.get_mut(&name), value) {
                    (Some(Value::Array(list)), Value::Array(mut more)) => list.append(&mut more),
                    (_, value) => {
                        known.insert(name, value);
                    }
                }
            }
        }
        (known, new) => *known = new,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::ToolCallDelta;

    fn gathered(pieces: impl IntoIterator<Item = Piece>) -> Gathered {
        let mut gathered = Gathered::default();
        for piece in pieces {
            gathered.add(piece);
        }
        gathered
    }

    fn call(index: u32, arguments: &str) -> Piece {
        Piece::ToolCall(ToolCallDelta {
            index,
            id: None,
            name: None,
            arguments: arguments.into(),
        })
    }

    /// 160,000 calls blocked an event loop for 44 s.
    #[test]
    fn calls_cost_no_more_than_they_are_many() {
        let many = 160_000;
        let started = std::time::Instant::now();
        let gathered = gathered((0..many).chain(0..many).map(|index| call(index, "1")));
        assert_eq!(gathered.whole.items.len(), many as usize);
        assert!(
            matches!(&gathered.whole.items[7], Item::Call(call) if call.arguments == "11"),
            "{:?}",
            gathered.whole.items[7]
        );
        assert!(started.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn what_was_said_stays_in_order() {
        let text = |text: &str| Piece::Text(text.into());
        let gathered = gathered([
            Piece::Reasoning("a".into()),
            Piece::Reasoning("b".into()),
            text("c"),
            call(4, "d"),
            text("e"),
            text("f"),
            call(4, "g"),
            call(5, "h"),
        ]);
        let said: Vec<String> = gathered
            .whole
            .items
            .into_iter()
            .map(|item| match item {
                Item::Text(text) => format!("text {text}"),
                Item::Reasoning(text) => format!("reasoning {text}"),
                Item::Signature(seal) => format!("signature {seal}"),
                Item::Sealed(thought) => format!("sealed {thought}"),
                Item::Call(call) => format!("call {}", call.arguments),
            })
            .collect();
        assert_eq!(
            said,
            ["reasoning ab", "text c", "call dg", "text ef", "call h"]
        );
    }

    #[test]
    fn a_correction_stands_in_the_place_of_all_text() {
        let text = |text: &str| Piece::Text(text.into());
        let mut it = gathered([text("a"), call(0, "1"), text("b")]);
        it.correct("c".into());
        it.add(call(0, "2"));
        it.add(Piece::Finish(FinishReason::Length));
        let whole = it.done();
        assert_eq!(whole.finish, Some(FinishReason::Length));
        assert!(
            matches!(whole.items.as_slice(), [Item::Text(text), Item::Call(call)] if text == "c" && call.arguments == "12"),
            "{whole:?}"
        );
        let mut it = gathered([]);
        it.correct("c".into());
        assert_eq!(it.done().items, [Item::Text("c".into())]);
    }

    #[test]
    fn members_in_pieces_are_put_together() {
        let piece = |members: Value| {
            let Value::Object(members) = members else {
                panic!()
            };
            Piece::Extra(members)
        };
        let gathered = gathered([
            piece(json!({"refusal": "I ", "annotations": [1], "x": "a"})),
            piece(json!({"refusal": "can't.", "annotations": [2], "x": "b"})),
        ]);
        assert_eq!(
            Value::Object(gathered.whole.extra),
            json!({"refusal": "I can't.", "annotations": [1, 2], "x": "b"})
        );
    }
}
