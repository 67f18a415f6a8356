//! What the service writes into an answer's text for its own page: marks that point at sources (`[[3]]`), and a badge
//! behind the last word. Both are taken out of what the client sees, wherever the events cut them. Source:
//! `wire/metaso.md` sections 5.3 and 6.

use crate::chat::ChatEvent;
use crate::impossible::OrImpossible as _;

/// More digits than any number of a source has.
const MOST_DIGITS: usize = 19;
/// `<span …>[AI生成]</span>`.
const BADGE_OPEN: &str = "<span";
const BADGE_CLOSE: &str = ">[AI生成]</span>";
/// A badge longer than this is none.
const MOST_BADGE_BYTES: usize = 512;

/// Holds back what may be a mark or the badge.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// `METASO_STRIP_SINGLE`: `[3]` is a mark as well.
    strips_single: bool,
    /// Begins with `[` where it is not empty.
    held: String,
    /// Begins with `<` where it is not empty.
    badge: String,
}

enum Verdict {
    /// As long as this; without a number where no source can have it.
    Mark {
        number: Option<u32>,
        bytes: usize,
    },
    Open,
    Text,
}

impl Marks {
    pub(super) fn new(strips_single: bool) -> Self {
        Self {
            strips_single,
            ..Self::default()
        }
    }

    /// Takes the next text and gives out what is decided.
    pub(super) fn feed(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        if self.held.is_empty() && !text.contains('[') {
            return self.say(text, events); // Nearly always.
        }
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            if self.held.is_empty() && c != '[' {
                clean.push(c);
                continue;
            }
            // Character by character: a mark may be torn anywhere, and only `[` can begin one.
            self.held.push(c);
            self.decide(false, &mut clean, events);
        }
        self.say(&clean, events);
    }

    /// The answer is over: what could not be decided is text, but for a badge.
    pub(super) fn finish(&mut self, events: &mut Vec<ChatEvent>) {
        let mut clean = String::new();
        self.decide(true, &mut clean, events);
        self.say(&clean, events);
        let left = std::mem::take(&mut self.badge);
        // A badge that is not whole is text; a whole one is left out (section 6).
        if !left.ends_with(BADGE_CLOSE) {
            push(left, events);
        }
    }

    /// Whether text is held back.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty() || !self.badge.is_empty()
    }

    /// Empties what is held as far as it can be told what it is. `is_end`: no more comes.
    fn decide(&mut self, is_end: bool, clean: &mut String, events: &mut Vec<ChatEvent>) {
        while !self.held.is_empty() {
            match self.verdict() {
                Verdict::Open if !is_end => return,
                Verdict::Mark { number, bytes } => {
                    let rest = self.held.split_off(bytes);
                    self.say(&std::mem::take(clean), events);
                    // A badge that is followed by something is not the last thing.
                    push(std::mem::take(&mut self.badge), events);
                    events.extend(number.map(|index| ChatEvent::Cited { index }));
                    self.go_on(rest, clean);
                }
                Verdict::Open | Verdict::Text => {
                    // It begins no mark; a later `[` in it may.
                    // One byte of the bracket alone: what follows it is looked at anew.
                    let rest = self.held.split_off(1);
                    clean.push('[');
                    self.go_on(rest, clean);
                }
            }
        }
    }

    /// Holds what is left from its first `[` on.
    fn go_on(&mut self, mut rest: String, clean: &mut String) {
        let next = rest.find('[').unwrap_or(rest.len());
        self.held = rest.split_off(next);
        clean.push_str(&rest);
    }

    /// What begins with what is held.
    fn verdict(&self) -> Verdict {
        let inner = self
            .held
            .strip_prefix('[')
            .or_impossible("what is held begins with a bracket");
        let (digits, closed) = match inner.strip_prefix('[') {
            Some(digits) => (digits, "]]"),
            None if inner.is_empty() => return Verdict::Open,
            None if self.strips_single => (inner, "]"),
            None => return Verdict::Text,
        };
        let close = digits.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = digits
            .strip_suffix(close)
            .or_impossible("what was cut off is its end");
        // Nineteen digits fit no number; without any, `[[a` is text.
        if number.len() > MOST_DIGITS || (number.is_empty() && !close.is_empty()) {
            return Verdict::Text;
        }
        if let Some(rest) = close.strip_prefix(closed) {
            Verdict::Mark {
                // Source 0 is none, and a number beyond the type cannot be one: the mark is taken out all the same.
                number: number.parse().ok().filter(|number| *number > 0),
                bytes: self.held.len() - rest.len(),
            }
        } else if closed.starts_with(close) {
            Verdict::Open
        } else {
            Verdict::Text
        }
    }

    /// Text without marks; its end may become the badge.
    fn say(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        if text.is_empty() {
            return;
        }
        if self.badge.is_empty() && !text.contains('<') {
            return push(text.to_owned(), events); // Nearly always.
        }
        let mut text = std::mem::take(&mut self.badge) + text;
        // Only the end of a long text can still become the badge.
        let least = text.len().saturating_sub(MOST_BADGE_BYTES);
        let from = (least..text.len()).find(|at| text.is_char_boundary(*at));
        let from = from.unwrap_or(text.len());
        let tail = text
            .get(from..)
            .or_impossible("it is a character's boundary");
        let begins = |at: &usize| {
            is_badge_so_far(
                tail.get(*at..)
                    .or_impossible("a bracket begins a character"),
            )
        };
        let starts = tail.match_indices('<').map(|(at, _)| at);
        if let Some(at) = starts.into_iter().find(begins) {
            self.badge = text.split_off(from + at);
        }
        push(text, events);
    }
}

