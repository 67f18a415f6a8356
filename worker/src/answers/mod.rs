//! Answers that may be given again (`CACHE_TTL`, off by default): to the same caller, for the same question in every point that
//! shapes an answer, for as long as the owner says. Source: issue "What a cluster must know together", item 7.
//!
//! ```text
//!   request ──► key ──► Answers::find ──► said again, event by event, in whatever voice it was asked for
//!                         │  in memory, else in the store (50 ms at most), sealed
//!                         └─► nobody knows it: a Recorder hears the provider's answer, and keeps it if it is a whole one
//! ```
//!
//! What is kept are the events of an answer, before any door has said them: so streamed and whole answers and all dialects
//! share it. Not kept is what may be better the next time: failures, answers that were cut off or moderated, those with
//! pictures or videos, whose addresses end, and those of which a decoder did not know a part.

mod event;
mod key;
mod recorder;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use key::{Asker, may_repeat};
pub use recorder::Recorder;

use self::event::Said;
use crate::{
    chat::ChatEvent,
    providers::Served,
    recent::Recent,
    settings::Settings,
    store::{Expect, Put, Space, Store, Vault, now_ms},
};

/// What the provider of a repeated answer is called in metrics, logs and usage: whoever gave it first has done nothing now.
pub const PROVIDER: &str = "cache";
/// Largest answer that is kept, as it lies in memory, about. Nearly all are smaller than a tenth of it.
const MOST_BYTES: usize = 256 << 10;
/// What waits for the store at once; what comes beyond is kept in this worker's memory alone.
const MOST_WRITING: usize = 8 << 20;

/// An answer that was given.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    provider: Option<String>,
    model: Option<String>,
    events: Vec<Said>,
}

impl Answer {
    /// Who gave it.
    pub fn given_by(&self) -> Served {
        let shared = |name: &Option<String>| name.as_deref().map(Arc::from);
        Served {
            provider: shared(&self.provider),
            account: None,
            model: shared(&self.model),
            is_continued: false,
        }
    }

    /// Its events, in order.
    pub fn events(&self) -> Vec<ChatEvent> {
        self.events.iter().cloned().map(ChatEvent::from).collect()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Answers {
    /// How long an answer may be repeated; `None`: none is.
    lasts: Option<Duration>,
    vault: Vault,
    store: Store,
    memory: Mutex<Recent<Answer>>,
    /// Bytes on their way to the store.
    writing: AtomicUsize,
}

impl Answers {
    /// As the settings want it.
    pub fn new(settings: &Settings, store: Store) -> Arc<Self> {
        Arc::new(Self {
            lasts: settings.store.cache_ttl,
            vault: Vault::of(settings),
            store,
            memory: Mutex::new(Recent::new(settings.store.cache_memory_bytes)),
            writing: AtomicUsize::new(0),
        })
    }

    /// Whether any answer is repeated.
    pub fn are_kept(&self) -> bool {
        self.lasts.is_some()
    }

    fn memory(&self) -> MutexGuard<'_, Recent<Answer>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a question: this worker's own, else what any worker of the cluster has put into the store.
    pub async fn find(&self, key: &str) -> Option<Arc<Answer>> {
        let lasts = self.lasts?;
        if let Some(answer) = self.memory().find(key, Instant::now()) {
            return Some(answer);
        }
        let entry = self.store.get(Space::Answers, key).await.ok()??;
        let value = self.vault.open(Space::Answers, key, &entry.value)?;
        // What another version wrote is none.
        let Stored { answer, ends_ms } = serde_json::from_slice(&value).ok()?;
        // Whoever wrote it may have been told to keep it for longer.
        let left = Duration::from_millis(ends_ms.saturating_sub(now_ms())).min(lasts);
        let answer = Arc::new(answer);
        self.memory()
            .keep(key, Arc::clone(&answer), value.len(), Instant::now() + left);
        Some(answer)
    }

    /// Keeps an answer, here at once and in the store soon; nobody waits for it.
    fn keep(self: &Arc<Self>, key: String, answer: Answer) {
        let Some(lasts) = self.lasts else { return };
        let ends_ms = now_ms().saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        let stored = Stored { answer, ends_ms };
        let Ok(value) = serde_json::to_vec(&stored) else {
            return;
        };
        let answer = Arc::new(stored.answer);
        self.memory()
            .keep(&key, answer, value.len(), Instant::now() + lasts);
        let bytes = value.len();
        if self.writing.fetch_add(bytes, Ordering::Relaxed) > MOST_WRITING {
            self.writing.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        let answers = Arc::clone(self);
        actix_web::rt::spawn(async move {
            let value = answers.vault.seal(Space::Answers, &key, &value);
            if !value.is_empty() {
                let put = Put {
                    space: Space::Answers,
                    key,
                    value,
                    ends_ms: Some(ends_ms),
                    expect: Expect::Anything,
                    under: None,
                };
                // Where it fails this worker's memory has it all the same.
                let _ = answers.store.at_leisure().put(put).await;
            }
            answers.writing.fetch_sub(bytes, Ordering::Relaxed);
        });
    }
}

/// What is sealed in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    answer: Answer,
    /// When it ends, for the memories of those who read it.
    ends_ms: u64,
}

#[cfg(test)]
mod tests;
