//! What the two doors are asked, in JSON or as a form. Unknown fields never hurt, and are named in `X-Hive-Ignored`; a wrong
//! type or value is a 400 that names the field (conformance H7).

use std::collections::BTreeMap;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use crate::{
    chat::{
        Invalid,
        media::{ImageRequest, Input, MOST_PICTURES, MOST_PROMPT_BYTES, Size},
        request::MOST_MODEL_BYTES,
    },
    http::{
        error::ApiError,
        form::{self, Field},
        reading::{self, Form},
    },
};

/// Most pictures that are given along, as OpenAI's own limit.
const MOST_INPUTS: usize = 16;
/// Most names that `X-Hive-Ignored` lists of those that nobody knows, and their length.
const MOST_NAMES: usize = 20;
const MOST_NAME_BYTES: usize = 40;
/// Longest of the short words (`quality`, `style`).
const MOST_WORD_BYTES: usize = 64;

/// How pictures are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    /// As links.
    Url,
    /// In the answer.
    Base64,
}

/// What is asked, checked.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) request: ImageRequest,
    /// `response_format`; `None`: as the model's name has it.
    pub(super) handover: Option<Handover>,
    /// `output_format`.
    pub(super) output: Option<String>,
    /// Answered with events.
    pub(super) is_stream: bool,
    /// What is set and has no effect here, whichever model it is.
    pub(super) ignored: Vec<String>,
}

/// Members as either form has them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members {
    model: Option<String>,
    prompt: Option<String>,
    n: Option<u32>,
    size: Option<String>,
    quality: Option<String>,
    style: Option<String>,
    response_format: Option<String>,
    output_format: Option<String>,
    user: Option<String>,
    stream: Option<bool>,
    /// The only one that an edit in JSON has of its own; a link, a list of them, or of objects that hold one.
    #[serde(alias = "image", deserialize_with = "pictures")]
    images: Vec<Input>,
    #[serde(deserialize_with = "pictures")]
    mask: Vec<Input>,
    /// Whatever else there is. Null is nothing.
    #[serde(flatten)]
    others: BTreeMap<String, Option<IgnoredAny>>,
}

/// A picture in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Link(String),
    Object {
        #[serde(alias = "url")]
        image_url: Option<Link>,
        b64_json: Option<String>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Link {
    Plain(String),
    Object { url: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    More(Vec<Given>),
    One(Given),
}

fn pictures<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Input>, D::Error> {
    let given = match Option::<OneOrMore>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMore::One(one)) => vec![one],
        Some(OneOrMore::More(more)) => more,
    };
    let input = |given: Given| {
        let link = match given {
            Given::Link(link) => link,
            Given::Object {
                image_url: Some(Link::Plain(link) | Link::Object { url: link }),
                ..
            } => link,
            Given::Object {
                b64_json: Some(data),
                ..
            } => data,
            // A file's id at OpenAI means nothing here.
            Given::Object { .. } => {
                return Err(serde::de::Error::custom(
                    "a picture is given by `image_url`: a data URL or an https URL",
                ));
            }
        };
        // Plain base64 is what answers hold, and what comes back.
        // Base64 has no colon, every URL has.
        let is_link = link.contains(':');
        Ok(Input::Url(if is_link {
            link.into()
        } else {
            // Without a type: what it is, its first bytes say when it is read.
            format!("data:;base64,{link}").into()
        }))
    };
    given.into_iter().map(input).collect()
}

struct JsonBody;

impl Form for JsonBody {
    type Body<'a> = Members;
    type Read = Members;

    fn check(members: Members, _: &ByteString) -> Result<Members, Invalid> {
        Ok(members)
    }
}

