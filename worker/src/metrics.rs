//! Every metric in one place. Names and labels are a contract with dashboards and alerts (design.md section 7).
//! Label values come from enums, constants and the settings, so that no client can invent one.

use std::sync::LazyLock;

use prometheus::{
    Encoder as _, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::impossible::OrImpossible as _;

/// The process's metrics. Global, because there is one process and one `/metrics`.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

const DURATION_BUCKETS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0,
];
const GAP_BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];
/// Why a request was refused, see [`Metrics::refused_total`].
pub const REFUSALS: [&str; 7] = [
    "overloaded",
    "memory",
    "draining",
    "key_rate",
    "key_quota",
    "key_streams",
    "key_unknown_use",
];
/// What may have led nginx to this worker, see [`Metrics::sticky_total`].
pub const SIGNS: [&str; 7] = [
    "session",
    "client",
    "cookie",
    "conversation",
    "key",
    "address",
    "none",
];
/// What came of looking for an answer to give again, see [`Metrics::cache_total`].
pub const CACHED: [&str; 3] = ["hit", "miss", "bypass"];
const STORE_BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.25, 1.0, 10.0,
];
const POW_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// See the field names: each is the metric without `hive_`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `{version,worker}`: 1. Joins a scraped address to the name that `X-Hive-Worker` and the logs say.
    pub build_info: IntGaugeVec,
    /// 1 from SIGTERM on: running answers end, new ones go elsewhere.
    pub draining: IntGauge,
    /// `{status}`: HTTP answers, refusals at the door included, probes not. A stream's status is that of its head.
    pub http_responses_total: IntCounterVec,
    /// Log lines that nobody read in time.
    pub log_lines_dropped_total: IntCounter,
    /// 1 while the store answers.
    pub store_up: IntGauge,
    /// `{operation}`: times that the store could not do it, or not in time.
    pub store_errors_total: IntCounterVec,
    /// `{operation}`: seconds that whoever asked the store has waited.
    pub store_seconds: HistogramVec,
    /// `{provider,model,status}`: finished requests; `status` is the HTTP status or `client_gone`.
    pub requests_total: IntCounterVec,
    /// `{reason}`: requests that were refused before anything was done for them: `overloaded`, `memory`, `draining`; and for the
    /// limits of their key: `key_rate` (a minute's), `key_quota` (a day's or month's), `key_streams` (at once), and
    /// `key_unknown_use` where the store is gone and the key is `fail_closed`.
    pub refused_total: IntCounterVec,
    /// `{result}`: chats that were looked for among the answers that may be given again: `hit`, `miss`, and `bypass` where the
    /// caller wants a new one. Where nothing is kept none is counted.
    pub cache_total: IntCounterVec,
    /// `{by}`: chats by the sign that led nginx to this worker; `none` without nginx.
    pub sticky_total: IntCounterVec,
    /// Seconds from the first byte of a request to the end of its answer.
    pub request_duration_seconds: Histogram,
    /// `{provider}`: seconds to the first output.
    pub time_to_first_token_seconds: HistogramVec,
    /// Seconds between two pieces of one stream.
    pub stream_gap_seconds: Histogram,
    /// `{provider}`: streams being sent.
    pub open_streams: IntGaugeVec,
    /// `{provider,direction}`: estimated tokens, `prompt` and `completion`.
    pub tokens_total: IntCounterVec,
    /// `{provider,to}`: tries after a failed turn: `other_account`, `same_account` after a wait, and `candidate`, where
    /// `provider` is the next one of the route.
    pub retries_total: IntCounterVec,
    /// `{provider,dialect,outcome}`: calls found in the answers of models without tools, by how they were written and what
    /// had to be done with them. What was left out of an answer has the dialect `none`.
    pub tool_calls_total: IntCounterVec,
    /// `{provider,reason,result}`: second questions after an answer that could not be used: `ok`, `failed` where the second
    /// answer was no better, `broken` where none came.
    pub reasks_total: IntCounterVec,
    /// `{provider,step,outcome}`: calls to providers.
    pub upstream_requests_total: IntCounterVec,
    /// `{provider,kind}`: failed turns, by kind of error.
    pub upstream_errors_total: IntCounterVec,
    /// `{provider,where}`: parts of answers that no decoder knows, passed over or the end of a turn. More of them than usual
    /// say that a service has changed.
    unknown_shapes_total: IntCounterVec,
    /// `{provider,state}`: accounts that are `ready`, `cooling`, `disabled`.
    pub accounts: IntGaugeVec,
    /// `{provider,account}`: Unix time at which a credential ends, where it says so; `account` is its number. Set by
    /// [`Metrics::set_expiries`].
    account_expiry_timestamp_seconds: IntGaugeVec,
    /// `{provider,account}`: 1 where the service took the credential when it was last asked about it, 0 where not. Set by
    /// [`Metrics::set_checks`].
    account_check_ok: IntGaugeVec,
    /// `{provider,account,unit}`: what is left of the account's quota, where the service says it.
    account_quota_left: GaugeVec,
    /// `{provider, result}`: turns with a provider whose conversations could be gone on with (`CONVERSATIONS=reuse`):
    /// `continued`; `first`, nobody has answered yet; `missed`, nothing to go on from; `busy`, it is another turn's, or its
    /// account cannot begin now; `unavailable`, the store did not say in time; and `failed` besides, where one that was
    /// gone on with came to nothing and the whole conversation was sent.
    pub conversation_reuse_total: IntCounterVec,
    /// `{provider}`: upstream conversations that this worker has opened, and neither deleted nor left to the account yet.
    pub conversations: IntGaugeVec,
    /// `{provider,kind}`: seconds until a picture, a change of one, a video or a sound was there (`image`, `edit`, `video`,
    /// `speech`).
    media_seconds: HistogramVec,
    /// `{provider,kind,outcome}`: pictures, videos and sounds that were asked for; `ok` or the kind of error.
    media_total: IntCounterVec,
    /// Seconds of one proof of work.
    pub pow_seconds: Histogram,
}

