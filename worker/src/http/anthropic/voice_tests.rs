use super::*;
use crate::chat::{Kind as Fault, Message, ProviderError, Role};

fn voice(stops: &[&str]) -> MessagesVoice {
    let mut request = ChatRequest::new("m\"", vec![Message::new(Role::User, "hi")]);
    request.stop = stops.iter().map(|&stop| stop.to_owned()).collect();
    MessagesVoice::new(Arc::new(request), "r1".into())
}

const USAGE: Usage = Usage {
    prompt_tokens: 9,
    completion_tokens: 4,
    reasoning_tokens: 1,
    cached_tokens: 2,
};

fn call(index: u32, name: Option<&str>, arguments: &str) -> Piece {
    Piece::ToolCall(ToolCallDelta {
        index,
        id: name.map(|_| format!("call_{index}")),
        name: name.map(str::to_owned),
        arguments: arguments.into(),
    })
}

/// The data of each event, whose name is its type.
fn stream(mut voice: MessagesVoice, pieces: Vec<Piece>) -> Vec<Value> {
    let mut out = BytesMut::new();
    voice.begin(&mut out);
    for piece in pieces {
        voice.piece(&mut out, 0, piece);
    }
    voice.finish(&mut out, USAGE);
    let out = String::from_utf8(out.to_vec()).unwrap();
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        data
    };
    out.strip_suffix("\n\n")
        .unwrap()
        .split("\n\n")
        .map(event)
        .collect()
}

#[test]
fn a_stream_is_as_the_dialect_has_it() {
    let pieces = vec![
        Piece::Reasoning("hm".into()),
        Piece::Text(String::new()),
        Piece::Reasoning("\n".into()),
        Piece::Text("a".into()),
        Piece::Sources(Vec::new()),
        call(0, Some("f"), ""),
        call(0, None, "{\"x\":"),
        call(0, None, "1}"),
        call(1, Some("g"), ""),
        Piece::Text("b".into()),
        Piece::Finish(FinishReason::ToolCalls),
    ];
    let mut events = stream(voice(&[]), pieces);
    let message = events[0]["message"].as_object_mut().unwrap();
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    message.remove("id");
    let tokens = message["usage"]["input_tokens"].as_u64().unwrap();
    assert!(tokens > 0);
    let start = |index: u32, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let usage = json!({"input_tokens": 7, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2, "output_tokens": 4, "output_tokens_details": {"thinking_tokens": 1}});
    let expected = [
        json!({"type": "message_start", "message": {
            "type": "message", "role": "assistant", "model": "m\"", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}}}),
        start(
            0,
            json!({"type": "thinking", "thinking": "", "signature": ""}),
        ),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "\n"})),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "a"})),
        stop(1),
        start(
            2,
            json!({"type": "tool_use", "id": "toolu_0", "name": "f", "input": {}}),
        ),
        delta(
            2,
            json!({"type": "input_json_delta", "partial_json": "{\"x\":"}),
        ),
        delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
        stop(2),
        start(
            3,
            json!({"type": "tool_use", "id": "toolu_1", "name": "g", "input": {}}),
        ),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{}"})),
        stop(3),
        start(4, json!({"type": "text", "text": ""})),
        delta(4, json!({"type": "text_delta", "text": "b"})),
        stop(4),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(events, expected);
}

#[test]
fn an_end_says_why() {
    let refusal = json!({"type": "refusal", "category": null, "explanation": null});
    for (reason, expected) in [
        (
            FinishReason::Stop,
            json!({"stop_reason": "end_turn", "stop_sequence": null}),
        ),
        (
            FinishReason::StopText(1),
            json!({"stop_reason": "stop_sequence", "stop_sequence": "END"}),
        ),
        (
            FinishReason::Length,
            json!({"stop_reason": "max_tokens", "stop_sequence": null}),
        ),
        (
            FinishReason::ContentFilter,
            json!({"stop_reason": "refusal", "stop_sequence": null, "stop_details": refusal}),
        ),
    ] {
        let pieces = vec![Piece::Text("a".into()), Piece::Finish(reason)];
        let events = stream(voice(&["STOP", "END"]), pieces);
        assert_eq!(events[events.len() - 2]["delta"], expected);
    }
    // An upstream that refuses in a member of its own.
    let members = json!({"refusal": "I can't."}).as_object().unwrap().clone();
    let events = stream(
        voice(&[]),
        vec![Piece::Extra(members), Piece::Finish(FinishReason::Stop)],
    );
    assert_eq!(events[2]["delta"]["text"], "I can't.");
    assert_eq!(events[4]["delta"]["stop_details"], refusal);
}

#[test]
fn an_error_is_the_last_that_is_said() {
    let (mut voice, mut out) = (voice(&[]), BytesMut::new());
    voice.begin(&mut out);
    voice.ping(&mut out);
    voice.piece(&mut out, 0, Piece::Text("a".into()));
    out.clear();
    voice.fail(
        &mut out,
        &ProviderError::new(Fault::Unavailable, "it broke").into(),
    );
    let said = String::from_utf8(out.to_vec()).unwrap();
    let data = said
        .strip_prefix("event: error\ndata: ")
        .unwrap()
        .trim_end();
    let error: Value = serde_json::from_str(data).unwrap();
    assert_eq!(error["request_id"], "r1");
    assert_eq!(error["error"]["type"], "overloaded_error");
}

#[test]
#[should_panic(expected = "a piece outside of the stream")]
fn nothing_is_said_before_the_beginning() {
    voice(&[]).piece(&mut BytesMut::new(), 0, Piece::Text("a".into()));
}

#[test]
#[should_panic(expected = "a ping outside of the stream")]
fn nothing_is_said_after_the_end() {
    let (mut voice, mut out) = (voice(&[]), BytesMut::new());
    voice.begin(&mut out);
    voice.finish(&mut out, USAGE);
    voice.ping(&mut out);
}

#[test]
#[should_panic(expected = "a stream begins once")]
fn a_stream_does_not_begin_twice() {
    let (mut voice, mut out) = (voice(&[]), BytesMut::new());
    voice.begin(&mut out);
    voice.begin(&mut out);
}
