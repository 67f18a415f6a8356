//! An account that a turn has for itself, or shares with a few others.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::Notify;

use super::Entry;
use crate::accounts::Company;

/// An account on loan; returned when dropped.
pub struct Lease<C> {
    pub(super) entry: Arc<Entry<C>>,
    pub(super) returned: Arc<Notify>,
    pub(super) company: Option<Company>,
    pub(super) most_in_flight: usize,
    /// Somebody who waits may have it when it is returned.
    pub(super) is_of_use: bool,
}

impl<C> Lease<C> {
    /// The account's number, as in the names of its variables.
    pub fn number(&self) -> usize {
        self.entry.number
    }
}

impl<C> Deref for Lease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.entry.credential
    }
}

impl<C> Drop for Lease<C> {
    fn drop(&mut self) {
        // Before the notice: whoever wakes must see the place free.
        let before = self.entry.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(company) = &self.company {
            let account = self.entry.fingerprint.as_str();
            let places = &self.entry.places;
            places.left(company, account, before - 1, self.most_in_flight);
        }
        if self.is_of_use {
            self.returned.notify_waiters();
        }
    }
}

impl<C> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("account", &self.entry.number)
            .finish_non_exhaustive()
    }
}
