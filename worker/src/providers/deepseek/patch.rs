//! Patches: `{"p":path,"o":op,"v":value}`, where what is left out keeps its last value. Source: `wire/deepseek.md`
//! section 6.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What a patch does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Op {
    #[default]
    Set,
    Append,
    Batch,
    #[serde(other)]
    Other,
}

/// A patch as it comes.
#[derive(Debug, Deserialize)]
pub(super) struct Patch<'a> {
    #[serde(borrow)]
    pub(super) p: Option<Cow<'a, str>>,
    pub(super) o: Option<Op>,
    #[serde(borrow)]
    pub(super) v: Option<&'a RawValue>,
}

/// The path and the operation that a patch without them has.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    pub(super) path: String,
    pub(super) op: Op,
}

impl Cursor {
    /// Takes over what the patch says.
    pub(super) fn advance(&mut self, patch: &Patch<'_>) {
        // A patch without them keeps what the last one said (section 6).
        if let Some(path) = &patch.p {
            self.path.clear();
            self.path.push_str(path);
        }
        if let Some(op) = patch.o {
            self.op = op;
        }
    }
}

/// The patches of a batch; `None` when the value is none: a kept BATCH before a plain list means SET (sample B).
pub(super) fn batch(value: &RawValue) -> Option<Vec<Patch<'_>>> {
    let items: Vec<Patch<'_>> = serde_json::from_str(value.get()).ok()?;
    // Empty is a batch too; objects without `v` are a plain list of values.
    (items.is_empty() || items.iter().any(|item| item.v.is_some())).then_some(items)
}

/// A JSON string's text; `None` for any other value.
pub(super) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    // Only a string: a number as text would be said.
    if !value.get().starts_with('"') {
        return None;
    }
    let text: Text<'_> = serde_json::from_str(value.get()).ok()?;
    Some(text.0)
}
