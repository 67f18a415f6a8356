//! What all targets for decoders do: bytes as an answer, torn at a place that the first byte names; no panic.

/// `decoder`: the decoder that the first byte stands for. `then`: what is done to it between the bytes and its end.
macro_rules! decoder {
    ($decoder:expr) => {
        decoder!($decoder, |_decoder, _tail, _events| Ok(()));
    };
    ($decoder:expr, $then:expr) => {
        libfuzzer_sys::fuzz_target!(|body: &[u8]| {
            let Some((&at, body)) = body.split_first() else { return };
            let (mut decoder, mut events) = ($decoder(at), Vec::new());
            let (head, tail) = body.split_at(usize::from(at).min(body.len()));
            let fed = decoder.feed(head, &mut events).and_then(|()| decoder.feed(tail, &mut events));
            let _ = fed.and_then(|()| $then(&mut decoder, tail, &mut events)).and_then(|()| decoder.finish(&mut events));
        });
    };
}
