//! The end of a worker: whoever is being answered is answered to the end. Source: issue "Shutdown", design.md section 6.
//!
//! ```text
//! serving ──SIGTERM──► /ready says 503, still accepting ──DRAIN_GRACE──► listener closed, running answers end
//!                                                                        ──all ended──► exit 0
//!                                                                        ──DRAIN_TIMEOUT──► the rest ends with an error event, exit 0
//! ```

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_web::dev::ServerHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;

/// How often it is looked whether everything has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long answers that are cut have for saying so.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// Waits for SIGTERM or SIGINT, then drains; returns when the process may end.
///
/// # Errors
/// When signals cannot be listened for.
pub async fn on_signal(app: Arc<App>, server: ServerHandle) -> io::Result<()> {
    // Listened for before anything else is done, so that a signal in between is not the default's death.
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let grace = tokio::select! {
        _ = term.recv() => app.settings.process.drain_grace,
        // Ctrl-C: a person is waiting, and no load balancer.
        _ = int.recv() => Duration::ZERO,
    };
    tracing::info!(in_flight = app.in_flight.load(Ordering::SeqCst), "draining");
    // `/ready` says so from now on; connections are still taken until balancers have heard.
    app.is_draining.store(true, Ordering::SeqCst);
    tokio::select! {
        () = tokio::time::sleep(grace) => {}
        // A second signal: whoever sends it does not want to wait.
        () = either(&mut term, &mut int) => {}
    }
    app.is_closed.store(true, Ordering::SeqCst);
    // Closes the listener and lets connections end. Idle keep-alive connections would hold this up until its
    // time-out, so what is waited for is our own count of running answers and clean-up.
    // Not awaited here, only raced below: it waits for idle connections as well.
    let stopping = server.stop(true);
    tokio::select! {
        () = idle(&app) => {
            tracing::info!("drained");
            return Ok(());
        }
        () = stopping => return Ok(()),
        () = tokio::time::sleep(app.settings.process.drain_timeout) => tracing::warn!(in_flight = app.in_flight.load(Ordering::SeqCst), "drain time-out"),
        _ = int.recv() => tracing::warn!("stopped by a second signal"),
    }
    // Each running answer gets its error event (`Job::cut`).
    app.cut_answers();
    // A client that does not read cannot be told.
    let _ = tokio::time::timeout(LAST_WORDS, idle(&app)).await;
    Ok(())
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn idle(app: &App) {
    while !app.is_idle() {
        tokio::time::sleep(LOOK).await;
    }
}
