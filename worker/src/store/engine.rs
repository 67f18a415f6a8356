//! What a kind of store can do: few operations, each of them one decision that is made in one place, so that two workers
//! never both believe that they were first. All kinds behave alike; `contract.rs` says so for each.
//!
//! Time is handed in, in milliseconds since the Unix epoch: a store asks no clock. Workers of one cluster are taken to agree
//! on it within a second or so, as machines do that ask a time server; what must not depend on that carries a [`Fence`].

use std::future::Future;

use super::usage::{Usage, UsageBatch, UsageKey, UsageLine};

/// Milliseconds of an hour.
pub const MS_AN_HOUR: u64 = 3_600_000;
/// Milliseconds of a minute.
pub(super) const MS_A_MINUTE: u64 = 60_000;

/// What kind of thing an entry is. Each has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Keys of callers and what they may do, by digest.
    Keys,
    /// Credentials that a service has rotated or a person has pasted, sealed, by fingerprint.
    Credentials,
    /// What is known of accounts: rests, disabling, results of checks, by fingerprint.
    Accounts,
    /// Upstream conversations, by whose they are.
    Conversations,
    /// Where in which of them what was said stands, by a hash of it.
    Points,
    /// Answers of the Responses door, by id.
    Responses,
    /// Answers that may be given again, by what was asked.
    Answers,
    /// Workers that live, by name.
    Workers,
    /// The videos of each caller, by caller and the time at which they were asked for, the newest first.
    Videos,
}

impl Space {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Keys,
        Self::Credentials,
        Self::Accounts,
        Self::Conversations,
        Self::Points,
        Self::Responses,
        Self::Answers,
        Self::Workers,
        Self::Videos,
    ];

    /// Its name in a store. Never changed: what is stored is found by it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Credentials => "credentials",
            Self::Accounts => "accounts",
            Self::Conversations => "conversations",
            Self::Points => "points",
            Self::Responses => "responses",
            Self::Answers => "answers",
            Self::Workers => "workers",
            Self::Videos => "videos",
        }
    }

    /// Whether its entries can be listed ([`Engine::list`]). The others are many, and found by their key alone.
    pub fn is_listed(self) -> bool {
        // An allowlist of the few: a new space is found by its key alone until somebody needs more.
        matches!(
            self,
            Self::Keys | Self::Credentials | Self::Accounts | Self::Workers | Self::Videos
        )
    }

    /// Whether what has ended stays until somebody takes it away ([`Engine::ended`]): an upstream conversation must be
    /// deleted there as well. All else vanishes.
    pub fn is_collected(self) -> bool {
        self == Self::Conversations
    }
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Vec<u8>,
    /// Rises with every change of any entry of the store; never 0.
    pub version: u64,
}

/// What must hold for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Anything,
    /// Nobody has put anything there (or it has ended).
    Absent,
    /// It is as it was when this version was read.
    Version(u64),
}

/// The right to do something alone, for a while. Its number rises with every grant, and a change that is made under an older
/// number is void: a worker that slept through its lease cannot undo what its successor did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// What for.
    pub name: String,
    /// Its number, from 1.
    pub number: u64,
}

/// A change of one entry.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where.
    pub space: Space,
    /// Under which key there.
    pub key: String,
    /// What.
    pub value: Vec<u8>,
    /// When it ends; `None`: never.
    pub ends_ms: Option<u64>,
    /// Only if.
    pub expect: Expect,
    /// Only while this is the newest grant of its name.
    pub under: Option<Fence>,
}

/// So much of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The counter. A window's number is part of its name, so that none is ever set back.
    pub counter: String,
    /// When nobody asks for it any more.
    pub ends_ms: u64,
    /// What is added.
    pub amount: u64,
    /// The claim fails where the counter would be above this; one of nothing fails where it is there already.
    pub most: u64,
}

/// What came of claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// All were granted; the counters' values now, in the order of the claims.
    Granted(Vec<u64>),
    /// None was: this one (its place in the list) has only so much left.
    Full {
        /// Its place among the claims.
        at: usize,
        /// What it stands at.
        used: u64,
    },
}

