//! What is told to a pool about its accounts, and what it says of them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;

use super::{Entry, Pool, lock};
use crate::{
    accounts::{
        Accounts, Census, Company, Fingerprint, Known, Listed,
        health::{Condition, Now, Standing},
    },
    chat::{ProviderError, media::Makes},
};

/// How much longer than after "too many requests" something is left alone that is spent until nobody knows when.
const QUOTA_RESTS: u32 = 15;

impl<C: PartialEq + Known + Send + Sync> Accounts for Pool<C> {
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

    fn spent(&self, account: usize, what: Makes, error: &ProviderError) -> Option<Duration> {
        let otherwise = self.patience.base * QUOTA_RESTS;
        let now = Instant::now();
        Some(
            self.allowances
                .spend((account, what), error, otherwise, now),
        )
    }

    fn answered_in(&self, account: usize, took: Duration) {
        if let Some(entry) = self.entry(account) {
            lock(&entry.health).answered_in(took, Instant::now());
        }
    }

    fn accepted(&self, account: usize) {
        if let Some(entry) = self.entry(account) {
            lock(&entry.health).accepted();
            self.returned.notify_waiters();
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

    fn fingerprint(&self, account: usize) -> Option<Fingerprint> {
        Some(self.entry(account)?.fingerprint.clone())
    }

    fn numbered(&self, fingerprint: &str) -> Option<usize> {
        Some(self.known(fingerprint)?.number)
    }

    fn is_free(&self, account: usize) -> bool {
        self.entry(account).is_some_and(|entry| {
            let is_usable = lock(&entry.health).condition(Instant::now()).is_usable();
            is_usable && entry.in_flight.load(Ordering::Relaxed) < self.most_in_flight
        })
    }

    fn is_configured(&self) -> bool {
        !lock(&self.entries).is_empty()
    }

    fn listed(&self) -> Vec<Listed> {
        let now = Now::read();
        lock(&self.entries)
            .iter()
            .map(|entry| {
                let health = lock(&entry.health);
                let mut standing = health.standing(now);
                if let Some(left) = health.spent(now.instant) {
                    standing.rests_until_ms = Some(now.told(now.instant + left));
                }
                Listed {
                    number: entry.number,
                    fingerprint: entry.fingerprint.clone(),
                    variable: entry.credential.variable().to_owned(),
                    state: health.condition(now.instant).word(),
                    in_flight: entry.in_flight.load(Ordering::Relaxed),
                    standing,
                }
            })
            .collect()
    }

    fn news(&self) -> Vec<(Fingerprint, Standing)> {
        let now = Now::read();
        lock(&self.entries)
            .iter()
            .filter_map(|entry| Some((entry.fingerprint.clone(), lock(&entry.health).news(now)?)))
            .collect()
    }

    fn untold(&self, account: &Fingerprint) {
        if let Some(entry) = self.known(account.as_str()) {
            lock(&entry.health).untold();
        }
    }

    fn learn(&self, account: &str, standing: &Standing) {
        if let Some(entry) = self.known(account) {
            lock(&entry.health).learn(standing, Now::read());
            // It may be well again.
            self.returned.notify_waiters();
        }
    }

    fn probed_within(&self, time: Duration) -> Vec<Fingerprint> {
        let now = Instant::now();
        lock(&self.entries)
            .iter()
            .filter(|entry| lock(&entry.health).is_probed_within(time, now))
            .map(|entry| entry.fingerprint.clone())
            .collect()
    }

    fn join(&self, _provider: &str, company: &Company) {
        let is_first = self.company.set(company.clone()).is_ok();
        debug_assert!(is_first, "a worker has one company");
    }

    fn tend(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            for (company, entry) in self.shared() {
                let account = entry.fingerprint.as_str();
                let in_flight = entry.in_flight.load(Ordering::Relaxed);
                let tended = entry
                    .places
                    .tend(company, account, in_flight, self.most_in_flight);
                tended.await;
            }
        })
    }

    fn leave(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            for (company, entry) in self.shared() {
                let account = entry.fingerprint.as_str();
                entry.places.leave(company, account).await;
            }
        })
    }

    fn postpone(&self, account: &Fingerprint, by: Duration) {
        if let Some(entry) = self.known(account.as_str()) {
            lock(&entry.health).postpone(Instant::now() + by);
        }
    }
}

impl<C> Pool<C> {
    /// The accounts of now, each with the workers that share it; none before it is said who they are.
    fn shared(&self) -> impl Iterator<Item = (&Company, Arc<Entry<C>>)> {
        let entries = self.company.get().map(|company| {
            let entries = lock(&self.entries).clone();
            entries.into_iter().map(move |entry| (company, entry))
        });
        entries.into_iter().flatten()
    }
}
