//! The worker process: read settings, build the app, serve, drain.

use std::{io::Write as _, process::ExitCode, sync::Arc};

use hive2api_worker::{
    chat::tokens,
    doctor,
    http::App,
    log, memory,
    providers::Registry,
    server,
    settings::{Settings, Vars, is_credential},
    upkeep, watch,
};

/// `EX_CONFIG` of sysexits.h: the settings are wrong.
const BAD_SETTINGS: u8 = 78;
const HELP: &str =
    "hive2api-worker: one OpenAI-compatible endpoint for the web chats you have an account with.

Usage: hive2api-worker [--health | --version | --help]
       hive2api-worker doctor [OPTION]… [DIR]
       hive2api-worker accounts | setting NAME

Settings come from the environment and from the dotenv file named by ACCOUNTS_FILE (default: .env);
.env.example lists them all. --health asks the worker on this machine (PORT) whether it lives.
doctor looks .env, nginx and compose files through for mistakes; doctor --help says more.
accounts names the providers that have an account (exit code 1: none has); setting prints what the worker makes of a
variable (nothing where it is not set). Scripts ask these two instead of reading .env themselves.
";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--help" | "-h") => return say(HELP),
        Some("--version" | "-V") => {
            return say(concat!("hive2api-worker ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Some("--health") => return health(),
        Some("doctor") => return doctor::run(std::env::args().skip(2)),
        Some("accounts") => return accounts(),
        Some("setting") => return setting(std::env::args().nth(2).as_deref()),
        Some(other) => return complain(&[format!("unknown argument {other:?}; see --help")]),
    }
    let (vars, path, settings) = match read() {
        Ok(read) => read,
        Err(problems) => return complain(&problems),
    };
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return complain(&["a TLS provider is installed already".to_owned()]);
    }
    // Before the providers, which warn of accounts that they leave out.
    log::start(&settings);
    let mut problems = Vec::new();
    let registry = Registry::new(&vars, &settings, &mut problems);
    // What the file may change later is what the environment does not fix.
    let environment = Vars::environment().unwrap_or_else(|problem| {
        problems.push(problem);
        Vars::default()
    });
    if !problems.is_empty() {
        log::flush();
        return complain(&problems);
    }
    // Two connections a stream, and the usual 1024 would be 500 streams. Where it cannot be raised, it stays.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let served = actix_web::rt::System::new().block_on(serve(
        App::new(settings, registry),
        environment,
        vars,
        path,
    ));
    let code = match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker cannot serve");
            ExitCode::FAILURE
        }
    };
    log::flush();
    code
}

type Read = (Vars, std::path::PathBuf, Settings);

fn read() -> Result<Read, Vec<String>> {
    let (vars, path) = Vars::load().map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut settings = Settings::read(&vars, &mut problems);
    let mut beside = path.clone().into_os_string();
    beside.push(".tokens");
    settings.kept = settings.kept.or_in_file(beside.into());
    if problems.is_empty() {
        return Ok((vars, path, settings));
    }
    // All mistakes together.
    Registry::new(&vars, &settings, &mut problems);
    Err(problems)
}

/// Prints each provider that has an account.
fn accounts() -> ExitCode {
    let read = read().and_then(|(vars, _, settings)| {
        let mut problems = Vec::new();
        let registry = Registry::new(&vars, &settings, &mut problems);
        if problems.is_empty() {
            Ok(registry)
        } else {
            Err(problems)
        }
    });
    let registry = match read {
        Ok(registry) => registry,
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
fn setting(name: Option<&str>) -> ExitCode {
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

async fn serve(
    app: App,
    environment: Vars,
    started: Vars,
    path: std::path::PathBuf,
) -> std::io::Result<()> {
    let app = Arc::new(app);
    let listener = server::listen(&app.settings.host, app.settings.port)?;
    let server = server::start(Arc::clone(&app), listener)?;
    for provider in app.registry.providers() {
        let accounts = provider.accounts().census().ready;
        tracing::info!(
            provider = provider.name(),
            accounts,
            models = provider.models().len(),
            "provider"
        );
    }
    tracing::info!(
        host = app.settings.host,
        port = app.settings.port,
        worker = app.settings.worker_name,
        "serving"
    );
    if app.registry.counts_tokens() {
        std::thread::spawn(tokens::warm_up);
    }
    memory::watch(Arc::clone(&app));
    let watching = actix_web::rt::spawn(watch::watch(Arc::clone(&app), environment, started, path));
    let upkeep = actix_web::rt::spawn(upkeep::run(Arc::clone(&app)));
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    server::drain_on_signal(app, handle).await?;
    watching.abort();
    upkeep.abort();
    serving.abort();
    Ok(())
}

/// Asks the worker on this machine whether it lives; for container health checks.
fn health() -> ExitCode {
    use std::io::Read as _;
    let port = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .unwrap_or(8080_u16);
    let ask = || -> std::io::Result<bool> {
        let mut stream = std::net::TcpStream::connect_timeout(
            &([127, 0, 0, 1], port).into(),
            std::time::Duration::from_secs(2),
        )?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    if ask().unwrap_or(false) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn say(text: &str) -> ExitCode {
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(problems: &[String]) -> ExitCode {
    let list: String = problems
        .iter()
        .map(|problem| format!("  - {problem}\n"))
        .collect();
    let _ =
        std::io::stderr().write_all(format!("hive2api-worker cannot start:\n{list}").as_bytes());
    ExitCode::from(BAD_SETTINGS)
}
