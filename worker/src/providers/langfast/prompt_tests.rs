use bytes::Bytes;
use serde_json::{Value, json};

use super::{super::models, *};
use crate::chat::Kind;

fn meta_of(model: &str, more: &str) -> Result<Value, ProviderError> {
    let body =
        format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hello"}}]{more}}}"#);
    asked(model, &body)
}

fn asked(model: &str, body: &str) -> Result<Value, ProviderError> {
    let chat = crate::http::openai::body::read(Bytes::copy_from_slice(body.as_bytes())).unwrap();
    let row = models::row_of(&models::find(model).unwrap());
    meta(&chat, row).map(|meta| serde_json::to_value(meta).unwrap())
}

fn conversation(model: &str, messages: Value) -> Result<Value, ProviderError> {
    asked(
        model,
        &json!({"model": model, "messages": messages}).to_string(),
    )
    .map(|meta| meta["messages"].clone())
}

#[test]
fn each_model_gets_the_parameters_that_it_knows() {
    let all = r#","temperature":0.7,"top_p":0.9,"presence_penalty":1,"frequency_penalty":-1,"reasoning_effort":"low","verbosity":"high","seed":5,"max_tokens":99999999"#;
    for row in models::ROWS {
        let mut meta = meta_of(row.id, all).unwrap();
        let meta = meta.as_object_mut().unwrap();
        assert_eq!(meta.remove("model"), Some(json!(row.id)));
        assert_eq!(meta.remove("stream"), Some(json!(true)));
        assert_eq!(
            meta.remove("max_completion_tokens"),
            Some(json!(row.most_tokens))
        );
        meta.remove("messages");
        let known: Vec<&str> = meta.keys().map(String::as_str).collect();
        let mut expected = match row.family {
            models::Family::Chat | models::Family::OldChat => {
                vec![
                    "temperature",
                    "top_p",
                    "presence_penalty",
                    "frequency_penalty",
                    "response_format",
                ]
            }
            models::Family::Reasoning => vec!["reasoning_effort", "response_format"],
            models::Family::Bare => vec![],
            models::Family::Gpt5 => vec!["reasoning_effort", "verbosity", "response_format"],
        };
        expected.sort_unstable();
        assert_eq!(known, expected, "{}", row.id);
    }
    assert_eq!(
        meta_of("gpt-4o", r#","max_completion_tokens":7"#).unwrap()["max_completion_tokens"],
        7
    );
    assert_eq!(
        meta_of("gpt-4o", r#","temperature":0.7"#).unwrap()["temperature"],
        0.7
    );
}

#[test]
fn efforts_become_words_of_the_model() {
    for (model, given, expected) in [
        ("o3", "minimal", json!("low")),
        ("o3", "none", json!("low")),
        ("o3", "high", json!("high")),
        ("gpt-5", "none", json!("minimal")),
        ("gpt-5", "minimal", json!("minimal")),
        ("gpt-5", "xhigh", json!("high")),
        ("gpt-4o", "banana", Value::Null),
    ] {
        let meta = meta_of(model, &format!(r#","reasoning_effort":"{given}""#)).unwrap();
        assert_eq!(meta["reasoning_effort"], expected, "{model} {given}");
    }
    let error = meta_of("o3", r#","reasoning_effort":"banana""#).unwrap_err();
    assert_eq!(
        (error.kind, error.param.as_deref()),
        (Kind::BadRequest, Some("reasoning_effort"))
    );
    assert_eq!(
        meta_of("gpt-5", r#","verbosity":"x""#)
            .unwrap_err()
            .param
            .as_deref(),
        Some("verbosity")
    );
}

#[test]
fn formats_follow_the_rows() {
    let schema =
        r#","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}}"#;
    let object = r#","response_format":{"type":"json_object"}"#;
    assert_eq!(
        meta_of("gpt-4", object).unwrap()["response_format"],
        "json_object"
    );
    assert_eq!(
        meta_of("gpt-5", schema).unwrap()["response_format"]["json_schema"]["name"],
        "n"
    );
    assert_eq!(
        meta_of("gpt-4", schema).unwrap_err().param.as_deref(),
        Some("response_format")
    );
    assert_eq!(
        meta_of("gpt-4o", r#","response_format":{"type":"x"}"#)
            .unwrap_err()
            .kind,
        Kind::BadRequest
    );
}

#[test]
fn roles_follow_the_rows() {
    let history = json!([
        {"role": "system", "content": "S"},
        {"role": "developer", "content": [{"type": "text", "text": "D"}, {"type": "text", "text": "2"}]},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": null},
        {"role": "user", "content": "V"},
    ]);
    let said = |role: &str, content: &str| json!({"role": role, "content": content});
    let rest = [said("user", "U"), said("assistant", ""), said("user", "V")];
    for (model, role) in [
        ("gpt-4o", "system"),
        ("gpt-4", "system"),
        ("o3", "developer"),
        ("gpt-5", "developer"),
    ] {
        let expected = [vec![said(role, "S"), said(role, "D\n2")], rest.to_vec()].concat();
        assert_eq!(
            conversation(model, history.clone()).unwrap(),
            json!(expected),
            "{model}"
        );
    }
    let expected = json!([said("user", "S\n\nD\n2\n\nU"), rest[1], rest[2]]);
    assert_eq!(conversation("o1-mini", history).unwrap(), expected);
    let alone = json!([{"role": "system", "content": "S"}]);
    assert_eq!(
        conversation("o1-mini", alone).unwrap(),
        json!([said("user", "S")])
    );
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let user = json!({"role": "user", "content": "x"});
    for (message, param) in [
        (
            json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/x.png"}}]}),
            "messages[1].content",
        ),
        (
            json!({"role": "user", "content": [{"type": "file", "file": {"file_data": "x"}}]}),
            "messages[1].content",
        ),
    ] {
        let error = conversation("gpt-4o", json!([user, message])).unwrap_err();
        assert_eq!(
            (error.kind, error.param.as_deref()),
            (Kind::BadRequest, Some(param))
        );
    }
}

#[test]
fn its_time_grows_with_the_conversation() {
    crate::chat::growth::assert_linear(|chat| {
        let _ = meta(chat, models::ROWS[0]);
    });
}
