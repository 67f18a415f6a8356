//! What the Tongyi page sends, as pure functions. Source: `wire/qwen.md` section 4.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{account::Account, refusal};
use crate::{
    chat::{ChatRequest, Message, ProviderError, Role, message::without_pictures},
    upstream::{Request, fetch::Attachment, multipart::Form},
};

const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
const JSON_ACCEPT: &str = "application/json, text/plain, */*";
const SHORT_CALL: std::time::Duration = std::time::Duration::from_secs(15);
const PREWARM: std::time::Duration = std::time::Duration::from_secs(10);

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// `QWEN_BASE_URL`, without `/dialog`.
    pub(super) base_url: &'a str,
    /// Whose cookie.
    pub(super) account: &'a Account,
}

/// What a question is made of.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The upstream model.
    pub(super) model: &'a str,
    /// `deepThink`.
    pub(super) thinking: bool,
    /// `searchType: depth`.
    pub(super) search: bool,
    /// New for every attempt, retries included (section 4.3).
    pub(super) request_id: String,
    /// `fileUploadBatchId`.
    pub(super) batch_id: String,
    /// The one text item.
    pub(super) prompt: String,
    /// Uploaded pictures and documents.
    pub(super) items: Vec<Value>,
}

/// `POST /dialog/conversation`: asks one question; [`super::stream::Decoder`] reads the answer (sections 4.2, 4.3).
pub(super) fn ask(caller: Caller<'_>, question: Question<'_>) -> Request {
    let mut contents =
        vec![json!({"role": "user", "contentType": "text", "content": question.prompt})];
    contents.extend(question.items);
    let body = json!({
        "action": "next", "mode": "chat", "model": question.model, "requestId": question.request_id,
        "sessionId": "", "sessionType": "text_chat", "parentMsgId": "", "userAction": "new_top",
        "params": {
            "fileUploadBatchId": question.batch_id,
            "searchType": if question.search { "depth" } else { "" },
            "deepThink": question.thinking,
        },
        "feature_config": {"search_enabled": question.search, "thinking_enabled": question.thinking},
        "contents": contents,
    });
    let mut request = post(
        caller,
        "conversation",
        "/dialog/conversation",
        "text/event-stream",
        &body,
    );
    request.timeout = None;
    request
}

/// `POST /dialog/session/delete` (section 9).
pub(super) fn delete_session(caller: Caller<'_>, session_id: &str) -> Request {
    post(
        caller,
        "delete",
        "/dialog/session/delete",
        JSON_ACCEPT,
        &json!({"sessionId": session_id}),
    )
}

/// The optional call that the page makes before a question; its answer does not matter (section 4.1).
pub(super) fn prewarm(caller: Caller<'_>) -> Request {
    let body = json!({
        "pageNo": 1, "terminal": "web", "pageSize": 10000, "module": "uploadhistory",
        "fileTypes": ["file", "audio", "video"], "recordSources": ["chat", "zhiwen", "tingwu"], "status": [20, 30, 40, 41],
        "taskTypes": ["local", "net_source", "doc_read", "paper_read", "book_read"],
    });
    post(
        caller,
        "prewarm",
        "/assistant/api/record/list",
        JSON_ACCEPT,
        &body,
    )
    .timeout(PREWARM)
}

/// `POST /dialog/uploadToken` (section 4.4 step 2).
pub(super) fn upload_token(caller: Caller<'_>) -> Request {
    post(
        caller,
        "upload_token",
        "/dialog/uploadToken",
        JSON_ACCEPT,
        &json!({}),
    )
}

/// `POST /dialog/downloadLink` for a picture (section 4.4 step 4). `name` is without the folder.
pub(super) fn picture_link(caller: Caller<'_>, name: &str, dir: &str) -> Request {
    post(
        caller,
        "download_link",
        "/dialog/downloadLink",
        JSON_ACCEPT,
        &json!({"fileKey": name, "fileType": "image", "dir": dir}),
    )
}

/// `POST /dialog/downloadLink/batch` for a document (section 4.4 step 5).
pub(super) fn document_link(caller: Caller<'_>, name: &str, dir: &str) -> Request {
    let body = json!({"fileKeys": [name], "fileType": "file", "dir": dir});
    post(
        caller,
        "download_link",
        "/dialog/downloadLink/batch",
        JSON_ACCEPT,
        &body,
    )
}

/// `POST /dialog/secResult/batch`: the security check of a document (section 4.4 step 5).
pub(super) fn security_result(caller: Caller<'_>, url: &str) -> Request {
    post(
        caller,
        "security_result",
        "/dialog/secResult/batch",
        JSON_ACCEPT,
        &json!({"urls": [url]}),
    )
}