impl Metrics {
    /// Counts a part of an answer that no decoder knows; `place` is one of the decoders' own words for it.
    pub fn unknown_shape(&self, provider: &str, place: &'static str) {
        self.unknown_shapes_total
            .with_label_values(&[provider, place])
            .inc();
    }

    /// Counts a picture, a video or a sound that was asked for; `outcome` is `ok` or a kind of error, `kind` one of
    /// `image`, `edit`, `video`, `speech`. How long it took counts where it was made.
    pub fn media(
        &self,
        provider: Option<&str>,
        kind: &'static str,
        outcome: &'static str,
        took: std::time::Duration,
    ) {
        let provider = provider.unwrap_or("none");
        self.media_total
            .with_label_values(&[provider, kind, outcome])
            .inc();
        if outcome == "ok" {
            self.media_seconds
                .with_label_values(&[provider, kind])
                .observe(took.as_secs_f64());
        }
    }

    /// Shows the counter of a provider's unknown shapes from the start, so that `increase()` sees the first one.
    pub fn expect_shapes(&self, provider: &str) {
        self.unknown_shapes_total
            .with_label_values(&[provider, "stream"]);
    }

    fn new() -> Self {
        let registry = Registry::new();
        // `process_*`: memory, processor time, open files; read anew for every page.
        #[cfg(target_os = "linux")]
        let _ = registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ));
        Self {
            build_info: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new("hive_build_info", "The worker's version and name."),
                    &["version", "worker"],
                ),
            ),
            draining: register(
                &registry,
                IntGauge::new("hive_draining", "Whether the worker is about to stop."),
            ),
            http_responses_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("hive_http_responses_total", "HTTP answers, without probes."),
                    &["status"],
                ),
            ),
            store_up: register(
                &registry,
                IntGauge::new("hive_store_up", "1 while the store answers."),
            ),
            store_errors_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "hive_store_errors_total",
                        "What the store could not do, or not in time.",
                    ),
                    &["operation"],
                ),
            ),
            store_seconds: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new("hive_store_seconds", "How long the store was waited for.")
                        .buckets(STORE_BUCKETS.to_vec()),
                    &["operation"],
                ),
            ),
            log_lines_dropped_total: register(
                &registry,
                IntCounter::new(
                    "hive_log_lines_dropped_total",
                    "Log lines that were dropped because nobody read the log.",
                ),
            ),
            requests_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("hive_requests_total", "Finished requests."),
                    &["provider", "model", "status"],
                ),
            ),
            refused_total: from_nought(
                register(
                    &registry,
                    IntCounterVec::new(
                        Opts::new(
                            "hive_refused_total",
                            "Requests refused for want of a place or of memory, or by their key's limits.",
                        ),
                        &["reason"],
                    ),
                ),
                &REFUSALS,
            ),
            cache_total: from_nought(
                register(
                    &registry,
                    IntCounterVec::new(
                        Opts::new(
                            "hive_cache_total",
                            "Chats that were looked for among the answers that may be given again.",
                        ),
                        &["result"],
                    ),
                ),
                &CACHED,
            ),
            sticky_total: from_nought(
                register(
                    &registry,
                    IntCounterVec::new(
                        Opts::new("hive_sticky_total", "Chats by what chose their worker."),
                        &["by"],
                    ),
                ),
                &SIGNS,
            ),
            request_duration_seconds: histogram(
                &registry,
                "hive_request_duration_seconds",
                "Duration of requests.",
                DURATION_BUCKETS,
            ),
            time_to_first_token_seconds: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "hive_time_to_first_token_seconds",
                        "Time to the first output.",
                    )
                    .buckets(DURATION_BUCKETS.to_vec()),
                    &["provider"],
                ),
            ),
            stream_gap_seconds: histogram(
                &registry,
                "hive_stream_gap_seconds",
                "Time between two pieces of a stream.",
                GAP_BUCKETS,
            ),
            open_streams: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new("hive_open_streams", "Streams being sent."),
                    &["provider"],
                ),
            ),
            tokens_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("hive_tokens_total", "Tokens, estimated."),
                    &["provider", "direction"],
                ),
            ),
            retries_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("hive_retries_total", "Tries after a failed turn."),
                    &["provider", "to"],
                ),
            ),
            tool_calls_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "hive_tool_calls_total",
                        "Tool calls found in the answers of models without tools.",
                    ),
                    &["provider", "dialect", "outcome"],
                ),
            ),
            reasks_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "hive_reasks_total",
                        "Second questions after answers that could not be used.",
                    ),
                    &["provider", "reason", "result"],
                ),
            ),
            upstream_requests_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("hive_upstream_requests_total", "Calls to providers."),
                    &["provider", "step", "outcome"],
                ),
            ),
            upstream_errors_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("hive_upstream_errors_total", "Failed turns."),
                    &["provider", "kind"],
                ),
            ),
            unknown_shapes_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "hive_unknown_shapes_total",
                        "Parts of answers that no decoder knows.",
                    ),
                    &["provider", "where"],
                ),
            ),
            accounts: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new("hive_accounts", "Accounts by state."),
                    &["provider", "state"],
                ),
            ),
            account_expiry_timestamp_seconds: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "hive_account_expiry_timestamp_seconds",
                        "When a credential ends, where it says so.",
                    ),
                    &["provider", "account"],
                ),
            ),
            account_check_ok: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "hive_account_check_ok",
                        "1 where the service took the credential when it was last asked about it.",
                    ),
                    &["provider", "account"],
                ),
            ),
            account_quota_left: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "hive_account_quota_left",
                        "What is left of an account's quota, where the service says it.",
                    ),
                    &["provider", "account", "unit"],
                ),
            ),
            conversation_reuse_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "hive_conversation_reuse_total",
                        "Turns by whether they went on with an upstream conversation.",
                    ),
                    &["provider", "result"],
                ),
            ),
            conversations: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new("hive_conversations", "Open upstream conversations."),
                    &["provider"],
                ),
            ),
            media_seconds: register(
                &registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "hive_media_seconds",
                        "Time until a picture, a video or a sound was there.",
                    )
                    .buckets(DURATION_BUCKETS.to_vec()),
                    &["provider", "kind"],
                ),
            ),
            media_total: register(
                &registry,
                IntCounterVec::new(
                    Opts::new(
                        "hive_media_total",
                        "Pictures, videos and sounds that were asked for.",
                    ),
                    &["provider", "kind", "outcome"],
                ),
            ),
            pow_seconds: histogram(
                &registry,
                "hive_pow_seconds",
                "Duration of one proof of work.",
                POW_BUCKETS,
            ),
            registry,
        }
    }

    /// Replaces the ends of credentials, given as provider, account and Unix time: what was removed or renewed must
    /// leave nothing behind.
    pub fn set_expiries<'a>(&self, ends: impl IntoIterator<Item = (&'a str, usize, u64)>) {
        let gauge = &self.account_expiry_timestamp_seconds;
        gauge.reset();
        for (provider, account, end) in ends {
            gauge
                .with_label_values(&[provider, &account.to_string()])
                .set(i64::try_from(end).unwrap_or(i64::MAX));
        }
    }

    /// What services said of accounts, once for all workers: provider, account, whether all was well, and what is left of
    /// what.
    pub fn set_checks<'a>(
        &self,
        checks: impl IntoIterator<Item = (&'a str, usize, bool, Option<(f64, String)>)>,
    ) {
        self.account_check_ok.reset();
        self.account_quota_left.reset();
        for (provider, account, is_ok, quota) in checks {
            let account = account.to_string();
            self.account_check_ok
                .with_label_values(&[provider, &account])
                .set(is_ok.into());
            if let Some((left, unit)) = quota {
                self.account_quota_left
                    .with_label_values(&[provider, &account, &unit])
                    .set(left);
            }
        }
    }

    /// The page of `/metrics`, in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut page = Vec::new();
        // Writing to memory cannot fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut page);
        String::from_utf8(page).or_impossible("Prometheus' text format is UTF-8")
    }
}

#[expect(
    clippy::expect_used,
    reason = "names and labels are constants; a mistake shows in the first test that touches METRICS"
)]
fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> C {
    let metric = metric.expect("a valid metric");
    registry
        .register(Box::new(metric.clone()))
        .expect("a new metric");
    metric
}

/// Shows a counter's whole set of labels from the start: `rate()` does not see the first step of a series that begins
/// with it, and a first burst is what an alert is for.
fn from_nought(counter: IntCounterVec, labels: &[&str]) -> IntCounterVec {
    for label in labels {
        counter.with_label_values(&[label]);
    }
    counter
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    register(
        registry,
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())),
    )
}
