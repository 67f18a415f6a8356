//! `POST /v1/completions`: the older door, which editors ask for what stands at the cursor. Every model here is one that
//! chats, so the text to go on from is put to it as a question (`body`). Source: OpenAI's public API reference,
//! Completions.

mod body;
mod fence;
mod fim;
mod voice;

use std::sync::{Arc, OnceLock};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};

use self::voice::CompletionVoice;
use crate::{
    app::App,
    http::{
        answering::{self, Question},
        auth::Principal,
        error::ApiError,
    },
    settings::ReasoningFormat,
};

/// Answers with texts, streamed or in one piece: `n` for each prompt.
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
    let voice = CompletionVoice::new(&asks);
    // The prompt of all choices together is that of all prompts.
    if let [first, more @ ..] = asks.requests.as_mut_slice()
        && !more.is_empty()
    {
        let rest: u64 = more.iter().map(|request| request.prompt_tokens()).sum();
        // Set here, as the choices are one answer with one usage, and each request would count only its own prompt.
        first.counted = OnceLock::from(first.prompt_tokens() + rest);
    }
    let mut requests = asks.requests.into_iter().map(Arc::new);
    let Some(request) = requests.next() else {
        // Never so after `read_within`, which refuses an empty list; a 400 costs no more than a panic.
        return Err(ApiError::bad_request("'prompt' must hold a text."));
    };
    let question = Question {
        request,
        more: requests.collect(),
        // There is no place for it.
        reasoning: ReasoningFormat::Hidden,
        admission,
    };
    answering::answer(&http, &caller, &app, question, voice).await
}
