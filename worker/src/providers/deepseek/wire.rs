//! What the DeepSeek page sends, as pure functions. Source: `wire/deepseek.md` sections 2 to 5 and 8; what comes back
//! instead of an answer: [`super::refusal`].

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::{
    account::{Account, Login, Name},
    identity::Identity,
    pow,
};
use crate::{
    accounts::Secret,
    chat::ProviderError,
    impossible::OrImpossible as _,
    upstream::{Request, fetch::Attachment, multipart::Form},
};

/// The path that a completion's proof is bound to.
pub(super) const COMPLETION: &str = "/api/v0/chat/completion";
/// The path that an upload's proof is bound to.
pub(super) const UPLOAD: &str = "/api/v0/file/upload_file";

const SHORT_CALL: Duration = Duration::from_secs(15);
const UPLOAD_CALL: Duration = Duration::from_secs(60);

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) identity: &'a Identity,
    pub(super) token: &'a Secret,
    /// `x-device-id`.
    pub(super) device_id: &'a str,
}

impl Caller<'_> {
    fn authorized(&self, request: Request) -> Request {
        let bearer = format!("Bearer {}", self.token.expose());
        self.identity
            .dressed(request, "/", self.device_id)
            .header("authorization", bearer)
            .timeout(SHORT_CALL)
    }

    fn post(&self, step: &'static str, path: &str, body: &impl Serialize) -> Request {
        let url = format!("{}{path}", self.identity.base_url);
        self.authorized(Request::post(step, url))
            .header("content-type", "application/json")
            .json(body)
    }

    fn get(&self, step: &'static str, path: &str) -> Request {
        let url = format!("{}{path}", self.identity.base_url);
        self.authorized(Request::get(step, url))
            .header("content-type", "application/json")
    }
}

/// `POST /users/login`; without a token. `device_id` may be empty, but not absent; `os` is the platform of the headers
/// (section 2).
pub(super) fn login(identity: &Identity, account: &Account, login: &Login) -> Request {
    let mut body = json!({
        "email": null, "mobile": null, "password": login.password.expose(), "device_id": login.device_id,
        "os": identity.platform,
    });
    // Both members are sent, one of them null: the site sends both (section 2).
    match &login.name {
        Name::Email(email) => body["email"] = json!(email.expose()),
        Name::Mobile { area_code, number } => {
            body["mobile"] = json!(number.expose());
            body["area_code"] = json!(area_code);
        }
    }
    let url = format!("{}/api/v0/users/login", identity.base_url);
    identity
        .dressed(Request::post("login", url), "/sign_in", &account.device_id)
        // A login counts at the service: a lost answer is not asked for twice.
        .once()
        .header("content-type", "application/json")
        .json(&body)
        .timeout(SHORT_CALL)
}

/// `POST /chat_session/create`.
pub(super) fn create_session(caller: Caller<'_>) -> Request {
    caller.post("create", "/api/v0/chat_session/create", &json!({}))
}

/// `POST /chat_session/delete`.
pub(super) fn delete_session(caller: Caller<'_>, session_id: &str) -> Request {
    let body = json!({"chat_session_id": session_id});
    caller.post("delete", "/api/v0/chat_session/delete", &body)
}

/// `POST /chat/create_pow_challenge`.
pub(super) fn challenge(caller: Caller<'_>, target_path: &str) -> Request {
    let body = json!({"target_path": target_path});
    caller.post("challenge", "/api/v0/chat/create_pow_challenge", &body)
}

/// What a question is made of.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) session_id: String,
    /// The answer that it follows; `None` for the first of a session.
    pub(super) parent: Option<i64>,
    /// `model_type`.
    pub(super) model: String,
    pub(super) thinking: bool,
    pub(super) search: bool,
    pub(super) prompt: String,
    pub(super) file_ids: Vec<String>,
}

/// What the side channels said; goes with every call that is answered by a stream, and with no other (section 4).
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) leim: Option<String>,
    pub(super) dliq: Option<String>,
}

