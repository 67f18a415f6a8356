//! Bytes as an answer of minimax: no panic, and nothing after the end.
#![no_main]

use hive2api_worker::providers::minimax::stream::Decoder;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let (mut decoder, mut events) = (Decoder::new("VARIABLE"), Vec::new());
    // The first byte says where the stream is torn.
    let Some((&at, body)) = body.split_first() else { return };
    let (head, tail) = body.split_at(usize::from(at).min(body.len()));
    let fed = decoder.feed(head, &mut events).and_then(|()| decoder.feed(tail, &mut events));
    let _ = fed.and_then(|()| decoder.finish(&mut events));
});
