//! The request, which is the caller's own with another model, and what refusals mean. Source: OpenAI's public API
//! reference.

use serde::Deserialize;
use serde_json::Value;

use super::account::Account;
use crate::{
    chat::{ChatRequest, Kind, ProviderError},
    upstream::Request,
};

/// `POST /chat/completions` with the caller's own body, one choice a turn: streamed where the caller wants a stream,
/// and then with usage.
pub(super) fn ask(base_url: &str, account: &Account, model: &str, chat: &ChatRequest) -> Request {
    let accept = if chat.stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    Request::post("chat", format!("{base_url}/chat/completions"))
        .header("authorization", format!("Bearer {}", account.key.expose()))
        .headers(&[
            ("content-type", "application/json"),
            ("accept", accept),
            ("user-agent", "hive2api"),
        ])
        .pieces(chat.body_for(model))
}

/// OpenAI's error object.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refused {
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<Value>,
    #[serde(default)]
    param: Option<Value>,
    #[serde(default)]
    code: Option<Value>,
}

/// What an HTTP error status and its body mean.
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> ProviderError {
    #[derive(Deserialize)]
    struct Body {
        error: Refused,
    }
    let refused = serde_json::from_slice::<Body>(body)
        .map(|body| body.error)
        .unwrap_or_default();
    classify(status, &refused, variable)
}

/// The same for an error object in a stream, whose status we do not see.
pub(super) fn in_stream(error: &Value, variable: &str) -> ProviderError {
    let refused = Refused::deserialize(error).unwrap_or_default();
    let numeric = refused
        .code
        .as_ref()
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok());
    classify(numeric.unwrap_or(500), &refused, variable)
}

fn classify(status: u16, refused: &Refused, variable: &str) -> ProviderError {
    let word = |value: &Option<Value>| {
        value
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    let (kind, code) = (word(&refused.kind), word(&refused.code));
    let message = refused.message.as_deref().unwrap_or_default();
    let is = |needle: &str| kind.contains(needle) || code.contains(needle);
    if is("context_length") {
        return ProviderError::new(
            Kind::ContextLength,
            "the conversation is too long for this model",
        )
        .saying(message);
    }
    if is("content_filter") || is("content_policy") {
        return ProviderError::new(
            Kind::Moderated,
            "the upstream's moderation refused the request",
        );
    }
    if is("insufficient_quota") {
        return ProviderError::new(
            Kind::QuotaSpent,
            format!("the quota of {variable} is spent"),
        );
    }
    match status {
        401 | 403 => ProviderError::new(
            Kind::AuthExpired,
            format!("{variable} was refused; set a valid key"),
        ),
        402 => ProviderError::new(
            Kind::QuotaSpent,
            format!("the quota of {variable} is spent"),
        ),
        404 => ProviderError {
            param: Some("model".to_owned()),
            ..ProviderError::new(Kind::ModelNotFound, "the upstream does not know this model")
        },
        429 => ProviderError::new(Kind::RateLimited, "too many requests"),
        408 | 409 | 500.. if is("rate_limit") => {
            ProviderError::new(Kind::RateLimited, "too many requests")
        }
        408 | 409 | 500.. => ProviderError::new(
            Kind::Unavailable,
            format!("the upstream failed (HTTP {status})"),
        ),
        400..500 => {
            let error = ProviderError::new(Kind::BadRequest, "the upstream refused the request")
                .saying(message);
            let error = ProviderError {
                param: refused
                    .param
                    .as_ref()
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                ..error
            };
            if code.is_empty() {
                error
            } else {
                error.with_code(&code)
            }
        }
        _ => ProviderError::new(
            Kind::Protocol,
            format!("the upstream answered with HTTP {status}"),
        ),
    }
}
