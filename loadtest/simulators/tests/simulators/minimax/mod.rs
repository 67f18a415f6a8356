//! wire/minimax.md, checked from the client's side.

mod matrix;
mod refusals;
mod uploads;

use std::time::{SystemTime, UNIX_EPOCH};

use hive2api_simulators::{Running, Script};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start};

const CLOUD: &str = "/minimax-cloud/api/v1";
const PLAIN: &str = "application/json, text/plain, */*";
/// The real ids of the accounts.
const REAL: [&str; 3] = [
    "199900112233445566",
    "199900112233445577",
    "199900112233445588",
];

/// Everything that goes into a call's query and signatures, before it is written.
#[derive(Clone)]
struct Plan {
    method: &'static str,
    path: String,
    body: String,
    token: String,
    seconds: u64,
    members: Vec<(&'static str, String)>,
    /// The scheme and host, where they are signed.
    absolute: bool,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

/// The token of an account, and what its query says of it: user and device.
fn identity(running: &Running, account: usize) -> (String, &'static str, &'static str) {
    let suffix = ["", "_2", "_3"][account - 1];
    let pasted = setting(running, &format!("MINIMAX_TOKEN{suffix}"));
    let token = pasted.rsplit('+').next().unwrap().to_owned();
    let users = ["440011223344556677", "440011223344556688", ""];
    let devices = ["31234567", "312345678901234567", "87654321"];
    (token, users[account - 1], devices[account - 1])
}

fn plan(running: &Running, account: usize, method: &'static str, path: &str, body: &str) -> Plan {
    let (token, user, device) = identity(running, account);
    let seconds = now();
    let owned = |value: &str| value.to_owned();
    let matrix = path.starts_with("/matrix");
    let mut members = vec![
        ("device_platform", owned("web")),
        ("biz_id", owned("3")),
        ("app_id", owned("3001")),
        ("version_code", owned("22201")),
        ("unix", format!("{seconds}000")),
        ("timezone_offset", owned("28800")),
        ("lang", owned("zh")),
        ("uuid", owned("11111111-2222-4333-8444-555555555555")),
        ("device_id", owned(device)),
        ("os_name", owned("Windows")),
        (
            "browser_name",
            owned(if matrix { "chrome" } else { "Chrome" }),
        ),
        ("device_memory", owned(if matrix { "8" } else { "16" })),
        ("cpu_core_num", owned(if matrix { "32" } else { "8" })),
        ("browser_language", owned("zh-CN")),
        ("browser_platform", owned("Win32")),
        (
            "user_id",
            owned(if matrix { user } else { REAL[account - 1] }),
        ),
        ("screen_width", owned(if matrix { "1600" } else { "1920" })),
        ("screen_height", owned(if matrix { "1000" } else { "1080" })),
        ("token", token.clone()),
        ("client", owned("web")),
    ];
    if !matrix {
        members.insert(6, ("sys_language", owned("zh")));
        members.push(("region", owned("cn")));
    }
    Plan {
        method,
        path: path.to_owned(),
        body: body.to_owned(),
        token,
        seconds,
        members,
        absolute: false,
    }
}

fn md5(text: &str) -> String {
    let digest = Md5::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ if b"-_.!~*'()".contains(&byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

impl Plan {
    fn set(mut self, name: &str, value: &str) -> Self {
        let member = self.members.iter_mut().find(|(own, _)| *own == name);
        member.unwrap().1 = value.to_owned();
        self
    }

    /// Writes and signs it (§5, §12.2).
    fn signed(&self, running: &Running) -> Request {
        self.signed_over(running, |target| target.to_owned())
    }

    /// The same with another target in `yy`.
    fn signed_over(&self, running: &Running, other: impl Fn(&str) -> String) -> Request {
        let pairs: Vec<_> = self
            .members
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let path = format!("{}?{}", self.path, pairs.join("&"));
        let target = match self.absolute {
            true => format!("{}{path}", running.url),
            false => path.clone(),
        };
        let body = if self.method == "GET" {
            "{}"
        } else {
            &self.body
        };
        let time = md5(&format!("{}000", self.seconds));
        let yy = md5(&format!("{}_{body}{time}ooui", escaped(&other(&target))));
        let sign = md5(&format!(
            "{}I*7Cf%WZ#S&%1RlZJ&C2{}",
            self.seconds, self.body
        ));
        let mut request = Request::new(self.method, &path)
            .header("token", self.token.clone())
            .header("x-timestamp", self.seconds.to_string())
            .header("x-signature", sign)
            .header("yy", yy)
            .header("Accept", PLAIN)
            .header("Accept-Language", "zh-CN,zh;q=0.9")
            .header("Origin", running.url.clone())
            .header("Referer", format!("{}/", running.url))
            .header("Sec-Ch-Ua", "\"Chromium\";v=\"144\"")
            .header("Sec-Ch-Ua-Mobile", "?0")
            .header("Sec-Ch-Ua-Platform", "\"Windows\"")
            .header("User-Agent", CHROME)
            .header("Content-Type", "application/json");
        request.body = self.body.clone().into_bytes();
        request
    }
}

fn get(running: &Running, account: usize, path: &str) -> Answer {
    plan(running, account, "GET", path, "")
        .signed(running)
        .ask(running)
}

fn post(running: &Running, account: usize, path: &str, body: &str) -> Answer {
    plan(running, account, "POST", path, body)
        .signed(running)
        .ask(running)
}

fn prepare(running: &Running, account: usize) {
    for path in ["config", "agent", "channel/connections"] {
        assert_eq!(
            get(running, account, &format!("{CLOUD}/{path}")).status,
            200
        );
    }
}

const SESSION: &str =
    r#"{"model":{"provider_id":"minimax","model_id":"MiniMax-M3","reasoning":true}}"#;
const AGENTS: [&str; 3] = ["271828182845904", "314159265358979", "141421356237309"];

fn open(running: &Running, account: usize) -> String {
    let path = format!("{CLOUD}/agent/{}/session", AGENTS[account - 1]);
    let opened = post(running, account, &path, SESSION).value();
    opened["session_id"].as_str().unwrap().to_owned()
}

fn message_body(text: &str, variant: &str) -> String {
    let turn = uuid::Uuid::new_v4();
    format!(
        r#"{{"content":{},"model":{{"provider_id":"minimax","model_id":"MiniMax-M3","variant":"{variant}"}},"turn_id":"{turn}","worktreeMode":false}}"#,
        json!(text)
    )
}

fn message(running: &Running, session: &str, body: &str) -> Plan {
    let path = format!("{CLOUD}/session/{session}/message");
    Plan {
        absolute: true,
        ..plan(running, 1, "POST", &path, body)
    }
}

fn asked(running: &Running, session: &str, body: &str) -> Answer {
    message(running, session, body)
        .signed(running)
        .header("Accept", "text/event-stream")
        .ask(running)
}

/// Opens a session of account 1 and asks in it.
fn ask(running: &Running, text: &str, variant: &str) -> Answer {
    let session = open(running, 1);
    asked(running, &session, &message_body(text, variant))
}

fn archive(running: &Running, session: &str) -> Answer {
    let path = format!("{CLOUD}/session/{session}/archive");
    post(running, 1, &path, r#"{"archived":true}"#)
}

fn records(answer: &Answer) -> Vec<Value> {
    let events = answer.events();
    let records = events.iter().filter(|data| *data != "[DONE]");
    records
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// What the increments say.
fn increments(answer: &Answer, member: &str) -> String {
    records(answer)
        .iter()
        .filter_map(|record| {
            record["agent_message_chunk"][member]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}

/// Checks a refusal and the record of it.
fn refused(running: &Running, request: &Request, status: u16, text: &str, why: &str) {
    let answer = request.ask(running);
    assert_eq!(answer.status, status, "{why}: {}", answer.text());
    let same = if text.is_empty() {
        answer.text().is_empty()
    } else {
        answer.text().contains(text)
    };
    assert!(same, "{why}: {}", answer.text());
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok, "{last:?}");
    let said = last.violation.unwrap_or_default();
    assert!(said.contains(why), "{why}: {said}");
}

#[test]
fn streams_in_a_session() {
    let minimax = start("minimax");
    prepare(&minimax, 1);
    let said = "你好👋🏽 data: \"x\"\n\n\u{2028}end";
    let session = open(&minimax, 1);
    let prompt = format!("think:先想想 echo:{said}");
    let answer = asked(&minimax, &session, &message_body(&prompt, "thinking"));
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert!(answer.text().starts_with("data:{\"type\":10}\n\n"));
    assert_eq!(increments(&answer, "msg_content"), said);
    assert_eq!(increments(&answer, "thinking_content"), "先想想");
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    let echo = &records(&answer)[1]["agent_message"];
    assert_eq!(
        (&echo["role"], &echo["msg_content"]),
        (&json!("user"), &json!(prompt))
    );
    // Further messages go to the same session.
    let second = asked(&minimax, &session, &message_body("echo:more", ""));
    assert_eq!(increments(&second, "msg_content"), "more");
    let history = get(&minimax, 1, &format!("{CLOUD}/session/{session}/message")).value();
    assert_eq!(history["messages"][1]["msg_content"], said);
    assert_eq!(history["messages"][3]["msg_content"], "more");
    let state = get(&minimax, 1, &format!("{CLOUD}/session/{session}")).value();
    assert_eq!(state["session"]["status"]["status_type"], 0);
    assert_eq!(archive(&minimax, &session).value()["success"], true);
    let state = minimax.control().state();
    assert_eq!(
        (state.created, state.deleted, state.open_streams),
        (1, 1, 0)
    );
    assert!(state.violations.is_empty(), "{:?}", state.violations);
}

#[test]
fn every_account_prepares_and_takes_its_agent() {
    let minimax = start("minimax");
    for account in 1..=3 {
        let path = format!("{CLOUD}/agent/{}/session", AGENTS[account - 1]);
        let early = post(&minimax, account, &path, SESSION);
        assert_eq!(early.status, 500);
        assert_eq!(
            early.text(),
            "[1400010501] Environment Variables not configured"
        );
        prepare(&minimax, account);
        open(&minimax, account);
    }
    assert!(
        minimax.control().state().violations.is_empty(),
        "{:?}",
        minimax.control().state()
    );
    let listed = get(&minimax, 1, &format!("{CLOUD}/config")).value();
    assert_eq!(listed["models"][0]["context_limit"], 450_000);
    let by_role = post(
        &minimax,
        1,
        &format!("{CLOUD}/agent/mavis/session"),
        SESSION,
    );
    assert_eq!(
        (by_role.status, by_role.value().get("session_id")),
        (200, None)
    );
    minimax.control().fault("config_short", 1).unwrap();
    let short = get(&minimax, 1, &format!("{CLOUD}/config")).value();
    assert_eq!(short["models"].as_array().unwrap().len(), 1);
}

#[test]
fn archon_is_the_same_under_another_prefix() {
    let minimax = start("minimax");
    let archon = "/archon/api/v1";
    for path in ["config", "agent", "channel/connections"] {
        assert_eq!(get(&minimax, 1, &format!("{archon}/{path}")).status, 200);
    }
    let path = format!("{archon}/agent/{}/session", AGENTS[0]);
    let opened = post(&minimax, 1, &path, r#"{"model":"minimax/MiniMax-M3"}"#).value();
    let session = opened["session_id"].as_str().unwrap();
    let body = message_body("echo:hi", "")
        .replace("\"worktreeMode", "\"enable_team\":false,\"worktreeMode");
    let plan = Plan {
        absolute: true,
        ..plan(
            &minimax,
            1,
            "POST",
            &format!("{archon}/session/{session}/message"),
            &body,
        )
    };
    let answer = plan
        .signed(&minimax)
        .header("Accept", "text/event-stream")
        .ask(&minimax);
    assert_eq!(increments(&answer, "msg_content"), "hi");
    assert!(
        minimax.control().state().violations.is_empty(),
        "{:?}",
        minimax.control().state()
    );
    let path = format!("{CLOUD}/agent/{}/session", AGENTS[0]);
    assert_eq!(
        post(&minimax, 1, &path, r#"{"model":"minimax/MiniMax-M3"}"#).value()["base_resp"]["status_code"],
        2013
    );
}

#[test]
fn generations_answer_alone() {
    let minimax = start("minimax");
    let control = minimax.control();
    control.set_generation("matrix").unwrap();
    assert_eq!(get(&minimax, 1, &format!("{CLOUD}/config")).status, 404);
    let page = get(&minimax, 1, "/archon/api/v1/config");
    assert_eq!(
        (page.status, page.headers["content-type"].as_str()),
        (200, "text/html")
    );
    assert_eq!(get(&minimax, 1, "/v1/api/user/info").status, 200);
    control.set_generation("newest").unwrap();
    let page = post(
        &minimax,
        1,
        "/matrix/api/v1/chat/list_chat",
        r#"{"page_size":20}"#,
    );
    assert!(page.text().contains("<html>"));
    assert_eq!(get(&minimax, 1, &format!("{CLOUD}/config")).status, 200);
    assert!(control.state().violations.is_empty());
}

#[test]
fn quirks_say_the_same() {
    let minimax = start("minimax");
    prepare(&minimax, 1);
    let said = "一二三四五六七八九十 and so on";
    for quirk in minimax.control().known_quirks() {
        if *quirk == "stays_open" {
            continue;
        }
        let script = Script {
            quirks: vec![(*quirk).to_owned()],
            ..Script::default()
        };
        minimax.control().script(script).unwrap();
        let answer = ask(&minimax, &format!("think:hm echo:{said}"), "");
        let whole: String = records(&answer)
            .iter()
            .map(|record| &record["agent_message"])
            .filter(|message| message["role"] == "assistant")
            .map(|message| message["msg_content"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(whole, said, "{quirk}");
        let done = answer.events().last().unwrap() == "[DONE]";
        assert_eq!(done, !matches!(*quirk, "no_done" | "no_end"), "{quirk}");
        let status = answer.text().contains("{\"type\":\"finished\"}");
        assert_eq!(status, !matches!(*quirk, "no_status" | "no_end"), "{quirk}");
        assert_eq!(answer.text().starts_with("data: {"), *quirk == "blank");
    }
}

#[test]
fn plays_a_recorded_stream_byte_for_byte() {
    let minimax = start("minimax");
    prepare(&minimax, 1);
    let sample = "data:{\"type\":10}\r\n\r\ndata:{\"你\":1}\n\n";
    let script = Script {
        raw: Some(sample.to_owned()),
        write_bytes: Some(1),
        ..Script::default()
    };
    minimax.control().script(script).unwrap();
    assert_eq!(ask(&minimax, "hi", "").text(), sample);
}
