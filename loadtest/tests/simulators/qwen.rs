//! wire/qwen.md, checked from the client's side.

use hive2api_loadtest::simulate::{Running, Script};
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
fn refuses_wrong_credentials_and_headers() {
    let qwen = start("qwen");
    let good = || asking(&qwen, &question("hi"));
    refused(
        &qwen,
        &good().without("Cookie"),
        401,
        "LOGIN_TICKET_INVALID",
    );
    refused(
        &qwen,
        &good().header("Cookie", "tongyi_sso_ticket=other; cna=x"),
        401,
        "LOGIN_TICKET_INVALID",
    );
    refused(
        &qwen,
        &good().without("X-Xsrf-Token"),
        403,
        "CSRF_CHECK_FAILED",
    );
    refused(
        &qwen,
        &good().header("X-Xsrf-Token", "sim%2F02%2Btoken%3D"),
        403,
        "CSRF_CHECK_FAILED",
    );
    for (name, value) in [
        ("X-Platform", "web"),
        ("Accept", PLAIN),
        ("User-Agent", "awc/3"),
        ("Content-Type", "text/plain"),
    ] {
        refused(&qwen, &good().header(name, value), 200, "PARAM_ERROR");
    }
    let mut wrong = good();
    wrong.method = "GET";
    refused(&qwen, &wrong, 405, "METHOD_NOT_ALLOWED");
    wrong.path = "/dialog/nothing".to_owned();
    refused(&qwen, &wrong, 404, "NOT_FOUND");
    // Forgiven, but noted.
    assert_eq!(good().without("Origin").ask(&qwen).status, 200);
    assert!(
        qwen.control()
            .log()
            .pop()
            .unwrap()
            .violation
            .unwrap()
            .contains("Origin")
    );
}

#[test]
fn accepts_every_account_and_its_bytes() {
    let qwen = start("qwen");
    for account in 1..=3 {
        let answer = call(&qwen, account, "/dialog/session/list", &json!({})).ask(&qwen);
        assert_eq!(answer.value()["data"], json!([]));
        assert_eq!(qwen.control().log().pop().unwrap().account, Some(account));
    }
    assert!(qwen.control().state().violations.is_empty());
    let cut = setting(&qwen, "CN_ACCOUNT_2_COOKIE").replace("通义用户", "");
    call(&qwen, 2, "/dialog/session/list", &json!({}))
        .header("Cookie", cut)
        .ask(&qwen);
    assert!(qwen.control().state().violations[0].contains("byte for byte"));
}

#[test]
fn refuses_wrong_bodies() {
    let qwen = start("qwen");
    let wrong: [(&str, Value); 12] = [
        ("/action", json!("prev")),
        ("/mode", json!(null)),
        ("/sessionType", json!("image_chat")),
        ("/requestId", json!("1")),
        ("/userAction", json!("chat")),
        ("/parentMsgId", json!("x")),
        ("/model", json!(7)),
        ("/params/deepThink", json!("false")),
        ("/params/searchType", json!("wide")),
        ("/params/fileUploadBatchId", json!("")),
        ("/feature_config/thinking_enabled", json!(true)),
        ("/contents", json!([])),
    ];
    for (pointer, value) in wrong {
        let mut body = question("hi");
        *body.pointer_mut(pointer).unwrap() = value;
        refused(&qwen, &asking(&qwen, &body), 200, "PARAM_ERROR");
    }
    let once = question("hi");
    asking(&qwen, &once).ask(&qwen);
    refused(&qwen, &asking(&qwen, &once), 200, "PARAM_ERROR");
    let mut unknown = question("hi");
    unknown["model"] = json!("gpt-9");
    assert!(
        asking(&qwen, &unknown)
            .ask(&qwen)
            .text()
            .contains("MODEL_NOT_SUPPORT")
    );
}

fn upload_form<'a>(token: &'a Value, key: &'a str) -> Vec<(&'a str, &'a str)> {
    let field = |name: &str| token[name].as_str().unwrap();
    vec![
        ("OSSAccessKeyId", field("accessId")),
        ("policy", field("policy")),
        ("signature", field("signature")),
        ("key", key),
        ("dir", field("dir")),
        ("success_action_status", "200"),
        (
            "file|; filename=\"a.png\"\r\nContent-Type: image/png",
            "PNG",
        ),
    ]
}

