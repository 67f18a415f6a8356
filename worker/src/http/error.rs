//! Errors as clients see them: one place where a kind becomes a status, a type and a code. How they are spelled is the
//! dialect's matter ([`super::dialect`]). Source: design.md section 4, conformance section 4.

use std::{fmt, time::Duration};

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode};

use crate::{
    budget::Full,
    chat::{Invalid, Kind, ProviderError, media::Makes},
    keys::{Counted, Denied},
    providers::NoRoute,
    store::StoreError,
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

/// What a refused client, or whoever stands between, had better wait.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: &str, message: impl Into<String>) -> Self {
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

    /// 401: no key, or a wrong one.
    pub fn invalid_key() -> Self {
        Self {
            // Claude Code asks for minutes otherwise.
            should_retry: Some(false),
            ..Self::new(
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "invalid_api_key",
                "Incorrect or missing API key. Send the gateway's key as `Authorization: Bearer …`.",
            )
        }
    }

    /// 400 or 404: no provider can answer the request for this model.
    pub fn no_route(why: NoRoute, model: &str) -> Self {
        match why {
            NoRoute::UnknownModel => Self::model_not_found(model),
            NoRoute::OddPart(part) => part.into(),
            NoRoute::Unsupported(field) => Self::unsupported(&field, model),
            NoRoute::Unable(what) => Self::unable(what, model),
        }
    }

    /// 404: nobody knows the model.
    pub fn model_not_found(id: &str) -> Self {
        let id: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
        let message =
            format!("The model '{id}' does not exist here; GET /v1/models lists the models.");
        Self {
            param: Some("model".to_owned()),
            ..Self::new(
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                "model_not_found",
                message,
            )
        }
    }

    /// 404: this response is not kept, or not for this caller.
    pub fn response_not_found(id: &str) -> Self {
        let id: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
        let message = format!(
            "Response with id '{id}' not found: it was not kept, or no longer, or is not yours."
        );
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "response_not_found",
            message,
        )
    }

    /// 426: the door speaks HTTP only.
    pub fn no_upgrade() -> Self {
        Self::new(
            StatusCode::UPGRADE_REQUIRED,
            "invalid_request_error",
            "websocket_not_supported",
            "There is no WebSocket here: send a POST.",
        )
    }

    /// 400: a field that the model's provider cannot honour and that must not be dropped in silence.
    pub fn unsupported(field: &str, model: &str) -> Self {
        let message = format!("'{field}' is not supported for the model '{model}'.");
        Self {
            param: Some(field.to_owned()),
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                "unsupported_parameter",
                message,
            )
        }
    }

    /// 400: a model that is there, and makes nothing of the kind.
    pub fn unable(what: Makes, id: &str) -> Self {
        let id: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
        let what = match what {
            Makes::Text => "answers no chats",
            Makes::Image => "makes no pictures",
            Makes::Video => "makes no videos",
            Makes::Speech => "does not speak",
        };
        let message = format!(
            "The model '{id}' {what}; GET /v1/models says what each model can be asked at (hive.endpoints)."
        );
        Self {
            param: Some("model".to_owned()),
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                "model_not_supported",
                message,
            )
        }
    }

    /// 413: the body is larger than `MAX_BODY_BYTES`.
    pub fn too_large(most: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            "request_too_large",
            format!("The body is larger than {most} bytes."),
        )
    }

    /// 415: the body is packed in a way that is not understood.
    pub fn unsupported_encoding(name: &str) -> Self {
        let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
        let message = format!(
            "The content encoding '{name}' is not supported; send the body plain or in gzip, deflate, br or zstd."
        );
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request_error",
            "unsupported_encoding",
            message,
        )
    }

    /// 400: a request that says no model, where one is needed.
    pub fn model_missing() -> Self {
        Self {
            param: Some("model".to_owned()),
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                "missing_required_parameter",
                "You must provide a model; GET /v1/models lists the models.",
            )
        }
    }

    /// 400: a model that is there, and is no API's that could do this (`does`: "makes embeddings").
    pub fn no_lane(does: &str, id: &str) -> Self {
        let id: String = id.chars().filter(|c| !c.is_control()).take(100).collect();
        let message = format!(
            "The model '{id}' is none that {does}: only models of an API (OPENAI_COMPAT_n_MODELS) do that here."
        );
        Self {
            param: Some("model".to_owned()),
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                "model_not_supported",
                message,
            )
        }
    }

    /// 404: an id that is none of this caller's videos. Whether it is somebody else's, was changed or made up, nobody is told.
    pub fn video_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "video_not_found",
            "There is no video of this id.",
        )
    }

    /// 400: a video whose file is asked for before it is there.
    pub fn video_not_ready() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "video_not_ready",
            "The video is not there yet; GET /v1/videos/{id} says how far it is.",
        )
    }

    /// 416: the file has no such range.
    pub fn range_not_satisfiable() -> Self {
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "invalid_request_error",
            "range_not_satisfiable",
            "The file does not have the range that was asked for.",
        )
    }

    /// 404: one of OpenAI's own models, which nobody here has, and nobody stands in for.
    pub fn no_image_model(id: &str) -> Self {
        let mut error = Self::model_not_found(id);
        error
            .message
            .push_str(" IMAGE_MODEL or MODEL_ROUTES can name one that is to draw in its place.");
        error
    }

    /// As any provider's error, in the words that clients know of pictures, videos and speech.
    pub fn of_media(error: ProviderError) -> Self {
        let mut error = Self::from(error);
        if error.fault == Some(Kind::Moderated) {
            error.code = Some("content_policy_violation".to_owned());
        }
        error
    }

    /// 408: the body does not come.
    pub fn slow_body() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request_error",
            "request_timeout",
            "The body took too long to arrive.",
        )
    }

    /// 400 without a field to blame.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            code: None,
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                "",
                message,
            )
        }
    }

    /// 503: the worker is about to stop.
    pub fn not_ready(why: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "not_ready",
            why,
        )
    }

    /// 403: what only the owner of the gateway may do.
    pub fn only_for_the_master() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "permission_error",
            "master_key_required",
            "Only the gateway's master key (API_MASTER_KEY) may do this.",
        )
    }

    /// 403: a model that the caller's key may not use.
    pub fn model_not_allowed(model: &str) -> Self {
        let model: String = model
            .chars()
            .filter(|c| !c.is_control())
            .take(100)
            .collect();
        let message = format!(
            "This key may not use the model '{model}'; GET /v1/models lists those that it may use."
        );
        Self {
            param: Some("model".to_owned()),
            ..Self::new(
                StatusCode::FORBIDDEN,
                "permission_error",
                "model_not_allowed",
                message,
            )
        }
    }

    /// 404: no such thing of the owner's.
    pub fn no_such(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "not_found",
            format!("There is no such {what}."),
        )
    }

    /// 409: somebody else has changed it meanwhile.
    pub fn changed_meanwhile() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "invalid_request_error",
            "changed_meanwhile",
            "Somebody else has changed it at the same time. Try again.",
        )
    }

    /// 400: what was copied is no credential, or not one that its service takes. Nothing of it is repeated.
    pub fn no_credential(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "invalid_credential",
            message,
        )
    }

    /// 409: what is to be done with an account cannot be done with this one.
    pub fn not_with_this_account(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "invalid_request_error", code, message)
    }

    /// 503: the store cannot do it now.
    pub fn store(error: &StoreError) -> Self {
        Self {
            retry_after: Some(REFUSAL_WAIT),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "store_unavailable",
                format!("This cannot be done now: {error}."),
            )
        }
    }

    /// 429: the key's own limits; 503 where nobody can say how much it has used.
    pub fn denied(denied: &Denied) -> Self {
        let rate = |message: String, wait: Duration| Self {
            retry_after: Some(wait),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "rate_limit_exceeded",
                message,
            )
        };
        match denied {
            Denied::Rate {
                counted,
                most,
                wait,
            } => {
                let what = match counted {
                    Counted::Requests => "requests",
                    Counted::Tokens => "tokens",
                };
                let message = format!(
                    "This key has used its {most} {what} of this minute. Please try again in {}s.",
                    wait.as_secs() + 1
                );
                rate(message, *wait)
            }
            Denied::Streams { most } => rate(
                format!(
                    "This key is answered {most} requests at once already. Please try again in 1s."
                ),
                Duration::from_secs(1),
            ),
            Denied::Quota { window, most, wait } => Self {
                retry_after: Some(*wait),
                should_retry: Some(false),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    "insufficient_quota",
                    format!("This key has used its {most} tokens of this {window}."),
                )
            },
            Denied::Closed => Self::not_ready(
                "what this key has used cannot be looked up now, and it wants to be refused then",
            ),
        }
    }

    /// 503: the worker answers as many chats as it may.
    pub fn overloaded(most: usize) -> Self {
        let message = format!("This worker answers {most} requests already. Try again shortly.");
        Self::refusal("overloaded", &message)
    }

    /// 503: the worker takes no chats any more.
    pub fn draining() -> Self {
        Self::refusal(
            "not_ready",
            "This worker is about to stop. Try again shortly.",
        )
    }

    fn refusal(code: &str, message: &str) -> Self {
        Self {
            retry_after: Some(REFUSAL_WAIT),
            is_refusal: true,
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                code,
                message,
            )
        }
    }

    /// 431: as nginx says it.
    pub fn headers_too_large() -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "invalid_request_error",
            "headers_too_large",
            "The request headers are too large.",
        )
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
            Kind::Overloaded => Some(REFUSAL_WAIT),
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

/// What an extractor complains of: 400, in few words, as its own may repeat whatever was sent.
pub(super) fn in_openais_form(error: &impl fmt::Display, what: &str) -> ApiError {
    let words: String = error
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .take(150)
        .collect();
    ApiError::bad_request(format!("{what}: {words}."))
}

/// 404 for paths that do not exist.
pub(super) async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path: String = request.path().chars().take(100).collect();
    let method: String = request.method().as_str().chars().take(20).collect();
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        "invalid_request_error",
        "not_found",
        format!("There is no {method} {path} here."),
    ))
}

/// 405 for paths that exist under another method.
pub(super) async fn method_not_allowed(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let method: String = request.method().as_str().chars().take(20).collect();
    let message = format!("{method} is not allowed here.");
    Err(ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request_error",
        "method_not_allowed",
        message,
    ))
}
