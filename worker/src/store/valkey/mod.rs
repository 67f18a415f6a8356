//! The store of several machines: Valkey, or a Redis of version 6 or later.
//!
//! Each decision is one script, which the server runs alone. All keys begin with `hive2api:1:`, the number of this schema: a
//! later version that keeps things otherwise takes another one and may look into the old. Nothing walks through all keys on
//! the way of a request; what is listed has an index of its own.

mod scripts;

use std::{collections::BTreeMap, time::Duration};

use redis::{
    AsyncCommands as _, Client, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::{
    engine::{
        Claim, Claimed, Engine, Entry, Expect, Fence, MS_AN_HOUR, Put, Settlement, Space,
        StoreError, Sweep,
    },
    memory::{BEYOND_MS, MEMORY_OF_IDS_MS},
    usage::{Usage, UsageBatch, UsageKey, UsageLine, packed, unpacked},
};
use crate::impossible::OrImpossible as _;
use scripts::{CLAIM, HOLD, PUT, REMOVE, SETTLE, SWEEP, USAGE};

/// What all keys begin with.
const NAMESPACE: &str = "hive2api:1";
/// The schema, and where the server says which one it holds.
const SCHEMA: i64 = 1;
const SCHEMA_KEY: &str = "hive2api:schema";
/// How long one answer of the server is waited for. Whoever asked has gone on long before.
const RESPONSE: Duration = Duration::from_secs(2);
/// How long a connection may take.
const CONNECTION: Duration = Duration::from_secs(2);
/// Longest pause between two tries to connect anew.
const MOST_PAUSE: Duration = Duration::from_secs(2);
/// Milliseconds of a day.
const MS_A_DAY: u64 = 24 * MS_AN_HOUR;
/// Texts of lines that are read at once.
const TEXTS_AT_ONCE: isize = 50;
/// Hours and days that one sweep takes away.
const SWEPT_AT_ONCE: isize = 50;
/// Members of [`Usage`], by their fields' last letter.
const MEMBERS: [char; 6] = ['r', 'p', 'c', 't', 'f', 'o'];

/// See the module.
pub struct ValkeyStore {
    connection: ConnectionManager,
}

impl std::fmt::Debug for ValkeyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValkeyStore").finish_non_exhaustive()
    }
}

/// What went wrong, by kind: the server's own words could quote a value, and the client's an address with its password.
fn unavailable(error: RedisError) -> StoreError {
    let words = if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connection_refusal() {
        // The code alone is looked at: words of a server may quote what was sent to it.
        "the connection was refused"
    } else if error.is_io_error() || error.is_connection_dropped() {
        "the connection broke"
    } else {
        match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => {
                "it does not accept the name or password in STORE_URL"
            }
            Some("READONLY") => "it is a replica, which takes no changes",
            Some("OOM") => "it has no memory left",
            Some("LOADING") => "it is still loading",
            Some("MISCONF") => "it cannot write to its disk",
            _ => "it answered with an error",
        }
    };
    StoreError::Unavailable(words.to_owned())
}

fn key(parts: &[&str]) -> String {
    let mut key = NAMESPACE.to_owned();
    for part in parts {
        key.push(':');
        key.push_str(part);
    }
    key
}

fn entry_key(space: Space, name: &str) -> String {
    key(&["entry", space.name(), name])
}

fn index_key(space: Space) -> String {
    key(&["index", space.name()])
}

fn ends_key(space: Space) -> String {
    key(&["ends", space.name()])
}

fn flag(is: bool) -> u8 {
    is.into()
}

