//! The command line of `drive`, with its bounds.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum, value_parser};

/// Measures an OpenAI-compatible endpoint end to end: latency, throughput, lost pieces, CPU and memory.
///
/// Without --rate every connection sends its next request when the last answer has ended (closed loop). With --rate
/// requests are due at fixed times, whatever the gateway does; one that starts late is charged with its lateness.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The base URL, as an OpenAI client wants it: http://host:port/v1
    #[arg(long)]
    pub url: String,
    /// The path after it.
    #[arg(long, default_value = "/chat/completions")]
    pub path: String,
    /// The key. Better in the environment, where `ps` does not show it.
    #[arg(long, env = "DRIVE_KEY", hide_env_values = true, default_value = "")]
    pub key: String,
    /// The model to ask.
    #[arg(long, default_value = "load")]
    pub model: String,
    /// The last user message. The emulator obeys `load:pieces=64,every=20ms,size=16,wait=5ms` in it.
    #[arg(long, default_value = "Count from 1 to 20.", conflicts_with = "body")]
    pub prompt: String,
    /// Send this file instead of a body made from --model, --prompt and --mode.
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// How the answer comes.
    #[arg(long, value_enum, default_value_t = Mode::Sse)]
    pub mode: Mode,
    /// Each event repeats all before it, so that only its last piece is new.
    #[arg(long)]
    pub cumulative: bool,
    /// Connections, and so requests at a time.
    #[arg(long, short, default_value_t = 16, value_parser = value_parser!(u32).range(1..=20_000))]
    pub connections: u32,
    /// Requests a second (open loop).
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=3600))]
    pub duration: u32,
    /// Send so many requests in all, those of the warm-up included, and end when they have been answered.
    #[arg(long, value_parser = value_parser!(u64).range(1..=100_000_000))]
    pub requests: Option<u64>,
    /// Seconds before the measuring begins. The connections start spread over them.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(0..=600))]
    pub warmup: u32,
    /// Seconds after which a request counts as failed.
    #[arg(long, default_value_t = 600, value_parser = value_parser!(u32).range(1..=7200))]
    pub timeout: u32,
    /// Streams that are held open beside the load, from before the measuring to its end.
    #[arg(long, value_name = "STREAMS", default_value_t = 0, value_parser = value_parser!(u32).range(0..=20_000))]
    pub hold: u32,
    /// What the held streams ask for.
    #[arg(long, default_value = "load:pieces=100000,every=2000ms")]
    pub hold_prompt: String,
    /// No load beside the held streams: only they are measured.
    #[arg(long, requires = "hold")]
    pub hold_only: bool,
    /// Give each connection its own X-Session-Id, so that a cluster spreads them over its workers.
    #[arg(long)]
    pub sessions: bool,
    /// Count CPU time and memory of this process and its descendants; repeatable.
    #[arg(long, value_name = "NAME=PID")]
    pub watch_pid: Vec<Watch>,
    /// An earlier --json of the same load without the gateway: its times are subtracted.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write every figure into this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with the curves into this file.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// The heading of the report.
    #[arg(long, default_value = "hive2api load test")]
    pub title: String,
    /// No progress bar and no table.
    #[arg(long, short)]
    pub quiet: bool,
}

/// How answers come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// As server-sent events.
    Sse,
    /// In one piece.
    Json,
}

/// A process whose cost is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What it is called in the results.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

impl FromStr for Watch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "this is not NAME=PID".to_owned();
        let (name, pid) = text.split_once('=').ok_or_else(wanted)?;
        Ok(Self {
            name: name.to_owned(),
            pid: pid.parse().map_err(|_| wanted())?,
        })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "this is no number".to_owned())?;
    if (0.001..=1_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("between 0.001 and 1000000".to_owned())
    }
}
