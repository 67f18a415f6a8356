//! Whether a stream is legal, and what it says: read as a strict client of the dialect would, from the dialect's
//! description alone and without a line of the voices. Every complaint is a panic.

use serde_json::Value;

use crate::http::responses_checker as checker;

/// What an answer comes down to, in whichever dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) reasoning: String,
    /// Names and arguments, those as they are written.
    pub(super) calls: Vec<(String, String)>,
    /// In OpenAI's words.
    pub(super) finish: Option<String>,
    /// Tokens of the prompt and of the answer.
    pub(super) usage: Option<(u64, u64)>,
    /// It ended with an error instead.
    pub(super) has_failed: bool,
}

impl Said {
    fn add_call(&mut self, name: &str, arguments: &str) {
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        assert!(arguments.is_object(), "arguments are an object");
        self.calls.push((name.to_owned(), arguments.to_string()));
    }
}

fn count(usage: &Value, name: &str) -> u64 {
    let count = usage[name].as_u64();
    count.unwrap_or_else(|| panic!("{name} is a number in {usage}"))
}

fn str_of<'a>(value: &'a Value, name: &str) -> &'a str {
    let text = value[name].as_str();
    text.unwrap_or_else(|| panic!("{name} is a string in {value}"))
}

/// Name and data of each event.
fn events(stream: &str) -> Vec<(Option<&str>, &str)> {
    let Some(stream) = stream.strip_suffix("\n\n") else {
        panic!("the last event is not whole: {stream:?}")
    };
    stream.split("\n\n").map(event).collect()
}

fn event(event: &str) -> (Option<&str>, &str) {
    let (name, data) = match event.strip_prefix("event: ") {
        Some(rest) => {
            let (name, data) = rest.split_once('\n').unwrap();
            (Some(name), data)
        }
        None => (None, event),
    };
    let data = data.strip_prefix("data: ").unwrap_or(data);
    assert!(!data.contains('\n'), "one line of data: {data:?}");
    (name, data)
}

/// A stream of messages.
pub(super) fn messages(stream: &str) -> Said {
    let mut said = Said::default();
    // Type of the open block, its name, its text so far.
    let mut open: Option<(String, String, String)> = None;
    let (mut has_begun, mut is_over, mut blocks) = (false, false, 0);
    for (name, data) in events(stream) {
        assert!(!is_over, "nothing follows the end: {data}");
        let event: Value = serde_json::from_str(data).unwrap();
        let kind = str_of(&event, "type");
        assert_eq!(name, Some(kind), "an event is called as its type");
        assert_eq!(
            has_begun,
            kind != "message_start",
            "message_start comes first, once"
        );
        if kind.starts_with("content_block_") {
            assert_eq!(
                event["index"], blocks,
                "blocks are numbered without gaps: {data}"
            );
            assert!(said.finish.is_none(), "no block after message_delta");
        }
        match kind {
            "message_start" => {
                has_begun = true;
                let message = &event["message"];
                assert!(str_of(message, "id").starts_with("msg_"));
                assert_eq!(
                    (&message["type"], &message["role"]),
                    (&"message".into(), &"assistant".into())
                );
                assert!(
                    message["content"].as_array().unwrap().is_empty()
                        && message["stop_reason"].is_null()
                );
                assert!(count(&message["usage"], "input_tokens") > 0);
                count(&message["usage"], "output_tokens");
            }
            "content_block_start" => {
                assert!(open.is_none(), "blocks do not interleave");
                let block = &event["content_block"];
                let kind = str_of(block, "type").to_owned();
                let mut name = String::new();
                match &*kind {
                    "text" => assert_eq!(block["text"], ""),
                    "redacted_thinking" => assert_ne!(str_of(block, "data"), ""),
                    "thinking" => assert_eq!(
                        (&block["thinking"], &block["signature"]),
                        (&"".into(), &"".into())
                    ),
                    "tool_use" => {
                        str_of(block, "name").clone_into(&mut name);
                        assert_eq!(block["input"], serde_json::json!({}));
                        assert!(str_of(block, "id").starts_with("toolu_"));
                    }
                    other => panic!("{other} is no block"),
                }
                open = Some((kind, name, String::new()));
            }
            "content_block_delta" => {
                let (kind, _, text) = open.as_mut().unwrap();
                assert_ne!(kind, "redacted_thinking", "it comes whole");
                if event["delta"]["type"] == "signature_delta" {
                    assert_eq!(kind, "thinking", "thinking has a seal, and nothing else");
                    assert_ne!(str_of(&event["delta"], "signature"), "");
                    continue;
                }
                let (delta, member) = match &**kind {
                    "text" => ("text_delta", "text"),
                    "thinking" => ("thinking_delta", "thinking"),
                    _ => ("input_json_delta", "partial_json"),
                };
                assert_eq!(event["delta"]["type"], delta);
                let piece = str_of(&event["delta"], member);
                assert!(!piece.is_empty());
                text.push_str(piece);
            }
            "content_block_stop" => {
                let (kind, name, text) = open.take().unwrap();
                blocks += 1;
                match &*kind {
                    "text" => said.text.push_str(&text),
                    "thinking" => said.reasoning.push_str(&text),
                    "redacted_thinking" => {}
                    _ => said.add_call(&name, &text),
                }
            }
            "message_delta" => {
                assert!(open.is_none() && said.finish.is_none());
                said.finish = Some(openais_word(&event["delta"]));
                said.usage = Some((
                    count(&event["usage"], "input_tokens"),
                    count(&event["usage"], "output_tokens"),
                ));
            }
            "message_stop" => {
                assert!(
                    said.finish.is_some(),
                    "message_delta comes before message_stop"
                );
                is_over = true;
            }
            "ping" => {}
            "error" => {
                str_of(&event["error"], "type");
                str_of(&event["error"], "message");
                if let Some((kind, _, text)) = open.take() {
                    match &*kind {
                        "text" => said.text.push_str(&text),
                        "thinking" => said.reasoning.push_str(&text),
                        _ => {}
                    }
                }
                said.has_failed = true;
                is_over = true;
            }
            other => panic!("{other} is no event"),
        }
    }
    assert!(is_over, "the stream has an end");
    said
}

