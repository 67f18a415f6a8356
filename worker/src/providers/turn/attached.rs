//! What an attempt fetches: pictures and documents that came with a request, and what the service has made.

use std::fmt;

use super::Turn;
use crate::{
    budget::Share,
    chat::{Kind, Message, Part, ProviderError, media::Input},
    metrics::METRICS,
    upstream::{
        Answer,
        fetch::{self, Attachment, FetchError},
    },
};

/// Most pictures and documents in one request.
/// Ours, not a service's: it bounds the look-ups and uploads that one request can cause.
const MOST_ATTACHMENTS: usize = 100;
/// An attachment and the upload that is made of it.
const COPIES_OF_ATTACHMENTS: usize = 2;

/// What a turn has had of pictures and documents so far.
#[derive(Debug)]
pub(in crate::providers) struct Attached {
    number: usize,
    bytes: usize,
    share: Share,
}

impl Attached {
    pub(in crate::providers) fn new(share: Share) -> Self {
        Self {
            number: 0,
            bytes: 0,
            share,
        }
    }
}

impl Turn {
    /// Decodes or fetches the pictures and documents of a message. All of a turn together have the size that a single one
    /// may have.
    ///
    /// # Errors
    /// 400 that names the part; 503 where all requests together hold too much memory.
    pub async fn attachments(
        &self,
        at: usize,
        message: &Message,
    ) -> Result<Vec<Attachment>, ProviderError> {
        let mut attachments = Vec::new();
        for part in message.attachments() {
            let (source, name) = match part {
                Part::ImageUrl { image_url, .. } => (image_url.url(), None),
                Part::FileUrl { file_url } => (file_url.url(), None),
                Part::File { file } => match (&file.file_data, &file.url) {
                    (None, Some(url)) => (&**url, file.filename.as_deref()),
                    (data, _) => (
                        data.as_deref().unwrap_or_default(),
                        Some(file.filename.as_deref().unwrap_or("document")),
                    ),
                },
                Part::Text { .. } | Part::Refusal { .. } | Part::Other { .. } => continue,
            };
            let refused = |why: &dyn fmt::Display| {
                ProviderError::bad_request(
                    &format!("messages[{at}].content"),
                    format!("An attachment cannot be used: {why}."),
                )
            };
            // In a block, as no borrow may live across the fetch: other attachments of the same turn may be fetched
            // meanwhile.
            let had = {
                let mut attached = self.attached.borrow_mut();
                // Counted before it is fetched: a hundred that fail cost as much as a hundred that do not.
                attached.number += 1;
                if attached.number > MOST_ATTACHMENTS {
                    let why = format!("a request has at most {MOST_ATTACHMENTS} of them");
                    return Err(refused(&why));
                }
                attached.bytes
            };
            let policy = fetch::Policy {
                // What is left of the one allowance, so that the bound holds for all of them together.
                most_bytes: self.fetch.most_bytes.saturating_sub(had),
                ..(*self.fetch).clone()
            };
            let room = |bytes: usize| {
                let share = &mut self.attached.borrow_mut().share;
                // What earlier ones took is part of it: a share is grown to a total.
                share.grow_to((had + bytes) * COPIES_OF_ATTACHMENTS).is_ok()
            };
            let stem = self.uuid().to_string();
            let attachment =
                fetch::attachment(&self.client, &policy, source, name, &stem, &room).await;
            let attachment = attachment.map_err(|error| match error {
                // The worker's memory, not the caller's fault: 503, so that he comes again.
                FetchError::NoRoom => ProviderError::new(Kind::Overloaded, error.to_string()),
                _ => refused(&error),
            })?;
            self.attached.borrow_mut().bytes += attachment.bytes.len();
            attachments.push(attachment);
        }
        Ok(attachments)
    }

    /// A picture (or another file) that came with a request, as a file. `field` is blamed for it (`image[0]`).
    ///
    /// # Errors
    /// 400 that names the field; 503 where all requests together hold too much memory.
    pub async fn input(&self, field: &str, input: &Input) -> Result<Attachment, ProviderError> {
        let stem = self.uuid().to_string();
        let url = match input {
            // It came with the body, whose size is limited and counted.
            Input::File { name, mime, bytes } => {
                return Ok(fetch::file(name, mime, bytes.clone(), &stem));
            }
            Input::Url(url) => url,
        };
        let had = self.attached.borrow().bytes;
        let policy = fetch::Policy {
            most_bytes: self.fetch.most_bytes.saturating_sub(had),
            ..(*self.fetch).clone()
        };
        let room = |bytes: usize| {
            let share = &mut self.attached.borrow_mut().share;
            share.grow_to((had + bytes) * COPIES_OF_ATTACHMENTS).is_ok()
        };
        let file = fetch::attachment(&self.client, &policy, url, None, &stem, &room).await;
        let file = file.map_err(|error| match error {
            FetchError::NoRoom => ProviderError::new(Kind::Overloaded, error.to_string()),
            _ => ProviderError::bad_request(field, format!("It cannot be used: {error}.")),
        })?;
        self.attached.borrow_mut().bytes += file.bytes.len();
        Ok(file)
    }

    /// Opens what the service has made, behind the guard, without any credential: any public address, and what the owner's
    /// own settings point to. To be read as it comes; each silence of it is limited, its size is the caller's to limit.
    /// `range` goes along as the `Range` header; 200, 206 and 416 are answers.
    ///
    /// # Errors
    /// Where it cannot be had. None of it is the account's fault, and to make it again would not help.
    pub async fn open(&self, url: &str, range: Option<&str>) -> Result<Answer, ProviderError> {
        let mut policy = self.fetch.for_results();
        // The head is waited for as any service's is; a video may well be on a slow store.
        policy.timeout = self.client.stall();
        let opened = fetch::open(&self.client, &policy, url, range).await;
        METRICS
            .upstream_requests_total
            .with_label_values(&[&*self.provider, "result", fetch::outcome(&opened)])
            .inc();
        opened.map_err(not_fetched)
    }

    /// The file behind a link that the service has made, whole. `room` says whether there is memory for so many bytes.
    ///
    /// # Errors
    /// As [`Turn::open`], and for a file of more than `FETCH_MAX_BYTES` or a longer time than `FETCH_TIMEOUT`.
    pub async fn download(
        &self,
        answer: Answer,
        room: &dyn Fn(usize) -> bool,
    ) -> Result<Attachment, ProviderError> {
        let stem = self.uuid().to_string();
        let file = fetch::whole(answer, &self.fetch, &stem, room).await;
        file.map_err(not_fetched)
    }
}

/// Why what a service has made could not be had from where it said.
fn not_fetched(error: FetchError) -> ProviderError {
    let kind = match error {
        FetchError::NoRoom => Kind::Overloaded,
        FetchError::Timeout => Kind::Timeout,
        // The same link will be refused again, and making the result anew would cost the account another one.
        FetchError::Refused | FetchError::NoSuchHost | FetchError::TooLarge => Kind::Unavailable,
        FetchError::BadUrl | FetchError::BadData | FetchError::NotPublic => Kind::Protocol,
    };
    ProviderError::new(kind, format!("the result could not be fetched: {error}"))
        .with_code("result_not_fetched")
        .lasting()
}
