//! Events and messages. Source: Anthropic's public API reference, streaming of Messages.

use serde_json::{Value, json};

use super::ask::Ask;
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
    script::Called,
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "crlf",        // lines end in CRLF
    "nameless",    // no `event:` lines, as some servers of the dialect
    "pings",       // a ping between any two events
    "whole_input", // a call's input stands in its content_block_start
    "redacted",    // thinking that only this upstream can read
];

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Turn,
    Length,
    Refused,
    /// An error event after so many pieces.
    Error(usize),
    Empty,
}

/// One answer, as events or whole.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) ask: Ask,
    pub(super) answer: Answer,
    pub(super) end: End,
    /// Makes the ids of the answer and of its calls.
    pub(super) id: String,
}

impl Message {
    pub(super) fn acts(self) -> Acts {
        let mut acts = vec![Act::send(self.line(
            &json!({"type": "message_start", "message": self.message(Vec::new(), None)}),
        ))];
        let mut left = match self.end {
            End::Error(pieces) => pieces,
            End::Empty => 0,
            End::Turn | End::Length | End::Refused => usize::MAX,
        };
        for (index, block) in self.blocks().into_iter().enumerate() {
            if left == 0 {
                break;
            }
            let mut begun = block.value.clone();
            let (delta, member) = match begun["type"].as_str() {
                // Whole in its start: it has no deltas.
                Some("redacted_thinking") => ("", ""),
                Some("thinking") => ("thinking_delta", "thinking"),
                Some("text") => ("text_delta", "text"),
                _ => ("input_json_delta", "partial_json"),
            };
            let is_whole = self.answer.quirk("whole_input") && member == "partial_json";
            match member {
                "thinking" => {
                    begun["thinking"] = "".into();
                    begun["signature"] = "".into();
                }
                "text" => begun["text"] = "".into(),
                "" => {}
                _ if !is_whole => begun["input"] = json!({}),
                _ => {}
            }
            acts.push(Act::send(self.line(
                &json!({"type": "content_block_start", "index": index, "content_block": begun}),
            )));
            for piece in block.pieces.iter().filter(|_| !is_whole) {
                if left == 0 {
                    break;
                }
                left -= 1;
                acts.push(Act::say(self.line(&json!({"type": "content_block_delta", "index": index, "delta": {"type": delta, member: piece}}))));
            }
            if matches!(self.end, End::Error(_)) && left == 0 {
                break;
            }
            if member == "thinking" {
                let seal =
                    json!({"type": "signature_delta", "signature": block.value["signature"]});
                acts.push(Act::send(self.line(
                    &json!({"type": "content_block_delta", "index": index, "delta": seal}),
                )));
            }
            acts.push(Act::send(
                self.line(&json!({"type": "content_block_stop", "index": index})),
            ));
        }
        let closing = self.closing();
        let pace = self.answer.pace;
        Box::new(
            acts.into_iter()
                .flat_map(move |act| Answer::paced(pace, act))
                .chain(closing),
        )
    }

    fn closing(&self) -> Vec<Act> {
        if let End::Error(_) = self.end {
            let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
            return vec![Act::Done, Act::send(self.line(&error))];
        }
        let (reason, stop) = self.reason();
        let delta = json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": stop}, "usage": {"output_tokens": self.output_tokens()}});
        let stop = json!({"type": "message_stop"});
        vec![
            Act::Done,
            Act::send(self.line(&delta)),
            Act::send(self.line(&stop)),
        ]
    }

    pub(super) fn whole(&self) -> Value {
        let blocks = if self.end == End::Empty {
            Vec::new()
        } else {
            self.blocks()
        };
        let content = blocks.into_iter().map(|block| block.value).collect();
        self.message(content, Some(self.reason()))
    }

