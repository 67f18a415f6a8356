//! Bytes as an answer of xinghuo: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::xinghuo::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
