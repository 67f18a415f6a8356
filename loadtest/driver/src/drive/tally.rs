//! What is counted while the load runs.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::ledger::Faults;

/// The longest time that is told from longer ones, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// Times in nanoseconds, to three digits.
#[derive(Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3);
        #[expect(
            clippy::expect_used,
            reason = "the bounds are constants that the library accepts"
        )]
        Self(histogram.expect("bounds"))
    }

    pub(super) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    pub(super) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    fn clear(&mut self) {
        self.0.reset();
    }
}

/// One kind of requests: those of the load, or the held ones.
#[derive(Debug)]
pub(super) struct Group {
    /// Times and amounts are written down only then; what goes wrong always is.
    pub(super) is_measuring: bool,
    /// Requests that have ended in any way, also while nothing is measured.
    pub(super) ended: u64,
    /// Answers that ended well.
    pub(super) requests: u64,
    pub(super) pieces: u64,
    /// From when the request was due to its first piece.
    pub(super) first: Times,
    /// From when a first piece was written to when it was read.
    pub(super) first_delay: Times,
    /// The same of every piece.
    pub(super) piece: Times,
    /// From when the request was due to the end of its answer.
    pub(super) total: Times,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) faults: Faults,
    /// Streams that have had their first piece and are still open.
    pub(super) open: u64,
    second: Second,
    second_piece: Times,
    second_total: Times,
}

/// What happened within one second.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Second {
    pub(super) requests: u64,
    pub(super) pieces: u64,
    pub(super) errors: u64,
    /// Microseconds.
    pub(super) piece_p50: f64,
    pub(super) piece_p99: f64,
    pub(super) total_p50: f64,
    pub(super) total_p99: f64,
}

impl Group {
    pub(super) fn new() -> Self {
        Self {
            is_measuring: false,
            ended: 0,
            requests: 0,
            pieces: 0,
            first: Times::new(),
            first_delay: Times::new(),
            piece: Times::new(),
            total: Times::new(),
            failures: BTreeMap::new(),
            faults: Faults::default(),
            open: 0,
            second: Second::default(),
            second_piece: Times::new(),
            second_total: Times::new(),
        }
    }

    /// A piece was read at `now`, of a request that was due at `due`.
    pub(super) fn piece(&mut self, due: u64, now: u64, is_first: bool, written: Option<u64>) {
        if !self.is_measuring {
            return;
        }
        self.pieces += 1;
        self.second.pieces += 1;
        if is_first {
            self.first.record(now.saturating_sub(due));
        }
        let Some(delay) = written.map(|written| now.saturating_sub(written)) else {
            return;
        };
        self.piece.record(delay);
        self.second_piece.record(delay);
        if is_first {
            self.first_delay.record(delay);
        }
    }

    /// An answer has ended well.
    pub(super) fn answered(&mut self, due: u64, now: u64) {
        self.ended += 1;
        if !self.is_measuring {
            return;
        }
        self.requests += 1;
        self.second.requests += 1;
        self.total.record(now.saturating_sub(due));
        self.second_total.record(now.saturating_sub(due));
    }

    pub(super) fn failed(&mut self, why: String) {
        self.ended += 1;
        *self.failures.entry(why).or_default() += 1;
        self.second.errors += 1;
    }

    /// Everything that went wrong.
    pub(super) fn errors(&self) -> u64 {
        self.failures.values().sum::<u64>() + self.faults.sum()
    }

    /// Ends a second of the time line.
    pub(super) fn tick(&mut self) -> Second {
        let mut second = std::mem::take(&mut self.second);
        let at = |times: &Times, quantile| times.0.value_at_quantile(quantile) as f64 / 1000.0;
        (second.piece_p50, second.piece_p99) =
            (at(&self.second_piece, 0.5), at(&self.second_piece, 0.99));
        (second.total_p50, second.total_p99) =
            (at(&self.second_total, 0.5), at(&self.second_total, 0.99));
        self.second_piece.clear();
        self.second_total.clear();
        second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_only_while_measuring_and_errors_always() {
        let mut group = Group::new();
        group.piece(0, 10, true, Some(5));
        group.failed("refused".to_owned());
        assert_eq!((group.pieces, group.errors()), (0, 1));
        group.is_measuring = true;
        group.piece(1000, 3000, true, Some(2500));
        group.piece(1000, 4000, false, Some(3000));
        group.answered(1000, 5000);
        assert_eq!((group.pieces, group.requests), (2, 1));
        assert_eq!(
            (
                group.first.histogram().max(),
                group.first_delay.histogram().max()
            ),
            (2000, 500)
        );
        assert_eq!((group.ended, group.piece.histogram().len()), (2, 2));
        assert_eq!(group.tick().pieces, 2);
        assert_eq!(group.tick().pieces, 0);
    }
}
