//! What goes wrong on order. Source: wire/kimi.md §6, §7.

use super::{
    envelope::{END, MESSAGE},
    events::Stop,
    models::MEMBERS_ONLY,
    refusal::{self, BUSY, Error, NOT_FOUND, Refusal, UNAUTHENTICATED},
};
use crate::{
    Reply,
    faults::{ASK, Fault},
};

/// Faults of this service, on the step they belong to. Those that refuse can strike on any other step too, and on the
/// step `handshake` of a WebSocket.
pub(super) const FAULTS: &[Fault] = &[
    ("unauthenticated", ASK), // E1: HTTP 401
    ("permission_denied", ASK),
    ("not_found", ASK),
    ("rate_limited", ASK),
    ("rate_limited_retry_after", ASK),
    ("invalid_argument", ASK),
    ("internal", ASK),
    ("unavailable", ASK),
    ("trailer_unauthenticated", ASK), // E2: HTTP 200 and an error at the end
    ("trailer_permission_denied", ASK),
    ("trailer_not_found", ASK),
    ("trailer_overloaded", ASK), // sample C
    ("trailer_model_rate_limit", ASK),
    ("trailer_rate_limited", ASK),
    ("trailer_unavailable", ASK),
    ("trailer_invalid_argument", ASK),
    ("trailer_failed_precondition", ASK),
    ("trailer_internal", ASK),
    ("trailer_unknown", ASK),
    ("trailer_strange", ASK),          // a code that no page lists
    ("trailer_credits", ASK),          // sample D: credits used up
    ("trailer_credits_words", ASK),    // the same, and only the words say so
    ("trailer_overloaded_words", ASK), // an overload whose words speak of credits
    ("trailer_membership", ASK),       // a scenario that only members have
    ("trailer_members_only", ASK),     // the same without a reason
    ("account_abnormal", ASK),         // E4: the account is flagged
    ("stream_pushing", ASK),           // E4: another answer is running
    ("cloudflare", ASK),               // HTTP 403 with a page
    ("error_in_message", ASK),         // E2 with flags 0, as of old
    ("overloaded_after_text", ASK),
    ("internal_after_text", ASK),
    ("exception_overloaded", ASK), // E3: the end looks normal
    ("exception_overloaded_after_text", ASK),
    ("exception_other", ASK),
    ("exception_moderated", ASK),
    ("exception_moderated_after_text", ASK),
    ("notification_filtered", ASK),
    ("notification_filtered_after_text", ASK),
    ("empty", ASK),         // complete, and no text
    ("cut_off", ASK),       // a clean end of the body in the middle
    ("bad_json", ASK),      // a payload that is not JSON
    ("bad_flags", ASK),     // flags that mean nothing
    ("compressed", ASK),    // flags that nobody negotiated
    ("absurd_length", ASK), // an envelope of 4 GB
    ("garbage", ASK),       // no envelopes at all
    ("html_200", ASK),
    ("refresh_gone", "refresh"), // HTTP 404: the older way is left
    ("refresh_refused", "refresh"),
    ("refresh_short_lived", "refresh"), // no refusal: a token for half a minute
    ("refresh_as_kimi_ai", "refresh"),  // no refusal: an access token without a device
    ("models_refused", "models"),
    ("rest_refresh_refused", "refresh_rest"),
    ("user_refused", "user"),
    ("register_refused", "register"),
    ("delete_refused", "delete"),
    ("delete_not_found", "delete"),
    ("upload_refused", "upload"),
    ("parse_pending", "progress"),
    ("parse_failed", "progress"),
    ("handshake_refused", "handshake"), // HTTP 401 instead of 101
];

