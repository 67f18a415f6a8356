//! What each message of an answer has said so far. Source: `wire/minimax.md` section 12.5.

use std::borrow::Cow;

use crate::upstream::json::{self, Halves};

/// A message's two voices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `msg_content`.
    Text,
    /// `thinking_content`.
    Thinking,
}

/// What one message has said so far.
#[derive(Debug)]
pub(super) struct Said {
    /// `msg_id`.
    pub(super) id: String,
    /// The question, which comes back.
    pub(super) is_echo: bool,
    /// Its answer.
    pub(super) text: Voice,
    thinking: Voice,
}

impl Said {
    /// Nothing yet.
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            is_echo: false,
            text: Voice::default(),
            thinking: Voice::default(),
        }
    }

    /// One of its voices.
    pub(super) fn voice(&mut self, part: Part) -> &mut Voice {
        match part {
            Part::Text => &mut self.text,
            Part::Thinking => &mut self.thinking,
        }
    }
}

/// One growing text.
#[derive(Debug, Default)]
pub(super) struct Voice {
    /// What was passed on.
    pub(super) said: String,
    /// What it really is, where that does not go on from what was said.
    pub(super) otherwise: Option<String>,
    /// Half a character that waits for the other half.
    pub(super) halves: Halves,
}

impl Voice {
    /// Takes what is new; what of it is complete. `has_halves`: some text of the answer had half a character.
    pub(super) fn append(&mut self, content: &str, has_halves: bool) -> String {
        // Almost no answer has halves: until one does, nothing is searched for them.
        let new = if has_halves && (self.halves.is_waiting() || json::has_half(content)) {
            self.halves.join(content)
        } else {
            content.to_owned()
        };
        self.said.push_str(&new);
        new
    }

    /// Takes all that it says; what goes on from what was said, `None` where nothing does.
    pub(super) fn settle(&mut self, content: &str, has_halves: bool) -> Option<String> {
        let whole = if has_halves && json::has_half(content) {
            Cow::Owned(json::whole(content))
        } else {
            Cow::Borrowed(content)
        };
        // The whole text has the half that was waited for; kept, it would be said a second time.
        self.halves = Halves::default();
        // Text by text and not by length: what was corrected must not be cut in the middle of a word.
        match whole.strip_prefix(self.said.as_str()) {
            Some(new) => {
                let new = new.to_owned();
                self.said.push_str(&new);
                self.otherwise = None;
                Some(new)
            }
            None => {
                // Held until the end: what was sent cannot be taken back, only told of ([`ChatEvent::Rewritten`]).
                self.otherwise = Some(whole.into_owned());
                None
            }
        }
    }
}
