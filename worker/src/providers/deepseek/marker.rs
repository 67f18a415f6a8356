//! Where the model goes on by itself into the next turn, the answer is over. Source: `wire/deepseek.md` section 9.

use crate::impossible::OrImpossible as _;

/// What an answer cannot hold: the next question, and the end of its own.
const MARKERS: [&str; 2] = ["<｜User｜>", "<｜end▁of▁sentence｜>"];

/// Watches the text of an answer; holds back what may still become a marker.
#[derive(Debug, Default)]
pub(super) struct Watch {
    held: String,
    is_cut: bool,
}

impl Watch {
    /// The text that is certainly part of the answer.
    pub(super) fn pass(&mut self, text: String) -> String {
        if self.is_cut {
            return String::new();
        }
        if self.held.is_empty() && !text.contains('<') {
            return text; // Nearly always.
        }
        // Held only while a `<` is open, so almost no piece is copied.
        let mut text = std::mem::take(&mut self.held) + &text;
        // The earliest of the two: what stands before it is the answer's.
        if let Some(at) = MARKERS.iter().filter_map(|marker| text.find(marker)).min() {
            text.truncate(at);
            self.is_cut = true;
            return text;
        }
        let begins_marker = |at: &usize| {
            let tail = text
                .get(*at..)
                .or_impossible("`<` was found there, which is a character of its own");
            MARKERS.iter().any(|marker| marker.starts_with(tail))
        };
        // A marker has its only `<` at its beginning.
        if let Some(at) = text.rfind('<').filter(begins_marker) {
            self.held = text.split_off(at);
        }
        text
    }

    /// What was held back turned out to be no marker.
    pub(super) fn release(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Whether the answer is over.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_a_marker_however_it_is_torn() {
        for marker in MARKERS {
            let whole = format!("a < b <｜ c{marker}d{marker}");
            let cuts: Vec<usize> = whole.char_indices().map(|(at, _)| at).collect();
            for at in cuts {
                let mut watch = Watch::default();
                let (head, tail) = whole.split_at(at);
                let said = watch.pass(head.to_owned()) + &watch.pass(tail.to_owned());
                assert_eq!(said + &watch.release(), "a < b <｜ c");
                assert!(watch.is_cut());
            }
        }
    }

    #[test]
    fn lets_everything_else_through() {
        for text in ["<｜Use", "x <", "<｜User|>", "<<｜end▁of", "a<b>c"] {
            let mut watch = Watch::default();
            let mut said: String = text.chars().map(|c| watch.pass(c.to_string())).collect();
            said.push_str(&watch.release());
            assert_eq!((said.as_str(), watch.is_cut()), (text, false));
        }
    }
}
