//! The meta-token: a value in the home page that goes along with every search. Source: `wire/metaso.md` section 5.1.

use crate::impossible::OrImpossible as _;

const TAG: &[u8] = b"<meta";
const ID: &str = "meta-token";
/// Longest value: real ones have about 128 characters.
const MOST_BYTES: usize = 4096;
/// A tag longer than this is none of the page's own.
const MOST_TAG_BYTES: usize = 2 * MOST_BYTES;

/// What the home page holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Token(String),
    /// The tag is there, and empty: the page does not know who asks.
    Empty,
    /// No such tag.
    Nothing,
}

/// Looks for `<meta id="meta-token" content="…">`, whatever the order of its attributes, quotes and spacing.
pub(super) fn find(page: &str) -> Found {
    let bytes = page.as_bytes();
    for at in memchr::memchr_iter(b'<', bytes) {
        let tag = bytes.get(at..).or_impossible("a byte was found there");
        let is_meta = tag
            .get(..TAG.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(TAG));
        let Some(attributes) = page.get(at + TAG.len()..).filter(|_| is_meta) else {
            continue;
        };
        // Where that cuts a character, the tag is far too long as well.
        let attributes = attributes.get(..MOST_TAG_BYTES).unwrap_or(attributes);
        let (mut is_ours, mut content) = (false, None);
        for (name, value) in Attributes(attributes) {
            is_ours |= name.eq_ignore_ascii_case("id") && value == ID;
            if name.eq_ignore_ascii_case("content") {
                content = Some(value);
            }
        }
        if is_ours {
            // Empty where the tag has no content: the page does not know who asks (section 5.1).
            let token = unescaped(content.unwrap_or_default().trim());
            let is_token = !token.is_empty() && token.len() <= MOST_BYTES;
            // It becomes a header and a part of a query.
            let is_plain = token.chars().all(|c| c.is_ascii_graphic());
            return if is_token && is_plain {
                Found::Token(token)
            } else {
                Found::Empty
            };
        }
    }
    Found::Nothing
}

/// The attributes of one tag, up to its `>`.
struct Attributes<'a>(&'a str);

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self
            .0
            .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        let end = text.find(|c: char| c.is_ascii_whitespace() || "=/><".contains(c))?;
        let (name, rest) = text.split_at(end);
        // Without a name there is no attribute: the tag's end, or something that is none.
        if name.is_empty() {
            self.0 = "";
            return None;
        }
        // An attribute without a value.
        let Some(value) = rest.trim_ascii_start().strip_prefix('=') else {
            self.0 = rest;
            return Some((name, ""));
        };
        let value = value.trim_ascii_start();
        let quoted = ['"', '\''].iter().find_map(|&quote| {
            let inside = value.strip_prefix(quote)?;
            inside.split_once(quote)
        });
        // Unquoted, or quoted without an end: up to the next blank or the tag's.
        let (value, rest) = quoted.unwrap_or_else(|| {
            let end = value.find(|c: char| c.is_ascii_whitespace() || "\"'><".contains(c));
            value.split_at(end.unwrap_or(value.len()))
        });
        self.0 = rest;
        Some((name, value))
    }
}

/// Without HTML's escapes, as far as a token may hold any.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let escape = after.split_once(';').and_then(|(name, after)| {
            let c = match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                _ => {
                    let code = name.strip_prefix('#')?;
                    let hex = code.strip_prefix(['x', 'X']);
                    let code = match hex {
                        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                        None => code.parse().ok()?,
                    };
                    char::from_u32(code)?
                }
            };
            Some((c, after))
        });
        match escape {
            Some((c, after)) => {
                plain.push(c);
                rest = after;
            }
            // No escape: the sign stands for itself.
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of section 5.1.
    #[test]
    fn finds_the_token_however_the_tag_is_written() {
        let token = |token: &str| Found::Token(token.to_owned());
        for (page, found) in [
            (
                r#"<meta id="meta-token" content="wr8+pHu3/fH=="/>"#,
                token("wr8+pHu3/fH=="),
            ),
            ("<meta content='a&amp;b' id='meta-token'>", token("a&b")),
            (r#"<meta id="meta-token" content=""/>"#, Found::Empty),
            (
                "<html><META charset=utf-8><meta\n ID = \"meta-token\"\tdata-x CONTENT = \"x&#43;y&#x2F;=\" ><meta id=\"meta-token\" content=\"no\">",
                token("x+y/="),
            ),
            ("<meta id=meta-token content=abc=>", token("abc=")),
            ("<meta id=\"meta-token\">", Found::Empty),
            ("<meta id=\"meta-token\" content=\"a b\">", Found::Empty),
            ("<meta id=\"other\" content=\"x\">", Found::Nothing),
            ("<meta content=\"meta-token\" id=\"x\">", Found::Nothing),
            ("<div id=\"meta-token\" content=\"x\">", Found::Nothing),
            ("<html>你好</html>", Found::Nothing),
            ("", Found::Nothing),
            ("<meta id=\"meta-token", Found::Nothing),
        ] {
            assert_eq!(find(page), found, "{page}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_page_panics(page in "(<meta|id=|content=|meta-token|[\"'&;#x<>/ =你a]){0,24}") {
            find(&page);
        }

        #[test]
        fn escapes_come_back(token in "[!-~]{1,64}") {
            let escaped = token.replace('&', "&amp;").replace('"', "&quot;");
            let page = format!("<meta id=\"meta-token\" content=\"{escaped}\">");
            proptest::prop_assert_eq!(find(&page), Found::Token(token));
        }
    }
}
