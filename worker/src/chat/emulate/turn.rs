//! What follows from what a decoder finds: which calls go out, when the model is asked once more, when a turn has failed.
//! Pure: whoever asks the model tells the second turn that it is one. Source: tools.md sections 6, 8 and 10.

use std::sync::Arc;

use super::{
    decoder::{Decoder, Flavour, Options, Raw},
    fact::{Fact, FactKind},
    found::{End, Failure, Found, Left},
    ladder::{Body, Judged, RawCall, judge},
    nonce::Nonce,
    schema::{Must, Offered},
};

/// Most calls of one turn. Source: tools.md section 6, rule 12.
pub const MOST_CALLS: usize = 128;
/// Most bytes of calls that are kept from the thoughts, in case that the answer brings nothing else.
const MOST_THOUGHT: usize = 4 << 20;
/// Longest answer that can be a service's own about a tool of the client's.
const MOST_TAKEN: usize = 256;

/// How a turn is decoded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The conversation's mark.
    pub nonce: Nonce,
    /// The request's tools.
    pub offered: Arc<Offered>,
    /// JSON as the whole answer may be a call: not where a format of the answer is asked for.
    pub bare_json: bool,
    /// What the prompt writes before a turn, each beginning with `<`: in an answer the model plays the other side.
    pub turn_marks: &'static [&'static str],
    /// How a service answers that takes a tool's name for one of its own.
    pub taken: Option<Taken>,
    /// Which answer of the turn this is.
    pub round: Round,
}

/// The answer `{before}NAME{after}` of a service that looked for the tool itself. Source: tools.md section 5, "Names".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Before the name.
    pub before: &'static str,
    /// Behind it; a full stop may follow.
    pub after: &'static str,
}

/// Which answer of a turn it is. Source: tools.md section 8, step 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Round {
    /// The first one.
    #[default]
    First,
    /// The one to the question why the first one was no use, which the client does not see.
    Second {
        /// What was wrong.
        because: FactKind,
    },
}

/// One answer of a model, as it comes.
#[derive(Debug)]
pub struct Turn {
    settings: Settings,
    answer: Decoder,
    /// `None`: no thoughts are under way.
    thoughts: Option<Decoder>,
    /// Calls in the thoughts.
    thought: Vec<RawCall>,
    thought_bytes: usize,
    /// The answer's beginning, as long as it may be [`Taken`].
    beginning: Option<String>,
    calls: usize,
    /// Words went out.
    has_said: bool,
    /// Something stood there that was neither words nor a call.
    had_block: bool,
    state: State,
    /// Lent to the decoders.
    raw: Vec<Raw>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more is looked at, but the end may still find something missing.
    Over,
    /// There is nothing more to say.
    Decided,
}

impl Turn {
    /// A turn whose answer has not begun.
    pub fn new(settings: Settings) -> Self {
        Self {
            answer: Decoder::new(options(&settings, Flavour::Answer)),
            thoughts: None,
            thought: Vec::new(),
            thought_bytes: 0,
            beginning: settings.taken.map(|_| String::new()),
            calls: 0,
            has_said: false,
            had_block: false,
            state: State::Open,
            raw: Vec::new(),
            settings,
        }
    }

    /// The next piece of the answer.
    pub fn text(&mut self, piece: String, out: &mut Vec<Found>) {
        if self.state != State::Open {
            return;
        }
        // The answer has begun: what the thoughts still hold is told before it.
        if self.thoughts.is_some() {
            self.end_thoughts(out);
        }
        // Held only while it may be the service's own sentence; every other answer is let go with its first words.
        let piece = match self.beginning.take() {
            None => piece,
            Some(beginning) => {
                let whole = beginning + &piece;
                if self.may_be_taken(&whole) {
                    self.beginning = Some(whole);
                    return;
                }
                whole
            }
        };
        // Taken for the call, as the decoder and `take` both need `self`; given back with its room.
        let mut raw = std::mem::take(&mut self.raw);
        self.answer.feed(piece, &mut raw);
        self.take(&mut raw, End::Clean, out);
        self.raw = raw;
    }

    /// The next piece of the thoughts.
    pub fn reasoning(&mut self, piece: String, out: &mut Vec<Found>) {
        if self.state != State::Open {
            return;
        }
        let settings = &self.settings;
        let thoughts = self
            .thoughts
            .get_or_insert_with(|| Decoder::new(options(settings, Flavour::Thoughts)));
        let mut raw = std::mem::take(&mut self.raw);
        thoughts.feed(piece, &mut raw);
        self.take_thoughts(&mut raw, out);
        self.raw = raw;
    }

