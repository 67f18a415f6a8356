//! Responses that are kept for a while (`RESPONSES_TTL`): others go on from them (`state`), and `GET`, `DELETE` and
//! `input_items` show them. In the store, so that every worker knows them; sealed, since they are what people say; under a key
//! that is made of caller and id, so that nobody finds another's. Source: doors.md section 4, issue "what a cluster must know
//! together" item 8.
//!
//! What this worker has made or seen of late it remembers as well, sealed likewise: while the store cannot be asked chats go on
//! from there, and what could not be written is written when it is back.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json, value::RawValue};
use sha3::{Digest as _, Sha3_256};
use tokio::time::sleep;

use super::latest::{Coming, Latest};
use crate::{
    app::App,
    chat::aside::aside,
    http::error::ApiError,
    store::{Expect, Space, Store, Vault, now_ms},
};

/// Most bytes of a response and all that was said before it. What is longer is answered, and not kept.
const MOST_BYTES: usize = 4 << 20;
/// A response that was told this moment may still be on its way to the store: it is looked for once more after this.
const ON_ITS_WAY: Duration = Duration::from_millis(20);
/// How often it is looked for while this worker is still sealing some.
const MOST_LOOKS: usize = 50;
/// How long the store is waited for where nobody else can say what was said before: without it the request has to fail.
const NEEDED: Duration = Duration::from_secs(2);
/// Items of a list: so many where nobody says how many, and so many at most.
const USUAL_ITEMS: usize = 20;
const MOST_ITEMS: usize = 100;

/// What is kept of a response.
#[derive(Deserialize)]
pub(super) struct Kept<'a> {
    /// All that it answers: items.
    #[serde(borrow)]
    pub(super) input: Vec<&'a RawValue>,
    /// The response itself.
    #[serde(borrow)]
    pub(super) response: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct Output<'a> {
    #[serde(borrow)]
    pub(super) output: Vec<&'a RawValue>,
}

/// An item, as far as a reference goes.
#[derive(Default, Deserialize)]
pub(super) struct Reference<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(default)]
    role: Option<IgnoredAny>,
}

impl Reference<'_> {
    /// Whether it stands for another item: it says so, or it is nothing but an id, as the reference allows.
    pub(super) fn is_one(&self) -> bool {
        match &self.kind {
            Some(kind) => kind == "item_reference",
            None => self.role.is_none() && self.id.is_some(),
        }
    }
}

