//! What is refused: wrong requests (wire/minimax.md §2, §5, §12), and good ones on a bad day (§7).

use super::*;

#[test]
fn refuses_wrong_queries() {
    let minimax = start("minimax");
    let good = || plan(&minimax, 1, "GET", &format!("{CLOUD}/config"), "");
    for name in ["sys_language", "region", "uuid", "client"] {
        let mut wrong = good();
        wrong.members.retain(|(own, _)| *own != name);
        refused(
            &minimax,
            &wrong.signed(&minimax),
            401,
            "",
            "members of the query",
        );
    }
    let mut wrong = good();
    wrong.members.swap(0, 1);
    refused(
        &minimax,
        &wrong.signed(&minimax),
        401,
        "",
        "members of the query",
    );
    for (name, value) in [
        ("browser_name", "chrome"),
        ("device_memory", "8"),
        ("region", "en"),
    ] {
        refused(
            &minimax,
            &good().set(name, value).signed(&minimax),
            401,
            "",
            name,
        );
    }
    refused(
        &minimax,
        &good().set("user_id", "440011223344556677").signed(&minimax),
        401,
        "",
        "user_id",
    );
    refused(
        &minimax,
        &good().set("token", "x").signed(&minimax),
        401,
        "",
        "header",
    );
    let hex = good().set("device_id", "12ab34cd").signed(&minimax);
    refused(&minimax, &hex, 400, "1406011050", "decimal");
    let later = format!("{}001", now());
    refused(
        &minimax,
        &good().set("unix", &later).signed(&minimax),
        400,
        "invalid signature",
        "unix",
    );
}

#[test]
fn refuses_wrong_signatures_and_tokens() {
    let minimax = start("minimax");
    let good = || plan(&minimax, 1, "GET", &format!("{CLOUD}/config"), "");
    for name in ["yy", "x-signature"] {
        let wrong = good().signed(&minimax).header(name, md5("x"));
        refused(&minimax, &wrong, 400, "invalid signature", name);
        refused(
            &minimax,
            &good().signed(&minimax).without(name),
            400,
            "invalid signature",
            name,
        );
    }
    let mut old = good();
    old.seconds -= 90_000;
    let unix = format!("{}000", old.seconds);
    refused(
        &minimax,
        &old.set("unix", &unix).signed(&minimax),
        400,
        "invalid signature",
        "x-timestamp",
    );
    refused(
        &minimax,
        &good().signed(&minimax).without("token"),
        401,
        "",
        "no token",
    );
    let mut quoted = good();
    quoted.token = format!("\"{}\"", quoted.token);
    refused(&minimax, &quoted.signed(&minimax), 401, "", "no account");
    // Forgiven, but noted.
    for (name, why) in [
        ("Origin", "origin"),
        ("Referer", "referer"),
        ("Accept", "accept"),
        ("Sec-Ch-Ua", "sec-ch-ua"),
        ("User-Agent", "User-Agent"),
    ] {
        let answer = good().signed(&minimax).without(name).ask(&minimax);
        assert_eq!(answer.status, 200, "{name}");
        let noted = minimax.control().log().pop().unwrap();
        assert!(noted.violation.unwrap().contains(why), "{name}");
    }
}

#[test]
fn a_message_signs_the_absolute_url() {
    let minimax = start("minimax");
    prepare(&minimax, 1);
    let session = open(&minimax, 1);
    let body = message_body("echo:hi", "");
    let path_only = Plan {
        absolute: false,
        ..message(&minimax, &session, &body)
    };
    let answer = path_only
        .signed(&minimax)
        .header("Accept", "text/event-stream")
        .ask(&minimax);
    assert_eq!(answer.status, 200);
    let noted = minimax.control().log().pop().unwrap();
    assert!(noted.violation.unwrap().contains("absolute"));
    let other = message(&minimax, &session, &message_body("hi", ""))
        .signed_over(&minimax, |target| target.replace("http://", "https://"));
    refused(&minimax, &other, 400, "invalid signature", "yy");
}

