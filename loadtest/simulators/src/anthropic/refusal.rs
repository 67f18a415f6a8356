//! Anthropic's error bodies. Source: Anthropic's public API reference, Errors.

use serde_json::json;

use crate::Reply;

/// A reply that refuses.
pub(super) type Refusal = Reply;

pub(super) fn error(status: u16, kind: &str, message: &str) -> Refusal {
    Reply::json(
        status,
        &json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim"}),
    )
}

pub(super) fn bad_request(message: &str) -> Refusal {
    error(400, "invalid_request_error", message)
}

pub(super) fn unauthorized() -> Refusal {
    error(401, "authentication_error", "invalid x-api-key")
}

pub(super) fn not_found(model: &str) -> Refusal {
    error(404, "not_found_error", &format!("model: {model}"))
}

pub(super) fn overloaded() -> Refusal {
    error(529, "overloaded_error", "Overloaded")
}

/// The reply under a fault that refuses the call.
pub(super) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "unauthorized" => unauthorized(),
        "forbidden" => error(
            403,
            "permission_error",
            "Your API key does not have permission to use the specified resource.",
        ),
        "rate_limited" | "rate_limited_retry_after" => error(
            429,
            "rate_limit_error",
            "This request would exceed your organization's rate limit.",
        ),
        "credit_spent" => bad_request(
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
        ),
        "bad_request" => bad_request("temperature: range: 0..1"),
        "too_long" => bad_request("prompt is too long: 210000 tokens > 200000 maximum"),
        "not_found" => not_found("sim-gone"),
        "server_error" => error(500, "api_error", "Internal server error"),
        "overloaded" => overloaded(),
        _ => return None,
    })
}
