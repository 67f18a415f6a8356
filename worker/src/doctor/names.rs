//! The names of all variables: the gateway's own stand here, a copy of what `.env.example` lists, because the image is
//! built without that file (a test compares the two); the providers' stand on their cards.

use crate::providers::registry::PROVIDERS;
pub(crate) use crate::settings::is_credential;

/// Every setting of the gateway itself.
pub(crate) const GENERAL: &[&str] = &[
    "ACCOUNTS_FILE",
    "ACCOUNT_CHECK_INTERVAL",
    "ACCOUNT_PROBE_SECONDS",
    "ALLOW_ANONYMOUS",
    "API_KEYS",
    "API_MASTER_KEY",
    "BODY_STORE_BYTES",
    "BODY_TIMEOUT",
    "CACHE_MEMORY_BYTES",
    "CACHE_TTL",
    "CONNECT_TIMEOUT",
    "CONVERSATIONS",
    "CONVERSATION_TTL",
    "COOLDOWN_BASE_SECONDS",
    "DATA_DIR",
    "DRAIN_GRACE",
    "DRAIN_TIMEOUT",
    "FETCH_ALLOW_HOSTS",
    "FETCH_MAX_BYTES",
    "FETCH_TIMEOUT",
    "HEAD_TIMEOUT",
    "HOST",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "KEEP_ALIVE_TIMEOUT",
    "LISTEN_PORT",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAX_BODY_BYTES",
    "MAX_MESSAGES",
    "MAX_STREAMS",
    "MODEL_ROUTES",
    "TOOLS",
    "NGINX_PORT",
    "NO_PROXY",
    "PING_INTERVAL",
    "PORT",
    "IMAGE_MODEL",
    "REASONING_FORMAT",
    "REQUEST_MEMORY_BYTES",
    "REQUEST_TIMEOUT",
    "RESPONSES_TTL",
    "RETRY_DELAYS_MS",
    "SEAL_SECRET",
    "STALL_TIMEOUT",
    "STICKY_SPREAD",
    "STORE_SECRET",
    "STORE_URL",
    "TOKENS_FILE",
    "USAGE_DAYS",
    "WORKER_NAME",
    "WORKER_THREADS",
];

/// What users of the five older projects have in their files and this version does not read.
const OLDER: &[&str] = &[
    "API_REQUEST_TIMEOUT",
    "APP_NAME",
    "APP_VERSION",
    "DESCRIPTION",
    "SUPPORTED_MODELS",
];

/// How other programs call the address of a store.
pub(crate) const OTHER_STORES: &[&str] = &["REDIS_URL", "VALKEY_URL"];

/// What doctor makes of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The worker or a script reads it.
    Known,
    /// A variable of an older project, without effect here.
    Older,
    /// Nobody reads it. The nearest known name, where one is near.
    Unknown(Option<String>),
}

/// Every name with its numbers taken out.
fn known() -> impl Iterator<Item = &'static str> {
    let stated = PROVIDERS.iter().flat_map(|card| card.variables);
    GENERAL
        .iter()
        .copied()
        .chain(stated.map(|variable| variable.name))
}

/// Looks a name up. Capitals count, except for the proxies.
pub(crate) fn standing(name: &str) -> Standing {
    let plain = without_numbers(name);
    let is = |known: &str| without_numbers(known) == plain;
    let numbered = |known: &str| {
        is_credential(known) && plain.strip_suffix("_#") == Some(without_numbers(known).as_str())
    };
    let is_proxy = ["http_proxy", "https_proxy", "no_proxy"].contains(&name);
    if is_proxy || OTHER_STORES.contains(&name) || known().any(|name| is(name) || numbered(name)) {
        Standing::Known
    } else if OLDER.iter().any(|name| is(name)) {
        Standing::Older
    } else {
        Standing::Unknown(nearest(&plain))
    }
}

/// Two slips of the keyboard at most, fewer in short names.
fn nearest(plain: &str) -> Option<String> {
    let plain = plain.to_ascii_uppercase();
    let most = if plain.len() < 6 { 1 } else { 2 };
    known()
        .map(|known| {
            let distance = strsim::osa_distance(&without_numbers(known), &plain);
            (distance, known)
        })
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, known)| known.replace('#', "1"))
}

/// `CN_ACCOUNT_12_COOKIE` and `CN_ACCOUNT_1_COOKIE` are one: `CN_ACCOUNT_#_COOKIE`.
pub(crate) fn without_numbers(name: &str) -> String {
    let part = |part: &str| {
        let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if is_number {
            "#".to_owned()
        } else {
            part.to_owned()
        }
    };
    name.split('_').map(part).collect::<Vec<_>>().join("_")
}

/// A name as it may be printed. Where a value was broken into lines, a piece of it can stand before a `=` and look
/// like a name.
pub(crate) fn shown(name: &str) -> &str {
    let is_plain = name.contains('_')
        || name.bytes().all(|b| b.is_ascii_uppercase())
        || name.bytes().all(|b| b.is_ascii_lowercase());
    if is_plain && name.len() <= 40 {
        name
    } else {
        "this name"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<(String, String)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
        let text = std::fs::read_to_string(path).unwrap();
        let pair = |line: &str| {
            let (name, value) = line.trim_start_matches('#').split_once('=')?;
            let is_name = name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            is_name.then(|| (name.to_owned(), value.to_owned()))
        };
        text.lines().filter_map(pair).collect()
    }

    #[test]
    fn knows_all_that_the_example_lists() {
        for (name, _) in example() {
            assert_eq!(standing(&name), Standing::Known, "{name} of .env.example");
        }
        for name in GENERAL {
            assert!(example().iter().any(|(shown, _)| shown == name), "{name}");
        }
    }

    #[test]
    fn a_piece_of_a_value_is_not_shown() {
        assert_eq!(shown("SOMETHING_ELSE"), "SOMETHING_ELSE");
        for piece in ["R0VFAGVoSDlk", &"A".repeat(41), "abc123"] {
            assert_eq!(shown(piece), "this name");
        }
    }

    #[test]
    fn suggests_the_nearest_name() {
        let near = |name: &str| Standing::Unknown(Some(name.to_owned()));
        for (name, standing) in [
            ("CN_ACCOUNT_12_COOKIE", Standing::Known),
            ("DEEPSEEK_TOKEN_3", Standing::Known),
            ("https_proxy", Standing::Known),
            ("FLOWGPT_BEARER_TOKEN", Standing::Known),
            ("API_MASTER_KEYS", near("API_MASTER_KEY")),
            ("CN_ACOUNT_7_COOKIE", near("CN_ACCOUNT_1_COOKIE")),
            ("xinghuo_cookie", near("XINGHUO_COOKIE")),
            ("PORT_2", near("PORT")),
            ("SOMETHING_ELSE", Standing::Unknown(None)),
        ] {
            assert_eq!(super::standing(name), standing, "{name}");
        }
    }
}
