//! Events and responses. Source: OpenAI's public API reference, streaming events of Responses.

use serde_json::{Value, json};

use super::{
    ask::{Ask, Tool},
    echo,
};
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "crlf",      // lines end in CRLF
    "done",      // `[DONE]` at the end, as routers add it
    "keepalive", // keep-alive events between the others
    "nameless",  // no `event:` lines
];

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Completed,
    Length,
    Filtered,
    /// `response.failed` with this code after so many pieces.
    Failed(usize, &'static str),
    /// `event: error` after so many pieces.
    Error(usize),
    /// No event but the last one has anything of it.
    Alone,
}

/// One answer, as events or whole.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) ask: Ask,
    pub(super) answer: Answer,
    pub(super) end: End,
    /// Makes the ids of the response and of its items.
    pub(super) id: String,
}

/// What an item says, by its pieces.
struct Item {
    value: Value,
    pieces: Vec<String>,
}

impl Response {
    pub(super) fn acts(self) -> Acts {
        let mut events: Vec<Value> = vec![
            json!({"type": "response.created", "response": self.response("in_progress", &[])}),
            json!({"type": "response.in_progress", "response": self.response("in_progress", &[])}),
        ];
        let items = self.items();
        let mut done = Vec::new();
        for (at, item) in items.iter().enumerate() {
            if self.end != End::Alone {
                self.item(at, item, &mut events);
            }
            done.push(item.value.clone());
        }
        events.push(match self.end {
            End::Completed | End::Alone => json!({"type": "response.completed", "response": self.response("completed", &done)}),
            End::Length | End::Filtered => json!({"type": "response.incomplete", "response": self.response("incomplete", &done)}),
            End::Failed(..) => json!({"type": "response.failed", "response": self.response("failed", &[])}),
            End::Error(_) => json!({"type": "error", "code": "server_error", "message": "The server had an error.", "param": null}),
        });
        let mut number = 0;
        let mut acts = Vec::new();
        for mut event in events {
            event["sequence_number"] = number.into();
            number += 1;
            let is_piece = event.get("delta").is_some();
            let line = self.line(&event);
            acts.push(if is_piece {
                Act::say(line)
            } else {
                Act::send(line)
            });
            if self.answer.quirk("keepalive") {
                acts.push(Act::send(
                    self.line(&json!({"type": "keepalive", "sequence_number": number})),
                ));
                number += 1;
            }
        }
        if self.answer.quirk("done") {
            acts.push(Act::send("data: [DONE]\n\n"));
        }
        let pace = self.answer.pace;
        // What stands around the pieces comes with them.
        let last = acts.pop();
        Box::new(
            acts.into_iter()
                .flat_map(move |act| Answer::paced(pace, act))
                .chain([Act::Done])
                .chain(last),
        )
    }

    pub(super) fn whole(&self) -> Value {
        let items: Vec<Value> = self.items().into_iter().map(|item| item.value).collect();
        match self.end {
            End::Completed | End::Alone => self.response("completed", &items),
            End::Length | End::Filtered => self.response("incomplete", &items),
            End::Failed(..) | End::Error(_) => self.response("failed", &[]),
        }
    }

    fn response(&self, status: &str, output: &[Value]) -> Value {
        let mut it = echo(&self.ask);
        it["id"] = format!("resp_{}", self.id).into();
        it["status"] = status.into();
        it["output"] = output.into();
        match (status, self.end) {
            ("incomplete", End::Filtered) => {
                it["incomplete_details"] = json!({"reason": "content_filter"})
            }
            ("incomplete", _) => it["incomplete_details"] = json!({"reason": "max_output_tokens"}),
            ("failed", End::Failed(_, code)) => {
                it["error"] = json!({"code": code, "message": "The model failed to answer."})
            }
            ("failed", _) => {
                it["error"] =
                    json!({"code": "server_error", "message": "The model failed to answer."})
            }
            _ => {}
        }
        if matches!(status, "completed" | "incomplete") {
            it["usage"] = self.usage();
        }
        it
    }

    /// A word is a token here: what counts is that the client passes the figures on.
    fn usage(&self) -> Value {
        let words = |text: &str| text.split_whitespace().count().max(1);
        let input: usize = self.ask.turns.iter().map(|turn| words(&turn.text)).sum();
        let reasoning = self.answer.reasoning.len();
        let output = self.pieces().len() + reasoning;
        json!({
            "input_tokens": input, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output, "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": input + output,
        })
    }

    fn pieces(&self) -> &[String] {
        let most = match self.end {
            End::Failed(pieces, _) | End::Error(pieces) => pieces,
            End::Completed | End::Length | End::Filtered | End::Alone => usize::MAX,
        };
        let text = &self.answer.text;
        text.get(..most.min(text.len())).unwrap_or_default()
    }

