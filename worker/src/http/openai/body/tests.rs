//! The body as clients write it, and as they should not.

use super::*;
use crate::chat::{Effort, Field, Format, Json, ToolChoice};

fn parse(body: &str) -> Result<ChatRequest, Invalid> {
    read(Bytes::copy_from_slice(body.as_bytes()))
}

fn param(body: &str) -> String {
    parse(body).unwrap_err().param.unwrap_or_default()
}

#[test]
fn names_the_field_of_a_wrong_type() {
    assert_eq!(param(r#"{"model":5,"messages":[]}"#), "model");
    assert_eq!(param(r#"{"model":"m","messages":"hi"}"#), "messages");
    assert_eq!(
        param(r#"{"model":"m","messages":[{"role":"user","content":5}]}"#),
        "messages[0].content"
    );
    assert_eq!(
        param(r#"{"model":"m","messages":[{"role":"robot","content":""}]}"#),
        "messages[0].role"
    );
    assert_eq!(
        param(r#"{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":"hot"}"#),
        "temperature"
    );
    assert_eq!(
        param(r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stop":5}"#),
        "stop"
    );
    assert_eq!(
        param(r#"{"model":"m","messages":[{"role":"user","content":"x"}],"n":0}"#),
        "n"
    );
    assert_eq!(
        param(r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":"yes"}"#),
        "stream"
    );
    assert_eq!(
        param(r#"{"messages":[{"role":"user","content":"x"}]}"#),
        "model"
    );
    assert_eq!(param(r#"{"model":"m"}"#), "messages");
    let array = parse(r#"["m",[{"role":"user","content":"x"}]]"#).unwrap_err();
    assert!(array.message.contains("JSON object"), "{array:?}");
}

#[test]
fn says_that_a_body_in_another_charset_is_none() {
    // "你好" as a Chinese Windows console sends it.
    let body =
        b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xc4\xe3\xba\xc3\"}]}";
    let refused = read(Bytes::from_static(body)).unwrap_err();
    assert!(refused.message.contains("not UTF-8"), "{refused:?}");
}

#[test]
fn unknown_fields_and_nulls_never_hurt() {
    let body = r#"{"model":"m","messages":[{"role":"assistant","content":null,"x":1}],"stop":null,"temperature":null,"zzz":{"a":[1]}}"#;
    let request = parse(body).unwrap();
    assert!(request.asked.is_empty() && !request.stream);
}

#[test]
fn spelled_out_defaults_ask_for_nothing() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[],"tool_choice":"auto","response_format":{"type":"text"},"modalities":["text"],"stop":""}"#;
    let request = parse(body).unwrap();
    assert_eq!(request.asked.len(), 1);
    assert_eq!(request.asked[0].name, "stop");
    assert!(request.stop.is_empty());
}

#[test]
fn thinking_has_three_spellings() {
    for (field, expected) in [
        (r#""reasoning_effort":"high""#, Some(true)),
        (r#""reasoning_effort":"none""#, Some(false)),
        (r#""enable_thinking":true"#, Some(true)),
        (r#""thinking":{"type":"disabled"}"#, Some(false)),
        (r#""seed":1"#, None),
    ] {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{field}}}"#);
        assert_eq!(parse(&body).unwrap().thinking, expected, "{field}");
    }
}

#[test]
fn a_budget_of_thinking_has_two_spellings() {
    for (field, expected) in [
        (r#""thinking_budget":4096"#, Some(4096)),
        (
            r#""thinking":{"type":"enabled","budget_tokens":2048}"#,
            Some(2048),
        ),
        (
            r#""thinking":{"type":"enabled","budget_tokens":null}"#,
            None,
        ),
        (r#""enable_thinking":true,"thinking_budget":-1"#, None),
        (r#""thinking":true"#, None),
    ] {
        let body =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{field}}}"#);
        assert_eq!(parse(&body).unwrap().thinking_budget, expected, "{field}");
    }
}

#[test]
fn of_members_that_stand_twice_the_last_one_counts() {
    let request = parse(
            r#"{"model":"x","stream":false,"messages":[{"role":"user","content":"a","content":"b"}],"str\u0065am":true,"model":"m","max_tokens":0,"max_tokens":7,"messages":[{"role":"system","role":"user","content":[{"type":"video","type":"text","text":"hi"}]}]}"#,
        )
        .unwrap();
    assert_eq!(
        (request.model.as_str(), request.stream, request.max_tokens),
        ("m", true, Some(7))
    );
    assert_eq!(request.messages[0].text(), "hi");
    // Nothing is put right that has another mistake.
    assert_eq!(
        param(r#"{"model":"m","n":1,"n":0,"messages":[{"role":"user"}]}"#),
        "n"
    );
}

#[test]
fn half_of_an_emoji_becomes_a_replacement_character() {
    let request = parse(
            r#"{"model":"m","messages":[{"role":"user","content":"cut \ud83d","x":"\uDE00"},{"role":"user","content":"\ud83d\ude00"}]}"#,
        )
        .unwrap();
    assert_eq!(request.messages[0].text(), "cut \u{FFFD}");
    assert_eq!(request.messages[1].text(), "😀");
}

#[test]
fn long_names_and_values_are_not_repeated() {
    let long = "a".repeat(100_000);
    assert_eq!(
        param(&format!(
            r#"{{"model":"{}","messages":[{{"role":"user"}}]}}"#,
            "a".repeat(257)
        )),
        "model"
    );
    for body in [
        format!(r#"{{"model":"m","messages":[{{"role":"{long}"}}]}}"#),
        format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"stream":"{long}"}}"#),
        format!(
            r#"{{"model":"m","messages":[{{"role":"user"}}],"temperature":"{}"}}"#,
            "你".repeat(50_000)
        ),
        format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"stop":["{long}"]}}"#),
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"{long}","text":"x"}}]}}]}}"#
        ),
    ] {
        let told = match parse(&body) {
            Err(refused) => refused,
            Ok(request) => request.odd_part.unwrap(),
        };
        assert!(told.message.len() < 500, "{}", told.message.len());
        assert!(told.param.is_some_and(|param| param.len() < 200));
    }
}

#[test]
fn a_conversation_has_a_limited_number_of_pieces() {
    let within = |body: &str, most| read_within(Bytes::copy_from_slice(body.as_bytes()), most);
    for body in [
        r#"{"model":"m","messages":[{"role":"user"},{"role":"user"},{"role":"user"}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":["a","b"]}]}"#,
        r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{},{}]}]}"#,
    ] {
        assert!(within(body, 3).is_ok(), "{body}");
        let refused = within(body, 2).unwrap_err();
        assert!(
            refused.message.contains("at most 2 messages"),
            "{refused:?}"
        );
        assert!(
            refused
                .param
                .is_some_and(|param| param.starts_with("messages"))
        );
    }
}

#[test]
fn depth_is_bounded_where_it_is_read_and_free_where_it_is_not() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for member in ["tool_choice", "zzz", "function_call"] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"{member}":{deep}}}"#);
        assert!(parse(&body).is_ok(), "{member}");
    }
    for content in [&deep, &format!(r#"[{{"type":"x","text":{deep}}}]"#)] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#);
        let _ = parse(&body);
    }
}

