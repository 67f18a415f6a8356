//! Pictures on their way into a question. Source: wire/qwen.md §11.7.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ask::Picture, refusal, signature::pairs};
use crate::{
    Call, Reply, Request,
    qwen::refusal as storage,
    request::{is_uuid, percent_decode},
};

/// Where the objects of the bucket begin; no other path does.
pub(super) const PREFIX: &str = "sim-workspace/";
/// The bucket that the answers name. It leads nowhere, as for the older uploads.
const HOST: &str = "sim-workspace.oss-cn-hangzhou.invalid";
const ENDPOINT: &str = "oss-cn-hangzhou.invalid";
const BUCKET: &str = "sim-workspace";
/// A header that the storage wants besides, and which wins over the client's own.
const OSS_HEADER: (&str, &str) = ("x-oss-storage-class", "Standard");

#[derive(Debug)]
struct Object {
    account: usize,
    name: String,
    md5: String,
    size: u64,
    authorization: String,
    stored: bool,
    url: String,
    ws_gid: Option<String>,
}

/// Objects by their path in the bucket.
#[derive(Debug, Default)]
pub(super) struct Workspace(HashMap<String, Object>);

impl Workspace {
    /// `POST /1/oss_token`.
    pub(super) fn token(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Reply> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let md5 = text("content_md5");
        let wrong = match () {
            () if text("file_name").is_empty() => "file_name",
            () if text("content_type") != "application/octet-stream" => "content_type",
            () if STANDARD.decode(md5).map_or(0, |bytes| bytes.len()) != 16 => "content_md5",
            () if body
                .get("size")
                .and_then(Value::as_u64)
                .is_none_or(|size| size == 0) =>
            {
                "size"
            }
            () => "",
        };
        if !wrong.is_empty() {
            call.violate(format!("{wrong} is missing or wrong"));
            return Err(refusal::bad(wrong));
        }
        let id = Uuid::new_v4().simple().to_string();
        let name = text("file_name");
        let path = format!("{PREFIX}{account}/{id}/{name}");
        let object = Object {
            account,
            name: name.to_owned(),
            md5: md5.to_owned(),
            size: body.get("size").and_then(Value::as_u64).unwrap_or_default(),
            authorization: format!("OSS sim:{id}="),
            stored: false,
            url: format!("https://{HOST}/{path}?x-oss-process=sim&n={id}"),
            ws_gid: None,
        };
        call.note("object", path.clone());
        let reply = refusal::success(&json!({
            "host": HOST, "object": path, "bucket": BUCKET, "endpoint": ENDPOINT, "authorization": object.authorization,
            "oss_headers": [{"key": OSS_HEADER.0, "value": OSS_HEADER.1}],
        }));
        self.0.insert(path, object);
        Ok(reply)
    }

    /// `PUT /<object>` of the bucket.
    pub(super) fn put(&mut self, request: &Request, call: &mut Call) -> Result<Reply, Reply> {
        let path = percent_decode(request.path.trim_start_matches('/'));
        if request.header_bytes("cookie").is_some() {
            call.violate("the object storage got the account's cookie");
        }
        let denied = |call: &mut Call, what: &str| {
            call.violate(what);
            storage::oss(
                403,
                "SignatureDoesNotMatch",
                "The request signature does not match.",
            )
        };
        let Some(object) = self.0.get_mut(&path) else {
            return Err(denied(call, "the object is of no token"));
        };
        call.account = Some(object.account);
        let query: HashMap<_, _> = pairs(&request.query).collect();
        let value = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        if !is_uuid(value("req_id")) || value("biz_id") != "ai_qwen" {
            call.violate("the query is not req_id and biz_id");
        }
        let sent = STANDARD.encode(Md5::digest(&request.body));
        for (name, right) in [
            ("authorization", object.authorization.as_str()),
            ("content-type", "application/octet-stream"),
            ("content-md5", object.md5.as_str()),
            OSS_HEADER,
        ] {
            if request.header(name) != right {
                return Err(denied(call, &format!("{name} is not that of the token")));
            }
        }
        if sent != object.md5 || request.body.len() as u64 != object.size {
            return Err(denied(call, "the bytes are not those that were announced"));
        }
        call.note("bytes", object.size);
        object.stored = true;
        Ok(Reply::new(200, "application/xml", ""))
    }

    /// `POST /1/oss/callback`: the bytes become a picture that a question may name.
    pub(super) fn callback(
        &mut self,
        body: &Value,
        account: usize,
        call: &mut Call,
    ) -> Result<Reply, Reply> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let object = self.0.get_mut(text("object"));
        let Some(object) = object.filter(|object| object.account == account && object.stored)
        else {
            call.violate("object is none that the account has stored");
            return Err(refusal::bad("object"));
        };
        let kind = text("file_type");
        let wrong = match () {
            () if text("file_md5") != object.md5 => "file_md5",
            () if text("file_name") != object.name => "file_name",
            () if kind.is_empty() || kind != kind.to_ascii_uppercase() => "file_type",
            () if text("bucket") != BUCKET => "bucket",
            () if text("endpoint") != ENDPOINT => "endpoint",
            () if text("entry") != "qwen_pc" => "entry",
            () => "",
        };
        if !wrong.is_empty() {
            call.violate(format!("{wrong} is missing or wrong"));
            return Err(refusal::bad(wrong));
        }
        let refused = call.fault == Some("callback_refused");
        let ws_gid = match refused {
            true => String::new(),
            false => Uuid::new_v4().simple().to_string(),
        };
        object.ws_gid = (!refused).then(|| ws_gid.clone());
        let cdn = match call.fault {
            Some("no_cdn_url") => "",
            _ => object.url.as_str(),
        };
        Ok(refusal::success(&json!({
            "file_name": object.name, "file_type": kind, "file_size": object.size, "ws_gid": ws_gid,
            "material_cdn_url": cdn, "material_url": object.url,
        })))
    }

    /// Whether a question may use the picture.
    pub(super) fn allow(&self, picture: &Picture, account: usize) -> bool {
        self.0.values().any(|object| {
            object.account == account
                && object.ws_gid.as_ref() == Some(&picture.id)
                && object.url == picture.url
                && object.size == picture.size
                && object.name == picture.name
        })
    }
}
