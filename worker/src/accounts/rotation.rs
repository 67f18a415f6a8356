//! What is known of an account's short-lived token, and when another may be asked for. Pure: time is handed in, calls are
//! made by [`super::rotating`]. Source: design.md section 4 (credentials), issue "The house, before it grows" item 4.
//!
//! ```text
//!                         less than the margin left, or refused
//!   (none) ──► renewal ──► token ─────────────────────────► renewal ──► token
//!                │                                            │
//!                │ the long-lived credential is refused       │ fails, and the token still holds ──► token
//!                └──► closed ──(one renewal every 10 min)──► renewal
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Patience;
use crate::chat::{Kind, ProviderError};

/// Longest rest that a service may ask for, as in [`super::health`] for a spent quota.
const LONGEST_REST: Duration = Duration::from_secs(86_400);
/// A token that lasted this long has been of use, whether or not anybody said so.
const LASTED: Duration = Duration::from_secs(60);
/// Tokens in a row that were refused before they served: with these, another one would fare no better.
const MOST_USELESS: u32 = 2;

/// Why a renewal brought nothing.
#[derive(Clone, Debug)]
pub enum Failure {
    /// This long-lived credential was refused: an older one may still be good, and is tried. When none is, the account
    /// waits for a new one, with a renewal now and then.
    Refused(ProviderError),
    /// Refused in a way that no later try and no older credential can mend: until other ones are pasted.
    Final(ProviderError),
    /// Anything else. It says nothing about the credential.
    Failed(ProviderError),
}

impl Failure {
    /// What to tell the caller.
    pub fn error(&self) -> &ProviderError {
        match self {
            Self::Refused(error) | Self::Final(error) | Self::Failed(error) => error,
        }
    }

    /// What to tell the caller.
    pub fn into_error(self) -> ProviderError {
        match self {
            Self::Refused(error) | Self::Final(error) | Self::Failed(error) => error,
        }
    }
}

impl<E: Into<ProviderError>> From<E> for Failure {
    /// [`Kind::AuthExpired`] is a refusal, except with a finer code: that one forbids something else than the credential.
    fn from(error: E) -> Self {
        let error = error.into();
        if error.kind == Kind::AuthExpired && error.code.is_none() {
            Self::Refused(error)
        } else {
            Self::Failed(error)
        }
    }
}

/// The moment, on both clocks: ends of tokens are Unix times, pauses must not follow a clock that is set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Unix seconds.
    pub unix: u64,
    /// For pauses.
    pub instant: Instant,
}

/// When a renewal may be tried. Pure; one for each account. [`HalfOpen`] fits where the service has no rule of its own.
pub trait Pace: Send + 'static {
    /// Why none may be tried now, with the time that is left where there is one.
    fn closed(&self, now: Instant) -> Option<ProviderError>;

    /// A renewal went well.
    fn renewed(&mut self, now: Instant);

    /// A renewal failed: with every credential that there is, where it was refused.
    fn failed(&mut self, failure: &Failure, now: Instant);

    /// The token that is in use was accepted, for the first time.
    fn served(&mut self) {}

    /// The token that is in use was refused. `has_served`: it was accepted before.
    fn refused(&mut self, error: &ProviderError, has_served: bool, now: Instant);
}

/// The house's pace: a refused renewal is tried again after [`Patience::probe`], once; tokens that are refused as soon as
/// they come are not followed by others for as long. What passes is the dispatcher's business, except for a time that the
/// service names.
#[derive(Clone, Debug, Default)]
pub struct HalfOpen {
    patience: Patience,
    closed: Option<(ProviderError, Option<Instant>)>,
    useless: u32,
}

impl HalfOpen {
    /// Open, with the pool's patience.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            ..Self::default()
        }
    }
}

impl Pace for HalfOpen {
    fn closed(&self, now: Instant) -> Option<ProviderError> {
        match self.closed.as_ref()? {
            // Final: closed for good, until another credential is pasted and makes another `Rotation`.
            (error, None) => Some(error.clone()),
            (error, Some(until)) if *until > now => {
                let error = error.clone();
                // Of a refused credential the caller can do nothing by waiting.
                let left = (error.kind != Kind::AuthExpired).then(|| *until - now);
                let named = left.or(error.retry_after);
                Some(error.with_retry_after(named))
            }
            (_, Some(_)) => None,
        }
    }

    fn renewed(&mut self, _now: Instant) {
        self.closed = None;
    }

    fn failed(&mut self, failure: &Failure, now: Instant) {
        let named = failure
            .error()
            .retry_after
            .map(|rest| rest.min(LONGEST_REST));
        self.closed = match failure {
            Failure::Final(error) => Some((error.clone(), None)),
            Failure::Refused(error) => {
                let rest = self.patience.probe.max(named.unwrap_or_default());
                Some((error.clone(), Some(now + rest)))
            }
            Failure::Failed(error) if !error.kind.is_passing() => {
                // Nothing without a time that the service names: the next turn asks again.
                named.map(|rest| (error.clone(), Some(now + rest)))
            }
            Failure::Failed(_) => None,
        };
    }

    fn served(&mut self) {
        self.useless = 0;
    }

    fn refused(&mut self, error: &ProviderError, has_served: bool, now: Instant) {
        // In a row: one that served breaks it.
        self.useless = if has_served { 0 } else { self.useless + 1 };
        if self.useless >= MOST_USELESS {
            // Half open: the next one that is refused closes again.
            self.useless = MOST_USELESS - 1;
            self.closed = Some((error.clone(), Some(now + self.patience.probe)));
        }
    }
}

