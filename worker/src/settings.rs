//! Settings: environment variables, with a dotenv file below them. Everything is checked at once and all mistakes
//! are listed together. Source: design.md section 5.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    accounts::{Patience, Secret},
    upstream::{Timeouts, fetch},
};

/// The variables a worker starts with: the process environment over the accounts file. Debug shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Vars(BTreeMap<String, String>);

impl Vars {
    /// Variables from anywhere, for tests.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    /// The process environment over the file named by `ACCOUNTS_FILE` (default `.env`, which may be missing).
    ///
    /// # Errors
    /// A sentence for the operator: a file that cannot be read, or a line that is no assignment.
    pub fn load() -> Result<(Self, PathBuf), String> {
        let own = Self::environment()?;
        let named = own.get("ACCOUNTS_FILE");
        let path = PathBuf::from(named.unwrap_or(".env"));
        if named.is_some() && !path.exists() {
            return Err(format!(
                "ACCOUNTS_FILE: there is no file {}",
                path.display()
            ));
        }
        Ok((own.over_file(&path)?, path))
    }

    /// The process environment alone.
    ///
    /// # Errors
    /// Names a variable whose value is no UTF-8.
    pub fn environment() -> Result<Self, String> {
        let mut own = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            let value = value
                .into_string()
                .map_err(|_| format!("{name} holds bytes that are no UTF-8"))?;
            own.insert(name, value);
        }
        Ok(Self(own))
    }

    /// These variables over those of a dotenv file.
    ///
    /// # Errors
    /// As [`Vars::load`]. The message names the line's number, never its content.
    pub fn over_file(&self, path: &Path) -> Result<Self, String> {
        let mut vars = BTreeMap::new();
        if path.exists() {
            let text =
                fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            for entry in dotenvy::from_read_iter(text.as_bytes()) {
                let (name, value) = entry.map_err(|_| format!("{}: a line is no NAME=value (quote values with spaces; $ needs single quotes)", path.display()))?;
                vars.insert(name, value);
            }
        }
        // An empty variable is what compose files and shells leave where nothing was set.
        let set = self.0.iter().filter(|(_, value)| !value.trim().is_empty());
        vars.extend(set.map(|(name, value)| (name.clone(), value.clone())));
        Ok(Self(vars))
    }

    /// A value without surrounding space; `None` when it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A value as a web page shows it and people paste it: without line ends and one pair of quotes.
    pub fn pasted(&self, name: &str) -> Option<String> {
        let value = self.get(name)?.replace(['\r', '\n'], "");
        let value = value.trim();
        let unquoted = ['"', '\'']
            .iter()
            .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
        Some(unquoted.unwrap_or(value).trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// `NAME`, `NAME_2`, `NAME_3`, … as (number, value).
    pub fn numbered(&self, name: &str) -> Vec<(usize, String)> {
        let mut found: Vec<(usize, String)> = self
            .pasted(name)
            .map(|value| (1, value))
            .into_iter()
            .collect();
        let prefix = format!("{name}_");
        for key in self.0.keys() {
            let number = key
                .strip_prefix(&prefix)
                .filter(|digits| !digits.starts_with('0'))
                .and_then(|digits| digits.parse().ok());
            if let Some((number, value)) = number
                .filter(|&number| number > 1 || found.is_empty())
                .zip(self.pasted(key))
            {
                found.push((number, value));
            }
        }
        found.sort_by_key(|(number, _)| *number);
        found
    }

    /// The numbers n for which `PREFIXnSUFFIX` has a value, in order.
    pub fn numbers(&self, prefix: &str, suffix: &str) -> Vec<usize> {
        let number = |key: &String| {
            key.strip_prefix(prefix)?
                .strip_suffix(suffix)?
                .parse()
                .ok()
                .filter(|&number| number > 0)
        };
        let mut numbers: Vec<usize> = self
            .0
            .keys()
            .filter(|key| self.get(key).is_some())
            .filter_map(number)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// A base URL without its trailing slash, `default` when it is absent.
    pub fn base_url(&self, name: &str, default: &str, problems: &mut Vec<String>) -> String {
        let url = self.get(name).unwrap_or(default).trim_end_matches('/');
        if !(url.starts_with("http://") || url.starts_with("https://"))
            || url.parse::<actix_web::http::Uri>().is_err()
        {
            problems.push(format!("{name} must be an http(s) URL"));
        }
        url.to_owned()
    }

    /// A number within bounds, `default` when it is absent.
    pub fn number<T: std::str::FromStr + PartialOrd + fmt::Display + Copy>(
        &self,
        name: &str,
        default: T,
        least: T,
        most: T,
        problems: &mut Vec<String>,
    ) -> T {
        let Some(text) = self.get(name) else {
            return default;
        };
        match text.parse::<T>() {
            Ok(number) if number >= least && number <= most => number,
            _ => {
                problems.push(format!("{name} must be a number from {least} to {most}"));
                default
            }
        }
    }

    /// A switch: `true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`.
    pub fn switch(&self, name: &str, default: bool, problems: &mut Vec<String>) -> bool {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(_) => {
                problems.push(format!("{name} must be true or false"));
                default
            }
        }
    }

    fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
        default: T,
        problems: &mut Vec<String>,
    ) -> T {
        let Some(text) = self.get(name) else {
            return default;
        };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return *choice;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        problems.push(format!("{name} must be one of: {}", words.join(", ")));
        default
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

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
    /// `REQUEST_TIMEOUT`: for a whole answer.
    pub request_timeout: Duration,
    /// `CONNECT_TIMEOUT`, `STALL_TIMEOUT`.
    pub timeouts: Timeouts,
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
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `LOG_LEVEL`: a filter of tracing-subscriber.
    pub log_level: String,
}

impl Settings {
    /// Reads and checks everything; what is wrong goes to `problems`.
    pub fn read(vars: &Vars, problems: &mut Vec<String>) -> Self {
        let names: Names = envy::from_iter(vars.0.clone()).unwrap_or_else(|error| {
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
        let api_keys = api_keys(
            filled(names.api_master_key),
            filled(names.api_keys),
            problems,
        );
        if api_keys.is_empty() && !allow_anonymous {
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
            request_timeout: seconds("REQUEST_TIMEOUT", 600.0, problems),
            timeouts: Timeouts {
                connect: seconds("CONNECT_TIMEOUT", 10.0, problems),
                stall: seconds("STALL_TIMEOUT", 120.0, problems),
            },
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

fn api_keys(
    master: Option<String>,
    more: Option<String>,
    problems: &mut Vec<String>,
) -> Vec<ApiKey> {
    let mut keys: Vec<ApiKey> = master
        .map(|key| ApiKey {
            name: "master".to_owned(),
            key: Secret::new(key),
        })
        .into_iter()
        .collect();
    for (at, entry) in more
        .iter()
        .flat_map(|more| more.split(','))
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .enumerate()
    {
        match entry
            .split_once(':')
            .map(|(name, key)| (name.trim(), key.trim()))
        {
            Some((name, key)) if !name.is_empty() && !key.is_empty() => keys.push(ApiKey {
                name: name.to_owned(),
                key: Secret::new(key),
            }),
            _ => problems.push(format!("API_KEYS: entry {} is not name:key", at + 1)),
        }
    }
    keys
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
    fn reads_numbered_and_pasted_values() {
        let vars = Vars::new([
            ("T_2", "'b'"),
            ("T", "\"a\r\n\""),
            ("T_10", "c"),
            ("T_X", "no"),
            ("T_02", "no"),
            ("T_3", " "),
        ]);
        assert_eq!(
            vars.numbered("T"),
            [
                (1, "a".to_owned()),
                (2, "b".to_owned()),
                (10, "c".to_owned())
            ]
        );
        assert_eq!(
            Vars::new([
                ("A_1_COOKIE", "x"),
                ("A_7_COOKIE", "y"),
                ("A_0_COOKIE", "z")
            ])
            .numbers("A_", "_COOKIE"),
            [1, 7]
        );
    }
}
