//! Bytes as an answer of doubao: no panic.
#![no_main]

#[macro_use]
#[path = "../decoder.rs"]
mod decoder;

use hive2api_worker::providers::doubao::stream::{Decoder, Protocol, Shows};

decoder!(
    |at: u8| {
        let protocol = if at % 2 == 0 { Protocol::Chat } else { Protocol::Samantha };
        let shows = if at % 4 < 2 { Shows::Everything } else { Shows::Pictures };
        Decoder::new("VARIABLE", protocol, shows)
    },
    |decoder: &mut Decoder, _tail: &[u8], events: &mut _| decoder.end(events)
);
