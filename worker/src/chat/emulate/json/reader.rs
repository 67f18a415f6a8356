//! The values of JSON, by descent.

use super::super::tree::Tree;
use super::{MOST_DEPTH, text};

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The value.
    pub tree: Tree,
    /// It is JSON as it stands: nothing had to be mended.
    pub is_exact: bool,
}

/// Why something cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A string is not closed. Nobody knows how it would have gone on.
    #[error("a string in it is not closed")]
    OpenString,
    /// It ends where a value is wanted.
    #[error("it ends too early")]
    TooShort,
    /// Nested deeper than [`MOST_DEPTH`].
    #[error("it is nested too deep")]
    TooDeep,
    /// Something stands where it cannot.
    #[error("it is not JSON from byte {0} on")]
    Unexpected(usize),
}

/// Reads one value, mending what can be mended.
///
/// # Errors
/// That it cannot be read without guessing.
pub fn read(json: &str) -> Result<Reading, Unreadable> {
    let inside = text::without_fence(json);
    let mut reader = Reader::new(inside);
    // A fence is no part of the value, and whatever was taken away makes it inexact.
    reader.is_exact = inside.len() == json.len();
    if reader.bytes.starts_with(BYTE_ORDER_MARK) {
        reader.at = BYTE_ORDER_MARK.len();
        reader.is_exact = false;
    }
    let tree = reader.whole()?;
    Ok(Reading {
        tree,
        is_exact: reader.is_exact,
    })
}

/// Reads one value that is JSON as it stands.
///
/// # Errors
/// That it is not.
pub fn read_exact(json: &str) -> Result<Tree, Unreadable> {
    let mut reader = Reader::new(json);
    let tree = reader.whole()?;
    if reader.is_exact {
        Ok(tree)
    } else {
        Err(Unreadable::Unexpected(0))
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

struct Reader<'a> {
    json: &'a str,
    bytes: &'a [u8],
    at: usize,
    is_exact: bool,
}

/// What a bracket waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closer {
    List = b']' as isize,
    Object = b'}' as isize,
}

impl<'a> Reader<'a> {
    fn new(json: &'a str) -> Self {
        Self {
            json,
            bytes: json.as_bytes(),
            at: 0,
            is_exact: true,
        }
    }

