//! Which upstream conversation stands at a point, kept in the store for all workers.
//!
//! ```text
//!   points:         point ──► conversation, thread there        goes away by itself
//!   conversations:  provider:account:id ──► owner, thread, head   stays until somebody has deleted it upstream
//! ```
//!
//! A turn that goes on with a conversation claims it by changing its record, on condition that nobody else has done so in
//! between: of two workers one wins. Where the service does not branch, a claim takes the head away, and whoever comes for an
//! older point finds that the conversation has gone on without it. A record that is claimed ends soon, and is written anew for
//! as long as its turn goes on: what a worker was at when it died is deleted like any that nobody uses.

use std::{
    cell::{Cell, RefCell},
    fmt::{self, Write as _},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha3::{Digest as _, Sha3_256};
use tokio::{sync::oneshot, time::timeout};

use super::{Continues, Point, Thread};
use crate::store::{self, Entry, Expect, Put, Space, Store, StoreError, now_ms};

/// How often a claim is tried again that another turn of the same conversation was quicker with.
const MOST_CLAIMS: usize = 4;
/// Bytes of a conversation's hash in its key: enough that no two of an account meet.
const KEY_BYTES: usize = 16;
/// How often a deletion is tried, an ever longer time apart.
const MOST_TRIES: u32 = 6;
/// Before the second try of a deletion; each further wait is twice as long.
const SOON_MS: u64 = 60_000;
/// How long a claim holds without a word from its worker; it is said again three times in that time.
const HELD: Duration = Duration::from_secs(30);

/// Whose an upstream conversation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The provider's name.
    pub provider: String,
    /// The account's fingerprint.
    pub account: String,
}

/// What the store has of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    owner: Owner,
    thread: Thread,
    /// The point where it stands; `None` while a turn is under way in it.
    head: Option<String>,
    /// How often its deletion was tried.
    #[serde(default)]
    tries: u32,
}

/// What the store has of a point.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// The key of its conversation.
    conversation: String,
    thread: Thread,
}

/// What a look for a point found.
#[derive(Debug)]
pub enum Found {
    /// A conversation that this turn may go on with.
    Claimed(Box<Claim>),
    /// None: nobody was here, what was said has been changed, or it has gone on from here already.
    Missed,
    /// Another turn is under way in it, or its account cannot begin one now.
    Busy,
    /// The store could not say it in time.
    Unavailable,
}

/// A conversation that nobody uses any more.
#[derive(Debug)]
pub struct Idle {
    key: String,
    version: u64,
    record: Record,
}

impl Idle {
    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.record.owner
    }

    /// Which it is.
    pub fn thread(&self) -> &Thread {
        &self.record.thread
    }
}

/// The index.
#[derive(Debug)]
pub struct Conversations {
    store: Store,
    idle: Duration,
    held: Duration,
}

impl Conversations {
    /// In `store`. A conversation is deleted when nobody has used it for `idle`.
    pub fn new(store: Store, idle: Duration) -> Self {
        Self {
            store,
            idle,
            held: HELD,
        }
    }

    /// How long a conversation may be idle.
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// Looks for a conversation at this point, and takes it if its owner `can_begin`. Within what the request may
    /// still wait for the store ([`store::PATIENCE`]).
    pub async fn claim(
        self: &Arc<Self>,
        point: Point,
        continues: Continues,
        can_begin: impl Fn(&Owner) -> bool + 'static,
    ) -> Found {
        let this = Arc::clone(self);
        // A task of its own: what is taken when nobody waits any more is given up there.
        let looking =
            actix_web::rt::spawn(async move { this.look(&point, continues, can_begin).await });
        match store::within_request(looking).await {
            Some(Ok(Ok(found))) => found,
            Some(Ok(Err(_)) | Err(_)) | None => Found::Unavailable,
        }
    }