#[test]
fn account_calls_know_both_forms() {
    let minimax = start("minimax");
    let control = minimax.control();
    let path = "/v1/api/user/info";
    let info = || plan(&minimax, 2, "GET", path, "").set("user_id", "");
    let real = info().signed(&minimax).ask(&minimax).value();
    assert_eq!(real["data"]["userInfo"]["realUserID"], REAL[1]);
    control.fault("op_ticket", 1).unwrap();
    assert_eq!(
        info().signed(&minimax).ask(&minimax).text(),
        "invalid signature"
    );
    control.fault("op_ticket", 1).unwrap();
    let ticket =
        |target: &str| target.replace("&screen_width", "&op_ticket=undefined&screen_width");
    let other = info()
        .set("user_id", "0")
        .signed_over(&minimax, ticket)
        .ask(&minimax);
    assert_eq!(other.status, 200);
    assert!(
        control.state().violations.is_empty(),
        "{:?}",
        control.state()
    );
    let path = "/v1/api/user/renewal";
    let wrong = plan(&minimax, 3, "POST", path, "{}")
        .set("user_id", "0")
        .signed(&minimax);
    refused(&minimax, &wrong, 401, "", "user_id");
    let renewed = post(&minimax, 3, path, "{}").value();
    let mut with_new = plan(&minimax, 3, "GET", &format!("{CLOUD}/config"), "");
    with_new.token = renewed["data"]["token"].as_str().unwrap().to_owned();
    let token = with_new.token.clone();
    assert_eq!(
        with_new
            .set("token", &token)
            .signed(&minimax)
            .ask(&minimax)
            .status,
        200
    );
    assert_eq!(
        get(&minimax, 3, &format!("{CLOUD}/config")).status,
        200,
        "the old one stays good"
    );
    assert_eq!(post(&minimax, 1, path, "{}").status, 200);
    let noted = control.log().pop().unwrap();
    assert!(noted.violation.unwrap().contains("ten days"));
    let credit = post(
        &minimax,
        1,
        "/matrix/api/v1/commerce/get_membership_info",
        "{}",
    );
    assert_eq!(
        credit.value()["op_credit_summary"]["total_remaining_amount"],
        "1200"
    );
}

