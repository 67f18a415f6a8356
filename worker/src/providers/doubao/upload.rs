//! Pictures and documents: stored in five steps, the last of them for pictures alone. Source: `wire/doubao.md` section 4.6.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    account::Account,
    attachment::{Measured, document, extension, picture},
    refusal,
    sign::{self, Call, Keys},
    wire::{Caller, File},
};
use crate::{
    chat::{Kind, ProviderError},
    providers::Turn,
    upstream::{Request, fetch::Attachment, json as loose},
};

const API_VERSION: &str = "2018-08-01";
/// The service's own assistant; the page names it whichever is asked.
const BOT: &str = "7338286299411103781";
const STORED: i64 = 2000;

/// Where files are stored.
#[derive(Debug)]
pub(super) struct Store {
    /// `DOUBAO_BASE_URL`.
    pub(super) base_url: String,
    /// `DOUBAO_UPLOAD_BASE_URL`: in place of the host that the service names.
    pub(super) upload_base_url: Option<String>,
    /// `DOUBAO_IMAGEX_BASE_URL`: the older variant, whose signature covers the host.
    pub(super) imagex_base_url: Option<String>,
}

#[derive(Deserialize)]
struct Prepared {
    service_id: String,
    upload_auth_token: UploadKeys,
}

#[derive(Deserialize)]
struct UploadKeys {
    access_key: String,
    secret_key: String,
    session_token: String,
}

