//! The `delta` of a chunk (or the `message` of a whole completion), which any server may extend and fill in its own way.
//! What is written as OpenAI writes it is read in one pass; all else takes [`Delta::from_value`]. Source: OpenAI's public
//! API reference.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::content;
use crate::upstream::json;

/// What has an event of its own, and the rest as it is.
#[derive(Debug, Default)]
pub(super) struct Delta<'a> {
    pub(super) content: Option<Cow<'a, str>>,
    pub(super) reasoning_content: Option<Cow<'a, str>>,
    /// Other spellings of `reasoning_content`; servers that send both send the same text in both.
    pub(super) reasoning: Option<Cow<'a, str>>,
    pub(super) tool_calls: Option<Value>,
    pub(super) function_call: Option<Value>,
    /// Pictures among the parts of the content.
    pub(super) pictures: Vec<String>,
    /// Without nulls.
    pub(super) others: Map<String, Value>,
    /// Something in it is written in another way than OpenAI's.
    pub(super) is_odd: bool,
}

impl Delta<'_> {
    /// The text and whether it is reasoning, if this is a piece of text and nothing else.
    pub(super) fn only_text(&self) -> Option<(&str, bool)> {
        if self.tool_calls.is_some() || self.function_call.is_some() || !self.others.is_empty() {
            return None;
        }
        match (
            self.content.as_deref(),
            self.reasoning_content.as_deref(),
            self.reasoning.as_deref(),
        ) {
            (Some(text), None, None) => Some((text, false)),
            (None, Some(text), None) | (None, None, Some(text)) => Some((text, true)),
            _ => None,
        }
        .filter(|(text, _)| !text.is_empty())
    }

    /// Whether there is nothing in it for a client.
    pub(super) fn is_empty(&self) -> bool {
        let is_empty = |text: &Option<Cow<'_, str>>| text.as_ref().is_none_or(|it| it.is_empty());
        is_empty(&self.content)
            && is_empty(&self.reasoning_content)
            && is_empty(&self.reasoning)
            && self
                .tool_calls
                .as_ref()
                .is_none_or(|calls| calls == &Value::Array(Vec::new()))
            && self.function_call.is_none()
            && self.pictures.is_empty()
            && self.others.is_empty()
    }

    /// Reads it however it is filled. Texts keep halves of characters for [`json::Halves`].
    pub(super) fn from_value(members: Map<String, Value>) -> Delta<'static> {
        let mut delta = Delta::default();
        for (name, mut value) in members {
            match name.as_str() {
                _ if value.is_null() => {}
                "role" => {}
                "content" => content::read(value, &mut delta),
                "reasoning_content" => delta.reasoning_content = content::plain(&value),
                "reasoning" | "reasoning_text" | "thinking" => {
                    // The one that says anything is kept.
                    delta.reasoning = content::plain(&value).or_else(|| delta.reasoning.take());
                }
                "tool_calls" => match delta.tool_calls {
                    // Calls that stood among the parts of the content.
                    Some(Value::Array(ref mut calls)) => match value {
                        Value::Array(mut more) => calls.append(&mut more),
                        one => calls.push(one),
                    },
                    _ => delta.tool_calls = Some(value),
                },
                "function_call" => delta.function_call = Some(value),
                _ => {
                    json::make_whole(&mut value);
                    delta.others.insert(name, value);
                }
            }
        }
        delta
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Delta<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Delta<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Delta<'de>, A::Error> {
        let mut delta = Delta::default();
        while let Some(Name(name)) = map.next_key()? {
            // A closure: the map must be borrowed for each of them anew.
            let mut text = |map: &mut A| -> Result<Option<Cow<'de, str>>, A::Error> {
                let Text { text, is_odd } = map.next_value()?;
                delta.is_odd |= is_odd;
                Ok(text)
            };
            match &*name {
                "role" => {
                    map.next_value::<IgnoredAny>()?;
                }
                "content" => delta.content = text(&mut map)?,
                "reasoning_content" => delta.reasoning_content = text(&mut map)?,
                "reasoning" | "reasoning_text" | "thinking" => {
                    delta.reasoning = text(&mut map)?.or_else(|| delta.reasoning.take());
                }
                "tool_calls" => delta.tool_calls = map.next_value()?,
                "function_call" => delta.function_call = map.next_value()?,
                _ => {
                    // Kept as it is, whatever the server means by it.
                    if let Some(value) = map.next_value::<Option<Value>>()? {
                        delta.others.insert(name.into_owned(), value);
                    }
                }
            }
        }
        Ok(delta)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A string or null; any other value is odd, and no error.
#[derive(Default)]
struct Text<'a> {
    text: Option<Cow<'a, str>>,
    is_odd: bool,
}

impl Text<'_> {
    const ODD: Self = Text {
        text: None,
        is_odd: true,
    };
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyText)
    }
}

struct AnyText;

impl<'de> Visitor<'de> for AnyText {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text {
            text: Some(Cow::Borrowed(text)),
            is_odd: false,
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text {
            text: Some(Cow::Owned(text.to_owned())),
            is_odd: false,
        })
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
        Ok(Text::ODD)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
        Ok(Text::ODD)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
        Ok(Text::ODD)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
        Ok(Text::ODD)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text<'de>, A::Error> {
        // Read to the end, so that the reader goes on behind it.
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::ODD)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::ODD)
    }
}
