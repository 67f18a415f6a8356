//! The dispatcher: tries accounts and candidates until the first output, never after it (design.md section 2
//! step 7).
//!
//! ```text
//!   Run ──► dispatch: the candidates, in order ──► attempt: one candidate, with its accounts and tries ──► work
//! ```
//! What is done with a candidate is handed in, and its retries, accounts and clean-up are the same whatever it is.

use std::{cell::RefCell, future, rc::Rc, sync::Arc};

use tokio::sync::{oneshot, watch};

use super::{
    Janitor, Model, Provider,
    lasting::{Lasting, Subject},
    outbox::{Outbox, Served},
    registry::{Candidate, Route},
    retry::{self, Failure, Next, Retries},
    turn::{Attached, Turn},
};
use crate::{
    budget::Memory,
    chat::{Kind, ProviderError, emulate::nonce::NonceKey, filter::Chain, media::Makes},
    conversations::{Conversations, Thread},
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
    /// The name of the caller's key.
    pub client_name: Arc<str>,
    /// What its usage is kept under: no two callers have the same.
    pub client_id: Arc<str>,
    /// Where upstream conversations may continue (`CONVERSATIONS=reuse`).
    pub conversations: Option<Arc<Conversations>>,
    /// What the marks of emulated tool calls are made with.
    pub marks: NonceKey,
    /// What was refused for good a moment ago.
    pub lasting: Arc<Lasting>,
}

