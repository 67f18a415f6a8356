//! A simulator's answer over a WebSocket: what comes in is one request, and what goes out is played act by act, a
//! binary message each.

use std::iter;

use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Session};
use bytes::Bytes;
use tokio::time::sleep;

use super::{
    Request,
    control::{Answering, Kind},
    reply::{Act, Acts, Body, Delay, Elsewhere, Reply},
    server::{self, Service},
};

/// Stands for the method of a request that came over a WebSocket.
pub(super) const METHOD: &str = "WS";
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// A WebSocket that the simulator agrees to.
pub(super) struct Opened {
    /// Whether the messages so far, put together, are a request.
    pub(super) is_complete: fn(&[u8]) -> bool,
}

/// Answers the handshake; the conversation goes on by itself until one side closes it.
pub(super) fn open(
    head: &HttpRequest,
    payload: web::Payload,
    service: web::Data<Service>,
    request: Request,
    opened: &Opened,
) -> Result<HttpResponse, actix_web::Error> {
    let (response, session, stream) = actix_ws::handle(head, payload)?;
    let stream = stream
        .max_frame_size(MAX_MESSAGE_BYTES)
        .aggregate_continuations()
        .max_continuation_size(MAX_MESSAGE_BYTES);
    let socket = Socket { session, stream };
    // Ends with the connection, at the latest when the simulator's thread does.
    actix_web::rt::spawn(converse(socket, service, request, opened.is_complete));
    Ok(response)
}

struct Socket {
    session: Session,
    stream: AggregatedMessageStream,
}

/// What a client may send.
enum Came {
    Bytes(Bytes),
    Text,
    Gone,
}

impl Socket {
    async fn next(&mut self) -> Came {
        loop {
            match self.stream.recv().await {
                Some(Ok(AggregatedMessage::Binary(bytes))) => return Came::Bytes(bytes),
                Some(Ok(AggregatedMessage::Text(_))) => return Came::Text,
                Some(Ok(AggregatedMessage::Ping(bytes))) => {
                    if self.session.pong(&bytes).await.is_err() {
                        return Came::Gone;
                    }
                }
                Some(Ok(AggregatedMessage::Pong(_))) => {}
                Some(Ok(AggregatedMessage::Close(_)) | Err(_)) | None => return Came::Gone,
            }
        }
    }

    /// Waits until the client goes away; what it says meanwhile is not listened to.
    async fn gone(&mut self) {
        while !matches!(self.next().await, Came::Gone) {}
    }

    async fn close(self, code: CloseCode) {
        let reason = CloseReason {
            code,
            description: None,
        };
        // Whoever has closed before us does not hear of it.
        let _closed = self.session.close(Some(reason)).await;
    }
}

async fn converse(
    mut socket: Socket,
    service: web::Data<Service>,
    mut request: Request,
    is_complete: fn(&[u8]) -> bool,
) {
    METHOD.clone_into(&mut request.method);
    let mut bytes = Vec::new();
    while !is_complete(&bytes) {
        match socket.next().await {
            Came::Bytes(more) => bytes.extend(more),
            Came::Text => return socket.close(CloseCode::Unsupported).await,
            Came::Gone => return,
        }
    }
    request.body = bytes.into();
    let (reply, call) = server::reply(&request, &service);
    let mut answering = service.control.record(call, Kind::Stream);
    let session = socket.session.clone();
    let over = tokio::select! {
        biased;
        // `answering` is dropped with the rest, and says that the client went away.
        () = socket.gone() => return,
        over = play(reply, session, &mut answering) => over,
    };
    match over {
        Over::Whole => socket.close(CloseCode::Normal).await,
        Over::Wrong => socket.close(CloseCode::Error).await,
        // Both halves are dropped, and the connection with them.
        Over::Broken => {}
    }
}

/// How an answer ended.
enum Over {
    Whole,
    /// It has a status that a socket cannot carry.
    Wrong,
    Broken,
}

async fn play(mut reply: Reply, mut session: Session, answering: &mut Answering) -> Over {
    match reply.delay {
        Some(Delay::For(time)) => sleep(time).await,
        Some(Delay::Forever) => std::future::pending().await,
        None => {}
    }
    let acts: Acts = match reply.body {
        Body::Whole(bytes) | Body::Elsewhere(Elsewhere { bytes, .. }) => {
            Box::new(iter::once(Act::Send(bytes)))
        }
        Body::Stream(acts) => acts,
    };
    if reply.status != 200 {
        answering.over();
        return Over::Wrong;
    }
    for act in acts {
        match act {
            Act::Send(bytes) | Act::Say(bytes) => {
                answering.sent(bytes.len());
                if session.binary(bytes).await.is_err() {
                    return std::future::pending().await;
                }
            }
            Act::Pause(time) => sleep(time).await,
            Act::Done => {
                answering.over();
                reply.ending.run();
            }
            Act::Hang => return std::future::pending().await,
            Act::Break => {
                answering.over();
                return Over::Broken;
            }
        }
    }
    answering.over();
    Over::Whole
}
