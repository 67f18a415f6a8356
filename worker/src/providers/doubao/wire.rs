//! What the page sends, as pure functions. Source: `wire/doubao.md` sections 4.1 to 4.5, 6.5 and 8.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{account::Account, models::Depth};
use crate::{accounts::Secret, upstream::Request};

/// The real site, wherever the base URL leads (section 4.2).
const ORIGIN: &str = "https://www.doubao.com";
const REFERER: &str = "https://www.doubao.com/chat/";
/// A desktop browser.
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
const SHORT_CALL: std::time::Duration = std::time::Duration::from_secs(15);
/// What draws (section 4.5).
const PAINTER: &str = "Seedream 4.5";
/// No size is asked for in a chat.
pub(super) const RATIO: &str = "auto";
/// The newest message of a conversation is sought from here.
const NEWEST: u64 = 9_007_199_254_740_991;
/// All but RFC 3986's unreserved.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// `DOUBAO_BASE_URL`.
    pub(super) base_url: &'a str,
    /// Whose cookie and device.
    pub(super) account: &'a Account,
    /// `web_tab_id`: new for every request.
    pub(super) tab: Uuid,
}

/// A picture or document as the question names it, in both routes' forms.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Of the message that holds it: for a picture the one that was registered.
    pub(super) message_id: String,
    pub(super) attachment: Value,
    pub(super) older: Value,
}

/// The end of a conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) conversation: &'a str,
    pub(super) section: &'a str,
    /// The highest index in it.
    pub(super) index: i64,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// Where it goes on; in a new conversation without.
    pub(super) place: Option<Place<'a>>,
    pub(super) bot: &'a str,
    pub(super) depth: Depth,
    pub(super) text: &'a str,
    /// Pictures are wanted, not an answer.
    pub(super) pictures: bool,
    /// Their shape (`16:9`); `None`: the painter's own.
    pub(super) ratio: Option<&'a str>,
    pub(super) attachments: &'a [File],
    /// Milliseconds since the Unix epoch.
    pub(super) unix_ms: u64,
}

/// `POST /chat/completion`: asks; [`super::stream::Decoder`] reads the answer (section 4.3). `ids`: for
/// the conversation, the message, its block and the question.
pub(super) fn ask(caller: Caller<'_>, question: &Question<'_>, ids: [Uuid; 4]) -> Request {
    let [conversation, message, block, unique] = ids;
    let device = &caller.account.device;
    let depth = question.depth as u8;
    let said = |id: &str, block: Value| json!({"local_message_id": id, "content_block": [block], "message_status": 0});
    let mut messages: Vec<Value> = Vec::new();
    for (at, file) in question.attachments.iter().enumerate() {
        // Derived from the block's own id, so that a question is the same for the same ids.
        let id = Uuid::from_u128(block.as_u128().wrapping_add(1 + at as u128));
        let content =
            json!({"attachment_block": {"attachments": [file.attachment]}, "pc_event_block": ""});
        messages.push(said(&file.message_id, content_block(10052, content, id)));
    }
    let content = json!({
        "text_block": {"text": question.text, "icon_url": "", "icon_url_dark": "", "summary": ""},
        "pc_event_block": "",
    });
    messages.push(said(
        &message.to_string(),
        content_block(10000, content, block),
    ));
    let mut body = json!({
        "client_meta": {
            "local_conversation_id": local_conversation_id(question.unix_ms, conversation),
            "conversation_id": question.place.map_or("", |place| place.conversation), "bot_id": question.bot,
            "last_section_id": question.place.map_or("", |place| place.section),
            "last_message_index": question.place.map(|place| place.index),
        },
        "messages": messages,
        "option": {
            "send_message_scene": "", "create_time_ms": question.unix_ms, "collect_id": "", "is_audio": false,
            "answer_with_suggest": false, "tts_switch": false, "need_deep_think": depth,
            "click_clear_context": false, "from_suggest": false, "is_regen": false, "is_replace": false,
            "disable_sse_cache": false, "select_text_action": "", "resend_for_regen": false, "scene_type": 0,
            "unique_key": unique.to_string(), "start_seq": 0, "need_create_conversation": question.place.is_none(),
            "conversation_init_option": {"need_ack_conversation": true},
            "regen_query_id": [], "edit_query_id": [], "regen_instruction": "", "no_replace_for_regen": false,
            "message_from": 0, "shared_app_name": "",
            "sse_recv_event_options": {"support_chunk_delta": true}, "is_ai_playground": false,
        },
        "ext": {
            "use_deep_think": depth.to_string(), "fp": device.fp,
            "conversation_init_option": r#"{"need_ack_conversation":true}"#,
            "commerce_credit_config_enable": "0", "sub_conv_firstmet_type": if question.place.is_some() { "0" } else { "1" },
        },
    });
    if question.pictures {
        let wanted = json!({"ability_param": {"model": PAINTER, "ratio": question.ratio.unwrap_or(RATIO)}, "ability_type": 1});
        body["chat_ability"] = json!({"ability_type": 3, "ability_param": wanted.to_string()});
        body["user_context"] = json!([]);
    }
    caller.post("ask", "/chat/completion", &body).once()
}

fn content_block(kind: u32, content: Value, id: Uuid) -> Value {
    json!({
        "block_type": kind, "content": content, "block_id": id.to_string(), "parent_id": "", "meta_info": [], "append_fields": [],
    })
}

/// `local_`, the time, and six digits.
fn local_conversation_id(unix_ms: u64, random: Uuid) -> String {
    format!("local_{unix_ms}{}", 100_000 + random.as_u128() % 900_000)
}

