//! The pool: which account serves the next turn. Shared by all threads of a worker; its lock is held for a few
//! comparisons only, never across an await. Source: design.md section 2 step 5 and section 4.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::health::{Condition, Health, Patience};
use crate::chat::{Kind, ProviderError};

/// How long a turn waits for a busy account before it is told to come back later.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// Which accounts a turn may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Any account; of equally good ones the same for the same number (a hash of the caller).
    Any(u64),
    /// This one and no other.
    Only(usize),
    /// This one and no other, beside its turns: a short call about a job that it has already (is the video there?). Neither
    /// the limit of turns at a time nor a rest stands in the way, as the job is there whatever else the account may do.
    Beside(usize),
}

/// How many accounts are in which condition, for `hive_accounts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Usable now.
    pub ready: usize,
    /// Resting after a failure.
    pub cooling: usize,
    /// Waiting for a new credential.
    pub disabled: usize,
    /// Turns under way.
    pub in_flight: usize,
}

/// What the dispatcher, `/ready` and `/metrics` need of a pool, whatever its credentials are.
pub trait Accounts: fmt::Debug + Send + Sync {
    /// A turn with this account went well.
    fn succeeded(&self, account: usize);
    /// A turn with this account failed.
    fn failed(&self, account: usize, error: &ProviderError);
    /// How many accounts are in which condition.
    fn census(&self) -> Census;
    /// Whether any account could be leased now.
    fn is_usable(&self) -> bool {
        self.has_other(&[])
    }
    /// Whether another account than those `tried` could be leased now.
    fn has_other(&self, tried: &[usize]) -> bool;
    /// How long an account still has to rest, if it does.
    fn rest(&self, account: usize) -> Option<Duration>;
    /// Whether any account is configured.
    fn is_configured(&self) -> bool;
}

struct Entry<C> {
    number: usize,
    credential: C,
    /// Taken after the pool's own lock or without it, never before it.
    health: Mutex<Health>,
    /// Grows only under the pool's lock, so that `most_in_flight` holds; shrinks without it, where a lease ends.
    in_flight: AtomicUsize,
}

/// A provider's accounts. `C` is the provider's own credential type; two equal credentials are one account.
pub struct Pool<C> {
    /// std's lock, as all threads lease here, each for a look that waits for nothing.
    entries: Mutex<Vec<Arc<Entry<C>>>>,
    /// Told whenever a lease ends or accounts are replaced.
    returned: Arc<Notify>,
    patience: Patience,
    most_in_flight: usize,
}

impl<C: PartialEq> Pool<C> {
    /// An empty pool whose accounts each serve at most `most_in_flight` turns at a time.
    pub fn new(patience: Patience, most_in_flight: usize) -> Self {
        Self {
            entries: Mutex::default(),
            returned: Arc::default(),
            patience,
            most_in_flight: most_in_flight.max(1),
        }
    }

    /// Replaces the accounts. One whose credential has not changed keeps its health and its running turns; turns
    /// on removed accounts end in peace.
    pub fn replace(&self, accounts: Vec<(usize, C)>) {
        let mut entries = lock(&self.entries);
        let kept = std::mem::take(&mut *entries);
        *entries = accounts
            .into_iter()
            .map(|(number, credential)| {
                let known = kept
                    .iter()
                    .find(|entry| entry.number == number && entry.credential == credential);
                known.cloned().unwrap_or_else(|| {
                    Arc::new(Entry {
                        number,
                        credential,
                        health: Mutex::default(),
                        in_flight: AtomicUsize::new(0),
                    })
                })
            })
            .collect();
        self.returned.notify_waiters();
    }

    /// What `of` says of each credential, with the account's number.
    pub fn read<T>(&self, of: impl Fn(&C) -> Option<T>) -> Vec<(usize, T)> {
        lock(&self.entries)
            .iter()
            .filter_map(|entry| Some((entry.number, of(&entry.credential)?)))
            .collect()
    }

    /// Lends an account: ready before resting, least in flight first, none of `tried`. Waits a while when all
    /// usable ones are busy.
    ///
    /// # Errors
    /// Why no account can be had: not configured, all refused, all cooling down (with the time that is left).
    pub async fn lease(&self, choice: Choice, tried: &[usize]) -> Result<Lease<C>, ProviderError> {
        // Of its own, not REQUEST_TIMEOUT: a turn that waits in line for two minutes is better told to come again.
        let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
        loop {
            // Registered before the look, so that an account returned in between is not missed.
            let returned = self.returned.notified();
            if let Some(lease) = self.try_lease(choice, tried)? {
                return Ok(lease);
            }
            if tokio::time::timeout_at(deadline, returned).await.is_err() {
                return Err(ProviderError::new(
                    Kind::RateLimited,
                    "every account of this provider is busy",
                )
                .with_retry_after(Some(Duration::from_secs(5))));
            }
        }
    }

