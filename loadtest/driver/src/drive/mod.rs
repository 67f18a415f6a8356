//! The load driver. In the order in which a run meets them:
//!
//! - [`Options`]: the command line; `request`: the bytes that are sent, rendered once.
//! - `schedule`: when requests are due, and from when on their time counts.
//! - `socket`, `connection`: one connection; `response`, `answer`, `ledger`: what it reads, without the socket: the HTTP message, the
//!   pieces in it, and whether one is missing, doubled or out of turn.
//! - `tally`: what is counted; `proc`: what the gateway's processes cost meanwhile.
//! - `results`, `table`, `report`: the figures, for programs and for people.
//!
//! Everything runs on one thread: the driver shares a small machine with what it measures.

mod answer;
mod connection;
mod ledger;
mod load;
mod options;
mod proc;
mod progress;
mod report;
mod request;
mod response;
mod results;
mod schedule;
mod socket;
mod table;
mod tally;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub use self::options::{Mode, Options, Watch};

/// Runs the load and says what was seen. Whether no request failed and no piece was missing, doubled or misplaced.
///
/// # Errors
/// When the run cannot begin, or its results cannot be written.
pub fn run(options: &Options) -> io::Result<bool> {
    raise_file_limit();
    let read = |file: &PathBuf| fs::read(file).map_err(|error| of(file, &error));
    let baseline = options.baseline.as_ref().map(read).transpose()?;
    let measured = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(load::run(options))?;
    let results = results::Results::new(options, &measured, baseline.as_deref())?;
    if let Some(file) = &options.json {
        fs::write(file, serde_json::to_vec_pretty(&results)?).map_err(|error| of(file, &error))?;
    }
    if let Some(file) = &options.report {
        fs::write(file, report::page(&results)?).map_err(|error| of(file, &error))?;
    }
    if !options.quiet {
        io::stdout().write_all(table::table(&results).as_bytes())?;
    }
    Ok(results.errors() == 0)
}

/// The error, with the name of the file that it is about.
fn of(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// Each connection is a file; where the limit cannot be raised, connecting will say so.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _refused = setrlimit(Resource::Nofile, limit);
}
