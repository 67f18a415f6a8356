//! What refusals mean, in each of their layers: HTTP status, a JSON body under any status, and the same body within the
//! stream. Source: `wire/zhipu.md` section 7.

use serde_json::Value;

use crate::{
    chat::{Kind, ProviderError},
    providers::refused,
    upstream::json,
};

/// A refusal, and what may be done about it before it is passed on.
pub(super) type Refusal = refused::Refusal<Remedy>;

/// What may help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing that this account could do.
    #[default]
    None,
    /// Another access token.
    NewToken,
    /// Another signature.
    NewSignature,
    /// Time: the account answers somebody else.
    Wait,
}

/// An answer that is no event stream, or whose status is no success. `variable` names what to renew.
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> Refusal {
    let said = Said::read(body);
    // The body before the status: a refusal may come under 200 (section 7).
    if let Some(refusal) = said.as_ref().and_then(|said| said.refusal(variable)) {
        return refusal;
    }
    let is_page = said.is_none() && body.trim_ascii_start().starts_with(b"<");
    if is_page && (status == 403 || status < 300) {
        return page(status, body, variable);
    }
    match (status, said) {
        (401, _) => expired(variable).with(Remedy::NewToken),
        (429, _) => Refusal::new(Kind::RateLimited, "too many requests"),
        (500.., _) => Refusal::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {status}"),
        ),
        // A success without a result (section 7: instead of a stream).
        (..300, Some(said)) if said.number.is_none_or(|number| number == 0) => unknown_assistant(),
        (_, said) => Refusal::new(
            Kind::Protocol,
            format!("the service answered with HTTP {status}"),
        )
        .code(&format!("upstream_http_{status}"))
        .saying(&said.unwrap_or_default().message),
    }
}

/// The answer of a refresh (section 2): a refresh token of a wrong form is told of by a mere 400.
pub(super) fn refresh(status: u16, body: &[u8], variable: &str) -> Refusal {
    let refusal = refusal(status, body, variable);
    match refusal.error.kind {
        _ if refusal.remedy == Remedy::NewSignature => refusal,
        // Nothing is left that could renew it.
        Kind::AuthExpired => refusal.with(Remedy::None),
        Kind::Protocol
            // Missing headers are our fault and told by the same status.
            if status == 400 && !Said::read(body).is_some_and(|it| it.is_about_head()) =>
        {
            expired(variable)
        }
        _ => refusal,
    }
}

/// An error in a frame's place, or `None` where a frame is none.
pub(super) fn in_stream(data: &[u8], variable: &str) -> Option<Refusal> {
    let said = Said::read(data)?;
    said.refusal(variable).or_else(|| {
        (!said.message.is_empty() && said.is_error)
            .then(|| Refusal::new(Kind::Unavailable, "the service failed").saying(&said.message))
    })
}

/// A page for people in an answer's place. What it asks for is never done here.
fn page(status: u16, body: &[u8], variable: &str) -> Refusal {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    // A 403 with a page is the guard's, whatever it says.
    if status != 403 && !has(&["captcha", "verif", "waf", "验证", "安全"]) {
        return if has(&["login", "log in", "sign in", "signin", "登录"]) {
            expired(variable)
        } else {
            Refusal::new(Kind::Protocol, "the service answered with a web page")
        };
    }
    Refusal::new(
        Kind::Verification,
        "the service wants a human check; open chatglm.cn in a browser and finish it there",
    )
}

/// The credential is refused for good.
pub(super) fn expired(variable: &str) -> Refusal {
    Refusal::new(
        Kind::AuthExpired,
        format!(
            "{variable} was refused; log in first at chatglm.cn and paste the new cookie chatglm_refresh_token"
        ),
    )
}

/// Whether the words are those of moderation, as services of the country have them; the page names none.
pub(super) fn speaks_of_moderation(words: &str) -> bool {
    ["违规", "敏感", "审核", "不合规"]
        .iter()
        .any(|word| words.contains(word))
}

/// Words for points, times and allowances.
pub(super) fn speaks_of_quota(words: &str) -> bool {
    ["积分", "次数", "额度"]
        .iter()
        .any(|word| words.contains(word))
}

fn unknown_assistant() -> Refusal {
    Refusal::from(ProviderError {
        param: Some("model".to_owned()),
        ..ProviderError::new(Kind::ModelNotFound, "the service does not know this model")
    })
}