#[test]
fn parts_of_others_are_told_of_only_in_the_question() {
    let odd = |messages: &str| {
        parse(&format!(r#"{{"model":"m","messages":[{messages}]}}"#))
            .unwrap()
            .odd_part
    };
    let video = r#"{"role":"user","content":[{"type":"video_url","video_url":{"url":"u"}}]}"#;
    let said = r#"{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"}]}"#;
    let refused = odd(video).unwrap();
    assert_eq!(refused.param.as_deref(), Some("messages[0].content"));
    assert!(refused.message.contains("'video_url'"), "{refused:?}");
    assert_eq!(
        odd(&format!(
            r#"{video},{said},{{"role":"user","content":"q"}}"#
        )),
        None
    );
    assert!(
        odd(&format!(
            r#"{said},{video},{{"role":"user","content":"q"}}"#
        ))
        .is_some()
    );
    assert_eq!(odd(said), None);
}

proptest::proptest! {
    #[test]
    fn no_body_panics(body in ".*") {
        let _ = parse(&body);
    }
}

#[test]
fn levels_are_kept_and_thinking_follows_them() {
    for (word, effort, thinking) in [
        ("none", Effort::None, false),
        ("minimal", Effort::Minimal, false),
        ("xhigh", Effort::XHigh, true),
        ("banana", Effort::Unknown, true),
    ] {
        let read = parse(&format!(
            r#"{{"model":"m","messages":[{{"role":"user"}}],"reasoning_effort":"{word}","enable_thinking":false}}"#
        ))
        .unwrap();
        assert_eq!(
            (read.effort, read.thinking),
            (Some(effort), Some(thinking)),
            "{word}"
        );
    }
}

#[test]
fn what_is_asked_for_is_kept() {
    let read = parse(
        r#"{"model":"m","messages":[{"role":"user"}],"functions":[{"name":"f","parameters":{"a": 1}}],"function_call":{"name":"f"},"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"b":2}}},"seed":3,"parallel_tool_calls":false,"verbosity":"low"}"#,
    )
    .unwrap();
    assert!(read.calls_as_functions && read.asks_for(Field::Tools));
    assert_eq!(&*read.tools[0].name, "f");
    assert_eq!(read.tool_choice, ToolChoice::Named("f".into()));
    let Format::JsonSchema(schema) = &read.format else {
        panic!("{:?}", read.format)
    };
    assert_eq!(schema.schema.as_ref().map(Json::get), Some(r#"{"b":2}"#));
    assert_eq!(
        (read.sampling.seed, read.parallel_tool_calls),
        (Some(3), Some(false))
    );
    assert_eq!(read.extras.verbosity.as_deref(), Some("low"));
}

/// Their memory is counted with the conversation's: two bytes of JSON become a hundred of it.
#[test]
fn tools_are_limited_with_the_pieces() {
    let body = r#"{"model":"m","messages":[{"role":"user"}],"tools":[{},{}]}"#;
    let within = |most| read_within(Bytes::from_static(body.as_bytes()), most);
    assert!(within(3).is_ok());
    assert_eq!(within(2).unwrap_err().param.as_deref(), Some("tools"));
}

#[test]
fn a_schema_is_a_slice_of_the_body() {
    let schema = format!(r#"{{"description":"{}"}}"#, "x".repeat(1 << 20));
    let body = Bytes::from(format!(
        r#"{{"model":"m","messages":[{{"role":"user"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
    ));
    let read = read(body.clone()).unwrap();
    let crate::chat::tools::ToolKind::Function { parameters } = &read.tools[0].kind else {
        panic!("{:?}", read.tools)
    };
    let written = parameters.as_ref().unwrap().get();
    assert_eq!(written.len(), schema.len());
    assert!(body.as_ptr_range().contains(&written.as_ptr()));
}
