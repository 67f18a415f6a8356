//! The OpenAI-compatible upstream, checked from the client's side.

use hive2api_simulators::Running;
use serde_json::{Value, json};

use crate::client::{Answer, Request, setting, start};

fn call(running: &Running, method: &'static str, path: &str) -> Request {
    let keys = setting(running, "OPENAI_COMPAT_1_API_KEY");
    Request::new(method, path).header(
        "Authorization",
        format!("Bearer {}", keys.split(',').next().unwrap()),
    )
}

fn ask(running: &Running, body: &Value) -> Answer {
    call(running, "POST", "/v1/chat/completions")
        .json(body)
        .ask(running)
}

fn question(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

fn chunks(answer: &Answer) -> Vec<Value> {
    answer
        .events()
        .iter()
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn said(chunks: &[Value], key: &str) -> String {
    chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str())
        .collect()
}

#[test]
fn streams_chunks_with_usage() {
    let openai = start("openai");
    let mut body = question("sim-reasoner", "think:hm echo:你好 \u{2028}x");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let answer = ask(&openai, &body);
    assert_eq!(answer.events().pop().unwrap(), "[DONE]");
    let chunks = chunks(&answer);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(said(&chunks, "reasoning_content"), "hm");
    assert_eq!(said(&chunks, "content"), "你好 \u{2028}x");
    let [.., finish, usage] = chunks.as_slice() else {
        panic!()
    };
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert!(
        usage["choices"].as_array().unwrap().is_empty() && usage["usage"]["total_tokens"].is_u64()
    );
}

#[test]
fn answers_whole_and_lists_models() {
    let openai = start("openai");
    let whole = ask(&openai, &question("sim-chat", "echo:hi")).value();
    assert_eq!(whole["choices"][0]["message"]["content"], "hi");
    let models = call(&openai, "GET", "/v1/models").ask(&openai).value();
    assert_eq!(
        (&models["data"][0]["id"], &models["data"][1]["id"]),
        (&json!("sim-chat"), &json!("sim-reasoner"))
    );
}

#[test]
fn calls_tools() {
    let openai = start("openai");
    let mut body = question("sim-chat", "weather?");
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    body["tools"] =
        json!([{"type": "function", "function": {"name": "weather", "parameters": parameters}}]);
    let whole = ask(&openai, &body).value();
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    let arguments = whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
        .as_str()
        .unwrap();
    body["stream"] = json!(true);
    let chunks = chunks(&ask(&openai, &body));
    let deltas = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]);
    assert_eq!(
        deltas.filter_map(Value::as_str).collect::<String>(),
        arguments
    );
}

#[test]
fn refuses_wrong_requests() {
    let openai = start("openai");
    let body = question("sim-chat", "hi");
    let code = |answer: &Answer| answer.value()["error"]["code"].clone();
    let nobody = Request::new("POST", "/v1/chat/completions")
        .json(&body)
        .ask(&openai);
    assert_eq!(
        (nobody.status, code(&nobody)),
        (401, json!("invalid_api_key"))
    );
    let stranger = call(&openai, "POST", "/v1/chat/completions")
        .header("Authorization", "Bearer sk-x")
        .json(&body)
        .ask(&openai);
    assert_eq!(stranger.status, 401);
    let unknown = ask(&openai, &question("gpt-9", "hi"));
    assert_eq!(
        (unknown.status, code(&unknown)),
        (404, json!("model_not_found"))
    );
    assert_eq!(
        call(&openai, "POST", "/chat/completions")
            .json(&body)
            .ask(&openai)
            .status,
        404
    );
    assert_eq!(
        call(&openai, "GET", "/v1/chat/completions")
            .ask(&openai)
            .status,
        405
    );
    let wrong = ask(&openai, &json!({"model": "sim-chat", "messages": "hi"}));
    assert_eq!(
        (wrong.status, wrong.value()["error"]["param"].clone()),
        (400, json!("messages"))
    );
}

#[test]
fn faults_look_like_openai() {
    let openai = start("openai");
    let under = |fault: &str| {
        openai.control().fault(fault, 1).unwrap();
        let mut body = question("sim-chat", "count:9");
        body["stream"] = json!(true);
        ask(&openai, &body)
    };
    assert_eq!(
        under("rate_limited_retry_after").headers["retry-after"],
        "7"
    );
    let expected = [
        ("unauthorized", 401),
        ("forbidden", 403),
        ("insufficient_quota", 429),
        ("context_length_exceeded", 400),
    ];
    for (fault, status) in expected.into_iter().chain([
        ("server_error", 500),
        ("overloaded", 503),
        ("not_found", 404),
    ]) {
        let answer = under(fault);
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.value()["error"]["message"].is_string());
    }
    assert_eq!(
        under("bad_request").value()["error"]["param"],
        "temperature"
    );
    let broken = chunks(&under("error_after_text"));
    assert_eq!(said(&broken, "content"), "1 2");
    assert_eq!(broken.last().unwrap()["error"]["type"], "server_error");
    let cut = chunks(&under("finish_length"));
    assert_eq!(cut.last().unwrap()["choices"][0]["finish_reason"], "length");
}
