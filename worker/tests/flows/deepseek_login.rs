//! DeepSeek's login by password: tried once, wire/deepseek.md section 2.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    desk::{Desk, Told, biz, biz_code},
    support::{Hive, SOON, question, settled, simulator},
};

const LOGIN: &str = "/api/v0/users/login";
const EXPIRED: (u16, &str, &str) = (502, "upstream_error", "upstream_auth_expired");
const BY_EMAIL: [(&str, &str); 2] = [
    ("DEEPSEEK_EMAIL", "someone@example.com"),
    ("DEEPSEEK_PASSWORD", "secret-password"),
];

fn hive(desk: &Desk, more: &[(&str, &str)]) -> Hive {
    // Nothing rests here: the account itself must know.
    let mut settings = vec![
        ("DEEPSEEK_BASE_URL", desk.url.as_str()),
        ("ACCOUNT_PROBE_SECONDS", "0.001"),
    ];
    settings.extend_from_slice(more);
    Hive::start(&[], &settings)
}

/// Ten requests, half of them at the same time: what each hears.
async fn ten(hive: &Hive) -> Vec<Value> {
    let mut told = Vec::new();
    for _ in 0..5 {
        let two = (0..2).map(|_| hive.ask("deepseek-chat", "x"));
        for reply in futures_util::future::join_all(two).await {
            assert_ne!(reply.status, 200, "{}", reply.text);
            assert!(!reply.text.contains("secret-password"), "{}", reply.text);
            told.push(reply.json()["error"].clone());
        }
    }
    told
}

#[actix_web::test]
async fn a_login_refused_for_its_device_is_tried_once_in_all() {
    for (code, message, expected) in [
        (11, "RISK_DEVICE_DETECTED", "upstream_auth_expired"),
        (10, "USER_IS_BANNED", "account_blocked"),
        (2, "PASSWORD_OR_USER_NAME_IS_WRONG", "upstream_auth_expired"),
    ] {
        let desk = Desk::open(move |asked| match asked.path.as_str() {
            LOGIN => {
                std::thread::sleep(Duration::from_millis(50));
                biz_code(code, message, &Value::Null)
            }
            _ => Told::json(&json!({"code": 40003, "msg": "INVALID_TOKEN", "data": null})),
        });
        // Without a token, and with one that is refused, as the second account.
        for (more, variable) in [
            (BY_EMAIL.to_vec(), "paste a token into DEEPSEEK_TOKEN"),
            (
                vec![
                    ("DEEPSEEK_TOKEN_2", "old"),
                    ("DEEPSEEK_MOBILE_2", "13800000000"),
                    ("DEEPSEEK_PASSWORD_2", "secret-password"),
                ],
                "paste a token into DEEPSEEK_TOKEN_2",
            ),
        ] {
            let before = desk.calls(LOGIN).len();
            let hive = hive(&desk, &more);
            for error in ten(&hive).await {
                let text = error["message"].as_str().unwrap();
                assert!(text.ends_with(variable), "{text}");
                assert_eq!(error["code"], expected, "{text}");
            }
            assert_eq!(desk.calls(LOGIN).len() - before, 1, "{message}");
        }
    }
}

#[actix_web::test]
async fn a_login_that_fails_otherwise_is_not_repeated_for_each_request() {
    for told in [
        Told::status(500, "x"),
        Told::status(200, "<html>"),
        Told::status(429, "slow"),
        Told::json(&json!({"code": 1001, "msg": "", "data": null})),
        Told::json(&json!({"code": 40002, "msg": "Missing Token", "data": null})),
        biz_code(77, "SOMETHING_NEW", &Value::Null),
        biz_code(7, "rate limit", &Value::Null),
        biz(&json!({"user": {"id": "x"}})),
        Told::json(&json!({"code": 0})).cut(),
    ] {
        let shown = told.body.clone();
        let desk = Desk::open(move |_| told.clone());
        let hive = hive(&desk, &BY_EMAIL);
        ten(&hive).await;
        assert_eq!(desk.calls(LOGIN).len(), 1, "{shown}");
    }
}

#[actix_web::test]
async fn a_login_whose_token_is_refused_is_not_repeated_for_each_request() {
    let desk = Desk::open(|asked| match asked.path.as_str() {
        LOGIN => biz(
            &json!({"code": 0, "user": {"token": "fresh", "chat": {"is_muted": 0, "mute_until": null}}}),
        ),
        _ => Told::json(&json!({"code": 40003, "msg": "INVALID_TOKEN", "data": null})),
    });
    let hive = hive(&desk, &BY_EMAIL);
    ten(&hive).await;
    assert_eq!(desk.calls(LOGIN).len(), 1);
}

#[actix_web::test]
async fn a_muted_account_is_known_at_login() {
    let desk = Desk::open(|asked| match asked.path.as_str() {
        LOGIN => biz(
            &json!({"user": {"token": "fresh", "chat": {"is_muted": 1, "mute_until": 4_102_444_800_u64}}}),
        ),
        _ => Told::status(500, ""),
    });
    let hive = hive(&desk, &BY_EMAIL);
    let error = hive.ask("deepseek-chat", "x").await.error();
    assert_eq!(error.2, "account_muted");
    assert!(desk.calls("/api/v0/chat_session/create").is_empty());
}

