//! `POST /v1/responses`, the door that Codex and the newer SDKs speak, and what stands around it. A response is kept for a
//! while, for what goes on from it, unless its caller or the owner says otherwise (`kept`). Source: doors.md sections 4 to 10.

mod body;
mod builtin;
mod echo;
mod kept;
mod latest;
mod state;
mod toolbox;
mod unwrap;
mod voice;

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path, Payload, Query},
};
use bytes::Bytes;
use serde::Deserialize;

pub use self::latest::Latest;
pub(in crate::http) use self::voice::ResponsesVoice;

use crate::{
    app::App,
    chat::{ChatRequest, Invalid, aside::aside},
    http::{
        answering::{self, Question},
        auth::Principal,
        error::{self, ApiError},
    },
    settings::ReasoningFormat,
};

/// Answers a response, streamed or in one piece.
///
/// # Errors
/// Every error before the first output, with its real status.
pub async fn create(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let taken = answering::take_in(&http, &app, payload, |body, most| Ok((body, most)));
    let ((body, most_pieces), admission) = taken.await?;
    let (body, plan) = state::recall(&app, &caller.id, body).await?;
    let asked = aside(body.len(), move || body::read(body, most_pieces)).await?;
    let request = Arc::new(asked.request);
    // Thinking is told where a summary of it is asked for, and in no other form: clients take a text for the answer.
    let reasoning = match asked.echo.summary {
        Some(_) => ReasoningFormat::Field,
        None => ReasoningFormat::Hidden,
    };
    let voice = ResponsesVoice::new(asked.echo, asked.toolbox).planned(plan);
    let question = Question {
        request,
        more: Vec::new(),
        reasoning,
        admission,
    };
    answering::answer(&http, &caller, &app, question, voice).await
}

/// The voice that answers a body, for tests that let all voices say the same.
///
/// # Panics
/// For a body that is none of this dialect.
#[cfg(test)]
pub(in crate::http) fn voice_for(body: Bytes) -> ResponsesVoice {
    let asked = body::read_own(body, 100).unwrap().unwrap();
    ResponsesVoice::new(asked.echo, asked.toolbox)
}

/// A body of this dialect as a chat completion; `None` where it is none of this dialect.
pub(super) fn read_for_chat(
    body: Bytes,
    most_pieces: usize,
) -> Option<Result<ChatRequest, Invalid>> {
    body::read_own(body, most_pieces).map(|asked| {
        let mut request = asked?.request;
        // A chat completion tells its usage only where it is asked to.
        request.include_usage = false;
        Ok(request)
    })
}

/// `GET /v1/responses/{id}`: a response that was answered before.
///
/// # Errors
/// 401; 404 `response_not_found`, also for another caller's; 503 where the store does not answer.
pub async fn stored(
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let response = kept::response(&app, &caller.id, &id).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(response))
}

/// `DELETE /v1/responses/{id}`.
///
/// # Errors
/// As [`stored`].
pub async fn forget(
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(kept::forget(&app, &caller.id, &id).await?))
}

/// Which of a list's items are wanted.
#[derive(Debug, Default, Deserialize)]
pub struct Wanted {
    /// `asc`, or what is usual: the newest first.
    order: Option<String>,
    /// How many.
    limit: Option<usize>,
    /// The item behind which they begin.
    after: Option<String>,
}

/// `GET /v1/responses/{id}/input_items`: what it answers.
///
/// # Errors
/// As [`stored`].
pub async fn input_items(
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    let items = kept::input_items(&app, &caller.id, &id, &wanted).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(items))
}

/// `POST /v1/responses/{id}/cancel`: nothing is answered in the background, so there is nothing to cancel.
///
/// # Errors
/// As [`stored`]; 400 for one that is there.
pub async fn cancel(
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    kept::response(&app, &caller.id, &id).await?;
    Err(ApiError::bad_request(
        "Only background responses can be cancelled, and this one is complete.".to_owned(),
    ))
}

/// `POST /v1/responses/compact`, which only the service's own clients ask for.
///
/// # Errors
/// 401; 404 `not_found`.
pub async fn compact(http: HttpRequest, _: Principal) -> Result<HttpResponse, ApiError> {
    error::not_found(http).await
}

/// What asks for the door with another method. Codex tries a WebSocket where a provider claims to have one; it is told at
/// once that this one has none.
///
/// # Errors
/// 426 for an upgrade, else 405.
pub async fn other_method(http: HttpRequest) -> Result<HttpResponse, ApiError> {
    if http.headers().contains_key(header::UPGRADE) {
        return Err(ApiError::no_upgrade());
    }
    error::method_not_allowed(http).await
}

/// What fuzz/ looks into.
#[cfg(fuzzing)]
pub mod fuzz {
    use super::{Bytes, ChatRequest, Invalid, body};

    /// What a body of at most so many pieces asks for.
    ///
    /// # Errors
    /// As the door's.
    pub fn read(body: Bytes, most_pieces: usize) -> Result<ChatRequest, Invalid> {
        body::read(body, most_pieces).map(|asked| asked.request)
    }
}
