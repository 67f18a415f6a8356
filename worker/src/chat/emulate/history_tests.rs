//! The history vectors of tools.md section 14: from a request to what a provider is given.

use serde_json::{Value, json};

use super::*;
use crate::chat::ChatRequest;

fn request(messages: &Value) -> ChatRequest {
    let tool = |name: &str, properties: Value| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}});
    let body = json!({"model": "m", "messages": messages, "tools": [
        tool("read", json!({"path": {"type": "string"}, "limit": {"type": "integer"}})),
        tool("write", json!({"path": {"type": "string"}, "content": {"type": "string"}})),
        tool("set", json!({"key": {"type": "string"}, "value": {}, "edits": {"type": "array"}, "note": {"type": ["string", "null"]}})),
        {"type": "custom", "custom": {"name": "exec"}},
    ]});
    crate::http::openai::body::read(body.to_string().into()).unwrap()
}

const NONE: Leaked = |_, _, _| None;

fn render(messages: &Value) -> Vec<Message> {
    render_with(messages, true, NONE)
}

fn render_with(messages: &Value, takes_pictures: bool, leaked: Leaked) -> Vec<Message> {
    let request = request(messages);
    let history = History {
        nonce: &Nonce::new("k7q2").unwrap(),
        offered: &Offered::new(&request).unwrap(),
        takes_pictures,
        leaked,
    };
    history.render(&request.messages)
}

fn texts(messages: &Value) -> Vec<String> {
    let rendered = render(messages);
    assert!(!has_calls(&rendered), "nothing is left to render");
    rendered
        .iter()
        .map(|message| {
            let who = match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
                other => panic!("{other:?}"),
            };
            format!("{who}: {}", message.text())
        })
        .collect()
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

#[test]
fn one_call_and_its_result() {
    let texts = texts(&json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "I look. \n", "reasoning_content": "hm", "tool_calls": [call("a", "read", r#"{"path":"a \"b\".rs","limit": 5}"#)]},
        {"role": "tool", "tool_call_id": "a", "content": "fn main() {}\n"},
    ]));
    assert_eq!(
        texts,
        [
            "user: q",
            "assistant: I look.\n\n<calls-k7q2>\n<call-k7q2 name=\"read\">\n<arg-k7q2 name=\"path\">\na \"b\".rs\n</arg-k7q2>\n<arg-k7q2 name=\"limit\">\n5\n</arg-k7q2>\n</call-k7q2>\n</calls-k7q2>",
            "user: <results-k7q2>\n<result-k7q2 call=\"1\" tool=\"read\">\nfn main() {}\n\n</result-k7q2>\n</results-k7q2>",
        ]
    );
}

#[test]
fn results_come_in_the_order_of_their_calls() {
    let texts = texts(&json!([
        {"role": "assistant", "content": null, "tool_calls": [call("a", "read", "{}"), call("b", "read", "{}"), call("c", "read", "{}")]},
        {"role": "tool", "tool_call_id": "c", "content": "three"},
        {"role": "user", "content": "and now?"},
        {"role": "tool", "tool_call_id": "x", "content": "orphan"},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
    ]));
    assert_eq!(
        texts.last().unwrap(),
        "user: <results-k7q2>\n<result-k7q2 call=\"1\" tool=\"read\">\none\n</result-k7q2>\n<result-k7q2 call=\"2\" tool=\"read\">\n(no result was given)\n</result-k7q2>\n<result-k7q2 call=\"3\" tool=\"read\">\nthree\n</result-k7q2>\n<result-k7q2>\norphan\n</result-k7q2>\n</results-k7q2>\n\nand now?"
    );
    assert_eq!(texts.len(), 2, "text around results is of the same turn");
}

#[test]
fn a_result_without_any_call_is_one_all_the_same() {
    let texts = texts(&json!([
        {"role": "user", "content": "q"}, {"role": "tool", "tool_call_id": "x", "content": "5"}, {"role": "assistant", "content": "ok"},
    ]));
    assert_eq!(
        texts,
        [
            "user: q",
            "user: <results-k7q2>\n<result-k7q2>\n5\n</result-k7q2>\n</results-k7q2>",
            "assistant: ok"
        ]
    );
}

#[test]
fn a_call_that_nobody_answered_says_so_once_the_chat_goes_on() {
    let texts = texts(&json!([
        {"role": "assistant", "content": null, "tool_calls": [call("a", "read", "{}")]}, {"role": "assistant", "content": "x"},
        {"role": "user", "content": "y"}, {"role": "assistant", "content": null, "tool_calls": [call("b", "read", "{}")]},
    ]));
    assert!(
        texts[1].contains("call=\"1\" tool=\"read\">\n(no result was given)\n"),
        "{texts:?}"
    );
    assert_eq!(
        texts
            .iter()
            .filter(|text| text.contains("results-"))
            .count(),
        1
    );
}

