//! Which videos a caller has asked for: a list in the store, for `GET /v1/videos` alone. No video depends on it: each answers
//! by its id, whether it is listed or not.
//!
//! An entry is put when a video is made, under the caller, and the time turned round, so that the order of the keys is that
//! of the list. It holds the video as clients see it, in a few known members (no prompt), is put once more when the end of the
//! video is seen, and vanishes after [`LISTED`].

use std::{collections::VecDeque, future::Future, time::Duration};

use actix_web::rt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{KIND, job::Job};
use crate::{
    app::App,
    chat::Invalid,
    http::{auth::Principal, error::ApiError},
    keys::digest,
    store::{Entry, Expect, Put, Space, Store, StoreError},
};

/// How long a video is listed: longer than services keep its file.
const LISTED: Duration = Duration::from_secs(7 * 24 * 3600);
/// Videos of a page where nothing is asked for, and the most there are; as OpenAI's.
const USUAL: usize = 20;
const MOST: usize = 100;
/// Entries that are read at once where a list is read from its end.
const READ_AT_ONCE: usize = 500;
/// Longest entry. What is longer was made so by a strange API, and is not listed.
const MOST_BYTES: usize = 16 << 10;
/// Waits before something is written again that the store did not take; nobody waits for it.
const WRITTEN_AGAIN: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
];
/// What of a video's object is kept.
const MEMBERS: [&str; 11] = [
    "id",
    "object",
    "model",
    "status",
    "progress",
    "created_at",
    "completed_at",
    "expires_at",
    "seconds",
    "size",
    "error",
];
/// Digits of a digest that tell callers and videos apart; an entry that is found by chance in another's list does not open.
const DIGITS: usize = 32;

/// A video's object.
pub(super) type Object = Map<String, Value>;

/// The query of a list.
#[derive(Debug, Default, Deserialize)]
pub struct Query {
    after: Option<String>,
    limit: Option<String>,
    order: Option<String>,
}

/// Which page.
#[derive(Debug)]
pub(super) struct Asked {
    /// The key of the entry that it begins behind.
    after: Option<String>,
    limit: usize,
    is_oldest_first: bool,
}

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) videos: Vec<Listed>,
    /// The key that the next page begins behind, where there is one.
    pub(super) next: Option<String>,
}

/// A video of a page.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) job: Job,
    /// As it was when it was last put.
    pub(super) object: Object,
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 that names the parameter; 404 for an `after` that is no id of this caller's.
    pub(super) fn read(query: &Query, app: &App, caller: &Principal) -> Result<Self, ApiError> {
        let limit = match query.limit.as_deref().filter(|text| !text.is_empty()) {
            None => USUAL,
            Some(text) => {
                let number = text.parse().ok();
                number.filter(|it| (1..=MOST).contains(it)).ok_or_else(|| {
                    let why = format!("'limit' is a number from 1 to {MOST}.");
                    ApiError::from(Invalid::field("limit", why))
                })?
            }
        };
        let is_oldest_first = match query.order.as_deref() {
            None | Some("" | "desc") => false,
            Some("asc") => true,
            Some(_) => {
                let why = "'order' is 'asc' or 'desc'.";
                return Err(Invalid::field("order", why).into());
            }
        };
        let after = query.after.as_deref().filter(|id| !id.is_empty());
        let after = after.map(|id| {
            let job = app.sealer.open(KIND, &caller.id, id);
            let job: Job = job.ok_or_else(|| ApiError {
                param: Some("after".to_owned()),
                ..ApiError::video_not_found()
            })?;
            Ok::<_, ApiError>(key(caller, &job, id))
        });
        Ok(Self {
            after: after.transpose()?,
            limit,
            is_oldest_first,
        })
    }

    /// The next page is asked for instead.
    pub(super) fn go_on_behind(&mut self, key: String) {
        self.after = Some(key);
    }
}

/// What all keys of a caller begin with.
fn prefix(caller: &Principal) -> String {
    format!("{}:", short(&caller.id))
}

fn short(text: &str) -> String {
    let mut digest = digest(text);
    digest.truncate(DIGITS);
    digest
}

/// Where a video stands: all that it takes is in its id.
fn key(caller: &Principal, job: &Job, id: &str) -> String {
    // The newest first, as lists are read from their beginning.
    let back = u64::MAX - made_ms(job);
    format!("{}{back:016x}:{}", prefix(caller), short(id))
}

fn made_ms(job: &Job) -> u64 {
    let seconds = job.created.saturating_mul(1000);
    seconds.saturating_add(job.millis.into())
}

/// A change of an entry; `None` for what is too long.
fn put(key: String, job: &Job, object: &Object, expect: Expect) -> Option<Put> {
    let members = MEMBERS.iter().filter_map(|&name| {
        let value = object.get(name)?;
        Some((name.to_owned(), value.clone()))
    });
    let value = Value::Object(members.collect()).to_string().into_bytes();
    let life = u64::try_from(LISTED.as_millis()).unwrap_or(u64::MAX);
    (value.len() <= MOST_BYTES).then(|| Put {
        space: Space::Videos,
        key,
        value,
        ends_ms: Some(made_ms(job).saturating_add(life)),
        expect,
        under: None,
    })
}

