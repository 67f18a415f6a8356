//! Which dialect a request speaks, and what that dialect has of its own beside its bodies: how an error is spelled, and
//! in which headers a request's id is told. Errors have one source, [`ApiError`], and one spelling a dialect, which stands
//! here; the edge answers a request's error in it, and the door's voice an error in a stream.
//!
//! Nginx tells the dialects of its own errors apart by the same signs (`map $hive_error` in nginx.conf).
//! Source: design.md section 4, conformance E1, E6, H5.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderName},
    },
};
use serde_json::{Value, json};

use super::{
    error::{ApiError, Overflow},
    place,
};
use crate::chat::Kind;

/// The header that only callers of Anthropic's send.
static VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Anthropic's name of a request's id, and the gateway's own.
static ID_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-request-id"),
];

/// A dialect that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's; also of everybody who does not say.
    OpenAi,
    /// OpenAI's at the door of Responses, whose clients know other codes.
    Responses,
    /// Anthropic's: by its version header, or by the path of its door.
    Anthropic,
}

impl Dialect {
    /// The dialect that a request is answered in.
    pub fn of(request: &HttpRequest) -> Self {
        if request.headers().contains_key(&VERSION) {
            // A header says what the path does not: a client that names it speaks the dialect.
            return Self::Anthropic;
        }
        // The door is what follows the base, and what lies below a door speaks as it does.
        let mut steps = request.path().split('/').filter(|step| !step.is_empty());
        match steps.find(|step| *step != "v1") {
            Some("messages" | "anthropic") => Self::Anthropic,
            Some("responses") => Self::Responses,
            Some(_) | None => Self::OpenAi,
        }
    }

    /// The headers that tell a request's id.
    pub fn id_headers(self) -> &'static [HeaderName] {
        let [_, own] = &ID_HEADERS;
        match self {
            Self::OpenAi | Self::Responses => std::slice::from_ref(own),
            // Whoever looks for the gateway's own header finds it at every door.
            Self::Anthropic => &ID_HEADERS,
        }
    }

    /// The body of an error. `request_id` is told only where the dialect has a member for it.
    pub fn error_body(self, error: &ApiError, request_id: &str) -> Value {
        match self {
            Self::OpenAi => openai(error, error.code.as_deref()),
            Self::Responses => openai(error, responses_code(error).or(error.code.as_deref())),
            Self::Anthropic => anthropic(error, anthropic_kind(error.status), request_id),
        }
    }

    /// The same once a stream has begun, where no status says any more whether another attempt may help.
    pub fn error_in_stream(self, error: &ApiError, request_id: &str) -> Value {
        match (self, error.fault) {
            // `api_error` is the end of a session for agents that decide by the type alone.
            (Self::Anthropic, Some(Kind::Unavailable)) => {
                anthropic(error, "overloaded_error", request_id)
            }
            (Self::OpenAi | Self::Responses | Self::Anthropic, _) => {
                self.error_body(error, request_id)
            }
        }
    }

    /// The whole response that tells of an error.
    pub fn error_response(
        self,
        error: &ApiError,
        request: &HttpRequest,
        request_id: &str,
    ) -> HttpResponse {
        // Nginx asks the next worker only after 503, so this one keeps it.
        let is_behind_nginx = request.headers().contains_key(&place::STICKY);
        let mut response = HttpResponse::build(self.status(error, is_behind_nginx));
        if let Some(wait) = error.retry_after {
            // Whole seconds, rounded up; SDKs of both kinds read this form.
            response.insert_header((
                header::RETRY_AFTER,
                wait.as_secs_f64().ceil().max(1.0).to_string(),
            ));
        }
        if let Some(should_retry) = error.should_retry {
            response.insert_header(("x-should-retry", should_retry.to_string()));
        }
        response.json(self.error_body(error, request_id))
    }

    fn status(self, error: &ApiError, is_behind_nginx: bool) -> StatusCode {
        let is_overload = error.status == StatusCode::SERVICE_UNAVAILABLE;
        // Only after 503 does nginx send a refused POST on to the next worker.
        let is_nginxs = error.is_refusal && is_behind_nginx;
        if self == Self::Anthropic && is_overload && !is_nginxs {
            StatusCode::from_u16(529).unwrap_or(error.status)
        } else {
            error.status
        }
    }
}

