//! What hive2api is measured and tested against.
//!
//! - [`simulate`] plays the providers: one strict server for each of them, on this machine, without an account. The
//!   worker's integration tests start them in process, demos and the Python tests start the binary. Every simulator is
//!   written from the provider's wire page alone and never looks at the worker's code, so that the two judge each other.
//! - [`emulate`] is an upstream for measuring: it checks nothing, costs little, and writes into each piece of an answer
//!   its number and the time ([`marker`]).
//! - [`drive`] makes the load and measures it end to end.
//! - `framing` is the part of HTTP/1.1 that the two share.

pub mod drive;
pub mod emulate;
mod framing;
pub mod marker;
pub mod simulate;
