//! What one worker remembers by key: bounded in bytes, and what was not asked for for the longest time goes first. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

/// See the module.
#[derive(Debug)]
pub struct Recent<T> {
    most_bytes: usize,
    bytes: usize,
    /// Counts how often anything was looked at.
    clock: u64,
    kept: HashMap<String, Kept<T>>,
    /// Keys by when they were last looked at.
    order: BTreeMap<u64, String>,
}

#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    bytes: usize,
    ends: Instant,
    seen: u64,
}

impl<T> Recent<T> {
    /// Of so many bytes at most.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            bytes: 0,
            clock: 0,
            kept: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// What a key stands for, if it has not ended.
    pub fn find(&mut self, key: &str, now: Instant) -> Option<Arc<T>> {
        let kept = self.kept.get_mut(key)?;
        if kept.ends <= now {
            self.forget(key);
            return None;
        }
        self.clock += 1;
        if let Some(key) = self.order.remove(&kept.seen) {
            self.order.insert(self.clock, key);
        }
        kept.seen = self.clock;
        Some(Arc::clone(&kept.value))
    }

    /// Keeps something of so many bytes, and makes room for it.
    pub fn keep(&mut self, key: &str, value: Arc<T>, bytes: usize, ends: Instant) {
        self.forget(key);
        let bytes = bytes + key.len() * 2;
        if bytes > self.most_bytes {
            return;
        }
        while self.bytes + bytes > self.most_bytes
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.forget(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.order.insert(self.clock, key.to_owned());
        let kept = Kept {
            value,
            bytes,
            ends,
            seen: self.clock,
        };
        self.kept.insert(key.to_owned(), kept);
    }

    /// Takes out what a key stands for.
    pub fn forget(&mut self, key: &str) {
        if let Some(gone) = self.kept.remove(key) {
            self.bytes -= gone.bytes;
            self.order.remove(&gone.seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer() -> Arc<()> {
        Arc::default()
    }

    #[test]
    fn the_longest_unasked_goes_first_and_the_bound_holds() {
        let (mut memory, now) = (Recent::new(1000), Instant::now());
        let later = now + Duration::from_secs(9);
        for key in ["a", "b", "c"] {
            memory.keep(key, answer(), 300, later);
        }
        assert!(memory.find("a", now).is_some());
        memory.keep("d", answer(), 300, later);
        assert!(
            memory.find("b", now).is_none(),
            "nobody has asked for it since"
        );
        for key in ["a", "c", "d"] {
            assert!(memory.find(key, now).is_some(), "{key}");
        }
        memory.keep("huge", answer(), 1001, later);
        assert!(memory.find("huge", now).is_none() && memory.find("a", now).is_some());
        for n in 0..10_000 {
            memory.keep(&n.to_string(), answer(), n % 400, later);
            assert!(memory.bytes <= 1000);
            assert_eq!(memory.kept.len(), memory.order.len());
        }
    }

    #[test]
    fn what_is_kept_anew_counts_once_and_ends() {
        let (mut memory, now) = (Recent::new(1000), Instant::now());
        let later = now + Duration::from_secs(9);
        for _ in 0..9 {
            memory.keep("a", answer(), 400, later);
        }
        memory.keep("b", answer(), 400, now);
        assert!(memory.find("a", now).is_some());
        assert!(memory.find("b", now).is_none() && memory.kept.len() == 1);
        assert!(memory.find("a", later).is_none());
        assert_eq!((memory.bytes, memory.order.len()), (0, 0));
    }
}
