//! A string that nobody gets to see by accident, and the register of all of them: what an upstream says is compared
//! with every secret that the process holds before anybody reads it.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// A shorter secret would be found in words that are none.
const LEAST_BYTES: usize = 6;
/// Of a cookie's values only those count that are no word: this long, with a digit.
const LEAST_VALUE_BYTES: usize = 12;
/// What stands in a secret's place.
const HIDDEN: &str = "***";

/// A credential. Debug and Display print `***`; only [`Secret::expose`] shows it, so that every place where a
/// credential leaves the process can be found by name. As long as one lives, [`scrub`] knows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a credential.
    pub fn new(value: impl Into<String>) -> Self {
        let value: Arc<str> = value.into().into();
        // Registered for as long as any clone lives: the register holds it weakly.
        if value.len() >= LEAST_BYTES {
            Known::lock().add(&value);
        }
        Self(value)
    }

    /// The credential itself: for request headers and bodies only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The text without any secret that the process holds, in whatever case it is written: whole, without `Bearer`, or
/// one value of a cookie. For texts of bounded length: it is compared with every secret.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    let mut lower = text.to_ascii_lowercase();
    // Owned for the moment: the register must not be locked while long texts are searched.
    let secrets = Known::lock().living();
    for secret in &secrets {
        for value in values(secret) {
            let value = value.to_ascii_lowercase();
            // Lower case of ASCII alone keeps every place.
            // From the start each time: a replacement is shorter than any secret, so this ends.
            while let Some(at) = lower.find(&value) {
                let range = at..at + value.len();
                lower.replace_range(range.clone(), HIDDEN);
                clean.to_mut().replace_range(range, HIDDEN);
            }
        }
    }
    clean
}

/// What of a secret may be quoted alone: all of it, then the values of a cookie.
fn values(secret: &str) -> impl Iterator<Item = &str> {
    let is_value = |value: &&str| {
        value.len() >= LEAST_VALUE_BYTES && value.bytes().any(|byte| byte.is_ascii_digit())
    };
    // By length from the end, as the value's blanks are those of the pair.
    let value = |pair: &'_ str| pair.split_once('=').map(|(_, value)| value.trim().len());
    let pairs = secret.split(';').filter_map(move |pair| {
        let length = value(pair)?;
        let pair = pair.trim_end();
        pair.get(pair.len().checked_sub(length)?..)
    });
    // `user:password` of proxies and stores.
    let login = secret.split_once(':').map(|(_, password)| password);
    std::iter::once(secret).chain(pairs.chain(login).filter(is_value))
}

/// Every secret that lives.
struct Known {
    secrets: Vec<Weak<str>>,
    /// With so many the dead ones are looked for.
    sweep_at: usize,
}

static KNOWN: Mutex<Known> = Mutex::new(Known {
    secrets: Vec::new(),
    sweep_at: 64,
});

impl Known {
    /// A panic of another thread leaves the list in order, so poisoning is of no interest.
    fn lock() -> MutexGuard<'static, Self> {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&mut self, secret: &Arc<str>) {
        if self.secrets.len() >= self.sweep_at {
            self.secrets.retain(|known| known.strong_count() > 0);
            // Doubled, so that the sweep costs a constant part of what is added.
            self.sweep_at = (self.secrets.len() * 2).max(64);
        }
        self.secrets.push(Arc::downgrade(secret));
    }

    /// The longest first: one may be part of another.
    fn living(&self) -> Vec<Arc<str>> {
        let mut living: Vec<Arc<str>> = self.secrets.iter().filter_map(Weak::upgrade).collect();
        living.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        living.dedup();
        living
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_quoted_of_a_secret_is_hidden() {
        let _key = Secret::new("sk-Scrub-0123456789");
        let _cookie = Secret::new("ticket=scrubbed$4711*Value; lang=zh; other=plain");
        for (text, expected) in [
            ("Bearer sk-Scrub-0123456789!", "Bearer ***!"),
            ("SK-SCRUB-0123456789", "***"),
            ("你sk-scrub-0123456789好sk-scrub-0123456789", "你***好***"),
            ("ticket is scrubbed$4711*value", "ticket is ***"),
            ("plain words, zh", "plain words, zh"),
            ("sk-Scrub-012345678", "sk-Scrub-012345678"),
        ] {
            assert_eq!(scrub(text), expected);
        }
    }

    #[test]
    fn a_secret_is_forgotten_with_its_last_copy() {
        let secret = Secret::new("forgotten-secret-1");
        let copy = secret.clone();
        drop(secret);
        assert_eq!(scrub("forgotten-secret-1"), "***");
        drop(copy);
        assert_eq!(scrub("forgotten-secret-1"), "forgotten-secret-1");
    }

    #[test]
    fn many_secrets_do_not_pile_up() {
        for at in 0..1000 {
            drop(Secret::new(format!("piled-secret-{at}")));
        }
        assert!(Known::lock().secrets.len() < 900);
    }
}
