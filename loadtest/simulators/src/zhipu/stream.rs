//! The answer of `POST …/assistant/stream`. Source: wire/zhipu.md §6.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::refusal;
use crate::{Reply, prompt::Answer, reply::Act, script::Citation};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "code",             // a program after the text, and what it prints
    "crlf",             // lines end in CRLF
    "cumulative",       // frames repeat the text so far
    "done",             // `data: [DONE]` at the end
    "finish_only",      // the text is only in the finish frame
    "increments",       // frames carry what is new
    "item_status",      // the item is finished, not its part
    "late_think",       // the last thought comes after text
    "markdown_picture", // pictures only as Markdown in a finished text
    "markers",          // 【1†source】 at the end of the text
    "metadata_list",    // citations in the older place
    "no_part_finish",   // only the last frame is finished, its parts are not
    "repeat_last",      // the last frame comes twice
    "rewritten",        // the finish frames say something else
    "think_in_text",    // thoughts under the key of texts
    "two_parts",        // the text comes in two parts
    "unchanged_parts",  // frames list the parts that are over, too
    "unflagged",        // no frame says whether it is an increment
    "unknown_items",    // items that mean nothing
    "whole",            // a JSON body instead of a stream
];

pub(super) const INTERVENED: &str = "这个话题我们换一个吧。";
const TIME: &str = "2026-03-01 10:24:59";
const MARKERS: &str = "【1†source】【2†来源】";
const REWRITTEN: &str = "改写：";
const PROGRAM: [&str; 2] = ["print(", "6*7)"];
/// The order in which four pictures were seen.
const SHUFFLED: [usize; 4] = [0, 3, 1, 2];

/// How the answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    /// Nothing was said, and it is finished.
    Empty,
    /// This is said instead.
    Saying(&'static str),
    /// Moderation stops it after this many pieces of text.
    Moderated(usize),
    /// A frame that is not JSON, after this many pieces.
    Bad(usize),
    /// A clean end of the body, after this many pieces.
    CutOff(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) conversation: String,
    pub(super) message: String,
    pub(super) assistant: String,
}

/// Whether a frame's text is what is new, or all of it so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Cumulative,
    Increments,
}

/// ```text
/// Opening -> Search -> Thinking(0..) -> Text(0..) -> Code -> Pictures -> Finale -> Over
/// ```
#[derive(Debug)]
enum Stage {
    Opening,
    Search,
    Thinking(usize),
    Text(usize),
    Code,
    Pictures,
    Finale,
    Over,
}

/// The frames of one answer, made as they are needed.
#[derive(Debug)]
pub(super) struct Frames {
    ids: Ids,
    tag: &'static str,
    answer: Answer,
    form: Form,
    end: End,
    stage: Stage,
    queue: VecDeque<Act>,
    thought: String,
    /// The text so far, in the one or two parts that it comes in.
    said: [String; 2],
    /// The parts around the text that are finished, as they stand in the last frames.
    before: Vec<String>,
    after: Vec<String>,
}

