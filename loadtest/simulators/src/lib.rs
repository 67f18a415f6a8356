//! Faithful, strict servers for the providers, each on its own port: on this machine, without an account.
//!
//! `scripts/up` shows them to newcomers, the worker's integration tests start them in process, demos and the Python tests
//! start the binary (`hive2api-loadtest simulate`). Each is written from its provider's wire page alone and never looks at
//! the worker's code, so that the two judge each other.
//!
//! In the order in which a request meets them:
//!
//! - `server`: the socket. Reads the whole request, asks the simulator for a `reply`, plays it to the client and
//!   notices when the client goes away.
//! - `socket`: the same over a WebSocket.
//! - `request`, `form`, `fields`: what came in, and the strict reading of multipart forms and JSON.
//! - one module a provider (`anthropic`, `deepseek`, `doubao`, `ernie`, `flowgpt`, `kimi`, `langfast`, `metaso`, `minimax`,
//!   `openai`, `qwen`, `qwen_intl`, `xinghuo`, `zhipu`): the service as its wire page has it, as a plain function from request to
//!   reply.
//! - `media`: small real files, as stores serve them.
//! - [`script`], `prompt`, `pieces`, `calls`: what the answer says, calls of tools among it, and how it is cut up.
//! - [`control`], `faults`: what a test may order, and what it may look at afterwards.
//!
//! Services change their protocols. A simulator speaks all the generations that its page knows at once; one of them alone
//! by `--generation`, [`Options::generation`], [`Control::set_generation`] or `POST /__sim/generation`, also in mid-run:
//!
//! | simulator | generations, oldest first |
//! | --- | --- |
//! | deepseek | `v2.0` (a password is enough to log in), `v2.5` (logins want a real device; headers and body of 2026-11) |
//! | doubao | `samantha` (its own body and stream), `chat` (events of blocks and patches) |
//! | kimi | `k2` (no K3), `k3_scenario` (K3 as SCENARIO_K3), `k3` (K3 as ok-computer; options of 2026-09) |
//! | langfast | `anonymous` (anyone signs up), `session` (a user's own session; sign-ups are closed) |
//! | metaso | `searchv2` (a session, then its search), `chat` (one call) |
//! | minimax | `matrix` (no stream: polled), `archon` and `cloud` (sessions and a stream, under two prefixes) |
//! | qwen_intl | `v1` (upload grants, video tasks and logins flat), `v2` (the same in an envelope) |
//! | qwen | `dialog` (cookies), `chat2` (signed requests, one-time salts; the hosts of www.qianwen.com) |
//! | xinghuo | `classic` (GtToken), `spark` (options, firstChat, batch deletion, what is remembered of the user) |
//! | zhipu | `cumulative` (frames repeat the text, lasting refresh tokens), `increments` (frames of what is new, rotating ones) |
//!
//! A new simulator is one module and one line in the registry.

mod anthropic;
mod calls;
pub mod control;
mod deepseek;
mod doubao;
mod ernie;
mod faults;
mod fields;
mod flowgpt;
mod form;
mod kimi;
mod langfast;
mod media;
mod metaso;
mod minimax;
mod openai;
mod picture;
mod pieces;
mod prompt;
mod qwen;
mod qwen_intl;
mod reply;
mod request;
mod responses;
mod running;
pub mod script;
mod server;
mod socket;
mod xinghuo;
mod zhipu;

use std::{io, net::IpAddr, net::Ipv4Addr, sync::Arc, time::Duration};

use self::{control::Control, faults::Fault, reply::Reply, request::Request, socket::Opened};
pub use self::{
    control::{BOTH, Call, State, Turn},
    running::Running,
    script::Script,
};

/// Every simulator: its name and how it is made.
const REGISTRY: &[(&str, New)] = &[
    ("anthropic", |base| Ok(anthropic::simulator(base))),
    ("deepseek", |base| Ok(deepseek::simulator(base))),
    ("doubao", |base| Ok(doubao::simulator(base))),
    ("ernie", |base| Ok(ernie::simulator(base))),
    ("flowgpt", |base| Ok(flowgpt::simulator(base))),
    ("kimi", |base| Ok(kimi::simulator(base))),
    ("langfast", langfast::simulator),
    ("metaso", |base| Ok(metaso::simulator(base))),
    ("minimax", |base| Ok(minimax::simulator(base))),
    ("openai", |base| Ok(openai::simulator(base))),
    ("qwen", |base| Ok(qwen::simulator(base))),
    ("qwen_intl", |base| Ok(qwen_intl::simulator(base))),
    ("responses", |base| Ok(responses::simulator(base))),
    ("xinghuo", |base| Ok(xinghuo::simulator(base))),
    ("zhipu", |base| Ok(zhipu::simulator(base))),
];

