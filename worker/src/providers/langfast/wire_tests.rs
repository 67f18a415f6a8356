use bytes::Bytes;

use super::{
    super::{models, prompt::meta},
    *,
};

/// 2025-10-09, 12:00 UTC.
const NOON: u64 = 1_760_011_200;

fn guest() -> Guest {
    Guest {
        access_token: Secret::new("a.b.c"),
        refresh_token: Secret::new("r"),
        user_id: "user-1".to_owned(),
        own: None,
    }
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request
        .headers
        .iter()
        .find(|(known, _)| known.as_str() == name);
    found.map_or("", |(_, value)| value.to_str().unwrap())
}

/// The body of wire/langfast.md section 4.
#[test]
fn a_run_is_posted_as_the_page_has_it() {
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}"#;
    let chat = crate::http::openai::body::read(Bytes::from_static(body.as_bytes())).unwrap();
    let meta = meta(&chat, models::ROWS[0]).unwrap();
    let (key, guest) = (Secret::new("anon"), guest());
    let caller = Caller {
        base_url: "http://h",
        anon_key: &key,
        guest: &guest,
    };
    let request = run(
        caller,
        "run-1",
        "6456df9f-f4fd-42b3-97ff-df29af7188b7",
        &meta,
    );
    let sent: Value = serde_json::from_slice(&request.body.concat()).unwrap();
    let expected = json!({"run_id": "run-1", "prompt_id": "6456df9f-f4fd-42b3-97ff-df29af7188b7", "created_by": "user-1", "test_cases": [],
        "prompt_meta": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "response_format": "text", "stream": true}});
    assert_eq!(sent, expected);
    assert_eq!(request.url, "http://h/functions/v1/initiate-prompt-run");
    assert_eq!(
        (
            header(&request, "apikey"),
            header(&request, "authorization"),
            header(&request, "content-type")
        ),
        ("anon", "Bearer a.b.c", "application/json")
    );
    let request = create_prompt(caller, 7, &meta);
    let sent: Value = serde_json::from_slice(&request.body.concat()).unwrap();
    assert_eq!(sent["p_name"], "api-7");
    assert_eq!(sent["p_meta"], expected["prompt_meta"]);
    assert_eq!(
        sent["p_test_cases"],
        json!([{"name": "API Test Case", "variables": []}])
    );
}

