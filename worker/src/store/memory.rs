//! A store that lives and dies with its process: for tests, and the model that the others are compared with.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
};

use super::{
    engine::{
        Claim, Claimed, Engine, Entry, Expect, Fence, MS_AN_HOUR, Put, Settlement, Space,
        StoreError, Sweep,
    },
    usage::{Usage, UsageBatch, UsageKey, UsageLine},
};

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStore(RefCell<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The last version and the last fence that were given out.
    last: u64,
    entries: BTreeMap<(&'static str, String), Stored>,
    counters: HashMap<String, Counter>,
    /// Ids of claims, of settlements and of batches, and when they may be forgotten.
    seen: HashMap<String, u64>,
    places: HashMap<String, Places>,
    usage: BTreeMap<UsageKey, Usage>,
    lines: Vec<UsageLine>,
}

#[derive(Clone, Debug)]
struct Stored {
    entry: Entry,
    ends_ms: u64,
}

#[derive(Debug)]
struct Counter {
    used: u64,
    ends_ms: u64,
}

#[derive(Debug, Default)]
struct Places {
    /// The newest grant.
    fence: u64,
    /// Holder to fence and end.
    holders: HashMap<String, (u64, u64)>,
}

/// How long an id is remembered: longer than anybody tries again.
pub(super) const MEMORY_OF_IDS_MS: u64 = MS_AN_HOUR;
/// How long a fence is remembered after its last holder's end: longer than any worker sleeps.
pub(super) const BEYOND_MS: u64 = 7 * 24 * MS_AN_HOUR;

impl Inner {
    fn next(&mut self) -> u64 {
        // One number for versions and fences of all entries, so that a version says which of two changes was the later
        // one.
        self.last += 1;
        self.last
    }

    /// Whether an id is new; it no longer is.
    fn is_new(&mut self, kind: &str, id: &str, now_ms: u64) -> bool {
        let key = format!("{kind}:{id}");
        // Remembered anew each time, so that one that is tried again and again is not forgotten meanwhile.
        self.seen.insert(key, now_ms + MEMORY_OF_IDS_MS).is_none()
    }

    fn get(&self, space: Space, key: &str, now_ms: u64) -> Option<&Stored> {
        let stored = self.entries.get(&(space.name(), key.to_owned()))?;
        (stored.ends_ms > now_ms).then_some(stored)
    }

    fn holds(&self, space: Space, key: &str, expect: Expect, now_ms: u64) -> bool {
        let found = self.get(space, key, now_ms);
        match expect {
            Expect::Anything => true,
            Expect::Absent => found.is_none(),
            Expect::Version(version) => found.is_some_and(|found| found.entry.version == version),
        }
    }
}

impl Engine for MemoryStore {
    async fn get(&self, space: Space, key: &str, now_ms: u64) -> Result<Option<Entry>, StoreError> {
        let inner = self.0.borrow();
        Ok(inner
            .get(space, key, now_ms)
            .map(|stored| stored.entry.clone()))
    }

    async fn put(&self, put: &Put, now_ms: u64) -> Result<Option<u64>, StoreError> {
        let mut inner = self.0.borrow_mut();
        // A fence that is unknown is void: its memory is longer than any lease ([`BEYOND_MS`]).
        let is_void = put.under.as_ref().is_some_and(|fence| {
            let places = inner.places.get(&fence.name);
            places.is_none_or(|places| places.fence != fence.number)
        });
        if is_void || !inner.holds(put.space, &put.key, put.expect, now_ms) {
            return Ok(None);
        }
        let version = inner.next();
        let stored = Stored {
            entry: Entry {
                value: put.value.clone(),
                version,
            },
            ends_ms: put.ends_ms.unwrap_or(u64::MAX),
        };
        inner
            .entries
            .insert((put.space.name(), put.key.clone()), stored);
        Ok(Some(version))
    }

    async fn remove(
        &self,
        space: Space,
        key: &str,
        expect: Expect,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut inner = self.0.borrow_mut();
        let place = (space.name(), key.to_owned());
        // What is collected is taken away after its end, so that end does not hide it here.
        let holds = match (expect, inner.entries.get(&place)) {
            (_, None) | (Expect::Absent, _) => false,
            (Expect::Version(version), Some(stored)) => stored.entry.version == version,
            (Expect::Anything, Some(stored)) => stored.ends_ms > now_ms || space.is_collected(),
        };
        Ok(holds && inner.entries.remove(&place).is_some())
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        let inner = self.0.borrow();
        let all = inner.entries.range((space.name(), after.to_owned())..);
        Ok(all
            .take_while(|((name, _), _)| *name == space.name())
            // `after` itself is left out here, as a range over pairs cannot begin behind it.
            .filter(|((_, key), stored)| key != after && stored.ends_ms > now_ms)
            .take(most)
            .map(|((_, key), stored)| (key.clone(), stored.entry.clone()))
            .collect())
    }

    async fn ended(
        &self,
        space: Space,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        let inner = self.0.borrow();
        let mut ended: Vec<_> = inner
            .entries
            .iter()
            .filter(|((name, _), stored)| *name == space.name() && stored.ends_ms <= now_ms)
            .collect();
        ended.sort_by_key(|(_, stored)| stored.ends_ms);
        Ok(ended
            .into_iter()
            .take(most)
            .map(|((_, key), stored)| (key.clone(), stored.entry.clone()))
            .collect())
    }

    async fn claim(&self, id: &str, claims: &[Claim], now_ms: u64) -> Result<Claimed, StoreError> {
        let mut inner = self.0.borrow_mut();
        let used = |inner: &Inner, claim: &Claim| {
            let counter = inner.counters.get(&claim.counter);
            counter
                .filter(|counter| counter.ends_ms > now_ms)
                .map_or(0, |counter| counter.used)
        };
        let is_known = inner.seen.contains_key(&format!("claim:{id}"));
        if !is_known {
            for (at, claim) in claims.iter().enumerate() {
                let used = used(&inner, claim);
                // One of nothing (a look whether there is room) needs room for one.
                if used.saturating_add(claim.amount.max(1)) > claim.most {
                    return Ok(Claimed::Full { at, used });
                }
            }
            inner.is_new("claim", id, now_ms);
        }
        let mut values = Vec::with_capacity(claims.len());
        for claim in claims {
            let before = used(&inner, claim);
            let value = before + if is_known { 0 } else { claim.amount };
            let counter = Counter {
                used: value,
                ends_ms: claim.ends_ms,
            };
            inner.counters.insert(claim.counter.clone(), counter);
            values.push(value);
        }
        Ok(Claimed::Granted(values))
    }

    async fn settle(
        &self,
        id: &str,
        settlements: &[Settlement],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut inner = self.0.borrow_mut();
        if !inner.is_new("settle", id, now_ms) {
            return Ok(());
        }
        for settlement in settlements.iter().filter(|it| it.ends_ms > now_ms) {
            // Made where it is missing: it may have been swept, and what was used counts all the same.
            let counter = inner
                .counters
                .entry(settlement.counter.clone())
                .or_insert(Counter {
                    used: 0,
                    ends_ms: settlement.ends_ms,
                });
            counter.used = counter.used.saturating_add_signed(settlement.change);
        }
        Ok(())
    }

    async fn hold(
        &self,
        name: &str,
        holder: &str,
        most: u64,
        ends_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Fence>, StoreError> {
        let mut inner = self.0.borrow_mut();
        let places = inner.places.entry(name.to_owned()).or_default();
        // First, so that the dead hold no place against the living.
        places.holders.retain(|_, (_, ends)| *ends > now_ms);
        if let Some((number, ends)) = places.holders.get_mut(holder) {
            *ends = ends_ms;
            let number = *number;
            return Ok(Some(Fence {
                name: name.to_owned(),
                number,
            }));
        }
        if u64::try_from(places.holders.len()).is_ok_and(|taken| taken >= most) {
            return Ok(None);
        }
        places.fence += 1;
        let number = places.fence;
        places.holders.insert(holder.to_owned(), (number, ends_ms));
        Ok(Some(Fence {
            name: name.to_owned(),
            number,
        }))
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let mut inner = self.0.borrow_mut();
        if let Some(places) = inner.places.get_mut(name) {
            places.holders.remove(holder);
        }
        Ok(())
    }

    async fn add_usage(&self, batch: &UsageBatch, now_ms: u64) -> Result<(), StoreError> {
        let mut inner = self.0.borrow_mut();
        if inner.is_new("usage", &batch.id, now_ms) {
            for (key, usage) in &batch.sums {
                inner.usage.entry(key.clone()).or_default().add(*usage);
            }
            inner.lines.extend_from_slice(&batch.lines);
        }
        Ok(())
    }

    async fn usage(&self, from: u64, to: u64) -> Result<Vec<(UsageKey, Usage)>, StoreError> {
        let inner = self.0.borrow();
        let rows = inner.usage.iter();
        Ok(rows
            .filter(|(key, _)| (from..to).contains(&key.hour))
            .map(|(key, usage)| (key.clone(), *usage))
            .collect())
    }

    async fn lines(
        &self,
        from_ms: u64,
        to_ms: u64,
        most: usize,
    ) -> Result<Vec<UsageLine>, StoreError> {
        let inner = self.0.borrow();
        let mut lines: Vec<_> = inner
            .lines
            .iter()
            .filter(|line| (from_ms..to_ms).contains(&line.at_ms))
            .cloned()
            .collect();
        lines.sort_by_key(|line| line.at_ms);
        lines.truncate(most);
        Ok(lines)
    }

    async fn sweep(&self, sweep: Sweep, now_ms: u64) -> Result<bool, StoreError> {
        let mut inner = self.0.borrow_mut();
        let collected: HashSet<&str> = Space::ALL
            .into_iter()
            .filter(|space| space.is_collected())
            .map(Space::name)
            .collect();
        inner
            .entries
            .retain(|(name, _), stored| stored.ends_ms > now_ms || collected.contains(name));
        inner.counters.retain(|_, counter| counter.ends_ms > now_ms);
        inner.seen.retain(|_, ends| *ends > now_ms);
        inner.usage.retain(|key, _| key.hour >= sweep.sums_before);
        inner
            .lines
            .retain(|line| line.at_ms >= sweep.lines_before_ms);
        // Nothing is left: there is no lock here that others wait for.
        Ok(false)
    }
}
