//! The book of an anonymous pool: which guests there are, who is lent, what has to be signed up or renewed. Pure:
//! time is handed in, calls are made by [`super::anonymous`]. Source: wire/langfast.md section 2, pool rules.
//!
//! ```text
//!              sign-up            less than 2 min left            refreshed
//!   (nobody) ───────────► fresh ──────────────────────► stale ───────────────► fresh
//!                           │                             │ refused
//!                           │ refused ──► (dropped) ◄─────┘
//!                           │ quota spent or rate limited ──► resting ──► fresh or stale
//! ```
//!
//! Where there is a store, guests lie in it as well ([`super::guestroom`]), and a guest that no worker holds is taken in before
//! anybody is signed up.

mod kept;
mod turns;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

pub(super) use self::kept::{Entry, ToDo};
use super::{
    guest::{self, Guest, Issued},
    guestroom::Stay,
    health::{Condition, Now, Patience},
};
use crate::chat::{Kind, ProviderError};

/// How long a guest whose quota is spent rests, where the provider names no time.
const QUOTA_REST: Duration = Duration::from_secs(3600);
/// First and longest rest after a failed sign-up.
const FIRST_BACK_OFF: Duration = Duration::from_secs(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// Sign-ups at a time: a crowd at the door must not spend the hour's budget on one refusal.
const MOST_SIGNING_UP: usize = 3;
/// How often the store is looked through for a guest while nobody can be signed up.
const LOOK: Duration = Duration::from_secs(1);
/// What the sign-up budget is counted over.
const BUDGET_WINDOW: Duration = Duration::from_secs(3600);

/// How many guests a pool may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Kept ready while there is traffic, by all workers together.
    pub least: usize,
    /// Never more of all workers together, resting ones included; but one for each.
    pub most: usize,
    /// Sign-ups in any hour, failed ones included; none at all where only the owner's own credential is wanted.
    pub sign_ups_per_hour: usize,
}

/// A call that is due.
#[derive(Debug)]
pub(super) enum Due<C> {
    /// One of the store's, or a new one.
    SignUp,
    /// One of the store's, as nobody can be signed up now.
    Look,
    Refresh(usize, Arc<C>),
}

/// Whom a turn wants its guest for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Company {
    /// Itself.
    Alone,
    /// Itself, or others as well where answers can be told apart.
    Shared,
}

/// What a look for a guest found.
#[derive(Debug)]
pub(super) enum Found<C> {
    Guest(usize, Arc<C>),
    /// None now, but one will come back or is on its way.
    Soon,
    /// None, and why.
    None(ProviderError),
}

#[derive(Debug)]
pub(super) struct Book<C> {
    allowance: Allowance,
    patience: Patience,
    /// Whether guests may be had at all.
    pub(super) is_open: bool,
    /// Whether answers can be told apart, so that one guest may serve several turns at a time.
    pub(super) may_share: bool,
    /// How many turns wait for a guest.
    pub(super) waiting: usize,
    /// `guests.len() + signing_up <= allowance.most`, unless the allowance has shrunk or the
    /// owner's own has come since.
    guests: Vec<Guest<C>>,
    /// Numbers are not used twice: a turn that ends late must not meet a stranger under its guest's number.
    last_number: usize,
    /// Whoever comes behind it is lent next, so that all are lent in turn.
    last_lent: usize,
    /// Newcomers that were refused in a row.
    refused_newcomers: u32,
    /// Calls under way. Each ends with `signed_up` or `sign_up_lost`.
    signing_up: usize,
    /// When the sign-ups of the last [`BUDGET_WINDOW`] began, the oldest first.
    sign_ups: VecDeque<Instant>,
    /// Sign-ups that failed in a row.
    failures: u32,
    /// No sign-up before this time, and why.
    back_off: Option<(Instant, ProviderError)>,
    /// How many workers share the allowance.
    pub(super) workers: usize,
    /// Whether there is a store that may have guests.
    pub(super) has_room: bool,
    /// When the store was last looked through in vain.
    looked: Option<Instant>,
    /// What guests that the service does not know any more have left in the store.
    gone: Vec<Stay>,
}

