//! Bytes as an answer of a lane that speaks Responses: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::openai::responses::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE"));
