//! What a kind of store can do: few operations, each of them one decision that is made in one place, so that two workers
//! never both believe that they were first. All kinds behave alike; `contract.rs` says so for each.
//!
//! Time is handed in, in milliseconds since the Unix epoch: a store asks no clock. Workers of one cluster are taken to agree
//! on it within a second or so, as machines do that ask a time server; what must not depend on that carries a [`Fence`].

use crate::impossible::OrImpossible as _;
use std::{borrow::Cow, future::Future, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds of an hour.
pub const MS_AN_HOUR: u64 = 3_600_000;
/// Milliseconds of a minute.
pub(super) const MS_A_MINUTE: u64 = 60_000;
/// Most lines that a store keeps as one text.
const PACKED: usize = 100;

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

/// What one key used of one model in one hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// Hours since the Unix epoch.
    pub hour: u64,
    /// The caller's key, by name.
    pub key: String,
    /// The provider; empty for a request that reached none.
    pub provider: String,
    /// The model as listed; empty for one that is not.
    pub model: String,
    /// What became of the requests: `ok` or a kind of error.
    pub outcome: String,
}

/// Sums of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many.
    pub requests: u64,
    /// Tokens of conversations that were sent.
    pub prompt_tokens: u64,
    /// Tokens of answers, thinking included.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub reasoning_tokens: u64,
    /// Milliseconds to the first output, together.
    pub first_ms: u64,
    /// How many requests had output.
    pub with_output: u64,
}

impl Usage {
    /// Its members in the order in which stores keep them.
    pub fn members(self) -> [u64; 6] {
        [
            self.requests,
            self.prompt_tokens,
            self.completion_tokens,
            self.reasoning_tokens,
            self.first_ms,
            self.with_output,
        ]
    }

    /// What [`Usage::members`] has taken apart.
    pub fn of_members(members: [u64; 6]) -> Self {
        let [
            requests,
            prompt_tokens,
            completion_tokens,
            reasoning_tokens,
            first_ms,
            with_output,
        ] = members;
        Self {
            requests,
            prompt_tokens,
            completion_tokens,
            reasoning_tokens,
            first_ms,
            with_output,
        }
    }

    /// Adds another sum.
    pub fn add(&mut self, other: Self) {
        let mut members = self.members();
        for (member, more) in members.iter_mut().zip(other.members()) {
            // A sum that has reached the end of its type stays there: a wrapped one would be a small, false number.
            *member = member.saturating_add(more);
        }
        *self = Self::of_members(members);
    }
}

/// One request, for those who want to look closely. No content, ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageLine {
    /// The request's id.
    pub request: String,
    /// When it ended, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The caller's key, by name.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub key: Arc<str>,
    /// The provider; empty for a request that reached none.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub provider: Arc<str>,
    /// The model as listed; empty for one that is not.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub model: Arc<str>,
    /// What became of it: `ok` or a kind of error.
    pub outcome: Cow<'static, str>,
    /// Tokens of the conversation that was sent.
    pub prompt_tokens: u64,
    /// Tokens of the answer, thinking included.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub reasoning_tokens: u64,
    /// Milliseconds to the first output.
    pub first_ms: Option<u64>,
}

fn as_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

impl UsageLine {
    /// As it is kept: its members in their order, which are read as the same by the derived reader. Their names would be more
    /// than half of what is written for a request.
    fn kept(&self) -> impl Serialize {
        (
            &*self.request,
            self.at_ms,
            &*self.key,
            &*self.provider,
            &*self.model,
            &*self.outcome,
            self.prompt_tokens,
            self.completion_tokens,
            self.reasoning_tokens,
            self.first_ms,
        )
    }

    /// Which sum it belongs to.
    pub fn sum(&self) -> UsageKey {
        UsageKey {
            hour: self.at_ms / MS_AN_HOUR,
            key: (*self.key).to_owned(),
            provider: (*self.provider).to_owned(),
            model: (*self.model).to_owned(),
            outcome: (*self.outcome).to_owned(),
        }
    }

    /// Whether it belongs to that sum.
    pub fn is_of(&self, sum: &UsageKey) -> bool {
        self.at_ms / MS_AN_HOUR == sum.hour
            && *self.key == sum.key
            && *self.provider == sum.provider
            && *self.model == sum.model
            && self.outcome == sum.outcome
    }

    /// What it adds to its sum.
    pub fn usage(&self) -> Usage {
        Usage {
            requests: 1,
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            reasoning_tokens: self.reasoning_tokens,
            // Nothing where nothing was said: `with_output` beside it says how many the sum is of.
            first_ms: self.first_ms.unwrap_or_default(),
            with_output: self.first_ms.is_some().into(),
        }
    }
}

/// Lines in the form in which stores keep them, many in one text: a row or an element each would cost more than all else that
/// is done to count a request. Each text has the time of its first line; all of its lines are of the same minute.
pub(super) fn packed(lines: &[UsageLine]) -> impl Iterator<Item = (u64, String)> {
    lines
        .chunk_by(|one, next| one.at_ms / MS_A_MINUTE == next.at_ms / MS_A_MINUTE)
        .flat_map(|minute| minute.chunks(PACKED))
        .filter_map(|pack| {
            let first = pack.iter().map(|line| line.at_ms).min()?;
            let kept: Vec<_> = pack.iter().map(UsageLine::kept).collect();
            let text = serde_json::to_string(&kept);
            Some((first, text.or_impossible("lines are of texts and numbers")))
        })
}

/// What [`packed`] has put together; lines with their members' names and a single line, as earlier versions wrote them, as well. What cannot be read was written by
/// another version, and the sums have it.
pub(super) fn unpacked(text: &str) -> Vec<UsageLine> {
    if text.starts_with('[') {
        serde_json::from_str(text).unwrap_or_default()
    } else {
        serde_json::from_str(text).into_iter().collect()
    }
}

/// A batch of usage, as one worker has gathered it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageBatch {
    /// Its own name: a batch that is written twice, since nobody heard that the first writing went well, counts once.
    pub id: String,
    /// What was used, in sums.
    pub sums: Vec<(UsageKey, Usage)>,
    /// The same, request by request; fewer where there were too many to keep.
    pub lines: Vec<UsageLine>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_earlier_versions_are_read_as_well() {
        let one = r#"{"request":"r","at_ms":61000,"key":"k","provider":"p","model":"m","outcome":"ok","prompt_tokens":1,"completion_tokens":2,"reasoning_tokens":0,"first_ms":null}"#;
        let [line] = unpacked(one).try_into().unwrap();
        assert_eq!(unpacked(&format!("[{one}]")), std::slice::from_ref(&line));
        assert_eq!(
            (&*line.key, &*line.outcome, line.at_ms),
            ("k", "ok", 61_000)
        );
        for unreadable in ["", "{}", "[{}]", "x"] {
            assert_eq!(unpacked(unreadable), []);
        }
        let mut later = line.clone();
        later.at_ms = 121_000;
        let lines = [vec![line; PACKED + 1], vec![later]].concat();
        let packs: Vec<(u64, String)> = packed(&lines).collect();
        assert!(packs.iter().all(|(_, text)| !text.contains("tokens")));
        let moments: Vec<u64> = packs.iter().map(|(at_ms, _)| *at_ms).collect();
        // One text is full, and none goes over a minute.
        assert_eq!(moments, [61_000, 61_000, 121_000]);
        let read: Vec<UsageLine> = packs.iter().flat_map(|(_, text)| unpacked(text)).collect();
        assert_eq!(read, lines);
    }
}
