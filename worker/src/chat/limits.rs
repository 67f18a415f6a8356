//! `stop` and `max_tokens`, which no web chat has: the gateway watches the answer and ends it. Text that might be
//! the beginning of a stop sequence is held back until it is decided.

use super::{
    event::{ChatEvent, FinishReason},
    fields::{Field, Support},
    filter::Filter,
    request::ChatRequest,
    tokens,
};

use crate::impossible::OrImpossible as _;

/// Watches one answer. Once it has pushed `Finish`, the upstream call is no longer needed.
#[derive(Debug, Default)]
pub struct Limits {
    stop: Vec<String>,
    most_tokens: Option<u64>,
    /// Of `most_tokens`.
    tokens_left: Option<u64>,
    /// Might be the beginning of a stop sequence.
    held: String,
    /// The limit that the whole text met, where the provider rewrote it: tells how the answer ended.
    met: Option<FinishReason>,
    /// What the calls that come next cost, the next one at the end.
    calls: Vec<u64>,
    done: bool,
    cut: bool,
}

impl Limits {
    /// The limits that a request sets, as far as the provider does not obey them itself.
    pub fn new(request: &ChatRequest, support: impl Fn(Field) -> Support) -> Self {
        let is_ours = |field| support(field) == Support::Emulated;
        // A limit that the provider obeys must not be watched as well: counted otherwise here, an answer would be cut
        // before it.
        let most_tokens = request.max_tokens.filter(|_| is_ours(Field::MaxTokens));
        Self {
            stop: if is_ours(Field::Stop) {
                request.stop.clone()
            } else {
                Vec::new()
            },
            most_tokens,
            tokens_left: most_tokens,
            ..Self::default()
        }
    }

    #[cfg(test)]
    pub(super) fn at(stop: &[&str], most_tokens: Option<u64>) -> Self {
        Self {
            stop: stop.iter().map(|&stop| stop.to_owned()).collect(),
            most_tokens,
            tokens_left: most_tokens,
            ..Self::default()
        }
    }

    /// A text that is already whole, as far as the limits allow, and the one that it met.
    fn whole(&self, text: String) -> (String, Option<FinishReason>) {
        let mut anew = Self {
            stop: self.stop.clone(),
            most_tokens: self.most_tokens,
            tokens_left: self.most_tokens,
            ..Self::default()
        };
        let mut passed = Vec::new();
        // With the same code as for pieces, so that a text in one piece ends where the stream ended.
        anew.text(text, &mut passed);
        // No more will come that could complete a stop sequence.
        anew.release(&mut passed);
        let mut kept = String::new();
        let mut met = None;
        for event in passed {
            match event {
                ChatEvent::Text(text) => kept.push_str(&text),
                ChatEvent::Finish(reason) => met = Some(reason),
                _ => {}
            }
        }
        (kept, met)
    }

    fn text(&mut self, text: String, passed: &mut Vec<ChatEvent>) {
        if self.stop.is_empty() {
            // Nothing is held, and no text copied, for the many that name none.
            return self.spend(text, ChatEvent::Text, passed);
        }
        self.held.push_str(&text);
        // The one that is complete first, however the text is torn; of two that end together the longer.
        let found = self.stop.iter().enumerate().filter_map(|(place, stop)| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start, place))
        });
        if let Some((_, start, place)) = found.min() {
            self.held.truncate(start);
            let said = std::mem::take(&mut self.held);
            self.spend(said, ChatEvent::Text, passed);
            return self.cut(FinishReason::StopText(place), passed);
        }
        let keep = self
            .stop
            .iter()
            .map(|stop| overlap(&self.held, stop))
            // What may be the beginning of several must wait for the longest.
            .max()
            .unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        let said = std::mem::replace(&mut self.held, rest);
        self.spend(said, ChatEvent::Text, passed);
    }

    /// Whether there is a limit to the tokens of an answer, which those of calls count for.
    pub(super) fn counts_tokens(&self) -> bool {
        self.tokens_left.is_some() && !self.done
    }

    /// A call is about to come: its name and arguments. Told of the last one first.
    pub(super) fn expect_call(&mut self, call: String) {
        self.calls.push(tokens::count(&call));
    }

    /// A call begins: it is passed on whole, or it is where the answer ends. Half a call could not be carried out.
    fn begin_call(&mut self, passed: &mut Vec<ChatEvent>) {
        // Only calls that came through a filter are counted: those of a provider come in pieces, and half of one cannot
        // be taken back.
        let (Some(left), Some(cost)) = (self.tokens_left, self.calls.pop()) else {
            return;
        };
        if cost <= left {
            self.tokens_left = Some(left - cost);
        } else {
            self.cut(FinishReason::Length, passed);
        }
    }

    /// What was held back turned out to be no stop sequence.
    fn release(&mut self, passed: &mut Vec<ChatEvent>) {
        let held = std::mem::take(&mut self.held);
        self.spend(held, ChatEvent::Text, passed);
    }

    fn spend(&mut self, text: String, event: fn(String) -> ChatEvent, passed: &mut Vec<ChatEvent>) {
        // After the end nothing is told, whatever the filters still hold.
        if text.is_empty() || self.done {
            return;
        }
        let Some(left) = self.tokens_left else {
            return passed.push(event(text));
        };
        let cost = tokens::count(&text);
        // Spent also where it does not fit, as what is cut ends the answer anyway.
        self.tokens_left = Some(left.saturating_sub(cost));
        if cost <= left {
            passed.push(event(text));
        } else {
            let said = tokens::truncate(&text, left);
            if !said.is_empty() {
                passed.push(event(said.to_owned()));
            }
            self.cut(FinishReason::Length, passed);
        }
    }

    fn cut(&mut self, reason: FinishReason, passed: &mut Vec<ChatEvent>) {
        // Only an end of ours cuts: one that the provider told first leaves it nothing to be stopped from.
        self.cut |= !self.done;
        self.end(reason, passed);
    }

    fn end(&mut self, reason: FinishReason, passed: &mut Vec<ChatEvent>) {
        if !self.done {
            self.done = true;
            passed.push(ChatEvent::Finish(reason));
        }
    }
}

