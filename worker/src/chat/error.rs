//! What can go wrong between a door and a provider, as one type. The door maps [`Kind`] to HTTP in one place
//! (`http::error`), the account pool maps it to a cool-down (`accounts`). Source: design.md section 4.

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::{accounts::scrub, impossible::OrImpossible as _};

/// Most characters of a provider's own description.
const MOST_DESCRIPTION: usize = 400;
/// Most characters of `error.code` and of `error.param`.
const MOST_CODE: usize = 64;
const MOST_PARAM: usize = 128;
/// The longest wait that is believed: a year. It is a stranger's number, and is added to clocks.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 86_400);
/// Most bytes of a provider's words that are looked through for secrets; what lies beyond is never shown.
const MOST_SCRUBBED_BYTES: usize = 8 << 10;

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
    /// This worker has no memory left for the turn. The account is untouched.
    Overloaded,
    /// The provider's moderation stopped the turn before any text.
    Moderated,
    /// The account's credential has expired or was refused: the account is disabled until it is renewed.
    AuthExpired,
    /// The provider refuses this very request to this account (a model, a region, a scenario that it may not use): the
    /// account is untouched, and another one may be allowed to.
    Forbidden,
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
    /// No fault: the gateway itself has ended the answer (a stop sequence, the token limit). It carries a provider's flow
    /// to its end and goes no further than the dispatcher, so that neither a door nor an account ever sees it.
    Cut,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::ContextLength,
        Self::FileRejected,
        Self::ModelNotFound,
        Self::NotConfigured,
        Self::AccountNotConfigured,
        Self::Overloaded,
        Self::Moderated,
        Self::AuthExpired,
        Self::Forbidden,
        Self::RateLimited,
        Self::QuotaSpent,
        Self::Verification,
        Self::Unavailable,
        Self::Timeout,
        Self::Protocol,
        Self::Cut,
    ];

    /// The kind of a label; `None` for a word that is none.
    pub fn labelled(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }

    /// The value of the `kind` label of `hive_upstream_errors_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::ContextLength => "context_length",
            Self::FileRejected => "file_rejected",
            Self::ModelNotFound => "model_not_found",
            Self::NotConfigured => "not_configured",
            Self::AccountNotConfigured => "account_not_configured",
            Self::Overloaded => "overloaded",
            Self::Moderated => "moderated",
            Self::AuthExpired => "auth_expired",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::QuotaSpent => "quota_spent",
            Self::Verification => "verification_required",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Cut => "cut",
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
            Self::AuthExpired
                | Self::Forbidden
                | Self::RateLimited
                | Self::QuotaSpent
                | Self::Verification
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
    /// Which part of an answer could not be understood ([`ProviderError::malformed`]).
    pub shape: Option<&'static str>,
    /// When the provider said when to come back.
    pub retry_after: Option<Duration>,
    /// Another try would hear the same, though faults of this kind mostly pass.
    pub is_lasting: bool,
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
            shape: None,
            retry_after: None,
            is_lasting: false,
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
    pub fn malformed(what: &'static str) -> Self {
        Self {
            shape: Some(what),
            ..Self::new(
                Kind::Protocol,
                format!("the provider's {what} could not be understood"),
            )
        }
    }

    /// The stream ended or broke before the answer was complete.
    pub fn broken_stream() -> Self {
        Self::new(
            Kind::Unavailable,
            "server error: the provider's answer broke off before its end, as if by ECONNRESET",
        )
    }

    /// The gateway has ended the answer ([`Kind::Cut`]).
    pub fn cut() -> Self {
        Self::new(Kind::Cut, "the answer has met a limit of the request")
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
        // Cleaned before it is cut: half a secret is not known as one.
        let code = scrub(bounded(code));
        self.code = Some(code.chars().take(MOST_CODE).map(clean).collect());
        self
    }

    /// The same error with the field that an upstream blames: one line, bounded, without anything like a credential.
    #[must_use]
    pub fn with_param(mut self, param: &str) -> Self {
        let param = harmless(param, MOST_PARAM);
        self.param = Some(param).filter(|param| !param.is_empty());
        self
    }

    /// The same error with the time that the provider named.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after.map(|wait| wait.min(LONGEST_WAIT));
        self
    }

    /// The same error, which another try would hear as well.
    #[must_use]
    pub fn lasting(self) -> Self {
        Self {
            is_lasting: true,
            ..self
        }
    }

    /// The same error with the provider's own short description appended: one line, at most 400 characters, without
    /// any secret of the process, and whatever else looks like a credential made unreadable, in case the provider
    /// quotes what it was sent.
    #[must_use]
    pub fn saying(mut self, description: &str) -> Self {
        let words = harmless(description, MOST_DESCRIPTION);
        if !words.is_empty() {
            self.message = format!("{}: {words}", self.message);
        }
        self
    }

    /// The same error without any secret that the process holds, wherever its words came from.
    #[must_use]
    pub fn scrubbed(mut self) -> Self {
        for text in [
            Some(&mut self.message),
            self.code.as_mut(),
            self.param.as_mut(),
        ]
        .into_iter()
        .flatten()
        {
            // Only what was changed is written again: of a clean text beyond the bound nothing is lost.
            if let Cow::Owned(clean) = scrub(bounded(text)) {
                *text = clean;
            }
        }
        self
    }

    /// The message for the caller. Coding agents decide by words whether to try again once a stream has begun, and each
    /// knows others; so the message of a fault that passes holds those that fit.
    pub fn words(&self) -> Cow<'_, str> {
        let fitting: &[&str] = match self.kind {
            // Without the words that make agents try again: they would hear the same, at the account's cost.
            _ if self.is_lasting => return Cow::Borrowed(&self.message),
            Kind::Unavailable => &["ECONNRESET", "overloaded", "temporarily unavailable"],
            Kind::Timeout => &["timeout", "ETIMEDOUT"],
            _ => return Cow::Borrowed(&self.message),
        };
        let has = |word: &&str| self.message.contains(word);
        // The words of the service itself may have it already; said twice they would only be longer.
        let start = if has(&SERVER_ERROR) {
            ""
        } else {
            "server error: "
        };
        let end = match self.kind {
            _ if fitting.iter().any(has) => "",
            Kind::Timeout => " (timeout)",
            _ => " (the service is overloaded or temporarily unavailable)",
        };
        Cow::Owned(format!("{start}{}{end}", self.message))
    }
}