/// `POST /im/conversation/batch_del_user_conv`: deletes a conversation (section 8).
pub(super) fn delete(caller: Caller<'_>, conversation_id: &str, sequence: Uuid) -> Request {
    let body = json!({
        "cmd": 4171,
        "uplink_body": {"batch_delete_user_conversation_uplink_body": {
            "conversation_id": [conversation_id], "delete_all": false, "conversation_type": 3,
        }},
        "sequence_id": sequence.simple().to_string(), "channel": 2, "version": "1",
    });
    caller
        .im("delete", "/im/conversation/batch_del_user_conv", &body)
        .timeout(SHORT_CALL)
}

/// Whether an answer to [`delete`] says that it is done.
pub(super) fn is_deleted(status: u16, body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return false;
    };
    let downlink = answer.get("downlink_body");
    let downlink = downlink.and_then(|it| it.get("batch_delete_user_conversation_downlink_body"));
    let results = downlink.and_then(|it| it.get("result")?.as_object());
    // An empty result is none: nothing was named as deleted.
    let is_done = |results: &serde_json::Map<String, Value>| {
        !results.is_empty() && results.values().all(|done| *done == Value::Bool(true))
    };
    status == 200 && results.is_some_and(is_done)
}

/// `POST /samantha/thread/delete`: the older deletion.
pub(super) fn delete_older(caller: Caller<'_>, conversation_id: &str) -> Request {
    let body = json!({"conversation_id": conversation_id});
    caller
        .post("delete", "/samantha/thread/delete", &body)
        .timeout(SHORT_CALL)
}

/// `POST /im/chain/single`: reads a conversation's newest messages, for pictures that are being made (section 6.5).
pub(super) fn messages(caller: Caller<'_>, conversation_id: &str, sequence: Uuid) -> Request {
    let body = json!({
        // The misspelt name is the service's (section 6.5).
        "cmd": 3100,
        "uplink_body": {"pull_singe_chain_uplink_body": {
            "conversation_id": conversation_id, "anchor_index": NEWEST, "conversation_type": 3, "direction": 1,
            "limit": 20, "ext": {}, "filter": {"index_list": []},
        }},
        "sequence_id": sequence.to_string(), "channel": 2, "version": "1",
    });
    caller
        .im("messages", "/im/chain/single", &body)
        .timeout(SHORT_CALL)
}

/// The messages in an answer to [`messages`].
pub(super) fn pulled(answer: &Value) -> &[Value] {
    let downlink = answer.get("downlink_body");
    let downlink = downlink.and_then(|it| it.get("pull_singe_chain_downlink_body"));
    let messages = downlink.and_then(|it| it.get("messages")?.as_array());
    // An answer without messages: nothing is there yet.
    messages.map(Vec::as_slice).unwrap_or_default()
}

impl Caller<'_> {
    /// A call with the query and the headers that all of them have.
    pub(super) fn post(self, step: &'static str, path: &str, body: &impl Serialize) -> Request {
        self.call(step, path, "application/json").json(body)
    }

    /// As [`Caller::post`], for the two routes that spell their type otherwise.
    fn im(self, step: &'static str, path: &str, body: &impl Serialize) -> Request {
        self.call(step, path, "application/json; encoding=utf-8")
            .json(body)
    }

    fn call(self, step: &'static str, path: &str, content_type: &str) -> Request {
        let url = format!("{}{path}?{}", self.base_url, self.query());
        let request = self.browser(Request::post(step, url));
        let request = request.header("content-type", content_type);
        // Makes long ids arrive as texts.
        let request = request.header("agw-js-conv", "str");
        match &self.account.csrf_token {
            Some(token) => request.header("x-tt-passport-csrf-token", token.expose()),
            None => request,
        }
    }

    /// What a desktop browser says with every call (section 4.2).
    pub(super) fn browser(self, request: Request) -> Request {
        request
            .headers(&[
                ("accept", "*/*"),
                ("accept-language", "zh-CN,zh;q=0.9"),
                ("origin", ORIGIN),
                ("referer", REFERER),
                ("user-agent", USER_AGENT),
                (
                    "sec-ch-ua",
                    r#""Not(A:Brand";v="8", "Chromium";v="144", "Google Chrome";v="144""#,
                ),
                ("sec-ch-ua-mobile", "?0"),
                ("sec-ch-ua-platform", r#""Windows""#),
                ("sec-fetch-dest", "empty"),
                ("sec-fetch-mode", "cors"),
                ("sec-fetch-site", "same-origin"),
            ])
            .header("cookie", self.account.cookie.expose())
    }

    /// The query of section 4.1, in the page's order. Without the anti-bot values, which only the site's own script makes.
    fn query(self) -> String {
        let device = &self.account.device;
        let tab = self.tab.to_string();
        let mut pairs = vec![
            ("aid", "497858"),
            ("real_aid", "497858"),
            ("device_id", &device.device_id),
            ("web_id", &device.web_id),
            ("tea_uuid", &device.tea_uuid),
            ("device_platform", "web"),
            ("fp", &device.fp),
            ("language", "zh"),
            ("pc_version", "3.5.10"),
            ("pkg_type", "release_version"),
            ("region", ""),
            ("sys_region", ""),
            ("samantha_web", "1"),
            ("use-olympus-account", "1"),
            ("version_code", "20800"),
            ("web_tab_id", &tab),
        ];
        pairs.extend(
            self.account
                .ms_token
                .as_ref()
                .map(Secret::expose)
                .map(|it| ("msToken", it)),
        );
        let pair =
            |(name, value): (&str, &str)| format!("{name}={}", utf8_percent_encode(value, VALUE));
        let pairs: Vec<String> = pairs.into_iter().map(pair).collect();
        pairs.join("&")
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
