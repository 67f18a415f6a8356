//! `/v1/videos`: a video is asked for, looked at until it is there, fetched and deleted. Source: OpenAI's public API
//! reference, Videos; design.md section 12.
//!
//! The id that a caller gets holds what is needed to ask again, sealed ([`crate::seal`]), so that every worker of the cluster
//! answers for a video and none remembers it. An id that was changed, made up or given to another caller is unknown: 404.
//!
//! The list of a caller's videos is in the store (`index`): what a provider lists for an account would show each caller the
//! videos of all others. It is for looking through alone; without the store there is no list, and all else goes on.

mod ask;
mod content;
mod create;
mod index;
mod job;
mod lane;
mod looks;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header},
    web::{Data, Path, Payload, Query},
};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use self::job::{Job, is_over};
pub use self::{
    content::{Variant, content},
    create::create,
    looks::Looks,
};
use super::relay::{self, question};
use crate::{
    app::App,
    chat::{
        Kind, ProviderError,
        media::{VideoState, VideoStatus},
    },
    http::{
        answering::{self, Admission, Record},
        auth::Principal,
        body,
        error::ApiError,
        place::Place,
    },
    impossible::OrImpossible as _,
    metrics::METRICS,
    providers::{Route, Served, media},
    seal::SALT_BYTES,
};

/// What ids of videos are sealed as, and begin with.
const KIND: &str = "video";
/// When to look again, for clients that obey: services do not like to be asked more often than once a second.
const POLL_AFTER: (&str, &str) = ("openai-poll-after-ms", "2000");
/// How long a list waits for looks at videos that were not over, and at how many of them at a time.
const LOOKS: Duration = Duration::from_secs(10);
const LOOKS_AT_ONCE: usize = 4;

/// `GET /v1/videos/{id}`: how far it is.
///
/// # Errors
/// 404 for an id that is not this caller's.
pub async fn retrieve(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (job, route, mut record) = back(&http, &caller, &app, &id)?;
    if is_lane(&route) {
        let result = lane::retrieve(
            &http,
            &caller,
            &app,
            (&id, &job, &route),
            &mut record.served,
        )
        .await;
        return finished(result, record);
    }
    let state = look(&http, &caller, &app, (&job, &route), &mut record.served).await;
    let shown = match state {
        Ok(state) => {
            let mut response = HttpResponse::Ok();
            let mut object = job.shown(&id, &state);
            if is_over(state.status) {
                index::settled(&app, &caller, (&id, &job), &mut object).await;
            } else {
                response.insert_header(POLL_AFTER);
            }
            Ok(no_store(&mut response).json(object))
        }
        Err(error) => Err(error),
    };
    finished(shown, record)
}

/// `GET /v1/videos`: the caller's videos, the newest first or the oldest, a page at a time. Those that were not over when they
/// were last seen are looked at again.
///
/// # Errors
/// 400 for a query that is none, 404 for an `after` that is not this caller's, 503 while the store is gone.
pub async fn list(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    query: Query<index::Query>,
) -> Result<HttpResponse, ApiError> {
    let mut asked = index::Asked::read(&query, &app, &caller)?;
    Place::look(&app, &http)?;
    let admission = Admission::new(Place::take(&app)?, app.memory.share());
    let record = relay::record("videos", &http, &caller, admission, None);
    let deadline = tokio::time::Instant::now() + LOOKS;
    let page = async {
        loop {
            let page = index::page(&app, &caller, &asked)
                .await
                .map_err(|error| ApiError::store(&error))?;
            let looks = page.videos.iter().map(|it| {
                let look = seen_now(&http, &caller, &app, it);
                async move {
                    let now = tokio::time::timeout_at(deadline, look).await;
                    now.unwrap_or_else(|_| Some(it.object.clone()))
                }
            });
            let seen = stream::iter(looks).buffered(LOOKS_AT_ONCE);
            let videos: Vec<_> = seen.filter_map(std::future::ready).collect().await;
            // Pages of what is no more are passed over: to clients an empty one would be the last.
            match page.next {
                Some(key) if videos.is_empty() => asked.go_on_behind(key),
                next => {
                    let shown = index::shown(videos, next.is_some());
                    return Ok(no_store(&mut HttpResponse::Ok()).json(shown));
                }
            }
        }
    };
    let page = page.await;
    finished(page, record)
}

