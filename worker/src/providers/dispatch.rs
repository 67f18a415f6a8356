//! The dispatcher: tries accounts and candidates until the first output, never after it (design.md section 2
//! step 7), and the [`Run`] that a door polls.

use std::{
    cell::RefCell,
    fmt,
    future::{self, Future},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Janitor, Model, Provider,
    outbox::{Outbox, Served, Thread},
    registry::{Candidate, Route},
    turn::{Attached, Turn},
};
use crate::{
    budget::Memory,
    chat::{ChatEvent, ChatRequest, Kind, ProviderError, fields, limits::Limits},
    metrics::METRICS,
    settings::Settings,
    upstream::Client,
};

/// What the dispatcher needs besides route and request.
#[derive(Clone, Debug)]
pub struct Job {
    /// The thread's client.
    pub client: Client,
    /// The process's settings.
    pub settings: Arc<Settings>,
    /// Where turns have memory from that the request did not bring along.
    pub memory: Memory,
    /// Who cleans up.
    pub janitor: &'static Janitor,
    /// Becomes true when running answers must end now.
    pub cut: watch::Receiver<bool>,
    /// A hash of the caller: the same caller gets the same account while it is as good as the others.
    pub caller: u64,
}

/// What a poll of a [`Run`] found.
#[derive(Debug)]
pub enum Progress {
    /// Events were added.
    Events,
    /// The answer is complete, or failed.
    Over(Result<(), ProviderError>),
}

type Answering = dyn Future<Output = Result<(), ProviderError>>;

/// One answer on its way. Polled by the door's own task; dropping it stops everything.
pub struct Run {
    answer: Option<Pin<Box<Answering>>>,
    result: Option<Result<(), ProviderError>>,
    outbox: Rc<Outbox>,
}

impl Run {
    /// Starts nothing yet: the first poll does.
    pub fn new(job: Job, route: Route, request: Arc<ChatRequest>) -> Self {
        let outbox = Rc::<Outbox>::default();
        let answer: Pin<Box<Answering>> =
            Box::pin(dispatch(job, route, request, Rc::clone(&outbox)));
        Self {
            answer: Some(answer),
            result: None,
            outbox,
        }
    }

    /// Adds the next events to `events`.
    pub fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Poll<Progress> {
        loop {
            if self.outbox.take(events) {
                return Poll::Ready(Progress::Events);
            }
            if let Some(result) = self.result.take() {
                return Poll::Ready(Progress::Over(result));
            }
            let Some(answer) = &mut self.answer else {
                return Poll::Ready(Progress::Over(Ok(())));
            };
            match answer.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    self.answer = None;
                    self.result = Some(result);
                }
                Poll::Pending if self.outbox.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }

    /// Which upstream conversation the answer is in, as far as it is known.
    pub fn thread(&self) -> Option<Thread> {
        self.outbox.thread()
    }

    /// Who is answering, as far as it is known.
    pub fn served(&self) -> Served {
        self.outbox.served()
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("outbox", &self.outbox)
            .finish_non_exhaustive()
    }
}

async fn dispatch(
    job: Job,
    route: Route,
    request: Arc<ChatRequest>,
    outbox: Rc<Outbox>,
) -> Result<(), ProviderError> {
    let mut cut = job.cut.clone();
    let cut = async {
        // The sender lives as long as the process.
        if cut.wait_for(|is_cut| *is_cut).await.is_err() {
            future::pending::<()>().await;
        }
    };
    let all = async {
        let mut failure = None;
        for (at, candidate) in route.candidates.iter().enumerate() {
            if at > 0 {
                count_retry(candidate.provider.name(), "candidate");
            }
            match attempt(&job, candidate, &request, &outbox).await {
                Ok(()) => return Ok(()),
                Err(error) if outbox.has_output() || error.kind.is_callers_fault() => {
                    return Err(error);
                }
                // The first candidate is what the caller asked for, so its error is the one to tell, unless it
                // is merely not there.
                Err(error) => {
                    let is_told = |known: &ProviderError| known.kind != Kind::NotConfigured;
                    failure = failure.filter(is_told).or(Some(error));
                }
            }
        }
        Err(failure.unwrap_or_else(|| {
            ProviderError::new(Kind::NotConfigured, "this model has no provider")
        }))
    };
    tokio::select! {
        biased;
        result = tokio::time::timeout(job.settings.providers.request_timeout, all) => result.unwrap_or_else(|_| {
            Err(ProviderError::new(
                Kind::Timeout,
                "the answer took longer than REQUEST_TIMEOUT allows",
            ))
        }),
        () = cut => Err(ProviderError::new(
            Kind::Unavailable,
            "the worker had to stop before the answer was complete",
        )
        .with_code("worker_stopped")),
    }
}

