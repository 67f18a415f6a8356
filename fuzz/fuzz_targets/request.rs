//! Bytes as a chat request: an answer or a complaint, never a panic.
#![no_main]

use hive2api_worker::http::openai::body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = body::read(bytes::Bytes::copy_from_slice(bytes)) {
        assert!(!request.messages.is_empty());
    }
});
