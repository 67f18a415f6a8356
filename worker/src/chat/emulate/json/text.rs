//! The words and strings of JSON, as models write them.

use super::super::tree::Tree;
use super::Unreadable;

/// A string that was read.
pub(super) struct ReadString {
    pub(super) text: String,
    /// Behind its closing quote.
    pub(super) end: usize,
    pub(super) is_exact: bool,
}

/// The quote that a string begins with, and the one that ends it. Source: tools.md section 8, step 4.
pub(super) fn opening_quote(bytes: &[u8]) -> Option<(&'static [u8], &'static [u8])> {
    Some(match bytes {
        [b'"', ..] => (b"\"", b"\""),
        [b'\'', ..] => (b"'", b"'"),
        [0xe2, 0x80, 0x9c, ..] => ("“".as_bytes(), "”".as_bytes()),
        [0xe2, 0x80, 0x98, ..] => ("‘".as_bytes(), "’".as_bytes()),
        _ => return None,
    })
}

/// Reads the string that begins at `from`.
pub(super) fn string(json: &str, from: usize) -> Result<ReadString, Unreadable> {
    let bytes = json.as_bytes();
    let rest = bytes.get(from..).unwrap_or_default();
    let (open, close) = opening_quote(rest).ok_or(Unreadable::Unexpected(from))?;
    let (mut text, mut is_exact) = (String::new(), open == b"\"");
    let mut at = from + open.len();
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        // Only the first bytes of the things below are looked for, and those begin a character.
        // Of three bytes the first is enough: `close` is compared as a whole behind it.
        let is_special = |&byte: &u8| byte == b'\\' || byte < 0x20 || byte == close[0];
        let plain = rest.iter().position(is_special);
        let plain = plain.ok_or(Unreadable::OpenString)?;
        text.push_str(json.get(at..at + plain).unwrap_or_default());
        at += plain;
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.starts_with(close) {
            return Ok(ReadString {
                text,
                end: at + close.len(),
                is_exact,
            });
        }
        if rest.first() == Some(&b'\\') {
            let escape = escape(rest, close)?;
            is_exact &= escape.is_exact;
            match escape.character {
                Some(c) => text.push(c),
                // What follows is read as it stands, in the next round.
                None => text.push('\\'),
            }
            at += escape.length;
            continue;
        }
        // A line break, a tab, or the first byte of a curly quote that is not the closing one.
        let c = json.get(at..).and_then(|rest| rest.chars().next());
        let c = c.ok_or(Unreadable::OpenString)?;
        is_exact &= c >= ' ';
        text.push(c);
        at += c.len_utf8();
    }
}

/// The string that begins at `from`, and where it ends; `None`: none begins there.
pub(in super::super) fn string_at(
    json: &str,
    from: usize,
) -> Option<Result<(String, usize), Unreadable>> {
    opening_quote(json.as_bytes().get(from..)?)?;
    Some(string(json, from).map(|string| (string.text, string.end)))
}

struct Escape {
    /// `None`: the backslash itself, as what follows it is no escape.
    character: Option<char>,
    length: usize,
    is_exact: bool,
}

fn escape(rest: &[u8], close: &[u8]) -> Result<Escape, Unreadable> {
    let known = |character| Escape {
        character: Some(character),
        length: 2,
        is_exact: true,
    };
    Ok(match rest.get(1) {
        None => return Err(Unreadable::OpenString),
        Some(b'"') => known('"'),
        Some(b'\\') => known('\\'),
        Some(b'/') => known('/'),
        Some(b'b') => known('\u{8}'),
        Some(b'f') => known('\u{c}'),
        Some(b'n') => known('\n'),
        Some(b'r') => known('\r'),
        Some(b't') => known('\t'),
        Some(b'\'') if close == b"'" => known('\''),
        Some(b'u') => match hex(rest.get(2..6)) {
            None => UNKNOWN_ESCAPE,
            Some(unit) => unicode(rest, unit)?,
        },
        Some(_) => UNKNOWN_ESCAPE,
    })
}

const UNKNOWN_ESCAPE: Escape = Escape {
    character: None,
    length: 1,
    is_exact: false,
};

/// One unit of UTF-16, or two. Half of a pair means no character at all: nothing is put in its place.
fn unicode(rest: &[u8], unit: u16) -> Result<Escape, Unreadable> {
    // A surrogate is none, so two units are needed.
    if let Some(character) = char::from_u32(u32::from(unit)) {
        return Ok(Escape {
            character: Some(character),
            length: 6,
            is_exact: true,
        });
    }
    let second = rest
        .get(6..8)
        .filter(|start| *start == b"\\u")
        .and_then(|_| hex(rest.get(8..12)));
    let pair = second.and_then(|second| char::decode_utf16([unit, second]).next()?.ok());
    pair.map(|character| Escape {
        character: Some(character),
        length: 12,
        is_exact: true,
    })
    .ok_or(Unreadable::Unexpected(0))
}

fn hex(digits: Option<&[u8]>) -> Option<u16> {
    let digits = digits?;
    // `from_str_radix` takes a sign as well.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// How many of the first bytes are of a kind.
pub(super) fn word_length(bytes: &[u8], is_of_kind: impl Fn(u8) -> bool) -> usize {
    let other = bytes.iter().position(|&byte| !is_of_kind(byte));
    other.unwrap_or(bytes.len())
}

pub(in super::super) fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What Python has in place of JSON's words.
pub(super) fn python(word: &str) -> Option<Tree> {
    Some(match word {
        "True" => Tree::Bool(true),
        "False" => Tree::Bool(false),
        "None" => Tree::Null,
        _ => return None,
    })
}

/// How long the comment is that begins here: `// …`, `# …` to the line's end, `/* … */`. `None`: there is none.
pub(super) fn comment_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'/', b'/', ..] | [b'#', ..] => Some(memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())),
        [b'/', b'*', inside @ ..] => {
            let end = memchr::memmem::find(inside, b"*/");
            // Four for both marks, of which two were taken off above; an open comment goes to the end.
            Some(end.map_or(bytes.len(), |end| end + 4))
        }
        _ => None,
    }
}

/// Whether a word is a number of JSON.
pub fn is_number(word: &str) -> bool {
    let digits = |bytes: &[u8]| word_length(bytes, |byte| byte.is_ascii_digit());
    let mut rest = word.as_bytes();
    rest = rest.strip_prefix(b"-").unwrap_or(rest);
    let whole = digits(rest);
    // JSON has no leading zeros, and neither may a number that is passed on in its digits.
    if whole == 0 || (whole > 1 && rest.starts_with(b"0")) {
        return false;
    }
    rest = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = fraction.get(length..).unwrap_or_default();
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let length = digits(exponent);
        if length == 0 {
            return false;
        }
        rest = exponent.get(length..).unwrap_or_default();
    }
    rest.is_empty()
}

/// What stands in the one fence that a text consists of; else the text itself.
pub(super) fn without_fence(json: &str) -> &str {
    let inside = || {
        let trimmed = json.trim();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| trimmed.starts_with(mark))?;
        let (first, rest) = trimmed.split_once('\n')?;
        let rest = rest.trim_end().strip_suffix(mark)?;
        // Inside the line of the opening marks only the language may stand.
        let language = first.get(mark.len()..)?.trim();
        language
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric())
            .then_some(rest)
    };
    inside().unwrap_or(json)
}
