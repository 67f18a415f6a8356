//! What can go wrong between a door and a provider, as one type. The door maps [`Kind`] to HTTP in one place
//! (`http::error`), the account pool maps it to a cool-down (`accounts`). Source: design.md section 4.

use std::{sync::Arc, time::Duration};

/// What went wrong, in the words of design.md section 4; each has one HTTP status and one effect on the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller asked for something that cannot be done. The account is untouched.
    BadRequest,
    /// The conversation does not fit into the provider's context window.
    ContextLength,
    /// A picture or document was refused by the provider.
    FileRejected,
    /// The provider does not know the model.
    ModelNotFound,
    /// No account of this provider is configured.
    NotConfigured,
    /// The request names an account (by `MODEL_TO_ACCOUNT_MAP`) that is not configured.
    AccountNotConfigured,
    /// The provider's moderation stopped the turn before any text.
    Moderated,
    /// The account's credential has expired or was refused: the account is disabled until it is renewed.
    AuthExpired,
    /// Too many requests: the account cools down, longer each time.
    RateLimited,
    /// The account's quota is spent: as [`Kind::RateLimited`], but another attempt soon cannot help.
    QuotaSpent,
    /// The provider wants a human check (captcha). Reported, never worked around.
    Verification,
    /// Overloaded, 5xx or a broken connection: worth another try.
    Unavailable,
    /// No answer in time.
    Timeout,
    /// The provider said something that we do not understand; another try would hear the same.
    Protocol,
}

impl Kind {
    /// The value of the `kind` label of `hive_upstream_errors_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::ContextLength => "context_length",
            Self::FileRejected => "file_rejected",
            Self::ModelNotFound => "model_not_found",
            Self::NotConfigured => "not_configured",
            Self::AccountNotConfigured => "account_not_configured",
            Self::Moderated => "moderated",
            Self::AuthExpired => "auth_expired",
            Self::RateLimited => "rate_limited",
            Self::QuotaSpent => "quota_spent",
            Self::Verification => "verification_required",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        }
    }

    /// The caller's own doing: neither another account nor another provider would answer differently.
    pub fn is_callers_fault(self) -> bool {
        matches!(
            self,
            Self::BadRequest | Self::ContextLength | Self::FileRejected | Self::Moderated
        )
    }

    /// The account is to blame, so another account of the same provider may do better.
    pub fn blames_account(self) -> bool {
        matches!(
            self,
            Self::AuthExpired | Self::RateLimited | Self::QuotaSpent | Self::Verification
        )
    }

    /// A passing fault: the same request may go through a moment later.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Unavailable | Self::Timeout)
    }
}

/// A failed turn. Holds no credential, no cookie and no upstream body (design.md section 4).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", kind.label())]
pub struct ProviderError {
    /// What went wrong.
    pub kind: Kind,
    /// For the caller: what happened and what to do about it.
    pub message: String,
    /// Replaces the kind's own `error.code`, where a wire page names a finer one.
    pub code: Option<String>,
    /// The request field to blame (`error.param`).
    pub param: Option<String>,
    /// When the provider said when to come back.
    pub retry_after: Option<Duration>,
    /// Filled in by the dispatcher.
    pub provider: Option<Arc<str>>,
    /// The account's number, never its credential. Filled in by the dispatcher.
    pub account: Option<usize>,
}

impl ProviderError {
    /// An error of this kind with a message for the caller.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            param: None,
            retry_after: None,
            provider: None,
            account: None,
        }
    }

    /// The caller's mistake, with the field to blame.
    pub fn bad_request(param: &str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..Self::new(Kind::BadRequest, message)
        }
    }

    /// An answer that does not follow the wire page; `what` names the part, never its content.
    pub fn malformed(what: &str) -> Self {
        Self::new(
            Kind::Protocol,
            format!("the provider's {what} could not be understood"),
        )
    }

    /// The stream ended or broke before the answer was complete.
    pub fn broken_stream() -> Self {
        Self::new(
            Kind::Unavailable,
            "the provider's answer broke off before its end",
        )
    }

    /// An answer without any content: an error, never an empty success.
    pub fn empty_answer() -> Self {
        Self::new(
            Kind::Unavailable,
            "the provider answered without any content",
        )
    }

    /// The same error with a finer `error.code`; anything but `[a-z0-9_]` becomes `_`, so that an upstream
    /// word can be passed on.
    #[must_use]
    pub fn with_code(mut self, code: &str) -> Self {
        let clean = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        self.code = Some(code.chars().take(64).map(clean).collect());
        self
    }

    /// The same error with the time that the provider named.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// The same error with the provider's own short description appended: one line, at most 200 characters, and
    /// whatever looks like a credential made unreadable, in case the provider quotes what it was sent.
    #[must_use]
    pub fn saying(mut self, description: &str) -> Self {
        let line: String = description
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(200)
            .collect();
        let words: Vec<String> = line.split_whitespace().map(redacted).collect();
        if !words.is_empty() {
            self.message = format!("{}: {}", self.message, words.join(" "));
        }
        self
    }
}

/// Runs of this many characters of a token's alphabet are no words of a message.
const TOKEN_CHARS: usize = 16;

fn redacted(word: &str) -> String {
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "_-+/=.$*%:;~".contains(c);
    let mut clean = String::with_capacity(word.len());
    let mut run = String::new();
    for c in word.chars().map(Some).chain([None]) {
        if let Some(c) = c.filter(|&c| is_token_char(c)) {
            run.push(c);
            continue;
        }
        let is_word = run.len() < TOKEN_CHARS
            || (run.len() < 2 * TOKEN_CHARS
                && run
                    .chars()
                    .all(|c| c.is_ascii_alphabetic() || c == '_' || c == '.'));
        clean.push_str(if is_word { &run } else { "***" });
        run.clear();
        clean.extend(c);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_never_shows_a_credential() {
        let error = ProviderError::new(Kind::Protocol, "refused")
            .saying("bad cookie tongyi_sso_ticket=abc$def*1; key (sk-0123456789abcdef)\nmax_completion_tokens 当前请求已被拦截，ok");
        assert_eq!(
            error.message,
            "refused: bad cookie *** key (***) max_completion_tokens 当前请求已被拦截，ok"
        );
        assert_eq!(
            ProviderError::malformed("x").saying(" \n").message,
            ProviderError::malformed("x").message
        );
    }
}
