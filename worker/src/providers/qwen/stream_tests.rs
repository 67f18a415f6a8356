use super::*;
use crate::providers::testing::decodes_however_it_is_torn;

/// The service's excuse (wire/qwen.md section 8).
const BUSY: &str = "抱歉，系统超时，请稍后重试";
const A: &str = include_str!("../../../tests/fixtures/qwen/cumulative.sse");
const B: &str = include_str!("../../../tests/fixtures/qwen/thinking.sse");
const C: &str = include_str!("../../../tests/fixtures/qwen/not_login.sse");

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    rest: Vec<ChatEvent>,
    /// The upstream ids of conversation and answer.
    ids: [Option<String>; 2],
    error: Option<Kind>,
}

/// Decodes a stream given in pieces; deltas are joined, as their cuts depend on those of the bytes only in time.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events, mut said) =
        (Decoder::new("QWEN_TOKEN"), Vec::new(), Said::default());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    said.error = fed
        .and_then(|()| decoder.finish(&mut events))
        .err()
        .map(|error| error.kind);
    said.ids = [decoder.session_id(), decoder.message_id()].map(|id| id.map(str::to_owned));
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
            other => said.rest.push(other),
        }
    }
    said
}

fn finish(reason: FinishReason) -> ChatEvent {
    ChatEvent::Finish(reason)
}

#[test]
fn decodes_the_samples_of_the_wire_page() {
    let said = decode([A.as_bytes()]);
    assert_eq!(
        (
            said.text.as_str(),
            said.reasoning.as_str(),
            said.rest.last()
        ),
        ("你好👋", "", Some(&finish(FinishReason::Stop)))
    );
    let ids = [
        "bc9ef150d0e44794ab624df958292300",
        "40811965812e4782bb87f1a9e4e2b2cd",
    ];
    assert_eq!(said.ids, ids.map(|id| Some(id.to_owned())));
    let said = decode([B.as_bytes()]);
    assert_eq!(
        (said.text.as_str(), said.reasoning.as_str()),
        ("答案是42", "先想想")
    );
    let links: Vec<_> = said
        .rest
        .iter()
        .filter(|event| matches!(event, ChatEvent::Citation { .. }))
        .collect();
    assert_eq!(links.len(), 2);
    assert_eq!(
        *links[0],
        ChatEvent::Citation {
            index: 1,
            url: "https://example.cn/a".into(),
            title: "甲".into()
        }
    );
    assert_eq!(decode([C.as_bytes()]).error, Some(Kind::AuthExpired));
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [A, B, C] {
        decodes_however_it_is_torn(
            sample.as_bytes(),
            |pieces| decode(pieces.iter().copied()),
            |said| matches!(said.rest.last(), Some(ChatEvent::Finish(_))) != said.error.is_some(),
        );
    }
}

/// One frame: parts as (id, type, content, incremental).
fn frame(parts: &[(&str, &str, &str, bool)], is_last: bool) -> String {
    let parts: Vec<Value> = parts
        .iter()
        .map(|(id, kind, content, incremental)| {
            let content = if *kind == "think" { serde_json::json!({"content": content}).to_string() } else { (*content).to_owned() };
            serde_json::json!({"id": id, "role": "assistant", "contentType": kind, "content": content, "incremental": incremental})
        })
        .collect();
    let status = if is_last { "finished" } else { "generating" };
    format!(
        "data:{}\n\n",
        serde_json::json!({"contents": parts, "msgStatus": status, "sessionId": "s", "msgId": "m"})
    )
}

/// Per frame what was emitted (`T…`/`R…` joined), and the final text.
type Vector<'a> = (
    &'a [&'a [(&'a str, &'a str, &'a str, bool)]],
    &'a [&'a str],
    &'a str,
);

