//! Responses and their items that one worker has made or seen of late: what a chat goes on from while the store cannot be
//! asked, and what is written to it when it is back.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    recent::Recent,
    store::{Expect, Put, Space, Store},
};

/// Bytes that a worker remembers.
const MOST_BYTES: usize = 32 << 20;
/// What may wait for the store; the oldest is lost beyond it.
const MOST_OWED: usize = 50_000;

/// See the module.
#[derive(Debug)]
pub struct Latest {
    known: Mutex<Recent<Sealed>>,
    /// What the store does not have yet, the oldest first: key and end.
    owed: Mutex<VecDeque<(String, u64)>>,
    /// Those that are being sealed, and are not `known` yet.
    sealing: AtomicUsize,
}

/// Says for its life that something is about to be known.
#[derive(Debug)]
pub(super) struct Coming(Arc<Latest>);

impl Coming {
    pub(super) fn new(latest: &Arc<Latest>) -> Self {
        latest.sealing.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(latest))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.sealing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something sealed, and whether the store has had it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) value: Vec<u8>,
    pub(super) is_stored: AtomicBool,
}

impl Default for Latest {
    fn default() -> Self {
        Self {
            known: Mutex::new(Recent::new(MOST_BYTES)),
            owed: Mutex::default(),
            sealing: AtomicUsize::new(0),
        }
    }
}

impl Latest {
    /// Whether something is about to be known.
    pub(super) fn is_sealing(&self) -> bool {
        self.sealing.load(Ordering::Relaxed) > 0
    }

    pub(super) fn find(&self, key: &str) -> Option<Arc<Sealed>> {
        self.known().find(key, Instant::now())
    }

    pub(super) fn keep(&self, key: &str, value: Vec<u8>, is_stored: bool, life: Duration) {
        let (bytes, is_stored) = (value.len(), AtomicBool::new(is_stored));
        let sealed = Arc::new(Sealed { value, is_stored });
        self.known().keep(key, sealed, bytes, Instant::now() + life);
    }

    pub(super) fn forget(&self, key: &str) {
        self.known().forget(key);
    }

    /// Writes what is remembered under a key to the store, now or as soon as that is there.
    pub(super) async fn store(&self, store: &Store, key: String, ends_ms: u64) {
        if !self.write(store, &key, ends_ms).await {
            let mut owed = self.owed();
            owed.push_back((key, ends_ms));
            if owed.len() > MOST_OWED {
                owed.pop_front();
            }
        }
    }

    /// Writes what could not be written before, as far as it is remembered still.
    pub async fn catch_up(&self, store: &Store) {
        loop {
            // A copy: it goes out of the list when it is written.
            let Some(first) = self.owed().front().cloned() else {
                return;
            };
            if !self.write(store, &first.0, first.1).await {
                return;
            }
            let mut owed = self.owed();
            if owed.front() == Some(&first) {
                owed.pop_front();
            }
        }
    }

    /// Whether nothing is left to do for it.
    async fn write(&self, store: &Store, key: &str, ends_ms: u64) -> bool {
        let Some(known) = self.find(key) else {
            return true;
        };
        let put = Put {
            space: Space::Responses,
            key: key.to_owned(),
            value: known.value.clone(),
            ends_ms: Some(ends_ms),
            expect: Expect::Anything,
            under: None,
        };
        let is_stored = store.put(put).await.is_ok();
        known.is_stored.fetch_or(is_stored, Ordering::Relaxed);
        is_stored
    }

    fn known(&self) -> MutexGuard<'_, Recent<Sealed>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owed(&self) -> MutexGuard<'_, VecDeque<(String, u64)>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
