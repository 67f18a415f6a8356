//! What the page of www.qianwen.com sends, as pure functions. Source: `wire/qwen.md` sections 11.2, 11.4, 11.6.

use std::time::Duration;

use md5::{Digest as _, Md5};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    hosts::Hosts,
    sign::{Pass, Query, signed},
};
use crate::{
    accounts::Secret, impossible::OrImpossible as _, providers::qwen::account::Account,
    upstream::Request,
};

/// The page's own site.
pub(super) const ORIGIN: &str = "https://www.qianwen.com";
/// `Accept` of short calls.
pub(super) const JSON_ACCEPT: &str = "application/json, text/plain, */*";
const ASK_ACCEPT: &str = "application/json, text/event-stream, text/plain, */*";
/// The longest wait for a short call.
pub(super) const SHORT_CALL: Duration = Duration::from_secs(15);
/// A refresh is waited for while salts are left.
const REFRESH: Duration = Duration::from_secs(5);

/// Who asks where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client<'a> {
    /// Where.
    pub(super) hosts: &'a Hosts,
    /// Whose cookie.
    pub(super) account: &'a Account,
}

impl Client<'_> {
    /// The part of the query that every call has.
    fn query(&self) -> Query {
        let version = &self.hosts.web_version;
        Query(Vec::new())
            .with("biz_id", "ai_qwen")
            .with("chat_client", "h5")
            .with("device", "pc")
            .with("fr", "pc")
            .with("pr", "qwen")
            .with("ut", &self.account.device)
            .with("la", "zh-CN")
            .with("tz", "Asia/Shanghai")
            .with("wv", version)
            .with("ve", version)
    }

    /// The query of a signed call. `nonce` is 11 of `[0-9a-z]`; the time is the service's, in milliseconds.
    pub(super) fn signed_query(&self, nonce: &str, time: u64) -> Query {
        let Query(mut pairs) = self.query();
        // Behind `biz_id`: the query's order is signed, and the unsigned calls have it without (section 11.6).
        pairs.insert(1, ("fe_version", "1.0.0".to_owned()));
        Query(pairs)
            .with("nonce", nonce)
            .with("timestamp", time.to_string())
    }

    /// The headers of the page, whatever it calls but the security service.
    pub(super) fn page(&self, request: Request, accept: &str, referer: &str) -> Request {
        let request = request
            .header("accept", accept)
            .header("content-type", "application/json")
            .header("cookie", self.account.cookie.expose())
            .header("origin", ORIGIN)
            .header("referer", referer)
            .header("user-agent", &self.hosts.user_agent)
            .header("x-platform", "pc_tongyi")
            .header("prod_id", "tongyi")
            .header("x-device-id", &self.account.device);
        // Section 11.6: sent when there is one; a spare is ours and means nothing there.
        if self.account.is_xsrf_spare {
            request
        } else {
            request.header("x-xsrf-token", self.account.xsrf_token.expose())
        }
    }

    fn security(&self, request: Request) -> Request {
        request
            .header("accept", JSON_ACCEPT)
            .header("content-type", "application/json")
            .header("cookie", self.account.cookie.expose())
            .header("origin", ORIGIN)
            .header("referer", format!("{ORIGIN}/chat"))
            .header("user-agent", &self.hosts.user_agent)
            .header("clt-acs-caer", "vrad")
            .header("eo-clt-sftcnt", "100")
            .header("eo-clt-acs-bx-intss", "2")
            .timeout(SHORT_CALL)
    }
}

/// What signs one call.
#[derive(Debug)]
pub(super) struct Seal<'a> {
    /// The salt and its company.
    pub(super) pass: &'a Pass,
    /// The service's time in Unix milliseconds.
    pub(super) time: u64,
    /// 11 of `[0-9a-z]`.
    pub(super) nonce: &'a str,
}

