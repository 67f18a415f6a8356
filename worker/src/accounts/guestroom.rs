//! Guests in the cluster's store, where they outlive their worker: a guest costs a sign-up, of which a service grants few an
//! hour. Each is one worker's at a time, under a lease, as its tokens are good once and not every service lets answers of two
//! turns be told apart; one that nobody holds is taken in by whoever is short of guests. Source: design.md section 13.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Standing, shared::Cluster};
use crate::{
    impossible::OrImpossible as _,
    store::{Expect, Fence, PATIENCE, Put, Space, Store, StoreError, Vault, now_ms},
};

/// How long a guest is held without a word from its worker: so long does one of a killed worker stay alone.
const HELD: Duration = Duration::from_secs(30);
/// A guest that nobody has needed for so long is forgotten; the service may have done so long before.
const KEPT_MS: u64 = 30 * 86_400_000;
/// Guests that are read at once.
const PAGE: usize = 500;

/// A guest as it lies in the store, sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The credential in its provider's own form.
    pub(super) credential: String,
    /// When it has to be renewed, in milliseconds since the Unix epoch.
    pub(super) ends_ms: u64,
    /// How the guest is doing: its rest is not over because its worker is.
    pub(super) standing: Standing,
}

/// The right to a guest that lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    fence: Fence,
    holder: String,
    /// Of what this worker wrote or read there last.
    version: u64,
}

impl Stay {
    /// The guest's name among all workers.
    pub(super) fn key(&self) -> &str {
        &self.fence.name
    }
}

/// The guests of one provider.
#[derive(Debug)]
pub(super) struct Room {
    store: Store,
    vault: Vault,
    /// What all keys begin with.
    prefix: String,
}

impl Room {
    pub(super) fn new(provider: &str, cluster: &Cluster) -> Self {
        Self {
            store: cluster.store().at_leisure(),
            vault: cluster.vault().clone(),
            prefix: format!("guest:{provider}:"),
        }
    }

    /// Takes in a guest that nobody holds and whose credential `read` understands: those first that can be used at once. A
    /// turn waits for it, so it has no more time than a turn has for the store.
    pub(super) async fn take_in<C>(
        &self,
        read: impl Fn(&str) -> Option<C>,
    ) -> Option<(Stored, Stay, C)> {
        let taken = tokio::time::timeout(PATIENCE, self.take_first(read)).await;
        // Too slow: a lease that was granted meanwhile runs out by itself.
        taken.ok()?.ok()?
    }

    async fn take_first<C>(
        &self,
        read: impl Fn(&str) -> Option<C>,
    ) -> Result<Option<(Stored, Stay, C)>, StoreError> {
        let page = self
            .store
            .list(Space::Credentials, &self.prefix, PAGE)
            .await?;
        let here = page
            .into_iter()
            .take_while(|(key, _)| key.starts_with(&self.prefix));
        let mut free: Vec<_> = here
            .filter_map(|(key, entry)| Some((self.open(&key, &entry.value)?, key)))
            .filter(|(stored, _)| read(&stored.credential).is_some())
            .collect();
        free.sort_by_key(|(stored, _)| stored.standing.rests_until_ms);
        for (_, key) in free {
            let holder = Uuid::new_v4().simple().to_string();
            let Some(fence) = self.store.hold(&key, &holder, 1, HELD).await? else {
                continue;
            };
            // Anew: whoever had it until a moment ago may have renewed it since, or given it up.
            let entry = self.store.get(Space::Credentials, &key).await?;
            let found = entry.and_then(|entry| {
                let stored = self.open(&key, &entry.value)?;
                let credential = read(&stored.credential)?;
                Some((stored, entry.version, credential))
            });
            let Some((stored, version, credential)) = found else {
                self.store.release(&key, &holder).await?;
                continue;
            };
            let stay = Stay {
                fence,
                holder,
                version,
            };
            return Ok(Some((stored, stay, credential)));
        }
        Ok(None)
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Option<Stored> {
        let opened = self.vault.open(Space::Credentials, key, sealed)?;
        serde_json::from_slice(&opened).ok()
    }

    /// Puts a new guest into the store.
    pub(super) async fn check_in(&self, stored: &Stored) -> Result<Stay, StoreError> {
        let key = format!("{}{}", self.prefix, Uuid::new_v4().simple());
        let holder = Uuid::new_v4().simple().to_string();
        let fence = self.store.hold(&key, &holder, 1, HELD).await?;
        // Cannot be, as nobody else knows the key; tried again under another one if it is.
        let taken = || StoreError::Unavailable("a new key is taken".to_owned());
        let fence = fence.ok_or_else(taken)?;
        let mut stay = Stay {
            fence,
            holder,
            version: 0,
        };
        self.write(&mut stay, stored).await?;
        Ok(stay)
    }

    /// Writes what has become of a guest; `false`: it is another worker's by now.
    pub(super) async fn write(&self, stay: &mut Stay, stored: &Stored) -> Result<bool, StoreError> {
        let key = stay.fence.name.clone();
        let value = serde_json::to_vec(stored).or_impossible("texts and numbers serialise");
        let put = Put {
            space: Space::Credentials,
            value: self.vault.seal(Space::Credentials, &key, &value),
            key,
            ends_ms: Some(now_ms().saturating_add(KEPT_MS)),
            expect: Expect::Anything,
            under: Some(stay.fence.clone()),
        };
        let version = self.store.put(put).await?;
        stay.version = version.unwrap_or(stay.version);
        Ok(version.is_some())
    }

    /// Holds a guest for longer; `false`: it is another worker's, or was one's meanwhile, who may have renewed it.
    pub(super) async fn hold(&self, stay: &mut Stay) -> Result<bool, StoreError> {
        let held = self.store.hold(stay.key(), &stay.holder, 1, HELD).await?;
        let Some(fence) = held else {
            return Ok(false);
        };
        // A number that has risen by one was granted to us, after our time had run out; by more, to another one in between.
        // A store that begins anew counts from the start.
        let is_ours = fence.number <= stay.fence.number + 1;
        if is_ours {
            stay.fence = fence;
        } else {
            self.give_back(stay).await?;
        }
        Ok(is_ours)
    }

    /// Leaves a guest to whoever needs it.
    pub(super) async fn give_back(&self, stay: &Stay) -> Result<(), StoreError> {
        self.store.release(stay.key(), &stay.holder).await
    }

    /// Strikes out a guest that the service does not know any more.
    pub(super) async fn check_out(&self, stay: &Stay) -> Result<(), StoreError> {
        let expect = Expect::Version(stay.version);
        self.store
            .remove(Space::Credentials, stay.key(), expect)
            .await?;
        self.give_back(stay).await
    }

    /// Whether it is worth asking.
    pub(super) fn is_up(&self) -> bool {
        self.store.is_up()
    }

    /// What was put here before this moment the store may have lost.
    pub(super) fn lost(&self) -> Option<Instant> {
        self.store.lost().map(|loss| loss.noticed)
    }
}
