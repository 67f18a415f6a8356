//! What the page of chat.qwen.ai sends, as pure functions. Source: `wire/qwen_intl.md` sections 2 to 4 and 9.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use actix_web::http::Method;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    account::Login,
    models::Kind,
    oss,
    site::{SITE, Site},
};
use crate::impossible::OrImpossible as _;
use crate::{
    accounts::Secret,
    upstream::{Answer, Request, fetch::Attachment},
};

/// A desktop browser; a library's own name is blocked (section 4.1).
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36";
const JSON: &str = "application/json";
/// What short calls accept.
const SHORT: &str = "application/json, text/plain, */*";
const SHORT_CALL: Duration = Duration::from_secs(15);
/// The page's own hours ahead of UTC, as its `Timezone` says.
const HOURS_AHEAD: u64 = 8;

/// Who asks; without a token, a guest.
#[derive(Clone, Debug)]
pub(super) struct Caller<'a> {
    pub(super) site: &'a Site,
    pub(super) token: Option<&'a Secret>,
    /// The whole header.
    pub(super) cookie: Option<&'a Secret>,
    /// Further cookies ([`super::device`]).
    pub(super) device: Option<Arc<str>>,
    pub(super) bx_ua: Option<&'a Secret>,
}

/// When a call is made, and what is random in it: both are new for every call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) unix_ms: u64,
    /// Becomes `X-Request-Id`.
    pub(super) request_id: Uuid,
}

/// Which of the two generations of a call: the newer one in an envelope, the older one flat (section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    V1,
    V2,
}

/// What a question is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) chat_id: &'a str,
    /// The chat's last answer; `None` in a new chat.
    pub(super) parent: Option<&'a str>,
    pub(super) model: &'a str,
    pub(super) kind: Kind,
    pub(super) prompt: &'a str,
    /// Elements of `files` ([`file()`], [`link`]).
    pub(super) files: &'a [Value],
    pub(super) thinking: bool,
    /// Most tokens of thinking; the service has a number of its own.
    pub(super) thinking_budget: Option<u64>,
    /// One of the site's five shapes, for pictures and videos.
    pub(super) size: Option<&'a str>,
    /// The message's own id.
    pub(super) fid: Uuid,
}

#[derive(Serialize)]
struct Ask<'a> {
    stream: bool,
    version: &'a str,
    incremental_output: bool,
    chat_id: &'a str,
    chat_mode: &'a str,
    model: &'a str,
    // `null` in a new chat.
    parent_id: Option<&'a str>,
    messages: [Message<'a>; 1],
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    fid: String,
    #[serde(rename = "parentId")]
    parent_id: Option<&'a str>,
    #[serde(rename = "childrenIds")]
    children_ids: [&'a str; 0],
    role: &'a str,
    content: &'a str,
    user_action: &'a str,
    files: &'a [Value],
    timestamp: u64,
    models: [&'a str; 1],
    chat_type: &'a str,
    sub_chat_type: &'a str,
    extra: Extra<'a>,
    feature_config: Features<'a>,
}

#[derive(Serialize)]
struct Extra<'a> {
    meta: Meta<'a>,
}

#[derive(Serialize)]
struct Meta<'a> {
    #[serde(rename = "subChatType")]
    sub_chat_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<&'a str>,
}

#[derive(Serialize)]
struct Features<'a> {
    thinking_enabled: bool,
    /// Without it no piece says which phase it belongs to (section 4.3).
    output_schema: &'a str,
    research_mode: &'a str,
    auto_thinking: bool,
    thinking_mode: &'a str,
    auto_search: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
}

/// `POST /api/v2/chats/new`; the time is in milliseconds here (section 4.2).
pub(super) fn create_chat(caller: Caller<'_>, model: &str, kind: Kind, moment: Moment) -> Request {
    let url = format!("{}/api/v2/chats/new", caller.site.base_url);
    let body = json!({
        "title": "New Chat", "models": [model], "chat_mode": "normal", "chat_type": kind.word(),
        "timestamp": moment.unix_ms, "project_id": "",
    });
    short(caller, Request::post("create", url), &page(None), moment).json(&body)
}

