//! The request. Source: OpenAI's public API reference.

use super::{
    account::Account,
    body::{Manner, body},
    kind::Kind,
    messages, responses,
};
use crate::{
    chat::{ChatRequest, Dialect},
    providers::relay::Call,
    upstream::Request,
};

/// `POST /chat/completions`.
pub(super) fn ask(
    base_url: &str,
    account: &Account,
    model: &str,
    chat: &ChatRequest,
    manner: Manner,
) -> Request {
    post(base_url, "chat/completions", account, chat).pieces(body(chat, model, manner))
}

/// `POST /responses`.
pub(super) fn respond(
    base_url: &str,
    account: &Account,
    model: &str,
    chat: &ChatRequest,
) -> Request {
    post(base_url, "responses", account, chat).pieces(responses::body::body(chat, model))
}

/// The dialect's version, where the caller has named none.
const VERSION: &str = "2023-06-01";

/// SDKs of messages take the base URL without the version, and others with it: both are right.
fn unversioned(base_url: &str) -> &str {
    base_url.strip_suffix("/v1").unwrap_or(base_url)
}

/// `GET /models`, which asks nothing of any model.
pub(super) fn models(base_url: &str, account: &Account, kind: Kind) -> Request {
    let key = account.key.expose();
    let request = if kind == Kind::Messages {
        let url = format!("{}/v1/models", unversioned(base_url));
        let request = Request::get("check", url);
        request
            .header("x-api-key", key)
            .header("anthropic-version", VERSION)
    } else {
        let request = Request::get("check", format!("{base_url}/models"));
        request.header("authorization", format!("Bearer {key}"))
    };
    request.headers(&[("accept", "application/json"), ("user-agent", "hive2api")])
}

/// `POST /v1/messages`.
pub(super) fn message(
    base_url: &str,
    account: &Account,
    model: &str,
    chat: &ChatRequest,
) -> Request {
    let mut request = asking(unversioned(base_url), "v1/messages", chat)
        .header("x-api-key", account.key.expose());
    let own = chat.verbatim.as_ref();
    let own = own.filter(|own| own.dialect == Dialect::Messages);
    let told = own.map_or(&[][..], |own| &own.headers);
    for (name, value) in told {
        request = request.header(name, value.clone());
    }
    if !told.iter().any(|(name, _)| *name == "anthropic-version") {
        request = request.header("anthropic-version", VERSION);
    }
    request.pieces(messages::body::body(chat, model))
}

fn post(base_url: &str, door: &str, account: &Account, chat: &ChatRequest) -> Request {
    asking(base_url, door, chat).header("authorization", format!("Bearer {}", account.key.expose()))
}

fn asking(base_url: &str, door: &str, chat: &ChatRequest) -> Request {
    let accept = if chat.stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    Request::post("chat", format!("{base_url}/{door}")).headers(&[
        ("content-type", "application/json"),
        ("accept", accept),
        ("user-agent", "hive2api"),
    ])
}

/// A caller's own request, with the lane's key in the place of the caller's.
pub(super) fn pass(base_url: &str, account: &Account, call: &Call, model: &str) -> Request {
    let url = format!("{base_url}{}", call.path);
    let request = Request::new(call.step, call.method.clone(), url)
        .header("authorization", format!("Bearer {}", account.key.expose()))
        .header("user-agent", "hive2api");
    let with = |request: Request, (name, value): &(&'static str, String)| {
        request.header(name, value.as_str())
    };
    let request = call.headers.iter().fold(request, with);
    request.pieces(call.body.pieces(model))
}