/// What the most agents take for a fault that passes.
const SERVER_ERROR: &str = "server error";

/// The beginning of a text, cut between words: half a secret would not be known as one.
fn bounded(text: &str) -> &str {
    if text.len() <= MOST_SCRUBBED_BYTES {
        return text;
    }
    let end = (0..=MOST_SCRUBBED_BYTES)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .or_impossible("there is no character before the first");
    let start = text.get(..end).or_impossible("it ends between characters");
    // Without a blank in so many bytes it is no message, and what a cut would leave of a secret cannot be known.
    start
        .rsplit_once(char::is_whitespace)
        .map_or("", |(words, _)| words)
}

/// A stranger's words as one line, at most so many characters: first without secrets, then cut.
fn harmless(text: &str, most: usize) -> String {
    let clean = scrub(bounded(text));
    let words: Vec<String> = clean
        .split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(redacted)
        .collect();
    words.join(" ").chars().take(most).collect()
}

/// Runs of this many characters of a token's alphabet are no words of a message.
const TOKEN_CHARS: usize = 16;

fn redacted(word: &str) -> String {
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "_-+/=.$*%:;~".contains(c);
    let mut clean = String::with_capacity(word.len());
    let mut run = String::new();
    // The end counts as one more character, so that a run at it is judged as well.
    for c in word.chars().map(Some).chain([None]) {
        if let Some(c) = c.filter(|&c| is_token_char(c)) {
            run.push(c);
            continue;
        }
        let is_word = run.len() < TOKEN_CHARS || is_name(&run);
        clean.push_str(if is_word { &run } else { "***" });
        run.clear();
        clean.extend(c);
    }
    clean
}

/// Whether it is a name made of words and small numbers (`body.messages.0.content`, `deepseek-chat-v3-0324`), which
/// no token is.
fn is_name(run: &str) -> bool {
    // A name of many parts may still be a token with dots; no message needs a longer one.
    run.len() <= 4 * TOKEN_CHARS
        && run.split(['.', '_', '-', '/', ':']).all(|part| {
            // Four characters of anything tell nothing; beyond that a part must be a word.
            part.len() <= 4
                || (part.len() < 2 * TOKEN_CHARS && part.bytes().all(|b| b.is_ascii_alphabetic()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Secret;

    #[test]
    fn a_wait_beyond_all_clocks_is_a_year() {
        let error = ProviderError::new(Kind::RateLimited, "refused");
        let wait = error.with_retry_after(Some(Duration::MAX)).retry_after;
        assert!(
            std::time::Instant::now()
                .checked_add(wait.unwrap())
                .is_some()
        );
    }

    #[test]
    fn what_an_upstream_quotes_is_scrubbed_before_it_is_cut() {
        let _secret = Secret::new("planted-words-of-a-secret");
        let quoted = "Bearer Planted-Words-Of-A-Secret";
        let error = |text: &str| {
            ProviderError::new(Kind::BadRequest, "refused")
                .saying(text)
                .with_code(text)
                .with_param(text)
        };
        for before in 0..MOST_DESCRIPTION {
            let error = error(&format!("{} {quoted} after", "x ".repeat(before / 2)));
            let told = format!("{} {:?} {:?}", error.message, error.code, error.param);
            assert!(!told.to_ascii_lowercase().contains("plant"), "{told}");
        }
        let long = error(&"word ".repeat(100_000));
        assert!(long.message.chars().count() <= MOST_DESCRIPTION + 20);
        assert!(long.code.unwrap().len() <= MOST_CODE && long.param.unwrap().len() <= MOST_PARAM);
        let own = ProviderError {
            param: Some(quoted.to_owned()),
            ..ProviderError::new(Kind::BadRequest, quoted)
        };
        let own = own.scrubbed();
        assert_eq!(
            (own.message.as_str(), own.param.as_deref()),
            ("Bearer ***", Some("Bearer ***"))
        );
    }

    #[test]
    fn a_fault_that_passes_says_so_in_words_that_agents_know() {
        for error in [
            ProviderError::broken_stream(),
            ProviderError::empty_answer(),
            ProviderError::new(Kind::Unavailable, "x"),
            ProviderError::new(Kind::Timeout, "x"),
        ] {
            let words = error.words();
            assert!(words.contains("server error"), "{words}");
            assert!(
                ["ECONNRESET", "overloaded", "timeout"]
                    .iter()
                    .any(|word| words.contains(word)),
                "{words}"
            );
        }
        for kind in [Kind::Protocol, Kind::BadRequest, Kind::AuthExpired] {
            assert_eq!(ProviderError::new(kind, "x").words(), "x");
        }
    }

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
