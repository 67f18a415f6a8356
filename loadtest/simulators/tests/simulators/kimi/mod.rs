//! wire/kimi.md, checked from the client's side.

mod k3;
mod refusals;
mod sockets;

use hive2api_simulators::{Running, Script, script::Citation};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start};

const CHAT: &str = "/apiv2/kimi.gateway.chat.v1.ChatService/Chat";
const DELETE: &str = "/apiv2/kimi.chat.v1.ChatService/DeleteChat";
const REFRESH: &str = "/api/account.gateway.v1.AuthService/RefreshToken";

/// The headers of §4.1, for the first account.
fn call(running: &Running, method: &'static str, path: &str) -> Request {
    Request::new(method, path)
        .header(
            "Authorization",
            format!("Bearer {}", setting(running, "KIMI_TOKEN")),
        )
        .header("x-msh-platform", "web")
        .header("x-msh-device-id", "7500")
        .header("x-msh-session-id", "17310")
        .header("x-traffic-id", "u1")
        .header("x-msh-version", "1.0.0")
        .header("x-language", "zh-CN")
        .header("r-timezone", "Asia/Shanghai")
        .header("Accept", "*/*")
        .header("Origin", "https://www.kimi.com")
        .header("Referer", "https://www.kimi.com/")
        .header("User-Agent", CHROME)
}

fn post(running: &Running, path: &str, body: &Value) -> Answer {
    call(running, "POST", path).json(body).ask(running)
}

fn envelope(payload: &str) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0], &length[..], payload.as_bytes()].concat()
}

fn question(prompt: &str) -> Value {
    json!({
        "scenario": "SCENARIO_K2D5", "tools": [], "options": {"thinking": false},
        "message": {"role": "user", "scenario": "SCENARIO_K2D5", "blocks": [{"message_id": "", "text": {"content": prompt}}]},
    })
}

fn asking(running: &Running, body: &Value) -> Request {
    let mut request = call(running, "POST", CHAT)
        .header("Content-Type", "application/connect+json")
        .header("Connect-Protocol-Version", "1");
    request.body = envelope(&body.to_string());
    request
}

fn ask(running: &Running, prompt: &str) -> Answer {
    asking(running, &question(prompt)).ask(running)
}

/// Flags and payload of each envelope.
fn envelopes(mut bytes: &[u8]) -> Vec<(u8, Value)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let (payload, rest) = rest.split_at(usize::try_from(length).unwrap());
        found.push((head[0], serde_json::from_slice(payload).unwrap()));
        bytes = rest;
    }
    found
}

/// All text, marks included.
fn text(answer: &Answer) -> String {
    let events = envelopes(&answer.body);
    let pieces = events
        .iter()
        .filter_map(|(_, event)| event.pointer("/block/text/content")?.as_str());
    pieces.collect()
}

fn chat_id(answer: &Answer) -> String {
    let events = envelopes(&answer.body);
    let id = events
        .iter()
        .find_map(|(_, event)| event.pointer("/chat/id")?.as_str());
    id.unwrap().to_owned()
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn scripted(running: &Running, pieces: &[&str], quirks: &[&str]) {
    let script = Script {
        pieces: Some(own(pieces)),
        quirks: own(quirks),
        ..Script::default()
    };
    running.control().script(script).unwrap();
}

fn refused(running: &Running, request: &Request, status: u16, what: &str) {
    let answer = request.ask(running);
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, status, "{body}");
    assert!(body.contains(what), "{what}: {body}");
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok && last.violation.is_some(), "{last:?}");
}

fn no_violations(running: &Running) {
    let violations = running.control().state().violations;
    assert!(violations.is_empty(), "{violations:?}");
}

const SAMPLE_A: [&str; 9] = [
    r#"{"heartbeat":{}}"#,
    r#"{"op":"set","eventOffset":1,"chat":{"id":"19c00000-0000-8000-8000-000000000001","name":"未命名会话","createTime":"2026-01-01T00:00:00Z","updateTime":"2026-01-01T00:00:00Z"}}"#,
    r#"{"op":"set","mask":"message","eventOffset":2,"message":{"id":"19c00000-0000-8000-8000-000000000002","role":"user","status":"MESSAGE_STATUS_COMPLETED","blocks":[{"id":"text_0_0","text":{"content":"hi"}}],"scenario":"SCENARIO_K2D5"}}"#,
    r#"{"op":"set","mask":"message","eventOffset":3,"message":{"id":"19c00000-0000-8000-8000-000000000003","parentId":"19c00000-0000-8000-8000-000000000002","role":"assistant","status":"MESSAGE_STATUS_GENERATING","scenario":"SCENARIO_K2D5"}}"#,
    r#"{"op":"set","mask":"block.text","eventOffset":4,"block":{"id":"1","parentId":"","text":{"content":"При"},"createTime":"2026-01-01T00:00:00Z"}}"#,
    r#"{"op":"append","mask":"block.text.content","eventOffset":5,"block":{"id":"1","parentId":"","text":{"content":"вет 👋🏽"}}}"#,
    r#"{"op":"set","mask":"message.status","eventOffset":6,"message":{"id":"19c00000-0000-8000-8000-000000000003","status":"MESSAGE_STATUS_COMPLETED"}}"#,
    r#"{"eventOffset":7,"done":{}}"#,
    "{}",
];

