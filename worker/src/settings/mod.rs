//! Settings: environment variables, with a dotenv file below them. Everything is checked at once and all mistakes
//! are listed together. Source: design.md section 5.

pub mod file;
mod placeholder;
pub mod text;
mod vars;

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use serde::Deserialize;

pub use placeholder::{is_credential, is_placeholder};
pub use vars::Vars;
#[cfg(test)]
pub(crate) use vars::tests::recorded;

use crate::{
    accounts::{Kept, Patience, Secret, pasted::credential},
    chat::request::{MOST_MODEL_BYTES, MOST_PIECES},
    upstream::{Proxies, Timeouts, fetch},
};

/// The variables that are only names here: a struct for envy, so that the list of settings can be read in one go.
#[derive(Deserialize)]
struct Names {
    api_master_key: Option<String>,
    api_keys: Option<String>,
    host: Option<String>,
    worker_name: Option<String>,
    model_routes: Option<String>,
    fetch_allow_hosts: Option<String>,
    log_level: Option<String>,
}

/// What to do with an upstream conversation when its answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversations {
    /// Delete it.
    Delete,
    /// Leave it in the account's history.
    Keep,
}

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

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A key that clients present.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Appears in logs.
    pub name: String,
    /// The key itself.
    pub key: Secret,
}

/// Everything about the process that is not a provider's own matter.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST`.
    pub host: String,
    /// `PORT`.
    pub port: u16,
    /// `WORKER_NAME`: what `X-Hive-Worker` says.
    pub worker_name: String,
    /// `WORKER_THREADS`: event loops.
    pub threads: usize,
    /// `API_MASTER_KEY` and `API_KEYS`; empty with `ALLOW_ANONYMOUS` only.
    pub api_keys: Vec<ApiKey>,
    /// `ALLOW_ANONYMOUS`: a request without a key is served.
    pub allow_anonymous: bool,
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
    /// `REQUEST_TIMEOUT`: for a whole answer.
    pub request_timeout: Duration,
    /// `CONNECT_TIMEOUT`, `STALL_TIMEOUT`.
    pub timeouts: Timeouts,
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, in capitals or not.
    pub proxies: Arc<Proxies>,
    /// `KEEP_ALIVE_TIMEOUT`: of idle client connections; outlives nginx's.
    pub keep_alive: Duration,
    /// `HEAD_TIMEOUT`: how long the status line of a stream is held back for the first event.
    pub head_timeout: Duration,
    /// `PING_INTERVAL`: silence after which a stream gets a comment.
    pub ping_interval: Duration,
    /// `DRAIN_TIMEOUT`: for running answers after SIGTERM.
    pub drain_timeout: Duration,
    /// `DRAIN_GRACE`: how long connections are still accepted after SIGTERM.
    pub drain_grace: Duration,
    /// `RETRY_DELAYS_MS`: waits before further tries after passing faults.
    pub retry_delays: Vec<Duration>,
    /// `COOLDOWN_BASE_SECONDS`, `ACCOUNT_PROBE_SECONDS`.
    pub patience: Patience,
    /// `CONVERSATIONS`.
    pub conversations: Conversations,
    /// `REASONING_FORMAT`.
    pub reasoning_format: ReasoningFormat,
    /// `FETCH_ALLOW_HOSTS`, `FETCH_MAX_BYTES`, `FETCH_TIMEOUT`.
    pub fetch: fetch::Policy,
    /// `MODEL_ROUTES`: alias to `provider/model`, in order of preference.
    pub model_routes: BTreeMap<String, Vec<String>>,
    /// `TOKENS_FILE`: where rotated credentials are kept; by default beside the settings file, which `main` knows.
    pub kept: Kept,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `LOG_LEVEL`: a filter of tracing-subscriber.
    pub log_level: String,
}

/// What fits into one header of nginx's and the worker's with room for the rest.
const MOST_KEY_BYTES: usize = 4096;

