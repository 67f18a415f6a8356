//! A Socket.IO connection on a [`WebSocket`], kept alive by a task of its own.
//!
//! The answer of a turn is polled only when its client takes something, but a ping must be answered at once, also
//! while that client is slow (wire/langfast.md section 6). So the socket is served by its own task on the same
//! thread, and what comes in is handed to a callback there. The callback decides what is kept: whoever passes one
//! must keep its memory bounded.

use std::{fmt, rc::Rc, time::Duration};

use tokio::sync::Notify;

use super::codec::{DISCONNECT, Event, Session, Step, Unreadable};
use crate::upstream::{
    TransportError,
    websocket::{Message, WebSocket},
};

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What happens on a connection, in this order: perhaps `Connected`, events, and `Over` exactly once, unless the
/// [`Connection`] was dropped before.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// We are in the namespace; from here on events come.
    Connected,
    /// An event.
    Event(Event<'a>),
    /// The connection has ended.
    Over(End),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The server did not let us in; its words.
    #[error("the connection was refused")]
    Refused(String),
    /// The server ended it (`41` or `1`).
    #[error("the server ended the connection")]
    Closed,
    /// The server sent what is no packet.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The WebSocket was closed or broke, or the server gave no sign of life for too long.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// An open connection. Dropping it says goodbye (`41` and a WebSocket close) in the background.
pub struct Connection {
    stop: Rc<Notify>,
}

impl Connection {
    /// Serves a WebSocket, from the handshake on. `auth` is JSON text for the default namespace.
    pub fn start(
        socket: WebSocket,
        auth: impl Into<String>,
        heard: impl FnMut(Incoming<'_>) + 'static,
    ) -> Self {
        let stop = Rc::new(Notify::new());
        // Ends with the connection, which ends with the turn that holds it.
        actix_web::rt::spawn(pump(socket, Session::new(auth), Rc::clone(&stop), heard));
        Self { stop }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The permit is kept if the task is not waiting at this moment.
        self.stop.notify_one();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

async fn pump(
    mut socket: WebSocket,
    mut session: Session,
    stop: Rc<Notify>,
    mut heard: impl FnMut(Incoming<'_>) + 'static,
) {
    let end = tokio::select! {
        // Whoever is dropped first wins: `stop` must not wait for a message that may never come.
        end = serve(&mut socket, &mut session, &mut heard) => Some(end),
        () = stop.notified() => None,
    };
    match end {
        None => {
            // Best effort, as the other side may be gone.
            let _ = tokio::time::timeout(GOODBYE, socket.send_text(DISCONNECT)).await;
            socket.close_and_wait(GOODBYE).await;
        }
        Some(End::Transport(error)) => heard(Incoming::Over(End::Transport(error))),
        Some(end) => {
            heard(Incoming::Over(end));
            socket.close_and_wait(GOODBYE).await;
        }
    }
}

async fn serve(
    socket: &mut WebSocket,
    session: &mut Session,
    heard: &mut impl FnMut(Incoming<'_>),
) -> End {
    loop {
        match next(socket, session, heard).await {
            Ok(None) => {}
            Ok(Some(end)) | Err(end) => return end,
        }
    }
}

async fn next(
    socket: &mut WebSocket,
    session: &mut Session,
    heard: &mut impl FnMut(Incoming<'_>),
) -> Result<Option<End>, End> {
    // Around the socket's own time-out, which is the request's; the server's pulse is shorter and is what counts here.
    let message = tokio::time::timeout(session.pulse(), socket.next()).await;
    let message = message.map_err(|_| TransportError::Timeout)??;
    let message = message.ok_or(TransportError::Broken)?;
    // There are no binary events here (section 6).
    let Message::Text(text) = message else {
        return Ok(None);
    };
    match session.receive(&text)? {
        Step::Reply(reply) => socket.send_text(reply).await?,
        Step::Connected => heard(Incoming::Connected),
        Step::Event(event) => heard(Incoming::Event(event)),
        Step::Refused(words) => return Ok(Some(End::Refused(words))),
        Step::Over => return Ok(Some(End::Closed)),
        Step::Nothing => {}
    }
    Ok(None)
}
