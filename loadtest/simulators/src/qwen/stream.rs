//! The answer of `POST /dialog/conversation`: frames that repeat the whole text so far. Source: wire/qwen.md §7.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::refusal::error_frame;
use crate::{prompt::Answer, reply::Act};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "clean",           // no half characters, always a space after `data:`
    "contents_absent", // the first frame has no `contents` instead of a null
    "incremental",     // parts carry only what is new, until the finished frame
    "no_done",         // no `[DONE]`
    "no_finished",     // no finished frame, only `[DONE]`
    "no_ids",          // parts without `id`
    "repeat_finished", // the finished frame comes twice
    "rewrite",         // one frame in the middle says something else
    "shorter",         // one frame in the middle is shorter than the one before
    "split_parts",     // the text comes in two parts
    "think_raw",       // thoughts as raw text instead of a JSON string
    // Of chat2, which knows `clean`, `rewrite` and `shorter` too:
    "done",             // `[DONE]` instead of `true` at the end
    "end_inside",       // the end is a member of the last frame's data
    "multimodal",       // the marker and kind of thoughts about pictures
    "no_end",           // a clean end of the body and nothing that says so
    "panel",            // thoughts in a panel, the answer in a card (sample E)
    "plan", // the first half of the thoughts in a slot of their own, as stacked lines (sample D)
    "progress_sources", // sources in a progress bar
    "stale", // a frame that comes late
    "text_plain", // the answer in items of plain text
];

/// How the answer ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    /// Content inspection stops it after this many pieces of text.
    Moderated(usize),
    /// An error frame in place of the text.
    Error(&'static str, &'static str),
    /// A finished frame without any part.
    Empty,
}

#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) session: String,
    pub(super) msg: String,
    pub(super) parent: String,
}

/// ```text
/// Opening -> Search -> Thinking(0..) -> Text(0..) -> Pictures -> Finale -> Over
/// ```
#[derive(Debug)]
enum Stage {
    Opening,
    Search,
    Thinking(usize),
    Text(usize),
    Pictures,
    Finale,
    Over,
}

/// The frames of one answer, made as they are needed.
#[derive(Debug)]
pub(super) struct Frames {
    ids: Ids,
    answer: Answer,
    end: End,
    stage: Stage,
    queue: VecDeque<Act>,
    thought: String,
    /// The text so far, in the one or two parts that it comes in.
    said: [String; 2],
    frames: usize,
}

impl Frames {
    pub(super) fn new(ids: Ids, mut answer: Answer, end: End) -> Self {
        match end {
            End::Moderated(pieces) => answer.text.truncate(pieces),
            End::Empty | End::Error(..) => answer.text.clear(),
            End::Finished => {}
        }
        if matches!(end, End::Moderated(0) | End::Empty | End::Error(..)) {
            answer.reasoning.clear();
        }
        if end != End::Finished {
            answer.images.clear();
            answer.citations.clear();
        }
        Self {
            ids,
            answer,
            end,
            stage: Stage::Opening,
            queue: VecDeque::new(),
            thought: String::new(),
            said: [String::new(), String::new()],
            frames: 0,
        }
    }

    fn advance(&mut self) -> Option<()> {
        self.stage = match self.stage {
            Stage::Opening => {
                self.opening();
                Stage::Search
            }
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
            Stage::Text(_) => Stage::Pictures,
            Stage::Pictures => {
                self.pictures();
                Stage::Finale
            }
            Stage::Finale => {
                self.finale();
                Stage::Over
            }
            Stage::Over => return None,
        };
        Some(())
    }

    fn opening(&mut self) {
        let mut frame = self.frame("text", "generating", Value::Null);
        frame["parentMsgId"] = json!(self.ids.parent);
        frame["stopReason"] = json!("null");
        if self.answer.quirk("contents_absent") {
            frame.as_object_mut().map(|frame| frame.remove("contents"));
        }
        let line = self.line(&frame);
        self.queue.push_back(Act::send(line));
    }

