use super::*;
use crate::{
    accounts::Kept,
    providers::deepseek::account::accounts,
    settings::{Problems, Vars},
};
use serde_json::from_str;

const DEVICE: &str = "0b9c7c5e-1111-4222-8333-444455556666";

/// A request of an account under these variables, its headers by name and its body.
fn sent(
    pairs: &[(&str, &str)],
    request: impl FnOnce(Caller<'_>) -> Request,
) -> (Vec<(String, String)>, Value) {
    let (vars, mut problems) = (Vars::new(pairs.iter().copied()), Problems::default());
    let identity = Identity::read(&vars, &mut problems);
    assert!(problems.errors.is_empty(), "{problems:?}");
    let token = Secret::new("token");
    let request = request(Caller {
        identity: &identity,
        token: &token,
        device_id: DEVICE,
    });
    seen(&request)
}

fn seen(request: &Request) -> (Vec<(String, String)>, Value) {
    let mut headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let body = request.body.concat();
    (headers, serde_json::from_slice(&body).unwrap_or_default())
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";

fn question() -> Question {
    Question {
        session_id: "<id>".to_owned(),
        parent: None,
        model: "default".to_owned(),
        thinking: false,
        search: false,
        prompt: "你好".to_owned(),
        file_ids: Vec::new(),
    }
}

/// The full body of section 4, and its headers.
#[test]
fn a_question_is_what_todays_site_sends() {
    let aside = Aside {
        leim: Some("l".to_owned()),
        dliq: None,
    };
    let (headers, body) = sent(&[], |caller| ask(caller, &question(), &aside, "proof"));
    let expected: Value = from_str(
        r#"{"chat_session_id":"<id>","parent_message_id":null,"model_type":"default","prompt":"你好","ref_file_ids":[],"thinking_enabled":false,"search_enabled":false,"source":"input","action":null,"preempt":false}"#,
    )
    .unwrap();
    assert_eq!(body, expected);
    assert_eq!(
        headers,
        named(&[
            ("accept", "*/*"),
            ("authorization", "Bearer token"),
            ("content-type", "application/json"),
            ("origin", "https://chat.deepseek.com"),
            ("referer", "https://chat.deepseek.com/"),
            ("user-agent", AGENT),
            ("x-client-bundle-id", "com.deepseek.chat"),
            ("x-client-locale", "zh_CN"),
            ("x-client-platform", "web"),
            ("x-client-timezone-offset", "28800"),
            ("x-client-version", "2.5.0"),
            ("x-device-id", DEVICE),
            ("x-ds-pow-response", "proof"),
            ("x-hif-leim", "l"),
        ])
    );
}

#[test]
fn the_app_is_another_identity_and_not_a_mixture() {
    let app = [("DEEPSEEK_CLIENT_PLATFORM", "android")];
    let (headers, _) = sent(&app, create_session);
    assert_eq!(
        headers,
        named(&[
            ("accept", "*/*"),
            ("authorization", "Bearer token"),
            ("content-type", "application/json"),
            ("user-agent", "DeepSeek/2.5.0 Android/35"),
            ("x-client-bundle-id", "com.deepseek.chat"),
            ("x-client-locale", "zh_CN"),
            ("x-client-platform", "android"),
            ("x-client-timezone-offset", "28800"),
            ("x-client-version", "2.5.0"),
            ("x-device-id", DEVICE),
            ("x-device-model", ""),
        ])
    );
}

#[test]
fn side_channels_hear_nothing_of_account_and_device() {
    let (headers, _) = sent(&[], |caller| hif("https://hif", caller.identity));
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "accept",
            "referer",
            "user-agent",
            "x-client-bundle-id",
            "x-client-locale",
            "x-client-platform",
            "x-client-timezone-offset",
            "x-client-version",
        ]
    );
}

#[test]
fn what_goes_on_needs_no_proof_and_carries_the_side_channels() {
    let aside = Aside {
        leim: Some("l".to_owned()),
        dliq: Some("d".to_owned()),
    };
    let has = |headers: &[(String, String)], name: &str| headers.iter().any(|row| row.0 == name);
    let (headers, body) = sent(&[], |caller| resume(caller, "s", 2, &aside));
    assert_eq!(body, json!({"chat_session_id": "s", "message_id": 2}));
    assert!(has(&headers, "x-hif-leim") && has(&headers, "x-hif-dliq"));
    assert!(!has(&headers, "x-ds-pow-response"));
    let (_, body) = sent(&[], |caller| go_on(caller, "s", 2, &aside));
    assert_eq!(body["fallback_to_resume"], true);
    let (headers, body) = sent(&[], check_device);
    assert_eq!(body, json!({"device_id": DEVICE, "device_model": ""}));
    assert!(!has(&headers, "x-hif-leim"));
}

