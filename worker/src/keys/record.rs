//! A key as the store keeps it: what its owner may do, never the secret itself. Shapes: the bodies of `POST` and `PATCH`
//! `/v1/keys`. Source: issue "What a cluster must know together", item 5.

use rand::distr::{Alphanumeric, SampleString as _};
use serde::{Deserialize, Serialize};
use sha3::{Digest as _, Sha3_256};

use crate::impossible::OrImpossible as _;
use crate::{accounts::Secret, chat::Invalid};

/// What every secret that is made here begins with: what does not is no key of the store, and need not be looked for there.
pub const PREFIX: &str = "sk-hive-";
/// Random letters and digits behind it: 256 bits and a little.
const RANDOM_LETTERS: usize = 43;
/// Longest name, note and pattern in bytes; most patterns.
const MOST_NAME_BYTES: usize = 100;
const MOST_NOTE_BYTES: usize = 1000;
const MOST_PATTERNS: usize = 200;

/// How much a key may do; `None` is without limit. Windows are those of the clock, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Requests a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// Tokens, of questions and answers together, a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Requests that are answered at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u64>,
    /// Tokens a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Tokens a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
}

impl Limits {
    /// Whether tokens must be counted for it.
    pub fn are_of_tokens(&self) -> bool {
        self.tokens_per_minute.is_some()
            || self.tokens_per_day.is_some()
            || self.tokens_per_month.is_some()
    }
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// What it is known by: `key_…`.
    pub id: String,
    /// What its owner calls it; stands in logs and in usage.
    pub name: String,
    /// Models that it may use: names, `*` for anything; empty: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// How much.
    #[serde(default)]
    pub limits: Limits,
    /// Unix time at which it ends.
    #[serde(default)]
    pub expires_at: Option<u64>,
    /// Whether it opens at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether it is refused while nobody can say how much it has used, because the store is gone.
    #[serde(default)]
    pub fail_closed: bool,
    /// Whatever its owner wants to remember.
    #[serde(default)]
    pub note: String,
    /// Unix time of its making.
    pub created_at: u64,
}

fn yes() -> bool {
    true
}

/// What a caller sets; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPatch {
    name: Option<String>,
    models: Option<Vec<String>>,
    limits: Option<Limits>,
    #[serde(deserialize_with = "set")]
    expires_at: Option<Option<u64>>,
    enabled: Option<bool>,
    fail_closed: Option<bool>,
    note: Option<String>,
}

/// A member that is there, be it `null`: that takes the end away.
fn set<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A secret and what is kept of it. The secret is shown once.
pub fn new_secret() -> (Secret, String) {
    let random = Alphanumeric.sample_string(&mut rand::rng(), RANDOM_LETTERS);
    let secret = format!("{PREFIX}{random}");
    let digest = digest(&secret);
    (Secret::new(secret), digest)
}

