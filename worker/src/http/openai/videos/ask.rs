//! What a caller asks of `POST /v1/videos`, from JSON or a form, for providers that do not speak this dialect.

use bytes::Bytes;
use serde_json::Value;

use crate::{
    chat::{
        Invalid,
        media::{Input, MOST_PROMPT_BYTES, Size, VideoRequest},
    },
    http::{error::ApiError, form},
};

/// Longest video that anybody may ask for.
const MOST_SECONDS: u32 = 600;

/// A request, and the fields that nobody reads.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) ask: VideoRequest,
    pub(super) ignored: Vec<String>,
}

/// A field of either form of body.
enum Said {
    Json(Value),
    File(Input),
}

/// Reads a body; `model` is known already.
pub(super) fn read(content_type: &str, body: Bytes, model: String) -> Result<Wanted, ApiError> {
    let bytes = body.len();
    let fields: Vec<(String, Said)> = match form::boundary(content_type)? {
        Some(boundary) => form::fields(&body, &boundary)?
            .into_iter()
            .map(|field| {
                let said = match &field.file_name {
                    Some(name) => Said::File(Input::File {
                        name: name.clone(),
                        // Bytes are a handle of the body, not a copy.
                        mime: field.content_type.clone().unwrap_or_default(),
                        bytes: field.bytes.clone(),
                    }),
                    None => Said::Json(field.text()?.into()),
                };
                Ok((field.name, said))
            })
            .collect::<Result<_, ApiError>>()?,
        None => match serde_json::from_slice(&body) {
            Ok(Value::Object(members)) => members
                .into_iter()
                .map(|(name, value)| (name, Said::Json(value)))
                .collect(),
            _ => {
                return Err(ApiError::bad_request(
                    "The body is not a valid JSON object.",
                ));
            }
        },
    };
    let mut ask = VideoRequest::new(model, "");
    ask.bytes = bytes;
    let mut ignored = Vec::new();
    for (name, said) in fields {
        take(&mut ask, &name, said, &mut ignored)?;
    }
    if ask.prompt.trim().is_empty() {
        return Err(Invalid::field("prompt", "A video needs a prompt.").into());
    }
    if ask.prompt.len() > MOST_PROMPT_BYTES {
        let why = format!("A prompt has at most {MOST_PROMPT_BYTES} bytes.");
        return Err(Invalid::field("prompt", why).into());
    }
    Ok(Wanted { ask, ignored })
}

fn take(
    ask: &mut VideoRequest,
    name: &str,
    said: Said,
    ignored: &mut Vec<String>,
) -> Result<(), ApiError> {
    match (name, said) {
        // Absent and null and, in forms, empty are no value.
        // The model was read by the door, which has to know whose request it is.
        (_, Said::Json(Value::Null)) | ("model", _) => {}
        ("prompt", Said::Json(Value::String(prompt))) => ask.prompt = prompt,
        ("user", Said::Json(Value::String(user))) => ask.user = Some(user),
        ("seconds", Said::Json(value)) => ask.seconds = seconds(&value)?,
        ("size", Said::Json(Value::String(text))) => {
            let text = text.trim();
            ask.size = match Size::read(text) {
                None if !matches!(text, "" | "auto") => {
                    let why = "A size is written as 1280x720.";
                    return Err(Invalid::field("size", why).into());
                }
                size => size,
            };
        }
        ("input_reference" | "input_reference[]", Said::File(file)) => {
            ask.input_reference = Some(file);
        }
        ("input_reference" | "input_reference[image_url]", Said::Json(value)) => {
            ask.input_reference = Some(Input::Url(reference(&value)?.into()));
        }
        ("prompt" | "size" | "user" | "input_reference[file_id]", _) => {
            // By name, where the type is wrong; unlike fields that nobody knows, these would have meant something.
            let why = format!("'{name}' has a value of a kind that is not understood.");
            return Err(Invalid::field(name, why).into());
        }
        _ => {
            // A name goes back in a header.
            let is_plain = name.len() <= 64
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-.[]".contains(&b));
            if is_plain {
                ignored.push(name.to_owned());
            }
        }
    }
    Ok(())
}

/// `"4"`, `4`, `"4s"`.
fn seconds(value: &Value) -> Result<Option<u32>, ApiError> {
    let text = match value {
        Value::String(text) => text.trim().trim_end_matches('s').to_owned(),
        // A number as its text, so that one reading serves both forms.
        other => other.to_string(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let seconds = text.parse::<f64>().ok();
    match seconds.filter(|it| (1.0..=f64::from(MOST_SECONDS)).contains(it)) {
        // Within the bounds, so nothing is cut off but a part of a second.
        Some(seconds) => Ok(Some(seconds.round() as u32)),
        None => {
            let why = format!("'seconds' is a number from 1 to {MOST_SECONDS}.");
            Err(Invalid::field("seconds", why).into())
        }
    }
}

/// A URL, alone or as `{"image_url": …}`, as newer clients write it.
fn reference(value: &Value) -> Result<String, ApiError> {
    let url = match value {
        Value::Object(members) => match members.get("image_url") {
            // Newer SDKs nest it once more.
            Some(Value::Object(inner)) => inner.get("url"),
            other => other,
        },
        other => Some(other),
    };
    let url = url.and_then(Value::as_str).map(str::to_owned);
    url.ok_or_else(|| {
        let why = "'input_reference' is a file, an https URL or a data URL.";
        Invalid::field("input_reference", why).into()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(body: &Value) -> Result<Wanted, ApiError> {
        read("application/json", body.to_string().into(), "m".to_owned())
    }

    #[test]
    fn reads_what_sdks_write() {
        let wanted = asked(&json!({
            "model": "m", "prompt": "a cat", "seconds": "8", "size": "1280x720", "user": null, "loop": true,
            "input_reference": {"image_url": "https://e/x.png"},
        }))
        .unwrap();
        assert_eq!(wanted.ignored, ["loop"]);
        let ask = wanted.ask;
        assert_eq!(
            (ask.seconds, ask.size),
            (Some(8), Some(Size::of(1280, 720)))
        );
        assert_eq!(
            ask.input_reference,
            Some(Input::Url("https://e/x.png".into()))
        );
        let form = "--B\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na cat\r\n--B\r\n\
            Content-Disposition: form-data; name=\"input_reference\"; filename=\"c.png\"\r\nContent-Type: image/png\r\n\r\n\
            PNG\r\n--B--";
        let read = read(
            "multipart/form-data; boundary=B",
            form.into(),
            "m".to_owned(),
        );
        let ask = read.unwrap().ask;
        assert_eq!((&*ask.prompt, &*ask.model), ("a cat", "m"));
        assert!(matches!(ask.input_reference, Some(Input::File { name, .. }) if name == "c.png"));
    }

    #[test]
    fn blames_the_field() {
        for (body, param) in [
            (json!({}), "prompt"),
            (json!({"prompt": " "}), "prompt"),
            (json!({"prompt": 7}), "prompt"),
            (json!({"prompt": "x", "seconds": "long"}), "seconds"),
            (json!({"prompt": "x", "seconds": 0}), "seconds"),
            (json!({"prompt": "x", "seconds": 1e99}), "seconds"),
            (json!({"prompt": "x", "size": "big"}), "size"),
            (json!({"prompt": "x", "size": 7}), "size"),
            (
                json!({"prompt": "x", "input_reference": {"file_id": "f"}}),
                "input_reference",
            ),
        ] {
            let error = asked(&body).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{body}");
        }
    }
}
