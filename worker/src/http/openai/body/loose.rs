//! Members of a request that are only looked at: whether they have the right form and ask for something. What is inside of
//! them stays as it is written, because two bytes of JSON (`0,`) would become a value of 32.

use std::{fmt, marker::PhantomData};

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
pub(super) struct Passed {
    pub(super) json: Json,
    pub(super) is_empty: bool,
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
pub(super) struct Word(pub(super) Option<Text>);

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

/// Nobody knows so many kinds of answers.
const MOST_MODALITIES: usize = 8;

/// `modalities`: an array of words.
#[derive(Clone, Debug)]
pub(super) struct Modalities {
    /// The first of them.
    pub(super) words: Vec<Text>,
    pub(super) is_text_only: bool,
}

impl<'de> Deserialize<'de> for Modalities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut words, mut is_text_only) = (Vec::new(), true);
        each(deserializer, |word: Text| {
            is_text_only &= &*word == "text";
            if words.len() < MOST_MODALITIES {
                words.push(word);
            }
        })?;
        Ok(Self {
            words,
            is_text_only,
        })
    }
}

/// Takes the items of an array one by one.
fn each<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    take: impl FnMut(T),
) -> Result<(), D::Error> {
    struct EachVisitor<T, F>(F, PhantomData<T>);

    impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for EachVisitor<T, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(item) = seq.next_element()? {
                (self.0)(item);
            }
            Ok(())
        }
    }

    deserializer.deserialize_seq(EachVisitor(take, PhantomData))
}

/// `stop`: a string or an array of strings, of which no more are kept than show that they are too many.
#[derive(Clone, Debug)]
pub(super) struct Stop(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Stop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StopVisitor;

        impl<'de> Visitor<'de> for StopVisitor {
            type Value = Stop;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: de::Error>(self, stop: &str) -> Result<Stop, E> {
                Ok(Stop(vec![stop.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Stop, A::Error> {
                let mut stops = Vec::new();
                while let Some(stop) = seq.next_element::<String>()? {
                    if stops.len() <= super::members::MAX_STOPS {
                        stops.push(stop);
                    }
                }
                Ok(Stop(stops))
            }
        }

        deserializer.deserialize_any(StopVisitor)
    }
}

/// `thinking`: an object with `type`, or a boolean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thinking {
    pub(super) is_on: bool,
}

impl<'de> Deserialize<'de> for Thinking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "lowercase")]
        enum Name {
            Type,
            #[serde(other)]
            Other,
        }

        struct ThinkingVisitor;

        impl<'de> Visitor<'de> for ThinkingVisitor {
            type Value = Thinking;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `type`, or a boolean")
            }

            fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<Thinking, E> {
                Ok(Thinking { is_on })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Thinking, A::Error> {
                let mut kind: Option<String> = None;
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::Type if kind.is_some() => {
                            return Err(de::Error::duplicate_field("type"));
                        }
                        Name::Type => kind = Some(map.next_value()?),
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                let kind = kind.ok_or_else(|| de::Error::missing_field("type"))?;
                Ok(Thinking {
                    is_on: kind != "disabled",
                })
            }
        }

        deserializer.deserialize_any(ThinkingVisitor)
    }
}
