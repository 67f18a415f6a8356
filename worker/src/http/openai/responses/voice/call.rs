//! An item of a call: of a function, of a tool that takes a free text, or of a tool that is a type of its own. Which of
//! them it is, the client has said when it offered the tool. Source: doors.md sections 5, 7 and 8.

use bytes::BytesMut;
use serde_json::{Value, json};

use super::{
    events::{Delta, Events},
    outputs::{Outputs, Seat, Status, quoted},
};
use crate::{
    chat::tools,
    http::openai::responses::{
        builtin::{self, Builtin},
        toolbox::{Origin, Place, Toolbox},
        unwrap::{may_be_wrapped, unwrapped},
    },
    upstream::json::Scan,
};

/// A call as far as it was known when it began.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// The engine's number of it.
    pub(super) index: u32,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) text: String,
}

/// A call that is being said.
#[derive(Debug)]
pub(super) struct Call {
    /// The engine's number of it.
    pub(super) index: u32,
    call_id: String,
    /// As the model has it.
    name: String,
    text: String,
    scan: Scan,
    form: Form,
}

/// How its client knows it.
#[derive(Debug)]
enum Form {
    /// `function_call`: each piece of the arguments goes out as it comes.
    Function(Item),
    /// `custom_tool_call`. Its text may turn out to be wrapped, and is kept until that is clear.
    Text { item: Item, is_kept: bool },
    /// The item depends on the whole of the arguments, and nothing is said before.
    Builtin(Origin),
}

impl Call {
    /// Begins a call, and says what is there of it.
    pub(super) fn open(
        begun: Begun,
        toolbox: &Toolbox,
        outputs: &mut Outputs,
        events: &mut Events,
        out: &mut BytesMut,
    ) -> Self {
        let name = begun.name.unwrap_or_default();
        // The engine gives ids to calls that come without; a client could not answer one that has none.
        let call_id = begun.id.unwrap_or_else(tools::new_id);
        let form = match toolbox.origin(&name) {
            Origin::Function(place) => Form::Function(Item::open(
                Kind::Function,
                place,
                &call_id,
                outputs,
                events,
                out,
            )),
            Origin::Custom(place) => Form::Text {
                item: Item::open(Kind::Text, place, &call_id, outputs, events, out),
                is_kept: true,
            },
            builtin => Form::Builtin(builtin),
        };
        let mut call = Self {
            index: begun.index,
            call_id,
            name,
            text: String::new(),
            scan: Scan::default(),
            form,
        };
        if !begun.text.is_empty() {
            call.say(events, out, &begun.text);
        }
        call
    }

    /// Says more of it.
    pub(super) fn say(&mut self, events: &mut Events, out: &mut BytesMut, text: &str) {
        self.text.push_str(text);
        // The end of the JSON is found while it comes, so that other items need not wait for the end of the answer.
        self.scan.feed(text.as_bytes());
        match &mut self.form {
            Form::Function(item)
            | Form::Text {
                item,
                is_kept: false,
            } => {
                events.put_delta(out, &item.delta, text);
            }
            Form::Text { item, is_kept } => {
                // Judged anew with each piece, until it is clear; the beginning alone decides, so this stays cheap.
                *is_kept = may_be_wrapped(&self.text);
                if !*is_kept {
                    // All of what was kept at once, as one delta.
                    events.put_delta(out, &item.delta, &self.text);
                }
            }
            Form::Builtin(_) => {}
        }
    }

    /// Whether nothing of it can be missing. A free text shows no end of its own, and whatever follows it ends it.
    pub(super) fn is_whole(&self) -> bool {
        match self.form {
            Form::Text { .. } if !self.text.trim_start().starts_with('{') => true,
            Form::Function(_) | Form::Text { .. } | Form::Builtin(_) => self.scan.is_whole(),
        }
    }

    /// Ends the call.
    pub(super) fn close(
        self,
        outputs: &mut Outputs,
        events: &mut Events,
        out: &mut BytesMut,
        status: Status,
    ) {
        let is_cut = status == Status::Incomplete && !self.scan.is_whole();
        let Self {
            call_id,
            name,
            text,
            form,
            ..
        } = self;
        match form {
            Form::Function(item) => {
                // A call that is whole stays completed, even where the answer was cut behind it: its client may run it.
                let status = if is_cut { status } else { Status::Completed };
                item.close_function(&call_id, text, status, outputs, events, out);
            }
            Form::Text { item, is_kept } => {
                let whole = if is_kept {
                    unwrapped(&text, &item.place.name)
                } else {
                    text.into()
                };
                if is_cut {
                    // A client runs what is done, and half a text may well be something that runs: it stands in the last
                    // event, and is never done.
                    outputs.keep(&item.text_call(&call_id, &whole));
                    return;
                }
                if is_kept && !whole.is_empty() {
                    events.put_delta(out, &item.delta, &whole);
                }
                item.close_text(&call_id, &whole, outputs, events, out);
            }
            // Half of it is nothing that its client has a word for.
            Form::Builtin(_) if is_cut => {}
            Form::Builtin(origin) => match builtin::items(&origin, &text) {
                Some(items) => say_builtins(items, &call_id, outputs, events, out),
                // The client tells the model what it makes of such arguments, as of those of any function.
                None => {
                    let place = Place {
                        namespace: None,
                        name: name.into(),
                    };
                    // Opened only now: as a built-in it would have been announced in a type that it turned out not to
                    // be.
                    let item = Item::open(Kind::Function, place, &call_id, outputs, events, out);
                    if !text.is_empty() {
                        events.put_delta(out, &item.delta, &text);
                    }
                    item.close_function(&call_id, text, Status::Completed, outputs, events, out);
                }
            },
        }
    }
}

