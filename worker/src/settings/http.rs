//! What the doors read: who may enter, how much at once, how an answer leaves.

use std::time::Duration;

use serde::Deserialize;

use super::{Problems, Vars, text};
use crate::{
    accounts::{Secret, pasted::credential},
    chat::request::MOST_PIECES,
};

/// What fits into one header of nginx's and the worker's with room for the rest.
const MOST_KEY_BYTES: usize = 4096;

/// The name of `API_MASTER_KEY`, which may do everything.
pub const MASTER: &str = "master";

/// The texts among them.
#[derive(Default, Deserialize)]
struct Texts {
    api_master_key: Option<String>,
    api_keys: Option<String>,
    seal_secret: Option<String>,
    image_model: Option<String>,
}

/// What ids are sealed with where everybody may come in and there is no key to derive a secret from. Anybody could make up
/// such an id, but there is nobody whose jobs could be kept apart from another's either; and what an id names is asked for
/// with the account that it names by a fingerprint, which cannot be guessed.
const OPEN_SECRET: &str = "hive2api: everybody may come in";

/// How thinking reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningFormat {
    /// In `reasoning_content`.
    Field,
    /// In the content, between `<think>` and `</think>`.
    ThinkTags,
    /// In the content, as `<think:…>`.
    Inline,
    /// Not at all.
    Hidden,
}

/// A key that clients present.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Appears in logs.
    pub name: String,
    /// The key itself.
    pub key: Secret,
}

/// What [`crate::http`] reads.
#[derive(Clone, Debug)]
pub struct Http {
    /// `API_MASTER_KEY` and `API_KEYS`; empty with `ALLOW_ANONYMOUS` only.
    pub api_keys: Vec<ApiKey>,
    /// `ALLOW_ANONYMOUS`: a request without a key is served.
    pub allow_anonymous: bool,
    /// `SEAL_SECRET`, else the first of the keys; a constant where neither is there.
    pub seal_secret: Secret,
    /// `RESPONSES_TTL`: how long a response is kept for what goes on from it; zero: not at all.
    pub responses_ttl: Duration,
    /// `MAX_BODY_BYTES`.
    pub most_body_bytes: usize,
    /// `BODY_TIMEOUT`: for a body to arrive, and a second more for each 8 KiB of it.
    pub body_timeout: Duration,
    /// `MAX_MESSAGES`: messages, parts and tool calls of one request in all.
    pub most_messages: usize,
    /// `REQUEST_MEMORY_BYTES`: what all requests may hold together.
    pub request_memory_bytes: usize,
    /// `MAX_STREAMS`: chats that are answered at once.
    pub most_streams: usize,
    /// `HEAD_TIMEOUT`: how long the status line of a stream is held back for the first event.
    pub head_timeout: Duration,
    /// `PING_INTERVAL`: silence after which a stream gets a comment.
    pub ping_interval: Duration,
    /// `IMAGE_MODEL`: draws where a request for pictures names no model, or one of OpenAI's that nobody here has.
    pub image_model: Option<String>,
    /// `REASONING_FORMAT`.
    pub reasoning_format: ReasoningFormat,
}

impl Http {
    pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Self {
        let allow_anonymous = vars.switch("ALLOW_ANONYMOUS", false, problems);
        let texts: Texts = vars.texts(problems);
        let master_key = texts.api_master_key.as_deref();
        let api_keys = api_keys(master_key, texts.api_keys.as_deref(), problems);
        // Otherwise two complaints would be made about one key.
        // A key that is refused has its own sentence.
        if api_keys.is_empty() && !allow_anonymous && master_key.is_none() {
            problems.push("API_MASTER_KEY is empty: set a key, or ALLOW_ANONYMOUS=true to serve everybody who can reach the port");
        }
        // The first key, so that one machine needs no second secret; ids made with it are void when it is changed.
        let seal_secret = match (texts.seal_secret, api_keys.first()) {
            (Some(secret), _) => Secret::new(secret),
            (None, Some(key)) => key.key.clone(),
            (None, None) => Secret::new(OPEN_SECRET),
        };
        Self {
            api_keys,
            allow_anonymous,
            seal_secret,
            responses_ttl: vars.seconds("RESPONSES_TTL", 3600.0, problems),
            most_body_bytes: vars.number("MAX_BODY_BYTES", 64 << 20, 1024, 1 << 30, problems),
            body_timeout: vars.seconds("BODY_TIMEOUT", 15.0, problems),
            most_messages: vars.number("MAX_MESSAGES", MOST_PIECES, 1, 10_000_000, problems),
            request_memory_bytes: vars.number(
                "REQUEST_MEMORY_BYTES",
                1 << 30,
                1 << 20,
                1 << 40,
                problems,
            ),
            most_streams: vars.number("MAX_STREAMS", 2000, 1, 1_000_000, problems),
            head_timeout: vars.seconds("HEAD_TIMEOUT", 15.0, problems),
            ping_interval: vars.seconds("PING_INTERVAL", 12.0, problems),
            image_model: texts.image_model,
            reasoning_format: vars.choice(
                "REASONING_FORMAT",
                &[
                    ("reasoning_content", ReasoningFormat::Field),
                    ("think_tags", ReasoningFormat::ThinkTags),
                    ("inline", ReasoningFormat::Inline),
                    ("hidden", ReasoningFormat::Hidden),
                ],
                ReasoningFormat::Field,
                problems,
            ),
        }
    }
}

