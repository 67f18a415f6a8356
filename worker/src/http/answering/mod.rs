//! The engine under all doors: takes a request in, finds who answers it, holds the status line until there is something
//! to say, polls the runs, keeps the client waiting, and writes it all down. What it says and how is the door's
//! [`Voice`]. Source: design.md sections 2 and 10.
//!
//! ```text
//! door: body -> ChatRequest      take_in
//! engine:        route, runs     answer ── hold ── StreamBody ── Voice: begin, piece, ping, finish | fail
//!                                      └── gather ───────────── Voice: whole
//! ```

mod again;
mod calls;
mod follow;
mod record;
mod sources;
mod stream;
#[cfg(test)]
mod tests;
mod voice;
mod whole;

use std::{
    borrow::Borrow,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    http::header::{self, HeaderName, HeaderValue},
    web::{Data, Payload},
};
use bytes::Bytes;
use uuid::Uuid;

pub(in crate::http) use self::record::Record;
use self::{again::Again, follow::Follower, stream::StreamBody};
use super::{
    auth::Principal,
    body,
    edge::RequestId,
    error::{ApiError, Overflow},
    place::Place,
};
use crate::{
    app::App,
    budget::Share,
    chat::{ChatRequest, Invalid, aside::aside, normal},
    keys::Reservation,
    metrics::METRICS,
    providers::{Job, Route, Run, Served, registry::Candidate},
    settings::ReasoningFormat,
    upstream::Client,
};

pub use voice::{Item, Piece, Source, Voice, Whole};

/// What a request holds of the worker until its answer is over: its place among the others, and its share of the memory.
#[derive(Debug)]
pub struct Admission {
    place: Place,
    _share: Share,
    /// Of the limits of the caller's key.
    reservation: Option<Reservation>,
}

impl Admission {
    /// A place, and the share that is held as long as the place is.
    pub(in crate::http) fn new(place: Place, share: Share) -> Self {
        Self {
            place,
            _share: share,
            reservation: None,
        }
    }

    /// With what was reserved of the limits of the caller's key.
    #[must_use]
    pub(in crate::http) fn with(self, reservation: Option<Reservation>) -> Self {
        Self {
            reservation,
            ..self
        }
    }

    /// What the request has taken of its key's tokens; without a word it is what its question was taken to have.
    pub fn took(&mut self, tokens: u64) {
        if let Some(reservation) = &mut self.reservation {
            reservation.used(tokens);
        }
    }

    /// What all requests of the worker share.
    pub(super) fn app(&self) -> &App {
        self.place.app()
    }
}

/// Bytes of a body that make a token, about.
const BYTES_A_TOKEN: usize = 4;

/// Takes a request's body in and has it read by `parse`, which is given the body and the most pieces (messages, parts,
/// calls) that it may have; on another thread where it is long.
///
/// # Errors
/// 503 where there is no place or no memory, what `body::read` and `parse` say.
pub async fn take_in<T: Send + 'static>(
    http: &HttpRequest,
    app: &Data<App>,
    payload: Payload,
    parse: impl FnOnce(Bytes, usize) -> Result<T, Invalid> + Send + 'static,
) -> Result<(T, Admission), ApiError> {
    // Before anything of the body is read: who has no place gets its 503 at the price of a head.
    Place::look(app, http)?;
    let mut share = app.memory.share();
    // The body is read into a share that grows with it, so that what all requests hold together is bounded.
    let body = body::read(http, payload, &app.settings.http, &mut share).await?;
    let most_pieces = app.settings.http.most_messages;
    // Behind the body's own size, what reading it makes of it: pieces are counted, as a body of brackets is small and
    // its values are not.
    share.grow_for_body(body.len(), most_pieces)?;
    // Before the place: a caller over his limit takes none.
    let reservation = reserve(http, app, body.len()).await?;
    let place = Place::take(app)?;
    // Read aside and in its place: whoever waits for the parse is under way already.
    let parsed = aside(body.len(), move || parse(body, most_pieces)).await?;
    Ok((parsed, Admission::new(place, share).with(reservation)))
}

/// Reserves what the caller's key must have for a request of so many bytes.
///
/// # Errors
/// 429 with the key's own limits; 503 where nobody can say how much of them is left.
pub async fn reserve(
    http: &HttpRequest,
    app: &Data<App>,
    bytes: usize,
) -> Result<Option<Reservation>, ApiError> {
    // Cloned, as the borrow of the extensions must not live across the await.
    let caller = http.extensions().get::<Principal>().cloned();
    let Some(key) = caller.and_then(|caller| caller.key) else {
        return Ok(None);
    };
    // About; what it really was is settled when the answer is over.
    let tokens = u64::try_from(bytes / BYTES_A_TOKEN).unwrap_or(u64::MAX);
    // Not the request's own id: that may be the caller's, who could say the same one each time.
    let id = Uuid::new_v4().simple().to_string();
    let reserved = app.counts.reserve(&key, &id, tokens).await;
    let reserved = reserved.map_err(|denied| {
        METRICS
            .refused_total
            .with_label_values(&[denied.reason()])
            .inc();
        // Whoever is refused learns from the same headers why, and until when.
        let room = denied.room();
        http.extensions_mut().insert(Vec::from_iter(room));
        ApiError::denied(&denied)
    })?;
    // For the `x-ratelimit` headers, whose middleware sees only the request.
    http.extensions_mut().insert(reserved.room().to_vec());
    Ok(Some(reserved))
}

