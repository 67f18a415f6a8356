//! Bytes as a model's answer where tools are emulated, torn at a place that the first byte names: no panic, the pieces make
//! no difference, and a call's arguments are a JSON object.
#![no_main]

use std::sync::{Arc, LazyLock};

use hive2api_worker::chat::emulate::{
    found::{End, Found},
    nonce::Nonce,
    schema::Offered,
    turn::{Round, Settings, Turn},
};
use hive2api_worker::http::openai::body;

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let request = br#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[
        {"type":"function","function":{"name":"ping"}},
        {"type":"function","function":{"name":"read","parameters":{"type":"object","required":["path"],"properties":{
            "path":{"type":"string"},"limit":{"type":"integer"}}}}},
        {"type":"function","function":{"name":"edit","parameters":{"type":"object","properties":{"edits":{"type":"array",
            "items":{"type":"object","properties":{"old":{"type":"string"},"new":{"type":["string","null"]}}}}}}}}]}"#;
    let request = body::read(bytes::Bytes::from_static(request)).expect("a request");
    Settings {
        nonce: Nonce::new("k7q2").expect("a nonce"),
        offered: Arc::new(Offered::new(&request).expect("tools")),
        bare_json: true,
        turn_marks: &["<|im_start|>"],
        taken: None,
        round: Round::First,
    }
});

/// The words, and all else in its order.
fn decode(pieces: [&str; 2], end: End) -> (String, Vec<Found>) {
    let (mut turn, mut found) = (Turn::new(SETTINGS.clone()), Vec::new());
    for piece in pieces {
        turn.text(piece.to_owned(), &mut found);
    }
    turn.finish(end, &mut found);
    let mut words = String::new();
    found.retain(|found| match found {
        Found::Text(text) => {
            words.push_str(text);
            false
        }
        Found::Left(_) => false,
        _ => true,
    });
    (words, found)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    let end = [End::Clean, End::Cut, End::Broken][usize::from(first) % 3];
    let mut at = usize::from(first).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let (head, tail) = text.split_at(at);
    let whole = decode([&text, ""], end);
    assert_eq!(decode([head, tail], end), whole);
    for found in whole.1 {
        if let Found::Call(call) = found {
            assert!(call.arguments.starts_with('{'));
            let read: Result<Box<serde_json::value::RawValue>, _> = serde_json::from_str(&call.arguments);
            assert!(read.is_ok());
        }
    }
});
