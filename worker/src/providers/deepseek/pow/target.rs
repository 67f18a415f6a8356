//! What a digest tells about the last round's input, so that the search need not finish it.
//! Source: `wire/deepseek-pow.md`, trick (b).

use super::rounds::{LAST, RC};

use crate::impossible::OrImpossible as _;

/// The bits that the first word must have before the last chi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// The bits themselves, in the places that `mask` names.
    pub(super) value: u64,
    /// Which bits are known: 48 of 64 on average.
    pub(super) mask: u64,
}

/// Undoes chi of the first row, bit by bit. The digest is four of the row's five words; where the missing fifth makes
/// no difference to the first word before chi, that word's bit is known.
pub(super) fn filter(digest: &[u8; 32]) -> Filter {
    // Four words: the digest is the first row but its last word.
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(digest.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    // Iota of the last round is undone first, as it touches this word alone.
    words[0] ^= RC[LAST];
    let mut filter = Filter { value: 0, mask: 0 };
    for bit in 0..64 {
        let known = (0..4).fold(0, |row, x| row | ((words[x] >> bit & 1) << x));
        // Both values of the missing bit: where they agree, it does not matter.
        let (zero, one) = (undo_chi(known), undo_chi(known | 0x10));
        if (zero ^ one) & 1 == 0 {
            filter.value |= (zero & 1) << bit;
            filter.mask |= 1 << bit;
        }
    }
    // The search leaves out iota of the second-last round, which touches this word alone.
    filter.value ^= RC[LAST - 1] & filter.mask;
    filter
}

/// The five bits that chi makes into `row`; chi is a permutation of the 32 rows.
fn undo_chi(row: u64) -> u64 {
    let bit = |of: u64, x: u64| of >> (x % 5) & 1;
    let chi = |of: u64| {
        (0..5).fold(0, |row, x| {
            row | (bit(of, x) ^ (bit(of, x + 1) ^ 1) & bit(of, x + 2)) << x
        })
    };
    (0..32)
        .find(|&of| chi(of) == row)
        .or_impossible("chi permutes the rows")
}