/// What a door asks the engine.
#[derive(Debug)]
pub struct Question {
    /// The request.
    pub request: Arc<ChatRequest>,
    /// Further ones that are like it in all but their text: their answers are further choices, behind those of the first.
    pub more: Vec<Arc<ChatRequest>>,
    /// The form in which the door wants thinking; `Hidden` where the client asked for none.
    pub reasoning: ReasoningFormat,
    /// What the request holds.
    pub admission: Admission,
}

/// Answers a request in a door's voice, streamed or in one piece.
///
/// # Errors
/// Every error before the first output, with its real status.
pub async fn answer<V: Voice>(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    question: Question,
    voice: V,
) -> Result<HttpResponse, ApiError> {
    let request_id = RequestId::of(http);
    let Question {
        request,
        more,
        reasoning,
        admission,
    } = question;
    let mut record = Record::new(
        V::NAME,
        admission,
        request_id,
        caller,
        &request.model,
        request.stream,
    );
    caller
        .expect_model(&request.model, &app.registry)
        // Told to the record in each way out: its log line must not say that the client had gone.
        .inspect_err(|error| record.fail(error))?;
    let (route, job) =
        prepare(http, caller, app, &request).inspect_err(|error| record.fail(error))?;
    let again = Again::look(http, caller, app, &request, &more, &route).await;
    record.is_again = again.found.is_some();
    let ignored = list_header(route.ignored(&request));
    let window = route.candidates.first();
    let window = window.and_then(|first| first.model.context).map(u64::from);
    // A closure: counting a prompt is dear, and only an overflow needs it.
    let overflow = || Overflow::of(request.prompt_tokens(), window);
    // Counting costs more than all else that is done to a piece, so it is done where somebody sees the number.
    let leaves_counting_to_us = |candidate: &Candidate| !candidate.provider.reports_usage();
    let is_wanted = request.wants_usage() || caller.counts_tokens();
    let is_counted = is_wanted && route.candidates.iter().any(leaves_counting_to_us);
    // Behind each other in the order of choices: the index of a choice is its place here.
    let questions = std::iter::once(&request).chain(&more);
    let choices = questions.flat_map(|question| (0..question.n).map(move |_| question));
    let runs = choices.map(|question| {
        let run = again.run().unwrap_or_else(|| {
            Run::new(job.clone(), route.clone(), Arc::clone(question)).heard_by(again.recorder())
        });
        (run, Follower::new(reasoning, is_counted))
    });
    let mut response = HttpResponse::Ok();
    // What is ignored is told and not refused: clients send fields that they need nothing of (conformance H7).
    if let Some(ignored) = ignored {
        response.insert_header(("x-hive-ignored", ignored));
    }
    if let Some(emulated) = list_header(route.emulated(&request)) {
        response.insert_header(("x-hive-emulated", emulated));
    }
    if let Some(result) = again.result {
        response.insert_header(("x-hive-cache", result));
    }
    if request.stream {
        // Held here, while a real status can still be said (design.md section 2 step 6).
        let held = stream::hold(runs, app.settings.http.head_timeout, &mut record)
            .await
            .inspect_err(|error| record.fail(error))
            .map_err(|error| error.measured(overflow))?;
        let ping_interval = app.settings.http.ping_interval;
        let served = held.served();
        if let Some(model) = model_header(&route, &again.given_by(&served)) {
            response.insert_header((MODEL, model));
        }
        if app.conversations.is_some() {
            response.insert_header((CONVERSATION, conversation_header(&served)));
        }
        return Ok(response
            .insert_header((header::CONTENT_TYPE, "text/event-stream; charset=utf-8"))
            // `no-transform`: a compressing proxy would gather events.
            .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
            // nginx's own sign not to buffer.
            .insert_header(("x-accel-buffering", "no"))
            .body(StreamBody::new(
                held,
                Arc::clone(&request),
                window,
                voice,
                record,
                ping_interval,
            )));
    }
    let body = whole::gather(runs, &request, voice, &mut record)
        .await
        .inspect_err(|error| record.fail(error))
        .map_err(|error| error.measured(overflow))?;
    if let Some(model) = model_header(&route, &again.given_by(&record.served)) {
        response.insert_header((MODEL, model));
    }
    if app.conversations.is_some() {
        response.insert_header((CONVERSATION, conversation_header(&record.served)));
    }
    // Log line and metrics after the answer has gone out, which this task does before others run.
    actix_web::rt::spawn(async move { drop(record) });
    Ok(response
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body))
}

