//! Responses that are kept for a while (`RESPONSES_TTL`): `previous_response_id` goes on from one, and `GET`, `DELETE` and
//! `input_items` show it. In the store, so that every worker knows them; sealed, since they are what people say; under a key
//! that is made of caller and id, so that nobody finds another's. Source: doors.md section 4, issue "what a cluster must know
//! together" item 8.
//!
//! What this worker has made or seen of late it remembers as well, sealed likewise: while the store cannot be asked chats go on
//! from there, and what could not be written is written when it is back.
//!
//! ```text
//!   body ── recall ──► the items of the response before, and its own ──► body::read, as if all had been sent
//!                                                       └── keep: these, and the response, when it is told
//! ```

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json, value::RawValue};
use sha3::{Digest as _, Sha3_256};
use tokio::time::sleep;

use super::latest::{Coming, Latest};
use crate::{
    app::App,
    chat::{Invalid, aside::aside},
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
/// Most items of an input that refers to others: each is looked for.
const MOST_REFERRING: usize = 1000;
/// Items of a list: so many where nobody says how many, and so many at most.
const USUAL_ITEMS: usize = 20;
const MOST_ITEMS: usize = 100;

/// What is kept of a response.
#[derive(Deserialize)]
struct Kept<'a> {
    /// All that it answers: items.
    #[serde(borrow)]
    input: Vec<&'a RawValue>,
    /// The response itself.
    #[serde(borrow)]
    response: &'a RawValue,
}

/// What becomes of a response once it is told, and what its request goes on from.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The response that it goes on from.
    pub(super) previous: Option<String>,
    /// Where it is kept; `None`: nowhere.
    pub(super) keeper: Option<Keeper>,
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

/// The members that matter here, and all of them as they are written.
struct Body<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> de::Visitor<'de> for Members {
            type Value = Body<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Body<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Body(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Body<'a> {
    /// The last one counts, as for every reader of JSON here.
    fn member(&self, name: &str) -> Option<&'a RawValue> {
        let mut members = self.0.iter().rev();
        members.find(|(known, _)| known == name).map(|(_, it)| *it)
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.member(name)?.get()).ok()
    }

    /// Whether the response is to be kept: it is, unless the caller says otherwise.
    fn is_kept(&self) -> bool {
        let store = self.member("store").map(RawValue::get);
        !matches!(store, Some("false"))
    }

    /// The items of `input`, with a comma between them; `None` where it is none.
    fn input(&self) -> Option<String> {
        let raw = self.member("input")?.get();
        if raw.starts_with('"') {
            return Some(format!(
                r#"{{"type":"message","role":"user","content":{raw}}}"#
            ));
        }
        let inside = raw.strip_prefix('[')?.strip_suffix(']')?;
        Some(inside.trim().to_owned())
    }

    /// The same with other items, and without what they were had by.
    fn with_input(&self, items: &str) -> String {
        let mut written = String::from("{");
        for (name, value) in &self.0 {
            if name == "input" || name == "previous_response_id" {
                continue;
            }
            written.push_str(&Value::from(&**name).to_string());
            written.extend([":", value.get(), ","]);
        }
        written.extend(["\"input\":[", items, "]}"]);
        written
    }
}

/// Puts what came before in front of a request's input, and says what becomes of its response. A body that says nothing of
/// either comes back as it is; one that is no JSON is for its reader to refuse.
///
/// # Errors
/// 400 `previous_response_not_found`; 503 where the store does not answer.
pub(super) async fn recall(app: &App, owner: &str, body: Bytes) -> Result<(Bytes, Plan), ApiError> {
    let life = app.settings.http.responses_ttl;
    if life.is_zero() {
        return Ok((body, Plan::default()));
    }
    let length = body.len();
    let whole = body.clone();
    let looked = aside(length, move || {
        let members: Body<'_> = serde_json::from_slice(&whole).ok()?;
        let references = members.member("input").is_some_and(refers);
        Some((
            members.text("previous_response_id"),
            members.is_kept(),
            members.input()?,
            references,
        ))
    });
    let Some((previous, is_kept, input, refers)) = looked.await else {
        return Ok((body, Plan::default()));
    };
    let mut items = String::new();
    if let Some(id) = &previous {
        let found = find(app, owner, id).await?;
        let found = found.ok_or_else(|| no_previous(id))?;
        let kept: Kept<'_> = serde_json::from_slice(&found).map_err(|_| no_previous(id))?;
        let response: Output<'_> =
            serde_json::from_str(kept.response.get()).map_err(|_| no_previous(id))?;
        join(
            &mut items,
            kept.input.iter().chain(&response.output).copied(),
        );
    }
    if refers {
        refer(app, owner, &mut items, &input).await?;
    } else {
        add(&mut items, &input);
    }
    let body = if previous.is_some() || refers {
        let (whole, items) = (body, items.clone());
        let merged = aside(length + items.len(), move || {
            let members: Option<Body<'_>> = serde_json::from_slice(&whole).ok();
            members.map(|members| members.with_input(&items))
        });
        // It was read a moment ago.
        merged.await.unwrap_or_default().into()
    } else {
        body
    };
    let keeper = (is_kept && items.len() < MOST_BYTES).then(|| Keeper {
        latest: Arc::clone(&app.responses),
        store: app.store.at_leisure(),
        vault: app.vault.clone(),
        owner: owner.to_owned(),
        life,
        input: items,
    });
    Ok((body, Plan { previous, keeper }))
}

