//! Bytes as a request's body that is put right: serde_json reads the same from it, and each member once.
#![no_main]

use hive2api_worker::http::openai::body::fuzz::tidied;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let Ok(body) = std::str::from_utf8(body) else { return };
    let Some(tidy) = tidied(body) else { return };
    assert_eq!(tidy.len(), body.len());
    // Of members that come twice this reader takes the last one, too; halves of characters it does not read at all.
    if let Ok(read) = serde_json::from_str::<Value>(body) {
        assert_eq!(serde_json::from_str::<Value>(&tidy).ok(), Some(read));
    }
    assert_eq!(tidied(&tidy), None, "{tidy}");
});
