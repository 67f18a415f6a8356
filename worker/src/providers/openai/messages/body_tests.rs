use super::*;
use crate::http::{anthropic, openai};

fn chat(members: Value) -> Value {
    let mut asked = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in members.as_object().unwrap() {
        asked[name] = value.clone();
    }
    let request = openai::body::read(asked.to_string().into()).unwrap();
    let body = body(&request, "up").concat();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_callers_own_body_goes_on_as_it_came() {
    let own =
        r#"{"max_tokens": 9, "model":"m","x" : [1.0],"messages":[{"role":"user","content":"hi"}]}"#;
    let asks = anthropic::body::read_within(own.into(), 100).unwrap();
    let body = body(&asks.request, "up").concat();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"max_tokens": 9, "model":"up","x" : [1.0],"messages":[{"role":"user","content":"hi"}],"stream":false}"#
    );
}

#[test]
fn a_conversation_of_another_dialect_is_put_into_turns() {
    let sent = chat(json!({"messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"role": "assistant", "content": "  ", "tool_calls": [
            {"id": "a.1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "no object"}}]},
        {"role": "tool", "tool_call_id": "a.1", "content": "one"},
        {"role": "user", "content": "and"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "system", "content": "later"},
    ]}));
    assert_eq!(
        sent["system"],
        json!([{"type": "text", "text": "be brief"}])
    );
    assert_eq!(sent["max_tokens"], USUAL_MAX_TOKENS);
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "a_1", "name": "f", "input": {"x": 1}}, {"type": "tool_use", "id": "b", "name": "g", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a_1", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "b", "content": []},
                {"type": "text", "text": "and"}, {"type": "text", "text": "later"}]},
        ])
    );
}

#[test]
fn tools_and_choices_have_this_dialects_form() {
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object"}}});
    let tools = json!([tool("f"), tool("g"), {"type": "custom", "custom": {"name": "h"}}]);
    for (choice, expected) in [
        (json!("auto"), Value::Null),
        (json!("none"), json!({"type": "none"})),
        (json!("required"), json!({"type": "any"})),
        (
            json!({"type": "function", "function": {"name": "g"}}),
            json!({"type": "tool", "name": "g"}),
        ),
    ] {
        let sent = chat(json!({"tools": tools, "tool_choice": choice}));
        assert_eq!(sent["tool_choice"], expected, "{choice}");
        assert_eq!(
            sent["tools"][0],
            json!({"name": "f", "description": "d", "input_schema": {"type": "object"}})
        );
        assert_eq!(
            sent["tools"][2]["input_schema"]["required"],
            json!(["input"])
        );
    }
    let sent = chat(json!({"tools": tools, "parallel_tool_calls": false}));
    assert_eq!(
        sent["tool_choice"],
        json!({"type": "auto", "disable_parallel_tool_use": true})
    );
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}});
    let sent = chat(json!({"tools": tools, "tool_choice": allowed}));
    assert_eq!(
        (
            sent["tools"].as_array().unwrap().len(),
            &sent["tool_choice"]
        ),
        (1, &json!({"type": "any"}))
    );
}

#[test]
fn thinking_is_asked_for_where_it_can_be_had() {
    let think = |more: Value| {
        let mut members = json!({"reasoning_effort": "high", "temperature": 0.3});
        members
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        chat(members)
    };
    let sent = think(json!({"max_tokens": 10_000}));
    assert_eq!(
        sent["thinking"],
        json!({"type": "enabled", "budget_tokens": 5000})
    );
    assert!(sent.get("temperature").is_none());
    for more in [
        json!({"max_tokens": 1000}),
        json!({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}),
        json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c", "content": "x"}]}),
    ] {
        let sent = think(more.clone());
        assert!(sent.get("thinking").is_none(), "{more}");
        assert_eq!(sent["temperature"], 0.3);
    }
    assert_eq!(
        chat(json!({"reasoning_effort": "none", "temperature": 2}))["thinking"],
        json!({"type": "disabled"})
    );
    assert_eq!(chat(json!({"temperature": 2}))["temperature"], 1.0);
}

#[test]
fn formats_and_ends_are_passed_on() {
    let form =
        json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}});
    let sent = chat(json!({"response_format": form, "stop": ["a", "\n"], "user": "u"}));
    assert_eq!(
        sent["output_config"],
        json!({"format": {"type": "json_schema", "schema": {"type": "object"}}})
    );
    assert_eq!(
        (&sent["stop_sequences"], &sent["metadata"]),
        (&json!(["a"]), &json!({"user_id": "u"}))
    );
    let sent = chat(json!({"response_format": {"type": "json_object"}}));
    assert!(
        sent["system"][0]["text"]
            .as_str()
            .unwrap()
            .contains("JSON object")
    );
}
