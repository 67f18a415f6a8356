//! Words, and what in them may be the beginning of a call. Source: tools.md section 6, rules 2, 3, 7 and 8.

use memchr::{memchr, memchr3, memrchr};

use super::{
    Flavour,
    lex::{self, Lexed, Local, Own, Role, Tag},
};

/// Most blanks before an opener that are not told: the opener may come later than they do.
pub(super) const MOST_BLANKS: usize = 64;
/// Most bytes from a fence to the block that makes it vanish.
const MOST_FENCE: usize = 80;
/// With more blanks before it a line is code by Markdown's rules.
const MOST_INDENT: usize = 3;
const BRACKETED: &[u8] = b"[TOOL_CALLS]";

/// An open fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    mark: u8,
    count: usize,
}

/// What is known where a text begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// How many blanks its line has had, if it has had nothing else.
    pub(super) indent: Option<usize>,
    pub(super) fence: Option<Fence>,
    /// The answer has had nothing but blanks.
    pub(super) is_start: bool,
}

/// What is looked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) nonce: &'a [u8],
    pub(super) flavour: Flavour,
    /// JSON may be the whole answer (D6).
    pub(super) bare_json: bool,
    /// What the prompt writes before a turn: in an answer it means that the model plays the other side.
    pub(super) turn_marks: &'a [&'static str],
}

