//! What a request takes of its key's limits: reserved before anything is done for it, settled when it is known what it really
//! took. All workers count together in the store; while that is gone each heeds its share by itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    record::KeyRecord,
    windows::{self, Counted, Window},
};
use uuid::Uuid;

use crate::store::{Claim, Claimed, PATIENCE, Settlement, Store, now_ms};

/// How long the place of a stream is held without a word from its worker: so long do those of a killed worker count.
const PLACE: Duration = Duration::from_secs(30);
/// How often they are held anew.
const HOLD_AGAIN: Duration = Duration::from_secs(10);

/// What a caller has left, for the headers `x-ratelimit-…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of what.
    pub counted: Counted,
    /// What the window has.
    pub most: u64,
    /// What is left of it.
    pub left: u64,
    /// Until it is whole again.
    pub reset: Duration,
}

/// Why a request may not be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// A window of a minute is full.
    Rate {
        /// Of what.
        counted: Counted,
        /// What it has.
        most: u64,
        /// When the next one opens.
        wait: Duration,
    },
    /// A window of a day or a month is full.
    Quota {
        /// `day` or `month`.
        window: &'static str,
        /// What it has.
        most: u64,
        /// When the next one opens.
        wait: Duration,
    },
    /// So many requests of the key are answered already.
    Streams {
        /// As many as it may have at once.
        most: u64,
    },
    /// Nobody can say how much the key has used, and it wants to be refused then.
    Closed,
}

impl Denied {
    /// Why, in one of the words of [`crate::metrics::REFUSALS`].
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rate { .. } => "key_rate",
            Self::Quota { .. } => "key_quota",
            Self::Streams { .. } => "key_streams",
            Self::Closed => "key_unknown_use",
        }
    }

    /// The window that is full.
    pub fn room(&self) -> Option<Room> {
        let (counted, most, reset) = match self {
            Self::Rate {
                counted,
                most,
                wait,
            } => (*counted, *most, *wait),
            Self::Quota { most, wait, .. } => (Counted::Tokens, *most, *wait),
            Self::Streams { .. } | Self::Closed => return None,
        };
        Some(Room {
            counted,
            most,
            left: 0,
            reset,
        })
    }
}

/// Counts what this worker has granted, for the time when the store is gone, and keeps the places that it holds.
#[derive(Debug)]
pub struct Counts {
    store: Store,
    /// Workers of the cluster, as last heard.
    workers: AtomicU64,
    local: Mutex<Local>,
}

#[derive(Debug, Default)]
struct Local {
    /// Counter to use and end.
    used: HashMap<String, (u64, u64)>,
    /// Streams by key.
    streams: HashMap<String, u64>,
    /// Places that are held in the store: name and holder.
    held: HashSet<(String, String)>,
    /// What was used and the store has not heard, by counter: the change, and the counter's end.
    owed: HashMap<String, (i64, u64)>,
    /// What is being told to it, under an id of its own, so that it counts once however often it must be said.
    bill: Option<(String, Vec<Settlement>)>,
}

impl Local {
    fn owe(&mut self, settlements: Vec<Settlement>) {
        for it in settlements.into_iter().filter(|it| it.change != 0) {
            let (owed, _) = self.owed.entry(it.counter).or_insert((0, it.ends_ms));
            *owed = owed.saturating_add(it.change);
        }
    }
}

/// What one request has taken. Dropped, the rest is given back.
#[derive(Debug)]
pub struct Reservation {
    counts: Arc<Counts>,
    id: String,
    windows: Vec<Window>,
    reserved: u64,
    used: Option<u64>,
    /// The name of its place among the streams.
    place: Option<String>,
    is_in_store: bool,
    room: Vec<Room>,
}

