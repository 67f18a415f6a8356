//! One part of a message's content, in OpenAI's words and in those of the dialects around it: `input_text` and
//! `output_text` are texts as well, and some clients write the bare string.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::chat::{Detail, File, Part, Text, Url};

/// The members of a part and of what is inside `image_url`, `file` and `file_url`.
#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Type,
    Text,
    Refusal,
    ImageUrl,
    File,
    FileUrl,
    FileData,
    Filename,
    Url,
    Detail,
    #[serde(other)]
    Other,
}

/// What is inside `image_url`, `file` and `file_url`.
struct Inside {
    file: File,
    detail: Option<Text>,
}

/// A member whose form depends on a type that may stand behind it.
#[derive(Default)]
enum Loose {
    #[default]
    Absent,
    Text(Text),
    Object(Box<Inside>),
    Other,
}

impl Loose {
    fn text(self) -> Option<Text> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Object(_) | Self::Other => None,
        }
    }

    /// `{"url":…}` or the bare URL.
    fn url(self) -> Option<Url> {
        match self {
            Self::Text(text) => Some(Url::new(text)),
            Self::Object(inside) => inside.file.url.map(Url::new),
            Self::Absent | Self::Other => None,
        }
    }

    fn file(self) -> File {
        match self {
            Self::Object(inside) => inside.file,
            Self::Absent | Self::Text(_) | Self::Other => File::default(),
        }
    }

    /// Takes a member that has not been there yet. One that stands twice is an error here and is put right elsewhere
    /// ([`crate::http::reading`]), so that nobody reads another one than we do.
    fn fill<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        name: &'static str,
    ) -> Result<(), A::Error> {
        if !matches!(self, Self::Absent) {
            // Before its value is read: the body is read again as put right, and the first reading costs no more than
            // it must.
            return Err(de::Error::duplicate_field(name));
        }
        *self = map.next_value()?;
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LooseVisitor;

        impl<'de> Visitor<'de> for LooseVisitor {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Loose, E> {
                Ok(Loose::Text(Text::borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose::Text(text.into()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Loose, E> {
                Ok(Loose::Text(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
                let (mut data, mut name) = (Loose::default(), Loose::default());
                let (mut url, mut detail) = (Loose::default(), Loose::default());
                while let Some(key) = map.next_key()? {
                    match key {
                        Name::FileData => data.fill(&mut map, "file_data")?,
                        Name::Filename => name.fill(&mut map, "filename")?,
                        Name::Url => url.fill(&mut map, "url")?,
                        Name::Detail => detail.fill(&mut map, "detail")?,
                        Name::Type
                        | Name::Text
                        | Name::Refusal
                        | Name::ImageUrl
                        | Name::File
                        | Name::FileUrl
                        | Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(Loose::Object(Box::new(Inside {
                    file: File {
                        file_data: data.text(),
                        filename: name.text(),
                        url: url.text(),
                    },
                    detail: detail.text(),
                })))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose::Other)
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Loose, E> {
                Ok(Loose::Other)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Loose, E> {
                Ok(Loose::Other)
            }
        }

        deserializer.deserialize_any(LooseVisitor)
    }
}

fn detail(word: &str) -> Option<Detail> {
    match word {
        "auto" => Some(Detail::Auto),
        "low" => Some(Detail::Low),
        "high" => Some(Detail::High),
        _ => None,
    }
}

/// A part, as it is read.
pub(super) struct Read(pub(super) Part);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PartVisitor;

        impl<'de> Visitor<'de> for PartVisitor {
            type Value = Read;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `type`, or a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Read, E> {
                let text = Text::borrowed(text);
                Ok(Read(Part::Text { text }))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Read, E> {
                Ok(Read(Part::Text { text: text.into() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Read, A::Error> {
                Members::read(map)?.into_part().map(Read)
            }
        }

        deserializer.deserialize_any(PartVisitor)
    }
}

/// A part's members, in whatever order they stood.
#[derive(Default)]
struct Members {
    kind: Loose,
    text: Loose,
    refusal: Loose,
    image_url: Loose,
    file: Loose,
    file_url: Loose,
    file_data: Loose,
    filename: Loose,
    detail: Loose,
}

impl Members {
    fn read<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut it = Self::default();
        while let Some(name) = map.next_key()? {
            match name {
                Name::Type => it.kind.fill(&mut map, "type")?,
                Name::Text => it.text.fill(&mut map, "text")?,
                Name::Refusal => it.refusal.fill(&mut map, "refusal")?,
                Name::ImageUrl => it.image_url.fill(&mut map, "image_url")?,
                Name::File => it.file.fill(&mut map, "file")?,
                Name::FileUrl => it.file_url.fill(&mut map, "file_url")?,
                Name::FileData => it.file_data.fill(&mut map, "file_data")?,
                Name::Filename => it.filename.fill(&mut map, "filename")?,
                Name::Detail => it.detail.fill(&mut map, "detail")?,
                Name::Url | Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(it)
    }

    fn into_part<E: de::Error>(self) -> Result<Part, E> {
        let kind = match self.kind {
            Loose::Text(kind) => kind,
            // Some clients leave the type of a text out.
            // Missing alone is forgiven; any other type without `type` could be taken for the wrong one.
            Loose::Absent if matches!(self.text, Loose::Text(_)) => "text".into(),
            Loose::Absent => return Err(E::missing_field("type")),
            Loose::Object(_) | Loose::Other => {
                return Err(E::custom("'type' must be a string"));
            }
        };
        match &*kind {
            "text" | "input_text" | "output_text" => {
                let text = self.text.text();
                let text = text.ok_or_else(|| E::custom("'text' must be a string"))?;
                Ok(Part::Text { text })
            }
            "refusal" => {
                let refusal = self.refusal.text();
                let refusal = refusal.ok_or_else(|| E::custom("'refusal' must be a string"))?;
                Ok(Part::Refusal { refusal })
            }
            "image_url" => {
                let detail = match &self.image_url {
                    // An unknown `detail` is none: it only says how closely to look, and is no reason to refuse a
                    // picture.
                    Loose::Object(inside) => inside.detail.as_deref().and_then(detail),
                    Loose::Absent | Loose::Text(_) | Loose::Other => None,
                };
                let image_url = self.image_url.url();
                let image_url = image_url.ok_or_else(|| {
                    E::custom("'image_url' must be a string or an object with 'url'")
                })?;
                Ok(Part::ImageUrl { image_url, detail })
            }
            // May name a file of the upstream's instead.
            "input_image" => {
                let detail = self.detail.text().as_deref().and_then(detail);
                Ok(match self.image_url.url() {
                    Some(image_url) => Part::ImageUrl { image_url, detail },
                    // It is refused only behind the last answer (`odd_part`): an old reference in the history must not
                    // end a conversation.
                    None => Part::Other { kind },
                })
            }
            "file_url" => {
                let file_url = self.file_url.url();
                let file_url = file_url.ok_or_else(|| {
                    E::custom("'file_url' must be a string or an object with 'url'")
                })?;
                Ok(Part::FileUrl { file_url })
            }
            "file" | "input_file" => {
                let mut file = self.file.file();
                // Flat, as another dialect has them.
                file.file_data = file.file_data.or_else(|| self.file_data.text());
                file.filename = file.filename.or_else(|| self.filename.text());
                file.url = file.url.or_else(|| self.file_url.url().map(Url::into_text));
                // An id of a file alone leads to nothing here, and the whole document may still be at an upstream of
                // the same dialect, which gets the body as it is.
                Ok(if file.file_data.is_none() && file.url.is_none() {
                    Part::Other { kind }
                } else {
                    Part::File {
                        file: Box::new(file),
                    }
                })
            }
            _ => Ok(Part::Other { kind }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(json: &str) -> Result<Part, String> {
        serde_json::from_str::<Read>(json)
            .map(|Read(part)| part)
            .map_err(|error| error.to_string())
    }

    fn kind(json: &str) -> String {
        match part(json) {
            Ok(Part::Other { kind }) => kind.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_understood_is_kept_by_name() {
        for (name, json) in [
            (
                "thinking",
                r#"{"type":"thinking","thinking":"hm","signature":"c2ln"}"#,
            ),
            (
                "redacted_thinking",
                r#"{"data":[[{}]],"type":"redacted_thinking"}"#,
            ),
            ("reasoning", r#"{"type":"reasoning","text":5,"summary":[]}"#),
            (
                "tool_use",
                r#"{"type":"tool_use","id":"t","name":"f","input":{"a":1}}"#,
            ),
            (
                "tool_result",
                r#"{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"4"}]}"#,
            ),
            (
                "video_url",
                r#"{"type":"video_url","video_url":{"url":"https://e/v"}}"#,
            ),
            (
                "input_audio",
                r#"{"type":"input_audio","input_audio":{"data":"UklG","format":"wav"}}"#,
            ),
            (
                "input_image",
                r#"{"type":"input_image","file_id":"f","image_url":null}"#,
            ),
            ("file", r#"{"type":"file","file":{"file_id":"f"}}"#),
        ] {
            assert_eq!(kind(json), name);
        }
    }

    #[test]
    fn other_dialects_say_the_same_in_other_words() {
        let text = |text: &str| Part::Text { text: text.into() };
        for (json, expected) in [
            (r#"{"text":"a","type":"input_text"}"#, text("a")),
            (
                r#"{"type":"output_text","text":"\n","annotations":[]}"#,
                text("\n"),
            ),
            (r#"{"text":"a"}"#, text("a")),
            (r#""bare""#, text("bare")),
            (
                r#"{"type":"input_image","image_url":"u","detail":"auto"}"#,
                Part::ImageUrl {
                    image_url: Url::new("u"),
                    detail: Some(Detail::Auto),
                },
            ),
            (
                r#"{"type":"image_url","image_url":{"detail":"low","url":"u"}}"#,
                Part::ImageUrl {
                    image_url: Url::new("u"),
                    detail: Some(Detail::Low),
                },
            ),
            (
                r#"{"type":"input_file","filename":"a.txt","file_data":"YQ=="}"#,
                Part::File {
                    file: Box::new(File {
                        file_data: Some("YQ==".into()),
                        filename: Some("a.txt".into()),
                        url: None,
                    }),
                },
            ),
        ] {
            assert_eq!(part(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn a_document_may_be_a_url() {
        for json in [
            r#"{"type":"file","file_url":{"url":"u"}}"#,
            r#"{"type":"file","file":{"url":"u"}}"#,
        ] {
            let Ok(Part::File { file }) = part(json) else {
                panic!("{json}")
            };
            assert_eq!(file.url.as_deref(), Some("u"));
        }
    }

    #[test]
    fn what_is_understood_must_have_its_form() {
        for json in [
            r#"{"type":"text","text":5}"#,
            r#"{"type":"text"}"#,
            r#"{"type":"image_url","image_url":[]}"#,
            r#"{"type":5,"text":"a"}"#,
            r#"{"type":"text","text":"a","text":"b"}"#,
            "{}",
            "5",
            "[]",
        ] {
            assert!(part(json).is_err(), "{json}");
        }
    }
}
