//! What goes wrong on order. Source: wire/flowgpt.md §7.

use serde_json::{Value, json};

use super::{Refusal, stream::End};
use crate::{
    Reply,
    faults::{ASK, Fault},
};

/// Faults of this service, on the step they belong to. Those that refuse can strike on the other step too.
pub(super) const FAULTS: &[Fault] = &[
    ("unauthorized", ASK),
    ("signature_refused", ASK), // 403, whatever was signed
    ("nonce_refused", ASK),
    ("device_refused", ASK),
    ("wants_device_concat", ASK), // the signature of this mode, and no other
    ("wants_auth_dash", ASK),
    ("limit_reached", ASK),  // 403
    ("daily_limit", ASK),    // 402
    ("forbidden", ASK),      // 403 without a reason
    ("forbidden_page", ASK), // 403 with a page
    ("waf_challenge", ASK),  // 202
    ("waf_captcha", ASK),    // 405
    ("bad_request", ASK),
    ("rate_limited", ASK),
    ("rate_limited_retry_after", ASK),
    ("unavailable_page", ASK), // 503 with a page
    ("empty", ASK),            // a clean end, and no text
    ("garbage", ASK),          // nothing but unreadable lines
    ("error_before_text", ASK),
    ("error_after_text", ASK),
    ("moderated_before_text", ASK),
    ("moderated_after_text", ASK),
    ("create_unauthorized", "create"),
    ("create_challenge", "create"),
    ("create_unavailable", "create"),
    ("prompt_gone", "create"),
    ("no_id", "create"),
];

/// A refusal in the shape that is seen most (§7).
pub(super) fn said(status: u16, message: &str) -> Refusal {
    Reply::json(
        status,
        &json!({"statusCode": status, "message": message, "error": message}),
    )
}

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    let challenge = |status, action: &str| {
        Reply::new(status, "text/html", "").header("x-amzn-waf-action", action)
    };
    Some(match fault {
        "unauthorized" | "create_unauthorized" => said(401, "Unauthorized"),
        "signature_refused" => said(403, "Invalid signature"),
        "nonce_refused" => Reply::json(403, &json!({"error": {"message": "Nonce already used"}})),
        "device_refused" => Reply::json(403, &json!({"data": "Unknown device"})),
        "limit_reached" => Reply::json(403, &json!({"data": {"code": "LIMIT_REACHED"}})),
        "daily_limit" => Reply::json(402, &json!({"message": "Daily message limit reached"})),
        "forbidden" => said(403, "Forbidden"),
        "forbidden_page" => Reply::new(
            403,
            "text/html",
            "<html><meta name=\"viewport\" content=\"width=device-width\"><h1>403 Forbidden</h1></html>",
        ),
        "waf_challenge" | "create_challenge" => challenge(202, "challenge"),
        "waf_captcha" => challenge(405, "captcha"),
        "bad_request" => said(400, "promptId must be a string"),
        "rate_limited" | "rate_limited_retry_after" => said(429, "Too many requests from your IP"),
        "create_unavailable" => said(503, "Service Unavailable"),
        "unavailable_page" => Reply::html(503, "503 Service Temporarily Unavailable"),
        "prompt_gone" => said(404, "Prompt not found"),
        _ => return None,
    })
}

/// How the answer ends under a fault that lets it begin.
pub(super) fn end(fault: &str) -> End {
    let event = |data: Value| json!({"event": "error", "data": data}).to_string();
    let failed = || event(json!("The model is not available"));
    let moderated = || event(json!({"message": "This violates our content policy"}));
    match fault {
        "empty" => End::Lines(0, Vec::new()),
        "garbage" => End::Lines(0, vec!["<html>".to_owned(), "oops".to_owned()]),
        "error_before_text" => End::Lines(0, vec![failed()]),
        "error_after_text" => End::Lines(usize::MAX, vec![failed()]),
        "moderated_before_text" => End::Lines(0, vec![moderated()]),
        "moderated_after_text" => End::Lines(usize::MAX, vec![moderated()]),
        _ => End::Finished,
    }
}
