//! The request. Source: OpenAI's public API reference.

use super::{
    account::Account,
    body::{Manner, body},
    responses,
};
use crate::{chat::ChatRequest, providers::relay::Call, upstream::Request};

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

fn post(base_url: &str, door: &str, account: &Account, chat: &ChatRequest) -> Request {
    let accept = if chat.stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    Request::post("chat", format!("{base_url}/{door}"))
        .header("authorization", format!("Bearer {}", account.key.expose()))
        .headers(&[
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
