use super::*;
use crate::chat::FinishReason;
use crate::providers::testing::decodes_however_it_is_torn;

const FRAGMENTS: &str = include_str!("../../../tests/fixtures/deepseek/fragments.sse");
const THINKING_SEARCH: &str = include_str!("../../../tests/fixtures/deepseek/thinking_search.sse");
const LEGACY: &str = include_str!("../../../tests/fixtures/deepseek/legacy.sse");
const CHOICES: &str = include_str!("../../../tests/fixtures/deepseek/choices.sse");
const CONTENT_FILTER: &str = include_str!("../../../tests/fixtures/deepseek/content_filter.sse");
const RATE_LIMIT: &str = include_str!("../../../tests/fixtures/deepseek/rate_limit.sse");
const INCOMPLETE: &str = include_str!("../../../tests/fixtures/deepseek/incomplete.sse");
const CONTINUED: &str = include_str!("../../../tests/fixtures/deepseek/continued.sse");
const ALL: [&str; 8] = [
    FRAGMENTS,
    THINKING_SEARCH,
    LEGACY,
    CHOICES,
    CONTENT_FILTER,
    RATE_LIMIT,
    INCOMPLETE,
    CONTINUED,
];

#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    rest: Vec<ChatEvent>,
    error: Option<Kind>,
}

impl Said {
    fn of(events: Vec<ChatEvent>, result: Result<(), ProviderError>) -> Self {
        let mut said = Self {
            error: result.err().map(|error| error.kind),
            ..Self::default()
        };
        for event in events {
            match event {
                ChatEvent::Text(text) => said.text.push_str(&text),
                ChatEvent::Reasoning(text) => said.reasoning.push_str(&text),
                other => said.rest.push(other),
            }
        }
        said
    }

    fn plain(&self) -> (&str, &str, Option<FinishReason>) {
        let reason = match self.rest.last() {
            Some(ChatEvent::Finish(reason)) => Some(*reason),
            _ => None,
        };
        (&self.reasoning, &self.text, reason)
    }

    fn tokens(&self) -> Option<u64> {
        self.rest.iter().find_map(|event| match event {
            ChatEvent::Usage(usage) => Some(usage.completion_tokens),
            _ => None,
        })
    }
}

/// Decodes a stream given in pieces; deltas are joined, as no two bodies are cut alike.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Said {
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    let result = fed.and_then(|()| decoder.finish(&mut events));
    Said::of(events, result)
}

/// Decodes plain messages, one a line.
fn lines(lines: &[&str]) -> Said {
    let body: String = lines
        .iter()
        .map(|line| format!("data: {line}\n\n"))
        .collect();
    decode([body.as_bytes()])
}

const STOP: Option<FinishReason> = Some(FinishReason::Stop);
const FINISHED: &str = r#"{"p":"response/status","o":"SET","v":"FINISHED"}"#;

#[test]
fn decodes_the_samples_of_the_wire_page() {
    let said = decode([FRAGMENTS.as_bytes()]);
    assert_eq!(said.plain(), ("", "Hello, 世界", STOP));
    assert_eq!(said.tokens(), Some(9));
    let said = decode([THINKING_SEARCH.as_bytes()]);
    assert_eq!(said.plain(), ("用户 asks", "It is A[reference:0].", STOP));
    assert_eq!(said.tokens(), Some(41));
    assert_eq!(
        said.rest[0],
        ChatEvent::Citation {
            index: 1,
            url: "https://example.com/a".into(),
            title: "A".into()
        }
    );
    let said = decode([LEGACY.as_bytes()]);
    assert_eq!(said.plain(), ("Hm, yes", "Good day", STOP));
    let said = decode([CHOICES.as_bytes()]);
    assert_eq!(said.plain(), ("Hm", "Good day", STOP));
    assert_eq!(said.rest.len(), 2, "{said:?}");
    let said = decode([CONTENT_FILTER.as_bytes()]);
    let filtered = Some(FinishReason::ContentFilter);
    assert_eq!(said.plain(), ("", "Once upon", filtered));
    assert_eq!(said.tokens(), Some(165));
    assert_eq!(
        decode([RATE_LIMIT.as_bytes()]).error,
        Some(Kind::RateLimited)
    );
    let said = decode([INCOMPLETE.as_bytes()]);
    assert_eq!(said.plain(), ("", "One two ", Some(FinishReason::Length)));
}