/// Does `work` with the first candidate that can. `subject`: what is asked, where a refusal of it is worth remembering.
///
/// # Errors
/// That of the first candidate, unless it is merely not there; a time-out; the end of the worker.
pub(super) async fn dispatch<T>(
    job: &Job,
    route: &Route,
    outbox: &Rc<Outbox>,
    subject: Option<Subject<'_>>,
    work: impl AsyncFn(&Candidate, &mut Turn) -> Result<T, ProviderError>,
) -> Result<T, ProviderError> {
    // Of its own: `wait_for` marks the value as seen, which is no affair of other answers.
    let mut cut = job.cut.clone();
    let cut = async {
        // The sender lives as long as the process; without one nobody can cut any more, and this never ends.
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
            let remembered = subject.and_then(|subject| job.lasting.again(candidate, subject));
            let result = if let Some(error) = remembered {
                outbox.set_served(served(candidate));
                Err(error)
            } else {
                let result = attempt(job, candidate, outbox, &work).await;
                if let (Some(subject), Err(error)) = (subject, &result)
                    && !outbox.has_output()
                {
                    job.lasting.remember(candidate, subject, error);
                }
                result
            };
            match result {
                Ok(done) => return Ok(done),
                // Whatever the client has seen, another candidate would say a second time.
                Err(error) if retry::is_final(error.kind, outbox.has_output()) => {
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
        // An answer that ends at the moment of the cut has ended.
        biased;
        // Around all candidates and waits together: the caller's patience is one.
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

/// Does `work` with one candidate, with as many of its accounts and tries as make sense ([`Retries`]).
async fn attempt<T>(
    job: &Job,
    candidate: &Candidate,
    outbox: &Rc<Outbox>,
    work: &impl AsyncFn(&Candidate, &mut Turn) -> Result<T, ProviderError>,
) -> Result<T, ProviderError> {
    let accounts = candidate.provider.accounts();
    let name: Arc<str> = candidate.provider.name().into();
    let mut tried = Vec::new();
    let mut retries = Retries::new(&job.settings.providers.retry_delays);
    loop {
        // `tried` is cloned: the turn may outlive this round in the janitor's hands.
        let mut turn = turn(job, candidate, &name, outbox, tried.clone());
        let result = work(candidate, &mut turn).await;
        // Read before the turn is given away.
        let (account, is_pinned, is_beside) = (turn.account, turn.is_pinned, turn.is_beside);
        // A service whose answer was cut may still be writing.
        turn.is_over = result.is_ok() && !turn.is_cut();
        if turn.is_over {
            turn.keep().await;
        }
        let was_continued = turn.continued().is_some();
        // The clean-up begins before any wait.
        drop(turn);
        let error = match result {
            Ok(done) => {
                // That a video is there does not mean that the account may make another one.
                if let Some(account) = account.filter(|_| !is_beside) {
                    accounts.succeeded(account);
                    if let Some(took) = outbox.took() {
                        accounts.answered_in(account, took);
                    }
                }
                return Ok(done);
            }
            Err(error) => {
                // Of a look at a job, only a refused credential is the account's affair; and where the service does not
                // want to go on with a conversation, that may be the conversation's.
                let is_blamed = if was_continued {
                    error.kind.blames_account()
                } else {
                    !is_beside || error.kind == Kind::AuthExpired
                };
                judged(candidate, &name, account.filter(|_| is_blamed), error)
            }
        };
        if was_continued && !outbox.has_output() && error.kind != Kind::Moderated {
            METRICS
                .conversation_reuse_total
                .with_label_values(&[&*name, "failed"])
                .inc();
            outbox.forget();
            tried.extend(account.filter(|_| error.kind.blames_account()));
            continue;
        }
        // Also where nobody is blamed: it has had its try.
        tried.extend(account);
        let failure = Failure {
            kind: error.kind,
            is_lasting: error.is_lasting,
            has_output: outbox.has_output(),
            is_account_left: account.is_some() && !is_pinned && accounts.has_other(&tried),
        };
        // An attempt without output leaves nothing behind, so that the next one's events are the answer's first.
        if !failure.has_output {
            outbox.forget();
        }
        match retries.next(failure) {
            Next::Tell => return Err(error),
            Next::OtherAccount => count_retry(&name, "other_account"),
            Next::Later(delay) => {
                // The wait holds no lease: the turn is gone, and others may use the account.
                tokio::time::sleep(retry::jittered(delay, rand::random())).await;
                count_retry(&name, "same_account");
            }
        }
    }
}

/// The error as it is told: counted, logged, laid to the account's charge, and with what only the dispatcher knows.
fn judged(
    candidate: &Candidate,
    name: &Arc<str>,
    account: Option<usize>,
    error: ProviderError,
) -> ProviderError {
    let accounts = candidate.provider.accounts();
    // Scrubbed first: from here on the message goes to logs, metrics and the client.
    let mut error = ProviderError {
        provider: Some(Arc::clone(name)),
        account,
        ..error.scrubbed()
    };
    if error.kind == Kind::NotConfigured {
        let how = candidate.provider.how_to_configure();
        error.message = format!("{}: {how}", error.message);
    }
    METRICS
        .upstream_errors_total
        .with_label_values(&[&**name, error.kind.label()])
        .inc();
    if let Some(shape) = error.shape {
        METRICS.unknown_shape(name, shape);
    }
    tracing::warn!(
        provider = &**name,
        account,
        kind = error.kind.label(),
        code = error.code,
        "turn failed"
    );
    if let Some(account) = account {
        let makes = candidate.model.makes;
        let rest = if error.kind == Kind::QuotaSpent && makes != Makes::Text {
            // The day's pictures are gone, and the account chats as ever.
            accounts.spent(account, makes, &error)
        } else {
            // Judged before `rest` is asked: the rest is a consequence of it.
            accounts.failed(account, &error);
            accounts.rest(account)
        };
        // Where the provider named no time, the account's own rest is the best answer to "when again?".
        if error.kind.blames_account() {
            error.retry_after = error.retry_after.or(rest);
        }
    }
    error
}

/// Has a conversation deleted upstream that nobody goes on with, on the account of this number, and waits until that was
/// tried.
///
/// # Errors
/// Why the account cannot be had.
pub async fn abandon(
    job: &Job,
    provider: &Arc<dyn Provider>,
    account: usize,
    thread: &Thread,
) -> Result<(), ProviderError> {
    let candidate = Candidate {
        provider: Arc::clone(provider),
        model: Model::new("", "", 0),
        tools: job.settings.providers.tools,
    };
    let name: Arc<str> = provider.name().into();
    let mut turn = turn(job, &candidate, &name, &Rc::default(), Vec::new());
    (turn.again_on, turn.is_errand) = (Some(account), true);
    let (done, is_done) = oneshot::channel::<()>();
    turn.hold(done);
    let result = provider.abandon(thread, &mut turn).await;
    turn.is_over = true;
    drop(turn);
    if result.is_ok() {
        // The sender goes when the last errand is done.
        let _ = is_done.await;
    }
    result
}

fn count_retry(provider: &str, to: &str) {
    METRICS
        .retries_total
        .with_label_values(&[provider, to])
        .inc();
}

/// Who is about to answer.
fn served(candidate: &Candidate) -> Served {
    let model = candidate.model.id.as_str();
    // Labels are kept for ever: an id that clients make up would be a series each.
    let is_listed = candidate.provider.is_listed(model);
    Served {
        provider: Some(candidate.provider.name().into()),
        account: None,
        model: Some(if is_listed { model } else { "other" }.into()),
        is_continued: false,
    }
}

pub(super) fn turn(
    job: &Job,
    candidate: &Candidate,
    name: &Arc<str>,
    outbox: &Rc<Outbox>,
    tried: Vec<usize>,
) -> Turn {
    outbox.set_served(served(candidate));
    Turn {
        model: candidate.model.clone(),
        events: Vec::new(),
        caller: job.caller,
        provider: Arc::clone(name),
        client: job.client.clone(),
        outbox: Rc::clone(outbox),
        chain: Chain::default(),
        passed: Vec::new(),
        fetch: Arc::clone(&job.settings.providers.fetch),
        attached: RefCell::new(Attached::new(job.memory.share())),
        conversations: job.settings.providers.conversations,
        janitor: job.janitor,
        tried,
        account: None,
        is_pinned: false,
        again_on: None,
        is_beside: false,
        is_errand: false,
        reuse: None,
        afterwards: Vec::new(),
        deletion: None,
        on_abort: Vec::new(),
        held: Vec::new(),
        open: None,
        is_over: false,
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
