//! Whatever the door, the same is said, and in a legal order.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::{
    chat_voice, gathered,
    legal::{self, Said},
    messages_voice, responses_voice, streamed,
};
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, ToolCallDelta, Usage},
    providers::Run,
};

/// What an upstream may do.
#[derive(Clone, Debug)]
enum Step {
    Text(String),
    Reasoning(String),
    /// A piece of a call: which one, and how many bytes of what is left of its arguments.
    Call(usize, usize),
    /// A picture, a source: what becomes text, or nothing.
    Image,
    Cited,
    Signature,
    Sealed,
    Usage,
    Unknown,
    /// So many seconds.
    Silence(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => "[a-c\"\\\\\n你👋]{0,4}".prop_map(Step::Text),
        3 => "[a-c\"\\\\\n你👋]{0,4}".prop_map(Step::Reasoning),
        6 => (0..4_usize, 0..9_usize).prop_map(|(call, bytes)| Step::Call(call, bytes)),
        1 => Just(Step::Image),
        1 => Just(Step::Cited),
        1 => Just(Step::Signature),
        1 => Just(Step::Sealed),
        1 => Just(Step::Usage),
        1 => Just(Step::Unknown),
        1 => (1..25_u64).prop_map(Step::Silence),
    ]
}

const STOPS: [&str; 2] = ["STOP", "END"];

fn finish() -> impl Strategy<Value = Option<FinishReason>> {
    prop_oneof![
        Just(None),
        Just(Some(FinishReason::Stop)),
        Just(Some(FinishReason::StopText(1))),
        Just(Some(FinishReason::Length)),
        Just(Some(FinishReason::ContentFilter)),
    ]
}

/// The answer as an upstream gives it, and what it comes down to.
struct Answer {
    /// With the seconds of silence before each.
    events: Vec<(u64, ChatEvent)>,
    said: Said,
    stops_at: Option<usize>,
}

const USAGE: Usage = Usage {
    prompt_tokens: 7,
    completion_tokens: 5,
    reasoning_tokens: 2,
    cached_tokens: 0,
};

fn answer(steps: Vec<Step>, arguments: &[String], finish: Option<FinishReason>) -> Answer {
    let (mut said, mut events, mut silence) = (Said::default(), Vec::new(), 0);
    // In the order in which they begin: which it is, and what is left of its arguments.
    let mut calls: Vec<(usize, &str)> = Vec::new();
    for step in steps {
        let event = match step {
            Step::Silence(seconds) => {
                silence += seconds;
                continue;
            }
            Step::Text(text) => {
                said.text.push_str(&text);
                ChatEvent::Text(text)
            }
            Step::Reasoning(text) => {
                said.reasoning.push_str(&text);
                ChatEvent::Reasoning(text)
            }
            Step::Call(which, bytes) => {
                let known = calls.iter().position(|(call, _)| *call == which);
                let at = known.unwrap_or(calls.len());
                if known.is_none() {
                    calls.push((which, &arguments[which]));
                }
                let left = calls[at].1;
                let cut = (0..=bytes.min(left.len())).rev();
                let cut = cut.into_iter().find(|at| left.is_char_boundary(*at));
                let (piece, rest) = left.split_at(cut.unwrap());
                calls[at].1 = rest;
                delta(at, known.is_none(), piece)
            }
            Step::Image => {
                said.text.push_str("![图像](u)");
                ChatEvent::Image { url: "u".into() }
            }
            Step::Cited => ChatEvent::Cited { index: 1 },
            Step::Signature => ChatEvent::Signature("c2ln".into()),
            Step::Sealed => ChatEvent::Sealed("b3BhcXVl".into()),
            Step::Usage => ChatEvent::Usage(Usage {
                completion_tokens: 1,
                ..USAGE
            }),
            Step::Unknown => ChatEvent::Unknown("x"),
        };
        events.push((std::mem::take(&mut silence), event));
    }
    // What is left of the calls comes at last.
    for (at, (which, rest)) in calls.iter().enumerate() {
        events.push((0, delta(at, false, rest)));
        let whole: serde_json::Value = serde_json::from_str(&arguments[*which]).unwrap();
        said.calls.push((format!("f{at}"), whole.to_string()));
    }
    events.push((0, ChatEvent::Usage(USAGE)));
    events.extend(finish.map(|reason| (0, ChatEvent::Finish(reason))));
    let reason = match finish {
        None | Some(FinishReason::Stop | FinishReason::StopText(_)) if !calls.is_empty() => {
            FinishReason::ToolCalls
        }
        reason => reason.unwrap_or(FinishReason::Stop),
    };
    said.finish = Some(reason.as_str().to_owned());
    said.usage = Some((USAGE.prompt_tokens, USAGE.completion_tokens));
    Answer {
        events,
        said,
        stops_at: match reason {
            FinishReason::StopText(place) => Some(place),
            _ => None,
        },
    }
}

