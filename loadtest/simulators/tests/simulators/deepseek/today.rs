//! What the service has had since 2026-11: logins that want a real device, `check_device`, two side channels,
//! `resume_stream` (wire/deepseek.md §2, §3, §4, §8).

use std::time::Duration;

use super::*;

const DEVICE: &str = "7d9f2c1e-5b3a-4c8d-9e6f-0a1b2c3d4e5f";
const LOGIN_DEVICE: &str =
    "BSimDevice0Kq7+N2rT9wXy4ZbLm8PdQs5HgFj3CkAeUoRiWtVn6SxGz1Yh0DcMf7Ba/p2Uu8Ee3Rr5Tt6Yy1Gg==";
const RESUME: &str = "/api/v0/chat/resume_stream";

fn today() -> Running {
    let deepseek = start("deepseek");
    deepseek.control().set_generation("v2.5").unwrap();
    deepseek
}

/// The headers of the site of 2026-11.
fn modern(mut request: Request) -> Request {
    for (name, value) in [
        ("X-Client-Version", "2.5.0"),
        ("X-Client-Bundle-Id", "com.deepseek.chat"),
        ("X-Device-Id", DEVICE),
    ] {
        request = request.header(name, value);
    }
    request
}

fn log_in(running: &Running, device: &str) -> Request {
    let body = json!({
        "email": "sim-1@example.com", "mobile": null, "area_code": null, "password": "sim-password", "device_id": device,
        "os": "web",
    });
    modern(call(running, 1, "POST", "/api/v0/users/login"))
        .without("Authorization")
        .header("Referer", format!("{}/sign_in", running.url))
        .json(&body)
}

fn last_violation(running: &Running) -> Option<String> {
    running.control().log().pop().unwrap().violation
}

#[test]
fn a_login_wants_the_device_of_a_browser() {
    let deepseek = today();
    let answer = log_in(&deepseek, LOGIN_DEVICE).ask(&deepseek).value();
    let user = &answer["data"]["biz_data"]["user"];
    assert_eq!(user["chat"], json!({"is_muted": 0, "mute_until": null}));
    assert!(user["token"].is_string());
    no_violations(&deepseek);
    for device in ["", "BSimDevice"] {
        let answer = log_in(&deepseek, device).ask(&deepseek).text();
        assert_eq!(
            answer,
            r#"{"code":0,"msg":"","data":{"biz_code":11,"biz_data":null,"biz_msg":"RISK_DEVICE_DETECTED"}}"#
        );
    }
    refused(
        &deepseek,
        &log_in(&deepseek, ""),
        200,
        "RISK_DEVICE_DETECTED",
    );
    assert!(
        last_violation(&deepseek)
            .unwrap()
            .contains("no further attempt")
    );
    assert_eq!(
        deepseek.control().calls("login").len(),
        4,
        "attempts are counted"
    );
}

