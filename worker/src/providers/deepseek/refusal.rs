//! What the service says instead of an answer, and what that means. HTTP 200 says nothing: most refusals come with it.
//! Source: `wire/deepseek.md` sections 3 and 7; the kinds are those of design.md section 4.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    chat::{Kind, ProviderError},
    upstream::TransportError,
};

/// Why a call was refused, as far as the flow can do something about it.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The token: one login may help.
    Token,
    /// The proof of work: a new one may help, once.
    Proof,
    /// The ids of session, message or files: a new session may help, once.
    Stale,
    /// Nothing helps, or the dispatcher knows what does.
    Final(ProviderError),
}

impl Refusal {
    /// What is told when nothing more is tried. `variable`: the one to renew.
    pub(super) fn into_error(self, variable: &str) -> ProviderError {
        match self {
            Self::Token => ProviderError::new(
                Kind::AuthExpired,
                format!(
                    "{variable} was refused; sign in again at chat.deepseek.com and paste the new value"
                ),
            ),
            Self::Proof => ProviderError::new(
                Kind::Protocol,
                "the service did not accept the proof of work",
            )
            .with_code("upstream_pow_rejected"),
            Self::Stale => ProviderError::new(
                Kind::Protocol,
                "the service does not know its own conversation",
            )
            .with_code("upstream_session_refused"),
            Self::Final(error) => error,
        }
    }
}

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Self::Final(error)
    }
}

impl From<TransportError> for Refusal {
    fn from(error: TransportError) -> Self {
        Self::Final(error.into())
    }
}

/// The envelope of every JSON answer (section 3).
#[derive(Deserialize)]
struct Envelope<'a> {
    code: Option<i64>,
    msg: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    /// Of a body that the service's own checks refused (HTTP 422).
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Business<'a> {
    biz_code: Option<i64>,
    biz_msg: Option<String>,
    #[serde(borrow)]
    biz_data: Option<&'a RawValue>,
}

/// The head of an answer, as far as it says why there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    /// `x-amzn-waf-action` is there: the edge wants something of a browser.
    pub(super) is_challenged: bool,
    pub(super) retry_after: Option<Duration>,
    /// Milliseconds since the Unix epoch.
    pub(super) now: u64,
}

/// The `biz_data` of a short answer, which must be a success in all its layers.
///
/// # Errors
/// What the refusal in it means.
pub(super) fn data<'a, T: Deserialize<'a>>(head: Head, body: &'a [u8]) -> Result<T, Refusal> {
    let business = success(head, body)?;
    let data = business.biz_data.map_or("null", RawValue::get);
    serde_json::from_str(data).map_err(|_| ProviderError::malformed("answer").into())
}

/// What an answer that is no event stream means.
pub(super) fn refusal(head: Head, body: &[u8]) -> Refusal {
    match success(head, body) {
        Err(refusal) => refusal,
        Ok(_) => ProviderError::malformed("answer").into(),
    }
}

fn success(head: Head, body: &[u8]) -> Result<Business<'_>, Refusal> {
    // A body without either member is a page, or another service's JSON.
    let Some(envelope) = serde_json::from_slice::<Envelope<'_>>(body)
        .ok()
        .filter(|envelope| envelope.code.is_some() || envelope.detail.is_some())
    else {
        return Err(no_envelope(head));
    };
    let message = envelope.msg.unwrap_or_default();
    // `code` before `data`: with a code the data is null.
    match envelope.code {
        Some(0) => {}
        Some(code) => return Err(coded(code, &message, head)),
        None => return Err(no_envelope(head)),
    }
    let data = envelope.data.map_or("null", RawValue::get);
    // A `data` that is no object has no success in it.
    let business: Option<Business<'_>> = serde_json::from_str(data).unwrap_or_default();
    let Some(business) = business else {
        return Err(ProviderError::malformed("answer").into());
    };
    match business.biz_code {
        // Missing counts as a success: older answers have only `code` (section 3).
        None | Some(0) => Ok(business),
        Some(code) => {
            let message = business.biz_msg.unwrap_or_default();
            Err(business_coded(code, &message, business.biz_data, head))
        }
    }
}