/// `POST /api/v2/chat/completions`: one message; the time is in seconds here (section 4.3).
/// [`super::stream::Decoder`] reads the answer; that of a video is one JSON object.
pub(super) fn ask(caller: Caller<'_>, question: &Question<'_>, moment: Moment) -> Request {
    let (kind, seconds) = (question.kind, moment.unix_ms / 1000);
    let is_streamed = !kind.is_video();
    // Section 4.6: of a picture it stands in both places, else at the top alone.
    let meta_size = question.size.filter(|_| kind == Kind::VideoOfImage);
    let body = Ask {
        stream: is_streamed,
        version: "2.1",
        // With it the decoder appends; see [`super::stream::Output`].
        incremental_output: true,
        chat_id: question.chat_id,
        chat_mode: "normal",
        model: question.model,
        parent_id: question.parent,
        messages: [Message {
            fid: question.fid.to_string(),
            parent_id: question.parent,
            children_ids: [],
            role: "user",
            content: question.prompt,
            user_action: "chat",
            files: question.files,
            timestamp: seconds,
            models: [question.model],
            chat_type: kind.word(),
            sub_chat_type: kind.word(),
            extra: Extra {
                meta: Meta {
                    sub_chat_type: kind.word(),
                    size: meta_size,
                },
            },
            feature_config: Features {
                thinking_enabled: question.thinking,
                output_schema: "phase",
                research_mode: "normal",
                auto_thinking: false,
                thinking_mode: if question.thinking {
                    "Thinking"
                } else {
                    "Fast"
                },
                // Newer pages search with this and thinking only; the kind `search` does without (section 4.3).
                auto_search: false,
                thinking_budget: question.thinking_budget.filter(|_| question.thinking),
            },
        }],
        timestamp: seconds,
        size: question.size,
    };
    let url = format!(
        "{}/api/v2/chat/completions?chat_id={}",
        caller.site.base_url,
        segment(question.chat_id)
    );
    let accept = if is_streamed {
        "text/event-stream"
    } else {
        JSON
    };
    // The page of the chat, where its own request would come from.
    let referer = page(Some(question.chat_id));
    signed(caller, Request::post("conversation", url), &referer, moment)
        .headers(&[
            ("accept", accept),
            ("content-type", JSON),
            ("x-accel-buffering", "no"),
        ])
        .json(&body)
        // A second one would find the chat in progress.
        .once()
}

/// `POST …/completions/stop`: ends an answer that nobody reads any more (section 9).
pub(super) fn stop(
    caller: Caller<'_>,
    chat_id: &str,
    response_id: &str,
    moment: Moment,
) -> Request {
    let url = format!(
        "{}/api/v2/chat/completions/stop?chat_id={}",
        caller.site.base_url,
        segment(chat_id)
    );
    let body = json!({"chat_id": chat_id, "response_id": response_id});
    short(
        caller,
        Request::post("stop", url),
        &page(Some(chat_id)),
        moment,
    )
    .json(&body)
}

/// `DELETE /api/v2/chats/ID` (section 9).
pub(super) fn delete(caller: Caller<'_>, chat_id: &str, moment: Moment) -> Request {
    let url = chat_url(caller.site, chat_id);
    let request = Request::new("delete", Method::DELETE, url);
    short(caller, request, &page(Some(chat_id)), moment)
}

/// `GET /api/v2/chats/ID`: the messages of a chat (section 7.4).
pub(super) fn detail(caller: Caller<'_>, chat_id: &str, moment: Moment) -> Request {
    let request = Request::get("detail", chat_url(caller.site, chat_id));
    short(caller, request, &page(Some(chat_id)), moment)
}

/// `GET /api/v1/auths/`: whose token this is (section 2.1).
pub(super) fn who_am_i(caller: Caller<'_>, moment: Moment) -> Request {
    let url = format!("{}/api/v1/auths/", caller.site.base_url);
    short(caller, Request::get("auths", url), &page(None), moment)
}

/// The list of models: `GET /api/models`, or the newer call of the same (section 3).
pub(super) fn models(caller: Caller<'_>, api: Api, moment: Moment) -> Request {
    let path = match api {
        Api::V1 => "/api/models",
        Api::V2 => "/api/v2/models/",
    };
    let url = format!("{}{path}", caller.site.base_url);
    short(caller, Request::get("models", url), &page(None), moment)
}

