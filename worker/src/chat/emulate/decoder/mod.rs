//! Finds the calls in an answer as it comes, and nothing that only looks like one. It neither judges a call
//! ([`super::ladder`]) nor decides what follows from it ([`super::turn`]). Source: tools.md section 6.
//!
//! ```text
//!            opener             <call-N           <arg-N
//!   Text ──────────────► Block ─────────► Call ─────────► Arg ─┐
//!    │ ▲                               ▲ │  ▲                  │ closer that counts
//!    │ └── no call ── Probe ── a call ─┘ │  └──────────────────┘
//!    └── another dialect ──►     │       │ closer
//!                                ▼       ▼
//!                               Json ► After ──anything but blanks──► Done
//! ```
//!
//! Whatever is held lies in one buffer. Each state looks at what is new only, so that the time grows with the answer; and
//! each decision depends on bytes and their places alone, so that the pieces in which the answer comes make no difference.

mod arg;
mod block;
mod call;
mod cursor;
mod fence;
mod joint;
mod json;
pub(super) mod lex;
mod probe;
mod text;

use std::sync::Arc;

use arg::OpenArg;
use call::OpenCall;
use fence::Fence;
use joint::{Behind, Joint};
use json::OpenJson;
use probe::Probe;
use text::{Place, Step, Wanted};

use super::{
    fact::Fact,
    found::{End, Left},
    ladder::RawCall,
    nonce::Nonce,
    schema::Offered,
};
use crate::impossible::OrImpossible as _;

/// Most bytes of one call. Source: tools.md section 6, rule 12.
pub(super) const MOST_CALL: usize = 4 << 20;
/// Most arguments of one call, counted as they are written.
const MOST_ARGUMENTS: usize = 1024;
/// The buffer is moved to its front only when so much of it is dealt with: to move it for each call would take time with
/// the square of their number.
const WORTH_MOVING: usize = 64 << 10;

/// One thing in an answer.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Text(String),
    Call(RawCall),
    /// A call that ended too early.
    Void(Fact),
    /// A block without a call.
    Empty,
    /// Nothing more counts, because of this.
    Over(Left),
    /// A call is larger than any may be.
    TooLarge,
}

/// Whose words are looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    Answer,
    /// Thoughts go on behind a call.
    Thoughts,
}

/// What a decoder is told.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) nonce: Nonce,
    pub(super) offered: Arc<Offered>,
    pub(super) flavour: Flavour,
    /// JSON may be the whole answer, and be calls (D6): not where JSON is what was asked for.
    pub(super) bare_json: bool,
    /// What the prompt writes before each turn, where it begins with `<`.
    pub(super) turn_marks: &'static [&'static str],
}

/// The state of one answer.
#[derive(Debug)]
pub(super) struct Decoder {
    options: Options,
    state: State,
    /// What has come and is not dealt with, from `at` on.
    buffer: String,
    at: usize,
    /// Of words: what is known at `at`, and how much behind it was looked through before.
    place: Place,
    looked: usize,
    joint: Joint,
    /// The buffer holds blanks at most, and the state is words: nothing to look at but what comes.
    is_idle: bool,
}

#[derive(Debug)]
enum State {
    Text,
    Probe(Probe),
    /// In a block, before its first call. `is_nameless`: it has arguments of a call that was not named.
    Block {
        is_nameless: bool,
    },
    Call(Box<OpenCall>),
    Arg(Box<OpenCall>, OpenArg),
    Json(OpenJson),
    /// Behind a call. `in_json`: in tags around JSON, where more of it may follow.
    After {
        in_json: bool,
    },
    Done,
}

/// Whether a state can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    /// More must come.
    Wait,
}

