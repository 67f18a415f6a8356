//! From blocks to messages: Anthropic keeps the results of calls in the user's messages, and counts messages of one role
//! that follow one another as one turn. Source: Anthropic's public API reference (Messages).

use std::collections::{BTreeSet, HashSet};

use super::block::{Block, ToolResult};
use crate::chat::{
    Content, Message, Part, Role,
    message::{Reasoning, ToolCall},
};

/// Claude Code's own first words in a system text. They change with every request, and no model is to read them.
const BILLING: &str = "x-anthropic-billing-header:";
/// Most kinds of things without effect that are told of.
const MOST_FOREIGN: usize = 16;
/// Most characters of such a kind's name.
const MOST_KIND_CHARS: usize = 48;

/// A conversation that is being put together.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) messages: Vec<Message>,
    /// What was passed over, by its type and where it stood.
    pub(super) foreign: BTreeSet<String>,
    /// Tools that the history names: found by a search, or called.
    pub(super) named: HashSet<String>,
    /// Who speaks, and what was said in this turn so far.
    turn: Option<(Role, Vec<Block>)>,
}

impl Conversation {
    /// The system text in front.
    pub(super) fn system(&mut self, blocks: Vec<Block>) {
        self.add(Role::System, blocks);
        self.end();
    }

    /// The next message.
    pub(super) fn add(&mut self, role: Role, mut blocks: Vec<Block>) {
        if let Some((speaker, said)) = &mut self.turn
            && *speaker == role
        // Two messages of one speaker are one turn in this dialect.
        {
            return said.append(&mut blocks);
        }
        self.end();
        self.turn = Some((role, blocks));
    }

    /// Something of this type has no effect; `place` is the member that it stood in.
    pub(super) fn pass_over(&mut self, place: &str, kind: &str) {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || "_-.".contains(*c);
        let kind: String = kind
            .chars()
            .filter(is_plain)
            .take(MOST_KIND_CHARS)
            .collect();
        // Bounded: they are told of in a header, and a body can name as many as it likes.
        if self.foreign.len() < MOST_FOREIGN {
            self.foreign.insert(format!("{place}.{kind}"));
        }
    }

    /// The last turn is over.
    pub(super) fn end(&mut self) {
        let Some((role, blocks)) = self.turn.take() else {
            // Also called where nobody has spoken.
            return;
        };
        let mut turn = Turn::default();
        for block in blocks {
            match block {
                Block::Part(part) => turn.parts.push(part),
                Block::Call(call) => {
                    let name = call.function.as_ref().map(|call| call.name.clone());
                    self.named.extend(name);
                    turn.calls.push(*call);
                }
                Block::Thought(thought) => turn.think(*thought),
                Block::Result(result) => {
                    // A result is a message of its own in the gateway's conversation.
                    let message = self.result(*result);
                    // In front of what else the user says in this turn, wherever they stood.
                    self.messages.push(message);
                }
                Block::Found(name) => {
                    self.named.insert(name.to_string());
                }
                Block::Foreign(kind) => self.pass_over("content", &kind),
            }
        }
        // Only there: a user may quote these words.
        if role == Role::System {
            let is_billing =
                |part: &Part| part.text().is_some_and(|text| text.starts_with(BILLING));
            turn.parts.retain(|part| !is_billing(part));
        }
        self.messages.extend(turn.into_message(role));
    }

    fn result(&mut self, result: ToolResult) -> Message {
        let mut parts = Vec::new();
        for block in result.content {
            match block {
                Block::Part(part) => parts.push(part),
                Block::Found(name) => {
                    // Else there would be nothing to read where a search has found only tools.
                    let text = format!("The tool {name} can be called now.").into();
                    parts.push(Part::Text { text });
                    self.named.insert(name.to_string());
                }
                Block::Foreign(kind) => self.pass_over("content.tool_result", &kind),
                // Nothing that could be within a result.
                Block::Call(_) | Block::Result(_) | Block::Thought(_) => {}
            }
        }
        Message {
            content: content(parts),
            tool_call_id: Some(result.id),
            is_error: result.is_error,
            ..Message::new(Role::Tool, "")
        }
    }
}

#[derive(Default)]
struct Turn {
    parts: Vec<Part>,
    calls: Vec<ToolCall>,
    thought: Option<Reasoning>,
}

impl Turn {
    fn think(&mut self, thought: Reasoning) {
        match &mut self.thought {
            None => self.thought = Some(thought),
            Some(known) => {
                // Several thoughts of one turn are one, under the last seal.
                known.text = format!("{}\n{}", known.text, thought.text).into();
                known.signature = thought.signature.or_else(|| known.signature.take());
            }
        }
    }

    /// `None` where nothing was said.
    fn into_message(self, role: Role) -> Option<Message> {
        let content = content(self.parts);
        // A turn of calls alone has no words, and is one all the same.
        let is_empty = matches!(content, Content::Empty) && self.calls.is_empty();
        // Thoughts alone are no turn.
        (!is_empty).then(|| Message {
            content,
            tool_calls: Some(self.calls).filter(|calls| !calls.is_empty()),
            reasoning: self.thought.map(Box::new),
            ..Message::new(role, "")
        })
    }
}

/// Empty texts are no parts, and one text alone is a string.
fn content(mut parts: Vec<Part>) -> Content {
    parts.retain(|part| part.text().is_none_or(|text| !text.is_empty()));
    match parts.as_slice() {
        [] => Content::Empty,
        [Part::Text { text }] => Content::Text(text.clone()),
        _ => Content::Parts(parts),
    }
}
