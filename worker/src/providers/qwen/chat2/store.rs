//! The requests of an upload, as pure functions. Source: `wire/qwen.md` section 11.7.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::wire::{Client, JSON_ACCEPT, ORIGIN, SHORT_CALL, Seal, signed_post};
use crate::{
    impossible::OrImpossible as _,
    upstream::{Request, fetch::Attachment},
};

/// `POST /1/oss_token` (section 11.7 step 1).
pub(super) fn oss_token(client: Client<'_>, seal: &Seal<'_>, file: &Attachment) -> Request {
    let body = json!({
        "file_name": file.name, "content_type": "application/octet-stream",
        "content_md5": content_md5(&file.bytes), "size": file.bytes.len(),
    });
    workspace(client, seal, "oss_token", "/1/oss_token", None, &body)
}

/// Where a picture is put (section 11.7 step 1).
#[derive(Debug, Deserialize)]
pub(super) struct OssToken {
    host: String,
    object: String,
    bucket: String,
    endpoint: String,
    #[serde(default)]
    authorization: String,
    oss_headers: Option<Vec<OssHeader>>,
}

#[derive(Debug, Deserialize)]
struct OssHeader {
    key: String,
    value: String,
}

/// `PUT` of the bytes; no cookies (section 11.7 step 2). `base_url` replaces the host that the token names.
pub(super) fn put(
    client: Client<'_>,
    base_url: Option<&str>,
    token: &OssToken,
    request_id: &str,
    file: &Attachment,
) -> Request {
    use actix_web::http::{
        Method,
        header::{HeaderName, HeaderValue},
    };
    let host = base_url.unwrap_or(&token.host).trim_end_matches('/');
    let scheme = if host.contains("://") { "" } else { "https://" };
    const PATH: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b'/');
    // Its slashes stay: both forms are taken (section 11.7).
    let object = percent_encoding::utf8_percent_encode(token.object.trim_start_matches('/'), PATH);
    let url = format!("{scheme}{host}/{object}?req_id={request_id}&biz_id=ai_qwen");
    let mut request = Request::new("store", Method::PUT, url)
        .header("user-agent", &client.hosts.user_agent)
        .header("origin", ORIGIN)
        .header("content-type", "application/octet-stream")
        .header("content-md5", content_md5(&file.bytes))
        .body(file.bytes.clone());
    // Last and by the service's word: they replace what we set, and no more.
    for OssHeader { key, value } in token.oss_headers.iter().flatten() {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(key.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            // The service's own win.
            request.headers.retain(|(known, _)| *known != name);
            request.headers.push((name, value));
        }
    }
    if token.authorization.is_empty() {
        request
    } else {
        request.header("authorization", &token.authorization)
    }
}

/// `POST /1/oss/callback` (section 11.7 step 3).
pub(super) fn oss_callback(
    client: Client<'_>,
    seal: &Seal<'_>,
    token: &OssToken,
    request_id: &str,
    file: &Attachment,
) -> Request {
    let body = json!({
        "file_md5": content_md5(&file.bytes), "file_name": file.name, "file_type": ending(&file.name).to_uppercase(),
        "bucket": token.bucket, "endpoint": token.endpoint, "object": token.object, "entry": "qwen_pc",
    });
    workspace(
        client,
        seal,
        "oss_callback",
        "/1/oss/callback",
        Some(request_id),
        &body,
    )
}

fn workspace(
    client: Client<'_>,
    seal: &Seal<'_>,
    step: &'static str,
    path: &str,
    request_id: Option<&str>,
    body: &Value,
) -> Request {
    let query = client.signed_query(seal.nonce, seal.time);
    let query = match request_id {
        Some(id) => query.with("req_id", id),
        None => query,
    };
    let request = Request::post(step, format!("{}{path}", client.hosts.workspace));
    let request = client.page(request, JSON_ACCEPT, &format!("{ORIGIN}/"));
    let body = serde_json::to_vec(body).or_impossible("our own types with string keys serialise");
    signed_post(client, seal, request, &query, body).timeout(SHORT_CALL)
}

/// A picture's item in the question (section 11.7 step 4).
pub(super) fn picture(id: &str, url: &str, file: &Attachment) -> Option<Box<RawValue>> {
    let size = imagesize::blob_size(&file.bytes).ok();
    let (width, height) = size.map_or((0, 0), |size| (size.width, size.height));
    let resource = json!({
        "id": id, "url": url, "width": width, "height": height, "file_format": ending(&file.name),
        "file_name": file.name, "file_size": file.bytes.len(),
    });
    // As raw text, which goes into the signed body byte for byte.
    let item = json!({
        "mime_type": "image/url", "content": url, "meta_data": {"resource_infos": [resource]}, "status": "complete",
    });
    serde_json::value::to_raw_value(&item).ok()
}

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn content_md5(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}
