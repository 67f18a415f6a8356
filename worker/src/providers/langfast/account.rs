//! The credentials: the site's publishable key, and the guests that it lets us sign up. Source: `wire/langfast.md`
//! sections 2 and 5.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::{session::Session, wire};
use crate::{
    accounts::{
        Secret,
        anonymous::{Issued, Issuer},
        jwt::Claims,
        rotating::{self, Attempt, Failure, Renewed},
    },
    chat::{Kind, ProviderError},
    impossible::OrImpossible as _,
    providers::Messenger,
    settings::{Problems, Vars},
};

/// The variable of the publishable key.
pub(super) const VARIABLE: &str = "LANGFAST_ANON_KEY";
/// The lifetime of a token whose answer names none (section 2).
const LIFETIME_SECONDS: u64 = 3600;

/// One anonymous user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) access_token: Secret,
    /// Good once.
    pub(super) refresh_token: Secret,
    /// `created_by` of a run.
    pub(super) user_id: String,
    /// Set for the user's own session, which is no guest: where it comes from.
    pub(super) own: Option<Arc<Session>>,
}

/// A guest in the store.
#[derive(Deserialize, Serialize)]
struct Carried<'a> {
    /// Where it was signed up: its tokens are sent nowhere else.
    base_url: Cow<'a, str>,
    access_token: Cow<'a, str>,
    refresh_token: Cow<'a, str>,
    user_id: Cow<'a, str>,
}

impl Guest {
    /// For another worker; `None`: the user's own session, which each has.
    pub(super) fn written(&self, base_url: &str) -> Option<String> {
        let carried = Carried {
            base_url: base_url.into(),
            access_token: self.access_token.expose().into(),
            refresh_token: self.refresh_token.expose().into(),
            user_id: self.user_id.as_str().into(),
        };
        let text = || serde_json::to_string(&carried).or_impossible("texts serialise");
        self.own.is_none().then(text)
    }

    /// What another worker has written; `None`: it is another service's.
    pub(super) fn read(text: &str, base_url: &str) -> Option<Self> {
        let carried: Carried<'_> = serde_json::from_str(text).ok()?;
        (carried.base_url == base_url).then(|| Self {
            access_token: Secret::new(carried.access_token),
            refresh_token: Secret::new(carried.refresh_token),
            user_id: carried.user_id.into_owned(),
            own: None,
        })
    }
}

/// The publishable key, if there is one.
pub(super) fn anon_key(vars: &Vars, problems: &mut Problems) -> Option<Secret> {
    let key = vars.pasted(VARIABLE)?;
    // Told at start, as it would fail in every call.
    if !key.chars().all(|c| c.is_ascii_graphic()) {
        problems.push(format!(
            "{VARIABLE} holds a blank or a character that no header can carry"
        ));
    }
    Some(Secret::new(key))
}

/// The answer of sign-up and refresh (section 2).
#[derive(Deserialize)]
struct Signed {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    id: Option<String>,
}

/// Reads the answer of sign-up and refresh.
///
/// # Errors
/// An answer without a token or a user.
pub(super) fn issued(body: &[u8]) -> Result<Issued<Guest>, ProviderError> {
    let malformed = || ProviderError::malformed("sign-up answer");
    let signed: Signed = serde_json::from_slice(body).map_err(|_| malformed())?;
    // The claim first: it is what the service itself reads (section 2, step 3).
    let user_id = subject(&signed.access_token).or_else(|| signed.user?.id);
    let user_id = user_id.filter(|id| !id.is_empty()).ok_or_else(malformed)?;
    // A token travels in a header.
    if signed
        .access_token
        .chars()
        .any(|c| c.is_control() || c.is_whitespace())
    {
        return Err(malformed());
    }
    Ok(Issued {
        credential: Guest {
            access_token: Secret::new(signed.access_token),
            refresh_token: Secret::new(signed.refresh_token.unwrap_or_default()),
            user_id,
            own: None,
        },
        // Counted from now on our own clock, so that clocks that differ do not matter.
        lifetime: Duration::from_secs(
            signed
                .expires_in
                .unwrap_or(LIFETIME_SECONDS)
                // Believed only so far: it is added to our clock.
                .min(7 * 86_400),
        ),
    })
}

/// The claim `sub` of a token.
pub(super) fn subject(token: &str) -> Option<String> {
    Claims::read(token)?.subject()
}

/// Signs guests up and refreshes them.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) messenger: Messenger,
    pub(super) base_url: Arc<str>,
    pub(super) anon_key: Secret,
    /// For each call.
    pub(super) timeout: Duration,
}

impl Door {
    /// One refresh; both tokens are new afterwards.
    async fn renew(
        &self,
        refresh_token: &Secret,
        is_own: bool,
    ) -> Result<Issued<Guest>, ProviderError> {
        let request = wire::refresh(&self.base_url, &self.anon_key, refresh_token);
        let mut answer = self.messenger.send(request.timeout(self.timeout)).await?;
        // Before the status: a refusal says in its body which one it is.
        let body = answer.short().await?;
        if answer.status.is_success() {
            return issued(&body);
        }
        Err(wire::refresh_refusal(answer.status.as_u16(), &body, is_own)
            .with_retry_after(answer.retry_after()))
    }

