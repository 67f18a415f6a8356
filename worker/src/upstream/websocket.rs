//! WebSocket over awc: whole messages in and out. Pings of the protocol are answered and fragments put together
//! here, so that the codecs above see messages only.

use std::{fmt, time::Duration};

use actix_codec::Framed;
use actix_http::ws::{Codec, Frame, Item, Message as Outgoing};
use awc::{BoxedSocket, error::WsClientError};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};

use super::client::{Client, Request, TransportError};

/// Most bytes of one message, fragments together.
const MOST_MESSAGE_BYTES: usize = 16 << 20;

/// A message of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text. Whether it is UTF-8 is for the codec above to check.
    Text(Bytes),
    /// Binary.
    Binary(Bytes),
}

/// Why there is no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// An HTTP answer other than 101; its body is not to be had.
    #[error("the handshake was answered with HTTP {0}")]
    Refused(u16),
    /// No (proper) answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// An open WebSocket. Dropping it closes the connection at once.
pub struct WebSocket {
    framed: Framed<BoxedSocket, Codec>,
    stall: Duration,
    fragments: Option<(bool, BytesMut)>,
}

impl Client {
    /// Opens a WebSocket. Of the request URL (`ws`, `wss`, `http` or `https`) and headers are used.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub async fn websocket(&self, request: Request) -> Result<WebSocket, HandshakeError> {
        let stall = request.timeout.unwrap_or_else(|| self.timeouts().stall);
        let mut call = self
            .awc()
            .ws(request.url)
            // A frame, not a message: fragments are counted in `fragment`.
            .max_frame_size(MOST_MESSAGE_BYTES);
        for (name, value) in request.headers {
            call = call.header(name, value);
        }
        let connecting = tokio::time::timeout(stall, call.connect());
        let connected = connecting.await.map_err(|_| TransportError::Timeout)?;
        let (_, framed) = connected.map_err(|error| match error {
            WsClientError::InvalidResponseStatus(status) => {
                HandshakeError::Refused(status.as_u16())
            }
            WsClientError::SendRequest(error) => {
                HandshakeError::Transport(TransportError::from(error))
            }
            _ => HandshakeError::Transport(TransportError::Broken),
        })?;
        Ok(WebSocket {
            framed,
            stall,
            fragments: None,
        })
    }
}

impl WebSocket {
    /// The next message; `None` when the other side has closed the WebSocket in order.
    ///
    /// # Errors
    /// A silence longer than the time-out, a broken connection, a violated protocol.
    pub async fn next(&mut self) -> Result<Option<Message>, TransportError> {
        let stall = self.stall;
        tokio::time::timeout(stall, self.next_message())
            .await
            .map_err(|_| TransportError::Timeout)?
    }

    async fn next_message(&mut self) -> Result<Option<Message>, TransportError> {
        loop {
            // The socket below reports its end as an error; what ends without a close frame is broken.
            let frame = self
                .framed
                .next()
                .await
                .ok_or(TransportError::Broken)?
                .map_err(|_| TransportError::Broken)?;
            match frame {
                Frame::Text(text) => return Ok(Some(Message::Text(text))),
                Frame::Binary(bytes) => return Ok(Some(Message::Binary(bytes))),
                Frame::Ping(payload) => self.put(Outgoing::Pong(payload)).await?,
                Frame::Pong(_) => {}
                Frame::Close(reason) => {
                    // The answer to a close frame is a courtesy; the connection is gone either way.
                    let _ = self.put(Outgoing::Close(reason)).await;
                    return Ok(None);
                }
                Frame::Continuation(item) => {
                    if let Some(message) = self.fragment(item)? {
                        return Ok(Some(message));
                    }
                }
            }
        }
    }

    fn fragment(&mut self, item: Item) -> Result<Option<Message>, TransportError> {
        match item {
            Item::FirstText(bytes) => self.fragments = Some((true, bytes.into())),
            Item::FirstBinary(bytes) => self.fragments = Some((false, bytes.into())),
            // Without a beginning, or beyond the bound. Both end the connection, and the first is refused by the codec
            // below already.
            Item::Continue(bytes) | Item::Last(bytes)
                if self
                    .fragments
                    .as_ref()
                    .is_none_or(|(_, known)| known.len() + bytes.len() > MOST_MESSAGE_BYTES) =>
            {
                return Err(TransportError::TooLarge);
            }
            Item::Continue(bytes) => {
                if let Some((_, known)) = &mut self.fragments {
                    known.extend_from_slice(&bytes);
                }
            }
            Item::Last(bytes) => {
                return Ok(self.fragments.take().map(|(is_text, mut known)| {
                    known.extend_from_slice(&bytes);
                    if is_text {
                        Message::Text(known.freeze())
                    } else {
                        Message::Binary(known.freeze())
                    }
                }));
            }
        }
        Ok(None)
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// A broken connection, or one that takes nothing for as long as the time-out.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<(), TransportError> {
        self.put(Outgoing::Text(text.into().into())).await
    }

    /// Sends a binary message.
    ///
    /// # Errors
    /// As [`WebSocket::send_text`].
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) -> Result<(), TransportError> {
        self.put(Outgoing::Binary(bytes.into())).await
    }

    /// Says goodbye (1000). What the other side answers is not waited for.
    pub async fn close(mut self) {
        let normal = actix_http::ws::CloseCode::Normal;
        // The reader has what it wanted; if the goodbye fails the connection is gone as well.
        let _ = self.put(Outgoing::Close(Some(normal.into()))).await;
    }

    /// As [`WebSocket::close`], but stays until the other side has answered or hung up, at most for `longest`: a
    /// connection that is dropped with unread bytes is reset, and a reset may overtake the last words.
    pub async fn close_and_wait(mut self, longest: Duration) {
        let normal = actix_http::ws::CloseCode::Normal;
        let goodbye = async {
            let _ = self.put(Outgoing::Close(Some(normal.into()))).await;
            while let Some(Ok(frame)) = self.framed.next().await {
                if matches!(frame, Frame::Close(_)) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(longest, goodbye).await;
    }

    async fn put(&mut self, message: Outgoing) -> Result<(), TransportError> {
        // Every frame has the whole of it: there is no slow progress to tell from none.
        let sent = tokio::time::timeout(self.stall, self.framed.send(message)).await;
        sent.map_err(|_| TransportError::Timeout)?
            .map_err(|_| TransportError::Broken)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("stall", &self.stall)
            .finish_non_exhaustive()
    }
}
