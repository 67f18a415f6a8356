//! A request, read to its end.

use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// The query as it was sent, still encoded.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    /// The raw bytes of a header: cookies may hold any UTF-8.
    pub(super) fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name).map(|value| value.as_bytes())
    }

    /// A header as text; "" when it is missing.
    pub(super) fn header(&self, name: &str) -> String {
        self.header_bytes(name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default()
    }

    /// The value of a cookie, byte for byte.
    pub(super) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.header("cookie");
        cookies.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    }

    /// The body as a JSON value, if it is declared and written as JSON.
    pub(super) fn json(&self) -> Result<Value, String> {
        let declared = self.header("content-type");
        if declared.split(';').next().map(str::trim) != Some("application/json") {
            return Err(format!(
                "Content-Type is {declared:?}, not application/json"
            ));
        }
        serde_json::from_slice(&self.body).map_err(|error| format!("the body is not JSON: {error}"))
    }

    /// What is odd about the User-Agent: the services want a desktop Chrome.
    pub(super) fn user_agent_violation(&self) -> Option<String> {
        let agent = self.header("user-agent");
        let chrome = agent.starts_with("Mozilla/5.0 (") && agent.contains(" Chrome/");
        (!chrome).then(|| format!("User-Agent {agent:?} is no desktop Chrome"))
    }
}

/// Decodes `%41`; leaves `+` alone, which stands for itself outside of urlencoded forms.
pub(super) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() {
            tail.get(2..).unwrap_or_default()
        } else {
            tail
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// 32 hex digits, or a dashed UUID.
pub(super) fn is_uuid(text: &str) -> bool {
    matches!(text.len(), 32 | 36) && uuid::Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding_keeps_plus_and_broken_escapes() {
        assert_eq!(percent_decode("sim%2F03%2Btoken%3D"), "sim/03+token=");
        assert_eq!(percent_decode("a+b%zz%4"), "a+b%zz%4");
        assert_eq!(percent_decode("%E4%BD%A0"), "你");
    }
}
