//! What the page of chatglm.cn sends, as pure functions. Source: `wire/zhipu.md` sections 2 to 4.

use std::time::Duration;

use actix_web::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    models::{self, Mode, Route},
    sign::{self, Moment},
};
use crate::{
    accounts::Secret,
    upstream::{Request, fetch::Attachment, multipart::Form},
};

/// The site (section 3).
pub(super) const SITE: &str = "https://chatglm.cn";
/// A desktop browser (section 4.1).
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
const JSON: &str = "application/json";
const SHORT_CALL: Duration = Duration::from_secs(15);
/// A document of 100 MB.
const UPLOAD: Duration = Duration::from_secs(120);

/// Where the service is, and what signs for it.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// `ZHIPU_BASE_URL`.
    pub(super) base_url: String,
    /// `ZHIPU_SIGN_SECRET`.
    pub(super) sign_secret: String,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// Where.
    pub(super) site: &'a Site,
    /// The access token; of a refresh, the refresh token.
    pub(super) token: &'a Secret,
    /// `X-Device-Id`.
    pub(super) device: &'a str,
}

/// What a question is made of.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// Whom.
    pub(super) route: Route<'a>,
    /// In which conversation; "" for a new one.
    pub(super) conversation_id: &'a str,
    /// `is_networking`.
    pub(super) search: bool,
    /// The one text item.
    pub(super) prompt: &'a str,
    /// `aspect_ratio`, of a drawing.
    pub(super) ratio: &'a str,
    /// Uploaded pictures and documents ([`Uploaded::item`]).
    pub(super) items: &'a [Value],
}

#[derive(Serialize)]
struct Ask<'a> {
    assistant_id: &'a str,
    conversation_id: &'a str,
    project_id: &'a str,
    chat_type: &'a str,
    messages: [Message<'a>; 1],
    meta_data: Meta<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: Vec<Item<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Text {
        #[serde(rename = "type")]
        kind: &'a str,
        text: &'a str,
    },
    Uploaded(&'a Value),
}

#[derive(Serialize)]
struct Meta<'a> {
    cogview: Value,
    is_test: bool,
    input_question_type: &'a str,
    channel: &'a str,
    draft_id: &'a str,
    chat_mode: &'a str,
    is_networking: bool,
    quote_log_id: &'a str,
    platform: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    selected_model: Option<&'a str>,
}

/// `POST …/assistant/stream`: asks one question; [`super::stream::Decoder`] reads the answer (sections 4.1, 4.2, 4.3).
pub(super) fn ask(caller: Caller<'_>, question: &Question<'_>, moment: Moment) -> Request {
    let route = &question.route;
    let cogview = match route.mode {
        Mode::Draw => json!({
            "aspect_ratio": question.ratio, "style": "none", "scene": "none", "chat_model": "", "rm_label_watermark": false,
        }),
        Mode::Think | Mode::Research | Mode::Plain | Mode::Film => {
            json!({"rm_label_watermark": false})
        }
    };
    let text = Item::Text {
        kind: "text",
        text: question.prompt,
    };
    let uploaded = question.items.iter().map(Item::Uploaded);
    let body = Ask {
        assistant_id: route.assistant_id,
        // There is no call that creates one, and one that the service has not made answers nothing (section 8).
        conversation_id: question.conversation_id,
        project_id: "",
        chat_type: "user_chat",
        messages: [Message {
            role: "user",
            // One message with all of it: the service reads the first alone (section 4.2).
            content: std::iter::once(text).chain(uploaded).collect(),
        }],
        meta_data: Meta {
            cogview,
            is_test: false,
            input_question_type: "xxxx",
            channel: "",
            draft_id: "",
            chat_mode: route.mode.word(),
            is_networking: question.search,
            quote_log_id: "",
            platform: "pc",
            selected_model: route.selected_model,
        },
    };
    let url = format!(
        "{}/chatglm/backend-api/assistant/stream",
        caller.site.base_url
    );
    signed(caller, Request::post("conversation", url), moment)
        .headers(&[("accept", "text/event-stream"), ("content-type", JSON)])
        .header("referer", referer(route.assistant_id))
        .json(&body)
        // A signature serves one request (section 5); a dead connection is not reason enough to send it twice.
        .once()
}

/// `POST …/conversation/delete`, with the assistant that the conversation was begun with (section 8).
pub(super) fn delete(
    caller: Caller<'_>,
    assistant_id: &str,
    conversation_id: &str,
    moment: Moment,
) -> Request {
    let url = format!(
        "{}/chatglm/backend-api/assistant/conversation/delete",
        caller.site.base_url
    );
    let body = json!({"assistant_id": assistant_id, "conversation_id": conversation_id});
    signed(caller, Request::post("delete", url), moment)
        .headers(&[("accept", "*/*"), ("content-type", JSON)])
        .header("referer", referer(assistant_id))
        .json(&body)
        .timeout(SHORT_CALL)
        .once()
}

