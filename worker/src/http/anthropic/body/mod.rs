//! The body of a request for a message, read and checked. Unknown fields, blocks and tools never hurt; a wrong type is a
//! 400 that names the field (conformance H7). Source: Anthropic's public API reference (Messages).

mod block;
mod conversation;
mod loose;
mod members;
mod tools;

use bytes::Bytes;
use bytestring::ByteString;

use self::members::Body;
use crate::{
    chat::{ChatRequest, Invalid},
    http::reading::{self, Form},
};

/// What a body asks for.
#[derive(Debug)]
pub struct Asks {
    /// The request.
    pub request: ChatRequest,
    /// Whether thinking is part of the answer.
    pub shows_thinking: bool,
}

/// Reads and checks a body of at most `most_pieces` messages, blocks and tools in all. `count_tokens` takes the same body.
///
/// # Errors
/// [`Invalid`] for text that is no JSON object in UTF-8, a wrong type, or a value out of range.
pub fn read_within(body: Bytes, most_pieces: usize) -> Result<Asks, Invalid> {
    reading::read::<MessagesForm>(body, most_pieces)
}

struct MessagesForm;

impl Form for MessagesForm {
    type Body<'a> = Body<'a>;
    type Read = Asks;

    fn check(body: Body<'_>, text: &ByteString) -> Result<Asks, Invalid> {
        body.check(text)
    }
}

#[cfg(test)]
mod tests;
