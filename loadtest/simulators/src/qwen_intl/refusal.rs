//! How the service refuses: mostly under HTTP 200, with the true status in a header. Source: wire/qwen_intl.md §3, §8.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    Reply,
    reply::{Act, Acts},
};

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const EVENT_STREAM: &str = "text/event-stream;charset=UTF-8";

/// A call that went well.
pub(super) fn success(data: &Value) -> Reply {
    let id = Uuid::new_v4().to_string();
    Reply::json(
        200,
        &json!({"success": true, "request_id": id, "data": data}),
    )
}

/// The envelope of a refusal; `status` is the true one.
pub(super) fn refused(status: u16, code: &str, details: &str) -> Refusal {
    with(status, json!({"code": code, "details": details}))
}

fn with(status: u16, data: Value) -> Refusal {
    let id = Uuid::new_v4().to_string();
    let body = json!({"success": false, "request_id": id, "data": data});
    Reply::json(200, &body).header("x-actual-status-code", status.to_string())
}

pub(super) fn unauthorized() -> Refusal {
    refused(401, "Unauthorized", "Token has expired, please sign in")
}

/// A day's allowance is spent.
pub(super) fn spent(hours: u32) -> Refusal {
    with(
        429,
        json!({"code": "RateLimited", "details": "You have reached the daily usage limit.",
            "template": "You have reached the daily usage limit. Please wait {{num}} hours before trying again.", "num": hours}),
    )
}

/// What a missing `Version` brings.
pub(super) fn internal() -> Refusal {
    refused(400, "Bad_Request", "Internal error...")
}

pub(super) fn busy() -> Refusal {
    refused(400, "Bad_Request", "The chat is in progress!")
}

pub(super) fn no_chat() -> Refusal {
    refused(404, "Not_Found", "The chat does not exist or was deleted")
}

pub(super) fn no_model() -> Refusal {
    refused(404, "Not_Found", "Model not found")
}

/// What is not there at all.
pub(super) fn not_found() -> Refusal {
    refused(404, "Not_Found", "Not Found")
}

/// A path that this generation of the service does not have.
pub(super) fn no_path() -> Refusal {
    Reply::json(404, &json!({"detail": "Not Found"}))
}

/// An incomplete set of headers.
pub(super) fn robot() -> Refusal {
    Reply::json(200, &rgv587())
}

fn rgv587() -> Value {
    json!({
        "ret": ["FAIL_SYS_USER_VALIDATE", "RGV587_ERROR::SM::哎哟喂,被挤爆啦,请稍后重试"],
        "data": {"url": "https://chat.qwen.ai:443//api/v2/chat/completions/_____tmd_____/punish?x5secdata=xcsim&x5step=1&action=captcha"},
    })
}

/// The firewall's page.
pub(super) fn firewall() -> Refusal {
    Reply::new(
        200,
        "text/html",
        "<!doctypehtml><html lang=\"zh-cn\"><meta charset=\"utf-8\"><meta name=\"aliyun_waf_aa\" content=\"sim\"></html>",
    )
}

/// An event stream of one object that is an error.
pub(super) fn frame(object: &Value) -> Refusal {
    let frame = format!("data: {object}\n\n");
    Reply::stream(
        EVENT_STREAM,
        Box::new([Act::Done, Act::send(frame)].into_iter()),
    )
}

pub(super) fn robot_frame() -> Refusal {
    frame(&rgv587())
}

/// A stream in which nothing makes sense.
pub(super) fn garbage() -> Refusal {
    let acts: Acts =
        Box::new([Act::Done, Act::send("data: {\"choices\": [{\"del\n\n")].into_iter());
    Reply::stream(EVENT_STREAM, acts)
}

/// An event stream without a byte.
pub(super) fn nothing() -> Refusal {
    Reply::stream(EVENT_STREAM, Box::new(std::iter::empty()))
}

/// What the store says.
pub(super) fn store(code: &str) -> Refusal {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>{code}</Code>\n  <Message>sim</Message>\n</Error>\n"
    );
    Reply::new(403, "application/xml", body)
}
