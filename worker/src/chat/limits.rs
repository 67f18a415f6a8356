//! `stop` and `max_tokens`, which no web chat has: the gateway watches the answer and ends it. Text that might be
//! the beginning of a stop sequence is held back until it is decided.

use super::{
    event::{ChatEvent, FinishReason},
    fields::{Field, Support},
    request::ChatRequest,
    tokens,
};

/// Watches one answer. Once it has pushed `Finish`, the upstream call is no longer needed.
#[derive(Debug)]
pub struct Limits {
    stop: Vec<String>,
    tokens_left: Option<u64>,
    held: String,
    done: bool,
    cut: bool,
}

impl Limits {
    /// The limits that a request sets, as far as the provider does not obey them itself.
    pub fn new(request: &ChatRequest, support: impl Fn(Field) -> Support) -> Self {
        let is_ours = |field| support(field) == Support::Emulated;
        Self {
            stop: if is_ours(Field::Stop) {
                request.stop.clone()
            } else {
                Vec::new()
            },
            tokens_left: request.max_tokens.filter(|_| is_ours(Field::MaxTokens)),
            held: String::new(),
            done: false,
            cut: false,
        }
    }

    /// Whether a limit has ended the answer before the provider did.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Passes events on, as far as the limits allow. After the end nothing but usage passes, and sources that an
    /// upstream names with it.
    pub fn apply(
        &mut self,
        events: impl IntoIterator<Item = ChatEvent>,
        passed: &mut Vec<ChatEvent>,
    ) {
        for event in events {
            match event {
                ChatEvent::Usage(_) => passed.push(event),
                ChatEvent::Extra(_) if self.done && !self.cut => passed.push(event),
                _ if self.done => {}
                ChatEvent::Text(text) => self.text(text, passed),
                ChatEvent::Reasoning(text) => self.spend(text, ChatEvent::Reasoning, passed),
                ChatEvent::Finish(reason) => {
                    self.release(passed);
                    self.end(reason, passed);
                }
                ChatEvent::Image { .. } | ChatEvent::Video { .. } | ChatEvent::ToolCall(_) => {
                    self.release(passed);
                    if !self.done {
                        passed.push(event);
                    }
                }
                // The last state of a rewritten text is measured by whoever uses it.
                ChatEvent::Rewritten(_) => passed.push(event),
                ChatEvent::Cited { .. }
                | ChatEvent::Citation { .. }
                | ChatEvent::Extra(_)
                | ChatEvent::Unknown(_)
                | ChatEvent::Logprobs(_) => passed.push(event),
            }
        }
    }

    fn text(&mut self, text: String, passed: &mut Vec<ChatEvent>) {
        if self.stop.is_empty() {
            return self.spend(text, ChatEvent::Text, passed);
        }
        self.held.push_str(&text);
        let first = self
            .stop
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = first {
            self.held.truncate(at);
            let said = std::mem::take(&mut self.held);
            self.spend(said, ChatEvent::Text, passed);
            return self.cut(FinishReason::Stop, passed);
        }
        let keep = self
            .stop
            .iter()
            .map(|stop| overlap(&self.held, stop))
            .max()
            .unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        let said = std::mem::replace(&mut self.held, rest);
        self.spend(said, ChatEvent::Text, passed);
    }

    /// What was held back turned out to be no stop sequence.
    fn release(&mut self, passed: &mut Vec<ChatEvent>) {
        let held = std::mem::take(&mut self.held);
        self.spend(held, ChatEvent::Text, passed);
    }

    fn spend(&mut self, text: String, event: fn(String) -> ChatEvent, passed: &mut Vec<ChatEvent>) {
        if text.is_empty() || self.done {
            return;
        }
        let Some(left) = self.tokens_left else {
            return passed.push(event(text));
        };
        let cost = tokens::count(&text);
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

/// Applies limits to a text that is already complete: the text that remains and, if a limit was met, the reason.
pub fn cut(mut limits: Limits, text: String) -> (String, Option<FinishReason>) {
    let mut passed = Vec::new();
    limits.apply([ChatEvent::Text(text)], &mut passed);
    limits.release(&mut passed);
    let mut kept = String::new();
    let mut reason = None;
    for event in passed {
        match event {
            ChatEvent::Text(text) => kept.push_str(&text),
            ChatEvent::Finish(met) => reason = Some(met),
            _ => {}
        }
    }
    (kept, reason)
}

/// Length in bytes of the longest end of `text` that is a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let longest = stop.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|&length| {
            stop.is_char_boundary(length)
                && text
                    .as_bytes()
                    .ends_with(stop.as_bytes().get(..length).unwrap_or_default())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(stop: &[&str], tokens_left: Option<u64>) -> Limits {
        Limits {
            stop: stop.iter().map(|&stop| stop.to_owned()).collect(),
            tokens_left,
            held: String::new(),
            done: false,
            cut: false,
        }
    }

    fn run(mut limits: Limits, pieces: &[&str]) -> (String, Option<FinishReason>) {
        let mut passed = Vec::new();
        for piece in pieces {
            limits.apply([ChatEvent::Text((*piece).to_owned())], &mut passed);
        }
        limits.apply(
            [ChatEvent::Finish(FinishReason::ContentFilter)],
            &mut passed,
        );
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
                run(limits(&["STOP"], None), &[head, tail]),
                ("ab你".to_owned(), Some(FinishReason::Stop)),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn releases_what_only_looked_like_a_stop_sequence() {
        assert_eq!(
            run(limits(&["STOP"], None), &["a ST", "O", "NE ST"]).0,
            "a STONE ST"
        );
    }

    #[test]
    fn ends_at_the_token_limit() {
        assert_eq!(
            run(limits(&[], Some(2)), &["one two", " three"]),
            ("one two".to_owned(), Some(FinishReason::Length))
        );
        assert_eq!(
            run(limits(&[], Some(3)), &["one two", " three"]).1,
            Some(FinishReason::ContentFilter)
        );
    }
}
