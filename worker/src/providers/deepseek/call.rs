//! The calls that several steps share: short answers in their envelope, and proofs of work.

use serde::de::DeserializeOwned;

use super::{
    pow,
    refusal::{self, Head, Refusal},
    wire::{self, Caller},
};
use crate::{
    chat::ProviderError,
    providers::Turn,
    upstream::{Answer, Request},
};

/// Challenges for one proof: one without an answer in its range is replaced (section 5).
const MOST_CHALLENGES: usize = 3;

/// The `biz_data` of a short call.
pub(super) async fn call<T: DeserializeOwned>(turn: &Turn, request: Request) -> Result<T, Refusal> {
    let mut answer = turn.send(request).await?;
    // Before the body is taken out of the answer.
    let head = head(turn.unix_ms(), &answer);
    // HTTP 200 says nothing (section 3): every short answer is read as an envelope.
    refusal::data(head, &answer.short().await?)
}

/// Whether this is the stream that was asked for.
pub(super) async fn is_stream(answer: &mut Answer) -> bool {
    answer.status.as_u16() == 200 && answer.is_event_stream().await
}

/// What came instead of a stream.
pub(super) async fn refused(turn: &Turn, mut answer: Answer) -> Refusal {
    let head = head(turn.unix_ms(), &answer);
    match answer.short().await {
        Ok(body) => refusal::refusal(head, &body),
        Err(error) => error.into(),
    }
}

/// What of an answer's head says why it is a refusal; `now`: Unix milliseconds.
pub(super) fn head(now: u64, answer: &Answer) -> Head {
    Head {
        status: answer.status.as_u16(),
        is_challenged: answer.header("x-amzn-waf-action").is_some(),
        retry_after: answer.retry_after(),
        now,
    }
}

/// A solved proof of work for one request to `path`: the value of its header.
pub(super) async fn proof(turn: &Turn, caller: Caller<'_>, path: &str) -> Result<String, Refusal> {
    // A challenge without an answer in its range is the service's fault, and another one may have one (section 5).
    for attempt in 1..=MOST_CHALLENGES {
        let challenged: wire::Challenged = call(turn, wire::challenge(caller, path)).await?;
        let challenge = challenged.challenge;
        // The last one is taken as it is: it may be our own clock that is wrong.
        if challenge.has_expired(turn.unix_ms()) && attempt < MOST_CHALLENGES {
            continue;
        }
        // Off the event loop: a full search takes milliseconds of a core, and the others would wait.
        if let Some(answer) = pow::solve_apart(challenge.to_solve()?).await {
            return Ok(challenge.proof(answer, path));
        }
    }
    Err(ProviderError::malformed("proof-of-work challenge").into())
}
