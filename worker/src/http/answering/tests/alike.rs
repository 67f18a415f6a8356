//! Whatever the door, the same is said.

use serde_json::Value;

use super::{blocks::Blocks, call, chat_voice, gathered, saying, streamed, text};
use crate::chat::ChatEvent;

proptest::proptest! {
    /// Streamed or whole, in either voice: the same words, calls and end.
    #[test]
    fn no_voice_changes_what_is_said(kinds in proptest::collection::vec((0..3_u8, "[a-c\"\\\\\n你👋]{0,4}"), 0..12)) {
        let mut calls = 0;
        let mut events = Vec::new();
        for (kind, word) in kinds {
            events.push(match kind {
                0 => text(&word),
                1 => ChatEvent::Reasoning(word),
                _ => {
                    calls += 1;
                    call(calls - 1, Some("c"), &word)
                }
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let run = || vec![saying(events.clone())];
        let chat = runtime.block_on(streamed(run(), chat_voice()));
        let whole = runtime.block_on(gathered(run(), chat_voice())).unwrap();
        let whole: Value = serde_json::from_str(&whole).unwrap();
        let blocks = runtime.block_on(streamed(run(), Blocks::default()));
        let whole_blocks = runtime.block_on(gathered(run(), Blocks::default())).unwrap();
        let said = Said::of_chunks(&chat);
        proptest::prop_assert_eq!(&said, &Said::of_completion(&whole));
        proptest::prop_assert_eq!(&said, &Said::of_blocks(&blocks));
        proptest::prop_assert_eq!(&said, &Said::of_blocks(&whole_blocks));
    }
}

/// What an answer comes down to.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    calls: Vec<String>,
    is_call: bool,
}

impl Said {
    fn of_chunks(stream: &str) -> Self {
        let mut said = Self::default();
        let payloads = stream
            .split("\n\n")
            .filter_map(|event| event.strip_prefix("data: "));
        for payload in payloads.filter(|payload| *payload != "[DONE]") {
            let chunk: Value = serde_json::from_str(payload).unwrap();
            let choice = &chunk["choices"][0];
            let delta = &choice["delta"];
            said.text
                .push_str(delta["content"].as_str().unwrap_or_default());
            said.reasoning
                .push_str(delta["reasoning_content"].as_str().unwrap_or_default());
            if let Some(call) = delta["tool_calls"].get(0) {
                said.calls
                    .push(call["function"]["arguments"].as_str().unwrap().to_owned());
            }
            said.is_call |= choice["finish_reason"] == "tool_calls";
        }
        said
    }

    fn of_completion(body: &Value) -> Self {
        let choice = &body["choices"][0];
        let message = &choice["message"];
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        // Calls without arguments get an empty object in OpenAI's whole answers (conformance T4).
        let arguments = |call: &Value| {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            if arguments == "{}" {
                String::new()
            } else {
                arguments.to_owned()
            }
        };
        Self {
            text: message["content"].as_str().unwrap_or_default().to_owned(),
            reasoning: message["reasoning_content"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            calls: calls.map(arguments).collect(),
            is_call: choice["finish_reason"] == "tool_calls",
        }
    }

    fn of_blocks(lines: &str) -> Self {
        let (mut said, mut block) = (Self::default(), "");
        for line in lines.lines() {
            let (_, line) = line.split_once(' ').unwrap();
            if line.starts_with('"') {
                let word: String = unquoted(line);
                match block {
                    "text 0" => said.text.push_str(&word),
                    "thinking 0" => said.reasoning.push_str(&word),
                    _ => said.calls.push(word),
                }
            } else {
                block = line;
                said.is_call |= line.contains("ToolCalls");
            }
        }
        said
    }
}

/// The inverse of `{:?}`, for the characters that occur here.
fn unquoted(line: &str) -> String {
    let inside = line
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let mut word = String::new();
    let mut chars = inside.unwrap().chars();
    while let Some(c) = chars.next() {
        word.push(match c {
            '\\' => match chars.next().unwrap() {
                'n' => '\n',
                other => other,
            },
            other => other,
        });
    }
    word
}
