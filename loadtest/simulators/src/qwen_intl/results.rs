//! What was made: small files that are really what they say. Source: wire/qwen_intl.md §3, §7.4, §7.5.

use bytes::Bytes;

use crate::{Call, Reply, Request};

/// `GET /output/…?key=…`: the key is the permission, and no credential belongs here.
pub(super) fn reply(request: &Request, call: &mut Call) -> Reply {
    for name in ["authorization", "cookie", "bx-ua"] {
        if request.header_bytes(name).is_some() {
            call.violate(format!("the CDN is told {name}"));
        }
    }
    if !request.query.starts_with("key=sim-key-") {
        call.violate("the link has lost its key");
        return Reply::html(403, "403 Forbidden");
    }
    let (mime, bytes) = if request.path.ends_with(".mp4") {
        ("video/mp4", mp4())
    } else {
        ("image/png", png())
    };
    let whole = bytes.len();
    let reply = match range(&request.header("range"), whole) {
        None => Reply::new(200, mime, bytes),
        Some((from, to)) => {
            let part = bytes.slice(from..=to);
            Reply::new(206, mime, part)
                .header("Content-Range", format!("bytes {from}-{to}/{whole}"))
        }
    };
    reply.header("Accept-Ranges", "bytes")
}

/// One range, first and last byte.
fn range(text: &str, whole: usize) -> Option<(usize, usize)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let last = whole.checked_sub(1)?;
    let from: usize = from.parse().ok()?;
    let to = to.parse().unwrap_or(last).min(last);
    (from <= to).then_some((from, to))
}

/// Eight by eight pixels in one colour.
pub(super) fn png() -> Bytes {
    const SIDE: u32 = 8;
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut head = Vec::new();
    head.extend(SIDE.to_be_bytes());
    head.extend(SIDE.to_be_bytes());
    // 8 bits, RGB, no interlace.
    head.extend([8, 2, 0, 0, 0]);
    chunk(&mut png, *b"IHDR", &head);
    let row: Vec<u8> = std::iter::once(0)
        .chain([0x2f, 0x80, 0xed].repeat(SIDE as usize))
        .collect();
    let pixels = row.repeat(SIDE as usize);
    chunk(&mut png, *b"IDAT", &stored(&pixels));
    chunk(&mut png, *b"IEND", &[]);
    png.into()
}

fn chunk(png: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or_default();
    png.extend(length.to_be_bytes());
    let named = [&name, data].concat();
    png.extend(&named);
    png.extend(crc32(&named).to_be_bytes());
}

/// zlib without compression: one stored block.
fn stored(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or_default();
    let mut zlib = vec![0x78, 0x01, 0x01];
    zlib.extend(length.to_le_bytes());
    zlib.extend((!length).to_le_bytes());
    zlib.extend(data);
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    zlib.extend(((b << 16) | a).to_be_bytes());
    zlib
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// A film without a frame: the boxes that every reader begins with.
pub(super) fn mp4() -> Bytes {
    let mut movie = vec![0; 100];
    // Thousandths of a second; rate and volume 1; the unit matrix; the next track.
    for (at, value) in [
        (12, 1000_u32),
        (16, 5000),
        (20, 0x1_0000),
        (24, 0x0100_0000),
        (36, 0x1_0000),
        (52, 0x1_0000),
        (68, 0x4000_0000),
        (96, 1),
    ] {
        movie.splice(at..at + 4, value.to_be_bytes());
    }
    let head = boxed(*b"mvhd", &movie);
    [
        boxed(*b"ftyp", b"isom\0\0\x02\0isomiso2mp41"),
        boxed(*b"moov", &head),
        boxed(*b"mdat", &[0; 64]),
    ]
    .concat()
    .into()
}

fn boxed(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 8).unwrap_or_default();
    [&length.to_be_bytes(), name.as_slice(), data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_sums_are_those_of_the_formats() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        // The empty last chunk of every PNG.
        assert!(png().ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
        let mp4 = mp4();
        assert_eq!(&mp4[4..8], b"ftyp");
        assert_eq!(range("bytes=2-3", 10), Some((2, 3)));
        assert_eq!(range("bytes=2-", 10), Some((2, 9)));
        assert_eq!(range("", 10), None);
    }
}
