use super::*;
use crate::{
    accounts::Secret,
    providers::doubao::{device::Device, samantha},
};

fn account() -> Account {
    Account {
        variable: "DOUBAO_TOKEN".to_owned(),
        cookie: Secret::new("sessionid=s; sessionid_ss=s"),
        ms_token: None,
        csrf_token: None,
        device: Device {
            device_id: "7000000000000000001".to_owned(),
            web_id: "7000000000000000002".to_owned(),
            tea_uuid: "7000000000000000003".to_owned(),
            fp: "verify_00000000_0000_4000_8".to_owned(),
        },
    }
}

fn caller(account: &Account) -> Caller<'_> {
    Caller {
        base_url: "https://www.doubao.com",
        account,
        tab: Uuid::nil(),
    }
}

fn question(attachments: &[File], pictures: bool) -> Question<'_> {
    Question {
        place: None,
        bot: "7338286299411103781",
        depth: Depth::Think,
        text: "你好",
        ratio: None,
        pictures,
        attachments,
        unix_ms: 1_772_323_200_123,
    }
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut headers = request.headers.iter();
    let (_, value) = headers.find(|(known, _)| known.as_str() == name)?;
    value.to_str().ok()
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body.concat()).unwrap()
}

/// Distinct ids.
fn ids() -> [Uuid; 4] {
    [1, 2, 3, 4].map(Uuid::from_u128)
}

#[test]
fn a_question_is_asked_as_section_4_says() {
    let account = account();
    let asked = ask(caller(&account), &question(&[], false), ids());
    assert_eq!(
        asked.url,
        "https://www.doubao.com/chat/completion?aid=497858&real_aid=497858&device_id=7000000000000000001&web_id=7000000000000000002&tea_uuid=7000000000000000003&device_platform=web&fp=verify_00000000_0000_4000_8&language=zh&pc_version=3.5.10&pkg_type=release_version&region=&sys_region=&samantha_web=1&use-olympus-account=1&version_code=20800&web_tab_id=00000000-0000-0000-0000-000000000000"
    );
    for (name, value) in [
        ("cookie", "sessionid=s; sessionid_ss=s"),
        ("content-type", "application/json"),
        ("origin", "https://www.doubao.com"),
        ("referer", "https://www.doubao.com/chat/"),
        ("agw-js-conv", "str"),
    ] {
        assert_eq!(header(&asked, name), Some(value));
    }
    assert!(asked.once);
    let id = |at: u32| format!("00000000-0000-0000-0000-{at:012}");
    assert_eq!(
        body(&asked),
        json!({
            "client_meta": {
                "local_conversation_id": "local_1772323200123100001", "conversation_id": "",
                "bot_id": "7338286299411103781", "last_section_id": "", "last_message_index": null,
            },
            "messages": [{
                "local_message_id": id(2), "message_status": 0,
                "content_block": [{
                    "block_type": 10000, "block_id": id(3), "parent_id": "", "meta_info": [], "append_fields": [],
                    "content": {"text_block": {"text": "你好", "icon_url": "", "icon_url_dark": "", "summary": ""}, "pc_event_block": ""},
                }],
            }],
            "option": {
                "send_message_scene": "", "create_time_ms": 1_772_323_200_123_u64, "collect_id": "", "is_audio": false,
                "answer_with_suggest": false, "tts_switch": false, "need_deep_think": 1, "click_clear_context": false,
                "from_suggest": false, "is_regen": false, "is_replace": false, "disable_sse_cache": false,
                "select_text_action": "", "resend_for_regen": false, "scene_type": 0, "unique_key": id(4), "start_seq": 0,
                "need_create_conversation": true, "conversation_init_option": {"need_ack_conversation": true},
                "regen_query_id": [], "edit_query_id": [], "regen_instruction": "", "no_replace_for_regen": false,
                "message_from": 0, "shared_app_name": "", "sse_recv_event_options": {"support_chunk_delta": true},
                "is_ai_playground": false,
            },
            "ext": {
                "use_deep_think": "1", "fp": "verify_00000000_0000_4000_8",
                "conversation_init_option": "{\"need_ack_conversation\":true}",
                "commerce_credit_config_enable": "0", "sub_conv_firstmet_type": "1",
            },
        })
    );
}

