use serde_json::json;

use super::*;
use crate::chat::FinishReason;
use crate::providers::testing::decodes_however_it_is_torn;

const PLAIN: &str = include_str!("../../../tests/fixtures/doubao/plain.sse");
const THINKING: &str = include_str!("../../../tests/fixtures/doubao/thinking_search.sse");
const VERIFY: &str = include_str!("../../../tests/fixtures/doubao/verify.sse");
const DEAD: &str = include_str!("../../../tests/fixtures/doubao/dead_session.sse");
const SAMANTHA: &str = include_str!("../../../tests/fixtures/doubao/samantha.sse");
const ALL: &[(&str, Protocol)] = &[
    (PLAIN, Protocol::Chat),
    (THINKING, Protocol::Chat),
    (VERIFY, Protocol::Chat),
    (DEAD, Protocol::Chat),
    (SAMANTHA, Protocol::Samantha),
];

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    sources: Vec<(u32, String, String)>,
    pictures: Vec<String>,
    whole: Option<String>,
    ids: [Option<String>; 2],
    finish: Option<FinishReason>,
    error: Option<Kind>,
}

fn decode_as<'a>(
    protocol: Protocol,
    shows: Shows,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Said {
    let (mut decoder, mut events) = (Decoder::new("DOUBAO_TOKEN", protocol, shows), Vec::new());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    let ended = fed
        .and_then(|()| decoder.end(&mut events))
        .and_then(|()| decoder.finish(&mut events));
    let mut said = Said {
        ids: [decoder.conversation_id(), decoder.message_id()].map(|id| id.map(str::to_owned)),
        error: ended.err().map(|error| error.kind),
        ..Said::default()
    };
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
            ChatEvent::Citation { index, url, title } => said.sources.push((index, url, title)),
            ChatEvent::Image { url } => said.pictures.push(url),
            ChatEvent::Rewritten(text) => said.whole = Some(text),
            ChatEvent::Finish(reason) => {
                assert_eq!(said.finish.replace(reason), None, "two ends");
            }
            ChatEvent::Unknown(_) => {}
            other => panic!("{other:?}"),
        }
    }
    said
}

fn decode(stream: &str) -> Said {
    decode_as(Protocol::Chat, Shows::Everything, [stream.as_bytes()])
}

fn event(name: &str, data: &Value) -> String {
    format!("id: 1\nevent: {name}\ndata: {data}\n\n")
}

fn patch(object: u32, value: &Value) -> String {
    let patch = json!({"patch_object": object, "patch_type": 1, "patch_value": value});
    event(
        "STREAM_CHUNK",
        &json!({"message_id": "9", "patch_op": [patch]}),
    )
}

fn block(block: &Value) -> String {
    patch(1, &json!({"content_block": [block]}))
}

fn whole(id: &str, parent: &str, text: &str, patch_type: u32) -> String {
    block(&json!({
        "block_type": 10000, "block_id": id, "parent_id": parent, "patch_type": patch_type,
        "content": {"text_block": {"text": text}},
    }))
}

fn delta(text: &str) -> String {
    event("CHUNK_DELTA", &json!({"text": text}))
}

fn end(kind: u32, brief: &str) -> String {
    event(
        "SSE_REPLY_END",
        &json!({"end_type": kind, "msg_finish_attr": {"brief": brief}}),
    )
}

fn snapshot(id: &str, text: &str) -> String {
    let block =
        json!({"block_type": 10000, "block_id": id, "content": {"text_block": {"text": text}}});
    let snapshot = json!({"meta": {"message_id": "9"}, "content": {"content_block": [block]}});
    event(
        "ASYNC_CHUNK_SNAPSHOT",
        &json!({"message_snapshots": [snapshot], "next_seq": 1}),
    )
}

#[test]
fn decodes_the_samples_of_the_wire_page() {
    let ids = ["38300000000000001", "38300000000000004"].map(|id| Some(id.to_owned()));
    let stop = Some(FinishReason::Stop);
    let said = decode(PLAIN);
    let expected = Said {
        text: "Hi! 👋 很高兴见到你。\n再见".to_owned(),
        ids: ids.clone(),
        finish: stop,
        ..Said::default()
    };
    assert_eq!(said, expected);
    let expected = Said {
        text: "答案".to_owned(),
        reasoning: "先想一想".to_owned(),
        sources: vec![(1, "https://example.com/1".to_owned(), "资料一".to_owned())],
        ids: ids.clone(),
        finish: stop,
        ..Said::default()
    };
    assert_eq!(decode(THINKING), expected);
    assert_eq!(decode(VERIFY).error, Some(Kind::Verification));
    assert_eq!(decode(DEAD).error, Some(Kind::AuthExpired));
    let expected = Said {
        text: "Hello \"你\"😊".to_owned(),
        ids,
        finish: stop,
        ..Said::default()
    };
    let said = decode_as(Protocol::Samantha, Shows::Everything, [SAMANTHA.as_bytes()]);
    assert_eq!(said, expected);
}

