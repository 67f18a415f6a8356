//! Socket.IO v5 over Engine.IO v4, without sockets: one WebSocket text message in, one [`Step`] out. Knows the
//! default namespace, no polling and no binary packets. Source: wire/langfast.md section 6, and the public protocol
//! documents of Engine.IO and Socket.IO.
//!
//! ```text
//! Opening ──0{handshake}──► Connecting ──40──► Connected ──1 or 41──► (over)
//!            (we: 40{auth})     │
//!                               └──44──► (refused)          at any time: 2 ─► (we: 3)
//! ```

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

/// What the handshake means when it leaves a number out (section 6, row 1).
const PING_INTERVAL_MS: u64 = 25_000;
const PING_TIMEOUT_MS: u64 = 20_000;
/// A server that promises a sign of life less often than this promises none.
const LONGEST_PULSE_MS: u64 = 3_600_000;

/// What leaves the default namespace.
pub const DISCONNECT: &str = "41";

/// A message that is no packet of this protocol, or one that we cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a readable Socket.IO packet")]
pub struct Unreadable;

/// An event: its name and its first argument, as JSON text. Further arguments are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's name.
    pub name: Cow<'a, str>,
    /// The first argument as it came; `None` when there was none.
    pub payload: Option<&'a str>,
}

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the transport is open. The longest time between two signs of life of the server.
    Open(Duration),
    /// `1`: the transport closes.
    Close,
    /// `2`, with whatever the answer has to repeat.
    Ping(&'a str),
    /// `40`: we are in the namespace.
    Connect,
    /// `44`: we are not let in; the server's words.
    Refusal(String),
    /// `41`: we are out of the namespace.
    Disconnect,
    /// `42`.
    Event(Event<'a>),
    /// Everything that changes nothing here: `3`, `5`, `6`, acknowledgements, binary packets, connection packets of
    /// other namespaces.
    Idle,
}

impl<'a> Packet<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn parse(message: &'a str) -> Result<Self, Unreadable> {
        let (kind, rest) = head(message).ok_or(Unreadable)?;
        Ok(match kind {
            '0' => Self::Open(pulse(rest)?),
            '1' => Self::Close,
            '2' => Self::Ping(rest),
            '3' | '5' | '6' => Self::Idle,
            '4' => Self::message(rest)?,
            _ => return Err(Unreadable),
        })
    }

    /// The Socket.IO packet in an Engine.IO message: a type, and before the JSON perhaps a namespace and a number.
    fn message(message: &'a str) -> Result<Self, Unreadable> {
        let (kind, rest) = head(message).ok_or(Unreadable)?;
        let (namespace, rest) = match rest.strip_prefix('/') {
            Some(named) => named.split_once(',').unwrap_or((named, "")),
            None => ("", rest),
        };
        let is_ours = namespace.is_empty();
        Ok(match kind {
            '0' if is_ours => Self::Connect,
            '1' if is_ours => Self::Disconnect,
            '4' if is_ours => Self::Refusal(refusal(rest)),
            // An event is an event in every namespace; the number asks for an acknowledgement, which nobody here needs.
            '2' => Self::Event(event(
                rest.trim_start_matches(|c: char| c.is_ascii_digit()),
            )?),
            '0' | '1' | '3' | '4' | '5' | '6' => Self::Idle,
            _ => return Err(Unreadable),
        })
    }
}

fn head(message: &str) -> Option<(char, &str)> {
    let mut chars = message.chars();
    Some((chars.next()?, chars.as_str()))
}

fn pulse(handshake: &str) -> Result<Duration, Unreadable> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Handshake {
        ping_interval: Option<u64>,
        ping_timeout: Option<u64>,
    }
    let handshake: Handshake = serde_json::from_str(handshake).map_err(|_| Unreadable)?;
    let interval = handshake.ping_interval.unwrap_or(PING_INTERVAL_MS);
    let timeout = handshake.ping_timeout.unwrap_or(PING_TIMEOUT_MS);
    // Saturating, then bounded: a number that wraps would end the connection at once.
    let pulse = interval.saturating_add(timeout).min(LONGEST_PULSE_MS);
    Ok(Duration::from_millis(pulse))
}

/// The words of a refusal: `{"message":…}`, or a bare string as older servers send it.
fn refusal(payload: &str) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Refusal {
        Object { message: String },
        Bare(String),
    }
    match serde_json::from_str(payload) {
        Ok(Refusal::Object { message } | Refusal::Bare(message)) => message,
        Err(_) => String::new(),
    }
}

fn event(payload: &str) -> Result<Event<'_>, Unreadable> {
    let arguments: Vec<&RawValue> = serde_json::from_str(payload).map_err(|_| Unreadable)?;
    let mut arguments = arguments.into_iter().map(RawValue::get);
    let name = arguments.next().ok_or(Unreadable)?;
    Ok(Event {
        name: Cow::Owned(serde_json::from_str(name).map_err(|_| Unreadable)?),
        payload: arguments.next(),
    })
}

/// What a message of the server asks of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Send this, at once.
    Reply(String),
    /// From here on events come.
    Connected,
    /// We are not let in; the server's words.
    Refused(String),
    /// Something has happened.
    Event(Event<'a>),
    /// Nothing to do.
    Nothing,
    /// The server has ended the connection.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Connecting,
    Connected,
}

/// One connection to the default namespace, as the client sees it.
pub struct Session {
    auth: String,
    stage: Stage,
    pulse: Duration,
}

impl Session {
    /// A connection that presents `auth` (JSON text) to the default namespace.
    pub fn new(auth: impl Into<String>) -> Self {
        Self {
            auth: auth.into(),
            stage: Stage::Opening,
            // What the handshake will say in most cases; it counts from the moment the socket is open.
            pulse: Duration::from_millis(PING_INTERVAL_MS + PING_TIMEOUT_MS),
        }
    }

    /// A server that is silent for longer than this is gone.
    pub fn pulse(&self) -> Duration {
        self.pulse
    }

    /// Takes a text message.
    ///
    /// # Errors
    /// [`Unreadable`]: no UTF-8, no packet, or an event before the connection.
    pub fn receive<'a>(&mut self, message: &'a [u8]) -> Result<Step<'a>, Unreadable> {
        let message = std::str::from_utf8(message).map_err(|_| Unreadable)?;
        Ok(match Packet::parse(message)? {
            Packet::Open(pulse) if self.stage == Stage::Opening => {
                self.pulse = pulse;
                self.stage = Stage::Connecting;
                Step::Reply(format!("40{}", self.auth))
            }
            Packet::Connect if self.stage == Stage::Connecting => {
                self.stage = Stage::Connected;
                Step::Connected
            }
            Packet::Ping(payload) => Step::Reply(format!("3{payload}")),
            Packet::Refusal(message) => Step::Refused(message),
            Packet::Close | Packet::Disconnect => Step::Over,
            Packet::Event(event) if self.stage == Stage::Connected => Step::Event(event),
            // Before `40` came back nobody can have sent us one: this is no server of the protocol.
            Packet::Event(_) => return Err(Unreadable),
            Packet::Open(_) | Packet::Connect | Packet::Idle => Step::Nothing,
        })
    }
}

impl std::fmt::Debug for Session {
    /// `auth` holds a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("stage", &self.stage)
            .field("pulse", &self.pulse)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
