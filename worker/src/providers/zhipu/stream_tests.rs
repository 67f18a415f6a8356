use serde_json::{Value, json};

use super::*;
use crate::providers::testing::decodes_however_it_is_torn;

const A: &str = include_str!("../../../tests/fixtures/zhipu/increments.sse");
const B: &str = include_str!("../../../tests/fixtures/zhipu/cumulative.sse");
const C: &str = include_str!("../../../tests/fixtures/zhipu/intervened.sse");

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

    /// What a whole answer has: the text, or what it really is.
    fn whole(&self) -> &str {
        let rewritten = self.rest.iter().find_map(|event| match event {
            ChatEvent::Rewritten(text) => Some(text.as_str()),
            _ => None,
        });
        rewritten.unwrap_or(&self.text)
    }
}

/// Decodes a stream given in pieces; deltas are joined, as their cuts depend on those of the bytes only in time.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events, mut said) =
        (Decoder::new("ZHIPU_TOKEN"), Vec::new(), Said::default());
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

/// A frame of parts, each (logic id, status, items).
fn frame(flag: Option<bool>, status: &str, parts: &[(&str, &str, Value)]) -> String {
    let parts: Vec<Value> = parts
        .iter()
        .map(|(id, status, content)| {
            json!({"id": "m", "logic_id": id, "role": "assistant", "content": content, "meta_data": {}, "status": status})
        })
        .collect();
    let mut meta = json!({"input_question_type": "xxxx"});
    if let Some(flag) = flag {
        meta["if_increase_push"] = json!(flag);
    }
    let frame = json!({"id": "m", "conversation_id": "c", "parts": parts, "status": status, "last_error": {}, "meta_data": meta});
    format!("event: message\ndata: {frame}\n\n")
}

fn text_item(text: &str) -> Value {
    json!([{"type": "text", "text": text}])
}

fn decoded(frames: &[String]) -> Said {
    let whole = frames.concat();
    let said = decode([whole.as_bytes()]);
    // Whatever is decoded here is decoded the same byte by byte.
    assert_eq!(decode(whole.as_bytes().chunks(1)), said);
    said
}

#[test]
fn decodes_the_samples_of_the_wire_page() {
    for sample in [A, B] {
        let said = decode([sample.as_bytes()]);
        assert_eq!(
            (said.text.as_str(), said.reasoning.as_str(), said.finish()),
            ("1, 12👋", "想一想", Some(FinishReason::Stop))
        );
    }
    let said = decode([C.as_bytes()]);
    assert_eq!(
        (said.text.as_str(), said.finish()),
        (
            "我可以\n\n这个话题我们换一个吧。",
            Some(FinishReason::ContentFilter)
        )
    );
}

#[test]
fn the_ids_are_known_with_the_first_frame() {
    let mut decoder = Decoder::new("V");
    let (first, _) = A.split_at(A.find("\n\n").unwrap() + 2);
    assert!(decoder.feed(first.as_bytes(), &mut Vec::new()).is_ok());
    assert_eq!(
        (decoder.conversation_id(), decoder.message_id()),
        (
            Some("68084f7b0000000000000001"),
            Some("68084f7b0000000000000002")
        )
    );
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [A, B, C] {
        decodes_however_it_is_torn(
            sample.as_bytes(),
            |pieces| decode(pieces.iter().copied()),
            |said| said.finish().is_some() != said.error.is_some(),
        );
        let windows = sample.replace('\n', "\r\n");
        assert_eq!(decode([windows.as_bytes()]), decode([sample.as_bytes()]));
    }
}

/// Public clients had "1, 3, 4, 5, 5", and doubled texts (section 9).
#[test]
fn the_flag_is_each_frames_own() {
    let part = |status: &'static str, said: &str| ("L", status, text_item(said));
    let said = decoded(&[
        frame(Some(true), "init", &[part("init", "ha")]),
        frame(Some(true), "init", &[part("init", "ha")]),
        frame(Some(false), "init", &[part("init", "hahaha")]),
        frame(Some(true), "init", &[part("init", "!")]),
        frame(None, "init", &[part("init", "?")]),
        frame(Some(true), "init", &[part("finish", "hahaha!?.")]),
        frame(Some(false), "finish", &[part("finish", "hahaha!?.")]),
        frame(Some(false), "finish", &[part("finish", "hahaha!?.")]),
    ]);
    assert_eq!(
        (said.text.as_str(), said.whole()),
        ("hahaha!?.", "hahaha!?.")
    );
}

