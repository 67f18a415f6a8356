//! An upstream for measuring: it answers as fast as it can and costs little.
//!
//! One server on one thread plays both an OpenAI-compatible API (`POST /v1/chat/completions`, streamed or in one piece)
//! and the cumulative web chat of Qwen (`POST /dialog/conversation`, whose events each repeat the whole text so far). It
//! checks nothing: the strict simulators are in `hive2api_simulators`. What an answer is like is said by the command line,
//! and by the last `load:pieces=64,every=20ms,size=16,wait=5ms` in a request, so that one server serves every scenario.
//! Every piece carries its number and the time at which it was written ([`crate::marker`]).

mod answer;
mod script;
mod server;

use std::{io, net::SocketAddr, rc::Rc};

use tokio::{
    net::{TcpListener, TcpSocket},
    task::LocalSet,
};

pub use self::script::Script;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Binds the emulator's socket; port 0 takes a free one. Must be called within a tokio runtime.
///
/// # Errors
/// When the address is taken or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers until the future is dropped.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, script: Script) -> io::Result<()> {
    let connections = LocalSet::new();
    connections
        .run_until(async {
            let script = Rc::new(script);
            loop {
                let (socket, _) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    // The client has gone again, or there are too many: the others go on.
                    Err(error) if is_passing(&error) => {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                socket.set_nodelay(true)?;
                let script = Rc::clone(&script);
                tokio::task::spawn_local(async move {
                    // A client that breaks off is no event here.
                    let _broken = server::serve(socket, *script).await;
                });
            }
        })
        .await
}

fn is_passing(error: &io::Error) -> bool {
    // Out of file descriptors, as a process or as a machine.
    matches!(error.raw_os_error(), Some(23 | 24))
        || error.kind() == io::ErrorKind::ConnectionAborted
}