#[derive(Deserialize)]
struct Applied {
    #[serde(rename = "UploadAddress")]
    address: Address,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    store_infos: Vec<StoreInfo>,
    upload_hosts: Vec<String>,
    session_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StoreInfo {
    store_uri: String,
    auth: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Committed {
    results: Vec<Stored>,
    #[serde(default)]
    plugin_result: Vec<Measured>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    uri: String,
    uri_status: i64,
}

/// Uploads one attachment; how the question names it.
///
/// # Errors
/// 400 `file_rejected` when the service refuses it; refusals; transport faults.
pub(super) async fn upload(
    turn: &Turn,
    store: &Store,
    account: &Account,
    file: &Attachment,
) -> Result<File, ProviderError> {
    let caller = || Caller {
        base_url: &store.base_url,
        account,
        tab: turn.uuid(),
    };
    let kind = if file.is_image() { 2 } else { 1 };
    let request = json!({"tenant_id": "5", "scene_id": "5", "resource_type": kind});
    let request = caller().post("prepare_upload", "/alice/resource/prepare_upload", &request);
    let prepared: Prepared = data(turn, request, account).await?;
    let size = file.bytes.len().to_string();
    let extension = extension(&file.name);
    let mut apply = vec![
        ("Action", "ApplyImageUpload"),
        ("Version", API_VERSION),
        ("ServiceId", prepared.service_id.as_str()),
        ("NeedFallback", "true"),
        ("FileSize", size.as_str()),
        ("FileExtension", extension.as_str()),
    ];
    if store.imagex_base_url.is_some() {
        apply.push(("UploadNum", "1"));
    }
    let keys = &prepared.upload_auth_token;
    let request = signed(store, caller(), keys, turn.unix_ms(), &apply, None);
    let applied: Applied = result(turn, request).await?;
    let (info, host) = applied.address.place()?;
    put(turn, store, caller(), file, info, host).await?;
    let commit = [
        ("Action", "CommitImageUpload"),
        ("Version", API_VERSION),
        ("ServiceId", prepared.service_id.as_str()),
    ];
    let body = json!({"SessionKey": applied.address.session_key}).to_string();
    let request = signed(store, caller(), keys, turn.unix_ms(), &commit, Some(body));
    let committed: Committed = result(turn, request).await?;
    let stored = committed.results.into_iter().next();
    let stored = stored.ok_or_else(|| ProviderError::malformed("stored file"))?;
    // Kept and not merely taken: only then does its address lead anywhere.
    if stored.uri_status != STORED {
        return Err(refusal::file_rejected("the file store did not keep it"));
    }
    let (identifier, message_id) = (turn.uuid().to_string(), turn.uuid().to_string());
    if !file.is_image() {
        return Ok(document(file, &stored.uri, &identifier, message_id));
    }
    let entity = json!({
        "uplink_entity": {
            "entity_type": 2, "entity_content": {"image": {"key": stored.uri}}, "identifier": identifier,
        },
        "bot_id": BOT, "local_message_id": message_id,
    });
    let path = "/alice/message/pre_handle_v2_without_conv";
    let _: Value = answer(turn, caller().post("pre_handle", path, &entity), account).await?;
    // The store measures pictures; a missing measure is taken from the file itself.
    let measured = committed
        .plugin_result
        .into_iter()
        .next()
        .unwrap_or_default();
    Ok(picture(
        file,
        &stored.uri,
        &identifier,
        message_id,
        &measured,
    ))
}

impl Address {
    fn place(&self) -> Result<(&StoreInfo, &str), ProviderError> {
        let info = self.store_infos.first();
        info.zip(self.upload_hosts.first().map(String::as_str))
            .ok_or_else(|| ProviderError::malformed("upload address"))
    }
}

/// Stores the bytes themselves.
async fn put(
    turn: &Turn,
    store: &Store,
    caller: Caller<'_>,
    file: &Attachment,
    info: &StoreInfo,
    host: &str,
) -> Result<(), ProviderError> {
    let base_url = match &store.upload_base_url {
        Some(own) => own.clone(),
        None => format!("https://{host}"),
    };
    // A quote would end the header's value.
    let name = file.name.replace(['"', '\\'], "_");
    let mut request = caller.browser(Request::post(
        "store",
        format!("{base_url}/upload/v1/{}", info.store_uri),
    ));
    // Another house: it is nobody's business who is signed in.
    request.headers.retain(|(name, _)| name != "cookie");
    let request = request
        .header("authorization", &info.auth)
        .header("content-crc32", sign::crc32(&file.bytes))
        .header("content-type", "application/octet-stream")
        .header(
            "content-disposition",
            format!("attachment; filename=\"{name}\""),
        )
        .body(file.bytes.clone());
    let mut stored = turn.send(request).await?;
    let status = stored.status.as_u16();
    // The status decides where the body breaks off.
    let body = stored.short().await.unwrap_or_default();
    let code = loose::value(&body).and_then(|(body, _)| body.get("code")?.as_i64());
    match (status, code) {
        (200, Some(STORED)) => Ok(()),
        (500.., _) => Err(ProviderError::new(
            Kind::Unavailable,
            "the file store failed",
        )),
        _ => Err(refusal::file_rejected("the file store did not take it")),
    }
}

/// A signed call to the file store's API.
fn signed(
    store: &Store,
    caller: Caller<'_>,
    keys: &UploadKeys,
    unix_ms: u64,
    pairs: &[(&str, &str)],
    body: Option<String>,
) -> Request {
    let (query, date) = (sign::query(pairs), sign::date(unix_ms));
    let (base_url, path) = match &store.imagex_base_url {
        Some(own) => (own.as_str(), "/"),
        None => (store.base_url.as_str(), "/top/v1"),
    };
    // What follows the host is part of the path that is signed.
    let authority = base_url
        .split_once("://")
        .map_or(base_url, |(_, rest)| rest);
    let (host, prefix) = match authority.find('/') {
        Some(at) => authority.split_at(at),
        None => (authority, ""),
    };
    let signed_path = format!("{prefix}{path}");
    let body = body.unwrap_or_default();
    let (step, method) = if body.is_empty() {
        ("apply_upload", "GET")
    } else {
        ("commit_upload", "POST")
    };
    let call = Call {
        method,
        path: &signed_path,
        query: &query,
        // Only the older variant signs its host (section 5.3, alternate).
        host: store.imagex_base_url.as_ref().map(|_| host),
        body: body.as_bytes(),
        date: &date,
    };
    let keys = Keys {
        access_key: &keys.access_key,
        secret_key: &keys.secret_key,
        session_token: &keys.session_token,
    };
    let url = format!("{base_url}{path}?{query}");
    let request = if body.is_empty() {
        Request::get(step, url)
    } else {
        Request::post(step, url)
    };
    let mut request = caller.browser(request);
    if store.imagex_base_url.is_some() {
        request.headers.retain(|(name, _)| name != "cookie");
    }
    let request = request
        .header("authorization", sign::authorization(keys, call))
        .header("x-amz-date", &date)
        .header("x-amz-security-token", keys.session_token);
    if body.is_empty() {
        request
    } else {
        request
            .header("content-type", "application/json")
            .body(body)
    }
}

/// The `data` of a short call.
async fn data<T: DeserializeOwned>(
    turn: &Turn,
    request: Request,
    account: &Account,
) -> Result<T, ProviderError> {
    let mut answer = answer(turn, request, account).await?;
    // Null where it is missing, which is none of the types that are read here.
    let data = answer.get_mut("data").map(Value::take).unwrap_or_default();
    serde_json::from_value(data).map_err(|_| ProviderError::malformed("answer"))
}

/// The whole of a short call's answer, which must be a success.
pub(super) async fn answer(
    turn: &Turn,
    request: Request,
    account: &Account,
) -> Result<Value, ProviderError> {
    let mut answer = turn.send(request).await?;
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    let body = answer.short().await?;
    match loose::value(&body) {
        Some((value @ Value::Object(_), _)) if status == 200 => {
            match refusal::refused(&value, &account.variable) {
                Some(error) => Err(error),
                None => Ok(value),
            }
        }
        _ => {
            let error = refusal::refusal(status, &body, &account.variable);
            let own = error.retry_after;
            Err(error.with_retry_after(retry_after.or(own)))
        }
    }
}

/// The `Result` of a call to the file store's API.
async fn result<T: DeserializeOwned>(turn: &Turn, request: Request) -> Result<T, ProviderError> {
    let mut answer = turn.send(request).await?;
    let status = answer.status.as_u16();
    let body = answer.short().await?;
    if status >= 500 {
        return Err(ProviderError::new(
            Kind::Unavailable,
            "the file store failed",
        ));
    }
    // Null where it is no JSON: the result below is then none.
    let mut body = loose::value(&body)
        .map(|(body, _)| body)
        .unwrap_or_default();
    let error = body.get("ResponseMetadata").and_then(|it| it.get("Error"));
    if let Some(error) = error.filter(|error| error.is_object()) {
        let word = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let (code, message) = (word("Code"), word("Message"));
        return Err(refusal::file_rejected(&format!("{code} {message}")));
    }
    let result = body.get_mut("Result").map(Value::take).unwrap_or_default();
    serde_json::from_value(result).map_err(|_| ProviderError::malformed("file store's answer"))
}
