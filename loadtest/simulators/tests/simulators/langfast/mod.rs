//! wire/langfast.md, checked from the client's side.

mod refusals;
mod sessions;

use std::{thread::sleep, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Answer, Request, setting, start, until},
    socket::{CLOSE, Socket, TEXT},
};

const RUN: &str = "/functions/v1/initiate-prompt-run";
const PROMPT: &str = "6456df9f-f4fd-42b3-97ff-df29af7188b7";

/// An anonymous user: access token, refresh token, id.
struct User {
    access: String,
    refresh: String,
    id: String,
}

fn call(running: &Running, path: &str) -> Request {
    Request::new("POST", path).header("apikey", setting(running, "LANGFAST_ANON_KEY"))
}

fn sign_up(running: &Running) -> User {
    let answer = call(running, "/auth/v1/signup")
        .json(&json!({}))
        .ask(running);
    user(&answer.value())
}

fn user(session: &Value) -> User {
    let text = |pointer: &str| {
        session
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    User {
        access: text("/access_token"),
        refresh: text("/refresh_token"),
        id: text("/user/id"),
    }
}

fn open(running: &Running) -> Socket {
    let request = Request::new("GET", "/socket.io/?EIO=4&transport=websocket");
    Socket::open(&setting(running, "LANGFAST_SOCKET_BASE_URL"), &request).unwrap()
}

/// The next text message that is no ping; "close" when the server closes.
fn message(socket: &mut Socket) -> String {
    loop {
        match packet(socket).as_str() {
            // The first one comes right after the opening (§6: between steps 1 and 3).
            "2" => socket.send(TEXT, b"3"),
            other => return other.to_owned(),
        }
    }
}

fn packet(socket: &mut Socket) -> String {
    match socket.receive() {
        Ok((TEXT, bytes)) => String::from_utf8(bytes).unwrap(),
        Ok((CLOSE, _)) | Err(_) => "close".to_owned(),
        Ok((opcode, _)) => panic!("a frame of type {opcode}"),
    }
}

fn connect(running: &Running, user: &User) -> Socket {
    let mut socket = open(running);
    let hello = message(&mut socket);
    let hello: Value = serde_json::from_str(hello.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(
        (&hello["pingInterval"], &hello["pingTimeout"]),
        (&json!(25_000), &json!(20_000))
    );
    let auth = json!({"token": user.access});
    socket.send(TEXT, format!("40{auth}").as_bytes());
    let connected = message(&mut socket);
    assert!(connected.starts_with(r#"40{"sid":"#), "{connected}");
    socket
}

fn run(user: &User, prompt: &str) -> Value {
    json!({
        "run_id": Uuid::new_v4().to_string(), "prompt_id": PROMPT, "created_by": user.id, "test_cases": [],
        "prompt_meta": {
            "model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], "response_format": "text",
            "stream": true,
        },
    })
}

fn posting(running: &Running, user: &User, body: &Value) -> Request {
    call(running, RUN)
        .header("Authorization", format!("Bearer {}", user.access))
        .json(body)
}

fn post(running: &Running, user: &User, prompt: &str) -> Answer {
    posting(running, user, &run(user, prompt)).ask(running)
}

fn job(answer: &Answer) -> String {
    answer.value()["jobs"][0]["job_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Every event up to the end of the run `job`.
fn events(socket: &mut Socket, job: &str) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        let event = message(socket);
        assert!(event.starts_with("42"), "{event} after {events:?}");
        let is_end = event == format!(r#"42["completion_finished",{{"executionId":"{job}"}}]"#);
        events.push(event);
        if is_end {
            return events;
        }
    }
}

fn scripted(running: &Running, pieces: &[&str], quirks: &[&str]) {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let script = Script {
        pieces: Some(own(pieces)),
        quirks: own(quirks),
        ..Script::default()
    };
    running.control().script(script).unwrap();
}

fn refused(running: &Running, request: &Request, status: u16, what: &str) {
    let answer = request.ask(running);
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(what), "{what}: {}", answer.text());
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok && last.violation.is_some(), "{last:?}");
}

fn no_violations(running: &Running) {
    let violations = running.control().state().violations;
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn sample_a_comes_out_event_by_event() {
    let langfast = start("langfast");
    let user = sign_up(&langfast);
    let mut socket = connect(&langfast, &user);
    scripted(&langfast, &["Hel", "lo, ", "世界👋"], &["clean"]);
    let answer = post(&langfast, &user, "a");
    let job = job(&answer);
    let sample = r#"42["execution:chunk",{"executionId":"JOB","status":"in_progress","finish_reason":null,"content":"Hel"}]
42["execution:chunk",{"executionId":"JOB","status":"in_progress","finish_reason":null,"content":"Hello, "}]
42["execution:chunk",{"executionId":"JOB","status":"in_progress","finish_reason":null,"content":"Hello, 世界👋"}]
42["execution:chunk",{"executionId":"JOB","status":"completed","finish_reason":"stop","content":"Hello, 世界👋"}]
42["completion_finished",{"executionId":"JOB"}]"#;
    assert_eq!(
        events(&mut socket, &job).join("\n"),
        sample.replace("JOB", &job)
    );
    socket.send(TEXT, b"41");
    until(|| !langfast.control().calls("disconnect").is_empty());
    assert_eq!(langfast.control().state().open_streams, 0);
    assert!(!langfast.control().calls("ask")[0].aborted);
    no_violations(&langfast);
}

#[test]
fn sample_b_mixes_runs_strings_and_ends() {
    let langfast = start("langfast");
    let user = sign_up(&langfast);
    let mut socket = connect(&langfast, &user);
    scripted(&langfast, &["4", "2"], &["strings", "finished_only"]);
    let job = job(&post(&langfast, &user, "b"));
    let events = events(&mut socket, &job);
    assert!(events[0].contains("not ours") && !events[0].contains(&job));
    assert!(events.iter().any(|event| event.contains("not ours at all")));
    let string = events
        .iter()
        .find(|event| event.starts_with(r#"42["execution:chunk",""#));
    assert!(string.unwrap().contains(r#"\"content\":\"42\""#));
    assert!(
        !events
            .iter()
            .any(|event| event.contains(&job) && event.contains("completed"))
    );
    no_violations(&langfast);
}

#[test]
fn events_come_before_the_answer_of_the_run() {
    let langfast = start("langfast");
    let user = sign_up(&langfast);
    let mut socket = connect(&langfast, &user);
    scripted(&langfast, &["x"], &["late_answer", "clean"]);
    let request = posting(&langfast, &user, &run(&user, "x"));
    let posted = std::thread::scope(|scope| {
        let posted = scope.spawn(|| request.ask(&langfast));
        assert!(message(&mut socket).contains("in_progress"));
        assert!(!posted.is_finished());
        posted.join().unwrap()
    });
    assert_eq!(posted.status, 200);
}

#[test]
fn history_is_role_by_role() {
    let langfast = start("langfast");
    let user = sign_up(&langfast);
    let mut socket = connect(&langfast, &user);
    let mut body = run(&user, "x");
    body["prompt_meta"]["messages"] = json!([
        {"role": "system", "content": "S"}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "user", "content": "echo:c"},
    ]);
    let job = job(&posting(&langfast, &user, &body).ask(&langfast));
    let events = events(&mut socket, &job).join("\n");
    assert!(
        events.contains(r#""finish_reason":"stop","content":"c""#),
        "{events}"
    );
    let asked = langfast.control().calls("ask").pop().unwrap();
    let roles: Vec<_> = asked.turns.iter().map(|turn| turn.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    no_violations(&langfast);
}

#[test]
fn tokens_are_base64url_and_rotate() {
    let langfast = start("langfast");
    let first = sign_up(&langfast);
    let payload = first.access.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert_eq!(claims["sub"], first.id.as_str());
    let path = "/auth/v1/token?grant_type=refresh_token";
    let refresh = call(&langfast, path).json(&json!({"refresh_token": first.refresh}));
    let second = user(&refresh.ask(&langfast).value());
    assert_eq!(second.id, first.id);
    assert_ne!(second.access, first.access);
    no_violations(&langfast);
    refused(&langfast, &refresh, 400, "refresh_token_not_found");
}

#[test]
fn clients_that_leave_are_noticed() {
    let langfast = start("langfast");
    let control = langfast.control();
    let user = sign_up(&langfast);
    for (fault, politely) in [
        (None, true),
        (None, false),
        (Some("hang_after_text"), false),
    ] {
        if let Some(fault) = fault {
            control.fault(fault, 1).unwrap();
        }
        let mut socket = connect(&langfast, &user);
        post(&langfast, &user, "pace:100 count:900");
        message(&mut socket);
        until(|| control.state().open_streams == 1);
        if politely {
            socket.send(TEXT, b"41");
        } else {
            drop(socket);
        }
        let time = until(|| control.state().open_streams == 0);
        assert!(time < Duration::from_millis(300), "{fault:?}: {time:?}");
        assert!(control.calls("ask").pop().unwrap().aborted);
    }
    let reasons = control.calls("disconnect");
    let violations: Vec<_> = reasons
        .iter()
        .map(|call| call.violation.is_some())
        .collect();
    assert_eq!(violations, [false, true, true], "{reasons:?}");
}

#[test]
fn connections_are_cut_and_closed() {
    let langfast = start("langfast");
    let user = sign_up(&langfast);
    for (fault, last) in [
        ("disconnect_after_text", "close"),
        ("socket_disconnect", "41"),
    ] {
        langfast.control().fault(fault, 1).unwrap();
        let mut socket = connect(&langfast, &user);
        scripted(&langfast, &["a", "b", "c", "d"], &["clean"]);
        post(&langfast, &user, "x");
        assert!(message(&mut socket).contains(r#""content":"a""#));
        assert!(message(&mut socket).contains(r#""content":"ab""#));
        assert_eq!(message(&mut socket), last, "{fault}");
        until(|| langfast.control().state().open_streams == 0);
    }
    let mut socket = connect(&langfast, &user);
    drop(langfast);
    assert_eq!(message(&mut socket), "close");
}

#[test]
fn fast_pings_want_pongs() {
    let langfast = start("langfast");
    let user = sign_up(&langfast);
    langfast.control().fault("fast_pings", 1).unwrap();
    let mut socket = open(&langfast);
    assert!(message(&mut socket).contains(r#""pingInterval":200"#));
    socket.send(
        TEXT,
        format!("40{}", json!({"token": user.access})).as_bytes(),
    );
    let mut pings = 0;
    while pings < 3 {
        match packet(&mut socket).as_str() {
            "2" => {
                socket.send(TEXT, b"3");
                pings += 1;
            }
            other => assert!(other.starts_with("40"), "{other}"),
        }
    }
    sleep(Duration::from_millis(700));
    until(|| !langfast.control().calls("disconnect").is_empty());
}
