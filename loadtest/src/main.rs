//! The command line of the simulators.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use hive2api_loadtest::simulate::{self, ACCOUNTS, Options, Running};

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
    /// Write the settings that point a worker at the simulators into this file, as a `.env` file.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Create this file, with the lines of stdout in it, once every simulator answers.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Cli {
        command: Command::Simulate(arguments),
    } = Cli::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to hear of a closed stderr.
            let _closed = writeln!(io::stderr(), "hive2api-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Simulate) -> io::Result<()> {
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
        [] => simulate::names().collect(),
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
        };
        let failed = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
        simulate::start(name, options).map_err(failed)
    };
    (0..).zip(names).map(start).collect()
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
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
