//! What of an account is spent while the rest of it goes on: services count pictures and videos of a day apart, and an account
//! without any left still chats. Pure: time is handed in.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::chat::{ProviderError, media::Makes};

/// Longest time that is believed.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// How long still, and why.
pub(super) type Left = (Duration, ProviderError);

/// Until when, and why.
type Spent = (Instant, ProviderError);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Allowances(Mutex<HashMap<(usize, Makes), Spent>>);

impl Allowances {
    /// An account's allowance of something is spent: for the time that the error names, or else for `otherwise`. How long
    /// that is.
    pub(super) fn spend(
        &self,
        (account, what): (usize, Makes),
        error: &ProviderError,
        otherwise: Duration,
        now: Instant,
    ) -> Duration {
        let rest = error.retry_after.unwrap_or(otherwise).min(LONGEST);
        let mut spent = self.locked();
        spent.retain(|_, (until, _)| *until > now);
        spent.insert((account, what), (now + rest, error.clone()));
        rest
    }

    /// How long an account has none left of something, and why; `None`: it has.
    pub(super) fn left(&self, account: usize, what: Makes, now: Instant) -> Option<Left> {
        // Chats have no allowance of their own: where it is spent, the account rests.
        if what == Makes::Text {
            return None;
        }
        let spent = self.locked();
        let (until, error) = spent.get(&(account, what))?;
        (*until > now).then(|| (*until - now, error.clone()))
    }

    /// Forgets all: the accounts are others now.
    pub(super) fn forget(&self) {
        self.locked().clear();
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<(usize, Makes), Spent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Kind;

    #[test]
    fn one_thing_is_spent_and_the_others_are_not() {
        let (allowances, now) = (Allowances::default(), Instant::now());
        let error = ProviderError::new(Kind::QuotaSpent, "no more today");
        let minute = Duration::from_secs(60);
        let rest = allowances.spend((1, Makes::Image), &error, minute, now);
        assert_eq!(rest, minute);
        let left = |account, what, now| allowances.left(account, what, now).map(|(left, _)| left);
        assert_eq!(left(1, Makes::Image, now), Some(minute));
        for (account, what) in [(1, Makes::Video), (1, Makes::Text), (2, Makes::Image)] {
            assert_eq!(left(account, what, now), None, "{account} {what:?}");
        }
        assert_eq!(left(1, Makes::Image, now + minute), None);
        let named = error.with_retry_after(Some(minute * 300));
        allowances.spend((1, Makes::Image), &named, minute, now);
        assert_eq!(left(1, Makes::Image, now), Some(minute * 300));
        allowances.forget();
        assert_eq!(left(1, Makes::Image, now), None);
    }
}
