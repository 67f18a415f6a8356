//! wire/zhipu.md, checked from the client's side.

mod refusals;
mod tokens;
mod uploads;

use std::time::{SystemTime, UNIX_EPOCH};

use hive2api_simulators::{Running, Script};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start};

const MAIN: &str = "65940acff94777010aa6b796";
const DRAWING: &str = "65a232c082ff90a2ad2f15e2";
const ASK: &str = "/chatglm/backend-api/assistant/stream";
const DELETE: &str = "/chatglm/backend-api/assistant/conversation/delete";
const REFRESH: &str = "/chatglm/user-api/user/refresh";
const DEVICE: &str = "0123456789abcdef0123456789abcde2";

fn hex() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// §5, step by step.
fn doctored(ms: u64) -> String {
    let plain = ms.to_string();
    let digits: Vec<u64> = plain.bytes().map(|byte| u64::from(byte - b'0')).collect();
    let last = digits[digits.len() - 1];
    let before = digits[digits.len() - 2];
    let check = (digits.iter().sum::<u64>() - before) % 10;
    let start: String = plain.chars().take(digits.len() - 2).collect();
    format!("{start}{check}{last}")
}

/// Signs a request anew.
fn signed(request: Request) -> Request {
    signed_at(request, now_ms())
}

fn signed_at(request: Request, ms: u64) -> Request {
    let (timestamp, nonce) = (doctored(ms), hex());
    let text = format!("{timestamp}-{nonce}-8a1317a7468aa3ad86e997d08f3f31cb");
    let sign: String = Md5::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    request
        .header("X-Timestamp", timestamp)
        .header("X-Nonce", nonce)
        .header("X-Sign", sign)
}

/// A signed call of account 2, whose access token is configured.
fn call(running: &Running, method: &'static str, path: &str) -> Request {
    let request = Request::new(method, path)
        .header(
            "Authorization",
            format!("Bearer {}", setting(running, "ZHIPU_TOKEN_2")),
        )
        .header("X-Device-Id", DEVICE)
        .header("X-App-Platform", "pc")
        .header("X-App-Version", "0.0.1")
        .header("X-Request-Id", hex())
        .header("App-Name", "chatglm")
        .header("Origin", "https://chatglm.cn")
        .header("Referer", "https://chatglm.cn/main/alltoolsdetail")
        .header("X-Lang", "zh")
        .header("X-App-fr", "default")
        .header("X-Exp-Groups", "")
        .header("X-Device-Model", "")
        .header("X-Device-Brand", "")
        .header("Accept", "*/*")
        .header("Accept-Language", "zh-CN,zh;q=0.9")
        .header("Sec-Ch-Ua", "\"Chromium\";v=\"144\"")
        .header("Sec-Ch-Ua-Mobile", "?0")
        .header("Sec-Ch-Ua-Platform", "\"Windows\"")
        .header("Sec-Fetch-Dest", "empty")
        .header("Sec-Fetch-Mode", "cors")
        .header("Sec-Fetch-Site", "same-origin")
        .header("User-Agent", CHROME);
    signed(request)
}

fn question(text: &str) -> Value {
    json!({
        "assistant_id": MAIN, "conversation_id": "", "project_id": "", "chat_type": "user_chat",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "meta_data": {
            "cogview": {"rm_label_watermark": false}, "is_test": false, "input_question_type": "xxxx", "channel": "",
            "draft_id": "", "chat_mode": "", "is_networking": false, "quote_log_id": "", "platform": "pc",
        },
    })
}

fn asking(running: &Running, body: &Value) -> Request {
    call(running, "POST", ASK)
        .header("Accept", "text/event-stream")
        .json(body)
}

fn frames(answer: &Answer) -> Vec<Value> {
    let events = answer.events();
    let frames = events.iter().filter(|data| *data != "[DONE]");
    frames
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// The items of all parts of a frame that have this type.
fn items<'a>(frame: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let parts = frame["parts"].as_array().into_iter().flatten();
    let items = parts.flat_map(|part| part["content"].as_array().into_iter().flatten());
    items.filter(move |item| item["type"] == kind)
}

