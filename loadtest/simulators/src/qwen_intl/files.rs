//! Uploads: grants, and the store that they are for. Source: wire/qwen_intl.md §4.4.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    refusal::{self, Refusal},
    signature::{self, Keys},
};
use crate::{Call, Reply, Request, fields::exactly, request::percent_decode};

const BUCKET: &str = "qwen-webui-prod";
/// A link is good for so long.
const LIFE: Duration = Duration::from_secs(300);
const MOST_BYTES: u64 = 100 << 20;
const FILETYPES: [&str; 5] = ["image", "video", "audio", "document", "file"];

/// Every grant, by the file's id.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<String, File>);

#[derive(Debug)]
struct File {
    account: usize,
    keys: Keys,
    name: String,
    size: u64,
    /// The MIME type that it was put with.
    stored: Option<String>,
    url: String,
    since: Instant,
}

impl Files {
    /// `POST …/files/getstsToken`, inside an envelope or flat.
    pub(super) fn grant(
        &mut self,
        body: &Value,
        account: usize,
        is_newer: bool,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        let (name, size) = read(body, call).map_err(|what| {
            call.violate(what);
            refusal::internal()
        })?;
        let id = Uuid::new_v4().to_string();
        // What a name may hold, the object's name holds.
        let object = format!("sim-user-{account}/{id}_{name}");
        let place = signature::uri("", &object);
        let place = place.trim_start_matches('/');
        let url = format!(
            "https://{BUCKET}.oss-accelerate.aliyuncs.com/{place}?x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-signature={}&x-oss-expires=300",
            id.replace('-', "")
        );
        let keys = Keys {
            id: format!("STS.sim{account}"),
            secret: format!("sim-secret-{id}"),
            token: format!("CAISsim+{}/==", id.replace('-', "")),
            bucket: BUCKET.to_owned(),
            region: "ap-southeast-1".to_owned(),
            object,
        };
        let grant = json!({
            "access_key_id": keys.id, "access_key_secret": keys.secret, "security_token": keys.token, "file_url": url,
            "file_path": keys.object, "file_id": id, "bucketname": BUCKET, "region": "oss-ap-southeast-1",
            "endpoint": "oss-accelerate.aliyuncs.com",
        });
        let file = File {
            account,
            keys,
            name,
            size,
            stored: None,
            url,
            since: Instant::now(),
        };
        self.0.insert(id, file);
        Ok(if is_newer {
            refusal::success(&grant)
        } else {
            Reply::json(200, &grant)
        })
    }

    /// `PUT` of the bytes (§6.1, §6.2).
    pub(super) fn put(
        &mut self,
        request: &Request,
        now: u64,
        call: &mut Call,
    ) -> Result<Reply, Refusal> {
        for name in ["cookie", "bx-ua", "source"] {
            if request.header_bytes(name).is_some() {
                call.violate(format!("the store is told {name}"));
            }
        }
        if request.header("authorization").starts_with("Bearer") {
            call.violate("the store is told the account's token");
        }
        let object = percent_decode(request.path.trim_start_matches('/'));
        let Some(file) = self.0.values_mut().find(|file| file.keys.object == object) else {
            call.violate("there is no grant for this object");
            return Err(refusal::store("AccessDenied"));
        };
        call.account = Some(file.account);
        if !request.query.is_empty() {
            call.violate("the link's query was sent along");
        }
        match signature::check(&file.keys, request) {
            Ok(version) => call.note("signature", version),
            Err(what) => {
                call.violate(what);
                return Err(refusal::store("SignatureDoesNotMatch"));
            }
        }
        let date = request.header("x-oss-date");
        if !date.is_empty() && !is_now(&date, now) {
            call.violate(format!("x-oss-date {date:?} is not now"));
            return Err(refusal::store("RequestTimeTooSkewed"));
        }
        if request.body.len() as u64 != file.size {
            call.violate("the size is not the one that was announced");
        }
        file.stored = Some(request.header("content-type"));
        Ok(Reply::new(200, "application/xml", ""))
    }

