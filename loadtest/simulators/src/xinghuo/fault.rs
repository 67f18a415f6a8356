//! What goes wrong at this service. Source: wire/xinghuo.md §7.

use super::{
    refusal::{self, Refusal},
    stream::End,
};
use crate::{
    Reply,
    faults::{ASK, Fault},
};

/// The faults, on the step they belong to. `json_*` make sense on any step.
pub(super) const FAULTS: &[Fault] = &[
    ("json_80000", ASK), // not signed in
    ("json_90000", ASK), // not signed in
    ("json_10003", ASK), // banned for a day
    ("json_10004", ASK), // banned
    ("json_99900", ASK), // account closed
    ("json_11120", ASK), // quota used up
    ("json_unknown", ASK),
    ("gee_error", ASK),      // the slider is wanted
    ("gee_error_bare", ASK), // the same without JSON
    ("rate_10006", ASK),
    ("rate_10007", ASK),
    ("rate_11202", ASK),
    ("rate_11203", ASK),
    ("rate_text", ASK), // an unknown key, but the text says 频繁
    ("quota_11200", ASK),
    ("quota_11201", ASK),
    ("moderated_10013", ASK),
    ("moderated_10019", ASK),
    ("moderated_20002", ASK),
    ("moderated_text", ASK), // an unknown key, but the text says 敏感
    ("moderated_10014_after_text", ASK),
    ("moderated_10019_after_text", ASK),
    ("moderated_20002_after_text", ASK),
    ("kx_before_text", ASK),
    ("kx_after_text", ASK),
    ("too_long", ASK),
    ("overload_10008", ASK),
    ("overload_10110", ASK),
    ("overload_10222", ASK),
    ("overload_text", ASK), // an unknown key, but the text says 繁忙
    ("overload_after_text", ASK),
    ("belong_error", ASK),
    ("plugin_error", ASK),
    ("need_auth_error", ASK),
    ("bracket_error", ASK),   // an unknown `[…]` without JSON
    ("json_line_error", ASK), // an error object without a head
    ("unknown_key", ASK),
    ("empty", ASK),
    ("garbage", ASK),
    ("not_event_stream", ASK), // a page under HTTP 200
    ("create_too_fast", "create"),
    ("create_not_login", "create"),
    ("create_banned", "create"),
    ("create_no_id", "create"),
    ("delete_refused", "delete"),
    ("sign_refused", "sign"),
    ("upload_refused", "upload"),
    ("save_file_refused", "save_file"),
    ("user_info_dead", "user_info"),
];

pub(super) const CAPTCHA: &str = "当前请求已被拦截，请完成验证后重试";
const BUSY: &str = "服务忙，请稍后再试";
const LOGIN: &str = "用户未登录";
const SENSITIVE: &str = "很抱歉，该内容涉及敏感信息，无法回答";
/// A key that no table lists.
const UNKNOWN_KEY: u32 = 31_999;

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    let error = |key, descr| refusal::head("[error]", key, descr);
    Some(match fault {
        "json_80000" | "create_not_login" | "user_info_dead" => refusal::json(80000, LOGIN),
        "json_90000" => refusal::json(90000, LOGIN),
        "json_10003" => refusal::json(10003, "账号已被封禁24小时"),
        "json_10004" | "create_banned" => refusal::json(10004, "账号已被封禁"),
        "json_99900" => refusal::json(99900, "账号已注销"),
        "json_11120" => refusal::json(11120, "额度已用完"),
        "json_unknown" => refusal::json(45_678, "未知错误"),
        "gee_error" => refusal::head("[geeError]", 10001, CAPTCHA),
        "gee_error_bare" => refusal::lines(&["[geeError]", "<end>"]),
        "rate_10006" => error(10006, "请求过于频繁"),
        "rate_10007" => error(10007, "请求过快"),
        "rate_11202" => error(11202, "秒级流控超限"),
        "rate_11203" => error(11203, "并发流控超限"),
        "rate_text" => error(UNKNOWN_KEY, "您的操作过于频繁"),
        "quota_11200" => error(11200, "授权错误：业务量超限"),
        "quota_11201" => error(11201, "授权错误：日流控超限"),
        "moderated_10013" => error(10013, "输入内容审核不通过"),
        "moderated_10019" => error(10019, "本次会话内容有涉及违规信息的倾向"),
        "moderated_20002" => error(20002, "当前对话已关闭"),
        "moderated_text" => error(UNKNOWN_KEY, SENSITIVE),
        "too_long" => error(10907, "输入内容过长"),
        "overload_10008" => error(10008, "服务容量不足"),
        "overload_10110" => error(10110, BUSY),
        "overload_10222" => error(10222, "引擎网络异常"),
        "overload_text" => error(UNKNOWN_KEY, "系统繁忙"),
        "belong_error" => refusal::lines(&["[belongerr]"]),
        "plugin_error" => refusal::head("[pluginError]", 10400, "插件执行失败"),
        "need_auth_error" => refusal::head("[needAuthError]", 10401, "插件需要授权"),
        "bracket_error" => refusal::lines(&["[strangeError]", "<end>"]),
        "json_line_error" => {
            refusal::lines(&[&refusal::error_json(UNKNOWN_KEY, "引擎异常"), "<end>"])
        }
        "unknown_key" => error(UNKNOWN_KEY, "引擎异常"),
        "not_event_stream" => Reply::html(200, "系统维护中"),
        "create_too_fast" => refusal::json(10006, "创建对话过快，请稍后再试"),
        "create_no_id" => refusal::success(&serde_json::json!({})),
        "delete_refused" | "sign_refused" | "save_file_refused" => {
            refusal::json(50_000, "系统异常")
        }
        "upload_refused" => Reply::json(
            403,
            &serde_json::json!({"message": "HMAC signature does not match"}),
        ),
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    match fault {
        "kx_before_text" => End::CutOff(0),
        "kx_after_text" => End::CutOff(2),
        "moderated_10014_after_text" => End::Error(2, 10014, "输出内容涉及敏感信息，审核不通过"),
        "moderated_10019_after_text" => End::Error(2, 10019, "本次会话内容有涉及违规信息的倾向"),
        "moderated_20002_after_text" => End::Error(2, 20002, "当前对话已关闭"),
        "overload_after_text" => End::Error(2, 10110, BUSY),
        "empty" => End::Empty,
        "garbage" => End::Garbage,
        _ => End::Whole,
    }
}
