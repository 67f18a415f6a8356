//! Credentials that rotate: a long-lived one ([`Grant`]: a refresh token, a session, a password) brings short-lived ones,
//! and may be replaced itself each time. What every provider with such a credential needs stands here once: one renewal
//! at a time for an account, however many turns wait for it, ahead of the token's end or after its refusal; run to its end
//! whoever leaves, as its answer may hold the only valid successor; that one kept over restarts before anybody uses it;
//! and a refused renewal remembered instead of repeated. The policy is pure: `rotation`.
//!
//! ```ignore
//! // Once, where the variables are read. Equal pasted credentials are equal accounts, so a pool keeps their state.
//! let grant = Grant::rotating(NAME, Secret::new(pasted), kept.clone());
//! let tokens = Rotating::new(grant, HOUR_MARGIN, HalfOpen::new(patience));
//! // In each turn.
//! let renew = async move |attempt: Attempt| {
//!     let request = wire::refresh(&hosts, &attempt.credential, attempt.unix_ms, attempt.random);
//!     let mut answer = messenger.send(request).await?;
//!     let tokens = wire::tokens(&answer.short().await?)?;
//!     Ok(Renewed { expires: tokens.expires, keep: tokens.refresh, token: tokens.access })
//! };
//! let token = account.tokens.current(renew.clone()).await?;
//! match ask(&token).await {
//!     Err(error) if is_refused_token(&error) => account.tokens.replaced(&token, error, renew).await?, // and ask once more
//!     ...
//! }
//! account.tokens.served(&token);
//! ```
//!
//! Workers of one machine share what they keep; a lock over several machines needs the store (design.md section 13).

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use super::rotation::{Failure, HalfOpen, Moment, Pace};
use super::{
    Kept, Secret,
    rotation::{Look, Rotation},
};
use crate::chat::{Kind, ProviderError};
use crate::impossible::OrImpossible as _;

/// A renewal whose calls have not ended by then is given up, so that those who wait for it need not wait for ever. Far
/// beyond the time-outs of the calls themselves.
const LONGEST_RENEWAL: Duration = Duration::from_secs(180);

/// One try of a renewal. Each gets a clock and randomness of its own, so that a signature is never sent twice.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The long-lived credential to try it with.
    pub credential: Secret,
    /// The moment, in Unix milliseconds.
    pub unix_ms: u64,
    /// For nonces and request ids.
    pub random: u128,
}

/// What a renewal brings.
#[derive(Debug)]
pub struct Renewed<T> {
    /// The short-lived token, with whatever belongs to it.
    pub token: T,
    /// When it ends, in Unix seconds; `None`: it is used until it is refused.
    pub expires: Option<u64>,
    /// What must outlive the process: the successor of a [`Grant::rotating`] (`None`: it stays as it is), or the token
    /// itself under a [`Grant::constant`].
    pub keep: Option<Secret>,
}

/// A long-lived credential: as it was pasted, and what has become of it since.
pub struct Grant {
    provider: &'static str,
    pasted: Secret,
    /// What the kept one is found by, so that another pasted credential never meets an old login.
    known_by: Secret,
    kept: Kept,
    is_rotating: bool,
    state: Mutex<GrantState>,
}

#[derive(Default)]
struct GrantState {
    /// From the last renewal, or kept by an earlier process; `None`: the pasted one is the newest.
    newest: Option<Secret>,
    /// What the file said when we last read it or wrote to it. Anything else in it is newer than what we know.
    seen: Option<Secret>,
}

impl Grant {
    /// A credential whose successors take its place: a refresh token, or a token that is exchanged for the next one.
    pub fn rotating(provider: &'static str, pasted: Secret, kept: Kept) -> Self {
        Self::new(provider, pasted, kept, true)
    }

    /// A credential that stays what it is, such as name and password; what is kept beside it is the token that it brought
    /// last ([`Grant::kept`]), as each new login is one more that the service counts.
    pub fn constant(provider: &'static str, pasted: Secret, kept: Kept) -> Self {
        Self::new(provider, pasted, kept, false)
    }

    fn new(provider: &'static str, pasted: Secret, kept: Kept, is_rotating: bool) -> Self {
        let grant = Self {
            provider,
            known_by: pasted.clone(),
            pasted,
            kept,
            is_rotating,
            state: Mutex::default(),
        };
        grant.look_up();
        grant
    }

    /// Found by this instead of the credential itself, where that is a part of what was pasted.
    #[must_use]
    pub fn known_by(mut self, whole: Secret) -> Self {
        self.known_by = whole;
        self.look_up();
        self
    }

