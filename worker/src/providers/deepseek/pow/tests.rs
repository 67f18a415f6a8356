use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use proptest::prelude::*;

use super::*;

/// DeepSeekHashV1 by the `keccak` crate, whose `p1600` runs the last rounds.
fn reference(text: &[u8]) -> [u8; 32] {
    let mut padded = text.to_vec();
    padded.push(0x06);
    padded.resize(padded.len().div_ceil(136) * 136, 0);
    *padded.last_mut().unwrap() |= 0x80;
    let mut state = [0_u64; 25];
    for block in padded.chunks_exact(136) {
        for (word, bytes) in state.iter_mut().zip(block.chunks_exact(8)) {
            *word ^= u64::from_le_bytes(bytes.try_into().unwrap());
        }
        keccak::p1600(&mut state, 23);
    }
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    digest
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What every path finds; they must agree.
fn answer(challenge: &Challenge) -> Option<u64> {
    let never = AtomicBool::new(false);
    let answer = solve(challenge, &never);
    for path in Path::ALL {
        assert_eq!(solve_by(path, challenge, &never), answer, "{path:?}");
    }
    assert_eq!(search::run(scalar::Scalar, &challenge.0, &never), answer);
    answer
}

/// The first table of wire/deepseek.md section 5.
#[test]
fn hashes_as_the_vectors_say() {
    let a = |times: usize| "a".repeat(times);
    for (text, expected) in [
        (
            String::new(),
            "e594808bc5b7151ac160c6d39a02e0a8e261ed588578403099e3561dc40c26b3",
        ),
        (
            "abc".to_owned(),
            "f841106c601ce9be9bc38525e90d4178d47f21dd8eb9f238fc55ffaa4ca94506",
        ),
        (
            a(134),
            "3704a28a397175ec1b34143876f27d9964ca009bdf58e88da7a03c2080fdeaa8",
        ),
        (
            a(135),
            "1e3eb415bb0b3ecec08a6f71cf7c8d0591b5594752ba52802a2e60357834f998",
        ),
        (
            a(136),
            "680364b336f77918ed390287a581f96f1371599825acd1e348fa7649fcecbbab",
        ),
        (
            a(272),
            "155f834e0a858121480ddc86615b716cffad9ca3144f14e247047a15206dadf6",
        ),
        (
            "你好，DeepSeek".to_owned(),
            "cf318f5e2aa478c99c48040c39a122faeb47c6950b0ddf95f6ed1c07a2b36a54",
        ),
        (
            "0123456789abcdef0123_1700000000000_0".to_owned(),
            "c80ff74357fc21bee90118dcbe5517114291363c868ec17a9bc4d0fe13e0afb0",
        ),
        (
            "0123456789abcdef0123_1700000000000_10".to_owned(),
            "b541299ca00bf67cc2a7d1a38e07a1bfbbdac37f1154e130d97189f743983adb",
        ),
        (
            "0123456789abcdef0123_1700000000000_143999".to_owned(),
            "49fb336330ea8af8e46df669a1fe34016de2755469cf401ee44a9f637903c3fc",
        ),
        (
            "0123456789abcdef0123_1700000000000_144000".to_owned(),
            "ed994b97e6cfb1158ae905740b3df06c7ca1abd9b4c823e8a3f3a072e2aa7f48",
        ),
    ] {
        assert_eq!(hex(&digest(text.as_bytes())), expected, "{text}");
    }
}

/// The second table of wire/deepseek.md section 5.
#[test]
fn solves_as_the_vectors_say() {
    let ours = ("0123456789abcdef0123", 1_700_000_000_000);
    for (challenge, (salt, expire_at), difficulty, expected) in [
        (
            "94e422f2ac55677000b92e561bb1a10da1a7fad54af93fa4706e4c1fa06eba5c",
            ("9fa6d396e71f769c77ee", 1_771_229_508_176),
            144_000,
            Some(22_533),
        ),
        (
            "7FFC9D19B6EED96A6FCA68F8FFE30EE61035D4959E4180F187BF85B356016A96",
            ("3bde54628ea8413fee87", 1_775_380_966_945),
            144_000,
            Some(107_544),
        ),
        (
            "b0000b22959bad0cc1ecbbfa07f97191b20332fa10d7341ff9c7ba6e7ed927f1",
            ("dde3ed472be5a2494ee0", 1_777_057_596_443),
            144_000,
            Some(58_033),
        ),
        (
            "c80ff74357fc21bee90118dcbe5517114291363c868ec17a9bc4d0fe13e0afb0",
            ours,
            144_000,
            Some(0),
        ),
        (
            "49fb336330ea8af8e46df669a1fe34016de2755469cf401ee44a9f637903c3fc",
            ours,
            144_000,
            Some(143_999),
        ),
        (
            "ed994b97e6cfb1158ae905740b3df06c7ca1abd9b4c823e8a3f3a072e2aa7f48",
            ours,
            144_000,
            None,
        ),
        (
            "c80ff74357fc21bee90118dcbe5517114291363c868ec17a9bc4d0fe13e0afb0",
            ours,
            0,
            None,
        ),
    ] {
        let challenge = Challenge::new(challenge, salt, expire_at, difficulty).unwrap();
        assert_eq!(answer(&challenge), expected);
    }
}

/// Around every change of length, and where the nonce and the padding cross the end of a block.
#[test]
fn finds_every_length_of_nonce_behind_every_length_of_prefix() {
    let finds = |salt_length: usize, nonces: &[u64]| {
        let salt = "s".repeat(salt_length);
        for &nonce in nonces {
            let target = reference(format!("{salt}_1775380966945_{nonce}").as_bytes());
            let challenge = |difficulty| {
                Challenge::new(&hex(&target), &salt, 1_775_380_966_945, difficulty).unwrap()
            };
            assert_eq!(answer(&challenge(nonce + 1)), Some(nonce), "{salt_length}");
            assert_eq!(answer(&challenge(nonce)), None, "{salt_length} {nonce}");
        }
    };
    // The prefix is 15 bytes longer than the salt: 121 and 257 are whole blocks.
    for salt_length in [0, 20, 110, 118, 119, 120, 121, 122, 250, 256, 300] {
        finds(salt_length, &[0, 1, 9, 10, 11, 99, 100, 101]);
    }
    for salt_length in [20, 116, 117] {
        finds(salt_length, &[999, 1000, 1007]);
    }
}

/// Large nonces cannot be reached by counting, so the search is started where they are.
#[test]
fn counts_through_sixteen_digits() {
    let mut text = search::Text::new(b"prefix_", 16, 9_007_199_254_740_000);
    for nonce in 9_007_199_254_740_000_u64..9_007_199_254_740_993 {
        assert_eq!(text.nonce(), nonce.to_string());
        text.increment(0);
    }
}

#[test]
fn knows_what_is_no_digest() {
    for bad in [
        "",
        "94e4",
        &"g".repeat(64),
        &"a".repeat(63),
        &"a".repeat(65),
        &"é".repeat(32),
    ] {
        assert!(Challenge::new(bad, "s", 1, 1).is_none(), "{bad}");
    }
}

#[test]
fn stops_when_told() {
    let challenge = Challenge::new(&"5a".repeat(32), "salt", 1, 1 << 53).unwrap();
    for path in Path::ALL {
        let cancel = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let search = scope.spawn(|| solve_by(path, &challenge, &cancel));
            std::thread::sleep(Duration::from_millis(5));
            cancel.store(true, Ordering::Relaxed);
            assert_eq!(search.join().unwrap(), None, "{path:?}");
        });
    }
}

proptest! {
    #[test]
    fn hashes_as_the_keccak_crate_does(text in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(digest(&text), reference(&text));
    }

    #[test]
    fn the_filter_lets_every_target_through(text in "\\PC{0,40}") {
        // A filter that forbids a bit which the true state has would lose answers.
        let target = reference(format!("{text}_1_7").as_bytes());
        let challenge = Challenge::new(&hex(&target), &text, 1, 8).unwrap();
        prop_assert_eq!(answer(&challenge), Some(7));
    }

    #[test]
    fn all_paths_find_what_the_keccak_crate_makes(salt in "\\PC{0,150}", expire_at: u64, nonce in 0_u64..300, beyond in 0_u64..50) {
        let target = reference(format!("{salt}_{expire_at}_{nonce}").as_bytes());
        let challenge = Challenge::new(&hex(&target), &salt, expire_at, nonce + 1 + beyond).unwrap();
        prop_assert_eq!(answer(&challenge), Some(nonce));
    }
}
