//! A worker on its socket: listener, server, and what runs beside them for as long as it serves.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    path::PathBuf,
    sync::Arc,
};

use actix_web::{HttpServer, dev::Server, middleware::from_fn, web::Data};
use socket2::{Domain, SockRef, Socket, Type};

use super::{allocator, drain, renew, together, upkeep};
use crate::{
    app::App,
    chat::tokens,
    http::{self, edge},
    settings::Vars,
    upstream::Client,
};

/// How much of an answer the kernel takes before it has gone out, for each connection. By itself it would take 4 MB for
/// a client that does not read; this is enough for 1 MB/s to the other side of the world.
const SEND_BUFFER_BYTES: usize = 256 << 10;

/// Connections that may wait to be accepted; std's 128 are fewer than nginx opens at once when thousands of streams
/// begin, and one that finds no room is tried again by the kernel after a second only.
const BACKLOG: i32 = 4096;

/// Where a worker's variables come from, for those that may be renewed while it runs.
#[derive(Debug)]
pub struct Sources {
    /// The process's own, which win.
    pub environment: Vars,
    /// What environment and file made together when the worker began.
    pub started: Vars,
    /// The file.
    pub path: PathBuf,
}

/// Serves until a signal ends it. `give_back` makes the allocator return what is free to the system.
///
/// # Errors
/// When the address cannot be had, or signals cannot be listened for.
pub async fn until_signal(app: App, sources: Sources, give_back: fn()) -> io::Result<()> {
    let app = Arc::new(app);
    // First: a port that is taken must end the process before anything else begins.
    let listener = listen(&app.settings.process.host, app.settings.process.port)?;
    let server = start(Arc::clone(&app), listener)?;
    for provider in app.registry.providers() {
        let accounts = provider.accounts().census().ready;
        tracing::info!(
            provider = provider.name(),
            accounts,
            models = provider.models().len(),
            "provider"
        );
    }
    tracing::info!(
        host = app.settings.process.host,
        port = app.settings.process.port,
        worker = app.settings.worker_name,
        "serving"
    );
    if app.registry.counts_tokens() {
        // The vocabulary takes a while to load, which the first chat should not wait for.
        std::thread::spawn(tokens::warm_up);
    }
    allocator::watch(Arc::clone(&app), give_back);
    let renewal = actix_web::rt::spawn(renew::watch(Arc::clone(&app), sources));
    let upkeep = actix_web::rt::spawn(upkeep::run(Arc::clone(&app)));
    let together = together::start(&app);
    let handle = server.handle();
    // Spawned, so that draining can stop it while it runs.
    let serving = actix_web::rt::spawn(server);
    drain::on_signal(Arc::clone(&app), handle).await?;
    // The last batch is written while nothing runs any more, before the tasks that would hold it up are gone.
    together.end(&app).await;
    renewal.abort();
    upkeep.abort();
    serving.abort();
    Ok(())
}

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
    // Built by hand for its backlog, which std does not let one choose.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A worker that is started again must not wait for the old one's last connections to be forgotten.
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
        settings.process.threads,
        settings.process.keep_alive,
        // The end comes from [`drain`]; this is only for what that would miss.
        settings.process.drain_timeout + 2 * drain::LAST_WORDS,
    );
    // Connections have it from their listener.
    SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER_BYTES)?;
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(Data::from(Arc::clone(&app)))
            // One a thread, as it is made within the factory: its connections stay there.
            .app_data(Client::with_proxies(
                settings.upstream.timeouts,
                Arc::clone(&settings.upstream.proxies),
            ))
            .configure(http::routes)
            // Outermost: ids, sizes and refusals stand around everything.
            .wrap(from_fn(edge::edge))
    })
    .workers(threads)
    .keep_alive(keep_alive)
    .tcp_nodelay(true)
    // A client that has closed its side gets no answer any more: its upstream call must stop at once.
    .h1_allow_half_closed(false)
    .shutdown_timeout(drain_timeout.as_secs())
    // `drain` listens for them: actix would end answers that still run.
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, time::Duration};

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
