//! The turns of an account as all workers of a cluster count them. A turn needs a place; places are held in the store in
//! small batches, so that most turns find one here, and a worker that was killed holds none for longer than half a minute. A
//! worker that is alone asks nobody. While the store is gone each worker heeds its share of the limit.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::pace::{Pace, hourly, left_of};
use crate::mutex::lock;
use crate::store::{Claim, Claimed, Store};

/// How long a place is held without a word from its worker.
const HELD: Duration = Duration::from_secs(30);
/// How often they are held anew.
const HOLD_AGAIN: Duration = Duration::from_secs(10);
/// How often a store that is gone is looked at.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the store is waited for when a place is given back, before it is told again: what was said to one that went silent
/// then is never heard.
const TOLD: Duration = Duration::from_secs(1);
/// As many turns at a time and more are no limit that a cluster need count.
const NO_LIMIT: usize = 1000;
/// Idle places that a worker keeps of an account, at most.
const MOST_AHEAD: usize = 4;

/// What the pools of a worker have in common: the store, and how many workers share the accounts.
#[derive(Clone, Debug)]
pub struct Company {
    store: Store,
    workers: Arc<AtomicU64>,
}

impl Company {
    /// A worker that is alone as far as it knows.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            workers: Arc::new(AtomicU64::new(1)),
        }
    }

    /// How many workers there are.
    pub fn set_workers(&self, workers: u64) {
        self.workers.store(workers.max(1), Ordering::Relaxed);
    }

    /// How many there are, as far as this one knows.
    pub(super) fn workers(&self) -> usize {
        usize::try_from(self.workers.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Takes one of so many things that all workers may have in an hour by the clock; else how long it is until the next one.
    /// While nobody can say, this worker heeds its share: `begun` of its own in this hour, the one that is asked for included.
    pub(super) async fn take_of_hour(
        &self,
        what: &str,
        most: usize,
        begun: usize,
    ) -> Result<(), Duration> {
        let claim = hourly(what, wide(most));
        let id = Uuid::new_v4().simple().to_string();
        // A turn waits for it.
        let claimed = self.store.claim(&id, vec![claim.clone()]).await;
        let is_free = match claimed {
            Ok(Claimed::Full { .. }) => false,
            Ok(Claimed::Granted(_)) => true,
            Err(_) => begun <= self.share(most),
        };
        is_free.then_some(()).ok_or_else(|| left_of(&claim))
    }

    /// This worker's share of a limit. Rounded up: a limit of one still lets one turn through.
    fn share(&self, most: usize) -> usize {
        most.div_ceil(self.workers())
    }
}

/// Why a turn cannot begin with this account now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// It is busy elsewhere, or was asked a moment ago: so soon it may be free.
    Busy,
    /// Its turns of an hour or a day are used up, for so long.
    Spent(Duration),
}

/// The places of one account that this worker holds, and when it was asked last.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Holders of places in the store; any of them serves any turn. Shared with the tasks that give places back.
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    holders: Vec<String>,
    /// Those that are being given back.
    leaving: Vec<String>,
    /// When all of them were last held anew.
    said: Option<Instant>,
    /// No turn begins here before then.
    next: Option<Instant>,
    /// Turns that this worker has begun in each window, for when the store is gone: counter, turns, end.
    begun: Vec<(String, u64, u64)>,
}

impl Places {
    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Lets a turn begin, which is among the `in_flight` already. Waits for the store no longer than its handle does, for each
    /// of the things that are limited.
    pub(super) async fn admit(
        &self,
        company: &Company,
        account: &str,
        in_flight: usize,
        (most, pace): (usize, &Pace),
    ) -> Result<(), Full> {
        if most < NO_LIMIT && company.workers() > 1 && in_flight > self.held().holders.len() {
            let holder = Uuid::new_v4().simple().to_string();
            let was_up = company.store.is_up();
            match company
                .store
                .hold(&name(account), &holder, wide(most), HELD)
                .await
            {
                Ok(Some(_)) => self.held().holders.push(holder),
                Ok(None) => return Err(Full::Busy),
                Err(_) => {
                    // It may have been taken all the same, after nobody waited any more.
                    if was_up {
                        self.release(company, account, vec![holder]);
                    }
                    if in_flight > company.share(most) {
                        return Err(Full::Busy);
                    }
                }
            }
        }
        if pace.is_free() {
            return Ok(());
        }
        self.keep_pace(company, account, pace).await
    }

