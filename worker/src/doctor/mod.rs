//! `hive2api-worker doctor`: reads `.env`, nginx and compose files together and says in plain words what is wrong.
//!
//! `sources` reads the files, `setup` puts them together, `env`, `nginx` and `compose` hold the checks (one small
//! function each, without I/O), `finding` is what they answer with. Only `online` and `clock` look outside. The
//! variables are judged by the worker's own settings and providers, so the two cannot disagree.

mod clock;
mod compose;
mod env;
pub mod finding;
pub(crate) mod names;
mod nginx;
mod online;
mod options;
mod setup;
pub mod sources;

use std::{
    io::Write as _,
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use self::{
    finding::{Finding, Report, Severity},
    options::{HELP, Options},
    setup::Setup,
    sources::{Includes, Source},
};

/// `EX_USAGE` of sysexits.h.
const BAD_USAGE: u8 = 64;
const FAILED: u8 = 1;

/// Runs the subcommand with the arguments behind its name.
pub fn run(args: impl IntoIterator<Item = String>) -> ExitCode {
    let options = match Options::read(args) {
        Ok(options) => options,
        Err(problem) => return refuse(&problem),
    };
    if options.is_help {
        return say(HELP, 0);
    }
    let folder = options.folder.as_deref().unwrap_or_else(|| Path::new("."));
    if options.folder.is_some() && !folder.is_dir() {
        return refuse(&format!("there is no folder {}", folder.display()));
    }
    let mut files = options.files;
    if files.is_empty() || options.folder.is_some() {
        files.extend(sources::discover(folder));
    }
    if files.is_empty() {
        return refuse(&format!(
            "no .env, compose or nginx file in {}",
            folder.display()
        ));
    }
    let (mut found, mut read) = (Vec::new(), Vec::new());
    for (kind, path) in &files {
        match sources::read(*kind, path) {
            Ok(source) => read.push(source),
            Err(finding) => found.push(*finding),
        }
    }
    let setup = Setup::new(&read, &sources::included);
    let now = now();
    found.extend(check(&setup, now));
    found.extend(clock::check(now));
    if options.is_online {
        found.extend(online::check(&setup));
    }
    let report = Report::new(files.len(), found);
    let has_failed = report.count(Severity::Error) > 0
        || (options.is_strict && report.count(Severity::Warning) > 0);
    let text = if options.is_json {
        report.json()
    } else {
        report.text()
    };
    say(&text, if has_failed { FAILED } else { 0 })
}

/// Everything that can be found in files alone, as of a time.
pub fn examine(sources: &[Source], includes: &Includes<'_>, now: Duration) -> Report {
    let setup = Setup::new(sources, includes);
    Report::new(sources.len(), check(&setup, now))
}

fn check(setup: &Setup, now: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    env::check(setup, now.as_secs_f64(), &mut found);
    nginx::check(setup, &mut found);
    compose::check(setup, &mut found);
    found
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn say(text: &str, code: u8) -> ExitCode {
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn refuse(problem: &str) -> ExitCode {
    let text = format!("hive2api-worker doctor: {problem}; see --help\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(BAD_USAGE)
}

/// Runs everything on some text, as each kind of file.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{sources::Kind, *};

    proptest! {
        // Each case builds every provider anew.
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_text_panics(text in "[a-zA-Z0-9_=:;{}\\[\\]'\"$@#*&!|>%`\\\\ \t\n\r\u{feff}-]{0,120}") {
            let source = |kind| Source { kind, path: "f".into(), text: text.clone(), access: None };
            let sources = [source(Kind::Env), source(Kind::Nginx), source(Kind::Compose)];
            let report = examine(&sources, &|_, _| Vec::new(), Duration::from_secs(1_795_046_400));
            prop_assert!(report.text().contains(" in 3 files"));
        }
    }
}
