//! Reading questions, field by field. Source: wire/doubao.md §4.3, §4.4, §4.5.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::{
    Call, Turn,
    fields::{exactly, text},
    request::is_uuid,
};

/// A question that has the right shape.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) prompt: String,
    pub(super) bot: String,
    /// "" for a new conversation.
    pub(super) conversation: String,
    pub(super) section: String,
    pub(super) last_index: Option<u64>,
    pub(super) local_conversation: String,
    pub(super) local_message: String,
    pub(super) deep_think: u64,
    /// Pictures are asked for.
    pub(super) draws: bool,
    pub(super) attachments: Vec<Attachment>,
    /// What may be used once.
    pub(super) keys: Vec<String>,
}

/// An upload in a question.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    pub(super) uri: String,
    pub(super) identifier: String,
    /// `None`: a document. Else the message it stands in, and its size.
    pub(super) image: Option<(String, [u64; 2])>,
}

/// How far off a clock may be, in milliseconds (§7).
const TOLERANCE_MS: u64 = 600_000;
const RATIOS: [&str; 6] = ["auto", "1:1", "4:3", "3:4", "16:9", "9:16"];

type Object = Map<String, Value>;

fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Object, String> {
    value
        .get(name)
        .and_then(Value::as_object)
        .ok_or_else(|| format!("{name} is missing or no object"))
}

fn is_v4(text: &str) -> bool {
    text.len() == 36 && is_uuid(text)
}

fn local_conversation(id: &str, digits: usize, start: &str) -> Result<(), String> {
    let number = id.strip_prefix("local_").unwrap_or_default();
    let right = number.len() == digits
        && number.starts_with(start)
        && number.chars().all(|c| c.is_ascii_digit());
    match right {
        true => Ok(()),
        false => Err(format!("local_conversation_id is {id:?}")),
    }
}

/// The body of `/chat/completion`.
pub(super) fn chat(body: &Value, fp: &str, call: &mut Call) -> Result<Ask, String> {
    let mut ask = Ask::default();
    let whole = body.as_object().ok_or("the body is no JSON object")?;
    let known = [
        "client_meta",
        "messages",
        "option",
        "ext",
        "chat_ability",
        "user_context",
    ];
    if let Some(extra) = whole.keys().find(|name| !known.contains(&name.as_str())) {
        call.violate(format!("the body has the unknown field {extra:?}"));
    }
    client_meta(object(body, "client_meta")?, &mut ask, call)?;
    option(object(body, "option")?, &mut ask, call)?;
    let ext = object(body, "ext")?;
    let first_met = if ask.conversation.is_empty() {
        "1"
    } else {
        "0"
    };
    exactly(
        ext,
        "ext",
        json!({
            "use_deep_think": ask.deep_think.to_string(), "fp": fp,
            "conversation_init_option": "{\"need_ack_conversation\":true}",
            "commerce_credit_config_enable": "0", "sub_conv_firstmet_type": first_met,
        }),
        call,
    )?;
    if let Some(ability) = whole.get("chat_ability") {
        if whole.get("user_context") != Some(&json!([])) {
            return Err("user_context is not []".to_owned());
        }
        draws(ability)?;
        ask.draws = true;
    }
    let messages = body.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or("messages is missing or no array")?;
    let (last, before) = messages.split_last().ok_or("messages is empty")?;
    for message in before {
        let (local, block) = message_of(message, &mut ask, call)?;
        let attachment = attachment(block, &local, call)?;
        ask.attachments.push(attachment);
    }
    let (local, block) = message_of(last, &mut ask, call)?;
    ask.local_message = local;
    ask.prompt = text_block(block, &mut ask, call)?;
    if ask.draws && !ask.prompt.starts_with("生成图片：") {
        call.violate("a drawing's text does not begin with 生成图片：");
    }
    Ok(ask)
}

