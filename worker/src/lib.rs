//! The hive2api worker. The modules in the order in which a request meets them:
//!
//! - [`settings`]: environment variables become checked settings, all mistakes at once.
//! - [`http`]: the doors. What clients speak: authentication, OpenAI's chat completions and models, errors,
//!   server-sent events, health and docs.
//! - [`chat`]: the language between doors and providers: the request, the events of an answer, limits, deltas, tokens.
//! - [`providers`]: one folder a web chat, and the registry and dispatcher that choose among them.
//! - [`accounts`]: credentials and the pool that lends them out.
//! - [`upstream`]: transports to the providers: HTTP, server-sent events, multipart, guarded fetching.
//! - [`metrics`]: every metric in one place; [`log`]: log lines, written together.
//! - [`server`]: an app on a socket, from start to drained end; [`watch`]: credentials renewed while it runs;
//!   [`upkeep`]: what providers do apart from any turn; [`memory`]: what is given back after a peak.
//! - [`budget`]: how much memory all requests together may hold.
//! - [`doctor`]: apart from all this, `.env`, nginx and compose files looked through for mistakes.

pub mod accounts;
pub mod budget;
pub mod chat;
pub mod doctor;
pub mod http;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod providers;
pub mod server;
pub mod settings;
pub mod upkeep;
pub mod upstream;
pub mod watch;
