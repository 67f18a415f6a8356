//! wire/doubao.md, checked from the client's side.

mod pictures;
mod refusals;

use std::time::{SystemTime, UNIX_EPOCH};

use hive2api_simulators::{Running, Script};
use serde_json::{Value, json};

use crate::client::{Answer, CHROME, Request, setting, start};

const CHAT: &str = "/chat/completion";
const FP: &str = "verify_123e4567_e89b_42d3_a";
const BOT: &str = "7338286299411103781";

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// The cookie header that an account's credential makes, and its fingerprint.
fn identity(running: &Running, account: usize) -> (String, &'static str) {
    let suffix = ["", "_2", "_3"][account - 1];
    let token = setting(running, &format!("DOUBAO_TOKEN{suffix}"));
    match account {
        2 => (
            format!("{token}; sessionid_ss=0123456789abcdef0123456789abcde2"),
            "verify_sim2_Ab3dEf_1a2B_4c",
        ),
        _ => (format!("sessionid={token}; sessionid_ss={token}"), FP),
    }
}

fn query(fp: &str) -> Vec<(&'static str, String)> {
    [
        ("aid", "497858"),
        ("real_aid", "497858"),
        ("device_id", "7123456789012345678"),
        ("web_id", "7123456789012345679"),
        ("tea_uuid", "7123456789012345679"),
        ("device_platform", "web"),
        ("fp", fp),
        ("language", "zh"),
        ("pc_version", "3.5.10"),
        ("pkg_type", "release_version"),
        ("region", ""),
        ("sys_region", ""),
        ("samantha_web", "1"),
        ("use-olympus-account", "1"),
        ("version_code", "20800"),
        ("web_tab_id", &uuid()),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

fn path(path: &str, members: &[(&'static str, String)]) -> String {
    let pairs: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

fn call(running: &Running, account: usize, route: &str, body: &Value) -> Request {
    let (cookie, fp) = identity(running, account);
    let request = Request::new("POST", &path(route, &query(fp)))
        .header("Cookie", cookie)
        .header("Origin", "https://www.doubao.com")
        .header("Referer", "https://www.doubao.com/chat/")
        .header("User-Agent", CHROME)
        .header("Accept", "*/*")
        .header("Accept-Language", "zh-CN,zh;q=0.9")
        .header("Agw-Js-Conv", "str")
        .header("Sec-Ch-Ua", "\"Chromium\";v=\"144\"")
        .header("Sec-Ch-Ua-Mobile", "?0")
        .header("Sec-Ch-Ua-Platform", "\"Windows\"")
        .header("Sec-Fetch-Dest", "empty")
        .header("Sec-Fetch-Mode", "cors")
        .header("Sec-Fetch-Site", "same-origin")
        .json(body);
    match route.starts_with("/im/") {
        true => request.header("Content-Type", "application/json; encoding=utf-8"),
        false => request,
    }
}

fn message(block: Value, local: &str) -> Value {
    json!({"local_message_id": local, "content_block": [block], "message_status": 0})
}

fn question_as(text: &str, deep: u64, fp: &str) -> Value {
    let block = json!({
        "block_type": 10000,
        "content": {
            "text_block": {"text": text, "icon_url": "", "icon_url_dark": "", "summary": ""}, "pc_event_block": "",
        },
        "block_id": uuid(), "parent_id": "", "meta_info": [], "append_fields": [],
    });
    json!({
        "client_meta": {
            "local_conversation_id": format!("local_{}123456", now_ms()), "conversation_id": "", "bot_id": BOT,
            "last_section_id": "", "last_message_index": null,
        },
        "messages": [message(block, &uuid())],
        "option": {
            "send_message_scene": "", "create_time_ms": now_ms(), "collect_id": "", "is_audio": false,
            "answer_with_suggest": false, "tts_switch": false, "need_deep_think": deep, "click_clear_context": false,
            "from_suggest": false, "is_regen": false, "is_replace": false, "disable_sse_cache": false,
            "select_text_action": "", "resend_for_regen": false, "scene_type": 0, "unique_key": uuid(),
            "start_seq": 0, "need_create_conversation": true,
            "conversation_init_option": {"need_ack_conversation": true}, "regen_query_id": [], "edit_query_id": [],
            "regen_instruction": "", "no_replace_for_regen": false, "message_from": 0, "shared_app_name": "",
            "sse_recv_event_options": {"support_chunk_delta": true}, "is_ai_playground": false,
        },
        "ext": {
            "use_deep_think": deep.to_string(), "fp": fp,
            "conversation_init_option": "{\"need_ack_conversation\":true}", "commerce_credit_config_enable": "0",
            "sub_conv_firstmet_type": "1",
        },
    })
}

fn question(text: &str) -> Value {
    question_as(text, 0, FP)
}

fn ask(running: &Running, text: &str) -> Answer {
    call(running, 1, CHAT, &question(text)).ask(running)
}

/// The events: name and data.
fn events(answer: &Answer) -> Vec<(String, Value)> {
    let text = answer.text().replace("\r\n", "\n");
    let frame = |frame: &str| {
        let event = frame
            .lines()
            .find_map(|line| line.strip_prefix("event: "))?;
        let data: Vec<_> = frame
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .collect();
        Some((
            event.to_owned(),
            serde_json::from_str(&data.join("\n")).unwrap_or_default(),
        ))
    };
    text.split("\n\n").filter_map(frame).collect()
}

fn parsed(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

/// What stands in the visible texts of blocks, patches and deltas; thoughts apart. A reader of the plain forms alone.
fn said(answer: &Answer) -> (String, String) {
    let (mut text, mut thoughts, mut thinking) = (String::new(), String::new(), false);
    for (event, data) in events(answer) {
        let blocks: Vec<Value> = match event.as_str() {
            "STREAM_MSG_NOTIFY" => vec![parsed(&data["content"])["content_block"].clone()],
            "STREAM_CHUNK" => parsed(&data["patch_op"])
                .as_array()
                .into_iter()
                .flatten()
                .filter(|op| op["patch_object"] == 1)
                .map(|op| op["patch_value"]["content_block"].clone())
                .collect(),
            "CHUNK_DELTA" => {
                let piece = data["text"].as_str().unwrap();
                match thinking {
                    true => thoughts.push_str(piece),
                    false => text.push_str(piece),
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        for block in blocks
            .iter()
            .flat_map(|list| list.as_array().into_iter().flatten())
        {
            if block["block_type"] != 10000 {
                continue;
            }
            let piece = block["content"]["text_block"]["text"]
                .as_str()
                .unwrap_or_default();
            thinking = block["parent_id"] == "700";
            match thinking {
                true => thoughts.push_str(piece),
                false => text.push_str(piece),
            }
        }
    }
    (text, thoughts)
}

fn conversation(answer: &Answer) -> String {
    let events = events(answer);
    let ack = &events
        .iter()
        .find(|(event, _)| event == "SSE_ACK")
        .unwrap()
        .1;
    let id = ack["ack_client_meta"]["conversation_id"].as_str();
    id.unwrap().to_owned()
}

fn deletion(conversation: &str) -> Value {
    json!({
        "cmd": 4171,
        "uplink_body": {"batch_delete_user_conversation_uplink_body": {
            "conversation_id": [conversation], "delete_all": false, "conversation_type": 3,
        }},
        "sequence_id": uuid::Uuid::new_v4().simple().to_string(), "channel": 2, "version": "1",
    })
}

fn delete(running: &Running, account: usize, conversation: &str) -> Value {
    let route = "/im/conversation/batch_del_user_conv";
    let gone = call(running, account, route, &deletion(conversation))
        .ask(running)
        .value();
    let result = &gone["downlink_body"]["batch_delete_user_conversation_downlink_body"]["result"];
    result[conversation].clone()
}

/// Checks a refusal and the record of it.
fn refused(running: &Running, request: &Request, status: u16, text: &str, why: &str) {
    let answer = request.ask(running);
    assert_eq!(answer.status, status, "{why}: {}", answer.text());
    assert!(answer.text().contains(text), "{why}: {}", answer.text());
    let last = running.control().log().pop().unwrap();
    assert!(!last.ok, "{last:?}");
    let said = last.violation.unwrap_or_default();
    assert!(said.contains(why), "{why}: {said}");
}

#[test]
fn streams_blocks_and_deltas() {
    let doubao = start("doubao");
    let text = "你好👋🏽 data: \"x\"\n\n\u{2028}end of it";
    for account in 1..=3 {
        let (_, fp) = identity(&doubao, account);
        let body = question_as(&format!("think:先想想 echo:{text}"), 1, fp);
        let answer = call(&doubao, account, CHAT, &body).ask(&doubao);
        assert_eq!(answer.headers["content-type"], "text/event-stream");
        assert_eq!(said(&answer), (text.to_owned(), "先想想".to_owned()));
        let events = events(&answer);
        assert_eq!(events.last().unwrap().1["end_type"], 3);
        let brief = events
            .iter()
            .find(|(_, data)| data["end_type"] == 1)
            .unwrap();
        assert_eq!(brief.1["msg_finish_attr"]["brief"], text);
        assert_eq!(delete(&doubao, account, &conversation(&answer)), true);
    }
    let state = doubao.control().state();
    assert_eq!(
        (state.created, state.deleted, state.open_streams),
        (3, 3, 0)
    );
    assert!(state.violations.is_empty(), "{:?}", state.violations);
}

#[test]
fn speaks_the_older_generation() {
    let doubao = start("doubao");
    let body = |text: &str, deep: bool| {
        json!({
            "messages": [{
                "content": json!({"text": text}).to_string(), "content_type": 2001, "attachments": [], "references": [],
            }],
            "completion_option": {
                "is_regen": false, "with_suggest": true, "need_create_conversation": true, "launch_stage": 1,
                "is_replace": false, "is_delete": false, "message_from": 0, "action_bar_skill_id": 0,
                "use_deep_think": deep, "use_auto_cot": false, "resend_for_regen": false,
                "enable_commerce_credit": false, "event_id": "0",
            },
            "evaluate_option": {"web_ab_params": ""}, "conversation_id": "0",
            "local_conversation_id": "local_1612345678901234", "local_message_id": uuid(),
        })
    };
    let path = "/samantha/chat/completion";
    let answer = call(&doubao, 1, path, &body("think:hm echo:一二三四五", true)).ask(&doubao);
    let frames: Vec<Value> = answer
        .events()
        .iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let data: Vec<_> = frames
        .iter()
        .map(|frame| parsed(&frame["event_data"]))
        .collect();
    let texts: String = data
        .iter()
        .filter(|data| data["message"]["content_type"] == 10000)
        .filter_map(|data| {
            parsed(&data["message"]["content"])["text"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(texts, "hm一二三四五");
    assert_eq!(frames.last().unwrap()["event_type"], 2003);
    let id = data[0]["conversation_id"].clone();
    let gone = call(
        &doubao,
        1,
        "/samantha/thread/delete",
        &json!({"conversation_id": id}),
    )
    .ask(&doubao);
    assert_eq!(gone.value()["code"], 0);
    assert!(
        doubao.control().state().violations.is_empty(),
        "{:?}",
        doubao.control().state()
    );
    for (pointer, value, why) in [
        ("/messages/0/content", json!("hi"), "content"),
        ("/messages/0/references", json!(null), "references"),
        (
            "/completion_option/need_create_conversation",
            json!(false),
            "need_create_conversation",
        ),
        (
            "/local_conversation_id",
            json!("local_1"),
            "local_conversation_id",
        ),
        ("/evaluate_option", json!({}), "evaluate_option"),
    ] {
        let mut wrong = body("hi", false);
        *wrong.pointer_mut(pointer).unwrap() = value;
        refused(
            &doubao,
            &call(&doubao, 1, path, &wrong),
            200,
            "710011001",
            why,
        );
    }
    let bare = call(&doubao, 1, path, &body("hi", false)).without("Agw-Js-Conv");
    refused(&doubao, &bare, 200, "710011001", "agw-js-conv");
    let control = doubao.control();
    control.fault("verification", 1).unwrap();
    let verify = call(&doubao, 1, path, &body("hi", false)).ask(&doubao);
    let event: Value = serde_json::from_str(&verify.events()[0]).unwrap();
    assert_eq!(event["event_type"], 2005);
    let detail = parsed(&event["event_data"])["error_detail"].clone();
    assert_eq!(parsed(&detail["ext"]["decision"])["type"], "verify");
    control.set_generation("newest").unwrap();
    assert_eq!(
        call(&doubao, 1, path, &body("hi", false))
            .ask(&doubao)
            .status,
        404
    );
    assert_eq!(ask(&doubao, "hi").status, 200);
    control.set_generation("oldest").unwrap();
    assert_eq!(ask(&doubao, "hi").status, 404);
}

#[test]
fn quirks_end_in_the_same_text() {
    let doubao = start("doubao");
    let text = "一二三四五六七八九十 and so on";
    for quirk in doubao.control().known_quirks() {
        let script = Script {
            quirks: vec![(*quirk).to_owned()],
            ..Script::default()
        };
        doubao.control().script(script).unwrap();
        let answer = ask(&doubao, &format!("think:hm cite:2 echo:{text}"));
        let all = events(&answer);
        let brief = all.iter().find(|(_, data)| data["end_type"] == 1).unwrap();
        let brief = brief.1["msg_finish_attr"]["brief"].as_str().unwrap();
        assert!(text.starts_with(brief), "{quirk}: {brief}");
        assert_eq!(brief == text, *quirk != "brief_short", "{quirk}");
        let (shown, thoughts) = said(&answer);
        match *quirk {
            // These say it in ways that the reader above does not know.
            "snapshot" | "patch_102" | "replace" | "rewritten" => {}
            "hidden_block" => assert_eq!(shown.replacen("hidden", "", 1), text),
            "brief_rest" => assert!(text.starts_with(&shown) && shown != text, "{shown}"),
            _ => assert_eq!(shown, text, "{quirk}"),
        }
        assert_eq!(thoughts == "hm", *quirk != "thinking_content", "{quirk}");
        let ended = all.iter().any(|(_, data)| data["end_type"] == 3);
        assert_eq!(ended, *quirk != "no_end_3", "{quirk}");
        assert_eq!(answer.text().contains("\r\n"), *quirk == "crlf");
        assert_eq!(answer.text().starts_with("event:"), *quirk == "no_ids");
    }
}

#[test]
fn continues_a_conversation_and_takes_history_apart() {
    let doubao = start("doubao");
    let prompt = "<|im_start|>system\nS\n<|im_end|>\n<|im_start|>user\necho:x\ny\n<|im_end|>\n";
    let first = ask(&doubao, prompt);
    assert_eq!(said(&first).0, "x\ny");
    assert_eq!(doubao.control().calls("ask")[0].turns[0].text, "S");
    let ack = events(&first)
        .into_iter()
        .find(|(event, _)| event == "SSE_ACK")
        .unwrap()
        .1;
    let mut more = question("echo:again");
    more["client_meta"]["conversation_id"] = json!(conversation(&first));
    more["client_meta"]["last_section_id"] = ack["ack_client_meta"]["section_id"].clone();
    more["client_meta"]["last_message_index"] = json!(2);
    more["option"]["need_create_conversation"] = json!(false);
    more["ext"]["sub_conv_firstmet_type"] = json!("0");
    assert_eq!(said(&call(&doubao, 1, CHAT, &more).ask(&doubao)).0, "again");
    assert_eq!(doubao.control().state().created, 1);
    more["option"]["unique_key"] = json!(uuid());
    more["messages"][0]["local_message_id"] = json!(uuid());
    more["messages"][0]["content_block"][0]["block_id"] = json!(uuid());
    refused(
        &doubao,
        &call(&doubao, 1, CHAT, &more),
        200,
        "last_section_id",
        "last_message_index",
    );
    more["client_meta"]["conversation_id"] = json!("38300000000099999");
    more["option"]["unique_key"] = json!(uuid());
    more["messages"][0]["local_message_id"] = json!(uuid());
    more["messages"][0]["content_block"][0]["block_id"] = json!(uuid());
    refused(
        &doubao,
        &call(&doubao, 1, CHAT, &more),
        200,
        "conversation_id",
        "no conversation",
    );
}

#[test]
fn plays_a_recorded_answer_byte_for_byte() {
    let doubao = start("doubao");
    let sample = "id: 1\r\nevent: CHUNK_DELTA\r\ndata: {\"text\":\"你\"}\r\n\r\n";
    let script = Script {
        raw: Some(sample.to_owned()),
        write_bytes: Some(1),
        ..Script::default()
    };
    doubao.control().script(script).unwrap();
    assert_eq!(ask(&doubao, "hi").text(), sample);
}
