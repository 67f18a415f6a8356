//! What happens to an answer whose content is complete before its connection is: servers send the last HTTP chunk a
//! moment later, or leave the connection open for ever. Nobody waits for either.

use std::{future::Future as _, pin::pin, task::Poll, time::Duration};

use super::Answer;

/// How long the end may take for the connection to be of use again.
const MOST_TIME: Duration = Duration::from_secs(1);
/// How much may be said before it.
const MOST_BYTES: usize = 64 << 10;

/// Lets an answer whose end has not been seen end by itself, so that its connection serves the next request; closes it
/// when that takes long.
pub async fn let_end(mut answer: Answer) {
    // Mostly the end has come already.
    let is_over = std::future::poll_fn(|cx| {
        // Polled once and dropped: `chunk` keeps nothing in its future that would be lost.
        let polled = pin!(answer.chunk()).poll(cx);
        Poll::Ready(matches!(polled, Poll::Ready(Ok(None) | Err(_))))
    })
    .await;
    if is_over {
        return;
    }
    // Ends with its time, so no handle is kept.
    tokio::task::spawn_local(tokio::time::timeout(MOST_TIME, async move {
        let mut left = MOST_BYTES;
        while let Ok(Some(bytes)) = answer.chunk().await {
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    }));
}
