//! Pictures and documents of the last message: signed, stored, and documents made known to the window. Source:
//! `wire/xinghuo.md` section 4.6.

use serde_json::Value;

use super::{
    call,
    refusal::Refusal,
    wire::{self, Caller, Document, Question, Signed, Stored},
};
use crate::{
    chat::{ChatRequest, Kind, ProviderError},
    providers::Turn,
    upstream::fetch::Attachment,
};

/// The types that go into `fileUrl`; all others are documents (section 4.6 steps 4 and 5).
const PICTURES: &[&str] = &[
    "image/jpeg",
    "image/jpg",
    "image/tiff",
    "image/png",
    "image/bmp",
    "image/heic",
    "image/heif",
];

/// Stores the attachments of the last message and adds them to the question. Needs no window yet.
///
/// # Errors
/// 400 for what cannot be had or is refused; transport faults.
pub(super) async fn upload(
    ask: &ChatRequest,
    turn: &Turn,
    caller: Caller<'_>,
    question: &mut Question,
) -> Result<(), ProviderError> {
    // The last message's alone (section 4.6).
    let last = ask.messages.len().saturating_sub(1);
    let Some(message) = ask.messages.get(last) else {
        return Ok(());
    };
    for file in turn.attachments(last, message).await? {
        let link = store(turn, caller, &file).await?;
        // By its type as the store's own list has it; a document goes another way.
        if PICTURES.contains(&file.content_type.as_str()) {
            question.pictures.push(link);
        } else {
            question.documents.push(Document {
                bytes: file.bytes.len(),
                name: file.name,
                link,
                key: turn.uuid(),
            });
        }
    }
    Ok(())
}

/// Tells a window of the documents that it will be asked about.
///
/// # Errors
/// As [`upload`].
pub(super) async fn attach(
    turn: &Turn,
    caller: Caller<'_>,
    documents: &[Document],
    chat_id: &str,
) -> Result<(), Refusal> {
    for document in documents {
        let request = wire::save_file(caller, document, chat_id);
        let _: Value = call(turn, request, &caller.account.variable)
            .await
            .map_err(rejected)?;
    }
    Ok(())
}

async fn store(
    turn: &Turn,
    caller: Caller<'_>,
    file: &Attachment,
) -> Result<String, ProviderError> {
    let boundary = turn.uuid().simple().to_string();
    let variable = &caller.account.variable;
    let signed: Signed = call(turn, wire::sign(caller, file, boundary), variable)
        .await
        .map_err(rejected)?;
    let mut answer = turn.send(wire::store(&signed, file)).await?;
    // The store is another host: what it refuses is the file and not the account.
    match answer.status.as_u16() {
        200..300 => {}
        500.. => {
            return Err(ProviderError::new(
                Kind::Unavailable,
                "the file store failed",
            ));
        }
        _ => return Err(file_rejected()),
    }
    let stored: Stored = answer
        .json::<wire::Envelope>()
        .await?
        .into_data(variable)
        .map_err(rejected)
        // The same envelope as everywhere, so a refusal within it is known too.
        .and_then(|data| {
            serde_json::from_value(data)
                .map_err(|_| ProviderError::malformed("upload answer").into())
        })?;
    Ok(stored.link)
}

/// A refusal that the page has no row for means the file, when a file is what was sent.
fn rejected(refusal: Refusal) -> Refusal {
    if refusal.error.kind == Kind::Protocol
        && refusal.error.code.as_deref() == Some("upstream_error")
    // Only the row that nobody knows: a limit or a lost session is the account's.
    {
        let error = ProviderError {
            message: refusal.error.message,
            ..file_rejected()
        };
        error.into()
    } else {
        refusal
    }
}

fn file_rejected() -> ProviderError {
    ProviderError {
        param: Some("messages".to_owned()),
        ..ProviderError::new(Kind::FileRejected, "the service refused an attachment")
    }
}
