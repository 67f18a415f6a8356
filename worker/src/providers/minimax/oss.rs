//! Where a file is put before a question names it: Alibaba OSS, with keys that the service lends. Pure. Source:
//! `wire/minimax.md` section 11, "Files"; the signature is OSS's own (version 1, in a header).

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::Method;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::site::Generation;
use crate::{
    accounts::Secret,
    upstream::{Request, fetch::Attachment},
};

/// A document of 100 MB.
const UPLOAD: Duration = Duration::from_secs(120);
/// What a path of OSS has encoded.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The answer of `request_policy`. Its keys are the account's for a while.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    endpoint: String,
    access_key_id: String,
    access_key_secret: Secret,
    security_token: Secret,
    bucket: String,
    dir: String,
}

/// A file with the name that it is put under.
#[derive(Debug)]
pub(super) struct Object<'a> {
    /// `<hex uuid>.<ending>`
    pub(super) name: String,
    /// Hex MD5 of the bytes.
    pub(super) md5: String,
    /// What is put.
    pub(super) file: &'a Attachment,
}

impl Policy {
    /// Reads it, at the top or in `data`; `None` where something is missing.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw {
            endpoint: String,
            access_key_id: String,
            access_key_secret: String,
            #[serde(default)]
            security_token: String,
            bucket_name: String,
            #[serde(default)]
            dir: String,
        }
        let answer: Value = serde_json::from_slice(body).ok()?;
        // The members differ by generation, the names do not.
        let holder = match answer.get("data") {
            Some(data) if data.get("endpoint").is_some() => data.clone(),
            _ => answer,
        };
        let raw: Raw = serde_json::from_value(holder).ok()?;
        // They become parts of a URL and of headers.
        let is_plain = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_fit = !raw.endpoint.is_empty()
            && !raw.bucket_name.is_empty()
            // Not the directory, which is encoded, nor the secret, which never leaves.
            && [
                &raw.endpoint,
                &raw.access_key_id,
                &raw.security_token,
                &raw.bucket_name,
            ]
            .into_iter()
            .all(is_plain);
        is_fit.then(|| Self {
            endpoint: raw.endpoint,
            access_key_id: raw.access_key_id,
            access_key_secret: Secret::new(raw.access_key_secret),
            security_token: Secret::new(raw.security_token),
            bucket: raw.bucket_name,
            dir: raw.dir,
        })
    }

    fn key(&self, object: &Object<'_>) -> String {
        match self.dir.trim_matches('/') {
            "" => object.name.clone(),
            dir => format!("{dir}/{}", object.name),
        }
    }

    /// Scheme, host and what stands before the key: a bucket is a name of its own, except where there are no names.
    fn place(&self) -> String {
        let (scheme, host) = match self.endpoint.split_once("://") {
            Some((scheme, host)) => (Some(scheme), host),
            None => (None, self.endpoint.as_str()),
        };
        let host = host.trim_end_matches('/');
        // A port is part of the address, not of the name.
        let name = host.split(':').next().unwrap_or(host);
        // A bucket cannot stand before a number: that is a store of one's own, for tests.
        let is_number = name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok();
        if is_number {
            format!("{}://{host}/{}", scheme.unwrap_or("http"), self.bucket)
        } else {
            format!("{}://{}.{host}", scheme.unwrap_or("https"), self.bucket)
        }
    }

    /// `PUT` of the bytes.
    pub(super) fn put(&self, object: &Object<'_>, unix_seconds: u64) -> Request {
        let key = self.key(object);
        // The store's clock is compared with it; OSS allows a quarter of an hour.
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds));
        let content_type = object.file.content_type.as_str();
        let token = self.security_token.expose();
        // Keys that are not lent have no token, and an empty header would be signed by neither side.
        let headers = if token.is_empty() {
            String::new()
        } else {
            format!("x-oss-security-token:{token}\n")
        };
        // OSS, version 1: the empty line is `Content-MD5`, which is optional; the key is signed unencoded.
        let signed = format!(
            "PUT\n\n{content_type}\n{date}\n{headers}/{}/{key}",
            self.bucket
        );
        let secret = self.access_key_secret.expose();
        // OSS's own choice; SHA-1 within HMAC is not broken, only old.
        let secret = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&secret, signed.as_bytes()));
        let url = format!("{}/{}", self.place(), utf8_percent_encode(&key, PATH));
        let request = Request::new("store", Method::PUT, url)
            .header("content-type", content_type)
            .header("date", date)
            .header(
                "authorization",
                format!("OSS {}:{signature}", self.access_key_id),
            )
            .body(Bytes::clone(&object.file.bytes))
            .timeout(UPLOAD);
        if token.is_empty() {
            request
        } else {
            request.header("x-oss-security-token", token)
        }
    }

    /// The body of `policy_callback`.
    pub(super) fn callback<'a>(&'a self, object: &'a Object<'_>) -> Callback<'a> {
        Callback {
            file_name: &object.name,
            origin_file_name: &object.file.name,
            dir: &self.dir,
            endpoint: &self.endpoint,
            bucket_name: &self.bucket,
            size: object.file.bytes.len().to_string(),
            mime_type: &object.file.content_type,
            file_md5: &object.md5,
        }
    }
}

