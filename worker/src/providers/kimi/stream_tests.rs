use serde_json::json;

use super::*;
use crate::providers::testing::decodes_however_it_is_torn;
use crate::{chat::Kind, upstream::connect};

/// The samples A, B and C of wire/kimi.md section 6, to the byte.
const ANSWER: &[u8] = include_bytes!("../../../tests/fixtures/kimi/answer.bin");
const SEARCH: &[u8] = include_bytes!("../../../tests/fixtures/kimi/search.bin");
const OVERLOADED: &[u8] = include_bytes!("../../../tests/fixtures/kimi/overloaded.bin");

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    /// Number and place of every citation.
    cited: Vec<(u32, usize)>,
    rest: Vec<ChatEvent>,
    /// The upstream ids of conversation and answer.
    ids: [Option<String>; 2],
    unknown: Vec<&'static str>,
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

/// Decodes a stream given in pieces; deltas are joined, as their cuts depend on those of the bytes only in time.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events, mut said) =
        (Decoder::new("KIMI_TOKEN"), Vec::new(), Said::default());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    said.error = fed
        .and_then(|()| decoder.finish(&mut events))
        .err()
        .map(|error| error.kind);
    said.ids = [decoder.chat_id(), decoder.message_id()].map(|id| id.map(str::to_owned));
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
            ChatEvent::Unknown(place) => said.unknown.push(place),
            ChatEvent::Cited { index } => said.cited.push((index, said.text.chars().count())),
            other => said.rest.push(other),
        }
    }
    said
}

/// A stream of these events, with a trailer where the last one says so.
fn stream(events: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        let payload = event.get("trailer").unwrap_or(event);
        let mut envelope = connect::envelope(payload.to_string().as_bytes()).to_vec();
        if event.get("trailer").is_some() {
            envelope[0] = 2;
        }
        bytes.append(&mut envelope);
    }
    bytes
}

fn decode_events(events: &[Value]) -> Said {
    decode([stream(events).as_slice()])
}

fn set(id: &str, text: &str) -> Value {
    json!({"op": "set", "mask": "block.text", "block": {"id": id, "text": {"content": text}}})
}

fn append(id: &str, text: &str) -> Value {
    json!({"op": "append", "mask": "block.text.content", "block": {"id": id, "text": {"content": text}}})
}

fn exception(reason: &str) -> Value {
    json!({"op": "set", "mask": "block.exception", "block": {"id": "9", "exception": {"error": {"reason": reason, "localizedMessage": {"locale": "en", "message": "m"}, "severity": "s"}}}})
}

fn done() -> Value {
    json!({"eventOffset": 7, "done": {}})
}

#[test]
fn decodes_the_samples_of_the_wire_page() {
    let ids = [
        "19c00000-0000-8000-8000-000000000001",
        "19c00000-0000-8000-8000-000000000003",
    ]
    .map(|id| Some(id.to_owned()));
    let said = decode([ANSWER]);
    assert_eq!(said.text, "Привет 👋🏽");
    assert_eq!(said.rest, [ChatEvent::Finish(FinishReason::Stop)]);
    assert_eq!(said.ids, ids);
    let said = decode([SEARCH]);
    assert_eq!(
        (said.reasoning.as_str(), said.text.as_str()),
        ("先想想", "ABCD.")
    );
    assert_eq!(said.cited, [(1, 1), (2, 1)]);
    let citation = |index, url: &str, title: &str| ChatEvent::Citation {
        index,
        url: url.into(),
        title: title.into(),
    };
    assert_eq!(
        said.rest,
        [
            citation(1, "https://example.org/0", "T0"),
            citation(2, "https://example.org/1", "T1"),
            ChatEvent::Finish(FinishReason::Stop),
        ]
    );
    assert_eq!(said.ids, ids);
    assert_eq!(decode([OVERLOADED]).error, Some(Kind::RateLimited));
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [ANSWER, SEARCH, OVERLOADED] {
        decodes_however_it_is_torn(
            sample,
            |pieces| decode(pieces.iter().copied()),
            |said| said.finish().is_some() != said.error.is_some(),
        );
    }
}