/// `GET …/operation/detail?tag=available_models`: the names of the site's models (section 3).
pub(super) fn available_models(caller: Caller<'_>, moment: Moment) -> Request {
    let url = format!(
        "{}/chatglm/agent-api/operation/detail?tag=available_models",
        caller.site.base_url
    );
    signed(caller, Request::get("models", url), moment)
        .headers(&[("accept", "*/*"), ("content-type", JSON), ("referer", MAIN)])
        .timeout(SHORT_CALL)
        .once()
}

/// `GET …/user/info`: whether the token is taken (section 2).
pub(super) fn user_info(caller: Caller<'_>, moment: Moment) -> Request {
    look(caller, "user", "/chatglm/user-api/user/info", moment)
}

/// `GET …/member/member_info`: what is left (section 2).
pub(super) fn member_info(caller: Caller<'_>, moment: Moment) -> Request {
    let path = "/chatglm/member-api/member/member_info";
    look(caller, "member", path, moment)
}

fn look(caller: Caller<'_>, step: &'static str, path: &str, moment: Moment) -> Request {
    let url = format!("{}{path}", caller.site.base_url);
    signed(caller, Request::get(step, url), moment)
        .headers(&[("accept", "*/*"), ("content-type", JSON), ("referer", MAIN)])
        .timeout(SHORT_CALL)
        .once()
}

/// `POST …/user/refresh`: the caller's token is the refresh token (section 2).
pub(super) fn refresh(caller: Caller<'_>, moment: Moment) -> Request {
    let url = format!("{}/chatglm/user-api/user/refresh", caller.site.base_url);
    signed(caller, Request::post("refresh", url), moment)
        .headers(&[
            ("accept", "*/*"),
            ("content-type", "application/json;charset=utf-8"),
            ("referer", MAIN),
        ])
        .body("{}")
        .timeout(SHORT_CALL)
        .once()
}

/// `POST …/assistant/file_upload`: the bearer alone, no signature (section 3).
pub(super) fn upload(caller: Caller<'_>, file: &Attachment, boundary: String) -> Request {
    let form = Form::new(boundary).file("file", &file.name, &file.content_type, &file.bytes);
    let url = format!(
        "{}/chatglm/backend-api/assistant/file_upload",
        caller.site.base_url
    );
    browser(caller, Request::post("upload", url))
        .headers(&[("accept", "*/*"), ("referer", MAIN)])
        .header("content-type", form.content_type())
        .body(form.finish())
        .timeout(UPLOAD)
}

/// `POST …/video-api/v1/chat`: asks for a video, of these pictures where there are any (section 4.4).
pub(super) fn video(
    caller: Caller<'_>,
    prompt: &str,
    sources: &[String],
    moment: Moment,
) -> Request {
    let mut body = json!({
        "conversation_id": "", "prompt": prompt,
        "advanced_parameter_extra": {"emotional_atmosphere": "", "mirror_mode": "", "video_style": ""},
    });
    if !sources.is_empty() {
        body["source_list"] = json!(sources);
    }
    let url = format!("{}/chatglm/video-api/v1/chat", caller.site.base_url);
    signed(caller, Request::post("video", url), moment)
        .headers(&[
            ("accept", "*/*"),
            ("content-type", JSON),
            ("referer", VIDEO),
        ])
        .json(&body)
        .timeout(SHORT_CALL)
        .once()
}

/// `GET …/video-api/v1/chat/status/{chat_id}` (section 4.4).
pub(super) fn video_status(caller: Caller<'_>, chat_id: &str, moment: Moment) -> Request {
    let url = format!(
        "{}/chatglm/video-api/v1/chat/status/{}",
        caller.site.base_url,
        segment(chat_id)
    );
    signed(caller, Request::get("video_status", url), moment)
        .headers(&[
            ("accept", "*/*"),
            ("content-type", JSON),
            ("referer", VIDEO),
        ])
        .timeout(SHORT_CALL)
        .once()
}

/// `DELETE …/video-api/v1/chat/{chat_id}` (section 4.4).
pub(super) fn delete_video(caller: Caller<'_>, chat_id: &str, moment: Moment) -> Request {
    let url = format!(
        "{}/chatglm/video-api/v1/chat/{}",
        caller.site.base_url,
        segment(chat_id)
    );
    signed(caller, Request::new("delete", Method::DELETE, url), moment)
        .headers(&[
            ("accept", "*/*"),
            ("content-type", JSON),
            ("referer", VIDEO),
        ])
        .timeout(SHORT_CALL)
        .once()
}

