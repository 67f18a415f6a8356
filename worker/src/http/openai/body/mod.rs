//! The body of a chat completion, read and checked. Unknown fields never hurt; a wrong type is a 400 that names the field
//! (conformance H7).

mod loose;
mod members;
pub(super) mod message;
mod part;
mod tools;

use bytes::Bytes;
use bytestring::ByteString;

use self::members::Body;
use crate::{
    chat::{ChatRequest, Invalid, request::MOST_PIECES},
    http::reading::{self, Form},
};

/// Reads and checks a body.
///
/// # Errors
/// [`Invalid`] for text that is no JSON object in UTF-8, a wrong type, or a value out of range.
pub fn read(body: Bytes) -> Result<ChatRequest, Invalid> {
    read_within(body, MOST_PIECES)
}

/// As [`read`], with `most_pieces` as the number of messages, parts and tool calls in all.
///
/// # Errors
/// As [`read`].
pub fn read_within(body: Bytes, most_pieces: usize) -> Result<ChatRequest, Invalid> {
    reading::read::<ChatForm>(body, most_pieces)
}

struct ChatForm;

impl Form for ChatForm {
    type Body<'a> = Body<'a>;
    type Read = ChatRequest;

    fn check(body: Body<'_>, text: &ByteString) -> Result<ChatRequest, Invalid> {
        body.check(text)
    }
}

/// What fuzz/ looks into.
#[cfg(fuzzing)]
pub mod fuzz {
    /// The body put right; `None` when there is nothing to put right, or the body is no JSON.
    pub fn tidied(body: &str) -> Option<String> {
        crate::http::reading::tidy::tidied(body)
    }
}

#[cfg(test)]
mod tests;
