//! HTTP requests as values, and the client that sends them. One client a thread: awc's connections stay on the
//! thread that opened them, so a chunk never changes threads on its way.

use std::{
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use actix_web::http::{
    Method, Uri, Version,
    header::{HeaderName, HeaderValue},
};
use awc::error::{ConnectError, SendRequestError};
use bytes::Bytes;
use serde::Serialize;
use tokio::task::LocalSet;

use super::{answer::Answer, body::Body, proxy::Proxies, socket::Connector};

/// Connections that one thread may hold open to all providers together.
const MOST_CONNECTIONS: usize = 10_000;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Name look-up, TCP and TLS together.
    pub connect: Duration,
    /// The head of an answer, and then each silence within it.
    pub stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(120),
        }
    }
}

/// A request, complete: codecs build it, the client sends it.
#[derive(Clone)]
pub struct Request {
    /// Names the step in metrics and logs (`conversation`, `create`, …).
    pub step: &'static str,
    /// GET or POST.
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Headers in the order in which they were added.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, in the pieces that it was made of; none for none.
    pub body: Vec<Bytes>,
    /// For this request instead of [`Timeouts::stall`].
    pub timeout: Option<Duration>,
    /// Connect to this address whatever the host name resolves to (see [`super::fetch`]).
    pub address: Option<SocketAddr>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(step: &'static str, method: Method, url: impl Into<String>) -> Self {
        Self {
            step,
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            address: None,
        }
    }

    /// `POST`.
    pub fn post(step: &'static str, url: impl Into<String>) -> Self {
        Self::new(step, Method::POST, url)
    }

    /// `GET`.
    pub fn get(step: &'static str, url: impl Into<String>) -> Self {
        Self::new(step, Method::GET, url)
    }

    /// Adds a header. The value may hold any bytes but control characters, which a header cannot carry: such a
    /// value is left out (credentials are checked for them when they are read).
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value.as_ref()),
        ) {
            self.headers.push((name, value));
        }
        self
    }

    /// Adds several constant headers.
    #[must_use]
    pub fn headers(self, headers: &[(&'static str, &str)]) -> Self {
        headers
            .iter()
            .fold(self, |request, (name, value)| request.header(name, value))
    }

    /// Sets a JSON body; the content type is the caller's to set, as services differ in its spelling.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        // Serialising our own types with string keys cannot fail; an empty body would be refused upstream.
        self.body(serde_json::to_vec(body).unwrap_or_default())
    }

    /// Sets a body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.pieces(vec![body.into()])
    }

    /// Sets a body of several pieces, which need not be put together.
    #[must_use]
    pub fn pieces(mut self, pieces: Vec<Bytes>) -> Self {
        self.body = pieces;
        self
    }

    /// Limits the wait for this answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl fmt::Debug for Request {
    /// Step, method and host only: headers and bodies hold credentials, queries hold signatures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.split('/').nth(2).unwrap_or_default();
        f.debug_struct("Request")
            .field("step", &self.step)
            .field("method", &self.method)
            .field("host", &host)
            .finish_non_exhaustive()
    }
}

/// Why no (whole) answer came. Never holds a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The URL in the settings or in an upstream answer is no URL.
    #[error("not a usable URL")]
    BadUrl,
    /// No connection: name, TCP or TLS.
    #[error("no connection to the provider")]
    Connect,
    /// Connected, but no answer or a long silence.
    #[error("the provider did not answer in time")]
    Timeout,
    /// The connection broke.
    #[error("the connection to the provider broke")]
    Broken,
    /// More bytes than a short answer may have.
    #[error("the provider's answer is too large")]
    TooLarge,
    /// No JSON of the expected form.
    #[error("the provider's answer could not be understood")]
    NotJson,
}

impl From<SendRequestError> for TransportError {
    fn from(error: SendRequestError) -> Self {
        match error {
            SendRequestError::Url(_) => Self::BadUrl,
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
                Self::Timeout
            }
            SendRequestError::Connect(ConnectError::Disconnected) => Self::Broken,
            SendRequestError::Connect(_) => Self::Connect,
            _ => Self::Broken,
        }
    }
}

/// Sends requests. Cheap to clone; belongs to one thread.
#[derive(Clone)]
pub struct Client {
    http: awc::Client,
    /// For attachments: awc's pool knows connections by host name alone, so a pinned address needs its own.
    apart: awc::Client,
    timeouts: Timeouts,
}

impl Client {
    /// A client for the calling thread that reaches everything directly.
    pub fn new(timeouts: Timeouts) -> Self {
        Self::with_proxies(timeouts, Arc::default())
    }

    /// A client for the calling thread. Attachments are always fetched directly: a proxy would look the name up
    /// anew, and the address that was checked would not be the one that is asked.
    pub fn with_proxies(timeouts: Timeouts, proxies: Arc<Proxies>) -> Self {
        Self {
            http: http_client(timeouts, proxies),
            apart: http_client(timeouts, Arc::default()),
            timeouts,
        }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`TransportError`], when no head came. Any HTTP status is an answer.
    pub async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        self.send_by(&self.http, request).await
    }

    /// As [`Client::send`], over connections that only attachments use.
    pub(super) async fn send_apart(&self, request: Request) -> Result<Answer, TransportError> {
        self.send_by(&self.apart, request).await
    }

    pub(super) fn http(&self) -> &awc::Client {
        &self.http
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    async fn send_by(
        &self,
        http: &awc::Client,
        request: Request,
    ) -> Result<Answer, TransportError> {
        let url: Uri = request.url.parse().map_err(|_| TransportError::BadUrl)?;
        let stall = request.timeout.unwrap_or(self.timeouts.stall);
        let mut call = http.request(request.method, url).no_decompress();
        if let Some(address) = request.address {
            call = call.address(address);
        }
        for (name, value) in request.headers {
            call.headers_mut().append(name, value);
        }
        let sent = tokio::time::timeout(
            stall,
            without_clock(call.send_body(Body::from(request.body))),
        )
        .await
        .map_err(|_| TransportError::Timeout)?;
        let response = sent.map_err(TransportError::from)?;
        Ok(Answer::new(response, stall))
    }
}

/// Polls a future in a set of tasks that never runs and ends with it.
///
/// awc 3.11 makes an HTTP codec for every request, and that of actix-http 3.20 starts a task that renders the date
/// twice a second for as long as the answer lasts, though requests carry none. Its first turn alone costs two system
/// calls, because its timer wakes the event loop that sets it. Nothing else that awc starts here must run: at most it
/// closes an idle connection that has gone stale, which dropping does as well.
async fn without_clock<F: Future>(future: F) -> F::Output {
    let tasks = LocalSet::new();
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _inside = tasks.enter();
        future.as_mut().poll(cx)
    })
    .await
}

fn http_client(timeouts: Timeouts, proxies: Arc<Proxies>) -> awc::Client {
    // HTTP/1.1 only: one connection a stream, so that dropping an answer ends exactly that upstream call.
    let connector = awc::Connector::new()
        .connector(Connector::new(proxies))
        .max_http_version(Version::HTTP_11)
        .limit(MOST_CONNECTIONS)
        .timeout(timeouts.connect)
        .handshake_timeout(timeouts.connect);
    awc::Client::builder()
        .connector(connector)
        .disable_timeout()
        .disable_redirects()
        .no_default_headers()
        .finish()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}
