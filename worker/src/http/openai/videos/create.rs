//! A video is asked for. Source: OpenAI's public API reference, Videos.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde_json::json;

use super::{
    POLL_AFTER,
    ask::{self, Wanted},
    finished, index, is_lane,
    job::Job,
    lane, no_store, nobody_films, now, sealed, told,
};
use crate::{
    app::App,
    chat::{
        ProviderError,
        media::{Films, Size, Sizes, VideoRequest, VideoState, VideoStatus},
    },
    http::{
        answering::{self, Admission, Record},
        auth::Principal,
        body,
        error::ApiError,
        openai::relay::{self, question},
        place::Place,
    },
    impossible::OrImpossible as _,
    metrics::METRICS,
    providers::{Model, Registry, media},
};

/// What OpenAI makes videos with where nobody says.
const DEFAULT_MODEL: &str = "sora-2";

/// `POST /v1/videos`, JSON or a form.
///
/// # Errors
/// 400 for what cannot be asked for, 404 for a model that nobody knows, and what becomes of a provider's errors.
pub async fn create(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Place::look(&app, &http)?;
    let mut share = app.memory.share();
    let body = body::read(&http, payload, &app.settings.http, &mut share).await?;
    share.grow_for_body(body.len(), 0)?;
    let content_type = question::content_type(&http);
    let asked = question::of_whole(&content_type, body.clone(), &app)?;
    // The JSON is read here and once more by `ask` if no lane takes it: which of them it is, the model says.
    let model = match &asked.model {
        Some(model) => model.clone(),
        None => default_model(&app.registry).ok_or_else(ApiError::model_missing)?,
    };
    let reservation = answering::reserve(&http, &app, 0).await?;
    let admission = Admission::new(Place::take(&app)?, share).with(reservation);
    let mut record = relay::record("video", &http, &caller, admission, Some(&model));
    let created = async {
        caller.expect_model(&model, &app.registry)?;
        let route = app
            .registry
            .resolve(&model)
            .ok_or_else(|| ApiError::model_not_found(&model))?;
        // The first candidate is what the caller means; those of the other kind cannot stand in for it.
        if is_lane(&route) {
            return lane::create(&http, &caller, &app, asked, &model, &mut record.served).await;
        }
        let wanted = ask::read(&content_type, body, model.clone())?;
        submit(&http, &caller, &app, wanted, &mut record).await
    };
    finished(created.await, record)
}

/// The model of whoever names none: OpenAI's own, where that leads somewhere, else the first that makes videos.
fn default_model(registry: &Registry) -> Option<String> {
    if registry.resolve(DEFAULT_MODEL).is_some() {
        return Some(DEFAULT_MODEL.to_owned());
    }
    let configured = registry.providers().iter();
    let mut configured = configured.filter(|provider| provider.accounts().is_configured());
    configured.find_map(|provider| {
        let videos = provider.videos()?;
        // The first in the registry's order, which is the owner's.
        let films = |model: &&Model| videos.films(model).is_some();
        provider.models().iter().find(films).map(|it| it.id.clone())
    })
}

/// Asks a provider.
async fn submit(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    wanted: Wanted,
    record: &mut Record,
) -> Result<HttpResponse, ApiError> {
    let Wanted { ask, mut ignored } = wanted;
    let route = app
        .registry
        .route_to_film(&ask.model)
        .map_err(|why| ApiError::no_route(why, &ask.model))?;
    let job = answering::job(http, caller, app, ask.user.as_deref().into())?;
    let (ticket, served) = media::run(&job, &route, async |candidate, turn| {
        let videos = candidate.provider.videos();
        let able = videos.and_then(|videos| Some((videos, videos.films(&candidate.model)?)));
        // Before anything is asked of the service: a wrong wish is the caller's error, not the account's.
        let (videos, films) = able.ok_or_else(nobody_films)?;
        let fitted = Arc::new(fitted(&ask, films)?);
        let ticket = videos.submit(&fitted, turn).await?;
        // What it was asked for in the end: the id holds it, as `look` of many services tells neither.
        Ok((ticket, fitted.seconds, fitted.size, films))
    })
    .await;
    record.served = served.clone();
    if let Err(error) = &ticket {
        METRICS.media(
            served.provider.as_deref(),
            "video",
            error.kind.label(),
            // Of no length: it never began, and the time of a video is counted from its ticket to its end.
            Duration::ZERO,
        );
    }
    let (ticket, seconds, size, films) = ticket.map_err(told)?;
    if films.seconds.is_empty() && ask.seconds.is_some() {
        ignored.push("seconds".to_owned());
    }
    if films.sizes == Sizes::Own && ask.size.is_some() {
        ignored.push("size".to_owned());
    }
    let (created, millis) = now();
    let job = Job {
        provider: served
            .provider
            .as_deref()
            .or_impossible("who has answered is known")
            .to_owned(),
        ticket,
        model: ask.model.clone(),
        created,
        millis,
        seconds,
        size: size.map(|size| size.to_string()),
    };
    let id = sealed(app, caller, &job);
    let mut object = job.shown(&id, &VideoState::running(VideoStatus::Queued, 0));
    index::add(app, caller, (&id, &job), &object).await;
    object.insert("prompt".to_owned(), json!(ask.prompt));
    let mut response = HttpResponse::Ok();
    response.insert_header(POLL_AFTER);
    if !ignored.is_empty() {
        response.insert_header(("x-hive-ignored", ignored.join(", ")));
    }
    Ok(no_store(&mut response).json(object))
}

/// What is asked of a model that does `films`: the nearest length and shape that it has; `None` where it has its own.
fn fitted(ask: &VideoRequest, films: Films) -> Result<VideoRequest, ProviderError> {
    if ask.input_reference.is_some() && !films.input {
        return Err(ProviderError::bad_request(
            "input_reference",
            "This model makes videos from words alone.",
        )
        .with_code("unsupported_parameter"));
    }
    let near = |wanted: u32| {
        let offered = films.seconds.iter().copied();
        offered.min_by_key(|offered| offered.abs_diff(wanted))
    };
    let shape = |wanted: Size| match films.sizes {
        Sizes::Own => None,
        Sizes::Only(offered) => wanted.nearest(offered),
        Sizes::Shapes | Sizes::Any => Some(wanted),
    };
    Ok(VideoRequest {
        seconds: ask.seconds.and_then(near),
        size: ask.size.and_then(shape),
        ..ask.clone()
    })
}
