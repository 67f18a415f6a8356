//! What refusals mean: HTTP statuses, the envelope under any status, and the same codes within a stream. Source:
//! `wire/ernie.md` section 7.

use serde_json::{Map, Value};

use crate::{chat::Kind, providers::refused, upstream::json};

/// A refusal, and what may be done about it before it is passed on.
pub(super) type Refusal = refused::Refusal<Remedy>;

/// What may help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing that this account could do.
    #[default]
    None,
    /// Another session: this one, or its last message, is not known.
    NewSession,
    /// The short form of the question.
    ShortForm,
}

/// An answer that is no event stream, or whose status is no success. `variable` is that of the cookie.
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> Refusal {
    let text = String::from_utf8_lossy(body);
    let members = match json::value(body) {
        // Loosely read: the code may stand beside a member that comes twice or holds half a character.
        Some((Value::Object(members), _)) => Some(members),
        _ => None,
    };
    // The envelope first, whatever the status: most refusals come under 200 (section 7).
    if let Some(refusal) = members.as_ref().and_then(|it| in_envelope(it, variable)) {
        return refusal;
    }
    // A page in an answer's place is that of a login or of a check.
    let is_page = members.is_none() && text.trim_start().starts_with('<');
    match status {
        401 => signed_out(variable),
        _ if is_page && status < 500 && text.contains("验证") => verification(),
        _ if is_page && status < 500 && text.contains("登录") => signed_out(variable),
        403 => restricted(variable),
        429 => too_many(),
        500.. => Refusal::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {status}"),
        ),
        _ => Refusal::new(
            Kind::Protocol,
            format!("the service answered with HTTP {status} and not with an answer"),
        ),
    }
}

/// What an envelope says is wrong; `None` where it says that all is well, or is none.
pub(super) fn in_envelope(members: &Map<String, Value>, variable: &str) -> Option<Refusal> {
    let content = members.get("content");
    let is_login = content.and_then(|content| content.get("isLogin")?.as_bool());
    if is_login == Some(false) {
        return Some(signed_out(variable));
    }
    // `/eb/user/info` says `ret` for what the others call `code` (section 3).
    let code = ["code", "ret"]
        .iter()
        .find_map(|name| number(members.get(*name)?))?;
    let message = members.get("msg").and_then(Value::as_str);
    let message = json::whole(message.unwrap_or_default());
    (code != 0).then(|| coded(code, &message, variable))
}