/// Adds query, body and signature.
pub(super) fn signed_post(
    client: Client<'_>,
    seal: &Seal<'_>,
    request: Request,
    query: &Query,
    body: Vec<u8>,
) -> Request {
    // Empty where the cookie has none: the page signs it so (section 11.5).
    let kp = client.account.cookie("tongyi_sso_ticket_hash");
    // Signed before the query is added to the URL: the two are built from the same pairs.
    let mut request = signed(request, seal.pass, kp, seal.time, query, &body).body(body);
    request.url = format!("{}?{}", request.url, query.encoded());
    // The salt is used up, and so is the question's id.
    request.once()
}

/// What a question is made of.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// 32 hex, new for every attempt.
    pub(super) request_id: &'a str,
    /// The request before in the same session; `None` for the first.
    pub(super) parent: Option<&'a str>,
    /// 32 hex.
    pub(super) session_id: &'a str,
    /// 32 hex.
    pub(super) topic_id: &'a str,
    /// The upstream model.
    pub(super) model: &'a str,
    /// Thinking or search is wanted: there is one switch for both.
    pub(super) is_deep: bool,
    /// The one text item.
    pub(super) prompt: &'a str,
    /// Uploaded pictures.
    pub(super) items: &'a [Box<RawValue>],
}

/// The body, in the order of the page; it is signed as bytes (section 11.6).
#[derive(Serialize)]
struct Ask<'a> {
    req_id: &'a str,
    parent_req_id: &'a str,
    messages: Vec<Box<RawValue>>,
    scene: &'a str,
    sub_scene: &'a str,
    scene_param: &'a str,
    session_id: &'a str,
    biz_id: &'a str,
    topic_id: &'a str,
    model: &'a str,
    from: &'a str,
    protocol_version: &'a str,
    messages_merge: bool,
    chat_client: &'a str,
    deep_search: Option<&'a str>,
    temporary: bool,
    params_extra: Extra<'a>,
    chat_mode: &'a str,
    bucket: Empty,
}

#[derive(Serialize)]
struct Extra<'a> {
    supports_cowork: &'a str,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct TextItem<'a> {
    mime_type: &'a str,
    content: &'a str,
    meta_data: TextMeta<'a>,
    status: &'a str,
}

#[derive(Serialize)]
struct TextMeta<'a> {
    ori_query: &'a str,
}

/// `POST /api/v2/chat`: asks one question; [`super::stream::Decoder`] reads the answer.
pub(super) fn ask(client: Client<'_>, seal: &Seal<'_>, question: &Question<'_>) -> Request {
    let text = TextItem {
        mime_type: "text/plain",
        content: question.prompt,
        meta_data: TextMeta {
            ori_query: question.prompt,
        },
        status: "complete",
    };
    let mut messages = question.items.to_vec();
    // The text stands last: the page puts it behind the pictures (section 11.7).
    messages.extend(serde_json::value::to_raw_value(&text));
    let body = Ask {
        req_id: question.request_id,
        parent_req_id: question.parent.unwrap_or("0"),
        messages,
        scene: "chat",
        sub_scene: "",
        scene_param: match question.parent {
            Some(_) => "continue_chat",
            None => "first_turn",
        },
        session_id: question.session_id,
        biz_id: "ai_qwen",
        topic_id: question.topic_id,
        model: question.model,
        from: "default",
        protocol_version: "v2",
        messages_merge: false,
        chat_client: "h5",
        // `null` is what the page sends without either, and was measured so.
        deep_search: question.is_deep.then_some("1"),
        temporary: false,
        params_extra: Extra {
            supports_cowork: "true",
        },
        chat_mode: "quick",
        bucket: Empty {},
    };
    let query = client.signed_query(seal.nonce, seal.time);
    let referer = format!("{ORIGIN}/chat/{}", question.session_id);
    let business = format!(
        r#"{{"chatId":"{}","agentId":"","enableWebp":""}}"#,
        question.request_id
    );
    let request = Request::post("chat", format!("{}/api/v2/chat", client.hosts.chat));
    let request = client
        .page(request, ASK_ACCEPT, &referer)
        .header("x-chat-id", question.request_id)
        .header("x-chat-biz", business);
    let body = serde_json::to_vec(&body).or_impossible("our own types with string keys serialise");
    signed_post(client, seal, request, &query, body)
}

