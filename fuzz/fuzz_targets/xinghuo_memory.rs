//! Text with what xinghuo notes about its user: cut off at the same place however it is torn.
#![no_main]

use hive2api_worker::providers::xinghuo::fuzz::without_memory;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let whole = without_memory(std::iter::once(text));
    assert!(text.starts_with(&whole));
    let torn = text.split_inclusive(|c: char| c == '`' || c == 'E' || c == '\n');
    assert_eq!(without_memory(torn), whole);
    let by_chars = text.char_indices().filter_map(|(at, c)| text.get(at..at + c.len_utf8()));
    assert_eq!(without_memory(by_chars), whole);
});
