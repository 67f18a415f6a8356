//! The keys of the store, as this worker knows them: read once, looked at again after a while, and still valid while the store
//! is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::record::{KeyRecord, PREFIX, digest};
use crate::store::{Expect, Loss, PATIENCE, Put, Space, Store};

/// How long what was read counts. So long does a key that was taken back still open at other workers.
/// Short, as it is the time in which a withdrawn key still opens; long enough that a busy key costs one look.
const FRESH: Duration = Duration::from_secs(5);
/// Keys that are remembered, wrong ones among them. Beyond it the wrong ones are forgotten: whoever tries out keys costs a look
/// at the store each, and neither memory nor what is known of good ones, which must open while the store is gone.
const MOST_KEYS: usize = 50_000;

/// What became of the search for a key.
#[derive(Clone, Debug)]
pub enum Found {
    /// This one.
    Key(Arc<KeyRecord>),
    /// There is none, or it opens no more.
    Nothing,
    /// The store cannot be asked, and here nobody knows the key.
    Unknown,
}

#[derive(Debug)]
struct Cached {
    record: Option<Arc<KeyRecord>>,
    read: Instant,
    /// When the store last had it so.
    seen: Instant,
}

/// A key that was seen in a store so shortly before that was lost is put into the one in its place. Of one that was not, nobody
/// knows here whether it was taken back meanwhile.
const PUT_BACK: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Keyring {
    store: Store,
    cached: Mutex<HashMap<String, Cached>>,
}

