//! Request bodies: of a limited size, within a time, packed or not (conformance H9, H10).

use std::time::Duration;

use actix_web::{HttpRequest, http::header, web::Payload};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::{error::ApiError, unpack};
use crate::{
    budget::Share,
    chat::aside::aside,
    settings::Http,
    upstream::{Rest, Torn},
};

/// Room that is made for a body because its length was declared; more is made when it has come.
const ROOM_ON_TRUST: usize = 256 << 10;
/// A body has `BODY_TIMEOUT`, and a second more for each so many bytes of it: a large one over a slow line may take
/// minutes, one that comes byte by byte may not.
const SLOWEST_BYTES_PER_SECOND: usize = 8 << 10;

/// The whole body, unpacked. `share` grows with what has come.
///
/// # Errors
/// 413 above `MAX_BODY_BYTES` (also when they only come to light in unpacking), 415 for an encoding that is not
/// understood, 400 for a body that breaks off or cannot be unpacked, 408 for one that takes too long, 503 when all requests
/// together take too much memory.
pub(super) async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    settings: &Http,
    share: &mut Share,
) -> Result<Bytes, ApiError> {
    let most = settings.most_body_bytes;
    let headers = request.headers();
    let declared = declared(request);
    // Before anything is read: a length that is told is cheaper than a length that came.
    if declared.is_some_and(|length| length > most) {
        return Err(ApiError::too_large(most));
    }
    let packed = headers.get_all(&header::CONTENT_ENCODING);
    let encodings = unpack::encodings(packed.map(|value| value.as_bytes()))?;
    // On trust only so far: a declared length is a stranger's number.
    let mut body = BytesMut::with_capacity(declared.unwrap_or(0).min(ROOM_ON_TRUST));
    let started = Instant::now();
    while let Some(chunk) = next(&mut payload, started, body.len(), settings.body_timeout).await? {
        let length = body.len() + chunk.len();
        if length > most {
            return Err(ApiError::too_large(most));
        }
        if length > body.capacity() {
            // Doubled, as a buffer does, but no further than needed.
            let wanted = (2 * body.capacity())
                .max(length)
                .min(declared.unwrap_or(most).max(length));
            share.grow_to(wanted)?;
            body.reserve(wanted - body.len());
        }
        body.extend_from_slice(&chunk);
    }
    let body = body.freeze();
    // A body within its first room has not been counted yet.
    share.grow_to(body.len())?;
    if encodings.is_empty() {
        return Ok(body);
    }
    // How much it is shows only in the work.
    // Moved and put back: the work is done on another thread.
    let mut growing = std::mem::replace(share, share.empty());
    let (growing, unpacked) = aside(usize::MAX, move || {
        let unpacked = unpack::unpack(body, &encodings, most, |bytes| Ok(growing.grow_to(bytes)?));
        (growing, unpacked)
    })
    .await;
    *share = growing;
    unpacked
}

/// A body that is taken as it comes; within the same size and time as one that is read whole.
pub(super) struct Incoming {
    payload: Payload,
    started: Instant,
    /// How long it is, where the head says so.
    pub(super) declared: Option<usize>,
    read: usize,
    most: usize,
    longest_wait: Duration,
}

impl Incoming {
    /// The body behind this head.
    ///
    /// # Errors
    /// 413 for one that says itself that it is too large.
    pub(super) fn new(
        request: &HttpRequest,
        payload: Payload,
        settings: &Http,
    ) -> Result<Self, ApiError> {
        let most = settings.most_body_bytes;
        let declared = declared(request);
        if declared.is_some_and(|length| length > most) {
            return Err(ApiError::too_large(most));
        }
        Ok(Self {
            payload,
            started: Instant::now(),
            declared,
            read: 0,
            most,
            longest_wait: settings.body_timeout,
        })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// 400, 408 and 413 as [`read`].
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let piece = next(
            &mut self.payload,
            self.started,
            self.read,
            self.longest_wait,
        )
        .await?;
        self.read += piece.as_ref().map_or(0, Bytes::len);
        if self.read > self.most {
            return Err(ApiError::too_large(self.most));
        }
        Ok(piece)
    }

    /// What has not been read yet, for a request that it is a part of.
    pub(super) fn into_rest(self) -> Rest {
        let left = self.declared.map(|declared| declared - self.read);
        // Why it was torn nobody can be told any more: the request is under way.
        let pieces = stream::try_unfold(self, async |mut incoming: Self| {
            let piece = incoming.next().await.map_err(|_| Torn)?;
            Ok(piece.map(|piece| (piece, incoming)))
        });
        let left = left.map(|left| u64::try_from(left).unwrap_or(u64::MAX));
        Rest::new(pieces.boxed_local(), left)
    }
}

/// How long the body is by its head.
fn declared(request: &HttpRequest) -> Option<usize> {
    let length = request.headers().get(&header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// The next piece of the body; `None` at its end.
async fn next(
    payload: &mut Payload,
    started: Instant,
    read: usize,
    longest_wait: Duration,
) -> Result<Option<Bytes>, ApiError> {
    // Most bodies have come with their heads, and need no timer.
    let chunk = match payload.next().now_or_never() {
        Some(chunk) => chunk,
        None => {
            // More time for what has come: see [`SLOWEST_BYTES_PER_SECOND`].
            let seconds = (read / SLOWEST_BYTES_PER_SECOND) as u64;
            let end = started + longest_wait + Duration::from_secs(seconds);
            timeout_at(end, payload.next())
                .await
                .map_err(|_| ApiError::slow_body())?
        }
    };
    chunk
        .transpose()
        .map_err(|_| ApiError::bad_request("The body broke off before its end."))
}
