//! Pictures as events: each as soon as it is there, and a comment now and then until it is, so that a drawing of minutes
//! survives whatever stands between. Source: OpenAI's public API reference, image streaming.
//!
//! No service shows a picture before it is complete: `partial_images` is a wish that OpenAI itself may leave unfulfilled, and
//! is named in `X-Hive-Ignored`.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{HttpResponse, http::header};
use bytes::Bytes;
use futures_util::{future::LocalBoxFuture, stream};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep, timeout},
};

use super::{
    Door,
    body::Wanted,
    draw::{self, At, Drawn},
    said_missing, say, unix_seconds,
};
use crate::{
    app::App,
    chat::{aside::aside, media::Draws},
    http::{answering::Record, dialect::Dialect, error::ApiError},
    providers::{Job, Route},
};

const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// What comes while it is drawn.
enum Happening {
    /// A part of the body.
    Said(Bytes),
    /// No picture came.
    Failed(ApiError),
}

/// The drawing, and what has come of it. Dropping it stops the drawing.
struct Events {
    work: LocalBoxFuture<'static, ()>,
    is_over: bool,
    happenings: mpsc::Receiver<Happening>,
    first: Option<Happening>,
    every: Duration,
    quiet: Pin<Box<Sleep>>,
}

/// Answers with events. The status line is held back until the first picture or error, for `HEAD_TIMEOUT` at the most.
///
/// # Errors
/// Why no picture came, where that is known by then.
pub(super) async fn answer(
    door: Door,
    app: &App,
    (job, route, first): (Job, Route, Draws),
    wanted: Wanted,
    record: Record,
) -> Result<HttpResponse, ApiError> {
    let settings = &app.settings.http;
    let mut response = HttpResponse::Ok();
    // Of its format each picture speaks for itself.
    say(&mut response, &wanted, &first, wanted.output.as_deref());
    let (sender, happenings) = mpsc::channel(1);
    let work = drawing(door, (job, route, first), wanted, record, sender);
    let mut events = Events {
        work: Box::pin(work),
        is_over: false,
        happenings,
        first: None,
        every: settings.ping_interval,
        quiet: Box::pin(sleep(settings.ping_interval)),
    };
    let patience = settings.head_timeout;
    if let Ok(first) = timeout(patience, std::future::poll_fn(|cx| events.happening(cx))).await {
        if let Some(Happening::Failed(error)) = first {
            return Err(error);
        }
        events.first = first;
    }
    let body =
        stream::poll_fn(move |cx| events.next(cx).map(|piece| piece.map(Ok::<_, Infallible>)));
    Ok(response
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body))
}

async fn drawing(
    door: Door,
    (job, route, first): (Job, Route, Draws),
    wanted: Wanted,
    mut record: Record,
    sender: mpsc::Sender<Happening>,
) {
    // Whoever listens lives as long as this does.
    let say = async |happening| drop(sender.send(happening).await);
    let quality = wanted.request.quality.clone();
    let hand_over = async |picture: Drawn| {
        let quality = quality.clone();
        let event = aside(picture.bytes(), move || event(door, picture, quality)).await;
        say(Happening::Said(event.into())).await;
    };
    match draw::draw(&job, &route, &wanted.request, first, true, hand_over).await {
        Ok(outcome) => {
            let asked = usize::try_from(wanted.request.n).unwrap_or(usize::MAX);
            let missing = asked.saturating_sub(outcome.pictures);
            record.served = outcome.served;
            if missing > 0 {
                let missing = said_missing(missing, outcome.failure.as_ref());
                let comment = format!(": pictures that did not come: {missing}\n\n");
                say(Happening::Said(comment.into())).await;
            }
            record.done();
        }
        Err((error, served)) => {
            let error = ApiError::of_media(error);
            record.served = served;
            record.fail(&error);
            say(Happening::Failed(error)).await;
        }
    }
}

impl Door {
    /// What its events of finished pictures are called.
    fn completed(self) -> &'static str {
        match self {
            Self::Generations => "image_generation.completed",
            Self::Edits => "image_edit.completed",
        }
    }
}

/// A finished picture.
fn event(door: Door, picture: Drawn, quality: Option<String>) -> String {
    let name = door.completed();
    let mut data = json!({
        "type": name, "created_at": unix_seconds(), "background": "auto",
        "quality": quality.as_deref().unwrap_or("auto"),
        // No service counts here; clients look for the members all the same.
        "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0,
            "input_tokens_details": {"text_tokens": 0, "image_tokens": 0}},
    });
    // A stream asks for files, and has them.
    if let At::Here(file, _) = &picture.at {
        data["b64_json"] = json!(At::base64(&file.bytes));
        data["output_format"] = json!(draw::format_of(file));
        let size = imagesize::blob_size(&file.bytes).ok();
        let size = size.map(|size| format!("{}x{}", size.width, size.height));
        data["size"] = size.map_or_else(|| json!("auto"), Value::from);
    }
    if let Some(prompt) = picture.revised_prompt {
        data["revised_prompt"] = json!(prompt);
    }
    format!("event: {name}\ndata: {data}\n\n")
}

impl Events {
    fn happening(&mut self, cx: &mut Context<'_>) -> Poll<Option<Happening>> {
        loop {
            if let Poll::Ready(happening) = self.happenings.poll_recv(cx) {
                return Poll::Ready(happening);
            }
            if self.is_over || self.work.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Its last word may be waiting; behind that the channel is closed.
            self.is_over = true;
        }
    }

    /// The next piece of the body.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let happening = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.happening(cx),
        };
        let piece = match happening {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Happening::Said(piece))) => piece,
            Poll::Ready(Some(Happening::Failed(error))) => format!(
                "event: error\ndata: {}\n\n",
                Dialect::OpenAi.error_in_stream(&error, "")
            )
            .into(),
            Poll::Pending if self.quiet.as_mut().poll(cx).is_ready() => {
                Bytes::from_static(KEEP_ALIVE)
            }
            Poll::Pending => return Poll::Pending,
        };
        let every = self.every;
        self.quiet.as_mut().reset(Instant::now() + every);
        Poll::Ready(Some(piece))
    }
}
