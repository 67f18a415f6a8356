//! How the service refuses. Source: wire/qwen.md §4.1 (envelope), §7.5 sample C, §8.

use std::iter;

use serde_json::{Value, json};

use crate::{
    Reply,
    reply::{Act, Acts},
};

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const EVENT_STREAM: &str = "text/event-stream;charset=UTF-8";

/// The envelope of a plain call that went well.
pub(super) fn success(data: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"success": true, "data": data, "errorCode": null, "errorMsg": null}),
    )
}

/// The envelope of a plain call that is refused.
pub(super) fn json(code: &str, message: &str) -> Refusal {
    with_status(200, code, message)
}

pub(super) fn with_status(status: u16, code: &str, message: &str) -> Refusal {
    let body = json!({
        "errorCode": code, "errorMsg": message, "failed": status != 200, "httpCode": status, "success": false, "data": null,
    });
    Reply::json(status, &body)
}

/// Recorded (§8).
pub(super) fn login_ticket_invalid() -> Refusal {
    let body = r#"{"errorCode":"LOGIN_TICKET_INVALID","errorMsg":"未登录","failed":true,"httpCode":401,"success":false}"#;
    Reply::new(401, "application/json;charset=UTF-8", body)
}

pub(super) fn csrf() -> Refusal {
    with_status(403, "CSRF_CHECK_FAILED", "xsrf check failed")
}

pub(super) fn session_not_exist() -> Refusal {
    json("SESSION_NO_EXIST", "SESSION_NO_EXIST")
}

/// An event stream whose only frame is an error: sample C.
pub(super) fn frame(code: &str, message: &str) -> Refusal {
    let frame = error_frame(code, message, "", "");
    Reply::stream(EVENT_STREAM, Box::new([Act::Done, frame].into_iter()))
}

pub(super) fn error_frame(code: &str, message: &str, session: &str, msg: &str) -> Act {
    let frame = json!({
        "msgStatus": "finished", "contents": [], "errorCode": code, "errorMsg": message, "canShare": true,
        "sessionId": session, "msgId": msg,
    });
    Act::send(format!("data: {frame}\n\n"))
}

/// A stream in which nothing makes sense.
pub(super) fn garbage() -> Reply {
    let acts: Acts = Box::new(
        [
            Act::send("data: {\"contents\": [{\"contentType\n\n"),
            Act::send("data:<!DOCTYPE html>\n\n"),
            Act::send("\u{fffd}\u{0}not an event\n\n"),
            Act::Done,
            Act::send("data: [DONE]\n\n"),
        ]
        .into_iter(),
    );
    Reply::stream(EVENT_STREAM, acts)
}

/// A clean end without a single byte.
pub(super) fn nothing() -> Reply {
    Reply::stream(EVENT_STREAM, Box::new(iter::empty()))
}

/// What the object storage says when it refuses a form (§4.4).
pub(super) fn oss(status: u16, code: &str, message: &str) -> Refusal {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>{code}</Code>\n  <Message>{message}</Message>\n  \
         <RequestId>656E4B7C0D1C2B3A4F5E6D7C</RequestId>\n</Error>\n",
    );
    Reply::new(status, "application/xml", body)
}
