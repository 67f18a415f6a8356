//! A message as chat completions write it: lenient where clients differ (conformance H8) and strict about types (H7).
//!
//! The types have the names of those of [`crate::chat`] that they become, because complaints about a body name them.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::part;
use crate::{
    chat::{self, Content, Role, Text, message::Reasoning, text},
    http::reading::Word,
};

/// One message of the conversation.
#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(with = "Speaker")]
    role: Role,
    /// Absent and null count as empty.
    #[serde(default)]
    content: Said,
    name: Option<String>,
    #[serde(default, deserialize_with = "counted::<_, ToolCall<'_>, _>")]
    tool_calls: Option<Vec<chat::message::ToolCall>>,
    /// OpenAI's older form of one call, without an id.
    #[serde(default, deserialize_with = "older_call")]
    function_call: Option<FunctionCall>,
    tool_call_id: Option<String>,
    /// Where the services that think keep it.
    #[serde(default)]
    reasoning_content: Word,
    /// The same at routers.
    #[serde(default)]
    reasoning: Word,
}

/// Who speaks.
#[derive(Deserialize)]
#[serde(remote = "Role", rename_all = "lowercase")]
enum Speaker {
    Developer,
    System,
    User,
    Assistant,
    Tool,
    Function,
}

/// A tool call in the history.
#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    id: String,
    function: Option<FunctionCall>,
    #[serde(borrow)]
    custom: Option<&'a RawValue>,
}

/// Name and arguments of a call.
#[derive(Deserialize)]
struct FunctionCall {
    name: String,
    /// JSON text; as such also where a client sends the object itself.
    #[serde(default, deserialize_with = "arguments")]
    arguments: Text,
}

impl From<Message> for chat::Message {
    fn from(read: Message) -> Self {
        // The first as DeepSeek and its like have it; both are sent by clients that do not know whom they talk to.
        let thought = read.reasoning_content.0.or(read.reasoning.0);
        let thought = thought.filter(|text| !text.is_empty());
        Self {
            role: read.role,
            content: read.content.0,
            name: read.name,
            tool_calls: read.tool_calls.or_else(|| {
                let FunctionCall { name, arguments } = read.function_call?;
                Some(vec![chat::message::ToolCall {
                    // The older form has none; the engine gives one where a dialect needs it.
                    id: String::new(),
                    is_custom: false,
                    function: Some(chat::message::FunctionCall { name, arguments }),
                }])
            }),
            tool_call_id: read.tool_call_id,
            is_error: false,
            reasoning: thought.map(|text| {
                Box::new(Reasoning {
                    text,
                    signature: None,
                })
            }),
        }
    }
}

impl From<ToolCall<'_>> for chat::message::ToolCall {
    fn from(read: ToolCall<'_>) -> Self {
        /// A call with a free text; whatever has another form is a call that we do not know.
        #[derive(Deserialize)]
        struct Custom {
            name: String,
            #[serde(default)]
            input: Text,
        }

        // Read only where there is no `function`: a member of that name may be anything to another API.
        let custom = || serde_json::from_str::<Custom>(read.custom?.get()).ok();
        let (function, is_custom) = match read.function {
            Some(FunctionCall { name, arguments }) => (Some((name, arguments)), false),
            None => {
                let custom = custom();
                let is_custom = custom.is_some();
                (
                    custom.map(|Custom { name, input }| (name, input)),
                    is_custom,
                )
            }
        };
        Self {
            id: read.id,
            is_custom,
            function: function
                .map(|(name, arguments)| chat::message::FunctionCall { name, arguments }),
        }
    }
}

/// An array of `R`, or null for none, each item of which counts among the pieces of the conversation ([`text::reading`]).
pub(super) fn counted<'de, D: Deserializer<'de>, R: Deserialize<'de> + Into<T>, T>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    struct CountedVisitor<R, T>(PhantomData<(R, T)>);

    impl<'de, R: Deserialize<'de> + Into<T>, T> Visitor<'de> for CountedVisitor<R, T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element::<R>()? {
                text::count_piece()?;
                items.push(item.into());
            }
            Ok(Some(items))
        }
    }

    deserializer.deserialize_any(CountedVisitor::<R, T>(PhantomData))
}

/// What has another form is a call that we do not know, as before there was any.
fn older_call<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<FunctionCall>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    // Refused, a conversation that went on with another gateway would be lost for an old message of it.
    Ok(serde_json::from_str(raw.get()).ok())
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

/// A content, as it is read.
#[derive(Default)]
pub(in crate::http::openai) struct Said(pub(in crate::http::openai) Content);

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Said;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of content parts, or null")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Said, E> {
                Ok(Said(Content::Text(Text::borrowed(text))))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Said, E> {
                Ok(Said(Content::Text(text.into())))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Said, E> {
                Ok(Said(Content::Text(text.into())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Said, E> {
                Ok(Said(Content::Empty))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Said, A::Error> {
                // A stranger's length is a hint: room for what is usual, and no more before it has come.
                let mut parts = Vec::with_capacity(seq.size_hint().unwrap_or(1).min(64));
                // Counted one by one, so that a million tiny parts end the reading and not the memory.
                while let Some(part::Read(part)) = seq.next_element()? {
                    text::count_piece()?;
                    parts.push(part);
                }
                Ok(Said(Content::Parts(parts)))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> chat::Message {
        serde_json::from_str::<Message>(json).unwrap().into()
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

    #[test]
    fn calls_with_a_free_text_are_calls() {
        let read = message(
            r#"{"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{"name":"f","input":"a\nb"}},{"id":"d","type":"custom","custom":5}]}"#,
        );
        let calls = read.tool_calls.unwrap();
        let called = calls[0].function.as_ref().unwrap();
        assert!(calls[0].is_custom);
        assert_eq!((called.name.as_str(), &*called.arguments), ("f", "a\nb"));
        assert_eq!(calls[1].function, None);
    }

    #[test]
    fn earlier_thoughts_are_kept_whatever_they_are_called() {
        for (member, expected) in [
            (r#""reasoning_content":"hm""#, Some("hm")),
            (r#""reasoning":"hm""#, Some("hm")),
            (
                r#""reasoning":{"effort":"low"},"reasoning_content":null"#,
                None,
            ),
            (r#""reasoning":"""#, None),
        ] {
            let read = message(&format!(r#"{{"role":"assistant","content":"a",{member}}}"#));
            let thought = read.reasoning.map(|thought| thought.text.to_string());
            assert_eq!(thought.as_deref(), expected, "{member}");
        }
    }
}