/// The rows of section 7 with a top-level code.
fn coded(code: i64, message: &str, head: Head) -> Refusal {
    match code {
        40001..=40003 => Refusal::Token,
        40301 => Refusal::Proof,
        // The words alone come with a completion's HTTP answer (section 7).
        _ if message.contains("INVALID_TOKEN") => Refusal::Token,
        40300 => ProviderError::new(Kind::Protocol, "the service missed a header")
            .with_code("upstream_bad_request")
            .into(),
        1001 | 1201 => rate_limited(head).into(),
        // A known status says more than an unknown code.
        _ if head.status != 200 => no_envelope(head),
        _ => ProviderError::new(Kind::Protocol, "the service refused")
            .saying(message)
            .into(),
    }
}

/// The rows of section 7 with a business code. A muted account is known by its data or its words, as its code changes.
fn business_coded(code: i64, message: &str, data: Option<&RawValue>, head: Head) -> Refusal {
    if let Some(error) = mute(data, head.now) {
        return error.into();
    }
    if message.to_ascii_lowercase().contains("muted") {
        return muted(None, head.now).into();
    }
    match code {
        7 => rate_limited(head).into(),
        // Section 7: stale ids of a session, message or file.
        1 | 2 | 9 | 26 => Refusal::Stale,
        _ => ProviderError::new(Kind::Protocol, "the service refused")
            .saying(message)
            .into(),
    }
}

/// The data of an account that says that it is muted.
pub(super) fn mute(data: Option<&RawValue>, now_ms: u64) -> Option<ProviderError> {
    #[derive(Deserialize)]
    struct Muted {
        is_muted: Option<serde_json::Value>,
        mute_until: Option<f64>,
    }
    let state: Muted = serde_json::from_str(data?.get()).ok()?;
    let flag = state.is_muted?;
    // Seen as 1 and as `true`.
    (flag == 1 || flag == true).then(|| muted(state.mute_until, now_ms))
}

/// Why a login failed, and whether that stays so as long as the account's variables do (sections 2 and 7).
/// `variable`: where a token is pasted instead.
pub(super) fn login(head: Head, body: &[u8], variable: &str) -> (ProviderError, bool) {
    let envelope: Option<Envelope<'_>> = serde_json::from_slice(body).ok();
    let business: Option<Business<'_>> = envelope
        .filter(|envelope| envelope.code == Some(0))
        .and_then(|envelope| envelope.data)
        .and_then(|data| serde_json::from_str(data.get()).ok());
    let code = business
        .as_ref()
        .and_then(|business| business.biz_code)
        .filter(|code| *code != 0);
    let (Some(business), Some(code)) = (&business, code) else {
        // A token is not what was refused here.
        // A token is no answer here: there is none to have been refused.
        return match refusal(head, body) {
            Refusal::Final(error) => (error, false),
            // Passing: the next turn may log in again, after its pause.
            _ => (no_login("did not take the login", variable), false),
        };
    };
    let message = business.biz_msg.as_deref().unwrap_or_default();
    match code {
        11 => (not_this_device(variable), true),
        10 => {
            let error = no_login("has closed the account", variable);
            (error.with_code("account_blocked"), true)
        }
        2 => {
            let refused = "refused the login: DEEPSEEK_EMAIL or DEEPSEEK_MOBILE, or DEEPSEEK_PASSWORD, is wrong";
            (no_login(refused, variable), true)
        }
        _ if message.contains("RISK_DEVICE") => (not_this_device(variable), true),
        // A number that is known elsewhere still says that the account is at fault.
        _ => match business_coded(code, message, business.biz_data, head) {
            Refusal::Final(error) if error.kind.blames_account() => (error, false),
            _ => (
                no_login("refused the login", variable).saying(message),
                false,
            ),
        },
    }
}

/// The whole message, where an answer cannot be resumed because it has been finished meanwhile (section 8).
pub(super) fn finished_meanwhile(head: Head, body: &[u8]) -> Option<&RawValue> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    let data = envelope
        .data
        // Both layers must agree: 22 means this in this answer alone (section 7).
        .filter(|_| head.status == 200 && envelope.code == Some(0))?;
    let business: Business<'_> = serde_json::from_str(data.get()).ok()?;
    business.biz_data.filter(|_| business.biz_code == Some(22))
}

