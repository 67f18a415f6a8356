//! A frame of the answer as it comes: typed where it is looked at, unread where it is not. Source: `wire/zhipu.md` section
//! 6.2.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::voices::Kind;

/// A JSON string, borrowed where it is written without escapes.
#[derive(Deserialize)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

/// One frame (section 6.2). Everything may be missing or null; of an error `status` is a number.
#[derive(Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) conversation_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) parts: Option<Vec<Part<'a>>>,
    #[serde(borrow)]
    pub(super) status: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) last_error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) meta_data: Option<&'a RawValue>,
    /// Of an answer in one piece: the frame within its envelope.
    #[serde(borrow)]
    pub(super) result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) logic_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) role: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<Vec<Item<'a>>>,
    #[serde(borrow)]
    pub(super) meta_data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) status: Option<&'a RawValue>,
}

/// Which of the payloads counts is the type's to say: others may be there and empty.
#[derive(Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) think: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) code: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) image: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) status: Option<&'a RawValue>,
}

impl<'a> Item<'a> {
    /// What the item says, where it says something.
    pub(super) fn said(&self) -> Option<(Kind, &'a RawValue)> {
        Some(match word(self.kind)?.as_ref() {
            "text" => (Kind::Text, self.text?),
            // One reader looks in `text` (section 1, disagreement 2).
            "think" => (Kind::Think, self.think.or(self.text)?),
            "code" => (Kind::Code, self.code?),
            "execution_output" => (Kind::Output, self.content?),
            _ => return None,
        })
    }
}

/// A JSON string; `None` for whatever else.
pub(super) fn word(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let word: Word<'_> = serde_json::from_str(raw?.get()).ok()?;
    Some(word.0)
}

pub(super) fn is_finished(status: Option<&RawValue>) -> bool {
    matches!(
        status.map(RawValue::get),
        Some("\"finish\"" | "\"intervene\"")
    )
}
