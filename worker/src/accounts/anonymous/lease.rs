//! A guest on loan.

use std::{fmt, ops::Deref, sync::Arc};

use super::Guests;

/// A guest on loan; returned when dropped.
pub struct GuestLease<C: Send + Sync + 'static> {
    pub(super) guests: Arc<Guests<C>>,
    pub(super) number: usize,
    pub(super) credential: Arc<C>,
}

impl<C: Send + Sync + 'static> GuestLease<C> {
    /// The guest's number, in the order in which they were signed up.
    pub fn number(&self) -> usize {
        self.number
    }

    /// This turn can tell its answer from others': guests may serve several turns at a time. Until somebody says
    /// so, they do not.
    pub fn share(&self) {
        // Somebody may be waiting for exactly this.
        let was_shared = std::mem::replace(&mut self.guests.book().may_share, true);
        if !was_shared {
            self.guests.free_own();
            self.guests.changed.notify_waiters();
        }
    }

    /// This turn cannot tell its answer from others': nobody else may use the guest meanwhile. `false` when
    /// somebody already does.
    #[must_use]
    pub fn claim(&self) -> bool {
        self.guests.book().claim(self.number)
    }
}

impl<C: Send + Sync + 'static> Deref for GuestLease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.credential
    }
}

impl<C: Send + Sync + 'static> Drop for GuestLease<C> {
    fn drop(&mut self) {
        let is_own = self.guests.book().returned(self.number);
        if is_own {
            self.guests.free_own();
        }
        self.guests.changed.notify_waiters();
    }
}

impl<C: Send + Sync + 'static> fmt::Debug for GuestLease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestLease")
            .field("guest", &self.number)
            .finish_non_exhaustive()
    }
}