    /// Web search: a plugin part that grows from nothing to the list of pages.
    fn search(&mut self) {
        if self.answer.citations.is_empty() {
            return;
        }
        for status in ["generating", "finished"] {
            let plugin = self.plugin(status);
            let frame = self.frame("plugin", "generating", json!([plugin]));
            let line = self.line(&frame);
            self.queue
                .extend(Answer::paced(self.answer.pace, Act::send(line)));
        }
    }

    fn think(&mut self, at: usize) {
        let Some(piece) = self.answer.reasoning.get(at).cloned() else {
            return;
        };
        self.thought.push_str(&piece);
        let incremental = self.answer.quirk("incremental");
        let content = if incremental {
            piece
        } else {
            self.thought.clone()
        };
        let part = self.think_part(&content, "generating", incremental);
        let frame = self.frame("think", "generating", json!([part]));
        let line = self.line(&frame);
        self.queue
            .extend(Answer::paced(self.answer.pace, Act::say(line)));
    }

    fn say(&mut self, at: usize) {
        let Some(piece) = self.answer.text.get(at).cloned() else {
            return;
        };
        let part =
            usize::from(self.answer.quirk("split_parts") && at >= self.answer.text.len() / 2);
        if self.answer.quirk("incremental") {
            self.said[part].push_str(&piece);
            let part = self.part("text", 2 + part, &piece, "generating", true);
            self.text_frame(json!([part]));
            return;
        }
        // The service cuts between the bytes of one character and shows the half as U+FFFD (§7.3).
        let half = piece.starts_with(|first: char| !first.is_ascii());
        if half && at % 3 == 1 && !self.answer.quirk("clean") {
            let mut said = self.said.clone();
            said[part].push('\u{fffd}');
            self.say_all(&said);
        }
        let mut so_far = self.said.clone();
        let middle = at > 0 && at == self.answer.text.len() / 2;
        if middle && self.answer.quirk("shorter") {
            so_far[part].pop();
            self.say_all(&so_far);
        }
        if middle && self.answer.quirk("rewrite") {
            let tail: String = so_far[part].chars().skip(1).collect();
            so_far[part] = format!("？{tail}");
            self.say_all(&so_far);
        }
        self.said[part].push_str(&piece);
        let said = self.said.clone();
        self.say_all(&said);
    }

    /// Sends the given state of the text.
    fn say_all(&mut self, said: &[String; 2]) {
        let mut parts = Vec::new();
        // Earlier parts are repeated in some frames and missing in others (§7.3).
        if !self.thought.is_empty() && self.frames % 4 == 1 {
            parts.push(self.think_part(&self.thought, "finished", false));
        }
        parts.extend(self.text_parts(said, "generating"));
        self.text_frame(Value::Array(parts));
    }

    fn text_frame(&mut self, parts: Value) {
        let frame = self.frame("text", "generating", parts);
        let line = self.line(&frame);
        self.queue
            .extend(Answer::paced(self.answer.pace, Act::say(line)));
    }

    fn pictures(&mut self) {
        if self.answer.images.is_empty() {
            return;
        }
        let part = self.picture_part("finished");
        let mut frame = self.frame("text2image", "generating", json!([part]));
        frame["contentFrom"] = json!("text2image");
        let line = self.line(&frame);
        self.queue
            .extend(Answer::paced(self.answer.pace, Act::say(line)));
    }

    /// The finished frame repeats everything, thoughts included (§10).
    fn finale(&mut self) {
        self.queue.push_back(Act::Done);
        if let End::Error(code, message) = self.end {
            self.queue
                .push_back(error_frame(code, message, &self.ids.session, &self.ids.msg));
            return;
        }
        let mut parts = Vec::new();
        if !self.thought.is_empty() {
            parts.push(self.think_part(&self.thought, "finished", false));
        }
        if !self.answer.citations.is_empty() {
            parts.push(self.plugin("finished"));
            parts.push(self.links());
        }
        parts.extend(self.text_parts(&self.said, "finished"));
        if !self.answer.images.is_empty() {
            parts.push(self.picture_part("finished"));
        }
        let mut frame = self.frame("text", "finished", Value::Array(parts));
        frame["stopReason"] = json!("stop");
        if matches!(self.end, End::Moderated(_)) {
            frame["canShare"] = json!(false);
        }
        let times = match (
            self.answer.quirk("no_finished"),
            self.answer.quirk("repeat_finished"),
        ) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        for _ in 0..times {
            let line = self.line(&frame);
            self.queue.push_back(Act::send(line));
        }
        if !self.answer.quirk("no_done") {
            self.queue.push_back(Act::send("data: [DONE]\n\n"));
        }
    }

