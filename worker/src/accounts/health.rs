//! How an account is doing, and how long it rests after a failure. Pure: time and randomness are handed in, but for the
//! date of a change, which only tells which of two workers' words is the later one.
//!
//! ```text
//!            failure that blames the account            wait over
//!   ready ───────────────────────────────► cooling ───────────────► ready
//!     │                                                              ▲
//!     │ credential refused                        probe answered     │
//!     └──────────────────► disabled ──(one probe every 10 min)───────┘
//! ```

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    chat::{Kind, ProviderError},
    store::now_ms,
};

/// Longest rest after a failure, whatever the provider or the back-off says.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// Longest rest of an account whose quota is spent or that is shut out for a while, where the provider names the end: some
/// are shut out for days.
const LONGEST_QUOTA_REST: Duration = Duration::from_secs(31 * 86_400);
/// Longest rest after a fault that is not the account's.
const LONGEST_PASSING_REST: Duration = Duration::from_secs(30);
/// How much of what is known of an account's speed one turn makes.
const WEIGHT: f64 = 0.3;
/// So long an account's speed counts: one that is left alone for it is tried again.
const SPEED_COUNTS: Duration = Duration::from_secs(600);
/// An account is slow that takes this many times as long as the fastest, and at least so many seconds.
const SLOW_TIMES: f64 = 3.0;
const SLOW_SECONDS: f64 = 2.0;
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

impl Condition {
    /// The word for it, in `hive_accounts` and `GET /v1/accounts`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Resting | Self::Cooling(_) => "cooling",
            Self::Disabled => "disabled",
        }
    }
}

/// How an account is doing, told by one worker to the others. No number: those are each worker's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// When it became so, in milliseconds since the Unix epoch: of two, the later one counts.
    pub since_ms: u64,
    /// Failures in a row.
    pub failures: u32,
    /// It rests until then, in milliseconds since the Unix epoch.
    pub rests_until_ms: Option<u64>,
    /// While it rests it is not used at all.
    pub is_hard: bool,
    /// It is disabled, and tried again then.
    pub probe_ms: Option<u64>,
    /// The last error: kind, code and message.
    pub error: Option<(String, Option<String>, String)>,
}

/// Both clocks at one moment: rests are measured on the one, told on the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    /// Milliseconds since the Unix epoch.
    pub(super) unix_ms: u64,
}

impl Now {
    /// This one.
    pub(super) fn read() -> Self {
        Self {
            instant: Instant::now(),
            unix_ms: now_ms(),
        }
    }

    pub(super) fn told(self, instant: Instant) -> u64 {
        let left = instant.saturating_duration_since(self.instant);
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_add(left)
    }

    fn heard(self, unix_ms: u64) -> Instant {
        self.instant + Duration::from_millis(unix_ms.saturating_sub(self.unix_ms))
    }
}

/// Whether an account that takes `seconds` is slow beside one that takes `fastest`.
pub(super) fn is_slow(seconds: Option<f64>, fastest: f64) -> bool {
    seconds.is_some_and(|seconds| seconds >= SLOW_SECONDS && seconds > SLOW_TIMES * fastest)
}

/// The state of one account.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    cooling: Option<(Instant, bool)>,
    next_probe: Option<Instant>,
    last: Option<ProviderError>,
    /// When it last changed, by whichever worker's turn; 0: never.
    since_ms: u64,
    /// It has changed here, and nobody else knows.
    is_news: bool,
    /// Its turns of an hour or a day are used up until then. Nobody is told: all workers count the same turns.
    spent: Option<Instant>,
    /// Seconds from a lease to the first output, and when that was last seen.
    speed: Option<(f64, Instant)>,
}

