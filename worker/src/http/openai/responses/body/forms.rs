//! Members of the body that have several forms, or are kept as they are written. Source: doors.md section 4.

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{item::Item, tool::Given};
use crate::chat::Text;

/// `input`: a text, or items.
pub(super) enum Input {
    Text(Text),
    Items(Vec<Item>),
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InputVisitor;

        impl<'de> de::Visitor<'de> for InputVisitor {
            type Value = Input;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or an array of items")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Input, E> {
                Ok(Input::Text(Text::borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Input, E> {
                Ok(Input::Text(text.into()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Input, E> {
                Ok(Input::Text(text.into()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Input, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Input::Items(items))
            }
        }

        deserializer.deserialize_any(InputVisitor)
    }
}

/// `tools`, read, and as they are written.
pub(super) struct Tools<'a> {
    pub(super) given: Vec<Given>,
    pub(super) raw: &'a RawValue,
}

impl<'de: 'a, 'a> Deserialize<'de> for Tools<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        // Read from what it is written as, which is kept for the echo: written anew it would differ in order and
        // numbers.
        let given = serde_json::from_str(raw.get()).map_err(de::Error::custom)?;
        Ok(Self { given, raw })
    }
}
