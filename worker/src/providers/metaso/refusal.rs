//! What the service's refusals mean, as pure functions: statuses, pages, codes and sentences. Source: `wire/metaso.md`
//! section 7.

use std::time::Duration;

use serde_json::{Map, Value};

use super::meta::{self, Found};
use crate::{
    chat::{Kind, ProviderError},
    upstream::json,
};

/// What is said in place of JSON when too much was asked.
const TOO_MANY: &str = "TOO_MANY_REQUESTS";
/// How long a credential rests after it, where the service names no time (section 7).
const REST: Duration = Duration::from_secs(60);

/// Whose request was refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// Which variable to renew.
    pub(super) variable: &'a str,
    /// The short form of the credential is configured, and nothing has been answered with it yet (section 2).
    pub(super) may_lack_cookies: bool,
}

/// What stands in an answer's place.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: ProviderError,
    /// It is none of the table's rows, or its status says that nobody lives there: the generation may be gone (section 1).
    pub(super) is_absent: bool,
}

impl<E: Into<ProviderError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::known(error.into())
    }
}

impl Refusal {
    fn known(error: ProviderError) -> Self {
        Self {
            error,
            is_absent: false,
        }
    }
}

/// An answer that is no event stream, or whose status is no success.
pub(super) fn refusal(status: u16, body: &[u8], asker: Asker<'_>) -> Refusal {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{FEFF}').trim_start();
    let is_page = text.starts_with('<');
    // First: a check's page may come under any status.
    if is_page && names_check(text) {
        return Refusal::known(verification());
    }
    match status {
        401 | 403 => return Refusal::known(expired(asker)),
        429 => return Refusal::known(rate_limited(asker)),
        404 | 405 => return absent(status),
        500.. => return Refusal::known(failed(status)),
        _ => {}
    }
    if is_page {
        // The page of somebody who is signed in is the site's own, in place of a call that is no longer there.
        let is_stranger = !matches!(meta::find(text), Found::Token(_));
        return if is_stranger && names_login(text) {
            Refusal::known(expired(asker))
        } else {
            absent(status)
        };
    }
    match json::value(body) {
        Some((Value::Object(members), _)) => match said(&members, asker) {
            Some(error) => Refusal::known(error),
            None => absent(status),
        },
        _ if text.contains(TOO_MANY) => Refusal::known(rate_limited(asker)),
        _ => absent(status),
    }
}

/// The home page, which holds the token that everything else needs (section 5.1).
///
/// # Errors
/// Why it holds none.
pub(super) fn token(page: &[u8], asker: Asker<'_>) -> Result<String, ProviderError> {
    let page = String::from_utf8_lossy(page);
    match meta::find(&page) {
        Found::Token(token) => Ok(token),
        Found::Empty => Err(expired(asker)),
        Found::Nothing if names_check(&page) => Err(verification()),
        // A page without the tag is that of somebody who is not signed in (section 5.1).
        Found::Nothing => Err(expired(asker)),
    }
}

/// Whether the site says that it does not know whose cookies these are (section 2).
pub(super) fn is_stranger(status: u16, body: &[u8]) -> bool {
    let Some((Value::Object(members), _)) = json::value(body) else {
        return false;
    };
    // Only a success says anything of who asks.
    if status != 200 {
        return false;
    }
    let has_user = members
        .get("data")
        .and_then(|data| data.get("user"))
        .is_some_and(|user| !user.is_null());
    let is_refused = code(&members) == Some(401) || message(&members).contains("登录");
    is_refused || (!is_failure(&members) && !has_user)
}

/// What an error event means: its message first, then its code (section 7).
pub(super) fn told(members: &Map<String, Value>, asker: Asker<'_>) -> ProviderError {
    said(members, asker).unwrap_or_else(|| unavailable().saying(message(members)))
}

/// Words in a payload that is no JSON.
pub(super) fn plain(payload: &[u8], asker: Asker<'_>) -> Option<ProviderError> {
    memchr::memmem::find(payload, TOO_MANY.as_bytes()).map(|_| rate_limited(asker))
}

/// Whether a short answer says that it is a success, and is not.
pub(super) fn is_failure(members: &Map<String, Value>) -> bool {
    match members.get("errCode") {
        None | Some(Value::Null) => false,
        Some(Value::Number(code)) => code.as_i64() != Some(0),
        Some(Value::String(code)) => !matches!(code.as_str(), "" | "0"),
        Some(_) => true,
    }
}

