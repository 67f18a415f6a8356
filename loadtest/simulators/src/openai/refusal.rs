//! OpenAI's error bodies. Source: OpenAI's public API reference, error codes.

use serde_json::json;

use crate::Reply;

/// A reply that refuses.
pub(crate) type Refusal = Reply;

pub(crate) fn error(
    status: u16,
    kind: &str,
    code: Option<&str>,
    param: Option<&str>,
    message: &str,
) -> Refusal {
    Reply::json(
        status,
        &json!({"error": {"message": message, "type": kind, "param": param, "code": code}}),
    )
}

pub(crate) fn bad_request(message: &str, param: Option<&str>, code: Option<&str>) -> Refusal {
    error(400, "invalid_request_error", code, param, message)
}

pub(crate) fn unauthorized() -> Refusal {
    error(
        401,
        "invalid_request_error",
        Some("invalid_api_key"),
        None,
        "Incorrect API key provided: sk-***.",
    )
}

pub(crate) fn not_found(model: &str) -> Refusal {
    let message = format!("The model `{model}` does not exist or you do not have access to it.");
    error(
        404,
        "invalid_request_error",
        Some("model_not_found"),
        None,
        &message,
    )
}

/// The reply under a fault that refuses the call.
pub(crate) fn refused(fault: &str) -> Option<Refusal> {
    Some(match fault {
        "unauthorized" => unauthorized(),
        "forbidden" => error(
            403,
            "invalid_request_error",
            Some("unsupported_country_region_territory"),
            None,
            "Not here.",
        ),
        "rate_limited" | "rate_limited_retry_after" => error(
            429,
            "requests",
            Some("rate_limit_exceeded"),
            None,
            "Rate limit reached for requests.",
        ),
        "insufficient_quota" => {
            let message =
                "You exceeded your current quota, please check your plan and billing details.";
            error(
                429,
                "insufficient_quota",
                Some("insufficient_quota"),
                None,
                message,
            )
        }
        "bad_request" => bad_request(
            "Invalid value for 'temperature'.",
            Some("temperature"),
            Some("invalid_value"),
        ),
        "context_length_exceeded" => {
            let message = "This model's maximum context length is 8192 tokens.";
            bad_request(message, Some("messages"), Some("context_length_exceeded"))
        }
        "content_filter" => bad_request(
            "The response was filtered.",
            Some("prompt"),
            Some("content_filter"),
        ),
        "not_found" => not_found("sim-gone"),
        "server_error" => {
            let message = "The server had an error while processing your request.";
            error(500, "server_error", None, None, message)
        }
        "overloaded" => error(
            503,
            "server_error",
            None,
            None,
            "The engine is currently overloaded.",
        ),
        "not_json" => Reply::html(200, "Welcome"),
        _ => return None,
    })
}
