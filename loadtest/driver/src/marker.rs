//! The mark that every piece of a load answer carries: which piece it is, of how many, and when it was written.
//!
//! `~17:64@81234567890123;` stands for piece 17 of 64 (counted from 0), written when this machine's monotonic clock
//! showed so many nanoseconds. It has no character that JSON escapes, so that it passes any gateway byte for byte.

use std::io::Write;

use rustix::time::{ClockId, clock_gettime};

/// Opens a marker; stands nowhere else in a load answer.
const OPENING: u8 = b'~';
/// The longest marker: two 32-bit and one 64-bit number, and the signs between them.
const LONGEST: usize = 44;
/// What a piece is filled up with: words, so that a gateway that counts tokens meets ordinary text.
const FILLER: &[u8] = b"the quick brown fox jumps over a lazy dog and then ";

/// What a piece says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Which piece, counted from 0.
    pub number: u32,
    /// How many pieces the answer has.
    pub total: u32,
    /// When it was written, as [`now`].
    pub written_ns: u64,
}

/// `CLOCK_MONOTONIC` in nanoseconds: the same for every process of this machine.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // The clock counts from the start of the machine, so neither part is ever negative.
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

impl Marker {
    /// Appends the marker, filled up to `size` bytes.
    pub fn write(&self, size: usize, out: &mut Vec<u8>) {
        let start = out.len();
        // Writing to a `Vec` cannot fail.
        let _ = write!(out, "~{}:{}@{};", self.number, self.total, self.written_ns);
        let mut missing = size.saturating_sub(out.len() - start);
        while missing > 0 {
            let part = FILLER.get(..missing).unwrap_or(FILLER);
            out.extend_from_slice(part);
            missing -= part.len();
        }
    }

    /// The markers of a text, in its order.
    pub fn all(text: &[u8]) -> impl Iterator<Item = Self> + '_ {
        memchr::memchr_iter(OPENING, text).filter_map(|at| Self::read(text.get(at + 1..)?))
    }

    /// The last marker of a text that repeats all before it.
    pub fn last(text: &[u8]) -> Option<Self> {
        memchr::memrchr_iter(OPENING, text).find_map(|at| Self::read(text.get(at + 1..)?))
    }

    fn read(text: &[u8]) -> Option<Self> {
        let text = text.get(..LONGEST.min(text.len()))?;
        let (number, rest) = digits(text)?;
        let (total, rest) = digits(rest.strip_prefix(b":")?)?;
        let (written_ns, rest) = digits(rest.strip_prefix(b"@")?)?;
        rest.first().filter(|end| **end == b';')?;
        Some(Self {
            number: u32::try_from(number).ok()?,
            total: u32::try_from(total).ok()?,
            written_ns,
        })
    }
}

/// The number at the beginning, and what follows it.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(number: u32) -> Marker {
        Marker {
            number,
            total: 3,
            written_ns: 81_234_567_890_123,
        }
    }

    #[test]
    fn is_read_as_it_was_written() {
        let mut text = b"{\"content\":\"".to_vec();
        for number in 0..3 {
            marker(number).write(0, &mut text);
        }
        assert_eq!(
            Marker::all(&text).collect::<Vec<_>>(),
            [0, 1, 2].map(marker)
        );
        assert_eq!(Marker::last(&text), Some(marker(2)));
    }

    #[test]
    fn fills_up_to_the_size_and_no_further() {
        for size in [0, 19, 20, 21, 100, 100_000] {
            let mut text = Vec::new();
            marker(1).write(size, &mut text);
            assert_eq!(text.len(), size.max(20));
            assert_eq!(Marker::all(&text).count(), 1);
        }
    }

    #[test]
    fn what_is_cut_off_is_no_marker() {
        let mut text = Vec::new();
        marker(1).write(0, &mut text);
        for end in 0..text.len() {
            assert_eq!(Marker::last(&text[..end]), None, "{end}");
        }
    }
}
