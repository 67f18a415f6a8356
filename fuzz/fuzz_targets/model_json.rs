//! Bytes as JSON that a model wrote: no panic, what serde_json reads is the same value and nothing is mended, and what is
//! mended is JSON.
#![no_main]

use hive2api_worker::chat::emulate::json;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    match (parsed(text), json::read(text)) {
        // Deeper than calls may be.
        (Some(_), Err(json::Unreadable::TooDeep)) | (None, Err(_)) => {}
        (Some(plain), reading) => {
            let reading = reading.expect("it is JSON");
            assert!(reading.is_exact);
            assert_eq!(parsed(&reading.tree.to_json()), Some(plain));
        }
        // Numbers beyond a double are JSON, though not serde_json's.
        (None, Ok(reading)) => {
            let written = reading.tree.to_json();
            assert!(parsed(&written).is_some() || written.contains(['e', 'E']));
        }
    }
});
