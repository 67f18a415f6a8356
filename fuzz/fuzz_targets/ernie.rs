//! Bytes as an answer of ernie: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::ernie::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