/// The OSS form, fields in the page's order, file last; no cookies (section 4.4 step 3).
pub(super) fn store(
    upload_base_url: Option<&str>,
    token: &UploadToken,
    file: &Attachment,
    boundary: String,
) -> Request {
    let form = Form::new(boundary)
        .text("OSSAccessKeyId", &token.access_id)
        .text("policy", &token.policy)
        .text("signature", &token.signature)
        .text("key", &format!("{}{}", token.dir, file.name))
        .text("dir", &token.dir)
        .text("success_action_status", "200")
        .file("file", &file.name, &file.content_type, &file.bytes);
    let host = upload_base_url.unwrap_or(&token.host).trim_end_matches('/');
    let scheme = if host.contains("://") { "" } else { "https://" };
    Request::post("store", format!("{scheme}{host}/"))
        .headers(&[
            ("user-agent", USER_AGENT),
            ("accept", "*/*"),
            ("origin", "https://www.tongyi.com"),
        ])
        .header("content-type", form.content_type())
        .body(form.finish())
}

fn post(
    caller: Caller<'_>,
    step: &'static str,
    path: &str,
    accept: &str,
    body: &impl Serialize,
) -> Request {
    Request::post(step, format!("{}{path}", caller.base_url))
        .headers(&[
            ("accept", accept),
            ("accept-language", "zh-CN,zh;q=0.9"),
            ("cache-control", "no-cache"),
            ("content-type", "application/json"),
        ])
        .header("cookie", caller.account.cookie.expose())
        .headers(&[
            ("origin", "https://www.tongyi.com"),
            ("pragma", "no-cache"),
            ("referer", "https://www.tongyi.com/"),
            ("user-agent", USER_AGENT),
            ("x-platform", "pc_tongyi"),
        ])
        .header("x-xsrf-token", caller.account.xsrf_token.expose())
        .json(body)
        .timeout(SHORT_CALL)
}

/// The credentials of one upload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadToken {
    pub(super) access_id: String,
    pub(super) policy: String,
    pub(super) signature: String,
    pub(super) dir: String,
    #[serde(default)]
    pub(super) host: String,
}

/// The envelope of every short answer (section 4.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<T> {
    success: Option<bool>,
    data: Option<T>,
    error_code: Option<Value>,
    error_msg: Option<String>,
}

impl<T> Envelope<T> {
    /// The data. A body without a boolean `success` counts as a success (section 4.1).
    ///
    /// # Errors
    /// The refusal that the envelope holds.
    pub(super) fn into_data(self, variable: &str) -> Result<T, ProviderError> {
        if self.success == Some(false) {
            let code = self
                .error_code
                .as_ref()
                .and_then(Value::as_str)
                .unwrap_or_default();
            return Err(refusal::coded(
                code,
                self.error_msg.as_deref().unwrap_or_default(),
                variable,
            ));
        }
        self.data.ok_or_else(|| ProviderError::malformed("answer"))
    }
}

/// The conversation as the one text that the service reads (section 4.3).
pub(super) fn prompt(request: &ChatRequest) -> String {
    if let [only] = request.messages.as_slice()
        && only.role == Role::User
    {
        return only.text().into_owned();
    }
    let last = request.messages.len().saturating_sub(1);
    let mut prompt = String::new();
    for (at, message) in request.messages.iter().enumerate() {
        let role = match message.role {
            Role::System | Role::Developer => "system",
            Role::User | Role::Tool | Role::Function => "user",
            Role::Assistant => "assistant",
        };
        let text = said(message);
        let text = if at == last {
            text
        } else {
            without_pictures(&text).into_owned()
        };
        // Text must not be able to forge a role.
        let text: String = text
            .replace("<|im_start|>", "<\u{200B}|im_start|>")
            .replace("<|im_end|>", "<\u{200B}|im_end|>");
        // Memory cannot fail to be written.
        let _ = write!(prompt, "<|im_start|>{role}\n{text}<|im_end|>\n");
    }
    prompt
}

fn said(message: &Message) -> String {
    let text = message.text();
    match message.role {
        Role::Tool | Role::Function => {
            let id = message
                .tool_call_id
                .as_deref()
                .or(message.name.as_deref())
                .unwrap_or_default();
            format!("[tool result {id}] {text}")
        }
        _ => {
            let calls = message
                .tool_calls
                .iter()
                .flatten()
                .filter_map(|call| Some((&call.id, call.function.as_ref()?)));
            // Into one text: to format the text anew for each call would take time with their square.
            let mut said = text.into_owned();
            for (id, call) in calls {
                let gap = if said.is_empty() { "" } else { "\n" };
                // Memory cannot fail to be written.
                let _ = write!(
                    said,
                    "{gap}[tool call {id}] {}({})",
                    call.name, call.arguments
                );
            }
            said
        }
    }
}
