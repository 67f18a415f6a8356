//! One message at a time, on any machine.

use super::rounds::Isa;

/// Plain 64-bit arithmetic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar;

impl Isa for Scalar {
    type Word = u64;
    const LANES: usize = 1;

    #[inline(always)]
    fn splat(self, word: u64) -> u64 {
        word
    }

    #[inline(always)]
    fn load(self, words: [u64; 8]) -> u64 {
        words[0]
    }

    #[inline(always)]
    fn xor(self, a: u64, b: u64) -> u64 {
        a ^ b
    }

    #[inline(always)]
    fn chi(self, a: u64, b: u64, c: u64) -> u64 {
        a ^ (!b & c)
    }

    #[inline(always)]
    fn rol<const LEFT: i32, const RIGHT: i32>(self, a: u64) -> u64 {
        (a << LEFT) | (a >> RIGHT)
    }

    #[inline(always)]
    fn matches(self, word: u64, value: u64, mask: u64) -> u32 {
        u32::from((word ^ value) & mask == 0)
    }
}