    /// As [`Door::renew`], for the user's own session, whose tokens survive a restart ([`rotating::Grant::redeem`]).
    async fn renew_own(&self, session: &Arc<Session>) -> Result<Issued<Guest>, ProviderError> {
        let renew = async |attempt: Attempt| {
            let renewed = self.renew(&attempt.credential, true).await;
            // Refused as such, so that the pasted one is tried once (section 2).
            let mut token = renewed.map_err(|error| match error.kind {
                Kind::AuthExpired => Failure::Refused(error),
                _ => Failure::Failed(error),
            })?;
            token.credential.own = Some(Arc::clone(session));
            let newest = token.credential.refresh_token.clone();
            Ok(Renewed {
                token,
                expires: None,
                // Nothing to keep: the token that was used is still the newest.
                keep: Some(newest).filter(|newest| !newest.is_empty()),
            })
        };
        let renewed = session.grant.redeem(&renew, rotating::unix_ms).await;
        renewed
            .map(|renewed| renewed.token)
            .map_err(Failure::into_error)
    }
}

impl Issuer<Guest> for Door {
    fn sign_up(self) -> LocalBoxFuture<'static, Result<Issued<Guest>, ProviderError>> {
        Box::pin(async move {
            let request = wire::sign_up(&self.base_url, &self.anon_key).timeout(self.timeout);
            let mut answer = self.messenger.send(request).await?;
            let body = answer.short().await?;
            if answer.status.is_success() {
                return issued(&body);
            }
            let error = wire::sign_up_refusal(answer.status.as_u16(), &body);
            // Told once here: whoever waits for a guest only hears that there is none.
            tracing::warn!(
                provider = super::NAME,
                status = answer.status.as_u16(),
                kind = error.kind.label(),
                "sign-up refused"
            );
            // What the refusal's own words name counts before the header.
            let named = error.retry_after.or_else(|| answer.retry_after());
            Err(error.with_retry_after(named))
        })
    }

    fn refresh(
        self,
        guest: Arc<Guest>,
    ) -> LocalBoxFuture<'static, Result<Issued<Guest>, ProviderError>> {
        Box::pin(async move {
            if let Some(session) = &guest.own {
                return self.renew_own(session).await;
            }
            // A guest whose token cannot be renewed is replaced (section 2).
            if guest.refresh_token.is_empty() {
                return Err(wire::guest_refused(false));
            }
            self.renew(&guest.refresh_token, false).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of wire/langfast.md section 5.
    #[test]
    fn reads_the_subject_as_the_vectors_say() {
        for (token, sub) in [
            (
                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMTExMTExMS0yMjIyLTQzMzMtODQ0NC01NTU1NTU1NTU1NTUiLCJleHAiOjE3NjcyMjkyMDAsInJvbGUiOiJhdXRoZW50aWNhdGVkIiwiaXNfYW5vbnltb3VzIjp0cnVlfQ.ewkV8qW5zjQwNygYkGK_FB_nvZWgYEfqMlI39OFKRBg",
                "11111111-2222-4333-8444-555555555555",
            ),
            (
                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyLTEifQ.lCkwqFjWZsrcu_XrU_-rB4n4G8AwOloNSzLUreV_LVI",
                "user-1",
            ),
            (
                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJhdXRoZW50aWNhdGVkIiwic3ViIjoiYTBiMWMyZDMtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDBmIiwibm90ZSI6Ilx1MDBmZj4_In0.iaEGDeDZRC2-nnJxXpdocmXhTNDn44YbPPK1aoCxwlQ",
                "a0b1c2d3-0000-4000-8000-00000000000f",
            ),
        ] {
            assert_eq!(subject(token).as_deref(), Some(sub));
        }
        for token in ["", "a", "a.b", "a.e30.c", "a.!!.c"] {
            assert_eq!(subject(token), None, "{token}");
        }
    }

    #[test]
    fn reads_a_sign_up() {
        let body = br#"{"access_token":"a.eyJzdWIiOiJ1c2VyLTEifQ.c","token_type":"bearer","expires_in":60,"expires_at":1,"refresh_token":"r","user":{"id":"user-1","aud":"x"},"new":1}"#;
        let Issued {
            credential,
            lifetime,
        } = issued(body).unwrap();
        assert_eq!(
            (credential.user_id.as_str(), lifetime),
            ("user-1", Duration::from_secs(60))
        );
        assert!(!format!("{credential:?}").contains("eyJ"));
        // A token that is no JWT: the user is named beside it.
        let Issued {
            credential,
            lifetime,
        } = issued(br#"{"access_token":"opaque","user":{"id":"u"}}"#).unwrap();
        assert_eq!(
            (credential.user_id.as_str(), lifetime.as_secs()),
            ("u", 3600)
        );
        for body in [
            "",
            "{}",
            r#"{"access_token":"opaque"}"#,
            r#"{"access_token":"a\nb","user":{"id":"u"}}"#,
        ] {
            assert!(issued(body.as_bytes()).is_err(), "{body}");
        }
    }
}
