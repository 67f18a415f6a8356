//! What the service's refusals mean, as pure functions: HTTP statuses, numbers and sentences, in a body's or an event's
//! place. HTTP 200 is not success. Source: `wire/doubao.md` section 7.

use std::{borrow::Cow, time::Duration};

use serde_json::Value;

use crate::{
    chat::{Kind, ProviderError},
    upstream::json,
};

/// How long an account was seen blocked after asking too often.
const BLOCKED: Duration = Duration::from_secs(600);

/// A refusal, whatever it stood in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    number: Option<i64>,
    message: String,
    /// A person is to prove to be one.
    wants_check: bool,
}

/// An answer that is no event stream, or whose status is no success.
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> ProviderError {
    let said = match json::value(body) {
        Some((value @ Value::Object(_), _)) => read(&value),
        _ => Said::default(),
    };
    // The status decides only where the body does not say more, or cannot be meant.
    match status {
        401 => return expired(variable),
        // With a number the same status may mean the account is blocked.
        429 if said.number.is_none() => return rate_limited(),
        500.. => return unavailable(status),
        _ => {}
    }
    if said.number.is_some_and(|number| number != 0) {
        return meaning(&said, variable);
    }
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    // A page in an answer's place is a login's or a check's; any other is a wrong address.
    if text.trim_start().starts_with('<') {
        let names = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if names(&["captcha", "verify", "验证"]) {
            return verification();
        }
        if names(&["登录", "login", "passport"]) {
            return expired(variable);
        }
    }
    ProviderError::new(
        Kind::Protocol,
        format!("HTTP {status} with something else than an answer; check DOUBAO_BASE_URL"),
    )
}

/// What a short answer says: `None` where it is a success.
pub(super) fn refused(answer: &Value, variable: &str) -> Option<ProviderError> {
    let said = read(answer);
    said.number
        .filter(|number| *number != 0)
        .map(|_| meaning(&said, variable))
}

/// An error event of either protocol.
pub(super) fn event(data: &Value, variable: &str) -> ProviderError {
    meaning(&read(data), variable)
}

/// The event that stands for moderation, unless its number says otherwise.
pub(super) fn moderation(data: &Value, variable: &str) -> ProviderError {
    let said = read(data);
    // These are about the account and its address, whichever event they come in (section 7).
    let is_known = said.number.is_some_and(
        |number| matches!(number, 710_012_000..=710_012_999 | 710_022_000..=710_022_999),
    );
    if is_known {
        meaning(&said, variable)
    } else {
        moderated()
    }
}