/// Items of a type of their own, which have no deltas. Several of one call (the files of a patch) have an id each.
fn say_builtins(
    items: Vec<Builtin>,
    call_id: &str,
    outputs: &mut Outputs,
    events: &mut Events,
    out: &mut BytesMut,
) {
    for (at, builtin) in items.into_iter().enumerate() {
        let seat = outputs.seat(builtin.prefix);
        let call_id = if at == 0 {
            call_id.to_owned()
        } else {
            // A client answers each of them, and the answers are told apart by the id alone.
            format!("{call_id}_{at}")
        };
        let mut item = json!({"type": builtin.kind, "id": seat.id, "call_id": call_id});
        if let Value::Object(members) = &mut item {
            members.extend(builtin.members);
        }
        for (event, status) in [
            ("response.output_item.added", "in_progress"),
            ("response.output_item.done", "completed"),
        ] {
            // Both events at once: a built-in is told when it is whole, and clients expect the pair.
            item["status"] = status.into();
            events.put(out, event, |it| {
                it.put("output_index", &seat.index).put("item", &item);
            });
        }
        outputs.keep(&item.to_string());
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Function,
    Text,
}

/// An item that its client has been told of.
#[derive(Debug)]
struct Item {
    seat: Seat,
    place: Place,
    delta: Delta,
}

impl Item {
    fn open(
        kind: Kind,
        place: Place,
        call_id: &str,
        outputs: &mut Outputs,
        events: &mut Events,
        out: &mut BytesMut,
    ) -> Self {
        let (prefix, delta) = match kind {
            Kind::Function => ("fc", "response.function_call_arguments.delta"),
            Kind::Text => ("ctc", "response.custom_tool_call_input.delta"),
        };
        let seat = outputs.seat(prefix);
        let it = Self {
            delta: Delta::new(delta, &seat.members(), "}\n\n"),
            place,
            seat,
        };
        let item = match kind {
            Kind::Function => it.function_call(call_id, "", "in_progress"),
            Kind::Text => it.text_call(call_id, ""),
        };
        events.put(out, "response.output_item.added", |members| {
            members
                .put("output_index", &it.seat.index)
                .put_raw("item", &[&item]);
        });
        it
    }

    fn close_function(
        self,
        call_id: &str,
        mut arguments: String,
        status: Status,
        outputs: &mut Outputs,
        events: &mut Events,
        out: &mut BytesMut,
    ) {
        // Clients read them as JSON (conformance T4).
        if status == Status::Completed && arguments.trim().is_empty() {
            events.put_delta(out, &self.delta, "{}");
            arguments.push_str("{}");
        }
        events.put(out, "response.function_call_arguments.done", |members| {
            // The name beside the arguments, as the reference has it by now; older clients pass it over.
            members
                .put_all(&self.seat.members())
                .put("name", &*self.place.name)
                .put("arguments", &arguments);
        });
        let item = self.function_call(call_id, &arguments, status.word());
        self.done(&item, outputs, events, out);
    }

    fn close_text(
        self,
        call_id: &str,
        input: &str,
        outputs: &mut Outputs,
        events: &mut Events,
        out: &mut BytesMut,
    ) {
        events.put(out, "response.custom_tool_call_input.done", |members| {
            members.put_all(&self.seat.members()).put("input", input);
        });
        let item = self.text_call(call_id, input);
        self.done(&item, outputs, events, out);
    }

    fn done(self, item: &str, outputs: &mut Outputs, events: &mut Events, out: &mut BytesMut) {
        events.put(out, "response.output_item.done", |members| {
            members
                .put("output_index", &self.seat.index)
                .put_raw("item", &[item]);
        });
        outputs.keep(item);
    }

    fn function_call(&self, call_id: &str, arguments: &str, status: &str) -> String {
        let arguments = quoted(arguments);
        let named = self.named(call_id);
        format!(r#"{{"type":"function_call",{named},"arguments":{arguments},"status":"{status}"}}"#)
    }

    fn text_call(&self, call_id: &str, input: &str) -> String {
        let input = quoted(input);
        let named = self.named(call_id);
        format!(r#"{{"type":"custom_tool_call",{named},"input":{input}}}"#)
    }

    /// Who is called: with its namespace and its bare name, or its name alone.
    fn named(&self, call_id: &str) -> String {
        let (id, call_id, name) = (&self.seat.id, quoted(call_id), quoted(&self.place.name));
        match &self.place.namespace {
            Some(namespace) => {
                let namespace = quoted(namespace);
                format!(r#""id":"{id}","call_id":{call_id},"namespace":{namespace},"name":{name}"#)
            }
            None => format!(r#""id":"{id}","call_id":{call_id},"name":{name}"#),
        }
    }
}
