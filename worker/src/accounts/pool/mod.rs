//! The pool: which account serves the next turn. Shared by all threads of a worker; its lock is held for a few
//! comparisons only, never across an await. Source: design.md section 2 step 5 and section 4.
//!
//! What is told to a pool and asked of it about its accounts is in `told`, what it lends in `lease`.

mod lease;
mod told;

pub use lease::Lease;

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    Company, Fingerprint, Known, Pace,
    allowance::{Allowances, Left},
    health::{Condition, Health, Patience, is_slow},
    places::{Full, Places},
};
use crate::{
    chat::{Kind, ProviderError, media::Makes},
    mutex::lock,
};

/// How long a turn waits for a busy account before it is told to come back later.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// How soon a turn looks again at an account that is busy on another worker, of which nobody tells it.
const LOOK: Duration = Duration::from_millis(200);

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

struct Entry<C> {
    number: usize,
    fingerprint: Fingerprint,
    credential: C,
    /// Taken after the pool's own lock or without it, never before it.
    health: Mutex<Health>,
    /// Grows only under the pool's lock, so that `most_in_flight` holds; shrinks without it, where a lease ends.
    in_flight: AtomicUsize,
    /// Those of its turns, among all workers.
    places: Places,
}

/// A provider's accounts. `C` is the provider's own credential type; two equal credentials are one account.
pub struct Pool<C> {
    /// std's lock, as all threads lease here, each for a look that waits for nothing.
    entries: Mutex<Vec<Arc<Entry<C>>>>,
    /// Told whenever a lease ends or accounts are replaced.
    returned: Arc<Notify>,
    patience: Patience,
    most_in_flight: usize,
    pace: Pace,
    company: OnceLock<Company>,
    allowances: Allowances,
}

impl<C: PartialEq + Known> Pool<C> {
    /// An empty pool whose accounts each serve at most `most_in_flight` turns at a time.
    pub fn new(patience: Patience, most_in_flight: usize) -> Self {
        Self {
            entries: Mutex::default(),
            returned: Arc::default(),
            patience,
            most_in_flight: most_in_flight.max(1),
            pace: Pace::default(),
            company: OnceLock::new(),
            allowances: Allowances::default(),
        }
    }

    /// The same, whose accounts are asked no more often than this.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Replaces the accounts. One whose credential has not changed keeps its health and its running turns; turns
    /// on removed accounts end in peace.
    pub fn replace(&self, accounts: Vec<(usize, C)>) {
        let mut entries = lock(&self.entries);
        let kept = std::mem::take(&mut *entries);
        self.allowances.forget();
        *entries = accounts
            .into_iter()
            .map(|(number, credential)| {
                let known = kept
                    .iter()
                    .find(|entry| entry.number == number && entry.credential == credential);
                known.cloned().unwrap_or_else(|| {
                    Arc::new(Entry {
                        number,
                        fingerprint: credential.fingerprint(),
                        credential,
                        health: Mutex::default(),
                        in_flight: AtomicUsize::new(0),
                        places: Places::default(),
                    })
                })
            })
            .collect();
        self.returned.notify_waiters();
    }

    /// One account's credential, for calls apart from any turn.
    pub fn of(&self, account: usize) -> Option<C>
    where
        C: Clone,
    {
        Some(self.entry(account)?.credential.clone())
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
        self.lease_to(Makes::Text, choice, tried).await
    }

    /// As [`Pool::lease`], of those that still have something left of what is to be made.
    ///
    /// # Errors
    /// As [`Pool::lease`].
    pub async fn lease_to(
        &self,
        what: Makes,
        choice: Choice,
        tried: &[usize],
    ) -> Result<Lease<C>, ProviderError> {
        // Of its own, not REQUEST_TIMEOUT: a turn that waits in line for two minutes is better told to come again.
        let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
        loop {
            // Registered before the look, so that an account returned in between is not missed.
            let returned = self.returned.notified();
            // Those that are busy elsewhere, as far as this round has found out.
            let mut busy: Vec<usize> = Vec::new();
            while let Some(mut lease) = self.try_lease(what, choice, tried, &busy)? {
                let full = match self.admit(choice, &lease).await {
                    Ok(()) => return Ok(lease),
                    Err(full) => full,
                };
                // Nothing that anybody waits for comes back with it.
                lease.is_of_use = false;
                match full {
                    Full::Busy => busy.push(lease.number()),
                    Full::Spent(left) => lock(&lease.entry.health).spend(Instant::now() + left),
                }
            }
            let until = if busy.is_empty() {
                deadline
            } else {
                deadline.min(tokio::time::Instant::now() + LOOK)
            };
            let is_told = tokio::time::timeout_at(until, returned).await.is_ok();
            if !is_told && tokio::time::Instant::now() >= deadline {
                return Err(ProviderError::new(
                    Kind::RateLimited,
                    "every account of this provider is busy",
                )
                .with_retry_after(Some(Duration::from_secs(5))));
            }
        }
    }

