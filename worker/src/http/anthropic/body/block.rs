//! The blocks of a message's content, as Anthropic's dialect writes them. What only Anthropic's own service understands is
//! kept by name, to be reported: no block is ever a reason to refuse a request, unless something would be missing without
//! it. Source: Anthropic's public API reference (Messages).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::loose::Loose;
use crate::{
    chat::{
        File, Json, Part, Text, Url,
        message::{FunctionCall, Reasoning, ToolCall},
        text,
    },
    http::reading::Word,
};

/// One block, as far as it means something here. Boxed where it is large: a conversation has thousands.
#[derive(Debug)]
pub(super) enum Block {
    /// Text, a picture, a document.
    Part(Part),
    /// A call that the assistant made.
    Call(Box<ToolCall>),
    /// What became of one.
    Result(Box<ToolResult>),
    /// What the assistant thought.
    Thought(Box<Reasoning>),
    /// A search of tools has found the one of this name.
    Found(Text),
    /// Nothing that anybody here could make use of; its type.
    Foreign(Text),
}

/// `tool_result`.
#[derive(Debug)]
pub(super) struct ToolResult {
    pub(super) id: String,
    pub(super) content: Vec<Block>,
    pub(super) is_error: bool,
}

/// A content: a string, which is one text, or an array of blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks(pub(super) Vec<Block>);

