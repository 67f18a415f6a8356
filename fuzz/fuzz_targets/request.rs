//! Bytes as a chat request: an answer or a complaint, never a panic.
#![no_main]

use hive2api_worker::chat::ChatRequest;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    if let Ok(request) = ChatRequest::parse(bytes::Bytes::copy_from_slice(body)) {
        assert!(!request.messages.is_empty());
    }
});