#[test]
fn refused_logins_are_ordered_and_counted() {
    let deepseek = start("deepseek");
    let control = deepseek.control();
    for (fault, account, what) in [
        ("login_risk", 1, r#""biz_code":11"#),
        (
            "login_banned",
            2,
            r#""biz_code":10,"biz_data":null,"biz_msg":"USER_IS_BANNED""#,
        ),
    ] {
        control.fault(fault, 0).unwrap();
        let mut body: Value = serde_json::from_slice(&log_in(&deepseek, "").body).unwrap();
        body["email"] = json!(format!("sim-{account}@example.com"));
        let log_in = || log_in(&deepseek, "").json(&body).ask(&deepseek).text();
        assert!(log_in().contains(what), "{what}");
        assert_eq!(last_violation(&deepseek), None);
        log_in();
        assert!(
            last_violation(&deepseek)
                .unwrap()
                .contains("no further attempt")
        );
        control.clear_faults();
    }
    assert_eq!(control.calls("login").len(), 4);
    control.fault("login_muted", 1).unwrap();
    let muted = log_in(&deepseek, LOGIN_DEVICE).ask(&deepseek).value();
    assert_eq!(muted["data"]["biz_data"]["user"]["chat"]["is_muted"], 1);
}

#[test]
fn a_device_is_checked_once_and_may_rotate_the_token() {
    let deepseek = today();
    let check = |account: usize, device: &str| {
        let path = "/api/v0/users/auth_token/check_device";
        modern(call(&deepseek, account, "POST", path))
            .json(&json!({"device_id": device, "device_model": ""}))
    };
    let answer = check(1, DEVICE).ask(&deepseek).value();
    assert_eq!(answer["data"]["biz_data"], json!({"rotate": null}));
    no_violations(&deepseek);
    check(1, DEVICE).ask(&deepseek);
    assert!(
        last_violation(&deepseek)
            .unwrap()
            .contains("checked before")
    );
    refused(&deepseek, &check(2, "other"), 200, "INVALID_PARAM");
    for (account, fault, member) in [
        (2, "rotate_text", "/rotate"),
        (3, "rotate_object", "/rotate/token"),
    ] {
        deepseek.control().fault(fault, 1).unwrap();
        let answer = check(account, DEVICE).ask(&deepseek).value();
        let token = answer["data"]["biz_data"]
            .pointer(member)
            .unwrap()
            .as_str()
            .unwrap();
        let current = modern(call(&deepseek, account, "GET", "/api/v0/users/current"));
        assert!(current.ask(&deepseek).text().contains("40003"), "{fault}");
        let fresh = current.header("Authorization", format!("Bearer {token}"));
        assert_eq!(fresh.ask(&deepseek).value()["code"], 0);
    }
}

#[test]
fn the_headers_and_fields_of_today_are_missed() {
    let deepseek = today();
    let good = || modern(call(&deepseek, 1, "GET", "/api/v0/users/current"));
    good().ask(&deepseek);
    no_violations(&deepseek);
    for (name, value) in [
        ("X-Client-Version", "2.0.0"),
        ("X-Client-Bundle-Id", "com.example"),
        ("X-App-Version", "20241129.1"),
        ("X-Device-Model", "Pixel"),
        ("X-Device-Id", "phone"),
    ] {
        assert_eq!(good().header(name, value).ask(&deepseek).value()["code"], 0);
        let violation = last_violation(&deepseek).unwrap();
        assert!(violation.contains(&name.to_lowercase()), "{violation}");
    }
    let id = session(&deepseek);
    let mut body = question(&id, "echo:x");
    for (name, value) in [
        ("model_type", json!("default")),
        ("source", json!("input")),
        ("action", json!(null)),
        ("preempt", json!(false)),
    ] {
        body[name] = value;
    }
    modern(asking(&deepseek, &body)).ask(&deepseek);
    assert_eq!(last_violation(&deepseek), None);
    let id = session(&deepseek);
    modern(asking(&deepseek, &question(&id, "echo:x"))).ask(&deepseek);
    assert!(last_violation(&deepseek).unwrap().contains("source"));
    let mut wrong = question(&id, "hi");
    wrong["source"] = json!(1);
    refused(
        &deepseek,
        &modern(asking(&deepseek, &wrong)),
        422,
        "body.source",
    );
}

#[test]
fn two_side_channels_give_values_with_a_time() {
    let deepseek = today();
    assert!(setting(&deepseek, "DEEPSEEK_HIF_DLIQ_BASE_URL").ends_with("/hif-dliq"));
    let get = |path: &str| {
        let answer = call(&deepseek, 1, "GET", path)
            .without("Authorization")
            .ask(&deepseek);
        let value = answer.value()["data"]["biz_data"]["value"]
            .as_str()
            .unwrap()
            .to_owned();
        (answer.headers.get("x-hif-ttl").cloned(), value)
    };
    let (ttl, leim) = get("/query");
    let (_, dliq) = get("/hif-dliq/query");
    assert_eq!((ttl.as_deref(), leim.len()), (Some("600"), 73));
    let asked = |name: &'static str, value: &str| {
        let id = session(&deepseek);
        asking(&deepseek, &question(&id, "echo:x"))
            .header(name, value)
            .ask(&deepseek);
        last_violation(&deepseek).unwrap_or_default()
    };
    assert!(!asked("X-Hif-Leim", &leim).contains("hif"));
    assert!(!asked("X-Hif-Dliq", &dliq).contains("hif"));
    assert!(asked("X-Hif-Dliq", &leim).contains("other side channel"));
    assert!(asked("X-Hif-Leim", "invented").contains("invented"));
    modern(call(&deepseek, 1, "GET", "/api/v0/users/current"))
        .header("X-Hif-Leim", leim)
        .ask(&deepseek);
    assert!(
        last_violation(&deepseek)
            .unwrap()
            .contains("questions only")
    );
    deepseek.control().fault("hif_no_ttl", 1).unwrap();
    assert_eq!(get("/query").0, None);
    deepseek.control().fault("hif_short_ttl", 1).unwrap();
    let (ttl, short) = get("/query");
    assert_eq!(ttl.as_deref(), Some("1"));
    std::thread::sleep(Duration::from_millis(2100));
    assert!(asked("X-Hif-Leim", &short).contains("older than its time"));
    let with_token = call(&deepseek, 1, "GET", "/query");
    with_token.ask(&deepseek);
    assert!(last_violation(&deepseek).unwrap().contains("authorization"));
}

