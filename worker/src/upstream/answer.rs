//! The head of an upstream's answer, and its body to be read as it comes.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use actix_web::http::StatusCode;
use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    client::TransportError,
    http1::{Body, Head},
    pace::Pace,
    retry_after::retry_after,
};

use crate::impossible::OrImpossible as _;

/// No listing, upload receipt or refusal in the wire pages comes near it; a body that does is a fault, and is not
/// gathered.
/// Most bytes of a short (not streamed) answer.
const MOST_SHORT_BYTES: usize = 4 << 20;
/// Beyond this, what has arrived waits for the next call: enough to share the cost of one pass, little enough to keep.
const MOST_BYTES_AT_ONCE: usize = 16 << 10;

/// The head of an answer, and its body to be read. Dropping it closes the connection at once.
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers, a line each: a table of them would be alive for as long as the answer goes on.
    head: Box<str>,
    /// Boxed: it is large, and an answer moves from future to future.
    body: Box<Body>,
    silence: Silence,
    pace: Pace,
    /// The end of the body, seen while more bytes were looked for: those go first, and this to whoever calls next.
    end: Option<Result<(), TransportError>>,
    /// Bytes that were looked at and not yet taken; they come before whatever the body has next. Never empty.
    peeked: Option<Bytes>,
}

impl Answer {
    pub(super) fn new(head: Head, body: Body, stall: Duration) -> Self {
        Self {
            status: head.status,
            head: head.lines,
            body: Box::new(body),
            silence: Silence::new(stall),
            pace: Pace::default(),
            end: None,
            peeked: None,
        }
    }

    /// The next bytes of the body; `None` at its regular end. What has arrived already comes at once, up to 16 KiB or
    /// a little more: services send an HTTP chunk for every event, and what follows costs the same for many of them as
    /// for one. From a service that sends faster than a thousand pieces a second, those of two or three milliseconds come
    /// together, for the same reason.
    ///
    /// # Errors
    /// [`TransportError::Timeout`] after a long silence, [`TransportError::Broken`] when it ends too early.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if let Some(bytes) = self.peeked.take() {
            return Ok(Some(bytes));
        }
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, TransportError>> {
        // Before anything else: the body has told its end once, and must not be polled again behind it.
        if let Some(end) = self.end.take() {
            return Poll::Ready(end.map(|()| None));
        }
        // The body is not looked at until then, so nobody but the timer wakes the task: that is the saving.
        if let Some(until) = self.pace.gathering_until()
            && !self.silence.has_come(until, cx)
        {
            return Poll::Pending;
        }
        let mut chunk = BytesMut::new();
        while chunk.len() < MOST_BYTES_AT_ONCE {
            match self.body.poll(cx, &mut chunk) {
                Poll::Ready(Ok(true)) => self.silence.broken(),
                // Nothing is held back, so the end can be said at once; otherwise the bytes go first and it waits in
                // `end`.
                Poll::Ready(end) if chunk.is_empty() => {
                    return Poll::Ready(end.map(|_| None));
                }
                Poll::Ready(end) => {
                    self.end = Some(end.map(drop));
                    break;
                }
                Poll::Pending if chunk.is_empty() => {
                    // The body has taken the waker; the silence's timer takes it too.
                    self.pace.has_found_nothing();
                    return if self.silence.is_over(cx) {
                        Poll::Ready(Err(TransportError::Timeout))
                    } else {
                        Poll::Pending
                    };
                }
                Poll::Pending => {
                    // The body has kept the waker: the task may be woken once in vain, which costs less than asking twice.
                    self.pace.has_drained(Instant::now());
                    break;
                }
            }
        }
        Poll::Ready(Ok(Some(chunk.freeze())))
    }

    /// Whether the body is an event stream. Labels lie both ways, so its first bytes tell; they are waited for, and come
    /// with the next [`Answer::chunk`]. A body that does not begin is what its label says.
    pub async fn is_event_stream(&mut self) -> bool {
        let is_labelled = self.content_type() == "text/event-stream";
        loop {
            let seen = self.peeked.as_deref().unwrap_or_default();
            if let Some(is_stream) = begins_stream(seen, is_labelled) {
                // `take` and not a clone: while the next piece is awaited, `chunk` must not hand these bytes out again.
                return is_stream;
            }
            let seen = self.peeked.take();
            match self.chunk().await {
                Ok(Some(more)) => {
                    self.peeked = Some(match seen {
                        None => more,
                        Some(seen) => [seen, more].concat().into(),
                    });
                }
                over => {
                    self.peeked = seen;
                    // The end was consumed to find it, and is put back for the reader, who has to learn whether it was
                    // a regular one.
                    self.end = Some(over.map(|_| ()));
                    return is_labelled;
                }
            }
        }
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
            .or_impossible("a split has one part at least")
            .trim()
            .to_ascii_lowercase()
    }

    /// A header as text, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    }

    /// All headers of a name in lower case, as cookies are set by several.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        // Names are lower case in `head` already (`head::copied`), so a prefix is the whole comparison.
        let value = move |line: &'a str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
        self.head.lines().filter_map(value)
    }

    /// When the service says to come back: `Retry-After` in each of its forms, `retry-after-ms`.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(|name| self.header(name), SystemTime::now())
    }
}