/// Reads `POST /v1/images/generations`.
///
/// # Errors
/// 400.
pub(super) fn generation(body: Bytes, most_pieces: usize) -> Result<Wanted, Invalid> {
    let bytes = body.len();
    let mut members = reading::read::<JsonBody>(body, most_pieces)?;
    // Nothing is drawn after pictures here; that is the other door's.
    for (name, given) in [("images", &mut members.images), ("mask", &mut members.mask)] {
        if !std::mem::take(given).is_empty() {
            // Told as without effect, rather than refused: programs send the members of both doors to both.
            members.others.insert(name.to_owned(), Some(IgnoredAny));
        }
    }
    members.check(bytes)
}

/// Reads `POST /v1/images/edits` in JSON.
///
/// # Errors
/// 400.
pub(super) fn edit(body: Bytes, most_pieces: usize) -> Result<Wanted, Invalid> {
    let bytes = body.len();
    reading::read::<JsonBody>(body, most_pieces)?.edit(bytes)
}

/// Reads `POST /v1/images/edits` as a form.
///
/// # Errors
/// 400.
pub(super) fn edit_form(body: &Bytes, boundary: &str) -> Result<Wanted, ApiError> {
    let mut members = Members::default();
    for field in form::fields(body, boundary)? {
        members.take(field)?;
    }
    Ok(members.edit(body.len())?)
}

impl Members {
    fn take(&mut self, field: Field) -> Result<(), ApiError> {
        // `image[]` is how lists are sent, `image[0]` how some do.
        let name = field.name.split('[').next().unwrap_or_default().to_owned();
        let slot = match name.as_str() {
            "image" | "images" => Some(&mut self.images),
            "mask" => Some(&mut self.mask),
            _ => None,
        };
        if let Some(slot) = slot {
            // An empty file is what a form sends where none was chosen.
            if field.file_name.is_some() && !field.bytes.is_empty() {
                // Here it costs nothing; at the service, an account's time.
                if imagesize::image_type(&field.bytes).is_err() {
                    let message = "It is no picture of a kind that is known.";
                    return Err(Invalid::field(&name, message).into());
                }
                slot.push(Input::File {
                    name: field.file_name.unwrap_or_default(),
                    mime: field.content_type.unwrap_or_default(),
                    bytes: field.bytes,
                });
            } else if field.file_name.is_none() && !field.text()?.trim().is_empty() {
                slot.push(Input::Url(field.text()?.trim().into()));
            }
            return Ok(());
        }
        let text = field.text()?.to_owned();
        // As null in JSON: forms send every field that they have.
        if text.is_empty() {
            return Ok(());
        }
        let number = |text: &str| {
            text.trim()
                .parse()
                .map_err(|_| Invalid::field("n", "'n' must be a whole number."))
        };
        match name.as_str() {
            "model" => self.model = Some(text.trim().to_owned()),
            "prompt" => self.prompt = Some(text),
            "n" => self.n = Some(number(&text)?),
            "size" => self.size = Some(text),
            "quality" => self.quality = Some(text),
            "style" => self.style = Some(text),
            "response_format" => self.response_format = Some(text),
            "output_format" => self.output_format = Some(text),
            "user" => self.user = Some(text),
            // A form has texts only; whatever is not `true` is false, as clients write `0`, `no` or nothing.
            "stream" => self.stream = Some(text.trim() == "true"),
            _ => {
                self.others.insert(name, Some(IgnoredAny));
            }
        }
        Ok(())
    }

    fn edit(self, bytes: usize) -> Result<Wanted, Invalid> {
        if self.images.is_empty() {
            return Err(Invalid::field(
                "image",
                "You must give a picture to be changed ('image').",
            ));
        }
        self.check(bytes)
    }

