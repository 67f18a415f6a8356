//! Values as people paste them: with what nobody sees, with the quotes that some readers of the same file leave in,
//! and with the header around a credential. Pure; texts in, texts out.

/// Pairs that stand around a whole value. The last two come from word processors and chats.
const QUOTES: [(char, char); 4] = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’')];

/// What stands before a credential where somebody copied the whole line of a request, in lower case.
const HEADERS: &[&str] = &[
    "authorization",
    "bearer",
    "cookie",
    "set-cookie",
    "x-xsrf-token",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "gttoken",
];

/// How curl names a header or a cookie; "Copy as cURL" gives these.
const OPTIONS: &[&str] = &["--header ", "-H ", "--cookie ", "-b "];

/// Any value as its writer meant it: without characters that cannot be seen, with plain blanks and line ends, and
/// without surrounding blanks and quotes. `docker run --env-file` hands the quotes over that compose, shells and this
/// worker's own reader take off.
pub fn clean(value: &str) -> String {
    let mut seen = String::with_capacity(value.len());
    let mut last = ' ';
    for c in value.chars() {
        match c {
            '\n' if last == '\r' => {}
            '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => seen.push('\n'),
            c if is_unseen(c) => {}
            c if is_odd_blank(c) => seen.push(' '),
            c => seen.push(c),
        }
        last = c;
    }
    unquoted(&seen)
}

/// A credential in one line, without what was copied along with it: the header's name, `Bearer`, quotes.
pub fn credential(value: &str) -> String {
    let mut text = clean(value);
    // Each round takes something off, so this ends.
    loop {
        let shorter = OPTIONS
            .iter()
            .find_map(|option| text.strip_prefix(option))
            .or_else(|| after_header(&text))
            .or_else(|| after_bearer(&text))
            .map(unquoted);
        match shorter {
            Some(shorter) => text = shorter,
            None => return text.replace('\n', ""),
        }
    }
}

/// Characters without a shape of their own: byte order marks, joiners, marks of direction, soft hyphens.
pub fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Blanks that no header can carry and no reader of settings splits at.
pub(super) fn is_odd_blank(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// Without blanks and quotes around all of it. Twice at most: a file's own quotes, and those of another reader.
fn unquoted(value: &str) -> String {
    let mut text = value.trim().to_owned();
    for _ in 0..2 {
        let inside = QUOTES.iter().find_map(|&(open, close)| {
            let inside = text.strip_prefix(open)?.strip_suffix(close)?;
            (!is_list(inside, open, close)).then(|| (open, inside.trim().to_owned()))
        });
        text = match inside {
            // As shells and compose read what stands in double quotes.
            Some(('"', inside)) if inside.contains("\\\"") => {
                inside.replace("\\\"", "\"").replace("\\\\", "\\")
            }
            Some((_, inside)) => inside,
            None => break,
        };
    }
    text
}

/// Whether the first quote and the last one are not a pair, as in `"a","b"`, or in two lines.
fn is_list(inside: &str, open: char, close: char) -> bool {
    let mut parts = inside.split([',', '\n']).map(str::trim);
    let ends = parts.next().is_some_and(|first| first.ends_with(close));
    // The inside of JSON has commas between quotes as well, but does not begin as a text.
    ends && !inside.starts_with(['{', '[']) && parts.any(|part| part.starts_with(open))
}

/// What follows a header's name: behind a colon, or in the line below, as some tools show it.
fn after_header(text: &str) -> Option<&str> {
    let (name, value) = text.split_once([':', '：', '\n'])?;
    let name = name.trim();
    HEADERS
        .iter()
        .any(|header| name.eq_ignore_ascii_case(header))
        .then_some(value)
}

fn after_bearer(text: &str) -> Option<&str> {
    let (scheme, value) = text.split_once(char::is_whitespace)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_off_what_nobody_sees() {
        for value in [
            "sk-1",
            "\u{feff}sk-1",
            "sk-\u{200b}1",
            "sk-1\u{a0}",
            "sk-1\r\n",
            "\u{3000}sk-1\u{2028}",
            "sk\u{ad}-1",
        ] {
            assert_eq!(clean(value), "sk-1", "{value:?}");
        }
        assert_eq!(clean("a\u{a0}b\r\nc\rd"), "a b\nc\nd");
    }

    #[test]
    fn takes_off_the_quotes_that_other_readers_leave() {
        for (value, meant) in [
            (r#""a""#, "a"),
            ("'a b'", "a b"),
            (r#"'"a"'"#, "a"),
            ("“a”", "a"),
            (r#""a","b""#, r#""a","b""#),
            ("\"\n'a'\n'b'\n\"", "'a'\n'b'"),
            (r#""{"a":["b","c"]}""#, r#"{"a":["b","c"]}"#),
            (r#""{\"a\":\"b\"}""#, r#"{"a":"b"}"#),
            (r#"["a","b"]"#, r#"["a","b"]"#),
            (r#""a"#, r#""a"#),
            ("\"", "\""),
            ("\"\"", ""),
        ] {
            assert_eq!(clean(value), meant, "{value}");
        }
    }

    #[test]
    fn takes_off_the_header_around_a_credential() {
        for value in [
            "abc",
            "Bearer abc",
            "bearer  abc",
            "Bearer Bearer abc",
            "Authorization: Bearer abc",
            "authorization:abc",
            "\"Authorization: Bearer abc\"",
            "Authorization: \"Bearer abc\"",
            "-H 'authorization: Bearer abc'",
            "Cookie: abc",
            "cookie\nabc",
            "X-Xsrf-Token: abc\r\n",
            "Bearer a\nbc",
        ] {
            assert_eq!(credential(value), "abc", "{value:?}");
        }
        // A colon or a word alone is no header.
        for value in ["name:abc", "a=b; cookie=c", "bearerabc", "a@b.example"] {
            assert_eq!(credential(value), value);
        }
        assert_eq!(credential("Cookie: a=b: c; d=\"e\""), "a=b: c; d=\"e\"");
    }

    proptest! {
        /// What was cleaned once stays as it is, and nothing unseen is left in it.
        #[test]
        fn is_done_once(value in "[ab\"' :,\u{feff}\u{200b}\u{a0}\r\n]{0,16}") {
            let credential = credential(&value);
            prop_assert!(!credential.chars().any(|c| is_unseen(c) || c.is_control()));
            prop_assert_eq!(credential.trim(), credential.as_str());
        }
    }
}