/// What a JSON body says.
#[derive(Debug, Default)]
struct Said {
    /// `status` or `code`, whichever is not 0.
    number: Option<i64>,
    message: String,
    /// It says of itself that it is an error.
    is_error: bool,
}

impl Said {
    fn read(body: &[u8]) -> Option<Self> {
        let (value, _) = json::value(body)?;
        let members = value.as_object()?;
        let number = |name: &str| match members.get(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let numbers = [number("status"), number("code")];
        // `status` and `code` may both be there, one of them 0 (section 3).
        let telling = numbers.into_iter().flatten().find(|number| *number != 0);
        let error = members.get("error");
        let message = ["message", "msg"]
            .into_iter()
            .map(|name| members.get(name))
            .chain([error, error.and_then(|error| error.get("message"))])
            .find_map(|message| message?.as_str());
        Some(Self {
            // All zero: a success that says so.
            number: telling.or_else(|| numbers.into_iter().flatten().next()),
            message: json::whole(message.unwrap_or_default()),
            is_error: error.is_some_and(|error| !error.is_null()),
        })
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.message.contains(word))
    }

    /// Whether headers are missing: our doing, not the token's.
    fn is_about_head(&self) -> bool {
        matches!(self.number, Some(40001 | 40002 | 40011 | 40014))
    }

