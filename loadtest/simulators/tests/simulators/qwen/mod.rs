//! wire/qwen.md, checked from the client's side.

mod chat2;
mod refusals;
mod uploads;

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start};

const PLAIN: &str = "application/json, text/plain, */*";

pub(crate) fn call(running: &Running, account: usize, path: &str, body: &Value) -> Request {
    Request::new("POST", path)
        .header(
            "Cookie",
            setting(running, &format!("CN_ACCOUNT_{account}_COOKIE")),
        )
        .header(
            "X-Xsrf-Token",
            setting(running, &format!("CN_ACCOUNT_{account}_XSRF_TOKEN")),
        )
        .header("X-Platform", "pc_tongyi")
        .header("Accept", PLAIN)
        .header("User-Agent", CHROME)
        .header("Origin", "https://www.tongyi.com")
        .header("Referer", "https://www.tongyi.com/")
        .header("Accept-Language", "zh-CN,zh;q=0.9")
        .json(body)
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub(crate) fn question(text: &str) -> Value {
    json!({
        "action": "next", "mode": "chat", "model": "Qwen3-Max", "requestId": uuid(), "sessionId": "",
        "sessionType": "text_chat", "parentMsgId": "", "userAction": "new_top",
        "params": {"fileUploadBatchId": uuid(), "searchType": "", "deepThink": false},
        "feature_config": {"search_enabled": false, "thinking_enabled": false},
        "contents": [{"role": "user", "contentType": "text", "content": text}],
    })
}

pub(crate) fn asking(running: &Running, body: &Value) -> Request {
    call(running, 1, "/dialog/conversation", body).header("Accept", "text/event-stream")
}

fn frames(answer: &Answer) -> Vec<Value> {
    answer
        .events()
        .iter()
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn parts(frame: &Value, kind: &str) -> Vec<String> {
    let parts = frame["contents"].as_array().into_iter().flatten();
    let of_kind = parts.filter(|part| part["contentType"] == kind);
    of_kind
        .map(|part| part["content"].as_str().unwrap().to_owned())
        .collect()
}

fn delete(running: &Running, account: usize, session: &str) -> Answer {
    call(
        running,
        account,
        "/dialog/session/delete",
        &json!({"sessionId": session}),
    )
    .ask(running)
}

#[test]
fn streams_the_whole_text_again_and_again() {
    let qwen = start("qwen");
    let said = "你好👋🏽 data: \"x\"\n\n\u{2028}end";
    let answer = asking(&qwen, &question(&format!("echo:{said}"))).ask(&qwen);
    assert_eq!(
        answer.headers["content-type"],
        "text/event-stream;charset=UTF-8"
    );
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    let frames = frames(&answer);
    assert_eq!(frames[0]["contents"], Value::Null);
    let last = frames.last().unwrap();
    assert_eq!(
        (&last["msgStatus"], &last["canShare"]),
        (&json!("finished"), &json!(true))
    );
    assert_eq!(parts(last, "text"), [said]);
    assert!(answer.text().contains("data:{") && answer.text().contains("data: {"));
    assert!(
        answer.text().contains('\u{fffd}'),
        "a half character is shown"
    );
    let session = last["sessionId"].as_str().unwrap();
    assert!(
        delete(&qwen, 1, session).value()["success"]
            .as_bool()
            .unwrap()
    );
    let state = qwen.control().state();
    assert_eq!(
        (
            state.created,
            state.deleted,
            state.conversations,
            state.open_streams
        ),
        (1, 1, 0, 0)
    );
    assert!(state.violations.is_empty(), "{:?}", state.violations);
}

#[test]
fn thinks_and_searches_when_asked() {
    let qwen = start("qwen");
    let mut body = question("think:先想想 echo:答案是42");
    body["params"]["searchType"] = json!("depth");
    body["feature_config"]["search_enabled"] = json!(true);
    let frames = frames(&asking(&qwen, &body).ask(&qwen));
    let last = frames.last().unwrap();
    assert_eq!(parts(last, "think"), [r#"{"content":"先想想"}"#]);
    assert_eq!(parts(last, "text"), ["答案是42"]);
    assert!(parts(last, "referenceLink")[0].contains("https://example.com/1"));
    let plugin: Value = serde_json::from_str(&parts(last, "plugin")[0]).unwrap();
    assert!(
        plugin["pluginResult"]
            .as_str()
            .unwrap()
            .contains("expired_url")
    );
    assert!(last.get("canShare").is_none());
}

#[test]
fn quirks_end_in_the_same_text() {
    let qwen = start("qwen");
    for quirk in qwen.control().known_quirks() {
        qwen.control()
            .script(Script {
                quirks: vec![(*quirk).to_owned()],
                ..Script::default()
            })
            .unwrap();
        let answer = asking(&qwen, &question("echo:一二三四五六七八九十 and so on")).ask(&qwen);
        let last = frames(&answer).pop().unwrap();
        if *quirk != "no_finished" {
            assert_eq!(
                parts(&last, "text").concat(),
                "一二三四五六七八九十 and so on",
                "{quirk}"
            );
        }
        assert_eq!(answer.text().contains("[DONE]"), *quirk != "no_done");
    }
}

#[test]
fn continues_a_session_and_takes_history_apart() {
    let qwen = start("qwen");
    let prompt = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\necho:x\ny<|im_end|>\n";
    let answer = asking(&qwen, &question(prompt)).ask(&qwen);
    let last = frames(&answer).pop().unwrap();
    assert_eq!(parts(&last, "text"), ["x\ny"]);
    let asked = &qwen.control().calls("ask")[0];
    assert_eq!(
        (asked.turns[0].role.as_str(), asked.turns[0].text.as_str()),
        ("system", "S")
    );
    let mut more = question("echo:again");
    more["sessionId"] = last["sessionId"].clone();
    more["parentMsgId"] = last["msgId"].clone();
    more["userAction"] = json!("chat");
    assert_eq!(
        parts(
            &frames(&asking(&qwen, &more).ask(&qwen)).pop().unwrap(),
            "text"
        ),
        ["again"]
    );
    let session = last["sessionId"].as_str().unwrap();
    let rows = call(
        &qwen,
        1,
        "/dialog/chat/list",
        &json!({"sessionId": session}),
    )
    .ask(&qwen)
    .value();
    assert_eq!(rows["data"].as_array().unwrap().len(), 4);
    // Another account neither sees nor continues it.
    assert_eq!(
        call(&qwen, 2, "/dialog/session/list", &json!({}))
            .ask(&qwen)
            .value()["data"],
        json!([])
    );
    assert_eq!(
        delete(&qwen, 2, session).value()["errorCode"],
        "SESSION_NO_EXIST"
    );
    more["requestId"] = json!(uuid());
    let stranger =
        call(&qwen, 2, "/dialog/conversation", &more).header("Accept", "text/event-stream");
    assert!(stranger.ask(&qwen).text().contains("SESSION_NO_EXIST"));
}

/// Sends a wrong request and checks the refusal and the record of it.
fn refused(running: &Running, request: &Request, status: u16, code: &str) {
    let answer = request.ask(running);
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(code), "{code}: {}", answer.text());
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok && last.violation.is_some(), "{last:?}");
}

#[test]
fn plays_a_recorded_answer_byte_for_byte() {
    let qwen = start("qwen");
    let sample = "data: {\"contents\":null}\n\ndata:{\"msgStatus\":\"finished\"}\n\n";
    let script = Script {
        raw: Some(sample.to_owned()),
        write_bytes: Some(5),
        ..Script::default()
    };
    qwen.control().script(script).unwrap();
    assert_eq!(asking(&qwen, &question("hi")).ask(&qwen).text(), sample);
}
