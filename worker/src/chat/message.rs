//! The messages of a chat request, lenient where clients differ (conformance H8) and strict about types (H7).

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use super::text::Text;

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
    /// The arguments as JSON text.
    #[serde(default)]
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

/// One part of an array content.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// `{"type":"text","text":…}`; `input_text` and `output_text` are the same in other dialects.
    #[serde(alias = "input_text", alias = "output_text")]
    Text {
        /// The text.
        text: Text,
    },
    /// An assistant's refusal in the history.
    Refusal {
        /// The text of the refusal.
        refusal: Text,
    },
    /// A picture by URL or data URL.
    ImageUrl {
        /// The URL, in OpenAI's object or as some clients write it, bare.
        image_url: ImageUrl,
    },
    /// A document by data URL or URL.
    File {
        /// Where the bytes are. Some clients keep the type and write `file_url`.
        #[serde(alias = "file_url")]
        file: File,
    },
    /// A document by URL, as the *-free-api projects spell it.
    FileUrl {
        /// The URL.
        file_url: ImageUrl,
    },
    /// Sound, which no provider takes yet.
    InputAudio {
        /// The sound.
        input_audio: de::IgnoredAny,
    },
}

/// `{"url":…}` or the bare URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum ImageUrl {
    /// OpenAI's form.
    Object {
        /// An https URL or a data URL.
        url: Text,
    },
    /// A bare string.
    Bare(Text),
}

impl ImageUrl {
    /// The URL itself.
    pub fn url(&self) -> &str {
        match self {
            Self::Object { url } | Self::Bare(url) => url,
        }
    }
}

/// A document in a message.
#[derive(Clone, Debug, Deserialize)]
pub struct File {
    /// The bytes, as a data URL or plain base64.
    pub file_data: Option<Text>,
    /// The document's name.
    pub filename: Option<String>,
    /// Where the document is, for clients that write `{"type":"file","file_url":{"url":…}}`.
    pub url: Option<String>,
    /// A file uploaded before; this gateway keeps no files.
    pub file_id: Option<String>,
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

    /// The parts that are no text: pictures, documents, sound.
    pub fn attachments(&self) -> impl Iterator<Item = &Part> {
        let parts: &[Part] = match &self.content {
            Content::Parts(parts) => parts,
            Content::Empty | Content::Text(_) => &[],
        };
        parts.iter().filter(|part| part.text().is_none())
    }
}

impl Part {
    /// The text of a text part.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text } | Self::Refusal { refusal: text } => Some(text),
            Self::ImageUrl { .. }
            | Self::File { .. }
            | Self::FileUrl { .. }
            | Self::InputAudio { .. } => None,
        }
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
                    parts.push(part);
                }
                Ok(Content::Parts(parts))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

/// Removes Markdown pictures (`![…](…)`) from a text, so that dead signed links of earlier answers are not sent
/// back. Source: wire/qwen.md section 4.3, wire/xinghuo.md section 4.4.
pub fn without_pictures(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((start, end)) = find_picture(rest) {
        kept.push_str(rest.get(..start).unwrap_or_default());
        rest = rest.get(end..).unwrap_or_default();
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Byte range of the first `![…](…)`.
fn find_picture(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.find("![")?;
        let label = text.get(start..)?;
        let picture = label
            .find("](")
            .filter(|&middle| !label.get(2..middle).unwrap_or("[").contains(['[', '\n']))
            .and_then(|middle| {
                let link = label.get(middle..)?;
                let close = link.find(')')?;
                (!link.get(..close)?.contains('\n')).then_some((start, start + middle + close + 1))
            });
        if picture.is_some() {
            return picture;
        }
        from = start + 2;
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
    fn a_document_may_be_a_url() {
        for part in [
            r#"{"type":"file","file_url":{"url":"u"}}"#,
            r#"{"type":"file","file":{"url":"u"}}"#,
        ] {
            let Ok(Part::File { file }) = serde_json::from_str(part) else {
                panic!("{part}")
            };
            assert_eq!(file.url.as_deref(), Some("u"));
        }
    }
}
