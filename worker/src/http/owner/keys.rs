//! `/v1/keys`: callers' keys, made, looked at, changed and taken back by whoever has the master key. A secret is told once,
//! in the answer that made it; the store has its digest alone.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::read;
use crate::{
    app::App,
    http::{auth::Principal, error::ApiError},
    impossible::OrImpossible as _,
    keys::{KeyPatch, KeyRecord, new_secret},
    store::{Entry, Expect, Put, Space, StoreError, now_ms},
};

/// Keys on one page, where nothing is asked for.
const PAGE: usize = 100;
/// Keys that are looked through at once for one of an id.
const LOOKED_AT_ONCE: usize = 1000;

/// Which page of the list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
    after: Option<String>,
}

fn failed(error: StoreError) -> ApiError {
    ApiError::store(&error)
}

fn shown(key: &KeyRecord) -> Value {
    json!({
        "object": "key", "id": key.id, "name": key.name, "models": key.models, "limits": key.limits, "expires_at": key.expires_at,
        "enabled": key.enabled, "fail_closed": key.fail_closed, "note": key.note, "created_at": key.created_at,
    })
}

fn put(key: &KeyRecord, digest: String, expect: Expect) -> Put {
    Put {
        space: Space::Keys,
        key: digest,
        value: serde_json::to_vec(key).or_impossible("our own types with string keys serialise"),
        ends_ms: None,
        expect,
        under: None,
    }
}

/// Keys in the order of their digests, a page at a time.
pub(super) async fn list(
    caller: Principal,
    app: Data<App>,
    page: Query<Page>,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    let store = app.store.at_leisure();
    let limit = page.limit.unwrap_or(PAGE).clamp(1, LOOKED_AT_ONCE);
    let after = match &page.after {
        Some(id) => find(&app, id).await?.0,
        None => String::new(),
    };
    // One more than wanted tells whether there are more.
    let mut entries = store
        .list(Space::Keys, &after, limit + 1)
        .await
        .map_err(failed)?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let keys: Vec<Value> = entries
        .iter()
        // What cannot be read is no key, and need not stop the list.
        .filter_map(|(_, entry)| parsed(entry))
        .map(|key| shown(&key))
        .collect();
    // The last of this page: the next one begins behind it.
    let last = keys.last().map(|key| key["id"].clone());
    Ok(HttpResponse::Ok()
        .json(json!({"object": "list", "data": keys, "has_more": has_more, "last_id": last})))
}

fn parsed(entry: &Entry) -> Option<KeyRecord> {
    serde_json::from_slice(&entry.value).ok()
}

/// The key of an id: its digest, what it is, and its version. Ids are few, and asked for by people: all keys are looked
/// through, so that no second index can disagree with the first.
async fn find(app: &App, id: &str) -> Result<(String, KeyRecord, u64), ApiError> {
    let store = app.store.at_leisure();
    let mut after = String::new();
    loop {
        let page = store
            .list(Space::Keys, &after, LOOKED_AT_ONCE)
            .await
            .map_err(failed)?;
        let Some((last, _)) = page.last() else {
            return Err(ApiError::no_such("key"));
        };
        after.clone_from(last);
        for (digest, entry) in page {
            if let Some(key) = parsed(&entry).filter(|key| key.id == id) {
                return Ok((digest, key, entry.version));
            }
        }
    }
}

/// Makes a key; the answer has its secret in `key`.
pub(super) async fn create(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    let patch: KeyPatch = read(&http, &app, payload).await?;
    let id = format!("key_{}", Uuid::new_v4().simple());
    let key = KeyRecord::new(id, now_ms() / 1000).patched(patch)?;
    let (secret, digest) = new_secret();
    let made = app
        .store
        .at_leisure()
        // Only where there is none: a digest that is there is another key.
        .put(put(&key, digest, Expect::Absent))
        .await;
    made.map_err(failed)?
        .ok_or_else(ApiError::changed_meanwhile)?;
    tracing::info!(key = key.id, name = key.name, "key made");
    let mut answer = shown(&key);
    answer["key"] = secret.expose().into();
    Ok(HttpResponse::Created().json(answer))
}

/// One key.
pub(super) async fn one(
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    let (_, key, _) = find(&app, &id).await?;
    Ok(HttpResponse::Ok().json(shown(&key)))
}

/// Changes what the body names.
pub(super) async fn change(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    let patch: KeyPatch = read(&http, &app, payload).await?;
    let (digest, key, version) = find(&app, &id).await?;
    let key = key.patched(patch)?;
    let changed = app
        .store
        .at_leisure()
        // By its version: two that change it at once would each lose the other's change.
        .put(put(&key, digest.clone(), Expect::Version(version)))
        .await;
    changed
        .map_err(failed)?
        .ok_or_else(ApiError::changed_meanwhile)?;
    // Here at once; other workers notice when their copy ends.
    app.keyring.forget(&digest);
    tracing::info!(key = key.id, name = key.name, "key changed");
    Ok(HttpResponse::Ok().json(shown(&key)))
}

/// Takes a key back: here at once, at the other workers within seconds.
pub(super) async fn delete(
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    let (digest, key, _) = find(&app, &id).await?;
    let gone = app
        .store
        .at_leisure()
        // Whatever it is now: taking it back must not fail because it was changed.
        .remove(Space::Keys, &digest, Expect::Anything)
        .await;
    gone.map_err(failed)?;
    app.keyring.forget(&digest);
    tracing::info!(key = key.id, name = key.name, "key deleted");
    Ok(HttpResponse::Ok().json(json!({"object": "key", "id": key.id, "deleted": true})))
}
