//! wire/ernie.md, checked from the client's side.

use std::time::{SystemTime, UNIX_EPOCH};

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start};

const CHAT: &str = "/eb/chat/conversation/v2";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A part of what account 1 has captured.
fn part(ernie: &Running, name: &str) -> String {
    setting(ernie, &format!("BAIDU_ACCOUNT_1_{name}"))
}

fn call(ernie: &Running, path: &str, body: &Value) -> Request {
    Request::new("POST", path)
        .header("cookie", part(ernie, "COOKIE"))
        .header("acs-token", part(ernie, "ACS_TOKEN"))
        .header(
            "accept",
            "text/event-stream,application/json, text/event-stream",
        )
        .header("device-type", "pc")
        .header("origin", "https://ernie.baidu.com")
        .header("referer", "https://ernie.baidu.com/")
        .header("user-agent", CHROME)
        .json(body)
}

fn full(ernie: &Running, text: &str, model: &str, deep: u8) -> Value {
    json!({
        "sign": part(ernie, "SIGN"), "timestamp": now(), "deviceType": "pc", "isNewYiyan": true, "jt": part(ernie, "JT"),
        "text": text, "sessionId": null, "sessionName": "", "pluginIds": "", "type": 10, "model": model,
        "deepThoughtStatus": deep, "webSearch": false, "newAppSessionId": "", "file_ids": [], "assistantId": "",
        "sessionType": 0, "plugins": [], "pluginInfo": [], "isSlowThought": false, "isAgentSquare": false,
        "noMultiReply": false, "shareContChat": null, "parentChatId": "0",
    })
}

fn short(ernie: &Running, text: &str) -> Value {
    json!({
        "sign": part(ernie, "SIGN"), "timestamp": now(), "deviceType": "pc", "text": text, "model": "EB45T", "sessionId": "",
        "sessionName": "", "parentChatId": 0, "isNewYiyan": true,
    })
}

fn ask(ernie: &Running, text: &str) -> Answer {
    call(ernie, CHAT, &full(ernie, text, "EB45T", 0)).ask(ernie)
}

/// The data of all events.
fn data(answer: &Answer) -> Vec<Value> {
    let events = answer.events();
    let data = events
        .iter()
        .filter_map(|data| serde_json::from_str(data).ok());
    data.collect()
}

fn said(answer: &Answer) -> String {
    let pieces = data(answer).into_iter();
    pieces
        .filter(|it| it.get("task_id").is_none())
        .filter_map(|it| it["data"]["content"].as_str().map(str::to_owned))
        .collect()
}

fn session(answer: &Answer) -> String {
    let major = &data(answer)[0]["data"];
    let id = &major["createSessionResponseVoCommonResult"]["data"]["sessionId"];
    id.as_str().unwrap().to_owned()
}

/// Checks a refusal by its code, and what was written down of it.
fn refused(ernie: &Running, request: &Request, code: i64, why: &str) {
    let answer = request.ask(ernie);
    assert_eq!(answer.value()["code"], code, "{why}: {}", answer.text());
    let last = ernie.control().log().pop().unwrap();
    let violation = last.violation.unwrap_or_default();
    assert!(!last.ok && violation.contains(why), "{why}: {violation}");
}

#[test]
fn answers_both_forms_in_a_session_that_can_be_deleted() {
    let ernie = start("ernie");
    let text = "你好👋🏽 \"x\"\n<end>";
    let first = ask(&ernie, &format!("echo:{text}"));
    let second = call(&ernie, CHAT, &short(&ernie, &format!("echo:{text}"))).ask(&ernie);
    for answer in [&first, &second] {
        assert_eq!((answer.status, said(answer)), (200, text.to_owned()));
        let last = data(answer).pop().unwrap();
        assert_eq!(
            (&last["data"]["is_end"], &last["data"]["tokens_all"]),
            (&json!(1), &json!(text))
        );
    }
    let history = json!({"deviceType": "pc", "pageSize": 2000, "sessionId": session(&first), "timestamp": now()});
    let history = call(&ernie, "/eb/chat/history", &history).ask(&ernie);
    assert_eq!(
        history.value()["data"]["chats"].as_object().unwrap().len(),
        2
    );
    for answer in [&first, &second] {
        let body = json!({"deviceType": "pc", "sessionId": session(answer), "timestamp": now()});
        let deletion = call(&ernie, "/eb/session/delete", &body);
        assert_eq!(deletion.ask(&ernie).value()["code"], 0);
        refused(&ernie, &deletion, 40002, "the session is not there");
    }
    let state = ernie.control().state();
    assert_eq!((state.created, state.deleted), (2, 2));
}

#[test]
fn goes_on_after_its_own_last_message() {
    let ernie = start("ernie");
    let first = ask(&ernie, "echo:x");
    let bot = data(&first)[0]["data"]["createChatResponseVoCommonResult"]["data"]["botChat"]["id"]
        .clone();
    let mut body = full(&ernie, "echo:y", "EB45T", 0);
    body["sessionId"] = json!(session(&first));
    body["parentChatId"] = json!("1");
    assert_eq!(call(&ernie, CHAT, &body).ask(&ernie).value()["code"], 40002);
    body["parentChatId"] = bot;
    assert_eq!(said(&call(&ernie, CHAT, &body).ask(&ernie)), "y");
    assert_eq!(ernie.control().state().created, 1);
}

