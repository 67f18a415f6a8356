//! What the providers and the dispatcher read.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

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
    /// Go on with it when the chat goes on; delete it when it has been idle.
    Reuse,
}

/// Where tools and formats come from for models that may or may not have them: `TOOLS`, and a route's own `tools`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tools {
    /// From the model's own service where it has them, else from the gateway.
    #[default]
    Emulate,
    /// From the model's own service alone: of any other, requests for them are refused.
    Native,
    /// Tools from nowhere: requests for them are refused. Formats as with [`Tools::Native`].
    Off,
}

/// Where an alias leads to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct Target {
    /// `provider/model`.
    pub model: String,
    /// `tools`: in place of `TOOLS`.
    pub tools: Option<Tools>,
}

/// As people write it: a name, or an object with options.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    With(With),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct With {
    model: String,
    tools: Option<Tools>,
}

impl From<Written> for Target {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(model) => Self { model, tools: None },
            Written::With(With { model, tools }) => Self { model, tools },
        }
    }
}

impl From<&str> for Target {
    fn from(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            tools: None,
        }
    }
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
    /// `CONVERSATION_TTL`: how long a conversation that may be gone on with is kept after its last answer.
    pub conversation_ttl: Duration,
    /// `FETCH_ALLOW_HOSTS`, `FETCH_MAX_BYTES`, `FETCH_TIMEOUT`. Every turn has it at hand, and few need it.
    pub fetch: Arc<fetch::Policy>,
    /// `MODEL_ROUTES`: alias to `provider/model`, in order of preference.
    pub model_routes: BTreeMap<String, Vec<Target>>,
    /// `TOOLS`.
    pub tools: Tools,
    /// `ACCOUNT_CHECK_INTERVAL`: how often services are asked about accounts; `None`: never by itself.
    pub check_interval: Option<Duration>,
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
                    ("reuse", Conversations::Reuse),
                ],
                Conversations::Delete,
                problems,
            ),
            conversation_ttl: vars.seconds("CONVERSATION_TTL", 3600.0, problems),
            fetch: Arc::new(fetch::Policy {
                // The default is that of the wire pages for attachments.
                most_bytes: vars.number("FETCH_MAX_BYTES", 100 << 20, 1024, 1 << 30, problems),
                timeout: vars.seconds("FETCH_TIMEOUT", 60.0, problems),
                allowed_hosts: hosts(texts.fetch_allow_hosts.as_deref()),
                own_hosts: vars.own_hosts(),
            }),
            tools: vars.choice(
                "TOOLS",
                &[
                    ("emulate", Tools::Emulate),
                    ("native", Tools::Native),
                    ("off", Tools::Off),
                ],
                Tools::Emulate,
                problems,
            ),
            check_interval: check_interval(vars, problems),
            model_routes: model_routes(texts.model_routes.as_deref(), problems),
            kept: texts.tokens_file.map(Kept::in_file).unwrap_or_default(),
        }
    }
}

/// Some services do not want to be asked more often than every ten minutes.
const SHORTEST_CHECK_INTERVAL: f64 = 600.0;

fn check_interval(vars: &Vars, problems: &mut Problems) -> Option<Duration> {
    let seconds = vars.number("ACCOUNT_CHECK_INTERVAL", 21_600.0, 0.0, 604_800.0, problems);
    if seconds > 0.0 && seconds < SHORTEST_CHECK_INTERVAL {
        problems.push("ACCOUNT_CHECK_INTERVAL must be 0 (never) or at least 600 seconds");
    }
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
}

fn hosts(text: Option<&str>) -> Vec<String> {
    let hosts = text.into_iter().flat_map(|text| text.split(','));
    hosts.map(|host| host.trim().to_ascii_lowercase()).collect()
}

fn retry_delays(text: Option<&str>, problems: &mut Problems) -> Vec<Duration> {
    let Some(text) = text else {
        // Three, which with doubling is seven seconds: longer than most hiccups, shorter than a client's patience.
        return [1000, 2000, 4000].map(Duration::from_millis).to_vec();
    };
    let delays: Result<Vec<u64>, _> = text
        .split(',')
        .map(str::trim)
        .filter(|delay| !delay.is_empty() && *delay != "none")
        .map(str::parse)
        .collect();
    // With a problem the worker does not start, so the empty list is never used.
    let delays = delays.unwrap_or_else(|_| {
        problems
            .push("RETRY_DELAYS_MS must be milliseconds separated by commas, or `none`".to_owned());
        Vec::new()
    });
    delays.into_iter().map(Duration::from_millis).collect()
}

fn model_routes(json: Option<&str>, problems: &mut Problems) -> BTreeMap<String, Vec<Target>> {
    let Some(json) = json else {
        return BTreeMap::new();
    };
    let routes: BTreeMap<String, Vec<Target>> = serde_json::from_str(json).unwrap_or_else(|_| {
        problems
            .push(r#"MODEL_ROUTES must be JSON: {"alias":["provider/model", {"model":"provider/model","tools":"emulate|native|off"}, …], …}"#.to_owned());
        BTreeMap::new()
    });
    for (alias, route) in &routes {
        let is_too_long = |name: &String| name.len() > MOST_MODEL_BYTES;
        if is_too_long(alias) || route.iter().any(|target| is_too_long(&target.model)) {
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
    fn a_route_is_a_name_or_a_name_with_options() {
        let mut problems = Problems::default();
        let routes = |json: &str, problems: &mut Problems| model_routes(Some(json), problems);
        let read = routes(
            r#"{"a":["qwen/x",{"model":"kimi/y","tools":"off"},{"model":"z"}]}"#,
            &mut problems,
        );
        let target = |model: &str, tools| Target {
            model: model.to_owned(),
            tools,
        };
        assert_eq!(
            read.get("a").unwrap(),
            &[
                target("qwen/x", None),
                target("kimi/y", Some(Tools::Off)),
                target("z", None)
            ]
        );
        assert!(problems.errors.is_empty(), "{problems:?}");
        for wrong in [
            r#"{"a":[{"model":"x","tools":"some"}]}"#,
            r#"{"a":[{"tools":"off"}]}"#,
            r#"{"a":[{"model":"x","tool":"off"}]}"#,
        ] {
            let mut problems = Problems::default();
            routes(wrong, &mut problems);
            assert_eq!(problems.errors.len(), 1, "{wrong}");
        }
    }
}