impl Frames {
    pub(super) fn new(
        ids: Ids,
        tag: &'static str,
        mut answer: Answer,
        form: Form,
        end: End,
    ) -> Self {
        let form = match () {
            () if answer.quirk("cumulative") => Form::Cumulative,
            () if answer.quirk("increments") => Form::Increments,
            () => form,
        };
        match end {
            End::Moderated(pieces) | End::Bad(pieces) | End::CutOff(pieces) => {
                answer.text.truncate(pieces);
            }
            End::Empty => answer.text.clear(),
            End::Saying(text) => answer.text = vec![text.to_owned()],
            End::Finished => {}
        }
        if end != End::Finished {
            answer.images.clear();
            answer.citations.clear();
        }
        if matches!(end, End::Empty | End::Moderated(0)) {
            answer.reasoning.clear();
        }
        if end == End::Finished && answer.quirk("markers") {
            answer.text.push(MARKERS.to_owned());
        }
        Self {
            ids,
            tag,
            answer,
            form,
            end,
            stage: Stage::Opening,
            queue: VecDeque::new(),
            thought: String::new(),
            said: Default::default(),
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    /// The answer as one JSON body: the odd whole answer (§6.1).
    pub(super) fn whole(mut self) -> Reply {
        self.thought = self.answer.reasoning.concat();
        self.said[0] = self.answer.text.concat();
        let parts = self.parts("finish");
        let body = self.frame(&parts, "finish", "{}", false);
        Reply::new(200, "application/json", body)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.answer.quirk("whole") && self.end == End::Finished
    }

    fn advance(&mut self) -> Option<()> {
        self.stage = match self.stage {
            Stage::Opening => {
                self.push(Act::send, "", "init", "{}");
                if self.answer.quirk("unknown_items") {
                    let items = r#"{"type":"one_to_more_finish"},{"type":"system_error","content":"x"},{"type":"sim_new","sim":[1]},{"type":"tool_calls","tool_calls":{}}"#;
                    let part = self.part("LX", "assistant", items, "{}", "init");
                    self.push(Act::send, &part, "init", "{}");
                }
                Stage::Search
            }
            Stage::Search => {
                self.search();
                Stage::Thinking(0)
            }
            Stage::Thinking(at) if at < self.early_thoughts() => {
                self.think(at);
                Stage::Thinking(at + 1)
            }
            Stage::Thinking(_) => Stage::Text(0),
            Stage::Text(at) if at < self.answer.text.len() => {
                self.say(at);
                if at == 0 {
                    (self.early_thoughts()..self.answer.reasoning.len())
                        .for_each(|at| self.think(at));
                }
                Stage::Text(at + 1)
            }
            Stage::Text(_) => Stage::Code,
            Stage::Code => {
                self.code();
                Stage::Pictures
            }
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

    /// How many thoughts come before the text.
    fn early_thoughts(&self) -> usize {
        let late = self.answer.quirk("late_think") && !self.answer.text.is_empty();
        let all = self.answer.reasoning.len();
        all.saturating_sub(usize::from(late))
    }

    /// The call of the search tool, and the pages that it has found.
    fn search(&mut self) {
        if self.answer.citations.is_empty() {
            return;
        }
        let call = r#"{"type":"tool_calls","tool_calls":{"name":"search","arguments":"{\"search_query\":[{\"q\":\"sim\"}]}"}}"#;
        let call = self.part("LT", "assistant", call, "{}", "finish");
        self.push_paced(Act::send, &call);
        let result = r#"{"type":"quote_result","tool_calls":{}}"#;
        let empty = self.part("LQ", "tool", result, "{}", "init");
        self.push_paced(Act::send, &empty);
        let older = self.answer.quirk("metadata_list") || self.form == Form::Cumulative;
        let meta = pages(&self.answer.citations, older);
        let full = self.part("LQ", "tool", result, &meta, "finish");
        self.push_paced(Act::send, &full);
        self.before.extend([call, full]);
    }

    fn think(&mut self, at: usize) {
        let Some(piece) = self.answer.reasoning.get(at).cloned() else {
            return;
        };
        self.thought.push_str(&piece);
        if self.answer.quirk("finish_only") {
            return;
        }
        let part = match self.form {
            Form::Increments => {
                let item = self.thought_item(&piece, "init");
                self.part("L1", "assistant", &item, "{}", "init")
            }
            Form::Cumulative => self.parts("init"),
        };
        self.push_paced(Act::say, &part);
    }

    fn say(&mut self, at: usize) {
        let Some(piece) = self.answer.text.get(at).cloned() else {
            return;
        };
        let second = self.answer.quirk("two_parts") && at >= self.answer.text.len() / 2;
        if let Some(said) = self.said.get_mut(usize::from(second)) {
            said.push_str(&piece);
        }
        if self.answer.quirk("finish_only") {
            return;
        }
        let parts = match self.form {
            Form::Increments => {
                let item = self.text_item(&piece, "init");
                let logic = if second { "L2" } else { "L1" };
                let part = self.part(logic, "assistant", &item, "{}", "init");
                match self.answer.quirk("unchanged_parts") && !self.before.is_empty() {
                    true => format!("{},{part}", self.before.join(",")),
                    false => part,
                }
            }
            Form::Cumulative => self.parts("init"),
        };
        self.push_paced(Act::say, &parts);
    }

    fn code(&mut self) {
        if !self.answer.quirk("code") || self.end != End::Finished {
            return;
        }
        let item = |code: &str| format!(r#"{{"type":"code","code":{}}}"#, json!(code));
        let mut so_far = String::new();
        for piece in PROGRAM {
            so_far.push_str(piece);
            let shown = match self.form {
                Form::Increments => piece,
                Form::Cumulative => &so_far,
            };
            let part = self.part("L3", "assistant", &item(shown), "{}", "init");
            self.push_paced(Act::say, &part);
        }
        let code = self.part("L3", "assistant", &item(&so_far), "{}", "finish");
        let output = r#"{"type":"execution_output","content":"42"}"#;
        let output = self.part("L4", "tool", output, "{}", "finish");
        let parts = format!("{code},{output}");
        self.push_paced(Act::say, &parts);
        self.after.extend([code, output]);
    }

    fn pictures(&mut self) {
        if self.answer.images.is_empty() {
            return;
        }
        if self.answer.quirk("markdown_picture") {
            let links = self.answer.images.iter();
            let links: String = links.map(|url| format!("(![图]({url}))")).collect();
            let item = format!(r#"{{"type":"text","text":{}}}"#, json!(links));
            let part = self.part("L5", "assistant", &item, "{}", "finish");
            self.push_paced(Act::say, &part);
            self.after.push(part);
            return;
        }
        let waiting =
            r#"{"type":"image","image":[{"image_url":"","file_id":"","order":0}],"code":""}"#;
        let waiting = self.part("L5", "assistant", waiting, "{}", "init");
        self.push_paced(Act::send, &waiting);
        let one = |order: usize, url: &String| json!({"image_url": url, "file_id": format!("sim-{order}"), "width": 1024, "height": 1024, "order": order});
        let mut images: Vec<_> = self
            .answer
            .images
            .iter()
            .enumerate()
            .map(|(order, url)| one(order, url))
            .collect();
        if images.len() == SHUFFLED.len() {
            images = SHUFFLED
                .iter()
                .filter_map(|at| images.get(*at).cloned())
                .collect();
        }
        let item = format!(
            r#"{{"type":"image","image":{},"code":"a picture, as the painter understood it"}}"#,
            Value::Array(images)
        );
        let part = self.part("L5", "assistant", &item, "{}", "finish");
        self.push_paced(Act::say, &part);
        self.after.push(part);
    }

    /// The frame whose parts are finished, and the one that is itself.
    fn finale(&mut self) {
        match self.end {
            End::Bad(_) => {
                self.queue.push_back(Act::Done);
                return self
                    .queue
                    .push_back(Act::send("event: message\ndata: {\"id\":\"68\n\n"));
            }
            End::CutOff(_) => return self.queue.push_back(Act::Done),
            End::Moderated(_) => {
                self.queue.push_back(Act::Done);
                let parts = self.parts("intervene");
                let error = json!({"intervene_text": INTERVENED}).to_string();
                return self.push(Act::send, &parts, "intervene", &error);
            }
            End::Finished | End::Empty | End::Saying(_) => {}
        }
        if self.end == End::Finished && self.answer.quirk("rewritten") {
            self.said[0].insert_str(0, REWRITTEN);
        }
        let status = if self.answer.quirk("no_part_finish") {
            "init"
        } else {
            "finish"
        };
        let parts = self.parts(status);
        if self.answer.quirk("finish_only") && !parts.is_empty() {
            self.push(Act::say, &parts, "init", "{}");
            self.queue.push_back(Act::Done);
        } else {
            self.queue.push_back(Act::Done);
            // While the flag says increment, an unfinished part would be one.
            if !parts.is_empty() && status == "finish" {
                self.push(Act::send, &parts, "init", "{}");
            }
        }
        let times = if self.answer.quirk("repeat_last") {
            2
        } else {
            1
        };
        for _ in 0..times {
            self.push(Act::send, &parts, "finish", "{}");
        }
        if self.answer.quirk("done") {
            self.queue.push_back(Act::send("data: [DONE]\n\n"));
        }
    }

    /// All parts that there are, with the text so far.
    fn parts(&self, status: &str) -> String {
        let mut parts = self.before.clone();
        let mut items = Vec::new();
        if !self.thought.is_empty() {
            items.push(self.thought_item(&self.thought, status));
        }
        let [first, second] = &self.said;
        if !first.is_empty() {
            items.push(self.text_item(first, status));
        }
        // §6.3: the part may be unfinished though its items are not.
        let part_status = match self.answer.quirk("item_status") && status == "finish" {
            true => "init",
            false => status,
        };
        if !items.is_empty() {
            parts.push(self.part("L1", "assistant", &items.join(","), "{}", part_status));
        }
        if !second.is_empty() {
            let item = self.text_item(second, status);
            parts.push(self.part("L2", "assistant", &item, "{}", part_status));
        }
        parts.extend(self.after.iter().cloned());
        parts.join(",")
    }

    fn thought_item(&self, thought: &str, status: &str) -> String {
        let key = if self.answer.quirk("think_in_text") {
            "text"
        } else {
            "think"
        };
        let status = self.item_status(status);
        format!(r#"{{"type":"think","{key}":{}{status}}}"#, json!(thought))
    }

    fn text_item(&self, text: &str, status: &str) -> String {
        let status = self.item_status(status);
        format!(r#"{{"type":"text","text":{}{status}}}"#, json!(text))
    }

    fn item_status(&self, status: &str) -> String {
        if self.answer.quirk("item_status") {
            format!(r#","status":"{status}""#)
        } else {
            String::new()
        }
    }

    fn part(&self, logic: &str, role: &str, items: &str, meta: &str, status: &str) -> String {
        format!(
            r#"{{"id":"{}","logic_id":"{logic}","role":"{role}","content":[{items}],"model":"{}","recipient":"all","created_at":"{TIME}","meta_data":{meta},"status":"{status}"}}"#,
            self.ids.message, self.tag
        )
    }

    /// The member order is that of the samples (§6.4).
    fn frame(&self, parts: &str, status: &str, error: &str, increment: bool) -> String {
        let flag = if self.answer.quirk("unflagged") {
            String::new()
        } else {
            format!(r#","if_increase_push":{increment}"#)
        };
        format!(
            r#"{{"id":"{}","conversation_id":"{}","assistant_id":"{}","parts":[{parts}],"created_at":"{TIME}","status":"{status}","last_error":{error},"meta_data":{{"input_question_type":"xxxx","if_plus_model":false,"plus_model_available":true{flag}}}}}"#,
            self.ids.message, self.ids.conversation, self.ids.assistant
        )
    }

    fn push_paced(&mut self, act: fn(String) -> Act, parts: &str) {
        let act = act(self.event(parts, "init", "{}"));
        self.queue.extend(Answer::paced(self.answer.pace, act));
    }

    fn push(&mut self, act: fn(String) -> Act, parts: &str, status: &str, error: &str) {
        let act = act(self.event(parts, status, error));
        self.queue.push_back(act);
    }

    fn event(&self, parts: &str, status: &str, error: &str) -> String {
        let increment = self.form == Form::Increments && status == "init";
        let frame = self.frame(parts, status, error, increment);
        if self.answer.quirk("crlf") {
            format!("event: message\r\ndata: {frame}\r\n\r\n")
        } else {
            format!("event: message\ndata: {frame}\n\n")
        }
    }
}

/// The meta data of a part that has found pages: the older place, or today's.
fn pages(citations: &[Citation], older: bool) -> String {
    if older {
        let list = citations
            .iter()
            .map(|page| json!({"title": page.title, "url": page.url}));
        return json!({"metadata_list": list.collect::<Vec<_>>()}).to_string();
    }
    let list = citations.iter().map(
        |page| json!({"url": page.url, "title": page.title, "snippet": "…", "host_name": "示例"}),
    );
    json!({"tool_result_extra": {"search_results": list.collect::<Vec<_>>()}}).to_string()
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

/// The frames as a reply.
pub(super) fn reply(frames: Frames) -> Reply {
    if frames.is_whole() {
        return frames.whole();
    }
    let answer = frames.answer.clone();
    Reply::stream(refusal::EVENT_STREAM, answer.travel(Box::new(frames)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Ids {
        Ids {
            conversation: "68084f7b0000000000000001".to_owned(),
            message: "68084f7b0000000000000002".to_owned(),
            assistant: "65940acff94777010aa6b796".to_owned(),
        }
    }

    fn played(answer: Answer, form: Form, end: End) -> Vec<String> {
        let sent = |act| match act {
            Act::Send(bytes) | Act::Say(bytes) => {
                // What §6.2 has and the samples leave out.
                let more = format!(r#""model":"moe_53f","recipient":"all","created_at":"{TIME}","#);
                Some(
                    String::from_utf8(bytes.to_vec())
                        .unwrap()
                        .replace(&more, ""),
                )
            }
            Act::Pause(_) | Act::Done | Act::Hang | Act::Break => None,
        };
        Frames::new(ids(), "moe_53f", answer, form, end)
            .filter_map(sent)
            .collect()
    }

    fn sample(pieces: &[&str]) -> Answer {
        let mut answer = Answer::saying("");
        answer.text = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        answer
    }

    fn frame(parts: &str, status: &str, error: &str, flag: &str) -> String {
        format!(
            r#"event: message
data: {{"id":"68084f7b0000000000000002","conversation_id":"68084f7b0000000000000001","assistant_id":"65940acff94777010aa6b796","parts":[{parts}],"created_at":"2026-03-01 10:24:59","status":"{status}","last_error":{error},"meta_data":{{"input_question_type":"xxxx","if_plus_model":false,"plus_model_available":true,"if_increase_push":{flag}}}}}

"#
        )
    }

    fn part(content: &str, status: &str) -> String {
        format!(
            r#"{{"id":"68084f7b0000000000000002","logic_id":"L1","role":"assistant","content":[{content}],"meta_data":{{}},"status":"{status}"}}"#
        )
    }

    /// Sample 1 (§6.4).
    #[test]
    fn increments_are_those_of_sample_1() {
        let mut answer = sample(&["1", ", ", "1", "2👋"]);
        answer.reasoning = vec!["想".to_owned(), "一想".to_owned()];
        let whole = part(
            r#"{"type":"think","think":"想一想"},{"type":"text","text":"1, 12👋"}"#,
            "finish",
        );
        let one = |item: &str| frame(&part(item, "init"), "init", "{}", "true");
        assert_eq!(
            played(answer, Form::Increments, End::Finished),
            [
                frame("", "init", "{}", "true"),
                one(r#"{"type":"think","think":"想"}"#),
                one(r#"{"type":"think","think":"一想"}"#),
                one(r#"{"type":"text","text":"1"}"#),
                one(r#"{"type":"text","text":", "}"#),
                one(r#"{"type":"text","text":"1"}"#),
                one(r#"{"type":"text","text":"2👋"}"#),
                frame(&whole, "init", "{}", "true"),
                frame(&whole, "finish", "{}", "false"),
            ]
        );
    }

    /// Sample 2 (§6.4): the same answer, repeated from its start in each frame.
    #[test]
    fn cumulative_frames_are_those_of_sample_2() {
        let mut answer = sample(&["1", ", 1", "2👋"]);
        answer.reasoning = vec!["想".to_owned(), "一想".to_owned()];
        let one = |items: &str, status: &str, frame_status: &str| {
            frame(&part(items, status), frame_status, "{}", "false")
        };
        let whole = r#"{"type":"think","think":"想一想"},{"type":"text","text":"1, 12👋"}"#;
        assert_eq!(
            played(answer, Form::Cumulative, End::Finished),
            [
                frame("", "init", "{}", "false"),
                one(r#"{"type":"think","think":"想"}"#, "init", "init"),
                one(r#"{"type":"think","think":"想一想"}"#, "init", "init"),
                one(
                    r#"{"type":"think","think":"想一想"},{"type":"text","text":"1"}"#,
                    "init",
                    "init"
                ),
                one(
                    r#"{"type":"think","think":"想一想"},{"type":"text","text":"1, 1"}"#,
                    "init",
                    "init"
                ),
                one(whole, "init", "init"),
                one(whole, "finish", "init"),
                one(whole, "finish", "finish"),
            ]
        );
    }

    /// Sample 3 (§6.4), but for its flag.
    #[test]
    fn moderation_is_that_of_sample_3() {
        let played = played(
            sample(&["我可以", "not this"]),
            Form::Cumulative,
            End::Moderated(1),
        );
        let text = r#"{"type":"text","text":"我可以"}"#;
        let error = r#"{"intervene_text":"这个话题我们换一个吧。"}"#;
        assert_eq!(
            played.get(1..).unwrap(),
            [
                frame(&part(text, "init"), "init", "{}", "false"),
                frame(&part(text, "intervene"), "intervene", error, "false"),
            ]
        );
    }
}