    /// The answer has ended: what was held is told, and what is missing.
    pub fn finish(&mut self, end: End, out: &mut Vec<Found>) {
        if self.state == State::Decided {
            return;
        }
        if self.thoughts.is_some() {
            self.end_thoughts(out);
        }
        if self.state == State::Open {
            // It has ended while it was still held: now it is either the service's sentence or an answer like any
            // other.
            if let Some(beginning) = self.beginning.take() {
                if self.is_taken(&beginning) && self.settings.round == Round::First {
                    return self.ask(
                        Fact::new(FactKind::Taken, "the name of the tool was not known"),
                        out,
                    );
                }
                self.text(beginning, out);
            }
            let mut raw = std::mem::take(&mut self.raw);
            self.answer.finish(end, &mut raw);
            self.take(&mut raw, end, out);
            self.raw = raw;
        }
        // Behind the answer's end, since only then it is known that it has nothing.
        self.promote(out);
        if self.state != State::Decided {
            self.conclude(end, out);
        }
        self.state = State::Decided;
    }

    /// Whether nothing more of the answer counts.
    pub fn is_over(&self) -> bool {
        self.state != State::Open
    }

    /// What the answer lacks as a whole.
    fn conclude(&mut self, end: End, out: &mut Vec<Found>) {
        // A broken connection is the provider's to report.
        if self.calls > 0 || end == End::Broken {
            return;
        }
        let is_first = self.settings.round == Round::First;
        match self.settings.offered.must {
            Must::Some | Must::This(_) if is_first => {
                self.ask(Fact::no_call(&self.settings.offered), out)
            }
            Must::Never if is_first && !self.has_said && self.had_block => {
                self.ask(
                    Fact::new(FactKind::NoWords, "it must be in words, without a call"),
                    out,
                );
            }
            Must::Maybe if is_first && !self.has_said && self.had_block => {
                self.ask(
                    Fact::new(FactKind::Nothing, "it has neither words nor a call"),
                    out,
                );
            }
            Must::Maybe | Must::Never if is_first || self.has_said => {}
            // Cut off twice: that is what the client is told.
            _ if end == End::Cut => {}
            Must::Some | Must::This(_) | Must::Never => self.fail(Failure::ChoiceNotMet, out),
            Must::Maybe => self.fail(Failure::CallInvalid, out),
        }
    }

    fn take(&mut self, raw: &mut Vec<Raw>, end: End, out: &mut Vec<Found>) {
        for raw in raw.drain(..) {
            match raw {
                // A decision in the middle of a piece: what stands behind it does not count.
                _ if self.state != State::Open => {}
                Raw::Text(text) => self.say(text, out),
                Raw::Call(call) => self.call(call, out),
                Raw::Void(fact) => self.void(fact, end, out),
                Raw::Empty => self.had_block = true,
                Raw::TooLarge => self.fail(Failure::CallInvalid, out),
                Raw::Over(left) => {
                    self.had_block = true;
                    out.push(Found::Left(left));
                    self.end(out);
                }
            }
        }
    }

    fn say(&mut self, text: String, out: &mut Vec<Found>) {
        if let Round::Second { because } = self.settings.round
            && !because.asks_for_words()
        {
            // Once is enough to count.
            if !out.contains(&Found::Left(Left::Second)) {
                out.push(Found::Left(Left::Second));
            }
            return;
        }
        self.has_said = self.has_said || !text.trim_start().is_empty();
        out.push(Found::Text(text));
    }

    fn call(&mut self, raw: RawCall, out: &mut Vec<Found>) {
        self.had_block = true;
        if self.settings.offered.must == Must::Never {
            out.push(Found::Left(Left::Unwanted));
            return;
        }
        // Counted before it is judged: judging costs time, and a hostile answer has calls without end.
        if self.calls == MOST_CALLS {
            return self.fail(Failure::CallInvalid, out);
        }
        let call = match judge(raw, &self.settings.offered) {
            Judged::Good(call) => call,
            Judged::Bad(fact, as_it_stands) => {
                // With a choice of one tool or some, a call of another one is not what was asked for.
                let is_free = self.settings.offered.must == Must::Maybe;
                let is_first = self.settings.round == Round::First;
                match as_it_stands.filter(|_| is_free) {
                    // Nothing has gone out yet, so the model may be asked.
                    _ if self.calls == 0 && is_first => return self.ask(fact, out),
                    Some(call) => call,
                    // One call was delivered: the client has something to go on with.
                    None if self.calls > 0 => {
                        out.push(Found::Left(Left::Broken));
                        return;
                    }
                    None if fact.kind == FactKind::Unknown && !is_free => {
                        return self.fail(Failure::ChoiceNotMet, out);
                    }
                    None => return self.fail(Failure::CallInvalid, out),
                }
            }
        };
        self.calls += 1;
        out.push(Found::Call(call));
        // Stopped at once: the service need not write the others.
        if !self.settings.offered.is_parallel {
            self.end(out);
        }
    }

