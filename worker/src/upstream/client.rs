//! HTTP requests as values, and the client that sends them. One client a thread: connections stay on the thread that
//! opened them, so a chunk never changes threads on its way.

use std::{fmt, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_web::http::{
    Method, Version,
    header::{HeaderName, HeaderValue},
};
use awc::error::{ConnectError, SendRequestError};
use bytes::Bytes;
use serde::Serialize;

use super::{answer::Answer, http1::Pool, proxy::Proxies, rest::Rest, socket::Connector};

use crate::impossible::OrImpossible as _;

/// How fast a body that is passed on goes out at the least, and how long it is taken to be where nobody says.
/// 64 KiB/s is what a phone's poor uplink manages. It only lengthens the wait for an answer that cannot come before the
/// upload has ended, so it may be generous.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
const LONGEST_REST: u64 = 64 << 20;

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
    /// GET, HEAD, POST, …
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Headers in the order in which they were added.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, in the pieces that it was made of; none for none.
    pub body: Vec<Bytes>,
    /// For this request instead of [`Timeouts::stall`].
    pub timeout: Option<Duration>,
    /// Not to be sent twice, as it holds what sending uses up.
    pub once: bool,
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
            once: false,
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
        // Names are ours and constant, so only a value can fail here.
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
        self.body(
            serde_json::to_vec(body).or_impossible("our own types with string keys serialise"),
        )
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

    /// Says that the request holds what is used up by sending it (a proof, an id that is new each time, a token that is
    /// renewed). It is not sent anew when a kept connection turns out to be dead: the service may have taken it.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
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
        // Split by hand: a URL that is none must be printable too. Its third part is the authority, before path and
        // query.
        let host = self.url.split('/').nth(2).unwrap_or_default();
        f.debug_struct("Request")
            .field("step", &self.step)
            .field("method", &self.method)
            .field("host", &host)
            .finish_non_exhaustive()
    }
}

/// Why no (whole) answer came. Never holds a URL. What passes by itself is said in words by which agents know that they
/// may ask again ("server error", "ECONNRESET", "timeout"); what does not pass is said without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The URL in the settings or in an upstream answer is no URL.
    #[error("not a usable URL")]
    BadUrl,
    /// No connection: name, TCP or TLS.
    #[error("server error: connection error: the provider could not be reached")]
    Connect,
    /// Connected, but no answer or a long silence.
    #[error("server error: timeout: the provider did not answer in time")]
    Timeout,
    /// The connection broke.
    #[error("server error: the connection to the provider was reset (ECONNRESET)")]
    Broken,
    /// More bytes than a short answer may have, or packed bytes that stand for too many.
    #[error("the provider's answer is too large")]
    TooLarge,
    /// No JSON of the expected form.
    #[error("the provider's answer could not be understood")]
    NotJson,
    /// What came is no HTTP, or contradicts itself about where it ends.
    #[error("the provider's answer is not proper HTTP")]
    Malformed,
    /// The request's own body broke off while it was passed on.
    #[error("the request's body broke off before its end")]
    Torn,
    /// A redirect. Following it would take credentials and questions to where nobody has sent them.
    #[error(
        "the provider's address redirects elsewhere, which is not followed; the base URL may be wrong"
    )]
    Redirected,
}

impl From<SendRequestError> for TransportError {
    fn from(error: SendRequestError) -> Self {
        match error {
            // awc answers for WebSockets only; everything else goes through [`Pool`], which knows these errors itself.
            SendRequestError::Url(_) => Self::BadUrl,
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
                Self::Timeout
            }
            // The handshake went out and the other side hung up: it may have been seen, so this is no `Connect`, after
            // which one may try again.
            SendRequestError::Connect(ConnectError::Disconnected) => Self::Broken,
            SendRequestError::Connect(_) => Self::Connect,
            _ => Self::Broken,
        }
    }
}

/// Sends requests. Cheap to clone; belongs to one thread.
#[derive(Clone)]
pub struct Client {
    pool: Rc<Pool>,
    /// For WebSockets.
    awc: awc::Client,
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
            pool: Pool::new(Arc::clone(&proxies), timeouts.connect),
            awc: awc_client(timeouts, proxies),
            timeouts,
        }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`TransportError`], when no head came, or one that only points elsewhere. Any other HTTP status is an answer.
    pub async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        self.send_with(request, None).await
    }

    /// As [`Client::send`], with a body whose rest comes while it is sent. The wait for the answer is then longer by the time
    /// that a slow line takes for it.
    ///
    /// # Errors
    /// As [`Client::send`], and [`TransportError::Torn`].
    pub async fn send_with(
        &self,
        request: Request,
        rest: Option<Rest>,
    ) -> Result<Answer, TransportError> {
        let answer = self.send_whole(request, rest).await?;
        match answer.status.as_u16() {
            // 304 is no redirect, and 300 names no single place: both are answers.
            301 | 302 | 303 | 307 | 308 => Err(TransportError::Redirected),
            _ => Ok(answer),
        }
    }

    /// As [`Client::send`], but a redirect is an answer: for requests without credentials, whose sender looks at where it
    /// leads.
    pub(super) async fn send_anywhere(&self, request: Request) -> Result<Answer, TransportError> {
        self.send_whole(request, None).await
    }

    async fn send_whole(
        &self,
        request: Request,
        rest: Option<Rest>,
    ) -> Result<Answer, TransportError> {
        let stall = request.timeout.unwrap_or(self.timeouts.stall);
        // The stall counts from when the last byte is out; nobody knows when that is before it has happened, so the
        // time that a slow line takes is added.
        let upload = rest.as_ref().map_or(Duration::ZERO, |rest| {
            Duration::from_secs(rest.left().unwrap_or(LONGEST_REST) / SLOWEST_BYTES_PER_SECOND)
        });
        let (head, body) = tokio::time::timeout(stall + upload, self.pool.send(&request, rest))
            .await
            .map_err(|_| TransportError::Timeout)??;
        // The same stall for each silence within the body: a slow answer is not one that is too long.
        Ok(Answer::new(head, body, stall))
    }

    /// How long a head, and then each silence, is waited for where a request says nothing else.
    pub fn stall(&self) -> Duration {
        self.timeouts.stall
    }

    pub(super) fn awc(&self) -> &awc::Client {
        &self.awc
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

fn awc_client(timeouts: Timeouts, proxies: Arc<Proxies>) -> awc::Client {
    let connector = awc::Connector::new()
        .connector(Connector::new(proxies))
        // WebSockets over HTTP/2 (RFC 8441) are none that awc speaks.
        .max_http_version(Version::HTTP_11)
        .timeout(timeouts.connect)
        .handshake_timeout(timeouts.connect);
    awc::Client::builder()
        .connector(connector)
        // Our own time-outs stand around the call, so that a request's own patience counts and not one for all.
        .disable_timeout()
        .disable_redirects()
        // `user-agent` and the like are the codec's: services compare them with what a browser sends.
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
