//! The answer of Chat: events that change one message, an envelope each. Source: wire/kimi.md §5.3, §6.

use serde_json::{Value, json};

use super::{
    ask::Ask,
    chats::Ids,
    envelope::{self, END, MESSAGE},
    marks::{self, MARK, marked},
    refusal::Error,
};
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
    script::Citation,
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "degraded",                // a notification that the model is a lesser one
    "dollar_tool",             // the search is called `$web_search`
    "flagged_answer",          // text whose flags say that it is the answer
    "flagged_thinking",        // thoughts as text whose flags say so
    "heartbeats",              // one before every piece
    "no_done",                 // a completed status and a trailer, and no `done`
    "no_mask",                 // text events without their mask
    "no_trailer",              // the stream ends after `done`
    "old_marks",               // `[^1^]` in the text, which stays
    "refs_again",              // the sources once more, with the message
    "set_again",               // a block of text is set again and extends itself
    "think_summary",           // thoughts carry a summary, which is none
    "title",                   // the chat gets a name
    "together",                // two envelopes a write
    "trailer_metadata",        // a trailer that holds something
    "tool_section",            // the site's own tool call leaks into the text, cut between events
    "tool_section_unfinished", // the same at the end, and it never ends
    "two_blocks",              // the text comes in two blocks
    "two_masks",               // a mask that names two fields
    "unfinished_mark",         // a citation mark that never ends
    "unknown_events",          // events that mean nothing
    "web_pages",               // the sources in the form of 2025
];

/// Why an answer stops before its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stop {
    Error(Error, u8),
    /// An exception in the message: reason and words. The end looks normal.
    Exception(&'static str, &'static str),
    Filtered,
    Empty,
    CutOff,
    /// Bytes that break the framing.
    Raw(&'static [u8]),
    Garbage,
}

const TIME: &str = "2026-01-01T00:00:00Z";

/// The acts of an answer.
pub(super) fn acts(answer: &Answer, ask: &Ask, ids: &Ids, stop: Option<(usize, Stop)>) -> Acts {
    if let Some((_, Stop::Garbage)) = stop {
        let acts = [Act::send("{\"message\":\"not an envelope\"}"), Act::Done];
        return Box::new(acts.into_iter());
    }
    let mut events = Events {
        answer,
        ids,
        acts: Vec::new(),
        offset: 0,
    };
    events.opening(ask);
    let pieces = match stop {
        Some((pieces, _)) => pieces,
        None => usize::MAX,
    };
    if pieces > 0 {
        events.thoughts();
        events.sources();
        events.text(pieces);
    }
    events.acts.push(Act::Done);
    events.closing(stop.map(|(_, stop)| stop));
    let acts = if answer.quirk("together") {
        envelope::together(events.acts)
    } else {
        events.acts
    };
    answer.travel(Box::new(acts.into_iter()))
}

struct Events<'a> {
    answer: &'a Answer,
    ids: &'a Ids,
    acts: Vec<Act>,
    offset: u32,
}