#[test]
fn a_whole_cookie_brings_its_own_values() {
    let account = Account {
        ms_token: Some(Secret::new("m+/=")),
        csrf_token: Some(Secret::new("csrf")),
        ..account()
    };
    let asked = ask(caller(&account), &question(&[], false), ids());
    assert!(asked.url.ends_with("&msToken=m%2B%2F%3D"));
    assert_eq!(header(&asked, "x-tt-passport-csrf-token"), Some("csrf"));
}

#[test]
fn attachments_stand_before_the_text_and_pictures_are_an_ability() {
    let account = account();
    let file = |id: &str| File {
        message_id: id.to_owned(),
        attachment: json!({"type": 1, "identifier": id}),
        older: json!({"type": "vlm_image", "identifier": id}),
    };
    let files = [file("a"), file("b")];
    let asked = body(&ask(caller(&account), &question(&files, true), ids()));
    let messages = asked["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0]["local_message_id"], "a");
    let block = &messages[1]["content_block"][0];
    assert_eq!(block["block_type"], 10052);
    assert_eq!(
        block["content"]["attachment_block"]["attachments"],
        json!([{"type": 1, "identifier": "b"}])
    );
    assert_ne!(
        block["block_id"],
        messages[0]["content_block"][0]["block_id"]
    );
    let ability = &asked["chat_ability"];
    assert_eq!(ability["ability_type"], 3);
    let param: Value = serde_json::from_str(ability["ability_param"].as_str().unwrap()).unwrap();
    assert_eq!(
        param,
        json!({"ability_param": {"model": "Seedream 4.5", "ratio": "auto"}, "ability_type": 1})
    );
    assert_eq!(asked["user_context"], json!([]));
    let asked = samantha::ask(
        caller(&account),
        &question(&files, false),
        Uuid::from_u128(7),
    );
    assert!(asked.url.contains("/samantha/chat/completion?aid=497858&"));
    let asked = body(&asked);
    let message = &asked["messages"][0];
    assert_eq!(message["content"], r#"{"text":"你好"}"#);
    assert_eq!(message["attachments"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&asked["conversation_id"], &asked["local_conversation_id"]),
        (&json!("0"), &json!("local_1600000000000007"))
    );
    let option = &asked["completion_option"];
    assert_eq!(
        (&option["use_deep_think"], &option["use_auto_cot"]),
        (&json!(true), &json!(false))
    );
}

#[test]
fn conversations_are_deleted_and_read_as_section_8_says() {
    let account = account();
    let deleted = delete(caller(&account), "383", Uuid::nil());
    assert!(
        deleted
            .url
            .contains("/im/conversation/batch_del_user_conv?aid=")
    );
    assert_eq!(
        header(&deleted, "content-type"),
        Some("application/json; encoding=utf-8")
    );
    assert_eq!(
        body(&deleted),
        json!({"cmd": 4171, "uplink_body": {"batch_delete_user_conversation_uplink_body": {"conversation_id": ["383"], "delete_all": false, "conversation_type": 3}}, "sequence_id": "00000000000000000000000000000000", "channel": 2, "version": "1"})
    );
    assert_eq!(
        body(&delete_older(caller(&account), "383")),
        json!({"conversation_id": "383"})
    );
    let answer = |result: Value| {
        let body = json!({"status_code": 0, "downlink_body": {"batch_delete_user_conversation_downlink_body": {"result": result}}});
        is_deleted(200, body.to_string().as_bytes())
    };
    assert!(answer(json!({"383": true})));
    assert!(!answer(json!({"383": false})) && !answer(json!({})) && !answer(Value::Null));
    assert!(!is_deleted(200, b"x"));
    let read = body(&messages(caller(&account), "383", Uuid::nil()));
    let inner = &read["uplink_body"]["pull_singe_chain_uplink_body"];
    assert_eq!(
        (&read["cmd"], &inner["anchor_index"], &inner["limit"]),
        (&json!(3100), &json!(9_007_199_254_740_991_u64), &json!(20))
    );
    let answer = json!({"downlink_body": {"pull_singe_chain_downlink_body": {"messages": [1, 2]}}});
    assert_eq!(pulled(&answer).len(), 2);
    assert_eq!(pulled(&json!({})).len(), 0);
}
