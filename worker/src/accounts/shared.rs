//! What the workers of a cluster know together of their accounts' credentials. A renewal is one worker's at a time, under a
//! lease, since many services accept a refresh token once; what it brought is kept in the store, sealed, and the others go
//! on with it instead of asking the service as well. While the store is gone each worker renews for itself, as a single one
//! does. Source: design.md section 13.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, Weak},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Fingerprint;
use crate::{
    impossible::OrImpossible as _,
    mutex::lock,
    store::{Expect, Fence, Put, Space, Store, StoreError, Vault, now_ms},
};

/// How long a renewal is one worker's without another word from it: so long do the others wait for one that was killed.
const LEASE: Duration = Duration::from_secs(30);
/// How often it says that it still renews.
pub(super) const SAY: Duration = Duration::from_secs(10);
/// Between two looks at whether another worker's renewal has ended.
const LOOK: Duration = Duration::from_millis(100);
/// How long one waits for other workers' renewals in all.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// What nobody has renewed for so long is of no use any more.
const KEPT_MS: u64 = 180 * 86_400_000;
/// Between two tries to tell the store what a renewal brought, and how many there are: an hour.
const AGAIN: Duration = Duration::from_secs(3);
const TRIES: u32 = 1200;

/// What a renewal has brought, for all workers.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Rotated {
    /// Rises with every renewal; what is newer is told by it alone. No less than the time of the renewal in Unix milliseconds,
    /// so that it rises also where the store has lost the one before.
    pub(super) generation: u64,
    /// The long-lived credential of now, where it rotates.
    pub(super) credential: Option<String>,
    /// The short-lived token in the provider's own form, where others can use it.
    pub(super) token: Option<String>,
    /// When that ends, in Unix seconds.
    pub(super) expires: Option<u64>,
}

impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotated")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// The cluster's store, as soon as there is one: providers are built before it is opened. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<OnceLock<Cluster>>);

/// The store, and what is sealed in it with.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    store: Store,
    vault: Vault,
    /// By account. Of a credential that nobody has any more nothing is known.
    known: Arc<Mutex<HashMap<Fingerprint, Weak<Told>>>>,
}

/// The newest that a worker has told the store of one credential, or was told by it.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Option<(Rotated, Instant)>>);

/// Whose a renewal is.
#[derive(Debug)]
pub(super) enum Turn {
    /// This worker's; with what is known of the former ones.
    Ours(Lease, Option<Rotated>),
    /// Another worker has just made it.
    Made(Rotated),
    /// Nobody can say: the store is gone.
    Alone,
    /// Another worker's, for longer than anybody waits.
    Theirs,
}

/// The right to renew one account's credential.
#[derive(Debug)]
pub(super) struct Lease {
    cluster: Cluster,
    holder: String,
    fence: Fence,
}

impl Shared {
    /// Says where the store is; what is said first counts.
    pub(super) fn join(&self, store: Store, vault: Vault) {
        let _ = self.0.set(Cluster {
            store,
            vault,
            known: Arc::default(),
        });
    }

    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.0.get()
    }
}

fn key(account: &Fingerprint) -> String {
    format!("rotated:{account}")
}

