use serde_json::{Value, json};

use super::*;
use crate::providers::testing::decodes_however_it_is_torn;

const C: &str = include_str!("../../../tests/fixtures/minimax/answer.sse");

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    rest: Vec<ChatEvent>,
    error: Option<Kind>,
}

impl Said {
    fn finish(&self) -> Option<FinishReason> {
        match self.rest.last() {
            Some(ChatEvent::Finish(reason)) => Some(*reason),
            _ => None,
        }
    }
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events, mut said) =
        (Decoder::new("MINIMAX_TOKEN"), Vec::new(), Said::default());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    said.error = fed
        .and_then(|()| decoder.finish(&mut events))
        .err()
        .map(|error| error.kind);
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
            other => said.rest.push(other),
        }
    }
    said
}

fn decoded(records: &[Value]) -> Said {
    let stream: String = records
        .iter()
        .map(|record| format!("data:{record}\n\n"))
        .collect();
    let said = decode([stream.as_bytes()]);
    // Whatever is decoded here is decoded the same byte by byte.
    assert_eq!(decode(stream.as_bytes().chunks(1)), said);
    said
}

fn piece(id: &str, text: &str) -> Value {
    json!({"type": 6, "agent_message_chunk": {"msg_id": id, "msg_content": text, "finish": false}})
}

fn last(id: &str, text: &str, reason: &str) -> Value {
    json!({"type": 6, "agent_message_chunk": {"msg_id": id, "msg_content": text, "finish": true, "finish_reason": reason}})
}

fn whole(id: &str, text: &str) -> Value {
    json!({"type": 2, "agent_message": {"msg_id": id, "role": "assistant", "msg_type": 1, "msg_content": text, "finish_reason": "stop"}})
}

fn finished() -> Value {
    json!({"type": "session_status", "session_status": {"type": "finished"}})
}

#[test]
fn decodes_the_sample_of_the_wire_page() {
    let said = decode([C.as_bytes()]);
    assert_eq!(
        (said.text.as_str(), said.reasoning.as_str(), said.finish()),
        ("Hi 👋 there", "ok", Some(FinishReason::Stop))
    );
    assert_eq!(
        said.rest.first(),
        Some(&ChatEvent::Usage(Usage {
            completion_tokens: 7,
            ..Usage::default()
        }))
    );
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [
        C.to_owned(),
        C.replace('\n', "\r\n"),
        C.replace("data:", "data: "),
    ] {
        decodes_however_it_is_torn(
            sample.as_bytes(),
            |pieces| decode(pieces.iter().copied()),
            |said| said.finish().is_some() != said.error.is_some(),
        );
        assert_eq!(decode([sample.as_bytes()]), decode([C.as_bytes()]));
    }
}

#[test]
fn the_question_that_comes_back_is_no_answer() {
    let echo = json!({"type": 2, "agent_message": {"msg_id": "1", "role": "user", "msg_type": 1, "msg_content": "secret prompt"}});
    let said = decoded(&[echo, piece("1", "echoed"), piece("2", "a"), finished()]);
    assert_eq!(
        (said.text.as_str(), said.finish()),
        ("a", Some(FinishReason::Stop))
    );
}

#[test]
fn a_last_piece_that_repeats_everything_is_held_back() {
    let repeated = decoded(&[
        piece("1", "Hi"),
        piece("1", " there"),
        last("1", "Hi there", "stop"),
        whole("1", "Hi there"),
    ]);
    assert_eq!(repeated.text, "Hi there");
    // `ha` twice may be `haha`: what follows decides.
    let doubled = decoded(&[
        piece("1", "ha"),
        last("1", "ha", "stop"),
        whole("1", "haha"),
        finished(),
    ]);
    assert_eq!(doubled.text, "haha");
    let single = decoded(&[
        piece("1", "ha"),
        last("1", "ha", "stop"),
        whole("1", "ha"),
        finished(),
    ]);
    assert_eq!(single.text, "ha");
    // Pieces that are not the last are never dropped.
    let pieces = decoded(&[
        piece("1", "ha"),
        piece("1", "ha"),
        last("1", "!", "stop"),
        finished(),
    ]);
    assert_eq!(pieces.text, "haha!");
}

#[test]
fn a_whole_message_serves_where_pieces_are_missing() {
    let alone = decoded(&[whole("1", "all at once"), finished()]);
    assert_eq!(alone.text, "all at once");
    let rest = decoded(&[piece("1", "all"), whole("1", "all at once"), finished()]);
    assert_eq!(rest.text, "all at once");
    let other = decoded(&[piece("1", "all"), whole("1", "Another"), finished()]);
    assert_eq!(other.text, "all");
    assert!(
        other
            .rest
            .contains(&ChatEvent::Rewritten("Another".to_owned()))
    );
}

