//! What the Spark page sends, and its short answers, as pure functions. Source: `wire/xinghuo.md` sections 3 and 4.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    account::Account,
    form::Form,
    refusal::{self, Refusal},
};
use crate::{
    accounts::Secret,
    chat::{ChatRequest, ProviderError, Role, message::without_pictures},
    upstream::{Request, fetch::Attachment, multipart},
};

const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
/// The service's address, and the one it had before.
pub(super) const SITE: &str = "https://spark.xfyun.cn";
const OLDER_SITE: &str = "https://xinghuo.xfyun.cn";
/// `options` of a question that is to be answered at once, and of one that is to be thought about (section 4.3).
const FAST: &str = r#"{"chatOption":{"thinkPattern":"fast_think","routeVersion":"legacy"}}"#;
const THINKING: &str = r#"{"chatOption":{"thinkPattern":"auto","routeVersion":"legacy"}}"#;
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
    /// How questions are put.
    pub(super) form: Form,
}

/// What a question is made of, whatever window it is asked in.
#[derive(Debug)]
pub(super) struct Question {
    /// The last line `<sid>` of the window that it goes on with; `None` for the first in a window.
    pub(super) sid: Option<String>,
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
    // A bot opens a window of its own (section 4.2).
    let body = match (bot, caller.form) {
        (Some(id), _) => json!({"botId": id}),
        (None, Form::Spark) => json!({"showType": "2"}),
        (None, Form::Classic) => json!({}),
    };
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
    // Section 4.6: with documents the answer comes by another path, and the same stream.
    let path = if question.documents.is_empty() {
        "/iflygpt-chat/u/chat_message/chat"
    } else {
        "/iflygpt-longcontext/u/chat_message/web/chat"
    };
    let is_bot = if question.bot.is_some() { "1" } else { "0" };
    let is_classic = caller.form == Form::Classic;
    let mut form = multipart::Form::new(boundary)
        .text("fd", fd)
        .text("isBot", is_bot);
    if let Some(id) = question.bot {
        form = form.text("botId", &id.to_string());
    }
    // The order of section 4.3: `sid` and `firstChat` stand at the end.
    form = form.text("clientType", "1").text("text", &question.text);
    // Either alone is evidence; together they are what the classic form wanted (section 4.3).
    if question.thinking {
        form = form.text("capabilities", "deep_think");
    } else if is_classic {
        form = form.text("capabilities", "");
    }
    form = form.text("chatId", chat_id);
    let sid = question.sid.as_deref();
    if let Some(sid) = sid.filter(|_| is_classic) {
        form = form.text("sid", sid);
    }
    if !question.pictures.is_empty() {
        form = form.text("fileUrl", &question.pictures.join(","));
    }
    let mut request = common(caller, "chat", path, "text/event-stream");
    if is_classic {
        let token = caller.account.gt_token.as_ref();
        // Any value passes, also an empty one (section 1).
        form = form.text("GtToken", token.map_or("", Secret::expose));
        request = request.headers(&[
            ("botweb", is_bot),
            ("challenge", ""),
            ("seccode", ""),
            ("validate", ""),
        ]);
    } else {
        let options = if question.thinking { THINKING } else { FAST };
        form = form.text("options", options);
        form = match sid {
            Some(sid) => form.text("sid", sid),
            None => form.text("firstChat", "true"),
        };
    }
    request
        .header("content-type", form.content_type())
        .body(form.finish())
}

/// `POST batch-delete-chat-list`: today's way to delete a window (sections 3 and 8).
pub(super) fn delete_batch(caller: Caller<'_>, chat_id: &str) -> Request {
    let body = json!({"chatListIds": [number(chat_id)]});
    post(
        caller,
        "delete_batch",
        "/iflygpt/u/chat-list/v1/batch-delete-chat-list",
        &body,
    )
}

/// `POST del-chat-list`: the older way (section 8).
pub(super) fn delete(caller: Caller<'_>, chat_id: &str) -> Request {
    let body = json!({"chatListId": number(chat_id)});
    post(
        caller,
        "delete",
        "/iflygpt/u/chat-list/v1/del-chat-list",
        &body,
    )
}

