//! The conversation so far as plain messages: one rendering of calls and results for every provider. It is what a model
//! learns the form of its next call from, so it is to the byte what the contract asks for; and the same conversation renders
//! to the same bytes in every turn, so that an upstream conversation can be gone on with. Source: tools.md section 11.

use std::fmt::Write as _;

use super::{
    json::read_exact,
    nonce::Nonce,
    schema::{Kind, Offered, OfferedTool},
    tree::Tree,
};
use crate::chat::{
    Content, Message, Part, Role, Text,
    message::FunctionCall,
    normal::{self, Step},
};

/// What stands in the place of a result that never came.
const NO_RESULT: &str = "(no result was given)";

/// What history is rendered with.
#[derive(Debug)]
pub struct History<'a> {
    /// The conversation's mark.
    pub nonce: &'a Nonce,
    /// The tools, offered now or not.
    pub offered: &'a Offered,
    /// The provider takes pictures; of one that does not, a result says what there was to see.
    pub takes_pictures: bool,
    /// The calls in a text of the assistant's that leaked from another gateway, and the text without them; `None` for any
    /// other text.
    pub leaked: Leaked,
}

/// Takes the calls out of a text, if it ends in some.
pub type Leaked = fn(&Offered, &Nonce, &str) -> Option<(String, Vec<FunctionCall>)>;

/// Whether anything of a conversation has to be rendered.
pub fn has_calls(messages: &[Message]) -> bool {
    let has_calls = |message: &Message| {
        normal::is_result(message)
            || message
                .tool_calls
                .as_ref()
                .is_some_and(|calls| !calls.is_empty())
    };
    messages.iter().any(has_calls)
}

impl History<'_> {
    /// The messages, with calls and results as text.
    pub fn render(&self, messages: &[Message]) -> Vec<Message> {
        let mut rendered: Vec<Message> = Vec::with_capacity(messages.len() + 2);
        // The names of the calls that the next results answer, as results tell only their numbers.
        let mut calls: Vec<&str> = Vec::new();
        let mut results: Option<Results> = None;
        for step in normal::steps(messages) {
            if let Step::Result { call, message } = step {
                // Numbers are from 1, as people count.
                let name = call.and_then(|call| calls.get(call - 1).copied());
                let results = results.get_or_insert_with(|| Results::new(self.nonce));
                self.result(call, name, message, results);
                continue;
            }
            // Text around results of the same turn follows the block.
            // All results of a turn are one message: web chats answer each message of the user's.
            if let Some(results) = results.take() {
                match step {
                    Step::Said(message) if message.role == Role::User => {
                        rendered.push(results.message(Some(message)));
                        continue;
                    }
                    _ => rendered.push(results.message(None)),
                }
            }
            match step {
                Step::Called {
                    message,
                    calls: called,
                } => {
                    let functions = called.iter().filter_map(|call| call.function.as_ref());
                    calls = functions.clone().map(|function| &*function.name).collect();
                    let text = normal::text(message).into_owned();
                    rendered.push(self.called(text, functions));
                }
                Step::Said(message) => rendered.extend(self.said(message)),
                Step::Result { .. } => {}
            }
        }
        rendered.extend(results.map(|results| results.message(None)));
        rendered
    }

    /// A message without calls; `None` for one that is only a billing line.
    fn said(&self, message: &Message) -> Option<Message> {
        match message.role {
            Role::System | Role::Developer => {
                let text = normal::text(message);
                // A line that some client adds for its own books says nothing to another service's model.
                let is_billing = text.is_empty() && message.has_words();
                let plain = || Message::new(Role::System, text.as_ref());
                (!is_billing).then(plain)
            }
            Role::Assistant => {
                let text = normal::text(message);
                let leaked = (self.leaked)(self.offered, self.nonce, &text);
                Some(match leaked {
                    Some((text, calls)) => self.called(text, calls.iter()),
                    // Thoughts are no part of what was said, and no web chat takes them back.
                    None => Message {
                        reasoning: None,
                        ..message.clone()
                    },
                })
            }
            Role::User | Role::Tool | Role::Function => Some(message.clone()),
        }
    }

    /// What the assistant said, and the block behind it.
    fn called<'a>(
        &self,
        mut text: String,
        calls: impl Iterator<Item = &'a FunctionCall>,
    ) -> Message {
        // Models end their words with blank lines, which would grow from turn to turn.
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let nonce = self.nonce;
        // Memory cannot fail to be written, here and below.
        let _ = writeln!(text, "<calls-{nonce}>");
        for call in calls {
            // By the name that the model knows, aliases included: it goes by what it sees.
            let tool = self.offered.known(&call.name);
            let name = tool.map_or(&*call.name, OfferedTool::rendered_name);
            let _ = writeln!(text, "<call-{nonce} name={}>", quoted(name));
            self.arguments(tool, &call.arguments, &mut text);
            let _ = writeln!(text, "</call-{nonce}>");
        }
        let _ = write!(text, "</calls-{nonce}>");
        Message::new(Role::Assistant, text)
    }

    fn arguments(&self, tool: Option<&OfferedTool>, arguments: &Text, text: &mut String) {
        let read = read_exact(arguments);
        match (tool, read) {
            (Some(tool), _) if tool.is_custom => self.argument("input", arguments, text),
            (_, Ok(Tree::Object(members))) => {
                for (name, value) in &members {
                    let shape = tool.and_then(|tool| tool.params.shape_of(name));
                    let kind = match (tool, shape) {
                        // What no schema speaks of any more is text where it was text.
                        (None, _) => Kind::Text,
                        (_, shape) => shape.map_or(Kind::Untyped, |shape| shape.kind()),
                    };
                    self.argument(name, &value_in(kind, value), text);
                }
            }
            // A free text of a tool that is gone, or what no client should have kept: it stands for itself.
            // A call without arguments has none to show.
            _ if arguments.trim().is_empty() => {}
            (None, Err(_)) => self.argument("input", arguments, text),
            _ => {
                let _ = writeln!(text, "{arguments}");
            }
        }
    }

    fn argument(&self, name: &str, value: &str, text: &mut String) {
        let nonce = self.nonce;
        let _ = writeln!(
            text,
            "<arg-{nonce} name={}>\n{value}\n</arg-{nonce}>",
            quoted(name)
        );
    }

    fn result(
        &self,
        call: Option<usize>,
        name: Option<&str>,
        message: Option<&Message>,
        results: &mut Results,
    ) {
        let nonce = self.nonce;
        let text = &mut results.text;
        let _ = write!(text, "<result-{nonce}");
        if let Some(number) = call {
            let _ = write!(text, " call=\"{number}\"");
        }
        // Of a result that nobody asked for only its own words say what it is of.
        let name = name.or_else(|| message.and_then(|message| message.name.as_deref()));
        if let Some(name) = name {
            let known = self.offered.known(name);
            let name = known.map_or(name, OfferedTool::rendered_name);
            let _ = write!(text, " tool={}", quoted(name));
        }
        if message.is_some_and(|message| message.is_error) {
            text.push_str(" status=\"error\"");
        }
        text.push_str(">\n");
        match message {
            None => text.push_str(NO_RESULT),
            Some(message) => {
                let words = normal::text(message);
                text.push_str(&words);
                // A gap only between two things.
                let mut is_first = words.is_empty();
                for part in message.attachments() {
                    if self.takes_pictures {
                        results.attachments.push(part.clone());
                    }
                    let gap = if std::mem::take(&mut is_first) {
                        ""
                    } else {
                        "\n"
                    };
                    let _ = write!(text, "{gap}{}", named(part, self.takes_pictures));
                }
            }
        }
        let _ = write!(text, "\n</result-{nonce}>\n");
    }
}

