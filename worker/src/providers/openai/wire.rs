//! The request, which is the caller's own with another model, and what refusals mean. Source: OpenAI's public API
//! reference.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};

use super::{account::Account, delta::Name};
use crate::{
    chat::{ChatRequest, Kind, ProviderError},
    upstream::Request,
};

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
    let mode = if chat.stream {
        json!({"model": model, "stream": true, "stream_options": {"include_usage": true}})
    } else {
        json!({"model": model, "stream": false})
    };
    let body = with_members(
        &chat.body,
        &["model", "stream", "stream_options", "n"],
        &mode,
    )
    .ok_or_else(|| ProviderError::bad_request("messages", "The body is not a JSON object."))?;
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

/// A JSON object without some of its members, and then those of `more`. What stays is copied byte for byte: a long
/// history is neither taken apart nor put together again. `None` for text that is no object.
fn with_members(body: &[u8], without: &[&str], more: &Value) -> Option<Vec<u8>> {
    let Members(members) = serde_json::from_slice(body).ok()?;
    let mut whole = Vec::with_capacity(body.len() + 128);
    whole.push(b'{');
    for (name, value) in members {
        if !without.contains(&&*name) {
            serde_json::to_writer(&mut whole, &name).ok()?;
            whole.push(b':');
            whole.extend_from_slice(value.get().as_bytes());
            whole.push(b',');
        }
    }
    let more = more.to_string();
    whole.extend_from_slice(more.strip_prefix('{')?.as_bytes());
    Some(whole)
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
        let more = json!({"model": "m", "stream": true});
        let whole = with_members(body.as_bytes(), &["model", "stream", "n"], &more).unwrap();
        assert_eq!(
            String::from_utf8(whole).unwrap(),
            r#"{"x\n":[1.0, "é\u00e9"],"messages":[{"a": 1e400}],"model":"m","stream":true}"#
        );
        for body in ["[]", "{", "{\"a\":}", ""] {
            assert_eq!(with_members(body.as_bytes(), &[], &more), None, "{body}");
        }
    }
}