/// The bytes of sample A, whose last envelope has the flags 2.
fn sample_a() -> Vec<u8> {
    let mut sample: Vec<u8> = SAMPLE_A.iter().flat_map(|line| envelope(line)).collect();
    let trailer = sample.len() - 7;
    sample[trailer] = 2;
    assert_eq!(sample.len(), 1151, "§6.4");
    sample
}

#[test]
fn sample_a_comes_out_byte_for_byte() {
    let kimi = start("kimi");
    scripted(&kimi, &["При", "вет 👋🏽"], &[]);
    let answer = ask(&kimi, "hi");
    assert_eq!(answer.headers["content-type"], "application/connect+json");
    assert_eq!(answer.body, sample_a());
    no_violations(&kimi);
}

#[test]
fn sample_b_thinks_searches_and_cites() {
    let kimi = start("kimi");
    let page = |n| Citation {
        url: format!("https://example.org/{n}"),
        title: format!("T{n}"),
    };
    let first = ask(&kimi, "count:1");
    let mut body = question("x");
    body["chat_id"] = json!(chat_id(&first));
    body["message"]["parent_id"] = json!("19c00000-0000-8000-8000-000000000003");
    body["options"]["thinking"] = json!(true);
    body["tools"] = json!([{"type": "TOOL_TYPE_SEARCH", "search": {}}]);
    let script = Script {
        reasoning: Some("先想想".to_owned()),
        piece_chars: Some(1),
        pieces: Some(own(&["A", "B", "C", "D."])),
        citations: Some(vec![page(0), page(1)]),
        quirks: own(&["two_blocks"]),
        ..Script::default()
    };
    kimi.control().script(script).unwrap();
    let answer = asking(&kimi, &body).ask(&kimi);
    let written = String::from_utf8_lossy(&answer.body).into_owned();
    for line in [
        r#"{"op":"set","mask":"chat.lastRequest","eventOffset":1,"chat":{"id":"19c00000-0000-8000-8000-000000000001","lastRequest":{"options":{"thinking":true},"tools":["#,
        r#""multiStage":{"stages":[{"name":"STAGE_NAME_THINKING","status":"STAGE_STATUS_START"}]}}}"#,
        r#""block":{"id":"3","parentId":"2","think":{"content":"先"}}}"#,
        r#"{"op":"append","mask":"block.think.content","#,
        r#""block":{"id":"4","parentId":"","tool":{"toolCallId":"t","name":"web_search","status":"STATUS_PENDING"}}}"#,
        r#""block":{"id":"4","tool":{"args":"{\"queries\":[\"x\"]}"}}}"#,
        r#""refIndex":"web_search:1#1""#,
    ] {
        assert!(written.contains(line), "{line} is not in {written}");
    }
    assert_eq!(
        text(&answer),
        "A\u{e3a0}cite\u{e3a3}web_search:1#0\u{e3a3}web_search:1#1\u{e3a8}BCD."
    );
    let blocks: Vec<_> = envelopes(&answer.body)
        .iter()
        .filter(|(_, event)| event.pointer("/block/text").is_some())
        .map(|(_, event)| event["block"]["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(blocks, ["5", "5", "5", "6", "6"]);
    no_violations(&kimi);
}

#[test]
fn chats_go_on_and_are_deleted_once() {
    let kimi = start("kimi");
    let id = chat_id(&ask(&kimi, "system:S\nuser:a\nassistant:b\nuser:echo:c\n"));
    let asked = kimi.control().calls("ask").pop().unwrap();
    let roles: Vec<_> = asked.turns.iter().map(|turn| turn.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    let messages = "/apiv2/kimi.gateway.chat.v1.ChatService/ListMessages";
    let messages = post(&kimi, messages, &json!({"chat_id": id, "page_size": 9})).value();
    assert_eq!(messages["messages"][0]["blocks"][0]["text"]["content"], "c");
    let body = json!({"chat_id": id});
    assert_eq!(post(&kimi, DELETE, &body).value(), json!({}));
    no_violations(&kimi);
    let again = call(&kimi, "POST", DELETE).json(&body);
    refused(&kimi, &again, 404, "not_found");
    let mut on = question("x");
    on["chat_id"] = json!(id);
    on["message"]["parent_id"] = json!("19c00000-0000-8000-8000-000000000003");
    refused(
        &kimi,
        &asking(&kimi, &on),
        200,
        r#"{"error":{"code":"not_found""#,
    );
    let state = kimi.control().state();
    assert_eq!((state.created, state.deleted), (1, 1));
}

#[test]
fn files_are_uploaded_and_parsed() {
    let kimi = start("kimi");
    let form = [("file|; filename=\"a.png\"\r\nContent-Type: image/png", "x")];
    let upload = call(&kimi, "POST", "/apiv2-files/file/upload").form(&form);
    let id = upload.ask(&kimi).value()["file"]["id"].clone();
    let path = "/apiv2-files/kimi.gateway.file.v1.FileService/GetFileParseProgress";
    let progress = || {
        let answer = post(&kimi, path, &json!({"file_ids": [id]})).value();
        answer["progresses"][0]["status"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut body = question("echo:x");
    let file = json!({"message_id": "", "file": {"id": id, "status": 3, "fail_reason": ""}});
    body["message"]["blocks"].as_array_mut().unwrap().push(file);
    assert_eq!(progress(), "PROCESS_STATUS_PROCESSING");
    assert_eq!(progress(), "PROCESS_STATUS_SUCCESS");
    assert_eq!(text(&asking(&kimi, &body).ask(&kimi)), "x");
    no_violations(&kimi);
    kimi.control().fault("parse_failed", 1).unwrap();
    assert_eq!(progress(), "PROCESS_STATUS_FAIL");
    body["message"]["blocks"][1]["file"]["id"] = json!("other");
    refused(&kimi, &asking(&kimi, &body), 200, "not_found");
}

#[test]
fn tokens_are_refreshed_once() {
    let kimi = start("kimi");
    let first = setting(&kimi, "KIMI_TOKEN_2");
    let refresh = |token: &str| {
        let body = json!({"refresh_token": token});
        Request::new("POST", REFRESH).json(&body).ask(&kimi)
    };
    let tokens = refresh(&first).value();
    let bearer = format!("Bearer {}", tokens["accessToken"].as_str().unwrap());
    let second = |request: Request| {
        request
            .header("Authorization", bearer.clone())
            .header("x-msh-device-id", "7501")
            .header("x-msh-session-id", "17311")
            .header("x-traffic-id", "u~?>1")
    };
    let answer = second(asking(&kimi, &question("echo:x"))).ask(&kimi);
    assert_eq!(text(&answer), "x");
    assert_eq!(kimi.control().log().pop().unwrap().account, Some(2));
    no_violations(&kimi);
    assert_eq!(refresh(&first).status, 401);
    kimi.control().fault("refresh_gone", 1).unwrap();
    let next = tokens["refreshToken"].as_str().unwrap();
    assert_eq!(refresh(next).status, 404);
    let rest = Request::new("GET", "/api/auth/token/refresh");
    let rest = rest.header("Authorization", format!("Bearer {next}"));
    assert!(rest.ask(&kimi).value()["access_token"].is_string());
    assert_eq!(kimi.control().state().violations.len(), 1);
}

#[test]
fn quirks_are_quirks() {
    let kimi = start("kimi");
    let said = |quirks: &[&str]| {
        scripted(&kimi, &["ab", "cd", "ef", "gh"], quirks);
        ask(&kimi, "x")
    };
    assert!(
        !said(&["no_mask"])
            .body
            .windows(10)
            .any(|part| part == b"block.text")
    );
    assert_eq!(envelopes(&said(&["no_trailer"]).body).last().unwrap().0, 0);
    let no_done = envelopes(&said(&["no_done"]).body);
    assert!(no_done.iter().all(|(_, event)| event.get("done").is_none()));
    assert!(text(&said(&["set_again"])).contains("abcdef"));
    assert!(text(&said(&["unfinished_mark"])).ends_with("\u{e3a0}ci"));
    assert_eq!(text(&said(&["together"])), "abcdefgh");
    assert_eq!(
        text(&said(&[
            "two_blocks",
            "heartbeats",
            "title",
            "unknown_events"
        ])),
        "abcdefgh"
    );
    let metadata = envelopes(&said(&["trailer_metadata"]).body).pop().unwrap();
    assert!(metadata.1["metadata"].is_object());
}
