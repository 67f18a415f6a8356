//! The proof of work: DeepSeekHashV1 and the search for its nonce, as fast as the machine can. Knows nothing of HTTP.
//! Sources: `wire/deepseek.md` section 5 and `wire/deepseek-pow.md`.
//!
//! - [`digest`]: the hash of one text; `rounds`: the permutation, over any kind of word.
//! - `search`: the loop over the nonces; `target`: what of the last rounds it may leave out.
//! - `scalar`, `x86`: one, four and eight messages at a time; [`Path`] says which.
//! - [`solve_apart`]: the same off the event loop.

mod apart;
mod hash;
mod rounds;
mod scalar;
mod search;
mod target;
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "vector instructions: each block says why this machine has them"
)]
mod x86;

use std::sync::atomic::AtomicBool;

pub use apart::solve_apart;
pub use hash::digest;
use search::Search;

/// What the service wants to be solved.
#[derive(Debug)]
pub struct Challenge(Search);

impl Challenge {
    /// Takes the challenge's fields (section 5). `None`: `challenge` is not 64 hex digits.
    pub fn new(challenge: &str, salt: &str, expire_at: u64, difficulty: u64) -> Option<Self> {
        Some(Self(Search {
            // As the wire page has it (section 5): salt and time are text before the nonce.
            prefix: format!("{salt}_{expire_at}_").into_bytes(),
            target: from_hex(challenge)?,
            difficulty,
        }))
    }
}

/// The ways to search. All give the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Eight nonces at a time.
    Avx512,
    /// Four nonces at a time.
    Avx2,
    /// One nonce at a time, on any machine.
    Scalar,
}

impl Path {
    /// All, the fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Scalar];

    /// Whether this machine can go it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::Avx2::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Scalar => true,
        }
    }
}

/// The first nonce below the difficulty whose hash is the challenge; `None` when there is none or `cancel` was set.
/// Looks at `cancel` every few microseconds.
pub fn solve(challenge: &Challenge, cancel: &AtomicBool) -> Option<u64> {
    // Asked each time: the standard library remembers what it has detected.
    let path = Path::ALL.into_iter().find(|path| path.is_available());
    solve_by(path.unwrap_or(Path::Scalar), challenge, cancel)
}

/// As [`solve`], the given way; where the machine cannot go it, as [`Path::Scalar`].
pub fn solve_by(path: Path, Challenge(search): &Challenge, cancel: &AtomicBool) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    match path {
        Path::Avx512 => {
            if let Some(isa) = x86::Avx512::detect() {
                return isa.search(search, cancel);
            }
        }
        Path::Avx2 => {
            if let Some(isa) = x86::Avx2::detect() {
                return isa.search(search, cancel);
            }
        }
        Path::Scalar => {}
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(isa) = x86::Bmi::detect() {
        return isa.search(search, cancel);
    }
    // Unused on machines without the vector paths.
    let _ = path;
    search::run(scalar::Scalar, search, cancel)
}

/// 64 hex digits of either case (section 5).
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        for digit in pair {
            let digit = u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
            *byte = *byte << 4 | digit;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
