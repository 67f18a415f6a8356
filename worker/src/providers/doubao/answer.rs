//! What has been said so far: blocks of text, of which some are thoughts, and what has gone out of each. Source:
//! `wire/doubao.md` sections 6.3 and 6.4.

use serde_json::Value;

use super::found::{Pictures, Sources};
use crate::{
    chat::{ChatEvent, FinishReason, ProviderError},
    upstream::json::{self, Halves},
};

/// Blocks of one answer; real ones have a few dozen. The text of what is beyond goes on in the last one.
const MOST_BLOCKS: usize = 4096;

/// Where text goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Channel {
    #[default]
    Answer,
    Thinking,
    /// The service's page does not show it.
    Hidden,
}

/// What is done with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Append,
    /// It is all of its block.
    Replace,
}

/// What the client wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Text, and pictures where some come.
    Everything,
    /// Pictures alone: text beside them is chatter, and text without them a refusal (section 6.5).
    Pictures,
}

/// One answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    shows: Shows,
    blocks: Vec<Block>,
    /// The blocks that hold thoughts, by their ids.
    thinking: Vec<String>,
    /// Where text without a block of its own goes: the channel and the block of what was seen last (section 6.3).
    channel: Channel,
    current: Option<usize>,
    /// The answer's text as it was sent.
    sent: String,
    has_thoughts: bool,
    has_rewrites: bool,
    halves: Halves,
    pub(super) sources: Sources,
    pub(super) pictures: Pictures,
    /// The final text, as the service has it, perhaps shortened.
    pub(super) brief: String,
    pub(super) is_moderated: bool,
}

#[derive(Debug)]
struct Block {
    id: String,
    channel: Channel,
    /// As the service has it.
    value: String,
    /// As it was sent, where that differs.
    sent: Option<String>,
}

impl Answer {
    pub(super) fn new(shows: Shows) -> Self {
        Self {
            shows,
            blocks: Vec::new(),
            thinking: Vec::new(),
            channel: Channel::Answer,
            current: None,
            sent: String::new(),
            has_thoughts: false,
            has_rewrites: false,
            halves: Halves::default(),
            sources: Sources::default(),
            pictures: Pictures::default(),
            brief: String::new(),
            is_moderated: false,
        }
    }

    /// A block of thoughts begins, or goes on.
    pub(super) fn think(&mut self, id: &str) {
        // Told by its id, as its children name it as their parent (section 6.3).
        if !self.is_thinking(id) && self.thinking.len() < MOST_BLOCKS {
            self.thinking.push(id.to_owned());
        }
        self.turn_to(id, Channel::Thinking);
    }

    /// The thoughts are over: what comes without a block of its own is answer again.
    pub(super) fn answer(&mut self) {
        // No block: the next text begins one of its own.
        (self.channel, self.current) = (Channel::Answer, None);
    }

    /// Whether a block of this id holds thoughts.
    pub(super) fn is_thinking(&self, id: &str) -> bool {
        self.thinking.iter().any(|known| known == id)
    }

    /// The block that what follows belongs to.
    pub(super) fn turn_to(&mut self, id: &str, channel: Channel) {
        // By channel as well: a block that becomes visible goes on as another text.
        let known = self
            .blocks
            .iter()
            .position(|block| block.id == id && block.channel == channel);
        (self.channel, self.current) = (channel, Some(self.block(known, id, channel)));
    }

    /// Text without a block of its own.
    pub(super) fn go_on(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        if self.current.is_none() {
            self.turn_to("", self.channel);
        }
        self.say(text, Change::Append, events);
    }

    /// Text of the block that was turned to.
    pub(super) fn say(&mut self, text: &str, change: Change, events: &mut Vec<ChatEvent>) {
        let joined;
        // Half a character may wait in this very text, whatever block it comes in.
        let text = if json::has_half(text) || self.halves.is_waiting() {
            joined = self.halves.join(text);
            joined.as_str()
        } else {
            text
        };
        let Some(block) = self.current.and_then(|at| self.blocks.get_mut(at)) else {
            return;
        };
        let new = match change {
            Change::Append => {
                // Both grow: what differs before stays different.
                block.value.push_str(text);
                if let Some(sent) = &mut block.sent {
                    sent.push_str(text);
                }
                text
            }
            // Snapshots repeat every block that has not changed (section 6.2).
            Change::Replace if block.value == text => return,
            Change::Replace => {
                let sent = block.sent.as_deref().unwrap_or(&block.value);
                match text.strip_prefix(sent) {
                    Some(new) => {
                        text.clone_into(&mut block.value);
                        block.sent = None;
                        new
                    }
                    // What was sent cannot be taken back (section 6.3).
                    None => {
                        block.sent = Some(sent.to_owned());
                        text.clone_into(&mut block.value);
                        // Thoughts are not corrected: nobody gathers them as a whole.
                        self.has_rewrites |= block.channel == Channel::Answer;
                        return;
                    }
                }
            }
        };
        let channel = block.channel;
        self.send(channel, new.to_owned(), events);
    }

