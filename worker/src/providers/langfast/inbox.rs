//! Where the socket's task leaves what it has decoded, for the turn to fetch. Both are on one thread, so this is a
//! plain cell. Only deltas are kept, so a client that reads slowly costs no more memory than the text it gets.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{stream::Decoder, wire};
use crate::{
    chat::{ChatEvent, Kind, ProviderError},
    upstream::socketio::connection::{End, Incoming},
};

/// Shared by a turn and its socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    decoder: Decoder,
    events: Vec<ChatEvent>,
    /// The credential is the user's own session.
    is_own: bool,
    is_connected: bool,
    is_begun: bool,
    /// How the answer, or the connection before it, ended.
    outcome: Option<Result<(), ProviderError>>,
    /// Why no more events will come. The whole answer may have come before, and before it was known to be ours.
    closed: Option<ProviderError>,
    /// When our run last gave a sign of life.
    heard: Option<Instant>,
}

impl Inbox {
    /// An empty one; `is_own`: the credential is the user's own session, and no guest.
    pub(super) fn new(is_own: bool) -> Self {
        let inbox = Self::default();
        inbox.0.state.borrow_mut().is_own = is_own;
        inbox
    }

    /// The socket's end.
    pub(super) fn ear(&self) -> impl FnMut(Incoming<'_>) + 'static {
        let shared = Rc::clone(&self.0);
        move |incoming| {
            // Borrowed for the moment of one event: the socket's task and the turn are on one thread.
            shared.state.borrow_mut().hear(incoming);
            // One waits at most, so one is woken.
            shared.changed.notify_one();
        }
    }

    /// Waits until the runner has let us in.
    pub(super) async fn connected(&self) -> Result<(), ProviderError> {
        loop {
            {
                // In a block: the borrow must end before the wait.
                let state = self.0.state.borrow();
                if state.is_connected {
                    return Ok(());
                }
                if let Some(error) = &state.closed {
                    return Err(error.clone());
                }
            }
            self.0.changed.notified().await;
        }
    }

    /// The run's answer has come; `job` says which events are ours.
    pub(super) fn begin(&self, job: Option<String>) {
        let state = &mut *self.0.state.borrow_mut();
        let begun = state.decoder.begin(job, &mut state.events);
        // From now on: what was heard before is of a run that had not begun.
        state.heard = Some(Instant::now());
        state.is_begun = true;
        state.settle(begun);
    }

    /// Moves what is new to `events`; the outcome once all of it has been fetched.
    pub(super) fn take(&self, events: &mut Vec<ChatEvent>) -> Option<Result<(), ProviderError>> {
        let state = &mut *self.0.state.borrow_mut();
        // Moved out, so that nothing is passed on twice.
        events.append(&mut state.events);
        state.outcome.take()
    }

    /// Waits for something new.
    ///
    /// # Errors
    /// A run that has been silent for longer than `stall`; pings and other runs are no sign of life.
    pub(super) async fn more(&self, stall: Duration) -> Result<(), ProviderError> {
        loop {
            let heard = {
                let state = self.0.state.borrow();
                // Under the same borrow as the clock: between the two nothing can come.
                if !state.events.is_empty() || state.outcome.is_some() {
                    return Ok(());
                }
                state.heard.unwrap_or_else(Instant::now)
            };
            // From the last sign of life, not from the call: pings are none.
            let left = (heard + stall).saturating_duration_since(Instant::now());
            if within(left, self.0.changed.notified()).await.is_none() {
                return Err(ProviderError::new(
                    Kind::Timeout,
                    "the run gave no sign of life for too long",
                ));
            }
        }
    }
}

/// Waits for something that the socket's task brings. That task is on this thread: if the thread was busy until the
/// time was over, what has arrived meanwhile has not been looked at, so there is a moment more for that.
pub(super) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    const MOMENT: Duration = Duration::from_millis(50);
    let mut future = std::pin::pin!(future);
    match tokio::time::timeout(limit, future.as_mut()).await {
        Ok(output) => Some(output),
        Err(_) => tokio::time::timeout(MOMENT, future).await.ok(),
    }
}

impl State {
    fn hear(&mut self, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Connected => self.is_connected = true,
            // The socket outlives the run by a moment.
            Incoming::Event(_) if self.outcome.is_some() || self.decoder.is_over() => {}
            Incoming::Event(event) => {
                let before = self.decoder.heard();
                let fed = self.decoder.feed(&event, &mut self.events);
                // Only ours: another run on the same guest keeps its own silence.
                if self.decoder.heard() > before {
                    self.heard = Some(Instant::now());
                }
                self.settle(fed);
            }
            Incoming::Over(end) => {
                self.closed = Some(match end {
                    End::Refused(_) => wire::guest_refused(self.is_own),
                    End::Unreadable(_) => ProviderError::malformed("packet"),
                    End::Transport(error) if !self.is_connected => ProviderError::from(error),
                    // Without an end the socket's own word is that it broke.
                    End::Closed | End::Transport(_) => ProviderError::broken_stream(),
                });
                self.settle(Ok(()));
            }
        }
        self.merge();
    }

    /// Notes the end of the answer, if it has come to one.
    fn settle(&mut self, decoded: Result<(), ProviderError>) {
        if self.outcome.is_some() {
            return;
        }
        if decoded.is_err() || self.decoder.is_over() {
            self.outcome = Some(decoded);
        } else if self.is_begun {
            // Not before: what was heard early may hold the whole answer, and be ours.
            // The close is what happened to the answer; the answer's own end says more.
            self.outcome = self.closed.take().map(Err);
        }
        if self.decoder.is_over() && self.decoder.rewrites() > 0 {
            tracing::info!(
                provider = super::NAME,
                rewrites = self.decoder.rewrites(),
                "the service rewrote what it had said"
            );
        }
    }

    /// Deltas that nobody has fetched yet become one.
    fn merge(&mut self) {
        if let [.., ChatEvent::Text(before), ChatEvent::Text(new)] = self.events.as_mut_slice() {
            // In place: the turn fetches them at once, and one delta costs less than two.
            before.push_str(new);
            self.events.pop();
        }
    }
}
