//! How chat2 answers plain calls, and how it refuses. Source: wire/qwen.md §11.2, §11.9.

use serde_json::{Value, json};

use crate::{Reply, qwen::refusal::EVENT_STREAM, reply::Act};

/// What a request with a wrong signature gets as its answer (§11.1). The real sentence is not recorded.
pub(super) const SENTENCE: &str = "很抱歉，当前请求暂时无法处理，请稍后再试。";

/// A plain call that went well.
pub(super) fn success(data: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"success": true, "code": 0, "msg": "", "data": data}),
    )
}

/// A plain call that is refused.
pub(super) fn code(code: u32, msg: &str) -> Reply {
    Reply::json(
        200,
        &json!({"success": false, "code": code, "msg": msg, "data": null}),
    )
}

/// HTTP 400: a field or query value is missing or wrong; `msg` names it.
pub(super) fn bad(name: &str) -> Reply {
    Reply::json(400, &json!({"success": false, "code": 400, "msg": name}))
}

pub(super) fn auth_failed(status: u16) -> Reply {
    let body = r#"{"code":"AUTH_FAILED","message":"用户未登录","success":false}"#;
    Reply::new(status, "application/json;charset=UTF-8", body)
}

/// Seen with `tongyi_sso_ticket_hash` and no `tongyi_sso_ticket`.
pub(super) fn signature() -> Reply {
    let body = r#"{"code":"EX015","msg":"签名错误"}"#;
    Reply::new(200, "application/json;charset=UTF-8", body)
}

/// The firewall wants a slider solved.
pub(super) fn captcha() -> Reply {
    let body = json!({
        "ret": ["FAIL_SYS_USER_VALIDATE", "RGV587_ERROR::SM::哎哟喂,被挤爆啦,请稍后重试"],
        "data": {"url": "https://www.qianwen.com/_____tmd_____/punish?x5secdata=sim"},
    });
    Reply::json(200, &body)
}

/// The same as a page.
pub(super) fn captcha_page() -> Reply {
    let page = "<html><script>window.rgv587_flag=\"sm\";var x5secdata=\"sim\";</script></html>\n";
    Reply::new(200, "text/html;charset=utf-8", page)
}

/// An event stream of one frame that is an error.
pub(super) fn frame(code: u32, message: &str) -> Reply {
    Reply::stream(
        EVENT_STREAM,
        Box::new([Act::Done, error(code, message)].into_iter()),
    )
}

pub(super) fn error(code: u32, message: &str) -> Act {
    let message = json!(message);
    Act::send(format!(
        "event:message\ndata:{{\"communication\":{{\"resid\":1}},\"data\":{{\"messages\":[]}},\"error_code\":{code},\"error_msg\":{message}}}\n\n"
    ))
}

/// An event stream of no content, as a wrong `ut` gets it.
pub(super) fn nothing() -> Reply {
    Reply::stream(EVENT_STREAM, Box::new([Act::Done].into_iter()))
}

/// HTTP 200 and no byte: without `text/event-stream` in Accept.
pub(super) fn empty_body() -> Reply {
    Reply::new(200, "application/json;charset=UTF-8", "")
}
