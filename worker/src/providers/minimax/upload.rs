//! Pictures and documents: asked for a place, put there, told of; the question names them. Source: `wire/minimax.md` section
//! 11, "Files".

use bytes::Bytes;
use md5::{Digest as _, Md5};
use serde_json::Value;

use super::{call::Call, oss, refusal::Refusal, sign, site::Generation, wire};
use crate::{
    chat::{ChatRequest, Kind, ProviderError, aside::aside},
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

/// Puts those of `files` that are not in `paths` yet.
///
/// # Errors
/// 400 `file_rejected` when the store does not take one; refusals; transport faults.
pub(super) async fn upload(
    call: &Call<'_>,
    turn: &Turn,
    files: &[Attachment],
    paths: &mut Vec<String>,
) -> Result<(), Refusal> {
    // A turn that is tried again goes on where it stopped: what is uploaded stays.
    for file in files.iter().skip(paths.len()) {
        // One for each file: the keys are lent for a while, and big files take one.
        let body = call.json(wire::upload_policy(call.caller())).await?;
        let policy =
            oss::Policy::read(&body).ok_or_else(|| ProviderError::malformed("upload policy"))?;
        let bytes = Bytes::clone(&file.bytes);
        // Hashing 100 MB would keep the other turns of this thread waiting.
        let md5 = aside(bytes.len(), move || sign::hex(&Md5::digest(&bytes))).await;
        let object = oss::Object {
            name: oss::object_name(&turn.uuid().simple().to_string(), file),
            md5,
            file,
        };
        let stored = turn
            .send(policy.put(&object, turn.unix_ms() / 1000))
            .await?;
        match stored.status.as_u16() {
            200..300 => {}
            500.. => {
                let error = ProviderError::new(Kind::Unavailable, "the file store failed");
                return Err(error.into());
            }
            // The store's refusals are of the file: its size or type.
            _ => return Err(rejected().into()),
        }
        let told = wire::upload_callback(call.caller(), &policy.callback(&object));
        let body = call.json(told).await?;
        // Only the service knows the path it will look for; ours is not it.
        let path = oss::oss_path(&body).ok_or_else(|| ProviderError::malformed("upload answer"))?;
        paths.push(path);
    }
    Ok(())
}

/// What a question of a generation names uploaded files by.
pub(super) fn items(generation: Generation, files: &[Attachment], paths: &[String]) -> Vec<Value> {
    let pairs = files.iter().zip(paths);
    pairs
        .map(|(file, path)| oss::attachment(generation, path, file))
        .collect()
}

fn rejected() -> ProviderError {
    ProviderError {
        param: Some("messages".to_owned()),
        ..ProviderError::new(
            Kind::FileRejected,
            "the file store did not take an attachment",
        )
    }
}