/// Lists a new video. Waited for as long as a request may wait for the store, so that whoever has the id also finds it in the
/// list; what the store does not take by then is written behind.
pub(super) async fn add(app: &App, caller: &Principal, (id, job): (&str, &Job), object: &Object) {
    let put = put(key(caller, job, id), job, object, Expect::Anything);
    if let Some(put) = put {
        write(&app.store, move |store| {
            let put = put.clone();
            async move { store.put(put).await.map(drop) }
        })
        .await;
    }
}

/// Takes a video out of its list.
pub(super) async fn remove(app: &App, caller: &Principal, (id, job): (&str, &Job)) {
    let key = key(caller, job, id);
    write(&app.store, move |store| {
        let key = key.clone();
        async move {
            let removed = store.remove(Space::Videos, &key, Expect::Anything);
            removed.await.map(drop)
        }
    })
    .await;
}

/// Writes at once; where that fails, later.
async fn write<F>(store: &Store, work: impl Fn(Store) -> F + 'static)
where
    F: Future<Output = Result<(), StoreError>> + 'static,
{
    if work(store.clone()).await.is_ok() {
        return;
    }
    let store = store.at_leisure();
    rt::spawn(async move {
        for wait in WRITTEN_AGAIN {
            tokio::time::sleep(wait).await;
            if work(store.clone()).await.is_ok() {
                return;
            }
        }
        tracing::warn!("a list of videos could not be brought up to date: the store is gone");
    });
}

/// A video that is over, with the time at which that was first seen; and, where it is seen now, its list says so from now
/// on. Without the store it is as it was seen.
pub(super) async fn settled(
    app: &App,
    caller: &Principal,
    (id, job): (&str, &Job),
    object: &mut Object,
) {
    let key = key(caller, job, id);
    // One that is not listed (any more) stays so.
    let Ok(Some(entry)) = app.store.get(Space::Videos, &key).await else {
        return;
    };
    let Some(kept) = parsed(&entry) else {
        return;
    };
    if is_over(&kept) {
        if let Some(completed_at) = kept.get("completed_at") {
            object.insert("completed_at".to_owned(), completed_at.clone());
        }
        return;
    }
    let expect = Expect::Version(entry.version);
    if let Some(put) = put(key, job, object, expect) {
        let store = app.store.at_leisure();
        rt::spawn(async move { store.put(put).await });
    }
}

/// Whether nothing more comes of a video.
pub(super) fn is_over(object: &Object) -> bool {
    let status = object.get("status").and_then(Value::as_str);
    matches!(status, Some("completed" | "failed"))
}

fn parsed(entry: &Entry) -> Option<Object> {
    serde_json::from_slice(&entry.value).ok()
}

/// A page of a caller's list.
///
/// # Errors
/// The store's.
pub(super) async fn page(app: &App, caller: &Principal, asked: &Asked) -> Result<Page, StoreError> {
    let prefix = prefix(caller);
    // One more than wanted tells whether there are more.
    let mut entries = if asked.is_oldest_first {
        oldest(&app.store, &prefix, asked).await?
    } else {
        let after = asked.after.as_deref().unwrap_or(&prefix);
        let listed = app.store.list(Space::Videos, after, asked.limit + 1);
        let mut entries = listed.await?;
        entries.retain(|(key, _)| key.starts_with(&prefix));
        entries
    };
    let has_more = entries.len() > asked.limit;
    entries.truncate(asked.limit);
    let next = entries.last().filter(|_| has_more);
    let next = next.map(|(key, _)| key.clone());
    let videos = entries.into_iter().map(|(_, entry)| {
        let mut object = parsed(&entry)?;
        let id = object.get("id")?.as_str()?.to_owned();
        // Sealed with a secret that is not in force any more: nobody could ask for it.
        let job = app.sealer.open(KIND, &caller.id, &id)?;
        object.insert("prompt".to_owned(), Value::Null);
        object.insert("remixed_from_video_id".to_owned(), Value::Null);
        Some(Listed { id, job, object })
    });
    Ok(Page {
        videos: videos.flatten().collect(),
        next,
    })
}

/// The oldest entries from `asked.after` on, and one more than wanted. The store lists in one direction, so it is read to the end,
/// and what can still be a part of the page is kept.
async fn oldest(
    store: &Store,
    prefix: &str,
    asked: &Asked,
) -> Result<Vec<(String, Entry)>, StoreError> {
    let mut kept = VecDeque::with_capacity(asked.limit + 2);
    let mut after = prefix.to_owned();
    'pages: loop {
        let page = store.list(Space::Videos, &after, READ_AT_ONCE).await?;
        let is_last = page.len() < READ_AT_ONCE;
        for (key, entry) in page {
            let is_beyond = asked.after.as_ref().is_some_and(|it| key >= *it);
            if is_beyond || !key.starts_with(prefix) {
                break 'pages;
            }
            after.clone_from(&key);
            kept.push_back((key, entry));
            if kept.len() > asked.limit + 1 {
                kept.pop_front();
            }
        }
        if is_last {
            break;
        }
    }
    Ok(kept.into_iter().rev().collect())
}

/// The page as clients see it.
pub(super) fn shown(videos: Vec<Object>, has_more: bool) -> Value {
    let id = |object: Option<&Object>| object.and_then(|it| it.get("id")).cloned();
    let (first, last) = (id(videos.first()), id(videos.last()));
    json!({"object": "list", "data": videos, "first_id": first, "last_id": last, "has_more": has_more})
}