/// A token in use.
#[derive(Debug)]
struct Held<T> {
    token: Arc<T>,
    /// Unix seconds; `None`: as long as it is accepted.
    expires: Option<u64>,
    since: Instant,
    has_served: bool,
}

impl<T> Held<T> {
    fn ends_within(&self, time: Duration, now: Moment) -> bool {
        self.expires
            .is_some_and(|end| end <= now.unix.saturating_add(time.as_secs()))
    }
}

/// What a turn that wants a token is to do.
#[derive(Debug)]
pub(super) enum Look<T> {
    /// Use this one.
    Use(Arc<T>),
    /// Renew, or wait for the renewal that comes after the `seen`-th; `spare` still holds, should that fail.
    Renew { seen: u64, spare: Option<Arc<T>> },
    /// Neither is possible.
    Fail(ProviderError),
}

/// The state of one account's token.
#[derive(Debug)]
pub(super) struct Rotation<T, P> {
    held: Option<Held<T>>,
    /// A token with less than this left is renewed before it is used.
    margin: Duration,
    pace: P,
    /// How many renewals have ended, and how the last one did: for those who waited for it.
    ended: u64,
    last: Option<Result<Arc<T>, ProviderError>>,
}

impl<T, P: Pace> Rotation<T, P> {
    pub(super) fn new(margin: Duration, pace: P) -> Self {
        Self {
            held: None,
            margin,
            pace,
            ended: 0,
            last: None,
        }
    }

    /// Goes on with this token, which has come otherwise than by a renewal.
    pub(super) fn hold(&mut self, token: T, expires: Option<u64>, now: Instant) -> Arc<T> {
        let token = Arc::new(token);
        self.held = Some(Held {
            token: Arc::clone(&token),
            expires,
            since: now,
            has_served: false,
        });
        token
    }

    /// The token in use.
    pub(super) fn latest(&self) -> Option<&Arc<T>> {
        self.held.as_ref().map(|held| &held.token)
    }

    /// Whether this token is the one in use, and has not ended.
    pub(super) fn holds(&self, token: &Arc<T>, now: Moment) -> bool {
        // By identity and not by value: a token that came twice has served as another one.
        self.held.as_ref().is_some_and(|held| {
            Arc::ptr_eq(&held.token, token) && !held.ends_within(Duration::ZERO, now)
        })
    }

    /// For a turn that is about to begin.
    pub(super) fn look(&self, now: Moment) -> Look<T> {
        let held = self.held.as_ref();
        if let Some(held) = held.filter(|held| !held.ends_within(self.margin, now)) {
            return Look::Use(Arc::clone(&held.token));
        }
        let spare = held.filter(|held| !held.ends_within(Duration::ZERO, now));
        let spare = spare.map(|held| Arc::clone(&held.token));
        match (self.pace.closed(now.instant), spare) {
            (None, spare) => Look::Renew {
                seen: self.ended,
                spare,
            },
            // Renewing ahead of the end is a precaution; that it fails costs nobody a token that holds.
            (Some(_), Some(spare)) => Look::Use(spare),
            (Some(error), None) => Look::Fail(error),
        }
    }

    /// For a turn whose token was refused.
    pub(super) fn refused(
        &mut self,
        token: &Arc<T>,
        error: &ProviderError,
        now: Moment,
    ) -> Look<T> {
        match &self.held {
            // Somebody else has met the same refusal, and there is a new one already.
            Some(held) if !Arc::ptr_eq(&held.token, token) => {
                return Look::Use(Arc::clone(&held.token));
            }
            Some(held) => {
                let has_served = held.has_served || held.since + LASTED <= now.instant;
                // Judged by its time, too: turns that end in other ways than `served` say nothing.
                self.pace.refused(error, has_served, now.instant);
                // Gone at once: no turn that begins now may meet it.
                self.held = None;
            }
            // Told before.
            None => {}
        }
        match self.pace.closed(now.instant) {
            Some(error) => Look::Fail(error),
            None => Look::Renew {
                seen: self.ended,
                spare: None,
            },
        }
    }

    /// The service has accepted the token.
    pub(super) fn served(&mut self, token: &Arc<T>) {
        if let Some(held) = &mut self.held
            && Arc::ptr_eq(&held.token, token)
            && !std::mem::replace(&mut held.has_served, true)
        {
            self.pace.served();
        }
    }

    /// A renewal has ended.
    pub(super) fn ended(
        &mut self,
        outcome: Result<(T, Option<u64>), Failure>,
        now: Instant,
    ) -> Result<Arc<T>, ProviderError> {
        let outcome = match outcome {
            Ok((token, expires)) => {
                self.pace.renewed(now);
                Ok(self.hold(token, expires, now))
            }
            Err(failure) => {
                self.pace.failed(&failure, now);
                Err(failure.into_error())
            }
        };
        self.ended += 1;
        self.last = Some(outcome.clone());
        outcome
    }

    /// How the renewal ended that came after the `seen`-th, if there was one.
    pub(super) fn outcome(&self, seen: u64) -> Option<Result<Arc<T>, ProviderError>> {
        // The last one's only, however many there were: it is the newest truth.
        self.last.clone().filter(|_| self.ended != seen)
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
