//! Words, and what in them may be the beginning of a call. Source: tools.md section 6, rules 2, 3 and 7.

use memchr::{memchr, memchr2, memchr3, memrchr};

use super::{
    Flavour,
    fence::Fence,
    lex::{self, Lexed, Local, Own, Role, Tag},
};

/// Most blanks before an opener that are not told: the opener may come later than they do.
pub(super) const MOST_BLANKS: usize = 64;
/// Longest tag around calls that is looked for behind words.
const MOST_WRAPPER: usize = 40;
/// With more blanks before it a line is code by Markdown's rules.
const MOST_INDENT: usize = 3;
const BRACKETED: &[u8] = b"[TOOL_CALLS]";

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
/// In the middle of a line only `<` begins something.
pub(super) fn is_plain(text: &[u8], is_in_line: bool) -> bool {
    if is_in_line {
        let special = memchr2(b'<', b'\n', text);
        match special.and_then(|at| text.get(at)) {
            None => return true,
            Some(b'<') => return false,
            Some(_) => {}
        }
    }
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

pub(super) struct Scan<'a> {
    pub(super) text: &'a [u8],
    pub(super) place: Place,
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) is_end: bool,
    /// A fence whose line stands directly before the place: where it begins, and the place.
    pub(super) vanishing: Option<(usize, usize)>,
}

/// What one byte that may begin something turns out to be.
pub(super) enum Seen {
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

    pub(super) fn hold(&self, at: usize) -> Step {
        Step::Tell {
            upto: self.end_of_words(at),
            fence: self.place.fence,
        }
    }

    /// Where the words before `at` end: blanks, and a fence that vanishes, are not told.
    pub(super) fn end_of_words(&self, at: usize) -> usize {
        let at = match self.vanishing {
            Some((fence, place)) if place == at => fence,
            _ => at,
        };
        at - trailing_blanks(self.text.get(..at).unwrap_or_default())
    }

    /// How many blanks stand between the beginning of the line and `at`; `None`: something else does, too.
    pub(super) fn indent(&self, at: usize) -> Option<usize> {
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

    pub(super) fn tag(&mut self, at: usize) -> Seen {
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
            return self.wrapper(at);
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

    /// A tag around calls that stands behind words, while the call itself begins a line: it goes with the call.
    fn wrapper(&self, at: usize) -> Seen {
        let rest = self.text.get(at..).unwrap_or_default();
        let begin = rest.get(..MOST_WRAPPER).unwrap_or(rest);
        let is_of_tag =
            |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"_:-|".contains(byte);
        let length = begin
            .iter()
            .skip(1)
            .take_while(|byte| is_of_tag(byte))
            .count()
            + 1;
        if self.place.fence.is_some() || (begin.len() > length && begin.get(length) != Some(&b'>'))
        {
            return Seen::On(at + 1);
        }
        if begin.len() == length {
            return if self.is_end || length == MOST_WRAPPER {
                Seen::On(at + 1)
            } else {
                Seen::Done(self.hold(at))
            };
        }
        let Lexed::Tag(tag) = lex::lex(begin, self.wanted.nonce, true) else {
            return Seen::On(at + 1);
        };
        if tag.role() != Role::Calls || tag.is_closer {
            return Seen::On(at + 1);
        }
        let behind = rest.get(tag.length..).unwrap_or_default();
        let blanks = behind
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        let gap = behind.get(..blanks).unwrap_or_default();
        match behind.get(blanks) {
            _ if blanks > MOST_BLANKS => Seen::On(at + 1),
            None if !self.is_end => Seen::Done(self.hold(at)),
            Some(b'<') if gap.contains(&b'\n') => Seen::Done(Step::Probe {
                upto: self.end_of_words(at),
                at,
                kind: ProbeKind::Tag,
                fence: None,
            }),
            _ => Seen::On(at + 1),
        }
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
}
