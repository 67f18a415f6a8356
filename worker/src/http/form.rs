//! `multipart/form-data` as clients send it: read as it comes, so that a field can be found before its form has ended.
//! Pure; where the bytes come from and how many of them are held is the door's matter. Source: RFC 7578, RFC 2046 section
//! 5.1.1; the URL standard of WHATWG and HTML's "multipart/form-data encoding algorithm" for how names are written.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use memchr::memmem;

use super::error::ApiError;
use crate::impossible::OrImpossible as _;

/// Longest head of a part; a name and a type take a tenth of it.
const MOST_HEAD_BYTES: usize = 8 << 10;
/// Most parts of a form.
const MOST_PARTS: usize = 1000;

/// A form that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

impl From<Malformed> for ApiError {
    fn from(why: Malformed) -> Self {
        Self::bad_request(format!("The body is no proper multipart/form-data: {why}."))
    }
}

/// The boundary of a form by its content type; `None` where that is another one.
///
/// # Errors
/// A form without a boundary.
pub fn boundary(content_type: &str) -> Result<Option<String>, Malformed> {
    let mut pieces = content_type.split(';');
    let kind = pieces.next().or_impossible("a split has one part at least");
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Ok(None);
    }
    let named = pieces.find_map(|piece| {
        // Without quotes, or with: both are written.
        let (name, value) = piece.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("boundary");
        is_it.then(|| value.trim().trim_matches('"').to_owned())
    });
    let boundary = named.filter(|boundary| (1..=200).contains(&boundary.len()));
    boundary
        .map(Some)
        .ok_or(Malformed("its content type names no boundary"))
}

/// A part of a form, as places in what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub name: String,
    /// A file's name; `None` for a plain field.
    pub file_name: Option<String>,
    /// Its type, where one is said.
    pub content_type: Option<String>,
    /// Where its content stands.
    pub content: Range<usize>,
}

/// What a look at a form finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The next part, whole.
    Part(Part),
    /// The end of the form. Whatever follows is none of its.
    End,
    /// Nothing new until there are more bytes.
    More,
}

/// Goes through a form as it grows. Each byte is looked at once, or once more where a boundary may be torn.
#[derive(Debug)]
pub struct Scanner {
    /// `\r\n--boundary`.
    delimiter: Vec<u8>,
    /// Where to look on.
    at: usize,
    stage: Stage,
    parts: usize,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Before the first boundary.
    Start,
    /// Behind a boundary.
    Behind,
    /// In the head of a part, which begins at `at`.
    Head,
    /// In the content of a part, which begins at `content.start`.
    Content(Part),
    End,
}

impl Scanner {
    /// At the beginning of a form.
    pub fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            at: 0,
            stage: Stage::Start,
            parts: 0,
        }
    }

    /// The next thing in `form`: all that has come so far, from its first byte on.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn next(&mut self, form: &[u8]) -> Result<Found, Malformed> {
        loop {
            match &mut self.stage {
                Stage::Start => {
                    let first = self.delimiter.get(2..).or_impossible("it begins with CRLF");
                    // What has come may be its beginning.
                    if form.len() < first.len() && first.starts_with(form) {
                        return Ok(Found::More);
                    }
                    // A preamble may come first, and is nothing to anybody.
                    let is_at_once = form.starts_with(first);
                    // Not at the start: a preamble stands before it.
                    let found = if is_at_once { Some(0) } else { self.find(form) };
                    let Some(start) = found else {
                        return Ok(Found::More);
                    };
                    let length = self.delimiter.len() - if is_at_once { 2 } else { 0 };
                    self.at = start + length;
                    self.stage = Stage::Behind;
                }
                Stage::Behind => {
                    // From here on, the boundary itself has been read.
                    let rest = form.get(self.at..).or_impossible("so much has been read");
                    // Blanks may pad a boundary.
                    let padded = rest
                        .iter()
                        .take_while(|&&byte| matches!(byte, b' ' | b'\t'));
                    let blanks = padded.count();
                    match rest.get(blanks..).or_impossible("blanks are a part of it") {
                        [b'-', b'-', ..] => self.stage = Stage::End,
                        [b'\r', b'\n', ..] => {
                            self.parts += 1;
                            if self.parts > MOST_PARTS {
                                return Err(Malformed("it has too many parts"));
                            }
                            self.at += blanks + 2;
                            self.stage = Stage::Head;
                        }
                        [] | [b'-' | b'\r'] if blanks < MOST_HEAD_BYTES => return Ok(Found::More),
                        _ => return Err(Malformed("a boundary is not followed by a line's end")),
                    }
                }
                Stage::Head => {
                    let rest = form.get(self.at..).or_impossible("so much has been read");
                    // A part without a head begins with the empty line.
                    let end = if rest.starts_with(b"\r\n") {
                        Some(0)
                    } else {
                        memmem::find(rest, b"\r\n\r\n").map(|end| end + 2)
                    };
                    match end {
                        Some(end) if end <= MOST_HEAD_BYTES => {
                            let head = rest.get(..end).or_impossible("it was found there");
                            let start = self.at + end + 2;
                            self.stage = Stage::Content(part(head, start)?);
                            self.at = start;
                        }
                        None if rest.len() <= MOST_HEAD_BYTES => return Ok(Found::More),
                        _ => return Err(Malformed("the head of a part is too long")),
                    }
                }
                Stage::Content(part) => {
                    // Cloned: the stage is written anew, and the loop goes on with it.
                    let mut part = part.clone();
                    // An empty content's boundary begins with the line's end that ends the head.
                    let first = self.at == part.content.start;
                    let from = if first { self.at - 2 } else { self.at };
                    self.at = from;
                    let Some(end) = self.find(form) else {
                        // Never back into the head: what is looked at again is the boundary's own length at most.
                        self.at = self.at.max(from);
                        self.stage = Stage::Content(part);
                        return Ok(Found::More);
                    };
                    // An empty content ends before it begins, by the line's end that both share.
                    part.content.end = end.max(part.content.start);
                    self.at = end + self.delimiter.len();
                    self.stage = Stage::Behind;
                    return Ok(Found::Part(part));
                }
                Stage::End => return Ok(Found::End),
            }
        }
    }

    /// Where the next boundary is, from `at` on; where there is none yet, `at` is moved to where one may have begun.
    fn find(&mut self, form: &[u8]) -> Option<usize> {
        let rest = form.get(self.at..).or_impossible("so much has been read");
        let found = memmem::find(rest, &self.delimiter);
        if found.is_none() {
            // A boundary may be torn by one byte less than it has.
            let torn = self.delimiter.len() - 1;
            self.at = form.len().saturating_sub(torn).max(self.at);
        }
        found.map(|found| self.at + found)
    }
}

