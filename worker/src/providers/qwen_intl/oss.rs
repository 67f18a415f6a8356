//! Where a file is put before a question names it: Alibaba OSS, with keys that the service lends. Both of the store's
//! signatures. Pure. Source: `wire/qwen_intl.md` sections 4.4, 6.1 and 6.2.

use std::time::{Duration, UNIX_EPOCH};

use actix_web::http::Method;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use serde::Deserialize;

use super::site::Site;
use crate::impossible::OrImpossible as _;
use crate::{
    accounts::Secret,
    settings::Problems,
    upstream::{Request, fetch::Attachment},
};

/// A file of 100 MB.
const UPLOAD: Duration = Duration::from_secs(120);
/// Any will do; this one is the vectors'.
const USER_AGENT: &str = "aliyun-sdk-js/6.23.0 Chrome 132.0.0.0 on Windows 10 64-bit";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// All but RFC 3986's unreserved, and the slashes within an object's name.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Which of the store's two signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HMAC-SHA1, as older clients of the store sign.
    V1,
    /// HMAC-SHA256 with a scope, as the site does.
    V4,
}

impl Version {
    /// `QWEN_INTL_OSS_SIGNATURE`.
    pub(super) fn read(text: Option<&str>, problems: &mut Problems) -> Self {
        match text {
            None | Some("v4") => Self::V4,
            Some("v1") => Self::V1,
            Some(_) => {
                problems.push("QWEN_INTL_OSS_SIGNATURE must be v4 or v1".to_owned());
                Self::V4
            }
        }
    }
}

/// The answer of `getstsToken`: keys for one object, good for five minutes.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    access_key_id: String,
    access_key_secret: Secret,
    security_token: Secret,
    /// A signed link for reading it, query and all: what a question names the file by.
    pub(super) file_url: String,
    /// The object's name.
    file_path: String,
    pub(super) file_id: String,
    bucket: String,
    region: String,
}

#[derive(Deserialize)]
struct Raw {
    access_key_id: String,
    access_key_secret: String,
    security_token: String,
    file_url: String,
    file_path: String,
    file_id: String,
    bucketname: String,
    region: String,
}

