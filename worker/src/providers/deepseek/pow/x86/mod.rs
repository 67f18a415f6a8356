//! Four messages at a time with AVX2, eight with AVX-512, and one with BMI: the only module with `unsafe` in it.
//! A token is made by `detect` alone, so whoever holds one runs on a machine that has the instructions.

mod avx512;

use std::{
    arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi64, _mm256_and_si256, _mm256_andnot_si256,
        _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_movemask_pd, _mm256_or_si256,
        _mm256_set_epi8, _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
        _mm512_rol_epi64, _mm512_set_epi64, _mm512_set1_epi64, _mm512_ternarylogic_epi64,
        _mm512_testn_epi64_mask, _mm512_xor_si512,
    },
    sync::atomic::AtomicBool,
};

use super::{
    rounds::{Isa, WORDS},
    scalar::Scalar,
    search::{Search, run},
};

/// This machine has AVX2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

/// This machine has AVX-512F.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

/// This machine has BMI1 and BMI2, which the scalar code gains by: `andn` for chi, `rorx` for the rotations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bmi(());

impl Bmi {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2")).then_some(Self(()))
    }

    pub(super) fn search(self, search: &Search, stop: &AtomicBool) -> Option<u64> {
        #[target_feature(enable = "bmi1,bmi2")]
        fn inner(search: &Search, stop: &AtomicBool) -> Option<u64> {
            run(Scalar, search, stop)
        }
        // SAFETY: `self` exists, so `detect` has seen BMI1 and BMI2.
        unsafe { inner(search, stop) }
    }
}

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    pub(super) fn search(self, search: &Search, stop: &AtomicBool) -> Option<u64> {
        #[target_feature(enable = "avx2")]
        fn inner(isa: Avx2, search: &Search, stop: &AtomicBool) -> Option<u64> {
            run(isa, search, stop)
        }
        // SAFETY: `self` exists, so `detect` has seen AVX2.
        unsafe { inner(self, search, stop) }
    }
}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }

    pub(super) fn search(self, search: &Search, stop: &AtomicBool) -> Option<u64> {
        #[target_feature(enable = "avx512f")]
        fn inner(isa: Avx512, search: &Search, stop: &AtomicBool) -> Option<u64> {
            run(isa, search, stop)
        }
        // SAFETY: `self` exists, so `detect` has seen AVX-512F.
        unsafe { inner(self, search, stop) }
    }
}

impl Isa for Avx2 {
    type Word = __m256i;
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(self, word: u64) -> __m256i {
        // SAFETY: `self` exists, so this machine has AVX2.
        unsafe { _mm256_set1_epi64x(word.cast_signed()) }
    }

    #[inline(always)]
    fn load(self, words: [u64; 8]) -> __m256i {
        let [a, b, c, d, ..] = words.map(u64::cast_signed);
        // SAFETY: `self` exists, so this machine has AVX2.
        unsafe { _mm256_set_epi64x(d, c, b, a) }
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` exists, so this machine has AVX2.
        unsafe { _mm256_xor_si256(a, b) }
    }

    #[inline(always)]
    fn chi(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        // SAFETY: `self` exists, so this machine has AVX2.
        unsafe { _mm256_xor_si256(a, _mm256_andnot_si256(b, c)) }
    }

    /// AVX2 has no rotation: two shifts and an OR. Rotations by whole bytes are one shuffle, and the shift by one is
    /// an addition, which more ports can do.
    #[inline(always)]
    fn rol<const LEFT: i32, const RIGHT: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` exists, so this machine has AVX2.
        unsafe {
            match LEFT {
                1 => _mm256_or_si256(_mm256_add_epi64(a, a), _mm256_srli_epi64::<RIGHT>(a)),
                8 => _mm256_shuffle_epi8(
                    a,
                    _mm256_set_epi8(
                        14, 13, 12, 11, 10, 9, 8, 15, 6, 5, 4, 3, 2, 1, 0, 7, 14, 13, 12, 11, 10,
                        9, 8, 15, 6, 5, 4, 3, 2, 1, 0, 7,
                    ),
                ),
                56 => _mm256_shuffle_epi8(
                    a,
                    _mm256_set_epi8(
                        8, 15, 14, 13, 12, 11, 10, 9, 0, 7, 6, 5, 4, 3, 2, 1, 8, 15, 14, 13, 12,
                        11, 10, 9, 0, 7, 6, 5, 4, 3, 2, 1,
                    ),
                ),
                _ => _mm256_or_si256(_mm256_slli_epi64::<LEFT>(a), _mm256_srli_epi64::<RIGHT>(a)),
            }
        }
    }

    #[inline(always)]
    fn matches(self, word: __m256i, value: u64, mask: u64) -> u32 {
        let difference = self.xor(word, self.splat(value));
        // SAFETY: `self` exists, so this machine has AVX2.
        let lanes = unsafe {
            let masked = _mm256_and_si256(difference, self.splat(mask));
            let equal = _mm256_cmpeq_epi64(masked, _mm256_setzero_si256());
            _mm256_movemask_pd(_mm256_castsi256_pd(equal))
        };
        lanes.cast_unsigned()
    }
}

impl Isa for Avx512 {
    type Word = __m512i;
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(self, word: u64) -> __m512i {
        // SAFETY: `self` exists, so this machine has AVX-512F.
        unsafe { _mm512_set1_epi64(word.cast_signed()) }
    }

    #[inline(always)]
    fn load(self, words: [u64; 8]) -> __m512i {
        let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
        // SAFETY: `self` exists, so this machine has AVX-512F.
        unsafe { _mm512_set_epi64(h, g, f, e, d, c, b, a) }
    }

    #[inline(always)]
    fn xor(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` exists, so this machine has AVX-512F.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn xor3(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        // SAFETY: `self` exists, so this machine has AVX-512F. 0x96 is the truth table of `a ^ b ^ c`.
        unsafe { _mm512_ternarylogic_epi64::<0x96>(a, b, c) }
    }

    #[inline(always)]
    fn chi(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        // SAFETY: `self` exists, so this machine has AVX-512F. 0xD2 is the truth table of `a ^ (!b & c)`.
        unsafe { _mm512_ternarylogic_epi64::<0xD2>(a, b, c) }
    }

    #[inline(always)]
    fn rol<const LEFT: i32, const RIGHT: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: `self` exists, so this machine has AVX-512F.
        unsafe { _mm512_rol_epi64::<LEFT>(a) }
    }

    #[inline(always)]
    fn middle(self, a: [__m512i; WORDS]) -> [__m512i; WORDS] {
        // SAFETY: `self` exists, so this machine has AVX-512F.
        unsafe { avx512::middle_rounds(a) }
    }

    #[inline(always)]
    fn matches(self, word: __m512i, value: u64, mask: u64) -> u32 {
        let difference = self.xor(word, self.splat(value));
        // SAFETY: `self` exists, so this machine has AVX-512F.
        unsafe { _mm512_testn_epi64_mask(difference, self.splat(mask)) }.into()
    }
}
