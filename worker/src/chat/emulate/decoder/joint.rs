//! Where something was taken out of words, what stood before and behind it must not become a tag of ours: `<ca</call-N>ll-N>`
//! without its middle. The first half was words when it was told, so the second half is what does not leave. Source:
//! conformance.md, T7.

use super::lex::{self, Lexed, Own};

/// No half of a tag is longer: blanks, a slash, the longest local name and the nonce.
const MOST: usize = 40;

/// The end of the words that were told.
#[derive(Debug, Default)]
pub(super) struct Joint {
    /// From the last `<` on, if a tag of ours may go on behind it; else empty.
    half: Vec<u8>,
    /// Something was taken out behind it.
    is_cut: bool,
}

/// What is to be done with what stands behind a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// It is no half of a tag.
    Free,
    /// So many bytes of it are.
    Half(usize),
    /// So many bytes of it may be, and something else begins behind them.
    Perhaps(usize),
    /// More must come.
    More,
}

impl Joint {
    /// These words were told.
    pub(super) fn told(&mut self, words: &[u8], nonce: &[u8]) {
        let Some(from) = memchr::memrchr(b'<', words) else {
            if !self.half.is_empty() {
                self.half.extend(words.iter().take(MOST));
                self.keep(nonce);
            }
            return;
        };
        self.half.clear();
        self.is_cut = false;
        let half = words.get(from..).unwrap_or_default();
        if half.len() <= MOST {
            self.half.extend(half);
            self.keep(nonce);
        }
    }

    fn keep(&mut self, nonce: &[u8]) {
        let may_go_on = matches!(lex::own(&self.half, nonce), Own::Maybe(_));
        if !may_go_on || self.half.len() > MOST {
            self.forget();
        }
    }

    /// What comes next has nothing to do with it.
    pub(super) fn forget(&mut self) {
        if !self.half.is_empty() {
            *self = Self::default();
        }
    }

    /// Something was taken out.
    pub(super) fn cut(&mut self) {
        self.is_cut = !self.half.is_empty();
    }

    /// Whether what comes next must be looked at.
    pub(super) fn is_open(&self) -> bool {
        self.is_cut
    }

    /// Looks at what stands behind the cut. With `is_end` nothing comes behind `rest`.
    pub(super) fn behind(&self, rest: &[u8], nonce: &[u8], is_end: bool) -> Behind {
        if rest.is_empty() {
            return if is_end { Behind::Free } else { Behind::More };
        }
        let mut whole = self.half.clone();
        let known = whole.len();
        whole.extend(rest.iter().take(lex::MOST_TAG));
        match lex::own(&whole, nonce) {
            Own::Yes => match lex::lex(&whole, nonce, is_end) {
                Lexed::Tag(tag) => Behind::Half(tag.length.saturating_sub(known)),
                Lexed::More => Behind::More,
                // No tag after all, but with our nonce: that much of it does not leave.
                Lexed::Nothing => {
                    let dash = memchr::memchr(b'-', &whole).unwrap_or(known);
                    let end = dash + 1 + nonce.len();
                    Behind::Half(end.saturating_sub(known).max(1))
                }
            },
            // Nothing of the nonce is there: at the end it is words.
            Own::Maybe(0) if is_end => Behind::Free,
            Own::Maybe(_) if is_end => Behind::Half(rest.len()),
            Own::Maybe(_) => Behind::More,
            Own::No => {
                // Something else may stand between the halves as well.
                let next = memchr::memchr(b'<', rest);
                let head = next.and_then(|next| rest.get(..next)).unwrap_or_default();
                let mut whole = self.half.clone();
                whole.extend(head);
                match lex::own(&whole, nonce) {
                    Own::Maybe(_) if next.is_some() => Behind::Perhaps(head.len()),
                    _ => Behind::Free,
                }
            }
        }
    }
}