    fn look_up(&self) {
        let kept = self.kept.newest(self.provider, &self.known_by);
        *self.state() = GrantState {
            newest: kept.clone(),
            seen: kept,
        };
    }

    /// What an earlier process or another one has kept, or this one since.
    pub fn kept(&self) -> Option<Secret> {
        self.state().newest.clone()
    }

    /// The credential that the next renewal begins with.
    pub fn newest(&self) -> Secret {
        let newest = self.kept().filter(|_| self.is_rotating);
        newest.unwrap_or_else(|| self.pasted.clone())
    }

    /// One renewal: with the newest credential; where that one is refused, with what another process has kept meanwhile,
    /// and at last with the pasted one, once each. What it brings to keep is kept before this returns. To be called by one
    /// at a time, in a task that nobody stops; [`Rotating`] sees to both.
    ///
    /// # Errors
    /// The verdict on the newest credential, or what stopped the walk.
    pub async fn redeem<T>(
        &self,
        renew: &impl AsyncFn(Attempt) -> Result<Renewed<T>, Failure>,
        clock: fn() -> u64,
    ) -> Result<Renewed<T>, Failure> {
        // At most four, so a list is enough.
        let mut tried: Vec<Secret> = Vec::new();
        let mut refused = None;
        for step in [Step::Elsewhere, Step::Newest, Step::Kept, Step::Pasted] {
            let credential = self.at(step).await.filter(|it| !tried.contains(it));
            let Some(credential) = credential else {
                continue;
            };
            let attempt = Attempt {
                credential: credential.clone(),
                unix_ms: clock(),
                random: rand::random(),
            };
            match renew(attempt).await {
                // The first verdict is the one on the newest credential.
                Err(failure @ Failure::Refused(_)) => {
                    refused.get_or_insert(failure);
                }
                // A time-out or a 5xx says nothing of this credential, and to present an older one beside it could end
                // both.
                Err(failure) => return Err(failure),
                Ok(renewed) => {
                    if let Some(keep) = &renewed.keep {
                        // Before anybody uses the new token: a crash in between would leave the process with a
                        // successor that nobody knows.
                        self.keep(keep.clone()).await;
                    }
                    return Ok(renewed);
                }
            }
            tried.push(credential);
        }
        // The pasted one is always tried, so there is a verdict.
        debug_assert!(refused.is_some(), "a walk over no credential");
        Err(refused.unwrap_or_else(|| Failure::Failed(interrupted())))
    }

    async fn at(&self, step: Step) -> Option<Secret> {
        match step {
            Step::Pasted => Some(self.pasted.clone()),
            _ if !self.is_rotating => None,
            Step::Newest => self.state().newest.clone(),
            Step::Elsewhere => {
                let kept = self.read().await?;
                let mut state = self.state();
                let is_new = state.seen.as_ref() != Some(&kept);
                // Seen, whatever comes of it: a file that holds what was refused is not tried at every renewal.
                state.seen = Some(kept.clone());
                is_new.then_some(kept)
            }
            Step::Kept => self.read().await,
        }
    }

    /// The file may lie on a slow disk.
    async fn read(&self) -> Option<Secret> {
        let (kept, provider, known_by) = (self.kept.clone(), self.provider, self.known_by.clone());
        let read = tokio::task::spawn_blocking(move || kept.newest(provider, &known_by));
        read.await.ok().flatten()
    }

    async fn keep(&self, newest: Secret) {
        // In memory first: a full disk must not cost the token.
        self.state().newest = Some(newest.clone());
        self.kept
            .keep(self.provider, self.known_by.clone(), newest.clone())
            .await;
        // Behind the write: what the file says now is ours and no news.
        self.state().seen = Some(newest);
    }

    fn state(&self) -> MutexGuard<'_, GrantState> {
        lock(&self.state)
    }
}

/// Where the next credential of a walk comes from, in the order in which they are tried.
#[derive(Clone, Copy)]
enum Step {
    /// Another process has rotated it since we last looked: to present the older one could be taken for a theft.
    Elsewhere,
    Newest,
    /// Another process did so while we tried.
    Kept,
    Pasted,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("provider", &self.provider)
            .field("is_rotating", &self.is_rotating)
            .finish_non_exhaustive()
    }
}

/// An account's tokens. A clone is the same account; two are equal when the same credential was pasted.
pub struct Rotating<T, P = HalfOpen>(Arc<Shared<T, P>>);

