//! Members of JSON whose types differ from day to day. Source: `wire/doubao.md` section 6.1.

use std::borrow::Cow;

use serde_json::Value;

use crate::upstream::json;

/// A member that may come as the text of its JSON (section 6.1).
pub(super) fn unpacked(value: Option<&Value>) -> Cow<'_, Value> {
    match value {
        None => Cow::Owned(Value::Null),
        // Only what looks like an object or a list: a text may be the text.
        Some(Value::String(text)) if text.trim_start().starts_with(['{', '[']) => {
            match json::value(text.as_bytes()) {
                Some((inner, _)) => Cow::Owned(inner),
                None => Cow::Owned(Value::Null),
            }
        }
        Some(value) => Cow::Borrowed(value),
    }
}

pub(super) fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// Numbers come as such or as texts.
pub(super) fn number(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.trim().parse().ok(),
        _ => None,
    }
}

/// Ids are texts, as they do not fit a double; some services write them as numbers all the same.
pub(super) fn id(value: Option<&Value>) -> String {
    /// A longer one is none.
    const MOST_BYTES: usize = 128;
    match value {
        Some(Value::String(id)) if id.len() <= MOST_BYTES => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => String::new(),
    }
}
