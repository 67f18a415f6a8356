//! What goes wrong on order. Source: wire/doubao.md §6.4, §6.5, §7, §8.

use super::{
    refusal::{self, Error, Refusal, USER_INVALID, VERIFICATION},
    stream::End,
};
use crate::{
    Reply,
    faults::{ASK, Fault},
    reply::Act,
};

/// Faults of this service, on the step they belong to. Those that refuse can strike on any other step too.
pub(super) const FAULTS: &[Fault] = &[
    ("login_expired", ASK), // a JSON body under HTTP 200
    ("user_invalid", ASK),  // sample 4
    ("tourist_limit", ASK),
    ("tourist_punished", ASK),
    ("verification", ASK), // sample 3
    ("rate_event", ASK),   // the same number, and nothing to verify
    ("rate_limited", ASK), // HTTP 429
    ("rate_limited_retry_after", ASK),
    ("shark", ASK),
    ("shark_json", ASK),
    ("country", ASK),
    ("country_absent", ASK),
    ("overloaded", ASK), // HTTP 503
    ("overload_event", ASK),
    ("strange", ASK), // a number that no page lists
    ("parameters", ASK),
    ("html_200", ASK),
    ("garbage", ASK),
    ("moderated_before_text", ASK), // STREAM_MSG_ERROR
    ("moderated_after_text", ASK),
    ("moderated_words", ASK), // another error, and only the words say so
    ("error_after_text", ASK),
    ("rate_after_text", ASK),
    ("bad_frame_after_text", ASK),
    ("empty", ASK),          // the end, and nothing was said
    ("fetch_only", ASK),     // the rest is to be fetched elsewhere
    ("cut_off", ASK),        // a clean end of the body in the middle
    ("pictures_later", ASK), // pictures are found by polling only
    ("no_pictures", ASK),
    ("delete_refused", "delete"),
    ("delete_false", "delete"), // status 0, and the result says no
    ("thread_delete_refused", "delete_thread"),
    ("prepare_refused", "prepare"),
    ("apply_refused", "apply"),
    ("upload_refused", "upload"),
    ("commit_refused", "commit"), // UriStatus is not 2000
    ("pre_handle_refused", "pre_handle"),
    ("info_dead", "info"),
];

/// The error of a stream under a fault, if it is one.
fn error(fault: &str) -> Option<Error> {
    Some(match fault {
        "user_invalid" => USER_INVALID,
        "tourist_limit" => Error::new(710_022_013, "tourist reach limit"),
        "tourist_punished" => Error::new(710_022_019, "tourist punished"),
        "verification" => VERIFICATION,
        "rate_event" => Error::new(710_022_004, "rate limited"),
        "shark" => Error::new(710_022_002, "block"),
        "country" => Error::new(710_022_003, "country restricted"),
        "country_absent" => Error::new(710_022_017, "country not available"),
        "overload_event" => Error::new(710_010_500, "系统错误"),
        "strange" => Error::new(710_099_999, "something strange"),
        "moderated_before_text" => MODERATED,
        "moderated_words" => Error::new(710_099_998, "输入内容违规，审核未通过"),
        _ => return None,
    })
}

const MODERATED: Error = Error {
    event: "STREAM_MSG_ERROR",
    ..Error::new(710_023_001, "内容审核未通过")
};

/// The reply under a fault that refuses the call; `samantha`: in the words of the older generation.
pub(super) fn refused(fault: &str, samantha: bool) -> Option<Refusal> {
    if let Some(error) = error(fault) {
        return Some(error.stream(samantha));
    }
    Some(match fault {
        "login_expired" => refusal::login_expired(),
        "rate_limited" | "rate_limited_retry_after" => refusal::json(429, 429, "too many requests"),
        "shark_json" => refusal::json(200, 710_022_002, "当前服务访问频繁，请稍后重试"),
        "overloaded" => refusal::json(503, 503, "服务过载，请稍后重试"),
        "parameters" => refusal::parameter("messages"),
        "html_200" => Reply::html(200, "豆包"),
        "garbage" => Reply::stream(
            refusal::EVENT_STREAM,
            Box::new(
                [
                    Act::send("id: 0\nevent: STREAM_CHUNK\ndata: {\"patch_op\n\n"),
                    Act::send("data:<!DOCTYPE html>\n\n"),
                    Act::Done,
                ]
                .into_iter(),
            ),
        ),
        "delete_refused" => Reply::new(
            200,
            "application/json",
            r#"{"status_code":710010500,"status_desc":"系统错误"}"#,
        ),
        "thread_delete_refused" | "prepare_refused" | "pre_handle_refused" => {
            refusal::json(200, 710_010_500, "系统错误")
        }
        "apply_refused" => refusal::imagex(200, "InvalidServiceId"),
        "upload_refused" => refusal::storage(403, 4001, "auth failed"),
        "info_dead" => Reply::new(
            200,
            "application/json",
            r#"{"data":{"error_code":4,"description":"会话过期"},"message":"error"}"#,
        ),
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    match fault {
        "empty" => End::Empty,
        "fetch_only" => End::Fetch,
        "cut_off" => End::CutOff(2),
        "bad_frame_after_text" => End::Bad(2),
        "error_after_text" => End::Error(2, Error::new(710_099_999, "something strange")),
        "rate_after_text" => End::Error(2, Error::new(710_022_004, "rate limited")),
        "moderated_after_text" => End::Error(2, MODERATED),
        _ => End::Finished,
    }
}