/// Makes a simulator that answers at the given base URL (without a trailing slash).
type New = fn(base: &str) -> io::Result<Box<dyn Simulator>>;

/// How a simulator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The pause before each piece of an answer. A script or a `pace:` directive overrides it.
    pub pace: Duration,
    /// How many of the fake accounts [`Running::env`] names, 1 to [`ACCOUNTS`]. All of them are always accepted.
    pub accounts: usize,
    /// The generation of the service that is spoken: one of [`Control::known_generations`], `oldest`, `newest`, or
    /// [`BOTH`] for all at once.
    pub generation: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            pace: Duration::ZERO,
            accounts: 1,
            generation: BOTH.to_owned(),
        }
    }
}

/// How many fake accounts every simulator accepts.
pub const ACCOUNTS: usize = 3;

/// The names of all simulators.
pub fn names() -> impl Iterator<Item = &'static str> {
    REGISTRY.iter().map(|(name, _)| *name)
}

/// Starts the simulator `name` on a thread of its own; it runs until the returned value is dropped.
pub fn start(name: &str, options: Options) -> io::Result<Running> {
    let (name, new) = REGISTRY
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| {
            let known: Vec<_> = names().collect();
            let message = format!("no simulator {name:?}; there are {}", known.join(", "));
            io::Error::new(io::ErrorKind::NotFound, message)
        })?;
    running::start(name, *new, &options)
}

/// `NAME`, `NAME_2`, … with what `value` says for the first `accounts` fake accounts.
fn numbered(
    name: &str,
    accounts: usize,
    value: impl Fn(usize) -> Option<String>,
) -> impl Iterator<Item = (String, String)> {
    (1..=accounts).filter_map(move |number| {
        let name = match number {
            1 => name.to_owned(),
            _ => format!("{name}_{number}"),
        };
        Some((name, value(number)?))
    })
}

/// The settings of the lane of this number, with a key for each account.
fn lane<const N: usize>(
    number: usize,
    accounts: usize,
    key: impl Fn(usize) -> String,
    settings: [(&str, String); N],
) -> Vec<(String, String)> {
    let keys: Vec<_> = (1..=accounts).map(key).collect();
    let settings = settings.into_iter().chain([("API_KEY", keys.join(","))]);
    settings
        .map(|(name, value)| (format!("OPENAI_COMPAT_{number}_{name}"), value))
        .collect()
}

/// A provider's service as a plain function; the sockets and the clock are the server's.
trait Simulator: Send + Sync {
    /// The faults that this service knows, besides the shared ones of `faults`.
    fn faults(&self) -> &'static [Fault];
    /// The `quirks` of a [`Script`] that this service understands.
    fn quirks(&self) -> &'static [&'static str];
    /// The settings that point a worker here, with the first `accounts` fake credentials.
    fn env(&self, accounts: usize, control: &Control) -> Vec<(String, String)>;
    /// The forms of its protocol that this service has had and that can be switched, oldest first.
    fn generations(&self) -> &'static [&'static str] {
        &[]
    }
    /// Hears of the records before the first call, for what happens beside the calls.
    fn begin(&self, _control: &Arc<Control>) {}
    /// Answers one call and writes down in `call` what it understood.
    fn reply(&self, request: &Request, call: &mut Call, control: &Control) -> Reply;
    /// Whether a WebSocket may be opened with this request; `None`: there is none at its path. What comes in over it is
    /// answered by [`Simulator::reply`], as a request whose method is [`socket::METHOD`].
    fn socket(
        &self,
        _request: &Request,
        _call: &mut Call,
        _control: &Control,
    ) -> Option<Result<Opened, Reply>> {
        None
    }
    /// Forgets every conversation and upload.
    fn reset(&self);
}
