//! The two signatures of the store. Source: wire/qwen_intl.md §6.1, §6.2.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::Request;

/// The keys of one upload.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: String,
    pub(super) bucket: String,
    /// Without its `oss-`.
    pub(super) region: String,
    pub(super) object: String,
}

/// Whether a `PUT` is signed, in either way; `Err` says what is wrong.
pub(super) fn check(keys: &Keys, request: &Request) -> Result<&'static str, String> {
    let authorization = request.header("authorization");
    if request.header("x-oss-security-token") != keys.token {
        return Err("x-oss-security-token is not the grant's".to_owned());
    }
    if authorization.starts_with("OSS4-HMAC-SHA256 ") {
        if request.header("x-oss-content-sha256") != "UNSIGNED-PAYLOAD" {
            return Err("x-oss-content-sha256 is not UNSIGNED-PAYLOAD".to_owned());
        }
        let date = request.header("x-oss-date");
        let day = date.get(..8).unwrap_or_default();
        let expected = format!(
            "OSS4-HMAC-SHA256 Credential={}/{day}/{}/oss/aliyun_v4_request,Signature={}",
            keys.id,
            keys.region,
            v4(keys, &signed_headers(request), &date)
        );
        return if authorization == expected {
            Ok("v4")
        } else {
            Err("the V4 signature is wrong".to_owned())
        };
    }
    let expected = v1(
        keys,
        &request.header("content-md5"),
        &request.header("content-type"),
        &request.header("date"),
    );
    if authorization == format!("OSS {}:{expected}", keys.id) {
        Ok("v1")
    } else {
        Err("Authorization is none of the two signatures".to_owned())
    }
}

/// Step 2: content-type and every `x-oss-*`, sorted by name.
fn signed_headers(request: &Request) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_ascii_lowercase(), value.trim().to_owned())
        })
        .filter(|(name, _)| name == "content-type" || name.starts_with("x-oss-"))
        .collect();
    headers.sort();
    headers
}

fn v4(keys: &Keys, headers: &[(String, String)], date: &str) -> String {
    let day = date.get(..8).unwrap_or_default();
    let mut request = format!("PUT\n{}\n\n", uri(&keys.bucket, &keys.object));
    for (name, value) in headers {
        request.push_str(&format!("{name}:{value}\n"));
    }
    request.push_str("\n\nUNSIGNED-PAYLOAD");
    let scope = format!("{day}/{}/oss/aliyun_v4_request", keys.region);
    let text = format!(
        "OSS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(request))
    );
    let mut key = format!("aliyun_v4{}", keys.secret).into_bytes();
    for part in [day, &keys.region, "oss", "aliyun_v4_request"] {
        key = sha256(&key, part);
    }
    hex(&sha256(&key, &text))
}

fn v1(keys: &Keys, md5: &str, content_type: &str, date: &str) -> String {
    let Keys {
        token,
        bucket,
        object,
        secret,
        ..
    } = keys;
    let text = format!(
        "PUT\n{md5}\n{content_type}\n{date}\nx-oss-security-token:{token}\n/{bucket}/{object}"
    );
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Step 1: encoded as RFC 3986 has it, except for the slashes.
pub(super) fn uri(bucket: &str, object: &str) -> String {
    let mut uri = String::new();
    for byte in format!("/{bucket}/{object}").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

fn sha256(key: &[u8], text: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(object: &str, secret: &str, token: &str) -> Keys {
        Keys {
            id: "STS.sim".to_owned(),
            secret: secret.to_owned(),
            token: token.to_owned(),
            bucket: "qwen-webui-prod".to_owned(),
            region: "ap-southeast-1".to_owned(),
            object: object.to_owned(),
        }
    }

    #[test]
    fn signs_as_the_vectors_do() {
        for (object, content_type, date, secret, token, signature) in [
            (
                "u-0001/f-0001_cat photo.png",
                "image/png",
                "20261120T101500Z",
                "test-secret-0001",
                "CAIStesttoken==",
                "b0050aea989ab4b078a57842d544cbc842ad2898384239bf78a6861da8a8e45f",
            ),
            (
                "a/b.txt",
                "text/plain",
                "20260101T000000Z",
                "s3cr3t",
                "tok",
                "b49aeb17760932ca95db5fdd67de1e3157771d8d1ba5c668ff1b42af6d647048",
            ),
            (
                "目录/图.png",
                "image/png",
                "20261231T235959Z",
                "k+/=",
                "t/t==",
                "db121c13a7ab98a3b5f8a7ad68a649f9e7f431ea59febfa95485c127b990fb30",
            ),
        ] {
            let headers = [
                ("content-type", content_type),
                ("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
                ("x-oss-date", date),
                ("x-oss-security-token", token),
                (
                    "x-oss-user-agent",
                    "aliyun-sdk-js/6.23.0 Chrome 132.0.0.0 on Windows 10 64-bit",
                ),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(v4(&keys(object, secret, token), &headers, date), signature);
        }
        let keys = keys("a/b.txt", "s3cr3t", "tok");
        let date = "Fri, 20 Nov 2026 10:15:00 GMT";
        assert_eq!(
            v1(&keys, "", "text/plain", date),
            "u7IrMKaHah9EdBWmxCO6qjtHi9U="
        );
    }
}