/// The members of a refusal, in the spellings of all its places.
fn read(value: &Value) -> Said {
    let number = |name: &str| match value.get(name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.trim().parse().ok(),
        _ => None,
    };
    let names = ["error_code", "code", "status_code"];
    let mut said = Said {
        number: names.iter().find_map(|name| number(name)),
        message: ["error_msg", "msg", "message", "status_desc"]
            .iter()
            .find_map(|name| value.get(*name)?.as_str())
            .unwrap_or_default()
            .to_owned(),
        wants_check: ["extra", "ext"]
            .iter()
            .any(|name| value.get(*name).is_some_and(wants_check)),
    };
    // The gateway's own event has the number inside its text.
    if let Some((_, rest)) = said.message.split_once("ErrorX:code=") {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        let (digits, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let inner = rest.split_once("message=[");
        let inner = inner.and_then(|(_, rest)| rest.split_once(']'));
        let message = inner.map_or("", |(inner, _)| inner).to_owned();
        // The inner message is the cause; the outer one names the gateway.
        (said.number, said.message) = (digits.parse().ok().or(said.number), message);
    }
    if let Some(detail) = value.get("error_detail").filter(|it| it.is_object()) {
        let inner = read(detail);
        said.wants_check |= inner.wants_check;
        said.number = said.number.or(inner.number);
        if said.message.is_empty() {
            said.message = inner.message;
        }
    }
    said
}

/// Whether `decision`, an object or its JSON, asks for a verification.
fn wants_check(extra: &Value) -> bool {
    let decision = match extra.get("decision") {
        Some(Value::String(text)) => match json::value(text.as_bytes()) {
            Some((decision, _)) => Cow::Owned(decision),
            None => return false,
        },
        Some(decision) => Cow::Borrowed(decision),
        None => return false,
    };
    decision.get("type").and_then(Value::as_str) == Some("verify")
}

/// The rows of the table.
fn meaning(said: &Said, variable: &str) -> ProviderError {
    let names = |words: &[&str]| words.iter().any(|word| said.message.contains(word));
    match said.number.unwrap_or_default() {
        // Before the check: a session that has died is asked to verify as well.
        710_012_000 | 710_012_001 | 710_022_013 | 710_022_019 => return expired(variable),
        _ if said.wants_check => return verification(),
        710_022_004 | 429 => return rate_limited(),
        710_022_002 => return blocked(),
        710_022_003 | 710_022_017 => return country(),
        710_011_001 => {
            return ProviderError::new(Kind::Protocol, "the service did not accept the request")
                .with_code("upstream_bad_request")
                .saying(&said.message);
        }
        _ => {}
    }
    if names(&["审核", "违规", "sensitive"]) {
        return moderated();
    }
    if names(&["访问频繁"]) {
        return blocked();
    }
    let number = said.number.map(|number| format!(" ({number})"));
    ProviderError::new(
        Kind::Unavailable,
        format!("the service failed{}", number.unwrap_or_default()),
    )
    .saying(&said.message)
}

fn expired(variable: &str) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!(
            "{variable} was refused; sign in again at www.doubao.com and paste the new sessionid or the whole cookie"
        ),
    )
}

fn verification() -> ProviderError {
    ProviderError::new(
        Kind::Verification,
        "Doubao wants a person's check of this account; open www.doubao.com in a browser, finish the verification, then retry",
    )
}

fn rate_limited() -> ProviderError {
    ProviderError::new(Kind::RateLimited, "too many requests")
}

fn blocked() -> ProviderError {
    rate_limited().with_retry_after(Some(BLOCKED))
}

fn country() -> ProviderError {
    ProviderError::new(
        Kind::Unavailable,
        "Doubao refuses the country of this server's address",
    )
    .with_code("upstream_country_refused")
    .lasting()
}

/// The service's moderation stopped the answer.
pub(super) fn moderated() -> ProviderError {
    ProviderError::new(
        Kind::Moderated,
        "the service's moderation stopped the answer",
    )
}

fn unavailable(status: u16) -> ProviderError {
    ProviderError::new(
        Kind::Unavailable,
        format!("the service answered with HTTP {status}"),
    )
}

