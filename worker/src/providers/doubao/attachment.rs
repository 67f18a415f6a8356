//! A stored file as the question names it. Source: `wire/doubao.md` sections 4.3 and 4.4.

use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::File;
use crate::upstream::fetch::Attachment;

/// How large the store has found a picture to be.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Measured {
    pub(super) image_width: Option<u32>,
    pub(super) image_height: Option<u32>,
}

/// A stored and registered picture as the question names it, in both routes.
pub(super) fn picture(
    file: &Attachment,
    uri: &str,
    identifier: &str,
    message_id: String,
    measured: &Measured,
) -> File {
    // The store's own measure counts; where it has none, ours (section 4.6, step 4).
    let size = imagesize::blob_size(&file.bytes).ok();
    let side = |told: Option<u32>, seen: Option<usize>| {
        told.or_else(|| u32::try_from(seen?).ok())
            .unwrap_or_default()
    };
    let width = side(measured.image_width, size.map(|size| size.width));
    let height = side(measured.image_height, size.map(|size| size.height));
    File {
        message_id,
        attachment: json!({
            "type": 1, "identifier": identifier,
            "image": {
                "name": file.name, "uri": uri,
                "image_ori": {"url": "", "width": width, "height": height, "format": "", "url_formats": {}},
            },
            "parse_state": 0, "review_state": 1, "upload_status": 1, "progress": 100, "src": "",
        }),
        older: json!({
            "type": "vlm_image", "identifier": identifier, "name": file.name, "key": uri,
            "file_review_state": 3, "file_parse_state": 3, "option": {"width": width, "height": height},
        }),
    }
}

/// A stored document as the question names it.
pub(super) fn document(file: &Attachment, uri: &str, identifier: &str, message_id: String) -> File {
    File {
        message_id,
        attachment: json!({
            "type": 3, "identifier": identifier,
            "file": {"uri": uri, "url": "", "file_type": 0, "name": file.name, "size": file.bytes.len()},
            "parse_state": 1, "review_state": 1, "upload_status": 1, "progress": 100, "src": "",
        }),
        older: Value::Null,
    }
}

/// `.png` of a name.
pub(super) fn extension(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, end)) if !end.is_empty() => format!(".{}", end.to_ascii_lowercase()),
        _ => ".bin".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_as_the_store_wants() {
        for (name, expected) in [
            ("a.PNG", ".png"),
            ("a.b.pdf", ".pdf"),
            ("a", ".bin"),
            ("a.", ".bin"),
        ] {
            assert_eq!(extension(name), expected);
        }
    }

    #[test]
    fn a_picture_that_nobody_measured_is_measured() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08\x06\0\0\0";
        let file = Attachment {
            name: "a.png".to_owned(),
            content_type: "image/png".to_owned(),
            bytes: bytes::Bytes::from_static(png),
        };
        let size = |measured: &Measured| {
            let file = picture(&file, "u", "i", "m".to_owned(), measured);
            let size = &file.attachment["image"]["image_ori"];
            (size["width"].as_u64(), size["height"].as_u64())
        };
        assert_eq!(size(&Measured::default()), (Some(3), Some(2)));
        let told = Measured {
            image_width: Some(9),
            image_height: None,
        };
        assert_eq!(size(&told), (Some(9), Some(2)));
    }
}
