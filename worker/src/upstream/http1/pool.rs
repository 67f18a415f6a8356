//! The connections of one thread: opened when needed, kept for the next request when all was well, closed when nobody
//! has needed them for a while.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use actix_web::http::{Method, Uri, header};
use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::{
    exchange::{Asked, Body, Upload},
    head::Head,
    wire::{self, Wire},
};
use crate::{
    impossible::OrImpossible as _,
    upstream::{Request, Rest, TransportError, proxy::Proxies},
};

/// Requests that one thread may have under way to all providers together.
/// Far more than there are callers: it keeps a fault from eating all file descriptors, not a busy day from being
/// served.
const MOST_AT_ONCE: usize = 10_000;
/// How long a connection waits for the next request: less than most services wait.
const MOST_IDLE: Duration = Duration::from_secs(15);
/// How old a connection may be that is used again. A name may lead elsewhere after a while; a connection in steady use
/// would never look again.
const MOST_AGE: Duration = Duration::from_secs(75);

/// A place among [`MOST_AT_ONCE`].
pub(super) type Permit = OwnedSemaphorePermit;

/// An open connection on which no answer is outstanding, or the one that is asked.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) wire: Wire,
    /// Scheme, host and port; `None` for one that is used only once.
    origin: Option<Rc<str>>,
    opened: Instant,
}

impl Connection {
    pub(super) fn new(wire: Wire, origin: Option<Rc<str>>) -> Self {
        Self {
            wire,
            origin,
            opened: Instant::now(),
        }
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_fresh(&self, now: Instant) -> bool {
        // Both: an old connection may have been used a moment ago, and a young one left alone for long.
        now < self.since + MOST_IDLE && now < self.connection.opened + MOST_AGE
    }
}

/// All connections of one thread.
///
/// A connection is read by the thread that opened it, so nothing here is shared: `Rc` and cells, borrowed for a look only.
pub(in crate::upstream) struct Pool {
    /// By origin, the one that was used last at the end.
    idle: RefCell<HashMap<Rc<str>, Vec<Idle>>>,
    /// `Arc` only because an owned permit wants one.
    places: Arc<Semaphore>,
    /// Whether the task that closes what nobody needs is running.
    is_swept: Cell<bool>,
    proxies: Arc<Proxies>,
    tls: TlsConnector,
    connect: Duration,
}

impl Pool {
    /// An empty pool whose connections go through these proxies and are opened within `connect`.
    pub(in crate::upstream) fn new(proxies: Arc<Proxies>, connect: Duration) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            places: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            is_swept: Cell::new(false),
            proxies,
            tls: wire::tls(),
            connect,
        })
    }

    /// Sends a request, and waits for the head of its answer.
    ///
    /// A connection that had been used before may have been closed by the other side at the same moment. If it ends
    /// before the first byte of any answer, the request is sent once more over a new one, unless it says that it must
    /// not be ([`Request::once`]).
    ///
    /// # Errors
    /// No connection, or no head that can be understood.
    pub(in crate::upstream) async fn send(
        self: &Rc<Self>,
        request: &Request,
        rest: Option<Rest>,
    ) -> Result<(Head, Body), TransportError> {
        let url: Uri = request.url.parse().map_err(|_| TransportError::BadUrl)?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(TransportError::BadUrl);
        }
        let origin = origin(&request.url, &url);
        let head = written(request, &url, rest.as_ref());
        // Before the connection is opened, so that waiting costs no socket.
        let permit = Arc::clone(&self.places).acquire_owned().await;
        let mut permit = Some(permit.map_err(|_| TransportError::Connect)?);
        // One that was used before, at the first try only: the second must not meet the same fate.
        // A pinned address must be the one that is asked. What is uploaded while it comes cannot be sent twice, so it
        // does not go out on a connection that may be dead.
        let may_wait = request.address.is_none() && rest.is_none();
        let mut used = may_wait.then(|| self.take(origin)).flatten();
        loop {
            let is_used = used.is_some();
            let connection = match used.take() {
                Some(connection) => connection,
                None => self.open(&url, origin, request).await?,
            };
            // Pieces are shared, so that a second try copies nothing.
            let upload = Upload::new(head.clone(), &request.body, rest.clone());
            let mut asked = Asked::new(connection, upload, request.method == Method::HEAD);
            match std::future::poll_fn(|cx| asked.poll(cx)).await {
                // Nothing was heard, so nothing was taken: the service closed the kept connection while the question
                // was under way.
                Err(TransportError::Broken) if is_used && !asked.has_heard && !request.once => {}
                Err(error) => return Err(error),
                Ok((head, first)) => {
                    // Moves into the body, to be let go when it has been read.
                    let permit = permit.take().ok_or(TransportError::Broken)?;
                    let body = asked.body(&head, &first, (Rc::clone(self), permit))?;
                    return Ok((head, body));
                }
            }
        }
    }

    async fn open(
        &self,
        url: &Uri,
        origin: &str,
        request: &Request,
    ) -> Result<Connection, TransportError> {
        let opening = Wire::open(url, request.address, &self.proxies, &self.tls);
        let wire = tokio::time::timeout(self.connect, opening)
            .await
            .map_err(|_| TransportError::Timeout)?
            .map_err(|_| TransportError::Connect)?;
        // A pinned address is not what the name stands for, and must not serve others.
        let origin = request.address.is_none().then(|| origin.into());
        Ok(Connection::new(wire, origin))
    }

    /// A connection that was used before, and on which nothing has been said since.
    fn take(&self, origin: &str) -> Option<Connection> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(origin)?;
        let now = Instant::now();
        // The last one first: the others may then grow old.
        while let Some(mut last) = idle.pop() {
            // `is_quiet` last: it costs a system call.
            if last.is_fresh(now) && last.connection.wire.is_quiet() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection on which everything has been read.
    pub(super) fn put(self: &Rc<Self>, connection: Connection) {
        let Some(origin) = connection.origin.clone() else {
            return;
        };
        let since = Instant::now();
        let idle = Idle { connection, since };
        // Its age is over: the next one to look would throw it away.
        if !idle.is_fresh(since) {
            return;
        }
        self.idle.borrow_mut().entry(origin).or_default().push(idle);
        if !self.is_swept.replace(true) {
            // Ends with the pool, or when that is empty.
            actix_web::rt::spawn(sweep(Rc::downgrade(self)));
        }
    }

    /// Closes what has waited too long, and says whether anything is left.
    fn close_stale(&self) -> bool {
        let (mut all, now) = (self.idle.borrow_mut(), Instant::now());
        all.retain(|_, idle| {
            idle.retain(|idle| idle.is_fresh(now));
            !idle.is_empty()
        });
        self.is_swept.set(!all.is_empty());
        !all.is_empty()
    }
}

