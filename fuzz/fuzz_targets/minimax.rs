//! Bytes as an answer of minimax: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::minimax::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
