//! An HTTP/1.1 response, without a socket.

use crate::framing::{Framing, Malformed};

const MOST_HEADERS: usize = 100;
const LARGEST_HEAD: usize = 64 << 10;

/// A response that is being read.
#[derive(Debug, Default)]
pub(super) struct Response {
    head: Vec<u8>,
    framing: Option<Framing>,
    /// 0 until the head is there.
    pub(super) status: u16,
    /// Whether the body is an event stream.
    pub(super) is_stream: bool,
    /// Whether the server closes the connection after it.
    pub(super) closes: bool,
}

impl Response {
    /// Takes the next bytes and hands on what of them belongs to the body.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        body: &mut impl FnMut(&Self, &[u8]),
    ) -> Result<(), Malformed> {
        let Some(mut framing) = self.framing.take() else {
            self.head.extend_from_slice(bytes);
            let Some(length) = self.parse()? else {
                return Ok(());
            };
            let head = std::mem::take(&mut self.head);
            let rest = head.get(length..).unwrap_or_default();
            return if self.status < 200 {
                self.again(rest, body)
            } else {
                self.feed(rest, body)
            };
        };
        let used = framing.feed(bytes, &mut |data| body(self, data));
        self.framing = Some(framing);
        if used? == bytes.len() {
            Ok(())
        } else {
            Err(Malformed("more bytes than the answer says it has"))
        }
    }

    /// An interim response was read: the real one follows.
    fn again(&mut self, rest: &[u8], body: &mut impl FnMut(&Self, &[u8])) -> Result<(), Malformed> {
        *self = Self::default();
        if rest.is_empty() {
            Ok(())
        } else {
            self.feed(rest, body)
        }
    }

    fn parse(&mut self) -> Result<Option<usize>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.head) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.head.len() <= LARGEST_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) => {
                return Err(Malformed("the answer's head is too large"));
            }
            Err(_) => return Err(Malformed("the answer is not HTTP")),
        };
        let has = |name: &str, start: &[u8]| {
            let matches = |header: &&httparse::Header<'_>| {
                header.name.eq_ignore_ascii_case(name)
                    && header
                        .value
                        .get(..start.len())
                        .is_some_and(|value| value.eq_ignore_ascii_case(start))
            };
            response.headers.iter().any(|header| matches(&header))
        };
        self.is_stream = has("content-type", b"text/event-stream");
        self.closes = has("connection", b"close") || response.version == Some(0);
        self.status = response.code.unwrap_or(0);
        self.framing = Some(Framing::of(response.headers, Framing::Close)?);
        Ok(Some(length))
    }

    /// Whether the whole response is there.
    pub(super) fn is_over(&self) -> bool {
        self.framing.as_ref().is_some_and(Framing::is_over)
    }

    /// Whether anything has come.
    pub(super) fn has_begun(&self) -> bool {
        self.framing.is_some() || !self.head.is_empty()
    }

    /// Whether a closing connection is the regular end.
    pub(super) fn may_close(&self) -> bool {
        self.framing.as_ref().is_some_and(Framing::may_close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
        Transfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n2\r\n\n\n\r\n0\r\n\r\n";

    #[test]
    fn every_split_gives_the_same_body() {
        for at in 0..=SAMPLE.len() {
            let (head, tail) = SAMPLE.split_at(at);
            let (mut response, mut body) = (Response::default(), Vec::new());
            for part in [head, tail] {
                response
                    .feed(part, &mut |_, data| body.extend_from_slice(data))
                    .unwrap();
            }
            assert_eq!(body, b"data\n\n", "split at {at}");
            assert!(response.is_over() && response.is_stream && !response.closes);
            assert_eq!(response.status, 200);
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let mut response = Response::default();
        response
            .feed(
                b"HTTP/1.1 502 Bad\r\nConnection: close\r\n\r\nx",
                &mut |_, _| {},
            )
            .unwrap();
        assert!(!response.is_over() && response.may_close() && response.closes);
    }

    #[test]
    fn bytes_after_the_end_are_an_error() {
        let mut response = Response::default();
        assert!(
            response
                .feed(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxyz",
                    &mut |_, _| {}
                )
                .is_err()
        );
    }
}