impl Aside {
    fn along(&self, mut request: Request) -> Request {
        for (name, value) in [("x-hif-leim", &self.leim), ("x-hif-dliq", &self.dliq)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        // What is answered by a stream has no bound of its own.
        request.timeout = None;
        request
    }
}

/// `POST /chat/completion`; [`super::stream::Decoder`] reads the answer (section 4).
pub(super) fn ask(caller: Caller<'_>, question: &Question, aside: &Aside, proof: &str) -> Request {
    // Later questions of a session name no model (section 4).
    let model = question.parent.is_none().then_some(&question.model);
    let body = json!({
        "chat_session_id": question.session_id, "parent_message_id": question.parent, "model_type": model,
        "prompt": question.prompt, "ref_file_ids": question.file_ids, "thinking_enabled": question.thinking,
        "search_enabled": question.search, "source": "input", "action": null, "preempt": false,
    });
    let request = caller
        .post("completion", COMPLETION, &body)
        .once()
        .header("x-ds-pow-response", proof);
    aside.along(request)
}

/// `POST /chat/continue`, without a proof (sections 1 and 8).
pub(super) fn go_on(
    caller: Caller<'_>,
    session_id: &str,
    response_id: i64,
    aside: &Aside,
) -> Request {
    // `fallback_to_resume`: where it cannot be continued, the same call takes the old stream up.
    let body = json!({"chat_session_id": session_id, "message_id": response_id, "fallback_to_resume": true});
    aside.along(caller.post("continue", "/api/v0/chat/continue", &body))
}

/// `POST /chat/resume_stream`, without a proof (section 8).
pub(super) fn resume(
    caller: Caller<'_>,
    session_id: &str,
    response_id: i64,
    aside: &Aside,
) -> Request {
    let body = json!({"chat_session_id": session_id, "message_id": response_id});
    aside.along(caller.post("resume", "/api/v0/chat/resume_stream", &body))
}

/// `GET /users/current`: whose token this is (section 3).
pub(super) fn current(caller: Caller<'_>) -> Request {
    caller.get("current", "/api/v0/users/current")
}

/// `POST /users/auth_token/check_device`: what the site asks after every start (section 2).
pub(super) fn check_device(caller: Caller<'_>) -> Request {
    let body = json!({"device_id": caller.device_id, "device_model": ""});
    caller.post(
        "check_device",
        "/api/v0/users/auth_token/check_device",
        &body,
    )
}

/// `POST /chat/stop_stream` (section 8).
pub(super) fn stop(caller: Caller<'_>, session_id: &str, response_id: i64) -> Request {
    let body = json!({"chat_session_id": session_id, "message_id": response_id});
    caller.post("stop", "/api/v0/chat/stop_stream", &body)
}

/// `POST /file/upload_file`: one part named `file` (section 4, "Files and images").
pub(super) fn upload(
    caller: Caller<'_>,
    file: &Attachment,
    boundary: String,
    proof: &str,
) -> Request {
    let form = Form::new(boundary).file("file", &file.name, &file.content_type, &file.bytes);
    let url = format!("{}{UPLOAD}", caller.identity.base_url);
    caller
        .authorized(Request::post("upload", url))
        .once()
        .header("content-type", form.content_type())
        .header("x-file-size", file.bytes.len().to_string())
        .header("x-ds-pow-response", proof)
        .body(form.finish())
        .timeout(UPLOAD_CALL)
}

/// `GET /file/fetch_files`.
pub(super) fn file_status(caller: Caller<'_>, file_id: &str) -> Request {
    let id = percent_encoding::utf8_percent_encode(file_id, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        // The service's ids hold nothing else, so the rest is encoded.
        .replace("%2D", "-");
    caller.get(
        "file_status",
        &format!("/api/v0/file/fetch_files?file_ids={id}"),
    )
}

/// `POST /file/fork_file_task`: the same file for another model.
pub(super) fn fork_file(caller: Caller<'_>, file_id: &str, model: &str) -> Request {
    let body = json!({"file_id": file_id, "to_model_type": model});
    caller.post("fork_file", "/api/v0/file/fork_file_task", &body)
}

/// `GET` of a side channel, without credentials (section 4).
pub(super) fn hif(base_url: &str, identity: &Identity) -> Request {
    identity
        .dressed_aside(Request::get("hif", format!("{base_url}/query")))
        .timeout(SHORT_CALL)
}

/// `biz_data` of a new conversation, in either shape (section 1).
#[derive(Debug, Deserialize)]
pub(super) struct Session {
    id: Option<String>,
    chat_session: Option<SessionId>,
}

#[derive(Debug, Deserialize)]
struct SessionId {
    id: String,
}

impl Session {
    pub(super) fn id(self) -> Option<String> {
        // The older shape's id stands beside it (section 1).
        self.chat_session
            .map(|session| session.id)
            .or(self.id)
            .filter(|id| !id.is_empty())
    }
}

/// `biz_data` of a login.
#[derive(Debug, Deserialize)]
pub(super) struct LoggedIn {
    pub(super) user: User,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) token: String,
    /// Says whether the account is muted, before the first question.
    pub(super) chat: Option<Box<RawValue>>,
}

/// `biz_data` of the side channel, and of nothing else.
#[derive(Debug, Deserialize)]
pub(super) struct Hif {
    pub(super) value: String,
}

/// `biz_data` of `check_device`.
#[derive(Debug, Deserialize)]
pub(super) struct Checked {
    #[serde(default)]
    rotate: Value,
}

impl Checked {
    /// The token that replaces the one that was asked with, in either shape.
    pub(super) fn token(&self) -> Option<&str> {
        self.rotate
            .as_str()
            .or_else(|| self.rotate.get("token")?.as_str())
            .filter(|token| !token.is_empty())
    }
}

/// `biz_data` around a challenge.
#[derive(Debug, Deserialize)]
pub(super) struct Challenged {
    pub(super) challenge: Challenge,
}

/// A challenge (section 5). Only what is sent back or needed for solving.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Challenge {
    algorithm: String,
    challenge: String,
    salt: String,
    signature: String,
    difficulty: Value,
    expire_at: Value,
    target_path: Option<String>,
}

