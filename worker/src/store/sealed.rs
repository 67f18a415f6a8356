//! What is secret in the store, encrypted at rest: whoever reads the file or the server's memory finds nothing to use. The
//! key is that of the cluster (`STORE_SECRET`, else the master key), so every worker opens what any other has sealed; a
//! changed secret loses the sealed copies and nothing else. Source: design.md section 13.
//!
//! ```text
//!   1 (form) | salt, 16 bytes | sealed value | tag, 16 bytes
//!       key = HKDF-SHA256(secret, salt)     AES-256-GCM, bound to it: space and key of the entry
//! ```
//!
//! As ids are sealed ([`crate::seal`]): each value has a random key of its own, since 96 bits of a nonce are too few for
//! what many workers seal for years without a common counter.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ring::aead::Aad;

use super::Space;
use crate::{
    accounts::Secret,
    seal::{self, SALT_BYTES},
    settings::Settings,
};

/// What the keys are derived for, so that no other use of the secret ever has the same.
const PURPOSE: &[u8] = b"hive2api sealed entry 1";
/// The first byte of a sealed value, for the day on which there is another way to seal.
const FORM: u8 = 1;

/// Seals and opens values of the store. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    secret: Secret,
    /// Said once: every entry would say it again.
    has_complained: Arc<AtomicBool>,
}

impl Vault {
    /// With this secret.
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            has_complained: Arc::default(),
        }
    }

    /// With that of the settings: `STORE_SECRET`, else what ids are sealed with (the master key, where nothing else is said).
    pub fn of(settings: &Settings) -> Self {
        let own = settings.store.secret.clone();
        Self::new(own.unwrap_or_else(|| settings.http.seal_secret.clone()))
    }

    /// A value for this entry and no other. Empty, which opens nothing, where it could not be sealed: only gigabytes cannot,
    /// and what is not sealed must not be stored.
    pub fn seal(&self, space: Space, key: &str, value: &[u8]) -> Vec<u8> {
        let salt: [u8; SALT_BYTES] = rand::random();
        let mut sealed = value.to_vec();
        let is_sealed = seal::derived(&self.secret, &salt, PURPOSE).is_some_and(|derived| {
            let bound = Aad::from(bound(space, key));
            derived
                .seal_in_place_append_tag(seal::nonce(), bound, &mut sealed)
                .is_ok()
        });
        debug_assert!(is_sealed, "a short value can be sealed");
        if !is_sealed {
            return Vec::new();
        }
        [&[FORM], salt.as_slice(), &sealed].concat()
    }

    /// What was sealed for this entry. `None` for what was sealed with another secret, for another entry, or not at all: it is
    /// as good as absent, and the log says so once.
    pub fn open(&self, space: Space, key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let opened = self.opened(space, key, sealed);
        if opened.is_none() && !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                space = space.name(),
                "something in the store was sealed with another secret and is not used: was STORE_SECRET (or, without one, the \
                 master key) changed? What is configured goes on as it is; what only the store had must be had anew"
            );
        }
        opened
    }

    fn opened(&self, space: Space, key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (form, rest) = sealed.split_first()?;
        let (salt, sealed) = rest.split_at_checked(SALT_BYTES)?;
        if *form != FORM {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let bound = Aad::from(bound(space, key));
        let opened = seal::derived(&self.secret, salt, PURPOSE)?
            .open_in_place(seal::nonce(), bound, &mut sealed)
            .ok()?
            .len();
        sealed.truncate(opened);
        Some(sealed)
    }
}

/// No name of a space holds a zero.
fn bound(space: Space, key: &str) -> Vec<u8> {
    [space.name().as_bytes(), b"\0", key.as_bytes()].concat()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(secret: &str) -> Vault {
        Vault::new(Secret::new(secret))
    }

    #[test]
    fn any_worker_of_the_cluster_opens_it_and_nobody_reads_it() {
        let sealed = vault("s").seal(Space::Credentials, "a", b"refresh-token-1");
        let opened = vault("s").open(Space::Credentials, "a", &sealed);
        assert_eq!(opened.as_deref(), Some(&b"refresh-token-1"[..]));
        assert!(!sealed.windows(7).any(|part| part == b"refresh"));
        let again = vault("s").seal(Space::Credentials, "a", b"refresh-token-1");
        assert_ne!(again, sealed);
        let empty = vault("s").seal(Space::Credentials, "a", b"");
        let opened = vault("s").open(Space::Credentials, "a", &empty);
        assert_eq!(opened, Some(Vec::new()));
    }

    #[test]
    fn another_secret_or_entry_opens_nothing() {
        let sealed = vault("s").seal(Space::Credentials, "a", b"v");
        for (secret, space, key) in [
            ("t", Space::Credentials, "a"),
            ("s", Space::Responses, "a"),
            ("s", Space::Credentials, "b"),
            ("s", Space::Credentials, ""),
        ] {
            assert_eq!(vault(secret).open(space, key, &sealed), None, "{secret}");
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_makes_it_void() {
        let vault = vault("s");
        let sealed = vault.seal(Space::Credentials, "a", b"value");
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(vault.open(Space::Credentials, "a", &changed), None, "{at}");
        }
        for end in 0..sealed.len() {
            let cut = sealed.get(..end).unwrap();
            assert_eq!(vault.open(Space::Credentials, "a", cut), None, "{end}");
        }
    }
}
