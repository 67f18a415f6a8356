//! Keccak-p\[1600\] over any kind of word: one `u64`, or a vector of four or eight of them, one message a lane. Written
//! once and instantiated by [`super::scalar`] and `super::x86`, so that all paths compute the same by construction.
//! Sources: FIPS 202 section 3.2; `wire/deepseek.md` section 5; operation counts in `wire/deepseek-pow.md`.

use std::ops::Range;

use crate::impossible::OrImpossible as _;

/// The words of a state; index `x + 5 * y`.
pub(super) const WORDS: usize = 25;

/// Iota's constants. DeepSeekHashV1 runs the rounds 1 to 23 and leaves out round 0 (section 5).
pub(super) const RC: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808A,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808B,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008A,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000A,
    0x0000_0000_8000_808B,
    0x8000_0000_0000_008B,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800A,
    0x8000_0000_8000_000A,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// The first round that runs.
pub(super) const FIRST: usize = 1;
/// The last round.
pub(super) const LAST: usize = 23;
/// The rounds that the search has no short cut for.
pub(super) const MIDDLE: Range<usize> = FIRST + 1..LAST - 1;

/// What Keccak needs of a machine. A value of an `Isa` is the proof that this machine has it.
pub(super) trait Isa: Copy {
    /// One 64-bit word of each message.
    type Word: Copy;
    /// Messages at a time.
    const LANES: usize;

