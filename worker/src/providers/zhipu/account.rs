//! The credential: a refresh token that brings access tokens of an hour, or an access token alone. Source: `wire/zhipu.md`
//! section 2.

use std::{sync::LazyLock, time::Duration};

use uuid::Uuid;

use super::{
    NAME,
    refusal::{self, Refusal, Remedy},
    sign::Moment,
    wire::{self, Caller, Site},
};
use crate::{
    accounts::{
        Kept, Patience, Secret,
        jwt::Claims,
        pasted::{self, Shapes},
        rotating::{Attempt, Failure, Grant, HalfOpen, Renewed, Rotating, unix_ms},
    },
    chat::ProviderError,
    providers::Messenger,
    settings::{Problems, Vars},
};

const VARIABLE: &str = "ZHIPU_TOKEN";
/// The cookie, which also stands in the Local Storage.
const SHAPES: Shapes = Shapes {
    cookies: &["chatglm_refresh_token"],
    members: &["chatglm_refresh_token", "refresh_token"],
};
/// How long every client takes an access token to be good.
const ACCESS_SECONDS: u64 = 3600;
/// An access token is renewed this long before it ends.
const MARGIN: Duration = Duration::from_secs(30);

/// Sent where no token names a device; the same for the life of the process.
static SPARE_DEVICE: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().simple().to_string());

/// One account. A clone is the same one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account {
    /// Which variable to renew.
    pub(super) variable: String,
    /// Its access tokens.
    pub(super) tokens: Rotating<Access>,
}

/// An access token, and what must agree with it.
#[derive(Debug)]
pub(super) struct Access {
    /// The bearer.
    pub(super) token: Secret,
    /// `X-Device-Id`.
    pub(super) device: String,
}

/// All accounts of the environment.
pub(super) fn accounts(
    vars: &Vars,
    kept: &Kept,
    patience: Patience,
    problems: &mut Problems,
) -> Vec<(usize, Account)> {
    let pasted = pasted::accounts(vars, VARIABLE, &SHAPES, problems);
    let accounts = pasted.into_iter().map(|(number, pasted)| {
        let token = Secret::new(pasted.value);
        let account = Account {
            variable: pasted.variable,
            tokens: tokens(token, kept, HalfOpen::new(patience)),
        };
        (number, account)
    });
    accounts.collect()
}

fn tokens(pasted: Secret, kept: &Kept, pace: HalfOpen) -> Rotating<Access> {
    let claims = Claims::read(pasted.expose());
    let kind = claims.as_ref().and_then(|claims| claims.text("type"));
    let grant = Grant::rotating(NAME, pasted.clone(), kept.clone());
    // What cannot be read is taken for a refresh token.
    if kind.as_deref() == Some("access") {
        // Its own device, as the two must agree (section 4.1).
        let device = device(&[&pasted]);
        let access = Access {
            token: pasted,
            device,
        };
        Rotating::fixed(grant, access, pace)
    } else {
        // Neither holds a blank.
        Rotating::new(grant, MARGIN, pace).carrying(
            |access: &Access| Some(format!("{} {}", access.device, access.token.expose())),
            |text| {
                let (device, token) = text.split_once(' ')?;
                Some(Access {
                    token: Secret::new(token),
                    device: device.to_owned(),
                })
            },
        )
    }
}

/// What the first of these tokens says that names a device.
fn device(tokens: &[&Secret]) -> String {
    let named = tokens
        .iter()
        .find_map(|token| Claims::read(token.expose())?.text("device_id"));
    // It becomes a header.
    let is_plain = |device: &String| device.bytes().all(|byte| byte.is_ascii_graphic());
    named
        .filter(is_plain)
        .unwrap_or_else(|| SPARE_DEVICE.clone())
}

impl Account {
    /// When a new token must be pasted, in Unix seconds: the end of the refresh token, or of the access token that is all
    /// there is.
    pub(super) fn end(&self) -> Option<u64> {
        Claims::read(self.tokens.grant().newest().expose())?.expires()
    }

    /// How another access token is had ([`Rotating::current`]).
    pub(super) fn renewal(
        &self,
        messenger: Messenger,
        site: &Site,
    ) -> impl AsyncFn(Attempt) -> Result<Renewed<Access>, Failure> + 'static {
        let (variable, site) = (self.variable.clone(), site.clone());
        async move |attempt: Attempt| match refresh(&messenger, &site, &variable, &attempt).await {
            // A signature is made once, and may have been met by a clock that was just set (section 7).
            Err(refusal) if refusal.remedy == Remedy::NewSignature => {
                // With the same credential and another moment: `moment()` is asked by `refresh` itself.
                let again = refresh(&messenger, &site, &variable, &attempt).await;
                again.map_err(|refusal| refusal.error.into())
            }
            result => result.map_err(|refusal| refusal.error.into()),
        }
    }
}

