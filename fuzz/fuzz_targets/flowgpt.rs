//! Bytes as an answer of flowgpt: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::flowgpt::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
