//! What the program does when it is not asked to serve: short answers for scripts and for container health checks.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    process::ExitCode,
    time::Duration,
};

use super::start::Start;
use crate::settings::{Vars, is_credential};

/// `EX_CONFIG` of sysexits.h: the settings are wrong.
const BAD_SETTINGS: u8 = 78;
/// How long a worker that lives takes at most to say so.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Prints a text to standard output.
pub fn say(text: &str) -> ExitCode {
    // A closed pipe is the reader's choice.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Prints all that is wrong to standard error. Exit code 78.
pub fn complain(problems: &[String]) -> ExitCode {
    let list: String = problems
        .iter()
        .map(|problem| format!("  - {problem}\n"))
        .collect();
    let _ = io::stderr().write_all(format!("hive2api-worker cannot start:\n{list}").as_bytes());
    ExitCode::from(BAD_SETTINGS)
}

/// Prints each provider that has an account; exit code 1 where none has.
pub fn accounts() -> ExitCode {
    let registry = match Start::read() {
        Ok(start) => start.registry,
        Err(problems) => return complain(&problems),
    };
    let providers = registry.providers().iter();
    let configured = providers.filter(|provider| provider.accounts().is_configured());
    let names: String = configured
        .map(|provider| format!("{}\n", provider.name()))
        .collect();
    say(&names);
    if names.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Prints one variable, a credential as a client or a request would carry it.
pub fn setting(name: Option<&str>) -> ExitCode {
    let Some(name) = name else {
        return complain(&["setting wants a name; see --help".to_owned()]);
    };
    let value = match Vars::load() {
        Ok((vars, _)) if is_credential(name) => vars.pasted(name),
        Ok((vars, _)) => vars.get(name).map(str::to_owned),
        Err(problem) => return complain(&[problem]),
    };
    say(&value.map_or_else(String::new, |value| value + "\n"))
}

/// Asks the worker on this machine whether it lives.
pub fn health() -> ExitCode {
    let port = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(8080_u16);
    // Anything but a 200, a time-out included, is unwell.
    if is_healthy(port).unwrap_or(false) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn is_healthy(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), LONGEST_WAIT)?;
    stream.set_read_timeout(Some(LONGEST_WAIT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    // `HTTP/1.1 200`: that is all that is looked at.
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b" 200"))
}
