//! An independent reader of a Responses stream: it takes the bytes apart and holds each event against the rules of doors.md
//! section 8, from which alone it was written. Used by the voice's own tests and by the flows.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// A stream that keeps all rules.
#[derive(Debug)]
pub(crate) struct Told {
    /// The names of its events, in order, keep-alives left out.
    pub(crate) names: Vec<String>,
    /// The response that the last event tells.
    pub(crate) response: Value,
    /// How many keep-alives there were.
    pub(crate) keepalives: usize,
}

impl Told {
    /// The response's items.
    pub(crate) fn output(&self) -> &[Value] {
        self.response["output"]
            .as_array()
            .map_or(&[], Vec::as_slice)
    }

    /// Text of all messages.
    pub(crate) fn text(&self) -> String {
        let parts = self
            .output()
            .iter()
            .filter_map(|item| item["content"].as_array());
        parts
            .flatten()
            .filter_map(|part| part["text"].as_str())
            .collect()
    }
}

/// Reads a stream.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn read(stream: &str) -> Result<Told, String> {
    let mut reader = Reader::default();
    let body = stream
        .strip_suffix("\n\n")
        .ok_or("the stream does not end with a blank line")?;
    for block in body.split("\n\n") {
        let (name, data) = block
            .split_once('\n')
            .ok_or_else(|| format!("not two lines: {block:?}"))?;
        let name = name
            .strip_prefix("event: ")
            .ok_or_else(|| format!("no name: {block:?}"))?;
        let data = data
            .strip_prefix("data: ")
            .ok_or_else(|| format!("no data: {block:?}"))?;
        if data.contains('\n') {
            return Err(format!("more than two lines: {block:?}"));
        }
        let data: Value =
            serde_json::from_str(data).map_err(|error| format!("{error}: {data:?}"))?;
        reader
            .event(name, &data)
            .map_err(|broken| format!("{broken}, at {name} {data}"))?;
    }
    let response = reader.last.ok_or("no event ends the response")?;
    Ok(Told {
        names: reader.names,
        response,
        keepalives: reader.keepalives,
    })
}

#[derive(Default)]
struct Reader {
    number: u64,
    names: Vec<String>,
    keepalives: usize,
    id: Option<String>,
    ids: HashSet<String>,
    /// Items that are done, in order.
    done: Vec<Value>,
    added: u64,
    open: Option<Open>,
    last: Option<Value>,
}

/// An item that was added and is not done.
struct Open {
    index: u64,
    item: Value,
    parts: Vec<Value>,
    part: Option<Value>,
    /// Arguments of a function, text of a custom tool.
    said: String,
    is_said: bool,
}

type Checked<T = ()> = Result<T, String>;

fn must(holds: bool, rule: &str) -> Checked {
    if holds { Ok(()) } else { Err(rule.to_owned()) }
}

fn text<'a>(data: &'a Value, name: &str) -> Checked<&'a str> {
    data[name]
        .as_str()
        .ok_or_else(|| format!("{name} is no text"))
}

fn only(data: &Value, names: &[&str]) -> Checked {
    let members = data.as_object().ok_or("no object")?;
    for name in names {
        must(members.contains_key(*name), &format!("{name} is missing"))?;
    }
    let extra = members.keys().find(|name| {
        !names.contains(&name.as_str()) && !["type", "sequence_number"].contains(&name.as_str())
    });
    must(extra.is_none(), &format!("nobody knows {extra:?}"))
}