/// `POST …/video-api/v1/static/upload`: the picture of a video; no signature (section 3).
pub(super) fn video_source(caller: Caller<'_>, file: &Attachment, boundary: String) -> Request {
    let form = Form::new(boundary).file("file", &file.name, &file.content_type, &file.bytes);
    let url = format!(
        "{}/chatglm/video-api/v1/static/upload",
        caller.site.base_url
    );
    browser(caller, Request::post("upload", url))
        .headers(&[("accept", "*/*"), ("referer", VIDEO)])
        .header("content-type", form.content_type())
        .body(form.finish())
        .timeout(UPLOAD)
}

/// What a part of a path has encoded.
const SEGMENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The service's own id as a part of a path.
fn segment(id: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(id, SEGMENT)
}

const VIDEO: &str = "https://chatglm.cn/video";
const MAIN: &str = "https://chatglm.cn/main/alltoolsdetail";

/// The page that an assistant is talked to on.
fn referer(assistant_id: &str) -> String {
    if assistant_id == models::CHAT {
        MAIN.to_owned()
    } else {
        format!("{SITE}/main/gdetail/{assistant_id}")
    }
}

/// The headers of section 4.1, all but the three that depend on the call.
fn signed(caller: Caller<'_>, request: Request, moment: Moment) -> Request {
    let signature = sign::sign(moment, &caller.site.sign_secret);
    browser(caller, request)
        .header("x-device-id", caller.device)
        .header("x-timestamp", signature.timestamp)
        .header("x-nonce", signature.nonce)
        .header("x-sign", signature.sign)
        .header("x-request-id", moment.request_id.simple().to_string())
}

/// What every call of the page carries, signed or not.
fn browser(caller: Caller<'_>, request: Request) -> Request {
    request
        .header("authorization", format!("Bearer {}", caller.token.expose()))
        .headers(&[
            ("accept-language", "zh-CN,zh;q=0.9"),
            ("app-name", "chatglm"),
            ("origin", SITE),
            (
                "sec-ch-ua",
                "\"Chromium\";v=\"144\", \"Google Chrome\";v=\"144\", \"Not?A_Brand\";v=\"24\"",
            ),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", "\"Windows\""),
            ("sec-fetch-dest", "empty"),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
            ("user-agent", USER_AGENT),
            ("x-app-fr", "default"),
            ("x-app-platform", "pc"),
            ("x-app-version", "0.0.1"),
            ("x-device-brand", ""),
            ("x-device-model", ""),
            ("x-exp-groups", ""),
            ("x-lang", "zh"),
        ])
}

/// The envelope of plain answers (section 3).
#[derive(Deserialize)]
struct Envelope<T> {
    result: Option<T>,
}

/// What is in it; `None` where there is nothing, or something else.
pub(super) fn result<T: serde::de::DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice::<Envelope<T>>(body).ok()?.result
}

/// The tokens in the answer of [`refresh`]: access, and the next refresh token.
pub(super) fn tokens(body: &[u8]) -> Option<(Secret, Option<Secret>)> {
    #[derive(Deserialize)]
    struct Tokens {
        #[serde(alias = "accessToken")]
        access_token: Option<String>,
        #[serde(alias = "refreshToken")]
        refresh_token: Option<String>,
    }
    let secret = |token: String| Some(Secret::new(token)).filter(|token| !token.is_empty());
    let tokens: Tokens = result(body)?;
    let access = secret(tokens.access_token?)?;
    Some((access, tokens.refresh_token.and_then(secret)))
}

/// What an upload brings.
#[derive(Debug)]
pub(super) struct Uploaded(Map<String, Value>);

impl Uploaded {
    /// Reads the answer of [`upload`]; `None` where it names no file. The alternate call's result is a list.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let uploaded = match result::<Value>(body)? {
            Value::Object(members) => members,
            // The alternate call answers with a list of one (section 3).
            Value::Array(list) => match list.into_iter().next()? {
                Value::Object(members) => members,
                _ => return None,
            },
            _ => return None,
        };
        let has = |name: &str| uploaded.get(name).is_some_and(|value| !value.is_null());
        (has("file_id") || has("source_id") || has("file_url")).then_some(Self(uploaded))
    }

    /// The item of a question, the `order`-th of its pictures. What has a width or a height is a picture (section 4.2).
    pub(super) fn item(self, order: usize) -> Value {
        let Self(mut members) = self;
        let has = |name: &str| members.get(name).is_some_and(|value| !value.is_null());
        if !has("width") && !has("height") {
            return json!({"type": "file", "file": [members]});
        }
        // Null where the service named none: then it goes by the file's id.
        let url = members.get("file_url").cloned().unwrap_or_default();
        members.insert("image_url".to_owned(), url);
        members.insert("order".to_owned(), json!(order));
        json!({"type": "image", "image": [members]})
    }

    /// Whether [`Uploaded::item`] is a picture.
    pub(super) fn is_picture(&self) -> bool {
        ["width", "height"]
            .iter()
            .any(|name| self.0.get(*name).is_some_and(|value| !value.is_null()))
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