/// A row of the table; `None` for what is none of them.
fn said(members: &Map<String, Value>, asker: Asker<'_>) -> Option<ProviderError> {
    let (message, code) = (message(members), code(members));
    // Words before numbers, as most of the numbers have no evidence (section 7).
    let names = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if names(&[TOO_MANY]) {
        return Some(rate_limited(asker));
    }
    if names(&["登录"]) {
        return Some(expired(asker));
    }
    if names(&["不合规", "违规", "敏感"]) {
        return Some(moderated());
    }
    if names(&["繁忙"]) {
        return Some(unavailable().saying(message));
    }
    // Both together: the service looks for a conversation that our request did not name (section 10.1).
    let is_unknown = names(&["Unable to find"]) && names(&["ConversationEntity"]);
    if names(&["参数错误"]) || is_unknown {
        return Some(malformed_request().saying(message));
    }
    Some(match code? {
        401 | 403 => expired(asker),
        429 => rate_limited(asker),
        4001 => ProviderError::new(
            Kind::QuotaSpent,
            "the account's credits for today are spent",
        ),
        400 => malformed_request().saying(message),
        500..=599 | 5000..=5999 => unavailable().saying(message),
        // Not among the rows: the generation may have changed its codes.
        _ => return None,
    })
}

fn message(members: &Map<String, Value>) -> &str {
    ["msg", "errMsg", "message"]
        .iter()
        .find_map(|name| members.get(*name)?.as_str())
        .unwrap_or_default()
}

fn code(members: &Map<String, Value>) -> Option<i64> {
    ["code", "errCode"]
        .iter()
        .find_map(|name| match members.get(*name)? {
            Value::Number(code) => code.as_i64(),
            Value::String(code) => code.parse().ok(),
            _ => None,
        })
}

/// A page on which a person must prove to be one.
fn names_check(page: &str) -> bool {
    let lower = page.to_ascii_lowercase();
    let words = [
        "aliyun",
        "captcha",
        "slider",
        "滑块",
        "滑动验证",
        "人机验证",
    ];
    words.iter().any(|word| lower.contains(word))
}

fn names_login(page: &str) -> bool {
    page.contains("登录") || page.to_ascii_lowercase().contains("login")
}

fn absent(status: u16) -> Refusal {
    Refusal {
        error: ProviderError::new(
            Kind::Protocol,
            format!("HTTP {status} with something else than an answer; check METASO_BASE_URL"),
        ),
        // Another status is the service's own trouble, in whichever generation.
        is_absent: matches!(status, 200 | 404 | 405),
    }
}

/// The cookies are not those of a login (section 2).
pub(super) fn expired(asker: Asker<'_>) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!(
            "{} was refused; sign in again at metaso.cn and paste uid-sid or the whole cookie",
            asker.variable
        ),
    )
}

fn rate_limited(asker: Asker<'_>) -> ProviderError {
    let hint = if asker.may_lack_cookies {
        format!(
            "; if this happens to every question, paste the whole Cookie header of the signed-in page into {}, as the site also looks for the cookies that its own script sets",
            asker.variable
        )
    } else {
        String::new()
    };
    ProviderError::new(Kind::RateLimited, format!("too many requests{hint}"))
        .with_retry_after(Some(REST))
}

fn verification() -> ProviderError {
    ProviderError::new(
        Kind::Verification,
        "Metaso wants a person's check; open metaso.cn in a browser and finish it",
    )
}

fn moderated() -> ProviderError {
    ProviderError::new(
        Kind::Moderated,
        "the service's moderation stopped the answer",
    )
}

fn malformed_request() -> ProviderError {
    ProviderError::new(Kind::Protocol, "the service did not accept the request")
        .with_code("upstream_bad_request")
}

fn failed(status: u16) -> ProviderError {
    let message = format!("the service answered with HTTP {status}");
    ProviderError::new(Kind::Unavailable, message)
}