impl Keyring {
    /// The keys of a store.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            cached: Mutex::default(),
        }
    }

    fn cached(&self) -> MutexGuard<'_, HashMap<String, Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a secret. `now` is the Unix time.
    pub async fn find(self: &Arc<Self>, secret: &str, now: u64) -> Found {
        // Keys of the settings come by here, too, and most of all wrong ones: the store is not asked for them.
        if !secret.starts_with(PREFIX) {
            return Found::Nothing;
        }
        let digest = digest(secret);
        let known = {
            let mut cached = self.cached();
            // Under one borrow: two requests that come together must not both find it old.
            cached.get_mut(&digest).map(|found| {
                let is_old = found.read.elapsed() >= FRESH;
                if is_old {
                    // Whoever comes next need not look as well.
                    found.read = Instant::now();
                }
                (found.record.clone(), is_old)
            })
        };
        let record = match known {
            // A key that is known is looked at again beside the request, not before it.
            Some((Some(record), is_old)) => {
                if is_old {
                    let ring = Arc::clone(self);
                    actix_web::rt::spawn(async move { ring.read(digest).await });
                }
                Some(record)
            }
            Some((None, false)) => None,
            // A key that was unknown may have been made since.
            Some((None, true)) | None => match self.read(digest).await {
                Some(record) => record,
                None => return Found::Unknown,
            },
        };
        match record {
            Some(record) if record.opens(now) => Found::Key(record),
            _ => Found::Nothing,
        }
    }

    /// Reads a key from the store and remembers what came of it; `None`: the store could not say.
    async fn read(&self, digest: String) -> Option<Option<Arc<KeyRecord>>> {
        // Beside what else its request may wait for the store: only the first one with a key waits here, and what it may use
        // is to be counted all the same.
        let store = self.store.waiting(PATIENCE);
        // Before it is asked: by our clock it must not have been seen after the store was found to be another one.
        let asked = Instant::now();
        let entry = store.get(Space::Keys, &digest).await.ok()?;
        // What cannot be read was written by another version; such a key opens nothing here.
        let record = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        // `Option<Option<_>>`: that there is none is an answer of its own, and is remembered as well.
        let mut record: Option<Arc<KeyRecord>> = record.map(Arc::new);
        let mut seen = asked;
        if record.is_none() {
            record = self.put_back(&store, &digest).await?;
            // There again: gone once more, it was taken back.
            seen = Instant::now();
        }
        let mut cached = self.cached();
        // All of them: to find the oldest would cost more than to read those again that are in use.
        if cached.len() >= MOST_KEYS {
            cached.retain(|_, known| known.record.is_some());
            if cached.len() >= MOST_KEYS {
                cached.clear();
            }
        }
        cached.insert(
            digest,
            Cached {
                record: record.clone(),
                read: Instant::now(),
                seen,
            },
        );
        Some(record)
    }

    /// A key that the store does not have any more because it has lost everything, put there again as it was known here.
    /// `None`: the store could not be asked or written to.
    async fn put_back(&self, store: &Store, digest: &str) -> Option<Option<Arc<KeyRecord>>> {
        let known = self.cached().get(digest).and_then(|known| {
            let record = known.record.clone()?;
            Some((record, known.seen))
        });
        let Some((record, seen)) = known else {
            return Some(None);
        };
        // As of now: that it was taken back is believed of no store but the one that had it.
        let lost = store.lost_by_now().await.ok()?;
        let is_lost = |lost: &Loss| seen <= lost.noticed && lost.seen < seen + PUT_BACK;
        if !lost.as_ref().is_some_and(is_lost) {
            return Some(None);
        }
        let put = Put {
            space: Space::Keys,
            key: digest.to_owned(),
            value: serde_json::to_vec(&*record).ok()?,
            ends_ms: None,
            expect: Expect::Absent,
            under: None,
        };
        // Another worker may have been quicker: then it is there as well.
        self.store.at_leisure().put(put).await.ok()?;
        Some(Some(record))
    }

    /// Forgets what is known of a key: it was changed here.
    pub fn forget(&self, digest: &str) {
        self.cached().remove(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Place;

    /// A key that the store has.
    async fn made(store: &Store) -> String {
        let good = format!("{PREFIX}good");
        let record = KeyRecord::new("k".to_owned(), 0);
        let put = Put {
            space: Space::Keys,
            key: digest(&good),
            value: serde_json::to_vec(&record).unwrap(),
            ends_ms: None,
            expect: Expect::Anything,
            under: None,
        };
        store.put(put).await.unwrap();
        good
    }

    #[actix_web::test]
    async fn a_key_outlives_a_store_that_is_lost_and_not_its_own_end() {
        let folder = std::env::temp_dir().join(format!("hive2api-ring-{}", uuid::Uuid::new_v4()));
        let file = folder.join("hive.db");
        let store = Store::open(Place::Sqlite(file)).unwrap().at_leisure();
        let good = made(&store).await;
        let ring = Arc::new(Keyring::new(store.clone()));
        assert!(matches!(ring.find(&good, 1).await, Found::Key(_)));
        std::fs::remove_dir_all(&folder).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // An open file can be read for a moment after it was deleted.
        while store.get(Space::Keys, &digest(&good)).await.is_err() || store.lost().is_none() {
            assert!(Instant::now() < deadline, "it has not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(ring.read(digest(&good)).await.flatten().is_some());
        let is_there = store.get(Space::Keys, &digest(&good)).await.unwrap();
        assert!(is_there.is_some(), "for the other workers");
        // Taken back since, it does not come again.
        let key = digest(&good);
        let taken = store.remove(Space::Keys, &key, Expect::Anything);
        assert!(taken.await.unwrap());
        assert!(ring.read(digest(&good)).await.unwrap().is_none());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[actix_web::test]
    async fn a_key_outlives_a_store_that_is_emptied_before_anybody_has_noticed() {
        let store = Store::in_memory();
        let good = made(&store).await;
        let key = digest(&good);
        let ring = Arc::new(Keyring::new(store.clone()));
        // Known from the store as it was, and read once more after the store was last looked at.
        for _ in 0..2 {
            assert!(ring.read(key.clone()).await.flatten().is_some());
        }
        crate::store::empty(&store).await;
        assert!(ring.read(key.clone()).await.flatten().is_some());
        assert!(store.get(Space::Keys, &key).await.unwrap().is_some());
        // Taken back since, it does not come again.
        let taken = store.remove(Space::Keys, &key, Expect::Anything);
        assert!(taken.await.unwrap());
        assert!(ring.read(key).await.unwrap().is_none());
    }

    #[actix_web::test]
    async fn wrong_keys_push_no_good_one_out() {
        let store = Store::in_memory();
        let good = made(&store).await;
        let ring = Arc::new(Keyring::new(store.clone()));
        assert!(matches!(ring.find(&good, 1).await, Found::Key(_)));
        for n in 0..MOST_KEYS {
            let nothing = Cached {
                record: None,
                read: Instant::now(),
                seen: Instant::now(),
            };
            ring.cached().insert(n.to_string(), nothing);
        }
        assert!(matches!(
            ring.find(&format!("{PREFIX}wrong"), 1).await,
            Found::Nothing
        ));
        assert_eq!(ring.cached().len(), 2);
        assert!(ring.cached().contains_key(&digest(&good)));
    }
}
