//! Reads the parts of a tag. Where the bytes end in the middle of a part, the answer is `None`.

use super::lex::Mark;
use crate::impossible::OrImpossible as _;

/// A place in a tag.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// How a tag ended.
pub(super) struct TagEnd {
    pub(super) is_empty: bool,
}

const WIDE_BAR: &[u8] = "｜".as_bytes();
const WIDE_BRACKET: &[u8] = "＞".as_bytes();
const LOWER_BLOCK: &[u8] = "▁".as_bytes();

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn pass(&mut self, length: usize) {
        self.at += length;
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes
            .get(self.at..)
            .or_impossible("a cursor stands within what it reads")
    }

    pub(super) fn passes(&mut self, word: &[u8]) -> bool {
        let is_there = self.rest().starts_with(word);
        if is_there {
            self.at += word.len();
        }
        is_there
    }

    /// Passes a word; `None` if the bytes end within it.
    fn passes_word(&mut self, word: &[u8]) -> Option<bool> {
        let rest = self.rest();
        let common = rest.len().min(word.len());
        let is_begun = rest
            // Letter case never counts: models write tags as they write headings.
            .get(..common)
            .zip(word.get(..common))
            .is_some_and(|(rest, word)| rest.eq_ignore_ascii_case(word));
        if !is_begun {
            return Some(false);
        }
        if common < word.len() {
            return None;
        }
        self.at += word.len();
        Some(true)
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    pub(super) fn slash(&mut self) -> Option<bool> {
        if self.peek()? == b'\\' {
            // A slash that the model escaped.
            let is_slash = *self.bytes.get(self.at + 1)? == b'/';
            self.at += if is_slash { 2 } else { 0 };
            return Some(is_slash);
        }
        Some(self.passes(b"/"))
    }

    fn bar(&mut self) -> Option<bool> {
        if self.passes(b"|") {
            return Some(true);
        }
        self.passes_word(WIDE_BAR)
    }

    /// `|open|>` or `|close|>`: whether it closes; `Some(None)`: neither.
    pub(super) fn xtml_bracket(&mut self) -> Option<Option<bool>> {
        let from = self.at;
        // 0xef begins the full-width bar, which is what DeepSeek's template has.
        if self.peek()? != b'|' && self.peek()? != 0xef {
            return Some(None);
        }
        if self.bar()? {
            for (word, is_closer) in [(&b"open"[..], false), (b"close", true)] {
                if self.passes_word(word)? {
                    if self.bar()? && self.passes_word(b">")? {
                        return Some(Some(is_closer));
                    }
                    break;
                }
            }
        }
        // Neither word: a tag of another kind may begin with a bar.
        self.at = from;
        Some(None)
    }

    /// Passes bars, `DSML` and a namespace; whether there were any.
    pub(super) fn skip_prefix(&mut self) -> Option<bool> {
        let from = self.at;
        loop {
            let before = self.at;
            while self.bar()? {}
            if self.at > from {
                self.skip_blanks();
            }
            if matches!(self.peek()?, b'd' | b'D') && self.passes_word(b"dsml")? {
                self.skip_blanks();
            }
            let rest = self.rest();
            let word = rest.iter().position(|byte| !byte.is_ascii_alphanumeric());
            // Without an end in sight it is no namespace, once it is longer than any of them.
            let word = word.or_else(|| (rest.len() > 32).then_some(0))?;
            if word > 0 && word <= 32 && rest.get(word) == Some(&b':') {
                self.at += word + 1;
            }
            // In rounds, since bars, `DSML` and namespaces come in any order and more than once.
            if self.at == before {
                return Some(self.at > from);
            }
        }
    }

    /// The local name; in DeepSeek's marks a lower block stands for `_`.
    pub(super) fn local(&mut self, most: usize) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        loop {
            // The caller takes a name of this length for none.
            if name.len() >= most {
                return Some(name);
            }
            let byte = self.peek()?;
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                name.push(byte.to_ascii_lowercase());
                self.at += 1;
            } else if byte == 0xe2 && self.passes_word(LOWER_BLOCK)? {
                name.push(b'_');
            } else {
                return Some(name);
            }
        }
    }

    /// `-NONCE` behind a local name.
    pub(super) fn mark(&mut self, nonce: &[u8]) -> Option<Mark> {
        if self.peek()? != b'-' {
            return Some(Mark::None);
        }
        let rest = self.rest().get(1..).unwrap_or_default();
        // Waits for whatever ends it: half a nonce is no other nonce.
        let length = rest.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
        let mark = rest.get(..length).unwrap_or_default();
        if mark.eq_ignore_ascii_case(nonce) {
            self.at += 1 + length;
            return Some(Mark::Own);
        }
        let mut other = [0; 8];
        // Longer ones are words, not nonces.
        if length == 0 || length > other.len() {
            return Some(Mark::None);
        }
        for (other, byte) in other.iter_mut().zip(mark) {
            *other = byte.to_ascii_lowercase();
        }
        self.at += 1 + length;
        Some(Mark::Other(other))
    }

    /// What stands behind `=` in `<function=NAME>`.
    pub(super) fn bare_name(&mut self) -> Option<String> {
        self.skip_blanks();
        if let Some(quoted) = self.quoted()? {
            return Some(quoted);
        }
        let rest = self.rest();
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b'>' | b'<' | b'\n'))?;
        self.at += length;
        // Lossy: the bytes may have been cut between tags only, but a model may have written anything.
        let name = String::from_utf8_lossy(rest.get(..length).unwrap_or_default());
        Some(name.trim().trim_end_matches('/').to_owned())
    }

    /// A text in quotes, if there is one.
    fn quoted(&mut self) -> Option<Option<String>> {
        let quotes: [(&[u8], &[u8]); 4] = [
            (b"\"", b"\""),
            (b"'", b"'"),
            ("“".as_bytes(), "”".as_bytes()),
            ("‘".as_bytes(), "’".as_bytes()),
        ];
        for (open, close) in quotes {
            // The first byte is compared before the word, as `passes_word` would ask for more at the first byte of any
            // curly quote.
            if self.peek()? == open.first().copied()? && self.passes_word(open)? {
                let rest = self.rest();
                let length = memchr::memmem::find(rest, close)?;
                self.at += length + close.len();
                let text = rest.get(..length).unwrap_or_default();
                return Some(Some(String::from_utf8_lossy(text).into_owned()));
            }
        }
        Some(None)
    }

    /// `key="value"`, `key=value` or `key`; `Some(None)`: something else.
    pub(super) fn attribute(&mut self) -> Option<Option<(Vec<u8>, String)>> {
        let rest = self.rest();
        let is_of_key =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
        let length = rest.iter().position(|byte| !is_of_key(byte))?;
        if length == 0 {
            return Some(None);
        }
        let key = rest.get(..length).unwrap_or_default().to_ascii_lowercase();
        self.at += length;
        self.skip_blanks();
        if self.peek()? != b'=' {
            return Some(Some((key, String::new())));
        }
        self.at += 1;
        self.skip_blanks();
        if let Some(value) = self.quoted()? {
            return Some(Some((key, value)));
        }
        let rest = self.rest();
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'<' | b'|');
        let length = rest.iter().position(is_end)?;
        let value = rest.get(..length).unwrap_or_default();
        // The slash belongs to the tag's end, which `tag_end` reads.
        let value = value.strip_suffix(b"/").unwrap_or(value);
        self.at += value.len();
        Some(Some((key, String::from_utf8_lossy(value).into_owned())))
    }

    /// The end of a tag: `>`, `/>`, with or without a bar or in full width; Kimi's `<|sep|>`. `Some(None)`: it goes on.
    pub(super) fn tag_end(&mut self, is_xtml: bool) -> Option<Option<TagEnd>> {
        let from = self.at;
        if is_xtml {
            let is_end = self.peek()? == b'<'
                && self.passes_word(b"<")?
                && self.bar()?
                // All or nothing: a part of `<|sep|>` is put back.
                && self.passes_word(b"sep")?
                && self.bar()?
                && self.passes_word(b">")?;
            if !is_end {
                self.at = from;
            }
            return Some(is_end.then_some(TagEnd { is_empty: false }));
        }
        let is_empty = self.peek()? == b'/';
        if is_empty {
            self.at += 1;
            self.skip_blanks();
        }
        // 0xef may begin a full-width bar or bracket; the latter is looked for behind.
        while matches!(self.peek()?, b'|' | 0xef) && self.bar()? {}
        if self.peek()? == b'>' {
            self.at += 1;
            return Some(Some(TagEnd { is_empty }));
        }
        if self.peek()? == 0xef && self.passes_word(WIDE_BRACKET)? {
            return Some(Some(TagEnd { is_empty }));
        }
        self.at = from;
        Some(None)
    }
}
