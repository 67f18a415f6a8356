//! The socket: reads a request to its end, asks the simulator, plays the reply, and notices a client that goes away.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, error::ErrorPayloadTooLarge, http::StatusCode,
    web,
};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Sleep, sleep};

use super::{
    Simulator,
    control::{
        Answering, Call, Control, Kind,
        http::{self, PREFIX},
    },
    reply::{Act, Acts, Body, Delay, Elsewhere, Ending, Reply},
    request::Request,
    socket,
};

/// The largest request that is read: the 100 MB that the pages allow for a file, and its form.
const MAX_REQUEST_BYTES: usize = 110 << 20;

/// One simulator as its connections see it.
pub(super) struct Service {
    pub(super) simulator: Box<dyn Simulator>,
    pub(super) control: Arc<Control>,
}

/// Answers every request, whatever its method and path.
pub(super) async fn serve(
    head: HttpRequest,
    payload: web::Payload,
    service: web::Data<Service>,
) -> Result<HttpResponse, actix_web::Error> {
    let mut request = Request {
        method: head.method().to_string(),
        path: head.path().to_owned(),
        query: head.query_string().to_owned(),
        headers: head.headers().clone(),
        body: Bytes::new(),
    };
    if request.header("upgrade").eq_ignore_ascii_case("websocket") {
        let mut call = new_call(&request);
        let control = &service.control;
        match service.simulator.socket(&request, &mut call, control) {
            Some(Ok(opened)) => {
                call.status = 101;
                service.control.record(call, Kind::Plain).over();
                return socket::open(&head, payload, service, request, &opened);
            }
            Some(Err(refusal)) => {
                let refusal = bent(refusal, &call);
                return Ok(finish(refusal, call, &service).await);
            }
            None => {}
        }
    }
    request.body = payload
        .to_bytes_limited(MAX_REQUEST_BYTES)
        .await
        .map_err(|_| ErrorPayloadTooLarge("the request is too large"))??;
    if request.path.starts_with(PREFIX) {
        let reply = http::reply(&request, &service.control, &*service.simulator);
        return Ok(response(reply, None));
    }
    let (reply, call) = reply(&request, &service);
    Ok(finish(reply, call, &service).await)
}

fn new_call(request: &Request) -> Call {
    Call {
        method: request.method.clone(),
        path: request.path.clone(),
        ..Call::default()
    }
}

/// What the simulator answers, faults included.
pub(super) fn reply(request: &Request, service: &Service) -> (Reply, Call) {
    let mut call = new_call(request);
    let reply = service
        .simulator
        .reply(request, &mut call, &service.control);
    let reply = bent(reply, &call);
    call.status = reply.status;
    (reply, call)
}

fn bent(reply: Reply, call: &Call) -> Reply {
    match &call.drawn {
        Some(drawn) => drawn.bend(reply),
        None => reply,
    }
}

/// Writes the call down and answers it.
async fn finish(mut reply: Reply, mut call: Call, service: &Service) -> HttpResponse {
    call.status = reply.status;
    let kind = match reply.body {
        Body::Stream(_) | Body::Elsewhere(_) => Kind::Stream,
        Body::Whole(_) => Kind::Plain,
    };
    let mut answering = Some(service.control.record(call, kind));
    if let Body::Elsewhere(Elsewhere { bytes, acts, play }) = reply.body {
        if let Some(answering) = answering.take() {
            play(acts, answering);
        }
        reply.body = Body::Whole(bytes);
    }
    // Dropped by the server when the client goes away in the meantime, and `answering` with it.
    match reply.delay {
        Some(Delay::For(time)) => sleep(time).await,
        Some(Delay::Forever) => std::future::pending().await,
        None => {}
    }
    response(reply, answering)
}

fn response(reply: Reply, answering: Option<Answering>) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponseBuilder::new(status);
    let is_stream = matches!(reply.body, Body::Stream(_));
    for (name, value) in reply.headers {
        match value.parse() {
            // A body that is played has no length of its own; with this one it needs no chunks.
            Ok(length) if is_stream && name == "Content-Length" => {
                response.no_chunking(length);
            }
            _ => {
                response.append_header((name, value));
            }
        }
    }
    match reply.body {
        Body::Whole(bytes) | Body::Elsewhere(Elsewhere { bytes, .. }) => {
            if let Some(mut answering) = answering {
                answering.sent(bytes.len());
                answering.over();
            }
            response.body(bytes)
        }
        Body::Stream(acts) => response.streaming(Play {
            acts,
            sleep: None,
            hanging: false,
            answering,
            ending: reply.ending,
        }),
    }
}

/// A body that is played act by act.
struct Play {
    acts: Acts,
    sleep: Option<Pin<Box<Sleep>>>,
    hanging: bool,
    answering: Option<Answering>,
    ending: Ending,
}

impl Play {
    fn over(&mut self) {
        if let Some(answering) = &mut self.answering {
            answering.over();
        }
        self.ending.run();
    }
}

impl Stream for Play {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.hanging {
                // Nothing wakes this: the connection is polled, and this dropped, when the client closes it.
                return Poll::Pending;
            }
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.acts.next() {
                Some(Act::Send(bytes) | Act::Say(bytes)) => {
                    if let Some(answering) = &mut self.answering {
                        answering.sent(bytes.len());
                    }
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Some(Act::Pause(time)) => self.sleep = Some(Box::pin(sleep(time))),
                Some(Act::Done) => self.over(),
                Some(Act::Hang) => self.hanging = true,
                Some(Act::Break) => {
                    self.over();
                    let broken =
                        io::Error::new(io::ErrorKind::ConnectionAborted, "broken off on order");
                    return Poll::Ready(Some(Err(broken)));
                }
                None => {
                    self.over();
                    return Poll::Ready(None);
                }
            }
        }
    }
}
