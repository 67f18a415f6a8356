use serde_json::json;

use super::*;
use crate::providers::testing::decodes_however_it_is_torn;

const PLAIN: &[u8] = include_bytes!("../../../tests/fixtures/ernie/plain.sse");
const THINKING: &[u8] = include_bytes!("../../../tests/fixtures/ernie/thinking.sse");

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    pictures: Vec<String>,
    session: String,
    message: String,
    finish: Option<FinishReason>,
    error: Option<Kind>,
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events) = (Decoder::new("BAIDU_ACCOUNT_1_COOKIE"), Vec::new());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    let ended = fed.and_then(|()| decoder.finish(&mut events));
    let id = |id: Option<&str>| id.unwrap_or_default().to_owned();
    let mut said = Said {
        error: ended.err().map(|error| error.kind),
        session: id(decoder.session_id()),
        message: id(decoder.message_id()),
        ..Said::default()
    };
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
            ChatEvent::Image { url } => said.pictures.push(url),
            ChatEvent::Finish(reason) => {
                assert_eq!(said.finish.replace(reason), None, "two ends");
            }
            ChatEvent::Unknown(_) => {}
            other => panic!("{other:?}"),
        }
    }
    said
}

fn of(stream: &str) -> Said {
    decode([stream.as_bytes()])
}

fn message(content: &str, is_end: u8, whole: &str) -> String {
    let data = json!({"code": 0, "msg": "success", "data": {"content": content, "is_end": is_end, "tokens_all": whole}});
    format!("event:message\ndata:{data}\n\n")
}

fn stopped(text: &str) -> Said {
    Said {
        text: text.to_owned(),
        finish: Some(FinishReason::Stop),
        ..Said::default()
    }
}

fn failed(text: &str, kind: Kind) -> Said {
    Said {
        text: text.to_owned(),
        error: Some(kind),
        ..Said::default()
    }
}

#[test]
fn decodes_the_samples_of_the_wire_page() {
    let expected = Said {
        session: "6600000001".to_owned(),
        message: "6600000003".to_owned(),
        ..stopped("你好！")
    };
    assert_eq!(decode([PLAIN]), expected);
    let expected = Said {
        reasoning: "想想".to_owned(),
        ..stopped("2")
    };
    assert_eq!(decode([THINKING]), expected);
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [PLAIN, THINKING] {
        decodes_however_it_is_torn(
            sample,
            |pieces| decode(pieces.iter().copied()),
            |said| said.finish.is_some() != said.error.is_some(),
        );
    }
}

/// The vectors of section 5 that are frames.
#[test]
fn the_whole_text_is_said_once_at_most() {
    let pieces = message("你", 0, "") + &message("好", 0, "");
    assert_eq!(
        of(&(pieces.clone() + &message("", 1, "你好"))),
        stopped("你好")
    );
    assert_eq!(
        of(&(pieces + &message("！", 1, "你好！"))),
        stopped("你好！")
    );
    assert_eq!(
        of(&message("", 1, "第一行<br>第二行")),
        stopped("第一行\n第二行")
    );
    let pictured = of(&message(
        "<img src=\"https://x/a.png=style/wm_ai\" /><br>好",
        1,
        "x",
    ));
    assert_eq!(
        (pictured.text.as_str(), pictured.pictures),
        ("\n好", vec!["https://x/a.png".to_owned()])
    );
}

#[test]
fn tags_and_characters_are_joined_over_frames() {
    let stream = [
        message("a<b", 0, ""),
        message("r>b<im", 0, ""),
        message("g src='u'", 0, ""),
        message(" />\0c", 0, ""),
        r#"data:{"data":{"content":"\ud83d"}}"#.to_owned() + "\n\n",
        r#"data:{"data":{"content":"\udc4b<b","is_end":1}}"#.to_owned() + "\n\n",
    ];
    let said = of(&stream.concat());
    assert_eq!((said.text.as_str(), said.pictures.len()), ("a\nbc👋<b", 1));
    assert_eq!(said.finish, Some(FinishReason::Stop));
}

