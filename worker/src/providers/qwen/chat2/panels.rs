//! What the panels beside an answer hold: thoughts, sources, sometimes the answer itself. Their shapes change often, so
//! what is not as expected is passed over. Source: `wire/qwen.md` section 11.8.

use std::borrow::Cow;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::upstream::json;

/// One thing that a panel holds.
#[derive(Debug)]
pub(super) enum Panel<'a> {
    /// Thoughts: slot, and all that it has thought so far.
    Thought(Cow<'static, str>, String),
    /// A source: address and title.
    Link(String, String),
    /// The answer, where the item's own content is empty: a JSON string.
    Text(&'a RawValue),
    /// Something of a kind that the wire page does not name.
    Unknown,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "type")]
    kind: Option<Value>,
    #[serde(borrow)]
    multi_load: Option<Vec<Load<'a>>>,
    list: Option<Value>,
    sources: Option<Value>,
}

#[derive(Deserialize)]
struct Load<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    source_seq: Option<Value>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Thinking {
    think_content: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    body: Option<String>,
}

#[derive(Deserialize)]
struct Link {
    url: Option<String>,
    title: Option<String>,
}

/// Reads the `meta_data` of an item of this `mime_type`.
pub(super) fn read<'a>(
    mime_type: &str,
    meta: Option<&'a RawValue>,
    mut found: impl FnMut(Panel<'a>),
) {
    // An unknown shape is passed over: panels change often, answers hardly.
    let Some(meta) = meta.and_then(|meta| serde_json::from_str::<Meta<'a>>(meta.get()).ok()) else {
        return;
    };
    let loads = meta.multi_load.unwrap_or_default();
    let is = |kind: &'static str| move |load: &&Load<'a>| load.kind.as_deref() == Some(kind);
    let is_new = |known: &[&str], kind: Option<&str>| kind.is_some_and(|it| !known.contains(&it));
    let kinds = || loads.iter().map(|load| load.kind.as_deref());
    // Told once and apart from reading, so that the arms below say only what they take.
    if match mime_type {
        "bar/workflow" => kinds().any(|kind| is_new(&["bar_thinking", "bar_tool"], kind)),
        "bar/progress" => is_new(
            &["cot", "deep_thinking", "bar_update"],
            meta.kind.as_ref().and_then(Value::as_str),
        ),
        _ => false,
    } {
        found(Panel::Unknown);
    }
    let mut links = |list: Option<&Value>| {
        for link in list.and_then(Value::as_array).into_iter().flatten() {
            if let Ok(link) = Link::deserialize(link) {
                let title = link.title.unwrap_or_default();
                found(Panel::Link(link.url.unwrap_or_default(), title));
            }
        }
    };
    match mime_type {
        // With another type it is a heading, or the queries.
        // A type of its own is a heading or the queries, unless a list is there all the same.
        "bar/progress" if meta.kind.is_none() || meta.list.is_some() => links(meta.list.as_ref()),
        "bar/iframe" => {
            // Sources are grouped by query; the groups do not matter.
            for source in meta.sources.iter().filter_map(Value::as_array).flatten() {
                links(source.pointer("/content/list"));
            }
        }
        "bar/workflow" => {
            for load in loads.iter().filter(is("bar_thinking")) {
                if let Some(text) = held::<Body>(load.content).and_then(|body| body.body) {
                    found(Panel::Thought(Cow::Owned(slot(load)), text));
                }
            }
        }
        "multi_load/iframe" => {
            for load in loads.iter().filter(is("source_group_web")) {
                let groups: Option<Value> = held(load.content);
                let groups = groups
                    .as_ref()
                    .and_then(|groups| groups.get("list")?.as_array());
                for group in groups.into_iter().flatten() {
                    links(group.pointer("/content/list"));
                }
            }
            // Section 11.8: either is the same thought, and `deep_think` the one that counts.
            let deep = loads.iter().find(is("deep_think"));
            let thinking = deep.or_else(|| loads.iter().find(is("multimodal_chat_think")));
            if let Some(text) = thinking
                .and_then(|load| held::<Thinking>(load.content))
                .and_then(|thinking| thinking.think_content)
            {
                found(Panel::Thought(Cow::Borrowed("deep"), text));
            }
            // Only of the first: the page shows the answer there (section 11.8).
            let first = loads.first().and_then(|load| load.content);
            // An object is a panel, a string is the answer.
            if let Some(text) = first.filter(|content| content.get().starts_with('"')) {
                found(Panel::Text(text));
            }
        }
        _ => {}
    }
}

fn held<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A slot's name: its number, which is also seen as text. No other slot is called so.
fn slot(load: &Load<'_>) -> String {
    match &load.source_seq {
        Some(Value::String(name)) => format!("workflow {name}"),
        Some(name) => format!("workflow {name}"),
        None => "workflow".to_owned(),
    }
}

/// A JSON string's text; `None` for anything else. Half a surrogate pair is U+FFFD.
pub(super) fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let raw = raw?.get();
    if let Ok(Text(text)) = serde_json::from_str(raw) {
        return Some(text);
    }
    // Half a pair is written as an escape that JSON readers refuse: it is mended first.
    let text: String = serde_json::from_slice(&json::mended(raw.as_bytes())).ok()?;
    Some(Cow::Owned(json::whole(&text)))
}

/// Lines that say the same and more, one below the other, as the last of each. The last line may still be on its way
/// to repeat the one above it: until it is as long, it counts as not there.
pub(super) fn stacked(content: &str) -> String {
    let lines: Vec<&str> = content.split('\n').collect();
    let mut kept: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let next = lines.get(at + 1);
        let is_restated = next.is_some_and(|next| next.starts_with(line));
        // The last line may be the beginning of a repetition: said, it would stay in the answer for good.
        let is_begun = next.is_none()
            && at
                .checked_sub(1)
                .and_then(|above| lines.get(above))
                .is_some_and(|above| above.len() > line.len() && above.starts_with(line));
        if !is_restated && !is_begun {
            kept.push(line);
        }
    }
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacked_lines_are_one() {
        for (content, text) in [
            ("先查", "先查"),
            ("先查\n先查一查", "先查一查"),
            ("先查一查\n先查", "先查一查"),
            ("先查一查\n再想", "先查一查\n再想"),
            ("a\nab\nabc\nx\nxy", "abc\nxy"),
            ("a\n", "a"),
            ("", ""),
        ] {
            assert_eq!(stacked(content), text, "{content:?}");
        }
    }
}
