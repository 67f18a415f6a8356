//! When a login may be tried. Pure: the time is handed in. Source: `wire/deepseek.md` section 2.
//!
//! ```text
//!   pasted token ──refused──► login ──► its token ──refused──► login, once at once, then ever later
//!                               │
//!                               ├─ refused for its device, its account or its password ──► never again
//!                               └─ anything else ──► again after a pause that doubles
//! ```

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::refusal;
use crate::{
    accounts::{
        Secret,
        rotating::{Failure, Pace},
    },
    chat::ProviderError,
};

/// The shortest and the longest pause between two logins. Login bursts are what gets accounts muted; the page gives no
/// figures, so these are ours.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A token in use.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: Secret,
    /// Its device was checked: once for each is enough.
    is_checked: AtomicBool,
    /// What its login said of the account; told once, to the turn that asks first.
    news: Mutex<Option<ProviderError>>,
}

impl Token {
    /// A token whose device is still to be checked, with what its login has said of the account.
    pub(super) fn new(secret: Secret, news: Option<ProviderError>) -> Self {
        Self {
            secret,
            is_checked: AtomicBool::new(false),
            news: Mutex::new(news),
        }
    }

    /// One that a check has brought.
    pub(super) fn of_check(secret: Secret) -> Self {
        let token = Self::new(secret, None);
        token.set_checked();
        token
    }

    pub(super) fn is_unchecked(&self) -> bool {
        !self.is_checked.load(Ordering::Acquire)
    }

    pub(super) fn set_checked(&self) {
        self.is_checked.store(true, Ordering::Release);
    }

    pub(super) fn take_news(&self) -> Option<ProviderError> {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.take()
    }
}

/// The pace of one account's logins.
#[derive(Debug)]
pub(super) struct Logins {
    /// The variable to paste a token into.
    variable: String,
    last_login: Option<Instant>,
    pause: Duration,
    closed: Option<Closed>,
}

/// Why no login is tried, and until when; without a time: as long as the account's variables stay what they are.
#[derive(Debug)]
struct Closed {
    error: ProviderError,
    until: Option<Instant>,
}

impl Logins {
    /// None yet.
    pub(super) fn new(variable: String) -> Self {
        Self {
            variable,
            last_login: None,
            pause: Duration::ZERO,
            closed: None,
        }
    }

    fn close(&mut self, error: ProviderError, now: Instant, pause: Duration) {
        self.closed = Some(Closed {
            error,
            until: Some(now + pause),
        });
    }
}

impl Pace for Logins {
    fn closed(&self, now: Instant) -> Option<ProviderError> {
        let closed = self.closed.as_ref()?;
        let Some(until) = closed.until else {
            return Some(closed.error.clone());
        };
        // A pause that is over is none.
        let left = until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())?;
        Some(closed.error.clone().with_retry_after(Some(left)))
    }

    fn renewed(&mut self, now: Instant) {
        // A burst is what the pause is for: the first login of an hour is free.
        let is_burst = self
            .last_login
            .is_some_and(|last| now.saturating_duration_since(last) < LONGEST_PAUSE);
        self.pause = if is_burst {
            longer(self.pause)
        } else {
            Duration::ZERO
        };
        // What is said should the token be refused before the next login is due.
        self.close(refusal::too_soon(&self.variable), now, self.pause);
        self.last_login = Some(now);
    }

    fn failed(&mut self, failure: &Failure, now: Instant) {
        let error = failure.error().clone();
        if matches!(failure, Failure::Final(_)) {
            // Final: no time makes it right, only other variables (section 2).
            self.closed = Some(Closed { error, until: None });
            return;
        }
        self.pause = longer(self.pause);
        // What the service names counts where it is longer.
        let pause = self.pause.max(error.retry_after.unwrap_or_default());
        self.close(error, now, pause);
    }

    fn refused(&mut self, _error: &ProviderError, has_served: bool, now: Instant) {
        // A token that never served is not followed by another login at once. Before the first login, it is the pasted one.
        // A token that served and ends later is followed by a login at once.
        if !has_served && let Some(closed) = &mut self.closed {
            self.pause = longer(self.pause);
            closed.until = closed.until.map(|_| now + self.pause);
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Kind;

    fn error(kind: Kind) -> ProviderError {
        ProviderError::new(kind, "x")
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn logins() -> Logins {
        Logins::new("DEEPSEEK_TOKEN".to_owned())
    }

    fn left(logins: &Logins, at: Instant) -> Option<u64> {
        let error = logins.closed(at)?;
        error.retry_after.map(|left| left.as_secs())
    }

    #[test]
    fn a_refused_token_is_followed_by_one_login() {
        let (mut logins, now) = (logins(), Instant::now());
        let refusal = error(Kind::AuthExpired);
        // The pasted one.
        logins.refused(&refusal, false, now);
        assert!(logins.closed(now).is_none());
        logins.renewed(now);
        assert!(logins.closed(now).is_none());
        // The login's own, before it served: a loop of logins, in one request or from request to request.
        logins.refused(&refusal, false, now);
        assert_eq!(left(&logins, now), Some(60));
        assert_eq!(left(&logins, now + seconds(59)), Some(1));
        assert!(logins.closed(now + seconds(60)).is_none());
    }

    #[test]
    fn a_token_that_served_is_replaced_at_once_and_then_ever_later() {
        let (mut logins, mut now) = (logins(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..10 {
            logins.renewed(now);
            logins.refused(&error(Kind::AuthExpired), true, now);
            let pause = left(&logins, now).unwrap_or_default();
            pauses.push(pause);
            now += seconds(pause);
        }
        assert_eq!(
            pauses,
            [0, 60, 120, 240, 480, 960, 1920, 3600, 0, 60],
            "after an hour without a login the pace begins anew"
        );
    }

    #[test]
    fn a_refusal_for_good_stays_and_a_passing_one_rests() {
        let (mut logins, now) = (logins(), Instant::now());
        logins.failed(&Failure::Failed(error(Kind::Unavailable)), now);
        let at = |at| now + seconds(at);
        assert_eq!(
            (left(&logins, at(0)), left(&logins, at(59))),
            (Some(60), Some(1))
        );
        assert!(logins.closed(at(60)).is_none());
        let named = error(Kind::RateLimited).with_retry_after(Some(seconds(500)));
        logins.failed(&Failure::Failed(named), now);
        assert_eq!(left(&logins, at(0)), Some(500));
        logins.failed(&Failure::Final(error(Kind::AuthExpired)), now);
        assert!(logins.closed(at(1_000_000)).is_some());
    }

    #[test]
    fn the_news_of_a_login_are_told_once() {
        let token = Token::new(Secret::new("t"), Some(error(Kind::QuotaSpent)));
        assert!(token.is_unchecked());
        assert_eq!(token.take_news().unwrap().kind, Kind::QuotaSpent);
        assert!(token.take_news().is_none());
        assert!(!Token::of_check(Secret::new("t")).is_unchecked());
    }
}
