//! A simulator that is running: a thread, a port, and the handles on it.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, rt::System, web};

use super::{
    ACCOUNTS, New, Options,
    control::Control,
    server::{self, Service},
};

/// A simulator that is running; dropping it stops it and cuts its connections.
pub struct Running {
    /// The simulator's name in the registry.
    pub name: &'static str,
    /// Where it answers, without a trailing slash: `http://127.0.0.1:41234`.
    pub url: String,
    accounts: usize,
    service: web::Data<Service>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// The settings that point a worker at this simulator, fake credentials included.
    pub fn env(&self) -> Vec<(String, String)> {
        self.service
            .simulator
            .env(self.accounts, &self.service.control)
    }

    /// Orders and records.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.service.control)
    }

    /// Forgets orders, records, conversations and uploads.
    pub fn reset(&self) {
        self.service.control.reset(&*self.service.simulator);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The command is sent at once; the future would only wait for it to be carried out, as the join does.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // A server that panicked has said so on stderr, and a destructor has no one to tell.
            let _panicked = thread.join();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

pub(super) fn start(name: &'static str, new: New, options: &Options) -> io::Result<Running> {
    let listener = TcpListener::bind(SocketAddr::new(options.host, options.port))?;
    let url = format!("http://{}", listener.local_addr()?);
    let simulator = new(&url)?;
    let control = Control::new(&*simulator, options.pace, &options.generation)
        .map_err(|unknown| io::Error::new(io::ErrorKind::InvalidInput, unknown))?;
    let control = Arc::new(control);
    simulator.begin(&control);
    let service = web::Data::new(Service { simulator, control });
    let (sender, receiver) = mpsc::channel();
    let shared = service.clone();
    let thread = thread::Builder::new()
        .name(format!("simulate-{name}"))
        .spawn(move || {
            System::new().block_on(async move {
                match listen(listener, shared) {
                    Ok(server) => {
                        // The receiver waits below until it has got this.
                        let _gone = sender.send(Ok(server.handle()));
                        let _stopped = server.await;
                    }
                    Err(error) => {
                        let _gone = sender.send(Err(error));
                    }
                }
            });
        })?;
    let handle = receiver
        .recv()
        .map_err(|_| io::Error::other("the simulator's thread ended at once"))??;
    Ok(Running {
        name,
        url,
        accounts: options.accounts.clamp(1, ACCOUNTS),
        service,
        handle,
        thread: Some(thread),
    })
}

fn listen(
    listener: TcpListener,
    service: web::Data<Service>,
) -> io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(service.clone())
            .default_service(web::to(server::serve))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(0)
    .tcp_nodelay(true)
    .keep_alive(Duration::from_secs(75))
    // A client that closes its connection has gone: notice it at once, also while nothing is being written.
    .h1_allow_half_closed(false)
    .listen(listener)?;
    Ok(server.run())
}