    async fn keep_pace(&self, company: &Company, account: &str, pace: &Pace) -> Result<(), Full> {
        if !pace.interval.is_zero() {
            let now = Instant::now();
            if self.held().next.is_some_and(|next| next > now) {
                return Err(Full::Busy);
            }
            // Never given back: the next turn begins when its time is over, on whichever worker.
            let turn = Uuid::new_v4().simple().to_string();
            let name = format!("pause:{account}");
            let granted = company.store.hold(&name, &turn, 1, pace.interval).await;
            if matches!(granted, Ok(None)) {
                return Err(Full::Busy);
            }
            let mut held = self.held();
            // Two turns may have asked at once while nobody could say which is the first.
            if granted.is_err() && held.next.is_some_and(|next| next > now) {
                return Err(Full::Busy);
            }
            // While nobody can say when another worker asks, each asks in its turn.
            let turns = if granted.is_err() {
                company.workers()
            } else {
                1
            };
            let turns = u32::try_from(turns).unwrap_or(u32::MAX);
            held.next = Some(now + pace.interval.saturating_mul(turns));
        }
        let claims = pace.claims(account);
        if claims.is_empty() {
            return Ok(());
        }
        let turn = Uuid::new_v4().simple().to_string();
        match company.store.claim(&turn, claims.clone()).await {
            Ok(Claimed::Granted(_)) => {
                self.held().count(&claims);
                Ok(())
            }
            Ok(Claimed::Full { at, .. }) => Err(claims
                .get(at)
                .map_or(Full::Busy, |it| Full::Spent(left_of(it)))),
            Err(_) => {
                let mut held = self.held();
                let most = |claim: &Claim| {
                    company.share(usize::try_from(claim.most).unwrap_or(usize::MAX))
                };
                let spent = claims
                    .iter()
                    .find(|claim| held.begun(claim) >= wide(most(claim)));
                if let Some(spent) = spent {
                    return Err(Full::Spent(left_of(spent)));
                }
                held.count(&claims);
                Ok(())
            }
        }
    }

    /// A turn has ended, and so many are under way: what is held beyond a few for the next ones is given back at once, for the
    /// other workers.
    pub(super) fn left(&self, company: &Company, account: &str, in_flight: usize, most: usize) {
        let surplus = {
            let mut held = self.held();
            if held.holders.is_empty() {
                return;
            }
            let kept = in_flight + ahead(company, most);
            let kept = kept.min(held.holders.len());
            held.holders.split_off(kept)
        };
        self.release(company, account, surplus);
    }

    /// Holds the places anew, and places for turns that began without: before there was another worker, or while the store was
    /// gone. Those may be above the limit: they run on, and no other begins before there is room.
    pub(super) async fn tend(
        &self,
        company: &Company,
        account: &str,
        in_flight: usize,
        most: usize,
    ) {
        if most >= NO_LIMIT {
            return;
        }
        self.left(company, account, in_flight, most);
        let (store, name) = (company.store.at_leisure(), name(account));
        if company.workers() > 1 {
            let held = self.held().holders.len();
            for _ in held..in_flight {
                let holder = Uuid::new_v4().simple().to_string();
                if let Ok(Some(_)) = store.hold(&name, &holder, u64::MAX, HELD).await {
                    self.held().holders.push(holder);
                }
            }
        }
        let holders = {
            let mut held = self.held();
            if held.said.is_some_and(|said| said.elapsed() < HOLD_AGAIN) {
                return;
            }
            held.said = Some(Instant::now());
            held.holders.clone()
        };
        for holder in holders {
            let _ = store.hold(&name, &holder, u64::MAX, HELD).await;
            if !self.held().holders.contains(&holder) {
                // It was given back while it was being held.
                let _ = store.release(&name, &holder).await;
            }
        }
    }

    /// Gives places back, beside whatever else goes on; where the store is gone, as soon as it is back: else all would find the
    /// account busy then, and nobody at work on it.
    fn release(&self, company: &Company, account: &str, holders: Vec<String>) {
        if holders.is_empty() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (store, name) = (company.store.waiting(TOLD), name(account));
        let held = Arc::clone(&self.held);
        lock(&held).leaving.extend_from_slice(&holders);
        actix_web::rt::spawn(async move {
            // Then their time has run out by itself.
            let end = Instant::now() + HELD;
            for holder in holders {
                while !store.is_up() || store.release(&name, &holder).await.is_err() {
                    if Instant::now() > end {
                        break;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                lock(&held).leaving.retain(|leaving| *leaving != holder);
            }
        });
    }

    /// Gives all places back, as this worker ends: also those that a thread was to give back which has ended before.
    pub(super) async fn leave(&self, company: &Company, account: &str) {
        let holders = {
            let mut held = self.held();
            let mut holders = std::mem::take(&mut held.holders);
            holders.append(&mut held.leaving);
            holders
        };
        let (store, name) = (company.store.at_leisure(), name(account));
        for holder in holders {
            let _ = store.release(&name, &holder).await;
        }
    }
}

impl Held {
    fn count(&mut self, claims: &[Claim]) {
        let now = crate::store::now_ms();
        self.begun.retain(|(_, _, ends)| *ends > now);
        for claim in claims {
            match self
                .begun
                .iter_mut()
                .find(|(known, ..)| *known == claim.counter)
            {
                Some((_, turns, _)) => *turns += 1,
                None => self.begun.push((claim.counter.clone(), 1, claim.ends_ms)),
            }
        }
    }

    fn begun(&self, claim: &Claim) -> u64 {
        let known = self
            .begun
            .iter()
            .find(|(known, ..)| *known == claim.counter);
        known.map_or(0, |(_, turns, _)| *turns)
    }
}

fn name(account: &str) -> String {
    format!("turns:{account}")
}

fn wide(most: usize) -> u64 {
    u64::try_from(most).unwrap_or(u64::MAX)
}

/// Idle places that are kept for the next turns: none where there are few, as they would keep others waiting.
fn ahead(company: &Company, most: usize) -> usize {
    match company.workers() {
        0 | 1 => 0,
        workers => (most / (4 * workers)).min(MOST_AHEAD),
    }
}