impl Decoder {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            state: State::Text,
            buffer: String::new(),
            at: 0,
            place: Place {
                indent: Some(0),
                fence: None,
                is_start: true,
            },
            looked: 0,
            joint: Joint::default(),
            is_idle: false,
        }
    }

    /// The next piece of the answer.
    pub(super) fn feed(&mut self, mut piece: String, out: &mut Vec<Raw>) {
        // Nearly every piece of nearly every answer: no copy into the buffer, no scan, but one search for four bytes.
        if self.is_idle && text::is_plain(piece.as_bytes(), self.is_in_line()) {
            self.pass(&mut piece);
            if !piece.is_empty() {
                out.push(Raw::Text(piece));
            }
            return;
        }
        if matches!(self.state, State::Done) {
            return;
        }
        // Taken over as it is: the usual case behind an idle one.
        if self.buffer.is_empty() {
            self.buffer = piece;
        } else {
            self.buffer.push_str(&piece);
        }
        self.run(false, out);
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, end: End, out: &mut Vec<Raw>) {
        self.run(true, out);
        // `Done` in any case: what the states below tell is the last of it.
        let state = std::mem::replace(&mut self.state, State::Done);
        match state {
            State::Text | State::Probe(_) | State::After { .. } | State::Done => {}
            State::Block { is_nameless: false } => out.push(Raw::Empty),
            State::Block { is_nameless: true } => out.push(Raw::Void(Fact::nameless())),
            State::Call(call) => self.end_in_call(*call, end, out),
            State::Arg(call, arg) => {
                out.push(Raw::Void(Fact::void(Some(&call.name), Some(&arg.name))));
            }
            State::Json(json) => self.end_in_json(json, end, out),
        }
        self.is_idle = false;
    }

    /// Whether what comes stands behind words in their line, with nothing but blanks of it held.
    fn is_in_line(&self) -> bool {
        self.place.indent.is_none() && !self.buffer.contains('\n')
    }

    /// Words without anything to look at: all but the blanks at their end go on as they are.
    fn pass(&mut self, piece: &mut String) {
        self.joint.forget();
        if !self.buffer.is_empty() {
            piece.insert_str(0, &self.buffer);
            self.buffer.clear();
        }
        // Held, as a call may follow whose blanks before it are not told.
        let blanks = text::trailing_blanks(piece.as_bytes());
        if blanks > 0 {
            // Blanks are ASCII, so this lies between characters.
            let told = piece.len() - blanks;
            self.buffer.push_str(
                piece
                    .get(told..)
                    .or_impossible("blanks at the end of a piece are a part of it"),
            );
            piece.truncate(told);
        }
        self.place.indent = text::indent_behind(self.place.indent, piece.as_bytes());
    }

    fn run(&mut self, is_end: bool, out: &mut Vec<Raw>) {
        while self.step(is_end, out) == Flow::On {}
        // Also where more than half of it is dealt with, so that each byte is moved a bounded number of times.
        let is_worth_it = self.at > WORTH_MOVING && self.at > self.buffer.len() / 2;
        // A few blanks that are held are moved at once: only from the beginning on the fast way goes on.
        let is_short = self.buffer.len() - self.at <= text::MOST_BLANKS;
        if is_worth_it || (self.at > 0 && is_short) {
            self.buffer.drain(..self.at);
            // Places of states are counted from the buffer's beginning.
            self.state.moved(self.at);
            self.at = 0;
        }
        self.is_idle = matches!(self.state, State::Text)
            && !self.place.is_start
            && !self.joint.is_open()
            // The fast way has no `at`: it must stand at the beginning.
            && self.at == 0
            && self.buffer.len() <= text::MOST_BLANKS
            && self.buffer.bytes().all(|byte| byte.is_ascii_whitespace());
        if matches!(self.state, State::Done) {
            // Its memory goes as well: an answer may go on for long behind its calls.
            self.buffer = String::new();
            self.at = 0;
        }
    }

    fn step(&mut self, is_end: bool, out: &mut Vec<Raw>) -> Flow {
        // Taken out, so that a state that holds a call needs no clone; each arm puts one back.
        match std::mem::replace(&mut self.state, State::Done) {
            State::Text => self.words(is_end, out),
            State::Probe(probe) => self.probe(probe, is_end, out),
            State::Block { is_nameless } => self.block(is_nameless, is_end, out),
            State::Call(call) => self.call(call, is_end, out),
            State::Arg(call, arg) => self.arg(call, arg, is_end, out),
            State::Json(json) => self.json(json, out),
            State::After { in_json } => self.after(in_json, is_end, out),
            State::Done => Flow::Wait,
        }
    }

    /// Goes over into a state.
    fn go(&mut self, state: State) -> Flow {
        self.state = state;
        Flow::On
    }

    /// Stays in a state until more comes.
    fn wait(&mut self, state: State) -> Flow {
        self.state = state;
        Flow::Wait
    }

    /// Nothing behind this counts.
    fn over(&mut self, left: Left, out: &mut Vec<Raw>) -> Flow {
        out.push(Raw::Over(left));
        self.wait(State::Done)
    }

    fn rest(&self) -> &[u8] {
        self.buffer
            .as_bytes()
            .get(self.at..)
            .or_impossible("what is dealt with is a part of what has come")
    }

    fn words(&mut self, is_end: bool, out: &mut Vec<Raw>) -> Flow {
        if self.joint.is_open()
            && let Some(flow) = self.behind_cut(is_end, out)
        {
            return flow;
        }
        let wanted = Wanted {
            nonce: self.options.nonce.as_bytes(),
            flavour: self.options.flavour,
            bare_json: self.options.bare_json,
            turn_marks: self.options.turn_marks,
        };
        let bytes = self
            .buffer
            .as_bytes()
            .get(self.at..)
            .or_impossible("what is dealt with is a part of what has come");
        match text::scan(bytes, self.looked, self.place, &wanted, is_end) {
            Step::Tell { upto, fence } => {
                self.tell(upto, fence, out);
                self.wait(State::Text)
            }
            // Before other tags: with our nonce it is never content.
            Step::Own {
                at,
                tag: Some(tag),
                fence,
                ..
            } if tag.is_closer || tag.role() == lex::Role::Results => {
                // A closer of ours without an opener (or, in thoughts, a result): the tag alone must not leave.
                self.tell(at, fence, out);
                self.at += tag.length;
                self.place.indent = None;
                self.joint.cut();
                self.go(State::Text)
            }
            Step::Own {
                upto,
                at,
                tag,
                fence,
            } => {
                self.tell(upto, fence, out);
                // The blanks between the words and the tag go with the tag.
                self.at += at - upto;
                self.place.is_start = false;
                self.open(tag, out)
            }
            Step::Probe {
                upto,
                at,
                kind,
                fence,
            } => {
                self.tell(upto, fence, out);
                self.go(State::Probe(Probe::new(at - upto, kind)))
            }
            Step::Invented { upto } => {
                self.tell(upto, None, out);
                self.over(Left::Invented, out)
            }
            Step::Cut { upto } => {
                self.tell(upto, None, out);
                out.push(Raw::Void(Fact::void(None, None)));
                self.wait(State::Done)
            }
        }
    }

    /// Behind something that was taken out of words: what would become a tag of ours with what stands before it does not
    /// leave. `None`: words go on.
    fn behind_cut(&mut self, is_end: bool, out: &mut Vec<Raw>) -> Option<Flow> {
        let nonce = self.options.nonce;
        match self.joint.behind(self.rest(), nonce.as_bytes(), is_end) {
            Behind::More => Some(self.wait(State::Text)),
            Behind::Half(length) => {
                self.at += length;
                self.looked = 0;
                Some(self.go(State::Text))
            }
            Behind::Perhaps(length) => {
                self.tell(length, self.place.fence, out);
                None
            }
            Behind::Free => {
                self.joint.forget();
                None
            }
        }
    }

    /// Tells the first bytes as words.
    fn tell(&mut self, upto: usize, fence: Option<Fence>, out: &mut Vec<Raw>) {
        // What was looked through counts from `at`, which moves.
        self.looked = self.looked.saturating_sub(upto);
        self.place.fence = fence;
        let words = self.buffer.get(self.at..self.at + upto).unwrap_or_default();
        if words.is_empty() {
            return;
        }
        self.place.indent = text::indent_behind(self.place.indent, words.as_bytes());
        let nonce = self.options.nonce;
        self.joint.told(words.as_bytes(), nonce.as_bytes());
        self.place.is_start &= words.bytes().all(|byte| byte.is_ascii_whitespace());
        // All of it: given away without a copy.
        if self.at == 0 && upto == self.buffer.len() {
            out.push(Raw::Text(std::mem::take(&mut self.buffer)));
            return;
        }
        out.push(Raw::Text(words.to_owned()));
        self.at += upto;
    }

    /// Opens what a tag of ours opens.
    fn open(&mut self, tag: Option<lex::Tag>, out: &mut Vec<Raw>) -> Flow {
        let Some(tag) = tag else {
            // Nothing but its nonce could be read.
            self.at += 1;
            return self.go(State::Block { is_nameless: true });
        };
        self.at += tag.length;
        match tag.role() {
            lex::Role::Call if tag.name.is_some() => self.open_call(tag, out),
            lex::Role::Calls if tag.is_empty => {
                out.push(Raw::Empty);
                self.go(State::After { in_json: false })
            }
            role => self.go(State::Block {
                is_nameless: role != lex::Role::Calls,
            }),
        }
    }
}

impl State {
    /// The buffer was moved to its front by so many bytes.
    fn moved(&mut self, by: usize) {
        match self {
            Self::Arg(_, arg) => arg.moved(by),
            Self::Json(json) => json.moved(by),
            _ => {}
        }
    }
}