/// `Weak`: this must not keep a pool that nobody uses.
async fn sweep(pool: Weak<Pool>) {
    loop {
        // Coarse: what is stale is refused by `take` anyway, so this only frees memory and sockets.
        tokio::time::sleep(MOST_IDLE).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_stale()) {
            return;
        }
    }
}

/// Scheme, host and port as the URL has them: what connections are known by.
fn origin<'a>(written: &'a str, url: &Uri) -> &'a str {
    let scheme = url
        .scheme_str()
        .or_impossible("a URL without a scheme was refused");
    let authority = url
        .authority()
        .map(|authority| authority.as_str())
        .or_impossible("a URL without a host was refused");
    written
        .get(..scheme.len() + "://".len() + authority.len())
        .or_impossible("a URL begins with its scheme and authority")
}

/// The request's head, as it goes out.
fn written(request: &Request, url: &Uri, rest: Option<&Rest>) -> Bytes {
    // A URL without a path asks for `/` (RFC 9112, section 3.2.1).
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let headers: usize = request
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    // Room for the request line, a host and a length beside them, so that the head is written without growing.
    let mut head = Vec::with_capacity(96 + target.len() + request.url.len() + headers);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    put(&[
        request.method.as_str().as_bytes(),
        b" ",
        target.as_bytes(),
        b" HTTP/1.1\r\n",
    ]);
    if !request.headers.iter().any(|(name, _)| name == header::HOST) {
        let host = url.host().or_impossible("a URL without a host was refused");
        put(&[b"host: ", host.as_bytes()]);
        let is_tls = url.scheme_str() == Some("https");
        if let Some(port) = url
            .port_u16()
            .filter(|&port| port != if is_tls { 443 } else { 80 })
        {
            put(&[b":", port.to_string().as_bytes()]);
        }
        put(&[b"\r\n"]);
    }
    let length: usize = request.body.iter().map(Bytes::len).sum();
    let left = rest.map_or(Some(0), Rest::left);
    let length = left.map(|left| left + u64::try_from(length).unwrap_or(u64::MAX));
    let Some(length) = length else {
        put(&[b"transfer-encoding: chunked\r\n"]);
        return with_headers(head, request);
    };
    // RFC 9110, section 8.6: a POST without a body says so, or a server may answer 411.
    if length > 0 || !matches!(request.method, Method::GET | Method::HEAD) {
        put(&[b"content-length: ", length.to_string().as_bytes(), b"\r\n"]);
    }
    with_headers(head, request)
}

/// The head with the request's own headers, and its end.
fn with_headers(mut head: Vec<u8>, request: &Request) -> Bytes {
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
    for (name, value) in &request.headers {
        // The length is ours to say: a second one would make two requests of one.
        if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING {
            put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    }
    put(&[b"\r\n"]);
    head.into()
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
