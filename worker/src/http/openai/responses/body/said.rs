//! The conversation that a body's items tell. Source: doors.md section 4.

use std::collections::HashSet;

use super::{
    item::{Call, Item},
    kit::{Kit, Source, flat},
};
use crate::{
    chat::{
        Content, Invalid, Message, Part, Role, Text,
        message::{FunctionCall, ToolCall},
    },
    http::reading::quoted,
};

/// The conversation so far.
#[derive(Default)]
pub(super) struct Said {
    /// Each with the place of its item, where it is one.
    pub(super) messages: Vec<(Option<usize>, Message)>,
    /// The names that the history has called, as the model knows them.
    pub(super) called: HashSet<Text>,
}

impl Said {
    pub(super) fn take(&mut self, items: Vec<Item>, kit: &mut Kit) -> Result<(), Invalid> {
        for (at, item) in items.into_iter().enumerate() {
            match item {
                Item::Message(message) => self.messages.push((Some(at), message)),
                Item::Call(call) => self.call(at, call),
                Item::Result(mut message, tools) => {
                    // The tools before the result is cut: what it brings is known to the kit then.
                    kit.take(tools, Source::Found)?;
                    leave_out_unknown(&mut message, kit);
                    self.messages.push((Some(at), message));
                }
                Item::Tools(tools) => kit.take(tools, Source::History)?,
                Item::Thought => {}
                Item::Dropped(kind) => kit.ignore("input", &kind),
                Item::Refused(why) => {
                    return Err(Invalid {
                        code: Some("unsupported_parameter"),
                        ..Invalid::field(&format!("input[{at}]"), why)
                    });
                }
            }
        }
        Ok(())
    }

    /// Consecutive calls, and the text before them, are one message.
    fn call(&mut self, at: usize, call: Call) {
        let name = flat(call.namespace.as_ref(), &call.name);
        self.called.insert(name.clone());
        let call = ToolCall {
            id: call.id.to_string(),
            is_custom: call.is_custom,
            function: Some(FunctionCall {
                name: name.to_string(),
                arguments: call.text,
            }),
        };
        match self.messages.last_mut() {
            // In Responses each call is an item; in chats those of one round are one message, and services refuse a
            // call whose answer does not follow it.
            Some((_, message)) if message.role == Role::Assistant => {
                message.tool_calls.get_or_insert_default().push(call);
            }
            _ => {
                let message = Message {
                    content: Content::Empty,
                    tool_calls: Some(vec![call]),
                    ..Message::new(Role::Assistant, "")
                };
                self.messages.push((Some(at), message));
            }
        }
    }

    /// The first part that web chats cannot take. Files of the service's own are never known here; of others only those
    /// that ask for something matter, which stand behind the last answer.
    pub(super) fn odd_part(&self) -> Result<Option<Invalid>, Invalid> {
        let mut behind = self
            .messages
            .iter()
            .rposition(|(_, message)| message.role == Role::Assistant)
            .map_or(0, |at| at + 1);
        for (at, message) in &self.messages {
            let is_history = behind > 0;
            // Counts down to nothing at the last answer, so the position need not be compared with that of an item.
            behind = behind.saturating_sub(1);
            let Content::Parts(parts) = &message.content else {
                continue;
            };
            let kind = parts.iter().find_map(|part| match part {
                Part::Other { kind } => Some(&**kind),
                _ => None,
            });
            let Some(kind) = kind else { continue };
            let param = format!("input[{}].content", at.unwrap_or_default());
            // Also in the history: a picture that only the service has would leave the model blind to what was talked
            // about.
            if matches!(kind, "input_image" | "input_file" | "file") {
                return Err(Invalid {
                    code: Some("file_rejected"),
                    ..Invalid::field(
                        &param,
                        "This gateway keeps no files: send the picture in 'image_url', the document in 'file_data' or its URL in 'file_url'.",
                    )
                });
            }
            if !is_history && message.role != Role::Tool {
                return Ok(Some(Invalid {
                    code: Some("unsupported_content"),
                    ..Invalid::field(
                        &param,
                        format!(
                            "Parts of type '{}' are not supported by this model's provider.",
                            quoted(kind)
                        ),
                    )
                }));
            }
        }
        Ok(None)
    }
}

/// What a tool has brought and nobody understands must not end a session.
fn leave_out_unknown(message: &mut Message, kit: &mut Kit) {
    if let Content::Parts(parts) = &mut message.content {
        parts.retain(|part| {
            let Part::Other { kind } = part else {
                return true;
            };
            let is_file = matches!(&**kind, "input_image" | "input_file" | "file");
            if !is_file {
                kit.ignore("input", kind);
            }
            // Those of files stay: `odd_part` complains about them by the item's place.
            is_file
        });
    }
}
