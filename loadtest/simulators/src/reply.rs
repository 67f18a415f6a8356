//! What a simulator answers: a status, headers, and a body that is either whole or played act by act.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use super::control::Answering;

/// One act of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// Bytes that carry nothing the end user sees: first frames, tool notices, end markers.
    Send(Bytes),
    /// Bytes that carry text or thoughts. Faults "after text" count these.
    Say(Bytes),
    /// Silence for a while.
    Pause(Duration),
    /// What follows only says that the answer is complete: whoever leaves from here on has not aborted it, and faults
    /// "after text" strike before it.
    Done,
    /// Silence until the client gives up.
    Hang,
    /// The connection is cut without an end of the body. As the very first act: without even a status line.
    Break,
}

impl Act {
    pub(super) fn send(text: impl Into<String>) -> Self {
        Self::Send(Bytes::from(text.into()))
    }

    pub(super) fn say(text: impl Into<String>) -> Self {
        Self::Say(Bytes::from(text.into()))
    }
}

/// The acts of an answer, made one by one: a cumulative stream of a long answer would not fit into memory at once.
pub(super) type Acts = Box<dyn Iterator<Item = Act> + Send>;

pub(super) enum Body {
    Whole(Bytes),
    Stream(Acts),
    Elsewhere(Elsewhere),
}

/// A short answer to the call itself, while the acts are played on another connection.
pub(super) struct Elsewhere {
    pub(super) bytes: Bytes,
    pub(super) acts: Acts,
    /// Starts the play, before the short answer is given.
    pub(super) play: Box<dyn FnOnce(Acts, Answering) + Send>,
}

/// Silence before the status line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Delay {
    For(Duration),
    Forever,
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
    pub(super) delay: Option<Delay>,
    /// Runs when the answer is complete, broken or abandoned.
    pub(super) ending: Ending,
}

impl Reply {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", content_type.to_owned())],
            body: Body::Whole(body.into()),
            delay: None,
            ending: Ending::default(),
        }
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json;charset=UTF-8", value.to_string())
    }

    pub(super) fn html(status: u16, title: &str) -> Self {
        let page = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
        );
        Self::new(status, "text/html", page)
    }

    pub(super) fn stream(content_type: &str, acts: Acts) -> Self {
        Self {
            body: Body::Stream(acts),
            ..Self::new(200, content_type, Bytes::new())
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn ending(mut self, run: impl FnOnce() + Send + 'static) -> Self {
        self.ending = Ending(Some(Box::new(run)));
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Something that happens exactly once, at the latest when this is dropped.
#[derive(Default)]
pub(super) struct Ending(Option<Box<dyn FnOnce() + Send>>);

impl Ending {
    pub(super) fn run(&mut self) {
        if let Some(run) = self.0.take() {
            run();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.run();
    }
}
