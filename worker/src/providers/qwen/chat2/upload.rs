//! Pictures of the last message: announced, put into the store, announced as put. Source: `wire/qwen.md` section 11.7.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Contact, refusal,
    security::{self, Scene},
    store::{self, OssToken},
    wire::Seal,
};
use crate::{
    chat::{Kind, ProviderError},
    providers::{
        Turn,
        qwen::{account::Account, generation::Failure, refusal::file_rejected},
    },
    upstream::{Request, fetch::Attachment},
};

/// The envelope of the workspace's answers.
#[derive(Deserialize)]
struct Envelope<T> {
    data: Option<T>,
}

#[derive(Deserialize)]
struct Stored {
    ws_gid: Option<String>,
    material_cdn_url: Option<String>,
    material_url: Option<String>,
}

/// Uploads one picture; its item for the question.
///
/// # Errors
/// 400 `file_rejected` for anything but a picture and for what the service refuses; transport faults.
pub(super) async fn upload(
    contact: &Contact,
    account: &Account,
    turn: &Turn,
    base_url: Option<&str>,
    file: &Attachment,
) -> Result<Box<RawValue>, Failure> {
    // Section 11.7: for documents there is no evidence.
    if !file.is_image() {
        return Err(file_rejected("only pictures can be attached").into());
    }
    let client = contact.client(account);
    let token: OssToken = signed(contact, account, turn, |seal| {
        store::oss_token(client, seal, file)
    })
    .await?;
    // The same id in the call and in the store's own query (section 11.7 step 2).
    let request_id = turn.uuid().to_string();
    let put = store::put(client, base_url, &token, &request_id, file);
    let stored = turn.send(put).await?;
    match stored.status.as_u16() {
        200..300 => {}
        500.. => {
            return Err(ProviderError::new(Kind::Unavailable, "the file store failed").into());
        }
        _ => return Err(file_rejected("the file store did not take it").into()),
    }
    // Signed anew: a salt serves one call.
    let stored: Stored = signed(contact, account, turn, |seal| {
        store::oss_callback(client, seal, &token, &request_id, file)
    })
    .await?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let url = filled(stored.material_cdn_url).or_else(|| filled(stored.material_url));
    // Without an id it was refused, whatever else was said (section 11.7 step 3).
    let item = filled(stored.ws_gid)
        .zip(url)
        .and_then(|(id, url)| store::picture(&id, &url, file));
    item.ok_or_else(|| file_rejected("").into())
}

/// A signed call of the workspace: its data, or what its refusal means.
async fn signed<T: serde::de::DeserializeOwned>(
    contact: &Contact,
    account: &Account,
    turn: &Turn,
    request: impl FnOnce(&Seal<'_>) -> Request,
) -> Result<T, Failure> {
    let (pass, time) = security::pass(contact, account, Scene::Workspace, turn.unix_ms()).await?;
    let nonce = super::nonce();
    let request = request(&Seal {
        pass: &pass,
        time,
        nonce: &nonce,
    });
    let mut answer = contact.messenger.send(request).await?;
    let (status, content_type) = (answer.status.as_u16(), answer.content_type());
    let retry_after = answer.retry_after();
    let body = answer.short().await?;
    let envelope: Option<Envelope<T>> = serde_json::from_slice(&body).ok();
    let said = serde_json::from_slice(&body).ok();
    // A body that is no JSON is a refusal as well.
    let is_refused = said.is_none_or(|body| refusal::Said::read(&body).is_some());
    match envelope.and_then(|envelope| envelope.data) {
        Some(data) if status == 200 && !is_refused => Ok(data),
        _ => Err(
            match refusal::refusal(status, &content_type, &body, &account.remedy()) {
                Failure::Told(error) if error.retry_after.is_none() => {
                    Failure::Told(error.with_retry_after(retry_after))
                }
                failure => failure,
            },
        ),
    }
}
