use super::*;
use crate::providers::testing::decodes_however_it_is_torn;

const D: &str = include_str!("../../../../tests/fixtures/qwen_chat2/panels.sse");
const E: &str = include_str!("../../../../tests/fixtures/qwen_chat2/workflow.sse");
/// The service's excuse (wire/qwen.md section 8).
const BUSY: &str = "抱歉，系统超时，请稍后重试";

#[derive(Debug, Default, PartialEq)]
struct Told {
    text: String,
    reasoning: String,
    rest: Vec<ChatEvent>,
    /// The upstream id of the answer.
    message: Option<String>,
    error: Option<(Kind, String)>,
}

/// Decodes a stream given in pieces; deltas are joined, as their cuts depend on those of the bytes only in time.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Told {
    let (mut decoder, mut events, mut told) =
        (Decoder::new("paste x"), Vec::new(), Told::default());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    let end = fed.and_then(|()| decoder.finish(&mut events));
    told.message = decoder.message_id().map(str::to_owned);
    told.error = end
        .err()
        .map(|error| (error.kind, error.code.unwrap_or_default()));
    for event in events {
        match event {
            ChatEvent::Text(text) => told.text.push_str(&text),
            ChatEvent::Reasoning(text) => told.reasoning.push_str(&text),
            other => told.rest.push(other),
        }
    }
    told
}

fn one(stream: &str) -> Told {
    decode([stream.as_bytes()])
}

fn frame(resid: u64, messages: &Value) -> String {
    let frame = serde_json::json!({
        "communication": {"resid": resid}, "data": {"messages": messages, "status": "processing"}, "error_code": 0, "error_msg": "", "success": true,
    });
    format!("event:message\ndata:{frame}\n\n")
}

fn said(content: &str) -> Value {
    serde_json::json!([{"mime_type": "multi_load/iframe", "content": content, "status": "processing"}])
}

const END: &str = "event:complete\ndata:true\n\n";

