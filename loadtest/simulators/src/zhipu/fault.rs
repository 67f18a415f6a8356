//! What goes wrong on order. Source: wire/zhipu.md §2, §6.5, §7, §8.

use super::{
    refusal::{self, BUSY, Refusal},
    stream::End,
};
use crate::{
    Reply,
    faults::{ASK, Fault},
};

/// Faults of this service, on the step they belong to. Those that refuse can strike on any other step too.
pub(super) const FAULTS: &[Fault] = &[
    ("access_expired", ASK), // HTTP 401, and the access token is void from now on
    ("guest", ASK),          // the quota of who is not logged in
    ("sign_missing", ASK),
    ("sign_wrong", ASK),
    ("identity_missing", ASK),
    ("agent_missing", ASK),
    ("busy", ASK),       // 10061 under HTTP 200
    ("busy_code", ASK),  // `code` 400 and the same words
    ("busy_frame", ASK), // 10061 inside the stream
    ("lingers", ASK),    // no refusal: the account stays busy for 1.5 s after this answer
    ("rate_limited", ASK),
    ("rate_limited_retry_after", ASK),
    ("quota_spent", ASK),  // HTTP 429, and the words speak of points
    ("verification", ASK), // HTTP 403 with a page
    ("unknown_assistant", ASK),
    ("assistant_refused", ASK), // 10025
    ("no_permission", ASK),
    ("empty_body", ASK),     // an event stream without a byte
    ("overloaded", ASK),     // HTTP 503
    ("overloaded_200", ASK), // the same under HTTP 200
    ("overload_frame", ASK), // the same inside the stream
    ("strange", ASK),        // a number that no page lists
    ("html_200", ASK),
    ("garbage", ASK),
    ("empty", ASK), // a final frame, and nothing was said
    ("moderated_before_text", ASK),
    ("moderated_after_text", ASK),
    ("bad_frame_after_text", ASK),
    ("cut_off", ASK),     // a clean end of the body in the middle
    ("no_pictures", ASK), // a drawing that draws nothing
    ("no_points", ASK),   // the same, and the text says why
    ("refresh_expired", "refresh"),
    ("refresh_malformed", "refresh"),
    ("refresh_rolled_back", "refresh"), // the newest token is void, the configured one is good again
    ("refresh_short_lived", "refresh"), // no refusal: an access token for two seconds
    ("delete_refused", "delete"),
    ("upload_refused", "upload"),
    ("models_refused", "models"),
    ("video_refused", "video"),
    ("video_failed", "video_status"), // no refusal: the status says so
];

const OVERLOADED: &str = "系统繁忙，请稍后再试";

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "access_expired" => refusal::unauthorized(),
        "guest" => refusal::numbered(200, 500, "您已多次体验过对话, 请登录后继续使用"),
        "sign_missing" => refusal::malformed(40011),
        "sign_wrong" => refusal::malformed(40014),
        "identity_missing" => refusal::malformed(40001),
        "agent_missing" => refusal::malformed(40002),
        "busy" => refusal::busy(),
        "busy_code" => Reply::new(
            200,
            "application/json",
            format!(r#"{{"code":400,"message":"{BUSY}","result":null}}"#),
        ),
        "busy_frame" => refusal::frame(10061, BUSY),
        "rate_limited" | "rate_limited_retry_after" => {
            refusal::numbered(429, 429, "quota exceeded")
        }
        "quota_spent" => refusal::numbered(429, 429, "quota exceeded: 积分不足"),
        "verification" => Reply::html(403, "请完成安全验证"),
        "unknown_assistant" => refusal::nobody(),
        "assistant_refused" => refusal::numbered(200, 10025, "智能体不可用"),
        "no_permission" => refusal::numbered(200, 10026, "权限不足"),
        "empty_body" => refusal::nothing(),
        "overloaded" => refusal::numbered(503, 503, OVERLOADED),
        "overloaded_200" => refusal::numbered(200, 503, OVERLOADED),
        "overload_frame" => refusal::frame(503, OVERLOADED),
        "strange" => refusal::numbered(200, 45_678, "未知错误"),
        "html_200" => Reply::html(200, "智谱清言"),
        "garbage" => refusal::garbage(),
        "refresh_expired" | "refresh_rolled_back" => refusal::refresh_dead(),
        "refresh_malformed" => refusal::numbered(400, 400, "bad request"),
        "delete_refused" => refusal::database(),
        "upload_refused" | "video_refused" | "models_refused" => {
            refusal::numbered(200, 10001, "系统错误")
        }
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    match fault {
        "empty" | "no_pictures" => End::Empty,
        "no_points" => End::Saying("很抱歉，您的积分不足，无法生成图片。"),
        "moderated_before_text" => End::Moderated(0),
        "moderated_after_text" => End::Moderated(2),
        "bad_frame_after_text" => End::Bad(2),
        "cut_off" => End::CutOff(2),
        _ => End::Finished,
    }
}
