//! What a picture or document is: data URLs are decoded; names and types are told by what is said and by the first bytes.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use super::fetch::{FetchError, Policy};

use crate::impossible::OrImpossible as _;

/// Clients differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        // Some encoders leave rubbish in the bits behind the last whole byte; browsers take that, so we do.
        .with_decode_allow_trailing_bits(true),
);

/// A picture or document, ready to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// File name with its ending.
    pub name: String,
    /// MIME type, without parameters, in lower case.
    pub content_type: String,
    /// The content.
    pub bytes: Bytes,
}

impl Attachment {
    /// Whether it is a picture by its type.
    pub fn is_image(&self) -> bool {
        self.content_type.starts_with("image/")
    }

    /// Whether it is a picture by its bytes as well, of a kind that is known.
    pub fn is_picture(&self) -> bool {
        self.is_image() && imagesize::image_type(&self.bytes).is_ok()
    }
}

/// The content of a data URL, without its scheme; see [`super::fetch::attachment`].
pub(super) fn decode(
    data: &str,
    policy: &Policy,
    file_name: Option<&str>,
    stem: &str,
) -> Result<Attachment, FetchError> {
    let (head, payload) = data.split_once(',').ok_or(FetchError::BadData)?;
    let (content_type, coding) = head.rsplit_once(';').ok_or(FetchError::BadData)?;
    if !coding.trim().eq_ignore_ascii_case("base64") {
        return Err(FetchError::BadData);
    }
    let bytes = from_base64(payload).ok_or(FetchError::BadData)?;
    if bytes.len() > policy.most_bytes {
        return Err(FetchError::TooLarge);
    }
    Ok(named(
        file_name.map(str::to_owned),
        content_type,
        bytes.into(),
        stem,
    ))
}

/// Base64 as people write it: in lines, with blanks, in the alphabet for URLs, percent-encoded, padded or not.
fn from_base64(payload: &str) -> Option<Vec<u8>> {
    // As it is first: nearly all payloads are proper, and what follows copies every byte.
    let decode = |text: &[u8]| BASE64.decode(text).ok();
    decode(payload.trim().as_bytes()).or_else(|| {
        let plain: Vec<u8> = percent_encoding::percent_decode_str(payload)
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => other,
            })
            .collect();
        let padded = plain.iter().rev().take_while(|&&byte| byte == b'=').count();
        // Padding may stand where the percent-decoding has put it, or be missing in a length that is not a multiple of
        // four; without it both are the same.
        decode(plain.get(..plain.len() - padded)?)
    })
}

/// Content with the name and the type that it goes by.
pub(super) fn named(
    name: Option<String>,
    content_type: &str,
    bytes: Bytes,
    stem: &str,
) -> Attachment {
    let content_type = content_type
        .split(';')
        .next()
        .or_impossible("a split has one part at least")
        .trim()
        .to_ascii_lowercase();
    // The caller wrote it, and it becomes a header of an upload.
    let is_type = |c: char| c.is_ascii_alphanumeric() || "/+-._".contains(c);
    // What is not a type becomes none, which is [`VAGUE`], so that the content decides.
    let content_type = if content_type.chars().all(is_type) {
        content_type
    } else {
        String::new()
    };
    // Some names of types are in use, but are none.
    let content_type = match content_type.as_str() {
        "image/jpg" | "image/pjpeg" | "image/x-jpeg" | "image/x-jpg" => "image/jpeg".to_owned(),
        "image/x-png" => "image/png".to_owned(),
        "image/x-ms-bmp" | "image/x-bmp" => "image/bmp".to_owned(),
        "application/x-pdf" => "application/pdf".to_owned(),
        _ => content_type,
    };
    let guessed = || {
        let kind = name
            .as_deref()
            .map(mime_guess::from_path)
            .and_then(|guess| guess.first());
        kind.map_or_else(
            || "application/octet-stream".to_owned(),
            |kind| kind.essence_str().to_owned(),
        )
    };
    let is_vague = VAGUE.contains(&content_type.as_str());
    // Stores and callers say what they were told, or nothing; the content does not err, where it is unmistakable.
    let may_err =
        // Other types say more than a few first bytes can, and are believed.
        is_vague || content_type.starts_with("image/") || content_type.starts_with("text/");
    let content_type = match sniffed(&bytes) {
        Some(kind) if may_err || !SHORT_MARKS.contains(&kind) => kind.to_owned(),
        _ if is_vague => guessed(),
        _ => content_type,
    };
    let name = match name {
        // Services go by the ending: a picture is to have a picture's.
        // `attachment.png` that holds a JPEG is refused by services that compare the two; the second ending is ugly,
        // but the true one counts.
        Some(name)
            if content_type.starts_with("image/") && !has_ending_of(&name, &content_type) =>
        {
            format!("{name}.{}", extension(&content_type))
        }
        Some(name) => name,
        None => format!("{stem}.{}", extension(&content_type)),
    };
    Attachment {
        name,
        content_type,
        bytes,
    }
}

/// Types that say nothing.
const VAGUE: [&str; 11] = [
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/binary",
    "application/x-binary",
    "application/unknown",
    "application/x-unknown",
    "application/force-download",
    "application/download",
    "application/x-download",
    "unknown/unknown",
];

/// Types whose first bytes are so plain that other files may begin with them as well: a label that names another type counts.
const SHORT_MARKS: [&str; 2] = ["image/bmp", "image/x-icon"];

/// The type of what begins like this. Source: the WHATWG's MIME sniffing standard, sections 6.1 and 6.3 (AVIF and HEIC: ISO
/// 14496-12).
fn sniffed(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => "image/gif",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "image/webp",
        // Two letters are a word as well: the reserved bytes of the header are not.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => "image/bmp",
        [b'I', b'I', 0x2a, 0, ..] | [b'M', b'M', 0, 0x2a, ..] => "image/tiff",
        [0, 0, 1, 0, _, 0, ..] => "image/x-icon",
        [
            _,
            _,
            _,
            _,
            b'f',
            b't',
            b'y',
            b'p',
            b'a',
            b'v',
            b'i',
            b'f' | b's',
            ..,
        ] => "image/avif",
        [
            _,
            _,
            _,
            _,
            b'f',
            b't',
            b'y',
            b'p',
            b'h',
            b'e',
            b'i',
            b'c' | b'x',
            ..,
        ] => "image/heic",
        [b'%', b'P', b'D', b'F', b'-', ..] => "application/pdf",
        _ => return None,
    })
}

fn has_ending_of(name: &str, content_type: &str) -> bool {
    mime_guess::from_path(name)
        .iter()
        .any(|kind| kind.essence_str() == content_type)
}

/// The usual file ending of a type.
fn extension(content_type: &str) -> &'static str {
    match content_type {
        // The guess would be the alphabetically first ending, which nobody uses.
        "image/jpeg" => "jpg",
        "text/plain" => "txt",
        "application/octet-stream" => "bin",
        "image/tiff" => "tiff",
        other => mime_guess::get_mime_extensions_str(other)
            .and_then(|endings| endings.first())
            .copied()
            .unwrap_or("bin"),
    }
}