impl Settings {
    /// Reads and checks everything; what is wrong goes to `problems`.
    pub fn read(vars: &Vars, problems: &mut Vec<String>) -> Self {
        let names: Names = envy::from_iter(vars.values.clone()).unwrap_or_else(|error| {
            problems.push(error.to_string());
            Names {
                api_master_key: None,
                api_keys: None,
                host: None,
                worker_name: None,
                model_routes: None,
                fetch_allow_hosts: None,
                log_level: None,
            }
        });
        let filled = |value: Option<String>| {
            value
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let seconds = |name: &str, default: f64, problems: &mut Vec<String>| {
            Duration::from_secs_f64(vars.number(name, default, 0.0, 86_400.0, problems))
        };
        let allow_anonymous = vars.switch("ALLOW_ANONYMOUS", false, problems);
        let master_key = filled(names.api_master_key);
        let has_master_key = master_key.is_some();
        let api_keys = api_keys(master_key, filled(names.api_keys), problems);
        // A key that is refused has its own sentence.
        if api_keys.is_empty() && !allow_anonymous && !has_master_key {
            problems.push("API_MASTER_KEY is empty: set a key, or ALLOW_ANONYMOUS=true to serve everybody who can reach the port".to_owned());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            host: filled(names.host).unwrap_or_else(|| "0.0.0.0".to_owned()),
            port: vars.number("PORT", 8080, 0, u16::MAX, problems),
            worker_name: filled(names.worker_name).unwrap_or_else(default_worker_name),
            threads: vars.number("WORKER_THREADS", cores, 1, 256, problems),
            api_keys,
            allow_anonymous,
            most_body_bytes: vars.number("MAX_BODY_BYTES", 64 << 20, 1024, 1 << 30, problems),
            body_timeout: seconds("BODY_TIMEOUT", 15.0, problems),
            most_messages: vars.number("MAX_MESSAGES", MOST_PIECES, 1, 10_000_000, problems),
            request_memory_bytes: vars.number(
                "REQUEST_MEMORY_BYTES",
                1 << 30,
                1 << 20,
                1 << 40,
                problems,
            ),
            most_streams: vars.number("MAX_STREAMS", 2000, 1, 1_000_000, problems),
            request_timeout: seconds("REQUEST_TIMEOUT", 600.0, problems),
            timeouts: Timeouts {
                connect: seconds("CONNECT_TIMEOUT", 10.0, problems),
                stall: seconds("STALL_TIMEOUT", 120.0, problems),
            },
            proxies: Arc::new(proxies(vars, problems)),
            keep_alive: seconds("KEEP_ALIVE_TIMEOUT", 75.0, problems),
            head_timeout: seconds("HEAD_TIMEOUT", 15.0, problems),
            ping_interval: seconds("PING_INTERVAL", 12.0, problems),
            drain_timeout: seconds("DRAIN_TIMEOUT", 120.0, problems),
            drain_grace: seconds("DRAIN_GRACE", 3.0, problems),
            retry_delays: retry_delays(vars.get("RETRY_DELAYS_MS"), problems),
            patience: Patience {
                base: seconds("COOLDOWN_BASE_SECONDS", 2.0, problems),
                probe: seconds("ACCOUNT_PROBE_SECONDS", 600.0, problems),
            },
            conversations: vars.choice(
                "CONVERSATIONS",
                &[
                    ("delete", Conversations::Delete),
                    ("keep", Conversations::Keep),
                ],
                Conversations::Delete,
                problems,
            ),
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
            fetch: fetch::Policy {
                most_bytes: vars.number("FETCH_MAX_BYTES", 100 << 20, 1024, 1 << 30, problems),
                timeout: seconds("FETCH_TIMEOUT", 60.0, problems),
                allowed_hosts: filled(names.fetch_allow_hosts)
                    .map(|hosts| {
                        hosts
                            .split(',')
                            .map(|host| host.trim().to_ascii_lowercase())
                            .collect()
                    })
                    .unwrap_or_default(),
            },
            model_routes: model_routes(filled(names.model_routes), problems),
            kept: vars
                .get("TOKENS_FILE")
                .map(|path| Kept::in_file(path.into()))
                .unwrap_or_default(),
            log_format: vars.choice(
                "LOG_FORMAT",
                &[("json", LogFormat::Json), ("text", LogFormat::Text)],
                LogFormat::Json,
                problems,
            ),
            log_level: filled(names.log_level).unwrap_or_else(|| "info".to_owned()),
        }
    }
}

/// Container or host name and process: distinct for every worker.
fn default_worker_name() -> String {
    let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = host.trim();
    format!(
        "{}-{}",
        if host.is_empty() { "worker" } else { host },
        std::process::id()
    )
}

/// `API_MASTER_KEY` and `API_KEYS`.
fn api_keys(
    master: Option<String>,
    more: Option<String>,
    problems: &mut Vec<String>,
) -> Vec<ApiKey> {
    let mut keys = Vec::new();
    let mut take = |name: &str, what: &str, pasted: &str, problems: &mut Vec<String>| {
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
        take("master", "API_MASTER_KEY", &key, problems);
    }
    let entries = more.iter().flat_map(|more| more.split([',', '\n']));
    let entries = entries.map(text::clean).filter(|entry| !entry.is_empty());
    for (at, entry) in entries.enumerate() {
        let what = format!("API_KEYS: entry {}", at + 1);
        match entry.split_once(':') {
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

fn proxies(vars: &Vars, problems: &mut Vec<String>) -> Proxies {
    // Tools differ in the capitals, so both are read.
    let value = |name: &str| {
        vars.get(name)
            .or_else(|| vars.get(&name.to_ascii_lowercase()))
            .unwrap_or_default()
    };
    Proxies::new(value("HTTP_PROXY"), value("HTTPS_PROXY"), value("NO_PROXY")).unwrap_or_else(
        |problem| {
            problems.push(format!("HTTP_PROXY and HTTPS_PROXY {problem}"));
            Proxies::default()
        },
    )
}

fn retry_delays(text: Option<&str>, problems: &mut Vec<String>) -> Vec<Duration> {
    let Some(text) = text else {
        return [1000, 2000, 4000].map(Duration::from_millis).to_vec();
    };
    let delays: Result<Vec<u64>, _> = text
        .split(',')
        .map(str::trim)
        .filter(|delay| !delay.is_empty() && *delay != "none")
        .map(str::parse)
        .collect();
    let delays = delays.unwrap_or_else(|_| {
        problems
            .push("RETRY_DELAYS_MS must be milliseconds separated by commas, or `none`".to_owned());
        Vec::new()
    });
    delays.into_iter().map(Duration::from_millis).collect()
}

fn model_routes(json: Option<String>, problems: &mut Vec<String>) -> BTreeMap<String, Vec<String>> {
    let Some(json) = json else {
        return BTreeMap::new();
    };
    let routes: BTreeMap<String, Vec<String>> = serde_json::from_str(&json).unwrap_or_else(|_| {
        problems
            .push(r#"MODEL_ROUTES must be JSON: {"alias":["provider/model", …], …}"#.to_owned());
        BTreeMap::new()
    });
    for (alias, route) in &routes {
        let is_too_long = |name: &String| name.len() > MOST_MODEL_BYTES;
        if is_too_long(alias) || route.iter().any(is_too_long) {
            problems.push(format!(
                "MODEL_ROUTES: a model's name has at most {MOST_MODEL_BYTES} bytes"
            ));
        }
        if route.is_empty() {
            problems.push(format!("MODEL_ROUTES: {alias:?} leads nowhere"));
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_all_mistakes_at_once() {
        let mut problems = Vec::new();
        let vars = Vars::new([
            ("PORT", "x"),
            ("LOG_FORMAT", "xml"),
            ("API_KEYS", "a"),
            ("MODEL_ROUTES", "["),
            ("DRAIN_TIMEOUT", "-1"),
        ]);
        Settings::read(&vars, &mut problems);
        for name in [
            "PORT",
            "LOG_FORMAT",
            "API_KEYS",
            "MODEL_ROUTES",
            "DRAIN_TIMEOUT",
            "API_MASTER_KEY",
        ] {
            assert!(
                problems.iter().any(|problem| problem.contains(name)),
                "{name} in {problems:?}"
            );
        }
    }

    #[test]
    fn an_empty_key_is_refused_unless_anonymous_is_allowed() {
        let read = |pairs: &[(&str, &str)]| {
            let mut problems = Vec::new();
            Settings::read(&Vars::new(pairs.iter().copied()), &mut problems);
            problems
        };
        assert_eq!(read(&[("API_MASTER_KEY", " ")]).len(), 1);
        assert!(read(&[("ALLOW_ANONYMOUS", "true")]).is_empty());
        assert!(read(&[("API_KEYS", "bob:sk-1, eve:sk-2")]).is_empty());
    }

    #[test]
    fn keys_are_read_as_people_paste_them() {
        let mut problems = Vec::new();
        let vars = Vars::new([
            ("API_MASTER_KEY", "\"Bearer sk-\u{200b}1\"\r\n"),
            ("API_KEYS", "'bob: sk-2, eve:\"sk 3\"'"),
        ]);
        let keys = Settings::read(&vars, &mut problems).api_keys;
        let keys: Vec<(&str, &str)> = keys
            .iter()
            .map(|key| (key.name.as_str(), key.key.expose()))
            .collect();
        assert_eq!(keys, [("master", "sk-1"), ("bob", "sk-2"), ("eve", "sk 3")]);
        assert!(problems.is_empty(), "{problems:?}");
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
            let (vars, mut problems) = (Vars::new([(name, value)]), Vec::new());
            Settings::read(&vars, &mut problems);
            assert!(
                problems.iter().any(|problem| problem.starts_with(name)),
                "{value}"
            );
            assert!(!problems.join(" ").contains(secret), "{problems:?}");
        }
    }
}
