//! Where a body ends, without sockets: bytes in, the body's own bytes out. Bytes may be torn anywhere; nothing is kept
//! but where we are. Source: RFC 9112, sections 6.3 and 7.1.

use bytes::BytesMut;

use crate::impossible::OrImpossible as _;

/// Most bytes of one line of a chunk's size and extensions, and of all trailers.
const MOST_LINE_BYTES: usize = 16 << 10;

/// How the end of a body is known, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunked),
    /// It ends where the connection does.
    Close,
}

/// Bytes that are no body of this framing; what follows cannot be understood either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct BadFraming;

/// Where in a chunked body we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Chunked {
    at: At,
    /// The chunk's bytes that are still to come, or as many as its size says so far.
    left: u64,
    /// Bytes of this line, or of all trailers.
    line: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// Blanks behind the size.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer's line, or of the line that ends the body.
    Trailers,
    Trailer,
    TrailerLf,
    EndLf,
    Over,
}

impl Framing {
    /// A body in chunks, at its beginning.
    pub(in crate::upstream) fn chunked() -> Self {
        Self::Chunked(Chunked::default())
    }

    /// Whether the body is whole.
    pub(in crate::upstream) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.at == At::Over,
            Self::Close => false,
        }
    }

    /// Adds what `input` holds of the body to `body`, and says how much of the input belonged to it and its framing:
    /// less than all only where the body is over.
    ///
    /// # Errors
    /// [`BadFraming`]; what had been read before is in `body`.
    pub(in crate::upstream) fn decode(
        &mut self,
        input: &[u8],
        body: &mut BytesMut,
    ) -> Result<usize, BadFraming> {
        match self {
            Self::Length(left) => {
                let taken = taken(input, left);
                body.extend_from_slice(taken);
                Ok(taken.len())
            }
            Self::Chunked(chunked) => chunked.decode(input, body),
            Self::Close => {
                body.extend_from_slice(input);
                Ok(input.len())
            }
        }
    }
}

/// The part of the input that belongs to what is `left`.
fn taken<'a>(input: &'a [u8], left: &mut u64) -> &'a [u8] {
    // More than memory holds: all of it is taken, whatever comes.
    let most = usize::try_from(*left).unwrap_or(usize::MAX);
    let taken = input.get(..most).unwrap_or(input);
    *left -= taken.len() as u64;
    taken
}

impl Chunked {
    fn decode(&mut self, input: &[u8], body: &mut BytesMut) -> Result<usize, BadFraming> {
        let mut rest = input;
        // `Over` ends it before the rest is looked at: that belongs to nobody, and `Body::take_all` counts it.
        while self.at != At::Over {
            if self.at == At::Data {
                let taken = taken(rest, &mut self.left);
                body.extend_from_slice(taken);
                rest = rest
                    .get(taken.len()..)
                    .or_impossible("what was taken is a part of what is left");
                if self.left > 0 {
                    break;
                }
                self.at = At::DataCr;
            }
            let Some((&byte, behind)) = rest.split_first() else {
                break;
            };
            self.at = self.step(byte)?;
            rest = behind;
        }
        Ok(input.len() - rest.len())
    }

