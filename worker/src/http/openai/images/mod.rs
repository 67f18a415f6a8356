//! `POST /v1/images/generations` and `/v1/images/edits`, as `client.images.generate` and `client.images.edit` of the official
//! SDKs call them. Models of an API lane are passed on as they are ([`super::relay`]); everybody else draws through
//! [`crate::providers::Images`].
//!
//! What a client asks for and does not get is said in the answer's head, as OpenAI's answer has no place for it:
//!
//! | header | when |
//! | --- | --- |
//! | `X-Hive-Ignored` | fields that are set and have no effect |
//! | `X-Hive-Size` | the size or ratio that the model was asked for, where that is not the one of the request |
//! | `X-Hive-Output-Format` | the format that the pictures have, where that is not the one of the request |
//! | `X-Hive-Missing` | how many pictures did not come, and why |
//!
//! `response_format: "url"` gives the service's own link where anybody can open it, and a data URL where nobody could; most
//! links end after a while. `b64_json` works with every provider: the gateway fetches what it has to.
//!
//! With `stream: true` each picture is an event (`events`), and until it is there the stream is kept alive.

mod body;
mod draw;
mod events;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{self, HeaderName},
    web::{Data, Payload},
};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use self::{
    body::{Handover, Wanted},
    draw::{At, Outcome},
};
use super::relay;
use crate::{
    app::App,
    chat::{
        Invalid, ProviderError,
        aside::aside,
        media::{Draws, Size, Sizes},
    },
    http::{
        answering::{self, Admission},
        auth::Principal,
        error::ApiError,
        form,
        place::Place,
    },
    impossible::OrImpossible as _,
    providers::{NoRoute, Route, registry::Candidate},
};

/// What OpenAI's own pictures are drawn with where a request names no model.
const OPENAIS_DEFAULT: &str = "dall-e-2";

/// Draws new pictures.
///
/// # Errors
/// Every error with its status; moderation is 400 `content_policy_violation`.
pub async fn generations(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    answer(Door::Generations, &http, &caller, &app, payload).await
}

/// Changes given pictures.
///
/// # Errors
/// As [`generations`].
pub async fn edits(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    answer(Door::Edits, &http, &caller, &app, payload).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Generations,
    Edits,
}

async fn answer(
    door: Door,
    http: &HttpRequest,
    caller: &Principal,
    app: &Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Place::look(app, http)?;
    // Grows with what is held of the body; nothing is held before the first byte is.
    let mut share = app.memory.share();
    let mut asked = relay::take_in(http, app, payload, &mut share).await?;
    let model = model(app, asked.model.as_deref());
    caller.expect_model(&model, &app.registry)?;
    if is_lanes(app, &model) {
        // Before the body is read further, since what follows depends on who answers.
        let endpoint = match door {
            Door::Generations => &relay::IMAGE_GENERATIONS,
            Door::Edits => &relay::IMAGE_EDITS,
        };
        // OpenAI's own default is the API's to choose; `IMAGE_MODEL` is ours to say.
        if asked.model.as_ref().is_none_or(|asked| *asked != model) && model != OPENAIS_DEFAULT {
            asked = asked.named(model);
        }
        return relay::pass_on(endpoint, http, caller, app, asked, share).await;
    }
    let content_type = asked.content_type.clone();
    let body = relay::whole(asked, &mut share).await?;
    // The body's own bytes and what is read out of it; the pieces are counted while they are read.
    share.grow_for_body(body.len(), 0)?;
    // The limits before the place: a caller over its limit must not keep others from one.
    let reservation = answering::reserve(http, app, 0).await?;
    let admission = Admission::new(Place::take(app)?, share).with(reservation);
    let wanted = read(door, body, &content_type, app).await?;
    let mut record = relay::record(door.name(), http, caller, admission, Some(&model));
    let prepared = async {
        let (route, first) = route(app, &model, &wanted)?;
        let user = wanted.request.user.as_deref();
        Ok((
            route,
            first,
            answering::job(http, caller, app, user.into())?,
        ))
    };
    let (route, first, job) = prepared.await.inspect_err(|error| record.fail(error))?;
    if wanted.is_stream {
        return events::answer(door, app, (job, route, first), wanted, record).await;
    }
    let is_here = handover(&wanted) == Handover::Base64;
    let mut pictures = Vec::new();
    let keep = async |picture| pictures.push(picture);
    let drawn = draw::draw(&job, &route, &wanted.request, first, is_here, keep).await;
    let outcome = match drawn {
        Ok(outcome) => outcome,
        Err((error, served)) => {
            let error = ApiError::of_media(error);
            record.served = served;
            record.fail(&error);
            return Err(error);
        }
    };
    record.served = outcome.served.clone();
    let by = answering::model_header(&route, &outcome.served);
    let mut response = respond(&wanted, &model, &first, (pictures, outcome)).await;
    if let Some(by) = by {
        let name = HeaderName::from_static(answering::MODEL);
        response.headers_mut().insert(name, by);
    }
    record.done();
    Ok(response)
}

