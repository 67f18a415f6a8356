//! Who an account is, in a way that may leave the process: told by a job's id, compared on any worker, and of no use to
//! whoever wants the credential. Source: design.md sections 12 and 13.

use std::fmt::{self, Write as _};

use sha3::{Digest as _, Sha3_256};

use super::{Secret, rotating::Rotating};

/// 96 bits.
/// Enough that no two accounts of anybody meet by chance, and short enough for an id.
const BYTES: usize = 12;

/// The fingerprint of a credential: the same on every worker that has it, whatever number it has there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a provider's credential, as it was pasted: what a service makes of it later (an access token) changes.
    pub fn of(provider: &str, credential: &Secret) -> Self {
        let mut hash = Sha3_256::new();
        // Both are told apart by the length, and no other hash of a credential in this program begins like this.
        hash.update(b"hive2api account\0");
        hash.update(provider.len().to_be_bytes());
        hash.update(provider.as_bytes());
        hash.update(credential.expose().as_bytes());
        let mut text = String::with_capacity(2 * BYTES);
        for byte in hash.finalize().iter().take(BYTES) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// For a [`crate::chat::media::Ticket`].
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.0)
    }
}

/// A credential type: its accounts are known to the whole cluster, whatever number each has on one worker.
pub trait Known {
    /// Its fingerprint: of what makes it this account, so that it outlives whatever a service makes of it.
    fn fingerprint(&self) -> Fingerprint;

    /// The variable to renew.
    fn variable(&self) -> &str;
}

/// Stands for a credential in tests.
#[cfg(test)]
impl Known for usize {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of("test", &Secret::new(format!("account {self}")))
    }

    fn variable(&self) -> &str {
        "TEST_TOKEN"
    }
}

impl<T, P> Rotating<T, P> {
    /// That of the pasted credential, so that it outlives every renewal.
    pub fn fingerprint(&self) -> Fingerprint {
        let (provider, pasted) = self.pasted();
        Fingerprint::of(provider, pasted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_provider_and_credential_and_shows_neither() {
        let of = |provider, secret: &str| Fingerprint::of(provider, &Secret::new(secret));
        let one = of("zhipu", "token-0001");
        assert_eq!(one, of("zhipu", "token-0001"));
        assert_ne!(one, of("zhipu", "token-0002"));
        assert_ne!(one, of("zhipu2", "token-0001"));
        assert_ne!(of("a", "bcdefgh"), of("ab", "cdefgh"));
        assert_eq!(one.as_str().len(), 24);
        assert!(!format!("{one:?}{one}").contains("token"));
    }
}