/// What a key is found by in the store, in hexadecimal digits. A plain hash is enough: nobody guesses 256 random bits.
pub fn digest(secret: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha3_256::digest(secret.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl KeyRecord {
    /// A key that may do everything.
    pub fn new(id: String, created_at: u64) -> Self {
        Self {
            name: id.clone(),
            id,
            models: Vec::new(),
            limits: Limits::default(),
            expires_at: None,
            enabled: true,
            fail_closed: false,
            note: String::new(),
            created_at,
        }
    }

    /// As it is with what a caller sets.
    ///
    /// # Errors
    /// 400 that names the member.
    pub fn patched(mut self, patch: KeyPatch) -> Result<Self, Invalid> {
        if let Some(name) = patch.name {
            let is_plain = !name.trim().is_empty() && !name.chars().any(char::is_control);
            if !is_plain || name.len() > MOST_NAME_BYTES {
                let why = format!("a name is a line of 1 to {MOST_NAME_BYTES} bytes");
                return Err(Invalid::field("name", why));
            }
            name.trim().clone_into(&mut self.name);
        }
        if let Some(models) = patch.models {
            let is_sound =
                // Three names' worth: a pattern may have the provider, the name and stars.
                |pattern: &String| !pattern.is_empty() && pattern.len() <= MOST_NAME_BYTES * 3;
            if models.len() > MOST_PATTERNS || !models.iter().all(is_sound) {
                let why = format!(
                    "at most {MOST_PATTERNS} names or patterns of models, none of them empty"
                );
                return Err(Invalid::field("models", why));
            }
            self.models = models;
        }
        if let Some(note) = patch.note {
            if note.len() > MOST_NOTE_BYTES {
                let why = format!("a note has at most {MOST_NOTE_BYTES} bytes");
                return Err(Invalid::field("note", why));
            }
            self.note = note;
        }
        self.limits = patch.limits.unwrap_or(self.limits);
        self.expires_at = patch.expires_at.unwrap_or(self.expires_at);
        self.enabled = patch.enabled.unwrap_or(self.enabled);
        self.fail_closed = patch.fail_closed.unwrap_or(self.fail_closed);
        Ok(self)
    }

    /// Whether it opens at this Unix time.
    pub fn opens(&self, now: u64) -> bool {
        // At the very second of its end it is over.
        self.enabled && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it may use a model of this name.
    pub fn may_use(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| matches(pattern, model))
    }
}

/// Whether a pattern means a name; `*` stands for any text, letter case does not count.
fn matches(pattern: &str, name: &str) -> bool {
    // Ids of models are written in any case, also in aliases.
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    let mut parts = pattern.split('*');
    // A split has one part at least; the first stands at the start.
    let first = parts.next().or_impossible("a split has one part at least");
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            // The last one stands at the end; what is before it was found as early as possible, so all of that is left.
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_mean_names() {
        for (pattern, name, expected) in [
            ("qwen3-max", "Qwen3-Max", true),
            ("qwen3-max", "qwen3-max-x", false),
            ("*", "", true),
            ("qwen*", "qwen/x", true),
            ("*max", "qwen3-max", true),
            ("*max", "max-qwen", false),
            ("q*-*x", "qwen3-max", true),
            ("q*n*n", "qwen", false),
            ("aa*aa", "aaa", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn parts_of_a_name_with_stars_between_mean_it(parts in prop::collection::vec("[ab/-]{0,3}", 1..5), between in "[ab]{0,3}") {
            let pattern = parts.join("*");
            prop_assert!(matches(&pattern, &parts.join(&between)), "{pattern}");
        }
    }

    fn patch(json: &str) -> Result<KeyPatch, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_patch_sets_what_it_names() {
        let key = KeyRecord::new("key_1".to_owned(), 5);
        let all = r#"{"name":" bob ","models":["q*"],"limits":{"streams":2},"expires_at":9,"enabled":false,"fail_closed":true,"note":"n"}"#;
        let key = key.patched(patch(all).unwrap()).unwrap();
        assert_eq!(
            (&*key.name, key.expires_at, key.enabled),
            ("bob", Some(9), false)
        );
        assert_eq!(key.clone().patched(patch("{}").unwrap()).unwrap(), key);
        let lasting = key
            .patched(patch(r#"{"expires_at":null,"limits":{}}"#).unwrap())
            .unwrap();
        assert_eq!(
            (lasting.expires_at, lasting.limits),
            (None, Limits::default())
        );
        for wrong in [
            r#"{"nmae":"x"}"#,
            r#"{"limits":{"streams":-1}}"#,
            r#"{"expires_at":"x"}"#,
        ] {
            assert!(patch(wrong).is_err(), "{wrong}");
        }
        for (wrong, param) in [
            (r#"{"name":" "}"#, "name"),
            (r#"{"name":"a\nb"}"#, "name"),
            (r#"{"models":[""]}"#, "models"),
        ] {
            let refused = KeyRecord::new("key_1".to_owned(), 5).patched(patch(wrong).unwrap());
            assert_eq!(refused.unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn it_opens_until_its_end() {
        let mut key = KeyRecord::new("key_1".to_owned(), 5);
        key.expires_at = Some(9);
        assert!(key.opens(8) && !key.opens(9));
        key.enabled = false;
        assert!(!key.opens(8));
    }

    #[test]
    fn a_secret_is_never_the_same_and_found_by_its_digest() {
        let ((one, kept), (other, _)) = (new_secret(), new_secret());
        assert_ne!(one, other);
        assert_eq!(digest(one.expose()), kept);
        assert_eq!(one.expose().len(), PREFIX.len() + RANDOM_LETTERS);
        assert!(!kept.contains(one.expose()));
    }
}
