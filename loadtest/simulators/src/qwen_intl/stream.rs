//! The answer of `POST /api/v2/chat/completions`. Source: wire/qwen_intl.md §7.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::refusal;
use crate::{Reply, prompt::Answer, reply::Act};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "crlf",         // lines end in CRLF
    "data_true",    // `data: true` at the end
    "done",         // `data: [DONE]` at the end
    "keep_alive",   // `response.info` between the pieces
    "no_created",   // no `response.created`; each frame has the id
    "no_finish",    // the body ends after the last piece
    "no_phase",     // pieces of the answer do not say their phase
    "older_search", // the pages of a search in the older place, without a phase
    "snapshots",    // pieces repeat the text so far: wrong, as they were asked for as increments
    "summary",      // thoughts as a summary
    "texts",        // the numbers of tokens are texts
    "unknown",      // frames and phases that mean nothing
];

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    /// Nothing was said, and it is finished.
    Empty,
    /// An error with this code, after this many pieces.
    Error(usize, &'static str),
    /// A clean end of the body, after this many pieces.
    CutOff(usize),
    /// The same within an event.
    CutInFrame(usize),
    /// The picture is not in the stream.
    Hidden,
}

/// What an answer is known by.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) chat: String,
    pub(super) response: String,
}

/// ```text
/// Opening -> Thinking(0..) -> Search -> Text(0..) -> Pictures -> Finale -> Over
/// ```
#[derive(Debug)]
enum Stage {
    Opening,
    Thinking(usize),
    Search,
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
    /// The picture that was asked for.
    picture: Option<String>,
    end: End,
    stage: Stage,
    queue: VecDeque<Act>,
    said: String,
    pieces: u64,
    /// Pieces repeat the text so far, as was asked.
    repeats: bool,
}

impl Frames {
    pub(super) fn new(ids: Ids, mut answer: Answer, picture: Option<String>, end: End) -> Self {
        match end {
            End::Error(pieces, _) | End::CutOff(pieces) | End::CutInFrame(pieces) => {
                answer.text.truncate(pieces);
            }
            End::Empty => {
                answer.text.clear();
                answer.reasoning.clear();
            }
            End::Finished | End::Hidden => {}
        }
        if picture.is_some() {
            answer.text.clear();
            answer.reasoning.clear();
            answer.images.clear();
            answer.citations.clear();
        }
        Self {
            ids,
            answer,
            picture,
            end,
            stage: Stage::Opening,
            queue: VecDeque::new(),
            said: String::new(),
            pieces: 0,
            repeats: false,
        }
    }

    pub(super) fn repeating(mut self, repeats: bool) -> Self {
        self.repeats = repeats || self.answer.quirk("snapshots");
        self
    }

    fn advance(&mut self) -> Option<()> {
        self.stage = match self.stage {
            Stage::Opening => {
                self.open();
                Stage::Thinking(0)
            }
            Stage::Thinking(at) if at < self.answer.reasoning.len() => {
                self.think(at);
                Stage::Thinking(at + 1)
            }
            Stage::Thinking(at) => {
                if at > 0 {
                    let frame = self.delta(self.thinks(), "", "finished", json!({}));
                    self.push(Act::send, &frame);
                }
                Stage::Search
            }
            Stage::Search => {
                self.search();
                Stage::Text(0)
            }
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

    fn open(&mut self) {
        let Ids { chat, response } = &self.ids;
        if !self.answer.quirk("no_created") {
            let created = json!({"response.created": {"chat_id": chat, "parent_id": "p0", "response_id": response, "response_index": "0"}});
            // A blank before the line end, as was seen.
            self.queue
                .push_back(Act::send(format!("data: {created} {}", self.gap())));
        }
        if self.answer.quirk("unknown") {
            let new = json!({"response.sim_new": {"x": [1]}});
            self.push(Act::send, &new);
            let frame = self.delta("slides", "not for you", "finished", json!({"slides": []}));
            self.push(Act::send, &frame);
            self.queue.push_back(Act::send(": comment\n\n"));
        }
        if self.picture.is_none() {
            let frame = self.delta(self.speaks(), "", "typing", json!({}));
            self.push(Act::send, &frame);
        }
    }

    fn thinks(&self) -> &'static str {
        match self.answer.quirk("summary") {
            true => "thinking_summary",
            false => "think",
        }
    }

    fn speaks(&self) -> &'static str {
        match self.answer.quirk("no_phase") {
            true => "",
            false => "answer",
        }
    }