    /// The rows of section 7, words first: they say more than a number.
    fn refusal(&self, variable: &str) -> Option<Refusal> {
        let number = self.number.unwrap_or_default();
        // By words as well: 40102 comes as a part of messages, too (section 7).
        if number == 40102 || self.says(&["40102", "请登录后继续使用", "您已多次体验"])
        {
            return Some(expired(variable));
        }
        if number == 10061 || self.says(&["请等待其他对话生成完毕"]) {
            let error = Refusal::new(
                Kind::RateLimited,
                "the account is generating another answer",
            );
            return Some(error.with(Remedy::Wait));
        }
        if self.says(&["权限不足"]) {
            return Some(unknown_assistant().saying(&self.message));
        }
        if self.says(&["系统繁忙"]) {
            return Some(Refusal::new(Kind::Unavailable, "the service is overloaded"));
        }
        // Only of an error: successes speak of points in passing.
        if number != 0 && speaks_of_quota(&self.message) {
            let error = Refusal::new(
                Kind::QuotaSpent,
                format!("the quota of the account of {variable} is spent"),
            );
            return Some(error.saying(&self.message));
        }
        Some(match number {
            0 => return None,
            401 => expired(variable).with(Remedy::NewToken),
            429 => Refusal::new(Kind::RateLimited, "too many requests"),
            10025 => unknown_assistant(),
            40011 | 40014 => Refusal::new(
                Kind::Protocol,
                "the service did not accept the signature; check the clock of this machine",
            )
            .with(Remedy::NewSignature),
            40001 | 40002 => Refusal::new(
                Kind::Protocol,
                "the service did not accept the headers of the request",
            ),
            500..600 => Refusal::new(Kind::Unavailable, "the service failed").saying(&self.message),
            _ if self.says(&["quota exceeded"]) => {
                Refusal::new(Kind::RateLimited, "too many requests")
            }
            _ => Refusal::new(Kind::Protocol, "the service refused").saying(&self.message),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: u16, body: &str) -> (Kind, Remedy) {
        let refusal = refusal(status, body.as_bytes(), "ZHIPU_TOKEN");
        (refusal.error.kind, refusal.remedy)
    }

    /// The rows of section 7, in the bodies that it names.
    #[test]
    fn follows_the_table() {
        let plain = |kind| (kind, Remedy::None);
        for (status, body, expected) in [
            (
                401,
                r#"{"code":401,"status":401,"message":"unauthorized, token is expired","result":null}"#,
                (Kind::AuthExpired, Remedy::NewToken),
            ),
            (401, "", (Kind::AuthExpired, Remedy::NewToken)),
            (
                200,
                r#"{"code":401,"message":"x"}"#,
                (Kind::AuthExpired, Remedy::NewToken),
            ),
            (
                401,
                r#"{"status":40102,"message":"40102: unauthorized user, refresh token is expired","result":null}"#,
                plain(Kind::AuthExpired),
            ),
            (
                200,
                r#"{"status":1,"message":"error 40102"}"#,
                plain(Kind::AuthExpired),
            ),
            (
                200,
                r#"{"status":500,"message":"您已多次体验过对话, 请登录后继续使用"}"#,
                plain(Kind::AuthExpired),
            ),
            (
                401,
                r#"{"status":40011,"message":"bad request"}"#,
                (Kind::Protocol, Remedy::NewSignature),
            ),
            (
                401,
                r#"{"status":40014,"message":"bad request"}"#,
                (Kind::Protocol, Remedy::NewSignature),
            ),
            (
                400,
                r#"{"status":40001,"message":"bad request"}"#,
                plain(Kind::Protocol),
            ),
            (
                400,
                r#"{"status":40002,"message":"bad request"}"#,
                plain(Kind::Protocol),
            ),
            (
                200,
                r#"{"status":10061,"message":"请等待其他对话生成完毕","result":null}"#,
                (Kind::RateLimited, Remedy::Wait),
            ),
            (
                200,
                r#"{"code":400,"message":"请等待其他对话生成完毕"}"#,
                (Kind::RateLimited, Remedy::Wait),
            ),
            (
                429,
                r#"{"status":429,"message":"quota exceeded","result":null}"#,
                plain(Kind::RateLimited),
            ),
            (429, "", plain(Kind::RateLimited)),
            (
                429,
                r#"{"status":429,"message":"积分不足"}"#,
                plain(Kind::QuotaSpent),
            ),
            (
                200,
                r#"{"status":9,"message":"今日次数已用完"}"#,
                plain(Kind::QuotaSpent),
            ),
            (403, "<html>acw_tc</html>", plain(Kind::Verification)),
            (
                200,
                "<html>请完成安全验证</html>",
                plain(Kind::Verification),
            ),
            (
                200,
                "\n<!DOCTYPE html><title>登录</title>",
                plain(Kind::AuthExpired),
            ),
            (200, "<html></html>", plain(Kind::Protocol)),
            (
                200,
                r#"{"status":0,"result":null}"#,
                plain(Kind::ModelNotFound),
            ),
            (
                200,
                r#"{"status":10025,"message":"x"}"#,
                plain(Kind::ModelNotFound),
            ),
            (
                200,
                r#"{"status":3,"message":"权限不足"}"#,
                plain(Kind::ModelNotFound),
            ),
            (
                503,
                r#"{"status":503,"message":"系统繁忙，请稍后再试","result":null}"#,
                plain(Kind::Unavailable),
            ),
            (
                200,
                r#"{"status":1,"message":"系统繁忙，请稍后再试"}"#,
                plain(Kind::Unavailable),
            ),
            (502, "<html>bad gateway</html>", plain(Kind::Unavailable)),
            (
                400,
                r#"{"status":12345,"message":"x"}"#,
                plain(Kind::Protocol),
            ),
            (415, "", plain(Kind::Protocol)),
        ] {
            assert_eq!(row(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_refresh_token_that_is_refused_is_expired() {
        let row = |status, body: &str| {
            let refusal = refresh(status, body.as_bytes(), "ZHIPU_TOKEN");
            (refusal.error.kind, refusal.remedy)
        };
        let expired = (Kind::AuthExpired, Remedy::None);
        assert_eq!(row(400, "bad request"), expired);
        assert_eq!(row(400, r#"{"status":1,"message":"bad request"}"#), expired);
        assert_eq!(row(401, ""), expired);
        assert_eq!(row(401, r#"{"status":40102,"message":""}"#), expired);
        assert_eq!(
            row(401, r#"{"status":40014,"message":"bad request"}"#),
            (Kind::Protocol, Remedy::NewSignature)
        );
        assert_eq!(
            row(400, r#"{"status":40001}"#),
            (Kind::Protocol, Remedy::None)
        );
        assert_eq!(row(503, ""), (Kind::Unavailable, Remedy::None));
    }

    #[test]
    fn an_error_within_the_stream_is_known() {
        let kind = |data: &str| in_stream(data.as_bytes(), "V").map(|it| it.error.kind);
        assert_eq!(
            kind(r#"{"status":10061,"message":"x"}"#),
            Some(Kind::RateLimited)
        );
        assert_eq!(
            kind(r#"{"error":{"message":"upstream"}}"#),
            Some(Kind::Unavailable)
        );
        assert_eq!(kind(r#"{"error":"upstream"}"#), Some(Kind::Unavailable));
        assert_eq!(kind(r#"{"status":"init"}"#), None);
        assert_eq!(kind("[1]"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(status in 100_u16..600, body in ".*") {
            let _ = refusal(status, body.as_bytes(), "V");
        }
    }
}