impl Door {
    /// As log lines call it.
    fn name(self) -> &'static str {
        match self {
            Self::Generations => "image",
            Self::Edits => "image edit",
        }
    }
}

async fn read(door: Door, body: Bytes, content_type: &str, app: &App) -> Result<Wanted, ApiError> {
    let most_pieces = app.settings.http.most_messages;
    let length = body.len();
    match (door, form::boundary(content_type)?) {
        // Not aside: it cuts the body where the boundary stands and copies none of its files.
        (Door::Edits, Some(boundary)) => body::edit_form(&body, &boundary),
        (Door::Generations, Some(_)) => Err(ApiError::bad_request("The body must be JSON.")),
        (Door::Edits, None) => Ok(aside(length, move || body::edit(body, most_pieces)).await?),
        (Door::Generations, None) => {
            Ok(aside(length, move || body::generation(body, most_pieces)).await?)
        }
    }
}

/// The model that a name means: `IMAGE_MODEL` where the request has none, or one of OpenAI's that nobody here has.
fn model(app: &App, asked: Option<&str>) -> String {
    let asked = asked.filter(|asked| !asked.trim().is_empty());
    let name = asked.unwrap_or(OPENAIS_DEFAULT);
    let instead = app.settings.http.image_model.as_ref();
    // A model of that name that a provider does have goes first, else a lane's owner could not be asked for it.
    match instead.filter(|_| is_openais(name) && app.registry.resolve(name).is_none()) {
        Some(instead) => instead.clone(),
        None => name.to_owned(),
    }
}

/// Whether a model's first provider takes the request as it is.
fn is_lanes(app: &App, model: &str) -> bool {
    let route = app.registry.resolve(model);
    let first = route.as_ref().and_then(|route| route.candidates.first());
    first.is_some_and(|first| first.provider.relay().is_some())
}

/// Who can draw this, and what the first of them does.
fn route(app: &App, model: &str, wanted: &Wanted) -> Result<(Route, Draws), ApiError> {
    let request = &wanted.request;
    let route = app.registry.route_to_draw(model);
    let mut route = route.map_err(|why| match why {
        // A name that only the other door of lanes could explain is of no use here.
        NoRoute::UnknownModel if app.settings.http.image_model.is_none() && is_openais(model) => {
            ApiError::no_image_model(model)
        }
        why => ApiError::no_route(why, model),
    })?;
    let draws = |it: &Candidate| it.provider.images().and_then(|by| by.draws(&it.model));
    let able = |what: &str, is_able: &dyn Fn(&Draws) -> bool, route: &mut Route| {
        route
            .candidates
            // Those that cannot are left out one condition after the other, so that the error names the first that
            // nobody meets.
            .retain(|candidate| draws(candidate).is_some_and(|draws| is_able(&draws)));
        match route.candidates.first().and_then(draws) {
            Some(first) => Ok(first),
            None => Err(ApiError::unsupported(what, model)),
        }
    };
    // The most that any of them takes is looked for first, so that the message can say a number.
    let no_more = |what: &str,
                   verb: &str,
                   given: usize,
                   most: &dyn Fn(&Draws) -> usize,
                   route: &mut Route| {
        let known = route.candidates.iter().filter_map(draws);
        let known = known.map(|draws| most(&draws)).max().unwrap_or_default();
        if given > known {
            let message = format!("The model '{model}' {verb} {known} pictures at most.");
            return Err(ApiError::from(Invalid::field(what, message)));
        }
        able(what, &|draws| most(draws) >= given, route)
    };
    able("model", &|_| true, &mut route)?;
    let wanted = usize::try_from(request.n).unwrap_or(usize::MAX);
    let most = |draws: &Draws| usize::try_from(draws.most).unwrap_or(usize::MAX);
    let mut first = no_more("n", "draws", wanted, &most, &mut route)?;
    if request.is_edit() {
        let given = request.images.len();
        able("image", &|draws| draws.inputs > 0, &mut route)?;
        first = no_more("image", "takes", given, &|draws| draws.inputs, &mut route)?;
    }
    if request.mask.is_some() {
        first = able("mask", &|draws| draws.mask, &mut route)?;
    }
    Ok((route, first))
}

/// Whether a name is one of OpenAI's own for models that draw: what SDKs and programs send where nobody chose.
fn is_openais(model: &str) -> bool {
    let families = ["dall-e", "gpt-image", "chatgpt-image"];
    families.iter().any(|family| model.starts_with(family))
}

/// How the pictures are handed over; `gpt-image` models have one way only, which their clients expect, and so has a stream.
fn handover(wanted: &Wanted) -> Handover {
    let model = &wanted.request.model;
    let is_base64_alone = model.starts_with("gpt-image") || model.starts_with("chatgpt-image");
    match wanted.handover {
        Some(handover) if !wanted.is_stream => handover,
        None if !is_base64_alone && !wanted.is_stream => Handover::Url,
        Some(_) | None => Handover::Base64,
    }
}