/// A listed video as it is now; as it was last seen where nobody can say. `None`: it is no more, nor is it listed from now on.
async fn seen_now(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    listed: &index::Listed,
) -> Option<index::Object> {
    let index::Listed {
        id, job, object, ..
    } = listed;
    let last = || Some(object.clone());
    if index::is_over(object) {
        return last();
    }
    let route = app.registry.route_back(&job.provider, &job.ticket.model);
    let Some(route) = route else {
        return last();
    };
    // Nobody is blamed for it in the log: the list is the caller's, whoever makes the videos.
    let mut by = Served::default();
    let seen = if is_lane(&route) {
        let seen = lane::look(http, caller, app, (id, job, &route), &mut by).await;
        seen.map(|(object, _)| object)
    } else {
        let seen = look(http, caller, app, (job, &route), &mut by).await;
        seen.map(|state| job.shown(id, &state))
    };
    match seen {
        Ok(mut seen) => {
            if index::is_over(&seen) {
                index::settled(app, caller, (id, job), &mut seen).await;
            }
            Some(seen)
        }
        Err(error) if error.status == StatusCode::NOT_FOUND => {
            index::remove(app, caller, (id, job)).await;
            None
        }
        Err(_) => last(),
    }
}

/// `DELETE /v1/videos/{id}`: stopped where that can be, and deleted at the provider.
///
/// # Errors
/// 404 for an id that is not this caller's.
pub async fn delete(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (job, route, mut record) = back(&http, &caller, &app, &id)?;
    let deleted = async {
        if is_lane(&route) {
            let about = (id.as_str(), &job, &route);
            lane::delete(&http, &caller, &app, about, &mut record.served).await?;
        } else {
            let run = answering::job(&http, &caller, &app, answering::Sign::None)?;
            let (done, served) = media::run(&run, &route, async |candidate, turn| {
                let videos = candidate.provider.videos().ok_or_else(nobody_films)?;
                videos.delete(&job.ticket, turn).await
            })
            .await;
            record.served = served;
            done.map_err(told)?;
        }
        // Else the next look within a second would show what is no more.
        app.looks.forget(&job);
        index::remove(&app, &caller, (&id, &job)).await;
        let object = json!({"id": &*id, "object": "video.deleted", "deleted": true});
        Ok(no_store(&mut HttpResponse::Ok()).json(object))
    };
    let deleted = deleted.await;
    finished(deleted, record)
}

/// `POST /v1/videos/{id}/remix`: another video from one of an API's.
///
/// # Errors
/// 400 for a provider that has no such thing, 404 for an id that is not this caller's.
pub async fn remix(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (job, route, mut record) = back(&http, &caller, &app, &id)?;
    let made = async {
        if !is_lane(&route) {
            return Err(ApiError::unsupported("remix", &job.model));
        }
        let mut share = app.memory.share();
        let body = body::read(&http, payload, &app.settings.http, &mut share).await?;
        let asked = question::of_whole(&question::content_type(&http), body, &app)?;
        let about = (id.as_str(), &job, &route);
        lane::remix(&http, &caller, &app, about, asked, &mut record.served).await
    };
    let made = made.await;
    finished(made, record)
}

/// Writes the end of a short answer down.
fn finished(
    result: Result<HttpResponse, ApiError>,
    mut record: Record,
) -> Result<HttpResponse, ApiError> {
    match &result {
        Ok(_) => record.done(),
        Err(error) => record.fail(error),
    }
    result
}

/// The route leads to those who make videos only, so nobody hears this.
fn nobody_films() -> ProviderError {
    ProviderError::new(Kind::NotConfigured, "this model makes no videos")
}

