//! What the Kimi page sends, as pure functions. Source: `wire/kimi.md` sections 2 to 4.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{models::Shape, session::Access};
use crate::{
    accounts::Secret,
    chat::{ChatRequest, Message, ProviderError, Role},
    upstream::{Request, connect, fetch::Attachment, multipart::Form},
};

const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Safari/537.36";
const CHAT: &str = "/apiv2/kimi.gateway.chat.v1.ChatService/Chat";
const JSON: &str = "application/json";
const SHORT_CALL: Duration = Duration::from_secs(15);

/// Where the service is (section 2).
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    /// `KIMI_BASE_URL`.
    pub(super) base_url: String,
    /// `KIMI_AUTH_BASE_URL`.
    pub(super) auth_base_url: String,
    /// `KIMI_UPLOAD_BASE_URL`.
    pub(super) upload_base_url: String,
    /// `KIMI_WS_BASE_URL`.
    pub(super) ws_base_url: String,
}

/// Where the tokens of a deployment are renewed; one works only where it was issued (sections 1 and 2).
pub(super) fn auth_base_url(base_url: &str) -> &'static str {
    // The scheme is no part of the host, nor is a path.
    let host = base_url.split("://").nth(1).unwrap_or(base_url);
    let host = host.split(['/', ':']).next().unwrap_or(host);
    if host == "kimi.ai" || host.ends_with(".kimi.ai") {
        "https://auth.kimi.ai"
    } else {
        "https://auth.kimi.com"
    }
}

impl Hosts {
    /// Scheme and host of the base URL, for `Origin` and `Referer`.
    fn origin(&self) -> String {
        // Scheme and host alone: a base URL may have a path of its own.
        self.base_url
            .split('/')
            .take(3)
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// Where.
    pub(super) hosts: &'a Hosts,
    /// Whose token.
    pub(super) access: &'a Access,
}

/// What a question is made of.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// How the model is asked for.
    pub(super) shape: &'a Shape,
    /// The chat and the answer in it that it follows; `None` for the first of a new chat.
    pub(super) goes_on: Option<(&'a str, &'a str)>,
    /// `options.thinking`.
    pub(super) thinking: bool,
    /// With the search tool.
    pub(super) search: bool,
    /// The one text block.
    pub(super) prompt: &'a str,
    /// Uploaded pictures and documents.
    pub(super) file_ids: &'a [String],
}

impl Question<'_> {
    /// The body in its envelope (section 4.2). A new chat has neither `chat_id` nor `parent_id`: empty ones are
    /// refused by some of the sources' services.
    pub(super) fn envelope(&self) -> Bytes {
        // The prompt first; files stand behind it (section 4.2).
        let mut blocks = vec![json!({"message_id": "", "text": {"content": self.prompt}})];
        blocks.extend(self.file_ids.iter().map(
            |id| json!({"message_id": "", "file": {"id": id, "status": 3, "fail_reason": ""}}),
        ));
        let shape = self.shape;
        let mut tools = Vec::new();
        // Only when asked: with it, citation marks stand in the text (section 1).
        if self.search {
            tools.push(json!({"type": "TOOL_TYPE_SEARCH", "search": {}}));
        }
        tools.extend(shape.tool.map(|kind| json!({"type": kind})));
        let mut body = json!({
            "scenario": shape.scenario, "tools": tools,
            "message": {"role": "user", "blocks": blocks, "scenario": shape.scenario},
            "options": {"thinking": self.thinking},
        });
        if let Some((chat_id, parent_id)) = self.goes_on {
            body["chat_id"] = json!(chat_id);
            body["message"]["parent_id"] = json!(parent_id);
        }
        if let Some(id) = &shape.kimiplus_id {
            body["kimiplus_id"] = json!(id);
        }
        // A model that is asked by its effort is asked as the page of today does it: without the site's own agent tools.
        if let Some(effort) = shape.effort {
            // Section 4.2: without it K2.6 and K3 use the site's own tools.
            body["options"]["enable_plugin"] = json!(false);
            body["options"]["reasoning_effort"] = json!(effort);
        }
        if let Some(length) = &shape.context_length {
            body["options"]["context_length"] = json!(length);
        }
        connect::envelope(body.to_string().as_bytes())
    }
}