fn openais_word(message: &Value) -> String {
    let reason = str_of(message, "stop_reason");
    assert_eq!(
        message["stop_sequence"].is_string(),
        reason == "stop_sequence"
    );
    assert_eq!(message["stop_details"].is_object(), reason == "refusal");
    match reason {
        "end_turn" => "stop".to_owned(),
        "stop_sequence" => format!("stop at {}", str_of(message, "stop_sequence")),
        "max_tokens" => "length".to_owned(),
        "tool_use" => "tool_calls".to_owned(),
        "refusal" => "content_filter".to_owned(),
        other => panic!("{other} is no reason"),
    }
}

/// A message in one piece.
pub(super) fn message(body: &str) -> Said {
    let message: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&message["type"], &message["role"]),
        (&"message".into(), &"assistant".into())
    );
    let usage = &message["usage"];
    let mut said = Said {
        finish: Some(openais_word(&message)),
        usage: Some((count(usage, "input_tokens"), count(usage, "output_tokens"))),
        ..Said::default()
    };
    for block in message["content"].as_array().unwrap() {
        match str_of(block, "type") {
            "text" => {
                assert_ne!(block["text"], "");
                said.text.push_str(str_of(block, "text"));
            }
            "thinking" => said.reasoning.push_str(str_of(block, "thinking")),
            "redacted_thinking" => assert_ne!(str_of(block, "data"), ""),
            "tool_use" => said.add_call(str_of(block, "name"), &block["input"].to_string()),
            other => panic!("{other} is no block"),
        }
    }
    said
}

/// A stream of Responses, by the checker that the flows use as well.
pub(super) fn events_of_response(stream: &str) -> Said {
    let told = checker::read(stream).unwrap_or_else(|broken| panic!("{broken}"));
    response(&told.response.to_string())
}

