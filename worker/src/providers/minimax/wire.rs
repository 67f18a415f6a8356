//! What the page of agent.minimaxi.com sends, as pure functions. Source: `wire/minimax.md` sections 3, 4 and 12.

use std::time::Duration;

use actix_web::http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    models::{Cloud, Matrix},
    sign::{self, Form, Who},
    site::{Generation, Site},
};
use crate::impossible::OrImpossible as _;
use crate::upstream::Request;

/// A desktop browser (section 4).
const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
/// A page's own call, which answers at once; what may take longer has no bound of its own.
const SHORT_CALL: Duration = Duration::from_secs(15);

/// Who asks where, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// Where.
    pub(super) site: &'a Site,
    /// Who.
    pub(super) who: Who<'a>,
    /// One reading of the clock for all that is signed.
    pub(super) unix_seconds: u64,
}

/// What of the URL is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Path and query, as sent.
    Path,
    /// All of it.
    Absolute,
    /// Path and query, with a member that is not sent (section 12.2).
    Ticket,
}

struct Call<'a> {
    step: &'static str,
    base_url: &'a str,
    path: String,
    form: Form,
    target: Target,
}

/// `GET {p}/config`: the models; also creates the account's record (section 12.3).
pub(super) fn config(caller: Caller<'_>, generation: Generation) -> Request {
    get(caller, "config", format!("{}/config", generation.prefix()))
}

/// `GET {p}/agent` (section 12.3).
pub(super) fn agents(caller: Caller<'_>, generation: Generation) -> Request {
    get(caller, "agents", format!("{}/agent", generation.prefix()))
}

/// `GET {p}/channel/connections`, whose answer does not matter (section 12.3).
pub(super) fn connections(caller: Caller<'_>, generation: Generation) -> Request {
    let path = format!("{}/channel/connections", generation.prefix());
    get(caller, "connections", path)
}

/// `POST {p}/agent/{name}/session` (section 12.4).
pub(super) fn open_session(
    caller: Caller<'_>,
    generation: Generation,
    agent: &str,
    model: &Cloud,
) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        model: Model<'a>,
    }
    #[derive(Serialize)]
    struct Model<'a> {
        provider_id: &'a str,
        model_id: &'a str,
        reasoning: bool,
    }
    let body = match generation {
        // Section 12.4: archon takes the model as one word.
        Generation::Archon => text(&json!({"model": format!("minimax/{}", model.model_id)})),
        Generation::Cloud | Generation::Matrix => text(&Body {
            model: Model {
                provider_id: PROVIDER,
                model_id: &model.model_id,
                // Section 12.4: false for the plain variant is inferred; the captures all think.
                reasoning: !model.variant.is_empty(),
            },
        }),
    };
    let call = Call {
        step: "session",
        base_url: &caller.site.base_url,
        path: format!("{}/agent/{agent}/session", generation.prefix()),
        form: caller.site.form,
        target: Target::Path,
    };
    post(caller, call, body)
}

const PROVIDER: &str = "minimax";

/// What is asked in a session.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The conversation as one text.
    pub(super) prompt: &'a str,
    /// Of whom.
    pub(super) model: &'a Cloud,
    /// New for every question.
    pub(super) turn_id: String,
    /// Uploaded pictures and documents.
    pub(super) attachments: &'a [Value],
}

/// `POST {p}/session/{id}/message` on the stream host, or on the main one (section 9, last point);
/// [`super::stream::Decoder`] reads the answer (sections 12.2, 12.4).
pub(super) fn message(
    caller: Caller<'_>,
    generation: Generation,
    host: &str,
    session_id: &str,
    question: Question<'_>,
) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        // Members in the page's order: the body is signed as it is, but a reader of logs compares.
        content: &'a str,
        model: Model<'a>,
        turn_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        enable_team: Option<bool>,
        #[serde(rename = "worktreeMode")]
        worktree_mode: bool,
        #[serde(skip_serializing_if = "<[Value]>::is_empty")]
        attachments: &'a [Value],
    }
    #[derive(Serialize)]
    struct Model<'a> {
        provider_id: &'a str,
        model_id: &'a str,
        variant: &'a str,
    }
    let body = text(&Body {
        content: question.prompt,
        model: Model {
            provider_id: PROVIDER,
            model_id: &question.model.model_id,
            variant: question.model.variant,
        },
        turn_id: question.turn_id,
        // Section 12.4: archon's page sends it, cloud's does not.
        enable_team: (generation == Generation::Archon).then_some(false),
        worktree_mode: false,
        attachments: question.attachments,
    });
    let call = Call {
        step: "message",
        base_url: host,
        path: format!("{}/session/{session_id}/message", generation.prefix()),
        form: caller.site.form,
        // Section 12.2: one source signs the path here and is answered too; two sign all of it.
        target: Target::Absolute,
    };
    let mut request = post(caller, call, body).once();
    // The answer is a stream: the turn has its own bounds for silence and for the whole.
    request.timeout = None;
    for (name, value) in &mut request.headers {
        if *name == actix_web::http::header::ACCEPT {
            // Replaced, not added: two `Accept` headers are none of the page's.
            *value = actix_web::http::header::HeaderValue::from_static("text/event-stream");
        }
    }
    request
}