    fn think(&mut self, at: usize) {
        let thoughts = self.answer.reasoning.get(..=at).unwrap_or_default();
        let frame = if self.answer.quirk("summary") {
            let titles: Vec<String> = (0..=at).map(|at| format!("Title {at}")).collect();
            let extra = json!({"summary_title": {"content": titles}, "summary_thought": {"content": thoughts}});
            self.delta("thinking_summary", "", "typing", extra)
        } else {
            let piece = thoughts.last().cloned().unwrap_or_default();
            self.delta("think", &piece, "typing", json!({}))
        };
        self.push_paced(Act::say, &frame);
    }

    fn search(&mut self) {
        if self.answer.citations.is_empty() {
            return;
        }
        let call = json!({"choices": [{"delta": {"role": "assistant", "content": "", "phase": "web_search", "status": "typing", "name": "web_search",
            "function_call": {"name": "web_search", "arguments": "{\"queries\": [\"sim\"]}"}}}], "response_id": self.ids.response});
        self.push_paced(Act::send, &call);
        let pages = self.answer.citations.iter();
        let pages: Vec<Value> = pages
            .map(|page| json!({"url": page.url, "title": page.title, "snippet": "…", "hostname": "example.com", "hostlogo": "", "date": ""}))
            .collect();
        let found = if self.answer.quirk("older_search") {
            json!({"choices": [{"delta": {"role": "function", "name": "web_search", "content": "", "extra": {"web_search_info": pages}, "status": "finished"}}]})
        } else {
            let mut found = self.delta(
                "web_search",
                "",
                "finished",
                json!({"tool_result": {"docs": pages}}),
            );
            if let Some(delta) = found.pointer_mut("/choices/0/delta") {
                delta["role"] = json!("function");
                delta["name"] = json!("web_search");
            }
            found
        };
        self.push_paced(Act::send, &found);
    }

    fn say(&mut self, at: usize) {
        let Some(piece) = self.answer.text.get(at).cloned() else {
            return;
        };
        self.said.push_str(&piece);
        self.pieces += 1;
        let content = match self.repeats {
            true => self.said.clone(),
            false => piece,
        };
        let frame = self.delta(self.speaks(), &content, "typing", json!({}));
        self.push_paced(Act::say, &frame);
        if self.answer.quirk("keep_alive") {
            self.push(
                Act::send,
                &json!({"response.info": {"action": "keep_alive"}}),
            );
        }
    }

    fn pictures(&mut self) {
        if !self.answer.images.is_empty() {
            let list = self.answer.images.iter();
            let list: Vec<Value> = list.map(|url| json!({"image": url})).collect();
            let frame = self.delta(self.speaks(), "", "typing", json!({"image_list": list}));
            // Once more, as cumulative lists are.
            self.push_paced(Act::say, &frame);
            self.push(Act::send, &frame);
        }
        if let (Some(url), false) = (self.picture.clone(), self.end == End::Hidden) {
            let extra = json!({"output_image_hw": [[1328, 1328]]});
            let frame = self.delta("image_gen", &url, "typing", extra);
            self.push_paced(Act::say, &frame);
        }
    }

    fn finale(&mut self) {
        match self.end {
            End::Error(_, code) => {
                let error = json!({"error": {"code": code, "details": "sim"}});
                // Nothing is under way any more.
                self.queue.push_back(Act::Done);
                self.push(Act::send, &error);
                return;
            }
            End::CutInFrame(_) => {
                self.queue.push_back(Act::Done);
                self.queue
                    .push_back(Act::send("data: {\"choices\": [{\"delta\": {\"con"));
                return;
            }
            End::CutOff(_) => {
                self.queue.push_back(Act::Done);
                return;
            }
            End::Finished | End::Empty | End::Hidden => {}
        }
        self.queue.push_back(Act::Done);
        if self.answer.quirk("no_finish") && self.end == End::Finished {
            return;
        }
        let phase = match self.picture {
            Some(_) => "image_gen",
            None => self.speaks(),
        };
        let frame = self.delta(phase, "", "finished", json!({}));
        self.push(Act::send, &frame);
        if self.answer.quirk("data_true") {
            self.push(Act::send, &json!(true));
        }
        if self.answer.quirk("done") {
            let gap = self.gap();
            self.queue
                .push_back(Act::send(format!("data: [DONE]{gap}")));
        }
    }

