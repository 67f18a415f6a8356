//! The `delta` of a chunk (or the `message` of a whole completion), which any server may extend. Source: OpenAI's public
//! API reference.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::chat::{ChatEvent, ToolCallDelta};

/// What has an event of its own, and the rest as it is.
#[derive(Debug, Default)]
pub(super) struct Delta<'a> {
    content: Option<Cow<'a, str>>,
    reasoning_content: Option<Cow<'a, str>>,
    /// Another spelling of `reasoning_content`; servers that send both send the same text in both.
    reasoning: Option<Cow<'a, str>>,
    tool_calls: Option<Value>,
    /// Without nulls.
    others: Map<String, Value>,
}

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Default, Deserialize)]
struct Function {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

impl Delta<'_> {
    /// The text and whether it is reasoning, if this is a piece of text and nothing else.
    pub(super) fn only_text(&self) -> Option<(&str, bool)> {
        if self.tool_calls.is_some() || !self.others.is_empty() {
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

    /// What it says, in order.
    pub(super) fn events(self, events: &mut Vec<ChatEvent>) {
        let text =
            |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(Cow::into_owned);
        let reasoning = text(self.reasoning_content).or_else(|| text(self.reasoning));
        events.extend(reasoning.map(ChatEvent::Reasoning));
        events.extend(text(self.content).map(ChatEvent::Text));
        let calls = self
            .tool_calls
            .map(Vec::<Call>::deserialize)
            .and_then(Result::ok);
        for (at, call) in calls.into_iter().flatten().enumerate() {
            let function = call.function.unwrap_or_default();
            events.push(ChatEvent::ToolCall(ToolCallDelta {
                index: call
                    .index
                    .unwrap_or_else(|| u32::try_from(at).unwrap_or_default()),
                id: call.id.filter(|id| !id.is_empty()),
                name: function.name.filter(|name| !name.is_empty()),
                arguments: function.arguments.unwrap_or_default(),
            }));
        }
        if !self.others.is_empty() {
            events.push(ChatEvent::Extra(self.others));
        }
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
            match &*name {
                "role" => {
                    map.next_value::<IgnoredAny>()?;
                }
                "content" => delta.content = map.next_value::<Text<'_>>()?.0,
                "reasoning_content" => delta.reasoning_content = map.next_value::<Text<'_>>()?.0,
                "reasoning" => delta.reasoning = map.next_value::<Text<'_>>()?.0,
                "tool_calls" => delta.tool_calls = map.next_value()?,
                _ => {
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

/// A string; any other value is no text and no error.
struct Text<'a>(Option<Cow<'a, str>>);

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
        Ok(Text(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}
