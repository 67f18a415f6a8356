//! An app on a socket: start, serve, drain. Source: issue "Shutdown", design.md section 6.
//!
//! ```text
//! serving ──SIGTERM──► /ready says 503, still accepting ──DRAIN_GRACE──► listener closed, running answers end
//!                                                                        ──all ended──► exit 0
//!                                                                        ──DRAIN_TIMEOUT──► the rest ends with an error event, exit 0
//! ```

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_web::{
    HttpServer,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web::Data,
};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    http::{self, App, edge},
    upstream::Client,
};

/// How often it is looked whether everything has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long answers that are cut have for saying so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How much of an answer the kernel takes before it has gone out, for each connection. By itself it would take 4 MB for
/// a client that does not read; this is enough for 1 MB/s to the other side of the world.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// Connections that may wait to be accepted; std's 128 are fewer than nginx opens at once when thousands of streams
/// begin, and one that finds no room is tried again by the kernel after a second only.
const BACKLOG: i32 = 4096;

/// A listener on the first address of `host` that can be had.
///
/// # Errors
/// Those of the last address tried, or of looking up the name.
pub fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Starts serving on a listener. The returned future ends when the server is stopped.
///
/// # Errors
/// When the listener cannot be used.
pub fn start(app: Arc<App>, listener: TcpListener) -> io::Result<Server> {
    let settings = Arc::clone(&app.settings);
    let (threads, keep_alive, drain_timeout) = (
        settings.threads,
        settings.keep_alive,
        // The end comes from drain_on_signal; this is only for what that would miss.
        settings.drain_timeout + 2 * LAST_WORDS,
    );
    // Connections have it from their listener.
    SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER_BYTES)?;
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(Data::from(Arc::clone(&app)))
            .app_data(Client::with_proxies(
                settings.timeouts,
                Arc::clone(&settings.proxies),
            ))
            .configure(http::routes)
            .wrap(from_fn(edge::edge))
    })
    .workers(threads)
    .keep_alive(keep_alive)
    .tcp_nodelay(true)
    // A client that has closed its side gets no answer any more: its upstream call must stop at once.
    .h1_allow_half_closed(false)
    .shutdown_timeout(drain_timeout.as_secs())
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

/// Waits for SIGTERM or SIGINT, then drains; returns when the process may end.
///
/// # Errors
/// When signals cannot be listened for.
pub async fn drain_on_signal(app: Arc<App>, server: ServerHandle) -> io::Result<()> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let grace = tokio::select! {
        _ = term.recv() => app.settings.drain_grace,
        // Ctrl-C: a person is waiting, and no load balancer.
        _ = int.recv() => Duration::ZERO,
    };
    tracing::info!(in_flight = app.in_flight.load(Ordering::SeqCst), "draining");
    app.is_draining.store(true, Ordering::SeqCst);
    tokio::select! {
        () = tokio::time::sleep(grace) => {}
        () = either(&mut term, &mut int) => {}
    }
    app.is_closed.store(true, Ordering::SeqCst);
    // Closes the listener and lets connections end. Idle keep-alive connections would hold this up until its
    // time-out, so what is waited for is our own count of running answers and clean-up.
    let stopping = server.stop(true);
    tokio::select! {
        () = idle(&app) => {
            tracing::info!("drained");
            return Ok(());
        }
        () = stopping => return Ok(()),
        () = tokio::time::sleep(app.settings.drain_timeout) => tracing::warn!(in_flight = app.in_flight.load(Ordering::SeqCst), "drain time-out"),
        _ = int.recv() => tracing::warn!("stopped by a second signal"),
    }
    app.cut_answers();
    // A client that does not read cannot be told.
    let _ = tokio::time::timeout(LAST_WORDS, idle(&app)).await;
    Ok(())
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn idle(app: &App) {
    while !app.is_idle() {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_burst_of_connections_finds_room() {
        let listener = listen("127.0.0.1", 0).unwrap();
        let address = listener.local_addr().unwrap();
        let wait = Duration::from_millis(500);
        // Nobody accepts them.
        let waiting: Result<Vec<_>, _> = (0..400)
            .map(|_| TcpStream::connect_timeout(&address, wait))
            .collect();
        assert_eq!(waiting.unwrap().len(), 400);
    }

    #[test]
    fn an_address_that_is_taken_is_an_error() {
        let first = listen("127.0.0.1", 0).unwrap();
        let port = first.local_addr().unwrap().port();
        assert!(listen("127.0.0.1", port).is_err());
    }
}
