//! Pictures and documents: uploaded before the question that names them. Source: `wire/zhipu.md` sections 3 and 4.2.

use serde_json::Value;

use super::{
    refusal::{self, Refusal},
    wire::{self, Caller, Uploaded},
};
use crate::{
    chat::{ChatRequest, Kind, ProviderError},
    providers::Turn,
    upstream::fetch::Attachment,
};

/// The whole conversation becomes one message, so the attachments of every message go along.
///
/// # Errors
/// Those of [`Turn::attachments`].
pub(super) async fn attachments(
    ask: &ChatRequest,
    turn: &Turn,
) -> Result<Vec<Attachment>, ProviderError> {
    let mut files = Vec::new();
    for (at, message) in ask.messages.iter().enumerate() {
        files.append(&mut turn.attachments(at, message).await?);
    }
    Ok(files)
}

/// Uploads those of `files` that are not in `items` yet.
///
/// # Errors
/// 400 `file_rejected` when the service refuses one; refusals; transport faults.
pub(super) async fn upload(
    turn: &Turn,
    caller: Caller<'_>,
    variable: &str,
    files: &[Attachment],
    items: &mut Vec<Value>,
) -> Result<(), Refusal> {
    // Counted over all, since `order` is a picture's place among the pictures.
    let mut pictures = items.iter().filter(|item| item["type"] == "image").count();
    for file in files.iter().skip(items.len()) {
        let boundary = turn.uuid().simple().to_string();
        let mut answer = turn.send(wire::upload(caller, file, boundary)).await?;
        let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
        let body = answer.short().await.map_err(ProviderError::from)?;
        let Some(uploaded) = Uploaded::read(&body).filter(|_| status == 200) else {
            let refusal = refused(status, &body, variable);
            let error = refusal.error.with_retry_after(retry_after);
            // Files uploaded so far stay in `items`: the next try goes on behind them.
            return Err(Refusal { error, ..refusal });
        };
        let is_picture = uploaded.is_picture();
        items.push(uploaded.item(pictures));
        pictures += usize::from(is_picture);
    }
    Ok(())
}

/// Too large, of a type that is not taken, or without a verdict on the account or the service: the file's fault.
fn refused(status: u16, body: &[u8], variable: &str) -> Refusal {
    let refusal = refusal::refusal(status, body, variable);
    // What is said of neither account nor service is about the file.
    let is_about_file = matches!(status, 413 | 415 | 422)
        || (status < 500 && matches!(refusal.error.kind, Kind::Protocol | Kind::ModelNotFound));
    if !is_about_file {
        return refusal;
    }
    ProviderError {
        param: Some("messages".to_owned()),
        ..ProviderError::new(Kind::FileRejected, "the service refused an attachment")
    }
    .into()
}
