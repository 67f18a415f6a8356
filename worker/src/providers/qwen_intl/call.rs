//! A short call and its answer. Source: `wire/qwen_intl.md` sections 3 and 8.

use bytes::Bytes;

use super::refusal::{self, Head, Refusal};
use crate::{chat::ProviderError, providers::Turn, upstream::Request};

/// The body of a call that went well, for `read` to find what was asked for.
///
/// # Errors
/// What its refusal means; a body without what was asked for.
pub(super) async fn call<T>(
    turn: &Turn,
    request: Request,
    variable: &str,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, Refusal> {
    let (head, body) = sent(turn, request).await?;
    judged(head, &body, variable, read)
}

/// Two generations of one call: the older one where the newer one is not there.
///
/// # Errors
/// As [`call`].
pub(super) async fn either<T>(
    turn: &Turn,
    [newer, older]: [Request; 2],
    variable: &str,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, Refusal> {
    let (mut head, mut body) = sent(turn, newer).await?;
    // Only this: any other refusal is the newer call's own word (section 3).
    if head.status == 404 {
        (head, body) = sent(turn, older).await?;
    }
    judged(head, &body, variable, read)
}

/// Head and body of an answer, whatever it says.
///
/// # Errors
/// Transport faults only.
pub(super) async fn sent(turn: &Turn, request: Request) -> Result<(Head, Bytes), ProviderError> {
    let mut answer = turn.send(request).await?;
    let head = Head::of(&answer);
    match answer.short().await {
        Ok(body) => Ok((head, body)),
        // The status alone says something when the body breaks off.
        Err(_) if head.status >= 400 => Ok((head, Bytes::new())),
        Err(error) => Err(error.into()),
    }
}

fn judged<T>(
    head: Head,
    body: &[u8],
    variable: &str,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, Refusal> {
    // Read before anything is judged: most refusals come as 200, but hold nothing that was asked for.
    if head.status < 300
        && let Some(found) = read(body)
    {
        return Ok(found);
    }
    Err(refusal::refusal(head, body, variable))
}
