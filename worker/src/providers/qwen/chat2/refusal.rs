//! What the refusals of the chat2 generation mean, as pure functions. Source: `wire/qwen.md` section 11.9.

use std::time::Duration;

use serde_json::Value;

use crate::{
    chat::{
        Kind, ProviderError,
        refusals::{Extent, Meaning, Refusal},
    },
    providers::qwen::{
        generation::{Failure, is_page},
        refusal::{BUSY, SENTENCES},
    },
};

/// The code of [`repeated`].
pub(super) const REPEATED: &str = "upstream_refused_in_words";
/// The code of [`empty`].
pub(super) const EMPTY: &str = "upstream_empty_response";
/// How the service's excuses end: no model asks for the same question again.
const AGAIN: &[&str] = &[
    "稍后再试",
    "稍后重试",
    "后再试",
    "后重试",
    "try again later",
];
/// What a wrong signature is answered with is a fixed sentence that nobody has recorded (section 11.1). An answer that
/// is nothing but an apology and the wish to be asked again is taken for it. INFERRED.
const EXCUSES: &[Refusal] = &[
    BUSY,
    excuse("抱歉"),
    excuse("很抱歉"),
    excuse("非常抱歉"),
    excuse("对不起"),
    excuse("不好意思"),
    excuse("Sorry"),
];
/// Words of a question to which an excuse may well be the answer (its translation, say).
const ASKED_FOR: &[&str] = &["稍后", "再试", "重试", "抱歉", "again", "sorry", "retry"];

const fn excuse(text: &'static str) -> Refusal {
    let error: Meaning = excused;
    Refusal {
        text,
        extent: Extent::Excuse(AGAIN),
        error,
    }
}

/// The sentences that are no answers to this question.
pub(super) fn sentences(question: &str) -> &'static [Refusal] {
    let question = question.to_lowercase();
    if ASKED_FOR.iter().any(|word| question.contains(word)) {
        SENTENCES
    } else {
        EXCUSES
    }
}

fn excused() -> ProviderError {
    ProviderError::new(Kind::Unavailable, "the service refused in words").with_code(REPEATED)
}

/// How long an account is left alone after the service has asked for a slider to be solved.
const SLIDER_REST: Duration = Duration::from_secs(5 * 60);
/// What the slider's answers hold, be they JSON or a page.
const SLIDER: &[&str] = &[
    "rgv587_flag",
    "x5secdata",
    "RGV587_ERROR",
    "FAIL_SYS_USER_VALIDATE",
];

/// An answer that is no event stream, or whose status is no success. `remedy` says what to do about a refused
/// credential.
pub(super) fn refusal(status: u16, content_type: &str, body: &[u8], remedy: &str) -> Failure {
    let is_slider = |word: &&str| memchr::memmem::find(body, word.as_bytes()).is_some();
    // Before status and type: the slider comes under any (section 11.9).
    if SLIDER.iter().any(is_slider) {
        return Failure::Told(slider());
    }
    let is_page = is_page(content_type, body);
    let said = serde_json::from_slice(body).map_or(None, |body: Value| Said::read(&body));
    let error = match (status, said) {
        (401, _) => expired(remedy),
        (429, _) => rate_limited(),
        (500.., _) => ProviderError::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {status}"),
        ),
        // A field or a query value is missing; the message is its name.
        // Section 11.9: 400 names the missing field, which is our bug, unless its words mean something else.
        (400, Some(said)) => match coded(&said.code, &said.message, remedy) {
            error if error.kind == Kind::Protocol => {
                ProviderError::new(Kind::Protocol, "the service did not accept the request")
                    .with_code("upstream_bad_request")
            }
            error => error,
        },
        // The XSRF token does not match the cookie (section 8).
        (403, _) if !is_page => expired(remedy),
        // 404 and 410 count whatever they say: the generation is gone.
        (404 | 410, _) | (_, None) if status != 200 || is_page => {
            let message = format!("the service answered with HTTP {status}");
            let error = ProviderError::new(Kind::Protocol, message);
            error.with_code(&format!("upstream_http_{status}"))
        }
        (_, Some(said)) => coded(&said.code, &said.message, remedy),
        // Before "malformed": an empty success is what a wrong `Accept` gets.
        (_, None) if body.trim_ascii().is_empty() => empty(),
        (_, None) => ProviderError::malformed("answer"),
    };
    Failure::judged(status, is_page, error)
}

