//! The messages of a chat request, lenient where clients differ (conformance H8) and strict about types (H7).

use std::{borrow::Cow, fmt, marker::PhantomData};

use memchr::{memchr2, memchr3};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

pub use super::part::{File, Part, Url};
use super::text::{self, Text};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// OpenAI's newer word for `system`.
    Developer,
    /// Instructions of the caller.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
    /// The result of a function call, OpenAI's older form.
    Function,
}

/// One message of the conversation.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; absent and null count as empty (an assistant's message with tool calls).
    #[serde(default)]
    pub content: Content,
    /// The speaker's or the function's name.
    pub name: Option<String>,
    /// Calls that the assistant made.
    #[serde(default, deserialize_with = "counted")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Which call a `tool` message answers.
    pub tool_call_id: Option<String>,
}

/// A tool call in the history.
#[derive(Clone, Debug, Deserialize)]
pub struct ToolCall {
    /// The call's id.
    #[serde(default)]
    pub id: String,
    /// What was called; absent for types of calls that we do not know.
    pub function: Option<FunctionCall>,
}

/// Name and arguments of a call.
#[derive(Clone, Debug, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// The arguments as JSON text; as such also where a client sends the object itself.
    #[serde(default, deserialize_with = "arguments")]
    pub arguments: Text,
}

/// The content of a message: a string, an array of parts, or null.
#[derive(Clone, Debug, Default)]
pub enum Content {
    /// Null or absent.
    #[default]
    Empty,
    /// A plain string.
    Text(Text),
    /// An array of parts.
    Parts(Vec<Part>),
}

impl Message {
    /// The text of the message: the string, or the text parts joined with a line feed.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.content {
            Content::Empty => Cow::Borrowed(""),
            Content::Text(text) => Cow::Borrowed(text),
            Content::Parts(parts) => {
                let mut texts = parts.iter().filter_map(Part::text);
                let first = texts.next().unwrap_or_default();
                texts.next().map_or(Cow::Borrowed(first), |second| {
                    let mut joined = format!("{first}\n{second}");
                    for text in texts {
                        joined.push('\n');
                        joined.push_str(text);
                    }
                    Cow::Owned(joined)
                })
            }
        }
    }

    /// Whether the text is more than blanks.
    pub fn has_words(&self) -> bool {
        let has_words = |text: &str| !text.trim_start().is_empty();
        match &self.content {
            Content::Empty => false,
            Content::Text(text) => has_words(text),
            Content::Parts(parts) => parts.iter().filter_map(Part::text).any(has_words),
        }
    }

    /// The parts that are pictures and documents.
    pub fn attachments(&self) -> impl Iterator<Item = &Part> {
        let parts: &[Part] = match &self.content {
            Content::Parts(parts) => parts,
            Content::Empty | Content::Text(_) => &[],
        };
        parts.iter().filter(|part| part.is_attachment())
    }
}

/// An array, or null for none, each item of which counts among the pieces of the conversation ([`text::reading`]).
pub(crate) fn counted<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    struct CountedVisitor<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for CountedVisitor<T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                text::count_piece()?;
                items.push(item);
            }
            Ok(Some(items))
        }
    }

    deserializer.deserialize_any(CountedVisitor(PhantomData))
}

