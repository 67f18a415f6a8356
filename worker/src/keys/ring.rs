//! The keys of the store, as this worker knows them: read once, looked at again after a while, and still valid while the store
//! is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::record::{KeyRecord, PREFIX, digest};
use crate::store::{Space, Store};

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
}

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
        let entry = self.store.get(Space::Keys, &digest).await.ok()?;
        // What cannot be read was written by another version; such a key opens nothing here.
        let record = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        // `Option<Option<_>>`: that there is none is an answer of its own, and is remembered as well.
        let record: Option<Arc<KeyRecord>> = record.map(Arc::new);
        let mut cached = self.cached();
        // All of them: to find the oldest would cost more than to read those again that are in use.
        if cached.len() >= MOST_KEYS {
            cached.retain(|_, known| known.record.is_some());
            if cached.len() >= MOST_KEYS {
                cached.clear();
            }
        }
        let read = Instant::now();
        cached.insert(
            digest,
            Cached {
                record: record.clone(),
                read,
            },
        );
        Some(record)
    }

    /// Forgets what is known of a key: it was changed here.
    pub fn forget(&self, digest: &str) {
        self.cached().remove(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Expect, Put};

    #[actix_web::test]
    async fn wrong_keys_push_no_good_one_out() {
        let store = Store::in_memory();
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
        let ring = Arc::new(Keyring::new(store.clone()));
        assert!(matches!(ring.find(&good, 1).await, Found::Key(_)));
        for n in 0..MOST_KEYS {
            let nothing = Cached {
                record: None,
                read: Instant::now(),
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
