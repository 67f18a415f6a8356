//! What is refused: wrong requests (wire/qwen.md §4), and good ones on a bad day (§8).

use super::*;

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
