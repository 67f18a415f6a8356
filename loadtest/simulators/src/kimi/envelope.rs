//! Connect envelopes: one byte of flags, the length in four, and the payload. Source: wire/kimi.md §5.1.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::reply::Act;

/// The envelope of a message.
pub(super) const MESSAGE: u8 = 0;
/// The last envelope, whose payload is the trailer.
pub(super) const END: u8 = 2;
const HEAD_BYTES: usize = 5;
/// Refused above this.
const MAX_BYTES: usize = 8 << 20;

pub(super) fn encode(flags: u8, payload: &str) -> Bytes {
    let mut envelope = BytesMut::with_capacity(HEAD_BYTES + payload.len());
    envelope.put_u8(flags);
    envelope.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    envelope.put_slice(payload.as_bytes());
    envelope.freeze()
}

/// Whether what has come so far is an envelope, or can never become one.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    length(bytes).is_some_and(|length| {
        length > MAX_BYTES || bytes.len().saturating_sub(HEAD_BYTES) >= length
    })
}

fn length(bytes: &[u8]) -> Option<usize> {
    let head: [u8; 4] = bytes.get(1..HEAD_BYTES)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(head)).ok()
}

/// The payload of the one envelope that a request is (§4.2), or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<&[u8], String> {
    let (Some(flags), Some(length)) = (bytes.first(), length(bytes)) else {
        return Err(format!("a body of {} bytes is no envelope", bytes.len()));
    };
    let payload = bytes.get(HEAD_BYTES..).unwrap_or_default();
    if *flags != MESSAGE {
        return Err(format!("the envelope's flags are {flags:#04x}, not 0"));
    }
    if length > MAX_BYTES || payload.len() != length {
        let got = payload.len();
        return Err(format!(
            "the envelope promises {length} bytes and has {got}"
        ));
    }
    Ok(payload)
}

/// Puts neighbouring envelopes into one write.
pub(super) fn together(acts: Vec<Act>) -> Vec<Act> {
    let mut rest: VecDeque<_> = acts.into();
    let mut joined = Vec::new();
    while let Some(act) = rest.pop_front() {
        let pair = match (&act, rest.front()) {
            (Act::Send(a), Some(Act::Send(b))) => Some(Act::Send([&a[..], b].concat().into())),
            (Act::Send(a) | Act::Say(a), Some(Act::Say(b) | Act::Send(b))) => {
                Some(Act::Say([&a[..], b].concat().into()))
            }
            _ => None,
        };
        if pair.is_some() {
            rest.pop_front();
        }
        joined.push(pair.unwrap_or(act));
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn encodes_the_vectors_of_the_page() {
        assert_eq!(hex(&encode(MESSAGE, "{}")), "00000000027b7d");
        assert_eq!(
            hex(&encode(MESSAGE, r#"{"heartbeat":{}}"#)),
            "00000000107b22686561727462656174223a7b7d7d"
        );
        assert_eq!(
            hex(&encode(END, r#"{"error":{"code":"unauthenticated"}}"#)),
            "02000000247b226572726f72223a7b22636f6465223a22756e61757468656e74696361746564227d7d"
        );
        let question = r#"{"scenario":"SCENARIO_K2D5","tools":[],"message":{"role":"user","blocks":[{"message_id":"","text":{"content":"你好👋"}}],"scenario":"SCENARIO_K2D5"},"options":{"thinking":false}}"#;
        let envelope = encode(MESSAGE, question);
        assert_eq!(hex(&envelope[..5]), "00000000b6");
        assert_eq!(envelope.len(), 187);
        assert_eq!(decode(&envelope), Ok(question.as_bytes()));
    }

    #[test]
    fn refuses_what_is_no_single_envelope() {
        let good = encode(MESSAGE, "{}");
        for wrong in [
            br#"{"scenario":"SCENARIO_K2D5"}"#.as_slice(),
            b"",
            &good[..6],
            &[&good[..], &good[..]].concat(),
            &encode(END, "{}"),
            &encode(1, "{}"),
        ] {
            assert!(decode(wrong).is_err(), "{wrong:?}");
        }
        assert!(!is_complete(&good[..6]) && is_complete(&good));
        assert!(is_complete(br#"{"scen"#), "no envelope is that long");
    }
}
