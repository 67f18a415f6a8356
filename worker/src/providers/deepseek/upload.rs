//! Pictures and documents: uploaded with a proof of their own, then waited for. Source: `wire/deepseek.md` section 4,
//! "Files and images".

use std::time::{Duration, Instant};

use super::{
    call::{self, call},
    refusal::{self, Refusal},
    wire::{self, Caller, FileStatus},
};
use crate::{
    chat::{Kind, ProviderError},
    providers::Turn,
    upstream::fetch::Attachment,
};

/// The page polls every 0.5 to 2 s.
const CHECK_EVERY: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Uploads one attachment; its id, once the service can use it.
///
/// # Errors
/// 400 when the service refuses the file, else what the calls say.
pub(super) async fn upload(
    turn: &Turn,
    caller: Caller<'_>,
    file: &Attachment,
) -> Result<String, Refusal> {
    let mut may_prove = true;
    let stored: wire::File = loop {
        // A proof serves one upload (section 5), so each file asks for its own.
        let proof = call::proof(turn, caller, wire::UPLOAD).await?;
        let boundary = turn.uuid().simple().to_string();
        match call(turn, wire::upload(caller, file, boundary, &proof)).await {
            Err(Refusal::Proof) if may_prove => may_prove = false,
            stored => break stored?,
        }
    };
    usable(turn, caller, stored).await
}

/// The same files for another model (section 4 step 4).
///
/// # Errors
/// As [`upload`].
pub(super) async fn fork(
    turn: &Turn,
    caller: Caller<'_>,
    ids: &mut [String],
    model: &str,
) -> Result<(), Refusal> {
    for id in ids {
        // One after the other: they are a few, and the first refusal says what is wrong with all.
        let forked: wire::File = call(turn, wire::fork_file(caller, id, model)).await?;
        *id = usable(turn, caller, forked).await?;
    }
    Ok(())
}

/// Waits until a file can be used.
async fn usable(turn: &Turn, caller: Caller<'_>, file: wire::File) -> Result<String, Refusal> {
    let id = file
        .id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| ProviderError::malformed("upload"))?;
    let (start, mut status) = (Instant::now(), file.status);
    loop {
        // The first answer may be a status already.
        match status {
            Some(FileStatus::Success) => return Ok(id),
            None | Some(FileStatus::Pending) => {}
            Some(
                FileStatus::Failed
                | FileStatus::ContentEmpty
                | FileStatus::Error
                | FileStatus::ParseFailed,
            ) => return Err(refusal::file_rejected().into()),
        }
        if start.elapsed() > LONGEST_WAIT {
            let error = ProviderError::new(Kind::Timeout, "the service did not get a file ready");
            return Err(error.into());
        }
        tokio::time::sleep(CHECK_EVERY).await;
        let files: wire::Files = call(turn, wire::file_status(caller, &id)).await?;
        // The list has the question's other files as well.
        let same = |file: &wire::File| file.id.as_deref() == Some(&id);
        status = files
            .files
            .into_iter()
            .find(same)
            .and_then(|file| file.status);
    }
}
