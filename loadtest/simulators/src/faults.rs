//! Faults: things that go wrong on order, each once or as often as asked.
//!
//! The faults below are the transport's own and mean the same everywhere; what only one service does is listed in its
//! folder.

use std::{iter, time::Duration};

use serde_json::json;

use super::reply::{Act, Acts, Body, Delay, Elsewhere, Reply};

/// A fault's name and the step that it belongs to unless the order names another one.
pub(super) type Fault = (&'static str, &'static str);

/// Stands for the step that answers a question, whatever the service calls it.
pub(super) const ASK: &str = "ask";

/// What every service can suffer, on the step that answers unless another one is named.
pub(super) const SHARED: &[Fault] = &[
    ("slow_headers", ASK),
    ("slow_text", ASK),
    ("hang_before_headers", ASK),
    ("hang_before_text", ASK),
    ("hang_after_text", ASK),
    ("disconnect_before_headers", ASK),
    ("disconnect_before_text", ASK),
    ("disconnect_after_text", ASK),
    ("http_401", ASK),
    ("http_403", ASK),
    ("http_404", ASK),
    ("http_429", ASK),
    ("http_429_retry_after", ASK),
    ("http_500", ASK),
    ("http_502", ASK),
    ("http_503", ASK),
    ("http_504", ASK),
];

/// How long `slow_headers` and `slow_text` wait when the order does not say.
const SLOW: Duration = Duration::from_secs(2);
/// What `Retry-After` says when the order does not.
const RETRY_AFTER_SECONDS: u64 = 7;
/// How many pieces of text come before a fault "after text".
const PIECES_BEFORE: usize = 2;
/// Long enough for what was said to leave the machine before the connection is cut.
const FLUSH: Duration = Duration::from_millis(40);

/// A fault that a call has drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Drawn {
    pub(super) name: &'static str,
    pub(super) delay: Option<Duration>,
    pub(super) retry_after: Option<u64>,
}

impl Drawn {
    /// The reply of a service that never got to the question: nothing was created, nothing has to be cleaned up.
    pub(super) fn instead(&self) -> Option<Reply> {
        let reply = match self.name {
            "disconnect_before_headers" => {
                Reply::stream("text/plain", Box::new(iter::once(Act::Break)))
            }
            "hang_before_headers" => {
                let mut reply = Reply::json(200, &json!({}));
                reply.delay = Some(Delay::Forever);
                reply
            }
            "http_401" => Reply::json(401, &json!({"message": "Unauthorized"})),
            "http_403" => Reply::html(403, "403 Forbidden"),
            "http_404" => Reply::html(404, "404 Not Found"),
            "http_429" | "http_429_retry_after" => Reply::html(429, "429 Too Many Requests"),
            "http_500" => Reply::json(500, &json!({"message": "Internal Server Error"})),
            "http_502" => Reply::html(502, "502 Bad Gateway"),
            "http_503" => Reply::html(503, "503 Service Temporarily Unavailable"),
            "http_504" => Reply::html(504, "504 Gateway Time-out"),
            _ => return None,
        };
        Some(reply)
    }

    /// Bends a reply: the service meant well, the network did not.
    pub(super) fn bend(&self, mut reply: Reply) -> Reply {
        if self.name == "slow_headers" {
            reply.delay = Some(Delay::For(self.delay.unwrap_or(SLOW)));
            return reply;
        }
        if self.name.ends_with("_retry_after") {
            return reply.header(
                "Retry-After",
                self.retry_after.unwrap_or(RETRY_AFTER_SECONDS).to_string(),
            );
        }
        reply.body = match reply.body {
            Body::Stream(acts) => Body::Stream(self.bend_acts(acts)),
            Body::Elsewhere(elsewhere) => Body::Elsewhere(Elsewhere {
                acts: self.bend_acts(elsewhere.acts),
                ..elsewhere
            }),
            Body::Whole(bytes) => match self.name {
                "hang_before_text" | "hang_after_text" => {
                    Body::Stream(Box::new(iter::once(Act::Hang)))
                }
                "disconnect_before_text" | "disconnect_after_text" => {
                    Body::Stream(Box::new([Act::Pause(FLUSH), Act::Break].into_iter()))
                }
                _ => Body::Whole(bytes),
            },
        };
        reply
    }

    fn bend_acts(&self, acts: Acts) -> Acts {
        let (pieces, end) = match self.name {
            "hang_before_text" => (0, vec![Act::Hang]),
            "hang_after_text" => (PIECES_BEFORE, vec![Act::Hang]),
            "disconnect_before_text" => (0, vec![Act::Pause(FLUSH), Act::Break]),
            "disconnect_after_text" => (PIECES_BEFORE, vec![Act::Pause(FLUSH), Act::Break]),
            "slow_text" => {
                return Box::new(iter::once(Act::Pause(self.delay.unwrap_or(SLOW))).chain(acts));
            }
            _ => return acts,
        };
        Box::new(upto(acts, pieces).chain(end))
    }
}

/// The acts up to the given number of spoken pieces (or up to the end of the answer, when it is shorter).
fn upto(acts: Acts, mut pieces: usize) -> impl Iterator<Item = Act> + Send {
    acts.map_while(move |act| match act {
        Act::Say(_) if pieces == 0 => None,
        Act::Say(_) => {
            pieces -= 1;
            Some(act)
        }
        Act::Done => None,
        Act::Send(_) | Act::Pause(_) | Act::Hang | Act::Break => Some(act),
    })
}