impl Reader {
    fn event(&mut self, name: &str, data: &Value) -> Checked {
        must(self.last.is_none(), "something follows the end")?;
        must(data["type"] == name, "name and type differ")?;
        must(
            data["sequence_number"] == self.number,
            "sequence numbers rise by one from 0",
        )?;
        self.number += 1;
        if name == "keepalive" {
            must(self.id.is_some(), "a keep-alive before response.created")?;
            self.keepalives += 1;
            return only(data, &[]);
        }
        let place = self.names.len();
        self.names.push(name.to_owned());
        must(
            (place == 0) == (name == "response.created"),
            "response.created is first and nothing else is",
        )?;
        must(
            (place == 1) == (name == "response.in_progress"),
            "response.in_progress is second and nothing else is",
        )?;
        match name {
            "response.created" | "response.in_progress" => {
                only(data, &["response"])?;
                let response = &data["response"];
                self.response(response, "in_progress")?;
                must(response["output"] == json!([]), "output has begun")?;
                must(response["usage"].is_null(), "usage before the end")
            }
            "response.output_item.added" => self.added(data),
            "response.output_item.done" => self.done(data),
            "response.content_part.added" => self.part_added(data),
            "response.content_part.done" => self.part_done(data),
            "response.reasoning_summary_part.added" => self.part_added(data),
            "response.reasoning_summary_part.done" => self.part_done(data),
            "response.output_text.delta" => {
                must(data["logprobs"] == json!([]), "logprobs")?;
                self.delta(data, "output_text", "text")
            }
            "response.refusal.delta" => self.delta(data, "refusal", "refusal"),
            "response.reasoning_summary_text.delta" => self.delta(data, "summary_text", "text"),
            "response.output_text.done" => {
                must(data["logprobs"] == json!([]), "logprobs")?;
                self.text_done(data, "output_text", "text")
            }
            "response.refusal.done" => self.text_done(data, "refusal", "refusal"),
            "response.reasoning_summary_text.done" => self.text_done(data, "summary_text", "text"),
            "response.output_text.annotation.added" => self.annotation(data),
            "response.function_call_arguments.delta" => self.call_delta(data, "function_call"),
            "response.custom_tool_call_input.delta" => self.call_delta(data, "custom_tool_call"),
            "response.function_call_arguments.done" => {
                only(data, &["item_id", "output_index", "name", "arguments"])?;
                let open = self.call(data, "function_call")?;
                must(data["name"] == open.item["name"], "another name")?;
                must(data["arguments"] == open.said.as_str(), "arguments differ")?;
                open.is_said = true;
                Ok(())
            }
            "response.custom_tool_call_input.done" => {
                only(data, &["item_id", "output_index", "input"])?;
                let open = self.call(data, "custom_tool_call")?;
                must(data["input"] == open.said.as_str(), "input differs")?;
                open.is_said = true;
                Ok(())
            }
            "response.completed" => self.end(data, "completed"),
            "response.incomplete" => self.end(data, "incomplete"),
            "response.failed" => self.end(data, "failed"),
            _ => Err("an event that nobody knows".to_owned()),
        }
    }

    /// The members of a response that are the same in all events.
    fn response(&mut self, response: &Value, status: &str) -> Checked {
        let id = text(response, "id")?;
        must(
            id.strip_prefix("resp_")
                .is_some_and(|rest| rest.len() == 32),
            "an id is resp_ and 32 characters",
        )?;
        must(
            self.id.get_or_insert_with(|| id.to_owned()) == id,
            "response.id changes",
        )?;
        must(response["object"] == "response", "object")?;
        must(response["created_at"].is_u64(), "created_at")?;
        text(response, "model")?;
        must(response["status"] == status, "status")?;
        must(response["tools"] == json!([]), "tools are [] in a stream")?;
        must(
            response["instructions"].is_null(),
            "instructions in a stream",
        )?;
        for name in ["metadata", "reasoning", "text"] {
            must(response[name].is_object(), name)?;
        }
        must(
            response["parallel_tool_calls"].is_boolean(),
            "parallel_tool_calls",
        )?;
        must(response["store"].is_boolean(), "store")?;
        must(response["truncation"] == "disabled", "truncation")?;
        must(
            (status == "failed") != response["error"].is_null(),
            "an error with failed, and never else",
        )?;
        must(
            (status == "incomplete") != response["incomplete_details"].is_null(),
            "details with incomplete, and never else",
        )?;
        must(
            (status == "completed") != response["completed_at"].is_null(),
            "completed_at with completed, and never else",
        )
    }

