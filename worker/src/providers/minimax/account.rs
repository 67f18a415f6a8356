//! The credential: the JWT of the browser's Local Storage, perhaps with the account's real id before it. Source:
//! `wire/minimax.md` section 2.

use std::{sync::Arc, time::Duration};

use sha3::{Digest as _, Sha3_256};
use uuid::Uuid;

use super::{
    NAME, answers,
    call::Call,
    refusal::{Refusal, Remedy},
    sign::Who,
    site::Site,
    standing::Standing,
    wire::{self, Caller, Target},
};
use crate::impossible::OrImpossible as _;
use crate::{
    accounts::{
        Fingerprint, Kept, Known, Patience, Secret,
        jwt::Claims,
        pasted::{self, Shapes},
        rotating::{Attempt, Failure, Grant, HalfOpen, Renewed, Rotating, unix_ms},
    },
    chat::ProviderError,
    providers::Messenger,
    settings::{Problems, Vars},
};

const VARIABLE: &str = "MINIMAX_TOKEN";
/// A token is renewed when less is left of it (section 2).
const MARGIN: Duration = Duration::from_secs(10 * 86_400);
/// A renewed token that has no longer to live than that is not renewed again for so long.
const PAUSE_SECONDS: u64 = 86_400;
const SHAPES: Shapes = Shapes {
    cookies: &["_token"],
    members: &["_token", "token"],
};
/// A real id has 18 digits; shorter ones are none before a `+`.
const LEAST_ID_DIGITS: usize = 6;

/// What one pasted value holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// The JWT.
    pub(super) token: String,
    /// `realUserID`, where it was pasted along.
    pub(super) real_user: Option<String>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts(***)")
    }
}

/// What a token says of the account, and what is made of it where it says nothing.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    /// `user.id`; empty where there is none. Not the real id.
    pub(super) user: String,
    /// `user.deviceID` where it is decimal, else 8 digits that depend on the token alone.
    pub(super) device: String,
    /// `exp`, in Unix seconds.
    pub(super) expires: Option<u64>,
}

impl std::fmt::Debug for Claimed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claimed")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// One account. A clone is the same one.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Which variable to renew.
    pub(super) variable: String,
    /// Its tokens.
    pub(super) tokens: Rotating<Access>,
    /// The token that was pasted, the fallback of a renewed one.
    pasted: Secret,
    /// `realUserID`, where it was pasted along.
    pub(super) real_user: Option<String>,
    /// The `uuid` of the query.
    pub(super) uuid: String,
    /// What is known of it while the worker runs.
    pub(super) standing: Arc<Standing>,
}

impl PartialEq for Account {
    /// What was pasted; what is known of it is kept with it.
    fn eq(&self, other: &Self) -> bool {
        // Two of one account compare equal over a renewal: a reload must not drop what is known of it.
        self.tokens == other.tokens
            && self.variable == other.variable
            && self.real_user == other.real_user
    }
}

/// A token, and what it says.
#[derive(Debug)]
pub(super) struct Access {
    /// The JWT.
    pub(super) token: Secret,
    /// Its claims.
    pub(super) claimed: Claimed,
}

impl Access {
    fn new(token: Secret) -> Self {
        Self {
            claimed: claimed(token.expose()),
            token,
        }
    }
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
        let Parts { token, real_user } = parts(&pasted.value);
        let token = Secret::new(token);
        let grant = Grant::rotating(NAME, token.clone(), kept.clone());
        let access = Access::new(grant.newest());
        let expires = access.claimed.expires;
        let tokens = Rotating::new(grant, MARGIN, HalfOpen::new(patience)).carrying(
            |access: &Access| Some(access.token.expose().to_owned()),
            |token| Some(Access::new(Secret::new(token))),
        );
        // The token that renews is the token that is used.
        // Held at once: without it the first turn would renew a token that has weeks left.
        tokens.hold(access, expires);
        let account = Account {
            variable: pasted.variable,
            // Of the pasted token, not the renewed one: the page's `uuid` outlives its tokens.
            uuid: uuid(token.expose()).to_string(),
            pasted: token,
            tokens,
            real_user,
            standing: Arc::default(),
        };
        (number, account)
    });
    accounts.collect()
}

