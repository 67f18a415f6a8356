//! What the process reads: where it listens, how it ends, how it logs.

use std::time::Duration;

use serde::Deserialize;

use super::{Problems, Vars};

/// The texts among them.
#[derive(Default, Deserialize)]
struct Texts {
    host: Option<String>,
    log_level: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What [`crate::process::log`] reads.
#[derive(Clone, Debug)]
pub struct Log {
    /// `LOG_FORMAT`.
    pub format: LogFormat,
    /// `LOG_LEVEL`: a filter of tracing-subscriber.
    pub level: String,
}

/// What [`crate::process`] reads.
#[derive(Clone, Debug)]
pub struct Process {
    /// `HOST`.
    pub host: String,
    /// `PORT`.
    pub port: u16,
    /// `WORKER_THREADS`: event loops.
    pub threads: usize,
    /// `KEEP_ALIVE_TIMEOUT`: of idle client connections; outlives nginx's.
    pub keep_alive: Duration,
    /// `DRAIN_TIMEOUT`: for running answers after SIGTERM.
    pub drain_timeout: Duration,
    /// `DRAIN_GRACE`: how long connections are still accepted after SIGTERM.
    pub drain_grace: Duration,
    /// Log lines.
    pub log: Log,
}

impl Process {
    pub(super) fn read(vars: &Vars, problems: &mut Problems) -> Self {
        let texts: Texts = vars.texts(problems);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            host: texts.host.unwrap_or_else(|| "0.0.0.0".to_owned()),
            port: vars.number("PORT", 8080, 0, u16::MAX, problems),
            threads: vars.number("WORKER_THREADS", cores, 1, 256, problems),
            keep_alive: vars.seconds("KEEP_ALIVE_TIMEOUT", 75.0, problems),
            drain_timeout: vars.seconds("DRAIN_TIMEOUT", 120.0, problems),
            drain_grace: vars.seconds("DRAIN_GRACE", 3.0, problems),
            log: Log {
                format: vars.choice(
                    "LOG_FORMAT",
                    &[("json", LogFormat::Json), ("text", LogFormat::Text)],
                    LogFormat::Json,
                    problems,
                ),
                level: texts.log_level.unwrap_or_else(|| "info".to_owned()),
            },
        }
    }
}
