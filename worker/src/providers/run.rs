//! One answer on its way, as a door polls it, and the turn behind it: one question, or two.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    dispatch::{self, Job, dispatch},
    lasting::Subject,
    outbox::{Outbox, Served},
    registry::{Candidate, Route},
    reuse::{Reuse, what_is_new},
    turn::{Held, Turn},
};
use crate::{
    chat::{
        ChatEvent, ChatRequest, Field, ProviderError,
        emulate::plan::Means,
        filter::{self, Ending},
    },
    conversations::{Continues, Thread},
};

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
        reuse = reuse.hand_over();
    }
    turn.reuse = Some(Box::new(reuse));
    new
}

/// Puts a turn for the second question in the place of the one for the first: on the same account, with the same filters.
/// The first one ends as any turn does, which lets go of whatever it holds.
fn again(job: &Job, candidate: &Candidate, turn: &mut Turn, is_cut: bool) {
    let name = Arc::clone(&turn.provider);
    // Same `tried`: an account that failed stays out of the second question, too.
    let mut next = dispatch::turn(job, candidate, &name, &turn.outbox, turn.tried.clone());
    next.chain = std::mem::take(&mut turn.chain);
    next.again_on = turn.account;
    next.reuse = turn.reuse.take().map(|mut reuse| {
        if turn.deletion.is_some() {
            turn.held.extend(reuse.leave().map(Held::of));
        }
        Box::new(reuse.hand_over())
    });
    // Judged before it is dropped by the assignment below, which starts its clean-up.
    turn.is_over = !is_cut;
    *turn = next;
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