    /// Whether the client has something of it.
    pub(super) fn has_said(&self) -> bool {
        self.has_thoughts || (!self.sent.is_empty() && self.shows == Shows::Everything)
    }

    /// Whether pictures are still being made, or wanted and not there (section 6.5).
    pub(super) fn wants_pictures(&self) -> bool {
        !self.is_moderated
            && (self.pictures.is_waiting()
                || (self.shows == Shows::Pictures && !self.pictures.is_any_ready()))
    }

    /// Whether the service took back what it had said.
    pub(super) fn has_rewrites(&self) -> bool {
        self.has_rewrites
    }

    /// The answer is over.
    ///
    /// # Errors
    /// An answer of nothing, or without the pictures that it was to be.
    pub(super) fn finish(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        // Before the end's own text is looked at, which is compared with all that was sent.
        if let Some(half) = self.halves.finish() {
            self.go_on(half.encode_utf8(&mut [0; 4]), events);
        }
        let brief = std::mem::take(&mut self.brief);
        // Section 6.4: it may be shortened, so it only completes what it begins with. Of a moderated answer nothing is
        // completed.
        if let Some(rest) = brief.strip_prefix(self.sent.as_str())
            && !rest.is_empty()
            && !self.is_moderated
        {
            self.answer();
            self.go_on(rest, events);
        }
        let has_pictures = self.pictures.is_any_ready();
        let is_empty = match self.shows {
            Shows::Everything => self.sent.is_empty() && !has_pictures,
            Shows::Pictures => !has_pictures,
        };
        if is_empty && !self.is_moderated {
            return Err(match self.shows {
                Shows::Everything => ProviderError::empty_answer(),
                Shows::Pictures => no_picture(&self.sent),
            });
        }
        // Behind the text, in the order in which a reader needs them.
        events.extend(self.pictures.images());
        events.extend(self.sources.citations());
        // The order of the blocks is the answer's: a replacement may have changed an earlier one.
        if self.has_rewrites {
            let blocks = self.blocks.iter();
            let texts = blocks.filter(|block| block.channel == Channel::Answer);
            let whole = texts.map(|block| block.value.as_str()).collect();
            events.push(ChatEvent::Rewritten(whole));
        }
        events.push(ChatEvent::Finish(if self.is_moderated {
            FinishReason::ContentFilter
        } else {
            FinishReason::Stop
        }));
        Ok(())
    }

    fn block(&mut self, known: Option<usize>, id: &str, channel: Channel) -> usize {
        if let Some(at) = known {
            return at;
        }
        if self.blocks.len() < MOST_BLOCKS {
            self.blocks.push(Block {
                id: id.to_owned(),
                channel,
                value: String::new(),
                sent: None,
            });
        }
        // Beyond the bound the last block takes the text: it is said all the same.
        self.blocks.len() - 1
    }

    fn send(&mut self, channel: Channel, text: String, events: &mut Vec<ChatEvent>) {
        if text.is_empty() {
            return;
        }
        match channel {
            Channel::Hidden => {}
            Channel::Answer => {
                // Counted even where only pictures are shown: a refusal is told in these words.
                self.sent.push_str(&text);
                if self.shows == Shows::Everything {
                    events.push(ChatEvent::Text(text));
                }
            }
            Channel::Thinking if self.shows == Shows::Pictures => {}
            Channel::Thinking => {
                self.has_thoughts = true;
                events.push(ChatEvent::Reasoning(text));
            }
        }
    }
}

/// A limit, or a subject that it does not draw, is told in ordinary words (section 4.5).
fn no_picture(words: &str) -> ProviderError {
    ProviderError::new(
        crate::chat::Kind::Unavailable,
        "the service made no picture",
    )
    .with_code("upstream_no_picture")
    .lasting()
    .saying(words)
}

/// The blocks of a message that holds pictures, as it is read again later (section 6.5): its own, or those kept in `ext`.
pub(super) fn creations(message: &Value) -> Vec<Value> {
    let blocks = message.get("content_block").and_then(Value::as_array);
    let blocks = blocks.map(Vec::as_slice).unwrap_or_default();
    let is_finished = |value: Option<&Value>| {
        value
            .and_then(|it| it.get("is_finish"))
            .and_then(Value::as_bool)
            == Some(true)
    };
    let own = blocks
        .iter()
        .filter(|block| is_finished(Some(block)))
        .filter_map(|block| block.get("content")?.get("creation_block").cloned());
    let own: Vec<Value> = own.collect();
    if !own.is_empty() {
        return own;
    }
    let kept = message
        .get("ext")
        // Where the blocks are empty the creations stand here, in another shape (section 6.5).
        .and_then(|ext| ext.get("creation_full_content"));
    let kept = kept.and_then(Value::as_str).unwrap_or_default();
    let Some((Value::Array(kept), _)) = json::value(kept.as_bytes()) else {
        return Vec::new();
    };
    kept.iter()
        .filter_map(|kept| kept.get("BlockInfo"))
        .filter(|info| is_finished(info.get("BlockMeta")))
        .filter_map(|info| {
            let content = info.get("BlockContent")?.get("content")?;
            content.get("creation_block").cloned()
        })
        .collect()
}
