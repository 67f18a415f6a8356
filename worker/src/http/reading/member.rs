//! A member of the body that is said anew when the body goes on to an API of the same dialect: what it says and where it
//! stands.

use std::ops::Range;

use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::value::RawValue;

/// A member of the body: its value, and how it is written there. Absent and null are no value.
#[derive(Debug)]
pub(in crate::http) struct Member<'a, T> {
    pub(in crate::http) value: Option<T>,
    text: Option<&'a str>,
}

impl<T> Default for Member<'_, T> {
    fn default() -> Self {
        Self {
            value: None,
            text: None,
        }
    }
}

impl<'de: 'a, 'a, T: DeserializeOwned> Deserialize<'de> for Member<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Self {
            value: serde_json::from_str(text).map_err(D::Error::custom)?,
            text: Some(text),
        })
    }
}

impl<T> Member<'_, T> {
    /// Where the value stands in `body`, which it was read from.
    pub(in crate::http) fn place(&self, body: &str) -> Option<Range<usize>> {
        let text = self.text?;
        // The text is a slice of the body, as raw values are lent and never copied; so its address is its place.
        debug_assert!(body.as_bytes().as_ptr_range().contains(&text.as_ptr()));
        let start = text.as_ptr().addr() - body.as_ptr().addr();
        Some(start..start + text.len())
    }
}