#[test]
fn without_a_flag_the_second_value_tells() {
    let decoded = |values: &[&str], last: &str| {
        let mut frames: Vec<String> = values
            .iter()
            .map(|value| frame(None, "init", &[("L", "init", text_item(value))]))
            .collect();
        frames.push(frame(None, "finish", &[("L", "finish", text_item(last))]));
        let said = decoded(&frames);
        (said.text.clone(), said.whole().to_owned())
    };
    let same = |text: &str| (text.to_owned(), text.to_owned());
    assert_eq!(
        decoded(&["1", "1, 2", "1, 2, 3"], "1, 2, 3"),
        same("1, 2, 3")
    );
    assert_eq!(decoded(&["1", ", ", "1", "2"], "1, 12"), same("1, 12"));
    assert_eq!(decoded(&["ha", "ha", "ha"], "hahaha"), same("hahaha"));
    // `haha` looks cumulative, `b` proves that it was not.
    let (_, whole) = decoded(&["ha", "haha", "b"], "hahahab");
    assert_eq!(whole, "hahahab");
    assert_eq!(decoded(&["x"], "x"), same("x"));
    assert_eq!(decoded(&[], "at once"), same("at once"));
}

#[test]
fn what_was_said_is_not_taken_back_but_a_whole_answer_is_right() {
    let part = |status: &'static str, said: &str| ("L", status, text_item(said));
    let said = decoded(&[
        frame(Some(false), "init", &[part("init", "one two")]),
        frame(Some(false), "init", &[part("init", "one")]),
        frame(Some(false), "finish", &[part("finish", "One, two.")]),
    ]);
    assert_eq!((said.text.as_str(), said.whole()), ("one two", "One, two."));
    // A last frame that repeats nothing takes nothing back.
    let said = decoded(&[
        frame(Some(true), "init", &[part("init", "kept")]),
        frame(Some(false), "finish", &[part("finish", "")]),
    ]);
    assert_eq!((said.text.as_str(), said.whole()), ("kept", "kept"));
}

#[test]
fn several_parts_are_one_answer_in_order() {
    let one = |status: &'static str, said: &str| ("L1", status, text_item(said));
    let two = |status: &'static str, said: &str| ("L2", status, text_item(said));
    let said = decoded(&[
        frame(Some(false), "init", &[one("init", "a")]),
        frame(
            Some(false),
            "init",
            &[one("finish", "ab"), two("init", "c")],
        ),
        frame(
            Some(false),
            "finish",
            &[
                one("finish", "ab"),
                two("finish", "cd"),
                ("L3", "finish", text_item("e")),
            ],
        ),
    ]);
    assert_eq!((said.text.as_str(), said.whole()), ("abcde", "abcde"));
    // The earlier one speaks after the later one.
    let said = decoded(&[
        frame(Some(true), "init", &[one("init", "a"), two("init", "c")]),
        frame(Some(true), "init", &[one("init", "b")]),
        frame(
            Some(false),
            "finish",
            &[one("finish", "ab"), two("finish", "c")],
        ),
    ]);
    assert_eq!((said.text.as_str(), said.whole()), ("acb", "abc"));
    // Items of one kind in one part.
    let items = |first: &str, second: &str| json!([{"type": "text", "text": first}, {"type": "text", "text": second}]);
    for flag in [true, false] {
        let said = decoded(&[
            frame(Some(flag), "init", &[("L", "init", items("a", "b"))]),
            frame(Some(false), "finish", &[("L", "finish", items("a", "bc"))]),
        ]);
        assert_eq!((said.text.as_str(), said.whole()), ("abc", "abc"), "{flag}");
    }
}

