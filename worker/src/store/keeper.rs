//! The thread that has the store. All others send it what is to be done and, if they care, wait for what came of it, never
//! longer than they can afford: a file's lock, a full disk or a silent server stops this thread and nobody else.
//!
//! ```text
//!   event loops ──work──► keeper ──► engine
//!               ◄─answer─┘   │
//!                            └─ a fault: closed until it answers again; work is refused at once meanwhile
//! ```

use std::{
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::LocalBoxFuture;
use tokio::{
    sync::mpsc,
    task::{LocalSet, spawn_local},
    time::sleep,
};
use uuid::Uuid;

use super::{
    engine::{Engine as _, Expect, MS_A_MINUTE, Put, Space, StoreError},
    now_ms,
    opened::{Opened, Place},
};
use crate::metrics::METRICS;

/// Under which key a store has a name of its own.
const NAME: &str = "store";
/// How often a store that is gone is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Work that may wait. What comes beyond is refused: it would be answered too late anyway.
pub(super) const MOST_WAITING: usize = 4096;

/// Something to be done with the open store; says whether the store could do it.
pub(super) type Work = Box<dyn FnOnce(Rc<Opened>) -> LocalBoxFuture<'static, Health> + Send>;

/// What a piece of work has found out about the store.
pub(super) type Health = Result<(), StoreError>;

/// Whether the store answers, as all threads see it.
#[derive(Debug, Default)]
pub(super) struct Up {
    is: AtomicBool,
    /// Why it is gone, as far as the log has said it: each reason is said once until the store is back.
    said: Mutex<Vec<StoreError>>,
    /// See [`super::Store::lost`].
    lost: Mutex<Option<Instant>>,
}

impl Up {
    /// Whether it is worth asking.
    pub(super) fn is(&self) -> bool {
        // Only a hint: whoever sees an old value asks in vain, or not at all, once.
        self.is.load(Ordering::Relaxed)
    }

    /// See [`super::Store::lost`].
    pub(super) fn lost(&self) -> Option<Instant> {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another store stands in the place of the one that answered last then.
    fn lose(&self, place: &Place, answered: Instant) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(answered);
        tracing::warn!(
            store = place.described(),
            "the store has lost what was in it: keys and added accounts that this worker knows are put back"
        );
    }

    /// As [`Up::set`], without a word.
    fn begin(&self, health: &Health) {
        self.is.store(health.is_ok(), Ordering::Relaxed);
        METRICS.store_up.set(health.is_ok().into());
        self.said().extend(health.as_ref().err().cloned());
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Vec<StoreError>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, place: &Place, health: &Health) {
        let was = self.is.swap(health.is_ok(), Ordering::Relaxed);
        METRICS.store_up.set(health.is_ok().into());
        match health {
            Ok(()) if !was => {
                self.said().clear();
                tracing::info!(store = place.described(), "the store answers");
            }
            Err(error) if !self.said().contains(error) => {
                self.said().push(error.clone());
                tracing::warn!(store = place.described(), %error, "the store is gone: what is known here goes on without it");
            }
            _ => {}
        }
    }
}

/// Starts the thread; what the first opening came to is told. The thread ends when nobody can send any more.
pub(super) fn start(
    place: Place,
    up: Arc<Up>,
    mut work: mpsc::Receiver<Work>,
) -> std::io::Result<std_mpsc::Receiver<Health>> {
    // Of std: who starts the store may stand in an event loop, where a channel of tokio's cannot be waited at.
    let (tell, told) = std_mpsc::sync_channel(1);
    // A runtime of its own: actix's event loops must not stand still while a file's lock is waited for.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            let all = LocalSet::new();
            all.block_on(&runtime, keep(&place, &up, &mut work, tell));
        })?;
    Ok(told)
}

async fn keep(
    place: &Place,
    up: &Arc<Up>,
    work: &mut mpsc::Receiver<Work>,
    tell: std_mpsc::SyncSender<Health>,
) {
    let mut first = Opened::open(place).await;
    let mut known = None;
    if let Ok(engine) = &first {
        match try_out(engine).await {
            Ok(identity) => known = Some(identity),
            Err(error) => first = Err(error),
        }
    }
    let mut answered = Instant::now();
    // Told as a copy, since the store itself stays here.
    let health = first.as_ref().map(drop).map_err(Clone::clone);
    // The start has its own words for a store that is not there.
    up.begin(&health);
    let mut opened = first.ok().map(Rc::new);
    if tell.send(health).is_err() {
        return;
    }
    // What work running beside this loop has found, and of which opening: news of one that was given up would make the store
    // seem to be there while nothing is open.
    let (found, mut finding) = mpsc::unbounded_channel::<(u64, Health)>();
    let mut opening = 0;
    loop {
        tokio::select! {
            next = work.recv() => {
                let Some(work) = next else { return };
                // Dropping the work drops its `tell`, which answers whoever waits that the store was closed.
                let Some(engine) = &opened else { continue };
                let running = work(Rc::clone(engine));
                let found = found.clone();
                // Of an SQLite file each piece of work is done before the next begins, as nothing in it waits; a server is
                // asked many things at once over one connection.
                spawn_local(async move {
                    // Nobody listens when the process ends.
                    let _ = found.send((opening, running.await));
                });
            }
            Some((of, health)) = finding.recv() => {
                if of != opening {
                    continue;
                }
                up.set(place, &health);
                if health.is_ok() {
                    answered = Instant::now();
                }
                // A server's connection finds back by itself; a file that was deleted or damaged is another one and has
                // to be opened.
                if health.is_err() && opened.as_ref().is_some_and(|engine| !engine.reconnects()) {
                    opened = None;
                    opening += 1;
                }
            }
            // Only while it is down: a store that is used tells its health with every answer.
            () = sleep(LOOK), if !up.is() => {
                let engine = match opened.take() {
                    Some(engine) => Ok(engine),
                    None => Opened::open(place).await.map(Rc::new),
                };
                let found = match &engine {
                    Ok(engine) => try_out(engine).await,
                    Err(error) => Err(error.clone()),
                };
                let health = found.as_ref().map(drop).map_err(Clone::clone);
                if let Ok(identity) = found {
                    // Before anybody asks it: what is not there was not taken away.
                    if known.as_ref().is_some_and(|known| *known != identity) {
                        up.lose(place, answered);
                    }
                    known = Some(identity);
                    answered = Instant::now();
                }
                up.set(place, &health);
                opened = engine.ok().filter(|engine| health.is_ok() || engine.reconnects());
            }
        }
    }
}

/// The store's own name, if it can be written to: a full disk, a file that is read-only and a server without memory are read
/// from as ever, and would come and go with every question.
async fn try_out(engine: &Opened) -> Result<Vec<u8>, StoreError> {
    let now = now_ms();
    let put = |key: &str, value: Vec<u8>, ends_ms, expect| Put {
        // Found by their keys alone, which nobody else has.
        space: Space::Points,
        key: key.to_owned(),
        value,
        ends_ms,
        expect,
        under: None,
    };
    let ends = Some(now.saturating_add(MS_A_MINUTE));
    let trial = put("try", Vec::new(), ends, Expect::Anything);
    engine.put(&trial, now).await?;
    let name = Uuid::new_v4().as_bytes().to_vec();
    let named = put(NAME, name.clone(), None, Expect::Absent);
    engine.put(&named, now).await?;
    let found = engine.get(Space::Points, NAME, now).await?;
    Ok(found.map_or(name, |entry| entry.value))
}
