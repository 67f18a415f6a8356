//! The command line of the simulators, the emulator and the load driver.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use hive2api_loadtest::{drive, emulate, tools};
use hive2api_simulators::{self as simulators, ACCOUNTS, Options, Running};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays providers: one strict server each, until Ctrl-C or SIGTERM.
    Simulate(Simulate),
    /// An upstream for measuring: checks nothing, costs little, writes number and time into each piece.
    ///
    /// Plays an OpenAI-compatible API (/v1/chat/completions) and Qwen's cumulative web chat (/dialog/conversation) on one
    /// port. `load:pieces=64,every=20ms,size=16,wait=5ms` in a question overrides the options.
    Emulate(Emulate),
    Drive(Box<drive::Options>),
    Tools(tools::Options),
}

#[derive(Args)]
struct Emulate {
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Pieces of an answer.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pieces: u32,
    /// Milliseconds between two pieces; 0: one write after the other.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    every: u64,
    /// Bytes of text a piece, its number and time included.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    size: u32,
    /// Milliseconds of silence before the first piece.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    wait: u64,
    /// Create this file, with the URL in it, once it answers.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[derive(Args)]
struct Simulate {
    /// The providers to play; all of them when none is named.
    names: Vec<String>,
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The first simulator takes this port, the next ones those after it; 0 takes free ports.
    #[arg(long, alias = "port", default_value_t = 0)]
    port_base: u16,
    /// The pause before each piece of an answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 30)]
    pace: u64,
    /// How many fake accounts of each provider the settings name.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=ACCOUNTS as i64))]
    accounts: u8,
    /// The generation of the services: `both` (all at once), `oldest`, `newest`, or a name of its own as PROVIDER=NAME.
    ///
    /// Repeatable, the last one that concerns a provider counts. deepseek: v2.0, v2.5; doubao: samantha, chat; kimi: k2,
    /// k3_scenario, k3; langfast: anonymous, session; metaso: searchv2, chat; minimax: matrix, archon, cloud;
    /// qwen: dialog, chat2; xinghuo: classic, spark; zhipu: cumulative, increments. While they run, `POST /__sim/generation` with `{"name":"newest"}` changes it.
    #[arg(long, value_name = "NAME", default_value = simulators::BOTH)]
    generation: Vec<String>,
    /// Write the settings that point a worker at the simulators into this file, as a `.env` file.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Create this file, with the lines of stdout in it, once every simulator answers.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Simulate(arguments) => simulate(&arguments).map(|()| true),
        Command::Emulate(arguments) => emulate(&arguments).map(|()| true),
        Command::Drive(options) => drive::run(&options),
        Command::Tools(options) => tools::run(&options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to hear of a closed stderr.
            let _closed = writeln!(io::stderr(), "hive2api-loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

fn emulate(arguments: &Emulate) -> io::Result<()> {
    let script = emulate::Script {
        pieces: arguments.pieces,
        every: Duration::from_millis(arguments.every),
        size: usize::try_from(arguments.size).map_err(io::Error::other)?,
        wait: Duration::from_millis(arguments.wait),
        aligned: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = emulate::bind(SocketAddr::new(arguments.host, arguments.port))?;
        let line = format!("load http://{}\n", listener.local_addr()?);
        if let Some(file) = &arguments.ready_file {
            write(file, &line)?;
        }
        io::stdout().write_all(line.as_bytes())?;
        io::stdout().flush()?;
        tokio::select! {
            result = emulate::serve(listener, script) => result,
            result = ended() => result,
        }
    })
}

fn simulate(arguments: &Simulate) -> io::Result<()> {
    let simulators = start(arguments)?;
    let lines: String = simulators
        .iter()
        .map(|running| format!("{} {}\n", running.name, running.url))
        .collect();
    if let Some(file) = &arguments.env_file {
        write(file, &dotenv(&simulators))?;
    }
    if let Some(file) = &arguments.ready_file {
        write(file, &lines)?;
    }
    io::stdout().write_all(lines.as_bytes())?;
    io::stdout().flush()?;
    until_told_to_end()
}

fn start(arguments: &Simulate) -> io::Result<Vec<Running>> {
    let names: Vec<&str> = match arguments.names.as_slice() {
        [] => simulators::names().collect(),
        names => names.iter().map(String::as_str).collect(),
    };
    let port = |at: u16| match arguments.port_base {
        0 => Ok(0),
        base => base
            .checked_add(at)
            .ok_or_else(|| io::Error::other("the ports end at 65535")),
    };
    let start = |(at, name): (u16, &str)| {
        let options = Options {
            host: arguments.host,
            port: port(at)?,
            pace: Duration::from_millis(arguments.pace),
            accounts: usize::from(arguments.accounts),
            generation: generation(&arguments.generation, name).to_owned(),
        };
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
        simulators::start(name, options).map_err(failed)
    };
    (0..).zip(names).map(start).collect()
}

/// What the last order that concerns a simulator says.
fn generation<'a>(orders: &'a [String], simulator: &str) -> &'a str {
    let own = |order: &'a String| match order.split_once('=') {
        Some((name, generation)) => (name == simulator).then_some(generation),
        None => Some(order.as_str()),
    };
    orders
        .iter()
        .rev()
        .find_map(own)
        .unwrap_or(simulators::BOTH)
}

/// The settings of all simulators. Values with anything special stand in single quotes: readers of `.env` files expand
/// `$` outside of them.
fn dotenv(simulators: &[Running]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,".contains(c);
    let line = |(name, value): (String, String)| match value.chars().all(plain) {
        true => format!("{name}={value}\n"),
        false => format!("{name}='{value}'\n"),
    };
    simulators.iter().flat_map(Running::env).map(line).collect()
}

/// Writes a file so that whoever waits for it never sees half of it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, file)
}

#[actix_web::main]
async fn until_told_to_end() -> io::Result<()> {
    ended().await
}

async fn ended() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