impl Known for Account {
    fn fingerprint(&self) -> Fingerprint {
        self.tokens.fingerprint()
    }

    fn variable(&self) -> &str {
        &self.variable
    }
}

impl Account {
    /// When a new token must be pasted, in Unix seconds.
    pub(super) fn end(&self) -> Option<u64> {
        claimed(self.tokens.grant().newest().expose()).expires
    }

    /// For a request that is made now. The matrix generation, and the calls before the real id is known, go by the token's
    /// own (sections 2 and 4).
    pub(super) fn caller<'a>(
        &'a self,
        site: &'a Site,
        access: &'a Access,
        user: Option<&'a str>,
    ) -> Caller<'a> {
        Caller {
            site,
            who: Who {
                token: access.token.expose(),
                user: user.unwrap_or(&access.claimed.user),
                device: &access.claimed.device,
                uuid: &self.uuid,
            },
            // Here and nowhere else: `unix`, `x-timestamp` and `yy` read at two moments differ at a second's end
            // (section 9).
            unix_seconds: unix_ms() / 1000,
        }
    }

    /// The token that was pasted, in place of a renewed one that was refused; `None` where that is the one.
    pub(super) fn fall_back(&self, refused: &Access) -> Option<Arc<Access>> {
        if refused.token == self.pasted {
            return None;
        }
        let access = Access::new(self.pasted.clone());
        let expires = access.claimed.expires;
        Some(self.tokens.hold(access, expires))
    }

    /// How a token is renewed ([`Rotating::current`], section 2).
    pub(super) fn renewal(
        &self,
        messenger: Messenger,
        site: &Site,
    ) -> impl AsyncFn(Attempt) -> Result<Renewed<Access>, Failure> + 'static {
        let (account, site) = (self.clone(), site.clone());
        async move |attempt: Attempt| {
            let access = Access::new(attempt.credential.clone());
            let call = Call {
                messenger: messenger.clone(),
                site: &site,
                account: &account,
                access: &access,
                // Section 12.2: account calls are answered without the real id.
                user: None,
            };
            renewed(&call, &attempt)
                .await
                .map_err(|refusal| refusal.error.into())
        }
    }
}

async fn renewed(call: &Call<'_>, attempt: &Attempt) -> Result<Renewed<Access>, Refusal> {
    let plain = call.json(wire::renewal(call.caller(), Target::Path)).await;
    let body = match plain {
        // The other form once (section 12.2).
        Err(refusal) if refusal.remedy == Remedy::OtherForm => {
            let request = wire::renewal(call.caller(), Target::Ticket);
            call.json(request).await?
        }
        plain => plain?,
    };
    let token = answers::renewed(&body).ok_or_else(|| ProviderError::malformed("renewal"))?;
    let access = Access::new(Secret::new(token));
    // A service that gives shorter tokens than the margin would otherwise be asked by every turn.
    let soonest = attempt.unix_ms / 1000 + MARGIN.as_secs() + PAUSE_SECONDS;
    Ok(Renewed {
        // One that ends soon is not renewed again with every turn.
        expires: access.claimed.expires.map(|end| end.max(soonest)),
        keep: Some(access.token.clone()),
        token: access,
    })
}

/// `<realUserID>+<JWT>`, or the JWT alone.
pub(super) fn parts(pasted: &str) -> Parts {
    let is_id =
        |id: &str| id.len() >= LEAST_ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_digit());
    // No JWT has a `+`: it is base64url.
    match pasted.split_once('+') {
        Some((id, token)) if is_id(id) => Parts {
            token: token.to_owned(),
            real_user: Some(id.to_owned()),
        },
        _ => Parts {
            token: pasted.to_owned(),
            real_user: None,
        },
    }
}