/// What is to be done with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its beginning is words; the rest must wait.
    Tell { upto: usize, fence: Option<Fence> },
    /// A tag of ours stands at `at`; the words before it end at `upto`.
    Own {
        upto: usize,
        at: usize,
        tag: Option<Tag>,
        fence: Option<Fence>,
    },
    /// Something at `at` may be a call in another dialect.
    Probe {
        upto: usize,
        at: usize,
        kind: ProbeKind,
        fence: Option<Fence>,
    },
    /// The turn is over at `upto`.
    Invented { upto: usize },
    /// The answer ends in the middle of an opener of ours.
    Cut { upto: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeKind {
    Tag,
    Bracketed,
    /// JSON that may be the whole answer, `json` bytes behind its beginning (which may be a fence).
    Bare {
        json: usize,
    },
}

/// Whether a piece of text has none of the bytes that anything begins with.
pub(super) fn is_plain(text: &[u8]) -> bool {
    // Four searches with vector instructions, in two passes over the piece.
    memchr3(b'<', b'`', b'[', text).is_none() && memchr(b'~', text).is_none()
}

/// The blanks at the end, as far as they are held.
pub(super) fn trailing_blanks(text: &[u8]) -> usize {
    let blanks = text.iter().rev().take(MOST_BLANKS);
    blanks.take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// How many blanks the line has had behind `text`, if nothing else.
pub(super) fn indent_behind(before: Option<usize>, text: &[u8]) -> Option<usize> {
    let (before, line) = match memrchr(b'\n', text) {
        Some(at) => (Some(0), text.get(at + 1..).unwrap_or_default()),
        None => (before, text),
    };
    let is_blank = line.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    before
        .filter(|_| is_blank)
        .map(|before| before + line.len())
}

/// Looks through a text, from `from` on. With `is_end` nothing comes behind it.
pub(super) fn scan(
    text: &[u8],
    from: usize,
    place: Place,
    wanted: &Wanted<'_>,
    is_end: bool,
) -> Step {
    let mut scan = Scan {
        text,
        place,
        wanted,
        is_end,
        vanishing: None,
    };
    scan.run(from)
}

struct Scan<'a> {
    text: &'a [u8],
    place: Place,
    wanted: &'a Wanted<'a>,
    is_end: bool,
    /// A fence whose line stands directly before the place: where it begins, and the place.
    vanishing: Option<(usize, usize)>,
}

/// What one byte that may begin something turns out to be.
enum Seen {
    /// Look on from here.
    On(usize),
    Done(Step),
}

impl Scan<'_> {
    fn run(&mut self, from: usize) -> Step {
        let first = self
            .text
            .iter()
            .position(|byte| !byte.is_ascii_whitespace());
        // Only at the answer's beginning and only once: `from` moves with the first look.
        if self.place.is_start
            && from == 0
            && let Some(first) = first
            && let Some(step) = self.bare(first)
        {
            return step;
        }
        let mut at = from;
        while let Some(found) = self.next_special(at) {
            let seen = match self.text.get(found) {
                Some(b'<') => self.tag(found),
                Some(b'[') => self.bracketed(found),
                _ => self.fence(found, first),
            };
            match seen {
                Seen::On(next) => at = next,
                Seen::Done(step) => return step,
            }
        }
        let end = self.text.len();
        Step::Tell {
            upto: if self.is_end {
                end
            } else {
                end - trailing_blanks(self.text)
            },
            fence: self.place.fence,
        }
    }

    fn next_special(&self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        let first = memchr3(b'<', b'`', b'[', rest);
        // A tilde is searched for before the first of the others only, so that a text without any is passed twice and
        // no more.
        let before = rest.get(..first.unwrap_or(rest.len())).unwrap_or_default();
        memchr(b'~', before).or(first).map(|found| at + found)
    }

    fn hold(&self, at: usize) -> Step {
        Step::Tell {
            upto: self.end_of_words(at),
            fence: self.place.fence,
        }
    }

    /// Where the words before `at` end: blanks, and a fence that vanishes, are not told.
    fn end_of_words(&self, at: usize) -> usize {
        let at = match self.vanishing {
            Some((fence, place)) if place == at => fence,
            _ => at,
        };
        at - trailing_blanks(self.text.get(..at).unwrap_or_default())
    }

    /// How many blanks stand between the beginning of the line and `at`; `None`: something else does, too.
    fn indent(&self, at: usize) -> Option<usize> {
        let before = self.text.get(..at).unwrap_or_default();
        let blanks = before
            .iter()
            .rev()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        // The byte before the blanks, if the text has it; else what was known where the text begins.
        match before
            .len()
            .checked_sub(blanks + 1)
            .and_then(|last| before.get(last))
        {
            Some(b'\n') => Some(blanks),
            Some(_) => None,
            None => self.place.indent.map(|indent| indent + blanks),
        }
    }

    /// Whether another dialect's call may begin here: at the start of a line, outside fences.
    fn may_be_foreign(&self, at: usize) -> bool {
        self.place.fence.is_none() && self.indent(at).is_some_and(|indent| indent <= MOST_INDENT)
    }

    /// JSON as the whole answer.
    fn bare(&self, first: usize) -> Option<Step> {
        let rest = self.text.get(first..)?;
        // Mistral's mark begins like a list of JSON.
        let is_bracketed = BRACKETED.starts_with(rest.get(..BRACKETED.len()).unwrap_or(rest));
        if !self.wanted.bare_json || !matches!(rest.first(), Some(b'{' | b'[')) {
            return None;
        }
        if is_bracketed {
            let is_cut = !self.is_end && rest.len() < BRACKETED.len();
            return is_cut.then(|| self.hold(first));
        }
        Some(Step::Probe {
            upto: self.end_of_words(first),
            at: first,
            kind: ProbeKind::Bare { json: 0 },
            fence: None,
        })
    }

    fn tag(&mut self, at: usize) -> Seen {
        let rest = self.text.get(at..).unwrap_or_default();
        match lex::own(rest, self.wanted.nonce) {
            Own::Yes => return self.own(at, rest),
            Own::Maybe(_) if !self.is_end => return Seen::Done(self.hold(at)),
            // A tag of ours that was cut off within its nonce. Less of it may be anything.
            // At the end some of the nonce is enough; without any of it, `<ca` is prose.
            Own::Maybe(1..) => {
                let upto = self.end_of_words(at);
                return Seen::Done(Step::Cut { upto });
            }
            Own::Maybe(0) | Own::No => {}
        }
        if self.wanted.flavour == Flavour::Answer
            // At the start of a line only: the same words within one are quoted.
            && self.indent(at).is_some()
            && self.place.fence.is_none()
        {
            for mark in self.wanted.turn_marks {
                let mark = mark.as_bytes();
                if rest.starts_with(mark) {
                    return Seen::Done(Step::Invented {
                        upto: self.end_of_words(at),
                    });
                }
                if !self.is_end && mark.starts_with(rest) {
                    return Seen::Done(self.hold(at));
                }
            }
        }
        if !self.may_be_foreign(at) {
            return Seen::On(at + 1);
        }
        let tag = match lex::lex(rest, self.wanted.nonce, self.is_end) {
            Lexed::More => return Seen::Done(self.hold(at)),
            Lexed::Nothing => return Seen::On(at + 1),
            Lexed::Tag(tag) => tag,
        };
        // A closer without an opener is prose or a slip; nothing is lost by telling it.
        if tag.is_closer {
            return Seen::On(at + 1);
        }
        let may_begin = match tag.role() {
            Role::Results
                if tag.local == Local::ToolResponse && self.wanted.flavour == Flavour::Answer =>
            {
                return Seen::Done(Step::Invented {
                    upto: self.end_of_words(at),
                });
            }
            Role::Results | Role::Arg => false,
            Role::Calls | Role::Call => true,
            Role::Mark => tag.local == Local::Begin,
            Role::Wrapper => !tag.has_attributes && !tag.is_empty,
        };
        if !may_begin {
            return Seen::On(at + 1);
        }
        Seen::Done(Step::Probe {
            upto: self.end_of_words(at),
            at,
            kind: ProbeKind::Tag,
            fence: None,
        })
    }

    fn own(&self, at: usize, rest: &[u8]) -> Seen {
        let tag = match lex::lex(rest, self.wanted.nonce, self.is_end) {
            Lexed::More => return Seen::Done(self.hold(at)),
            // It has our nonce, so it must not leave, whatever it is.
            Lexed::Nothing => None,
            Lexed::Tag(tag) => Some(tag),
        };
        let upto = self.end_of_words(at);
        let is_result = tag
            .as_ref()
            .is_some_and(|tag| tag.role() == Role::Results && !tag.is_closer);
        if is_result && self.wanted.flavour == Flavour::Answer {
            return Seen::Done(Step::Invented { upto });
        }
        let vanishes = self.vanishing.is_some_and(|(_, place)| place == at);
        Seen::Done(Step::Own {
            upto,
            at,
            tag,
            // A fence that was only there for the block goes with it, so that no code block stays open.
            fence: self.place.fence.filter(|_| !vanishes),
        })
    }

    fn bracketed(&self, at: usize) -> Seen {
        let rest = self.text.get(at..).unwrap_or_default();
        let is_begun = BRACKETED.starts_with(rest.get(..BRACKETED.len()).unwrap_or(rest));
        if !is_begun || !self.may_be_foreign(at) {
            return Seen::On(at + 1);
        }
        if rest.len() < BRACKETED.len() {
            return if self.is_end {
                Seen::On(at + 1)
            } else {
                Seen::Done(self.hold(at))
            };
        }
        Seen::Done(Step::Probe {
            upto: self.end_of_words(at),
            at,
            kind: ProbeKind::Bracketed,
            fence: None,
        })
    }

    /// A backtick or a tilde, which may begin or end a fence.
    fn fence(&mut self, at: usize, first: Option<usize>) -> Seen {
        let rest = self.text.get(at..).unwrap_or_default();
        let mark = rest.first().copied().unwrap_or_default();
        let count = rest.iter().take_while(|&&byte| byte == mark).count();
        // Marks within a line open nothing.
        if self.indent(at).is_none() {
            return Seen::On(at + count);
        }
        // Enough is there when something follows, or when it is longer than what would make it vanish.
        let is_whole = |length: usize| self.is_end || length < rest.len() || length >= MOST_FENCE;
        if !is_whole(count) {
            return Seen::Done(self.hold(at));
        }
        if count < 3 {
            return Seen::On(at + count);
        }
        let line = rest
            .get(count..MOST_FENCE.max(count))
            .unwrap_or_else(|| rest.get(count..).unwrap_or_default());
        let line_end = memchr(b'\n', line);
        if line_end.is_none() && !is_whole(count + line.len()) {
            return Seen::Done(self.hold(at));
        }
        let info = line
            .get(..line_end.unwrap_or(line.len()))
            .unwrap_or_default();
        if let Some(open) = self.place.fence {
            // CommonMark 0.31, section 4.5: the same mark, as many at least, nothing behind them.
            let is_closing = open.mark == mark
                && count >= open.count
                && info.iter().all(u8::is_ascii_whitespace);
            if is_closing {
                self.place.fence = None;
            }
            return Seen::On(at + count);
        }
        // Code within a line, which begins at its start.
        if mark == b'`' && info.contains(&b'`') {
            return Seen::On(at + count);
        }
        let fence = Fence { mark, count };
        let Some(line_end) = line_end else {
            self.place.fence = Some(fence);
            return Seen::On(at + count);
        };
        let inside = count + line_end + 1;
        let body = rest.get(inside..).unwrap_or_default();
        let blanks = body.iter().position(|byte| !byte.is_ascii_whitespace());
        let gap = inside + blanks.unwrap_or(body.len());
        // Too far from its block to be there for it: an ordinary fence.
        if gap > MOST_FENCE || (blanks.is_none() && self.is_end) {
            self.place.fence = Some(fence);
            return Seen::On(at + count);
        }
        match blanks.and_then(|blanks| body.get(blanks)) {
            None => Seen::Done(self.hold(at)),
            Some(b'<') => {
                self.place.fence = Some(fence);
                let tag = rest.get(gap..).unwrap_or_default();
                match lex::own(tag, self.wanted.nonce) {
                    Own::No => {}
                    Own::Maybe(_) if !self.is_end => {
                        // Neither the fence nor what stands in it is told before it is known.
                        // Set for the look at the tag, and taken back for the wait: the fence is looked at again with
                        // the next piece.
                        self.place.fence = None;
                        return Seen::Done(self.hold(at));
                    }
                    Own::Yes | Own::Maybe(_) => {
                        self.place.fence = None;
                        self.vanishing = Some((at, at + gap));
                        let seen = self.tag(at + gap);
                        // It was none of ours after all.
                        if let Seen::On(_) = seen {
                            self.place.fence = Some(fence);
                        }
                        return seen;
                    }
                }
                Seen::On(at + count)
            }
            Some(b'{' | b'[')
                if self.place.is_start && first == Some(at) && self.wanted.bare_json =>
            {
                Seen::Done(Step::Probe {
                    upto: self.end_of_words(at),
                    at,
                    kind: ProbeKind::Bare { json: gap },
                    fence: None,
                })
            }
            Some(_) => {
                self.place.fence = Some(fence);
                // Looked at from behind the marks on: a tag of ours must not leave, not even as a fence's own words.
                Seen::On(at + count)
            }
        }
    }
}
