//! A user's own session, and a service without anonymous users (wire/langfast.md §2, §4, §7, new parts).

use super::*;

fn refresh(running: &Running, token: &str) -> Request {
    call(running, "/auth/v1/token?grant_type=refresh_token").json(&json!({"refresh_token": token}))
}

/// The session that the settings name.
fn owner(running: &Running) -> User {
    let session: Value = serde_json::from_str(&setting(running, "LANGFAST_SESSION")).unwrap();
    assert_eq!(session["token_type"], "bearer");
    assert_eq!(session["user"]["is_anonymous"], false);
    user(&session)
}

#[test]
fn a_session_runs_and_rotates() {
    let langfast = start("langfast");
    langfast.control().set_generation("session").unwrap();
    let first = owner(&langfast);
    let said = |user: &User| {
        let mut socket = connect(&langfast, user);
        let job = job(&post(&langfast, user, "echo:x"));
        let last = events(&mut socket, &job);
        socket.send(TEXT, b"41");
        last.concat()
    };
    assert!(said(&first).contains(r#""content":"x""#));
    let second = user(&refresh(&langfast, &first.refresh).ask(&langfast).value());
    assert_eq!(second.id, first.id);
    assert!(said(&second).contains(r#""content":"x""#));
    no_violations(&langfast);
    let again = refresh(&langfast, &first.refresh).ask(&langfast);
    assert_eq!(again.status, 400, "a refresh token is good once");
    assert!(again.text().contains("refresh_token_not_found"));
    langfast.reset();
    let restored = refresh(&langfast, &first.refresh).ask(&langfast);
    assert_eq!(
        restored.status, 200,
        "a reset brings the configured one back"
    );
}

#[test]
fn anonymous_users_are_asked_to_log_in() {
    let langfast = start("langfast");
    let control = langfast.control();
    let guest = sign_up(&langfast);
    control.set_generation("session").unwrap();
    let closed = call(&langfast, "/auth/v1/signup")
        .json(&json!({}))
        .ask(&langfast);
    assert_eq!(closed.status, 422);
    assert!(closed.text().contains("anonymous_provider_disabled"));
    let refused = post(&langfast, &guest, "x");
    assert_eq!(
        (refused.status, refused.text().contains("log in")),
        (401, true)
    );
    no_violations(&langfast);
    // The owner is not asked, and there is none where only anonymous users are.
    let owner = owner(&langfast);
    control.set_generation("anonymous").unwrap();
    assert!(
        langfast
            .env()
            .iter()
            .all(|(name, _)| name != "LANGFAST_SESSION")
    );
    assert_eq!(
        refresh(&langfast, &owner.refresh).ask(&langfast).status,
        400
    );
    assert_eq!(
        call(&langfast, "/auth/v1/signup")
            .json(&json!({}))
            .ask(&langfast)
            .status,
        200
    );
}

#[test]
fn limits_and_demands_are_told_apart() {
    let langfast = start("langfast");
    let guest = sign_up(&langfast);
    for (fault, status, what) in [
        ("daily_limit", 429, "daily limit"),
        ("monthly_limit", 429, "monthly limit"),
        ("log_in_401", 401, "log in"),
        ("log_in_403", 403, "Sign in"),
    ] {
        langfast.control().fault(fault, 1).unwrap();
        let answer = post(&langfast, &guest, "x");
        assert_eq!(answer.status, status, "{fault}");
        assert!(answer.text().contains(what), "{fault}: {}", answer.text());
    }
    langfast.control().fault("signup_closed", 1).unwrap();
    let closed = call(&langfast, "/auth/v1/signup")
        .json(&json!({}))
        .ask(&langfast);
    assert!(closed.text().contains("signup_disabled"));
    no_violations(&langfast);
}

#[test]
fn an_answer_may_be_ok_and_no_more() {
    let langfast = start("langfast");
    let guest = sign_up(&langfast);
    let mut socket = connect(&langfast, &guest);
    let script = Script {
        pieces: Some(vec!["a".to_owned(), "b".to_owned()]),
        quirks: vec!["ok_answer".to_owned()],
        ..Script::default()
    };
    langfast.control().script(script).unwrap();
    assert_eq!(post(&langfast, &guest, "x").value(), json!({"ok": true}));
    let mut said = Vec::new();
    while !said
        .last()
        .is_some_and(|event: &String| event.contains("completion_finished"))
    {
        said.push(message(&mut socket));
    }
    assert_eq!(
        said[0],
        r#"42["execution:chunk",{"status":"in_progress","finish_reason":null,"content":"a"}]"#
    );
    assert_eq!(said.last().unwrap(), r#"42["completion_finished",{}]"#);
}
