//! JSON that passes through as it was written: a schema of two bytes a value would be one of 32 in memory.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::text::Text;

/// A JSON value as its author wrote it; never `null` where it is optional. Cheap to clone: of a request's body it is a
/// slice ([`Text`]).
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Text);

impl Json {
    /// Reads a text as one JSON value.
    ///
    /// # Errors
    /// That it is none.
    pub fn new(text: impl Into<Text>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        serde_json::from_str::<&RawValue>(&text)?;
        Ok(Self(text))
    }

    /// A value that is being read: shares the body, where it stands in it.
    pub fn of(raw: &RawValue) -> Self {
        Self(Text::borrowed(raw.get()))
    }

    /// A string.
    pub fn string(text: &str) -> Self {
        Self(serde_json::Value::from(text).to_string().into())
    }

    /// The value as it is written.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// The text, if the value is a string. Read when it is asked for: most requests' texts of this kind are never looked at.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        let inside = self.0.strip_prefix('"')?.strip_suffix('"')?;
        // Most descriptions have no escapes; those are shared and not read.
        if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inside));
        }
        serde_json::from_str(&self.0).ok().map(Cow::Owned)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::of)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Only a `RawValue` is written as it is, and it borrows, while what is held here outlives the body.
        let raw: &RawValue = serde_json::from_str(self.get()).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_when_it_is_asked_for() {
        for (json, expected) in [
            (r#""plain 你好""#, Some("plain 你好")),
            (r#""a\n\"b\"""#, Some("a\n\"b\"")),
            (r#""""#, Some("")),
            ("5", None),
            (r#"{"a":"b"}"#, None),
        ] {
            let read: Json = serde_json::from_str(json).unwrap();
            assert_eq!(read.as_text().as_deref(), expected, "{json}");
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
        assert_eq!(Json::string("a\"b").as_text().as_deref(), Some("a\"b"));
        assert!(Json::new("{").is_err() && Json::new("{}").is_ok());
    }
}