/// The vectors of wire/qwen.md section 7.3, row by row.
#[test]
fn follows_the_vectors() {
    let vectors: &[Vector<'_>] = &[
        (
            &[
                &[("0", "text", "你", false)],
                &[("0", "text", "你好", false)],
                &[("0", "text", "你好", false)],
                &[("0", "text", "你好，世界", false)],
            ],
            &["T你", "T好", "", "T，世界"],
            "你好，世界",
        ),
        (
            &[
                &[("0", "text", "猫\u{FFFD}", false)],
                &[("0", "text", "猫👋", false)],
                &[("0", "text", "猫👋\u{FFFD}", false)],
                &[("0", "text", "猫👋🏽。", false)],
            ],
            &["T猫", "T👋", "", "T🏽。"],
            "猫👋🏽。",
        ),
        (
            &[
                &[("0", "text", "abcd", false)],
                &[("0", "text", "ab", false)],
                &[("0", "text", "abcdef", false)],
            ],
            &["Tabcd", "", "Tef"],
            "abcdef",
        ),
        (
            &[
                &[("0", "text", "？二", false)],
                &[("0", "text", "一二三四", false)],
                &[("0", "text", "一二三四五", false)],
            ],
            &["T？二", "T三四", "T五"],
            "一二三四五",
        ),
        (
            &[
                &[("0", "text", "abcdef", false)],
                &[("0", "text", "xyz", false)],
                &[("0", "text", "xyzuvwab", false)],
            ],
            &["Tabcdef", "", "Tab"],
            "xyzuvwab",
        ),
        (
            &[
                &[("2", "text", "甲", false)],
                &[("2", "text", "甲", false), ("3", "text", "乙", false)],
                &[("2", "text", "甲", false), ("3", "text", "乙丙", false)],
            ],
            &["T甲", "T乙", "T丙"],
            "甲乙丙",
        ),
        (
            &[
                &[("2", "text", "甲", false)],
                &[("3", "text", "乙", false)],
                &[("3", "text", "乙丙", false)],
                &[("2", "text", "甲", false), ("3", "text", "乙丙", false)],
            ],
            &["T甲", "T乙", "T丙", ""],
            "甲乙丙",
        ),
        (
            &[
                &[("0", "text", "ab", true)],
                &[("0", "text", "cd", true)],
                &[("0", "text", "abcd", false)],
            ],
            &["Tab", "Tcd", ""],
            "abcd",
        ),
        (
            &[
                &[("1", "think", "先", false)],
                &[("1", "think", "想", true)],
                &[("1", "think", "先想", false)],
                &[("1", "think", "先想", false), ("2", "text", "好", false)],
            ],
            &["R先", "R想", "", "T好"],
            "好",
        ),
        (
            &[
                &[("2", "text", "答", false)],
                &[("0", "plugin", "{}", false), ("2", "text", "答案", false)],
            ],
            &["T答", "T案"],
            "答案",
        ),
    ];
    for (at, (frames, emitted, whole)) in vectors.iter().enumerate() {
        let (mut decoder, mut events, mut text) = (Decoder::new("x"), Vec::new(), String::new());
        for (number, (parts, expected)) in frames.iter().zip(*emitted).enumerate() {
            decoder
                .feed(
                    frame(parts, number + 1 == frames.len()).as_bytes(),
                    &mut events,
                )
                .unwrap();
            let mut now = String::new();
            for event in events.drain(..) {
                match event {
                    ChatEvent::Text(piece) => {
                        now = format!("{now}T{piece}");
                        text.push_str(&piece);
                    }
                    ChatEvent::Reasoning(piece) => now = format!("{now}R{piece}"),
                    ChatEvent::Rewritten(final_text) => text = final_text,
                    _ => {}
                }
            }
            assert_eq!(now, **expected, "row {at}, frame {number}");
        }
        assert_eq!(text, *whole, "row {at}");
    }
}

#[test]
fn an_excuse_is_no_answer() {
    let busy = |text: &str, last| decode([frame(&[("0", "text", text, false)], last).as_bytes()]);
    assert_eq!(busy(BUSY, true).error, Some(Kind::Unavailable));
    assert_eq!(busy("抱歉", true).text, "抱歉");
    let said = decode([
        frame(&[("0", "text", "抱歉，", false)], false).as_bytes(),
        frame(
            &[("0", "text", "抱歉，系统超时，请稍后重试吧", false)],
            true,
        )
        .as_bytes(),
    ]);
    assert_eq!(said.text, "抱歉，系统超时，请稍后重试吧");
}

#[test]
fn half_a_character_waits_for_the_other_half() {
    let frame = |content: &str| {
        format!(r#"data:{{"contents":[{{"id":"0","contentType":"text","content":"{content}"}}]}}"#)
            + "\n\n"
    };
    let stream = [frame(r"猫\ud83d"), frame(r"猫\ud83d\udc4b")].concat();
    assert_eq!(decode([stream.as_bytes()]).text, "猫👋");
}

#[test]
fn only_an_explicit_false_means_moderated() {
    let said =
        decode([&b"data: {\"msgStatus\":\"finished\",\"contents\":[],\"canShare\":false}\n\n"[..]]);
    assert_eq!(said.error, Some(Kind::Moderated));
    let said = decode([
        frame(&[("0", "text", "a", false)], false).as_bytes(),
        b"data: {\"msgStatus\":\"interrupted\",\"canShare\":false}\n\n",
    ]);
    assert_eq!(said.rest.last(), Some(&finish(FinishReason::ContentFilter)));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        decode([bytes.as_slice()]);
    }

    #[test]
    fn no_frames_panic(texts in proptest::collection::vec(".{0,8}", 0..8), incremental in proptest::bool::ANY) {
        let stream: String = texts.iter().map(|text| frame(&[("0", "text", text, incremental)], false)).collect();
        decode([stream.as_bytes()]);
    }
}

/// One event whose text part says `text`, with the odd think part before it.
fn state(text: &str, status: &str, has_thought: bool) -> String {
    let mut contents = vec![];
    if has_thought {
        contents.push(serde_json::json!({"content": "{\"content\":\"hm\"}", "contentType": "think", "id": "t"}));
    }
    contents.push(
        serde_json::json!({"content": text, "contentType": "text", "id": "a", "role": "assistant"}),
    );
    let frame = serde_json::json!({"contents": contents, "msgStatus": status, "sessionId": "s", "msgId": "m"});
    format!("data: {frame}\n\n")
}

