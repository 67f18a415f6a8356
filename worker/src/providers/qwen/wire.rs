//! What the Tongyi page sends, as pure functions. Source: `wire/qwen.md` section 4.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{account::Account, refusal};
use crate::{
    chat::ProviderError,
    upstream::{Request, fetch::Attachment, multipart::Form},
};

const JSON_ACCEPT: &str = "application/json, text/plain, */*";
const SHORT_CALL: std::time::Duration = std::time::Duration::from_secs(15);
const PREWARM: std::time::Duration = std::time::Duration::from_secs(10);

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// `QWEN_BASE_URL`, without `/dialog`.
    pub(super) base_url: &'a str,
    /// `QWEN_USER_AGENT`.
    pub(super) user_agent: &'a str,
    /// Whose cookie.
    pub(super) account: &'a Account,
}

/// What a question is made of.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The session and the answer in it that it follows; `None` for the first of a new session.
    pub(super) goes_on: Option<(&'a str, &'a str)>,
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
    pub(super) prompt: &'a str,
    /// Uploaded pictures and documents.
    pub(super) items: Vec<Value>,
}

/// `POST /dialog/conversation`: asks one question; [`super::stream::Decoder`] reads the answer (sections 4.2, 4.3).
pub(super) fn ask(caller: Caller<'_>, question: Question<'_>) -> Request {
    let mut contents =
        vec![json!({"role": "user", "contentType": "text", "content": question.prompt})];
    contents.extend(question.items);
    let (session_id, parent) = question.goes_on.unwrap_or_default();
    let action = if session_id.is_empty() {
        "new_top"
    } else {
        "chat"
    };
    let body = json!({
        "action": "next", "mode": "chat", "model": question.model, "requestId": question.request_id,
        "sessionId": session_id, "sessionType": "text_chat", "parentMsgId": parent, "userAction": action,
        "params": {
            "fileUploadBatchId": question.batch_id,
            "searchType": if question.search { "depth" } else { "" },
            "deepThink": question.thinking,
        },
        "feature_config": {"search_enabled": question.search, "thinking_enabled": question.thinking},
        "contents": contents,
    });
    // The answer is a stream, so the turn's own bounds count.
    let mut request = post(
        caller,
        "conversation",
        "/dialog/conversation",
        "text/event-stream",
        &body,
    );
    request.timeout = None;
    request.once()
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
    caller: Caller<'_>,
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
    // Tolerance: the wire page does not say whether `host` has one.
    let scheme = if host.contains("://") { "" } else { "https://" };
    Request::post("store", format!("{scheme}{host}/"))
        .headers(&[
            ("user-agent", caller.user_agent),
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
            ("user-agent", caller.user_agent),
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
        // Only an explicit `false`: a body without it is a success (section 4.1).
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
