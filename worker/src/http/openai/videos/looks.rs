//! The last looks of this worker at videos, for a second (at what is there, for some minutes): a client may ask as often as it likes, and the service is asked as
//! often as it likes. Nothing depends on what is in here: who finds nothing asks.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::job::Job;
use crate::chat::media::{VideoState, VideoStatus};

/// How long a look serves for others (wire/zhipu.md section 4.4: once a second at the most).
pub(super) const FRESH: Duration = Duration::from_millis(1100);

/// How long what is there is taken to be where it was: its file is asked for in many parts.
const KEPT: Duration = Duration::from_secs(300);

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

    /// The video as it was when it was there, a few minutes ago at most.
    pub(super) fn finished(&self, job: &Job) -> Option<VideoState> {
        let looks = self.locked();
        let (_, state) = looks.get(&key(job))?;
        (state.status == VideoStatus::Completed).then(|| state.clone())
    }

    /// Keeps what was seen, and no older looks but those at what is there.
    pub(super) fn saw(&self, job: &Job, state: &VideoState) {
        let mut looks = self.locked();
        looks.retain(|_, (seen, state)| {
            let is_there = state.status == VideoStatus::Completed;
            // As often as one is kept, so the map is no longer than what was seen within the last minutes.
            seen.elapsed() < if is_there { KEPT } else { FRESH }
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::media::{Place, Ticket};

    fn job(task: &str) -> Job {
        Job {
            provider: "p".to_owned(),
            ticket: Ticket {
                account: "a".to_owned(),
                model: "m".to_owned(),
                task: task.to_owned(),
            },
            model: "m".to_owned(),
            created: 0,
            millis: 0,
            seconds: None,
            size: None,
        }
    }

    #[test]
    fn a_look_serves_its_own_video_until_it_is_forgotten() {
        let (looks, one, other) = (Looks::default(), job("1"), job("2"));
        looks.saw(&one, &VideoState::running(VideoStatus::InProgress, 5));
        assert_eq!(looks.last(&one).unwrap().progress, 5);
        assert!(looks.last(&other).is_none() && looks.finished(&one).is_none());
        looks.saw(&one, &VideoState::completed(Place::Bytes("x".into())));
        assert!(looks.finished(&one).is_some());
        looks.forget(&one);
        assert!(looks.last(&one).is_none() && looks.finished(&one).is_none());
    }
}
