use serde_json::json;

use super::*;
use crate::{chat::Usage, providers::testing::decodes_however_it_is_torn};

fn event(data: &Value) -> String {
    format!(
        "event: {}\ndata: {data}\n\n",
        data["type"].as_str().unwrap()
    )
}

fn stream(events: &[Value]) -> String {
    events.iter().map(event).collect()
}

fn sample() -> Vec<Value> {
    vec![
        json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}),
        json!({"type": "keepalive", "sequence_number": 1}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1", "summary": []}}),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "想"}),
        json!({"type": "response.reasoning_summary_part.added", "output_index": 0, "summary_index": 1, "part": {"type": "summary_text", "text": ""}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 1, "delta": "b"}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "想"}, {"type": "summary_text", "text": "b"}]}}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "id": "msg_1", "content": []}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "a👋\n", "logprobs": []}),
        json!({"type": "response.output_text.annotation.added", "output_index": 1, "annotation_index": 0, "annotation": {"type": "url_citation", "url": "https://e", "title": "T", "start_index": 0, "end_index": 1}}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "a👋\n"}]}}),
        json!({"type": "response.output_item.added", "output_index": 2, "item": {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "g", "namespace": "ns", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{\"a\":"}),
        json!({"type": "response.function_call_arguments.done", "output_index": 2, "arguments": "{\"a\":1}"}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "g", "namespace": "ns", "arguments": "{\"a\":1}"}}),
        json!({"type": "response.output_item.added", "output_index": 3, "item": {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "patch", "input": ""}}),
        json!({"type": "response.custom_tool_call_input.delta", "output_index": 3, "delta": "x"}),
        json!({"type": "response.output_item.done", "output_index": 3, "item": {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "patch", "input": "x"}}),
        json!({"type": "response.output_item.done", "output_index": 4, "item": {"type": "local_shell_call", "id": "lsh_1", "call_id": "call_3", "action": {"type": "exec", "command": ["ls"], "env": {}}}}),
        json!({"type": "response.output_item.done", "output_index": 5, "item": {"type": "web_search_call", "id": "ws_1", "status": "completed"}}),
        json!({"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [], "usage": {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 7}}}),
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

fn decode(stream: &str) -> Result<Vec<ChatEvent>, ProviderError> {
    let (mut decoder, mut events) = (Decoder::new("KEY"), Vec::new());
    decoder.feed(stream.as_bytes(), &mut events)?;
    decoder.finish(&mut events)?;
    Ok(events)
}

#[test]
fn every_event_has_its_meaning() {
    assert_eq!(
        decode(&stream(&sample())).unwrap(),
        [
            ChatEvent::Reasoning("想".into()),
            ChatEvent::Reasoning("\n\n".into()),
            ChatEvent::Reasoning("b".into()),
            ChatEvent::Text("a👋\n".into()),
            ChatEvent::Citation {
                index: 1,
                url: "https://e".into(),
                title: "T".into()
            },
            call(0, Some("call_1"), Some("ns__g"), ""),
            call(0, None, None, "{\"a\":"),
            call(0, None, None, "1}"),
            call(1, Some("call_2"), Some("patch"), ""),
            call(1, None, None, "x"),
            call(2, Some("call_3"), Some("shell"), ""),
            call(2, None, None, "{\"command\":[\"ls\"]}"),
            ChatEvent::Usage(Usage {
                prompt_tokens: 3,
                completion_tokens: 4,
                reasoning_tokens: 2,
                cached_tokens: 1
            }),
            ChatEvent::Finish(FinishReason::Stop),
        ]
    );
}

#[test]
fn a_stream_may_be_torn_anywhere() {
    let sample = stream(&sample());
    let decode = |pieces: &[&[u8]]| {
        let (mut decoder, mut events) = (Decoder::new("KEY"), Vec::new());
        let fed = pieces
            .iter()
            .try_for_each(|piece| decoder.feed(piece, &mut events));
        let ended = fed.and_then(|()| decoder.finish(&mut events));
        (events, ended.map_err(|error| error.kind))
    };
    // What is cut off is an error, or was only a blank line.
    decodes_however_it_is_torn(sample.as_bytes(), decode, |(events, ended)| {
        ended.is_err() || matches!(events.last(), Some(ChatEvent::Finish(_)))
    });
}

#[test]
fn what_the_deltas_leave_out_the_last_event_says() {
    let last = json!({"type": "response.completed", "response": {"status": "completed", "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]}});
    let expected = [
        ChatEvent::Text("a".into()),
        call(0, Some("c"), Some("f"), ""),
        call(0, None, None, "{}"),
        ChatEvent::Finish(FinishReason::Stop),
    ];
    assert_eq!(decode(&event(&last)).unwrap(), expected);
    let mut events = Vec::new();
    whole(last["response"].to_string().as_bytes(), "KEY", &mut events).unwrap();
    assert_eq!(events, expected);
}

#[test]
fn every_end_has_its_meaning() {
    let text =
        event(&json!({"type": "response.output_text.delta", "output_index": 0, "delta": "a"}));
    let end = |response: Value| {
        let last = event(&json!({"type": "response.x", "response": response}));
        decode(&(text.clone() + &last.replace("response.x", "response.completed")))
    };
    let finish = |events: Result<Vec<ChatEvent>, ProviderError>| events.unwrap().pop();
    let incomplete =
        |reason: &str| json!({"status": "incomplete", "incomplete_details": {"reason": reason}});
    assert_eq!(
        finish(end(incomplete("max_output_tokens"))),
        Some(ChatEvent::Finish(FinishReason::Length))
    );
    assert_eq!(
        finish(end(incomplete("content_filter"))),
        Some(ChatEvent::Finish(FinishReason::ContentFilter))
    );
    let failed = |code: &str| {
        end(json!({"status": "failed", "error": {"code": code, "message": "no"}}))
            .unwrap_err()
            .kind
    };
    assert_eq!(failed("rate_limit_exceeded"), Kind::RateLimited);
    assert_eq!(failed("insufficient_quota"), Kind::QuotaSpent);
    assert_eq!(failed("context_length_exceeded"), Kind::ContextLength);
    assert_eq!(failed("server_error"), Kind::Unavailable);
    let error =
        event(&json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"}));
    assert_eq!(decode(&error).unwrap_err().kind, Kind::RateLimited);
    assert_eq!(decode(&text).unwrap_err().kind, Kind::Unavailable);
    assert_eq!(decode("").unwrap_err().kind, Kind::Unavailable);
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), at in 0..20usize) {
        let mut stream = stream(&sample()[..at]).into_bytes();
        stream.extend(bytes);
        let (mut decoder, mut events) = (Decoder::new("KEY"), Vec::new());
        let _ = decoder.feed(&stream, &mut events);
        let _ = decoder.finish(&mut events);
    }
}