/// The text of a frame.
fn text(frame: &Value) -> String {
    items(frame, "text")
        .map(|item| item["text"].as_str().unwrap())
        .collect()
}

fn delete(running: &Running, conversation: &Value, assistant: &str) -> Answer {
    let referer = match assistant {
        MAIN => "https://chatglm.cn/main/alltoolsdetail".to_owned(),
        other => format!("https://chatglm.cn/main/gdetail/{other}"),
    };
    call(running, "POST", DELETE)
        .header("Referer", referer)
        .json(&json!({"assistant_id": assistant, "conversation_id": conversation}))
        .ask(running)
}

/// Sends a wrong request and checks the refusal and the record of it.
fn refused(running: &Running, request: &Request, status: u16, number: u32, why: &str) {
    let answer = request.ask(running);
    assert_eq!(
        (answer.status, &answer.value()["status"]),
        (status, &json!(number)),
        "{}",
        answer.text()
    );
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok, "{last:?}");
    assert!(last.violation.unwrap().contains(why), "{why}");
}

#[test]
fn streams_what_is_new_and_then_the_whole() {
    let zhipu = start("zhipu");
    let said = "你好👋🏽 data: \"x\"\n\n\u{2028}end";
    let mut body = question(&format!("think:先想想 echo:{said}"));
    body["meta_data"]["chat_mode"] = json!("zero");
    let answer = asking(&zhipu, &body).ask(&zhipu);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert!(answer.text().starts_with("event: message\ndata: {"));
    let frames = frames(&answer);
    assert_eq!(frames[0]["parts"], json!([]));
    let (last, before) = frames.split_last().unwrap();
    let increments: String = before[..before.len() - 1].iter().map(text).collect();
    assert_eq!(increments, said);
    assert_eq!(
        (text(last), &last["status"]),
        (said.to_owned(), &json!("finish"))
    );
    assert_eq!(items(last, "think").next().unwrap()["think"], "先想想");
    assert_eq!(before[1]["meta_data"]["if_increase_push"], true);
    assert_eq!(last["meta_data"]["if_increase_push"], false);
    let deleted = delete(&zhipu, &last["conversation_id"], MAIN);
    assert_eq!(deleted.value()["status"], 0);
    let state = zhipu.control().state();
    assert_eq!(
        (state.created, state.deleted, state.open_streams),
        (1, 1, 0)
    );
    assert!(state.violations.is_empty(), "{:?}", state.violations);
}

#[test]
fn repeats_the_text_in_the_older_generation() {
    let zhipu = start("zhipu");
    zhipu.control().set_generation("oldest").unwrap();
    let mut body = question("cite:1 count:3");
    body["meta_data"]["is_networking"] = json!(true);
    let found = frames(&asking(&zhipu, &body).ask(&zhipu));
    let texts: Vec<_> = found.iter().map(text).collect();
    assert!(texts.contains(&"1 2".to_owned()), "{texts:?}");
    assert!(
        found
            .iter()
            .all(|frame| frame["meta_data"]["if_increase_push"] == false)
    );
    let last = found.last().unwrap();
    assert_eq!(items(last, "quote_result").count(), 1);
    assert!(last.to_string().contains("metadata_list"));
    body["meta_data"]["if_increase_push"] = json!(true);
    let asked = frames(&asking(&zhipu, &body).ask(&zhipu));
    assert_eq!(asked[0]["meta_data"]["if_increase_push"], true);
    zhipu.control().set_generation("newest").unwrap();
    let today = frames(&asking(&zhipu, &body).ask(&zhipu));
    assert!(today.last().unwrap().to_string().contains("search_results"));
}