    async fn look(
        self: &Arc<Self>,
        point: &Point,
        continues: Continues,
        can_begin: impl Fn(&Owner) -> bool,
    ) -> Result<Found, StoreError> {
        let store = self.store.at_leisure();
        let place = store.get(Space::Points, point.as_str()).await?;
        let Some(place) = place.and_then(|entry| read::<Place>(&entry)) else {
            return Ok(Found::Missed);
        };
        let key = place.conversation;
        for _ in 0..MOST_CLAIMS {
            let Some(entry) = store.get(Space::Conversations, &key).await? else {
                return Ok(Found::Missed);
            };
            let Some(record) = read::<Record>(&entry) else {
                return Ok(Found::Missed);
            };
            let head = match (continues, record.head.as_deref()) {
                (Continues::No, _) => return Ok(Found::Missed),
                (Continues::Branches, _) => record.head.clone(),
                (Continues::Linear, Some(head)) if head == point.as_str() => None,
                (Continues::Linear, Some(_)) => return Ok(Found::Missed),
                (Continues::Linear, None) => return Ok(Found::Busy),
            };
            if !can_begin(&record.owner) {
                return Ok(Found::Busy);
            }
            let claimed = Record { head, ..record };
            let put = put(&key, &claimed, self.held, Expect::Version(entry.version));
            if store.put(put).await?.is_some() {
                let claimed = Rc::new(RefCell::new(claimed));
                return Ok(Found::Claimed(Box::new(Claim {
                    conversations: Arc::clone(self),
                    holding: Some(Holding::begin(self, &key, &claimed, false)),
                    key,
                    record: claimed,
                    thread: place.thread,
                    fate: Cell::new(Fate::Lost),
                })));
            }
        }
        Ok(Found::Busy)
    }

    /// A turn has opened a conversation: from now on somebody will delete it, whatever becomes of this worker. The store is
    /// not waited for.
    pub fn opened(self: &Arc<Self>, owner: Owner, thread: Thread) -> Claim {
        let key = key(&owner, &thread.id);
        let record = Rc::new(RefCell::new(Record {
            owner,
            thread: thread.clone(),
            head: None,
            tries: 0,
        }));
        Claim {
            conversations: Arc::clone(self),
            holding: Some(Holding::begin(self, &key, &record, true)),
            key,
            record,
            thread,
            fate: Cell::new(Fate::Lost),
        }
    }

    /// Conversations that nobody uses any more, some of them.
    ///
    /// # Errors
    /// The store's.
    pub async fn idle_ones(&self, most: usize) -> Result<Vec<Idle>, StoreError> {
        let store = self.store.at_leisure();
        let mut idle = Vec::new();
        for (key, entry) in store.ended(Space::Conversations, most).await? {
            match read(&entry) {
                Some(record) => idle.push(Idle {
                    key,
                    version: entry.version,
                    record,
                }),
                // Of another version of this program; nobody will ever read it.
                None => {
                    let expect = Expect::Version(entry.version);
                    store.remove(Space::Conversations, &key, expect).await?;
                }
            }
        }
        Ok(idle)
    }

    /// It is deleted, or nobody can.
    pub async fn forget(&self, idle: &Idle) {
        let (store, expect) = (self.store.at_leisure(), Expect::Version(idle.version));
        let _ = store.remove(Space::Conversations, &idle.key, expect).await;
    }

    /// It could not be deleted now: it is idle again after a while. `false`: that was the last try.
    pub async fn later(&self, idle: &Idle) -> bool {
        let tries = idle.record.tries + 1;
        if tries >= MOST_TRIES {
            self.forget(idle).await;
            return false;
        }
        let record = Record {
            tries,
            ..idle.record.clone()
        };
        let wait = Duration::from_millis(SOON_MS << idle.record.tries);
        // What has ended is absent; somebody who put it there anew knows more.
        let put = put(&idle.key, &record, wait, Expect::Absent);
        let _ = self.store.at_leisure().put(put).await;
        true
    }
}

/// What becomes of a claimed conversation when the claim is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is to be deleted, by whoever sweeps next.
    Lost,
    /// Its turn has had it deleted.
    Deleted,
    /// It stands at another point.
    Kept,
}

/// Whether a conversation stays for whoever goes on with it.
pub enum Kept {
    /// The store has it.
    Yes,
    /// The store does not.
    No,
    /// The store has not said so far; whether it does in the end.
    Late(LocalBoxFuture<'static, bool>),
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "Yes",
            Self::No => "No",
            Self::Late(_) => "Late",
        })
    }
}

/// A conversation in the hands of one turn. Dropping it without [`Claim::keep`] gives it up: nobody goes on with it.
pub struct Claim {
    conversations: Arc<Conversations>,
    key: String,
    /// What its holding writes.
    record: Rc<RefCell<Record>>,
    /// Where this turn goes on from.
    thread: Thread,
    fate: Cell<Fate>,
    holding: Option<Holding>,
}

/// Writes a claim's record again and again, for as long as its turn goes on.
struct Holding {
    stop: oneshot::Sender<()>,
    writing: actix_web::rt::task::JoinHandle<()>,
}

