//! Work that grows with a request, off the event loops: a loop that computes for longer than a few milliseconds holds up
//! everybody whose connection it serves.

use std::{
    num::NonZero,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use tokio::sync::Semaphore;

/// Less than this takes less time than the way to another thread and back is worth: parsing takes about 1 ms a megabyte.
const WORTH_LEAVING: usize = 256 << 10;

/// One core stays for the loops; more jobs than cores at a time would only make all of them late.
static CORES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, NonZero::get);
    Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)))
});

/// Does `job`, which takes time in proportion to `bytes`: at once where they are few, else on a thread for blocking work.
/// Dropping the future does not stop a job that has begun.
pub async fn aside<T: Send + 'static>(bytes: usize, job: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes < WORTH_LEAVING {
        return job();
    }
    // Never closed; and without a permit it is merely done all the same.
    let core = Arc::clone(&CORES).acquire_owned().await.ok();
    let apart = tokio::task::spawn_blocking(move || {
        let done = job();
        // Given back on that thread, not here: a dropped future must not let another job begin while this one still
        // computes.
        drop(core);
        done
    });
    match apart.await {
        Ok(done) => done,
        // Tasks for blocking work are not cancelled, so the job itself has panicked.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn only_long_jobs_leave_the_thread() {
        let here = thread::current().id();
        assert_eq!(aside(10, || thread::current().id()).await, here);
        assert_ne!(aside(WORTH_LEAVING, || thread::current().id()).await, here);
    }
}
