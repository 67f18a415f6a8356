//! Tool calls as servers really number and fill them: parallel calls that all have index 0, calls without index or id,
//! arguments as an object, the older `function_call`. Source: OpenAI's public API reference, and what differs from it.
//!
//! Clients put a call together by its index, so each call is given one of its own, in the order in which they begin.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::{
    chat::{ChatEvent, ToolCallDelta},
    upstream::json::{self, Halves, Scan},
};

/// The calls of one answer so far.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// By our index.
    calls: Vec<Call>,
    /// Our index by the upstream's id.
    by_id: HashMap<String, usize>,
    /// Our index of the latest call with the upstream's index.
    by_index: HashMap<u64, usize>,
    /// Arguments of the latest call that end in half a character.
    halves: Halves,
    latest: usize,
    /// The texts of the event being read may hold halves of characters.
    pub(super) is_mended: bool,
}

#[derive(Debug, Default)]
struct Call {
    name: String,
    arguments: Scan,
    has_arguments: bool,
}

/// An entry of `tool_calls`.
struct Entry {
    index: Option<u64>,
    id: Option<String>,
    name: Option<String>,
    arguments: String,
}

impl Calls {
    /// Takes the value of `tool_calls`. `is_whole`: of a whole answer, where each entry is a call of its own.
    pub(super) fn take(&mut self, calls: Value, is_whole: bool, events: &mut Vec<ChatEvent>) {
        // Some send the call alone where a list belongs.
        let calls = match calls {
            Value::Array(calls) => calls,
            one => vec![one],
        };
        let is_one = calls.len() == 1;
        for (at, call) in calls.into_iter().enumerate() {
            if let Value::Object(call) = call {
                self.entry(Entry::read(call), at, is_whole, is_one, events);
            }
        }
    }

    /// Takes the value of the older `function_call`, which is one call without index and id.
    pub(super) fn take_function(&mut self, call: Value, events: &mut Vec<ChatEvent>) {
        let call = Map::from_iter([("function".to_owned(), call)]);
        self.entry(Entry::read(call), 0, false, true, events);
    }

    fn entry(
        &mut self,
        entry: Entry,
        at: usize,
        is_whole: bool,
        is_one: bool,
        events: &mut Vec<ChatEvent>,
    ) {
        // Of a whole answer each entry is a call, whatever its index says.
        let known = self.known(&entry, at, is_one).filter(|_| !is_whole);
        let ours = known.unwrap_or(self.calls.len());
        // Halves are of the call before: what waits there must not be joined to this one.
        if ours != self.latest {
            self.flush(events);
            self.latest = ours;
        }
        // First, as what follows finds it by its place.
        if known.is_none() {
            self.calls.push(Call::default());
        }
        // Also of a call that is known: some give another one the same index later.
        if let Some(index) = entry.index {
            self.by_index.insert(index, ours);
        }
        // Half a character in arguments is rare, so that nothing is looked for until there is one.
        let arguments =
            if self.halves.is_waiting() || (self.is_mended && json::has_half(&entry.arguments)) {
                self.halves.join(&entry.arguments)
            } else {
                entry.arguments
            };
        let Some(call) = self.calls.get_mut(ours) else {
            return;
        };
        call.arguments.feed(arguments.as_bytes());
        call.has_arguments |= !arguments.is_empty();
        // Name and id belong to the first piece alone.
        let is_new_name = call.name.is_empty();
        let name = entry.name.filter(|_| is_new_name);
        if let Some(name) = &name {
            call.name.clone_from(name);
        }
        // An id that another call has is none: the caller could not tell whose result is whose.
        let id = entry
            .id
            .filter(|id| known.is_none() && self.by_id.insert(id.clone(), ours).is_none());
        // A repetition that says nothing new would be an event without content.
        if known.is_some() && name.is_none() && arguments.is_empty() {
            return;
        }
        events.push(ChatEvent::ToolCall(ToolCallDelta {
            index: u32::try_from(ours).unwrap_or(u32::MAX),
            id,
            name,
            arguments,
        }));
    }

