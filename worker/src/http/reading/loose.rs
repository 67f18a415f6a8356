//! Members of a request that are only looked at: whether they have the right form and ask for something. What is inside of
//! them stays as it is written, because two bytes of JSON (`0,`) would become a value of 32.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::chat::{Json, Text};

/// An object that is not looked into.
#[derive(Clone, Copy, Debug)]
struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// An object that passes through as it is written.
#[derive(Clone, Debug)]
pub(in crate::http) struct Passed {
    pub(in crate::http) json: Json,
    pub(in crate::http) is_empty: bool,
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        // Anything else is read a second time, to say what it is.
        let Some(inside) = raw.get().strip_prefix('{') else {
            serde_json::from_str::<Object>(raw.get()).map_err(de::Error::custom)?;
            return Err(de::Error::custom("not a map"));
        };
        Ok(Self {
            json: Json::of(raw),
            is_empty: inside.trim_start().starts_with('}'),
        })
    }
}

/// A text where a text is understood; whatever else stands there hurts nobody.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Word(pub(in crate::http) Option<Text>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordVisitor;

        impl<'de> Visitor<'de> for WordVisitor {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Word, E> {
                Ok(Word(Some(Text::borrowed(text))))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word, E> {
                Ok(Word(Some(text.into())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Word(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Word(None))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Word, E> {
                Ok(Word(None))
            }
        }

        deserializer.deserialize_any(WordVisitor)
    }
}