impl Counts {
    /// Counts of a cluster that shares a store.
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            store,
            workers: AtomicU64::new(1),
            local: Mutex::default(),
        })
    }

    fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many workers there are.
    pub fn set_workers(&self, workers: u64) {
        self.workers.store(workers.max(1), Ordering::Relaxed);
    }

    /// Takes what one request needs; `tokens` are those that its question has, about. `id` is the request's and unique.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn reserve(
        self: &Arc<Self>,
        key: &KeyRecord,
        id: &str,
        tokens: u64,
    ) -> Result<Reservation, Denied> {
        let now = now_ms();
        let windows = windows::open(&key.id, &key.limits, now);
        let amount = |window: &Window| match window.counted {
            Counted::Requests => 1,
            Counted::Tokens => tokens.max(1),
        };
        // Made before anything is taken, so that whatever is taken is given back however this ends.
        let mut reservation = Reservation {
            counts: Arc::clone(self),
            id: id.to_owned(),
            windows: Vec::new(),
            reserved: tokens.max(1),
            used: None,
            place: None,
            is_in_store: false,
            room: Vec::new(),
        };
        // The place first: it is the only one that is given back by itself, where the windows then refuse.
        if let Some(most) = key.limits.streams {
            self.take_place(key, most, &mut reservation).await?;
        }
        if windows.is_empty() {
            return Ok(reservation);
        }
        let claims = windows
            .iter()
            .map(|window| window.claim(amount(window)))
            .collect();
        // All windows in one claim: of two claims the first would stay taken when the second is refused.
        let used = match self.asked_for(key).claim(id, claims).await {
            Ok(Claimed::Granted(used)) => {
                reservation.is_in_store = true;
                used
            }
            Ok(Claimed::Full { at, .. }) => {
                // A place that the list does not have would be a fault of the store; then nobody can say.
                return Err(windows
                    .get(at)
                    .map_or(Denied::Closed, |window| denied(window, now)));
            }
            Err(_) if key.fail_closed => return Err(Denied::Closed),
            Err(_) => self.share(&windows, amount, now)?,
        };
        let mut local = self.local();
        // Swept here, by those who add to it: nothing else has to look after it.
        local.used.retain(|_, (_, ends)| *ends > now);
        for window in &windows {
            let counter = local
                .used
                .entry(window.counter.clone())
                .or_insert((0, window.ends_ms));
            // Counted here also where the store has granted: should it go, this worker knows what it has let through.
            counter.0 += amount(window);
        }
        drop(local);
        reservation.room = windows
            .iter()
            .zip(used)
            .map(|(window, used)| Room {
                counted: window.counted,
                most: window.most,
                left: window.most.saturating_sub(used),
                reset: wait(window, now),
            })
            .collect();
        reservation.windows = windows;
        // Last: only what was taken is settled.
        Ok(reservation)
    }

    /// A key that is refused while nobody can say how much it has used is not refused for what its request has waited before.
    fn asked_for(&self, key: &KeyRecord) -> Store {
        if key.fail_closed {
            self.store.waiting(PATIENCE)
        } else {
            self.store.clone()
        }
    }

    /// Gives a place back beside whatever else goes on; where that fails its time runs out by itself.
    fn give_back(&self, name: String, holder: String) {
        let store = self.store.at_leisure();
        actix_web::rt::spawn(async move {
            let _ = store.release(&name, &holder).await;
        });
    }

    /// What this worker may still grant by itself; the windows' values as it knows them.
    fn share(
        &self,
        windows: &[Window],
        amount: impl Fn(&Window) -> u64,
        now: u64,
    ) -> Result<Vec<u64>, Denied> {
        let workers = self.workers.load(Ordering::Relaxed);
        let local = self.local();
        windows
            .iter()
            .map(|window| {
                let used = local
                    .used
                    .get(&window.counter)
                    .filter(|(_, ends)| *ends > now);
                // With this request in it, as it asks for itself as well.
                let used = used.map_or(0, |(used, _)| *used) + amount(window);
                // Rounded up: a limit of one still lets one request through at each worker.
                if used > window.most.div_ceil(workers) {
                    Err(denied(window, now))
                } else {
                    Ok(used)
                }
            })
            .collect()
    }

    async fn take_place(
        self: &Arc<Self>,
        key: &KeyRecord,
        most: u64,
        reservation: &mut Reservation,
    ) -> Result<(), Denied> {
        let name = format!("streams:{}", key.id);
        let store = self.asked_for(key);
        let held = store.hold(&name, &reservation.id, most, PLACE).await;
        if held.is_err() {
            // It may have been taken all the same, after nobody waited any more; nobody would give it back.
            self.give_back(name.clone(), reservation.id.clone());
        }
        match held {
            Ok(Some(_)) => {
                let place = (name.clone(), reservation.id.clone());
                self.local().held.insert(place);
            }
            Ok(None) => return Err(Denied::Streams { most }),
            Err(_) if key.fail_closed => return Err(Denied::Closed),
            Err(_) => {
                let share = most.div_ceil(self.workers.load(Ordering::Relaxed));
                if self.local().streams.get(&name).copied().unwrap_or(0) >= share {
                    return Err(Denied::Streams { most });
                }
            }
        }
        // Also counted here while the store has it, for the moment in which it does not.
        *self.local().streams.entry(name.clone()).or_insert(0) += 1;
        reservation.place = Some(name);
        Ok(())
    }

    /// Tells the store what was used while it could not be asked, as far as its windows are still open; whether it has heard.
    /// Once at a time.
    pub async fn settle_owed(&self, store: &Store) -> bool {
        let now = now_ms();
        let bill = {
            let mut local = self.local();
            if local.bill.is_none() {
                let owed = std::mem::take(&mut local.owed);
                let open = owed.into_iter().filter(|(_, (_, ends))| *ends > now);
                let settlements: Vec<Settlement> = open
                    .map(|(counter, (change, ends_ms))| Settlement {
                        counter,
                        ends_ms,
                        change,
                    })
                    .collect();
                if settlements.is_empty() {
                    return true;
                }
                local.bill = Some((Uuid::new_v4().to_string(), settlements));
            }
            local.bill.clone()
        };
        let Some((id, settlements)) = bill else {
            return true;
        };
        let is_heard = store.settle(&id, settlements).await.is_ok();
        if is_heard {
            self.local().bill = None;
        }
        is_heard
    }

    /// Holds all places anew, for ever, on the thread that it is started on.
    pub async fn keep_places(self: Arc<Self>) {
        let store = self.store.at_leisure();
        loop {
            tokio::time::sleep(HOLD_AGAIN).await;
            // A copy, as the lock must not be held while the store is asked.
            let held: Vec<_> = self.local().held.iter().cloned().collect();
            for (name, holder) in held {
                // One that was lost meanwhile, as the store was gone for long, may be above the limit: its stream runs on, and
                // no other begins before there is room.
                let _ = store.hold(&name, &holder, u64::MAX, PLACE).await;
                if !self.local().held.contains(&(name.clone(), holder.clone())) {
                    // It ended while it was being held.
                    let _ = store.release(&name, &holder).await;
                }
            }
        }
    }
}

