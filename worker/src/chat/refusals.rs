//! Refusals that look like answers: a service that is overloaded, or does not like a request, answers with success
//! and a sentence. Such sentences stand in a table beside the provider's codec, each with the error that it means, and
//! are never shown as an answer. Source: the error tables of the wire pages.
//!
//! A decoder passes its new events through [`Refusals::feed`]. Text is held back only while it may still become a
//! sentence of the table, so an answer that begins otherwise, which nearly all do, goes through untouched.

use std::sync::Arc;

use super::{ChatEvent, ProviderError};

/// What a sentence means.
pub type Meaning = fn() -> ProviderError;

/// One sentence that is no answer.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// As the service says it, without a full stop at the end.
    pub text: &'static str,
    /// How much of an answer it must be.
    pub extent: Extent,
    /// What it means.
    pub error: Meaning,
}

/// How much of an answer a sentence must be to be a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, but for closing punctuation and space: a real answer may quote the sentence and go on.
    Whole,
    /// Its beginning, whatever follows (a time, a number).
    Beginning,
    /// All of it, a short answer that begins with the text and ends with one of these: an excuse in words that change.
    Excuse(&'static [&'static str]),
}

/// Excuses are short.
const MOST_EXCUSE_CHARS: usize = 60;

/// Looks for refusals in one answer.
#[derive(Debug)]
pub struct Refusals {
    table: &'static [Refusal],
    /// A sentence that the table does not have and that is suspected of being one.
    suspect: Option<(Arc<str>, Meaning)>,
    /// The text so far, and the events from its beginning on: none of them was passed on.
    text: String,
    held: Vec<ChatEvent>,
    /// It is an answer, for certain.
    is_over: bool,
}

enum Verdict {
    Open,
    Answer,
    Refused(ProviderError),
}

impl Refusals {
    /// For one answer of a service that has these sentences.
    pub fn new(table: &'static [Refusal]) -> Self {
        Self {
            table,
            suspect: None,
            text: String::new(),
            held: Vec::new(),
            is_over: false,
        }
    }

    /// The same, with one more sentence ([`Extent::Whole`]) that was learnt while the worker ran.
    #[must_use]
    pub fn suspecting(mut self, sentence: Option<Arc<str>>, error: Meaning) -> Self {
        self.suspect = sentence.map(|sentence| (sentence, error));
        self
    }

    /// Looks at the events from `from` on, which the decoder has just added. Those that must wait are taken out and
    /// come back with a later call; [`ChatEvent::Finish`] decides what is left open.
    ///
    /// # Errors
    /// What the sentence means. Neither it nor what came after it is among the events then.
    pub fn feed(&mut self, events: &mut Vec<ChatEvent>, from: usize) -> Result<(), ProviderError> {
        if self.is_over {
            return Ok(());
        }
        // Something is held since an earlier call: then all of these wait with it, or they would overtake it.
        let mut first = (!self.held.is_empty()).then_some(from);
        for at in from..events.len() {
            let is_end = match events.get(at) {
                Some(ChatEvent::Text(text)) => {
                    self.text.push_str(text);
                    first.get_or_insert(at);
                    false
                }
                Some(ChatEvent::Finish(_)) => true,
                // Thinking and the like neither make nor break a sentence, and wait only behind text that does.
                _ => continue,
            };
            match self.judge(is_end) {
                Verdict::Open => {}
                Verdict::Answer => {
                    self.is_over = true;
                    // In front of what came now: it was said before.
                    events.splice(from..from, self.held.drain(..));
                    return Ok(());
                }
                Verdict::Refused(error) => {
                    // Events before the text stand: they were of the answer's head, and say nothing of the refusal.
                    events.truncate(first.unwrap_or(at));
                    self.held.clear();
                    return Err(error);
                }
            }
        }
        if let Some(first) = first {
            self.held.extend(events.drain(first..));
        }
        Ok(())
    }

    fn judge(&self, is_end: bool) -> Verdict {
        let text = self.text.trim_start();
        let learnt = self.suspect.iter();
        let learnt = learnt.map(|(text, error)| (&**text, Extent::Whole, *error));
        let known = self.table.iter();
        let known = known.map(|refusal| (refusal.text, refusal.extent, refusal.error));
        let mut is_open = false;
        for (sentence, extent, error) in known.chain(learnt) {
            // An empty text is the beginning of every sentence, so nothing is decided before the first word.
            is_open |= sentence.starts_with(text);
            let Some(rest) = text.strip_prefix(sentence) else {
                continue;
            };
            match extent {
                Extent::Beginning => return Verdict::Refused(error()),
                // More than its closing: a real answer that quotes the sentence.
                Extent::Whole if !rest.chars().all(closes) => {}
                Extent::Whole if is_end => return Verdict::Refused(error()),
                // A full stop may still be followed by an answer.
                Extent::Whole => is_open = true,
                Extent::Excuse(_) if rest.chars().nth(MOST_EXCUSE_CHARS).is_some() => {}
                Extent::Excuse(ends) if is_end => {
                    let said = rest.trim_end_matches(closes);
                    if ends.iter().any(|end| said.ends_with(end)) {
                        return Verdict::Refused(error());
                    }
                }
                Extent::Excuse(_) => is_open = true,
            }
        }
        if is_open && !is_end {
            Verdict::Open
        } else {
            Verdict::Answer
        }
    }
}

