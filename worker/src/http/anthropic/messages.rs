//! `POST /v1/messages` and `/v1/messages/count_tokens`. Source: doors.md sections 11 to 15.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use serde_json::json;

use super::{body, voice::MessagesVoice};
use crate::{
    app::App,
    http::{
        answering::{self, Question},
        auth::Principal,
        edge::RequestId,
        error::ApiError,
    },
    settings::ReasoningFormat,
};

/// Claude Code names eight betas in 300 bytes.
const MOST_HEADER_BYTES: usize = 4096;

/// Answers with a message, streamed or in one piece.
///
/// # Errors
/// Every error before the first output, with its real status.
pub async fn create(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (mut asks, admission) = answering::take_in(&http, &app, payload, body::read_within).await?;
    if let Some(verbatim) = &mut asks.request.verbatim {
        // The caller's own headers go with a body that goes on as it came.
        verbatim.headers = meaning(&http);
    }
    let request = Arc::new(asks.request);
    let voice = MessagesVoice::new(Arc::clone(&request), RequestId::of(&http));
    // The dialect has blocks for it, so it is never woven into the text.
    let is_hidden =
        !asks.shows_thinking || app.settings.http.reasoning_format == ReasoningFormat::Hidden;
    let question = Question {
        request,
        more: Vec::new(),
        reasoning: if is_hidden {
            ReasoningFormat::Hidden
        } else {
            ReasoningFormat::Field
        },
        admission,
    };
    answering::answer(&http, &caller, &app, question, voice).await
}

/// The headers without which an upstream of this dialect would not know members of the body.
fn meaning(http: &HttpRequest) -> Vec<(&'static str, String)> {
    let told = |name: &'static str| {
        let values = http.headers().get_all(name);
        let values = values.filter_map(|value| value.to_str().ok());
        let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
        let value = values.join(",");
        // A header of megabytes would be none of a beta.
        (!value.is_empty() && value.len() <= MOST_HEADER_BYTES).then_some((name, value))
    };
    ["anthropic-version", "anthropic-beta"]
        .into_iter()
        .filter_map(told)
        .collect()
}

/// Counts what a request would have as `input_tokens`, by the same count. Asks nobody, and needs no account.
///
/// # Errors
/// What the body's reading says, 404 for a model that nobody knows.
pub async fn count_tokens(
    http: HttpRequest,
    _: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (asks, mut admission) = answering::take_in(&http, &app, payload, body::read_within).await?;
    // Nothing is answered, so nothing is used.
    admission.took(0);
    let request = asks.request;
    if app.registry.resolve(&request.model).is_none() {
        return Err(ApiError::model_not_found(&request.model));
    }
    // Never none: clients divide by it.
    Ok(HttpResponse::Ok().json(json!({"input_tokens": request.prompt_tokens().max(1)})))
}
