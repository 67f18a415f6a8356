//! What refusals mean. Most come under HTTP 200: in a JSON body, in a page, or within the stream; the true status is in a
//! header. Source: `wire/qwen_intl.md` sections 3 and 8.

use std::time::Duration;

use memchr::memmem;
use serde_json::Value;

use crate::{
    chat::{Kind, ProviderError},
    providers::refused,
    upstream::{Answer, json},
};

/// How long an account rests that was met with a human check (section 8).
const AFTER_CHECK: Duration = Duration::from_secs(300);
/// What only the firewall's answers hold.
const CHECKS: &[&str] = &[
    "RGV587",
    "FAIL_SYS_USER_VALIDATE",
    "x5secdata",
    "punish",
    "aliyunCaptcha",
    "aliyun_waf",
    "<!doctypehtml>",
];

/// A refusal, and what may be done about it before it is passed on.
pub(super) type Refusal = refused::Refusal<Remedy>;

/// What may help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing that this account could do.
    #[default]
    None,
    /// Another token.
    NewToken,
    /// The same once more, a moment later.
    Repeat,
    /// Time: the chat is at work.
    Wait,
    /// Another chat.
    NewChat,
}

/// The head of an answer, as far as a refusal depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// The true status, where the service says it beside its own.
    pub(super) status: u16,
    retry_after: Option<Duration>,
}

impl Head {
    pub(super) fn of(answer: &Answer) -> Self {
        let actual = answer.header("x-actual-status-code");
        let actual = actual.and_then(|status| status.parse::<u16>().ok());
        let status = answer.status.as_u16();
        Self {
            // It only ever corrects a success.
            status: match actual {
                Some(actual @ 400..=599) if status < 300 => actual,
                _ => status,
            },
            retry_after: answer.retry_after(),
        }
    }

    /// A head without anything beside its status.
    #[cfg(test)]
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            retry_after: None,
        }
    }
}

/// An answer that is not what was asked for. `variable` names what to renew.
pub(super) fn refusal(head: Head, body: &[u8], variable: &str) -> Refusal {
    // The body first: it says why, under whatever status.
    if let Some(refusal) = in_body(head, body, variable) {
        return refusal;
    }
    let is_page = body.trim_ascii_start().starts_with(b"<");
    // The words alone would do, but an answer may quote them; a page is no answer.
    if is_page && is_check(body) {
        return check();
    }
    let plain = match head.status {
        401 => expired(variable).with(Remedy::NewToken),
        429 => Refusal::new(Kind::RateLimited, "too many requests"),
        500.. => Refusal::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {}", head.status),
        ),
        // A page that is no check: the address, or the service, has changed.
        ..300 if is_page => Refusal::new(Kind::Protocol, "the service answered with a web page"),
        ..300 => ProviderError::malformed("answer").into(),
        status => Refusal::new(
            Kind::Protocol,
            format!("the service answered with HTTP {status}"),
        ),
    };
    plain.resting(head.retry_after)
}

/// A JSON body that says of itself that it is a refusal, whatever its status.
pub(super) fn in_body(head: Head, body: &[u8], variable: &str) -> Option<Refusal> {
    let (value, _) = json::value(body)?;
    let told = Told::read(&value)?;
    // After [`Told::read`]: only a body that is a refusal is searched, as answers may hold these words.
    if is_check(body) {
        return Some(check());
    }
    Some(
        told.refusal(head.status, variable)
            .resting(head.retry_after),
    )
}

/// An error in a frame's place, or `None` where a frame is none.
pub(super) fn in_stream(value: &Value, variable: &str) -> Option<Refusal> {
    Some(Told::read(value)?.refusal(200, variable))
}

/// The credential is refused.
pub(super) fn expired(variable: &str) -> Refusal {
    Refusal::new(
        Kind::AuthExpired,
        format!("{variable} was refused or has ended; sign in at chat.qwen.ai and paste it anew"),
    )
}

/// The answer of a login (section 2.2). `true`: no later try with the same password can mend it.
pub(super) fn login(head: Head, body: &[u8], variable: &str) -> (ProviderError, bool) {
    let refusal = refusal(head, body, variable);
    let is_refused = match refusal.error.kind {
        Kind::AuthExpired => true,
        // A refusal without a known code: HTTP 400, or `success:false`.
        // Words that are not in the list are still a refusal of what was typed.
        Kind::Unavailable | Kind::Protocol | Kind::ModelNotFound => head.status < 500,
        _ => false,
    };
    if !is_refused {
        return (refusal.error, false);
    }
    let error = ProviderError::new(
        Kind::AuthExpired,
        format!("the login was refused; check {variable} and the password beside it"),
    );
    (error, true)
}

/// What the firewall asks for is never done here (design.md section 4).
fn check() -> Refusal {
    Refusal::new(
        Kind::Verification,
        "the service wants a human check; open chat.qwen.ai in a browser and finish it there",
    )
    .resting(Some(AFTER_CHECK))
}

fn is_check(body: &[u8]) -> bool {
    CHECKS
        .iter()
        .any(|word| memmem::find(body, word.as_bytes()).is_some())
}

/// What a JSON body says is wrong.
#[derive(Debug, Default)]
struct Told {
    code: String,
    message: String,
    /// Hours to wait.
    hours: Option<f64>,
    is_check: bool,
}