fn not_this_device(variable: &str) -> ProviderError {
    let refused = "lets nobody log in with a password from a device that it does not know (RISK_DEVICE_DETECTED)";
    no_login(refused, variable)
}

fn no_login(what: &str, variable: &str) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!("DeepSeek {what}; sign in at chat.deepseek.com and paste a token into {variable}"),
    )
}

/// What is said when the token of a login was refused before another login is due.
pub(super) fn too_soon(variable: &str) -> ProviderError {
    no_login(
        "refused the token that its login has given, and logging in again so soon gets accounts muted",
        variable,
    )
}

fn rate_limited(head: Head) -> ProviderError {
    ProviderError::new(Kind::RateLimited, "too many requests").with_retry_after(head.retry_after)
}

/// Mostly for 72 hours; another account may serve meanwhile, this one must not be asked again soon.
fn muted(until: Option<f64>, now_ms: u64) -> ProviderError {
    let left = until.and_then(|until| {
        let now = Duration::from_millis(now_ms).as_secs_f64();
        Duration::try_from_secs_f64(until - now).ok()
    });
    let time = until.map_or_else(String::new, |until| format!(" until Unix time {until:.0}"));
    ProviderError::new(
        Kind::QuotaSpent,
        format!("DeepSeek has muted this account{time}"),
    )
    .with_code("account_muted")
    .with_retry_after(left)
}

/// The rows of section 7 that are known by their HTTP status.
fn no_envelope(head: Head) -> Refusal {
    let error = match head.status {
        // 401 without an envelope is the edge's, and means the token all the same.
        401 => return Refusal::Token,
        422 => ProviderError::new(
            Kind::Protocol,
            "the service did not accept the form of the request",
        )
        .with_code("upstream_bad_request"),
        429 => rate_limited(head),
        // What the edge answers a region with (section 7).
        202 | 403 | 405 => blocked(),
        // Under any status: the header is the edge's own word.
        _ if head.is_challenged => blocked(),
        status @ 500.. => ProviderError::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {status}"),
        )
        .with_retry_after(head.retry_after),
        status => ProviderError::new(
            Kind::Protocol,
            format!("HTTP {status} with something else than an answer; check DEEPSEEK_BASE_URL"),
        ),
    };
    error.into()
}

fn blocked() -> ProviderError {
    ProviderError::new(
        Kind::Verification,
        "DeepSeek's edge wants a browser's check, mostly because of the region that this server is in",
    )
}

/// A hint, toast or error frame of type `error` in the stream.
pub(super) fn hint(reason: &str, content: &str) -> ProviderError {
    match reason {
        "rate_limit_reached" => ProviderError::new(Kind::RateLimited, "too many requests"),
        "parallel_chat_limit_by_queue" => {
            ProviderError::new(Kind::RateLimited, "too many parallel answers")
        }
        "expert_busy_use_default" | "generation_err" => {
            ProviderError::new(Kind::Unavailable, "the service is busy")
        }
        "manual_abort" => ProviderError::new(Kind::Unavailable, "the answer was stopped elsewhere"),
        "input_exceeds_limit" | "context_length_exceeded" => ProviderError {
            param: Some("messages".to_owned()),
            ..ProviderError::new(
                Kind::ContextLength,
                "the conversation is too long for this model",
            )
        },
        "unsupported_client_by_model" => ProviderError::new(
            Kind::Protocol,
            "this model wants a newer client; see DEEPSEEK_CLIENT_VERSION",
        )
        .with_code("unsupported_client"),
        _ => ProviderError::new(Kind::Protocol, "the service refused"),
    }
    .saying(content)
}

/// A file that the service cannot use.
pub(super) fn file_rejected() -> ProviderError {
    ProviderError {
        param: Some("messages".to_owned()),
        ..ProviderError::new(Kind::FileRejected, "the service refused an attachment")
    }
}
