//! HTTP/1.1 as servers really speak it, for plain requests. Source: RFC 9112 and 9110.
//!
//! What holds for every request:
//! - Interim heads (1xx) are let pass, however many; 101 is an error, since nobody asked.
//! - A connection is used again only if its answer was read to the end, the request was sent to the end, and nothing
//!   was said beyond them: otherwise somebody would get the answer to another's question.
//! - A connection that ends before the first byte of an answer is replaced once, if it had been used before and the
//!   request may be sent twice.
//! - A body ends where its length, its last chunk or (with neither) the connection says; anything else is an error.
//!   Contradictory lengths are errors; trailers and the extensions of chunks are read over.
//! - Bodies that are packed, though nobody asked, are unpacked within bounds ([`coding`]).
//! - An answer that comes before the request is sent is an answer; if it is a refusal, the rest is not sent.
//! - Heads ([`head::MOST_HEAD_BYTES`]), chunk lines and trailers are bounded.
//!
//! Heads are parsed by httparse; bodies are framed here, as that is a loop over bytes on the hottest path there is.
//! hyper's client was weighed: it reads a chunk's size byte by byte through shared buffers, passes each chunk through a
//! channel between two futures, which wakes the task once more, and refuses a body whose chunk extensions are longer
//! than 16 KiB together, which a long stream with signed chunks is. It serves the tests as a second opinion instead.

mod coding;
mod exchange;
mod framing;
mod head;
mod pool;
#[cfg(test)]
mod tests;
mod wire;

#[cfg(fuzzing)]
pub(super) use coding::{Coding, Unpacker, Unreadable};
pub(super) use exchange::Body;
#[cfg(fuzzing)]
pub(super) use framing::Framing;
pub(super) use head::Head;
#[cfg(fuzzing)]
pub(super) use head::{Read, parse};
pub(super) use pool::Pool;

/// The answer of a service that says this and whatever is written to the other end.
#[cfg(test)]
pub(super) use tests::answered;
