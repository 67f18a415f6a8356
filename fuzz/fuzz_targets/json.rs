//! Bytes as JSON of strangers: no panic, what serde_json reads is the same value, and halves of characters are joined.
#![no_main]

use hive2api_worker::upstream::json;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let plain: Option<Value> = serde_json::from_slice(bytes).ok();
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON that we wrote");
    match (plain, json::value(bytes)) {
        (Some(plain), ours) => {
            assert_eq!(ours, Some((plain.clone(), false)));
            let mended = json::mended(bytes);
            assert_eq!(parsed(&mended), plain);
            let (normal, is_mended) = json::normal(bytes).expect("it is JSON");
            assert!(!is_mended && parsed(&normal) == plain);
            assert_eq!(json::visible(bytes).map(|it| parsed(&it)), Some(plain));
        }
        (None, Some((mut value, is_mended))) => {
            assert!(is_mended);
            json::make_whole(&mut value);
            assert!(!value.to_string().contains(json::is_half));
            let visible = json::visible(bytes).expect("it is JSON");
            assert!(!String::from_utf8_lossy(&visible).contains(json::is_half));
        }
        (None, None) => {}
    }
});
