//! The answer of `POST /api/v2/chat`: frames of what changed, each with its whole text so far. Source: wire/qwen.md §11.8.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{
    items::{item, item_of},
    refusal::error,
};
use crate::{prompt::Answer, reply::Act};

/// The marker that stands before an answer with thoughts.
const MARKER: &str = "[(deep_think)]";

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::qwen) enum End {
    Finished,
    /// Content inspection stops it after this many pieces of text.
    Moderated(usize),
    /// A frame with an error in place of the text.
    Error(u32, &'static str),
    /// Frames, but none with text.
    Empty,
}

#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) session: String,
    pub(super) request: String,
}

/// ```text
/// Opening -> Plan(0..) -> Search -> Thinking(0..) -> Text(0..) -> Finale -> Over
/// ```
#[derive(Clone, Copy, Debug)]
enum Stage {
    Opening,
    Plan(usize),
    Search,
    Thinking(usize),
    Text(usize),
    Finale,
    Over,
}

/// The frames of one answer, made as they are needed.
#[derive(Debug)]
pub(super) struct Frames {
    ids: Ids,
    answer: Answer,
    prompt: String,
    model: String,
    end: End,
    /// Thoughts of the first slot, as `plan_cot/post`.
    plan: Vec<String>,
    stage: Stage,
    queue: VecDeque<Act>,
    thought: String,
    said: String,
    resid: u64,
    frames: usize,
}

impl Frames {
    pub(super) fn new(ids: Ids, prompt: &str, model: &str, mut answer: Answer, end: End) -> Self {
        match end {
            End::Moderated(pieces) => answer.text.truncate(pieces),
            End::Empty | End::Error(..) => answer.text.clear(),
            End::Finished => {}
        }
        if matches!(end, End::Moderated(0) | End::Empty | End::Error(..)) {
            answer.reasoning.clear();
        }
        if end == End::Finished {
            // No kind of item brings pictures of a plain chat: they are text.
            let pictures = std::mem::take(&mut answer.images);
            answer
                .text
                .extend(pictures.iter().map(|url| format!("![]({url})")));
        } else {
            answer.citations.clear();
        }
        // Stacked lines cannot hold thoughts of several lines.
        let lines = answer.reasoning.iter().all(|piece| !piece.contains('\n'));
        let plan = match answer.quirk("plan") && lines {
            true => {
                let rest = answer.reasoning.split_off(answer.reasoning.len() / 2);
                std::mem::replace(&mut answer.reasoning, rest)
            }
            false => Vec::new(),
        };
        Self {
            ids,
            prompt: prompt.to_owned(),
            model: model.to_owned(),
            answer,
            end,
            plan,
            stage: Stage::Opening,
            queue: VecDeque::new(),
            thought: String::new(),
            said: String::new(),
            resid: 0,
            frames: 0,
        }
    }

    fn advance(&mut self) -> Option<()> {
        self.stage = match self.stage {
            Stage::Opening => {
                self.opening();
                Stage::Plan(0)
            }
            Stage::Plan(at) if at < self.plan.len() => {
                self.plan(at);
                Stage::Plan(at + 1)
            }
            Stage::Plan(_) => Stage::Search,
            Stage::Search => {
                self.search();
                Stage::Thinking(0)
            }
            Stage::Thinking(at) if at < self.answer.reasoning.len() => {
                self.think(at);
                Stage::Thinking(at + 1)
            }
            Stage::Thinking(_) => Stage::Text(0),
            Stage::Text(at) if at < self.answer.text.len() => {
                self.say(at);
                Stage::Text(at + 1)
            }
            Stage::Text(_) => Stage::Finale,
            Stage::Finale => {
                self.finale();
                Stage::Over
            }
            Stage::Over => return None,
        };
        Some(())
    }

    /// One event; its name comes and goes. `data` is the inside of the frame's `data`.
    fn event(&mut self, name: &str, data: &str) -> String {
        self.resid += 1;
        self.event_at(self.resid, name, data)
    }

