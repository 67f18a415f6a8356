//! Blocks and the patches that change them. Source: `wire/doubao.md` section 6.3.

use serde_json::Value;

use super::{
    answer::{Change, Channel},
    loose::{self, number, text, unpacked},
    stream::State,
};
use crate::chat::ChatEvent;

impl State {
    pub(super) fn patch(&mut self, patch: &Value, events: &mut Vec<ChatEvent>) {
        let value = unpacked(patch.get("patch_value"));
        match number(patch.get("patch_object")) {
            Some(1) => {
                let change = change(patch);
                self.blocks(&value, change, events);
            }
            // The end of a message, perhaps with all that it holds.
            Some(3) => self.blocks(&value, Change::Replace, events),
            Some(102) => {
                let content = value.get("content");
                // Text, or the JSON of an object with one (section 6.3).
                let inner = unpacked(content);
                let piece = match inner.get("text").and_then(Value::as_str) {
                    Some(text) => text,
                    None => text(content),
                };
                self.piece(piece, events);
            }
            // Suggestions, times; and a copy of the text for speech, never to be appended.
            Some(50 | 111) => {}
            _ => self.unknown.tell("patch", events),
        }
    }

    /// The `content_block` of a content, a message or a patch.
    pub(super) fn blocks(&mut self, holder: &Value, change: Change, events: &mut Vec<ChatEvent>) {
        let blocks = unpacked(holder.get("content_block"));
        for block in blocks.as_array().into_iter().flatten() {
            self.block(block, change, events);
        }
    }

    fn block(&mut self, block: &Value, outer: Change, events: &mut Vec<ChatEvent>) {
        // A block is a sign of life even where it is empty.
        self.begin();
        let id = loose::id(block.get("block_id"));
        let content = unpacked(block.get("content"));
        let is_finished = block.get("is_finish").and_then(Value::as_bool) == Some(true);
        let control = block.get("control_info");
        let is_hidden = control.and_then(|it| it.get("is_visible")) == Some(&Value::Bool(false));
        let change = match number(block.get("patch_type")) {
            Some(2) => Change::Replace,
            _ => outer,
        };
        match number(block.get("block_type")) {
            Some(10000) => {
                let parent = loose::id(block.get("parent_id"));
                let channel = if is_hidden {
                    Channel::Hidden
                } else if !parent.is_empty() && self.answer.is_thinking(&parent) {
                    Channel::Thinking
                } else {
                    // Only known thoughts: children of tool steps and cards are answer (section 6.3).
                    Channel::Answer
                };
                self.answer.turn_to(&id, channel);
                let said = content.get("text_block").and_then(|it| it.get("text"));
                // The block that closes has none; to be empty it would have to say so.
                if let Some(said) = said.and_then(Value::as_str) {
                    self.answer.say(said, change, events);
                }
            }
            Some(10040 | 10090) => {
                self.answer.think(&id);
                // Opened all the same, as its children are thoughts, hidden or not.
                let thoughts = content.get("thinking_block").filter(|_| !is_hidden);
                let thoughts = thoughts.map(|it| (it.get("content"), it.get("text")));
                if let Some((content, other)) = thoughts {
                    let said = content.or(other).and_then(Value::as_str);
                    self.answer.say(
                        said.unwrap_or_default(),
                        change_of_thoughts(change, said),
                        events,
                    );
                }
                if is_finished {
                    self.answer.answer();
                }
            }
            Some(10025) => {
                let found = content.get("search_query_result_block");
                if let Some(results) = found.and_then(|it| it.get("results")) {
                    self.answer.sources.add(results);
                }
            }
            Some(2074) => {
                if let Some(created) = content.get("creation_block") {
                    self.answer.pictures.add(created);
                }
            }
            // Tools at work, cards, layout, loading.
            Some(10006 | 10019 | 10024 | 10059 | 10063 | 10091 | 10101) => {}
            _ => self.unknown.tell("block", events),
        }
    }
}

/// A patch says for all its blocks what becomes of them, unless a block says it itself.
fn change(patch: &Value) -> Change {
    match number(patch.get("patch_type")) {
        Some(2) => Change::Replace,
        _ => Change::Append,
    }
}

/// A block of thoughts that only closes takes nothing back.
fn change_of_thoughts(change: Change, said: Option<&str>) -> Change {
    match said {
        Some(_) => change,
        None => Change::Append,
    }
}