    /// `Ok(None)`: usable accounts exist, but all are busy.
    fn try_lease(
        &self,
        choice: Choice,
        tried: &[usize],
    ) -> Result<Option<Lease<C>>, ProviderError> {
        // One look at the clock, so that all are judged by the same moment.
        let now = Instant::now();
        let entries = lock(&self.entries);
        let (sticky, mut candidates): (u64, Vec<&Arc<Entry<C>>>) = match choice {
            Choice::Any(sticky) => (sticky, entries.iter().collect()),
            Choice::Only(number) | Choice::Beside(number) => (
                0,
                entries
                    .iter()
                    .filter(|entry| entry.number == number)
                    .collect(),
            ),
        };
        if candidates.is_empty() {
            return Err(match choice {
                Choice::Only(number) | Choice::Beside(number) if !entries.is_empty() => {
                    ProviderError::new(
                        Kind::AccountNotConfigured,
                        format!("account {number} of this provider is not configured"),
                    )
                }
                Choice::Only(_) | Choice::Beside(_) | Choice::Any(_) => ProviderError::new(
                    Kind::NotConfigured,
                    "no account of this provider is configured",
                ),
            });
        }
        // An account that failed this very turn is taken again only when there is no other.
        // A pinned one stays, tried or not: there is no other.
        if candidates
            .iter()
            .any(|entry| !tried.contains(&entry.number))
        {
            candidates.retain(|entry| !tried.contains(&entry.number));
        }
        let is_beside = matches!(choice, Choice::Beside(_));
        let usable = candidates
            .iter()
            // The entries' lock is held, and each health's for a comparison: always in this order.
            .filter_map(|entry| match lock(&entry.health).condition(now) {
                Condition::Ready => Some((0_u8, *entry)),
                Condition::Resting => Some((1, *entry)),
                Condition::Cooling(_) if is_beside => Some((2, *entry)),
                Condition::Cooling(_) | Condition::Disabled => None,
            })
            .collect::<Vec<_>>();
        if usable.is_empty() {
            return Err(why_none(&candidates, now));
        }
        let free = usable.into_iter().filter(|(_, entry)| {
            is_beside || entry.in_flight.load(Ordering::Relaxed) < self.most_in_flight
        });
        // Rendezvous hashing: the same caller meets the same account, and where accounts come or go the others' callers stay.
        let best = free.min_by_key(|(rank, entry)| {
            let mut hash = DefaultHasher::new();
            // `DefaultHasher::new` has constant keys, so that two workers choose alike.
            (sticky, entry.number).hash(&mut hash);
            (
                *rank,
                entry.in_flight.load(Ordering::Relaxed),
                hash.finish(),
            )
        });
        Ok(best.map(|(_, entry)| {
            // Under the entries' lock, so that two turns cannot both take the last place.
            entry.in_flight.fetch_add(1, Ordering::Relaxed);
            // Whoever comes beside says nothing of whether the account is well again.
            if !is_beside {
                // A due probe is used up by whoever takes it, so that one turn probes and not all.
                lock(&entry.health).taken(now, self.patience);
            }
            Lease {
                entry: Arc::clone(entry),
                returned: Arc::clone(&self.returned),
            }
        }))
    }

    fn entry(&self, account: usize) -> Option<Arc<Entry<C>>> {
        lock(&self.entries)
            .iter()
            .find(|entry| entry.number == account)
            .cloned()
    }
}

/// The error of the account that will be usable first, with the time that is left.
fn why_none<C>(candidates: &[&Arc<Entry<C>>], now: Instant) -> ProviderError {
    let waits = candidates.iter().map(|entry| {
        let health = lock(&entry.health);
        let wait = match health.condition(now) {
            // Refused by their own limits or by a race: come again at once.
            Condition::Cooling(left) => left,
            Condition::Ready | Condition::Resting => Duration::ZERO,
            Condition::Disabled => Duration::MAX,
        };
        (wait, health.last_error().cloned())
    });
    let (wait, error) = waits
        .min_by_key(|(wait, _)| *wait)
        .unwrap_or((Duration::MAX, None));
    let error = error.unwrap_or_else(|| {
        ProviderError::new(
            Kind::NotConfigured,
            "no account of this provider can be used",
        )
    });
    if wait == Duration::MAX {
        error
    } else {
        error.with_retry_after(Some(wait))
    }
}

impl<C: PartialEq + Send + Sync> Accounts for Pool<C> {
    fn succeeded(&self, account: usize) {
        if let Some(entry) = self.entry(account) {
            lock(&entry.health).succeeded();
        }
    }

    fn failed(&self, account: usize, error: &ProviderError) {
        if let Some(entry) = self.entry(account) {
            lock(&entry.health).failed(error, Instant::now(), self.patience, rand::random());
        }
    }

