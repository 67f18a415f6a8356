//! What the service's refusals mean: HTTP statuses, codes of short answers, keys within a stream. Source:
//! `wire/xinghuo.md` section 7; kinds and codes as design.md section 4 has them.

use serde::Deserialize;
use serde_json::Value;

use super::{form::Form, wire::Caller};
use crate::chat::{Kind, ProviderError};

/// The window of a question is gone or is not ours.
const LOST: &str = "upstream_conversation_lost";
const BLOCKED: &str = "upstream_account_blocked";
const A_DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
/// A refusal that the page has no row for.
const OTHER: &str = "upstream_error";

/// Why a question was not answered.
#[derive(Debug)]
pub struct Refusal {
    /// For the dispatcher and the caller.
    pub error: ProviderError,
    /// For the flow, which may try another window first.
    pub window: Window,
}

/// What a refusal says about the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Nothing: another one would not help.
    Fine,
    /// The service does not know it for this account.
    Lost,
    /// Another question is being answered in it.
    Busy,
    /// Nothing: the form of the question was not understood, another one may be.
    Form,
}

/// What a service says that was asked in the form of another generation (sections 2 and 10): the form is bad, the path
/// is not there.
const BAD_FORM: i64 = 40000;

impl Refusal {
    /// Whether the other form may be answered where this one was not. A human check that is wanted of a question without
    /// a token is not got around by asking for it with an empty one.
    pub(super) fn is_worth_another_form(&self, caller: Caller<'_>) -> bool {
        self.window == Window::Form
            && (self.error.kind != Kind::Verification || caller.form == Form::Classic)
    }
}

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        Self {
            error,
            window: Window::Fine,
        }
    }
}

impl From<Refusal> for ProviderError {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// What begins an error within a stream (section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// `[error]`, or JSON without a head.
    Error,
    /// `[geeError]`: a slider, or a bad GtToken.
    Verification,
    /// `[pluginError]`, `[needAuthError]`.
    Part,
    /// Anything else in brackets.
    Unknown,
}

/// The members that any of the error bodies may have; each is read leniently.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    key: Value,
    #[serde(default)]
    code: Value,
    #[serde(default)]
    descr: Value,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    desc: Value,
}

impl Said {
    fn text(&self) -> &str {
        [&self.descr, &self.value, &self.desc]
            .into_iter()
            .filter_map(Value::as_str)
            .find(|text| !text.is_empty())
            .unwrap_or_default()
    }
}

/// An answer that is not what was asked for: a status that is no success, or no event stream.
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> Refusal {
    let error = match status {
        401 => expired(variable),
        403 => blocked(variable),
        429 => rate_limited(),
        500.. => ProviderError::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {status}"),
        ),
        _ => {
            return match serde_json::from_slice::<Said>(body) {
                // A code says more than the status, where there is one.
                Ok(said) if !matches!(number(&said.code), None | Some(0)) => {
                    coded(number(&said.code), said.text(), variable)
                }
                _ => Refusal {
                    error: ProviderError::new(
                        Kind::Protocol,
                        format!("the service answered with HTTP {status} and not with an answer"),
                    ),
                    // These say of the request's form; others are of the account or the service.
                    window: if matches!(status, 400 | 404 | 405 | 410 | 415 | 422) {
                        Window::Form
                    } else {
                        Window::Fine
                    },
                },
            };
        }
    };
    error.into()
}

/// A short answer's `code` and `desc`.
pub(super) fn coded(code: Option<i64>, desc: &str, variable: &str) -> Refusal {
    let error = match code {
        Some(80000 | 90000) => expired(variable),
        // For a day (section 7); the others for good.
        Some(10003) => blocked(variable).saying(desc).with_retry_after(Some(A_DAY)),
        Some(10004 | 99900) => blocked(variable).saying(desc),
        Some(30002) => return lost(),
        Some(BAD_FORM) => {
            return Refusal {
                error: unknown(desc),
                window: Window::Form,
            };
        }
        _ => return keyed(code, desc),
    };
    error.into()
}

