//! What refusals mean, in whichever of its shapes the service says them. Source: `wire/kimi.md` section 7.

use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;

use crate::chat::{Kind, ProviderError};

const RENEW: &str =
    "sign in again at www.kimi.com and paste the new kimi-auth cookie or refresh_token";

/// An error object (E1, E2, E4), or what an exception of a block holds (E3). Nothing about its form is taken for
/// granted: an error that cannot be read must not become another error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    status: Option<u16>,
    code: String,
    reason: String,
    description: String,
}

impl Refusal {
    /// An HTTP answer other than the one hoped for. The object may stand by itself or in `error`.
    pub(super) fn http(status: u16, body: &[u8]) -> Self {
        // What is no JSON is no object; the status then says what there is to say.
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status: Some(status),
            ..Self::object(
                body.get("error")
                    .filter(|it| it.is_object())
                    .unwrap_or(&body),
            )
        }
    }

    /// An error object within a stream.
    pub(super) fn object(object: &Value) -> Self {
        let word = |value: &Value, name: &str| {
            // A text that is none is not said: an error must not become another error.
            let text = value.get(name).and_then(|it| String::deserialize(it).ok());
            text.unwrap_or_default()
        };
        let details = object.get("details").and_then(Value::as_array);
        let debugs: Vec<&Value> = details
            .into_iter()
            .flatten()
            .filter_map(|detail| detail.get("debug"))
            .chain([object])
            .collect();
        // In the table's order (section 7): what is filled first is what is shown.
        let first = |words: Vec<String>| words.into_iter().find(|word| !word.is_empty());
        let reason = first(debugs.iter().map(|it| word(it, "reason")).collect());
        let localized = debugs.iter().filter_map(|it| it.get("localizedMessage"));
        let localized = first(localized.map(|it| word(it, "message")).collect());
        let code = first(vec![word(object, "code"), word(object, "error_type")]);
        let reason = reason.unwrap_or_default();
        let code = code.unwrap_or_default();
        Self {
            status: None,
            description: first(vec![
                // The reader's own language before the words for clients.
                localized.unwrap_or_default(),
                word(object, "message"),
                reason.clone(),
                code.clone(),
            ])
            .unwrap_or_default(),
            code,
            reason,
        }
    }

    /// Whether there was an error object at all.
    pub(super) fn has_words(&self) -> bool {
        !self.description.is_empty()
    }

    /// Whether an exception's reason is moderation (names INFERRED by the page).
    pub(super) fn is_moderation(&self) -> bool {
        let reason = self.reason.to_ascii_uppercase();
        ["CONTENT", "SENSITIVE", "RISK", "FILTER"]
            .iter()
            .any(|word| reason.contains(word))
    }

    /// The table of section 7: words first, as they say more than a status.
    pub(super) fn into_error(self, variable: &str) -> ProviderError {
        // In words first, then the status: a refusal of one status says several things.
        let error = match self.row() {
            Row::Unauthenticated => return expired(variable),
            Row::Forbidden => ProviderError::new(
                Kind::AuthExpired,
                format!("the account of {variable} may not do this; {RENEW}"),
            )
            .with_code("upstream_forbidden"),
            Row::TooMany => ProviderError::new(Kind::RateLimited, "too many requests"),
            // The provider's flow takes the code off again (section 4.5).
            Row::FreeShutOut => {
                ProviderError::new(Kind::RateLimited, "too many requests").with_code(FREE_SHUT_OUT)
            }
            Row::Quota => ProviderError::new(
                Kind::QuotaSpent,
                format!("the credits of the account of {variable} are spent"),
            )
            .with_code("upstream_quota_exceeded")
            .with_retry_after(Some(QUOTA_REST)),
            Row::Membership => membership(),
            Row::Blocked => ProviderError::new(
                Kind::AuthExpired,
                format!("the service has flagged the account of {variable}; {RENEW}"),
            )
            .with_code("upstream_account_blocked"),
            Row::Unavailable => ProviderError::new(Kind::Unavailable, "the service failed"),
            Row::Late => ProviderError::new(Kind::Timeout, "the service was too slow"),
            Row::InvalidArgument => {
                ProviderError::new(Kind::BadRequest, "the service did not accept the request")
                    .with_code("upstream_invalid_argument")
            }
            Row::NotFound => {
                ProviderError::new(Kind::Protocol, "the service does not know what was named")
                    .with_code("upstream_not_found")
            }
            Row::Other(status) => ProviderError::new(
                Kind::Protocol,
                format!("the service answered with HTTP {status}"),
            )
            .with_code(&format!("upstream_http_{status}")),
        };
        error.saying(&self.description)
    }

    /// Spent credits, in the words that the service uses for them; an overload has the same code (section 7).
    fn speaks_of_credits(&self) -> bool {
        let (reason, words) = (
            self.reason.to_ascii_uppercase(),
            self.description.to_lowercase(),
        );
        let names = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
        // An overload has the same code as spent credits; the words tell them apart (section 7).
        !reason.contains("OVERLOADED")
            && (names(&reason, &["QUOTA", "CREDIT"])
                || names(&words, &["credit", "quota", "额度", "次数"]))
    }

    fn row(&self) -> Row {
        let is = |words: &[&str]| {
            words.iter().any(|word| {
                self.reason.eq_ignore_ascii_case(word) || self.code.eq_ignore_ascii_case(word)
            })
        };
        if is(&[
            "unauthenticated",
            "REASON_INVALID_AUTH_TOKEN",
            "auth.token.invalid",
        ]) {
            return Row::Unauthenticated;
        }
        if is(&["auth.account_abnormal"]) {
            return Row::Blocked;
        }
        if is(&["REASON_SUBSCRIPTION_NEED_APPLY"]) {
            return Row::Membership;
        }
        if is(&["REASON_SERVER_OVERLOADED_FOR_FREE_USER"]) {
            return Row::FreeShutOut;
        }
        // Before the plain limit, which has the same code.
        if is(&["resource_exhausted"]) && self.speaks_of_credits() {
            return Row::Quota;
        }
        if is(&[
            "resource_exhausted",
            "MODEL_RATE_LIMIT",
            "RATE_LIMITED",
            "chat.user_stream_pushing",
        ]) {
            return Row::TooMany;
        }
        if is(&["unavailable", "REASON_COMPLETION_OVERLOADED"]) {
            return Row::Unavailable;
        }
        if is(&["permission_denied"]) {
            return Row::Forbidden;
        }
        if is(&["invalid_argument", "failed_precondition"]) {
            return Row::InvalidArgument;
        }
        if is(&["not_found"]) {
            return Row::NotFound;
        }
        if is(&["deadline_exceeded"]) {
            return Row::Late;
        }
        match self.status {
            Some(401) => Row::Unauthenticated,
            Some(403) => Row::Forbidden,
            Some(404) => Row::NotFound,
            Some(429) => Row::TooMany,
            // A 400 without a word that we know is no verdict on the caller's request.
            Some(status @ ..500) => Row::Other(status),
            // An exception has no status, and is of the generator: passing.
            // `internal`, `unknown`, every other reason of an exception, 5xx.
            Some(500..) | None => Row::Unavailable,
        }
    }
}