#[test]
fn quirks_say_the_same() {
    let ernie = start("ernie");
    for quirk in ernie.control().known_quirks() {
        let script = Script {
            quirks: vec![(*quirk).to_owned()],
            ..Script::default()
        };
        ernie.control().script(script).unwrap();
        let answer = ask(&ernie, "echo:一二\n三 and");
        let text = said(&answer).replace("<br>", "\n").replace('\0', "");
        let whole = data(&answer).pop().unwrap()["data"]["tokens_all"].clone();
        let whole = whole
            .as_str()
            .unwrap()
            .replace("<br>", "\n")
            .replace('\0', "");
        assert_eq!(whole, "一二\n三 and", "{quirk}");
        assert_eq!(text.is_empty(), *quirk == "whole_only", "{quirk}: {text}");
        assert_eq!(answer.text().contains("\r\n"), *quirk == "crlf");
        assert_eq!(answer.text().contains("event"), *quirk != "no_names");
        assert_eq!(answer.text().contains("data: "), *quirk == "space");
    }
}

#[test]
fn thinks_before_it_answers() {
    let ernie = start("ernie");
    let answer = call(&ernie, CHAT, &full(&ernie, "think:想想 echo:2", "X1_1", 2)).ask(&ernie);
    let frames = data(&answer);
    let thoughts: String = frames
        .iter()
        .filter_map(|it| it["thoughts"].as_str())
        .collect();
    assert_eq!((thoughts.as_str(), said(&answer).as_str()), ("想想", "2"));
    let ends = frames
        .iter()
        .filter(|it| it["is_end"] == 1 || it["data"]["is_end"] == 1);
    assert_eq!(ends.count(), 2, "the thinking's and the answer's");
    refused(
        &ernie,
        &call(&ernie, CHAT, &full(&ernie, "x", "EB35", 2)),
        40000,
        "deepThoughtStatus",
    );
}

#[test]
fn pictures_are_tags_with_a_watermark() {
    let ernie = start("ernie");
    let text = said(&ask(&ernie, "draw:1 echo:好"));
    assert!(
        text.starts_with("<img src=\"http") && text.ends_with("=style/wm_ai\" /><br>好"),
        "{text}"
    );
}

#[test]
fn what_was_captured_is_looked_at() {
    let ernie = start("ernie");
    let good = || call(&ernie, CHAT, &full(&ernie, "x", "EB45T", 0));
    refused(
        &ernie,
        &good().header("cookie", "BDUSS_BFESS=x"),
        10001,
        "the cookie",
    );
    refused(&ernie, &good().header("acs-token", "x"), 40005, "acs-token");
    refused(&ernie, &good().without("acs-token"), 40005, "acs-token");
    let changed = |name: &str, value: Value| {
        let mut body = full(&ernie, "x", "EB45T", 0);
        body[name] = value;
        call(&ernie, CHAT, &body)
    };
    refused(&ernie, &changed("sign", json!("")), 40005, "sign");
    refused(&ernie, &changed("jt", json!("31$")), 40005, "jt");
    refused(
        &ernie,
        &changed("timestamp", json!(now() - 16 * 60_000)),
        40005,
        "timestamp",
    );
    refused(
        &ernie,
        &changed("timestamp", json!(now().to_string())),
        40005,
        "timestamp",
    );
    refused(&ernie, &changed("model", json!("EB99")), 40000, "no model");
    refused(&ernie, &changed("type", json!("10")), 40000, "type");
    refused(
        &ernie,
        &changed("parentChatId", json!(1)),
        40000,
        "parentChatId",
    );
    for name in ["device-type", "origin", "referer", "accept", "user-agent"] {
        assert_eq!(good().without(name).ask(&ernie).status, 200);
        let last = ernie.control().log().pop().unwrap();
        assert!(last.violation.is_some(), "{name}");
    }
    assert_eq!(good().ask(&ernie).status, 200);
    assert!(ernie.control().log().pop().unwrap().violation.is_none());
}

#[test]
fn every_fault_looks_as_the_page_says() {
    let ernie = start("ernie");
    for (fault, text) in [
        ("not_logged_in", r#""code":10001"#),
        ("restricted", r#""code":40005"#),
        ("restricted_check", "验证"),
        ("rate_limited", r#""code":1,"#),
        ("sensitive", r#""code":40008"#),
        ("overloaded", "繁忙"),
        ("session_lost", r#""code":40002"#),
        ("bad_body", r#""code":40000"#),
        ("no_stream", r#""code":0"#),
        ("garbage", "oops"),
        ("moderated_after_text", "违规"),
        ("error_after_text", r#""code":50000"#),
        ("empty", r#""is_end":1"#),
    ] {
        ernie.control().fault(fault, 1).unwrap();
        let answer = ask(&ernie, "echo:一二三四五六七八九十");
        assert_eq!(answer.status, 200, "{fault}");
        assert!(answer.text().contains(text), "{fault}: {}", answer.text());
    }
    assert!(ernie.control().state().violations.is_empty());
}