#[test]
fn it_may_be_torn_anywhere() {
    for sample in ALL {
        decodes_however_it_is_torn(
            sample.as_bytes(),
            |pieces| decode(pieces.iter().copied()),
            |said| matches!(said.rest.last(), Some(ChatEvent::Finish(_))) != said.error.is_some(),
        );
    }
}

#[test]
fn a_continuation_repeats_nothing_and_loses_nothing() {
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    decoder.feed(INCOMPLETE.as_bytes(), &mut events).unwrap();
    assert!(decoder.is_incomplete() && decoder.is_closed());
    assert_eq!(decoder.response_id(), Some(2));
    decoder.resume();
    // Broken off in the middle, and begun once more: what was passed on before counts.
    let half = CONTINUED
        .find("data: {\"p\":\"response\",\"o\":\"BATCH\"")
        .unwrap();
    decoder
        .feed(&CONTINUED.as_bytes()[..half], &mut events)
        .unwrap();
    decoder.resume();
    decoder.feed(CONTINUED.as_bytes(), &mut events).unwrap();
    assert!(!decoder.is_incomplete());
    let result = decoder.finish(&mut events);
    let said = Said::of(events, result);
    assert_eq!(said.plain(), ("", "One two three four", STOP));
    assert_eq!(said.tokens(), Some(9));
}

/// The stream of section 8 that takes a broken answer up: a snapshot with the first `known` characters, then the rest.
fn resumed(kind: &str, text: &str, known: usize) -> String {
    let head: String = text.chars().take(known).collect();
    let fragment = serde_json::json!([{"id": 2, "type": kind, "content": head}]);
    let mut stream = format!(
        "event: ready\ndata: {{\"request_message_id\":1,\"response_message_id\":2}}\n\ndata: {{\"v\":{{\"response\":{{\"message_id\":2,\"status\":\"WIP\",\"fragments\":{fragment}}}}}}}\n\n"
    );
    for piece in text.chars().skip(known) {
        let piece = serde_json::json!({"p": "response/fragments/-1/content", "o": "APPEND", "v": piece.to_string()});
        stream.push_str(&format!("data: {piece}\n\n"));
    }
    stream.push_str("data: {\"p\":\"response/status\",\"o\":\"SET\",\"v\":\"FINISHED\"}\n\n");
    stream
}

