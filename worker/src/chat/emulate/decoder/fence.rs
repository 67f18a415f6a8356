//! Fences in words: what stands in one is a quotation, unless it is a block of ours. Source: tools.md section 6, rules 2 and 8.

use memchr::memchr;

use super::{
    lex::{self, Own},
    text::{ProbeKind, Scan, Seen, Step},
};

/// Most bytes from a fence to the block that makes it vanish.
pub(super) const MOST_FENCE: usize = 80;

/// An open fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    mark: u8,
    count: usize,
}

impl Scan<'_> {
    /// A backtick or a tilde, which may begin or end a fence.
    pub(super) fn fence(&mut self, at: usize, first: Option<usize>) -> Seen {
        let rest = self.text.get(at..).unwrap_or_default();
        let mark = rest.first().copied().unwrap_or_default();
        let count = rest.iter().take_while(|&&byte| byte == mark).count();
        // Marks within a line open nothing.
        if self.indent(at).is_none() {
            return Seen::On(at + count);
        }
        // Enough is there when something follows, or when it is longer than what would make it vanish.
        let is_whole = |length: usize| self.is_end || length < rest.len() || length >= MOST_FENCE;
        if !is_whole(count) {
            return Seen::Done(self.hold(at));
        }
        if count < 3 {
            return Seen::On(at + count);
        }
        let line = rest
            .get(count..MOST_FENCE.max(count))
            .unwrap_or_else(|| rest.get(count..).unwrap_or_default());
        let line_end = memchr(b'\n', line);
        if line_end.is_none() && !is_whole(count + line.len()) {
            return Seen::Done(self.hold(at));
        }
        let info = line
            .get(..line_end.unwrap_or(line.len()))
            .unwrap_or_default();
        if let Some(open) = self.place.fence {
            // CommonMark 0.31, section 4.5: the same mark, as many at least, nothing behind them.
            let is_closing = open.mark == mark
                && count >= open.count
                && info.iter().all(u8::is_ascii_whitespace);
            if is_closing {
                self.place.fence = None;
            }
            return Seen::On(at + count);
        }
        // Code within a line, which begins at its start.
        if mark == b'`' && info.contains(&b'`') {
            return Seen::On(at + count);
        }
        let fence = Fence { mark, count };
        let Some(line_end) = line_end else {
            self.place.fence = Some(fence);
            return Seen::On(at + count);
        };
        let inside = count + line_end + 1;
        let body = rest.get(inside..).unwrap_or_default();
        let blanks = body.iter().position(|byte| !byte.is_ascii_whitespace());
        let gap = inside + blanks.unwrap_or(body.len());
        // Too far from its block to be there for it: an ordinary fence.
        if gap > MOST_FENCE || (blanks.is_none() && self.is_end) {
            self.place.fence = Some(fence);
            return Seen::On(at + count);
        }
        match blanks.and_then(|blanks| body.get(blanks)) {
            None => Seen::Done(self.hold(at)),
            Some(b'<') => {
                self.place.fence = Some(fence);
                let tag = rest.get(gap..).unwrap_or_default();
                match lex::own(tag, self.wanted.nonce) {
                    Own::No => {}
                    Own::Maybe(_) if !self.is_end => {
                        // Neither the fence nor what stands in it is told before it is known.
                        // Set for the look at the tag, and taken back for the wait: the fence is looked at again with
                        // the next piece.
                        self.place.fence = None;
                        return Seen::Done(self.hold(at));
                    }
                    Own::Yes | Own::Maybe(_) => {
                        self.place.fence = None;
                        self.vanishing = Some((at, at + gap));
                        let seen = self.tag(at + gap);
                        // It was none of ours after all.
                        if let Seen::On(_) = seen {
                            self.place.fence = Some(fence);
                        }
                        return seen;
                    }
                }
                Seen::On(at + count)
            }
            Some(b'{' | b'[')
                if self.place.is_start && first == Some(at) && self.wanted.bare_json =>
            {
                Seen::Done(Step::Probe {
                    upto: self.end_of_words(at),
                    at,
                    kind: ProbeKind::Bare { json: gap },
                    fence: None,
                })
            }
            Some(_) => {
                self.place.fence = Some(fence);
                // Looked at from behind the marks on: a tag of ours must not leave, not even as a fence's own words.
                Seen::On(at + count)
            }
        }
    }
}