/// Whether these are the first bytes of an event stream; `None` when they do not tell yet.
fn begins_stream(bytes: &[u8], is_labelled: bool) -> Option<bool> {
    const FIELDS: &[&[u8]] = &[b"data", b"event", b"id", b"retry", b":"];
    /// So many blanks say nothing more.
    const MOST_BLANKS: usize = 4096;
    // Some frameworks write a byte order mark before JSON and before events alike: it tells nothing.
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let start = start.trim_ascii_start();
    match start.first() {
        None if bytes.len() > MOST_BLANKS => Some(is_labelled),
        None => None,
        // No field of an event stream begins like these, so even a label that promises events is a lie: a refusal in
        // JSON or HTML.
        Some(b'{' | b'[' | b'<') => Some(false),
        Some(_) if is_labelled => Some(true),
        Some(_) if FIELDS.iter().any(|field| start.starts_with(field)) => Some(true),
        // A field's name may be torn by the end of the piece.
        Some(_) if FIELDS.iter().any(|field| field.starts_with(start)) => None,
        Some(_) => Some(false),
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
    /// When the service was first waited for since its last piece; `None` while nobody waits. A client that takes its time
    /// is not the service's silence.
    since: Option<Instant>,
    /// Serves the pauses of [`Pace`] too, as the two never wait at the same time. Made at the first wait: an answer that
    /// has arrived whole needs none.
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

    /// Whether it is that time already; if not, the caller is woken then.
    fn has_come(&mut self, time: Instant, cx: &mut Context<'_>) -> bool {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(time)));
        // Resetting costs a look-up in the timer's wheel; between two polls of the same pause it is not needed.
        if timer.deadline() != time {
            timer.as_mut().reset(time);
        }
        timer.as_mut().poll(cx).is_ready()
    }

    /// Whether the silence, which begins with the first call after a piece, has lasted too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        // `since` and not the timer is the truth: it is cleared by each piece without touching the timer, which may
        // therefore fire for a silence that is long over.
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt as _, DuplexStream},
        time::{advance, pause},
    };

    use super::*;

    /// An answer whose body is what is sent.
    async fn answer() -> (DuplexStream, Answer) {
        let (sender, (head, body)) =
            crate::upstream::http1::answered(b"HTTP/1.1 200 OK\r\n\r\n").await;
        (sender, Answer::new(head, body, Duration::from_secs(60)))
    }

    /// What each of `count` pieces, so far apart, brings when it is sent; and what comes in the end.
    async fn brought(count: usize, apart: Duration) -> (Vec<usize>, usize) {
        let (mut sender, mut answer) = answer().await;
        let mut brought = Vec::new();
        for _ in 0..count {
            sender.write_all(b"x").await.unwrap();
            brought.push(match futures_util::poll!(std::pin::pin!(answer.chunk())) {
                Poll::Ready(chunk) => chunk.unwrap().unwrap().len(),
                Poll::Pending => 0,
            });
            advance(apart).await;
        }
        drop(sender);
        let mut rest = 0;
        while let Some(chunk) = answer.chunk().await.unwrap() {
            rest += chunk.len();
        }
        (brought, rest)
    }

    /// Under a label that is none of an event stream.
    #[actix_web::test]
    async fn the_first_bytes_tell_what_the_body_is() {
        for (pieces, is_stream) in [
            (&["\u{FEFF}data: x"][..], true),
            (&["\n", "d", "ata:"], true),
            (&[": beat"], true),
            (&["event:", "x"], true),
            (&[" {\"a\":1}"], false),
            (&["<html>"], false),
            (&["date"], false),
            (&["da"], false),
            (&[], false),
        ] {
            let (mut sender, mut answer) = answer().await;
            for piece in pieces {
                sender.write_all(piece.as_bytes()).await.unwrap();
            }
            drop(sender);
            assert_eq!(answer.is_event_stream().await, is_stream, "{pieces:?}");
            let body = answer.bytes(100).await.unwrap();
            assert_eq!(body, pieces.concat(), "{pieces:?}");
        }
    }

    #[actix_web::test]
    async fn pieces_at_a_readers_pace_come_one_by_one() {
        pause();
        assert_eq!(
            brought(50, Duration::from_millis(2)).await,
            (vec![1; 50], 0)
        );
    }

    #[actix_web::test]
    async fn a_short_answer_never_waits() {
        pause();
        assert_eq!(brought(8, Duration::ZERO).await, (vec![1; 8], 0));
    }

    #[actix_web::test]
    async fn a_rush_comes_together_and_whole() {
        pause();
        let (brought, rest) = brought(500, Duration::from_micros(100)).await;
        assert_eq!(brought.iter().sum::<usize>() + rest, 500);
        let chunks = brought.iter().filter(|&&length| length > 0).count();
        assert!((15..=50).contains(&chunks), "{brought:?}");
        let most = brought.iter().max();
        assert!(
            most.is_some_and(|&most| (20..=31).contains(&most)),
            "{brought:?}"
        );
    }
}
