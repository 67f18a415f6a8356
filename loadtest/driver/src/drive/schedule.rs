//! When the requests of an open loop are due.

use std::cell::Cell;

/// Requests at fixed distances, whoever sends them.
#[derive(Debug)]
pub(super) struct Schedule {
    start: u64,
    rate: f64,
    next: Cell<u64>,
}

impl Schedule {
    /// `rate` requests a second from `start` on, which is in nanoseconds of the monotonic clock.
    pub(super) fn new(start: u64, rate: f64) -> Self {
        Self {
            start,
            rate,
            next: Cell::new(0),
        }
    }

    /// When the next request is due; each is handed out once.
    pub(super) fn next(&self) -> u64 {
        let slot = self.next.get();
        self.next.set(slot + 1);
        self.start + (slot as f64 / self.rate * 1e9) as u64
    }
}

/// From when on the time of a request counts that was `due`, could be sent from `free` on, and is sent `now`.
///
/// While all connections are busy the requests of an open loop wait, and that is the gateway's doing: such a wait counts.
/// When a connection was waiting for the due time, any lateness comes from our own timer, and does not.
pub(super) fn counts_from(due: u64, free: u64, now: u64) -> u64 {
    if free > due { due } else { now.max(due) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_fixed_distances() {
        let schedule = Schedule::new(1000, 4.0);
        assert_eq!(
            [(); 3].map(|()| schedule.next()),
            [1000, 250_001_000, 500_001_000]
        );
    }

    #[test]
    fn lateness_counts_when_the_gateway_was_busy_and_not_when_we_overslept() {
        assert_eq!(
            counts_from(100, 500, 501),
            100,
            "no connection was free: 401 ns of waiting count"
        );
        assert_eq!(counts_from(100, 50, 130), 130, "the timer came 30 ns late");
        assert_eq!(counts_from(100, 50, 90), 100, "the timer came early");
    }
}