/// The results of one turn.
struct Results {
    text: String,
    attachments: Vec<Part>,
    end: String,
}

impl Results {
    fn new(nonce: &Nonce) -> Self {
        Self {
            text: format!("<results-{nonce}>\n"),
            attachments: Vec::new(),
            end: format!("</results-{nonce}>"),
        }
    }

    /// The turn of the user's that they are, with what else the user says in it.
    fn message(self, said: Option<&Message>) -> Message {
        let mut text = self.text + &self.end;
        let mut attachments = self.attachments;
        if let Some(said) = said {
            let words = said.text();
            if !words.is_empty() {
                let _ = write!(text, "\n\n{words}");
            }
            attachments.extend(said.attachments().cloned());
        }
        let mut message = Message::new(Role::User, "");
        message.content = if attachments.is_empty() {
            Content::Text(text.into())
        } else {
            let text = Part::Text { text: text.into() };
            Content::Parts([text].into_iter().chain(attachments).collect())
        };
        message
    }
}

/// A value as the contract asks for it.
fn value_in(kind: Kind, value: &Tree) -> String {
    match (kind, value) {
        (Kind::Text | Kind::NullableText, Tree::Text(text)) => text.clone(),
        // What would be read as JSON is quoted, so that it stays the text that it is.
        (Kind::Untyped, Tree::Text(text)) if read_exact(text.trim()).is_err() => text.clone(),
        _ => value.to_json(),
    }
}

/// A name as an attribute. No entity is decoded in tags, so a name that holds a quote gets the other one.
fn quoted(name: &str) -> String {
    let mark = if name.contains('"') { '\'' } else { '"' };
    format!("{mark}{name}{mark}")
}

/// What there is to see, in words.
fn named(part: &Part, is_attached: bool) -> String {
    let (what, source) = match part {
        Part::ImageUrl { image_url, .. } => ("picture", image_url.url()),
        Part::FileUrl { file_url } => ("document", file_url.url()),
        Part::File { file } => (
            "document",
            file.file_data
                .as_deref()
                .or(file.url.as_deref())
                .unwrap_or_default(),
        ),
        Part::Text { .. } | Part::Refusal { .. } | Part::Other { .. } => ("part", ""),
    };
    if is_attached {
        return format!("({what}: attached)");
    }
    match source
        .strip_prefix("data:")
        .and_then(|data| data.split_once([';', ',']))
    {
        Some((kind, data)) => {
            // Four characters of base64 are three bytes.
            let kilobytes = (data.len() * 3 / 4).div_ceil(1024);
            format!("({what}: {kind}, {kilobytes} KB; not shown)")
        }
        None => format!("({what}; not shown)"),
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
