//! Bytes as an answer of qwen chat2: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::qwen::chat2::stream::Decoder;

decoder!(|_| Decoder::new("remedy"));