impl Blocks {
    fn text(text: Text) -> Self {
        Self(vec![Block::Part(Part::Text { text })])
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlocksVisitor;

        impl<'de> Visitor<'de> for BlocksVisitor {
            type Value = Blocks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of content blocks")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Blocks, E> {
                Ok(Blocks::text(Text::borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blocks, E> {
                Ok(Blocks::text(text.into()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Blocks, E> {
                Ok(Blocks::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Blocks, A::Error> {
                let mut blocks = Vec::new();
                while let Some(members) = seq.next_element::<Members>()? {
                    // Blocks count as messages do, at whatever depth: a body of a few megabytes could hold a million of
                    // them.
                    text::count_piece()?;
                    blocks.push(members.into_block()?);
                }
                Ok(Blocks(blocks))
            }
        }

        deserializer.deserialize_any(BlocksVisitor)
    }
}

/// The same where another type of block may have something else: that is nothing then.
#[derive(Debug, Default)]
struct Inside(Vec<Block>);

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// An item of a list that is no content may be anything.
        struct Item(Option<Block>);

        impl<'de> Deserialize<'de> for Item {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let members = Loose::<Members>::deserialize(deserializer)?;
                Ok(Self(match members {
                    // Without a type it is a list of something else, whose items nobody here can name.
                    Loose::Object(members) if members.kind.0.is_some() => {
                        Some(members.into_block()?)
                    }
                    Loose::Object(_) | Loose::Text(_) | Loose::Other => None,
                }))
            }
        }

        struct InsideVisitor;

        impl<'de> Visitor<'de> for InsideVisitor {
            type Value = Inside;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Inside, E> {
                Ok(Inside(Blocks::text(Text::borrowed(text)).0))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Inside, E> {
                Ok(Inside(Blocks::text(text.into()).0))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Inside, A::Error> {
                let mut blocks = Vec::new();
                while let Some(Item(block)) = seq.next_element()? {
                    text::count_piece()?;
                    blocks.extend(block);
                }
                Ok(Inside(blocks))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inside, A::Error> {
                // Read to its end: the reader goes on behind it.
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Inside::default())
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Inside, E> {
                Ok(Inside::default())
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Inside, E> {
                Ok(Inside::default())
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Inside, E> {
                Ok(Inside::default())
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Inside, E> {
                Ok(Inside::default())
            }

            fn visit_unit<E: de::Error>(self) -> Result<Inside, E> {
                Ok(Inside::default())
            }
        }

        deserializer.deserialize_any(InsideVisitor)
    }
}

/// The members of all blocks together. Those of one type may mean something else in another, so they are loose, and looked
/// at when the type is known.
#[derive(Debug, Deserialize)]
struct Members {
    #[serde(rename = "type", default)]
    kind: Word,
    #[serde(default)]
    text: Word,
    #[serde(default)]
    thinking: Word,
    #[serde(default)]
    signature: Word,
    #[serde(default)]
    source: Loose<Source>,
    #[serde(default)]
    title: Word,
    #[serde(default)]
    context: Word,
    #[serde(default)]
    content: Inside,
    #[serde(default)]
    id: Word,
    #[serde(default)]
    name: Word,
    #[serde(default)]
    input: Option<Json>,
    #[serde(default)]
    tool_use_id: Word,
    #[serde(default)]
    is_error: Option<Json>,
    #[serde(default)]
    tool_name: Word,
}

/// Where a picture or a document is.
#[derive(Debug, Deserialize)]
struct Source {
    #[serde(rename = "type", default)]
    kind: Word,
    #[serde(default)]
    media_type: Word,
    #[serde(default)]
    data: Word,
    #[serde(default)]
    url: Word,
    #[serde(default)]
    content: Inside,
}

impl Members {
    fn into_block<E: de::Error>(self) -> Result<Block, E> {
        let missing = |member: &str, kind: &str| {
            E::custom(format_args!("a block of type '{kind}' needs '{member}'"))
        };
        let kind = self.kind.0.clone();
        // Only the type is ever missed here: what it is decides what else must be there.
        let kind = kind.ok_or_else(|| E::custom("a block needs a 'type', which is a string"))?;
        match &*kind {
            // Its text is what would be missing without a word.
            "text" => {
                let text = self.text.0.ok_or_else(|| missing("text", "text"))?;
                Ok(Block::Part(Part::Text { text }))
            }
            "image" => self.image(),
            "document" => self.document(),
            "search_result" => {
                let address = match self.source {
                    Loose::Text(address) => Some(address),
                    Loose::Object(_) | Loose::Other => None,
                };
                let heads = [self.title.0, address];
                Ok(labelled(heads, texts(&self.content.0)))
            }
            "thinking" => Ok(Block::Thought(Box::new(Reasoning {
                text: self.thinking.0.unwrap_or_default(),
                // An empty seal is what streams begin with, and seals nothing.
                signature: self.signature.0.filter(|seal| !seal.is_empty()),
            }))),
            "tool_use" => {
                let name = self.name.0.ok_or_else(|| missing("name", "tool_use"))?;
                // As it is written, not as a value: the arguments travel as text anyway.
                let input = self.input.as_ref().map_or("{}", Json::get);
                Ok(Block::Call(Box::new(ToolCall {
                    // An id that is missing is no reason to refuse: the result's has to match it, whatever it is.
                    id: self.id.0.unwrap_or_default().to_string(),
                    is_custom: false,
                    function: Some(FunctionCall {
                        name: name.to_string(),
                        arguments: Text::borrowed(input),
                    }),
                })))
            }
            "tool_result" => {
                let id = self.tool_use_id.0;
                let id = id.ok_or_else(|| missing("tool_use_id", "tool_result"))?;
                Ok(Block::Result(Box::new(ToolResult {
                    id: id.to_string(),
                    content: self.content.0,
                    // Anything but `true` is not true, also what is no boolean.
                    is_error: self.is_error.is_some_and(|it| it.get() == "true"),
                })))
            }
            "tool_reference" => {
                let name = self.tool_name.0;
                let name = name.ok_or_else(|| missing("tool_name", "tool_reference"))?;
                Ok(Block::Found(name))
            }
            // `redacted_thinking`, the calls of Anthropic's own tools and their results, and whatever comes next.
            _ => Ok(Block::Foreign(kind)),
        }
    }

    fn image<E: de::Error>(self) -> Result<Block, E> {
        let Loose::Object(source) = self.source else {
            return Err(E::custom("a block of type 'image' needs 'source'"));
        };
        let image = match source.kind.0.as_deref() {
            Some("base64") => Source::data_url(&source, "image/png"),
            Some("url") => source.url.0,
            _ => None,
        };
        // A file of another service's has an id alone, and nobody here can fetch it.
        let image = image.ok_or_else(|| {
            E::custom(
                "this gateway keeps no files: an image's 'source' must hold its 'data' (base64) or its 'url'",
            )
        })?;
        Ok(Block::Part(Part::ImageUrl {
            image_url: Url::new(image),
            detail: None,
        }))
    }

    fn document<E: de::Error>(self) -> Result<Block, E> {
        let Loose::Object(source) = self.source else {
            return Err(E::custom("a block of type 'document' needs 'source'"));
        };
        let heads = [self.title.0.clone(), self.context.0];
        let file = match source.kind.0.as_deref() {
            // Text is text: no provider need read a document for it.
            Some("text") => {
                return Ok(labelled(
                    heads,
                    source.data.0.as_deref().unwrap_or_default().to_owned(),
                ));
            }
            Some("content") => return Ok(labelled(heads, texts(&source.content.0))),
            Some("base64") => Source::data_url(&source, "application/pdf").map(|data| File {
                file_data: Some(data),
                ..File::default()
            }),
            Some("url") => source.url.0.map(|url| File {
                url: Some(url),
                ..File::default()
            }),
            _ => None,
        };
        let file = file.ok_or_else(|| {
            E::custom(
                "this gateway keeps no files: a document's 'source' must hold its 'data', its 'content' or its 'url'",
            )
        })?;
        Ok(Block::Part(Part::File {
            file: Box::new(File {
                filename: self.title.0,
                ..file
            }),
        }))
    }
}

impl Source {
    /// What is inside as a data URL, which every provider takes apart in the same way.
    fn data_url(source: &Self, usual_type: &str) -> Option<Text> {
        // Empty data is none: it would be a picture of no bytes.
        let data = source.data.0.as_deref().filter(|data| !data.is_empty())?;
        let kind = source.media_type.0.as_deref().unwrap_or(usual_type);
        Some(format!("data:{kind};base64,{data}").into())
    }
}

/// A text with what stands over it.
fn labelled(heads: [Option<Text>; 2], text: String) -> Block {
    // Above the text: it is what the text is of.
    let heads = heads.into_iter().flatten().filter(|head| !head.is_empty());
    let mut whole = String::new();
    for head in heads {
        whole.push_str(&head);
        whole.push('\n');
    }
    whole.push_str(&text);
    Block::Part(Part::Text { text: whole.into() })
}

/// The texts of a content, joined with line feeds.
fn texts(blocks: &[Block]) -> String {
    let text = |block: &Block| match block {
        Block::Part(part) => part.text().map(str::to_owned),
        _ => None,
    };
    let texts: Vec<String> = blocks.iter().filter_map(text).collect();
    texts.join("\n")
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