/// A refusal within JSON: a frame of a stream, or a whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// `code` or `error_code`, when it is not 0.
    pub(super) code: String,
    /// What stands beside it.
    pub(super) message: String,
}

impl Said {
    /// The refusal that an object holds, if it holds one.
    pub(super) fn read(body: &Value) -> Option<Self> {
        // Numbers and words: both generations' codes stand in these members.
        let word = |name: &str| match body.get(name) {
            Some(Value::String(word)) => Some(word.trim().to_owned()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let mut codes = ["error_code", "code"].iter().filter_map(|name| word(name));
        // 0 is said with every success.
        let code = codes.find(|code| !code.is_empty() && code != "0");
        let is_refused = code.is_some() || body.get("success") == Some(&Value::Bool(false));
        is_refused.then(|| Self {
            code: code.unwrap_or_default(),
            message: ["error_msg", "msg", "message"]
                .iter()
                .filter_map(|name| word(name))
                .find(|message| !message.is_empty())
                .unwrap_or_default(),
        })
    }
}

/// A code and its words, wherever they came from.
pub(super) fn coded(code: &str, message: &str, remedy: &str) -> ProviderError {
    // Code and words together: some say it in one, some in the other.
    let words = format!("{code} {message}").to_lowercase();
    let says = |known: &[&str]| known.iter().any(|word| words.contains(word));
    // In the table's order (section 11.9): the first words that fit.
    if says(&["auth_failed", "ex015", "签名错误", "登录", "login"]) {
        expired(remedy)
    } else if says(&["rgv587", "fail_sys_user_validate"]) {
        slider()
    } else if says(&["频繁", "limit", "429"]) {
        rate_limited()
    } else if says(&["繁忙", "busy"]) {
        ProviderError::new(Kind::Unavailable, "the service is busy")
    } else {
        let error = ProviderError::new(Kind::Protocol, "the service refused").saying(message);
        // A bare number says nothing to a reader.
        if code
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
        {
            error
        } else {
            error.with_code(code)
        }
    }
}

/// A stream that says nothing: a wrong header, or overload. Tried once more by the caller.
pub(super) fn empty() -> ProviderError {
    ProviderError::new(Kind::Protocol, "the provider answered without any content").with_code(EMPTY)
}

/// A sentence that came in place of several answers: nothing that was asked is answered by it.
pub(super) fn repeated() -> ProviderError {
    ProviderError::new(
        Kind::Unavailable,
        "the service answers different questions with one and the same sentence",
    )
    .with_code(REPEATED)
}

fn expired(remedy: &str) -> ProviderError {
    ProviderError::new(Kind::AuthExpired, remedy)
}

fn rate_limited() -> ProviderError {
    ProviderError::new(Kind::RateLimited, "too many requests")
}

fn slider() -> ProviderError {
    ProviderError::new(
        Kind::Verification,
        "the service wants a slider to be solved: open www.qianwen.com in the browser, solve it, and paste the cookie anew",
    )
    .with_retry_after(Some(SLIDER_REST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, content_type: &str, body: &str) -> (Kind, String, bool) {
        match refusal(status, content_type, body.as_bytes(), "paste the cookie x") {
            Failure::Absent(error) => (error.kind, error.code.unwrap_or_default(), true),
            Failure::Told(error) => (error.kind, error.code.unwrap_or_default(), false),
        }
    }

    /// The table of wire/qwen.md section 11.9, row by row.
    #[test]
    fn follows_the_table() {
        let json = "application/json";
        for (status, content_type, body, kind, code) in [
            (401, json, "", Kind::AuthExpired, ""),
            (
                200,
                json,
                r#"{"code":"AUTH_FAILED","message":"用户未登录","success":false}"#,
                Kind::AuthExpired,
                "",
            ),
            (
                200,
                json,
                r#"{"code":"EX015","msg":"签名错误"}"#,
                Kind::AuthExpired,
                "",
            ),
            (
                200,
                json,
                r#"{"ret":["FAIL_SYS_USER_VALIDATE","RGV587_ERROR::SM::哎哟喂,被挤爆啦"],"data":{}}"#,
                Kind::Verification,
                "",
            ),
            (
                200,
                "text/html",
                r#"<html><script>{"rgv587_flag":"sm"}</script>"#,
                Kind::Verification,
                "",
            ),
            (403, json, r#"{"x5secdata":"1"}"#, Kind::Verification, ""),
            (404, "text/html", "x5secdata", Kind::Verification, ""),
            (
                400,
                json,
                r#"{"code":400,"msg":"ut"}"#,
                Kind::Protocol,
                "upstream_bad_request",
            ),
            (200, json, "", Kind::Protocol, "upstream_empty_response"),
            (
                200,
                json,
                r#"{"error_code":7,"error_msg":"请先登录"}"#,
                Kind::AuthExpired,
                "",
            ),
            (
                200,
                json,
                r#"{"error_code":7,"error_msg":"操作过于频繁"}"#,
                Kind::RateLimited,
                "",
            ),
            (
                200,
                json,
                r#"{"code":"429","msg":""}"#,
                Kind::RateLimited,
                "",
            ),
            (
                200,
                json,
                r#"{"code":1,"msg":"over the Limit"}"#,
                Kind::RateLimited,
                "",
            ),
            (
                200,
                json,
                r#"{"code":1,"msg":"系统繁忙"}"#,
                Kind::Unavailable,
                "",
            ),
            (200, json, r#"{"code":1,"msg":"odd"}"#, Kind::Protocol, ""),
            (
                200,
                json,
                r#"{"code":"ODD","msg":"odd"}"#,
                Kind::Protocol,
                "odd",
            ),
            (
                200,
                json,
                r#"{"code":0,"success":true}"#,
                Kind::Protocol,
                "",
            ),
            (
                400,
                json,
                r#"{"code":400,"msg":"messages"}"#,
                Kind::Protocol,
                "upstream_bad_request",
            ),
            (
                400,
                json,
                r#"{"code":400,"msg":"未登录"}"#,
                Kind::AuthExpired,
                "",
            ),
            (
                403,
                json,
                r#"{"errorCode":"CSRF_CHECK_FAILED"}"#,
                Kind::AuthExpired,
                "",
            ),
            (429, json, "", Kind::RateLimited, ""),
            (500, "text/html", "<html>", Kind::Unavailable, ""),
            (
                403,
                "text/html",
                "<html>",
                Kind::Protocol,
                "upstream_http_403",
            ),
        ] {
            let expected = (kind, code.to_owned(), false);
            assert_eq!(
                judged(status, content_type, body),
                expected,
                "{status} {body}"
            );
        }
        for (status, content_type, body) in [
            (404, json, r#"{"code":404,"msg":"Not Found"}"#),
            (410, "", ""),
            (200, "text/html", "<!doctype html>"),
            (200, "", "  <html>"),
        ] {
            let (kind, code, is_absent) = judged(status, content_type, body);
            assert!(is_absent && kind == Kind::Protocol, "{status} {body}");
            assert_eq!(code, format!("upstream_http_{status}"));
        }
    }

    #[test]
    fn an_excuse_is_none_where_it_was_asked_for() {
        assert_eq!(sentences("你好").len(), EXCUSES.len());
        for question in ["Translate: Sorry, please TRY AGAIN", "「稍后再试」怎么说"] {
            assert_eq!(sentences(question).len(), SENTENCES.len(), "{question}");
        }
    }

    #[test]
    fn says_what_to_do() {
        let told = |body: &str| refusal(200, "", body.as_bytes(), "paste x").into_error();
        let error = told(r#"{"code":"EX015","msg":"签名错误"}"#);
        assert_eq!(error.message, "paste x");
        let error = told(r#"{"rgv587_flag":"sm"}"#);
        assert_eq!(error.retry_after, Some(SLIDER_REST));
    }
}