/// `POST /api/v1/session/delete`, unsigned (section 11.10).
pub(super) fn delete_session(client: Client<'_>, session_id: &str) -> Request {
    let url = format!(
        "{}/api/v1/session/delete?{}",
        client.hosts.api,
        client.query().encoded()
    );
    let referer = format!("{ORIGIN}/chat/{session_id}");
    client
        .page(Request::post("delete", url), JSON_ACCEPT, &referer)
        .json(&json!({"session_id": session_id, "biz_id": "ai_qwen"}))
        .timeout(SHORT_CALL)
}

/// The registration's body (section 11.4).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Register<'a> {
    screen_resolution: &'a str,
    cookie_enabled: bool,
    local_storage_enabled: bool,
    timezone_offset: &'a str,
    font_list: [&'a str; 4],
    plugin_list: [&'a str; 0],
    language: [&'a str; 1],
    unify_relate_generate: &'a [&'a str],
    fingerprint: &'a str,
    business_scene: &'a str,
    chid: &'a str,
}

/// `POST /security/external/access/register`. `chid` is 32 hex.
pub(super) fn register(client: Client<'_>, chid: &str, has_workspace: bool) -> Request {
    let scenes = ["qwen_chat", "voice_command", "workspace_api"];
    // The last one is the workspace's, asked for when pictures go there (section 11.4).
    let wanted = scenes.len() - usize::from(!has_workspace);
    let url = format!(
        "{}/security/external/access/register?chid={chid}",
        client.hosts.security
    );
    // Any value will do, but always the same for one account.
    let fingerprint = hex_md5(&client.account.device);
    client
        .security(Request::post("register", url))
        .json(&Register {
            screen_resolution: "1920x1080",
            cookie_enabled: true,
            local_storage_enabled: true,
            timezone_offset: "Asia/Shanghai",
            font_list: ["Arial", "Calibri", "Century", "SimHei"],
            plugin_list: [],
            language: ["zh-CN"],
            unify_relate_generate: scenes
                .get(..wanted)
                .or_impossible("no more are wanted than there are"),
            fingerprint: &fingerprint,
            business_scene: "qwen_web",
            chid,
        })
}

/// `GET /security/external/access/refresh`, with the base token (section 11.4).
pub(super) fn refresh(client: Client<'_>, chid: &str, device: &str, token: &Secret) -> Request {
    let url = format!(
        "{}/security/external/access/refresh?businessScene=qwen_web&unifyRelateGenerate=voice_command,qwen_chat&chid={chid}",
        client.hosts.security
    );
    client
        .security(Request::get("refresh", url))
        .header("eo-clt-dvidn", device)
        .header("eo-clt-actkn", token.expose())
        .timeout(REFRESH)
}

/// `GET /api/calibration/getMillisTimeStamp`: the service's clock.
pub(super) fn time(client: Client<'_>, now_ms: u64) -> Request {
    let url = format!(
        "{}/api/calibration/getMillisTimeStamp?t={now_ms}",
        client.hosts.security
    );
    client.security(Request::get("time", url)).timeout(REFRESH)
}

/// Reads the service's clock, in Unix milliseconds.
pub(super) fn millis(body: &[u8]) -> Option<u64> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    // A text in the captures; a number would be the same.
    let millis = answer.get("data")?.get("millisTimeStamp")?;
    millis
        .as_str()
        .map_or_else(|| millis.as_u64(), |text| text.parse().ok())
}

fn hex_md5(text: &str) -> String {
    let digest = Md5::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
