//! The last looks of this worker at videos, for a second: a client may ask as often as it likes, and the service is asked as
//! often as it likes. Nothing depends on what is in here: who finds nothing asks.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::job::Job;
use crate::chat::media::VideoState;

/// How long a look serves for others (wire/zhipu.md section 4.4: once a second at the most).
const FRESH: Duration = Duration::from_millis(1100);

/// By provider, account and task.
type Key = [String; 3];

/// See the module.
#[derive(Debug, Default)]
pub struct Looks(Mutex<HashMap<Key, (Instant, VideoState)>>);

impl Looks {
    /// What was seen within the last second.
    pub(super) fn last(&self, job: &Job) -> Option<VideoState> {
        let looks = self.locked();
        let (seen, state) = looks.get(&key(job))?;
        (seen.elapsed() < FRESH).then(|| state.clone())
    }

    /// Keeps what was seen, and no older looks.
    pub(super) fn saw(&self, job: &Job, state: &VideoState) {
        let mut looks = self.locked();
        looks.retain(|_, (seen, _)| seen.elapsed() < FRESH);
        looks.insert(key(job), (Instant::now(), state.clone()));
    }

    /// It is no more.
    pub(super) fn forget(&self, job: &Job) {
        self.locked().remove(&key(job));
    }

    /// A panic of another thread leaves these plain values in order.
    fn locked(&self) -> MutexGuard<'_, HashMap<Key, (Instant, VideoState)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(job: &Job) -> Key {
    [&job.provider, &job.ticket.account, &job.ticket.task].map(String::clone)
}