    /// The elements of `files` in a question.
    pub(super) fn allow(
        &self,
        files: &[Value],
        kind: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<(), Refusal> {
        for (at, file) in files.iter().enumerate() {
            if let Err(what) = self.element(file, kind, account, call) {
                call.violate(format!("files[{at}]: {what}"));
                return Err(refusal::internal());
            }
        }
        Ok(())
    }

    fn element(
        &self,
        element: &Value,
        kind: &str,
        account: usize,
        call: &mut Call,
    ) -> Result<(), String> {
        let members = element.as_object().ok_or("it is no object")?;
        let url = members.get("url").and_then(Value::as_str);
        let url = url.ok_or("url is missing")?;
        let Some(id) = members.get("id").and_then(Value::as_str) else {
            if kind == "i2v" {
                call.violate("a video's picture is not uploaded");
            }
            if !(url.starts_with("https://") || url.starts_with("http://")) {
                return Err("url is no link".to_owned());
            }
            return exactly(members, "it", json!({"type": "image", "url": url}), call);
        };
        let file = self.0.get(id).filter(|file| file.account == account);
        let file = file.ok_or("there is no such upload of this account")?;
        let mime = file.stored.as_deref().ok_or("it was never put")?;
        if file.since.elapsed() > LIFE {
            return Err("its link has ended".to_owned());
        }
        let (shown, class) = match mime.split('/').next() {
            Some("image") => ("image", "vision"),
            Some("video") => ("video", "video"),
            Some("audio") => ("audio", "audio"),
            _ => ("file", "document"),
        };
        let mut plain = members.clone();
        let inner = plain.remove("file").unwrap_or_default();
        for name in ["itemId", "uploadTaskId"] {
            let id = plain.remove(name);
            let id = id.as_ref().and_then(Value::as_str).unwrap_or_default();
            if !crate::request::is_uuid(id) {
                return Err(format!("{name} is no UUID"));
            }
        }
        let inner = inner.as_object().ok_or("file is missing")?;
        let created = inner.get("created_at").and_then(Value::as_u64);
        let created = created
            .filter(|created| *created > 1_000_000_000_000)
            .ok_or("created_at is not in milliseconds")?;
        let (name, size) = (&file.name, file.size);
        exactly(
            inner,
            "file",
            json!({"created_at": created, "data": {}, "filename": name, "hash": null, "id": id,
                "meta": {"name": name, "size": size, "content_type": mime}, "update_at": created}),
            call,
        )?;
        exactly(
            &plain,
            "it",
            json!({"type": shown, "id": id, "url": file.url, "name": name, "collection_name": "", "progress": 0,
                "status": "uploaded", "greenNet": "success", "size": size, "error": "", "file_type": mime,
                "showType": shown, "file_class": class}),
            call,
        )
    }
}

fn read(body: &Value, call: &mut Call) -> Result<(String, u64), String> {
    let body = body.as_object().ok_or("the body is no JSON object")?;
    let name = body.get("filename").and_then(Value::as_str);
    let name = name
        .filter(|name| !name.is_empty())
        .ok_or("filename is missing")?;
    let size = body.get("filesize").and_then(Value::as_u64);
    let size = size.ok_or("filesize is missing or no number")?;
    if size > MOST_BYTES {
        return Err("filesize is over 100 MB".to_owned());
    }
    let filetype = body.get("filetype").and_then(Value::as_str);
    let filetype = filetype.filter(|filetype| FILETYPES.contains(filetype));
    let filetype = filetype.ok_or("filetype is missing or unknown")?;
    exactly(
        body,
        "the body",
        json!({"filename": name, "filesize": size, "filetype": filetype}),
        call,
    )?;
    Ok((name.to_owned(), size))
}

/// Within a quarter of an hour: `YYYYMMDDTHHMMSSZ`.
fn is_now(date: &str, now: u64) -> bool {
    let number = |from: usize, to: usize| {
        let part = date.get(from..to)?;
        part.parse::<i64>().ok()
    };
    let parts = (|| {
        Some((
            number(0, 4)?,
            number(4, 6)?,
            number(6, 8)?,
            number(9, 11)?,
            number(11, 13)?,
            number(13, 15)?,
        ))
    })();
    let Some((year, month, day, hour, minute, second)) = parts else {
        return false;
    };
    // Days since 1970, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let at = (days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second;
    i64::try_from(now).is_ok_and(|now| at.abs_diff(now) <= 900)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_dates_of_the_vectors() {
        assert!(is_now("20261120T101500Z", 1_795_169_700));
        assert!(is_now("20260101T000000Z", 1_767_225_600));
        assert!(is_now("20261231T235959Z", 1_798_761_599));
        assert!(!is_now("20261120T101500Z", 1_795_169_700 + 901));
        assert!(!is_now("Fri, 20 Nov 2026", 0));
    }
}
