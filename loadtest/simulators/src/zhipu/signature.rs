//! The signature of a call. Source: wire/zhipu.md §5.

use md5::{Digest, Md5};

const SECRET: &str = "8a1317a7468aa3ad86e997d08f3f31cb";
/// How far off a clock may be, in milliseconds (§7).
const TOLERANCE_MS: u64 = 300_000;

/// `X-Sign` for a doctored time and a nonce.
pub(super) fn sign(timestamp: &str, nonce: &str) -> String {
    let digest = Md5::digest(format!("{timestamp}-{nonce}-{SECRET}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a time has 13 digits, and the second to last of them is the sum of the other twelve modulo 10.
pub(super) fn is_doctored(timestamp: &str) -> bool {
    let digits: Option<Vec<u32>> = timestamp.chars().map(|c| c.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == 13) else {
        return false;
    };
    let check = digits.get(11).copied().unwrap_or_default();
    (digits.iter().sum::<u32>() - check) % 10 == check
}

/// Whether a doctored time is near enough to now.
pub(super) fn is_near(timestamp: &str, now_ms: u64) -> bool {
    timestamp
        .parse::<u64>()
        .is_ok_and(|time| time.abs_diff(now_ms) <= TOLERANCE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of §5.
    #[test]
    fn signs_as_the_page_does() {
        for (timestamp, nonce, expected) in [
            (
                "1700000000080",
                "00000000000000000000000000000000",
                "e514ad6ecbaea08736e5535e6578853f",
            ),
            (
                "1700000000123",
                "0123456789abcdef0123456789abcdef",
                "f68f3fedd1a3ac56f8b30f070282e2c1",
            ),
            (
                "1763718867293",
                "ffffffffffffffffffffffffffffffff",
                "d612a6aaffa7b248cba57df249cf3ddf",
            ),
            (
                "1999999999909",
                "9f86d081884c7d659a2feaa0c55ad015",
                "810bd6fe53987e3f2ec48d3a1184e83d",
            ),
            (
                "1772380186085",
                "00112233445566778899aabbccddeeff",
                "174272ac3a80a3358bd8878f2d6e5260",
            ),
        ] {
            assert_eq!(sign(timestamp, nonce), expected);
            assert!(is_doctored(timestamp), "{timestamp}");
        }
    }

    #[test]
    fn a_plain_clock_is_no_doctored_one() {
        for plain in [
            "1700000000000",
            "1763718867253",
            "1999999999999",
            "1772380186005",
            "170000000008",
            "17000000000800",
            "17000000000x0",
        ] {
            assert!(!is_doctored(plain), "{plain}");
        }
        assert!(is_near("1700000000080", 1_700_000_299_000));
        assert!(!is_near("1700000000080", 1_700_000_301_000));
    }
}
