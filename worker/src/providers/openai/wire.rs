//! The request. Source: OpenAI's public API reference.

use super::{
    account::Account,
    body::{Manner, body},
};
use crate::{chat::ChatRequest, upstream::Request};

/// `POST /chat/completions`.
pub(super) fn ask(
    base_url: &str,
    account: &Account,
    model: &str,
    chat: &ChatRequest,
    manner: Manner,
) -> Request {
    let accept = if chat.stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    Request::post("chat", format!("{base_url}/chat/completions"))
        .header("authorization", format!("Bearer {}", account.key.expose()))
        .headers(&[
            ("content-type", "application/json"),
            ("accept", accept),
            ("user-agent", "hive2api"),
        ])
        .pieces(body(chat, model, manner))
}