    fn whole(&mut self) -> Result<Tree, Unreadable> {
        // Depth counts from the whole; recursion is bounded by it, so that no answer overflows the stack.
        self.skip()?;
        let tree = self.value(0)?;
        self.skip()?;
        // One bracket too many is a slip that says nothing. Anything else says that this was not the value.
        while let Some(b'}' | b']') = self.peek()
            && matches!(tree, Tree::List(_) | Tree::Object(_))
        {
            self.mended();
            self.skip()?;
        }
        match self.peek() {
            None => Ok(tree),
            Some(_) => Err(Unreadable::Unexpected(self.at)),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Tree, Unreadable> {
        if depth > MOST_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        let byte = self.peek().ok_or(Unreadable::TooShort)?;
        match byte {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            _ => match text::opening_quote(self.rest()) {
                Some(_) => self.string().map(Tree::Text),
                None => self.word(),
            },
        }
    }

    fn object(&mut self, depth: usize) -> Result<Tree, Unreadable> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip()?;
        while !self.is_closed(Closer::Object, members.is_empty())? {
            let name = match text::opening_quote(self.rest()) {
                Some(_) => self.string()?,
                None => self.bare_key()?,
            };
            self.skip()?;
            match self.peek() {
                Some(b':') => self.at += 1,
                None => return Err(Unreadable::TooShort),
                Some(_) => return Err(Unreadable::Unexpected(self.at)),
            }
            self.skip()?;
            members.push((name, self.value(depth + 1)?));
            self.skip()?;
            self.comma(Closer::Object)?;
        }
        Ok(Tree::Object(members))
    }

    fn list(&mut self, depth: usize) -> Result<Tree, Unreadable> {
        self.at += 1;
        let mut elements = Vec::new();
        self.skip()?;
        while !self.is_closed(Closer::List, elements.is_empty())? {
            elements.push(self.value(depth + 1)?);
            self.skip()?;
            self.comma(Closer::List)?;
        }
        Ok(Tree::List(elements))
    }

    /// Whether the list or object ends here. It does at its bracket, at the end of everything, and at the bracket of what
    /// is around it; but for its own bracket, only behind an element or member (`[` alone may be anything).
    fn is_closed(&mut self, closer: Closer, is_empty: bool) -> Result<bool, Unreadable> {
        match self.peek() {
            Some(byte) if isize::from(byte) == closer as isize => {
                self.at += 1;
                Ok(true)
            }
            Some(b']' | b'}') if !is_empty && !self.is_behind_comma() => {
                self.is_exact = false;
                Ok(true)
            }
            None if !is_empty && !self.is_behind_comma() => {
                self.is_exact = false;
                Ok(true)
            }
            None => Err(Unreadable::TooShort),
            Some(_) => Ok(false),
        }
    }

    /// Behind an element: passes the comma, if there is one; without one only the end may follow.
    fn comma(&mut self, closer: Closer) -> Result<(), Unreadable> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip()?;
                // `[1,]`: the bracket is met by `is_closed` in the next round.
                if self.peek().map(isize::from) == Some(closer as isize) {
                    self.is_exact = false;
                }
                Ok(())
            }
            // `is_closed` decides what their absence or their bracket means.
            None | Some(b']' | b'}') => Ok(()),
            Some(_) => Err(Unreadable::Unexpected(self.at)),
        }
    }

    /// Whether the last thing that was read, but for blanks and comments, is a comma: then another element was meant.
    fn is_behind_comma(&self) -> bool {
        // A comment that ends in a comma makes the answer wrong to the safe side only.
        let before = self.bytes.get(..self.at).unwrap_or_default();
        before.trim_ascii_end().ends_with(b",")
    }

    fn string(&mut self) -> Result<String, Unreadable> {
        let string = text::string(self.json, self.at)?;
        self.at = string.end;
        self.is_exact &= string.is_exact;
        Ok(string.text)
    }

    fn bare_key(&mut self) -> Result<String, Unreadable> {
        let length = text::word_length(self.rest(), |byte| {
            text::is_of_word(byte) || matches!(byte, b'$' | b'-')
        });
        if length == 0 {
            return Err(Unreadable::Unexpected(self.at));
        }
        self.is_exact = false;
        Ok(self.take(length).to_owned())
    }

    /// A number, `true`, `false`, `null`, what Python writes for these, or a bare word, which is kept as text.
    fn word(&mut self) -> Result<Tree, Unreadable> {
        let length = text::word_length(self.rest(), |byte| {
            text::is_of_word(byte) || matches!(byte, b'+' | b'-' | b'.')
        });
        if length == 0 {
            return Err(Unreadable::Unexpected(self.at));
        }
        let word = self.take(length);
        if text::is_number(word) {
            return Ok(Tree::Number(word.into()));
        }
        Ok(match word {
            "true" => Tree::Bool(true),
            "false" => Tree::Bool(false),
            "null" => Tree::Null,
            _ => {
                self.is_exact = false;
                // A word that is none of anybody's is text without its quotes.
                text::python(word).unwrap_or_else(|| Tree::Text(word.to_owned()))
            }
        })
    }

    /// Passes blanks and comments.
    fn skip(&mut self) -> Result<(), Unreadable> {
        loop {
            let blanks = text::word_length(self.rest(), |byte| {
                matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
            });
            self.at += blanks;
            match text::comment_length(self.rest()) {
                Some(0) | None => {}
                Some(length) => {
                    self.at += length;
                    self.is_exact = false;
                    continue;
                }
            }
            // A space that is none of JSON's (U+00A0, U+3000): models that write Chinese put them between tokens.
            let space = self
                .json
                .get(self.at..)
                .and_then(|rest| rest.chars().next());
            match space.filter(|c| c.is_whitespace()) {
                Some(space) => {
                    self.at += space.len_utf8();
                    self.is_exact = false;
                }
                None => return Ok(()),
            }
        }
    }

    fn mended(&mut self) {
        self.at += 1;
        self.is_exact = false;
    }

    fn take(&mut self, length: usize) -> &'a str {
        let from = self.at;
        self.at += length;
        // Words are ASCII, so this lies between characters.
        self.json.get(from..self.at).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn mends(json: &str, expected: &str) {
        let reading = read(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(reading.tree.to_json(), expected, "{json}");
        assert!(!reading.is_exact, "{json}");
    }

    #[test]
    fn what_is_json_stays_as_it_is() {
        for json in [
            r#"{"b":1,"a":[1.50,-0,1e5,true,false,null,"x\"y"],"b":{}}"#,
            "[]",
            "5",
            r#""text""#,
        ] {
            let reading = read(json).unwrap();
            assert!(reading.is_exact, "{json}");
            assert_eq!(reading.tree.to_json(), json);
        }
    }

    #[test]
    fn mends_what_has_one_meaning() {
        mends("\u{feff}{}", "{}");
        mends("```json\n{\"a\":1}\n```", r#"{"a":1}"#);
        mends("[1,2,]", "[1,2]");
        mends("{'a': True, b: 1,}", r#"{"a":true,"b":1}"#);
        mends("{“a”: ‘b’}", r#"{"a":"b"}"#);
        mends("{a: None, b-c: False}", r#"{"a":null,"b-c":false}"#);
        mends("{\"a\":\"l1\nl2\tx\"}", r#"{"a":"l1\nl2\tx"}"#);
        mends(r#"{"a":"\d\* \u12"}"#, r#"{"a":"\\d\\* \\u12"}"#);
        mends(
            "{HOME: '/r', N: None, // it's\n}",
            r#"{"HOME":"/r","N":null}"#,
        );
        mends("/* x */ [1, # y\n 2]", "[1,2]");
        mends(r#"[{"old":"x","new":"y"}"#, r#"[{"old":"x","new":"y"}]"#);
        mends(r#"{"a":[1,{"b":2]}"#, r#"{"a":[1,{"b":2}]}"#);
        mends(r#"{"a":1}}"#, r#"{"a":1}"#);
        mends(r#"{'it\'s': 'a\"b'}"#, r#"{"it's":"a\"b"}"#);
        mends("[twelve]", r#"["twelve"]"#);
    }

    #[test]
    fn never_guesses() {
        for json in [
            "",
            "{",
            "[",
            r#"{"a":"open"#,
            r#"{"a":"#,
            r#"{"a""#,
            r#"{"a":1,"#,
            "[1 2]",
            "[1,,2]",
            r#"{"a":1} {"b":2}"#,
            r#"{"a":1} or"#,
            r#"{"a":"x" "b":1}"#,
            "'it's'",
            r#""\ud800""#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
        let deep = "[".repeat(MOST_DEPTH + 2) + &"]".repeat(MOST_DEPTH + 2);
        assert_eq!(read(&deep), Err(Unreadable::TooDeep));
    }

    proptest::proptest! {
        #[test]
        fn json_is_read_as_serde_reads_it(json in "([\\[\\]{},: \n\"\\\\01.eE+-]|\"a\"|true|null|\\\\u00e9|\\\\ud83d\\\\ude00|//|'|你){0,24}") {
            let ours = read_exact(&json).ok();
            let theirs: Option<serde_json::Value> = serde_json::from_str(&json).ok();
            if let Some(theirs) = &theirs {
                let ours = ours.as_ref().expect("it is JSON").to_json();
                proptest::prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&ours).unwrap(), theirs);
            } else {
                // Numbers beyond what a double holds are JSON, but not serde's.
                proptest::prop_assert!(ours.is_none() || json.contains(['e', 'E']), "{}", json);
            }
            if let Ok(reading) = read(&json) {
                proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&reading.tree.to_json()).is_ok() || json.contains(['e', 'E']));
            }
        }
    }
}
