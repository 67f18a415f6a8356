//! Server-sent events, without sockets: bytes in, events out. Bytes may be torn anywhere. Source: the HTML
//! standard's event stream grammar (a byte order mark at the head, lines that end in CR, LF or both); of it the wire
//! pages use `event:` and `data:` only.

use std::ops::Range;

use crate::impossible::OrImpossible as _;

/// Most bytes of one event; more is no answer but an attack or a fault.
const MOST_EVENT_BYTES: usize = 16 << 20;
/// What some frameworks write at the head of every text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event:` name; empty when there was none.
    pub name: &'a [u8],
    /// The `data:` lines, joined with line feeds.
    pub data: &'a [u8],
}

/// Cuts a byte stream into events.
#[derive(Debug, Default)]
pub struct Sse {
    /// What has come of an event that is not whole. Events that come whole are read where they lie, without a copy.
    kept: Vec<u8>,
    lines: Lines,
}

/// The events that have come with some bytes. Dropping it keeps what is left of them.
#[derive(Debug)]
pub struct Events<'a> {
    sse: &'a mut Sse,
    /// What is read; empty where it had to be joined to what was kept.
    bytes: &'a [u8],
}

/// How far the text has been read: what was kept, or what has come.
#[derive(Debug, Default)]
struct Lines {
    /// Start of the first line that has not been read. `read <= searched <= text.len()`.
    read: usize,
    /// Up to here there is no line end: a line that comes byte by byte is not searched from its start each time.
    searched: usize,
    name: Vec<u8>,
    data: Data,
    /// The event that was handed out last is forgotten when the next one is asked for.
    is_handed_out: bool,
    /// The first bytes have been looked at.
    has_begun: bool,
    /// The last line ended in CR at the end of what had come: an LF that follows belongs to it.
    is_after_cr: bool,
}

/// The data of the event being read. One line, which is what services send, stays where it is in the text.
#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    Line(Range<usize>),
    Lines(Vec<u8>),
}

/// An event grew beyond all bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is too large")]
pub struct TooLarge;

impl Sse {
    /// Takes the next bytes, whose events are to be read.
    ///
    /// # Errors
    /// [`TooLarge`] when a single event outgrows the limit.
    pub fn read<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Events<'a>, TooLarge> {
        let joined = if let Data::Lines(lines) = &self.lines.data {
            lines.len()
        } else {
            0
        };
        // Judged by what is kept: a line that is still torn, and lines that were joined before it.
        if self.kept.len() + joined + bytes.len() > MOST_EVENT_BYTES {
            return Err(TooLarge);
        }
        if self.kept.is_empty() {
            return Ok(Events { sse: self, bytes });
        }
        self.kept.extend_from_slice(bytes);
        Ok(Events {
            sse: self,
            bytes: &[],
        })
    }

    /// The stream is over: an event whose closing blank line is missing.
    pub fn finish(&mut self) -> Option<Event<'_>> {
        let (text, lines) = (self.kept.as_slice(), &mut self.lines);
        lines.finish(text).then(|| lines.event(text))
    }
}

impl Events<'_> {
    /// The next complete event.
    #[expect(
        clippy::should_implement_trait,
        reason = "the event borrows from the decoder, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Option<Event<'_>> {
        let Sse { kept, lines } = &mut *self.sse;
        let text = if self.bytes.is_empty() {
            kept.as_slice()
        } else {
            self.bytes
        };
        lines.next(text).then(|| lines.event(text))
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        let Sse { kept, lines } = &mut *self.sse;
        let done = lines.settle();
        if self.bytes.is_empty() {
            kept.drain(..done);
        } else {
            let left = self.bytes.get(done..);
            kept.extend_from_slice(left.or_impossible("what is dealt with is a part of what came"));
        }
    }
}

impl Lines {
    /// Reads up to the end of the next event; whether there is one.
    fn next(&mut self, text: &[u8]) -> bool {
        self.forget_last();
        // One byte order mark, at the very beginning; a later one is text.
        if !self.begin(text) {
            return false;
        }
        while let Some(offset) =
            memchr::memchr2(b'\n', b'\r', text.get(self.searched..).unwrap_or_default())
        {
            let end = self.searched + offset;
            let after = self.after_line_end(text, end);
            // Before the line is taken, so that a line is never searched twice, whatever becomes of it.
            self.searched = after;
            let start = std::mem::replace(&mut self.read, after);
            if self.take_line(text, start, end) {
                self.is_handed_out = true;
                return true;
            }
        }
        self.searched = text.len();
        false
    }

