//! What deepseek refuses: wrong requests, and good ones on a bad day (§7).

use super::*;

#[test]
fn refuses_wrong_credentials_and_headers() {
    let deepseek = start("deepseek");
    let good = || call(&deepseek, 1, "GET", "/api/v0/users/current");
    let quota = call(&deepseek, 1, "GET", "/api/v0/users/feature_quota").ask(&deepseek);
    assert_eq!(quota.value()["data"]["biz_data"]["thinking"]["quota"], 50);
    let settings = call(&deepseek, 1, "GET", "/api/v0/client/settings?scope=model");
    let models = settings.ask(&deepseek).value();
    assert_eq!(
        models["data"]["biz_data"]["settings"]["model_configs"]["value"][1]["input_character_limit"],
        163_840
    );
    no_violations(&deepseek);
    refused(
        &deepseek,
        &good().without("Authorization"),
        200,
        r#"{"code":40002,"msg":"Missing Token","data":null}"#,
    );
    refused(
        &deepseek,
        &good().header("Authorization", "Bearer x"),
        200,
        "40003",
    );
    refused(&deepseek, &good().without("User-Agent"), 429, "<html>");
    let mut unknown = good();
    unknown.path = "/api/v0/nothing".to_owned();
    refused(&deepseek, &unknown, 200, "<html>");
    // Forgiven, but noted.
    for (name, value) in [
        ("X-Client-Platform", "tv"),
        ("X-Client-Version", "x"),
        ("X-Client-Locale", "de_DE"),
        ("X-Hif-Leim", "invented"),
        ("Origin", "https://example.com"),
        ("X-Ds-Pow-Response", "e30="),
    ] {
        assert_eq!(good().header(name, value).ask(&deepseek).value()["code"], 0);
        let last = deepseek.control().log().pop().unwrap();
        assert!(last.ok && last.violation.is_some(), "{name}");
    }
    let hif = Request {
        headers: good().without("Authorization").headers,
        ..Request::new("GET", "/query")
    };
    let value = hif.ask(&deepseek).value()["data"]["biz_data"]["value"].clone();
    good()
        .header("X-Hif-Leim", value.as_str().unwrap())
        .ask(&deepseek);
    assert!(deepseek.control().log().pop().unwrap().violation.is_none());
}

#[test]
fn a_proof_is_checked_and_used_once() {
    let deepseek = start("deepseek");
    let id = session(&deepseek);
    let with = |proof: String| {
        call(&deepseek, 1, "POST", COMPLETION)
            .json(&question(&id, "echo:x"))
            .header("X-Ds-Pow-Response", proof)
    };
    refused(&deepseek, &with("%%%".to_owned()), 200, "40300");
    refused(
        &deepseek,
        &with(String::new()).without("X-Ds-Pow-Response"),
        200,
        "MISSING_HEADER",
    );
    let ours = || challenge(&deepseek, 1, COMPLETION);
    for wrong in [
        {
            let ours = ours();
            proof(&ours, &json!(solve(&ours).unwrap() + 1))
        },
        {
            let ours = ours();
            proof(&ours, &json!(solve(&ours).unwrap().to_string()))
        },
        proven(&deepseek, 1, UPLOAD),
        proven(&deepseek, 2, COMPLETION),
        {
            deepseek.control().fault("challenge_expired", 1).unwrap();
            proven(&deepseek, 1, COMPLETION)
        },
    ] {
        refused(&deepseek, &with(wrong), 200, "INVALID_POW_RESPONSE");
    }
    let once = with(proven(&deepseek, 1, COMPLETION));
    assert!(once.ask(&deepseek).text().contains("FINISHED"));
    refused(&deepseek, &once, 200, "40301");
}

#[test]
fn challenges_can_be_ordered_hard_and_broken() {
    let deepseek = start("deepseek");
    let ordered = |fault: &str| {
        deepseek.control().fault(fault, 1).unwrap();
        challenge(&deepseek, 1, COMPLETION)
    };
    let easy = challenge(&deepseek, 1, COMPLETION);
    assert!(solve(&easy).unwrap() < 500);
    assert_eq!(easy["difficulty"], 144_000);
    assert_eq!(easy["salt"].as_str().unwrap().len(), 20);
    assert_eq!(easy["signature"].as_str().unwrap().len(), 64);
    let beyond = |challenge: &Value, n: u64| {
        let prefix = format!(
            "{}_{}_",
            challenge["salt"].as_str().unwrap(),
            challenge["expire_at"]
        );
        hash(&format!("{prefix}{n}")) == challenge["challenge"]
    };
    assert!(beyond(&ordered("challenge_last"), 143_999));
    assert!(beyond(&ordered("challenge_unsolvable"), 144_000));
    assert_eq!(
        ordered("challenge_not_hex")["challenge"],
        "this is no challenge"
    );
    assert_eq!(
        ordered("challenge_unknown_algorithm")["algorithm"],
        "DeepSeekHashV2"
    );
    let path = json!({"target_path": "/api/v0/chat/continue"});
    let wrong = call(&deepseek, 1, "POST", "/api/v0/chat/create_pow_challenge").json(&path);
    refused(&deepseek, &wrong, 200, "INVALID_PARAM");
}

