//! What became of an account's credential while the worker runs, and when a login may be tried. Pure: the time is
//! handed in. Source: `wire/deepseek.md` section 2.
//!
//! ```text
//!   pasted token ──refused──► login ──► its token ──refused──► login, once at once, then ever later
//!                               │
//!                               ├─ refused for its device, its account or its password ──► never again
//!                               └─ anything else ──► again after a pause that doubles
//! ```

use std::time::{Duration, Instant};

use super::account::Account;
use crate::{accounts::Secret, chat::ProviderError};

/// The shortest and the longest pause between two logins. Login bursts are what gets accounts muted; the page gives no
/// figures, so these are ours.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The state of one account's credential.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// From the last login.
    token: Option<Secret>,
    /// Whether that token has served an answer. One that never did is not followed by another login at once.
    has_served: bool,
    /// The pasted token was refused, or replaced.
    is_pasted_refused: bool,
    /// The token whose device was checked last: once per token is enough.
    checked: Option<Secret>,
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

impl Session {
    /// The token to use; `None`: a login is needed first.
    pub(super) fn token(&self, account: &Account) -> Option<Secret> {
        let pasted = account
            .token
            .as_ref()
            .filter(|_| !self.is_pasted_refused || account.login.is_none());
        self.token.as_ref().or(pasted).cloned()
    }

    /// Why no login may be tried now, with the time that is left where it is only too early.
    pub(super) fn failure(&self, now: Instant) -> Option<ProviderError> {
        let closed = self.closed.as_ref()?;
        let Some(until) = closed.until else {
            return Some(closed.error.clone());
        };
        let left = until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())?;
        Some(closed.error.clone().with_retry_after(Some(left)))
    }

    /// A login went well. `too_soon`: what is said should its token be refused before the next login is due.
    pub(super) fn logged_in(&mut self, token: Secret, now: Instant, too_soon: ProviderError) {
        let is_burst = self
            .last_login
            .is_some_and(|last| now.saturating_duration_since(last) < LONGEST_PAUSE);
        self.pause = if is_burst {
            longer(self.pause)
        } else {
            Duration::ZERO
        };
        self.close(too_soon, now, self.pause);
        (self.token, self.has_served, self.last_login) = (Some(token), false, Some(now));
    }

    /// Whether the device of this token is still to be checked; from now on it is not.
    pub(super) fn begins_check(&mut self, token: &Secret) -> bool {
        let is_new = self.checked.as_ref() != Some(token);
        self.checked = Some(token.clone());
        is_new
    }

    /// The service has replaced the token by another one.
    pub(super) fn rotated(&mut self, token: Secret) {
        self.checked = Some(token.clone());
        (self.token, self.has_served) = (Some(token), false);
    }

    /// A login was refused for good: asking again would hear the same.
    pub(super) fn login_refused(&mut self, error: ProviderError) {
        self.closed = Some(Closed { error, until: None });
    }

    /// A login failed, perhaps for the moment only.
    pub(super) fn login_failed(&mut self, error: ProviderError, now: Instant) {
        self.pause = longer(self.pause);
        let pause = self.pause.max(error.retry_after.unwrap_or_default());
        self.close(error, now, pause);
    }

    /// The token has served.
    pub(super) fn served(&mut self, token: &Secret) {
        self.has_served |= self.token.as_ref() == Some(token);
    }

    /// The token was refused; whether another one may be had, by a login or because somebody else just did.
    pub(super) fn refused(&mut self, token: &Secret, account: &Account, now: Instant) -> bool {
        if account.login.is_none() {
            return false;
        }
        match &self.token {
            Some(current) if current == token => {
                self.token = None;
                let has_served = std::mem::take(&mut self.has_served);
                if !has_served && let Some(closed) = &mut self.closed {
                    self.pause = longer(self.pause);
                    closed.until = closed.until.map(|_| now + self.pause);
                }
                has_served
            }
            Some(_) => true,
            None => {
                self.is_pasted_refused = true;
                true
            }
        }
    }

    fn close(&mut self, error: ProviderError, now: Instant, pause: Duration) {
        self.closed = Some(Closed {
            error,
            until: Some(now + pause),
        });
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::Kind,
        providers::deepseek::account::accounts,
        settings::{Problems, Vars},
    };

    fn account() -> Account {
        let vars = Vars::new([
            ("DEEPSEEK_TOKEN", "a"),
            ("DEEPSEEK_EMAIL", "x@y"),
            ("DEEPSEEK_PASSWORD", "p"),
        ]);
        accounts(&vars, &mut Problems::default()).remove(0).1
    }

    fn error(kind: Kind) -> ProviderError {
        ProviderError::new(kind, "x")
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_refused_token_is_followed_by_one_login() {
        let (account, now) = (account(), Instant::now());
        let mut session = Session::default();
        let (first, second) = (Secret::new("a"), Secret::new("b"));
        assert_eq!(session.token(&account), Some(first.clone()));
        assert!(session.refused(&first, &account, now));
        assert_eq!(session.token(&account), None);
        assert!(session.failure(now).is_none());
        session.logged_in(second.clone(), now, error(Kind::AuthExpired));
        // Somebody who still had the first one need not log in.
        assert!(session.refused(&first, &account, now));
        assert_eq!(session.token(&account), Some(second.clone()));
        assert!(
            !session.refused(&second, &account, now),
            "a loop of logins in one request"
        );
        // Nor from request to request.
        assert!(session.failure(now + seconds(59)).is_some());
        assert!(session.failure(now + seconds(61)).is_none());
    }

    #[test]
    fn a_token_that_served_is_replaced_at_once_and_then_ever_later() {
        let (account, mut now) = (account(), Instant::now());
        let mut session = Session::default();
        let mut pauses = Vec::new();
        for number in 0..10 {
            let token = Secret::new(number.to_string());
            session.logged_in(token.clone(), now, error(Kind::AuthExpired));
            session.served(&token);
            assert!(session.refused(&token, &account, now));
            let pause = session.failure(now).and_then(|error| error.retry_after);
            pauses.push(pause.unwrap_or_default().as_secs());
            now += pause.unwrap_or_default();
        }
        assert_eq!(
            pauses,
            [0, 60, 120, 240, 480, 960, 1920, 3600, 0, 60],
            "after an hour without a login the pace begins anew"
        );
    }

    #[test]
    fn a_refusal_for_good_stays_and_a_passing_one_rests() {
        let now = Instant::now();
        let mut session = Session::default();
        session.login_failed(error(Kind::Unavailable), now);
        let left = |session: &Session, at| {
            let error = session.failure(now + seconds(at))?;
            error.retry_after.map(|left| left.as_secs())
        };
        assert_eq!((left(&session, 0), left(&session, 59)), (Some(60), Some(1)));
        assert!(session.failure(now + seconds(60)).is_none());
        let named = error(Kind::RateLimited).with_retry_after(Some(seconds(500)));
        session.login_failed(named, now);
        assert_eq!(left(&session, 0), Some(500));
        session.login_refused(error(Kind::AuthExpired));
        assert!(session.failure(now + seconds(1_000_000)).is_some());
    }
}
