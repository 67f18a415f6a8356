//! What refusals mean, in each of the envelopes that the service has for them. Source: `wire/minimax.md` sections 1 and 7.

use serde_json::Value;

use crate::{chat::Kind, providers::refused, upstream::json};

/// A text that is no JSON is looked at so far.
const MOST_TEXT_BYTES: usize = 2000;

/// A refusal, and what may be done about it before it is passed on.
pub(super) type Refusal = refused::Refusal<Remedy>;

/// What may help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing that this account could do.
    #[default]
    None,
    /// The account's real id, asked for anew.
    LearnUser,
    /// The other form of what is signed (section 12.2).
    OtherForm,
    /// A new session.
    NewSession,
    /// The preparation of section 12.3.
    Prepare,
    /// Time: what is to be done away with is still at work.
    Wait,
    /// Another generation: this one is not there (section 1).
    OtherGeneration,
}

impl Remedy {
    /// What was refused may be this one conversation: it is gone, broken, or at work.
    pub(super) fn is_of_conversation(self) -> bool {
        matches!(self, Self::NewSession | Self::Wait)
    }
}

/// An answer that is not the one hoped for: by its status, or by what its body says under any status. `None`: a success.
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> Option<Refusal> {
    // The body first: a 200 may hold a refusal, and a 500 what helps against it.
    let said = Said::read(body);
    if let Some(refusal) = said
        .as_ref()
        .and_then(|said| said.refusal(status, variable))
    {
        return Some(refusal);
    }
    let is_page = said.is_none() && body.trim_ascii_start().starts_with(b"<");
    Some(match status {
        // Section 1: only this and a page in JSON's place mean that a generation is not there.
        404 => Refusal::new(Kind::Protocol, "the service has no such call")
            .code("upstream_http_404")
            .with(Remedy::OtherGeneration),
        200..300 if is_page => Refusal::new(Kind::Protocol, "the service answered with a web page")
            .with(Remedy::OtherGeneration),
        200..300 => return None,
        // Section 7: an empty 401 comes of a wrong id as well, which can be learnt.
        401 => expired(variable).with(Remedy::LearnUser),
        402 => quota(variable),
        // After the 2xx pages: a challenge comes with 403 only.
        403 if is_page => Refusal::new(
            Kind::Verification,
            "the service wants a human check; open its site in a browser and finish it there",
        ),
        409 => busy(),
        429 => Refusal::new(Kind::RateLimited, "too many requests"),
        500.. => Refusal::new(
            Kind::Unavailable,
            format!("the service answered with HTTP {status}"),
        ),
        _ => Refusal::new(
            Kind::Protocol,
            format!("the service answered with HTTP {status}"),
        )
        .code(&format!("upstream_http_{status}"))
        .saying(&said.unwrap_or_default().text),
    })
}

/// An error that the stream tells of in words: in a message's place, or in a record of its own.
pub(super) fn told(words: &str, variable: &str) -> Refusal {
    let said = Said {
        text: words.to_owned(),
        ..Said::default()
    };
    said.in_words(variable)
        .unwrap_or_else(|| Refusal::new(Kind::Unavailable, "the service failed").saying(words))
}

/// The credential is refused.
pub(super) fn expired(variable: &str) -> Refusal {
    Refusal::new(
        Kind::AuthExpired,
        format!(
            "{variable} was refused; sign in again at agent.minimaxi.com and paste the new _token of the Local Storage"
        ),
    )
}

fn quota(variable: &str) -> Refusal {
    Refusal::new(
        Kind::QuotaSpent,
        format!("the credits of the account of {variable} are spent"),
    )
}

fn busy() -> Refusal {
    Refusal::new(
        Kind::RateLimited,
        "the account is at work on another answer",
    )
    .with(Remedy::Wait)
}

/// Moderation, before any text.
pub(super) fn moderated() -> Refusal {
    Refusal::new(
        Kind::Moderated,
        "the service's moderation stopped the answer",
    )
}

/// What a body says.
#[derive(Debug, Default)]
struct Said {
    /// `base_resp.status_code`, where it is not 0.
    base: Option<i64>,
    /// `statusInfo.code`, where it is not 0.
    info: Option<i64>,
    text: String,
}

