//! What the service's refusals mean, as pure functions: statuses, codes, and sentences in an answer's place.
//! Source: `wire/qwen.md` section 8.

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{
    Kind, ProviderError,
    refusals::{Extent, Refusal},
};

/// What the service says instead of an answer when it is overloaded (section 8).
pub(super) const BUSY: Refusal = Refusal {
    text: "抱歉，系统超时，请稍后重试",
    extent: Extent::Whole,
    error: busy,
};

/// The sentences that are no answers.
pub(super) const SENTENCES: &[Refusal] = &[BUSY];

/// An answer that is no event stream, or whose status is no success (section 8).
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> ProviderError {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Refusal {
        error_code: Option<Value>,
        error_msg: Option<String>,
    }
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    let code = refusal
        .as_ref()
        .and_then(|refusal| refusal.error_code.as_ref()?.as_str())
        .unwrap_or_default();
    let message = refusal
        .as_ref()
        .and_then(|refusal| refusal.error_msg.as_deref())
        .unwrap_or_default();
    match status {
        401 => expired(variable),
        403 => csrf_refused(variable),
        429 => rate_limited(),
        500.. => ProviderError::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {status}"),
        ),
        _ if !code.is_empty() || !message.is_empty() => coded(code, message, variable),
        _ => ProviderError::new(
            Kind::Protocol,
            format!("the service answered with HTTP {status}"),
        )
        .with_code(&format!("upstream_http_{status}")),
    }
}

/// An `errorCode`, wherever it came from; spelled with underscores or blanks (section 8).
pub(super) fn coded(code: &str, message: &str, variable: &str) -> ProviderError {
    // Without a code the message is one (section 8).
    let word = if code.is_empty() { message } else { code };
    match word.trim().to_ascii_uppercase().replace(' ', "_").as_str() {
        "NOT_LOGIN" | "LOGIN_TICKET_INVALID" => expired(variable),
        "CSRF_CHECK_FAILED" => csrf_refused(variable),
        "SESSION_NO_EXIST" => {
            ProviderError::new(Kind::Protocol, "the upstream conversation does not exist")
                .with_code("session_not_found")
        }
        "TOO_MANY_REQUESTS" => rate_limited(),
        "SYSTEM_BUSY" => busy(),
        "MODEL_NOT_SUPPORT" => ProviderError {
            param: Some("model".to_owned()),
            ..ProviderError::new(Kind::ModelNotFound, "the service does not know this model")
        },
        "FILE_NOT_EXIST" | "FILE_SEC_CHECKING" => file_rejected(message),
        "PARAM_ERROR" => {
            ProviderError::new(Kind::Protocol, "the service did not accept the request")
                .with_code("upstream_bad_request")
        }
        _ => {
            let error = ProviderError::new(Kind::Protocol, "the service refused").saying(message);
            if code.is_empty() {
                error
            } else {
                error.with_code(code)
            }
        }
    }
}

const RENEW: &str = "log in again at www.tongyi.com and paste the new cookie";

fn expired(variable: &str) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!("{variable} was refused; {RENEW}"),
    )
}

fn csrf_refused(variable: &str) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!("{variable} and its XSRF token were refused; {RENEW}"),
    )
}

fn rate_limited() -> ProviderError {
    ProviderError::new(Kind::RateLimited, "too many requests")
}

/// The service is overloaded; also said as plain text ([`SENTENCES`]).
fn busy() -> ProviderError {
    ProviderError::new(Kind::Unavailable, "the service is busy")
}

/// A picture or document that the service does not take.
pub(super) fn file_rejected(message: &str) -> ProviderError {
    ProviderError {
        param: Some("messages".to_owned()),
        ..ProviderError::new(Kind::FileRejected, "the service refused an attachment")
    }
    .saying(message)
}
