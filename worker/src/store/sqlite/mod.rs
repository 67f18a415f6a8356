//! The store of one machine: an SQLite file that all of its workers share.
//!
//! Write-ahead logging lets everybody read while one writes. Whoever writes takes the lock first (`BEGIN IMMEDIATE`): a
//! transaction that reads and then wants to write would be told "busy" in its midst, where waiting does not help.

mod place;
mod schema;

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OptionalExtension as _, Transaction, TransactionBehavior, config::DbConfig, params,
};

use super::{
    engine::{
        Claim, Claimed, Engine, Entry, Expect, Fence, MS_A_MINUTE, Put, Settlement, Space,
        StoreError, Sweep,
    },
    memory::{BEYOND_MS, MEMORY_OF_IDS_MS},
    usage::{Usage, UsageBatch, UsageKey, UsageLine, packed, unpacked},
};
use crate::impossible::OrImpossible as _;

/// How long a writer waits for another worker's. Whoever waits for an answer has long gone on without by then.
const BUSY: Duration = Duration::from_secs(2);
/// Rows that one sweep takes from a table: a few milliseconds of the lock.
const SWEPT_AT_ONCE: usize = 500;
/// The end of what never ends; SQLite's integers are signed.
const NEVER: i64 = i64::MAX;

/// See the module.
#[derive(Debug)]
pub struct SqliteStore {
    /// A cell, borrowed within one call only: nothing in this engine awaits.
    connection: RefCell<Connection>,
    /// Where the file is, to see whether it is still there.
    path: PathBuf,
    /// Device and inode of the file that was opened.
    identity: (u64, u64),
}

/// What went wrong, in SQLite's words, which name no value.
fn unavailable(error: rusqlite::Error) -> StoreError {
    let words = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            // The message could quote a statement's values; the code's own words cannot.
            failure.to_string()
        }
        _ => "an unexpected answer of the file".to_owned(),
    };
    StoreError::Unavailable(words)
}

/// SQLite's integers are signed; nothing that is counted here comes near their end.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).or_impossible("what is stored was unsigned once")
}

impl SqliteStore {
    /// Opens the file, makes it where there is none, and brings an older one up to date.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] on a network's file system, [`StoreError::Newer`], [`StoreError::Unavailable`] for a file that
    /// cannot be opened or is none of SQLite's.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        place::check(path)?;
        place::make(path)?;
        // Behind `make`, so that SQLite does not make the file itself, with rights for everybody.
        let mut connection = Connection::open(path).map_err(unavailable)?;
        connection.busy_timeout(BUSY).map_err(unavailable)?;
        // The answer is the mode that is in force, which need not be the one asked for.
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
            .map_err(unavailable)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(StoreError::Unfit(
                "the file system of the store's file cannot share memory between processes, which SQLite's WAL needs: use a local disk, or redis:// in STORE_URL".to_owned(),
            ));
        }
        // With WAL this loses nothing but the last moments, and those only when the machine itself falls.
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(unavailable)?;
        // A statement that was prepared stays so. By itself SQLite would plan it anew for each new value, which costs many
        // times what it does.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(unavailable)?;
        // Behind the mode: the step's transaction is one under WAL already.
        schema::migrate(&mut connection)?;
        let identity = place::identity(path)
            .ok_or_else(|| StoreError::Unavailable("the file has vanished".to_owned()))?;
        Ok(Self {
            connection: RefCell::new(connection),
            path: path.to_owned(),
            identity,
        })
    }

    /// One decision, under the lock from its first look on.
    fn decide<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        // A file that was deleted can still be written to, and all of it would be lost in silence.
        if place::identity(&self.path) != Some(self.identity) {
            return Err(StoreError::Unavailable(
                "the file was deleted or replaced".to_owned(),
            ));
        }
        let mut connection = self.connection.borrow_mut();
        // A transaction that is dropped by `?` is rolled back.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(unavailable)?;
        let done = work(&transaction).map_err(unavailable)?;
        transaction.commit().map_err(unavailable)?;
        Ok(done)
    }

    /// A look, which needs no lock.
    fn look<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if place::identity(&self.path) != Some(self.identity) {
            return Err(StoreError::Unavailable(
                "the file was deleted or replaced".to_owned(),
            ));
        }
        work(&self.connection.borrow()).map_err(unavailable)
    }
}

fn next_version(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction
        // Versions count every change, so that one number orders all of them.
        .prepare_cached(
            "UPDATE last SET number = number + 1 WHERE name = 'version' RETURNING number",
        )?
        .query_row([], |row| row.get(0))
}

