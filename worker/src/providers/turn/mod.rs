//! One attempt of one provider at one answer: what [`super::Provider::chat`] works with. What it calls ([`calls`]), whose account
//! it uses ([`leases`]) and what it fetches ([`attached`]) stand apart.

mod attached;
mod calls;
mod leases;

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus::IntGauge;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

pub use calls::Messenger;

pub(super) use attached::Attached;

use super::{Janitor, Model, janitor::Errand, outbox::Outbox, reuse::Reuse};
use crate::{
    chat::{
        ChatEvent, ChatRequest, Kind, ProviderError,
        aside::aside,
        emulate::schema::Offered,
        filter::{Chain, Ending, Filter as _},
    },
    conversations::{Kept, Thread},
    impossible::OrImpossible as _,
    metrics::METRICS,
    settings::Conversations,
    upstream::{Client, fetch},
};

/// Longest conversation that is sent to a web chat. The largest context window of any of them is a million tokens, which
/// is 4 to 5 MB; what is longer would only take memory and time on its way to a refusal.
pub(super) const MOST_PROMPT_BYTES: usize = 8 << 20;

/// One attempt at an answer. Dropping it, in whatever way the attempt ended, starts the clean-up.
#[derive(Debug)]
pub struct Turn {
    /// The model that the route chose.
    pub model: Model,
    /// Decoders push here; [`Turn::emit`] passes on.
    pub events: Vec<ChatEvent>,
    /// A hash of the caller, for choosing an account.
    pub caller: u64,
    pub(super) provider: Arc<str>,
    pub(super) client: Client,
    pub(super) outbox: Rc<Outbox>,
    pub(super) chain: Chain,
    /// On the way from `events` through `chain` to the outbox; empty between calls.
    pub(super) passed: Vec<ChatEvent>,
    pub(super) fetch: Arc<fetch::Policy>,
    /// A cell, because [`Turn::attachments`] is called while parts of the turn are lent out; borrowed between awaits only.
    pub(super) attached: RefCell<Attached>,
    pub(super) conversations: Conversations,
    pub(super) janitor: &'static Janitor,
    pub(super) tried: Vec<usize>,
    pub(super) account: Option<usize>,
    /// The request may use one account only.
    pub(super) is_pinned: bool,
    /// The account of the first question, where this is the second one of an answer.
    pub(super) again_on: Option<usize>,
    /// It came beside the account's turns ([`crate::accounts::Choice::Beside`]), and how it goes says little of the account.
    pub(super) is_beside: bool,
    /// It has come to delete something, and asks nothing.
    pub(super) is_errand: bool,
    /// Where conversations may continue.
    pub(super) reuse: Option<Box<Reuse>>,
    pub(super) afterwards: Vec<Errand>,
    /// Which of those is the deletion of the conversation that was opened last.
    pub(super) deletion: Option<usize>,
    pub(super) on_abort: Vec<Errand>,
    pub(super) held: Vec<Held>,
    /// What counts the conversation that was opened last.
    pub(super) open: Option<Held>,
    pub(super) is_over: bool,
}

/// Something that a turn holds on to; see [`Turn::hold`]. Shared by the turn and by whoever may let go of it earlier: the
/// first of them empties the cell.
#[derive(Clone)]
pub struct Held(Rc<Cell<Option<Box<dyn Any>>>>);

impl Held {
    pub(super) fn of(guard: impl Any) -> Self {
        Self(Rc::new(Cell::new(Some(Box::new(guard)))))
    }

