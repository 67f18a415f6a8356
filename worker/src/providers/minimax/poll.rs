//! The matrix generation's answer, which grows in the conversation: each look at it has all messages so far. Source:
//! `wire/minimax.md` section 6.

use serde::Deserialize;

use super::{
    refusal::{self, Refusal},
    stream::GAP,
};
use crate::impossible::OrImpossible as _;
use crate::{
    chat::{ChatEvent, FinishReason, Kind, ProviderError, delta::Cumulative},
    upstream::json,
};

/// So many failed looks in a row end the answer.
const MOST_FAILURES: u32 = 5;
/// Where the answers do not say whether the chat is at work: so many looks without growth are its end.
const STILL_LOOKS: u32 = 6;
/// More messages than this are no answer.
const MOST_MESSAGES: usize = 1000;

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The answer goes on.
    Goes,
    /// It has grown.
    Grown,
    /// It is complete; the last events were pushed.
    Over,
}

/// One answer, look by look.
#[derive(Debug)]
pub(super) struct Growth {
    variable: String,
    /// `msg_id` of the question, in a chat that has others before it.
    question: Option<i64>,
    messages: Vec<Said>,
    /// The message whose text was passed on last.
    last: Option<i64>,
    has_output: bool,
    has_text: bool,
    failures: u32,
    still: u32,
}

#[derive(Debug)]
struct Said {
    id: i64,
    text: Cumulative,
    thinking: Cumulative,
    value: String,
}

#[derive(Deserialize)]
struct Detail {
    chat: Option<Chat>,
    messages: Option<Vec<Message>>,
}

#[derive(Deserialize)]
struct Chat {
    chat_status: Option<i64>,
}

#[derive(Deserialize)]
struct Message {
    msg_id: Option<i64>,
    msg_type: Option<i64>,
    msg_content: Option<String>,
    timestamp: Option<i64>,
    extra_info: Option<Extra>,
    tool_call: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Extra {
    thinking_content: Option<String>,
}

impl Growth {
    /// For one answer to the account whose credential is in `variable`; to this `question` of a chat that goes on, and in a new
    /// one to whatever it holds.
    pub(super) fn new(variable: &str, question: Option<i64>) -> Self {
        Self {
            variable: variable.to_owned(),
            question,
            messages: Vec::new(),
            last: None,
            has_output: false,
            has_text: false,
            failures: 0,
            still: 0,
        }
    }

    /// Takes what a look has brought.
    ///
    /// # Errors
    /// The fifth failure in a row, moderation, an end without content.
    pub(super) fn take(
        &mut self,
        status: u16,
        body: &[u8],
        events: &mut Vec<ChatEvent>,
    ) -> Result<Look, Refusal> {
        // Section 6, rule 7: whatever is wrong with a look, it is the looks in a row that count.
        if let Some(refusal) = refusal::refusal(status, body, &self.variable) {
            return self.failed(refusal, events);
        }
        let normal;
        let detail: Option<Detail> = match serde_json::from_slice(body) {
            Ok(detail) => Some(detail),
            Err(_) => {
                // Half a character at a text's end comes whole with the next look.
                normal = json::visible(body).unwrap_or_default();
                serde_json::from_slice(&normal).ok()
            }
        };
        let Some(Detail { chat, messages }) = detail.filter(|it| it.messages.is_some()) else {
            // A chat without a list is an envelope of something else.
            return self.failed(ProviderError::malformed("chat detail").into(), events);
        };
        self.failures = 0;
        let mut messages = messages.unwrap_or_default();
        // The order of the list is not to be relied on.
        messages.sort_by_key(|it| {
            (
                it.timestamp.unwrap_or_default(),
                it.msg_id.unwrap_or_default(),
            )
        });
        if let Some(question) = self.question {
            let mut asked = messages.iter();
            let Some(at) = asked.position(|it| it.msg_id == Some(question)) else {
                // Not there yet: all of this, its end too, is of earlier answers.
                return Ok(Look::Goes);
            };
            messages.drain(..=at);
        }
        let status = chat.and_then(|chat| chat.chat_status);
        // Section 6, rule 6; 1 is running, and any other number is taken for it.
        let is_over = status == Some(2);
        let before = events.len();
        // Before the end is looked at: the look that says "finished" carries the last text.
        self.grow(messages, is_over, events);
        let has_grown = events.len() > before;
        self.still = if has_grown { 0 } else { self.still + 1 };
        // Where nothing says that it is at work, stillness must do; a text that was held back is said then.
        // Not where a status is sent: slow answers stand still for longer than six looks (section 9).
        let is_still = status.is_none() && self.has_text && self.still >= STILL_LOOKS;
        if is_over || is_still {
            self.complete(FinishReason::Stop, events)?;
            return Ok(Look::Over);
        }
        Ok(if has_grown { Look::Grown } else { Look::Goes })
    }

