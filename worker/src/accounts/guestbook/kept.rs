//! What of the book lies in the store as well: which guests are to be written there or held, and which are left to others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Book;
use crate::accounts::{
    guest::Guest,
    guestroom::Stay,
    health::{Now, Standing},
};

/// How often a guest is held anew.
const HOLD_AGAIN: Duration = Duration::from_secs(10);

/// What has to be done for a guest in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accounts) struct ToDo {
    /// It is to be held for longer.
    pub(in crate::accounts) hold: bool,
    /// The store does not have it as it is.
    pub(in crate::accounts) write: bool,
}

/// A guest for whom something has to be done in the store.
#[derive(Debug)]
pub(in crate::accounts) struct Entry<C> {
    pub(in crate::accounts) number: usize,
    pub(in crate::accounts) credential: Arc<C>,
    /// Milliseconds since the Unix epoch.
    pub(in crate::accounts) ends_ms: u64,
    pub(in crate::accounts) standing: Standing,
    /// `None`: it does not lie there yet.
    pub(in crate::accounts) stay: Option<Stay>,
    pub(in crate::accounts) to_do: ToDo,
    revision: u64,
}

impl<C> Book<C> {
    /// For whom something is to be done. The store lost what it had before `lost`.
    pub(in crate::accounts) fn entries(&self, lost: Option<Instant>, now: Now) -> Vec<Entry<C>> {
        let entry = |guest: &Guest<C>| {
            let is_held = guest.held.is_some_and(|at| at + HOLD_AGAIN > now.instant);
            let to_do = ToDo {
                // Where it was written is not lost alone: the lease went with it.
                hold: !is_held || !guest.is_told(lost),
                write: !guest.is_told(lost),
            };
            (to_do.hold || to_do.write).then(|| Entry {
                number: guest.number,
                credential: Arc::clone(&guest.credential),
                ends_ms: now.told(guest.ends),
                standing: guest.health.standing(now),
                stay: guest.stay.clone(),
                to_do,
                revision: guest.revision,
            })
        };
        // The owner's own is every worker's, and kept as such credentials are.
        let guests = self.guests.iter().filter(|guest| !guest.is_own);
        guests.filter_map(entry).collect()
    }

    /// It was done; whether the guest is still here.
    pub(in crate::accounts) fn entered(&mut self, entry: &Entry<C>, stay: Stay, now: Instant) {
        let guest = self.guests.iter_mut().find(|it| it.number == entry.number);
        let Some(guest) = guest else {
            // The service has refused it meanwhile.
            self.gone.push(stay);
            return;
        };
        guest.stay = Some(stay);
        guest.held = Some(now);
        if entry.to_do.write {
            guest.told = Some((entry.revision, now));
        }
    }

    /// Another worker has the guest by now; turns under way end in peace.
    pub(in crate::accounts) fn lose(&mut self, number: usize) {
        self.take(number);
    }

    /// What has to be struck out in the store.
    pub(in crate::accounts) fn take_gone(&mut self) -> Vec<Stay> {
        std::mem::take(&mut self.gone)
    }

    /// It could not be struck out yet.
    pub(in crate::accounts) fn put_back_gone(&mut self, stay: Stay) {
        self.gone.push(stay);
    }

    /// Idle guests beyond this worker's share, which are others' from now on.
    pub(in crate::accounts) fn take_surplus(&mut self, lost: Option<Instant>) -> Vec<Stay> {
        let beyond = self
            .guests
            .len()
            .saturating_sub(self.share(self.allowance.most));
        self.take_idle(beyond, lost)
    }

    /// All guests, as this worker ends.
    pub(in crate::accounts) fn take_all(&mut self, lost: Option<Instant>) -> Vec<Stay> {
        self.is_open = false;
        // Nobody is answered any more.
        for guest in &mut self.guests {
            guest.in_flight = 0;
        }
        self.take_idle(usize::MAX, lost)
    }

    fn take_idle(&mut self, most: usize, lost: Option<Instant>) -> Vec<Stay> {
        let is_idle = |guest: &&Guest<C>| {
            guest.in_flight == 0 && !guest.is_refreshing && !guest.is_own && guest.is_told(lost)
        };
        let numbers: Vec<_> = self
            .guests
            .iter()
            .filter(is_idle)
            .map(|guest| guest.number)
            .collect();
        let taken = numbers
            .into_iter()
            .take(most)
            .filter_map(|number| self.take(number));
        taken.filter_map(|guest| guest.stay).collect()
    }
}