enum Row {
    Unauthenticated,
    Blocked,
    Membership,
    FreeShutOut,
    Quota,
    Forbidden,
    TooMany,
    Unavailable,
    Late,
    InvalidArgument,
    NotFound,
    Other(u16),
}

/// The credential was refused.
pub(super) fn expired(variable: &str) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!("{variable} was refused; {RENEW}"),
    )
}

/// Free accounts are shut out at the moment.
pub(super) const FREE_SHUT_OUT: &str = "upstream_free_users_shut_out";
/// How long an account without credits is left alone (section 7).
const QUOTA_REST: Duration = Duration::from_secs(600);

/// The account's membership does not include what was asked for; says nothing about the credential.
pub(super) fn membership() -> ProviderError {
    ProviderError::new(
        Kind::Forbidden,
        "the account's membership does not include this model",
    )
    .with_code("upstream_membership_required")
}

/// Moderation before any text.
pub(super) fn moderated() -> ProviderError {
    ProviderError::new(
        Kind::Moderated,
        "the service's moderation stopped the answer",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(status: u16, body: &Value) -> (Kind, Option<String>) {
        let error = Refusal::http(status, body.to_string().as_bytes()).into_error("KIMI_TOKEN");
        (error.kind, error.code)
    }

    /// The rows of wire/kimi.md section 7.
    #[test]
    fn follows_the_table() {
        let own = |code: &str| Some(code.to_owned());
        let detail = |reason: &str| json!({"code": "unknown", "details": [{"type": "t", "value": "v", "debug": {"reason": reason}}]});
        for (status, body, expected) in [
            (401, json!({}), (Kind::AuthExpired, None)),
            (
                200,
                json!({"error": {"code": "unauthenticated"}}),
                (Kind::AuthExpired, None),
            ),
            (
                500,
                detail("REASON_INVALID_AUTH_TOKEN"),
                (Kind::AuthExpired, None),
            ),
            (
                400,
                json!({"error_type": "auth.token.invalid"}),
                (Kind::AuthExpired, None),
            ),
            (
                403,
                json!({}),
                (Kind::AuthExpired, own("upstream_forbidden")),
            ),
            (
                200,
                json!({"code": "permission_denied"}),
                (Kind::AuthExpired, own("upstream_forbidden")),
            ),
            (429, json!({}), (Kind::RateLimited, None)),
            (
                200,
                json!({"code": "RESOURCE_EXHAUSTED"}),
                (Kind::RateLimited, None),
            ),
            (
                503,
                detail("REASON_SERVER_OVERLOADED_FOR_FREE_USER"),
                (Kind::RateLimited, own(FREE_SHUT_OUT)),
            ),
            (
                429,
                json!({"code": "resource_exhausted", "message": "quota used", "details": [{"debug": {"reason": "REASON_SERVER_OVERLOADED_FOR_FREE_USER"}}]}),
                (Kind::RateLimited, own(FREE_SHUT_OUT)),
            ),
            (
                200,
                json!({"code": "resource_exhausted", "details": [{"debug": {"reason": "REASON_QUOTA_EXCEEDED"}}]}),
                (Kind::QuotaSpent, own("upstream_quota_exceeded")),
            ),
            (
                200,
                json!({"code": "resource_exhausted", "message": "今日额度已用完"}),
                (Kind::QuotaSpent, own("upstream_quota_exceeded")),
            ),
            (
                403,
                json!({"code": "permission_denied", "details": [{"debug": {"reason": "REASON_SUBSCRIPTION_NEED_APPLY"}}]}),
                (Kind::Forbidden, own("upstream_membership_required")),
            ),
            (
                403,
                json!({"error_type": "auth.account_abnormal"}),
                (Kind::AuthExpired, own("upstream_account_blocked")),
            ),
            (
                400,
                json!({"error_type": "chat.user_stream_pushing"}),
                (Kind::RateLimited, None),
            ),
            (
                200,
                json!({"code": "MODEL_RATE_LIMIT"}),
                (Kind::RateLimited, None),
            ),
            (503, json!({}), (Kind::Unavailable, None)),
            (
                200,
                detail("REASON_COMPLETION_OVERLOADED"),
                (Kind::Unavailable, None),
            ),
            (
                200,
                json!({"code": "invalid_argument"}),
                (Kind::BadRequest, own("upstream_invalid_argument")),
            ),
            (
                400,
                json!({"code": "failed_precondition"}),
                (Kind::BadRequest, own("upstream_invalid_argument")),
            ),
            (
                404,
                json!({"code": "not_found"}),
                (Kind::Protocol, own("upstream_not_found")),
            ),
            (500, json!({"code": "internal"}), (Kind::Unavailable, None)),
            (415, json!({}), (Kind::Protocol, own("upstream_http_415"))),
        ] {
            assert_eq!(kind(status, &body), expected, "{status} {body}");
        }
    }

    #[test]
    fn says_the_most_helpful_words() {
        let said = |object: Value| Refusal::object(&object).description;
        let full = json!({"code": "c", "message": "m", "details": [{"debug": {"reason": "R", "localizedMessage": {"locale": "en-US", "message": "busy"}}}]});
        assert_eq!(said(full), "busy");
        assert_eq!(
            said(json!({"code": "c", "message": "m", "details": []})),
            "m"
        );
        assert_eq!(
            said(json!({"code": "c", "message": "", "details": [{"debug": {"reason": "R"}}]})),
            "R"
        );
        assert_eq!(said(json!({"code": "c"})), "c");
        assert_eq!(
            said(json!({"reason": "R", "localizedMessage": {"message": "x"}})),
            "x"
        );
        for odd in [
            json!(null),
            json!([1]),
            json!({"code": 5, "message": [], "details": {"a": 1}}),
            json!({"details": [5, {"debug": 7}]}),
        ] {
            assert_eq!(Refusal::object(&odd), Refusal::default(), "{odd}");
        }
    }
}
