//! Calls one after the other. Upstreams may tell several calls in turns, piece by piece, and text between them; clients
//! differ in what they make of that (conformance T3), and most dialects have no form for it. Nothing is lost and nothing is
//! told twice: what comes too early waits until the call before it is whole, or until the end.

use std::collections::VecDeque;

use super::voice::Piece;
use crate::{chat::ToolCallDelta, upstream::json::Scan};

/// Puts the pieces of one choice in line, from its first call on.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The index of the call that is being told, and how far its arguments are.
    open: Option<(u32, Scan)>,
    /// The indexes of those that are told, in rising order as a rule.
    told: Vec<u32>,
    /// What came while a call was open, in order; of each call all that has come.
    waiting: VecDeque<Piece>,
}

impl Queue {
    /// Takes the next piece.
    pub(super) fn take(&mut self, piece: Piece, mut out: impl FnMut(Piece)) {
        match piece {
            Piece::ToolCall(call) => self.call(call, &mut out),
            // What nobody sees as part of the text may pass by.
            // Token probabilities belong to no place of the text that a client shows.
            Piece::Logprobs(_) => out(piece),
            piece if self.may_go_on() => {
                self.close();
                out(piece);
            }
            piece => self.waiting.push_back(piece),
        }
    }

    /// The answer is over: everything that waits goes out, whole or not.
    pub(super) fn finish(&mut self, mut out: impl FnMut(Piece)) {
        self.close();
        self.waiting.drain(..).for_each(&mut out);
    }

    fn call(&mut self, call: ToolCallDelta, out: &mut impl FnMut(Piece)) {
        let is_open = self
            .open
            .as_ref()
            .is_some_and(|(index, _)| *index == call.index);
        // An index that was told is closed: to open it again would begin a second call with the same id (T2).
        if is_open || (self.may_go_on() && !self.told.contains(&call.index)) {
            self.tell(call, out);
            self.release(out);
        } else if !self.told.contains(&call.index) {
            self.wait(call);
        }
        // A call that is told was whole: what comes after its end is no part of it.
    }

    fn tell(&mut self, call: ToolCallDelta, out: &mut impl FnMut(Piece)) {
        if self
            .open
            .as_ref()
            .is_none_or(|(index, _)| *index != call.index)
        {
            self.close();
            // Told as it comes, so its end is found while it passes: nobody says it otherwise.
            self.open = Some((call.index, Scan::default()));
        }
        if let Some((_, scan)) = &mut self.open {
            scan.feed(call.arguments.as_bytes());
        }
        out(Piece::ToolCall(call));
    }

    fn wait(&mut self, call: ToolCallDelta) {
        let same = |piece: &&mut Piece| matches!(piece, Piece::ToolCall(known) if known.index == call.index);
        match self.waiting.iter_mut().find(same) {
            // Kept with its first piece, and not as a piece of its own: a call in one piece when its turn comes.
            Some(Piece::ToolCall(known)) => {
                known.arguments.push_str(&call.arguments);
                known.name = known.name.take().or(call.name);
            }
            Some(_) | None => self.waiting.push_back(Piece::ToolCall(call)),
        }
    }

    /// Whether something else than the open call may be told.
    /// With something waiting everything else waits behind it, whatever the open call does: the order is the
    /// upstream's.
    fn may_go_on(&self) -> bool {
        self.waiting.is_empty() && self.open.as_ref().is_none_or(|(_, scan)| scan.is_whole())
    }

    fn close(&mut self) {
        self.told.extend(self.open.take().map(|(index, _)| index));
    }

    /// What waits, up to a call that is not whole.
    fn release(&mut self, out: &mut impl FnMut(Piece)) {
        while self.open.as_ref().is_none_or(|(_, scan)| scan.is_whole()) {
            match self.waiting.pop_front() {
                None => return,
                Some(Piece::ToolCall(call)) => self.tell(call, out),
                Some(piece) => {
                    self.close();
                    out(piece);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(index: u32, name: Option<&str>, arguments: &str) -> Piece {
        Piece::ToolCall(ToolCallDelta {
            index,
            id: name.map(|name| format!("id-{name}")),
            name: name.map(str::to_owned),
            arguments: arguments.into(),
        })
    }

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    /// What is told, one word a piece, and what waits until the end behind a bar.
    fn told(pieces: Vec<Piece>) -> String {
        let (mut queue, mut words) = (Queue::default(), Vec::new());
        let word = |piece: Piece| match piece {
            Piece::Text(text) => text,
            Piece::ToolCall(call) => {
                format!(
                    "{}{}:{}",
                    call.name.unwrap_or_default(),
                    call.index,
                    call.arguments
                )
            }
            other => format!("{other:?}"),
        };
        for piece in pieces {
            queue.take(piece, |piece| words.push(word(piece)));
        }
        words.push("|".into());
        queue.finish(|piece| words.push(word(piece)));
        words.join(" ")
    }

    #[test]
    fn calls_in_line_go_through_at_once() {
        let pieces = vec![
            text("a"),
            call(0, Some("f"), ""),
            call(0, None, r#"{"x":"#),
            call(0, None, "1}"),
            call(1, Some("g"), "{}"),
            text("b"),
            call(2, Some("h"), r#"{"y":"#),
        ];
        assert_eq!(told(pieces), r#"a f0: 0:{"x": 0:1} g1:{} b h2:{"y": |"#);
    }

    #[test]
    fn calls_told_in_turns_are_put_in_line() {
        let pieces = vec![
            call(0, Some("f"), "{"),
            call(1, Some("g"), "{"),
            call(2, Some("h"), "{"),
            call(1, None, "}"),
            text("b"),
            call(2, None, "}"),
            call(0, None, "}"),
            text("c"),
        ];
        assert_eq!(told(pieces), "f0:{ 0:} g1:{} h2:{} b c |");
    }

    #[test]
    fn what_is_never_whole_goes_out_at_the_end() {
        let pieces = vec![
            call(0, Some("f"), "{"),
            text("b"),
            call(1, Some("g"), "{}"),
            call(1, None, " "),
        ];
        assert_eq!(told(pieces), "f0:{ | b g1:{} ");
        // Arguments may be about to come.
        assert_eq!(told(vec![call(0, Some("f"), ""), text("b")]), "f0: | b");
        // And behind their end there are none.
        let pieces = vec![call(0, Some("f"), "{}"), text("b"), call(0, None, "{}")];
        assert_eq!(told(pieces), "f0:{} b |");
    }
}
