//! What goes wrong on order. Source: wire/minimax.md §2, §7, §12.

use super::{
    refusal::{self, Refusal},
    stream::End,
};
use crate::{
    Reply,
    faults::{ASK, Fault},
};

/// Faults of this service, on the step they belong to. Those that refuse can strike on any other step too. `ask` is the
/// call that sends the question, in every generation.
pub(super) const FAULTS: &[Fault] = &[
    ("unauthorized", ASK), // HTTP 401 and not a word
    ("odd_user", ASK),
    ("login_needed", ASK),
    ("session_invalid", ASK),
    ("auth_1004", ASK),
    ("auth_2049", ASK),
    ("invalid_signature", ASK),
    ("device_refused", ASK),
    ("malformed", ASK),
    ("verification", ASK), // HTTP 403 with a page
    ("busy", ASK),         // HTTP 409
    ("chat_running", ASK),
    ("rate_1002", ASK),
    ("rate_1039", ASK),
    ("rate_1041", ASK),
    ("rate_limited", ASK), // HTTP 429
    ("rate_limited_retry_after", ASK),
    ("quota_text", ASK),
    ("quota_2056", ASK),
    ("no_resources", ASK),
    ("payment", ASK), // HTTP 402
    ("quota_1008", ASK),
    ("moderated_1026", ASK),
    ("moderated_1027", ASK),
    ("moderated_text", ASK),
    ("sandbox", ASK),
    ("rpc_timeout", ASK),
    ("not_prepared", ASK),
    ("unavailable_1000", ASK),
    ("unavailable_1013", ASK),
    ("strange", ASK), // a number that no page lists
    ("html_200", ASK),
    ("garbage", ASK),
    ("empty", ASK),   // finished, and nothing was said
    ("cut_off", ASK), // a clean end of the body in the middle; matrix: it never finishes
    ("error_record", ASK),
    ("error_record_after_text", ASK),
    ("error_finish", ASK), // finish_reason error, and the words in a whole message
    ("error_finish_after_text", ASK),
    ("quota_record", ASK),
    ("moderated_after_text", ASK), // a base_resp in the stream
    ("sandbox_record", ASK),
    ("bad_record_after_text", ASK),
    ("poll_502", "poll"),
    ("poll_refused", "poll"),
    ("poll_garbage", "poll"),
    ("poll_stalls", "poll"), // no refusal: nothing grows
    ("session_refused", "session"),
    ("no_session_id", "session"),
    ("session_unprepared", "session"),
    ("config_refused", "config"),
    ("config_short", "config"), // no refusal: the list has M3 only
    ("agent_refused", "agent"),
    ("connections_refused", "connections"),
    ("archive_refused", "archive"),
    ("archive_busy", "archive"),
    ("delete_refused", "delete"),
    ("delete_running", "delete"),
    ("user_info_refused", "user_info"),
    ("op_ticket", "user_info"), // no refusal: only the other form of the signature is good (§12.2)
    ("renewal_refused", "renewal"),
    ("policy_refused", "policy"),
    ("oss_refused", "oss"),
    ("callback_refused", "callback"),
];

pub(super) const QUOTA: &str = "42212: 已达到 Token Plan 用量上限 (2056)";
const SENSITIVE: &str = "内容包含敏感信息";

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "unauthorized" => refusal::unauthorized(),
        "odd_user" | "user_info_refused" | "renewal_refused" => refusal::odd_user(),
        "login_needed" => refusal::info(200, 1_000_048, "请先登录"),
        "session_invalid" => refusal::no_session(),
        "auth_1004" => refusal::base(1004, "authentication failed"),
        "auth_2049" => refusal::base(2049, "invalid api key"),
        "invalid_signature" => refusal::signature(),
        "device_refused" => refusal::device(),
        "malformed" => refusal::malformed(),
        "verification" => Reply::html(403, "Just a moment..."),
        "busy" | "archive_busy" => {
            Reply::new(409, "application/json", r#"{"error":"session is busy"}"#)
        }
        "chat_running" | "delete_running" => refusal::running(),
        "rate_1002" => refusal::base(1002, "rate limit"),
        "rate_1039" => refusal::base(1039, "token limit"),
        "rate_1041" => refusal::base(1041, "conn limit"),
        "rate_limited" | "rate_limited_retry_after" => {
            Reply::new(429, "application/json", r#"{"error":"too many requests"}"#)
        }
        "quota_text" => refusal::base(42212, QUOTA),
        "quota_2056" => refusal::base(2056, "usage limit exceeded"),
        "no_resources" => refusal::base(
            1000,
            "No conversation resources are available. Subscribe to continue.",
        ),
        "payment" => Reply::new(
            402,
            "application/json",
            r#"{"error":{"type":"insufficient_balance_error","message":"insufficient balance"}}"#,
        ),
        "quota_1008" => refusal::base(1008, "insufficient balance"),
        "moderated_1026" => refusal::base(1026, "input new_sensitive"),
        "moderated_1027" => refusal::base(1027, "output new_sensitive"),
        "moderated_text" => refusal::base(1_400_000_000, SENSITIVE),
        "sandbox" => refusal::base(1_400_010_502, "sandbox connection error"),
        "rpc_timeout" => refusal::base(1_400_010_503, "rpc timeout"),
        "not_prepared" | "session_unprepared" => refusal::unprepared(),
        "unavailable_1000" => refusal::base(1000, "unknown error"),
        "unavailable_1013" => refusal::base(1013, "internal service error"),
        "strange"
        | "poll_refused"
        | "session_refused"
        | "archive_refused"
        | "delete_refused"
        | "config_refused"
        | "agent_refused"
        | "connections_refused"
        | "policy_refused"
        | "callback_refused" => refusal::base(45_678, "internal error"),
        "no_session_id" => refusal::success(serde_json::json!({})),
        "html_200" => Reply::html(200, "MiniMax Agent"),
        "garbage" | "poll_garbage" => Reply::new(200, "application/json", "{\"chat\":{\"chat_st"),
        "poll_502" => Reply::new(502, "text/plain", "bad gateway"),
        "oss_refused" => Reply::new(
            403,
            "application/xml",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>SecurityTokenExpired</Code>\n</Error>\n",
        ),
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    let record = |text: &str| format!(r#"{{"type":"error","message":"{text}"}}"#);
    match fault {
        "empty" => End::Empty,
        "cut_off" => End::CutOff(2),
        "error_record" => End::Record(0, record("internal error")),
        "error_record_after_text" => End::Record(2, record("internal error")),
        "error_finish" => End::Failed(0, "Connection error."),
        "error_finish_after_text" => End::Failed(2, "Connection error."),
        "quota_record" => End::Failed(0, QUOTA),
        "moderated_after_text" => End::Record(
            2,
            r#"{"type":6,"base_resp":{"status_code":1027,"status_msg":"output new_sensitive"}}"#
                .to_owned(),
        ),
        "sandbox_record" => End::Record(0, record("sandbox connection error")),
        "bad_record_after_text" => End::Record(2, r#"{"type":6,"agent_mess"#.to_owned()),
        _ => End::Finished,
    }
}