/// Whether a deletion was neither answered 404 nor refused.
pub(super) fn is_deleted(status: u16, body: &[u8]) -> bool {
    let envelope = serde_json::from_slice::<Envelope>(body);
    // A refusal within 200 keeps the deletion for the older call.
    status == 200 && envelope.is_ok_and(|envelope| envelope.into_data("").is_ok())
}

/// Ids are numbers in JSON.
fn number(chat_id: &str) -> Value {
    chat_id
        .parse::<u64>()
        // A text that is no number goes as it is.
        .map_or_else(|_| json!(chat_id), |id| json!(id))
}

/// `POST oss/sign`: where an attachment may be stored; its content is left empty (section 4.6 step 2).
pub(super) fn sign(caller: Caller<'_>, file: &Attachment, boundary: String) -> Request {
    let form = multipart::Form::new(boundary).file("file", &file.name, &file.content_type, b"");
    short(caller, "sign", "/iflygpt/oss/sign")
        .header("content-type", form.content_type())
        .body(form.finish())
}

/// The signed upload; no cookies (section 4.6 step 3).
pub(super) fn store(signed: &Signed, file: &Attachment) -> Request {
    let encoded = |value: &str| utf8_percent_encode(value, QUERY).to_string();
    let url = format!(
        // The store's own query, built as the page does it: it is signed as it stands.
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

/// `GET userInfo`: whether the session is alive (section 2).
pub(super) fn user_info(caller: Caller<'_>) -> Request {
    let url = format!("{}/iflygpt/userInfo", caller.base_url);
    short_of(caller, Request::get("user_info", url))
}

fn post(caller: Caller<'_>, step: &'static str, path: &str, body: &impl Serialize) -> Request {
    short(caller, step, path)
        .header("content-type", "application/json")
        .json(body)
}

fn short(caller: Caller<'_>, step: &'static str, path: &str) -> Request {
    let url = format!("{}{path}", caller.base_url);
    short_of(caller, Request::post(step, url))
}

fn short_of(caller: Caller<'_>, request: Request) -> Request {
    dressed(caller, request, "application/json, text/plain, */*")
        .headers(&[("x-requested-with", "XMLHttpRequest"), ("clienttype", "1")])
        .timeout(SHORT_CALL)
}

/// Section 4.1. Origin and referer are those of the real site wherever the base URL points.
fn common(caller: Caller<'_>, step: &'static str, path: &str, accept: &str) -> Request {
    let url = format!("{}{path}", caller.base_url);
    dressed(caller, Request::post(step, url), accept)
}

fn dressed(caller: Caller<'_>, request: Request, accept: &str) -> Request {
    let site = if caller.base_url == OLDER_SITE {
        [
            ("origin", OLDER_SITE),
            ("referer", "https://xinghuo.xfyun.cn/desk"),
        ]
    } else {
        [("origin", SITE), ("referer", "https://spark.xfyun.cn/desk")]
    };
    request
        .headers(&[("accept", accept), ("lang-code", "zh")])
        .header("cookie", caller.account.cookie.expose())
        .headers(&site)
        .headers(&[("user-agent", USER_AGENT)])
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
        // `flag` and `code` must agree: one of them is missing in either form (section 3).
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
            // A number becomes text once, and is written as it came.
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
    // A single message goes bare (section 4.4).
    if let [only] = request.messages.as_slice() {
        return only.text().into_owned();
    }
    let last = request.messages.len().saturating_sub(1);
    let mut prompt = String::new();
    for (at, message) in request.messages.iter().enumerate() {
        let text = message.text();
        // The history's pictures are dropped: the service cannot open them again.
        let text = if at == last {
            text
        } else {
            without_pictures(&text).into_owned().into()
        };
        prompt.push_str(role(message.role));
        prompt.push(':');
        prompt.push_str(&text);
        prompt.push('\n');
    }
    // Section 4.4: the model goes on from there.
    prompt.push_str("assistant:");
    prompt
}

/// The page knows four roles; OpenAI's other two words mean two of them.
fn role(role: Role) -> &'static str {
    match role {
        Role::System | Role::Developer => "system",
        // Results come as the user's turns.
        Role::User | Role::Tool | Role::Function => "user",
        Role::Assistant => "assistant",
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
