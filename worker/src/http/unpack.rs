//! Bodies that came compressed, by `Content-Encoding`: one encoding after the other, each within bounds, since a few bytes
//! may stand for gigabytes.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::error::ApiError;

use crate::impossible::OrImpossible as _;

/// More encodings than anybody means.
const MOST_ENCODINGS: usize = 4;
/// 8 MiB, as RFC 9659 has it for contents: so much memory a frame may ask for.
const MOST_ZSTD_WINDOW: u32 = 23;
/// Read at a time.
const PIECE: usize = 64 << 10;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The encodings in the order in which they were applied; empty for a plain body.
///
/// # Errors
/// 415 that names the one that is not understood.
pub(super) fn encodings<'a>(
    headers: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Encoding>, ApiError> {
    let mut encodings = Vec::new();
    for header in headers {
        for name in header.split(|&byte| byte == b',') {
            let name = name.trim_ascii();
            let is = |names: &[&str]| {
                names
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            };
            // Identity is no encoding, and neither is nothing.
            encodings.push(if name.is_empty() || is(&["identity"]) {
                continue;
            } else if is(&["gzip", "x-gzip"]) {
                Encoding::Gzip
            } else if is(&["deflate"]) {
                Encoding::Deflate
            } else if is(&["br"]) {
                Encoding::Brotli
            } else if is(&["zstd"]) {
                Encoding::Zstd
            } else {
                return Err(ApiError::unsupported_encoding(&String::from_utf8_lossy(
                    name,
                )));
            });
        }
    }
    if encodings.len() > MOST_ENCODINGS {
        return Err(ApiError::bad_request(format!(
            "A body has at most {MOST_ENCODINGS} content encodings."
        )));
    }
    Ok(encodings)
}

/// The body without its encodings; at most `most` bytes, also in between. `grow` is told before there are more bytes.
///
/// # Errors
/// 413 for more, 400 for a body that is broken, whatever `grow` says.
pub(super) fn unpack(
    mut body: Bytes,
    encodings: &[Encoding],
    most: usize,
    mut grow: impl FnMut(usize) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    for encoding in encodings.iter().rev() {
        let mut unpacked = Vec::new();
        let packed = &*body;
        let mut reader = reader(*encoding, packed).map_err(|_| broken())?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(broken()),
            };
            // Before it is kept, not after: a few bytes may stand for gigabytes.
            if unpacked.len() + read > most {
                return Err(ApiError::too_large(most));
            }
            if unpacked.len() + read > unpacked.capacity() {
                // Doubled, as a vector does, and counted before it is done.
                let wanted = (unpacked.len() * 2).max(unpacked.len() + read);
                grow(packed.len() + wanted)?;
                unpacked.reserve_exact(wanted - unpacked.len());
            }
            unpacked.extend_from_slice(
                piece
                    .get(..read)
                    .or_impossible("a read is no longer than its buffer"),
            );
        }
        drop(reader);
        // Doubling may have left half of it empty.
        unpacked.shrink_to_fit();
        body = unpacked.into();
    }
    Ok(body)
}

fn broken() -> ApiError {
    ApiError::bad_request("The body's content encoding is broken.")
}

fn reader<'a>(encoding: Encoding, packed: &'a [u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match encoding {
        Encoding::Gzip => Box::new(MultiGzDecoder::new(packed)),
        // Zlib's form is meant, and the bare one is sent by some.
        Encoding::Deflate if is_zlib(packed) => Box::new(ZlibDecoder::new(packed)),
        Encoding::Deflate => Box::new(DeflateDecoder::new(packed)),
        Encoding::Brotli => Box::new(brotli_decompressor::Decompressor::new(packed, PIECE)),
        Encoding::Zstd => {
            let mut frames = zstd::Decoder::with_buffer(packed)?;
            frames.window_log_max(MOST_ZSTD_WINDOW)?;
            Box::new(frames)
        }
    })
}

/// The head of zlib's form: method 8, and a checksum over both bytes (RFC 1950 section 2.2).
fn is_zlib(packed: &[u8]) -> bool {
    matches!(packed, [method, flags, ..]
        if method & 0x0F == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write};

    use super::*;

    const PLAIN: &[u8] = b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    /// The same by `zstd` and by `brotli`.
    const ZSTD: &[u8] = include_bytes!("../../tests/fixtures/bodies/request.zst");
    const BROTLI: &[u8] = include_bytes!("../../tests/fixtures/bodies/request.br");

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut packed = write::GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(body).unwrap();
        packed.finish().unwrap()
    }

    fn unpacked(headers: &[&str], body: &[u8], most: usize) -> Result<Bytes, u16> {
        encodings(headers.iter().map(|header| header.as_bytes()))
            .and_then(|encodings| {
                unpack(Bytes::copy_from_slice(body), &encodings, most, |_| Ok(()))
            })
            .map_err(|error| error.status.as_u16())
    }

    #[test]
    fn every_encoding_is_taken_off_also_in_chains() {
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(PLAIN).unwrap();
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(PLAIN).unwrap();
        let skipped = [b"\x50\x2A\x4D\x18\x02\0\0\0xx", ZSTD].concat();
        for (headers, body) in [
            (&["gzip"][..], gzip(PLAIN)),
            (&["GZIP, "], gzip(PLAIN)),
            (&["deflate"], zlib.finish().unwrap()),
            (&["deflate"], raw.finish().unwrap()),
            (&["zstd"], ZSTD.to_vec()),
            (&["zstd"], skipped),
            (&["br"], BROTLI.to_vec()),
            (&["zstd, gzip"], gzip(ZSTD)),
            (&["br", "identity", "x-gzip"], gzip(BROTLI)),
            (&["identity"], PLAIN.to_vec()),
            (&[], PLAIN.to_vec()),
        ] {
            assert_eq!(
                unpacked(headers, &body, 1000).as_deref(),
                Ok(PLAIN),
                "{headers:?}"
            );
        }
        assert_eq!(
            unpacked(&["zstd"], &[ZSTD, ZSTD].concat(), 1000)
                .unwrap()
                .len(),
            2 * PLAIN.len()
        );
        assert_eq!(unpacked(&["compress"], b"", 10), Err(415));
        assert_eq!(unpacked(&["gzip,gzip,gzip,gzip,gzip"], b"", 10), Err(400));
    }

    #[test]
    fn bombs_and_broken_ones_end_early() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(unpacked(&["gzip"], &bomb, 1 << 20), Err(413));
        assert_eq!(unpacked(&["gzip, gzip"], &gzip(&bomb), 1 << 20), Err(413));
        for (name, body) in [("gzip", bomb.as_slice()), ("zstd", ZSTD), ("br", BROTLI)] {
            assert_eq!(
                unpacked(&[name], &body[..body.len() / 2], 16 << 20),
                Err(400),
                "{name}"
            );
        }
        for name in ["gzip", "zstd", "br", "deflate"] {
            assert_eq!(unpacked(&[name], PLAIN, 1000), Err(400), "{name}");
        }
    }
}