/// The answer, with what has to be said of it in its head.
async fn respond(
    wanted: &Wanted,
    model: &str,
    first: &Draws,
    (pictures, outcome): (Vec<draw::Drawn>, Outcome),
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    // Links end, and pictures are the caller's own: no cache between may keep them.
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    let asked = usize::try_from(wanted.request.n).unwrap_or(usize::MAX);
    let missing = asked.saturating_sub(outcome.pictures);
    if missing > 0 {
        let missing = said_missing(missing, outcome.failure.as_ref());
        response.insert_header(("x-hive-missing", missing));
    }
    // Of the first that is here: a header has room for one, and services write all of an answer alike.
    let format = pictures.iter().find_map(|picture| match &picture.at {
        At::Here(file, _) => draw::format_of(file).map(str::to_owned),
        At::Link(_) => None,
    });
    say(&mut response, wanted, first, format.as_deref());
    if let (Some(asked), Some(format)) = (&wanted.output, &format)
        && asked != format
    {
        response.insert_header(("x-hive-output-format", format.clone()));
    }
    let is_here = handover(wanted) == Handover::Base64;
    let held: usize = pictures.iter().map(draw::Drawn::bytes).sum();
    let model = model.to_owned();
    let body = aside(held, move || {
        write(pictures, &model, format.as_deref(), is_here)
    })
    .await;
    response.content_type("application/json").body(body)
}

/// What was set without effect, and the size that was asked of the service. The first is the model that the caller means;
/// another that stood in may have obeyed more or less, and is named in `X-Hive-Model`.
fn say(response: &mut HttpResponseBuilder, wanted: &Wanted, first: &Draws, format: Option<&str>) {
    let ignored = ignored(wanted, first, format);
    if !ignored.is_empty() {
        response.insert_header(("x-hive-ignored", ignored.join(", ")));
    }
    let sizes = first.sizes_for(&wanted.request);
    if let Some(asked) = wanted.request.size
        && let Some(got) = draw::fitted(sizes, Some(asked))
        && let Some(said) = said_size(sizes, asked, got)
    {
        response.insert_header(("x-hive-size", said));
    }
}

/// How many pictures did not come, and why.
fn said_missing(missing: usize, failure: Option<&ProviderError>) -> String {
    let why = failure.map_or("the service drew fewer", |error| error.kind.label());
    format!("{missing} ({why})")
}

/// The size to be told, where what was asked for was not asked of the service as it is.
fn said_size(sizes: Sizes, asked: Size, got: Size) -> Option<String> {
    match sizes {
        Sizes::Own | Sizes::Any => None,
        // Its pixels are the service's, so only the shape is told.
        Sizes::Shapes => {
            let shape = got.reduced();
            Some(format!("{}:{}", shape.width, shape.height))
        }
        Sizes::Only(_) if got == asked => None,
        // Sides that no picture has are a ratio's.
        Sizes::Only(_) if got.width.max(got.height) < 64 => {
            Some(format!("{}:{}", got.width, got.height))
        }
        Sizes::Only(_) => Some(got.to_string()),
    }
}

/// What is set and has no effect with the model that was asked for.
fn ignored(wanted: &Wanted, first: &Draws, format: Option<&str>) -> Vec<String> {
    let request = &wanted.request;
    let output = wanted.output.as_deref();
    let set = [
        (
            "size",
            request.size.is_some() && first.sizes_for(request) == Sizes::Own,
        ),
        ("quality", request.quality.is_some() && !first.finish),
        ("style", request.style.is_some() && !first.finish),
        (
            "output_format",
            // A link's format is unknown until somebody opens it, so it counts as not obeyed.
            output.is_some_and(|asked| Some(asked) != format),
        ),
    ];
    let set = set.iter().filter(|(_, is_ignored)| *is_ignored);
    let mut names: Vec<String> = set.map(|(name, _)| (*name).to_owned()).collect();
    names.extend(wanted.ignored.iter().cloned());
    names
}

impl draw::Drawn {
    /// How large it is, where it is here.
    fn bytes(&self) -> usize {
        match &self.at {
            At::Link(_) => 0,
            At::Here(file, _) => file.bytes.len(),
        }
    }
}

/// The body: OpenAI's object.
fn write(pictures: Vec<draw::Drawn>, model: &str, format: Option<&str>, is_here: bool) -> String {
    let data: Vec<Value> = pictures
        .into_iter()
        .map(|picture| {
            let mut data = Map::new();
            match &picture.at {
                At::Link(url) => data.insert("url".to_owned(), json!(url)),
                At::Here(file, _) if is_here => {
                    data.insert("b64_json".to_owned(), json!(At::base64(&file.bytes)))
                }
                At::Here(file, _) => {
                    let url = draw::data_url(&file.content_type, &file.bytes);
                    data.insert("url".to_owned(), json!(url))
                }
            };
            if let Some(prompt) = picture.revised_prompt {
                data.insert("revised_prompt".to_owned(), json!(prompt));
            }
            Value::Object(data)
        })
        .collect();
    let mut body = json!({"created": unix_seconds(), "data": data, "model": model});
    if let Some(format) = format {
        body["output_format"] = json!(format);
    }
    body.to_string()
}

fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.or_impossible("the clock is past 1970").as_secs()
}