    /// The same word for all messages.
    fn splat(self, word: u64) -> Self::Word;
    /// A word for each message; only the first [`Isa::LANES`] are read.
    fn load(self, words: [u64; 8]) -> Self::Word;
    /// `a ^ b`.
    fn xor(self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// `a ^ b ^ c`.
    #[inline(always)]
    fn xor3(self, a: Self::Word, b: Self::Word, c: Self::Word) -> Self::Word {
        self.xor(self.xor(a, b), c)
    }
    /// `a ^ (!b & c)`.
    fn chi(self, a: Self::Word, b: Self::Word, c: Self::Word) -> Self::Word;
    /// Rotates left by `LEFT`; `RIGHT` is `64 - LEFT`, which Rust's generics cannot compute.
    fn rol<const LEFT: i32, const RIGHT: i32>(self, a: Self::Word) -> Self::Word;
    /// The rounds of [`MIDDLE`].
    #[inline(always)]
    fn middle(self, a: [Self::Word; WORDS]) -> [Self::Word; WORDS] {
        rounds(self, a, MIDDLE)
    }
    /// A bit for each message whose `word` equals `value` in the bits of `mask`.
    fn matches(self, word: Self::Word, value: u64, mask: u64) -> u32;
}

/// The parity of a column.
#[inline(always)]
fn parity<I: Isa>(isa: I, a: &[I::Word; WORDS], x: usize) -> I::Word {
    isa.xor3(isa.xor3(a[x], a[x + 5], a[x + 10]), a[x + 15], a[x + 20])
}

/// What theta adds to a column: the parities of the columns to its left and right.
#[inline(always)]
fn change<I: Isa>(isa: I, left: I::Word, right: I::Word) -> I::Word {
    isa.xor(left, isa.rol::<1, 63>(right))
}

/// The linear half of a round: theta, rho and pi.
///
/// Plain functions and macros rather than closures, here and below: a closure is not always inlined, and outside of
/// a function that has the machine's features its vector operations become calls.
#[inline(always)]
pub(super) fn linear<I: Isa>(isa: I, a: &[I::Word; WORDS]) -> [I::Word; WORDS] {
    let c0 = parity(isa, a, 0);
    let c1 = parity(isa, a, 1);
    let c2 = parity(isa, a, 2);
    let c3 = parity(isa, a, 3);
    let c4 = parity(isa, a, 4);
    let d = [
        change(isa, c4, c1),
        change(isa, c0, c2),
        change(isa, c1, c3),
        change(isa, c2, c4),
        change(isa, c3, c0),
    ];
    macro_rules! theta {
        ($at:literal) => {
            isa.xor(a[$at], d[$at % 5])
        };
    }
    [
        theta!(0),
        isa.rol::<44, 20>(theta!(6)),
        isa.rol::<43, 21>(theta!(12)),
        isa.rol::<21, 43>(theta!(18)),
        isa.rol::<14, 50>(theta!(24)),
        isa.rol::<28, 36>(theta!(3)),
        isa.rol::<20, 44>(theta!(9)),
        isa.rol::<3, 61>(theta!(10)),
        isa.rol::<45, 19>(theta!(16)),
        isa.rol::<61, 3>(theta!(22)),
        isa.rol::<1, 63>(theta!(1)),
        isa.rol::<6, 58>(theta!(7)),
        isa.rol::<25, 39>(theta!(13)),
        isa.rol::<8, 56>(theta!(19)),
        isa.rol::<18, 46>(theta!(20)),
        isa.rol::<27, 37>(theta!(4)),
        isa.rol::<36, 28>(theta!(5)),
        isa.rol::<10, 54>(theta!(11)),
        isa.rol::<15, 49>(theta!(17)),
        isa.rol::<56, 8>(theta!(23)),
        isa.rol::<62, 2>(theta!(2)),
        isa.rol::<55, 9>(theta!(8)),
        isa.rol::<39, 25>(theta!(14)),
        isa.rol::<41, 23>(theta!(15)),
        isa.rol::<2, 62>(theta!(21)),
    ]
}

/// A word of chi's result.
#[inline(always)]
fn chi_word<I: Isa>(isa: I, b: &[I::Word; WORDS], at: usize) -> I::Word {
    let (row, x) = (at - at % 5, at % 5);
    isa.chi(b[at], b[row + (x + 1) % 5], b[row + (x + 2) % 5])
}

/// The other half: chi and iota.
#[inline(always)]
pub(super) fn chi<I: Isa>(isa: I, b: &[I::Word; WORDS], rc: u64) -> [I::Word; WORDS] {
    [
        isa.xor(chi_word(isa, b, 0), isa.splat(rc)),
        chi_word(isa, b, 1),
        chi_word(isa, b, 2),
        chi_word(isa, b, 3),
        chi_word(isa, b, 4),
        chi_word(isa, b, 5),
        chi_word(isa, b, 6),
        chi_word(isa, b, 7),
        chi_word(isa, b, 8),
        chi_word(isa, b, 9),
        chi_word(isa, b, 10),
        chi_word(isa, b, 11),
        chi_word(isa, b, 12),
        chi_word(isa, b, 13),
        chi_word(isa, b, 14),
        chi_word(isa, b, 15),
        chi_word(isa, b, 16),
        chi_word(isa, b, 17),
        chi_word(isa, b, 18),
        chi_word(isa, b, 19),
        chi_word(isa, b, 20),
        chi_word(isa, b, 21),
        chi_word(isa, b, 22),
        chi_word(isa, b, 23),
        chi_word(isa, b, 24),
    ]
}

/// Some rounds.
#[inline(always)]
pub(super) fn rounds<I: Isa>(
    isa: I,
    mut a: [I::Word; WORDS],
    which: Range<usize>,
) -> [I::Word; WORDS] {
    for &rc in RC
        .get(which)
        .or_impossible("nobody asks for rounds that Keccak has not")
    {
        a = chi(isa, &linear(isa, &a), rc);
    }
    a
}

/// All rounds of DeepSeekHashV1.
#[inline(always)]
pub(super) fn permute<I: Isa>(isa: I, a: [I::Word; WORDS]) -> [I::Word; WORDS] {
    rounds(isa, a, FIRST..LAST + 1)
}

/// From the state before the last two rounds, the first word before the last chi, less the second-last iota (which
/// touches this word alone, so whoever compares takes it into account). Of the second-last round's result this needs
/// the columns 1 and 4 and the first word: 11 of 25 words, and then a single rotation.
#[inline(always)]
pub(super) fn first_before_last_chi<I: Isa>(isa: I, a: &[I::Word; WORDS]) -> I::Word {
    let b = linear(isa, a);
    let [a1, a4, b1, b4, c1, c4, d1, d4, e1, e4] = [
        chi_word(isa, &b, 1),
        chi_word(isa, &b, 4),
        chi_word(isa, &b, 6),
        chi_word(isa, &b, 9),
        chi_word(isa, &b, 11),
        chi_word(isa, &b, 14),
        chi_word(isa, &b, 16),
        chi_word(isa, &b, 19),
        chi_word(isa, &b, 21),
        chi_word(isa, &b, 24),
    ];
    let one = isa.xor3(isa.xor3(a1, b1, c1), d1, e1);
    let four = isa.xor3(isa.xor3(a4, b4, c4), d4, e4);
    isa.xor3(chi_word(isa, &b, 0), four, isa.rol::<1, 63>(one))
}
