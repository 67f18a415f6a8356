//! How the service refuses. Source: wire/metaso.md §7, sample B.

use serde_json::{Value, json};

use crate::{
    Reply,
    reply::{Act, Acts},
};

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) const EVENT_STREAM: &str = "text/event-stream;charset=UTF-8";

/// A plain call that went well.
pub(super) fn success(data: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"errCode": 0, "errMsg": "success", "data": data}),
    )
}

/// A plain call that did not, under HTTP 200 too.
pub(super) fn coded(http: u16, code: i64, message: &str) -> Refusal {
    Reply::json(http, &json!({"errCode": code, "errMsg": message}))
}

pub(super) fn login() -> Refusal {
    coded(401, 401, "请先登录")
}

/// A failure as an event.
pub(super) fn event(code: i64, message: &str) -> String {
    format!(
        r#"{{"type":"error","code":{code},"msg":{}}}"#,
        Value::from(message)
    )
}

/// A stream whose only event is a failure.
pub(super) fn error(code: i64, message: &str) -> Refusal {
    let acts: Acts = Box::new(
        [
            Act::Done,
            Act::send(format!("data:{}\n\n", event(code, message))),
            Act::send("data:[DONE]\n\n"),
        ]
        .into_iter(),
    );
    Reply::stream(EVENT_STREAM, acts)
}

/// The recorded refusal of who asks too much: sample B.
pub(super) const TOO_MANY: &str = "data:[TOO_MANY_REQUESTS]\n\n\n\ndata:[DONE]\n\n";

pub(super) fn too_many() -> Refusal {
    let acts: Acts = Box::new([Act::Done, Act::send(TOO_MANY)].into_iter());
    Reply::stream(EVENT_STREAM, acts)
}

/// What a wrong or stale meta-token is answered, in the words of the call.
pub(super) fn stale(chat: bool) -> Refusal {
    match chat {
        true => error(429, "TOO_MANY_REQUESTS"),
        false => too_many(),
    }
}

pub(super) fn parameters() -> Refusal {
    error(400, "参数错误")
}

/// A first turn that names a conversation, or one that is not there (§10.1).
pub(super) fn entity() -> Refusal {
    error(
        -500,
        "Unable to find com.metaso.entity.ConversationEntity with id 0",
    )
}

/// The page of the slider.
pub(super) fn captcha(http: u16) -> Refusal {
    let page = "<!DOCTYPE html><html><head><title>滑动验证</title><script src=\"https://g.alicdn.invalid/aliyun-captcha/slider.js\"></script></head><body><div id=\"captcha\"></div></body></html>";
    Reply::new(http, "text/html; charset=utf-8", page)
}

/// A stream in which nothing makes sense.
pub(super) fn garbage() -> Refusal {
    let acts: Acts = Box::new(
        [
            Act::send("data:{\"type\":\"append-te\n\n"),
            Act::send("data:{\"choices\":[{\n\n"),
            Act::Done,
        ]
        .into_iter(),
    );
    Reply::stream(EVENT_STREAM, acts)
}

#[cfg(test)]
mod tests {
    /// Sample B has 41 bytes.
    #[test]
    fn sample_b_is_to_the_byte() {
        assert_eq!(super::TOO_MANY.len(), 41);
    }
}
