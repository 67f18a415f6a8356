//! Bytes as a request for a response: a conversation that can be fingerprinted and counted, or a complaint, never a panic.
#![no_main]

use hive2api_worker::chat::normal;

/// Few, so that the limit is met as well.
const MOST_PIECES: usize = 50;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let body = bytes::Bytes::copy_from_slice(bytes);
    let Ok(request) = hive2api_worker::http::openai::responses::fuzz::read(body, MOST_PIECES) else { return };
    assert!(!request.messages.is_empty());
    let print = || {
        let mut print = Vec::new();
        normal::feed(&normal::steps(&request.messages), |piece| print.extend_from_slice(piece));
        print
    };
    assert_eq!(print(), print());
    assert_eq!(request.prompt_tokens(), request.prompt_tokens());
});
