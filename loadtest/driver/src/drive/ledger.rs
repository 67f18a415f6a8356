//! Which pieces of one answer have come: none may be missing, come twice, or out of turn.

/// The pieces of one answer.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The piece that is due.
    next: u32,
    /// How many there are to be, once a piece has said so.
    total: Option<u32>,
    /// Pieces that were passed over.
    gaps: Vec<u32>,
    /// Pieces passed over that no list remembers any more.
    lost: u64,
    doubled: u64,
    out_of_order: u64,
}

/// What was wrong with an answer, or with many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) missing: u64,
    pub(super) doubled: u64,
    pub(super) out_of_order: u64,
}

/// A gap longer than this is only counted.
const MOST_GAPS: usize = 4096;

impl Ledger {
    /// Writes a piece down; whether it is new.
    pub(super) fn enter(&mut self, number: u32, total: u32) -> bool {
        self.total = Some(total);
        if number < self.next {
            let Some(at) = self.gaps.iter().position(|gap| *gap == number) else {
                self.doubled += 1;
                return false;
            };
            self.gaps.swap_remove(at);
            self.out_of_order += 1;
            return true;
        }
        for gap in self.next..number {
            if self.gaps.len() < MOST_GAPS {
                self.gaps.push(gap);
            } else {
                self.lost += u64::from(number - gap);
                break;
            }
        }
        self.next = number.saturating_add(1);
        true
    }

    /// Whether this is what the last piece was: an event that repeats all has said nothing new.
    pub(super) fn is_last(&self, number: u32) -> bool {
        self.next == number.saturating_add(1)
    }

    /// What was wrong when the answer has ended; `is_cut` when the reader has ended it, so that no tail is missed.
    pub(super) fn faults(&self, is_cut: bool) -> Faults {
        let tail = match self.total {
            Some(total) if !is_cut => u64::from(total.saturating_sub(self.next)),
            _ => 0,
        };
        Faults {
            missing: self.gaps.len() as u64 + self.lost + tail,
            doubled: self.doubled,
            out_of_order: self.out_of_order,
        }
    }
}

impl Faults {
    /// Adds those of another answer.
    pub(super) fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
    }

    pub(super) fn sum(self) -> u64 {
        self.missing + self.doubled + self.out_of_order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(numbers: &[u32], is_cut: bool) -> (u64, u64, u64) {
        let mut ledger = Ledger::default();
        for number in numbers {
            ledger.enter(*number, 5);
        }
        let faults = ledger.faults(is_cut);
        (faults.missing, faults.doubled, faults.out_of_order)
    }

    #[test]
    fn counts_what_is_missing_doubled_and_out_of_turn() {
        assert_eq!(faults(&[0, 1, 2, 3, 4], false), (0, 0, 0));
        assert_eq!(faults(&[0, 1, 3, 4], false), (1, 0, 0));
        assert_eq!(faults(&[1, 2], false), (3, 0, 0));
        assert_eq!(faults(&[0, 1, 1, 2, 3, 4, 4], false), (0, 2, 0));
        assert_eq!(faults(&[0, 2, 1, 3, 4], false), (0, 0, 1));
        assert_eq!(faults(&[0, 2, 1, 1, 3, 4], false), (0, 1, 1));
    }

    #[test]
    fn a_stream_that_was_cut_misses_no_tail_but_its_gaps() {
        assert_eq!(faults(&[0, 1], true), (0, 0, 0));
        assert_eq!(faults(&[0, 2], true), (1, 0, 0));
        assert_eq!(faults(&[], false), (0, 0, 0));
    }

    #[test]
    fn a_huge_gap_is_counted_and_not_remembered() {
        let mut ledger = Ledger::default();
        ledger.enter(1_000_000, 1_000_001);
        assert_eq!(ledger.faults(false).missing, 1_000_000);
        assert!(ledger.gaps.len() <= MOST_GAPS);
    }
}
