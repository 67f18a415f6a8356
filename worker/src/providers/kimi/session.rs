//! The tokens in use. One refresh at a time for an account, however many turns need it; both tokens rotate and are kept
//! ([`Rotating`]). Source: `wire/kimi.md` section 2.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::OnceCell;

use super::{
    NAME,
    account::{self, Account, TokenKind},
    catalogue::Catalogue,
    refusal::{self, Refusal},
    wire::{self, Caller, Hosts},
};
use crate::{
    accounts::{
        Kept, Secret,
        jwt::Claims,
        rotating::{Attempt, Failure, Grant, HalfOpen, Renewed, Rotating},
    },
    chat::{Kind, ProviderError},
    impossible::OrImpossible as _,
    providers::Messenger,
    upstream::{Request, TransportError},
};

/// An access token is renewed this long before it ends (section 2).
const MARGIN: Duration = Duration::from_secs(60);

/// An access token and the ids that must agree with it (section 4.1).
pub(super) struct Access {
    /// The JWT.
    pub(super) token: Secret,
    /// `x-msh-device-id`.
    pub(super) device: String,
    /// `x-msh-session-id`.
    pub(super) session: String,
    /// `x-traffic-id`: the claim, else what `/api/user` says, once for the token's life.
    user: OnceCell<String>,
}

impl Access {
    /// `x-traffic-id`, as far as it is known.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.get().map(String::as_str)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// What the ids of tokens without the claims are (section 4.1); fixed for the pasted token.
struct Spare {
    device: String,
    session: String,
}

impl Spare {
    /// Those of the pasted token, which a renewed one may lack; else made of `digits`.
    fn new(pasted: Option<&Claims>, digits: u128) -> Self {
        // As many as the largest number of 128 bits has.
        let written = format!("{digits:039}");
        let last = |count: usize| {
            let start = written.len() - count;
            written
                .get(start..)
                .or_impossible("39 digits were made, and fewer are wanted")
        };
        let claim = |name| pasted.and_then(|claims| claims.text(name));
        // 19 digits; devices begin with 7, sessions with 17.
        Self {
            device: claim("device_id").unwrap_or_else(|| format!("7{}", last(18))),
            session: claim("ssid").unwrap_or_else(|| format!("17{}", last(17))),
        }
    }

    /// A token as it is used, and when it ends.
    fn access(&self, token: Secret) -> (Access, Option<u64>) {
        // What the token says before what was pasted: a renewed one may say less.
        let claims = Claims::read(token.expose());
        let claim = |name| claims.as_ref().and_then(|claims| claims.text(name));
        let access = Access {
            device: claim("device_id").unwrap_or_else(|| self.device.clone()),
            session: claim("ssid").unwrap_or_else(|| self.session.clone()),
            user: OnceCell::new_with(claim("sub")),
            token,
        };
        (access, claims.and_then(|claims| claims.expires()))
    }
}

/// One login.
pub(super) struct Session {
    /// The tokens of this moment.
    pub(super) tokens: Rotating<Access>,
    spare: Arc<Spare>,
    /// What the service offers this account.
    pub(super) catalogue: Catalogue,
}

impl Session {
    /// A session of a pasted token, going on where an earlier process kept its newest one. The ids of tokens that carry
    /// none are made of `digits`.
    pub(super) fn new(pasted: Secret, kept: Kept, pace: HalfOpen, digits: u128) -> Self {
        let claims = Claims::read(pasted.expose());
        let spare = Arc::new(Spare::new(claims.as_ref(), digits));
        let others = Arc::clone(&spare);
        // What an earlier process has kept of this very token is newer than it.
        let grant = Grant::rotating(NAME, pasted.clone(), kept);
        let tokens = match account::kind(pasted.expose(), claims.as_ref()) {
            TokenKind::Refresh => Rotating::new(grant, MARGIN, pace).carrying(
                |access: &Access| Some(access.token.expose().to_owned()),
                move |token| Some(others.access(Secret::new(token)).0),
            ),
            // An access token cannot be renewed, so it is fixed and only told of (section 2).
            TokenKind::Access => Rotating::fixed(grant, spare.access(pasted).0, pace),
        };
        Self {
            tokens,
            spare,
            catalogue: Catalogue::default(),
        }
    }

