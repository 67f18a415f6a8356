//! Bytes as an answer of kimi: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::kimi::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