fn client_meta(meta: &Object, ask: &mut Ask, call: &mut Call) -> Result<(), String> {
    ask.local_conversation = text(meta, "local_conversation_id")?;
    local_conversation(&ask.local_conversation, 19, "1")?;
    ask.conversation = text(meta, "conversation_id")?;
    ask.section = text(meta, "last_section_id")?;
    ask.bot = text(meta, "bot_id")?;
    if !(15..=20).contains(&ask.bot.len()) || !ask.bot.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!("bot_id is {:?}", ask.bot));
    }
    let index = meta.get("last_message_index").cloned().unwrap_or_default();
    ask.last_index = index.as_u64();
    let continued = !ask.conversation.is_empty();
    if continued != ask.last_index.is_some() || continued == ask.section.is_empty() {
        return Err(
            "conversation_id, last_section_id and last_message_index do not agree".to_owned(),
        );
    }
    exactly(
        meta,
        "client_meta",
        json!({
            "local_conversation_id": ask.local_conversation, "conversation_id": ask.conversation, "bot_id": ask.bot,
            "last_section_id": ask.section, "last_message_index": index,
        }),
        call,
    )
}

fn option(option: &Object, ask: &mut Ask, call: &mut Call) -> Result<(), String> {
    let deep = option.get("need_deep_think").and_then(Value::as_u64);
    ask.deep_think = deep
        .filter(|deep| *deep <= 3)
        .ok_or("need_deep_think is missing or none of 0 to 3")?;
    let created = option.get("create_time_ms").and_then(Value::as_u64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    if created.is_none_or(|created| created.abs_diff(now) > TOLERANCE_MS) {
        return Err("create_time_ms is not within ten minutes".to_owned());
    }
    let key = text(option, "unique_key")?;
    if !is_v4(&key) {
        return Err(format!("unique_key {key:?} is no UUID"));
    }
    exactly(
        option,
        "option",
        json!({
            "send_message_scene": "", "create_time_ms": created, "collect_id": "", "is_audio": false,
            "answer_with_suggest": false, "tts_switch": false, "need_deep_think": deep, "click_clear_context": false,
            "from_suggest": false, "is_regen": false, "is_replace": false, "disable_sse_cache": false,
            "select_text_action": "", "resend_for_regen": false, "scene_type": 0, "unique_key": key, "start_seq": 0,
            "need_create_conversation": ask.conversation.is_empty(),
            "conversation_init_option": {"need_ack_conversation": true},
            "regen_query_id": [], "edit_query_id": [], "regen_instruction": "", "no_replace_for_regen": false,
            "message_from": 0, "shared_app_name": "", "sse_recv_event_options": {"support_chunk_delta": true},
            "is_ai_playground": false,
        }),
        call,
    )?;
    ask.keys.push(key);
    Ok(())
}

/// The local id of a message and its only block.
fn message_of<'a>(
    message: &'a Value,
    ask: &mut Ask,
    call: &mut Call,
) -> Result<(String, &'a Object), String> {
    let fields = message.as_object().ok_or("a message is no object")?;
    let local = text(fields, "local_message_id")?;
    if !is_v4(&local) {
        return Err(format!("local_message_id {local:?} is no UUID"));
    }
    let blocks = fields.get("content_block").and_then(Value::as_array);
    let block = match blocks.map(Vec::as_slice) {
        Some([block]) => block.as_object().ok_or("a block is no object")?,
        _ => return Err("content_block is no array of one block".to_owned()),
    };
    exactly(
        fields,
        "a message",
        json!({"local_message_id": local, "content_block": blocks, "message_status": 0}),
        call,
    )?;
    ask.keys.push(local.clone());
    Ok((local, block))
}

fn text_block(block: &Object, ask: &mut Ask, call: &mut Call) -> Result<String, String> {
    let content = block
        .get("content")
        .and_then(|content| content.get("text_block"))
        .and_then(Value::as_object)
        .ok_or("the last message has no text_block")?;
    let said = text(content, "text")?;
    if said.is_empty() {
        return Err("text is empty".to_owned());
    }
    let id = text(block, "block_id")?;
    if !is_v4(&id) {
        return Err(format!("block_id {id:?} is no UUID"));
    }
    exactly(
        block,
        "a block",
        json!({
            "block_type": 10000,
            "content": {
                "text_block": {"text": said, "icon_url": "", "icon_url_dark": "", "summary": ""},
                "pc_event_block": "",
            },
            "block_id": id, "parent_id": "", "meta_info": [], "append_fields": [],
        }),
        call,
    )?;
    ask.keys.push(id);
    Ok(said)
}