impl Told {
    /// `None` where the body is no refusal.
    fn read(value: &Value) -> Option<Self> {
        let members = value.as_object()?;
        let is_said = |name: &str| members.get(name).is_some_and(|it| !it.is_null());
        // The firewall's own form, which has nothing else in common (section 8).
        if is_said("ret") {
            // As JSON text: it is searched for words only.
            let words = members.get("ret").map(Value::to_string).unwrap_or_default();
            return Some(Self {
                is_check: is_check(words.as_bytes()),
                ..Self::default()
            });
        }
        let is_failure = members.get("success") == Some(&Value::Bool(false));
        let mut told = Self::default();
        // Before `success`: in a stream it comes alone.
        if let Some(error) = members.get("error").filter(|_| is_said("error")) {
            told.take(error);
        } else if is_failure {
            let data = members.get("data").filter(|data| !data.is_null());
            told.take(data.unwrap_or(value));
            // Again, for what `data` leaves open: the older form has its code one level higher.
            told.take(value);
        } else if is_said("code") && !is_said("choices") && !is_said("data") {
            // The older, flat form.
            told.take(value);
        } else {
            return None;
        }
        Some(told)
    }

    /// What is said first counts.
    fn take(&mut self, value: &Value) {
        // `error` may be a bare text.
        if let Value::String(text) = value {
            self.say(text);
            return;
        }
        match value.get("code") {
            Some(Value::String(code)) if self.code.is_empty() => self.code.clone_from(code),
            Some(Value::Number(code)) if self.code.is_empty() => self.code = code.to_string(),
            _ => {}
        }
        for name in ["details", "detail", "message", "msg"] {
            if let Some(Value::String(text)) = value.get(name) {
                self.say(text);
            }
        }
        let hours = match value.get("num") {
            Some(Value::Number(hours)) => hours.as_f64(),
            Some(Value::String(hours)) => hours.trim().parse().ok(),
            _ => None,
        };
        // A stranger's number: it becomes a duration below, which panics on others.
        let hours = hours.filter(|hours| hours.is_finite() && *hours > 0.0);
        self.hours = self.hours.or(hours);
    }

    fn say(&mut self, text: &str) {
        if self.message.is_empty() {
            self.message = json::whole(text);
        }
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    }

    /// The rows of section 8.
    fn refusal(&self, status: u16, variable: &str) -> Refusal {
        if self.is_check {
            return check();
        }
        let code = self.code.to_ascii_lowercase();
        // `Too_Many_Requests` and `TooManyRequests` are the same word.
        let code = code.replace(['_', '-'], "");
        let known = match code.as_str() {
            "unauthorized" => expired(variable).with(Remedy::NewToken),
            "ratelimited" => self.limited(),
            "toomanyrequests" => Refusal::new(Kind::RateLimited, "too many requests"),
            "datainspectionfailed" => Refusal::new(
                Kind::Moderated,
                "the service's moderation stopped the answer",
            ),
            // By its words: a quota's error comes without a code (section 8).
            _ if self.says(&["quota", "token-limit"]) => {
                Refusal::new(Kind::QuotaSpent, "the account's quota is spent")
            }
            "chatinprogress" => busy(),
            _ if self.says(&["chat is in progress"]) => busy(),
            "chatnotfound" => lost(),
            _ if self.says(&["not exist"]) => lost(),
            "notfound" | "modelnotfound" => unknown_model(),
            _ if self.says(&["model not found", "该模型不可用"]) => unknown_model(),
            "badrequest" if self.says(&["internal error"]) => Refusal::new(
                Kind::Protocol,
                "the service did not take the question; its page may have changed",
            )
            .with(Remedy::Repeat),
            _ if self.says(&["overload", "temporarily unavailable"]) => {
                Refusal::new(Kind::Unavailable, "the service is overloaded")
            }
            _ => match status {
                401 => expired(variable).with(Remedy::NewToken),
                429 => self.limited(),
                _ => Refusal::new(Kind::Unavailable, "the service failed"),
            },
        };
        let gap = if self.code.is_empty() || self.message.is_empty() {
            ""
        } else {
            ": "
        };
        known.saying(&format!("{}{gap}{}", self.code, self.message))
    }

    /// With the hours that are left it is a day's allowance, without them a matter of moments.
    fn limited(&self) -> Refusal {
        match self.hours {
            Some(hours) => Refusal::new(Kind::QuotaSpent, "the account's allowance is spent")
                // Bounded: no allowance is a year away, and the deadline is added to a clock.
                .resting(Some(Duration::from_secs_f64((hours * 3600.0).min(1e7)))),
            None => Refusal::new(Kind::RateLimited, "too many requests"),
        }
    }
}

/// After our own tries another one would only take as long again.
fn busy() -> Refusal {
    Refusal::new(Kind::Unavailable, "the chat is still at work")
        // Section 8: no other account would help, as the chat is this one's.
        .lasting()
        .with(Remedy::Wait)
}

fn lost() -> Refusal {
    Refusal::new(Kind::Unavailable, "the service has lost the chat")
        .lasting()
        .with(Remedy::NewChat)
}

fn unknown_model() -> Refusal {
    Refusal::from(ProviderError {
        param: Some("model".to_owned()),
        ..ProviderError::new(Kind::ModelNotFound, "the service does not know this model")
    })
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