/// Whether an id is new; it no longer is.
fn is_new(
    transaction: &Transaction<'_>,
    kind: &str,
    id: &str,
    now_ms: u64,
) -> rusqlite::Result<bool> {
    let ends = signed(now_ms + MEMORY_OF_IDS_MS);
    let added = transaction
        .prepare_cached("INSERT OR IGNORE INTO seen VALUES (?1, ?2)")?
        .execute(params![format!("{kind}:{id}"), ends])?;
    Ok(added == 1)
}

fn is_known(transaction: &Transaction<'_>, kind: &str, id: &str) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT 1 FROM seen WHERE id = ?1")?
        .exists([format!("{kind}:{id}")])
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, Entry)> {
    let entry = Entry {
        value: row.get("value")?,
        version: unsigned(row.get("version")?),
    };
    Ok((row.get("key")?, entry))
}

/// Adds to a counter whose time has not come, or begins it anew; its value.
fn add(
    transaction: &Transaction<'_>,
    counter: &str,
    ends_ms: u64,
    change: i64,
    now_ms: u64,
) -> rusqlite::Result<u64> {
    let used: i64 = transaction
        .prepare_cached(
            "INSERT INTO counters VALUES (?1, max(0, ?2), ?3) ON CONFLICT (name) DO UPDATE SET
             used = max(0, CASE WHEN ends_ms > ?4 THEN used ELSE 0 END + ?2), ends_ms = ?3 RETURNING used",
        )?
        .query_row(params![counter, change, signed(ends_ms), signed(now_ms)], |row| row.get(0))?;
    Ok(unsigned(used))
}

impl Engine for SqliteStore {
    async fn get(&self, space: Space, key: &str, now_ms: u64) -> Result<Option<Entry>, StoreError> {
        self.look(|connection| {
            connection
                .prepare_cached("SELECT key, value, version FROM entries WHERE space = ?1 AND key = ?2 AND ends_ms > ?3")?
                .query_row(params![space.name(), key, signed(now_ms)], entry)
                .optional()
        })
        .map(|found| found.map(|(_, entry)| entry))
    }

