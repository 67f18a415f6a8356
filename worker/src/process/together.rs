//! What a worker does for its cluster beside answering: it says that it lives and hears who else does, keeps the places of its
//! streams, writes what was used, and, where it is its turn, sweeps the store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::rt::{self, task::JoinHandle};

use super::{health, idle};
use crate::{
    app::App,
    keys::EVERY,
    store::{Expect, Put, Space, Sweep, engine::MS_AN_HOUR, now_ms},
};

/// How often a worker says that it lives.
const SAY: Duration = Duration::from_secs(10);
/// How often it looks who else does: soon after one has come its turns count with those of the others.
const HEAR: Duration = Duration::from_secs(1);
/// How long one that says nothing counts.
const COUNTS_MS: u64 = 30_000;
/// Most workers that are heard of.
const MOST_WORKERS: usize = 10_000;
/// How often the store is swept.
const SWEEP: Duration = Duration::from_secs(60);
/// How long whoever sweeps is alone with it.
const SWEEPS: Duration = Duration::from_secs(300);
/// Steps of one sweep; what is left waits for the next. As many as its turn has time for, since what many requests have left
/// behind must not grow faster than it is taken away.
const STEPS: usize = 2000;
/// Between two steps others have their turn.
const PAUSE: Duration = Duration::from_millis(100);
/// How long single requests are kept.
const LINES_MS: u64 = 7 * 24 * MS_AN_HOUR;
/// How long the last batch may take at the end.
const LAST_BATCH: Duration = Duration::from_secs(5);

/// What runs until [`Together::end`].
#[derive(Debug)]
pub struct Together(Vec<JoinHandle<()>>);

/// Starts all of it on the calling thread.
pub fn start(app: &Arc<App>) -> Together {
    Together(vec![
        rt::spawn(live(Arc::clone(app))),
        rt::spawn(Arc::clone(&app.counts).keep_places()),
        rt::spawn(write(Arc::clone(app))),
        rt::spawn(sweep(Arc::clone(app))),
        rt::spawn(health::share(Arc::clone(app))),
        rt::spawn(health::check(Arc::clone(app))),
        rt::spawn(health::tend(Arc::clone(app))),
        rt::spawn(idle::run(Arc::clone(app))),
    ])
}

impl Together {
    /// Ends it: what was used is written, and nobody counts with this worker any more.
    pub async fn end(self, app: &App) {
        for task in self.0 {
            task.abort();
        }
        let store = app.store.at_leisure();
        let name = &app.settings.worker_name;
        let last_words = async {
            if !app.ledger.flush(&store).await {
                tracing::warn!("what was used last could not be written to the store");
            }
            app.counts.settle_owed(&store).await;
            app.responses.catch_up(&store).await;
            // So that the others do not count with it for another half a minute.
            let _ = store.remove(Space::Workers, name, Expect::Anything).await;
            health::leave(app, &store).await;
        };
        let _ = tokio::time::timeout(LAST_BATCH, last_words).await;
    }
}

async fn live(app: Arc<App>) {
    let store = app.store.at_leisure();
    let mut said: Option<Instant> = None;
    loop {
        if said.is_none_or(|said| said.elapsed() >= SAY) {
            let put = Put {
                space: Space::Workers,
                key: app.settings.worker_name.clone(),
                value: Vec::new(),
                // Three times as long as the interval: one word that is lost does not change the count.
                ends_ms: Some(now_ms() + COUNTS_MS),
                expect: Expect::Anything,
                under: None,
            };
            if store.put(put).await.is_ok() {
                said = Some(Instant::now());
            }
        }
        // While the store is gone the others are taken to be as many as before.
        if let Ok(workers) = store.list(Space::Workers, "", MOST_WORKERS).await {
            if !workers
                .iter()
                .any(|(name, _)| *name == app.settings.worker_name)
            {
                // A store that was lost, and is empty.
                said = None;
            }
            let workers = u64::try_from(workers.len()).unwrap_or(u64::MAX);
            app.counts.set_workers(workers);
            app.company.set_workers(workers);
        }
        tokio::time::sleep(HEAR).await;
    }
}

async fn write(app: Arc<App>) {
    let store = app.store.at_leisure();
    loop {
        tokio::time::sleep(EVERY).await;
        app.ledger.flush(&store).await;
        app.counts.settle_owed(&store).await;
        app.responses.catch_up(&store).await;
    }
}

async fn sweep(app: Arc<App>) {
    let store = app.store.at_leisure();
    let name = &app.settings.worker_name;
    loop {
        tokio::time::sleep(SWEEP).await;
        // One worker's turn; the others look again in a minute.
        // The hold is not given back: its end is what lets another one have the next turn.
        let Ok(Some(_)) = store.hold("sweep", name, 1, SWEEPS).await else {
            continue;
        };
        let now = now_ms();
        let days = app.settings.store.usage_days;
        let what = Sweep {
            sums_before: (now / MS_AN_HOUR).saturating_sub(24 * days),
            lines_before_ms: now.saturating_sub(LINES_MS),
        };
        for _ in 0..STEPS {
            match store.sweep(what).await {
                Ok(true) => tokio::time::sleep(PAUSE).await,
                Ok(false) | Err(_) => break,
            }
        }
    }
}
