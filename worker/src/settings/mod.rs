//! Settings: environment variables, with a dotenv file below them, each group read for the module that it is named
//! after. Everything is checked at once and all mistakes are listed together. Source: design.md section 5.

pub mod file;
mod http;
mod placeholder;
pub mod problems;
mod process;
mod providers;
mod store;
pub mod text;
mod upstream;
mod vars;

use std::fs;

pub use http::{ApiKey, Http, MASTER, ReasoningFormat};
pub use placeholder::{is_credential, is_placeholder};
pub use problems::Problems;
pub use process::{Log, LogFormat, Process};
pub use providers::{Conversations, Providers, Target, Tools};
pub use store::Store;
pub use upstream::Upstream;
pub use vars::Vars;
#[cfg(test)]
pub(crate) use vars::tests::recorded;

/// Everything that is not one provider's own matter.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `WORKER_NAME`: what `X-Hive-Worker` and the metrics say.
    pub worker_name: String,
    /// Where the process listens, how it ends, how it logs.
    pub process: Process,
    /// Who may enter, how much at once, how an answer leaves.
    pub http: Http,
    /// How providers are asked, and again.
    pub providers: Providers,
    /// How their services are reached.
    pub upstream: Upstream,
    /// Where the store is.
    pub store: Store,
    /// All that was read, for the credentials in it, which each provider reads itself. Shows no value.
    pub vars: Vars,
}

impl Settings {
    /// Reads and checks everything; what is wrong goes to `problems`.
    pub fn read(vars: &Vars, problems: &mut Problems) -> Self {
        let name = vars.get("WORKER_NAME").map(str::to_owned);
        Self {
            worker_name: name.unwrap_or_else(default_worker_name),
            process: Process::read(vars, problems),
            http: Http::read(vars, problems),
            providers: Providers::read(vars, problems),
            upstream: Upstream::read(vars, problems),
            store: Store::read(vars, problems),
            vars: vars.clone(),
        }
    }
}

/// Container or host name and process: distinct for every worker.
fn default_worker_name() -> String {
    // Containers have it as their id, which is what tells workers of one machine apart.
    let host = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = host.trim();
    format!(
        "{}-{}",
        if host.is_empty() { "worker" } else { host },
        std::process::id()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_all_mistakes_at_once() {
        let mut problems = Problems::default();
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
                problems.errors.iter().any(|problem| problem.contains(name)),
                "{name} in {problems:?}"
            );
        }
    }
}