    async fn put(&self, put: &Put, now_ms: u64) -> Result<Option<u64>, StoreError> {
        self.decide(|transaction| {
            if let Some(fence) = &put.under {
                let newest: Option<i64> = transaction
                    .prepare_cached("SELECT number FROM fences WHERE name = ?1")?
                    .query_row([&fence.name], |row| row.get(0))
                    .optional()?;
                // Gone (swept) is as void as newer: whoever slept so long cannot know.
                if newest.map(unsigned) != Some(fence.number) {
                    return Ok(None);
                }
            }
            if put.expect != Expect::Anything {
                let found: Option<i64> = transaction
                    .prepare_cached("SELECT version FROM entries WHERE space = ?1 AND key = ?2 AND ends_ms > ?3")?
                    .query_row(params![put.space.name(), put.key, signed(now_ms)], |row| row.get(0))
                    .optional()?;
                let holds = match put.expect {
                    Expect::Absent => found.is_none(),
                    Expect::Version(version) => found.map(unsigned) == Some(version),
                    Expect::Anything => true,
                };
                if !holds {
                    return Ok(None);
                }
            }
            let version = next_version(transaction)?;
            let ends = put.ends_ms.map_or(NEVER, signed);
            transaction
                // REPLACE and not an upsert: what has ended under this key is simply overwritten.
                .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![put.space.name(), put.key, put.value, version, ends])?;
            Ok(Some(unsigned(version)))
        })
    }

    async fn remove(
        &self,
        space: Space,
        key: &str,
        expect: Expect,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        self.decide(|transaction| {
            // What is collected is taken away after its end, so that end does not hide it here.
            // Before all ends: nothing is hidden.
            let alive_at = if space.is_collected() {
                -1
            } else {
                signed(now_ms)
            };
            let removed = match expect {
                Expect::Absent => 0,
                Expect::Anything => transaction
                    .prepare_cached(
                        "DELETE FROM entries WHERE space = ?1 AND key = ?2 AND ends_ms > ?3",
                    )?
                    .execute(params![space.name(), key, alive_at])?,
                Expect::Version(version) => transaction
                    .prepare_cached(
                        "DELETE FROM entries WHERE space = ?1 AND key = ?2 AND version = ?3",
                    )?
                    .execute(params![space.name(), key, signed(version)])?,
            };
            Ok(removed == 1)
        })
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        self.look(|connection| {
            connection
                .prepare_cached(
                    "SELECT key, value, version FROM entries WHERE space = ?1 AND key > ?2 AND ends_ms > ?3 ORDER BY key LIMIT ?4",
                )?
                .query_map(params![space.name(), after, signed(now_ms), limit(most)], entry)?
                .collect()
        })
    }

    async fn ended(
        &self,
        space: Space,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        self.look(|connection| {
            connection
                .prepare_cached(
                    "SELECT key, value, version FROM entries WHERE space = ?1 AND ends_ms <= ?2 ORDER BY ends_ms LIMIT ?3",
                )?
                .query_map(params![space.name(), signed(now_ms), limit(most)], entry)?
                .collect()
        })
    }

    async fn claim(&self, id: &str, claims: &[Claim], now_ms: u64) -> Result<Claimed, StoreError> {
        self.decide(|transaction| {
            let is_known = is_known(transaction, "claim", id)?;
            if !is_known {
                for (at, claim) in claims.iter().enumerate() {
                    let used: Option<i64> = transaction
                        .prepare_cached(
                            "SELECT used FROM counters WHERE name = ?1 AND ends_ms > ?2",
                        )?
                        .query_row(params![claim.counter, signed(now_ms)], |row| row.get(0))
                        .optional()?;
                    let used = used.map_or(0, unsigned);
                    if used.saturating_add(claim.amount.max(1)) > claim.most {
                        return Ok(Claimed::Full { at, used });
                    }
                }
                // Marked only when granted: a claim that was refused may be tried again under its id.
                is_new(transaction, "claim", id, now_ms)?;
            }
            let mut values = Vec::with_capacity(claims.len());
            for claim in claims {
                let amount = if is_known { 0 } else { signed(claim.amount) };
                values.push(add(
                    transaction,
                    &claim.counter,
                    claim.ends_ms,
                    amount,
                    now_ms,
                )?);
            }
            Ok(Claimed::Granted(values))
        })
    }

    async fn settle(
        &self,
        id: &str,
        settlements: &[Settlement],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.decide(|transaction| {
            if is_new(transaction, "settle", id, now_ms)? {
                for it in settlements.iter().filter(|it| it.ends_ms > now_ms) {
                    add(transaction, &it.counter, it.ends_ms, it.change, now_ms)?;
                }
            }
            Ok(())
        })
    }

    async fn hold(
        &self,
        name: &str,
        holder: &str,
        most: u64,
        ends_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Fence>, StoreError> {
        let fence = |number: i64| Fence {
            name: name.to_owned(),
            number: unsigned(number),
        };
        self.decide(|transaction| {
            // First, so that the dead hold no place against the living.
            transaction
                .prepare_cached("DELETE FROM places WHERE name = ?1 AND ends_ms <= ?2")?
                .execute(params![name, signed(now_ms)])?;
            let kept: Option<i64> = transaction
                .prepare_cached("UPDATE places SET ends_ms = ?3 WHERE name = ?1 AND holder = ?2 RETURNING fence")?
                .query_row(params![name, holder, signed(ends_ms)], |row| row.get(0))
                .optional()?;
            if let Some(number) = kept {
                return Ok(Some(fence(number)));
            }
            let taken: i64 = transaction
                .prepare_cached("SELECT count(*) FROM places WHERE name = ?1")?
                .query_row([name], |row| row.get(0))?;
            if unsigned(taken) >= most {
                return Ok(None);
            }
            let number: i64 = transaction
                .prepare_cached(
                    "INSERT INTO fences VALUES (?1, 1, ?2) ON CONFLICT (name) DO UPDATE SET number = number + 1, ends_ms = ?2 RETURNING number",
                )?
                // The fence outlives its holder, or a successor after a sweep would begin at 1, below a sleeper's
                // number.
                .query_row(params![name, signed(ends_ms + BEYOND_MS)], |row| row.get(0))?;
            transaction
                .prepare_cached("INSERT INTO places VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![name, holder, number, signed(ends_ms)])?;
            Ok(Some(fence(number)))
        })
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.decide(|transaction| {
            transaction
                .prepare_cached("DELETE FROM places WHERE name = ?1 AND holder = ?2")?
                .execute([name, holder])
                .map(drop)
        })
    }

    async fn add_usage(&self, batch: &UsageBatch, now_ms: u64) -> Result<(), StoreError> {
        self.decide(|transaction| {
            if !is_new(transaction, "usage", &batch.id, now_ms)? {
                return Ok(());
            }
            let mut sum = transaction.prepare_cached(
                "INSERT INTO usage_sums VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT DO UPDATE SET requests = requests + ?6, prompt_tokens = prompt_tokens + ?7,
                 completion_tokens = completion_tokens + ?8, reasoning_tokens = reasoning_tokens + ?9,
                 first_ms = first_ms + ?10, with_output = with_output + ?11",
            )?;
            for (key, usage) in &batch.sums {
                let [a, b, c, d, e, f] = usage.members().map(signed);
                sum.execute(params![signed(key.hour), key.key, key.provider, key.model, key.outcome, a, b, c, d, e, f])?;
            }
            let mut line = transaction.prepare_cached("INSERT INTO usage_lines VALUES (?1, ?2)")?;
            for (at_ms, text) in packed(&batch.lines) {
                line.execute(params![signed(at_ms), text])?;
            }
            Ok(())
        })
    }

    async fn usage(&self, from: u64, to: u64) -> Result<Vec<(UsageKey, Usage)>, StoreError> {
        self.look(|connection| {
            connection
                .prepare_cached("SELECT * FROM usage_sums WHERE hour >= ?1 AND hour < ?2")?
                .query_map([signed(from), signed(to)], |row| {
                    let key = UsageKey {
                        hour: unsigned(row.get("hour")?),
                        key: row.get("key")?,
                        provider: row.get("provider")?,
                        model: row.get("model")?,
                        outcome: row.get("outcome")?,
                    };
                    let usage = Usage {
                        requests: unsigned(row.get("requests")?),
                        prompt_tokens: unsigned(row.get("prompt_tokens")?),
                        completion_tokens: unsigned(row.get("completion_tokens")?),
                        reasoning_tokens: unsigned(row.get("reasoning_tokens")?),
                        first_ms: unsigned(row.get("first_ms")?),
                        with_output: unsigned(row.get("with_output")?),
                    };
                    Ok((key, usage))
                })?
                .collect()
        })
    }

    async fn lines(
        &self,
        from_ms: u64,
        to_ms: u64,
        most: usize,
    ) -> Result<Vec<UsageLine>, StoreError> {
        let mut lines: Vec<UsageLine> = self.look(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT at_ms, line FROM usage_lines WHERE at_ms > ?1 AND at_ms < ?2 ORDER BY at_ms",
            )?;
            // A text begins up to a minute before its last line.
            let first = signed(from_ms).saturating_sub(signed(MS_A_MINUTE));
            let mut rows = statement.query([first, signed(to_ms)])?;
            let mut lines: Vec<UsageLine> = Vec::new();
            while let Some(row) = rows.next()? {
                let begins = unsigned(row.get("at_ms")?);
                // Whatever comes now is later than these.
                if lines.iter().filter(|line| line.at_ms <= begins).count() >= most {
                    break;
                }
                let text: String = row.get("line")?;
                let asked = |line: &UsageLine| (from_ms..to_ms).contains(&line.at_ms);
                lines.extend(unpacked(&text).into_iter().filter(asked));
            }
            Ok(lines)
        })?;
        lines.sort_by_key(|line| line.at_ms);
        lines.truncate(most);
        Ok(lines)
    }

    async fn sweep(&self, sweep: Sweep, now_ms: u64) -> Result<bool, StoreError> {
        self.decide(|transaction| {
            let now = signed(now_ms);
            let mut is_more = false;
            let mut take = |sql: &str, before: i64| -> rusqlite::Result<()> {
                let taken = transaction
                    .prepare_cached(sql)?
                    .execute(params![before, limit(SWEPT_AT_ONCE)])?;
                // Full is taken for more: asking once too often costs nothing.
                is_more |= taken == SWEPT_AT_ONCE;
                Ok(())
            };
            for space in Space::ALL.into_iter().filter(|space| !space.is_collected()) {
                let name = space.name();
                take(
                    // The space by name and not all at once: `entries_by_end` begins with it.
                    &format!(
                        "DELETE FROM entries WHERE space = '{name}' AND key IN
                         (SELECT key FROM entries WHERE space = '{name}' AND ends_ms <= ?1 LIMIT ?2)"
                    ),
                    now,
                )?;
            }
            take("DELETE FROM counters WHERE name IN (SELECT name FROM counters WHERE ends_ms <= ?1 LIMIT ?2)", now)?;
            take("DELETE FROM fences WHERE name IN (SELECT name FROM fences WHERE ends_ms <= ?1 LIMIT ?2)", now)?;
            take("DELETE FROM seen WHERE id IN (SELECT id FROM seen WHERE ends_ms <= ?1 LIMIT ?2)", now)?;
            take(
                "DELETE FROM usage_lines WHERE rowid IN (SELECT rowid FROM usage_lines WHERE at_ms < ?1 LIMIT ?2)",
                signed(sweep.lines_before_ms),
            )?;
            take(
                "DELETE FROM usage_sums WHERE (hour, key, provider, model, outcome) IN
                 (SELECT hour, key, provider, model, outcome FROM usage_sums WHERE hour < ?1 LIMIT ?2)",
                signed(sweep.sums_before),
            )?;
            Ok(is_more)
        })
    }
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