/// `POST {p}/session/{id}/archive`: hides the session; nothing is known that removes it (section 12.6).
pub(super) fn archive(caller: Caller<'_>, generation: Generation, session_id: &str) -> Request {
    let call = Call {
        step: "delete",
        base_url: &caller.site.base_url,
        path: format!("{}/session/{session_id}/archive", generation.prefix()),
        form: caller.site.form,
        target: Target::Path,
    };
    post(caller, call, text(&json!({"archived": true})))
}

/// `POST /matrix/api/v1/chat/send_msg`: asks in a chat, which is opened where there is none yet (section 4).
pub(super) fn send_message(
    caller: Caller<'_>,
    chat_id: Option<i64>,
    prompt: &str,
    (display_name, model_type): Matrix,
    attachments: &[Value],
) -> Request {
    #[derive(Serialize)]
    struct Body<'a> {
        msg_type: u8,
        text: &'a str,
        chat_type: u8,
        attachments: &'a [Value],
        selected_mcp_tools: [u8; 0],
        sub_agent_ids: [u8; 0],
        model_option: ModelOption<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        chat_id: Option<i64>,
    }
    #[derive(Serialize)]
    struct ModelOption<'a> {
        display_name: &'a str,
        model_type: u32,
    }
    let body = text(&Body {
        msg_type: 1,
        text: prompt,
        chat_type: 2,
        attachments,
        selected_mcp_tools: [],
        sub_agent_ids: [],
        model_option: ModelOption {
            display_name,
            model_type,
        },
        chat_id,
    });
    let mut request = matrix(caller, "send", "send_msg", body).once();
    // As long as any question may take.
    request.timeout = None;
    request
}

/// `POST /matrix/api/v1/chat/get_chat_detail`: looks at the conversation (section 6).
pub(super) fn chat_detail(caller: Caller<'_>, chat_id: i64) -> Request {
    #[derive(Serialize)]
    struct Body {
        chat_id: i64,
        size: u32,
        desc: bool,
    }
    let body = text(&Body {
        chat_id,
        // More than any one-question chat has; the page asks for as many.
        size: 500,
        desc: true,
    });
    matrix(caller, "poll", "get_chat_detail", body)
}

/// `POST /matrix/api/v1/chat/delete_chat` (section 8).
pub(super) fn delete_chat(caller: Caller<'_>, chat_id: i64) -> Request {
    matrix(
        caller,
        "delete",
        "delete_chat",
        text(&json!({"chat_id": chat_id})),
    )
}

/// `GET /v1/api/user/info`: the account's real id (section 2).
pub(super) fn user_info(caller: Caller<'_>, target: Target) -> Request {
    let call = Call {
        step: "user",
        base_url: &caller.site.base_url,
        path: "/v1/api/user/info".to_owned(),
        form: caller.site.form,
        target,
    };
    send(caller, call, None)
}

/// `POST /matrix/api/v1/commerce/get_membership_info`: the check of token and credits, whichever generation answers
/// (section 3).
pub(super) fn membership(caller: Caller<'_>) -> Request {
    let call = Call {
        step: "membership",
        base_url: &caller.site.base_url,
        path: format!(
            "{}/commerce/get_membership_info",
            Generation::Matrix.prefix()
        ),
        form: Form::Matrix,
        target: Target::Path,
    };
    post(caller, call, "{}".to_owned())
}

