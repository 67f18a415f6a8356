//! Bytes as an answer of metaso: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::metaso::stream::Decoder;

decoder!(|at: u8| Decoder::new("VARIABLE", false, at % 2 == 1));