#[test]
fn quirks_end_in_the_same_text() {
    let zhipu = start("zhipu");
    let said = "一二三四五六七八九十 and so on";
    for quirk in zhipu.control().known_quirks() {
        let script = Script {
            quirks: vec![(*quirk).to_owned()],
            ..Script::default()
        };
        zhipu.control().script(script).unwrap();
        let body = question(&format!("think:hm cite:1 draw:2 echo:{said}"));
        let answer = asking(&zhipu, &body).ask(&zhipu);
        let last = match *quirk {
            "whole" => answer.value(),
            _ => frames(&answer).pop().unwrap(),
        };
        assert!(text(&last).contains(said), "{quirk}: {last}");
        assert_eq!(last["status"], "finish", "{quirk}");
        assert_eq!(answer.text().contains("[DONE]"), *quirk == "done");
        assert_eq!(answer.text().contains("\r\n\r\n"), *quirk == "crlf");
        let flagged = answer.text().contains("if_increase_push");
        assert_eq!(flagged, *quirk != "unflagged", "{quirk}");
    }
}

#[test]
fn draws_four_pictures_out_of_order() {
    let zhipu = start("zhipu");
    let mut body = question("请画：一只猫");
    body["assistant_id"] = json!(DRAWING);
    body["meta_data"]["cogview"] = json!({
        "aspect_ratio": "16:9", "style": "none", "scene": "none", "chat_model": "", "rm_label_watermark": false,
    });
    let drawn = frames(&asking(&zhipu, &body).ask(&zhipu)).pop().unwrap();
    let item = items(&drawn, "image").next().unwrap();
    let orders: Vec<_> = item["image"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["order"].as_u64().unwrap())
        .collect();
    assert_eq!(orders, [0, 3, 1, 2]);
    assert_eq!(text(&drawn), "");
    let id = &drawn["conversation_id"];
    assert_eq!(delete(&zhipu, id, DRAWING).value()["status"], 0);
    assert!(zhipu.control().state().violations.is_empty());
    body["meta_data"]["cogview"]["aspect_ratio"] = json!("wide");
    refused(&zhipu, &asking(&zhipu, &body), 400, 400, "aspect_ratio");
}

#[test]
fn continues_a_conversation_and_takes_history_apart() {
    let zhipu = start("zhipu");
    let prompt =
        "<|system|>\nS\n<|user|>\na\n<|assistant|>\nb\n<|user|>\necho:x\ny\n<|assistant|>\n";
    let first = frames(&asking(&zhipu, &question(prompt)).ask(&zhipu))
        .pop()
        .unwrap();
    assert_eq!(text(&first), "x\ny");
    let asked = &zhipu.control().calls("ask")[0];
    assert_eq!(asked.turns.len(), 4);
    assert_eq!(
        (asked.turns[0].role.as_str(), asked.turns[0].text.as_str()),
        ("system", "S")
    );
    let mut more = question("echo:again");
    more["conversation_id"] = first["conversation_id"].clone();
    let second = frames(&asking(&zhipu, &more).ask(&zhipu)).pop().unwrap();
    assert_eq!(second["conversation_id"], first["conversation_id"]);
    assert_eq!(zhipu.control().state().created, 1);
    let list = call(
        &zhipu,
        "POST",
        "/chatglm/mainchat-api/conversation/recent_list",
    )
    .json(&json!({"page": 1, "page_size": 20}))
    .ask(&zhipu)
    .value();
    let id = list["result"]["conversation_list"][0]["conversation_id"].clone();
    assert_eq!(id, first["conversation_id"]);
    let bulk = call(
        &zhipu,
        "POST",
        "/chatglm/mainchat-api/conversation/bulk_delete",
    )
    .json(&json!({"conversation_ids": [id]}))
    .ask(&zhipu);
    assert_eq!(bulk.value()["status"], 0);
    assert_eq!(zhipu.control().state().conversations, 0);
}

#[test]
fn plays_a_recorded_answer_byte_for_byte() {
    let zhipu = start("zhipu");
    let sample = "event: message\ndata: {\"parts\":[\"你好\"]}\n\n";
    let script = Script {
        raw: Some(sample.to_owned()),
        write_bytes: Some(1),
        ..Script::default()
    };
    zhipu.control().script(script).unwrap();
    assert_eq!(asking(&zhipu, &question("hi")).ask(&zhipu).text(), sample);
}