    fn event_at(&mut self, resid: u64, name: &str, data: &str) -> String {
        self.frames += 1;
        let named =
            name != "message" || !self.frames.is_multiple_of(3) || self.answer.quirk("clean");
        let line = match named {
            true => format!("event:{name}\n"),
            false => String::new(),
        };
        let ids = match self.frames {
            1 => format!(
                r#""sessionid":"{}","reqid":"{}","#,
                self.ids.session, self.ids.request
            ),
            _ => String::new(),
        };
        format!(
            "{line}data:{{\"communication\":{{{ids}\"resid\":{resid}}},\"data\":{{{data}}},\"error_code\":0,\"error_msg\":\"\"}}\n\n"
        )
    }

    fn messages(&mut self, items: &[String]) -> String {
        let data = format!(r#""messages":[{}]"#, items.join(","));
        self.event("message", &data)
    }

    fn push_said(&mut self, line: String) {
        self.queue
            .extend(Answer::paced(self.answer.pace, Act::say(line)));
    }

    fn opening(&mut self) {
        let query = json!(self.prompt);
        let data = format!(
            r#""messages":[{{"mime_type":"signal/post","content":"","status":"processing"}}],"extra_info":{{"ori_query":{query}}}"#
        );
        let line = self.event("message", &data);
        self.queue.push_back(Act::send(line));
    }

    /// Cumulative, as stacked lines: each line begins the next one.
    fn plan(&mut self, at: usize) {
        let stacked: Vec<String> = (0..=at)
            .map(|upto| self.plan.get(..=upto).unwrap_or_default().concat())
            .collect();
        let item = item("plan_cot/post", &stacked.join("\n"), None, "processing");
        let line = self.messages(&[item]);
        self.push_said(line);
    }

    fn search(&mut self) {
        if self.answer.citations.is_empty() {
            return;
        }
        let query = json!({"type": "cot", "content": {"list": [{"query": self.prompt}]}});
        let progress = item_of("bar/progress", &query, "processing");
        let pages: Vec<_> = self
            .answer
            .citations
            .iter()
            .map(|page| json!({"title": page.title, "url": page.url, "summary": "s", "host_name": "h"}))
            .collect();
        let sources = match self.answer.quirk("progress_sources") {
            true => item_of(
                "bar/progress",
                &json!({"type": "source", "list": pages}),
                "complete",
            ),
            false => {
                let sources = json!({"sources": [{"content": {"list": pages}}]});
                item_of("bar/iframe", &sources, "complete")
            }
        };
        let line = self.messages(&[progress, sources]);
        self.queue
            .extend(Answer::paced(self.answer.pace, Act::send(line)));
    }

    fn think(&mut self, at: usize) {
        let Some(piece) = self.answer.reasoning.get(at).cloned() else {
            return;
        };
        let item = match self.answer.quirk("panel") {
            true => {
                self.thought.push_str(&piece);
                self.workflow("processing")
            }
            false => {
                self.thought.push_str(&piece);
                self.text(MARKER, Some(self.deep("processing")), "processing")
            }
        };
        let line = self.messages(&[item]);
        self.push_said(line);
    }

    /// Thoughts in the panel form of 2026-09/10.
    fn workflow(&self, status: &str) -> String {
        let body = &self.thought;
        let panel = json!({
            "deep_think_generate": "1",
            "multi_load": [
                {"type": "bar_tool", "source_seq": "0", "content": {"title": "搜索", "body": "no thought"}},
                {"type": "bar_thinking", "source_seq": "1", "content": {"title": "理解", "body": body, "status": status}},
            ],
        });
        item_of("bar/workflow", &panel, status)
    }

    /// Thoughts beside the answer.
    fn deep(&self, status: &str) -> Value {
        let kind = match self.answer.quirk("multimodal") {
            true => "multimodal_chat_think",
            false => "deep_think",
        };
        json!([{"type": kind, "content": {"think_content": self.thought, "status": status}}])
    }

    /// An item with answer text, in the form that the quirks ask for.
    fn text(&self, content: &str, multi_load: Option<Value>, status: &str) -> String {
        if self.answer.quirk("text_plain") && multi_load.is_none() {
            return item("text/plain", content, None, status);
        }
        if self.answer.quirk("panel") {
            let card = json!({"multi_load": [{"type": "card", "content": content}]});
            return item("multi_load/iframe", "", Some(&card), status);
        }
        let meta = json!({"multi_load": multi_load.unwrap_or_else(|| json!([]))});
        item("multi_load/iframe", content, Some(&meta), status)
    }

    /// The whole answer so far, with its marker.
    fn content(&self, said: &str) -> String {
        let marked = !self.thought.is_empty() && !self.answer.quirk("panel");
        let marker = match self.answer.quirk("multimodal") {
            true => "[(multimodal_chat_think_1)]",
            false => MARKER,
        };
        match marked && !self.answer.quirk("text_plain") {
            true => format!("{marker}\n\n{said}"),
            false => said.to_owned(),
        }
    }

    fn say(&mut self, at: usize) {
        let Some(piece) = self.answer.text.get(at).cloned() else {
            return;
        };
        // The service cuts between the bytes of one character and shows the half as U+FFFD (§7.3).
        let half = piece.starts_with(|first: char| !first.is_ascii());
        if half && at % 3 == 1 && !self.answer.quirk("clean") {
            let said = format!("{}\u{fffd}", self.said);
            self.tell(&said, at);
        }
        let middle = at > 0 && at == self.answer.text.len() / 2;
        if middle && self.answer.quirk("shorter") {
            let mut shorter = self.said.clone();
            shorter.pop();
            self.tell(&shorter, at);
        }
        if middle && self.answer.quirk("rewrite") {
            let tail: String = self.said.chars().skip(1).collect();
            self.tell(&format!("？{tail}"), at);
        }
        if middle && self.answer.quirk("stale") {
            // An older frame that comes late: what it says is not to be read.
            let item = self.text(
                "stale text that is longer than what was said by far",
                None,
                "processing",
            );
            let line = self.event_at(1, "message", &format!(r#""messages":[{item}]"#));
            self.queue.push_back(Act::send(line));
        }
        self.said.push_str(&piece);
        let said = self.said.clone();
        self.tell(&said, at);
    }

    /// A frame with the given state of the text; with the first one the thoughts are complete.
    fn tell(&mut self, said: &str, at: usize) {
        let content = self.content(said);
        let thoughts = at == 0 && !self.thought.is_empty() && !self.answer.quirk("panel");
        let thoughts = thoughts.then(|| self.deep("complete"));
        let item = self.text(&content, thoughts, "processing");
        let line = self.messages(&[item]);
        self.push_said(line);
    }

    fn finale(&mut self) {
        self.queue.push_back(Act::Done);
        if let End::Error(code, message) = self.end {
            self.queue.push_back(error(code, message));
            return;
        }
        let mut data = match self.said.is_empty() {
            true => r#""messages":[],"status":"complete""#.to_owned(),
            false => {
                let said = self.said.clone();
                let item = self.text(&self.content(&said), None, "complete");
                format!(r#""messages":[{item}],"status":"complete""#)
            }
        };
        if matches!(self.end, End::Moderated(_)) {
            data.push_str(r#","audit_info":{"error_code":"10030","error_msg":"内容不合规"}"#);
        }
        if self.answer.quirk("no_end") {
            let line = self.event("message", &data);
            self.queue.push_back(Act::send(line));
            return;
        }
        if self.answer.quirk("end_inside") {
            data.push_str(r#","sse_end":true"#);
        } else {
            let prompt = self.prompt.chars().count();
            let completion = self.said.chars().count() + self.thought.chars().count();
            let usage = json!({
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            });
            let model = json!(self.model);
            data.push_str(&format!(
                r#","extra_info":{{"sse_end":"1","chat_odps":{{"model_info":{{"model":{model}}},"total_usage":{usage}}}}}"#
            ));
        }
        let name = match self.answer.quirk("end_inside") {
            true => "message",
            false => "complete",
        };
        let line = self.event(name, &data);
        self.queue.push_back(Act::send(line));
        let last = match self.answer.quirk("done") {
            true => "data:[DONE]\n\n",
            false => "event:complete\ndata:true\n\n",
        };
        self.queue.push_back(Act::send(last));
    }
}

impl Iterator for Frames {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        while self.queue.is_empty() {
            self.advance()?;
        }
        self.queue.pop_front()
    }
}
