//! What goes wrong on order. Source: wire/deepseek.md §4 (files), §5, §7.

use super::{
    refusal::{self, Refusal},
    stream::End,
};
use crate::{
    Reply,
    faults::{ASK, Fault},
};

/// Faults of this service, on the step they belong to. Those that refuse can strike on any other step too.
pub(super) const FAULTS: &[Fault] = &[
    ("missing_token", ASK),  // code 40002
    ("token_expired", ASK),  // code 40003
    ("token_invalid", ASK),  // code 40003, INVALID_TOKEN
    ("token_refused", ASK),  // code 40001
    ("missing_header", ASK), // code 40300
    ("pow_refused", ASK),    // code 40301
    ("throttled_1001", ASK),
    ("throttled_1201", ASK),
    ("muted", ASK),    // biz_code 5
    ("muted_14", ASK), // biz_code 14
    ("biz_rate_limited", ASK),
    ("illegal_session", ASK),
    ("invalid_message_id", ASK),
    ("invalid_file", ASK),
    ("invalid_param", ASK),
    ("unknown_code", ASK),
    ("unknown_biz_code", ASK),
    ("bad_body", ASK), // HTTP 422
    ("edge_429", ASK), // HTTP 429 with HTML
    ("waf_202", ASK),  // HTTP 202, no body
    ("waf_405", ASK),  // HTTP 405 with HTML
    ("html_200", ASK), // the site's page
    ("hint_rate_limit", ASK),
    ("hint_expert_busy", ASK),
    ("hint_input_exceeds_limit", ASK),
    ("hint_context_length", ASK),
    ("hint_manual_abort", ASK),
    ("hint_unsupported_client", ASK),
    ("toast_unsupported_client", ASK),
    ("hint_parallel_limit", ASK),
    ("hint_unknown", ASK),
    ("toast_unknown", ASK),
    ("hint_after_text", ASK),        // an error hint in mid-stream
    ("error_frame_after_text", ASK), // the same without an event name
    ("generation_err", ASK),         // INCOMPLETE, then an error frame
    ("generation_err_before_text", ASK),
    ("filtered_before_text", ASK),
    ("filtered_after_text", ASK),
    ("incomplete", ASK),    // ends INCOMPLETE half way
    ("auto_continue", ASK), // the same, as AUTO_CONTINUE and a flag
    ("empty", ASK),         // FINISHED and no text
    ("no_status", ASK),     // a clean end of the body without a status
    ("garbage", ASK),
    ("challenge_real", "challenge"), // the answer is anywhere in the range, as in life
    ("challenge_last", "challenge"), // the answer is the last one tried
    ("challenge_unsolvable", "challenge"),
    ("challenge_expired", "challenge"),
    ("challenge_unknown_algorithm", "challenge"),
    ("challenge_not_hex", "challenge"),
    ("challenge_refused", "challenge"),
    ("create_refused", "create"),
    ("create_muted", "create"),
    ("create_token_expired", "create"),
    ("create_older_form", "create"), // no refusal: the answer as of early 2026
    ("delete_refused", "delete"),
    ("stop_refused", "stop"),
    ("continue_refused", "continue"),
    ("upload_rate_limited", "upload"),
    ("upload_normal", "upload"), // no refusal: a picture that vision refuses until it is forked
    ("file_pending", "fetch_files"),
    ("file_failed", "fetch_files"),
    ("file_content_empty", "fetch_files"),
    ("file_error", "fetch_files"),
    ("file_parse_failed", "fetch_files"),
    ("login_refused", "login"),
    ("login_risk", "login"),   // biz_code 11: the device is not a real one
    ("login_banned", "login"), // biz_code 10
    ("login_muted", "login"),  // no refusal: the account is muted
    ("check_device_refused", "check_device"),
    ("rotate_text", "check_device"), // no refusal: a new token, as a string
    ("rotate_object", "check_device"), // the same, as an object
    ("resume_refused", "resume"),
    ("resume_finished", "resume"), // the answer has been finished meanwhile
    ("hif_short_ttl", "hif"),      // no refusal: a value is good for a second
    ("hif_no_ttl", "hif"),         // no refusal: nothing says for how long
];