    fn void(&mut self, fact: Fact, end: End, out: &mut Vec<Found>) {
        self.had_block = true;
        if self.settings.offered.must == Must::Never {
            out.push(Found::Left(Left::Unwanted));
        } else if self.calls > 0 {
            out.push(Found::Left(Left::Broken));
        } else if end == End::Broken {
            // The provider reports it.
        } else if self.settings.round == Round::First {
            self.ask(fact, out);
        } else if end != End::Cut {
            self.fail(Failure::CallInvalid, out);
        }
    }

    fn take_thoughts(&mut self, raw: &mut Vec<Raw>, out: &mut Vec<Found>) {
        let is_heard = match self.settings.round {
            Round::First => true,
            // Thoughts about a question that the client never saw.
            Round::Second { because } => because.asks_for_words(),
        };
        for raw in raw.drain(..) {
            match raw {
                Raw::Text(text) if is_heard => out.push(Found::Reasoning(text)),
                Raw::Call(call) => {
                    // Counted also beyond the bound, so that a small one behind a large one is not kept out of order.
                    self.thought_bytes += size(&call);
                    if self.thought_bytes <= MOST_THOUGHT && self.thought.len() < MOST_CALLS {
                        self.thought.push(call);
                    }
                }
                Raw::Text(_) | Raw::Void(_) | Raw::Empty | Raw::Over(_) | Raw::TooLarge => {}
            }
        }
    }

    /// Thoughts go on in another decoder, if they go on: what is held of them must not be told behind the answer.
    fn end_thoughts(&mut self, out: &mut Vec<Found>) {
        if let Some(mut thoughts) = self.thoughts.take() {
            let mut raw = std::mem::take(&mut self.raw);
            thoughts.finish(End::Clean, &mut raw);
            self.take_thoughts(&mut raw, out);
            self.raw = raw;
        }
    }

    /// Calls in the thoughts count if the answer has nothing at all. Source: tools.md section 6, rule 9.
    fn promote(&mut self, out: &mut Vec<Found>) {
        let thought = std::mem::take(&mut self.thought);
        if thought.is_empty() || self.state == State::Decided {
            return;
        }
        // An answer that says anything means its thoughts as thoughts.
        if self.calls > 0 || self.has_said || self.had_block {
            out.push(Found::Left(Left::Thought));
            return;
        }
        for call in thought {
            if self.state == State::Open {
                self.call(call, out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<Found>) {
        if self.state == State::Open {
            self.state = State::Over;
            out.push(Found::Over);
        }
    }

    fn ask(&mut self, fact: Fact, out: &mut Vec<Found>) {
        self.state = State::Decided;
        out.push(Found::Again(fact));
    }

    fn fail(&mut self, failure: Failure, out: &mut Vec<Found>) {
        self.state = State::Decided;
        out.push(Found::Failed(failure));
    }

    /// Whether an answer that begins so may be the service's own about a tool.
    fn may_be_taken(&self, text: &str) -> bool {
        let Some(taken) = self.settings.taken else {
            return false;
        };
        let text = text.trim_start();
        if text.len() > MOST_TAKEN {
            return false;
        }
        // The beginning of the beginning is there so far.
        let Some(rest) = text.strip_prefix(taken.before) else {
            return taken.before.starts_with(text);
        };
        self.settings.offered.offered().any(|tool| {
            let Some(rest) = rest.strip_prefix(tool.rendered_name()) else {
                return tool.rendered_name().starts_with(rest);
            };
            match rest.strip_prefix(taken.after) {
                Some(behind) => matches!(behind.trim(), "" | "."),
                None => taken.after.starts_with(rest),
            }
        })
    }

    fn is_taken(&self, text: &str) -> bool {
        let Some(taken) = self.settings.taken else {
            return false;
        };
        let text = text.trim();
        let text = text.strip_suffix('.').unwrap_or(text);
        let name = text
            .strip_prefix(taken.before)
            .and_then(|rest| rest.strip_suffix(taken.after));
        name.is_some_and(|name| self.settings.offered.find(name).is_some())
    }
}

fn options(settings: &Settings, flavour: Flavour) -> Options {
    Options {
        nonce: settings.nonce,
        offered: Arc::clone(&settings.offered),
        flavour,
        bare_json: settings.bare_json && flavour == Flavour::Answer,
        turn_marks: settings.turn_marks,
    }
}

fn size(call: &RawCall) -> usize {
    match &call.body {
        Body::Args(args) => args
            .iter()
            .map(|arg| arg.name.len() + arg.value.len())
            .sum(),
        Body::Json(json) => json.len(),
        // It was read from at least so much, and at most some times more.
        Body::Tree(tree) => tree.to_json().len(),
    }
}