#[actix_web::test]
async fn an_attempt_counts_though_its_caller_has_left() {
    let desk = Desk::open(|_| {
        std::thread::sleep(Duration::from_millis(300));
        biz_code(11, "RISK_DEVICE_DETECTED", &Value::Null)
    });
    let hive = hive(&desk, &BY_EMAIL);
    for _ in 0..5 {
        let asked = hive
            .request("POST", "/v1/chat/completions")
            .send_body(question("deepseek-chat", "x").to_string());
        let _ = tokio::time::timeout(Duration::from_millis(100), asked).await;
    }
    let (status, kind, code) = hive.ask("deepseek-chat", "x").await.error();
    assert_eq!((status, kind.as_str(), code.as_str()), EXPIRED);
    assert_eq!(desk.calls(LOGIN).len(), 1);
}

#[actix_web::test]
async fn a_login_says_what_the_site_says() {
    let desk = Desk::open(|_| biz_code(11, "RISK_DEVICE_DETECTED", &Value::Null));
    let by_mobile = [
        ("DEEPSEEK_MOBILE", "13800000000"),
        ("DEEPSEEK_PASSWORD", "p"),
        ("DEEPSEEK_LOGIN_DEVICE_ID", "BDevice+/=="),
    ];
    for (more, expected) in [
        (
            BY_EMAIL.as_slice(),
            json!({"email": "someone@example.com", "mobile": null, "password": "secret-password", "device_id": "", "os": "web"}),
        ),
        (
            &by_mobile,
            json!({"email": null, "mobile": "13800000000", "area_code": "+86", "password": "p", "device_id": "BDevice+/==", "os": "web"}),
        ),
    ] {
        hive(&desk, more).ask("deepseek-chat", "x").await;
        let asked = desk.calls(LOGIN).pop().unwrap();
        assert_eq!(asked.json(), expected);
        assert_eq!(asked.header("referer"), format!("{}/sign_in", desk.url));
        assert_eq!(asked.header("authorization"), "");
    }
}

/// A service in front of the simulator that answers the first call, a login, with the token the simulator knows.
fn login_desk(simulator: &str, token: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (simulator, token) = (simulator.replace("http://", ""), token.to_owned());
    std::thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let mut request = String::new();
        while !request.contains("\"os\":\"web\"") {
            let mut bytes = [0; 4096];
            let count = first.read(&mut bytes).unwrap();
            request.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        assert!(
            request.starts_with("POST /api/v0/users/login "),
            "{request}"
        );
        assert!(
            !request.to_lowercase().contains("authorization:"),
            "{request}"
        );
        let body = json!({"code": 0, "msg": "", "data": {"biz_code": 0, "biz_msg": "", "biz_data": {"code": 0, "user": {"id": "u", "token": token}}}});
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        first.write_all((head + &body).as_bytes()).unwrap();
        drop(first);
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&simulator).unwrap());
            let ways = [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ];
            for (mut from, mut to) in ways {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    url
}

#[actix_web::test]
async fn a_refused_login_is_not_tried_again() {
    let deepseek = simulator("deepseek", 1);
    let login = [
        ("DEEPSEEK_EMAIL", "someone@example.com"),
        ("DEEPSEEK_PASSWORD", "wrong"),
    ];
    let hive = Hive::start(&[&deepseek], &login);
    deepseek.control().fault("token_refused", 0).unwrap();
    for _ in 0..3 {
        let (status, kind, code) = hive.ask("deepseek-chat", "echo:x").await.error();
        assert_eq!((status, kind.as_str(), code.as_str()), EXPIRED);
    }
    assert_eq!(deepseek.control().calls("login").len(), 1);
    settled(&deepseek.control(), SOON).await;
}

#[actix_web::test]
async fn logs_in_where_there_is_no_token() {
    let deepseek = simulator("deepseek", 1);
    let env = deepseek.env();
    let of = |name: &str| {
        env.iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone()
    };
    let desk = login_desk(&of("DEEPSEEK_BASE_URL"), &of("DEEPSEEK_TOKEN"));
    let file = std::env::temp_dir().join(format!("hive2api-deepseek-{}", std::process::id()));
    let file = file.to_string_lossy().into_owned();
    // The desk logs in once; after a restart the token that it gave is used, as another login would be one too many.
    for _ in 0..2 {
        let hive = Hive::start(
            &[],
            &[
                ("DEEPSEEK_BASE_URL", &desk),
                ("DEEPSEEK_MOBILE", "13800000000"),
                ("DEEPSEEK_PASSWORD", "secret"),
                ("TOKENS_FILE", &file),
            ],
        );
        for _ in 0..2 {
            let reply = hive.ask("deepseek-chat", "echo:fine").await;
            assert_eq!(reply.content(), "fine", "{}", reply.text);
        }
    }
    std::fs::remove_file(&file).unwrap();
    assert_eq!(deepseek.control().calls("login").len(), 0);
    settled(&deepseek.control(), SOON).await;
    // The simulator knows the desk by its address, and nothing else was wrong.
    let violations = deepseek.control().state().violations;
    assert!(
        violations
            .iter()
            .all(|violation| violation.contains("origin is")),
        "{violations:#?}"
    );
}
