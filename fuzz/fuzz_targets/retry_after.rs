//! Lines as the headers of a refusal: a time to wait, or none.
#![no_main]

libfuzzer_sys::fuzz_target!(|lines: &str| {
    let _ = hive2api_worker::upstream::fuzz::retry_after(lines);
});
