//! How hive2api is measured. The services it is tested against are next door, in `loadtest/simulators`; the one binary,
//! `hive2api-loadtest`, plays both.
//!
//! - [`emulate`] is an upstream for measuring: it checks nothing, costs little, and writes into each piece of an answer
//!   its number and the time ([`marker`]).
//! - [`drive`] makes the load and measures it end to end.
//! - `framing` is the part of HTTP/1.1 that the two share.
//! - [`tools`] says what becomes of broken tool calls.
//! - `bench/` (Python) runs them on cores of their own, and judges what they saw.

pub mod drive;
pub mod emulate;
mod framing;
pub mod marker;
pub mod tools;
