//! Clean-up after a turn: stop calls and deletions of upstream conversations. Never delays an answer, is done
//! within seconds, and is waited for on shutdown (design.md section 2 step 8).

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::turn::Held;
use crate::{
    metrics::METRICS,
    upstream::{Client, Request},
};

/// Longest wait for the answer of one clean-up call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// After a client's abort: time for the provider to notice that the stream's connection has closed.
const AFTER_ABORT: Duration = Duration::from_millis(100);
/// Waits before further tries of a call that failed in transport or with 5xx.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Counts the clean-ups under way.
#[derive(Debug, Default)]
pub struct Janitor {
    pending: AtomicUsize,
}

impl Janitor {
    /// How many clean-ups are under way.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Sends `requests` one after the other, on the calling thread, in the background, and then lets go of `held`.
    pub(super) fn spawn(
        &'static self,
        client: Client,
        provider: String,
        requests: Vec<Request>,
        held: Vec<Held>,
        was_aborted: bool,
    ) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        actix_web::rt::spawn(async move {
            if was_aborted {
                tokio::time::sleep(AFTER_ABORT).await;
            }
            for request in requests {
                clean_up(&client, &provider, request).await;
            }
            drop(held);
            self.pending.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn clean_up(client: &Client, provider: &str, request: Request) {
    let step = request.step;
    for delay in RETRIES.map(Some).into_iter().chain([None]) {
        let outcome = match client.send(request.clone().timeout(TIMEOUT)).await {
            // The body is read so that the connection can be used again; what it says is of no consequence.
            Ok(mut answer) => {
                let _ = answer.short().await;
                if answer.status.is_server_error() {
                    "http_5xx"
                } else if answer.status.is_client_error() {
                    "http_4xx"
                } else {
                    "ok"
                }
            }
            Err(_) => "transport",
        };
        METRICS
            .upstream_requests_total
            .with_label_values(&[provider, step, outcome])
            .inc();
        if outcome == "ok" || outcome == "http_4xx" {
            return;
        }
        match delay {
            Some(delay) => tokio::time::sleep(delay).await,
            None => tracing::warn!(provider, step, "clean-up failed"),
        }
    }
}
