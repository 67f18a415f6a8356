//! A connection to the gateway, with TLS or without.

use std::{fmt::Debug, io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// What a request is written to and its answer is read from.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Debug> Stream for T {}

/// Where connections go.
#[derive(Clone)]
pub(super) struct Place {
    address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Place {
    /// Without TLS.
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// With TLS: the server proves that it is `name`.
    pub(super) fn tls(address: SocketAddr, name: &str) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            tls: Some((TlsConnector::from(Arc::new(config)), name)),
        })
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(socket),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), socket).await?),
        })
    }
}

impl Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
