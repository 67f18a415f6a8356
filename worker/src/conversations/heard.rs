//! What a client hears of an answer, which is what it sends back with its next question.

use crate::chat::{
    ChatEvent, Content, FinishReason, Message, Role, ToolCallDelta,
    message::{FunctionCall, ToolCall},
};

/// No web chat is sent a conversation that is longer, so nobody comes back with it; and an answer may go on for hours.
const MOST_BYTES: usize = 8 << 20;

/// One answer, as it goes out.
#[derive(Debug, Default)]
pub struct Heard {
    text: String,
    /// Each with its place in the answer, its name and its arguments.
    calls: Vec<(u32, String, String)>,
    /// The client gathers: it hears the corrected text, and not what was said first.
    takes_corrections: bool,
    /// Nobody goes on from it: moderation has ended it, or it is too long.
    is_lost: bool,
}

impl Heard {
    /// Nothing yet. `is_streamed`: words that went out are not taken back.
    pub fn new(is_streamed: bool) -> Self {
        Self {
            takes_corrections: !is_streamed,
            ..Self::default()
        }
    }

    /// The next event, as the door gets it.
    pub fn take(&mut self, event: &ChatEvent) {
        if self.is_lost {
            return;
        }
        match event {
            ChatEvent::Text(text) => self.text.push_str(text),
            // As the doors write them.
            ChatEvent::Image { url } => self.text.extend(["![图像](", url, ")"]),
            ChatEvent::Video { url } => self.text.extend(["[视频](", url, ")"]),
            ChatEvent::Rewritten(text) if self.takes_corrections => self.text.clone_from(text),
            ChatEvent::ToolCall(call) => self.call(call),
            ChatEvent::Finish(FinishReason::ContentFilter) => self.is_lost = true,
            ChatEvent::Reasoning(_)
            | ChatEvent::Signature(_)
            | ChatEvent::Sealed(_)
            | ChatEvent::Cited { .. }
            | ChatEvent::Citation { .. }
            | ChatEvent::Usage(_)
            | ChatEvent::Finish(_)
            | ChatEvent::Rewritten(_)
            | ChatEvent::Extra(_)
            | ChatEvent::Unknown(_)
            | ChatEvent::Logprobs(_) => return,
        }
        let calls = self.calls.iter().map(|(.., arguments)| arguments.len());
        if self.text.len() + calls.sum::<usize>() > MOST_BYTES {
            *self = Self {
                is_lost: true,
                ..Self::default()
            };
        }
    }

    fn call(&mut self, piece: &ToolCallDelta) {
        let known = self.calls.iter_mut().rev();
        let mut known = known.filter(|(at, ..)| *at == piece.index);
        match known.next() {
            Some((.., arguments)) => arguments.push_str(&piece.arguments),
            None => self.calls.push((
                piece.index,
                piece.name.clone().unwrap_or_default(),
                piece.arguments.clone(),
            )),
        }
    }

    /// The answer as the message that comes back; `None` for one that nobody goes on from.
    pub fn answer(self) -> Option<Message> {
        if self.is_lost || (self.text.trim().is_empty() && self.calls.is_empty()) {
            return None;
        }
        let calls = self.calls.into_iter().map(|(_, name, arguments)| ToolCall {
            id: String::new(),
            is_custom: false,
            function: Some(FunctionCall {
                name,
                arguments: arguments.into(),
            }),
        });
        let calls: Vec<ToolCall> = calls.collect();
        Some(Message {
            content: Content::Text(self.text.into()),
            tool_calls: (!calls.is_empty()).then_some(calls),
            ..Message::new(Role::Assistant, "")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(is_streamed: bool, events: &[ChatEvent]) -> Option<Message> {
        let mut heard = Heard::new(is_streamed);
        for event in events {
            heard.take(event);
        }
        heard.answer()
    }

    fn text(text: &str) -> ChatEvent {
        ChatEvent::Text(text.to_owned())
    }

    fn call(index: u32, name: Option<&str>, arguments: &str) -> ChatEvent {
        ChatEvent::ToolCall(ToolCallDelta {
            index,
            id: None,
            name: name.map(str::to_owned),
            arguments: arguments.to_owned(),
        })
    }

    #[test]
    fn it_is_what_the_client_has() {
        let events = [
            ChatEvent::Reasoning("hm".to_owned()),
            text("a"),
            text("b"),
            call(0, Some("f"), "{\"x\""),
            call(0, None, ":1}"),
            call(1, Some("g"), "{}"),
            ChatEvent::Finish(FinishReason::ToolCalls),
        ];
        let message = heard(true, &events).unwrap();
        assert_eq!(message.text(), "ab");
        let calls: Vec<_> = message.tool_calls.unwrap();
        let calls: Vec<_> = calls.into_iter().filter_map(|call| call.function).collect();
        assert_eq!(
            calls
                .iter()
                .map(|call| (&*call.name, &*call.arguments))
                .collect::<Vec<_>>(),
            [("f", "{\"x\":1}"), ("g", "{}")]
        );
    }

    #[test]
    fn corrections_are_heard_by_those_who_gather() {
        let events = [text("a"), ChatEvent::Rewritten("b".to_owned())];
        assert_eq!(heard(true, &events).unwrap().text(), "a");
        assert_eq!(heard(false, &events).unwrap().text(), "b");
    }

    #[test]
    fn what_is_too_long_is_not_kept_in_memory() {
        let mut heard = Heard::new(true);
        let (words, arguments) = (
            text(&"x".repeat(MOST_BYTES / 2)),
            "1".repeat(MOST_BYTES / 4),
        );
        for event in [
            &words,
            &call(0, Some("f"), &arguments),
            &call(0, None, &arguments),
        ] {
            heard.take(event);
            assert!(!heard.is_lost);
        }
        heard.take(&text("y"));
        heard.take(&words);
        assert_eq!((heard.text.capacity(), heard.calls.len()), (0, 0));
        assert_eq!(heard.answer(), None);
    }

    #[test]
    fn nobody_goes_on_from_nothing_or_from_what_was_cut_off() {
        assert_eq!(heard(true, &[text(" ")]), None);
        let filtered = [text("a"), ChatEvent::Finish(FinishReason::ContentFilter)];
        assert_eq!(heard(true, &filtered), None);
    }
}
