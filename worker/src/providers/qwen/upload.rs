//! Pictures and documents of the last message: stored, linked, checked. Source: `wire/qwen.md` section 4.4.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    account::Account,
    generation::{Failure, is_page},
    refusal,
    wire::{self, Caller, Envelope, UploadToken},
};
use crate::{
    chat::{Kind, ProviderError},
    providers::Turn,
    upstream::{Request, fetch::Attachment},
};

const CHECK_EVERY: Duration = Duration::from_secs(1);
const MOST_CHECKS: usize = 120;

#[derive(Deserialize)]
struct PictureLink {
    url: String,
}

#[derive(Deserialize)]
struct DocumentLinks {
    results: Vec<DocumentLink>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentLink {
    url: Option<String>,
    doc_id: Option<Value>,
    error_msg: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecurityResult {
    poll_end_flag: Option<bool>,
    status_list: Option<Vec<SecurityStatus>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecurityStatus {
    status: Option<i64>,
    error_msg: Option<String>,
}

/// Uploads one attachment; the item for `contents`.
///
/// # Errors
/// 400 `file_rejected` when the service refuses it; transport faults.
pub(super) async fn upload(
    turn: &Turn,
    caller: Caller<'_>,
    upload_base_url: Option<&str>,
    file: &Attachment,
) -> Result<Value, Failure> {
    // Asked for once a file: it names the place, and the credentials end with it.
    let token: UploadToken = call(turn, caller.account, wire::upload_token(caller)).await?;
    let stored = turn
        .send(wire::store(
            caller,
            upload_base_url,
            &token,
            file,
            turn.uuid().simple().to_string(),
        ))
        .await?;
    // 200 exactly: the form has asked for it.
    match stored.status.as_u16() {
        200 => {}
        500.. => {
            return Err(ProviderError::new(Kind::Unavailable, "the file store failed").into());
        }
        _ => return Err(refusal::file_rejected("the file store did not take it").into()),
    }
    if file.is_image() {
        let link: PictureLink = call(
            turn,
            caller.account,
            wire::picture_link(caller, &file.name, &token.dir),
        )
        .await?;
        return Ok(json!({"role": "user", "contentType": "image", "content": link.url}));
    }
    let links: DocumentLinks = call(
        turn,
        caller.account,
        wire::document_link(caller, &file.name, &token.dir),
    )
    .await?;
    let link = links
        .results
        .into_iter()
        .next()
        .ok_or_else(|| ProviderError::malformed("list of links"))?;
    // Its own words first: the list says why a document was refused.
    let Some(url) = link.url.filter(|url| !url.is_empty()) else {
        return Err(refusal::file_rejected(link.error_msg.as_deref().unwrap_or_default()).into());
    };
    check(turn, caller, &url).await?;
    let ext = json!({"fileSize": file.bytes.len(), "docId": link.doc_id});
    Ok(json!({"role": "user", "contentType": "file", "content": url, "ext": ext}))
}

async fn check(turn: &Turn, caller: Caller<'_>, url: &str) -> Result<(), Failure> {
    for _ in 0..MOST_CHECKS {
        let result: SecurityResult =
            call(turn, caller.account, wire::security_result(caller, url)).await?;
        // Only the first: one document is asked for (section 4.4 step 5).
        let first = result.status_list.into_iter().flatten().next();
        if let Some(refused) = first.filter(|first| first.status == Some(0)) {
            return Err(
                refusal::file_rejected(refused.error_msg.as_deref().unwrap_or_default()).into(),
            );
        }
        if result.poll_end_flag == Some(true) {
            return Ok(());
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
    Err(refusal::file_rejected("its security check did not end in time").into())
}

/// A short call: its data, or what its refusal means.
async fn call<T: serde::de::DeserializeOwned>(
    turn: &Turn,
    account: &Account,
    request: Request,
) -> Result<T, Failure> {
    let mut answer = turn.messenger().send(request).await?;
    let (status, content_type) = (answer.status.as_u16(), answer.content_type());
    // By type too: a body that is a page is not read as JSON.
    if !answer.status.is_success() || content_type == "text/html" {
        let retry_after = answer.retry_after();
        let body = answer.short().await.unwrap_or_default();
        let error = refusal::refusal(status, &body, &account.variable);
        let error = error.with_retry_after(retry_after);
        return Err(Failure::judged(
            status,
            is_page(&content_type, &body),
            error,
        ));
    }
    let envelope = answer.json::<Envelope<T>>().await?;
    Ok(envelope.into_data(&account.variable)?)
}