/// `POST …/files/getstsToken`: keys for one upload; [`oss::Grant::read`] reads the answer (section 4.4).
pub(super) fn grant(caller: Caller<'_>, api: Api, file: &Attachment, moment: Moment) -> Request {
    let version = match api {
        Api::V1 => "v1",
        Api::V2 => "v2",
    };
    let url = format!("{}/api/{version}/files/getstsToken", caller.site.base_url);
    let body = json!({
        "filename": file.name, "filesize": file.bytes.len(), "filetype": class(&file.content_type).filetype,
    });
    short(caller, Request::post("upload", url), &page(None), moment).json(&body)
}

/// `GET …/task/status/TASK`: how far a video is (section 7.5).
pub(super) fn task(caller: Caller<'_>, api: Api, task_id: &str, moment: Moment) -> Request {
    let path = match api {
        Api::V1 => "/api/v1/tasks/status/",
        Api::V2 => "/api/v2/task/status/",
    };
    let url = format!("{}{path}{}", caller.site.base_url, segment(task_id));
    short(caller, Request::get("task", url), &page(None), moment)
}

/// `POST …/auths/signin` (section 2.2).
pub(super) fn login(caller: Caller<'_>, api: Api, login: &Login, moment: Moment) -> Request {
    let version = match api {
        Api::V1 => "v1",
        Api::V2 => "v2",
    };
    let url = format!("{}/api/{version}/auths/signin", caller.site.auth_base_url);
    // Section 6.3: the page sends the digest, so the password itself never leaves.
    let password = digest::digest(&digest::SHA256, login.password.expose().as_bytes());
    let body = json!({"email": login.email.expose(), "password": oss::hex(password.as_ref())});
    short(caller, Request::post("login", url), &page(None), moment)
        .json(&body)
        // Logins are counted (section 2.2): a lost answer is not asked for again.
        .once()
}

/// The token in the answer of [`login`]: in a cookie, or in any of the places of the body.
pub(super) fn logged_in(answer: &Answer, body: &[u8]) -> Option<Secret> {
    // The last of several would be the browser's choice; the service sets one.
    let cookie = answer.headers("set-cookie").find_map(|line| {
        let value = line.split(';').next()?.trim().strip_prefix("token=")?;
        (!value.is_empty()).then(|| value.to_owned())
    });
    cookie.or_else(|| token_in(body)).map(Secret::new)
}

fn token_in(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let places = ["/data/token", "/data/access_token", "/token"];
    let mut found = places.iter().filter_map(|at| body.pointer(at)?.as_str());
    found.find(|token| !token.is_empty()).map(str::to_owned)
}

/// The id in the answer of [`create_chat`].
pub(super) fn chat_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        data: Created,
    }
    #[derive(Deserialize)]
    struct Created {
        id: String,
    }
    // Strict: a refusal has no `data.id`, and is judged as one.
    let created: Envelope = serde_json::from_slice(body).ok()?;
    Some(created.data.id).filter(|id| !id.is_empty())
}

/// What the service calls a type of files, in its four words for it.
struct Class {
    filetype: &'static str,
    /// `type` and `showType`.
    kind: &'static str,
    file_class: &'static str,
}

fn class(content_type: &str) -> Class {
    let of = |filetype, kind, file_class| Class {
        filetype,
        kind,
        file_class,
    };
    match content_type.split('/').next() {
        Some("image") => of("image", "image", "vision"),
        Some("video") => of("video", "video", "video"),
        Some("audio") => of("audio", "audio", "audio"),
        // Only what has no type at all is a `file` to the service.
        _ if content_type == "application/octet-stream" => of("file", "file", "document"),
        _ => of("document", "file", "document"),
    }
}

