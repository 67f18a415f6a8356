//! What goes wrong on order. Source: wire/langfast.md §2, §6, §7.

use super::{
    events::Stop,
    refusal::{self, Refusal},
};
use crate::faults::{ASK, Fault};

/// Faults of this service, on the step they belong to. Those that refuse can strike on any other step too.
pub(super) const FAULTS: &[Fault] = &[
    ("jwt_invalid", ASK),
    ("jwt_missing", ASK),
    ("api_key_invalid", ASK),
    ("quota_spent", ASK),   // HTTP 429 that names the quota of the credential
    ("daily_limit", ASK),   // HTTP 429 that names a limit a day
    ("monthly_limit", ASK), // the same of a month
    ("log_in_401", ASK),    // the text asks to log in
    ("log_in_403", ASK),    // the same, to sign in
    ("rate_limited", ASK),
    ("rate_limited_retry_after", ASK),
    ("bad_field", ASK),
    ("unknown_model", ASK),
    ("unknown_prompt", ASK),
    ("run_seen", ASK),
    ("edge_error", ASK), // HTTP 500 of the runtime
    ("edge_503", ASK),
    ("failed_parameter", ASK), // the run begins, and fails
    ("failed_policy", ASK),
    ("failed_policy_after_text", ASK),
    ("filtered_before_text", ASK), // a finish_reason instead of an error
    ("filtered_after_text", ASK),
    ("failed_other", ASK),
    ("failed_other_after_text", ASK),
    ("failed_string", ASK), // `error` is a string, the status does not say so
    ("failed_status", ASK), // the status says so, and there is no `error`
    ("empty", ASK),         // completed without content
    ("garbage", ASK),       // events that nobody can read
    ("socket_disconnect", ASK), // `41` from the server after some text
    ("signup_rate_limited", "signup"),
    ("signup_limit", "signup"), // no refusal before the 31st sign-up
    ("signup_disabled", "signup"),
    ("signup_captcha", "signup"),
    ("signup_closed", "signup"), // sign-ups of all kinds
    ("short_lived", "signup"),   // no refusal: a token for a minute
    ("refresh_refused", "refresh"),
    ("rpc_jwt_expired", "create_prompt"),
    ("socket_refused", "socket"), // CONNECT_ERROR
    ("socket_silent", "socket"),  // no answer to CONNECT
    ("fast_pings", "socket"),     // no refusal: a ping every 200 ms, and 200 ms for the pong
];

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "jwt_invalid" => refusal::jwt(false),
        "jwt_missing" => refusal::jwt(true),
        "api_key_invalid" => refusal::api_key(false),
        "quota_spent" => refusal::function(429, "Free usage limit reached. Sign up to continue."),
        "rate_limited" | "rate_limited_retry_after" => {
            refusal::function(429, "Rate limit exceeded. Please try again later.")
        }
        "bad_field" => refusal::function(400, "Invalid request body"),
        "unknown_model" => refusal::function(404, "Model not found"),
        "unknown_prompt" => refusal::function(404, "Prompt not found"),
        "run_seen" => refusal::function(409, "Run already exists"),
        "edge_error" => refusal::runtime(500),
        "edge_503" => refusal::runtime(503),
        "signup_rate_limited" => refusal::sign_ups(),
        "daily_limit" => {
            refusal::function(429, "You have reached your daily limit of 50 requests.")
        }
        "monthly_limit" => {
            refusal::function(429, "You have reached your monthly limit of 1500 requests.")
        }
        "log_in_401" => refusal::log_in(401),
        "log_in_403" => refusal::function(403, "Sign in to continue."),
        "signup_disabled" => refusal::sign_ups_closed(),
        "signup_closed" => refusal::auth(
            422,
            "signup_disabled",
            "Signups not allowed for this instance",
        ),
        "signup_captcha" => refusal::auth(
            400,
            "captcha_failed",
            "captcha protection: request disallowed (no captcha_token found)",
        ),
        "refresh_refused" => refusal::refresh_token(),
        "rpc_jwt_expired" => refusal::rpc_jwt(),
        _ => return None,
    })
}

/// How the run stops under a fault that lets it begin, and after how many pieces.
pub(super) fn stop(fault: &str) -> Option<(usize, Stop)> {
    let parameter = "Unsupported parameter: 'temperature' is not supported with this model.";
    let policy = Stop::Failed("content_policy_violation", "Your request was rejected.");
    let other = Stop::Failed("server_error", "The model is overloaded.");
    Some(match fault {
        "failed_parameter" => (0, Stop::Failed("unsupported_parameter", parameter)),
        "failed_policy" => (0, policy),
        "failed_policy_after_text" => (2, policy),
        "filtered_before_text" => (0, Stop::Filtered),
        "filtered_after_text" => (2, Stop::Filtered),
        "failed_other" => (0, other),
        "failed_other_after_text" => (2, other),
        "failed_string" => (0, Stop::FailedString("Something strange happened.")),
        "failed_status" => (0, Stop::FailedStatus),
        "empty" => (0, Stop::Empty),
        "garbage" => (0, Stop::Garbage),
        "socket_disconnect" => (2, Stop::Disconnect),
        _ => return None,
    })
}
