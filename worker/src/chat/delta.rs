//! From "the whole text so far" to "what is new". Source: wire/qwen.md section 7.3; also for every other
//! provider whose events repeat what was already said.

/// Turns a growing text into deltas. A provider that rewrites what it already said never causes a repetition:
/// what was sent stands, only what lies beyond it (counted in Unicode scalar values) is sent.
#[derive(Debug, Default)]
pub struct Cumulative {
    sent: String,
    sent_chars: usize,
    rewrites: u32,
}

impl Cumulative {
    /// The part of `visible` that has not been sent yet; `None` when there is none.
    pub fn advance<'a>(&mut self, visible: &'a str) -> Option<&'a str> {
        // The usual case; only the new characters are counted.
        if let Some(tail) = visible.strip_prefix(self.sent.as_str()) {
            if tail.is_empty() {
                return None;
            }
            self.grow(tail);
            return Some(tail);
        }
        // A shorter text is no rewriting, but an older state that came late.
        if !self.sent.starts_with(visible) {
            self.rewrites += 1;
        }
        // By characters, as the place must be one of the new text too; `None` while it is no longer than what was sent.
        let (cut, _) = visible.char_indices().nth(self.sent_chars)?;
        // Replaced even where it says something else: the next event will repeat the new words, and is compared with
        // them.
        self.sent.clear();
        self.sent.push_str(visible);
        let tail = visible.get(cut..)?;
        self.sent_chars += tail.chars().count();
        Some(tail)
    }

    /// As [`Cumulative::advance`], for a text that is known to be the one before and this: `tail` is sent.
    pub fn grow(&mut self, tail: &str) {
        self.sent.push_str(tail);
        self.sent_chars += tail.chars().count();
    }

    /// The text as the provider last had it when something was sent.
    pub fn sent(&self) -> &str {
        &self.sent
    }

    /// How often the provider changed what it had already said.
    pub fn rewrites(&self) -> u32 {
        self.rewrites
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deltas(frames: &[&str]) -> Vec<String> {
        let mut text = Cumulative::default();
        frames
            .iter()
            .map(|frame| text.advance(frame).unwrap_or("").to_owned())
            .collect()
    }

    /// The single-part vectors of wire/qwen.md section 7.3 (U+FFFD is the decoder's business).
    #[test]
    fn follows_the_vectors_of_the_wire_page() {
        assert_eq!(
            deltas(&["你", "你好", "你好", "你好，世界"]),
            ["你", "好", "", "，世界"]
        );
        assert_eq!(deltas(&["abcd", "ab", "abcdef"]), ["abcd", "", "ef"]);
        assert_eq!(
            deltas(&["？二", "一二三四", "一二三四五"]),
            ["？二", "三四", "五"]
        );
        assert_eq!(deltas(&["abcdef", "xyz", "xyzuvwab"]), ["abcdef", "", "ab"]);
        assert_eq!(
            deltas(&["猫", "猫👋", "猫👋", "猫👋🏽。"]),
            ["猫", "👋", "", "🏽。"]
        );
    }

    #[test]
    fn counts_rewrites_but_not_shortenings() {
        let mut text = Cumulative::default();
        for frame in ["abcd", "ab", "abcdef"] {
            text.advance(frame);
        }
        assert_eq!(text.rewrites(), 0);
        text.advance("xbcdefg");
        assert_eq!(text.rewrites(), 1);
    }

    proptest::proptest! {
        #[test]
        fn a_growing_text_is_sent_exactly_once(text in ".*", cuts in proptest::collection::vec(0_usize..64, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut cumulative = Cumulative::default();
            let sent: String = cuts.iter().filter_map(|&cut| cumulative.advance(text.get(..cut).unwrap())).collect();
            proptest::prop_assert_eq!(sent, text);
        }
    }
}
