//! An upstream's answer as the caller's: its body piece by piece as it comes, so that a video takes no more memory than a
//! word does; of its headers only those that say something about the body.

use std::{any::Any, fmt, io};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::SizedStream,
    http::{StatusCode, header},
    web::Data,
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::watch;

use super::{answering::Record, dialect::Dialect, error::ApiError};
use crate::{
    app::App,
    chat::{Kind, ProviderError},
    upstream::{Answer, TransportError},
};

/// The headers that are passed on. Whatever else an upstream says is between it and us: its cookies, its limits, its ids.
const PASSED_ON: &[&str] = &[
    "accept-ranges",
    "content-disposition",
    "content-language",
    "content-range",
    "etag",
    "last-modified",
    "openai-poll-after-ms",
    "x-poll-after-ms",
];

/// What the body needs until its end.
struct Passing {
    answer: Answer,
    is_event_stream: bool,
    is_over: bool,
    record: Record,
    cut: watch::Receiver<bool>,
    /// The account's lease.
    _hold: Box<dyn Any>,
}

/// The response. `hold` is let go of when the body is over, or nobody reads it any more; dropping the response stops the
/// upstream's.
pub(super) fn respond(
    answer: Answer,
    hold: impl Any,
    record: Record,
    app: &Data<App>,
) -> HttpResponse {
    // The range was the caller's, so its refusal is as well.
    if answer.status == StatusCode::RANGE_NOT_SATISFIABLE {
        return no_such_range(&answer, record);
    }
    let status = StatusCode::from_u16(answer.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponseBuilder::new(status);
    let content_type = answer.header("content-type");
    let content_type = content_type.unwrap_or("application/octet-stream");
    let is_event_stream = answer.content_type() == "text/event-stream";
    response.insert_header((header::CONTENT_TYPE, content_type));
    // What the upstream calls this must not become a page of ours.
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    for &name in PASSED_ON {
        if let Some(value) = answer.header(name) {
            response.insert_header((name, value));
        }
    }
    if is_event_stream {
        response.insert_header((header::CACHE_CONTROL, "no-cache, no-transform"));
        response.insert_header(("x-accel-buffering", "no"));
    } else {
        response.insert_header((header::CACHE_CONTROL, "no-store"));
    }
    // Unpacked on its way here, it is longer than was said.
    let is_packed =
        answer.header("content-encoding").is_some() || answer.header("transfer-encoding").is_some();
    let length = answer.header("content-length").filter(|_| !is_packed);
    let length = length.and_then(|length| length.parse::<u64>().ok());
    let body = pieces(Passing {
        answer,
        is_event_stream,
        is_over: false,
        record,
        cut: app.cut.subscribe(),
        _hold: Box::new(hold),
    });
    match length {
        // With a length the client sees what is missing of it.
        Some(length) => response.body(SizedStream::new(length, body)),
        None => response.streaming(body),
    }
}

/// 416, with how long the file is, and none of the upstream's words.
fn no_such_range(answer: &Answer, mut record: Record) -> HttpResponse {
    let error = ApiError::range_not_satisfiable();
    record.fail(&error);
    let mut response = HttpResponseBuilder::new(error.status);
    if let Some(place) = answer.header("content-range") {
        response.insert_header((header::CONTENT_RANGE, place));
    }
    response.json(Dialect::OpenAi.error_body(&error, ""))
}

/// The body breaks off, as its beginning has gone out: a client sees that there is less than was said, or no last chunk.
#[derive(Debug, thiserror::Error)]
#[error("the upstream's answer broke off")]
struct BrokenOff;

fn pieces(passing: Passing) -> impl Stream<Item = Result<Bytes, io::Error>> {
    stream::try_unfold(passing, async |mut passing: Passing| {
        // The error has been told as an event; the stream ends regularly behind it.
        if passing.is_over {
            passing.record.done();
            return Ok(None);
        }
        match passing.next().await {
            Ok(Some(piece)) => {
                passing.record.bytes += piece.len();
                Ok(Some((piece, passing)))
            }
            Ok(None) => {
                passing.record.done();
                Ok(None)
            }
            Err(error) => {
                let error = ApiError::from(error);
                // A piece that never came is a failure, also where a status has gone out.
                passing.record.fail(&error);
                if passing.is_event_stream {
                    // A stream of events can say what a file cannot.
                    let said = Dialect::OpenAi.error_body(&error, "");
                    passing.is_over = true;
                    return Ok(Some((format!("data: {said}\n\n").into(), passing)));
                }
                Err(io::Error::other(BrokenOff))
            }
        }
    })
}

impl Passing {
    async fn next(&mut self) -> Result<Option<Bytes>, ProviderError> {
        let Self { answer, cut, .. } = self;
        tokio::select! {
            // The body first: what has come is passed on before the worker goes.
            biased;
            piece = answer.chunk() => piece.map_err(|error| match error {
                TransportError::Broken => ProviderError::broken_stream(),
                other => other.into(),
            }),
            // Nobody is left to cut once the app has gone.
            Ok(_) = cut.wait_for(|is_cut| *is_cut) => Err(ProviderError::new(
                Kind::Unavailable,
                "the worker had to stop before the answer was complete",
            )
            .with_code("worker_stopped")),
        }
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing")
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}