#[test]
fn values_are_written_as_the_schema_says() {
    let texts = texts(&json!([
        {"role": "assistant", "content": null, "tool_calls": [
            call("a", "write", r#"{"content":"a\r\nb\r\n","path":""}"#),
            call("b", "set", r#"{"value":"5","key":"5","edits":[{"a": 1.0, "b":"x"}],"note":null,"more":"free"}"#),
            call("c", "gone", r#"{"text":"raw \"text\"","number": 5,"list":[1, 2]}"#),
            call("d", "read", ""),
            {"id": "e", "type": "custom", "custom": {"name": "exec", "input": "x = \"1\"\n"}},
        ]},
    ]));
    for part in [
        "<arg-k7q2 name=\"content\">\na\r\nb\r\n\n</arg-k7q2>\n<arg-k7q2 name=\"path\">\n\n</arg-k7q2>",
        "<arg-k7q2 name=\"value\">\n\"5\"\n</arg-k7q2>\n<arg-k7q2 name=\"key\">\n5\n</arg-k7q2>\n<arg-k7q2 name=\"edits\">\n[{\"a\":1.0,\"b\":\"x\"}]\n</arg-k7q2>\n<arg-k7q2 name=\"note\">\nnull\n</arg-k7q2>\n<arg-k7q2 name=\"more\">\nfree\n</arg-k7q2>",
        "<call-k7q2 name=\"gone\">\n<arg-k7q2 name=\"text\">\nraw \"text\"\n</arg-k7q2>\n<arg-k7q2 name=\"number\">\n5\n</arg-k7q2>\n<arg-k7q2 name=\"list\">\n[1,2]\n</arg-k7q2>\n</call-k7q2>",
        "<call-k7q2 name=\"read\">\n</call-k7q2>",
        "<call-k7q2 name=\"exec\">\n<arg-k7q2 name=\"input\">\nx = \"1\"\n\n</arg-k7q2>\n</call-k7q2>",
    ] {
        assert!(texts[0].contains(part), "{part:?} in {}", texts[0]);
    }
}

#[test]
fn a_failed_call_says_so_and_marks_of_others_stay() {
    let mut request = request(&json!([
        {"role": "assistant", "content": null, "tool_calls": [call("a", "read", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": "</result-zzzz>\n</results-zzzz> &amp;"},
    ]));
    request.messages[1].is_error = true;
    let history = History {
        nonce: &Nonce::new("k7q2").unwrap(),
        offered: &Offered::new(&request).unwrap(),
        takes_pictures: false,
        leaked: NONE,
    };
    let text = history.render(&request.messages)[1].text().into_owned();
    assert!(text.contains("<result-k7q2 call=\"1\" tool=\"read\" status=\"error\">\n</result-zzzz>\n</results-zzzz> &amp;\n</result-k7q2>"), "{text}");
}

#[test]
fn the_older_form_goes_by_name() {
    let texts = texts(&json!([
        {"role": "assistant", "content": null, "function_call": {"name": "read", "arguments": "{\"path\":\"a\"}"}},
        {"role": "function", "name": "read", "content": "5"},
    ]));
    assert!(
        texts[0].contains("<call-k7q2 name=\"read\">\n<arg-k7q2 name=\"path\">\na\n"),
        "{texts:?}"
    );
    assert!(
        texts[1].contains("<result-k7q2 call=\"1\" tool=\"read\">\n5\n"),
        "{texts:?}"
    );
}

#[test]
fn pictures_of_results_are_shown_or_named() {
    let picture = "data:image/png;base64,aGVsbG8=";
    let messages = json!([
        {"role": "assistant", "content": null, "tool_calls": [call("a", "read", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": picture}}]},
        {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "image_url", "image_url": {"url": "https://e/2.png"}}]},
    ]);
    let shown = render(&messages);
    assert_eq!(shown[1].attachments().count(), 2);
    assert!(
        shown[1].text().contains("see\n(picture: attached)\n")
            && shown[1].text().ends_with("\n\nand")
    );
    let named = render_with(&messages, false, NONE);
    assert_eq!(
        named[1].attachments().count(),
        1,
        "the user's own is the provider's to refuse"
    );
    assert!(
        named[1]
            .text()
            .contains("see\n(picture: image/png, 1 KB; not shown)\n"),
        "{}",
        named[1].text()
    );
}

#[test]
fn a_leak_of_another_gateway_is_written_as_a_call() {
    let messages = json!([{"role": "assistant", "content": "I look.\n<leak>"}, {"role": "user", "content": "<leak>"}]);
    let leaked: Leaked = |_, _, text| {
        let call = FunctionCall {
            name: "read".into(),
            arguments: "{}".into(),
        };
        let rest = text.strip_suffix("<leak>")?;
        Some((rest.to_owned(), vec![call]))
    };
    let rendered = render_with(&messages, true, leaked);
    assert!(
        rendered[0]
            .text()
            .starts_with("I look.\n\n<calls-k7q2>\n<call-k7q2 name=\"read\">")
    );
    assert_eq!(rendered[1].text(), "<leak>");
}

#[test]
fn a_later_turn_begins_with_the_bytes_of_the_one_before() {
    let mut conversation = vec![
        json!({"role": "system", "content": "S"}),
        json!({"role": "user", "content": "q"}),
        json!({"role": "assistant", "content": null, "tool_calls": [call("a", "read", "{\"path\":\"a\"}"), call("b", "write", "{}")]}),
        json!({"role": "tool", "tool_call_id": "b", "content": "two"}),
        json!({"role": "tool", "tool_call_id": "a", "content": "one"}),
    ];
    let third = texts(&Value::from(conversation.clone()));
    conversation.extend([
        json!({"role": "assistant", "content": "done", "tool_calls": [call("a", "read", "{}")]}),
        json!({"role": "tool", "tool_call_id": "a", "content": "x"}),
    ]);
    let fourth = texts(&Value::from(conversation));
    assert_eq!(fourth[..third.len()], third[..]);
    assert_eq!(fourth.len(), third.len() + 2);
}

/// What a client repeats is never copied once more for every message.
#[test]
fn its_time_grows_with_the_conversation() {
    crate::chat::growth::assert_linear(|chat| {
        let history = History {
            nonce: &Nonce::new("k7q2").unwrap(),
            offered: &Offered::default(),
            takes_pictures: true,
            leaked: NONE,
        };
        history.render(&chat.messages);
    });
}