#[test]
fn the_end_has_several_forms() {
    let completed = json!({"op": "set", "mask": "message.status", "message": {"id": "a", "status": "MESSAGE_STATUS_COMPLETED"}});
    let echo = json!({"op": "set", "mask": "message", "message": {"id": "q", "role": "user", "status": "MESSAGE_STATUS_COMPLETED", "blocks": [{"id": "t", "text": {"content": "hi"}}]}});
    let echo_status = json!({"op": "set", "mask": "message.status", "message": {"id": "q", "status": "MESSAGE_STATUS_COMPLETED"}});
    let text = set("1", "x");
    for end in [
        vec![done()],
        vec![completed.clone()],
        vec![json!({"trailer": {}})],
        vec![json!({"trailer": {"metadata": {"a": ["b"]}}})],
        vec![completed, done(), json!({"trailer": {}})],
    ] {
        let events = [vec![echo.clone(), text.clone()], end].concat();
        let said = decode_events(&events);
        assert_eq!(
            (said.text.as_str(), said.finish()),
            ("x", Some(FinishReason::Stop)),
            "{events:?}"
        );
    }
    for open in [vec![], vec![echo.clone()], vec![echo_status]] {
        let events = [vec![echo.clone(), text.clone()], open].concat();
        assert_eq!(decode_events(&events).error, Some(Kind::Unavailable));
    }
    // The echo alone is no answer, however regular the end.
    assert_eq!(
        decode_events(&[echo, done(), json!({"trailer": {}})]).error,
        Some(Kind::Unavailable)
    );
}

#[test]
fn an_error_after_done_is_still_one() {
    let error = json!({"trailer": {"error": {"code": "unavailable"}}});
    let said = decode_events(&[set("1", "x"), done(), error]);
    assert_eq!(
        (said.text.as_str(), said.error),
        ("x", Some(Kind::Unavailable))
    );
}

#[test]
fn errors_hide_in_every_corner() {
    for (events, kind) in [
        (
            vec![json!({"error": {"code": "unauthenticated"}})],
            Kind::AuthExpired,
        ),
        (
            vec![
                set("1", "x"),
                json!({"trailer": {"error": {"code": "internal"}}}),
            ],
            Kind::Unavailable,
        ),
        (
            vec![
                exception("REASON_COMPLETION_OVERLOADED"),
                done(),
                json!({"trailer": {}}),
            ],
            Kind::Unavailable,
        ),
        (
            vec![set("1", "x"), exception("REASON_ODD"), done()],
            Kind::Unavailable,
        ),
        (
            vec![exception("REASON_CONTENT_RISK"), done()],
            Kind::Moderated,
        ),
        (
            vec![
                json!({"op": "set", "notification": {"type": "TYPE_CONTENT_FILTERED"}}),
                done(),
            ],
            Kind::Moderated,
        ),
        (vec![done(), json!({"trailer": {}})], Kind::Unavailable),
    ] {
        assert_eq!(decode_events(&events).error, Some(kind), "{events:?}");
    }
    for bytes in [
        &b"\0\0\0\0\x01{"[..],
        b"\x01\0\0\0\x02{}",
        b"\x08\0\0\0\x02{}",
        b"\0\x7f\xff\xff\xff",
        b"{\"error\":{}}",
        b"\x02\0\0\0\x01[",
    ] {
        assert_eq!(decode([bytes]).error, Some(Kind::Protocol), "{bytes:?}");
    }
}

#[test]
fn moderation_after_text_keeps_the_text() {
    for moderation in [
        exception("REASON_SENSITIVE"),
        json!({"notification": {"type": "type_content_filter"}}),
    ] {
        let said = decode_events(&[set("1", "x"), moderation, append("1", "sorry"), done()]);
        assert_eq!(
            (said.text.as_str(), said.finish(), said.error),
            ("x", Some(FinishReason::ContentFilter), None)
        );
    }
    let degraded =
        json!({"op": "set", "notification": {"type": "TYPE_MODEL_DEGRADE", "message": "m"}});
    assert_eq!(decode_events(&[degraded, set("1", "x"), done()]).text, "x");
}

#[test]
fn blocks_follow_one_another_and_are_never_repeated() {
    for (events, text) in [
        (
            vec![
                set("1", "a"),
                append("1", "b"),
                set("2", "c"),
                append("2", "d"),
            ],
            "abcd",
        ),
        // The same block again: only what extends it.
        (
            vec![
                set("1", "ab"),
                set("1", "abc"),
                append("1", "d"),
                set("1", "abcd"),
            ],
            "abcd",
        ),
        (vec![set("1", "é"), set("1", "éé")], "éé"),
        // Rewritten: what was sent stands, what is appended goes on.
        (
            vec![set("1", "abc"), set("1", "xyz123"), append("1", "d")],
            "abcd",
        ),
        (
            vec![set("1", "abc"), set("1", "a"), append("1", "d")],
            "abcd",
        ),
        (vec![set("1", "é"), set("1", "aé")], "é"),
        (vec![set("1", ""), append("1", "x")], "x"),
        (vec![append("7", "x"), append("7", "y")], "xy"),
        (
            vec![json!({"op": "append", "block": {"text": {"content": "old"}}})],
            "old",
        ),
        (
            vec![
                json!({"mask": "block.text", "block": {"text": {"content": "no op"}}}),
                set("1", "x"),
            ],
            "x",
        ),
        (
            vec![
                json!({"op": "set", "mask": "block.odd", "block": {"text": {"content": "no"}}}),
                set("1", "x"),
            ],
            "x",
        ),
    ] {
        let ended = [events.clone(), vec![done()]].concat();
        assert_eq!(decode_events(&ended).text, text, "{events:?}");
    }
}

