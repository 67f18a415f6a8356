//! What is remembered of a request for its log line and its metrics: who, what, how long; never content.

use std::{borrow::Cow, sync::Arc, time::Instant};

use prometheus::IntGauge;

use super::Admission;
use crate::{
    chat::Usage,
    http::{
        auth::Principal,
        error::{ApiError, plain},
    },
    metrics::METRICS,
    providers::Served,
    store::{UsageLine, now_ms},
};

/// One request on its way. Dropping it writes the log line, however the request ended.
#[derive(Debug)]
pub(in crate::http) struct Record {
    /// What log lines call requests of this door.
    name: &'static str,
    request_id: String,
    key: Arc<str>,
    /// What its usage is kept under.
    key_id: Arc<str>,
    model: String,
    is_stream: bool,
    started: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    open_stream: Option<IntGauge>,
    pub(in crate::http) served: Served,
    pub(in crate::http) bytes: usize,
    pub(super) usage: Option<Usage>,
    outcome: Option<(u16, Option<String>)>,
    /// It was given before, and costs nobody any tokens now.
    pub(super) is_again: bool,
    /// Freed last, when all is said.
    admission: Admission,
}

impl Record {
    /// `model` as the client wrote it.
    pub(in crate::http) fn new(
        name: &'static str,
        admission: Admission,
        request_id: String,
        caller: &Principal,
        model: &str,
        is_stream: bool,
    ) -> Self {
        // A log line is no place for whatever a client sends as a model.
        let model = plain(model, 100);
        Self {
            name,
            request_id,
            key: Arc::clone(&caller.name),
            key_id: Arc::clone(&caller.id),
            model,
            is_stream,
            started: Instant::now(),
            first: None,
            last: None,
            open_stream: None,
            served: Served::default(),
            bytes: 0,
            usage: None,
            outcome: None,
            is_again: false,
            admission,
        }
    }

    /// Something of the answer is here.
    pub(super) fn piece(&mut self, served: impl FnOnce() -> Served) {
        let now = Instant::now();
        // Replaced in any case: a gap is measured from piece to piece.
        if let Some(last) = self.last.replace(now) {
            // One that is said again has no pauses of anybody's.
            if !self.is_again {
                METRICS
                    .stream_gap_seconds
                    .observe(now.duration_since(last).as_secs_f64());
            }
            return;
        }
        self.first = Some(now);
        self.served = served();
        let provider = self.provider();
        METRICS
            .time_to_first_token_seconds
            .with_label_values(&[provider])
            .observe(now.duration_since(self.started).as_secs_f64());
        if self.is_stream {
            let gauge = METRICS.open_streams.with_label_values(&[provider]);
            gauge.inc();
            self.open_stream = Some(gauge);
        }
    }

    /// The answer is complete.
    pub(super) fn complete(&mut self, usage: Usage) {
        self.usage = Some(if self.is_again {
            Usage::default()
        } else {
            usage
        });
        self.outcome = Some((200, None));
    }

    /// The answer is complete, and what it has cost is not known here.
    pub(in crate::http) fn done(&mut self) {
        self.outcome = Some((200, None));
    }

    /// The request ends with this error.
    pub(in crate::http) fn fail(&mut self, error: &ApiError) {
        self.outcome = Some((error.status.as_u16(), error.code.clone()));
    }

    fn provider(&self) -> &str {
        self.served.provider.as_deref().unwrap_or("none")
    }
}

impl Drop for Record {
    /// Here, as a client that leaves drops the record wherever it stands.
    fn drop(&mut self) {
        if let Some(gauge) = &self.open_stream {
            gauge.dec();
        }
        let duration = self.started.elapsed();
        let (status, code) = self.outcome.take().map_or_else(
            // Nobody has said how it ended: neither an error nor the last piece was reached.
            || (Cow::Borrowed("client_gone"), None),
            |(status, code)| match status {
                // What nearly all of them have.
                200 => (Cow::Borrowed("200"), code),
                status => (Cow::Owned(status.to_string()), code),
            },
        );
        let provider = self.provider();
        // The listed id or `other`, never what the client wrote: see `Served`.
        let label = self.served.model.as_deref().unwrap_or("none");
        METRICS
            .requests_total
            .with_label_values(&[provider, label, &status])
            .inc();
        METRICS
            .request_duration_seconds
            .observe(duration.as_secs_f64());
        if let Some(usage) = self.usage {
            METRICS
                .tokens_total
                .with_label_values(&[provider, "prompt"])
                .inc_by(usage.prompt_tokens);
            METRICS
                .tokens_total
                .with_label_values(&[provider, "completion"])
                .inc_by(usage.completion_tokens);
        }
        let milliseconds =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let first_ms = self
            .first
            .map(|first| milliseconds(first.duration_since(self.started)));
        tracing::info!(
            request_id = self.request_id,
            key = &*self.key,
            provider,
            model = self.model,
            account = self.served.account,
            stream = self.is_stream,
            status = &*status,
            code,
            ttft_ms = first_ms,
            duration_ms = milliseconds(duration),
            bytes = self.bytes,
            "{}",
            self.name
        );
        let usage = self.usage.unwrap_or_default();
        // Without a count the reservation settles on what was reserved.
        if self.usage.is_some() {
            let tokens = usage.prompt_tokens + usage.completion_tokens;
            self.admission.took(tokens);
        }
        // An error's own code says most; a refusal of the model's has only its status.
        let outcome = match (code, &*status) {
            (None, "200") => Cow::Borrowed("ok"),
            (Some(code), _) => Cow::Owned(code),
            (None, _) => status,
        };
        let known = |name: &mut Option<Arc<str>>| name.take().unwrap_or_default();
        let line = UsageLine {
            request: std::mem::take(&mut self.request_id),
            at_ms: now_ms(),
            key: Arc::clone(&self.key_id),
            provider: known(&mut self.served.provider),
            model: known(&mut self.served.model),
            outcome,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            first_ms,
        };
        // Behind everything that reads `self`, and never waiting: the ledger writes behind (design.md section 13).
        self.admission.app().ledger.add(line);
    }
}