#[test]
fn refuses_wrong_bodies() {
    let deepseek = start("deepseek");
    let id = session(&deepseek);
    for (name, value) in [
        ("chat_session_id", json!(7)),
        ("parent_message_id", json!("1")),
        ("prompt", json!(null)),
        ("ref_file_ids", json!("")),
        ("thinking_enabled", json!("true")),
        ("search_enabled", json!(null)),
        ("preempt", json!(1)),
        ("action", json!("x")),
        ("client_stream_id", json!("20260101-x")),
    ] {
        let mut body = question(&id, "hi");
        body[name] = value;
        let loc = format!("body.{name}");
        refused(&deepseek, &asking(&deepseek, &body), 422, &loc);
    }
    let mut absent = question(&id, "hi");
    absent.as_object_mut().unwrap().remove("parent_message_id");
    refused(
        &deepseek,
        &asking(&deepseek, &absent),
        422,
        "parent_message_id",
    );
    for (name, value, what) in [
        ("model_type", json!("fast"), "INVALID_PARAM"),
        ("parent_message_id", json!(2), "invalid message id"),
        ("ref_file_ids", json!(["file-x"]), "invalid ref file id"),
        ("chat_session_id", json!("x"), "ILLEGAL_CHAT_SESSION_ID"),
    ] {
        let mut body = question(&id, "hi");
        body[name] = value;
        refused(&deepseek, &asking(&deepseek, &body), 200, what);
    }
    let mut other = asking(&deepseek, &question(&id, "hi"));
    other = other
        .header("Authorization", format!("Bearer {}", token(&deepseek, 2)))
        .header("X-Ds-Pow-Response", proven(&deepseek, 2, COMPLETION));
    refused(&deepseek, &other, 200, "ILLEGAL_CHAT_SESSION_ID");
}

#[test]
fn old_clients_and_long_prompts_are_told_so() {
    let deepseek = start("deepseek");
    let mut expert = question(&session(&deepseek), "hi");
    expert["model_type"] = json!("expert");
    let old = asking(&deepseek, &expert).header("X-Client-Version", "1.7.0");
    let old = old.ask(&deepseek).text();
    assert!(old.contains("event: toast") && old.contains("unsupported_client_by_model"));
    let mut long = question(&session(&deepseek), &"x".repeat(163_841));
    long["model_type"] = json!("expert");
    let long = asking(&deepseek, &long).ask(&deepseek).text();
    assert!(long.contains("input_exceeds_limit"));
}

#[test]
fn faults_look_as_the_page_has_them() {
    let deepseek = start("deepseek");
    let control = deepseek.control();
    let under = |fault: &str| {
        control.fault(fault, 1).unwrap();
        ask(&deepseek, "count:9")
    };
    for (fault, status, what) in [
        ("token_expired", 200, "Authorization Failed (invalid token)"),
        ("token_invalid", 200, "INVALID_TOKEN"),
        ("pow_refused", 200, "INVALID_POW_RESPONSE"),
        ("muted", 200, r#""mute_until":1893456000.123"#),
        ("illegal_session", 200, r#""biz_code":1,"#),
        ("throttled_1001", 200, r#""code":1001"#),
        ("bad_body", 422, "detail"),
        ("edge_429", 429, "<html>"),
        ("waf_405", 405, "<html>"),
        ("html_200", 200, "<html>"),
        (
            "hint_rate_limit",
            200,
            "Messages too frequent. Try again later.",
        ),
        ("toast_unsupported_client", 200, "event: toast"),
        ("hint_manual_abort", 200, r#""content":"""#),
        ("filtered_before_text", 200, "TEMPLATE_RESPONSE"),
    ] {
        let answer = under(fault);
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(what), "{fault}: {}", answer.text());
        assert!(
            !answer.text().contains("\"1\""),
            "{fault}: {}",
            answer.text()
        );
    }
    let waf = under("waf_202");
    assert_eq!(
        (waf.status, waf.headers["x-amzn-waf-action"].as_str()),
        (202, "challenge")
    );
    assert!(
        under("hint_rate_limit").text().ends_with(
            "event: close\ndata: {\"click_behavior\":\"retry\",\"auto_resume\":false}\n\n"
        )
    );
    let filtered = under("filtered_after_text").text();
    let last = patches(&filtered).pop().unwrap();
    assert!(
        last.starts_with(
            r#"{"v":[{"p":"ban_regenerate","v":true},{"p":"status","v":"CONTENT_FILTER"},"#
        ),
        "{last}"
    );
    assert!(filtered.contains(r#""v":" 2""#) && !filtered.contains(r#""v":" 3""#));
    let broken = under("error_frame_after_text").text();
    assert!(
        broken.contains(r#"data: {"clear_response":true,"content":"Something"#),
        "{broken}"
    );
    let empty = under("empty").text();
    assert!(empty.contains(r#""fragments":[]"#) && empty.contains("FINISHED"));
    let cut = under("no_status").text();
    assert!(!cut.contains("response/status") && cut.contains(r#""v":" 2""#));
    no_violations(&deepseek);
}
