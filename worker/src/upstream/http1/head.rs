//! The head of an answer, without sockets: bytes in; what they say about the body out. Source: RFC 9112, sections 2.2
//! (line ends), 5.2 (folded lines), 6.3 (length of a body) and 9.3 (persistence); RFC 9110, section 15.2 (1xx).

use actix_web::http::StatusCode;
use httparse::{ParserConfig, Status};

use super::{coding::Coding, framing::Framing};

/// Most bytes of one head; more is no answer but an attack or a fault.
pub(in crate::upstream) const MOST_HEAD_BYTES: usize = 64 << 10;
/// Most header lines of one head.
const MOST_LINES: usize = 128;

/// What a head says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Head {
    pub(in crate::upstream) status: StatusCode,
    /// The headers, a line each: the name in lower case, a colon, the value.
    pub(in crate::upstream) lines: Box<str>,
    pub(in crate::upstream) framing: Framing,
    /// What the body is packed in, the outermost last.
    pub(in crate::upstream) codings: Vec<Coding>,
    /// Whether another request may follow on this connection.
    pub(in crate::upstream) keeps_alive: bool,
}

/// One head, and how many bytes it took.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Read {
    /// 1xx: the answer is still to come.
    Interim(usize),
    /// The answer's own.
    Final(usize, Head),
}

/// A head that cannot be understood for certain, so that nothing behind it can be either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct BadHead;

/// Reads the head that begins `bytes`; `None` where it is not whole yet. `is_head` says that the request was HEAD.
///
/// # Errors
/// [`BadHead`]: no HTTP/1, an unasked change of protocol, or a length that is contradictory.
pub(in crate::upstream) fn parse(bytes: &[u8], is_head: bool) -> Result<Option<Read>, BadHead> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_LINES];
    // Headers that are not valid are left out and not refused: one odd line of a proxy must not cost the answer.
    let mut answer = httparse::Response::new(&mut lines);
    let mut config = ParserConfig::default();
    config
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    let length = match config.parse_response(&mut answer, bytes) {
        // Too many lines, a line that is no header, a head beyond its bounds.
        Ok(Status::Complete(length)) if length <= MOST_HEAD_BYTES => length,
        Ok(Status::Partial) if bytes.len() < MOST_HEAD_BYTES => return Ok(None),
        _ => return Err(BadHead),
    };
    let status = answer
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(BadHead)?;
    match status.as_u16() {
        // An answer would follow in a protocol that nobody here reads.
        // We never ask for another protocol here.
        101 => return Err(BadHead),
        100..200 => return Ok(Some(Read::Interim(length))),
        _ => {}
    }
    let is_1_1 = answer.version == Some(1);
    let said = Said::read(answer.headers)?;
    let framing = said.framing(status, is_head)?;
    // A body that ends with the connection takes it along.
    let keeps_alive = framing != Framing::Close
        && !said.closes
        // RFC 9112, section 6.1: chunks of an HTTP/1.0 server are read, but its framing is not to be trusted further.
        && (is_1_1 || (said.keeps && said.transfer.is_none()));
    Ok(Some(Read::Final(
        length,
        Head {
            status,
            lines: copied(answer.headers),
            framing,
            codings: said.codings,
            keeps_alive,
        },
    )))
}

/// What the headers say about the connection and the body.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    /// Whether chunks are the outermost transfer coding.
    transfer: Option<bool>,
    codings: Vec<Coding>,
    closes: bool,
    keeps: bool,
}

impl Said {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, BadHead> {
        let (mut said, mut transfer) = (Self::default(), Vec::new());
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                for length in list(header.value) {
                    said.add_length(length.ok_or(BadHead)?)?;
                }
            } else if is("transfer-encoding") {
                for coding in list(header.value) {
                    said.add_transfer(coding.ok_or(BadHead)?, &mut transfer)?;
                }
            } else if is("content-encoding") {
                said.codings
                    .extend(list(header.value).flatten().filter_map(Coding::named));
            } else if is("connection") {
                for option in list(header.value).flatten() {
                    said.closes |= option.eq_ignore_ascii_case("close");
                    said.keeps |= option.eq_ignore_ascii_case("keep-alive");
                }
            }
        }
        // RFC 9112, section 6.3, rule 3: the mark of an attempt to smuggle a second answer.
        if said.length.is_some() && said.transfer.is_some() {
            return Err(BadHead);
        }
        // What the transfer is packed in was put on last.
        said.codings.append(&mut transfer);
        Ok(said)
    }

    /// The same length said twice is harmless; two lengths are none.
    fn add_length(&mut self, text: &str) -> Result<(), BadHead> {
        // `parse` alone would take a sign before the number.
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = text.parse().ok().filter(|_| is_number).ok_or(BadHead)?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(BadHead),
            _ => Ok(()),
        }
    }

    fn add_transfer(&mut self, name: &str, packed: &mut Vec<Coding>) -> Result<(), BadHead> {
        // `identity` was taken out of the standard and is still said.
        if name.is_empty() || name.eq_ignore_ascii_case("identity") {
            return Ok(());
        }
        // Chunks come last and once.
        if self.transfer == Some(true) {
            return Err(BadHead);
        }
        let is_chunked = name.eq_ignore_ascii_case("chunked");
        self.transfer = Some(is_chunked);
        if !is_chunked {
            packed.push(Coding::named(name).ok_or(BadHead)?);
        }
        Ok(())
    }

    fn framing(&self, status: StatusCode, is_head: bool) -> Result<Framing, BadHead> {
        Ok(match (self.transfer, self.length) {
            // These have no body, whatever their headers announce (RFC 9112, section 6.3, rule 1): waiting for one
            // would hang.
            _ if is_head || status == 204 || status == 304 => Framing::Length(0),
            (Some(true), _) => Framing::chunked(),
            // Chunks that are not outermost do not end the body; only the connection can.
            (Some(false), _) | (None, None) => Framing::Close,
            (None, Some(length)) => Framing::Length(length),
        })
    }
}

