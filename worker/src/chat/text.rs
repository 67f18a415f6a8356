//! A long text of a request: where the body has it without escapes, the body itself is shared and nothing is copied.

use std::{
    borrow::Borrow,
    cell::{Cell, RefCell},
    fmt,
    ops::Deref,
};

use bytestring::ByteString;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

thread_local! {
    /// The body that is being read. serde has no other way to tell the derived types around a text what they are read
    /// from.
    static SOURCE: RefCell<Option<ByteString>> = const { RefCell::new(None) };
    /// How many more messages, parts and tool calls it may hold, and how many in all; see [`count_piece`].
    static PIECES: Cell<(usize, usize)> = const { Cell::new(UNLIMITED) };
}

const UNLIMITED: (usize, usize) = (usize::MAX, usize::MAX);

/// Text that is cheap to clone. Reads as `str`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Text(ByteString);

impl Text {
    /// A visitor's `visit_borrowed_str`: shares the body that is being read, or copies.
    pub(crate) fn borrowed(text: &str) -> Self {
        SOURCE.with_borrow(|source| {
            // By address: serde lends slices of the body, and of a buffer of its own for texts with escapes, and nothing
            // else tells the two apart.
            let inside = |source: &&ByteString| {
                let (whole, part) = (
                    source.as_bytes().as_ptr_range(),
                    text.as_bytes().as_ptr_range(),
                );
                // The upper end may be the body's own.
                whole.start <= part.start && part.end <= whole.end
            };
            source
                .as_ref()
                .filter(inside)
                .map_or_else(|| text.into(), |source| Self(source.slice_ref(text)))
        })
    }
}

/// Reads a body whose [`Text`]s share it, and which may hold `most_pieces` ([`count_piece`]).
pub(crate) fn reading<'a, T>(
    body: &'a ByteString,
    most_pieces: usize,
    read: impl FnOnce(&'a str) -> T,
) -> T {
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            SOURCE.take();
            PIECES.set(UNLIMITED);
        }
    }
    // Counts a reference: the body's bytes are shared, and live as long as the longest text of it.
    SOURCE.set(Some(body.clone()));
    PIECES.set((most_pieces, most_pieces));
    // Also where reading panics, or the next body of this thread would be shared with this one.
    let _over = Over;
    read(body)
}

/// Counts one message, part or tool call of the body that is being read: each takes a hundred bytes of memory, and its
/// JSON may have two.
///
/// # Errors
/// That there are too many.
pub(crate) fn count_piece<E: de::Error>() -> Result<(), E> {
    let (left, most) = PIECES.get();
    let left = left.checked_sub(1).ok_or_else(|| {
        E::custom(format_args!(
            "a conversation has at most {most} messages, parts and tool calls in all"
        ))
    })?;
    PIECES.set((left, most));
    Ok(())
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text, E> {
                Ok(Text::borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(text.into())
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Text, E> {
                Ok(text.into())
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// For maps: it is hashed and compared as the `str` that it holds.
impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_in_the_body_is_shared() {
        let body = ByteString::from_static(r#"["plain 你好","with \"escapes\"",""]"#);
        let texts: Vec<Text> = reading(&body, usize::MAX, serde_json::from_str).unwrap();
        let is_shared = |text: &Text| body.as_bytes().as_ptr_range().contains(&text.as_ptr());
        assert_eq!(
            texts,
            ["plain 你好", "with \"escapes\"", ""].map(Text::from)
        );
        assert_eq!(
            texts.iter().map(is_shared).collect::<Vec<_>>()[..2],
            [true, false]
        );
        // Afterwards nothing is.
        let texts: Vec<Text> = serde_json::from_str(&body).unwrap();
        assert!(!texts.iter().any(is_shared));
    }
}
