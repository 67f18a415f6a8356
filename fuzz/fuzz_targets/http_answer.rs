//! Bytes as an HTTP answer: no panic, and the same however they are torn.
#![no_main]

use hive2api_worker::upstream::fuzz::{End, answer};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first byte says how many bytes come at once, and whether only a head was asked for.
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let is_head = first >= 0xF0;
    let torn = answer(bytes, is_head, usize::from(first % 64) + 1);
    let whole = answer(bytes, is_head, bytes.len().max(1));
    match (torn, whole) {
        (None, None) => {}
        (Some((_, _, End::TooLarge)), _) | (_, Some((_, _, End::TooLarge))) => {}
        (Some((torn_status, torn, torn_end)), Some((status, whole, end))) => {
            assert_eq!((torn_status, torn_end), (status, end));
            let both = torn.len().min(whole.len());
            assert!(torn[..both] == whole[..both]);
            assert!(end == End::Bad || torn.len() == whole.len(), "{} {}", torn.len(), whole.len());
        }
        (torn, whole) => panic!("torn {torn:?}, whole {whole:?}"),
    }
});
