//! The errors that the doors have themselves, without anybody upstream: each with its status, its type and its code.

use std::time::Duration;

use actix_web::http::StatusCode;

use super::{ApiError, plain};
use crate::{
    chat::{Kind, ProviderError, media::Makes},
    keys::{Counted, Denied},
    providers::{NoRoute, registry},
    store::StoreError,
};

/// What a refused client, or whoever stands between, had better wait.
pub(super) const REFUSAL_WAIT: Duration = Duration::from_secs(2);

impl ApiError {
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

    /// Where the model that was asked for is to blame.
    fn of_model(
        status: StatusCode,
        kind: &'static str,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            param: Some("model".to_owned()),
            ..Self::new(status, kind, code, message)
        }
    }

    /// 404: nobody knows the model.
    pub fn model_not_found(id: &str) -> Self {
        let id = plain(id, 100);
        let message =
            format!("The model '{id}' does not exist here; GET /v1/models lists the models.");
        Self::of_model(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "model_not_found",
            message,
        )
    }

    /// 404: this response is not kept, or not for this caller.
    pub fn response_not_found(id: &str) -> Self {
        let id = plain(id, 100);
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
        let id = plain(id, 100);
        let what = match what {
            Makes::Text => "answers no chats",
            Makes::Image => "makes no pictures",
            Makes::Video => "makes no videos",
            Makes::Speech => "does not speak",
        };
        let message = format!(
            "The model '{id}' {what}; GET /v1/models says what each model can be asked at (hive.endpoints)."
        );
        Self::of_model(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "model_not_supported",
            message,
        )
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
        let name = plain(name, 40);
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
        Self::of_model(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "missing_required_parameter",
            "You must provide a model; GET /v1/models lists the models.",
        )
    }

    /// 400: a model that is there, and is no API's that could do this (`does`: "makes embeddings").
    pub fn no_lane(does: &str, id: &str) -> Self {
        let id = plain(id, 100);
        let message = format!(
            "The model '{id}' is none that {does}: only models of an API ({}) do that here.",
            registry::api_variable()
        );
        Self::of_model(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "model_not_supported",
            message,
        )
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
        let model = plain(model, 100);
        let message = format!(
            "This key may not use the model '{model}'; GET /v1/models lists those that it may use."
        );
        Self::of_model(
            StatusCode::FORBIDDEN,
            "permission_error",
            "model_not_allowed",
            message,
        )
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

    pub(super) fn refusal(code: &str, message: &str) -> Self {
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
