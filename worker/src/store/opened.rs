//! A store of whichever kind the settings name, as one value.

use std::path::PathBuf;

use super::{
    engine::{
        Claim, Claimed, Engine, Entry, Expect, Fence, Put, Settlement, Space, StoreError, Sweep,
    },
    memory::MemoryStore,
    sqlite::SqliteStore,
    usage::{Usage, UsageBatch, UsageKey, UsageLine},
    valkey::ValkeyStore,
};
use crate::accounts::Secret;

/// Which store, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the process: nothing outlives it, and no other worker knows of it.
    Memory,
    /// In a file that the workers of one machine share.
    Sqlite(PathBuf),
    /// In a Valkey or Redis that all workers share. The address may hold a password.
    Valkey(Secret),
}

impl Place {
    /// For log lines: the kind, and of a file where it is.
    pub fn described(&self) -> String {
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Valkey(_) => "valkey".to_owned(),
        }
    }
}

/// An open store.
#[derive(Debug)]
pub enum Opened {
    /// In the process: for tests.
    Memory(Box<MemoryStore>),
    /// A file.
    Sqlite(Box<SqliteStore>),
    /// A server.
    Valkey(ValkeyStore),
}

impl Opened {
    /// Opens it.
    ///
    /// # Errors
    /// Those of its kind.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        Ok(match place {
            Place::Memory => Self::Memory(Box::default()),
            Place::Sqlite(path) => Self::Sqlite(Box::new(SqliteStore::open(path)?)),
            Place::Valkey(url) => Self::Valkey(ValkeyStore::open(url.expose()).await?),
        })
    }

    /// Whether it finds its way back by itself after a fault; else it is opened anew.
    pub fn reconnects(&self) -> bool {
        // Memory cannot be lost, and the manager of a server's connection connects by itself.
        !matches!(self, Self::Sqlite(_))
    }
}

/// Passes a call on to the kind that it is.
macro_rules! each {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::Memory(store) => store.$method($($argument),*).await,
            Self::Sqlite(store) => store.$method($($argument),*).await,
            Self::Valkey(store) => store.$method($($argument),*).await,
        }
    };
}

impl Engine for Opened {
    async fn get(&self, space: Space, key: &str, now_ms: u64) -> Result<Option<Entry>, StoreError> {
        each!(self.get(space, key, now_ms))
    }

    async fn put(&self, put: &Put, now_ms: u64) -> Result<Option<u64>, StoreError> {
        each!(self.put(put, now_ms))
    }

    async fn remove(
        &self,
        space: Space,
        key: &str,
        expect: Expect,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        each!(self.remove(space, key, expect, now_ms))
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        each!(self.list(space, after, most, now_ms))
    }

    async fn ended(
        &self,
        space: Space,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        each!(self.ended(space, most, now_ms))
    }

    async fn claim(&self, id: &str, claims: &[Claim], now_ms: u64) -> Result<Claimed, StoreError> {
        each!(self.claim(id, claims, now_ms))
    }

    async fn settle(
        &self,
        id: &str,
        settlements: &[Settlement],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        each!(self.settle(id, settlements, now_ms))
    }

    async fn hold(
        &self,
        name: &str,
        holder: &str,
        most: u64,
        ends_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Fence>, StoreError> {
        each!(self.hold(name, holder, most, ends_ms, now_ms))
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        each!(self.release(name, holder))
    }

    async fn add_usage(&self, batch: &UsageBatch, now_ms: u64) -> Result<(), StoreError> {
        each!(self.add_usage(batch, now_ms))
    }

    async fn usage(&self, from: u64, to: u64) -> Result<Vec<(UsageKey, Usage)>, StoreError> {
        each!(self.usage(from, to))
    }

    async fn lines(
        &self,
        from_ms: u64,
        to_ms: u64,
        most: usize,
    ) -> Result<Vec<UsageLine>, StoreError> {
        each!(self.lines(from_ms, to_ms, most))
    }

    async fn sweep(&self, sweep: Sweep, now_ms: u64) -> Result<bool, StoreError> {
        each!(self.sweep(sweep, now_ms))
    }
}
