//! `POST /v1/chat/completions`. Source: design.md section 2, conformance sections 1 and 2.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};

use bytes::Bytes;

use super::{body, responses, voice::ChatVoice};
use crate::{
    app::App,
    chat::{ChatRequest, Invalid},
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
    let (request, admission) = answering::take_in(&http, &app, payload, read).await?;
    let request = Arc::new(request);
    let voice = ChatVoice::new(Arc::clone(&request));
    let question = Question {
        request,
        more: Vec::new(),
        // The setting is this dialect's alone: the others have a place of their own for thinking, or none.
        reasoning: app.settings.http.reasoning_format,
        admission,
    };
    answering::answer(&http, &caller, &app, question, voice).await
}

/// Reads the body; one of Responses as well, which some editors send here (doors.md section 4).
fn read(body: Bytes, most_pieces: usize) -> Result<ChatRequest, Invalid> {
    // The clone counts a reference; the bytes are not copied.
    match body::read_within(body.clone(), most_pieces) {
        // Only a body that is refused is looked at again, so that nobody else's takes longer.
        Err(invalid) if invalid.param.as_deref() == Some("messages") => {
            // The complaint about `messages` stands where it is no body of the other dialect either: its sender meant
            // this door.
            responses::read_for_chat(body, most_pieces).unwrap_or(Err(invalid))
        }
        read => read,
    }
}
