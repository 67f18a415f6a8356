//! How an account is doing, and how long it rests after a failure. Pure: time and randomness are handed in.
//!
//! ```text
//!            failure that blames the account            wait over
//!   ready ───────────────────────────────► cooling ───────────────► ready
//!     │                                                              ▲
//!     │ credential refused                        probe answered     │
//!     └──────────────────► disabled ──(one probe every 10 min)───────┘
//! ```

use std::time::{Duration, Instant};

use crate::chat::{Kind, ProviderError};

/// Longest rest after a failure, whatever the provider or the back-off says.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// Longest rest of an account whose quota is spent, where the provider names its end.
const LONGEST_QUOTA_REST: Duration = Duration::from_secs(86_400);
/// Longest rest after a fault that is not the account's.
const LONGEST_PASSING_REST: Duration = Duration::from_secs(30);
/// Doublings after which the back-off grows no more.
const MAX_DOUBLINGS: u32 = 10;

/// How patient a pool is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// First rest after "too many requests"; doubles with every failure in a row.
    pub base: Duration,
    /// How often an account whose credential was refused is tried again.
    pub probe: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(2),
            probe: Duration::from_secs(600),
        }
    }
}

/// What an account may be used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Everything.
    Ready,
    /// Nothing better to be had: it failed a moment ago, though not by its own fault.
    Resting,
    /// Nothing, until the time that is left has passed.
    Cooling(Duration),
    /// Nothing, until the credential is renewed.
    Disabled,
}

impl Condition {
    /// Whether the account may be leased at all.
    pub fn is_usable(self) -> bool {
        match self {
            Self::Ready | Self::Resting => true,
            Self::Cooling(_) | Self::Disabled => false,
        }
    }
}

/// The state of one account.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    cooling: Option<(Instant, bool)>,
    next_probe: Option<Instant>,
    last: Option<ProviderError>,
}

impl Health {
    /// What the account may be used for. A disabled account whose probe is due counts as resting: it is taken
    /// when nothing better is there.
    pub(super) fn condition(&self, now: Instant) -> Condition {
        // The probe stands above a rest: a refused credential does not become good by waiting.
        if let Some(probe) = self.next_probe {
            return if probe <= now {
                Condition::Resting
            } else {
                Condition::Disabled
            };
        }
        match self.cooling {
            Some((until, is_hard)) if until > now => {
                // Hard: the account's own fault. Another's fault makes it the last choice only.
                if is_hard {
                    Condition::Cooling(until - now)
                } else {
                    Condition::Resting
                }
            }
            Some(_) | None => Condition::Ready,
        }
    }

    /// Somebody takes the account: a due probe is used up.
    pub(super) fn taken(&mut self, now: Instant, patience: Patience) {
        if self.next_probe.is_some_and(|probe| probe <= now) {
            self.next_probe = Some(now + patience.probe);
        }
    }

    /// A turn went well.
    pub(super) fn succeeded(&mut self) {
        // Everything: one good turn ends whatever was held against it, also a refusal.
        *self = Self::default();
    }

