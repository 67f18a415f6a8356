//! The answers of both generations. Source: wire/metaso.md §6, §10.2.

use serde_json::json;

use crate::{
    prompt::Answer,
    reply::{Act, Acts},
    script::Citation,
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "badge",         // a badge at the very end of the text
    "blank",         // a blank after `data:`
    "comments",      // comment lines and fields of other names
    "crlf",          // lines end in CRLF
    "finish_reason", // chat: frames that say stop before the end
    "marks",         // `[[n]]` though the text was asked for to the letter
    "no_citations",  // no list, though there are marks
    "no_refer_id",   // chat: citations without their number
    "null_members",  // chat: members that are null
    "other_names",   // searchv2: references under other names
    "single_marks",  // `[n]` instead of `[[n]]`
    "two_lists",     // searchv2: a list, and what is added to it
    "unknown",       // frames that mean nothing
];

/// How the answer ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    /// The end, and no text.
    Empty,
    /// This record, after so many pieces, and nothing more.
    Record(usize, String),
    /// A clean end of the body, after so many pieces.
    CutOff(usize),
}

const BADGE: &str = "<span class=\"ai-badge\" style=\"x\">[AI生成]</span>";
const DATE: &str = "2025年01月02日";

/// The ids of a conversation and of its two messages.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) conversation: u64,
    pub(super) question: u64,
    pub(super) answer: u64,
    pub(super) result: String,
}

/// The pieces of the text with the marks of its sources, torn.
fn pieces(answer: &Answer, end: &End) -> Vec<String> {
    let marked = !answer.citations.is_empty() && (!answer.exact || answer.quirk("marks"));
    let mark = |n: usize| match answer.quirk("single_marks") {
        true => vec![format!("[{n}"), "]".to_owned()],
        false => vec!["[".to_owned(), format!("[{n}]"), "]".to_owned()],
    };
    let most = match end {
        End::Finished => usize::MAX,
        End::Empty => 0,
        End::Record(pieces, _) | End::CutOff(pieces) => *pieces,
    };
    let mut said = Vec::new();
    for (at, piece) in answer.text.iter().take(most).enumerate() {
        said.push(piece.clone());
        if marked && at == 1 && most == usize::MAX {
            said.extend(mark(1));
        }
    }
    if most == usize::MAX {
        if marked {
            said.extend(mark(answer.citations.len()));
        }
        if answer.quirk("badge") {
            said.push(BADGE.to_owned());
        }
    }
    said
}

/// Puts records on the wire.
struct Wire {
    start: &'static str,
    end: &'static str,
    comments: bool,
}

impl Wire {
    fn new(answer: &Answer) -> Self {
        Self {
            start: if answer.quirk("blank") {
                "data: "
            } else {
                "data:"
            },
            end: if answer.quirk("crlf") { "\r\n" } else { "\n" },
            comments: answer.quirk("comments"),
        }
    }

    fn record(&self, value: &str) -> String {
        let Self { start, end, .. } = self;
        match self.comments {
            true => format!(": sim{end}id: 7{end}{start}{value}{end}retry: 5{end}{end}"),
            false => format!("{start}{value}{end}{end}"),
        }
    }

    fn send(&self, value: &str) -> Act {
        Act::Send(self.record(value).into())
    }

    fn say(&self, value: &str) -> Act {
        Act::Say(self.record(value).into())
    }
}

/// The end of both streams.
fn closing(wire: &Wire, end: &End) -> Vec<Act> {
    match end {
        End::Finished | End::Empty => vec![wire.send("[DONE]")],
        End::Record(_, record) => vec![wire.send(record)],
        End::CutOff(_) => Vec::new(),
    }
}

fn paced(answer: &Answer, opening: Vec<Act>, body: Vec<Act>, end: Vec<Act>) -> Acts {
    let pace = answer.pace;
    let body = body
        .into_iter()
        .flat_map(move |act| Answer::paced(pace, act));
    Box::new(
        opening
            .into_iter()
            .chain(body)
            .chain([Act::Done])
            .chain(end),
    )
}

