//! Ids that hold what they stand for, sealed: whoever gets one back can read it on any worker of the cluster, and none of
//! them has to remember anything. Nobody else can read such an id, change it or make one up, and nobody but its owner can
//! use it. Pure: randomness is handed in. Source: design.md section 12.
//!
//! ```text
//!   video_ + base64url( salt, 16 bytes | sealed value | tag, 16 bytes )
//!             key = HKDF-SHA256(secret, salt)     bound to it: kind and owner
//! ```
//!
//! Each id has a key of its own, derived from the secret and the id's salt: 128 random bits, where a nonce of AES-GCM has
//! 96, too few for ids that many workers make without a common counter. The nonce can then be a constant.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{accounts::Secret, impossible::OrImpossible as _};

/// Random bytes of an id.
pub const SALT_BYTES: usize = 16;
/// Longer than any id that is made here; nothing longer is looked at.
const MOST_ID_BYTES: usize = 4096;
/// What the keys are derived for, so that no other use of the secret ever has the same.
const PURPOSE: &[u8] = b"hive2api sealed id 1";
/// The one nonce: each key seals once.
const NONCE: [u8; 12] = [0; 12];

/// Seals and opens ids with one secret, that of the whole cluster.
pub struct Sealer(Secret);

impl Sealer {
    /// With the secret of the settings (`SEAL_SECRET`).
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// An id of this kind (`video`) for this owner. `salt` is random and never used again.
    pub fn seal(
        &self,
        kind: &str,
        owner: &str,
        value: &impl Serialize,
        salt: [u8; SALT_BYTES],
    ) -> String {
        let mut sealed =
            serde_json::to_vec(value).or_impossible("our own types with string keys serialise");
        let bound = Aad::from(bound(kind, owner));
        let key = derived(&self.0, &salt, PURPOSE);
        let is_sealed = key.is_some_and(|key| {
            key.seal_in_place_append_tag(nonce(), bound, &mut sealed)
                .is_ok()
        });
        if !is_sealed {
            // Only gigabytes cannot be sealed. What is not sealed must not leave: such an id opens nothing.
            debug_assert!(is_sealed, "a short value can be sealed");
            sealed.clear();
        }
        let whole = [&salt, sealed.as_slice()].concat();
        format!("{kind}_{}", URL_SAFE_NO_PAD.encode(whole))
    }

    /// What an id stands for; `None` for one that is of another kind or owner, of another secret, or not ours at all. Which
    /// of these it is, nobody is told.
    pub fn open<T: DeserializeOwned>(&self, kind: &str, owner: &str, id: &str) -> Option<T> {
        if id.len() > MOST_ID_BYTES {
            return None;
        }
        let encoded = id.strip_prefix(kind)?.strip_prefix('_')?;
        let whole = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (salt, sealed) = whole.split_at_checked(SALT_BYTES)?;
        let mut sealed = sealed.to_vec();
        let bound = Aad::from(bound(kind, owner));
        let opened = derived(&self.0, salt, PURPOSE)?
            .open_in_place(nonce(), bound, &mut sealed)
            .ok()?;
        serde_json::from_slice(opened).ok()
    }
}

/// The key of one value, sealed for this purpose with this salt: 128 random bits, so that it seals once.
pub(crate) fn derived(secret: &Secret, salt: &[u8], purpose: &[u8]) -> Option<LessSafeKey> {
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret.expose().as_bytes());
    let purpose = [purpose];
    let derived = extracted.expand(&purpose, &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(derived)))
}

/// The one nonce of keys that seal once.
pub(crate) fn nonce() -> Nonce {
    Nonce::assume_unique_for_key(NONCE)
}

/// Kind and owner, told apart by the length: `ab` of `c` is not `a` of `bc`.
fn bound(kind: &str, owner: &str) -> Vec<u8> {
    let length = u64::try_from(kind.len()).unwrap_or(u64::MAX);
    [&length.to_be_bytes(), kind.as_bytes(), owner.as_bytes()].concat()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealer(secret: &str) -> Sealer {
        Sealer::new(Secret::new(secret))
    }

    fn value() -> (String, u64) {
        ("任务 task/../0".to_owned(), 7)
    }

    fn sealed() -> String {
        sealer("s").seal("video", "alice", &value(), [9; SALT_BYTES])
    }

    fn opened(secret: &str, kind: &str, owner: &str, id: &str) -> Option<(String, u64)> {
        sealer(secret).open(kind, owner, id)
    }

    #[test]
    fn the_owner_gets_back_what_was_sealed_on_any_worker() {
        assert_eq!(opened("s", "video", "alice", &sealed()), Some(value()));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        assert!(sealed().bytes().all(is_plain), "{}", sealed());
    }

    #[test]
    fn nobody_else_gets_anything() {
        let id = sealed();
        for (secret, kind, owner) in [
            ("t", "video", "alice"),
            ("s", "resp", "alice"),
            ("s", "video", "bob"),
            ("s", "video", ""),
            ("s", "vide", "oalice"),
        ] {
            let id = id.replacen("video", kind, 1);
            assert_eq!(
                opened(secret, kind, owner, &id),
                None,
                "{secret} {kind} {owner}"
            );
        }
    }

    #[test]
    fn every_changed_bit_makes_it_void() {
        let id = sealed();
        let whole = URL_SAFE_NO_PAD
            .decode(id.strip_prefix("video_").unwrap())
            .unwrap();
        for at in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[at / 8] ^= 1 << (at % 8);
            let id = format!("video_{}", URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(opened("s", "video", "alice", &id), None, "bit {at}");
        }
        for end in 0..id.len() {
            assert_eq!(
                opened("s", "video", "alice", id.get(..end).unwrap()),
                None,
                "cut at {end}"
            );
        }
    }

    #[test]
    fn another_salt_makes_another_id() {
        let other = sealer("s").seal("video", "alice", &value(), [8; SALT_BYTES]);
        assert_ne!(other, sealed());
        assert!(!sealed().contains("alice"));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_as_an_id_is_refused_in_peace(id in ".*") {
            prop_assert_eq!(opened("s", "video", "alice", &id), None);
            prop_assert_eq!(opened("s", "video", "alice", &format!("video_{id}")), None);
        }
    }
}
