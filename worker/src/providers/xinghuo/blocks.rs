//! Payloads that are no answer text although they are base64: thinking, sources, pictures, notices. Told by how the
//! payload begins when decoded alone. Source: `wire/xinghuo.md` sections 6.3 to 6.5.

use serde::Deserialize;
use serde_json::Value;

const DEEP: &str = "<deep_x1>";
const THOUGHTS: &[&str] = &[
    "<thinking_content>",
    "<math_thinking_content>",
    "<math_thinking_title>",
];
const THOUGHTS_END: &[&str] = &["<thinking_end>", "<math_thinking_end>"];
const FENCE: &str = "```";
const SOURCES: &str = "searchSource";
const PICTURE: &str = "multi_image_url";
/// Blocks that say nothing that a client could use.
const NOTICES: &[&str] = &[
    "allTool",
    "multi_video",
    "ragDoc",
    "zdmSource",
    "ragAudio",
    "ragVideo",
    "ragImage",
    "ragMultiTrace",
    "fileMultiTrace",
    "question_type_recommand_json",
];

/// What a payload is when it is no text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// New thinking text.
    Thought(String),
    /// The pages that the answer rests on; replaces what was sent before.
    Sources(Vec<Source>),
    /// Where a picture is.
    Picture(String),
    /// Nothing for the client.
    Notice,
    /// A block of a kind that the wire page does not name.
    Unknown,
    /// A block by its beginning, but not by its content.
    Unreadable,
}

/// One source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) index: u32,
    pub(super) url: String,
    pub(super) title: String,
}

/// Whether a payload may decode to a block: the first six bits of `<` and of a backtick. Saves text, which is nearly
/// everything, from being decoded twice.
pub(super) fn may_be_block(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(b'P' | b'Y'))
}

/// The block that a payload is; `None` for text, also for text that begins with backticks.
pub(super) fn block(decoded: &[u8]) -> Option<Block> {
    // Lossy: only a beginning in ASCII is looked for.
    let text = String::from_utf8_lossy(decoded);
    if let Some(json) = text.strip_prefix(DEEP) {
        return Some(deep(json));
    }
    if let Some(thought) = THOUGHTS.iter().find_map(|start| text.strip_prefix(start)) {
        return Some(Block::Thought(thought.to_owned()));
    }
    if THOUGHTS_END.iter().any(|start| text.starts_with(start)) {
        return Some(Block::Notice);
    }
    // After the markers of section 6.5, which begin with `<`.
    let (name, content) = fenced(&text)?;
    match name {
        SOURCES => Some(sources(content).map_or(Block::Unreadable, Block::Sources)),
        PICTURE => Some(picture(content).map_or(Block::Unreadable, Block::Picture)),
        _ if NOTICES.contains(&name) => Some(Block::Notice),
        // Code in an answer begins with backticks as well, and is text (section 6.3).
        _ => None,
    }
}

/// Whether a fenced block is one that the wire page names.
pub(super) fn is_named(block: &[u8]) -> bool {
    let block = String::from_utf8_lossy(block);
    let name = fenced(&block).map_or("", |(name, _)| name);
    [SOURCES, PICTURE, "memoryExtraction"].contains(&name) || NOTICES.contains(&name)
}

/// Name and content of a fenced block. Only a whole word is a name: code may be in a language called `ragDocs`.
fn fenced(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(FENCE)?;
    let is_word = |char: char| char.is_alphanumeric() || char == '_' || char == '-';
    // A name alone has no content behind it.
    let end = inner.find(|char| !is_word(char)).unwrap_or(inner.len());
    let (name, content) = inner.split_at_checked(end)?;
    let content = content.trim();
    // The fence behind it may be missing where the payload was cut.
    Some((name, content.strip_suffix(FENCE).unwrap_or(content).trim()))
}

fn picture(content: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Picture {
        url: String,
    }
    let picture: Picture = serde_json::from_str(content).ok()?;
    Some(picture.url).filter(|url| !url.is_empty())
}

fn sources(content: &str) -> Option<Vec<Source>> {
    #[derive(Deserialize)]
    struct Row {
        index: Option<Value>,
        url: Option<String>,
        title: Option<String>,
    }
    let rows: Vec<Row> = serde_json::from_str(content).ok()?;
    let sources = rows.into_iter().enumerate().filter_map(|(at, row)| {
        let index = match row.index {
            Some(Value::Number(index)) => index.as_u64(),
            Some(Value::String(index)) => index.trim().parse().ok(),
            _ => None,
        };
        let index = index.and_then(|index| u32::try_from(index).ok());
        Some(Source {
            // The page's own numbers where it has them: the text's marks are made of them.
            index: index.unwrap_or_else(|| u32::try_from(at + 1).unwrap_or(u32::MAX)),
            url: row.url.filter(|url| !url.is_empty())?,
            title: row.title.unwrap_or_default(),
        })
    });
    Some(sources.collect())
}

