use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::providers::testing::decodes_however_it_is_torn;
use crate::providers::xinghuo::refusal::Window;

const A: &str = include_str!("../../../tests/fixtures/xinghuo/text.sse");
const B: &str = include_str!("../../../tests/fixtures/xinghuo/torn.sse");
const C: &str = include_str!("../../../tests/fixtures/xinghuo/thinking.sse");
const D: &str = include_str!("../../../tests/fixtures/xinghuo/busy.sse");
const E: &str = include_str!("../../../tests/fixtures/xinghuo/memory.sse");
/// Sample V3 of section 5 as a stream: base64 torn within its groups of four.
const V3: &str = "data:5L2g5\n\ndata:aW977yM5L\n\ndata:iW55WM8J+Ri/Cfj70hCg==\n\ndata:<end>\n\n";
const HELLO: &str = "你好，世界👋🏽!\n";

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    rest: Vec<ChatEvent>,
    message_id: Option<String>,
    error: Option<(Kind, String, Window)>,
}

/// Decodes a stream given in pieces; deltas are joined, as their cuts depend on those of the bytes only in time.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events, mut said) =
        (Decoder::new("XINGHUO_COOKIE"), Vec::new(), Said::default());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    said.error = fed
        .and_then(|()| decoder.finish(&mut events))
        .err()
        .map(|refusal| {
            let code = refusal.error.code.unwrap_or_default();
            (refusal.error.kind, code, refusal.window)
        });
    said.message_id = decoder.message_id().map(str::to_owned);
    for event in events {
        match event {
            ChatEvent::Text(text) => said.text.push_str(&text),
            ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
            other => said.rest.push(other),
        }
    }
    said
}

/// A stream of payloads: texts in `=…` are put into base64, everything else is sent as it is.
fn stream(payloads: &[&str]) -> Said {
    let lines: String = payloads
        .iter()
        .map(|payload| match payload.strip_prefix('=') {
            Some(text) => format!("data:{}\n\n", BASE64.encode(text)),
            None => format!("data:{payload}\n\n"),
        })
        .collect();
    decode([lines.as_bytes()])
}

fn finish(reason: FinishReason) -> ChatEvent {
    ChatEvent::Finish(reason)
}

fn error(kind: Kind, code: &str) -> Option<(Kind, String, Window)> {
    Some((kind, code.to_owned(), Window::Fine))
}

#[test]
fn the_samples_are_those_of_the_wire_page() {
    for (sample, length, digest) in [
        (A, 120, "52fb6757cd87f82f"),
        (B, 71, "9f4e065a125071be"),
        (C, 762, "61a094ce190891d7"),
        (D, 122, "990dcb6d45bfc8db"),
        (E, 192, "becc8693a968abf6"),
    ] {
        let hash = Sha256::digest(sample);
        let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((sample.len(), hex.as_str()), (length, digest));
    }
}

#[test]
fn decodes_the_samples_of_the_wire_page() {
    let stop = || vec![finish(FinishReason::Stop)];
    let said = decode([A.as_bytes()]);
    assert_eq!((said.text.as_str(), &said.rest), (HELLO, &stop()));
    assert_eq!(
        said.message_id.as_deref(),
        Some("cht000b6cfc@dx18f7a7ef0bab81c560")
    );
    let said = decode([B.as_bytes()]);
    assert_eq!((said.text.as_str(), &said.rest), (HELLO, &stop()));
    let said = decode([C.as_bytes()]);
    assert_eq!(
        (said.text.as_str(), said.reasoning.as_str(), said.error),
        ("1+1=2", "用户问1+1", None)
    );
    assert_eq!(
        said.rest,
        [
            ChatEvent::Image {
                url: "https://img.example/x.png?authorization=a=&x_location=b".to_owned()
            },
            ChatEvent::Citation {
                index: 1,
                url: "https://example.com/a".to_owned(),
                title: "示例".to_owned()
            },
            finish(FinishReason::Stop)
        ]
    );
    assert_eq!(decode([D.as_bytes()]).error, error(Kind::Unavailable, ""));
    let said = decode([E.as_bytes()]);
    assert_eq!(
        (said.text.as_str(), &said.rest),
        ("你好，世界！\n\n", &stop())
    );
    assert_eq!(
        said.message_id.as_deref(),
        Some("cht000b6cfc@dx19000000000000000000")
    );
}

