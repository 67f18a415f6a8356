//! The prompt runner's host: Socket.IO on a port and a thread of its own. The library is somebody else's, so that the
//! client's codec is not judged by ours. Source: wire/langfast.md §3, §6.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use socketioxide::{
    SocketIo, TransportType,
    extract::{SocketRef, TryData},
    handler::ConnectHandler,
    service::SocketIoService,
    socket::DisconnectReason,
};
use tokio::{
    runtime::{self, Handle, Runtime},
    sync::watch,
};

use super::{account::Session, hub::Hub};
use crate::{
    Call, Reply,
    control::Kind,
    reply::{Act, Body, Delay},
};

/// The host while it runs; dropping it closes the port and cuts all connections.
pub(super) struct Host {
    /// Where it listens.
    pub(super) address: SocketAddr,
    pub(super) runtime: Handle,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A host that panicked has said so on stderr, and a destructor has no one to tell.
            let _panicked = thread.join();
        }
    }
}

/// Listens beside the simulator's own port.
pub(super) fn start(host: &str, hub: &Arc<Hub>) -> io::Result<Host> {
    let listener = TcpListener::bind(format!("{host}:0"))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let stop = watch::Sender::new(false);
    let (stopped, doors) = (stop.subscribe(), Arc::new(Doors::new(hub)));
    let thread = thread::Builder::new()
        .name("simulate-langfast-socket".to_owned())
        .spawn(move || run(&runtime, listener, stopped, doors))?;
    Ok(Host {
        address,
        runtime: handle,
        stop,
        thread: Some(thread),
    })
}

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
    doors: Arc<Doors>,
) {
    runtime.block_on(async move {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
            return;
        };
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = accept(&listener, &doors) => {}
        }
        doors.hub.clear();
    });
}

async fn accept(listener: &tokio::net::TcpListener, doors: &Arc<Doors>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // A second handle on the connection is what can cut it.
        let Some((stream, tcp)) = twice(stream) else {
            continue;
        };
        let (doors, tcp) = (Arc::clone(doors), Arc::new(tcp));
        let service = service_fn(move |request| {
            let (doors, tcp) = (Arc::clone(&doors), Arc::clone(&tcp));
            async move { doors.open(request, tcp).await }
        });
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::spawn(async move {
            // A client that breaks off is nothing special.
            let _over = connection.await;
        });
    }
}

fn twice(stream: tokio::net::TcpStream) -> Option<(tokio::net::TcpStream, TcpStream)> {
    stream.set_nodelay(true).ok()?;
    let stream = stream.into_std().ok()?;
    let second = stream.try_clone().ok()?;
    let first = tokio::net::TcpStream::from_std(stream).ok()?;
    Some((first, second))
}

/// A handshake on its way to the namespace.
#[derive(Clone)]
struct Opening {
    call: Call,
    tcp: Arc<TcpStream>,
}

/// What the client sends with CONNECT.
#[derive(Deserialize)]
struct Auth {
    token: String,
}

/// The same socket server twice: with the page's pings, and with fast ones.
struct Doors {
    hub: Arc<Hub>,
    usual: SocketIoService<NoPage>,
    fast: SocketIoService<NoPage>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What other paths than the socket's answer.
#[derive(Clone)]
struct NoPage;

impl Service<Request<Incoming>> for NoPage {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn call(&self, _request: Request<Incoming>) -> Self::Future {
        let mut response = Response::new(Full::new(Bytes::from_static(b"Cannot GET")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        std::future::ready(Ok(response))
    }
}

impl Doors {
    fn new(hub: &Arc<Hub>) -> Self {
        let ms = Duration::from_millis;
        Self {
            hub: Arc::clone(hub),
            usual: door(hub, ms(25_000), ms(20_000)),
            fast: door(hub, ms(200), ms(200)),
        }
    }

