//! DeepSeekHashV1 of one text, the plain way: SHA3-256 less its first round. Confirms what the search has found.
//! Source: `wire/deepseek.md` section 5.

use super::{
    rounds::{WORDS, permute},
    scalar::Scalar,
};

/// Bytes of a block.
pub(super) const RATE: usize = 136;

/// The hash of a text.
pub fn digest(text: &[u8]) -> [u8; 32] {
    let (blocks, rest) = text.as_chunks::<RATE>();
    let mut state = blocks.iter().fold([0; WORDS], absorb);
    let mut last = [0; RATE];
    for (to, byte) in last.iter_mut().zip(rest) {
        // The whole last block is built once, with the padding at its end.
        *to = *byte;
    }
    pad(&mut last, rest.len());
    state = absorb(state, &last);
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

/// Takes one block into a state.
pub(super) fn absorb(mut state: [u64; WORDS], block: &[u8; RATE]) -> [u64; WORDS] {
    for (word, bytes) in state.iter_mut().zip(block.as_chunks::<8>().0) {
        *word ^= u64::from_le_bytes(*bytes);
    }
    permute(Scalar, state)
}

/// SHA-3's padding of the last block(s) whose text ends at `end`.
pub(super) fn pad(blocks: &mut [u8], end: usize) {
    if let Some(byte) = blocks.get_mut(end) {
        *byte ^= 0x06;
    }
    if let Some(byte) = blocks.last_mut() {
        *byte ^= 0x80;
    }
}