impl ValkeyStore {
    /// Opens the server at `url` (`redis://` or `rediss://`).
    ///
    /// # Errors
    /// [`StoreError::Unfit`] for what is no such address, [`StoreError::Unavailable`], [`StoreError::Newer`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        // Not the client's words, which quote the address and with it the password.
        let unfit =
            |_| StoreError::Unfit("STORE_URL is no address of a Valkey or Redis".to_owned());
        let client = Client::open(url).map_err(unfit)?;
        let config = ConnectionManagerConfig::new()
            .set_max_delay(MOST_PAUSE)
            .set_response_timeout(Some(RESPONSE))
            .set_connection_timeout(Some(CONNECTION));
        let mut connection = ConnectionManager::new_with_config(client, config)
            .await
            .map_err(unavailable)?;
        let _: bool = connection
            // Only where nothing stands: what another version has written is its own to change.
            .set_nx(SCHEMA_KEY, SCHEMA)
            .await
            .map_err(unavailable)?;
        let found: i64 = connection.get(SCHEMA_KEY).await.map_err(unavailable)?;
        if found > SCHEMA {
            return Err(StoreError::Newer {
                found,
                known: SCHEMA,
            });
        }
        Ok(Self { connection })
    }

    /// The connection, which all that is under way shares.
    fn connection(&self) -> ConnectionManager {
        // A clone speaks over the same connection, many at a time; `&mut` is all that the client's interface wants of
        // it.
        self.connection.clone()
    }

    /// What stands under some keys of a space, as far as it has not ended by `alive_at`.
    async fn entries(
        &self,
        space: Space,
        keys: Vec<String>,
        alive_at: Option<u64>,
    ) -> Result<(Vec<(String, Entry)>, Vec<String>), StoreError> {
        // An empty pipeline is an error in the server's eyes.
        if keys.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut pipe = redis::pipe();
        for name in &keys {
            pipe.hmget(entry_key(space, name), FIELDS);
        }
        let found: Vec<Fields> = pipe
            .query_async(&mut self.connection())
            .await
            .map_err(unavailable)?;
        let (mut entries, mut gone) = (Vec::new(), Vec::new());
        for (name, fields) in keys.into_iter().zip(found) {
            match entry(fields, alive_at) {
                Some(entry) => entries.push((name, entry)),
                None => gone.push(name),
            }
        }
        // What has vanished by its end still stands in the index; whoever lists takes it out.
        Ok((entries, gone))
    }
}

/// An entry's fields as they are asked for.
const FIELDS: &[&str] = &["value", "version", "ends"];
type Fields = (Option<Vec<u8>>, Option<u64>, Option<u64>);

/// An entry that has not ended by then.
fn entry((value, version, ends): Fields, alive_at: Option<u64>) -> Option<Entry> {
    let ends = ends?;
    // 0 is what never ends.
    let is_over = alive_at.is_some_and(|now| ends != 0 && ends <= now);
    (!is_over).then_some(Entry {
        value: value?,
        version: version?,
    })
}

impl Engine for ValkeyStore {
    async fn get(&self, space: Space, key: &str, now_ms: u64) -> Result<Option<Entry>, StoreError> {
        let fields: Fields = self
            .connection()
            .hmget(entry_key(space, key), FIELDS)
            .await
            .map_err(unavailable)?;
        Ok(entry(fields, Some(now_ms)))
    }

    async fn put(&self, put: &Put, now_ms: u64) -> Result<Option<u64>, StoreError> {
        let expected = match put.expect {
            Expect::Anything => String::new(),
            Expect::Absent => "absent".to_owned(),
            Expect::Version(version) => version.to_string(),
        };
        let (fence_name, fence) = put.under.as_ref().map_or_else(
            || (String::new(), String::new()),
            |fence| (fence.name.clone(), fence.number.to_string()),
        );
        // One script for all of it: between two calls another worker could come.
        PUT.key(entry_key(put.space, &put.key))
            .key(key(&["last"]))
            .key(index_key(put.space))
            .key(ends_key(put.space))
            .key(key(&["fence", &fence_name]))
            .arg(&put.key)
            .arg(&put.value)
            .arg(put.ends_ms.unwrap_or(0))
            .arg(now_ms)
            .arg(expected)
            .arg(fence)
            .arg(flag(put.space.is_listed()))
            .arg(flag(put.space.is_collected()))
            .invoke_async(&mut self.connection())
            .await
            .map_err(unavailable)
    }

    async fn remove(
        &self,
        space: Space,
        key: &str,
        expect: Expect,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let expected = match expect {
            Expect::Absent => return Ok(false),
            Expect::Anything => String::new(),
            Expect::Version(version) => version.to_string(),
        };
        REMOVE
            .key(entry_key(space, key))
            .key(index_key(space))
            .key(ends_key(space))
            .arg(key)
            .arg(expected)
            .arg(now_ms)
            .arg(flag(space.is_collected()))
            .invoke_async(&mut self.connection())
            .await
            .map_err(unavailable)
    }

    async fn list(
        &self,
        space: Space,
        after: &str,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        let mut listed = Vec::new();
        let mut after = after.to_owned();
        // What has vanished still stands in the index, so a page of it may hold fewer entries than were asked for.
        loop {
            let wanted = most - listed.len();
            let from = if after.is_empty() {
                "-".to_owned()
            } else {
                format!("({after}")
            };
            let limit = isize::try_from(wanted).unwrap_or(isize::MAX);
            let keys: Vec<String> = self
                .connection()
                .zrangebylex_limit(index_key(space), from, "+", 0, limit)
                .await
                .map_err(unavailable)?;
            let is_last = keys.len() < wanted;
            if let Some(last) = keys.last() {
                after.clone_from(last);
            }
            let (entries, gone) = self.entries(space, keys, Some(now_ms)).await?;
            // Tidied on the way, as nothing walks through the index otherwise.
            if !gone.is_empty() {
                let _: usize = self
                    .connection()
                    .zrem(index_key(space), gone)
                    .await
                    .map_err(unavailable)?;
            }
            listed.extend(entries);
            if is_last || listed.len() >= most {
                return Ok(listed);
            }
        }
    }

