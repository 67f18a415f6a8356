//! The TCP connections below awc: without Nagle's algorithm, and with an end of stream that is not mistaken for the
//! end of an answer.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use actix_tls::connect::{ConnectError, ConnectInfo, Connection, ConnectorService};
use actix_web::{
    dev::Service,
    http::Uri,
    rt::net::{ActixStream, Ready, TcpStream},
};
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::proxy::Proxies;

/// awc's own connector, with Nagle's algorithm switched off: it would hold small writes back for 40 ms.
#[derive(Clone, Default)]
pub(super) struct Connector {
    direct: ConnectorService,
    proxies: Arc<Proxies>,
}

impl Connector {
    /// A connector that goes through these proxies.
    pub(super) fn new(proxies: Arc<Proxies>) -> Self {
        Self {
            direct: ConnectorService::default(),
            proxies,
        }
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
        let (direct, proxies) = (self.direct.clone(), Arc::clone(&self.proxies));
        Box::pin(async move {
            let port = match (info.port(), info.request().scheme_str()) {
                (0, Some("https" | "wss")) => 443,
                (0, _) => 80,
                (port, _) => port,
            };
            let tunnel = proxies.tunnel(info.request(), port).await;
            let (socket, uri) = match tunnel {
                Some(tunnel) => (tunnel.map_err(ConnectError::Io)?, info.request().clone()),
                None => direct.call(info).await?.into_parts(),
            };
            socket.set_nodelay(true).map_err(ConnectError::Io)?;
            Ok(Connection::new(uri, Socket(socket)))
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