impl Said {
    fn read(body: &[u8]) -> Option<Self> {
        let Some((value, _)) = json::value(body) else {
            // The first part only: a page of a proxy may be long, and only words are looked for.
            let text = body.get(..MOST_TEXT_BYTES).unwrap_or(body);
            let text = String::from_utf8_lossy(text);
            let text = text.trim();
            // A page for people says nothing of itself.
            return (!text.is_empty() && !text.starts_with('<')).then(|| Self {
                text: text.to_owned(),
                ..Self::default()
            });
        };
        let number = |envelope: &str, name: &str| {
            let number = match value.get(envelope)?.get(name)? {
                Value::Number(number) => number.as_i64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            // 0 is success in both envelopes.
            number.filter(|number| *number != 0)
        };
        let text = |envelope: Option<&str>, name: &str| {
            let holder = envelope.map_or(Some(&value), |envelope| value.get(envelope))?;
            holder.get(name)?.as_str().map(str::to_owned)
        };
        let texts = [
            // All of them: the same failure is told in another member by every generation.
            text(Some("base_resp"), "status_msg"),
            text(Some("statusInfo"), "message"),
            text(Some("statusInfo"), "msg"),
            text(None, "message"),
            text(None, "error"),
            text(Some("error"), "message"),
        ];
        // Success is said aloud in some, which would look like an error's text.
        let is_telling = |text: &String| !text.is_empty() && text != "success";
        let texts: Vec<String> = texts.into_iter().flatten().filter(is_telling).collect();
        Some(Self {
            base: number("base_resp", "status_code"),
            info: number("statusInfo", "code"),
            text: json::whole(&texts.join("; ")),
        })
    }

    fn says(&self, words: &[&str]) -> bool {
        let text = self.text.to_lowercase();
        words.iter().any(|word| text.contains(word))
    }

    /// The rows of section 7. Words count only where something says that it is an error.
    fn refusal(&self, status: u16, variable: &str) -> Option<Refusal> {
        let is_error = self.base.is_some() || self.info.is_some() || !(200..300).contains(&status);
        if !is_error {
            return None;
        }
        // Before the numbers, which stand for several things; the words of section 7 are exact.
        if let Some(refusal) = self.in_words(variable) {
            return Some(refusal);
        }
        match self.base {
            None => {}
            Some(1_022_100_011) => return Some(expired(variable).with(Remedy::NewSession)),
            Some(1004 | 2049) => return Some(expired(variable)),
            Some(1_406_011_050 | 2013) => return Some(not_accepted()),
            Some(1002 | 1039 | 1041) => {
                return Some(Refusal::new(Kind::RateLimited, "too many requests"));
            }
            Some(2056 | 1008) => return Some(quota(variable)),
            Some(1026 | 1027) => return Some(moderated()),
            Some(1_400_010_501) => return Some(unprepared()),
            // The status says more.
            Some(_) if matches!(status, 401 | 402 | 404 | 409 | 429) => {}
            Some(_) => {
                let failed = Refusal::new(Kind::Unavailable, "the service failed");
                return Some(failed.saying(&self.text));
            }
        }
        // Last, as `base_resp` is the envelope of the chats and this one of the accounts.
        match self.info {
            Some(1_000_021..=1_000_023 | 1_000_048) => Some(expired(variable)),
            // With another status the status's own row says more.
            Some(_) if status < 300 => {
                Some(Refusal::new(Kind::Unavailable, "the service failed").saying(&self.text))
            }
            Some(_) | None => None,
        }
    }

    fn in_words(&self, variable: &str) -> Option<Refusal> {
        if self.says(&["invalid signature"]) {
            return Some(not_accepted().with(Remedy::OtherForm));
        }
        if self.says(&["1400010501", "environment variables not configured"]) {
            return Some(unprepared());
        }
        if self.says(&[
            "sandbox connection error",
            "rpc timeout",
            "connection error.",
        ]) {
            let failed = Refusal::new(Kind::Unavailable, "the service's sandbox failed");
            return Some(failed.with(Remedy::NewSession));
        }
        if self.says(&[
            "(2056)",
            "42212",
            "no conversation resources are available",
            "用量上限",
            "insufficient_balance",
        ]) {
            return Some(quota(variable));
        }
        if self.says(&["chat is running"]) {
            return Some(busy());
        }
        // Last: a refusal for another reason may quote the question.
        self.says(&["敏感", "sensitive"]).then(moderated)
    }
}

fn not_accepted() -> Refusal {
    Refusal::new(
        Kind::Protocol,
        "the service did not accept the request's signature or form",
    )
}

fn unprepared() -> Refusal {
    Refusal::new(
        Kind::Unavailable,
        "the service has not prepared the account",
    )
    .with(Remedy::Prepare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: u16, body: &str) -> Option<(Kind, Remedy)> {
        refusal(status, body.as_bytes(), "MINIMAX_TOKEN").map(|it| (it.error.kind, it.remedy))
    }

    /// The rows of section 7.
    #[test]
    fn follows_the_table() {
        let base = |number: i64, text: &str| {
            serde_json::json!({"base_resp": {"status_code": number, "status_msg": text}})
                .to_string()
        };
        let plain = |kind| Some((kind, Remedy::None));
        for (status, body, expected) in [
            (401, String::new(), Some((Kind::AuthExpired, Remedy::LearnUser))),
            (
                401,
                r#"{"statusInfo":{"code":1000021,"message":"异常用户访问"}}"#.to_owned(),
                plain(Kind::AuthExpired),
            ),
            (
                200,
                r#"{"statusInfo":{"code":1000048,"msg":"login"}}"#.to_owned(),
                plain(Kind::AuthExpired),
            ),
            (
                200,
                base(1_022_100_011, "x"),
                Some((Kind::AuthExpired, Remedy::NewSession)),
            ),
            (200, base(1004, "x"), plain(Kind::AuthExpired)),
            (200, base(2049, "x"), plain(Kind::AuthExpired)),
            (
                400,
                "invalid signature".to_owned(),
                Some((Kind::Protocol, Remedy::OtherForm)),
            ),
            (
                400,
                r#"{"error":"internal error","code":"UNEXPECTED_ERROR","base_resp":{"status_code":1406011050}}"#.to_owned(),
                plain(Kind::Protocol),
            ),
            (200, base(2013, "x"), plain(Kind::Protocol)),
            (
                403,
                "<html><title>Just a moment...</title>".to_owned(),
                plain(Kind::Verification),
            ),
            (409, "{}".to_owned(), Some((Kind::RateLimited, Remedy::Wait))),
            (
                200,
                base(7, "chat is running"),
                Some((Kind::RateLimited, Remedy::Wait)),
            ),
            (200, base(1002, "x"), plain(Kind::RateLimited)),
            (200, base(1039, "x"), plain(Kind::RateLimited)),
            (200, base(1041, "x"), plain(Kind::RateLimited)),
            (429, String::new(), plain(Kind::RateLimited)),
            (
                200,
                base(42212, "42212: 已达到 Token Plan 用量上限 (2056)"),
                plain(Kind::QuotaSpent),
            ),
            (200, base(2056, "x"), plain(Kind::QuotaSpent)),
            (
                200,
                base(1, "No conversation resources are available. Subscribe to continue."),
                plain(Kind::QuotaSpent),
            ),
            (402, String::new(), plain(Kind::QuotaSpent)),
            (200, base(1008, "x"), plain(Kind::QuotaSpent)),
            (200, base(1026, "x"), plain(Kind::Moderated)),
            (200, base(1027, "x"), plain(Kind::Moderated)),
            (200, base(1, "输入包含敏感内容"), plain(Kind::Moderated)),
            (
                500,
                base(1, "sandbox connection error"),
                Some((Kind::Unavailable, Remedy::NewSession)),
            ),
            (
                200,
                base(1, "rpc timeout"),
                Some((Kind::Unavailable, Remedy::NewSession)),
            ),
            (
                500,
                "[1400010501] Environment Variables not configured".to_owned(),
                Some((Kind::Unavailable, Remedy::Prepare)),
            ),
            (200, base(1000, "x"), plain(Kind::Unavailable)),
            (200, base(99, "x"), plain(Kind::Unavailable)),
            (502, "bad gateway".to_owned(), plain(Kind::Unavailable)),
            (503, "<html>".to_owned(), plain(Kind::Unavailable)),
            (404, "x".to_owned(), Some((Kind::Protocol, Remedy::OtherGeneration))),
            (
                404,
                base(5, "no route"),
                Some((Kind::Protocol, Remedy::OtherGeneration)),
            ),
            (
                200,
                "<!doctype html>".to_owned(),
                Some((Kind::Protocol, Remedy::OtherGeneration)),
            ),
            (418, String::new(), plain(Kind::Protocol)),
            (200, base(0, "success"), None),
            (200, r#"{"statusInfo":{"code":0},"data":{}}"#.to_owned(), None),
            (200, r#"{"message":"sensitive"}"#.to_owned(), None),
            (200, String::new(), None),
        ] {
            assert_eq!(row(status, &body), expected, "{status} {body}");
        }
    }

    #[test]
    fn what_the_stream_tells_of_is_known_by_its_words() {
        let kind = |words: &str| told(words, "V").error.kind;
        assert_eq!(
            kind("42212: 已达到 Token Plan 用量上限 (2056)"),
            Kind::QuotaSpent
        );
        assert_eq!(kind("Connection error."), Kind::Unavailable);
        assert_eq!(kind("sensitive content"), Kind::Moderated);
        assert_eq!(kind("anything"), Kind::Unavailable);
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(status in 100_u16..600, body in ".*") {
            let _ = refusal(status, body.as_bytes(), "V");
        }
    }
}
