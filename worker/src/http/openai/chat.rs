//! `POST /v1/chat/completions`. Source: design.md section 2, conformance sections 1 and 2.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};

use super::{body, voice::ChatVoice};
use crate::{
    app::App,
    http::{
        answering::{self, Question},
        auth::Principal,
        error::ApiError,
    },
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
    let (request, admission) = answering::take_in(&http, &app, payload, body::read_within).await?;
    let request = Arc::new(request);
    let voice = ChatVoice::new(Arc::clone(&request));
    let question = Question {
        request,
        reasoning: app.settings.http.reasoning_format,
        admission,
    };
    answering::answer(&http, &caller, &app, question, voice).await
}
