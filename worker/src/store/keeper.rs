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
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use tokio::{
    sync::mpsc,
    task::{LocalSet, spawn_local},
    time::sleep,
};

use super::{
    engine::{Engine as _, Space, StoreError},
    opened::{Opened, Place},
};
use crate::metrics::METRICS;

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
}

impl Up {
    /// Whether it is worth asking.
    pub(super) fn is(&self) -> bool {
        // Only a hint: whoever sees an old value asks in vain, or not at all, once.
        self.is.load(Ordering::Relaxed)
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
    let first = Opened::open(place).await;
    // Told as a copy, since the store itself stays here.
    let health = first.as_ref().map(drop).map_err(Clone::clone);
    // The start has its own words for a store that is not there.
    up.begin(&health);
    let mut opened = first.ok().map(Rc::new);
    if tell.send(health).is_err() {
        return;
    }
    // What work running beside this loop has found.
    let (found, mut finding) = mpsc::unbounded_channel::<Health>();
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
                    let _ = found.send(running.await);
                });
            }
            Some(health) = finding.recv() => {
                up.set(place, &health);
                // A server's connection finds back by itself; a file that was deleted or damaged is another one and has
                // to be opened.
                if health.is_err() && opened.as_ref().is_some_and(|engine| !engine.reconnects()) {
                    opened = None;
                }
            }
            // Only while it is down: a store that is used tells its health with every answer.
            () = sleep(LOOK), if !up.is() => {
                if let Some(engine) = &opened {
                    // A look at an entry that nobody has: any answer will do.
                    let looked = engine.get(Space::Accounts, "", 0).await;
                    up.set(place, &looked.map(drop));
                } else {
                    let again = Opened::open(place).await;
                    up.set(place, &again.as_ref().map(drop).map_err(Clone::clone));
                    opened = again.ok().map(Rc::new);
                }
            }
        }
    }
}
