//! The answer of the chat call: base64 payloads, one a line. Source: wire/xinghuo.md §6.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    ask::Form,
    encode::{self, Wire},
    refusal::error_json,
};
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "clean",           // V1, instead of a mix of all
    "unpadded",        // V4
    "torn_characters", // V2
    "torn_base64",     // V3
    "garbage_lines",   // unknown controls, comments and garbage between the pieces
    "math_thinking",   // the <math_thinking_…> markers for thoughts
    "no_sid",          // no <sid> after <end>
    "older_thinking",  // the <thinking_…> markers for thoughts
    "space",           // a space after `data:`
    "crlf",            // lines end in CRLF
    "memory_inside", // spark: what is remembered begins in the middle of the last piece of text (sample E)
    "memory_torn",   // spark: its marker begins there and goes on in the next piece
    "no_memory",     // spark: nothing is remembered
];

/// What the service wants to remember of the user, as in sample E.
const MEMORY: &str =
    "```memoryExtraction\n{\"memory\":[{\"type\":\"profile\",\"content\":\"x\"}]}\n```";
/// Where `memory_torn` tears it: inside the marker.
const MEMORY_CUT: usize = 7;

/// How the answer ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// `<end>`, then the sid.
    Whole,
    /// `<kx>` after this many pieces of text, and nothing more.
    CutOff(usize),
    /// An error after this many pieces of text.
    Error(usize, u32, &'static str),
    /// `<end>` and nothing before it.
    Empty,
    /// Only lines that mean nothing.
    Garbage,
}

/// The acts of an answer whose window continues under `sid`.
pub(super) fn acts(answer: &Answer, sid: &str, end: &End, form: Form) -> Acts {
    let mut lines = Vec::new();
    let mut memory = None;
    let pieces = match end {
        End::Whole => usize::MAX,
        End::CutOff(pieces) | End::Error(pieces, ..) => *pieces,
        End::Empty | End::Garbage => 0,
    };
    if pieces > 0 {
        lines.extend(thoughts(answer));
        lines.extend(sources(answer).map(Act::send));
        let said = answer
            .text
            .get(..pieces.min(answer.text.len()))
            .unwrap_or_default();
        let remembers = form == Form::Spark && *end == End::Whole && !answer.quirk("no_memory");
        // Pictures come after the text, and what is remembered after them.
        let inside = remembers && answer.images.is_empty();
        let (said, last) = match said.split_last() {
            Some((last, said)) if inside && answer.quirk("memory_inside") => {
                (said, vec![format!("{last}{MEMORY}")])
            }
            Some((last, said)) if inside && answer.quirk("memory_torn") => {
                let (head, tail) = MEMORY.split_at(MEMORY_CUT);
                (said, vec![format!("{last}{head}"), tail.to_owned()])
            }
            _ => (said, Vec::new()),
        };
        let payloads = encode::payloads(said, wire(answer)).into_iter();
        lines.extend(payloads.map(Act::say));
        lines.extend(last.iter().map(|piece| Act::say(event(piece))));
        if remembers && last.is_empty() {
            memory = Some(Act::send(event(MEMORY)));
        }
    }
    if *end == End::Whole {
        lines.extend(answer.images.iter().map(|url| Act::say(picture(url))));
        // After everything that is the user's to see.
        lines.extend(memory);
        // Seen raw, not in base64 (§6.2).
        lines.push(Act::send(
            "```question_type_recommand_json[{\"type\":\"ppt\"}]```",
        ));
    }
    if answer.quirk("garbage_lines") || *end == End::Garbage {
        lines.insert(lines.len() / 2, Act::send("<unknown_control>"));
        lines.insert(lines.len() / 2, Act::send("!!! not base64 !!!"));
    }
    let end = closing(answer, sid, end);
    let (before, after) = wrapped(answer);
    let wrap = move |act: Act| match act {
        Act::Send(payload) => Act::Send([&before, &payload[..], &after].concat().into()),
        Act::Say(payload) => Act::Say([&before, &payload[..], &after].concat().into()),
        other => other,
    };
    let pace = answer.pace;
    let paced = lines
        .into_iter()
        .flat_map(move |act| Answer::paced(pace, act));
    Box::new(paced.chain(end).map(wrap))
}