fn delta(index: usize, is_first: bool, arguments: &str) -> ChatEvent {
    ChatEvent::ToolCall(ToolCallDelta {
        index: u32::try_from(index).unwrap(),
        id: is_first.then(|| format!("call_{index}")),
        name: is_first.then(|| format!("f{index}")),
        arguments: arguments.to_owned(),
    })
}

impl Answer {
    fn run(&self, failure: Option<ProviderError>) -> Vec<Run> {
        let events = self.events.clone();
        vec![Run::scripted(async move |script| {
            for (silence, event) in events {
                tokio::time::sleep(Duration::from_secs(silence)).await;
                script.say(event).await;
            }
            failure.map_or(Ok(()), Err)
        })]
    }

    /// As the dialect tells it that says where the answer has stopped.
    fn with_stop_text(&self) -> Said {
        let mut said = self.said.clone();
        if let Some(place) = self.stops_at {
            said.finish = Some(format!("stop at {}", STOPS[place]));
        }
        said
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// D21: the same text, calls, end and usage, streamed or whole, in every voice.
    #[test]
    fn no_voice_changes_what_is_said(
        steps in vec(step(), 0..16), words in vec("[a-c\"{}你]{0,4}", 4), empty in 0..6_usize, finish in finish(),
    ) {
        let arguments: Vec<String> = words.iter().enumerate().map(|(at, word)| {
            if at == empty { "{}".to_owned() } else { serde_json::json!({"x": word, "y": [at]}).to_string() }
        }).collect();
        let answer = answer(steps, &arguments, finish);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let chat = runtime.block_on(streamed(answer.run(None), chat_voice()));
        prop_assert_eq!(&legal::chunks(&chat), &answer.said);
        let chat = runtime.block_on(gathered(answer.run(None), chat_voice())).unwrap();
        prop_assert_eq!(&legal::completion(&chat), &answer.said);
        let messages = runtime.block_on(streamed(answer.run(None), messages_voice(&STOPS)));
        prop_assert_eq!(&legal::messages(&messages), &answer.with_stop_text());
        let messages = runtime.block_on(gathered(answer.run(None), messages_voice(&STOPS))).unwrap();
        prop_assert_eq!(&legal::message(&messages), &answer.with_stop_text());
        let responses = runtime.block_on(streamed(answer.run(None), responses_voice()));
        prop_assert_eq!(&legal::events_of_response(&responses), &answer.said);
        let responses = runtime.block_on(gathered(answer.run(None), responses_voice())).unwrap();
        prop_assert_eq!(&legal::response(&responses), &answer.said);
    }

    /// An answer that breaks is as legal as one that does not, and as long in every voice.
    #[test]
    fn every_voice_breaks_off_at_the_same_place(steps in vec(step(), 0..16), kind in 0..3_usize) {
        let arguments = vec!["{\"x\":1}".to_owned(); 4];
        let steps = std::iter::once(Step::Text("a".to_owned())).chain(steps).collect();
        let mut answer = answer(steps, &arguments, None);
        answer.events.truncate(answer.events.len() - 1);
        let kind = [Kind::Unavailable, Kind::Timeout, Kind::RateLimited][kind];
        let failure = || Some(ProviderError::new(kind, "it broke"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let chat = legal::chunks(&runtime.block_on(streamed(answer.run(failure()), chat_voice())));
        let messages = legal::messages(&runtime.block_on(streamed(answer.run(failure()), messages_voice(&STOPS))));
        let responses = legal::events_of_response(&runtime.block_on(streamed(answer.run(failure()), responses_voice())));
        prop_assert!(chat.has_failed && messages.has_failed && messages.finish.is_none());
        prop_assert!(responses.has_failed && responses.finish.is_none());
        prop_assert_eq!((&chat.text, &chat.reasoning), (&responses.text, &responses.reasoning));
        prop_assert_eq!((&chat.text, &chat.reasoning), (&messages.text, &messages.reasoning));
    }
}
