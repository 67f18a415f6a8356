//! What makes the service take a question: one HMAC over the exact body and one over the query, keyed with a salt that
//! is good once. Source: `wire/qwen.md` section 11.5.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;

use crate::{accounts::Secret, upstream::Request};

/// `ve` of the signed text and of the headers.
const VERSION: &str = "1.0.0";
/// What a query value leaves as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A query, in the order in which it stands in the URL, which is part of what is signed.
#[derive(Clone, Debug)]
pub(super) struct Query(pub(super) Vec<(&'static str, String)>);

impl Query {
    /// The same with one more pair at its end.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// As it stands behind the `?`.
    pub(super) fn encoded(&self) -> String {
        let mut query = String::new();
        // In this order: the names are signed beside the values (section 11.5).
        for (name, value) in &self.0 {
            let gap = if query.is_empty() { "" } else { "&" };
            // Writing to a String cannot fail.
            let _ = write!(query, "{gap}{name}={}", utf8_percent_encode(value, QUERY));
        }
        query
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        names.join(",")
    }

    fn values(&self) -> String {
        self.0.iter().map(|(_, value)| value.as_str()).collect()
    }
}

/// What signs one request: never used twice, not even for another try.
#[derive(Debug)]
pub(super) struct Pass {
    /// `eo-clt-dvidn`.
    pub(super) device: String,
    /// `eo-clt-snver`.
    pub(super) version: String,
    /// `eo-clt-actkn` of the scene.
    pub(super) token: Secret,
    /// `eo-clt-sacsft`.
    pub(super) salt: Secret,
}

/// The two values that are computed.
#[derive(Debug, PartialEq, Eq)]
struct Signature {
    sign: String,
    /// None without a body.
    body: Option<String>,
}

/// `kp` is the cookie `tongyi_sso_ticket_hash`, or empty; `time` is `reqt`, in Unix milliseconds.
fn signature(pass: &Pass, kp: &str, time: u64, query: &Query, body: &[u8]) -> Signature {
    let secret = format!("{}:{time}", pass.salt.expose());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mac = |text: &[u8]| STANDARD.encode(hmac::sign(&key, text));
    // None without a body: the GET's signature has nothing in its place.
    let body = (!body.is_empty()).then(|| mac(body));
    let text = [
        &pass.device,
        VERSION,
        &query.values(),
        kp,
        body.as_deref().unwrap_or_default(),
    ]
    // Without separators (section 11.5).
    .concat();
    Signature {
        sign: mac(text.as_bytes()),
        body,
    }
}

/// Adds the headers of the signature; the request's URL must hold this very query, its body must be these bytes.
pub(super) fn signed(
    request: Request,
    pass: &Pass,
    kp: &str,
    time: u64,
    query: &Query,
    body: &[u8],
) -> Request {
    let signature = signature(pass, kp, time, query, body);
    let request = request
        .header("clt-acs-sign", signature.sign)
        .header("clt-acs-reqt", time.to_string())
        .header("clt-acs-request-params", query.names())
        .header("clt-acs-caer", "vrad")
        .header("eo-clt-dvidn", &pass.device)
        .header("eo-clt-snver", &pass.version)
        .header("eo-clt-actkn", pass.token.expose())
        .header("eo-clt-sacsft", pass.salt.expose())
        .header("eo-clt-acs-ve", VERSION);
    let request = match signature.body {
        Some(body) => request.header("clt-acs-bfg", body),
        None => request,
    };
    // Section 11.5: the header is left out when it is empty; the text holds it either way.
    if kp.is_empty() {
        request
    } else {
        request.header("eo-clt-acs-kp", kp)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The inputs of the vectors, which the vectors of the question share.
    pub(crate) const TIME: u64 = 1_790_000_000_123;

    pub(crate) fn pass() -> Pass {
        Pass {
            device: "simdvidn0001".to_owned(),
            version: "lv".to_owned(),
            token: Secret::new("token"),
            salt: Secret::new("c2FsdC1vbmU"),
        }
    }

    pub(crate) const BODY: &[u8] =
        include_bytes!("../../../../tests/fixtures/qwen_chat2/question.json");

    pub(crate) fn query() -> Query {
        Query(
            [
                ("biz_id", "ai_qwen"),
                ("fe_version", "1.0.0"),
                ("chat_client", "h5"),
                ("device", "pc"),
                ("fr", "pc"),
                ("pr", "qwen"),
                ("ut", "11111111-2222-4333-8444-555555555555"),
                ("la", "zh-CN"),
                ("tz", "Asia/Shanghai"),
                ("wv", "4.9.0"),
                ("ve", "4.9.0"),
                ("nonce", "a1b2c3d4e5f"),
                ("timestamp", "1790000000123"),
            ]
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
        )
    }

    /// The table of vectors in wire/qwen.md section 11.5, row by row.
    #[test]
    fn follows_the_vectors() {
        assert_eq!(BODY.len(), 566);
        let query = query();
        assert_eq!(
            query.encoded(),
            "biz_id=ai_qwen&fe_version=1.0.0&chat_client=h5&device=pc&fr=pc&pr=qwen&ut=11111111-2222-4333-8444-555555555555&la=zh-CN&tz=Asia%2FShanghai&wv=4.9.0&ve=4.9.0&nonce=a1b2c3d4e5f&timestamp=1790000000123"
        );
        assert_eq!(
            query.values(),
            "ai_qwen1.0.0h5pcpcqwen11111111-2222-4333-8444-555555555555zh-CNAsia/Shanghai4.9.04.9.0a1b2c3d4e5f1790000000123"
        );
        assert_eq!(
            query.names(),
            "biz_id,fe_version,chat_client,device,fr,pr,ut,la,tz,wv,ve,nonce,timestamp"
        );
        for (kp, sign) in [
            ("", "d8txtXQxVItK36imTc8wE/K5DVlpKG0UfgteTq1yHDU="),
            (
                "tytk_hash:0123456789abcdef0123456789abcdef",
                "Mt0r+fYff6v2GNWWXZVhxkn5nqTHgBo3oWlIzuk8Y3w=",
            ),
        ] {
            assert_eq!(
                signature(&pass(), kp, TIME, &query, BODY),
                Signature {
                    sign: sign.to_owned(),
                    body: Some("yHHrXiCvqF3gmSUW7FDMB1J6GxoYLJduK6jvDaTf8Es=".to_owned()),
                },
                "{kp}"
            );
        }
        assert_eq!(signature(&pass(), "", TIME, &query, b"").body, None);
    }

    #[test]
    fn an_empty_kp_has_no_header() {
        let names = |kp: &str| {
            let request = signed(
                Request::post("x", "http://x"),
                &pass(),
                kp,
                TIME,
                &query(),
                BODY,
            );
            let names: Vec<String> = request
                .headers
                .iter()
                .map(|(name, _)| name.to_string())
                .collect();
            names
        };
        assert_eq!(
            names("k"),
            [
                "clt-acs-sign",
                "clt-acs-reqt",
                "clt-acs-request-params",
                "clt-acs-caer",
                "eo-clt-dvidn",
                "eo-clt-snver",
                "eo-clt-actkn",
                "eo-clt-sacsft",
                "eo-clt-acs-ve",
                "clt-acs-bfg",
                "eo-clt-acs-kp"
            ]
        );
        assert_eq!(names("").len(), 10);
    }
}
