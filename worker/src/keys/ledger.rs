//! What was used, gathered here and written to the store in batches: no request waits for it, and a batch that could not be
//! written is tried again until it is, or there are too many.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use crate::store::{Store, Usage, UsageBatch, UsageKey, UsageLine};

/// How often what was gathered is written: so much is lost at most when a worker is killed.
pub const EVERY: Duration = Duration::from_secs(3);
/// Lines of one batch; what comes beyond is in the sums alone.
const MOST_LINES: usize = 5000;
/// Sums of one batch. There are as many as callers, models and outcomes meet in an hour.
const MOST_SUMS: usize = 20_000;
/// Batches that wait while the store is gone: an hour and a half of them, without their lines.
const MOST_BATCHES: usize = 1800;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    gathered: Mutex<Gathered>,
    waiting: Mutex<VecDeque<Arc<UsageBatch>>>,
    /// Requests that are in no sum, as nothing could be written for too long.
    lost: AtomicU64,
}

/// A request costs a place in `lines`, and is added up with its like when the batch is closed.
#[derive(Debug, Default)]
struct Gathered {
    lines: Vec<UsageLine>,
    /// Of those beyond [`MOST_LINES`].
    sums: HashMap<UsageKey, Usage>,
}

impl Ledger {
    /// Takes a request that has ended.
    pub fn add(&self, line: UsageLine) {
        let mut gathered = self.gathered();
        if gathered.lines.len() < MOST_LINES {
            gathered.lines.push(line);
        } else {
            self.sum_up(&mut gathered.sums, line.sum(), line.usage());
        }
    }

    fn sum_up(&self, sums: &mut HashMap<UsageKey, Usage>, key: UsageKey, usage: Usage) {
        // Known sums grow however many there are: only new ones are refused.
        if sums.len() < MOST_SUMS || sums.contains_key(&key) {
            sums.entry(key).or_default().add(usage);
        } else {
            self.lost.fetch_add(usage.requests, Ordering::Relaxed);
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<UsageBatch>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was gathered, and what could not be written before; whether all of it was.
    pub async fn flush(&self, store: &Store) -> bool {
        self.close_batch();
        loop {
            // A copy, since the lock must not be held while the store is asked; it goes out of the list when it is
            // written.
            let Some(batch) = self.waiting().front().cloned() else {
                return true;
            };
            // A batch counts once by its id, so one of whose writing nobody has heard is simply written again.
            if store.add_usage(Arc::clone(&batch)).await.is_err() {
                // The order stays: the oldest is tried first next time as well.
                return false;
            }
            let mut waiting = self.waiting();
            // It may have been pushed out meanwhile, as the oldest of too many.
            if waiting.front().is_some_and(|first| first.id == batch.id) {
                waiting.pop_front();
            }
        }
    }

    fn close_batch(&self) {
        // Taken as a whole, so that requests that end now gather in the next batch.
        let Gathered { lines, mut sums } = std::mem::take(&mut *self.gathered());
        if lines.is_empty() {
            return;
        }
        // Most requests are like the one before, so that few names are copied and looked up.
        let mut run: Option<(UsageKey, Usage)> = None;
        for line in &lines {
            match &mut run {
                Some((key, sum)) if line.is_of(key) => sum.add(line.usage()),
                _ => {
                    if let Some((key, sum)) = run.replace((line.sum(), line.usage())) {
                        self.sum_up(&mut sums, key, sum);
                    }
                }
            }
        }
        if let Some((key, sum)) = run {
            self.sum_up(&mut sums, key, sum);
        }
        let mut waiting = self.waiting();
        if let Some(last) = waiting.back_mut() {
            // While the store is gone only the sums are kept.
            Arc::make_mut(last).lines = Vec::new();
        }
        // The oldest goes: whoever looks at usage looks at today.
        if waiting.len() >= MOST_BATCHES {
            let gone = waiting.pop_front();
            let requests = gone
                .iter()
                .flat_map(|batch: &Arc<UsageBatch>| &batch.sums)
                .map(|(_, usage)| usage.requests)
                .sum();
            self.lost.fetch_add(requests, Ordering::Relaxed);
        }
        waiting.push_back(Arc::new(UsageBatch {
            id: Uuid::new_v4().to_string(),
            sums: sums.into_iter().collect(),
            lines,
        }));
    }

    /// Requests that are in no sum.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::MS_AN_HOUR;

    fn line(request: &str, tokens: u64) -> UsageLine {
        UsageLine {
            request: request.to_owned(),
            at_ms: 5 * MS_AN_HOUR,
            key: "me".into(),
            provider: "qwen".into(),
            model: "m".into(),
            outcome: "ok".into(),
            prompt_tokens: tokens,
            completion_tokens: 1,
            reasoning_tokens: 0,
            first_ms: Some(3),
        }
    }

    #[actix_web::test]
    async fn sums_and_lines_are_written_once() {
        let (store, ledger) = (Store::in_memory().at_leisure(), Ledger::default());
        for tokens in [2, 3] {
            ledger.add(line("a", tokens));
        }
        assert!(ledger.flush(&store).await);
        assert!(ledger.flush(&store).await);
        let sums = store.usage(5, 6).await.unwrap();
        let [(_, usage)] = sums.as_slice() else {
            panic!("{sums:?}")
        };
        assert_eq!(
            (usage.requests, usage.prompt_tokens, usage.with_output),
            (2, 5, 2)
        );
        assert_eq!(store.lines(0, u64::MAX / 2, 9).await.unwrap().len(), 2);
    }

    #[actix_web::test]
    async fn what_is_beyond_the_lines_is_in_the_sums_and_each_in_its_own() {
        let (store, ledger) = (Store::in_memory().at_leisure(), Ledger::default());
        let most = u64::try_from(MOST_LINES).unwrap();
        for n in 0..most + 9 {
            let mut line = line("a", 1);
            if n % 3 == 0 {
                line.outcome = "rate_limit_exceeded".into();
            }
            ledger.add(line);
        }
        assert!(ledger.flush(&store).await);
        let mut requests: Vec<u64> = store
            .usage(5, 6)
            .await
            .unwrap()
            .iter()
            .map(|(_, sum)| sum.requests)
            .collect();
        requests.sort_unstable();
        let thirds = (most + 9).div_ceil(3);
        assert_eq!(requests, [thirds, most + 9 - thirds]);
        assert_eq!(
            store
                .lines(0, u64::MAX / 2, usize::MAX)
                .await
                .unwrap()
                .len(),
            MOST_LINES
        );
        assert_eq!(ledger.lost(), 0);
    }

    #[test]
    fn while_the_store_is_gone_sums_wait_and_are_bounded() {
        let ledger = Ledger::default();
        for _ in 0..MOST_BATCHES + 7 {
            ledger.add(line("a", 1));
            ledger.close_batch();
        }
        let waiting = ledger.waiting();
        assert_eq!(waiting.len(), MOST_BATCHES);
        assert_eq!(ledger.lost(), 7);
        let lines: usize = waiting.iter().map(|batch| batch.lines.len()).sum();
        assert!(lines <= 2, "{lines}");
    }
}
