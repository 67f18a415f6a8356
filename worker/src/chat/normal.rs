//! The conversation as fingerprints see it: whatever clients change between two turns without meaning anything by it is gone.
//! Without this no second turn would be recognised. Source: doors.md section 2.
//!
//! | what moves | what becomes of it |
//! | --- | --- |
//! | ids of calls, items and messages; `cache_control` | not there (the latter never reaches [`Message`]) |
//! | text as a string, as one part, as several | one text |
//! | thinking | not there |
//! | results in the order in which they were ready | in the order of their calls, numbered |
//! | arguments as they were spaced, members in any order | as parsed JSON |
//! | blanks at the end of the assistant's texts | not there |
//! | Claude Code's billing line in the system text | not there |

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, VecDeque},
    slice,
};

use serde_json::Value;

use super::message::{Content, Message, Part, Role, ToolCall};

/// What a system text begins with that says who pays, and differs from request to request.
const BILLING: &str = "x-anthropic-billing-header:";

/// One step of a conversation, in the order that counts.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Words of somebody, perhaps with pictures.
    Said(&'a Message),
    /// The assistant's words, and the calls behind them.
    Called {
        /// The message.
        message: &'a Message,
        /// Its calls of kinds that are known; not empty.
        calls: &'a [ToolCall],
    },
    /// What came of a call.
    Result {
        /// Which call of the block before, from 1; `None` for a result that nobody asked for.
        call: Option<usize>,
        /// Its message; `None` where the call was left without a result.
        message: Option<&'a Message>,
    },
}

/// The steps of a conversation: results follow the calls before them in the calls' own order, whatever was said between
/// them comes behind, and a call that nobody answered has a step that says so. At the end of a conversation it has none:
/// its result may still come.
pub fn steps(messages: &[Message]) -> Vec<Step<'_>> {
    let mut steps = Vec::with_capacity(messages.len());
    let mut rest = messages;
    while let Some((first, behind)) = rest.split_first() {
        let calls = calls_of(first);
        if calls.is_empty() && !is_result(first) {
            steps.push(Step::Said(first));
            rest = behind;
            continue;
        }
        // A turn without a call before it may hold results as well: then it begins with them.
        let (calls, from) = if calls.is_empty() {
            (calls, rest)
        } else {
            let message = first;
            steps.push(Step::Called { message, calls });
            (calls, behind)
        };
        // Everything up to the next answer is one turn, whatever order clients send it in.
        let next = from.iter().position(|it| it.role == Role::Assistant);
        let (turn, behind) = from.split_at(next.unwrap_or(from.len()));
        // Whatever follows says that no more results come.
        let is_answered = !turn.is_empty() || !behind.is_empty();
        push_results(calls, turn, is_answered, &mut steps);
        let said = turn.iter().filter(|message| !is_result(message));
        steps.extend(said.map(Step::Said));
        rest = behind;
    }
    steps
}

/// Whether it is a tool's result.
pub fn is_result(message: &Message) -> bool {
    matches!(message.role, Role::Tool | Role::Function)
}

/// The calls of an assistant's message; nobody else makes any.
fn calls_of(message: &Message) -> &[ToolCall] {
    let calls = message.tool_calls.as_deref().unwrap_or_default();
    if message.role == Role::Assistant && calls.iter().any(|call| call.function.is_some()) {
        calls
    } else {
        &[]
    }
}

