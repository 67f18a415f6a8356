//! The blocks of a message's content, as Anthropic's dialect writes them. What only Anthropic's own service understands is
//! kept by name, to be reported: no block is ever a reason to refuse a request, unless something would be missing without
//! it. Source: Anthropic's public API reference (Messages).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

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

/// An object, a text, or something else.
#[derive(Debug, Default)]
enum Loose<T> {
    Object(Box<T>),
    Text(Text),
    #[default]
    Other,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LooseVisitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for LooseVisitor<T> {
            type Value = Loose<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Loose<T>, E> {
                Ok(Loose::Text(Text::borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Loose<T>, E> {
                Ok(Loose::Text(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Loose<T>, A::Error> {
                let map = de::value::MapAccessDeserializer::new(map);
                // Boxed: an object is far larger than a text.
                Ok(Loose::Object(Box::new(T::deserialize(map)?)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose<T>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose::Other)
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Loose<T>, E> {
                Ok(Loose::Other)
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Loose<T>, E> {
                Ok(Loose::Other)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Loose<T>, E> {
                Ok(Loose::Other)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Loose<T>, E> {
                Ok(Loose::Other)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Loose<T>, E> {
                Ok(Loose::Other)
            }
        }

        deserializer.deserialize_any(LooseVisitor(std::marker::PhantomData))
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
mod tests {
    use super::*;

    fn blocks(json: &str) -> Result<Vec<Block>, String> {
        serde_json::from_str::<Blocks>(json)
            .map(|Blocks(blocks)| blocks)
            .map_err(|error| error.to_string())
    }

    fn block(json: &str) -> Block {
        let mut blocks = blocks(&format!("[{json}]")).unwrap();
        assert_eq!(blocks.len(), 1, "{json}");
        blocks.remove(0)
    }

    fn text(json: &str) -> String {
        match block(json) {
            Block::Part(Part::Text { text }) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn texts_of_every_kind() {
        for (json, expected) in [
            (
                r#"{"type":"text","text":"a","cache_control":{"type":"ephemeral"},"citations":null}"#,
                "a",
            ),
            (
                r#"{"type":"document","title":"T","context":"C","source":{"type":"text","media_type":"text/plain","data":"a"}}"#,
                "T\nC\na",
            ),
            (
                r#"{"type":"document","source":{"type":"content","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}"#,
                "a\nb",
            ),
            (
                r#"{"type":"document","source":{"type":"content","content":"a"}}"#,
                "a",
            ),
            (
                r#"{"type":"search_result","source":"https://e/","title":"T","content":[{"type":"text","text":"a"}]}"#,
                "T\nhttps://e/\na",
            ),
        ] {
            assert_eq!(text(json), expected, "{json}");
        }
        assert!(matches!(blocks(r#""a""#).as_deref(), Ok([Block::Part(_)])));
        assert!(matches!(blocks("null").as_deref(), Ok([])));
    }

    #[test]
    fn pictures_and_documents_are_data_or_addresses() {
        for (json, expected) in [
            (
                r#"{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"AAAA"}}"#,
                "data:image/jpeg;base64,AAAA",
            ),
            (
                r#"{"type":"image","source":{"type":"url","url":"https://e/a.png"}}"#,
                "https://e/a.png",
            ),
        ] {
            let Block::Part(Part::ImageUrl { image_url, .. }) = block(json) else {
                panic!("{json}")
            };
            assert_eq!(image_url.url(), expected);
        }
        let json = r#"{"type":"document","title":"a.pdf","source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}"#;
        let Block::Part(Part::File { file }) = block(json) else {
            panic!()
        };
        assert_eq!(file.filename.as_deref(), Some("a.pdf"));
        assert_eq!(
            file.file_data.as_deref(),
            Some("data:application/pdf;base64,AAAA")
        );
        for json in [
            r#"[{"type":"image","source":{"type":"file","file_id":"f"}}]"#,
            r#"[{"type":"image"}]"#,
            r#"[{"type":"document","source":{"type":"file","file_id":"f"}}]"#,
        ] {
            assert!(blocks(json).is_err(), "{json}");
        }
    }

    #[test]
    fn calls_keep_their_arguments_as_they_are_written() {
        let Block::Call(call) = block(
            r#"{"type":"tool_use","id":"toolu_1","name":"f","input":{"b": 1,"a":[ ]},"cache_control":{"type":"ephemeral"}}"#,
        ) else {
            panic!()
        };
        assert_eq!(&*call.function.unwrap().arguments, r#"{"b": 1,"a":[ ]}"#);
        let Block::Call(call) = block(r#"{"type":"tool_use","id":"toolu_1","name":"f"}"#) else {
            panic!()
        };
        assert_eq!(&*call.function.unwrap().arguments, "{}");
    }

    #[test]
    fn results_have_many_forms() {
        for (json, expected, is_error) in [
            (
                r#"{"type":"tool_result","tool_use_id":"t","content":"a"}"#,
                "a",
                false,
            ),
            (r#"{"type":"tool_result","tool_use_id":"t"}"#, "", false),
            (
                r#"{"type":"tool_result","tool_use_id":"t","content":null,"is_error":true}"#,
                "",
                true,
            ),
            (
                r#"{"type":"tool_result","tool_use_id":"t","is_error":false,"content":[{"type":"text","text":"a"},{"type":"tool_reference","tool_name":"f"},{"type":"x"}]}"#,
                "a",
                false,
            ),
        ] {
            let Block::Result(result) = block(json) else {
                panic!("{json}")
            };
            assert_eq!(
                (&*texts(&result.content), result.is_error),
                (expected, is_error),
                "{json}"
            );
        }
        assert!(blocks(r#"[{"type":"tool_result","content":"a"}]"#).is_err());
    }

    #[test]
    fn what_only_anthropic_understands_is_kept_by_name() {
        for (kind, json) in [
            (
                "redacted_thinking",
                r#"{"type":"redacted_thinking","data":"x"}"#,
            ),
            (
                "server_tool_use",
                r#"{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}}"#,
            ),
            (
                "web_search_tool_result",
                r#"{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","url":"u","title":"t","encrypted_content":"e"}]}"#,
            ),
            (
                "web_search_tool_result",
                r#"{"type":"web_search_tool_result","tool_use_id":"s","content":{"type":"web_search_tool_result_error","error_code":"x"}}"#,
            ),
            (
                "bash_code_execution_tool_result",
                r#"{"type":"bash_code_execution_tool_result","content":{"stdout":"a","content":[{"file_id":"f"},5]}}"#,
            ),
            (
                "container_upload",
                r#"{"type":"container_upload","file_id":"f"}"#,
            ),
            (
                "new_one",
                r#"{"type":"new_one","text":5,"source":[],"content":[5,[],{"type":"x"}],"id":{},"input":"a"}"#,
            ),
        ] {
            let Block::Foreign(known) = block(json) else {
                panic!("{json}")
            };
            assert_eq!(&*known, kind);
        }
        for json in [
            r#"[{"text":"a"}]"#,
            "[5]",
            "5",
            r#"[{"type":"text","text":5}]"#,
        ] {
            assert!(blocks(json).is_err(), "{json}");
        }
    }

    #[test]
    fn thoughts_come_back_whatever_their_seal() {
        for (signature, expected) in [
            (r#""""#, None),
            (r#""Zm9yZWlnbg==""#, Some("Zm9yZWlnbg==")),
            ("null", None),
        ] {
            let json = format!(r#"{{"type":"thinking","thinking":"hm","signature":{signature}}}"#);
            let Block::Thought(thought) = block(&json) else {
                panic!()
            };
            assert_eq!(
                (&*thought.text, thought.signature.as_deref()),
                ("hm", expected)
            );
        }
    }
}
