//! The dispatcher: tries accounts and candidates until the first output, never after it (design.md section 2
//! step 7), and the [`Run`] that a door polls.
//!
//! ```text
//!   Run ──► dispatch: the candidates, in order ──► attempt: one candidate, with its accounts and tries ──► work
//! ```
//! What is done with a candidate is handed in, and its retries, accounts and clean-up are the same whatever it is.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{self, Future},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{oneshot, watch};

use super::{
    Janitor, Model, Provider,
    lasting::{Lasting, Subject},
    outbox::{Outbox, Served},
    registry::{Candidate, Route},
    retry::{self, Failure, Next, Retries},
    reuse::{Reuse, what_is_new},
    turn::{Attached, Turn},
};
use crate::{
    budget::Memory,
    chat::{
        ChatEvent, ChatRequest, Field, Kind, ProviderError,
        emulate::{nonce::NonceKey, plan::Means},
        filter::{self, Chain, Ending},
        media::Makes,
    },
    conversations::{Continues, Conversations, Thread},
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

/// What a poll of a [`Run`] found.
#[derive(Debug)]
pub enum Progress {
    /// Events were added.
    Events,
    /// The answer is complete, or failed.
    Over(Result<(), ProviderError>),
}

/// Hears what an answer is made of, beside whoever polls it.
pub trait Listener: fmt::Debug {
    /// The next events.
    fn heard(&mut self, events: &[ChatEvent]);

    /// The answer is complete; who gave it. Never called of one that fails or is left early.
    fn complete(self: Box<Self>, served: Served);
}

type Answering = dyn Future<Output = Result<(), ProviderError>>;

/// One answer on its way. Polled by the door's own task; dropping it stops everything.
pub struct Run {
    answer: Option<Pin<Box<Answering>>>,
    result: Option<Result<(), ProviderError>>,
    outbox: Rc<Outbox>,
    listener: Option<Box<dyn Listener>>,
}

impl Run {
    /// An answer that was given before, said again in the pieces in which it came then. Nobody is asked.
    pub fn again(events: Vec<ChatEvent>, served: Served) -> Self {
        let outbox = Rc::<Outbox>::default();
        outbox.set_served(served);
        let shared = Rc::clone(&outbox);
        let answer: Pin<Box<Answering>> = Box::pin(async move {
            for event in events {
                shared.append(&mut vec![event]);
                shared.taken().await;
            }
            Ok(())
        });
        Self {
            answer: Some(answer),
            result: None,
            outbox,
            listener: None,
        }
    }

    /// The same run, heard by somebody.
    #[must_use]
    pub fn heard_by(self, listener: Option<Box<dyn Listener>>) -> Self {
        Self { listener, ..self }
    }

    /// Starts nothing yet: the first poll does.
    pub fn new(job: Job, route: Route, request: Arc<ChatRequest>) -> Self {
        // Of one thread and one task: the door that polls takes what the provider's future, polled by it, puts there.
        let outbox = Rc::<Outbox>::default();
        let shared = Rc::clone(&outbox);
        let answer: Pin<Box<Answering>> = Box::pin(async move {
            // Once in an answer: what did not go well is followed by the whole conversation in a new one.
            let may_continue = Cell::new(true);
            let work = async |candidate: &Candidate, turn: &mut Turn| {
                let may_continue = may_continue.take();
                chat(&job, &request, candidate, turn, may_continue).await
            };
            let subject = Some(Subject::new(&job.client_name, &request));
            dispatch(&job, &route, &shared, subject, work).await
        });
        Self {
            answer: Some(answer),
            result: None,
            outbox,
            listener: None,
        }
    }

    /// Adds the next events to `events`.
    pub fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<ChatEvent>,
    ) -> Poll<Progress> {
        let before = events.len();
        loop {
            if self.outbox.take(events) {
                if let Some(listener) = &mut self.listener {
                    listener.heard(events.get(before..).unwrap_or_default());
                }
                return Poll::Ready(Progress::Events);
            }
            // Only when the box is empty: what came before the end is said before it.
            if let Some(result) = self.result.take() {
                if let (Ok(()), Some(listener)) = (&result, self.listener.take()) {
                    listener.complete(self.outbox.served());
                }
                return Poll::Ready(Progress::Over(result));
            }
            // Polled again after its end, as the engine does until it has seen the end of all choices.
            let Some(answer) = &mut self.answer else {
                return Poll::Ready(Progress::Over(Ok(())));
            };
            match answer.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    // Dropped now and not with the run: the turn within holds lease and connection.
                    self.answer = None;
                    self.result = Some(result);
                }
                Poll::Pending if self.outbox.is_empty() => return Poll::Pending,
                // The provider waits until its events are taken, and nobody would wake it: round again.
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

/// One turn of a chat: one question, or two where the first answer held a call that nobody can carry out.
async fn chat(
    job: &Job,
    request: &Arc<ChatRequest>,
    candidate: &Candidate,
    turn: &mut Turn,
    may_continue: bool,
) -> Result<(), ProviderError> {
    let support = |field| candidate.support(field);
    let means = || Means {
        key: job.marks.clone(),
        client: Arc::clone(&job.client_name),
        provider: Arc::clone(&turn.provider),
        window: candidate.model.context,
        takes_pictures: candidate.model.vision,
        own_tools: candidate.provider.own_tools(),
        tools: candidate.support(Field::Tools),
        format: candidate.support(Field::Format),
    };
    let (mut ask, chain) = filter::prepare(request, support, means).await?;
    turn.chain = chain;
    if let Some(conversations) = &job.conversations {
        let reuse = Reuse::new(
            conversations,
            &candidate.provider,
            &job.client_id,
            &candidate.model.upstream,
            request,
            &ask,
        );
        if let Some(new) = go_on(reuse, candidate, turn, &ask, may_continue).await {
            ask = new;
        }
    }
    loop {
        let result = candidate.provider.chat(&ask, turn).await;
        let is_cut = turn.is_cut();
        // A decoder that was cut in the middle may well fail; nobody wants what it failed at.
        // Whatever came of it after a cut: the filters have all that they need.
        if !is_cut {
            result?;
        }
        match turn.finish() {
            Ending::Done if turn.has_output() => return Ok(()),
            // Nobody sees an empty answer as what it is: agents take it for the end of their task.
            Ending::Done => {
                turn.upstream_is_over();
                return Err(ProviderError::empty_answer());
            }
            Ending::Again(next) => {
                ask = next;
                again(job, candidate, turn, is_cut);
            }
            Ending::Failed(error) => {
                // What the model said was wrong, not what the account did.
                turn.absolve();
                // The service has written to its end; a stop call would hit nothing, or the next answer.
                if !is_cut {
                    turn.upstream_is_over();
                }
                return Err(error);
            }
        }
    }
}

/// Prepares a turn to leave its conversation to a later one, and, if it may, to go on with that of an earlier one: then what
/// is new of `ask`.
async fn go_on(
    mut reuse: Reuse,
    candidate: &Candidate,
    turn: &mut Turn,
    ask: &Arc<ChatRequest>,
    may_continue: bool,
) -> Option<Arc<ChatRequest>> {
    let continues = candidate.provider.continues(&candidate.model);
    if continues == Continues::No {
        return None;
    }
    let account = if may_continue {
        reuse.find(continues).await
    } else {
        None
    };
    let new = account.and_then(|_| what_is_new(ask));
    if new.is_some() {
        turn.again_on = account;
        turn.outbox.set_continued();
    } else {
        // Nothing that the service could be asked: then it is asked all.
        reuse = reuse.hand_over(false);
    }
    turn.reuse = Some(Box::new(reuse));
    new
}

/// Puts a turn for the second question in the place of the one for the first: on the same account, with the same filters.
/// The first one ends as any turn does, which lets go of whatever it holds.
fn again(job: &Job, candidate: &Candidate, turn: &mut Turn, is_cut: bool) {
    let name = Arc::clone(&turn.provider);
    // Same `tried`: an account that failed stays out of the second question, too.
    let mut next = self::turn(job, candidate, &name, &turn.outbox, turn.tried.clone());
    next.chain = std::mem::take(&mut turn.chain);
    next.again_on = turn.account;
    let reuse = turn.reuse.take();
    let is_deleted = turn.deletion.is_some();
    next.reuse = reuse.map(|reuse| Box::new(reuse.hand_over(is_deleted)));
    // Judged before it is dropped by the assignment below, which starts its clean-up.
    turn.is_over = !is_cut;
    *turn = next;
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

fn turn(
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
        // A copy a turn, as its time-out and its bound are lowered for single files.
        fetch: Rc::new(job.settings.providers.fetch.clone()),
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

/// Runs whose answer is a script, for tests of those who poll runs.
#[cfg(test)]
pub(crate) mod script {
    use super::{ChatEvent, Future, Outbox, ProviderError, Rc, Run};

    /// What a scripted answer speaks through.
    pub(crate) struct Script(Rc<Outbox>);

    impl Script {
        /// Passes an event on and waits until it was taken, as [`super::Turn::emit`] does.
        pub(crate) async fn say(&self, event: ChatEvent) {
            self.0.append(&mut vec![event]);
            self.0.taken().await;
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
                listener: None,
            }
        }
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
