//! When to read on: pieces that rush in are left to gather for a moment, those at a reader's pace never are. Pure: time
//! is handed in.
//!
//! Each piece is a system call to read and one to pass on, and that is most of what it costs. So after some that came in
//! quick succession the next ones may gather, for as long as more keep coming. Short answers and services that write at a
//! reader's pace never wait.
//!
//! ```text
//!           ENOUGH quick reads                a read after a pause counts as quick
//!  reading ────────────────────► gathering ────────────────────────────────────────► gathering …
//!     ▲                              │ a pause that has brought nothing
//!     └──────────────────────────────┘ (and the next read, being late, weighs LATE quick ones)
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// How soon after the one before a read is quick.
const SOON: Duration = Duration::from_millis(1);
/// How long pieces gather; the timer's grain adds up to a millisecond.
const PAUSE: Duration = Duration::from_millis(2);
/// So many quick reads are a rush: more than a short answer has.
const ENOUGH: u8 = 8;
/// What a late read takes from them. One hiccup of the network does not end a rush, two do.
const LATE: u8 = 4;

/// How fast the pieces of one answer come.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many more reads were quick than late, late ones weighing [`LATE`]. `0 <= quick <= ENOUGH`: a long rush is
    /// forgotten as soon as one that has just begun.
    quick: u8,
    /// When a read last found something; `None` before the first one, which counts as late.
    last: Option<Instant>,
    /// When to read again. `Some` only between a read that made or kept it a rush and the next read.
    gathering_until: Option<Instant>,
}

impl Pace {
    /// When to read again; `None`: now.
    pub(super) fn gathering_until(&self) -> Option<Instant> {
        self.gathering_until
    }

    /// All that had arrived by `now` was read, and it was something.
    pub(super) fn has_drained(&mut self, now: Instant) {
        // What came during a pause came quickly, however long the pause was.
        let has_gathered = self.gathering_until.take().is_some();
        let is_soon = |last: Instant| now.saturating_duration_since(last) < SOON;
        self.quick = if has_gathered || self.last.is_some_and(is_soon) {
            (self.quick + 1).min(ENOUGH)
        } else {
            self.quick.saturating_sub(LATE)
        };
        debug_assert!(self.quick <= ENOUGH, "a rush has its measure");
        self.last = Some(now);
        if self.quick == ENOUGH {
            self.gathering_until = Some(now + PAUSE);
        }
    }

    /// There was nothing to read: a pause, if there was one, has been in vain, and the next piece is waited for without.
    pub(super) fn has_found_nothing(&mut self) {
        self.gathering_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service and its reader: pieces come so far apart, and are read as the pace says. How many come with each read.
    fn reads(pieces: u32, apart: Duration) -> Vec<u32> {
        let start = Instant::now();
        let (mut pace, mut reads, mut read) = (Pace::default(), Vec::new(), 0);
        while read < pieces {
            let arrives = start + apart * read;
            let now = pace
                .gathering_until()
                .map_or(arrives, |until| until.max(arrives));
            let arrived = (now - start).as_micros() / apart.as_micros().max(1);
            let arrived = u32::try_from(arrived + 1).unwrap().min(pieces);
            pace.has_drained(now);
            reads.push(arrived - read);
            read = arrived;
        }
        reads
    }

    #[test]
    fn a_short_answer_is_read_piece_by_piece() {
        let reads = reads(u32::from(ENOUGH), Duration::from_micros(1));
        assert_eq!(reads, [1; ENOUGH as usize]);
    }

    #[test]
    fn a_readers_pace_is_never_a_rush() {
        assert_eq!(reads(200, SOON), [1; 200]);
        assert_eq!(reads(200, Duration::from_millis(40)), [1; 200]);
    }

    #[test]
    fn a_rush_gathers_for_a_pause_at_a_time() {
        let reads = reads(1000, Duration::from_micros(100));
        let (first, later) = reads.split_at(usize::from(ENOUGH) + 1);
        assert!(first.iter().all(|&pieces| pieces == 1), "{reads:?}");
        let (last, later) = later.split_last().unwrap();
        assert!(later.iter().all(|&pieces| pieces == 20), "{reads:?}");
        assert!(*last <= 20, "{reads:?}");
    }

    #[test]
    fn a_rush_ends_with_its_pieces() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..50 {
            pace.has_drained(now);
            now = pace
                .gathering_until()
                .unwrap_or(now + Duration::from_micros(10));
        }
        assert!(pace.gathering_until().is_some());
        pace.has_found_nothing();
        assert_eq!(pace.gathering_until(), None);
        // Late twice, and it takes as many quick ones as at the start.
        for _ in 0..2 {
            now += Duration::from_millis(50);
            pace.has_drained(now);
            assert_eq!(pace.gathering_until(), None);
        }
        for _ in 1..ENOUGH {
            now += Duration::from_micros(10);
            pace.has_drained(now);
            assert_eq!(pace.gathering_until(), None);
        }
        now += Duration::from_micros(10);
        pace.has_drained(now);
        assert_eq!(pace.gathering_until(), Some(now + PAUSE));
    }

    #[test]
    fn one_hiccup_does_not_end_a_rush_for_long() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..=ENOUGH {
            pace.has_drained(now);
        }
        assert!(pace.gathering_until().is_some());
        pace.has_found_nothing();
        now += Duration::from_millis(5);
        pace.has_drained(now);
        for _ in 0..LATE {
            assert_eq!(pace.gathering_until(), None);
            pace.has_drained(now);
        }
        assert!(pace.gathering_until().is_some());
    }
}