#[test]
fn code_and_its_output_stand_in_the_text() {
    let code = |said: &str| json!([{"type": "code", "code": said}]);
    let output = |said: &str| json!([{"type": "execution_output", "content": said}]);
    let expected = "Look:\n```python\nprint(1)\n```\n1\nSo 1.";
    let increments = decoded(&[
        frame(Some(true), "init", &[("L1", "init", text_item("Look:"))]),
        frame(Some(true), "init", &[("L2", "init", code("print"))]),
        frame(Some(true), "init", &[("L2", "init", code("(1)"))]),
        frame(Some(true), "init", &[("L3", "init", output("1"))]),
        frame(
            Some(true),
            "init",
            &[
                ("L2", "finish", code("print(1)")),
                ("L3", "finish", output("1")),
            ],
        ),
        frame(Some(true), "init", &[("L4", "init", text_item("So 1"))]),
        frame(
            Some(false),
            "finish",
            &[
                ("L1", "finish", text_item("Look:")),
                ("L2", "finish", code("print(1)")),
                ("L3", "finish", output("1")),
                ("L4", "finish", text_item("So 1.")),
            ],
        ),
    ]);
    assert_eq!(
        (increments.text.as_str(), increments.whole()),
        (expected, expected)
    );
    let whole = decoded(&[frame(
        Some(false),
        "finish",
        &[
            ("L1", "finish", text_item("Look:")),
            ("L2", "finish", code("print(1)")),
            ("L3", "finish", output("1")),
            ("L4", "finish", text_item("So 1.")),
        ],
    )]);
    assert_eq!(whole.text, expected);
    // The text ends its line itself; the block is closed by the end of the answer.
    let said = decoded(&[
        frame(
            Some(true),
            "init",
            &[
                ("L1", "init", text_item("Look:\n")),
                ("L2", "init", code("x")),
            ],
        ),
        frame(Some(true), "finish", &[]),
    ]);
    assert_eq!(said.text, "Look:\n```python\nx\n```\n");
}

#[test]
fn thinking_is_thinking_wherever_it_comes() {
    let said = decoded(&[
        frame(
            Some(true),
            "init",
            &[("L", "init", json!([{"type": "think", "text": "old key"}]))],
        ),
        frame(Some(true), "init", &[("L", "init", text_item("a"))]),
        frame(
            Some(true),
            "init",
            &[(
                "L",
                "init",
                json!([{"type": "think", "think": ", more"}, {"type": "text", "text": "b", "tool_calls": {}}]),
            )],
        ),
        frame(Some(false), "finish", &[("L", "finish", text_item("ab"))]),
    ]);
    assert_eq!(
        (said.reasoning.as_str(), said.text.as_str()),
        ("old key, more", "ab")
    );
}

#[test]
fn searches_become_sources_and_their_marks_places() {
    let part = |status: &str| {
        json!({"id": "m", "logic_id": "S", "role": "tool", "content": [{"type": "quote_result"}], "status": status,
            "meta_data": {"metadata_list": [{"title": "甲", "url": "https://e/a"}], "tool_result_extra": {"search_results": [{"url": "https://e/b", "title": "乙"}]}}})
    };
    let frame = |parts: Vec<Value>, status: &str| {
        let frame = json!({"conversation_id": "c", "parts": parts, "status": status, "meta_data": {"if_increase_push": true}});
        format!("data: {frame}\n\n")
    };
    let say = |said: &str| json!({"logic_id": "T", "content": [{"type": "text", "text": said}], "status": "init"});
    let call = json!({"logic_id": "K", "content": [{"type": "tool_calls", "tool_calls": {"name": "finish", "arguments": "{}"}}], "status": "finish"});
    let said = decoded(&[
        frame(vec![part("init")], "init"),
        frame(vec![part("finish"), call], "init"),
        frame(vec![part("finish"), say("so it is【1†sou")], "init"),
        frame(vec![say("rce】.【3】")], "init"),
        frame(vec![], "finish"),
    ]);
    assert_eq!(said.text, "so it is.【3】");
    let citation = |index, url: &str, title: &str| ChatEvent::Citation {
        index,
        url: url.to_owned(),
        title: title.to_owned(),
    };
    assert_eq!(
        said.rest[..3],
        [
            ChatEvent::Cited { index: 1 },
            citation(1, "https://e/a", "甲"),
            citation(2, "https://e/b", "乙")
        ]
    );
}