/// `POST /v1/api/user/renewal`: a token for 30 more days (section 2).
pub(super) fn renewal(caller: Caller<'_>, target: Target) -> Request {
    let call = Call {
        step: "renewal",
        base_url: &caller.site.base_url,
        path: "/v1/api/user/renewal".to_owned(),
        form: caller.site.form,
        target,
    };
    // Not again on a fault: the first may have been heard, and of two new tokens one would be lost.
    post(caller, call, "{}".to_owned()).once()
}

/// `GET /v1/api/files/request_policy`: where and with which key a file is put (section 11).
pub(super) fn upload_policy(caller: Caller<'_>) -> Request {
    get(
        caller,
        "upload_policy",
        "/v1/api/files/request_policy".to_owned(),
    )
}

/// `POST /v1/api/files/policy_callback`: tells of a file that was put (section 11).
pub(super) fn upload_callback(caller: Caller<'_>, body: &impl Serialize) -> Request {
    let call = Call {
        step: "upload_callback",
        base_url: &caller.site.base_url,
        path: "/v1/api/files/policy_callback".to_owned(),
        form: caller.site.form,
        target: Target::Path,
    };
    post(caller, call, text(body))
}

fn get(caller: Caller<'_>, step: &'static str, path: String) -> Request {
    let call = Call {
        step,
        base_url: &caller.site.base_url,
        path,
        form: caller.site.form,
        target: Target::Path,
    };
    send(caller, call, None)
}

fn matrix(caller: Caller<'_>, step: &'static str, name: &str, body: String) -> Request {
    let call = Call {
        step,
        base_url: &caller.site.base_url,
        path: format!("{}/chat/{name}", Generation::Matrix.prefix()),
        form: Form::Matrix,
        target: Target::Path,
    };
    post(caller, call, body)
}

fn post(caller: Caller<'_>, call: Call<'_>, body: String) -> Request {
    send(caller, call, Some(body))
}

/// What is signed here is what is sent, to the byte.
fn send(caller: Caller<'_>, call: Call<'_>, body: Option<String>) -> Request {
    let Caller {
        who, unix_seconds, ..
    } = caller;
    let query = sign::query(call.form, who, unix_seconds);
    // Text by text, never by a URL type, which might encode what is signed as it stands (section 5).
    let url = format!("{}{}?{query}", call.base_url, call.path);
    // A base URL may have a path of its own.
    let path = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.find('/')
            .and_then(|at| rest.get(at..))
            .map(str::to_owned)
    };
    let target = match call.target {
        Target::Absolute => url.clone(),
        Target::Path => path(&url).or_impossible("the URL has a path"),
        Target::Ticket => sign::with_ticket(&path(&url).or_impossible("the URL has a path")),
    };
    let bytes = body.as_deref().map(str::as_bytes);
    let method = if body.is_some() {
        Method::POST
    } else {
        Method::GET
    };
    let base_url = &caller.site.base_url;
    let (x_signature, yy) = (
        sign::x_signature(unix_seconds, bytes.unwrap_or_default()),
        sign::yy(&target, bytes, unix_seconds),
    );
    let request = Request::new(call.step, method, url)
        .header("token", who.token)
        .header("x-timestamp", unix_seconds.to_string())
        .header("x-signature", x_signature)
        .header("yy", yy)
        // Section 4: no encodings are claimed, as the page's names some that we cannot read.
        .headers(&[
            ("content-type", "application/json"),
            ("accept", "application/json, text/plain, */*"),
            ("accept-language", "zh-CN,zh;q=0.9"),
        ])
        .header("origin", base_url)
        .header("referer", format!("{base_url}/"))
        .headers(&[
            (
                "sec-ch-ua",
                "\"Chromium\";v=\"144\", \"Google Chrome\";v=\"144\", \"Not?A_Brand\";v=\"24\"",
            ),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", "\"Windows\""),
            ("user-agent", USER_AGENT),
        ])
        .timeout(SHORT_CALL);
    match body {
        Some(body) => request.body(body),
        None => request,
    }
}

/// Compact JSON in UTF-8. Serialising our own types with string keys cannot fail.
fn text(body: &impl Serialize) -> String {
    serde_json::to_string(body).or_impossible("our own types serialise")
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