#[test]
fn a_login_has_both_names_and_the_page_that_it_comes_from() {
    for (pairs, expected) in [
        (
            [("DEEPSEEK_EMAIL", "x@y"), ("DEEPSEEK_LOGIN_DEVICE_ID", "")],
            json!({"email": "x@y", "mobile": null, "password": "p", "device_id": "", "os": "web"}),
        ),
        (
            [
                ("DEEPSEEK_MOBILE", "138"),
                ("DEEPSEEK_LOGIN_DEVICE_ID", "Bx+/"),
            ],
            json!({"email": null, "mobile": "138", "area_code": "+86", "password": "p", "device_id": "Bx+/", "os": "web"}),
        ),
    ] {
        let pairs = pairs.into_iter().chain([("DEEPSEEK_PASSWORD", "p")]);
        let (vars, mut problems) = (Vars::new(pairs), Problems::default());
        let (_, account) = accounts(&vars, &Kept::default(), &mut problems).remove(0);
        let identity = Identity::read(&vars, &mut problems);
        let (headers, body) = seen(&login(&identity, &account, account.login.as_ref().unwrap()));
        assert_eq!(body, expected);
        let value = |name: &str| {
            headers
                .iter()
                .find(|row| row.0 == name)
                .map(|row| row.1.as_str())
        };
        assert_eq!(value("referer"), Some("https://chat.deepseek.com/sign_in"));
        assert_eq!(
            (value("authorization"), value("x-device-id")),
            (None, Some(account.device_id.as_str()))
        );
    }
}

#[test]
fn a_replaced_token_comes_in_either_shape_or_not_at_all() {
    let token = |json: &str| {
        let checked: Checked = from_str(json).unwrap();
        checked.token().map(ToOwned::to_owned)
    };
    assert_eq!(token(r#"{"rotate":"t"}"#).as_deref(), Some("t"));
    assert_eq!(token(r#"{"rotate":{"token":"t"}}"#).as_deref(), Some("t"));
    for none in [
        r#"{"rotate":null}"#,
        "{}",
        r#"{"rotate":""}"#,
        r#"{"rotate":{}}"#,
        r#"{"rotate":1}"#,
    ] {
        assert_eq!(token(none), None, "{none}");
    }
}

fn challenge() -> Challenge {
    from_str(
        r#"{"algorithm":"DeepSeekHashV1","challenge":"94e422f2ac55677000b92e561bb1a10da1a7fad54af93fa4706e4c1fa06eba5c","salt":"9fa6d396e71f769c77ee","signature":"5c3b59d95f2810681e60601850583b347bad470734f6aa22bb5b5ab55aa50271","difficulty":144000,"expire_at":1771229508176,"expire_after":300000,"target_path":"/api/v0/chat/completion"}"#,
    )
    .unwrap()
}

/// The header vector of section 5, from challenge to header.
#[test]
fn proves_as_the_vector_says() {
    let challenge = challenge();
    let never = std::sync::atomic::AtomicBool::new(false);
    let answer = pow::solve(&challenge.to_solve().unwrap(), &never).unwrap();
    assert_eq!(
        challenge.proof(answer, "/other"),
        "eyJhbGdvcml0aG0iOiJEZWVwU2Vla0hhc2hWMSIsImNoYWxsZW5nZSI6Ijk0ZTQyMmYyYWM1NTY3NzAwMGI5MmU1NjFiYjFhMTBkYTFhN2ZhZDU0YWY5M2ZhNDcwNmU0YzFmYTA2ZWJhNWMiLCJzYWx0IjoiOWZhNmQzOTZlNzFmNzY5Yzc3ZWUiLCJhbnN3ZXIiOjIyNTMzLCJzaWduYXR1cmUiOiI1YzNiNTlkOTVmMjgxMDY4MWU2MDYwMTg1MDU4M2IzNDdiYWQ0NzA3MzRmNmFhMjJiYjViNWFiNTVhYTUwMjcxIiwidGFyZ2V0X3BhdGgiOiIvYXBpL3YwL2NoYXQvY29tcGxldGlvbiJ9"
    );
}

#[test]
fn refuses_challenges_that_it_cannot_solve() {
    let unknown = Challenge {
        algorithm: "SHA3".to_owned(),
        ..challenge()
    };
    let short = Challenge {
        challenge: "94e4".to_owned(),
        ..challenge()
    };
    assert!(unknown.to_solve().is_err() && short.to_solve().is_err());
    let float = Challenge {
        difficulty: json!(144_000.0),
        ..challenge()
    };
    assert!(float.to_solve().is_ok());
}

#[test]
fn finds_a_new_conversation_in_either_shape() {
    for shape in [
        r#"{"id":"s","ttl_seconds":259200}"#,
        r#"{"chat_session":{"id":"s"},"ttl_seconds":259200}"#,
    ] {
        let session: Session = from_str(shape).unwrap();
        assert_eq!(session.id().as_deref(), Some("s"));
    }
}