/// `POST …/ChatService/Chat`: asks one question; [`super::stream::Decoder`] reads the answer (section 4).
pub(super) fn ask(caller: Caller<'_>, question: &Question<'_>) -> Request {
    let url = format!("{}{CHAT}", caller.hosts.base_url);
    head(caller, Request::post("chat", url))
        .header("content-type", connect::CONTENT_TYPE)
        .header("connect-protocol-version", "1")
        .body(question.envelope())
}

/// The handshake of the WebSocket transport, which carries the same envelopes (section 6.7).
pub(super) fn handshake(caller: Caller<'_>) -> Request {
    let url = format!("{}{CHAT}", caller.hosts.ws_base_url);
    head(caller, Request::get("chat", url))
}

/// `POST …/ChatService/DeleteChat` (section 8).
pub(super) fn delete_chat(caller: Caller<'_>, chat_id: &str) -> Request {
    let url = format!(
        "{}/apiv2/kimi.chat.v1.ChatService/DeleteChat",
        caller.hosts.base_url
    );
    unary(caller, "delete", url, &json!({"chat_id": chat_id}))
}

/// `POST …/ConfigService/GetAvailableModels`: what the account may use (section 3).
pub(super) fn available_models(caller: Caller<'_>) -> Request {
    let url = format!(
        "{}/apiv2/kimi.gateway.config.v1.ConfigService/GetAvailableModels",
        caller.hosts.base_url
    );
    unary(caller, "models", url, &json!({}))
}

/// `POST …/SubscriptionService/GetSubscription`: whether the token is taken (section 3).
pub(super) fn subscription(caller: Caller<'_>) -> Request {
    let url = format!(
        "{}/apiv2/kimi.gateway.order.v1.SubscriptionService/GetSubscription",
        caller.hosts.base_url
    );
    unary(caller, "subscription", url, &json!({}))
}

/// `POST /api/device/register`: announces the device id; the answer is of no consequence (section 3).
pub(super) fn register_device(caller: Caller<'_>) -> Request {
    let url = format!("{}/api/device/register", caller.hosts.base_url);
    unary(caller, "register", url, &json!({}))
}

/// `GET /api/user`, for a token that does not say whose it is (section 3).
pub(super) fn user(hosts: &Hosts, access: &Access, unix_ms: u64) -> Request {
    let url = format!("{}/api/user?t={unix_ms}", hosts.base_url);
    head(Caller { hosts, access }, Request::get("user", url)).timeout(SHORT_CALL)
}

/// The id in the answer of [`user`].
///
/// # Errors
/// An answer without one.
pub(super) fn user_id(body: &[u8]) -> Result<String, ProviderError> {
    #[derive(Deserialize)]
    struct User {
        id: String,
    }
    let user: Option<User> = serde_json::from_slice(body).ok();
    user.map(|user| user.id)
        .filter(|id| !id.is_empty())
        .ok_or_else(|| ProviderError::malformed("user"))
}

/// `POST …/AuthService/RefreshToken`, without `Authorization` (section 2).
pub(super) fn refresh_token(hosts: &Hosts, token: &Secret) -> Request {
    let url = format!(
        "{}/api/account.gateway.v1.AuthService/RefreshToken",
        hosts.auth_base_url
    );
    // A refresh token may be used up by this call, even where its answer is lost.
    browser(hosts, Request::post("refresh", url).once())
        .header("content-type", JSON)
        .json(&json!({"refresh_token": token.expose()}))
        .timeout(SHORT_CALL)
}

/// `GET /api/auth/token/refresh`, the older way (section 2).
pub(super) fn refresh_token_rest(hosts: &Hosts, token: &Secret) -> Request {
    let url = format!("{}/api/auth/token/refresh", hosts.base_url);
    browser(hosts, Request::get("refresh_rest", url))
        .header("authorization", format!("Bearer {}", token.expose()))
        .timeout(SHORT_CALL)
}

/// The tokens in the answer of either refresh: access, and refresh where it rotates.
///
/// # Errors
/// An answer without an access token.
pub(super) fn tokens(body: &[u8]) -> Result<(Secret, Option<Secret>), ProviderError> {
    #[derive(Deserialize)]
    struct Tokens {
        #[serde(alias = "accessToken")]
        access_token: String,
        #[serde(alias = "refreshToken")]
        refresh_token: Option<String>,
    }
    // Empty in either member: a service that rotates nothing sends one.
    let secret = |token: String| Some(Secret::new(token)).filter(|token| !token.is_empty());
    let tokens: Tokens =
        serde_json::from_slice(body).map_err(|_| ProviderError::malformed("tokens"))?;
    let access = secret(tokens.access_token).ok_or_else(|| ProviderError::malformed("tokens"))?;
    Ok((access, tokens.refresh_token.and_then(secret)))
}