fn openai(error: &ApiError, code: Option<&str>) -> Value {
    json!({"error": {"message": error.message, "type": error.kind, "param": error.param, "code": code}})
}

/// The codes that clients of Responses act on, where they are others than the gateway's own.
fn responses_code(error: &ApiError) -> Option<&'static str> {
    match error.fault? {
        Kind::RateLimited => Some("rate_limit_exceeded"),
        Kind::QuotaSpent => Some("insufficient_quota"),
        _ => None,
    }
}

/// `error.code` of a `response.failed`: Codex acts on these words, and asks again after any other.
pub fn failed_code(error: &ApiError) -> &'static str {
    match error.fault {
        Some(Kind::ContextLength) => "context_length_exceeded",
        Some(Kind::BadRequest | Kind::FileRejected) => "invalid_prompt",
        Some(_) | None => responses_code(error).unwrap_or("server_error"),
    }
}

fn anthropic(error: &ApiError, kind: &str, request_id: &str) -> Value {
    // Claude Code looks for these words alone, from the first to the last, and compacts the conversation then.
    let overflow = error.overflow.map(|Overflow { tokens, most }| {
        format!("prompt is too long: {tokens} tokens > {most} maximum")
    });
    let message = overflow.as_ref().unwrap_or(&error.message);
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})
}

