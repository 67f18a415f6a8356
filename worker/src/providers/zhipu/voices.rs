//! What each item of an answer has said so far, and how items become one text. Source: `wire/zhipu.md` section 6.3.
//!
//! A frame says of an item either all of its text so far, or what is new. Which of the two the frame tells itself; the text
//! of a finished part is always all of it.

use super::marks::{self, Marks};
use crate::impossible::OrImpossible as _;
use crate::{
    chat::ChatEvent,
    upstream::json::{self, Halves},
};

/// More items than this are no answer: each costs a look for every frame.
const MOST_VOICES: usize = 1000;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `text`.
    Text,
    /// `think`.
    Think,
    /// `code`, which becomes a fenced block.
    Code,
    /// `execution_output`, which is said once and whole.
    Output,
}

/// What an item's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// What is new.
    Increment,
    /// All of it so far.
    Cumulative,
}

#[derive(Debug)]
struct Voice {
    key: String,
    kind: Kind,
    /// What has been passed on.
    shown: String,
    /// What it really says, where that does not go on from what was passed on.
    otherwise: Option<String>,
    halves: Halves,
}

impl Voice {
    fn value(&self) -> &str {
        self.otherwise.as_deref().unwrap_or(&self.shown)
    }
}

/// All items of one answer, in the order in which they first spoke.
#[derive(Debug, Default)]
pub(super) struct Voices {
    list: Vec<Voice>,
    mode: Option<Mode>,
    /// No frame has told the mode: it was seen by the values.
    is_guess: bool,
    marks: Marks,
    /// Whose fenced block is open.
    fence: Option<usize>,
    /// The text so far ends in the middle of a line.
    is_mid_line: bool,
    /// An earlier item spoke after a later one: the deltas are not the answer in order.
    is_interleaved: bool,
    has_output: bool,
    /// Some text had half a character.
    has_halves: bool,
}

impl Voices {
    /// What `if_increase_push` of a frame says, where it has one.
    pub(super) fn told(&mut self, is_increment: Option<bool>) {
        if let Some(is_increment) = is_increment {
            self.is_guess = false;
            self.mode = Some(if is_increment {
                Mode::Increment
            } else {
                Mode::Cumulative
            });
        }
    }

    /// From now on texts may hold halves of characters ([`json::mended`]).
    pub(super) fn has_met_halves(&mut self) {
        self.has_halves = true;
    }

    /// Whether anything was passed on.
    pub(super) fn has_output(&self) -> bool {
        self.has_output
    }

    /// Whether a value that follows another one of the same kind in the same part is to be added to that one first.
    pub(super) fn wants_whole(&self, is_final: bool) -> bool {
        is_final || self.mode == Some(Mode::Cumulative)
    }

    /// The place of an item; `None` where there are too many.
    pub(super) fn find(&mut self, key: &str, kind: Kind) -> Option<usize> {
        let is_it = |voice: &Voice| voice.kind == kind && voice.key == key;
        // From the end: the item that speaks is nearly always the last one.
        let known = self.list.iter().rposition(is_it);
        if known.is_some() || self.list.len() == MOST_VOICES {
            return known;
        }
        self.list.push(Voice {
            key: key.to_owned(),
            kind,
            shown: String::new(),
            otherwise: None,
            halves: Halves::default(),
        });
        Some(self.list.len() - 1)
    }

    /// Takes the value that a frame has for an item; `is_final`: its part is finished.
    pub(super) fn advance(
        &mut self,
        at: usize,
        value: &str,
        is_final: bool,
        events: &mut Vec<ChatEvent>,
    ) {
        if value.is_empty() {
            // An item may be finished without a word more.
            if is_final {
                self.close(at, events);
            }
            return;
        }
        let is_increment = !is_final && self.is_increment(at, value);
        if is_increment {
            self.append(at, value, events);
        } else {
            self.replace(at, value, is_final, events);
        }
        if is_final {
            self.close(at, events);
        }
    }