/// A response in one piece, or as the last event of a stream tells it.
pub(super) fn response(body: &str) -> Said {
    let response: Value = serde_json::from_str(body).unwrap();
    assert_eq!(response["object"], "response");
    let mut said = Said {
        has_failed: response["status"] == "failed",
        ..Said::default()
    };
    for item in response["output"].as_array().unwrap() {
        match str_of(item, "type") {
            "message" => {
                for part in item["content"].as_array().unwrap() {
                    said.text.push_str(str_of(part, "text"));
                }
            }
            "reasoning" => {
                for part in item["summary"].as_array().unwrap() {
                    said.reasoning.push_str(str_of(part, "text"));
                }
            }
            // What an answer that failed has begun of a call may be no JSON.
            "function_call" if said.has_failed => {}
            "function_call" => said.add_call(str_of(item, "name"), str_of(item, "arguments")),
            other => panic!("{other} is no item of these answers"),
        }
    }
    if said.has_failed {
        str_of(&response["error"], "code");
        str_of(&response["error"], "message");
        return said;
    }
    let usage = &response["usage"];
    said.usage = Some((count(usage, "input_tokens"), count(usage, "output_tokens")));
    let cause = response["incomplete_details"]["reason"].as_str();
    said.finish = Some(
        match (str_of(&response, "status"), cause) {
            ("completed", None) if said.calls.is_empty() => "stop",
            ("completed", None) => "tool_calls",
            ("incomplete", Some("max_output_tokens")) => "length",
            ("incomplete", Some("content_filter")) => "content_filter",
            other => panic!("{other:?} is no end"),
        }
        .to_owned(),
    );
    said
}

/// A stream of chat completions, with one choice and usage asked for.
pub(super) fn chunks(stream: &str) -> Said {
    let mut said = Said::default();
    let mut id = None;
    // Name and arguments, in the order of their indexes.
    let mut calls: Vec<(String, String)> = Vec::new();
    let (mut has_role, mut is_over) = (false, false);
    for (name, data) in events(stream) {
        assert!(!is_over, "nothing follows the end: {data}");
        assert_eq!(name, None, "events have no name");
        if data == ": keep-alive" {
            continue;
        }
        if data == "[DONE]" {
            assert!(said.usage.is_some(), "usage comes before the end");
            is_over = true;
            continue;
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        if chunk.get("error").is_some() {
            str_of(&chunk["error"], "message");
            (said.has_failed, is_over) = (true, true);
            continue;
        }
        assert_eq!(chunk["object"], "chat.completion.chunk");
        let known = id.get_or_insert_with(|| chunk["id"].clone());
        assert_eq!(known, &chunk["id"], "one id a stream");
        let choices = chunk["choices"].as_array().unwrap();
        let Some(choice) = choices.first() else {
            let usage = &chunk["usage"];
            assert!(said.finish.is_some() && said.usage.is_none());
            said.usage = Some((
                count(usage, "prompt_tokens"),
                count(usage, "completion_tokens"),
            ));
            continue;
        };
        assert!(chunk["usage"].is_null());
        assert!(
            said.finish.is_none(),
            "nothing follows the finish reason: {data}"
        );
        let delta = &choice["delta"];
        assert_eq!(
            delta.get("role").is_some(),
            !has_role,
            "the role is told once, first"
        );
        has_role = true;
        said.text
            .push_str(delta["content"].as_str().unwrap_or_default());
        said.reasoning
            .push_str(delta["reasoning_content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            let function = &call["function"];
            if call.get("id").is_some() {
                assert_eq!((index, &call["type"]), (calls.len(), &"function".into()));
                calls.push((str_of(function, "name").to_owned(), String::new()));
            } else {
                assert!(function.get("name").is_none());
            }
            assert_eq!(index + 1, calls.len(), "calls do not interleave");
            calls[index].1.push_str(str_of(function, "arguments"));
        }
        said.finish = choice["finish_reason"].as_str().map(str::to_owned);
    }
    assert!(is_over, "the stream has an end");
    if !said.has_failed {
        for (name, arguments) in &calls {
            // Without arguments a stream says nothing of them.
            said.add_call(
                name,
                if arguments.is_empty() {
                    "{}"
                } else {
                    arguments
                },
            );
        }
    }
    said
}

/// A chat completion in one piece.
pub(super) fn completion(body: &str) -> Said {
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["object"], "chat.completion");
    let (choice, usage) = (&body["choices"][0], &body["usage"]);
    let message = &choice["message"];
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    let mut said = Said {
        text: text("content"),
        reasoning: text("reasoning_content"),
        finish: choice["finish_reason"].as_str().map(str::to_owned),
        usage: Some((
            count(usage, "prompt_tokens"),
            count(usage, "completion_tokens"),
        )),
        ..Said::default()
    };
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let function = &call["function"];
        said.add_call(str_of(function, "name"), str_of(function, "arguments"));
    }
    said
}