    fn message(&self, content: Vec<Value>, end: Option<(&str, Option<String>)>) -> Value {
        let (reason, stop) = end.clone().unzip();
        let tokens = if end.is_some() {
            self.output_tokens()
        } else {
            1
        };
        json!({
            "id": format!("msg_{}", self.id), "type": "message", "role": "assistant", "model": self.ask.model, "content": content,
            "stop_reason": reason, "stop_sequence": stop.flatten(),
            "usage": {"input_tokens": self.input_tokens(), "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": tokens},
        })
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        if !self.answer.reasoning.is_empty() && self.ask.thinks {
            let seal = format!("sim-seal-{}", self.id);
            let shown = if self.ask.shows_thinking {
                self.answer.reasoning.clone()
            } else {
                // The seal comes all the same.
                Vec::new()
            };
            blocks.push(if self.answer.quirk("redacted") {
                Block {
                    value: json!({"type": "redacted_thinking", "data": format!("sim-opaque-{}", self.id)}),
                    pieces: Vec::new(),
                }
            } else {
                Block {
                    value: json!({"type": "thinking", "thinking": shown.concat(), "signature": seal}),
                    pieces: shown,
                }
            });
        }
        let calls = self.calls();
        let pieces = self.pieces();
        if !pieces.is_empty() && (calls.is_empty() || self.answer.calls.is_some()) {
            blocks.push(Block {
                value: json!({"type": "text", "text": pieces.concat()}),
                pieces,
            });
        }
        for (at, call) in calls.iter().enumerate() {
            let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
            blocks.push(Block {
                value: json!({"type": "tool_use", "id": format!("toolu_{at}_{}", self.id), "name": call.name, "input": input}),
                pieces: crate::pieces::cut(&call.arguments, Some(5)),
            });
        }
        blocks
    }

    /// What is called: as the script has it, else what a model would call.
    fn calls(&self) -> Vec<Called> {
        if let Some(calls) = &self.answer.calls {
            return calls.clone();
        }
        let called = self.ask.calls.iter().map(|(name, arguments)| Called {
            name: name.clone(),
            arguments: arguments.to_string(),
        });
        called.collect()
    }

    /// The text up to the first of the texts that end it.
    fn pieces(&self) -> Vec<String> {
        let whole = self.answer.text.concat();
        match self.stop(&whole) {
            Some((at, _)) => crate::pieces::cut(whole.get(..at).unwrap_or_default(), None),
            None => self.answer.text.clone(),
        }
    }

    fn stop(&self, text: &str) -> Option<(usize, String)> {
        let found = self
            .ask
            .stops
            .iter()
            .filter_map(|stop| Some((text.find(stop)?, stop.clone())));
        found.min()
    }

    fn reason(&self) -> (&'static str, Option<String>) {
        let stop = self.stop(&self.answer.text.concat());
        match (self.end, stop) {
            (End::Length, _) => ("max_tokens", None),
            (End::Refused, _) => ("refusal", None),
            _ if !self.calls().is_empty() => ("tool_use", None),
            (_, Some((_, stop))) => ("stop_sequence", Some(stop)),
            (_, None) => ("end_turn", None),
        }
    }

    /// A word is a token here: what counts is that the client passes the figures on.
    fn input_tokens(&self) -> usize {
        let words = |text: &str| text.split_whitespace().count().max(1);
        self.ask.turns.iter().map(|turn| words(&turn.text)).sum()
    }

    fn output_tokens(&self) -> usize {
        self.pieces().len() + self.answer.reasoning.len() + 1
    }

    fn line(&self, event: &Value) -> String {
        let kind = event["type"].as_str().unwrap_or_default();
        let name = if self.answer.quirk("nameless") {
            String::new()
        } else {
            format!("event: {kind}\n")
        };
        let ping = if self.answer.quirk("pings") {
            "event: ping\ndata: {\"type\": \"ping\"}\n\n"
        } else {
            ""
        };
        let line = format!("{name}data: {event}\n\n{ping}");
        if self.answer.quirk("crlf") {
            line.replace('\n', "\r\n")
        } else {
            line
        }
    }
}

struct Block {
    /// As it is when it is whole.
    value: Value,
    /// What its deltas say.
    pieces: Vec<String>,
}
