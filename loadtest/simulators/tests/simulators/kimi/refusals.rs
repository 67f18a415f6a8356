//! What kimi refuses: wrong requests, and good ones on a bad day (§7).

use super::*;

#[test]
fn refuses_wrong_credentials_and_headers() {
    let kimi = start("kimi");
    let good = || asking(&kimi, &question("hi"));
    let token = setting(&kimi, "KIMI_TOKEN_2");
    for request in [
        good().without("Authorization"),
        good().header("Authorization", "Bearer x"),
        good().header("Authorization", format!("Bearer {token}")),
        good().header("x-msh-device-id", "1"),
        good().header("x-msh-session-id", "1"),
        good().header("x-traffic-id", "u2"),
    ] {
        refused(&kimi, &request, 401, "REASON_INVALID_AUTH_TOKEN");
    }
    refused(
        &kimi,
        &good().header("Content-Type", "application/json"),
        415,
        "",
    );
    refused(
        &kimi,
        &good().without("Connect-Protocol-Version"),
        400,
        "invalid_argument",
    );
    let mut wrong = good();
    wrong.method = "GET";
    refused(&kimi, &wrong, 405, "");
    wrong.path = "/apiv2/nothing".to_owned();
    refused(&kimi, &wrong, 404, "");
    // Forgiven, but noted.
    for (name, value) in [
        ("x-msh-platform", "ios"),
        ("x-msh-version", "9"),
        ("r-timezone", "UTC"),
        ("Referer", "https://example.com/"),
        ("User-Agent", "awc/3"),
        ("Connect-Accept-Encoding", "gzip"),
        ("Accept-Encoding", "gzip, br"),
        ("x-msh-shield-data", "x"),
    ] {
        assert_eq!(good().header(name, value).ask(&kimi).status, 200);
        assert!(
            kimi.control().log().pop().unwrap().violation.is_some(),
            "{name}"
        );
    }
}

#[test]
fn a_token_without_claims_wants_ids_that_stay() {
    let kimi = start("kimi");
    let third = |request: Request| {
        request
            .header(
                "Authorization",
                format!("Bearer {}", setting(&kimi, "KIMI_TOKEN_3")),
            )
            .header("x-msh-device-id", "7123456789012345678")
            .header("x-msh-session-id", "1731000000000000000")
    };
    let user = third(call(&kimi, "GET", "/api/user?t=1767780000000")).without("x-traffic-id");
    let id = user.ask(&kimi).value()["id"].as_str().unwrap().to_owned();
    let good = || third(asking(&kimi, &question("echo:x"))).header("x-traffic-id", id.clone());
    assert_eq!(text(&good().ask(&kimi)), "x");
    no_violations(&kimi);
    let other = good().header("x-msh-device-id", "7000000000000000000");
    refused(&kimi, &other, 401, "unauthenticated");
}

#[test]
fn refuses_wrong_bodies() {
    let kimi = start("kimi");
    let mut bare = asking(&kimi, &json!({}));
    bare.body = question("hi").to_string().into_bytes();
    refused(&kimi, &bare, 200, "invalid_argument");
    for (pointer, value) in [
        ("/scenario", json!("SCENARIO_K9")),
        ("/message", json!([])),
        ("/message/role", json!("system")),
        ("/message/scenario", json!("SCENARIO_K2")),
        ("/message/blocks", json!([])),
        ("/message/blocks/0/text/content", json!("")),
        (
            "/message/blocks/0",
            json!({"message_id": "", "file": {"id": "x", "status": "3"}}),
        ),
        ("/tools", json!([{"type": "function"}])),
        ("/options/thinking", json!("true")),
    ] {
        let mut body = question("hi");
        *body.pointer_mut(pointer).unwrap() = value;
        refused(
            &kimi,
            &asking(&kimi, &body),
            200,
            r#"{"error":{"code":"invalid_argument""#,
        );
    }
    let mut half = question("hi");
    half["chat_id"] = json!("x");
    refused(&kimi, &asking(&kimi, &half), 200, "invalid_argument");
    let mut empty = question("hi");
    empty["chat_id"] = json!("");
    assert_eq!(asking(&kimi, &empty).ask(&kimi).status, 200);
    let last = kimi.control().log().pop().unwrap();
    assert!(last.ok && last.violation.unwrap().contains("left out"));
}

#[test]
fn faults_look_as_the_page_has_them() {
    let kimi = start("kimi");
    let control = kimi.control();
    let under = |fault: &str| {
        control.fault(fault, 1).unwrap();
        ask(&kimi, "count:9")
    };
    for (fault, status, code) in [
        ("unauthenticated", 401, "unauthenticated"),
        ("permission_denied", 403, "permission_denied"),
        ("rate_limited", 429, "resource_exhausted"),
        ("internal", 500, "internal"),
        ("unavailable", 503, "unavailable"),
    ] {
        let answer = under(fault);
        assert_eq!(answer.status, status, "{fault}");
        assert_eq!(answer.value()["code"], code);
    }
    assert_eq!(
        under("rate_limited_retry_after").headers["retry-after"],
        "7"
    );
    for (fault, code) in [
        ("trailer_unauthenticated", "unauthenticated"),
        ("trailer_model_rate_limit", "MODEL_RATE_LIMIT"),
        ("trailer_failed_precondition", "failed_precondition"),
    ] {
        let (flags, last) = envelopes(&under(fault).body).pop().unwrap();
        assert_eq!((flags, &last["error"]["code"]), (2, &json!(code)));
    }
    let sample_c = envelopes(&under("trailer_overloaded").body);
    assert_eq!(sample_c.len(), 2);
    assert_eq!(
        sample_c[1].1["error"]["details"][0]["debug"]["localizedMessage"]["message"],
        "busy"
    );
    assert_eq!(
        envelopes(&under("error_in_message").body).pop().unwrap().0,
        0
    );
    assert_eq!(control.state().created, 1, "what is refused opens no chat");
    let after = under("overloaded_after_text");
    assert_eq!(text(&after), "1 2");
    assert!(envelopes(&after.body).pop().unwrap().1["error"].is_object());
    let exception = envelopes(&under("exception_overloaded").body);
    assert!(
        exception
            .iter()
            .any(|(_, event)| event.pointer("/block/exception/error/reason").is_some())
    );
    assert_eq!(exception.last().unwrap(), &(2, json!({})));
    let filtered = under("notification_filtered_after_text");
    assert_eq!(text(&filtered), "1 2");
    assert_eq!(text(&under("empty")), "");
    assert!(
        envelopes(&under("cut_off").body)
            .iter()
            .all(|(_, event)| event.get("done").is_none())
    );
    assert!(under("bad_flags").body.ends_with(b"\x40\0\0\0\x02{}"));
    no_violations(&kimi);
}