#[test]
fn thinking_and_text_are_told_apart_by_the_mask() {
    let think = |op: &str, mask: &str, text: &str| json!({"op": op, "mask": mask, "block": {"id": "1", "think": {"content": text}}});
    let said = decode_events(&[
        think("set", "block.think", "a"),
        think("append", "block.think.content", "b"),
        set("1", "t"),
        done(),
    ]);
    assert_eq!((said.reasoning.as_str(), said.text.as_str()), ("ab", "t"));
    let said = decode_events(&[think("set", "block.think", "only"), done()]);
    assert_eq!(said.finish(), Some(FinishReason::Stop));
}

#[test]
fn sources_may_come_after_the_text_that_cites_them() {
    let chunks = json!([{"searchResult": {"base": {"title": "T", "url": "u"}, "refIndex": "w#0"}}]);
    let said = decode_events(&[
        set("1", "A\u{E3A0}cite\u{E3A3}w#0\u{E3A8}B\u{E3A0}ci"),
        json!({"op": "set", "mask": "message.refs.searchChunks", "message": {"id": "a", "refs": {"searchChunks": chunks}}}),
        done(),
    ]);
    assert_eq!(
        (said.text.as_str(), said.cited.as_slice()),
        ("AB", &[(1, 1)][..])
    );
    assert!(matches!(&said.rest[0], ChatEvent::Citation { index: 1, url, .. } if url == "u"));
}

#[test]
fn what_is_not_known_is_ignored() {
    let said = decode_events(&[
        json!({"heartbeat": {}}),
        json!({"eventOffset": 1, "heartbeat": {}}),
        json!({"op": "zap", "mask": "x.y", "block": {"id": 5}, "chat": "odd"}),
        json!([1, 2]),
        json!({"op": "set", "mask": "chat.name", "chat": {"id": "c", "name": "title"}}),
        json!({"op": null, "mask": null, "block": null, "message": null, "chat": null, "done": null}),
        set("1", "x"),
        done(),
    ]);
    assert_eq!(said.text, "x");
    assert_eq!(said.ids[0].as_deref(), Some("c"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        decode([bytes.as_slice()]);
    }

    #[test]
    fn no_events_panic_and_texts_arrive_once(texts in proptest::collection::vec("[a\u{e3a0}cite\u{e3a3}#\u{e3a8}é👋]{0,8}", 0..12), blocks in proptest::collection::vec(0_u8..3, 12), cut in 1_usize..40) {
        let events: Vec<Value> = texts.iter().zip(&blocks).map(|(text, block)| append(&block.to_string(), text)).chain([done()]).collect();
        let bytes = stream(&events);
        let whole = decode([bytes.as_slice()]);
        proptest::prop_assert_eq!(&decode(bytes.chunks(cut)), &whole);
        let sent = texts.concat();
        proptest::prop_assert!(whole.text.len() <= sent.len());
        if !sent.contains('\u{e3a0}') {
            proptest::prop_assert_eq!(whole.text, sent);
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(8))]

    /// Whatever the service sends, what a decoder remembers has a limit.
    #[test]
    fn memory_is_bounded(ids in proptest::collection::vec(".{0,12}", 30)) {
        let (mut decoder, mut events) = (Decoder::new("x"), Vec::new());
        for round in 0..50 {
            for id in &ids {
                let id = format!("{id}{round}");
                let event = json!({"op": "append", "mask": "block.text.content", "chat": {"id": id}, "message": {"id": id, "role": "assistant"},
                    "block": {"id": id, "text": {"content": format!("x\u{E3A0}cite\u{E3A3}{id}\u{E3A8}")},
                        "search": {"webPages": [{"url": id, "title": id}]}}});
                decoder.feed(&stream(&[event]), &mut events).unwrap();
                events.clear();
            }
        }
        proptest::prop_assert!(decoder.answer.blocks.len() <= MOST_BLOCKS);
        proptest::prop_assert!(decoder.answer.sources.len() <= 2 * 1024);
    }
}

/// Sample D of section 6.6a: spent credits.
#[test]
fn spent_credits_are_a_spent_quota() {
    let hex = "00000000107b22686561727462656174223a7b7d7d02000000be7b226572726f72223a7b22636f6465223a227265736f757263655f657868617573746564222c226d657373616765223a22222c2264657461696c73223a5b7b226465627567223a7b22726561736f6e223a22524541534f4e5f51554f54415f4558434545444544222c226c6f63616c697a65644d657373616765223a7b226c6f63616c65223a22656e2d5553222c226d657373616765223a22596f752068617665207573656420757020796f757220637265646974732e227d7d7d5d7d7d";
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap())
        .collect();
    for at in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(decode([head, tail]).error, Some(Kind::QuotaSpent));
    }
}

