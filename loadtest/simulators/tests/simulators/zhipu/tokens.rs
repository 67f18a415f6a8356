//! Tokens that are renewed, and die (wire/zhipu.md §2).

use std::time::Duration;

use super::*;

/// Renews a token of account 1.
fn refresh(running: &Running, token: &str) -> Request {
    let mut request = call(running, "POST", REFRESH)
        .header("Authorization", format!("Bearer {token}"))
        .header("X-Device-Id", "0123456789abcdef0123456789abcde1")
        .header("Content-Type", "application/json;charset=utf-8");
    request.body = b"{}".to_vec();
    request
}

fn ask_as(running: &Running, access: &str) -> Answer {
    asking(running, &question("echo:hi"))
        .header("Authorization", format!("Bearer {access}"))
        .header("X-Device-Id", "0123456789abcdef0123456789abcde1")
        .ask(running)
}

fn result(answer: &Answer, name: &str) -> String {
    answer.value()["result"][name].as_str().unwrap().to_owned()
}

#[test]
fn a_refresh_token_is_good_once_today() {
    let zhipu = start("zhipu");
    let first = setting(&zhipu, "ZHIPU_TOKEN");
    let renewed = refresh(&zhipu, &first).ask(&zhipu);
    let (access, second) = (
        result(&renewed, "access_token"),
        result(&renewed, "refresh_token"),
    );
    assert_eq!(ask_as(&zhipu, &access).status, 200);
    assert!(
        zhipu.control().state().violations.is_empty(),
        "{:?}",
        zhipu.control().state()
    );
    refused(&zhipu, &refresh(&zhipu, &first), 401, 40102, "used before");
    refused(&zhipu, &refresh(&zhipu, &access), 401, 40102, "no account");
    let again = refresh(&zhipu, &second).ask(&zhipu);
    assert_eq!(again.status, 200);
    // What was made earlier lives on.
    assert_eq!(ask_as(&zhipu, &access).status, 200);
}

#[test]
fn a_refresh_token_lasts_in_the_older_generation() {
    let zhipu = start("zhipu");
    zhipu.control().set_generation("cumulative").unwrap();
    let first = setting(&zhipu, "ZHIPU_TOKEN");
    for _ in 0..2 {
        assert_eq!(refresh(&zhipu, &first).ask(&zhipu).status, 200);
    }
}

#[test]
fn a_refresh_is_as_strict_as_the_page() {
    let zhipu = start("zhipu");
    let first = setting(&zhipu, "ZHIPU_TOKEN");
    let good = || refresh(&zhipu, &first);
    refused(&zhipu, &good().without("X-Sign"), 401, 40011, "missing");
    refused(
        &zhipu,
        &good().header("X-Device-Id", DEVICE),
        400,
        40001,
        "device_id",
    );
    refused(
        &zhipu,
        &good().header("Authorization", "Bearer sim"),
        400,
        400,
        "no JWT",
    );
    let mut empty = good();
    empty.body.clear();
    refused(&zhipu, &empty, 400, 400, "{}");
    let plain = good()
        .header("Content-Type", "application/json")
        .ask(&zhipu);
    assert_eq!(plain.status, 200);
    let noted = zhipu.control().log().pop().unwrap();
    assert!(noted.violation.unwrap().contains("charset=utf-8"));
}

#[test]
fn tokens_die_on_order() {
    let zhipu = start("zhipu");
    let control = zhipu.control();
    let first = setting(&zhipu, "ZHIPU_TOKEN");
    let renewed = refresh(&zhipu, &first).ask(&zhipu);
    let (access, second) = (
        result(&renewed, "access_token"),
        result(&renewed, "refresh_token"),
    );
    control.fault("access_expired", 1).unwrap();
    let dead = ask_as(&zhipu, &access);
    assert_eq!((dead.status, &dead.value()["code"]), (401, &json!(401)));
    assert_eq!(ask_as(&zhipu, &access).status, 401, "it stays dead");
    // §2: on 40102 with the newest, the configured one is tried once.
    control.fault("refresh_rolled_back", 1).unwrap();
    assert_eq!(
        refresh(&zhipu, &second).ask(&zhipu).value()["status"],
        40102
    );
    assert_eq!(refresh(&zhipu, &second).ask(&zhipu).status, 401);
    control.fault("refresh_short_lived", 1).unwrap();
    let short = refresh(&zhipu, &first).ask(&zhipu);
    let short = result(&short, "access_token");
    assert_eq!(ask_as(&zhipu, &short).status, 200);
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(ask_as(&zhipu, &short).status, 401);
    zhipu.reset();
    assert_eq!(
        refresh(&zhipu, &first).ask(&zhipu).status,
        200,
        "a reset renews the settings' tokens"
    );
}

#[test]
fn settings_hold_the_kinds_of_tokens() {
    let zhipu = start("zhipu");
    assert!(setting(&zhipu, "ZHIPU_TOKEN").starts_with("eyJ"));
    assert!(
        setting(&zhipu, "ZHIPU_TOKEN_2").contains('-')
            || setting(&zhipu, "ZHIPU_TOKEN_2").contains('_')
    );
    assert!(setting(&zhipu, "ZHIPU_TOKEN_3").starts_with("chatglm_refresh_token=eyJ"));
    assert_eq!(setting(&zhipu, "ZHIPU_BASE_URL"), zhipu.url);
}