/// `POST /apiv2-files/file/upload` (section 4.4 step 2).
pub(super) fn upload(caller: Caller<'_>, file: &Attachment, boundary: String) -> Request {
    let form = Form::new(boundary).file("file", &file.name, &file.content_type, &file.bytes);
    let url = format!("{}/apiv2-files/file/upload", caller.hosts.upload_base_url);
    head(caller, Request::post("upload", url))
        .header("content-type", form.content_type())
        .body(form.finish())
}

/// `POST …/FileService/GetFileParseProgress` (section 4.4 step 3).
pub(super) fn parse_progress(caller: Caller<'_>, file_id: &str) -> Request {
    let url = format!(
        "{}/apiv2-files/kimi.gateway.file.v1.FileService/GetFileParseProgress",
        caller.hosts.upload_base_url
    );
    unary(
        caller,
        "parse_progress",
        url,
        &json!({"file_ids": [file_id]}),
    )
}

fn unary(caller: Caller<'_>, step: &'static str, url: String, body: &Value) -> Request {
    head(caller, Request::post(step, url))
        .header("content-type", JSON)
        .json(body)
        .timeout(SHORT_CALL)
}

/// The headers of section 4.1 but the content type. Compression is never asked for.
fn head(caller: Caller<'_>, request: Request) -> Request {
    let access = caller.access;
    let request = browser(caller.hosts, request)
        .header("authorization", format!("Bearer {}", access.token.expose()))
        // The cookie as well: some calls of the page look there (section 4.1).
        .header("cookie", format!("kimi-auth={}", access.token.expose()))
        .header("x-msh-device-id", &access.device)
        .header("x-msh-session-id", &access.session)
        .headers(&[
            ("x-msh-version", "2.2.0"),
            ("x-language", "zh-CN"),
            ("r-timezone", "Asia/Shanghai"),
        ]);
    match access.user() {
        Some(user) => request.header("x-traffic-id", user),
        None => request,
    }
}

/// What every call of the page carries.
fn browser(hosts: &Hosts, request: Request) -> Request {
    let origin = hosts.origin();
    request
        .header("accept", "*/*")
        .header("referer", format!("{origin}/"))
        .header("origin", origin)
        .headers(&[("user-agent", USER_AGENT), ("x-msh-platform", "web")])
}

/// The conversation as the one text that the service reads (section 4.3).
pub(super) fn prompt(request: &ChatRequest) -> String {
    if let [only] = request.messages.as_slice()
        && only.role == Role::User
    {
        return only.text().into_owned();
    }
    let is_system = |message: &&Message| matches!(message.role, Role::System | Role::Developer);
    let is_said_by_model = |message: &&Message| message.role == Role::Assistant;
    // System first (section 4.3): the service reads a role's name, and these come in any order.
    let mut lines: Vec<&Message> = request.messages.iter().filter(is_system).collect();
    let mut rest: Vec<&Message> = request
        .messages
        .iter()
        .filter(|it| !is_system(it))
        .collect();
    // The service answers the last line, so that one is a user's (section 4.3 point 3).
    if rest.last().is_some_and(is_said_by_model)
        && let Some(at) = rest.iter().rposition(|it| !is_said_by_model(it))
    {
        // The user's own last, whatever the model said after it.
        let last = rest.remove(at);
        rest.push(last);
    }
    lines.append(&mut rest);
    lines.into_iter().map(line).collect()
}

fn line(message: &Message) -> String {
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User | Role::Tool | Role::Function => "user",
        Role::Assistant => "assistant",
    };
    // A line feed behind every message, also the last one (section 4.3).
    format!("{role}:{}\n", message.text())
}

#[cfg(test)]
mod tests {
    use super::{super::models, *};

    fn flat(messages: Value) -> String {
        let body = json!({"model": "kimi", "messages": messages}).to_string();
        prompt(&crate::http::openai::body::read(body.into()).unwrap())
    }