#[test]
fn refuses_wrong_sessions_and_messages() {
    let minimax = start("minimax");
    prepare(&minimax, 1);
    let path = format!("{CLOUD}/agent/{}/session", AGENTS[0]);
    for (body, why) in [
        (r#"{"model":{}}"#, "provider_id"),
        (r#"{"model":"MiniMax-M3"}"#, "provider_id"),
        (
            r#"{"model":{"provider_id":"minimax","model_id":"MiniMax-M3"}}"#,
            "reasoning",
        ),
        (
            r#"{"model":{"provider_id":"minimax","model_id":"M4","reasoning":true}}"#,
            "config",
        ),
        (r#"{}"#, "neither"),
    ] {
        let wrong = plan(&minimax, 1, "POST", &path, body).signed(&minimax);
        refused(&minimax, &wrong, 200, "2013", why);
    }
    let other_forms = [
        r#"{"team_mode_off":true,"model":{"provider_id":"minimax","model_id":"MiniMax-M3"}}"#
            .to_owned(),
        format!(r#"{{"agent_id":"{}","worktreeMode":false}}"#, AGENTS[0]),
    ];
    for body in &other_forms {
        assert!(post(&minimax, 1, &path, body).value()["session_id"].is_string());
    }
    let session = open(&minimax, 1);
    let good = || message_body("hi", "");
    for (body, why) in [
        (
            good().replace("\"variant\":\"\"", "\"variant\":\"deep\""),
            "variant",
        ),
        (
            good().replace("\"content\":\"hi\"", "\"content\":\"\""),
            "content",
        ),
        (good().replace("\"minimax\"", "\"openai\""), "provider_id"),
        (good().replace(":false", ":true"), "worktreeMode"),
        (
            good().replace("\"turn_id\":\"", "\"turn_id\":\"x"),
            "turn_id",
        ),
    ] {
        refused(
            &minimax,
            &message(&minimax, &session, &body).signed(&minimax),
            200,
            "2013",
            why,
        );
    }
    let nowhere = message(&minimax, "417302981443021", &good()).signed(&minimax);
    refused(&minimax, &nowhere, 200, "1022100011", "no session");
    let once = good();
    assert_eq!(asked(&minimax, &session, &once).status, 200);
    refused(
        &minimax,
        &message(&minimax, &session, &once).signed(&minimax),
        200,
        "2013",
        "used before",
    );
    archive(&minimax, &session);
    let gone = message(&minimax, &session, &good()).signed(&minimax);
    refused(&minimax, &gone, 200, "1022100011", "archived already");
}

#[test]
fn a_busy_session_is_left_alone() {
    let minimax = start("minimax");
    prepare(&minimax, 1);
    let session = open(&minimax, 1);
    let running = message(&minimax, &session, &message_body("pace:20 count:500", ""));
    let mut answer = running
        .signed(&minimax)
        .header("Accept", "text/event-stream")
        .send(&minimax)
        .unwrap();
    assert!(answer.chunk().unwrap());
    refused(
        &minimax,
        &message(&minimax, &session, &message_body("hi", "")).signed(&minimax),
        409,
        "busy",
        "still answers",
    );
    assert_eq!(archive(&minimax, &session).status, 409);
    drop(answer);
    crate::client::until(|| minimax.control().state().open_streams == 0);
    assert_eq!(archive(&minimax, &session).status, 200);
    assert!(minimax.control().calls("ask")[0].aborted);
}

#[test]
fn faults_look_as_the_page_has_them() {
    let minimax = start("minimax");
    prepare(&minimax, 1);
    let control = minimax.control();
    let under = |fault: &str| {
        control.fault(fault, 1).unwrap();
        ask(&minimax, "count:9", "")
    };
    for (fault, status, text) in [
        ("unauthorized", 401, ""),
        ("odd_user", 401, "1000021"),
        ("login_needed", 200, "1000048"),
        ("session_invalid", 200, "1022100011"),
        ("invalid_signature", 400, "invalid signature"),
        ("device_refused", 400, "1406011050"),
        ("verification", 403, "Just a moment..."),
        ("busy", 409, "busy"),
        ("chat_running", 200, "chat is running"),
        ("rate_1039", 200, "1039"),
        ("rate_limited", 429, ""),
        (
            "quota_text",
            200,
            "42212: 已达到 Token Plan 用量上限 (2056)",
        ),
        (
            "no_resources",
            200,
            "No conversation resources are available. Subscribe to continue.",
        ),
        ("payment", 402, ""),
        ("moderated_1026", 200, "1026"),
        ("moderated_text", 200, "敏感"),
        ("sandbox", 200, "sandbox connection error"),
        (
            "not_prepared",
            500,
            "[1400010501] Environment Variables not configured",
        ),
        ("unavailable_1013", 200, "1013"),
        ("html_200", 200, "<html>"),
    ] {
        let answer = under(fault);
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(text), "{fault}: {}", answer.text());
    }
    assert_eq!(
        under("rate_limited_retry_after").headers["retry-after"],
        "7"
    );
    let said = |fault: &str| increments(&under(fault), "msg_content");
    assert_eq!(said("error_record"), "");
    assert_eq!(said("error_record_after_text"), "1 2");
    assert_eq!(said("cut_off"), "1 2");
    assert_eq!(said("empty"), "");
    assert!(
        under("error_record_after_text")
            .text()
            .contains(r#"{"type":"error","message":"internal error"}"#)
    );
    let failed = under("error_finish_after_text");
    assert!(
        failed.text().contains(r#""finish_reason":"error""#)
            && failed.text().contains("Connection error.")
    );
    assert!(under("quota_record").text().contains("2056"));
    assert!(
        under("moderated_after_text")
            .text()
            .contains(r#""base_resp":{"status_code":1027"#)
    );
    assert!(
        under("bad_record_after_text")
            .text()
            .ends_with("\"agent_mess\n\n")
    );
    assert!(!under("cut_off").text().contains("[DONE]"));
    for (fault, step) in [("archive_busy", 409), ("archive_refused", 200)] {
        control.fault(fault, 1).unwrap();
        let session = open(&minimax, 1);
        let refused = archive(&minimax, &session);
        assert_eq!(refused.status, step);
        assert_eq!(refused.value().get("success"), None);
    }
}