/// A call's arguments. What is no string is taken as it is written.
fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    if raw.starts_with('"') {
        serde_json::from_str(raw).map_err(de::Error::custom)
    } else {
        Ok(Text::borrowed(raw))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of content parts, or null")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Content, E> {
                Ok(Content::Text(Text::borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.into()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text.into()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::Empty)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
                let mut parts = Vec::with_capacity(seq.size_hint().unwrap_or(1).min(64));
                while let Some(part) = seq.next_element()? {
                    text::count_piece()?;
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

/// Removes Markdown pictures (`![…](…)`) from a text, so that dead signed links of earlier answers are not sent
/// back. A label holds neither `[` nor a line's end, a link no line's end. Source: wire/qwen.md section 4.3,
/// wire/xinghuo.md section 4.4.
pub fn without_pictures(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some(found) = text.get(from..).and_then(|rest| rest.find("![")) {
        let start = from + found;
        match picture_end(text, start) {
            // Where a picture is none, the next one cannot begin before the place that says so: no byte is read twice.
            Err(place) => from = place,
            Ok(end) => {
                kept.push_str(text.get(copied..start).unwrap_or_default());
                (copied, from) = (end, end);
            }
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(kept)
}

/// Where the picture ends whose `![` stands at `start`; else from where to look for the next one. That is always behind
/// what was read here, so that the time grows with the text and not with its square: between the two places there is no
/// `![`, or nothing that could close it.
fn picture_end(text: &str, start: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let after = |at: usize| bytes.get(at..).unwrap_or_default();
    let label = start + 2;
    let mut at = label;
    let link = loop {
        let Some(found) = memchr3(b'[', b']', b'\n', after(at)) else {
            return Err(text.len());
        };
        at += found;
        match after(at) {
            [b']', b'(', ..] => break at + 2,
            [b']', ..] => at += 1,
            // May belong to the next `![`.
            [b'[', ..] if at > label && after(at - 1).starts_with(b"!") => return Err(at - 1),
            [b'[', ..] => return Err(at + 1),
            _ => return Err(at + 1),
        }
    };
    match memchr2(b')', b'\n', after(link)) {
        Some(found) if after(link + found).starts_with(b")") => Ok(link + found + 1),
        Some(found) => Err(link + found + 1),
        None => Err(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_only_pictures() {
        assert_eq!(
            without_pictures("a![x](https://e/1?a=b)b ![](u)c [l](m) ![n"),
            "ab c [l](m) ![n"
        );
        assert_eq!(without_pictures("![ [x](y)"), "![ [x](y)");
        assert_eq!(without_pictures("plain 你好"), "plain 你好");
    }

    #[test]
    fn joins_text_parts_with_line_feeds() {
        let message: Message =
            serde_json::from_str(r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}},{"type":"text","text":"b"}]}"#)
                .unwrap();
        assert_eq!(message.text(), "a\nb");
        assert_eq!(message.attachments().count(), 1);
    }

    #[test]
    fn arguments_may_be_an_object() {
        let call = |arguments: &str| {
            let call: FunctionCall =
                serde_json::from_str(&format!(r#"{{"name":"f","arguments":{arguments}}}"#))
                    .unwrap();
            call.arguments.to_string()
        };
        assert_eq!(call(r#""{\"a\":1}""#), r#"{"a":1}"#);
        assert_eq!(call(r#"{"a": 1}"#), r#"{"a": 1}"#);
        assert_eq!(call(r#""{}""#), "{}");
    }

    /// The plain way, whose time grows with the square.
    fn plainly(text: &str) -> String {
        let find = |text: &str| {
            text.match_indices("![").find_map(|(start, _)| {
                let label = text.get(start..)?;
                let middle = label.find("](")?;
                if label.get(2..middle).unwrap_or("[").contains(['[', '\n']) {
                    return None;
                }
                let link = label.get(middle..)?;
                let close = link.find(')')?;
                (!link.get(..close)?.contains('\n')).then_some((start, start + middle + close + 1))
            })
        };
        let (mut kept, mut rest) = (String::new(), text);
        while let Some((start, end)) = find(rest) {
            kept.push_str(rest.get(..start).unwrap());
            rest = rest.get(end..).unwrap();
        }
        kept + rest
    }

    proptest::proptest! {
        #[test]
        fn pictures_are_found_as_in_the_plain_way(text in "([\\[\\]!()\n a你]|!\\[|\\]\\(){0,24}") {
            proptest::prop_assert_eq!(without_pictures(&text), plainly(&text));
        }
    }
}
