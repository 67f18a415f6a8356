//! What stands between a provider's events and the door, for one attempt at an answer: what the gateway does in a
//! provider's place. Today that is the watch over `stop` and `max_tokens`; the emulation of tools and formats is another
//! filter, in front of it, as stop sequences and limits are about what the client sees.
//!
//! ```text
//!   provider ──► Turn::emit ──► (emulation) ──► Limits ──► outbox ──► door
//! ```

use std::{fmt, sync::Arc};

use super::{
    ChatEvent, ChatRequest, Field, ProviderError, Support,
    aside::aside,
    emulate::{
        filter::Emulation,
        plan::{self, Means},
        schema::Offered,
    },
    limits::Limits,
};

/// One filter of an answer's events.
pub trait Filter: fmt::Debug {
    /// Takes the next event; what becomes of it is added to `passed`.
    fn apply(&mut self, event: ChatEvent, passed: &mut Vec<ChatEvent>);

    /// The provider has ended the answer: adds what was held back, and the end if there was none.
    fn finish(&mut self, passed: &mut Vec<ChatEvent>);

    /// Whether it has ended the answer before the provider did, who need not go on.
    fn is_cut(&self) -> bool;

    /// The tools whose calls it takes out of the answer's words.
    fn offered(&self) -> Option<&Arc<Offered>> {
        None
    }

    /// After [`Filter::finish`]: whether that was the end. After [`Ending::Again`] it stands where it stood at first, but
    /// for what was passed on.
    fn ending(&mut self) -> Ending {
        Ending::Done
    }
}

/// What follows when a provider has ended an answer.
#[derive(Debug)]
pub enum Ending {
    /// Nothing.
    Done,
    /// The provider is asked this, on the same account; what it says goes through the same filters.
    Again(Arc<ChatRequest>),
    /// The answer is none, and no fault of the account's.
    Failed(ProviderError),
}

/// The filters of one attempt, in their order. Most have the limits alone, so those are called without indirection and
/// without a list in between.
#[derive(Debug, Default)]
pub struct Chain {
    first: Option<Box<dyn Filter>>,
    limits: Limits,
    /// On the way from `first` to `limits`; empty between calls.
    between: Vec<ChatEvent>,
}

impl Chain {
    /// The limits, behind another filter where there is one.
    pub fn new(first: Option<Box<dyn Filter>>, limits: Limits) -> Self {
        Self {
            first,
            limits,
            between: Vec::new(),
        }
    }

    /// The tools whose calls are taken out of the answer's words, if any are.
    pub fn offered(&self) -> Option<&Arc<Offered>> {
        self.first.as_ref()?.offered()
    }

    /// The provider has ended the answer: adds what was held back, and the end, unless there is more to come.
    pub fn end(&mut self, passed: &mut Vec<ChatEvent>) -> Ending {
        // An answer that has met a limit is complete, whatever else could be said of it.
        if let Some(first) = &mut self.first
            && !self.limits.is_cut()
        {
            first.finish(&mut self.between);
            self.pass(passed);
            // Asked after what was held back has passed the limits: whether it met one decides which end is told.
            match self.first.as_mut().map(|first| first.ending()) {
                Some(Ending::Done) | None => {}
                Some(other) => return other,
            }
        }
        self.limits.finish(passed);
        Ending::Done
    }

    fn pass(&mut self, passed: &mut Vec<ChatEvent>) {
        // A call is whole or not at all: the pieces of one come together.
        if self.limits.counts_tokens() {
            // Backwards, since the limits take the costs from the end of their list, and pieces of a call follow its
            // name.
            let mut call = String::new();
            for event in self.between.iter().rev() {
                let ChatEvent::ToolCall(piece) = event else {
                    continue;
                };
                call.insert_str(0, &piece.arguments);
                if let Some(name) = &piece.name {
                    call.insert_str(0, name);
                    self.limits.expect_call(std::mem::take(&mut call));
                }
            }
        }
        // Drained, so that the list keeps its room for the next event.
        for event in self.between.drain(..) {
            self.limits.apply(event, passed);
        }
    }
}

