//! `POST /v1/chat/completions`. Source: design.md section 2, conformance sections 1 and 2.

use std::{
    future::poll_fn,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web::{Data, Payload},
};
use uuid::Uuid;

use super::{
    answer::Answer,
    gather::gather,
    stream::{Choice, StreamBody},
    trace::Trace,
};
use crate::{
    app::App,
    chat::{ChatEvent, ChatRequest, aside::aside},
    http::{auth::Principal, body, edge::RequestId, error::ApiError, place::Place},
    providers::{Job, Route, Run, dispatch::Progress},
    upstream::Client,
};

/// Answers a chat completion, streamed or in one piece.
///
/// # Errors
/// Every error before the first output, with its real status.
pub async fn completions(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Place::look(&app, &http)?;
    let mut share = app.memory.share();
    let body = body::read(&http, payload, &app.settings.http, &mut share).await?;
    let most_pieces = app.settings.http.most_messages;
    share.grow_for_body(body.len(), most_pieces)?;
    let place = Place::take(&app)?;
    let request = aside(body.len(), move || {
        super::body::read_within(body, most_pieces)
    })
    .await?;
    let request = Arc::new(request);
    let request_id = http
        .extensions()
        .get::<RequestId>()
        .map(|id| id.0.clone())
        .unwrap_or_default();
    let mut trace = Trace::new(
        place,
        share,
        request_id,
        caller.name.clone(),
        &request.model,
        request.stream,
    );
    match answer(&http, &caller, &app, &request, &mut trace).await {
        Ok(Answered::Whole(mut response, length)) => {
            trace.bytes = length;
            trace.end(200, None);
            // Log line and metrics after the answer has gone out, which this task does before others run.
            actix_web::rt::spawn(async move { drop(trace) });
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        }
        Ok(Answered::Stream(stream)) => Ok(stream.respond(trace, &app)),
        Err(error) => {
            trace.end(error.status.as_u16(), error.code.clone());
            Err(error)
        }
    }
}

enum Answered {
    Whole(HttpResponse, usize),
    Stream(Started),
}

/// A stream whose first output (or whose time for it) has come.
struct Started {
    choices: Vec<Choice>,
    request: Arc<ChatRequest>,
    id: String,
    created: u64,
    ignored: Option<HeaderValue>,
    /// The time for the first output is over.
    is_late: bool,
}

impl Started {
    fn respond(self, trace: Trace, app: &App) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        response
            .insert_header((header::CONTENT_TYPE, "text/event-stream; charset=utf-8"))
            .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
            .insert_header(("x-accel-buffering", "no"));
        if let Some(ignored) = self.ignored {
            response.insert_header(("x-hive-ignored", ignored));
        }
        response.body(StreamBody::new(
            self.choices,
            self.request,
            &self.id,
            self.created,
            trace,
            app.settings.http.ping_interval,
            self.is_late,
        ))
    }
}

async fn answer(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    request: &Arc<ChatRequest>,
    trace: &mut Trace,
) -> Result<Answered, ApiError> {
    let no_route = |why| ApiError::no_route(why, &request.model);
    let route = app.registry.route_for(request).map_err(no_route)?;
    let ignored = ignored(&route, request);
    let id = format!("chatcmpl-{}", Uuid::new_v4().simple());
    let created = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let client = http
        .app_data::<Client>()
        .ok_or_else(|| ApiError::not_ready("this worker has no client"))?;
    let job = Job {
        client: client.clone(),
        settings: app.settings.clone(),
        janitor: app.janitor,
        memory: app.memory.clone(),
        cut: app.cut.subscribe(),
        caller: caller_hash(http, caller, request),
    };
    // Counting costs more than all else that is done to a piece, so it is done where somebody sees the number.
    let is_counted = request.wants_usage()
        && route
            .candidates
            .iter()
            .any(|candidate| !candidate.provider.reports_usage());
    let choices = (0..request.n).map(|_| {
        let run = Run::new(job.clone(), route.clone(), Arc::clone(request));
        (
            run,
            Answer::new(app.settings.http.reasoning_format, is_counted),
        )
    });
    if request.stream {
        let mut choices: Vec<Choice> = choices
            .map(|(run, answer)| Choice::new(run, answer))
            .collect();
        let first =
            tokio::time::timeout(app.settings.http.head_timeout, first_output(&mut choices)).await;
        if let Ok(Err(error)) = first {
            trace.served = choices
                .first()
                .map(|choice| choice.run.served())
                .unwrap_or_default();
            return Err(error);
        }
        return Ok(Answered::Stream(Started {
            choices,
            request: Arc::clone(request),
            id,
            created,
            ignored,
            is_late: first.is_err(),
        }));
    }
    let body = gather(choices.collect(), request, &id, created, trace).await?;
    let mut response = HttpResponse::Ok();
    if let Some(ignored) = ignored {
        response.insert_header(("x-hive-ignored", ignored));
    }
    let length = body.len();
    Ok(Answered::Whole(
        response.content_type("application/json").body(body),
        length,
    ))
}

/// The fields that the client set and that have no effect, for `X-Hive-Ignored`.
fn ignored(route: &Route, request: &ChatRequest) -> Option<HeaderValue> {
    let names: Vec<&str> = route.ignored(request).collect();
    if names.is_empty() {
        None
    } else {
        HeaderValue::from_str(&names.join(", ")).ok()
    }
}

/// What keeps one caller on one account: session, cookie, user, key; the first that is there.
fn caller_hash(http: &HttpRequest, caller: &Principal, request: &ChatRequest) -> u64 {
    let header = |name: &str| http.headers().get(name).map(HeaderValue::as_bytes);
    let mut hash = DefaultHasher::new();
    match (
        header("x-session-id").or_else(|| header("cookie")),
        &request.user,
    ) {
        (Some(value), _) => value.hash(&mut hash),
        (None, Some(user)) => (&caller.name, user).hash(&mut hash),
        (None, None) => caller.name.hash(&mut hash),
    }
    hash.finish()
}

/// Waits until some choice has output, keeping all events for the stream.
async fn first_output(choices: &mut [Choice]) -> Result<(), ApiError> {
    poll_fn(|cx| {
        for choice in choices.iter_mut().filter(|choice| !choice.is_over) {
            loop {
                let before = choice.waiting.len();
                match choice.run.poll_events(cx, &mut choice.waiting) {
                    Poll::Pending => break,
                    Poll::Ready(Progress::Events) => {
                        if choice.waiting.iter().skip(before).any(ChatEvent::is_output) {
                            return Poll::Ready(Ok(()));
                        }
                    }
                    Poll::Ready(Progress::Over(Ok(()))) => {
                        choice.is_over = true;
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Progress::Over(Err(error))) => {
                        return Poll::Ready(Err(error.into()));
                    }
                }
            }
        }
        Poll::Pending
    })
    .await
}