    /// Lets go of it now.
    pub fn release(&self) {
        self.0.take();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// Counts an upstream conversation for as long as a turn holds it: until it is deleted, or left to the account.
struct Open(IntGauge);

impl Open {
    fn at(provider: &str) -> Self {
        let gauge = METRICS.conversations.with_label_values(&[provider]);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Turn {
    /// The tools whose calls are taken out of the answer's words: a decoder that leaves out calls of its service's own tools
    /// is to leave these in.
    pub fn offered(&self) -> Option<Arc<Offered>> {
        self.chain.offered().cloned()
    }

    /// Whether the client has (or is about to get) some output, so that nothing can be tried again.
    pub fn has_output(&self) -> bool {
        self.outbox.has_output()
    }

    /// Passes the decoded events on and waits until the door has taken them, so that a slow client slows the
    /// provider down instead of filling the memory.
    ///
    /// # Errors
    /// [`Kind::Cut`] once the gateway itself has ended the answer (a stop sequence, the token limit): `?` carries it out
    /// of the provider's flow, and the dispatcher makes a success of it.
    pub async fn emit(&mut self) -> Result<(), ProviderError> {
        // Many frames of a service hold nothing for the client; nothing is to be waited for then.
        if self.events.is_empty() {
            return Ok(());
        }
        // Drained and not taken: the vector keeps its room for the next call of the decoder.
        for event in self.events.drain(..) {
            match event {
                // Counted here, where the provider is known; no door has a use for it.
                ChatEvent::Unknown(place) => METRICS.unknown_shape(&self.provider, place),
                event => self.chain.apply(event, &mut self.passed),
            }
        }
        // The filters may hold everything back; then the provider goes on at once.
        if !self.passed.is_empty() {
            if let Some(reuse) = &mut self.reuse {
                reuse.heard(&self.passed);
            }
            self.outbox.append(&mut self.passed);
            // No waker is needed: the door polls this future again as soon as it has taken the events.
            poll_fn(|_| {
                if self.outbox.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        // After the last events have gone out, so that a client gets all that precedes the stop.
        if self.is_cut() {
            Err(ProviderError::cut())
        } else {
            Ok(())
        }
    }

    /// Whether the gateway itself has ended the answer.
    pub(super) fn is_cut(&self) -> bool {
        self.chain.is_cut()
    }

    /// The provider has ended the answer: what the filters hold back goes out, and the end if it has said none, unless
    /// there is more to come.
    pub(super) fn finish(&mut self) -> Ending {
        let ending = self.chain.end(&mut self.passed);
        if let Some(reuse) = &mut self.reuse {
            reuse.heard(&self.passed);
        }
        self.outbox.append(&mut self.passed);
        ending
    }

    /// As [`Turn::emit`], and then what came of decoding: the events before an error are said before it.
    ///
    /// # Errors
    /// That of [`Turn::emit`], else that of `decoded`.
    pub async fn emit_then<T, E: From<ProviderError>>(
        &mut self,
        decoded: Result<T, E>,
    ) -> Result<T, E> {
        self.emit().await?;
        decoded
    }

    /// The upstream conversation that this turn is in, as soon as it is known, and how it is deleted: `deletion` follows
    /// the turn however it ends, unless `CONVERSATIONS=keep`. `None` where a setting of the provider leaves it there.
    pub fn opened(&mut self, id: &str, deletion: Option<Errand>) {
        let is_same = self.outbox.thread().is_some_and(|thread| thread.id == id);
        if is_same
            && let Some(at) = self.deletion.take()
            && at < self.afterwards.len()
        {
            self.afterwards.remove(at);
        }
        self.outbox.set_thread(id);
        // Held by the turn, so that the gauge falls when the clean-up has let go and not when the answer ends.
        self.open = Some(self.hold(Open::at(&self.provider)));
        if let Some(reuse) = &mut self.reuse {
            let left = reuse.opened(id, self.account, self.deletion.is_some());
            self.held.extend(left.map(Held::of));
        }
        self.deletion = deletion.map(|deletion| {
            self.afterwards(deletion);
            self.afterwards.len().saturating_sub(1)
        });
    }

    /// Where this turn goes on from, in a conversation that an earlier one has opened; then it has only what is new to ask.
    pub fn continued(&self) -> Option<Thread> {
        self.reuse.as_ref()?.thread().cloned()
    }

    /// What else must be known to go on with the conversation of [`Turn::opened`], or to delete it
    /// ([`Thread::more`]).
    pub fn remembers(&mut self, more: &str) {
        self.outbox.set_more(more);
        if let Some(reuse) = &self.reuse {
            reuse.remembers(more);
        }
    }

    /// The turn went well: where conversations continue, this one is not deleted.
    pub(super) async fn keep(&mut self) {
        let Some(reuse) = self.reuse.take() else {
            return;
        };
        let (kept, left) = reuse.keep(&self.outbox).await;
        self.held.extend(left.map(Held::of));
        let deletion = self.deletion.filter(|at| *at < self.afterwards.len());
        match (kept, deletion) {
            (Kept::Yes, Some(at)) => {
                self.deletion = None;
                self.afterwards.remove(at);
            }
            // Nobody would ever go on with what the store has not taken, nor delete it.
            (Kept::Late(kept), Some(at)) => {
                let deletion = self.afterwards.remove(at);
                self.afterwards.insert(at, deletion.unless(kept));
            }
            (Kept::No, _) | (_, None) => {}
        }
    }

    /// The upstream id of this answer: the parent of the next question in the conversation of [`Turn::opened`].
    pub fn answered_as(&mut self, message: &str) {
        self.outbox.set_message(message);
    }

    /// Registers a call that follows the turn however it ends, for what it leaves behind beside its conversation. Skipped
    /// with `CONVERSATIONS=keep`.
    pub fn afterwards(&mut self, errand: impl Into<Errand>) {
        // With `keep` nothing is registered at all, so that nothing of it can be made by mistake.
        if self.conversations != Conversations::Keep {
            self.afterwards.push(errand.into());
        }
    }

    /// Takes back the call that was registered last with [`Turn::opened`] or [`Turn::afterwards`].
    pub fn withdraw(&mut self) {
        self.outbox.forget_thread();
        self.deletion = None;
        if let Some(reuse) = &self.reuse {
            reuse.deleted();
        }
        if let Some(open) = self.open.take() {
            open.release();
        }
        // The errand and the conversation were registered by one call; a deletion of nothing would be an error in the
        // service's eyes.
        self.afterwards.pop();
    }

    /// Keeps a guard (a lock's) until it is released; at the latest until the clean-up after the turn is done, so
    /// that nobody meets what is about to be deleted.
    pub fn hold(&mut self, guard: impl Any) -> Held {
        let held = Held::of(guard);
        self.held.push(held.clone());
        held
    }

    /// Registers a call that is made when the answer is not wanted any more before its end (a stop call).
    pub fn on_abort(&mut self, errand: impl Into<Errand>) {
        self.on_abort.push(errand.into());
    }

    /// Looks at once, and then again and again until `look` has found something, or failed, or `most` is over: `None`.
    /// Between the starts of two looks there is at least `every`, however long they take; one that is under way when the
    /// time is over is dropped, as all is when the client goes away.
    ///
    /// # Errors
    /// That of `look`.
    pub async fn until<T, E>(
        &mut self,
        every: Duration,
        most: Duration,
        mut look: impl AsyncFnMut(&mut Self) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let looking = async {
            loop {
                // Taken before the look: its own time counts.
                let next = Instant::now() + every;
                if let Some(found) = look(self).await? {
                    return Ok(Some(found));
                }
                sleep_until(next).await;
            }
        };
        // The time-out drops the look under way, and with it its connection; that is an answer of its own kind, no
        // error.
        timeout(most, looking).await.unwrap_or(Ok(None))
    }

    /// The service has ended the answer by itself: what [`Turn::on_abort`] registered has nothing left to stop.
    pub fn upstream_is_over(&mut self) {
        self.on_abort.clear();
    }

    /// The conversation of `ask` in the one text that a web chat reads, put together by `build`: off the event loop where it is
    /// long.
    ///
    /// # Errors
    /// 400 for one that is longer than any web chat reads.
    pub async fn prompt(
        &self,
        ask: &Arc<ChatRequest>,
        build: fn(&ChatRequest) -> String,
    ) -> Result<String, ProviderError> {
        // `Arc` and a plain function: what leaves the thread owns its part and borrows nothing of the turn.
        let ask = Arc::clone(ask);
        let prompt = aside(ask.bytes, move || build(&ask)).await;
        if prompt.len() > MOST_PROMPT_BYTES {
            return Err(ProviderError::new(
                Kind::ContextLength,
                format!(
                    "the conversation has {} bytes, more than any web chat reads ({MOST_PROMPT_BYTES})",
                    prompt.len()
                ),
            ));
        }
        Ok(prompt)
    }

    /// A fresh random UUID. Randomness is had from the turn, so that codecs stay pure.
    pub fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }

    /// Milliseconds since the Unix epoch. The time is had from the turn, so that codecs stay pure.
    pub fn unix_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .or_impossible("a clock is past 1970");
        u64::try_from(since.as_millis()).or_impossible("milliseconds of an age fit")
    }
}

impl Drop for Turn {
    /// A client that leaves drops the turn wherever it stands, so only here every end is met.
    fn drop(&mut self) {
        // It has ended by itself: there is nothing to stop, and a stop call might hit the account's next answer.
        let mut errands = if self.is_over {
            Vec::new()
        } else {
            std::mem::take(&mut self.on_abort)
        };
        if let (Some(reuse), Some(_)) = (&mut self.reuse, self.deletion) {
            self.held.extend(reuse.leave().map(Held::of));
        }
        // Stop calls first: a conversation is not to be deleted under a service that still writes into it.
        errands.append(&mut self.afterwards);
        // Without errands nothing has to be kept either; what is held goes with the turn.
        if !errands.is_empty() {
            self.janitor.spawn(
                self.client.clone(),
                self.provider.to_string(),
                errands,
                std::mem::take(&mut self.held),
                !self.is_over,
            );
        }
    }
}

#[cfg(test)]
mod tests;