fn wait(window: &Window, now: u64) -> Duration {
    Duration::from_millis(window.ends_ms.saturating_sub(now))
}

fn denied(window: &Window, now: u64) -> Denied {
    // By name: a minute's limit is a matter of pace (come again soon), a day's one of what was bought.
    let (most, wait) = (window.most, wait(window, now));
    if window.name == "minute" {
        let counted = window.counted;
        Denied::Rate {
            counted,
            most,
            wait,
        }
    } else {
        let window = window.name;
        Denied::Quota { window, most, wait }
    }
}

impl Reservation {
    /// What the request has really taken, question and answer together.
    pub fn used(&mut self, tokens: u64) {
        self.used = Some(tokens);
    }

    /// What its caller has left, as far as it has limits.
    pub fn room(&self) -> &[Room] {
        &self.room
    }
}

impl Drop for Reservation {
    /// However a request ends, it ends here.
    fn drop(&mut self) {
        let counts = Arc::clone(&self.counts);
        let place = self.place.take();
        if let Some(name) = &place {
            let mut local = counts.local();
            if let Some(streams) = local.streams.get_mut(name) {
                *streams = streams.saturating_sub(1);
            }
            local.streams.retain(|_, streams| *streams > 0);
            local.held.remove(&(name.clone(), self.id.clone()));
        }
        // Nothing is known of a request that was refused or left early: what was reserved is what it took.
        let used = self.used.unwrap_or(self.reserved);
        // Signed: more may have been used than was reserved.
        let change = used.cast_signed() - self.reserved.cast_signed();
        let windows = std::mem::take(&mut self.windows);
        let settled = |amount: &dyn Fn(&Window) -> i64| -> Vec<Settlement> {
            let settlement = |window: &Window| Settlement {
                counter: window.counter.clone(),
                ends_ms: window.ends_ms,
                change: amount(window),
            };
            windows.iter().map(settlement).collect()
        };
        // Granted here alone, so the store hears all of it.
        let all = settled(&|window| match window.counted {
            Counted::Requests => 1,
            Counted::Tokens => used.cast_signed(),
        });
        // Requests are never settled: one is one.
        let mut difference = settled(&|window| match window.counted {
            Counted::Requests => 0,
            Counted::Tokens => change,
        });
        difference.retain(|it| it.change != 0);
        if !difference.is_empty() {
            let mut local = counts.local();
            for settlement in &difference {
                if let Some((used, _)) = local.used.get_mut(&settlement.counter) {
                    *used = used.saturating_add_signed(change);
                }
            }
        }
        let is_in_store = self.is_in_store;
        if !is_in_store && !counts.store.is_up() {
            counts.local().owe(all);
            return;
        }
        // Not answered in time, it may have been granted all the same. Said again under its id it counts once.
        let again: Vec<Claim> = if is_in_store {
            Vec::new()
        } else {
            let claim = |window: &Window| Claim {
                // It has been used, whatever the limit says by now.
                most: u64::MAX,
                ..window.claim(match window.counted {
                    Counted::Requests => 1,
                    Counted::Tokens => self.reserved,
                })
            };
            windows.iter().map(claim).collect()
        };
        if place.is_none() && again.is_empty() && difference.is_empty() {
            return;
        }
        let id = std::mem::take(&mut self.id);
        let store = counts.store.at_leisure();
        let work = async move {
            if let Some(name) = place {
                // Where that fails its time runs out by itself.
                let _ = store.release(&name, &id).await;
            }
            if !again.is_empty() && store.claim(&id, again).await.is_err() {
                counts.local().owe(all);
                return;
            }
            if !difference.is_empty() && store.settle(&id, difference.clone()).await.is_err() {
                counts.local().owe(difference);
            }
        };
        // Outside of an event loop nobody is left to be served.
        if tokio::runtime::Handle::try_current().is_ok() {
            actix_web::rt::spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{keys::Limits, store::Place};

    fn key() -> KeyRecord {
        let mut key = KeyRecord::new("k".to_owned(), 0);
        key.limits = Limits {
            tokens_per_month: Some(1_000_000),
            ..Limits::default()
        };
        key
    }

    /// What is left of the month's tokens, by a request that itself takes one.
    async fn left(counts: &Arc<Counts>) -> u64 {
        let id = Uuid::new_v4().to_string();
        let reservation = counts.reserve(&key(), &id, 1).await.unwrap();
        reservation.room()[0].left
    }

    #[actix_web::test]
    async fn what_was_used_while_the_store_was_gone_counts_when_it_is_back() {
        let file = std::env::temp_dir().join(format!("hive2api-owed-{}.db", Uuid::new_v4()));
        let aside = file.with_extension("aside");
        let store = Store::open(Place::Sqlite(file.clone())).unwrap();
        let counts = Counts::new(store.clone());
        assert_eq!(left(&counts).await, 999_999);
        // Gone: a folder stands in its place.
        std::fs::rename(&file, &aside).unwrap();
        std::fs::create_dir(&file).unwrap();
        while store.is_up() {
            let _ = left(&counts).await;
        }
        let mut reservation = counts.reserve(&key(), "gone", 10).await.unwrap();
        reservation.used(500);
        drop(reservation);
        let leisure = store.at_leisure();
        assert!(!counts.settle_owed(&leisure).await);
        std::fs::remove_dir(&file).unwrap();
        std::fs::rename(&aside, &file).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !counts.settle_owed(&leisure).await {
            assert!(Instant::now() < deadline, "it has not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(
            counts.settle_owed(&leisure).await,
            "nothing is owed any more"
        );
        // Another worker, which knows nothing of it by itself.
        let other = Counts::new(store);
        let left = left(&other).await;
        assert!((999_400..=999_499).contains(&left), "{left}");
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
        }
    }
}
