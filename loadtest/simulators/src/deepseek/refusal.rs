//! How the service answers plain calls, and how it refuses. Source: wire/deepseek.md §3 (envelope), §6, §7.

use serde_json::{Value, json};

use crate::{Reply, reply::Act};

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

fn envelope(code: u32, msg: &str, data: &Value) -> Reply {
    // The member order is that of §3.
    let body = format!(
        r#"{{"code":{code},"msg":{},"data":{data}}}"#,
        Value::from(msg)
    );
    Reply::new(200, "application/json", body)
}

fn biz_envelope(code: u32, msg: &str, data: &Value) -> Reply {
    let data = json!({"biz_code": code, "biz_msg": msg, "biz_data": data});
    envelope(0, "", &data)
}

/// A plain call that went well.
pub(super) fn success(data: &Value) -> Reply {
    biz_envelope(0, "", data)
}

/// A refusal of the outer kind.
pub(super) fn code(code: u32, msg: &str) -> Refusal {
    envelope(code, msg, &Value::Null)
}

/// A refusal of the inner kind.
pub(super) fn biz(code: u32, msg: &str) -> Refusal {
    biz_envelope(code, msg, &Value::Null)
}

/// A login from a device that the risk service does not know.
pub(super) fn risk_device() -> Refusal {
    biz(11, "RISK_DEVICE_DETECTED")
}

/// `resume_stream` of an answer that has been finished meanwhile: the whole message comes along.
pub(super) fn finished_meanwhile(message: &Value) -> Reply {
    biz_envelope(22, "invalid message status", message)
}

pub(super) fn missing_token() -> Refusal {
    code(40002, "Missing Token")
}

pub(super) fn invalid_token() -> Refusal {
    code(40003, "Authorization Failed (invalid token)")
}

pub(super) fn missing_header() -> Refusal {
    code(40300, "MISSING_HEADER")
}

pub(super) fn invalid_pow() -> Refusal {
    code(40301, "INVALID_POW_RESPONSE")
}

/// Deleted, never created, or another account's.
pub(super) fn illegal_session() -> Refusal {
    biz(1, "ILLEGAL_CHAT_SESSION_ID")
}

/// Blocked for about 72 hours.
pub(super) fn muted(code: u32) -> Refusal {
    let data = json!({"is_muted": 1, "mute_until": 1_893_456_000.123});
    biz_envelope(code, "user is muted", &data)
}

/// HTTP 422: a required field is missing or has another type.
pub(super) fn missing(field: &str) -> Refusal {
    Reply::json(
        422,
        &json!({"detail": [{"loc": format!("body.{field}"), "msg": "Field required"}]}),
    )
}

/// The challenge of the edge in front of the service.
pub(super) fn waf() -> Refusal {
    Reply::new(202, "text/html", "").header("x-amzn-waf-action", "challenge")
}

/// What paths that do not exist answer: the site's page.
pub(super) fn site() -> Reply {
    Reply::html(200, "DeepSeek")
}

pub(super) fn event(name: &str, data: &Value) -> Act {
    Act::send(format!("event: {name}\ndata: {data}\n\n"))
}

/// The end of every stream that ends in order.
pub(super) fn close(click_behavior: &str) -> Act {
    Act::send(format!(
        "event: close\ndata: {{\"click_behavior\":\"{click_behavior}\",\"auto_resume\":false}}\n\n"
    ))
}

/// The data of a hint, a toast or an error frame that refuses.
pub(super) fn error(content: &str, finish_reason: &str) -> Value {
    json!({"type": "error", "content": content, "clear_response": true, "finish_reason": finish_reason})
}