#[test]
fn it_may_be_torn_anywhere() {
    for &(sample, protocol) in ALL {
        let decode =
            |pieces: &[&[u8]]| decode_as(protocol, Shows::Everything, pieces.iter().copied());
        decodes_however_it_is_torn(
            sample.as_bytes(),
            |pieces| decode(pieces),
            |said| said.finish.is_some() != said.error.is_some(),
        );
        let crlf = sample.replace('\n', "\r\n");
        assert_eq!(decode(&[crlf.as_bytes()]), decode(&[sample.as_bytes()]));
    }
}

#[test]
fn pieces_go_where_the_last_block_went() {
    let think = |finished: bool, kind: u32| {
        block(
            &json!({"block_type": kind, "block_id": "7", "is_finish": finished, "content": {"thinking_block": {}}}),
        )
    };
    for kind in [10040, 10090] {
        let stream = [
            delta("a"),
            think(false, kind),
            delta("t1"),
            whole("8", "7", "t2", 1),
            delta("t3"),
            think(true, kind),
            delta("b"),
            whole("9", "6", "c", 1),
            delta("d"),
            end(3, ""),
        ]
        .concat();
        let said = decode(&stream);
        assert_eq!(
            (said.text.as_str(), said.reasoning.as_str()),
            ("abcd", "t1t2t3")
        );
    }
    let hidden = block(&json!({
        "block_type": 10000, "block_id": "1", "control_info": {"is_visible": false},
        "content": {"text_block": {"text": "secret"}},
    }));
    let stream = [hidden, delta("more"), whole("2", "", "x", 1), end(3, "")].concat();
    assert_eq!(decode(&stream).text, "x");
}

#[test]
fn what_was_sent_is_not_sent_again() {
    let stream = [
        whole("1", "", "ab", 1),
        snapshot("1", "abc"),
        snapshot("1", "abc"),
        whole("1", "", "abcd", 2),
        delta("e"),
        patch(111, &json!({"tts_content": "abcde"})),
        patch(3, &json!({"content_block": [{"block_type": 10000, "block_id": "1", "content": {"text_block": {"text": "abcdef"}}}]})),
        end(1, "abcdefg"),
        end(3, ""),
    ]
    .concat();
    let said = decode(&stream);
    assert_eq!((said.text.as_str(), said.whole), ("abcdefg", None));
}

#[test]
fn what_is_taken_back_is_only_told_in_the_end() {
    let stream = [
        whole("1", "", "first", 1),
        whole("1", "", "second", 2),
        delta("!"),
        end(1, "second!"),
        end(3, ""),
    ]
    .concat();
    let said = decode(&stream);
    assert_eq!(
        (said.text.as_str(), said.whole.as_deref()),
        ("first!", Some("second!"))
    );
}

#[test]
fn a_brief_only_completes() {
    for (said, brief, expected) in [
        ("", "all of it", "all of it"),
        ("all", "all of it", "all of it"),
        ("all of it", "all", "all of it"),
        ("all of it", "other", "all of it"),
    ] {
        let stream = [delta(said), end(1, brief), end(3, "")].concat();
        assert_eq!(decode(&stream).text, expected);
    }
}

#[test]
fn members_may_be_packed_as_text() {
    let blocks = json!([{"block_type": "10000", "block_id": 5, "content": json!({"text_block": {"text": "b"}}).to_string()}]);
    let patches = json!([
        {"patch_object": "1", "patch_value": json!({"content_block": blocks}).to_string()},
        {"patch_object": 102, "patch_value": {"content": "{\"text\":\"c\"}"}},
        {"patch_object": 102, "patch_value": {"content": "d {"}},
        {"patch_object": 102, "patch_value": {"content": "{\"x\":1}"}},
    ]);
    let stream = [
        event("STREAM_MSG_NOTIFY", &json!({
            "content": json!({"content_block": [{"block_type": 10000, "block_id": 5, "content": {"text_block": {"text": "a"}}}]}).to_string(),
            "meta": {"conversation_id": 38_300_000_000_000_001_i64, "message_id": 4},
        })),
        event("STREAM_CHUNK", &json!({"patch_op": patches.to_string()})),
        event("FULL_MSG_NOTIFY", &json!({"message": {"user_type": 1, "content_block": blocks}})),
        end(3, ""),
    ]
    .concat();
    let said = decode(&stream);
    assert_eq!(said.text, "abcd {{\"x\":1}");
    assert_eq!(said.ids[0].as_deref(), Some("38300000000000001"));
}