proptest::proptest! {
    /// Skipping what is known gives the very events of the parser that reads everything.
    #[test]
    fn skipping_changes_nothing(
        steps in proptest::collection::vec(("[ab\\n\"\\\\你👋\u{FFFD}]{0,3}", 0_u8..8, proptest::bool::weighted(0.1)), 1..12),
    ) {
        let (mut text, mut frames) = (String::new(), Vec::new());
        for (more, change, has_thought) in steps {
            match change {
                // The service takes something back.
                0 => { text.pop(); }
                1 => text = more,
                _ => text.push_str(&more),
            }
            frames.push(state(&text, "generating", has_thought));
        }
        frames.push(state(&text, "finished", false));
        let run = |skips: bool| {
            let (mut decoder, mut events) = (Decoder::new("QWEN_TOKEN"), Vec::new());
            let result = frames.iter().try_for_each(|frame| {
                if !skips {
                    decoder.answer.alike.forget();
                }
                decoder.feed(frame.as_bytes(), &mut events)
            });
            let end = result.and_then(|()| decoder.finish(&mut events));
            (events, end.err().map(|error| error.kind), decoder.rewrites())
        };
        proptest::prop_assert_eq!(run(true), run(false));
    }
}

#[test]
fn a_growing_text_is_not_parsed_again() {
    let (mut decoder, mut events) = (Decoder::new("QWEN_TOKEN"), Vec::new());
    let mut text = "开".to_owned();
    for more in ["始", "\n\"quoted\"", " \\ ", "👋"] {
        decoder
            .feed(state(&text, "generating", false).as_bytes(), &mut events)
            .unwrap();
        text.push_str(more);
        assert!(
            decoder.answer.grow(
                state(&text, "generating", false)
                    .trim_start_matches("data: ")
                    .trim_end()
                    .as_bytes(),
                &mut events
            )
        );
    }
}

/// What strangers put between the service and us: marks, heartbeats, line ends, halves of characters, errors.
#[test]
fn odd_bytes_cost_no_text() {
    let event = |content: &str, status: &str| {
        format!(
            "data: {{\"sessionId\":\"s\",\"msgId\":\"m\",\"msgStatus\":\"{status}\",\"contents\":[{{\"id\":\"1\",\"role\":\"assistant\",\"contentType\":\"text\",\"content\":\"{content}\"}}]}}\n\n"
        )
    };
    let stream = [
        "\u{FEFF}data: null\n\n",
        &event("Hi ", "generating"),
        "data:\n\n",
        &event(r"Hi \ud83d", "generating"),
        &event(r"Hi \ud83d\udc4b!", "generating"),
        &event(r"Hi \ud83d\udc4b!", "finished"),
        "data: \"[DONE]\"\n\n",
    ]
    .concat();
    for stream in [
        stream.clone(),
        stream.replace('\n', "\r"),
        stream.replace('\n', "\r\n"),
    ] {
        let said = decode(stream.as_bytes().chunks(1));
        assert_eq!(
            (said.text.as_str(), said.error),
            ("Hi 👋!", None),
            "{stream:?}"
        );
    }
    let half = [event("Hi ", "generating"), event(r"Hi \ud83d", "finished")].concat();
    assert_eq!(decode([half.as_bytes()]).text, "Hi \u{FFFD}");
    let twice = event("Hi", "finished").replace("\"msgId\"", "\"msgId\":\"x\",\"msgId\"");
    assert_eq!(decode([twice.as_bytes()]).text, "Hi");
    let failed = [
        &*event("Hi", "generating"),
        "data: {\"error\":{\"message\":\"gone\"}}\n\n",
    ]
    .concat();
    assert_eq!(decode([failed.as_bytes()]).error, Some(Kind::Unavailable));
}

/// What the wire page names is no news, whatever becomes of it; what it does not name is told of once.
#[test]
fn tells_of_what_the_wire_page_does_not_know() {
    let unknown = |stream: &str| -> Vec<ChatEvent> {
        let is_unknown = |event: &ChatEvent| matches!(event, ChatEvent::Unknown(_));
        let said = decode([stream.as_bytes()]);
        said.rest.into_iter().filter(is_unknown).collect()
    };
    let frame = |status: &str, part: &str| {
        let text = r#"{"contentType":"text","content":"a"}"#;
        format!(
            "data: {{\"msgStatus\":\"{status}\",\"contents\":[{{\"contentType\":\"{part}\",\"content\":\"x\"}},{text}]}}\n\n"
        )
    };
    for stream in [A, B, C] {
        assert_eq!(unknown(stream), []);
    }
    for part in ["component", "card", "plugin", "text2image"] {
        assert_eq!(unknown(&frame("ongoing", part)), [], "{part}");
    }
    let new = frame("generating", "hologram") + &frame("finished", "hologram");
    assert_eq!(unknown(&new), [ChatEvent::Unknown("part")]);
    let new = frame("dreaming", "card").repeat(2);
    assert_eq!(unknown(&new), [ChatEvent::Unknown("status")]);
}