    fn frame(&self, content_type: &str, status: &str, contents: Value) -> Value {
        let mut frame = json!({
            "contentFrom": "text", "contentType": content_type, "contents": contents, "incremental": false,
            "msgId": self.ids.msg, "msgStatus": status, "sessionId": self.ids.session,
        });
        // Answers with thoughts were recorded without the key; absent is not false (§7.2).
        if self.answer.reasoning.is_empty() {
            frame["canShare"] = json!(true);
        }
        frame
    }

    /// One event; the space after `data:` comes and goes (§7.1).
    fn line(&mut self, frame: &Value) -> String {
        self.frames += 1;
        let space = if self.frames.is_multiple_of(3) && !self.answer.quirk("clean") {
            ""
        } else {
            " "
        };
        format!("data:{space}{frame}\n\n")
    }

    fn part(
        &self,
        kind: &str,
        number: usize,
        content: &str,
        status: &str,
        incremental: bool,
    ) -> Value {
        let mut part =
            json!({"content": content, "contentType": kind, "role": "assistant", "status": status});
        if !self.answer.quirk("no_ids") {
            part["id"] = json!(format!("{}_{number}", self.ids.msg));
        }
        // The key may be missing; the finished frame of an incremental answer is whole again.
        if incremental || self.answer.quirk("incremental") {
            part["incremental"] = json!(incremental);
        }
        part
    }

    fn think_part(&self, content: &str, status: &str, incremental: bool) -> Value {
        if self.answer.quirk("think_raw") {
            return self.part("think", 1, content, status, incremental);
        }
        self.part(
            "think",
            1,
            &json!({"content": content}).to_string(),
            status,
            incremental,
        )
    }

    fn text_parts(&self, said: &[String; 2], status: &str) -> Vec<Value> {
        let parts = said.iter().enumerate().filter(|(_, text)| !text.is_empty());
        parts
            .map(|(at, text)| self.part("text", 2 + at, text, status, false))
            .collect()
    }

    fn picture_part(&self, status: &str) -> Value {
        let pictures: Vec<_> = self
            .answer
            .images
            .iter()
            .map(|url| format!("![]({url})"))
            .collect();
        self.part("text2image", 4, &pictures.join("\n"), status, false)
    }

    fn plugin(&self, status: &str) -> Value {
        let page = |at: usize, url: &str, title: &str| json!({"url": url, "title": title, "body": "…", "time": "2026-01-07", "host_name": format!("站点{at}"), "host_logo": ""});
        let mut pages = Vec::new();
        if status == "finished" {
            let found = self.answer.citations.iter().enumerate();
            pages.extend(found.map(|(at, citation)| page(at, &citation.url, &citation.title)));
            // Pages whose link has run out are listed like this and mean nothing (§7.2).
            pages.push(page(pages.len(), "expired_url", "过期"));
        }
        let list = Value::Array(pages).to_string();
        let mut part = self.part(
            "plugin",
            0,
            &json!({"pluginResult": list}).to_string(),
            status,
            false,
        );
        part["pluginCode"] = json!("tongyi_nlp_web_search");
        part["pluginName"] = json!("互联网信息搜索");
        part
    }

    fn links(&self) -> Value {
        let links: Vec<_> = self
            .answer
            .citations
            .iter()
            .map(|page| json!({"url": page.url, "title": page.title}))
            .collect();
        self.part(
            "referenceLink",
            9,
            &json!({"links": links}).to_string(),
            "finished",
            false,
        )
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
