//! Bytes as an answer of openai: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::openai::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
