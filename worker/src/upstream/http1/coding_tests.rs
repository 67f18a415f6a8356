use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};

use super::*;

/// Every coding's name, and what packs one piece so that a reader can have it before the next one.
pub(in crate::upstream::http1) fn packed(coding: &str, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    fn each<W: Write>(
        mut encoder: W,
        pieces: &[&[u8]],
        taken: impl Fn(&mut W) -> Vec<u8>,
        finish: impl FnOnce(W) -> Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let mut packed = Vec::new();
        for piece in pieces {
            encoder.write_all(piece).unwrap();
            encoder.flush().unwrap();
            packed.push(taken(&mut encoder));
        }
        packed.push(finish(encoder));
        packed
    }
    let level = Compression::new(6);
    match coding {
        "gzip" => each(
            GzEncoder::new(Vec::new(), level),
            pieces,
            |e| std::mem::take(e.get_mut()),
            |e| e.finish().unwrap(),
        ),
        "deflate" => each(
            ZlibEncoder::new(Vec::new(), level),
            pieces,
            |e| std::mem::take(e.get_mut()),
            |e| e.finish().unwrap(),
        ),
        "raw deflate" => each(
            DeflateEncoder::new(Vec::new(), level),
            pieces,
            |e| std::mem::take(e.get_mut()),
            |e| e.finish().unwrap(),
        ),
        "zstd" => each(
            zstd::Encoder::new(Vec::new(), 3).unwrap(),
            pieces,
            |e| std::mem::take(e.get_mut()),
            |e| e.finish().unwrap(),
        ),
        "br" => each(
            brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22),
            pieces,
            |e| std::mem::take(e.get_mut()),
            brotli::CompressorWriter::into_inner,
        ),
        other => panic!("{other}"),
    }
}

pub(in crate::upstream::http1) const CODINGS: [(&str, Coding); 5] = [
    ("gzip", Coding::Gzip),
    ("deflate", Coding::Deflate),
    ("raw deflate", Coding::Deflate),
    ("br", Coding::Brotli),
    ("zstd", Coding::Zstd),
];

fn unpacker(codings: &[Coding]) -> Box<Unpacker> {
    Unpacker::new(codings).unwrap().unwrap()
}

/// The whole body from pieces of so many bytes.
fn unpacked(codings: &[Coding], input: &[u8], at_once: usize) -> Result<Vec<u8>, Unreadable> {
    let (mut unpacker, mut body) = (unpacker(codings), BytesMut::new());
    for piece in input.chunks(at_once) {
        unpacker.push(piece, &mut body)?;
    }
    unpacker.finish(&mut body)?;
    Ok(body.to_vec())
}

#[test]
fn each_piece_comes_as_soon_as_it_was_sent() {
    for (name, coding) in CODINGS {
        let (mut unpacker, mut body) = (unpacker(&[coding]), BytesMut::new());
        let mut sent = packed(name, &[b"data: one\n\n", b"data: two\n\n"]);
        let end = sent.pop().unwrap();
        for (piece, so_far) in sent
            .iter()
            .zip(["data: one\n\n", "data: one\n\ndata: two\n\n"])
        {
            unpacker.push(piece, &mut body).unwrap();
            assert_eq!(body, so_far.as_bytes(), "{name}");
        }
        unpacker.push(&end, &mut body).unwrap();
        unpacker.finish(&mut body).unwrap();
    }
}

#[test]
fn torn_anywhere_and_several_layers() {
    let text = "Hello, world. ".repeat(300);
    for (name, coding) in CODINGS {
        let whole = packed(name, &[text.as_bytes()]).concat();
        for at_once in [1, 2, 3, 7, whole.len()] {
            let found = unpacked(&[coding], &whole, at_once);
            assert_eq!(found.as_deref(), Ok(text.as_bytes()), "{name} {at_once}");
        }
        // Half a body never ends as a whole one.
        let half = unpacked(&[coding], whole.get(..whole.len() / 2).unwrap(), 5);
        assert_eq!(half, Err(Unreadable::Torn), "{name}");
        let twice = packed("gzip", &[&whole]).concat();
        let found = unpacked(&[coding, Coding::Gzip], &twice, 10);
        assert_eq!(found.as_deref(), Ok(text.as_bytes()), "{name}");
    }
    assert!(Unpacker::new(&[Coding::Gzip; 5]).is_err());
    let members = [
        packed("gzip", &[b"a"]).concat(),
        packed("gzip", &[b"b"]).concat(),
    ]
    .concat();
    assert_eq!(
        unpacked(&[Coding::Gzip], &members, 1).as_deref(),
        Ok(&b"ab"[..])
    );
}

#[test]
fn labels_that_lie_and_nonsense() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        for text in ["{\"a\":1}", "x", ""] {
            assert_eq!(
                unpacked(&[coding], text.as_bytes(), 1).as_deref(),
                Ok(text.as_bytes())
            );
        }
    }
    for (coding, nonsense) in [
        (Coding::Gzip, &b"\x1f\x8b\xff nonsense nonsense"[..]),
        (Coding::Deflate, b"\x78\x9c\xff\xff\xff\xff"),
        (
            Coding::Zstd,
            b"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        (Coding::Brotli, b"data: this is no brotli at all, but text"),
    ] {
        assert!(unpacked(&[coding], nonsense, 3).is_err(), "{coding:?}");
    }
}

#[test]
fn bombs_are_refused_before_they_cost_memory() {
    for (name, coding) in CODINGS {
        let piece = vec![0; 1 << 20];
        let bomb = packed(name, &vec![&*piece; 64]).concat();
        let (mut unpacker, mut body) = (unpacker(&[coding]), BytesMut::new());
        let result = bomb
            .chunks(1024)
            .try_for_each(|piece| unpacker.push(piece, &mut body));
        assert_eq!(
            result,
            Err(Unreadable::TooLarge),
            "{name}: {} bytes",
            bomb.len()
        );
        assert!(body.len() < 32 << 20, "{name}: {}", body.len());
    }
}
