//! The search, once for all kinds of words. Ten nonces that differ in the last digit share the linear half of their
//! first round, and the last two rounds are cut down to what the target can be tested by.
//! Source: `wire/deepseek-pow.md`, "Theoretical limit", tricks (a) and (b).

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    hash::{self, RATE},
    rounds::{self, FIRST, Isa, MIDDLE, RC, WORDS},
    scalar::Scalar,
    target::{Filter, filter},
};

use crate::impossible::OrImpossible as _;

/// Digits of the largest nonce.
const MOST_DIGITS: usize = 20;
/// Words of a block.
const BLOCK_WORDS: usize = RATE / 8;
/// Words that the digits of a nonce can lie in.
const DIGIT_WORDS: usize = MOST_DIGITS / 8 + 2;

/// What to look for.
#[derive(Debug)]
pub(super) struct Search {
    /// The text before the nonce.
    pub(super) prefix: Vec<u8>,
    /// Its hash together with the nonce.
    pub(super) target: [u8; 32],
    /// Nonces to try: 0 up to this one, exclusive.
    pub(super) difficulty: u64,
}

impl Search {
    /// Whether this is the nonce. Also refuses what lies beyond the bound, as a batch may.
    fn confirms(&self, nonce: u64) -> bool {
        nonce < self.difficulty
            && hash::digest(&[&self.prefix, nonce.to_string().as_bytes()].concat()) == self.target
    }

    fn confirmed(&self, lanes: u32, nonce: impl Fn(u64) -> u64) -> Option<u64> {
        (0..32)
            .filter(|lane| lanes >> lane & 1 == 1)
            .map(nonce)
            .find(|&nonce| self.confirms(nonce))
    }
}

