//! Hears an answer as it comes, and keeps it when it is a whole one.

use std::sync::Arc;

use super::{Answer, Answers, MOST_BYTES, event::Said};
use crate::{
    chat::ChatEvent,
    providers::{Listener, Served},
};

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    answers: Arc<Answers>,
    key: String,
    /// `None` once it is known that the answer is not to be kept.
    events: Option<Vec<Said>>,
    bytes: usize,
}

impl Recorder {
    /// One that will keep the answer under this key.
    pub fn new(answers: Arc<Answers>, key: String) -> Self {
        Self {
            answers,
            key,
            events: Some(Vec::new()),
            bytes: 0,
        }
    }
}

impl Listener for Recorder {
    fn heard(&mut self, events: &[ChatEvent]) {
        let Some(heard) = &mut self.events else {
            return;
        };
        for event in events {
            let said = Said::of(event);
            self.bytes += said.as_ref().map_or(0, Said::bytes);
            match said {
                Some(said) if self.bytes <= MOST_BYTES => heard.push(said),
                _ => {
                    self.events = None;
                    return;
                }
            }
        }
    }

    fn complete(self: Box<Self>, served: Served) {
        let Some(events) = self.events else { return };
        let is_whole = events.iter().any(Said::is_end) && events.iter().any(Said::is_answer);
        if is_whole {
            let answer = Answer {
                provider: served.provider.as_deref().map(str::to_owned),
                model: served.model.as_deref().map(str::to_owned),
                events,
            };
            self.answers.keep(self.key, answer);
        }
    }
}