#[test]
fn lines_and_names_are_read_as_they_come() {
    let end = message("", 1, "");
    for stream in [
        message("x", 0, "").replace('\n', "\r\n") + &end,
        message("x", 0, "").replace(':', ": ") + &end,
        message("x", 0, "").replace("event:message\n", "") + &end,
        format!(
            "event:state\ndata:{{\"code\":7}}\n\nevent:renameSession\ndata:{{\"sessionId\":\"n\"}}\n\n{}{end}",
            message("x", 0, "")
        ),
        format!(
            "event:new\ndata:x\n\ndata:{{\"task_id\":\"1\",\"data\":{{\"content\":\"y\"}}}}\n\n{}{end}",
            message("x", 0, "")
        ),
        format!(
            "data:oops\n\ndata:[1]\n\ndata:\n\n{}{end}",
            message("x", 0, "")
        ),
        // Nothing counts after the end.
        message("x", 0, "") + &end + &message("y", 0, ""),
    ] {
        assert_eq!(of(&stream), stopped("x"), "{stream}");
    }
}

#[test]
fn the_session_is_found_in_both_places() {
    let stream =
        "event:major\ndata:{\"code\":0,\"data\":{\"sessionId\":6600000009}}\n\n".to_owned();
    assert_eq!(of(&stream).session, "6600000009");
}

#[test]
fn the_end_of_the_thinking_is_no_end() {
    let thoughts = |text: &str, is_end: u8| {
        format!("data:{}\n\n", json!({"thoughts": text, "is_end": is_end}))
    };
    let stream =
        thoughts("a<br", 0) + &thoughts(">b<", 1) + &message("x", 0, "") + &message("", 1, "");
    let said = of(&stream);
    assert_eq!(
        (said.reasoning.as_str(), said.text.as_str()),
        ("a\nb<", "x")
    );
    // Thoughts alone are no answer.
    assert_eq!(
        of(&(thoughts("a", 1) + &message("", 1, ""))).error,
        Some(Kind::Unavailable)
    );
    assert_eq!(of(&thoughts("a", 1)).error, Some(Kind::Unavailable));
}

/// The rows of section 7 that are events.
#[test]
fn what_goes_wrong_has_its_kind() {
    let coded = |code: i64, words: &str| {
        format!(
            "event:message\ndata:{}\n\n",
            json!({"code": code, "msg": words})
        )
    };
    let text = message("x", 0, "");
    for (stream, expected) in [
        (
            coded(40005, "用户访问被限制"),
            failed("", Kind::AuthExpired),
        ),
        (coded(40008, "敏感"), failed("", Kind::Moderated)),
        (
            text.clone() + &coded(1, "违规"),
            Said {
                finish: Some(FinishReason::ContentFilter),
                ..failed("x", Kind::Moderated)
            },
        ),
        (
            text.clone() + &coded(50000, "繁忙"),
            failed("x", Kind::Unavailable),
        ),
        (text, failed("x", Kind::Unavailable)),
        (message("", 1, ""), failed("", Kind::Unavailable)),
        (String::new(), failed("", Kind::Unavailable)),
        (
            "data:oops\n\ndata:oops\n\n".to_owned(),
            failed("", Kind::Protocol),
        ),
    ] {
        let expected = match expected.finish {
            Some(_) => Said {
                error: None,
                ..expected
            },
            None => expected,
        };
        assert_eq!(of(&stream), expected, "{stream}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        decode([bytes.as_slice()]);
    }

    #[test]
    fn nasty_texts_come_through(text in "[ab\"\\\\\n\r\u{2028}你👋🏽\u{FFFD}>]{1,40}", cut in 1_usize..40) {
        let stream = message(&text, 0, "") + &message("", 1, &text);
        proptest::prop_assert_eq!(decode(stream.as_bytes().chunks(cut)), stopped(&text));
    }
}
