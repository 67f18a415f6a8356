//! Small real files of sound and film, and the way in which stores serve them: by ranges (RFC 9110 section 14), a piece at a
//! time, as a film may be told to be larger than anybody's memory.

use std::{ops::Range, sync::LazyLock};

use bytes::Bytes;
use serde_json::json;

use super::{
    Reply, Request,
    reply::{Act, Body},
};

/// One second of orange, 64 by 36 pixels, H.264; the index comes first.
const FILM: &[u8] = include_bytes!("media/film.mp4");
/// A third of a second of 440 Hz.
pub(super) const TONE: &[u8] = include_bytes!("media/tone.mp3");
/// What is sent at once.
const PIECE: u64 = 64 << 10;
/// What a `free` box says of itself: its length in 8 bytes, as it may be long (ISO 14496-12 section 4.2).
const BOX_HEAD: u64 = 16;

/// Each byte of the padding tells where it stands, so that a wrong range shows; so often it tells the same.
const PERIOD: u64 = 251;

fn told(at: u64) -> u8 {
    u8::try_from(at % PERIOD).unwrap_or_default()
}

/// Any piece of the padding is in here: none is made anew.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| (0..PERIOD + PIECE).map(told).collect());

/// A film of so many bytes: the sample, and behind it, if it is to be longer, a box of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Film {
    length: u64,
}

impl Film {
    /// As long as asked, but never shorter than the sample.
    pub(super) fn of(bytes: u64) -> Self {
        let sample = FILM.len() as u64;
        let length = if bytes < sample + BOX_HEAD {
            sample
        } else {
            bytes
        };
        Self { length }
    }

    fn piece(self, range: Range<u64>) -> Bytes {
        let behind = FILM.len() as u64 + BOX_HEAD;
        if range.start >= behind
            && let (Ok(start), Ok(length)) = (
                usize::try_from(range.start % PERIOD),
                usize::try_from(range.end - range.start),
            )
        {
            return PATTERN.slice(start..start + length);
        }
        let sample = FILM.len() as u64;
        let mut head = ((self.length - sample).to_be_bytes()).to_vec();
        head.splice(0..0, *b"\0\0\0\x01free");
        let byte = |at: u64| match at.checked_sub(sample) {
            None => FILM.get(usize::try_from(at).unwrap_or(usize::MAX)).copied(),
            Some(at) if at < BOX_HEAD => head.get(usize::try_from(at).unwrap_or(0)).copied(),
            Some(_) => Some(told(at + sample)),
        };
        range.map(|at| byte(at).unwrap_or_default()).collect()
    }

    /// Serves it, the whole or what a `Range` header asks for.
    pub(super) fn serve(self, request: &Request) -> Reply {
        let asked = request.header("range");
        let range = if asked.is_empty() {
            Some(0..self.length)
        } else {
            ranged(&asked, self.length)
        };
        let Some(range) = range else {
            return Reply::json(416, &json!({"error": {"message": "no such range"}}))
                .header("Content-Range", format!("bytes */{}", self.length));
        };
        let status = if asked.is_empty() { 200 } else { 206 };
        let mut at = range.start;
        let end = range.end;
        let pieces = std::iter::from_fn(move || {
            let next = (at + PIECE).min(end);
            let piece = (at < end).then(|| Act::Say(self.piece(at..next)));
            at = next;
            piece
        });
        let mut reply = Reply::stream("video/mp4", Box::new(pieces.chain([Act::Done])))
            .header("Accept-Ranges", "bytes")
            .header("ETag", format!("\"film-{}\"", self.length))
            .header("Content-Length", (end - range.start).to_string());
        reply.status = status;
        if status == 206 {
            let place = format!("bytes {}-{}/{}", range.start, end - 1, self.length);
            reply = reply.header("Content-Range", place);
        }
        debug_assert!(matches!(reply.body, Body::Stream(_)));
        reply
    }
}

/// The one range of `bytes=…` within so many bytes.
fn ranged(asked: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = asked.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(count)) if first.is_empty() => length.saturating_sub(count)..length,
        _ => return None,
    };
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_is_as_long_as_asked_and_a_row_of_boxes() {
        assert_eq!(Film::of(0).piece(0..FILM.len() as u64), FILM);
        let film = Film::of(5000);
        let whole = film.piece(0..5000);
        let mut at = 0;
        let mut names = Vec::new();
        while at < whole.len() {
            let short = u32::from_be_bytes(whole[at..at + 4].try_into().unwrap());
            names.push(whole[at + 4..at + 8].to_vec());
            at += match short {
                1 => usize::try_from(u64::from_be_bytes(
                    whole[at + 8..at + 16].try_into().unwrap(),
                ))
                .unwrap(),
                length => length as usize,
            };
        }
        assert_eq!(at, 5000);
        assert_eq!(names.last().unwrap(), b"free");
        assert_eq!(film.piece(100..4000), whole.slice(100..4000));
    }

    #[test]
    fn ranges_of_every_form() {
        for (asked, range) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=5-", Some(5..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=2-99", Some(2..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=10-", None),
            ("bytes=5-4", None),
            ("bytes=-0", None),
            ("bytes=x-1", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(ranged(asked, 10), range, "{asked}");
        }
    }
}