#[test]
fn pictures_come_when_they_are_finished_and_in_order() {
    let item = |order: u32| json!([{"type": "image", "code": "a cat", "image": [{"image_url": format!("https://e/{order}.png"), "order": order}]}]);
    let said = decoded(&[
        frame(None, "init", &[("A", "init", item(9))]),
        frame(None, "init", &[("A", "finish", item(0))]),
        frame(
            None,
            "init",
            &[("A", "finish", item(3)), ("B", "finish", item(1))],
        ),
        frame(
            None,
            "finish",
            &[("B", "finish", item(1)), ("C", "finish", item(2))],
        ),
    ]);
    let image = |order: u32| ChatEvent::Image {
        url: format!("https://e/{order}.png"),
    };
    assert_eq!(said.rest[..4], [0, 1, 2, 3].map(image));
    assert_eq!(said.finish(), Some(FinishReason::Stop));
}

#[test]
fn a_drawing_without_pictures_is_no_answer() {
    let drawn = |frames: &[String]| {
        let (mut decoder, mut events) = (Decoder::new("V").drawing(true), Vec::new());
        let read = decoder.feed(frames.concat().as_bytes(), &mut events);
        let read = read.and_then(|()| decoder.finish(&mut events));
        (read.map_err(|error| error.kind), events)
    };
    let said = |said: &str| {
        [
            frame(Some(true), "init", &[("L", "init", text_item(said))]),
            frame(Some(false), "finish", &[("L", "finish", text_item(said))]),
        ]
    };
    assert_eq!(drawn(&said("sorry")), (Err(Kind::Unavailable), Vec::new()));
    assert_eq!(
        drawn(&said("您的积分不足")),
        (Err(Kind::QuotaSpent), Vec::new())
    );
    let (read, events) = drawn(&said("![x](https://e/x.png)"));
    assert!(read.is_ok() && events.len() == 2, "{events:?}");
    let item = json!([{"type": "image", "image": [{"image_url": "https://e/0.png"}]}]);
    let (read, events) = drawn(&[
        frame(None, "init", &[("T", "init", text_item("here"))]),
        frame(None, "finish", &[("A", "finish", item)]),
    ]);
    assert!(read.is_ok(), "{read:?}");
    assert_eq!(events.first(), Some(&ChatEvent::Text("here".to_owned())));
    assert!(matches!(events.last(), Some(ChatEvent::Finish(_))));
}

#[test]
fn unknown_items_and_states_never_fail() {
    let said = decoded(&[
        frame(None, "queued", &[("L", "init", json!([{"type": "hologram", "hologram": [1]}, {"type": null}, {}]))]),
        "data: {\"parts\":5}\n\ndata: [1]\n\ndata: null\n\ndata: {\"last_error\":[],\"meta_data\":7,\"parts\":null}\n\n".to_owned(),
        frame(None, "init", &[("L", "init", json!([{"type": "text", "text": 5}, {"type": "one_to_more_finish"}, {"type": "system_error"}]))]),
        frame(None, "finish", &[("L", "finish", text_item("fine"))]),
    ]);
    assert_eq!((said.text.as_str(), said.error), ("fine", None));
    let unknown = |place| said.rest.contains(&ChatEvent::Unknown(place));
    assert!(
        unknown("status") && unknown("item") && unknown("frame"),
        "{said:?}"
    );
}

