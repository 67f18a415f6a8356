//! The two older generations of the stream. Source: wire/deepseek.md §6 samples C and D.

use serde_json::{Value, json};

use super::{
    message::{Kind, Message},
    stream::End,
};
use crate::{prompt::Answer, reply::Act, script::Citation};

/// The pieces of one kind that an end lets through.
fn told(message: &Message, kind: Kind, upto: usize) -> Vec<&str> {
    let pieces = message
        .fragments
        .iter()
        .flat_map(|fragment| fragment.pieces.iter().map(|piece| (fragment.kind, piece)));
    pieces
        .take(upto)
        .filter(|(of, _)| *of == kind)
        .map(|(_, piece)| piece.as_str())
        .collect()
}

fn data(text: &str) -> String {
    format!("data: {text}\n\n")
}

fn pages(answer: &Answer) -> Vec<Value> {
    let page = |page: &Citation| json!({"title": page.title, "url": page.url});
    answer.citations.iter().map(page).collect()
}

fn push(acts: &mut Vec<Act>, message: &Message, text: String) {
    acts.extend(Answer::paced(message.answer.pace, Act::say(data(&text))));
}

/// Two strings instead of fragments. A content path without an op means APPEND (sample C).
pub(super) fn legacy(message: &Message, end: End) -> Vec<Act> {
    let upto = end.upto(0, message.pieces());
    let mut acts = vec![Act::send(data(&format!(
        r#"{{"v":{{"response":{{"message_id":{},"parent_id":{},"role":"ASSISTANT","content":"","thinking_content":"","status":"WIP"}}}}}}"#,
        message.response_id, message.request_id
    )))];
    let thoughts = told(message, Kind::Think, upto);
    for (at, piece) in thoughts.iter().enumerate() {
        let piece = Value::from(*piece);
        let patch = match at {
            0 => format!(r#"{{"p":"response/thinking_content","v":{piece}}}"#),
            1 => format!(r#"{{"o":"APPEND","v":{piece}}}"#),
            _ => format!(r#"{{"v":{piece}}}"#),
        };
        push(&mut acts, message, patch);
    }
    if !thoughts.is_empty() {
        let elapsed = r#"{"p":"response/thinking_elapsed_secs","o":"SET","v":3}"#;
        acts.push(Act::send(data(elapsed)));
    }
    let pages = pages(&message.answer);
    if !pages.is_empty() {
        let patch = json!({"p": "response/search_results", "o": "SET", "v": pages});
        acts.push(Act::send(data(&patch.to_string())));
    }
    for (at, piece) in told(message, Kind::Response, upto).iter().enumerate() {
        let piece = Value::from(*piece);
        let patch = match at {
            0 => format!(r#"{{"p":"response/content","o":"APPEND","v":{piece}}}"#),
            _ => format!(r#"{{"v":{piece}}}"#),
        };
        push(&mut acts, message, patch);
    }
    acts.push(Act::Done);
    let status = match end {
        End::Filtered(_) => "CONTENT_FILTER",
        End::Incomplete | End::AutoContinue | End::Generation(..) => "INCOMPLETE",
        End::NoStatus | End::Error(..) => return acts,
        End::Finished | End::Empty | End::Refused(..) | End::Garbage => "FINISHED",
    };
    acts.push(Act::send(data(
        r#"{"p":"response/search_status","v":"FINISHED"}"#,
    )));
    acts.push(Act::send(data(&format!(
        r#"{{"p":"response/status","o":"SET","v":"{status}"}}"#
    ))));
    acts
}

/// Chunks that look like OpenAI's (sample D).
pub(super) fn choices(message: &Message, end: End) -> Vec<Act> {
    let upto = end.upto(0, message.pieces());
    let mut acts = Vec::new();
    let chunk = |delta: &str, more: &str, usage: &str| {
        data(&format!(
            r#"{{"choices":[{{"index":0,"delta":{{{delta}}}{more}}}],"model":"",{usage}"created":1739000000,"message_id":{},"parent_id":{}}}"#,
            message.response_id, message.request_id
        ))
    };
    let pages = pages(&message.answer);
    if !pages.is_empty() {
        let list = Value::Array(pages);
        let delta = format!(r#""type":"search_result","role":"assistant","search_results":{list}"#);
        acts.push(Act::send(chunk(&delta, "", "")));
    }
    for (kind, name) in [(Kind::Think, "thinking"), (Kind::Response, "text")] {
        for piece in told(message, kind, upto) {
            let content = Value::from(piece);
            let delta = format!(r#""type":"{name}","role":"assistant","content":{content}"#);
            let text = chunk(&delta, "", r#""chunk_token_usage":1,"#);
            let paced = Answer::paced(message.answer.pace, Act::say(text));
            acts.extend(paced);
        }
    }
    acts.push(Act::Done);
    let reason = match end {
        End::Filtered(_) => "content_filter",
        End::Incomplete | End::AutoContinue | End::Generation(..) => "length",
        End::NoStatus | End::Error(..) => return acts,
        End::Finished | End::Empty | End::Refused(..) | End::Garbage => "stop",
    };
    let more = format!(r#","finish_reason":"{reason}""#);
    let delta = r#""type":"text","role":"assistant","content":"""#;
    acts.push(Act::send(chunk(delta, &more, r#""chunk_token_usage":0,"#)));
    acts.push(Act::send("data: [DONE]\n\n"));
    acts
}
