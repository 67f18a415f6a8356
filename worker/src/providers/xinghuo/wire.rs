//! What the Spark page sends, and its short answers, as pure functions. Source: `wire/xinghuo.md` sections 3 and 4.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    account::Account,
    refusal::{self, Refusal},
};
use crate::{
    chat::{ChatRequest, Message, ProviderError, Role, message::without_pictures},
    upstream::{Request, fetch::Attachment, multipart::Form},
};

const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const SHORT_CALL: std::time::Duration = std::time::Duration::from_secs(15);
/// As JavaScript's `encodeURIComponent`, nearly: what it leaves alone and we do not is the same to a server.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// `XINGHUO_BASE_URL`.
    pub(super) base_url: &'a str,
    /// Whose cookie.
    pub(super) account: &'a Account,
}

/// What a question is made of, whatever window it is asked in.
#[derive(Debug)]
pub(super) struct Question {
    /// Section 4.4.
    pub(super) text: String,
    /// `capabilities` is `deep_think`.
    pub(super) thinking: bool,
    /// The bot to ask instead of the default model.
    pub(super) bot: Option<u64>,
    /// Links of uploaded pictures.
    pub(super) pictures: Vec<String>,
    /// Uploaded documents, which each window must be told of.
    pub(super) documents: Vec<Document>,
}

/// An uploaded document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) bytes: usize,
    pub(super) link: String,
    /// `fileBusinessKey`.
    pub(super) key: Uuid,
}

/// `POST create-chat-list`: opens a window (section 4.2).
pub(super) fn create(caller: Caller<'_>, bot: Option<u64>) -> Request {
    let body = bot.map_or_else(|| json!({}), |id| json!({"botId": id}));
    post(
        caller,
        "create",
        "/iflygpt/u/chat-list/v1/create-chat-list",
        &body,
    )
}

/// `POST chat`: asks in a window; [`super::stream::Decoder`] reads the answer (section 4.3). Documents have a path
/// of their own with the same form (section 4.6).
///
/// `fd` names the running answer ([`fd`]).
pub(super) fn ask(
    caller: Caller<'_>,
    question: &Question,
    chat_id: &str,
    fd: &str,
    boundary: String,
) -> Request {
    let path = if question.documents.is_empty() {
        "/iflygpt-chat/u/chat_message/chat"
    } else {
        "/iflygpt-longcontext/u/chat_message/web/chat"
    };
    let is_bot = if question.bot.is_some() { "1" } else { "0" };
    let capabilities = if question.thinking { "deep_think" } else { "" };
    let mut form = Form::new(boundary).text("fd", fd).text("isBot", is_bot);
    if let Some(id) = question.bot {
        form = form.text("botId", &id.to_string());
    }
    form = form
        .text("clientType", "1")
        .text("text", &question.text)
        .text("capabilities", capabilities)
        .text("chatId", chat_id);
    if !question.pictures.is_empty() {
        form = form.text("fileUrl", &question.pictures.join(","));
    }
    form = form.text("GtToken", caller.account.gt_token.expose());
    common(caller, "chat", path, "text/event-stream")
        .headers(&[
            ("botweb", is_bot),
            ("challenge", ""),
            ("seccode", ""),
            ("validate", ""),
        ])
        .header("content-type", form.content_type())
        .body(form.finish())
}

/// `POST del-chat-list` (section 8).
pub(super) fn delete(caller: Caller<'_>, chat_id: &str) -> Request {
    let id = chat_id
        .parse::<u64>()
        .map_or_else(|_| json!(chat_id), |id| json!(id));
    let body = json!({"chatListId": id});
    post(
        caller,
        "delete",
        "/iflygpt/u/chat-list/v1/del-chat-list",
        &body,
    )
}

/// `POST oss/sign`: where an attachment may be stored; its content is left empty (section 4.6 step 2).
pub(super) fn sign(caller: Caller<'_>, file: &Attachment, boundary: String) -> Request {
    let form = Form::new(boundary).file("file", &file.name, &file.content_type, b"");
    short(caller, "sign", "/iflygpt/oss/sign")
        .header("content-type", form.content_type())
        .body(form.finish())
}

/// The signed upload; no cookies (section 4.6 step 3).
pub(super) fn store(signed: &Signed, file: &Attachment) -> Request {
    let encoded = |value: &str| utf8_percent_encode(value, QUERY).to_string();
    let url = format!(
        "{}&authorization={}&date={}&host={}",
        signed.url,
        encoded(&BASE64.encode(&signed.authorization)),
        encoded(&signed.date),
        encoded(&signed.host)
    );
    Request::post("store", url)
        .headers(&[("user-agent", USER_AGENT), ("accept", "*/*")])
        .header("authorization", &signed.authorization)
        .header("content-type", &file.content_type)
        .body(file.bytes.clone())
}