impl Filter for Chain {
    #[inline]
    fn apply(&mut self, event: ChatEvent, passed: &mut Vec<ChatEvent>) {
        match &mut self.first {
            None => self.limits.apply(event, passed),
            Some(first) => {
                first.apply(event, &mut self.between);
                self.pass(passed);
            }
        }
    }

    fn finish(&mut self, passed: &mut Vec<ChatEvent>) {
        self.end(passed);
    }

    #[inline]
    fn is_cut(&self) -> bool {
        self.limits.is_cut() || self.first.as_ref().is_some_and(|first| first.is_cut())
    }
}

/// What a provider is asked in place of `request`, and what its answer goes through, where `support` says what becomes of
/// a field with it. For one attempt: a filter remembers what it has seen. `means` is asked for only where something has to
/// be done for the provider; a request without tools and formats pays nothing.
///
/// # Errors
/// 400 for tools and formats that cannot be offered.
pub async fn prepare(
    request: &Arc<ChatRequest>,
    support: impl Fn(Field) -> Support,
    means: impl FnOnce() -> Means,
) -> Result<(Arc<ChatRequest>, Chain), ProviderError> {
    let limits = Limits::new(request, &support);
    if !plan::concerns(request, &support) {
        return Ok((Arc::clone(request), Chain::new(None, limits)));
    }
    let (original, means) = (Arc::clone(request), means());
    let made = aside(plan::work(request), move || {
        Emulation::new(&original, means)
    })
    .await;
    let (asked, emulation) = made.map_err(|invalid| ProviderError {
        param: invalid.param,
        code: invalid.code.map(str::to_owned),
        ..ProviderError::new(super::Kind::BadRequest, invalid.message)
    })?;
    Ok((asked, Chain::new(Some(Box::new(emulation)), limits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::FinishReason;

    /// Says everything in capitals, and the last word only at the end.
    #[derive(Debug, Default)]
    struct Loud {
        held: Option<String>,
        is_cut: bool,
    }

    impl Filter for Loud {
        fn apply(&mut self, event: ChatEvent, passed: &mut Vec<ChatEvent>) {
            match event {
                ChatEvent::Text(text) => {
                    self.is_cut |= text == "cut";
                    let held = self.held.replace(text.to_uppercase());
                    passed.extend(held.map(ChatEvent::Text));
                }
                other => passed.push(other),
            }
        }

        fn finish(&mut self, passed: &mut Vec<ChatEvent>) {
            passed.extend(self.held.take().map(ChatEvent::Text));
        }

        fn is_cut(&self) -> bool {
            self.is_cut
        }
    }

    fn chain(stop: &str) -> Chain {
        let limits = Limits::at(&[stop], None);
        Chain::new(Some(Box::new(Loud::default())), limits)
    }

    fn text(text: &str) -> ChatEvent {
        ChatEvent::Text(text.to_owned())
    }

    #[test]
    fn limits_are_about_what_the_first_filter_says() {
        let (mut chain, mut passed) = (chain("STOP"), Vec::new());
        for piece in ["a stop ", "b sto", "p c", "d"] {
            chain.apply(text(piece), &mut passed);
        }
        assert_eq!(
            passed,
            [text("A "), ChatEvent::Finish(FinishReason::StopText(0))]
        );
        assert!(chain.is_cut());
        chain.finish(&mut passed);
        assert_eq!(passed.len(), 2, "nothing follows the end");
    }

    #[test]
    fn the_end_releases_what_is_held_all_the_way() {
        let (mut chain, mut passed) = (chain("XY"), Vec::new());
        for piece in ["a", "bx"] {
            chain.apply(text(piece), &mut passed);
        }
        assert_eq!(passed, [text("A")]);
        chain.finish(&mut passed);
        assert_eq!(
            passed,
            [
                text("A"),
                text("B"),
                text("X"),
                ChatEvent::Finish(FinishReason::Stop)
            ]
        );
        assert!(!chain.is_cut());
    }

    #[test]
    fn any_filter_may_cut() {
        let mut chain = chain("never");
        chain.apply(text("cut"), &mut Vec::new());
        assert!(chain.is_cut());
    }
}