impl Filter for Limits {
    /// Passes an event on, as far as the limits allow. After the end nothing but usage passes, and sources that an
    /// upstream names with it.
    #[inline]
    fn apply(&mut self, event: ChatEvent, passed: &mut Vec<ChatEvent>) {
        match event {
            ChatEvent::Usage(_) => passed.push(event),
            // An API names sources behind its own end; behind a cut they would be those of words that nobody gets.
            ChatEvent::Extra(_) if self.done && !self.cut => passed.push(event),
            _ if self.done => {}
            ChatEvent::Text(text) => self.text(text, passed),
            ChatEvent::Reasoning(text) => self.spend(text, ChatEvent::Reasoning, passed),
            ChatEvent::Finish(reason) => {
                // What was held is text before the end, and must not be lost with it.
                self.release(passed);
                self.end(self.met.unwrap_or(reason), passed);
            }
            ChatEvent::Image { .. } | ChatEvent::Video { .. } | ChatEvent::ToolCall(_) => {
                // Text keeps its place before what is no text.
                self.release(passed);
                if let ChatEvent::ToolCall(call) = &event
                    && call.name.is_some()
                {
                    self.begin_call(passed);
                }
                if !self.done {
                    passed.push(event);
                }
            }
            ChatEvent::Rewritten(text) => {
                // The limits anew over the whole: what the stream met may lie in words that were taken back.
                let (text, met) = self.whole(text);
                self.met = met;
                passed.push(ChatEvent::Rewritten(text));
            }
            ChatEvent::Cited { .. }
            | ChatEvent::Citation { .. }
            | ChatEvent::Extra(_)
            | ChatEvent::Unknown(_)
            | ChatEvent::Signature(_)
            | ChatEvent::Sealed(_)
            | ChatEvent::Logprobs(_) => passed.push(event),
        }
    }

    fn finish(&mut self, passed: &mut Vec<ChatEvent>) {
        if !self.done {
            self.apply(ChatEvent::Finish(FinishReason::Stop), passed);
        }
    }

    #[inline]
    fn is_cut(&self) -> bool {
        self.cut
    }
}

