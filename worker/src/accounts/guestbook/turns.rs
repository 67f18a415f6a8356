//! What turns have made of the guests that they had, and how those are doing.

use std::time::{Duration, Instant};

use super::{Book, QUOTA_REST};
use crate::{
    accounts::{Census, guest::Guest, health::Condition},
    chat::{Kind, ProviderError},
};

impl<C> Book<C> {
    /// A turn is over; whether it was the last one with the owner's own credential.
    pub(in crate::accounts) fn returned(&mut self, number: usize) -> bool {
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.number == number) else {
            return false;
        };
        guest.in_flight = guest.in_flight.saturating_sub(1);
        // The last one out lets others in.
        guest.is_exclusive &= guest.in_flight > 0;
        guest.is_own && guest.in_flight == 0
    }

    /// Nobody else may use this guest until it is returned; `false` when somebody already does.
    pub(in crate::accounts) fn claim(&mut self, number: usize) -> bool {
        // For the whole book: what one turn cannot tell apart, the next cannot either, until one says that it can
        // ([`super::anonymous::GuestLease::share`]).
        self.may_share = false;
        match self.guests.iter_mut().find(|guest| guest.number == number) {
            Some(guest) => {
                guest.is_exclusive = guest.in_flight == 1;
                guest.is_exclusive
            }
            // It was dropped while this turn had it: nobody else can have it.
            None => true,
        }
    }

    pub(in crate::accounts) fn succeeded(&mut self, number: usize) {
        if let Some(guest) = self.guests.iter_mut().find(|guest| guest.number == number) {
            guest.has_served = true;
            guest.is_doubted = false;
            // Others need not hear of every answer, only of the end of a rest.
            guest.revision += u64::from(guest.health.last_error().is_some());
            guest.health.succeeded();
            self.refused_newcomers = 0;
        }
    }

    /// A turn failed. `jitter` as in [`crate::accounts::health::Health::failed`].
    pub(in crate::accounts) fn failed(
        &mut self,
        number: usize,
        error: &ProviderError,
        now: Instant,
        jitter: f64,
    ) {
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.number == number) else {
            return;
        };
        guest.revision += 1;
        match error.kind {
            // Its access token may have ended before its time: renewed once before it is given up.
            Kind::AuthExpired if guest.is_own && !guest.is_doubted => {
                guest.is_doubted = true;
                guest.issued = now;
                // Stale from now on, so that `due` renews it.
                guest.ends = now;
            }
            Kind::AuthExpired if guest.is_own => {
                guest.health.failed(error, now, self.patience, jitter);
            }
            Kind::AuthExpired => {
                // Newcomers that are refused one after the other say that all will be: signing up more of them
                // at once would only burn the budget.
                let is_newcomer = !guest.has_served;
                self.remove(number);
                // The first one may have been bad luck.
                self.refused_newcomers += u32::from(is_newcomer);
                if is_newcomer && self.refused_newcomers > 1 {
                    self.back_off(error.clone(), now);
                }
            }
            Kind::QuotaSpent => {
                let rest = error.retry_after.unwrap_or(QUOTA_REST);
                let error = error.clone().with_retry_after(Some(rest));
                guest.health.failed(&error, now, self.patience, jitter);
            }
            _ => guest.health.failed(error, now, self.patience, jitter),
        }
    }

    /// How long a guest still has to rest.
    pub(in crate::accounts) fn rest(&self, number: usize, now: Instant) -> Option<Duration> {
        let guest = self.guests.iter().find(|guest| guest.number == number)?;
        match guest.health.condition(now) {
            Condition::Cooling(left) => Some(left),
            Condition::Ready | Condition::Resting | Condition::Disabled => None,
        }
    }

    /// How some of the guests are doing.
    pub(in crate::accounts) fn census(
        &self,
        now: Instant,
        counts: impl Fn(&Guest<C>) -> bool,
    ) -> Census {
        let mut census = Census::default();
        for guest in self.guests.iter().filter(|guest| counts(guest)) {
            if guest.is_usable(now) {
                census.ready += 1;
            } else {
                census.cooling += 1;
            }
            census.in_flight += guest.in_flight;
        }
        census
    }

    /// Whether this is the owner's own, and answers cannot be told apart, so that one turn of all workers' may have it.
    pub(in crate::accounts) fn is_own_alone(&self, number: usize) -> bool {
        let is_it = |guest: &Guest<C>| guest.number == number && guest.is_own;
        !self.may_share && self.guests.iter().any(is_it)
    }

    /// How many turns have the owner's own to themselves: one or none.
    pub(in crate::accounts) fn own_alone(&self) -> usize {
        let is_it = |guest: &&Guest<C>| guest.is_own && guest.in_flight > 0 && !self.may_share;
        self.guests.iter().filter(is_it).count()
    }

    /// Whether a turn that has failed with `tried` guests may try another one. Once (section 7, "rotate").
    pub(in crate::accounts) fn has_other(&self, tried: &[usize], now: Instant) -> bool {
        // The owner's own credential is another one once it is renewed.
        let is_other = |guest: &Guest<C>| {
            (!tried.contains(&guest.number) || guest.is_doubted) && guest.is_usable(now)
        };
        let is_any = self.guests.iter().any(is_other) || self.signing_up > 0;
        // Twice at most, whatever is left: what two guests were refused for is not the guests' affair.
        self.is_open && tried.len() < 2 && (is_any || self.may_sign_up(now) || self.may_look(now))
    }
}
