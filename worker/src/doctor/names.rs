//! The names of all variables. A copy of what `.env.example` lists, because the image is built without that file; a
//! test compares the two, so a new setting needs its line here as well.

pub(crate) use crate::settings::is_credential;

/// Every setting and credential. A number in a name stands for any number.
const KNOWN: &[&str] = &[
    "ACCOUNTS_FILE",
    "ACCOUNT_PROBE_SECONDS",
    "ALLOW_ANONYMOUS",
    "API_KEYS",
    "API_MASTER_KEY",
    "BODY_STORE_BYTES",
    "BODY_TIMEOUT",
    "CN_ACCOUNT_1_COOKIE",
    "CN_ACCOUNT_1_XSRF_TOKEN",
    "CN_ACCOUNT_2_COOKIE",
    "CN_ACCOUNT_2_XSRF_TOKEN",
    "CONNECT_TIMEOUT",
    "CONVERSATIONS",
    "COOLDOWN_BASE_SECONDS",
    "DEEPSEEK_AREA_CODE",
    "DEEPSEEK_BASE_URL",
    "DEEPSEEK_CHECK_DEVICE",
    "DEEPSEEK_CLIENT_LOCALE",
    "DEEPSEEK_CLIENT_PLATFORM",
    "DEEPSEEK_CLIENT_VERSION",
    "DEEPSEEK_DEVICE_ID",
    "DEEPSEEK_EMAIL",
    "DEEPSEEK_HIF_BASE_URL",
    "DEEPSEEK_HIF_DLIQ_BASE_URL",
    "DEEPSEEK_LOGIN_DEVICE_ID",
    "DEEPSEEK_MAX_CONCURRENCY",
    "DEEPSEEK_MOBILE",
    "DEEPSEEK_PASSWORD",
    "DEEPSEEK_PAUSE_SECONDS",
    "DEEPSEEK_TOKEN",
    "DEEPSEEK_USER_AGENT",
    "DRAIN_GRACE",
    "DRAIN_TIMEOUT",
    "FETCH_ALLOW_HOSTS",
    "FETCH_MAX_BYTES",
    "FETCH_TIMEOUT",
    "GT_TOKEN",
    "GT_TOKEN_2",
    "HEAD_TIMEOUT",
    "HOST",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "KEEP_ALIVE_TIMEOUT",
    "KIMI_AUTH_BASE_URL",
    "KIMI_BASE_URL",
    "KIMI_FREE_FALLBACK",
    "KIMI_KEEP_CHATS",
    "KIMI_MAX_CONCURRENCY",
    "KIMI_TOKEN",
    "KIMI_TRANSPORT",
    "KIMI_UPLOAD_BASE_URL",
    "KIMI_WS_BASE_URL",
    "LANGFAST_ANONYMOUS",
    "LANGFAST_ANON_KEY",
    "LANGFAST_BASE_URL",
    "LANGFAST_PROMPT_ID",
    "LANGFAST_SESSION",
    "LANGFAST_SIGNUPS_PER_HOUR",
    "LANGFAST_SOCKET_BASE_URL",
    "LANGFAST_STALL_TIMEOUT_S",
    "LISTEN_PORT",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAX_BODY_BYTES",
    "MAX_CREDENTIALS",
    "MAX_MESSAGES",
    "MAX_STREAMS",
    "MIN_CREDENTIALS",
    "MODEL_ROUTES",
    "MODEL_TO_ACCOUNT_MAP",
    "NGINX_PORT",
    "NO_PROXY",
    "OPENAI_COMPAT_1_API_KEY",
    "OPENAI_COMPAT_1_BASE_URL",
    "OPENAI_COMPAT_1_MODELS",
    "OPENAI_COMPAT_1_NAME",
    "PING_INTERVAL",
    "PORT",
    "QWEN_ACCOUNT_POLICY",
    "QWEN_API_BASE_URL",
    "QWEN_BASE_URL",
    "QWEN_CHAT_BASE_URL",
    "QWEN_DELETE_SESSION",
    "QWEN_DEVICE_ID",
    "QWEN_DEVICE_ID_2",
    "QWEN_MAX_CONCURRENCY",
    "QWEN_PAUSE_MS",
    "QWEN_PREWARM",
    "QWEN_PROTOCOL",
    "QWEN_SECURITY_BASE_URL",
    "QWEN_TOKEN",
    "QWEN_UPLOAD_BASE_URL",
    "QWEN_USER_AGENT",
    "QWEN_WEB_VERSION",
    "QWEN_WORKSPACE_BASE_URL",
    "REASONING_FORMAT",
    "REQUEST_MEMORY_BYTES",
    "REQUEST_TIMEOUT",
    "RETRY_DELAYS_MS",
    "STALL_TIMEOUT",
    "STICKY_SPREAD",
    "TOKENS_FILE",
    "WORKER_NAME",
    "WORKER_THREADS",
    "XINGHUO_BASE_URL",
    "XINGHUO_COOKIE",
    "XINGHUO_COOKIE_2",
    "XINGHUO_FORM",
    "XINGHUO_MAX_CONCURRENCY",
];