const LIMIT: Error = Error::because(
    "resource_exhausted",
    "RATE_LIMITED",
    "You have sent too many messages. Please try again later.",
);
const CREDITS: Error = Error::because(
    "resource_exhausted",
    "REASON_QUOTA_EXCEEDED",
    "You have used up your credits.",
);
const CREDITS_WORDS: Error = Error::new("resource_exhausted", "本周期额度已用完");
const OVERLOADED_WORDS: Error = Error::because(
    "resource_exhausted",
    BUSY,
    "Too many free users. Members have credits for peak hours.",
);
const OVERLOADED: Error = Error::because("resource_exhausted", BUSY, "busy");
const FORBIDDEN: Error = Error::new("permission_denied", "permission denied");
const INTERNAL: Error = Error::new("internal", "internal error");
const UNAVAILABLE: Error = Error::new("unavailable", "service unavailable");

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "unauthenticated" | "refresh_refused" | "handshake_refused" => UNAUTHENTICATED.plain(),
        "permission_denied" => FORBIDDEN.plain(),
        "not_found" | "delete_not_found" => NOT_FOUND.plain(),
        "rate_limited" | "rate_limited_retry_after" => LIMIT.plain(),
        "invalid_argument" => refusal::INVALID.plain(),
        "internal" | "delete_refused" | "upload_refused" | "models_refused" => INTERNAL.plain(),
        "unavailable" => UNAVAILABLE.plain(),
        "trailer_unauthenticated" => UNAUTHENTICATED.trailer(),
        "trailer_permission_denied" => FORBIDDEN.trailer(),
        "trailer_not_found" => NOT_FOUND.trailer(),
        "trailer_overloaded" => OVERLOADED.trailer(),
        "trailer_model_rate_limit" => {
            Error::new("MODEL_RATE_LIMIT", "model rate limit reached").trailer()
        }
        "trailer_rate_limited" => Error::new("RATE_LIMITED", "").trailer(),
        "trailer_unavailable" => UNAVAILABLE.trailer(),
        "trailer_invalid_argument" => refusal::INVALID.trailer(),
        "trailer_failed_precondition" => {
            Error::new("failed_precondition", "the chat is closed").trailer()
        }
        "trailer_internal" => INTERNAL.trailer(),
        "trailer_unknown" => Error::new("unknown", "").trailer(),
        "trailer_strange" => Error::new("sim_strange", "something strange").trailer(),
        "trailer_credits" => CREDITS.trailer(),
        "trailer_credits_words" => CREDITS_WORDS.trailer(),
        "trailer_overloaded_words" => OVERLOADED_WORDS.trailer(),
        "trailer_membership" => MEMBERS_ONLY.trailer(),
        "trailer_members_only" => {
            Error::new("permission_denied", "this scenario needs a membership").trailer()
        }
        "account_abnormal" => refusal::account_abnormal(),
        "stream_pushing" => refusal::rest(400, "chat.user_stream_pushing", "请等待上一个回答结束"),
        "cloudflare" => Reply::html(403, "Just a moment..."),
        "html_200" => Reply::html(200, "Kimi"),
        "rest_refresh_refused" | "user_refused" => refusal::rest_token(),
        "register_refused" => refusal::rest(400, "device.invalid", "bad device"),
        _ => return None,
    })
}

/// How the answer stops under a fault that lets it begin, and after how many pieces.
pub(super) fn stop(fault: &str) -> Option<(usize, Stop)> {
    let exception = |reason| Stop::Exception(reason, "服务繁忙，请稍后再试");
    Some(match fault {
        "error_in_message" => (0, Stop::Error(OVERLOADED, MESSAGE)),
        "overloaded_after_text" => (2, Stop::Error(OVERLOADED, END)),
        "internal_after_text" => (2, Stop::Error(INTERNAL, END)),
        "exception_overloaded" => (0, exception("REASON_COMPLETION_OVERLOADED")),
        "exception_overloaded_after_text" => (2, exception("REASON_COMPLETION_OVERLOADED")),
        "exception_other" => (0, exception("REASON_SIM_STRANGE")),
        "exception_moderated" => (0, exception("REASON_CONTENT_SENSITIVE")),
        "exception_moderated_after_text" => (2, exception("REASON_CONTENT_SENSITIVE")),
        "notification_filtered" => (0, Stop::Filtered),
        "notification_filtered_after_text" => (2, Stop::Filtered),
        "empty" => (0, Stop::Empty),
        "cut_off" => (2, Stop::CutOff),
        "bad_json" => (2, Stop::Raw(b"\0\0\0\0\x09{\"op\":\"se")),
        "bad_flags" => (2, Stop::Raw(b"\x40\0\0\0\x02{}")),
        "compressed" => (2, Stop::Raw(b"\x01\0\0\0\x02{}")),
        "absurd_length" => (2, Stop::Raw(b"\0\xff\xff\xff\xff{}")),
        "garbage" => (0, Stop::Garbage),
        _ => return None,
    })
}