/// The members of a list; `None` for one that is no text.
fn list(value: &[u8]) -> impl Iterator<Item = Option<&str>> {
    value
        .split(|&byte| byte == b',')
        .map(|member| std::str::from_utf8(member).ok().map(str::trim))
}

fn copied(headers: &[httparse::Header<'_>]) -> Box<str> {
    // Room for all at once: this string lives as long as the answer, and `into_boxed_str` would copy it once more.
    let bytes = |header: &httparse::Header<'_>| header.name.len() + header.value.len() + 2;
    let mut lines = String::with_capacity(headers.iter().map(bytes).sum());
    for header in headers {
        // A value that is no text is of no use to anybody here, and `head` is one.
        let Ok(value) = std::str::from_utf8(header.value) else {
            continue;
        };
        lines.extend(header.name.chars().map(|c| c.to_ascii_lowercase()));
        lines.push(':');
        if value.contains(['\r', '\n']) {
            // Folded over several lines (RFC 9112, section 5.2).
            let parts = value.split(['\r', '\n']).map(str::trim);
            let parts = parts.filter(|part| !part.is_empty());
            lines.extend(parts.flat_map(|part| [part, " "]));
        } else {
            lines.push_str(value);
        }
        lines.push('\n');
    }
    lines.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Option<Read>, BadHead> {
        parse(head.as_bytes(), false)
    }

    fn finally(head: &str) -> Head {
        match read(&format!("{head}\r\n\r\n")) {
            Ok(Some(Read::Final(length, head_))) if length == head.len() + 4 => head_,
            other => panic!("{head}: {other:?}"),
        }
    }

    #[test]
    fn says_how_long_the_body_is() {
        for (head, framing, keeps_alive) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200\r\ncontent-length : 5",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\nContent-Length: 5, 5",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length:\r\n 5",
                Framing::Length(5),
                true,
            ),
            (
                "\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked",
                Framing::chunked(),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 1",
                Framing::Length(1),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
                Framing::Close,
                false,
            ),
            ("HTTP/1.1 200 OK\r\nA: b", Framing::Close, false),
            (
                "HTTP/1.1 204 No\r\nContent-Length: 5",
                Framing::Length(0),
                true,
            ),
            ("HTTP/1.1 304 No\r\nA: b", Framing::Length(0), true),
            (
                "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5",
                Framing::Length(5),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5",
                Framing::Length(5),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked",
                Framing::chunked(),
                false,
            ),
        ] {
            let found = finally(head);
            assert_eq!(
                (&found.framing, found.keeps_alive),
                (&framing, keeps_alive),
                "{head}"
            );
        }
    }

    #[test]
    fn contradictions_are_no_answers() {
        for head in [
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6",
            "HTTP/1.1 200 OK\r\nContent-Length: +5",
            "HTTP/1.1 200 OK\r\nContent-Length: ",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: nonsense",
            "HTTP/2.0 200 OK\r\nA: b",
            "<html>",
        ] {
            assert_eq!(read(&format!("{head}\r\n\r\n")), Err(BadHead), "{head}");
        }
        let huge = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(MOST_HEAD_BYTES));
        assert_eq!(read(&huge), Err(BadHead));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "A: b\r\n".repeat(MOST_LINES + 1)
        );
        assert_eq!(read(&many), Err(BadHead));
    }

    #[test]
    fn interim_heads_and_heads_to_be_continued() {
        for interim in [
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n",
        ] {
            assert_eq!(read(interim), Ok(Some(Read::Interim(interim.len()))));
        }
        assert_eq!(read("HTTP/1.1 200 OK\r\nA: b\r\n"), Ok(None));
        let head = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true);
        assert!(
            matches!(head, Ok(Some(Read::Final(_, head))) if head.framing == Framing::Length(0))
        );
    }

    #[test]
    fn keeps_the_headers_and_the_order_of_codings() {
        let head = finally(
            "HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\nContent-Encoding: x-GZIP, br, new\r\nTransfer-Encoding: deflate, chunked\r\nB\u{e9}: bad name",
        );
        assert_eq!(
            &*head.lines,
            "x-a:one two \ncontent-encoding:x-GZIP, br, new\ntransfer-encoding:deflate, chunked\n"
        );
        assert_eq!(
            head.codings,
            [Coding::Gzip, Coding::Brotli, Coding::Deflate]
        );
    }
}