#[test]
fn decodes_the_samples_of_the_wire_page() {
    let told = one(D);
    assert_eq!(
        (told.reasoning.as_str(), told.text.as_str()),
        ("先查一查\n\n想好了", "晴，26℃👋")
    );
    assert_eq!(
        told.rest,
        [
            ChatEvent::Citation {
                index: 1,
                url: "https://example.cn/a".into(),
                title: "甲".into()
            },
            ChatEvent::Usage(Usage {
                prompt_tokens: 9,
                completion_tokens: 5,
                ..Usage::default()
            }),
            ChatEvent::Finish(FinishReason::Stop),
        ]
    );
    assert_eq!(
        told.message.as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
    let told = one(E);
    assert_eq!(
        (told.reasoning.as_str(), told.text.as_str()),
        ("一二\n\n三", "好")
    );
    assert_eq!(
        told.rest.last(),
        Some(&ChatEvent::Finish(FinishReason::Stop))
    );
    assert_eq!(told.error, None);
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [D, E] {
        decodes_however_it_is_torn(
            sample.as_bytes(),
            |pieces| decode(pieces.iter().copied()),
            |said| matches!(said.rest.last(), Some(ChatEvent::Finish(_))) != said.error.is_some(),
        );
    }
}

#[test]
fn the_end_is_told_in_several_ways_and_nothing_comes_after_it() {
    let answer = frame(1, &said("好"));
    let late = frame(9, &said("好了吗"));
    for end in [
        "data:true\n\n".to_owned(),
        "data:[DONE]\n\n".to_owned(),
        "event:complete\ndata:{\"data\":{\"status\":\"complete\"}}\n\n".to_owned(),
        "data:{\"data\":{\"sse_end\":\"1\"}}\n\n".to_owned(),
        "data:{\"data\":{\"sse_end\":1}}\n\n".to_owned(),
        "data:{\"data\":{\"extra_info\":{\"sse_end\":true}}}\n\n".to_owned(),
    ] {
        let told = one(&format!("{answer}{end}{late}data:{{nonsense\n\n"));
        assert_eq!((told.text.as_str(), told.error), ("好", None), "{end}");
    }
    // No end, but a clean one of the body; the frame of the last event is read first.
    assert_eq!(one(&answer).text, "好");
    let complete = frame(1, &said("全部")).replace("event:message", "event:complete");
    assert_eq!(one(&complete).text, "全部");
    for nothing in ["", END, &frame(1, &serde_json::json!([]))] {
        let expected = (Kind::Protocol, "upstream_empty_response".to_owned());
        assert_eq!(one(nothing).error, Some(expected));
    }
}

#[test]
fn stale_frames_are_passed_over() {
    let stream = [
        frame(5, &said("一二")),
        frame(4, &said("旧的很长很长")),
        frame(5, &said("一二三")),
        frame(6, &said("一二三四")),
    ]
    .concat();
    let told = one(&stream);
    assert_eq!(told.text, "一二三四");
    assert!(
        !told
            .rest
            .iter()
            .any(|event| matches!(event, ChatEvent::Rewritten(_)))
    );
}

#[test]
fn what_was_sent_stands_and_the_whole_is_told_in_the_end() {
    let stream = [
        frame(1, &said("？二")),
        frame(2, &said("一二三四")),
        frame(3, &said("一二三四五")),
    ]
    .concat();
    let told = one(&stream);
    assert_eq!(told.text, "？二三四五");
    assert!(
        told.rest
            .contains(&ChatEvent::Rewritten("一二三四五".to_owned()))
    );
    // Half a character waits for the frame that repairs it, or for the end.
    let stream = [frame(1, &said("猫\u{FFFD}")), frame(2, &said("猫👋"))].concat();
    assert_eq!(one(&stream).text, "猫👋");
    assert_eq!(one(&frame(1, &said("猫\u{FFFD}"))).text, "猫\u{FFFD}");
}

#[test]
fn markers_never_show() {
    let whole = "[(deep_think)]\n\n晴[(multimodal_chat_think_3)]\n，好";
    let mut stream = String::new();
    for (at, (cut, _)) in whole.char_indices().enumerate() {
        stream += &frame(at as u64 + 1, &said(whole.get(..cut).unwrap()));
    }
    stream += &frame(1000, &said(whole));
    let told = one(&stream);
    assert_eq!(told.text, "晴，好");
    assert!(
        !told
            .rest
            .iter()
            .any(|event| matches!(event, ChatEvent::Rewritten(_)))
    );
}

#[test]
fn citations_come_from_every_panel_once() {
    let link = |at: u32| serde_json::json!({"url": format!("https://e.cn/{at}"), "title": format!("t{at}"), "summary": "s"});
    let messages = serde_json::json!([
        {"mime_type": "bar/progress", "meta_data": {"type": "deep_thinking", "content": "x"}},
        {"mime_type": "bar/progress", "meta_data": {"list": [link(1), {"url": ""}]}},
        {"mime_type": "bar/iframe", "meta_data": {"sources": [{"content": {"list": [link(1), link(2)]}}, {}]}},
        {"mime_type": "multi_load/iframe", "content": "好", "meta_data": {"multi_load": [
            {"type": "source_group_web", "content": {"list": [{"content": {"list": [link(3)]}}]}}]}},
        {"mime_type": "paa/iframe", "content": "no", "meta_data": 5},
        {"mime_type": "signal/post", "content": "no"},
        {"content": "no"},
    ]);
    let told = one(&frame(1, &messages));
    let urls: Vec<_> = told
        .rest
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Citation { index, url, .. } => Some((*index, url.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        urls,
        [
            (1, "https://e.cn/1"),
            (2, "https://e.cn/2"),
            (3, "https://e.cn/3")
        ]
    );
    assert_eq!(told.text, "好");
}

#[test]
fn thinking_takes_what_there_is() {
    let load = |kind: &str, thought: &str| serde_json::json!({"type": kind, "content": {"think_content": thought}});
    let messages = |loads: Value| serde_json::json!([{"mime_type": "multi_load/iframe", "content": "好", "meta_data": {"multi_load": loads}}]);
    let both = serde_json::json!([load("multimodal_chat_think", "b"), load("deep_think", "a")]);
    assert_eq!(one(&frame(1, &messages(both))).reasoning, "a");
    let other = serde_json::json!([load("multimodal_chat_think", "b")]);
    assert_eq!(one(&frame(1, &messages(other))).reasoning, "b");
    // Slots that take turns are set off each time.
    let plan = |text: &str| serde_json::json!([{"mime_type": "plan_cot/post", "content": text}]);
    let work = |seq: Value, text: &str| {
        serde_json::json!([{"mime_type": "bar/workflow", "meta_data": {"multi_load": [
        {"type": "bar_tool", "content": {"body": "no"}}, {"type": "bar_thinking", "source_seq": seq, "content": {"body": text}}]}}])
    };
    let stream = [
        frame(1, &plan("甲")),
        frame(2, &work(serde_json::json!(1), "乙")),
        frame(3, &work(serde_json::json!("1"), "乙丙")),
        frame(4, &plan("甲丁")),
        frame(5, &said("好")),
    ]
    .concat();
    assert_eq!(one(&stream).reasoning, "甲\n\n乙丙\n\n丁");
}

#[test]
fn inspection_stops_before_or_after_the_text() {
    let stopped = |code: Value| {
        let frame =
            serde_json::json!({"data": {"messages": [], "audit_info": {"error_code": code}}});
        format!("data:{frame}\n\n")
    };
    for code in [serde_json::json!(1013), serde_json::json!("risk")] {
        let stop = stopped(code);
        assert_eq!(one(&stop).error.map(|error| error.0), Some(Kind::Moderated));
        let told = one(&format!(
            "{}{stop}{}",
            frame(1, &said("好")),
            frame(2, &said("好了"))
        ));
        assert_eq!((told.text.as_str(), told.error), ("好", None));
        assert_eq!(
            told.rest.last(),
            Some(&ChatEvent::Finish(FinishReason::ContentFilter))
        );
    }
    for code in [
        serde_json::json!(0),
        serde_json::json!("0"),
        serde_json::json!(""),
        Value::Null,
    ] {
        let told = one(&format!("{}{}", stopped(code), frame(2, &said("好"))));
        assert_eq!((told.text.as_str(), told.error), ("好", None));
    }
}

#[test]
fn refusals_in_the_stream_are_errors() {
    for (frame, kind) in [
        (
            r#"{"error_code":12,"error_msg":"请先登录"}"#,
            Kind::AuthExpired,
        ),
        (
            r#"{"error_code":"EX015","error_msg":"签名错误"}"#,
            Kind::AuthExpired,
        ),
        (
            r#"{"error_code":12,"error_msg":"请求频繁"}"#,
            Kind::RateLimited,
        ),
        (
            r#"{"code":"AUTH_FAILED","message":"用户未登录","success":false}"#,
            Kind::AuthExpired,
        ),
        (
            r#"{"error_code":3,"error_msg":"系统繁忙","data":{}}"#,
            Kind::Unavailable,
        ),
        (
            r#"{"success":false,"error_code":0,"error_msg":"odd"}"#,
            Kind::Protocol,
        ),
        ("{", Kind::Protocol),
    ] {
        let told = one(&format!("data:{frame}\n\n"));
        assert_eq!(told.error.map(|error| error.0), Some(kind), "{frame}");
    }
    // A sentence in the answer's place is one as well, and never shown, not even in part.
    for sentence in [
        BUSY,
        &format!("{BUSY}。"),
        "对不起，您的请求没有成功，请十分钟后再试！",
    ] {
        let mut stream = String::new();
        for (at, (cut, _)) in sentence.char_indices().enumerate() {
            stream += &frame(at as u64 + 1, &said(sentence.get(..cut).unwrap()));
        }
        stream += &frame(100, &said(sentence));
        stream += END;
        let whole = one(&stream);
        assert_eq!(
            (
                whole.text.as_str(),
                whole.error.as_ref().map(|error| error.0)
            ),
            ("", Some(Kind::Unavailable))
        );
        // Not at every byte, which takes long here; 7 divides no frame's length for long.
        for at in (0..=stream.len()).step_by(7) {
            let (head, tail) = stream.as_bytes().split_at(at);
            assert_eq!(decode([head, tail]), whole, "split at byte {at}");
        }
    }
    assert_eq!(
        one(&frame(1, &said("抱歉，系统超时的原因是"))).text,
        "抱歉，系统超时的原因是"
    );
}

#[test]
fn a_suspect_is_held_back() {
    let run = |text: &str| {
        let (mut decoder, mut events) = (
            Decoder::new("x").answering("q", Some("请升级".into())),
            Vec::new(),
        );
        let fed = decoder.feed(frame(1, &said(text)).as_bytes(), &mut events);
        let end = fed.and_then(|()| decoder.finish(&mut events));
        (end.err().and_then(|error| error.code), events.len())
    };
    assert_eq!(
        run("请升级。"),
        (Some("upstream_refused_in_words".to_owned()), 0)
    );
    assert!(matches!(run("请升级你的知识"), (None, 2..)));
}

#[test]
fn shapes_that_nobody_expects_are_passed_over() {
    for odd in [
        r#"{"data":true}"#,
        r#"{"data":null,"communication":5}"#,
        r#"{"communication":{"resid":"x"},"data":{"messages":5}}"#,
        r#"{"data":{"messages":[{"mime_type":"multi_load/iframe","content":{"a":1},"meta_data":[]}]}}"#,
        r#"{"data":{"messages":[],"extra_info":"x","audit_info":"x"}}"#,
    ] {
        let told = one(&format!("data:{odd}\n\n{}", frame(1, &said("好"))));
        assert_eq!((told.text.as_str(), told.error), ("好", None), "{odd}");
    }
}

/// A service that cuts between the halves of a character, and shows one.
#[test]
fn half_a_character_waits_for_the_other_half() {
    let frame = |content: &str| {
        format!(
            r#"data:{{"data":{{"messages":[{{"mime_type":"text/plain","content":"{content}"}}]}}}}"#
        ) + "\n\n"
    };
    let stream = [
        frame(r"猫\ud83d"),
        frame(r"猫\ud83d\udc4b"),
        frame(r"猫\ud83d\udc4b。"),
    ]
    .concat();
    assert_eq!(one(&stream).text, "猫👋。");
    // Nobody can know the other half.
    assert_eq!(one(&frame(r"猫\ud83d")).text, "猫");
    let mut torn = frame("猫").into_bytes();
    torn.splice(torn.len() - 7..torn.len() - 7, *b"\xf0\x9f");
    assert_eq!(decode([torn.as_slice()]).text.chars().next(), Some('猫'));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        decode([bytes.as_slice()]);
    }

    /// Skipping what is known gives the very events of the way that reads everything.
    #[test]
    fn skipping_changes_nothing(
        steps in proptest::collection::vec(("[ab\\n\"\\\\你👋\u{FFFD}\\[()\\]]{0,3}|\\[\\(deep_think\\)\\]", 0_u8..8), 1..12),
    ) {
        let (mut text, mut frames) = (String::new(), Vec::new());
        for (at, (more, change)) in steps.into_iter().enumerate() {
            match change {
                // The service takes something back.
                0 => { text.pop(); }
                1 => text = more,
                _ => text.push_str(&more),
            }
            frames.push(frame(at as u64, &said(&text)));
        }
        let run = |skips: bool| {
            let (mut decoder, mut events) = (Decoder::new("x"), Vec::new());
            let result = frames.iter().try_for_each(|frame| {
                if !skips {
                    decoder.answer.text.raw.clear();
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
fn a_growing_answer_is_not_parsed_again() {
    let (mut decoder, mut events) = (Decoder::new("x"), Vec::new());
    let data = |at: u64, text: &str| {
        let frame = frame(at, &said(text));
        frame
            .trim_start_matches("event:message\ndata:")
            .trim_end()
            .to_owned()
    };
    decoder
        .feed(frame(1, &said("开")).as_bytes(), &mut events)
        .unwrap();
    for (at, text) in ["开始", "开始\n\"q\"", "开始\n\"q\" \\ 👋"]
        .iter()
        .enumerate()
    {
        let data = data(at as u64 + 2, text);
        assert!(decoder.answer.grow(data.as_bytes(), &mut events), "{data}");
    }
    // What is no part of a string is not taken for one, and what is older is not read.
    for (at, text) in [(9, "开始\n\"q\" \\ 👋[(x"), (1, "开始\n\"q\" \\ 👋!")] {
        assert!(!decoder.answer.grow(data(at, text).as_bytes(), &mut events));
    }
    let said: String = events
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(said, "开始\n\"q\" \\ 👋");
}

#[test]
fn a_growing_text_is_read_once() {
    let mut spoken = Spoken::default();
    let mut text = "开".to_owned();
    let raw = |text: &str| serde_json::json!(text).to_string();
    spoken.content.clone_from(&text);
    assert_eq!(spoken.advance(false).as_deref(), Some("开"));
    spoken.learn(&raw(&text));
    for more in ["始", "\n\"quoted\"", " \\ ", "👋"] {
        text.push_str(more);
        assert_eq!(spoken.grow(&raw(&text)).as_deref(), Some(more));
    }
}

/// What the wire page names is no news, whatever becomes of it; what it does not name is told of once.
#[test]
fn tells_of_what_the_wire_page_does_not_know() {
    let unknown = |stream: &str| -> Vec<ChatEvent> {
        let is_unknown = |event: &ChatEvent| matches!(event, ChatEvent::Unknown(_));
        one(stream).rest.into_iter().filter(is_unknown).collect()
    };
    let item = |kind: &str, meta: Value| {
        let items = serde_json::json!([{"mime_type": kind, "content": "", "meta_data": meta}]);
        frame(2, &items).repeat(2) + &frame(3, &said("x")) + END
    };
    let load = |kind: &str| serde_json::json!({"multi_load": [{"type": kind, "content": {}}]});
    let named = |kind: &str| serde_json::json!({"type": kind});
    for stream in [D, E] {
        assert_eq!(unknown(stream), []);
    }
    for (kind, meta) in [
        ("signal/post", Value::Null),
        ("paa/iframe", Value::Null),
        ("bar/workflow", load("bar_tool")),
        ("bar/progress", named("deep_thinking")),
    ] {
        assert_eq!(unknown(&item(kind, meta)), [], "{kind}");
    }
    for (kind, meta, place) in [
        ("hologram/iframe", Value::Null, "mime_type"),
        ("bar/workflow", load("bar_dance"), "panel"),
        ("bar/progress", named("dance"), "panel"),
    ] {
        assert_eq!(
            unknown(&item(kind, meta)),
            [ChatEvent::Unknown(place)],
            "{kind}"
        );
    }
    let new = frame(2, &said("x")).replace("event:message", "event:dance") + END;
    assert_eq!(unknown(&new), [ChatEvent::Unknown("event")]);
}
