use serde_json::json;

use super::*;
use crate::{chat::Kind, providers::testing::decodes_however_it_is_torn};

const A: &[u8] = include_bytes!("../../../tests/fixtures/flowgpt/plain.ndjson");
const B: &[u8] = include_bytes!("../../../tests/fixtures/flowgpt/preamble.ndjson");
const C: &[u8] = include_bytes!("../../../tests/fixtures/flowgpt/long.ndjson");

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    finish: Option<FinishReason>,
    error: Option<Kind>,
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events) = (Decoder::new("FLOWGPT_BEARER_TOKEN"), Vec::new());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    let ended = fed.and_then(|()| decoder.finish(&mut events));
    let mut said = Said {
        error: ended.err().map(|error| error.kind),
        ..Said::default()
    };
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Finish(reason) => {
                assert_eq!(said.finish.replace(reason), None, "two ends");
            }
            ChatEvent::Unknown(_) => {}
            other => panic!("{other:?}"),
        }
    }
    said
}

fn whole(text: &str) -> Said {
    Said {
        text: text.to_owned(),
        finish: Some(FinishReason::Stop),
        error: None,
    }
}

fn failed(text: &str, kind: Kind) -> Said {
    Said {
        text: text.to_owned(),
        finish: None,
        error: Some(kind),
    }
}

fn piece(text: &str) -> String {
    format!("{}\n", json!({"event": "text", "data": text}))
}

#[test]
fn decodes_the_samples_of_the_wire_page() {
    assert_eq!(decode([A]), whole("Hello, мир 👋"));
    assert_eq!(decode([B]), whole("Paris."));
    assert_eq!(decode([C]), whole(&"aaaa bbbb cccc".repeat(12)));
}

/// Sample C, line by line: nothing for eleven lines, all of it with the twelfth.
#[test]
fn what_cannot_be_a_preamble_any_more_goes_out_at_once() {
    let mut decoder = Decoder::new("FLOWGPT_BEARER_TOKEN");
    let lines = C.split_inclusive(|&byte| byte == b'\n');
    for (at, line) in lines.enumerate() {
        let mut events = Vec::new();
        decoder.feed(line, &mut events).unwrap();
        let expected = (at == 11).then(|| ChatEvent::Text("aaaa bbbb cccc".repeat(12)));
        assert_eq!(events, Vec::from_iter(expected), "line {at}");
    }
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [A, B, C] {
        decodes_however_it_is_torn(
            sample,
            |pieces| decode(pieces.iter().copied()),
            |said| said.finish.is_some() != said.error.is_some(),
        );
    }
}

#[test]
fn lines_are_read_as_they_come() {
    for (stream, text) in [
        (
            "{\"event\":\"text\",\"data\":\"a\"}\r\n\r\n{\"event\":\"text\",\"data\":\"b\"}\r\n",
            "ab",
        ),
        // The last line lacks its end.
        (
            "{\"data\":\"a\"}\n{\"event\":\"text\",\"data\":\"b\"}",
            "ab",
        ),
        ("\u{FEFF}{\"event\":null,\"data\":\"a\"}\n", "a"),
        // Other events are nobody's business, nor is data that is no text.
        (
            "{\"event\":\"title\",\"data\":\"x\"}\n{\"event\":7,\"data\":\"y\"}\n{\"data\":\"a\"}\n",
            "a",
        ),
        (
            "{\"event\":\"text\",\"data\":{\"x\":1}}\n{\"event\":\"text\"}\n{}\n{\"data\":\"a\"}\n",
            "a",
        ),
        (
            "ping\n[\"text\",\"x\"]\n\"x\"\n{\"event\":\"tex\n{\"data\":\"a\"}\n",
            "a",
        ),
        ("{\"data\":\"x\",\"data\":\"a\"}\n", "a"),
    ] {
        assert_eq!(decode([stream.as_bytes()]), whole(text), "{stream}");
    }
}

#[test]
fn halves_of_characters_are_joined() {
    let stream = "{\"event\":\"text\",\"data\":\"a\\ud83d\"}\n{\"event\":\"text\",\"data\":\"\\udc4b\"}\n{\"event\":\"text\",\"data\":\"\\ud83d\"}\n";
    assert_eq!(decode([stream.as_bytes()]), whole("a👋\u{FFFD}"));
}

/// The rows of section 7 that are events.
#[test]
fn what_goes_wrong_has_its_kind() {
    let error = |data: &str| format!("{{\"event\":\"error\",\"data\":{data}}}\n");
    let long = piece(&"x".repeat(200));
    for (stream, expected) in [
        (String::new(), failed("", Kind::Unavailable)),
        (
            "{\"event\":\"metadata\",\"data\":{}}\n".to_owned(),
            failed("", Kind::Unavailable),
        ),
        (piece(""), failed("", Kind::Unavailable)),
        // A preamble alone says nothing.
        (piece("**Response:** \n"), failed("", Kind::Unavailable)),
        ("<html>\noops\n".to_owned(), failed("", Kind::Protocol)),
        (
            error("\"violates the content policy\""),
            failed("", Kind::Moderated),
        ),
        (
            error("{\"message\":\"policy\"}"),
            failed("", Kind::Moderated),
        ),
        (error("\"model failed\""), failed("", Kind::Unavailable)),
        // Nothing of a short text has gone out when it fails.
        (
            piece("short") + &error("null"),
            failed("", Kind::Unavailable),
        ),
        (
            long.clone() + &error("\"x\""),
            failed(&"x".repeat(200), Kind::Unavailable),
        ),
        (long + "oops\n", whole(&"x".repeat(200))),
        (
            "{\"statusCode\":401,\"message\":\"Unauthorized\",\"error\":\"Unauthorized\"}\n"
                .to_owned(),
            failed("", Kind::AuthExpired),
        ),
    ] {
        assert_eq!(decode([stream.as_bytes()]), expected, "{stream}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        decode([bytes.as_slice()]);
    }

    #[test]
    fn nasty_texts_come_through(text in "[ab\"\\\\\n\r\u{2028}你👋🏽\u{FFFD}<>]{1,40}", cut in 1_usize..40) {
        let stream = piece(&text);
        proptest::prop_assert_eq!(decode(stream.as_bytes().chunks(cut)), whole(&text));
    }
}