    async fn ended(
        &self,
        space: Space,
        most: usize,
        now_ms: u64,
    ) -> Result<Vec<(String, Entry)>, StoreError> {
        let limit = isize::try_from(most).unwrap_or(isize::MAX);
        let keys: Vec<String> = self
            .connection()
            .zrangebyscore_limit(ends_key(space), "-inf", now_ms, 0, limit)
            .await
            .map_err(unavailable)?;
        Ok(self.entries(space, keys, None).await?.0)
    }

    async fn claim(&self, id: &str, claims: &[Claim], _now_ms: u64) -> Result<Claimed, StoreError> {
        let mut call = CLAIM.key(key(&["seen", "claim", id]));
        call.arg(MEMORY_OF_IDS_MS);
        // Keys and arguments in step: the script counts the ones by the others.
        for claim in claims {
            call.key(key(&["counter", &claim.counter]))
                .arg(claim.ends_ms)
                .arg(claim.amount)
                .arg(claim.most);
        }
        let answer: Vec<u64> = call
            .invoke_async(&mut self.connection())
            .await
            .map_err(unavailable)?;
        match answer.as_slice() {
            [0, values @ ..] => Ok(Claimed::Granted(values.to_vec())),
            [1, at, used] => Ok(Claimed::Full {
                at: usize::try_from(*at).or_impossible("it is a place among the claims"),
                used: *used,
            }),
            _ => Err(StoreError::Unavailable("an unexpected answer".to_owned())),
        }
    }

    async fn settle(
        &self,
        id: &str,
        settlements: &[Settlement],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let mut call = SETTLE.key(key(&["seen", "settle", id]));
        call.arg(MEMORY_OF_IDS_MS);
        for it in settlements.iter().filter(|it| it.ends_ms > now_ms) {
            call.key(key(&["counter", &it.counter]))
                .arg(it.ends_ms)
                .arg(it.change);
        }
        call.invoke_async(&mut self.connection())
            .await
            .map_err(unavailable)
    }

