//! The search off the event loops: at most one a core at a time, and it ends when nobody waits for it any more.

use std::{
    num::NonZero,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
    time::Instant,
};

use tokio::sync::Semaphore;

use super::{Challenge, solve};
use crate::metrics::METRICS;

/// More searches than cores at a time would only make all of them late.
static CORES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    Arc::new(Semaphore::new(
        available_parallelism().map_or(1, NonZero::get),
    ))
});

/// Sets the flag when the caller's future is dropped: the client has gone, so the search is pointless.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As [`solve`], on a thread for blocking work. Dropping the future stops the search within microseconds. Its time
/// without the wait for a core goes to `hive_pow_seconds`.
pub async fn solve_apart(challenge: Challenge) -> Option<u64> {
    // `None`: the runtime is shutting down, and no answer of it is wanted.
    let core = Arc::clone(&CORES).acquire_owned().await.ok()?;
    let cancel = Cancel(Arc::default());
    let is_cancelled = Arc::clone(&cancel.0);
    let search = tokio::task::spawn_blocking(move || {
        // Goes with the search, not with the future, so that a dropped one does not count as ended too early.
        let _core = core;
        let start = Instant::now();
        let answer = solve(&challenge, &is_cancelled);
        if !is_cancelled.load(Ordering::Relaxed) {
            // Only of what was not cut short: a cancelled search says nothing of the machine.
            METRICS.pow_seconds.observe(start.elapsed().as_secs_f64());
        }
        answer
    });
    search.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future as _, poll_fn},
        task::Poll,
        time::Duration,
    };

    use super::*;

    fn endless() -> Challenge {
        Challenge::new(&"5a".repeat(32), "salt", 1, 1 << 53).unwrap()
    }

    #[tokio::test]
    async fn solves() {
        let challenge = "c80ff74357fc21bee90118dcbe5517114291363c868ec17a9bc4d0fe13e0afb0";
        let challenge = Challenge::new(
            challenge,
            "0123456789abcdef0123",
            1_700_000_000_000,
            144_000,
        )
        .unwrap();
        assert_eq!(solve_apart(challenge).await, Some(0));
    }

    /// More dropped searches than cores, and then one that still finds a free core.
    #[tokio::test]
    async fn a_dropped_search_frees_its_core() {
        for _ in 0..2 * available_parallelism().unwrap().get() {
            let mut search = Box::pin(solve_apart(endless()));
            let started = poll_fn(|cx| Poll::Ready(search.as_mut().poll(cx))).await;
            assert_eq!(started, Poll::Pending);
            drop(search);
        }
        let none = Challenge::new(&"5a".repeat(32), "salt", 1, 1000).unwrap();
        let last = tokio::time::timeout(Duration::from_secs(20), solve_apart(none)).await;
        assert_eq!(last, Ok(None));
    }
}
