//! Bytes as an answer of zhipu: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::zhipu::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
