//! Bytes as an answer of qwen: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::qwen::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