    fn step(&mut self, byte: u8) -> Result<At, BadFraming> {
        // One count for size, extension and trailers, as each could go on for ever; data is not counted, as it runs in
        // `decode`.
        self.line += 1;
        if self.line > MOST_LINE_BYTES {
            return Err(BadFraming);
        }
        Ok(match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).ok_or(BadFraming)?;
                // Sixteen digits fill it; one more would wrap to a small size, and the bodies would part ways with what
                // a proxy sees.
                let left = self.left.checked_mul(16).ok_or(BadFraming)?;
                self.left = left + u64::from(digit);
                At::Size
            }
            // A size has a digit.
            (At::Size, _) if self.line == 1 => return Err(BadFraming),
            (At::Size | At::Blank, b' ' | b'\t') => At::Blank,
            (At::Size | At::Blank, b';') => At::Extension,
            (At::Size | At::Blank | At::Extension, b'\r') => At::SizeLf,
            // A lone line feed is where readers of extensions disagree about the end of the line.
            (At::Extension, b'\n') => return Err(BadFraming),
            (At::Extension, _) => At::Extension,
            (At::SizeLf, b'\n') => {
                // Before `left` is looked at: trailers have the count for themselves.
                self.line = 0;
                if self.left > 0 {
                    At::Data
                } else {
                    At::Trailers
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.line = 0;
                At::Size
            }
            (At::Trailers, b'\r') => At::EndLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            // Where readers disagree about line ends, two of them see two different answers.
            (At::Trailers | At::Trailer, b'\n') => return Err(BadFraming),
            (At::Trailers | At::Trailer, _) => At::Trailer,
            (At::TrailerLf, b'\n') => At::Trailers,
            (At::EndLf, b'\n') => At::Over,
            _ => return Err(BadFraming),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, whether it is over, and what is left of the input.
    type Read = (Vec<u8>, bool, usize);

    fn read(mut framing: Framing, input: &[u8], at_once: usize) -> Result<Read, BadFraming> {
        let (mut body, mut left) = (BytesMut::new(), 0);
        for piece in input.chunks(at_once) {
            left += piece.len() - framing.decode(piece, &mut body)?;
        }
        Ok((body.to_vec(), framing.is_over(), left))
    }

    #[test]
    fn chunks_in_every_dress_and_torn_anywhere() {
        for (input, body, is_over, left) in [
            ("5\r\nHello\r\n0\r\n\r\n", "Hello", true, 0),
            ("2\r\nHe\r\n003\r\nllo\r\n000\r\n\r\n", "Hello", true, 0),
            (
                "A;x=\"1;\"\r\n0123456789\r\n0;last\r\n\r\n",
                "0123456789",
                true,
                0,
            ),
            ("5  \r\nHello\r\n0 \t;a\r\n\r\n", "Hello", true, 0),
            (
                "1\r\nx\r\n0\r\nDigest: 1\r\nB: \r\n\r\nHTTP/1.1",
                "x",
                true,
                8,
            ),
            ("5\r\nHel", "Hel", false, 0),
            ("5\r\nHello\r\n0\r\n", "Hello", false, 0),
        ] {
            for at_once in 1..=input.len() {
                let read = read(Framing::chunked(), input.as_bytes(), at_once);
                assert_eq!(
                    read,
                    Ok((body.into(), is_over, left)),
                    "{input:?} {at_once}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for input in [
            "\r\n",
            ";a\r\n",
            " 5\r\n",
            "g\r\n",
            "-1\r\n",
            "5 5\r\n",
            "5\n",
            "5\rx",
            "11111111111111111\r\n",
            "1\r\nxy\r\n",
            "1\r\nx\n",
            "1;a\nb\r\nx",
            "0\r\nA: b\n\r\n",
            "0\r\n\rx",
        ] {
            for at_once in 1..=input.len() {
                let read = read(Framing::chunked(), input.as_bytes(), at_once);
                assert_eq!(read, Err(BadFraming), "{input:?} {at_once}");
            }
        }
        for endless in [";", "0"] {
            let line = format!("1{}", endless.repeat(MOST_LINE_BYTES));
            assert_eq!(
                read(Framing::chunked(), line.as_bytes(), 100),
                Err(BadFraming)
            );
        }
        let trailers = format!("0\r\n{}", "A: b\r\n".repeat(MOST_LINE_BYTES));
        assert_eq!(
            read(Framing::chunked(), trailers.as_bytes(), 100),
            Err(BadFraming)
        );
    }

    /// A bound on the extensions of a whole body would cut long streams whose every chunk has one.
    #[test]
    fn a_long_stream_may_have_an_extension_in_every_chunk() {
        let stream = "1;sig=0123456789abcdef\r\nx\r\n".repeat(10_000) + "0\r\n\r\n";
        let read = read(Framing::chunked(), stream.as_bytes(), 4096);
        assert_eq!(read, Ok((vec![b'x'; 10_000], true, 0)));
    }

    #[test]
    fn lengths_and_closes() {
        for at_once in 1..=7 {
            assert_eq!(
                read(Framing::Length(5), b"Hello!!", at_once),
                Ok((b"Hello".to_vec(), true, 2))
            );
            assert_eq!(
                read(Framing::Length(9), b"Hello", at_once),
                Ok((b"Hello".to_vec(), false, 0))
            );
            assert_eq!(
                read(Framing::Close, b"Hello", at_once),
                Ok((b"Hello".to_vec(), false, 0))
            );
        }
    }
}
