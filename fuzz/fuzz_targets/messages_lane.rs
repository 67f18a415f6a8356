//! Bytes as an answer of a lane that speaks Anthropic's messages: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::openai::messages::stream::Decoder;

decoder!(|_| Decoder::new("VARIABLE", &["STOP".to_owned()]));
