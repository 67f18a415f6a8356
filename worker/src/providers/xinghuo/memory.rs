//! What the service notes about the user after an answer is not for the user: a block within the text, which begins
//! with three backticks and the word `memoryExtraction`, and everything after it. Source: `wire/xinghuo.md` section 6.3.

const MARKER: &str = "```memoryExtraction";

/// Cuts the block off; holds back what may still become its beginning.
#[derive(Debug, Default)]
pub(super) struct Memory {
    held: String,
    is_cut: bool,
}

impl Memory {
    /// The text that is certainly part of the answer.
    pub(super) fn pass(&mut self, text: String) -> String {
        if self.is_cut {
            return String::new();
        }
        if self.held.is_empty() && !text.contains('`') {
            return text; // Nearly always.
        }
        // Held only while a backtick is open, so almost no piece is copied.
        let mut text = std::mem::take(&mut self.held) + &text;
        // All of them: the first may be a longer word.
        for (at, _) in text.match_indices(MARKER) {
            // Only a whole word is the name: code may be in a language called `memoryExtractions`.
            match text.as_bytes().get(at + MARKER.len()) {
                Some(byte) if byte.is_ascii_alphanumeric() || b"_-".contains(byte) => {}
                Some(_) => {
                    text.truncate(at);
                    self.is_cut = true;
                    return text;
                }
                // The text ends here: whether it is the whole word, the next piece says.
                None => {
                    self.held = text.split_off(at);
                    return text;
                }
            }
        }
        // The longest beginning: a shorter one would give away what is part of the marker.
        let begun = (1..MARKER.len())
            .rev()
            .find(|&count| MARKER.get(..count).is_some_and(|part| text.ends_with(part)));
        if let Some(count) = begun {
            self.held = text.split_off(text.len() - count);
        }
        text
    }

    /// No text follows what was held back: it was text, unless it is the block's whole name.
    pub(super) fn release(&mut self) -> String {
        // The name, and then nothing: it was the block, which is not for the user.
        self.is_cut |= self.held == MARKER;
        let held = std::mem::take(&mut self.held);
        if self.is_cut { String::new() } else { held }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pieces: &[&str]) -> String {
        let mut memory = Memory::default();
        let mut said: String = pieces
            .iter()
            .map(|piece| memory.pass((*piece).to_owned()))
            .collect();
        said.push_str(&memory.release());
        said
    }

    #[test]
    fn cuts_the_block_and_all_after_it_however_it_is_torn() {
        for rest in ["\n{\"memory\":[]}\n```", "{}``` more", " x", "中", ""] {
            let whole = format!("a ```js\nb\n```` c\n\n```memoryExtraction{rest}");
            for (at, _) in whole.char_indices() {
                let (head, tail) = whole.split_at(at);
                for (then, _) in tail.char_indices() {
                    let (middle, tail) = tail.split_at(then);
                    let pieces = [head, middle, tail];
                    assert_eq!(passed(&pieces), "a ```js\nb\n```` c\n\n", "{pieces:?}");
                }
            }
            let each: Vec<String> = whole.chars().map(String::from).collect();
            let each: Vec<&str> = each.iter().map(String::as_str).collect();
            assert_eq!(passed(&each), "a ```js\nb\n```` c\n\n");
        }
        assert_eq!(passed(&["x````memoryExtraction\n"]), "x`");
    }

    #[test]
    fn everything_else_is_text() {
        for text in [
            "```memoryExtractions\nx",
            "```memoryExtraction_2",
            "```memoryExtractio",
            "``memoryExtraction\n",
            "memoryExtraction",
            "``` memoryExtraction\n",
            "```MemoryExtraction\n",
            "ends with ```",
            "`",
        ] {
            for (at, _) in text.char_indices() {
                let (head, tail) = text.split_at(at);
                assert_eq!(passed(&[head, tail]), text);
            }
        }
    }
}
