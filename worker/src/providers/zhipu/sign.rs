//! The signature of every call: a clock with a check digit in it, a nonce, and an MD5 over both and a fixed secret. One
//! signature serves one request: a second one with it is refused (40014). Source: `wire/zhipu.md` section 5.

use md5::{Digest as _, Md5};
use uuid::Uuid;

/// The constant of the site's own page; `ZHIPU_SIGN_SECRET` replaces it.
pub(super) const SECRET: &str = "8a1317a7468aa3ad86e997d08f3f31cb";

/// When a call is made, and what is random in it: both are new for every call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Unix milliseconds.
    pub(super) unix_ms: u64,
    /// Becomes `X-Nonce`.
    pub(super) nonce: Uuid,
    /// Becomes `X-Request-Id`.
    pub(super) request_id: Uuid,
}

/// The three headers of a signed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    /// `X-Timestamp`.
    pub(super) timestamp: String,
    /// `X-Nonce`.
    pub(super) nonce: String,
    /// `X-Sign`.
    pub(super) sign: String,
}

/// Signs a call that is made now.
pub(super) fn sign(moment: Moment, secret: &str) -> Signature {
    let timestamp = doctored(moment.unix_ms);
    let nonce = moment.nonce.simple().to_string();
    let digest = Md5::digest(format!("{timestamp}-{nonce}-{secret}").as_bytes());
    Signature {
        sign: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        timestamp,
        nonce,
    }
}

/// The time with its second-to-last digit replaced by the sum of all others, modulo ten.
fn doctored(unix_ms: u64) -> String {
    // Kept as numbers: the last digit stays, the second to last is the check.
    let (tens, last) = (unix_ms / 10, unix_ms % 10);
    let mut sum = last;
    let mut rest = tens / 10;
    while rest > 0 {
        sum += rest % 10;
        rest /= 10;
    }
    (tens / 10 * 100 + sum % 10 * 10 + last).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of section 5.
    #[test]
    fn signs_as_the_vectors_say() {
        for (unix_ms, timestamp, nonce, sign) in [
            (
                1_700_000_000_000,
                "1700000000080",
                "00000000000000000000000000000000",
                "e514ad6ecbaea08736e5535e6578853f",
            ),
            (
                1_700_000_000_123,
                "1700000000123",
                "0123456789abcdef0123456789abcdef",
                "f68f3fedd1a3ac56f8b30f070282e2c1",
            ),
            (
                1_763_718_867_253,
                "1763718867293",
                "ffffffffffffffffffffffffffffffff",
                "d612a6aaffa7b248cba57df249cf3ddf",
            ),
            (
                1_999_999_999_999,
                "1999999999909",
                "9f86d081884c7d659a2feaa0c55ad015",
                "810bd6fe53987e3f2ec48d3a1184e83d",
            ),
            (
                1_772_380_186_005,
                "1772380186085",
                "00112233445566778899aabbccddeeff",
                "174272ac3a80a3358bd8878f2d6e5260",
            ),
        ] {
            let moment = Moment {
                unix_ms,
                nonce: Uuid::parse_str(nonce).unwrap(),
                request_id: Uuid::nil(),
            };
            let signature = super::sign(moment, SECRET);
            assert_eq!(
                (
                    signature.timestamp.as_str(),
                    signature.nonce.as_str(),
                    signature.sign.as_str()
                ),
                (timestamp, nonce, sign)
            );
        }
    }

    proptest::proptest! {
        /// What the service checks: digit 11 is the sum of the other twelve.
        #[test]
        fn the_check_digit_fits(unix_ms in 1_000_000_000_000_u64..9_999_999_999_999) {
            let digits: Vec<u32> = doctored(unix_ms).chars().filter_map(|c| c.to_digit(10)).collect();
            proptest::prop_assert_eq!(digits.len(), 13);
            let others: u32 = digits.iter().sum::<u32>() - digits[11];
            proptest::prop_assert_eq!(digits[11], others % 10);
            let original: Vec<u32> = unix_ms.to_string().chars().filter_map(|c| c.to_digit(10)).collect();
            proptest::prop_assert!((0..13).all(|at| at == 11 || digits[at] == original[at]));
        }
    }
}