    /// A piece; the count of tokens comes from the second one on.
    fn delta(&self, phase: &str, content: &str, status: &str, extra: Value) -> Value {
        let mut delta = json!({"role": "assistant", "content": content, "status": status});
        if !phase.is_empty() {
            delta["phase"] = json!(phase);
        }
        if extra != json!({}) {
            delta["extra"] = extra;
        }
        let mut frame = json!({"choices": [{"delta": delta}], "response_id": self.ids.response});
        if self.pieces > 1 {
            let (input, output) = (10, self.pieces);
            frame["usage"] = match self.answer.quirk("texts") {
                true => {
                    json!({"input_tokens": input.to_string(), "output_tokens": output.to_string(), "total_tokens": (input + output).to_string()})
                }
                false => {
                    json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output,
                    "input_tokens_details": {"text_tokens": input}, "output_tokens_details": {"text_tokens": output, "reasoning_tokens": 0}})
                }
            };
        }
        frame
    }

    fn gap(&self) -> &'static str {
        match self.answer.quirk("crlf") {
            true => "\r\n\r\n",
            false => "\n\n",
        }
    }

    fn push(&mut self, act: impl Fn(String) -> Act, frame: &Value) {
        let gap = self.gap();
        self.queue.push_back(act(format!("data: {frame}{gap}")));
    }

    fn push_paced(&mut self, act: impl Fn(String) -> Act, frame: &Value) {
        let gap = self.gap();
        let act = act(format!("data: {frame}{gap}"));
        self.queue.extend(Answer::paced(self.answer.pace, act));
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

/// The frames as a reply; `done` runs when all is said. Whoever leaves before that leaves the chat at work (§9).
pub(super) fn reply(frames: Frames, done: impl FnOnce() + Send + 'static) -> Reply {
    let answer = frames.answer.clone();
    let mut done = Some(done);
    let acts = answer.travel(Box::new(frames)).inspect(move |act| {
        if *act == Act::Done
            && let Some(done) = done.take()
        {
            done();
        }
    });
    Reply::stream(refusal::EVENT_STREAM, Box::new(acts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(answer: Answer, picture: Option<String>) -> Vec<Value> {
        let ids = Ids {
            chat: "c1".to_owned(),
            response: "r1".to_owned(),
        };
        let sent = |act| match act {
            Act::Send(bytes) | Act::Say(bytes) => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let data = text.strip_prefix("data: ").unwrap().trim();
                Some(serde_json::from_str(data).unwrap())
            }
            Act::Pause(_) | Act::Done | Act::Hang | Act::Break => None,
        };
        Frames::new(ids, answer, picture, End::Finished)
            .filter_map(sent)
            .collect()
    }

    /// Sample A (§7.3), but for its numbers of tokens.
    #[test]
    fn frames_are_those_of_sample_a() {
        let mut answer = Answer::saying("");
        answer.text = ["Hello, ", "world!👋"].map(str::to_owned).to_vec();
        let mut frames = played(answer, None);
        for frame in &mut frames {
            frame.as_object_mut().unwrap().remove("usage");
        }
        let piece = |content: &str, status: &str| json!({"choices": [{"delta": {"role": "assistant", "content": content, "phase": "answer", "status": status}}], "response_id": "r1"});
        assert_eq!(
            frames,
            [
                json!({"response.created": {"chat_id": "c1", "parent_id": "p0", "response_id": "r1", "response_index": "0"}}),
                piece("", "typing"),
                piece("Hello, ", "typing"),
                piece("world!👋", "typing"),
                piece("", "finished"),
            ]
        );
    }

    /// The sample of §7.4.
    #[test]
    fn a_picture_is_that_of_the_sample() {
        let url = "https://cdn.qwenlm.ai/output/u/t2i/a.png?key=k";
        let frames = played(Answer::saying("x"), Some(url.to_owned()));
        let sample = json!({"choices": [{"delta": {"role": "assistant", "content": url, "phase": "image_gen", "status": "typing", "extra": {"output_image_hw": [[1328, 1328]]}}}], "response_id": "r1"});
        assert_eq!(frames[1], sample);
    }
}