    fn added(&mut self, data: &Value) -> Checked {
        only(data, &["output_index", "item"])?;
        must(self.open.is_none(), "an item is open")?;
        must(
            data["output_index"] == self.added,
            "output_index is the place",
        )?;
        let item = &data["item"];
        let id = text(item, "id")?;
        must(
            !id.is_empty() && self.ids.insert(id.to_owned()),
            "an id of its own",
        )?;
        match text(item, "type")? {
            "message" => {
                must(id.starts_with("msg_"), "msg_")?;
                must(item["content"] == json!([]), "content at the start")?;
                must(item["role"] == "assistant", "role")?;
                must(item["status"] == "in_progress", "status")?;
            }
            "reasoning" => {
                must(id.starts_with("rs_"), "rs_")?;
                must(item["summary"] == json!([]), "summary at the start")?;
            }
            "function_call" => {
                must(id.starts_with("fc_"), "fc_")?;
                must(item["arguments"] == "", "arguments at the start")?;
                must(item["status"] == "in_progress", "status")?;
                must(!text(item, "call_id")?.is_empty(), "call_id")?;
                text(item, "name")?;
            }
            "custom_tool_call" => {
                must(id.starts_with("ctc_"), "ctc_")?;
                must(item["input"] == "", "input at the start")?;
                must(!text(item, "call_id")?.is_empty(), "call_id")?;
                text(item, "name")?;
            }
            "local_shell_call" | "shell_call" | "apply_patch_call" | "tool_search_call" => {
                must(!text(item, "call_id")?.is_empty(), "call_id")?;
            }
            _ => return Err("an item that nobody knows".to_owned()),
        }
        self.open = Some(Open {
            index: self.added,
            item: item.clone(),
            parts: Vec::new(),
            part: None,
            said: String::new(),
            is_said: false,
        });
        self.added += 1;
        Ok(())
    }

    /// The open item, which an event must be about.
    fn item(&mut self, data: &Value) -> Checked<&mut Open> {
        let open = self.open.as_mut().ok_or("no item is open")?;
        must(data["item_id"] == open.item["id"], "item_id")?;
        must(data["output_index"] == open.index, "output_index")?;
        Ok(open)
    }

    fn call(&mut self, data: &Value, kind: &str) -> Checked<&mut Open> {
        let open = self.item(data)?;
        must(open.item["type"] == kind, "an item of another type")?;
        must(!open.is_said, "after its done")?;
        Ok(open)
    }

    fn call_delta(&mut self, data: &Value, kind: &str) -> Checked {
        only(data, &["item_id", "output_index", "delta"])?;
        let delta = text(data, "delta")?;
        must(!delta.is_empty(), "an empty delta")?;
        self.call(data, kind)?.said.push_str(delta);
        Ok(())
    }