#[test]
fn errors_are_told_wherever_they_stand() {
    let kind = |stream: &str| decode([stream.as_bytes()]).error;
    assert_eq!(kind(""), Some(Kind::Unavailable));
    assert_eq!(kind("data: [DONE]\n\n"), Some(Kind::Unavailable));
    assert_eq!(kind("data: not json\n\n"), Some(Kind::Protocol));
    assert_eq!(
        kind("data: {\"status\":10061,\"message\":\"请等待其他对话生成完毕\",\"result\":null}\n\n"),
        Some(Kind::RateLimited)
    );
    assert_eq!(
        kind("data: {\"error\":{\"message\":\"x\"}}\n\n"),
        Some(Kind::Unavailable)
    );
    assert_eq!(kind(&frame(None, "finish", &[])), Some(Kind::Unavailable));
    let broken = frame(None, "init", &[("L", "init", text_item("half"))]);
    assert_eq!(kind(&broken), Some(Kind::Unavailable));
    let moderated = "data: {\"parts\":[],\"status\":\"intervene\",\"last_error\":{\"intervene_text\":\"换一个话题\"}}\n\n";
    assert_eq!(kind(moderated), Some(Kind::Moderated));
    let (mut decoder, mut events) = (Decoder::new("V").streamed(true), Vec::new());
    assert!(decoder.feed(moderated.as_bytes(), &mut events).is_ok());
    assert_eq!(
        events,
        [
            ChatEvent::Text("\n\n换一个话题".to_owned()),
            ChatEvent::Finish(FinishReason::ContentFilter)
        ]
    );
}

#[test]
fn half_a_character_waits_for_the_other_half() {
    let part = |said: &str, status: &str, flag: bool| {
        format!(
            "data: {{\"conversation_id\":\"c\",\"parts\":[{{\"logic_id\":\"L\",\"content\":[{{\"type\":\"text\",\"text\":\"{said}\"}}],\"status\":\"{status}\"}}],\"status\":\"{status}\",\"meta_data\":{{\"if_increase_push\":{flag}}}}}\n\n"
        )
    };
    let increments = [
        part(r"Hi \ud83d", "init", true),
        part(r"\udc4b!", "init", true),
        part(r"Hi \ud83d\udc4b!", "finish", false),
    ];
    let cumulative = [
        part(r"Hi \ud83d", "init", false),
        part("Hi \u{FFFD}", "init", false),
        part(r"Hi \ud83d\udc4b!", "finish", false),
    ];
    for frames in [&increments, &cumulative] {
        let said = decoded(frames);
        assert_eq!((said.text.as_str(), said.whole()), ("Hi 👋!", "Hi 👋!"));
    }
    // What is really there stays.
    let said = decoded(&[
        part("x\u{FFFD}", "init", true),
        part("x\u{FFFD}", "finish", false),
    ]);
    assert_eq!(said.text, "x\u{FFFD}");
}

#[test]
fn an_answer_may_come_in_one_piece() {
    let frame = json!({"conversation_id": "c", "parts": [{"logic_id": "L", "content": [{"type": "text", "text": "hi"}], "status": "finish"}]});
    for body in [
        frame.clone(),
        json!({"status": 0, "message": "success", "result": frame}),
    ] {
        let (mut decoder, mut events) = (Decoder::new("V"), Vec::new());
        let is_answer = decoder.whole(body.to_string().as_bytes(), &mut events);
        assert!(is_answer.is_ok_and(|it| it) && decoder.is_over());
        assert_eq!(events.first(), Some(&ChatEvent::Text("hi".to_owned())));
    }
    for body in [
        "{}",
        r#"{"status":0,"result":null}"#,
        "<html>",
        r#"{"parts":[]}"#,
    ] {
        let (mut decoder, mut events) = (Decoder::new("V"), Vec::new());
        assert!(
            decoder
                .whole(body.as_bytes(), &mut events)
                .is_ok_and(|it| !it),
            "{body}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = decode([bytes.as_slice()]);
    }

    /// Any text, cut anywhere, in either mode.
    #[test]
    fn a_text_comes_out_as_it_went_in(text in "[a👋🏽你\n\"\\\\【】1†]{1,30}", cuts in proptest::collection::vec(0_usize..30, 0..6), flag in proptest::bool::ANY) {
        let chars: Vec<char> = text.chars().collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (chars.len() + 1)).collect();
        cuts.sort_unstable();
        let mut frames = Vec::new();
        let mut last = 0;
        for cut in cuts {
            let from = if flag { last } else { 0 };
            let said: String = chars[from..cut].iter().collect();
            frames.push(frame(Some(flag), "init", &[("L", "init", text_item(&said))]));
            last = cut;
        }
        frames.push(frame(Some(false), "finish", &[("L", "finish", text_item(&text))]));
        let said = decode([frames.concat().as_bytes()]);
        proptest::prop_assert_eq!(said.text, text);
    }
}