/// Whether a text is the badge, or its beginning.
fn is_badge_so_far(text: &str) -> bool {
    let Some(attributes) = text.strip_prefix(BADGE_OPEN) else {
        return BADGE_OPEN.starts_with(text);
    };
    match attributes.find('>') {
        None => true,
        Some(end) => {
            BADGE_CLOSE.starts_with(attributes.get(end..).or_impossible("it was found there"))
        }
    }
}

fn push(text: String, events: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        events.push(ChatEvent::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (text, numbers with their positions in it)
    fn clean<'a>(
        strips_single: bool,
        pieces: impl IntoIterator<Item = &'a str>,
    ) -> (String, Vec<(usize, u32)>) {
        let (mut marks, mut events) = (Marks::new(strips_single), Vec::new());
        for piece in pieces {
            marks.feed(piece, &mut events);
        }
        marks.finish(&mut events);
        assert!(!marks.is_holding());
        let (mut text, mut cited) = (String::new(), Vec::new());
        for event in events {
            match event {
                ChatEvent::Text(piece) => text.push_str(&piece),
                ChatEvent::Cited { index } => cited.push((text.chars().count(), index)),
                other => panic!("{other:?}"),
            }
        }
        (text, cited)
    }

    fn every_split(strips_single: bool, text: &str) -> (String, Vec<(usize, u32)>) {
        let whole = clean(strips_single, [text]);
        for (at, _) in text.char_indices() {
            let (head, tail) = text.split_at(at);
            assert_eq!(clean(strips_single, [head, tail]), whole, "{text} at {at}");
        }
        let chars: Vec<String> = text.chars().map(String::from).collect();
        let pieces = chars.iter().map(String::as_str);
        assert_eq!(clean(strips_single, pieces), whole, "{text}");
        whole
    }

    /// The vectors of section 5.3.
    #[test]
    fn follows_the_vectors() {
        for (text, shown, cited) in [
            ("a[[1]]b", "ab", vec![(1, 1)]),
            ("[[12]][[3]]x", "x", vec![(0, 12), (0, 3)]),
            ("[[a]] [[1] ]", "[[a]] [[1] ]", vec![]),
            ("[", "[", vec![]),
            ("[[1]", "[[1]", vec![]),
            ("x[[7]]y", "xy", vec![(1, 7)]),
        ] {
            assert_eq!(
                every_split(false, text),
                (shown.to_owned(), cited),
                "{text}"
            );
        }
        let torn = clean(false, ["x[", "[7", "]", "]y"]);
        assert_eq!(torn, ("xy".to_owned(), vec![(1, 7)]));
    }

    #[test]
    fn what_is_no_mark_stays_as_it_is() {
        for text in [
            "a[0][1]=[[]]; [3] 你好[[",
            "[[1]x]]",
            "[[１]]",
            "[[12345678901234567890]]",
            "<span>x</span><b> a<b <",
            "[AI生成]",
        ] {
            assert_eq!(every_split(false, text), (text.to_owned(), vec![]));
        }
        assert_eq!(
            every_split(false, "[[[1]]]"),
            ("[]".to_owned(), vec![(1, 1)])
        );
        // A number that no source has is a mark all the same.
        assert_eq!(
            every_split(false, "a[[99999999999]]"),
            ("a".to_owned(), vec![])
        );
    }

    #[test]
    fn single_marks_go_where_they_are_told_to() {
        for (text, shown, cited) in [
            ("a[1]b[[2]]", "ab", vec![(1, 1), (2, 2)]),
            ("[x][y] [", "[x][y] [", vec![]),
            ("[[1] ]", "[ ]", vec![(1, 1)]),
            ("[[1]", "[", vec![(1, 1)]),
        ] {
            assert_eq!(every_split(true, text), (shown.to_owned(), cited), "{text}");
        }
    }

    #[test]
    fn the_badge_goes_only_from_the_very_end() {
        let badge = r#"<span class="ai" title="a[[b">[AI生成]</span>"#;
        assert_eq!(every_split(false, &format!("答案{badge}")).0, "答案");
        assert_eq!(
            every_split(false, &format!("答[[1]]案<{badge}")),
            ("答案<".to_owned(), vec![(1, 1)])
        );
        for text in [
            format!("{badge}。"),
            format!("a{badge}\n"),
            "a<span>[AI生成]</spa".to_owned(),
            format!("<span {}>[AI生成]</span>", "x".repeat(600)),
        ] {
            assert_eq!(every_split(false, &text).0, text);
        }
        assert_eq!(
            every_split(false, &format!("a{badge}{badge}")).0,
            format!("a{badge}")
        );
    }

    proptest::proptest! {
        #[test]
        fn cuts_do_not_matter(text in "(\\[\\[|\\]\\]|[0-9\\[\\]<>x你]|<span|>\\[AI生成\\]</span>){0,16}", single in proptest::bool::ANY) {
            every_split(single, &text);
        }
    }
}
