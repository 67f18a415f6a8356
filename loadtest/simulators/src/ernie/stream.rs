//! The answers. Source: wire/ernie.md §6.

use serde_json::{Value, json};

use super::chats::Ids;
use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// Oddities of the stream that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "br",           // line ends as `<br>`, cut in two
    "crlf",         // lines end in CRLF
    "end_has_text", // the last piece comes with the end
    "flat_session", // the session's id directly in data
    "nul",          // NUL characters within the text
    "no_ids",       // events without `id:`
    "no_names",     // events without `event:`
    "space",        // a blank after the colons
    "tasks",        // data with a task_id
    "unknown",      // events that mean nothing
    "whole_only",   // no piece, but the whole text at the end
];

/// How the answer ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    /// The end, and no text.
    Empty,
    /// This message, after so many pieces, and nothing more.
    Record(usize, String),
    /// A clean end of the body, after so many pieces.
    CutOff(usize),
}

/// Puts events on the wire.
struct Wire {
    has_ids: bool,
    has_names: bool,
    colon: &'static str,
    line_end: &'static str,
    made: u32,
}

impl Wire {
    fn event(&mut self, name: &str, data: &str) -> String {
        self.made += 1;
        let Self {
            colon,
            line_end,
            made,
            ..
        } = self;
        let mut event = String::new();
        if self.has_names {
            event.push_str(&format!("event{colon}{name}{line_end}"));
        }
        if self.has_ids {
            event.push_str(&format!("id{colon}{made}{line_end}"));
        }
        event.push_str(&format!("data{colon}{data}{line_end}{line_end}"));
        event
    }

    fn message(&mut self, content: &str, is_end: u8, whole: &str) -> String {
        let data = json!({"content": content, "is_end": is_end, "tokens_all": whole});
        self.event("message", &envelope(&data))
    }
}

fn envelope(data: &Value) -> String {
    json!({"code": 0, "msg": "success", "data": data, "logId": "1"}).to_string()
}

/// Nothing that makes sense.
pub(super) fn garbage() -> Acts {
    Box::new(["data:oops\n\n", "data:[\n\n"].map(Act::send).into_iter())
}

pub(super) fn acts(answer: &Answer, ids: &Ids, end: &End) -> Acts {
    let quirk = |name: &str| answer.quirk(name);
    let mut wire = Wire {
        has_ids: !quirk("no_ids"),
        has_names: !quirk("no_names"),
        colon: if quirk("space") { ": " } else { ":" },
        line_end: if quirk("crlf") { "\r\n" } else { "\n" },
        made: 0,
    };
    let mut acts = vec![Act::send(
        wire.event("major", &envelope(&major(ids, quirk("flat_session")))),
    )];
    if quirk("unknown") {
        acts.push(Act::send(wire.event("state", "{\"code\":7,\"data\":{}}")));
        acts.push(Act::send(
            wire.event("renameSession", "{\"sessionName\":\"x\"}"),
        ));
    }
    let (most, is_silent) = match end {
        End::Finished => (usize::MAX, false),
        End::Record(pieces, _) | End::CutOff(pieces) => (*pieces, *pieces == 0),
        End::Empty => (0, true),
    };
    let pieces = pieces(answer);
    let whole = pieces.concat();
    if !is_silent && !answer.reasoning.is_empty() {
        for (at, thought) in answer.reasoning.iter().enumerate() {
            acts.push(Act::say(
                wire.event("thought", &thoughts(ids, at + 1, thought, 0)),
            ));
        }
        let last = thoughts(ids, answer.reasoning.len() + 1, "", 1);
        acts.push(Act::send(wire.event("thought", &last)));
        acts.push(Act::send(wire.event("step", "{\"step_id\":2}")));
    }
    let (said, at_end) = match pieces.split_last() {
        _ if quirk("whole_only") && *end == End::Finished => (&[][..], ""),
        Some((last, said)) if quirk("end_has_text") && *end == End::Finished => {
            (said, last.as_str())
        }
        _ => (pieces.as_slice(), ""),
    };
    for piece in said.iter().take(most) {
        if quirk("tasks") {
            let task = json!({"task_id": "t-1", "data": {"content": "none of yours"}});
            acts.push(Act::send(wire.event("message", &task.to_string())));
        }
        acts.push(Act::say(wire.message(piece, 0, "")));
    }
    let closing = match end {
        End::Finished if quirk("whole_only") => {
            // The only text there is.
            acts.push(Act::say(wire.message("", 1, &whole)));
            Vec::new()
        }
        End::Finished if !at_end.is_empty() => {
            acts.push(Act::say(wire.message(at_end, 1, &whole)));
            Vec::new()
        }
        End::Finished => vec![Act::send(wire.message("", 1, &whole))],
        End::Empty => vec![Act::send(wire.message("", 1, ""))],
        End::Record(_, record) => vec![Act::send(wire.event("message", record))],
        End::CutOff(_) => Vec::new(),
    };
    let pace = answer.pace;
    let paced = acts
        .into_iter()
        .flat_map(move |act| Answer::paced(pace, act));
    Box::new(paced.chain([Act::Done]).chain(closing))
}