    fn check(self, bytes: usize) -> Result<Wanted, Invalid> {
        let prompt = self.prompt.unwrap_or_default();
        if prompt.trim().is_empty() {
            return Err(Invalid::field("prompt", "You must provide a 'prompt'."));
        }
        if prompt.len() > MOST_PROMPT_BYTES {
            // Before anything is asked of anybody: a service takes an account's time to refuse it.
            let message = format!("'prompt' has at most {MOST_PROMPT_BYTES} bytes.");
            return Err(Invalid::field("prompt", message));
        }
        let model = self.model.unwrap_or_default().trim().to_owned();
        if model.len() > MOST_MODEL_BYTES {
            return Err(Invalid::too_long_a_model());
        }
        let n = self.n.unwrap_or(1);
        if !(1..=MOST_PICTURES).contains(&n) {
            let message = format!("'n' must be between 1 and {MOST_PICTURES}.");
            return Err(Invalid::field("n", message));
        }
        let size = match self.size.as_deref().map(str::trim) {
            None | Some("" | "auto") => None,
            Some(text) => Some(Size::read(text).ok_or_else(|| {
                let message = "'size' must be WIDTHxHEIGHT in pixels, or 'auto'.";
                Invalid::field("size", message)
            })?),
        };
        let handover = match self.response_format.as_deref() {
            None => None,
            Some("url") => Some(Handover::Url),
            Some("b64_json") => Some(Handover::Base64),
            Some(_) => {
                let message = "'response_format' must be 'url' or 'b64_json'.";
                return Err(Invalid::field("response_format", message));
            }
        };
        if let Some(output) = &self.output_format
            && !["png", "jpeg", "webp"].contains(&output.as_str())
        {
            let message = "'output_format' must be 'png', 'jpeg' or 'webp'.";
            return Err(Invalid::field("output_format", message));
        }
        // Only after all were read: their bytes are bounded by the body's, and this limit is OpenAI's own.
        for (param, given, most) in [
            ("image", self.images.len(), MOST_INPUTS),
            ("mask", self.mask.len(), 1),
        ] {
            if given > most {
                return Err(Invalid::field(
                    param,
                    format!("There may be {most} of '{param}' at most."),
                ));
            }
        }
        let word = |name: &str, text: Option<String>| match text {
            Some(text) if text.len() > MOST_WORD_BYTES => Err(Invalid::field(
                name,
                format!("'{name}' has at most {MOST_WORD_BYTES} bytes."),
            )),
            text => Ok(text),
        };
        let set = self.others.into_iter().filter(|(_, value)| value.is_some());
        let ignored = set.map(|(name, _)| name).filter(|name| is_name(name));
        Ok(Wanted {
            request: ImageRequest {
                n,
                size,
                quality: word("quality", self.quality)?,
                style: word("style", self.style)?,
                images: self.images,
                // One at most, checked above.
                mask: self.mask.into_iter().next(),
                user: self.user,
                bytes,
                ..ImageRequest::new(model, prompt)
            },
            handover,
            output: self.output_format,
            is_stream: self.stream.unwrap_or(false),
            // A header has room for so many; who sets more fields than that is not reading it.
            ignored: ignored.take(MOST_NAMES).collect(),
        })
    }
}