/// Broken at every byte, and taken up again with more, as much and less than had come.
#[test]
fn a_resumed_answer_goes_on_where_it_stopped() {
    const TEXT: &str = "Hello, 世界";
    let bytes = FRAGMENTS.as_bytes();
    let mut times = 0;
    for at in 0..bytes.len() {
        let broken = |events: &mut Vec<ChatEvent>| {
            let mut decoder = Decoder::new();
            decoder.feed(&bytes[..at], events).unwrap();
            decoder.resumable().map(|id| (decoder, id))
        };
        for known in 0..=TEXT.chars().count() {
            let mut events = Vec::new();
            let Some((mut decoder, id)) = broken(&mut events) else {
                continue;
            };
            assert_eq!(id, 2);
            decoder.resume();
            let result = decoder
                .feed(resumed("RESPONSE", TEXT, known).as_bytes(), &mut events)
                .and_then(|()| decoder.finish(&mut events));
            let said = Said::of(events, result);
            assert_eq!(
                (said.text.as_str(), said.error),
                (TEXT, None),
                "broken at {at}"
            );
            times += 1;
        }
        // Or it has been finished meanwhile.
        let message = r#"{"message_id":2,"status":"FINISHED","accumulated_token_usage":9,"fragments":[{"id":2,"type":"RESPONSE","content":"Hello, 世界"}]}"#;
        for message in [message.to_owned(), format!(r#"{{"response":{message}}}"#)] {
            let mut events = Vec::new();
            let Some((mut decoder, _)) = broken(&mut events) else {
                continue;
            };
            let message = RawValue::from_string(message).unwrap();
            let result = decoder
                .complete(&message, &mut events)
                .and_then(|()| decoder.finish(&mut events));
            let said = Said::of(events, result);
            assert_eq!(
                (said.text.as_str(), said.error),
                (TEXT, None),
                "broken at {at}"
            );
            assert_eq!(
                said.rest.last(),
                Some(&ChatEvent::Finish(FinishReason::Stop))
            );
        }
    }
    assert!(times > 1000, "{times}");
}

#[test]
fn only_an_answer_that_is_under_way_is_resumed() {
    let resumable = |bytes: &str| {
        let (mut decoder, mut events) = (Decoder::new(), Vec::new());
        let _ = decoder.feed(bytes.as_bytes(), &mut events);
        decoder.resumable()
    };
    let ready = "event: ready\ndata: {\"response_message_id\":2}\n\n";
    assert_eq!(resumable(ready), None, "before the first text");
    assert_eq!(resumable(FRAGMENTS), None, "after the end");
    assert_eq!(resumable(CHOICES), None);
    let choices: String = CHOICES
        .lines()
        .take(4)
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(
        resumable(&choices),
        None,
        "the oldest generation has no such call"
    );
    let thought = r#"data: {"v":{"response":{"message_id":2,"status":"WIP","fragments":[{"id":1,"type":"THINK","content":"h"}]}}}"#;
    assert_eq!(resumable(&format!("{thought}\n\n")), Some(2));
}

#[test]
fn a_snapshot_behind_what_was_said_is_waited_for() {
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    decoder.feed(INCOMPLETE.as_bytes(), &mut events).unwrap();
    decoder.resume();
    let behind = CONTINUED
        .replace("One two three", "One")
        .replace("\" four\"", "\" two three\"");
    decoder.feed(behind.as_bytes(), &mut events).unwrap();
    let result = decoder.finish(&mut events);
    assert_eq!(Said::of(events, result).text, "One two three");
}

#[test]
fn what_is_left_out_keeps_its_last_value() {
    let snapshot = r#"{"v":{"response":{"message_id":2,"status":"WIP","fragments":[{"id":1,"type":"THINK","content":""},{"id":2,"type":"RESPONSE","content":"a"}]}}}"#;
    for (patches, thinking, text) in [
        // A patch without v changes p and o only; 1 and -1 are the same fragment.
        (
            &[
                r#"{"p":"response/fragments/1/content","o":"APPEND"}"#,
                r#"{"v":"b"}"#,
            ][..],
            "",
            "ab",
        ),
        // A batch has its own p and o, and leaves the outer ones alone.
        (
            &[
                r#"{"p":"response/fragments/-1/content","o":"APPEND","v":"b"}"#,
                r#"{"p":"response","o":"BATCH","v":[{"p":"fragments/0/content","o":"APPEND","v":"x"},{"v":"y"},{"p":"fragments/1/content","v":"c"}]}"#,
                r#"{"v":[{"p":"fragments/-2/content","o":"APPEND","v":"z"}]}"#,
            ],
            "xyz",
            "abc",
        ),
        // A stray string goes on with what spoke last; a status word does not.
        (
            &[
                r#"{"p":"response/accumulated_token_usage","o":"SET","v":5}"#,
                r#"{"v":"b"}"#,
                r#"{"v":"INCOMPLETE"}"#,
            ],
            "",
            "ab",
        ),
        // Out of range, of the wrong type, or of no known form: no-ops.
        (
            &[
                r#"{"p":"response/fragments/9/content","o":"APPEND","v":"!"}"#,
                r#"{"p":"response/fragments/-9/content","v":"!"}"#,
                r#"{"p":"response/fragments/1/content","v":{"x":1}}"#,
                r#"{"p":5,"v":"!"}"#,
                "{}",
                "null",
                "not json",
                r#"{"p":"response/fragments/-1/status","v":"FINISHED"}"#,
                r#"{"p":"response/fragments","o":"APPEND","v":{"id":3,"type":"NEWS","content":"!"}}"#,
                r#"{"p":"response/title","o":"SET","v":"!"}"#,
            ],
            "",
            "a",
        ),
    ] {
        let mut all = vec![snapshot];
        all.extend(patches);
        all.push(FINISHED);
        assert_eq!(lines(&all).plain(), (thinking, text, STOP));
    }
}

#[test]
fn text_that_looks_like_a_status_is_text_and_blanks_are_text() {
    let said = lines(&[
        r#"{"v":{"response":{"fragments":[{"type":"RESPONSE","content":"\n"}]}}}"#,
        r#"{"p":"response/fragments/-1/content","o":"APPEND","v":"FINISHED"}"#,
        r#"{"v":" "}"#,
        r#"{"v":"WIP"}"#,
        r#"{"v":"\n"}"#,
        FINISHED,
    ]);
    assert_eq!(said.plain(), ("", "\nFINISHED WIP\n", STOP));
}

#[test]
fn the_filters_words_count_only_where_nothing_was_said() {
    let filter = |template: &str| {
        let fragments = if template.is_empty() {
            String::new()
        } else {
            format!(r#"{{"type":"TEMPLATE_RESPONSE","content":"{template}"}}"#)
        };
        lines(&[
            r#"{"v":{"response":{"fragments":[]}}}"#,
            &format!(
                r#"{{"p":"response","o":"BATCH","v":[{{"p":"status","v":"CONTENT_FILTER"}},{{"p":"fragments","v":[{fragments}]}}]}}"#
            ),
        ])
    };
    let filtered = Some(FinishReason::ContentFilter);
    assert_eq!(filter("Sorry.").plain(), ("", "Sorry.", filtered));
    assert_eq!(filter("").error, Some(Kind::Moderated));
}

#[test]
fn the_next_turn_is_no_part_of_the_answer() {
    let said = lines(&[
        r#"{"v":{"response":{"fragments":[{"type":"RESPONSE","content":"Yes.<"}]}}}"#,
        r#"{"p":"response/fragments/-1/content","o":"APPEND","v":"｜end▁of"}"#,
        r#"{"v":"▁sentence｜><｜User｜>And"}"#,
    ]);
    assert_eq!(said.plain(), ("", "Yes.", STOP));
}

#[test]
fn refusals_in_the_stream_are_errors() {
    let hint = |event: &str, reason: &str| {
        let body = format!(
            "event: {event}\ndata: {{\"type\":\"error\",\"content\":\"x\",\"finish_reason\":\"{reason}\"}}\n\n"
        );
        decode([body.as_bytes()]).error
    };
    for (reason, kind) in [
        ("rate_limit_reached", Kind::RateLimited),
        ("parallel_chat_limit_by_queue", Kind::RateLimited),
        ("expert_busy_use_default", Kind::Unavailable),
        ("input_exceeds_limit", Kind::ContextLength),
        ("context_length_exceeded", Kind::ContextLength),
        ("manual_abort", Kind::Unavailable),
        ("unsupported_client_by_model", Kind::Protocol),
        ("generation_err", Kind::Unavailable),
        ("something_new", Kind::Protocol),
    ] {
        assert_eq!(hint("hint", reason), Some(kind), "{reason}");
        assert_eq!(hint("toast", reason), Some(kind), "{reason}");
    }
    let broken = lines(&[
        r#"{"v":{"response":{"message_id":2,"fragments":[{"type":"RESPONSE","content":"a"}]}}}"#,
        r#"{"p":"response/status","v":"INCOMPLETE"}"#,
        r#"{"type":"error","content":"Server is temporarily unavailable.","finish_reason":"generation_err"}"#,
    ]);
    assert_eq!(broken.error, Some(Kind::Unavailable));
}

#[test]
fn an_empty_answer_is_an_error() {
    let said = lines(&[r#"{"v":{"response":{"fragments":[]}}}"#, FINISHED]);
    assert_eq!(said.error, Some(Kind::Unavailable));
}

/// Texts are not kept, so the decoder is as large after a long answer as after a short one.
#[test]
fn memory_does_not_grow_with_the_answer() {
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    let snapshot = "data: {\"v\":{\"response\":{\"fragments\":[{\"type\":\"RESPONSE\",\"content\":\"\"}]}}}\n\ndata: {\"p\":\"response/fragments/-1/content\",\"o\":\"APPEND\",\"v\":\"x\"}\n\n";
    decoder.feed(snapshot.as_bytes(), &mut events).unwrap();
    let piece = b"data: {\"v\":\"0123456789\"}\n\n".repeat(100);
    let sizes = [10, 1000].map(|times| {
        for _ in 0..times {
            decoder.feed(&piece, &mut events).unwrap();
            events.clear();
        }
        format!("{decoder:?}").len()
    });
    assert!(sizes[1] < sizes[0] + 100, "{sizes:?}");
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        decode([body.as_slice()]);
    }

    #[test]
    fn no_patches_panic(
        patches in proptest::collection::vec((
            "(response)?/?(fragments|status|content|results)?/?(-?[0-9]{1,20})?/?(content|results)?",
            "SET|APPEND|BATCH|NEW",
            r#""[a-z<｜]{0,5}"|[0-9]{1,3}|null|\{\}|\[\]|\[\{"p":"content","v":"x"\}\]|\[\{"type":"RESPONSE","content":"é"\}\]"#,
        ), 0..20),
        at in 0_usize..2000,
    ) {
        let body: String = patches.iter().map(|(p, o, v)| format!("data: {{\"p\":\"{p}\",\"o\":\"{o}\",\"v\":{v}}}\n\n")).collect();
        let (head, tail) = body.as_bytes().split_at(at.min(body.len()));
        proptest::prop_assert_eq!(decode([head, tail]), decode([body.as_bytes()]));
    }
}

/// Halves of characters and members that come twice, which the plain parser refuses.
#[test]
fn odd_json_costs_no_text() {
    let patch = |text: &str| format!("data: {{\"v\":\"{text}\"}}\n\n");
    let stream = [
        "\u{FEFF}data: {\"v\":{\"response\":{\"message_id\":2,\"status\":\"WIP\",\"content\":\"\"}}}\n\n",
        "data: {\"p\":\"response/content\",\"o\":\"APPEND\",\"v\":\"Hi \"}\n\n",
        &patch(r"a\ud83d"),
        "data:\n\n",
        &patch(r"\udc4b!"),
        "data: {\"v\":\"lost\",\"v\":\" twice\"}\n\n",
        &patch(r"\ud83d"),
        "data: {\"p\":\"response/status\",\"o\":\"SET\",\"v\":\"FINISHED\"}\n\n",
    ]
    .concat();
    for stream in [stream.clone(), stream.replace('\n', "\r")] {
        let (mut decoder, mut events) = (Decoder::new(), Vec::new());
        let fed = decoder.feed(stream.as_bytes(), &mut events);
        let fed = fed.and_then(|()| decoder.finish(&mut events));
        let said = Said::of(events, fed);
        assert_eq!(
            (said.text.as_str(), said.error),
            ("Hi a👋! twice\u{FFFD}", None),
            "{stream:?}"
        );
    }
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    // No JSON at all is a no-op, and seen; the answer is not complete for it.
    decoder.feed(b"data: {\"v\":\"x\n\n", &mut events).unwrap();
    assert_eq!(events, [ChatEvent::Unknown("event")]);
    assert!(decoder.finish(&mut events).is_err());
}

/// What the wire page names is no news, whatever becomes of it; what it does not name is told of once, and is no answer.
#[test]
fn tells_of_what_the_wire_page_does_not_know() {
    let unknown = |stream: &str| -> Vec<ChatEvent> {
        let is_unknown = |event: &ChatEvent| matches!(event, ChatEvent::Unknown(_));
        let said = decode([stream.as_bytes()]);
        said.rest.into_iter().filter(is_unknown).collect()
    };
    let answer = |new: &str| {
        let snapshot = r#"{"v":{"response":{"status":"WIP","fragments":[{"type":"RESPONSE","content":"x"}]}}}"#;
        format!("data: {snapshot}\n\n{new}{new}data: {FINISHED}\n\n")
    };
    for stream in ALL {
        assert_eq!(unknown(stream), [], "{stream}");
    }
    for known in [
        "event: title\ndata: {\"content\":\"FINISHED greetings\"}\n\n",
        "data: {\"p\":\"response/search_triggered\",\"o\":\"SET\",\"v\":true}\n\n",
        "data: {\"p\":\"response/fragments/-1/queries\",\"o\":\"SET\",\"v\":[]}\n\n",
        "data: {\"p\":\"response/fragments\",\"o\":\"APPEND\",\"v\":[{\"type\":\"TIP\",\"content\":\"t\"}]}\n\n",
        "data: {}\n\n",
    ] {
        assert_eq!(unknown(&answer(known)), [], "{known}");
    }
    for (new, place) in [
        ("event: dance\ndata: {}\n\n", "event"),
        (
            "data: {\"p\":\"response/dance\",\"o\":\"SET\",\"v\":1}\n\n",
            "path",
        ),
        (
            "data: {\"p\":\"response/fragments/-1/dance\",\"o\":\"SET\",\"v\":1}\n\n",
            "path",
        ),
        (
            "data: {\"p\":\"response/ban_edit\",\"o\":\"DANCE\",\"v\":1}\n\n",
            "op",
        ),
        (
            "data: {\"p\":\"response/status\",\"o\":\"SET\",\"v\":\"DANCING\"}\n\n",
            "status",
        ),
        (
            "data: {\"p\":\"response/fragments\",\"o\":\"APPEND\",\"v\":[{\"type\":\"DANCE\",\"content\":\"t\"}]}\n\n",
            "fragment",
        ),
        (
            "data: {\"choices\":[{\"delta\":{\"type\":\"dance\",\"content\":\"t\"}}]}\n\n",
            "delta",
        ),
    ] {
        assert_eq!(unknown(&answer(new)), [ChatEvent::Unknown(place)], "{new}");
    }
    let said = decode([format!("event: dance\ndata: {{}}\n\ndata: {FINISHED}\n\n").as_bytes()]);
    assert_eq!(said.error, Some(Kind::Unavailable));
}
