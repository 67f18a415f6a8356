//! The request, which is the caller's own with another model. Source: OpenAI's public API reference.

use super::account::Account;
use crate::{chat::ChatRequest, upstream::Request};

/// `POST /chat/completions` with the caller's own body, one choice a turn: streamed where the caller wants a stream,
/// and then with usage, unless the upstream knows no `stream_options`.
pub(super) fn ask(
    base_url: &str,
    account: &Account,
    model: &str,
    chat: &ChatRequest,
    has_options: bool,
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
        .pieces(chat.body_for(model, has_options))
}