    /// When a new token must be pasted, in Unix seconds: the end of the access token, or of the refresh token that
    /// brings the next one.
    pub(super) fn end(&self) -> Option<u64> {
        Claims::read(self.tokens.grant().newest().expose())?.expires()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

/// How an account's tokens are renewed.
fn renewal(
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
) -> impl AsyncFn(Attempt) -> Result<Renewed<Access>, Failure> + 'static {
    let (account, messenger, hosts) = (account.clone(), messenger.clone(), hosts.clone());
    async move |attempt: Attempt| {
        let tokens = refresh(&attempt.credential, &account, &messenger, &hosts).await?;
        let (token, expires) = account.session.spare.access(tokens.access);
        Ok(Renewed {
            token,
            expires,
            keep: tokens.refresh,
        })
    }
}

/// An access token that holds for at least the margin; the time is Unix seconds.
///
/// # Errors
/// Why there is none.
pub(super) async fn access(
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
    now: u64,
) -> Result<Arc<Access>, ProviderError> {
    let tokens = &account.session.tokens;
    let access = tokens.current(renewal(account, messenger, hosts)).await?;
    // Some tokens do not say whose they are (section 3, Preflight).
    let asked = access
        .user
        .get_or_try_init(|| ask_user(account, messenger, hosts, &access, now))
        .await;
    match asked {
        Err(error) if error.kind == Kind::AuthExpired => Err(error),
        // The header may be missing; the next turn asks again.
        Ok(_) | Err(_) => Ok(access),
    }
}

/// Reads what the service offers the account, when it is time (section 3, GetAvailableModels). Whatever fails leaves what
/// was known.
pub(super) async fn look_at_offers(
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
    now: u64,
) {
    let catalogue = &account.session.catalogue;
    // Under the lock: of many turns one asks.
    if !catalogue.is_due(now) {
        return;
    }
    let Ok(access) = access(account, messenger, hosts, now).await else {
        return;
    };
    let caller = Caller {
        hosts,
        access: &access,
    };
    let Ok(mut answer) = messenger.send(wire::available_models(caller)).await else {
        return;
    };
    if answer.status.as_u16() == 200
        && let Ok(body) = answer.short().await
    {
        catalogue.learn(&body);
    }
}

/// Another access token in place of one that was refused with this error.
///
/// # Errors
/// Why there is none.
pub(super) async fn replaced(
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
    refused: &Arc<Access>,
    error: ProviderError,
) -> Result<Arc<Access>, ProviderError> {
    let renew = renewal(account, messenger, hosts);
    let tokens = &account.session.tokens;
    tokens.replaced(refused, error, renew).await
}

/// What a refresh brings.
struct Tokens {
    access: Secret,
    refresh: Option<Secret>,
}

/// First the RPC, then the older REST call where that one does not exist (section 2).
async fn refresh(
    token: &Secret,
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
) -> Result<Tokens, ProviderError> {
    let rpc = wire::refresh_token(hosts, token);
    let failure = match ask_tokens(account, messenger, rpc).await {
        Ok(tokens) => return Ok(tokens),
        Err(failure) => failure,
    };
    let is_missing = match &failure {
        // Section 2: these say that the call itself is not there.
        NoTokens::Status(404 | 405, _) => true,
        // Whatever was broken off later may have rotated the token: then another try is due, not another host.
        NoTokens::Transport(error) => {
            // Nothing can have been rotated: the answer never came.
            matches!(error, TransportError::Connect | TransportError::Timeout)
        }
        NoTokens::Status(..) => false,
    };
    if !is_missing {
        return Err(failure.into_error());
    }
    let rest = wire::refresh_token_rest(hosts, token);
    match ask_tokens(account, messenger, rest).await {
        Ok(tokens) => Ok(tokens),
        // Neither is there: what the first one said is nearer to the truth.
        // The older call is not there either, so the newer one's word counts.
        Err(NoTokens::Status(404 | 405, _) | NoTokens::Transport(_)) => Err(failure.into_error()),
        Err(refused @ NoTokens::Status(..)) => Err(refused.into_error()),
    }
}

enum NoTokens {
    Transport(TransportError),
    Status(u16, ProviderError),
}

impl NoTokens {
    fn into_error(self) -> ProviderError {
        match self {
            Self::Transport(error) => error.into(),
            Self::Status(_, error) => error,
        }
    }
}

impl From<TransportError> for NoTokens {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

async fn ask_tokens(
    account: &Account,
    messenger: &Messenger,
    request: Request,
) -> Result<Tokens, NoTokens> {
    let mut answer = messenger.send(request).await?;
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    let body = answer.short().await?;
    if status != 200 {
        let error = Refusal::http(status, &body).into_error(&account.variable);
        // A refresh token that is no valid argument is a refused one.
        let error = match error.kind {
            Kind::BadRequest => refusal::expired(&account.variable),
            _ => error.with_retry_after(retry_after),
        };
        return Err(NoTokens::Status(status, error));
    }
    let tokens = wire::tokens(&body).map_err(|error| NoTokens::Status(status, error))?;
    Ok(Tokens {
        access: tokens.0,
        refresh: tokens.1,
    })
}

async fn ask_user(
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
    access: &Access,
    now: u64,
) -> Result<String, ProviderError> {
    let mut answer = messenger
        .send(wire::user(hosts, access, now * 1000))
        .await?;
    let status = answer.status.as_u16();
    let body = answer.short().await?;
    if status != 200 {
        return Err(Refusal::http(status, &body).into_error(&account.variable));
    }
    wire::user_id(&body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::jwt;

    fn session(pasted: Secret, digits: u128) -> Session {
        Session::new(pasted, Kept::default(), HalfOpen::default(), digits)
    }

    #[test]
    fn ids_without_claims_look_like_the_services_own() {
        let session = session(Secret::new("opaque"), 42);
        let access = session.tokens.latest().unwrap();
        assert_eq!(access.device, "7000000000000000042");
        assert_eq!(access.session, "1700000000000000042");
        assert_eq!((access.device.len(), access.session.len()), (19, 19));
        assert_eq!(access.user(), None);
        assert!(!session.tokens.can_renew());
    }

    /// `{"exp":EXP,"typ":TYP,"app_id":"kimi"}` as a token.
    fn token(typ: &str, exp: u64) -> Secret {
        let claims = format!(r#"{{"exp":{exp},"typ":"{typ}","app_id":"kimi"}}"#);
        Secret::new(jwt::sample(&claims))
    }

    #[actix_web::test]
    async fn a_session_ends_with_what_renews_it() {
        assert_eq!(session(Secret::new("opaque"), 1).end(), None);
        assert_eq!(session(token("access", 1000), 1).end(), Some(1000));
        let renewing = session(token("refresh", 2000), 1);
        assert_eq!(renewing.end(), Some(2000));
        let renew = async |_: Attempt| {
            let (token, expires) = renewing.spare.access(token("access", 50));
            assert_eq!(expires, Some(50));
            let keep = Some(self::token("refresh", 3000));
            Ok(Renewed {
                token,
                expires,
                keep,
            })
        };
        let grant = renewing.tokens.grant();
        grant.redeem(&renew, || 0).await.unwrap();
        assert_eq!(renewing.end(), Some(3000));
    }

    #[test]
    fn a_renewed_token_may_lack_the_ids_of_the_pasted_one() {
        let claims = r#"{"typ":"refresh","app_id":"kimi","device_id":"7501","ssid":"17311"}"#;
        let renewing = session(Secret::new(jwt::sample(claims)), 1);
        assert!(renewing.tokens.can_renew() && renewing.tokens.latest().is_none());
        let (access, _) = renewing.spare.access(token("access", 50));
        assert_eq!(
            (access.device.as_str(), &*access.session),
            ("7501", "17311")
        );
    }
}
