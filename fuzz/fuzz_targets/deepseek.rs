//! Bytes as an answer of deepseek: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::deepseek::stream::Decoder;

decoder!(|_| Decoder::new(),
    |decoder: &mut Decoder, tail: &[u8], events: &mut _| {
        // A broken answer goes on, and says again what it had said.
        decoder.resume();
        decoder.feed(tail, events)
    }
);