impl Grant {
    /// Reads it, inside `data` as the newer call gives it or flat as the older one; `None` where something is missing.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            data: Raw,
        }
        // The envelope first: read flat, an envelope is a refusal for want of members.
        let wrapped = serde_json::from_slice::<Envelope>(body).map(|it| it.data);
        let raw = wrapped
            .or_else(|_| serde_json::from_slice::<Raw>(body))
            .ok()?;
        // They become parts of headers and of a URL.
        let is_plain =
            |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_fit = [
            &raw.access_key_id,
            &raw.access_key_secret,
            &raw.security_token,
            &raw.file_url,
            &raw.bucketname,
            &raw.region,
        ]
        .into_iter()
        .all(is_plain)
            && !raw.file_path.is_empty();
        is_fit.then(|| Self {
            access_key_id: raw.access_key_id,
            access_key_secret: Secret::new(raw.access_key_secret),
            security_token: Secret::new(raw.security_token),
            file_url: raw.file_url,
            file_path: raw.file_path,
            file_id: raw.file_id,
            bucket: raw.bucketname,
            region: raw.region,
        })
    }

    /// `PUT` of the bytes. No cookie and no token of the account: the store is not the site.
    pub(super) fn put(&self, site: &Site, file: &Attachment, unix_seconds: u64) -> Request {
        let signed = match site.oss {
            Version::V1 => self.signed_v1(&file.content_type, unix_seconds),
            Version::V4 => self.signed_v4(&file.content_type, unix_seconds),
        };
        let request = Request::new("store", Method::PUT, self.place(site));
        let request = signed.iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        request.body(Bytes::clone(&file.bytes)).timeout(UPLOAD)
    }

    /// `file_url` without its query, elsewhere if the settings say so.
    fn place(&self, site: &Site) -> String {
        // The query is the signature of the reading link, which a PUT with it would be judged by.
        let plain = self.file_url.split(['?', '#']).next();
        let plain = plain.unwrap_or(&self.file_url);
        let Some(base) = &site.upload_base_url else {
            return plain.to_owned();
        };
        // What follows scheme and host: `https://host/path`.
        let path = plain
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
            .map_or("", |(_, path)| path);
        format!("{base}/{path}")
    }

    fn signed_v4(&self, content_type: &str, unix_seconds: u64) -> Vec<(&'static str, String)> {
        let date = date(unix_seconds);
        let mut headers = vec![
            // Sorted by name, as they are signed (section 6.1): what is added must keep the order.
            ("content-type", content_type.to_owned()),
            ("x-oss-content-sha256", UNSIGNED.to_owned()),
            ("x-oss-date", date.clone()),
            (
                "x-oss-security-token",
                self.security_token.expose().to_owned(),
            ),
            ("x-oss-user-agent", USER_AGENT.to_owned()),
        ];
        let scope = self.scope(&date);
        let signature = self.signature_v4(&headers, &date);
        let id = &self.access_key_id;
        // After the signature: it is the one header that is not signed.
        headers.push((
            "authorization",
            format!("OSS4-HMAC-SHA256 Credential={id}/{scope},Signature={signature}"),
        ));
        headers
    }

    /// `YYYYMMDD/ap-southeast-1/oss/aliyun_v4_request`
    fn scope(&self, date: &str) -> String {
        let day = date.get(..8).or_impossible("a date has eight digits");
        format!("{day}/{}/oss/aliyun_v4_request", self.plain_region())
    }

    fn plain_region(&self) -> &str {
        // The scope wants the region bare, the answer has it with `oss-` (section 6.1).
        self.region.strip_prefix("oss-").unwrap_or(&self.region)
    }

    /// `headers` are all that is signed, sorted by name.
    fn canonical(&self, headers: &[(&'static str, String)]) -> String {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let object = format!("/{}/{}", self.bucket, self.file_path);
        // The slashes within the object's name stay (section 6.1).
        let uri = utf8_percent_encode(&object, PATH);
        // Empty: the query, and the names of additional headers.
        format!("PUT\n{uri}\n\n{lines}\n\n{UNSIGNED}")
    }

    fn signature_v4(&self, headers: &[(&'static str, String)], date: &str) -> String {
        let canonical = digest::digest(&digest::SHA256, self.canonical(headers).as_bytes());
        let text = format!(
            "OSS4-HMAC-SHA256\n{date}\n{}\n{}",
            self.scope(date),
            hex(canonical.as_ref())
        );
        let day = date.get(..8).or_impossible("a date has eight digits");
        let mut key = format!("aliyun_v4{}", self.access_key_secret.expose()).into_bytes();
        // Each step's key is the last one's result: a leaked one is good for that day and region only.
        for part in [day, self.plain_region(), "oss", "aliyun_v4_request"] {
            key = mac(&key, part);
        }
        hex(&mac(&key, &text))
    }

    fn signed_v1(&self, content_type: &str, unix_seconds: u64) -> Vec<(&'static str, String)> {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds));
        let signature = self.signature_v1(content_type, &date);
        let token = self.security_token.expose().to_owned();
        vec![
            ("content-type", content_type.to_owned()),
            ("date", date),
            ("x-oss-security-token", token),
            (
                "authorization",
                format!("OSS {}:{signature}", self.access_key_id),
            ),
        ]
    }

    fn signature_v1(&self, content_type: &str, date: &str) -> String {
        let (token, bucket, object) = (self.security_token.expose(), &self.bucket, &self.file_path);
        // No Content-MD5. The object's name is signed as it is, not as it is written in a URL.
        let text = format!(
            "PUT\n\n{content_type}\n{date}\nx-oss-security-token:{token}\n/{bucket}/{object}"
        );
        let secret = self.access_key_secret.expose().as_bytes();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        STANDARD.encode(hmac::sign(&key, text.as_bytes()))
    }
}

/// The moment as the signature has it, in UTC: `YYYYMMDDTHHMMSSZ`.
fn date(unix_seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    // `Fri, 20 Nov 2026 10:15:00 GMT`: a fixed form, so its words are where they always are.
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds));
    let mut words = text.split(' ').skip(1);
    let mut word = || words.next().or_impossible("a date has five words");
    let (day, month, year, time) = (word(), word(), word(), word());
    let month = MONTHS.iter().position(|known| *known == month);
    let month = month.or_impossible("a month has a name") + 1;
    format!("{year}{month:02}{day}T{}Z", time.replace(':', ""))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// Bytes in lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(object: &str, secret: &str, token: &str) -> Grant {
        let body = serde_json::json!({"success": true, "request_id": "r", "data": {
            "access_key_id": "STS.id", "access_key_secret": secret, "security_token": token,
            "file_url": "https://qwen-webui-prod.oss-accelerate.aliyuncs.com/a/b%20c.png?x-oss-signature=1&b=2",
            "file_path": object, "file_id": "f", "bucketname": "qwen-webui-prod",
            "region": "oss-ap-southeast-1", "endpoint": "oss-accelerate.aliyuncs.com",
        }});
        Grant::read(body.to_string().as_bytes()).unwrap()
    }

    /// Section 6.1.
    #[test]
    fn signs_as_the_vectors_of_the_wire_page() {
        for (object, content_type, at, date_text, secret, token, signature) in [
            (
                "u-0001/f-0001_cat photo.png",
                "image/png",
                1_795_169_700,
                "20261120T101500Z",
                "test-secret-0001",
                "CAIStesttoken==",
                "b0050aea989ab4b078a57842d544cbc842ad2898384239bf78a6861da8a8e45f",
            ),
            (
                "a/b.txt",
                "text/plain",
                1_767_225_600,
                "20260101T000000Z",
                "s3cr3t",
                "tok",
                "b49aeb17760932ca95db5fdd67de1e3157771d8d1ba5c668ff1b42af6d647048",
            ),
            (
                "目录/图.png",
                "image/png",
                1_798_761_599,
                "20261231T235959Z",
                "k+/=",
                "t/t==",
                "db121c13a7ab98a3b5f8a7ad68a649f9e7f431ea59febfa95485c127b990fb30",
            ),
        ] {
            let headers = grant(object, secret, token).signed_v4(content_type, at);
            let value = |name: &str| {
                let found = headers.iter().find(|(known, _)| *known == name);
                found.unwrap().1.as_str()
            };
            assert_eq!(value("x-oss-date"), date_text);
            let day = date_text.get(..8).unwrap();
            assert_eq!(
                value("authorization"),
                format!(
                    "OSS4-HMAC-SHA256 Credential=STS.id/{day}/ap-southeast-1/oss/aliyun_v4_request,Signature={signature}"
                )
            );
        }
    }

    /// The first vector in between.
    #[test]
    fn the_canonical_request_is_the_wire_pages() {
        let grant = grant(
            "u-0001/f-0001_cat photo.png",
            "test-secret-0001",
            "CAIStesttoken==",
        );
        let mut headers = grant.signed_v4("image/png", 1_795_169_700);
        headers.pop();
        let canonical = grant.canonical(&headers);
        assert_eq!(
            canonical,
            "PUT\n/qwen-webui-prod/u-0001/f-0001_cat%20photo.png\n\ncontent-type:image/png\nx-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:20261120T101500Z\nx-oss-security-token:CAIStesttoken==\nx-oss-user-agent:aliyun-sdk-js/6.23.0 Chrome 132.0.0.0 on Windows 10 64-bit\n\n\nUNSIGNED-PAYLOAD"
        );
        let digest = digest::digest(&digest::SHA256, canonical.as_bytes());
        assert_eq!(
            hex(digest.as_ref()),
            "67685dd4782fb5cab26d7051a05df20a5c974c7c8c25e8ad3091bfb0068b0739"
        );
    }

    /// Section 6.2.
    #[test]
    fn the_older_signature_is_the_wire_pages() {
        let grant = grant("a/b.txt", "s3cr3t", "tok");
        let headers = grant.signed_v1("text/plain", 1_795_169_700);
        assert!(headers.contains(&("date", "Fri, 20 Nov 2026 10:15:00 GMT".to_owned())));
        let authorization = "OSS STS.id:u7IrMKaHah9EdBWmxCO6qjtHi9U=".to_owned();
        assert!(
            headers.contains(&("authorization", authorization)),
            "{headers:?}"
        );
    }

    #[test]
    fn a_grant_comes_in_an_envelope_or_flat() {
        let flat = r#"{"access_key_id":"i","access_key_secret":"s","security_token":"t","file_url":"https://h/o?q","file_path":"o","file_id":"f","bucketname":"b","region":"oss-r","endpoint":"e"}"#;
        for body in [
            flat.to_owned(),
            format!(r#"{{"success":true,"data":{flat}}}"#),
        ] {
            assert_eq!(Grant::read(body.as_bytes()).unwrap().file_id, "f");
        }
        for odd in [
            "",
            "{}",
            r#"{"success":true,"data":null}"#,
            &flat.replace("\"b\"", "\"b\\r\\nx: y\""),
            &flat.replace(r#""file_path":"o""#, r#""file_path":"""#),
        ] {
            assert!(Grant::read(odd.as_bytes()).is_none(), "{odd}");
        }
        assert!(!format!("{:?}", grant("o", "planted-secret", "t")).contains("planted"));
    }

    #[test]
    fn a_file_is_put_where_the_grant_says_or_elsewhere() {
        let (mut problems, file) = (
            Problems::default(),
            Attachment {
                name: "x.png".to_owned(),
                content_type: "image/png".to_owned(),
                bytes: Bytes::from_static(b"x"),
            },
        );
        for (pairs, url) in [
            (
                vec![],
                "https://qwen-webui-prod.oss-accelerate.aliyuncs.com/a/b%20c.png",
            ),
            (
                vec![("QWEN_INTL_UPLOAD_BASE_URL", "http://127.0.0.1:1/")],
                "http://127.0.0.1:1/a/b%20c.png",
            ),
        ] {
            let vars = crate::settings::Vars::new(pairs);
            let site = Site::read(&vars, &mut problems);
            let request = grant("a/b c.png", "s", "t").put(&site, &file, 0);
            assert_eq!(request.url, url);
            let names = request.headers.iter().map(|(name, _)| name.as_str());
            assert!(!names.into_iter().any(|name| name == "cookie"));
        }
        assert!(problems.errors.is_empty(), "{problems:?}");
    }
}
