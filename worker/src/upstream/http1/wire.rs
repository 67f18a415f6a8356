//! The connections below HTTP: TCP, or TLS over it.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use actix_web::{http::Uri, rt::net::TcpStream};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::upstream::{proxy::Proxies, socket};

/// An open connection.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(test)]
    Memory(tokio::io::DuplexStream),
}

/// What TLS needs to know: the certificates that browsers trust, and HTTP/1.1 as the only protocol above it.
pub(super) fn tls() -> TlsConnector {
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config).into()
}

impl Wire {
    /// Opens a connection to where the URL leads: through its proxy if it has one, or to `address`, whatever the URL's
    /// name resolves to.
    ///
    /// # Errors
    /// Name look-up, TCP, proxy or TLS.
    pub(super) async fn open(
        url: &Uri,
        address: Option<SocketAddr>,
        proxies: &Proxies,
        tls: &TlsConnector,
    ) -> io::Result<Self> {
        let stream = match address {
            Some(address) => TcpStream::connect(address).await?,
            None => socket::open(url, proxies).await?,
        };
        // Pieces of a request are written as they are there; held back for the acknowledgement of the last one, they
        // would cost 40 ms.
        stream.set_nodelay(true)?;
        if url.scheme_str() != Some("https") {
            return Ok(Self::Plain(stream));
        }
        let name = ServerName::try_from(socket::host(url).to_owned())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let stream = tls.connect(name, stream).await?;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Whether nothing has been said on this idle connection, not even that it is closed. What the event loop has not
    /// heard of yet counts as well: bytes that nobody asked for would be taken for the next answer.
    pub(super) fn is_quiet(&mut self) -> bool {
        // Under TLS there may be bytes that are read but not given out; and messages of TLS's own, which are no answer.
        if !matches!(self, Self::Plain(_)) {
            // One byte that is thrown away does no harm: whoever has something to say is closed.
            let mut byte = [0];
            let polled = Pin::new(&mut *self).poll_read(
                &mut Context::from_waker(Waker::noop()),
                &mut ReadBuf::new(&mut byte),
            );
            if polled.is_ready() {
                return false;
            }
        }
        let stream = match self {
            Self::Plain(stream) => &*stream,
            Self::Tls(stream) => stream.get_ref().0,
            #[cfg(test)]
            Self::Memory(_) => return true,
        };
        let peeked = socket2::SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
        // Only "nothing there, and still open" is quiet: an end of stream is 0 bytes without an error.
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Delegates to the stream within.
macro_rules! within {
    ($wire:expr, $method:ident, $($argument:expr),*) => {
        match $wire.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Wire::Tls(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(test)]
            Wire::Memory(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        within!(self, poll_read, cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        within!(self, poll_write, cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        within!(self, poll_write_vectored, cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        within!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        within!(self, poll_shutdown, cx)
    }
}