fn attachment(block: &Object, local: &str, call: &mut Call) -> Result<Attachment, String> {
    if block.get("block_type") != Some(&json!(10052)) {
        return Err("a message before the last has no block_type 10052".to_owned());
    }
    let list = block
        .get("content")
        .and_then(|content| content.pointer("/attachment_block/attachments"))
        .and_then(Value::as_array);
    let item = match list.map(Vec::as_slice) {
        Some([item]) => item.as_object().ok_or("an attachment is no object")?,
        _ => return Err("attachments is no array of one attachment".to_owned()),
    };
    let identifier = text(item, "identifier")?;
    if let Some(image) = item.get("image").and_then(Value::as_object) {
        let uri = text(image, "uri")?;
        let ori = object(item.get("image").unwrap_or(&Value::Null), "image_ori")?;
        let size = ["width", "height"].map(|name| ori.get(name).and_then(Value::as_u64));
        let [Some(width), Some(height)] = size else {
            return Err("width or height of an image is missing".to_owned());
        };
        exactly(
            item,
            "an image",
            json!({
                "type": 1, "identifier": identifier,
                "image": {
                    "name": text(image, "name")?, "uri": uri,
                    "image_ori": {"url": "", "width": width, "height": height, "format": "", "url_formats": {}},
                },
                "parse_state": 0, "review_state": 1, "upload_status": 1, "progress": 100, "src": "",
            }),
            call,
        )?;
        return Ok(Attachment {
            uri,
            identifier,
            image: Some((local.to_owned(), [width, height])),
        });
    }
    let file = item
        .get("file")
        .and_then(Value::as_object)
        .ok_or("an attachment is neither image nor file")?;
    let uri = text(file, "uri")?;
    let size = file.get("size").and_then(Value::as_u64);
    exactly(
        item,
        "a document",
        json!({
            "type": 3, "identifier": identifier,
            "file": {
                "uri": uri, "url": "", "file_type": 0, "name": text(file, "name")?,
                "size": size.ok_or("size of a document is missing")?,
            },
            "parse_state": 1, "review_state": 1, "upload_status": 1, "progress": 100, "src": "",
        }),
        call,
    )?;
    Ok(Attachment {
        uri,
        identifier,
        image: None,
    })
}

/// §4.5: a JSON text inside an object.
fn draws(ability: &Value) -> Result<(), String> {
    let fields = ability.as_object().ok_or("chat_ability is no object")?;
    if fields.get("ability_type") != Some(&json!(3)) {
        return Err("ability_type is not 3".to_owned());
    }
    let inner: Value = serde_json::from_str(&text(fields, "ability_param")?)
        .map_err(|_| "ability_param is no JSON text")?;
    let param = object(&inner, "ability_param")?;
    let ratio = text(param, "ratio")?;
    if inner.get("ability_type") != Some(&json!(1)) || !RATIOS.contains(&ratio.as_str()) {
        return Err(format!("ability_param is {inner}"));
    }
    match text(param, "model")?.starts_with("Seedream ") {
        true => Ok(()),
        false => Err("ability_param names no Seedream".to_owned()),
    }
}