/// An error within a stream: its head, and what followed it as far as it could be read.
pub(super) fn reported(head: Head, said: Option<&Said>, variable: &str) -> Refusal {
    let text = said.map(Said::text).unwrap_or_default();
    match (head, said) {
        // A form without a GtToken may have no use for one either.
        (Head::Verification, _) => Refusal {
            error: ProviderError::new(
                Kind::Verification,
                format!("the service wants a human check: open its page, ask something there, and paste the new {variable}, and GT_TOKEN where you use one"),
            )
            .saying(text),
            window: Window::Form,
        },
        (Head::Part, _) => unknown(text).into(),
        (Head::Error | Head::Unknown, Some(said)) => match number(&said.key) {
            None => coded(number(&said.code), text, variable),
            // No key, no code: the words decide, and then the unknown row.
            key => keyed(key, text),
        },
        (Head::Error | Head::Unknown, None) => unknown("").into(),
    }
}

/// `[belongerr]`, or a window that a short call does not find.
pub(super) fn lost() -> Refusal {
    Refusal {
        // Not `Unavailable`: the flow has tried another window already, and a third would fare no better.
        error: ProviderError::new(Kind::Protocol, "the service lost the conversation")
            .with_code(LOST),
        window: Window::Lost,
    }
}

/// Moderation, before any text.
pub(super) fn moderated() -> ProviderError {
    ProviderError::new(
        Kind::Moderated,
        "the service's moderation stopped the answer",
    )
}

/// An error key. Words of the description decide where no key is known.
fn keyed(key: Option<i64>, text: &str) -> Refusal {
    let error = match key.unwrap_or_default() {
        10007 => {
            return Refusal {
                // Busy rather than limited: it is this window's, and another may be had.
                error: rate_limited().saying(text),
                window: Window::Busy,
            };
        }
        10006 | 11202 | 11203 => rate_limited(),
        11120 | 11200 | 11201 => {
            ProviderError::new(Kind::QuotaSpent, "the account's quota is spent")
        }
        10013 | 10014 | 10019 | 20002 => moderated(),
        10907 => ProviderError::new(
            Kind::ContextLength,
            "the conversation is too long for the service",
        ),
        10008..=10012 | 10110 | 10222 => busy(),
        // Words last: a known key is exact (section 7).
        _ => worded(text),
    };
    error.saying(text).into()
}

fn worded(text: &str) -> ProviderError {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["频繁", "过快"]) {
        rate_limited()
    } else if has(&["敏感", "违规", "审核", "合规"]) {
        moderated()
    } else if has(&["服务忙", "繁忙"]) {
        busy()
    } else {
        unknown("")
    }
}

fn number(value: &Value) -> Option<i64> {
    value
        .as_i64()
        // Numbers come as text too (section 10).
        .or_else(|| value.as_str()?.trim().parse().ok())
}

fn expired(variable: &str) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!("{variable} was refused; log in again at spark.xfyun.cn and paste the new cookie"),
    )
}

fn blocked(variable: &str) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!("the service has blocked the account of {variable}; use another account, or wait until it is free"),
    )
    .with_code(BLOCKED)
}

fn rate_limited() -> ProviderError {
    ProviderError::new(Kind::RateLimited, "too many requests")
}

fn busy() -> ProviderError {
    ProviderError::new(Kind::Unavailable, "the service is busy")
}