/// Length in bytes of the longest end of `text` that is a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = stop.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|&length| {
            // A beginning of a character is no beginning of the sequence: the text has whole characters only.
            stop.is_char_boundary(length)
                && text.as_bytes().ends_with(
                    stop.as_bytes()
                        .get(..length)
                        .or_impossible("it is no longer than the sequence"),
                )
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mut limits: Limits, pieces: &[&str]) -> (String, Option<FinishReason>) {
        let mut passed = Vec::new();
        for piece in pieces {
            limits.apply(ChatEvent::Text((*piece).to_owned()), &mut passed);
        }
        limits.apply(ChatEvent::Finish(FinishReason::ContentFilter), &mut passed);
        let mut text = String::new();
        let mut finish = None;
        for event in passed {
            match event {
                ChatEvent::Text(piece) => text.push_str(&piece),
                ChatEvent::Finish(reason) => assert!(finish.replace(reason).is_none(), "two ends"),
                other => panic!("{other:?}"),
            }
        }
        (text, finish)
    }

    #[test]
    fn ends_before_a_stop_sequence_however_it_is_cut() {
        let text = "ab你STOP好";
        for cut in (0..=text.len()).filter(|&cut| text.is_char_boundary(cut)) {
            let (head, tail) = text.split_at(cut);
            assert_eq!(
                run(Limits::at(&["STOP"], None), &[head, tail]),
                ("ab你".to_owned(), Some(FinishReason::StopText(0))),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn tells_which_stop_sequence_was_met_however_it_is_cut() {
        for (text, expected) in [
            ("xSTOPy", ("x", 1)),
            ("xENDy STOP", ("x", 0)),
            // Complete before the longer one is.
            ("a bcd", ("a b", 3)),
            // They end together.
            ("a yz", ("a ", 4)),
        ] {
            for cut in 0..=text.len() {
                let (head, tail) = text.split_at(cut);
                let limits = Limits::at(&["END", "STOP", "bcd", "c", "yz", "z"], None);
                let met = Some(FinishReason::StopText(expected.1));
                assert_eq!(
                    run(limits, &[head, tail]),
                    (expected.0.to_owned(), met),
                    "{text} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn releases_what_only_looked_like_a_stop_sequence() {
        assert_eq!(
            run(Limits::at(&["STOP"], None), &["a ST", "O", "NE ST"]).0,
            "a STONE ST"
        );
    }

    #[test]
    fn ends_at_the_token_limit() {
        assert_eq!(
            run(Limits::at(&[], Some(2)), &["one two", " three"]),
            ("one two".to_owned(), Some(FinishReason::Length))
        );
        assert_eq!(
            run(Limits::at(&[], Some(3)), &["one two", " three"]).1,
            Some(FinishReason::ContentFilter)
        );
    }

    #[test]
    fn a_rewritten_text_is_cut_anew() {
        let rewritten = |stop: &[&str], most_tokens, said: &str, whole: &str| {
            let (mut limits, mut passed) = (Limits::at(stop, most_tokens), Vec::new());
            for event in [
                ChatEvent::Text(said.to_owned()),
                ChatEvent::Rewritten(whole.to_owned()),
                ChatEvent::Finish(FinishReason::ContentFilter),
            ] {
                limits.apply(event, &mut passed);
            }
            let text = passed.iter().find_map(|event| match event {
                ChatEvent::Rewritten(text) => Some(text.clone()),
                _ => None,
            });
            match passed.last() {
                Some(ChatEvent::Finish(reason)) => (text, *reason),
                other => panic!("{other:?}"),
            }
        };
        let whole = |text: &str| Some(text.to_owned());
        for (stop, most_tokens, said, text, expected) in [
            (
                &[][..],
                None,
                "a b",
                "c d",
                (whole("c d"), FinishReason::ContentFilter),
            ),
            (
                &["D"],
                None,
                "a b",
                "c D e",
                (whole("c "), FinishReason::StopText(0)),
            ),
            (
                &["D"],
                None,
                "a b",
                "c",
                (whole("c"), FinishReason::ContentFilter),
            ),
            (
                &[],
                Some(2),
                "one",
                "one two three",
                (whole("one two"), FinishReason::Length),
            ),
            // What is about to be said again costs nothing twice.
            (
                &[],
                Some(3),
                "one two three",
                "one two three",
                (whole("one two three"), FinishReason::ContentFilter),
            ),
            // The answer has ended already: there is nothing to put right.
            (
                &["b"],
                None,
                "a b",
                "c d",
                (None, FinishReason::StopText(0)),
            ),
        ] {
            assert_eq!(
                rewritten(stop, most_tokens, said, text),
                expected,
                "{said:?} {text:?}"
            );
        }
    }

    #[test]
    fn an_answer_without_an_end_is_given_one() {
        let (mut limits, mut passed) = (Limits::at(&["STOP"], None), Vec::new());
        limits.apply(ChatEvent::Text("a ST".to_owned()), &mut passed);
        limits.finish(&mut passed);
        limits.finish(&mut passed);
        let text = |text: &str| ChatEvent::Text(text.to_owned());
        let end = ChatEvent::Finish(FinishReason::Stop);
        assert_eq!(passed, [text("a "), text("ST"), end]);
        assert!(!limits.is_cut());
    }
}
