use serde_json::json;

use super::*;

fn stops() -> Vec<String> {
    vec!["STOP".to_owned(), "END".to_owned()]
}

fn stream(events: &[Value]) -> String {
    let event = |data: &Value| {
        format!(
            "event: {}\ndata: {data}\n\n",
            data["type"].as_str().unwrap()
        )
    };
    events.iter().map(event).collect()
}

fn sample() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 1}}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "想\n"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "a👋\n"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "https://e", "title": "T", "cited_text": "x"}}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"query\":1}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}}),
        json!({"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "{\"x\":"}}),
        json!({"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "content_block_start", "index": 4, "content_block": {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {"y": 2}}}),
        json!({"type": "content_block_stop", "index": 4}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}}),
        json!({"type": "message_stop"}),
    ]
}

fn call(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> ChatEvent {
    ChatEvent::ToolCall(ToolCallDelta {
        index,
        id: id.map(str::to_owned),
        name: name.map(str::to_owned),
        arguments: arguments.to_owned(),
    })
}

const USAGE: Usage = Usage {
    prompt_tokens: 6,
    completion_tokens: 9,
    reasoning_tokens: 4,
    cached_tokens: 2,
};

fn expected() -> Vec<ChatEvent> {
    vec![
        ChatEvent::Reasoning("想\n".into()),
        ChatEvent::Signature("c2ln".into()),
        ChatEvent::Text("a👋\n".into()),
        ChatEvent::Citation {
            index: 1,
            url: "https://e".into(),
            title: "T".into(),
        },
        ChatEvent::Cited { index: 1 },
        call(0, Some("toolu_1"), Some("f"), ""),
        call(0, None, None, "{\"x\":"),
        call(0, None, None, "1}"),
        call(1, Some("toolu_2"), Some("g"), ""),
        call(1, None, None, "{\"y\":2}"),
        ChatEvent::Usage(USAGE),
        ChatEvent::Finish(FinishReason::ToolCalls),
    ]
}

fn decode(stream: &str) -> Result<Vec<ChatEvent>, ProviderError> {
    let (mut decoder, mut events) = (Decoder::new("KEY", &stops()), Vec::new());
    decoder.feed(stream.as_bytes(), &mut events)?;
    decoder.finish(&mut events)?;
    Ok(events)
}

#[test]
fn a_message_becomes_events_however_it_is_torn() {
    let whole = stream(&sample());
    assert_eq!(decode(&whole).unwrap(), expected());
    assert_eq!(decode(&whole.replace('\n', "\r\n")).unwrap(), expected());
    for at in 0..=whole.len() {
        let (head, tail) = whole.as_bytes().split_at(at);
        let (mut decoder, mut events) = (Decoder::new("KEY", &stops()), Vec::new());
        for piece in [head, tail] {
            decoder.feed(piece, &mut events).unwrap();
        }
        decoder.finish(&mut events).unwrap();
        assert_eq!(events, expected(), "split at {at}");
    }
}

#[test]
fn every_beginning_of_a_stream_is_an_answer_or_an_error() {
    let whole = stream(&sample());
    let end = whole.find("event: message_delta").unwrap();
    for at in (0..whole.len()).filter(|&at| whole.is_char_boundary(at)) {
        let (beginning, _) = whole.split_at(at);
        let decoded = decode(beginning);
        if at <= end {
            assert!(decoded.is_err(), "cut at {at}");
        } else if let Ok(events) = decoded {
            assert_eq!(
                events.last(),
                Some(&ChatEvent::Finish(FinishReason::ToolCalls))
            );
        }
    }
}

#[test]
fn a_message_in_one_piece_says_the_same() {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "stop_reason": "stop_sequence", "stop_sequence": "END",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {"y": 2}},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    });
    let mut events = Vec::new();
    whole(message.to_string().as_bytes(), "KEY", &stops(), &mut events).unwrap();
    assert_eq!(
        events,
        [
            ChatEvent::Reasoning("hm".into()),
            ChatEvent::Signature("c2ln".into()),
            ChatEvent::Text("a".into()),
            call(0, Some("toolu_1"), Some("f"), ""),
            call(1, Some("toolu_2"), Some("g"), ""),
            call(1, None, None, "{\"y\":2}"),
            ChatEvent::Usage(Usage {
                prompt_tokens: 3,
                completion_tokens: 4,
                ..Usage::default()
            }),
            ChatEvent::Finish(FinishReason::StopText(1)),
        ]
    );
    for body in [
        "[]",
        "{}",
        "nothing",
        r#"{"content":[],"stop_reason":"end_turn"}"#,
    ] {
        assert!(
            whole(body.as_bytes(), "KEY", &[], &mut Vec::new()).is_err(),
            "{body}"
        );
    }
}

#[test]
fn ends_have_their_reasons() {
    for (reason, stop, expected) in [
        ("end_turn", None, FinishReason::Stop),
        ("pause_turn", None, FinishReason::Stop),
        ("stop_sequence", Some("STOP"), FinishReason::StopText(0)),
        ("stop_sequence", Some("another"), FinishReason::Stop),
        ("max_tokens", None, FinishReason::Length),
        ("model_context_window_exceeded", None, FinishReason::Length),
        ("refusal", None, FinishReason::ContentFilter),
    ] {
        let mut events = sample();
        events.truncate(10);
        events.push(json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": stop}, "usage": {"output_tokens": 1}}));
        let decoded = decode(&stream(&events)).unwrap();
        assert_eq!(
            decoded.last(),
            Some(&ChatEvent::Finish(expected)),
            "{reason}"
        );
    }
}

#[test]
fn errors_keep_their_kind() {
    for (kind, message, expected) in [
        ("overloaded_error", "Overloaded", Kind::Unavailable),
        ("api_error", "Internal server error", Kind::Unavailable),
        ("rate_limit_error", "slow down", Kind::RateLimited),
        (
            "invalid_request_error",
            "prompt is too long: 9 tokens > 8 maximum",
            Kind::ContextLength,
        ),
        (
            "invalid_request_error",
            "temperature: too high",
            Kind::BadRequest,
        ),
    ] {
        let error = json!({"type": "error", "error": {"type": kind, "message": message}});
        for begun in [0, 8] {
            let mut events = sample();
            events.truncate(begun);
            events.push(error.clone());
            assert_eq!(
                decode(&stream(&events)).unwrap_err().kind,
                expected,
                "{kind} {message}"
            );
        }
        let refused = whole(error.to_string().as_bytes(), "KEY", &[], &mut Vec::new());
        assert_eq!(refused.unwrap_err().kind, expected);
    }
    // Behind the end nothing can go wrong any more.
    let mut events = sample();
    events.pop();
    events.push(json!({"type": "error", "error": {"type": "api_error", "message": "x"}}));
    assert_eq!(decode(&stream(&events)).unwrap(), expected());
}
