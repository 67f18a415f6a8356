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
        Arc, Mutex,
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
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use super::{
    engine::{Engine as _, Expect, MS_A_MINUTE, Put, Space, StoreError},
    now_ms,
    opened::{Opened, Place},
};
use crate::{metrics::METRICS, mutex::lock};

/// Under which key a store has a name of its own.
pub(super) const NAME: &str = "store";
/// How often a store that is gone is looked for, and one that is there asked whether it is still the same.
const LOOK: Duration = Duration::from_secs(1);
/// Work that may wait. What comes beyond is refused: it would be answered too late anyway.
pub(super) const MOST_WAITING: usize = 4096;

/// Something to be done with the open store; says whether the store could do it.
pub(super) type Work = Box<dyn FnOnce(Rc<Opened>) -> LocalBoxFuture<'static, Health> + Send>;

/// What a piece of work has found out about the store.
pub(super) type Health = Result<(), StoreError>;

/// All that a store had is gone: another one stands in its place, or somebody has emptied it. Whatever is not there since was
/// not taken away by anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When the lost one was last seen.
    pub seen: Instant,
    /// When it was missed. What was written or read after `seen` and before this may have been of either.
    pub noticed: Instant,
}

/// The store that stands there.
#[derive(Debug)]
struct Known {
    name: Vec<u8>,
    /// When we got to know it.
    since: Instant,
    /// When it was last asked for its name.
    seen: Instant,
    /// Of the one before it.
    lost: Option<Loss>,
}

/// Whether the store answers, and which one it is, as all threads see it.
#[derive(Debug, Default)]
pub(super) struct Up {
    /// For the log.
    described: String,
    is: AtomicBool,
    /// Why it is gone, as far as the log has said it: each reason is said once until the store is back.
    said: Mutex<Vec<StoreError>>,
    known: Mutex<Option<Known>>,
}

impl Up {
    /// Of the store that is looked for there.
    pub(super) fn of(place: &Place) -> Self {
        Self {
            described: place.described(),
            ..Self::default()
        }
    }

    /// Whether it is worth asking.
    pub(super) fn is(&self) -> bool {
        // Only a hint: whoever sees an old value asks in vain, or not at all, once.
        self.is.load(Ordering::Relaxed)
    }

    /// See [`super::Store::lost`].
    pub(super) fn lost(&self) -> Option<Loss> {
        lock(&self.known).as_ref().and_then(|known| known.lost)
    }

    /// What the store answered that was asked for its name at `asked`.
    fn meet(&self, name: Vec<u8>, asked: Instant) {
        let mut known = lock(&self.known);
        let seen = match &mut *known {
            Some(known) if known.name == name => {
                known.seen = known.seen.max(asked);
                return;
            }
            // Of the store before this one, and heard late.
            Some(known) if asked < known.since => return,
            Some(known) => Some(known.seen),
            None => None,
        };
        let since = Instant::now();
        let lost = seen.map(|seen| Loss {
            seen,
            noticed: since,
        });
        *known = Some(Known {
            name,
            since,
            seen: asked,
            lost,
        });
        if lost.is_some() {
            tracing::warn!(
                store = self.described,
                "the store has lost what was in it: keys and added accounts that this worker knows are put back"
            );
        }
    }

    /// As [`Up::set`], without a word.
    fn begin(&self, health: &Health) {
        self.is.store(health.is_ok(), Ordering::Relaxed);
        METRICS.store_up.set(health.is_ok().into());
        lock(&self.said).extend(health.as_ref().err().cloned());
    }

    fn set(&self, health: &Health) {
        let was = self.is.swap(health.is_ok(), Ordering::Relaxed);
        METRICS.store_up.set(health.is_ok().into());
        match health {
            Ok(()) if !was => {
                lock(&self.said).clear();
                tracing::info!(store = self.described, "the store answers");
            }
            Err(error) if !lock(&self.said).contains(error) => {
                lock(&self.said).push(error.clone());
                tracing::warn!(store = self.described, %error, "the store is gone: what is known here goes on without it");
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
    if let Ok(engine) = &first
        && let Err(error) = try_out(engine, up).await
    {
        first = Err(error);
    }
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
    let mut looks = interval(LOOK);
    // A store that was slow to be looked at is not looked at many times at once.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                up.set(&health);
                // A server's connection finds back by itself; a file that was deleted or damaged is another one and has
                // to be opened.
                if health.is_err() && opened.as_ref().is_some_and(|engine| !engine.reconnects()) {
                    opened = None;
                    opening += 1;
                }
            }
            _ = looks.tick() => {
                // Beside this loop, as all that is asked of an open store.
                if let Some(engine) = opened.as_ref().filter(|_| up.is()) {
                    let (engine, up, found) = (Rc::clone(engine), Arc::clone(up), found.clone());
                    spawn_local(async move {
                        let _ = found.send((opening, look(&engine, &up).await));
                    });
                    continue;
                }
                let engine = match opened.take() {
                    Some(engine) => Ok(engine),
                    None => Opened::open(place).await.map(Rc::new),
                };
                let health = match &engine {
                    // Before anybody asks it: what is not there was not taken away.
                    Ok(engine) => try_out(engine, up).await,
                    Err(error) => Err(error.clone()),
                };
                up.set(&health);
                opened = engine.ok().filter(|engine| health.is_ok() || engine.reconnects());
            }
        }
    }
}

/// Whether it can be written to: a full disk, a file that is read-only and a server without memory are read from as ever, and
/// would come and go with every question. And which store it is.
async fn try_out(engine: &Opened, up: &Up) -> Health {
    let now = now_ms();
    let ends = Some(now.saturating_add(MS_A_MINUTE));
    let trial = put("try", Vec::new(), ends, Expect::Anything);
    engine.put(&trial, now).await?;
    look(engine, up).await
}

/// Looks which store it is, by the name of its own that each has.
pub(super) async fn look(engine: &Opened, up: &Up) -> Health {
    let asked = Instant::now();
    let now = now_ms();
    let mut found = engine.get(Space::Points, NAME, now).await?;
    if found.is_none() {
        let name = Uuid::new_v4().as_bytes().to_vec();
        let named = put(NAME, name, None, Expect::Absent);
        // Another worker may have been quicker: its name is read then.
        engine.put(&named, now).await?;
        found = engine.get(Space::Points, NAME, now).await?;
    }
    if let Some(entry) = found {
        up.meet(entry.value, asked);
    }
    Ok(())
}

/// An entry that is found by its key alone, which nobody else has.
fn put(key: &str, value: Vec<u8>, ends_ms: Option<u64>, expect: Expect) -> Put {
    Put {
        space: Space::Points,
        key: key.to_owned(),
        value,
        ends_ms,
        expect,
        under: None,
    }
}