/// The body of `/samantha/chat/completion`.
pub(super) fn samantha(body: &Value, call: &mut Call) -> Result<Ask, String> {
    let fields = body.as_object().ok_or("the body is no JSON object")?;
    let messages = body.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or("messages is missing or no array")?;
    if messages.len() > 1 {
        call.violate("only the first of the messages is read");
    }
    let message = messages.first().and_then(Value::as_object);
    let message = message.ok_or("messages is empty")?;
    let content: Value =
        serde_json::from_str(&text(message, "content")?).map_err(|_| "content is no JSON text")?;
    let prompt = content.get("text").and_then(Value::as_str);
    let prompt = prompt.filter(|prompt| !prompt.is_empty());
    let content_type = message.get("content_type").and_then(Value::as_u64);
    if !matches!(content_type, Some(2001 | 2009)) {
        return Err("content_type is neither 2001 nor 2009".to_owned());
    }
    let attachments = message.get("attachments").and_then(Value::as_array);
    if message.get("references") != Some(&json!([])) {
        return Err("references is not []".to_owned());
    }
    let option = object(body, "completion_option")?;
    let deep = option.get("use_deep_think").and_then(Value::as_bool);
    let auto = option.get("use_auto_cot").and_then(Value::as_bool);
    let (Some(deep), Some(auto)) = (deep, auto) else {
        return Err("use_deep_think or use_auto_cot is missing".to_owned());
    };
    let conversation = text(fields, "conversation_id")?;
    let drawing = option.get("action_bar_skill_id") == Some(&json!(3));
    exactly(
        option,
        "completion_option",
        json!({
            "is_regen": false, "with_suggest": true, "need_create_conversation": conversation == "0",
            "launch_stage": 1, "is_replace": false, "is_delete": false, "message_from": 0,
            "action_bar_skill_id": if drawing { 3 } else { 0 },
            "use_deep_think": deep, "use_auto_cot": auto, "resend_for_regen": false,
            "enable_commerce_credit": false, "event_id": "0",
        }),
        call,
    )?;
    if body.pointer("/evaluate_option/web_ab_params") != Some(&json!("")) {
        return Err("evaluate_option is not that of the page".to_owned());
    }
    let local = text(fields, "local_conversation_id")?;
    local_conversation(&local, 16, "16")?;
    let message_id = text(fields, "local_message_id")?;
    if !is_v4(&message_id) {
        return Err(format!("local_message_id {message_id:?} is no UUID"));
    }
    let image = |item: &Value| {
        let item = item.as_object().ok_or("an attachment is no object")?;
        if item.get("type") != Some(&json!("vlm_image"))
            || item.get("file_review_state") != Some(&json!(3))
            || item.get("file_parse_state") != Some(&json!(3))
        {
            return Err("an attachment is no reviewed vlm_image".to_owned());
        }
        Ok(Attachment {
            uri: text(item, "key")?,
            identifier: text(item, "identifier")?,
            image: None,
        })
    };
    let attachments: Result<_, String> = attachments
        .ok_or("attachments is missing or no array")?
        .iter()
        .map(image)
        .collect();
    Ok(Ask {
        prompt: prompt.ok_or("text is missing or empty")?.to_owned(),
        conversation: match conversation.as_str() {
            "0" => String::new(),
            id => id.to_owned(),
        },
        local_conversation: local,
        local_message: message_id.clone(),
        bot: "7338286299411103781".to_owned(),
        deep_think: u64::from(deep || auto),
        draws: content_type == Some(2009) || drawing,
        attachments: attachments?,
        keys: vec![message_id],
        ..Ask::default()
    })
}

const START: &str = "<|im_start|>";
const END: &str = "\n<|im_end|>\n";

/// Takes the flattened history apart again (§4.3).
pub(super) fn turns(prompt: &str) -> Result<Vec<Turn>, String> {
    if !prompt.starts_with(START) {
        return Ok(vec![Turn {
            role: "user".to_owned(),
            text: prompt.to_owned(),
        }]);
    }
    let mut turns = Vec::new();
    let mut rest = prompt;
    while !rest.is_empty() {
        let turn = rest
            .strip_prefix(START)
            .ok_or("text between two turns, or a marker inside one")?;
        let (role, turn) = turn
            .split_once('\n')
            .ok_or("a turn has no line feed after its role")?;
        if !matches!(role, "system" | "user" | "assistant" | "tool") {
            return Err(format!("a turn has the role {role:?}"));
        }
        let (text, after) = turn
            .split_once(END)
            .ok_or("a turn is not closed by a line feed, <|im_end|> and another one")?;
        turns.push(Turn {
            role: role.to_owned(),
            text: text.to_owned(),
        });
        rest = after;
    }
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_history_apart() {
        let prompt = "<|im_start|>system\nS\n\nT\n<|im_end|>\n<|im_start|>user\na\n\n<|im_end|>\n";
        let turns = turns(prompt).unwrap();
        assert_eq!(
            (turns[0].role.as_str(), turns[0].text.as_str()),
            ("system", "S\n\nT")
        );
        assert_eq!(turns[1].text, "a\n");
        assert_eq!(super::turns("plain <|im_end|>").unwrap().len(), 1);
        for wrong in [
            "<|im_start|>user\na<|im_end|>\n",
            "<|im_start|>developer\na\n<|im_end|>\n",
            "<|im_start|>user\na\n<|im_end|>\nb",
        ] {
            assert!(super::turns(wrong).is_err(), "{wrong:?}");
        }
    }
}
