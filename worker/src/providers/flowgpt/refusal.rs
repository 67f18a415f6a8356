//! What the service's refusals mean, as pure functions. Source: `wire/flowgpt.md` section 7.

use serde_json::{Map, Value};

use crate::{
    chat::{Kind, ProviderError},
    impossible::OrImpossible as _,
    providers::said::Said,
    upstream::json,
};

/// Members that hold a reason, as text or as an object of the same; the first one that is a text is the message.
const REASONS: &[&str] = &["data", "message", "error", "code", "reason", "detail"];
/// Reasons within reasons.
const MOST_DEPTH: usize = 4;

/// Which of the two calls was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The new conversation.
    Create,
    /// The question in it.
    Chat,
}

/// What an answer says that is none.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    pub(super) step: Step,
    pub(super) status: u16,
    /// `x-amzn-waf-action`.
    pub(super) waf_action: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// What is said in a reason.
#[derive(Debug, Default)]
struct Words {
    /// The first text.
    message: String,
    /// All of them in lower case, with blanks between.
    all: String,
}

impl Refused<'_> {
    /// Whether the service speaks of what a question is signed with: the mode may be the wrong one (section 1).
    pub(super) fn is_about_signature(&self) -> bool {
        // A challenge's page is no word of the service's.
        self.status == 403 && !self.is_challenge() && words(self.body).is_about_signature()
    }

    /// What it means to the account whose token is in `variable`.
    pub(super) fn error(&self, variable: &str) -> ProviderError {
        // Before the status: the guard answers 405 as well, which means nothing else here.
        if self.is_challenge() {
            return verification();
        }
        let words = words(self.body);
        let status = self.status;
        match status {
            401 => expired(variable),
            // Section 7: payment is how the service names its daily limit.
            402 => quota_spent().saying(&words.message),
            // Before the signature: a limit of a day "has expired" as well, but names itself.
            403 if words.names_limit() => quota_spent().saying(&words.message),
            403 if words.is_about_signature() => signature_refused(variable),
            403 => expired(variable),
            // Of the question a missing prompt would be an ordinary fault: the conversation stands already.
            404 if self.step == Step::Create => ProviderError {
                param: Some("model".to_owned()),
                ..ProviderError::new(
                    Kind::ModelNotFound,
                    "the service has no such prompt any more; FLOWGPT_MODEL_MAP can name another",
                )
            },
            429 => {
                ProviderError::new(Kind::RateLimited, "too many requests").saying(&words.message)
            }
            500.. => ProviderError::new(
                Kind::Unavailable,
                format!("the service answered with HTTP {status}"),
            ),
            400 => ProviderError::new(Kind::Protocol, "the service did not accept the request")
                .saying(&words.message),
            _ => ProviderError::new(
                Kind::Protocol,
                format!("the service answered with HTTP {status}"),
            )
            .saying(&words.message),
        }
    }

    /// The site's guard wants a browser to prove itself. Its page is empty or for people.
    fn is_challenge(&self) -> bool {
        matches!(self.waf_action, Some("challenge" | "captcha"))
    }
}

impl Words {
    fn is_about_signature(&self) -> bool {
        // Section 7 names these four words.
        ["signature", "nonce", "device", "expired"]
            .iter()
            .any(|word| self.all.contains(word))
    }

    fn names_limit(&self) -> bool {
        let after_daily = self.all.split_once("daily").map(|(_, after)| after);
        self.all.contains("limit_reached") || after_daily.is_some_and(|it| it.contains("limit"))
    }
}

/// The reason of an `error` event.
pub(super) fn told(reason: &Value) -> ProviderError {
    let mut words = Words::default();
    words.read(reason, 0);
    let is_moderated = ["policy", "violat"]
        .iter()
        .any(|word| words.all.contains(word));
    let error = if is_moderated {
        ProviderError::new(
            Kind::Moderated,
            "the service's moderation stopped the answer",
        )
    } else {
        ProviderError::new(Kind::Unavailable, "the service reports a failure")
    };
    error.saying(&words.message)
}

/// An error in the place of a line of the answer, which says its own status.
pub(super) fn in_stream(
    said: &Said,
    members: &Map<String, Value>,
    variable: &str,
) -> ProviderError {
    match said.status {
        Some(status) => {
            let body = serde_json::to_vec(members).or_impossible("a JSON value serialises");
            let refused = Refused {
                step: Step::Chat,
                status,
                waf_action: None,
                body: &body,
            };
            refused.error(variable)
        }
        None => told(&Value::Object(members.clone())),
    }
}

/// The words of a refusal. A page for people has none: its styles speak of devices, too.
fn words(body: &[u8]) -> Words {
    let mut words = Words::default();
    match json::value(body) {
        Some((value, _)) => words.read(&value, 0),
        None => {
            let said = Said::body(body);
            words.read(&Value::String(said.message), 0);
        }
    }
    words.message = json::whole(&words.message);
    words
}

impl Words {
    fn read(&mut self, value: &Value, depth: usize) {
        match value {
            Value::String(text) => {
                // The first text is the message; all of them together are searched for words.
                if self.message.is_empty() {
                    text.clone_into(&mut self.message);
                }
                self.all.push_str(&text.to_lowercase());
                self.all.push(' ');
            }
            Value::Object(members) if depth < MOST_DEPTH => {
                for member in REASONS.iter().filter_map(|name| members.get(*name)) {
                    self.read(member, depth + 1);
                }
            }
            Value::Array(list) if depth < MOST_DEPTH => {
                list.iter().for_each(|item| self.read(item, depth + 1));
            }
            Value::Array(_)
            | Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_) => {}
        }
    }
}