    /// Leaves out a byte order mark, and the LF of a CRLF that was torn; `false` when more must come first.
    fn begin(&mut self, text: &[u8]) -> bool {
        if self.is_after_cr && self.read < text.len() {
            self.is_after_cr = false;
            if text.get(self.read) == Some(&b'\n') {
                self.read += 1;
                self.searched = self.searched.max(self.read);
            }
        }
        if !self.has_begun {
            if text.starts_with(BYTE_ORDER_MARK) {
                (self.read, self.searched) = (BYTE_ORDER_MARK.len(), BYTE_ORDER_MARK.len());
            } else if BYTE_ORDER_MARK.starts_with(text) {
                return false;
            }
            self.has_begun = true;
        }
        true
    }

    /// Where the next line begins after one that ends at `end`.
    fn after_line_end(&mut self, text: &[u8], end: usize) -> usize {
        if text.get(end) == Some(&b'\n') {
            return end + 1;
        }
        match text.get(end + 1) {
            Some(b'\n') => end + 2,
            Some(_) => end + 1,
            // Whether an LF belongs to it is not known yet. The line counts now: its event may be the last for a while.
            None => {
                self.is_after_cr = true;
                end + 1
            }
        }
    }

    /// Takes what is left as the last line, and says whether there is an event then.
    fn finish(&mut self, text: &[u8]) -> bool {
        self.forget_last();
        let (start, end) = (self.read, text.len());
        (self.read, self.searched) = (end, end);
        // Services leave out the last blank line; browsers would drop the event, and with it an answer's end.
        self.is_handed_out = self.take_line(text, start, end) || self.has_data();
        self.is_handed_out
    }

    /// How much of the text is dealt with: all before the first line that still counts, which may be the one that the
    /// event's data points at. From now on places are counted from there.
    fn settle(&mut self) -> usize {
        self.forget_last();
        let done = match &self.data {
            Data::Line(line) => line.start,
            Data::None | Data::Lines(_) => self.read,
        };
        // A reader that has stopped early has not searched all.
        self.searched -= done;
        self.read -= done;
        if let Data::Line(line) = &mut self.data {
            *line = 0..line.end - done;
        }
        done
    }

    fn forget_last(&mut self) {
        if self.is_handed_out {
            self.name.clear();
            self.data = Data::None;
            self.is_handed_out = false;
        }
    }

    fn has_data(&self) -> bool {
        !matches!(self.data, Data::None)
    }

    /// The event that was read.
    fn event<'a>(&'a self, text: &'a [u8]) -> Event<'a> {
        Event {
            name: &self.name,
            data: match &self.data {
                Data::None => &[],
                Data::Line(line) => part(text, line.clone()),
                Data::Lines(lines) => lines,
            },
        }
    }

    /// Reads one line; `true` when it was the blank line that ends an event with data.
    fn take_line(&mut self, text: &[u8], start: usize, end: usize) -> bool {
        let line = part(text, start..end);
        if line.is_empty() {
            // Data without a character, and without a name, is how some services keep a connection alive.
            let is_blank = match &self.data {
                Data::None => true,
                Data::Line(line) => line.is_empty() && self.name.is_empty(),
                Data::Lines(_) => false,
            };
            if is_blank {
                self.name.clear();
                self.data = Data::None;
            }
            return !is_blank;
        }
        // `id` and `retry` are for reconnecting, which a chat's answer cannot.
        if let Some(data) = field(line, b"data") {
            let end = start + line.len();
            self.data = match std::mem::take(&mut self.data) {
                Data::None => Data::Line(end - data.len()..end),
                Data::Line(first) => Data::Lines([part(text, first), data].join(&b'\n')),
                Data::Lines(mut lines) => {
                    lines.push(b'\n');
                    lines.extend_from_slice(data);
                    Data::Lines(lines)
                }
            };
        } else if let Some(name) = field(line, b"event") {
            self.name.clear();
            self.name.extend_from_slice(name);
        }
        false
    }
}