/// What may follow a sentence that is all of an answer.
fn closes(c: char) -> bool {
    c.is_whitespace() || "。.！!～~…".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{FinishReason, Kind};

    const TABLE: &[Refusal] = &[
        Refusal {
            text: "抱歉，系统繁忙",
            extent: Extent::Whole,
            error: || ProviderError::new(Kind::Unavailable, "busy"),
        },
        Refusal {
            text: "You are sending too fast, wait ",
            extent: Extent::Beginning,
            error: || ProviderError::new(Kind::RateLimited, "too fast"),
        },
        Refusal {
            text: "非常抱歉",
            extent: Extent::Excuse(&["再试", "重试"]),
            error: || ProviderError::new(Kind::Timeout, "an excuse"),
        },
    ];

    /// Ends like an excuse, and is too long for one.
    const LONG: &str = "非常抱歉，一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十，请稍后再试";

    fn suspicion() -> ProviderError {
        ProviderError::new(Kind::Protocol, "learnt")
    }

    /// What comes through of an answer in these pieces, and after how many of them the first text came.
    fn heard(pieces: &[&str]) -> (Result<String, Kind>, usize) {
        let mut refusals = Refusals::new(TABLE).suspecting(Some("不行".into()), suspicion);
        let (mut said, mut first) = (String::new(), 0);
        for (at, piece) in pieces.iter().map(Some).chain([None]).enumerate() {
            // What an earlier call has passed on stays in front.
            let mut events = vec![ChatEvent::Text("earlier".to_owned())];
            events.push(match piece {
                Some(piece) => ChatEvent::Text((*piece).to_owned()),
                None => ChatEvent::Finish(FinishReason::Stop),
            });
            let fed = refusals.feed(&mut events, 1);
            assert_eq!(events[0], ChatEvent::Text("earlier".to_owned()));
            for event in &events[1..] {
                if let ChatEvent::Text(text) = event {
                    first = if said.is_empty() { at + 1 } else { first };
                    said.push_str(text);
                }
            }
            if let Err(error) = fed {
                assert_eq!(said, "", "part of a refusal was shown");
                return (Err(error.kind), 0);
            }
            assert!(
                piece.is_some() || events.last() == Some(&ChatEvent::Finish(FinishReason::Stop))
            );
        }
        (Ok(said), first)
    }

    #[test]
    fn finds_a_refusal_however_it_is_torn() {
        for (text, expected) in [
            ("抱歉，系统繁忙", Err(Kind::Unavailable)),
            ("\n 抱歉，系统繁忙。\n", Err(Kind::Unavailable)),
            (
                "You are sending too fast, wait 12 s",
                Err(Kind::RateLimited),
            ),
            ("不行！", Err(Kind::Protocol)),
            ("非常抱歉，服务器开小差了，请稍后再试。", Err(Kind::Timeout)),
            ("非常抱歉，我记错了：它是 42。", Ok(())),
            ("非常抱歉，请稍后再试，或者先读这一篇。", Ok(())),
            (LONG, Ok(())),
            ("抱歉，系统繁忙时请排队。", Ok(())),
            ("抱歉，系统", Ok(())),
            ("“抱歉，系统繁忙”是一句套话", Ok(())),
            ("You are", Ok(())),
            ("", Ok(())),
            ("👋🏽", Ok(())),
        ] {
            let expected = expected.map(|()| text.to_owned());
            for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
                let (head, tail) = text.split_at(at);
                assert_eq!(heard(&[head, tail]).0, expected, "{text} at {at}");
            }
            let chars: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = chars.iter().map(String::as_str).collect();
            assert_eq!(heard(&pieces).0, expected, "{text} by characters");
        }
    }

    #[test]
    fn holds_back_no_longer_than_it_must() {
        assert_eq!(heard(&["Hello", " you"]).1, 1);
        assert_eq!(heard(&["You", " are", " right", "."]).1, 3);
        assert_eq!(heard(&["抱歉", "，", "我", "不知道"]).1, 3);
    }

    #[test]
    fn keeps_the_order_of_what_it_held() {
        let citation = || ChatEvent::Citation {
            index: 1,
            url: "u".to_owned(),
            title: "t".to_owned(),
        };
        let text = |text: &str| ChatEvent::Text(text.to_owned());
        let thought = || ChatEvent::Reasoning("hm".to_owned());
        let mut refusals = Refusals::new(TABLE);
        let mut events = vec![thought(), text("You"), citation()];
        refusals.feed(&mut events, 0).unwrap();
        assert_eq!(events, [thought()]);
        let mut events = vec![text(" see")];
        refusals.feed(&mut events, 0).unwrap();
        assert_eq!(events, [text("You"), citation(), text(" see")]);
    }
}