impl<C> Book<C> {
    pub(super) fn new(allowance: Allowance, patience: Patience) -> Self {
        Self {
            allowance,
            patience,
            is_open: false,
            may_share: false,
            waiting: 0,
            guests: Vec::new(),
            last_number: 0,
            last_lent: 0,
            refused_newcomers: 0,
            signing_up: 0,
            sign_ups: VecDeque::new(),
            failures: 0,
            back_off: None,
            workers: 1,
            has_room: false,
            looked: None,
            gone: Vec::new(),
        }
    }

    /// Lends the next guest: an idle one before a busy one, in turn, none of `tried` if there is another.
    pub(super) fn find(&mut self, tried: &[usize], company: Company, now: Instant) -> Found<C> {
        if !self.is_open {
            return Found::None(ProviderError::new(
                Kind::NotConfigured,
                "no guests can be had",
            ));
        }
        // Even if all may be shared, whoever has just come is given one alone first.
        let may_share = self.may_share && company == Company::Shared;
        let last = self.last_lent;
        let usable = self.guests.iter_mut().filter(|guest| {
            let is_free = guest.in_flight == 0 || (may_share && !guest.is_exclusive);
            is_free && guest.is_fresh(now) && guest.is_usable(now)
        });
        let next = usable.min_by_key(|guest| {
            // Behind the last one in the circle comes before those in front of it.
            let is_next = guest.number <= last;
            (
                tried.contains(&guest.number),
                !guest.is_own,
                guest.in_flight,
                is_next,
                guest.number,
            )
        });
        if let Some(guest) = next {
            guest.in_flight += 1;
            guest.health.taken(now, self.patience);
            self.last_lent = guest.number;
            return Found::Guest(guest.number, Arc::clone(&guest.credential));
        }
        let is_coming = |guest: &Guest<C>| {
            // A busy guest will be returned, one being renewed may come back fresh: both are worth waiting for.
            guest.is_refreshing
                || (guest.in_flight > 0 && guest.is_fresh(now) && guest.is_usable(now))
        };
        let is_hope = self.signing_up > 0
            || self.may_sign_up(now)
            || self.may_look(now)
            || self
                .guests
                .iter()
                .any(|guest| is_coming(guest) || guest.is_due(now));
        if is_hope {
            Found::Soon
        } else {
            Found::None(self.why_none(now))
        }
    }