#[test]
fn what_is_noted_about_the_user_is_not_said_however_it_is_torn() {
    for payloads in [
        &["=a `b`\n```memoryExtraction\n{\"memory\":[]}\n```"][..],
        &[
            "=a `b`\n",
            "=```memoryExtraction\n{\"memory\":[",
            "=]}\n```",
        ],
        &[
            "=a `b`\n`",
            "=``memory",
            "=Extraction",
            "=\n{}",
            "=```",
            "=and more",
        ],
        &["=a `b`\n", "=```memoryExtraction"],
        &["=a `b`\n", "```memoryExtraction\\n{}```"],
    ] {
        let payloads: Vec<&str> = payloads
            .iter()
            .copied()
            .chain(["<end>", "i<sid>"])
            .collect();
        let said = stream(&payloads);
        assert_eq!(said.text, "a `b`\n", "{payloads:?}");
        assert_eq!(said.rest, [finish(FinishReason::Stop)]);
        assert_eq!(said.message_id.as_deref(), Some("i"));
    }
    // Alone it is no answer.
    let said = stream(&["=```memoryExtraction\n{}\n```", "<end>"]);
    assert_eq!(said.error, error(Kind::Unavailable, "upstream_empty"));
    // And a code answer that only ends like it is whole.
    let said = stream(&["=```js\nx\n```", "<end>"]);
    assert_eq!(said.text, "```js\nx\n```");
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in [A, B, C, D, E, V3] {
        decodes_however_it_is_torn(
            sample.as_bytes(),
            |pieces| decode(pieces.iter().copied()),
            |said| matches!(said.rest.last(), Some(ChatEvent::Finish(_))) != said.error.is_some(),
        );
        let whole = decode([sample.as_bytes()]);
        for at in 0..sample.len() {
            let said = decode([&sample.as_bytes()[..at]]);
            assert!(whole.text.starts_with(&said.text), "{at}: {said:?}");
        }
    }
}

#[test]
fn torn_base64_is_put_together() {
    assert_eq!(decode([V3.as_bytes()]).text, HELLO);
    assert_eq!(stream(&["YQ", "Yg==", "Yw", "<end>"]).text, "abc");
    assert_eq!(stream(&["5L2g5Q==", "<end>"]).text, "你\u{FFFD}");
    // The held character waits until after an event of another kind.
    let said = stream(&["5L2g5", "=<thinking_content>hm", "aW9", "<end>"]);
    assert_eq!(
        (said.text.as_str(), said.reasoning.as_str()),
        ("你好", "hm")
    );
}

#[test]
fn lines_are_read_as_they_come() {
    let odd =
        "data: YQ==\r\n: comment\nevent: x\nid:1\ndata:Yg==\ndata:\n\ndata:Yw==\n\ndata:<end>";
    assert_eq!(decode([odd.as_bytes()]).text, "abc");
}

#[test]
fn control_words_are_never_text() {
    let said = stream(&[
        "=a",
        "<whatever>",
        "```raw block```",
        "=b",
        "<end>",
        "=c",
        "x<sid>",
    ]);
    assert_eq!((said.text.as_str(), said.error), ("ab", None));
    assert_eq!(said.message_id.as_deref(), Some("x"));
}

#[test]
fn text_that_looks_like_framing_is_text() {
    for text in [
        "<end>",
        "[error]",
        "{\"key\":10110}",
        "x<sid>",
        "```rust\nlet a = 1;\n```",
        "```",
        "data: [DONE]\n\n",
        " ",
        "say ```allTool{}``` again",
    ] {
        assert_eq!(stream(&[&format!("={text}"), "<end>"]).text, text);
    }
}

