//! The answer of a message in the cloud generation. Source: wire/minimax.md §12.5.

use serde_json::{Value, json};

use crate::{
    prompt::Answer,
    reply::{Act, Acts},
};

/// Oddities of the answer that a script can ask for.
pub(super) const QUIRKS: &[&str] = &[
    "blank",           // a blank after `data:`
    "crlf",            // lines end in CRLF
    "echo_chunks",     // increments of the question's echo
    "late_usage",      // a second's silence before the whole message
    "missing_members", // increments without what is empty
    "no_chunks",       // the answer only as a whole message
    "no_done",         // no `[DONE]`
    "no_end",          // neither `[DONE]` nor a session_status: the connection closes
    "no_status",       // no session_status
    "no_usage",        // a whole message without usage
    "repeat_whole",    // the last increment repeats the whole answer
    "stays_open",      // nothing after the finish, and no end of the connection
    "tail_in_whole",   // the last piece is only in the whole message
    "tool_step",       // a step of the agent before the answer
    "two_messages",    // the answer in two messages with a step between them
    "unknown_records", // records that mean nothing
    // Of the matrix generation:
    "clean",        // no half characters
    "no_chat",      // polls without `chat`
    "oldest_first", // messages in the other order
    "rewritten",    // one snapshot in the middle says something else
];

/// How the answer ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Finished,
    Empty,
    /// This record, after so many pieces.
    Record(usize, String),
    /// The message fails with these words, after so many pieces.
    Failed(usize, &'static str),
    /// A clean end of the body, after so many pieces.
    CutOff(usize),
}

impl End {
    /// How many pieces of text are said, if not all.
    pub(super) fn pieces(&self) -> Option<usize> {
        match self {
            Self::Finished => None,
            Self::Empty => Some(0),
            Self::Record(pieces, _) | Self::Failed(pieces, _) | Self::CutOff(pieces) => {
                Some(*pieces)
            }
        }
    }
}

const ECHO: &str = "501";
const STEP: &str = "503";
const MESSAGES: [&str; 2] = ["502", "504"];

