//! Marks in the text that point at sources: `【1†source】`, `【1†来源】`, `【1†源】`. Taken out of what the client sees, wherever
//! the frames cut them; the place is told of. Source: `wire/zhipu.md` section 6.3.

use crate::chat::ChatEvent;
use crate::impossible::OrImpossible as _;

const OPEN: char = '【';
const CLOSE: char = '】';
const DAGGER: char = '†';
const WORDS: [&str; 3] = ["source", "来源", "源"];
/// Nobody has more sources.
const MOST_DIGITS: usize = 3;

/// Holds back what may be a mark.
#[derive(Debug, Default)]
pub(super) struct Marks {
    held: String,
}

/// What a text is, as far as it goes.
enum Verdict {
    Open,
    Mark(u32),
    Text,
}

impl Marks {
    /// Passes on what of the next text is decided.
    pub(super) fn feed(&mut self, text: String, events: &mut Vec<ChatEvent>) {
        if self.held.is_empty() && !text.contains(OPEN) {
            push(text, events); // Nearly always.
            return;
        }
        let mut clean = String::with_capacity(text.len());
        // Character by character, as only OPEN can begin a mark and frames cut anywhere.
        for c in text.chars() {
            if c == OPEN {
                // What was held is no mark, or this one would not begin inside it.
                clean.push_str(&std::mem::take(&mut self.held));
            } else if self.held.is_empty() {
                clean.push(c);
                continue;
            }
            self.held.push(c);
            match verdict(&self.held) {
                Verdict::Open => {}
                Verdict::Text => clean.push_str(&std::mem::take(&mut self.held)),
                Verdict::Mark(index) => {
                    self.held.clear();
                    push(std::mem::take(&mut clean), events);
                    events.push(ChatEvent::Cited { index });
                }
            }
        }
        push(clean, events);
    }

    /// No text follows: what was held is no mark.
    pub(super) fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        push(std::mem::take(&mut self.held), events);
    }
}

/// A whole text without marks.
pub(super) fn without(text: String) -> String {
    let (mut marks, mut events) = (Marks::default(), Vec::new());
    marks.feed(text, &mut events);
    marks.finish(&mut events);
    let pieces = events.into_iter().filter_map(|event| match event {
        ChatEvent::Text(text) => Some(text),
        _ => None,
    });
    pieces.collect()
}

fn push(text: String, events: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        events.push(ChatEvent::Text(text));
    }
}

/// Judges a text that begins with [`OPEN`].
fn verdict(held: &str) -> Verdict {
    let inner = held
        .strip_prefix(OPEN)
        .or_impossible("what is held begins with it");
    let after = inner.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = inner
        .strip_suffix(after)
        .or_impossible("what was cut off is its end");
    if digits.len() > MOST_DIGITS {
        return Verdict::Text;
    }
    // Digits alone may go on.
    if after.is_empty() {
        return Verdict::Open;
    }
    let Some(word) = after.strip_prefix(DAGGER).filter(|_| !digits.is_empty()) else {
        return Verdict::Text;
    };
    match word.strip_suffix(CLOSE) {
        Some(word) if WORDS.contains(&word) => digits.parse().map_or(Verdict::Text, Verdict::Mark),
        None if WORDS.iter().any(|known| known.starts_with(word)) => Verdict::Open,
        Some(_) | None => Verdict::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pieces: &[&str]) -> (String, Vec<u32>) {
        let (mut marks, mut events) = (Marks::default(), Vec::new());
        for piece in pieces {
            marks.feed((*piece).to_owned(), &mut events);
        }
        marks.finish(&mut events);
        let (mut text, mut cited) = (String::new(), Vec::new());
        for event in events {
            match event {
                ChatEvent::Text(piece) => text.push_str(&piece),
                ChatEvent::Cited { index } => cited.push(index),
                other => panic!("{other:?}"),
            }
        }
        (text, cited)
    }

    #[test]
    fn takes_marks_out_however_they_are_torn() {
        let whole = "a【1†source】b【12†来源】【3†源】c【4†源码】【【5†source】【†源】【12【6】【1234†源】【7†sou";
        let expected = "abc【4†源码】【【†源】【12【6】【1234†源】【7†sou";
        for (at, _) in whole.char_indices() {
            let (head, tail) = whole.split_at(at);
            assert_eq!(
                passed(&[head, tail]),
                (expected.to_owned(), vec![1, 12, 3, 5]),
                "{at}"
            );
        }
        assert_eq!(without(whole.to_owned()), expected);
    }

    proptest::proptest! {
        #[test]
        fn all_else_passes(text in "[a【】1†源s]{0,12}") {
            let (passed, cited) = passed(&[&text]);
            if cited.is_empty() {
                proptest::prop_assert_eq!(passed, text);
            }
        }
    }
}
