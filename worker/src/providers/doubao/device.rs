//! The numbers by which the service knows a browser: made up once for an account and the same ever after, as they are
//! made of its login. Source: `wire/doubao.md` sections 4.1 and 5.1.

use crate::impossible::OrImpossible as _;
use ring::digest;
use uuid::Uuid;

/// Digits of a number.
const DIGITS: usize = 19;
/// How much of a UUID is in a fingerprint.
const FINGERPRINT_CHARS: usize = 20;

/// What an account's browser is known by. Numbers are texts: they do not fit a double.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) device_id: String,
    pub(super) web_id: String,
    pub(super) tea_uuid: String,
    /// In the query and in the body, where it must be the same.
    pub(super) fp: String,
}

impl Device {
    /// The device of a login.
    pub(super) fn of(login: &str) -> Self {
        let seed = |purpose: &str| format!("hive2api doubao {purpose} {login}");
        // Of the login, not of chance: the same account has the same device after a restart and on every worker
        // (section 4.1: never per request).
        let random = digest::digest(&digest::SHA256, seed("fp").as_bytes());
        let random = random
            .as_ref()
            .first_chunk()
            .copied()
            .or_impossible("SHA-256 has 32 bytes");
        let number = |purpose| {
            let digest = digest::digest(&digest::SHA256, seed(purpose).as_bytes());
            number(digest.as_ref())
        };
        Self {
            device_id: number("device_id"),
            web_id: number("web_id"),
            tea_uuid: number("tea_uuid"),
            fp: fingerprint(uuid::Builder::from_random_bytes(random).into_uuid()),
        }
    }
}

/// 19 digits of random bytes. The first one is 7, as real ones have it.
fn number(random: &[u8]) -> String {
    // Modulo ten leans a little to the lower digits, which a device id may.
    let digits = random.iter().map(|byte| char::from(b'0' + byte % 10));
    std::iter::once('7').chain(digits).take(DIGITS).collect()
}

/// `verify_` and the beginning of a UUID, with underscores.
fn fingerprint(uuid: Uuid) -> String {
    let uuid = uuid.hyphenated().to_string().replace('-', "_");
    format!("verify_{}", uuid.get(..FINGERPRINT_CHARS).unwrap_or(&uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of section 5.1.
    #[test]
    fn fingerprints_follow_the_vectors() {
        for (uuid, fp) in [
            (
                "00000000-0000-4000-8000-000000000000",
                "verify_00000000_0000_4000_8",
            ),
            (
                "123e4567-e89b-42d3-a456-426614174000",
                "verify_123e4567_e89b_42d3_a",
            ),
            (
                "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
                "verify_f81d4fae_7dec_41d0_a",
            ),
        ] {
            assert_eq!(fingerprint(uuid.parse().unwrap()), fp);
        }
    }

    #[test]
    fn a_device_is_its_logins_own_and_stays() {
        let device = Device::of("0123456789abcdef0123456789abcdef");
        assert_eq!(device, Device::of("0123456789abcdef0123456789abcdef"));
        let numbers = [&device.device_id, &device.web_id, &device.tea_uuid];
        for number in numbers {
            assert!(number.len() == 19 && number.starts_with('7'), "{number}");
            assert!(number.bytes().all(|byte| byte.is_ascii_digit()), "{number}");
        }
        assert_eq!(device.fp.len(), 27);
        // Version 4, as a browser's.
        assert_eq!(device.fp.chars().nth(21), Some('4'), "{}", device.fp);
        let other = Device::of("other");
        assert!(device.device_id != device.web_id && device.web_id != device.tea_uuid);
        assert!(device.device_id != other.device_id && device.fp != other.fp);
    }
}