impl Challenge {
    /// What the solver needs.
    ///
    /// # Errors
    /// An algorithm that we do not know, or a target that is none.
    pub(super) fn to_solve(&self) -> Result<pow::Challenge, ProviderError> {
        let is_known = self.algorithm == "DeepSeekHashV1";
        // Both must be there: without a bound the search would not end.
        let numbers = number(&self.expire_at).zip(number(&self.difficulty));
        numbers
            .filter(|_| is_known)
            .and_then(|(expire_at, difficulty)| {
                pow::Challenge::new(&self.challenge, &self.salt, expire_at, difficulty)
            })
            .ok_or_else(|| ProviderError::malformed("proof-of-work challenge"))
    }

    /// A proof of it would come too late.
    pub(super) fn has_expired(&self, unix_ms: u64) -> bool {
        // A challenge without a time has not expired: the service judges it.
        number(&self.expire_at).is_some_and(|expire_at| expire_at <= unix_ms)
    }

    /// The value of `x-ds-pow-response`.
    pub(super) fn proof(&self, answer: u64, target_path: &str) -> String {
        #[derive(Serialize)]
        struct Proof<'a> {
            algorithm: &'a str,
            challenge: &'a str,
            salt: &'a str,
            answer: u64,
            signature: &'a str,
            target_path: &'a str,
        }
        let proof = Proof {
            algorithm: &self.algorithm,
            challenge: &self.challenge,
            salt: &self.salt,
            answer,
            signature: &self.signature,
            // What it was asked for, where the answer does not name it.
            target_path: self.target_path.as_deref().unwrap_or(target_path),
        };
        STANDARD.encode(serde_json::to_vec(&proof).or_impossible("a struct of texts serialises"))
    }
}

/// An integer, however it is spelled: `5`, `5.0`, `"5"`.
fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .or_else(|| {
            // A float of an integer is one: some clients of the same service send it.
            let float = value
                .as_f64()
                .filter(|float| (0.0..=9.007_199_254_740_992e15).contains(float))?;
            format!("{float:.0}").parse().ok()
        })
}

/// `biz_data` of an upload, and an entry of `fetch_files`.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) id: Option<String>,
    pub(super) status: Option<FileStatus>,
}

/// `biz_data` of `fetch_files`.
#[derive(Debug, Deserialize)]
pub(super) struct Files {
    #[serde(default)]
    pub(super) files: Vec<File>,
}

/// How far the service is with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum FileStatus {
    Success,
    Failed,
    ContentEmpty,
    Error,
    ParseFailed,
    /// PENDING, PARSING, and whatever may come: wait.
    #[serde(other)]
    Pending,
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
