//! Pictures and documents: what goes along with a question, and how it gets there. Source: `wire/qwen_intl.md` sections
//! 4.3 to 4.6.

use serde_json::Value;

use super::{
    account::{Access, Account, moment},
    call,
    oss::Grant,
    prompt,
    refusal::Refusal,
    site::Site,
    wire::{self, Api},
};
use crate::{
    chat::{ChatRequest, Content, Kind, Message, Part, ProviderError, media::Input},
    providers::Turn,
    upstream::fetch::Attachment,
};

/// The service takes no larger file (section 4.4).
const MOST_BYTES: usize = 100 << 20;

/// A file of a question.
#[derive(Debug)]
pub(super) enum File {
    /// A picture elsewhere, which the service fetches itself.
    Link(String),
    /// What is uploaded first.
    Bytes(Attachment),
}

impl File {
    pub(super) fn is_image(&self) -> bool {
        match self {
            Self::Link(_) => true,
            Self::Bytes(file) => file.is_image(),
        }
    }
}

/// What goes along: documents of every message, as the whole conversation becomes one; pictures of the last question alone.
/// Pictures at an address are passed on as they are, unless `fetches`: of videos it is not known whether the service
/// follows links.
///
/// # Errors
/// Those of [`Turn::attachments`]; 400 for a file that is too large.
pub(super) async fn files(
    ask: &ChatRequest,
    turn: &Turn,
    fetches: bool,
) -> Result<Vec<File>, ProviderError> {
    let last = prompt::last_question(ask).map(|(at, _)| at);
    let mut files = Vec::new();
    for (at, message) in ask.messages.iter().enumerate() {
        let Content::Parts(parts) = &message.content else {
            continue;
        };
        // Part by part: which pictures are passed on as links is known of each alone.
        for part in parts {
            match part {
                // Section 4.3: pictures of history are dropped, their messages' text stays.
                Part::ImageUrl { .. } if Some(at) != last => {}
                Part::ImageUrl { image_url, .. } if !fetches && is_web(image_url.url()) => {
                    files.push(File::Link(image_url.url().trim().to_owned()));
                }
                part if part.is_attachment() => {
                    // Alone, so that a message's other parts are not fetched with it.
                    let alone = Message {
                        content: Content::Parts(vec![part.clone()]),
                        ..Message::new(message.role, "")
                    };
                    let had = turn.attachments(at, &alone).await?;
                    files.extend(had.into_iter().map(File::Bytes));
                }
                _ => {}
            }
        }
    }
    files
        .into_iter()
        .map(|file| fit("messages", file))
        .collect()
}

/// A picture that came with a request for another picture or a video.
///
/// # Errors
/// Those of [`Turn::input`]; 400 for what is no picture, or too large.
pub(super) async fn given(
    turn: &Turn,
    field: &str,
    input: &Input,
    fetches: bool,
) -> Result<File, ProviderError> {
    match input {
        Input::Url(url) if !fetches && is_web(url) => Ok(File::Link(url.trim().to_owned())),
        input => {
            let file = turn.input(field, input).await?;
            if !file.is_picture() {
                return Err(ProviderError::bad_request(field, "It is no picture."));
            }
            fit(field, File::Bytes(file))
        }
    }
}

fn fit(field: &str, file: File) -> Result<File, ProviderError> {
    match &file {
        File::Bytes(bytes) if bytes.bytes.len() > MOST_BYTES => Err(ProviderError {
            param: Some(field.to_owned()),
            ..ProviderError::new(
                Kind::FileRejected,
                "the service takes files of 100 MB at most",
            )
        }),
        File::Bytes(_) | File::Link(_) => Ok(file),
    }
}

fn is_web(url: &str) -> bool {
    let url = url.trim_start();
    ["https://", "http://"].iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// Uploads those of `files` that are not in `items` yet.
///
/// # Errors
/// Refusals, also of the store; transport faults.
pub(super) async fn upload(
    turn: &Turn,
    site: &Site,
    account: &Account,
    access: &Access,
    files: &[File],
    items: &mut Vec<Value>,
) -> Result<(), Refusal> {
    // Links are items as well, so the two lists stay in step when a try is repeated.
    for file in files.iter().skip(items.len()) {
        let item = match file {
            File::Link(url) => wire::link(url),
            File::Bytes(file) => stored(turn, site, account, access, file).await?,
        };
        // Pushed one by one: what is uploaded is not uploaded again by the next try.
        items.push(item);
    }
    Ok(())
}

/// A file that was put into the store; a refusal of the store is met once with new keys (section 8).
async fn stored(
    turn: &Turn,
    site: &Site,
    account: &Account,
    access: &Access,
    file: &Attachment,
) -> Result<Value, Refusal> {
    let (caller, variable) = (account.caller(site, Some(access)), &account.variable);
    let mut may_ask_anew = true;
    loop {
        let requests =
            [Api::V2, Api::V1].map(|api| wire::grant(caller.clone(), api, file, moment()));
        let grant = call::either(turn, requests, variable, Grant::read).await?;
        // After the grant: the store compares the signature's moment with its clock (section 6.1).
        let now = turn.unix_ms();
        let stored = turn.send(grant.put(site, file, now / 1000)).await?;
        match stored.status.as_u16() {
            200..300 => {
                // Two ids of our own, as the page makes them; nothing refers to them.
                let (item, task) = (turn.uuid(), turn.uuid());
                return Ok(wire::file(&grant, file, item, task, now));
            }
            // Section 8: keys that ended meanwhile; another grant is all that can help.
            403 if std::mem::take(&mut may_ask_anew) => {}
            403 => {
                let error =
                    ProviderError::new(Kind::Unavailable, "the file store refused its keys");
                // Another account gets its keys from the same place.
                return Err(error.lasting().into());
            }
            500.. => {
                let error = ProviderError::new(Kind::Unavailable, "the file store failed");
                return Err(error.into());
            }
            status => {
                let message = format!("the file store answered with HTTP {status}");
                return Err(ProviderError::new(Kind::Protocol, message).into());
            }
        }
    }
}