/// Results of one turn by their calls. An id that several calls share (some clients count them anew in every block, some
/// give none) is answered in the order in which the results come.
fn push_results<'a>(
    calls: &'a [ToolCall],
    turn: &'a [Message],
    is_answered: bool,
    steps: &mut Vec<Step<'a>>,
) {
    let results = || turn.iter().filter(|message| is_result(message));
    // The places of the results that answer to an id, or a name: looking for each call's among all would take time with
    // the product.
    let mut waiting: HashMap<Answers<'_>, VecDeque<&Message>> = HashMap::new();
    for result in results() {
        let answers = match &result.tool_call_id {
            Some(id) => Answers::Id(id),
            None => Answers::Name(result.name.as_deref().unwrap_or_default()),
        };
        waiting.entry(answers).or_default().push_back(result);
    }
    // Taken from the front: the first call of an id gets the first result.
    let mut next = |answers| waiting.get_mut(&answers).and_then(VecDeque::pop_front);
    let known = calls
        .iter()
        .filter_map(|call| Some((call, call.function.as_ref()?)));
    for (at, (call, function)) in known.enumerate() {
        // The id first; results of the older form have a name instead.
        let message = next(Answers::Id(&call.id)).or_else(|| next(Answers::Name(&function.name)));
        if message.is_some() || is_answered {
            let call = Some(at + 1);
            steps.push(Step::Result { call, message });
        }
    }
    // By address: two results may be alike in every word, and each must be told once.
    let left: HashSet<*const Message> = waiting
        .values()
        .flatten()
        .map(|it| &raw const **it)
        .collect();
    // In the order in which they came, which a map's values do not keep.
    let orphans = results().filter(|result| left.contains(&(&raw const **result)));
    steps.extend(orphans.map(|result| Step::Result {
        call: None,
        message: Some(result),
    }));
}

/// What a result says that it is of: the call's id, or in OpenAI's older form the function's name.
#[derive(PartialEq, Eq, Hash)]
enum Answers<'a> {
    Id(&'a str),
    Name(&'a str),
}

/// A system text without the line that says who pays: it changes with every request, means nothing to a model, and would
/// make every prompt a new one.
pub fn without_billing(text: &str) -> &str {
    if !text.starts_with(BILLING) {
        return text;
    }
    let (_, rest) = text.split_once('\n').unwrap_or_default();
    rest.trim_start_matches(['\r', '\n'])
}

/// The text of a message as it counts: all text parts together, without billing lines, and of an assistant without blanks
/// at the end.
pub fn text(message: &Message) -> Cow<'_, str> {
    match message.role {
        Role::System | Role::Developer => system_text(message),
        Role::Assistant => match message.text() {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_end()),
            Cow::Owned(mut text) => {
                text.truncate(text.trim_end().len());
                Cow::Owned(text)
            }
        },
        Role::User | Role::Tool | Role::Function => message.text(),
    }
}

/// Each block of a system text may be the one that says who pays.
fn system_text(message: &Message) -> Cow<'_, str> {
    let parts: &[Part] = match &message.content {
        Content::Empty => &[],
        Content::Text(text) => return Cow::Borrowed(without_billing(text)),
        Content::Parts(parts) => parts,
    };
    let mut texts = parts.iter().filter_map(Part::text).filter_map(|text| {
        let kept = without_billing(text);
        // A block that only says who pays is left out whole, or a blank line would stay in its place.
        (kept.len() == text.len() || !kept.is_empty()).then_some(kept)
    });
    let first = texts.next().unwrap_or_default();
    let rest: Vec<&str> = texts.collect();
    if rest.is_empty() {
        Cow::Borrowed(first)
    } else {
        Cow::Owned(format!("{first}\n{}", rest.join("\n")))
    }
}

