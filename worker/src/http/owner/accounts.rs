//! `/v1/accounts`: the providers' accounts, looked at, added, checked and removed by whoever has the master key. Of a
//! credential nothing is ever told: an account's id is the fingerprint of what was pasted.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Payload, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    accounts::{Listed, copied::Har},
    app::App,
    chat::Kind,
    http::{auth::Principal, body, error::ApiError},
    providers::Provider,
    roster::{
        NotAdded,
        checks::{self, Check},
        find::{Found, Search},
    },
    store::StoreError,
    upstream::Client,
};

/// Longest note.
const MOST_NOTE: usize = 1000;

/// What the address may say beside a body that is the credential itself.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    provider: Option<String>,
}

/// A body of JSON. Debug is not derived: it holds credentials.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    provider: Option<String>,
    note: Option<String>,
    /// A cookie, a token, a cURL command.
    credential: Option<String>,
    har: Option<Har>,
    values: Option<BTreeMap<String, String>>,
}

/// An account of one of the providers.
struct Account {
    provider: Arc<dyn Provider>,
    listed: Listed,
    expires: Option<u64>,
}

fn failed(error: StoreError) -> ApiError {
    ApiError::store(&error)
}

fn all(app: &App) -> Vec<Account> {
    let providers = app.registry.providers().iter();
    let of = |provider: &Arc<dyn Provider>| {
        let ends: BTreeMap<usize, u64> = provider.expiries().into_iter().collect();
        let provider = Arc::clone(provider);
        let listed = provider.accounts().listed();
        let of_one = move |listed: Listed| Account {
            expires: ends.get(&listed.number).copied(),
            provider: Arc::clone(&provider),
            listed,
        };
        listed.into_iter().map(of_one)
    };
    providers.flat_map(of).collect()
}

fn find(app: &App, id: &str) -> Result<Account, ApiError> {
    let is_it = |account: &Account| account.listed.fingerprint.as_str() == id;
    let found = all(app).into_iter().find(is_it);
    found.ok_or_else(|| ApiError::no_such("account"))
}

fn shown(app: &App, account: &Account) -> Value {
    let listed = &account.listed;
    let id = listed.fingerprint.as_str();
    let added = app.roster.find(id);
    let standing = &listed.standing;
    let rests = standing.rests_until_ms.max(standing.probe_ms);
    let rests = rests
        .filter(|_| listed.state != "ready")
        .map(|ms| ms / 1000);
    let error = standing.error.as_ref();
    let error = error.map(|(kind, code, _)| json!({"kind": kind, "code": code}));
    let check = app.roster.last_check_of(id);
    json!({
        "object": "account", "id": id, "provider": account.provider.name(), "number": listed.number,
        "source": if added.is_some() { "added" } else { "env" },
        "variable": if added.is_some() { None } else { Some(&listed.variable) },
        "state": listed.state, "rest_until": rests, "failures": standing.failures, "last_error": error,
        "in_flight": listed.in_flight, "expires_at": account.expires,
        "checked_at": check.as_ref().map(|check| check.checked_ms / 1000),
        "check": check.as_ref().map(told), "quota": check.and_then(|check| check.quota),
        "note": added.as_ref().and_then(|added| added.note.as_ref()),
        "created_at": added.as_ref().map(|added| added.added_ms / 1000),
    })
}

/// What came of a check.
fn told(check: &Check) -> Value {
    match &check.error {
        None => json!({"ok": true}),
        Some((kind, _)) if !check.is_known() => json!({"ok": null, "kind": kind}),
        Some((kind, code)) => json!({"ok": false, "kind": kind, "code": code}),
    }
}

/// All accounts.
pub(super) async fn list(caller: Principal, app: Data<App>) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    let accounts = all(&app);
    let accounts: Vec<Value> = accounts
        .iter()
        .map(|account| shown(&app, account))
        .collect();
    Ok(HttpResponse::Ok().json(json!({"object": "list", "data": accounts})))
}

/// One account.
pub(super) async fn one(
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    Ok(HttpResponse::Ok().json(shown(&app, &find(&app, &id)?)))
}

/// Asks an account's service about it, now.
pub(super) async fn check(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    let account = find(&app, &id)?;
    let client = client(&http)?;
    let checked = checks::check(&app, client, &account.provider, &account.listed).await;
    if checked.is_none() {
        return Err(ApiError::not_with_this_account(
            "no_check",
            "This account's service has no call that tells how an account is, short of a question.",
        ));
    }
    Ok(HttpResponse::Ok().json(shown(&app, &find(&app, &id)?)))
}

/// The thread's own.
fn client(http: &HttpRequest) -> Result<&Client, ApiError> {
    let client = http.app_data::<Client>();
    client.ok_or_else(|| ApiError::not_ready("this worker has no client"))
}

