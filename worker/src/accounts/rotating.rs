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
//! Workers of one machine share the file; those of a cluster renew one at a time and share what came of it through the store
//! (`shared`), the short-lived token as well where the provider says how it is carried ([`Rotating::carrying`]).

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Secret,
    grant::{Carry, interrupted},
    rotation::{Look, Rotation},
};
pub use super::{
    grant::Grant,
    rotation::{Failure, HalfOpen, Moment, Pace},
};
use crate::chat::{Kind, ProviderError};
use crate::impossible::OrImpossible as _;
use crate::mutex::lock;

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
    /// `None`: each worker gets tokens of its own.
    carry: Option<Carry<T>>,
    /// A token with less than this left is not worth to be taken over.
    margin: Duration,
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
            carry: None,
            margin,
            clock: unix_ms,
        }))
    }

    /// Lets the other workers use the tokens that one of them has renewed: `write` makes a text of a token (`None`: of this one
    /// it cannot), `read` a token of that. The text of a [`Grant::constant`] is what its renewals keep. To be said before the
    /// first clone is made.
    #[must_use]
    pub fn carrying(
        mut self,
        write: fn(&T) -> Option<String>,
        read: impl Fn(&str) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::get_mut(&mut self.0);
        debug_assert!(shared.is_some(), "said after the first clone");
        if let Some(shared) = shared {
            let read = Box::new(read);
            shared.carry = Some(Carry { write, read });
        }
        self
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
                let Shared { grant, carry, .. } = &*this.0;
                grant.keep(keep).await;
                let carry = carry.as_ref();
                let token = carry.and_then(|carry| (carry.write)(&renewed.token));
                grant.tell(token, renewed.expires, None);
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
            let Shared { grant, carry, .. } = &*this.0;
            let (clock, margin) = (this.0.clock, this.0.margin);
            let walk = grant.redeem_or_take(&renew, clock, carry.as_ref(), margin);
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

#[cfg(test)]
#[path = "rotating_tests.rs"]
mod tests;
