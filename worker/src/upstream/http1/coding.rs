//! Bodies that come packed, though nobody asked for it: unpacked piece by piece, and within bounds, because a few bytes
//! can stand for gigabytes. Source: RFC 9110, section 8.4.1; RFC 1950 to 1952; RFC 7932; RFC 8878 and 9659 (window).

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use bytes::BytesMut;
use flate2::{Decompress, FlushDecompress, write::MultiGzDecoder};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation as _, OutBuffer};

use crate::impossible::OrImpossible as _;

/// One packed answer never unpacks to more bytes than this …
const MOST_BYTES: u64 = 256 << 20;
/// … nor, beyond the first four mebibytes, to more than so many times what was received: texts are packed to a tenth or a
/// hundredth, bombs to less than a thousandth. So one piece of input (16 KiB) never costs more than nine mebibytes.
const MOST_TIMES: u64 = 300;
const FREE_BYTES: u64 = 4 << 20;
/// What one push may unpack whatever its size, so that a short text of one letter is no bomb.
/// Most layers, one packed within the other; nobody honest has more than two.
const MOST_LAYERS: usize = 4;
/// The largest window that a sender may expect a reader to have (RFC 9659): 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;
/// What is unpacked in one step.
/// Also brotli's buffer. Small enough that a bound is noticed soon, large enough that a step costs nothing beside its
/// work.
const STEP_BYTES: usize = 16 << 10;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Coding {
    Gzip,
    /// With zlib's frame, as the standard says, or without it, as some servers do.
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// By its name in a header. Names that we do not know are no reason to refuse an answer: they have been seen to hold
    /// character sets, and what really cannot be read is refused by whoever reads it.
    pub(in crate::upstream) fn named(name: &str) -> Option<Self> {
        [
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("deflate", Self::Deflate),
            ("br", Self::Brotli),
            ("zstd", Self::Zstd),
        ]
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, coding)| coding)
    }
}

/// Why a body could not be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Unreadable {
    /// Not of its coding.
    Corrupt,
    /// It ends in the middle.
    Torn,
    /// Beyond the bounds.
    TooLarge,
}

/// Unpacks one body.
pub(in crate::upstream) struct Unpacker {
    /// The one that was put on last comes first.
    layers: Vec<Layer>,
    /// Bytes received, and bytes given out. `unpacked <= MOST_BYTES.min(FREE_BYTES + MOST_TIMES * packed)`: what is allowed
    /// only grows, as `packed` does.
    packed: u64,
    unpacked: u64,
}

struct Layer {
    kind: Kind,
    /// What came out and was not passed on.
    sink: Sink,
}