/// What stands before and after a payload.
fn wrapped(answer: &Answer) -> (Vec<u8>, Vec<u8>) {
    let line_end = if answer.quirk("crlf") {
        "\r\n\r\n"
    } else {
        "\n\n"
    };
    let start = if answer.quirk("space") {
        "data: "
    } else {
        "data:"
    };
    (start.into(), line_end.into())
}

fn wire(answer: &Answer) -> Wire {
    let wires = [
        ("clean", Wire::Clean),
        ("unpadded", Wire::Unpadded),
        ("torn_characters", Wire::TornCharacters),
        ("torn_base64", Wire::TornBase64),
    ];
    wires
        .iter()
        .find(|(quirk, _)| answer.quirk(quirk))
        .map_or(Wire::Mixed, |(_, wire)| *wire)
}

fn closing(answer: &Answer, sid: &str, end: &End) -> Vec<Act> {
    let mut acts = vec![Act::Done];
    match end {
        End::Whole | End::Empty => {
            acts.push(Act::send("<end>"));
            if !answer.quirk("no_sid") {
                acts.push(Act::send(format!("{sid}<sid>")));
            }
        }
        End::CutOff(_) => acts.push(Act::send("<kx>")),
        End::Error(_, key, descr) => {
            acts.extend(
                [
                    "[error]".to_owned(),
                    error_json(*key, descr),
                    "<end>".to_owned(),
                ]
                .map(Act::send),
            );
        }
        // A clean end of the body without `<end>`.
        End::Garbage => {}
    }
    acts
}

/// Thoughts, as one of the three kinds of events that were seen (§6.3, §6.5).
fn thoughts(answer: &Answer) -> Vec<Act> {
    if answer.reasoning.is_empty() {
        return Vec::new();
    }
    let pieces = answer.reasoning.iter();
    let older = [
        ("older_thinking", "<thinking_"),
        ("math_thinking", "<math_thinking_"),
    ];
    if let Some((_, marker)) = older.iter().find(|(quirk, _)| answer.quirk(quirk)) {
        let said = pieces.map(|piece| Act::say(event(&format!("{marker}content>{piece}"))));
        let end = Act::send(event(&format!("{marker}end>{{\"thinking_cost\":1.5}}")));
        return said.chain([end]).collect();
    }
    let status = |at: usize| if at == 0 { "start" } else { "ing" };
    let said = pieces
        .enumerate()
        .map(|(at, piece)| Act::say(deep(status(at), piece, "")));
    said.chain([Act::send(deep("end", "", ",\"thinkElapsedTime\":1.5"))])
        .collect()
}

/// A deep-think event; the member order is that of sample C.
fn deep(status: &str, content: &str, more: &str) -> String {
    let content = json!(content);
    let data = format!(r#"{{"type":"x1","status":"{status}","content":{content}{more}}}"#);
    event(&format!(r#"<deep_x1>{{"stage":"thinking","data":{data}}}"#))
}

fn sources(answer: &Answer) -> Option<String> {
    if answer.citations.is_empty() {
        return None;
    }
    let pages = answer.citations.iter().enumerate().map(|(at, page)| {
        let (url, title) = (json!(page.url), json!(page.title));
        format!(r#"{{"index":{},"url":{url},"title":{title}}}"#, at + 1)
    });
    let list: Vec<_> = pages.collect();
    Some(event(&format!(
        "```searchSource\n[{}]\n```",
        list.join(",")
    )))
}

fn picture(url: &str) -> String {
    event(&format!("```multi_image_url\n{}\n```", json!({"url": url})))
}

/// Events are never torn and always padded.
fn event(text: &str) -> String {
    STANDARD.encode(text)
}
