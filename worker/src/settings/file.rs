//! A dotenv file as it stands on the disk: its encoding, its lines, its assignments. dotenvy reads the assignments; this
//! says which line it stumbles over, and takes out before what editors put in and nobody sees.

use std::collections::BTreeMap;

use super::text::{is_odd_blank, is_unseen};

use crate::impossible::OrImpossible as _;

/// What is wrong with a line, without its content.
const NO_ASSIGNMENT: &str =
    "is no NAME=value (quote values with blanks; $ needs single quotes; a quote must be closed)";

/// The variables in a file's bytes; the last of a name wins. Values are as dotenvy reads them.
///
/// # Errors
/// What is wrong, with the line's number where one is at fault; never its content.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let text = decode(bytes)?;
    assignments(&plain(&text)).map_err(|line| format!("line {line} {NO_ASSIGNMENT}"))
}

/// The text of a file: UTF-8, or UTF-16 with its mark, as Notepad and PowerShell write it.
///
/// # Errors
/// The number of the first line that is in another encoding.
pub fn decode(bytes: &[u8]) -> Result<String, String> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|error| {
                let before = bytes
                    .get(..error.valid_up_to())
                    .or_impossible("what is valid is a part of all");
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                format!("line {line} is not in UTF-8: save the file as UTF-8")
            }),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    // An odd byte at the end is half a unit of nothing.
    let (units, _) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().copied().map(unit).collect();
    String::from_utf16(&units).map_err(|_| "is broken UTF-16: save the file as UTF-8".to_owned())
}

/// Without byte order marks and the like, wherever they stand, and with plain blanks and line ends. No line moves.
pub fn plain(text: &str) -> String {
    // First, as `groups` and line numbers count line feeds alone.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let seen = text.chars().filter(|c| !is_unseen(*c));
    seen.map(|c| if is_odd_blank(c) { ' ' } else { c })
        .collect()
}

/// The assignments of a [`plain`] text.
///
/// # Errors
/// The number of the first line of what is no assignment.
fn assignments(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let whole: Result<BTreeMap<_, _>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    whole.map_err(|_| {
        let is_bad = |group: &str| {
            let mut all = dotenvy::from_read_iter(group.as_bytes());
            // One is enough: a group is one assignment.
            all.next().is_some_and(|one| one.is_err())
        };
        let groups = groups(text);
        let bad = groups.iter().find(|(_, group)| is_bad(group));
        // Each is good by itself: where they are seen differently, the last one was not ended.
        bad.or_else(|| groups.last()).map_or(1, |(line, _)| *line)
    })
}

/// Lines that belong together, because a quote goes on, with the number of the first. To the letter what dotenvy's
/// iterator does, oddities included: a `#` begins a comment only after a single blank.
pub fn groups(text: &str) -> Vec<(usize, String)> {
    let mut groups: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        // An open group takes the next line, whatever it is: the quote goes on.
        let (begin, mut group) = open.take().unwrap_or((at + 1, String::new()));
        group.push_str(line);
        if group.trim_start().starts_with('#') || ending(&group) == Ending::Complete {
            groups.push((begin, group));
        } else {
            open = Some((begin, group));
        }
    }
    groups.extend(open);
    groups
}

/// Where the reader stands at the end of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At the end of an assignment.
    Complete,
    /// After a backslash.
    Escape,
    /// After one blank.
    Blank,
    /// In this quote.
    Quote(char),
    /// In this quote, after a backslash.
    QuotedEscape(char),
}

/// Where the reader stands after a group of lines.
pub fn ending(group: &str) -> Ending {
    let mut state = Ending::Complete;
    for c in group.chars() {
        state = match (state, c) {
            (Ending::Blank, '#') => return Ending::Complete,
            (Ending::Escape, _) => Ending::Complete,
            (Ending::QuotedEscape(quote), _) => Ending::Quote(quote),
            (Ending::Quote(quote), '\\') => Ending::QuotedEscape(quote),
            (Ending::Quote(quote), c) if c == quote => Ending::Complete,
            (Ending::Quote(quote), _) => Ending::Quote(quote),
            (Ending::Complete | Ending::Blank, '\\') => Ending::Escape,
            (Ending::Complete | Ending::Blank, '"' | '\'') => Ending::Quote(c),
            (Ending::Complete, c) if c.is_whitespace() && c != '\n' && c != '\r' => Ending::Blank,
            (Ending::Complete | Ending::Blank, _) => Ending::Complete,
        };
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
        parse(bytes).map(|read| read.into_iter().collect())
    }

    fn pair() -> Vec<(String, String)> {
        vec![
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "2 3".to_owned()),
        ]
    }

    #[test]
    fn reads_what_editors_write() {
        let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| {
            text.encode_utf16().flat_map(unit).collect::<Vec<u8>>()
        };
        for bytes in [
            b"A=1\nB='2 3'\n".to_vec(),
            b"A=1\r\nB='2 3'\r\n".to_vec(),
            b"A=1\rB='2 3'\r".to_vec(),
            "\u{feff}A=1\r\nB='2 3'".into(),
            "\u{feff}A=1\n\u{feff}B='2 3'\n".into(),
            "A=1\u{200b}\nB='2 3'\n".into(),
            "\u{feff}# a comment\nA=1\nexport B = \"2 3\" # one\n".into(),
            utf16("\u{feff}A=1\r\nB='2 3'\r\n", u16::to_le_bytes),
            utf16("\u{feff}A=1\nB='2 3'", u16::to_be_bytes),
        ] {
            assert_eq!(read(&bytes), Ok(pair()), "{bytes:?}");
        }
    }

    #[test]
    fn names_the_line_that_is_no_assignment() {
        for (text, line) in [
            ("A=1\n# c\n\nB: 2\nC=3\n", 4),
            ("A=1\r\nB: 2\r\n", 2),
            ("A=1\nB=2 3\n", 2),
            ("A=1\nB='2\nC=3\nD=4\n", 2),
            ("A='1\n2'\nB=\"a\nb\"\nC\n", 5),
            ("just words", 1),
            ("\u{feff}A=1\nB\n", 2),
        ] {
            let said = read(text.as_bytes()).unwrap_err();
            assert!(said.starts_with(&format!("line {line} ")), "{text}: {said}");
        }
        let gbk = [b"A=1\nB=2\nC=".as_slice(), &[0xc4, 0xe3, b'\n']].concat();
        let said = read(&gbk).unwrap_err();
        assert!(said.contains("line 3") && said.contains("UTF-8"), "{said}");
        assert!(read(&[0xff, 0xfe, 0, 0xd8]).is_err());
    }
}