fn add(items: &mut String, more: &str) {
    if !items.is_empty() && !more.is_empty() {
        items.push(',');
    }
    items.push_str(more);
}

fn join<'a>(items: &mut String, more: impl Iterator<Item = &'a RawValue>) {
    for item in more {
        add(items, item.get());
    }
}

/// Whether some item stands for another one.
fn refers(input: &RawValue) -> bool {
    input.get().contains("item_reference")
}

/// An item, as far as a reference goes.
#[derive(Default, Deserialize)]
struct Reference<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

/// Adds the items of `input`. What stands for an item of a response that is kept becomes that item; one of the responses
/// before stands there already.
async fn refer(app: &App, owner: &str, items: &mut String, input: &str) -> Result<(), ApiError> {
    let (before, list) = (format!("[{items}]"), format!("[{input}]"));
    let before: Vec<Reference<'_>> = serde_json::from_str(&before).unwrap_or_default();
    let Ok(new) = serde_json::from_str::<Vec<&RawValue>>(&list) else {
        // For the reader of the body to refuse.
        add(items, input);
        return Ok(());
    };
    if new.len() > MOST_REFERRING {
        let why = format!("An 'input' that refers to items has at most {MOST_REFERRING} of them.");
        return Err(Invalid::field("input", why).into());
    }
    let looks = new.iter().map(|item| {
        let reference: Option<Reference<'_>> = serde_json::from_str(item.get()).ok();
        let reference = reference.filter(|it| it.kind.as_deref() == Some("item_reference"));
        let id = reference.map(|it| it.id.unwrap_or_default().into_owned());
        let code = code(id.as_deref().unwrap_or_default(), "item_not_found");
        let is_there = before
            .iter()
            .any(|it| it.id.is_some() && it.id.as_deref() == id.as_deref());
        async move {
            let found = match id {
                Some(_) if is_there => Some(String::new()),
                Some(id) => {
                    let found = find(app, owner, &id).await?;
                    found.and_then(|item| String::from_utf8(item).ok())
                }
                None => Some(item.get().to_owned()),
            };
            Ok::<_, ApiError>((found, code))
        }
    });
    let found = join_all(looks).await;
    for (at, item) in found.into_iter().enumerate() {
        let (item, code) = item?;
        let Some(item) = item else {
            let why = "The item that this 'item_reference' stands for is not kept here, or is not yours: send the item itself.";
            return Err(Invalid {
                code: Some(code),
                ..Invalid::field(&format!("input[{at}]"), why)
            }
            .into());
        };
        add(items, &item);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

/// What is kept under an id, for this caller.
async fn find(app: &App, owner: &str, id: &str) -> Result<Option<Vec<u8>>, ApiError> {
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

fn no_previous(id: &str) -> ApiError {
    let why = "The response before is not kept here: it never was, or is no longer, or is not yours. Send the whole conversation in 'input'.";
    Invalid {
        code: Some(code(id, "previous_response_not_found")),
        ..Invalid::field("previous_response_id", why)
    }
    .into()
}

/// What was never made here cannot be found, whoever waits: then the code is that of a gateway without a memory.
fn code(id: &str, not_found: &'static str) -> &'static str {
    let is_own = id.rsplit_once('_').is_some_and(|(_, digits)| {
        digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    if is_own {
        not_found
    } else {
        "unsupported_parameter"
    }
}

impl Keeper {
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
#[path = "state_tests.rs"]
mod tests;
