//! Reading the body of `POST /dialog/conversation`, field by field. Source: wire/qwen.md §4.3, §5.

use serde_json::Value;

use crate::{Call, Turn, request::is_uuid};

/// A question that has the right shape.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) request_id: String,
    pub(super) session_id: String,
    pub(super) parent_msg_id: String,
    pub(super) deep_think: bool,
    pub(super) search: bool,
    pub(super) prompt: String,
    pub(super) attachments: Vec<Attachment>,
}

/// A picture or document in the question (§4.4).
#[derive(Debug)]
pub(super) enum Attachment {
    Image {
        url: String,
    },
    File {
        url: String,
        size: u64,
        doc_id: String,
    },
}

/// Every name that the table of §5 sends; "" is the account's default model.
const MODELS: [&str; 15] = [
    "",
    "Qwen",
    "Qwen3-Max",
    "Qwen3-Max-Thinking-Preview",
    "Qwen3-Flash",
    "Qwen3-Coder",
    "Qwen3.5-Plus",
    "Qwen3.6-Plus",
    "Qwen-Long",
    "Qwen-VL-Max",
    "qwen-plus",
    "qwen-turbo",
    "qwen-max",
    "Qwen3-Max-Preview",
    "qwq",
];

const FIELDS: [&str; 11] = [
    "action",
    "mode",
    "model",
    "requestId",
    "sessionId",
    "sessionType",
    "parentMsgId",
    "userAction",
    "params",
    "feature_config",
    "contents",
];

pub(super) fn is_model(name: &str) -> bool {
    // §5: any name with "think" goes through unchanged.
    MODELS.contains(&name) || name.to_ascii_lowercase().contains("think")
}

/// Reads the question; `Err` says in a sentence what the service would call a parameter error.
pub(super) fn read(body: &Value, call: &mut Call) -> Result<Ask, String> {
    let fields = body.as_object().ok_or("the body is no JSON object")?;
    if let Some(extra) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        call.violate(format!("the body has the unknown field {extra:?}"));
    }
    constant(body, "action", "next")?;
    constant(body, "mode", "chat")?;
    constant(body, "sessionType", "text_chat")?;
    let request_id = text(body, "requestId")?;
    if !is_uuid(&request_id) {
        return Err(format!(
            "requestId {request_id:?} is neither 32 hex digits nor a UUID"
        ));
    }
    let session_id = text(body, "sessionId")?;
    let parent_msg_id = text(body, "parentMsgId")?;
    constant(
        body,
        "userAction",
        if session_id.is_empty() {
            "new_top"
        } else {
            "chat"
        },
    )?;
    if session_id.is_empty() && !matches!(parent_msg_id.as_str(), "" | "0") {
        return Err(format!("parentMsgId is {parent_msg_id:?} in a new session"));
    }
    let (deep_think, search) = switches(body)?;
    let (prompt, attachments) = contents(body, call)?;
    Ok(Ask {
        model: text(body, "model")?,
        request_id,
        session_id,
        parent_msg_id,
        deep_think,
        search,
        prompt,
        attachments,
    })
}

fn text(object: &Value, key: &str) -> Result<String, String> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(format!("{key} is {other}, not a string")),
        None => Err(format!("{key} is missing")),
    }
}

fn constant(object: &Value, key: &str, value: &str) -> Result<(), String> {
    let sent = text(object, key)?;
    if sent == value {
        Ok(())
    } else {
        Err(format!("{key} is {sent:?}, not {value:?}"))
    }
}

fn flag(object: &Value, key: &str) -> Result<bool, String> {
    object
        .get(key)
        .and_then(Value::as_bool)
        .ok_or_else(|| format!("{key} is missing or no boolean"))
}