fn expired(variable: &str) -> ProviderError {
    ProviderError::new(
        Kind::AuthExpired,
        format!(
            "{variable} was refused; sign in at flowgpt.com, send a message and paste the new authorization header of its chat request"
        ),
    )
}

fn signature_refused(variable: &str) -> ProviderError {
    // The account's own variable, whatever number it has.
    let device = variable.replace("BEARER_TOKEN", "DEVICE_ID");
    ProviderError::new(
        Kind::Protocol,
        format!(
            "the service refused the signature of the question: check {device} (FLOWGPT_DEVICE_ID), and whether another FLOWGPT_SIGNATURE_MODE is accepted"
        ),
    )
}

fn quota_spent() -> ProviderError {
    ProviderError::new(Kind::QuotaSpent, "the account's limit is reached")
}

fn verification() -> ProviderError {
    ProviderError::new(
        Kind::Verification,
        "the site wants a browser's check; open flowgpt.com, send a message and set FLOWGPT_WAF_TOKEN to the x-aws-waf-token header of its chat request",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(step: Step, status: u16, waf_action: Option<&str>, body: &str) -> Kind {
        let body = body.as_bytes();
        let refused = Refused {
            step,
            status,
            waf_action,
            body,
        };
        refused.error("FLOWGPT_BEARER_TOKEN_2").kind
    }

    /// The rows of section 7 that are HTTP answers.
    #[test]
    fn every_row_has_its_kind() {
        use Step::{Chat, Create};
        let page = r#"<html><meta content="width=device-width"><h1>403 signature</h1></html>"#;
        let nest = r#"{"statusCode":401,"message":"Unauthorized","error":"Unauthorized"}"#;
        for (step, status, action, body, expected) in [
            (Create, 401, None, nest, Kind::AuthExpired),
            (Chat, 401, None, "", Kind::AuthExpired),
            (
                Chat,
                403,
                None,
                r#"{"message":"Invalid signature"}"#,
                Kind::Protocol,
            ),
            (
                Chat,
                403,
                None,
                r#"{"error":{"message":"nonce used"}}"#,
                Kind::Protocol,
            ),
            (
                Chat,
                403,
                None,
                r#"{"data":"unknown Device"}"#,
                Kind::Protocol,
            ),
            (Chat, 403, None, "request expired", Kind::Protocol),
            (
                Chat,
                403,
                None,
                r#"{"data":{"code":"LIMIT_REACHED"}}"#,
                Kind::QuotaSpent,
            ),
            (
                Chat,
                403,
                None,
                r#"{"error":"daily free limit"}"#,
                Kind::QuotaSpent,
            ),
            (
                Create,
                402,
                None,
                r#"{"message":"Daily message limit"}"#,
                Kind::QuotaSpent,
            ),
            (
                Chat,
                403,
                None,
                r#"{"message":"Forbidden"}"#,
                Kind::AuthExpired,
            ),
            (Chat, 403, None, page, Kind::AuthExpired),
            (Create, 202, Some("challenge"), "", Kind::Verification),
            (Chat, 405, Some("captcha"), page, Kind::Verification),
            (Chat, 405, None, "", Kind::Protocol),
            (Create, 404, None, r#"{"message":"x"}"#, Kind::ModelNotFound),
            (Chat, 404, None, "", Kind::Protocol),
            (Chat, 400, None, r#"{"message":"bad"}"#, Kind::Protocol),
            (Create, 429, None, page, Kind::RateLimited),
            (Chat, 500, None, nest, Kind::Unavailable),
            (Create, 503, None, page, Kind::Unavailable),
            (Chat, 504, None, "{}", Kind::Unavailable),
        ] {
            assert_eq!(
                kind(step, status, action, body),
                expected,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn the_messages_name_what_to_change() {
        let message = |status, waf_action, body: &str| {
            let body = body.as_bytes();
            let step = Step::Chat;
            let refused = Refused {
                step,
                status,
                waf_action,
                body,
            };
            let error = refused.error("FLOWGPT_BEARER_TOKEN_2");
            (error.message, refused.is_about_signature())
        };
        let (signature, is_about_it) = message(403, None, r#"{"message":"signature"}"#);
        assert!(is_about_it && signature.contains("FLOWGPT_DEVICE_ID"));
        assert!(signature.contains("FLOWGPT_SIGNATURE_MODE"));
        let (expired, is_about_it) = message(401, None, "");
        assert!(!is_about_it && expired.starts_with("FLOWGPT_BEARER_TOKEN_2 "));
        let (challenge, _) = message(405, Some("captcha"), "");
        assert!(challenge.contains("FLOWGPT_WAF_TOKEN"));
        let (bad, _) = message(400, None, r#"{"error":{"message":"no prompt"}}"#);
        assert!(bad.ends_with(": no prompt"), "{bad}");
    }

    #[test]
    fn an_event_says_why_it_failed() {
        for (reason, kind) in [
            (r#""content policy""#, Kind::Moderated),
            (r#"{"message":"It VIOLATES our terms"}"#, Kind::Moderated),
            (r#"{"code":"x"}"#, Kind::Unavailable),
            ("null", Kind::Unavailable),
        ] {
            let reason: Value = serde_json::from_str(reason).unwrap();
            assert_eq!(told(&reason).kind, kind, "{reason}");
        }
    }
}
