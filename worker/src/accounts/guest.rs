//! One guest of an anonymous pool: a credential that ends, and how it is doing. Pure: time is handed in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    guestroom::Stay,
    health::{Health, Now, Standing},
};
use crate::chat::Kind;

/// A credential that ends sooner is renewed before it is used.
const LEEWAY: Duration = Duration::from_secs(120);
/// What was issued a moment ago is used whatever its lifetime is: renewing it again would bring the same.
const JUST_ISSUED: Duration = Duration::from_secs(2);

/// A credential as it was issued.
#[derive(Debug)]
pub struct Issued<C> {
    /// The credential.
    pub credential: C,
    /// How long it is good from now on.
    pub lifetime: Duration,
}

/// A guest that was found in the store.
#[derive(Debug)]
pub(super) struct Found<C> {
    pub(super) issued: Issued<C>,
    pub(super) standing: Standing,
    pub(super) stay: Stay,
}

/// One guest of a [`super::guestbook::Book`].
#[derive(Debug)]
pub(super) struct Guest<C> {
    pub(super) number: usize,
    pub(super) credential: Arc<C>,
    pub(super) issued: Instant,
    pub(super) ends: Instant,
    pub(super) health: Health,
    pub(super) in_flight: usize,
    /// The turn that uses it cannot tell its answer from another's.
    pub(super) is_exclusive: bool,
    pub(super) is_refreshing: bool,
    pub(super) refresh_failures: u32,
    pub(super) next_refresh: Option<Instant>,
    pub(super) has_served: bool,
    /// The owner's own credential, which nothing replaces: lent first, renewed after a refusal, never dropped.
    pub(super) is_own: bool,
    /// It was refused, and has not served since.
    pub(super) is_doubted: bool,
    /// Where it lies in the store, if it does.
    pub(super) stay: Option<Stay>,
    /// Rises whenever something of it changes that others should know.
    pub(super) revision: u64,
    /// The revision that lies in the store, and when it was put there.
    pub(super) told: Option<(u64, Instant)>,
    /// When it was last held there.
    pub(super) held: Option<Instant>,
}

impl<C> Guest<C> {
    /// A newcomer.
    pub(super) fn new(number: usize, issued: Issued<C>, now: Instant) -> Self {
        Self {
            number,
            credential: Arc::new(issued.credential),
            issued: now,
            ends: now + issued.lifetime,
            health: Health::default(),
            in_flight: 0,
            is_exclusive: false,
            is_refreshing: false,
            refresh_failures: 0,
            next_refresh: None,
            has_served: false,
            is_own: false,
            is_doubted: false,
            stay: None,
            revision: 0,
            told: None,
            held: None,
        }
    }

    /// One that lay in the store.
    pub(super) fn taken_in(number: usize, found: Found<C>, now: Now) -> Self {
        let mut guest = Self::new(number, found.issued, now.instant);
        guest.health.learn(&found.standing, now);
        // It is no newcomer, whoever has had it.
        guest.has_served = true;
        guest.stay = Some(found.stay);
        guest.told = Some((guest.revision, now.instant));
        guest.held = Some(now.instant);
        guest
    }

    /// Its credential was renewed.
    pub(super) fn renew(&mut self, issued: Issued<C>, now: Instant) {
        self.credential = Arc::new(issued.credential);
        self.issued = now;
        self.ends = now + issued.lifetime;
        self.refresh_failures = 0;
        self.next_refresh = None;
        self.revision += 1;
    }

    /// Whether the store has it as it is, and had it after `lost`, when it may have lost what it had.
    pub(super) fn is_told(&self, lost: Option<Instant>) -> bool {
        self.told.is_some_and(|(revision, at)| {
            revision == self.revision && lost.is_none_or(|lost| lost < at)
        })
    }

    /// Whether the credential may be used as it is.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        // The second half breaks a loop: where a service issues tokens of less than [`LEEWAY`], each would be stale as
        // soon as it comes.
        self.ends > now + LEEWAY || (self.ends > now && self.issued + JUST_ISSUED > now)
    }

    /// Whether the service would see it now: it neither cools down nor is disabled.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        self.health.condition(now).is_usable()
    }

    /// Whether it cools down because its quota is spent, and not because the service asked everybody to slow down.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        // By the last error and not by a flag: `Health` forgets it with the first success.
        let last = self.health.last_error();
        !self.is_usable(now) && last.is_some_and(|error| error.kind == Kind::QuotaSpent)
    }

    /// Whether it cools down because the service asked everybody to slow down.
    pub(super) fn is_slowed(&self, now: Instant) -> bool {
        let is_refused = matches!(
            self.health.last_error(),
            Some(error) if error.kind == Kind::AuthExpired
        );
        !self.is_usable(now) && !self.is_spent(now) && !is_refused
    }

    /// Whether it can be lent to somebody alone.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.in_flight == 0 && self.is_fresh(now) && self.is_usable(now)
    }

    /// Whether it is time to renew its credential.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.is_refreshing
            && !self.is_fresh(now)
            && self.is_usable(now)
            && self.next_refresh.is_none_or(|next| next <= now)
    }
}
