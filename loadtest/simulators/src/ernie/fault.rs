//! What goes wrong on order. Source: wire/ernie.md §7.

use serde_json::json;

use super::{Refusal, stream::End};
use crate::{
    Reply,
    faults::{ASK, Fault},
};

/// Faults of this service, on the step they belong to. Numbers that the page infers are as it infers them.
pub(super) const FAULTS: &[Fault] = &[
    ("not_logged_in", ASK),
    ("login_words", ASK),      // an unknown number, and only the words say so
    ("restricted", ASK),       // 40005
    ("restricted_check", ASK), // 40005 that asks for a verification
    ("rate_limited", ASK),     // code 1
    ("too_frequent", ASK),     // in words
    ("rate_limited_retry_after", ASK), // HTTP 429
    ("sensitive", ASK),        // 40008
    ("moderated", ASK),        // in words
    ("overloaded", ASK),
    ("session_lost", ASK),     // 40002
    ("bad_body", ASK),         // 40000, whatever the form
    ("short_form_alone", ASK), // 40000 for the full form
    ("strange", ASK),          // a number that no page lists
    ("no_stream", ASK),        // an envelope that says that all is well
    ("login_page", ASK),
    ("check_page", ASK),
    ("empty", ASK),   // an end, and no text
    ("no_end", ASK),  // all the text, and no end
    ("cut_off", ASK), // a clean end of the body in the middle
    ("garbage", ASK),
    ("restricted_in_stream", ASK),
    ("moderated_before_text", ASK),
    ("moderated_after_text", ASK),
    ("error_after_text", ASK),
    ("delete_refused", "delete"),
];

/// The envelope with a code.
pub(super) fn coded(code: i64, message: &str) -> Refusal {
    Reply::json(
        200,
        &json!({"code": code, "msg": message, "data": null, "logId": "1"}),
    )
}

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "not_logged_in" => coded(10001, "not login"),
        "login_words" => coded(31001, "用户未登录"),
        "restricted" => coded(40005, "用户访问被限制"),
        "restricted_check" => coded(40005, "请完成安全验证"),
        "rate_limited" => coded(1, "error"),
        "too_frequent" => coded(31002, "操作过于频繁，请稍后再试"),
        "rate_limited_retry_after" => Reply::html(429, "429 Too Many Requests"),
        "sensitive" => coded(40008, "error"),
        "moderated" => coded(31003, "您输入的内容违规"),
        "overloaded" | "delete_refused" => coded(50000, "系统繁忙"),
        "session_lost" => coded(40002, "会话不存在"),
        "bad_body" => coded(40000, "参数错误"),
        "strange" => coded(77_777, "something strange"),
        "no_stream" => coded(0, "success"),
        "login_page" => Reply::html(200, "百度 登录"),
        "check_page" => Reply::html(200, "百度安全验证"),
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    let record = |pieces, code: i64, message: &str| {
        End::Record(
            pieces,
            json!({"code": code, "msg": message, "data": null, "logId": "1"}).to_string(),
        )
    };
    match fault {
        "empty" => End::Empty,
        "no_end" => End::CutOff(usize::MAX),
        "cut_off" => End::CutOff(2),
        "restricted_in_stream" => record(0, 40005, "用户访问被限制"),
        "moderated_before_text" => record(0, 40008, "内容敏感"),
        "moderated_after_text" => record(2, 31003, "回答内容违规"),
        "error_after_text" => record(2, 50000, "系统繁忙"),
        _ => End::Finished,
    }
}
