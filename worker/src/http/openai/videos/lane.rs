//! Videos of an API lane: the API's own objects, with our id and the caller's name of the model.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    Job, POLL_AFTER,
    index::{self, Object},
    method_of, no_store, now, sealed, told,
};
use crate::{
    app::App,
    chat::{Kind, ProviderError, media::Ticket},
    http::{
        answering::{self, Record},
        auth::Principal,
        error::ApiError,
        openai::relay::{self, Asked},
        through,
    },
    impossible::OrImpossible as _,
    providers::{
        Route, Served, media,
        relay::{Body, Call, Passed},
    },
};

/// Longest object of a video.
const MOST_OBJECT_BYTES: usize = 1 << 20;

/// What a request about a video is about: its id, what that holds, and the way there.
type About<'a> = (&'a str, &'a Job, &'a Route);

/// `POST /videos`.
pub(super) async fn create(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    asked: Asked,
    model: &str,
    by: &mut Served,
) -> Result<HttpResponse, ApiError> {
    let mut route = app
        .registry
        .resolve(model)
        .ok_or_else(|| ApiError::model_not_found(model))?;
    // Those that are no lanes cannot read the body, which goes on as the caller wrote it.
    route.candidates.retain(|it| it.provider.relay().is_some());
    let call = Call {
        step: "video",
        method: actix_web::http::Method::POST,
        path: "/videos".to_owned(),
        headers: vec![("content-type", asked.content_type)],
        body: asked.body,
        account: None,
        // A second one would be paid for as well.
        once: true,
        told: &[],
    };
    let user = asked.user.as_deref();
    let passed = pass(http, caller, app, (&call, &route, user), by).await?;
    made(app, caller, passed, model, by).await
}

/// `POST /videos/{id}/remix`.
pub(super) async fn remix(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    about: About<'_>,
    asked: Asked,
    by: &mut Served,
) -> Result<HttpResponse, ApiError> {
    let call = Call {
        headers: vec![("content-type", asked.content_type)],
        body: asked.body,
        ..call("video_remix", about, "/remix")
    };
    // Its body is passed on as it is: what a remix takes is the API's affair.
    let (_, job, route) = about;
    let passed = pass(http, caller, app, (&call, route, None), by).await?;
    let passed = found(passed)?;
    made(app, caller, passed, &job.model, by).await
}

/// `GET /videos/{id}`.
pub(super) async fn retrieve(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    about: About<'_>,
    by: &mut Served,
) -> Result<HttpResponse, ApiError> {
    let (id, job, _) = about;
    let (mut object, poll_after) = look(http, caller, app, about, by).await?;
    if index::is_over(&object) {
        index::settled(app, caller, (id, job), &mut object).await;
    }
    Ok(shown(object, &poll_after))
}

/// The API's object of a video, as ours, and when to look again.
pub(super) async fn look(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    about: About<'_>,
    by: &mut Served,
) -> Result<(Object, String), ApiError> {
    let (id, job, route) = about;
    let call = call("video_status", about, "");
    let passed = pass(http, caller, app, (&call, route, None), by).await?;
    let passed = found(passed)?;
    let poll_after = poll_after(&passed);
    let object = object(passed).await?;
    Ok((ours(object, id, &job.model), poll_after))
}

/// `GET /videos/{id}/content`.
pub(super) async fn content(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    about: About<'_>,
    variant: Option<&str>,
    mut record: Record,
) -> Result<HttpResponse, ApiError> {
    let query = variant.map_or_else(String::new, |variant| {
        format!(
            "?variant={}",
            utf8_percent_encode(variant, NON_ALPHANUMERIC)
        )
    });
    // Nothing else of the caller's headers: the rest are of this connection, or its key.
    let headers = ["accept", "range", "if-range"];
    let headers = headers
        .iter()
        .filter_map(|name| relay::header(http.headers(), name));
    let call = Call {
        headers: headers.collect(),
        // Told to the caller as the API answers them; no reason to try another account.
        told: &[404, 416],
        ..call("video_content", about, &format!("/content{query}"))
    };
    let (_, _, route) = about;
    let opened = pass(http, caller, app, (&call, route, None), &mut record.served).await;
    let passed = opened
        .and_then(found)
        .inspect_err(|error| record.fail(error))?;
    Ok(through::respond(passed.answer, passed.lease, record, app))
}