#[test]
fn ends_as_section_7_says() {
    let error = |number: i64, name: &str| {
        event(
            name,
            &json!({"error_code": number, "error_msg": "内容审核未通过"}),
        )
    };
    let moderated = error(710_023_001, "STREAM_MSG_ERROR");
    for (stream, error, finish) in [
        (delta("x"), Some(Kind::Unavailable), None),
        (end(3, ""), Some(Kind::Unavailable), None),
        (
            [delta("x"), end(1, "")].concat(),
            None,
            Some(FinishReason::Stop),
        ),
        (
            [moderated.clone(), end(3, "")].concat(),
            Some(Kind::Moderated),
            None,
        ),
        (
            [delta("x"), moderated, end(3, "")].concat(),
            None,
            Some(FinishReason::ContentFilter),
        ),
        (
            [delta("x"), error(710_022_002, "STREAM_ERROR")].concat(),
            Some(Kind::RateLimited),
            None,
        ),
        (
            "data: {\"code\":710012001,\"msg\":\"x\"}\n\n".to_owned(),
            Some(Kind::AuthExpired),
            None,
        ),
        (
            [delta("x"), "event: CHUNK_DELTA\ndata: x\n\n".to_owned()].concat(),
            Some(Kind::Protocol),
            None,
        ),
        (
            [
                delta("x"),
                "event: NEWS\ndata: x\n\n".to_owned(),
                event("FETCH_STREAM", &json!({"fetch_type": 2})),
                block(&json!({"block_type": 77})),
                end(3, ""),
                delta("late"),
            ]
            .concat(),
            None,
            Some(FinishReason::Stop),
        ),
    ] {
        let said = decode(&stream);
        assert_eq!((said.error, said.finish), (error, finish), "{stream}");
    }
}

#[test]
fn the_service_says_how_long_to_wait() {
    let (mut decoder, mut events) = (
        Decoder::new("V", Protocol::Chat, Shows::Everything),
        Vec::new(),
    );
    assert_eq!(decoder.patience(), None);
    let ack = json!({"ack_client_meta": {"conversation_id": "0"}, "timeout_conf": {"answer_first_pending_time": 90_000, "packet_interval_time": 30_000}});
    decoder
        .feed(event("SSE_ACK", &ack).as_bytes(), &mut events)
        .unwrap();
    assert_eq!(decoder.patience(), Some(Duration::from_secs(90)));
    assert_eq!(decoder.conversation_id(), None);
    decoder.feed(delta("x").as_bytes(), &mut events).unwrap();
    assert_eq!(decoder.patience(), Some(Duration::from_secs(30)));
}

#[test]
fn pictures_come_with_the_answer_or_are_looked_for() {
    let creation = |image: &Value| {
        block(
            &json!({"block_type": 2074, "block_id": "3", "patch_type": 3, "content": {"creation_block": {"creations": [{"image": image}]}}}),
        )
    };
    let stream = [
        delta("正在为你生成图片"),
        creation(&json!({"key": "k"})),
        creation(&json!({"key": "k", "image_ori": {"url": "u"}})),
        end(3, ""),
    ]
    .concat();
    let said = decode(&stream);
    assert_eq!(said.pictures, ["u"]);
    assert_eq!(said.text, "正在为你生成图片");
    let alone = |stream: &str| decode_as(Protocol::Chat, Shows::Pictures, [stream.as_bytes()]);
    let said = alone(&stream);
    assert_eq!((said.pictures.len(), said.text.as_str()), (1, ""));
    assert_eq!(
        alone(&[delta("今天的额度用完了"), end(3, "")].concat()).error,
        Some(Kind::Unavailable)
    );
    let mut decoder = Decoder::new("V", Protocol::Chat, Shows::Pictures);
    let mut events = Vec::new();
    decoder.feed(end(3, "").as_bytes(), &mut events).unwrap();
    assert!(decoder.wants_pictures());
    let created = json!({"creation_block": {"creations": [{"image": {"key": "k", "image_ori": {"url": "u"}}}]}});
    let own = |user: u32| json!({"user_type": user, "content_block": [{"is_finish": true, "content": created}]});
    assert!(!decoder.take_messages(&[own(1), json!({"user_type": 2, "content_block": []})]));
    let kept = json!([{"BlockInfo": {"BlockType": 2074, "BlockContent": {"content": created}, "BlockMeta": {"is_finish": true}}}]);
    let kept = json!({"user_type": 2, "ext": {"creation_full_content": kept.to_string()}});
    assert!(decoder.take_messages(&[kept, own(2)]));
    decoder.finish(&mut events).unwrap();
    let images = events
        .iter()
        .filter(|event| matches!(event, ChatEvent::Image { .. }));
    assert_eq!(images.count(), 1);
}