    fn part_added(&mut self, data: &Value) -> Checked {
        let (kinds, index, empty): (&[&str], _, _) = match text(data, "type")? {
            "response.content_part.added" => (
                &["message"],
                "content_index",
                [
                    json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []}),
                    json!({"type": "refusal", "refusal": ""}),
                ],
            ),
            _ => (
                &["reasoning"],
                "summary_index",
                [json!({"type": "summary_text", "text": ""}), Value::Null],
            ),
        };
        only(data, &["item_id", "output_index", index, "part"])?;
        let open = self.item(data)?;
        must(
            kinds.contains(&text(&open.item, "type")?),
            "a part of another item",
        )?;
        must(open.part.is_none(), "a part is open")?;
        must(data[index] == open.parts.len(), "parts are numbered from 0")?;
        must(empty.contains(&data["part"]), "a part begins empty")?;
        open.part = Some(data["part"].clone());
        Ok(())
    }

    /// The open part, which an event must be about.
    fn part(&mut self, data: &Value, kind: &str) -> Checked<&mut Value> {
        let open = self.item(data)?;
        let index = if kind == "summary_text" {
            "summary_index"
        } else {
            "content_index"
        };
        must(data[index] == open.parts.len(), "another part")?;
        let part = open.part.as_mut().ok_or("no part is open")?;
        must(part["type"] == kind, "a part of another type")?;
        Ok(part)
    }

    fn delta(&mut self, data: &Value, kind: &str, member: &str) -> Checked {
        let delta = text(data, "delta")?;
        must(!delta.is_empty(), "an empty delta")?;
        let part = self.part(data, kind)?;
        let whole = format!("{}{delta}", text(part, member)?);
        part[member] = whole.into();
        Ok(())
    }

    fn text_done(&mut self, data: &Value, kind: &str, member: &str) -> Checked {
        let part = self.part(data, kind)?;
        must(
            part[member] == data[member],
            "the text differs from its deltas",
        )
    }

    fn annotation(&mut self, data: &Value) -> Checked {
        let part = self.part(data, "output_text")?;
        let length = text(part, "text")?.chars().count() as u64;
        let list = part["annotations"].as_array_mut().ok_or("annotations")?;
        must(data["annotation_index"] == list.len(), "annotation_index")?;
        let annotation = &data["annotation"];
        must(
            annotation["type"] == "url_citation",
            "type of an annotation",
        )?;
        text(annotation, "url")?;
        text(annotation, "title")?;
        let at = |name: &str| annotation[name].as_u64().ok_or("no place");
        let (start, end) = (at("start_index")?, at("end_index")?);
        must(start <= end && end <= length, "a place outside of the text")?;
        list.push(annotation.clone());
        Ok(())
    }

    fn part_done(&mut self, data: &Value) -> Checked {
        let kind = text(&data["part"], "type")?.to_owned();
        let part = self.part(data, &kind)?;
        must(*part == data["part"], "the part differs from what was said")?;
        let open = self.item(data)?;
        open.parts.extend(open.part.take());
        Ok(())
    }

    fn done(&mut self, data: &Value) -> Checked {
        only(data, &["output_index", "item"])?;
        let open = self.open.take().ok_or("no item is open")?;
        must(data["output_index"] == open.index, "output_index")?;
        must(open.part.is_none(), "a part is open")?;
        let item = &data["item"];
        for name in ["id", "type", "call_id", "name", "namespace", "role"] {
            must(item[name] == open.item[name], &format!("{name} changes"))?;
        }
        match text(item, "type")? {
            "message" => {
                must(!open.parts.is_empty(), "a message without parts")?;
                must(item["content"] == json!(open.parts), "content differs")?;
                status(item)?;
            }
            "reasoning" => must(item["summary"] == json!(open.parts), "summary differs")?,
            "function_call" => {
                must(open.is_said, "no arguments.done")?;
                must(item["arguments"] == open.said.as_str(), "arguments differ")?;
                status(item)?;
            }
            "custom_tool_call" => {
                must(open.is_said, "no input.done")?;
                must(item["input"] == open.said.as_str(), "input differs")?;
            }
            _ => must(item["status"] == "completed", "status")?,
        }
        self.done.push(item.clone());
        Ok(())
    }

    fn end(&mut self, data: &Value, status: &str) -> Checked {
        only(data, &["response"])?;
        let response = &data["response"];
        self.response(response, status)?;
        let output = response["output"].as_array().ok_or("output")?;
        let mut expected = self.done.len();
        must(
            output.get(..expected) == Some(&self.done[..]),
            "output differs from the items that are done",
        )?;
        if let Some(open) = &self.open {
            must(status != "completed", "an item is open")?;
            let item = output.get(expected).ok_or("an open item is left out")?;
            for name in ["id", "type", "call_id"] {
                must(item[name] == open.item[name], name)?;
            }
            expected += 1;
        }
        must(output.len() == expected, "output has what was never added")?;
        match status {
            "failed" => {
                text(&response["error"], "code")?;
                must(!text(&response["error"], "message")?.is_empty(), "message")?;
            }
            "incomplete" => must(
                ["max_output_tokens", "content_filter"]
                    .contains(&text(&response["incomplete_details"], "reason")?),
                "reason",
            )?,
            _ => usage(&response["usage"])?,
        }
        self.last = Some(response.clone());
        Ok(())
    }
}

fn status(item: &Value) -> Checked {
    must(
        ["completed", "incomplete"].contains(&text(item, "status")?),
        "status of an item that is done",
    )
}

fn usage(usage: &Value) -> Checked {
    let count = |value: &Value| value.as_u64().ok_or("a count is no number");
    let (input, output) = (
        count(&usage["input_tokens"])?,
        count(&usage["output_tokens"])?,
    );
    must(
        count(&usage["total_tokens"])? == input + output,
        "total_tokens",
    )?;
    count(&usage["input_tokens_details"]["cached_tokens"])?;
    count(&usage["input_tokens_details"]["cache_write_tokens"])?;
    count(&usage["output_tokens_details"]["reasoning_tokens"])?;
    Ok(())
}

/// Items without what is made up anew for each answer: their ids.
pub(crate) fn without_ids(output: &[Value]) -> Vec<Value> {
    let mut output = output.to_vec();
    for item in &mut output {
        item.as_object_mut()
            .map(|members: &mut Map<String, Value>| members.remove("id"));
    }
    output
}