/// Reads a token.
pub(super) fn claimed(token: &str) -> Claimed {
    let claims = Claims::read(token);
    let text = |path: &str| claims.as_ref().and_then(|claims| claims.text(path));
    let is_decimal = |id: &String| id.bytes().all(|byte| byte.is_ascii_digit());
    Claimed {
        // Section 2: a claim that is missing is sent as empty text.
        user: text("user/id").unwrap_or_default(),
        // A hexadecimal one is refused (section 2).
        device: text("user/deviceID")
            .filter(is_decimal)
            .unwrap_or_else(|| made_up_device(token)),
        expires: claims.as_ref().and_then(Claims::expires),
    }
}

/// The `uuid` of the query: a version 4 UUID, the same for an account over restarts.
pub(super) fn uuid(pasted: &str) -> Uuid {
    let digest = digest("uuid", pasted);
    let bytes = digest
        .first_chunk()
        .copied()
        .or_impossible("32 bytes hold 16");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// 8 digits, as the browser's own.
fn made_up_device(token: &str) -> String {
    let digest = digest("device", token);
    let bytes = digest
        .first_chunk()
        .copied()
        .or_impossible("32 bytes hold 8");
    (10_000_000 + u64::from_be_bytes(bytes) % 90_000_000).to_string()
}

fn digest(what: &str, secret: &str) -> Vec<u8> {
    Sha3_256::digest(format!("hive2api minimax {what} {secret}")).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::jwt::sample;

    #[test]
    fn takes_what_people_paste() {
        let token = sample(
            r#"{"exp":1893456000,"user":{"id":"440011223344556677","deviceID":"31234567"}}"#,
        );
        for pasted in [
            token.clone(),
            format!("\"{token}\""),
            format!(" Bearer {token} "),
            format!("_token={token}; a=b"),
            format!("{{\"_token\":\"{token}\"}}"),
        ] {
            let (mut problems, vars) = (
                Problems::default(),
                Vars::new([(VARIABLE, pasted.as_str())]),
            );
            let accounts = accounts(&vars, &Kept::default(), Patience::default(), &mut problems);
            assert!(problems.errors.is_empty(), "{problems:?}");
            assert_eq!(accounts.len(), 1, "{pasted}");
            let account = &accounts[0].1;
            assert!(account.tokens.is_of(&token), "{pasted}");
            assert_eq!(account.end(), Some(1_893_456_000));
            let access = account.tokens.latest().unwrap();
            assert!(account.fall_back(&access).is_none());
            assert!(!format!("{account:?}").contains("eyJ"));
        }
        let value = format!("417302981443021999+{token}");
        assert_eq!(
            parts(&value),
            Parts {
                token: token.clone(),
                real_user: Some("417302981443021999".to_owned())
            }
        );
        assert_eq!(parts(&token).real_user, None);
        assert_eq!(parts("opaque+x").token, "opaque+x");
        let read = claimed(&token);
        assert_eq!(
            (read.user.as_str(), read.device.as_str(), read.expires),
            ("440011223344556677", "31234567", Some(1_893_456_000))
        );
    }

    #[test]
    fn what_a_token_does_not_say_is_made_up_once() {
        for token in [
            sample(r#"{"user":{"deviceID":"3f2a"}}"#),
            sample("{}"),
            "opaque".to_owned(),
        ] {
            let read = claimed(&token);
            assert_eq!((read.user.as_str(), read.expires), ("", None));
            assert!(read.device.len() == 8 && read.device.bytes().all(|it| it.is_ascii_digit()));
            assert_eq!(claimed(&token), read);
        }
        assert_ne!(claimed("a").device, claimed("b").device);
        assert_eq!(uuid("a"), uuid("a"));
        assert_eq!(uuid("a").get_version_num(), 4);
    }
}
