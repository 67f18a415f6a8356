//! Where a JSON value ends, in pieces as they come: brackets inside strings and comments do not count. It sees what
//! [`super::read`] sees, so that both agree about what is inside a string.

/// Finds the end of one object or list.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    depth: usize,
    inside: Inside,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Value,
    /// A string that ends with this quote; of curly ones, the last byte of three.
    String(u8),
    /// Behind a backslash in such a string.
    Escape(u8),
    /// So many bytes of a curly quote have come: in a string (which it may end), or outside one.
    Curly(u8, Option<u8>),
    /// Behind a `/` that may begin a comment.
    Slash,
    LineComment,
    Comment,
    /// Behind a `*` in a comment.
    Star,
}

/// The last bytes of `“”‘’`, of which the first two are E2 80.
const OPEN_DOUBLE: u8 = 0x9c;
const CLOSE_DOUBLE: u8 = 0x9d;
const OPEN_SINGLE: u8 = 0x98;
const CLOSE_SINGLE: u8 = 0x99;

impl Scan {
    /// Reads on. How many bytes of `bytes` belong to the value, if it ends in them; behind that nothing was read.
    pub fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Inside::String(quote) = self.inside {
                // The long stretches: the inside of strings.
                let rest = bytes.get(at..).unwrap_or_default();
                // Straight quotes end where they stand; of curly ones the first byte is looked for, and `step` sees the
                // other two.
                let special = if quote == b'"' || quote == b'\'' {
                    memchr::memchr2(quote, b'\\', rest)
                } else {
                    memchr::memchr2(0xe2, b'\\', rest)
                };
                match special {
                    None => return None,
                    Some(0) => {}
                    Some(plain) => {
                        at += plain;
                        continue;
                    }
                }
            }
            self.step(byte);
            at += 1;
            // Only brackets end it: a scan is for lists and objects.
            if self.depth == 0 && self.inside == Inside::Value && matches!(byte, b'}' | b']') {
                return Some(at);
            }
        }
        None
    }

    /// Whether it stands within a string: what ends here was cut off in it.
    pub fn is_in_string(&self) -> bool {
        matches!(
            self.inside,
            Inside::String(_) | Inside::Escape(_) | Inside::Curly(_, Some(_))
        )
    }

    fn step(&mut self, byte: u8) {
        self.inside = match (self.inside, byte) {
            (Inside::Value, b'{' | b'[') => {
                self.depth += 1;
                Inside::Value
            }
            (Inside::Value, b'}' | b']') => {
                // Saturating: one bracket too many is the reader's to judge.
                self.depth = self.depth.saturating_sub(1);
                Inside::Value
            }
            (Inside::Value, b'"' | b'\'') => Inside::String(byte),
            (Inside::Value, 0xe2) => Inside::Curly(1, None),
            (Inside::Value, b'/') => Inside::Slash,
            (Inside::Value, b'#') => Inside::LineComment,
            (Inside::Value, _) => Inside::Value,

            (Inside::Curly(1, string), 0x80) => Inside::Curly(2, string),
            (Inside::Curly(2, None), OPEN_DOUBLE) => Inside::String(CLOSE_DOUBLE),
            (Inside::Curly(2, None), OPEN_SINGLE) => Inside::String(CLOSE_SINGLE),
            (Inside::Curly(2, Some(quote)), last) if quote == last => Inside::Value,
            (Inside::Curly(_, string), _) => string.map_or(Inside::Value, Inside::String),

            (Inside::String(quote), b'\\') => Inside::Escape(quote),
            (Inside::String(quote @ (b'"' | b'\'')), _) if quote == byte => Inside::Value,
            (Inside::String(quote @ (CLOSE_DOUBLE | CLOSE_SINGLE)), 0xe2) => {
                Inside::Curly(1, Some(quote))
            }
            (Inside::String(quote) | Inside::Escape(quote), _) => Inside::String(quote),

            (Inside::Slash, b'/') => Inside::LineComment,
            (Inside::Slash, b'*') => Inside::Comment,
            // The byte behind the slash counts for itself: it may be a quote or a bracket.
            (Inside::Slash, _) => {
                self.inside = Inside::Value;
                return self.step(byte);
            }
            (Inside::LineComment, b'\n') => Inside::Value,
            (Inside::LineComment, _) => Inside::LineComment,
            (Inside::Comment | Inside::Star, b'*') => Inside::Star,
            (Inside::Star, b'/') => Inside::Value,
            (Inside::Comment | Inside::Star, _) => Inside::Comment,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_at_every_split() {
        for (json, behind) in [
            (r#"{"a":"}]\"}","b":[{}]}"#, " x"),
            ("{'a':'}\"'} ", ""),
            ("{“a”: “}‘\"”, ‘b’: ‘}”’}", "}"),
            ("{a: 1, // it's }\n b: [/* ] ' */ 2]}", "'"),
            ("[1, 2 # ]\n, \"/\" , 3/4]", "]"),
            (r#"{"a":"\\"}"#, "\"}"),
        ] {
            let json = json.trim_end();
            let whole = format!("{json}{behind}");
            for at in 0..=whole.len() {
                let (head, tail) = whole.as_bytes().split_at(at);
                let mut scan = Scan::default();
                let end = scan
                    .advance(head)
                    .or_else(|| scan.advance(tail).map(|end| at + end));
                assert_eq!(end, Some(json.len()), "{whole} at {at}");
            }
        }
    }

    #[test]
    fn knows_that_it_is_in_a_string() {
        for (json, expected) in [
            ("{\"a", true),
            ("{'a\\", true),
            ("{“a\u{2018}", true),
            ("{\"a\"", false),
        ] {
            let mut scan = Scan::default();
            assert_eq!(scan.advance(json.as_bytes()), None);
            assert_eq!(scan.is_in_string(), expected, "{json}");
        }
    }
}
