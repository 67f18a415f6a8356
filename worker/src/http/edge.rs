//! What every request and every response goes through: request ids, CORS, the worker's name, errors in the
//! caller's dialect. Source: conformance H4, H5, H6 and E6; design.md section 6.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Instant};

use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BodySize, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode, Version,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use uuid::Uuid;

use super::{dialect::Dialect, error::ApiError, path};
use crate::{
    app::App,
    keys::{Counted, Room},
    metrics::METRICS,
    store,
};

/// Response headers that a browser may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, x-should-retry, x-hive-worker, x-hive-sticky, x-hive-ignored, x-hive-model, x-hive-cache, x-hive-size, x-hive-output-format, x-hive-missing, content-range, accept-ranges, content-disposition, openai-poll-after-ms, request-id, openai-processing-ms, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens",
);
/// Request headers that a browser may send even if it did not ask (conformance H4).
const ALLOWED: &str = "authorization, content-type, x-api-key, anthropic-version, anthropic-beta, \
    anthropic-dangerous-direct-browser-access, openai-organization, openai-project, openai-beta, x-request-id, \
    x-session-id, idempotency-key, cache-control, range, if-range";
const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS");
/// What a caller has left, of requests and of tokens: the limit, the rest, and until when.
const OF_REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const OF_TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
const NOW: HeaderValue = HeaderValue::from_static("0s");
const WORKER: HeaderName = HeaderName::from_static("x-hive-worker");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
/// Asked every few seconds by machines: counting them would drown the rest.
const PROBES: [&str; 4] = ["/health", "/ready", "/metrics", "/admin/key"];
/// Where nginx offers a refused chat to the other workers; it says in this header when that makes sense.
static ELSEWHERE: HeaderName = HeaderName::from_static("x-hive-elsewhere");
const PLACE_ELSEWHERE: &str = "@elsewhere";
/// Longest header line and all of them together, as nginx has them (`large_client_header_buffers 3 32k`, and a little
/// for what nginx adds).
const MOST_HEADER_BYTES: usize = 32 << 10;
const MOST_HEADERS_BYTES: usize = 100 << 10;
/// The request header with the caller's id, or nginx's.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What ids of our own begin with.
const REQUEST_ID_PREFIX: &str = "req_";
/// Longest request id of a caller that is taken over.
const MOST_ID_CHARS: usize = 128;

/// The id of the request, for handlers.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    /// That of a request which has come through here.
    pub(super) fn of(request: &HttpRequest) -> String {
        let extensions = request.extensions();
        let id = extensions.get::<Self>().map(|id| id.0.clone());
        id.unwrap_or_default()
    }
}

/// The middleware itself.
///
/// # Errors
/// None of its own.
pub async fn edge<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let started = Instant::now();
    // Before anything looks at it: everything below goes by the tidied path.
    path::tidy(&mut request);
    if request.method() == Method::HEAD {
        // Wherever GET is, HEAD is (RFC 9110 section 9.3.2). The connection remembers that no body may follow the head.
        request.head_mut().method = Method::GET;
    }
    // Before the body is read: an error of reading it has an id too.
    let id = request_id(request.headers());
    let dialect = Dialect::of(request.request());
    request.extensions_mut().insert(RequestId(id.clone()));
    let worker = request
        // None in a test of the middleware alone.
        .app_data::<Data<App>>()
        .and_then(|app| app.worker_header.clone());
    let asked = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .cloned();

    let mut is_refused = false;
    let mut response = if request.method() == Method::OPTIONS {
        request
            .into_response(HttpResponse::NoContent())
            .map_into_right_body()
    } else {
        // As nginx does for whoever comes past it.
        let response = if are_too_large(request.headers()) {
            let error = ApiError::headers_too_large();
            request.error_response(error).map_into_right_body()
        } else {
            // Handlers' errors are responses by now; an `Err` could only come from another middleware.
            store::in_request(next.call(request))
                .await?
                .map_into_left_body()
        };
        let error = response.response().error();
        // An error that is no response's yet is given its body here, where the dialect is known.
        match error.and_then(Error::as_error::<ApiError>) {
            Some(error) => {
                is_refused = error.is_refusal;
                let told = dialect.error_response(error, response.request(), &id);
                response.into_response(told).map_into_right_body()
            }
            None => response,
        }
    };
    // Looked for only then: nearly no answer is a refusal.
    if is_refused
        && let Some(asked) = response.request().headers().get(&ELSEWHERE)
        && asked == PLACE_ELSEWHERE
    {
        let name = HeaderName::from_static("x-accel-redirect");
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(PLACE_ELSEWHERE));
    }

    if !PROBES.contains(&response.request().path()) {
        METRICS
            .http_responses_total
            .with_label_values(&[response.status().as_str()])
            .inc();
    }

    let is_preflight = response.request().method() == Method::OPTIONS;
    if response.request().head().version < Version::HTTP_11 {
        // Callers of HTTP/1.0 know no chunks (RFC 9112 section 6.1): where the length is not known, the end of the
        // connection is the end of the body.
        let is_stream = response.response().body().size() == BodySize::Stream;
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        if is_stream {
            head.set_connection_type(ConnectionType::Close);
        }
    }
    let rooms = response
        .request()
        .extensions_mut()
        .remove::<Vec<Room>>()
        // Left there by the door, where a key with limits came in.
        .unwrap_or_default();
    let places = places(response.request());
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        for name in dialect.id_headers() {
            headers.insert(name.clone(), id.clone());
        }
    }
    if let Some(worker) = worker {
        headers.insert(WORKER, worker);
    }
    let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Up to the head, not to the end of a stream.
    headers.insert(PROCESSING_MS, took.into());
    tell_rates(headers, &rooms, places);
    // Keys travel in a header, never in a cookie, so no credentials are allowed and a star is safe.
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if is_preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            allowed_headers(asked.as_ref()),
        );
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("86400"),
        );
    } else if response.status() == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            // RFC 9110 section 15.5.2 wants it beside every 401.
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Ok(response)
}