/// `DELETE /videos/{id}`. What is not there any more is deleted.
pub(super) async fn delete(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    about: About<'_>,
    by: &mut Served,
) -> Result<(), ApiError> {
    let call = call("video_delete", about, "");
    let (_, _, route) = about;
    let passed = pass(http, caller, app, (&call, route, None), by).await?;
    found(passed).map(drop)
}

/// A call about a video.
fn call(step: &'static str, (_, job, _): About<'_>, what: &str) -> Call {
    // The API has made the id, and it is ours since then; in a path it may still not say more than a name.
    let task = utf8_percent_encode(&job.ticket.task, relay::ID);
    Call {
        step,
        method: method_of(step),
        path: format!("/videos/{task}{what}"),
        headers: Vec::new(),
        body: Body::default(),
        // Only the account that made it knows it.
        account: Some(job.ticket.account.clone()),
        // It makes another video, which would be paid for as well.
        once: step == "video_remix",
        told: &[404],
    }
}

async fn pass(
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    (call, route, user): (&Call, &Route, Option<&str>),
    by: &mut Served,
) -> Result<Passed, ApiError> {
    let job = answering::job(http, caller, app, user.into())?;
    let (passed, served) = media::run(&job, route, async |candidate, turn| {
        let relay = candidate.provider.relay().ok_or_else(relay::no_lane)?;
        relay.pass(call, turn).await
    })
    .await;
    *by = served;
    passed.map_err(told)
}

/// What an API does not know is unknown.
fn found(passed: Passed) -> Result<Passed, ApiError> {
    // Deleted, or ended at the API: to the caller there is no difference.
    if passed.answer.status.as_u16() == 404 {
        Err(ApiError::video_not_found())
    } else {
        Ok(passed)
    }
}

/// The API's object.
async fn object(mut passed: Passed) -> Result<Object, ApiError> {
    let body = passed.answer.bytes(MOST_OBJECT_BYTES).await;
    let body = body.map_err(|error| ApiError::from(ProviderError::from(error)))?;
    serde_json::from_slice(&body).map_err(|_| ProviderError::malformed("video").into())
}

/// A new video of an API, with an id of ours.
async fn made(
    app: &Data<App>,
    caller: &Principal,
    passed: Passed,
    model: &str,
    served: &Served,
) -> Result<HttpResponse, ApiError> {
    let (account, poll_after) = (passed.account.clone(), poll_after(&passed));
    let object = object(passed).await?;
    let task = object.get("id").and_then(Value::as_str);
    let task = task.ok_or_else(|| ApiError::from(ProviderError::malformed("video")))?;
    let (created, millis) = now();
    let job = Job {
        provider: served
            .provider
            .as_deref()
            .or_impossible("who has answered is known")
            .to_owned(),
        ticket: Ticket {
            account,
            // Its listed name, or nobody's: a lane takes any.
            model: served.model.as_deref().unwrap_or_default().to_owned(),
            task: task.to_owned(),
        },
        model: model.to_owned(),
        // Ours, whatever the API says: a list is in the order of one clock.
        created,
        millis,
        seconds: None,
        size: None,
    };
    let id = sealed(app, caller, &job);
    let object = ours(object, &id, model);
    index::add(app, caller, (&id, &job), &object).await;
    Ok(shown(object, &poll_after))
}

fn poll_after(passed: &Passed) -> String {
    let said = passed.answer.header(POLL_AFTER.0);
    said.unwrap_or(POLL_AFTER.1).to_owned()
}

/// The API's object, as ours.
fn ours(mut object: Object, id: &str, model: &str) -> Object {
    object.insert("id".to_owned(), json!(id));
    object.insert("model".to_owned(), json!(model));
    // The API's own id of another video would lead nowhere.
    if object
        .get("remixed_from_video_id")
        .is_some_and(|it| !it.is_null())
    {
        object.insert("remixed_from_video_id".to_owned(), Value::Null);
    }
    if let Some(error) = object.get_mut("error").filter(|error| !error.is_null()) {
        *error = harmless(error);
    }
    object
}

fn shown(object: Object, poll_after: &str) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((POLL_AFTER.0, poll_after));
    no_store(&mut response).json(object)
}

/// An API's error in an object: its code and words, cleaned as those of every error.
fn harmless(error: &Value) -> Value {
    let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let clean = ProviderError::new(Kind::Unavailable, "the API made no video")
        .with_code(word("code"))
        .saying(word("message"))
        .scrubbed();
    json!({"code": clean.code, "message": clean.message})
}
