use serde_json::{Value, json};

use super::*;
use crate::http::openai::body::read;

const ALL: Manner = Manner {
    has_options: true,
    says_completion_tokens: false,
    is_thoughtless: false,
};

fn body_for(wrote: &str, model: &str) -> String {
    let request = read(wrote.to_owned().into()).unwrap();
    String::from_utf8(body(&request, model, ALL).concat()).unwrap()
}

#[test]
fn what_stays_of_a_body_stays_byte_for_byte() {
    assert_eq!(
        body_for(
            r#" { "model" : "a","x\n" : [1.0, "é\u00e9"], "n":2, "stream": true,"messages":[{"role":"user", "content":"\u4f60 }"}] , "y":1e400 } "#,
            "m\"/1"
        ),
        r#" { "model" : "m\"/1","x\n" : [1.0, "é\u00e9"], "n":1, "stream": true,"messages":[{"role":"user", "content":"\u4f60 }"}] , "y":1e400 ,"stream_options":{"include_usage":true}}"#
    );
}

#[test]
fn stream_options_are_taken_out_wherever_they_stand() {
    let options = r#""stream_options" : {"include_usage":true}"#;
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    for wrote in [
        format!(r#"{{{options}, "model":"a","stream":true,{messages}}}"#),
        format!(r#"{{"model":"a", {options} ,"stream":true,{messages}}}"#),
        format!(r#"{{"model":"a","stream":true,{messages},{options} }}"#),
        format!(r#"{{"model":"a","stream":true,{messages}}}"#),
    ] {
        let request = read(wrote.clone().into()).unwrap();
        let manner = Manner {
            has_options: false,
            ..ALL
        };
        let sent: Value = serde_json::from_slice(&body(&request, "b", manner).concat())
            .unwrap_or_else(|error| panic!("{error}: {wrote}"));
        let mut expected: Value = serde_json::from_str(&wrote).unwrap();
        expected["model"] = json!("b");
        expected.as_object_mut().unwrap().remove("stream_options");
        assert_eq!(sent, expected, "{wrote}");
    }
}

#[test]
fn a_long_history_is_shared() {
    let long = "x".repeat(16 << 10);
    let history = format!(r#"[{{"role":"user","content":"{long}"}}]"#);
    let wrote = format!(r#"{{"messages":{history},"model":"a","user":"{long}"}}"#);
    let wrote = Bytes::from(wrote);
    let request = read(wrote.clone()).unwrap();
    let pieces = body(&request, "b", ALL);
    let is_shared = |piece: &&Bytes| wrote.as_ptr_range().contains(&piece.as_ptr());
    assert_eq!(pieces.iter().filter(is_shared).count(), 2);
    let expected =
        format!(r#"{{"messages":{history},"model":"b","user":"{long}","stream":false}}"#);
    assert_eq!(pieces.concat(), expected.as_bytes());
}

#[test]
fn of_members_that_stand_twice_the_last_one_goes_on() {
    let sent = body_for(
        r#"{"model":"x","stream":false,"messages":[{"role":"user","content":"a","content":"b"}],"str\u0065am":true,"model":"m","max_tokens":0,"max_tokens":7,"messages":[{"role":"system","role":"user","content":[{"type":"video","type":"text","text":"hi"}]}]}"#,
        "up",
    );
    for member in ["\"model\"", "\"max_tokens\"", "\"messages\"", "\"type\""] {
        assert_eq!(sent.matches(member).count(), 1, "{sent}");
    }
    assert!(sent.contains(r#""model":"up""#), "{sent}");
    let half = r#"{"model":"m","messages":[{"role":"user","content":"cut \ud83d","x":"\uDE00"}]}"#;
    assert!(!body_for(half, "up").contains(r"\uDE00"));
}

/// Bodies that say everything that there is a word for.
const SAYING: &[&str] = &[
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false}"#,
    r#"{"model":"m","messages":[{"role":"system","content":"be \"brief\"\n你好"},{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","name":"Ann","content":[{"type":"text","text":"what?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}},{"type":"image_url","image_url":{"url":"https://e/x"}},{"type":"file","file":{"file_data":"data:a/b;base64,AA==","filename":"f.pdf"}},{"type":"file_url","file_url":{"url":"https://e/y"}},{"type":"file","file":{"url":"https://e/z"}}]}],"stream":false}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"b\": 1,\"a\":2}"}},{"id":"d","type":"function","function":{"name":"g","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"4"},{"role":"tool","tool_call_id":"d","content":[{"type":"text","text":"5"}]},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]},{"role":"function","name":"f","content":"6"},{"role":"user","content":"and?"}],"stream":false}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false,"tools":[{"type":"function","function":{"name":"f","description":"does\nit","parameters":{"type":"object", "properties":{"z":{},"a":{"enum":[1.0,"\u00e9"]}}},"strict":true}},{"type":"function","function":{"name":"h"}}],"tool_choice":{"type":"function","function":{"name":"h"}},"parallel_tool_calls":false}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}}}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false,"functions":[{"name":"f","description":"d","parameters":{}}],"function_call":{"name":"f"}}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false,"response_format":{"type":"json_object"},"reasoning_effort":"minimal","web_search_options":{"search_context_size":"low"}}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false,"response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{"type":"object"},"strict":true}},"reasoning_effort":"xhigh"}"#,
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true},"temperature":0.3,"top_p":1.0,"frequency_penalty":-1.5,"presence_penalty":1.5,"seed":-7,"logit_bias":{"50256":-100},"logprobs":true,"top_logprobs":3,"stop":["a","\n"],"max_tokens":9,"user":"u","verbosity":"low","modalities":["text","audio"],"audio":{"voice":"x"},"prediction":{"type":"content","content":"y"},"metadata":{"k":"v"},"prompt_cache_key":"p","safety_identifier":"s","service_tier":"flex","store":false}"#,
];

/// What it all means, without how it was written.
fn meaning(mut request: ChatRequest) -> String {
    request.verbatim = None;
    request.bytes = 0;
    format!("{request:#?}")
}

#[test]
fn who_speaks_another_dialect_is_understood_as_well() {
    for wrote in SAYING {
        let mut request = read((*wrote).into()).unwrap();
        request.verbatim = None;
        let said = body(&request, "m", ALL).concat();
        let again = read(said.clone().into()).unwrap();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(meaning(request), meaning(again), "{said}");
        // Members of the body have the values that they had; those that nobody has a word for do not exist in it.
        let (said, wrote): (Value, Value) = (
            serde_json::from_str(&said).unwrap(),
            serde_json::from_str(wrote).unwrap(),
        );
        assert_eq!(said, wrote);
    }
}

#[test]
fn a_schema_is_said_as_it_was_written() {
    let schema = r#"{"b": [1.0,  2], "a":"\u00e9"}"#;
    let mut request = read(format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#).into()).unwrap();
    request.verbatim = None;
    let said = body(&request, "m", ALL).concat();
    assert!(str::from_utf8(&said).unwrap().contains(schema));
}

#[test]
fn what_no_word_exists_for_stays_behind() {
    let mut request = read(
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"video_url","video_url":{}}]},{"role":"assistant","content":[{"type":"thinking"},{"type":"text","text":"a"}],"tool_calls":[{"id":"x","type":"strange"}]},{"role":"user"}],"tool_choice":"none","response_format":{"type":"strange"},"enable_thinking":true,"use_search":false}"#
            .into(),
    )
    .unwrap();
    request.verbatim = None;
    request.sampling.top_k = Some(5);
    let said: Value = serde_json::from_slice(&body(&request, "m", ALL).concat()).unwrap();
    let expected = json!({"model": "m", "stream": false, "messages": [
        {"role": "user", "content": ""},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
        {"role": "user", "content": ""},
    ]});
    assert_eq!(said, expected);
}

#[test]
fn a_refusal_teaches_what_the_upstream_wants() {
    let wrote = r#"{"model":"m","stream":true,"max_tokens":5,"enable_thinking":false,"messages":[{"role":"user","content":"x"}]}"#;
    let mut request = read(wrote.into()).unwrap();
    // What the caller wrote itself is the caller's to mend, but for what we add.
    for refusal in ["max_completion_tokens", "reasoning_effort", "bad key"] {
        assert!(
            !ALL.clone().learn(&request, refusal.as_bytes()),
            "{refusal}"
        );
    }
    assert!(ALL.clone().learn(&request, b"stream_options"));
    request.verbatim = None;
    let mut manner = ALL;
    let said = |manner| -> Value {
        serde_json::from_slice(&body(&request, "m", manner).concat()).unwrap()
    };
    assert_eq!(said(manner)["reasoning_effort"], "none");
    assert_eq!(said(manner)["max_tokens"], 5);
    for refusal in [
        "Unknown argument: stream_options",
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        "Unsupported parameter: 'reasoning_effort'",
    ] {
        assert!(manner.learn(&request, refusal.as_bytes()), "{refusal}");
        assert!(!manner.learn(&request, refusal.as_bytes()), "{refusal}");
    }
    assert_eq!(
        said(manner),
        json!({"model": "m", "stream": true, "max_completion_tokens": 5, "messages": [{"role": "user", "content": "x"}]})
    );
}

#[test]
fn its_time_grows_with_the_conversation() {
    crate::chat::growth::assert_linear(|chat| {
        body(chat, "other", ALL);
        let mut chat = chat.clone();
        chat.verbatim = None;
        body(&chat, "other", ALL);
    });
}

proptest::proptest! {
    /// As if the members had been set one by one.
    #[test]
    fn members_are_said_anew(
        stream in proptest::sample::select(&["", "null", "true", "false"]),
        options in proptest::sample::select(&["", "null", "{}", r#"{"include_usage":false}"#]),
        n in proptest::sample::select(&["", "null", "1", "3"]),
        order in proptest::sample::select(&[[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]]),
    ) {
        let messages = r#"[{"role":"user","content":"\"n\":5}"}]"#;
        let members = [
            ("model", r#""a""#), ("messages", messages), ("stream", stream), ("stream_options", options), ("n", n),
        ];
        let written: Vec<String> = order
            .iter()
            .map(|&at: &usize| members[at])
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("\"{name}\" : {value} "))
            .collect();
        let body = format!("{{{}}}\n", written.join(","));
        let mut expected: Value = serde_json::from_str(&body).unwrap();
        expected["model"] = json!("b");
        expected["stream"] = json!(stream == "true");
        if stream == "true" {
            expected["stream_options"] = json!({"include_usage": true});
        } else if !options.is_empty() {
            expected["stream_options"] = Value::Null;
        }
        if !n.is_empty() {
            expected["n"] = json!(1);
        }
        let spliced: Value = serde_json::from_str(&body_for(&body, "b")).unwrap();
        proptest::prop_assert_eq!(spliced, expected);
    }
}

/// Few servers know free texts, and a caller of another dialect cannot know which.
#[test]
fn free_texts_are_functions_with_one_text() {
    let mut chat = read(
        r#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"d","type":"custom","custom":{"name":"g","input":"raw\n"}}]}],"tools":[{"type":"custom","custom":{"name":"g","description":"what","format":{"type":"grammar","grammar":{"syntax":"lark","definition":"x: y"}}}}],"tool_choice":{"type":"custom","custom":{"name":"g"}}}"#
            .into(),
    )
    .unwrap();
    chat.verbatim = None;
    let body = body(&chat, "m", Manner::default()).concat();
    let said: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        said["tools"],
        json!([{"type": "function", "function": {
            "name": "g", "description": "what\n\nThe text follows this grammar:\nx: y",
            "parameters": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": false},
        }}])
    );
    assert_eq!(
        said["messages"][1]["tool_calls"],
        json!([{"id": "d", "type": "function", "function": {"name": "g", "arguments": "{\"input\":\"raw\\n\"}"}}])
    );
    assert_eq!(said["tool_choice"]["function"]["name"], "g");
}
