//! Takes away the preamble with which some prompts begin, which ends in `Response:**`. What the client sees depends on the
//! text alone, never on how it was cut. Source: `wire/flowgpt.md` section 6, "Preamble cleaning".

use std::borrow::Cow;

const SEPARATOR: &str = "Response:**";
/// The separator begins at this character or before it, counted from 0.
const LAST_START: usize = 150;
/// A longer text without the separator has no preamble any more: [`LAST_START`] and the separator's own eleven characters.
const MOST_HELD: usize = 161;

/// ```text
///            separator            something else
/// Holding ─────────────► Trimming ──────────────► Passing
///    │                                               ▲
///    └──────── longer than a preamble can be ────────┘
/// ```
#[derive(Debug)]
pub(super) enum Preamble {
    /// All text so far, and how many characters it has.
    Holding(String, usize),
    /// White space after the separator, which may come in later pieces.
    Trimming,
    /// Whatever comes.
    Passing,
}

impl Default for Preamble {
    fn default() -> Self {
        Self::Holding(String::new(), 0)
    }
}

impl Preamble {
    /// What of the text may be said now that this piece has come.
    pub(super) fn pass<'a>(&mut self, piece: Cow<'a, str>) -> Cow<'a, str> {
        match self {
            Self::Passing => piece,
            Self::Trimming => self.trim(&piece).into(),
            Self::Holding(held, chars) => {
                // Counted in characters, as section 6 does: a byte count would depend on the language.
                held.push_str(&piece);
                // Added up, so that a long preamble is not counted anew with each piece.
                *chars += piece.chars().count();
                // The first separator decides: a later one stands even further from the start.
                if let Some((before, after)) = held.split_once(SEPARATOR)
                    && before.chars().count() <= LAST_START
                {
                    let after = after.to_owned();
                    return self.trim(&after).into();
                }
                // From here on no separator could begin early enough.
                if *chars > MOST_HELD {
                    return self.release().into();
                }
                Cow::Borrowed("")
            }
        }
    }

    /// The text is over: what was held was no preamble.
    pub(super) fn release(&mut self) -> String {
        match std::mem::replace(self, Self::Passing) {
            Self::Holding(held, _) => held,
            Self::Trimming | Self::Passing => String::new(),
        }
    }

    fn trim(&mut self, text: &str) -> String {
        let rest = text.trim_start_matches([' ', '\t', '\r', '\n']);
        // All of it may be white space: the next piece goes on with it.
        *self = if rest.is_empty() {
            Self::Trimming
        } else {
            Self::Passing
        };
        rest.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each piece lets out, and what comes at the end.
    fn said(pieces: &[&str]) -> Vec<String> {
        let mut preamble = Preamble::default();
        let mut said: Vec<String> = pieces
            .iter()
            .map(|piece| preamble.pass(Cow::Borrowed(piece)).into_owned())
            .collect();
        said.push(preamble.release());
        said
    }

    /// The pieces of section 9, which the older cleaner said twice.
    #[test]
    fn nothing_is_said_twice() {
        let pieces = ["**Re", "sponse:** ", "Hello", " world", "!"];
        assert_eq!(said(&pieces), ["", "", "Hello", " world", "!", ""]);
    }

    #[test]
    fn white_space_after_the_separator_goes_wherever_it_comes() {
        let pieces = ["Response:**", " \t", "\r\n", " a ", " b"];
        assert_eq!(said(&pieces), ["", "", "", "a ", " b", ""]);
        // No other white space is meant.
        assert_eq!(said(&["Response:**\u{3000}a"]), ["\u{3000}a", ""]);
    }

    /// Sample C: twelve pieces of fourteen characters.
    #[test]
    fn what_is_longer_than_a_preamble_is_let_out() {
        let pieces = ["aaaa bbbb cccc"; 12];
        let said = said(&pieces);
        assert!(said.iter().take(11).all(String::is_empty), "{said:?}");
        assert_eq!(said[11], pieces.concat());
    }

    #[test]
    fn the_separator_counts_up_to_character_150() {
        for (before, is_preamble) in [(0, true), (150, true), (151, false), (400, false)] {
            // Characters count, not bytes.
            let text = format!("{}Response:** rest", "字".repeat(before));
            let whole = if is_preamble { "rest" } else { text.as_str() };
            assert_eq!(said(&[&text]).concat(), whole, "{before}");
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(said(&pieces).concat(), whole, "{before}, one by one");
        }
    }

    #[test]
    fn a_short_text_is_held_to_its_end() {
        let text = "x".repeat(161);
        assert_eq!(said(&[&text]), ["", text.as_str()]);
        let text = "x".repeat(162);
        assert_eq!(said(&[&text]), [text.as_str(), ""]);
    }

    proptest::proptest! {
        #[test]
        fn cuts_change_nothing(text in "[a长 \n]{0,170}(Response:\\*\\*)?[ \n]{0,3}[a长 ]{0,20}", cuts in proptest::collection::vec(0_usize..600, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|cut| text.get(cut[0]..cut[1]).unwrap()).collect();
            proptest::prop_assert_eq!(said(&pieces).concat(), said(&[&text]).concat());
        }
    }
}
