//! Which of the generations are asked, and in which order. Source: `wire/minimax.md` section 1.

use std::sync::atomic::{AtomicU8, Ordering};

use super::site::{ALL, Generation};
use crate::settings::Problems;

/// `MINIMAX_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The newest first; what has answered is asked first from then on.
    Auto,
    /// This one and no other.
    Only(Generation),
}

impl Protocol {
    /// Reads `MINIMAX_PROTOCOL`.
    pub(super) fn read(text: Option<&str>, problems: &mut Problems) -> Self {
        match text {
            // `auto` is worth naming: it is how a compose file says that nothing is forced.
            None | Some("auto") => Self::Auto,
            Some(word) => Generation::named(word).map_or_else(
                || {
                    let wrong = "MINIMAX_PROTOCOL must be auto, cloud, archon or matrix";
                    problems.push(wrong.to_owned());
                    Self::Auto
                },
                Self::Only,
            ),
        }
    }
}

/// Which generation has answered last. One for the process: all accounts are on the same site.
#[derive(Debug)]
pub(super) struct Memory {
    protocol: Protocol,
    answered: AtomicU8,
}

impl Memory {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            // Cloud stands first anyway, so before any answer the order is that of section 1.
            answered: AtomicU8::new(Generation::Cloud as u8),
        }
    }

    /// Whom to ask, one after the other while they are not there.
    pub(super) fn order(&self) -> Vec<Generation> {
        // Relaxed: a stale reading asks in the old order, which costs one call.
        let answered = self.answered.load(Ordering::Relaxed);
        match self.protocol {
            Protocol::Only(generation) => vec![generation],
            Protocol::Auto => {
                let mut order = ALL.to_vec();
                // Stable: the others keep their order.
                order.sort_by_key(|generation| *generation as u8 != answered);
                order
            }
        }
    }

    /// A generation is there: it has answered, be it with a refusal.
    pub(super) fn has_answered(&self, generation: Generation) {
        self.answered.store(generation as u8, Ordering::Relaxed);
    }

    /// Whether a generation is to be asked at all: for models that the cloud one does not list, for conversations begun in it.
    pub(super) fn may_ask(&self, generation: Generation) -> bool {
        // A forced generation is not left even for a model that another one has.
        self.protocol == Protocol::Auto || self.protocol == Protocol::Only(generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answered_last_is_asked_first() {
        use Generation::{Archon, Cloud, Matrix};
        let memory = Memory::new(Protocol::Auto);
        assert_eq!(memory.order(), [Cloud, Archon, Matrix]);
        memory.has_answered(Matrix);
        assert_eq!(memory.order(), [Matrix, Cloud, Archon]);
        memory.has_answered(Archon);
        assert_eq!(memory.order(), [Archon, Cloud, Matrix]);
        let memory = Memory::new(Protocol::Only(Cloud));
        memory.has_answered(Matrix);
        assert_eq!(memory.order(), [Cloud]);
        assert!(memory.may_ask(Cloud) && !memory.may_ask(Matrix));
    }

    #[test]
    fn reads_the_pages_words() {
        let mut problems = Problems::default();
        for (word, protocol) in [
            (None, Protocol::Auto),
            (Some("auto"), Protocol::Auto),
            (Some("archon"), Protocol::Only(Generation::Archon)),
        ] {
            assert_eq!(Protocol::read(word, &mut problems), protocol);
        }
        assert!(problems.errors.is_empty());
        Protocol::read(Some("llm"), &mut problems);
        assert_eq!(problems.errors.len(), 1);
    }
}