/// Adds the account that somebody has copied, once its service has taken it.
pub(super) async fn add(
    http: HttpRequest,
    caller: Principal,
    app: Data<App>,
    named: Query<Named>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    let mut share = app.memory.share();
    let bytes = body::read(&http, payload, &app.settings.http, &mut share).await?;
    let (asked, (provider, values)) = search(&app, &bytes, named.provider.as_deref())?;
    let note = asked.filter(|note| !note.is_empty());
    if note.as_ref().is_some_and(|note| note.len() > MOST_NOTE) {
        return Err(ApiError::bad_request(format!(
            "A note has at most {MOST_NOTE} bytes."
        )));
    }
    let _alone = app.roster.alone().await;
    let tried = app.roster.try_out(&provider, values, note);
    let (listed, added) = tried.map_err(|why| match why {
        NotAdded::Unfit(problems) => ApiError::no_credential(format!(
            "This is no credential that can be used: {}.",
            problems.join("; ")
        )),
        NotAdded::Known => ApiError::not_with_this_account(
            "account_exists",
            "This account is there already, or its provider takes one alone.",
        ),
    })?;
    let id = listed.fingerprint.as_str().to_owned();
    let checked = match client(&http) {
        Ok(client) => checks::check(&app, client, &provider, &listed).await,
        Err(_) => None,
    };
    let refused = checked.and_then(|check| check.error);
    if refused.is_some_and(|(kind, _)| kind == Kind::AuthExpired.label()) {
        app.roster.give_up(&provider);
        return Err(ApiError::no_credential(if provider.lane().is_some() {
            format!(
                "The API of {} does not take this key: it is wrong, was withdrawn, or was not copied whole.",
                provider.name()
            )
        } else {
            format!(
                "{} does not take this credential: it has ended, or it was not copied whole. Sign in there and copy it anew.",
                provider.card().title
            )
        }));
    }
    let kept = app.roster.keep(&app.registry, &id, added).await;
    if !matches!(kept, Ok(true)) {
        app.roster.give_up(&provider);
    }
    if !kept.map_err(failed)? {
        return Err(ApiError::changed_meanwhile());
    }
    app.lasting.forget();
    tracing::info!(provider = provider.name(), account = id, "account added");
    Ok(HttpResponse::Created().json(shown(&app, &find(&app, &id)?)))
}

/// What a body holds, whichever of the shapes it has, and its note.
fn search(
    app: &App,
    bytes: &[u8],
    named: Option<&str>,
) -> Result<(Option<String>, Found), ApiError> {
    let search = |named| Search {
        providers: app.registry.providers(),
        vars: &app.settings.vars,
        named,
    };
    let unfit = |why: String| ApiError::no_credential(why);
    let text = std::str::from_utf8(bytes)
        .map_err(|_| ApiError::bad_request("The body must be text in UTF-8."))?;
    // Serde's own words may quote what it read.
    let odd = |error: serde_json::Error| {
        ApiError::bad_request(format!(
            "The body cannot be read: it must be an object with `credential`, `har` or `values`, and perhaps `provider` and `note`, or a HAR file (line {}, column {}).",
            error.line(),
            error.column()
        ))
    };
    if !text.trim_start().starts_with('{') {
        let found = search(named).in_text(text).map_err(unfit)?;
        return Ok((None, found));
    }
    let is_har = {
        #[derive(Deserialize)]
        struct Top {
            log: Option<serde::de::IgnoredAny>,
        }
        serde_json::from_str::<Top>(text).is_ok_and(|top| top.log.is_some())
    };
    if is_har {
        let har: Har = serde_json::from_str(text).map_err(odd)?;
        let found = search(named).in_requests(har.requests()).map_err(unfit)?;
        return Ok((None, found));
    }
    let asked: Asked = serde_json::from_str(text).map_err(odd)?;
    let named = asked.provider.as_deref().or(named);
    let search = search(named);
    let found = match (asked.credential, asked.har, asked.values) {
        (Some(text), None, None) => match serde_json::from_str::<Har>(&text) {
            Ok(har) => search.in_requests(har.requests()),
            Err(_) => search.in_text(&text),
        },
        (None, Some(har), None) => search.in_requests(har.requests()),
        (None, None, Some(values)) => search.in_values(&values),
        _ => {
            return Err(ApiError::bad_request(
                "Send one of `credential`, `har` and `values`.",
            ));
        }
    };
    Ok((asked.note, found.map_err(unfit)?))
}

/// Removes an account that was added: here at once, at the other workers within seconds.
pub(super) async fn delete(
    caller: Principal,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    caller.expect_master()?;
    if app.roster.find(&id).is_none() {
        let account = find(&app, &id)?;
        return Err(ApiError::not_with_this_account(
            "account_of_settings",
            format!(
                "This account stands in the settings: take {} out of the environment or the accounts file.",
                account.listed.variable
            ),
        ));
    }
    let removed = app.roster.remove(&app.registry, &id).await;
    removed.map_err(failed)?;
    tracing::info!(account = &**id, "account removed");
    Ok(HttpResponse::Ok().json(json!({"object": "account", "id": &**id, "deleted": true})))
}