#[test]
fn takes_pictures_and_documents() {
    let qwen = start("qwen");
    let token = call(&qwen, 1, "/dialog/uploadToken", &json!({}))
        .ask(&qwen)
        .value()["data"]
        .clone();
    let dir = token["dir"].as_str().unwrap();
    let key = format!("{dir}a.png");
    let good = Request::new("POST", "/").form(&upload_form(&token, &key));
    assert_eq!(good.ask(&qwen).status, 200);
    let mut swapped = upload_form(&token, &key);
    swapped.swap(5, 6);
    refused(
        &qwen,
        &Request::new("POST", "/").form(&swapped),
        400,
        "MalformedPOSTRequest",
    );
    refused(
        &qwen,
        &Request::new("POST", "/").form(&upload_form(&token, "a.png")),
        403,
        "AccessDenied",
    );
    refused(
        &qwen,
        &good.header("Content-Type", "application/x-www-form-urlencoded"),
        400,
        "Malformed",
    );

    let link = json!({"fileKey": "a.png", "fileType": "image", "dir": dir});
    let url = call(&qwen, 1, "/dialog/downloadLink", &link)
        .ask(&qwen)
        .value()["data"]["url"]
        .clone();
    let with_key = json!({"fileKey": key, "fileType": "image", "dir": dir});
    refused(
        &qwen,
        &call(&qwen, 1, "/dialog/downloadLink", &with_key),
        200,
        "FILE_NOT_EXIST",
    );
    let mut body = question("echo:seen");
    let text = body["contents"][0].clone();
    body["contents"] = json!([text, {"role": "user", "contentType": "image", "content": url}]);
    assert!(asking(&qwen, &body).ask(&qwen).text().contains("seen"));
    body["requestId"] = json!(uuid());
    body["contents"][1]["content"] = json!("https://elsewhere/a.png");
    assert!(
        asking(&qwen, &body)
            .ask(&qwen)
            .text()
            .contains("FILE_NOT_EXIST")
    );

    let links = json!({"fileKeys": ["a.png"], "fileType": "file", "dir": dir});
    let document = call(&qwen, 1, "/dialog/downloadLink/batch", &links)
        .ask(&qwen)
        .value()["data"]["results"][0]
        .clone();
    let ext = json!({"fileSize": 3, "docId": document["docId"]});
    body["contents"][1] =
        json!({"role": "user", "contentType": "file", "content": document["url"], "ext": ext});
    let mut ask = || {
        body["requestId"] = json!(uuid());
        asking(&qwen, &body).ask(&qwen).text()
    };
    assert!(ask().contains("FILE_SEC_CHECKING"));
    let poll = || {
        call(
            &qwen,
            1,
            "/dialog/secResult/batch",
            &json!({"urls": [document["url"]]}),
        )
        .ask(&qwen)
        .value()
    };
    assert_eq!(poll()["data"]["pollEndFlag"], false);
    assert_eq!(poll()["data"]["pollEndFlag"], true);
    assert!(ask().contains("seen"));
}

#[test]
fn faults_look_as_the_page_has_them() {
    let qwen = start("qwen");
    let control = qwen.control();
    let under = |fault: &str| {
        control.fault(fault, 1).unwrap();
        asking(&qwen, &question("count:9")).ask(&qwen)
    };
    let not_login = r#""errorCode":"NOT_LOGIN""#;
    assert!(
        under("not_login").text().starts_with("data: {")
            && under("not_login").text().contains(not_login)
    );
    assert_eq!(under("login_ticket_invalid").status, 401);
    assert_eq!(under("rate_limited").headers.get("retry-after"), None);
    assert_eq!(
        under("rate_limited_retry_after").headers["retry-after"],
        "7"
    );
    assert_eq!(under("http_502").headers["content-type"], "text/html");
    assert_eq!(
        control.state().created,
        0,
        "what is refused opens no session"
    );

    let last = |answer: &Answer| frames(answer).pop().unwrap();
    let busy = last(&under("system_busy"));
    assert_eq!(busy["errorCode"], "SYSTEM_BUSY");
    assert_eq!(
        last(&under("system_busy_text"))["contents"][0]["content"],
        "抱歉，系统超时，请稍后重试"
    );
    let before = last(&under("moderated_before_text"));
    assert_eq!(
        (&before["canShare"], &before["contents"]),
        (&json!(false), &json!([]))
    );
    let after = last(&under("moderated_after_text"));
    assert_eq!(
        (&after["canShare"], parts(&after, "text")),
        (&json!(false), vec!["1 2".to_owned()])
    );
    assert_eq!(last(&under("empty"))["contents"], json!([]));
    assert_eq!(under("empty_body").text(), "");
    assert_eq!(control.state().created, 5);
    // After moderation even the deletion is refused (§9).
    assert_eq!(
        delete(&qwen, 1, after["sessionId"].as_str().unwrap()).status,
        500
    );
    assert_eq!(control.state().deleted, 1);
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

#[test]
fn takes_the_pre_warm_call_and_only_that() {
    let qwen = start("qwen");
    let body = json!({
        "pageNo": 1, "terminal": "web", "pageSize": 10000, "module": "uploadhistory",
        "fileTypes": ["file", "audio", "video"], "recordSources": ["chat", "zhiwen", "tingwu"],
        "status": [20, 30, 40, 41], "taskTypes": ["local", "net_source", "doc_read", "paper_read", "book_read"],
    });
    assert_eq!(
        call(&qwen, 1, "/assistant/api/record/list", &body)
            .ask(&qwen)
            .value()["success"],
        true
    );
    refused(
        &qwen,
        &call(&qwen, 1, "/assistant/api/record/list", &json!({})),
        200,
        "PARAM_ERROR",
    );
}