    #[test]
    fn its_time_grows_with_the_conversation() {
        crate::chat::growth::assert_linear(|chat| {
            prompt(chat);
        });
    }

    #[test]
    fn a_lone_question_goes_as_it_is() {
        let text = "  user: \u{FEFF}\r\n ";
        assert_eq!(flat(json!([{"role": "user", "content": text}])), text);
    }

    #[test]
    fn the_whole_conversation_is_one_text() {
        let messages = json!([
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "42"},
            {"role": "developer", "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]},
            {"role": "user", "content": "and?"},
        ]);
        assert_eq!(
            flat(messages),
            "system:be\nbrief\nuser:hi\nassistant:yes\nuser:42\nuser:and?\n"
        );
        assert_eq!(
            flat(json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}])),
            "assistant:a\nuser:q\n"
        );
        assert_eq!(
            flat(json!([{"role": "system", "content": "s"}])),
            "system:s\n"
        );
    }

    #[test]
    fn the_body_has_the_pages_form() {
        let shape = |upstream: &str| models::shapes(upstream, true, None, &[]).remove(0);
        let question = Question {
            goes_on: None,
            shape: &shape("k2d6"),
            thinking: true,
            search: true,
            prompt: "你好",
            file_ids: &["f1".to_owned()],
        };
        let bytes = question.envelope();
        let body: Value = serde_json::from_slice(&bytes[5..]).unwrap();
        let expected = json!({
            "scenario": "SCENARIO_K2D5", "tools": [{"type": "TOOL_TYPE_SEARCH", "search": {}}],
            "message": {"role": "user", "scenario": "SCENARIO_K2D5", "blocks": [
                {"message_id": "", "text": {"content": "你好"}},
                {"message_id": "", "file": {"id": "f1", "status": 3, "fail_reason": ""}},
            ]},
            "options": {"thinking": true, "enable_plugin": false, "reasoning_effort": "REASONING_EFFORT_LOW"},
        });
        assert_eq!(body, expected);
        // The bodies of section 4.2.
        for (upstream, expected) in [
            (
                "k3",
                r#"{"scenario":"SCENARIO_OK_COMPUTER","kimiplus_id":"ok-computer","tools":[],"message":{"role":"user","blocks":[{"message_id":"","text":{"content":"你好"}}],"scenario":"SCENARIO_OK_COMPUTER"},"options":{"thinking":true,"enable_plugin":false,"reasoning_effort":"REASONING_EFFORT_HIGH","context_length":"CONTEXT_LENGTH_L"}}"#,
            ),
            (
                "k3-agent-ultra",
                r#"{"scenario":"SCENARIO_OK_COMPUTER","kimiplus_id":"ok-computer","tools":[{"type":"TOOL_TYPE_PARALLEL_AGENT_V2"}],"message":{"role":"user","blocks":[{"message_id":"","text":{"content":"你好"}}],"scenario":"SCENARIO_OK_COMPUTER"},"options":{"thinking":true,"enable_plugin":false,"reasoning_effort":"REASONING_EFFORT_HIGH","context_length":"CONTEXT_LENGTH_L"}}"#,
            ),
            (
                "SCENARIO_K3",
                r#"{"scenario":"SCENARIO_K3","tools":[],"message":{"role":"user","blocks":[{"message_id":"","text":{"content":"你好"}}],"scenario":"SCENARIO_K3"},"options":{"thinking":true}}"#,
            ),
        ] {
            let question = Question {
                goes_on: None,
                shape: &shape(upstream),
                search: false,
                file_ids: &[],
                ..question
            };
            let body: Value = serde_json::from_slice(&question.envelope()[5..]).unwrap();
            assert_eq!(
                body,
                serde_json::from_str::<Value>(expected).unwrap(),
                "{upstream}"
            );
        }
    }

    #[test]
    fn reads_the_tokens_of_both_refreshes() {
        for body in [
            r#"{"accessToken":"a","refreshToken":"r"}"#,
            r#"{"access_token":"a","refresh_token":"r"}"#,
        ] {
            let (access, refresh) = tokens(body.as_bytes()).unwrap();
            assert_eq!((access.expose(), refresh.unwrap().expose()), ("a", "r"));
        }
        assert!(tokens(br#"{"access_token":"a"}"#).unwrap().1.is_none());
        assert!(tokens(br#"{"access_token":""}"#).is_err());
    }
}
