//! Where a provider's events wait for the door. Provider and door are polled by the same task, so this is a plain
//! cell: no channel, no wake-up, no task hop on the way of a chunk (design.md section 8).

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use crate::{
    chat::{ChatEvent, FinishReason},
    conversations::Thread,
};

/// Who is answering, for logs and metrics.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// The provider's name.
    pub provider: Option<Arc<str>>,
    /// The account's number.
    pub account: Option<usize>,
    /// The model's listed id, or `other`.
    pub model: Option<Arc<str>>,
    /// The answer goes on with an upstream conversation that an earlier one has begun.
    pub is_continued: bool,
}

/// Shared by one [`super::Run`] and its [`super::Turn`]s.
///
/// Cells and no locks, in an `Rc` and no `Arc`: both ends live in one task, and no borrow is held across an `await`, so
/// that none meets another.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What the door has not taken. Empty again before the provider goes on ([`super::Turn::emit`]), so it never holds
    /// more than one call of `emit` has brought.
    queue: RefCell<Vec<ChatEvent>>,
    /// Never false again: what a client has seen cannot be taken back.
    has_output: Cell<bool>,
    /// When the account was leased that is asked now, and how long its first output took.
    leased: Cell<Option<Instant>>,
    took: Cell<Option<Duration>>,
    served: RefCell<Served>,
    /// `None` until the service has said so, and again when an attempt has come to nothing.
    thread: RefCell<Option<Thread>>,
}

impl Outbox {
    /// Adds events; from the first one that a client sees there is no way back.
    ///
    /// A plain end before anything was said is left out: it would be the end of an empty answer, and whether there is one
    /// is known when the turn is over.
    pub(super) fn append(&self, events: &mut Vec<ChatEvent>) {
        // Sticky, see the field: usage before the first word leaves the way back open.
        if !self.has_output.get() {
            if events
                .iter()
                .any(|event| event.is_output() && !is_plain_end(event))
            {
                self.has_output.set(true);
                self.took
                    .set(self.leased.get().map(|leased| leased.elapsed()));
            } else {
                events.retain(|event| !is_plain_end(event));
            }
        }
        self.queue.borrow_mut().append(events);
    }

    /// Moves all waiting events to `events`; whether there were any.
    pub(super) fn take(&self, events: &mut Vec<ChatEvent>) -> bool {
        // Appended, not swapped: both vectors keep their room from call to call.
        let mut queue = self.queue.borrow_mut();
        let had_any = !queue.is_empty();
        events.append(&mut queue);
        had_any
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Waits until the door has taken everything. It leaves no waker: the door, which is polled by the same task, asks again
    /// as soon as it has.
    pub(super) async fn taken(&self) {
        poll_fn(|_| {
            if self.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Whether the client has (or is about to get) some output.
    pub(super) fn has_output(&self) -> bool {
        self.has_output.get()
    }

    /// How long the account took from its lease to the first output.
    pub(super) fn took(&self) -> Option<Duration> {
        self.took.get()
    }

    /// What the request holds has gone out and cannot be sent again: there is no way back either.
    pub(super) fn use_up(&self) {
        self.has_output.set(true);
    }

    /// Events and conversation of an attempt that failed before any output are not the answer's.
    pub(super) fn forget(&self) {
        // Nothing of it has been seen (`has_output` is false), so it can vanish.
        self.queue.borrow_mut().clear();
        self.forget_thread();
    }

    pub(super) fn set_served(&self, served: Served) {
        *self.served.borrow_mut() = served;
    }

    pub(super) fn set_account(&self, account: usize) {
        // Said again and again where the answer of one box is passed on by another.
        if self.served.borrow_mut().account.replace(account) != Some(account) {
            self.leased.set(Some(Instant::now()));
        }
    }

    pub(super) fn set_continued(&self) {
        self.served.borrow_mut().is_continued = true;
    }

    pub(super) fn set_thread(&self, id: &str) {
        *self.thread.borrow_mut() = Some(Thread::new(id));
    }

    pub(super) fn set_more(&self, more: &str) {
        if let Some(thread) = &mut *self.thread.borrow_mut() {
            thread.more = Some(more.to_owned());
        }
    }

    pub(super) fn set_message(&self, message: &str) {
        if let Some(thread) = &mut *self.thread.borrow_mut() {
            thread.message = Some(message.to_owned());
        }
    }

    pub(super) fn forget_thread(&self) {
        self.thread.take();
    }

    pub(super) fn thread(&self) -> Option<Thread> {
        self.thread.borrow().clone()
    }

    pub(super) fn served(&self) -> Served {
        self.served.borrow().clone()
    }
}

/// An end that says nothing by itself. The others do: that a limit or a text was met at the first word, or that the answer
/// was held back.
fn is_plain_end(event: &ChatEvent) -> bool {
    matches!(
        event,
        ChatEvent::Finish(FinishReason::Stop | FinishReason::ToolCalls)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Usage;

    fn text(text: &str) -> ChatEvent {
        ChatEvent::Text(text.to_owned())
    }

    #[test]
    fn events_leave_in_the_order_in_which_they_came() {
        let (outbox, mut taken) = (Outbox::default(), Vec::new());
        assert!(outbox.is_empty() && !outbox.take(&mut taken));
        let mut pushed = vec![text("a"), text("b")];
        outbox.append(&mut pushed);
        assert!(pushed.is_empty() && !outbox.is_empty());
        outbox.append(&mut vec![text("c")]);
        assert!(outbox.take(&mut taken) && outbox.is_empty());
        assert_eq!(taken, ["a", "b", "c"].map(text));
        assert!(!outbox.take(&mut taken));
    }

    #[test]
    fn there_is_no_way_back_from_output() {
        let outbox = Outbox::default();
        outbox.append(&mut vec![text(""), ChatEvent::Usage(Usage::default())]);
        assert!(!outbox.has_output(), "nothing that a client sees");
        outbox.append(&mut vec![text("a")]);
        assert!(outbox.has_output());
        outbox.forget();
        assert!(outbox.is_empty() && outbox.has_output());
    }

    #[test]
    fn the_end_of_nothing_is_no_output() {
        for (end, is_told) in [
            (FinishReason::Stop, false),
            (FinishReason::ToolCalls, false),
            (FinishReason::Length, true),
            (FinishReason::StopText(0), true),
            (FinishReason::ContentFilter, true),
        ] {
            let (outbox, mut taken) = (Outbox::default(), Vec::new());
            outbox.append(&mut vec![text(""), ChatEvent::Finish(end)]);
            assert_eq!(outbox.has_output(), is_told, "{end:?}");
            outbox.take(&mut taken);
            assert_eq!(taken.contains(&ChatEvent::Finish(end)), is_told, "{end:?}");
        }
        let (outbox, mut taken) = (Outbox::default(), Vec::new());
        outbox.append(&mut vec![text("a")]);
        outbox.append(&mut vec![ChatEvent::Finish(FinishReason::Stop)]);
        outbox.take(&mut taken);
        assert_eq!(taken.len(), 2, "of something it is one");
    }

    #[test]
    fn an_answers_own_id_needs_a_conversation() {
        let outbox = Outbox::default();
        outbox.set_message("early");
        assert_eq!(outbox.thread(), None);
        outbox.set_thread("one");
        outbox.set_message("m");
        let thread = outbox.thread().unwrap();
        assert_eq!(
            (thread.id.as_str(), thread.message.as_deref()),
            ("one", Some("m"))
        );
        outbox.set_thread("two");
        assert_eq!(outbox.thread().unwrap().message, None);
        outbox.forget();
        assert_eq!(outbox.thread(), None);
    }
}
