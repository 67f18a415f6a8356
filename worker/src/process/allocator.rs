//! Giving memory back to the system when many streams have ended.
//!
//! The allocator itself is the binary's choice (`main.rs`), so that tests, benches and fuzz targets may have another, as
//! sanitizers do. What is here knows when it has something to give back, and asks it by a function that is handed in.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use crate::app::App;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);
/// So many bytes more than there have to be are worth the walk through the heaps.
const WORTH_IT: u64 = 16 << 20;
/// A difference that means nothing.
const SAME: u64 = 1 << 20;

/// Watches memory and the number of running requests for as long as the process lives, on a thread of its own, and
/// calls `give_back` there whenever it is worth it.
pub fn watch(app: Arc<App>, give_back: fn()) {
    // By its name it is told from the threads that answer (loadtest/driver/bench).
    let thread = thread::Builder::new().name("allocator".to_owned());
    let watching = thread.spawn(move || {
        let Some(least) = resident_bytes() else {
            return;
        };
        let mut watch = Watch::new(least);
        loop {
            thread::sleep(LOOK);
            let running = app.in_flight.load(Ordering::Relaxed);
            // Nothing read is nothing to give back; the next look may read again.
            let resident = resident_bytes().unwrap_or_default();
            if watch.is_worth_it(running, resident) {
                give_back();
                watch.has_given_back(running, resident_bytes().unwrap_or_default());
            }
        }
    });
    if let Err(error) = watching {
        tracing::warn!(%error, "no thread to give memory back to the system from");
    }
}

/// When to give back.
#[derive(Debug)]
struct Watch {
    /// Most requests at once since it was given back.
    peak: usize,
    /// What was left then.
    left: u64,
    /// The least that was ever seen.
    least: u64,
}

impl Watch {
    fn new(resident: u64) -> Self {
        Self {
            peak: 0,
            left: resident,
            least: resident,
        }
    }

    /// Most of the work is over, there is something to get, and something has happened since the last time. A peak may
    /// have come and gone between two looks, so memory alone tells as well.
    fn is_worth_it(&mut self, running: usize, resident: u64) -> bool {
        self.peak = self.peak.max(running);
        self.least = self.least.min(resident);
        // Half: giving back amid the work would only have it fetched again.
        running <= self.peak / 2
            && resident >= self.least + WORTH_IT
            && (running < self.peak || resident > self.left + SAME)
    }

    fn has_given_back(&mut self, running: usize, resident: u64) {
        self.peak = running;
        self.left = resident;
    }
}

/// The process's resident memory, where the system says so.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn knows_its_own_memory() {
        // Other tests of this process take memory and give it back meanwhile; what is held here is there in any case.
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let resident = resident_bytes().unwrap();
        assert!(
            (64 * MIB..64 << 30).contains(&resident),
            "{resident} {}",
            touched.len()
        );
    }

    #[test]
    fn gives_back_once_after_work() {
        let mut watch = Watch::new(40 * MIB);
        assert!(!watch.is_worth_it(0, 40 * MIB), "nothing has happened");
        assert!(!watch.is_worth_it(5000, 240 * MIB), "all run");
        assert!(!watch.is_worth_it(2501, 240 * MIB), "most run");
        assert!(watch.is_worth_it(2500, 240 * MIB));
        watch.has_given_back(2500, 140 * MIB);
        assert!(!watch.is_worth_it(2400, 140 * MIB), "no more has ended");
        assert!(watch.is_worth_it(0, 140 * MIB));
        watch.has_given_back(0, 60 * MIB);
        assert!(!watch.is_worth_it(0, 60 * MIB), "that is all");
        assert!(watch.is_worth_it(0, 90 * MIB), "between two looks");
        watch.has_given_back(0, 50 * MIB);
        assert!(!watch.is_worth_it(0, 55 * MIB), "too little");
    }
}