/// A picture or document that the service does not take.
pub(super) fn file_rejected(why: &str) -> ProviderError {
    ProviderError {
        param: Some("messages".to_owned()),
        ..ProviderError::new(Kind::FileRejected, "the service refused an attachment")
    }
    .saying(why)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VARIABLE: &str = "DOUBAO_TOKEN_2";

    /// The rows of section 7.
    #[test]
    fn follows_the_table() {
        for (status, body, kind) in [
            (
                200,
                r#"{"code":710012001,"msg":"登录已过期"}"#,
                Kind::AuthExpired,
            ),
            (200, r#"{"code":"710012000","msg":"x"}"#, Kind::AuthExpired),
            (200, r#"{"status_code":710022013}"#, Kind::AuthExpired),
            (200, r#"{"code":710022019,"msg":"x"}"#, Kind::AuthExpired),
            (401, "", Kind::AuthExpired),
            (200, "<html>登录</html>", Kind::AuthExpired),
            (200, "<html>Captcha</html>", Kind::Verification),
            (
                200,
                r#"{"code":710022004,"msg":"x","extra":{"decision":{"type":"verify"}}}"#,
                Kind::Verification,
            ),
            (
                200,
                r#"{"code":710022004,"msg":"rate limited"}"#,
                Kind::RateLimited,
            ),
            (429, "", Kind::RateLimited),
            (
                429,
                r#"{"code":710022002,"msg":"block"}"#,
                Kind::RateLimited,
            ),
            (200, r#"{"code":710022003,"msg":"x"}"#, Kind::Unavailable),
            (200, r#"{"code":710022017,"msg":"x"}"#, Kind::Unavailable),
            (200, r#"{"code":5,"msg":"内容审核未通过"}"#, Kind::Moderated),
            (
                200,
                r#"{"code":5,"msg":"当前服务访问频繁，请稍后重试"}"#,
                Kind::RateLimited,
            ),
            (
                503,
                r#"{"code":503,"msg":"服务过载，请稍后重试"}"#,
                Kind::Unavailable,
            ),
            (200, r#"{"code":5,"msg":"系统错误"}"#, Kind::Unavailable),
            (
                200,
                r#"{"code":710011001,"msg":"invalid param: fp"}"#,
                Kind::Protocol,
            ),
            (200, "{}", Kind::Protocol),
            (200, "nonsense", Kind::Protocol),
            (404, "", Kind::Protocol),
        ] {
            let error = refusal(status, body.as_bytes(), VARIABLE);
            assert_eq!(error.kind, kind, "{status} {body}");
            let names = error.message.contains(VARIABLE);
            assert_eq!(names, kind == Kind::AuthExpired, "{error:?}");
        }
        let country = refusal(200, br#"{"code":710022017,"msg":"x"}"#, VARIABLE);
        assert!(country.is_lasting);
        let blocked = refusal(200, br#"{"code":710022002,"msg":"block"}"#, VARIABLE);
        assert_eq!(blocked.retry_after, Some(BLOCKED));
    }

    #[test]
    fn events_say_it_in_their_own_shapes() {
        let kind = |data: Value| event(&data, VARIABLE).kind;
        let gateway = "ErrorX:code=710012000 stable=true isPeer=false peerStable=false message=[user invalid]\nchain=[\n(cause)0: Invalid User ID\n]";
        assert_eq!(
            kind(json!({"code": "Internal", "message": gateway})),
            Kind::AuthExpired
        );
        let decision = r#"{"type":"verify","subtype":"slide"}"#;
        let detail =
            json!({"code": 710022004, "message": "rate limited", "ext": {"decision": decision}});
        assert_eq!(
            kind(json!({"code": 710022004, "message": "x", "error_detail": detail})),
            Kind::Verification
        );
        assert_eq!(
            kind(json!({"error_code": 710022004, "error_msg": "x"})),
            Kind::RateLimited
        );
        assert_eq!(
            kind(json!({"error_code": 1, "error_msg": "sensitive content"})),
            Kind::Moderated
        );
        assert_eq!(kind(json!({})), Kind::Unavailable);
        let moderated = |number: i64| {
            let data = json!({"error_code": number, "error_msg": "x"});
            moderation(&data, VARIABLE).kind
        };
        assert_eq!(moderated(710_023_001), Kind::Moderated);
        assert_eq!(moderated(710_022_004), Kind::RateLimited);
    }

    #[test]
    fn a_short_answer_is_a_success_or_says_why_not() {
        for success in [
            json!({"code": 0}),
            json!({"status_code": 0}),
            json!({"data": 1}),
        ] {
            assert!(refused(&success, VARIABLE).is_none(), "{success}");
        }
        let refused = refused(&json!({"code": 9, "msg": "x"}), VARIABLE).unwrap();
        assert_eq!(refused.kind, Kind::Unavailable);
        assert!(refused.message.contains("(9): x"), "{refused:?}");
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(status in 200_u16..600, body in ".*") {
            refusal(status, body.as_bytes(), VARIABLE);
        }
    }
}
