//! Items of `input`: what was said, called and found before. Source: doors.md section 6.

use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, value::RawValue};

use super::tool::{self, Given};
use crate::{
    chat::{Content, Message, Part, Role, Text, responses, text},
    http::{openai::body::message::Said, reading::Word},
    impossible::OrImpossible as _,
};

/// An item, as far as it means something here.
#[derive(Debug)]
pub(super) enum Item {
    /// Something that was said.
    Message(Message),
    /// Something that the model has called.
    Call(Call),
    /// What came of a call, and the tools that it has brought.
    Result(Message, Vec<Given>),
    /// More tools.
    Tools(Vec<Given>),
    /// Thinking, which the gateway cannot tell from anybody else's.
    Thought,
    /// Of a type that has no effect.
    Dropped(Text),
    /// Of a type that nothing can be made of here: why, and what to send in its place.
    Refused(&'static str),
}

/// A call of the history.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: Text,
    pub(super) namespace: Option<Text>,
    pub(super) name: Text,
    pub(super) text: Text,
    pub(super) is_custom: bool,
}

/// The members of all kinds of items. What their types are depends on the kind, so they are looked into afterwards.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(default, rename = "type")]
    kind: Word,
    #[serde(default)]
    role: Word,
    #[serde(default)]
    id: Word,
    #[serde(default)]
    call_id: Word,
    #[serde(default)]
    name: Word,
    #[serde(default)]
    namespace: Word,
    #[serde(default)]
    execution: Word,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
    #[serde(borrow)]
    operation: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::count_piece()?;
        Members::deserialize(deserializer)?.read()
    }
}

impl Members<'_> {
    fn read<E: de::Error>(self) -> Result<Item, E> {
        let kind = match (&self.kind.0, &self.role.0, &self.id.0) {
            (Some(kind), ..) => kind.clone(),
            // Many clients leave it out (doors-captured.md sections 3 and 7).
            (None, Some(_), _) => "message".into(),
            // As the reference has it, whose item of that kind may be without a type.
            (None, None, Some(_)) => "item_reference".into(),
            (None, None, None) => return Err(E::custom("an item has a 'type', or a 'role'")),
        };
        Ok(match &*kind {
            "message" => Item::Message(self.message()?),
            "function_call" => {
                let text = self.arguments.map_or_else(|| Ok("{}".into()), as_text)?;
                Item::Call(self.call(text, false)?)
            }
            "custom_tool_call" => {
                let text = self.input.map_or_else(|| Ok("".into()), as_text)?;
                Item::Call(self.call(text, true)?)
            }
            "local_shell_call" | "shell_call" => self.builtin(&kind, self.action)?,
            "apply_patch_call" => self.builtin(&kind, self.operation)?,
            // The service ran it, and its output lies beside it.
            "tool_search_call" if self.execution.0.as_deref() == Some("server") => {
                Item::Dropped(kind)
            }
            "tool_search_call" => self.builtin(&kind, self.arguments)?,
            "tool_search_output" => {
                let tools = self.tools.map_or_else(|| Ok(Vec::new()), tool::read)?;
                // Items of another history, without the call that they answer: only their tools count.
                if self.call_id.0.is_none() {
                    return Ok(Item::Tools(tools));
                }
                let names: Vec<&str> = tools.iter().flat_map(Given::names).collect();
                // Told in words, since the tools themselves are offered to the model beside it from now on.
                let found = format!("Tools found: {}", names.join(", "));
                Item::Result(self.result(Content::Text(found.into()))?, tools)
            }
            "additional_tools" => {
                Item::Tools(self.tools.map_or_else(|| Ok(Vec::new()), tool::read)?)
            }
            "function_call_output"
            | "custom_tool_call_output"
            | "local_shell_call_output"
            | "shell_call_output"
            | "apply_patch_call_output" => {
                let output = self.output.map_or_else(|| Ok(Content::Empty), output)?;
                Item::Result(self.result(output)?, Vec::new())
            }
            "reasoning" => Item::Thought,
            // One that could be looked up stands here no more (`state`).
            "item_reference" => Item::Refused(
                "There is no item here that this 'item_reference' could stand for: send the item itself.",
            ),
            "compaction_trigger" => Item::Refused(
                "This gateway compacts no conversation, so it takes no 'compaction_trigger': ask the model for a summary, and go on from that.",
            ),
            _ => Item::Dropped(kind),
        })
    }

    fn message<E: de::Error>(&self) -> Result<Message, E> {
        let role = match self.role.0.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => Role::System,
            Some("developer") => Role::Developer,
            _ => {
                return Err(E::custom(
                    "role: expected 'user', 'assistant', 'system' or 'developer'",
                ));
            }
        };
        let content = self.content.map_or_else(
            || Ok(Said::default()),
            |content| {
                serde_json::from_str(content.get()).map_err(|error| within("content", &error))
            },
        )?;
        Ok(Message {
            content: content.0,
            ..Message::new(role, "")
        })
    }

    /// The id by which a call and what came of it are known to belong together.
    fn call_id<E: de::Error>(&self) -> Result<Text, E> {
        // The output of a `local_shell` has the call's id as its own `id` (OpenAI's reference).
        let id = self.call_id.0.clone().or_else(|| self.id.0.clone());
        id.ok_or_else(|| E::custom("call_id: expected a string"))
    }

    fn call<E: de::Error>(&self, text: Text, is_custom: bool) -> Result<Call, E> {
        let name = self.name.0.clone();
        Ok(Call {
            id: self.call_id()?,
            namespace: self.namespace.0.clone().filter(|name| !name.is_empty()),
            name: name.ok_or_else(|| E::custom("name: expected a string"))?,
            text,
            is_custom,
        })
    }

    fn builtin<E: de::Error>(&self, kind: &str, said: Option<&RawValue>) -> Result<Item, E> {
        // Read from a body that was read as JSON before.
        let said: Value = said
            .and_then(|said| serde_json::from_str(said.get()).ok())
            .unwrap_or_default();
        Ok(Item::Call(Call {
            id: self.call_id()?,
            namespace: None,
            name: responses::name(kind)
                .or_impossible("only items that have one come here")
                .into(),
            text: responses::arguments(kind, &said).to_string().into(),
            is_custom: false,
        }))
    }

    fn result<E: de::Error>(&self, content: Content) -> Result<Message, E> {
        Ok(Message {
            content,
            tool_call_id: Some(self.call_id()?.to_string()),
            ..Message::new(Role::Tool, "")
        })
    }
}

