use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::providers::testing::decodes_however_it_is_torn;

const A: &[u8] = include_bytes!("../../../tests/fixtures/metaso/searchv2.sse");
const B: &[u8] = include_bytes!("../../../tests/fixtures/metaso/too_many_requests.sse");
const D: &[u8] = include_bytes!("../../../tests/fixtures/metaso/chat.sse");

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    /// (characters before the mark, number)
    cited: Vec<(usize, u32)>,
    sources: Vec<(u32, String)>,
    conversation: String,
    message: String,
    finish: Option<FinishReason>,
    error: Option<Kind>,
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events) = (Decoder::new("METASO_TOKEN", false, false), Vec::new());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    let ended = fed.and_then(|()| decoder.finish(&mut events));
    let id = |id: Option<&str>| id.unwrap_or_default().to_owned();
    let mut said = Said {
        error: ended.err().map(|error| error.kind),
        conversation: id(decoder.conversation_id()),
        message: id(decoder.message_id()),
        ..Said::default()
    };
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
            ChatEvent::Cited { index } => said.cited.push((said.text.chars().count(), index)),
            ChatEvent::Citation { index, url, .. } => said.sources.push((index, url)),
            ChatEvent::Finish(reason) => {
                assert_eq!(said.finish.replace(reason), None, "two ends");
            }
            ChatEvent::Unknown(_) => {}
            other => panic!("{other:?}"),
        }
    }
    said
}

fn frames(frames: &[Value]) -> String {
    let line = |frame: &Value| format!("data:{frame}\n\n");
    frames.iter().map(line).collect()
}

fn delta(member: &str, text: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {member: text}}]})
}

#[test]
fn decodes_the_samples_of_the_wire_page() {
    for (sample, length, digest) in [
        (
            A,
            576,
            "0093000cf69be80610b45dcc32515e8ff6a3e098b69d1cc14b6cbb4d8e0bf901",
        ),
        (
            B,
            41,
            "1644815a7f6a58e5bcf8d9dfff603f9ed1f4e5c119589117f0b1a6ef49088aaa",
        ),
        (
            D,
            1221,
            "1f731d54aa9e2ca61532c24adf97d3b32434dbaafd36eb5c1c0a8ad1b3707d06",
        ),
    ] {
        let hash = Sha256::digest(sample);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((sample.len(), hex.as_str()), (length, digest));
    }
    let expected = Said {
        text: "月相周期约29.5天 👋🏽。".to_owned(),
        cited: vec![(4, 1), (14, 1)],
        sources: vec![(1, "https://example.org/1".to_owned())],
        finish: Some(FinishReason::Stop),
        ..Said::default()
    };
    assert_eq!(decode([A]), expected);
    let expected = Said {
        reasoning: "搜索中".to_owned(),
        conversation: "8641000000000000001".to_owned(),
        message: "8641000000000000003".to_owned(),
        ..expected
    };
    assert_eq!(decode([D]), expected);
    let refused = decode([B]);
    assert_eq!(
        (refused.error, refused.text.as_str()),
        (Some(Kind::RateLimited), "")
    );
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [A, B, D] {
        decodes_however_it_is_torn(
            sample,
            |pieces| decode(pieces.iter().copied()),
            |said| said.finish.is_some() != said.error.is_some(),
        );
        let crlf = String::from_utf8_lossy(sample).replace('\n', "\r\n");
        assert_eq!(decode(crlf.as_bytes().chunks(7)), decode([sample]));
    }
}

#[test]
fn ends_as_section_7_says() {
    let text = delta("content", "说");
    let error = |code: i64, msg: &str| json!({"type": "error", "code": code, "msg": msg});
    for (parts, done, error, finish) in [
        (vec![text.clone()], false, Some(Kind::Unavailable), None),
        (vec![], true, Some(Kind::Unavailable), None),
        (
            vec![delta("reasoning_content", "想")],
            true,
            Some(Kind::Unavailable),
            None,
        ),
        (vec![error(429, "x")], true, Some(Kind::RateLimited), None),
        (vec![error(4001, "x")], true, Some(Kind::QuotaSpent), None),
        (
            vec![text.clone(), error(5, "内容不合规")],
            true,
            None,
            Some(FinishReason::ContentFilter),
        ),
        (
            vec![error(5, "内容不合规")],
            true,
            Some(Kind::Moderated),
            None,
        ),
        (
            vec![json!({"errCode": 401, "errMsg": "x"})],
            false,
            Some(Kind::AuthExpired),
            None,
        ),
        (
            vec![json!({"error": {"message": "x"}})],
            true,
            Some(Kind::Unavailable),
            None,
        ),
        (
            vec![
                text.clone(),
                json!({"type": "error", "text": {"odd": 1}, "code": "429"}),
            ],
            true,
            Some(Kind::RateLimited),
            None,
        ),
        (
            vec![text, json!({"type": "new-thing", "list": 5}), json!({})],
            true,
            None,
            Some(FinishReason::Stop),
        ),
    ] {
        let stream = frames(&parts) + if done { "data: [DONE]\n\n" } else { "" };
        let said = decode([stream.as_bytes()]);
        assert_eq!((said.error, said.finish), (error, finish), "{stream}");
    }
}

#[test]
fn payloads_that_are_no_json_are_passed_over_when_the_end_comes() {
    let text = frames(&[delta("content", "x")]);
    let torn = format!("{text}data:{{\"choices\"\n\n");
    assert_eq!(decode([torn.as_bytes()]).error, Some(Kind::Protocol));
    let said = decode([format!("{torn}data: [DONE]\n\n").as_bytes()]);
    assert_eq!((said.text.as_str(), said.error), ("x", None));
    let refused = format!("{text}data:TOO_MANY_REQUESTS!\n\n");
    assert_eq!(decode([refused.as_bytes()]).error, Some(Kind::RateLimited));
}

#[test]
fn halves_of_characters_are_joined() {
    let stream = concat!(
        r#"data:{"choices":[{"delta":{"content":"a\ud83d"}}]}"#,
        "\n\n",
        r#"data:{"choices":[{"delta":{"content":"\udc4b[[1]]"}}]}"#,
        "\n\n",
        r#"data:{"type":"append-text","text":"\ud83d"}"#,
        "\n\ndata:[DONE]\n\n"
    );
    let said = decode([stream.as_bytes()]);
    assert_eq!(
        (said.text.as_str(), said.cited),
        ("a👋\u{FFFD}", vec![(2, 1)])
    );
}

#[test]
fn without_marks_all_sources_are_told() {
    let stream = frames(&[
        json!({"type": "set-reference", "list": [{"link": "a"}]}),
        json!({"type": "update-reference", "list": [{"link": "a"}, {"url": "b"}]}),
        json!({"type": "append-text", "text": "x"}),
    ]) + "data:[DONE]\n\n";
    let sources = decode([stream.as_bytes()]).sources;
    assert_eq!(sources, [(1, "a".to_owned()), (2, "b".to_owned())]);
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        decode([bytes.as_slice()]);
    }

    #[test]
    fn nasty_texts_come_through(text in "[ab\"\\\\\n\r\u{2028}你👋🏽\u{FFFD}<>]{1,40}", cut in 1_usize..40) {
        let stream = frames(&[delta("content", &text)]) + "data:[DONE]\n\n";
        let said = decode(stream.as_bytes().chunks(cut));
        proptest::prop_assert_eq!(said.text, text);
    }
}