struct Shared<T, P> {
    grant: Grant,
    /// `false`: the pasted token is all that there is.
    can_renew: bool,
    /// Held for a few comparisons, never across an await.
    rotation: Mutex<Rotation<T, P>>,
    /// Held by the one renewal that is under way.
    turnstile: Arc<tokio::sync::Mutex<()>>,
    /// Unix milliseconds.
    clock: fn() -> u64,
}

impl<T: Send + Sync + 'static, P: Pace> Rotating<T, P> {
    /// Without a token yet. One with less than `margin` left is renewed before it is used.
    pub fn new(grant: Grant, margin: Duration, pace: P) -> Self {
        Self::with(grant, true, margin, pace)
    }

    /// A pasted token that nothing can renew: used, whatever its end is, until another one is pasted.
    pub fn fixed(grant: Grant, token: T, pace: P) -> Self {
        let rotating = Self::with(grant, false, Duration::ZERO, pace);
        rotating.hold(token, None);
        rotating
    }

    fn with(grant: Grant, can_renew: bool, margin: Duration, pace: P) -> Self {
        Self(Arc::new(Shared {
            grant,
            can_renew,
            rotation: Mutex::new(Rotation::new(margin, pace)),
            turnstile: Arc::default(),
            clock: unix_ms,
        }))
    }

    /// Goes on with a token that has come otherwise than by a renewal: pasted with the credential, kept by an earlier
    /// process, or put in the old one's place by the service. `expires` is Unix seconds.
    pub fn hold(&self, token: T, expires: Option<u64>) -> Arc<T> {
        self.rotation().hold(token, expires, self.now().instant)
    }

    /// The long-lived credential.
    pub fn grant(&self) -> &Grant {
        &self.0.grant
    }

    /// Whether these are the tokens of that pasted credential.
    pub fn is_of(&self, pasted: &str) -> bool {
        self.0.grant.known_by.expose() == pasted
    }

    /// Whether a refused token can be replaced.
    pub fn can_renew(&self) -> bool {
        self.0.can_renew
    }

    /// The token of this moment, as it is; `None`: there is none yet, or it was refused.
    pub fn latest(&self) -> Option<Arc<T>> {
        self.rotation().latest().cloned()
    }

    /// A token that holds for the margin at least; or for less, where no other could be had.
    ///
    /// # Errors
    /// Why there is none: the renewal's failure, or the one that is remembered.
    pub async fn current<R>(&self, renew: R) -> Result<Arc<T>, ProviderError>
    where
        R: AsyncFn(Attempt) -> Result<Renewed<T>, Failure> + 'static,
    {
        let look = self.rotation().look(self.now());
        self.follow(look, renew).await
    }

    /// Another token in place of one that was refused with this error; nothing is called where somebody else has brought
    /// it already. To be asked for once in a turn: what is refused then is the credential.
    ///
    /// # Errors
    /// Why there is none; the refusal itself where nothing can be renewed.
    pub async fn replaced<R>(
        &self,
        refused: &Arc<T>,
        error: ProviderError,
        renew: R,
    ) -> Result<Arc<T>, ProviderError>
    where
        R: AsyncFn(Attempt) -> Result<Renewed<T>, Failure> + 'static,
    {
        if !self.0.can_renew {
            return Err(error);
        }
        let look = self.rotation().refused(refused, &error, self.now());
        self.follow(look, renew).await
    }

    /// As [`Rotating::replaced`], without asking for another one: that of a turn which has had its second already. The next
    /// turn must not begin with it.
    pub fn refused(&self, refused: &Arc<T>, error: &ProviderError) {
        // The answer is for a turn that wants another one; this one has had it.
        if self.0.can_renew {
            let _ = self.rotation().refused(refused, error, self.now());
        }
    }

    /// The token of this moment after a call that may put another one in its place, such as a check that the site makes
    /// after its start: made while one is due, by one turn for all, and run to its end as a renewal is.
    pub async fn checked<R>(&self, token: Arc<T>, is_due: fn(&T) -> bool, call: R) -> Arc<T>
    where
        R: AsyncFnOnce(Arc<T>) -> Option<Renewed<T>> + 'static,
    {
        if !is_due(&token) {
            return token;
        }
        let guard = Arc::clone(&self.0.turnstile).lock_owned().await;
        // Somebody else may have made the call while we waited.
        let latest = self.latest().unwrap_or_else(|| Arc::clone(&token));
        if !is_due(&latest) {
            return latest;
        }
        let (this, token) = (self.clone(), Arc::clone(&latest));
        let task = actix_web::rt::spawn(async move {
            let renewed = call(token).await?;
            if let Some(keep) = renewed.keep {
                this.0.grant.keep(keep).await;
            }
            let token = this.hold(renewed.token, renewed.expires);
            // Before the task ends, so that the next in line finds the new token and not a held turnstile.
            drop(guard);
            Some(token)
        });
        task.await.ok().flatten().unwrap_or(latest)
    }

    /// The service has accepted the token: should it be refused later, that is worth a renewal.
    pub fn served(&self, token: &Arc<T>) {
        self.rotation().served(token);
    }

    async fn follow<R>(&self, look: Look<T>, renew: R) -> Result<Arc<T>, ProviderError>
    where
        R: AsyncFn(Attempt) -> Result<Renewed<T>, Failure> + 'static,
    {
        match look {
            Look::Use(token) => Ok(token),
            Look::Fail(error) => Err(error),
            Look::Renew { seen, spare } => {
                let renewed = self.renewed(seen, renew).await;
                // It may have ended or have been refused meanwhile.
                let holds = |spare: &Arc<T>| self.rotation().holds(spare, self.now());
                renewed.or_else(|error| spare.filter(holds).ok_or(error))
            }
        }
    }

    /// The outcome of a renewal that ends after the `seen`-th one: our own, or the one that we waited for.
    async fn renewed<R>(&self, seen: u64, renew: R) -> Result<Arc<T>, ProviderError>
    where
        R: AsyncFn(Attempt) -> Result<Renewed<T>, Failure> + 'static,
    {
        // `lock_owned`: the guard moves into the task, which may outlive this turn.
        let guard = Arc::clone(&self.0.turnstile).lock_owned().await;
        // Counted, not timed: whoever came before it ended takes its outcome, good or bad.
        if let Some(outcome) = self.rotation().outcome(seen) {
            return outcome;
        }
        let this = Self(Arc::clone(&self.0));
        // A task of its own: the answer may hold the only valid successor, so it is read even if the client leaves.
        let task = actix_web::rt::spawn(async move {
            let walk = this.0.grant.redeem(&renew, this.0.clock);
            let outcome = match tokio::time::timeout(LONGEST_RENEWAL, walk).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::Failed(ProviderError::new(
                    Kind::Timeout,
                    "the renewal of the token took too long",
                ))),
            };
            if let Err(failure) = &outcome {
                tracing::warn!(
                    provider = this.0.grant.provider,
                    kind = failure.error().kind.label(),
                    "a token could not be renewed"
                );
            }
            let outcome = outcome.map(|renewed| (renewed.token, renewed.expires));
            let outcome = this.rotation().ended(outcome, this.now().instant);
            // Before those who wait look: they find the outcome.
            drop(guard);
            outcome
        });
        task.await.unwrap_or_else(|_| Err(interrupted()))
    }

    fn now(&self) -> Moment {
        Moment {
            // The margin is minutes; a clock that is set back by a second matters to nobody.
            unix: (self.0.clock)() / 1000,
            // Tokio's clock, which tests may stop.
            instant: tokio::time::Instant::now().into_std(),
        }
    }

    fn rotation(&self) -> MutexGuard<'_, Rotation<T, P>> {
        lock(&self.0.rotation)
    }
}