impl Holding {
    /// `is_new`: the record is not there yet.
    fn begin(
        conversations: &Conversations,
        key: &str,
        record: &Rc<RefCell<Record>>,
        is_new: bool,
    ) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (store, held) = (conversations.store.at_leisure(), conversations.held);
        let (key, record) = (key.to_owned(), Rc::clone(record));
        let writing = actix_web::rt::spawn(async move {
            let mut is_due = is_new;
            loop {
                if is_due {
                    let put = put(&key, &*record.borrow(), held, Expect::Anything);
                    let _ = store.put(put).await;
                }
                if timeout(held / 3, &mut stopped).await.is_ok() {
                    return;
                }
                is_due = true;
            }
        });
        Self { stop, writing }
    }

    /// What is written after this is not overtaken by it.
    async fn end(self) {
        let _ = self.stop.send(());
        let _ = self.writing.await;
    }
}

impl Claim {
    /// Where this turn goes on from.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Whose the conversation is.
    pub fn owner(&self) -> Owner {
        self.record.borrow().owner.clone()
    }

    /// What whoever deletes it must know besides its id, should this turn's worker die.
    pub fn remembers(&self, more: &str) {
        self.record.borrow_mut().thread.more = Some(more.to_owned());
    }

    /// Its turn deletes it.
    pub fn deleted(&self) {
        self.fate.set(Fate::Deleted);
    }

    /// The conversation stands at `point` now, with `thread`, for whoever goes on from there. Waits for the store no longer
    /// than the request may. Where the store does not take it, the turn deletes it.
    pub async fn keep(mut self, point: &Point, thread: Thread) -> Kept {
        let idle = self.conversations.idle;
        let record = Record {
            head: Some(point.as_str().to_owned()),
            thread: thread.clone(),
            ..self.record.borrow().clone()
        };
        let place = Place {
            conversation: self.key.clone(),
            thread,
        };
        let puts = [
            put(&self.key, &record, idle, Expect::Anything),
            Put {
                space: Space::Points,
                ..put(point.as_str(), &place, idle, Expect::Anything)
            },
        ];
        let (store, holding) = (self.conversations.store.at_leisure(), self.holding.take());
        if !store.is_up() {
            self.fate.set(Fate::Deleted);
            return Kept::No;
        }
        self.fate.set(Fate::Kept);
        let mut writing = actix_web::rt::spawn(async move {
            if let Some(holding) = holding {
                holding.end().await;
            }
            for put in puts {
                store.put(put).await?;
            }
            Ok::<(), StoreError>(())
        });
        match store::within_request(&mut writing).await {
            Some(Ok(Ok(()))) => Kept::Yes,
            Some(Ok(Err(_)) | Err(_)) => {
                self.fate.set(Fate::Deleted);
                Kept::No
            }
            None => Kept::Late(Box::pin(async move { matches!(writing.await, Ok(Ok(()))) })),
        }
    }
}

impl Drop for Claim {
    /// A client that leaves drops the turn wherever it stands, so only here every end is met.
    fn drop(&mut self) {
        let fate = self.fate.get();
        if fate == Fate::Kept {
            return;
        }
        let (store, holding) = (self.conversations.store.at_leisure(), self.holding.take());
        let (key, record) = (self.key.clone(), self.record.borrow().clone());
        actix_web::rt::spawn(async move {
            if let Some(holding) = holding {
                holding.end().await;
            }
            let _ = match fate {
                Fate::Deleted => store
                    .remove(Space::Conversations, &key, Expect::Anything)
                    .await
                    .map(drop),
                Fate::Lost | Fate::Kept => {
                    let lost = put(&key, &record, Duration::ZERO, Expect::Anything);
                    store.put(lost).await.map(drop)
                }
            };
        });
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("fate", &self.fate)
            .finish_non_exhaustive()
    }
}

/// By whose it is and a hash of its id, whatever characters the service puts into one.
fn key(owner: &Owner, id: &str) -> String {
    let mut key = format!("{}:{}:", owner.provider, owner.account);
    for byte in Sha3_256::digest(id).iter().take(KEY_BYTES) {
        // Writing to a String cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

fn put(key: &str, value: &impl Serialize, life: Duration, expect: Expect) -> Put {
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    Put {
        space: Space::Conversations,
        key: key.to_owned(),
        // Our own types with string keys serialise; and what is empty is read as nothing.
        value: serde_json::to_vec(value).unwrap_or_default(),
        ends_ms: Some(now_ms().saturating_add(life)),
        expect,
        under: None,
    }
}

fn read<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.value).ok()
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