    /// Which call an entry goes on with; `None`: it begins one.
    fn known(&self, entry: &Entry, at: usize, is_one: bool) -> Option<usize> {
        if let Some(id) = &entry.id
            && let Some(&known) = self.by_id.get(id)
        {
            // Servers that make the id of the function's name give it to each of its calls.
            let is_whole = |call: &Call| call.arguments.is_whole();
            let is_new = |index: u64| !self.by_index.contains_key(&index);
            let is_another = entry.name.is_some()
                && entry.index.is_some_and(is_new)
                && self.calls.get(known).is_some_and(is_whole);
            // By its id, unless the server has made that id of the function's name.
            return (!is_another).then_some(known);
        }
        let by_index = match entry.index {
            Some(index) => self.by_index.get(&index).copied(),
            // A single entry without an index goes on with the last call.
            None if is_one => self.calls.len().checked_sub(1),
            None => Some(at).filter(|&at| at < self.calls.len()),
        }?;
        let known = self.calls.get(by_index)?;
        // A new id and name begin a call even where the index is that of another.
        let begins = match (&entry.id, &entry.name) {
            // An id and a name that are both new.
            (Some(_), Some(_)) => true,
            // A name again: of the same call, unless that is complete or has another.
            (None, Some(name)) => {
                known.arguments.is_whole() || (!known.name.is_empty() && known.name != *name)
            }
            (_, None) => false,
        };
        (!begins).then_some(by_index)
    }

    /// The answer is over, or another call goes on: half a character of the arguments stays half.
    pub(super) fn flush(&mut self, events: &mut Vec<ChatEvent>) {
        // Half a character that nothing has completed: the arguments are what they are.
        if let Some(rest) = self.halves.finish() {
            events.push(ChatEvent::ToolCall(ToolCallDelta {
                index: u32::try_from(self.latest).unwrap_or(u32::MAX),
                id: None,
                name: None,
                arguments: rest.to_string(),
            }));
        }
    }
}

impl Entry {
    fn read(mut call: Map<String, Value>) -> Self {
        // A free text stands in `custom`.
        let inside = call.remove("function").or_else(|| call.remove("custom"));
        let (mut function, named) = match inside {
            Some(Value::Object(function)) => (function, None),
            other => (Map::new(), other),
        };
        // Taken out in turn: what is left is not looked at again.
        let index = call.remove("index");
        let id = call.remove("id").and_then(word);
        let name = named
            .and_then(word)
            .or_else(|| function.remove("name").and_then(word))
            .or_else(|| call.remove("name").and_then(word));
        let first = |members: &mut Map<String, Value>, names: &[&str]| {
            names
                .iter()
                .find_map(|name| members.remove(*name).filter(|value| !value.is_null()))
        };
        let arguments = first(&mut function, &["arguments", "parameters", "input"])
            .or_else(|| first(&mut call, &["arguments", "input"]));
        Self {
            index: index.and_then(|index| match index {
                Value::Number(number) => number.as_u64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            }),
            id: id.map(|id| json::whole(&id)),
            name: name.map(|name| json::whole(&name)),
            arguments: match arguments {
                None => String::new(),
                Some(Value::String(arguments)) => arguments,
                Some(value) => value.to_string(),
            },
        }
    }
}

