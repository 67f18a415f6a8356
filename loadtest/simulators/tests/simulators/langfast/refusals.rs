//! What langfast refuses: wrong requests, and good ones on a bad day (§7).

use super::*;

#[test]
fn refuses_wrong_keys_and_tokens() {
    let langfast = start("langfast");
    let user = sign_up(&langfast);
    let good = || posting(&langfast, &user, &run(&user, "x"));
    refused(
        &langfast,
        &good().without("apikey"),
        401,
        "No API key found in request",
    );
    refused(
        &langfast,
        &good().header("apikey", "x"),
        401,
        "Invalid API key",
    );
    refused(
        &langfast,
        &good().without("Authorization"),
        401,
        "Missing authorization header",
    );
    let anon = format!("Bearer {}", setting(&langfast, "LANGFAST_ANON_KEY"));
    refused(
        &langfast,
        &good().header("Authorization", anon),
        401,
        "Invalid JWT",
    );
    refused(
        &langfast,
        &call(&langfast, "/auth/v1/signup").json(&json!({"email": "x"})),
        400,
        "",
    );
    let mut get = good();
    get.method = "GET";
    refused(&langfast, &get, 405, "");
    refused(&langfast, &call(&langfast, "/nothing"), 404, "");
    let mut socket = open(&langfast);
    message(&mut socket);
    socket.send(TEXT, br#"40{"token":"a.b.c"}"#);
    assert_eq!(
        message(&mut socket),
        r#"44{"message":"Authentication error"}"#
    );
    let last = langfast.control().calls("socket").pop().unwrap();
    assert!(last.violation.unwrap().contains("never given"));
    let polling = Request::new("GET", "/socket.io/?EIO=4&transport=polling");
    let url = setting(&langfast, "LANGFAST_SOCKET_BASE_URL");
    assert!(Socket::open(&url, &polling).err().unwrap().contains("400"));
}

#[test]
fn refuses_wrong_runs() {
    let langfast = start("langfast");
    let user = sign_up(&langfast);
    for (pointer, value, status) in [
        ("/run_id", json!("1"), 400),
        ("/prompt_id", json!("x"), 400),
        ("/prompt_id", json!(Uuid::new_v4().to_string()), 404),
        ("/created_by", json!("someone"), 400),
        ("/test_cases", json!(null), 400),
        ("/prompt_meta/model", json!("gpt-9"), 404),
        ("/prompt_meta/stream", json!(false), 400),
        ("/prompt_meta/messages", json!([]), 400),
        ("/prompt_meta/messages/0/role", json!("tool"), 400),
        (
            "/prompt_meta/messages/0/content",
            json!([{"type": "text", "text": "x"}]),
            400,
        ),
    ] {
        let mut body = run(&user, "x");
        *body.pointer_mut(pointer).unwrap() = value;
        refused(
            &langfast,
            &posting(&langfast, &user, &body),
            status,
            "error",
        );
    }
    // Nobody listens: the run is taken, and its events are lost.
    let once = posting(&langfast, &user, &run(&user, "x"));
    assert_eq!(once.ask(&langfast).status, 200);
    let lost = langfast.control().log().pop().unwrap();
    assert!(lost.ok && lost.violation.unwrap().contains("no free socket"));
    refused(&langfast, &once, 409, "already exists");
    let path = "/rest/v1/rpc/create_prompt";
    let create = json!({
        "p_name": "api-1767780000000", "p_icon": "openai", "p_test_cases": [{"name": "API Test Case", "variables": []}],
        "p_meta": {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "stream": true},
    });
    let bearer = format!("Bearer {}", user.access);
    let create = call(&langfast, path)
        .header("Authorization", bearer)
        .json(&create);
    let id = create.ask(&langfast).value();
    let mut own = run(&user, "x");
    own["prompt_id"] = id;
    assert_eq!(posting(&langfast, &user, &own).ask(&langfast).status, 200);
}

#[test]
fn sign_ups_are_limited_on_demand() {
    let langfast = start("langfast");
    let control = langfast.control();
    control.fault("signup_limit", 0).unwrap();
    let sign_up = || {
        call(&langfast, "/auth/v1/signup")
            .json(&json!({}))
            .ask(&langfast)
    };
    for _ in 0..30 {
        assert_eq!(sign_up().status, 200);
    }
    assert!(sign_up().text().contains("over_request_rate_limit"));
    control.clear_faults();
    for (fault, status, what) in [
        ("signup_rate_limited", 429, "Request rate limit reached"),
        ("signup_disabled", 422, "anonymous_provider_disabled"),
        ("signup_captcha", 400, "captcha_failed"),
    ] {
        control.fault(fault, 1).unwrap();
        let answer = sign_up();
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(what));
    }
    control.fault("short_lived", 1).unwrap();
    assert_eq!(sign_up().value()["expires_in"], 60);
    no_violations(&langfast);
}

#[test]
fn faults_look_as_the_page_has_them() {
    let langfast = start("langfast");
    let control = langfast.control();
    let user = sign_up(&langfast);
    let mut socket = connect(&langfast, &user);
    for (fault, status, what) in [
        ("jwt_invalid", 401, "Invalid JWT"),
        ("quota_spent", 429, "Sign up to continue"),
        ("rate_limited", 429, "Rate limit exceeded"),
        ("edge_503", 503, "SUPABASE_EDGE_RUNTIME_ERROR"),
        ("unknown_prompt", 404, "error"),
        ("http_502", 502, "<html>"),
    ] {
        control.fault(fault, 1).unwrap();
        let answer = post(&langfast, &user, "x");
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(what), "{fault}: {}", answer.text());
    }
    for (fault, what) in [
        ("failed_policy", "content_policy_violation"),
        ("failed_string", r#""error":"Something"#),
        ("failed_status", r#""status":"error""#),
        ("failed_parameter", "Unsupported parameter: 'temperature'"),
        ("empty", r#""finish_reason":"stop","content":"""#),
    ] {
        control.fault(fault, 1).unwrap();
        let job = job(&post(&langfast, &user, "count:9"));
        let event = message(&mut socket);
        assert!(
            event.contains(what) && event.contains(&job),
            "{fault}: {event}"
        );
        if fault == "empty" {
            message(&mut socket);
        }
        until(|| control.state().open_streams == 0);
    }
    no_violations(&langfast);
    let mut body = run(&user, "count:9");
    body["prompt_meta"]["model"] = json!("o3");
    body["prompt_meta"]["temperature"] = json!(1);
    posting(&langfast, &user, &body).ask(&langfast);
    assert!(message(&mut socket).contains("Unsupported parameter"));
    for fault in ["socket_refused", "socket_silent"] {
        control.fault(fault, 1).unwrap();
        let mut socket = open(&langfast);
        message(&mut socket);
        socket.send(
            TEXT,
            format!("40{}", json!({"token": user.access})).as_bytes(),
        );
        if fault == "socket_refused" {
            assert!(message(&mut socket).starts_with("44{"));
        }
    }
    control
        .order(serde_json::from_value(json!({"name": "http_503", "step": "socket"})).unwrap())
        .unwrap();
    let request = Request::new("GET", "/socket.io/?EIO=4&transport=websocket");
    let url = setting(&langfast, "LANGFAST_SOCKET_BASE_URL");
    assert!(Socket::open(&url, &request).err().unwrap().contains("503"));
}
