//! What the providers and the dispatcher read.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Problems, Vars};
use crate::{
    accounts::{Kept, Patience},
    chat::request::MOST_MODEL_BYTES,
    upstream::fetch,
};

/// What to do with an upstream conversation when its answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversations {
    /// Delete it.
    Delete,
    /// Leave it in the account's history.
    Keep,
}

/// What [`crate::providers`] reads, whichever provider it is; each reads its own variables besides.
#[derive(Clone, Debug)]
pub struct Providers {
    /// `REQUEST_TIMEOUT`: for a whole answer.
    pub request_timeout: Duration,
    /// `RETRY_DELAYS_MS`: waits before further tries after passing faults.
    pub retry_delays: Vec<Duration>,
    /// `COOLDOWN_BASE_SECONDS`, `ACCOUNT_PROBE_SECONDS`.
    pub patience: Patience,
    /// `CONVERSATIONS`.
    pub conversations: Conversations,
    /// `FETCH_ALLOW_HOSTS`, `FETCH_MAX_BYTES`, `FETCH_TIMEOUT`.
    pub fetch: fetch::Policy,
    /// `MODEL_ROUTES`: alias to `provider/model`, in order of preference.
    pub model_routes: BTreeMap<String, Vec<String>>,
    /// `TOKENS_FILE`: where rotated credentials are kept; by default beside the settings file, which
    /// [`crate::process::start`] knows.
    pub kept: Kept,
}

/// The texts among them.
#[derive(Default, Deserialize)]
struct Texts {
    retry_delays_ms: Option<String>,
    fetch_allow_hosts: Option<String>,
    model_routes: Option<String>,
    tokens_file: Option<PathBuf>,
}

impl Providers {
    pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Self {
        let texts: Texts = vars.texts(problems);
        Self {
            request_timeout: vars.seconds("REQUEST_TIMEOUT", 600.0, problems),
            retry_delays: retry_delays(texts.retry_delays_ms.as_deref(), problems),
            patience: Patience {
                base: vars.seconds("COOLDOWN_BASE_SECONDS", 2.0, problems),
                probe: vars.seconds("ACCOUNT_PROBE_SECONDS", 600.0, problems),
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
            fetch: fetch::Policy {
                most_bytes: vars.number("FETCH_MAX_BYTES", 100 << 20, 1024, 1 << 30, problems),
                timeout: vars.seconds("FETCH_TIMEOUT", 60.0, problems),
                allowed_hosts: hosts(texts.fetch_allow_hosts.as_deref()),
                own_hosts: vars.own_hosts(),
            },
            model_routes: model_routes(texts.model_routes.as_deref(), problems),
            kept: texts.tokens_file.map(Kept::in_file).unwrap_or_default(),
        }
    }
}

fn hosts(text: Option<&str>) -> Vec<String> {
    let hosts = text.into_iter().flat_map(|text| text.split(','));
    hosts.map(|host| host.trim().to_ascii_lowercase()).collect()
}

fn retry_delays(text: Option<&str>, problems: &mut Problems) -> Vec<Duration> {
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

fn model_routes(json: Option<&str>, problems: &mut Problems) -> BTreeMap<String, Vec<String>> {
    let Some(json) = json else {
        return BTreeMap::new();
    };
    let routes: BTreeMap<String, Vec<String>> = serde_json::from_str(json).unwrap_or_else(|_| {
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