impl Events<'_> {
    fn message(&mut self, payload: &str) {
        let envelope = envelope::encode(MESSAGE, payload);
        self.acts.push(Act::Send(envelope));
    }

    fn event(&mut self, op: &str, mask: &str, payload: &str) {
        let event = self.written(op, mask, payload);
        self.message(&event);
    }

    fn say(&mut self, op: &str, mask: &str, payload: &str) {
        if self.answer.quirk("heartbeats") {
            let offset = self.offset;
            self.message(&format!(r#"{{"eventOffset":{offset},"heartbeat":{{}}}}"#));
        }
        let event = self.written(op, mask, payload);
        let act = Act::Say(envelope::encode(MESSAGE, &event));
        self.acts.extend(Answer::paced(self.answer.pace, act));
    }

    /// An event as it is written; the member order is that of sample A.
    fn written(&mut self, op: &str, mask: &str, payload: &str) -> String {
        self.offset += 1;
        let offset = self.offset;
        let mask = match mask {
            "" => String::new(),
            mask if mask.starts_with("block.text") && self.answer.quirk("no_mask") => String::new(),
            mask => format!(r#""mask":"{mask}","#),
        };
        format!(r#"{{"op":"{op}",{mask}"eventOffset":{offset},{payload}}}"#)
    }

    /// The chat, the echo of a new chat's question, and the empty answer.
    fn opening(&mut self, ask: &Ask) {
        self.message(r#"{"heartbeat":{}}"#);
        let Ids {
            chat,
            user,
            assistant,
        } = self.ids;
        let scenario = &ask.scenario;
        if ask.goes_on.is_some() {
            let (thinking, tools) = (ask.thinking, &ask.tools);
            let chat = format!(
                r#""chat":{{"id":"{chat}","lastRequest":{{"options":{{"thinking":{thinking}}},"tools":{tools},"scenario":"{scenario}"}}}}"#
            );
            self.event("set", "chat.lastRequest", &chat);
        } else {
            let chat = format!(
                r#""chat":{{"id":"{chat}","name":"未命名会话","createTime":"{TIME}","updateTime":"{TIME}"}}"#
            );
            self.event("set", "", &chat);
            let prompt = Value::from(ask.prompt.as_str());
            let echo = format!(
                r#""message":{{"id":"{user}","role":"user","status":"MESSAGE_STATUS_COMPLETED","blocks":[{{"id":"text_0_0","text":{{"content":{prompt}}}}}],"scenario":"{scenario}"}}"#
            );
            self.event("set", "message", &echo);
        }
        let message = format!(
            r#""message":{{"id":"{assistant}","parentId":"{user}","role":"assistant","status":"MESSAGE_STATUS_GENERATING","scenario":"{scenario}"}}"#
        );
        self.event("set", "message", &message);
        if self.answer.quirk("title") {
            let chat = json!({"id": chat, "name": "这是标题，不是文字"});
            self.event("set", "chat.name", &format!(r#""chat":{chat}"#));
        }
        if self.answer.quirk("degraded") {
            let note = r#""notification":{"type":"TYPE_MODEL_DEGRADE","message":"高峰期"}"#;
            self.event("set", "notification", note);
        }
        if self.answer.quirk("unknown_events") {
            self.event(
                "merge",
                "block.sim",
                r#""block":{"id":"99","sim":{"content":"x"}}"#,
            );
            self.message(r#"{"simEvent":{"content":"x"}}"#);
        }
    }

    fn stage(&mut self, status: &str) {
        let message = &self.ids.assistant;
        let block = format!(
            r#""block":{{"id":"1","parentId":"","messageId":"{message}","multiStage":{{"stages":[{{"name":"STAGE_NAME_THINKING","status":"STAGE_STATUS_{status}"}}]}}}}"#
        );
        self.event("set", "block.multiStage", &block);
    }

    fn thoughts(&mut self) {
        if self.answer.reasoning.is_empty() {
            return;
        }
        self.stage("START");
        for (at, piece) in self.answer.reasoning.iter().enumerate() {
            let content = Value::from(piece.as_str());
            let op = if at == 0 { "set" } else { "append" };
            if self.answer.quirk("flagged_thinking") {
                let block = format!(
                    r#""block":{{"id":"3","parentId":"2","text":{{"content":{content},"flags":"thinking"}}}}"#
                );
                let mask = if at == 0 {
                    "block.text"
                } else {
                    "block.text.content"
                };
                self.say(op, mask, &block);
                continue;
            }
            let summary = match self.answer.quirk("think_summary") {
                true => r#","summary":"a summary is no thought""#,
                false => "",
            };
            let block = format!(
                r#""block":{{"id":"3","parentId":"2","think":{{"content":{content}{summary}}}}}"#
            );
            let mask = if at == 0 {
                "block.think"
            } else {
                "block.think.content"
            };
            self.say(op, mask, &block);
        }
        self.stage("END");
    }

    /// The search, as a tool that the service calls itself.
    fn sources(&mut self) {
        if self.answer.citations.is_empty() {
            return;
        }
        if self.answer.quirk("web_pages") {
            let page = |page: &Citation| {
                json!({
                    "title": page.title, "url": page.url, "siteName": site(&page.url), "iconUrl": "", "snippet": "…",
                    "publishTime": TIME,
                })
            };
            let pages: Vec<_> = self.answer.citations.iter().map(page).collect();
            let block = json!({"id": "4", "search": {"webPages": pages}});
            self.event(
                "set",
                "block.search.webPages",
                &format!(r#""block":{block}"#),
            );
            return;
        }
        let name = if self.answer.quirk("dollar_tool") {
            "$web_search"
        } else {
            "web_search"
        };
        let tool = format!(
            r#""block":{{"id":"4","parentId":"","tool":{{"toolCallId":"t","name":"{name}","status":"STATUS_PENDING"}}}}"#
        );
        self.event("set", "block.tool", &tool);
        let arguments = r#""block":{"id":"4","tool":{"args":"{\"queries\":[\"x\"]}"}}"#;
        self.event("append", "block.tool.args", arguments);
        let results = self.results();
        let contents = json!({"id": "4", "tool": {"contents": results, "status": "STATUS_DONE"}});
        let mask = match self.answer.quirk("two_masks") {
            true => "block.tool.contents,block.tool.status",
            false => "block.tool.contents",
        };
        self.event("set", mask, &format!(r#""block":{contents}"#));
        if self.answer.quirk("refs_again") {
            let chunks: Vec<_> = results
                .iter()
                .filter_map(|result| result.get("searchResult").cloned())
                .collect();
            let message = json!({"id": self.ids.assistant, "refs": {"searchChunks": chunks}});
            self.event(
                "set",
                "message.refs.searchChunks",
                &format!(r#""message":{message}"#),
            );
        }
    }

    fn results(&self) -> Vec<Value> {
        let found = self.answer.citations.iter().enumerate();
        let result = |(at, page): (usize, &Citation)| {
            json!({"searchResult": {
                "id": format!("r{at}"), "refIndex": marks::reference(at), "base": {
                    "title": page.title, "url": page.url, "siteName": site(&page.url), "iconUrl": "", "snippet": "…",
                    "publishTime": TIME,
                },
            }})
        };
        found.map(result).collect()
    }

    /// The text with its marks, in one block or two.
    fn text(&mut self, pieces: usize) {
        let mut text = marked(self.answer);
        text.truncate(pieces);
        if self.answer.quirk("tool_section") {
            // The marker is cut between two events.
            let at = text.len() / 2;
            text.splice(at..at, marks::TOOL_SECTION.map(ToOwned::to_owned));
        }
        if self.answer.quirk("tool_section_unfinished") {
            text.extend(
                marks::TOOL_SECTION
                    .iter()
                    .take(3)
                    .map(|piece| (*piece).to_owned()),
            );
        }
        if self.answer.quirk("unfinished_mark") {
            text.push(format!("{MARK}ci"));
        }
        let later = !self.answer.reasoning.is_empty() || !self.answer.citations.is_empty();
        let first = if later { 5 } else { 1 };
        // A mark is never spread over two blocks, so the second one starts at the end.
        let second = if self.answer.quirk("two_blocks") {
            text.len().saturating_sub(self.answer.text.len() / 2)
        } else {
            usize::MAX
        };
        let mut said = String::new();
        for (at, piece) in text.iter().enumerate() {
            let id = first + u32::from(at >= second);
            let opens = at == 0 || at == second;
            if opens {
                said.clear();
            }
            said.push_str(piece);
            let again = !opens && at == text.len() / 2 && self.answer.quirk("set_again");
            let content = Value::from(if again { said.as_str() } else { piece });
            let flags = match self.answer.quirk("flagged_answer") {
                true => r#","flags":"answer""#,
                false => "",
            };
            let head =
                format!(r#""id":"{id}","parentId":"","text":{{"content":{content}{flags}}}"#);
            if opens || again {
                let block = format!(r#""block":{{{head},"createTime":"{TIME}"}}"#);
                self.say("set", "block.text", &block);
            } else {
                let block = format!(r#""block":{{{head}}}"#);
                self.say("append", "block.text.content", &block);
            }
        }
    }

    fn closing(&mut self, stop: Option<Stop>) {
        match stop {
            Some(Stop::Error(error, flags)) => return self.acts.push(error.envelope(flags)),
            Some(Stop::CutOff | Stop::Garbage) => return,
            Some(Stop::Raw(bytes)) => return self.acts.push(Act::Send(bytes.into())),
            Some(Stop::Exception(reason, words)) => {
                let words = json!({"locale": "zh-CN", "message": words});
                let error =
                    json!({"reason": reason, "localizedMessage": words, "severity": "ERROR"});
                let block = json!({"id": "8", "exception": {"error": error}});
                self.event("set", "block.exception", &format!(r#""block":{block}"#));
            }
            Some(Stop::Filtered) => {
                let note =
                    r#""notification":{"type":"TYPE_CONTENT_FILTER","message":"内容不合规"}"#;
                self.event("set", "notification", note);
            }
            Some(Stop::Empty) | None => {}
        }
        let message = &self.ids.assistant;
        let status =
            format!(r#""message":{{"id":"{message}","status":"MESSAGE_STATUS_COMPLETED"}}"#);
        self.event("set", "message.status", &status);
        if !self.answer.quirk("no_done") {
            self.offset += 1;
            let offset = self.offset;
            self.message(&format!(r#"{{"eventOffset":{offset},"done":{{}}}}"#));
        }
        let trailer = if self.answer.quirk("trailer_metadata") {
            r#"{"metadata":{"x-sim":["1"]}}"#
        } else {
            "{}"
        };
        if !self.answer.quirk("no_trailer") {
            let end = envelope::encode(END, trailer);
            self.acts.push(Act::Send(end));
        }
    }
}

fn site(url: &str) -> &str {
    url.split('/').nth(2).unwrap_or_default()
}