    /// Answers the upgrade (§6 step 1).
    async fn open(
        &self,
        mut request: Request<Incoming>,
        tcp: Arc<TcpStream>,
    ) -> Result<Answer, Infallible> {
        let mut call = Call {
            step: "socket".to_owned(),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            status: 101,
            ..Call::default()
        };
        if let Some(what) = wrong(&request) {
            call.violate(what);
            let refusal = Reply::json(400, &json!({"code": 3, "message": "Bad request"}));
            return Ok(refused(refusal, call, &self.hub, &tcp).await);
        }
        let drawn = match self.hub.control.get() {
            Some(control) => control.strike(&mut call),
            None => Ok(None),
        };
        let fault = match drawn {
            Ok(fault) => fault,
            Err(refusal) => return Ok(refused(refusal, call, &self.hub, &tcp).await),
        };
        request.extensions_mut().insert(Opening { call, tcp });
        let door = match fault {
            Some("fast_pings") => &self.fast,
            _ => &self.usual,
        };
        let answer = Service::call(door, request).await?;
        Ok(answer.map(BodyExt::boxed_unsync))
    }
}

/// What the page does not have in a handshake.
fn wrong(request: &Request<Incoming>) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    let has = |pair: &str| query.split('&').any(|own| own == pair);
    if request.uri().path() != "/socket.io/" || !has("EIO=4") || !has("transport=websocket") {
        return Some(format!("the socket is opened at {}", request.uri()));
    }
    let header = |name: &str| request.headers().contains_key(name);
    header("sec-websocket-protocol").then(|| "the handshake offers a subprotocol".to_owned())
}

/// A status instead of a socket, or no answer at all.
async fn refused(refusal: Reply, mut call: Call, hub: &Hub, tcp: &TcpStream) -> Answer {
    call.status = refusal.status;
    let answering = hub
        .control
        .get()
        .map(|control| control.record(call, Kind::Plain));
    match refusal.delay {
        Some(Delay::For(time)) => tokio::time::sleep(time).await,
        Some(Delay::Forever) => std::future::pending().await,
        None => {}
    }
    let bytes = match refusal.body {
        Body::Whole(bytes) => bytes,
        Body::Stream(mut acts) => {
            if acts.next() == Some(Act::Break) {
                let _cut = tcp.shutdown(std::net::Shutdown::Both);
            }
            Bytes::new()
        }
        Body::Elsewhere(elsewhere) => elsewhere.bytes,
    };
    if let Some(mut answering) = answering {
        answering.over();
    }
    let mut response = Response::new(Full::new(bytes).boxed_unsync());
    if let Ok(status) = StatusCode::from_u16(refusal.status) {
        *response.status_mut() = status;
    }
    response
}

fn door(hub: &Arc<Hub>, ping: Duration, pong: Duration) -> SocketIoService<NoPage> {
    let (service, io) = SocketIo::builder()
        .ping_interval(ping)
        .ping_timeout(pong)
        .max_payload(1_000_000)
        .max_buffer_size(4096)
        .connect_timeout(Duration::from_secs(45))
        .transports([TransportType::Websocket])
        .build_with_inner_svc(NoPage);
    let hub = Arc::clone(hub);
    let authenticate = async move |socket: SocketRef, TryData(auth): TryData<Auth>| {
        authenticate(&hub, &socket, auth.ok()).await
    };
    // Everything is done before the client hears that it is connected: it may post its run at once.
    io.ns("/", (async || {}).with(authenticate));
    service
}

fn opening(socket: &SocketRef) -> Option<Opening> {
    socket.req_parts().extensions.get::<Opening>().cloned()
}

/// Step 2 and 3: CONNECT with the token. The text of the refusal is the tests' (§6).
async fn authenticate(
    hub: &Arc<Hub>,
    socket: &SocketRef,
    auth: Option<Auth>,
) -> Result<(), &'static str> {
    let Some(Opening { mut call, tcp }) = opening(socket) else {
        return Err("Authentication error");
    };
    if call.fault == Some("socket_silent") {
        std::future::pending::<()>().await;
    }
    let session = match auth {
        Some(auth) => hub.accounts().of_token(&auth.token),
        None => Err("CONNECT has no token"),
    };
    match &session {
        Ok(session) => {
            call.account = Some(session.account);
            call.ok = call.fault != Some("socket_refused");
        }
        Err(what) => call.violate(*what),
    }
    let welcome = session.ok().filter(|_| call.ok);
    if let Some(control) = hub.control.get() {
        control.record(call, Kind::Plain).over();
    }
    let session = welcome.ok_or("Authentication error")?;
    enter(hub, socket, &session, tcp);
    Ok(())
}

fn enter(hub: &Arc<Hub>, socket: &SocketRef, session: &Session, tcp: Arc<TcpStream>) {
    let number = hub.enter(&session.user, socket.clone(), tcp);
    let (hub, account) = (Arc::clone(hub), session.account);
    socket.on_disconnect(async move |reason: DisconnectReason| {
        let is_own_doing = hub.leave(number);
        let mut call = Call {
            step: "disconnect".to_owned(),
            account: Some(account),
            ok: true,
            ..Call::default()
        };
        call.note("reason", reason.to_string());
        let said = [
            DisconnectReason::ClientNSDisconnect,
            DisconnectReason::ServerNSDisconnect,
        ];
        if is_own_doing && !said.contains(&reason) {
            call.violate("the client went away and did not say so with 41");
        }
        if let Some(control) = hub.control.get() {
            control.record(call, Kind::Plain).over();
        }
    });
}
