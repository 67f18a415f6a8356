//! Chunks and completions. Source: OpenAI's public API reference, "chat completion chunk object".

use serde_json::{Value, json};

use super::ask::{Ask, Tool};
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
    script::Called,
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "comments",      // `: keep-alive` lines between the chunks
    "crlf",          // lines end in CRLF
    "empty_choices", // a first chunk without choices, as Azure sends it
    "no_done",       // no `[DONE]`
    "no_finish",     // no chunk with a finish_reason
    "no_space",      // no space after `data:`
    "reasoning",     // thoughts under `reasoning` instead of `reasoning_content`
];

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Stop,
    Length,
    Filtered,
    /// An error object in the stream after this many pieces.
    Error(usize),
    /// No choice with anything in it.
    Empty,
}

/// One answer, as chunks or whole.
#[derive(Debug)]
pub(super) struct Completion {
    pub(super) ask: Ask,
    pub(super) answer: Answer,
    pub(super) end: End,
    /// Makes the ids of the answer and of its tool call.
    pub(super) id: String,
}

/// 2026-01-07, for ever: `created` is nothing that a client should lean on.
const CREATED: u64 = 1_767_780_000;

impl Completion {
    pub(super) fn acts(self) -> Acts {
        let mut deltas = Vec::new();
        if self.answer.quirk("empty_choices") {
            deltas.push(Act::send(
                self.line(&self.object("chat.completion.chunk", json!([]))),
            ));
        }
        deltas.push(Act::send(
            self.delta(&json!({"role": "assistant", "content": ""}), None),
        ));
        for piece in self.reasoning() {
            deltas.push(Act::say(
                self.delta(&json!({self.reasoning_key(): piece}), None),
            ));
        }
        let tools = self.tools();
        if tools.is_empty() || self.answer.calls.is_some() {
            let pieces = self.pieces().iter();
            deltas
                .extend(pieces.map(|piece| Act::say(self.delta(&json!({"content": piece}), None))));
        }
        // An error after so many pieces comes amid the calls where there are no others.
        let most = match self.end {
            End::Error(pieces) => pieces,
            End::Stop | End::Length | End::Filtered | End::Empty => usize::MAX,
        };
        for (index, tool) in tools.iter().enumerate() {
            deltas.extend(self.tool_deltas(index, tool).into_iter().take(most));
        }
        let closing = self.closing();
        let pace = self.answer.pace;
        Box::new(
            deltas
                .into_iter()
                .flat_map(move |act| Answer::paced(pace, act))
                .chain(closing),
        )
    }

    fn closing(&self) -> Vec<Act> {
        let mut acts = vec![Act::Done];
        if let End::Error(_) = self.end {
            let error = json!({"message": "The server had an error.", "type": "server_error", "param": null, "code": null});
            acts.push(Act::send(self.line(&json!({"error": error}))));
            return acts;
        }
        if !self.answer.quirk("no_finish") {
            acts.push(Act::send(
                self.delta(&json!({}), Some(self.finish_reason())),
            ));
        }
        if self.ask.usage {
            let mut chunk = self.object("chat.completion.chunk", json!([]));
            chunk["usage"] = self.usage();
            acts.push(Act::send(self.line(&chunk)));
        }
        if !self.answer.quirk("no_done") {
            acts.push(Act::send(self.event("[DONE]")));
        }
        acts
    }

    pub(super) fn whole(&self) -> Value {
        let mut message =
            json!({"role": "assistant", "content": self.pieces().concat(), "refusal": null});
        let reasoning = self.reasoning().concat();
        if !reasoning.is_empty() {
            message[self.reasoning_key()] = json!(reasoning);
        }
        let tools = self.tools();
        if !tools.is_empty() {
            if self.answer.calls.is_none() || self.pieces().is_empty() {
                message["content"] = Value::Null;
            }
            let call = |(index, tool): (usize, &Tool)| {
                let function = json!({"name": tool.name, "arguments": tool.arguments});
                json!({"id": self.tool_id(index), "type": "function", "function": function})
            };
            message["tool_calls"] = tools.iter().enumerate().map(call).collect();
        }
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish_reason()});
        let choices = if self.end == End::Empty {
            json!([])
        } else {
            json!([choice])
        };
        let mut whole = self.object("chat.completion", choices);
        whole["usage"] = self.usage();
        whole
    }

    fn pieces(&self) -> &[String] {
        let most = match self.end {
            End::Error(pieces) => pieces,
            End::Empty => 0,
            End::Stop | End::Length | End::Filtered => usize::MAX,
        };
        self.answer
            .text
            .get(..most.min(self.answer.text.len()))
            .unwrap_or_default()
    }

    fn reasoning(&self) -> &[String] {
        if self.end == End::Empty {
            &[]
        } else {
            &self.answer.reasoning
        }
    }

    fn reasoning_key(&self) -> &'static str {
        if self.answer.quirk("reasoning") {
            "reasoning"
        } else {
            "reasoning_content"
        }
    }

    fn finish_reason(&self) -> &'static str {
        match (self.tools().is_empty(), self.end) {
            (_, End::Length) => "length",
            (_, End::Filtered) => "content_filter",
            (false, _) => "tool_calls",
            (true, _) => "stop",
        }
    }

    /// What is called: as the script has it, else what a model would call.
    fn tools(&self) -> Vec<Tool> {
        let Some(calls) = &self.answer.calls else {
            return self.ask.tool.iter().cloned().collect();
        };
        let tool = |call: &Called| Tool {
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        };
        calls.iter().map(tool).collect()
    }

    fn tool_id(&self, index: usize) -> String {
        format!("call_{index}_{}", self.id)
    }

    /// The name first, then the arguments in pieces of a few characters.
    fn tool_deltas(&self, index: usize, tool: &Tool) -> Vec<Act> {
        let function = json!({"name": tool.name, "arguments": ""});
        let first = json!([{"index": index, "id": self.tool_id(index), "type": "function", "function": function}]);
        let mut acts = vec![Act::say(self.delta(&json!({"tool_calls": first}), None))];
        for piece in crate::pieces::cut(&tool.arguments, Some(5)) {
            let more = json!([{"index": index, "function": {"arguments": piece}}]);
            acts.push(Act::say(self.delta(&json!({"tool_calls": more}), None)));
        }
        acts
    }

    fn delta(&self, delta: &Value, finish_reason: Option<&str>) -> String {
        let choices =
            json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]);
        let mut chunk = self.object("chat.completion.chunk", choices);
        if self.ask.usage {
            chunk["usage"] = Value::Null;
        }
        self.line(&chunk)
    }

    fn object(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.id), "object": object, "created": CREATED, "model": self.ask.model,
            "system_fingerprint": "fp_sim", "choices": choices,
        })
    }

    /// A word is a token here: what counts is that the client passes the figures on.
    fn usage(&self) -> Value {
        let words = |text: &str| text.split_whitespace().count().max(1);
        let prompt: usize = self.ask.turns.iter().map(|turn| words(&turn.text)).sum();
        let reasoning = self.reasoning().len();
        let completion = self.pieces().len() + reasoning;
        json!({
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        })
    }

    fn line(&self, value: &Value) -> String {
        self.event(&value.to_string())
    }

    fn event(&self, data: &str) -> String {
        let space = if self.answer.quirk("no_space") {
            ""
        } else {
            " "
        };
        let end = if self.answer.quirk("crlf") {
            "\r\n"
        } else {
            "\n"
        };
        let comment = if self.answer.quirk("comments") {
            format!(": keep-alive{end}{end}")
        } else {
            String::new()
        };
        format!("{comment}data:{space}{data}{end}{end}")
    }
}
