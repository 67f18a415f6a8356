//! The two ways in which envelopes travel: the body of an HTTP answer, and the binary messages of a WebSocket. Above
//! here they are the same bytes. Source: `wire/kimi.md` sections 6.1 and 6.7.

use std::time::Duration;

use bytes::Bytes;

use super::{
    refusal::Refusal,
    wire::{self, Caller, Question},
};
use crate::{
    chat::{Kind, ProviderError},
    providers::Turn,
    settings::Problems,
    upstream::{
        Answer, TransportError, connect,
        websocket::{HandshakeError, Message, WebSocket},
    },
};

/// After the event that ends the answer: how long the trailer is waited for, and then the end of the body, so that
/// the connection can be used again.
const TRAILER: Duration = Duration::from_millis(500);
const END: Duration = Duration::from_millis(100);
/// Servers limit the size of a message; the envelope may lie in several.
const MESSAGE_BYTES: usize = 32 << 10;

/// `KIMI_TRANSPORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// HTTP, as the page does.
    Connect,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// Reads the variable.
    pub(super) fn read(word: Option<&str>, problems: &mut Problems) -> Self {
        match word {
            None | Some("connect") => Self::Connect,
            Some("websocket") => Self::WebSocket,
            Some(_) => {
                problems.push("KIMI_TRANSPORT must be one of: connect, websocket".to_owned());
                Self::Connect
            }
        }
    }
}

/// An answer under way. Dropping it ends the upstream call.
#[derive(Debug)]
pub(super) enum Stream {
    Connect(Answer),
    WebSocket(Box<WebSocket>),
}

impl Stream {
    /// Asks the question; the service has agreed to answer.
    ///
    /// # Errors
    /// A refusal before the stream, or a transport fault.
    pub(super) async fn open(
        transport: Transport,
        turn: &Turn,
        caller: Caller<'_>,
        question: &Question<'_>,
        variable: &str,
    ) -> Result<Self, ProviderError> {
        match transport {
            Transport::Connect => {
                let answer = turn.send(wire::ask(caller, question)).await?;
                Ok(Self::Connect(accepted(answer, variable).await?))
            }
            Transport::WebSocket => {
                let opened = turn.websocket(wire::handshake(caller)).await;
                let mut socket = opened.map_err(|error| match error {
                    HandshakeError::Refused(status) => {
                        Refusal::http(status, b"").into_error(variable)
                    }
                    HandshakeError::Transport(error) => error.into(),
                })?;
                let mut rest = question.envelope();
                while !rest.is_empty() {
                    let message = rest.split_to(rest.len().min(MESSAGE_BYTES));
                    socket.send_binary(message).await?;
                }
                // Boxed: the socket is large, and this is an enum of two.
                Ok(Self::WebSocket(Box::new(socket)))
            }
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// A long silence, a broken connection, a message that is not binary.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ProviderError> {
        match self {
            Self::Connect(answer) => Ok(answer.chunk().await?),
            Self::WebSocket(socket) => match socket.next().await? {
                Some(Message::Binary(bytes)) => Ok(Some(bytes)),
                // The service sends only binary; a text is an error that nobody has seen.
                Some(Message::Text(_)) => Err(ProviderError::malformed("text message")),
                None => Ok(None),
            },
        }
    }

    /// As [`Stream::chunk`], when only the trailer can follow: no more than a moment is spent on it.
    pub(super) async fn trailer(&mut self) -> Result<Option<Bytes>, ProviderError> {
        tokio::time::timeout(TRAILER, self.chunk())
            .await
            .unwrap_or_else(|_| Err(TransportError::Timeout.into()))
    }

    /// The answer is over.
    pub(super) async fn close(mut self) {
        match &mut self {
            // Only its end is waited for, so that the connection is free again.
            Self::Connect(_) => {
                let _ = tokio::time::timeout(END, self.chunk()).await;
            }
            Self::WebSocket(_) => {
                if let Self::WebSocket(socket) = self {
                    socket.close().await;
                }
            }
        }
    }
}

/// An answer that is a stream of envelopes; anything else is a refusal (section 7, E1).
async fn accepted(mut answer: Answer, variable: &str) -> Result<Answer, ProviderError> {
    let status = answer.status.as_u16();
    // By its type: an error is JSON, and comes with 200 as well (section 7).
    let is_stream = answer.content_type() == connect::CONTENT_TYPE;
    if status == 200 && is_stream {
        return Ok(answer);
    }
    let retry_after = answer.retry_after();
    let body = answer.short().await.unwrap_or_default();
    if status == 200 {
        let refusal = Refusal::http(status, &body);
        return Err(if refusal.has_words() {
            refusal.into_error(variable)
        } else {
            ProviderError::new(Kind::Protocol, "the service's answer is no stream")
        });
    }
    Err(Refusal::http(status, &body)
        .into_error(variable)
        .with_retry_after(retry_after))
}