/// A text that is not empty, or a number as one.
fn word(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// (index, id, name, arguments) of each piece.
    type Told = (u32, Option<String>, Option<String>, String);

    fn told(lists: &[Value], is_whole: bool) -> Vec<Told> {
        let mut events = Vec::new();
        let mut calls = Calls {
            is_mended: true,
            ..Calls::default()
        };
        for list in lists {
            calls.take(list.clone(), is_whole, &mut events);
        }
        calls.flush(&mut events);
        let told = events.into_iter().map(|event| {
            let ChatEvent::ToolCall(call) = event else {
                panic!()
            };
            (call.index, call.id, call.name, call.arguments)
        });
        told.collect()
    }

    fn call(index: Value, id: Value, name: Value, arguments: Value) -> Value {
        json!([{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}])
    }

    fn told_of(index: u32, id: &str, name: &str, arguments: &str) -> Told {
        let word = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
        (index, word(id), word(name), arguments.to_owned())
    }

    #[test]
    fn each_call_has_an_index_of_its_own() {
        let null = Value::Null;
        for (lists, expected) in [
            // OpenAI's own way.
            (
                vec![
                    call(json!(0), json!("a"), json!("f"), json!("")),
                    call(json!(0), null.clone(), null.clone(), json!("{}")),
                    call(json!(1), json!("b"), json!("g"), json!("")),
                    call(json!(1), null.clone(), null.clone(), json!("[]")),
                ],
                vec![
                    told_of(0, "a", "f", ""),
                    told_of(0, "", "", "{}"),
                    told_of(1, "b", "g", ""),
                    told_of(1, "", "", "[]"),
                ],
            ),
            // All at index 0, told apart by id, by pieces.
            (
                vec![
                    call(json!(0), json!("a"), json!("f"), json!("{")),
                    call(json!(0), json!("b"), json!("f"), json!("[")),
                    call(json!(0), json!("a"), json!("f"), json!("}")),
                    call(json!(0), json!("b"), json!(""), json!("]")),
                ],
                vec![
                    told_of(0, "a", "f", "{"),
                    told_of(1, "b", "f", "["),
                    told_of(0, "", "", "}"),
                    told_of(1, "", "", "]"),
                ],
            ),
            // Neither ids nor different indexes: a complete call is followed by another.
            (
                vec![
                    call(json!(0), json!(""), json!("f"), json!({"a": 1})),
                    call(json!(0), json!(""), json!("f"), json!({"a": 2})),
                ],
                vec![
                    told_of(0, "", "f", "{\"a\":1}"),
                    told_of(1, "", "f", "{\"a\":2}"),
                ],
            ),
            // A new id in every piece, the name only in the first.
            (
                vec![
                    call(json!(0), json!("a"), json!("f"), json!("{")),
                    call(json!(0), json!("b"), null.clone(), json!("}")),
                ],
                vec![told_of(0, "a", "f", "{"), told_of(0, "", "", "}")],
            ),
            // Index as text or null, the name again in every piece.
            (
                vec![
                    call(json!("0"), json!("a"), json!("f"), json!("{")),
                    call(null.clone(), null.clone(), json!("f"), json!("}")),
                    call(null.clone(), json!("b"), json!("g"), json!("{}")),
                ],
                vec![
                    told_of(0, "a", "f", "{"),
                    told_of(0, "", "", "}"),
                    told_of(1, "b", "g", "{}"),
                ],
            ),
            // The id is made of the function's name, and two calls have it.
            (
                vec![
                    call(json!(0), json!("f"), json!("f"), json!("{}")),
                    call(json!(1), json!("f"), json!("f"), json!("[")),
                    call(json!(1), json!("f"), null.clone(), json!("]")),
                ],
                vec![
                    told_of(0, "f", "f", "{}"),
                    told_of(1, "", "f", "["),
                    told_of(1, "", "", "]"),
                ],
            ),
            // The id and another index with every piece of one call.
            (
                vec![
                    call(json!(0), json!("a"), json!("f"), json!("{")),
                    call(json!(1), json!("a"), json!("f"), json!("}")),
                ],
                vec![told_of(0, "a", "f", "{"), told_of(0, "", "", "}")],
            ),
            // Half a character.
            (
                vec![
                    call(json!(0), json!("a"), json!("f"), json!("\"\u{10F800}")),
                    call(json!(0), null.clone(), null, json!("\u{10FC00}\"")),
                ],
                vec![
                    told_of(0, "a", "f", "\""),
                    told_of(0, "", "", "\u{10000}\""),
                ],
            ),
        ] {
            assert_eq!(told(&lists, false), expected, "{lists:?}");
        }
    }

    #[test]
    fn the_calls_of_a_whole_answer_are_never_joined() {
        let list = json!([
            {"id": "a", "function": {"name": "f", "arguments": {"city": "Oslo"}}},
            {"function": {"name": "f", "arguments": null}},
            {"index": 0, "function": {"name": "f", "arguments": "{}"}},
            {"index": 0, "name": "g", "input": {}},
            {"id": "a", "name": "g", "input": {}},
        ]);
        assert_eq!(
            told(&[list], true),
            [
                told_of(0, "a", "f", "{\"city\":\"Oslo\"}"),
                told_of(1, "", "f", ""),
                told_of(2, "", "f", "{}"),
                told_of(3, "", "g", "{}"),
                told_of(4, "", "g", "{}"),
            ]
        );
    }

    /// 160,000 calls blocked an event loop for 44 s.
    #[test]
    fn calls_cost_no_more_than_they_are_many() {
        let many = 160_000;
        let list: Vec<Value> = (0..many)
            .map(|at| json!({"index": at % 7, "id": format!("c{at}"), "function": {"name": "f", "arguments": "{}"}}))
            .collect();
        let started = std::time::Instant::now();
        assert_eq!(told(&[Value::Array(list)], false).len(), many);
        assert!(started.elapsed() < std::time::Duration::from_secs(20));
    }
}
