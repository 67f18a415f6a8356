//! The hive2api worker: one OpenAI-compatible endpoint in front of the web chats that somebody has accounts with. The
//! modules, in the order in which a process and then a request meets them:
//!
//! [`process`] is the program: it starts, serves, writes its [log](process::log), takes renewed credentials over and
//! drains when it is told to end. What it may be asked instead of serving is in [`process::commands`].
//!
//! [`settings`] turns environment variables and the accounts file into checked values, all mistakes at once.
//!
//! [`app`] is what all requests share: settings, providers, keys, and what runs at this moment.
//!
//! [`http`] has the doors, where a request comes in: who may enter, how it is read, which dialect it speaks (OpenAI's chat
//! completions and models), how errors and server-sent events leave; beside them health, metrics and docs.
//!
//! [`budget`] gives each request a share of the memory that all of them together may hold, before it takes any.
//!
//! [`chat`] is the language between doors and providers: the request, the events of an answer, its limits, deltas, tokens.
//! It knows neither HTTP nor any provider.
//!
//! [`providers`] chooses who answers, tries again where that may help, and cleans up; below it stands one folder a web
//! chat, each speaking its private protocol.
//!
//! [`accounts`] holds the credentials: who is healthy, who rests, who is lent to which turn.
//!
//! [`roster`] adds accounts while the worker runs, and asks services how those that there are stand.
//!
//! [`answers`] may be given again, where the owner wants it.
//!
//! [`conversations`] knows which upstream conversation goes on with which chat, where the settings say so.
//!
//! [`store`] keeps what the workers of a cluster must know together, and never stands in the way.
//!
//! [`upstream`] carries bytes to the services and back: HTTP, server-sent events, Connect envelopes, WebSocket,
//! Socket.IO, multipart, guarded fetching. It knows no provider.
//!
//! [`seal`] makes ids that hold what they stand for, so that any worker answers for what another one has begun.
//!
//! [`recent`] is what one worker remembers for a while, bounded in bytes.
//!
//! `impossible` is how the code says that something cannot be missing, and why.
//!
//! [`metrics`] has every metric in one place; whoever does something counts it there.
//!
//! [`doctor`], apart from all this, looks `.env`, nginx and compose files through for mistakes.

pub mod accounts;
pub mod answers;
pub mod app;
pub mod budget;
pub mod chat;
pub mod conversations;
pub mod doctor;
pub mod http;
mod impossible;
pub mod keys;
pub mod metrics;
mod mutex;
pub mod process;
pub mod providers;
pub mod recent;
pub mod roster;
pub mod seal;
pub mod settings;
pub mod store;
pub mod upstream;
