//! The TCP connections to providers; and those below awc, which has our WebSockets: without Nagle's algorithm, and with
//! an end of stream that is not mistaken for the end of an answer.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::{
    dev::Service,
    http::Uri,
    rt::net::{ActixStream, Ready, TcpStream},
};
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::proxy::Proxies;
use crate::impossible::OrImpossible as _;

/// The URL's host, an IPv6 address without its brackets.
pub(super) fn host(url: &Uri) -> &str {
    let host = url.host().or_impossible("a URL without a host was refused");
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// The URL's port, or its scheme's.
pub(super) fn port(url: &Uri) -> u16 {
    let is_tls = matches!(url.scheme_str(), Some("https" | "wss"));
    url.port_u16().unwrap_or(if is_tls { 443 } else { 80 })
}

/// Connects to the URL's host, through the proxy that is set for it.
///
/// # Errors
/// The name leads nowhere, none of its addresses can be reached, or the proxy refused.
pub(super) async fn open(url: &Uri, proxies: &Proxies) -> io::Result<TcpStream> {
    let port = port(url);
    match proxies.tunnel(url, port).await {
        Some(tunnel) => tunnel,
        None => direct(host(url), port).await,
    }
}

/// Without a proxy. `localhost` is both loopback addresses (RFC 6761, section 6.3), whichever of them the machine's
/// hosts file names.
async fn direct(host: &str, port: u16) -> io::Result<TcpStream> {
    match TcpStream::connect((host, port)).await {
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            let loopback: [(IpAddr, u16); 2] = [
                (Ipv6Addr::LOCALHOST.into(), port),
                (Ipv4Addr::LOCALHOST.into(), port),
            ];
            TcpStream::connect(&loopback.map(SocketAddr::from)[..]).await
        }
        other => other,
    }
}

/// Connects for awc, with Nagle's algorithm switched off: it would hold small writes back for 40 ms.
#[derive(Clone, Debug, Default)]
pub(super) struct Connector {
    proxies: Arc<Proxies>,
}

impl Connector {
    /// A connector that goes through these proxies.
    pub(super) fn new(proxies: Arc<Proxies>) -> Self {
        Self { proxies }
    }
}

impl Service<ConnectInfo<Uri>> for Connector {
    type Response = Connection<Uri, Socket>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let proxies = Arc::clone(&self.proxies);
        Box::pin(async move {
            let url = info.request();
            let socket = open(url, &proxies).await.map_err(ConnectError::Io)?;
            socket.set_nodelay(true).map_err(ConnectError::Io)?;
            Ok(Connection::new(url.clone(), Socket(socket)))
        })
    }
}

/// A TCP stream whose end is an error. awc 3.11 takes a connection that closes in the middle of a chunked body for
/// a body that has ended (its payload stream turns the end of the bytes into `None`), so a broken answer would look
/// whole. Nothing else of awc reads to the end of a connection.
///
/// Under TLS the layer above us sees a regular `close_notify` first, so there a break behind one still goes
/// unnoticed; one without is an error of rustls itself.
#[derive(Debug)]
pub(super) struct Socket(TcpStream);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        match polled {
            // `remaining` tells an end from a read into no room.
            Poll::Ready(Ok(())) if buf.filled().len() == before && buf.remaining() > 0 => {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Poll::Ready(_) | Poll::Pending => polled,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

impl ActixStream for Socket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.0, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.0, cx)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::rt::net::TcpListener;
    use socket2::{Domain, Type};

    use super::*;

    #[actix_web::test]
    async fn localhost_is_both_loopback_addresses() {
        let loopbacks: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for (address, other) in loopbacks.into_iter().zip(loopbacks.into_iter().rev()) {
            // Not every machine has both.
            let Ok(listener) = TcpListener::bind((address, 0)).await else {
                continue;
            };
            // Taken and not listened on: else the test beside this one may have the same port at the other address.
            let at = SocketAddr::new(other, listener.local_addr().unwrap().port());
            let taken = socket2::Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
            if taken.bind(&at.into()).is_err() {
                continue;
            }
            let port = listener.local_addr().unwrap().port();
            let peer = direct("localhost", port).await.unwrap().peer_addr();
            assert_eq!(peer.unwrap().ip(), address);
        }
    }
}
