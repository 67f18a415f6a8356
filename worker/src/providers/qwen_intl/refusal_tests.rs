use super::*;

fn told(status: u16, body: &str) -> Refusal {
    refusal(Head::new(status), body.as_bytes(), "INTL_COOKIE")
}

/// Section 8, row by row.
#[test]
fn follows_the_table() {
    use Kind::{
        AuthExpired, ModelNotFound, Moderated, Protocol, QuotaSpent, RateLimited, Unavailable,
        Verification,
    };
    for (status, body, kind, remedy) in [
        (
            200,
            r#"{"success":false,"request_id":"x","data":{"code":"Unauthorized","details":"Token has expired"}}"#,
            AuthExpired,
            Remedy::NewToken,
        ),
        (
            401,
            r#"{"detail":"Unauthorized"}"#,
            AuthExpired,
            Remedy::NewToken,
        ),
        (401, "", AuthExpired, Remedy::NewToken),
        (
            200,
            r#"{"success":false,"data":{"code":"RateLimited","details":"You have reached the limit","template":"wait {{num}} hours","num":7}}"#,
            QuotaSpent,
            Remedy::None,
        ),
        (
            429,
            r#"{"code":"RateLimited","detail":"limit","template":"wait {{num}} hours","num":"7"}"#,
            QuotaSpent,
            Remedy::None,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"RateLimited","details":"slow down"}}"#,
            RateLimited,
            Remedy::None,
        ),
        (
            200,
            r#"{"error":{"code":"Too_Many_Requests","details":"x"}}"#,
            RateLimited,
            Remedy::None,
        ),
        (
            200,
            r#"{"error":{"message":"Allocated quota exceeded, please increase"}}"#,
            QuotaSpent,
            Remedy::None,
        ),
        (
            200,
            r#"{"error":{"message":"hit the token-limit"}}"#,
            QuotaSpent,
            Remedy::None,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"Bad_Request","details":"Internal error..."}}"#,
            Protocol,
            Remedy::Repeat,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"Bad_Request","details":"The chat is in progress!"}}"#,
            Unavailable,
            Remedy::Wait,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"CHAT_IN_PROGRESS"}}"#,
            Unavailable,
            Remedy::Wait,
        ),
        (
            200,
            r#"{"error":{"message":"The chat is in progress!"}}"#,
            Unavailable,
            Remedy::Wait,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"CHAT_NOT_FOUND"}}"#,
            Unavailable,
            Remedy::NewChat,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"Not_Found","details":"The chat does not exist"}}"#,
            Unavailable,
            Remedy::NewChat,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"Not_Found","details":"Model not found"}}"#,
            ModelNotFound,
            Remedy::None,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"Bad_Request","details":"该模型不可用"}}"#,
            ModelNotFound,
            Remedy::None,
        ),
        (
            200,
            r#"{"ret":["FAIL_SYS_USER_VALIDATE","RGV587_ERROR::SM::哎哟喂,被挤爆啦,请稍后重试"],"data":{"url":"https://chat.qwen.ai/_____tmd_____/punish?x5secdata=x"}}"#,
            Verification,
            Remedy::None,
        ),
        (
            200,
            r#"{"success":false,"data":{"url":"/punish?x5secdata=1"}}"#,
            Verification,
            Remedy::None,
        ),
        (
            200,
            "<!doctypehtml><html><script>aliyun_waf</script>",
            Verification,
            Remedy::None,
        ),
        (
            403,
            "<html>aliyunCaptcha</html>",
            Verification,
            Remedy::None,
        ),
        (200, "<html>hello</html>", Protocol, Remedy::None),
        (
            200,
            r#"{"error":{"code":"data_inspection_failed","details":"x"}}"#,
            Moderated,
            Remedy::None,
        ),
        (
            200,
            r#"{"error":{"code":"x","details":"model overloaded"}}"#,
            Unavailable,
            Remedy::None,
        ),
        (
            200,
            r#"{"success":false,"data":{"code":"Something_New","details":"y"}}"#,
            Unavailable,
            Remedy::None,
        ),
        (
            200,
            r#"{"success":false,"data":null}"#,
            Unavailable,
            Remedy::None,
        ),
        (503, "<html>busy</html>", Unavailable, Remedy::None),
        (429, "<html>busy</html>", RateLimited, Remedy::None),
        (200, "", Protocol, Remedy::None),
        (200, "{half", Protocol, Remedy::None),
        (404, "<html>", Protocol, Remedy::None),
    ] {
        let refusal = told(status, body);
        assert_eq!(
            (refusal.error.kind, refusal.remedy),
            (kind, remedy),
            "{body}"
        );
    }
}

#[test]
fn hours_are_a_time_to_come_back_at() {
    for num in ["7", "\"7\"", "7.0"] {
        let body = format!(r#"{{"success":false,"data":{{"code":"RateLimited","num":{num}}}}}"#);
        let rest = told(200, &body).error.retry_after;
        assert_eq!(rest, Some(Duration::from_secs(25_200)), "{num}");
    }
    for num in ["0", "-1", "null", "\"soon\"", "1e300"] {
        let body = format!(r#"{{"success":false,"data":{{"code":"RateLimited","num":{num}}}}}"#);
        let rest = told(200, &body).error.retry_after;
        assert!(rest.is_none_or(|rest| rest <= Duration::from_secs(10_000_000)));
    }
    let check = told(200, r#"{"ret":["RGV587_ERROR"]}"#);
    assert_eq!(check.error.retry_after, Some(Duration::from_secs(300)));
}

#[test]
fn the_code_is_told_and_no_credential() {
    let refusal = told(
        200,
        r#"{"success":false,"data":{"code":"Something_New","details":"bad token eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30"}}"#,
    );
    let message = refusal.error.message;
    assert!(message.contains("Something_New"), "{message}");
    assert!(!message.contains("eyJ"), "{message}");
}

#[test]
fn what_is_no_refusal_is_none() {
    for body in [
        r#"{"success":true,"data":{"code":"x"}}"#,
        r#"{"choices":[{"delta":{"content":"RGV587 punish"}}],"code":"x"}"#,
        r#"{"response.created":{"chat_id":"c"}}"#,
        r#"{"data":[]}"#,
        "true",
    ] {
        let value: Value = serde_json::from_str(body).unwrap();
        assert!(in_stream(&value, "V").is_none(), "{body}");
    }
}

#[test]
fn a_login_is_refused_for_good_or_for_now() {
    for (status, body, kind, is_final) in [
        (400, r#"{"detail":"wrong"}"#, Kind::AuthExpired, true),
        (
            200,
            r#"{"success":false,"data":{"code":"Bad_Request","details":"Wrong password"}}"#,
            Kind::AuthExpired,
            true,
        ),
        (401, "", Kind::AuthExpired, true),
        (200, "<!doctypehtml>aliyun_waf", Kind::Verification, false),
        (429, "", Kind::RateLimited, false),
        (502, "<html>", Kind::Unavailable, false),
    ] {
        let (error, was_final) = login(Head::new(status), body.as_bytes(), "INTL_EMAIL");
        assert_eq!((error.kind, was_final), (kind, is_final), "{status} {body}");
    }
}