    async fn hold(
        &self,
        name: &str,
        holder: &str,
        most: u64,
        ends_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Fence>, StoreError> {
        let number: Option<u64> = HOLD
            .key(key(&["places", name]))
            .key(key(&["fences", name]))
            .key(key(&["fence", name]))
            .arg(holder)
            .arg(most)
            .arg(ends_ms)
            .arg(now_ms)
            .arg(BEYOND_MS)
            .invoke_async(&mut self.connection())
            .await
            .map_err(unavailable)?;
        Ok(number.map(|number| Fence {
            name: name.to_owned(),
            number,
        }))
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        // Both or neither: the two keys say the same.
        redis::pipe()
            .atomic()
            .zrem(key(&["places", name]), holder)
            .hdel(key(&["fences", name]), holder)
            .query_async::<()>(&mut self.connection())
            .await
            .map_err(unavailable)
    }

    async fn add_usage(&self, batch: &UsageBatch, _now_ms: u64) -> Result<(), StoreError> {
        let mut call = USAGE.key(key(&["seen", "usage", &batch.id]));
        call.key(key(&["hours"]))
            .key(key(&["days"]))
            .arg(MEMORY_OF_IDS_MS);
        let changes: Vec<(u64, String, u64)> = batch
            .sums
            .iter()
            .flat_map(|(at, usage)| {
                let members = MEMBERS.into_iter().zip(usage.members());
                // Noughts are not sent: most members of most requests are.
                let changed = members.filter(|(_, amount)| *amount > 0);
                changed.map(|(member, amount)| (at.hour, field(at, member), amount))
            })
            .collect();
        call.arg(changes.len());
        for (hour, field, amount) in changes {
            call.key(key(&["hour", &hour.to_string()]))
                .arg(hour)
                .arg(field)
                .arg(amount);
        }
        for (at_ms, text) in packed(&batch.lines) {
            let day = at_ms / MS_A_DAY;
            call.key(key(&["day", &day.to_string()])).arg(day).arg(text);
        }
        call.invoke_async::<()>(&mut self.connection())
            .await
            .map_err(unavailable)
    }

    async fn usage(&self, from: u64, to: u64) -> Result<Vec<(UsageKey, Usage)>, StoreError> {
        let hours: Vec<u64> = self
            .connection()
            .zrangebyscore(key(&["hours"]), from, format!("({to}"))
            .await
            .map_err(unavailable)?;
        if hours.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for hour in &hours {
            pipe.hgetall(key(&["hour", &hour.to_string()]));
        }
        let found: Vec<BTreeMap<String, u64>> = pipe
            .query_async(&mut self.connection())
            .await
            .map_err(unavailable)?;
        let mut sums: BTreeMap<UsageKey, [u64; 6]> = BTreeMap::new();
        for (hour, fields) in hours.into_iter().zip(found) {
            for (name, amount) in fields {
                // A field of a later version is none of ours.
                let Some((at, place)) = of_field(hour, &name) else {
                    continue;
                };
                if let Some(member) = sums.entry(at).or_default().get_mut(place) {
                    *member = amount;
                }
            }
        }
        let usage = sums.into_iter();
        Ok(usage
            .map(|(at, members)| (at, Usage::of_members(members)))
            .collect())
    }

    async fn lines(
        &self,
        from_ms: u64,
        to_ms: u64,
        most: usize,
    ) -> Result<Vec<UsageLine>, StoreError> {
        let mut lines = Vec::new();
        // Below, `to_ms - 1` needs one at least.
        if from_ms >= to_ms {
            return Ok(lines);
        }
        let days: Vec<u64> = self
            .connection()
            .zrangebyscore(key(&["days"]), from_ms / MS_A_DAY, (to_ms - 1) / MS_A_DAY)
            .await
            .map_err(unavailable)?;
        for day in days {
            let list = key(&["day", &day.to_string()]);
            let mut at: isize = 0;
            loop {
                let texts: Vec<String> = self
                    .connection()
                    .lrange(&list, at, at + TEXTS_AT_ONCE - 1)
                    .await
                    .map_err(unavailable)?;
                let is_last = texts.len() < TEXTS_AT_ONCE.unsigned_abs();
                let is_enough = lines.len() > most;
                let read = texts.iter().flat_map(|text| unpacked(text));
                lines.extend(read.filter(|line| (from_ms..to_ms).contains(&line.at_ms)));
                // Workers write in batches, so that lines stand in the order of time only roughly: a page more is read than
                // was asked for, and what is given is sorted.
                if is_last || is_enough {
                    break;
                }
                at += TEXTS_AT_ONCE;
            }
        }
        lines.sort_by_key(|line| line.at_ms);
        lines.truncate(most);
        Ok(lines)
    }

    async fn sweep(&self, sweep: Sweep, now_ms: u64) -> Result<bool, StoreError> {
        let mut is_more = false;
        // Entries, counters and ids vanish by themselves, but not their names in the indices. Who lists finds that out as
        // well, and some are never listed again.
        let spaces = Space::ALL.into_iter();
        for space in spaces.filter(|it| it.is_listed() && !it.is_collected()) {
            let gone: isize = SWEEP
                .key(index_key(space))
                .key(ends_key(space))
                .arg(now_ms)
                .arg(SWEPT_AT_ONCE)
                .invoke_async(&mut self.connection())
                .await
                .map_err(unavailable)?;
            is_more |= gone == SWEPT_AT_ONCE;
        }
        for (index, kind, before) in [
            ("hours", "hour", sweep.sums_before),
            ("days", "day", sweep.lines_before_ms / MS_A_DAY),
        ] {
            let index = key(&[index]);
            let old: Vec<u64> = self
                .connection()
                // By hour and by day, each with all that is in it: a row at a time would be a call each.
                .zrangebyscore_limit(&index, "-inf", format!("({before}"), 0, SWEPT_AT_ONCE)
                .await
                .map_err(unavailable)?;
            if old.is_empty() {
                continue;
            }
            is_more |= old.len() == SWEPT_AT_ONCE.unsigned_abs();
            let mut pipe = redis::pipe();
            for one in old {
                // `UNLINK` gives the memory back in the server's background.
                pipe.unlink(key(&[kind, &one.to_string()]))
                    .ignore()
                    .zrem(&index, one)
                    .ignore();
            }
            pipe.query_async::<()>(&mut self.connection())
                .await
                .map_err(unavailable)?;
        }
        Ok(is_more)
    }
}

/// The field of an hour's hash that one member of a sum stands in.
fn field(at: &UsageKey, member: char) -> String {
    let parts = [&at.key, &at.provider, &at.model, &at.outcome];
    // A list of texts, so that no character of a name can be taken for a border.
    let parts = serde_json::to_string(&parts).or_impossible("texts serialise");
    format!("{member}{parts}")
}

/// What [`field`] has put together.
fn of_field(hour: u64, field: &str) -> Option<(UsageKey, usize)> {
    let member = field.chars().next()?;
    let place = MEMBERS.iter().position(|known| *known == member)?;
    let parts = field.strip_prefix(member)?;
    let [key, provider, model, outcome] = serde_json::from_str(parts).ok()?;
    let at = UsageKey {
        hour,
        key,
        provider,
        model,
        outcome,
    };
    Some((at, place))
}