/// `params`, and `feature_config` in step with it.
fn switches(body: &Value) -> Result<(bool, bool), String> {
    let params = body
        .get("params")
        .filter(|params| params.is_object())
        .ok_or("params is missing")?;
    let batch = text(params, "fileUploadBatchId")?;
    if !is_uuid(&batch) {
        return Err(format!("params.fileUploadBatchId {batch:?} is no UUID"));
    }
    let deep_think = flag(params, "deepThink")?;
    let search = match text(params, "searchType")?.as_str() {
        "" => false,
        "depth" => true,
        other => {
            return Err(format!(
                "params.searchType is {other:?}, not \"\" or \"depth\""
            ));
        }
    };
    if let Some(config) = body.get("feature_config") {
        let config = (
            flag(config, "thinking_enabled")?,
            flag(config, "search_enabled")?,
        );
        if config != (deep_think, search) {
            return Err("feature_config is not in step with params".to_owned());
        }
    }
    Ok((deep_think, search))
}

fn contents(body: &Value, call: &mut Call) -> Result<(String, Vec<Attachment>), String> {
    let items = body
        .get("contents")
        .and_then(Value::as_array)
        .ok_or("contents is missing or no array")?;
    let mut prompt = None;
    let mut attachments = Vec::new();
    for item in items {
        constant(item, "role", "user").map_err(|what| format!("contents: {what}"))?;
        let content = text(item, "content")?;
        match text(item, "contentType")?.as_str() {
            "text" if prompt.is_none() && attachments.is_empty() => prompt = Some(content),
            "text" if prompt.is_some() => {
                call.violate("contents has a second text item, which the service ignores")
            }
            "text" => return Err("contents has its text item after a picture or file".to_owned()),
            "image" => attachments.push(Attachment::Image { url: content }),
            "file" => {
                let ext = item.get("ext").ok_or("a file item has no ext")?;
                let size = ext
                    .get("fileSize")
                    .and_then(Value::as_u64)
                    .ok_or("ext.fileSize is missing or no number")?;
                attachments.push(Attachment::File {
                    url: content,
                    size,
                    doc_id: text(ext, "docId")?,
                });
            }
            other => return Err(format!("contents has the unknown contentType {other:?}")),
        }
    }
    let prompt = prompt
        .filter(|prompt| !prompt.is_empty())
        .ok_or("contents has no text")?;
    Ok((prompt, attachments))
}

const START: &str = "<|im_start|>";
const END: &str = "<|im_end|>\n";

/// Takes the flattened history apart again (§4.3). `Err` says what is wrong with it.
pub(super) fn turns(prompt: &str) -> Result<Vec<Turn>, String> {
    if !prompt.contains(START) && !prompt.contains("<|im_end|>") {
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
        if !matches!(role, "system" | "user" | "assistant") {
            return Err(format!("a turn has the role {role:?}"));
        }
        let (text, after) = turn
            .split_once(END)
            .ok_or("a turn is not closed by <|im_end|> and a line feed")?;
        if text.contains(START) || text.contains("<|im_end|>") {
            return Err("the text of a turn holds a literal marker".to_owned());
        }
        turns.push(Turn {
            role: role.to_owned(),
            text: text.to_owned(),
        });
        rest = after;
    }
    // Pictures in the history are dead signed links and are left out.
    let history = turns
        .split_last()
        .map(|(_, history)| history)
        .unwrap_or_default();
    let picture = |turn: &Turn| {
        turn.text
            .split_once("![")
            .is_some_and(|(_, rest)| rest.contains("]("))
    };
    if history.iter().any(picture) {
        return Err("the history still holds picture markdown".to_owned());
    }
    Ok(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_history_apart() {
        let prompt = "<|im_start|>system\nS\n\nT<|im_end|>\n<|im_start|>user\na\n<|im_end|>\n";
        let turns = turns(prompt).unwrap();
        assert_eq!(
            turns[0],
            Turn {
                role: "system".to_owned(),
                text: "S\n\nT".to_owned()
            }
        );
        assert_eq!(turns[1].text, "a\n");
        assert_eq!(super::turns("plain").unwrap()[0].text, "plain");
    }

    #[test]
    fn refuses_a_broken_history() {
        for prompt in [
            "hi <|im_start|>user\na<|im_end|>\n",
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n",
            "<|im_start|>developer\na<|im_end|>\n",
            "<|im_start|>user\na<|im_start|>system\nb<|im_end|>\n",
            "<|im_start|>user\n![x](http://y)<|im_end|>\n<|im_start|>user\nb<|im_end|>\n",
        ] {
            assert!(turns(prompt).is_err(), "{prompt:?}");
        }
    }
}
