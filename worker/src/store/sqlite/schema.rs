//! The tables, and how an older file becomes a newer one. A step that was published is never changed: what a file has been
//! through is told by its `user_version` alone.

use rusqlite::{Connection, TransactionBehavior};

use super::super::engine::StoreError;

/// One step a version; the file's version is how many it has been through.
const STEPS: &[&str] = &["
    -- The last version and the last fence that were given out, each in its row.
    CREATE TABLE last (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO last VALUES ('version', 0);

    CREATE TABLE entries (
        space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL, ends_ms INTEGER NOT NULL,
        PRIMARY KEY (space, key)
    ) WITHOUT ROWID;
    CREATE INDEX entries_by_end ON entries (space, ends_ms);

    CREATE TABLE counters (name TEXT PRIMARY KEY, used INTEGER NOT NULL, ends_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX counters_by_end ON counters (ends_ms);

    -- Ids of claims, settlements and batches that were carried out.
    CREATE TABLE seen (id TEXT PRIMARY KEY, ends_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX seen_by_end ON seen (ends_ms);

    CREATE TABLE places (
        name TEXT NOT NULL, holder TEXT NOT NULL, fence INTEGER NOT NULL, ends_ms INTEGER NOT NULL,
        PRIMARY KEY (name, holder)
    ) WITHOUT ROWID;
    -- The newest grant of each name; outlives its holders by days.
    CREATE TABLE fences (name TEXT PRIMARY KEY, number INTEGER NOT NULL, ends_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX fences_by_end ON fences (ends_ms);

    CREATE TABLE usage_sums (
        hour INTEGER NOT NULL, key TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL,
        requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL, first_ms INTEGER NOT NULL, with_output INTEGER NOT NULL,
        PRIMARY KEY (hour, key, provider, model, outcome)
    ) WITHOUT ROWID;
    CREATE TABLE usage_lines (at_ms INTEGER NOT NULL, line TEXT NOT NULL);
    CREATE INDEX usage_lines_by_time ON usage_lines (at_ms);
"];

/// Brings a file up to this version.
///
/// # Errors
/// [`StoreError::Newer`] for one that is beyond it, which is left as it is; else those of the file.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    // Looked at under the lock that is written under: two workers that begin together must not both take the steps.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(super::unavailable)?;
    let found: i64 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(super::unavailable)?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    // Below 0 is no version of ours: the steps then meet whatever tables there are, and say so.
    let done = usize::try_from(found).unwrap_or_default();
    for step in STEPS.iter().skip(done) {
        transaction
            .execute_batch(step)
            .map_err(super::unavailable)?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(super::unavailable)?;
    transaction.commit().map_err(super::unavailable)
}