/// A `<deep_x1>` event (section 6.5).
fn deep(json: &str) -> Block {
    #[derive(Deserialize)]
    struct Event {
        stage: Stage,
        #[serde(default)]
        data: Data,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Stage {
        Thinking,
        Plugin,
        #[serde(other)]
        Other,
    }
    #[derive(Default, Deserialize)]
    struct Data {
        protocol: Option<String>,
        status: Option<String>,
        content: Option<String>,
    }
    #[derive(Deserialize)]
    struct Found {
        data: Value,
    }

    let Ok(event) = serde_json::from_str::<Event>(json) else {
        return Block::Unreadable;
    };
    let content = event.data.content.unwrap_or_default();
    match event.stage {
        // The end carries how long it took, and no content.
        Stage::Thinking if event.data.status.as_deref() == Some("end") => Block::Notice,
        Stage::Thinking => Block::Thought(content),
        Stage::Plugin if event.data.protocol.as_deref() == Some("search-source") => {
            // An event without content marks the beginning of the search.
            if content.is_empty() {
                return Block::Notice;
            }
            let found: Option<Vec<Found>> = serde_json::from_str(&content).ok();
            let lists = found.and_then(|found| {
                // Every list or none: half of a search would number the rest wrongly.
                let lists = found.iter().map(|found| sources(&found.data.to_string()));
                lists.collect::<Option<Vec<_>>>()
            });
            lists.map_or(Block::Unreadable, |lists| {
                Block::Sources(lists.into_iter().flatten().collect())
            })
        }
        Stage::Plugin => match event.data.protocol.as_deref() {
            Some("all-tool" | "long-context-trace") => Block::Notice,
            _ => Block::Unknown,
        },
        Stage::Other => Block::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Block> {
        block(text.as_bytes())
    }

    fn source(index: u32, url: &str, title: &str) -> Source {
        Source {
            index,
            url: url.to_owned(),
            title: title.to_owned(),
        }
    }

    #[test]
    fn text_with_backticks_is_text() {
        for text in [
            "```rust\nfn main() {}\n```",
            "```",
            "```ragDocs\nx",
            "```searchSources\n[]",
            "```all",
            "say allTool",
            "<deep_x2>{}",
            "<thinking>",
            " ```allTool{}```",
            "",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn the_marker_of_the_wire_page_may_be_a_block() {
        assert!(may_be_block(b"PGRlZXBfeDE+"));
        assert_eq!(
            super::super::pieces::decode(b"PGRlZXBfeDE+"),
            DEEP.as_bytes()
        );
        assert!(may_be_block(b"YGBg") && !may_be_block(b"5L2g") && !may_be_block(b""));
    }

    #[test]
    fn reads_every_kind_of_thought() {
        let deep = |status: &str| {
            of(&format!(
                r#"<deep_x1>{{"stage":"thinking","data":{{"type":"x1","status":"{status}","content":"a"}}}}"#
            ))
        };
        let thought = Some(Block::Thought("a".to_owned()));
        assert_eq!(deep("start"), thought);
        assert_eq!(deep("ing"), thought);
        assert_eq!(deep("end"), Some(Block::Notice));
        for start in THOUGHTS {
            assert_eq!(of(&format!("{start}a")), thought);
        }
        assert_eq!(
            of(r#"<thinking_end>{"thinking_cost":3}"#),
            Some(Block::Notice)
        );
        assert_eq!(of("<deep_x1>{"), Some(Block::Unreadable));
        assert_eq!(of(r#"<deep_x1>{"stage":"new"}"#), Some(Block::Unknown));
    }

    #[test]
    fn reads_sources_in_both_forms() {
        assert_eq!(
            of(
                "```searchSource\n[{\"index\":2,\"url\":\"u\",\"title\":\"t\"},{\"index\":\"7\",\"url\":\"v\"},{\"url\":\"w\",\"title\":null},{\"title\":\"no address\"}]\n```"
            ),
            Some(Block::Sources(vec![
                source(2, "u", "t"),
                source(7, "v", ""),
                source(3, "w", "")
            ]))
        );
        let content = r#"[{"data":[{"index":1,"url":"u","title":"t"}]},{"data":[{"index":2,"url":"v","title":"s"}]}]"#;
        let event = serde_json::json!({"stage": "plugin", "data": {"protocol": "search-source", "status": "end", "content": content}});
        assert_eq!(
            of(&format!("<deep_x1>{event}")),
            Some(Block::Sources(vec![
                source(1, "u", "t"),
                source(2, "v", "s")
            ]))
        );
        assert_eq!(
            of(r#"<deep_x1>{"stage":"plugin","data":{"protocol":"all-tool","content":"x"}}"#),
            Some(Block::Notice)
        );
        assert_eq!(of("```searchSource\n[{\n```"), Some(Block::Unreadable));
    }

    #[test]
    fn reads_pictures_and_skips_notices() {
        assert_eq!(
            of("```multi_image_url\n{\"url\":\"https://e/1?a=b)\",\"w\":1}\n```"),
            Some(Block::Picture("https://e/1?a=b)".to_owned()))
        );
        assert_eq!(of("```multi_image_url\n{}\n```"), Some(Block::Unreadable));
        for name in NOTICES {
            assert_eq!(
                of(&format!("```{name}\n[1]\n```")),
                Some(Block::Notice),
                "{name}"
            );
            assert_eq!(
                of(&format!("```{name}{{}}```")),
                Some(Block::Notice),
                "{name}"
            );
        }
    }
}