fn within<E: de::Error>(member: &str, error: &serde_json::Error) -> E {
    let words = error.to_string();
    // The place is that within a member, which says nothing about the body that the caller wrote.
    let words = words
        .rsplit_once(" at line ")
        .map_or(&*words, |(words, _)| words);
    E::custom(format_args!("{member}: {words}"))
}

/// A text; what is none is taken as it is written.
fn as_text<E: de::Error>(raw: &RawValue) -> Result<Text, E> {
    if raw.get().starts_with('"') {
        serde_json::from_str(raw.get()).map_err(E::custom)
    } else {
        // Arguments as an object, as some agents write them: the text is what it stands for.
        Ok(Text::borrowed(raw.get()))
    }
}

/// What came of a call: a text, parts, or whatever else, which is shown to the model as it is written.
fn output<E: de::Error>(raw: &RawValue) -> Result<Content, E> {
    let is_known = |part: &Part| !matches!(part, Part::Other { .. });
    match raw.get().as_bytes() {
        [b'"', ..] => as_text(raw).map(Content::Text),
        [b'[', ..] => match serde_json::from_str(raw.get()) {
            // An empty list is a result without words.
            // One part that is known is enough: the unknown ones are left out and told (`leave_out_unknown`). None
            // known: shown as it is.
            Ok(Said(Content::Parts(parts))) if parts.is_empty() || parts.iter().any(is_known) => {
                Ok(Content::Parts(parts))
            }
            _ => Ok(Content::Text(Text::borrowed(raw.get()))),
        },
        _ => Ok(Content::Text(Text::borrowed(raw.get()))),
    }
}