/// Keeps one response.
pub(super) struct Keeper {
    latest: Arc<Latest>,
    store: Store,
    vault: Vault,
    owner: String,
    life: Duration,
    /// The items that it answers, with a comma between them.
    input: String,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// What is kept under an id, for this caller.
pub(super) async fn find(app: &App, owner: &str, id: &str) -> Result<Option<Vec<u8>>, ApiError> {
    let key = key(owner, id);
    for at in 0..MOST_LOOKS {
        // Asked before the look: what is being sealed now is known at the next one.
        let is_sealing = app.responses.is_sealing();
        match look(app, &key).await? {
            Look::Found(kept) => return Ok(Some(kept)),
            Look::Gone => return Ok(None),
            // Twice, since another worker's may be on its way to the store.
            Look::Unknown if at > 0 && !is_sealing => return Ok(None),
            Look::Unknown => sleep(ON_ITS_WAY).await,
        }
    }
    Ok(None)
}

/// What a look for something kept comes to.
enum Look {
    Found(Vec<u8>),
    /// It was there, and has been forgotten or cannot be read.
    Gone,
    /// Neither this worker nor the store knows of it yet.
    Unknown,
}

async fn look(app: &App, key: &str) -> Result<Look, ApiError> {
    let open = |sealed: &[u8]| app.vault.open(Space::Responses, key, sealed);
    let known = app.responses.find(key);
    let store = match known {
        Some(_) => app.store.clone(),
        None => app.store.waiting(NEEDED),
    };
    let opened = match (store.get(Space::Responses, key).await, known) {
        // It was stored, and somebody has forgotten it.
        (Ok(None), Some(known)) if known.is_stored.load(Ordering::Relaxed) => None,
        (_, Some(known)) => open(&known.value),
        (Ok(Some(entry)), None) => {
            let opened = open(&entry.value);
            if opened.is_some() {
                let life = app.settings.http.responses_ttl;
                app.responses.keep(key, entry.value, true, life);
            }
            opened
        }
        (Ok(None), None) => return Ok(Look::Unknown),
        (Err(_), None) => {
            return Err(ApiError::not_ready(
                "the store of responses does not answer; try again later",
            ));
        }
    };
    Ok(opened.map_or(Look::Gone, Look::Found))
}

/// Of caller and id; neither can be read from it.
fn key(owner: &str, id: &str) -> String {
    let mut hash = Sha3_256::new();
    hash.update((owner.len() as u64).to_be_bytes());
    hash.update(owner);
    hash.update(id);
    let digits = hash.finalize();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Keeper {
    /// Of a response that answers these items; `None` where they are too long to be kept.
    pub(super) fn new(app: &App, owner: &str, input: String) -> Option<Self> {
        (input.len() < MOST_BYTES).then(|| Self {
            latest: Arc::clone(&app.responses),
            store: app.store.at_leisure(),
            vault: app.vault.clone(),
            owner: owner.to_owned(),
            life: app.settings.http.responses_ttl,
            input,
        })
    }

    /// Whether a response of so many bytes is kept.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        self.input.len() + bytes < MOST_BYTES
    }

    /// Keeps the response, told as JSON, and each of its items for those who refer to it; nobody waits for it.
    pub(super) fn keep(self, id: &str, response: String) {
        let id = id.to_owned();
        // From now on, not from when the task begins: whoever hears the response may refer to it at once.
        let coming = Coming::new(&self.latest);
        actix_web::rt::spawn(async move {
            let Self {
                latest,
                store,
                vault,
                owner,
                life,
                input,
            } = self;
            let sealing = aside(input.len() + response.len(), move || {
                let seal = |id: &str, value: &str| {
                    let key = key(&owner, id);
                    let sealed = vault.seal(Space::Responses, &key, value.as_bytes());
                    (key, sealed)
                };
                let whole = format!(r#"{{"input":[{input}],"response":{response}}}"#);
                let mut sealed = vec![seal(&id, &whole)];
                let said: Option<Output<'_>> = serde_json::from_str(&response).ok();
                for item in said.map(|said| said.output).unwrap_or_default() {
                    let named: Option<Reference<'_>> = serde_json::from_str(item.get()).ok();
                    if let Some(id) = named.and_then(|named| named.id) {
                        sealed.push(seal(&id, item.get()));
                    }
                }
                sealed
            });
            let sealed = sealing.await;
            let long = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
            let ends_ms = now_ms().saturating_add(long);
            // All of them before the first is waited for: the caller may come back at once.
            let mut keys = Vec::with_capacity(sealed.len());
            for (key, value) in sealed {
                latest.keep(&key, value, false, life);
                keys.push(key);
            }
            drop(coming);
            for key in keys {
                latest.store(&store, key, ends_ms).await;
            }
        });
    }
}

/// The response of an id, as JSON.
///
/// # Errors
/// 404 `response_not_found`, 503 where the store does not answer.
pub(super) async fn response(app: &App, owner: &str, id: &str) -> Result<String, ApiError> {
    let found = found(app, owner, id).await?;
    let kept: Kept<'_> = serde_json::from_slice(&found).map_err(|_| not_found(id))?;
    Ok(kept.response.get().to_owned())
}

/// Forgets it.
///
/// # Errors
/// As [`response`].
pub(super) async fn forget(app: &App, owner: &str, id: &str) -> Result<Value, ApiError> {
    found(app, owner, id).await?;
    let key = key(owner, id);
    let removed = app.store.remove(Space::Responses, &key, Expect::Anything);
    let gone = |_| ApiError::not_ready("the store of responses does not answer; try again later");
    removed.await.map_err(gone)?;
    app.responses.forget(&key);
    Ok(json!({"id": id, "object": "response", "deleted": true}))
}

/// What a response answers.
///
/// # Errors
/// As [`response`].
pub(super) async fn input_items(
    app: &App,
    owner: &str,
    id: &str,
    wanted: &super::Wanted,
) -> Result<Value, ApiError> {
    let found = found(app, owner, id).await?;
    let kept: Kept<'_> = serde_json::from_slice(&found).map_err(|_| not_found(id))?;
    let items = kept.input.iter().enumerate().map(|(at, item)| {
        let mut item: Value = serde_json::from_str(item.get()).unwrap_or_default();
        // What callers send has none, and a list without cannot be paged.
        if let Some(members) = item.as_object_mut()
            && !members.contains_key("id")
        {
            members.insert("id".to_owned(), json!(format!("item_{at}")));
        }
        item
    });
    let mut items: Vec<Value> = items.collect();
    if wanted.order.as_deref() != Some("asc") {
        items.reverse();
    }
    let is_it = |item: &Value| wanted.after.as_deref() == item.get("id").and_then(Value::as_str);
    if let Some(at) = items.iter().position(is_it) {
        items.drain(..=at);
    }
    let most = wanted.limit.unwrap_or(USUAL_ITEMS).clamp(1, MOST_ITEMS);
    let has_more = items.len() > most;
    items.truncate(most);
    let id_of = |item: Option<&Value>| item.and_then(|item| item.get("id")).cloned();
    Ok(json!({
        "object": "list", "first_id": id_of(items.first()), "last_id": id_of(items.last()), "has_more": has_more, "data": items,
    }))
}

async fn found(app: &App, owner: &str, id: &str) -> Result<Vec<u8>, ApiError> {
    if app.settings.http.responses_ttl.is_zero() {
        return Err(not_found(id));
    }
    find(app, owner, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    ApiError::response_not_found(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_caller_and_id_and_shows_neither() {
        assert_ne!(key("a", "bc"), key("ab", "c"));
        assert_ne!(key("a", "r"), key("b", "r"));
        assert!(!key("alice", "resp_1").contains("alice"));
    }
}