impl Cluster {
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Takes the right to renew, or waits for another worker's renewal to end. What another one has brought that is newer than
    /// `known` is taken in the place of a renewal where the caller `can_take` it.
    pub(super) async fn turn(&self, account: &Fingerprint, known: u64, can_take: bool) -> Turn {
        let key = key(account);
        let holder = Uuid::new_v4().simple().to_string();
        let started = tokio::time::Instant::now();
        loop {
            let Ok(fence) = self.store.hold(&key, &holder, 1, LEASE).await else {
                return Turn::Alone;
            };
            let Ok((rotated, _)) = self.read(&key).await else {
                if fence.is_some() {
                    let (store, key) = (self.store.at_leisure(), key.clone());
                    actix_web::rt::spawn(async move { store.release(&key, &holder).await });
                }
                return Turn::Alone;
            };
            match (fence, rotated) {
                (Some(fence), rotated) => {
                    let cluster = self.clone();
                    let lease = Lease {
                        cluster,
                        holder,
                        fence,
                    };
                    return Turn::Ours(lease, rotated);
                }
                (None, Some(rotated)) if can_take && rotated.generation > known => {
                    return Turn::Made(rotated);
                }
                (None, _) if started.elapsed() >= LONGEST_WAIT => return Turn::Theirs,
                (None, _) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// What the last renewal brought, and the version of what lies in the store: that is all that is known of what another
    /// secret has sealed, which will be overwritten.
    async fn read(&self, key: &str) -> Result<(Option<Rotated>, Option<u64>), StoreError> {
        let Some(entry) = self.store.get(Space::Credentials, key).await? else {
            return Ok((None, None));
        };
        let opened = self.vault.open(Space::Credentials, key, &entry.value);
        let rotated = opened.and_then(|opened| serde_json::from_slice(&opened).ok());
        Ok((rotated, Some(entry.version)))
    }

    /// Keeps what a renewal brought, beside whatever else goes on, until that has worked or somebody has brought newer. The
    /// lease is given back afterwards: until then nobody else needs to renew.
    pub(super) fn publish(&self, account: &Fingerprint, rotated: Rotated, lease: Option<Lease>) {
        let (cluster, key) = (self.at_leisure(), key(account));
        actix_web::rt::spawn(async move {
            let mut fence = lease.as_ref().map(|lease| lease.fence.clone());
            for _ in 0..TRIES {
                match cluster.write(&key, &rotated, fence.take()).await {
                    Ok(true) => break,
                    // Somebody came between: look again at once.
                    Ok(false) => {}
                    Err(_) => tokio::time::sleep(AGAIN).await,
                }
            }
            if let Some(lease) = lease {
                lease.release().await;
            }
        });
    }

    /// Remembers what the store had at `at`, or is about to be told.
    pub(super) fn note(&self, account: &Fingerprint, told: &Arc<Told>, it: &Rotated, at: Instant) {
        *lock(&told.0) = Some((it.clone(), at));
        lock(&self.known).insert(account.clone(), Arc::downgrade(told));
    }

    /// Puts what the store has lost there again, as far as this worker knows it: who renews next must not begin with what
    /// somebody has redeemed already.
    pub(super) async fn put_back(&self) {
        let Some(lost) = self.store.lost() else {
            return;
        };
        let cluster = self.at_leisure();
        let known: Vec<(Fingerprint, Arc<Told>)> = {
            let mut known = lock(&self.known);
            known.retain(|_, told| told.strong_count() > 0);
            let all = known.iter();
            all.filter_map(|(account, told)| Some((account.clone(), told.upgrade()?)))
                .collect()
        };
        for (account, told) in known {
            let newest = lock(&told.0).clone();
            let Some((rotated, _)) = newest.filter(|(_, at)| *at <= lost.noticed) else {
                continue;
            };
            let now = Instant::now();
            // What somebody has put there meanwhile stays where it is newer. Anything else is for the next time.
            if !matches!(
                cluster.write(&key(&account), &rotated, None).await,
                Ok(true)
            ) {
                return;
            }
            let mut newest = lock(&told.0);
            if let Some((it, at)) = &mut *newest
                && it.generation == rotated.generation
            {
                *at = now;
            }
        }
    }

    /// Whether nothing is left to do.
    async fn write(
        &self,
        key: &str,
        rotated: &Rotated,
        under: Option<Fence>,
    ) -> Result<bool, StoreError> {
        let (known, version) = self.read(key).await?;
        if known.is_some_and(|known| known.generation >= rotated.generation) {
            return Ok(true);
        }
        let value = serde_json::to_vec(rotated).or_impossible("texts and numbers serialise");
        let put = Put {
            space: Space::Credentials,
            value: self.vault.seal(Space::Credentials, key, &value),
            key: key.to_owned(),
            ends_ms: Some(now_ms().saturating_add(KEPT_MS)),
            expect: version.map_or(Expect::Absent, Expect::Version),
            under,
        };
        Ok(self.store.put(put).await?.is_some())
    }

    fn at_leisure(&self) -> Self {
        Self {
            store: self.store.at_leisure(),
            ..self.clone()
        }
    }
}

impl Lease {
    /// Holds it for as long as this is polled.
    pub(super) async fn keep(&self) {
        let store = self.cluster.store.at_leisure();
        loop {
            tokio::time::sleep(SAY).await;
            let _ = store.hold(&self.fence.name, &self.holder, 1, LEASE).await;
        }
    }

    /// Gives it back; where that fails its time runs out by itself.
    pub(super) async fn release(self) {
        let store = self.cluster.store.at_leisure();
        let _ = store.release(&self.fence.name, &self.holder).await;
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