    /// A turn failed. `jitter` is a random number from 0 to 1: a rest lasts 80 to 120 % of what it should, so
    /// that workers do not come back in step.
    pub(super) fn failed(
        &mut self,
        error: &ProviderError,
        now: Instant,
        patience: Patience,
        jitter: f64,
    ) {
        let doubled = |base: Duration| {
            base.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS))
                .mul_f64(0.8 + 0.4 * jitter)
        };
        let rest = match error.kind {
            Kind::AuthExpired => {
                // No rest beside it: nothing but the probe or a new credential ends this.
                self.next_probe = Some(now + patience.probe);
                self.last = Some(error.clone());
                return;
            }
            Kind::RateLimited => doubled(patience.base)
                .max(error.retry_after.unwrap_or_default())
                .min(LONGEST_REST),
            // Nobody answers a human check within seconds; who asks again in a hurry hears of it from here.
            Kind::Verification => doubled(patience.base * 15)
                .max(error.retry_after.unwrap_or_default())
                .min(LONGEST_REST),
            // A quota of the day may be told to the minute.
            Kind::QuotaSpent => doubled(patience.base * 15).min(LONGEST_REST).max(
                error
                    .retry_after
                    .unwrap_or_default()
                    .min(LONGEST_QUOTA_REST),
            ),
            Kind::Unavailable | Kind::Timeout => {
                // Half as long: it may have been any server of the service.
                doubled(patience.base / 2).min(LONGEST_PASSING_REST)
            }
            Kind::BadRequest
            | Kind::Forbidden
            | Kind::ContextLength
            | Kind::FileRejected
            | Kind::ModelNotFound
            | Kind::NotConfigured
            | Kind::AccountNotConfigured
            | Kind::Overloaded
            | Kind::Moderated
            | Kind::Protocol
            | Kind::Cut => return,
        };
        self.failures = self.failures.saturating_add(1);
        self.cooling = Some((now + rest, error.kind.blames_account()));
        self.last = Some(error.clone());
    }

    /// Why the account cannot be used.
    pub(super) fn last_error(&self) -> Option<&ProviderError> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: Kind) -> ProviderError {
        ProviderError::new(kind, "x")
    }

    #[test]
    fn rests_longer_each_time_and_recovers() {
        let (now, patience, mut health) = (Instant::now(), Patience::default(), Health::default());
        health.failed(&error(Kind::RateLimited), now, patience, 0.5);
        let Condition::Cooling(first) = health.condition(now) else {
            panic!()
        };
        health.failed(&error(Kind::RateLimited), now, patience, 0.5);
        let Condition::Cooling(second) = health.condition(now) else {
            panic!()
        };
        assert_eq!(
            (first, second),
            (Duration::from_secs(2), Duration::from_secs(4))
        );
        assert_eq!(health.condition(now + second), Condition::Ready);
        health.succeeded();
        assert_eq!(health.condition(now), Condition::Ready);
    }

    #[test]
    fn the_provider_may_ask_for_a_longer_rest() {
        let (now, mut health) = (Instant::now(), Health::default());
        for (kind, seconds) in [(Kind::RateLimited, 77), (Kind::Verification, 300)] {
            let wait = Duration::from_secs(seconds);
            let error = error(kind).with_retry_after(Some(wait));
            health.failed(&error, now, Patience::default(), 1.0);
            assert_eq!(health.condition(now), Condition::Cooling(wait));
        }
    }

    #[test]
    fn a_refused_credential_is_probed_once_in_ten_minutes() {
        let (now, patience, mut health) = (Instant::now(), Patience::default(), Health::default());
        health.failed(&error(Kind::AuthExpired), now, patience, 0.0);
        assert_eq!(health.condition(now), Condition::Disabled);
        let later = now + patience.probe;
        assert_eq!(health.condition(later), Condition::Resting);
        health.taken(later, patience);
        assert_eq!(health.condition(later), Condition::Disabled);
    }

    /// One caller's model or region must not cost all others the account.
    #[test]
    fn what_is_forbidden_leaves_the_account_as_it_is() {
        let (now, mut health) = (Instant::now(), Health::default());
        health.failed(&error(Kind::Forbidden), now, Patience::default(), 1.0);
        assert_eq!(health.condition(now), Condition::Ready);
    }

    #[test]
    fn a_passing_fault_leaves_the_account_usable() {
        let (now, mut health) = (Instant::now(), Health::default());
        health.failed(&error(Kind::Unavailable), now, Patience::default(), 1.0);
        assert_eq!(health.condition(now), Condition::Resting);
        health.failed(&error(Kind::BadRequest), now, Patience::default(), 1.0);
        assert_eq!(health.condition(now), Condition::Resting);
    }
}