fn unavailable() -> ProviderError {
    ProviderError::new(Kind::Unavailable, "the service failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Asker<'_> = Asker {
        variable: "METASO_TOKEN_2",
        may_lack_cookies: false,
    };

    fn kind(status: u16, body: &str) -> (Kind, bool) {
        let refusal = refusal(status, body.as_bytes(), ASKER);
        (refusal.error.kind, refusal.is_absent)
    }

    /// The rows of section 7, and which of them say that the generation is gone (section 1).
    #[test]
    fn follows_the_table() {
        for (status, body, expected) in [
            (401, "", Kind::AuthExpired),
            (403, "<html>no</html>", Kind::AuthExpired),
            (200, r#"{"errCode":401,"errMsg":"x"}"#, Kind::AuthExpired),
            (
                200,
                r#"{"errCode":7,"errMsg":"请先登录"}"#,
                Kind::AuthExpired,
            ),
            (200, "<html><a>登录</a></html>", Kind::AuthExpired),
            (429, "", Kind::RateLimited),
            (200, "[TOO_MANY_REQUESTS]", Kind::RateLimited),
            (200, r#"{"code":429,"msg":"x"}"#, Kind::RateLimited),
            (200, r#"{"code":"4001","msg":"x"}"#, Kind::QuotaSpent),
            (200, "<html>aliyun</html>", Kind::Verification),
            (
                405,
                "<!doctype html><script>Captcha()</script>",
                Kind::Verification,
            ),
            (200, r#"{"code":5001,"msg":"x"}"#, Kind::Unavailable),
            (
                200,
                r#"{"errCode":9,"errMsg":"系统繁忙"}"#,
                Kind::Unavailable,
            ),
            (502, "<html>", Kind::Unavailable),
            (503, "", Kind::Unavailable),
            (500, "{}", Kind::Unavailable),
            (200, r#"{"code":400,"msg":"x"}"#, Kind::Protocol),
            (200, r#"{"code":9,"msg":"参数错误"}"#, Kind::Protocol),
            (200, r#"{"code":9,"msg":"内容违规"}"#, Kind::Moderated),
        ] {
            assert_eq!(kind(status, body), (expected, false), "{status} {body}");
        }
        for (status, body) in [
            (404, "Not Found"),
            (405, "{}"),
            (
                200,
                "<html><meta id=\"meta-token\" content=\"x\"><a>登录</a></html>",
            ),
            (200, "<html>hello</html>"),
            (200, r#"{"errCode":9999,"errMsg":"gone"}"#),
            (200, "{}"),
            (200, ""),
        ] {
            assert_eq!(
                kind(status, body),
                (Kind::Protocol, true),
                "{status} {body}"
            );
        }
        assert_eq!(kind(418, "{}"), (Kind::Protocol, false));
    }

    #[test]
    fn events_are_told_by_message_then_code() {
        let told = |event: &str| {
            let Ok(Value::Object(members)) = serde_json::from_str(event) else {
                panic!()
            };
            told(&members, ASKER).kind
        };
        for (event, expected) in [
            (r#"{"code":429,"msg":"登录后继续"}"#, Kind::AuthExpired),
            (
                r#"{"code":-500,"msg":"Unable to find com.x.ConversationEntity with id temp"}"#,
                Kind::Protocol,
            ),
            (r#"{"code":-500,"msg":"x"}"#, Kind::Unavailable),
            (r#"{"code":500}"#, Kind::Unavailable),
            (r#"{"msg":"?"}"#, Kind::Unavailable),
            (r#"{"code":4001}"#, Kind::QuotaSpent),
            ("{}", Kind::Unavailable),
        ] {
            assert_eq!(told(event), expected, "{event}");
        }
    }

    #[test]
    fn a_short_credential_that_never_worked_is_told_what_may_be_missing() {
        let asker = Asker {
            may_lack_cookies: true,
            ..ASKER
        };
        let error = refusal(429, b"", asker).error;
        assert!(error.message.contains("whole Cookie header"), "{error:?}");
        assert_eq!(error.retry_after, Some(REST));
        let error = refusal(429, b"", ASKER).error;
        assert!(!error.message.contains("ookie"), "{error:?}");
    }

    #[test]
    fn the_home_page_holds_the_token_or_says_why_not() {
        let read = |page: &str| token(page.as_bytes(), ASKER).map_err(|error| error.kind);
        assert_eq!(
            read("aliyun <meta id=\"meta-token\" content=\"t==\">"),
            Ok("t==".to_owned())
        );
        assert_eq!(
            read("aliyun <meta id=\"meta-token\" content=\"\">"),
            Err(Kind::AuthExpired)
        );
        assert_eq!(read("<html>aliyun"), Err(Kind::Verification));
        assert_eq!(read("<html>"), Err(Kind::AuthExpired));
    }

    #[test]
    fn a_stranger_is_told_so_by_the_site_alone() {
        for (status, body, expected) in [
            (200, r#"{"errCode":0,"data":{"user":{"id":"u"}}}"#, false),
            (200, r#"{"errCode":0,"data":{}}"#, true),
            (200, r#"{"errCode":401,"errMsg":"x"}"#, true),
            (200, r#"{"errCode":3,"errMsg":"请先登录"}"#, true),
            (200, r#"{"errCode":500,"errMsg":"x"}"#, false),
            (500, r#"{"errCode":0,"data":{}}"#, false),
            (200, "<html>", false),
        ] {
            assert_eq!(is_stranger(status, body.as_bytes()), expected, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(status in 200_u16..600, body in ".*") {
            refusal(status, body.as_bytes(), ASKER);
        }
    }
}
