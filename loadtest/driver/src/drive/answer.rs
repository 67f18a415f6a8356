//! What an answer says: its pieces, its end, and what is wrong with it.

use memchr::memmem;

use super::{
    ledger::{Faults, Ledger},
    response::Response,
};
use crate::marker::Marker;

/// The part of a refusal that is kept for the person who reads the results.
const MOST_QUOTED: usize = 200;

/// One answer that is being read.
#[derive(Debug, Default)]
pub(super) struct Answer {
    is_cumulative: bool,
    line: Vec<u8>,
    ledger: Ledger,
    is_done: bool,
    has_error: bool,
    /// Pieces that have come.
    pub(super) pieces: u64,
    /// The beginning of a body that is no answer.
    pub(super) refusal: Vec<u8>,
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Whether it is the first of its answer.
    pub(super) is_first: bool,
    /// When it was written, where the upstream says so.
    pub(super) written_ns: Option<u64>,
}

impl Answer {
    /// A new answer; `is_cumulative`: each of its events repeats all before it.
    pub(super) fn new(is_cumulative: bool) -> Self {
        Self {
            is_cumulative,
            ..Self::default()
        }
    }

    /// Takes the next bytes of the body.
    pub(super) fn feed(
        &mut self,
        response: &Response,
        bytes: &[u8],
        arrived: &mut impl FnMut(Piece),
    ) {
        if response.status != 200 {
            let room = MOST_QUOTED
                .saturating_sub(self.refusal.len())
                .min(bytes.len());
            self.refusal
                .extend_from_slice(bytes.get(..room).unwrap_or_default());
        } else if response.is_stream {
            self.lines(bytes, arrived);
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn lines(&mut self, bytes: &[u8], arrived: &mut impl FnMut(Piece)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, tail) = rest.split_at(end);
            if self.line.is_empty() {
                self.event_line(line, arrived);
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.event_line(&whole, arrived);
                whole.clear();
                self.line = whole;
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        self.line.extend_from_slice(rest);
    }

    fn event_line(&mut self, line: &[u8], arrived: &mut impl FnMut(Piece)) {
        let Some(data) = line.strip_prefix(b"data:") else {
            return;
        };
        let data = data.trim_ascii();
        match Event::of(data) {
            Event::End => self.is_done = true,
            Event::Error => self.has_error = true,
            Event::Piece => self.pieces_of(data, arrived),
            Event::Other => {}
        }
    }

    fn pieces_of(&mut self, data: &[u8], arrived: &mut impl FnMut(Piece)) {
        if self.is_cumulative {
            if let Some(marker) =
                Marker::last(data).filter(|marker| !self.ledger.is_last(marker.number))
            {
                self.enter(marker, arrived);
            }
            return;
        }
        let mut is_marked = false;
        for marker in Marker::all(data) {
            is_marked = true;
            self.enter(marker, arrived);
        }
        if !is_marked && has_text(data) {
            self.arrive(None, arrived);
        }
    }

    fn enter(&mut self, marker: Marker, arrived: &mut impl FnMut(Piece)) {
        if self.ledger.enter(marker.number, marker.total) {
            self.arrive(Some(marker.written_ns), arrived);
        }
    }

    fn arrive(&mut self, written_ns: Option<u64>, arrived: &mut impl FnMut(Piece)) {
        self.pieces += 1;
        arrived(Piece {
            is_first: self.pieces == 1,
            written_ns,
        });
    }

    /// The body has ended regularly: what is left is read, and whether it was a whole answer.
    pub(super) fn finish(
        &mut self,
        response: &Response,
        arrived: &mut impl FnMut(Piece),
    ) -> Result<(), &'static str> {
        if !response.is_stream {
            let whole = std::mem::take(&mut self.line);
            self.pieces_of(&whole, arrived);
            return if self.pieces == 0 {
                Err("an answer without text")
            } else {
                Ok(())
            };
        }
        match (self.has_error, self.is_done, self.pieces) {
            (true, _, _) => Err("an error event in the stream"),
            (_, false, _) => Err("a stream without an end"),
            (_, _, 0) => Err("an answer without text"),
            _ => Ok(()),
        }
    }

    /// Missing, doubled and misplaced pieces so far.
    pub(super) fn faults(&self, is_cut: bool) -> Faults {
        self.ledger.faults(is_cut)
    }
}

/// What an event of a stream is, at whichever door.
#[derive(Debug, PartialEq)]
enum Event {
    Piece,
    End,
    Error,
    /// A beginning; or what was said, once more: Responses tells it again where a part, an item and the answer end.
    Other,
}

impl Event {
    fn of(data: &[u8]) -> Self {
        // Chunks of chat completions have no type.
        let Some(rest) = data.strip_prefix(b"{\"type\":\"") else {
            return match data {
                b"[DONE]" => Self::End,
                _ if data.starts_with(b"{\"error\"") => Self::Error,
                _ => Self::Piece,
            };
        };
        match rest.split(|&byte| byte == b'"').next().unwrap_or_default() {
            b"response.output_text.delta" | b"content_block_delta" => Self::Piece,
            b"response.completed" | b"message_stop" => Self::End,
            b"response.failed" | b"response.incomplete" | b"error" => Self::Error,
            _ => Self::Other,
        }
    }
}

/// Whether an unmarked chunk says anything.
fn has_text(data: &[u8]) -> bool {
    let says = |key: &[u8]| {
        memmem::find(data, key).is_some_and(|at| {
            let value = data
                .get(at + key.len()..)
                .unwrap_or_default()
                .trim_ascii_start();
            value.starts_with(b"\"") && !value.starts_with(b"\"\"")
        })
    };
    [
        &b"\"content\":"[..],
        b"\"reasoning_content\":",
        b"\"text\":",
        b"\"delta\":",
    ]
    .into_iter()
    .any(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(is_stream: bool) -> Response {
        let kind = if is_stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let mut response = Response::default();
        response
            .feed(
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n").as_bytes(),
                &mut |_, _| {},
            )
            .unwrap();
        response
    }

    fn read(
        text: &str,
        is_cumulative: bool,
        at: usize,
    ) -> (Vec<Piece>, Faults, Result<(), &'static str>) {
        let (response, mut answer, mut pieces) =
            (response(true), Answer::new(is_cumulative), Vec::new());
        let (head, tail) = text.as_bytes().split_at(at);
        answer.feed(&response, head, &mut |piece| pieces.push(piece));
        answer.feed(&response, tail, &mut |piece| pieces.push(piece));
        let end = answer.finish(&response, &mut |piece| pieces.push(piece));
        (pieces, answer.faults(false), end)
    }

    #[test]
    fn every_split_gives_the_same_pieces() {
        let text = "data: {\"content\":\"~0:3@5;\"}\n\ndata:{\"content\":\"~1:3@6; ~2:3@7;\"}\r\n\r\ndata: [DONE]\n\n";
        for at in 0..=text.len() {
            let (pieces, faults, end) = read(text, false, at);
            let written: Vec<_> = pieces.iter().map(|piece| piece.written_ns).collect();
            assert_eq!(written, [Some(5), Some(6), Some(7)], "split at {at}");
            assert_eq!((faults, end), (Faults::default(), Ok(())));
            assert!(pieces[0].is_first && !pieces[1].is_first);
        }
    }

    #[test]
    fn a_cumulative_stream_has_one_piece_an_event_and_its_last_event_none() {
        let text = "data: {\"c\":\"~0:2@5;\"}\n\ndata: {\"c\":\"~0:2@5;~1:2@6;\"}\n\ndata: {\"c\":\"~0:2@5;~1:2@6;\",\"end\":1}\n\ndata: [DONE]\n\n";
        let (pieces, faults, end) = read(text, true, 40);
        assert_eq!((pieces.len(), faults, end), (2, Faults::default(), Ok(())));
        // The same read as if each event had only what is new: everything before comes again.
        assert_eq!(read(text, false, 40).1.doubled, 3);
    }

    #[test]
    fn an_end_without_a_word_is_an_error() {
        let piece = "data: {\"content\":\"~0:2@5;\"}\n\n";
        assert_eq!(read(piece, false, 0).2, Err("a stream without an end"));
        assert_eq!(read(piece, false, 0).1.missing, 1);
        assert_eq!(
            read("data: {\"error\":{}}\n\n", false, 0).2,
            Err("an error event in the stream")
        );
        assert_eq!(
            read("data: [DONE]\n\n", false, 0).2,
            Err("an answer without text")
        );
    }

    #[test]
    fn the_other_doors_say_each_piece_once_and_end_in_their_own_words() {
        let event = |data: &str| {
            let kind = data.split('"').nth(3).unwrap();
            format!("event: {kind}\ndata: {data}\n\n")
        };
        let responses = [
            r#"{"type":"response.created","sequence_number":0,"response":{}}"#,
            r#"{"type":"response.output_text.delta","sequence_number":1,"delta":"~0:2@5;"}"#,
            r#"{"type":"response.output_text.delta","sequence_number":2,"delta":"~1:2@6;"}"#,
            r#"{"type":"response.output_text.done","sequence_number":3,"text":"~0:2@5;~1:2@6;"}"#,
            r#"{"type":"response.completed","sequence_number":4,"response":{"output":["~0:2@5;~1:2@6;"]}}"#,
        ];
        let messages = [
            r#"{"type":"message_start","message":{"content":[]}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"~0:2@5;~1:2@6;"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"message_stop"}"#,
        ];
        for events in [&responses, &messages] {
            let text: String = events.iter().map(|data| event(data)).collect();
            let (pieces, faults, end) = read(&text, false, 50);
            assert_eq!((pieces.len(), faults, end), (2, Faults::default(), Ok(())));
            let cut: String = events[..4].iter().map(|data| event(data)).collect();
            assert_eq!(read(&cut, false, 0).2, Err("a stream without an end"));
            let failed = cut + &event(r#"{"type":"error","error":{}}"#);
            assert_eq!(
                read(&failed, false, 0).2,
                Err("an error event in the stream")
            );
        }
    }

    #[test]
    fn chunks_of_a_real_model_count_as_pieces_when_they_say_something() {
        let text = "data: {\"delta\":{\"content\":\"\"}}\n\ndata: {\"delta\":{\"content\": \"Hi\"}}\n\ndata: {\"delta\":{}}\n\ndata: [DONE]\n\n";
        let (pieces, _, end) = read(text, false, 0);
        assert_eq!((pieces.len(), end), (1, Ok(())));
        assert_eq!(pieces[0].written_ns, None);
    }
}