/// What a part's head says; its content begins at `start`.
fn part(head: &[u8], start: usize) -> Result<Part, Malformed> {
    let head =
        std::str::from_utf8(head).map_err(|_| Malformed("the head of a part is no UTF-8"))?;
    let mut part = Part {
        name: String::new(),
        file_name: None,
        content_type: None,
        content: start..start,
    };
    for line in head.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim();
        if name.eq_ignore_ascii_case("content-type") {
            part.content_type = Some(value.trim().to_owned());
        } else if name.eq_ignore_ascii_case("content-disposition") {
            for (name, value) in parameters(value) {
                match &*name {
                    "name" => part.name = value,
                    // Only the plain one where no better is there.
                    "filename" if part.file_name.is_none() => part.file_name = Some(value),
                    // Newer than the plain one, which is sent along for those who do not know it.
                    "filename*" => part.file_name = Some(extended(&value)),
                    _ => {}
                }
            }
        }
    }
    Ok(part)
}

/// `; name="a"; filename=b`: names in lower case, and values as they are meant.
fn parameters(disposition: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = disposition
        .split_once(';')
        // One after the other: a quoted value may hold a semicolon.
        .map_or("", |(_, parameters)| parameters);
    while let Some((name, behind)) = rest.split_once('=') {
        let behind = behind.trim_start();
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, next) = behind.split_once(';').unwrap_or((behind, ""));
                (value.trim().to_owned(), next)
            }
        };
        let name = name.trim_matches([' ', '\t', ';']).to_ascii_lowercase();
        found.push((name, value));
        rest = next;
    }
    found
}

/// A quoted text up to its end, and what follows. Browsers write a quote as `%22`, others as `\"`; a bare backslash is one
/// of a path.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let next = text.get(at + 1..).or_impossible("a quote is one byte");
                return (browsers(&value).into_owned(), next);
            }
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push(c),
            },
            _ => value.push(c),
        }
    }
    (browsers(&value).into_owned(), "")
}

/// What browsers escape, and nothing else.
fn browsers(value: &str) -> Cow<'_, str> {
    // Nearly none has any.
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(
        value
            .replace("%22", "\"")
            .replace("%0D", "\r")
            .replace("%0A", "\n"),
    )
}

/// `UTF-8''a%20b` (RFC 8187).
fn extended(value: &str) -> String {
    let encoded = value
        // Behind the last quote: the two before it are the language.
        .rsplit('\'')
        .next()
        .or_impossible("a split has one part");
    percent_encoding::percent_decode_str(encoded)
        .decode_utf8_lossy()
        .into_owned()
}

/// A field of a form that has come as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// A file's name; `None` for a plain field.
    pub file_name: Option<String>,
    /// Its type, where one is said.
    pub content_type: Option<String>,
    /// Its content, which shares the form's memory.
    pub bytes: Bytes,
}

