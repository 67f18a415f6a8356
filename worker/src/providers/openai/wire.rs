//! The request, which is the caller's own with another model, and what refusals mean. Source: OpenAI's public API
//! reference.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer as _,
    de::{MapAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::{Value, value::RawValue};

use super::{account::Account, delta::Name};
use crate::{
    chat::{ChatRequest, Kind, ProviderError},
    upstream::Request,
};

/// What the members that we add to a body take, or hardly more.
const ROOM_FOR_OURS: usize = 128;

/// `POST /chat/completions` with the caller's own body, one choice a turn: streamed where the caller wants a stream,
/// and then with usage.
///
/// # Errors
/// 400 for a body that is no JSON object; the door has checked that before.
pub(super) fn ask(
    base_url: &str,
    account: &Account,
    model: &str,
    chat: &ChatRequest,
) -> Result<Request, ProviderError> {
    let body = with_ours(&chat.body, model, chat.stream)
        .map_err(|_| ProviderError::bad_request("messages", "The body is not a JSON object."))?;
    Ok(
        Request::post("chat", format!("{base_url}/chat/completions"))
            .header("authorization", format!("Bearer {}", account.key.expose()))
            .headers(&[
                ("content-type", "application/json"),
                (
                    "accept",
                    if chat.stream {
                        "text/event-stream"
                    } else {
                        "application/json"
                    },
                ),
                ("user-agent", "hive2api"),
            ])
            .body(body),
    )
}

/// The caller's body but for what is ours to say. What stays is copied byte for byte: a long history is neither taken
/// apart nor put together again.
fn with_ours(body: &[u8], model: &str, stream: bool) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct StreamOptions {
        include_usage: bool,
    }
    let Members(members) = serde_json::from_slice(body)?;
    let mut whole = Vec::with_capacity(body.len() + ROOM_FOR_OURS);
    let mut serializer = serde_json::Serializer::new(&mut whole);
    let mut object = serializer.serialize_map(None)?;
    for (name, value) in members {
        if !["model", "stream", "stream_options", "n"].contains(&&*name) {
            object.serialize_entry(&name, value)?;
        }
    }
    object.serialize_entry("model", model)?;
    object.serialize_entry("stream", &stream)?;
    if stream {
        let include_usage = true;
        object.serialize_entry("stream_options", &StreamOptions { include_usage })?;
    }
    object.end()?;
    Ok(whole)
}

/// The members of an object in their order, values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// OpenAI's error object.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refused {
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<Value>,
    #[serde(default)]
    param: Option<Value>,
    #[serde(default)]
    code: Option<Value>,
}

/// What an HTTP error status and its body mean.
pub(super) fn refusal(status: u16, body: &[u8], variable: &str) -> ProviderError {
    #[derive(Deserialize)]
    struct Body {
        error: Refused,
    }
    let refused = serde_json::from_slice::<Body>(body)
        .map(|body| body.error)
        .unwrap_or_default();
    classify(status, &refused, variable)
}

/// The same for an error object in a stream, whose status we do not see.
pub(super) fn in_stream(error: &Value, variable: &str) -> ProviderError {
    let refused = Refused::deserialize(error).unwrap_or_default();
    let numeric = refused
        .code
        .as_ref()
        .and_then(Value::as_u64)
        .and_then(|code| u16::try_from(code).ok());
    classify(numeric.unwrap_or(500), &refused, variable)
}

fn classify(status: u16, refused: &Refused, variable: &str) -> ProviderError {
    let word = |value: &Option<Value>| {
        value
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    let (kind, code) = (word(&refused.kind), word(&refused.code));
    let message = refused.message.as_deref().unwrap_or_default();
    let is = |needle: &str| kind.contains(needle) || code.contains(needle);
    if is("context_length") {
        return ProviderError::new(
            Kind::ContextLength,
            "the conversation is too long for this model",
        )
        .saying(message);
    }
    if is("content_filter") || is("content_policy") {
        return ProviderError::new(
            Kind::Moderated,
            "the upstream's moderation refused the request",
        );
    }
    if is("insufficient_quota") {
        return ProviderError::new(
            Kind::QuotaSpent,
            format!("the quota of {variable} is spent"),
        );
    }
    match status {
        401 | 403 => ProviderError::new(
            Kind::AuthExpired,
            format!("{variable} was refused; set a valid key"),
        ),
        402 => ProviderError::new(
            Kind::QuotaSpent,
            format!("the quota of {variable} is spent"),
        ),
        404 => ProviderError {
            param: Some("model".to_owned()),
            ..ProviderError::new(Kind::ModelNotFound, "the upstream does not know this model")
        },
        429 => ProviderError::new(Kind::RateLimited, "too many requests"),
        408 | 409 | 500.. if is("rate_limit") => {
            ProviderError::new(Kind::RateLimited, "too many requests")
        }
        408 | 409 | 500.. => ProviderError::new(
            Kind::Unavailable,
            format!("the upstream failed (HTTP {status})"),
        ),
        400..500 => {
            let error = ProviderError::new(Kind::BadRequest, "the upstream refused the request")
                .saying(message);
            let error = ProviderError {
                param: refused
                    .param
                    .as_ref()
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                ..error
            };
            if code.is_empty() {
                error
            } else {
                error.with_code(&code)
            }
        }
        _ => ProviderError::new(
            Kind::Protocol,
            format!("the upstream answered with HTTP {status}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_of_a_body_stays_byte_for_byte() {
        let body = r#"{ "model":"a","x\n" : [1.0, "é\u00e9"], "n":2, "stream":false,"messages":[{"a": 1e400}] , "model":"b" }"#;
        let with_ours = |body: &str, stream| with_ours(body.as_bytes(), "m", stream);
        assert_eq!(
            String::from_utf8(with_ours(body, true).unwrap()).unwrap(),
            r#"{"x\n":[1.0, "é\u00e9"],"messages":[{"a": 1e400}],"model":"m","stream":true,"stream_options":{"include_usage":true}}"#
        );
        assert_eq!(
            with_ours("{}", false).unwrap(),
            br#"{"model":"m","stream":false}"#
        );
        for body in ["[]", "{", "{\"a\":}", ""] {
            assert!(with_ours(body, true).is_err(), "{body}");
        }
    }
}
