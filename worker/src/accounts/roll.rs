//! What everybody but its provider needs of a pool, whatever its credentials are: who is there and how each account is doing,
//! and what one worker tells the others of it.

use std::{fmt, time::Duration};

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};

use super::{Company, Fingerprint, Standing};
use crate::chat::{ProviderError, media::Makes};

/// How many accounts are in which condition, for `hive_accounts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Usable now.
    pub ready: usize,
    /// Resting after a failure.
    pub cooling: usize,
    /// Waiting for a new credential.
    pub disabled: usize,
    /// Turns under way.
    pub in_flight: usize,
}

/// What the dispatcher, `/ready` and `/metrics` need of a pool, whatever its credentials are.
pub trait Accounts: fmt::Debug + Send + Sync {
    /// A turn with this account went well.
    fn succeeded(&self, account: usize);
    /// A turn with this account failed.
    fn failed(&self, account: usize, error: &ProviderError);
    /// A turn with this account failed because there is none left of what it was to make; how long so, where that is known.
    /// Whoever does not tell apart what accounts make lets the whole of it rest.
    fn spent(&self, account: usize, _what: Makes, error: &ProviderError) -> Option<Duration> {
        self.failed(account, error);
        self.rest(account)
    }
    /// The first output of a turn with this account was there so long after the lease.
    fn answered_in(&self, _account: usize, _took: Duration) {}
    /// The service takes the account's credential, apart from any turn: one that was disabled is in use again. Of rests it
    /// says nothing.
    fn accepted(&self, _account: usize) {}
    /// How many accounts are in which condition.
    fn census(&self) -> Census;
    /// The same of those that no other worker has (guests): each worker counts its own, while one counts what all share.
    fn census_apart(&self) -> Census {
        Census::default()
    }
    /// Whether any account could be leased now.
    fn is_usable(&self) -> bool {
        self.has_other(&[])
    }
    /// Whether another account than those `tried` could be leased now.
    fn has_other(&self, tried: &[usize]) -> bool;
    /// How long an account still has to rest, if it does.
    fn rest(&self, account: usize) -> Option<Duration>;
    /// Whether any account is configured.
    fn is_configured(&self) -> bool;

    /// Who an account is, whatever its number is elsewhere; `None` for one that nobody could find again (a guest's).
    fn fingerprint(&self, _account: usize) -> Option<Fingerprint> {
        None
    }

    /// The number that the account of this fingerprint has here.
    fn numbered(&self, _fingerprint: &str) -> Option<usize> {
        None
    }

    /// Whether a turn with this account could begin at once, as far as this worker knows.
    fn is_free(&self, _account: usize) -> bool {
        false
    }

    /// The accounts, one by one. What is nobody's account (a guest) is not among them.
    fn listed(&self) -> Vec<Listed> {
        Vec::new()
    }

    /// How accounts are doing, where that has changed since this was last asked: for the other workers.
    fn news(&self) -> Vec<(Fingerprint, Standing)> {
        Vec::new()
    }

    /// What [`Accounts::news`] has said of an account did not reach anybody.
    fn untold(&self, _account: &Fingerprint) {}

    /// How an account is doing, as another worker tells. Nothing for an account that is none of these.
    fn learn(&self, _account: &str, _standing: &Standing) {}

    /// The disabled accounts that are to be tried again within a time.
    fn probed_within(&self, _time: Duration) -> Vec<Fingerprint> {
        Vec::new()
    }

    /// The workers that share these accounts. To be said once; before it is, each worker counts for itself.
    fn join(&self, _provider: &str, _company: &Company) {}

    /// Holds anew what this worker has of the cluster's places. To be called every few seconds.
    fn tend(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Leaves to the other workers what only this one has, as it ends.
    fn leave(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Another worker tries an account again: it is not tried here before this time has passed.
    fn postpone(&self, _account: &Fingerprint, _by: Duration) {}
}

/// What is left of an account's quota, as its service says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// So much.
    pub left: f64,
    /// Of this: `credits`, `points`.
    pub unit: String,
}

/// One account, for whoever owns it. No credential.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number on this worker.
    pub number: usize,
    /// What every worker knows it by.
    pub fingerprint: Fingerprint,
    /// The variable to renew.
    pub variable: String,
    /// `ready`, `cooling`, `disabled`.
    pub state: &'static str,
    /// Turns under way on this worker.
    pub in_flight: usize,
    /// How it is doing.
    pub standing: Standing,
}