    /// Whether the other workers, and the account's pace, leave room for the turn that holds the lease.
    async fn admit(&self, choice: Choice, lease: &Lease<C>) -> Result<(), Full> {
        let (Some(company), Choice::Any(_) | Choice::Only(_)) = (self.company.get(), choice) else {
            return Ok(());
        };
        let entry = &lease.entry;
        let account = entry.fingerprint.as_str();
        let in_flight = entry.in_flight.load(Ordering::Relaxed);
        let limits = (self.most_in_flight, &self.pace);
        let admitted = entry.places.admit(company, account, in_flight, limits);
        admitted.await
    }

    /// `Ok(None)`: usable accounts exist, but all are busy; those of `busy` elsewhere.
    fn try_lease(
        &self,
        what: Makes,
        choice: Choice,
        tried: &[usize],
        busy: &[usize],
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
        // What is there already can be looked at.
        let what = if is_beside { Makes::Text } else { what };
        let spent = |entry: &Entry<C>| self.allowances.left(entry.number, what, now);
        let usable = candidates
            .iter()
            .filter(|entry| spent(entry).is_none())
            // The entries' lock is held, and each health's for a comparison: always in this order.
            .filter_map(|entry| {
                let health = lock(&entry.health);
                let rank = match health.condition(now) {
                    Condition::Ready => 0_u8,
                    Condition::Resting => 1,
                    Condition::Cooling(_) if is_beside => 2,
                    Condition::Cooling(_) | Condition::Disabled => return None,
                };
                Some((rank, health.seconds(now), *entry))
            })
            .collect::<Vec<_>>();
        if usable.is_empty() {
            return Err(why_none(&candidates, &spent, now));
        }
        let speeds = usable.iter().filter_map(|(_, seconds, _)| *seconds);
        let fastest = speeds.fold(f64::INFINITY, f64::min);
        let free = usable.into_iter().filter(|(_, _, entry)| {
            let is_full = || busy.contains(&entry.number);
            is_beside || !is_full() && entry.in_flight.load(Ordering::Relaxed) < self.most_in_flight
        });
        // Rendezvous hashing: the same caller meets the same account, and where accounts come or go the others' callers stay.
        // It is left where it has become slow, or is at work already: on the same caller's other turn, perhaps.
        let best = free.min_by_key(|(rank, seconds, entry)| {
            let mut hash = DefaultHasher::new();
            // `DefaultHasher::new` has constant keys, so that two workers choose alike.
            (sticky, entry.number).hash(&mut hash);
            (
                *rank,
                is_slow(*seconds, fastest),
                entry.in_flight.load(Ordering::Relaxed),
                hash.finish(),
            )
        });
        Ok(best.map(|(_, _, entry)| {
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
                company: self.company.get().cloned(),
                most_in_flight: self.most_in_flight,
                is_of_use: true,
            }
        }))
    }

    fn known(&self, account: &str) -> Option<Arc<Entry<C>>> {
        lock(&self.entries)
            .iter()
            .find(|entry| entry.fingerprint.as_str() == account)
            .cloned()
    }

    fn entry(&self, account: usize) -> Option<Arc<Entry<C>>> {
        lock(&self.entries)
            .iter()
            .find(|entry| entry.number == account)
            .cloned()
    }
}

/// The error of the account that will be usable first, with the time that is left.
fn why_none<C>(
    candidates: &[&Arc<Entry<C>>],
    spent: &dyn Fn(&Entry<C>) -> Option<Left>,
    now: Instant,
) -> ProviderError {
    let waits = candidates.iter().map(|entry| {
        if let Some((left, error)) = spent(entry) {
            return (left, Some(error));
        }
        let health = lock(&entry.health);
        let wait = match health.condition(now) {
            // Refused by their own limits or by a race: come again at once.
            Condition::Cooling(left) => left,
            Condition::Ready | Condition::Resting => Duration::ZERO,
            Condition::Disabled => Duration::MAX,
        };
        let error = match health.spent(now) {
            Some(_) => Some(ProviderError::new(
                Kind::QuotaSpent,
                "the turns an hour or a day that the settings allow this account are used up",
            )),
            None => health.last_error().cloned(),
        };
        (wait, error)
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

impl<C> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("accounts", &lock(&self.entries).len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
