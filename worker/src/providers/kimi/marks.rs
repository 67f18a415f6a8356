//! Citation marks: private-use characters in the answer's text that point at sources. Taken out of what the client
//! sees, wherever the events cut them. Source: `wire/kimi.md` section 5.3.

use crate::impossible::OrImpossible as _;

const OPEN: char = '\u{E3A0}';
const NEXT: char = '\u{E3A3}';
const CLOSE: char = '\u{E3A8}';
/// What every mark begins with; `NEXT` and the first reference follow.
const WORD: &str = "cite";
/// A mark longer than this is none.
const MOST_CHARS: usize = 512;

/// A piece of text, cleaned, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// For the client.
    Text(String),
    /// The `refIndex` of a source that the text cites here.
    Reference(String),
}

/// Holds back what may be a mark.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// From [`OPEN`] on; empty while no mark is open.
    held: String,
    held_chars: usize,
}

impl Marks {
    /// Takes the next text and gives out what is decided.
    pub(super) fn feed(&mut self, text: String, out: &mut Vec<Piece>) {
        // No mark open and none begun: nearly every piece passes as it is.
        if self.held.is_empty() && !text.contains(OPEN) {
            if !text.is_empty() {
                out.push(Piece::Text(text));
            }
            return;
        }
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            if self.held.is_empty() && c != OPEN {
                clean.push(c);
                continue;
            }
            // A mark cannot begin within another.
            if c == OPEN {
                // What was held is no mark, or this one would not begin inside it.
                self.give_up(&mut clean);
            }
            self.held.push(c);
            self.held_chars += 1;
            // Before the bound: a mark that closes in time is one.
            if c == CLOSE {
                self.close(&mut clean, out);
            } else if self.held_chars > MOST_CHARS || !self.can_be_mark() {
                self.give_up(&mut clean);
            }
        }
        if !clean.is_empty() {
            out.push(Piece::Text(clean));
        }
    }

    /// The answer is over: an unfinished mark is dropped (section 5.3).
    pub(super) fn finish(&mut self) {
        self.held.clear();
        self.held_chars = 0;
    }

    /// Whether what is held begins like a mark: other private-use text is somebody's own and passes at once.
    fn can_be_mark(&self) -> bool {
        let inner = self
            .held
            .strip_prefix(OPEN)
            .or_impossible("only what begins a mark is held");
        match inner.strip_prefix(WORD) {
            Some(rest) => rest.is_empty() || rest.starts_with(NEXT),
            None => WORD.starts_with(inner),
        }
    }

    fn close(&mut self, clean: &mut String, out: &mut Vec<Piece>) {
        let references = self
            .held
            .strip_prefix(OPEN)
            .and_then(|inner| inner.strip_prefix(WORD)?.strip_prefix(NEXT))
            .and_then(|inner| inner.strip_suffix(CLOSE));
        let Some(references) = references else {
            // It only looked like one: private-use text of somebody's own.
            return self.give_up(clean);
        };
        if !clean.is_empty() {
            // In order: what stands before the mark is said before the source is cited.
            out.push(Piece::Text(std::mem::take(clean)));
        }
        let references = references.split(NEXT).filter(|it| !it.is_empty());
        out.extend(references.map(|it| Piece::Reference(it.to_owned())));
        self.finish();
    }

    fn give_up(&mut self, clean: &mut String) {
        clean.push_str(&self.held);
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (text, references with their positions in it)
    fn clean<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, Vec<(usize, String)>) {
        let (mut marks, mut out) = (Marks::default(), Vec::new());
        for piece in pieces {
            marks.feed(piece.to_owned(), &mut out);
        }
        marks.finish();
        let (mut text, mut references) = (String::new(), Vec::new());
        for piece in out {
            match piece {
                Piece::Text(piece) => text.push_str(&piece),
                Piece::Reference(it) => references.push((text.chars().count(), it)),
            }
        }
        (text, references)
    }

    fn every_split(text: &str) -> (String, Vec<(usize, String)>) {
        let whole = clean([text]);
        for (at, _) in text.char_indices() {
            let (head, tail) = text.split_at(at);
            assert_eq!(clean([head, tail]), whole, "split at {at}");
        }
        let chars: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(clean(chars.iter().map(String::as_str)), whole);
        whole
    }

    /// The vectors of wire/kimi.md section 5.3.
    #[test]
    fn follows_the_vectors() {
        let own = |list: &[(usize, &str)]| -> Vec<(usize, String)> {
            list.iter()
                .map(|(at, it)| (*at, (*it).to_owned()))
                .collect()
        };
        assert_eq!(
            every_split("A\u{E3A0}cite\u{E3A3}web_search:1#0\u{E3A8}B"),
            ("AB".to_owned(), own(&[(1, "web_search:1#0")]))
        );
        assert_eq!(
            every_split("\u{E3A0}cite\u{E3A3}a#0\u{E3A3}b#1\u{E3A8}"),
            (String::new(), own(&[(0, "a#0"), (0, "b#1")]))
        );
        assert_eq!(every_split("A\u{E3A0}ci"), ("A".to_owned(), Vec::new()));
    }

    #[test]
    fn what_is_no_mark_stays_as_it_is() {
        let long = format!("\u{E3A0}cite\u{E3A3}{}\u{E3A8}.", "x".repeat(600));
        for text in [
            "[^3^] plain 你好",
            "\u{E3A0}name\u{E3A8}",
            "\u{E3A0}cite\u{E3A8}",
            "\u{E3A0}city",
            "a\u{E3A8}b\u{E3A3}c",
            &long,
        ] {
            assert_eq!(every_split(text), (text.to_owned(), Vec::new()));
        }
        assert_eq!(
            every_split("\u{E3A0}ci\u{E3A0}cite\u{E3A3}a\u{E3A8}"),
            ("\u{E3A0}ci".to_owned(), vec![(3, "a".to_owned())])
        );
    }
}