/// The moment of a call. Clock and randomness are the flow's to have; codecs are handed them.
pub(super) fn moment() -> Moment {
    Moment {
        unix_ms: unix_ms(),
        nonce: Uuid::new_v4(),
        request_id: Uuid::new_v4(),
    }
}

async fn refresh(
    messenger: &Messenger,
    site: &Site,
    variable: &str,
    attempt: &Attempt,
) -> Result<Renewed<Access>, Refusal> {
    let caller = Caller {
        site,
        token: &attempt.credential,
        device: &device(&[&attempt.credential]),
    };
    let mut answer = messenger.send(wire::refresh(caller, moment())).await?;
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    let body = answer.short().await?;
    // Under 200 only: some refusals have the form of a success.
    if let Some((token, next)) = wire::tokens(&body).filter(|_| status == 200) {
        let refresh = next.as_ref().unwrap_or(&attempt.credential);
        // The new tokens' device, else the old one's: a refresh token may name none.
        let device = device(&[&token, refresh]);
        let known = attempt.unix_ms / 1000 + ACCESS_SECONDS;
        let claimed = Claims::read(token.expose()).and_then(|claims| claims.expires());
        return Ok(Renewed {
            // The earlier of the two: clients take an hour for granted, and a token may say less (section 2).
            expires: Some(claimed.map_or(known, |claimed| claimed.min(known))),
            token: Access { token, device },
            // None means that the service did not rotate it, and the old one stays.
            keep: next,
        });
    }
    let refusal = refusal::refresh(status, &body, variable);
    // A success that brings no token says nothing of any model.
    let refusal = if status == 200 && refusal.error.kind == crate::chat::Kind::ModelNotFound {
        ProviderError::malformed("tokens").into()
    } else {
        refusal
    };
    Err(Refusal {
        error: refusal.error.with_retry_after(retry_after),
        ..refusal
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::jwt::sample;

    fn read(pairs: &[(&str, &str)]) -> Vec<(usize, Account)> {
        let (mut problems, vars) = (Problems::default(), Vars::new(pairs.iter().copied()));
        let accounts = accounts(&vars, &Kept::default(), Patience::default(), &mut problems);
        assert!(problems.errors.is_empty(), "{problems:?}");
        accounts
    }

    #[test]
    fn takes_what_people_paste() {
        let token = sample(r#"{"type":"refresh","device_id":"d1","exp":4102444800}"#);
        for pasted in [
            token.clone(),
            format!(" \"{token}\" "),
            format!("Bearer {token}"),
            format!("chatglm_refresh_token={token}"),
            format!("a=b; chatglm_refresh_token={token}; c=d"),
            format!("Cookie: a=b; chatglm_refresh_token={token}"),
            format!("{{\"chatglm_refresh_token\":\"{token}\"}}"),
        ] {
            let accounts = read(&[(VARIABLE, &pasted)]);
            assert_eq!(accounts.len(), 1, "{pasted}");
            let account = &accounts[0].1;
            assert!(account.tokens.is_of(&token) && account.tokens.can_renew());
            assert_eq!(account.end(), Some(4_102_444_800));
        }
        let several = format!("{token},opaque");
        let accounts = read(&[(VARIABLE, &several), ("ZHIPU_TOKEN_2", "third")]);
        let numbers: Vec<usize> = accounts.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(
            accounts
                .iter()
                .all(|(_, account)| account.tokens.can_renew())
        );
    }

    #[test]
    fn an_access_token_is_used_as_it_is() {
        let token = sample(r#"{"type":"access","device_id":"d1","exp":4102444800}"#);
        let accounts = read(&[(VARIABLE, &token)]);
        let account = &accounts[0].1;
        assert!(!account.tokens.can_renew());
        let access = account.tokens.latest().unwrap();
        assert_eq!(
            (access.token.expose(), access.device.as_str()),
            (&*token, "d1")
        );
        assert!(!format!("{account:?}").contains("eyJ"));
    }

    #[test]
    fn a_device_is_made_up_where_no_token_names_one() {
        let opaque = Secret::new("opaque-token");
        let spare = device(&[&opaque]);
        assert!(spare.len() == 32 && spare.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(device(&[&opaque]), spare);
        let named = Secret::new(sample(r#"{"device_id":"d2"}"#));
        assert_eq!(device(&[&opaque, &named]), "d2");
    }
}