#[test]
fn a_mask_may_name_several_fields() {
    let events = [
        json!({"op": "set", "mask": "block.tool.contents,block.tool.status", "block": {"id": "4", "tool": {"contents": [{"searchResult": {"base": {"title": "T", "url": "u"}, "refIndex": "w#0"}}], "status": "STATUS_DONE"}}}),
        json!({"op": "set", "mask": "block.text,block.text.flags", "block": {"id": "5", "text": {"content": "a\u{E3A0}cite\u{E3A3}w#0\u{E3A8}"}}}),
        json!({"op": "set", "mask": "block.id,block.think", "block": {"id": "6", "think": {"content": "hm", "summary": "no"}}}),
        json!({"op": "set", "mask": "block.stage,block.stage.status", "block": {"id": "7", "text": {"content": "never"}}}),
        done(),
    ];
    let said = decode_events(&events);
    assert_eq!((said.text.as_str(), said.reasoning.as_str()), ("a", "hm"));
    assert_eq!(said.cited, [(1, 1)]);
}

#[test]
fn text_flagged_as_thinking_is_thinking() {
    for flags in [json!("thinking"), json!(["thinking"])] {
        let events = [
            json!({"op": "set", "mask": "block.text", "block": {"id": "1", "text": {"content": "先", "flags": flags}}}),
            append("1", "想"),
            json!({"op": "set", "mask": "block.text", "block": {"id": "2", "text": {"content": "ok", "flags": "answer"}}}),
            append("2", "!"),
            done(),
        ];
        let said = decode_events(&events);
        assert_eq!(
            (said.reasoning.as_str(), said.text.as_str()),
            ("先想", "ok!")
        );
        assert_eq!(said.error, None);
    }
}

#[test]
fn leaked_tool_sections_are_never_text() {
    let section = "<|tool_calls_section_begin|><|tool_call_begin|>functions.x:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>";
    let text = format!("A{section}B < C");
    let whole = decode_events(&[set("1", &text), done()]);
    assert_eq!(whole.text, "AB < C");
    let pieces: Vec<Value> = text.chars().map(|c| append("1", &c.to_string())).collect();
    let events: Vec<Value> = [set("1", "")]
        .into_iter()
        .chain(pieces)
        .chain([done()])
        .collect();
    assert_eq!(decode_events(&events).text, "AB < C");
    // An unfinished one is dropped, and what only began like one is text.
    assert_eq!(
        decode_events(&[set("1", "A<|tool_calls_section_begin|>x"), done()]).text,
        "A"
    );
    let odd = decode_events(&[set("1", "<|tool_calls"), done()]);
    assert_eq!(
        (odd.text.as_str(), odd.finish()),
        ("<|tool_calls", Some(FinishReason::Stop))
    );
}

/// A service that has changed is noticed, without a word of what it said.
#[test]
fn what_nobody_knows_is_counted() {
    let new = |mask: &str| json!({"op": "set", "mask": mask, "block": {"id": "7", "novel": {"content": "x"}}});
    let events = [
        new("block.novel"),
        new("block.stage,block.novel.content"),
        new("block.tool.status,block.textual"),
        json!({"op": ["odd"]}),
        new("block.stage.status"),
        set("1", "ok"),
        done(),
    ];
    let said = decode_events(&events);
    assert_eq!(said.text, "ok");
    assert_eq!(said.unknown, ["mask", "mask", "mask", "event"]);
    for sample in [ANSWER, SEARCH] {
        assert!(decode([sample]).unknown.is_empty());
    }
}

/// Halves of characters and members that come twice, which the plain parser refuses.
#[test]
fn odd_json_costs_no_text() {
    let block = |text: &str| {
        format!(
            "{{\"op\":\"set\",\"op\":\"append\",\"mask\":\"block.text.content\",\"block\":{{\"id\":\"b\",\"text\":{{\"content\":\"{text}\"}}}}}}"
        )
    };
    let mut bytes = Vec::new();
    for event in [
        r#"{"op":"set","mask":"message","message":{"id":"m","role":"assistant"}}"#.to_owned(),
        block("Hi "),
        block(r"a\ud83d"),
        block(r"\udc4b!"),
        block(r"\ud83d"),
        r#"{"op":"set","mask":"message.status","message":{"id":"m","role":"assistant","status":"MESSAGE_STATUS_COMPLETED"}}"#.to_owned(),
        r#"{"done":{}}"#.to_owned(),
    ] {
        bytes.extend_from_slice(&connect::envelope(event.as_bytes()));
    }
    let said = decode([bytes.as_slice()]);
    assert_eq!((said.text.as_str(), said.error), ("Hi a👋!\u{FFFD}", None));
}