/// A service's address: the provider's name, the variable, the default. A test compares these as well.
pub(crate) const BASE_URLS: &[(&str, &str, &str)] = &[
    ("qwen", "QWEN_CHAT_BASE_URL", "https://chat2.qianwen.com"),
    ("xinghuo", "XINGHUO_BASE_URL", "https://spark.xfyun.cn"),
    ("deepseek", "DEEPSEEK_BASE_URL", "https://chat.deepseek.com"),
    ("kimi", "KIMI_BASE_URL", "https://www.kimi.com"),
    (
        "langfast",
        "LANGFAST_BASE_URL",
        "https://yzaaxwkjukajpwqflndu.supabase.co",
    ),
];

/// What users of the five older projects have in their files and this version does not read.
const OLDER: &[&str] = &[
    "API_REQUEST_TIMEOUT",
    "APP_NAME",
    "APP_VERSION",
    "DESCRIPTION",
    "DOUBAO_TOKEN",
    "FLOWGPT_BEARER_TOKEN",
    "FLOWGPT_DEVICE_ID",
    "INTL_AUTHORIZATION",
    "INTL_BX_UA",
    "INTL_COOKIE",
    "METASO_TOKEN",
    "MINIMAX_TOKEN",
    "SUPPORTED_MODELS",
    "ZHIPU_TOKEN",
];

/// Where a cluster would keep what its workers share, if this version had such a store.
pub(crate) const STORES: &[&str] = &["STORE_URL", "REDIS_URL", "VALKEY_URL"];

/// What doctor makes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The worker or a script reads it.
    Known,
    /// A variable of an older project, without effect here.
    Older,
    /// Nobody reads it. The nearest known name, where one is near.
    Unknown(Option<&'static str>),
}

/// Looks a name up. Capitals count, except for the proxies.
pub(crate) fn standing(name: &str) -> Standing {
    let plain = without_numbers(name);
    let is = |known: &&&str| without_numbers(known) == plain;
    let numbered = |known: &&&str| {
        is_credential(known) && plain.strip_suffix("_#") == Some(without_numbers(known).as_str())
    };
    let is_proxy = ["http_proxy", "https_proxy", "no_proxy"].contains(&name);
    if is_proxy || STORES.contains(&name) || KNOWN.iter().any(|k| is(&k) || numbered(&k)) {
        Standing::Known
    } else if OLDER.iter().any(|k| is(&k)) {
        Standing::Older
    } else {
        Standing::Unknown(nearest(&plain))
    }
}

/// Two slips of the keyboard at most, fewer in short names.
fn nearest(plain: &str) -> Option<&'static str> {
    let plain = plain.to_ascii_uppercase();
    let most = if plain.len() < 6 { 1 } else { 2 };
    KNOWN
        .iter()
        .map(|known| {
            (
                strsim::osa_distance(&without_numbers(known), &plain),
                *known,
            )
        })
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, known)| known)
}

/// `CN_ACCOUNT_12_COOKIE` and `CN_ACCOUNT_1_COOKIE` are one: `CN_ACCOUNT_#_COOKIE`.
fn without_numbers(name: &str) -> String {
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
            assert!(
                KNOWN.contains(&name.as_str()),
                "{name} of .env.example is missing in worker/src/doctor/names.rs"
            );
        }
        for (_, name, default) in BASE_URLS {
            let pair = ((*name).to_owned(), (*default).to_owned());
            assert!(example().contains(&pair), "{name} has another default");
        }
    }

    #[test]
    fn every_provider_that_has_an_address_is_listed() {
        let (mut problems, vars) = (Vec::new(), crate::settings::Vars::default());
        let settings = crate::settings::Settings::read(&vars, &mut problems);
        let registry = crate::providers::Registry::new(&vars, &settings, &mut problems);
        for provider in registry.providers() {
            let listed = BASE_URLS
                .iter()
                .any(|(name, _, _)| *name == provider.name());
            assert!(listed, "{} has no line in BASE_URLS", provider.name());
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
        for (name, standing) in [
            ("CN_ACCOUNT_12_COOKIE", Standing::Known),
            ("DEEPSEEK_TOKEN_3", Standing::Known),
            ("https_proxy", Standing::Known),
            ("METASO_TOKEN", Standing::Older),
            ("API_MASTER_KEYS", Standing::Unknown(Some("API_MASTER_KEY"))),
            (
                "CN_ACOUNT_7_COOKIE",
                Standing::Unknown(Some("CN_ACCOUNT_1_COOKIE")),
            ),
            ("xinghuo_cookie", Standing::Unknown(Some("XINGHUO_COOKIE"))),
            ("PORT_2", Standing::Unknown(Some("PORT"))),
            ("SOMETHING_ELSE", Standing::Unknown(None)),
        ] {
            assert_eq!(super::standing(name), standing, "{name}");
        }
    }
}