    /// What has to be called now. Counts as under way from here on.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Due<C>> {
        let mut due = Vec::new();
        if !self.is_open {
            return due;
        }
        for guest in self.guests.iter_mut().filter(|guest| guest.is_due(now)) {
            // Marked here, under the lock: two turns that look at once must not both renew a token that is good once.
            guest.is_refreshing = true;
            due.push(Due::Refresh(guest.number, Arc::clone(&guest.credential)));
        }
        // Whoever waits gets a guest of his own; beyond that they are signed up one after the other.
        let is_coming = |guest: &&Guest<C>| guest.is_refreshing || guest.is_idle(now);
        let coming = self.signing_up + self.guests.iter().filter(is_coming).count();
        let mut wanted = self.waiting.saturating_sub(coming);
        // One at a time where nobody waits: the pool fills while there is traffic, not in a burst.
        if wanted == 0 && self.signing_up == 0 {
            wanted = usize::from(self.is_short(now));
        }
        while wanted > 0 && self.signing_up < MOST_SIGNING_UP {
            if self.may_sign_up(now) {
                self.sign_ups.push_back(now);
                due.push(Due::SignUp);
            } else if self.may_look(now) {
                self.looked = Some(now);
                due.push(Due::Look);
            } else {
                break;
            }
            wanted -= 1;
            self.signing_up += 1;
        }
        due
    }

    /// Fewer guests than wanted. Those that cool down count: others would not fare better.
    fn is_short(&self, now: Instant) -> bool {
        let spent = self.guests.iter().filter(|guest| guest.is_spent(now));
        // Cannot fall below nothing: the spent ones are some of them.
        self.guests.len() - spent.count() < self.share(self.allowance.least)
    }

    /// This worker's part of what all of them may have, rounded up: each may have one.
    fn share(&self, of_all: usize) -> usize {
        of_all.div_ceil(self.workers.max(1))
    }

    /// Room for one more.
    fn has_place(&self) -> bool {
        self.guests.len() + self.signing_up < self.share(self.allowance.most)
    }

    /// Whether one that lies in the store may be taken in: that takes nothing of the budget, and asks nothing of the service.
    fn may_look(&self, now: Instant) -> bool {
        self.is_open
            && self.has_room
            && self.allowance.sign_ups_per_hour > 0
            && self.has_place()
            && self.looked.is_none_or(|looked| looked + LOOK <= now)
            && !self.guests.iter().any(|guest| guest.is_slowed(now))
    }

    /// Room, budget, no failure a moment ago, and no guest that the service has asked to slow down: another guest
    /// would only be a way around that.
    fn may_sign_up(&self, now: Instant) -> bool {
        self.is_open
            && self.has_place()
            && self.begun(now) < self.allowance.sign_ups_per_hour
            && self
                .back_off
                .as_ref()
                .is_none_or(|(until, _)| *until <= now)
            && !self.guests.iter().any(|guest| guest.is_slowed(now))
    }

    /// Sign-ups of this worker in the last hour, those under way included.
    pub(super) fn begun(&self, now: Instant) -> usize {
        let in_window = self.sign_ups.iter();
        in_window.filter(|&&at| at + BUDGET_WINDOW > now).count()
    }

    /// See [`Allowance::sign_ups_per_hour`].
    pub(super) fn sign_ups_per_hour(&self) -> usize {
        self.allowance.sign_ups_per_hour
    }

    /// Why nobody can be had, and until when.
    fn why_none(&self, now: Instant) -> ProviderError {
        let resting = self.guests.iter().filter_map(|guest| {
            let Condition::Cooling(left) = guest.health.condition(now) else {
                return None;
            };
            Some((left, guest.health.last_error()?.clone()))
        });
        // The one that ends first: its time is the soonest that anything can change.
        if let Some((left, error)) = resting.min_by_key(|(left, _)| *left) {
            return error.with_retry_after(Some(left));
        }
        let refused = self.guests.iter().filter(|guest| !guest.is_usable(now));
        if let Some(error) = refused.filter_map(|guest| guest.health.last_error()).next() {
            return error.clone();
        }
        if let Some((until, error)) = self.back_off.as_ref().filter(|(until, _)| *until > now) {
            let left = *until - now;
            return error
                .clone()
                .with_retry_after(Some(left.max(error.retry_after.unwrap_or_default())));
        }
        // Behind all other reasons: the budget is the only one left.
        let ends = self.sign_ups.iter().map(|&at| at + BUDGET_WINDOW);
        let in_window: Vec<Instant> = ends.filter(|end| *end > now).collect();
        if in_window.len() < self.allowance.sign_ups_per_hour
            || self.allowance.sign_ups_per_hour == 0
        {
            return ProviderError::new(Kind::Unavailable, "no guest's credential could be renewed");
        }
        ProviderError::new(
            Kind::RateLimited,
            "as many guests as may be had in an hour have been signed up",
        )
        .with_retry_after(in_window.iter().min().map(|end| *end - now))
    }

    /// Puts the owner's own credential into the book, or another one, or none, in its place.
    pub(super) fn admit(&mut self, own: Option<Issued<C>>, now: Instant) {
        // The old one's turns end in peace: they hold its credential, and `returned` finds nobody.
        self.guests.retain(|guest| !guest.is_own);
        if let Some(issued) = own {
            self.last_number += 1;
            self.guests.push(Guest {
                is_own: true,
                ..Guest::new(self.last_number, issued, now)
            });
        }
    }

    /// Another limit.
    pub(super) fn allow(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    /// A sign-up has come back.
    pub(super) fn signed_up(&mut self, issued: Result<Issued<C>, ProviderError>, now: Instant) {
        // Saturating: `sign_up_lost` and this are each other's other end.
        self.signing_up = self.signing_up.saturating_sub(1);
        self.sign_ups.retain(|&at| at + BUDGET_WINDOW > now);
        match issued {
            Ok(issued) => {
                self.failures = 0;
                self.back_off = None;
                self.last_number += 1;
                // May exceed `most` by those that were under way when the allowance shrank: see the field.
                self.guests.push(Guest::new(self.last_number, issued, now));
            }
            Err(error) => self.back_off(error, now),
        }
    }

    /// 5 s, doubling, at most 5 min; or as long as the service says. Failures of the same moment count once.
    fn back_off(&mut self, error: ProviderError, now: Instant) {
        if self
            .back_off
            .as_ref()
            .is_some_and(|(until, _)| *until > now)
        {
            return;
        }
        let rest = back_off(self.failures).max(error.retry_after.unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        self.back_off = Some((now + rest, error));
    }

    /// A sign-up whose outcome nobody will hear, or a look in vain.
    pub(super) fn sign_up_lost(&mut self) {
        self.signing_up = self.signing_up.saturating_sub(1);
    }

    /// In the place of a sign-up one was found in the store; whether it was to be a sign-up, which is not counted then.
    pub(super) fn taken_in(&mut self, found: guest::Found<C>, was_sign_up: bool, now: Now) {
        self.signing_up = self.signing_up.saturating_sub(1);
        if was_sign_up {
            self.sign_ups.pop_back();
        }
        // There may be more.
        self.looked = None;
        self.last_number += 1;
        let guest = Guest::taken_in(self.last_number, found, now);
        self.guests.push(guest);
    }

    /// A refresh has come back; `None`: nobody will hear its outcome.
    pub(super) fn refreshed(
        &mut self,
        number: usize,
        issued: Option<Result<Issued<C>, ProviderError>>,
        now: Instant,
    ) {
        // Dropped meanwhile, by a refusal in a turn.
        let Some(guest) = self.guests.iter_mut().find(|guest| guest.number == number) else {
            return;
        };
        guest.is_refreshing = false;
        match issued {
            Some(Ok(issued)) => guest.renew(issued, now),
            Some(Err(error)) if error.kind == Kind::AuthExpired && guest.is_own => {
                guest.health.failed(&error, now, self.patience, 0.0);
            }
            // A refresh token is good once (section 2): a refused one stays refused.
            Some(Err(error)) if error.kind == Kind::AuthExpired => self.remove(number),
            Some(Err(_)) | None => {
                guest.next_refresh = Some(now + back_off(guest.refresh_failures));
                guest.refresh_failures = guest.refresh_failures.saturating_add(1);
            }
        }
    }

    /// The service does not know it any more.
    fn remove(&mut self, number: usize) {
        let removed = self.take(number);
        self.gone.extend(removed.and_then(|guest| guest.stay));
    }

    fn take(&mut self, number: usize) -> Option<Guest<C>> {
        let at = self
            .guests
            .iter()
            .position(|guest| guest.number == number)?;
        Some(self.guests.remove(at))
    }

    /// Opens or closes the book. A new key is a new chance, whatever was refused before.
    pub(super) fn open(&mut self, is_open: bool) {
        self.is_open = is_open;
        self.failures = 0;
        self.back_off = None;
    }
}

fn back_off(failures: u32) -> Duration {
    FIRST_BACK_OFF
        // A shift by more than the width would be none; the bound below is reached long before.
        .saturating_mul(1 << failures.min(10))
        .min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests;