fn unknown(text: &str) -> ProviderError {
    ProviderError::new(Kind::Protocol, "the service refused")
        .with_code(OTHER)
        .saying(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(json: &str) -> (Kind, Option<String>, Window) {
        let said: Said = serde_json::from_str(json).unwrap();
        let refusal = reported(Head::Error, Some(&said), "XINGHUO_COOKIE_2");
        (refusal.error.kind, refusal.error.code, refusal.window)
    }

    /// The rows of section 7 with a key or with words.
    #[test]
    fn every_key_has_its_kind() {
        for (keys, kind) in [
            (&[10006, 10007, 11202, 11203][..], Kind::RateLimited),
            (&[11200, 11201, 11120], Kind::QuotaSpent),
            (&[10013, 10014, 10019, 20002], Kind::Moderated),
            (&[10907], Kind::ContextLength),
            (
                &[10008, 10009, 10010, 10011, 10012, 10110, 10222],
                Kind::Unavailable,
            ),
            (&[1, 10005, 10163, 20003], Kind::Protocol),
        ] {
            for key in keys {
                assert_eq!(stream(&format!(r#"{{"key":{key}}}"#)).0, kind, "{key}");
                assert_eq!(
                    stream(&format!(r#"{{"key":"{key}","value":""}}"#)).0,
                    kind,
                    "{key}"
                );
            }
        }
        for (words, kind) in [
            ("请求过于频繁", Kind::RateLimited),
            ("操作过快", Kind::RateLimited),
            ("含有敏感词", Kind::Moderated),
            ("内容违规", Kind::Moderated),
            ("未通过审核", Kind::Moderated),
            ("不合规", Kind::Moderated),
            ("服务忙，请稍后再试", Kind::Unavailable),
            ("系统繁忙", Kind::Unavailable),
            ("别的", Kind::Protocol),
        ] {
            assert_eq!(
                stream(&format!(r#"{{"descr":"{words}"}}"#)).0,
                kind,
                "{words}"
            );
        }
    }

    #[test]
    fn only_two_refusals_are_about_the_window() {
        assert_eq!(stream(r#"{"key":10007}"#).2, Window::Busy);
        assert_eq!(stream(r#"{"key":10006}"#).2, Window::Fine);
        assert_eq!(lost().window, Window::Lost);
    }

    #[test]
    fn every_code_and_status_has_its_kind() {
        let of = |status, body: &str| {
            let error = refusal(status, body.as_bytes(), "XINGHUO_COOKIE_2").error;
            (error.kind, error.code.unwrap_or_default())
        };
        let code = |code: i64| {
            of(
                200,
                &format!(r#"{{"flag":false,"code":{code},"desc":"x"}}"#),
            )
        };
        assert_eq!(code(80000), (Kind::AuthExpired, String::new()));
        assert_eq!(code(90000), (Kind::AuthExpired, String::new()));
        for banned in [10003, 10004, 99900] {
            assert_eq!(code(banned), (Kind::AuthExpired, BLOCKED.to_owned()));
        }
        assert_eq!(coded(Some(10003), "", "V").error.retry_after, Some(A_DAY));
        assert_eq!(coded(Some(10004), "", "V").error.retry_after, None);
        assert_eq!(code(11120).0, Kind::QuotaSpent);
        assert_eq!(code(40000), (Kind::Protocol, OTHER.to_owned()));
        assert_eq!(code(0), (Kind::Protocol, String::new()));
        assert_eq!(of(200, "<html>"), (Kind::Protocol, String::new()));
        assert_eq!(of(401, ""), (Kind::AuthExpired, String::new()));
        assert_eq!(of(403, ""), (Kind::AuthExpired, BLOCKED.to_owned()));
        assert_eq!(of(429, "").0, Kind::RateLimited);
        for status in [500, 502, 503, 504] {
            assert_eq!(of(status, "").0, Kind::Unavailable);
        }
        assert_eq!(of(404, "").0, Kind::Protocol);
    }

    #[test]
    fn messages_name_the_variable_and_carry_the_description() {
        let error = coded(Some(80000), "", "XINGHUO_COOKIE_2").error;
        assert!(error.message.starts_with("XINGHUO_COOKIE_2 "), "{error}");
        let said = serde_json::from_str(r#"{"key":10110,"value":"v","descr":"服务忙"}"#).unwrap();
        let error = reported(Head::Error, Some(&said), "").error;
        assert_eq!(error.message, "the service is busy: 服务忙");
        let error = reported(Head::Verification, None, "").error;
        assert!(error.kind == Kind::Verification && error.message.contains("GT_TOKEN"));
    }
}
