//! Reading a question, header by header and field by field. Source: wire/qwen.md §11.6, §11.7.

use serde_json::{Value, json};

use super::signature::pairs;
use crate::{Call, Request};

/// The query of a question, in its order; the calls beside it carry all but `fe_version`, `nonce` and `timestamp`.
const QUERY: [&str; 13] = [
    "biz_id",
    "fe_version",
    "chat_client",
    "device",
    "fr",
    "pr",
    "ut",
    "la",
    "tz",
    "wv",
    "ve",
    "nonce",
    "timestamp",
];
const PLAIN_QUERY: [&str; 10] = [
    "biz_id",
    "chat_client",
    "device",
    "fr",
    "pr",
    "ut",
    "la",
    "tz",
    "wv",
    "ve",
];

/// What stands in the query and never changes.
const CONSTANTS: [(&str, &str); 8] = [
    ("biz_id", "ai_qwen"),
    ("fe_version", "1.0.0"),
    ("chat_client", "h5"),
    ("device", "pc"),
    ("fr", "pc"),
    ("pr", "qwen"),
    ("la", "zh-CN"),
    ("tz", "Asia/Shanghai"),
];

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) req_id: String,
    pub(super) parent_req_id: String,
    pub(super) session_id: String,
    pub(super) topic_id: String,
    pub(super) model: String,
    /// Thinking and search, together.
    pub(super) deep_search: bool,
    pub(super) prompt: String,
    pub(super) pictures: Vec<Picture>,
}

/// A picture in a question: what its upload answered.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) id: String,
    pub(super) url: String,
    pub(super) name: String,
    pub(super) size: u64,
}