/// The records of an answer to `prompt`.
pub(super) fn acts(answer: &Answer, prompt: &str, end: &End) -> Acts {
    let record = recorder(answer);
    let send = |value: &str| Act::Send(record(value).into());
    let say = |value: &str| Act::Say(record(value).into());
    let mut acts = vec![send(r#"{"type":10}"#)];
    acts.push(send(&format!(
        r#"{{"type":2,"agent_message":{{"msg_id":"{ECHO}","role":"user","msg_type":1,"msg_content":{}}}}}"#,
        json!(prompt)
    )));
    if answer.quirk("echo_chunks") {
        // Behind the message whose id they have: before it, nobody could tell them from the answer.
        acts.push(send(&chunk(ECHO, None, Some(prompt))));
    }
    if answer.quirk("unknown_records") {
        acts.extend(
            [
                r#"{"type":99,"sim":{"agent_message_chunk":{}}}"#,
                r#"{"type":"session_status","session_status":{"type":"running"}}"#,
                "{}",
                "[]",
            ]
            .map(send),
        );
    }
    if answer.quirk("tool_step") {
        acts.extend(step().iter().map(|value| send(value)));
    }
    let total = end.pieces().unwrap_or(usize::MAX).min(answer.text.len());
    let text = answer.text.get(..total).unwrap_or_default();
    let thinks = *end != End::Empty && end.pieces() != Some(0);
    let thoughts: &[String] = if thinks { &answer.reasoning } else { &[] };
    let (first, second) = match answer.quirk("two_messages") && *end == End::Finished {
        true => text.split_at(text.len() / 2),
        false => (text, &[][..]),
    };
    let mut body = Vec::new();
    for (at, (id, pieces)) in MESSAGES.iter().zip([first, second]).enumerate() {
        if at == 1 && pieces.is_empty() {
            break;
        }
        let thoughts = if at == 0 { thoughts } else { &[] };
        let said = Said {
            id,
            thoughts,
            pieces,
        };
        if at == 1 {
            body.push(send(&whole(
                &Said {
                    id: MESSAGES[0],
                    thoughts: &[],
                    pieces: first,
                },
                "toolUse",
                None,
                "",
            )));
            body.extend(step().iter().map(|value| send(value)));
        }
        increments(answer, &said, &mut body, &say, &send);
        if at == 0 && !second.is_empty() {
            body.push(send(&finish(id, "toolUse", None)));
        }
    }
    let last = match second.is_empty() {
        true => Said {
            id: MESSAGES[0],
            thoughts,
            pieces: first,
        },
        false => Said {
            id: MESSAGES[1],
            thoughts: &[],
            pieces: second,
        },
    };
    let pace = answer.pace;
    let body = body
        .into_iter()
        .flat_map(move |act| Answer::paced(pace, act));
    let end = closing(answer, &last, end, &send, &say);
    Box::new(
        acts.into_iter()
            .chain(body)
            .chain(end)
            .collect::<Vec<_>>()
            .into_iter(),
    )
}

/// What one message says.
struct Said<'a> {
    id: &'a str,
    thoughts: &'a [String],
    pieces: &'a [String],
}

fn recorder(answer: &Answer) -> impl Fn(&str) -> String + use<> {
    let start = match answer.quirk("blank") {
        true => "data: ",
        false => "data:",
    };
    let end = match answer.quirk("crlf") {
        true => "\r\n\r\n",
        false => "\n\n",
    };
    move |value| format!("{start}{value}{end}")
}

fn increments(
    answer: &Answer,
    said: &Said<'_>,
    acts: &mut Vec<Act>,
    say: &impl Fn(&str) -> Act,
    send: &impl Fn(&str) -> Act,
) {
    if answer.quirk("no_chunks") {
        return;
    }
    let empty = (!answer.quirk("missing_members")).then_some("");
    for thought in said.thoughts {
        acts.push(say(&chunk(said.id, Some(thought), empty)));
    }
    let held = usize::from(answer.quirk("tail_in_whole") && said.pieces.len() > 1);
    let pieces = said.pieces.len() - held;
    for (at, piece) in said.pieces.iter().take(pieces).enumerate() {
        acts.push(say(&chunk(said.id, None, Some(piece))));
        if at == 0 {
            acts.push(send(r#"{"type":10}"#));
        }
    }
}

/// The member order is that of sample C.
fn chunk(id: &str, thought: Option<&str>, text: Option<&str>) -> String {
    let member = |name: &str, value: Option<&str>| {
        value.map_or_else(String::new, |value| {
            format!(r#","{name}":{}"#, json!(value))
        })
    };
    format!(
        r#"{{"type":6,"agent_message_chunk":{{"msg_id":"{id}"{}{},"finish":false}}}}"#,
        member("thinking_content", thought),
        member("msg_content", text)
    )
}

fn finish(id: &str, reason: &str, text: Option<&str>) -> String {
    format!(
        r#"{{"type":6,"agent_message_chunk":{{"msg_id":"{id}","msg_content":{},"finish":true,"finish_reason":"{reason}"}}}}"#,
        json!(text.unwrap_or_default())
    )
}

/// A whole message, as the service has it in the end.
fn whole(said: &Said<'_>, reason: &str, usage: Option<usize>, instead: &str) -> String {
    let text = match instead {
        "" => said.pieces.concat(),
        instead => instead.to_owned(),
    };
    let usage = usage.map_or_else(String::new, |output| {
        format!(
            r#","usage":{{"input_tokens":5120,"output_tokens":{output},"total_tokens":{},"cache_read":0}}"#,
            5120 + output
        )
    });
    format!(
        r#"{{"type":2,"agent_message":{{"msg_id":"{}","role":"assistant","msg_type":1,"msg_content":{},"thinking_content":{},"finish_reason":"{reason}"{usage}}}}}"#,
        said.id,
        json!(text),
        json!(said.thoughts.concat())
    )
}

/// A step of the agent: its end, and the message with the tools.
fn step() -> [String; 2] {
    let tools = json!([{"tool_call_id": "t1", "tool_call_name": "web_search", "arguments": "{}"}]);
    [
        finish(STEP, "toolUse", None),
        format!(
            r#"{{"type":2,"agent_message":{{"msg_id":"{STEP}","role":"assistant","msg_type":2,"msg_content":"","tool_calls":{tools}}}}}"#
        ),
    ]
}

fn closing(
    answer: &Answer,
    last: &Said<'_>,
    end: &End,
    send: &impl Fn(&str) -> Act,
    say: &impl Fn(&str) -> Act,
) -> Vec<Act> {
    match end {
        End::CutOff(_) => return vec![Act::Done],
        End::Record(_, record) => return vec![Act::Done, send(record)],
        End::Failed(_, words) => {
            return [
                finish(last.id, "error", None),
                whole(last, "error", None, words),
            ]
            .iter()
            .map(|value| send(value))
            .fold(vec![Act::Done], |mut acts, act| {
                acts.push(act);
                acts
            });
        }
        End::Finished | End::Empty => {}
    }
    let said = last.pieces.concat();
    let repeated = answer.quirk("repeat_whole").then_some(said.as_str());
    // What is only here is no mere end.
    let only_here = answer.quirk("no_chunks") || answer.quirk("tail_in_whole");
    let mut acts = Vec::new();
    if !only_here {
        acts.push(Act::Done);
    }
    acts.push(send(&finish(last.id, "stop", repeated)));
    if answer.quirk("stays_open") {
        acts.push(Act::Hang);
        return acts;
    }
    if answer.quirk("late_usage") {
        acts.push(Act::Pause(std::time::Duration::from_secs(1)));
    }
    let usage = (!answer.quirk("no_usage")).then_some(7);
    let message = whole(last, "stop", usage, "");
    acts.push(match only_here {
        true => say(&message),
        false => send(&message),
    });
    if only_here {
        acts.push(Act::Done);
    }
    if !answer.quirk("no_status") && !answer.quirk("no_end") {
        acts.push(send(
            r#"{"type":"session_status","session_status":{"type":"finished"}}"#,
        ));
    }
    if !answer.quirk("no_done") && !answer.quirk("no_end") {
        acts.push(send("[DONE]"));
    }
    acts
}

/// The history of a session, oldest first (§12.6).
pub(super) fn history(rounds: &[(String, String, String)]) -> Value {
    let message = |turn: &str, id: usize, role: &str, text: &str| json!({"turn_id": turn, "msg_id": id.to_string(), "timestamp": 1_767_225_600_000_u64, "role": role, "msg_type": 1, "msg_content": text, "source": "web"});
    let rows = rounds
        .iter()
        .enumerate()
        .flat_map(|(at, (turn, asked, said))| {
            [
                message(turn, 2 * at, "user", asked),
                message(turn, 2 * at + 1, "assistant", said),
            ]
        });
    json!({"messages": rows.collect::<Vec<_>>(), "has_more": false, "next_cursor": ""})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sample C (§12.5).
    #[test]
    fn the_answer_is_sample_c() {
        let mut answer = Answer::saying("");
        answer.reasoning = vec!["ok".to_owned()];
        answer.text = vec!["Hi 👋".to_owned(), " there".to_owned()];
        let sent: String = acts(&answer, "hello", &End::Finished)
            .filter_map(|act| match act {
                Act::Send(bytes) | Act::Say(bytes) => {
                    Some(String::from_utf8(bytes.to_vec()).unwrap())
                }
                Act::Pause(_) | Act::Done | Act::Hang | Act::Break => None,
            })
            .collect();
        let sample = [
            r#"{"type":10}"#,
            r#"{"type":2,"agent_message":{"msg_id":"501","role":"user","msg_type":1,"msg_content":"hello"}}"#,
            r#"{"type":6,"agent_message_chunk":{"msg_id":"502","thinking_content":"ok","msg_content":"","finish":false}}"#,
            r#"{"type":6,"agent_message_chunk":{"msg_id":"502","msg_content":"Hi 👋","finish":false}}"#,
            r#"{"type":10}"#,
            r#"{"type":6,"agent_message_chunk":{"msg_id":"502","msg_content":" there","finish":false}}"#,
            r#"{"type":6,"agent_message_chunk":{"msg_id":"502","msg_content":"","finish":true,"finish_reason":"stop"}}"#,
            r#"{"type":2,"agent_message":{"msg_id":"502","role":"assistant","msg_type":1,"msg_content":"Hi 👋 there","thinking_content":"ok","finish_reason":"stop","usage":{"input_tokens":5120,"output_tokens":7,"total_tokens":5127,"cache_read":0}}}"#,
            r#"{"type":"session_status","session_status":{"type":"finished"}}"#,
            "[DONE]",
        ];
        let sample: String = sample.map(|record| format!("data:{record}\n\n")).concat();
        assert_eq!(sent, sample);
    }
}
