//! `cargo bench -p hive2api-worker --bench pow`: full searches of 144,000 nonces on one thread, each path beside the
//! plain solver on the `keccak` crate. The rounds are interleaved, so that a noisy machine disturbs all alike; ratios
//! are taken within a round. Source of task and targets: `wire/deepseek-pow.md`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and may stop"
)]

use std::{
    hint::black_box,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use hive2api_worker::providers::deepseek::pow::{Challenge, Path, digest, solve_by};

const NONCES: u64 = 144_000;
const ROUNDS: u64 = 31;
const EXPIRE_AT: u64 = 1_775_380_966_945;

fn main() {
    let paths: Vec<Path> = Path::ALL
        .into_iter()
        .filter(|path| path.is_available())
        .collect();
    let never = AtomicBool::new(false);
    let mut naive_times = Vec::new();
    let mut path_times = vec![Vec::new(); paths.len()];
    for round in 0..ROUNDS {
        let salt = format!("bench{round:015}");
        let expire_at = EXPIRE_AT + round * 1_000_003;
        // The answer lies just outside the range, so that every solver must search all of it.
        let target = digest(format!("{salt}_{expire_at}_{NONCES}").as_bytes());
        let hex: String = target.iter().map(|byte| format!("{byte:02x}")).collect();
        let challenge = Challenge::new(&hex, &salt, expire_at, NONCES).unwrap();
        naive_times.push(time(|| naive(&target, &salt, expire_at)));
        for (path, times) in paths.iter().zip(&mut path_times) {
            times.push(time(|| solve_by(*path, &challenge, &never)));
        }
    }
    println!("{NONCES} nonces, one thread, {ROUNDS} interleaved rounds");
    println!("solver   best ms  median ms  x naive: best/best  median of rounds");
    report("naive", &naive_times, &naive_times);
    for (path, times) in paths.iter().zip(&path_times) {
        report(&format!("{path:?}"), times, &naive_times);
    }
}

fn time(search: impl FnOnce() -> Option<u64>) -> Duration {
    let start = Instant::now();
    assert_eq!(black_box(search()), None);
    start.elapsed()
}

fn report(name: &str, times: &[Duration], naive: &[Duration]) {
    let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    let naive: Vec<f64> = naive.iter().map(Duration::as_secs_f64).collect();
    let ratios: Vec<f64> = naive.iter().zip(&seconds).map(|(a, b)| a / b).collect();
    println!(
        "{:8} {:7.2} {:10.2} {:19.2} {:17.2}",
        name.to_lowercase(),
        least(&seconds) * 1e3,
        median(&seconds) * 1e3,
        least(&naive) / least(&seconds),
        median(&ratios),
    );
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The plain way: format every text, permute its one block.
fn naive(target: &[u8; 32], salt: &str, expire_at: u64) -> Option<u64> {
    let prefix = format!("{salt}_{expire_at}_");
    (0..NONCES).find(|nonce| {
        let text = format!("{prefix}{nonce}");
        let mut block = [0; 136];
        block
            .iter_mut()
            .zip(text.as_bytes())
            .for_each(|(to, byte)| *to = *byte);
        block[text.len()] = 0x06;
        block[135] |= 0x80;
        let mut state = [0_u64; 25];
        for (word, bytes) in state.iter_mut().zip(block.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        keccak::p1600(&mut state, 23);
        let words = target.as_chunks::<8>().0;
        state
            .iter()
            .zip(words)
            .all(|(word, bytes)| word.to_le_bytes() == *bytes)
    })
}