    /// The answer is over: what was held back for what might have followed is said.
    pub(super) fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        // By place, as `say` needs all of `self`.
        for at in 0..self.list.len() {
            let Some(voice) = self.list.get_mut(at) else {
                break;
            };
            // An output that never became whole is said as far as it came.
            let held = match voice.kind {
                Kind::Output if voice.shown.is_empty() => voice.otherwise.take(),
                _ => voice.halves.finish().map(String::from),
            };
            if let Some(held) = held {
                self.say(at, held, events);
            }
        }
        self.close_fence(events);
        self.marks.finish(events);
    }

    /// The whole text in order, where the deltas do not add up to it.
    pub(super) fn rewritten(&self) -> Option<String> {
        let is_odd = |voice: &Voice| voice.kind != Kind::Think && voice.otherwise.is_some();
        if !self.is_interleaved && !self.list.iter().any(is_odd) {
            return None;
        }
        let mut whole = String::new();
        for voice in &self.list {
            let value = voice.value();
            match voice.kind {
                Kind::Think => {}
                _ if value.is_empty() => {}
                Kind::Text => whole.push_str(&marks::without(value.to_owned())),
                Kind::Code => {
                    let gap = if whole.is_empty() || whole.ends_with('\n') {
                        ""
                    } else {
                        "\n"
                    };
                    for piece in [gap, OPENING, value, CLOSING] {
                        whole.push_str(piece);
                    }
                }
                Kind::Output => {
                    whole.push_str(value);
                    whole.push('\n');
                }
            }
        }
        Some(whole)
    }

    /// How a value that is not final is to be read. Where no frame has told, the second value of an item shows it, and one
    /// that does not go on from what was said shows that the first guess was wrong.
    fn is_increment(&mut self, at: usize, value: &str) -> bool {
        let shown = self.list.get(at).map_or("", |voice| &voice.shown);
        let goes_on = value.starts_with(shown);
        match self.mode {
            // The first value of an item is itself in either mode.
            None if shown.is_empty() => return true,
            None => {
                self.is_guess = true;
                self.mode = Some(if goes_on && value.len() > shown.len() {
                    Mode::Cumulative
                } else {
                    Mode::Increment
                });
            }
            // A guess only: what a frame has told is not overruled by a value.
            Some(Mode::Cumulative) if self.is_guess && !goes_on => {
                self.mode = Some(Mode::Increment);
            }
            Some(_) => {}
        }
        self.mode == Some(Mode::Increment)
    }

    fn append(&mut self, at: usize, value: &str, events: &mut Vec<ChatEvent>) {
        let has_halves = self.has_halves;
        let Some(voice) = self.list.get_mut(at) else {
            return;
        };
        let new = if has_halves && (voice.halves.is_waiting() || json::has_half(value)) {
            voice.halves.join(value)
        } else {
            value.to_owned()
        };
        if voice.kind == Kind::Output {
            voice.otherwise.get_or_insert_default().push_str(&new);
            return;
        }
        voice.shown.push_str(&new);
        self.say(at, new, events);
    }

    fn replace(&mut self, at: usize, value: &str, is_final: bool, events: &mut Vec<ChatEvent>) {
        let has_halves = self.has_halves && json::has_half(value);
        let Some(voice) = self.list.get_mut(at) else {
            return;
        };
        // What follows brings the whole character.
        let visible = if is_final {
            value
        } else {
            value.trim_end_matches(|c| c == '\u{FFFD}' || (has_halves && json::is_half(c)))
        };
        let made_whole;
        let value = if has_halves {
            made_whole = json::whole(visible);
            made_whole.as_str()
        } else {
            visible
        };
        // The value is whole up to here, so no half waits any longer.
        voice.halves = Halves::default();
        if voice.kind == Kind::Output && (!is_final || !voice.shown.is_empty()) {
            // Said once, when it is whole.
            if voice.shown.is_empty() {
                voice.otherwise = Some(value.to_owned());
            }
            return;
        }
        match value.strip_prefix(voice.shown.as_str()) {
            Some(new) => {
                let new = new.to_owned();
                voice.otherwise = None;
                voice.shown.push_str(&new);
                self.say(at, new, events);
            }
            // It does not go on from what was said: kept for whoever takes the whole text (section 6.3).
            None => voice.otherwise = Some(value.to_owned()),
        }
    }

    /// Says what is new of an item, with what its kind has around it.
    fn say(&mut self, at: usize, new: String, events: &mut Vec<ChatEvent>) {
        let Some(voice) = self.list.get(at).filter(|_| !new.is_empty()) else {
            return;
        };
        self.has_output = true;
        if voice.kind == Kind::Think {
            events.push(ChatEvent::Reasoning(new));
            return;
        }
        let kind = voice.kind;
        let later = self
            .list
            .get(at + 1..)
            .or_impossible("a voice is one of the list");
        // Thinking aside, something behind this item was said before this piece.
        self.is_interleaved |= later
            .iter()
            .any(|voice| voice.kind != Kind::Think && !voice.shown.is_empty());
        if self.fence != Some(at) {
            self.close_fence(events);
        }
        match kind {
            Kind::Code => {
                if self.fence.is_none() {
                    // What is held as a mark belongs before the fence.
                    self.marks.finish(events);
                    let gap = if self.is_mid_line { "\n" } else { "" };
                    events.push(ChatEvent::Text(format!("{gap}{OPENING}")));
                    self.fence = Some(at);
                }
                events.push(ChatEvent::Text(new));
            }
            Kind::Output => {
                self.marks.finish(events);
                self.is_mid_line = false;
                events.push(ChatEvent::Text(format!("{new}\n")));
                if let Some(voice) = self.list.get_mut(at) {
                    voice.shown = new;
                }
            }
            Kind::Text | Kind::Think => {
                self.is_mid_line = !new.ends_with('\n');
                self.marks.feed(new, events);
            }
        }
    }

    /// An item is finished: its block is closed.
    fn close(&mut self, at: usize, events: &mut Vec<ChatEvent>) {
        if self.fence == Some(at) {
            self.close_fence(events);
        }
    }

    fn close_fence(&mut self, events: &mut Vec<ChatEvent>) {
        if self.fence.take().is_some() {
            self.is_mid_line = false;
            events.push(ChatEvent::Text(CLOSING.to_owned()));
        }
    }
}

const OPENING: &str = "```python\n";
const CLOSING: &str = "\n```\n";