/// Writes what a conversation says to `sink`, in pieces that no other conversation writes: hash them.
pub fn feed(steps: &[Step<'_>], mut sink: impl FnMut(&[u8])) {
    for step in steps {
        feed_step(step, &mut sink);
    }
}

fn feed_step(step: &Step<'_>, sink: &mut impl FnMut(&[u8])) {
    match step {
        Step::Said(message) => {
            let role = match message.role {
                // One letter for both: clients send the same text under either word.
                Role::System | Role::Developer => "s",
                Role::User | Role::Tool | Role::Function => "u",
                Role::Assistant => "a",
            };
            let text = text(message);
            // A message that has become empty (a billing line alone) is none.
            if text.is_empty() && message.attachments().next().is_none() {
                return;
            }
            piece(role, &text, sink);
            attachments(message, sink);
        }
        Step::Called { message, calls } => {
            piece("a", &text(message), sink);
            for function in calls.iter().filter_map(|call| call.function.as_ref()) {
                piece("c", &function.name, sink);
                let parsed = serde_json::from_str::<Value>(&function.arguments);
                // A custom tool's text is no JSON, and stands for itself.
                match parsed {
                    // Parsed and written anew: members in one order, without blanks.
                    Ok(parsed) => piece("j", &parsed.to_string(), sink),
                    Err(_) => piece("t", &function.arguments, sink),
                }
            }
        }
        Step::Result { call, message } => {
            let number = call.map_or(0, |call| call as u64);
            // Fixed in length, so it needs no length of its own.
            sink(&number.to_be_bytes());
            match message {
                None => piece("n", "", sink),
                Some(message) => {
                    // An error and a success with the same words are two conversations.
                    piece(
                        if message.is_error { "e" } else { "r" },
                        &text(message),
                        sink,
                    );
                    attachments(message, sink);
                }
            }
        }
    }
}

/// The length goes in front, so that two texts are never taken for one.
fn piece(kind: &str, text: &str, sink: &mut impl FnMut(&[u8])) {
    sink(kind.as_bytes());
    sink(&(text.len() as u64).to_be_bytes());
    sink(text.as_bytes());
}

fn attachments(message: &Message, sink: &mut impl FnMut(&[u8])) {
    for part in message.attachments() {
        match part {
            // Not the detail: it changes how a picture is read, and not what was said.
            Part::ImageUrl { image_url, .. } => piece("i", image_url.url(), sink),
            Part::FileUrl { file_url } => piece("f", file_url.url(), sink),
            Part::File { file } => {
                let source = file.file_data.as_deref().or(file.url.as_deref());
                piece("f", source.unwrap_or_default(), sink);
            }
            Part::Text { .. } | Part::Refusal { .. } | Part::Other { .. } => {}
        }
    }
}

/// Writes what a conversation begins with to `sink`: the first thing that the user says, which is the same in all its turns.
/// Claude Code brings system texts along later than this, and tools change.
pub fn feed_beginning(messages: &[Message], mut sink: impl FnMut(&[u8])) {
    let first = messages.iter().find(|message| message.role == Role::User);
    // A conversation without one begins with nothing, and is like every other such.
    for message in first.map(slice::from_ref).unwrap_or_default() {
        feed_step(&Step::Said(message), &mut sink);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn messages(messages: Value) -> Vec<Message> {
        let body = json!({"model": "m", "messages": messages}).to_string();
        crate::http::openai::body::read(body.into())
            .unwrap()
            .messages
    }

    fn print(conversation: Value) -> Vec<u8> {
        let messages = messages(conversation);
        let mut bytes = Vec::new();
        feed(&steps(&messages), |piece| bytes.extend_from_slice(piece));
        bytes
    }

    fn call(id: &str, name: &str, arguments: &str) -> Value {
        json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
    }

    #[test]
    fn what_clients_change_between_turns_changes_nothing() {
        let plain = json!([
            {"role": "system", "content": "S"},
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "I look.", "tool_calls": [call("a", "f", r#"{"x":1,"y":[2]}"#), call("b", "g", "{}")]},
            {"role": "tool", "tool_call_id": "a", "content": "one"},
            {"role": "tool", "tool_call_id": "b", "content": "two"},
            {"role": "user", "content": "and?"},
        ]);
        let moved = json!([
            {"role": "system", "content": [
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=2;"},
                {"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}},
            ]},
            {"role": "user", "content": [{"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": "I look. \n", "reasoning_content": "hm", "tool_calls": [call("1", "f", "{ \"y\" : [2],\n\"x\":1}"), call("2", "g", " {} ")]},
            {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "two"}]},
            {"role": "user", "content": "and?"},
            {"role": "tool", "tool_call_id": "1", "content": "one"},
        ]);
        assert_eq!(print(plain), print(moved));
    }

    #[test]
    fn what_means_something_changes_it() {
        let with = |result: Value| {
            print(json!([
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": null, "tool_calls": [call("a", "f", "{}"), call("b", "f", "{}")]},
                result,
            ]))
        };
        let prints = [
            with(json!({"role": "tool", "tool_call_id": "a", "content": "one"})),
            with(json!({"role": "tool", "tool_call_id": "b", "content": "one"})),
            with(json!({"role": "tool", "tool_call_id": "z", "content": "one"})),
            with(json!({"role": "tool", "tool_call_id": "a", "content": "other"})),
            with(json!({"role": "user", "content": "one"})),
            with(
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e/1"}}]}),
            ),
            with(
                json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e/2"}}]}),
            ),
        ];
        for (at, print) in prints.iter().enumerate() {
            assert_eq!(prints.iter().position(|it| it == print), Some(at));
        }
    }

    #[test]
    fn results_are_numbered_and_sorted() {
        let conversation = messages(json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": null, "tool_calls": [call("a", "f", "{}"), call("b", "g", "{}"), call("c", "h", "{}")]},
            {"role": "tool", "tool_call_id": "c", "content": "three"},
            {"role": "tool", "tool_call_id": "x", "content": "orphan"},
            {"role": "tool", "tool_call_id": "a", "content": "one"},
            {"role": "user", "content": "and?"},
            {"role": "assistant", "content": null, "tool_calls": [call("a", "f", "{}")]},
        ]));
        let steps = steps(&conversation);
        let results: Vec<(Option<usize>, Option<String>)> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Result { call, message } => {
                    Some((*call, message.map(|message| message.text().into_owned())))
                }
                _ => None,
            })
            .collect();
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(
            results,
            [
                (Some(1), said("one")),
                (Some(2), None),
                (Some(3), said("three")),
                (None, said("orphan")),
            ],
            "the last call may still be answered"
        );
        assert!(matches!(steps.last(), Some(Step::Called { .. })));
    }

    /// Some clients give every call the same id, or none.
    #[test]
    fn calls_that_share_an_id_are_answered_in_order() {
        let conversation = messages(json!([
            {"role": "assistant", "content": null, "tool_calls": [call("", "f", "{}"), call("", "f", "{}")]},
            {"role": "tool", "tool_call_id": "", "content": "one"},
            {"role": "tool", "tool_call_id": "", "content": "two"},
        ]));
        let results = steps(&conversation);
        let texts: Vec<String> = results
            .iter()
            .filter_map(|step| match step {
                Step::Result { message, .. } => Some(message.unwrap().text().into_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(texts, ["one", "two"]);
    }

    #[test]
    fn the_billing_line_goes_alone() {
        assert_eq!(without_billing("x-anthropic-billing-header: a=1;"), "");
        assert_eq!(
            without_billing("x-anthropic-billing-header: a=1;\n\nYou are"),
            "You are"
        );
        assert_eq!(
            without_billing("You are\nx-anthropic-billing-header: a"),
            "You are\nx-anthropic-billing-header: a"
        );
    }

    #[test]
    fn a_conversation_begins_with_what_the_user_said_first() {
        let print = |conversation: Value| {
            let mut bytes = Vec::new();
            feed_beginning(&messages(conversation), |piece| {
                bytes.extend_from_slice(piece)
            });
            bytes
        };
        let first =
            print(json!([{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]));
        let later = print(json!([
            {"role": "user", "content": [{"type": "text", "text": "q"}]}, {"role": "system", "content": "T"},
            {"role": "assistant", "content": "a"}, {"role": "user", "content": "other"},
        ]));
        assert_eq!(first, later);
        assert_ne!(first, print(json!([{"role": "user", "content": "other"}])));
    }
}