/// Tries all nonces; `None` when there is no answer, or `stop` was set.
#[inline(always)]
pub(super) fn run<I: Isa>(isa: I, search: &Search, stop: &AtomicBool) -> Option<u64> {
    let filter = filter(&search.target);
    for digits in 1..=MOST_DIGITS {
        // Beyond 10^19 the difficulty ends the loop, so `None` here is no nonce either.
        let power = |exponent: usize| 10_u64.checked_pow(u32::try_from(exponent).ok()?);
        let first = if digits == 1 { 0 } else { power(digits - 1)? };
        // The last decade is cut to the difficulty; the others are whole.
        let end = power(digits).map_or(search.difficulty, |end| end.min(search.difficulty));
        if first >= end {
            break;
        }
        // Digits of one length at a time: the text is built for them once.
        let text = Text::new(&search.prefix, digits, first);
        let found = if text.is_one_block {
            in_one_block(isa, search, filter, text, first..end, stop)
        } else {
            in_two_blocks(isa, search, filter, text, first..end, stop)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The usual case: all that differs lies in the last block.
#[inline(always)]
fn in_one_block<I: Isa>(
    isa: I,
    search: &Search,
    filter: Filter,
    mut text: Text,
    nonces: Range<u64>,
    stop: &AtomicBool,
) -> Option<u64> {
    let last_digit = text.digits.end - 1;
    let table = last_digit_table(last_digit);
    let words = text.digits.start / 8..last_digit / 8 + 1;
    let mut state = [isa.splat(0); WORDS];
    for (at, word) in state.iter_mut().enumerate() {
        *word = isa.splat(text.state[at] ^ text.word(at));
    }
    // In tens: the last digit is what the table below varies.
    let tens = nonces.start / 10..nonces.end.div_ceil(10);
    for ten in tens.step_by(I::LANES) {
        // A stop is looked at once a batch, which is every few microseconds.
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let mut lanes = [[0; DIGIT_WORDS]; 8];
        for lane in lanes.iter_mut().take(I::LANES) {
            for (word, at) in lane.iter_mut().zip(words.clone()) {
                *word = text.state[at] ^ text.word(at);
            }
            // Counted up as text: dividing a number per lane would cost more.
            text.increment(1);
        }
        for (word, at) in words.clone().enumerate() {
            state[at] = isa.load(lanes.map(|lane| lane[word]));
        }
        let base = rounds::linear(isa, &state);
        for (digit, change) in (0..).zip(&table) {
            // The linear half is shared by the ten (trick a); only the last digit's change is added.
            let mut b = base;
            for (word, change) in b.iter_mut().zip(change) {
                *word = isa.xor(*word, isa.splat(*change));
            }
            // From chi on: the linear half has run, and `FIRST`'s is the one that was shared.
            let a = isa.middle(rounds::chi(isa, &b, RC[FIRST]));
            // A hit is a hint: the filter knows 48 of 64 bits on average.
            let hits = isa.matches(
                rounds::first_before_last_chi(isa, &a),
                filter.value,
                filter.mask,
            );
            if hits != 0
                && let Some(nonce) = search.confirmed(hits, |lane| (ten + lane) * 10 + digit)
            {
                return Some(nonce);
            }
        }
    }
    None
}

/// The nonce crosses the end of a block, or leaves no room for the padding: two blocks a nonce, without the tricks of
/// the first round.
#[inline(always)]
fn in_two_blocks<I: Isa>(
    isa: I,
    search: &Search,
    filter: Filter,
    mut text: Text,
    nonces: Range<u64>,
    stop: &AtomicBool,
) -> Option<u64> {
    // Rare: the prefix fills a block to within the nonce's own digits.
    for nonce in nonces.step_by(I::LANES) {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let mut lanes = [[0; 2 * BLOCK_WORDS]; 8];
        for lane in lanes.iter_mut().take(I::LANES) {
            for (at, word) in lane.iter_mut().enumerate() {
                *word = text.word(at);
            }
            text.increment(0);
        }
        let mut a = [isa.splat(0); WORDS];
        for (word, state) in a.iter_mut().zip(text.state) {
            *word = isa.splat(state);
        }
        for (at, word) in a.iter_mut().take(BLOCK_WORDS).enumerate() {
            *word = isa.xor(*word, isa.load(lanes.map(|lane| lane[at])));
        }
        a = rounds::permute(isa, a);
        for (at, word) in a.iter_mut().take(BLOCK_WORDS).enumerate() {
            *word = isa.xor(*word, isa.load(lanes.map(|lane| lane[BLOCK_WORDS + at])));
        }
        a = isa.middle(rounds::rounds(isa, a, FIRST..MIDDLE.start));
        let hits = isa.matches(
            rounds::first_before_last_chi(isa, &a),
            filter.value,
            filter.mask,
        );
        if hits != 0
            && let Some(nonce) = search.confirmed(hits, |lane| nonce + lane)
        {
            return Some(nonce);
        }
    }
    None
}

/// For each last digit, how it changes the state after the first round's linear half against a last digit of 0.
fn last_digit_table(at: usize) -> [[u64; WORDS]; 10] {
    let mut table = [[0; WORDS]; 10];
    for (digit, change) in (0_u64..).zip(&mut table) {
        let mut delta = [0; WORDS];
        // '0' is 0x30, so a digit's bits are just added to it.
        delta[at / 8] = digit << (at % 8 * 8);
        *change = rounds::linear(Scalar, &delta);
    }
    table
}

/// The end of the hashed text, padded, with a nonce in it that counts up in decimal.
#[derive(Debug)]
pub(super) struct Text {
    /// The state after the prefix's whole blocks.
    state: [u64; WORDS],
    bytes: [u8; 2 * RATE],
    digits: Range<usize>,
    is_one_block: bool,
}

impl Text {
    pub(super) fn new(prefix: &[u8], digits: usize, nonce: u64) -> Self {
        let (blocks, rest) = prefix.as_chunks::<RATE>();
        let digits = rest.len()..rest.len() + digits;
        let is_one_block = digits.end < RATE;
        let mut bytes = [0; 2 * RATE];
        let nonce = nonce.to_string();
        for (to, byte) in bytes.iter_mut().zip(rest.iter().chain(nonce.as_bytes())) {
            *to = *byte;
        }
        let size = if is_one_block { RATE } else { 2 * RATE };
        hash::pad(
            bytes
                .get_mut(..size)
                .or_impossible("the array holds two blocks"),
            digits.end,
        );
        Self {
            state: blocks.iter().fold([0; WORDS], hash::absorb),
            bytes,
            digits,
            is_one_block,
        }
    }

    /// A word of the block(s); beyond a block's words the state takes nothing in.
    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        if self.is_one_block && at >= BLOCK_WORDS {
            return 0;
        }
        let bytes = self.bytes.as_chunks::<8>().0.get(at);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Counts up by one at the digit that has `behind` digits behind it. Counts from all nines to all zeros.
    #[inline(always)]
    pub(super) fn increment(&mut self, behind: usize) {
        let digits = self
            .bytes
            .get_mut(self.digits.start..self.digits.end - behind);
        for digit in digits
            .or_impossible(
                "the digits lie within the bytes, and fewer stand behind one than there are",
            )
            .iter_mut()
            .rev()
        {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }

    /// The nonce as it stands there.
    #[cfg(test)]
    pub(super) fn nonce(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.digits.clone()]).unwrap()
    }
}
