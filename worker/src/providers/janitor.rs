//! Clean-up after a turn: stop calls and deletions of upstream conversations. Never delays an answer, is done
//! within seconds, and is waited for on shutdown (design.md section 2 step 8).

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;

use super::turn::Held;
use crate::{
    metrics::METRICS,
    upstream::{Client, Request},
};

/// Longest wait for the answer of one clean-up call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// After a client's abort: time for the provider to notice that the stream's connection has closed.
const AFTER_ABORT: Duration = Duration::from_millis(100);
/// Waits before further tries of a call that failed in transport, with 5xx, or with a credential that was replaced in
/// the meantime.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Wait before a call is made again whose object is still at work, and how often (wire/minimax.md sections 7 and 12.6).
const BUSY: Duration = Duration::from_secs(2);
const MOST_BUSY: usize = 3;

/// A call to be made after a turn, such as a deletion.
pub struct Errand {
    /// Boxed and not `Request`, as headers and signatures are made for the moment of the try.
    build: Box<dyn Fn() -> Request>,
    otherwise: Option<Otherwise>,
    /// Whether an answer (status, body) means that it is too early.
    is_busy: Option<fn(u16, &[u8]) -> bool>,
    /// Whether it is not to be done after all, as soon as that is known.
    is_off: Option<LocalBoxFuture<'static, bool>>,
}

/// Another call, made once where the first was answered but is not done.
struct Otherwise {
    /// Whether an answer (status, body) means that it is.
    is_done: fn(u16, &[u8]) -> bool,
    other: Request,
}

impl Errand {
    /// One that is built anew for every try: by then the account may have another token.
    pub fn new(build: impl Fn() -> Request + 'static) -> Self {
        Self {
            build: Box::new(build),
            otherwise: None,
            is_busy: None,
            is_off: None,
        }
    }

    /// Made again, two seconds later and three times at most, while its answer (status, body) means that what is to be done
    /// away with is still at work.
    #[must_use]
    pub fn while_busy(self, is_busy: fn(u16, &[u8]) -> bool) -> Self {
        Self {
            is_busy: Some(is_busy),
            ..self
        }
    }

    /// Waits until it is known whether it is off.
    #[must_use]
    pub(super) fn unless(self, is_off: LocalBoxFuture<'static, bool>) -> Self {
        Self {
            is_off: Some(is_off),
            ..self
        }
    }

    /// With another call that is made once where this one was answered but is not done, by what `is_done` says of its
    /// status and body.
    #[must_use]
    pub fn or(self, is_done: fn(u16, &[u8]) -> bool, other: Request) -> Self {
        Self {
            otherwise: Some(Otherwise { is_done, other }),
            ..self
        }
    }
}

impl From<Request> for Errand {
    /// The same call at every try.
    fn from(request: Request) -> Self {
        Self::new(move || request.clone())
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.build)().fmt(f)
    }
}

/// Counts the clean-ups under way.
#[derive(Debug, Default)]
pub struct Janitor {
    pending: AtomicUsize,
}

impl Janitor {
    /// How many clean-ups are under way.
    pub fn pending(&self) -> usize {
        // Relaxed: it is one number that orders nothing else; whoever drains looks again and again.
        self.pending.load(Ordering::Relaxed)
    }

    /// Runs `errands` one after the other, on the calling thread, in the background, and then lets go of `held`.
    pub(super) fn spawn(
        &'static self,
        client: Client,
        provider: String,
        errands: Vec<Errand>,
        held: Vec<Held>,
        was_aborted: bool,
    ) {
        // Counted here, not in the task: a worker that looks whether it may end must see it at once.
        self.pending.fetch_add(1, Ordering::Relaxed);
        actix_web::rt::spawn(async move {
            // Services that hear the stop call before they notice the broken connection have answered it with an error.
            if was_aborted {
                tokio::time::sleep(AFTER_ABORT).await;
            }
            // One after the other: the later ones delete what the earlier ones stop.
            for errand in errands {
                clean_up(&client, &provider, errand).await;
            }
            drop(held);
            // Behind the last await, so that a drain that sees nothing pending has nothing to lose.
            self.pending.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn clean_up(client: &Client, provider: &str, mut errand: Errand) {
    if let Some(is_off) = errand.is_off.take()
        && is_off.await
    {
        return;
    }
    let mut request = (errand.build)();
    let step = request.step;
    let (mut is_elsewhere, mut was_busy) = (false, 0);
    let mut delays = RETRIES.into_iter();
    loop {
        let mut is_busy = false;
        let (outcome, is_refused) = match client.send(request.clone().timeout(TIMEOUT)).await {
            // The body is read so that the connection can be used again; mostly, what it says is of no consequence.
            Ok(mut answer) => {
                let body = answer.short().await.unwrap_or_default();
                let status = answer.status.as_u16();
                is_busy = errand.is_busy.is_some_and(|is_busy| is_busy(status, &body));
                if let Some(otherwise) = &errand.otherwise
                    // A server that fails says nothing about where the thing is.
                    && status < 500
                {
                    is_elsewhere = !(otherwise.is_done)(status, &body);
                }
                if answer.status.is_server_error() {
                    ("http_5xx", false)
                } else if answer.status.is_client_error() {
                    ("http_4xx", answer.status.as_u16() == 401)
                } else {
                    ("ok", false)
                }
            }
            Err(_) => ("transport", false),
        };
        METRICS
            .upstream_requests_total
            .with_label_values(&[provider, step, outcome])
            .inc();
        if is_elsewhere && let Some(Otherwise { other, .. }) = errand.otherwise {
            // Boxed, as a future that holds itself has no size. It has no `or` of its own, so this ends.
            return Box::pin(clean_up(client, provider, other.into())).await;
        }
        // Counted apart from the delays: it has been answered, and is only early.
        if is_busy && was_busy < MOST_BUSY {
            was_busy += 1;
            tokio::time::sleep(BUSY).await;
            request = (errand.build)();
            continue;
        }
        // A refusal that is no matter of the credential would be the same again; it is counted above, and the
        // conversation is gone or never was.
        if outcome == "ok" || (outcome == "http_4xx" && !is_refused) {
            return;
        }
        match delays.next() {
            Some(delay) => tokio::time::sleep(delay).await,
            None => {
                tracing::warn!(provider, step, "clean-up failed");
                return;
            }
        }
        // A credential that was refused and has not been replaced will be refused again.
        let anew = (errand.build)();
        if is_refused && anew.headers == request.headers {
            return;
        }
        request = anew;
    }
}

#[cfg(test)]
#[path = "janitor_tests.rs"]
mod tests;
