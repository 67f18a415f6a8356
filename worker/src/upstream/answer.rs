//! The head of an upstream's answer, and its body to be read as it comes.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::Payload;
use actix_web::{HttpMessage as _, error::PayloadError, http::StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep_until};

use super::client::TransportError;

/// Most bytes of a short (not streamed) answer.
const MOST_SHORT_BYTES: usize = 4 << 20;
/// Beyond this, what has arrived waits for the next call: enough to share the cost of one pass, little enough to keep.
const MOST_BYTES_AT_ONCE: usize = 16 << 10;

/// The head of an answer, and its body to be read. Dropping it closes the connection at once.
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers, a line each, copied: in awc's form they keep the connection's read buffer and a table of 3 KiB
    /// alive for as long as the answer goes on.
    head: Box<str>,
    body: Payload,
    silence: Silence,
    /// The end of the body, seen while more bytes were looked for.
    end: Option<Result<(), TransportError>>,
}

impl Answer {
    pub(super) fn new(mut response: awc::ClientResponse, stall: Duration) -> Self {
        let mut head = String::new();
        for (name, value) in response.headers() {
            if let Ok(value) = value.to_str() {
                head.extend([name.as_str(), ":", value, "\n"]);
            }
        }
        Self {
            status: response.status(),
            head: head.into_boxed_str(),
            body: response.take_payload(),
            silence: Silence::new(stall),
            end: None,
        }
    }

    /// The next bytes of the body; `None` at its regular end. What has arrived already comes at once, up to 16 KiB or
    /// a little more: services send an HTTP chunk for every event, and what follows costs the same for many of them as
    /// for one.
    ///
    /// # Errors
    /// [`TransportError::Timeout`] after a long silence, [`TransportError::Broken`] when it ends too early.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TransportError>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(end.map(|()| None));
        }
        let Poll::Ready(first) = self.body.poll_next_unpin(cx) else {
            return if self.silence.is_over(cx) {
                Poll::Ready(Err(TransportError::Timeout))
            } else {
                Poll::Pending
            };
        };
        self.silence.broken();
        let first = match first {
            Some(Ok(bytes)) => bytes,
            end => return Poll::Ready(self.ended(end.map(|end| end.map(drop))).map(|()| None)),
        };
        let mut more: Option<BytesMut> = None;
        while more.as_ref().map_or(first.len(), BytesMut::len) < MOST_BYTES_AT_ONCE {
            match self.body.poll_next_unpin(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(bytes))) => more
                    .get_or_insert_with(|| {
                        let mut whole = BytesMut::with_capacity(MOST_BYTES_AT_ONCE);
                        whole.extend_from_slice(&first);
                        whole
                    })
                    .extend_from_slice(&bytes),
                Poll::Ready(end) => {
                    self.end = Some(self.ended(end.map(|end| end.map(drop))));
                    break;
                }
            }
        }
        Poll::Ready(Ok(Some(more.map_or(first, BytesMut::freeze))))
    }

    fn ended(&self, end: Option<Result<(), PayloadError>>) -> Result<(), TransportError> {
        match end {
            // Without a length or chunks the body ends where the connection does.
            Some(Err(_)) if !self.is_close_delimited() => Err(TransportError::Broken),
            _ => Ok(()),
        }
    }

    fn is_close_delimited(&self) -> bool {
        self.header("transfer-encoding").is_none() && self.header("content-length").is_none()
    }

    /// The whole body, at most `most` bytes.
    ///
    /// # Errors
    /// As [`Answer::chunk`], and [`TransportError::TooLarge`].
    pub async fn bytes(&mut self, most: usize) -> Result<Bytes, TransportError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > most {
                return Err(TransportError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The whole body of a short answer.
    ///
    /// # Errors
    /// As [`Answer::bytes`].
    pub async fn short(&mut self) -> Result<Bytes, TransportError> {
        self.bytes(MOST_SHORT_BYTES).await
    }

    /// The whole body as JSON.
    ///
    /// # Errors
    /// As [`Answer::bytes`], and [`TransportError::NotJson`].
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, TransportError> {
        serde_json::from_slice(&self.short().await?).map_err(|_| TransportError::NotJson)
    }

    /// The content type without its parameters, in lower case.
    pub fn content_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    }

    /// A header as text, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    /// `Retry-After` in seconds, where the service names it so.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.header("retry-after")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// How long the service may say nothing. One timer for the whole answer: it is not set anew for every piece, but looked
/// at, and one that fires early is set to the time at which the present silence would be too long.
#[derive(Debug)]
struct Silence {
    most: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn new(most: Duration) -> Self {
        Self {
            most,
            since: None,
            timer: None,
        }
    }

    fn broken(&mut self) {
        self.since = None;
    }

    /// Whether the silence, which begins with the first call after a piece, has lasted too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let due = *self.since.get_or_insert_with(Instant::now) + self.most;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        while timer.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                return true;
            }
            timer.as_mut().reset(due);
        }
        false
    }
}
