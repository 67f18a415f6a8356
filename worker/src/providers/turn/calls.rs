//! An attempt's calls to its service, counted by what came of them.

use std::sync::Arc;

use super::Turn;
use crate::{
    chat::{Kind, ProviderError},
    metrics::METRICS,
    upstream::{
        Answer, Client, Request, Rest, TransportError,
        websocket::{HandshakeError, WebSocket},
    },
};

impl Turn {
    /// Sends a request and waits for the head of its answer; counted in `hive_upstream_requests_total`.
    ///
    /// # Errors
    /// Transport faults only; an HTTP error status is an answer, for the provider's `wire::refusal` to judge.
    pub async fn send(&self, request: Request) -> Result<Answer, ProviderError> {
        Ok(send(&self.client, &self.provider, request, None).await?)
    }

    /// As [`Turn::send`], with the rest of a body that comes while it is sent. Once some of that has gone out, nothing can be
    /// tried again.
    ///
    /// # Errors
    /// As [`Turn::send`], and a body that breaks off.
    pub async fn send_with(
        &self,
        request: Request,
        rest: Option<Rest>,
    ) -> Result<Answer, ProviderError> {
        // The clone stays here only to be asked: both are one stream.
        let answer = send(&self.client, &self.provider, request, rest.clone()).await;
        // Asked whatever came of it: bytes that left us may have been taken, though no answer came.
        if rest.is_some_and(|rest| rest.has_begun()) {
            self.outbox.use_up();
        }
        Ok(answer?)
    }

    /// For calls that outlive this turn, on the same thread.
    pub fn messenger(&self) -> Messenger {
        Messenger {
            provider: Arc::clone(&self.provider),
            client: self.client.clone(),
        }
    }

    /// Opens a WebSocket; counted as [`Turn::send`] counts.
    ///
    /// # Errors
    /// [`HandshakeError`]: what a refused handshake means is the provider's to say.
    pub async fn websocket(&self, request: Request) -> Result<WebSocket, HandshakeError> {
        let step = request.step;
        let result = self.client.websocket(request).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(HandshakeError::Refused(500..)) => "http_5xx",
            Err(HandshakeError::Refused(_)) => "http_4xx",
            Err(HandshakeError::Transport(TransportError::Timeout)) => "timeout",
            Err(HandshakeError::Transport(TransportError::Connect | TransportError::BadUrl)) => {
                "connect"
            }
            Err(HandshakeError::Transport(_)) => "broken",
        };
        METRICS
            .upstream_requests_total
            .with_label_values(&[&*self.provider, step, outcome])
            .inc();
        result
    }
}

/// Sends a provider's requests outside of any turn: what serves all turns, such as the renewal of a credential.
#[derive(Clone, Debug)]
pub struct Messenger {
    provider: Arc<str>,
    client: Client,
}

impl Messenger {
    /// For a provider's calls apart from any turn.
    pub fn new(provider: &str, client: Client) -> Self {
        Self {
            provider: provider.into(),
            client,
        }
    }

    /// As [`Turn::send`].
    ///
    /// # Errors
    /// [`TransportError`], when no head came.
    pub async fn send(&self, request: Request) -> Result<Answer, TransportError> {
        send(&self.client, &self.provider, request, None).await
    }
}

async fn send(
    client: &Client,
    provider: &str,
    request: Request,
    rest: Option<Rest>,
) -> Result<Answer, TransportError> {
    let step = request.step;
    let result = client.send_with(request, rest).await;
    let outcome = match &result {
        Ok(answer) if answer.status.is_server_error() => "http_5xx",
        Ok(answer) if answer.status.is_client_error() => "http_4xx",
        Ok(_) => "ok",
        Err(TransportError::Connect | TransportError::BadUrl) => "connect",
        Err(TransportError::Timeout) => "timeout",
        Err(
            TransportError::Broken
            | TransportError::TooLarge
            | TransportError::NotJson
            | TransportError::Malformed
            | TransportError::Torn
            | TransportError::Redirected,
        ) => "broken",
    };
    METRICS
        .upstream_requests_total
        .with_label_values(&[provider, step, outcome])
        .inc();
    result
}

impl From<TransportError> for ProviderError {
    fn from(error: TransportError) -> Self {
        let kind = match error {
            TransportError::Connect | TransportError::Broken => Kind::Unavailable,
            TransportError::Timeout => Kind::Timeout,
            // Of what the caller sends; the account has nothing to do with it.
            TransportError::Torn => Kind::BadRequest,
            TransportError::BadUrl
            | TransportError::TooLarge
            | TransportError::NotJson
            | TransportError::Malformed
            | TransportError::Redirected => Kind::Protocol,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<crate::upstream::sse::TooLarge> for ProviderError {
    fn from(error: crate::upstream::sse::TooLarge) -> Self {
        Self::new(Kind::Protocol, error.to_string())
    }
}

impl From<crate::upstream::connect::Malformed> for ProviderError {
    fn from(error: crate::upstream::connect::Malformed) -> Self {
        Self::new(Kind::Protocol, error.to_string())
    }
}
