//! What the LangFast page sends, and what refusals mean. Source: `wire/langfast.md` sections 2, 3, 4 and 7.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    account::{Guest, VARIABLE},
    prompt::Meta,
    session,
};
use crate::{
    accounts::Secret,
    chat::{Kind, ProviderError},
    upstream::Request,
};

/// What the page's browser says of itself (section 4: optional, harmless).
const BROWSER: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("origin", "https://langfa.st"),
    ("referer", "https://langfa.st/"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    ),
];

/// `POST /auth/v1/signup`: a new anonymous user (section 2, step 1).
pub(super) fn sign_up(base_url: &str, anon_key: &Secret) -> Request {
    Request::post("sign_up", format!("{base_url}/auth/v1/signup"))
        .once()
        .header("apikey", anon_key.expose())
        .headers(BROWSER)
        .body("{}")
}

/// `POST /auth/v1/token`: a new access and a new refresh token (section 2, step 4).
pub(super) fn refresh(base_url: &str, anon_key: &Secret, refresh_token: &Secret) -> Request {
    let url = format!("{base_url}/auth/v1/token?grant_type=refresh_token");
    Request::post("refresh", url)
        .once()
        .header("apikey", anon_key.expose())
        .headers(BROWSER)
        .json(&json!({"refresh_token": refresh_token.expose()}))
}

/// The WebSocket of the events (section 6).
pub(super) fn socket(socket_base_url: &str) -> Request {
    let url = format!("{socket_base_url}/socket.io/?EIO=4&transport=websocket");
    let browser = BROWSER
        .iter()
        .filter(|(name, _)| matches!(*name, "origin" | "user-agent"));
    browser.fold(Request::get("socket", url), |request, (name, value)| {
        request.header(name, value)
    })
}

/// The auth object of the default namespace (section 6, row 2).
pub(super) fn socket_auth(guest: &Guest) -> String {
    json!({"token": guest.access_token.expose()}).to_string()
}

/// Where and as whom a call is made.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) base_url: &'a str,
    pub(super) anon_key: &'a Secret,
    pub(super) guest: &'a Guest,
}

impl Caller<'_> {
    fn post(self, step: &'static str, path: &str) -> Request {
        Request::post(step, format!("{}{path}", self.base_url))
            .header("apikey", self.anon_key.expose())
            .header(
                "authorization",
                format!("Bearer {}", self.guest.access_token.expose()),
            )
            .headers(BROWSER)
    }
}

/// `POST /functions/v1/initiate-prompt-run`; `run_id` is new for every attempt (section 4).
pub(super) fn run(caller: Caller<'_>, run_id: &str, prompt_id: &str, meta: &Meta) -> Request {
    caller
        .post("run", "/functions/v1/initiate-prompt-run")
        .once()
        .json(&json!({
            "run_id": run_id,
            "prompt_id": prompt_id,
            "created_by": caller.guest.user_id,
            "test_cases": [],
            "prompt_meta": meta,
        }))
}

/// `POST /rest/v1/rpc/create_prompt`: a prompt of our own, for when the constant one is refused (section 4).
pub(super) fn create_prompt(caller: Caller<'_>, unix_ms: u64, meta: &Meta) -> Request {
    caller
        .post("create_prompt", "/rest/v1/rpc/create_prompt")
        .json(&json!({
            "p_name": format!("api-{unix_ms}"),
            "p_icon": "openai",
            "p_meta": meta,
            "p_test_cases": [{"name": "API Test Case", "variables": []}],
        }))
}

/// The run's answer: which execution is ours, if it says so (section 4). Nothing else in it matters, and a client
/// must live without it.
pub(super) fn job(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Run {
        jobs: Vec<Job>,
    }
    #[derive(Deserialize)]
    struct Job {
        job_id: String,
    }
    // What does not parse has no jobs: then every event counts (section 6).
    let run: Run = serde_json::from_slice(body).ok()?;
    run.jobs
        .into_iter()
        .map(|job| job.job_id)
        .find(|id| !id.is_empty())
}