/// An answer that breaks off after two pieces, in a session of its own.
fn broken(running: &Running) -> (String, String) {
    running.control().fault("disconnect_after_text", 1).unwrap();
    let id = session(running);
    let mut answer = asking(running, &question(&id, "count:6"))
        .send(running)
        .unwrap();
    assert!(answer.rest().is_err());
    (id, answer.text())
}

#[test]
fn a_broken_answer_is_resumed_once() {
    let deepseek = start("deepseek");
    let resume = |id: &str| {
        let body = json!({"chat_session_id": id, "message_id": 2});
        call(&deepseek, 1, "POST", RESUME).json(&body)
    };
    let (id, text) = broken(&deepseek);
    assert!(
        text.contains(r#""v":" 2""#) && !text.contains(r#""v":" 3""#),
        "{text}"
    );
    let resumed = resume(&id).ask(&deepseek).text();
    assert!(
        resumed
            .starts_with("event: ready\ndata: {\"request_message_id\":1,\"response_message_id\":2")
    );
    assert!(
        resumed.contains(r#""content":"1 2"#),
        "a snapshot of everything so far: {resumed}"
    );
    assert!(resumed.contains(r#""v":" 6""#) && resumed.contains("FINISHED"));
    no_violations(&deepseek);
    let again = resume(&id).ask(&deepseek).value();
    assert_eq!(again["data"]["biz_code"], 22);
    assert!(last_violation(&deepseek).unwrap().contains("second time"));

    let (id, _) = broken(&deepseek);
    deepseek.control().fault("resume_finished", 1).unwrap();
    let finished = resume(&id).ask(&deepseek).value();
    let data = &finished["data"];
    assert_eq!(
        (&data["biz_code"], &data["biz_msg"]),
        (&json!(22), &json!("invalid message status"))
    );
    assert_eq!(data["biz_data"]["fragments"][0]["content"], "1 2 3 4 5 6");
    assert_eq!(data["biz_data"]["status"], "FINISHED");

    let (id, _) = broken(&deepseek);
    deepseek.control().fault("resume_refused", 1).unwrap();
    assert!(
        resume(&id)
            .ask(&deepseek)
            .text()
            .contains("ILLEGAL_CHAT_SESSION_ID")
    );
    refused(&deepseek, &resume("x"), 200, "ILLEGAL_CHAT_SESSION_ID");
}

#[test]
fn sessions_come_page_by_page() {
    let deepseek = start("deepseek");
    let ids: Vec<_> = (0..101).map(|_| session(&deepseek)).collect();
    let page = |cursor: &str| {
        let path = format!("/api/v0/chat_session/fetch_page?lte_cursor.pinned=false{cursor}");
        call(&deepseek, 1, "GET", &path).ask(&deepseek).value()["data"]["biz_data"].clone()
    };
    let first = page("");
    assert_eq!(
        (
            &first["has_more"],
            first["chat_sessions"].as_array().unwrap().len()
        ),
        (&json!(true), 100)
    );
    let last = &first["chat_sessions"][99]["updated_at"];
    let second = page(&format!("&lte_cursor.updated_at={last}"));
    assert_eq!(second["has_more"], false);
    assert_eq!(second["chat_sessions"][0]["id"], ids[0]);
    no_violations(&deepseek);
    let bare = call(&deepseek, 1, "GET", "/api/v0/chat_session/fetch_page");
    refused(&deepseek, &bare, 200, "INVALID_PARAM");
}

#[test]
fn the_older_service_has_none_of_it() {
    let deepseek = start("deepseek");
    deepseek.control().set_generation("v2.0").unwrap();
    for (method, path) in [
        ("POST", RESUME),
        ("POST", "/api/v0/users/auth_token/check_device"),
        ("GET", "/hif-dliq/query"),
        (
            "GET",
            "/api/v0/chat_session/fetch_page?lte_cursor.pinned=false",
        ),
    ] {
        let request = call(&deepseek, 1, method, path).json(&json!({}));
        assert!(request.ask(&deepseek).text().contains("<html>"), "{path}");
    }
    let answer = log_in(&deepseek, "").ask(&deepseek).value();
    assert!(answer["data"]["biz_data"]["user"]["token"].is_string());
    no_violations(&deepseek);
}