    fn census(&self) -> Census {
        let now = Instant::now();
        let mut census = Census::default();
        for entry in lock(&self.entries).iter() {
            census.in_flight += entry.in_flight.load(Ordering::Relaxed);
            match lock(&entry.health).condition(now) {
                Condition::Ready => census.ready += 1,
                Condition::Resting | Condition::Cooling(_) => census.cooling += 1,
                Condition::Disabled => census.disabled += 1,
            }
        }
        census
    }

    fn has_other(&self, tried: &[usize]) -> bool {
        let now = Instant::now();
        lock(&self.entries).iter().any(|entry| {
            !tried.contains(&entry.number) && lock(&entry.health).condition(now).is_usable()
        })
    }

    fn rest(&self, account: usize) -> Option<Duration> {
        match lock(&self.entry(account)?.health).condition(Instant::now()) {
            Condition::Cooling(left) => Some(left),
            Condition::Ready | Condition::Resting | Condition::Disabled => None,
        }
    }

    fn is_configured(&self) -> bool {
        !lock(&self.entries).is_empty()
    }
}

impl<C> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("accounts", &lock(&self.entries).len())
            .finish_non_exhaustive()
    }
}

/// An account on loan; returned when dropped.
pub struct Lease<C> {
    entry: Arc<Entry<C>>,
    returned: Arc<Notify>,
}

impl<C> Lease<C> {
    /// The account's number, as in the names of its variables.
    pub fn number(&self) -> usize {
        self.entry.number
    }
}

impl<C> Deref for Lease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.entry.credential
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        // Before the notice: whoever wakes must see the place free.
        self.entry.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.returned.notify_waiters();
    }
}

impl<C> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("account", &self.entry.number)
            .finish_non_exhaustive()
    }
}

/// A panic of another thread leaves these plain values in order, so poisoning is of no interest.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(numbers: &[usize], most_in_flight: usize) -> Pool<usize> {
        let pool = Pool::new(Patience::default(), most_in_flight);
        pool.replace(numbers.iter().map(|&number| (number, number)).collect());
        pool
    }

    #[tokio::test]
    async fn lends_the_least_busy_first() {
        let pool = pool(&[1, 2, 3], 9);
        let leases = [
            pool.lease(Choice::Any(7), &[]).await,
            pool.lease(Choice::Any(7), &[]).await,
            pool.lease(Choice::Any(7), &[]).await,
        ];
        let mut numbers: Vec<usize> = leases
            .iter()
            .map(|lease| lease.as_ref().unwrap().number())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[tokio::test]
    async fn the_same_caller_gets_the_same_free_account() {
        let pool = pool(&[1, 2, 3, 4], 9);
        for caller in 0..20 {
            let first = pool.lease(Choice::Any(caller), &[]).await.unwrap().number();
            let second = pool.lease(Choice::Any(caller), &[]).await.unwrap().number();
            assert_eq!(first, second);
        }
    }

    #[tokio::test]
    async fn a_mapped_account_is_never_replaced_by_another() {
        let pool = pool(&[1], 9);
        let error = pool.lease(Choice::Only(2), &[]).await.unwrap_err();
        assert_eq!(error.kind, Kind::AccountNotConfigured);
        pool.failed(1, &ProviderError::new(Kind::AuthExpired, "renew X"));
        let error = pool.lease(Choice::Only(1), &[]).await.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (Kind::AuthExpired, "renew X")
        );
    }

    #[tokio::test]
    async fn cooling_accounts_say_when_to_come_back() {
        let pool = pool(&[1, 2], 9);
        pool.failed(
            1,
            &ProviderError::new(Kind::RateLimited, "slow")
                .with_retry_after(Some(Duration::from_secs(60))),
        );
        assert_eq!(pool.lease(Choice::Any(0), &[]).await.unwrap().number(), 2);
        pool.failed(2, &ProviderError::new(Kind::RateLimited, "slow"));
        let error = pool.lease(Choice::Any(0), &[]).await.unwrap_err();
        assert!(
            error.retry_after.unwrap() <= Duration::from_secs(3),
            "{error:?}"
        );
        pool.succeeded(2);
        assert_eq!(pool.lease(Choice::Any(0), &[]).await.unwrap().number(), 2);
    }

    #[tokio::test]
    async fn waits_for_a_busy_account() {
        let pool = pool(&[1], 1);
        let held = pool.lease(Choice::Any(0), &[]).await.unwrap();
        let mut waiting = Box::pin(pool.lease(Choice::Any(0), &[]));
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(held);
        assert_eq!(waiting.await.unwrap().number(), 1);
    }

    #[tokio::test]
    async fn a_renewed_credential_starts_afresh_and_the_others_keep_their_state() {
        let pool = pool(&[1, 2], 9);
        pool.failed(1, &ProviderError::new(Kind::AuthExpired, "x"));
        pool.failed(2, &ProviderError::new(Kind::AuthExpired, "x"));
        pool.replace(vec![(1, 11), (2, 2)]);
        assert_eq!(
            pool.census(),
            Census {
                ready: 1,
                cooling: 0,
                disabled: 1,
                in_flight: 0
            }
        );
    }
}
