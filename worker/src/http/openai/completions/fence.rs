//! What stands between two texts is wanted bare, and models that chat like to put it into a fence of three backticks.

/// Takes the fence off a text that comes in pieces, if it stands around the whole of it.
#[derive(Debug, Default)]
pub(super) struct Unfence {
    state: State,
    /// Not yet said: what may belong to the fence.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but what may be the beginning of a fence has come.
    #[default]
    Beginning,
    /// Inside of one.
    Fenced,
    /// There is none.
    Bare,
}

/// What opens and closes one.
pub(super) const FENCE: &str = "```";

impl Unfence {
    /// What may be said after the next piece.
    pub(super) fn feed(&mut self, piece: &str) -> String {
        // Once something else than a fence has come, nothing is looked at again: a fence in the middle is the text's
        // own.
        if self.state == State::Bare {
            return piece.to_owned();
        }
        self.held.push_str(piece);
        if self.state == State::Beginning {
            let text = self.held.trim_start();
            // `get` and not a slice: three bytes may end within a character.
            if !FENCE.starts_with(text.get(..FENCE.len()).unwrap_or(text)) {
                self.state = State::Bare;
                return std::mem::take(&mut self.held);
            }
            // The line of the fence may name a language.
            let Some((_, inside)) = text.split_once('\n').filter(|_| text.starts_with(FENCE))
            else {
                // Its line is not whole yet, and how much of it is the language nobody knows.
                return String::new();
            };
            self.held = inside.to_owned();
            self.state = State::Fenced;
        }
        let kept = said(&self.held);
        let rest = self.held.split_off(kept);
        std::mem::replace(&mut self.held, rest)
    }

    /// What is left at the end.
    pub(super) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        match self.state {
            // A line's end before the fence was held back as well, and belongs to the fence: the text goes on where the
            // cursor stands.
            State::Fenced if held.trim() == FENCE => String::new(),
            State::Beginning | State::Fenced | State::Bare => held,
        }
    }
}

/// How many bytes of a text cannot belong to the fence at its end, nor to the line's end before that.
fn said(text: &str) -> usize {
    let blank = [' ', '\t'];
    if let Some(before) = text.trim_end().strip_suffix(FENCE) {
        let before = before.trim_end_matches(blank);
        if before.is_empty() || before.ends_with('\n') {
            // The line's end stays held with the fence: it is said only if more text follows.
            return before.len().saturating_sub(1);
        }
    }
    let (before, line) = text.rsplit_once('\n').unwrap_or(("", text));
    // A line that could still become the fence is held, with the line's end before it (`before.len()`, not one more).
    if FENCE.starts_with(line.trim_start_matches(blank)) {
        before.len()
    } else {
        text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(pieces: &[&str]) -> String {
        let mut unfence = Unfence::default();
        let said: String = pieces.iter().map(|piece| unfence.feed(piece)).collect();
        said + &unfence.finish()
    }

    #[test]
    fn a_fence_around_the_whole_goes_however_it_is_torn() {
        for (text, expected) in [
            ("```rust\nlet a = 1;\nb\n```", "let a = 1;\nb"),
            ("\n```\na\n```\n", "a"),
            ("```\n```", ""),
            ("a\n```\nb\n```", "a\n```\nb\n```"),
            ("plain", "plain"),
            ("  indented", "  indented"),
            ("``", "``"),
            ("```\na\n``", "a\n``"),
            ("```\na\n```\nand", "a\n```\nand"),
            ("", ""),
            ("你好", "你好"),
        ] {
            for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
                let (head, tail) = text.split_at(at);
                assert_eq!(bare(&[head, tail]), expected, "{text:?} at {at}");
            }
            let chars: Vec<String> = text.chars().map(String::from).collect();
            let chars: Vec<&str> = chars.iter().map(String::as_str).collect();
            assert_eq!(bare(&chars), expected, "{text:?} by characters");
        }
    }

    #[test]
    fn nothing_waits_that_need_not() {
        let mut unfence = Unfence::default();
        assert_eq!(unfence.feed("a"), "a");
        let mut unfence = Unfence::default();
        assert_eq!(unfence.feed("```js\nlet "), "let ");
        assert_eq!(unfence.feed("a\n"), "a");
        assert_eq!(unfence.feed("b"), "\nb");
    }
}