    /// A look that did not even bring an answer.
    ///
    /// # Errors
    /// As [`Growth::take`].
    pub(super) fn missed(
        &mut self,
        error: ProviderError,
        events: &mut Vec<ChatEvent>,
    ) -> Result<Look, Refusal> {
        self.failed(error.into(), events)
    }

    fn failed(&mut self, refusal: Refusal, events: &mut Vec<ChatEvent>) -> Result<Look, Refusal> {
        // At once: a moderated chat says the same on every look.
        if refusal.error.kind == Kind::Moderated {
            if !self.has_output {
                return Err(refusal);
            }
            self.complete(FinishReason::ContentFilter, events)?;
            return Ok(Look::Over);
        }
        self.failures += 1;
        if self.failures < MOST_FAILURES {
            return Ok(Look::Goes);
        }
        // What the account is to blame for is told as such.
        // Else an account that is locked would stay in use: `Protocol` blames nobody.
        if refusal.error.kind.blames_account() {
            return Err(refusal);
        }
        let error = ProviderError::new(
            Kind::Protocol,
            "the service's conversation could not be read, five times in a row",
        );
        Err(error.into())
    }

    /// The id of what was said last, once something was.
    pub(super) fn answer_id(&self) -> Option<i64> {
        self.last
    }

    fn grow(&mut self, messages: Vec<Message>, is_over: bool, events: &mut Vec<ChatEvent>) {
        let is_answer = |it: &Message| {
            // Null is no step (section 6); an empty object names none either.
            let is_step = it.tool_call.as_ref().is_some_and(|call| {
                !call.is_null() && call.as_object().is_none_or(|call| !call.is_empty())
            });
            it.msg_type == Some(2) && !is_step
        };
        for message in messages.into_iter().filter(is_answer) {
            let thinking = message.extra_info.and_then(|it| it.thinking_content);
            let text = message.msg_content.unwrap_or_default();
            let id = message.msg_id.unwrap_or_default();
            let Some(said) = self.said(id) else { continue };
            // The service cuts between the bytes of a character and shows the half as U+FFFD.
            let visible = |text: &'_ str| {
                // When finished the snapshot is sent as it is (section 6, rule 3).
                if is_over {
                    text.len()
                } else {
                    text.trim_end_matches('\u{FFFD}').len()
                }
            };
            let thinking = thinking.unwrap_or_default();
            let thought = thinking
                .get(..visible(&thinking))
                .or_impossible("trimming ends between characters");
            let new_thought = said.thinking.advance(thought).map(str::to_owned);
            let shown = text
                .get(..visible(&text))
                .or_impossible("trimming ends between characters");
            let new_text = said.text.advance(shown).map(str::to_owned);
            // With its halves: at the end it is compared with what was sent.
            said.value = text;
            // Thoughts first, as they come first where one look brings both.
            if let Some(new) = new_thought {
                self.has_output = true;
                events.push(ChatEvent::Reasoning(new));
            }
            if let Some(new) = new_text {
                (self.has_output, self.has_text) = (true, true);
                // By id: the list is sorted anew with every look, and a place in it says nothing.
                if self.last.replace(id).is_some_and(|last| last != id) {
                    events.push(ChatEvent::Text(GAP.to_owned()));
                }
                events.push(ChatEvent::Text(new));
            }
        }
    }

    fn said(&mut self, id: i64) -> Option<&mut Said> {
        let known = self.messages.iter().position(|said| said.id == id);
        let at = match known {
            Some(at) => at,
            None if self.messages.len() == MOST_MESSAGES => return None,
            None => {
                self.messages.push(Said {
                    id,
                    text: Cumulative::default(),
                    thinking: Cumulative::default(),
                    value: String::new(),
                });
                self.messages.len() - 1
            }
        };
        self.messages.get_mut(at)
    }

    fn complete(
        &mut self,
        reason: FinishReason,
        events: &mut Vec<ChatEvent>,
    ) -> Result<(), Refusal> {
        if !self.has_output {
            return Err(ProviderError::empty_answer().into());
        }
        // A step leaves an entry without a text.
        let texts = || self.messages.iter().filter(|said| !said.value.is_empty());
        if texts().any(|said| said.text.sent() != said.value || said.text.rewrites() > 0) {
            let texts: Vec<&str> = texts().map(|said| said.value.as_str()).collect();
            events.push(ChatEvent::Rewritten(texts.join(GAP)));
        }
        events.push(ChatEvent::Finish(reason));
        Ok(())
    }
}

#[cfg(test)]
#[path = "poll_tests.rs"]
mod tests;