/// The text as the service writes it: pictures first, as tags with their watermark; each tag is cut.
fn pieces(answer: &Answer) -> Vec<String> {
    let mut pieces = Vec::new();
    for url in &answer.images {
        let url = url.replace('&', "&amp;");
        pieces.push("<im".to_owned());
        pieces.push(format!("g src=\"{url}=style/wm_ai\" /"));
        pieces.push("><b".to_owned());
        pieces.push("r>".to_owned());
    }
    for piece in &answer.text {
        let piece = match answer.quirk("nul") {
            true => format!("\0{piece}\0"),
            false => piece.clone(),
        };
        if !(answer.quirk("br") && piece.contains('\n')) {
            pieces.push(piece);
            continue;
        }
        for (at, line) in piece.split('\n').enumerate() {
            if at > 0 {
                pieces.push("<b".to_owned());
                pieces.push(format!("r>{line}"));
            } else if !line.is_empty() {
                pieces.push(line.to_owned());
            }
        }
    }
    pieces
}

fn major(ids: &Ids, is_flat: bool) -> Value {
    let Ids {
        session,
        question,
        answer,
    } = ids;
    let chat = json!({"code": 0, "data": {
        "chat": {"id": question, "role": "user"},
        "botChat": {"id": answer, "role": "robot", "parent": question},
    }});
    match is_flat {
        true => json!({"sessionId": session, "createChatResponseVoCommonResult": chat}),
        false => json!({
            "createSessionResponseVoCommonResult": {"code": 0, "data": {"sessionId": session}},
            "createChatResponseVoCommonResult": chat,
        }),
    }
}

fn thoughts(ids: &Ids, number: usize, text: &str, is_end: u8) -> String {
    json!({
        "send_id": number, "thought_index": 0, "chat_id": ids.answer, "step_id": 1, "thoughts": text, "is_end": is_end,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(answer: &Answer) -> Vec<(String, Value)> {
        let ids = Ids {
            session: "6600000001".to_owned(),
            question: "6600000002".to_owned(),
            answer: "6600000003".to_owned(),
        };
        let bytes = acts(answer, &ids, &End::Finished).filter_map(|act| match act {
            Act::Send(bytes) | Act::Say(bytes) => Some(bytes),
            _ => None,
        });
        let bytes: Vec<u8> = bytes.flatten().collect();
        events(&String::from_utf8(bytes).unwrap())
    }

    fn events(text: &str) -> Vec<(String, Value)> {
        let event = |event: &str| {
            let field = |name: &str| {
                let mut lines = event.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            };
            let data = serde_json::from_str(field("data").unwrap()).unwrap();
            (field("event").unwrap().to_owned(), data)
        };
        text.trim_end().split("\n\n").map(event).collect()
    }

    /// Samples 1 and 2 of §6.
    #[test]
    fn the_samples_are_played() {
        let mut answer = Answer::saying("");
        answer.text = ["你好", "！"].map(str::to_owned).to_vec();
        let sample = r#"event:major
id:1
data:{"code":0,"msg":"success","data":{"createSessionResponseVoCommonResult":{"code":0,"data":{"sessionId":"6600000001"}},"createChatResponseVoCommonResult":{"code":0,"data":{"chat":{"id":"6600000002","role":"user"},"botChat":{"id":"6600000003","role":"robot","parent":"6600000002"}}}},"logId":"1"}

event:message
id:2
data:{"code":0,"msg":"success","data":{"content":"你好","is_end":0,"tokens_all":""},"logId":"1"}

event:message
id:3
data:{"code":0,"msg":"success","data":{"content":"！","is_end":0,"tokens_all":""},"logId":"1"}

event:message
id:4
data:{"code":0,"msg":"success","data":{"content":"","is_end":1,"tokens_all":"你好！"},"logId":"1"}

"#;
        assert_eq!(played(&answer), events(sample));
        answer.reasoning = vec!["想想".to_owned()];
        answer.text = vec!["2".to_owned()];
        let names: Vec<String> = played(&answer).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["major", "thought", "thought", "step", "message", "message"]
        );
    }
}
