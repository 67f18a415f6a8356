//! What was made: small files that are really what they say. Source: wire/qwen_intl.md §3, §7.4, §7.5.

use bytes::Bytes;

use crate::{Call, Reply, Request, media::Film};

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
    if request.path.ends_with(".mp4") {
        // As short as a film can be.
        return Film::of(0).serve(request);
    }
    Reply::new(200, "image/png", png())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_sums_are_those_of_the_formats() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        // The empty last chunk of every PNG.
        assert!(png().ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
    }
}