#[test]
fn guests_are_had_as_the_page_has_it() {
    let key = Secret::new("anon");
    let request = sign_up("http://h", &key);
    assert_eq!(
        (
            request.url.as_str(),
            &request.body.concat()[..],
            header(&request, "apikey")
        ),
        ("http://h/auth/v1/signup", &b"{}"[..], "anon")
    );
    let request = refresh("http://h", &key, &guest().refresh_token);
    assert_eq!(
        request.url,
        "http://h/auth/v1/token?grant_type=refresh_token"
    );
    assert_eq!(&request.body.concat()[..], br#"{"refresh_token":"r"}"#);
    assert_eq!(
        socket("ws://h").url,
        "ws://h/socket.io/?EIO=4&transport=websocket"
    );
    assert_eq!(socket_auth(&guest()), r#"{"token":"a.b.c"}"#);
}

/// The rows of wire/langfast.md section 7, in the kinds of design.md section 4.
#[test]
fn refusals_mean_what_the_page_says() {
    for (status, body, kind) in [
        (
            401,
            r#"{"message":"No API key found in request","hint":"No `apikey` request header or url param was found."}"#,
            Kind::AuthExpired,
        ),
        (
            401,
            r#"{"message":"Invalid API key","hint":"x"}"#,
            Kind::AuthExpired,
        ),
        (
            401,
            r#"{"code":401,"message":"Invalid JWT"}"#,
            Kind::AuthExpired,
        ),
        (
            401,
            r#"{"code":401,"message":"Missing authorization header"}"#,
            Kind::AuthExpired,
        ),
        (
            401,
            r#"{"code":"PGRST301","message":"JWT expired"}"#,
            Kind::AuthExpired,
        ),
        (
            429,
            r#"{"error":"Free usage limit reached. Sign up to continue."}"#,
            Kind::QuotaSpent,
        ),
        (
            429,
            r#"{"error":"Rate limit exceeded. Please try again later."}"#,
            Kind::RateLimited,
        ),
        (
            400,
            r#"{"error":"Unknown model: gpt-9"}"#,
            Kind::ModelNotFound,
        ),
        (404, r#"{"error":"Model not found"}"#, Kind::ModelNotFound),
        (404, r#"{"error":"Prompt not found"}"#, Kind::Protocol),
        (400, r#"{"error":"created_by is required"}"#, Kind::Protocol),
        (409, r#"{"error":"Run already exists"}"#, Kind::Unavailable),
        (
            500,
            r#"{"code":"SUPABASE_EDGE_RUNTIME_ERROR","message":"x"}"#,
            Kind::Unavailable,
        ),
        (503, "", Kind::Unavailable),
        (418, "<html>", Kind::Protocol),
    ] {
        assert_eq!(
            refusal(status, body.as_bytes(), false, NOON).kind,
            kind,
            "{status} {body}"
        );
    }
    assert!(
        refusal(401, br#"{"message":"Invalid API key"}"#, false, NOON)
            .message
            .contains(VARIABLE)
    );
    assert!(is_unknown_prompt(
        404,
        &refusal(404, br#"{"error":"Prompt not found"}"#, false, NOON)
    ));
    assert!(!is_unknown_prompt(
        404,
        &refusal(404, br#"{"error":"Model not found"}"#, false, NOON)
    ));
    for (status, body, kind) in [
        (
            429,
            r#"{"code":429,"error_code":"over_request_rate_limit","msg":"Request rate limit reached"}"#,
            Kind::RateLimited,
        ),
        (
            422,
            r#"{"code":422,"error_code":"anonymous_provider_disabled","msg":"Anonymous sign-ins are disabled"}"#,
            Kind::Protocol,
        ),
        (
            400,
            r#"{"code":400,"error_code":"captcha_failed","msg":"captcha protection: request disallowed"}"#,
            Kind::Verification,
        ),
        (401, r#"{"message":"Invalid API key"}"#, Kind::AuthExpired),
        (502, "", Kind::Unavailable),
        (400, "", Kind::Protocol),
    ] {
        assert_eq!(
            sign_up_refusal(status, body.as_bytes()).kind,
            kind,
            "{status} {body}"
        );
    }
    let closed = sign_up_refusal(422, br#"{"error_code":"anonymous_provider_disabled"}"#);
    assert_eq!(closed.code.as_deref(), Some("upstream_signup_closed"));
    let lost = br#"{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token: Refresh Token Not Found"}"#;
    assert_eq!(refresh_refusal(400, lost, false).kind, Kind::AuthExpired);
    assert_eq!(refresh_refusal(503, b"", false).kind, Kind::Unavailable);
    assert_eq!(refresh_refusal(429, b"", false).kind, Kind::RateLimited);
    assert_eq!(
        refresh_refusal(401, br#"{"message":"Invalid API key"}"#, false).kind,
        Kind::Unavailable
    );
}

#[test]
fn failed_runs_mean_what_the_page_says() {
    let unsupported =
        json!("Unsupported parameter: 'temperature' is not supported with this model.");
    let error = failure(&unsupported);
    assert_eq!(
        (error.kind, error.param.as_deref()),
        (Kind::BadRequest, Some("temperature"))
    );
    for (error, kind) in [
        (
            json!({"message": unsupported, "code": "unsupported_parameter"}),
            Kind::BadRequest,
        ),
        (
            json!({"message": "x", "code": "content_policy_violation"}),
            Kind::Moderated,
        ),
        (
            json!("Your request violates our content policy"),
            Kind::Moderated,
        ),
        (
            json!({"code": "context_length_exceeded"}),
            Kind::ContextLength,
        ),
        (json!("boom"), Kind::Unavailable),
        (json!({"message": "x"}), Kind::Unavailable),
        (Value::Null, Kind::Unavailable),
        (json!(7), Kind::Unavailable),
    ] {
        assert_eq!(failure(&error).kind, kind, "{error}");
    }
}

#[test]
fn the_runs_answer_may_say_nothing() {
    assert_eq!(
        job(br#"{"run_id":"r","jobs":[{"job_id":"j1"},{"job_id":"j2"}]}"#).as_deref(),
        Some("j1")
    );
    for body in [
        "",
        "{}",
        "null",
        r#"{"jobs":null}"#,
        r#"{"jobs":[]}"#,
        r#"{"jobs":[{}]}"#,
        r#"{"jobs":[{"job_id":""}]}"#,
    ] {
        assert_eq!(job(body.as_bytes()), None, "{body}");
    }
    assert_eq!(prompt_id(br#""p-1""#).unwrap(), "p-1");
    assert!(prompt_id(b"{}").is_err());
}

/// The rows that are new since 2026-11-28.
#[test]
fn a_demand_to_log_in_and_a_limit_of_the_day_are_told_apart() {
    let log_in = br#"{"error":"Please log in to run prompts"}"#;
    for status in [401, 403] {
        let closed = refusal(status, log_in, false, NOON);
        assert_eq!(
            (closed.kind, closed.code.as_deref()),
            (Kind::Protocol, Some("upstream_signup_closed"))
        );
        assert!(closed.message.contains("LANGFAST_SESSION"), "{closed}");
        // The user is logged in: it is the session that is refused.
        let own = refusal(status, log_in, true, NOON);
        assert_eq!(own.kind, Kind::AuthExpired);
        assert!(own.message.contains("LANGFAST_SESSION was refused"));
    }
    for text in [
        "Daily limit reached",
        "You have used all 50 runs per day",
        "monthly limit",
    ] {
        let body = json!({"error": text}).to_string();
        let spent = refusal(429, body.as_bytes(), false, NOON);
        assert_eq!(
            (spent.kind, spent.retry_after),
            (Kind::QuotaSpent, Some(Duration::from_secs(43_200))),
            "{text}"
        );
    }
    for body in [
        r#"{"error_code":"signup_disabled"}"#,
        r#"{"error_code":"anonymous_provider_disabled"}"#,
        r#"{"error_code":"captcha_failed"}"#,
    ] {
        let refused = sign_up_refusal(400, body.as_bytes());
        assert_eq!(
            refused.retry_after,
            Some(Duration::from_secs(21_600)),
            "{body}"
        );
    }
}