enum Kind {
    /// The first bytes, until they tell whether the label is true.
    Unknown(Coding, Vec<u8>),
    /// The label was not true.
    Plain,
    Gzip(Box<MultiGzDecoder<Sink>>),
    Deflate(Box<Decompress>, bool),
    Brotli(Box<DecompressorWriter<Sink>>),
    Zstd(Box<Zstd<'static>>, bool),
}

/// Bytes, up to a bound.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    most: usize,
    is_over: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // All or nothing: decoders write what is left again after a part was taken, and would loop on a sink that is
        // full.
        if self.bytes.len() + bytes.len() > self.most {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unpacker {
    /// For a body with these codings, in the order in which they were put on; `None` for none.
    ///
    /// # Errors
    /// [`Unreadable::TooLarge`] for too many layers.
    pub(in crate::upstream) fn new(codings: &[Coding]) -> Result<Option<Box<Self>>, Unreadable> {
        // Here, not when the first bytes come: the layers of an answer that is never read cost nothing, but the head
        // can be refused at once.
        if codings.len() > MOST_LAYERS {
            return Err(Unreadable::TooLarge);
        }
        let layers = codings.iter().rev().map(|&coding| Layer {
            kind: Kind::Unknown(coding, Vec::new()),
            sink: Sink::default(),
        });
        let made = || {
            Box::new(Self {
                layers: layers.collect(),
                packed: 0,
                unpacked: 0,
            })
        };
        Ok((!codings.is_empty()).then(made))
    }

    /// Unpacks the next bytes as far as they go.
    ///
    /// # Errors
    /// [`Unreadable`]; what had been unpacked before is in `body`.
    pub(in crate::upstream) fn push(
        &mut self,
        input: &[u8],
        body: &mut BytesMut,
    ) -> Result<(), Unreadable> {
        self.packed += input.len() as u64;
        self.through(input, false, body)
    }

    /// Unpacks what is left at the end of the body.
    ///
    /// # Errors
    /// As [`Unpacker::push`].
    pub(in crate::upstream) fn finish(&mut self, body: &mut BytesMut) -> Result<(), Unreadable> {
        self.through(&[], true, body)
    }

    fn through(&mut self, input: &[u8], ends: bool, body: &mut BytesMut) -> Result<(), Unreadable> {
        // Cannot fall below nothing: see the invariant at the fields.
        let most = MOST_BYTES.min(FREE_BYTES + MOST_TIMES * self.packed) - self.unpacked;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        for (at, layer) in self.layers.iter_mut().enumerate() {
            // Every layer has the bound of the whole: one within that unpacks to more is a bomb, though the outer one
            // packs it again.
            let result = layer.through(if at == 0 { input } else { &bytes }, ends, most);
            // Taken before the error is looked at: whatever was good before it belongs to the reader.
            bytes = layer.taken();
            if let Err(error) = result {
                let is_over = error.kind() == io::ErrorKind::FileTooLarge;
                return Err(match error.kind() {
                    _ if is_over => Unreadable::TooLarge,
                    io::ErrorKind::UnexpectedEof => Unreadable::Torn,
                    _ => Unreadable::Corrupt,
                });
            }
        }
        self.unpacked += bytes.len() as u64;
        body.extend_from_slice(&bytes);
        Ok(())
    }
}

impl Layer {
    fn through(&mut self, input: &[u8], ends: bool, most: usize) -> io::Result<()> {
        if let Kind::Unknown(coding, first) = &mut self.kind {
            first.extend_from_slice(input);
            let Some(kind) = Kind::of(*coding, first, ends) else {
                return Ok(());
            };
            let first = std::mem::take(first);
            self.kind = kind?;
            // `input` is a part of `first` already.
            return self.unpack(&first, ends, most);
        }
        self.unpack(input, ends, most)
    }

    fn unpack(&mut self, input: &[u8], ends: bool, most: usize) -> io::Result<()> {
        // The bound is for this call alone, since the sink was emptied after the last one.
        self.sink().most = most;
        let result = match &mut self.kind {
            Kind::Unknown(..) => Ok(()),
            Kind::Plain => self.sink.write_all(input),
            Kind::Gzip(decoder) => decoder.write_all(input).and_then(|()| {
                if ends {
                    decoder.try_finish().map_err(missing)
                } else {
                    // Otherwise the decoder keeps what it could give, and an event would wait for the next one behind
                    // it.
                    decoder.flush()
                }
            }),
            Kind::Brotli(decoder) => decoder.write_all(input).and_then(|()| {
                if ends {
                    decoder.close().map_err(missing)
                } else {
                    decoder.flush()
                }
            }),
            Kind::Deflate(decoder, is_over) => inflate(decoder, is_over, input, &mut self.sink)
                .and_then(|()| torn(ends && !*is_over)),
            Kind::Zstd(decoder, is_over) => unzstd(decoder, is_over, input, &mut self.sink)
                .and_then(|()| torn(ends && !*is_over)),
        };
        // The decoders wrap the sink's error in one of their own.
        if self.sink().is_over {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        result
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.kind {
            // These own the sink that they write to.
            Kind::Gzip(decoder) => decoder.get_mut(),
            Kind::Brotli(decoder) => decoder.get_mut(),
            _ => &mut self.sink,
        }
    }

    fn taken(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sink().bytes)
    }
}

impl Kind {
    /// What a body that begins like this is; `None` while that is unknown.
    fn of(coding: Coding, first: &[u8], ends: bool) -> Option<io::Result<Self>> {
        // Labels lie: proxies unpack and forget the header, so the first bytes decide wherever a format has a mark.
        // Brotli has none and must be believed.
        let enough = match coding {
            Coding::Brotli => 1,
            Coding::Gzip | Coding::Deflate => 2,
            Coding::Zstd => 4,
        };
        // A body so short that it cannot be packed is not packed.
        if first.len() < enough {
            return ends.then_some(Ok(Self::Plain));
        }
        Some(Ok(match (coding, first) {
            (Coding::Gzip, [0x1f, 0x8b, ..]) => {
                Self::Gzip(Box::new(MultiGzDecoder::new(Sink::default())))
            }
            // RFC 1950 section 2.2: method 8, a window of at most 32 KiB, and a check of both bytes.
            (Coding::Deflate, &[method, flags, ..]) => {
                let is_zlib = method & 0x0f == 8
                    && method >> 4 <= 7
                    && (u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31);
                Self::Deflate(Box::new(Decompress::new(is_zlib)), false)
            }
            (Coding::Brotli, _) => Self::Brotli(Box::new(DecompressorWriter::new(
                Sink::default(),
                STEP_BYTES,
            ))),
            // A frame, or one that is to be skipped.
            (Coding::Zstd, [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) => {
                // A decoder without memory is an error of this answer, not of the process.
                let mut decoder = match Zstd::new() {
                    Ok(decoder) => decoder,
                    Err(error) => return Some(Err(error)),
                };
                if let Err(error) = decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
                {
                    return Some(Err(error));
                }
                Self::Zstd(Box::new(decoder), false)
            }
            _ => Self::Plain,
        }))
    }
}

/// All that decoders complain about at the end is that there is no more.
fn missing(_: io::Error) -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn torn(is_torn: bool) -> io::Result<()> {
    if is_torn {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(())
    }
}

fn inflate(
    decoder: &mut Decompress,
    is_over: &mut bool,
    input: &[u8],
    sink: &mut Sink,
) -> io::Result<()> {
    // The buffer is of the heap and of this call: 16 KiB in each idle decoder would be the larger part of an open
    // answer.
    let (mut rest, mut step) = (input, vec![0; STEP_BYTES]);
    // What follows the end of the stream is read over.
    while !*is_over {
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(rest, &mut step, FlushDecompress::None)?;
        let read = usize::try_from(decoder.total_in() - read)
            .or_impossible("a step reads no more than memory holds");
        let written = usize::try_from(decoder.total_out() - written)
            .or_impossible("a step writes no more than its buffer holds");
        sink.write_all(
            step.get(..written)
                .or_impossible("a step writes no more than its buffer holds"),
        )?;
        rest = rest
            .get(read..)
            .or_impossible("a step reads no more than there is");
        *is_over = status == flate2::Status::StreamEnd;
        // A full buffer may hide more output; without any progress there will be none.
        if written < STEP_BYTES && rest.is_empty() || read + written == 0 {
            break;
        }
    }
    Ok(())
}

fn unzstd(
    decoder: &mut Zstd<'_>,
    is_over: &mut bool,
    input: &[u8],
    sink: &mut Sink,
) -> io::Result<()> {
    let (mut rest, mut step) = (InBuffer::around(input), vec![0; STEP_BYTES]);
    loop {
        let read = rest.pos();
        let mut out = OutBuffer::around(&mut step);
        let wanted = decoder.run(&mut rest, &mut out)?;
        let written = out.pos();
        sink.write_all(out.as_slice())?;
        // A call that has done nothing says nothing about the end: behind a whole frame it asks for the next one's
        // head.
        if rest.pos() > read || written > 0 {
            *is_over = wanted == 0;
        }
        if rest.pos() == input.len() && written < STEP_BYTES || rest.pos() == read && written == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[path = "coding_tests.rs"]
pub(super) mod tests;