impl<T, P> Rotating<T, P> {
    /// The provider, and what identifies the account there as long as nobody pastes another one.
    pub(super) fn pasted(&self) -> (&'static str, &Secret) {
        (self.0.grant.provider, &self.0.grant.known_by)
    }
}

impl<T, P> Clone for Rotating<T, P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, P> PartialEq for Rotating<T, P> {
    fn eq(&self, other: &Self) -> bool {
        // By what was pasted, not by the tokens: `Pool::replace` keeps an account whose setting has not changed.
        let of = |it: &Self| (it.0.grant.provider, it.0.grant.known_by.clone());
        of(self) == of(other)
    }
}

impl<T, P> fmt::Debug for Rotating<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotating")
            .field("grant", &self.0.grant)
            .field("can_renew", &self.0.can_renew)
            .finish_non_exhaustive()
    }
}

/// The process's clock, for [`Grant::redeem`].
pub fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.or_impossible("a clock is past 1970").as_millis()).unwrap_or(u64::MAX)
}

fn interrupted() -> ProviderError {
    ProviderError::new(
        Kind::Unavailable,
        "the renewal of the token was interrupted",
    )
}

/// A panic of another thread leaves these plain values in order, so poisoning is of no interest.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "rotating_tests.rs"]
mod tests;