/// The way back to a video, and a place for the request.
fn back(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    id: &str,
) -> Result<(Job, Route, Record), ApiError> {
    let job: Job = app
        // Open only with the same caller's id: a leaked id is of no use to another key.
        .sealer
        .open(KIND, &caller.id, id)
        .ok_or_else(ApiError::video_not_found)?;
    let route = app
        .registry
        .route_back(&job.provider, &job.ticket.model)
        .ok_or_else(ApiError::video_not_found)?;
    // A place, as a look is a request to a service like any other; its body is nothing, so no share.
    Place::look(app, http)?;
    let admission = Admission::new(Place::take(app)?, app.memory.share());
    let record = relay::record("video", http, caller, admission, Some(&job.model));
    Ok((job, route, record))
}

fn is_lane(route: &Route) -> bool {
    let first = route.candidates.first();
    first.is_some_and(|first| first.provider.relay().is_some())
}

/// Counts a video that is seen at its end for the first time here; each worker that looks sees it once.
fn count_end(app: &App, job: &Job, state: &VideoState) {
    // Seen by this worker before: counted then. Others of the cluster count it too, as none of them remembers.
    if app.looks.finished(job).is_some() {
        return;
    }
    let outcome = match (state.status, &state.error) {
        (VideoStatus::Completed, _) => "ok",
        (VideoStatus::Failed, Some(error)) => error.kind.label(),
        (VideoStatus::Failed, None) => Kind::Unavailable.label(),
        _ => return,
    };
    // The clock of another worker may be ahead: no negative time.
    let took = Duration::from_secs(unix_seconds().saturating_sub(job.created));
    METRICS.media(Some(&job.provider), "video", outcome, took);
}

/// Asks the provider how far a video is; within a second of the last look of this worker it is told what that one saw, as
/// clients ask more often than services like.
async fn look(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    (job, route): (&Job, &Route),
    by: &mut Served,
) -> Result<VideoState, ApiError> {
    if let Some(state) = app.looks.last(job) {
        return Ok(state);
    }
    let run = answering::job(http, caller, app, answering::Sign::None)?;
    let (state, served) = media::run(&run, route, async |candidate, turn| {
        let videos = candidate.provider.videos().ok_or_else(nobody_films)?;
        videos.look(&job.ticket, turn).await
    })
    .await;
    *by = served;
    if let Ok(state) = &state {
        count_end(app, job, state);
    }
    let state = state.map_err(|error| match error.kind {
        // The service has forgotten it, as a deleted one.
        Kind::ModelNotFound => ApiError::video_not_found(),
        _ => told(error),
    })?;
    app.looks.saw(job, &state);
    Ok(state)
}

/// An error as these doors tell it: what moderation refused is `content_policy_violation`, as OpenAI calls it for pictures
/// and videos.
pub(super) fn told(error: ProviderError) -> ApiError {
    // A code of the provider's own says more, and stays.
    let is_moderated = error.kind == Kind::Moderated && error.code.is_none();
    let mut error = ApiError::from(error);
    if is_moderated {
        error.code = Some("content_policy_violation".to_owned());
    }
    error
}

/// An id for a job, of this caller's.
fn sealed(app: &App, caller: &Principal, job: &Job) -> String {
    // Drawn anew each time: an id has a key of its own from it ([`crate::seal`]).
    let salt: [u8; SALT_BYTES] = rand::random();
    app.sealer.seal(KIND, &caller.id, job, salt)
}

fn unix_seconds() -> u64 {
    now().0
}

/// Unix seconds, and milliseconds beyond.
fn now() -> (u64, u16) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.or_impossible("the clock is past 1970");
    // Fewer than a thousand.
    let millis = u16::try_from(since.subsec_millis()).unwrap_or_default();
    (since.as_secs(), millis)
}

fn header_text(http: &HttpRequest, name: &str) -> Option<String> {
    let value = http.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

fn no_store(response: &mut actix_web::HttpResponseBuilder) -> &mut actix_web::HttpResponseBuilder {
    response.insert_header((header::CACHE_CONTROL, "no-store"))
}

/// What a call about a video at a lane is made with.
fn method_of(step: &str) -> Method {
    match step {
        "video_delete" => Method::DELETE,
        "video_remix" => Method::POST,
        _ => Method::GET,
    }
}
