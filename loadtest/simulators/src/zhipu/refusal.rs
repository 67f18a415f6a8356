//! How the service refuses. Source: wire/zhipu.md §7.

use std::iter;

use serde_json::{Value, json};

use crate::{
    Reply,
    reply::{Act, Acts},
};

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// A plain call that went well.
pub(super) fn success(result: &Value) -> Reply {
    let body = json!({"status": 0, "message": "success", "result": result, "rid": "sim"});
    Reply::new(200, "application/json", body.to_string())
}

/// A number and a message; the number is not the HTTP status.
pub(super) fn numbered(http: u16, number: u32, message: &str) -> Refusal {
    Reply::new(http, "application/json", text(number, message))
}

/// The body of [`numbered`].
pub(super) fn text(number: u32, message: &str) -> String {
    format!(
        r#"{{"status":{number},"message":{},"result":null}}"#,
        Value::from(message)
    )
}

/// A dead access token.
pub(super) fn unauthorized() -> Refusal {
    let body =
        r#"{"code":401,"status":401,"message":"unauthorized, token is expired","result":null}"#;
    Reply::new(401, "application/json", body)
}

/// A dead refresh token.
pub(super) fn refresh_dead() -> Refusal {
    numbered(
        401,
        40102,
        "40102: unauthorized user, refresh token is expired",
    )
}

/// §7: identity and signature. 4000x under HTTP 400, 4001x under HTTP 401.
pub(super) fn malformed(number: u32) -> Refusal {
    let http = if number >= 40010 { 401 } else { 400 };
    numbered(http, number, "bad request")
}

/// A body that is not as the page has it. The wording of a malformed token (§7) is the only one attested.
pub(super) fn bad_request() -> Refusal {
    numbered(400, 400, "bad request")
}

pub(super) const BUSY: &str = "请等待其他对话生成完毕";

pub(super) fn busy() -> Refusal {
    numbered(200, 10061, BUSY)
}

/// What comes instead of a stream for an assistant that is not there.
pub(super) fn nobody() -> Refusal {
    Reply::new(200, "application/json", r#"{"status":0,"result":null}"#)
}

/// An event stream without a byte: an unknown conversation.
pub(super) fn nothing() -> Refusal {
    Reply::stream(EVENT_STREAM, Box::new(iter::empty()))
}

/// The deletion of what is not there, or of what was moderated.
pub(super) fn database() -> Refusal {
    numbered(200, 10002, "数据库错误")
}

/// An event stream of one frame that is an error.
pub(super) fn frame(number: u32, message: &str) -> Refusal {
    let frame = format!("event: message\ndata: {}\n\n", text(number, message));
    Reply::stream(
        EVENT_STREAM,
        Box::new([Act::Done, Act::send(frame)].into_iter()),
    )
}

/// A stream in which nothing makes sense.
pub(super) fn garbage() -> Refusal {
    let acts: Acts = Box::new(
        [
            Act::send("event: message\ndata: {\"id\": \"68\n\n"),
            Act::send("data:<!DOCTYPE html>\n\n"),
            Act::Done,
            Act::send("\u{fffd}\u{0}not an event\n\n"),
        ]
        .into_iter(),
    );
    Reply::stream(EVENT_STREAM, acts)
}