/// Whether a name can stand in a header.
fn is_name(name: &str) -> bool {
    (1..=MOST_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Wanted, Invalid> {
        generation(Bytes::copy_from_slice(body.as_bytes()), 1000)
    }

    #[test]
    fn reads_what_the_sdks_send() {
        let wanted = read(
            r#"{"model":"m","prompt":"a cat","n":3,"size":"1024x1536","quality":"hd","style":"vivid",
                "response_format":"b64_json","output_format":"webp","user":"u","background":"opaque","moderation":null,
                "image":"x","zzz":{"a":[1]}}"#,
        )
        .unwrap();
        let request = &wanted.request;
        assert_eq!((&*request.model, &*request.prompt), ("m", "a cat"));
        assert_eq!((request.n, request.size), (3, Some(Size::of(1024, 1536))));
        assert_eq!(wanted.handover, Some(Handover::Base64));
        assert_eq!(wanted.ignored, ["background", "images", "zzz"]);
        assert!(!request.is_edit());
        let least = read(r#"{"prompt":"a"}"#).unwrap();
        assert_eq!((least.request.n, least.request.size), (1, None));
        assert!(least.handover.is_none() && least.ignored.is_empty());
    }

    #[test]
    fn says_which_field_is_wrong() {
        for (body, param) in [
            ("{}", "prompt"),
            (r#"{"prompt":" "}"#, "prompt"),
            (r#"{"prompt":5}"#, "prompt"),
            (r#"{"prompt":"a","n":0}"#, "n"),
            (r#"{"prompt":"a","n":11}"#, "n"),
            (r#"{"prompt":"a","n":"2"}"#, "n"),
            (r#"{"prompt":"a","size":"big"}"#, "size"),
            (
                r#"{"prompt":"a","response_format":"png"}"#,
                "response_format",
            ),
            (r#"{"prompt":"a","output_format":"tiff"}"#, "output_format"),
        ] {
            assert_eq!(
                read(body).unwrap_err().param.as_deref(),
                Some(param),
                "{body}"
            );
        }
        assert_eq!(
            read("[]").unwrap_err().param,
            None,
            "what is no object has no field"
        );
    }

    #[test]
    fn an_edit_in_json_has_its_pictures_as_links() {
        let read = |body: &str| edit(Bytes::copy_from_slice(body.as_bytes()), 1000);
        for (body, links) in [
            (r#""image":"https://e/1.png""#, vec!["https://e/1.png"]),
            (
                r#""image":["data:image/png;base64,AA==","AAAA"]"#,
                vec!["data:image/png;base64,AA==", "data:;base64,AAAA"],
            ),
            (
                r#""images":[{"image_url":"https://e/1"},{"image_url":{"url":"https://e/2"}}]"#,
                vec!["https://e/1", "https://e/2"],
            ),
        ] {
            let wanted = read(&format!(r#"{{"prompt":"a",{body}}}"#)).unwrap();
            let expected: Vec<Input> = links.iter().map(|&link| Input::Url(link.into())).collect();
            assert_eq!(wanted.request.images, expected);
        }
        for body in [r#""x":1"#, r#""images":[]"#, r#""image":null"#] {
            let error = read(&format!(r#"{{"prompt":"a",{body}}}"#)).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("image"), "{body}");
        }
        let file = read(r#"{"prompt":"a","images":[{"file_id":"file-1"}]}"#).unwrap_err();
        assert!(file.message.contains("image_url"), "{}", file.message);
    }

    #[test]
    fn an_edit_as_a_form_has_its_pictures_as_files() {
        let part = |name: &str, more: &str, content: &str| {
            format!(
                "--B\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{content}\r\n"
            )
        };
        let body = [
            part("image[]", "; filename=\"a.gif\"", "GIF89a one...."),
            part("image[]", "; filename=\"b.gif\"", "GIF89a two...."),
            part("mask", "; filename=\"m.gif\"", "GIF89a three.."),
            part("mask", "; filename=\"\"", ""),
            part("prompt", "", "a"),
            part("n", "", "2"),
            part("size", "", "auto"),
            part("input_fidelity", "", "high"),
            "--B--\r\n".to_owned(),
        ]
        .concat();
        let wanted = edit_form(&Bytes::from(body), "B").unwrap();
        assert_eq!((wanted.request.images.len(), wanted.request.n), (2, 2));
        assert!(wanted.request.mask.is_some() && wanted.request.size.is_none());
        assert_eq!(wanted.ignored, ["input_fidelity"]);
        let wrong = [
            part("image", "; filename=\"a.png\"", "words and no picture"),
            "--B--\r\n".to_owned(),
        ];
        let error = edit_form(&Bytes::from(wrong.concat()), "B").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("image"));
        let wrong = [part("n", "", "two"), "--B--\r\n".to_owned()].concat();
        let error = edit_form(&Bytes::from(wrong), "B").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("n"));
    }
}