/// A code that is not 0, and its words. Numbers that are known for sure come first; the words decide where a number is only
/// guessed at; what is left is a failure of the service.
fn coded(code: i64, message: &str, variable: &str) -> Refusal {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match code {
        // Before the number: 40005 with these words is a check and not an expiry (section 7).
        _ if has(&["验证"]) => verification().saying(message),
        40005 => restricted(variable),
        10001 => signed_out(variable),
        _ if has(&["登录"]) => signed_out(variable),
        40008 => moderated().saying(message),
        _ if has(&["敏感", "违规"]) => moderated().saying(message),
        _ if has(&["频繁"]) => too_many().saying(message),
        1 => too_many().saying(message),
        40002 => {
            // The flow has tried another session by the time that somebody hears of it.
            Refusal::new(Kind::Unavailable, "the service lost the session")
                .lasting()
                .with(Remedy::NewSession)
                .saying(message)
        }
        40000 => Refusal::new(Kind::Protocol, "the service did not accept the request")
            .code("upstream_bad_request")
            .with(Remedy::ShortForm)
            .saying(message),
        _ => Refusal::new(Kind::Unavailable, "the service failed").saying(message),
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn signed_out(variable: &str) -> Refusal {
    Refusal::new(
        Kind::AuthExpired,
        format!(
            "{variable} was refused; sign in at ernie.baidu.com and copy the whole cookie of a conversation/v2 request"
        ),
    )
}

/// 40005: the page's own tokens, the clock, or the account.
fn restricted(variable: &str) -> Refusal {
    let account = variable.trim_end_matches("_COOKIE");
    Refusal::new(
        Kind::AuthExpired,
        format!(
            "the service restricts this account: {account}_ACS_TOKEN and {account}_SIGN are missing or have expired (they live only hours), or this machine's clock is wrong; copy both anew, with the cookie, from one conversation/v2 request"
        ),
    )
}

fn verification() -> Refusal {
    Refusal::new(
        Kind::Verification,
        "the service wants a human check; open ernie.baidu.com in a browser and finish it there",
    )
}

fn moderated() -> Refusal {
    Refusal::new(
        Kind::Moderated,
        "the service's moderation stopped the answer",
    )
}

fn too_many() -> Refusal {
    Refusal::new(Kind::RateLimited, "too many requests")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLE: &str = "BAIDU_ACCOUNT_2_COOKIE";

    fn of(status: u16, body: &str) -> (Kind, Remedy) {
        let refusal = refusal(status, body.as_bytes(), VARIABLE);
        (refusal.error.kind, refusal.remedy)
    }

    /// The rows of section 7.
    #[test]
    fn every_row_has_its_kind() {
        let nothing = Remedy::None;
        for (code, message, expected) in [
            (10001, "", (Kind::AuthExpired, nothing)),
            (7, "用户未登录", (Kind::AuthExpired, nothing)),
            (40005, "用户访问被限制", (Kind::AuthExpired, nothing)),
            (40005, "请完成安全验证", (Kind::Verification, nothing)),
            (1, "", (Kind::RateLimited, nothing)),
            (9, "操作过于频繁", (Kind::RateLimited, nothing)),
            (40008, "", (Kind::Moderated, nothing)),
            (1, "内容敏感", (Kind::Moderated, nothing)),
            (9, "内容违规", (Kind::Moderated, nothing)),
            (50000, "系统繁忙", (Kind::Unavailable, nothing)),
            (40002, "", (Kind::Unavailable, Remedy::NewSession)),
            (40000, "", (Kind::Protocol, Remedy::ShortForm)),
            (60123, "x", (Kind::Unavailable, nothing)),
        ] {
            let body =
                serde_json::json!({"code": code, "msg": message, "data": null, "logId": "1"});
            assert_eq!(of(200, &body.to_string()), expected, "{body}");
            let body = serde_json::json!({"code": code.to_string(), "msg": message});
            assert_eq!(of(200, &body.to_string()), expected, "{body}");
        }
        for (status, body, kind) in [
            (401, "", Kind::AuthExpired),
            (
                200,
                r#"{"ret":0,"content":{"isLogin":false}}"#,
                Kind::AuthExpired,
            ),
            (200, "<html>百度安全验证</html>", Kind::Verification),
            (302, "<html>登录</html>", Kind::AuthExpired),
            (
                200,
                r#"{"code":0,"msg":"success","data":{}}"#,
                Kind::Protocol,
            ),
            (200, "oops", Kind::Protocol),
            (403, "<html>403 Forbidden</html>", Kind::AuthExpired),
            (404, "", Kind::Protocol),
            (429, "", Kind::RateLimited),
            (500, "", Kind::Unavailable),
            (502, "<html>登录</html>", Kind::Unavailable),
        ] {
            assert_eq!(of(status, body).0, kind, "{status} {body}");
        }
    }

    #[test]
    fn messages_name_the_variables_to_renew() {
        let message = |body: &str| refusal(200, body.as_bytes(), VARIABLE).error.message;
        let restricted = message(r#"{"code":40005,"msg":"x"}"#);
        for name in ["BAIDU_ACCOUNT_2_ACS_TOKEN", "BAIDU_ACCOUNT_2_SIGN", "hours"] {
            assert!(restricted.contains(name), "{restricted}");
        }
        assert!(message(r#"{"code":10001}"#).starts_with("BAIDU_ACCOUNT_2_COOKIE "));
    }

    #[test]
    fn a_lost_session_is_not_asked_for_again_and_again() {
        let error = refusal(200, br#"{"code":40002}"#, VARIABLE).error;
        assert!(error.is_lasting);
    }
}
