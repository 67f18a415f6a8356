//! Members that chat completions write in several forms, or of which only a little is looked at.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::chat::Text;

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
            // A list that is too long is read to its end all the same: `serde` takes a sequence that stops early for a
            // wrong body.
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

/// `thinking`: an object with `type` and perhaps `budget_tokens`, or a boolean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thinking {
    pub(super) is_on: bool,
    pub(super) budget: Option<i64>,
}

impl<'de> Deserialize<'de> for Thinking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum Name {
            Type,
            BudgetTokens,
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
                Ok(Thinking {
                    is_on,
                    budget: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Thinking, A::Error> {
                let (mut kind, mut budget): (Option<String>, Option<Option<i64>>) = (None, None);
                while let Some(name) = map.next_key()? {
                    match name {
                        // As every member that stands twice ([`crate::http::reading`] puts it right), so that nobody
                        // reads another one than we do.
                        Name::Type if kind.is_some() => {
                            return Err(de::Error::duplicate_field("type"));
                        }
                        Name::Type => kind = Some(map.next_value()?),
                        Name::BudgetTokens if budget.is_some() => {
                            return Err(de::Error::duplicate_field("budget_tokens"));
                        }
                        Name::BudgetTokens => budget = Some(map.next_value()?),
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                let kind = kind.ok_or_else(|| de::Error::missing_field("type"))?;
                Ok(Thinking {
                    is_on: kind != "disabled",
                    budget: budget.flatten(),
                })
            }
        }

        deserializer.deserialize_any(ThinkingVisitor)
    }
}