/// Who may answer, and what they need for it.
fn prepare(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    request: &ChatRequest,
) -> Result<(Route, Job), ApiError> {
    let route = app
        .registry
        .route_for(request)
        .map_err(|why| ApiError::no_route(why, &request.model))?;
    let job = job(http, caller, app, Sign::Chat(request))?;
    Ok((route, job))
}

/// What a request says itself of whose it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum Sign<'a> {
    /// A chat: its session, its user, or what it begins with, which all of its turns repeat.
    Chat(&'a ChatRequest),
    /// The end user's id.
    User(&'a str),
    /// Nothing.
    None,
}

impl<'a> From<Option<&'a str>> for Sign<'a> {
    fn from(user: Option<&'a str>) -> Self {
        user.map_or(Self::None, Self::User)
    }
}

/// What whoever answers needs beside route and request.
pub(in crate::http) fn job(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    sign: Sign<'_>,
) -> Result<Job, ApiError> {
    let client = http
        .app_data::<Client>()
        .ok_or_else(|| ApiError::not_ready("this worker has no client"))?;
    Ok(Job {
        client: client.clone(),
        settings: app.settings.clone(),
        janitor: app.janitor,
        memory: app.memory.clone(),
        cut: app.cut.subscribe(),
        caller: caller_hash(http, caller, sign),
        client_name: Arc::clone(&caller.name),
        client_id: Arc::clone(&caller.id),
        conversations: app.conversations.clone(),
        marks: app.marks.clone(),
        lasting: Arc::clone(&app.lasting),
    })
}

/// The response header that tells which model answers, whatever name it was asked for by (`MODEL_ROUTES`).
pub(in crate::http) const MODEL: &str = "x-hive-model";

/// The response header that tells whether the answer goes on with an upstream conversation (`CONVERSATIONS=reuse`).
const CONVERSATION: &str = "x-hive-conversation";

fn conversation_header(served: &Served) -> &'static str {
    if served.is_continued {
        "continued"
    } else {
        "new"
    }
}

/// `provider/model`, as far as it is known and a header can hold it.
pub(in crate::http) fn model_header(route: &Route, served: &Served) -> Option<HeaderValue> {
    let provider = served.provider.as_deref()?;
    let is_it = |candidate: &&Candidate| candidate.provider.name() == provider;
    let mut ids = route
        .candidates
        .iter()
        .filter(is_it)
        .map(|it| &*it.model.id);
    // The label of an unlisted model is no name.
    let id = match served.model.as_deref() {
        Some(listed) if ids.clone().any(|id| id == listed) => listed,
        Some(_) | None => ids.next()?,
    };
    HeaderValue::from_str(&format!("{provider}/{id}")).ok()
}

/// Names of fields in one header; none where there are none.
fn list_header<T: Borrow<str>>(names: impl Iterator<Item = T>) -> Option<HeaderValue> {
    let names: Vec<T> = names.collect();
    if names.is_empty() {
        None
    } else {
        HeaderValue::from_str(&names.join(", ")).ok()
    }
}

/// Headers in which clients name their session: nginx goes by the same ones (`$hive_client_session` in nginx.conf), in this
/// order. Source: doors-captured.md. Names that are read already: to read one costs more than to look for it.
static SESSION_HEADERS: [HeaderName; 10] = [
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-claude-code-session-id"),
    // Codex, and pi with an underscore.
    HeaderName::from_static("session-id"),
    HeaderName::from_static("session_id"),
    HeaderName::from_static("thread-id"),
    HeaderName::from_static("conversation_id"),
    HeaderName::from_static("x-opencode-session"),
    HeaderName::from_static("x-session-affinity"),
    HeaderName::from_static("x-openwebui-chat-id"),
    HeaderName::from_static("x-litellm-session-id"),
];

/// What keeps one caller on one account, the first sign that is there: session, cookie, the session in the body, the user,
/// the beginning of the chat, the key.
fn caller_hash(http: &HttpRequest, caller: &Principal, sign: Sign<'_>) -> u64 {
    let header = |name: &HeaderName| http.headers().get(name).map(HeaderValue::as_bytes);
    let mut hash = DefaultHasher::new();
    // A browser's session is nearest to a conversation; a key may be shared by many people.
    let told = SESSION_HEADERS.iter().find_map(header);
    if let Some(value) = told.or_else(|| header(&header::COOKIE)) {
        value.hash(&mut hash);
        return hash.finish();
    }
    // What one key's callers say is nothing to those of another.
    caller.name.hash(&mut hash);
    match sign {
        Sign::Chat(request) => {
            let session = request.extras.prompt_cache_key.as_deref();
            match session.or(request.user.as_deref()) {
                Some(named) => named.hash(&mut hash),
                None => normal::feed_beginning(&request.messages, |piece| hash.write(piece)),
            }
        }
        Sign::User(user) => user.hash(&mut hash),
        Sign::None => {}
    }
    hash.finish()
}
