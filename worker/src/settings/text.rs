//! Texts of the environment as their writer meant them: without what nobody sees, and without the quotes that some readers
//! of the same file leave in. Pure. What is pasted as a credential: [`crate::accounts::pasted`].

/// Pairs that stand around a whole value. The last two come from word processors and chats.
const QUOTES: [(char, char); 4] = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’')];

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
pub(crate) fn unquoted(value: &str) -> String {
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

    proptest! {
        /// What was cleaned once stays as it is, and nothing unseen is left in it.
        #[test]
        fn is_done_once(value in "[ab\"' :,\u{feff}\u{200b}\u{a0}\r\n]{0,16}") {
            let clean = clean(&value);
            prop_assert!(!clean.chars().any(is_unseen));
            prop_assert_eq!(clean.trim(), clean.as_str());
        }
    }
}
