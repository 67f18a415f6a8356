//! What the workers of a cluster know together: keys, rotated credentials, accounts, conversations, counts. One store behind
//! one trait ([`Engine`]): an SQLite file for the workers of one machine, a Valkey or Redis for those of several, the
//! process's own memory for tests.
//!
//! It never stands in the way. What a request asks is answered within [`PATIENCE`] or not at all, and then the caller goes on
//! with what it knows itself; nothing is asked for a piece of a stream. Source: design.md section 13.

pub mod engine;
mod keeper;
mod memory;
mod opened;
pub mod sealed;
mod sqlite;
mod usage;
mod valkey;

use std::{
    cell::Cell,
    fmt,
    future::Future,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, oneshot};

pub use engine::{
    Claim, Claimed, Engine, Entry, Expect, Fence, Put, Settlement, Space, StoreError, Sweep,
};
pub use keeper::Loss;
use keeper::{Up, Work};
pub use opened::{Opened, Place};
pub use sealed::Vault;
pub use usage::{Usage, UsageBatch, UsageKey, UsageLine};

use crate::impossible::OrImpossible as _;
use crate::metrics::METRICS;

/// How long a request waits for the store, at most: in all, however often it asks ([`in_request`]).
pub const PATIENCE: Duration = Duration::from_millis(50);
/// How long work waits that no request waits for.
pub const LEISURE: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// What the request that this task answers has left of [`PATIENCE`].
    static LEFT: Cell<Duration>;
}

/// Answers a request: whatever it asks the store, one thing after the other, makes it wait no longer than [`PATIENCE`] in
/// all. A slow store would otherwise be waited for once at each step.
pub async fn in_request<F: Future>(answering: F) -> F::Output {
    LEFT.scope(Cell::new(PATIENCE), answering).await
}

/// What a request has left to wait for the store; outside of one [`PATIENCE`].
fn left() -> Duration {
    LEFT.try_with(Cell::get).unwrap_or(PATIENCE)
}

/// Waited so long; outside of a request nobody counts.
fn spent(took: Duration) {
    let _ = LEFT.try_with(|left| left.set(left.get().saturating_sub(took)));
}

/// Waits for several questions in a task of their own, no longer than the request that asks may still wait; `None`: it may not
/// wait until they are answered.
pub async fn within_request<F: Future>(asking: F) -> Option<F::Output> {
    let started = Instant::now();
    let answer = tokio::time::timeout(left(), asking).await;
    spent(started.elapsed());
    answer.ok()
}

/// The store, as all threads share it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    work: mpsc::Sender<Work>,
    up: Arc<Up>,
    /// How long whoever asks through this handle waits; `None`: as long as its request may.
    patience: Option<Duration>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("is_up", &self.up.is())
            .finish_non_exhaustive()
    }
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.or_impossible("a clock is past 1970").as_millis()).unwrap_or(u64::MAX)
}

impl Store {
    /// Opens the store. One that does not answer now is looked for until it does; meanwhile everything goes on without it.
    ///
    /// # Errors
    /// [`StoreError::Newer`] and [`StoreError::Unfit`], which time does not mend; that the thread cannot be started.
    pub fn open(place: Place) -> Result<Self, StoreError> {
        let (work, waiting) = mpsc::channel(keeper::MOST_WAITING);
        let up = Arc::new(Up::of(&place));
        let described = place.described();
        let told = keeper::start(place, Arc::clone(&up), waiting)
            .map_err(|error| StoreError::Unavailable(error.kind().to_string()))?;
        // At the start of a process, where waiting stops nobody.
        match told.recv() {
            Ok(Ok(())) => {}
            // Whatever passes by itself (a server that starts later than we do) must not keep a worker from serving;
            // the rest is the owner's to mend.
            Ok(Err(error @ StoreError::Unavailable(_))) => {
                tracing::warn!(store = described, %error, "the store is not there yet: what is known here goes on without it");
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(StoreError::Unavailable("its thread has ended".to_owned())),
        }
        Ok(Self {
            work,
            up,
            patience: None,
        })
    }

    /// One of this process alone.
    pub fn in_memory() -> Self {
        // Nothing can fail in it but the start of a thread, and then there is a store that never answers.
        Self::open(Place::Memory).unwrap_or_else(|_| Self {
            work: mpsc::channel(1).0,
            up: Arc::default(),
            patience: None,
        })
    }

    /// For work that no request waits for.
    #[must_use]
    pub fn at_leisure(&self) -> Self {
        self.waiting(LEISURE)
    }

    /// For what must be answered, and may take so long each time, whatever its request has waited for before.
    #[must_use]
    pub fn waiting(&self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self.clone()
        }
    }

    /// How long whoever asks now may wait.
    fn patience(&self) -> Duration {
        self.patience.unwrap_or_else(left)
    }

    /// Whether it answered when it was last asked.
    pub fn is_up(&self) -> bool {
        self.up.is()
    }

    /// The loss of what was in the store before, where another one stands in its place or it was emptied: a server that has begun
    /// anew, a file that was deleted. Noticed within a second or two; see [`Store::lost_by_now`].
    pub fn lost(&self) -> Option<Loss> {
        self.up.lost()
    }