#[test]
fn the_older_route_says_it_in_its_own_way() {
    let frame = |kind: u32, data: &Value| {
        format!(
            "data: {}\n\n",
            json!({"event_data": data.to_string(), "event_id": "1", "event_type": kind})
        )
    };
    let message = |kind: u32, content: &Value| {
        frame(
            2001,
            &json!({"message": {"content_type": kind, "content": content.to_string()}, "message_id": "4"}),
        )
    };
    let older = |stream: &[String]| {
        let stream = stream.concat();
        decode_as(Protocol::Samantha, Shows::Everything, [stream.as_bytes()])
    };
    let said = older(&[
        frame(2002, &json!({"conversation_id": "3"})),
        message(10040, &json!({"finish_title": "深度思考中"})),
        message(10000, &json!({"text": "想"})),
        message(10040, &json!({"finish_title": "已完成思考"})),
        message(
            10025,
            &json!({"results": [{"text_card": {"url": "a", "title": "A"}}]}),
        ),
        message(10000, &json!({"text": "答"})),
        message(2071, &json!({"delta": {"text": "案"}})),
        message(
            2074,
            &json!({"creations": [{"image": {"key": "k", "status": 2, "image_ori": {"url": "p"}}}]}),
        ),
        frame(
            2001,
            &json!({"message": {"content_type": 2007, "content": "{}", "meta_infos": [{"type": 104, "info": json!({"url": "b", "title": "B"}).to_string()}]}}),
        ),
        frame(2003, &json!({})),
    ]);
    assert_eq!(
        (said.reasoning.as_str(), said.text.as_str(), said.finish),
        ("想", "答案", Some(FinishReason::Stop))
    );
    assert_eq!((said.sources.len(), said.pictures.len()), (2, 1));
    let decision = json!({"type": "verify", "subtype": "slide"}).to_string();
    let detail = json!({"code": 710_022_004, "message": "x", "ext": {"decision": decision}});
    let refused = frame(
        2005,
        &json!({"code": 710_022_004, "message": "x", "error_detail": detail}),
    );
    assert_eq!(older(&[refused]).error, Some(Kind::Verification));
    let bare = "data: {\"code\":710022002,\"message\":\"block\"}\n\n".to_owned();
    assert_eq!(older(&[bare]).error, Some(Kind::RateLimited));
    let cut = older(&[message(2001, &json!({"text": "x"}))]);
    assert_eq!(cut.error, Some(Kind::Unavailable));
}

#[test]
fn halves_of_characters_are_joined() {
    let half = |text: &str| format!("event: CHUNK_DELTA\ndata: {{\"text\":\"{text}\"}}\n\n");
    let stream = [half(r"a\ud83d"), half(r"\udc4bb\ud83d"), end(3, "")].concat();
    assert_eq!(decode(&stream).text, "a👋b\u{FFFD}");
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), older in proptest::bool::ANY) {
        let protocol = if older { Protocol::Samantha } else { Protocol::Chat };
        decode_as(protocol, Shows::Everything, [bytes.as_slice()]);
    }

    #[test]
    fn nasty_texts_come_through(text in "[ab\"\\\\{}\n\r\u{2028}你👋🏽\u{FFFD}<>]{1,40}", cut in 1_usize..40) {
        let stream = [whole("1", "", &text, 1), delta(&text), end(3, "")].concat();
        let said = decode_as(Protocol::Chat, Shows::Everything, stream.as_bytes().chunks(cut));
        proptest::prop_assert_eq!(said.text, text.repeat(2));
    }
}