/// The element of `files` for an upload (section 4.4).
pub(super) fn file(
    grant: &oss::Grant,
    file: &Attachment,
    item_id: Uuid,
    upload_id: Uuid,
    unix_ms: u64,
) -> Value {
    let (id, name, size, mime) = (
        &grant.file_id,
        &file.name,
        file.bytes.len(),
        &file.content_type,
    );
    let class = class(mime);
    let [item_id, upload_id] = [item_id, upload_id].map(|id| id.to_string());
    json!({
        "type": class.kind,
        "file": {
            "created_at": unix_ms, "data": {}, "filename": name, "hash": null, "id": id,
            "meta": {"name": name, "size": size, "content_type": mime}, "update_at": unix_ms,
        },
        "id": id, "url": grant.file_url, "name": name, "collection_name": "", "progress": 0, "status": "uploaded",
        "greenNet": "success", "size": size, "error": "", "itemId": item_id, "file_type": mime,
        "showType": class.kind, "file_class": class.file_class, "uploadTaskId": upload_id,
    })
}

/// The element of `files` for a picture that lies elsewhere: the service fetches it itself (section 4.4).
pub(super) fn link(url: &str) -> Value {
    json!({"type": "image", "url": url})
}

/// The page that a call is made from.
fn page(chat_id: Option<&str>) -> String {
    chat_id.map_or_else(
        || format!("{SITE}/"),
        // The id is the service's, but it goes into a header.
        |id| format!("{SITE}/c/{}", segment(id)),
    )
}

fn chat_url(site: &Site, chat_id: &str) -> String {
    format!("{}/api/v2/chats/{}", site.base_url, segment(chat_id))
}

/// What a part of a path has encoded.
const SEGMENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The service's own id as a part of a URL.
fn segment(id: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(id, SEGMENT)
}

/// A call that answers at once, with its JSON body still to be set where it has one.
fn short(caller: Caller<'_>, request: Request, referer: &str, moment: Moment) -> Request {
    let request = signed(caller, request, referer, moment)
        .header("accept", SHORT)
        .timeout(SHORT_CALL);
    // A GET with a content type is nothing that a browser sends.
    if request.method == Method::POST {
        request.header("content-type", JSON)
    } else {
        request
    }
}

/// The headers of section 4.1, all but those that depend on the call. The service counts an incomplete set as a robot's.
fn signed(caller: Caller<'_>, request: Request, referer: &str, moment: Moment) -> Request {
    let site = caller.site;
    let mut request = request;
    // A guest has neither; lists are open to them.
    if let Some(token) = caller.token {
        request = request.header("authorization", format!("Bearer {}", token.expose()));
    }
    let cookie = caller.cookie.map(Secret::expose);
    if let Some(device) = &caller.device {
        let all: Vec<&str> = cookie.into_iter().chain([&**device]).collect();
        request = request.header("cookie", all.join("; "));
    } else if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    if let Some(bx_ua) = caller.bx_ua {
        request = request.header("bx-ua", bx_ua.expose());
    }
    request
        .headers(&[
            ("bx-v", &site.bx_v),
            ("source", "web"),
            ("version", &site.web_version),
        ])
        .header("x-request-id", moment.request_id.hyphenated().to_string())
        .header("timezone", timezone(moment.unix_ms))
        .headers(&[
            ("user-agent", USER_AGENT),
            ("accept-language", "en-US,en;q=0.9"),
            // The real site's, wherever the calls go: a proxy would break what the firewall compares.
            ("origin", SITE),
            ("referer", referer),
            (
                "sec-ch-ua",
                "\"Not A(Brand\";v=\"8\", \"Chromium\";v=\"132\", \"Google Chrome\";v=\"132\"",
            ),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", "\"Windows\""),
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
        ])
}

/// `Fri Nov 20 2026 18:15:00 GMT+0800`
fn timezone(unix_ms: u64) -> String {
    let there = UNIX_EPOCH + Duration::from_secs(unix_ms / 1000 + HOURS_AHEAD * 3600);
    // `Fri, 20 Nov 2026 18:15:00 GMT`: a fixed form, so its words are where they always are.
    let text = httpdate::fmt_http_date(there);
    let mut words = text.split(' ');
    let mut word = || words.next().or_impossible("a date has five words");
    let (weekday, day, month, year, time) = (word(), word(), word(), word(), word());
    let weekday = weekday.trim_end_matches(',');
    format!("{weekday} {month} {day} {year} {time} GMT+{HOURS_AHEAD:02}00")
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
