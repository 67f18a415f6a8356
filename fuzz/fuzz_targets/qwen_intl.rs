//! Bytes as an answer of Qwen's international site: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::qwen_intl::stream::{Decoder, Output};

// By turns all that a decoder may be told of what was asked.
decoder!(|at: u8| {
    let output = if at % 2 == 0 { Output::Increments } else { Output::Snapshots };
    let decoder = Decoder::new("VARIABLE", output);
    if at % 4 < 2 { decoder } else { decoder.drawing() }
});