#[test]
fn the_agent_goes_on_after_a_step() {
    let step = json!({"type": 2, "agent_message": {"msg_id": "2", "role": "assistant", "msg_type": 2, "msg_content": "", "tool_calls": [{"name": "web_search"}]}});
    let said = decoded(&[
        piece("1", "Let me look."),
        last("1", "", "toolUse"),
        step.clone(),
        piece("3", "Found"),
        piece("3", " it."),
        last("3", "", "stop"),
        whole("3", "Found it."),
        finished(),
    ]);
    assert_eq!(said.text, "Let me look.\n\nFound it.");
    // A step is not the end: closing then is a broken stream.
    let broken = decoded(&[piece("1", "Let me look."), last("1", "", "toolUse"), step]);
    assert_eq!(broken.error, Some(Kind::Unavailable));
}

#[test]
fn an_answer_may_end_in_several_ways() {
    let stop = last("1", "", "stop");
    for end in [
        vec![finished()],
        vec![stop.clone()],
        vec![stop.clone(), finished()],
        vec![stop, whole("1", "a")],
    ] {
        let said = decoded(&[vec![piece("1", "a")], end].concat());
        assert_eq!((said.text.as_str(), said.error), ("a", None));
    }
    let done = decode([b"data:{\"type\":6,\"agent_message_chunk\":{\"msg_id\":1,\"msg_content\":\"a\"}}\n\ndata:[DONE]\n\n".as_slice()]);
    assert_eq!((done.text.as_str(), done.error), ("a", None));
    assert_eq!(decoded(&[piece("1", "a")]).error, Some(Kind::Unavailable));
    let length = decoded(&[piece("1", "a"), last("1", "", "length"), finished()]);
    assert_eq!(length.finish(), Some(FinishReason::Length));
}

#[test]
fn errors_are_told_wherever_they_stand() {
    let kind = |records: &[Value]| decoded(records).error;
    assert_eq!(kind(&[]), Some(Kind::Unavailable));
    assert_eq!(kind(&[finished()]), Some(Kind::Unavailable));
    assert_eq!(kind(&[json!({"type": 10})]), Some(Kind::Unavailable));
    let told = |text: &str| json!({"type": 2, "agent_message": {"msg_id": "2", "role": "assistant", "msg_content": text, "finish_reason": "error"}});
    let failing = |text: &str| [last("2", "", "error"), told(text)];
    assert_eq!(
        kind(&failing("42212: 已达到 Token Plan 用量上限 (2056)")),
        Some(Kind::QuotaSpent)
    );
    assert_eq!(
        kind(&failing("sandbox connection error")),
        Some(Kind::Unavailable)
    );
    assert_eq!(kind(&failing("内容敏感")), Some(Kind::Moderated));
    assert_eq!(
        kind(&[
            json!({"type": "error", "message": "No conversation resources are available. Subscribe to continue."})
        ]),
        Some(Kind::QuotaSpent)
    );
    assert_eq!(
        kind(&[json!({"base_resp": {"status_code": 1002, "status_msg": "x"}})]),
        Some(Kind::RateLimited)
    );
    assert_eq!(
        kind(&[
            json!({"type": 10, "base_resp": {"status_code": 0}}),
            whole("1", "a"),
            finished()
        ]),
        None
    );
    // After some text moderation ends the answer.
    let cut = decoded(&[piece("1", "a"), json!({"base_resp": {"status_code": 1027}})]);
    assert_eq!(
        (cut.text.as_str(), cut.finish()),
        ("a", Some(FinishReason::ContentFilter))
    );
    assert_eq!(
        decode([b"data:not json\n\n".as_slice()]).error,
        Some(Kind::Protocol)
    );
    // What cannot be read hurts nobody where there is an answer.
    let said = decode([format!(
        "data:not json\n\ndata:{}\n\ndata:{}\n\n",
        piece("1", "a"),
        finished()
    )
    .as_bytes()]);
    assert_eq!((said.text.as_str(), said.error), ("a", None));
}

#[test]
fn half_a_character_waits_for_the_other_half() {
    let half = |text: &str| {
        format!(
            "data:{{\"type\":6,\"agent_message_chunk\":{{\"msg_id\":\"1\",\"msg_content\":\"{text}\"}}}}\n\n"
        )
    };
    let stream = [
        half(r"Hi \ud83d"),
        half(r"\udc4b!"),
        "data:[DONE]\n\n".to_owned(),
    ]
    .concat();
    assert_eq!(decode([stream.as_bytes()]).text, "Hi 👋!");
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = decode([bytes.as_slice()]);
    }

    #[test]
    fn a_text_comes_out_as_it_went_in(pieces in proptest::collection::vec(".{0,6}", 1..8)) {
        let text = pieces.concat();
        let mut records: Vec<Value> = pieces.iter().map(|text| piece("1", text)).collect();
        records.extend([last("1", "", "stop"), whole("1", &text), finished()]);
        let stream: String = records.iter().map(|record| format!("data:{record}\n\n")).collect();
        let said = decode([stream.as_bytes()]);
        if text.is_empty() {
            proptest::prop_assert_eq!(said.error, Some(Kind::Unavailable));
        } else {
            proptest::prop_assert_eq!(said.text, text);
        }
    }
}
