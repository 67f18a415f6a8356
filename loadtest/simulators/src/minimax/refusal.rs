//! How the service refuses. Source: wire/minimax.md §7.

use serde_json::{Value, json};

use crate::Reply;

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// A plain call that went well: the members, and what says so.
pub(super) fn success(mut body: Value) -> Reply {
    body["base_resp"] = json!({"status_code": 0, "status_msg": "success"});
    Reply::new(200, "application/json", body.to_string())
}

/// The same of an account call.
pub(super) fn account(data: &Value) -> Reply {
    let body = json!({"statusInfo": {"code": 0, "message": "成功"}, "data": data});
    Reply::new(200, "application/json", body.to_string())
}

/// A number in the body under HTTP 200.
pub(super) fn base(code: u64, message: &str) -> Refusal {
    let body = json!({"base_resp": {"status_code": code, "status_msg": message}});
    Reply::new(200, "application/json", body.to_string())
}

/// A number in the other envelope.
pub(super) fn info(http: u16, code: u64, message: &str) -> Refusal {
    let body = json!({"statusInfo": {"code": code, "message": message}});
    Reply::new(http, "application/json", body.to_string())
}

/// A token, user or query that is not good: not a word.
pub(super) fn unauthorized() -> Refusal {
    Reply::new(401, "application/json", "")
}

pub(super) fn device() -> Refusal {
    let body = r#"{"error":"internal error","code":"UNEXPECTED_ERROR","base_resp":{"status_code":1406011050}}"#;
    Reply::new(400, "application/json", body)
}

pub(super) fn signature() -> Refusal {
    Reply::new(400, "text/plain", "invalid signature")
}

/// The same in the matrix generation, as assumed (§5).
pub(super) fn odd_user() -> Refusal {
    info(401, 1_000_021, "异常用户访问")
}

/// A body that is not as the page has it.
pub(super) fn malformed() -> Refusal {
    base(2013, "invalid params")
}

pub(super) const RUNNING: &str = "chat is running";

/// The code is not known (§7).
pub(super) fn running() -> Refusal {
    base(1_406_010_006, RUNNING)
}

pub(super) fn unprepared() -> Refusal {
    Reply::new(
        500,
        "text/plain",
        "[1400010501] Environment Variables not configured",
    )
}

/// What a session is answered that is not there, or not any more.
pub(super) fn no_session() -> Refusal {
    base(1_022_100_011, "session is invalid")
}