/// The answer of [`create_prompt`]: the prompt's id as a JSON string.
///
/// # Errors
/// Anything else.
pub(super) fn prompt_id(body: &[u8]) -> Result<String, ProviderError> {
    // A JSON string, and nothing else: the answer is the id (section 4).
    let id: Result<String, _> = serde_json::from_slice(body);
    id.ok()
        .filter(|id| !id.is_empty())
        .ok_or_else(|| ProviderError::malformed("prompt id"))
}

/// What an error body says, in lower case, whichever member it uses.
fn words(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut words = String::new();
    for member in ["error_code", "code", "error", "message", "msg", "hint"] {
        // An object or a text: both are seen (section 7).
        let value = body
            .get(member)
            .map(|value| value.get("message").unwrap_or(value));
        if let Some(word) = value.and_then(Value::as_str) {
            words.push_str(&word.to_ascii_lowercase());
            words.push('\n');
        }
    }
    words
}

/// Words that ask an anonymous user to log in (section 7, INFERRED).
const LOG_IN: &[&str] = &["log in", "login", "sign in", "signin", "log-in", "sign-in"];
/// Words of a limit that is over at midnight UTC (section 7, INFERRED).
const DAILY: &[&str] = &[
    "daily",
    "per day",
    "a day",
    "today",
    "monthly",
    "per month",
    "this month",
];
const DAY_SECONDS: u64 = 86_400;
/// How long a credential whose quota is spent rests (section 2, pool rules).
const QUOTA_REST: Duration = Duration::from_secs(3600);
/// How long a door that is closed, and not busy, is left alone (section 2).
const CLOSED_REST: Duration = Duration::from_secs(6 * 3600);

/// A run or a prompt that was refused to a guest or to the user's own session; the time is Unix seconds.
pub(super) fn refusal(status: u16, body: &[u8], is_own: bool, now: u64) -> ProviderError {
    let words = words(body);
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    // In this order: a refused key is not the guest's fault.
    match status {
        401 | 403 if is_key_refused(status, body) => key_refused(),
        // Anonymous running is closed: no other guest would fare better.
        401 | 403 if !is_own && says(LOG_IN) => closed(),
        401 | 403 => guest_refused(is_own),
        429 if says(DAILY) => ProviderError::new(Kind::QuotaSpent, "the limit of the day is spent")
            // Section 7: the limit of the day ends at midnight UTC.
            .with_retry_after(Some(Duration::from_secs(DAY_SECONDS - now % DAY_SECONDS))),
        429 if says(&["usage limit", "sign up", "quota"]) => {
            ProviderError::new(Kind::QuotaSpent, "the guest's quota is spent")
                .with_retry_after(Some(QUOTA_REST))
        }
        429 => ProviderError::new(Kind::RateLimited, "too many requests"),
        400 | 404 | 422 if says_unknown_model(&words) => ProviderError {
            param: Some("model".to_owned()),
            ..ProviderError::new(Kind::ModelNotFound, "the service does not know this model")
        },
        // Ours are new each time, so another try brings another id.
        409 => ProviderError::new(Kind::Unavailable, "the service took the run for an old one"),
        500.. => ProviderError::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {status}"),
        ),
        _ => ProviderError::new(
            Kind::Protocol,
            format!("the service refused the run (HTTP {status})"),
        ),
    }
}

/// Whether it is the publishable key that was refused, and not the guest.
pub(super) fn is_key_refused(status: u16, body: &[u8]) -> bool {
    let words = words(body);
    // The same words for both calls: the key travels in their header.
    matches!(status, 401 | 403) && (words.contains("api key") || words.contains("apikey"))
}

fn says_unknown_model(words: &str) -> bool {
    words.contains("model")
        && [
            "unknown",
            "not found",
            "not supported",
            "unsupported",
            "invalid",
            "not exist",
            "not available",
        ]
        .iter()
        .any(|phrase| words.contains(phrase))
}