/// `error.type` in Anthropic's words (conformance E6).
fn anthropic_kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{body::to_bytes, test::TestRequest};

    use super::*;
    use crate::chat::{Kind, ProviderError};

    #[test]
    fn a_dialect_shows_in_the_header_and_in_the_path() {
        for (path, version, expected) in [
            ("/v1/chat/completions", None, Dialect::OpenAi),
            ("/v1/models?limit=3", None, Dialect::OpenAi),
            ("/v1/models", Some("2023-06-01"), Dialect::Anthropic),
            ("/v1/chat/completions", Some(""), Dialect::Anthropic),
            ("/v1/messages", None, Dialect::Anthropic),
            ("/messages/?beta=true", None, Dialect::Anthropic),
            ("/v1/some-messages", None, Dialect::OpenAi),
            ("/v1/messages/x", None, Dialect::Anthropic),
            ("/v1/messages/count_tokens", None, Dialect::Anthropic),
            ("//v1/v1//messages//x/", None, Dialect::Anthropic),
            ("/anthropic/v1/messages", None, Dialect::Anthropic),
            ("/anthropic/v1/models", None, Dialect::Anthropic),
            ("/v1/threads/1/messages", None, Dialect::OpenAi),
            ("/messages2", None, Dialect::OpenAi),
            ("/v1/responses", None, Dialect::Responses),
            ("/responses/r1/cancel", None, Dialect::Responses),
            ("/v1/responses", Some("2023-06-01"), Dialect::Anthropic),
            ("/", None, Dialect::OpenAi),
        ] {
            let mut request = TestRequest::with_uri(path);
            if let Some(version) = version {
                request = request.insert_header(("anthropic-version", version));
            }
            let dialect = Dialect::of(&request.to_http_request());
            assert_eq!(dialect, expected, "{path} {version:?}");
        }
    }

    /// Status, `Retry-After`, `x-should-retry` and body of an error.
    async fn told(
        dialect: Dialect,
        error: &ApiError,
        behind_nginx: bool,
    ) -> (u16, String, String, Value) {
        let mut request = TestRequest::default();
        if behind_nginx {
            request = request.insert_header((place::STICKY.clone(), "key"));
        }
        let response = dialect.error_response(error, &request.to_http_request(), "r1");
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let (status, wait, retry) = (
            response.status().as_u16(),
            header("retry-after"),
            header("x-should-retry"),
        );
        let body = to_bytes(response.into_body()).await.unwrap();
        (status, wait, retry, serde_json::from_slice(&body).unwrap())
    }

    #[actix_web::test]
    async fn one_error_has_one_spelling_a_dialect() {
        let error = ApiError::from(ProviderError::new(Kind::QuotaSpent, "no more today"));
        let (status, wait, retry, body) = told(Dialect::OpenAi, &error, false).await;
        assert_eq!((status, &*wait, &*retry), (429, "10", "false"));
        assert_eq!(
            body,
            json!({"error": {"message": "no more today", "type": "rate_limit_error", "param": null, "code": "upstream_rate_limited"}})
        );
        let (status, wait, retry, body) = told(Dialect::Anthropic, &error, false).await;
        assert_eq!((status, &*wait, &*retry), (429, "10", "false"));
        assert_eq!(
            body,
            json!({"type": "error", "error": {"type": "rate_limit_error", "message": "no more today"}, "request_id": "r1"})
        );
    }

    #[test]
    fn the_door_of_responses_has_codes_of_its_own() {
        for (kind, before, after) in [
            (
                Kind::RateLimited,
                "rate_limit_exceeded",
                "rate_limit_exceeded",
            ),
            (Kind::QuotaSpent, "insufficient_quota", "insufficient_quota"),
            (
                Kind::ContextLength,
                "context_length_exceeded",
                "context_length_exceeded",
            ),
            (Kind::FileRejected, "file_rejected", "invalid_prompt"),
            (Kind::Unavailable, "upstream_unavailable", "server_error"),
            (Kind::AuthExpired, "upstream_auth_expired", "server_error"),
        ] {
            let error = ApiError::from(ProviderError::new(kind, "x"));
            let body = Dialect::Responses.error_body(&error, "r1");
            assert_eq!(body["error"]["code"], before, "{kind:?}");
            assert_eq!(failed_code(&error), after, "{kind:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_told_as_claude_code_reads_it() {
        let provider = Some("kimi".into());
        let long = ProviderError {
            provider,
            ..ProviderError::new(Kind::ContextLength, "the conversation is too long")
        };
        for (tokens, window, expected) in [
            (
                5000,
                Some(4096),
                "prompt is too long: 5000 tokens > 4096 maximum",
            ),
            (
                3000,
                Some(4096),
                "prompt is too long: 3000 tokens > 2700 maximum",
            ),
            (1001, None, "prompt is too long: 1001 tokens > 900 maximum"),
            (0, None, "prompt is too long: 2 tokens > 1 maximum"),
        ] {
            let error = ApiError::from(long.clone()).measured(|| Overflow::of(tokens, window));
            let body = Dialect::Anthropic.error_body(&error, "r1");
            assert_eq!(body["error"]["message"], expected);
            assert_eq!(body["error"]["type"], "invalid_request_error");
            let body = Dialect::OpenAi.error_body(&error, "r1");
            assert_eq!(
                body["error"]["message"],
                "kimi: the conversation is too long"
            );
        }
        let other = ApiError::from(ProviderError::new(Kind::BadRequest, "x"));
        assert_eq!(other.measured(|| Overflow::of(9, None)).overflow, None);
    }

    #[test]
    fn an_error_amid_a_stream_says_by_its_type_that_it_passes() {
        for (kind, before, after) in [
            (Kind::Unavailable, "api_error", "overloaded_error"),
            (Kind::Timeout, "api_error", "api_error"),
            (Kind::Protocol, "api_error", "api_error"),
            (Kind::Overloaded, "overloaded_error", "overloaded_error"),
            (Kind::RateLimited, "rate_limit_error", "rate_limit_error"),
        ] {
            let error = ApiError::from(ProviderError::new(kind, "x"));
            let dialect = Dialect::Anthropic;
            let told = dialect.error_body(&error, "r1");
            assert_eq!(told["error"]["type"], before, "{kind:?}");
            let told = dialect.error_in_stream(&error, "r1");
            assert_eq!(told["error"]["type"], after, "{kind:?}");
        }
    }

    #[actix_web::test]
    async fn a_refusal_is_503_where_nginx_goes_on_after_it() {
        let refusal = ApiError::draining();
        let unready = ApiError::not_ready("no provider");
        for (dialect, error, behind_nginx, expected) in [
            (Dialect::OpenAi, &refusal, true, 503),
            (Dialect::OpenAi, &refusal, false, 503),
            (Dialect::Anthropic, &refusal, true, 503),
            (Dialect::Anthropic, &refusal, false, 529),
            (Dialect::Anthropic, &unready, true, 529),
        ] {
            let (status, _, _, body) = told(dialect, error, behind_nginx).await;
            assert_eq!(status, expected, "{dialect:?} {error:?} {behind_nginx}");
            if dialect == Dialect::Anthropic {
                assert_eq!(body["error"]["type"], "overloaded_error");
            }
        }
    }
}
