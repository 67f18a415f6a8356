//! One argument's value, from what stands between its tags. Source: tools.md section 4.

use super::{
    super::{
        json::{self, Unreadable, read_exact},
        schema::{Kind, Shape, Types},
        tree::Tree,
    },
    Said,
};

/// A value that was read.
pub(super) enum Value {
    /// As it was written.
    Exact(Tree),
    /// Something had to be mended.
    Mended(Tree),
}

/// Reads what stands between the tags of an argument of this shape.
pub(super) fn read(
    written: String,
    shape: Option<&Shape>,
    said: Said,
) -> Result<Value, Unreadable> {
    let kind = shape.map(Shape::kind).unwrap_or_default();
    match (kind, said) {
        (Kind::Text, Said::Nothing | Said::Text) => Ok(Value::Exact(text(written))),
        // The tag says that it is JSON: then a text is in quotes, or else as it is.
        (Kind::Text, Said::Json) => Ok(Value::Exact(match read_exact(written.trim()) {
            Ok(quoted @ Tree::Text(_)) => quoted,
            _ => text(written),
        })),
        // The one word that means something else than itself.
        (Kind::NullableText, _) => Ok(Value::Exact(match written.trim() {
            "null" => Tree::Null,
            _ => text(written),
        })),
        (Kind::Json, _) => json(written),
        (Kind::Union | Kind::Untyped, Said::Text) => Ok(Value::Exact(text(written))),
        (Kind::Union, _) => Ok(union(written, shape)),
        (Kind::Untyped, _) => Ok(Value::Exact(match read_exact(written.trim()) {
            Ok(tree) => tree,
            Err(_) => text(written),
        })),
    }
}

fn text(written: String) -> Tree {
    Tree::Text(raw_text(written))
}

/// JSON, mended where it must be. What does not even begin like JSON is kept as text: readable, if wrong.
fn json(written: String) -> Result<Value, Unreadable> {
    let trimmed = written.trim();
    match json::read(trimmed) {
        Ok(reading) if reading.is_exact => Ok(Value::Exact(reading.tree)),
        Ok(reading) => Ok(Value::Mended(reading.tree)),
        Err(error) => {
            let begins = ["{", "[", "\"", "'", "“", "‘", "```", "~~~", "//", "/*"];
            let is_meant_as_json = begins.iter().any(|begin| trimmed.starts_with(begin));
            if is_meant_as_json || matches!(error, Unreadable::TooDeep) {
                return Err(error);
            }
            Ok(Value::Mended(text(written)))
        }
    }
}

/// A union of text and other types. Only what is JSON is no text, or what begins as a list or object where one may stand.
fn union(written: String, shape: Option<&Shape>) -> Value {
    let trimmed = written.trim();
    // Strictly: a text that happens to look almost like JSON stays a text.
    if let Ok(tree) = read_exact(trimmed) {
        return Value::Exact(tree);
    }
    let types = shape.map(|shape| shape.types).unwrap_or_default();
    let may_be_nested = (types.has(Types::ARRAY) && trimmed.starts_with('['))
        || (types.has(Types::OBJECT) && trimmed.starts_with('{'));
    // Python's words mean nothing as texts.
    if (may_be_nested || matches!(trimmed, "True" | "False" | "None"))
        && let Ok(reading) = json::read(trimmed)
        && types.admit(&reading.tree)
    {
        return Value::Mended(reading.tree);
    }
    Value::Exact(text(written))
}

/// A text without the line breaks next to its tags. Nothing else is trimmed. Source: tools.md section 4.
pub(super) fn raw_text(mut text: String) -> String {
    if let Some(break_length) = leading_break(&text) {
        text.drain(..break_length);
        drop_trailing_break(&mut text);
    } else if memchr::memchr(b'\n', text.as_bytes()) == text.len().checked_sub(1) {
        // Only at its end: a value of one line whose closer stands in the next.
        drop_trailing_break(&mut text);
    }
    let inside = text
        .strip_prefix("<![CDATA[")
        .and_then(|rest| rest.strip_suffix("]]>"));
    // One section and no second: inside of it no `]]>` can stand.
    match inside.filter(|inside| !inside.contains("]]>")) {
        Some(inside) => inside.to_owned(),
        None => text,
    }
}

fn leading_break(text: &str) -> Option<usize> {
    ["\r\n", "\n"]
        .iter()
        .find(|it| text.starts_with(**it))
        .map(|it| it.len())
}

fn drop_trailing_break(text: &mut String) {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_breaks_next_to_the_tags_go() {
        for (written, expected) in [
            ("\nx = 1\n\n", "x = 1\n"),
            ("\n  indented\n\ntail  \n", "  indented\n\ntail  "),
            ("a.rs\n", "a.rs"),
            ("a\nb\n", "a\nb\n"),
            ("\r\na\r\nb\r\n", "a\r\nb"),
            ("\n", ""),
            ("\n\n", ""),
            ("", ""),
            (" x ", " x "),
            ("&lt;b&gt;", "&lt;b&gt;"),
            ("<![CDATA[a<b]]>", "a<b"),
            ("\n<![CDATA[a<b\n]]>\n", "a<b\n"),
            ("<![CDATA[a]]><![CDATA[b]]>", "<![CDATA[a]]><![CDATA[b]]>"),
        ] {
            assert_eq!(raw_text(written.to_owned()), expected, "{written:?}");
        }
    }
}
