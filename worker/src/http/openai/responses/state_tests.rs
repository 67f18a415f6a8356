use serde_json::json;

use super::*;

fn body(text: &str) -> Body<'_> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_came_before_stands_in_front_and_all_else_stays() {
    let text = r#"{"model":"m","previous_response_id":"resp_1","input":"hi \"you\"","x":{"a":[1]},"store":true}"#;
    let body = body(text);
    assert_eq!(body.text("previous_response_id").as_deref(), Some("resp_1"));
    let mut items = r#"{"a":1}"#.to_owned();
    add(&mut items, &body.input().unwrap());
    let whole: Value = serde_json::from_str(&body.with_input(&items)).unwrap();
    assert_eq!(
        whole,
        json!({"model": "m", "x": {"a": [1]}, "store": true, "input": [
            {"a": 1}, {"type": "message", "role": "user", "content": "hi \"you\""},
        ]})
    );
}

#[test]
fn items_are_taken_as_they_are_written() {
    assert_eq!(
        body(r#"{"input": [ {"b" : 2}, 3 ] }"#).input().as_deref(),
        Some(r#"{"b" : 2}, 3"#)
    );
    assert_eq!(body(r#"{"input":[]}"#).input().as_deref(), Some(""));
    for none in [r#"{"input":{}}"#, r#"{"input":null}"#, "{}"] {
        assert_eq!(body(none).input(), None, "{none}");
    }
}

#[test]
fn a_response_is_kept_unless_its_caller_says_otherwise() {
    assert!(body("{}").is_kept() && body(r#"{"store":true}"#).is_kept());
    assert!(body(r#"{"store":null}"#).is_kept());
    assert!(!body(r#"{"store":false}"#).is_kept());
    assert!(
        !body(r#"{"store":true,"store":false}"#).is_kept(),
        "the last one counts"
    );
}
