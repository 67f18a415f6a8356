//! Request bodies: of a limited size, gzip accepted (conformance H9, H10).

use actix_web::{HttpRequest, dev::Decompress, error::PayloadError, web::Payload};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::error::ApiError;

/// The whole body, decompressed.
///
/// # Errors
/// 413 above `most` bytes (also when they only come to light in decompression), 400 for a body that breaks off or
/// cannot be decompressed.
pub async fn read(request: &HttpRequest, payload: Payload, most: usize) -> Result<Bytes, ApiError> {
    let declared = request
        .headers()
        .get("content-length")
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > most) {
        return Err(ApiError::too_large(most));
    }
    let mut chunks = Decompress::from_headers(payload, request.headers());
    let mut body = BytesMut::with_capacity(declared.unwrap_or(0));
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::EncodingCorrupted => {
                ApiError::bad_request("The body's content encoding is broken.")
            }
            _ => ApiError::bad_request("The body broke off before its end."),
        })?;
        if body.len() + chunk.len() > most {
            return Err(ApiError::too_large(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