    /// Thinking, text, calls: those that there are.
    fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let id = |kind: &str, at: usize| format!("{kind}_{at}_{}", self.id);
        if self.ask.summary && !self.answer.reasoning.is_empty() {
            let text = self.answer.reasoning.concat();
            items.push(Item {
                value: json!({"type": "reasoning", "id": id("rs", 0), "summary": [{"type": "summary_text", "text": text}]}),
                pieces: self.answer.reasoning.clone(),
            });
        }
        let calls = self.calls();
        let has_text = self.answer.calls.is_some() || calls.is_empty();
        if has_text && !self.pieces().is_empty() {
            let status = if matches!(self.end, End::Length | End::Filtered) {
                "incomplete"
            } else {
                "completed"
            };
            let part = json!({"type": "output_text", "text": self.pieces().concat(), "annotations": [], "logprobs": []});
            items.push(Item {
                value: json!({"type": "message", "id": id("msg", items.len()), "status": status, "role": "assistant", "content": [part]}),
                pieces: self.pieces().to_vec(),
            });
        }
        for (tool, text) in calls {
            let at = items.len();
            let mut value = if tool.is_custom {
                json!({"type": "custom_tool_call", "id": id("ctc", at), "input": text})
            } else {
                json!({"type": "function_call", "id": id("fc", at), "arguments": text, "status": "completed"})
            };
            value["call_id"] = id("call", at).into();
            value["name"] = tool.name.into();
            if let Some(namespace) = tool.namespace {
                value["namespace"] = namespace.into();
            }
            items.push(Item {
                value,
                pieces: crate::pieces::cut(&text, Some(5)),
            });
        }
        items
    }

    /// What is called: as the script has it, else what a model would call.
    fn calls(&self) -> Vec<(Tool, String)> {
        let Some(calls) = &self.answer.calls else {
            let text = |tool: &Tool| {
                if tool.is_custom { "sim 值" } else { "{}" }
            };
            let call = self.ask.calls.iter();
            return call
                .map(|tool| (tool.clone(), text(tool).to_owned()))
                .collect();
        };
        let tool = |name: &str| {
            let whole = |tool: &&Tool| match &tool.namespace {
                Some(namespace) => format!("{namespace}__{}", tool.name) == name,
                None => tool.name == name,
            };
            let known = self.ask.tools.iter().find(whole);
            known.cloned().unwrap_or_else(|| Tool {
                namespace: None,
                name: name.to_owned(),
                is_custom: false,
            })
        };
        calls
            .iter()
            .map(|call| (tool(&call.name), call.arguments.clone()))
            .collect()
    }

    fn item(&self, at: usize, item: &Item, events: &mut Vec<Value>) {
        let value = &item.value;
        let mut begun = value.clone();
        for (name, empty) in [
            ("content", json!([])),
            ("summary", json!([])),
            ("arguments", json!("")),
            ("input", json!("")),
            ("status", json!("in_progress")),
        ] {
            if begun.get(name).is_some() {
                begun[name] = empty;
            }
        }
        let place = |kind: &str, more: Value| {
            let mut event = json!({"type": kind, "item_id": value["id"], "output_index": at});
            if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
                event.extend(more);
            }
            event
        };
        events
            .push(json!({"type": "response.output_item.added", "output_index": at, "item": begun}));
        let (delta, index) = match value["type"].as_str().unwrap_or_default() {
            "reasoning" => ("response.reasoning_summary_text", "summary_index"),
            "message" => ("response.output_text", "content_index"),
            "custom_tool_call" => ("response.custom_tool_call_input", ""),
            _ => ("response.function_call_arguments", ""),
        };
        let numbered = |mut more: Value| {
            if !index.is_empty() {
                more[index] = 0.into();
            }
            more
        };
        let part = value["content"]
            .get(0)
            .or_else(|| value["summary"].get(0))
            .cloned();
        let part_event = if index == "summary_index" {
            "response.reasoning_summary_part"
        } else {
            "response.content_part"
        };
        if let Some(mut part) = part.clone() {
            part["text"] = "".into();
            events.push(place(
                &format!("{part_event}.added"),
                numbered(json!({"part": part})),
            ));
        }
        // What breaks off does so amid the calls as well, where there is no text before them.
        let most = match self.end {
            End::Failed(pieces, _) | End::Error(pieces) => pieces,
            End::Completed | End::Length | End::Filtered | End::Alone => usize::MAX,
        };
        for piece in item.pieces.iter().take(most) {
            events.push(place(
                &format!("{delta}.delta"),
                numbered(json!({"delta": piece, "obfuscation": "aB3"})),
            ));
        }
        if matches!(self.end, End::Failed(..) | End::Error(_)) {
            return;
        }
        let text = item.pieces.concat();
        let done = match value["type"].as_str().unwrap_or_default() {
            "function_call" => json!({"arguments": text, "name": value["name"]}),
            "custom_tool_call" => json!({"input": text}),
            _ => json!({"text": text}),
        };
        events.push(place(&format!("{delta}.done"), numbered(done)));
        if let Some(part) = part {
            events.push(place(
                &format!("{part_event}.done"),
                numbered(json!({"part": part})),
            ));
        }
        events
            .push(json!({"type": "response.output_item.done", "output_index": at, "item": value}));
    }

    fn line(&self, event: &Value) -> String {
        let name = if self.answer.quirk("nameless") {
            String::new()
        } else {
            format!("event: {}\n", event["type"].as_str().unwrap_or_default())
        };
        let line = format!("{name}data: {event}\n\n");
        if self.answer.quirk("crlf") {
            line.replace('\n', "\r\n")
        } else {
            line
        }
    }
}