/// The device of the query, and what is odd about the query; "" is missing or empty.
pub(super) fn query(request: &Request, call: &mut Call, is_signed: bool, more: &[&str]) -> String {
    let found: Vec<_> = pairs(&request.query).collect();
    let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
    let value = |name: &str| {
        let pair = found.iter().find(|(known, _)| *known == name);
        pair.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let device = value("ut").to_owned();
    let expected: &[&str] = if is_signed { &QUERY } else { &PLAIN_QUERY };
    if names != [expected, more].concat() {
        call.violate(format!("the query's names are {names:?}"));
        return device;
    }
    for (name, constant) in CONSTANTS {
        if names.contains(&name) && value(name) != constant {
            call.violate(format!("{name} is {:?} in the query", value(name)));
        }
    }
    let version = value("wv");
    if version.split('.').count() != 3 || version != value("ve") {
        call.violate(format!("wv is {version:?} and ve {:?}", value("ve")));
    }
    let nonce = value("nonce");
    let plain = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    if is_signed && (nonce.len() != 11 || !nonce.chars().all(plain)) {
        call.violate(format!("nonce is {nonce:?}"));
    }
    let timestamp = value("timestamp");
    if is_signed && (timestamp.len() != 13 || timestamp.parse::<u64>().is_err()) {
        call.violate(format!("timestamp is {timestamp:?}"));
    }
    device
}

/// The headers that are sent and not needed.
pub(super) fn headers(request: &Request, ask: &Ask, device: &str, call: &mut Call) {
    let chat_biz = json!({"chatId": ask.req_id, "agentId": "", "enableWebp": ""});
    let biz: Value = serde_json::from_str(&request.header("x-chat-biz")).unwrap_or_default();
    let page = format!("https://www.qianwen.com/chat/{}", ask.session_id);
    for (name, right) in [
        ("prod_id", request.header("prod_id") == "tongyi"),
        ("x-device-id", request.header("x-device-id") == device),
        ("x-chat-id", request.header("x-chat-id") == ask.req_id),
        ("x-chat-biz", biz == chat_biz),
        ("referer", request.header("referer") == page),
    ] {
        if !right {
            call.violate(format!("{name} is {:?}", request.header(name)));
        }
    }
    let browser_only = |name: &str| {
        matches!(name, "bx-ua" | "bx_et" | "bx-umidtoken") || name.starts_with("x-wpk-")
    };
    for name in request.headers.keys() {
        if browser_only(name.as_str()) {
            call.violate(format!("{name} is for browsers only"));
        }
    }
}

const CONSTANT_FIELDS: [(&str, &str); 7] = [
    ("scene", "chat"),
    ("sub_scene", ""),
    ("biz_id", "ai_qwen"),
    ("from", "default"),
    ("protocol_version", "v2"),
    ("chat_client", "h5"),
    ("chat_mode", "quick"),
];
const FIELDS: [&str; 19] = [
    "req_id",
    "parent_req_id",
    "messages",
    "scene",
    "sub_scene",
    "scene_param",
    "session_id",
    "biz_id",
    "topic_id",
    "model",
    "from",
    "protocol_version",
    "messages_merge",
    "chat_client",
    "deep_search",
    "temporary",
    "params_extra",
    "chat_mode",
    "bucket",
];

/// Reads the question; `Err` names the field that is wrong.
pub(super) fn read(body: &Value, call: &mut Call) -> Result<Ask, &'static str> {
    let fields = body.as_object().ok_or("body")?;
    if let Some(extra) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        call.violate(format!("the body has the unknown field {extra:?}"));
    }
    if let Some(missing) = FIELDS.iter().find(|name| !fields.contains_key(**name)) {
        return Err(missing);
    }
    for (name, value) in CONSTANT_FIELDS {
        if body.get(name) != Some(&json!(value)) {
            return Err(name);
        }
    }
    for (name, value) in [
        ("messages_merge", json!(false)),
        ("temporary", json!(false)),
        ("params_extra", json!({"supports_cowork": "true"})),
        ("bucket", json!({})),
    ] {
        if body.get(name) != Some(&value) {
            return Err(name);
        }
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    for name in ["req_id", "session_id", "topic_id"] {
        if !is_hex(text(name)) {
            return Err(FIELDS
                .iter()
                .find(|field| **field == name)
                .unwrap_or(&"body"));
        }
    }
    let parent = text("parent_req_id");
    match (parent, text("scene_param")) {
        ("0", "first_turn") => {}
        (parent, "continue_chat") if is_hex(parent) => {}
        _ => return Err("scene_param"),
    }
    let deep_search = match body.get("deep_search") {
        Some(Value::Null) => false,
        Some(Value::String(on)) if on == "1" => true,
        Some(Value::String(off)) if off == "0" => {
            call.violate("deep_search \"0\" is the older off");
            false
        }
        _ => return Err("deep_search"),
    };
    if text("model").is_empty() {
        return Err("model");
    }
    let (prompt, pictures) = messages(body, call).ok_or("messages")?;
    Ok(Ask {
        req_id: text("req_id").to_owned(),
        parent_req_id: parent.to_owned(),
        session_id: text("session_id").to_owned(),
        topic_id: text("topic_id").to_owned(),
        model: text("model").to_owned(),
        deep_search,
        prompt,
        pictures,
    })
}

fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Pictures, and then the one text item.
fn messages(body: &Value, call: &mut Call) -> Option<(String, Vec<Picture>)> {
    let items = body.get("messages")?.as_array()?;
    let (last, before) = items.split_last()?;
    let prompt = last.get("content")?.as_str()?.to_owned();
    let query = last.pointer("/meta_data/ori_query");
    let complete = |item: &Value| item.get("status") == Some(&json!("complete"));
    if last.get("mime_type") != Some(&json!("text/plain")) || !complete(last) || prompt.is_empty() {
        return None;
    }
    if query != Some(&json!(prompt)) {
        call.violate("meta_data.ori_query is not the content");
    }
    let mut pictures = Vec::new();
    for item in before {
        let url = item.get("content")?.as_str()?;
        let info = item.pointer("/meta_data/resource_infos/0")?;
        let of = |name: &str| info.get(name).and_then(Value::as_str);
        let sizes = info.get("width")?.is_u64() && info.get("height")?.is_u64();
        let known = item.get("mime_type") == Some(&json!("image/url")) && complete(item);
        if !known || !sizes || of("url") != Some(url) || of("file_format").is_none() {
            return None;
        }
        pictures.push(Picture {
            id: of("id")?.to_owned(),
            url: url.to_owned(),
            name: of("file_name")?.to_owned(),
            size: info.get("file_size")?.as_u64()?,
        });
    }
    Some((prompt, pictures))
}
