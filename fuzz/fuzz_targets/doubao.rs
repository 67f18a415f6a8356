//! Bytes as an answer of doubao, by either route: no panic, and nothing after the end.
#![no_main]

use hive2api_worker::providers::doubao::stream::{Decoder, Protocol, Shows};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    // The first byte says where the stream is torn, and what it is.
    let Some((&at, body)) = body.split_first() else { return };
    let protocol = if at % 2 == 0 { Protocol::Chat } else { Protocol::Samantha };
    let shows = if at % 4 < 2 { Shows::Everything } else { Shows::Pictures };
    let (mut decoder, mut events) = (Decoder::new("VARIABLE", protocol, shows), Vec::new());
    let (head, tail) = body.split_at(usize::from(at).min(body.len()));
    let fed = decoder.feed(head, &mut events).and_then(|()| decoder.feed(tail, &mut events));
    let _ = fed.and_then(|()| decoder.end(&mut events)).and_then(|()| decoder.finish(&mut events));
});