/// What was found out later about claims that were granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The counter.
    pub counter: String,
    /// When nobody asks for it any more.
    pub ends_ms: u64,
    /// What is added to it; it does not fall below 0.
    pub change: i64,
}

/// What is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Sums of hours before this one.
    pub sums_before: u64,
    /// Lines of requests that ended before.
    pub lines_before_ms: u64,
}

/// Why an operation failed. Never holds a value, a key or an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It could not be reached or asked.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// What it holds was written by a newer hive2api.
    #[error(
        "the store was written by a newer version of hive2api (its schema is {found}, this version knows {known}): use that version, or another STORE_URL"
    )]
    Newer {
        /// What stands in the store.
        found: i64,
        /// What this version writes.
        known: i64,
    },
    /// It is in a place where it cannot work.
    #[error("{0}")]
    Unfit(String),
}

/// One kind of store. Used by one thread at a time: its futures need not be `Send`, as an engine never leaves the keeper's
/// thread.
///
/// Each method fails with [`StoreError::Unavailable`] alone.
pub trait Engine {
    /// What stands under a key and has not ended.
    fn get(
        &self,
        space: Space,
        key: &str,
        now_ms: u64,
    ) -> impl Future<Output = Result<Option<Entry>, StoreError>>;

    /// Changes an entry; its new version, or `None` where what was expected does not hold.
    fn put(&self, put: &Put, now_ms: u64) -> impl Future<Output = Result<Option<u64>, StoreError>>;

    /// Takes an entry away; whether it was there as expected.
    fn remove(
        &self,
        space: Space,
        key: &str,
        expect: Expect,
        now_ms: u64,
    ) -> impl Future<Output = Result<bool, StoreError>>;

    /// Entries of a listed space that have not ended, in the order of their keys, from the first one behind `after`.
    fn list(
        &self,
        space: Space,
        after: &str,
        most: usize,
        now_ms: u64,
    ) -> impl Future<Output = Result<Vec<(String, Entry)>, StoreError>>;

    /// Entries of a collected space that have ended, the oldest first.
    fn ended(
        &self,
        space: Space,
        most: usize,
        now_ms: u64,
    ) -> impl Future<Output = Result<Vec<(String, Entry)>, StoreError>>;

    /// Makes all claims or none. The same `id` again is answered as granted, and adds nothing.
    fn claim(
        &self,
        id: &str,
        claims: &[Claim],
        now_ms: u64,
    ) -> impl Future<Output = Result<Claimed, StoreError>>;

    /// Settles what was claimed; the same `id` again changes nothing.
    fn settle(
        &self,
        id: &str,
        settlements: &[Settlement],
        now_ms: u64,
    ) -> impl Future<Output = Result<(), StoreError>>;

    /// Takes one of `most` places, or keeps the one that `holder` has, until `ends_ms`. `None`: all are taken.
    fn hold(
        &self,
        name: &str,
        holder: &str,
        most: u64,
        ends_ms: u64,
        now_ms: u64,
    ) -> impl Future<Output = Result<Option<Fence>, StoreError>>;

    /// Gives a place back.
    fn release(&self, name: &str, holder: &str) -> impl Future<Output = Result<(), StoreError>>;

    /// Adds usage to the sums.
    fn add_usage(
        &self,
        batch: &UsageBatch,
        now_ms: u64,
    ) -> impl Future<Output = Result<(), StoreError>>;

    /// The sums of some hours, `from` the first and `to` the one behind the last.
    fn usage(
        &self,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<Vec<(UsageKey, Usage)>, StoreError>>;

    /// The requests that ended in `from_ms..to_ms`, the oldest first.
    fn lines(
        &self,
        from_ms: u64,
        to_ms: u64,
        most: usize,
    ) -> impl Future<Output = Result<Vec<UsageLine>, StoreError>>;

    /// Takes away some of what has ended and of what is to be forgotten; whether there is more. Done in small steps, as
    /// nobody else gets a word in meanwhile.
    fn sweep(&self, sweep: Sweep, now_ms: u64) -> impl Future<Output = Result<bool, StoreError>>;
}