/// The worker's own places, and how many of them are free.
fn places(request: &HttpRequest) -> Option<(u64, u64)> {
    let app = request.app_data::<Data<App>>()?;
    let most = app.settings.http.most_streams;
    let taken = app.in_flight.load(Ordering::Relaxed);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Some((count(most), count(most.saturating_sub(taken))))
}

/// What the caller has left (conformance H6): of its key's limits, else of the worker's own places. Most callers have no limits,
/// so for them nothing is gathered first.
fn tell_rates(headers: &mut HeaderMap, rooms: &[Room], places: Option<(u64, u64)>) {
    for (counted, names) in [
        (Counted::Requests, OF_REQUESTS),
        (Counted::Tokens, OF_TOKENS),
    ] {
        // Of several windows the one that has least left is what the caller will meet first.
        let of_these = rooms.iter().filter(|room| room.counted == counted);
        let (most, left, reset) = match (of_these.min_by_key(|room| room.left), places, counted) {
            (Some(room), _, _) => (room.most, room.left, seconds(room)),
            // A place is free as soon as an answer ends; nobody knows when.
            (None, Some((most, free)), Counted::Requests) => (most, free, NOW),
            (None, _, _) => continue,
        };
        for (name, value) in names.into_iter().zip([most.into(), left.into(), reset]) {
            headers.insert(name, value);
        }
    }
}

/// As OpenAI writes it: `1s`.
fn seconds(room: &Room) -> HeaderValue {
    let seconds = room.reset.as_millis().div_ceil(1000);
    HeaderValue::from_str(&format!("{seconds}s")).unwrap_or(NOW)
}

/// Whether nginx would refuse these headers, for whoever comes past it.
fn are_too_large(headers: &HeaderMap) -> bool {
    // Two for `: `, two for the line's end.
    let lines = || {
        headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
    };
    lines().any(|line| line > MOST_HEADER_BYTES) || lines().sum::<usize>() > MOST_HEADERS_BYTES
}

/// The caller's id if it is short and printable, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let theirs = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_sound = |id: &&str| {
        !id.is_empty()
            && id.len() <= MOST_ID_CHARS
            && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    // A long or odd id would travel through every log.
    theirs.filter(is_sound).map_or_else(new_id, str::to_owned)
}

fn new_id() -> String {
    let mut digits = Uuid::encode_buffer();
    let mut id = String::with_capacity(REQUEST_ID_PREFIX.len() + digits.len());
    id.push_str(REQUEST_ID_PREFIX);
    id.push_str(Uuid::new_v4().simple().encode_lower(&mut digits));
    id
}

/// What was asked for, reflected, as far as the names are header names; the usual ones are always allowed.
fn allowed_headers(asked: Option<&HeaderValue>) -> HeaderValue {
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let asked = asked
        .and_then(|asked| asked.to_str().ok())
        .unwrap_or_default();
    let usual = ALLOWED.split(", ");
    let asked = asked.split(',').map(str::trim).filter(is_name).take(64);
    // A set: a browser asks for what is allowed anyway, and a name need not stand there twice.
    let names: BTreeSet<String> = usual.chain(asked).map(str::to_ascii_lowercase).collect();
    let names: Vec<String> = names.into_iter().collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(ALLOWED))
}