    /// [`Store::lost`] as of this moment: for whoever misses what was there before, and would take it to be removed.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn lost_by_now(&self) -> Result<Option<Loss>, StoreError> {
        let up = Arc::clone(&self.up);
        self.ask("name", move |engine, _| async move {
            keeper::look(&engine, &up).await
        })
        .await?;
        Ok(self.lost())
    }

    /// Sends work to the thread and waits for what comes of it; counted by `operation`.
    async fn ask<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Rc<Opened>, u64) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + 'static,
    {
        let (started, patience) = (Instant::now(), self.patience());
        let failed = |why: &str| Err(StoreError::Unavailable(why.to_owned()));
        // Asked before anything is made: while the store is gone each question costs a look at a flag.
        let answer = if patience.is_zero() {
            failed("its request has waited for it long enough")
        } else if self.up.is() {
            let (tell, told) = oneshot::channel();
            let boxed: Work = Box::new(move |engine| {
                Box::pin(async move {
                    let result = work(engine, now_ms()).await;
                    // Every answer is news of the store, also those that nobody waits for any more.
                    let health = result.as_ref().map(drop).map_err(Clone::clone);
                    // Whoever asked may have gone on without.
                    let _ = tell.send(result);
                    health
                })
            });
            // Never waited for: a full queue is a store that is too slow already.
            if self.work.try_send(boxed).is_err() {
                failed("too much waits for it")
            } else {
                match tokio::time::timeout(patience, told).await {
                    Ok(Ok(result)) => result,
                    Ok(Err(_)) => failed("it was closed meanwhile"),
                    Err(_) => failed("it did not answer in time"),
                }
            }
        } else {
            failed("it is not there")
        };
        // Timed with the waiting in the queue, as that is what a request feels.
        let took = started.elapsed();
        METRICS
            .store_seconds
            .with_label_values(&[operation])
            .observe(took.as_secs_f64());
        if self.patience.is_none() {
            spent(took);
        }
        if answer.is_err() {
            METRICS
                .store_errors_total
                .with_label_values(&[operation])
                .inc();
        }
        answer
    }

    /// See [`Engine::get`].
    ///
    /// # Errors
    /// As all of the following: [`StoreError::Unavailable`] when it could not be asked or was not quick enough.
    pub async fn get(&self, space: Space, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.ask("get", move |engine, now| async move {
            engine.get(space, &key, now).await
        })
        .await
    }

    /// See [`Engine::put`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn put(&self, put: Put) -> Result<Option<u64>, StoreError> {
        self.ask("put", move |engine, now| async move {
            engine.put(&put, now).await
        })
        .await
    }

    /// See [`Engine::remove`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn remove(
        &self,
        space: Space,
        key: &str,
        expect: Expect,
    ) -> Result<bool, StoreError> {
        let key = key.to_owned();
        self.ask("remove", move |engine, now| async move {
            engine.remove(space, &key, expect, now).await
        })
        .await
    }

    /// See [`Engine::list`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn list(
        &self,
        space: Space,
        after: &str,
        most: usize,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        let after = after.to_owned();
        self.ask("list", move |engine, now| async move {
            engine.list(space, &after, most, now).await
        })
        .await
    }

    /// See [`Engine::ended`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn ended(
        &self,
        space: Space,
        most: usize,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        self.ask("ended", move |engine, now| async move {
            engine.ended(space, most, now).await
        })
        .await
    }

    /// See [`Engine::claim`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn claim(&self, id: &str, claims: Vec<Claim>) -> Result<Claimed, StoreError> {
        let id = id.to_owned();
        self.ask("claim", move |engine, now| async move {
            engine.claim(&id, &claims, now).await
        })
        .await
    }

    /// See [`Engine::settle`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn settle(&self, id: &str, settlements: Vec<Settlement>) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.ask("settle", move |engine, now| async move {
            engine.settle(&id, &settlements, now).await
        })
        .await
    }

    /// See [`Engine::hold`]; for `ttl` from now on.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn hold(
        &self,
        name: &str,
        holder: &str,
        most: u64,
        ttl: Duration,
    ) -> Result<Option<Fence>, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.ask("hold", move |engine, now| async move {
            let ends = now.saturating_add(ttl);
            engine.hold(&name, &holder, most, ends, now).await
        })
        .await
    }

    /// See [`Engine::release`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.ask("release", move |engine, _| async move {
            engine.release(&name, &holder).await
        })
        .await
    }

    /// See [`Engine::add_usage`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn add_usage(&self, batch: Arc<UsageBatch>) -> Result<(), StoreError> {
        self.ask("add_usage", move |engine, now| async move {
            engine.add_usage(&batch, now).await
        })
        .await
    }

    /// See [`Engine::usage`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn usage(&self, from: u64, to: u64) -> Result<Vec<(UsageKey, Usage)>, StoreError> {
        self.ask("usage", move |engine, _| async move {
            engine.usage(from, to).await
        })
        .await
    }

    /// See [`Engine::lines`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn lines(
        &self,
        from_ms: u64,
        to_ms: u64,
        most: usize,
    ) -> Result<Vec<UsageLine>, StoreError> {
        self.ask("lines", move |engine, _| async move {
            engine.lines(from_ms, to_ms, most).await
        })
        .await
    }

    /// See [`Engine::sweep`].
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn sweep(&self, sweep: Sweep) -> Result<bool, StoreError> {
        self.ask("sweep", move |engine, now| async move {
            engine.sweep(sweep, now).await
        })
        .await
    }
}

/// Takes what can be listed and the store's name, as its owner may while workers use it.
#[cfg(test)]
pub(crate) async fn empty(store: &Store) {
    for space in Space::ALL.into_iter().filter(|space| space.is_listed()) {
        while let Ok(page) = store.list(space, "", 100).await {
            if page.is_empty() {
                break;
            }
            for (key, _) in page {
                store.remove(space, &key, Expect::Anything).await.unwrap();
            }
        }
    }
    let name = store.remove(Space::Points, keeper::NAME, Expect::Anything);
    assert!(name.await.unwrap());
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod faults;
