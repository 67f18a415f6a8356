//! Connect's streaming envelopes, without sockets: bytes in, envelopes out. One flag byte, four bytes of length in
//! network order, then that many bytes of payload. Bytes may be torn anywhere. Source: the Connect protocol's
//! streaming section; wire/kimi.md section 5.1.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::impossible::OrImpossible as _;

/// The content type of a stream whose payloads are JSON.
pub const CONTENT_TYPE: &str = "application/connect+json";
/// Most bytes of one payload; more is no answer but an attack or a fault.
pub const MOST_PAYLOAD_BYTES: usize = 8 << 20;

/// Flag byte and length.
const HEAD_BYTES: usize = 5;
/// The payload is compressed. We never negotiate a compression.
const COMPRESSED: u8 = 0x01;
/// The payload is the trailer; nothing follows.
const END_OF_STREAM: u8 = 0x02;

/// One envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The payload is the stream's trailer, not a message.
    pub is_end: bool,
    /// JSON, whole.
    pub payload: &'a [u8],
}

/// Bytes that are no envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A compressed payload, though no compression was agreed on.
    #[error("an envelope of the stream is compressed")]
    Compressed,
    /// Flags that the protocol does not have. There is no way to find the next envelope from here.
    #[error("an envelope of the stream has unknown flags")]
    UnknownFlags,
    /// A length beyond [`MOST_PAYLOAD_BYTES`].
    #[error("an envelope of the stream is too large")]
    TooLarge,
}

/// A message in its envelope.
pub fn envelope(payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    bytes.put_u8(0);
    // What we send is bounded by the size of a request, far below 4 GiB.
    bytes.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    bytes.put_slice(payload);
    bytes.freeze()
}

/// Cuts a byte stream into envelopes. Holds one unfinished envelope and what was pushed last, never more.
#[derive(Debug, Default)]
pub struct Envelopes {
    buffer: Vec<u8>,
    /// Start of the first envelope that has not been read.
    read: usize,
}

impl Envelopes {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        // What has been read is dropped here and not in `next`, whose envelope still borrows it.
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete envelope. Lengths count bytes: payloads are never looked into.
    ///
    /// # Errors
    /// [`Malformed`]; every later call says the same.
    #[expect(
        clippy::should_implement_trait,
        reason = "the envelope borrows from the decoder, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<Envelope<'_>>, Malformed> {
        let unread = self
            .buffer
            .get(self.read..)
            .or_impossible("what has been read is a part of what has come");
        let Some((&flags, rest)) = unread.split_first() else {
            return Ok(None);
        };
        // Judged before the payload is there, so that nonsense is neither waited for nor kept.
        if flags & COMPRESSED != 0 {
            return Err(Malformed::Compressed);
        }
        if flags & !END_OF_STREAM != 0 {
            return Err(Malformed::UnknownFlags);
        }
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        // Never beyond `usize` on machines of 32 bits or more, and refused by the next line if it were.
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MOST_PAYLOAD_BYTES {
            return Err(Malformed::TooLarge);
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        // Before the payload is used: an error of the reader must not make it see the same envelope again.
        self.read += HEAD_BYTES + length;
        Ok(Some(Envelope {
            is_end: flags & END_OF_STREAM != 0,
            payload,
        }))
    }

    /// Whether bytes of an unfinished envelope are waiting.
    pub fn is_torn(&self) -> bool {
        self.read < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wire page's third vector; SHA-256 4eed3aaf…c184, 187 bytes.
    const QUESTION: &[u8] = include_bytes!("../../tests/fixtures/kimi/question.bin");

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What was found (end or not, payload), what was wrong, and whether something is left over.
    type Read = (Vec<(bool, Vec<u8>)>, Option<Malformed>, bool);

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
        let (mut envelopes, mut found) = (Envelopes::default(), Vec::new());
        for piece in pieces {
            envelopes.push(piece);
            loop {
                match envelopes.next() {
                    Ok(Some(envelope)) => found.push((envelope.is_end, envelope.payload.to_vec())),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error), false),
                }
            }
        }
        (found, None, envelopes.is_torn())
    }

    /// The vectors of wire/kimi.md section 5.1.
    #[test]
    fn follows_the_vectors_of_the_wire_page() {
        assert_eq!(hex(&envelope(b"{}")), "00000000027b7d");
        assert_eq!(
            hex(&envelope(br#"{"heartbeat":{}}"#)),
            "00000000107b22686561727462656174223a7b7d7d"
        );
        let question = r#"{"scenario":"SCENARIO_K2D5","tools":[],"message":{"role":"user","blocks":[{"message_id":"","text":{"content":"你好👋"}}],"scenario":"SCENARIO_K2D5"},"options":{"thinking":false}}"#;
        assert_eq!(envelope(question.as_bytes()), QUESTION);
        let trailer = b"\x02\0\0\0\x24{\"error\":{\"code\":\"unauthenticated\"}}";
        assert_eq!(
            read([&trailer[..]]),
            (vec![(true, trailer[5..].to_vec())], None, false)
        );
    }

    #[test]
    fn reads_envelopes_however_they_are_torn() {
        // A length byte that is a brace, one above 0x7f, an empty payload, a trailer.
        let payloads = [vec![b'x'; 0x7b], "é".repeat(0x60).into_bytes(), Vec::new()];
        let mut stream: Vec<u8> = payloads.iter().flat_map(|it| envelope(it)).collect();
        stream.extend_from_slice(b"\x02\0\0\0\x02{}");
        let whole = read([stream.as_slice()]);
        assert_eq!((whole.0.len(), whole.1, whole.2), (4, None, false));
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(read([head, tail]), whole, "split at byte {at}");
        }
        assert_eq!(read(stream.chunks(1)), whole);
    }

    #[test]
    fn refuses_what_is_no_envelope_at_once() {
        for (bytes, error) in [
            (&b"\x01"[..], Malformed::Compressed),
            (b"\x03\0\0\0\0", Malformed::Compressed),
            (b"{\"error\":1}", Malformed::Compressed),
            (b"\x04", Malformed::UnknownFlags),
            (b"\x80", Malformed::UnknownFlags),
            (b"\0\0\x80\0\x01", Malformed::TooLarge),
            (b"\0\xff\xff\xff\xff", Malformed::TooLarge),
        ] {
            assert_eq!(read([bytes]).1, Some(error), "{bytes:?}");
        }
        assert_eq!(read([&b"\0\0\x80\0\0"[..]]), (Vec::new(), None, true));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_kept_is_bounded(pieces in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..40), 0..40)) {
            let mut envelopes = Envelopes::default();
            for piece in &pieces {
                envelopes.push(piece);
                while let Ok(Some(_)) = envelopes.next() {}
                proptest::prop_assert!(envelopes.buffer.len() <= HEAD_BYTES + MOST_PAYLOAD_BYTES + 40);
            }
        }
    }
}
