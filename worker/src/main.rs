//! The worker's binary: what it is asked to do, its allocator, its settings, and then it serves.

use std::process::ExitCode;

use hive2api_worker::{
    app::App,
    doctor,
    process::{
        commands, log,
        serve::{self, Sources},
        start::Start,
    },
    providers::{card, registry},
    settings::{Vars, problems},
    store::Store,
};
use mimalloc::MiMalloc;

/// mimalloc takes fewer instructions than glibc for the hundred small pieces of a request, and starts large blocks on
/// pages of their own, so that of a connection's 8 KiB buffers only what is used takes memory. Huge pages, which would
/// take it all, are off.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const HELP: &str =
    "hive2api-worker: one OpenAI-compatible endpoint for the web chats you have an account with.

Usage: hive2api-worker [--health | --version | --help]
       hive2api-worker doctor [OPTION]… [DIR]
       hive2api-worker accounts | setting NAME | variables

Settings come from the environment and from the dotenv file named by ACCOUNTS_FILE (default: .env);
.env.example lists them all. --health asks the worker on this machine (PORT) whether it lives.
doctor looks .env, nginx and compose files through for mistakes; doctor --help says more.
accounts names the providers that have an account (exit code 1: none has); setting prints what the worker makes of a
variable (nothing where it is not set); variables lists what each provider reads: provider, role (credential, part, site,
address, option), name, and where a credential is found or an address's default, between tabs. Scripts ask these instead
of knowing providers or reading .env themselves.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => serve().unwrap_or_else(|problems| commands::complain(&problems)),
        Some("--help" | "-h") => commands::say(HELP),
        Some("--version" | "-V") => {
            commands::say(concat!("hive2api-worker ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        Some("--health") => commands::health(),
        Some("doctor") => doctor::run(arguments),
        Some("accounts") => commands::accounts(),
        Some("variables") => commands::say(&card::listing(registry::PROVIDERS)),
        Some("setting") => commands::setting(arguments.next().as_deref()),
        Some(other) => commands::complain(&[format!("unknown argument {other:?}; see --help")]),
    }
}

/// Serves until a signal ends it; or all that is wrong with the settings.
fn serve() -> Result<ExitCode, Vec<String>> {
    let start = Start::read()?;
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return Err(vec!["a TLS provider is installed already".to_owned()]);
    }
    let sources = Sources {
        // What the file may change later is what the environment does not fix.
        environment: Vars::environment().map_err(|problem| vec![problem])?,
        started: start.vars,
        path: start.path,
    };
    log::start(&start.settings.process.log);
    problems::log(&start.warnings);
    let store = Store::open(start.store).map_err(|error| vec![error.to_string()])?;
    let app = App::with_store(start.settings, start.registry, store);
    // Two connections a stream, and the usual 1024 would be 500 streams. Where it cannot be raised, it stays.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let served =
        actix_web::rt::System::new().block_on(serve::until_signal(app, sources, give_back));
    let code = match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker cannot serve");
            ExitCode::FAILURE
        }
    };
    log::flush();
    Ok(code)
}

/// Gives what is free back to the system. mimalloc does so while others allocate; after a peak nobody may, so it is told to.
fn give_back() {
    // A thread that has never allocated is no user of the allocator, and what it asks for is ignored.
    std::hint::black_box(Box::new(0_u8));
    #[expect(unsafe_code, reason = "the allocator offers this in C alone")]
    // SAFETY: `mi_collect` may be called by any thread at any time, and only touches memory that is free.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