/// `POST saveFile`: makes a document known to a window (section 4.6 step 5).
pub(super) fn save_file(caller: Caller<'_>, document: &Document, chat_id: &str) -> Request {
    let body = json!({
        "businessType": 0, "chatId": chat_id, "fileBusinessKey": document.key.to_string(), "fileName": document.name,
        "fileSize": document.bytes, "fileUrl": document.link,
    });
    post(
        caller,
        "save_file",
        "/iflygpt-longcontext/chat/enhance/saveFile",
        &body,
    )
}

/// The last six digits of the time in milliseconds (section 4.3).
pub(super) fn fd(unix_ms: u64) -> String {
    format!("{:06}", unix_ms % 1_000_000)
}

fn post(caller: Caller<'_>, step: &'static str, path: &str, body: &impl Serialize) -> Request {
    short(caller, step, path)
        .header("content-type", "application/json")
        .json(body)
}

fn short(caller: Caller<'_>, step: &'static str, path: &str) -> Request {
    common(caller, step, path, "application/json, text/plain, */*")
        .headers(&[("x-requested-with", "XMLHttpRequest"), ("clienttype", "1")])
        .timeout(SHORT_CALL)
}

/// Section 4.1. Origin and referer are the real site's wherever the base URL points.
fn common(caller: Caller<'_>, step: &'static str, path: &str, accept: &str) -> Request {
    Request::post(step, format!("{}{path}", caller.base_url))
        .headers(&[("accept", accept), ("lang-code", "zh")])
        .header("cookie", caller.account.cookie.expose())
        .headers(&[
            ("origin", "https://xinghuo.xfyun.cn"),
            ("referer", "https://xinghuo.xfyun.cn/desk"),
            ("user-agent", USER_AGENT),
        ])
}

/// The envelope of every short answer (section 3).
#[derive(Debug, Deserialize)]
pub(super) struct Envelope {
    flag: Option<bool>,
    code: Option<i64>,
    #[serde(default)]
    desc: Option<String>,
    #[serde(default)]
    data: Value,
}

impl Envelope {
    /// The data; null where a call has none.
    ///
    /// # Errors
    /// The refusal that the envelope holds.
    pub(super) fn into_data(self, variable: &str) -> Result<Value, Refusal> {
        if self.flag != Some(true) || self.code.unwrap_or_default() != 0 {
            let desc = self.desc.unwrap_or_default();
            return Err(refusal::coded(self.code, &desc, variable));
        }
        Ok(self.data)
    }
}

/// A new window.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    id: Value,
    /// Nobody has spoken in it yet since somebody else opened it.
    #[serde(default)]
    old_blank_list: Option<bool>,
}

impl Created {
    /// The id as text: it is a number here and text in the form (section 9).
    ///
    /// # Errors
    /// An id that is none.
    pub(super) fn id(&self) -> Result<String, ProviderError> {
        match &self.id {
            Value::Number(id) => Ok(id.to_string()),
            Value::String(id) if !id.is_empty() => Ok(id.clone()),
            _ => Err(ProviderError::malformed("conversation id")),
        }
    }

    /// Whether the window had been opened before, perhaps by another worker.
    pub(super) fn is_reused(&self) -> bool {
        self.old_blank_list == Some(true)
    }
}

/// Where and how to store an attachment.
#[derive(Debug, Deserialize)]
pub(super) struct Signed {
    pub(super) url: String,
    pub(super) authorization: String,
    pub(super) date: String,
    pub(super) host: String,
}

/// A stored attachment.
#[derive(Debug, Deserialize)]
pub(super) struct Stored {
    pub(super) link: String,
}

/// The conversation as the one text that the service reads (section 4.4).
pub(super) fn prompt(request: &ChatRequest) -> String {
    if let [only] = request.messages.as_slice() {
        return only.text().into_owned();
    }
    let last = request.messages.len().saturating_sub(1);
    let mut prompt = String::new();
    for (at, message) in request.messages.iter().enumerate() {
        let text = said(message);
        let text = if at == last {
            text.into()
        } else {
            without_pictures(&text)
        };
        prompt.push_str(role(message.role));
        prompt.push(':');
        prompt.push_str(&text);
        prompt.push('\n');
    }
    prompt.push_str("assistant:");
    prompt
}

/// The page knows four roles; OpenAI's other two words mean two of them.
fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool | Role::Function => "tool",
    }
}

/// A message's text. The page has no form for tool calls; left out, the results after them would make no sense.
fn said(message: &Message) -> String {
    let calls = message
        .tool_calls
        .iter()
        .flatten()
        .filter_map(|call| call.function.as_ref());
    // Into one text: to format the text anew for each call would take time with their square.
    let mut said = message.text().into_owned();
    for call in calls {
        let gap = if said.is_empty() { "" } else { "\n" };
        // Memory cannot fail to be written.
        let _ = write!(said, "{gap}[tool call] {}({})", call.name, call.arguments);
    }
    said
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