pub(super) const BUSY: &str = "Server is busy, please try again later or use the default model.";
pub(super) const UNSUPPORTED: &str =
    "Your client version does not support this model. Please update.";
const FREQUENT: &str = "Messages too frequent. Try again later.";
const UNAVAILABLE: &str = "Server is temporarily unavailable.";

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "missing_token" => refusal::missing_token(),
        "token_expired" | "create_token_expired" => refusal::invalid_token(),
        "token_invalid" => refusal::code(40003, "INVALID_TOKEN"),
        "token_refused" => refusal::code(40001, "Authorization Failed"),
        "missing_header" => refusal::missing_header(),
        "pow_refused" => refusal::invalid_pow(),
        "throttled_1001" => refusal::code(1001, "too many requests"),
        "throttled_1201" => refusal::code(1201, "too many requests"),
        "muted" | "create_muted" => refusal::muted(5),
        "muted_14" => refusal::muted(14),
        "biz_rate_limited" | "upload_rate_limited" => refusal::biz(7, "rate limit exceeded"),
        "illegal_session" | "continue_refused" | "resume_refused" => refusal::illegal_session(),
        "invalid_message_id" => refusal::biz(26, "invalid message id"),
        "invalid_file" => refusal::biz(9, "invalid ref file id"),
        "invalid_param" => refusal::biz(2, "INVALID_PARAM"),
        "unknown_code" | "challenge_refused" => refusal::code(50_017, "internal error"),
        "unknown_biz_code"
        | "create_refused"
        | "delete_refused"
        | "stop_refused"
        | "check_device_refused" => refusal::biz(77, "SIM_STRANGE_ERROR"),
        "bad_body" => refusal::missing("prompt"),
        "edge_429" => Reply::html(429, "429 Too Many Requests"),
        "waf_202" => refusal::waf(),
        "waf_405" => Reply::html(405, "405 Not Allowed"),
        "html_200" => refusal::site(),
        "login_refused" => refusal::biz(2, "PASSWORD_OR_USER_NAME_IS_WRONG"),
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    let hint = |content, reason| End::Refused("hint", content, reason);
    match fault {
        "hint_rate_limit" => hint(FREQUENT, "rate_limit_reached"),
        "hint_expert_busy" => hint(BUSY, "expert_busy_use_default"),
        "hint_input_exceeds_limit" => too_long(),
        "hint_context_length" => hint(
            "Length limit reached. Please start a new chat.",
            "context_length_exceeded",
        ),
        "hint_manual_abort" => hint("", "manual_abort"),
        "hint_unsupported_client" => hint(UNSUPPORTED, "unsupported_client_by_model"),
        "toast_unsupported_client" => unsupported_client(),
        "hint_parallel_limit" => hint(
            "Too many chats at the same time. Try again later.",
            "parallel_chat_limit_by_queue",
        ),
        "hint_unknown" => hint("Something strange happened.", "sim_strange_reason"),
        "toast_unknown" => {
            End::Refused("toast", "Something strange happened.", "sim_strange_reason")
        }
        "hint_after_text" => End::Error(2, "hint", FREQUENT, "rate_limit_reached"),
        "error_frame_after_text" => End::Error(
            2,
            "message",
            "Something strange happened.",
            "sim_strange_reason",
        ),
        "generation_err" => End::Generation(2, UNAVAILABLE),
        "generation_err_before_text" => End::Generation(0, UNAVAILABLE),
        "filtered_before_text" => End::Filtered(0),
        "filtered_after_text" => End::Filtered(2),
        "incomplete" => End::Incomplete,
        "auto_continue" => End::AutoContinue,
        "empty" => End::Empty,
        "no_status" => End::NoStatus,
        "garbage" => End::Garbage,
        _ => End::Finished,
    }
}

pub(super) fn too_long() -> End {
    End::Refused(
        "hint",
        "The input exceeds the limit. Please shorten it.",
        "input_exceeds_limit",
    )
}

pub(super) fn unsupported_client() -> End {
    End::Refused("toast", UNSUPPORTED, "unsupported_client_by_model")
}
