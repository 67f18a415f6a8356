//! The tokens in use. One refresh at a time for an account, however many turns need it; both tokens rotate and are
//! kept in memory. Source: `wire/kimi.md` section 2.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

use super::{
    NAME,
    account::{self, Account, TokenKind},
    catalogue::Catalogue,
    refusal::{self, Refusal},
    wire::{self, Caller, Hosts},
};
use crate::{
    accounts::{Kept, Secret},
    chat::{Kind, ProviderError},
    providers::Messenger,
    upstream::{Request, TransportError},
};

/// An access token is renewed this long before it ends (section 2).
const MARGIN_SECONDS: u64 = 60;

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
    expires: Option<u64>,
}

impl Access {
    /// `x-traffic-id`, as far as it is known.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.get().map(String::as_str)
    }

    fn ends_within(&self, seconds: u64, now: u64) -> bool {
        self.expires.is_some_and(|end| end <= now + seconds)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// One login.
pub(super) struct Session {
    pasted: Secret,
    kind: TokenKind,
    /// For tokens without the claims; fixed for the session's life.
    spare_device: String,
    spare_session: String,
    state: Mutex<State>,
    /// Held by the one refresh that is under way. Apart from `state`, which is never held across an await.
    turnstile: Arc<tokio::sync::Mutex<()>>,
    /// Where the newest refresh token survives a restart.
    kept: Kept,
    /// What the service offers this account.
    pub(super) catalogue: Catalogue,
}

#[derive(Default)]
struct State {
    access: Option<Arc<Access>>,
    /// The last rotation; `None` before the first one.
    refresh: Option<Secret>,
    /// How many refreshes have ended, and how the last one failed: for those who waited for it.
    refreshes: u64,
    failure: Option<ProviderError>,
}

impl Session {
    /// A session of a pasted token, going on where an earlier process kept its newest one. `random` makes the ids of tokens
    /// that carry none.
    pub(super) fn new(pasted: Secret, kept: Kept, random: u128) -> Self {
        let (kind, claims) = account::read(pasted.expose());
        // 19 digits; devices begin with 7, sessions with 17 (section 4.1).
        let digits = format!("{random:039}");
        let last = |count: usize| digits.get(digits.len() - count..).unwrap_or_default();
        let session = Self {
            spare_device: claims.device.unwrap_or_else(|| format!("7{}", last(18))),
            spare_session: claims.session.unwrap_or_else(|| format!("17{}", last(17))),
            kind,
            pasted,
            state: Mutex::default(),
            turnstile: Arc::default(),
            kept,
            catalogue: Catalogue::default(),
        };
        if kind == TokenKind::Refresh {
            let newest = session.kept.newest(NAME, &session.pasted);
            session.state().refresh = newest;
        }
        if kind == TokenKind::Access {
            let access = Arc::new(session.access_of(session.pasted.clone()));
            session.state().access = Some(access);
        }
        session
    }

    /// Whether this is the session of that pasted token.
    pub(super) fn is_of(&self, pasted: &str) -> bool {
        self.pasted.expose() == pasted
    }

    /// Whether a refused access token can be replaced.
    pub(super) fn can_refresh(&self) -> bool {
        self.kind == TokenKind::Refresh
    }

    /// When a new token must be pasted, in Unix seconds: the end of the access token, or of the refresh token that
    /// brings the next one.
    pub(super) fn end(&self) -> Option<u64> {
        let state = self.state();
        let token = state.refresh.as_ref().unwrap_or(&self.pasted);
        account::read(token.expose()).1.exp
    }

    /// The access token of this moment.
    pub(super) fn latest(&self) -> Option<Arc<Access>> {
        self.state().access.clone()
    }

    fn access_of(&self, token: Secret) -> Access {
        let (_, claims) = account::read(token.expose());
        Access {
            device: claims.device.unwrap_or_else(|| self.spare_device.clone()),
            session: claims.session.unwrap_or_else(|| self.spare_session.clone()),
            user: OnceCell::new_with(claims.user),
            expires: claims.exp,
            token,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves these plain values in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
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
    let session = &account.session;
    let (known, seen) = {
        let state = session.state();
        (state.access.clone(), state.refreshes)
    };
    let access = match known {
        Some(access) if !session.can_refresh() || !access.ends_within(MARGIN_SECONDS, now) => {
            access
        }
        known => match refreshed(account, messenger, hosts, seen).await {
            Err(error) if error.kind.is_passing() => {
                // Within the margin the old token still holds.
                known.filter(|it| !it.ends_within(0, now)).ok_or(error)?
            }
            result => result?,
        },
    };
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

/// Another access token in place of one that was refused.
///
/// # Errors
/// Why there is none.
pub(super) async fn renewed(
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
    refused: &Arc<Access>,
) -> Result<Arc<Access>, ProviderError> {
    let (known, seen) = {
        let state = account.session.state();
        (state.access.clone(), state.refreshes)
    };
    match known {
        // Somebody else has met the same refusal, and has a new token already.
        Some(access) if !Arc::ptr_eq(&access, refused) => Ok(access),
        _ => refreshed(account, messenger, hosts, seen).await,
    }
}

/// The outcome of a refresh that ends after the `seen`-th one: our own, or the one that we waited for.
async fn refreshed(
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
    seen: u64,
) -> Result<Arc<Access>, ProviderError> {
    let session = Arc::clone(&account.session);
    let guard = Arc::clone(&session.turnstile).lock_owned().await;
    {
        let state = session.state();
        if state.refreshes != seen {
            return match (&state.failure, &state.access) {
                (None, Some(access)) => Ok(Arc::clone(access)),
                (failure, _) => Err(failure.clone().unwrap_or_else(interrupted)),
            };
        }
    }
    let (account, messenger, hosts) = (account.clone(), messenger.clone(), hosts.clone());
    // A task of its own: the answer holds the only valid refresh token, so it is read even if the client leaves.
    let task = actix_web::rt::spawn(async move {
        let result = refresh(&account, &messenger, &hosts).await;
        let session = &account.session;
        let result = result.map(|tokens| {
            let access = Arc::new(session.access_of(tokens.access));
            let mut state = session.state();
            state.access = Some(Arc::clone(&access));
            state.refresh = tokens.refresh.or_else(|| state.refresh.take());
            (access, state.refresh.clone())
        });
        // Before anybody uses what it brought: a process that ends now must not have lost it.
        if let Ok((_, Some(newest))) = &result {
            let kept = session.kept.clone();
            kept.keep(NAME, session.pasted.clone(), newest.clone())
                .await;
        }
        let result = result.map(|(access, _)| access);
        let mut state = session.state();
        state.refreshes += 1;
        state.failure = result.as_ref().err().cloned();
        drop(state);
        drop(guard);
        result
    });
    task.await.unwrap_or_else(|_| Err(interrupted()))
}

fn interrupted() -> ProviderError {
    ProviderError::new(
        Kind::Unavailable,
        "the refresh of the token was interrupted",
    )
}

/// What a refresh brings.
struct Tokens {
    access: Secret,
    refresh: Option<Secret>,
}

/// With the newest refresh token that is known; where that one is refused, with what another worker has kept meanwhile, and
/// at last with the pasted one, once each (section 2).
async fn refresh(
    account: &Account,
    messenger: &Messenger,
    hosts: &Hosts,
) -> Result<Tokens, ProviderError> {
    let session = &account.session;
    let mut tried: Vec<Secret> = Vec::new();
    let mut refused = None;
    let known = session.state().refresh.clone();
    for next in [0, 1, 2] {
        let token = match next {
            0 => known.clone(),
            1 => session.kept.newest(NAME, &session.pasted),
            _ => Some(session.pasted.clone()),
        };
        let Some(token) = token.filter(|token| !tried.contains(token)) else {
            continue;
        };
        match refresh_with(&token, account, messenger, hosts).await {
            // The first verdict is the one on the newest token.
            Err(error) if error.kind == Kind::AuthExpired && error.code.is_none() => {
                refused.get_or_insert(error);
            }
            result => return result,
        }
        tried.push(token);
    }
    Err(refused.unwrap_or_else(interrupted))
}

/// First the RPC, then the older REST call where that one does not exist (section 2).
async fn refresh_with(
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
        Failure::Status(404 | 405, _) => true,
        // Whatever was broken off later may have rotated the token: then another try is due, not another host.
        Failure::Transport(error) => {
            matches!(error, TransportError::Connect | TransportError::Timeout)
        }
        Failure::Status(..) => false,
    };
    if !is_missing {
        return Err(failure.into_error());
    }
    let rest = wire::refresh_token_rest(hosts, token);
    match ask_tokens(account, messenger, rest).await {
        Ok(tokens) => Ok(tokens),
        // Neither is there: what the first one said is nearer to the truth.
        Err(Failure::Status(404 | 405, _) | Failure::Transport(_)) => Err(failure.into_error()),
        Err(refused @ Failure::Status(..)) => Err(refused.into_error()),
    }
}

enum Failure {
    Transport(TransportError),
    Status(u16, ProviderError),
}

impl Failure {
    fn into_error(self) -> ProviderError {
        match self {
            Self::Transport(error) => error.into(),
            Self::Status(_, error) => error,
        }
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

async fn ask_tokens(
    account: &Account,
    messenger: &Messenger,
    request: Request,
) -> Result<Tokens, Failure> {
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
        return Err(Failure::Status(status, error));
    }
    let tokens = wire::tokens(&body).map_err(|error| Failure::Status(status, error))?;
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
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

    use super::*;

    #[test]
    fn ids_without_claims_look_like_the_services_own() {
        let session = Session::new(Secret::new("opaque"), Kept::default(), 42);
        let access = session.access_of(Secret::new("opaque"));
        assert_eq!(access.device, "7000000000000000042");
        assert_eq!(access.session, "1700000000000000042");
        assert_eq!((access.device.len(), access.session.len()), (19, 19));
        assert_eq!(access.user(), None);
        assert!(!session.can_refresh() && session.state().access.is_some());
    }

    /// `{"exp":EXP,"typ":TYP,"app_id":"kimi"}` as a token.
    fn token(typ: &str, exp: u64) -> Secret {
        let claims = format!(r#"{{"exp":{exp},"typ":"{typ}","app_id":"kimi"}}"#);
        Secret::new(format!("eyJ.{}.c2ln", STANDARD_NO_PAD.encode(claims)))
    }

    #[test]
    fn a_session_ends_with_what_renews_it() {
        assert_eq!(
            Session::new(Secret::new("opaque"), Kept::default(), 1).end(),
            None
        );
        let pasted = Session::new(token("access", 1000), Kept::default(), 1);
        assert_eq!(pasted.end(), Some(1000));
        let renewing = Session::new(token("refresh", 2000), Kept::default(), 1);
        renewing.state().access = Some(Arc::new(renewing.access_of(token("access", 50))));
        assert_eq!(renewing.end(), Some(2000));
        renewing.state().refresh = Some(token("refresh", 3000));
        assert_eq!(renewing.end(), Some(3000));
    }

    #[test]
    fn a_token_without_an_end_never_ends() {
        let session = Session::new(Secret::new("opaque"), Kept::default(), u128::MAX);
        let mut access = session.access_of(Secret::new("opaque"));
        assert!(!access.ends_within(MARGIN_SECONDS, u64::MAX / 2));
        access.expires = Some(1000);
        assert!(!access.ends_within(60, 939));
        assert!(access.ends_within(60, 940));
    }
}
