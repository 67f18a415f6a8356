//! Which account an attempt asks.

use std::sync::Arc;

use super::Turn;
use crate::{
    accounts::{
        Choice, Known, Lease, Pool,
        anonymous::{GuestLease, Guests, Issuer},
    },
    chat::{Kind, ProviderError},
};

impl Turn {
    /// Leases an account that has not failed this answer yet.
    ///
    /// # Errors
    /// Why none can be had ([`Pool::lease`]).
    pub async fn lease<C: PartialEq + Known>(
        &mut self,
        pool: &Pool<C>,
        choice: Choice,
    ) -> Result<Lease<C>, ProviderError> {
        // Set before anything can fail: an error without an account must not be laid to another one's charge.
        self.is_pinned = matches!(choice, Choice::Only(_) | Choice::Beside(_));
        // The second question continues what the first one's account knows; wherever it was leased to, it stays.
        let choice = match self.again_on {
            Some(number) if self.is_errand => Choice::Beside(number),
            Some(number) => Choice::Only(number),
            None => choice,
        };
        self.is_beside = matches!(choice, Choice::Beside(_));
        let what = self.model.makes;
        let lease = pool.lease_to(what, choice, &self.tried).await?;
        // Known to the outbox at once: a time-out drops this future, and its error is to name the account.
        self.account = Some(lease.number());
        self.outbox.set_account(lease.number());
        Ok(lease)
    }

    /// Leases the account that has a job, for a look at it ([`Choice::Beside`]): `account` is a
    /// [`crate::chat::media::Ticket`]'s.
    ///
    /// # Errors
    /// 503 where none of this worker's accounts is it, 502 where its credential was refused; no other account is tried.
    pub async fn lease_known<C: Known + PartialEq>(
        &mut self,
        pool: &Pool<C>,
        account: &str,
    ) -> Result<Lease<C>, ProviderError> {
        // The number in the pool is this worker's own and changes when credentials are renewed, so the ticket has the
        // fingerprint.
        let is_it = |known: &C| (known.fingerprint().as_str() == account).then_some(());
        let Some((number, ())) = pool.read(is_it).into_iter().next() else {
            // Without an account no retry looks for another one; the dispatcher is told so in any case.
            self.is_pinned = true;
            return Err(ProviderError::new(
                Kind::AccountNotConfigured,
                "the account that this was made with is not configured (any more)",
            ));
        };
        self.lease(pool, Choice::Beside(number)).await
    }

    /// As [`Turn::lease`], from a pool of guests.
    ///
    /// # Errors
    /// Why none can be had ([`Guests::lease`]).
    pub async fn lease_guest<C: Send + Sync + 'static>(
        &mut self,
        guests: &Arc<Guests<C>>,
        issuer: &impl Issuer<C>,
    ) -> Result<GuestLease<C>, ProviderError> {
        let lease = guests.lease(issuer, &self.tried).await?;
        self.account = Some(lease.number());
        self.outbox.set_account(lease.number());
        Ok(lease)
    }

    /// What goes wrong from here on is not the leased account's fault, and no other account would fare better.
    pub fn absolve(&mut self) {
        self.account = None;
    }
}