/// What the service is told of a file that was put.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Callback<'a> {
    file_name: &'a str,
    origin_file_name: &'a str,
    dir: &'a str,
    endpoint: &'a str,
    bucket_name: &'a str,
    /// Decimal text.
    size: String,
    mime_type: &'a str,
    file_md5: &'a str,
}

/// `<hex uuid>.<ending>`
pub(super) fn object_name(uuid: &str, file: &Attachment) -> String {
    // The caller's name goes along as `originFileName`; in a path it would be a stranger's.
    match file.name.rsplit_once('.') {
        Some((_, ending)) if is_ending(ending) => format!("{uuid}.{}", ending.to_lowercase()),
        _ => format!("{uuid}.bin"),
    }
}

fn is_ending(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `ossPath` in the answer of `policy_callback`.
pub(super) fn oss_path(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let path = answer
        .get("ossPath")
        .or_else(|| answer.get("data")?.get("ossPath"))?;
    path.as_str()
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
}

/// What a question names a file by.
pub(super) fn attachment(generation: Generation, path: &str, file: &Attachment) -> Value {
    match generation {
        Generation::Matrix => json!({
            "attachment_type": 1, "file": {"file_name": file.name, "file_url": path},
        }),
        Generation::Cloud | Generation::Archon => json!({
            "type": if file.is_image() { "image" } else { "file" },
            "file_path": path, "file_name": file.name, "mime_type": file.content_type, "data_url": path,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(endpoint: &str) -> Policy {
        let body = json!({"data": {"endpoint": endpoint, "accessKeyId": "ID", "accessKeySecret": "SECRET",
            "securityToken": "STS", "bucketName": "bucket", "dir": "a/b/"}});
        Policy::read(body.to_string().as_bytes()).unwrap()
    }

    fn file() -> Attachment {
        Attachment {
            name: "Cat.PNG".to_owned(),
            content_type: "image/png".to_owned(),
            bytes: "x".into(),
        }
    }

    #[test]
    fn signs_what_is_put() {
        let file = file();
        let object = Object {
            name: object_name("0123", &file),
            md5: "m".to_owned(),
            file: &file,
        };
        let request = policy("oss-cn-shanghai.aliyuncs.com").put(&object, 1_789_344_000);
        assert_eq!(
            request.url,
            "https://bucket.oss-cn-shanghai.aliyuncs.com/a/b/0123.png"
        );
        let header = |name: &str| {
            let found = request.headers.iter().find(|(known, _)| known == name);
            found.unwrap().1.to_str().unwrap().to_owned()
        };
        assert_eq!(header("date"), "Mon, 14 Sep 2026 00:00:00 GMT");
        // openssl dgst -sha1 -hmac SECRET -binary | base64, over the text that OSS documents.
        assert_eq!(header("authorization"), SIGNED);
        assert_eq!(header("x-oss-security-token"), "STS");
        let local = policy("127.0.0.1:8080").put(&object, 0);
        assert_eq!(local.url, "http://127.0.0.1:8080/bucket/a/b/0123.png");
        let local = policy("http://localhost:1").put(&object, 0);
        assert_eq!(local.url, "http://localhost:1/bucket/a/b/0123.png");
    }

    const SIGNED: &str = "OSS ID:tb+BLgBVxuTpXh7aAUcKTwl6Hzw=";

    #[test]
    fn tells_of_it_as_the_page_says() {
        let file = file();
        let object = Object {
            name: "0123.png".to_owned(),
            md5: "m".to_owned(),
            file: &file,
        };
        let policy = policy("oss");
        assert_eq!(
            serde_json::to_value(policy.callback(&object)).unwrap(),
            json!({"fileName": "0123.png", "originFileName": "Cat.PNG", "dir": "a/b/", "endpoint": "oss", "bucketName": "bucket",
                "size": "1", "mimeType": "image/png", "fileMd5": "m"})
        );
        assert_eq!(
            oss_path(br#"{"data":{"fileID":"f","ossPath":"p"}}"#).as_deref(),
            Some("p")
        );
        assert_eq!(
            oss_path(br#"{"fileID":"f","ossPath":"p"}"#).as_deref(),
            Some("p")
        );
        assert_eq!(oss_path(b"{}"), None);
        assert_eq!(
            attachment(Generation::Cloud, "p", &file),
            json!({"type": "image", "file_path": "p", "file_name": "Cat.PNG", "mime_type": "image/png", "data_url": "p"})
        );
        assert_eq!(
            attachment(Generation::Matrix, "p", &file),
            json!({"attachment_type": 1, "file": {"file_name": "Cat.PNG", "file_url": "p"}})
        );
        assert!(!format!("{policy:?}").contains("SECRET"));
    }

    #[test]
    fn what_is_no_policy_is_none() {
        for odd in [
            "",
            "{}",
            r#"{"data":{}}"#,
            r#"{"endpoint":"","accessKeyId":"a","accessKeySecret":"b","bucketName":"c"}"#,
        ] {
            assert!(Policy::read(odd.as_bytes()).is_none(), "{odd}");
        }
        let odd = Attachment {
            name: "x".to_owned(),
            ..file()
        };
        assert_eq!(object_name("1", &odd), "1.bin");
    }
}
