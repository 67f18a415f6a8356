//! What goes wrong on order. Source: wire/metaso.md §1, §2, §5.1, §7.

use super::{
    refusal::{self, Refusal},
    stream::End,
};
use crate::{
    Reply,
    faults::{ASK, Fault},
};

/// Faults of this service, on the step they belong to. Those that refuse can strike on any other step too. `ask` is the
/// call that answers, in both generations.
pub(super) const FAULTS: &[Fault] = &[
    ("unauthorized", ASK),
    ("forbidden", ASK),
    ("login_needed", ASK), // errCode 401 under HTTP 200
    ("login_words", ASK),  // another errCode, and only the words say so
    ("too_many", ASK),     // sample B
    ("too_many_text", ASK),
    ("error_429", ASK),
    ("rate_limited", ASK), // HTTP 429
    ("rate_limited_retry_after", ASK),
    ("cookie_gate", ASK),   // who has not the cookies of the page's script
    ("token_expired", ASK), // the meta-token is void from now on
    ("quota_spent", ASK),   // 4001
    ("captcha", ASK),       // HTTP 200 with the slider
    ("overloaded", ASK),
    ("error_500", ASK),
    ("strange", ASK), // a code that no page lists
    ("parameters", ASK),
    ("entity", ASK),        // -500: a conversation that is not there
    ("chat_gone_405", ASK), // these three on the chat generation's call alone
    ("chat_gone_html", ASK),
    ("chat_gone_json", ASK),
    ("garbage", ASK), // nothing makes sense, and there is no end
    ("empty", ASK),   // an end, and no text
    ("cut_off", ASK), // a clean end of the body in the middle
    ("bad_frame_after_text", ASK),
    ("error_after_text", ASK),
    ("too_many_after_text", ASK),
    ("moderated_before_text", ASK),
    ("moderated_after_text", ASK),
    ("no_meta_token", "home"),
    ("empty_meta_token", "home"),
    ("slider", "home"),
    ("home_refused", "home"), // HTTP 403
    ("cookie_trap", "home"),  // no refusal: it sets another sid
    ("session_refused", "session"),
    ("session_token", "session"), // errCode about the token, which is void from now on
    ("session_login", "session"),
    ("my_info_stranger", "my_info"),
    ("result_refused", "result"),
];

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "unauthorized" => refusal::login(),
        "forbidden" | "home_refused" => Reply::html(403, "403 Forbidden"),
        "login_needed" | "session_login" => refusal::coded(200, 401, "未登录"),
        "login_words" => refusal::coded(200, 40_001, "登录状态已失效"),
        "too_many" => refusal::too_many(),
        "too_many_text" => Reply::new(200, "text/plain", "TOO_MANY_REQUESTS"),
        "error_429" => refusal::error(429, "请求过于频繁"),
        "rate_limited" | "rate_limited_retry_after" => Reply::json(
            429,
            &serde_json::json!({"errCode": 429, "errMsg": "too many requests"}),
        ),
        "quota_spent" => refusal::error(4001, "今日额度已用完"),
        "captcha" => refusal::captcha(200),
        "overloaded" => refusal::error(5003, "系统繁忙，请稍后再试"),
        "error_500" => refusal::error(500, "internal error"),
        "strange" => refusal::error(777, "something strange"),
        "parameters" => refusal::parameters(),
        "entity" => refusal::entity(),
        "chat_gone_405" => Reply::html(405, "405 Method Not Allowed"),
        "chat_gone_html" => Reply::html(200, "秘塔AI搜索"),
        "chat_gone_json" => Reply::json(200, &serde_json::json!({"path": "/api/search/chat"})),
        "garbage" => refusal::garbage(),
        "no_meta_token" => Reply::html(200, "秘塔AI搜索"),
        "empty_meta_token" => Reply::new(
            200,
            "text/html; charset=utf-8",
            "<html><head><meta id=\"meta-token\" content=\"\"/></head></html>",
        ),
        "slider" => refusal::captcha(200),
        "session_refused" | "result_refused" => refusal::coded(200, 500, "系统异常"),
        "my_info_stranger" => refusal::coded(200, 401, "未登录"),
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    let error = |pieces, code, message| End::Record(pieces, refusal::event(code, message));
    match fault {
        "empty" => End::Empty,
        "cut_off" => End::CutOff(2),
        "bad_frame_after_text" => End::Record(2, "{\"type\":\"append-te".to_owned()),
        "error_after_text" => error(2, 500, "internal error"),
        "too_many_after_text" => End::Record(2, "[TOO_MANY_REQUESTS]".to_owned()),
        "moderated_before_text" => error(0, 6001, "您的问题包含敏感内容，不合规"),
        "moderated_after_text" => error(2, 6001, "回答内容违规"),
        _ => End::Finished,
    }
}
