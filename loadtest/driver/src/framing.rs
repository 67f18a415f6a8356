//! Where an HTTP/1.1 message body begins and ends, without a socket. Source: RFC 9112, sections 6 and 7.

use std::{error::Error, fmt};

/// How a body is delimited.
#[derive(Debug)]
pub(crate) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    /// Chunks, each after a line with its size.
    Chunked(Chunk),
    /// Until the connection closes.
    Close,
}

/// Where in a chunked body the next byte stands.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// In the line with the size; so far it says this.
    Size(u64),
    /// Behind the size, before the end of its line.
    Extension(u64),
    /// In a chunk of which so many bytes are still to come.
    Data(u64),
    /// In the line end after a chunk.
    DataEnd,
    /// In a line after the last chunk; whether anything stands in it.
    Trailer(bool),
    /// Behind everything.
    Over,
}

/// The peer does not speak HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Malformed {}

impl Framing {
    /// As the headers say; `otherwise` when they say nothing.
    pub(crate) fn of(headers: &[httparse::Header<'_>], otherwise: Self) -> Result<Self, Malformed> {
        let value = |name: &str| {
            let header = headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok().map(str::trim)
        };
        if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Ok(Self::Chunked(Chunk::Size(0)));
        }
        match value("content-length") {
            Some(length) => length
                .parse()
                .map(Self::Length)
                .map_err(|_| Malformed("a bad Content-Length")),
            None => Ok(otherwise),
        }
    }

    /// Whether the body has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Over))
    }

    /// Whether a closing connection ends the body here.
    pub(crate) fn may_close(&self) -> bool {
        self.is_over() || matches!(self, Self::Close)
    }

    /// Hands the body's own bytes to `sink`; returns how many bytes belong to this message.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<usize, Malformed> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_over() {
            rest = match self {
                Self::Close => take(&mut u64::MAX.clone(), rest, sink),
                Self::Length(left) => take(left, rest, sink),
                Self::Chunked(chunk) => chunk.advance(rest, sink)?,
            };
        }
        Ok(bytes.len() - rest.len())
    }
}

impl Chunk {
    fn advance<'a>(
        &mut self,
        bytes: &'a [u8],
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<&'a [u8], Malformed> {
        if let Self::Data(left) = self {
            let rest = take(left, bytes, sink);
            if *left == 0 {
                *self = Self::DataEnd;
            }
            return Ok(rest);
        }
        let Some((byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        *self = match (&*self, byte) {
            (Self::Size(size) | Self::Extension(size), b'\n') => match size {
                0 => Self::Trailer(false),
                size => Self::Data(*size),
            },
            (Self::Extension(size), _) | (Self::Size(size), b'\r' | b';' | b' ') => {
                Self::Extension(*size)
            }
            (Self::Size(size), digit) => Self::Size(longer(*size, *digit)?),
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size(0),
            (Self::DataEnd, _) => return Err(Malformed("a chunk is longer than it says")),
            (Self::Trailer(false), b'\n') => Self::Over,
            (Self::Trailer(true), b'\n') => Self::Trailer(false),
            (Self::Trailer(filled), byte) => Self::Trailer(*filled || *byte != b'\r'),
            (Self::Data(_) | Self::Over, _) => return Ok(bytes),
        };
        Ok(rest)
    }
}

fn longer(size: u64, digit: u8) -> Result<u64, Malformed> {
    let digit = char::from(digit)
        .to_digit(16)
        .ok_or(Malformed("a bad chunk size"))?;
    size.checked_mul(16)
        .and_then(|size| size.checked_add(u64::from(digit)))
        .ok_or(Malformed("a chunk is too large"))
}

fn take<'a>(left: &mut u64, bytes: &'a [u8], sink: &mut impl FnMut(&[u8])) -> &'a [u8] {
    let length = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (data, rest) = bytes.split_at(length);
    *left -= length as u64;
    sink(data);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"5\r\nhello\r\nA;x=1\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\nHTTP";

    #[test]
    fn chunks_are_the_same_however_they_are_split() {
        for at in 0..=CHUNKED.len() {
            let (head, tail) = CHUNKED.split_at(at);
            let (mut framing, mut body) = (Framing::Chunked(Chunk::Size(0)), Vec::new());
            let mut used = 0;
            for part in [head, tail] {
                used += framing
                    .feed(part, &mut |data| body.extend_from_slice(data))
                    .unwrap();
            }
            assert_eq!(body, b"hello0123456789", "split at {at}");
            assert!(framing.is_over());
            assert_eq!(used, CHUNKED.len() - 4);
        }
    }

    #[test]
    fn a_length_ends_where_it_says() {
        let (mut framing, mut body) = (Framing::Length(3), Vec::new());
        let used = framing.feed(b"abcd", &mut |data| body.extend_from_slice(data));
        assert_eq!(
            (used, body.as_slice(), framing.is_over()),
            (Ok(3), &b"abc"[..], true)
        );
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bytes in [&b"xyz\r\n"[..], b"3\r\nabcd", b"fffffffffffffffff\r\n"] {
            let mut framing = Framing::Chunked(Chunk::Size(0));
            assert!(framing.feed(bytes, &mut |_| {}).is_err(), "{bytes:?}");
        }
    }
}