impl Health {
    /// What the account may be used for. A disabled account whose probe is due counts as resting: it is taken
    /// when nothing better is there.
    pub(super) fn condition(&self, now: Instant) -> Condition {
        if let Some(left) = self.spent(now) {
            return Condition::Cooling(left);
        }
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

    /// A turn's first output took so long.
    pub(super) fn answered_in(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let known = self.seconds(now);
        let seconds = known.map_or(took, |known| known + WEIGHT * (took - known));
        self.speed = Some((seconds, now));
    }

    /// How many seconds its first output takes, where that was seen of late.
    pub(super) fn seconds(&self, now: Instant) -> Option<f64> {
        let (seconds, seen) = self.speed?;
        (seen + SPEED_COUNTS > now).then_some(seconds)
    }

    /// Its turns are used up, for so long.
    pub(super) fn spend(&mut self, until: Instant) {
        self.spent = Some(until);
    }

    /// How long its turns are used up still.
    pub(super) fn spent(&self, now: Instant) -> Option<Duration> {
        self.spent
            .map(|until| until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    /// Somebody takes the account: a due probe is used up. The next one is the whole cluster's, so the others are told.
    pub(super) fn taken(&mut self, now: Instant, patience: Patience) {
        if self.next_probe.is_some_and(|probe| probe <= now) {
            self.next_probe = Some(now + patience.probe);
            self.changed();
        }
    }

    /// A turn went well.
    pub(super) fn succeeded(&mut self) {
        if self.last.is_none() {
            return;
        }
        // Everything: one good turn ends whatever was held against it, also a refusal.
        *self = Self {
            since_ms: self.since_ms,
            spent: self.spent,
            speed: self.speed,
            ..Self::default()
        };
        self.changed();
    }

    /// The service takes the credential: a disabled account is well again, a resting one goes on resting.
    pub(super) fn accepted(&mut self) {
        if self.next_probe.is_some() {
            self.succeeded();
        }
    }

    fn changed(&mut self) {
        // Told apart even where the clock stands still.
        self.since_ms = now_ms().max(self.since_ms + 1);
        self.is_news = true;
    }

    /// Whether its probe is due within a time: then one worker of the cluster is to have it.
    pub(super) fn is_probed_within(&self, time: Duration, now: Instant) -> bool {
        self.next_probe.is_some_and(|probe| probe <= now + time)
    }

    /// Another worker has the probe: no probe here before then.
    pub(super) fn postpone(&mut self, until: Instant) {
        self.next_probe = self.next_probe.map(|probe| probe.max(until));
    }

    /// How it is doing, in words that another worker understands.
    pub(super) fn standing(&self, now: Now) -> Standing {
        let error = self.last.as_ref().map(|error| {
            let kind = error.kind.label().to_owned();
            (kind, error.code.clone(), error.message.clone())
        });
        Standing {
            since_ms: self.since_ms,
            failures: self.failures,
            rests_until_ms: self.cooling.map(|(until, _)| now.told(until)),
            is_hard: self.cooling.is_some_and(|(_, is_hard)| is_hard),
            probe_ms: self.next_probe.map(|probe| now.told(probe)),
            error,
        }
    }

    /// As [`Health::standing`], where it has changed since it was last told.
    pub(super) fn news(&mut self, now: Now) -> Option<Standing> {
        std::mem::take(&mut self.is_news).then(|| self.standing(now))
    }

    /// What could not be told is still news.
    pub(super) fn untold(&mut self) {
        self.is_news = true;
    }

    /// Another worker tells how the account is doing; whatever is older than what is known here says nothing.
    pub(super) fn learn(&mut self, told: &Standing, now: Now) {
        if told.since_ms <= self.since_ms {
            return;
        }
        let error = told.error.as_ref().and_then(|(kind, code, message)| {
            let error = ProviderError::new(Kind::labelled(kind)?, message.clone());
            Some(match code {
                Some(code) => error.with_code(code),
                None => error,
            })
        });
        *self = Self {
            failures: told.failures,
            cooling: told
                .rests_until_ms
                .map(|until| (now.heard(until), told.is_hard)),
            next_probe: told.probe_ms.map(|probe| now.heard(probe)),
            last: error,
            since_ms: told.since_ms,
            is_news: false,
            spent: self.spent,
            speed: self.speed,
        };
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
                // One that is shut out until a date is not tried before.
                let named = error.retry_after.unwrap_or_default();
                self.next_probe = Some(now + patience.probe.max(named.min(LONGEST_QUOTA_REST)));
                self.last = Some(error.clone());
                self.changed();
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
        self.changed();
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

    fn at(instant: Instant, unix_ms: u64) -> Now {
        Now { instant, unix_ms }
    }

    #[test]
    fn what_one_worker_has_met_another_one_knows() {
        let (now, patience) = (Instant::now(), Patience::default());
        let (mut here, mut there) = (Health::default(), Health::default());
        assert_eq!(here.news(at(now, 1000)), None);
        let named = error(Kind::QuotaSpent).with_retry_after(Some(Duration::from_secs(3 * 86_400)));
        here.failed(&named.with_code("muted"), now, patience, 0.0);
        let told = here.news(at(now, 1000)).unwrap();
        assert_eq!(told.rests_until_ms, Some(1000 + 3 * 86_400_000));
        assert_eq!(here.news(at(now, 1000)), None, "told once");
        // The other one's instants have another beginning.
        let then = now + Duration::from_secs(7);
        there.learn(&told, at(then, 1000));
        let left = Duration::from_secs(3 * 86_400);
        assert_eq!(there.condition(then), Condition::Cooling(left));
        let known = there.last_error().unwrap();
        assert_eq!(
            (known.kind, known.code.as_deref()),
            (Kind::QuotaSpent, Some("muted"))
        );
        assert_eq!(there.news(at(then, 1000)), None, "an echo is no news");
        // It serves there, and is well here; the old word changes nothing any more.
        there.succeeded();
        let well = there.news(at(then, 1000)).unwrap();
        here.learn(&well, at(now, 1000));
        assert_eq!(here.condition(now), Condition::Ready);
        here.learn(&told, at(now, 1000));
        assert_eq!(here.condition(now), Condition::Ready);
    }

    #[test]
    fn a_probe_is_the_whole_clusters() {
        let (now, patience) = (Instant::now(), Patience::default());
        let (mut here, mut there) = (Health::default(), Health::default());
        here.failed(&error(Kind::AuthExpired), now, patience, 0.0);
        there.learn(&here.news(at(now, 0)).unwrap(), at(now, 0));
        let due = now + patience.probe;
        assert!(there.is_probed_within(Duration::from_secs(6), due - Duration::from_secs(5)));
        there.postpone(due + Duration::from_secs(30));
        assert_eq!(there.condition(due), Condition::Disabled);
        assert_eq!(here.condition(due), Condition::Resting);
        here.taken(due, patience);
        let told = here.news(at(due, 0)).unwrap();
        there.learn(&told, at(due, 0));
        let later = due + Duration::from_secs(31);
        assert_eq!(there.condition(later), Condition::Disabled);
    }

    #[test]
    fn one_that_is_shut_out_until_a_date_is_not_probed_before() {
        let (now, mut health) = (Instant::now(), Health::default());
        let day = Duration::from_secs(86_400);
        let error = error(Kind::AuthExpired).with_retry_after(Some(day));
        health.failed(&error, now, Patience::default(), 0.0);
        let soon = now + Patience::default().probe;
        assert_eq!(health.condition(soon), Condition::Disabled);
        assert_eq!(health.condition(now + day), Condition::Resting);
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