/// Whether a refused run may go through with a prompt of our own (section 1, "prompt id").
pub(super) fn is_unknown_prompt(status: u16, error: &ProviderError) -> bool {
    status == 404 && error.kind != Kind::ModelNotFound
}

/// A sign-up that was refused.
pub(super) fn sign_up_refusal(status: u16, body: &[u8]) -> ProviderError {
    let words = words(body);
    let says = |phrase| words.contains(phrase);
    match status {
        // Before the status: a captcha is told under several of them.
        _ if says("captcha") => ProviderError::new(
            Kind::Verification,
            "the service wants a human check before it lets guests in",
        )
        .with_retry_after(Some(CLOSED_REST)),
        429 => ProviderError::new(
            Kind::RateLimited,
            "the service lets no more guests in for now",
        ),
        401 | 403 => key_refused(),
        422 => closed(),
        _ if says("disabled") => closed(),
        500.. => ProviderError::new(
            Kind::Unavailable,
            format!("the sign-up answered with HTTP {status}"),
        ),
        _ => ProviderError::new(
            Kind::Protocol,
            format!("the sign-up was refused (HTTP {status})"),
        ),
    }
}

fn closed() -> ProviderError {
    let message = format!(
        "the service lets no guests in any more; log in at langfa.st and set {}",
        session::VARIABLE
    );
    ProviderError::new(Kind::Protocol, message)
        .with_code("upstream_signup_closed")
        .with_retry_after(Some(CLOSED_REST))
}

/// A refresh that was refused: the guest is lost, unless the service was merely busy.
pub(super) fn refresh_refusal(status: u16, body: &[u8], is_own: bool) -> ProviderError {
    // A refused key is passing: with another one the guest may still be good.
    match status {
        401 | 403 if is_key_refused(status, body) => ProviderError {
            kind: Kind::Unavailable,
            ..key_refused()
        },
        429 => ProviderError::new(Kind::RateLimited, "too many refreshes"),
        400..500 => guest_refused(is_own),
        _ => ProviderError::new(
            Kind::Unavailable,
            format!("the refresh answered with HTTP {status}"),
        ),
    }
}

fn key_refused() -> ProviderError {
    let message = format!(
        "{VARIABLE} was refused; copy the publishable key anew from the requests that langfa.st makes"
    );
    ProviderError::new(Kind::AuthExpired, message)
}

/// The service does not know the guest, or the user's own session, any more.
pub(super) fn guest_refused(is_own: bool) -> ProviderError {
    let message = if is_own {
        let variable = session::VARIABLE;
        format!("{variable} was refused; log in at langfa.st again and paste the new session")
    } else {
        format!("the service refused the guest; should it go on, renew {VARIABLE}")
    };
    ProviderError::new(Kind::AuthExpired, message)
}

/// A run that has failed: the `error` of its last chunk (section 7).
pub(super) fn failure(error: &Value) -> ProviderError {
    let member = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let message = error.as_str().unwrap_or_else(|| member("message"));
    // Every member of a stranger's error at once: which of them says it is not known.
    let words = format!("{} {} {message}", member("code"), member("type")).to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    if says(&[
        "content_policy",
        "content policy",
        "content_filter",
        "content filter",
    ]) {
        return ProviderError::new(
            Kind::Moderated,
            "the service's moderation refused the request",
        );
    }
    if says(&["context_length", "context length", "maximum context"]) {
        return ProviderError::new(
            Kind::ContextLength,
            "the conversation is too long for this model",
        );
    }
    if says(&[
        "unsupported parameter",
        "unsupported_parameter",
        "unsupported value",
        "unsupported_value",
        "invalid_request",
    ]) {
        // The name stands between quotes in OpenAI's own words.
        let param = message.split('\'').nth(1).filter(|param| !param.is_empty());
        return ProviderError {
            param: param.map(|param| param.chars().take(64).collect()),
            ..ProviderError::new(Kind::BadRequest, "the model refused the request").saying(message)
        };
    }
    ProviderError::new(Kind::Unavailable, "the run failed")
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