/// A line, or a part of one.
fn part(text: &[u8], range: Range<usize>) -> &[u8] {
    text.get(range)
        .or_impossible("a text is kept for as long as a line in it counts")
}

/// The value of a field line, less one space after the colon; comments and other fields are none. A line that is the
/// name alone is that field, empty.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = ": comment\n\ndata: a\n\nevent: x\ndata:b\r\ndata: c\r\n\r\nid: 5\nretry: 7\n\nevent: lost\n\ndata: 你好\n\ndata:end";

    fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, String)> {
        let (mut sse, mut events) = (Sse::default(), Vec::new());
        let own = |event: Event<'_>| {
            (
                String::from_utf8_lossy(event.name).into_owned(),
                String::from_utf8_lossy(event.data).into_owned(),
            )
        };
        for piece in pieces {
            let mut read = sse.read(piece).unwrap();
            while let Some(event) = read.next() {
                events.push(own(event));
            }
        }
        events.extend(sse.finish().map(own));
        events
    }

    #[test]
    fn reads_events_however_they_are_torn() {
        let expected = [("", "a"), ("x", "b\nc"), ("", "你好"), ("", "end")]
            .map(|(name, data)| (name.to_owned(), data.to_owned()));
        for at in 0..=SAMPLE.len() {
            let (head, tail) = SAMPLE.as_bytes().split_at(at);
            assert_eq!(events([head, tail]), expected, "split at byte {at}");
        }
        assert_eq!(events(SAMPLE.as_bytes().chunks(1)), expected);
    }

    /// Every mixture of line ends, with and without a byte order mark, torn at every byte.
    #[test]
    fn reads_events_whatever_ends_their_lines() {
        let expected = [("", "a"), ("x", "b\nc"), ("", "你"), ("y", "")]
            .map(|(name, data)| (name.to_owned(), data.to_owned()));
        let lines = [
            ":c", "", "data:", "", "data", "", "data: a", "", "event:x", "data:b", "data:c", "",
            "data:你", "", "event:y", "data", "", "data: ", "",
        ];
        for mark in ["", "\u{FEFF}"] {
            for ends in [
                &["\n"][..],
                &["\r"],
                &["\r\n"],
                &["\r", "\n"],
                &["\r\n", "\r", "\n"],
            ] {
                let text: String = lines
                    .iter()
                    .enumerate()
                    .map(|(at, line)| {
                        // CR and then LF would be one line end.
                        let end = ends[at % ends.len()];
                        let next = ends[(at + 1) % ends.len()];
                        let is_joined =
                            end == "\r" && next == "\n" && lines.get(at + 1) == Some(&"");
                        format!("{line}{}", if is_joined { "\n" } else { end })
                    })
                    .collect();
                let text = format!("{mark}{text}");
                for at in 0..=text.len() {
                    let (head, tail) = text.as_bytes().split_at(at);
                    assert_eq!(events([head, tail]), expected, "{text:?} split at {at}");
                }
                assert_eq!(events(text.as_bytes().chunks(1)), expected, "{text:?}");
            }
        }
    }

    /// Services send an event at a time; one that repeats a long answer is not worth a copy.
    #[test]
    fn what_comes_whole_is_read_where_it_lies() {
        let mut sse = Sse::default();
        for piece in ["data: torn", "\n\n", "data: whole\n\ndata: too\n\n"] {
            let bytes = piece.as_bytes();
            let mut came = sse.read(bytes).unwrap();
            while let Some(event) = came.next() {
                let lies_there = bytes.as_ptr_range().contains(&event.data.as_ptr());
                assert_eq!(lies_there, event.data != b"torn", "{event:?}");
            }
        }
        assert_eq!(sse.kept, b"");
    }

    /// Only one mark, only at the head.
    #[test]
    fn a_byte_order_mark_elsewhere_is_no_mark() {
        let marked = "\u{FEFF}\u{FEFF}data: lost\n\ndata: \u{FEFF}x\n\n";
        assert_eq!(
            events([marked.as_bytes()]),
            [(String::new(), "\u{FEFF}x".to_owned())]
        );
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut sse = Sse::default();
        let refused = (0..40).any(|_| {
            let Ok(mut read) = sse.read(&[b'x'; 1 << 20]) else {
                return true;
            };
            while read.next().is_some() {}
            false
        });
        assert!(refused);
    }
}
