//! What the dialect has beside chat and only an API can do: embeddings, moderations, transcriptions, speech. A request goes
//! to the API lane that its model leads to, with the lane's key and name of the model, and the answer comes back as it is;
//! both ways streamed, with a few pieces in memory. Accounts, tries, health and errors are those of chats.
//!
//! A request is read until its model is known, as that says where it goes. In a form, `model` may come behind the file
//! (openai-node sends fields in the order in which they were given): what comes before it is held until then, as a part of
//! `REQUEST_MEMORY_BYTES` and of `MAX_BODY_BYTES` at the most. Forms of up to 4 MiB are held to the end, so that
//! they can be sent again with another account; of larger ones the rest is passed on as it comes, and once some of it has gone
//! out, a failure is told and not tried again.

pub(in crate::http) mod question;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header::HeaderMap},
    web::{Data, Payload},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

pub(in crate::http) use self::question::{Asked, take_in, whole};
use super::videos;
use crate::{
    app::App,
    budget::Share,
    chat::{Kind, ProviderError},
    http::{
        answering::{self, Admission, Record},
        auth::Principal,
        edge::RequestId,
        error::ApiError,
        place::Place,
        through,
    },
    providers::{
        Model, Route, media,
        registry::Candidate,
        relay::{Call, Passed},
    },
};

/// See the module.
const MOST_KEPT_BYTES: usize = 4 << 20;

/// What an API's own id may keep as it is in a path: a dot or a slash would lead elsewhere.
pub(in crate::http) const ID: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// A path that is passed on.
#[derive(Debug)]
pub struct Endpoint {
    /// Behind `/v1`.
    pub path: &'static str,
    /// The step in metrics, and what log lines call the request.
    pub step: &'static str,
    /// What a model does that can be asked here, for the error about one that cannot.
    pub does: &'static str,
    /// Whether the model may be left out, as in OpenAI's own API. Then the first lane that can be had answers.
    pub is_model_optional: bool,
}

const fn endpoint(path: &'static str, step: &'static str, does: &'static str) -> Endpoint {
    Endpoint {
        path,
        step,
        does,
        is_model_optional: false,
    }
}

/// All of them but those whose door asks others as well (pictures, videos).
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint("/embeddings", "embeddings", "makes embeddings"),
    endpoint("/audio/transcriptions", "transcriptions", "transcribes"),
    endpoint("/audio/translations", "translations", "translates sound"),
    endpoint("/audio/speech", "speech", "speaks"),
    Endpoint {
        is_model_optional: true,
        ..endpoint("/moderations", "moderations", "judges texts")
    },
    Endpoint {
        is_model_optional: true,
        ..endpoint("/images/variations", "image_variations", "varies pictures")
    },
];

/// `POST /v1/images/generations`.
pub const IMAGE_GENERATIONS: Endpoint = Endpoint {
    is_model_optional: true,
    ..endpoint("/images/generations", "images", "makes pictures")
};

/// `POST /v1/images/edits`.
pub const IMAGE_EDITS: Endpoint = Endpoint {
    is_model_optional: true,
    ..endpoint("/images/edits", "image_edits", "changes pictures")
};

/// Passes a request on.
///
/// # Errors
/// 400 for a model that has no lane, and whatever the lane's errors become.
pub async fn pass(
    endpoint: &'static Endpoint,
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    // A place is looked for before the body is read, and taken behind it: a slow body must not hold one.
    Place::look(&app, &http)?;
    let mut share = app.memory.share();
    let asked = take_in(&http, &app, payload, &mut share).await?;
    pass_on(endpoint, &http, &caller, &app, asked, share).await
}

/// Passes on what a door has taken in. The share is given back as soon as the request has gone out.
///
/// # Errors
/// As [`pass`].
pub(in crate::http) async fn pass_on(
    endpoint: &Endpoint,
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    asked: Asked,
    share: Share,
) -> Result<HttpResponse, ApiError> {
    let Asked {
        model,
        user,
        content_type,
        body,
    } = asked;
    let call = Call {
        step: endpoint.step,
        method: Method::POST,
        path: endpoint.path.to_owned(),
        headers: [
            Some(("content-type", content_type)),
            header(http.headers(), "accept"),
        ]
        .into_iter()
        .flatten()
        .collect(),
        body,
        account: None,
        once: false,
        told: &[],
    };
    // How many tokens it takes only the API knows, so requests alone are counted.
    let reservation = answering::reserve(http, app, 0).await?;
    let admission = Admission::new(Place::take(app)?, app.memory.share()).with(reservation);
    let mut record = record(endpoint.step, http, caller, admission, model.as_deref());
    let passed: Result<Passed, ApiError> = async {
        if let Some(model) = &model {
            // Within the block, so that its error is in the log line too.
            caller.expect_model(model, &app.registry)?;
        }
        let route = route(app, endpoint, model.as_deref())?;
        if model.is_none() {
            // Whoever names none gets what there is, which may be what the key is kept from.
            caller.expect_route("", &route)?;
        }
        let job = answering::job(http, caller, app, user.as_deref().into())?;
        let (passed, served) = media::run(&job, &route, async |candidate, turn| {
            let relay = candidate.provider.relay().ok_or_else(no_lane)?;
            relay.pass(&call, turn).await
        })
        .await;
        record.served = served;
        passed.map_err(|error| {
            // As OpenAI calls it where pictures are made.
            if endpoint.path.starts_with("/images") {
                videos::told(error)
            } else {
                error.into()
            }
        })
    }
    .await;
    let passed = passed.inspect_err(|error| record.fail(error))?;
    // The request has gone out: what is held of it would else stay for as long as the answer comes.
    drop((call, share));
    Ok(through::respond(passed.answer, passed.lease, record, app))
}

/// The lanes that a model leads to; without a model all of them, in their order.
fn route(app: &App, endpoint: &Endpoint, model: Option<&str>) -> Result<Route, ApiError> {
    let Some(model) = model else {
        let lanes = app.registry.providers().iter();
        // In the registry's order, as for a model that several have.
        let candidates: Vec<Candidate> = lanes
            .filter(|lane| lane.relay().is_some() && lane.accounts().is_configured())
            // Of no name: there is no place in the body where it would be said.
            .map(|lane| app.registry.own(lane, Model::new("", "", 0)))
            .collect();
        if !endpoint.is_model_optional || candidates.is_empty() {
            return Err(ApiError::model_missing());
        }
        return Ok(Route { candidates });
    };
    let mut route = app
        .registry
        .resolve(model)
        .ok_or_else(|| ApiError::model_not_found(model))?;
    route
        .candidates
        .retain(|candidate| candidate.provider.relay().is_some());
    if route.candidates.is_empty() {
        // Not 404: the model is there, and only does something else.
        return Err(ApiError::no_lane(endpoint.does, model));
    }
    Ok(route)
}

/// The route leads to lanes only, so nobody hears this.
pub(in crate::http) fn no_lane() -> ProviderError {
    ProviderError::new(Kind::NotConfigured, "this model has no API")
}

/// What is remembered of a request for its log line.
pub(in crate::http) fn record(
    name: &'static str,
    http: &HttpRequest,
    caller: &Principal,
    admission: Admission,
    model: Option<&str>,
) -> Record {
    let (id, model) = (RequestId::of(http), model.unwrap_or_default());
    Record::new(name, admission, id, caller, model, false)
}

/// A header of the caller's, to be passed on.
pub(in crate::http) fn header(
    headers: &HeaderMap,
    name: &'static str,
) -> Option<(&'static str, String)> {
    let value = headers.get(name)?.to_str().ok()?;
    Some((name, value.to_owned()))
}
