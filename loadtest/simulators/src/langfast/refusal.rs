//! How the service refuses. Source: wire/langfast.md §2, §7.

use serde_json::json;

use crate::Reply;

/// A reply that refuses.
pub(super) type Refusal = Reply;

/// The gateway's answer to a wrong or missing `apikey`.
pub(super) fn api_key(is_missing: bool) -> Refusal {
    let body = if is_missing {
        json!({"message": "No API key found in request", "hint": "No `apikey` request header or url param was found."})
    } else {
        json!({"message": "Invalid API key", "hint": "Double check your Supabase `anon` or `service_role` API key."})
    };
    Reply::json(401, &body)
}

/// GoTrue's shape.
pub(super) fn auth(status: u16, error_code: &str, msg: &str) -> Refusal {
    let body = json!({"code": status, "error_code": error_code, "msg": msg});
    Reply::json(status, &body)
}

pub(super) fn refresh_token() -> Refusal {
    auth(
        400,
        "refresh_token_not_found",
        "Invalid Refresh Token: Refresh Token Not Found",
    )
}

pub(super) fn sign_ups() -> Refusal {
    auth(429, "over_request_rate_limit", "Request rate limit reached")
}

/// Nobody may sign up any more.
pub(super) fn sign_ups_closed() -> Refusal {
    auth(
        422,
        "anonymous_provider_disabled",
        "Anonymous sign-ins are disabled",
    )
}

/// Running without an account is closed. The real text is not recorded.
pub(super) fn log_in(status: u16) -> Refusal {
    function(status, "Please log in to run prompts.")
}

/// The edge function's gate.
pub(super) fn jwt(is_missing: bool) -> Refusal {
    let message = if is_missing {
        "Missing authorization header"
    } else {
        "Invalid JWT"
    };
    Reply::json(401, &json!({"code": 401, "message": message}))
}

/// PostgREST's gate.
pub(super) fn rpc_jwt() -> Refusal {
    let body = json!({"code": "PGRST301", "details": null, "hint": null, "message": "JWT expired"});
    Reply::json(401, &body)
}

/// The function's own refusals.
pub(super) fn function(status: u16, error: &str) -> Refusal {
    Reply::json(status, &json!({"error": error}))
}

pub(super) fn runtime(status: u16) -> Refusal {
    let message = "Function failed due to an internal error";
    let body = json!({"code": "SUPABASE_EDGE_RUNTIME_ERROR", "message": message});
    Reply::json(status, &body)
}
