//! Errors as clients see them: one place where a kind becomes a status, a type and a code. How they are spelled is the
//! dialect's matter ([`super::dialect`]). Source: design.md section 4, conformance section 4.

mod own;

use std::{fmt, time::Duration};

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode};

use crate::{
    budget::Full,
    chat::{Invalid, Kind, ProviderError},
};

/// An error on its way to a client, in the terms of the table in design.md section 4.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// `error.type`.
    pub kind: &'static str,
    /// `error.code`.
    pub code: Option<String>,
    /// `error.param`.
    pub param: Option<String>,
    /// `error.message`.
    pub message: String,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// `x-should-retry`, which the official SDKs obey: `false` where another attempt cannot help.
    pub should_retry: Option<bool>,
    /// Nothing has been done for the request, and another worker may fare better: nginx asks the next one.
    pub is_refusal: bool,
    /// What went wrong upstream, for dialects whose words are finer than these, or others once a stream has begun.
    pub fault: Option<Kind>,
    /// Of a conversation that is too long, for dialects that tell it.
    pub overflow: Option<Overflow>,
}

/// By how much a conversation is too long. Both are estimates, and the first is the larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Tokens that it has.
    pub tokens: u64,
    /// Tokens that it may have.
    pub most: u64,
}

impl Overflow {
    /// `window`: how many tokens the model takes, where somebody knows. The service has refused the conversation, so an
    /// estimate that says that it would fit is wrong, and so is a window that it would fit into.
    pub fn of(tokens: u64, window: Option<u64>) -> Self {
        let tokens = tokens.max(2);
        // Two at least, so that there is something to say.
        let window = window.filter(|window| *window < tokens);
        Self {
            tokens,
            // Agents drop as much as is said to be too much: of a window that nobody knows a tenth is a step that helps.
            most: window.unwrap_or_else(|| tokens - tokens.div_ceil(10)),
        }
    }
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            code: Some(code.to_owned()),
            param: None,
            message: message.into(),
            retry_after: None,
            should_retry: None,
            is_refusal: false,
            fault: None,
            overflow: None,
        }
    }

    /// The same error, with `overflow` where it says that the conversation is too long.
    #[must_use]
    pub fn measured(mut self, overflow: impl FnOnce() -> Overflow) -> Self {
        // Once: what was measured further in is nearer.
        if self.fault == Some(Kind::ContextLength) {
            self.overflow = self.overflow.or_else(|| Some(overflow()));
        }
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The bare status: the error travels with the response (`HttpResponse::error`) to the edge, which knows the request
    /// and so the dialect, and gives it its body.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status)
    }
}

/// 503 `overloaded`: nothing has been done for the request.
impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        Self::refusal("overloaded", &format!("Try again shortly: {full}."))
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self {
            param: invalid.param,
            code: invalid.code.map(str::to_owned),
            ..Self::bad_request(invalid.message)
        }
    }
}

impl From<ProviderError> for ApiError {
    fn from(error: ProviderError) -> Self {
        const INVALID: &str = "invalid_request_error";
        const UPSTREAM: &str = "upstream_error";
        let (status, kind, code, should_retry) = match error.kind {
            Kind::BadRequest => (400, INVALID, None, None),
            Kind::ContextLength => (400, INVALID, Some("context_length_exceeded"), None),
            Kind::FileRejected => (400, INVALID, Some("file_rejected"), None),
            Kind::ModelNotFound => (404, INVALID, Some("model_not_found"), None),
            Kind::NotConfigured => (
                503,
                "service_unavailable",
                Some("provider_not_configured"),
                Some(false),
            ),
            Kind::AccountNotConfigured => (
                503,
                "provider_error",
                Some("account_not_configured"),
                Some(false),
            ),
            Kind::Overloaded => (503, "service_unavailable", Some("overloaded"), None),
            Kind::Moderated => (400, INVALID, Some("content_filter"), None),
            Kind::AuthExpired => (502, UPSTREAM, Some("upstream_auth_expired"), Some(false)),
            // Never 401 (conformance E4): the caller's own key is right.
            Kind::Forbidden => (403, "permission_error", Some("upstream_forbidden"), None),
            Kind::RateLimited => (429, "rate_limit_error", Some("upstream_rate_limited"), None),
            Kind::QuotaSpent => (
                429,
                "rate_limit_error",
                Some("upstream_rate_limited"),
                Some(false),
            ),
            Kind::Verification => (
                502,
                UPSTREAM,
                Some("upstream_verification_required"),
                Some(false),
            ),
            Kind::Unavailable => (502, UPSTREAM, Some("upstream_unavailable"), None),
            Kind::Timeout => (504, UPSTREAM, Some("upstream_timeout"), None),
            // The dispatcher keeps a cut to itself: told to a caller, it would be a fault of ours.
            Kind::Protocol | Kind::Cut => (502, UPSTREAM, Some("upstream_protocol_error"), None),
        };
        let retry_after = match error.kind {
            Kind::Overloaded => Some(own::REFUSAL_WAIT),
            Kind::RateLimited | Kind::QuotaSpent => {
                Some(error.retry_after.unwrap_or(Duration::from_secs(10)))
            }
            _ => error.retry_after,
        };
        let words = error.words();
        let message = match &error.provider {
            // A model's name does not tell who answered.
            Some(provider) => format!("{provider}: {words}"),
            None => words.into_owned(),
        };
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
            kind,
            // The provider's own code counts: it is what the documentation names.
            code: error.code.or_else(|| code.map(str::to_owned)),
            param: error.param,
            message,
            retry_after,
            should_retry: should_retry.or_else(|| error.is_lasting.then_some(false)),
            is_refusal: false,
            fault: Some(error.kind),
            overflow: None,
        }
    }
}

/// What a client has sent, as it may stand in an error or a log line: so many characters at most, none that controls a terminal.
pub(in crate::http) fn plain(text: &str, most: usize) -> String {
    let shown = text.chars().filter(|c| !c.is_control());
    shown.take(most).collect()
}

/// What an extractor complains of: 400, in few words, as its own may repeat whatever was sent.
pub(super) fn in_openais_form(error: &impl fmt::Display, what: &str) -> ApiError {
    let words = plain(&error.to_string(), 150);
    ApiError::bad_request(format!("{what}: {words}."))
}

/// 404 for paths that do not exist.
pub(super) async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = plain(request.path(), 100);
    let method = plain(request.method().as_str(), 20);
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        "invalid_request_error",
        "not_found",
        format!("There is no {method} {path} here."),
    ))
}

/// 405 for paths that exist under another method.
pub(super) async fn method_not_allowed(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let method = plain(request.method().as_str(), 20);
    let message = format!("{method} is not allowed here.");
    Err(ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request_error",
        "method_not_allowed",
        message,
    ))
}