/// The chat generation (§10.2).
pub(super) fn chat(answer: &Answer, ids: &Ids, end: &End) -> Acts {
    let wire = Wire::new(answer);
    let init =
        |kind: &str, id: u64| wire.send(&format!(r#"{{"type":"{kind}","data":{{"id":"{id}"}}}}"#));
    let mut opening = vec![
        init("conversation_init", ids.conversation),
        init("user_message_init", ids.question),
        init("response_message_init", ids.answer),
        wire.send(r#"{"type":"heartbeat"}"#),
    ];
    let frame = |delta: &str| {
        let reason = match answer.quirk("finish_reason") {
            true => r#","finish_reason":"stop""#,
            false => "",
        };
        format!(
            r#"{{"id":"{}","object":"chat.completion.qa_with_agent","model":"metaso-qa-with-agent","choices":[{{"index":0,"delta":{{{delta}}}{reason}}}]}}"#,
            ids.result
        )
    };
    if answer.quirk("unknown") {
        opening.extend(
            [
                r#"{"type":"sim_new","data":[1]}"#,
                r#"{"choices":[]}"#,
                r#"{"choices":[{"index":0,"delta":{"highlights":[],"content":"","reasoning_content":null}}]}"#,
                "[]",
                "7",
            ]
            .map(|record| wire.send(record)),
        );
    }
    let more = match answer.quirk("null_members") {
        true => r#","citations":null,"highlights":null,"action":null"#,
        false => "",
    };
    let mut body = Vec::new();
    let says_nothing = matches!(end, End::Empty | End::Record(0, _));
    let thoughts = answer.reasoning.iter().enumerate();
    for (at, thought) in thoughts.filter(|_| !says_nothing) {
        let role = if at == 0 {
            r#""role":"assistant","#
        } else {
            ""
        };
        let action = r#","action":"search","action_status":"running""#;
        body.push(wire.say(&frame(&format!(
            r#"{role}"reasoning_content":{}{action}"#,
            json!(thought)
        ))));
    }
    for piece in pieces(answer, end) {
        body.push(wire.say(&frame(&format!(r#""content":{}{more}"#, json!(piece)))));
    }
    if *end == End::Finished && !answer.citations.is_empty() && !answer.quirk("no_citations") {
        let list: Vec<_> = answer
            .citations
            .iter()
            .enumerate()
            .map(|(at, page)| {
                let display = match answer.quirk("no_refer_id") {
                    true => String::new(),
                    false => format!(r#","display":{{"refer_id":{}}}"#, at + 1),
                };
                format!(
                    r#"{{"link":{},"title":{},"snippet":"s","date":"{DATE}"{display}}}"#,
                    json!(page.url),
                    json!(page.title)
                )
            })
            .collect();
        let count = list.len();
        body.push(wire.send(&frame(&format!(
            r#""citations":[{}],"total_cite_num":{count},"took":2.5"#,
            list.join(",")
        ))));
    }
    paced(answer, opening, body, closing(&wire, end))
}

/// The older generation (§6). `created`: the session that this call has opened.
pub(super) fn search(answer: &Answer, result: &str, created: Option<u64>, end: &End) -> Acts {
    let wire = Wire::new(answer);
    let mut opening = Vec::new();
    if let Some(id) = created {
        opening.push(wire.send(&format!(
            r#"{{"type":"session-created","data":{{"id":"{id}","groupId":"{id}"}}}}"#
        )));
    }
    opening.push(wire.send(&format!(
        r#"{{"type":"query","debugId":"{result}","data":["月相"]}}"#
    )));
    opening.push(wire.send(r#"{"type":"heartbeat"}"#));
    if answer.quirk("unknown") {
        opening.extend(
            [
                r#"{"type":"answer-link-num-highlights","data":{"1":[]}}"#,
                r#"{"type":"sim-new","text":"not this"}"#,
                "[SIM]",
            ]
            .map(|record| wire.send(record)),
        );
    }
    if *end != End::Empty && !answer.citations.is_empty() && !answer.quirk("no_citations") {
        let list: Vec<_> = answer
            .citations
            .iter()
            .enumerate()
            .map(|(at, page)| reference(page, at + 1, answer.quirk("other_names")))
            .collect();
        let cut = match answer.quirk("two_lists") {
            true => 1,
            false => list.len(),
        };
        let (first, _) = list.split_at(cut);
        opening.push(wire.send(&format!(
            r#"{{"type":"set-reference","resultId":"{result}","list":[{}]}}"#,
            first.join(",")
        )));
        if cut < list.len() {
            // What is there already comes again.
            opening.push(wire.send(&format!(
                r#"{{"type":"update-reference","list":[{}]}}"#,
                list.join(",")
            )));
        }
    }
    let mut body: Vec<_> = pieces(answer, end)
        .iter()
        .map(|piece| {
            wire.say(&format!(
                r#"{{"type":"append-text","text":{}}}"#,
                json!(piece)
            ))
        })
        .collect();
    if *end == End::Finished {
        body.push(wire.send(r#"{"type":"recommended-question","data":["?"]}"#));
    }
    paced(answer, opening, body, closing(&wire, end))
}

fn reference(page: &Citation, number: usize, other_names: bool) -> String {
    let (url, title) = (json!(page.url), json!(page.title));
    if other_names {
        return format!(
            r#"{{"url":{url},"orig_title":{title},"source":"example.org","publish_date_str":"{DATE}","abstract":"s"}}"#
        );
    }
    format!(
        r#"{{"id":{number},"title":{title},"link":{url},"displaySource":"example.org","date":"{DATE}","snippet":"s"}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(acts: Acts) -> String {
        acts.filter_map(|act| match act {
            Act::Send(bytes) | Act::Say(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            Act::Pause(_) | Act::Done | Act::Hang | Act::Break => None,
        })
        .collect()
    }

    fn answer(pieces: &[&str]) -> Answer {
        let mut answer = Answer::saying("");
        answer.text = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        answer.citations = vec![Citation::new("https://example.org/1", "月相百科")];
        answer
    }

    fn sample(records: &[&str]) -> String {
        records
            .iter()
            .map(|record| format!("data:{record}\n\n"))
            .collect()
    }

    /// Sample A (§6): 576 bytes.
    #[test]
    fn the_older_answer_is_sample_a() {
        let answer = answer(&["月相", "周期[", "[1]]约29.5天 👋🏽", "。[[1", "]]"]);
        let sample = sample(&[
            r#"{"type":"query","debugId":"d1","data":["月相"]}"#,
            r#"{"type":"heartbeat"}"#,
            r#"{"type":"set-reference","resultId":"d1","list":[{"id":1,"title":"月相百科","link":"https://example.org/1","displaySource":"example.org","date":"2025年01月02日","snippet":"s"}]}"#,
            r#"{"type":"append-text","text":"月相"}"#,
            r#"{"type":"append-text","text":"周期["}"#,
            r#"{"type":"append-text","text":"[1]]约29.5天 👋🏽"}"#,
            r#"{"type":"append-text","text":"。[[1"}"#,
            r#"{"type":"append-text","text":"]]"}"#,
            r#"{"type":"recommended-question","data":["?"]}"#,
            "[DONE]",
        ]);
        assert_eq!(sample.len(), 576);
        assert_eq!(played(search(&answer, "d1", None, &End::Finished)), sample);
    }

    /// Sample D (§10.3): 1221 bytes.
    #[test]
    fn todays_answer_is_sample_d() {
        let mut answer = answer(&["月相周期[", "[1]]约29.5天 👋🏽。[[1", "]]"]);
        answer.reasoning = vec!["搜索中".to_owned()];
        let ids = Ids {
            conversation: 8_641_000_000_000_000_001,
            question: 8_641_000_000_000_000_002,
            answer: 8_641_000_000_000_000_003,
            result: "r1".to_owned(),
        };
        let sample = sample(&[
            r#"{"type":"conversation_init","data":{"id":"8641000000000000001"}}"#,
            r#"{"type":"user_message_init","data":{"id":"8641000000000000002"}}"#,
            r#"{"type":"response_message_init","data":{"id":"8641000000000000003"}}"#,
            r#"{"type":"heartbeat"}"#,
            r#"{"id":"r1","object":"chat.completion.qa_with_agent","model":"metaso-qa-with-agent","choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"搜索中","action":"search","action_status":"running"}}]}"#,
            r#"{"id":"r1","object":"chat.completion.qa_with_agent","model":"metaso-qa-with-agent","choices":[{"index":0,"delta":{"content":"月相周期["}}]}"#,
            r#"{"id":"r1","object":"chat.completion.qa_with_agent","model":"metaso-qa-with-agent","choices":[{"index":0,"delta":{"content":"[1]]约29.5天 👋🏽。[[1"}}]}"#,
            r#"{"id":"r1","object":"chat.completion.qa_with_agent","model":"metaso-qa-with-agent","choices":[{"index":0,"delta":{"content":"]]"}}]}"#,
            r#"{"id":"r1","object":"chat.completion.qa_with_agent","model":"metaso-qa-with-agent","choices":[{"index":0,"delta":{"citations":[{"link":"https://example.org/1","title":"月相百科","snippet":"s","date":"2025年01月02日","display":{"refer_id":1}}],"total_cite_num":1,"took":2.5}}]}"#,
            "[DONE]",
        ]);
        assert_eq!(sample.len(), 1221);
        assert_eq!(played(chat(&answer, &ids, &End::Finished)), sample);
    }
}