#[test]
fn the_last_list_of_sources_counts() {
    let list = |url: &str| {
        format!("=```searchSource\n[{{\"index\":1,\"url\":\"{url}\",\"title\":\"t\"}}]\n```")
    };
    let said = stream(&[&list("a"), "=x", &list("b"), "<end>"]);
    let urls: Vec<_> = said
        .rest
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Citation { url, .. } => Some(url.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(urls, ["b"]);
}

/// The rows of section 7 that a stream may end in.
#[test]
fn every_bad_end_has_its_kind() {
    for (payloads, expected) in [
        (
            &["[error]", r#"{"key":10006}"#, "<end>"][..],
            (Kind::RateLimited, ""),
        ),
        (
            &[r#"[error]{"key":11200}"#, "<end>"],
            (Kind::QuotaSpent, ""),
        ),
        (
            &["[error]", r#"{"key":109"#, r#"07,"value":"x"}"#, "<end>"],
            (Kind::ContextLength, ""),
        ),
        (&[r#"{"descr":"包含敏感词"}"#], (Kind::Moderated, "")),
        (&[r#"{"code":80000,"desc":"x"}"#], (Kind::AuthExpired, "")),
        (&["[error]", "<end>"], (Kind::Protocol, "upstream_error")),
        (&["[error]"], (Kind::Protocol, "upstream_error")),
        (&["[error]", r#"{"key":10110}"#], (Kind::Unavailable, "")),
        (
            &["[geeError]", r#"{"descr":"请完成验证"}"#, "<end>"],
            (Kind::Verification, ""),
        ),
        (&["[geeError]"], (Kind::Verification, "")),
        (
            &["[pluginError]", r#"{"key":10110}"#, "<end>"],
            (Kind::Protocol, "upstream_error"),
        ),
        (
            &["[needAuthError]", "<end>"],
            (Kind::Protocol, "upstream_error"),
        ),
        (&["[出错了]", "<end>"], (Kind::Protocol, "upstream_error")),
        (&["<kx>"], (Kind::Moderated, "")),
        (&["<end>"], (Kind::Unavailable, "upstream_empty")),
        (
            &["=```allTool{}", "<end>"],
            (Kind::Unavailable, "upstream_empty"),
        ),
        (&[], (Kind::Unavailable, "")),
        (&["=a"], (Kind::Unavailable, "")),
        (&["=```allTool{}"], (Kind::Unavailable, "")),
        (&["!!!", "你好"], (Kind::Protocol, "")),
        (&["!!!", "<end>"], (Kind::Protocol, "")),
        (&["=<deep_x1>{", "<end>"], (Kind::Protocol, "")),
        // After text only moderation is an end.
        (
            &["=a", "[error]", r#"{"key":10110}"#],
            (Kind::Unavailable, ""),
        ),
    ] {
        let (kind, code) = expected;
        let window = match kind {
            // Another form may have no use for the token that was refused.
            Kind::Verification => Window::Form,
            _ => Window::Fine,
        };
        let expected = Some((kind, code.to_owned(), window));
        assert_eq!(stream(payloads).error, expected, "{payloads:?}");
    }
}

#[test]
fn a_lost_or_busy_window_is_told() {
    let window = |payloads: &[&str]| stream(payloads).error.unwrap().2;
    assert_eq!(window(&["[belongerr]"]), Window::Lost);
    assert_eq!(
        window(&["[error]", r#"{"key":10007}"#, "<end>"]),
        Window::Busy
    );
}

#[test]
fn moderation_after_output_ends_the_answer() {
    for ending in [
        &["<kx>"][..],
        &["[error]", r#"{"key":10014}"#, "<end>"],
        &["[error]", r#"{"key":20002}"#],
        &["[error]", r#"{"descr":"内容违规"}"#, "<end>"],
    ] {
        for beginning in ["=a", "=<thinking_content>a"] {
            let payloads: Vec<&str> = [beginning]
                .into_iter()
                .chain(ending.iter().copied())
                .collect();
            let said = stream(&payloads);
            assert_eq!(
                (said.rest.last(), said.error),
                (Some(&finish(FinishReason::ContentFilter)), None),
                "{payloads:?}"
            );
        }
    }
}

#[test]
fn garbage_between_text_is_skipped() {
    let said = stream(&["=a", "!!!", "你好", "=b", "<end>"]);
    assert_eq!((said.text.as_str(), said.error), ("ab", None));
}

#[test]
fn an_endless_line_and_an_endless_error_are_refused() {
    let mut decoder = Decoder::new("");
    let mut events = Vec::new();
    assert!((0..40).any(|_| decoder.feed(&[b'x'; 1 << 20], &mut events).is_err()));
    let mut decoder = Decoder::new("");
    decoder.feed(b"data:[error]\n", &mut events).unwrap();
    for _ in 0..40 {
        let line = [b"data:".as_slice(), &[b'{'; 1 << 15], b"\n"].concat();
        decoder.feed(&line, &mut events).unwrap();
    }
    assert_eq!(decoder.answer.report.unwrap().json.len(), MOST_REPORT_BYTES);
}

/// Pieces that a service might send, in any order and number.
fn payload() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let block = prop::sample::select(vec![
        "<end>",
        "<kx>",
        "x<sid>",
        "[error]",
        "[geeError]",
        "[belongerr]",
        "{\"key\":10110}",
        "{",
        "}",
        "[",
        "<",
        "=",
        "```",
    ]);
    prop_oneof![
        block.prop_map(str::to_owned),
        "[A-Za-z0-9+/]{0,12}={0,3}",
        ".{0,20}".prop_map(|text| BASE64.encode(text)),
        ".{0,9}".prop_map(|text| BASE64.encode(format!("<deep_x1>{text}"))),
        ".{0,9}".prop_map(|text| BASE64.encode(format!("```searchSource\n{text}"))),
    ]
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_and_little_is_kept(chunks in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64), 0..16)) {
        let (mut decoder, mut events) = (Decoder::new(""), Vec::new());
        let total: usize = chunks.iter().map(Vec::len).sum();
        for chunk in &chunks {
            let _ = decoder.feed(chunk, &mut events);
        }
        proptest::prop_assert!(decoder.line.len() <= total);
        let _ = decoder.finish(&mut events);
    }

    #[test]
    fn any_payloads_split_anywhere_give_the_same_events(
        payloads in proptest::collection::vec(payload(), 0..12),
        cut in 0_usize..400,
    ) {
        let stream: String = payloads.iter().map(|payload| format!("data:{payload}\n\n")).collect();
        let bytes = stream.as_bytes();
        let (head, tail) = bytes.split_at(cut.min(bytes.len()));
        let whole = decode([bytes]);
        proptest::prop_assert_eq!(&decode([head, tail]), &whole);
        proptest::prop_assert_eq!(&decode(bytes.chunks(1)), &whole);
        let is_answered = whole.rest.iter().any(|event| matches!(event, ChatEvent::Finish(_)));
        proptest::prop_assert_eq!(is_answered, whole.error.is_none());
    }
}

#[test]
fn a_mark_and_other_line_ends_change_nothing() {
    let expected = decode([V3.as_bytes()]);
    for stream in [
        format!("\u{FEFF}{V3}"),
        V3.replace('\n', "\r"),
        V3.replace('\n', "\r\n"),
        V3.replace("data:", "data: "),
        V3.replace("\n\n", " \n\n"),
        format!("data:\n\n{V3}"),
    ] {
        assert_eq!(decode(stream.as_bytes().chunks(1)), expected, "{stream:?}");
    }
}

#[test]
fn heartbeats_are_no_text_but_torn_base64_is() {
    let expected = decode([V3.as_bytes()]);
    for beat in ["null", "{}", "[]"] {
        let stream = format!(
            "data:{beat}\n\n{}",
            V3.replace("data:<end>", &format!("data:{beat}\n\ndata:<end>"))
        );
        assert_eq!(decode([stream.as_bytes()]), expected, "{beat}");
    }
    // The same four letters amid base64 whose groups of four begin elsewhere are text.
    let text = "a䧺YZ";
    let chars = BASE64.encode(text);
    let torn = chars.replace("null", "\n\ndata:null\n\ndata:");
    assert_ne!(torn, chars);
    let stream = format!("data:{torn}\n\ndata:<end>\n\n");
    assert_eq!(decode([stream.as_bytes()]).text, text);
}

/// What the wire page names is no news, whatever becomes of it; what it does not name is told of once.
#[test]
fn tells_of_what_the_wire_page_does_not_know() {
    let unknown = |said: Said| -> Vec<ChatEvent> {
        let is_unknown = |event: &ChatEvent| matches!(event, ChatEvent::Unknown(_));
        said.rest.into_iter().filter(is_unknown).collect()
    };
    for stream in [A, B, C, D, E, V3] {
        assert_eq!(unknown(decode([stream.as_bytes()])), []);
    }
    for known in [
        "```question_type_recommand_json[]```",
        "=```ragDoc\n[]\n```",
        r#"=<deep_x1>{"stage":"plugin","data":{"protocol":"all-tool"}}"#,
    ] {
        assert_eq!(unknown(stream(&["=x", known, "<end>"])), [], "{known}");
    }
    for (new, place) in [
        ("<dance>", "control"),
        ("```dance[]```", "block"),
        ("!dance!", "payload"),
        (r#"=<deep_x1>{"stage":"dance"}"#, "block"),
        (
            r#"=<deep_x1>{"stage":"plugin","data":{"protocol":"dance"}}"#,
            "block",
        ),
    ] {
        let said = stream(&["=x", new, new, "<end>"]);
        assert_eq!((said.text.as_str(), &said.error), ("x", &None), "{new}");
        assert_eq!(unknown(said), [ChatEvent::Unknown(place)], "{new}");
    }
}