/// `API_MASTER_KEY` and `API_KEYS`.
fn api_keys(master: Option<&str>, more: Option<&str>, problems: &mut Problems) -> Vec<ApiKey> {
    let mut keys = Vec::new();
    let mut take = |name: &str, what: &str, pasted: &str, problems: &mut Problems| {
        let key = credential(pasted);
        match unfit(&key) {
            Some(why) => problems.push(format!("{what} {why}")),
            None => keys.push(ApiKey {
                name: name.to_owned(),
                key: Secret::new(key),
            }),
        }
    };
    if let Some(key) = master {
        take(MASTER, "API_MASTER_KEY", key, problems);
    }
    // Also by lines: people write lists into one variable as they like.
    let entries = more.iter().flat_map(|more| more.split([',', '\n']));
    let entries = entries.map(text::clean).filter(|entry| !entry.is_empty());
    for (at, entry) in entries.enumerate() {
        let what = format!("API_KEYS: entry {}", at + 1);
        match entry.split_once(':') {
            // The logs would not tell one from the other.
            Some((name, _)) if name.trim() == MASTER => {
                problems.push(format!(
                    "{what} has the name of API_MASTER_KEY; give it another"
                ));
            }
            Some((name, key)) if !name.trim().is_empty() && !key.trim().is_empty() => {
                take(name.trim(), &what, key, problems);
            }
            _ => problems.push(format!("{what} is not name:key")),
        }
    }
    keys
}

/// Why no client can present a key.
fn unfit(key: &str) -> Option<&'static str> {
    if key.is_empty() || key.eq_ignore_ascii_case("bearer") {
        Some("holds no key")
    } else if !key.is_ascii() {
        Some("holds characters beyond ASCII, which no client can send in a header")
    } else if key.chars().any(|c| c.is_ascii_control()) {
        Some("holds a control character, which no client can send in a header")
    } else if key.len() > MOST_KEY_BYTES {
        Some("is longer than 4096 bytes, which is more than a header may be")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_key_is_refused_unless_anonymous_is_allowed() {
        let read = |pairs: &[(&str, &str)]| {
            let mut problems = Problems::default();
            Http::read(&Vars::new(pairs.iter().copied()), &mut problems);
            problems.errors
        };
        assert_eq!(read(&[("API_MASTER_KEY", " ")]).len(), 1);
        assert!(read(&[("ALLOW_ANONYMOUS", "true")]).is_empty());
        assert!(read(&[("API_KEYS", "bob:sk-1, eve:sk-2")]).is_empty());
    }

    #[test]
    fn keys_are_read_as_people_paste_them() {
        let mut problems = Problems::default();
        let vars = Vars::new([
            ("API_MASTER_KEY", "\"Bearer sk-\u{200b}1\"\r\n"),
            ("API_KEYS", "'bob: sk-2, eve:\"sk 3\"'"),
        ]);
        let keys = Http::read(&vars, &mut problems).api_keys;
        let keys: Vec<(&str, &str)> = keys
            .iter()
            .map(|key| (key.name.as_str(), key.key.expose()))
            .collect();
        assert_eq!(keys, [("master", "sk-1"), ("bob", "sk-2"), ("eve", "sk 3")]);
        assert!(problems.errors.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_key_that_no_client_can_send_is_refused_without_its_content() {
        let long = "k".repeat(MOST_KEY_BYTES + 1);
        for (name, value, secret) in [
            ("API_MASTER_KEY", "蜂巢之门-0123456789", "0123456789"),
            ("API_MASTER_KEY", "sk-caf\u{e9}", "sk-caf"),
            ("API_MASTER_KEY", "sk-\u{7}", "sk-"),
            ("API_MASTER_KEY", "Bearer", "earer"),
            ("API_MASTER_KEY", long.as_str(), "kkk"),
            ("API_KEYS", "bob:sk-1,eve:钥匙", "钥匙"),
        ] {
            let (vars, mut problems) = (Vars::new([(name, value)]), Problems::default());
            Http::read(&vars, &mut problems);
            assert!(
                problems
                    .errors
                    .iter()
                    .any(|problem| problem.starts_with(name)),
                "{value}"
            );
            assert!(!problems.errors.join(" ").contains(secret), "{problems:?}");
        }
    }
}
