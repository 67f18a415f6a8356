//! Bytes as packed bodies, of requests and of answers: bounded, and where both readers take them, they read the same.
#![no_main]

use hive2api_worker::{http, upstream};

const MOST_BYTES: usize = 1 << 20;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let Some((&first, body)) = body.split_first() else { return };
    let encoding = ["gzip", "deflate", "br", "zstd"][usize::from(first % 4)];
    let asked = http::fuzz::unpacked(encoding, body, MOST_BYTES);
    assert!(asked.as_ref().is_none_or(|body| body.len() <= MOST_BYTES));
    let answered = upstream::fuzz::unpacked(encoding, body);
    if let (Some(asked), Some(answered)) = (asked, answered) {
        assert!(asked == answered, "{encoding}: {} and {} bytes", asked.len(), answered.len());
    }
});
