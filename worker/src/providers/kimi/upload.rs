//! Pictures and documents: uploaded, then waited for until the service has read them. Source: `wire/kimi.md`
//! section 4.4.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::{
    refusal::Refusal,
    wire::{self, Caller},
};
use crate::{
    chat::{Kind, ProviderError},
    providers::Turn,
    upstream::{Request, fetch::Attachment},
};

const CHECK_EVERY: Duration = Duration::from_secs(1);
const MOST_CHECKS: usize = 30;

#[derive(Deserialize)]
struct Uploaded {
    file: UploadedFile,
}

#[derive(Deserialize)]
struct UploadedFile {
    id: String,
}

#[derive(Deserialize)]
struct Progresses {
    #[serde(default)]
    progresses: Vec<Progress>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    file_id: Option<String>,
    status: Option<Status>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Status {
    #[serde(rename = "PROCESS_STATUS_SUCCESS")]
    Success,
    #[serde(rename = "PROCESS_STATUS_FAIL", alias = "PROCESS_STATUS_FAILED")]
    Fail,
    #[serde(other)]
    Processing,
}

/// Uploads one attachment; its id for the question.
///
/// # Errors
/// 400 `file_unparsable` when the service cannot read it; refusals; transport faults.
pub(super) async fn upload(
    turn: &Turn,
    caller: Caller<'_>,
    file: &Attachment,
    variable: &str,
) -> Result<String, ProviderError> {
    let boundary = turn.uuid().simple().to_string();
    let body = call(turn, wire::upload(caller, file, boundary), variable).await?;
    let uploaded: Uploaded =
        serde_json::from_slice(&body).map_err(|_| ProviderError::malformed("upload answer"))?;
    let id = uploaded.file.id;
    // At once, then every second: a small file is ready before the first pause.
    for check in 0..MOST_CHECKS {
        if check > 0 {
            tokio::time::sleep(CHECK_EVERY).await;
        }
        match progress(turn, caller, &id, variable).await {
            Ok(Status::Success) => return Ok(id),
            Ok(Status::Fail) => return Err(unparsable()),
            Ok(Status::Processing) => {}
            // One look more or less is of no consequence.
            Err(error) if error.kind == Kind::Unavailable => {}
            Err(error) => return Err(error),
        }
    }
    // Perhaps it is read by the time the question arrives (section 4.4 step 3).
    Ok(id)
}

async fn progress(
    turn: &Turn,
    caller: Caller<'_>,
    id: &str,
    variable: &str,
) -> Result<Status, ProviderError> {
    let body = call(turn, wire::parse_progress(caller, id), variable).await?;
    let answer: Progresses =
        serde_json::from_slice(&body).map_err(|_| ProviderError::malformed("parse progress"))?;
    let ours = answer
        .progresses
        .iter()
        .find(|progress| progress.file_id.as_deref() == Some(id));
    Ok(ours
        .and_then(|progress| progress.status)
        // What names none of ours says nothing yet.
        .unwrap_or(Status::Processing))
}

async fn call(turn: &Turn, request: Request, variable: &str) -> Result<Bytes, ProviderError> {
    let mut answer = turn.send(request).await?;
    let (status, retry_after) = (answer.status.as_u16(), answer.retry_after());
    match status {
        // Too large, of a wrong type or unreadable: all three are the file's fault.
        200 => Ok(answer.short().await?),
        413 | 415 | 422 => Err(rejected()),
        _ => {
            let body = answer.short().await.unwrap_or_default();
            Err(Refusal::http(status, &body)
                .into_error(variable)
                .with_retry_after(retry_after))
        }
    }
}

fn rejected() -> ProviderError {
    ProviderError {
        param: Some("messages".to_owned()),
        ..ProviderError::new(Kind::FileRejected, "the service refused an attachment")
    }
}

fn unparsable() -> ProviderError {
    ProviderError {
        message: "the service could not read an attachment".to_owned(),
        ..rejected()
    }
    .with_code("file_unparsable")
}