/// One candidate, with as many of its accounts and tries as make sense.
async fn attempt(
    job: &Job,
    candidate: &Candidate,
    request: &Arc<ChatRequest>,
    outbox: &Rc<Outbox>,
) -> Result<(), ProviderError> {
    let provider = &*candidate.provider;
    let accounts = provider.accounts();
    let name: Arc<str> = provider.name().into();
    let mut tried = Vec::new();
    let mut delays = job.settings.providers.retry_delays.iter();
    loop {
        let mut turn = turn(job, candidate, &name, request, outbox, tried.clone());
        let result = provider.chat(request, &mut turn).await;
        let (account, is_pinned) = (turn.account, turn.is_pinned);
        // Whatever came of it after that: the caller has a whole answer, and the service may still be writing.
        let is_cut = turn.limits.is_cut();
        turn.is_over = result.is_ok() && !is_cut;
        drop(turn);
        let error = match result {
            Err(error) if !is_cut => ProviderError {
                provider: Some(Arc::clone(&name)),
                account,
                ..error.scrubbed()
            },
            Ok(()) | Err(_) => {
                if let Some(account) = account {
                    accounts.succeeded(account);
                }
                return Ok(());
            }
        };
        let mut error = if error.kind == Kind::NotConfigured {
            let message = format!("{}: {}", error.message, provider.how_to_configure());
            ProviderError { message, ..error }
        } else {
            error
        };
        METRICS
            .upstream_errors_total
            .with_label_values(&[&*name, error.kind.label()])
            .inc();
        if let Some(shape) = error.shape {
            METRICS.unknown_shape(&name, shape);
        }
        tracing::warn!(
            provider = &*name,
            account,
            kind = error.kind.label(),
            code = error.code,
            "turn failed"
        );
        if let Some(account) = account {
            accounts.failed(account, &error);
            tried.push(account);
            // Where the provider named no time, the account's own rest is the best answer to "when again?".
            if error.kind.blames_account() {
                error.retry_after = error.retry_after.or_else(|| accounts.rest(account));
            }
        }
        if outbox.has_output() || error.kind.is_callers_fault() {
            return Err(error);
        }
        outbox.forget();
        let is_account_left = account.is_some() && !is_pinned && accounts.has_other(&tried);
        if error.kind.blames_account() && is_account_left {
            count_retry(&name, "other_account");
            continue;
        }
        if !error.kind.is_passing() {
            return Err(error);
        }
        // Another account at once; the same one after a while. Waiting out a time-out twice helps nobody.
        let Some(&delay) = delays.next() else {
            return Err(error);
        };
        if is_account_left {
            count_retry(&name, "other_account");
            continue;
        }
        if error.kind == Kind::Timeout {
            return Err(error);
        }
        tokio::time::sleep(jittered(delay)).await;
        count_retry(&name, "same_account");
    }
}

fn count_retry(provider: &str, to: &str) {
    METRICS
        .retries_total
        .with_label_values(&[provider, to])
        .inc();
}

fn turn(
    job: &Job,
    candidate: &Candidate,
    name: &Arc<str>,
    request: &Arc<ChatRequest>,
    outbox: &Rc<Outbox>,
    tried: Vec<usize>,
) -> Turn {
    let provider = &*candidate.provider;
    let model = label(provider, &candidate.model);
    outbox.set_served(Served {
        provider: Some(Arc::clone(name)),
        account: None,
        model: Some(model.into()),
    });
    Turn {
        model: candidate.model.clone(),
        events: Vec::new(),
        caller: job.caller,
        provider: Arc::clone(name),
        client: job.client.clone(),
        outbox: Rc::clone(outbox),
        limits: Limits::new(request, |field| {
            fields::support(provider.fields_of(&candidate.model), field)
        }),
        fetch: Rc::new(job.settings.providers.fetch.clone()),
        attached: RefCell::new(Attached::new(job.memory.share())),
        conversations: job.settings.providers.conversations,
        janitor: job.janitor,
        tried,
        account: None,
        is_pinned: false,
        afterwards: Vec::new(),
        on_abort: Vec::new(),
        held: Vec::new(),
        is_over: false,
    }
}

/// The value of the `model` label: a listed id, never what a client made up.
fn label<'a>(provider: &dyn Provider, model: &'a Model) -> &'a str {
    let is = |listed: &Model| listed.id == model.id;
    if provider.models().iter().any(is) || provider.discovered().iter().any(is) {
        &model.id
    } else {
        "other"
    }
}

fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.9 + 0.2 * rand::random::<f64>())
}

/// Runs whose answer is a script, for tests of those who poll runs.
#[cfg(test)]
pub(crate) mod script {
    use super::{ChatEvent, Future, Outbox, Poll, ProviderError, Rc, Run};

    /// What a scripted answer speaks through.
    pub(crate) struct Script(Rc<Outbox>);

    impl Script {
        /// Passes an event on and waits until it was taken, as [`super::Turn::emit`] does.
        pub(crate) async fn say(&self, event: ChatEvent) {
            self.0.append(&mut vec![event]);
            super::future::poll_fn(|_| {
                if self.0.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
    }

    impl Run {
        /// A run that goes as `script` says.
        pub(crate) fn scripted<F>(script: impl FnOnce(Script) -> F) -> Self
        where
            F: Future<Output = Result<(), ProviderError>> + 'static,
        {
            let outbox = Rc::<Outbox>::default();
            Self {
                answer: Some(Box::pin(script(Script(Rc::clone(&outbox))))),
                result: None,
                outbox,
            }
        }
    }
}