impl Field {
    /// The content as text.
    ///
    /// # Errors
    /// 400 that names the field, for what is no UTF-8.
    pub fn text(&self) -> Result<&str, ApiError> {
        std::str::from_utf8(&self.bytes).map_err(|_| ApiError {
            param: Some(self.name.chars().take(100).collect()),
            ..ApiError::bad_request("A field of the form is no UTF-8.")
        })
    }
}

/// All fields of a whole form, in their order.
///
/// # Errors
/// [`Malformed`].
pub fn fields(form: &Bytes, boundary: &str) -> Result<Vec<Field>, Malformed> {
    let (mut scanner, mut fields) = (Scanner::new(boundary), Vec::new());
    loop {
        match scanner.next(form)? {
            Found::Part(part) => fields.push(Field {
                name: part.name,
                file_name: part.file_name,
                content_type: part.content_type,
                bytes: form.slice(part.content),
            }),
            Found::End => return Ok(fields),
            Found::More => return Err(Malformed("it ends before its last boundary")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &str = "preamble\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22\\\"b.wav\"\r\n\
        Content-Type: audio/wav\r\n\r\n\r\n--not\r\n--\r\n--B \t\r\ncontent-disposition: form-data; name=model\r\n\r\n\
        whisper-1\r\n--B\r\nContent-Disposition: form-data; name=\"empty\"; filename=\"x\"; filename*=UTF-8''%e4%bd%a0\r\n\r\n\
        \r\n--B--\r\nepilogue";

    fn names(fields: &[Field]) -> Vec<(&str, &[u8])> {
        fields.iter().map(|it| (&*it.name, &*it.bytes)).collect()
    }

    #[test]
    fn reads_what_clients_write() {
        let fields = fields(&Bytes::from_static(FORM.as_bytes()), "B").unwrap();
        let expected: [(&str, &[u8]); 3] = [
            ("file", b"\r\n--not\r\n--"),
            ("model", b"whisper-1"),
            ("empty", b""),
        ];
        assert_eq!(names(&fields), expected);
        assert_eq!(fields[0].file_name.as_deref(), Some("a\"\"b.wav"));
        assert_eq!(fields[0].content_type.as_deref(), Some("audio/wav"));
        assert_eq!(
            (&fields[1].file_name, &fields[1].content_type),
            (&None, &None)
        );
        assert_eq!(fields[2].file_name.as_deref(), Some("你"));
    }

    /// However it is cut, the same parts come, and none before all its bytes are there.
    #[test]
    fn every_cut_gives_the_same_parts() {
        let whole = fields(&Bytes::from_static(FORM.as_bytes()), "B").unwrap();
        for first in 0..FORM.len() {
            for second in [first, FORM.len() - 1] {
                let mut scanner = Scanner::new("B");
                let mut found = Vec::new();
                for end in [first, second.max(first), FORM.len()] {
                    let form = &FORM.as_bytes()[..end];
                    while let Found::Part(part) = scanner.next(form).unwrap() {
                        let content = form[part.content].to_vec();
                        found.push((part.name, content));
                    }
                }
                let found: Vec<_> = found.iter().map(|(name, it)| (&**name, &**it)).collect();
                assert_eq!(found, names(&whole), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn byte_by_byte_the_same_parts_come() {
        let (mut scanner, mut found) = (Scanner::new("B"), 0);
        for end in 0..=FORM.len() {
            while let Found::Part(_) = scanner.next(&FORM.as_bytes()[..end]).unwrap() {
                found += 1;
            }
        }
        assert_eq!(found, 3);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let long = format!("--B\r\n{}", "a".repeat(MOST_HEAD_BYTES + 4));
        for form in [
            "",
            "--B",
            "--B\r\n",
            "--B\r\n\r\nx",
            "--Bx\r\n",
            "a=1&b=2",
            &long,
        ] {
            let form = Bytes::copy_from_slice(form.as_bytes());
            assert!(fields(&form, "B").is_err(), "{form:?}");
        }
    }

    #[test]
    fn the_boundary_is_in_the_content_type() {
        let of = |it: &str| boundary(it).map(|it| it.unwrap_or_default());
        assert_eq!(of("multipart/form-data; boundary=X").as_deref(), Ok("X"));
        assert_eq!(
            of("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"").as_deref(),
            Ok("a b")
        );
        assert_eq!(of("application/json").as_deref(), Ok(""));
        assert!(of("multipart/form-data").is_err());
        assert!(of("multipart/form-data; boundary=").is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_in_peace(form in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = fields(&form.clone().into(), "B");
            let _ = fields(&[b"--B\r\n", form.as_slice()].concat().into(), "B");
        }
    }
}
