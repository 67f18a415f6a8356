use super::*;
use crate::chat::{ToolCallDelta, Usage};
use crate::providers::testing::decodes_however_it_is_torn;

const SAMPLE: &str = concat!(
    ": comment\n\n",
    "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"想\"}}]}\r\n\r\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a👋\",\"refusal\":null},\"logprobs\":{\"content\":[]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n",
    "data: [DONE]\n\n",
);

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<ChatEvent>, Option<Kind>) {
    let (mut decoder, mut events) = (Decoder::new("K"), Vec::new());
    let fed = pieces
        .into_iter()
        .try_for_each(|piece| decoder.feed(piece, &mut events));
    let error = fed
        .and_then(|()| decoder.finish(&mut events))
        .err()
        .map(|error| error.kind);
    (events, error)
}

#[test]
fn passes_on_everything_that_a_chunk_may_hold() {
    let (events, error) = decode([SAMPLE.as_bytes()]);
    let call = |id: Option<&str>, arguments: &str| {
        ChatEvent::ToolCall(ToolCallDelta {
            index: 0,
            id: id.map(str::to_owned),
            name: id.map(|_| "f".to_owned()),
            arguments: arguments.to_owned(),
        })
    };
    let expected = [
        ChatEvent::Reasoning("想".into()),
        ChatEvent::Text("a👋".into()),
        ChatEvent::Logprobs(serde_json::json!({"content": []})),
        call(Some("c"), ""),
        call(None, "{}"),
        ChatEvent::Finish(FinishReason::ToolCalls),
        ChatEvent::Usage(Usage {
            prompt_tokens: 3,
            completion_tokens: 4,
            reasoning_tokens: 0,
            cached_tokens: 0,
        }),
    ];
    assert_eq!((events.as_slice(), error), (expected.as_slice(), None));
}

#[test]
fn it_may_be_torn_anywhere() {
    decodes_however_it_is_torn(
        SAMPLE.as_bytes(),
        |pieces| decode(pieces.iter().copied()),
        |(events, error)| {
            let is_answer = events
                .iter()
                .any(|event| matches!(event, ChatEvent::Finish(_)));
            is_answer || error.is_some()
        },
    );
}

#[test]
fn a_piece_like_the_one_before_is_not_parsed() {
    let (mut decoder, mut events) = (Decoder::new("K"), Vec::new());
    let piece =
        |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
    let first = format!("data: {}\n\n", piece("a"));
    decoder.feed(first.as_bytes(), &mut events).unwrap();
    let next = piece("b");
    let new = decoder.answer.alike.recognise(next.as_bytes());
    assert_eq!(new.map(|new| new.text.into_owned()).as_deref(), Some("b"));
}

#[test]
fn errors_in_the_stream_are_errors() {
    for (error, kind) in [
        (
            r#"{"message":"slow","type":"rate_limit_error","code":"rate_limit_exceeded"}"#,
            Kind::RateLimited,
        ),
        (r#"{"message":"x","code":401}"#, Kind::AuthExpired),
        (
            r#"{"message":"x","type":"server_error","code":null}"#,
            Kind::Unavailable,
        ),
        (r#""just text""#, Kind::Unavailable),
    ] {
        assert_eq!(
            decode([format!("data: {{\"error\":{error}}}\n\n").as_bytes()]).1,
            Some(kind),
            "{error}"
        );
    }
}

proptest::proptest! {
    /// Skipping what is known gives the very events of the parser that reads everything.
    #[test]
    fn skipping_changes_nothing(
        pieces in proptest::collection::vec((0_u8..6, "[ab\n\"\\\\你👋]{0,3}"), 1..12),
    ) {
        let mut frames: Vec<String> = pieces
            .iter()
            .map(|(kind, text)| {
                let delta = match kind {
                    0 => serde_json::json!({"role": "assistant", "content": text}),
                    1 => serde_json::json!({"reasoning_content": text}),
                    2 => serde_json::json!({"content": text, "refusal": "no"}),
                    3 => serde_json::json!({"content": text, "refusal": null}),
                    _ => serde_json::json!({"content": text}),
                };
                format!("data: {}\n\n", serde_json::json!({"choices": [{"index": 0, "delta": delta}]}))
            })
            .collect();
        frames.push("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned());
        let run = |skips: bool| {
            let (mut decoder, mut events) = (Decoder::new("K"), Vec::new());
            for frame in &frames {
                if !skips {
                    decoder.answer.alike.forget();
                }
                decoder.feed(frame.as_bytes(), &mut events).unwrap();
            }
            decoder.finish(&mut events).unwrap();
            events
        };
        proptest::prop_assert_eq!(run(true), run(false));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        decode([bytes.as_slice()]);
    }
}

/// What servers are known to say is no news; anything else is told of once.
#[test]
fn tells_of_what_nobody_knows() {
    let unknown = |stream: &str| -> Vec<ChatEvent> {
        let is_unknown = |event: &ChatEvent| matches!(event, ChatEvent::Unknown(_));
        let (events, error) = decode([stream.as_bytes()]);
        assert_eq!(error, None, "{stream}");
        events.into_iter().filter(is_unknown).collect()
    };
    assert_eq!(unknown(SAMPLE), []);
    let answer = |event: &str, reason: &str| {
        let text = r#"{"choices":[{"delta":{"content":"x"}}]}"#;
        let end = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
        format!("data: {event}\n\ndata: {event}\n\ndata: {text}\n\ndata: {end}\n\ndata: [DONE]\n\n")
    };
    for event in [
        r#"{"choices":[],"prompt_filter_results":[]}"#,
        r#"{"type":"ping"}"#,
        "{}",
        "null",
    ] {
        assert_eq!(unknown(&answer(event, "end_turn")), [], "{event}");
    }
    let new = answer(r#"{"dance":true}"#, "STOP");
    assert_eq!(unknown(&new), [ChatEvent::Unknown("event")]);
    let new = answer("null", "danced");
    assert_eq!(unknown(&new), [ChatEvent::Unknown("finish_reason")]);
}
